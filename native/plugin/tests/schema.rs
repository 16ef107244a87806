// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The schema that the jar carries and the configuration that the gateway reads are one list of keys with one set of defaults.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use insights_gateway::Config;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../../jvm-shim/plugin/src/main/resources/org/midonet/conf/schemas/insights_cloud.conf");
/// Where the gateway documents its keys in a table and reads them.
const CONFIG: &str = include_str!("../../gateway/src/config.rs");

#[test]
fn the_gateway_knows_every_key_of_the_schema_and_has_its_default() {
    let schema = config(json!({"insights_cloud": schema(), "host_id": "6e3a9c52-0b1d-4f5e-8a77-0c2f5d1b9e44"}));
    assert_eq!(schema.unknown, Vec::<String>::new());
    assert_eq!(schema, config(json!({"host_id": "6e3a9c52-0b1d-4f5e-8a77-0c2f5d1b9e44"})));
}

#[test]
fn the_schema_has_every_key_of_the_gateway() {
    let mut keys = BTreeSet::new();
    flatten("", &schema(), &mut keys);
    keys.retain(|key| key != "schemaVersion" && !key.ends_with("_type") && !key.ends_with("_description"));
    assert_eq!(keys, documented());
    assert_eq!(keys, read());
}

/// The keys in the first column of the table.
fn documented() -> BTreeSet<String> {
    let rows = CONFIG.lines().filter_map(|line| line.strip_prefix("//! | `"));
    rows.flat_map(|row| row.split(" | ").next().unwrap().split(", ").map(|key| key.trim_matches('`').to_owned()))
        .collect()
}

/// The keys that the code asks its section for: `own.kind("key", …)`.
fn read() -> BTreeSet<String> {
    let calls = CONFIG
        .split("own.")
        .skip(1)
        .filter_map(|call| call.split_once('(').map(|(_, arguments)| arguments.trim_start()));
    calls
        .filter_map(|arguments| arguments.strip_prefix('"')?.split('"').next().map(str::to_owned))
        .collect()
}

fn config(json: Value) -> Config {
    Config::from_json(&json.to_string()).unwrap()
}

/// The schema's own part of HOCON: sections, one value a line, and descriptions over several lines. That it is HOCON for MidoNet too is
/// shown by the tests of the shim, which read it with MidoNet's library.
fn schema() -> Value {
    let mut path: Vec<&str> = Vec::new();
    let mut root = json!({});
    let mut lines = SCHEMA.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        } else if line == "}" {
            path.pop().unwrap();
        } else if let Some(name) = line.strip_suffix(" {") {
            path.push(name);
        } else {
            let (name, value) = line.split_once(" : ").unwrap();
            if value.starts_with("\"\"\"") {
                let mut last = value.strip_prefix("\"\"\"").unwrap();
                while !last.ends_with("\"\"\"") {
                    last = lines.next().unwrap();
                }
            }
            let section = path.iter().fold(&mut root, |section, name| &mut section[*name]);
            assert!(section[name].is_null(), "{name} is there twice");
            // A text without quotes is a text as well.
            section[name] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        }
    }
    assert!(path.is_empty());
    root["insights_cloud"].take()
}

fn flatten(prefix: &str, value: &Value, keys: &mut BTreeSet<String>) {
    for (name, member) in value.as_object().unwrap() {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if member.is_object() {
            flatten(&key, member, keys);
        } else {
            keys.insert(key);
        }
    }
}
