// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What happens to a cloud reaches ZooKeeper, its agents and its traffic.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use insights_cloudsim::{
    life::Event,
    obj::Kind,
    run::{Options, Simulation},
    size::Size,
    traffic::{Rate, Settings},
};
use midonet::nsdb::Root;
use support::{Recorder, ZooKeeper};
use tokio::time::{Instant, sleep};
use zookeeper_client::Client;

const ROOT: &str = "/midonet";

async fn start(zookeeper: &ZooKeeper, underlay: Ipv4Addr) -> Simulation {
    Simulation::start(Options {
        zookeeper: zookeeper.hosts.clone(),
        root: Root::new(ROOT).unwrap(),
        size: Size::SMALL,
        seed: 11,
        reset: false,
        underlay,
        stats_port: 0,
        service: "insights".to_owned(),
        workers: 1,
        traffic: Settings {
            rate: Rate { mean: 800.0, flat: true },
            json_percent: 0,
            seed: 11,
            limit: None,
            quiet: std::time::Duration::ZERO,
        },
        ledger: None,
        ledger_listen: None,
        record_log: None,
        queue: 4096,
        connection_interval: Duration::from_millis(50),
        life: None,
    })
    .await
    .unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Every object and configured table entry in ZooKeeper, as text.
async fn stored(client: &Client) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let root = Root::new(ROOT).unwrap();
    let (mut objects, mut entries) = (BTreeMap::new(), BTreeSet::new());
    for kind in Kind::ALL {
        for id in client.list_children(&root.class(kind.name())).await.unwrap() {
            let (data, _) = client.get_data(&format!("{}/{id}", root.class(kind.name()))).await.unwrap();
            objects.insert(format!("{}/{id}", kind.name()), String::from_utf8(data).unwrap());
            assert!(
                client
                    .check_stat(&root.provenance(kind.name(), id.parse().unwrap()))
                    .await
                    .unwrap()
                    .is_some()
            );
        }
    }
    for id in client.list_children(&root.class("Network")).await.unwrap() {
        for table in ["mac_table/0", "ip4_mac_table"] {
            let list = client
                .list_children(&format!("{}/{id}/{table}", root.table_class("Network")))
                .await
                .unwrap();
            entries.extend(
                list.iter()
                    .filter(|entry| entry.ends_with(",2147483647"))
                    .map(|entry| format!("{id}/{table}/{entry}")),
            );
        }
    }
    (objects, entries)
}

/// The same, as the simulation means it.
fn meant(simulation: &Simulation) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let plan = simulation.plan.lock();
    let objects = plan
        .zoom
        .iter()
        .map(|obj| (format!("{}/{}", obj.kind.name(), obj.id), obj.to_text()))
        .collect();
    let entries = plan
        .zoom
        .entries()
        .map(|entry| format!("{}/{}/{}", entry.id, entry.table, entry.entry))
        .collect();
    (objects, entries)
}

