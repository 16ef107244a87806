// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The recorder endpoint: real TCP connections, and service discovery in a real ZooKeeper.
#![allow(clippy::unwrap_used)]

mod site;

use std::{collections::HashMap, net::SocketAddr, sync::atomic::Ordering, time::Duration};

use insights_gateway::{
    nsdb::View,
    pipe::PipeEnd,
    recorder::{self, intake::Intake},
};
use insights_protocol::{Kind, flow::FlowFact};
use midonet::nsdb::state::{HostState, Interface};
use serde_json::{Value, json};
use site::{PATIENCE, Site, ZooKeeper, golden, site};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use zookeeper_client::Client;

const SERVICE: &str = "/midonet/service-discovery/insights";

/// Starts the endpoint on a free port, with a view of a cloud that has no agents.
fn start(site: &Site) -> tokio::task::JoinHandle<()> {
    let view = View::default();
    view.set_whole();
    tokio::spawn(recorder::run(site.tap.clone(), view))
}

/// The entries of service discovery, once there are so many.
async fn entries(client: &Client, count: usize) -> Vec<(String, String, bool)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut found = Vec::new();
        for id in client.list_children(SERVICE).await.unwrap_or_default() {
            if let Ok((data, stat)) = client.get_data(&format!("{SERVICE}/{id}")).await {
                found.push((id, String::from_utf8(data).unwrap(), stat.ephemeral_owner != 0));
            }
        }
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < until, "{} entries instead of {count}", found.len());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn address(client: &Client) -> SocketAddr {
    let entry: Value = serde_json::from_str(&entries(client, 1).await[0].1).unwrap();
    SocketAddr::new(
        entry["address"].as_str().unwrap().parse().unwrap(),
        entry["port"].as_u64().unwrap() as u16,
    )
}

/// Takes flows until there are so many.
async fn flows(end: &mut PipeEnd, count: usize) -> Vec<FlowFact> {
    let mut flows = Vec::new();
    while flows.len() < count {
        let flow = timeout(PATIENCE, end.flows.recv())
            .await
            .unwrap_or_else(|_| panic!("{} of {count} flows came", flows.len()));
        flows.push(flow.unwrap());
    }
    flows
}

