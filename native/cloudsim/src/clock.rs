// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The machine's clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the epoch.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
