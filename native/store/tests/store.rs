// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The store as its users see it: rows in, the same rows out, wherever they are.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/backend.rs"]
mod backend;
mod support;

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use backend::{Backend, on_both};
use insights_store::{
    AccountId, Appended, FlowFilter, FlowRow, FlowTest, MeterKey, Period, SiteId, Store, StoreError, StoreOptions, StreamKind, Verdict,
    catalog::{Account, EventQuery, Hop, Level, NewEvent, Site},
    query::{Budget, Dimension, DropsQuery, FlowQuery, HistogramQuery, HitsQuery, MeterQuery, StoredFlow, TopQuery, TotalsOf, TotalsQuery},
};
use support::{Cloud, DAY_US, EPOCH_US, MINUTE_US, cursor};

const ALL: Period = Period { from_us: 0, to_us: i64::MAX };

fn options(dir: &tempfile::TempDir) -> StoreOptions {
    still(StoreOptions::new(dir.path()))
}

/// Nothing moves by itself: tests say when.
fn still(options: StoreOptions) -> StoreOptions {
    StoreOptions {
        flush_age: Duration::from_secs(3_600),
        upkeep_every: Duration::from_secs(3_600),
        ..options
    }
}

/// Tests of both backends.
macro_rules! bodies {
    ($($body:ident),+ $(,)?) => {
        on_both!($($body),+);
        $(fn $body(runtime: &tokio::runtime::Runtime, backend: Backend) {
            runtime.block_on(on::$body(&backend));
        })+
    };
}

fn site(number: u8) -> SiteId {
    SiteId(uuid::Uuid::from_bytes([number; 16]))
}

async fn all_flows(store: &Store, site: SiteId, page: usize) -> Vec<StoredFlow> {
    let mut query = FlowQuery {
        period: ALL,
        filter: FlowFilter::all(),
        after: None,
        limit: page,
        budget: Budget::default(),
    };
    let mut out = Vec::new();
    loop {
        let answer = store.series().flows(site, query.clone()).await.unwrap();
        out.extend(answer.value.flows);
        match answer.value.next {
            Some(next) => query.after = Some(next),
            None => return out,
        }
    }
}

/// Same rows; the order of rows of one instant is the store's.
fn assert_same(stored: &[StoredFlow], expected: &[FlowRow]) {
    assert_eq!(stored.len(), expected.len());
    assert!(stored.is_sorted_by_key(|flow| Reverse(flow.id)));
    let text = |row: &FlowRow| format!("{row:?}");
    let mut stored: Vec<String> = stored.iter().map(|flow| text(&flow.row)).collect();
    let mut expected: Vec<String> = expected.iter().map(text).collect();
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
}

bodies!(
    a_batch_counts_once,
    what_breaks_a_bound_is_refused_and_leaves_nothing,
    groups_agree_with_counting_by_hand,
    meters_tell_gaps_from_zeros,
    a_question_ends_at_its_budget,
    a_question_that_is_dropped_makes_room_for_the_next,
    a_site_that_asks_much_leaves_other_sites_their_answers,
    questions_about_any_period_are_answered,
);

mod on {
    use super::*;

    pub(super) async fn a_batch_counts_once(backend: &Backend) {
        let store = backend.open(still(backend.options())).await;
        let mut cloud = Cloud::new(2, 50);
        let batch = cloud.append(7, Vec::new());
        assert_eq!(store.series().append(site(1), batch).await.unwrap(), Appended::Committed);
        let rows = cloud.flows(20, EPOCH_US, EPOCH_US + DAY_US);
        let batch = cloud.append(8, rows.clone());
        let both = futures::future::join(
            store.series().append(site(1), batch.clone()),
            store.series().append(site(1), batch.clone()),
        )
        .await;
        let both = [both.0.unwrap(), both.1.unwrap()];
        assert!(both.contains(&Appended::Committed) && both.contains(&Appended::Duplicate), "{both:?}");
        drop(store);
        let store = backend.open(still(backend.options())).await;
        assert_eq!(store.series().append(site(1), batch.clone()).await.unwrap(), Appended::Duplicate);
        store.series().flush().await.unwrap();
        drop(store);
        let store = backend.open(still(backend.options())).await;
        assert_eq!(store.series().append(site(1), batch.clone()).await.unwrap(), Appended::Duplicate);
        assert_eq!(all_flows(&store, site(1), 100).await.len(), 20);
        // Another site, gateway or epoch is another stream.
        assert_eq!(store.series().append(site(2), batch.clone()).await.unwrap(), Appended::Committed);
        let mut other = batch;
        other.cursor.stream.epoch = 2;
        assert_eq!(store.series().append(site(1), other).await.unwrap(), Appended::Committed);

        let counts = store.counts(site(1), ALL).await.unwrap();
        let stored: u64 = counts.iter().filter(|count| count.hop == Hop::Stored).map(|count| count.records).sum();
        assert_eq!(stored, 40);
        store.series().flush().await.unwrap();
        assert_eq!(store.counts(site(1), ALL).await.unwrap(), counts);
    }