#[tokio::test]
async fn the_entry_has_nine_members_and_comes_back_until_the_end() {
    let mut zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    let site = site(&zookeeper.hosts(), "/midonet", json!({"recorder": {"port": 0, "host": "192.0.2.10"}}));
    let before = zookeeper.sessions();
    let running = start(&site);
    let found = entries(&client, 1).await;
    let (id, text, ephemeral) = &found[0];
    assert!(ephemeral);
    let entry: Value = serde_json::from_str(text).unwrap();
    let members: Vec<&String> = entry.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "name",
            "id",
            "address",
            "port",
            "sslPort",
            "payload",
            "registrationTimeUTC",
            "serviceType",
            "uriSpec"
        ]
    );
    assert_eq!(
        (&entry["name"], &entry["id"], &entry["address"]),
        (&json!("insights"), &json!(id), &json!("192.0.2.10"))
    );
    assert_eq!(
        (&entry["sslPort"], &entry["payload"], &entry["serviceType"], &entry["uriSpec"]),
        (&Value::Null, &Value::Null, &json!("DYNAMIC"), &Value::Null)
    );
    let port = entry["port"].as_u64().unwrap() as u16;
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();

    // Somebody takes it away.
    let created = |stat: zookeeper_client::Stat| stat.czxid;
    let first = created(client.get_data(&format!("{SERVICE}/{id}")).await.unwrap().1);
    client.delete(&format!("{SERVICE}/{id}"), None).await.unwrap();
    let until = Instant::now() + PATIENCE;
    let again = loop {
        entries(&client, 1).await;
        match client.get_data(&format!("{SERVICE}/{id}")).await {
            Ok((_, stat)) => break created(stat),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    };
    assert!(again > first);

    // The session expires.
    let own: Vec<_> = zookeeper.sessions().difference(&before).cloned().collect();
    own.iter().for_each(|session| zookeeper.expire(session));
    let until = Instant::now() + PATIENCE;
    loop {
        entries(&client, 1).await;
        match client.get_data(&format!("{SERVICE}/{id}")).await {
            Ok((_, stat)) if created(stat) > again => break,
            _ => assert!(Instant::now() < until, "the entry did not come back"),
        }
        sleep(Duration::from_millis(20)).await;
    }

    site.stop.stop();
    running.await.unwrap();
    entries(&client, 0).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn golden_streams_of_real_connections() {
    let zookeeper = ZooKeeper::start("3.9", 2_000);
    let client = zookeeper.client().await;
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({"recorder": {"port": 0, "bind": "127.0.0.1"}}));
    let running = start(&site);
    let address = address(&client).await;
    assert!(address.ip().is_loopback());
    for name in ["flows-binary.wire", "flows-json.wire"] {
        let stream = golden(&format!("flows/{name}"));
        let mut agent = TcpStream::connect(address).await.unwrap();
        // Small pieces with pauses, as a network cuts them.
        for (index, piece) in stream.chunks(1_500).enumerate() {
            agent.write_all(piece).await.unwrap();
            if index % 8 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let got = flows(&mut site.end, 78).await;
        let mut expected = Vec::new();
        Intake::default()
            .take(&stream, 0, |fact| expected.push(fact), |why| panic!("{why}"))
            .unwrap();
        let now = got[0].received_us;
        assert!(now > 1_500_000_000_000_000);
        let unstamped = |flows: Vec<FlowFact>| flows.into_iter().map(|flow| FlowFact { received_us: 0, ..flow }).collect::<Vec<_>>();
        assert_eq!(unstamped(got), expected);
        assert_eq!(site.tap.pipe.gauges().agents_connected.load(Ordering::Relaxed), 1);
        drop(agent);
        let until = Instant::now() + PATIENCE;
        while site.tap.pipe.gauges().agents_connected.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < until);
            sleep(Duration::from_millis(10)).await;
        }
    }
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn without_flows_there_is_no_endpoint() {
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    let site = site(&zookeeper.hosts(), "/midonet", json!({"recorder": {"port": 0}}));
    let running = start(&site);
    entries(&client, 1).await;
    site.end.settings.send_modify(|settings| settings.kinds.flows = false);
    entries(&client, 0).await;
    site.end.settings.send_modify(|settings| settings.kinds.flows = true);
    entries(&client, 1).await;
    site.stop.stop();
    running.await.unwrap();
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// A frame's length in four bytes, which is as large as it can be said.
const HUGE: [u8; 4] = [0xff, 0xff, 0xff, 0x7f];
/// The length of the largest record that an agent sends.
const LARGEST: [u8; 3] = [0x80, 0xc0, 0x0c];

#[tokio::test]
async fn hostile_peers_cost_bounded_memory_and_no_records() {
    // Both ends of the connections are in this process.
    let raised = std::process::Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), "--nofile=16384:16384"])
        .status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit raises the number of open files");
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    let mut site = site(
        &zookeeper.hosts(),
        "/midonet",
        json!({"recorder": {"port": 0, "bind": "127.0.0.1", "max_connections": 1_001}}),
    );
    let running = start(&site);
    let address = address(&client).await;
    let mut agent = TcpStream::connect(address).await.unwrap();
    let stream = golden("flows/flows-binary.wire");
    agent.write_all(&stream).await.unwrap();
    flows(&mut site.end, 78).await;

    let before = resident();
    let mut peers = Vec::new();
    for index in 0..1_000 {
        let mut peer = TcpStream::connect(address).await.unwrap();
        let bytes = match index % 10 {
            0 => Vec::new(),
            1 => [&HUGE[..], &[0; 100_000]].concat(),
            2 => vec![0xff; 100_000],
            _ => [&LARGEST[..], &[b'{'; 204_000]].concat(),
        };
        // The endpoint may have closed it already.
        let _ = peer.write_all(&bytes).await;
        peers.push(peer);
    }
    let grown = resident().saturating_sub(before);
    eprintln!("1,000 hostile peers: {} MiB", grown >> 20);
    assert!(grown < 120 << 20, "1,000 peers cost {} MiB", grown >> 20);
    assert!(site.tap.pipe.gauges().agents_connected.load(Ordering::Relaxed) <= 1_001);
    // Those that sent garbage were closed.
    let mut byte = [0];
    for peer in peers.iter_mut().skip(2).step_by(10) {
        let closed = timeout(PATIENCE, peer.read(&mut byte)).await.expect("closed in time");
        assert!(matches!(closed, Ok(0) | Err(_)));
    }

    agent.write_all(&stream).await.unwrap();
    flows(&mut site.end, 78).await;
    let counters: HashMap<Kind, _> = site.tap.pipe.counters().into_iter().map(|counters| (counters.kind, counters)).collect();
    assert_eq!(counters[&Kind::Flows].received - counters[&Kind::Flows].invalid, 156);
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn a_full_house_closes_new_connections_and_keeps_the_old() {
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    let mut site = site(
        &zookeeper.hosts(),
        "/midonet",
        json!({"recorder": {"port": 0, "bind": "127.0.0.1", "max_connections": 1}}),
    );
    let running = start(&site);
    let address = address(&client).await;
    let mut agent = TcpStream::connect(address).await.unwrap();
    let stream = golden("flows/flows-json.wire");
    agent.write_all(&stream).await.unwrap();
    flows(&mut site.end, 78).await;
    let mut late = TcpStream::connect(address).await.unwrap();
    assert!(matches!(timeout(PATIENCE, late.read(&mut [0])).await.unwrap(), Ok(0) | Err(_)));
    agent.write_all(&stream).await.unwrap();
    flows(&mut site.end, 78).await;
    assert_eq!(site::event(&mut site.end, "recorder.bad_peer").await.fields[0].1, "127.0.0.1");
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn who_is_not_listed_is_refused_counted_and_told() {
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    let mut site = site(
        &zookeeper.hosts(),
        "/midonet",
        json!({"recorder": {"port": 0, "bind": "127.0.0.1", "clients": "192.0.2.0/24, ::1"}}),
    );
    let running = start(&site);
    let address = address(&client).await;
    for _ in 0..2 {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        assert!(matches!(timeout(PATIENCE, stranger.read(&mut [0])).await.unwrap(), Ok(0) | Err(_)));
    }
    let event = site::event(&mut site.end, "recorder.refused").await;
    assert_eq!(event.fields[0], ("peer".into(), "127.0.0.1".into()));
    assert!(
        event
            .text
            .contains("insights_cloud.recorder.clients is 192.0.2.0/24, ::1/128 and the address is not in the list"),
        "{}",
        event.text
    );
    assert_eq!(site.tap.pipe.gauges().agents_refused.load(Ordering::Relaxed), 2);
    assert_eq!(site.tap.pipe.gauges().agents_connected.load(Ordering::Relaxed), 0);
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn a_host_whose_addresses_come_late_loses_no_record() {
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    let mut site = site(
        &zookeeper.hosts(),
        "/midonet",
        json!({"recorder": {"port": 0, "bind": "127.0.0.1", "clients": "hosts"}}),
    );
    let view = View::default();
    view.set_whole();
    let running = tokio::spawn(recorder::run(site.tap.clone(), view.clone()));
    let address = address(&client).await;
    let stream = golden("flows/flows-json.wire");
    let mut agent = TcpStream::connect(address).await.unwrap();
    agent.write_all(&stream).await.unwrap();
    // Who only looks whether the port is open is no stranger to speak of.
    drop(TcpStream::connect(address).await.unwrap());
    sleep(Duration::from_millis(300)).await;
    assert!(site.end.flows.try_recv().is_err(), "nothing is read before the peer is known");
    let host = "c0ffee00-0000-4000-8000-000000000001";
    let interface = Interface {
        name: "eth0".into(),
        up: true,
        addresses: vec!["127.0.0.1".parse().unwrap()],
        ..Interface::default()
    };
    let state = HostState {
        host: host.parse().ok(),
        interfaces: vec![interface],
    };
    view.put(&format!("zoom/0/state/{host}/Host/{host}/host"), state.to_text().as_bytes());
    flows(&mut site.end, 78).await;
    assert_eq!(site.tap.pipe.gauges().agents_refused.load(Ordering::Relaxed), 0);
    assert_eq!(site.tap.pipe.gauges().agents_foreign.load(Ordering::Relaxed), 0);
    site.stop.stop();
    running.await.unwrap();
}
