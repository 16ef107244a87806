// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{HashMap, HashSet},
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::arrow::datatypes::UInt64Type;

use super::{
    commit::mem_batch,
    state::{Cursors, SiteData, State, new_site},
    upkeep::now_us,
};
use crate::{
    StoreError,
    catalog::{Catalog, Level, NewEvent, add_event, files, streams},
    ids::{SiteId, StreamKind},
    log::{Damage, LogRecord, LogWriter, create_dir, recover},
    parquet::DataFile,
    store::StoreOptions,
    table::{Gauge, TableKind, columns_of},
};

/// Names of the numbers that outlive the commit log.
pub(super) const NEXT_LSN: &str = "next_lsn";
pub(super) const NEXT_ROW: &str = "next_row";
/// Above all damaged records of the log that were told.
const NEXT_DAMAGE: &str = "next_damage";

/// Reads what the folder holds: the files that the catalogue lists, and the log behind them.
pub(super) fn open(options: &StoreOptions, catalog: Catalog) -> Result<State, StoreError> {
    let lock = lock(&options.dir)?;
    let (listed, marks, cursors, lsn_floor, row_floor, ends) = catalog.read_now(|db| {
        let cursors = streams::all(db, &[StreamKind::Flows, StreamKind::Meters])?;
        Ok((
            files::all(db)?,
            files::watermarks(db)?,
            cursors,
            files::number(db, NEXT_LSN)?,
            files::number(db, NEXT_ROW)?,
            files::ends_numbers(db)?,
        ))
    })?;
    let mut sites = list_files(options, listed)?;
    for (site, next) in ends {
        let site = sites.entry(site).or_insert_with(|| Arc::new(new_site(options, site)));
        site.numbers.raise(next);
    }
    let marks: HashMap<(SiteId, TableKind), u64> = marks.into_iter().map(|(site, kind, lsn)| ((site, kind), lsn)).collect();
    let mut replay = Replay {
        options,
        sites: &mut sites,
        marks,
        cursors: Cursors::default(),
        gauge: Gauge::new(options.memory_bytes),
        // Zero stands for "no record" in watermarks.
        next_row: row_floor.max(1),
        records: 0,
    };
    for (site, cursor) in cursors {
        replay.cursors.advance(site, cursor);
    }
    let dir = options.dir.join("log");
    let recovered = recover(&dir, lsn_floor.max(1), |record| replay.take(record))?;
    let Replay {
        cursors,
        gauge,
        next_row,
        records,
        ..
    } = replay;
    if recovered.torn_bytes > 0 {
        log::warn!(
            "the commit log ended in {} bytes of a write that was not finished; nothing acknowledged was in them unless the disk changed it",
            recovered.torn_bytes
        );
    }
    tell_damage(&catalog, &recovered.damage, &sites)?;
    if records > 0 {
        log::info!("took {records} batches up from the commit log");
    }
    let log = LogWriter::open(dir, options.segment_bytes, recovered.next_lsn, recovered.segments)?;
    Ok(State::new(
        options.clone(),
        catalog,
        gauge,
        cursors,
        log,
        recovered.next_lsn,
        next_row,
        lock,
        sites,
    ))
}

