// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Roll-ups: sums of records by minute, hour and day, so that a question about a month does not read a month of records.
//!
//! They are made when records go from memory to files and enter the catalogue in the same transaction, so a record is in the roll-ups from
//! the moment at which it is in a file, whatever is killed. A question adds the records that are still in memory. Rows of several files
//! with the same keys are summed by the question, and put together when the files are merged.

mod combine;
mod flows;
mod meters;
mod pairs;

pub(crate) use combine::Combiner;
pub(crate) use flows::roll_flows;
pub(crate) use meters::roll_meters;
pub(crate) use pairs::Cutter;
