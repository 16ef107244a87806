// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Bytes of sites, and what is removed: beyond the quota, when it is old, with its site.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Weak,
    time::Duration,
};

use uuid::Uuid;

use super::{
    ClickHouse,
    binary::{Reader, Writer, form},
    schema::KEPT,
    sql::{id, within_period},
};
use crate::{
    StoreError,
    catalog::{Hop, HopCount, add_event, hour_of},
    embedded::{now_us, purge_event},
    ids::{Grain, Period, SiteId, StreamKind},
    query::{Budget, Usage},
    series::Purged,
    table::TableKind,
};

/// Rows of one table, site and span of time: what is removed at once.
#[derive(Clone, Debug)]
struct Partition {
    site: SiteId,
    table: &'static str,
    kind: TableKind,
    /// The server's name of it.
    id: String,
    span: Period,
    bytes: u64,
    parts: u64,
    /// Grows with each insert.
    block: i64,
}

/// What a removed span held.
#[derive(Clone, Copy, Default)]
struct Records {
    count: u64,
    until_us: i64,
}

impl ClickHouse {
    pub(super) async fn usage_of(&self, site: SiteId) -> Result<Usage, StoreError> {
        let catalog = self.catalog.clone();
        let mut usage = Usage {
            catalog: crate::catalog::blocking(move || catalog.bytes_now(site)).await?,
            ..Usage::default()
        };
        for part in self.partitions(Some(site)).await? {
            match part.kind {
                TableKind::Flows => usage.flows += part.bytes,
                TableKind::Paths => usage.paths += part.bytes,
                TableKind::Meters => usage.meters += part.bytes,
                _ => usage.rollups += part.bytes,
            }
            usage.files += part.parts;
        }
        let oldest = |table: &str, column: &str| {
            format!(
                "SELECT toUnixTimestamp64Micro(min({column})) {} HAVING count() > 0",
                self.all(site, table)
            )
        };
        let sql = format!("{} UNION ALL {}", oldest("flows", "time"), oldest("meters", "until"));
        let answer = self.client.ask(&sql, Budget::default()).await?;
        let mut reader = Reader(&answer.bytes);
        while !reader.is_empty() {
            let oldest_us = reader.i64()?;
            usage.oldest_us = Some(usage.oldest_us.map_or(oldest_us, |known| known.min(oldest_us)));
        }
        Ok(usage)
    }

    /// Counts of the balance: rows in the tables, and rows that were purged.
    pub(super) async fn counts_of(&self, site: SiteId, period: Period) -> Result<Vec<HopCount>, StoreError> {
        let hours = Period::new(hour_of(period.from_us), period.to_us);
        let sql = format!(
            "SELECT toUnixTimestamp64Micro(hour), gateway, kind, hop, sum(records) {} AND {} GROUP BY hour, gateway, kind, hop",
            self.all(site, "counts"),
            within_period("hour", hours)
        );
        let answer = self.client.ask(&sql, Budget::default()).await?;
        let mut reader = Reader(&answer.bytes);
        let mut out = Vec::new();
        while !reader.is_empty() {
            let (hour_us, gateway) = (reader.i64()?, reader.id()?);
            let kind = StreamKind::from_number(reader.u8()?).ok_or_else(form)?;
            let hop = Hop::from_number(reader.u8()?).ok_or_else(form)?;
            out.push(HopCount {
                gateway,
                kind,
                hour_us,
                hop,
                records: reader.u64()?,
            });
        }
        out.sort_by_key(|count| (count.hour_us, count.gateway, count.kind, count.hop));
        Ok(out)
    }

