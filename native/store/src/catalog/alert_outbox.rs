// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Whom alerts are told to, and what waits to be told. A notice is written in the transaction of what it tells and goes when it was delivered, so
//! that each is delivered at least once, whatever is killed; its `delivery` is the same at every attempt.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use super::{
    Catalog, Level, events,
    sealing::{NOTICE, TARGET, TARGET_FAILED},
    vault::Seals,
};
use crate::{StoreError, ids::SiteId};

/// Notices of a site that wait; the oldest give way. A receiver that is away for a day misses no more than that.
pub const MOST_NOTICES: usize = 1_000;

/// A notice that nobody took for so long is given up, µs.
pub const LONGEST_WAIT_US: i64 = 86_400_000_000;

/// Somebody or something that alerts are told to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlertTarget {
    pub id: Uuid,
    /// `mail` or `webhook`.
    pub kind: String,
    pub name: String,
    /// JSON, by kind.
    pub definition: String,
    /// Alerts of this level and graver ones.
    pub level: Level,
    pub created_us: i64,
    /// The last attempt that failed since the last that did not: when and why.
    pub failed: Option<(i64, String)>,
    pub delivered_us: Option<i64>,
}

/// What waits to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    pub id: u64,
    pub site: SiteId,
    pub target: AlertTarget,
    /// The same at every attempt, so that a receiver knows what it has already.
    pub delivery: Uuid,
    /// `opened`, `resolved` or `test`.
    pub what: String,
    /// JSON object, what the alert said.
    pub payload: String,
    pub created_us: i64,
    /// Attempts that failed.
    pub attempts: u32,
}

