// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{Connection, Row, Transaction, params};
use uuid::Uuid;

use super::{Catalog, EventQuery, Level, Loss, NewEvent, StoredEvent, StoredLoss, streams};
use crate::{
    StoreError,
    ids::{Appended, Cursor, Period, SiteId, StreamKind},
};

impl Catalog {
    /// Stores events; with a cursor, both or neither, and only once.
    pub async fn append_events(&self, site: SiteId, cursor: Option<Cursor>, events: Vec<NewEvent>) -> Result<Appended, StoreError> {
        self.write(move |tx| {
            if let Some(cursor) = cursor {
                if streams::sequence(tx, site, cursor.stream)?.is_some_and(|durable| cursor.sequence <= durable) {
                    return Ok(Appended::Duplicate);
                }
                streams::advance(tx, site, cursor)?;
            }
            events.iter().try_for_each(|event| insert(tx, site, event))?;
            Ok(Appended::Committed)
        })
        .await
    }

    pub async fn events(&self, site: SiteId, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        let like = |text: &str| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let kind = format!("{}%", like(&query.kind));
        let text = format!("%{}%", like(&query.text));
        let (after_us, after_id) = query.after.map_or((i64::MAX, i64::MAX), |(time, id)| (time, id as i64));
        let gateway = query.gateway.map(|gateway| gateway.into_bytes());
        let limit = query.limit.min(EventQuery::MAX_LIMIT) as i64;
        self.read(move |db| {
            db.prepare_cached(
                "SELECT id, at_us, level, kind, text, fields, gateway, loss_kind, loss_records, loss_first_us, loss_last_us, loss_cause
                 FROM events
                 WHERE site = ?1 AND at_us >= ?2 AND at_us < ?3 AND (at_us, id) < (?4, ?5) AND level >= ?6
                   AND kind LIKE ?7 ESCAPE '\\'
                   AND (text LIKE ?8 ESCAPE '\\' OR kind LIKE ?8 ESCAPE '\\' OR fields LIKE ?8 ESCAPE '\\')
                   AND (?9 IS NULL OR gateway = ?9)
                 ORDER BY at_us DESC, id DESC LIMIT ?10",
            )
            .and_then(|mut select| {
                select
                    .query_map(
                        params![
                            site.0.as_bytes(),
                            query.period.from_us,
                            query.period.to_us,
                            after_us,
                            after_id,
                            query.level as u8,
                            kind,
                            text,
                            gateway,
                            limit
                        ],
                        |row| {
                            Ok(StoredEvent {
                                id: row.get::<_, i64>(0)? as u64,
                                event: event(row)?,
                            })
                        },
                    )?
                    .collect()
            })
            .map_err(StoreError::catalog("read events"))
        })
        .await
    }

    /// Losses whose span meets the period, by their begin.
    pub async fn losses(&self, site: SiteId, period: Period) -> Result<Vec<StoredLoss>, StoreError> {
        self.read(move |db| {
            db.prepare_cached(
                "SELECT gateway, loss_kind, loss_records, loss_first_us, loss_last_us, loss_cause FROM events
                 WHERE site = ?1 AND loss_kind IS NOT NULL AND loss_last_us >= ?2 AND loss_first_us < ?3 ORDER BY loss_first_us, id LIMIT ?4",
            )
            .and_then(|mut select| {
                select
                    .query_map(
                        params![site.0.as_bytes(), period.from_us, period.to_us, EventQuery::MAX_LIMIT as i64],
                        |row| Ok((row.get::<_, Option<[u8; 16]>>(0)?, loss(row, 1)?)),
                    )?
                    .filter_map(|row| match row {
                        Ok((gateway, loss)) => loss.map(|loss| {
                            Ok(StoredLoss {
                                gateway: gateway.map(Uuid::from_bytes),
                                loss,
                            })
                        }),
                        Err(error) => Some(Err(error)),
                    })
                    .collect()
            })
            .map_err(StoreError::catalog("read losses"))
        })
        .await
    }
}

pub(crate) fn insert(tx: &Transaction<'_>, site: SiteId, event: &NewEvent) -> Result<(), StoreError> {
    let loss = event.loss.as_ref();
    tx.prepare_cached(
        "INSERT INTO events
         (site, at_us, level, kind, text, fields, gateway, loss_kind, loss_records, loss_first_us, loss_last_us, loss_cause)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .and_then(|mut insert| {
        insert.execute(params![
            site.0.as_bytes(),
            event.at_us,
            event.level as u8,
            event.kind,
            event.text,
            event.fields,
            event.gateway.map(Uuid::into_bytes),
            loss.map(|loss| loss.kind as u8),
            loss.map(|loss| loss.records as i64),
            loss.map(|loss| loss.first_us),
            loss.map(|loss| loss.last_us),
            loss.map(|loss| loss.cause.as_str())
        ])
    })
    .map_err(StoreError::catalog("store an event"))?;
    Ok(())
}

/// Losses by the order of their coming, behind an event.
pub(super) fn losses_behind(db: &Connection, site: SiteId, after: u64, limit: usize) -> Result<Vec<(u64, StoredLoss)>, StoreError> {
    let found: Vec<(u64, Option<[u8; 16]>, Option<Loss>)> = db
        .prepare_cached(
            "SELECT id, gateway, loss_kind, loss_records, loss_first_us, loss_last_us, loss_cause FROM events INDEXED BY events_loss_order
             WHERE site = ? AND loss_kind IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
        )
        .and_then(|mut select| {
            select
                .query_map(params![site.0.as_bytes(), after as i64, limit as i64], |row| {
                    Ok((row.get::<_, i64>(0)? as u64, row.get(1)?, loss(row, 2)?))
                })?
                .collect()
        })
        .map_err(StoreError::catalog("read losses"))?;
    let stored = |(id, gateway, loss): (u64, Option<[u8; 16]>, Option<Loss>)| {
        let gateway = gateway.map(Uuid::from_bytes);
        loss.map(|loss| (id, StoredLoss { gateway, loss }))
    };
    Ok(found.into_iter().filter_map(stored).collect())
}

pub(super) fn level(number: u8) -> Level {
    match number {
        1 => Level::Info,
        2 => Level::Warning,
        _ => Level::Error,
    }
}

/// From the columns `at_us` (1) on.
fn event(row: &Row<'_>) -> rusqlite::Result<NewEvent> {
    Ok(NewEvent {
        at_us: row.get(1)?,
        level: level(row.get(2)?),
        kind: row.get(3)?,
        text: row.get(4)?,
        fields: row.get(5)?,
        gateway: row.get::<_, Option<[u8; 16]>>(6)?.map(Uuid::from_bytes),
        loss: loss(row, 7)?,
    })
}

/// From five columns that begin at `first`.
fn loss(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Loss>> {
    let Some(kind) = row.get::<_, Option<u8>>(first)?.and_then(StreamKind::from_number) else {
        return Ok(None);
    };
    Ok(Some(Loss {
        kind,
        records: row.get::<_, i64>(first + 1)? as u64,
        first_us: row.get(first + 2)?,
        last_us: row.get(first + 3)?,
        cause: row.get(first + 4)?,
    }))
}
