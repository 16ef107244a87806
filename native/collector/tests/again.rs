// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What comes late, comes again, or has to be asked for again.

#![allow(clippy::unwrap_used)]

mod service;

use std::collections::BTreeMap;

use insights_collector::clock::now_us;
use insights_protocol::{
    Kind,
    batch::{self, Payload},
    control::{CommandKind, ToGateway},
    topology::{Change, Node},
};
use insights_store::{
    FlowFilter, SiteId, Store, StoreOptions,
    query::{Budget, FlowQuery},
};
use quinn::VarInt;
use service::{Gateway, Service, eventually, flow, recently, send_batch, send_bytes};
use uuid::Uuid;

const EPOCH: u64 = 5;

/// Stored rows by cookie, with the tenant of the source.
async fn tenants(store: &Store, site: SiteId) -> BTreeMap<u64, Option<String>> {
    let query = FlowQuery {
        period: insights_store::Period::new(now_us() - 7_200_000_000, recently().to_us),
        filter: FlowFilter::all(),
        after: None,
        limit: 5_000,
        budget: Budget::default(),
    };
    let page = store.series().flows(site, query).await.unwrap().value;
    let mut rows = BTreeMap::new();
    for flow in page.flows {
        let tenant = flow.row.src_tenant.map(|tenant| tenant.to_string());
        assert!(rows.insert(flow.row.cookie, tenant).is_none(), "a flow is there twice");
    }
    rows
}

const NETWORK: Uuid = Uuid::from_u128(0x4e);
const PORT: Uuid = Uuid::from_u128(0x70);

fn put(class: &str, id: Uuid, at_us: i64, mzxid: i64, text: &str) -> Change {
    Change::Put(Node {
        path: format!("zoom/0/models/{class}/{id}"),
        data: text.as_bytes().to_vec(),
        mzxid,
        version: 0,
        ctime_ms: at_us / 1_000,
        mtime_ms: at_us / 1_000,
        ephemeral_owner: 0,
        at_us,
    })
}

fn network(tenant: &str, at_us: i64, mzxid: i64) -> Change {
    put("Network", NETWORK, at_us, mzxid, &format!("tenant_id: \"{tenant}\"\nname: \"net\"\n"))
}

