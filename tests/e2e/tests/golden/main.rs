// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A cloud that MidoNet itself wrote, through everything: each object, state and table entry of it comes out of `mn-insights decode nsdb`
//! and of the manager as MidoNet's own REST API and the truth files have it. What is compared is what the golden files hold, to the last
//! member; a member that no rule names is a difference.

mod nsdb;
mod pages;
mod rest;
mod tables;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use insights_e2e::golden::{self, Leaf, Znode};
use insights_e2e::manager::Browser;
use insights_e2e::process::run;
use insights_e2e::stack::{Account, Places, Served};
use serde_json::Value;

/// Longest wait for something that is sure to come; two busy cores are slow.
const PATIENCE: Duration = Duration::from_secs(180);

/// The manager's site, with everything it says of each object.
struct Manager {
    browser: Browser,
    site: String,
    /// Answers of the API by object.
    objects: BTreeMap<String, Value>,
    /// Lists of the API by kind.
    lists: BTreeMap<&'static str, Vec<Value>>,
}

/// Kinds that the API lists, and the classes whose objects are of them.
const KINDS: [(&str, &[&str]); 20] = [
    ("host", &["Host"]),
    ("tunnel_zone", &["TunnelZone"]),
    ("vtep", &["Vtep"]),
    // A Neutron uplink network has no virtual device.
    ("network", &["Network", "NeutronNetwork"]),
    ("router", &["Router"]),
    ("port", &["Port"]),
    ("chain", &["Chain"]),
    ("rule", &["Rule"]),
    ("security_group", &["SecurityGroup", "IPAddrGroup"]),
    ("port_group", &["PortGroup"]),
    ("load_balancer", &["LoadBalancer"]),
    ("pool", &["Pool"]),
    ("pool_member", &["PoolMember"]),
    ("vip", &["Vip"]),
    ("health_monitor", &["HealthMonitor"]),
    ("floating_ip", &["FloatingIp"]),
    ("subnet", &["NeutronSubnet", "Dhcp"]),
    ("mirror", &["Mirror"]),
    ("route", &["Route"]),
    ("bgp_peer", &["BgpPeer"]),
];

/// What differs, and how much was compared.
#[derive(Default)]
struct Verdict {
    compared: usize,
    differences: Vec<String>,
}

impl Verdict {
    fn same(&mut self, place: impl Fn() -> String, found: &Value, expected: &Value) {
        self.holds(found == expected, || format!("{}: found {found}, expected {expected}", place()));
    }

    fn holds(&mut self, good: bool, text: impl FnOnce() -> String) {
        self.compared += 1;
        if !good {
            self.differences.push(text());
        }
    }

