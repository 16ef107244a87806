// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{OptionalExtension, params};

use super::{
    AccountToken, Catalog, TokenPurpose,
    sealing::{TOKEN_EMAIL, TOKEN_PAYLOAD},
};
use crate::{StoreError, ids::AccountId};

impl Catalog {
    /// Keeps a token; an older one for the same purpose and address is forgotten, so that the last mail is the one that counts. When
    /// `most` are kept, those that end first go.
    pub async fn create_token(&self, token: AccountToken, most: usize) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let failed = StoreError::catalog;
            let seals = vault.seals(tx)?;
            tx.execute(
                "DELETE FROM account_tokens WHERE purpose = ? AND email_key = ?",
                params![token.purpose.name(), seals.look_up(&token.email)],
            )
            .map_err(failed("forget an older token"))?;
            tx.execute(
                "DELETE FROM account_tokens WHERE token_hash IN
                   (SELECT token_hash FROM account_tokens ORDER BY expires_us DESC LIMIT -1 OFFSET ?)",
                [most.saturating_sub(1) as i64],
            )
            .map_err(failed("bound the tokens"))?;
            tx.execute(
                "INSERT INTO account_tokens (token_hash, purpose, account, email, email_key, payload, expires_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![
                    token.token_hash,
                    token.purpose.name(),
                    token.account.map(|id| id.0.into_bytes()),
                    seals.seal(&[TOKEN_EMAIL, &token.token_hash], &token.email)?,
                    seals.look_up(&token.email),
                    seals.seal(&[TOKEN_PAYLOAD, &token.token_hash], &token.payload)?,
                    token.expires_us
                ],
            )
            .map_err(failed("keep a token"))?;
            Ok(())
        })
        .await
    }

    /// The token, unless it is over or for something else. It stays.
    pub async fn token(&self, token_hash: [u8; 32], purpose: TokenPurpose, now_us: i64) -> Result<Option<AccountToken>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let found = db
                .prepare_cached(
                    "SELECT account, email, payload, expires_us FROM account_tokens WHERE token_hash = ? AND purpose = ? AND expires_us > ?",
                )
                .and_then(|mut select| {
                    select
                        .query_row(params![token_hash, purpose.name(), now_us], |row| {
                            let account: Option<[u8; 16]> = row.get(0)?;
                            Ok(AccountToken {
                                token_hash,
                                purpose,
                                account: account.map(|id| AccountId(uuid::Uuid::from_bytes(id))),
                                email: row.get(1)?,
                                payload: row.get(2)?,
                                expires_us: row.get(3)?,
                            })
                        })
                        .optional()
                })
                .map_err(StoreError::catalog("read a token"))?;
            let Some(sealed) = found else { return Ok(None) };
            let seals = vault.seals(db)?;
            Ok(Some(AccountToken {
                email: seals.open(&[TOKEN_EMAIL, &token_hash], &sealed.email)?,
                payload: seals.open(&[TOKEN_PAYLOAD, &token_hash], &sealed.payload)?,
                ..sealed
            }))
        })
        .await
    }

    /// Uses a token up. False when somebody else was faster, or it is not there.
    pub async fn delete_token(&self, token_hash: [u8; 32]) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM account_tokens WHERE token_hash = ?", [token_hash])
                .map(|deleted| deleted > 0)
                .map_err(StoreError::catalog("use a token up"))
        })
        .await
    }

    /// Forgets the tokens of an account: what was mailed before a password or an address changed must not change it again.
    pub async fn delete_tokens_of(&self, account: AccountId) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM account_tokens WHERE account = ?", [account.0.as_bytes()])
                .map_err(StoreError::catalog("forget tokens"))?;
            Ok(())
        })
        .await
    }

    /// Forgets the tokens that are over.
    pub async fn delete_expired_tokens(&self, now_us: i64) -> Result<usize, StoreError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM account_tokens WHERE expires_us <= ?", [now_us])
                .map_err(StoreError::catalog("forget tokens"))
        })
        .await
    }
}
