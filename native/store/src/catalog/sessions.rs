// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use super::{
    Account, Catalog, WebSession,
    accounts::{account, opened},
    sealing::SESSION_CLIENT,
    vault::Seals,
};
use crate::{StoreError, ids::AccountId};

/// Of a session, behind the columns of its account.
const COLUMNS: &str = "s.token_hash, s.account, s.created_us, s.expires_us, s.used_us, s.client, s.browser";

impl Catalog {
    /// Keeps a session. When the account has `most` already, those that were used longest ago end.
    pub async fn create_session(&self, session: WebSession, most: usize) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let failed = StoreError::catalog;
            let client = vault.seals(tx)?.seal(&[SESSION_CLIENT, &session.token_hash], &session.client)?;
            tx.prepare_cached(
                "DELETE FROM web_sessions WHERE token_hash IN
                   (SELECT token_hash FROM web_sessions WHERE account = ? ORDER BY used_us DESC, created_us DESC LIMIT -1 OFFSET ?)",
            )
            .and_then(|mut delete| delete.execute(params![session.account.0.as_bytes(), most.saturating_sub(1) as i64]))
            .map_err(failed("bound the sessions"))?;
            tx.prepare_cached(
                "INSERT INTO web_sessions (token_hash, account, created_us, expires_us, used_us, client, browser) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    session.token_hash,
                    session.account.0.as_bytes(),
                    session.created_us,
                    session.expires_us,
                    session.used_us,
                    client,
                    session.browser
                ])
            })
            .map_err(failed("create a session"))?;
            Ok(())
        })
        .await
    }

    /// The session and its account, unless it is over.
    pub async fn session(&self, token_hash: [u8; 32], now_us: i64) -> Result<Option<(WebSession, Account)>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let found = db
                .prepare_cached(&format!(
                    "SELECT a.id, a.email, a.name, a.password_hash, a.created_us, {COLUMNS}
                 FROM web_sessions s JOIN accounts a ON a.id = s.account
                 WHERE s.token_hash = ? AND s.expires_us > ? AND a.deleted_us IS NULL"
                ))
                .and_then(|mut select| {
                    select
                        .query_row(params![token_hash, now_us], |row| Ok((session(row, 5)?, account(row)?)))
                        .optional()
                })
                .map_err(StoreError::catalog("read a session"))?;
            let Some((session, account)) = found else { return Ok(None) };
            let seals = vault.seals(db)?;
            Ok(Some((with_client(&seals, session)?, opened(&seals, account)?)))
        })
        .await
    }

    /// Sessions of an account that are not over, the last used first.
    pub async fn sessions_of(&self, account: AccountId, now_us: i64) -> Result<Vec<WebSession>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let sealed: Vec<_> = db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM web_sessions s WHERE s.account = ? AND s.expires_us > ? ORDER BY s.used_us DESC, s.created_us DESC"
                ))
                .and_then(|mut select| select.query_map(params![account.0.as_bytes(), now_us], |row| session(row, 0))?.collect())
                .map_err(StoreError::catalog("list sessions"))?;
            let seals = vault.seals(db)?;
            sealed.into_iter().map(|session| with_client(&seals, session)).collect()
        })
        .await
    }

    /// A session was used, from there.
    pub async fn session_used(&self, token_hash: [u8; 32], at_us: i64, client: String, browser: String) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let client = vault.seals(tx)?.seal(&[SESSION_CLIENT, &token_hash], &client)?;
            tx.prepare_cached("UPDATE web_sessions SET used_us = ?2, client = ?3, browser = ?4 WHERE token_hash = ?1 AND used_us < ?2")
                .and_then(|mut update| update.execute(params![token_hash, at_us, client, browser]))
                .map_err(StoreError::catalog("note the use of a session"))?;
            Ok(())
        })
        .await
    }

    /// False when there was none.
    pub async fn delete_session(&self, token_hash: [u8; 32]) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM web_sessions WHERE token_hash = ?", [token_hash])
                .map(|ended| ended > 0)
                .map_err(StoreError::catalog("end a session"))
        })
        .await
    }

    /// Ends the sessions of an account, but for one perhaps, and says how many they were.
    pub async fn delete_sessions_of(&self, account: AccountId, keep: Option<[u8; 32]>) -> Result<usize, StoreError> {
        self.write(move |tx| end_sessions(tx, account, keep)).await
    }

    /// Forgets the sessions that are over.
    pub async fn delete_expired_sessions(&self, now_us: i64) -> Result<usize, StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM web_sessions WHERE expires_us <= ?", [now_us])
                .map_err(StoreError::catalog("end sessions"))
        })
        .await
    }
}

pub(super) fn end_sessions(tx: &Transaction<'_>, account: AccountId, keep: Option<[u8; 32]>) -> Result<usize, StoreError> {
    tx.execute(
        "DELETE FROM web_sessions WHERE account = ?1 AND (?2 IS NULL OR token_hash <> ?2)",
        params![account.0.as_bytes(), keep],
    )
    .map_err(StoreError::catalog("end sessions"))
}

/// A session with the address in clear that it was used from.
fn with_client(seals: &Seals, sealed: WebSession) -> Result<WebSession, StoreError> {
    Ok(WebSession {
        client: seals.open(&[SESSION_CLIENT, &sealed.token_hash], &sealed.client)?,
        ..sealed
    })
}

fn session(row: &Row<'_>, at: usize) -> rusqlite::Result<WebSession> {
    Ok(WebSession {
        token_hash: row.get(at)?,
        account: AccountId(Uuid::from_bytes(row.get(at + 1)?)),
        created_us: row.get(at + 2)?,
        expires_us: row.get(at + 3)?,
        used_us: row.get(at + 4)?,
        client: row.get(at + 5)?,
        browser: row.get(at + 6)?,
    })
}