    /// Removes the oldest days of a site until it is at or below `bytes`.
    pub(super) async fn purge_to(&self, site: SiteId, bytes: u64) -> Result<Purged, StoreError> {
        let _one = self.keeping.lock().await;
        let mut used = self.usage_of(site).await?.total();
        let mut purged = Purged::default();
        if used <= bytes {
            return Ok(purged);
        }
        let all = self.partitions(Some(site)).await?;
        // Whole spans of roll-ups, so that what is left of a level is complete; minutes before hours, since they are the largest.
        let mut spans: BTreeMap<(Grain, i64, TableKind), Vec<&Partition>> = BTreeMap::new();
        for part in all.iter().filter(|part| TableKind::ROLLUPS.contains(&part.kind)) {
            spans.entry((part.kind.level(), part.span.from_us, part.kind)).or_default().push(part);
        }
        let mut spans: VecDeque<Vec<&Partition>> = spans.into_values().collect();
        let size = |parts: &[&Partition]| parts.iter().map(|part| part.bytes).sum::<u64>();
        let mut rolled: u64 = spans.iter().map(|parts| size(parts)).sum();
        let most_rolled = (u128::from(bytes) * u128::from(self.options.retention.rollup_percent) / 100) as u64;
        let mut gone: Vec<Vec<&Partition>> = Vec::new();
        // Where flows are few, their roll-ups are larger than they are, and must not take their place.
        while used > bytes
            && rolled > most_rolled
            && let Some(parts) = spans.pop_front()
        {
            used = used.saturating_sub(size(&parts));
            rolled = rolled.saturating_sub(size(&parts));
            gone.push(parts);
        }
        let mut days: Vec<&Partition> = all
            .iter()
            .filter(|part| matches!(part.kind, TableKind::Flows | TableKind::Meters))
            .collect();
        days.sort_by_key(|part| (part.span.from_us, part.kind));
        for day in days {
            if used <= bytes {
                break;
            }
            let mut parts = vec![day];
            if day.kind == TableKind::Flows {
                // Paths of a day are there for its flows.
                parts.extend(
                    all.iter()
                        .filter(|part| part.kind == TableKind::Paths && part.span.from_us == day.span.from_us),
                );
            }
            used = used.saturating_sub(size(&parts));
            gone.push(parts);
        }
        while used > bytes
            && let Some(parts) = spans.pop_front()
        {
            used = used.saturating_sub(size(&parts));
            gone.push(parts);
        }
        for part in gone.into_iter().flatten() {
            let records = self.remove(part).await?;
            purged.files += part.parts;
            purged.bytes += part.bytes;
            purged.rows += records.count;
            if records.count > 0 {
                purged.until_us = purged.until_us.max(Some(records.until_us));
            }
        }
        // Flows that still come for a removed day bring their paths again.
        self.known.lock().remove(&site);
        if purged.files > 0 {
            let catalog = self.catalog.clone();
            crate::catalog::blocking(move || catalog.write_now(|tx| add_event(tx, site, &purge_event(purged, bytes)))).await?;
        }
        Ok(purged)
    }

