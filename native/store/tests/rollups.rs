// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Random questions about random rows: what roll-ups answer is what the rows themselves say, while rows are in memory, in files, in merged
//! files, after a restart, and when the files of the records are gone.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/backend.rs"]
mod backend;
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use backend::{Backend, on_both};
use insights_store::{
    Append, End, FlowFilter, FlowRow, FlowTest, Grain, KnownField, MeterDelta, MeterKey, MeterReading, Period, Retention, Rows, SiteId, Store,
    StoreOptions, StreamKind, Verdict,
    query::{
        Answer, Bin, Budget, DimValue, Dimension, DropsQuery, HistogramQuery, HitsQuery, MeterQuery, PairsQuery, TopQuery, TotalsOf, TotalsQuery,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{Cloud, DAY_US, EPOCH_US, MINUTE_US, cursor};
use tokio::runtime::Runtime;
use uuid::Uuid;

const SITE: SiteId = SiteId(Uuid::from_bytes([1; 16]));
const HOUR_US: i64 = 60 * MINUTE_US;
const DAYS: i64 = 5;

fn options(backend: &Backend, upkeep_every: Duration) -> StoreOptions {
    StoreOptions {
        flush_age: Duration::from_secs(3_600),
        upkeep_every,
        // The rows are of a fixed year, the clock is not.
        retention: Retention {
            flow_minutes: Duration::from_secs(30 * 366 * 86_400),
            flow_hours: Duration::from_secs(60 * 366 * 86_400),
            meter_hours: Duration::from_secs(30 * 366 * 86_400),
            meter_days: Duration::from_secs(30 * 366 * 86_400),
            // Records go first here.
            rollup_percent: 100,
        },
        ..backend.options()
    }
}

/// Questions, and the rows that they are about.
struct Asked<'a> {
    store: &'a Store,
    rows: &'a [FlowRow],
    cloud: &'a Cloud,
    /// Levels that answers came from.
    seen: BTreeSet<Grain>,
}

impl Asked<'_> {
    /// What an answer is about. It differs from what was asked only by the rounding to full spans of its level.
    fn about<T>(&mut self, answer: &Answer<T>, asked: Period) -> Period {
        self.seen.insert(answer.scanned.level);
        let about = answer.scanned.period.unwrap_or(asked);
        assert!(about.from_us <= asked.from_us && about.to_us >= asked.to_us, "{about:?} {asked:?}");
        let most = answer.scanned.level.step_us();
        assert!(
            asked.from_us - about.from_us < most && about.to_us - asked.to_us < most,
            "{about:?} {asked:?}"
        );
        about
    }

    fn matching(&self, period: Period, filter: &FlowFilter) -> Vec<&FlowRow> {
        let matches = |row: &&FlowRow| period.contains(row.time_us) && filter.matches(row, row.path.and_then(|path| self.cloud.path(path)));
        self.rows.iter().filter(matches).collect()
    }

    async fn ask(&mut self, rng: &mut StdRng) {
        let period = period(rng);
        let filter = self.filter(rng);
        let budget = Budget::default();
        let series = self.store.series();
        let what = format!("{period:?} {filter:?}");

        let hits = HitsQuery {
            period,
            filter: filter.clone(),
            budget,
        };
        let answer = series.count(SITE, hits.clone()).await.unwrap();
        let about = self.about(&answer, period);
        assert_eq!(
            answer.value,
            bin(period.from_us, &self.matching(about, &filter)),
            "{what}, from {:?}",
            answer.scanned
        );

        let step_us = [MINUTE_US, 7 * MINUTE_US, HOUR_US, 6 * HOUR_US, 90_000_000][rng.random_range(0..5)];
        let histogram = HistogramQuery {
            period,
            filter: filter.clone(),
            step_us,
            budget,
        };
        match series.histogram(SITE, histogram).await {
            Ok(answer) => {
                let about = self.about(&answer, period);
                let rows = self.matching(about, &filter);
                for found in &answer.value {
                    let inside = Period::new(found.start_us, found.start_us + step_us);
                    let these: Vec<&FlowRow> = rows.iter().filter(|row| inside.contains(row.time_us)).copied().collect();
                    assert_eq!(*found, bin(found.start_us, &these), "{what}, step {step_us}");
                }
                assert_eq!(answer.value.iter().map(Bin::total).sum::<u64>(), rows.len() as u64, "{what}");
            }
            Err(error) => assert!(error.to_string().contains("bins"), "{error}"),
        }

        let (dimension, of): Of = DIMENSIONS[rng.random_range(0..DIMENSIONS.len())];
        let top = TopQuery {
            period,
            filter: filter.clone(),
            dimensions: vec![dimension, Dimension::Verdict],
            limit: 7,
            budget,
        };
        let answer = series.top(SITE, top).await.unwrap();
        let about = self.about(&answer, period);
        let rows = self.matching(about, &filter);
        let mut groups: BTreeMap<Vec<DimValue>, Vec<&FlowRow>> = BTreeMap::new();
        for row in &rows {
            groups.entry(vec![of(row), DimValue::Verdict(row.verdict)]).or_default().push(row);
        }
        let values = groups.len() as u64;
        let mut expected: Vec<(Vec<DimValue>, Vec<&FlowRow>)> = groups.into_iter().collect();
        expected.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        expected.truncate(7);
        assert_eq!(answer.value.rows.len(), expected.len(), "{what} {dimension:?}");
        for (found, (values, rows)) in answer.value.rows.iter().zip(&expected) {
            assert_eq!(found.values, *values, "{what} {dimension:?}");
            assert_eq!(found.flows, bin(period.from_us, rows), "{what} {dimension:?}");
            assert_eq!(Some(found.last_us), rows.iter().map(|row| row.time_us).max());
        }
        let shown: usize = expected.iter().map(|(_, rows)| rows.len()).sum();
        assert_eq!(answer.value.other.total(), (rows.len() - shown) as u64);
        assert_eq!(answer.value.other_values, values - expected.len() as u64);

        self.rules(hits, &what).await;
        self.pairs(period, filter, &what).await;
    }

    async fn rules(&mut self, mut query: HitsQuery, what: &str) {
        let series = self.store.series();
        let (period, budget) = (query.period, query.budget);
        if let Ok(answer) = series
            .drops(
                SITE,
                DropsQuery {
                    period,
                    filter: query.filter.clone(),
                    limit: 3,
                    step_us: HOUR_US,
                    budget,
                },
            )
            .await
        {
            let about = self.about(&answer, period);
            let rows = self.matching(about, &query.filter);
            for drops in &answer.value {
                let of: Vec<_> = rows
                    .iter()
                    .filter(|row| row.verdict == Verdict::Dropped && row.rule == Some(drops.rule))
                    .collect();
                assert_eq!(drops.flows, of.len() as u64, "{what}");
                assert_eq!(Some(drops.last_us), of.iter().map(|row| row.time_us).max(), "{what}");
                assert_eq!(drops.bins.iter().map(|bin| bin.1).sum::<u64>(), drops.flows, "{what}");
            }
        }
        // Filters that every facet keeps, now and then.
        if period.from_us % 2 == 0 {
            query.filter = FlowTest::Transit(false).into();
        }
        let answer = series.hits(SITE, query.clone()).await.unwrap();
        let about = self.about(&answer, period);
        let rows = self.matching(about, &query.filter);
        let mut expected: BTreeMap<Uuid, (u64, u64, u64, Option<i64>)> = BTreeMap::new();
        for row in rows {
            let Some(path) = row.path.and_then(|path| self.cloud.path(path)) else {
                continue;
            };
            for rule in path.rules.iter().map(|rule| rule.id).collect::<BTreeSet<_>>() {
                let any = |test: &dyn Fn(&insights_store::PathRule) -> bool| path.rules.iter().any(|on| on.id == rule && test(on));
                let hits = expected.entry(rule).or_default();
                hits.0 += 1;
                if any(&|rule| rule.matched) {
                    hits.1 += 1;
                    hits.3 = hits.3.max(Some(row.time_us));
                }
                hits.2 += u64::from(any(&|rule| rule.applied));
            }
        }
        let found = answer
            .value
            .iter()
            .map(|hit| (hit.rule, (hit.evaluated, hit.matched, hit.applied, hit.last_matched_us)));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{what}");
    }

    async fn pairs(&mut self, period: Period, filter: FlowFilter, what: &str) {
        let query = PairsQuery {
            period,
            filter: filter.clone(),
            limit: 20,
            budget: Budget::default(),
        };
        let answer = self.store.series().pairs(SITE, query).await.unwrap();
        let about = self.about(&answer, period);
        let rows = self.matching(about, &filter);
        let mut truth: BTreeMap<_, u64> = BTreeMap::new();
        for row in &rows {
            *truth.entry((row.src_ip, row.dst_ip)).or_default() += 1;
        }
        let unsure = answer.value.unsure;
        let mut shown = 0;
        for pair in &answer.value.rows {
            let true_flows = truth.remove(&(pair.src, pair.dst)).unwrap_or(0);
            let least = pair.flows.total();
            assert!(
                least <= true_flows && true_flows <= least + unsure,
                "{what}: {least} of {true_flows}, unsure {unsure}"
            );
            shown += least;
        }
        assert_eq!(shown + answer.value.other.total(), rows.len() as u64, "{what}");
        let last = answer.value.rows.last().map_or(0, |pair| pair.flows.total());
        assert!(
            truth.values().all(|flows| answer.value.rows.len() < 20 || *flows <= last + unsure),
            "{what}"
        );
    }

    /// Filters that roll-ups can answer, and some that they can't.
    fn filter(&self, rng: &mut StdRng) -> FlowFilter {
        let row = &self.rows[rng.random_range(0..self.rows.len())];
        let end = [End::Src, End::Dst, End::Either][rng.random_range(0..3)];
        let path = row.path.and_then(|path| self.cloud.path(path));
        let device = path.and_then(|path| path.devices.first()).map_or(Uuid::nil(), |device| device.id);
        let test = match rng.random_range(0..16) {
            0 => FlowTest::Tenant(end, row.src_tenant.as_deref().unwrap_or("nobody").to_owned()),
            1 => FlowTest::Network(end, row.dst_network.unwrap_or_default()),
            2 => FlowTest::Known(end, [KnownField::Tenant, KnownField::Network, KnownField::Ip][rng.random_range(0..3)]),
            3 => FlowTest::Proto(6..=17),
            4 => FlowTest::Tp(end, 22..=443),
            5 => FlowTest::Tp(end, 443..=40_000),
            6 => FlowTest::Host(row.host),
            7 => FlowTest::DecidedBy(row.rule.unwrap_or_default()),
            8 => FlowTest::SimResult(row.sim_result),
            9 => FlowTest::EtherType(row.ether_type..=row.ether_type),
            10 => FlowTest::Device(device),
            11 => FlowTest::Device(row.out_ports.first().copied().unwrap_or_default()),
            12 => FlowTest::Verdict(row.verdict),
            13 => FlowTest::Transit(row.transit),
            _ => return FlowFilter::all(),
        };
        let test = FlowFilter::from(test);
        match rng.random_range(0..4) {
            0 => test.and(FlowTest::Verdict(row.verdict).into()),
            1 => FlowFilter::Not(Box::new(test)),
            _ => test,
        }
    }
}

