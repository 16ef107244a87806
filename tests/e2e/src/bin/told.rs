// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Kills the collector again and again while alerts open and end, and stops when a notice is lost or told twice without a reason.

#![allow(clippy::print_stdout, reason = "its report is for people")]

use anyhow::Result;
use clap::Parser;
use insights_e2e::told::run;

#[derive(Debug, Parser)]
struct Options {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, each with the next seed
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Kills of a run
    #[arg(long, default_value_t = 500)]
    kills: usize,
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
        let report = run(dir.path(), seed, options.kills).await?;
        dir.disable_cleanup(false);
        println!("seed {seed}: {report:?}");
    }
    Ok(())
}
