// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is done to files later: merging small ones, and retention.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use datafusion::{arrow::array::RecordBatch, logical_expr::ident};
use futures::TryStreamExt;

use super::{
    flush::kept_going,
    state::{SiteData, State},
};
use crate::{
    StoreError,
    catalog::{Hop, HopCount, Level, NewEvent, add_count, add_event, files},
    ids::{Grain, SiteId, StreamKind},
    parquet::{DataFile, Effort, FileWriter, write_ends},
    query::{Engine, SiteTable},
    rollup::{Combiner, Cutter},
    series::Purged,
    table::{DAY_US, Interner, Numbers, Packer, Snapshot, TableKind},
};

/// Files that are merged at once: each is open while it lasts.
const MERGE_FILES: usize = 32;

/// Files of like size that a day may have before they are merged.
const LIKE_FILES: usize = 8;

/// Small files that a day may keep when it is over.
const DAY_FILES: usize = 4;

/// Files of like size differ by less than this factor; so each row is written a few times at most.
const TIER: u64 = 8;

pub(super) fn start(state: Arc<State>, engine: Arc<Engine>) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name("store-upkeep".into())
        .spawn(move || {
            while !state.is_stopping() {
                state.rest(state.options.upkeep_every);
                if !state.is_stopping() {
                    kept_going("purge", || hold_to_quotas(&state));
                }
                if !state.is_stopping() {
                    kept_going("removal of old roll-ups", || expire(&state, now_us()));
                }
                if !state.is_stopping() {
                    kept_going("merge", || merge_small(&state, &engine));
                }
            }
        })
        .map_err(|source| StoreError::io("start the upkeep thread", source))
}

/// Goes on with the other sites when one fails.
fn hold_to_quotas(state: &State) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    for (site, quota) in state.catalog.quotas_now()? {
        outcome = outcome.and(purge(state, site, quota).map(drop));
    }
    outcome
}

/// Removes the oldest files of a site until it is at or below `bytes`.
pub(super) fn purge(state: &State, id: SiteId, bytes: u64) -> Result<Purged, StoreError> {
    let _one = state.keeping.lock();
    // Flows that are being written name ends of their day, which must not go meanwhile.
    let _no_flush = state.flushing.lock();
    let mut purged = Purged::default();
    let Some(site) = state.known_site(id) else { return Ok(purged) };
    let mut used = state.usage(id)?.total();
    let mut oldest: Vec<(TableKind, Arc<DataFile>)> = Vec::new();
    for kind in [TableKind::Flows, TableKind::Meters] {
        oldest.extend(site.table(kind).files().iter().map(|file| (kind, Arc::clone(file))));
    }
    oldest.sort_by_key(|(_, file)| (file.max_us, file.id));
    // Whole partitions of roll-ups, so that what is left of a level is complete; minutes before hours, since they are the largest.
    let mut partitions: BTreeMap<(Grain, i64, TableKind), Vec<Arc<DataFile>>> = BTreeMap::new();
    for kind in TableKind::ROLLUPS {
        for file in site.table(kind).files() {
            partitions.entry((kind.level(), file.day, kind)).or_default().push(Arc::clone(file));
        }
    }
    let mut partitions: VecDeque<(TableKind, Vec<Arc<DataFile>>)> = partitions.into_iter().map(|((.., kind), files)| (kind, files)).collect();
    let size = |files: &[Arc<DataFile>]| files.iter().map(|file| file.bytes).sum::<u64>();
    let mut rolled: u64 = partitions.iter().map(|(_, files)| size(files)).sum();
    let most_rolled = (u128::from(bytes) * u128::from(state.options.retention.rollup_percent) / 100) as u64;
    let mut gone: Vec<(TableKind, Arc<DataFile>)> = Vec::new();
    // Where flows are few, their roll-ups are larger than they are, and must not take their place.
    while used > bytes
        && rolled > most_rolled
        && let Some((kind, files)) = partitions.pop_front()
    {
        used = used.saturating_sub(size(&files));
        rolled = rolled.saturating_sub(size(&files));
        gone.extend(files.into_iter().map(|file| (kind, file)));
    }
    for (kind, file) in oldest {
        if used <= bytes {
            break;
        }
        used = used.saturating_sub(file.bytes);
        purged.until_us = purged.until_us.max(Some(file.max_us));
        gone.push((kind, file));
        if kind == TableKind::Flows {
            for kind in OF_FLOWS {
                for unused in unused(&site, kind, &gone) {
                    used = used.saturating_sub(unused.bytes);
                    gone.push((kind, unused));
                }
            }
        }
    }
    for (kind, files) in partitions {
        if used <= bytes {
            break;
        }
        used = used.saturating_sub(size(&files));
        gone.extend(files.into_iter().map(|file| (kind, file)));
    }
    if gone.is_empty() {
        return Ok(purged);
    }
    purged.files = gone.len() as u64;
    let is_record = |kind: &TableKind| matches!(kind, TableKind::Flows | TableKind::Meters);
    let records = |file: &DataFile| file.records.unwrap_or(file.rows);
    purged.rows = gone.iter().filter(|(kind, _)| is_record(kind)).map(|(_, file)| records(file)).sum();
    purged.bytes = gone.iter().map(|(_, file)| file.bytes).sum();
    let counting = state.counting.write();
    state.catalog.write_now(|tx| {
        for (kind, file) in &gone {
            files::remove(tx, file.id)?;
            let kind = match kind {
                TableKind::Flows => StreamKind::Flows,
                TableKind::Meters => StreamKind::Meters,
                _ => continue,
            };
            // A file holds rows of all gateways and of a whole day.
            let hour_us = file.day * DAY_US;
            let count = HopCount {
                gateway: uuid::Uuid::nil(),
                kind,
                hour_us,
                hop: Hop::Purged,
                records: records(file),
            };
            add_count(tx, id, &count)?;
        }
        add_event(tx, id, &purge_event(purged, bytes))
    })?;
    let mut tables = site.tables();
    for kind in TableKind::ALL {
        let of_kind: Vec<_> = gone.iter().filter(|(of, _)| *of == kind).map(|(_, file)| Arc::clone(file)).collect();
        tables[kind.place()].replace(&of_kind, Vec::new());
    }
    drop(tables);
    drop(counting);
    site.known.lock().clear();
    site.numbers.forget();
    gone.iter().for_each(|(_, file)| file.give_up());
    Ok(purged)
}

