// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A process that writes is killed at any moment, again and again: what it was told is durable is there once, and every batch is there as
//! a whole or not at all. (A killed process loses nothing that the kernel has; torn writes of a machine that stops are tested on the
//! commit log itself.)

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use insights_store::{
    Append, FlowFilter, MeterDelta, MeterKey, MeterReading, Period, Rows, SiteId, Store, StoreOptions, StreamKind,
    catalog::EventQuery,
    query::{Budget, DimValue, Dimension, FlowQuery, TopQuery, TotalsOf, TotalsQuery},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{Cloud, DAY_US, EPOCH_US, cursor, gateway};
use uuid::Uuid;

const DIR: &str = "INSIGHTS_STORE_CRASH_DIR";
const SITES: u8 = 2;
const GATEWAYS: u8 = 2;
const ALL: Period = Period { from_us: 0, to_us: i64::MAX };

fn site(number: u8) -> SiteId {
    SiteId(Uuid::from_bytes([number; 16]))
}

/// Small bounds, so that flushes, merges and log segments come and go all the time.
fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        flush_rows: 400,
        flush_age: Duration::from_millis(80),
        segment_bytes: 32 << 10,
        upkeep_every: Duration::from_millis(30),
        ..StoreOptions::new(dir)
    }
}

/// Rows of a batch, told by its place alone.
fn size(gateway: u8, sequence: u64) -> usize {
    StdRng::seed_from_u64(u64::from(gateway) << 32 | sequence).random_range(1..120)
}

fn flows(cloud: &mut Cloud, gateway_number: u8, sequence: u64) -> Append {
    let from_us = EPOCH_US + (sequence as i64 % 3) * DAY_US;
    let mut rows = cloud.flows(size(gateway_number, sequence), from_us, from_us + DAY_US);
    for row in &mut rows {
        row.cookie = sequence;
        row.gateway = gateway(gateway_number);
    }
    let mut batch = cloud.append(sequence, rows);
    batch.cursor = cursor(gateway_number, StreamKind::Flows, 1, sequence);
    batch
}

/// A reading whose one meter moved by one packet.
fn meters(gateway_number: u8, sequence: u64) -> Append {
    let from_us = EPOCH_US + sequence as i64 * 1_000_000;
    let key = MeterKey::Device(gateway(gateway_number));
    let meters = vec![MeterDelta { key, packets: 1, bytes: 100 }];
    let reading = MeterReading {
        host: gateway(gateway_number),
        from_us,
        to_us: from_us + 1_000_000,
        meters,
    };
    Append {
        cursor: cursor(gateway_number, StreamKind::Meters, 1, sequence),
        rows: Rows::Meters(vec![reading]),
    }
}

/// The process that is killed; the parent starts this test alone.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(options(Path::new(&dir))).await.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for site_number in 1..=SITES {
            for gateway_number in 1..=GATEWAYS {
                for kind in [StreamKind::Flows, StreamKind::Meters] {
                    writers.spawn(write(store.clone(), site_number, gateway_number, kind));
                }
            }
        }
        writers.join_all().await;
    });
}

async fn write(store: Store, site_number: u8, gateway_number: u8, kind: StreamKind) {
    let mut cloud = Cloud::new(u64::from(gateway_number), 40);
    let stream = cursor(gateway_number, kind, 1, 0).stream;
    // The last one again: it may have been durable without its writer being told.
    let mut sequence = store.cursor(site(site_number), stream).await.unwrap().unwrap_or(0);
    loop {
        let batch = if kind == StreamKind::Flows {
            flows(&mut cloud, gateway_number, sequence)
        } else {
            meters(gateway_number, sequence)
        };
        store.series().append(site(site_number), batch).await.unwrap();
        let line = format!("ack {site_number} {gateway_number} {} {sequence}\n", kind as u8);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        sequence += 1;
    }
}

