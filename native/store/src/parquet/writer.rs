// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use datafusion::{
    arrow::{
        array::{Array, BooleanArray, RecordBatch},
        compute::filter_record_batch,
        datatypes::TimestampMicrosecondType,
    },
    parquet::{
        arrow::ArrowWriter,
        basic::{Compression, Encoding, ZstdLevel},
        file::{
            metadata::SortingColumn,
            properties::{EnabledStatistics, WriterProperties, WriterVersion},
        },
        schema::types::ColumnPath,
    },
};
use uuid::Uuid;

use crate::{
    StoreError,
    catalog::files::FileEntry,
    ids::SiteId,
    log::{create_dir, sync_dir},
    table::{DAY_US, TableKind, columns_of},
};

/// Rows of a row group: what a question that needs one row reads the index of. Measured on flows, with the page size below.
const ROW_GROUP_ROWS: usize = 131_072;

/// Rows of a page: what a question that needs one row decodes.
const PAGE_ROWS: usize = 8_192;

/// Rows that are handed on at once.
pub(super) const CHUNK_ROWS: usize = 16_384;

/// Most bytes of a column's dictionary in a row group. With 131,072 rows this is what distinct actions need; beyond it the column goes on
/// without one.
const DICTIONARY_BYTES: usize = 8 << 20;

/// How hard the writer tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effort {
    /// Knee of size against time on flow columns.
    Flush,
    /// Rows that are merged stay for long, and nobody waits for them.
    Merge,
}

impl Effort {
    /// Level of zstd.
    fn level(self) -> i32 {
        match self {
            Effort::Flush => 3,
            Effort::Merge => 9,
        }
    }
}

/// Share of addresses that a Bloom filter wrongly lets pass.
const BLOOM_FALSE: f64 = 0.01;

/// Writes one file. Rows come in the table's order. The file has its name when [`FileWriter::finish`] returns, and is durable then.
pub(crate) struct FileWriter {
    dir: PathBuf,
    temporary: PathBuf,
    writer: Option<ArrowWriter<File>>,
    entry: FileEntry,
    last_path: Option<[u8; 16]>,
}

