// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the time series hold, as their writers and readers see it.

mod flow;
mod meter;
mod path;

pub use flow::{FlowId, FlowRow, Mac, Verdict};
pub use meter::{MeterDelta, MeterKey, MeterReading};
pub use path::{Path, PathDevice, PathId, PathRule};
