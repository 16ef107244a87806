// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Alerts of a site, with what was done to them. A change of what is known and what follows from it are one transaction.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{
    Catalog, Level, NewEvent, alert_outbox, events,
    sealing::{ACKNOWLEDGED_BY, ACT_BY, SILENCE_BY},
    vault::Seals,
};
use crate::{StoreError, ids::SiteId};

/// Resolved alerts of a site that are kept: years of a quiet cloud, weeks of one that flaps. Older ones give way.
pub const KEPT_ALERTS: usize = 10_000;

/// What was done to one alert and is kept: acts of people are few, updates are not among them.
const KEPT_ACTS: usize = 500;

/// What an alert says.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertText {
    pub level: Level,
    /// One sentence.
    pub text: String,
    /// What it is about, JSON.
    pub about: String,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    /// Other troubles that follow from it and have no alert of their own.
    pub members: u32,
}

/// An alert, open or resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    pub id: u64,
    /// Id of the rule that it comes from.
    pub rule: String,
    /// What the rule tells its alerts apart by. Of one rule and subject one alert is open at most.
    pub subject: String,
    pub says: AlertText,
    /// Since when what it tells holds, as far as it is known.
    pub since_us: i64,
    pub opened_us: i64,
    pub updated_us: i64,
    /// Set while nobody can say whether it still holds: since when, and why.
    pub unknown: Option<(i64, String)>,
    /// When and why it ended.
    pub resolved: Option<(i64, String)>,
    /// When, and who.
    pub acknowledged: Option<(i64, String)>,
    /// Silent until when, and who said so; silences that are over are not told.
    pub silenced: Option<(i64, String)>,
}

/// What became of alerts, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum AlertChange {
    Open {
        rule: String,
        subject: String,
        since_us: i64,
        says: AlertText,
    },
    Update {
        rule: String,
        subject: String,
        says: AlertText,
    },
    Unknown {
        rule: String,
        subject: String,
        why: String,
    },
    /// It is known again that it holds.
    Known {
        rule: String,
        subject: String,
    },
    Resolve {
        rule: String,
        subject: String,
        why: String,
    },
}

/// A line of an alert's history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlertAct {
    pub at_us: i64,
    /// A stable word: `opened`, `unknown`, `known`, `resolved`, `acknowledged`, `silenced`, ….
    pub what: String,
    /// Address of the account; `None` for the service itself.
    pub by: Option<String>,
    pub text: String,
}

/// Which alerts. Newest first.
#[derive(Clone, Debug)]
pub struct AlertQuery {
    /// Open ones, resolved ones, or all.
    pub open: Option<bool>,
    /// Of one rule.
    pub rule: Option<String>,
    /// Only alerts that were opened before this one (time, id).
    pub before: Option<(i64, u64)>,
    pub limit: usize,
}

/// What people do to an open alert.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AlertDeed {
    Acknowledge,
    /// Takes the acknowledgement back.
    Reopen,
    /// No word of this rule and subject until then; those that come later are silent, too.
    Silence {
        until_us: i64,
    },
    Unsilence,
}

impl Catalog {
    /// Alerts, with silences as of `now_us`.
    pub async fn alerts(&self, site: SiteId, query: AlertQuery, now_us: i64) -> Result<Vec<StoredAlert>, StoreError> {
        let (before_us, before_id) = query.before.map_or((i64::MAX, i64::MAX), |(time, id)| (time, id as i64));
        let vault = self.vault();
        self.read(move |db| {
            let sealed: Vec<_> = db
                .prepare_cached(&format!(
                    "{ALERT} WHERE a.site = ?1 AND (a.opened_us, a.id) < (?3, ?4) AND (?5 IS NULL OR (a.resolved_us IS NULL) = ?5)
                   AND (?6 IS NULL OR a.rule = ?6)
                 ORDER BY a.opened_us DESC, a.id DESC LIMIT ?7"
                ))
                .and_then(|mut select| {
                    let parameters = params![
                        site.0.as_bytes(),
                        now_us,
                        before_us,
                        before_id,
                        query.open,
                        query.rule,
                        query.limit.min(KEPT_ALERTS) as i64
                    ];
                    select.query_map(parameters, alert)?.collect()
                })
                .map_err(StoreError::catalog("list alerts"))?;
            let seals = vault.seals(db)?;
            sealed.into_iter().map(|alert| opened(&seals, site, alert)).collect()
        })
        .await
    }

