// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

use super::{ApiToken, Catalog, sealing::API_TOKEN_CLIENT, vault::Seals};
use crate::{
    StoreError,
    ids::{AccountId, SiteId},
};

const COLUMNS: &str = "t.id, t.account, t.token_hash, t.name, t.scopes, t.sites, t.created_us, t.expires_us, t.used_us, t.client";

impl Catalog {
    /// Fails with [`StoreError::Taken`] when the account has `most` already.
    pub async fn create_api_token(&self, token: ApiToken, most: usize) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let failed = StoreError::catalog;
            let client = vault.seals(tx)?.seal(&[API_TOKEN_CLIENT, token.id.as_bytes()], &token.client)?;
            let others: i64 = tx
                .query_row("SELECT count(*) FROM api_tokens WHERE account = ?", [token.account.0.as_bytes()], |row| {
                    row.get(0)
                })
                .map_err(failed("count tokens"))?;
            if others >= most as i64 {
                return Err(StoreError::Taken("room for tokens"));
            }
            let sites = token.sites.map(|sites| sites.iter().map(SiteId::to_string).collect::<Vec<_>>().join(" "));
            tx.execute(
                "INSERT INTO api_tokens (id, account, token_hash, name, scopes, sites, created_us, expires_us, used_us, client)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    token.id.as_bytes(),
                    token.account.0.as_bytes(),
                    token.token_hash,
                    token.name,
                    token.scopes,
                    sites,
                    token.created_us,
                    token.expires_us,
                    token.used_us,
                    client
                ],
            )
            .map_err(failed("create a token"))?;
            Ok(())
        })
        .await
    }

    /// The token of a hash, unless it is over or its account is gone.
    pub async fn api_token(&self, token_hash: [u8; 32], now_us: i64) -> Result<Option<ApiToken>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let sealed = db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM api_tokens t JOIN accounts a ON a.id = t.account
                 WHERE t.token_hash = ? AND (t.expires_us IS NULL OR t.expires_us > ?) AND a.deleted_us IS NULL"
                ))
                .and_then(|mut select| select.query_row(params![token_hash, now_us], token).optional())
                .map_err(StoreError::catalog("read a token"))?;
            let Some(sealed) = sealed else { return Ok(None) };
            Ok(Some(with_client(&vault.seals(db)?, sealed)?))
        })
        .await
    }

    /// All tokens of an account, those that are over too, the newest first.
    pub async fn api_tokens_of(&self, account: AccountId) -> Result<Vec<ApiToken>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let sealed: Vec<_> = db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM api_tokens t WHERE t.account = ? ORDER BY t.created_us DESC, t.id"
                ))
                .and_then(|mut select| select.query_map([account.0.as_bytes()], token)?.collect())
                .map_err(StoreError::catalog("list tokens"))?;
            let seals = vault.seals(db)?;
            sealed.into_iter().map(|token| with_client(&seals, token)).collect()
        })
        .await
    }

    pub async fn api_token_used(&self, id: Uuid, at_us: i64, client: String) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let client = vault.seals(tx)?.seal(&[API_TOKEN_CLIENT, id.as_bytes()], &client)?;
            tx.prepare_cached("UPDATE api_tokens SET used_us = ?2, client = ?3 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![id.as_bytes(), at_us, client]))
                .map_err(StoreError::catalog("note the use of a token"))?;
            Ok(())
        })
        .await
    }

    /// Revokes a token of the account, and gives it back; `None` when it has none of this id.
    pub async fn delete_api_token(&self, account: AccountId, id: Uuid) -> Result<Option<ApiToken>, StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let found = tx
                .prepare_cached(&format!("SELECT {COLUMNS} FROM api_tokens t WHERE t.account = ? AND t.id = ?"))
                .and_then(|mut select| select.query_row(params![account.0.as_bytes(), id.as_bytes()], token).optional())
                .map_err(StoreError::catalog("read a token"))?;
            tx.execute(
                "DELETE FROM api_tokens WHERE account = ? AND id = ?",
                params![account.0.as_bytes(), id.as_bytes()],
            )
            .map_err(StoreError::catalog("revoke a token"))?;
            let Some(found) = found else { return Ok(None) };
            Ok(Some(with_client(&vault.seals(tx)?, found)?))
        })
        .await
    }
}

/// A token with the address in clear that it was used from.
fn with_client(seals: &Seals, sealed: ApiToken) -> Result<ApiToken, StoreError> {
    Ok(ApiToken {
        client: seals.open(&[API_TOKEN_CLIENT, sealed.id.as_bytes()], &sealed.client)?,
        ..sealed
    })
}

fn token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    let sites: Option<String> = row.get(5)?;
    Ok(ApiToken {
        id: Uuid::from_bytes(row.get(0)?),
        account: AccountId(Uuid::from_bytes(row.get(1)?)),
        token_hash: row.get(2)?,
        name: row.get(3)?,
        scopes: row.get(4)?,
        // What can't be read opens no site.
        sites: sites.map(|sites| sites.split(' ').filter_map(|id| id.parse().ok()).collect()),
        created_us: row.get(6)?,
        expires_us: row.get(7)?,
        used_us: row.get(8)?,
        client: row.get(9)?,
    })
}
