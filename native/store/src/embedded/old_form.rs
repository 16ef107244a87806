// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A store that an older version wrote: its files of meters are read as they are, and brought to today's form in time.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::{
    MeterDelta, MeterKey, MeterReading, Period, SiteId, Store, StoreOptions,
    catalog::{Catalog, files},
    parquet::{Effort, FileWriter},
    query::{Budget, MeterQuery, MeterSeries, TotalsOf, TotalsQuery},
    table::{DAY_US, TableKind, meter_batch},
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
