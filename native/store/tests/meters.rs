// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Random meters: what charts and totals say is what the readings say, while they are in memory, in files, in merged files, after a
//! restart, and of what a purge left.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/backend.rs"]
mod backend;
mod support;

use std::time::{Duration, Instant};

use backend::{Backend, on_both};
use insights_store::{
    Append, MeterDelta, MeterKey, MeterReading, Period, Retention, Rows, SiteId, Store, StoreOptions, StreamKind,
    catalog::Hop,
    query::{Budget, MeterQuery, TotalsOf, TotalsQuery},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{DAY_US, EPOCH_US, MINUTE_US, cursor};
use tokio::runtime::Runtime;
use uuid::Uuid;

const SITE: SiteId = SiteId(Uuid::from_bytes([1; 16]));
const SECOND_US: i64 = 1_000_000;
/// Shorter than what roll-ups are read for.
const LONGEST_US: i64 = 40 * 60 * MINUTE_US;

fn options(backend: &Backend, upkeep_every: Duration) -> StoreOptions {
    let years = Duration::from_secs(60 * 366 * 86_400);
    StoreOptions {
        flush_age: Duration::from_secs(3_600),
        upkeep_every,
        // The readings are of a fixed year, the clock is not.
        retention: Retention {
            flow_minutes: years,
            flow_hours: years,
            meter_hours: years,
            meter_days: years,
            rollup_percent: 100,
        },
        ..backend.options()
    }
}

/// Two days of three hosts, each read at its own moments; some meters are those of several hosts, and hardly any moves each time.
fn readings(rng: &mut StdRng) -> Vec<MeterReading> {
    let mut out = Vec::new();
    for host in 1..=3_u8 {
        let own = [
            MeterKey::PortRx(Uuid::from_bytes([host; 16])),
            MeterKey::PortTx(Uuid::from_bytes([host; 16])),
            MeterKey::Device(Uuid::from_bytes([host; 16])),
        ];
        let shared = [
            MeterKey::Device(Uuid::from_bytes([9; 16])),
            MeterKey::Tunnel([10, 0, 0, 1].into(), [10, 0, 0, host].into()),
            MeterKey::User("gold".into()),
            MeterKey::Other("odd".into()),
        ];
        let mut at_us = EPOCH_US + rng.random_range(0..60 * SECOND_US);
        while at_us < EPOCH_US + 2 * DAY_US {
            let to_us = at_us + rng.random_range(200 * SECOND_US..280 * SECOND_US);
            let mut meters: Vec<MeterDelta> = Vec::new();
            let moved: Vec<_> = own.iter().chain(&shared).filter(|_| rng.random_bool(0.3)).collect();
            for key in moved {
                let packets = rng.random_range(1..500_u64);
                // Now and then no packets, or more than a byte count can be without a mistake somewhere.
                let (packets, bytes) = match rng.random_range(0..50) {
                    0 => (0, 77),
                    1 => (packets, 1 << 45),
                    _ => (packets, packets * rng.random_range(60..1_500)),
                };
                meters.push(MeterDelta {
                    key: key.clone(),
                    packets,
                    bytes,
                });
            }
            out.push(MeterReading {
                host: Uuid::from_bytes([host; 16]),
                from_us: at_us,
                to_us,
                meters,
            });
            // A host is silent for a while, now and then.
            at_us = to_us + if rng.random_bool(0.02) { 40 * MINUTE_US } else { 0 };
        }
    }
    out.sort_by_key(|reading| reading.to_us);
    out
}

fn inside(reading: &MeterReading, period: Period) -> i64 {
    (reading.to_us.min(period.to_us) - reading.from_us.max(period.from_us)).max(0)
}

/// Packets and bytes of a meter in a period, and whether a reading of it meets the period.
fn truth(readings: &[MeterReading], key: &MeterKey, period: Period) -> (f64, f64, bool) {
    let mut sum = (0.0, 0.0, false);
    for reading in readings.iter().filter(|reading| inside(reading, period) > 0) {
        let share = inside(reading, period) as f64 / (reading.to_us - reading.from_us) as f64;
        for meter in reading.meters.iter().filter(|meter| meter.key == *key) {
            sum.0 += meter.packets as f64 * share;
            sum.1 += meter.bytes as f64 * share;
            sum.2 = true;
        }
    }
    sum
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs() + 1e-6
}

async fn ask(store: &Store, readings: &[MeterReading], floor_us: i64, rng: &mut StdRng, what: &str) {
    let mut keys: Vec<MeterKey> = readings
        .iter()
        .flat_map(|reading| &reading.meters)
        .map(|meter| meter.key.clone())
        .collect();
    keys.sort();
    keys.dedup();
    // Where files were purged, roll-ups stand in for them where they can: in totals, and in bins of hours.
    let purged = floor_us > EPOCH_US;
    for _ in 0..8 {
        let from_us = rng.random_range(floor_us..EPOCH_US + 2 * DAY_US);
        let period = Period::new(from_us, from_us + rng.random_range(1..LONGEST_US));
        let step_us = [7 * SECOND_US, 5 * MINUTE_US, 60 * MINUTE_US][rng.random_range(0..if purged { 2 } else { 3 })];
        let step_us = step_us.max((period.to_us - from_us) / 60);
        let some: Vec<MeterKey> = keys.iter().filter(|_| rng.random_bool(0.4)).cloned().collect();
        let query = MeterQuery {
            period,
            keys: some.clone(),
            step_us,
            budget: Budget::default(),
        };
        let answer = store.series().meters(SITE, query).await.unwrap().value;
        for (key, series) in some.iter().zip(&answer) {
            assert_eq!(series.key, *key);
            let hosts: Vec<Uuid> = readings
                .iter()
                .filter(|reading| inside(reading, period) > 0 && reading.meters.iter().any(|meter| meter.key == *key))
                .map(|reading| reading.host)
                .collect();
            for point in &series.points {
                let bin = Period::new(point.start_us.max(period.from_us), (point.start_us + step_us).min(period.to_us));
                let expected = truth(readings, key, bin);
                let same = near(point.packets, expected.0) && near(point.bytes, expected.1);
                assert!(same, "{what}: {key:?} {point:?} {expected:?}");
                // Of one host the readings lie side by side.
                if let [first, rest @ ..] = hosts.as_slice()
                    && rest.iter().all(|host| host == first)
                {
                    let covered: i64 = readings
                        .iter()
                        .filter(|reading| reading.host == *first)
                        .map(|reading| inside(reading, bin))
                        .sum();
                    assert_eq!(point.covered_us, covered, "{what}: {key:?} {point:?}");
                }
            }
        }
        for (of, is_of) in [
            (
                TotalsOf::AllPorts,
                (|key| matches!(key, MeterKey::PortRx(_) | MeterKey::PortTx(_))) as fn(&MeterKey) -> bool,
            ),
            (TotalsOf::AllDevices, |key| matches!(key, MeterKey::Device(_))),
            (TotalsOf::AllTunnels, |key| matches!(key, MeterKey::Tunnel(..))),
            (TotalsOf::Keys(keys.clone()), |_| true),
        ] {
            if purged {
                break;
            }
            let query = TotalsQuery {
                period,
                of,
                budget: Budget::default(),
            };
            let totals = store.series().totals(SITE, query).await.unwrap().value;
            assert!(totals.is_sorted_by(|a, b| a.bytes >= b.bytes));
            let expected: Vec<_> = keys.iter().filter(|key| is_of(key) && truth(readings, key, period).2).collect();
            assert_eq!(totals.len(), expected.len(), "{what}: {period:?}");
            for total in totals {
                let sum = truth(readings, &total.key, period);
                assert!(near(total.packets, sum.0) && near(total.bytes, sum.1), "{what}: {total:?} {sum:?}");
                let moved = readings
                    .iter()
                    .filter(|reading| inside(reading, period) > 0 && reading.meters.iter().any(|meter| meter.key == total.key));
                assert_eq!(Some(total.last_us), moved.map(|reading| reading.to_us).max(), "{what}");
            }
        }
        let mut hosts: Vec<(Uuid, i64)> = Vec::new();
        for host in 1..=3_u8 {
            let host = Uuid::from_bytes([host; 16]);
            let of = readings.iter().filter(|reading| reading.host == host && inside(reading, period) > 0);
            hosts.extend(of.map(|reading| reading.to_us).max().map(|last_us| (host, last_us)));
        }
        assert_eq!(store.series().metered_hosts(SITE, period).await.unwrap(), hosts, "{what}");
    }
}

async fn sum(store: &Store, hop: Hop) -> u64 {
    let all = Period::new(0, i64::MAX);
    let counts = store.counts(SITE, all).await.unwrap();
    counts.iter().filter(|count| count.hop == hop).map(|count| count.records).sum()
}

on_both!(meters_say_what_their_readings_say_wherever_they_are);

fn meters_say_what_their_readings_say_wherever_they_are(runtime: &Runtime, backend: Backend) {
    runtime.block_on(async {
        let mut rng = StdRng::seed_from_u64(17);
        let readings = readings(&mut rng);
        let mut store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
        let parts = 14;
        for (sequence, part) in readings.chunks(readings.len().div_ceil(parts)).enumerate() {
            let batch = Append {
                cursor: cursor(1, StreamKind::Meters, 1, sequence as u64),
                rows: Rows::Meters(part.to_vec()),
            };
            store.series().append(SITE, batch).await.unwrap();
            if sequence == 0 {
                ask(&store, part, EPOCH_US, &mut rng, "in memory").await;
            }
            // The last ones stay in memory.
            if sequence + 3 < parts {
                store.series().flush().await.unwrap();
            }
        }
        ask(&store, &readings, EPOCH_US, &mut rng, "in files").await;
        let before = store.series().usage(SITE).await.unwrap();
        drop(store);
        if backend.is_embedded() {
            store = backend.open(options(&backend, Duration::from_millis(20))).await;
            ask(&store, &readings, EPOCH_US, &mut rng, "while files are merged").await;
            let waited = Instant::now();
            while store.series().usage(SITE).await.unwrap().files >= before.files - 6 {
                assert!(waited.elapsed() < Duration::from_secs(120), "files were not merged");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } else {
            store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
            backend.merge_all().await;
        }
        assert!(store.series().usage(SITE).await.unwrap().meters < before.meters);
        ask(&store, &readings, EPOCH_US, &mut rng, "in merged files").await;
        drop(store);
        store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
        store.series().flush().await.unwrap();
        ask(&store, &readings, EPOCH_US, &mut rng, "in merged files after a restart").await;
        assert_eq!(sum(&store, Hop::Stored).await, readings.len() as u64);

        // The first day goes: what is left is right, and the balance knows what went.
        let usage = store.series().usage(SITE).await.unwrap();
        let purged = store.series().purge(SITE, usage.total() - 1).await.unwrap();
        let until_us = purged.until_us.unwrap();
        assert!(purged.rows > 0 && purged.rows < readings.len() as u64);
        assert_eq!(sum(&store, Hop::Purged).await, purged.rows);
        assert_eq!(sum(&store, Hop::Stored).await, readings.len() as u64);
        let left: Vec<MeterReading> = readings.iter().filter(|reading| reading.to_us > until_us).cloned().collect();
        assert!(until_us < EPOCH_US + 2 * DAY_US - 60 * MINUTE_US);
        ask(&store, &left, until_us, &mut rng, "after a purge").await;
    });
}