    pub(super) async fn what_breaks_a_bound_is_refused_and_leaves_nothing(backend: &Backend) {
        let store = backend.open(still(backend.options())).await;
        let mut cloud = Cloud::new(3, 50);
        let mut rows = cloud.flows(3, EPOCH_US, EPOCH_US + DAY_US);
        rows[1].vlans = vec![0; FlowRow::MAX_VLANS + 1];
        let refused = store.series().append(site(1), cloud.append(0, rows)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
        for time_us in [-1, i64::MIN, i64::MAX, FlowRow::END_OF_TIME_US] {
            let rows = vec![cloud.flow(time_us)];
            let refused = store.series().append(site(1), cloud.append(0, rows)).await.unwrap_err();
            assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
        }
        let rows = (0..100).map(|day| cloud.flow(EPOCH_US + day * DAY_US)).collect();
        let refused = store.series().append(site(1), cloud.append(0, rows)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Invalid(_)), "{refused}");
        let rows = cloud.flows(3, EPOCH_US, EPOCH_US + DAY_US);
        let mut batch = cloud.append(0, rows);
        batch.cursor.stream.kind = StreamKind::Meters;
        assert!(matches!(store.series().append(site(1), batch).await.unwrap_err(), StoreError::Invalid(_)));
        assert!(all_flows(&store, site(1), 10).await.is_empty());
        assert!(matches!(backend.try_open(still(backend.options())).await, Err(StoreError::Locked { .. })));
    }

