// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The list of the column store's files, and how far the commit log is contained in them.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use crate::{StoreError, ids::SiteId, table::TableKind};

/// A file of the column store, as the catalogue knows it.
#[derive(Clone, Debug)]
pub(crate) struct FileEntry {
    pub(crate) site: SiteId,
    pub(crate) kind: TableKind,
    pub(crate) day: i64,
    /// Name inside the folder of the site and table.
    pub(crate) name: String,
    pub(crate) rows: u64,
    /// Flows or readings of hosts in it; not known of files of an older store and of other tables.
    pub(crate) records: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
}

/// Returns the file's number.
pub(crate) fn add(tx: &Transaction<'_>, file: &FileEntry) -> Result<u64, StoreError> {
    tx.prepare_cached("INSERT INTO files (site, kind, day, name, rows, bytes, min_us, max_us, records) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .and_then(|mut insert| {
            insert.insert(params![
                file.site.0.as_bytes(),
                file.kind as u8,
                file.day,
                file.name,
                file.rows as i64,
                file.bytes as i64,
                file.min_us,
                file.max_us,
                file.records.map(|records| records as i64)
            ])
        })
        .map(|id| id as u64)
        .map_err(StoreError::catalog("add a file"))
}

pub(crate) fn remove(tx: &Transaction<'_>, id: u64) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM files WHERE id = ?")
        .and_then(|mut delete| delete.execute([id as i64]))
        .map_err(StoreError::catalog("remove a file"))?;
    Ok(())
}

/// All files with their numbers.
pub(crate) fn all(db: &Connection) -> Result<Vec<(u64, FileEntry)>, StoreError> {
    let files: Vec<Option<(u64, FileEntry)>> = db
        .prepare_cached("SELECT id, site, kind, day, name, rows, bytes, min_us, max_us, records FROM files")
        .and_then(|mut select| {
            select
                .query_map([], |row| {
                    let Some(kind) = TableKind::from_number(row.get(2)?) else {
                        return Ok(None);
                    };
                    let file = FileEntry {
                        site: SiteId(Uuid::from_bytes(row.get(1)?)),
                        kind,
                        day: row.get(3)?,
                        name: row.get(4)?,
                        rows: row.get::<_, i64>(5)? as u64,
                        records: row.get::<_, Option<i64>>(9)?.map(|records| records as u64),
                        bytes: row.get::<_, i64>(6)? as u64,
                        min_us: row.get(7)?,
                        max_us: row.get(8)?,
                    };
                    Ok(Some((row.get::<_, i64>(0)? as u64, file)))
                })?
                .collect()
        })
        .map_err(StoreError::catalog("list files"))?;
    Ok(files.into_iter().flatten().collect())
}

/// All rows of the table up to and with this record of the commit log are in files.
pub(crate) fn set_watermark(tx: &Transaction<'_>, site: SiteId, kind: TableKind, lsn: u64) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT INTO watermarks (site, kind, lsn) VALUES (?1, ?2, ?3) ON CONFLICT (site, kind) DO UPDATE SET lsn = max(lsn, ?3)")
        .and_then(|mut upsert| upsert.execute(params![site.0.as_bytes(), kind as u8, lsn as i64]))
        .map_err(StoreError::catalog("move a watermark"))?;
    Ok(())
}

pub(crate) fn watermarks(db: &Connection) -> Result<Vec<(SiteId, TableKind, u64)>, StoreError> {
    let marks: Vec<Option<(SiteId, TableKind, u64)>> = db
        .prepare_cached("SELECT site, kind, lsn FROM watermarks")
        .and_then(|mut select| {
            select
                .query_map([], |row| {
                    let site = SiteId(Uuid::from_bytes(row.get(0)?));
                    let lsn = row.get::<_, i64>(2)? as u64;
                    Ok(TableKind::from_number(row.get(1)?).map(|kind| (site, kind, lsn)))
                })?
                .collect()
        })
        .map_err(StoreError::catalog("read watermarks"))?;
    Ok(marks.into_iter().flatten().collect())
}

/// Forgets a site's files, watermarks and cursors of time series.
pub(crate) fn erase_site(tx: &Transaction<'_>, site: SiteId) -> Result<(), StoreError> {
    let failed = StoreError::catalog;
    tx.execute("DELETE FROM files WHERE site = ?", [site.0.as_bytes()])
        .map_err(failed("erase files"))?;
    tx.execute("DELETE FROM watermarks WHERE site = ?", [site.0.as_bytes()])
        .map_err(failed("erase watermarks"))?;
    tx.execute("DELETE FROM numbers WHERE name = ?", [ends_number(site)])
        .map_err(failed("erase numbers"))?;
    tx.execute("DELETE FROM stream_cursors WHERE site = ? AND kind IN (3, 4)", [site.0.as_bytes()])
        .map_err(failed("erase cursors"))?;
    Ok(())
}

/// A number that outlives the commit log, such as the next row id.
pub(crate) fn number(db: &Connection, name: &str) -> Result<u64, StoreError> {
    db.query_row("SELECT value FROM numbers WHERE name = ?", [name], |row| row.get::<_, i64>(0))
        .optional()
        .map(|value| value.unwrap_or(0) as u64)
        .map_err(StoreError::catalog("read a number"))
}

/// Name of the number above all that ends of a site's flows have.
pub(crate) fn ends_number(site: SiteId) -> String {
    format!("{ENDS_NUMBER}{site}")
}

const ENDS_NUMBER: &str = "ends ";

/// The numbers of [`ends_number`].
pub(crate) fn ends_numbers(db: &Connection) -> Result<Vec<(SiteId, u64)>, StoreError> {
    let numbers: Vec<(String, i64)> = db
        .prepare_cached("SELECT name, value FROM numbers")
        .and_then(|mut select| select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(StoreError::catalog("read numbers"))?;
    let of_site = |(name, value): (String, i64)| Some((name.strip_prefix(ENDS_NUMBER)?.parse().ok()?, value as u64));
    Ok(numbers.into_iter().filter_map(of_site).collect())
}

/// Raises a number; it never falls.
pub(crate) fn raise_number(tx: &Transaction<'_>, name: &str, value: u64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO numbers (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)",
        params![name, value as i64],
    )
    .map_err(StoreError::catalog("keep a number"))?;
    Ok(())
}
