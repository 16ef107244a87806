// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The tap on the NSDB against real ZooKeeper servers.
#![allow(clippy::unwrap_used)]

mod site;

use std::{collections::BTreeMap, time::Duration};

use insights_gateway::nsdb::{self, View};
use midonet::model::redact;
use serde_json::{Value, json};
use site::{PATIENCE, Reader, ZooKeeper, event, golden, golden_tree, load_golden, put, site};
use tokio::time::{Instant, sleep};
use zookeeper_client::{Acls, Client, CreateMode};

const PORT: &str = "zoom/0/models/Port";

/// Nodes of the golden tree that are to come out, with their data.
fn golden_leaves() -> BTreeMap<String, Vec<u8>> {
    let depth = |path: &str| path.split('/').count();
    let is_leaf = |path: &str, ephemeral: bool| match path.split('/').nth(2) {
        Some("models") => depth(path) == 5,
        Some("state") => ephemeral,
        Some("tables") => path.matches(',').count() == 2,
        _ => false,
    };
    let leaves = golden_tree()
        .into_iter()
        .filter(|node| node.path.starts_with("zoom/0/") && is_leaf(&node.path, node.ephemeral));
    leaves
        .map(|node| {
            let class = node.path.strip_prefix("zoom/0/models/").and_then(|rest| rest.split('/').next());
            let data = class.map_or(node.data.clone(), |class| redact(class, &node.data).bytes);
            (node.path, data)
        })
        .collect()
}

async fn every_golden_node_comes_out(version: &'static str, root: &str) {
    let zookeeper = ZooKeeper::start(version, 2_000);
    let client = zookeeper.client().await;
    load_golden(&client, root).await;
    let mut site = site(&zookeeper.hosts(), root, json!({}));
    let view = View::default();
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), view.clone()));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    let held: BTreeMap<_, _> = reader.held.iter().map(|(path, (data, _))| (path.clone(), data.clone())).collect();
    let expected = golden_leaves();
    assert!(expected.len() > 500);
    assert_eq!(held.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!(held, expected);
    let alive = view.agents(site::OWN_HOST, &Default::default());
    assert_eq!(alive.len(), 4);
    assert!(
        alive.iter().all(|agent| !agent.name.is_empty() && !agent.addresses.is_empty()),
        "{alive:?}"
    );
    // It stays silent while nothing changes.
    let changes = reader.changes;
    reader.settle(&mut site.end, Duration::from_millis(500)).await;
    assert_eq!(reader.changes, changes);
    site.stop.stop();
    tap.await.unwrap();
}

#[tokio::test]
async fn the_golden_tree_of_zookeeper_3_4() {
    every_golden_node_comes_out("3.4", "/midonet").await;
}

#[tokio::test]
async fn the_golden_tree_of_zookeeper_3_9_below_another_root() {
    every_golden_node_comes_out("3.9", "/clouds/one").await;
}

#[tokio::test]
async fn the_golden_tree_as_json_lines() {
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    load_golden(&client, "/midonet").await;
    let mut out = Vec::new();
    nsdb::decode::nsdb(&zookeeper.hosts(), "/midonet", false, &mut out).await.unwrap();
    let lines: Vec<Value> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().all(|line| line.get("error").is_none()));
    let leaves = golden_leaves().len();
    assert_eq!(lines.len(), leaves + 1);
    assert_eq!(lines.last().unwrap(), &json!({"kind": "snapshot", "nodes": leaves}));

    let objects = |class: &str| -> BTreeMap<String, &Value> {
        lines
            .iter()
            .filter(|line| line["kind"] == "object" && line["class"] == class)
            .map(|line| (line["id"].as_str().unwrap().into(), &line["fields"]))
            .collect()
    };
    for (class, file) in [("Network", "bridges"), ("Router", "routers"), ("Host", "hosts"), ("Chain", "chains")] {
        let rest: Vec<Value> = serde_json::from_slice(&golden(&format!("topology/rest-get/{file}.json"))).unwrap();
        let objects = objects(class);
        assert_eq!(objects.len(), rest.len(), "{class}");
        for object in rest {
            assert_eq!(objects[object["id"].as_str().unwrap()]["name"], object["name"], "{class}");
        }
    }

    let truth = String::from_utf8(golden("topology/state-truth.jsonl")).unwrap();
    for truth in truth.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let found = match truth["kind"].as_str().unwrap() {
            "learnedRoute" => lines.iter().any(|line| {
                line["key"] == "routes"
                    && line["id"] == truth["port"]
                    && line["route"]["dst"] == truth["dst"]
                    && line["route"]["gateway"] == truth["gw"]
            }),
            "mac_table" => lines.iter().any(|line| {
                line["table"] == "mac_table"
                    && line["id"] == truth["bridge"]
                    && line["argument"].as_str().unwrap().parse() == Ok(truth["vlan"].as_u64().unwrap())
                    && line["key"] == truth["mac"]
                    && line["value"] == truth["port"]
                    && line["learned"] != truth["persistent"]
            }),
            table => lines.iter().any(|line| line["table"] == table),
        };
        assert!(found, "{truth}");
    }
}

