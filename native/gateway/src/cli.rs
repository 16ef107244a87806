// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The command `mn-insights`: the site's tool beside the plugin.
//!
//! Exit status: 0 when all went well, 1 when not, 2 for wrong usage.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{DEFAULT_IDENTITY_PATH, DEFAULT_STATUS_SOCKET};

mod decode;
mod key;
mod status;

/// The site's tool of MidoInsights: this gateway's key, how the plugin does, what is wrong, and what MidoNet's records and database hold.
#[derive(Debug, Parser)]
#[command(
    name = "mn-insights",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "To connect a site:
  1. mn-insights show                      and add the fingerprint to the site in the Insights manager
  2. service midonet-cluster restart
  3. mn-insights status                    or, when it does not connect: mn-insights check

For flow history, tell the agents where to send their records, and restart them:
  mn-conf set -t default 'agent.flow_history { enabled : true, endpoint_service : insights }'"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key pair and certificate of this gateway, unless there is one
    Init(key::Init),
    /// Print the fingerprint of this gateway's public key
    Show(key::Show),
    /// Make a new key; the old one stays valid for a while
    Renew(key::Renew),
    /// Ask the running plugin how it is
    Status(status::Status),
    /// Check everything between this machine, the service, ZooKeeper and the agents, and say what to do
    Check(Box<crate::check::Check>),
    /// Write what MidoNet's records or its database hold as JSON lines
    #[command(subcommand)]
    Decode(decode::Decode),
    /// Write man page or shell completion
    #[command(hide = true, subcommand)]
    Generate(Generate),
}

#[derive(Debug, Subcommand)]
enum Generate {
    /// Write the man pages into a folder
    Man { folder: PathBuf },
    /// Print the completion of a shell
    Completion { shell: clap_complete::Shell },
}

/// Where the identity is.
#[derive(Args, Debug)]
struct IdentityFolder {
    /// Folder of the identity, insights_cloud.identity.path of the plugin
    #[arg(long = "identity", value_name = "FOLDER", env = "MN_INSIGHTS_IDENTITY", default_value = DEFAULT_IDENTITY_PATH)]
    folder: PathBuf,
}

/// Where the running plugin answers.
#[derive(Args, Debug)]
pub(crate) struct StatusSocket {
    /// Socket of the running plugin, its insights_cloud.status.socket
    #[arg(long = "socket", value_name = "PATH", env = "MN_INSIGHTS_SOCKET", default_value = DEFAULT_STATUS_SOCKET)]
    pub(crate) path: PathBuf,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mn-insights: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match cli.command {
        Command::Init(init) => init.run(&mut out)?,
        Command::Show(show) => show.run(&mut out)?,
        Command::Renew(renew) => renew.run(&mut out)?,
        Command::Status(status) => runtime()?.block_on(status.run(&mut out))?,
        Command::Check(check) => return runtime()?.block_on(check.run(&mut out)),
        Command::Decode(decode) => return decode.run(),
        Command::Generate(Generate::Completion { shell }) => clap_complete::generate(shell, &mut Cli::command(), "mn-insights", &mut out),
        Command::Generate(Generate::Man { folder }) => {
            clap_mangen::generate_to(Cli::command(), &folder).with_context(|| format!("write man pages into {}", folder.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")
}

/// `90s`, `12h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text).ok_or_else(|| "a duration is a number with s, m, h or d".into())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}
