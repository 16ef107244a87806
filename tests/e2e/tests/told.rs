// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The continuous share of the runner that kills the collector under its notices. `cargo run -p insights-e2e --bin told -- --help` has the rest.

use anyhow::Result;
use insights_e2e::told::run;

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_loses_a_notice_or_tells_one_twice() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let report = run(dir.path(), 5, 6).await?;
    eprintln!("{report:?}");
    Ok(())
}
