// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the manager stands on.

use insights_store::Store;

use crate::{accounts::Accounts, site::Sites};

/// The parts of the service that pages ask. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub store: Store,
    pub accounts: Accounts,
    pub sites: Sites,
    /// The manager is reached by TLS: cookies are marked and named so.
    pub secure: bool,
    /// µs since the epoch.
    pub clock: fn() -> i64,
}

impl App {
    pub fn now_us(&self) -> i64 {
        (self.clock)()
    }
}
