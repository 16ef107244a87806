// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The pairs of addresses with the most flows. The others are summed, with a bound for what one of them can have.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use datafusion::arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt8Array, new_null_array,
    },
    compute::concat_batches,
    datatypes::{Int64Type, TimestampMicrosecondType, UInt8Type},
};

use crate::{
    StoreError,
    table::{Facet, TableKind, columns_of, fixed_at},
};

/// Pairs that a span keeps for each verdict: what a page shows ten times over. More would cost more than the records themselves.
const KEPT: usize = 256;

/// A row of a roll-up of flows that is not of [`Facet::Flows`].
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) facet: u8,
    pub(super) id: Option<[u8; 16]>,
    pub(super) time_us: i64,
    pub(super) verdict: u8,
    pub(super) transit: bool,
    pub(super) src_ip: Option<[u8; 16]>,
    pub(super) dst_ip: Option<[u8; 16]>,
    pub(super) flows: i64,
    pub(super) matched: i64,
    pub(super) applied: i64,
    pub(super) bound: i64,
    pub(super) last_us: i64,
    pub(super) last_matched_us: Option<i64>,
}

/// Columns of rows, in their order.
pub(super) fn batch_of(kind: TableKind, rows: &[Row]) -> Result<RecordBatch, StoreError> {
    let failed = |source| StoreError::columns("build roll-ups", source);
    let fixed = |value: fn(&Row) -> Option<[u8; 16]>| -> Result<ArrayRef, StoreError> {
        let mut out = FixedSizeBinaryBuilder::with_capacity(rows.len(), 16);
        for row in rows {
            match value(row) {
                Some(value) => out.append_value(value).map_err(failed)?,
                None => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    };
    let numbers = |value: fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(value))) };
    let times =
        |value: fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<TimestampMicrosecondArray>().with_timezone("UTC")) };
    let schema = kind.schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            Ok(match field.name().as_str() {
                "facet" => Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.facet))) as ArrayRef,
                "id" => fixed(|row| row.id)?,
                "time" => times(|row| Some(row.time_us)),
                "verdict" => Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| row.verdict))),
                "transit" => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.transit)))),
                "src_ip" => fixed(|row| row.src_ip)?,
                "dst_ip" => fixed(|row| row.dst_ip)?,
                "flows" => numbers(|row| row.flows),
                "matched" => numbers(|row| row.matched),
                "applied" => numbers(|row| row.applied),
                "bound" => numbers(|row| row.bound),
                "last" => times(|row| Some(row.last_us)),
                "last_matched" => times(|row| row.last_matched_us),
                _ => new_null_array(field.data_type(), rows.len()),
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    RecordBatch::try_new(schema, columns).map_err(failed)
}

/// Keeps the greatest of the pairs that agree in span, verdict and transit; the rest goes to `others`.
pub(super) fn cut(mut pairs: Vec<Row>, others: &mut Others, out: &mut Vec<Row>) {
    if pairs.len() > KEPT {
        pairs.sort_by_key(|row| (Reverse(row.flows), row.src_ip, row.dst_ip));
        let rest = pairs.split_off(KEPT);
        // Sorted, so the first one has the most.
        let bound = rest.first().map_or(0, |row| row.flows);
        for row in rest {
            others.add(Row { bound: 0, ..row });
        }
        if let Some(row) = pairs.first() {
            others.add(Row {
                flows: 0,
                bound,
                last_us: 0,
                ..row.clone()
            });
        }
    }
    out.append(&mut pairs);
}

/// Sums of what is in no row of pairs.
#[derive(Default)]
pub(super) struct Others(BTreeMap<(i64, u8, bool), Row>);

impl Others {
    fn add(&mut self, row: Row) {
        let other = self.0.entry((row.time_us, row.verdict, row.transit)).or_insert_with(|| Row {
            facet: Facet::OtherPairs as u8,
            time_us: row.time_us,
            verdict: row.verdict,
            transit: row.transit,
            ..Row::default()
        });
        other.flows += row.flows;
        other.bound += row.bound;
        other.last_us = other.last_us.max(row.last_us);
    }

    pub(super) fn into_rows(self) -> impl Iterator<Item = Row> {
        self.0.into_values()
    }
}

/// Holds merged rows of a roll-up of flows to the bound of pairs. Rows come in the order of the table, each key once.
pub(crate) struct Cutter {
    kind: TableKind,
    pairs: Vec<Row>,
    others: Others,
}

impl Cutter {
    pub(crate) fn new(kind: TableKind) -> Self {
        Self {
            kind,
            pairs: Vec::new(),
            others: Others::default(),
        }
    }

    /// What is complete now.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
        let facets = columns_of(batch).numbers::<UInt8Type>("facet")?;
        // Facets come in the order of their numbers: what is before pairs stays as it is.
        let before = facets.values().partition_point(|facet| *facet < Facet::Pairs as u8);
        let mut out = Vec::new();
        for row in rows_of(&batch.slice(before, batch.num_rows() - before))? {
            if row.facet == Facet::OtherPairs as u8 {
                self.others.add(row);
                continue;
            }
            let group = |row: &Row| (row.time_us, row.verdict, row.transit);
            if self.pairs.first().is_some_and(|first| group(first) != group(&row)) {
                cut(std::mem::take(&mut self.pairs), &mut self.others, &mut out);
            }
            self.pairs.push(row);
        }
        sort(&mut out);
        let whole = batch.slice(0, before);
        if out.is_empty() {
            return Ok(whole);
        }
        let cut = batch_of(self.kind, &out)?;
        concat_batches(&batch.schema(), [&whole, &cut]).map_err(|source| StoreError::columns("build roll-ups", source))
    }

    /// The last pairs, and the sums of the others.
    pub(crate) fn finish(mut self) -> Result<RecordBatch, StoreError> {
        let mut out = Vec::new();
        cut(self.pairs, &mut self.others, &mut out);
        sort(&mut out);
        out.extend(self.others.into_rows());
        batch_of(self.kind, &out)
    }
}

/// The order of the table, in which absent values are last.
fn sort(rows: &mut [Row]) {
    let last = |ip: Option<[u8; 16]>| (ip.is_none(), ip);
    rows.sort_by_key(|row| (row.time_us, row.verdict, row.transit, last(row.src_ip), last(row.dst_ip)));
}

/// Rows of pairs and their others.
fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, StoreError> {
    let columns = columns_of(batch);
    let transit = columns.get("transit")?.as_boolean();
    let (facet, verdict) = (columns.numbers::<UInt8Type>("facet")?, columns.numbers::<UInt8Type>("verdict")?);
    let (time, last) = (
        columns.numbers::<TimestampMicrosecondType>("time")?,
        columns.numbers::<TimestampMicrosecondType>("last")?,
    );
    let (flows, bound) = (columns.numbers::<Int64Type>("flows")?, columns.numbers::<Int64Type>("bound")?);
    let (src_ip, dst_ip) = (columns.fixed("src_ip")?, columns.fixed("dst_ip")?);
    Ok((0..batch.num_rows())
        .map(|at| Row {
            facet: facet.value(at),
            time_us: time.value(at),
            verdict: verdict.value(at),
            transit: transit.value(at),
            src_ip: fixed_at(src_ip, at),
            dst_ip: fixed_at(dst_ip, at),
            flows: flows.value(at),
            bound: bound.value(at),
            last_us: last.value(at),
            ..Row::default()
        })
        .collect())
}
