// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now, µs since the epoch. Everything below the edges takes the time as an argument.
pub fn now_us() -> i64 {
    // Before 1970 the clock is broken and 0 as good as any answer; after the year 292,000 too.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|age| i64::try_from(age.as_micros()).ok())
        .unwrap_or(0)
}
