// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tells what meters cost at rest, of readings from standard input in the form that `insights-cloudsim meters` prints. Rows go through the
//! commit log, memory, files and merges as those of a gateway do.
//!
//! `insights-cloudsim meters --size medium | cargo run --release -p insights-store --example meters -- FOLDER`; FOLDER must not be there.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use std::{
    collections::HashMap,
    io::BufRead,
    time::{Duration, Instant},
};

use insights_store::{
    Append, Cursor, MeterDelta, MeterKey, MeterReading, Period, Rows, SiteId, Store, StoreOptions, StreamId, StreamKind,
    query::{Budget, MeterQuery, TotalsOf, TotalsQuery},
};
use uuid::Uuid;

/// 2026-01-01 00:00 UTC.
const EPOCH_US: i64 = 1_767_225_600_000_000;
const SITE: SiteId = SiteId(Uuid::from_bytes([1; 16]));
/// Time of readings in one batch, as a gateway sends them, and in one file.
const BATCH_US: i64 = 10_000_000;
const FILE_US: i64 = 300_000_000;

#[derive(Default)]
struct Seen {
    /// Readings of hosts, of their meters whether they moved or not, and of those that moved.
    hosts: u64,
    readings: u64,
    moved: u64,
    last_us: i64,
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).expect("a folder for the store");
    let options = StoreOptions {
        flush_age: Duration::from_secs(3_600),
        flush_rows: usize::MAX,
        upkeep_every: Duration::from_millis(500),
        ..StoreOptions::new(&folder)
    };
    let started = Instant::now();
    let store = Store::open(options).await.unwrap();
    let (mut seen, mut sequence, mut flushed_us) = (Seen::default(), 0, 0);
    let mut keys: HashMap<u32, MeterKey> = HashMap::new();
    let mut batch: Vec<MeterReading> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["key", number, name] => drop(keys.insert(number.parse().unwrap(), key(name))),
            ["reading", host, from_us, to_us, meters] => {
                let number = |text: &str| text.parse::<i64>().unwrap();
                if batch.first().is_some_and(|first| first.to_us + BATCH_US < EPOCH_US + number(to_us)) {
                    append(&store, &mut sequence, std::mem::take(&mut batch)).await;
                }
                if seen.last_us > flushed_us + FILE_US {
                    flushed_us = seen.last_us;
                    store.series().flush().await.unwrap();
                }
                seen.hosts += 1;
                seen.readings += meters.parse::<u64>().unwrap();
                seen.last_us = seen.last_us.max(number(to_us));
                batch.push(MeterReading {
                    host: host.parse().unwrap(),
                    from_us: EPOCH_US + number(from_us),
                    to_us: EPOCH_US + number(to_us),
                    meters: Vec::new(),
                });
            }
            [meter, packets, bytes] => {
                seen.moved += 1;
                batch.last_mut().unwrap().meters.push(MeterDelta {
                    key: keys[&meter.parse().unwrap()].clone(),
                    packets: packets.parse().unwrap(),
                    bytes: bytes.parse().unwrap(),
                });
            }
            _ => panic!("what is this? {line}"),
        }
    }
    append(&store, &mut sequence, batch).await;
    store.series().flush().await.unwrap();
    println!(
        "{} readings of hosts, {} of meters, of which {} moved; taken in {:.1} s",
        seen.hosts,
        seen.readings,
        seen.moved,
        started.elapsed().as_secs_f64()
    );
    tell(&store, &seen, "flushed").await;
    // Until nothing is merged any more.
    let mut still = (0, Instant::now());
    while still.1.elapsed() < Duration::from_secs(10) {
        let files = store.series().usage(SITE).await.unwrap().files;
        if files != still.0 {
            still = (files, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tell(&store, &seen, "merged").await;
    ask(&store, &keys, seen.last_us).await;
}

fn key(name: &str) -> MeterKey {
    let id = |text: &str| text.parse::<Uuid>().unwrap();
    let parts: Vec<&str> = name.trim_start_matches("meters:").split(':').collect();
    match parts[..] {
        ["port", "rx", port] => MeterKey::PortRx(id(port)),
        ["port", "tx", port] => MeterKey::PortTx(id(port)),
        ["device", device] => MeterKey::Device(id(device)),
        ["tunnel", source, destination] => {
            let address = |text: &str| (text.parse::<i32>().unwrap() as u32).into();
            MeterKey::Tunnel(address(source), address(destination))
        }
        _ => MeterKey::Other(name.to_owned()),
    }
}

async fn append(store: &Store, sequence: &mut u64, readings: Vec<MeterReading>) {
    let stream = StreamId {
        gateway: Uuid::from_bytes([2; 16]),
        kind: StreamKind::Meters,
        epoch: 1,
    };
    *sequence += 1;
    let batch = Append {
        cursor: Cursor { stream, sequence: *sequence },
        rows: Rows::Meters(readings),
    };
    store.series().append(SITE, batch).await.unwrap();
}

async fn tell(store: &Store, seen: &Seen, state: &str) {
    let usage = store.series().usage(SITE).await.unwrap();
    println!(
        "{state}: {} bytes of readings in files, {:.3} a reading of a meter, {:.2} one that moved; roll-ups {} bytes, {:.3} a reading; {} files",
        usage.meters,
        usage.meters as f64 / seen.readings as f64,
        usage.meters as f64 / seen.moved as f64,
        usage.rollups,
        usage.rollups as f64 / seen.readings as f64,
        usage.files
    );
}

async fn ask(store: &Store, keys: &HashMap<u32, MeterKey>, last_us: i64) {
    let to_us = EPOCH_US + last_us;
    let some: Vec<MeterKey> = keys.values().filter(|key| matches!(key, MeterKey::PortRx(_))).take(8).cloned().collect();
    for hours in [1, 24] {
        let period = Period::new(to_us - hours * 3_600_000_000, to_us);
        let started = Instant::now();
        let query = MeterQuery {
            period,
            keys: some.clone(),
            step_us: 60_000_000,
            budget: Budget::default(),
        };
        store.series().meters(SITE, query).await.unwrap();
        let chart = started.elapsed();
        let started = Instant::now();
        let query = TotalsQuery {
            period,
            of: TotalsOf::AllPorts,
            budget: Budget::default(),
        };
        let totals = store.series().totals(SITE, query).await.unwrap();
        println!(
            "last {hours} h: charts of 8 meters {:.0} ms, totals of {} ports {:.0} ms",
            chart.as_secs_f64() * 1e3,
            totals.value.len(),
            started.elapsed().as_secs_f64() * 1e3
        );
    }
}
