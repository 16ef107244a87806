// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Gateways against the real endpoint, store and catalogue.

#![allow(clippy::unwrap_used)]

mod service;

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use insights_collector::{accounts::AccountError, clock::now_us, ingest::CommandError, site::State};
use insights_protocol::{
    Kind, PROTOCOL_VERSION,
    batch::{self, Payload},
    control::{CommandDone, CommandKind, RefusalCode, ToGateway, ToService, close},
    event::{Event, Level},
    flow::{FlowFact, Path, Tunnel},
    meters::{HostReading, Meter, MeterDelta},
    stream::StreamWriter,
    topology::{Change, Node},
};
use insights_store::{
    FlowFilter, Period, SiteId, Store,
    catalog::{Catalog, EventQuery},
    query::{Budget, FlowQuery},
};
use quinn::{ConnectionError, VarInt};
use service::{Gateway, Identity, Service, eventually, flow, hello, open, receive, recently, send, send_batch, send_bytes};
use uuid::Uuid;

const EPOCH: u64 = 77;

/// TLS alerts as QUIC carries them: 0x100 and the alert's number (RFC 9001, 4.8).
const CERTIFICATE_EXPIRED: u64 = 0x100 + 45;
const ACCESS_DENIED: u64 = 0x100 + 49;

fn closed_with(error: &ConnectionError) -> u64 {
    match error {
        ConnectionError::ConnectionClosed(closed) => closed.error_code.into(),
        ConnectionError::ApplicationClosed(closed) => closed.error_code.into_inner(),
        other => panic!("ended otherwise: {other}"),
    }
}

fn flows(cookies: std::ops::Range<u64>) -> Payload {
    Payload::Flows(cookies.map(flow).collect())
}

async fn stored_cookies(store: &Store, site: SiteId) -> Vec<u64> {
    let query = FlowQuery {
        period: recently(),
        filter: FlowFilter::all(),
        after: None,
        limit: 5_000,
        budget: Budget::default(),
    };
    let page = store.series().flows(site, query).await.unwrap().value;
    assert!(page.next.is_none(), "the test asks for one page");
    let mut cookies: Vec<u64> = page.flows.iter().map(|flow| flow.row.cookie).collect();
    cookies.sort_unstable();
    cookies
}

