// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Questions and answers. Every question names a period; every answer says what it had to read.

mod compile;
mod engine;
mod flows;
mod groups;
mod hits;
mod meters;
mod paths;
mod scan;
mod top;
mod types;

pub(crate) use engine::Engine;
pub(crate) use flows::{flow_by_id, flow_page};
pub(crate) use groups::{count, drops, histogram, top};
pub(crate) use hits::hits;
pub(crate) use meters::{meter_series, meter_totals, metered_hosts};
pub(crate) use paths::path_contents;
pub(crate) use scan::SiteTable;
pub use types::*;

use crate::{ids::Period, table::Snapshot};

/// What a question sees of its site: rows of flows and paths, or of meters, at one moment.
pub(crate) trait View: Send + Sync {
    fn flows(&self, period: Period) -> Snapshot;
    /// Paths that flows of the period may name.
    fn paths(&self, period: Period) -> Snapshot;
    fn meters(&self, period: Period) -> Snapshot;
}
