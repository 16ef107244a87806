// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Scripted incidents in one running cloud: each opens the alert of its rule and no other, or is named first by the question for the cause.
//!
//! The table at the end has the time from each fact to its alert.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use insights_cloudsim::incident::{Incident, Scene, Stage};
use insights_cloudsim::run::{Options, Simulation};
use insights_cloudsim::size::Size;
use insights_cloudsim::traffic::{From, Probe, Rate, Settings, To};
use insights_e2e::manager::Browser;
use insights_e2e::process::wait;
use insights_e2e::stack::{Account, Places, Served};
use serde_json::Value;

/// Longest wait for something that is sure to come; two busy cores are slow.
const PATIENCE: Duration = Duration::from_secs(180);

/// A cloud that is whole must have been quiet for so long before anything happens, and again at the end.
const QUIET: Duration = Duration::from_secs(20);

/// Incidents that a rule of every site tells.
const ALERTS: [(Incident, &str); 7] = [
    (Incident::HostStops, "host-down"),
    (Incident::PortInactive, "port-down"),
    (Incident::UplinkInactive, "port-down"),
    (Incident::BgpDown, "bgp-down"),
    (Incident::VtepError, "vtep-error"),
    (Incident::MemberInactive, "pool-member-inactive"),
    (Incident::HostCrashes, "host-down"),
];

/// Incidents that drop somebody's packets and are no alert: the first thing that the question for the cause names is what happened.
const CAUSES: [Incident; 9] = [
    Incident::RuleRemoved,
    Incident::EgressRemoved,
    Incident::DatabaseShut,
    Incident::WrongGroup,
    Incident::DropRule,
    Incident::WrongRoute,
    Incident::RouteRemoved,
    Incident::PortDisabled,
    Incident::FloatingMoved,
];

fn account() -> Account {
    Account {
        email: "e2e@example.org".into(),
        name: "Grace Tester".into(),
        password: "correct horse battery".into(),
        site: "lab".into(),
    }
}

fn cloud(zookeeper: &str) -> Result<Options> {
    Ok(Options {
        zookeeper: zookeeper.to_owned(),
        root: midonet::nsdb::Root::new("/midonet").context("a root")?,
        size: Size::SMALL,
        seed: 7,
        reset: false,
        underlay: Ipv4Addr::new(127, 66, 0, 0),
        stats_port: 0,
        service: "insights".to_owned(),
        workers: 1,
        traffic: Settings {
            rate: Rate { mean: 20.0, flat: true },
            json_percent: 10,
            seed: 7,
            limit: None,
            quiet: Duration::ZERO,
        },
        ledger: None,
        ledger_listen: None,
        record_log: None,
        queue: 4_096,
        connection_interval: Duration::from_secs(2),
        life: None,
    })
}

/// The manager as this test asks it.
struct Asked {
    browser: Browser,
    api: String,
}

impl Asked {
    /// All alerts that there ever were, by rule and subject.
    fn alerts(&self) -> Result<BTreeMap<(String, String), Value>> {
        let answer = self.browser.json(&format!("{}/alerts?state=all", self.api))?;
        let alerts = answer["alerts"].as_array().context("a list of alerts")?;
        let key = |alert: &Value| {
            let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
            (text("rule"), text("subject"))
        };
        Ok(alerts.iter().map(|alert| (key(alert), alert.clone())).collect())
    }

    async fn opened(&self, key: &(String, String)) -> Result<Value> {
        let what = format!("the alert {key:?}");
        wait(PATIENCE, &what, || {
            Ok(self.alerts()?.remove(key).filter(|alert| alert["state"] == "open"))
        })
        .await
    }

    async fn all_over(&self) -> Result<()> {
        wait(PATIENCE, "the end of all alerts", || {
            Ok(self.alerts()?.values().all(|alert| alert["state"] == "resolved").then_some(()))
        })
        .await
    }

