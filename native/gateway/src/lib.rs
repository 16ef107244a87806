// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The site's side of MidoInsights: what runs inside the MidoNet Cluster's process, and the `mn-insights` command.
//!
//! ```text
//!  nsdb ─┐                                              ┌─ session (what to say and send; no sockets, no clock)
//!  recorder ─┤─ pipe ─ batches ─ insights_spool (disk) ─┤
//!  meters ─┘    └ settings, commands ◂──────────────────┴─ uplink (quinn) ── the service
//! ```
//!
//! The three *taps* ([`nsdb`], [`recorder`], [`meters`]) put facts into the [`pipe`]. It gathers them to batches, which are written to
//! the spool and synced before they count as taken over. The [`uplink`] carries what the [`session`] decides. Of several gateways of a
//! site one is elected ([`leader`]) to send what must be sent once. [`Gateway`] owns the runtime on which all of it lives; nothing here knows
//! of the JVM, and nothing here ends the process.

pub mod cli;
pub mod config;
pub mod identity;
pub mod leader;
pub mod pipe;
pub mod session;
pub mod spooler;
pub mod status;
pub mod tap;
pub mod tls;
pub mod uplink;

pub mod meters;
pub mod nsdb;
pub mod recorder;

mod check;
mod clock;
mod fresh;
mod gateway;

pub use config::Config;
pub use gateway::{Gateway, StartError};
