// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tables of the embedded backend: their columns, and their rows in memory.

mod actions;
mod columns;
mod decode;
mod encode;
mod ends;
mod known;
mod memory;
mod pack;
mod runs;

pub(crate) use columns::{COVERAGE, Facet, TableKind, meter_columns, meter_key};
pub(crate) use decode::{Columns, PathView, fixed_at, flow_ids, flows, paths};
pub(crate) use encode::{by_id, check_flows, flow_batch, meter_batch, meter_rows, not_held, path_batch};
pub(crate) use ends::{Fresh, Interner, NUMBER, Numbers, Place, place_of};
pub(crate) use known::KnownPaths;
pub(crate) use memory::{Gauge, MemBatch, Reservation, Snapshot, Table};
pub(crate) use pack::{Packer, each as each_meter};

/// Length of a day, the span that one file covers at most.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Number of the day (UTC) of a time.
pub(crate) fn day_of(time_us: i64) -> i64 {
    time_us.div_euclid(DAY_US)
}

/// The columns of rows, by name.
pub(crate) fn columns_of(rows: &datafusion::arrow::array::RecordBatch) -> Columns<'_> {
    Columns(rows)
}