fn port(index: usize) -> String {
    format!("/midonet/{PORT}/{}", uuid::Uuid::from_u128(index as u128))
}

#[tokio::test]
async fn an_expired_session_costs_a_difference_and_no_snapshot() {
    let mut zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    for index in 0..2_000 {
        put(&client, &port(index), b"admin_state_up: true\n", false).await;
    }
    let before = zookeeper.sessions();
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), View::default()));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    assert_eq!(reader.held.len(), 2_000);
    let changes = reader.changes;

    let own: Vec<_> = zookeeper.sessions().difference(&before).cloned().collect();
    let [own] = &own[..] else { panic!("one session of the tap: {own:?}") };
    event(&mut site.end, "nsdb.connected").await;
    zookeeper.expire(own);
    put(&client, &port(7), b"admin_state_up: false\n", false).await;
    client.delete(&port(8), None).await.unwrap();
    put(&client, &port(9_999), b"admin_state_up: true\n", false).await;
    event(&mut site.end, "nsdb.connection_lost").await;
    event(&mut site.end, "nsdb.connected").await;
    reader
        .until(&mut site.end, "the difference", |reader| reader.changes == changes + 3)
        .await;
    reader.settle(&mut site.end, Duration::from_secs(1)).await;
    assert_eq!((reader.changes, reader.snapshots), (changes + 3, 1));
    assert_eq!(reader.held.len(), 2_000);
    let held = |index: usize| {
        reader
            .held
            .get(port(index).strip_prefix("/midonet/").unwrap())
            .map(|(data, _)| data.clone())
    };
    assert_eq!(
        (held(7).as_deref(), held(8), held(9_999).is_some()),
        (Some(&b"admin_state_up: false\n"[..]), None, true)
    );

    // A snapshot that is asked for gives everything once more.
    site.end.resend.send_modify(|count| *count += 1);
    reader.until(&mut site.end, "the second snapshot", |reader| reader.snapshots == 2).await;
    assert_eq!(reader.held.len(), 2_000);
    site.stop.stop();
    tap.await.unwrap();
}

#[tokio::test]
async fn a_tree_that_appears_later_and_in_parts() {
    let zookeeper = ZooKeeper::start("3.9", 2_000);
    let client = zookeeper.client().await;
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), View::default()));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the empty snapshot", |reader| reader.snapshots == 1).await;
    let paths = [
        "zoom/0/models/ClassToCome/01020304-0506-0708-090a-0b0c0d0e0f10",
        "zoom/0/state/01020304-0506-0708-090a-0b0c0d0e0f10/Port/01020304-0506-0708-090a-0b0c0d0e0f11/routes/0a",
        "zoom/0/tables/Network/01020304-0506-0708-090a-0b0c0d0e0f10/mac_table/100/fa:16:3e:00:00:01,p,0000000000",
        "bridges/01020304-0506-0708-090a-0b0c0d0e0f10/vlans/7/mac_ports/fa:16:3e:00:00:01,p,0000000000",
        "routers/01020304-0506-0708-090a-0b0c0d0e0f10/arp_table/10.0.0.1,m,0000000000",
    ];
    for (index, path) in paths.iter().enumerate() {
        put(&client, &format!("/midonet/{path}"), b"x", path.contains("/state/")).await;
        reader.until(&mut site.end, path, |reader| reader.held.len() == index + 1).await;
    }
    assert_eq!(
        reader.held.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
        paths.into()
    );
    for (index, path) in paths.iter().enumerate() {
        client.delete(&format!("/midonet/{path}"), None).await.unwrap();
        reader
            .until(&mut site.end, path, |reader| reader.held.len() == paths.len() - index - 1)
            .await;
    }
    assert_eq!(reader.snapshots, 1);
    site.stop.stop();
    tap.await.unwrap();
}

/// Changes random nodes as fast as the server takes them, until `until`.
async fn churn(client: Client, writer: usize, until: Instant) {
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let mut count = 0u64;
    while Instant::now() < until {
        count += 1;
        let index = rand::random_range(0..60usize);
        let host = uuid::Uuid::from_u128(writer as u128);
        let (path, options) = match index % 3 {
            0 => (port(writer * 1_000 + index), &persistent),
            1 => (
                format!("/midonet/zoom/0/state/{host}/Port/{}/active", uuid::Uuid::from_u128(index as u128)),
                &ephemeral,
            ),
            _ => (
                format!("/midonet/zoom/0/tables/Network/{host}/mac_table/0/m{index},p,{count:010}"),
                &persistent,
            ),
        };
        let parent = path.rsplit_once('/').unwrap().0.to_owned();
        // Errors are those of a server that was killed, or of a node that another step took away: the truth is read at the end.
        let _ = match rand::random_range(0..4u8) {
            0 => client.delete(&path, None).await,
            1 if index % 3 == 2 => match client.list_children(&parent).await {
                Ok(names) if !names.is_empty() => client.delete(&format!("{parent}/{}", names[0]), None).await,
                _ => Ok(()),
            },
            _ => {
                let _ = client.mkdir(&parent, &persistent).await;
                let data = format!("tenant_id: \"{count}\"\n");
                match client.create(&path, data.as_bytes(), options).await {
                    Err(zookeeper_client::Error::NodeExists) => client.set_data(&path, data.as_bytes(), None).await.map(drop),
                    other => other.map(drop),
                }
            }
        };
    }
}

