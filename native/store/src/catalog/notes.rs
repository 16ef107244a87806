// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::params;

use super::Catalog;
use crate::{StoreError, ids::SiteId};

impl Catalog {
    /// What people wrote down about a site under a kind (names of tenants, saved filters): keys and values, by key.
    pub async fn notes(&self, site: SiteId, kind: &'static str) -> Result<Vec<(String, String)>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT key, value FROM site_notes WHERE site = ? AND kind = ? ORDER BY key")
                .and_then(|mut select| {
                    select
                        .query_map(params![site.0.as_bytes(), kind], |row| Ok((row.get(0)?, row.get(1)?)))?
                        .collect()
                })
                .map_err(StoreError::catalog("read notes of a site"))
        })
        .await
    }

    /// Writes a note, or over the one of this key. Fails with [`StoreError::Taken`] when it would be a new one above `most`.
    pub async fn set_note(&self, site: SiteId, kind: &'static str, key: String, value: String, most: usize) -> Result<(), StoreError> {
        self.write(move |tx| {
            let failed = StoreError::catalog("write a note of a site");
            let others: i64 = tx
                .query_row(
                    "SELECT count(*) FROM site_notes WHERE site = ?1 AND kind = ?2 AND key <> ?3",
                    params![site.0.as_bytes(), kind, key],
                    |row| row.get(0),
                )
                .map_err(StoreError::catalog("count notes of a site"))?;
            if others >= most as i64 {
                return Err(StoreError::Taken("room for notes"));
            }
            tx.execute(
                "INSERT INTO site_notes (site, kind, key, value) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (site, kind, key) DO UPDATE SET value = ?4",
                params![site.0.as_bytes(), kind, key, value],
            )
            .map_err(failed)?;
            Ok(())
        })
        .await
    }

    /// False when there was none.
    pub async fn delete_note(&self, site: SiteId, kind: &'static str, key: String) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM site_notes WHERE site = ? AND kind = ? AND key = ?",
                params![site.0.as_bytes(), kind, key],
            )
            .map(|deleted| deleted > 0)
            .map_err(StoreError::catalog("delete a note of a site"))
        })
        .await
    }
}