    pub async fn alert(&self, site: SiteId, id: u64, now_us: i64) -> Result<Option<StoredAlert>, StoreError> {
        let vault = self.vault();
        self.read(move |db| find(db, &vault.seals(db)?, site, id, now_us)).await
    }

    /// Open alerts: those that nobody has acknowledged or silenced, and all.
    pub async fn open_alerts(&self, site: SiteId, now_us: i64) -> Result<(usize, usize), StoreError> {
        self.read(move |db| {
            db.prepare_cached(
                "SELECT coalesce(sum(a.acknowledged_us IS NULL AND NOT EXISTS (SELECT 1 FROM alert_silences s
                   WHERE s.site = a.site AND s.rule = a.rule AND s.subject = a.subject AND s.until_us > ?2)), 0), count(*)
                 FROM alerts a WHERE a.site = ?1 AND a.resolved_us IS NULL",
            )
            .and_then(|mut select| {
                select.query_row(params![site.0.as_bytes(), now_us], |row| {
                    Ok((row.get::<_, i64>(0)? as usize, row.get::<_, i64>(1)? as usize))
                })
            })
            .map_err(StoreError::catalog("count alerts"))
        })
        .await
    }

    /// The history of an alert, in order.
    pub async fn alert_acts(&self, site: SiteId, id: u64) -> Result<Vec<AlertAct>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let sealed: Vec<AlertAct> = db
                .prepare_cached(
                    "SELECT t.at_us, t.what, t.by, t.text FROM alert_acts t JOIN alerts a ON a.id = t.alert
                 WHERE a.site = ? AND a.id = ? ORDER BY t.id LIMIT ?",
                )
                .and_then(|mut select| {
                    select
                        .query_map(params![site.0.as_bytes(), id as i64, KEPT_ACTS as i64], |row| {
                            Ok(AlertAct {
                                at_us: row.get(0)?,
                                what: row.get(1)?,
                                by: row.get(2)?,
                                text: row.get(3)?,
                            })
                        })?
                        .collect()
                })
                .map_err(StoreError::catalog("read the history of an alert"))?;
            let seals = vault.seals(db)?;
            let open = |act: AlertAct| {
                let by = act.by.map(|by| seals.open(&[ACT_BY, act_row(id as i64, act.at_us).as_bytes()], &by));
                Ok(AlertAct { by: by.transpose()?, ..act })
            };
            sealed.into_iter().map(open).collect()
        })
        .await
    }

    /// Writes what became of alerts, the events that tell of it, and how far losses were looked at: all or nothing. Changes of alerts that are
    /// not open, or are open already, are passed over, so that the same changes again do no harm.
    pub async fn change_alerts(&self, site: SiteId, changes: Vec<AlertChange>, losses_to: Option<u64>, now_us: i64) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            if let Some(id) = losses_to {
                tx.prepare_cached(
                    "INSERT INTO alert_marks (site, losses_to) VALUES (?1, ?2) ON CONFLICT (site) DO UPDATE SET losses_to = max(losses_to, ?2)",
                )
                .and_then(|mut upsert| upsert.execute(params![site.0.as_bytes(), id as i64]))
                .map_err(StoreError::catalog("note how far losses were looked at"))?;
            }
            let seals = vault.seals(tx)?;
            for change in &changes {
                apply(tx, &seals, site, change, now_us)?;
            }
            if changes.iter().any(|change| matches!(change, AlertChange::Resolve { .. })) {
                tx.prepare_cached(
                    "DELETE FROM alerts WHERE site = ?1 AND resolved_us IS NOT NULL AND id <= (SELECT id FROM alerts
                     WHERE site = ?1 AND resolved_us IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                )
                .and_then(|mut delete| delete.execute(params![site.0.as_bytes(), KEPT_ALERTS as i64]))
                .map_err(StoreError::catalog("forget old alerts"))?;
            }
            Ok(())
        })
        .await
    }

    /// Does to an open alert what somebody asked for. False when there is no such open alert.
    pub async fn act_on_alert(&self, site: SiteId, id: u64, deed: AlertDeed, by: String, now_us: i64) -> Result<bool, StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let seals = vault.seals(tx)?;
            let Some(alert) = find(tx, &seals, site, id, now_us)?.filter(|alert| alert.resolved.is_none()) else {
                return Ok(false);
            };
            let failed = StoreError::catalog("change an alert");
            let key = (site.0.as_bytes(), &alert.rule, &alert.subject);
            let (what, text) = match deed {
                AlertDeed::Acknowledge => {
                    let by = seals.seal(&[ACKNOWLEDGED_BY, alert_row(id).as_bytes()], &by)?;
                    tx.execute(
                        "UPDATE alerts SET acknowledged_us = ?2, acknowledged_by = ?3 WHERE id = ?1",
                        params![id as i64, now_us, by],
                    )
                    .map_err(failed)?;
                    ("acknowledged", String::new())
                }
                AlertDeed::Reopen => {
                    tx.execute(
                        "UPDATE alerts SET acknowledged_us = NULL, acknowledged_by = NULL WHERE id = ?",
                        [id as i64],
                    )
                    .map_err(failed)?;
                    ("reopened", "the acknowledgement was taken back".to_owned())
                }
                AlertDeed::Silence { until_us } => {
                    let by = seals.seal(&[SILENCE_BY, silence_row(site, &alert.rule, &alert.subject).as_bytes()], &by)?;
                    tx.execute(
                        "INSERT INTO alert_silences (site, rule, subject, until_us, at_us, by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                         ON CONFLICT (site, rule, subject) DO UPDATE SET until_us = ?4, at_us = ?5, by = ?6",
                        params![key.0, key.1, key.2, until_us, now_us, by],
                    )
                    .map_err(failed)?;
                    ("silenced", until_us.to_string())
                }
                AlertDeed::Unsilence => {
                    tx.execute(
                        "DELETE FROM alert_silences WHERE site = ? AND rule = ? AND subject = ?",
                        params![key.0, key.1, key.2],
                    )
                    .map_err(failed)?;
                    ("unsilenced", String::new())
                }
            };
            // Silences that are over are of no use to anybody.
            tx.execute(
                "DELETE FROM alert_silences WHERE site = ? AND until_us <= ?",
                params![site.0.as_bytes(), now_us],
            )
            .map_err(StoreError::catalog("forget silences"))?;
            let by = seals.seal(&[ACT_BY, act_row(id as i64, now_us).as_bytes()], &by)?;
            act(tx, id as i64, now_us, what, Some(&by), &text)?;
            Ok(true)
        })
        .await
    }

    /// Losses that were stored behind an event, by the order of their coming: id, gateway, loss. At most `limit`.
    pub async fn losses_behind(&self, site: SiteId, after: u64, limit: usize) -> Result<Vec<(u64, super::StoredLoss)>, StoreError> {
        self.read(move |db| events::losses_behind(db, site, after, limit)).await
    }

    /// How far losses were looked at; at first what is there already is old news.
    pub async fn losses_looked_at(&self, site: SiteId) -> Result<u64, StoreError> {
        self.read(move |db| {
            let known: Option<i64> = db
                .prepare_cached("SELECT losses_to FROM alert_marks WHERE site = ?")
                .and_then(|mut select| select.query_row([site.0.as_bytes()], |row| row.get(0)).optional())
                .map_err(StoreError::catalog("read how far losses were looked at"))?;
            let to = match known {
                Some(to) => to,
                None => db
                    .query_row("SELECT coalesce(max(id), 0) FROM events", [], |row| row.get(0))
                    .map_err(StoreError::catalog("find the newest event"))?,
            };
            Ok(to as u64)
        })
        .await
    }
}

