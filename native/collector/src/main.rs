// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use anyhow::{Context, Result};
use clap::Parser;
use insights_collector::cli::{Cli, Command, run};
use insights_collector::config::{Config, LogFormat};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match cli.command {
        Command::Serve(args) => {
            let config = Config::new(&cli.common, *args)?;
            log_to_stderr(&config)?;
            runtime.block_on(insights_collector::serve::run(config))
        }
        command => runtime.block_on(run(&cli.common, command)),
    }
}

fn log_to_stderr(config: &Config) -> Result<()> {
    let filter =
        EnvFilter::try_new(&config.log).with_context(|| format!("log is {:?}: must be a level or a filter such as info,quinn=warn", config.log))?;
    let registry = tracing_subscriber::registry().with(filter);
    match config.log_format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(false)).init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
    }
    Ok(())
}
