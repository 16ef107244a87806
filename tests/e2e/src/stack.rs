// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The parts of a whole run, in the order in which they start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::process::{Process, run};

/// A JVM and a dev-profile binary on two busy cores take this long at worst; no success waits for it.
const START: Duration = Duration::from_secs(120);

/// Where a run lives and what it is made of.
#[derive(Clone, Debug)]
pub struct Places {
    /// The checkout.
    pub root: PathBuf,
    /// Folder of the built programs.
    pub bin: PathBuf,
    /// Everything that the run writes.
    pub dir: PathBuf,
    /// Names and addresses that the service's certificate is for.
    pub names: Vec<String>,
    /// What the service and the daemon are started within.
    pub around_collector: Around,
    pub around_cluster: Around,
}

/// Words that a command line begins with, and variables that a program sees.
#[derive(Clone, Debug, Default)]
pub struct Around {
    pub wrapper: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Around {
    fn command(&self, program: &Path) -> Command {
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Places {
    /// Programs are those that were built together with the running one.
    pub fn new(dir: &Path) -> Result<Places> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let own = std::env::current_exe()?;
        let bin = own
            .ancestors()
            .skip(1)
            .find(|folder| folder.join("insights-collector").exists())
            .with_context(|| {
                format!(
                    "no insights-collector beside {}: build the workspace first (`cargo build --workspace`)",
                    own.display()
                )
            })?;
        std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        Ok(Places {
            root,
            bin: bin.into(),
            dir: dir.canonicalize()?,
            names: vec!["127.0.0.1".to_owned()],
            around_collector: Around::default(),
            around_cluster: Around::default(),
        })
    }

    pub fn program(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    pub fn library(&self) -> PathBuf {
        self.bin.join("libmidonet_insights.so")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("log")
    }

    /// A real ZooKeeper server with its data in the run's folder; `host:port`.
    pub async fn zookeeper(&self, version: &str, port: u16) -> Result<(Process, String)> {
        let mut command = Command::new(self.root.join("tests/daemon/bin/zookeeper"));
        command
            .args([version, "--port", &port.to_string(), "--data"])
            .arg(self.dir.join("zookeeper"));
        let log = self.log("zookeeper");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::start("zookeeper", &mut command, &log)?;
        let ready = process.line("ready ", START).await?;
        let address = ready.split(' ').nth(1).context("the ready line of zookeeper has no address")?.to_owned();
        Ok((process, address))
    }

    /// The collector's folder with its certificate authority, an account, and a site that knows the gateway's key.
    pub async fn prepare(&self, account: &Account) -> Result<()> {
        let data = self.dir.join("collector");
        let names = self.names.iter().flat_map(|name| ["--name", name]);
        run(self.collector(&data).arg("init").args(names)).await?;
        let secret = self.dir.join("password");
        std::fs::write(&secret, &account.password)?;
        let add = format!(
            "{:?} --data-dir {data:?} account add --email {:?} --name {:?} --password-stdin < {secret:?}",
            self.bin.join("insights-collector"),
            account.email,
            account.name
        );
        run(Command::new("sh").args(["-c", &add])).await?;
        std::fs::remove_file(&secret)?;
        run(self
            .collector(&data)
            .args(["site", "add", "--account", &account.email, "--name", &account.site]))
        .await?;
        run(self.program("mn-insights").args(["init", "--identity"]).arg(self.identity())).await?;
        run(self
            .collector(&data)
            .args(["fingerprint", "add", "--site", &account.site, &self.fingerprint().await?]))
        .await?;
        Ok(())
    }

    /// Fingerprint of the gateway's key.
    pub async fn fingerprint(&self) -> Result<String> {
        let text = run(self.program("mn-insights").args(["show", "--json", "--identity"]).arg(self.identity())).await?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        Ok(json["fingerprint"].as_str().context("mn-insights show has no fingerprint")?.to_owned())
    }

    pub fn identity(&self) -> PathBuf {
        self.dir.join("gateway/identity")
    }

    fn collector(&self, data: &Path) -> Command {
        let mut command = self.program("insights-collector");
        command.arg("--data-dir").arg(data);
        command
    }
}

/// Who signs in to the run's manager.
#[derive(Clone, Debug)]
pub struct Account {
    pub email: String,
    pub name: String,
    pub password: String,
    pub site: String,
}

/// Addresses that the collector serves at.
#[derive(Clone, Debug)]
pub struct Served {
    /// UDP address of the gateways' connection.
    pub ingest: String,
    /// Address of the manager.
    pub web: String,
}

impl Places {
    /// Serves at these addresses; port 0 takes a free one.
    pub async fn serve(&self, at: &Served) -> Result<(Process, Served)> {
        self.serve_with(at, &[]).await
    }

    /// The same with more options.
    pub async fn serve_with(&self, at: &Served, more: &[&str]) -> Result<(Process, Served)> {
        let mut command = self.around_collector.command(&self.bin.join("insights-collector"));
        command.arg("--data-dir").arg(self.dir.join("collector"));
        command.args(["serve", "--ingest-listen", &at.ingest, "--web-listen", &at.web]).args(more);
        let log = self.log("collector");
        let seen = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        ensure!(
            seen == 0 || std::fs::rename(&log, log.with_extension("log.before")).is_ok(),
            "rotate {}",
            log.display()
        );
        let mut process = Process::start("collector", &mut command, &log)?;
        let ready = process.line("ready ", START).await?;
        let address = |name: &str| {
            let found = ready.split(' ').find_map(|part| part.strip_prefix(name));
            found
                .map(str::to_owned)
                .with_context(|| format!("the ready line of the collector has no {name}"))
        };
        let served = Served {
            ingest: address("ingest=")?,
            web: address("web=")?,
        };
        Ok((process, served))
    }

    /// The cluster daemon with the plugin, sending to `ingest`. Returns once the daemon runs.
    pub async fn cluster(&self, zookeeper: &str, ingest: &str, more: &[&str]) -> Result<Process> {
        let (host, port) = ingest.rsplit_once(':').context("the ingest address has no port")?;
        let gateway = self.dir.join("gateway");
        std::fs::create_dir_all(&gateway)?;
        let mut command = self.around_cluster.command(&self.root.join("tests/daemon/bin/cluster"));
        command
            .args(["--zookeeper", zookeeper, "--log"])
            .arg(self.dir.join("midonet-cluster"))
            .arg("--library")
            .arg(self.library());
        let path = |name: &str| serde_json::Value::from(gateway.join(name).display().to_string()).to_string();
        let ca = serde_json::Value::from(self.dir.join("collector/tls/ca.pem").display().to_string());
        for setting in [
            format!("insights_cloud.gateway.host : {:?}", host),
            format!("insights_cloud.gateway.port : {port}"),
            format!("insights_cloud.gateway.ca_file : {ca}"),
            "insights_cloud.recorder.host : \"127.0.0.1\"".to_owned(),
            "insights_cloud.recorder.port : 0".to_owned(),
            format!("insights_cloud.identity.path : {}", path("identity")),
            format!("insights_cloud.spool.path : {}", path("spool")),
            format!("insights_cloud.status.socket : {}", path("status.sock")),
        ] {
            command.arg("--set").arg(setting);
        }
        for setting in more {
            command.args(["--set", setting]);
        }
        let log = self.log("cluster");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::start("cluster", &mut command, &log)?;
        process.line("started", START).await?;
        Ok(process)
    }

    pub fn cluster_log(&self) -> PathBuf {
        self.dir.join("midonet-cluster/midonet-cluster.log")
    }

    /// The simulated cloud.
    pub fn cloud(&self, zookeeper: &str, more: &[&str]) -> Result<Process> {
        let mut command = self.program("insights-cloudsim");
        command.args(["run", "--zookeeper", zookeeper, "--ledger"]).arg(self.ledger()).args(more);
        Process::start("cloudsim", &mut command, &self.log("cloudsim"))
    }

    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.json")
    }
}
