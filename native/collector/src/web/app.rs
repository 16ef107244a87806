// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the manager stands on.

use crate::{accounts::Accounts, ingest::Gateways, query::scoped::Stores, site::Sites};

/// The parts of the service that pages ask. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The store, which opens to the key of a site alone.
    pub stores: Stores,
    pub accounts: Accounts,
    pub sites: Sites,
    pub gateways: Gateways,
    /// The manager is reached by TLS: cookies are marked and named so.
    pub secure: bool,
    /// Strangers may open trial accounts.
    pub sign_up: bool,
    /// µs since the epoch.
    pub clock: fn() -> i64,
}

impl App {
    pub fn now_us(&self) -> i64 {
        (self.clock)()
    }
}