impl FileWriter {
    pub(crate) fn create(dir: &Path, site: SiteId, kind: TableKind, day: i64, effort: Effort) -> Result<Self, StoreError> {
        create_dir(dir)?;
        let name = format!("{day}-{}.parquet", Uuid::new_v4().simple());
        let temporary = dir.join(format!("{name}.tmp"));
        let file = File::create(&temporary).map_err(|source| StoreError::io(format!("create {}", temporary.display()), source))?;
        let writer = ArrowWriter::try_new(file, kind.schema(), Some(properties(kind, effort)?)).map_err(failed)?;
        let entry = FileEntry {
            site,
            kind,
            day,
            name,
            rows: 0,
            records: None,
            bytes: 0,
            min_us: i64::MAX,
            max_us: i64::MIN,
        };
        Ok(Self {
            dir: dir.to_owned(),
            temporary,
            writer: Some(writer),
            entry,
            last_path: None,
        })
    }

    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), StoreError> {
        let rows = if self.entry.kind == TableKind::Paths {
            self.without_repeated_paths(rows)?
        } else {
            rows.clone()
        };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (min_us, max_us) = match self.entry.kind {
            // Ends have no time: all flows of the day may name them.
            TableKind::Ends => (self.entry.day * DAY_US, (self.entry.day + 1) * DAY_US - 1),
            kind => span(kind, &rows)?,
        };
        self.entry.min_us = self.entry.min_us.min(min_us);
        self.entry.max_us = self.entry.max_us.max(max_us);
        self.entry.rows += rows.num_rows() as u64;
        match &mut self.writer {
            Some(writer) => writer.write(&rows).map_err(failed),
            None => Err(StoreError::Shut),
        }
    }

    pub(crate) fn push_all(&mut self, batches: impl IntoIterator<Item = RecordBatch>) -> Result<(), StoreError> {
        batches.into_iter().try_for_each(|rows| self.push(&rows))
    }

    /// Records that the rows stand for, where they are not the rows.
    pub(crate) fn set_records(&mut self, records: u64) {
        self.entry.records = Some(records);
    }

    /// Records so far, of a table whose rows are records.
    pub(crate) fn records(&self) -> Option<u64> {
        if self.entry.kind.table() == TableKind::Flows {
            Some(self.entry.rows)
        } else {
            self.entry.records
        }
    }

    pub(crate) fn finish(mut self) -> Result<FileEntry, StoreError> {
        let Some(writer) = self.writer.take() else {
            return Err(StoreError::Shut);
        };
        let file = writer.into_inner().map_err(failed)?;
        let io = |source| StoreError::io(format!("finish {}", self.temporary.display()), source);
        file.sync_all().map_err(io)?;
        self.entry.bytes = file.metadata().map_err(io)?.len();
        self.entry.records = self.records();
        std::fs::rename(&self.temporary, self.dir.join(&self.entry.name)).map_err(io)?;
        sync_dir(&self.dir)?;
        Ok(self.entry.clone())
    }

    /// The same path may have been written twice, before and after a restart.
    fn without_repeated_paths(&mut self, rows: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let paths = columns_of(rows).fixed("path")?;
        let keep: BooleanArray = (0..paths.len())
            .map(|at| {
                let path: Option<[u8; 16]> = paths.value(at).try_into().ok();
                let new = path != self.last_path;
                self.last_path = path;
                Some(new)
            })
            .collect();
        filter_record_batch(rows, &keep).map_err(|source| StoreError::columns("drop repeated paths", source))
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let Some(unfinished) = self.writer.take() {
            drop(unfinished);
            // What stays behind is removed at the next start.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// How the files of a table are written. Measured: version 1.0 has no dictionaries for ids and costs half as much space again.
fn properties(kind: TableKind, effort: Effort) -> Result<WriterProperties, StoreError> {
    let schema = kind.schema();
    let order = kind
        .order()
        .iter()
        .filter_map(|(name, descending)| {
            let column = schema.index_of(name).ok()? as i32;
            Some(SortingColumn {
                column_idx: column,
                descending: *descending,
                nulls_first: false,
            })
        })
        .collect();
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(effort.level()).map_err(failed)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        // The page limit is looked at after so many rows.
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by("MidoInsights".into());
    let (delta, bloom): (&[&str], &[&str]) = match kind {
        // Cookies of agents count up.
        TableKind::Flows | TableKind::FlowRests => (&["time", "row", "cookie"], &["src_ip", "dst_ip"]),
        // Numbers are given one after the other.
        TableKind::Ends => (&["ends"], &[]),
        TableKind::Paths => (&["time"], &[]),
        TableKind::Meters => (&["from", "to"], &[]),
        // Few different ones: all meters of a host share them.
        TableKind::MeterRuns => (&[], &[]),
        TableKind::FlowMinutes | TableKind::FlowHours => (&["last"], &[]),
        TableKind::MeterHours | TableKind::MeterDays => (&["last"], &[]),
    };
    for name in delta {
        let column = ColumnPath::from(*name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    if kind.table() == TableKind::Flows {
        // Half of them are drawn at random: as many bytes again for their places in a dictionary.
        for name in ["src_tp", "dst_tp"] {
            let column = ColumnPath::from(name);
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                // Else they would be differences, which are as random and are not compressed any more.
                .set_column_encoding(column, Encoding::PLAIN);
        }
    }
    for name in bloom {
        let column = ColumnPath::from(*name);
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), BLOOM_FALSE)
            // Folded down to what is needed when the row group ends.
            .set_column_bloom_filter_max_ndv(column, ROW_GROUP_ROWS as u64);
    }
    // A table whose rows have no order of their own in a file would have none to declare.
    let order: Vec<SortingColumn> = order;
    Ok(properties.set_sorting_columns(Some(order)).build())
}

/// First and last time of the rows.
pub(crate) fn span(kind: TableKind, rows: &RecordBatch) -> Result<(i64, i64), StoreError> {
    let (first, last) = match kind {
        TableKind::Meters | TableKind::MeterRuns => ("from", "to"),
        _ => ("time", "time"),
    };
    let column = |name| columns_of(rows).numbers::<TimestampMicrosecondType>(name);
    let min = column(first)?.values().iter().copied().min().unwrap_or(i64::MAX);
    let max = column(last)?.values().iter().copied().max().unwrap_or(i64::MIN);
    // A row of a roll-up stands for all of its span.
    Ok((min, max.saturating_add(kind.level().step_us() - 1)))
}

fn failed(source: datafusion::parquet::errors::ParquetError) -> StoreError {
    StoreError::columns("write a file", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_order_declared() {
        for kind in TableKind::ALL.into_iter().chain([TableKind::MeterRuns, TableKind::FlowRests]) {
            let properties = properties(kind, Effort::Merge).unwrap();
            assert_eq!(properties.sorting_columns().map(Vec::len), Some(kind.order().len()));
            assert_eq!(properties.writer_version(), WriterVersion::PARQUET_2_0);
        }
        let flows = properties(TableKind::Flows, Effort::Flush).unwrap();
        assert!(flows.bloom_filter_properties(&ColumnPath::from("src_ip")).is_some());
        assert!(flows.bloom_filter_properties(&ColumnPath::from("path")).is_none());
    }
}
