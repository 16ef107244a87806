// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What was done to an account and its sites, or tried. What it says and where from is sealed.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{Catalog, sealing::AUDIT};
use crate::{
    StoreError,
    ids::{AccountId, SiteId},
};

/// Entries of an account that are kept: years of people, weeks of a busy program. Older ones give way.
pub const KEPT_AUDIT: usize = 10_000;

/// A line of an account's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEntry {
    pub at_us: i64,
    /// A stable word with its group before a dot, such as `session.in`.
    pub what: String,
    /// False for what was refused.
    pub done: bool,
    pub site: Option<SiteId>,
    /// One sentence.
    pub text: String,
    /// Address that it was asked from; empty where there is none.
    pub address: String,
    /// By which way: a browser, a token, a mailed link, the operator.
    pub by: String,
}

/// Which entries. Newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of one group or word, by its begin; empty for all.
    pub what: String,
    /// Only what was refused.
    pub refused: bool,
    /// A part of text, address or way, in any case of its letters; empty for all.
    pub find: String,
    /// Only entries before this one.
    pub before: Option<u64>,
    pub limit: usize,
}

impl Catalog {
    pub async fn append_audit(&self, account: AccountId, entry: AuditEntry) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let failed = StoreError::catalog;
            // Plain texts: they can always be written.
            let said = serde_json::to_string(&(&entry.text, &entry.address, &entry.by)).unwrap_or_default();
            let said = vault
                .seals(tx)?
                .seal(&[AUDIT, row(account, entry.at_us, &entry.what).as_bytes()], &said)?;
            tx.prepare_cached("INSERT INTO audit (account, at_us, what, done, site, said) VALUES (?, ?, ?, ?, ?, ?)")
                .and_then(|mut insert| {
                    insert.execute(params![
                        account.0.as_bytes(),
                        entry.at_us,
                        entry.what,
                        entry.done,
                        entry.site.map(|site| site.0.into_bytes()),
                        said
                    ])
                })
                .map_err(failed("keep what was done to an account"))?;
            tx.prepare_cached(
                "DELETE FROM audit WHERE account = ?1 AND id <= (SELECT id FROM audit WHERE account = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )
            .and_then(|mut delete| delete.execute(params![account.0.as_bytes(), KEPT_AUDIT as i64]))
            .map_err(failed("forget what was done long ago"))?;
            Ok(())
        })
        .await
    }

    /// Entries with their ids, in the order of their coming, the newest first.
    pub async fn audit(&self, account: AccountId, query: AuditQuery) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let seals = vault.seals(db)?;
            let find = query.find.to_lowercase();
            let mut found = Vec::new();
            // Sealed texts can't be searched by the database: each is opened, at most as many as are kept.
            for (id, sealed) in select(db, account, &query)? {
                let said = seals.open(&[AUDIT, row(account, sealed.at_us, &sealed.what).as_bytes()], &sealed.text)?;
                let (text, address, by): (String, String, String) = serde_json::from_str(&said).unwrap_or_default();
                if find.is_empty() || [&text, &address, &by].iter().any(|part| part.to_lowercase().contains(&find)) {
                    found.push((id, AuditEntry { text, address, by, ..sealed }));
                    if found.len() >= query.limit {
                        break;
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    /// Entries of an account that are kept.
    pub async fn audit_count(&self, account: AccountId) -> Result<usize, StoreError> {
        self.read(move |db| {
            db.query_row("SELECT count(*) FROM audit WHERE account = ?", [account.0.as_bytes()], |row| {
                row.get::<_, i64>(0)
            })
            .map(|count| count as usize)
            .map_err(StoreError::catalog("count what was done to an account"))
        })
        .await
    }

    /// Forgets what was done before a time, and says how much that was.
    pub async fn forget_audit(&self, before_us: i64) -> Result<usize, StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM audit WHERE at_us < ?", [before_us])
                .map_err(StoreError::catalog("forget what was done long ago"))
        })
        .await
    }
}

/// Sealed entries, what they say in `text`. All that match while some may be passed over, else no more than are wanted.
fn select(db: &Connection, account: AccountId, query: &AuditQuery) -> Result<Vec<(u64, AuditEntry)>, StoreError> {
    let limit = if query.find.is_empty() { query.limit } else { KEPT_AUDIT };
    let what = format!("{}%", query.what.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
    let before = query.before.map_or(i64::MAX, |id| id as i64);
    db.prepare_cached(
        "SELECT id, at_us, what, done, site, said FROM audit
         WHERE account = ?1 AND id < ?2 AND what LIKE ?3 ESCAPE '\\' AND (NOT ?4 OR NOT done) ORDER BY id DESC LIMIT ?5",
    )
    .and_then(|mut select| {
        select
            .query_map(params![account.0.as_bytes(), before, what, query.refused, limit as i64], |row| {
                let entry = AuditEntry {
                    at_us: row.get(1)?,
                    what: row.get(2)?,
                    done: row.get(3)?,
                    site: row.get::<_, Option<[u8; 16]>>(4)?.map(|id| SiteId(Uuid::from_bytes(id))),
                    text: row.get(5)?,
                    address: String::new(),
                    by: String::new(),
                };
                Ok((row.get::<_, i64>(0)? as u64, entry))
            })?
            .collect()
    })
    .map_err(StoreError::catalog("read what was done to an account"))
}

/// What tells entries apart; as `sealing` has it in SQL.
fn row(account: AccountId, at_us: i64, what: &str) -> String {
    format!("{} {at_us} {what}", hex::encode_upper(account.0.as_bytes()))
}
