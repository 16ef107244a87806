// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Everything together: what the simulated cloud made is what the manager shows, and nothing is lost or doubled when parts are killed.

mod dashboard;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use insights_e2e::dashboard::Dashboard;
use insights_e2e::html;
use insights_e2e::manager::Browser;
use insights_e2e::oracle::{self, Mark};
use insights_e2e::process::{Process, run, wait};
use insights_e2e::secrets;
use insights_e2e::stack::{Account, Places, Served};
use insights_e2e::transitions;
use serde_json::Value;

/// Longest wait for something that is sure to come; two busy cores are slow.
const PATIENCE: Duration = Duration::from_secs(180);

/// A stack is a JVM or two and half a dozen programs: two stacks at once on two cores would only wait for each other.
static ONE_STACK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn account() -> Account {
    Account {
        email: "e2e@example.org".into(),
        name: "Grace Tester".into(),
        password: "correct horse battery".into(),
        site: "lab".into(),
    }
}

/// All agents' meters have been read once before the first packet: what is metered from then on is all that there is.
async fn metered_before_traffic(places: &Places) -> Result<()> {
    let socket = places.dir.join("gateway/status.sock");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alive = ledger(places)
            .and_then(|ledger| ledger["things"]["hosts"].as_u64())
            .filter(|hosts| *hosts > 0);
        let status = run(places.program("mn-insights").args(["status", "--json", "--socket"]).arg(&socket)).await;
        let status: Value = serde_json::from_str(&status.unwrap_or_default()).unwrap_or_default();
        let answered = status["meters_answered"].as_u64();
        if answered == alive && answered == status["agents_alive"].as_u64() && alive.is_some() {
            let made = ledger(places).and_then(|ledger| ledger["records"]["made"].as_u64());
            ensure!(
                made == Some(0),
                "the traffic began before all meters were read; QUIET is too short for this machine"
            );
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the meters of {alive:?} agents were not read: {status}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Any free ports.
fn anywhere() -> Served {
    Served {
        ingest: "127.0.0.1:0".into(),
        web: "127.0.0.1:0".into(),
    }
}

fn ledger(places: &Places) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(places.ledger()).ok()?).ok()
}

/// What `mn-insights check` finds: verdict and finding by the name of the check. Whoever has a remedy says what to do.
async fn check(places: &Places, options: &[&str]) -> Result<BTreeMap<String, (String, String)>> {
    let output = places.program("mn-insights").args(["check", "--json"]).args(options).output().await?;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let mut found = BTreeMap::new();
    let mut problem = false;
    for finding in &findings {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        ensure!((text("verdict") == "good") == text("remedy").is_empty(), "{finding}");
        problem |= text("verdict") == "problem";
        found.insert(text("check"), (text("verdict"), text("found")));
    }
    ensure!(output.status.success() != problem, "the exit status tells a problem: {found:#?}");
    Ok(found)
}

