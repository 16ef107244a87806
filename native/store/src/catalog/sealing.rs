// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! All sealed columns at once: when a catalogue of an older form gets its key, and when the key is changed.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::vault::{Key, Seals, Vault};
use crate::StoreError;

/// Places of sealed texts; the id of the row follows.
pub(super) const EMAIL: &[u8] = b"account email ";
pub(super) const NAME: &[u8] = b"account name ";
pub(super) const TOKEN_EMAIL: &[u8] = b"link email ";
pub(super) const TOKEN_PAYLOAD: &[u8] = b"link payload ";

/// Seals a catalogue that has names and addresses in clear, with the first key of the file. One that is sealed stays as it is.
pub(super) fn seal_all(tx: &Transaction<'_>, vault: &Vault) -> Result<(), StoreError> {
    let sealed = tx
        .query_row("SELECT 1 FROM vault", [], |_| Ok(()))
        .optional()
        .map_err(StoreError::catalog("read which key is in use"))?;
    if sealed.is_some() {
        return Ok(());
    }
    let seals = vault.with(vault.first()?);
    let accounts = rewrite(tx, &seals, |_, text| Ok(text))?;
    name_by_id(tx, &accounts)?;
    tx.execute(
        "INSERT INTO vault (one, key, scrubbed) VALUES (1, ?, ?)",
        params![seals.id(), accounts.is_empty()],
    )
    .map_err(StoreError::catalog("keep which key is in use"))?;
    Ok(())
}

/// Seals everything with another key.
pub(super) fn seal_anew(tx: &Transaction<'_>, vault: &Vault, key: &Arc<Key>) -> Result<(), StoreError> {
    let old = vault.seals(tx)?;
    let new = vault.with(key.clone());
    rewrite(tx, &new, |place, text| old.open(place, &text))?;
    tx.execute("UPDATE vault SET key = ?, scrubbed = 0", [new.id()])
        .map_err(StoreError::catalog("keep which key is in use"))?;
    Ok(())
}

/// Writes the file anew once after everything was sealed: pages that were freed have the rows as they were before. What can't be done now,
/// since somebody reads, is done at the next start.
pub(super) fn scrub(connection: &Connection) -> Result<(), StoreError> {
    let failed = StoreError::catalog;
    let done: bool = connection
        .query_row("SELECT scrubbed FROM vault", [], |row| row.get(0))
        .map_err(failed("read whether old rows are gone"))?;
    if done {
        return Ok(());
    }
    connection.execute_batch("VACUUM").map_err(failed("write the file anew"))?;
    let busy: bool = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(failed("empty the log"))?;
    if busy {
        log::warn!("rows as they were before they were sealed are still in the catalogue's log; they go at the next start");
        return Ok(());
    }
    connection
        .execute("UPDATE vault SET scrubbed = 1", [])
        .map_err(failed("keep that old rows are gone"))?;
    Ok(())
}

/// Seals every row with `seals`, from what `plain` makes of a place and what stands there. Gives the accounts by their address.
fn rewrite(
    tx: &Transaction<'_>,
    seals: &Seals,
    plain: impl Fn(&[&[u8]], String) -> Result<String, StoreError>,
) -> Result<HashMap<String, Uuid>, StoreError> {
    let failed = StoreError::catalog;
    let mut accounts = HashMap::new();
    let rows: Vec<([u8; 16], String, String)> = tx
        .prepare("SELECT id, email, name FROM accounts")
        .and_then(|mut select| select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .map_err(failed("list accounts"))?;
    for (id, email, name) in rows {
        let email = plain(&[EMAIL, &id], email)?;
        let name = plain(&[NAME, &id], name)?;
        tx.execute(
            "UPDATE accounts SET email = ?2, email_key = ?3, name = ?4 WHERE id = ?1",
            params![
                id,
                seals.seal(&[EMAIL, &id], &email)?,
                seals.look_up(&email),
                seals.seal(&[NAME, &id], &name)?
            ],
        )
        .map_err(failed("seal an account"))?;
        accounts.insert(email, Uuid::from_bytes(id));
    }
    let rows: Vec<([u8; 32], String, String)> = tx
        .prepare("SELECT token_hash, email, payload FROM account_tokens")
        .and_then(|mut select| select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .map_err(failed("list links"))?;
    for (hash, email, payload) in rows {
        let email = plain(&[TOKEN_EMAIL, &hash], email)?;
        let payload = plain(&[TOKEN_PAYLOAD, &hash], payload)?;
        tx.execute(
            "UPDATE account_tokens SET email = ?2, email_key = ?3, payload = ?4 WHERE token_hash = ?1",
            params![
                hash,
                seals.seal(&[TOKEN_EMAIL, &hash], &email)?,
                seals.look_up(&email),
                seals.seal(&[TOKEN_PAYLOAD, &hash], &payload)?
            ],
        )
        .map_err(failed("seal a link"))?;
        // Their rows hold addresses as those of accounts do, yet nobody is named by them in events.
        accounts.entry(email).or_insert(Uuid::nil());
    }
    Ok(accounts)
}

/// Events had the address of who did it.
fn name_by_id(tx: &Transaction<'_>, accounts: &HashMap<String, Uuid>) -> Result<(), StoreError> {
    let failed = StoreError::catalog;
    let rows: Vec<(i64, String)> = tx
        .prepare("SELECT id, fields FROM events WHERE kind LIKE 'account.%'")
        .and_then(|mut select| select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(failed("list what people did"))?;
    for (id, fields) in rows {
        let Ok(mut fields) = serde_json::from_str::<serde_json::Value>(&fields) else {
            continue;
        };
        let by = fields.get("by").and_then(serde_json::Value::as_str).and_then(|email| accounts.get(email));
        fields["by"] = by.map(|id| id.to_string()).into();
        tx.execute("UPDATE events SET fields = ?2 WHERE id = ?1", params![id, fields.to_string()])
            .map_err(failed("name who did it"))?;
    }
    Ok(())
}
