// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A store that an older version wrote: its files of meters and flows are read as they are, and brought to today's form in time.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::{
    Append, Cursor, End, FlowFilter, FlowRow, FlowTest, Mac, MeterDelta, MeterKey, MeterReading, Period, Prefix, Rows, SiteId, Store, StoreOptions,
    StreamId, StreamKind,
    catalog::{Catalog, files},
    parquet::{Effort, FileWriter, write_sorted},
    query::{Budget, Dimension, FlowQuery, MeterQuery, MeterSeries, StoredFlow, Top, TopQuery, TotalsOf, TotalsQuery},
    table::{DAY_US, TableKind, flow_batch, meter_batch},
    testing::flow,
};

const SITE: SiteId = SiteId(Uuid::from_bytes([5; 16]));
const MINUTE_US: i64 = 60_000_000;

fn key(number: u8) -> MeterKey {
    MeterKey::Device(Uuid::from_bytes([number; 16]))
}

/// Readings of a host over a day, each minute; each meter moves in some of them.
fn readings() -> Vec<MeterReading> {
    let reading = |at: i64| MeterReading {
        host: Uuid::from_bytes([8; 16]),
        from_us: DAY_US + at * MINUTE_US,
        to_us: DAY_US + (at + 1) * MINUTE_US,
        meters: (1..=3_u8)
            .filter(|number| at % (i64::from(*number) + 1) == 0)
            .map(|number| MeterDelta {
                key: key(number),
                packets: at as u64 + 1,
                bytes: (at as u64 + 1) * 100 * u64::from(number),
            })
            .collect(),
    };
    (0..1_440).map(reading).collect()
}

/// Sorts the rows of a batch as files of the older form have them.
fn write_old(options: &StoreOptions, catalog: &Catalog, readings: &[MeterReading]) {
    let rows = meter_batch(readings).unwrap();
    let keys: Vec<_> = TableKind::Meters
        .order()
        .iter()
        .map(|(name, _)| datafusion::arrow::compute::SortColumn {
            values: rows.column_by_name(name).unwrap().clone(),
            options: None,
        })
        .collect();
    let order = datafusion::arrow::compute::lexsort_to_indices(&keys, None).unwrap();
    let rows = datafusion::arrow::compute::take_record_batch(&rows, &order).unwrap();
    let dir = options.dir.join("sites").join(SITE.to_string()).join("meters");
    let mut writer = FileWriter::create(&dir, SITE, TableKind::Meters, 1, Effort::Flush).unwrap();
    writer.push(&rows).unwrap();
    let entry = writer.finish().unwrap();
    assert_eq!(entry.records, None);
    catalog.write_now(|tx| files::add(tx, &entry)).unwrap();
}

async fn ask(store: &Store) -> (Vec<MeterSeries>, Vec<(MeterKey, f64, f64, i64)>) {
    let period = Period::new(DAY_US + 100 * MINUTE_US + 7, DAY_US + 1_300 * MINUTE_US + 11);
    let budget = Budget::default();
    let query = MeterQuery {
        period,
        keys: (1..=4).map(key).collect(),
        step_us: 10 * MINUTE_US,
        budget,
    };
    let series = store.series().meters(SITE, query).await.unwrap().value;
    let query = TotalsQuery {
        period,
        of: TotalsOf::AllDevices,
        budget,
    };
    let totals = store.series().totals(SITE, query).await.unwrap().value;
    let totals = totals.into_iter().map(|total| (total.key, total.packets, total.bytes, total.last_us));
    (series, totals.collect())
}

/// The same but for the rounding of sums.
fn assert_same(found: &[MeterSeries], expected: &[MeterSeries]) {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((&found.key, found.points.len()), (&expected.key, expected.points.len()));
        for (found, expected) in found.points.iter().zip(&expected.points) {
            assert_eq!((found.start_us, found.covered_us), (expected.start_us, expected.covered_us));
            assert!(
                near(found.packets, expected.packets) && near(found.bytes, expected.bytes),
                "{found:?} {expected:?}"
            );
        }
    }
}

#[test]
fn meters_of_an_older_store_are_read_and_brought_to_todays_form() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let idle = StoreOptions {
        upkeep_every: Duration::from_secs(3_600),
        ..StoreOptions::new(dir.path())
    };
    let busy = StoreOptions {
        upkeep_every: Duration::from_millis(20),
        ..idle.clone()
    };
    let all = readings();
    let catalog = Catalog::open(dir.path()).unwrap();
    for part in all.chunks(500) {
        write_old(&idle, &catalog, part);
    }
    drop(catalog);
    runtime.block_on(async {
        let store = Store::open(idle.clone()).await.unwrap();
        let before = ask(&store).await;
        let old = store.series().usage(SITE).await.unwrap();
        assert_eq!((before.1.len(), old.files), (3, 3));
        drop(store);
        let store = Store::open(busy).await.unwrap();
        let waited = Instant::now();
        let folder = dir.path().join("sites").join(SITE.to_string()).join("meters");
        while std::fs::read_dir(&folder).unwrap().count() > 0 {
            assert!(waited.elapsed() < Duration::from_secs(60), "files were not brought to today's form");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let after = ask(&store).await;
        assert_same(&after.0, &before.0);
        for (found, expected) in after.1.iter().zip(&before.1) {
            assert_eq!((&found.0, found.3), (&expected.0, expected.3));
            assert!(
                (found.1 - expected.1).abs() < 1e-6 && (found.2 - expected.2).abs() < 1e-6,
                "{found:?} {expected:?}"
            );
        }
        assert_eq!(store.series().usage(SITE).await.unwrap().files, old.files);
        drop(store);
        let store = Store::open(idle).await.unwrap();
        assert_same(&ask(&store).await.0, &before.0);
        let purged = store.series().purge(SITE, 0).await.unwrap();
        assert_eq!(purged.rows, 1_440, "readings, now that they are known");
    });
}