impl Catalog {
    /// In the order of their making.
    pub async fn alert_targets(&self, site: SiteId) -> Result<Vec<AlertTarget>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let sealed: Vec<AlertTarget> = db
                .prepare_cached(
                    "SELECT id, kind, name, definition, level, created_us, failed_us, failed_why, delivered_us FROM alert_targets
                 WHERE site = ? ORDER BY created_us, id",
                )
                .and_then(|mut select| select.query_map([site.0.as_bytes()], |row| target(row, 0))?.collect())
                .map_err(StoreError::catalog("list receivers of alerts"))?;
            let seals = vault.seals(db)?;
            sealed.into_iter().map(|target| opened(&seals, site, target)).collect()
        })
        .await
    }

    /// Fails with [`StoreError::Taken`] when the site has `most` already.
    pub async fn add_alert_target(&self, site: SiteId, target: AlertTarget, most: usize) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let there: i64 = tx
                .query_row("SELECT count(*) FROM alert_targets WHERE site = ?", [site.0.as_bytes()], |row| row.get(0))
                .map_err(StoreError::catalog("count receivers of alerts"))?;
            if there >= most as i64 {
                return Err(StoreError::Taken("room for receivers"));
            }
            let definition = vault
                .seals(tx)?
                .seal(&[TARGET, target_row(site, target.id).as_bytes()], &target.definition)?;
            tx.execute(
                "INSERT INTO alert_targets (site, id, kind, name, definition, level, created_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    site.0.as_bytes(),
                    target.id.as_bytes(),
                    target.kind,
                    target.name,
                    definition,
                    target.level as u8,
                    target.created_us
                ],
            )
            .map_err(StoreError::catalog("add a receiver of alerts"))?;
            Ok(())
        })
        .await
    }

    /// With what waits for it. The name that it had; `None` when there was none.
    pub async fn delete_alert_target(&self, site: SiteId, id: Uuid) -> Result<Option<String>, StoreError> {
        self.write(move |tx| {
            tx.query_row(
                "DELETE FROM alert_targets WHERE site = ? AND id = ? RETURNING name",
                params![site.0.as_bytes(), id.as_bytes()],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::catalog("delete a receiver of alerts"))
        })
        .await
    }

    /// Puts a notice of a test in line. False when there is no such receiver.
    pub async fn test_alert_target(&self, site: SiteId, id: Uuid, payload: String, now_us: i64) -> Result<bool, StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let known: bool = tx
                .query_row(
                    "SELECT count(*) FROM alert_targets WHERE site = ? AND id = ?",
                    params![site.0.as_bytes(), id.as_bytes()],
                    |row| row.get(0),
                )
                .map_err(StoreError::catalog("find a receiver of alerts"))?;
            if known {
                insert(tx, &vault.seals(tx)?, site, &id.into_bytes(), None, "test", &payload, now_us, now_us)?;
                bound(tx, site)?;
            }
            Ok(known)
        })
        .await
    }

    /// Notices that are due, the longest waiting first.
    pub async fn due_notices(&self, now_us: i64, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let sealed: Vec<Notice> = db
                .prepare_cached(
                    "SELECT n.id, n.site, n.delivery, n.what, n.payload, n.created_us, n.attempts,
                   t.id, t.kind, t.name, t.definition, t.level, t.created_us, t.failed_us, t.failed_why, t.delivered_us
                 FROM alert_notices n JOIN alert_targets t ON t.site = n.site AND t.id = n.target
                 JOIN sites s ON s.id = n.site AND s.deleted_us IS NULL
                 WHERE n.next_us <= ? ORDER BY n.next_us, n.id LIMIT ?",
                )
                .and_then(|mut select| {
                    select
                        .query_map(params![now_us, limit as i64], |row| {
                            Ok(Notice {
                                id: row.get::<_, i64>(0)? as u64,
                                site: SiteId(Uuid::from_bytes(row.get(1)?)),
                                delivery: Uuid::from_bytes(row.get(2)?),
                                what: row.get(3)?,
                                payload: row.get(4)?,
                                created_us: row.get(5)?,
                                attempts: row.get(6)?,
                                target: target(row, 7)?,
                            })
                        })?
                        .collect()
                })
                .map_err(StoreError::catalog("list notices"))?;
            let seals = vault.seals(db)?;
            let open = |notice: Notice| {
                Ok(Notice {
                    payload: seals.open(&[NOTICE, notice.delivery.as_bytes()], &notice.payload)?,
                    target: opened(&seals, notice.site, notice.target)?,
                    ..notice
                })
            };
            sealed.into_iter().map(open).collect()
        })
        .await
    }

    /// A notice was delivered.
    pub async fn notice_delivered(&self, site: SiteId, target: Uuid, id: u64, now_us: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM alert_notices WHERE id = ?", [id as i64])
                .map_err(StoreError::catalog("forget a notice"))?;
            tx.execute(
                "UPDATE alert_targets SET delivered_us = ?3, failed_us = NULL, failed_why = NULL WHERE site = ?1 AND id = ?2",
                params![site.0.as_bytes(), target.as_bytes(), now_us],
            )
            .map_err(StoreError::catalog("note a delivery"))?;
            Ok(())
        })
        .await
    }

    /// An attempt failed: the notice is tried again at `next_us`, or given up when it waits for too long.
    pub async fn notice_failed(&self, site: SiteId, target: Uuid, id: u64, why: String, next_us: i64, now_us: i64) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            // A mail server's answer may name the address.
            let why = vault.seals(tx)?.seal(&[TARGET_FAILED, target_row(site, target).as_bytes()], &why)?;
            tx.execute(
                "UPDATE alert_notices SET attempts = attempts + 1, next_us = ?2 WHERE id = ?1",
                params![id as i64, next_us],
            )
            .map_err(StoreError::catalog("put a notice off"))?;
            tx.execute(
                "DELETE FROM alert_notices WHERE id = ? AND created_us < ?",
                params![id as i64, now_us - LONGEST_WAIT_US],
            )
            .map_err(StoreError::catalog("give a notice up"))?;
            tx.execute(
                "UPDATE alert_targets SET failed_us = ?3, failed_why = ?4 WHERE site = ?1 AND id = ?2",
                params![site.0.as_bytes(), target.as_bytes(), now_us, why],
            )
            .map_err(StoreError::catalog("note a failure"))?;
            Ok(())
        })
        .await
    }

    /// Puts a notice off without an attempt: its receiver has had enough for now.
    pub async fn put_notice_off(&self, id: u64, next_us: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("UPDATE alert_notices SET next_us = ?2 WHERE id = ?1", params![id as i64, next_us])
                .map_err(StoreError::catalog("put a notice off"))?;
            Ok(())
        })
        .await
    }

    /// Notices of a site that wait.
    pub async fn notices_waiting(&self, site: SiteId) -> Result<usize, StoreError> {
        self.read(move |db| {
            db.query_row("SELECT count(*) FROM alert_notices WHERE site = ?", [site.0.as_bytes()], |row| {
                row.get::<_, i64>(0)
            })
            .map(|count| count as usize)
            .map_err(StoreError::catalog("count notices"))
        })
        .await
    }
}

