// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Accounts, sessions, and the key to a site's data.

mod scope;

pub use scope::SiteScope;
