// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The command `insights-cloudsim`.

mod cli;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    cli::main(cli::Cli::parse())
}