/// No object refers to one that isn't there, and both sides of a reference agree on it.
fn assert_whole(simulation: &Simulation) {
    let plan = simulation.plan.lock();
    for port in plan.zoom.all(Kind::Port) {
        for field in ["network_id", "router_id"] {
            let kind = if field == "network_id" { Kind::Network } else { Kind::Router };
            if let Some(device) = port.uuid(field) {
                assert!(plan.zoom.get(kind, device).unwrap().uuids("port_ids").any(|id| id == port.id));
            }
        }
        if let Some(host) = port.uuid("host_id") {
            assert!(plan.zoom.get(Kind::Host, host).unwrap().uuids("port_ids").any(|id| id == port.id));
        }
        assert!(port.uuids("fip_nat_rule_ids").all(|rule| plan.zoom.has(Kind::Rule, rule)));
    }
    for chain in plan.zoom.all(Kind::Chain) {
        assert!(
            chain
                .uuids("rule_ids")
                .all(|rule| plan.zoom.get(Kind::Rule, rule).unwrap().uuid("chain_id") == Some(chain.id))
        );
    }
    for host in plan.zoom.all(Kind::Host) {
        assert!(host.uuids("port_ids").all(|port| plan.zoom.has(Kind::Port, port)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_in_zookeeper_as_it_is_meant() {
    let zookeeper = ZooKeeper::start("3.4");
    let simulation = start(&zookeeper, Ipv4Addr::new(127, 73, 0, 0)).await;
    let client = zookeeper.client().await;
    assert_eq!(stored(&client).await, meant(&simulation));
    let mut life = simulation.life(3);
    let before = meant(&simulation).0.len();
    for event in [
        Event::VmCreated,
        Event::VmCreated,
        Event::VmMigrated,
        Event::VmDeleted,
        Event::PortDown,
        Event::RuleRemoved,
        Event::RouteWithdrawn,
        Event::MemberDown,
        Event::FloatingMoved,
        Event::VmDeleted,
    ] {
        assert!(life.happen(event).await, "{event:?} happened");
        assert_whole(&simulation);
        assert_eq!(stored(&client).await, meant(&simulation), "after {event:?}");
    }
    assert_ne!(meant(&simulation).0.len(), before);
    simulation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_rule_begins_drops_and_a_dead_host_leaves_no_state() {
    let zookeeper = ZooKeeper::start("3.9");
    let recorder = Recorder::start(&zookeeper, ROOT).await;
    let simulation = start(&zookeeper, Ipv4Addr::new(127, 74, 0, 0)).await;
    let mut life = simulation.life(5);

    // Without the rules for HTTP and HTTPS of any tenant, no new web connection gets in.
    let to_web = |record: &midonet::flow::FlowRecord| {
        let from_outside =
            |src: std::net::IpAddr, dst: std::net::IpAddr| !src.to_string().starts_with("10.") && dst.to_string().starts_with("198.18.");
        matches!(record.dst_port, 80 | 443) && record.trusted_addresses().is_some_and(|(src, dst)| from_outside(src, dst))
    };
    let drops = |from: usize| {
        recorder.records.lock()[from..]
            .iter()
            .filter(|record| to_web(record) && record.actions.is_empty())
            .count()
    };
    until("web traffic", async || {
        recorder
            .records
            .lock()
            .iter()
            .filter(|record| to_web(record) && !record.actions.is_empty())
            .count()
            > 50
    })
    .await;
    assert_eq!(drops(0), 0);
    let from = recorder.records.lock().len();
    while life.happen(Event::RuleRemoved).await {}
    until("drops of web traffic", async || drops(from) > 20).await;
    let plan_rules: BTreeSet<String> = simulation
        .plan
        .lock()
        .zoom
        .all(Kind::Rule)
        .iter()
        .map(|rule| rule.id.to_string())
        .collect();
    let truth: serde_json::Value = serde_json::from_str(&simulation.ledger.to_json(0, 0)).unwrap();
    assert!(
        truth["records"]["by_dropping_rule"]
            .as_object()
            .unwrap()
            .keys()
            .any(|rule| plan_rules.contains(rule))
    );

    let alive = |simulation: &Simulation| simulation.agents.iter().filter(|agent| agent.is_alive()).count();
    let before = alive(&simulation);
    assert!(life.happen(Event::HostDies).await);
    assert_eq!(alive(&simulation), before - 1);
    let dead = simulation.agents.iter().find(|agent| !agent.is_alive()).unwrap().host.id;
    let root = Root::new(ROOT).unwrap();
    let client = zookeeper.client().await;
    let path = root.state_key(dead, "Host", dead, "alive");
    // A crashed host's session lives on until the server gives it up.
    until("the end of the dead host's state", async || {
        client.check_stat(&path).await.unwrap().is_none()
    })
    .await;
    let from = recorder.records.lock().len();
    until("traffic of the others", async || recorder.records.lock().len() > from + 200).await;
    assert!(recorder.records.lock()[from..].iter().skip(100).all(|record| record.host != dead));
    assert_eq!(*recorder.errors.lock(), Vec::<String>::new());
    simulation.stop().await;
}