/// The simulation's limit is reached and everything that agents could send is sent: the count of sent records stands still.
async fn sent_all(places: &Places, limit: u64) -> Result<u64> {
    let mut last = (0, 0);
    wait(PATIENCE, "the simulator's last record", || {
        let records = ledger(places).map(|ledger| {
            (
                ledger["records"]["made"].as_u64().unwrap_or(0),
                ledger["records"]["sent"].as_u64().unwrap_or(0),
            )
        });
        let now = records.unwrap_or((0, 0));
        let still = now.0 >= limit && now == last;
        last = now;
        // The ledger is written each second: two equal looks far enough apart.
        std::thread::sleep(Duration::from_millis(1_500));
        Ok(still.then_some(now.1))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_shows_what_the_simulator_made() -> Result<()> {
    let _alone = ONE_STACK.lock().await;
    let dir = tempfile::tempdir()?;
    let places = Places::new(dir.path())?;
    let limit = 5_000;
    let (_zookeeper, hosts) = places.zookeeper("3.9", 0).await?;
    places.prepare(&account()).await?;
    let (mut collector, served) = places.serve(&anywhere()).await?;
    let mut cluster = places.cluster(&hosts, &served.ingest, &["insights_cloud.metering.interval : 2s"]).await?;
    let log = places.dir.join("records.log");
    let _cloud = cloud(&places, &hosts, limit, 400, QUIET)?;
    metered_before_traffic(&places).await?;

    let sent = sent_all(&places, limit).await?;
    ensure!(sent > 0, "the agents found no recorder");
    let (browser, site) = Browser::at_home(&served.web, &account())?;
    let stored = wait(PATIENCE, "the last record in the store", || {
        let stored = oracle::stored(&browser, &site)?;
        Ok((stored.len() as u64 >= sent).then_some(stored))
    })
    .await?;

    // Each record once, and with the result that the simulator knows.
    let marks = oracle::once(stored.iter().map(|(mark, ..)| *mark))?;
    let log = oracle::sent(&log)?;
    let told: BTreeSet<Mark> = oracle::once(log.iter().map(|record| record.mark))?;
    assert_eq!(marks, told, "records stored and records sent");
    let truth = ledger(&places).context("no ledger")?;
    let class = |name: &str| truth["records"]["by_class"][name].as_u64().unwrap_or(0);
    let shown = |result: &str, transit: bool| stored.iter().filter(|(_, r, t)| r == result && *t == transit).count() as u64;
    assert_eq!(shown("dropped", false), class("dropped"), "dropped");
    assert_eq!(shown("consumed", false), class("consumed"), "consumed");
    assert_eq!(shown("allowed", false), class("forwarded") + class("generated"), "allowed");
    assert_eq!(
        shown("allowed", true) + shown("dropped", true),
        class("transit") + class("dropped_elsewhere"),
        "seen behind a tunnel"
    );

    // The tiles of the dashboard.
    let things = &truth["things"];
    let counts = browser.json(&format!("/api/v1/sites/{site}/topology/counts"))?["counts"].clone();
    for (shown, made) in [
        ("hosts", "hosts"),
        ("hosts_up", "hosts_alive"),
        ("networks", "networks"),
        ("routers", "routers"),
        ("ports", "ports"),
        ("ports_bound", "ports_bound"),
        ("ports_up", "ports_active"),
        ("vm_ports", "vm_ports"),
        ("uplinks", "uplink_ports"),
        ("tunnel_zones", "tunnel_zones"),
        ("vteps", "vteps"),
        ("load_balancers", "load_balancers"),
        ("floating_ips", "floating_ips"),
        ("security_groups", "security_groups"),
    ] {
        assert_eq!(counts[shown].as_u64(), things[made].as_u64(), "{shown}");
    }
    // The dashboard itself, once the last meters are in.
    let mut results: BTreeMap<String, u64> = BTreeMap::new();
    for (_, result, _) in &stored {
        *results.entry(result.clone()).or_default() += 1;
    }
    let truth = dashboard::Truth {
        ledger: &ledger(&places).context("no ledger")?,
        log: &log,
        results: &results,
        transitions: &transitions::read(&hosts, "/midonet").await?,
    };
    let mut differences = Vec::new();
    let right = wait(PATIENCE, "the dashboard that the simulator's ledger gives", || {
        let (status, page) = browser.get(&format!("/s/{site}/dashboard?period=last+15+minutes"))?;
        ensure!(status == 200, "the dashboard: status {status}");
        let page = Dashboard::read(&page)?;
        differences = dashboard::compare(&page, &truth)?;
        Ok(differences.is_empty().then_some(page))
    })
    .await;
    let page = right.with_context(|| format!("differences:\n{}", differences.join("\n")))?;
    for change in &page.changes {
        let (status, page) = browser.get(&change.link)?;
        let heading = html::parse(&page)?.named("h1").first().map(|heading| heading.text());
        assert_eq!((status, heading.as_ref()), (200, Some(&change.name)), "{change:?}");
    }

    // The balance closes to the record, hop by hop.
    let mut balance = Value::Null;
    let closed = wait(PATIENCE, "a balance that closes", || {
        balance = browser.json(&format!("/api/v1/sites/{site}/balance?period=last+2+hours"))?;
        let flows = &balance["totals"]["flows"];
        let hops = ["received", "spooled", "acknowledged", "arrived", "stored"];
        let nothing = ["invalid", "dropped", "evicted", "refused", "purged"];
        let open = flows["open"].as_object().is_some_and(|open| open.values().all(|left| *left == 0));
        let right = hops.iter().all(|hop| flows["hops"][hop] == sent) && nothing.iter().all(|hop| flows["hops"][hop] == 0);
        Ok((open && right).then_some(()))
    })
    .await;
    closed.with_context(|| format!("of {sent} records: {balance}"))?;
    assert_eq!(balance["losses"], Value::Array(Vec::new()));

    // The lines that users and their scripts look for.
    let text = std::fs::read_to_string(places.cluster_log())?;
    for line in [
        "INFO [cluster-pool-1] minion Starting cluster minion: insights".to_owned(),
        "Starting Insights Cluster service...".to_owned(),
        format!("Gateway client connected to {}", served.ingest),
    ] {
        assert!(
            text.contains(&line) || line.starts_with("INFO") && text.contains("Starting cluster minion: insights"),
            "{line}"
        );
    }

    // What the site's own tool says, with nothing told to it but where the plugin answers.
    let socket = places.dir.join("gateway/status.sock");
    let status: Value = serde_json::from_str(&run(places.program("mn-insights").args(["status", "--json", "--socket"]).arg(&socket)).await?)?;
    assert_eq!(
        (&status["link"]["state"], &status["settings"]["metering.interval"]),
        (&"connected".into(), &"2000ms".into())
    );
    let found = check(&places, &["--socket", &socket.display().to_string()]).await?;
    for name in [
        "plugin",
        "ZooKeeper",
        "configuration",
        "identity",
        "name resolution",
        "UDP",
        "TLS",
        "clock",
        "spool",
        "recorder clients",
        "agents' settings",
    ] {
        assert_eq!(found.get(name).map(|finding| &finding.0[..]), Some("good"), "{name}: {found:#?}");
    }
    // All parts are on one machine, which no real site is.
    assert_eq!(found["recorder address"].0, "warning", "{found:#?}");
    assert!(found["identity"].1.contains(&places.fingerprint().await?), "{found:#?}");

    assert!(
        cluster
            .stop(Duration::from_secs(15))
            .await?
            .code()
            .is_some_and(|code| code == 143 || code == 0),
        "the daemon's orderly stop"
    );
    // Without the plugin, and without a key, it says what is missing.
    let (host, port) = served.ingest.rsplit_once(':').context("the address has no port")?;
    let socket = socket.display().to_string();
    let nowhere = places.dir.join("nowhere").display().to_string();
    let (host, port, identity) = (
        format!("gateway.host={host}"),
        format!("gateway.port={port}"),
        format!("identity.path={nowhere}"),
    );
    let options = [
        "--socket",
        &socket,
        "--zookeeper",
        &hosts,
        "--set",
        &host,
        "--set",
        &port,
        "--set",
        &identity,
    ];
    let found = check(&places, &options).await?;
    for (name, verdict, text) in [
        ("plugin", "warning", "does not answer"),
        ("identity", "problem", "there is no identity"),
        ("recorder address", "warning", "not registered"),
        ("clock", "unknown", "when the plugin connects"),
    ] {
        let finding = found.get(name).with_context(|| format!("no finding of {name}: {found:#?}"))?;
        assert!(finding.0 == verdict && finding.1.contains(text), "{name}: {finding:?}");
    }
    assert!(collector.stop(Duration::from_secs(15)).await?.success(), "the collector's orderly stop");
    secrets_stayed_where_they_belong(&places)
}

/// The simulated cloud's BGP passwords are in ZooKeeper alone, private keys in their files, and the account's password nowhere.
fn secrets_stayed_where_they_belong(places: &Places) -> Result<()> {
    const BGP_PASSWORD: &str = "bgp-secret-";
    let in_zookeeper = secrets::holders(&places.dir.join("zookeeper"), &[BGP_PASSWORD], &[])?;
    ensure!(!in_zookeeper.is_empty(), "the simulated cloud has no BGP password to look for");
    let key = std::fs::read_to_string(places.identity().join("identity.pem"))?;
    // The second line of the encoding is of the key itself.
    let key = key.lines().nth(2).context("a key has lines")?;
    let except = ["zookeeper", "password", "gateway/identity"].map(|name| places.dir.join(name));
    let found = secrets::holders(&places.dir, &[BGP_PASSWORD, &account().password, key], &except)?;
    ensure!(found.is_empty(), "secrets are in {found:?}");
    Ok(())
}

/// Seconds before the first packet: all agents are up and their meters read once, on a busy machine.
const QUIET: u32 = 30;

/// How often each part is killed.
const KILLS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_is_stored_once_whatever_is_killed() -> Result<()> {
    let _alone = ONE_STACK.lock().await;
    let dir = tempfile::tempdir()?;
    let places = Places::new(dir.path())?;
    let (_zookeeper, hosts) = places.zookeeper("3.4", 0).await?;
    places.prepare(&account()).await?;
    let (mut collector, served) = places.serve(&anywhere()).await?;
    // The same ports again: gateways and agents find them where they were.
    let at = served.clone();
    let mut cluster = places.cluster(&hosts, &at.ingest, &[]).await?;
    let log = places.dir.join("records.log");
    let mut cloud = cloud(&places, &hosts, u64::MAX, 300, 0)?;
    wait(PATIENCE, "the first record", || {
        Ok(ledger(&places)
            .filter(|ledger| ledger["records"]["sent"].as_u64() > Some(300))
            .map(|_| ()))
    })
    .await?;

    let mut taken_over: BTreeSet<Mark> = BTreeSet::new();
    for round in 0..KILLS {
        eprintln!("round {round}: {} records were on a dead gateway's disk so far", taken_over.len());
        // In mid-stream, at another moment each time.
        tokio::time::sleep(Duration::from_millis(700 + 170 * round as u64)).await;
        collector.kill().await?;
        tokio::time::sleep(Duration::from_millis(300 * (round as u64 % 4))).await;
        cluster.kill().await?;
        taken_over.extend(oracle::spooled(&places.dir.join("gateway/spool"))?);
        collector = places.serve(&at).await?.0;
        cluster = places.cluster(&hosts, &at.ingest, &[]).await?;
    }
    // Records flow again after the last kill.
    let before = ledger(&places).and_then(|ledger| ledger["records"]["sent"].as_u64()).unwrap_or(0);
    wait(PATIENCE, "records after the last kill", || {
        Ok(ledger(&places)
            .filter(|ledger| ledger["records"]["sent"].as_u64() > Some(before + 600))
            .map(|_| ()))
    })
    .await?;
    cloud.stop(Duration::from_secs(15)).await?;

    let (browser, site) = Browser::at_home(&at.web, &account())?;
    let mut last = 0;
    let stored = wait(PATIENCE, "an end of what is stored", || {
        let stored = oracle::stored(&browser, &site)?;
        let still = stored.len() == last && last > 0;
        last = stored.len();
        std::thread::sleep(Duration::from_secs(3));
        Ok(still.then_some(stored))
    })
    .await?;
    let marks = oracle::once(stored.into_iter().map(|(mark, ..)| mark))?;
    let lost: Vec<&Mark> = taken_over.difference(&marks).take(5).collect();
    assert!(lost.is_empty(), "taken over and not stored: {lost:?}");
    let told: BTreeSet<Mark> = oracle::once(oracle::sent(&log)?.iter().map(|record| record.mark))?;
    let invented: Vec<&Mark> = marks.difference(&told).take(5).collect();
    assert!(invented.is_empty(), "stored and sent by nobody: {invented:?}");
    eprintln!(
        "{} kills: {} sent, {} stored once, {} of them from a dead gateway's disk",
        2 * KILLS,
        told.len(),
        marks.len(),
        taken_over.len()
    );
    assert!(
        marks.len() * 2 > told.len(),
        "most of what was sent is stored: {} of {}",
        marks.len(),
        told.len()
    );
    cluster.stop(Duration::from_secs(15)).await?;
    collector.stop(Duration::from_secs(15)).await?;
    Ok(())
}

/// A calm small cloud whose agents lose as little as possible themselves.
fn cloud(places: &Places, hosts: &str, limit: u64, rate: u32, quiet: u32) -> Result<Process> {
    let (limit, rate, quiet) = (limit.to_string(), rate.to_string(), quiet.to_string());
    let log = places.dir.join("records.log").display().to_string();
    let mut arguments = vec!["--calm", "--flat", "--seed", "11", "--rate", &rate, "--record-log", &log];
    arguments.extend(["--queue-size", "4096", "--connection-interval", "0.2", "--quiet", &quiet]);
    if limit != u64::MAX.to_string() {
        arguments.extend(["--limit", &limit]);
    }
    places.cloud(hosts, &arguments)
}
