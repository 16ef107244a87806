// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Whole simulations against a real ZooKeeper and a recorder that reads as the gateway does.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    net::Ipv4Addr,
    time::Duration,
};

use insights_cloudsim::{
    run::{Options, Simulation},
    size::Size,
    traffic::{Rate, Settings},
};
use midonet::{
    flow::{DeviceKind, FlowRecord, RuleResult, SimResult},
    meters::parse_device_stats,
    nsdb::Root,
};
use serde_json::Value;
use support::{Recorder, ZooKeeper};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use uuid::Uuid;

const ROOT: &str = "/cloud/midonet";

fn options(zookeeper: &ZooKeeper, underlay: Ipv4Addr, limit: u64) -> Options {
    Options {
        zookeeper: zookeeper.hosts.clone(),
        root: Root::new(ROOT).unwrap(),
        size: Size::SMALL,
        seed: 7,
        reset: false,
        underlay,
        stats_port: 0,
        service: "insights".to_owned(),
        workers: 2,
        traffic: Settings {
            rate: Rate { mean: 1500.0, flat: true },
            json_percent: 30,
            seed: 7,
            limit: Some(limit),
            quiet: std::time::Duration::ZERO,
        },
        ledger: None,
        ledger_listen: None,
        record_log: None,
        queue: 4096,
        connection_interval: Duration::from_millis(50),
        life: None,
    }
}

fn ledger(simulation: &Simulation) -> Value {
    serde_json::from_str(&simulation.ledger.to_json(0, 0)).unwrap()
}

/// Waits for something that is on its way; the bound is for a machine that does nothing else meanwhile.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn everything_arrives(version: &str, underlay: Ipv4Addr) {
    let zookeeper = ZooKeeper::start(version);
    let recorder = Recorder::start(&zookeeper, ROOT).await;
    let simulation = Simulation::start(options(&zookeeper, underlay, 6000)).await.unwrap();
    until("the limit", async || {
        let ledger = ledger(&simulation);
        ledger["records"]["made"].as_u64().unwrap() >= 6000 && {
            let agents = ledger["records"]["by_agent"].as_object().unwrap();
            let lost: u64 = agents
                .values()
                .map(|agent| agent["queue_full"].as_u64().unwrap() + agent["no_endpoint"].as_u64().unwrap())
                .sum();
            ledger["records"]["sent"].as_u64().unwrap() + lost == ledger["records"]["made"].as_u64().unwrap()
        }
    })
    .await;
    let truth = ledger(&simulation);
    let sent = truth["records"]["sent"].as_u64().unwrap() as usize;
    assert!(sent > 4000, "{sent} of 6000 records were sent");
    until("the arrival of all records", async || recorder.records.lock().len() == sent).await;
    assert_eq!(*recorder.errors.lock(), Vec::<String>::new());
    let records = recorder.records.lock().clone();

    check_counts(&truth, &records);
    check_against_topology(&simulation, &records);
    check_meters(&simulation).await;
    check_state(&zookeeper, &simulation).await;

    simulation.stop().await;
    let client = zookeeper.client().await;
    let hosts = client.list_children(&format!("{ROOT}/zoom/0/models/Host")).await.unwrap();
    assert_eq!(hosts.len(), 8);
    for host in hosts {
        let alive = format!("{ROOT}/zoom/0/state/{host}/Host/{host}/alive");
        until("the end of the agents' sessions", async || {
            client.check_stat(&alive).await.unwrap().is_none()
        })
        .await;
    }
}

/// What the ledger says about the records is what somebody reads who has the records only.
fn check_counts(truth: &Value, records: &[FlowRecord]) {
    let marks: HashSet<(Uuid, u64)> = records.iter().map(|record| (record.host, record.cookie)).collect();
    assert_eq!(marks.len(), records.len(), "host and cookie name one record");
    let mut classes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rules: BTreeMap<String, u64> = BTreeMap::new();
    for record in records {
        let last = record
            .rules
            .iter()
            .rev()
            .find(|rule| matches!(rule.result, RuleResult::Drop | RuleResult::Reject));
        let class = match record.sim_result {
            SimResult::GeneratedPacket => "generated",
            SimResult::NoOp => "consumed",
            _ if record.is_tunnel_duplicate() => "transit",
            _ if !record.actions.is_empty() => "forwarded",
            _ => match last {
                Some(rule) => {
                    *rules.entry(rule.id.to_string()).or_default() += 1;
                    "dropped"
                }
                None => "dropped_elsewhere",
            },
        };
        *classes.entry(class).or_default() += 1;
    }
    let told = |value: &Value| -> BTreeMap<String, u64> {
        value
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, count)| (key.clone(), count.as_u64().unwrap()))
            .collect()
    };
    let classes: BTreeMap<String, u64> = classes.into_iter().map(|(key, count)| (key.to_owned(), count)).collect();
    assert_eq!(told(&truth["records"]["by_class"]), classes);
    assert_eq!(told(&truth["records"]["by_dropping_rule"]), rules);
    for class in ["forwarded", "dropped", "consumed", "generated", "transit"] {
        assert!(classes.get(class).is_some_and(|count| *count > 10), "{class}: {classes:?}");
    }
    assert!(records.iter().any(|record| !record.vlan_ids.is_empty()));
    assert!(records.iter().any(|record| record.ether_type == 0x86dd && !record.actions.is_empty()));
    assert!(
        records
            .iter()
            .any(|record| record.devices.iter().any(|device| device.kind == DeviceKind::Pool))
    );
    assert!(records.iter().any(|record| record.proto == 1 && record.icmp_id != 0));
}

