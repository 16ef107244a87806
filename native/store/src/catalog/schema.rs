// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The tables, as numbered steps. A step that was released is never changed; a new one is added behind it.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior};

use super::{sealing, vault::Vault};
use crate::StoreError;

/// `user_version` of the database is the number of steps that it has seen.
const STEPS: &[&str] = &[
    // 1
    "CREATE TABLE accounts (
        id BLOB PRIMARY KEY,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL,
        name TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        deleted_us INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX accounts_email ON accounts (email_key) WHERE deleted_us IS NULL;

    CREATE TABLE web_sessions (
        token_hash BLOB PRIMARY KEY,
        account BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        created_us INTEGER NOT NULL,
        expires_us INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX web_sessions_account ON web_sessions (account);

    CREATE TABLE sites (
        id BLOB PRIMARY KEY,
        account BLOB NOT NULL REFERENCES accounts (id),
        name TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        deleted_us INTEGER,
        quota_bytes INTEGER NOT NULL,
        settings TEXT NOT NULL
    ) STRICT;
    CREATE INDEX sites_account ON sites (account);

    CREATE TABLE site_keys (
        fingerprint BLOB PRIMARY KEY,
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        label TEXT NOT NULL,
        added_us INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX site_keys_site ON site_keys (site);

    CREATE TABLE gateways (
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        id BLOB NOT NULL,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        first_seen_us INTEGER NOT NULL,
        connected_us INTEGER NOT NULL,
        disconnected_us INTEGER,
        report_us INTEGER,
        report TEXT,
        PRIMARY KEY (site, id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE stream_cursors (
        site BLOB NOT NULL,
        gateway BLOB NOT NULL,
        kind INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        touched INTEGER NOT NULL,
        PRIMARY KEY (site, gateway, kind, epoch)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE topology_nodes (
        id INTEGER PRIMARY KEY,
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        path TEXT NOT NULL,
        seen INTEGER NOT NULL,
        live INTEGER,
        UNIQUE (site, path)
    ) STRICT;
    CREATE TABLE topology_versions (
        id INTEGER PRIMARY KEY,
        site BLOB NOT NULL,
        node INTEGER NOT NULL REFERENCES topology_nodes (id) ON DELETE CASCADE,
        valid_from_us INTEGER NOT NULL,
        valid_to_us INTEGER,
        mzxid INTEGER NOT NULL,
        version INTEGER NOT NULL,
        ctime_ms INTEGER NOT NULL,
        mtime_ms INTEGER NOT NULL,
        ephemeral_owner INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        data BLOB NOT NULL
    ) STRICT;
    CREATE INDEX topology_versions_node ON topology_versions (node, valid_from_us);
    CREATE INDEX topology_versions_from ON topology_versions (site, valid_from_us);
    CREATE INDEX topology_versions_to ON topology_versions (site, valid_to_us);
    CREATE TABLE topology_snapshots (
        site BLOB PRIMARY KEY REFERENCES sites (id) ON DELETE CASCADE,
        generation INTEGER NOT NULL,
        running INTEGER NOT NULL,
        deleted INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Time series don't ask whether their site is still there, and neither do their counts and events: erasing a site removes them.
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site BLOB NOT NULL,
        at_us INTEGER NOT NULL,
        level INTEGER NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        fields TEXT NOT NULL,
        gateway BLOB,
        loss_kind INTEGER,
        loss_records INTEGER,
        loss_first_us INTEGER,
        loss_last_us INTEGER,
        loss_cause TEXT
    ) STRICT;
    CREATE INDEX events_time ON events (site, at_us, id);
    CREATE INDEX events_loss ON events (site, loss_last_us) WHERE loss_kind IS NOT NULL;

    CREATE TABLE hop_counts (
        site BLOB NOT NULL,
        hour_us INTEGER NOT NULL,
        gateway BLOB NOT NULL,
        kind INTEGER NOT NULL,
        hop INTEGER NOT NULL,
        records INTEGER NOT NULL,
        PRIMARY KEY (site, hour_us, gateway, kind, hop)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE files (
        id INTEGER PRIMARY KEY,
        site BLOB NOT NULL,
        kind INTEGER NOT NULL,
        day INTEGER NOT NULL,
        name TEXT NOT NULL UNIQUE,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        min_us INTEGER NOT NULL,
        max_us INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX files_site ON files (site, kind, max_us);
    CREATE TABLE watermarks (
        site BLOB NOT NULL,
        kind INTEGER NOT NULL,
        lsn INTEGER NOT NULL,
        PRIMARY KEY (site, kind)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE numbers (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;",
    // 2
    "CREATE TABLE site_notes (
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (site, kind, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE account_tokens (
        token_hash BLOB PRIMARY KEY,
        purpose TEXT NOT NULL,
        account BLOB REFERENCES accounts (id) ON DELETE CASCADE,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL,
        payload TEXT NOT NULL,
        expires_us INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX account_tokens_email ON account_tokens (purpose, email_key);
    CREATE INDEX account_tokens_end ON account_tokens (expires_us);",
    // 3
    "ALTER TABLE topology_snapshots ADD COLUMN source BLOB;
    ALTER TABLE topology_snapshots ADD COLUMN term INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE topology_snapshots ADD COLUMN last_us INTEGER NOT NULL DEFAULT 0;",
    // 4
    "CREATE TABLE alert_rules (
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        definition TEXT NOT NULL,
        changed_us INTEGER NOT NULL,
        PRIMARY KEY (site, id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE alerts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        rule TEXT NOT NULL,
        subject TEXT NOT NULL,
        level INTEGER NOT NULL,
        text TEXT NOT NULL,
        about TEXT NOT NULL,
        value REAL,
        threshold REAL,
        members INTEGER NOT NULL,
        since_us INTEGER NOT NULL,
        opened_us INTEGER NOT NULL,
        updated_us INTEGER NOT NULL,
        unknown_us INTEGER,
        unknown_why TEXT,
        resolved_us INTEGER,
        resolved_why TEXT,
        acknowledged_us INTEGER,
        acknowledged_by TEXT
    ) STRICT;
    CREATE UNIQUE INDEX alerts_open ON alerts (site, rule, subject) WHERE resolved_us IS NULL;
    CREATE INDEX alerts_time ON alerts (site, opened_us, id);

    CREATE TABLE alert_acts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
        at_us INTEGER NOT NULL,
        what TEXT NOT NULL,
        by TEXT,
        text TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alert_acts_alert ON alert_acts (alert, id);

    CREATE TABLE alert_silences (
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        rule TEXT NOT NULL,
        subject TEXT NOT NULL,
        until_us INTEGER NOT NULL,
        at_us INTEGER NOT NULL,
        by TEXT NOT NULL,
        PRIMARY KEY (site, rule, subject)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE alert_marks (
        site BLOB PRIMARY KEY REFERENCES sites (id) ON DELETE CASCADE,
        losses_to INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX events_loss_order ON events (site, id) WHERE loss_kind IS NOT NULL;",
    // 5: files of runs of meters too, which a version before would take for left-overs and remove
    "ALTER TABLE files ADD COLUMN records INTEGER;",
    // 6
    "CREATE TABLE alert_targets (
        site BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        id BLOB NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        definition TEXT NOT NULL,
        level INTEGER NOT NULL,
        created_us INTEGER NOT NULL,
        failed_us INTEGER,
        failed_why TEXT,
        delivered_us INTEGER,
        PRIMARY KEY (site, id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE alert_notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site BLOB NOT NULL,
        target BLOB NOT NULL,
        alert INTEGER,
        delivery BLOB NOT NULL,
        what TEXT NOT NULL,
        payload TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        next_us INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        FOREIGN KEY (site, target) REFERENCES alert_targets (site, id) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX alert_notices_due ON alert_notices (next_us, id);
    CREATE INDEX alert_notices_target ON alert_notices (site, target, alert);",
    // 7
    "ALTER TABLE web_sessions ADD COLUMN used_us INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE web_sessions ADD COLUMN client TEXT NOT NULL DEFAULT '';
    ALTER TABLE web_sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';
    UPDATE web_sessions SET used_us = created_us;",
    // 8
    "CREATE TABLE api_tokens (
        id BLOB PRIMARY KEY,
        account BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        token_hash BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        sites TEXT,
        created_us INTEGER NOT NULL,
        expires_us INTEGER,
        used_us INTEGER,
        client TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX api_tokens_account ON api_tokens (account);",
    // 9: from here on names and addresses are sealed, see `sealing`.
    "CREATE TABLE vault (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key BLOB NOT NULL,
        scrubbed INTEGER NOT NULL
    ) STRICT;",
    // 10
    "CREATE TABLE second_factors (
        account BLOB PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
        secret TEXT NOT NULL,
        since_us INTEGER,
        step INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE recovery_codes (
        account BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        code_hash BLOB NOT NULL,
        PRIMARY KEY (account, code_hash)
    ) STRICT, WITHOUT ROWID;",
    // 11: versions by how long they hold, see `SPANS` of the topology
    "ALTER TABLE topology_versions ADD COLUMN span INTEGER GENERATED ALWAYS AS (CASE
        WHEN valid_to_us IS NULL THEN 11
        WHEN valid_to_us - valid_from_us < 60000000 THEN 0
        WHEN valid_to_us - valid_from_us < 240000000 THEN 1
        WHEN valid_to_us - valid_from_us < 960000000 THEN 2
        WHEN valid_to_us - valid_from_us < 3840000000 THEN 3
        WHEN valid_to_us - valid_from_us < 15360000000 THEN 4
        WHEN valid_to_us - valid_from_us < 61440000000 THEN 5
        WHEN valid_to_us - valid_from_us < 245760000000 THEN 6
        WHEN valid_to_us - valid_from_us < 983040000000 THEN 7
        WHEN valid_to_us - valid_from_us < 3932160000000 THEN 8
        WHEN valid_to_us - valid_from_us < 15728640000000 THEN 9
        ELSE 10 END) VIRTUAL;
    CREATE INDEX topology_versions_span ON topology_versions (site, span, valid_from_us, valid_to_us, node);",
    // 12: files of flows without their ends, and of ends, which a version before would take for left-overs and remove
    "SELECT 1;",
    // 13: what the catalogue holds of each site, for its quota; 200 and 100 bytes stand for numbers, ids and entries of indexes
    "CREATE TABLE site_bytes (
        site BLOB PRIMARY KEY,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO site_bytes
        SELECT site, sum(bytes) FROM (
            SELECT site, length(data) + 200 AS bytes FROM topology_versions
            UNION ALL SELECT site, 2 * length(path) + 100 FROM topology_nodes
            UNION ALL SELECT site, length(text) + length(fields) + 200 FROM events
        ) WHERE true GROUP BY site;
    CREATE TRIGGER site_bytes_version AFTER INSERT ON topology_versions BEGIN
        INSERT INTO site_bytes VALUES (NEW.site, length(NEW.data) + 200)
            ON CONFLICT (site) DO UPDATE SET bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER site_bytes_no_version AFTER DELETE ON topology_versions BEGIN
        UPDATE site_bytes SET bytes = bytes - length(OLD.data) - 200 WHERE site = OLD.site;
    END;
    CREATE TRIGGER site_bytes_node AFTER INSERT ON topology_nodes BEGIN
        INSERT INTO site_bytes VALUES (NEW.site, 2 * length(NEW.path) + 100)
            ON CONFLICT (site) DO UPDATE SET bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER site_bytes_no_node AFTER DELETE ON topology_nodes BEGIN
        UPDATE site_bytes SET bytes = bytes - 2 * length(OLD.path) - 100 WHERE site = OLD.site;
    END;
    CREATE TRIGGER site_bytes_event AFTER INSERT ON events BEGIN
        INSERT INTO site_bytes VALUES (NEW.site, length(NEW.text) + length(NEW.fields) + 200)
            ON CONFLICT (site) DO UPDATE SET bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER site_bytes_no_event AFTER DELETE ON events BEGIN
        UPDATE site_bytes SET bytes = bytes - length(OLD.text) - length(OLD.fields) - 200 WHERE site = OLD.site;
    END;",
    // 14
    "CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        at_us INTEGER NOT NULL,
        what TEXT NOT NULL,
        done INTEGER NOT NULL,
        site BLOB,
        said TEXT NOT NULL
    ) STRICT;
    CREATE INDEX audit_account ON audit (account, id);
    CREATE INDEX audit_time ON audit (at_us);",
];

/// The first form in which names and addresses are sealed.
const SEALED_FROM: u32 = 9;

/// How long a copy of an older form, in which they are not, is kept for going back.
const OPEN_COPY_AGE: Duration = Duration::from_secs(14 * 86_400);

/// Removes copies of forms with names and addresses in clear once nobody will go back to them.
pub(super) fn remove_open_copies(path: &Path) {
    for form in 1..SEALED_FROM {
        let copy = PathBuf::from(format!("{}.v{form}", path.display()));
        let old = std::fs::metadata(&copy)
            .and_then(|copy| copy.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OPEN_COPY_AGE));
        if old && std::fs::remove_file(&copy).is_ok() {
            log::info!("removed {}: it had names and addresses in clear", copy.display());
        }
    }
}

/// Keeps a copy of a database that is about to be migrated beside it, `catalog.sqlite.v1` for one of version 1, in place of an earlier copy of
/// that version. The version before can be run on it again. No copy is made of a new database or one that needs no migration.
pub(super) fn back_up(connection: &Connection, path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(StoreError::catalog("read the version"))?;
    if found == 0 || found as usize >= STEPS.len() {
        return Ok(None);
    }
    let named = |end: String| PathBuf::from(format!("{}{end}", path.display()));
    // Several processes may try at once, each into a file of its own.
    let part = named(format!(".v{found}.{}.part", std::process::id()));
    let copy = named(format!(".v{found}"));
    let io = |source| StoreError::io(format!("keep a copy of {}", path.display()), source);
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    // It holds password hashes: made for its owner alone before there is anything in it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(io)?;
    connection
        .execute("VACUUM INTO ?1", [part.display().to_string()])
        .map_err(StoreError::catalog("keep a copy"))?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&part, &copy).map_err(io)?;
    Ok(Some(copy))
}

/// Brings the database to this version's form. Several processes may try at once.
pub(super) fn migrate(connection: &mut Connection, path: &str, vault: &Vault) -> Result<(), StoreError> {
    let failed = StoreError::catalog;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("begin the migration"))?;
    let found: u32 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed("read the version"))?;
    let known = STEPS.len() as u32;
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for step in &STEPS[found as usize..] {
        transaction.execute_batch(step).map_err(failed("migrate"))?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(failed("write the version"))?;
    sealing::seal_all(&transaction, vault)?;
    transaction.commit().map_err(failed("commit the migration"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_copy_of_the_old_form_is_kept_before_a_migration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalog.sqlite");
        let mut connection = Connection::open(&path).unwrap();
        assert_eq!(back_up(&connection, &path).unwrap(), None, "a new one");
        connection.execute_batch(STEPS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection.execute("INSERT INTO numbers VALUES ('kept', 7)", []).unwrap();

        // A copy that an earlier attempt left is of no use any more.
        std::fs::write(dir.path().join("catalog.sqlite.v1"), "half").unwrap();
        let copy = back_up(&connection, &path).unwrap().expect("an old one");
        let vault = Vault::open(&dir.path().join("profile.key")).unwrap();
        migrate(&mut connection, "catalog.sqlite", &vault).unwrap();
        assert_eq!(back_up(&connection, &path).unwrap(), None, "a migrated one");

        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        let old = Connection::open(copy).unwrap();
        assert_eq!(old.query_row("PRAGMA user_version", [], |row| row.get(0)), Ok(1));
        assert_eq!(
            old.query_row("SELECT value FROM numbers WHERE name = 'kept'", [], |row| row.get(0)),
            Ok(7)
        );
    }
}