/// `?1` is the site, `?2` the time of now.
const ALERT: &str =
    "SELECT a.id, a.rule, a.subject, a.level, a.text, a.about, a.value, a.threshold, a.members, a.since_us, a.opened_us, a.updated_us,
    a.unknown_us, a.unknown_why, a.resolved_us, a.resolved_why, a.acknowledged_us, a.acknowledged_by, s.until_us, s.by
    FROM alerts a LEFT JOIN alert_silences s ON s.site = a.site AND s.rule = a.rule AND s.subject = a.subject AND s.until_us > ?2";

fn find(db: &Connection, seals: &Seals, site: SiteId, id: u64, now_us: i64) -> Result<Option<StoredAlert>, StoreError> {
    let sealed = db
        .prepare_cached(&format!("{ALERT} WHERE a.site = ?1 AND a.id = ?3"))
        .and_then(|mut select| select.query_row(params![site.0.as_bytes(), now_us, id as i64], alert).optional())
        .map_err(StoreError::catalog("read an alert"))?;
    sealed.map(|alert| opened(seals, site, alert)).transpose()
}

/// An alert with the addresses of people in clear.
fn opened(seals: &Seals, site: SiteId, sealed: StoredAlert) -> Result<StoredAlert, StoreError> {
    let open = |place: &[u8], row: String, (at_us, by): (i64, String)| Ok((at_us, seals.open(&[place, row.as_bytes()], &by)?));
    let acknowledged = sealed.acknowledged.map(|by| open(ACKNOWLEDGED_BY, alert_row(sealed.id), by));
    let silenced = sealed
        .silenced
        .map(|by| open(SILENCE_BY, silence_row(site, &sealed.rule, &sealed.subject), by));
    Ok(StoredAlert {
        acknowledged: acknowledged.transpose()?,
        silenced: silenced.transpose()?,
        ..sealed
    })
}