/// A dimension with its value for a row.
type Of = (Dimension, fn(&FlowRow) -> DimValue);

const DIMENSIONS: [Of; 7] = [
    (Dimension::SrcTenant, |row| row.src_tenant.clone().map_or(DimValue::None, DimValue::Text)),
    (Dimension::DstNetwork, |row| row.dst_network.map_or(DimValue::None, DimValue::Id)),
    (Dimension::Host, |row| DimValue::Id(row.host)),
    (Dimension::Rule, |row| row.rule.map_or(DimValue::None, DimValue::Id)),
    (Dimension::Proto, |row| DimValue::Number(row.proto.into())),
    (Dimension::DstTp, |row| DimValue::Number(row.dst_tp.into())),
    (Dimension::Service, |row| {
        let ports = [row.dst_tp, row.src_tp];
        let known = ports
            .into_iter()
            .find(|port| matches!(row.proto, 6 | 17 | 132) && *port < FlowRow::EPHEMERAL);
        known.map_or(DimValue::None, |port| DimValue::Number(port.into()))
    }),
];

/// From minutes to all of it, at full hours now and then.
fn period(rng: &mut StdRng) -> Period {
    let length = [40 * MINUTE_US, 3 * HOUR_US, DAY_US, 3 * DAY_US, 9 * DAY_US][rng.random_range(0..5)];
    let from_us = EPOCH_US - DAY_US / 2 + rng.random_range(0..DAYS * DAY_US);
    if rng.random_bool(0.3) {
        let from_us = from_us / HOUR_US * HOUR_US;
        return Period::new(from_us, from_us + length / HOUR_US * HOUR_US + HOUR_US);
    }
    Period::new(from_us, from_us + length)
}