    /// Removes a span of a table. Questions know that it is missing before it is, and the balance does; killed between the steps, the
    /// purge is done again, and its count is recognised. What comes for the very span while it is being removed goes with it uncounted.
    async fn remove(&self, part: &Partition) -> Result<Records, StoreError> {
        let records = self.records(part).await?;
        let mut floor = Vec::new();
        let mut writer = Writer(&mut floor);
        writer.id(part.site.0);
        writer.u8(part.kind as u8);
        writer.i64(part.span.to_us);
        if part.kind != TableKind::Paths {
            self.client.insert("floors (site, level, until_us)", &floor, None).await?;
        }
        let kind = match part.kind {
            TableKind::Flows => Some(StreamKind::Flows),
            TableKind::Meters => Some(StreamKind::Meters),
            _ => None,
        };
        if let Some(kind) = kind.filter(|_| records.count > 0) {
            let mut row = Vec::new();
            let mut writer = Writer(&mut row);
            writer.id(part.site.0);
            writer.i64(part.span.from_us);
            // A day holds rows of all gateways.
            writer.id(Uuid::nil());
            writer.u8(kind as u8);
            writer.u8(Hop::Purged as u8);
            writer.u64(records.count);
            let token = format!("purge:{}:{}:{}", part.table, part.id, part.block);
            self.client
                .insert("counts (site, hour, gateway, kind, hop, records)", &row, Some(&token))
                .await?;
        }
        // The server wrote the name; it is looked at all the same.
        if !part.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(form());
        }
        self.client
            .change(&format!("ALTER TABLE {} DROP PARTITION ID '{}'", part.table, part.id))
            .await?;
        Ok(records)
    }

    async fn records(&self, part: &Partition) -> Result<Records, StoreError> {
        let (column, only) = match part.kind {
            TableKind::Flows => ("time", "1"),
            TableKind::Meters => ("until", "kind = 0"),
            _ => return Ok(Records::default()),
        };
        let sql = format!(
            "SELECT count(), toUnixTimestamp64Micro(max({column})) {} AND {} AND {only}",
            self.all(part.site, part.table),
            within_period(column, part.span)
        );
        let answer = self.client.ask(&sql, Budget::default()).await?;
        let mut reader = Reader(&answer.bytes);
        Ok(Records {
            count: reader.u64()?,
            until_us: reader.i64()?,
        })
    }

    /// Removes spans of roll-ups that are wholly older than they are kept.
    pub(super) async fn expire_all(&self, now_us: i64) -> Result<(), StoreError> {
        let _one = self.keeping.lock().await;
        let keep = &self.options.retention;
        for part in self.partitions(None).await? {
            let kept = match part.kind {
                TableKind::FlowMinutes => keep.flow_minutes,
                TableKind::FlowHours => keep.flow_hours,
                TableKind::MeterHours => keep.meter_hours,
                TableKind::MeterDays => keep.meter_days,
                _ => continue,
            };
            let oldest_us = now_us.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
            if part.span.to_us <= oldest_us {
                self.remove(&part).await?;
            }
        }
        Ok(())
    }

    /// Removes all that is known of a site.
    pub(super) async fn erase(&self, site: SiteId) -> Result<(), StoreError> {
        let _one = self.keeping.lock().await;
        for part in self.partitions(Some(site)).await? {
            self.client
                .change(&format!("ALTER TABLE {} DROP PARTITION ID '{}'", part.table, part.id))
                .await?;
        }
        for table in ["counts", "cursors", "floors"] {
            self.client.change(&format!("DELETE FROM {table} WHERE site = {}", id(site.0))).await?;
        }
        self.known.lock().remove(&site);
        Ok(())
    }

    async fn partitions(&self, site: Option<SiteId>) -> Result<Vec<Partition>, StoreError> {
        let tables: Vec<String> = KEPT.iter().map(|(table, _)| format!("'{table}'")).collect();
        // The partition's text is ('SITE','FIRST DAY').
        let of_site = site.map_or_else(
            || "1".to_owned(),
            |site| format!("toUUIDOrZero(substring(partition, 3, 36)) = {}", id(site.0)),
        );
        let sql = format!(
            "SELECT `table`, partition_id, toUUIDOrZero(substring(partition, 3, 36)) AS of_site, toDate(substring(partition, 42, 10)) AS first,
             toInt64(toUnixTimestamp(toDateTime(first, 'UTC'))) AS low,
             toInt64(toUnixTimestamp(toDateTime(multiIf(`table` LIKE '%\\_minutes', addDays(first, 7), `table` = 'meter_days', addYears(first, 1),
              `table` LIKE '%\\_hours', addMonths(first, 1), addDays(first, 1)), 'UTC'))) AS high,
             toUInt64(sum(bytes_on_disk)), toUInt64(count()), toInt64(max(max_block_number))
             FROM system.parts WHERE active AND database = currentDatabase() AND `table` IN ({}) AND {of_site}
             GROUP BY `table`, partition_id, partition ORDER BY `table`, first",
            tables.join(", ")
        );
        let answer = self.client.ask(&sql, Budget::default()).await?;
        let mut reader = Reader(&answer.bytes);
        let mut out = Vec::new();
        while !reader.is_empty() {
            let (table, id) = (reader.text()?, reader.text()?.to_owned());
            let (table, kind) = *KEPT.iter().find(|(known, _)| *known == table).ok_or_else(form)?;
            let site = SiteId(reader.id()?);
            // The first day, as a date.
            reader.u16()?;
            out.push(Partition {
                site,
                table,
                kind,
                id,
                span: Period::new(reader.i64()?.saturating_mul(1_000_000), reader.i64()?.saturating_mul(1_000_000)),
                bytes: reader.u64()?,
                parts: reader.u64()?,
                block: reader.i64()?,
            });
        }
        Ok(out)
    }

    /// Holds sites to their quotas; goes on with the other sites when one fails.
    async fn hold_to_quotas(&self) -> Result<(), StoreError> {
        let catalog = self.catalog.clone();
        let quotas = crate::catalog::blocking(move || catalog.quotas_now()).await?;
        let mut outcome = Ok(());
        for (site, quota) in quotas {
            outcome = outcome.and(self.purge_to(site, quota).await.map(drop));
        }
        outcome
    }
}

/// Retention, from time to time, until the backend goes.
pub(super) async fn keep(backend: Weak<ClickHouse>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(backend) = backend.upgrade() else { return };
        let outcomes = [
            ("purge", backend.hold_to_quotas().await),
            ("removal of old roll-ups", backend.expire_all(now_us()).await),
        ];
        for (what, outcome) in outcomes {
            if let Err(error) = outcome {
                let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
                log::error!("the store's {what} failed and is tried again later: {error}{cause}");
            }
        }
    }
}
