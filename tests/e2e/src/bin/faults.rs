// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Puts the real programs through faults, seed after seed, and stops at the first one that loses, doubles or invents a record.

#![allow(clippy::print_stdout, reason = "its report is for people")]

use anyhow::Result;
use clap::Parser;
use insights_e2e::faults::{Plan, run};

#[derive(Debug, Parser)]
struct Options {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds, one run each
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Faults of a run
    #[arg(long, default_value_t = 40)]
    faults: usize,
    /// Flow records per second
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// Keep the folder of a run that failed
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    for seed in options.seed..options.seed + options.seeds {
        let mut dir = tempfile::tempdir()?;
        dir.disable_cleanup(options.keep);
        println!("seed {seed} in {}", dir.path().display());
        let report = run(dir.path(), &Plan::new(seed, options.faults), options.rate).await?;
        dir.disable_cleanup(false);
        println!("seed {seed}: {report:?}");
    }
    Ok(())
}