async fn event_kinds(store: &Store, site: SiteId) -> BTreeSet<String> {
    let events = store
        .catalog()
        .events(site, EventQuery::all(Period::new(0, i64::MAX), 1_000))
        .await
        .unwrap();
    events.into_iter().map(|stored| stored.event.kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_keys_with_good_dates_get_through_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let unknown = service.connect(&Identity::new(0)).await.unwrap_err();
    assert_eq!(closed_with(&unknown), ACCESS_DENIED);
    let expired = Identity::new(3);
    service
        .accounts
        .add_fingerprint(&scope, &hex::encode(expired.fingerprint), "old", now_us())
        .await
        .unwrap();
    // Until the endpoint has learned of the key it is unknown, then it is expired.
    eventually("the expired key is told so", || async {
        closed_with(&service.connect(&expired).await.unwrap_err()) == CERTIFICATE_EXPIRED
    })
    .await;
    let known = service.known_key(&scope).await;
    let gateway = Gateway::connect(&service, &known, Uuid::new_v4(), EPOCH).await;
    assert_eq!((gateway.welcome.protocol, &*gateway.welcome.site), (PROTOCOL_VERSION, "cloud"));
    assert!(gateway.welcome.cursors.is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_ends_its_open_connection_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let (one, two) = (service.known_key(&scope).await, service.known_key(&scope).await);
    let mut first = Gateway::connect(&service, &one, Uuid::new_v4(), EPOCH).await;
    let mut second = Gateway::connect(&service, &two, Uuid::new_v4(), EPOCH).await;

    assert!(
        service
            .accounts
            .delete_fingerprint(&scope, &hex::encode(one.fingerprint), now_us())
            .await
            .unwrap()
    );
    let Some(ToGateway::Refused(refusal)) = first.receive().await else {
        panic!("no refusal")
    };
    assert_eq!(refusal.code, RefusalCode::KeyDeleted);
    assert!(refusal.remedy.contains("mn-insights show"), "{}", refusal.remedy);
    assert_eq!(closed_with(&first.closed().await), u64::from(close::REFUSED));
    assert_eq!(closed_with(&service.connect(&one).await.unwrap_err()), ACCESS_DENIED);

    // The command line is another process: it only shares the catalogue.
    let other = Catalog::open(dir.path()).unwrap();
    assert!(other.delete_fingerprint(scope.site(), two.fingerprint).await.unwrap());
    assert!(matches!(second.receive().await, Some(ToGateway::Refused(refusal)) if refusal.code == RefusalCode::KeyDeleted));
    second.closed().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_version_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    for (version, remedy) in [(PROTOCOL_VERSION - 1, "upgrade the package"), (300, "wait until the service is upgraded")] {
        let (connection, mut out, mut control) = open(&service, &identity).await;
        send(&mut out, &hello(Uuid::new_v4(), version, Vec::new())).await;
        let Some(ToGateway::Refused(refusal)) = receive(&mut control).await else {
            panic!("no refusal")
        };
        assert_eq!(refusal.code, RefusalCode::Protocol);
        assert!(refusal.remedy.contains(remedy), "{}", refusal.remedy);
        assert_eq!(closed_with(&connection.closed().await), u64::from(close::REFUSED));
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_stored_exactly_once_over_reconnects_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::new_v4();
    let mut service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut sent: u64 = 0;
    for round in 0..4_u64 {
        let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
        let durable = gateway.cursor(Kind::Flows);
        assert!(durable.is_none_or(|durable| durable < sent), "round {round}");
        let mut stream = gateway.stream().await;
        // Again from one batch before the cursor, as a gateway does that missed the acknowledgement.
        let first = durable.unwrap_or(0);
        for sequence in first..first + 6 {
            send_batch(&mut stream, EPOCH, sequence, &flows(sequence * 10..sequence * 10 + 10)).await;
            sent = sent.max(sequence + 1);
        }
        gateway.acknowledged(Kind::Flows, first + 3).await;
        // Gone in the middle of the rest.
        gateway.connection.close(VarInt::from_u32(0), b"");
        if round == 1 {
            service.stop().await;
            service = Service::start(dir.path()).await;
        }
    }
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    let mut stream = gateway.stream().await;
    for sequence in gateway.cursor(Kind::Flows).unwrap()..sent {
        send_batch(&mut stream, EPOCH, sequence, &flows(sequence * 10..sequence * 10 + 10)).await;
    }
    gateway.acknowledged(Kind::Flows, sent - 1).await;
    assert_eq!(stored_cookies(&service.store, scope.site()).await, (0..sent * 10).collect::<Vec<u64>>());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_gateway_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let (identity, id) = (service.known_key(&scope).await, Uuid::new_v4());
    let old = Gateway::connect(&service, &identity, id, EPOCH).await;
    let mut new = Gateway::connect(&service, &identity, id, EPOCH).await;
    assert_eq!(closed_with(&old.closed().await), u64::from(close::REPLACED));
    let mut stream = new.stream().await;
    send_batch(&mut stream, EPOCH, 0, &flows(0..3)).await;
    new.acknowledged(Kind::Flows, 0).await;
    let known = service.gateways.of_site(&scope).await.unwrap();
    assert_eq!(known.len(), 1);
    assert!(known[0].live.is_some() && known[0].disconnected_us.is_none(), "{known:?}");
    new.send(&ToService::Bye { reason: "stop".into() }).await;
    eventually("the gateway is away", || async {
        service.gateways.of_site(&scope).await.unwrap()[0].disconnected_us.is_some()
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_batch_is_passed_over_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::new_v4(), EPOCH).await;
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 0, &flows(0..2)).await;
    let mut broken = batch::encode(&flows(2..4)).unwrap();
    let end = broken.len() - 1;
    broken[end - 3..].fill(0xff);
    send_bytes(&mut stream, EPOCH, 1, &broken).await;
    let mut ages_ago = flow(99);
    ages_ago.received_us = 1;
    send_batch(&mut stream, EPOCH, 2, &Payload::Flows(vec![ages_ago])).await;
    send_batch(&mut stream, EPOCH, 3, &flows(4..6)).await;
    gateway.acknowledged(Kind::Flows, 3).await;
    assert_eq!(stored_cookies(&service.store, scope.site()).await, [0, 1, 4, 5]);
    let losses = service.store.catalog().losses(scope.site(), recently()).await.unwrap();
    assert_eq!(losses.iter().map(|stored| stored.loss.records).collect::<Vec<_>>(), [2, 1]);
    assert!(event_kinds(&service.store, scope.site()).await.contains("batch.refused"));

    // Where the length itself is nonsense, nothing that follows can be read.
    stream.write_all(&[0xff; 64]).await.unwrap();
    assert_eq!(closed_with(&gateway.closed().await), u64::from(close::PROTOCOL_ERROR));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_follows_from_a_broken_one_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::new_v4(), EPOCH).await;
    let coded = |writer: &mut StreamWriter, numbers: std::ops::Range<u64>| writer.write(&batch::encode(&flows(numbers)).unwrap());
    let damaged = |mut batch: Vec<u8>| {
        batch.pop();
        batch.extend([0xff; 9]);
        batch
    };
    // What is wrong with a batch that follows from others may be in them.
    let (mut stream, mut writer) = (gateway.stream().await, StreamWriter::default());
    send_bytes(&mut stream, EPOCH, 0, &coded(&mut writer, 0..2)).await;
    send_bytes(&mut stream, EPOCH, 1, &coded(&mut writer, 2..4)).await;
    send_bytes(&mut stream, EPOCH, 2, &damaged(coded(&mut writer, 4..6))).await;
    send_bytes(&mut stream, EPOCH, 3, &coded(&mut writer, 6..8)).await;
    gateway.asked_again(Kind::Flows).await;
    // So it comes on a stream that begins with it; broken there too, it is passed over, and the next one asked for.
    let (mut stream, mut writer) = (gateway.stream().await, StreamWriter::default());
    send_bytes(&mut stream, EPOCH, 2, &damaged(coded(&mut writer, 4..6))).await;
    send_bytes(&mut stream, EPOCH, 3, &coded(&mut writer, 6..8)).await;
    gateway.asked_again(Kind::Flows).await;
    let (mut stream, mut writer) = (gateway.stream().await, StreamWriter::default());
    send_bytes(&mut stream, EPOCH, 3, &coded(&mut writer, 6..8)).await;
    send_bytes(&mut stream, EPOCH, 4, &coded(&mut writer, 8..9)).await;
    gateway.acknowledged(Kind::Flows, 4).await;
    assert_eq!(stored_cookies(&service.store, scope.site()).await, [0, 1, 2, 3, 6, 7, 8]);
    let losses = service.store.catalog().losses(scope.site(), recently()).await.unwrap();
    assert_eq!(losses.iter().map(|stored| stored.loss.records).collect::<Vec<_>>(), [2]);
    service.stop().await;
}

fn golden_nodes() -> Vec<Node> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden/topology/zk-tree.jsonl");
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let node: serde_json::Value = serde_json::from_str(line).unwrap();
            Some(Node {
                path: node["path"].as_str().unwrap().strip_prefix("/midonet/")?.to_owned(),
                data: node["data"].as_str().map(|data| STANDARD.decode(data).unwrap()).unwrap_or_default(),
                mzxid: 5,
                version: 0,
                ctime_ms: 1_500_000_000_000,
                mtime_ms: 1_500_000_000_000,
                ephemeral_owner: 0,
                at_us: now_us(),
            })
        })
        .collect()
}

