// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The command itself: what it refuses, what it leaves, how it ends.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Output, Stdio};

use support::ZooKeeper;

fn command(zookeeper: &ZooKeeper, subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_insights-cloudsim"));
    command.env("NO_COLOR", "1").args([
        subcommand,
        "--zookeeper",
        &zookeeper.hosts,
        "--tenants",
        "2",
        "--hosts",
        "2",
        "--vms",
        "2",
    ]);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_topology_is_not_written_over_another_unless_told_to() {
    let zookeeper = ZooKeeper::start("3.4");
    let first = command(&zookeeper, "topology").output().unwrap();
    assert!(first.status.success(), "{}", text(&first));
    let second = command(&zookeeper, "topology").output().unwrap();
    assert!(!second.status.success());
    assert!(text(&second).contains("--reset deletes them first"), "{}", text(&second));
    let third = command(&zookeeper, "topology").args(["--reset", "--seed", "2"]).output().unwrap();
    assert!(third.status.success(), "{}", text(&third));
}

#[test]
fn a_run_ends_in_order_when_it_is_told_to() {
    let zookeeper = ZooKeeper::start("3.9");
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger.json");
    let mut run = command(&zookeeper, "run")
        .args(["--underlay", "127.75.0.0", "--calm", "--ledger"])
        .arg(&ledger)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !ledger.exists() {
        assert!(run.try_wait().unwrap().is_none(), "ended before its ledger was written");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let told = Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    assert!(told.success());
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("ending the agents' sessions"), "{}", text(&output));
    let truth: serde_json::Value = serde_json::from_slice(&std::fs::read(&ledger).unwrap()).unwrap();
    assert_eq!(truth["things"]["hosts"], 4);
    assert_eq!(truth["things"]["vm_ports"], 8);
    assert!(!folder.path().join("ledger.partial").exists());
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_insights-cloudsim"))
        .args(["topology", "--zookeeper", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("connect to ZooKeeper at 127.0.0.1:1"), "{}", text(&output));
}