/// Removes the partitions of roll-ups that are wholly older than they are kept.
pub(super) fn expire(state: &State, now_us: i64) -> Result<(), StoreError> {
    let keep = &state.options.retention;
    for site in state.sites() {
        let _one = state.keeping.lock();
        let mut old: Vec<(TableKind, Arc<DataFile>)> = Vec::new();
        for (kind, kept) in [
            (TableKind::FlowMinutes, keep.flow_minutes),
            (TableKind::FlowHours, keep.flow_hours),
            (TableKind::MeterHours, keep.meter_hours),
            (TableKind::MeterDays, keep.meter_days),
        ] {
            let oldest_us = now_us.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
            let is_old = |file: &&Arc<DataFile>| (file.day + kind.partition_days()).saturating_mul(DAY_US) <= oldest_us;
            old.extend(site.table(kind).files().iter().filter(is_old).map(|file| (kind, Arc::clone(file))));
        }
        if old.is_empty() {
            continue;
        }
        state
            .catalog
            .write_now(|tx| old.iter().try_for_each(|(_, file)| files::remove(tx, file.id)))?;
        let mut tables = site.tables();
        for (kind, file) in &old {
            tables[kind.place()].replace(std::slice::from_ref(file), Vec::new());
        }
        drop(tables);
        old.iter().for_each(|(_, file)| file.give_up());
    }
    Ok(())
}

pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// What flows of the same day name.
const OF_FLOWS: [TableKind; 2] = [TableKind::Paths, TableKind::Ends];

/// Files of paths or ends of days that have no flows left, in files or in memory, when `gone` are gone.
fn unused(site: &SiteData, kind: TableKind, gone: &[(TableKind, Arc<DataFile>)]) -> Vec<Arc<DataFile>> {
    let is_gone = |file: &DataFile| gone.iter().any(|(_, gone)| gone.id == file.id);
    let flows = site.table(TableKind::Flows);
    let mut days: BTreeSet<i64> = flows.files().iter().filter(|file| !is_gone(file)).map(|file| file.day).collect();
    for batch in flows.memory() {
        days.extend(batch.min_us.div_euclid(DAY_US)..=batch.max_us.div_euclid(DAY_US));
    }
    drop(flows);
    // Only days up to the newest purged one: flows of a later day may just be on their way.
    let newest = gone.iter().filter(|(kind, _)| *kind == TableKind::Flows).map(|(_, file)| file.day).max();
    let table = site.table(kind);
    let unused = |file: &&Arc<DataFile>| !is_gone(file) && Some(file.day) <= newest && !days.contains(&file.day);
    table.files().iter().filter(unused).cloned().collect()
}

