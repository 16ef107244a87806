// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Catalog, SecondFactor, sealing::FACTOR};
use crate::{StoreError, ids::AccountId};

impl Catalog {
    /// The second factor of an account, also one that is being set up.
    pub async fn second_factor(&self, account: AccountId) -> Result<Option<SecondFactor>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let id = account.0.as_bytes();
            let found: Option<(String, Option<i64>, i64)> = db
                .prepare_cached(
                    "SELECT secret, since_us, (SELECT count(*) FROM recovery_codes r WHERE r.account = f.account) FROM second_factors f WHERE account = ?",
                )
                .and_then(|mut select| select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional())
                .map_err(StoreError::catalog("read a second factor"))?;
            let Some((secret, since_us, codes)) = found else {
                return Ok(None);
            };
            Ok(Some(SecondFactor {
                secret: vault.seals(db)?.open(&[FACTOR, id], &secret)?,
                since_us,
                recovery_codes: codes as usize,
            }))
        })
        .await
    }

    /// Begins to set one up, in place of one that was begun before. Fails with [`StoreError::Taken`] when there is one in use.
    pub async fn begin_second_factor(&self, account: AccountId, secret: String) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let id = account.0.as_bytes();
            let sealed = vault.seals(tx)?.seal(&[FACTOR, id], &secret)?;
            let begun = tx
                .execute(
                    "INSERT INTO second_factors (account, secret, since_us, step) VALUES (?1, ?2, NULL, 0)
                     ON CONFLICT (account) DO UPDATE SET secret = ?2 WHERE since_us IS NULL",
                    params![id, sealed],
                )
                .map_err(StoreError::catalog("begin a second factor"))?;
            if begun == 0 { Err(StoreError::Taken("second factor")) } else { Ok(()) }
        })
        .await
    }

    /// Puts it in use, with its first code used up. False when there is none to be put in use.
    pub async fn confirm_second_factor(&self, account: AccountId, step: i64, at_us: i64, codes: Vec<[u8; 32]>) -> Result<bool, StoreError> {
        self.write(move |tx| {
            let confirmed = tx
                .execute(
                    "UPDATE second_factors SET since_us = ?2, step = ?3 WHERE account = ?1 AND since_us IS NULL",
                    params![account.0.as_bytes(), at_us, step],
                )
                .map_err(StoreError::catalog("put a second factor in use"))?;
            if confirmed > 0 {
                keep_codes(tx, account, &codes)?;
            }
            Ok(confirmed > 0)
        })
        .await
    }

    /// Uses a code up: its step and all before it. False when that was done already.
    pub async fn use_code(&self, account: AccountId, step: i64) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE second_factors SET step = ?2 WHERE account = ?1 AND since_us IS NOT NULL AND step < ?2",
                params![account.0.as_bytes(), step],
            )
            .map(|used| used > 0)
            .map_err(StoreError::catalog("use a code up"))
        })
        .await
    }

    /// Uses a recovery code up. False when there is none such.
    pub async fn use_recovery_code(&self, account: AccountId, hash: [u8; 32]) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM recovery_codes WHERE account = ? AND code_hash = ?",
                params![account.0.as_bytes(), hash],
            )
            .map(|used| used > 0)
            .map_err(StoreError::catalog("use a recovery code up"))
        })
        .await
    }

    /// New recovery codes in place of those that are left.
    pub async fn set_recovery_codes(&self, account: AccountId, codes: Vec<[u8; 32]>) -> Result<(), StoreError> {
        self.write(move |tx| keep_codes(tx, account, &codes)).await
    }

    /// Gives up what was begun and is not in use. False when there was nothing.
    pub async fn give_up_second_factor(&self, account: AccountId) -> Result<bool, StoreError> {
        self.write(move |tx| {
            tx.execute(
                "DELETE FROM second_factors WHERE account = ? AND since_us IS NULL",
                [account.0.as_bytes()],
            )
            .map(|deleted| deleted > 0)
            .map_err(StoreError::catalog("give a second factor up"))
        })
        .await
    }

    /// False when there was none.
    pub async fn delete_second_factor(&self, account: AccountId) -> Result<bool, StoreError> {
        self.write(move |tx| forget_factor(tx, account)).await
    }
}

pub(super) fn forget_factor(tx: &Transaction<'_>, account: AccountId) -> Result<bool, StoreError> {
    keep_codes(tx, account, &[])?;
    tx.execute("DELETE FROM second_factors WHERE account = ?", [account.0.as_bytes()])
        .map(|deleted| deleted > 0)
        .map_err(StoreError::catalog("forget a second factor"))
}

fn keep_codes(tx: &Transaction<'_>, account: AccountId, codes: &[[u8; 32]]) -> Result<(), StoreError> {
    let failed = StoreError::catalog;
    tx.execute("DELETE FROM recovery_codes WHERE account = ?", [account.0.as_bytes()])
        .map_err(failed("forget recovery codes"))?;
    for code in codes {
        tx.execute(
            "INSERT INTO recovery_codes (account, code_hash) VALUES (?, ?)",
            params![account.0.as_bytes(), code],
        )
        .map_err(failed("keep recovery codes"))?;
    }
    Ok(())
}
