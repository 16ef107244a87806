// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{OptionalExtension, Row, ToSql, params, types::Value};
use uuid::Uuid;

use super::{Catalog, Fingerprint, Site, SiteKey, accounts::taken};
use crate::{
    StoreError,
    ids::{AccountId, SiteId},
};

const SITE: &str = "SELECT id, account, name, created_us, deleted_us, quota_bytes, settings FROM sites";

impl Catalog {
    pub async fn create_site(&self, site: Site) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO sites (id, account, name, created_us, deleted_us, quota_bytes, settings) VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    site.id.0.as_bytes(),
                    site.account.0.as_bytes(),
                    site.name,
                    site.created_us,
                    site.deleted_us,
                    site.quota_bytes as i64,
                    site.settings
                ],
            )
            .map_err(taken("site id", "create a site"))?;
            Ok(())
        })
        .await
    }

    /// Deleted sites whose data still waits are found too.
    pub async fn site(&self, id: SiteId) -> Result<Option<Site>, StoreError> {
        self.read(move |db| {
            db.prepare_cached(&format!("{SITE} WHERE id = ?"))
                .and_then(|mut select| select.query_row([id.0.as_bytes()], site).optional())
                .map_err(StoreError::catalog("read a site"))
        })
        .await
    }

    /// Sites of an account that are not deleted, by name.
    pub async fn sites_of(&self, account: AccountId) -> Result<Vec<Site>, StoreError> {
        self.list_sites(
            format!("{SITE} WHERE account = ? AND deleted_us IS NULL ORDER BY name, id"),
            Some(Value::Blob(account.0.as_bytes().to_vec())),
        )
        .await
    }

    /// All sites that are not deleted.
    pub async fn sites(&self) -> Result<Vec<Site>, StoreError> {
        self.list_sites(format!("{SITE} WHERE deleted_us IS NULL ORDER BY name, id"), None).await
    }

    /// Sites that were deleted at or before a time: their data is due.
    pub async fn sites_deleted_until(&self, until_us: i64) -> Result<Vec<Site>, StoreError> {
        self.list_sites(
            format!("{SITE} WHERE deleted_us <= ? ORDER BY deleted_us, id"),
            Some(Value::Integer(until_us)),
        )
        .await
    }

    pub async fn rename_site(&self, id: SiteId, name: String) -> Result<(), StoreError> {
        self.change_site(
            "rename a site",
            "UPDATE sites SET name = ?2 WHERE id = ?1 AND deleted_us IS NULL",
            id,
            name,
        )
        .await
    }

    pub async fn set_site_settings(&self, id: SiteId, settings: String) -> Result<(), StoreError> {
        self.change_site(
            "set a site's settings",
            "UPDATE sites SET settings = ?2 WHERE id = ?1 AND deleted_us IS NULL",
            id,
            settings,
        )
        .await
    }

    pub async fn set_site_quota(&self, id: SiteId, bytes: u64) -> Result<(), StoreError> {
        self.change_site(
            "set a site's quota",
            "UPDATE sites SET quota_bytes = ?2 WHERE id = ?1 AND deleted_us IS NULL",
            id,
            bytes as i64,
        )
        .await
    }

    /// Marks the site as deleted and deletes its fingerprints; its data is removed later.
    pub async fn delete_site(&self, id: SiteId, at_us: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            let failed = StoreError::catalog;
            let changed = tx
                .execute(
                    "UPDATE sites SET deleted_us = ?2 WHERE id = ?1 AND deleted_us IS NULL",
                    params![id.0.as_bytes(), at_us],
                )
                .map_err(failed("delete a site"))?;
            if changed == 0 {
                return Err(StoreError::Missing("site"));
            }
            tx.execute("DELETE FROM site_keys WHERE site = ?", [id.0.as_bytes()])
                .map_err(failed("delete fingerprints"))?;
            Ok(())
        })
        .await
    }

    /// Fails with [`StoreError::Taken`] when any site has this fingerprint.
    pub async fn add_fingerprint(&self, key: SiteKey) -> Result<(), StoreError> {
        self.write(move |tx| {
            let known: bool = tx
                .query_row(
                    "SELECT count(*) FROM sites WHERE id = ? AND deleted_us IS NULL",
                    [key.site.0.as_bytes()],
                    |row| row.get(0),
                )
                .map_err(StoreError::catalog("read a site"))?;
            if !known {
                return Err(StoreError::Missing("site"));
            }
            tx.execute(
                "INSERT INTO site_keys (fingerprint, site, label, added_us) VALUES (?, ?, ?, ?)",
                params![key.fingerprint, key.site.0.as_bytes(), key.label, key.added_us],
            )
            .map_err(taken("fingerprint", "add a fingerprint"))?;
            Ok(())
        })
        .await
    }

    /// In the order of their adding.
    pub async fn fingerprints(&self, site: SiteId) -> Result<Vec<SiteKey>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT fingerprint, site, label, added_us FROM site_keys WHERE site = ? ORDER BY added_us, fingerprint")
                .and_then(|mut select| select.query_map([site.0.as_bytes()], site_key)?.collect())
                .map_err(StoreError::catalog("list fingerprints"))
        })
        .await
    }

    /// The site that a key belongs to.
    pub async fn site_of_fingerprint(&self, fingerprint: Fingerprint) -> Result<Option<SiteId>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT fingerprint, site, label, added_us FROM site_keys WHERE fingerprint = ?")
                .and_then(|mut select| select.query_row([fingerprint], site_key).optional())
                .map(|key| key.map(|key| key.site))
                .map_err(StoreError::catalog("look a fingerprint up"))
        })
        .await
    }

    /// Whether the site had it.
    pub async fn delete_fingerprint(&self, site: SiteId, fingerprint: Fingerprint) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM site_keys WHERE site = ? AND fingerprint = ?",
                params![site.0.as_bytes(), fingerprint],
            )
            .map(|deleted| deleted > 0)
            .map_err(StoreError::catalog("delete a fingerprint"))
        })
        .await
    }

    /// Sites that have a quota, and those quotas.
    pub(crate) fn quotas_now(&self) -> Result<Vec<(SiteId, u64)>, StoreError> {
        self.read_now(|db| {
            db.prepare_cached("SELECT id, quota_bytes FROM sites WHERE deleted_us IS NULL AND quota_bytes > 0")
                .and_then(|mut select| {
                    select
                        .query_map([], |row| Ok((SiteId(Uuid::from_bytes(row.get(0)?)), row.get::<_, i64>(1)? as u64)))?
                        .collect()
                })
                .map_err(StoreError::catalog("list quotas"))
        })
    }

    /// Bytes of the topology with its history and of the events of a site.
    pub(crate) fn bytes_now(&self, site: SiteId) -> Result<u64, StoreError> {
        self.read_now(|db| {
            db.query_row("SELECT bytes FROM site_bytes WHERE site = ?", [site.0.as_bytes()], |row| {
                row.get::<_, i64>(0)
            })
            .optional()
            .map(|bytes| bytes.unwrap_or(0).max(0) as u64)
            .map_err(StoreError::catalog("read what a site takes"))
        })
    }

    /// Removes all that the catalogue holds of a site, the site itself included. The time series go before, see [`crate::Store::remove_site`].
    pub(crate) async fn erase_site(&self, id: SiteId) -> Result<(), StoreError> {
        self.write(move |tx| {
            let failed = StoreError::catalog;
            tx.execute("DELETE FROM events WHERE site = ?", [id.0.as_bytes()])
                .map_err(failed("erase events"))?;
            tx.execute("DELETE FROM hop_counts WHERE site = ?", [id.0.as_bytes()])
                .map_err(failed("erase counts"))?;
            tx.execute("DELETE FROM stream_cursors WHERE site = ?", [id.0.as_bytes()])
                .map_err(failed("erase cursors"))?;
            tx.execute("DELETE FROM topology_versions WHERE site = ?", [id.0.as_bytes()])
                .map_err(failed("erase topology"))?;
            tx.execute("DELETE FROM sites WHERE id = ?", [id.0.as_bytes()])
                .map_err(failed("erase a site"))?;
            tx.execute("DELETE FROM site_bytes WHERE site = ?", [id.0.as_bytes()])
                .map_err(failed("erase a site"))?;
            Ok(())
        })
        .await
    }

    async fn list_sites(&self, sql: String, parameter: Option<Value>) -> Result<Vec<Site>, StoreError> {
        self.read(move |db| {
            db.prepare_cached(&sql)
                .and_then(|mut select| {
                    let parameters: Vec<&dyn ToSql> = parameter.iter().map(|value| value as &dyn ToSql).collect();
                    select.query_map(parameters.as_slice(), site)?.collect()
                })
                .map_err(StoreError::catalog("list sites"))
        })
        .await
    }

    async fn change_site(
        &self,
        operation: &'static str,
        sql: &'static str,
        id: SiteId,
        value: impl ToSql + Send + 'static,
    ) -> Result<(), StoreError> {
        self.write(
            move |tx| match tx.execute(sql, params![id.0.as_bytes(), value]).map_err(StoreError::catalog(operation))? {
                0 => Err(StoreError::Missing("site")),
                _ => Ok(()),
            },
        )
        .await
    }
}

fn site(row: &Row<'_>) -> rusqlite::Result<Site> {
    Ok(Site {
        id: SiteId(Uuid::from_bytes(row.get(0)?)),
        account: AccountId(Uuid::from_bytes(row.get(1)?)),
        name: row.get(2)?,
        created_us: row.get(3)?,
        deleted_us: row.get(4)?,
        quota_bytes: row.get::<_, i64>(5)? as u64,
        settings: row.get(6)?,
    })
}

fn site_key(row: &Row<'_>) -> rusqlite::Result<SiteKey> {
    Ok(SiteKey {
        fingerprint: row.get(0)?,
        site: SiteId(Uuid::from_bytes(row.get(1)?)),
        label: row.get(2)?,
        added_us: row.get(3)?,
    })
}