pub(crate) fn purge_event(purged: Purged, quota: u64) -> NewEvent {
    NewEvent {
        at_us: now_us(),
        level: Level::Info,
        kind: "retention.purged".into(),
        text: format!(
            "removed the oldest {} records in {} files ({} bytes) to keep the site within its quota",
            purged.rows, purged.files, purged.bytes
        ),
        fields: serde_json::json!({
            "rows": purged.rows, "files": purged.files, "bytes": purged.bytes, "until_us": purged.until_us, "quota_bytes": quota,
        })
        .to_string(),
        gateway: None,
        loss: None,
    }
}

/// Removes all time series of a site.
pub(super) fn remove_site(state: &State, id: SiteId) -> Result<(), StoreError> {
    let _no_upkeep = state.keeping.lock();
    let _no_flush = state.flushing.lock();
    let Some(site) = state.known_site(id) else { return Ok(()) };
    state.forget_site(id);
    state.cursors.lock().forget_site(id);
    let applied = state.applied_lsn.load(std::sync::atomic::Ordering::Acquire);
    state.catalog.write_now(|tx| {
        files::erase_site(tx, id)?;
        // What the log still holds of it is not taken up again.
        TableKind::LOGGED
            .into_iter()
            .try_for_each(|kind| files::set_watermark(tx, id, kind, applied.saturating_sub(1)))
    })?;
    for kind in TableKind::ALL {
        site.table(kind).files().iter().for_each(|file| file.give_up());
    }
    match std::fs::remove_dir_all(&site.dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::io(format!("remove {}", site.dir.display()), source)),
    }
}

/// Goes on with the other tables when one fails.
fn merge_small(state: &State, engine: &Engine) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    for site in state.sites() {
        for kind in TableKind::ALL {
            while let Some(files) = to_merge(&site, kind, state.options.merge_rows) {
                if state.is_stopping() {
                    return outcome;
                }
                let merged = merge(state, engine, &site, kind, files);
                let failed = merged.is_err();
                outcome = outcome.and(merged);
                if failed {
                    break;
                }
            }
        }
    }
    outcome
}

/// Files of one day, small and of like size, when there are enough of them.
fn to_merge(site: &SiteData, kind: TableKind, small: u64) -> Option<Vec<Arc<DataFile>>> {
    let mut tiers: BTreeMap<(i64, u32), Vec<Arc<DataFile>>> = BTreeMap::new();
    let table = site.table(kind);
    // Files of a form that is not written any more, each brought to today's by itself, its newest rows first.
    if let Some(old) = table.files().iter().find(|file| file.kind != kind.at_rest()) {
        return Some(vec![Arc::clone(old)]);
    }
    let newest = table.files().iter().map(|file| file.day).max()?;
    for file in table.files().iter().filter(|file| file.rows < small) {
        // A day that another one has followed gets few rows any more, so size matters no longer.
        let tier = if file.day < newest { u32::MAX } else { file.rows.max(1).ilog(TIER) };
        tiers.entry((file.day, tier)).or_default().push(Arc::clone(file));
    }
    drop(table);
    let enough = |(_, tier): &(i64, u32)| if *tier == u32::MAX { DAY_FILES } else { LIKE_FILES };
    let (_, mut files) = tiers.into_iter().find(|(key, files)| files.len() >= enough(key))?;
    files.sort_by_key(|file| file.rows);
    files.truncate(MERGE_FILES);
    Some(files)
}

/// Puts the rows of roll-ups and the runs of meters together on their way to a file, and takes the ends out of flows; other rows go through.
struct Sums<'a> {
    combiner: Option<Combiner>,
    cutter: Option<Cutter>,
    packer: Option<Packer>,
    interner: Option<Interner<'a>>,
}

impl<'a> Sums<'a> {
    /// For files of this kind.
    fn new(kind: TableKind, numbers: &'a Numbers, day: i64) -> Result<Self, StoreError> {
        let is_rollup = TableKind::ROLLUPS.contains(&kind);
        let of_flows = matches!(kind, TableKind::FlowMinutes | TableKind::FlowHours);
        Ok(Self {
            combiner: is_rollup.then(|| Combiner::new(kind)).transpose()?,
            cutter: of_flows.then(|| Cutter::new(kind)),
            packer: match kind {
                TableKind::Meters => Some(Packer::new(false)),
                TableKind::MeterRuns => Some(Packer::new(true)),
                _ => None,
            },
            interner: (kind == TableKind::Flows).then(|| Interner::new(numbers, day)).transpose()?,
        })
    }

    fn push(&mut self, rows: &RecordBatch, writer: &mut FileWriter) -> Result<(), StoreError> {
        if let Some(packer) = &mut self.packer {
            return writer.push_all(packer.push(rows)?);
        }
        if let Some(interner) = &mut self.interner {
            return writer.push(&interner.push(rows)?);
        }
        let Some(combiner) = &mut self.combiner else { return writer.push(rows) };
        match combiner.push(rows)? {
            Some(rows) => self.cut(rows, writer),
            None => Ok(()),
        }
    }

