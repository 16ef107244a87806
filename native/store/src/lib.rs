// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Time series and catalogue of the collector.
//!
//! - [`Store`] holds both. It is cheap to clone and safe to share.
//! - [`Series`] is what a backend for flows, paths and meters does; [`Store::series`] has it.
//! - [`catalog::Catalog`] keeps accounts, sites, fingerprints, gateways, topology history and events. It can be opened beside a running
//!   store, by another process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalog;
mod clickhouse;
mod embedded;
mod error;
mod filter;
mod ids;
mod log;
mod parquet;
pub mod query;
mod rollup;
mod row;
pub mod series;
mod store;
mod table;
#[cfg(test)]
mod testing;

pub use clickhouse::{ClickHouseAddress, ClickHouseOptions};
pub use error::StoreError;
pub use filter::{End, FlowFilter, FlowTest, KnownField, Prefix};
pub use ids::{AccountId, Appended, Cursor, Grain, Period, SiteId, StreamId, StreamKind};
pub use row::{FlowId, FlowRow, Mac, MeterDelta, MeterKey, MeterReading, Path, PathDevice, PathId, PathRule, Verdict};
pub use series::{Append, Purged, Rows, Series};
pub use store::{Retention, Store, StoreOptions};
