// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The collector as a program of its own, whatever folder it comes from: told what to know, started, asked, stopped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use insights_e2e::{
    cost::Cost,
    manager::Browser,
    process::{Process, run},
    stack::Account,
};
use insights_gateway::identity::{self, Identity};
use tokio::process::Command;

use crate::measure;

/// The first start of a large store on a busy machine.
const START: Duration = Duration::from_secs(120);

/// What is in memory is written to files at a stop.
const STOP: Duration = Duration::from_secs(300);

/// Merging is over when files have not changed for so many seconds: twice as long as the store waits between looks.
pub const QUIET_S: u64 = 130;

/// A collector's folder and the programs to run on it.
#[derive(Clone, Debug)]
pub struct Place {
    program: PathBuf,
    pub dir: PathBuf,
}

/// A running collector.
pub struct Service {
    pub ingest: SocketAddr,
    pub web: String,
    pub place: Place,
    process: Process,
}

impl Place {
    /// A new folder with an account.
    pub async fn new(bin: &Path, dir: &Path) -> Result<Place> {
        let place = Place {
            program: bin.join("insights-collector"),
            dir: dir.to_owned(),
        };
        ensure!(place.program.exists(), "there is no insights-collector in {}", bin.display());
        run(place.command().args(["init", "--name", "127.0.0.1"])).await?;
        let who = account();
        let add = format!(
            "printf %s {:?} | {:?} --data-dir {:?} account add --email {:?} --name {:?} --password-stdin",
            who.password, place.program, place.dir, who.email, who.name
        );
        run(Command::new("sh").args(["-c", &add])).await?;
        Ok(place)
    }

    /// A site without a quota, whose gateway has a new key.
    pub async fn site(&self, name: &str) -> Result<Identity> {
        let account = account();
        run(self
            .command()
            .args(["site", "add", "--account", &account.email, "--name", name, "--quota", "0"]))
        .await?;
        let folder = self.dir.join("gateways").join(name);
        let (identities, _) = identity::init(&folder, time::OffsetDateTime::now_utc()).context("make a gateway's key")?;
        let fingerprint = identities.current.fingerprint.to_string();
        run(self.command().args(["fingerprint", "add", "--site", name, &fingerprint])).await?;
        Ok(identities.current)
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("tls/ca.pem")
    }

    pub async fn version(&self) -> Result<String> {
        Ok(run(Command::new(&self.program).arg("--version")).await?.trim().to_owned())
    }

    /// Serves until it is stopped. `gateways` may be connected at once.
    pub async fn serve(&self, gateways: usize) -> Result<Service> {
        let mut command = self.command();
        command.args(["serve", "--ingest-listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"]);
        command.args(["--max-gateways", &gateways.to_string()]);
        let log = self.dir.join("collector.log");
        let _ = std::fs::rename(&log, log.with_extension("log.before"));
        let mut process = Process::start("collector", &mut command, &log)?;
        let ready = process.line("ready ", START).await?;
        let address = |name: &str| {
            let found = ready.split(' ').find_map(|part| part.strip_prefix(name));
            found.with_context(|| format!("the ready line of the collector has no {name}"))
        };
        Ok(Service {
            ingest: address("ingest=")?.parse()?,
            web: address("web=")?.to_owned(),
            place: self.clone(),
            process,
        })
    }

    /// Bytes of the stored series by table: the name of the folder that files lie in.
    pub fn at_rest(&self) -> Result<AtRest> {
        let mut found = AtRest::default();
        collect(&self.dir.join("store"), &mut found)?;
        Ok(found)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(&self.dir);
        command
    }
}

/// Bytes of files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AtRest {
    /// Rows, with the table of their ends.
    pub flows: u64,
    pub paths: u64,
    /// Sums by the minute, hour and day.
    pub rollups: u64,
    pub files: u64,
}

fn collect(folder: &Path, found: &mut AtRest) -> Result<()> {
    let table = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        // A merge may remove files meanwhile.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect(&entry.path(), found)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            found.files += 1;
            match table.as_str() {
                "flows" | "flow_rests" | "ends" => found.flows += meta.len(),
                "paths" => found.paths += meta.len(),
                _ => found.rollups += meta.len(),
            }
        }
    }
    Ok(())
}

impl Service {
    pub fn cost(&self) -> Result<Cost> {
        Cost::of(self.process.id().context("the collector has ended")?)
    }

    /// A browser that is signed in, and the id of the first site.
    pub fn at_home(&self) -> Result<(Browser, String)> {
        Browser::at_home(&self.web, &account())
    }

    /// Asks for an orderly stop, at which everything is written to files. CPU seconds from start to end.
    pub async fn stop(mut self) -> Result<f64> {
        let before = measure::ended_children()?;
        let status = self.process.stop(STOP).await?;
        ensure!(status.success(), "the collector did not stop in order: {status}");
        Ok(measure::ended_children()? - before)
    }

    /// Waits until files have not changed for so long.
    pub async fn merged(&self, quiet: Duration) -> Result<()> {
        let mut still = (AtRest::default(), Instant::now());
        while still.1.elapsed() < quiet {
            let now = self.place.at_rest()?;
            if now != still.0 {
                still = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

fn account() -> Account {
    Account {
        email: "bench@example.org".into(),
        name: "Ada Bencher".into(),
        password: "correct horse battery".into(),
        site: "bench".into(),
    }
}
