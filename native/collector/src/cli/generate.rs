// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `generate`: what packages install beside the program.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{CommandFactory, Subcommand};

use super::Cli;

#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Write the man pages into a folder
    Man { folder: PathBuf },
    /// Print the completion of a shell
    Completion { shell: clap_complete::Shell },
}

pub(super) fn run(command: GenerateCommand) -> Result<()> {
    match command {
        GenerateCommand::Man { folder } => {
            clap_mangen::generate_to(Cli::command(), &folder).with_context(|| format!("write man pages into {}", folder.display()))
        }
        GenerateCommand::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "insights-collector", &mut std::io::stdout().lock());
            Ok(())
        }
    }
}
