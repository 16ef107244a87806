// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The query object: period, filter and dimensions as they stand in a URL. Page, JSON API and CSV are answered from the same one.

pub mod filter;
pub mod period;