    /// The newest record of a probe's conversation with a result since a moment.
    async fn recorded(&self, ends: &Ends, result: &str, since_us: i64) -> Result<String> {
        let filter = format!(
            "src.ip = {} and dst.ip = {} and dst.port = {} and result = {result}",
            ends.src, ends.dst, ends.port
        );
        let path = format!(
            "{}/flows?period=last+15+minutes&limit=1&filter={}",
            self.api,
            filter.replace(' ', "+").replace('=', "%3D")
        );
        let what = format!("a record of {filter}");
        wait(PATIENCE, &what, || {
            let answer = self.browser.json(&path)?;
            let flow = answer["flows"]
                .get(0)
                .filter(|flow| flow["time_us"].as_i64().is_some_and(|at| at >= since_us));
            Ok(flow.and_then(|flow| flow["id"].as_str()).map(str::to_owned))
        })
        .await
    }
}

/// A probe's packet as its first agent sees it.
struct Ends {
    src: String,
    dst: String,
    port: u16,
}

impl Ends {
    fn of(simulation: &Simulation, probe: &Probe) -> Result<Ends> {
        let view = simulation.context.view.read().clone();
        let address = |id: &uuid::Uuid| {
            let port = view.port_by_id.get(id).map(|index| view.port(*index));
            port.and_then(|port| port.addresses.first()).map(ToString::to_string)
        };
        let src = match &probe.from {
            From::Outside(address) => Some(address.to_string()),
            From::Vm(id) => address(id),
        };
        let dst = match &probe.to {
            To::Address(address) => Some(address.to_string()),
            To::Vm(id) => address(id),
        };
        Ok(Ends {
            src: src.context("the probe has no source")?,
            dst: dst.context("the probe has no destination")?,
            port: probe.port,
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_incident_is_told_by_its_rule_or_named_as_the_cause() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let places = Places::new(dir.path())?;
    let (_zookeeper, hosts) = places.zookeeper("3.9", 0).await?;
    places.prepare(&account()).await?;
    let anywhere = Served {
        ingest: "127.0.0.1:0".into(),
        web: "127.0.0.1:0".into(),
    };
    let (_collector, served) = places.serve(&anywhere).await?;
    let mut cluster = places.cluster(&hosts, &served.ingest, &[]).await?;
    let simulation = Simulation::start(cloud(&hosts)?).await?;
    let mut stage = Stage::new(simulation.life(7), 7);
    let (browser, site) = Browser::at_home(&served.web, &account())?;
    let api = format!("/api/v1/sites/{site}");
    let asked = Asked { browser, api };
    whole(&asked, &simulation).await?;

    // A cloud that is whole is quiet; what was told while it came up is over.
    asked.all_over().await?;
    let before: BTreeSet<_> = asked.alerts()?.into_keys().collect();
    tokio::time::sleep(QUIET).await;
    let quiet: BTreeSet<_> = asked.alerts()?.into_keys().collect();
    ensure!(
        quiet == before,
        "alerts of a quiet cloud: {:?}",
        quiet.difference(&before).collect::<Vec<_>>()
    );

    let mut expected = before;
    let mut latencies = Vec::new();
    for (incident, rule) in ALERTS {
        let scene = stage.set(incident).with_context(|| format!("nothing for {}", incident.slug()))?;
        let key = (rule.to_owned(), scene.subject.to_string());
        ensure!(expected.insert(key.clone()), "{key:?} twice");
        let at_us = stage.play(&scene).await.context("it did not happen")?;
        let alert = asked.opened(&key).await.with_context(|| incident.slug().to_owned())?;
        let opened_us = alert["opened_us"].as_i64().context("an alert has a time")?;
        // A session that nobody closed runs out at the server; what it says of the end is the fact.
        let fact_us = match incident {
            Incident::HostCrashes => alert["since_us"].as_i64().unwrap_or(at_us),
            _ => at_us,
        };
        latencies.push((incident.slug(), (opened_us - fact_us) as f64 / 1e6));
        only(&asked, &expected, incident.slug())?;
        mend(&mut stage, &scene).await?;
    }
    asked.all_over().await?;

    for incident in CAUSES {
        cause(&asked, &mut stage, &simulation, incident)
            .await
            .with_context(|| incident.slug().to_owned())?;
        only(&asked, &expected, incident.slug())?;
    }

    // The only gateway goes: nobody knows the state of the cloud, and nothing else is told.
    let killed_us = insights_cloudsim::clock::now_us();
    cluster.kill().await?;
    let alert = wait(PATIENCE, "the alert of the gateway", || {
        Ok(asked
            .alerts()?
            .into_values()
            .find(|alert| alert["rule"] == "gateway-away" && alert["state"] == "open"))
    })
    .await?;
    latencies.push(("gateway-lost", (alert["opened_us"].as_i64().unwrap_or(0) - killed_us) as f64 / 1e6));
    expected.insert(("gateway-away".to_owned(), alert["subject"].as_str().unwrap_or_default().to_owned()));
    only(&asked, &expected, "gateway-lost")?;
    let _cluster = places.cluster(&hosts, &served.ingest, &[]).await?;
    asked.all_over().await?;
    tokio::time::sleep(QUIET).await;
    only(&asked, &expected, "the end")?;

    eprintln!("from the fact to the alert, s:");
    for (incident, seconds) in &latencies {
        eprintln!("  {incident:<18} {seconds:6.2}");
    }
    simulation.stop().await;
    Ok(())
}

/// All hosts and ports that the simulation has up are up in the manager.
async fn whole(asked: &Asked, simulation: &Simulation) -> Result<()> {
    let hosts = simulation.agents.len() as u64;
    wait(PATIENCE, "a cloud that is whole", || {
        let counts = asked.browser.json(&format!("{}/topology/counts", asked.api))?["counts"].clone();
        Ok((counts["hosts_up"] == hosts && counts["ports_up"] == counts["ports_bound"]).then_some(()))
    })
    .await
}

fn only(asked: &Asked, expected: &BTreeSet<(String, String)>, when: &str) -> Result<()> {
    let alerts = asked.alerts()?;
    let more: Vec<_> = alerts.iter().filter(|(key, _)| !expected.contains(*key)).collect();
    ensure!(more.is_empty(), "{when}: alerts that nobody expects: {more:#?}");
    Ok(())
}

async fn mend(stage: &mut Stage, scene: &Scene) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    // The address of a host that was stopped is free in a moment.
    while !stage.end(scene).await {
        ensure!(Instant::now() < deadline, "{} can't be mended", scene.incident.slug());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// The probe gets through, the incident happens, it does not any more, and the record says why.
async fn cause(asked: &Asked, stage: &mut Stage, simulation: &Simulation, incident: Incident) -> Result<()> {
    let scene = stage.set(incident).context("nothing for it")?;
    let probe = scene.probe.context("it has no probe")?;
    let ends = Ends::of(simulation, &probe)?;
    let begun_us = insights_cloudsim::clock::now_us();
    ensure!(stage.probe(&probe) == Some(true), "the probe is stopped before anything happens");
    asked.recorded(&ends, "allowed", begun_us - 5_000_000).await?;
    stage.play(&scene).await.context("it did not happen")?;
    // A record within the very millisecond of a change can't be held against it: objects of one change reach the gateway one after the other.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let played_us = insights_cloudsim::clock::now_us();
    ensure!(stage.probe(&probe) == Some(false), "the probe gets through in spite of it");
    let dropped = asked.recorded(&ends, "dropped", played_us - 1_000_000).await?;
    let found = asked.browser.json(&format!("{}/flows/{dropped}/cause", asked.api))?;
    let first = &found["cause"]["suspects"][0];
    let named = first["change"]["id"].as_str() == Some(&scene.subject.to_string());
    // An address that moves is a translation that changes: its rules are what the packet meets.
    let moved = incident == Incident::FloatingMoved && first["change"]["kind"] == "rule";
    if first["decides"] != true || !(named || moved) {
        bail!("{} is not named first: {found:#}", scene.subject);
    }
    mend(stage, &scene).await?;
    Ok(())
}
