// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Kills the collector at any moment while alerts open and end, and asks a real receiver of webhooks what it was told.
//!
//! What is promised: a notice is written in one transaction with what it tells, and sent until it was taken. So each opening and each end has one
//! `delivery`, which comes at least once. It comes again only where its sender can't know that it was taken: the answer was lost, or the collector
//! was killed between the answer and the note of it. A receiver that remembers `delivery` is told everything exactly once. An alert that ended while
//! its opening waited for a receiver that takes nothing is not told at all, neither its opening nor its end.

mod judge;
mod receiver;
mod run;

pub use judge::{Alert, Report, judge};
pub use receiver::{Notice, Outcome, Post, Receiver};
pub use run::run;
