// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The whole comparison with few flows: that it runs to its end, that nobody lost a flow, and that all answers are the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, process::Command};

use serde_json::Value;

#[test]
fn few_flows_to_everybody_who_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = dir.path().join("figures.json");
    let told = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("--tools")
        .arg(root.join("target/tools/bench"))
        .arg("--dir")
        .arg(dir.path().join("run"))
        .arg("--out")
        .arg(&out)
        .args(["compare", "--flows", "3000", "--hours", "1", "--rounds", "1"])
        .args(["--size", "small", "--merge-wait", "0"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{log}");
    let figures: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    // Who is left out is told.
    for missing in figures["missing"].as_array().unwrap() {
        let line = format!("{} is not installed: left out", missing.as_str().unwrap());
        assert!(log.contains(&line), "{line}: {log}");
    }
    assert_eq!(figures["asked"]["questions"].as_array().unwrap().len(), 5, "{log}");
    assert_eq!((&figures["live"]["flows"], &figures["backlog"]["flows"]), (&3_000.into(), &3_000.into()));
    assert!(figures["backlog"]["flow_bytes"].as_u64().unwrap() > 3_000);
    for peer in figures["peers"].as_array().unwrap() {
        assert_eq!(peer["flows"], 3_000, "{peer}");
    }
    let differed = figures["asked"]["differed"].as_array().unwrap();
    assert!(differed.is_empty(), "{differed:?}");
}