/// A network of this tenant with a port.
fn snapshot(tenant: &str, at_us: i64) -> Vec<Change> {
    let (msb, lsb) = NETWORK.as_u64_pair();
    let port = format!("network_id {{\n  msb: {msb}\n  lsb: {lsb}\n}}\nadmin_state_up: true\n");
    vec![
        Change::SnapshotBegin { at_us, term: 1 },
        network(tenant, at_us, 1),
        put("Port", PORT, at_us, 1, &port),
        Change::SnapshotEnd { at_us, nodes: 2 },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_store_cannot_take_is_asked_for_again_and_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        // A new segment after each batch.
        segment_bytes: 1,
        ..StoreOptions::new(dir.path())
    };
    let mut service = Service::start_with(options.clone()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let (identity, id) = (service.known_key(&scope).await, Uuid::new_v4());
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    let mut stream = gateway.stream().await;
    let batch = |sequence: u64| Payload::Flows(vec![flow(sequence)]);
    send_batch(&mut stream, EPOCH, 0, &batch(0)).await;
    gateway.acknowledged(Kind::Flows, 0).await;

    // The disk is gone: the next segment can't be begun, and the store takes nothing.
    let (log, away) = (dir.path().join("log"), dir.path().join("away"));
    std::fs::rename(&log, &away).unwrap();
    let mut sequence = 1;
    let asked = loop {
        send_batch(&mut stream, EPOCH, sequence, &batch(sequence)).await;
        match gateway.receive().await.expect("the connection lives") {
            ToGateway::Retry { kind, after_ms } => break (kind, after_ms),
            ToGateway::Ack(cursor) => assert_eq!(cursor.sequence, sequence),
            other => panic!("{other:?}"),
        }
        sequence += 1;
        assert!(sequence < 10, "the store takes batches without a disk");
    };
    assert_eq!(asked.0, Kind::Flows);
    assert!(asked.1 >= 500, "a pause that lets the disk come back: {} ms", asked.1);
    // What follows is left, without a word; the same one again is asked for again.
    send_batch(&mut stream, EPOCH, sequence + 1, &batch(sequence + 1)).await;
    send_batch(&mut stream, EPOCH, sequence, &batch(sequence)).await;
    assert!(matches!(gateway.receive().await, Some(ToGateway::Retry { kind: Kind::Flows, .. })));
    assert_eq!(service.counters.kind(Kind::Flows).retries.load(std::sync::atomic::Ordering::Relaxed), 2);

    // The disk is there again, and batches are taken without a restart.
    std::fs::rename(&away, &log).unwrap();
    loop {
        send_batch(&mut stream, EPOCH, sequence, &batch(sequence)).await;
        match gateway.receive().await.expect("the connection lives") {
            ToGateway::Retry { after_ms, .. } => tokio::time::sleep(std::time::Duration::from_millis(after_ms.into())).await,
            ToGateway::Ack(cursor) => break assert_eq!(cursor.sequence, sequence),
            other => panic!("{other:?}"),
        }
    }
    gateway.connection.close(VarInt::from_u32(0), b"");
    service.stop().await;
    service = Service::start_with(options).await;
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    assert_eq!(gateway.cursor(Kind::Flows), Some(sequence));
    let mut stream = gateway.stream().await;
    for sequence in sequence - 1..sequence + 2 {
        send_batch(&mut stream, EPOCH, sequence, &batch(sequence)).await;
    }
    gateway.acknowledged(Kind::Flows, sequence + 1).await;
    let stored: Vec<u64> = tenants(&service.store, scope.site()).await.into_keys().collect();
    assert_eq!(stored, (0..sequence + 2).collect::<Vec<u64>>());
    service.stop().await;
}

/// The first message of the control stream after an acknowledgement of events that are sent now.
async fn is_asked_for_a_snapshot(gateway: &mut Gateway, sequence: u64) -> bool {
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, sequence, &Payload::Events(Vec::new())).await;
    loop {
        match gateway.receive().await.expect("the connection lives") {
            ToGateway::Command(command) => {
                assert_eq!(command.what, CommandKind::ResendTopology);
                return true;
            }
            ToGateway::Ack(cursor) if cursor.kind == Kind::Events => return false,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_asked_for_at_each_connection_until_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let (identity, id) = (service.known_key(&scope).await, Uuid::new_v4());
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    assert!(!is_asked_for_a_snapshot(&mut gateway, 0).await);
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 0, &Payload::Topology(snapshot("a", now_us()))).await;
    gateway.acknowledged(Kind::Topology, 0).await;
    // A batch of changes that can't be read; the gateway is gone before it can be told.
    let mut broken = batch::encode(&Payload::Topology(vec![network("b", now_us(), 2)])).unwrap();
    let end = broken.len() - 1;
    broken[end - 3..].fill(0xff);
    send_bytes(&mut stream, EPOCH, 1, &broken).await;
    gateway.connection.close(VarInt::from_u32(0), b"");
    eventually("the batch is passed over", || async {
        let mut again = Gateway::connect(&service, &identity, id, EPOCH).await;
        again.cursor(Kind::Topology) == Some(1) || {
            let mut stream = again.stream().await;
            send_bytes(&mut stream, EPOCH, 1, &broken).await;
            again.acknowledged(Kind::Topology, 1).await;
            true
        }
    })
    .await;
    // At the next connection, and the next, over a restart of the service.
    for restart in [false, true, false] {
        if restart {
            service.stop().await;
            service = Service::start(dir.path()).await;
        }
        let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
        let sequence = gateway.cursor(Kind::Events).unwrap() + 1;
        assert!(is_asked_for_a_snapshot(&mut gateway, sequence).await, "restart: {restart}");
        gateway.acknowledged(Kind::Events, sequence).await;
    }
    // Another gateway of the site owes nothing.
    let mut other = Gateway::connect(&service, &identity, Uuid::new_v4(), EPOCH).await;
    assert!(!is_asked_for_a_snapshot(&mut other, 0).await);
    // It comes: the model is whole, and nobody asks any more.
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 2, &Payload::Topology(snapshot("b", now_us()))).await;
    gateway.acknowledged(Kind::Topology, 2).await;
    let site = service.sites.live(&scope).await.unwrap();
    assert_eq!(site.network(NETWORK).unwrap().tenant.as_deref(), Some("b"));
    let mut gateway = Gateway::connect(&service, &identity, id, EPOCH).await;
    let sequence = gateway.cursor(Kind::Events).unwrap() + 1;
    assert!(!is_asked_for_a_snapshot(&mut gateway, sequence).await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_that_come_late_are_joined_with_the_topology_of_their_time() {
    const MINUTE: i64 = 60_000_000;
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::new_v4(), EPOCH).await;
    let (mut flows, mut topology) = (gateway.stream().await, gateway.stream().await);
    let mut sequence = 0;
    let mut batch = |cookie: u64, minutes_ago: i64| {
        let mut fact = flow(cookie);
        fact.received_us = now_us() - minutes_ago * MINUTE;
        fact.in_port = Some(PORT.into_bytes());
        sequence += 1;
        (sequence - 1, Payload::Flows(vec![fact]))
    };
    // Before anything is known of the topology a flow is stored as it is: nothing is held back, and nothing made up.
    let (at, payload) = batch(1, 0);
    send_batch(&mut flows, EPOCH, at, &payload).await;
    gateway.acknowledged(Kind::Flows, at).await;

    send_batch(&mut topology, EPOCH, 0, &Payload::Topology(snapshot("first", now_us() - 40 * MINUTE))).await;
    let second = network("second", now_us() - 20 * MINUTE, 2);
    send_batch(&mut topology, EPOCH, 1, &Payload::Topology(vec![second])).await;
    let third = network("third", now_us() - MINUTE, 3);
    send_batch(&mut topology, EPOCH, 2, &Payload::Topology(vec![third])).await;
    gateway.acknowledged(Kind::Topology, 2).await;

    // Of now and of minutes ago: the live model. Older ones: that of the end of their five minutes. Before the first snapshot: the live one again,
    // since a name of today is more than none.
    let of = [
        (2, 0, "third"),
        (3, 4, "third"),
        (4, 12, "second"),
        (5, 31, "first"),
        (6, 39, "first"),
        (7, 60, "third"),
    ];
    for (cookie, minutes_ago, _) in of {
        let (at, payload) = batch(cookie, minutes_ago);
        send_batch(&mut flows, EPOCH, at, &payload).await;
        gateway.acknowledged(Kind::Flows, at).await;
    }
    // A batch is joined as a whole, with the model of its oldest flow.
    let mut mixed = batch(8, 31);
    if let (Payload::Flows(own), (_, Payload::Flows(newer))) = (&mut mixed.1, batch(9, 0)) {
        own.extend(newer);
    }
    send_batch(&mut flows, EPOCH, mixed.0, &mixed.1).await;
    gateway.acknowledged(Kind::Flows, mixed.0).await;

    let mut expected: BTreeMap<u64, Option<String>> = of.iter().map(|(cookie, _, tenant)| (*cookie, Some((*tenant).to_owned()))).collect();
    expected.extend([(1, None), (8, Some("first".to_owned())), (9, Some("first".to_owned()))]);
    assert_eq!(tenants(&service.store, scope.site()).await, expected);
    service.stop().await;
}
