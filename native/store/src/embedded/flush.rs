// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From memory to files.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    commit::cause,
    open::{NEXT_LSN, NEXT_ROW},
    state::{SiteData, State},
};
use crate::{
    StoreError,
    catalog::{Hop, HopCount, add_count, files, streams},
    ids::{Period, StreamKind},
    parquet::{DataFile, write_flows, write_sorted},
    query::Engine,
    rollup::{roll_flows, roll_meters},
    table::{DAY_US, Fresh, MemBatch, Snapshot, TableKind, day_of},
};

/// Tables that are written before their files enter the catalogue together: bounds the rows that are in memory and in files at once.
const ROUND: usize = 64;

/// Pause after a round that failed, so that a full disk is not hammered.
const PAUSE: Duration = Duration::from_secs(5);

/// Longest time between two looks at the age of rows.
const LOOK: Duration = Duration::from_secs(1);

pub(super) fn start(state: Arc<State>, engine: Arc<Engine>) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name("store-flush".into())
        .spawn(move || {
            while !state.is_stopping() {
                state.wait(LOOK.min(state.options.flush_age / 4));
                if !kept_going("flush", || flush(&state, &engine, due(&state))) {
                    state.rest(PAUSE);
                }
            }
        })
        .map_err(|source| StoreError::io("start the flush thread", source))
}

/// Does a piece of background work. Its failure is logged, and a panic is a failure: were the thread to end, memory would fill up and the
/// store would take nothing more.
pub(super) fn kept_going(name: &str, work: impl FnOnce() -> Result<(), StoreError>) -> bool {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => log::error!("{error}: {}; trying again", cause(&error)),
        Err(_) => log::error!("a {name} of the store ended with a panic; trying again"),
    }
    false
}

/// Everything that is in memory now.
pub(super) fn flush_all(state: &State, engine: &Engine) -> Result<(), StoreError> {
    flush(state, engine, tables(state))
}

type TableOf = (Arc<SiteData>, TableKind);

fn tables(state: &State) -> Vec<TableOf> {
    state
        .sites()
        .into_iter()
        .flat_map(|site| TableKind::LOGGED.map(|kind| (Arc::clone(&site), kind)))
        .collect()
}

/// The tables that reached a bound; when all of memory is half full, the largest ones too.
fn due(state: &State) -> Vec<TableOf> {
    let options = &state.options;
    let now = Instant::now();
    let mut due = Vec::new();
    let mut others = Vec::new();
    let mut relieved = 0;
    for (site, kind) in tables(state) {
        let table = site.table(kind);
        let (rows, bytes, since) = table.waiting();
        let old = since.is_some_and(|since| now.duration_since(since) >= options.flush_age);
        let is_due = table.has_frozen() || old || rows >= options.flush_rows || bytes >= options.flush_bytes;
        drop(table);
        if is_due {
            relieved += bytes;
            due.push((site, kind));
        } else if rows > 0 {
            others.push((bytes, site, kind));
        }
    }
    let mut left = state.gauge.used().saturating_sub(relieved);
    others.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
    for (bytes, site, kind) in others {
        if left <= state.gauge.limit() / 2 {
            break;
        }
        left = left.saturating_sub(bytes);
        due.push((site, kind));
    }
    due
}

/// Goes on with the other tables when one can't be written, so that one site's trouble stays its own. Returns the first failure.
fn flush(state: &State, engine: &Engine, due: Vec<TableOf>) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    for round in due.chunks(ROUND) {
        let _one = state.flushing.lock();
        outcome = outcome.and(flush_round(state, engine, round));
    }
    outcome
}

struct Written {
    site: Arc<SiteData>,
    kind: TableKind,
    rows: Vec<Arc<MemBatch>>,
    files: Vec<files::FileEntry>,
    /// What goes with them: the ends of flows, and the same rows, summed.
    beside: Vec<(TableKind, Vec<files::FileEntry>)>,
    /// Ends that are known once the files are listed.
    fresh: Vec<(i64, Fresh)>,
}

impl Written {
    /// Every file with its table, of which it may be another kind.
    fn all(&self) -> impl Iterator<Item = (TableKind, &files::FileEntry)> {
        let beside = self.beside.iter().map(|(kind, files)| (*kind, files));
        let parts = std::iter::once((self.kind, &self.files)).chain(beside);
        parts.flat_map(|(kind, files)| files.iter().map(move |file| (kind, file)))
    }

    /// Removes what is in no list: the rows stay frozen and are written again.
    fn undo(&self) {
        for (_, file) in self.all() {
            let _ = std::fs::remove_file(self.site.table_dir(file.kind).join(&file.name));
        }
    }
}

/// Writes frozen rows and their roll-ups.
fn write(engine: &Engine, site: &Arc<SiteData>, kind: TableKind, rows: Vec<Arc<MemBatch>>) -> Result<Written, StoreError> {
    let batches: Vec<_> = rows.iter().map(|batch| &batch.rows).collect();
    let mut beside = Vec::new();
    let mut fresh = Vec::new();
    let files = if kind == TableKind::Flows {
        let (files, ends) = write_flows(&site.dir, site.id, &site.numbers, &batches)?;
        let (entries, new): (Vec<_>, Vec<_>) = ends.into_iter().map(|ends| (ends.entry, (ends.day, ends.fresh))).unzip();
        beside.push((TableKind::Ends, entries.into_iter().flatten().collect()));
        fresh = new;
        files
    } else {
        write_sorted(&site.table_dir(kind.at_rest()), site.id, kind, &batches)?
    };
    let mut written = Written {
        site: Arc::clone(site),
        kind,
        rows,
        files,
        beside,
        fresh,
    };
    match roll_up(engine, &mut written) {
        Ok(()) => Ok(written),
        Err(error) => {
            written.undo();
            Err(error)
        }
    }
}

