// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `make bench`: the same flows to us and to what others use, how cost grows, and the pages that tell the figures.
#![allow(clippy::print_stdout, reason = "a program that prints what it measured")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cloud;
mod compare;
mod gateway;
mod growth;
mod ipfix;
mod measure;
mod page;
mod peers;
mod plot;
mod questions;
mod service;
mod sizing;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::{
    compare::{CompareArgs, Rooms},
    growth::GrowthArgs,
};

/// Benchmarks of everything together
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the programs to measure; that of this program otherwise
    #[arg(long, global = true)]
    bin: Option<PathBuf>,
    /// Folder of peers that are not on the path
    #[arg(long, global = true, default_value = "target/tools/bench")]
    tools: PathBuf,
    /// Folder of the run, which is kept; a temporary one otherwise
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// Write the figures to this file, as JSON
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Compare(CompareArgs),
    Growth(GrowthArgs),
    /// Make the pages of the figures in docs/benchmarks
    Pages {
        #[arg(long, default_value = "docs")]
        docs: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if let What::Pages { docs } = &options.what {
        return page::write(docs);
    }
    let scratch = tempfile::tempdir()?;
    let dir = options.dir.as_deref().unwrap_or(scratch.path());
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let rooms = Rooms {
        bin: match &options.bin {
            Some(bin) => absolute(bin)?,
            None => built_together()?,
        },
        tools: std::path::absolute(&options.tools)?,
        dir: absolute(dir)?,
    };
    match &options.what {
        What::Compare(arguments) => tell(&options, &compare::run(arguments, &rooms).await?),
        What::Growth(arguments) => tell(&options, &growth::run(arguments, &rooms).await?),
        What::Pages { .. } => Ok(()),
    }
}

fn tell(options: &Options, figures: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(figures)? + "\n";
    match &options.out {
        Some(path) => std::fs::write(path, text).with_context(|| format!("write {}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("find {}", path.display()))
}

fn built_together() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).find(|folder| folder.join("insights-collector").exists());
    let missing = "no insights-collector beside this program: build the workspace first, or name a folder with --bin";
    Ok(found.context(missing)?.to_owned())
}