#[test]
fn killed_at_any_moment_nothing_is_lost_torn_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    let mut told: HashMap<(u8, u8, u8), u64> = HashMap::new();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acks = rng.random_range(1..400);
        let mut seen = 0;
        let mut note = |line: String| {
            // A line of the test harness, or one that the kill cut short, is no acknowledgement.
            let numbers: Vec<u64> = line.split(' ').skip(1).filter_map(|part| part.parse().ok()).collect();
            if let (true, &[site, gateway, kind, sequence]) = (line.starts_with("ack "), numbers.as_slice()) {
                let last = told.entry((site as u8, gateway as u8, kind as u8)).or_insert(0);
                *last = sequence.max(*last);
                return true;
            }
            false
        };
        while seen < acks {
            seen += u32::from(note(lines.next().expect("the child ended by itself").unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        // The last line may have been cut inside its number.
        rest.split_last().map_or(&[][..], |(_, whole)| whole).iter().for_each(|line| {
            note(line.clone());
        });
        runtime.block_on(check(dir.path(), &told, round));
    }
}

async fn check(dir: &Path, told: &HashMap<(u8, u8, u8), u64>, round: usize) {
    let store = Store::open(options(dir)).await.unwrap();
    for site_number in 1..=SITES {
        let mut total = 0;
        for gateway_number in 1..=GATEWAYS {
            for kind in [StreamKind::Flows, StreamKind::Meters] {
                let last = store.cursor(site(site_number), cursor(gateway_number, kind, 1, 0).stream).await.unwrap();
                let acknowledged = told.get(&(site_number, gateway_number, kind as u8)).copied();
                assert!(last >= acknowledged, "round {round}: told {acknowledged:?}, the store is at {last:?}");
                match kind {
                    StreamKind::Flows => {
                        let expected = last.map_or(0, |last| (0..=last).map(|sequence| size(gateway_number, sequence)).sum::<usize>());
                        total += expected;
                        let filter = FlowFilter::from(insights_store::FlowTest::Gateway(gateway(gateway_number)));
                        assert_batches(&store, site(site_number), filter, gateway_number, last, expected).await;
                    }
                    _ => assert_meters(&store, site(site_number), gateway_number, last).await,
                }
            }
        }
        let top = TopQuery {
            period: ALL,
            filter: FlowFilter::all(),
            dimensions: vec![Dimension::Gateway],
            limit: 9,
            budget: Budget::default(),
        };
        let top = store.series().top(site(site_number), top).await.unwrap().value;
        assert_eq!(top.rows.iter().map(|row| row.flows.total()).sum::<u64>(), total as u64);
        assert!(top.rows.iter().all(|row| matches!(row.values[..], [DimValue::Id(_)])));
    }
}

/// A byte of the commit log that the disk changed costs the batch that it was in; its site is told, once.
#[tokio::test]
async fn a_damaged_batch_is_told_once_and_costs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path())).await.unwrap();
    let mut cloud = Cloud::new(7, 40);
    for sequence in 1..=5 {
        store.series().append(site(1), flows(&mut cloud, 1, sequence)).await.unwrap();
    }
    drop(store);
    let segment = std::fs::read_dir(dir.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for _ in 0..2 {
        let store = Store::open(StoreOptions::new(dir.path())).await.unwrap();
        let query = FlowQuery {
            period: ALL,
            filter: FlowFilter::all(),
            after: None,
            limit: 10_000,
            budget: Budget::default(),
        };
        let page = store.series().flows(site(1), query).await.unwrap().value;
        let found: HashMap<u64, usize> = page.flows.iter().fold(HashMap::new(), |mut found, flow| {
            *found.entry(flow.row.cookie).or_default() += 1;
            found
        });
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().all(|(sequence, rows)| *rows == size(1, *sequence)));
        let told = EventQuery {
            kind: "store.damaged".into(),
            ..EventQuery::all(ALL, 10)
        };
        assert_eq!(store.catalog().events(site(1), told).await.unwrap().len(), 1);
        // It goes on behind what it has.
        assert_eq!(store.cursor(site(1), cursor(1, StreamKind::Flows, 1, 0).stream).await.unwrap(), Some(5));
    }
}

/// Each batch up to the last is there with all of its rows, once.
async fn assert_batches(store: &Store, site: SiteId, filter: FlowFilter, gateway_number: u8, last: Option<u64>, expected: usize) {
    let mut found: HashMap<u64, usize> = HashMap::new();
    let mut query = FlowQuery {
        period: ALL,
        filter,
        after: None,
        limit: 10_000,
        budget: Budget::default(),
    };
    loop {
        let page = store.series().flows(site, query.clone()).await.unwrap().value;
        for flow in &page.flows {
            *found.entry(flow.row.cookie).or_default() += 1;
        }
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert_eq!(found.values().sum::<usize>(), expected);
    assert_eq!(found.keys().max().copied(), last);
    for (sequence, rows) in found {
        assert_eq!(rows, size(gateway_number, sequence), "batch {sequence} of gateway {gateway_number}");
    }
}

async fn assert_meters(store: &Store, site: SiteId, gateway_number: u8, last: Option<u64>) {
    let of = TotalsOf::Keys(vec![MeterKey::Device(gateway(gateway_number))]);
    let totals = store
        .series()
        .totals(
            site,
            TotalsQuery {
                period: ALL,
                of,
                budget: Budget::default(),
            },
        )
        .await
        .unwrap()
        .value;
    let packets = totals.first().map_or(0.0, |total| total.packets);
    assert_eq!(packets, last.map_or(0.0, |last| (last + 1) as f64));
}