/// What tells rows apart whose texts are sealed; as `sealing` has it in SQL.
fn alert_row(id: u64) -> String {
    id.to_string()
}

fn act_row(alert: i64, at_us: i64) -> String {
    format!("{alert} {at_us}")
}

fn silence_row(site: SiteId, rule: &str, subject: &str) -> String {
    format!("{} {rule} {subject}", hex::encode_upper(site.0.as_bytes()))
}

/// As it is in the catalogue: addresses are sealed.
fn alert(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    let pair = |time: usize| -> rusqlite::Result<Option<(i64, String)>> {
        let at_us: Option<i64> = row.get(time)?;
        let text: Option<String> = row.get(time + 1)?;
        Ok(at_us.map(|at_us| (at_us, text.unwrap_or_default())))
    };
    Ok(StoredAlert {
        id: row.get::<_, i64>(0)? as u64,
        rule: row.get(1)?,
        subject: row.get(2)?,
        says: AlertText {
            level: events::level(row.get(3)?),
            text: row.get(4)?,
            about: row.get(5)?,
            value: row.get(6)?,
            threshold: row.get(7)?,
            members: row.get(8)?,
        },
        since_us: row.get(9)?,
        opened_us: row.get(10)?,
        updated_us: row.get(11)?,
        unknown: pair(12)?,
        resolved: pair(14)?,
        acknowledged: pair(16)?,
        silenced: pair(18)?,
    })
}