/// Every device, port and rule of a record is in the topology, and a record's in-port is where its path begins.
fn check_against_topology(simulation: &Simulation, records: &[FlowRecord]) {
    let plan = simulation.plan.lock();
    let known: HashSet<Uuid> = plan.zoom.iter().map(|obj| obj.id).collect();
    for record in records {
        assert!(plan.hosts.iter().any(|host| host.id == record.host));
        assert!(record.devices.iter().all(|device| known.contains(&device.id)));
        assert!(record.rules.iter().all(|rule| known.contains(&rule.id)));
        assert!(record.out_ports.iter().all(|port| known.contains(port)));
        if let Some(first) = record.devices.first().filter(|_| record.sim_result != SimResult::GeneratedPacket) {
            assert_eq!(Some(first.id), record.in_port);
        }
    }
}

async fn check_meters(simulation: &Simulation) {
    for agent in simulation.agents.iter() {
        let expected: BTreeMap<String, (u64, u64)> = agent.meters.lock().sums();
        let address = (agent.address(), simulation.stats_port(agent.host.id).unwrap());
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /device_stats HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        let split = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&response[..split]).into_owned();
        let body = &response[split + 4..];
        assert_eq!(head, format!("HTTP/1.1 200 OK\r\nContent-length: {}", body.len()));
        let stats = parse_device_stats(body);
        assert_eq!(stats.invalid, 0);
        let sums = stats.sums();
        if agent.host.name == "compute-1" {
            assert!(stats.meters.len() > sums.len(), "threads have lines of their own");
        }
        // Counters only grow, and flows of the last seconds may have ended since.
        for (key, (packets, bytes)) in expected {
            let shown = sums[&key.parse::<midonet::meters::MeterKey>().unwrap()];
            assert!(shown.packets as u64 >= packets && shown.bytes as u64 >= bytes, "{key}");
        }
    }
}

async fn check_state(zookeeper: &ZooKeeper, simulation: &Simulation) {
    let client = zookeeper.client().await;
    let truth = ledger(simulation);
    let root = Root::new(ROOT).unwrap();
    let (mut active, mut alive, mut routes) = (0, 0, 0);
    for host in client.list_children(&root.class("Host")).await.unwrap() {
        let host: Uuid = host.parse().unwrap();
        let (data, stat) = client.get_data(&root.state_key(host, "Host", host, "alive")).await.unwrap();
        assert_eq!(data, b"alive");
        assert_ne!(stat.ephemeral_owner, 0);
        alive += 1;
        let (data, _) = client.get_data(&root.state_key(host, "Host", host, "host")).await.unwrap();
        assert_eq!(midonet::nsdb::state::HostState::parse(&data).unwrap().host, Some(host));
        for port in client.list_children(&root.state_class(host, "Port")).await.unwrap() {
            let port: Uuid = port.parse().unwrap();
            let (data, _) = client.get_data(&root.state_key(host, "Port", port, "active")).await.unwrap();
            assert_eq!(midonet::nsdb::state::PortState::parse(&data).unwrap().host, host);
            active += 1;
            if let Ok(list) = client.list_children(&root.state_key(host, "Port", port, "routes")).await {
                routes += list.len();
                assert!(list.iter().all(|route| route.parse::<midonet::nsdb::LearnedRoute>().is_ok()));
            }
        }
    }
    assert_eq!((alive, active, routes), (8, truth["things"]["ports_active"].as_u64().unwrap(), 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_with_zookeeper_3_4() {
    everything_arrives("3.4", Ipv4Addr::new(127, 71, 0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_with_zookeeper_3_9() {
    everything_arrives("3.9", Ipv4Addr::new(127, 72, 0, 0)).await;
}
