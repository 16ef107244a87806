// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Questions and answers. Every question names a period; every answer says what it had to read.

mod compile;
mod ends;
mod engine;
mod flows;
mod groups;
mod hits;
mod lanes;
mod levels;
mod meters;
mod pairs;
mod paths;
mod scan;
mod top;
mod types;

pub(crate) use compile::check;
pub(crate) use engine::{Engine, Run, failed};
pub(crate) use flows::{flow_by_id, flow_page};
pub(crate) use groups::{Bins, MAX_CELLS, count, drops, histogram, limit, top};
pub(crate) use hits::hits;
pub(crate) use lanes::Lanes;
pub(crate) use levels::{Choice, FLOWS, Family, Kept, Known, METERS, kept, of_all};
pub(crate) use meters::{Coverage, Reading, Readings, check_keys, check_points, meter_series, meter_totals, metered_hosts, series_of};
pub(crate) use pairs::pairs;
pub(crate) use paths::{MAX_CONTENTS, path_contents, scan_paths};
pub(crate) use scan::SiteTable;
pub use types::*;

use std::sync::Arc;

use crate::{
    ids::Period,
    parquet::DataFile,
    table::{Snapshot, TableKind},
};

/// What a question sees of its site: rows of flows and paths, or of meters, at one moment.
pub(crate) trait View: Send + Sync {
    fn flows(&self, period: Period) -> Snapshot;
    /// Paths that flows of the period may name.
    fn paths(&self, period: Period) -> Snapshot;
    fn meters(&self, period: Period) -> Snapshot;
    /// Records and their roll-ups, the finer one first, at one moment: each record is in memory, or in a file and in both roll-ups.
    fn rolled(&self, records: TableKind, levels: [TableKind; 2]) -> Rolled;
}

/// A table of records with its roll-ups.
pub(crate) struct Rolled {
    pub(crate) records: Snapshot,
    pub(crate) levels: [(TableKind, Vec<Arc<DataFile>>); 2],
}