    pub(super) async fn groups_agree_with_counting_by_hand(backend: &Backend) {
        let store = backend.open(still(backend.options())).await;
        let mut cloud = Cloud::new(4, 60);
        let mut rows = Vec::new();
        for sequence in 0..3 {
            let part = cloud.flows(700, EPOCH_US, EPOCH_US + DAY_US);
            rows.extend(part.clone());
            store.series().append(site(1), cloud.append(sequence, part)).await.unwrap();
            if sequence < 2 {
                store.series().flush().await.unwrap();
            }
        }
        let period = Period::new(EPOCH_US + DAY_US / 10, EPOCH_US + DAY_US / 2);
        let filter = FlowFilter::from(FlowTest::Proto(6..=6));
        let budget = Budget::default();
        let inside: Vec<&FlowRow> = rows.iter().filter(|row| period.contains(row.time_us) && row.proto == 6).collect();

        let count = store
            .series()
            .count(
                site(1),
                HitsQuery {
                    period,
                    filter: filter.clone(),
                    budget,
                },
            )
            .await
            .unwrap();
        assert_eq!(count.value.total(), inside.len() as u64);
        assert!(
            count.scanned.rows >= 700 && count.scanned.bytes > 0 && (count.scanned.files == 2 || !backend.is_embedded()),
            "{:?}",
            count.scanned
        );

        let step_us = 7 * MINUTE_US;
        let bins = store
            .series()
            .histogram(
                site(1),
                HistogramQuery {
                    period,
                    filter: filter.clone(),
                    step_us,
                    budget,
                },
            )
            .await
            .unwrap()
            .value;
        assert!(bins.windows(2).all(|pair| pair[1].start_us - pair[0].start_us == step_us));
        assert!(bins[0].start_us <= period.from_us && bins.last().unwrap().start_us < period.to_us);
        for bin in &bins {
            let of = |verdict| {
                inside
                    .iter()
                    .filter(|row| row.time_us.div_euclid(step_us) * step_us == bin.start_us && row.verdict == verdict)
                    .count() as u64
            };
            assert_eq!(
                (bin.allowed, bin.dropped, bin.consumed),
                (of(Verdict::Allowed), of(Verdict::Dropped), of(Verdict::Consumed))
            );
        }

        let dimensions = vec![Dimension::SrcTenant, Dimension::DstTp];
        let top = store
            .series()
            .top(
                site(1),
                TopQuery {
                    period,
                    filter: filter.clone(),
                    dimensions,
                    limit: 5,
                    budget,
                },
            )
            .await
            .unwrap()
            .value;
        let mut groups = std::collections::BTreeMap::<_, u64>::new();
        for row in &inside {
            *groups.entry((row.src_tenant.clone(), row.dst_tp)).or_default() += 1;
        }
        let mut expected: Vec<u64> = groups.values().copied().collect();
        expected.sort_unstable_by_key(|count| Reverse(*count));
        assert_eq!(top.rows.iter().map(|row| row.flows.total()).collect::<Vec<_>>(), expected[..5]);
        assert_eq!(top.other.total(), expected[5..].iter().sum::<u64>());
        assert_eq!(top.other_values, expected.len() as u64 - 5);

        let drops = store
            .series()
            .drops(
                site(1),
                DropsQuery {
                    period,
                    filter: filter.clone(),
                    limit: 4,
                    step_us: DAY_US / 24,
                    budget,
                },
            )
            .await
            .unwrap()
            .value;
        assert_eq!(drops.len(), 4);
        for rule in &drops {
            let of: Vec<_> = inside
                .iter()
                .filter(|row| row.verdict == Verdict::Dropped && row.rule == Some(rule.rule))
                .collect();
            assert_eq!(rule.flows, of.len() as u64);
            assert_eq!(rule.bins.iter().map(|bin| bin.1).sum::<u64>(), rule.flows);
            assert_eq!(rule.last_us, of.iter().map(|row| row.time_us).max().unwrap());
        }

        let hits = store.series().hits(site(1), HitsQuery { period, filter, budget }).await.unwrap().value;
        assert!(!hits.is_empty());
        for hit in hits {
            let of = |test: &dyn Fn(&insights_store::PathRule) -> bool| {
                let on = |row: &&&FlowRow| row.path.and_then(|path| cloud.path(path)).is_some_and(|path| path.rules.iter().any(test));
                inside.iter().filter(on).count() as u64
            };
            assert_eq!(hit.evaluated, of(&|rule| rule.id == hit.rule));
            assert_eq!(hit.matched, of(&|rule| rule.id == hit.rule && rule.matched));
            assert_eq!(hit.applied, of(&|rule| rule.id == hit.rule && rule.applied));
        }
    }

