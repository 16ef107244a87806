// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use crate::{nsdb::View, tap::Tap};

/// Runs until [`Tap::stop`] says so.
pub async fn run(tap: Tap, _view: View) {
    tap.stop.stopped().await;
}
