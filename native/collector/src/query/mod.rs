// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The query object: period, filter and dimensions as they stand in a URL. Page, JSON API and CSV are answered from the same one.
//!
//! Every question that reaches a site's data takes an [`SiteScope`](crate::accounts::SiteScope): without one a site can't be named.

pub mod balance;
pub mod cause;
pub mod filter;
pub mod flows;
pub mod params;
pub mod period;
pub mod reports;
pub mod scoped;
pub mod trace;
pub mod traffic;
pub mod what_if;
