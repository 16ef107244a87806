// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::BTreeMap, path::Path};

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch},
    compute::{SortColumn, SortOptions, concat, interleave_record_batch, lexsort_to_indices},
    datatypes::TimestampMicrosecondType,
};

use super::writer::{CHUNK_ROWS, Effort, FileWriter};
use crate::{
    StoreError,
    catalog::files::FileEntry,
    ids::SiteId,
    table::{Fresh, Interner, Numbers, Packer, TableKind, columns_of},
};

/// Places of rows, as batch and row in it, in order.
type Rows = Vec<(usize, usize)>;

/// Writes rows of one site and table to files, one for each partition of time, each in the order of its kind ([`TableKind::at_rest`]).
/// Flows keep all of their columns; [`write_flows`] takes their ends out.
pub(crate) fn write_sorted(dir: &Path, site: SiteId, kind: TableKind, batches: &[&RecordBatch]) -> Result<Vec<FileEntry>, StoreError> {
    let mut files: Vec<FileEntry> = Vec::new();
    for (day, rows) in by_day(kind, batches)? {
        match write_day(dir, site, kind, day, batches, &rows) {
            Ok(file) => files.push(file),
            Err(error) => {
                // The others are written again with the next try.
                for file in &files {
                    let _ = std::fs::remove_file(dir.join(&file.name));
                }
                return Err(error);
            }
        }
    }
    Ok(files)
}

/// A file of ends that were new, and what they are to be known by once it is in the catalogue.
pub(crate) struct EndsFile {
    pub(crate) entry: Option<FileEntry>,
    pub(crate) day: i64,
    pub(crate) fresh: Fresh,
}

/// Writes flows in the form that they have at rest to files, one for each day, below the folder of their site, and their ends beside them.
pub(crate) fn write_flows(
    dir: &Path,
    site: SiteId,
    numbers: &Numbers,
    batches: &[&RecordBatch],
) -> Result<(Vec<FileEntry>, Vec<EndsFile>), StoreError> {
    let mut files: Vec<FileEntry> = Vec::new();
    let mut ends: Vec<EndsFile> = Vec::new();
    for (day, rows) in by_day(TableKind::Flows, batches)? {
        match write_flow_day(dir, site, numbers, day, batches, &rows) {
            Ok((file, new)) => {
                files.push(file);
                ends.push(new);
            }
            Err(error) => {
                for file in files.iter().chain(ends.iter().filter_map(|ends| ends.entry.as_ref())) {
                    let _ = std::fs::remove_file(dir.join(file.kind.name()).join(&file.name));
                }
                return Err(error);
            }
        }
    }
    Ok((files, ends))
}

/// Writes the ends that an interner found below the folder of their site.
pub(crate) fn write_ends(dir: &Path, site: SiteId, day: i64, interner: Interner<'_>, effort: Effort) -> Result<EndsFile, StoreError> {
    let (rows, fresh) = interner.finish()?;
    let entry = match rows {
        Some(rows) => {
            let mut writer = FileWriter::create(&dir.join(TableKind::Ends.name()), site, TableKind::Ends, day, effort)?;
            writer.push(&rows)?;
            Some(writer.finish()?)
        }
        None => None,
    };
    Ok(EndsFile { entry, day, fresh })
}

fn write_flow_day(
    dir: &Path,
    site: SiteId,
    numbers: &Numbers,
    day: i64,
    batches: &[&RecordBatch],
    rows: &[(usize, usize)],
) -> Result<(FileEntry, EndsFile), StoreError> {
    let kind = TableKind::Flows.at_rest();
    let mut writer = FileWriter::create(&dir.join(kind.name()), site, kind, day, Effort::Flush)?;
    let mut interner = Interner::new(numbers, day)?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        let rows = interleave_record_batch(batches, chunk).map_err(failed)?;
        writer.push(&interner.push(&rows)?)?;
    }
    let ends = write_ends(dir, site, day, interner, Effort::Flush)?;
    match writer.finish() {
        Ok(file) => Ok((file, ends)),
        Err(error) => {
            if let Some(entry) = &ends.entry {
                let _ = std::fs::remove_file(dir.join(entry.kind.name()).join(&entry.name));
            }
            Err(error)
        }
    }
}

/// The rows of each partition of time, in the order of their file.
fn by_day(kind: TableKind, batches: &[&RecordBatch]) -> Result<BTreeMap<i64, Rows>, StoreError> {
    // Where the global row n is.
    let mut places: Rows = Vec::new();
    let mut days: Vec<i64> = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        places.extend((0..batch.num_rows()).map(|row| (index, row)));
        days.extend(row_days(kind, batch)?);
    }
    let keys = kind
        .at_rest()
        .order()
        .iter()
        .map(|(name, descending)| {
            let parts: Vec<&dyn datafusion::arrow::array::Array> =
                batches.iter().map(|batch| columns_of(batch).get(name)).collect::<Result<_, _>>()?;
            let values: ArrayRef = concat(&parts).map_err(failed)?;
            Ok(SortColumn {
                values,
                options: Some(SortOptions {
                    descending: *descending,
                    nulls_first: false,
                }),
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let sorted = lexsort_to_indices(&keys, None).map_err(failed)?;
    drop(keys);
    let mut by_day: BTreeMap<i64, Rows> = BTreeMap::new();
    for index in sorted.values() {
        let index = *index as usize;
        by_day.entry(days[index]).or_default().push(places[index]);
    }
    Ok(by_day)
}

fn write_day(
    dir: &Path,
    site: SiteId,
    kind: TableKind,
    day: i64,
    batches: &[&RecordBatch],
    rows: &[(usize, usize)],
) -> Result<FileEntry, StoreError> {
    let is_packed = kind == TableKind::Meters;
    let mut writer = FileWriter::create(dir, site, if is_packed { kind.at_rest() } else { kind }, day, Effort::Flush)?;
    let mut packer = is_packed.then(|| Packer::new(true));
    for chunk in rows.chunks(CHUNK_ROWS) {
        let rows = interleave_record_batch(batches, chunk).map_err(failed)?;
        match &mut packer {
            Some(packer) => writer.push_all(packer.push(&rows)?)?,
            None => writer.push(&rows)?,
        }
    }
    if let Some(mut packer) = packer {
        writer.push_all(packer.finish()?)?;
        writer.set_records(packer.records());
    }
    writer.finish()
}

/// First day of the partition of each row, which chooses its file. A meter reading belongs to the day in which it ends.
fn row_days(kind: TableKind, batch: &RecordBatch) -> Result<impl Iterator<Item = i64>, StoreError> {
    let (name, shift) = match kind {
        TableKind::Meters => ("to", 1),
        _ => ("time", 0),
    };
    let times = columns_of(batch).numbers::<TimestampMicrosecondType>(name)?.values().clone();
    Ok((0..times.len()).map(move |at| kind.partition_of(times[at] - shift)))
}

fn failed(source: datafusion::arrow::error::ArrowError) -> StoreError {
    StoreError::columns("sort rows", source)
}
