// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A process is killed while it purges, again and again: each file is gone with its rows, its bytes and its part of the balance, or it is
//! there with all of them, and the oldest went first.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use insights_store::{
    FlowFilter, Period, Retention, SiteId, Store, StoreOptions, StreamKind,
    catalog::Hop,
    query::{Budget, FlowQuery, Usage},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{Cloud, DAY_US, EPOCH_US};
use uuid::Uuid;

const DIR: &str = "INSIGHTS_STORE_PURGE_DIR";
const SITE: SiteId = SiteId(Uuid::from_bytes([1; 16]));
const ALL: Period = Period { from_us: 0, to_us: i64::MAX };
const DAYS: i64 = 24;
/// Flows of each day.
const ROWS: usize = 40;

fn options(dir: &Path) -> StoreOptions {
    // The rows are of a fixed year, the clock is not; only what the test asks for goes.
    let years = Duration::from_secs(60 * 366 * 86_400);
    StoreOptions {
        flush_age: Duration::from_secs(3_600),
        upkeep_every: Duration::from_secs(3_600),
        retention: Retention {
            flow_minutes: years,
            flow_hours: years,
            meter_hours: years,
            meter_days: years,
            rollup_percent: 100,
        },
        ..StoreOptions::new(dir)
    }
}

/// The process that is killed; the parent starts this test alone.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(options(Path::new(&dir))).await.unwrap();
        loop {
            let usage = store.series().usage(SITE).await.unwrap();
            if usage.flows > 0 {
                store.series().purge(SITE, usage.total() - 1).await.unwrap();
            }
            let left = in_files(store.series().usage(SITE).await.unwrap());
            std::io::stdout().write_all(format!("left {left}\n").as_bytes()).unwrap();
        }
    });
}

#[test]
fn a_purge_that_is_killed_is_done_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(options(dir.path())).await.unwrap();
        let mut cloud = Cloud::new(31, 40);
        for day in 0..DAYS {
            let from_us = EPOCH_US + day * DAY_US;
            let rows = cloud.flows(ROWS, from_us, from_us + DAY_US);
            store.series().append(SITE, cloud.append(day as u64, rows)).await.unwrap();
        }
        store.series().flush().await.unwrap();
    });
    let mut rng = StdRng::seed_from_u64(8);
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("left ")?.parse::<u64>().ok());
        let mut last = u64::MAX;
        for _ in 0..rng.random_range(1..4) {
            last = told.next().expect("the child ended by itself");
        }
        // Into the purge that follows.
        std::thread::sleep(Duration::from_micros(rng.random_range(0..4_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        runtime.block_on(check(dir.path(), last, round));
    }
}

async fn check(dir: &Path, told: u64, round: usize) {
    let store = Store::open(options(dir)).await.unwrap();
    let bytes = in_files(store.series().usage(SITE).await.unwrap());
    assert!(bytes <= told, "round {round}: a purge that was done is undone");
    assert_eq!(bytes, on_disk(&dir.join("sites")), "round {round}");
    let query = FlowQuery {
        period: ALL,
        filter: FlowFilter::all(),
        after: None,
        limit: FlowQuery::MAX_LIMIT,
        budget: Budget::default(),
    };
    let page = store.series().flows(SITE, query).await.unwrap().value;
    assert!(page.next.is_none());
    let mut days: BTreeMap<i64, usize> = BTreeMap::new();
    for flow in &page.flows {
        *days.entry((flow.row.time_us - EPOCH_US) / DAY_US).or_default() += 1;
        // A flow that is left can still say where it went.
        if let Some(path) = flow.row.path {
            let period = Period::new(flow.row.time_us, flow.row.time_us + 1);
            assert_eq!(store.series().paths(SITE, period, vec![path]).await.unwrap().len(), 1);
        }
    }
    assert!(days.values().all(|rows| *rows == ROWS), "round {round}: {days:?}");
    let newest: Vec<i64> = (DAYS - days.len() as i64..DAYS).collect();
    assert_eq!(days.into_keys().collect::<Vec<_>>(), newest, "round {round}");
    let counts = store.counts(SITE, ALL).await.unwrap();
    let sum = |hop| {
        let of = counts.iter().filter(|count| count.hop == hop && count.kind == StreamKind::Flows);
        of.map(|count| count.records).sum::<u64>()
    };
    assert_eq!(sum(Hop::Stored) - sum(Hop::Purged), page.flows.len() as u64, "round {round}");
}

fn in_files(usage: Usage) -> u64 {
    usage.flows + usage.ends + usage.paths + usage.meters + usage.rollups
}

fn on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            found if found.is_dir() => on_disk(&entry.path()),
            found => found.len(),
        })
        .sum()
}