fn bin(start_us: i64, rows: &[&FlowRow]) -> Bin {
    let of = |verdict| rows.iter().filter(|row| row.verdict == verdict).count() as u64;
    Bin {
        start_us,
        allowed: of(Verdict::Allowed),
        dropped: of(Verdict::Dropped),
        consumed: of(Verdict::Consumed),
    }
}

async fn merged(store: &Store, files: u64) {
    let waited = Instant::now();
    while store.series().usage(SITE).await.unwrap().files > files {
        assert!(waited.elapsed() < Duration::from_secs(120), "files were not merged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

on_both!(rolled_up_flows_say_what_the_rows_say, rolled_up_meters_say_what_the_readings_say);

fn rolled_up_flows_say_what_the_rows_say(runtime: &Runtime, backend: Backend) {
    runtime.block_on(async {
        let mut store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
        let mut cloud = Cloud::new(21, 40);
        let mut rng = StdRng::seed_from_u64(5);
        let mut rows = Vec::new();
        for sequence in 0..12 {
            let part = cloud.flows(250, EPOCH_US, EPOCH_US + DAYS * DAY_US);
            rows.extend(part.clone());
            store.series().append(SITE, cloud.append(sequence, part)).await.unwrap();
            // The last batches stay in memory.
            if sequence < 10 {
                store.series().flush().await.unwrap();
            }
        }
        let mut levels = BTreeSet::new();
        let mut round = async |store: &Store, questions: usize| {
            let mut asked = Asked {
                store,
                rows: &rows,
                cloud: &cloud,
                seen: BTreeSet::new(),
            };
            for _ in 0..questions {
                asked.ask(&mut rng).await;
            }
            levels.extend(asked.seen.clone());
            asked.seen
        };
        round(&store, 12).await;
        let before = store.series().usage(SITE).await.unwrap().files;
        drop(store);
        // After a restart, what is in memory came from the log, and many small files become few.
        if backend.is_embedded() {
            store = backend.open(options(&backend, Duration::from_millis(20))).await;
            merged(&store, before / 3).await;
        } else {
            store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
            backend.merge_all().await;
        }
        round(&store, 12).await;
        drop(store);
        store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
        store.series().flush().await.unwrap();
        round(&store, 8).await;
        // Without the records, long periods are still answered, and short ones by the minute.
        let usage = store.series().usage(SITE).await.unwrap();
        store.series().purge(SITE, usage.rollups).await.unwrap();
        let usage = store.series().usage(SITE).await.unwrap();
        assert_eq!((usage.flows, usage.paths), (0, 0));
        assert!(usage.rollups > 0);
        for _ in 0..30 {
            let mut asked = Asked {
                store: &store,
                rows: &rows,
                cloud: &cloud,
                seen: BTreeSet::new(),
            };
            let mut period = period(&mut rng);
            // At the edges of a period hours are rounded to minutes; here there is nothing finer than minutes.
            period.from_us = period.from_us.div_euclid(MINUTE_US) * MINUTE_US;
            period.to_us = period.to_us.div_euclid(MINUTE_US) * MINUTE_US;
            let filter = FlowFilter::from(FlowTest::Proto(6..=6));
            let query = HitsQuery {
                period,
                filter: filter.clone(),
                budget: Budget::default(),
            };
            let answer = store.series().count(SITE, query).await.unwrap();
            let about = asked.about(&answer, period);
            assert_eq!(
                answer.value,
                bin(period.from_us, &asked.matching(about, &filter)),
                "{period:?} {:?}",
                answer.scanned
            );
        }
        assert!(
            levels.contains(&Grain::Records) && levels.contains(&Grain::Minutes) && levels.contains(&Grain::Hours),
            "{levels:?}"
        );
        // Each level goes when it is older than it is kept.
        let kept = options(&backend, Duration::ZERO).retention;
        let end = EPOCH_US + DAYS * DAY_US;
        store
            .series()
            .expire(end + kept.flow_minutes.as_micros() as i64 + 8 * DAY_US)
            .await
            .unwrap();
        let hours = store.series().usage(SITE).await.unwrap().rollups;
        assert!(hours > 0 && hours < usage.rollups / if backend.is_embedded() { 2 } else { 1 }, "{hours}");
        let month = Period::new(EPOCH_US - 20 * DAY_US, end + 10 * DAY_US);
        let query = HitsQuery {
            period: month,
            filter: FlowFilter::all(),
            budget: Budget::default(),
        };
        let answer = store.series().count(SITE, query.clone()).await.unwrap();
        assert_eq!((answer.value.total(), answer.scanned.level), (rows.len() as u64, Grain::Hours));
        store
            .series()
            .expire(end + kept.flow_hours.as_micros() as i64 + 32 * DAY_US)
            .await
            .unwrap();
        // What is left is the events that tell of the purge.
        let usage = store.series().usage(SITE).await.unwrap();
        assert_eq!(usage.total(), usage.catalog);
        assert_eq!(store.series().count(SITE, query).await.unwrap().value.total(), 0);
    });
}

fn rolled_up_meters_say_what_the_readings_say(runtime: &Runtime, backend: Backend) {
    runtime.block_on(async {
        let store = backend.open(options(&backend, Duration::from_secs(3_600))).await;
        let mut rng = StdRng::seed_from_u64(9);
        let hosts = [Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16])];
        let keys: Vec<MeterKey> = (0..6).map(|number| MeterKey::PortRx(Uuid::from_u128(number))).collect();
        let span = 7 * MINUTE_US + 13;
        let mut readings = Vec::new();
        for at in 0..(4 * DAY_US / span) {
            // A gap of half a day.
            if (100..200).contains(&at) {
                continue;
            }
            for (host, keys) in hosts.iter().zip(keys.chunks(3)) {
                let from_us = EPOCH_US + at * span;
                let moved = keys.iter().filter(|_| rng.random_bool(0.7)).cloned().collect::<Vec<_>>();
                let meters = moved.into_iter().map(|key| {
                    let packets = rng.random_range(1..5_000);
                    MeterDelta {
                        key,
                        packets,
                        bytes: packets * 700 + 3,
                    }
                });
                readings.push(MeterReading {
                    host: *host,
                    from_us,
                    to_us: from_us + span,
                    meters: meters.collect(),
                });
            }
        }
        for (sequence, part) in readings.chunks(200).enumerate() {
            let batch = Append {
                cursor: cursor(1, StreamKind::Meters, 1, sequence as u64),
                rows: Rows::Meters(part.to_vec()),
            };
            store.series().append(SITE, batch).await.unwrap();
            if sequence < 4 {
                store.series().flush().await.unwrap();
            }
        }
        let share = |reading: &MeterReading, period: Period| {
            let inside = (reading.to_us.min(period.to_us) - reading.from_us.max(period.from_us)).max(0);
            inside as f64 / (reading.to_us - reading.from_us) as f64
        };
        let truth = |key: &MeterKey, period: Period| -> f64 {
            let of = readings
                .iter()
                .flat_map(|reading| reading.meters.iter().map(move |meter| (reading, meter)));
            of.filter(|(_, meter)| meter.key == *key)
                .map(|(reading, meter)| meter.bytes as f64 * share(reading, period))
                .sum()
        };
        let mut levels = BTreeSet::new();
        for round in 0..3 {
            for (from, to, step_us) in [
                (5, 29, HOUR_US),
                (0, 96, HOUR_US),
                (-1_500, 96, DAY_US),
                (30, 33, 5 * MINUTE_US),
                (1, 90, 6 * HOUR_US),
            ] {
                let period = Period::new(EPOCH_US + from * HOUR_US, EPOCH_US + to * HOUR_US);
                let query = MeterQuery {
                    period,
                    keys: keys.clone(),
                    step_us,
                    budget: Budget::default(),
                };
                let answer = store.series().meters(SITE, query).await.unwrap();
                levels.insert(answer.scanned.level);
                for (key, series) in keys.iter().zip(&answer.value) {
                    assert_eq!(series.key, *key);
                    for point in &series.points {
                        let inside = Period::new(point.start_us.max(period.from_us), (point.start_us + step_us).min(period.to_us));
                        let expected = truth(key, inside);
                        // A reading is divided into full bytes.
                        assert!(
                            (point.bytes - expected).abs() <= 2.0 + step_us as f64 / HOUR_US as f64,
                            "round {round} {point:?} {expected}"
                        );
                        let host = hosts[usize::from(!keys[..3].contains(key))];
                        let covered: f64 = readings
                            .iter()
                            .filter(|reading| reading.host == host)
                            .map(|reading| share(reading, inside) * span as f64)
                            .sum();
                        assert!((point.covered_us as f64 - covered).abs() < 1_000.0, "round {round} {point:?} {covered}");
                    }
                }
                let query = TotalsQuery {
                    period,
                    of: TotalsOf::AllPorts,
                    budget: Budget::default(),
                };
                let answer = store.series().totals(SITE, query).await.unwrap();
                for total in &answer.value {
                    assert!((total.bytes - truth(&total.key, period)).abs() <= 100.0, "round {round} {total:?}");
                }
                assert!(!answer.value.is_empty());
            }
            if round == 0 {
                store.series().flush().await.unwrap();
            } else {
                if !backend.is_embedded() {
                    backend.merge_all().await;
                }
                let rollups = store.series().usage(SITE).await.unwrap().rollups;
                store.series().purge(SITE, rollups).await.unwrap();
                break;
            }
        }
        assert!(levels.contains(&Grain::Hours), "{levels:?}");
        let all = Period::new(EPOCH_US, EPOCH_US + 4 * DAY_US);
        let query = TotalsQuery {
            period: all,
            of: TotalsOf::AllPorts,
            budget: Budget::default(),
        };
        let answer = store.series().totals(SITE, query).await.unwrap();
        let sum: u64 = readings.iter().flat_map(|reading| &reading.meters).map(|meter| meter.bytes).sum();
        assert_eq!(answer.value.iter().map(|total| total.bytes).sum::<f64>(), sum as f64);
        assert_eq!(answer.scanned.level, Grain::Hours);
    });
}
