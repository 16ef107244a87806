// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Readings of an agent's meters over HTTP, against the same readings through its management interface.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{json, text};
use midonet::meters::{MeterKey, parse_device_stats, write_device_stats};

#[test]
fn sums_are_those_of_the_management_interface() {
    for reading in 1..=3 {
        let body = text(&format!("metering/device_stats-{reading}.tsv"));
        let stats = parse_device_stats(body.as_bytes());
        assert_eq!((stats.meters.len(), stats.invalid, stats.cut), (19, 0, false), "reading {reading}");
        let sums: BTreeMap<String, (i64, i64)> = stats
            .sums()
            .into_iter()
            .map(|(key, counters)| (key.to_string(), (counters.packets, counters.bytes)))
            .collect();

        let jmx = json(&format!("metering/device_stats-{reading}.jmx.json"));
        let consolidated = jmx["ConsolidatedMeters"]["meters"].as_object().unwrap();
        let expected: BTreeMap<String, (i64, i64)> = consolidated
            .iter()
            .map(|(key, counters)| (key.clone(), (counters["packets"].as_i64().unwrap(), counters["bytes"].as_i64().unwrap())))
            .collect();
        assert_eq!(sums, expected, "reading {reading}");

        let written = write_device_stats(stats.meters.iter().map(|(key, counters)| (key, *counters)));
        assert_eq!(written, body);
        assert!(stats.meters.iter().all(|(key, _)| !matches!(key, MeterKey::Other(_))));
    }
}
