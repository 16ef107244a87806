// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The commands of `insights-collector`.

mod accounts;
mod generate;
mod init;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
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
    /// The key that names and addresses of people are sealed with
    #[command(subcommand)]
    Key(accounts::KeyCommand),
    /// Write man pages or shell completion
    #[command(hide = true, subcommand)]
    Generate(generate::GenerateCommand),
}

/// Runs any command but `serve`.
pub async fn run(common: &Common, command: Command) -> Result<()> {
    if let Command::Generate(command) = command {
        return generate::run(command);
    }
    let dir = common.data_dir()?;
    let key = common.profile_key_file()?;
    leave_to_its_owner(&dir)?;
    match command {
        Command::Init(args) => init::run(&dir, &key, &args),
        Command::Account(command) => accounts::account(&dir, &key, command).await,
        Command::Site(command) => accounts::site(&dir, &key, command).await,
        Command::Fingerprint(command) => accounts::fingerprint(&dir, &key, command).await,
        Command::Key(command) => accounts::key(&dir, &key, command).await,
        Command::Serve(_) | Command::Generate(_) => bail!("serve is not a command of this kind"),
    }
}

/// Where the catalogue and the time series are.
pub fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Refuses to make files as root in the folder of a service that runs as somebody else, who could not open them.
fn leave_to_its_owner(dir: &Path) -> Result<()> {
    let Ok(folder) = std::fs::metadata(dir) else {
        return Ok(());
    };
    let me = std::fs::metadata("/proc/self").context("find out who runs this")?.uid();
    if me == 0 && folder.uid() != 0 {
        bail!(
            "{} belongs to the user that the service runs as; run this as that user: runuser -u insights-collector -- insights-collector …",
            dir.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn root_leaves_the_folder_of_another_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        leave_to_its_owner(dir.path()).unwrap();
        leave_to_its_owner(Path::new("/nonexistent")).unwrap();
        // Only root can give a folder away.
        if std::os::unix::fs::chown(dir.path(), Some(65_534), None).is_ok() {
            let refused = leave_to_its_owner(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("runuser"), "{refused}");
        }
    }
}
