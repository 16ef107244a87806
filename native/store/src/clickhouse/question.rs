// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Questions about one site. No statement names a table but through [`SiteTables`], which names the site with it.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{
    binary::Reader,
    client::{Client, Rows},
    sql::{id, within_days, within_period},
};
use crate::{
    StoreError,
    ids::{Grain, Period, SiteId},
    query::{Answer, Budget, Choice, Family, Known, Scanned},
    row::{FlowRow, MeterReading},
    table::TableKind,
};

/// A site's part of the tables, as `FROM … WHERE …`: more conditions can follow with `AND`.
pub(super) struct SiteTables {
    site: SiteId,
}

impl SiteTables {
    pub(super) fn of(site: SiteId) -> Self {
        Self { site }
    }

    /// All rows of the site.
    pub(super) fn all(&self, table: &str) -> String {
        format!("FROM {table} WHERE site = {}", id(self.site.0))
    }

    /// Rows of flows, or of any roll-up, whose time is in the period.
    pub(super) fn rows(&self, table: &str, period: Period) -> String {
        format!("{} AND {}", self.all(table), within_period("time", period))
    }

    /// Paths of the days of the period.
    pub(super) fn paths(&self, period: Period) -> String {
        format!("{} AND {}", self.all("paths"), within_days("day", period))
    }

    /// Readings whose span meets the period.
    pub(super) fn readings(&self, period: Period) -> String {
        // Rows are parted by their end, which is no later than this.
        let end = Period::new(period.from_us, period.to_us.saturating_add(MeterReading::MAX_SPAN_US));
        format!(
            "{} AND {} AND until > {} AND since < {}",
            self.all("meters"),
            within_period("until", end),
            super::sql::time(period.from_us),
            super::sql::time(period.to_us)
        )
    }
}

/// One question while it is answered.
pub(super) struct Question {
    client: Arc<Client>,
    budget: Budget,
    started: Instant,
    scanned: Mutex<Scanned>,
    pub(super) tables: SiteTables,
}

impl Question {
    pub(super) fn new(client: Arc<Client>, site: SiteId, budget: Budget, started: Instant) -> Self {
        Self {
            client,
            budget,
            started,
            scanned: Mutex::default(),
            tables: SiteTables::of(site),
        }
    }

    /// Asks with what is left of the budget.
    pub(super) async fn ask(&self, sql: &str) -> Result<Vec<u8>, StoreError> {
        let so_far = *self.scanned.lock();
        let over = |what| StoreError::OverBudget {
            what,
            scanned: self.scanned(),
        };
        let left = Budget {
            rows: self
                .budget
                .rows
                .checked_sub(so_far.rows)
                .filter(|rows| *rows > 0)
                .ok_or_else(|| over("rows"))?,
            bytes: self
                .budget
                .bytes
                .checked_sub(so_far.bytes)
                .filter(|bytes| *bytes > 0)
                .ok_or_else(|| over("bytes"))?,
            time: self.budget.time.checked_sub(self.started.elapsed()).ok_or_else(|| over("time"))?,
        };
        let Rows { bytes, scanned } = self.client.ask(sql, left).await.map_err(|error| match error {
            StoreError::OverBudget { what, .. } => over(what),
            other => other,
        })?;
        let mut all = self.scanned.lock();
        all.rows += scanned.rows;
        all.bytes += scanned.bytes;
        Ok(bytes)
    }

    fn scanned(&self) -> Scanned {
        Scanned {
            elapsed: self.started.elapsed(),
            ..*self.scanned.lock()
        }
    }

    pub(super) fn answer<T>(&self, value: T) -> Answer<T> {
        Answer {
            value,
            scanned: self.scanned(),
        }
    }

    /// From records alone.
    pub(super) fn records(&self, family: &Family, period: Period) -> Choice {
        Choice {
            level: Grain::Records,
            period,
            rows: period,
            parts: vec![(family.records, period)],
        }
    }

    /// From what fits best, noted for the reader.
    pub(super) async fn choose(&self, family: &Family, period: Period, step_us: Option<i64>) -> Result<Choice, StoreError> {
        // Shorter ones are answered from records, where they are still there.
        let known = self.known(family).await?;
        let choice = known.and_then(|known| family.choose(&known, period, step_us));
        let choice = choice.unwrap_or_else(|| self.records(family, period));
        let mut scanned = self.scanned.lock();
        scanned.level = choice.level;
        scanned.period = (choice.period != period).then_some(choice.period);
        Ok(choice)
    }

    /// What is stored of the site, and which levels lack their beginning; `None` when nothing is.
    async fn known(&self, family: &Family) -> Result<Option<Known>, StoreError> {
        let coarse = family.coarse.0;
        let table = match coarse {
            TableKind::MeterDays => "meter_days",
            _ => "flow_hours",
        };
        let records = match family.records {
            TableKind::Meters => ("meters", "until"),
            _ => ("flows", "time"),
        };
        let span = |table: &str, column: &str, level: u8| {
            format!(
                "SELECT toUInt8({level}) AS level, count() > 0 AS any, toUnixTimestamp64Micro(min({column})) AS low,
                 toUnixTimestamp64Micro(max({column})) AS high {}",
                self.tables.all(table)
            )
        };
        let floors = format!(
            "SELECT level, toUInt8(1) AS any, max(until_us) AS low, max(until_us) AS high {} GROUP BY level",
            self.tables.all("floors")
        );
        let sql = format!(
            "SELECT * FROM ({} UNION ALL {} UNION ALL {floors})",
            span(table, "time", 100),
            span(records.0, records.1, 101)
        );
        let bytes = self.ask(&sql).await?;
        let mut reader = Reader(&bytes);
        let (mut all, mut floors): (Option<Period>, [i64; 16]) = (None, [i64::MIN; 16]);
        while !reader.is_empty() {
            let (level, any, low, high) = (reader.u8()?, reader.bool()?, reader.i64()?, reader.i64()?);
            if !any {
                continue;
            }
            match level {
                100 | 101 => {
                    let step = coarse.level().step_us();
                    let end = if level == 100 {
                        high.saturating_add(step)
                    } else {
                        high.saturating_add(1)
                    };
                    let span = Period::new(low, end);
                    all = Some(all.map_or(span, |all| Period::new(all.from_us.min(span.from_us), all.to_us.max(span.to_us))));
                }
                level => {
                    if let Some(floor) = floors.get_mut(usize::from(level)) {
                        *floor = low;
                    }
                }
            }
        }
        let floor = |kind: TableKind| floors[kind as usize];
        Ok(all.map(|all| Known {
            all: coarse
                .level()
                .around(Period::new(all.from_us.max(0), all.to_us.min(FlowRow::END_OF_TIME_US))),
            records_from: floor(family.records),
            fine_from: floor(family.fine.0),
            coarse_from: floor(coarse),
        }))
    }
}