    pub(super) async fn meters_tell_gaps_from_zeros(backend: &Backend) {
        let store = backend.open(still(backend.options())).await;
        let mut cloud = Cloud::new(5, 40);
        let mut readings = cloud.readings(0..30);
        readings.extend(cloud.readings(40..60));
        let batch = |sequence, readings: &[insights_store::MeterReading]| insights_store::Append {
            cursor: cursor(1, StreamKind::Meters, 1, sequence),
            rows: insights_store::Rows::Meters(readings.to_vec()),
        };
        let (early, late) = readings.split_at(readings.len() / 2);
        store.series().append(site(1), batch(0, early)).await.unwrap();
        store.series().flush().await.unwrap();
        store.series().append(site(1), batch(1, late)).await.unwrap();

        let key = MeterKey::PortRx(cloud.ports[3]);
        let idle = MeterKey::PortRx(uuid::Uuid::from_bytes([9; 16]));
        let period = Period::new(EPOCH_US, EPOCH_US + 60 * MINUTE_US);
        let keys = vec![key.clone(), idle];
        // Half a minute: each reading is spread over two points.
        let query = MeterQuery {
            period,
            keys,
            step_us: MINUTE_US / 2,
            budget: Budget::default(),
        };
        let series = store.series().meters(site(1), query).await.unwrap().value;
        assert_eq!(series.len(), 2);
        for (at, point) in series[0].points.iter().enumerate() {
            let minute = EPOCH_US + (at as i64 / 2) * MINUTE_US;
            let of = readings
                .iter()
                .filter(|reading| reading.from_us == minute)
                .flat_map(|reading| &reading.meters);
            let bytes: u64 = of.filter(|meter| meter.key == key).map(|meter| meter.bytes).sum();
            assert_eq!(point.bytes, bytes as f64 / 2.0);
            let gap = (60..80).contains(&at);
            assert_eq!(point.covered_us, if gap { 0 } else { MINUTE_US / 2 });
        }
        assert!(series[1].points.iter().all(|point| point.bytes == 0.0));
        assert_eq!(series[1].points.iter().filter(|point| point.covered_us == 0).count(), 20);

        let totals = store
            .series()
            .totals(
                site(1),
                TotalsQuery {
                    period,
                    of: TotalsOf::AllPorts,
                    budget: Budget::default(),
                },
            )
            .await
            .unwrap()
            .value;
        let all: u64 = readings.iter().flat_map(|reading| &reading.meters).map(|meter| meter.bytes).sum();
        assert_eq!(totals.iter().map(|total| total.bytes).sum::<f64>(), all as f64);
        assert!(totals.is_sorted_by(|a, b| a.bytes >= b.bytes));
        let hosts = store.series().metered_hosts(site(1), period).await.unwrap();
        assert_eq!(hosts.len(), cloud.hosts.len());
        assert!(hosts.iter().all(|(_, last)| *last == EPOCH_US + 60 * MINUTE_US));
    }

    pub(super) async fn a_question_ends_at_its_budget(backend: &Backend) {
        let store = backend.open(still(backend.options())).await;
        let mut cloud = Cloud::new(7, 50);
        let rows = cloud.flows(2_000, EPOCH_US, EPOCH_US + DAY_US);
        store.series().append(site(1), cloud.append(0, rows)).await.unwrap();
        let budget = Budget {
            time: Duration::ZERO,
            ..Budget::default()
        };
        let over = store
            .series()
            .count(
                site(1),
                HitsQuery {
                    period: ALL,
                    filter: FlowFilter::all(),
                    budget,
                },
            )
            .await
            .unwrap_err();
        assert!(matches!(over, StoreError::OverBudget { what: "time", .. }), "{over}");
    }

    pub(super) async fn a_question_that_is_dropped_makes_room_for_the_next(backend: &Backend) {
        let store = backend
            .open(StoreOptions {
                queries: 1,
                ..still(backend.options())
            })
            .await;
        let mut cloud = Cloud::new(9, 50);
        let rows = cloud.flows(2_000, EPOCH_US, EPOCH_US + DAY_US);
        store.series().append(site(1), cloud.append(0, rows)).await.unwrap();
        let query = HitsQuery {
            period: ALL,
            filter: FlowFilter::all(),
            budget: Budget::default(),
        };
        for _ in 0..20 {
            // Polled once, so that it runs, then dropped.
            let mut running = store.series().count(site(1), query.clone());
            let _ = futures::poll!(&mut running);
        }
        assert_eq!(store.series().count(site(1), query).await.unwrap().value.total(), 2_000);
    }

    pub(super) async fn a_site_that_asks_much_leaves_other_sites_their_answers(backend: &Backend) {
        let options = StoreOptions {
            queries: 4,
            queries_per_site: 2,
            query_wait: Duration::from_millis(50),
            ..still(backend.options())
        };
        let store = backend.open(options).await;
        let mut cloud = Cloud::new(9, 50);
        for number in [1, 2] {
            let rows = cloud.flows(200, EPOCH_US, EPOCH_US + DAY_US);
            store.series().append(site(number), cloud.append(0, rows)).await.unwrap();
        }
        let query = HitsQuery {
            period: ALL,
            filter: FlowFilter::all(),
            budget: Budget::default(),
        };
        // Polled once, so that they have their places, which they keep until they are polled to their end.
        let mut running: Vec<_> = (0..2).map(|_| store.series().count(site(1), query.clone())).collect();
        for question in &mut running {
            assert!(futures::poll!(question).is_pending());
        }
        let third = store.series().count(site(1), query.clone()).await;
        assert!(matches!(third, Err(StoreError::Busy { .. })), "{third:?}");
        for _ in 0..3 {
            let other = store.series().count(site(2), query.clone()).await.unwrap();
            assert_eq!(other.value.total(), 200);
            assert!(other.scanned.rows >= 200);
        }
        // Who turns away makes room; who stays gets the answer.
        drop(running.pop());
        assert_eq!(store.series().count(site(1), query).await.unwrap().value.total(), 200);
        assert_eq!(running.pop().unwrap().await.unwrap().value.total(), 200);
    }