fn roll_up(engine: &Engine, written: &mut Written) -> Result<(), StoreError> {
    let site = Arc::clone(&written.site);
    let rollups = match written.kind {
        TableKind::Flows => {
            let records = Snapshot {
                memory: written.rows.clone(),
                ..Snapshot::default()
            };
            // A path is noted once a day, at any time of it.
            let span = records.span();
            let days = Period::new(day_of(span.from_us) * DAY_US, (day_of(span.to_us) + 1) * DAY_US);
            let paths = site.table(TableKind::Paths).snapshot(days);
            roll_flows(engine, records, paths)?
        }
        TableKind::Meters => {
            let readings: Vec<_> = written.rows.iter().map(|batch| &batch.rows).collect();
            roll_meters(&readings)?
        }
        _ => return Ok(()),
    };
    for (kind, batches) in rollups {
        let batches: Vec<_> = batches.iter().collect();
        let files = write_sorted(&site.table_dir(kind), site.id, kind, &batches)?;
        written.beside.push((kind, files));
    }
    Ok(())
}

fn flush_round(state: &State, engine: &Engine, due: &[TableOf]) -> Result<(), StoreError> {
    let mut written = Vec::new();
    let mut outcome = Ok(());
    for (site, kind) in due {
        // It may have been removed since.
        if state.known_site(site.id).is_none_or(|known| !Arc::ptr_eq(&known, site)) {
            continue;
        }
        let rows = site.table(*kind).freeze();
        if rows.is_empty() {
            continue;
        }
        match write(engine, site, *kind, rows) {
            Ok(part) => written.push(part),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    // Asked before the cursors: a record that is applied in between stays in the log, whatever its cursor says here.
    let applied = state.applied_lsn.load(Ordering::Acquire);
    let cursors = state.cursors.lock().take_moved();
    if written.is_empty() && cursors.is_empty() {
        return outcome.and(release(state, applied));
    }
    let next_row = state.next_row.load(Ordering::Relaxed);
    let counting = state.counting.write();
    let ids = state.catalog.write_now(|tx| {
        let mut ids = Vec::new();
        for part in &written {
            ids.push(part.all().map(|(_, file)| files::add(tx, file)).collect::<Result<Vec<_>, _>>()?);
            let last = part.rows.iter().map(|batch| batch.last_lsn).max().unwrap_or(0);
            files::set_watermark(tx, part.site.id, part.kind, last)?;
            if !part.fresh.is_empty() {
                files::raise_number(tx, &files::ends_number(part.site.id), part.site.numbers.next())?;
            }
            for count in stored(part) {
                add_count(tx, part.site.id, &count)?;
            }
        }
        for (site, cursor) in &cursors {
            streams::advance(tx, *site, *cursor)?;
        }
        files::raise_number(tx, NEXT_LSN, applied)?;
        files::raise_number(tx, NEXT_ROW, next_row)?;
        Ok(ids)
    });
    let ids = match ids {
        Ok(ids) => ids,
        Err(error) => {
            state.cursors.lock().put_back(&cursors);
            written.iter().for_each(Written::undo);
            return Err(error);
        }
    };
    for (part, ids) in written.iter().zip(ids) {
        let mut files: BTreeMap<TableKind, Vec<Arc<DataFile>>> = BTreeMap::new();
        for (id, (kind, file)) in ids.into_iter().zip(part.all()) {
            let path = part.site.table_dir(file.kind).join(&file.name);
            files.entry(kind).or_default().push(Arc::new(DataFile::new(id, path, file)));
        }
        // Rows leave memory at the moment at which files and roll-ups have them.
        let mut tables = part.site.tables();
        tables[part.kind.place()].thaw(files.remove(&part.kind).unwrap_or_default());
        for (kind, files) in files {
            tables[kind.place()].add_files(files);
        }
    }
    drop(counting);
    for part in written {
        for (day, fresh) in part.fresh {
            part.site.numbers.keep(day, fresh, state.most_known());
        }
    }
    outcome.and(release(state, applied))
}

fn stored(part: &Written) -> Vec<HopCount> {
    let kind = match part.kind {
        TableKind::Flows => StreamKind::Flows,
        TableKind::Meters => StreamKind::Meters,
        _ => return Vec::new(),
    };
    let counts = part.rows.iter().flat_map(|batch| batch.counts.iter());
    counts
        .map(|((gateway, hour_us), records)| HopCount {
            gateway: *gateway,
            kind,
            hour_us: *hour_us,
            hop: Hop::Stored,
            records: *records,
        })
        .collect()
}

/// Gives the segments of the log back whose rows are all in files and whose cursors are in the catalogue.
fn release(state: &State, applied: u64) -> Result<(), StoreError> {
    let oldest = tables(state).into_iter().filter_map(|(site, kind)| site.table(kind).oldest_lsn()).min();
    state.log.lock().release(oldest.map_or(applied, |oldest| oldest.min(applied)))
}
