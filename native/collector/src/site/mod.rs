// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The topology of a site, now and as of any past time.
//!
//! [`Site`] is a snapshot: an immutable value with objects, states and tables of one moment, from which the views ([`Host`], [`Port`], …)
//! are made on demand. It derives what MidoNet leaves to its readers: names, tenants, kinds of ports, uplinks, external networks.

mod devices;
mod facts;
mod fields;
mod history;
mod model;
mod ports;
mod search;
mod services;
mod shards;
mod sites;
mod tables;
mod trace;
mod types;
mod words;
mod writer;

#[cfg(test)]
pub(crate) mod golden_tests;

pub use history::{Change, FieldChange, What};
pub use midonet::Mac;
pub(crate) use model::Mark;
pub use model::{RawObject, Site};
pub use search::MAX_FOUND;
pub use sites::Sites;
pub use types::*;
pub use writer::Effect;
