// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The catalogue: accounts, sites, keys, gateways, topology history, events, alerts, counts, and the list of the column store's files. SQLite in
//! WAL mode, every change durable when its method returns.
//!
//! Names and addresses of people are sealed with a key that is outside of it ([`vault`]).
//!
//! Methods run off the async threads. All of a site's data is reached by its [`SiteId`](crate::SiteId) alone.

mod accounts;
mod alert_outbox;
mod alert_rules;
mod alerts;
mod api_tokens;
mod audit;
mod counts;
mod db;
mod events;
mod factors;
pub(crate) mod files;
mod gateways;
mod notes;
mod schema;
mod sealing;
mod sessions;
mod sites;
pub(crate) mod streams;
mod tokens;
mod topology;
mod types;
mod vault;

pub use alert_outbox::{AlertTarget, LONGEST_WAIT_US, MOST_NOTICES, Notice};
pub use alert_rules::StoredRule;
pub use alerts::*;
pub use audit::{AuditEntry, AuditQuery, KEPT_AUDIT};
pub(crate) use counts::{add as add_count, hour_of};
pub use db::Catalog;
pub(crate) use db::blocking;
pub(crate) use events::insert as add_event;
pub use types::*;
pub use vault::make_key_file;