    pub(super) async fn questions_about_any_period_are_answered(backend: &Backend) {
        let store = backend.open(still(backend.options())).await;
        let mut cloud = Cloud::new(10, 50);
        let rows = cloud.flows(20, EPOCH_US, EPOCH_US + DAY_US);
        store.series().append(site(1), cloud.append(0, rows)).await.unwrap();
        let budget = Budget::default();
        let device = FlowFilter::from(FlowTest::Device(cloud.paths[0].1.devices[0].id));
        for (from_us, to_us) in [
            (i64::MIN, i64::MAX),
            (i64::MAX, i64::MIN),
            (0, 0),
            (i64::MIN, i64::MIN + 1),
            (i64::MAX - 1, i64::MAX),
        ] {
            let period = Period::new(from_us, to_us);
            let whole = period.contains(EPOCH_US);
            let count = store
                .series()
                .count(
                    site(1),
                    HitsQuery {
                        period,
                        filter: FlowFilter::all(),
                        budget,
                    },
                )
                .await
                .unwrap();
            assert_eq!(count.value.total(), if whole { 20 } else { 0 });
            let hits = HitsQuery {
                period,
                filter: device.clone(),
                budget,
            };
            store.series().count(site(1), hits.clone()).await.unwrap();
            store.series().hits(site(1), hits).await.unwrap();
            store.counts(site(1), period).await.unwrap();
            store.series().metered_hosts(site(1), period).await.unwrap();
            let bins = HistogramQuery {
                period,
                filter: FlowFilter::all(),
                step_us: 7,
                budget,
            };
            match store.series().histogram(site(1), bins).await {
                Ok(_) | Err(StoreError::Invalid(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn rows_come_back_from_memory_files_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).await.unwrap();
    let mut cloud = Cloud::new(1, 100);
    let mut expected = Vec::new();
    for sequence in 0..4 {
        let rows = cloud.flows(500, EPOCH_US, EPOCH_US + 3 * DAY_US);
        expected.extend(rows.clone());
        assert_eq!(
            store.series().append(site(1), cloud.append(sequence, rows)).await.unwrap(),
            Appended::Committed
        );
        if sequence == 1 {
            store.series().flush().await.unwrap();
        }
    }
    assert_same(&all_flows(&store, site(1), 333).await, &expected);
    let usage = store.series().usage(site(1)).await.unwrap();
    let waiting = usage.log;
    assert!(
        0 < waiting && waiting < on_disk(&dir.path().join("log")),
        "half of the log is in files, {waiting} bytes are not"
    );
    // Flows, their ends, paths and minutes of three days, and hours.
    assert!(
        (13..=14).contains(&usage.files) && usage.flows > 0 && usage.ends > 0 && usage.paths > 0 && usage.pending > 0,
        "{usage:?}"
    );
    assert!(all_flows(&store, site(2), 10).await.is_empty());

    drop(store);
    let store = Store::open(options(&dir)).await.unwrap();
    assert_eq!(store.series().usage(site(1)).await.unwrap().log, waiting, "as before the restart");
    assert_same(&all_flows(&store, site(1), 1_000).await, &expected);
    assert_eq!(store.cursor(site(1), cursor(1, StreamKind::Flows, 1, 0).stream).await.unwrap(), Some(3));
    store.series().flush().await.unwrap();
    assert_same(&all_flows(&store, site(1), 1_000).await, &expected);
    let usage = store.series().usage(site(1)).await.unwrap();
    assert_eq!((usage.pending, usage.log), (0, 0));
    assert_eq!(usage.total(), on_disk(&dir.path().join("sites")), "no site has topology or events here");
    let segments = std::fs::read_dir(dir.path().join("log")).unwrap().count();
    assert_eq!(segments, 1, "all rows are in files, so only the current segment is left");

    for flow in all_flows(&store, site(1), 1_000).await.iter().step_by(97) {
        let found = store.series().flow(site(1), flow.id).await.unwrap().unwrap();
        assert_eq!(found, *flow);
        assert_eq!(store.series().flow(site(2), flow.id).await.unwrap(), None);
        if let Some(path) = flow.row.path {
            let period = Period::new(flow.row.time_us, flow.row.time_us + 1);
            let contents = store.series().paths(site(1), period, vec![path]).await.unwrap();
            assert_eq!(contents, vec![(path, cloud.path(path).unwrap().clone())]);
        }
    }
}

#[tokio::test]
async fn purge_takes_the_oldest_files_and_gives_the_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir);
    options.retention.rollup_percent = 100;
    let store = Store::open(options.clone()).await.unwrap();
    let mut cloud = Cloud::new(6, 50);
    for day in 0..4 {
        let from_us = EPOCH_US + day * DAY_US;
        let rows = cloud.flows(300, from_us, from_us + DAY_US);
        store.series().append(site(1), cloud.append(day as u64, rows)).await.unwrap();
    }
    store.series().flush().await.unwrap();
    let on_disk = || -> u64 {
        let mut bytes = 0;
        let mut folders = vec![dir.path().join("sites")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.metadata().unwrap() {
                    found if found.is_dir() => folders.push(entry.path()),
                    found => bytes += found.len(),
                }
            }
        }
        bytes
    };
    let before = store.series().usage(site(1)).await.unwrap();
    assert_eq!(before.total(), on_disk());
    let quota = before.total() - (before.flows + before.paths) / 2;
    let purged = store.series().purge(site(1), quota).await.unwrap();
    let after = store.series().usage(site(1)).await.unwrap();
    assert!(after.total() <= quota && after.total() > quota / 3, "{after:?}");
    // The event that tells of it is in the catalogue.
    assert_eq!(after.total() - after.catalog + purged.bytes, before.total());
    assert_eq!(after.total() - after.catalog, on_disk());
    let left = all_flows(&store, site(1), 10_000).await;
    assert_eq!(left.len() as u64, 1_200 - purged.rows);
    assert!(left.iter().all(|flow| flow.row.time_us > purged.until_us.unwrap()));
    assert_eq!(store.series().purge(site(1), quota).await.unwrap().files, 0);
    drop(store);
    let store = Store::open(options.clone()).await.unwrap();
    assert_eq!(all_flows(&store, site(1), 10_000).await, left);

    store.remove_site(site(1)).await.unwrap();
    assert_eq!(store.series().usage(site(1)).await.unwrap().total(), 0);
    assert_eq!(on_disk(), 0);
    drop(store);
    let store = Store::open(options.clone()).await.unwrap();
    assert!(all_flows(&store, site(1), 10).await.is_empty());
}

#[tokio::test]
async fn a_site_is_held_to_its_quota() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions {
        upkeep_every: Duration::from_millis(20),
        ..options(&dir)
    })
    .await
    .unwrap();
    let account = Account {
        id: AccountId::random(),
        email: "ada@example.org".into(),
        name: "Ada".into(),
        password_hash: "$argon2id$x".into(),
        created_us: 1,
    };
    store.catalog().create_account(account.clone()).await.unwrap();
    let quota = 60_000;
    let new = Site {
        id: site(1),
        account: account.id,
        name: "one".into(),
        created_us: 1,
        deleted_us: None,
        quota_bytes: quota,
        settings: "{}".into(),
    };
    store.catalog().create_site(new).await.unwrap();
    let mut cloud = Cloud::new(8, 50);
    for day in 0..4 {
        let from_us = EPOCH_US + day * DAY_US;
        for number in [1, 2] {
            let rows = cloud.flows(300, from_us, from_us + DAY_US);
            store.series().append(site(number), cloud.append(day as u64, rows)).await.unwrap();
        }
    }
    store.series().flush().await.unwrap();
    let waited = Instant::now();
    while store.series().usage(site(1)).await.unwrap().total() > quota {
        assert!(waited.elapsed() < Duration::from_secs(60), "the quota was not kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = all_flows(&store, site(1), 10_000).await.len() as u64;
    assert!(left > 0 && left < 1_200);
    assert_eq!(all_flows(&store, site(2), 10_000).await.len(), 1_200, "a site without a quota keeps all");
    let events = store.catalog().events(site(1), EventQuery::all(ALL, 10)).await.unwrap();
    assert!(events.iter().any(|event| event.event.kind == "retention.purged"), "{events:?}");
    let counts = store.counts(site(1), ALL).await.unwrap();
    let sum = |hop| counts.iter().filter(|count| count.hop == hop).map(|count| count.records).sum::<u64>();
    assert_eq!((sum(Hop::Stored), sum(Hop::Purged)), (1_200, 1_200 - left));
}

/// Bytes of all files below a folder.
fn on_disk(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { on_disk(&path) } else { path.metadata().unwrap().len() })
        .sum()
}

