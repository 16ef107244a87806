// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Faults from a seed, against the real programs, and an oracle that compares what was sent, what was on disk and what is stored.
//!
//! Rules: a record is stored once or not at all, and none that nobody sent. What a gateway had on its disk is stored, unless a fault damaged that
//! very batch, there or on the collector's disk. What was sent is stored, unless the gateway died or its disk took nothing at that time: an
//! agent hears nothing of what its kernel took. No other fault may lose anything.

mod disk;
mod machine;
mod plan;
mod relay;
mod run;

pub use plan::{Fault, Plan, Side};
pub use relay::{Relay, Weather};
pub use run::{Report, run};
