// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `mn-insights check`: everything that must be right for a site to be seen, each with a verdict and what to do.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;

use crate::cli::StatusSocket;

mod nsdb;
mod service;
mod settings;
mod site;

use settings::Settings;

/// Check everything between this machine, the service, ZooKeeper and the agents, and say what to do.
///
/// A running plugin tells its settings. Otherwise they are read where it reads them: ZooKeeper from midonet.conf, the keys below
/// insights_cloud from MidoNet's configuration in ZooKeeper. Options take their place. The exit status is 1 when there is a problem.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Servers of ZooKeeper, instead of those in midonet.conf
    #[arg(long, value_name = "HOSTS", env = "MIDO_ZOOKEEPER_HOSTS")]
    zookeeper: Option<String>,
    /// MidoNet's root in ZooKeeper
    #[arg(long, value_name = "KEY", env = "MIDO_ZOOKEEPER_ROOT_KEY")]
    root: Option<String>,
    /// Where the servers of ZooKeeper stand
    #[arg(long, value_name = "FILE", default_value = "/etc/midonet/midonet.conf")]
    midonet_conf: PathBuf,
    /// MidoNet's id of this machine, instead of the one in /etc/midonet_host_id.properties
    #[arg(long, value_name = "UUID")]
    host_id: Option<uuid::Uuid>,
    /// A key below insights_cloud and its value, instead of the configured one; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    socket: StatusSocket,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Warning,
    Problem,
    /// Can't be told now.
    Unknown,
}

impl Check {
    pub(crate) async fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let findings = self.findings().await;
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?;
        } else {
            findings.iter().try_for_each(|finding| write(finding, out))?;
        }
        let problem = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
        Ok(if problem { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let status = crate::status::ask(&self.socket.path).await.ok();
        findings.push(site::plugin(status.as_ref(), &self.socket.path));
        let mut settings = Settings::new(self, status.as_ref());
        let mut nsdb = nsdb::open(&settings, &mut findings).await;
        if let Some(nsdb) = &mut nsdb {
            settings.layers = nsdb.layers(settings.host_id, &mut findings).await;
        }
        let Some(config) = settings.config(self, &mut findings) else {
            return findings;
        };
        findings.push(site::identity(&config));
        service::check(&config, &mut findings).await;
        findings.push(site::clock(status.as_ref()));
        findings.push(site::spool(&config, status.as_ref()));
        if let Some(nsdb) = &mut nsdb {
            findings.push(nsdb.recorder(&config).await);
            findings.extend(site::clients(&config, status.as_ref()));
            findings.push(nsdb.agents(&config).await);
        }
        findings
    }
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            check,
            verdict: Verdict::Good,
            found: found.into(),
            remedy: None,
        }
    }

    fn new(check: &'static str, verdict: Verdict, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding {
            check,
            verdict,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Warning, found, remedy)
    }

    fn problem(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Problem, found, remedy)
    }

    fn unknown(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding::new(check, Verdict::Unknown, found, remedy)
    }
}

fn write(finding: &Finding, out: &mut impl Write) -> std::io::Result<()> {
    let verdict = match finding.verdict {
        Verdict::Good => "good",
        Verdict::Warning => "WARNING",
        Verdict::Problem => "PROBLEM",
        Verdict::Unknown => "unknown",
    };
    writeln!(out, "{verdict:<8} {:<16} {}", finding.check, finding.found)?;
    match &finding.remedy {
        Some(remedy) => writeln!(out, "{:<25} what to do: {remedy}", ""),
        None => Ok(()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted, such as gateway.port=443")?;
    let key = key.trim();
    Ok((key.strip_prefix("insights_cloud.").unwrap_or(key).to_owned(), value.trim().to_owned()))
}
