// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array},
    compute::{concat_batches, take},
    datatypes::{ArrowPrimitiveType, DataType, Int64Type, TimestampMicrosecondType, UInt64Type},
    row::{RowConverter, SortField},
};
use std::sync::Arc;

use crate::{StoreError, table::TableKind};

/// Puts neighbours with the same keys together, in rows that come in the order of their table.
pub(crate) struct Combiner {
    keys: usize,
    converter: RowConverter,
    /// The last row so far: the next ones may go on with it.
    last: Option<RecordBatch>,
}

impl Combiner {
    pub(crate) fn new(kind: TableKind) -> Result<Self, StoreError> {
        let schema = kind.schema();
        let keys = kind.keys();
        let fields = schema.fields()[..keys]
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        Ok(Self {
            keys,
            converter: RowConverter::new(fields).map_err(failed)?,
            last: None,
        })
    }

    /// What is complete now.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, StoreError> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let rows = match self.last.take() {
            Some(last) => concat_batches(&last.schema(), [&last, batch]).map_err(failed)?,
            None => batch.clone(),
        };
        let keys = self.converter.convert_columns(&rows.columns()[..self.keys]).map_err(failed)?;
        let starts: Vec<u32> = (0..rows.num_rows())
            .filter(|at| *at == 0 || keys.row(*at) != keys.row(at - 1))
            .map(|at| at as u32)
            .collect();
        let firsts = UInt32Array::from(starts.clone());
        let columns = rows
            .columns()
            .iter()
            .enumerate()
            .map(|(at, column)| {
                if at < self.keys {
                    take(column, &firsts, None).map_err(failed)
                } else {
                    fold(column, &starts)
                }
            })
            .collect::<Result<Vec<ArrayRef>, StoreError>>()?;
        let combined = RecordBatch::try_new(batch.schema(), columns).map_err(failed)?;
        let whole = combined.num_rows() - 1;
        self.last = Some(combined.slice(whole, 1));
        Ok((whole > 0).then(|| combined.slice(0, whole)))
    }

    /// The last row.
    pub(crate) fn finish(self) -> Option<RecordBatch> {
        self.last
    }
}

/// One value for each run of rows: the latest of times, the sum of numbers.
fn fold(column: &ArrayRef, starts: &[u32]) -> Result<ArrayRef, StoreError> {
    Ok(match column.data_type() {
        DataType::Int64 => runs::<Int64Type>(column, starts, i64::saturating_add),
        DataType::UInt64 => runs::<UInt64Type>(column, starts, u64::saturating_add),
        DataType::Timestamp(..) => {
            let latest = runs_of::<TimestampMicrosecondType>(column, starts, i64::max);
            Arc::new(latest.with_timezone("UTC"))
        }
        other => return Err(StoreError::columns("sum rows", format!("a column of {other} can't be summed"))),
    })
}

fn runs<T: ArrowPrimitiveType>(column: &ArrayRef, starts: &[u32], join: fn(T::Native, T::Native) -> T::Native) -> ArrayRef {
    Arc::new(runs_of::<T>(column, starts, join))
}

fn runs_of<T: ArrowPrimitiveType>(column: &ArrayRef, starts: &[u32], join: fn(T::Native, T::Native) -> T::Native) -> PrimitiveArray<T> {
    let values = column.as_primitive::<T>();
    let ends = starts.iter().skip(1).copied().chain([values.len() as u32]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let known = (*start as usize..end as usize).filter(|at| values.is_valid(*at));
            known.map(|at| values.value(at)).reduce(join)
        })
        .collect()
}

fn failed(source: datafusion::arrow::error::ArrowError) -> StoreError {
    StoreError::columns("sum rows", source)
}