/// The tree below a path as the server has it.
async fn read_tree(client: &Client, path: String, out: &mut BTreeMap<String, (Vec<u8>, i64)>) {
    let Ok(children) = client.list_children(&path).await else { return };
    for child in children {
        let path = format!("{path}/{child}");
        let (data, stat) = client.get_data(&path).await.unwrap();
        let parts = path.split('/').count();
        let leaf = match path.split('/').nth(4).unwrap() {
            "models" => parts == 7,
            "state" => stat.ephemeral_owner != 0,
            _ => child.contains(','),
        };
        if leaf {
            out.insert(path.strip_prefix("/midonet/").unwrap().to_owned(), (data, stat.mzxid));
        } else {
            Box::pin(read_tree(client, path, out)).await;
        }
    }
}

async fn changes_under_fire(version: &'static str, crash: bool) {
    let mut zookeeper = ZooKeeper::start(version, 1_000);
    let observer = zookeeper.client().await;
    put(&observer, "/midonet/zoom/0/models/Port", b"", false).await;
    let before = zookeeper.sessions();
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), View::default()));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    let own: Vec<_> = zookeeper.sessions().difference(&before).cloned().collect();
    event(&mut site.end, "nsdb.connected").await;
    let until = Instant::now() + Duration::from_secs(12);
    let mut writers = Vec::new();
    for writer in 1..=4 {
        writers.push(tokio::spawn(churn(zookeeper.client().await, writer, until)));
    }
    // Blows while the writers write.
    let mut own = own;
    for blow in 0..3 {
        let pause = Instant::now() + Duration::from_secs(3);
        while Instant::now() < pause {
            reader.settle(&mut site.end, Duration::from_millis(100)).await;
        }
        if crash {
            zookeeper.crash_and_restart();
        } else if let Some(session) = own.pop() {
            let others = zookeeper.sessions();
            zookeeper.expire(&session);
            event(&mut site.end, "nsdb.connected").await;
            own = zookeeper.sessions().difference(&others).cloned().collect();
        } else {
            panic!("no session to expire at blow {blow}");
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let client = zookeeper.client().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        reader.settle(&mut site.end, Duration::from_secs(1)).await;
        let mut truth = BTreeMap::new();
        read_tree(&client, "/midonet/zoom/0".into(), &mut truth).await;
        // Ephemeral nodes of writers that lost their session go within its time.
        if truth == reader.held {
            assert!(
                truth.len() > 20 && reader.changes > 200,
                "{} nodes, {} changes",
                truth.len(),
                reader.changes
            );
            break;
        }
        if Instant::now() > deadline {
            let missing: Vec<_> = truth
                .iter()
                .filter(|(path, node)| reader.held.get(*path) != Some(node))
                .map(|(path, node)| (path, node, reader.held.get(path)))
                .collect();
            let extra: Vec<_> = reader.held.keys().filter(|path| !truth.contains_key(*path)).collect();
            panic!("the reader does not hold what the server has; other or missing: {missing:#?}, too much: {extra:#?}");
        }
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(reader.snapshots, 1);
    site.stop.stop();
    tap.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_come_once_and_in_order_while_sessions_expire() {
    changes_under_fire("3.4", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_come_once_and_in_order_while_the_server_crashes() {
    changes_under_fire("3.9", true).await;
}

#[tokio::test]
async fn what_may_not_leave_stays_until_it_may() {
    let zookeeper = ZooKeeper::start("3.4", 2_000);
    let client = zookeeper.client().await;
    put(&client, &port(1), b"admin_state_up: true\n", false).await;
    let host = uuid::Uuid::from_u128(5);
    put(&client, &format!("/midonet/zoom/0/state/{host}/Host/{host}/alive"), b"alive", true).await;
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    site.end.settings.send_modify(|settings| settings.kinds.state = false);
    let view = View::default();
    let tap = tokio::spawn(nsdb::run(site.tap.clone(), view.clone()));
    let mut reader = Reader::default();
    reader.until(&mut site.end, "the snapshot", |reader| reader.snapshots == 1).await;
    assert_eq!(reader.held.len(), 1);
    // The other taps know the host all the same.
    assert_eq!(view.agents(site::OWN_HOST, &Default::default()).len(), 1);
    site.end.settings.send_modify(|settings| settings.kinds.state = true);
    reader.until(&mut site.end, "the second snapshot", |reader| reader.snapshots == 2).await;
    assert_eq!(reader.held.len(), 2);
    site.stop.stop();
    tap.await.unwrap();
}
