// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The continuous share of the fault machine: two dozen faults of one seed. `cargo run -p insights-e2e --bin faults -- --help` has the rest.

use anyhow::Result;
use insights_e2e::faults::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_loses_doubles_or_invents_what_it_may_not() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let report = run(dir.path(), &Plan::new(20, 18), 300).await?;
    eprintln!("{report:?}");
    Ok(())
}