/// Puts what became of an alert in line for all that want to know. The begin of what is silent waits for the end of the silence; what ends before it was
/// told is not told at all.
#[expect(clippy::too_many_arguments, reason = "what a notice is made of")]
pub(super) fn notify(
    tx: &Transaction<'_>,
    seals: &Seals,
    site: SiteId,
    alert: i64,
    level: Level,
    what: &str,
    payload: &str,
    silent_to_us: Option<i64>,
    now_us: i64,
) -> Result<(), StoreError> {
    let targets: Vec<[u8; 16]> = tx
        .prepare_cached("SELECT id FROM alert_targets WHERE site = ? AND level <= ?")
        .and_then(|mut select| select.query_map(params![site.0.as_bytes(), level as u8], |row| row.get(0))?.collect())
        .map_err(StoreError::catalog("list receivers of alerts"))?;
    for target in targets {
        let untold = what == "resolved"
            && tx
                .prepare_cached(
                    "DELETE FROM alert_notices WHERE site = ? AND target = ? AND alert = ? AND what = 'opened' AND attempts = 0 AND next_us > ?",
                )
                .and_then(|mut delete| delete.execute(params![site.0.as_bytes(), target, alert, now_us]))
                .map_err(StoreError::catalog("forget a notice"))?
                > 0;
        if !untold {
            // The end of what was told is told in silence, too: a receiver that was called would wait for it for ever.
            let next_us = silent_to_us.filter(|_| what == "opened").unwrap_or(now_us);
            insert(tx, seals, site, &target, Some(alert), what, payload, next_us, now_us)?;
        }
    }
    bound(tx, site)
}

#[expect(clippy::too_many_arguments, reason = "the columns of a notice")]
fn insert(
    tx: &Transaction<'_>,
    seals: &Seals,
    site: SiteId,
    target: &[u8; 16],
    alert: Option<i64>,
    what: &str,
    payload: &str,
    next_us: i64,
    now_us: i64,
) -> Result<(), StoreError> {
    let delivery = Uuid::new_v4();
    let payload = seals.seal(&[NOTICE, delivery.as_bytes()], payload)?;
    tx.prepare_cached(
        "INSERT INTO alert_notices (site, target, alert, delivery, what, payload, created_us, next_us, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
    )
    .and_then(|mut insert| {
        insert.execute(params![
            site.0.as_bytes(),
            target,
            alert,
            delivery.as_bytes(),
            what,
            payload,
            now_us,
            next_us
        ])
    })
    .map_err(StoreError::catalog("put a notice in line"))?;
    Ok(())
}

fn bound(tx: &Transaction<'_>, site: SiteId) -> Result<(), StoreError> {
    tx.prepare_cached(
        "DELETE FROM alert_notices WHERE site = ?1 AND id <= (SELECT id FROM alert_notices WHERE site = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .and_then(|mut delete| delete.execute(params![site.0.as_bytes(), MOST_NOTICES as i64]))
    .map_err(StoreError::catalog("give old notices up"))?;
    Ok(())
}

/// A receiver in clear.
fn opened(seals: &Seals, site: SiteId, sealed: AlertTarget) -> Result<AlertTarget, StoreError> {
    let row = target_row(site, sealed.id);
    let failed = sealed
        .failed
        .map(|(at_us, why)| Ok((at_us, seals.open(&[TARGET_FAILED, row.as_bytes()], &why)?)));
    Ok(AlertTarget {
        definition: seals.open(&[TARGET, row.as_bytes()], &sealed.definition)?,
        failed: failed.transpose()?,
        ..sealed
    })
}

/// What tells receivers apart; as `sealing` has it in SQL.
fn target_row(site: SiteId, id: Uuid) -> String {
    format!("{} {}", hex::encode_upper(site.0.as_bytes()), hex::encode_upper(id.as_bytes()))
}

/// From nine columns that begin at `first`, sealed as they are in the catalogue.
fn target(row: &Row<'_>, first: usize) -> rusqlite::Result<AlertTarget> {
    let failed_us: Option<i64> = row.get(first + 6)?;
    let why: Option<String> = row.get(first + 7)?;
    Ok(AlertTarget {
        id: Uuid::from_bytes(row.get(first)?),
        kind: row.get(first + 1)?,
        name: row.get(first + 2)?,
        definition: row.get(first + 3)?,
        level: events::level(row.get(first + 4)?),
        created_us: row.get(first + 5)?,
        failed: failed_us.map(|at_us| (at_us, why.unwrap_or_default())),
        delivered_us: row.get(first + 8)?,
    })
}
