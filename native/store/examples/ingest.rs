// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Measures the store as a whole: rows a second from append to durable, latency of the acknowledgement, bytes a row at rest, questions.
//!
//! `cargo run --release -p insights-store --example ingest -- [rows=2000000] [batch=5000] [sites=1] [writers=4] [ports=10000] [dir=…]
//! [store=clickhouse://…]`. With a server, CPU time and memory are those of this program alone.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use insights_store::{
    ClickHouseOptions, End, FlowFilter, FlowTest, Period, Prefix, Rows, SiteId, Store, StoreOptions, StreamKind,
    query::{Budget, Dimension, FlowQuery, HistogramQuery, TopQuery},
};
use support::{Cloud, DAY_US, EPOCH_US, cursor};

/// Batches that are made beforehand and sent again and again with new times, so that making rows costs nothing.
const POOL: usize = 32;

fn main() {
    let arguments: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let number = |name: &str, default: u64| arguments.get(name).map_or(default, |value| value.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let dir = arguments.get("dir").map_or_else(|| scratch.path().to_owned(), Into::into);
    let plan = Plan {
        rows: number("rows", 2_000_000),
        batch: number("batch", 5_000),
        sites: number("sites", 1),
        writers: number("writers", 4),
    };
    let ports = number("ports", 10_000) as usize;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let options = StoreOptions::new(dir);
        let store = match arguments.get("store") {
            Some(url) => Store::open_distributed(options, ClickHouseOptions::new(url.parse().unwrap())).await,
            None => Store::open(options).await,
        };
        measure(store.unwrap(), plan, ports).await;
    });
}

#[derive(Clone, Copy)]
struct Plan {
    rows: u64,
    batch: u64,
    sites: u64,
    writers: u64,
}

fn site(number: u64) -> SiteId {
    SiteId(uuid::Uuid::from_u128(u128::from(number) + 1))
}

async fn measure(store: Store, plan: Plan, ports: usize) {
    let mut cloud = Cloud::new(1, ports);
    let pool: Arc<Vec<_>> = Arc::new(
        (0..POOL)
            .map(|_| {
                let rows = cloud.flows(plan.batch as usize, 0, 1);
                let paths = cloud.paths_of(&rows);
                (rows, paths)
            })
            .collect(),
    );
    let next = Arc::new(AtomicU64::new(0));
    let batches = plan.rows.div_ceil(plan.batch);
    // The rows lie on seven days, evenly, in order of time.
    let step_us = 7 * DAY_US / (batches * plan.batch) as i64;
    let cpu = cpu_seconds();
    let started = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..plan.writers {
        let (store, pool, next) = (store.clone(), Arc::clone(&pool), Arc::clone(&next));
        writers.spawn(async move {
            let mut latencies = Vec::new();
            let mut sequence = 0;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= batches {
                    return latencies;
                }
                let (rows, paths) = &pool[at as usize % POOL];
                let mut rows = rows.clone();
                for (place, row) in rows.iter_mut().enumerate() {
                    row.time_us = EPOCH_US + (at * plan.batch + place as u64) as i64 * step_us;
                }
                let append = insights_store::Append {
                    cursor: cursor(writer as u8 + 1, StreamKind::Flows, 1, sequence),
                    rows: Rows::Flows { rows, paths: paths.clone() },
                };
                sequence += 1;
                let asked = Instant::now();
                store.series().append(site(at % plan.sites), append).await.unwrap();
                latencies.push(asked.elapsed());
            }
        });
    }
    let mut latencies: Vec<Duration> = writers.join_all().await.into_iter().flatten().collect();
    let took = started.elapsed();
    let ingest_cpu = cpu_seconds() - cpu;
    latencies.sort();
    let rows = batches * plan.batch;
    println!(
        "ingest: {rows} rows in {:.2} s: {:.0} rows/s durable, {:.0} rows/s a core ({ingest_cpu:.1} CPU s)",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64(),
        rows as f64 / ingest_cpu
    );
    println!(
        "ack: p50 {:?}, p99 {:?}, max {:?}",
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
        latencies[latencies.len() - 1]
    );
    let started = Instant::now();
    store.series().flush().await.unwrap();
    println!(
        "flush of the rest: {:.2} s; whole-process CPU {:.1} s; peak memory {}",
        started.elapsed().as_secs_f64(),
        cpu_seconds(),
        peak_memory()
    );
    let mut flows = 0;
    let mut paths = 0;
    let mut files = 0;
    for number in 0..plan.sites {
        let usage = store.series().usage(site(number)).await.unwrap();
        flows += usage.flows;
        paths += usage.paths;
        files += usage.files;
    }
    println!(
        "at rest: {:.1} B a row ({:.1} of flows, {:.1} of paths) in {files} files",
        (flows + paths) as f64 / rows as f64,
        flows as f64 / rows as f64,
        paths as f64 / rows as f64
    );
    questions(&store, &cloud).await;
    let usage = store.series().usage(site(0)).await.unwrap().total();
    let started = Instant::now();
    let purged = store.series().purge(site(0), usage * 9 / 10).await.unwrap();
    println!(
        "purge of the oldest tenth: {:?}, {} rows, {} bytes back",
        started.elapsed(),
        purged.rows,
        purged.bytes
    );
}

async fn questions(store: &Store, cloud: &Cloud) {
    let all = Period::new(EPOCH_US, EPOCH_US + 7 * DAY_US);
    let last_day = Period::new(EPOCH_US + 6 * DAY_US, EPOCH_US + 7 * DAY_US);
    let budget = Budget::default();
    let page = |period, filter| FlowQuery {
        period,
        filter,
        after: None,
        limit: 100,
        budget,
    };
    let ip = FlowFilter::from(FlowTest::Ip(End::Src, Prefix::host([10, 0, 0, 42].into())));
    let device = FlowFilter::from(FlowTest::Device(cloud.paths[0].1.devices[0].id));
    let top = TopQuery {
        period: all,
        filter: FlowFilter::all(),
        dimensions: vec![Dimension::SrcTenant],
        limit: 10,
        budget,
    };
    let bins = HistogramQuery {
        period: all,
        filter: FlowFilter::all(),
        step_us: DAY_US / 24,
        budget,
    };
    let ask = async |name: &str, which: u8| {
        let mut times = Vec::new();
        let mut scanned = Default::default();
        for _ in 0..11 {
            let started = Instant::now();
            scanned = match which {
                0 => store.series().flows(site(0), page(all, FlowFilter::all())).await.unwrap().scanned,
                1 => store.series().flows(site(0), page(last_day, ip.clone())).await.unwrap().scanned,
                2 => store.series().flows(site(0), page(all, device.clone())).await.unwrap().scanned,
                3 => store.series().top(site(0), top.clone()).await.unwrap().scanned,
                _ => store.series().histogram(site(0), bins.clone()).await.unwrap().scanned,
            };
            times.push(started.elapsed());
        }
        times.sort();
        println!(
            "{name}: median {:?}, max {:?}; {} rows, {} bytes of {} files",
            times[5], times[10], scanned.rows, scanned.bytes, scanned.files
        );
    };
    ask("newest 100", 0).await;
    ask("newest 100 of an address, 24 h", 1).await;
    ask("newest 100 through a device, 7 d", 2).await;
    ask("top 10 tenants, 7 d", 3).await;
    ask("histogram by the hour, 7 d", 4).await;
}

/// User and system time of this process, from the kernel's clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}