/// Flows of two days whose ends, addresses and actions repeat, each in its own way.
fn flow_rows(numbers: std::ops::Range<i64>) -> Vec<FlowRow> {
    let row = |at: i64| FlowRow {
        ttl: (at % 5) as u8,
        src_tenant: (at % 3 > 0).then(|| format!("tenant {}", at % 3).into()),
        src_ip: (at % 7 > 0).then(|| [10, 0, 0, (at % 4) as u8].into()),
        dst_mac: (at % 2 > 0).then_some(Mac([2, 0, 0, 0, 0, 9])),
        actions: if at % 11 == 0 { vec![1, at as u8] } else { vec![0] },
        ..flow(DAY_US + at * 30 * MINUTE_US)
    };
    numbers.map(row).collect()
}

/// All flows, those of an address, those of some ends, and what tenants there are.
async fn ask_flows(store: &Store) -> (Vec<Vec<StoredFlow>>, Top) {
    let period = Period::new(DAY_US, 10 * DAY_US);
    let budget = Budget::default();
    let address = FlowTest::Ip(End::Src, Prefix::host([10, 0, 0, 3].into()));
    let filters = [
        FlowFilter::all(),
        address.clone().into(),
        FlowFilter::from(address).negate(),
        FlowFilter::from(FlowTest::Ttl(2..=3)).and(FlowTest::Tenant(End::Either, "tenant 1".into()).into()),
    ];
    let mut found = Vec::new();
    for filter in filters {
        let query = FlowQuery {
            period,
            filter,
            after: None,
            limit: 1_000,
            budget,
        };
        found.push(store.series().flows(SITE, query).await.unwrap().value.flows);
    }
    let query = TopQuery {
        period: Period::new(DAY_US, DAY_US + 50 * MINUTE_US),
        filter: FlowFilter::all(),
        dimensions: vec![Dimension::SrcTenant, Dimension::SrcIp],
        limit: 100,
        budget,
    };
    (found, store.series().top(SITE, query).await.unwrap().value)
}

#[test]
fn flows_of_an_older_store_are_read_and_brought_to_todays_form() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let idle = StoreOptions {
        upkeep_every: Duration::from_secs(3_600),
        flush_age: Duration::from_secs(3_600),
        ..StoreOptions::new(dir.path())
    };
    let busy = StoreOptions {
        upkeep_every: Duration::from_millis(20),
        ..idle.clone()
    };
    let folder = dir.path().join("sites").join(SITE.to_string());
    let catalog = Catalog::open(dir.path()).unwrap();
    let rows = flow_batch(&flow_rows(0..70), 1).unwrap();
    let old = write_sorted(&folder.join("flows"), SITE, TableKind::Flows, &[&rows]).unwrap();
    assert_eq!(old.len(), 2);
    for file in &old {
        catalog.write_now(|tx| files::add(tx, file)).unwrap();
    }
    catalog.write_now(|tx| files::raise_number(tx, "next_row", 71)).unwrap();
    drop(catalog);
    runtime.block_on(async {
        let store = Store::open(idle.clone()).await.unwrap();
        // A third file has today's form, and the rest is in memory.
        for (sequence, numbers) in [(1, 70..90), (2, 90..100)] {
            let stream = StreamId {
                gateway: Uuid::from_bytes([1; 16]),
                kind: StreamKind::Flows,
                epoch: 1,
            };
            let rows = Rows::Flows {
                rows: flow_rows(numbers),
                paths: Vec::new(),
            };
            let cursor = Cursor { stream, sequence };
            store.series().append(SITE, Append { cursor, rows }).await.unwrap();
            if sequence == 1 {
                store.series().flush().await.unwrap();
            }
        }
        let before = ask_flows(&store).await;
        let mut all: Vec<FlowRow> = before.0[0].iter().map(|flow| flow.row.clone()).collect();
        all.reverse();
        assert_eq!(all, flow_rows(0..100));
        assert!(before.0.iter().skip(1).all(|flows| (1..100).contains(&flows.len())));
        assert!(before.1.rows.len() > 1);
        drop(store);
        let store = Store::open(busy).await.unwrap();
        let waited = Instant::now();
        while std::fs::read_dir(folder.join("flows")).unwrap().count() > 0 {
            assert!(waited.elapsed() < Duration::from_secs(60), "files were not brought to today's form");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(ask_flows(&store).await, before);
        drop(store);
        // After a restart nothing is known: what was given a number before keeps it, and gets no second meaning.
        let store = Store::open(idle).await.unwrap();
        assert_eq!(ask_flows(&store).await, before);
        store.series().flush().await.unwrap();
        assert_eq!(ask_flows(&store).await, before);
        let purged = store.series().purge(SITE, 0).await.unwrap();
        assert_eq!(purged.rows, 100);
        let usage = store.series().usage(SITE).await.unwrap();
        assert_eq!((usage.flows, usage.ends), (0, 0));
    });
}
