// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::params;
use uuid::Uuid;

use super::{Catalog, Fingerprint, Gateway};
use crate::{StoreError, ids::SiteId};

impl Catalog {
    /// A gateway has connected.
    pub async fn gateway_connected(
        &self,
        site: SiteId,
        gateway: Uuid,
        name: String,
        version: String,
        fingerprint: Fingerprint,
        at_us: i64,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO gateways (site, id, name, version, fingerprint, first_seen_us, connected_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                 ON CONFLICT (site, id) DO UPDATE SET name = ?3, version = ?4, fingerprint = ?5, connected_us = ?6, disconnected_us = NULL",
                params![site.0.as_bytes(), gateway.as_bytes(), name, version, fingerprint, at_us],
            )
            .map_err(StoreError::catalog("note a gateway"))?;
            Ok(())
        })
        .await
    }

    /// `connected_us` tells an old connection from the one that replaced it: only the newest is closed.
    pub async fn gateway_disconnected(&self, site: SiteId, gateway: Uuid, connected_us: i64, at_us: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE gateways SET disconnected_us = ?4 WHERE site = ?1 AND id = ?2 AND connected_us = ?3 AND disconnected_us IS NULL",
                params![site.0.as_bytes(), gateway.as_bytes(), connected_us, at_us],
            )
            .map_err(StoreError::catalog("note a gateway"))?;
            Ok(())
        })
        .await
    }

    /// No gateway is connected: at the start of the service, after a crash.
    pub async fn all_gateways_disconnected(&self, at_us: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE gateways SET disconnected_us = max(?, connected_us) WHERE disconnected_us IS NULL",
                [at_us],
            )
            .map_err(StoreError::catalog("note gateways"))?;
            Ok(())
        })
        .await
    }

    /// Keeps the last report (JSON) of a gateway.
    pub async fn gateway_report(&self, site: SiteId, gateway: Uuid, at_us: i64, report: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE gateways SET report_us = ?3, report = ?4 WHERE site = ?1 AND id = ?2",
                params![site.0.as_bytes(), gateway.as_bytes(), at_us, report],
            )
            .map_err(StoreError::catalog("keep a gateway's report"))?;
            Ok(())
        })
        .await
    }

    /// By name.
    pub async fn gateways(&self, site: SiteId) -> Result<Vec<Gateway>, StoreError> {
        self.read(move |db| {
            db.prepare_cached(
                "SELECT id, name, version, fingerprint, first_seen_us, connected_us, disconnected_us, report_us, report
                 FROM gateways WHERE site = ? ORDER BY name, id",
            )
            .and_then(|mut select| {
                select
                    .query_map([site.0.as_bytes()], |row| {
                        let report_us: Option<i64> = row.get(7)?;
                        let report: Option<String> = row.get(8)?;
                        Ok(Gateway {
                            id: Uuid::from_bytes(row.get(0)?),
                            name: row.get(1)?,
                            version: row.get(2)?,
                            fingerprint: row.get(3)?,
                            first_seen_us: row.get(4)?,
                            connected_us: row.get(5)?,
                            disconnected_us: row.get(6)?,
                            report: report_us.zip(report),
                        })
                    })?
                    .collect()
            })
            .map_err(StoreError::catalog("list gateways"))
        })
        .await
    }
}