/// Says once of what the disk has damaged that it is lost: in the log, and to the site where it is known.
fn tell_damage(catalog: &Catalog, damage: &[Damage], sites: &HashMap<SiteId, Arc<SiteData>>) -> Result<(), StoreError> {
    for Damage { path, bytes, lsns, site } in damage {
        log::error!(
            "{} is damaged from byte {} to {}: {} batches that were stored are lost; look after the disk",
            path.display(),
            bytes.start,
            bytes.end,
            lsns.end - lsns.start
        );
        // A number that is damaged, too, names no site that there is.
        let site = site.filter(|site| sites.contains_key(site));
        catalog.write_now(|tx| {
            if lsns.end <= files::number(tx, NEXT_DAMAGE)? {
                return Ok(());
            }
            files::raise_number(tx, NEXT_DAMAGE, lsns.end)?;
            match site {
                Some(site) => add_event(tx, site, &damage_event()),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

fn damage_event() -> NewEvent {
    NewEvent {
        at_us: now_us(),
        level: Level::Error,
        kind: "store.damaged".into(),
        text: "a batch of records that was stored was damaged on the service's disk and is lost".into(),
        fields: "{}".into(),
        gateway: None,
        loss: None,
    }
}

/// Takes a folder for this process alone.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let failed = |source| StoreError::io(format!("lock {}", path.display()), source);
    create_dir(dir)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: dir.display().to_string(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Sites with their listed files. What is on the disk and not listed is left from a crash, and removed.
fn list_files(options: &StoreOptions, listed: Vec<(u64, files::FileEntry)>) -> Result<HashMap<SiteId, Arc<SiteData>>, StoreError> {
    let mut sites: HashMap<SiteId, Arc<SiteData>> = HashMap::new();
    let mut keep: HashSet<PathBuf> = HashSet::new();
    let mut by_table: HashMap<(SiteId, TableKind), Vec<Arc<DataFile>>> = HashMap::new();
    for (id, entry) in listed {
        let site = sites.entry(entry.site).or_insert_with(|| Arc::new(new_site(options, entry.site)));
        let path = site.table_dir(entry.kind).join(&entry.name);
        match std::fs::metadata(&path) {
            Ok(found) if found.len() == entry.bytes => {
                keep.insert(path.clone());
                by_table
                    .entry((entry.site, entry.kind.table()))
                    .or_default()
                    .push(Arc::new(DataFile::new(id, path, &entry)));
            }
            Ok(found) => {
                keep.insert(path.clone());
                log::error!(
                    "{} has {} bytes, the catalogue says {}: its {} rows are left out",
                    path.display(),
                    found.len(),
                    entry.bytes,
                    entry.rows
                );
            }
            Err(error) => log::error!(
                "{} is in the catalogue and can't be read ({error}): its {} rows are lost",
                path.display(),
                entry.rows
            ),
        }
    }
    for ((site, kind), files) in by_table {
        if let Some(site) = sites.get(&site) {
            site.table(kind).add_files(files);
        }
    }
    remove_unlisted(&options.dir.join("sites"), &keep)?;
    Ok(sites)
}

fn remove_unlisted(dir: &Path, keep: &HashSet<PathBuf>) -> Result<(), StoreError> {
    let failed = |source| StoreError::io(format!("clean {}", dir.display()), source);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            remove_unlisted(&path, keep)?;
        } else if !keep.contains(&path) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(())
}

struct Replay<'a> {
    options: &'a StoreOptions,
    sites: &'a mut HashMap<SiteId, Arc<SiteData>>,
    marks: HashMap<(SiteId, TableKind), u64>,
    cursors: Cursors,
    gauge: Arc<Gauge>,
    next_row: u64,
    records: u64,
}

impl Replay<'_> {
    /// Takes the rows that are not in files.
    fn take(&mut self, record: LogRecord) -> Result<(), StoreError> {
        let LogRecord { lsn, site, cursor, tables } = record;
        for table in tables {
            if table.kind == TableKind::Flows
                && let Some(last) = columns_of(&table.rows).numbers::<UInt64Type>("row")?.values().last()
            {
                self.next_row = self.next_row.max(last + 1);
            }
            if self.marks.get(&(site, table.kind)).is_some_and(|mark| lsn <= *mark) {
                continue;
            }
            let data = self.sites.entry(site).or_insert_with(|| Arc::new(new_site(self.options, site)));
            let reserved = self.gauge.reserve(table.rows.get_array_memory_size());
            let kind = table.kind;
            let batch = mem_batch(lsn, cursor, table, reserved)?;
            data.table(kind).push(Arc::new(batch));
        }
        self.cursors.advance(site, cursor);
        self.records += 1;
        Ok(())
    }
}
