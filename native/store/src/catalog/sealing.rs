// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! All sealed columns at once: when a catalogue of an older form gets its key, and when the key is changed.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter, types::Value};
use uuid::Uuid;

use super::vault::{Key, Seals, Vault};
use crate::StoreError;

/// Places of sealed texts; what tells rows apart follows, as [`COLUMNS`] has it.
pub(super) const EMAIL: &[u8] = b"account email ";
pub(super) const NAME: &[u8] = b"account name ";
pub(super) const FACTOR: &[u8] = b"second factor ";
pub(super) const AUDIT: &[u8] = b"audit ";
pub(super) const TOKEN_EMAIL: &[u8] = b"link email ";
pub(super) const TOKEN_PAYLOAD: &[u8] = b"link payload ";
pub(super) const SESSION_CLIENT: &[u8] = b"session client ";
pub(super) const API_TOKEN_CLIENT: &[u8] = b"api token client ";
pub(super) const ACKNOWLEDGED_BY: &[u8] = b"alert acknowledged by ";
pub(super) const ACT_BY: &[u8] = b"alert act by ";
pub(super) const SILENCE_BY: &[u8] = b"alert silence by ";
pub(super) const TARGET: &[u8] = b"alert target ";
pub(super) const TARGET_FAILED: &[u8] = b"alert target failed ";
pub(super) const NOTICE: &[u8] = b"alert notice ";

/// A column whose texts are sealed.
struct Column {
    table: &'static str,
    /// Primary key, its columns separated by `, `.
    key: &'static str,
    /// SQL of what a text's place ends with.
    row: &'static str,
    name: &'static str,
    place: &'static [u8],
    /// A column with the keyed hash that rows are found by.
    found_by: Option<&'static str>,
}

/// All of them. Labels that people give to things (sites, receivers, tokens, fingerprints) are not sealed: events show and search them.
const COLUMNS: &[Column] = &[
    Column {
        found_by: Some("email_key"),
        ..column("accounts", "id", "id", "email", EMAIL)
    },
    column("accounts", "id", "id", "name", NAME),
    Column {
        found_by: Some("email_key"),
        ..column("account_tokens", "token_hash", "token_hash", "email", TOKEN_EMAIL)
    },
    column("account_tokens", "token_hash", "token_hash", "payload", TOKEN_PAYLOAD),
    column("second_factors", "account", "account", "secret", FACTOR),
    column("audit", "id", "hex(account) || ' ' || at_us || ' ' || what", "said", AUDIT),
    column("web_sessions", "token_hash", "token_hash", "client", SESSION_CLIENT),
    column("api_tokens", "id", "id", "client", API_TOKEN_CLIENT),
    column("alerts", "id", "id", "acknowledged_by", ACKNOWLEDGED_BY),
    column("alert_acts", "id", "alert || ' ' || at_us", "by", ACT_BY),
    column(
        "alert_silences",
        "site, rule, subject",
        "hex(site) || ' ' || rule || ' ' || subject",
        "by",
        SILENCE_BY,
    ),
    column("alert_targets", "site, id", "hex(site) || ' ' || hex(id)", "definition", TARGET),
    column("alert_targets", "site, id", "hex(site) || ' ' || hex(id)", "failed_why", TARGET_FAILED),
    column("alert_notices", "id", "delivery", "payload", NOTICE),
];

const fn column(table: &'static str, key: &'static str, row: &'static str, name: &'static str, place: &'static [u8]) -> Column {
    Column {
        table,
        key,
        row,
        name,
        place,
        found_by: None,
    }
}

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
    for column in COLUMNS {
        let Column { table, key, row, name, .. } = column;
        let keys = key.split(", ").count();
        let rows: Vec<(Vec<Value>, Vec<u8>, String)> = tx
            .prepare(&format!(
                "SELECT {key}, CAST({row} AS BLOB), {name} FROM {table} WHERE {name} IS NOT NULL"
            ))
            .and_then(|mut select| {
                select
                    .query_map([], |row| {
                        let key = (0..keys).map(|at| row.get(at)).collect::<Result<_, _>>()?;
                        Ok((key, row.get(keys)?, row.get(keys + 1)?))
                    })?
                    .collect()
            })
            .map_err(failed("list what is sealed"))?;
        let marks = vec!["?"; keys].join(", ");
        let mut update = tx
            .prepare(&format!("UPDATE {table} SET {name} = ? WHERE ({key}) = ({marks})"))
            .map_err(failed("seal"))?;
        let mut index = match column.found_by {
            Some(by) => Some(
                tx.prepare(&format!("UPDATE {table} SET {by} = ? WHERE ({key}) = ({marks})"))
                    .map_err(failed("seal"))?,
            ),
            None => None,
        };
        for (key, row, text) in rows {
            let place = [column.place, &row];
            let text = plain(&place, text)?;
            let with = |first: String| std::iter::once(Value::Text(first)).chain(key.iter().cloned());
            update
                .execute(params_from_iter(with(seals.seal(&place, &text)?)))
                .map_err(failed("seal a text"))?;
            if let Some(index) = &mut index {
                index
                    .execute(params_from_iter(with(seals.look_up(&text))))
                    .map_err(failed("keep what an address is found by"))?;
                // Links have addresses as accounts do, yet nobody is named by them in events.
                let id = match <[u8; 16]>::try_from(row.as_slice()) {
                    Ok(id) if *table == "accounts" => Uuid::from_bytes(id),
                    _ => continue,
                };
                accounts.insert(text, id);
            }
        }
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
