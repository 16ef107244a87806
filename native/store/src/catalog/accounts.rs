// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{ErrorCode, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    Account, Catalog,
    factors::forget_factor,
    sealing::{EMAIL, NAME},
    sessions::end_sessions,
    vault::Seals,
};
use crate::{StoreError, ids::AccountId};

impl Catalog {
    /// Fails with [`StoreError::Taken`] when the e-mail address has an account.
    pub async fn create_account(&self, account: Account) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let seals = vault.seals(tx)?;
            let id = account.id.0.as_bytes();
            let email = seals.seal(&[EMAIL, id], &account.email)?;
            let name = seals.seal(&[NAME, id], &account.name)?;
            tx.prepare_cached("INSERT INTO accounts (id, email, email_key, name, password_hash, created_us) VALUES (?, ?, ?, ?, ?, ?)")
                .and_then(|mut insert| {
                    insert.execute(params![
                        id,
                        email,
                        seals.look_up(&account.email),
                        name,
                        account.password_hash,
                        account.created_us
                    ])
                })
                .map_err(taken("e-mail address", "create an account"))?;
            Ok(())
        })
        .await
    }

    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let found = db
                .prepare_cached("SELECT id, email, name, password_hash, created_us FROM accounts WHERE id = ? AND deleted_us IS NULL")
                .and_then(|mut select| select.query_row([id.0.as_bytes()], account).optional())
                .map_err(StoreError::catalog("read an account"))?;
            found.map(|account| opened(&vault.seals(db)?, account)).transpose()
        })
        .await
    }

    pub async fn account_by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
        let (vault, email) = (self.vault(), email.to_owned());
        self.read(move |db| {
            let seals = vault.seals(db)?;
            let found = db
                .prepare_cached("SELECT id, email, name, password_hash, created_us FROM accounts WHERE email_key = ? AND deleted_us IS NULL")
                .and_then(|mut select| select.query_row([seals.look_up(&email)], account).optional())
                .map_err(StoreError::catalog("read an account"))?;
            found.map(|account| opened(&seals, account)).transpose()
        })
        .await
    }

    /// By e-mail address.
    pub async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let vault = self.vault();
        self.read(move |db| {
            let seals = vault.seals(db)?;
            let sealed: Vec<_> = db
                .prepare_cached("SELECT id, email, name, password_hash, created_us FROM accounts WHERE deleted_us IS NULL")
                .and_then(|mut select| select.query_map([], account)?.collect())
                .map_err(StoreError::catalog("list accounts"))?;
            let mut accounts = sealed.into_iter().map(|account| opened(&seals, account)).collect::<Result<Vec<_>, _>>()?;
            accounts.sort_by_cached_key(|account| account.email.to_lowercase());
            Ok(accounts)
        })
        .await
    }

    pub async fn rename_account(&self, id: AccountId, name: String) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let name = vault.seals(tx)?.seal(&[NAME, id.0.as_bytes()], &name)?;
            let changed = tx
                .execute(
                    "UPDATE accounts SET name = ?2 WHERE id = ?1 AND deleted_us IS NULL",
                    params![id.0.as_bytes(), name],
                )
                .map_err(StoreError::catalog("rename an account"))?;
            if changed == 0 { Err(StoreError::Missing("account")) } else { Ok(()) }
        })
        .await
    }

    /// Fails with [`StoreError::Taken`] when another account has the address.
    pub async fn set_email(&self, id: AccountId, email: String) -> Result<(), StoreError> {
        let vault = self.vault();
        self.write(move |tx| {
            let seals = vault.seals(tx)?;
            let sealed = seals.seal(&[EMAIL, id.0.as_bytes()], &email)?;
            let changed = tx
                .execute(
                    "UPDATE accounts SET email = ?2, email_key = ?3 WHERE id = ?1 AND deleted_us IS NULL",
                    params![id.0.as_bytes(), sealed, seals.look_up(&email)],
                )
                .map_err(taken("e-mail address", "change an e-mail address"))?;
            if changed == 0 { Err(StoreError::Missing("account")) } else { Ok(()) }
        })
        .await
    }

    /// Also ends the account's sessions, but for one perhaps: who knew the old password is out.
    pub async fn set_password_hash(&self, id: AccountId, hash: String, keep: Option<[u8; 32]>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let changed = tx
                .execute(
                    "UPDATE accounts SET password_hash = ?2 WHERE id = ?1 AND deleted_us IS NULL",
                    params![id.0.as_bytes(), hash],
                )
                .map_err(StoreError::catalog("set a password"))?;
            if changed == 0 {
                return Err(StoreError::Missing("account"));
            }
            end_sessions(tx, id, keep)?;
            Ok(())
        })
        .await
    }

    /// Marks the account and its sites as deleted and ends its sessions; their data is removed later.
    pub async fn delete_account(&self, id: AccountId, at_us: i64) -> Result<(), StoreError> {
        self.write(move |tx| {
            let failed = StoreError::catalog;
            let changed = tx
                .execute(
                    "UPDATE accounts SET deleted_us = ?2 WHERE id = ?1 AND deleted_us IS NULL",
                    params![id.0.as_bytes(), at_us],
                )
                .map_err(failed("delete an account"))?;
            if changed == 0 {
                return Err(StoreError::Missing("account"));
            }
            end_sessions(tx, id, None)?;
            tx.execute("DELETE FROM account_tokens WHERE account = ?", [id.0.as_bytes()])
                .map_err(failed("forget tokens"))?;
            tx.execute("DELETE FROM api_tokens WHERE account = ?", [id.0.as_bytes()])
                .map_err(failed("revoke tokens"))?;
            forget_factor(tx, id)?;
            tx.execute("DELETE FROM audit WHERE account = ?", [id.0.as_bytes()])
                .map_err(failed("forget what was done to an account"))?;
            tx.execute(
                "DELETE FROM site_keys WHERE site IN (SELECT id FROM sites WHERE account = ?)",
                [id.0.as_bytes()],
            )
            .map_err(failed("delete fingerprints"))?;
            tx.execute(
                "UPDATE sites SET deleted_us = ?2 WHERE account = ?1 AND deleted_us IS NULL",
                params![id.0.as_bytes(), at_us],
            )
            .map_err(failed("delete sites"))?;
            Ok(())
        })
        .await
    }
}

/// As it is in the catalogue: sealed.
pub(super) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(Uuid::from_bytes(row.get(0)?)),
        email: row.get(1)?,
        name: row.get(2)?,
        password_hash: row.get(3)?,
        created_us: row.get(4)?,
    })
}

/// An account with its name and address in clear.
pub(super) fn opened(seals: &Seals, sealed: Account) -> Result<Account, StoreError> {
    let id = sealed.id.0.as_bytes();
    Ok(Account {
        email: seals.open(&[EMAIL, id], &sealed.email)?,
        name: seals.open(&[NAME, id], &sealed.name)?,
        ..sealed
    })
}

/// Turns the breach of a unique index into [`StoreError::Taken`].
pub(super) fn taken(what: &'static str, operation: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Taken(what),
        _ => StoreError::Catalog { operation, source: error },
    }
}