fn snapshot() -> Vec<Change> {
    let nodes = golden_nodes();
    let (at_us, count) = (now_us(), nodes.len() as u64);
    let begin = [Change::SnapshotBegin { at_us, term: 1 }].into_iter();
    begin
        .chain(nodes.into_iter().map(Change::Put))
        .chain([Change::SnapshotEnd {
            at_us: now_us(),
            nodes: count,
        }])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_becomes_the_live_model_and_its_past() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let id = Uuid::new_v4();
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    let mut watch = service.sites.watch(&scope).await.unwrap();
    assert!(watch.borrow_and_update().is_empty());
    let mut stream = gateway.stream().await;
    let changes = snapshot();
    let chunks = changes.chunks(400).collect::<Vec<_>>();
    for (sequence, chunk) in chunks.iter().enumerate() {
        send_batch(&mut stream, EPOCH, sequence as u64, &Payload::Topology(chunk.to_vec())).await;
    }
    let mut next = chunks.len() as u64;
    gateway.acknowledged(Kind::Topology, next - 1).await;
    assert!(watch.has_changed().unwrap());
    let whole = service.sites.live(&scope).await.unwrap();
    let counts = whole.counts();
    assert_eq!((counts.hosts, counts.hosts_up, counts.routers, counts.ports), (5, 4, 4, 37));
    let before = now_us();

    let host: Uuid = "aa000000-0000-4000-8000-000000000002".parse().unwrap();
    let gone = |key: &str| Change::Delete {
        path: format!("zoom/0/state/{host}/Host/{host}/{key}"),
        at_us: now_us(),
    };
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    send_batch(&mut stream, EPOCH, next, &Payload::Topology(vec![gone("alive"), gone("host")])).await;
    gateway.acknowledged(Kind::Topology, next).await;
    next += 1;
    assert_eq!(service.sites.live(&scope).await.unwrap().host_state(host).0, State::Down);
    assert_eq!(service.sites.at(&scope, before).await.unwrap().host_state(host).0, State::Up);
    assert_eq!(service.sites.at(&scope, before).await.unwrap().counts(), counts);
    assert!(service.sites.at(&scope, 1).await.unwrap().is_empty());
    let kinds = event_kinds(&service.store, scope.site()).await;
    assert!(
        kinds.contains("host.down") && kinds.contains("topology.snapshot") && !kinds.contains("host.up"),
        "{kinds:?}"
    );
    let history = service.sites.history(&scope, host, 10).await.unwrap();
    assert_eq!(history.len(), 3, "{history:?}");

    // What a restarted service reads from its catalogue is the model that it had.
    let live = service.sites.live(&scope).await.unwrap();
    service.stop().await;
    service = Service::start(dir.path()).await;
    let again = service.sites.live(&scope).await.unwrap();
    assert_eq!(again.counts(), live.counts());
    assert_eq!(again.host(host), live.host(host));

    // A snapshot that lost a part on the way removes nothing, and another one is asked for.
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    let mut stream = gateway.stream().await;
    let torn = vec![
        Change::SnapshotBegin { at_us: now_us(), term: 1 },
        Change::SnapshotEnd { at_us: now_us(), nodes: 9 },
    ];
    send_batch(&mut stream, EPOCH, next, &Payload::Topology(torn)).await;
    let asked = loop {
        match gateway.receive().await.expect("the connection lives") {
            ToGateway::Command(command) => break command.what,
            _ => continue,
        }
    };
    assert_eq!(asked, CommandKind::ResendTopology);
    assert_eq!(service.sites.live(&scope).await.unwrap().counts(), again.counts());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_joined_with_the_topology() {
    use insights_protocol::flow::{Device, Rule};
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::new_v4(), EPOCH).await;
    let mut topology = gateway.stream().await;
    send_batch(&mut topology, EPOCH, 0, &Payload::Topology(snapshot())).await;
    gateway.acknowledged(Kind::Topology, 0).await;

    let id = |text: &str| text.parse::<Uuid>().unwrap();
    // VM 1 and VM 2 of one network, VM 4 of another network behind the same router; the edge's uplink.
    let (vm1, vm2, vm4) = (
        id("c918c25f-20ec-5cd9-b61b-a397b8a9df80"),
        id("ecd0cc9f-fc14-5cf3-892a-63f8331fcc7e"),
        id("298c7d99-d35c-5fc4-9fa2-bc7bca2b6b53"),
    );
    let (net1, net2) = (id("8a09c643-bd1a-59a3-b5e6-ee2d968868f5"), id("3696809d-3e5c-564c-a4d4-726582a6756d"));
    let uplink = id("b26dddba-6f97-5082-b0e9-89357af64e74");
    let tenant = "6f1d0000-0000-4000-8000-00000000000a";
    let rule = |number: u8, result: u8, applied: bool| Rule {
        id: [number; 16],
        result,
        matched: applied,
        applied,
    };
    let from = |port: Uuid, network: Uuid, rules: Vec<Rule>| {
        Arc::new(Path {
            devices: vec![
                Device {
                    id: port.into_bytes(),
                    kind: 6,
                },
                Device {
                    id: network.into_bytes(),
                    kind: 4,
                },
            ],
            rules,
        })
    };
    let mut rows = Vec::new();
    let mut add = |cookie: u64, change: &dyn Fn(&mut FlowFact)| {
        let mut fact = flow(cookie);
        change(&mut fact);
        rows.push(fact);
    };
    add(1, &|fact| {
        // Neighbours, allowed by the second rule.
        fact.in_port = Some(vm1.into_bytes());
        fact.out_ports = Arc::new([vm2.into_bytes()]);
        fact.path = from(vm1, net1, vec![rule(1, 2, true), rule(2, 1, true), rule(3, 1, false)]);
    });
    add(2, &|fact| {
        // To the router by its MAC, and on to the other network; dropped there.
        fact.in_port = Some(vm1.into_bytes());
        fact.eth_dst = [0xfa, 0x16, 0x3e, 0xbb, 0, 0];
        fact.net_dst = Some("10.0.2.11".parse().unwrap());
        fact.path = from(vm1, net1, vec![rule(1, 1, true), rule(4, 3, true)]);
        fact.actions = Arc::new([0]);
    });
    add(3, &|fact| {
        // To the outside: a port of its own, no tenant, no network.
        fact.in_port = Some(vm1.into_bytes());
        fact.out_ports = Arc::new([uplink.into_bytes()]);
        fact.path = from(vm1, net1, Vec::new());
    });
    add(4, &|fact| {
        // From the outside to a floating address, dropped.
        fact.in_port = Some(uplink.into_bytes());
        fact.net_dst = Some("198.51.100.101".parse().unwrap());
        fact.path = Arc::new(Path {
            devices: vec![Device {
                id: uplink.into_bytes(),
                kind: 6,
            }],
            rules: vec![rule(9, 5, true)],
        });
        fact.actions = Arc::new([0]);
    });
    add(5, &|fact| {
        // At the far end of a tunnel, with the ingress port of another packet.
        fact.in_port = Some(vm1.into_bytes());
        fact.tunnel = Tunnel {
            key: 25,
            source: 1,
            destination: 2,
        };
    });
    add(6, &|fact| {
        // A DHCP request that the agent answered.
        fact.in_port = Some(vm1.into_bytes());
        fact.sim_result = 1;
        fact.path = from(vm1, net1, Vec::new());
        fact.actions = Arc::new([0]);
    });
    add(7, &|fact| {
        // The ingress port is that of another packet: it is not in the path.
        fact.in_port = Some(vm4.into_bytes());
        fact.path = from(vm1, net1, Vec::new());
    });
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 0, &Payload::Flows(rows)).await;
    gateway.acknowledged(Kind::Flows, 0).await;

    let query = FlowQuery {
        period: recently(),
        filter: FlowFilter::all(),
        after: None,
        limit: 100,
        budget: Budget::default(),
    };
    let page = service.store.series().flows(scope.site(), query).await.unwrap().value;
    let row = |cookie: u64| page.flows.iter().map(|flow| &flow.row).find(|row| row.cookie == cookie).unwrap().clone();
    let ends = |cookie: u64| {
        let row = row(cookie);
        let tenants = (row.src_tenant.as_deref() == Some(tenant), row.dst_tenant.as_deref() == Some(tenant));
        ((row.src_port, row.src_network), (row.dst_port, row.dst_network), tenants)
    };
    let decided = |cookie: u64| (row(cookie).verdict.name(), row(cookie).rule);
    assert_eq!(ends(1), ((Some(vm1), Some(net1)), (Some(vm2), Some(net1)), (true, true)));
    assert_eq!(decided(1), ("allowed", Some(Uuid::from_bytes([2; 16]))));
    assert_eq!(ends(2), ((Some(vm1), Some(net1)), (Some(vm4), Some(net2)), (true, true)));
    assert_eq!(decided(2), ("dropped", Some(Uuid::from_bytes([4; 16]))));
    assert_eq!(ends(3), ((Some(vm1), Some(net1)), (Some(uplink), None), (true, false)));
    assert_eq!(ends(4), ((Some(uplink), None), (Some(vm1), Some(net1)), (false, true)));
    assert_eq!(decided(4), ("dropped", Some(Uuid::from_bytes([9; 16]))));
    assert_eq!(ends(5), ((None, None), (None, None), (false, false)));
    assert!(row(5).transit && row(5).in_port.is_none() && row(5).path.is_none());
    assert_eq!(decided(6), ("consumed", None));
    assert_eq!((row(7).in_port, row(7).src_port), (None, None));
    let ids: Vec<_> = page.flows.iter().filter_map(|flow| flow.row.path).collect();
    let paths = service.store.series().paths(scope.site(), recently(), ids).await.unwrap();
    let path = paths.iter().find(|(id, _)| Some(*id) == row(1).path).map(|(_, path)| path).unwrap();
    assert_eq!((path.devices.len(), path.rules.len()), (2, 3));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_meters_settings_and_commands_go_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::new_v4(), EPOCH).await;
    let (mut events, mut meters) = (gateway.stream().await, gateway.stream().await);
    let event = Event {
        at_us: now_us(),
        level: Level::Warning,
        kind: "meters.unreachable".into(),
        text: "an agent does not answer".into(),
        fields: vec![("host".into(), "compute1".into())],
        lost: None,
    };
    send_batch(&mut events, EPOCH, 0, &Payload::Events(vec![event])).await;
    let port = Uuid::new_v4();
    let now = now_us();
    let moved = vec![MeterDelta {
        meter: Meter::PortRx(port.into_bytes()),
        packets: 3,
        bytes: 400,
    }];
    let first = HostReading {
        host: [7; 16],
        since_us: None,
        at_us: now - 60_000_000,
        restarted: false,
        meters_total: 1,
        moved: Vec::new(),
    };
    let second = HostReading {
        since_us: Some(now - 60_000_000),
        at_us: now,
        moved,
        ..first.clone()
    };
    send_batch(&mut meters, EPOCH, 0, &Payload::Meters(vec![first, second])).await;
    gateway.acknowledged(Kind::Meters, 0).await;
    assert_eq!(
        service.store.series().metered_hosts(scope.site(), recently()).await.unwrap(),
        [(Uuid::from_bytes([7; 16]), now)]
    );
    eventually("the event is kept", || async {
        event_kinds(&service.store, scope.site()).await.contains("meters.unreachable")
    })
    .await;

    let mut settings = service.accounts.settings(&scope).await.unwrap();
    settings.flows = false;
    settings.metering_interval_s = 30;
    service.accounts.set_settings(&scope, settings, now_us()).await.unwrap();
    let told = loop {
        match gateway.receive().await.expect("the connection lives") {
            ToGateway::Settings(settings) => break settings,
            _ => continue,
        }
    };
    assert_eq!((told.kinds.flows, told.kinds.topology, told.metering_interval_s), (false, true, 30));

    let (gateways, id) = (service.gateways.clone(), gateway.id);
    let asked = tokio::spawn(async move { gateways.command(&scope, id, CommandKind::Diagnostics).await });
    let Some(ToGateway::Command(command)) = gateway.receive().await else {
        panic!("no command")
    };
    assert_eq!(command.what, CommandKind::Diagnostics);
    gateway
        .send(&ToService::CommandDone(CommandDone {
            id: command.id,
            result: Ok("{}".into()),
        }))
        .await;
    assert_eq!(asked.await.unwrap(), Ok("{}".into()));
    assert_eq!(
        service.gateways.command(&scope, Uuid::new_v4(), CommandKind::Diagnostics).await,
        Err(CommandError::Away)
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_reaches_nothing_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (ada, ada_scope) = service.account("ada@example.org").await;
    let (bob, bob_scope) = service.account("bob@example.org").await;
    let (ada_key, bob_key) = (service.known_key(&ada_scope).await, service.known_key(&bob_scope).await);
    // Gateways of two clouds can have one id: machines are cloned.
    let id = Uuid::new_v4();
    let mut of_ada = Gateway::connect(&service, &ada_key, id, EPOCH).await;
    let mut of_bob = Gateway::connect(&service, &bob_key, id, EPOCH).await;
    let (mut to_ada, mut to_bob) = (of_ada.stream().await, of_bob.stream().await);
    send_batch(&mut to_ada, EPOCH, 0, &flows(0..5)).await;
    send_batch(&mut to_bob, EPOCH, 0, &flows(100..102)).await;
    of_ada.acknowledged(Kind::Flows, 0).await;
    of_bob.acknowledged(Kind::Flows, 0).await;
    let mut topology = of_ada.stream().await;
    send_batch(&mut topology, EPOCH, 0, &Payload::Topology(snapshot())).await;
    of_ada.acknowledged(Kind::Topology, 0).await;

    assert_eq!(stored_cookies(&service.store, ada_scope.site()).await, [0, 1, 2, 3, 4]);
    assert_eq!(stored_cookies(&service.store, bob_scope.site()).await, [100, 101]);
    assert!(service.sites.live(&bob_scope).await.unwrap().is_empty());
    assert!(!service.sites.live(&ada_scope).await.unwrap().is_empty());
    // A scope of another's site can't be had, and the answer is that of a site which does not exist.
    for (session, site) in [(&bob, ada_scope.site()), (&ada, bob_scope.site()), (&ada, SiteId::random())] {
        assert!(matches!(service.accounts.scope(session, site).await, Err(AccountError::NoSite)));
    }
    assert!(
        !service
            .accounts
            .delete_fingerprint(&bob_scope, &hex::encode(ada_key.fingerprint), now_us())
            .await
            .unwrap()
    );
    assert!(matches!(
        service
            .accounts
            .add_fingerprint(&bob_scope, &hex::encode(ada_key.fingerprint), "stolen", now_us())
            .await,
        Err(AccountError::Taken(_))
    ));
    assert_eq!(service.gateways.connected(&bob_scope), 1);
    service.stop().await;
}
