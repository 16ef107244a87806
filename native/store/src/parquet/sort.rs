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
    table::{Packer, TableKind, columns_of},
};

/// Writes rows of one site and table to files, one for each partition of time, each in the order of its kind ([`TableKind::at_rest`]).
pub(crate) fn write_sorted(dir: &Path, site: SiteId, kind: TableKind, batches: &[&RecordBatch]) -> Result<Vec<FileEntry>, StoreError> {
    // Where the global row n is.
    let mut places: Vec<(usize, usize)> = Vec::new();
    let mut days: Vec<i64> = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        places.extend((0..batch.num_rows()).map(|row| (index, row)));
        days.extend(row_days(kind, batch)?);
    }
    let failed = |source| StoreError::columns("sort rows", source);
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
    let mut by_day: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
    for index in sorted.values() {
        let index = *index as usize;
        by_day.entry(days[index]).or_default().push(places[index]);
    }
    let mut files: Vec<FileEntry> = Vec::new();
    for (day, rows) in by_day {
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

fn write_day(
    dir: &Path,
    site: SiteId,
    kind: TableKind,
    day: i64,
    batches: &[&RecordBatch],
    rows: &[(usize, usize)],
) -> Result<FileEntry, StoreError> {
    let mut writer = FileWriter::create(dir, site, kind.at_rest(), day, Effort::Flush)?;
    let mut packer = (kind == TableKind::Meters).then(|| Packer::new(true));
    for chunk in rows.chunks(CHUNK_ROWS) {
        let rows = interleave_record_batch(batches, chunk).map_err(|source| StoreError::columns("sort rows", source))?;
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
