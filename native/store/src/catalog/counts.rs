// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{Transaction, params};
use uuid::Uuid;

use super::{Catalog, Hop, HopCount};
use crate::{
    StoreError,
    ids::{Period, SiteId, StreamKind},
};

/// Length of the spans that hops are counted by.
pub(crate) const HOUR_US: i64 = 3_600_000_000;

impl Catalog {
    /// Adds to the counts. Times are brought down to the begin of their hour.
    pub async fn add_counts(&self, site: SiteId, counts: Vec<HopCount>) -> Result<(), StoreError> {
        self.write(move |tx| counts.iter().try_for_each(|count| add(tx, site, count))).await
    }

    /// Counts of the hours that meet the period, in order. [`Hop::Stored`] and [`Hop::Purged`] of flows and meters are kept by
    /// the store itself, when rows reach files and when files go.
    pub async fn counts(&self, site: SiteId, period: Period) -> Result<Vec<HopCount>, StoreError> {
        let catalog = self.clone();
        super::blocking(move || catalog.counts_now(site, period)).await
    }

    pub(crate) fn counts_now(&self, site: SiteId, period: Period) -> Result<Vec<HopCount>, StoreError> {
        self.read_now(|db| {
            db.prepare_cached(
                "SELECT gateway, kind, hour_us, hop, records FROM hop_counts WHERE site = ? AND hour_us >= ? AND hour_us < ?
                 ORDER BY hour_us, gateway, kind, hop",
            )
            .and_then(|mut select| {
                select
                    .query_map(params![site.0.as_bytes(), hour_of(period.from_us), period.to_us], |row| {
                        let kind = StreamKind::from_number(row.get(1)?);
                        let hop = Hop::from_number(row.get(3)?);
                        let gateway = Uuid::from_bytes(row.get(0)?);
                        let hour_us = row.get(2)?;
                        let records = row.get::<_, i64>(4)? as u64;
                        Ok(kind.zip(hop).map(|(kind, hop)| HopCount {
                            gateway,
                            kind,
                            hour_us,
                            hop,
                            records,
                        }))
                    })?
                    .filter_map(Result::transpose)
                    .collect()
            })
            .map_err(StoreError::catalog("read counts"))
        })
    }
}

pub(crate) fn add(tx: &Transaction<'_>, site: SiteId, count: &HopCount) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO hop_counts (site, hour_us, gateway, kind, hop, records) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (site, hour_us, gateway, kind, hop) DO UPDATE SET records = records + excluded.records",
    )
    .and_then(|mut upsert| {
        upsert.execute(params![
            site.0.as_bytes(),
            hour_of(count.hour_us),
            count.gateway.as_bytes(),
            count.kind as u8,
            count.hop as u8,
            count.records as i64
        ])
    })
    .map_err(StoreError::catalog("add to a count"))?;
    Ok(())
}

/// Begin of the hour of a time.
pub(crate) fn hour_of(time_us: i64) -> i64 {
    time_us.div_euclid(HOUR_US).saturating_mul(HOUR_US)
}
