// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The commands of `insights-collector`.

mod accounts;
mod init;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Common, ServeArgs};

/// Receives what MidoInsights gateways send, keeps it per site, and shows it in the Insights Manager.
#[derive(Debug, Parser)]
#[command(name = "insights-collector", version, after_help = AFTER_HELP, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  insights-collector init --name collector.example.org
  insights-collector account add --email ada@example.org --name 'Ada Okafor'
  insights-collector site add --account ada@example.org --name eu-west
  insights-collector fingerprint add --site eu-west FINGERPRINT     (of `mn-insights show` on the gateway)
  insights-collector serve";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the data folder, with a certificate authority and a server certificate for trials
    Init(init::InitArgs),
    /// Run the service
    Serve(Box<ServeArgs>),
    /// People who sign in
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Clouds that are monitored
    #[command(subcommand)]
    Site(accounts::SiteCommand),
    /// Keys of gateways that may send for a site
    #[command(subcommand)]
    Fingerprint(accounts::FingerprintCommand),
}

/// Runs any command but `serve`.
pub async fn run(common: &Common, command: Command) -> anyhow::Result<()> {
    let dir = common.data_dir()?;
    match command {
        Command::Init(args) => init::run(&dir, &args),
        Command::Account(command) => accounts::account(&dir, command).await,
        Command::Site(command) => accounts::site(&dir, command).await,
        Command::Fingerprint(command) => accounts::fingerprint(&dir, command).await,
        Command::Serve(_) => anyhow::bail!("serve is not a command of this kind"),
    }
}

/// Where the catalogue and the time series are.
pub fn store_dir(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("store")
}