fn apply(tx: &Transaction<'_>, seals: &Seals, site: SiteId, change: &AlertChange, now_us: i64) -> Result<(), StoreError> {
    let failed = StoreError::catalog;
    let (rule, subject) = change.key();
    let open: Option<(i64, String, String)> = tx
        .prepare_cached("SELECT id, text, about FROM alerts WHERE site = ? AND rule = ? AND subject = ? AND resolved_us IS NULL")
        .and_then(|mut select| {
            select
                .query_row(params![site.0.as_bytes(), rule, subject], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .map_err(failed("find an open alert"))?;
    match (change, open) {
        (AlertChange::Open { since_us, says, .. }, None) => {
            tx.prepare_cached(
                "INSERT INTO alerts (site, rule, subject, level, text, about, value, threshold, members, since_us, opened_us, updated_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    site.0.as_bytes(),
                    rule,
                    subject,
                    says.level as u8,
                    says.text,
                    says.about,
                    says.value,
                    says.threshold,
                    says.members,
                    since_us,
                    now_us
                ])
            })
            .map_err(failed("open an alert"))?;
            let id = tx.last_insert_rowid();
            act(tx, id, now_us, "opened", None, &says.text)?;
            notify(tx, seals, site, id, "opened", now_us)?;
            tell(tx, site, now_us, says.level, "alert.opened", &says.text, id, rule)
        }
        (AlertChange::Update { says, .. }, Some((id, ..))) => {
            tx.prepare_cached(
                "UPDATE alerts SET level = ?2, text = ?3, about = ?4, value = ?5, threshold = ?6, members = ?7, updated_us = ?8 WHERE id = ?1",
            )
            .and_then(|mut update| {
                update.execute(params![
                    id,
                    says.level as u8,
                    says.text,
                    says.about,
                    says.value,
                    says.threshold,
                    says.members,
                    now_us
                ])
            })
            .map_err(failed("update an alert"))?;
            Ok(())
        }
        (AlertChange::Unknown { why, .. }, Some((id, ..))) => {
            tx.prepare_cached("UPDATE alerts SET unknown_us = ?2, unknown_why = ?3 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![id, now_us, why]))
                .map_err(failed("update an alert"))?;
            act(tx, id, now_us, "unknown", None, why)
        }
        (AlertChange::Known { .. }, Some((id, ..))) => {
            tx.prepare_cached("UPDATE alerts SET unknown_us = NULL, unknown_why = NULL WHERE id = ?")
                .and_then(|mut update| update.execute([id]))
                .map_err(failed("update an alert"))?;
            act(tx, id, now_us, "known", None, "it holds still")
        }
        (AlertChange::Resolve { why, .. }, Some((id, text, _))) => {
            tx.prepare_cached("UPDATE alerts SET resolved_us = ?2, resolved_why = ?3, unknown_us = NULL, unknown_why = NULL WHERE id = ?1")
                .and_then(|mut update| update.execute(params![id, now_us, why]))
                .map_err(failed("resolve an alert"))?;
            act(tx, id, now_us, "resolved", None, why)?;
            notify(tx, seals, site, id, "resolved", now_us)?;
            let text = format!("resolved: {text} ({why})");
            tell(tx, site, now_us, Level::Info, "alert.resolved", &text, id, rule)
        }
        // Written before, or resolved meanwhile.
        _ => Ok(()),
    }
}

/// Puts what became of an alert in line for those that want to know.
fn notify(tx: &Transaction<'_>, seals: &Seals, site: SiteId, id: i64, what: &str, now_us: i64) -> Result<(), StoreError> {
    let Some(alert) = find(tx, seals, site, id as u64, now_us)? else {
        return Ok(());
    };
    let payload = serde_json::json!({
        "id": alert.id,
        "rule": alert.rule,
        "subject": alert.subject,
        "level": alert.says.level,
        "text": alert.says.text,
        "about": serde_json::from_str::<serde_json::Value>(&alert.says.about).unwrap_or_default(),
        "value": alert.says.value,
        "threshold": alert.says.threshold,
        "members": alert.says.members,
        "since_us": alert.since_us,
        "opened_us": alert.opened_us,
        "resolved_us": alert.resolved.as_ref().map(|(at_us, _)| at_us),
        "why": alert.resolved.as_ref().map(|(_, why)| why),
    });
    let silent_to_us = alert.silenced.map(|(until_us, _)| until_us);
    alert_outbox::notify(tx, seals, site, id, alert.says.level, what, &payload.to_string(), silent_to_us, now_us)
}

impl AlertChange {
    /// Rule and subject.
    pub fn key(&self) -> (&str, &str) {
        match self {
            AlertChange::Open { rule, subject, .. }
            | AlertChange::Update { rule, subject, .. }
            | AlertChange::Unknown { rule, subject, .. }
            | AlertChange::Known { rule, subject }
            | AlertChange::Resolve { rule, subject, .. } => (rule, subject),
        }
    }
}

fn act(tx: &Transaction<'_>, alert: i64, at_us: i64, what: &str, by: Option<&str>, text: &str) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO alert_acts (alert, at_us, what, by, text) SELECT ?1, ?2, ?3, ?4, ?5
         WHERE (SELECT count(*) FROM alert_acts WHERE alert = ?1) < ?6",
    )
    .and_then(|mut insert| insert.execute(params![alert, at_us, what, by, text, KEPT_ACTS as i64]))
    .map_err(StoreError::catalog("keep an act on an alert"))?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one line of the site's events")]
fn tell(tx: &Transaction<'_>, site: SiteId, at_us: i64, level: Level, kind: &str, text: &str, id: i64, rule: &str) -> Result<(), StoreError> {
    let event = NewEvent {
        at_us,
        level,
        kind: kind.to_owned(),
        text: text.to_owned(),
        fields: serde_json::json!({ "alert": id, "rule": rule }).to_string(),
        gateway: None,
        loss: None,
    };
    events::insert(tx, site, &event)
}
