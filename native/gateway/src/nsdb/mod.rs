// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use crate::tap::Tap;

/// Runs until [`Tap::stop`] says so.
pub async fn run(tap: Tap) {
    tap.stop.stopped().await;
}
