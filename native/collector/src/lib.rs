// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The service: it receives what gateways send, keeps a live copy of each site and its history, and shows them.
//!
//! | module | what |
//! | --- | --- |
//! | [`ingest`] | the QUIC endpoint: pins keys to sites, validates batches, commits rows with their cursor, acknowledges |
//! | [`site`] | the topology of a site, now and as of any past time, in the collector's own form |
//! | [`accounts`] | who signs in, which sites are theirs; [`accounts::SiteScope`] is the only key to a site's data |
//! | [`alerts`] | what is wrong and since when: rules, open alerts, their history |
//! | [`query`] | the query object of pages and API, and its filter language |
//! | [`api`], [`web`] | JSON API and Insights Manager |
//! | [`config`], [`cli`] | options and commands of `insights-collector` |
//! | [`metrics`] | figures for Prometheus, health |
//!
//! The way of a batch: [`ingest`] decodes it, joins it with the [`site`] model, and hands rows and cursor to the store in one commit.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accounts;
pub mod alerts;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod ingest;
pub mod metrics;
pub mod query;
pub mod serve;
pub mod site;
pub mod web;