    fn cut(&mut self, rows: RecordBatch, writer: &mut FileWriter) -> Result<(), StoreError> {
        match &mut self.cutter {
            Some(cutter) => writer.push(&cutter.push(&rows)?),
            None => writer.push(&rows),
        }
    }

    /// Returns the ends that are new.
    fn finish(mut self, writer: &mut FileWriter) -> Result<Option<Interner<'a>>, StoreError> {
        if let Some(packer) = &mut self.packer {
            writer.push_all(packer.finish()?)?;
            writer.set_records(packer.records());
        }
        if let Some(last) = self.combiner.take().and_then(Combiner::finish) {
            self.cut(last, writer)?;
        }
        if let Some(cutter) = self.cutter {
            writer.push(&cutter.finish()?)?;
        }
        Ok(self.interner)
    }
}

fn merge(state: &State, engine: &Engine, site: &Arc<SiteData>, kind: TableKind, old: Vec<Arc<DataFile>>) -> Result<(), StoreError> {
    let _one = state.keeping.lock();
    let listed = |file: &Arc<DataFile>| site.table(kind).files().iter().any(|listed| listed.id == file.id);
    let known = state.known_site(site.id).is_some_and(|known| Arc::ptr_eq(&known, site));
    let first = old.first().map(|file| (file.day, file.kind));
    let Some((day, from)) = first.filter(|_| known && old.iter().all(listed)) else {
        return Ok(());
    };
    let to = kind.at_rest();
    let mut writer = FileWriter::create(&site.table_dir(to), site.id, to, day, Effort::Merge)?;
    let snapshot = Snapshot {
        files: old.clone(),
        ..Snapshot::default()
    };
    let mut interner = None;
    let whole = engine.run_now(async |run| {
        let order = from
            .order()
            .iter()
            .map(|(name, descending)| ident(*name).sort(!descending, false))
            .collect();
        let failed = |source| StoreError::columns("merge files", source);
        let frame = run.table(SiteTable::ordered(from, snapshot))?.sort(order).map_err(failed)?;
        let mut batches = run.stream(frame).await?;
        let mut sums = Sums::new(from, &site.numbers, day)?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            if state.is_stopping() {
                return Ok(false);
            }
            sums.push(&batch, &mut writer)?;
        }
        interner = sums.finish(&mut writer)?;
        Ok(true)
    })?;
    if !whole {
        return Ok(());
    }
    let expected = match kind {
        TableKind::Flows => Some(old.iter().map(|file| file.rows).sum()),
        TableKind::Meters => old.iter().map(|file| file.records).sum::<Option<u64>>(),
        _ => None,
    };
    if let (Some(expected), Some(records)) = (expected, writer.records())
        && records != expected
    {
        return Err(StoreError::Damaged {
            path: site.table_dir(from).display().to_string(),
            detail: format!("{records} records came out of files that the catalogue says have {expected}"),
        });
    }
    let entry = writer.finish()?;
    let path_of = |entry: &files::FileEntry| site.table_dir(entry.kind).join(&entry.name);
    let undo = |entries: &mut dyn Iterator<Item = &files::FileEntry>| {
        entries.for_each(|entry| drop(std::fs::remove_file(path_of(entry))));
    };
    let ends = interner.map(|interner| write_ends(&site.dir, site.id, day, interner, Effort::Merge));
    let ends = ends.transpose().inspect_err(|_| undo(&mut std::iter::once(&entry)))?;
    let beside = ends.as_ref().and_then(|ends| ends.entry.as_ref());
    let ids = state.catalog.write_now(|tx| {
        old.iter().try_for_each(|file| files::remove(tx, file.id))?;
        let beside = beside.map(|ends| files::add(tx, ends)).transpose()?;
        if beside.is_some() {
            files::raise_number(tx, &files::ends_number(site.id), site.numbers.next())?;
        }
        Ok((files::add(tx, &entry)?, beside))
    });
    let (id, beside_id) = ids.inspect_err(|_| undo(&mut std::iter::once(&entry).chain(beside)))?;
    let listed = |id: u64, entry: &files::FileEntry| vec![Arc::new(DataFile::new(id, path_of(entry), entry))];
    let mut tables = site.tables();
    tables[kind.place()].replace(&old, listed(id, &entry));
    if let (Some(id), Some(ends)) = (beside_id, beside) {
        tables[TableKind::Ends.place()].add_files(listed(id, ends));
    }
    drop(tables);
    if let Some(ends) = ends {
        site.numbers.keep(ends.day, ends.fresh, state.most_known());
    }
    old.iter().for_each(|file| file.give_up());
    Ok(())
}
