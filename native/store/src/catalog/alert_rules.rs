// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{OptionalExtension, params};

use super::Catalog;
use crate::{StoreError, ids::SiteId};

/// A rule of a site, or what a site changed about a rule that all sites have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredRule {
    pub id: String,
    pub enabled: bool,
    /// JSON; empty for a rule that all sites have.
    pub definition: String,
    pub changed_us: i64,
}

impl Catalog {
    /// By id.
    pub async fn alert_rules(&self, site: SiteId) -> Result<Vec<StoredRule>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT id, enabled, definition, changed_us FROM alert_rules WHERE site = ? ORDER BY id")
                .and_then(|mut select| {
                    select
                        .query_map([site.0.as_bytes()], |row| {
                            Ok(StoredRule {
                                id: row.get(0)?,
                                enabled: row.get(1)?,
                                definition: row.get(2)?,
                                changed_us: row.get(3)?,
                            })
                        })?
                        .collect()
                })
                .map_err(StoreError::catalog("list rules of alerts"))
        })
        .await
    }

    /// Writes a rule, or over the one of this id. Fails with [`StoreError::Taken`] when it would be a new one above `most` of its sort: those of the
    /// site alone, or those that all sites have.
    pub async fn set_alert_rule(&self, site: SiteId, rule: StoredRule, most: usize) -> Result<(), StoreError> {
        self.write(move |tx| {
            let others: i64 = tx
                .query_row(
                    "SELECT count(*) FROM alert_rules WHERE site = ?1 AND id <> ?2 AND (definition = '') = (?3 = '')",
                    params![site.0.as_bytes(), rule.id, rule.definition],
                    |row| row.get(0),
                )
                .map_err(StoreError::catalog("count rules of alerts"))?;
            if others >= most as i64 {
                return Err(StoreError::Taken("room for rules"));
            }
            tx.execute(
                "INSERT INTO alert_rules (site, id, enabled, definition, changed_us) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (site, id) DO UPDATE SET enabled = ?3, definition = ?4, changed_us = ?5",
                params![site.0.as_bytes(), rule.id, rule.enabled, rule.definition, rule.changed_us],
            )
            .map_err(StoreError::catalog("write a rule of alerts"))?;
            Ok(())
        })
        .await
    }

    /// The definition that it had; `None` when there was none.
    pub async fn delete_alert_rule(&self, site: SiteId, id: String) -> Result<Option<String>, StoreError> {
        self.write(move |tx| {
            tx.query_row(
                "DELETE FROM alert_rules WHERE site = ? AND id = ? RETURNING definition",
                params![site.0.as_bytes(), id],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::catalog("delete a rule of alerts"))
        })
        .await
    }
}