#[tokio::test]
async fn what_the_catalogue_holds_of_a_site_counts_and_is_never_purged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).await.unwrap();
    let mut cloud = Cloud::new(12, 50);
    let rows = cloud.flows(200, EPOCH_US, EPOCH_US + DAY_US);
    store.series().append(site(1), cloud.append(0, rows)).await.unwrap();
    store.series().flush().await.unwrap();
    let before = store.series().usage(site(1)).await.unwrap();
    assert_eq!(before.catalog, 0);
    let event = |text: &str| NewEvent {
        at_us: EPOCH_US,
        level: Level::Info,
        kind: "test".into(),
        text: text.into(),
        fields: "{}".into(),
        gateway: None,
        loss: None,
    };
    store
        .catalog()
        .append_events(site(1), None, vec![event(&"x".repeat(1_000))])
        .await
        .unwrap();
    store.catalog().append_events(site(2), None, vec![event("other")]).await.unwrap();
    let usage = store.series().usage(site(1)).await.unwrap();
    assert_eq!((usage.catalog, usage.total()), (1_202, before.total() + 1_202));
    // A quota that all but the flows and their sums would fill: these go, the event stays, and one more tells of it.
    store.series().purge(site(1), 1_300).await.unwrap();
    let left = store.series().usage(site(1)).await.unwrap();
    assert_eq!((left.flows, left.ends, left.paths, left.rollups), (0, 0, 0, 0));
    let events = store.catalog().events(site(1), EventQuery::all(ALL, 10)).await.unwrap();
    assert!(events.iter().any(|event| event.event.kind == "test"), "{events:?}");
    store.remove_site(site(1)).await.unwrap();
    assert_eq!(store.series().usage(site(1)).await.unwrap().total(), 0);
    assert_eq!(store.series().usage(site(2)).await.unwrap().catalog, 207);
}

#[tokio::test]
async fn trouble_with_one_sites_files_leaves_the_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(options(&dir)).await.unwrap();
    let mut cloud = Cloud::new(12, 50);
    for number in [1, 2, 3] {
        let rows = cloud.flows(50, EPOCH_US, EPOCH_US + DAY_US);
        store.series().append(site(number), cloud.append(0, rows)).await.unwrap();
    }
    // A file where the folder of a site should be.
    std::fs::create_dir(dir.path().join("sites")).unwrap();
    let wall = dir.path().join("sites").join(site(2).to_string());
    std::fs::write(&wall, b"").unwrap();
    assert!(matches!(store.series().flush().await, Err(StoreError::Io { .. })));
    for (number, written) in [(1, true), (2, false), (3, true)] {
        assert_eq!(store.series().usage(site(number)).await.unwrap().pending == 0, written, "site {number}");
        assert_eq!(all_flows(&store, site(number), 100).await.len(), 50);
    }
    std::fs::remove_file(&wall).unwrap();
    store.series().flush().await.unwrap();
    assert_eq!(store.series().usage(site(2)).await.unwrap().pending, 0);
    assert_eq!(all_flows(&store, site(2), 100).await.len(), 50);
}
