// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The tap on the NSDB when ZooKeeper is away, replaced, or very large.
#![allow(clippy::unwrap_used)]

mod site;

use std::time::{Duration, Instant};

use insights_gateway::nsdb::{
    self, View,
    zk::{Code, Endpoints, Incoming, Link, SessionKey, codec::Request},
};
use serde_json::json;
use site::{Ensemble, Reader, ZooKeeper, client, event, put, site};
use uuid::Uuid;

fn port(index: u128) -> String {
    format!("/midonet/zoom/0/models/Port/{}", Uuid::from_u128(index))
}

#[tokio::test]
async fn an_nsdb_that_is_not_there_yet_is_waited_for() {
    let mut zookeeper = ZooKeeper::start("3.4", 2_000);
    put(&zookeeper.client().await, &port(1), b"admin_state_up: true\n", false).await;
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let mut tap = None;
    let beginning = async {
        tap = Some(tokio::spawn(nsdb::run(site.tap.clone(), View::default())));
        event(&mut site.end, "nsdb.unreachable").await;
    };
    zookeeper.without(beginning).await;
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    assert_eq!(reader.held.len(), 1);
    // One event says that it was away, however often it was tried.
    event(&mut site.end, "nsdb.connected").await;
    site.stop.stop();
    tap.unwrap().await.unwrap();
}

#[tokio::test]
async fn another_database_in_its_place_is_a_new_snapshot() {
    let mut zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    for index in 0..50 {
        put(&client, &port(index), b"admin_state_up: true\n", false).await;
    }
    drop(client);
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), View::default()));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    zookeeper.replace();
    put(&zookeeper.client().await, &port(99), b"admin_state_up: true\n", false).await;
    event(&mut site.end, "nsdb.replaced").await;
    reader.until(&mut site.end, "the second snapshot", |reader| reader.snapshots == 2).await;
    let held: Vec<_> = reader.held.keys().map(|path| format!("/midonet/{path}")).collect();
    assert_eq!(held, [port(99)]);
    site.stop.stop();
    tap.await.unwrap();
}

#[tokio::test]
async fn a_member_of_an_ensemble_that_dies_is_replaced_by_another() {
    let mut ensemble = Ensemble::start("3.4");
    let writer = client(&ensemble.hosts()).await;
    for index in 0..50 {
        put(&writer, &port(index), b"admin_state_up: true\n", false).await;
    }
    let mut site = site(&ensemble.hosts(), "/midonet", json!({}));
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), View::default()));
    let mut reader = Reader::default();
    reader
        .until(&mut site.end, "all nodes", |reader| reader.snapshots == 1 && reader.held.len() == 50)
        .await;
    let server = event(&mut site.end, "nsdb.connected").await.fields[0].1.clone();
    ensemble.kill(&server);
    let next = event(&mut site.end, "nsdb.connected").await.fields[0].1.clone();
    assert_ne!(server, next);
    put(&client(&ensemble.hosts()).await, &port(99), b"admin_state_up: true\n", false).await;
    reader.until(&mut site.end, "the change", |reader| reader.held.len() == 51).await;
    assert_eq!(reader.snapshots, 1);
    site.stop.stop();
    tap.await.unwrap();
}

/// Creates nodes as fast as the server takes them.
async fn create_all(link: &mut Link, paths: impl Iterator<Item = String>) {
    let mut flight = 0;
    let mut paths = paths.peekable();
    while flight > 0 || paths.peek().is_some() {
        while flight < 500
            && let Some(path) = paths.next()
        {
            link.send(&Request::Create {
                path: &path,
                data: b"",
                ephemeral: false,
            });
            flight += 1;
        }
        if let Incoming::Reply { code, .. } = link.next(true).await.unwrap() {
            assert!(matches!(code, Code::OK | Code::NODE_EXISTS), "{code}");
            flight -= 1;
        }
    }
}

#[tokio::test]
async fn a_directory_whose_list_is_larger_than_four_mebibytes() {
    const ENTRIES: usize = 70_000;
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let endpoints = Endpoints::parse(&zookeeper.hosts()).unwrap();
    let mut link = Link::open(&endpoints, &SessionKey::default(), Duration::from_secs(30), 0).await.unwrap();
    let network = Uuid::from_u128(7);
    let table = format!("/midonet/zoom/0/tables/Network/{network}/mac_table/0");
    let parents: Vec<_> = table
        .match_indices('/')
        .skip(1)
        .map(|(slash, _)| table[..slash].to_owned())
        .chain([table.clone()])
        .collect();
    create_all(&mut link, parents.into_iter()).await;
    let entry = |index: usize| {
        format!(
            "{table}/fa:16:3e:{:02x}:{:02x}:{:02x},{},2147483647",
            index >> 16,
            index >> 8 & 255,
            index & 255,
            Uuid::from_u128(index as u128)
        )
    };
    let bytes: usize = (0..ENTRIES).map(|index| 4 + entry(index).len() - table.len() - 1).sum();
    assert!(bytes > 4 << 20);
    create_all(&mut link, (0..ENTRIES).map(entry)).await;
    link.close(Duration::from_secs(1)).await;

    let began = Instant::now();
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let view = View::default();
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), view));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    assert_eq!(reader.held.len(), ENTRIES);
    eprintln!("{ENTRIES} entries read within {:?}", began.elapsed());
    let changes = reader.changes;
    let client = zookeeper.client().await;
    let began = Instant::now();
    client.delete(&entry(1_234), None).await.unwrap();
    reader
        .until(&mut site.end, "the deletion", |reader| reader.held.len() == ENTRIES - 1)
        .await;
    eprintln!("one entry of {ENTRIES} gone and told within {:?}", began.elapsed());
    assert_eq!(reader.changes, changes + 1);
    // A message that was passed over amid so many ends the connection, since the next reply is then not the one that is due.
    while let Ok(event) = site.end.events.try_recv() {
        assert_ne!(event.kind, "nsdb.connection_lost", "{}", event.text);
    }
    site.stop.stop();
    tap.await.unwrap();
}