    /// All differences, and whether less was compared than there is.
    fn end(mut self, what: &str, least: usize) -> Vec<String> {
        eprintln!("{what}: {} comparisons, {} differences", self.compared, self.differences.len());
        if self.compared < least {
            self.differences.push(format!("only {} comparisons", self.compared));
        }
        self.differences.iter().map(|difference| format!("{what}: {difference}")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_midonet_wrote_comes_out_as_midonet_has_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let places = Places::new(dir.path())?;
    let (_zookeeper, hosts) = places.zookeeper("3.4", 0).await?;
    let tree = golden::tree()?;
    // The session holds the agents' ephemeral nodes.
    let agents = zookeeper_client::Client::connector()
        .with_server_version(3, 4, 8)
        .with_session_timeout(Duration::from_secs(40))
        .connect(&hosts)
        .await
        .context("connect to ZooKeeper")?;
    golden::load(&agents, &tree).await?;
    let account = Account {
        email: "e2e@example.org".into(),
        name: "Grace Tester".into(),
        password: "correct horse battery".into(),
        site: "lab".into(),
    };
    places.prepare(&account).await?;
    let anywhere = Served {
        ingest: "127.0.0.1:0".into(),
        web: "127.0.0.1:0".into(),
    };
    let (_collector, served) = places.serve(&anywhere).await?;
    let _cluster = places.cluster(&hosts, &served.ingest, &[]).await?;

    let lines = run(places.program("mn-insights").args(["decode", "nsdb", "--zookeeper", &hosts])).await?;
    let lines = nsdb::Lines::read(&lines)?;
    let mut verdict = Verdict::default();
    lines.compare(&tree, &mut verdict)?;
    let mut differences = verdict.end("decode nsdb", 3_300);

    let leaves: Vec<(Leaf, &Znode)> = tree.iter().filter_map(|node| Some((golden::leaf(node)?, node))).collect();
    let manager = Manager::read(&served.web, &account, &leaves).await?;
    let mut verdict = Verdict::default();
    manager.compare_fields(&lines, &mut verdict);
    differences.extend(verdict.end("configuration in the API", 1_200));
    let mut verdict = Verdict::default();
    rest::compare(&manager, &mut verdict)?;
    differences.extend(verdict.end("lists of MidoNet's REST API", 1_900));
    let mut verdict = Verdict::default();
    tables::compare(&manager, &leaves, &mut verdict)?;
    differences.extend(verdict.end("states and tables", 380));
    let mut verdict = Verdict::default();
    pages::compare(&manager, &leaves, &mut verdict)?;
    differences.extend(verdict.end("pages", 8_500));
    ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    Ok(())
}

impl Manager {
    /// Waits until the site is whole and reads all of it.
    async fn read(web: &str, account: &Account, leaves: &[(Leaf, &Znode)]) -> Result<Manager> {
        let browser = Browser::new(web);
        browser.sign_in(account)?;
        let (_, page) = browser.get("/")?;
        let site = page.split("/s/").nth(1).and_then(|rest| rest.split(['/', '"']).next());
        let site = site.context("the first page leads to no site")?.to_owned();
        let ids: Vec<&str> = leaves
            .iter()
            .filter_map(|(leaf, _)| match leaf {
                Leaf::Object { id, .. } => Some(&**id),
                _ => None,
            })
            .collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = browser.json(&format!("/api/v1/sites/{site}/topology/counts"))?;
            if counts["counts"]["objects"].as_u64() == Some(ids.len() as u64) {
                break;
            }
            ensure!(Instant::now() < deadline, "{} objects did not come: {counts}", ids.len());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let mut objects = BTreeMap::new();
        for id in ids {
            if !objects.contains_key(id) {
                objects.insert(id.to_owned(), browser.json(&format!("/api/v1/sites/{site}/topology/object/{id}"))?);
            }
        }
        let mut lists = BTreeMap::new();
        for (kind, _) in KINDS {
            let list = browser.json(&format!("/api/v1/sites/{site}/topology/{kind}"))?;
            lists.insert(kind, list["items"].as_array().context("a list has items")?.clone());
        }
        Ok(Manager {
            browser,
            site,
            objects,
            lists,
        })
    }

    /// How pages show an object; null for what has no view.
    fn view(&self, id: &str) -> &Value {
        self.objects.get(id).map_or(&Value::Null, |object| &object["view"])
    }

    fn tables(&self, id: &str) -> &Value {
        self.objects.get(id).map_or(&Value::Null, |object| &object["tables"])
    }

    /// The name that pages show for an id.
    fn name(&self, id: &str) -> Option<&str> {
        self.objects.get(id)?["object"]["name"].as_str()
    }

    /// The fields of an object of a class.
    fn raw(&self, class: &str, id: &str) -> &Value {
        let objects = self.objects.get(id).and_then(|object| object["raw"].as_array());
        objects
            .and_then(|objects| objects.iter().find(|object| object["class"] == class))
            .map_or(&Value::Null, |object| &object["fields"])
    }

    /// The fields of every object are those of the NSDB, and lists hold the views of the objects of their classes, all of them.
    fn compare_fields(&self, lines: &nsdb::Lines, verdict: &mut Verdict) {
        let mut found = 0;
        for (id, answer) in &self.objects {
            for object in answer["raw"].as_array().into_iter().flatten() {
                found += 1;
                let class = object["class"].as_str().unwrap_or_default();
                let expected = lines.object(class, id).unwrap_or(&Value::Null);
                verdict.same(|| format!("{class} {id}"), &object["fields"], &expected["fields"]);
                verdict.same(|| format!("version of {class} {id}"), &object["version"], &expected["version"]);
            }
        }
        verdict.same(|| "objects".to_owned(), &found.into(), &lines.objects().into());
        for (kind, classes) in KINDS {
            let mut expected = lines.ids(classes);
            if kind == "network" {
                // A virtual network and Neutron's description of it are one.
                expected.dedup();
            }
            let found: Vec<&str> = self.lists[kind].iter().filter_map(|item| item["id"].as_str()).collect();
            verdict.holds(found == expected, || format!("list of {kind}: {found:?}, expected {expected:?}"));
            for item in &self.lists[kind] {
                let id = item["id"].as_str().unwrap_or_default();
                verdict.same(|| format!("{kind} {id} in its list"), item, self.view(id));
            }
        }
    }
}
