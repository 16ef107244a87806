// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The whole gateway: it starts fast, stops in time whatever the world does, and starts again.

#![allow(clippy::unwrap_used)]

mod peer;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use insights_gateway::{Gateway, StartError, identity, status::Status};
use peer::{Behaviour, Peer, until};
use serde_json::{Value, json};

/// What a stop may take, with room for a machine that is busy with other tests: what is told apart is an end and a hang.
const STOP: Duration = Duration::from_secs(3);
const STOPPED: Duration = Duration::from_secs(8);

fn config(folder: &Path, peer: Option<&Peer>) -> Value {
    let identity_path = folder.join("identity");
    identity::init(&identity_path, time::OffsetDateTime::now_utc()).unwrap();
    let gateway = match peer {
        Some(peer) => json!({"host": "localhost", "port": peer.address.port(), "ca_file": peer.ca_file}),
        // Discard: nothing answers there.
        None => json!({"host": "127.0.0.1", "port": 9}),
    };
    json!({
        "insights_cloud": {
            "gateway": gateway,
            "identity": {"path": identity_path},
            "spool": {"path": folder.join("spool"), "max_size": "64MiB"},
            "recorder": {"port": 0, "bind": "127.0.0.1"},
            "status": {"socket": folder.join("status.sock")},
        },
        // Nobody listens: ZooKeeper is away.
        "zookeeper": {"hosts": "127.0.0.1:1", "root_key": "/midonet"},
        "host_id": "c0ffee00-0000-4000-8000-000000000001",
    })
}

fn status(gateway: &Gateway) -> Status {
    serde_json::from_str(&gateway.statistics()).unwrap()
}

async fn stop(gateway: Gateway) {
    let before = Instant::now();
    tokio::task::spawn_blocking(move || gateway.stop(STOP)).await.unwrap();
    assert!(before.elapsed() < STOPPED, "it took {:?}", before.elapsed());
}

/// Tests share a process, and one of them counts its threads: that one runs alone.
static RUNNING: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn it_connects_answers_and_stops_again_and_again() {
    let _running = RUNNING.read().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let config = config(folder.path(), Some(&peer)).to_string();
    let socket = folder.path().join("status.sock");
    for round in 1..=5 {
        let gateway = Gateway::start(&config).unwrap();
        until("the connection", || status(&gateway).link.state == "connected").await;
        until("the socket", || socket.exists()).await;
        let asked = insights_gateway::status::ask(&socket).await.unwrap();
        assert_eq!((asked.state.as_str(), asked.link.site.as_deref()), ("running", Some("a site")));
        tokio::task::block_in_place(|| gateway.stop(STOP));
        assert!(!socket.exists());
        until("a goodbye", || peer.seen.lock().byes == round).await;
        tokio::task::block_in_place(|| gateway.stop(STOP)); // Nothing more to stop.
        assert_eq!(status(&gateway).link.state, "stopped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_at_any_point_of_its_start() {
    let _running = RUNNING.read().await;
    for millis in [0, 1, 3, 10, 30, 100, 300] {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::start(&config(folder.path(), None).to_string()).unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        stop(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_opened_is_waited_for() {
    let _running = RUNNING.read().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let config = config(folder.path(), Some(&peer)).to_string();
    // A file where the folder should be.
    std::fs::write(folder.path().join("spool"), "").unwrap();
    let gateway = Gateway::start(&config).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!status(&gateway).spool.open);
    std::fs::remove_file(folder.path().join("spool")).unwrap();
    until("the connection", || status(&gateway).link.state == "connected").await;

    // A second gateway on the same spool waits, and stops.
    let second = Gateway::start(&config).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!status(&second).spool.open);
    stop(second).await;
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_identity_is_told_and_found_later() {
    let _running = RUNNING.read().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let config = config(folder.path(), Some(&peer)).to_string();
    std::fs::remove_dir_all(folder.path().join("identity")).unwrap();
    let gateway = Gateway::start(&config).unwrap();
    until("the trouble", || status(&gateway).link.trouble.is_some()).await;
    assert!(status(&gateway).link.trouble.unwrap().contains("mn-insights init"));
    identity::init(&folder.path().join("identity"), time::OffsetDateTime::now_utc()).unwrap();
    until("the connection", || status(&gateway).link.state == "connected").await;
    stop(gateway).await;
}

#[test]
fn a_bad_configuration_starts_nothing() {
    let _running = RUNNING.blocking_read();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), None);
    config["insights_cloud"]["gateway"]["port"] = json!(70_000);
    let Err(StartError::Config(error)) = Gateway::start(&config.to_string()) else {
        panic!("it started")
    };
    assert_eq!(
        error.to_string(),
        "configuration: insights_cloud.gateway.port is 70000: must be a whole number from 1 to 65535"
    );
    assert!(!folder.path().join("spool").exists());
}

#[test]
fn a_gateway_that_is_dropped_leaves_nothing_behind() {
    let _alone = RUNNING.blocking_write();
    let folder = tempfile::tempdir().unwrap();
    let threads = || {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter(|task| comm(task.as_ref().unwrap()).starts_with("insights"))
            .count()
    };
    let before = threads();
    drop(Gateway::start(&config(folder.path(), None).to_string()).unwrap());
    for _ in 0..500 {
        if threads() <= before {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("its threads are still there");
}

fn comm(task: &std::fs::DirEntry) -> String {
    std::fs::read_to_string(task.path().join("comm")).unwrap_or_default()
}
