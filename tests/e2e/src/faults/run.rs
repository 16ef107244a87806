// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::{Fault, Plan, Relay, Weather};
use crate::manager::Browser;
use crate::oracle::{self, Logged, Mark};
use crate::process::{Process, run as run_program, wait};
use crate::stack::{Account, Places, Served};

/// Longest wait for something that is sure to come; two busy cores are slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// Records that an agent's kernel has taken and the gateway has not put on its disk when it dies are at most so old, on a busy machine.
const ON_THE_WAY_US: i64 = 10_000_000;

/// Room of the gateway's disk: what a run spools at most, many times.
const DISK: &str = "size=64m";

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub faults: usize,
    pub sent: usize,
    pub stored: usize,
    /// Records that were on the disk of a gateway that died.
    pub taken_over: usize,
    /// Sent and not stored, each explained by a fault that may lose it.
    pub lost: usize,
    /// In batches that a fault damaged on the gateway's disk.
    pub damaged: usize,
}

struct Stack {
    places: Places,
    relay: Relay,
    hosts: String,
    zookeeper: Process,
    collector: Process,
    at: Served,
    cluster: Process,
    cluster_seen_us: i64,
    /// The gateway's spool is a file system of its own, which can be filled.
    disk: Option<Disk>,
    taken_over: BTreeSet<Mark>,
    damaged: BTreeSet<Mark>,
    /// Spans in which what agents have sent may be lost.
    lossy: Vec<(i64, i64)>,
}

/// Runs a plan in a folder and asks the oracle. An error names the seed.
pub async fn run(dir: &Path, plan: &Plan, rate: u32) -> Result<Report> {
    let (seed, count) = (plan.seed, plan.steps.len());
    run_plan(dir, plan, rate)
        .await
        .with_context(|| format!("seed {seed}; again with: cargo run -p insights-e2e --bin faults -- --seed {seed} --faults {count} --rate {rate}"))
}

async fn run_plan(dir: &Path, plan: &Plan, rate: u32) -> Result<Report> {
    let account = Account {
        email: "faults@example.org".into(),
        name: "Grace Tester".into(),
        password: "correct horse battery".into(),
        site: "lab".into(),
    };
    let mut stack = Stack::start(dir, plan.seed, &account).await?;
    let rate = rate.to_string();
    let log = stack.places.dir.join("records.log");
    let log_text = log.display().to_string();
    let mut arguments = vec!["--calm", "--flat", "--seed", "11", "--rate", &rate, "--record-log", &log_text];
    arguments.extend(["--queue-size", "4096", "--connection-interval", "0.2"]);
    let mut cloud = stack.places.cloud(&stack.hosts, &arguments)?;
    wait(PATIENCE, "the first records", || Ok((records(&log) > 200).then_some(()))).await?;
    for (step, (pause, fault)) in plan.steps.iter().enumerate() {
        tokio::time::sleep(*pause).await;
        stack.look_after().await?;
        eprintln!("fault {step}: {fault}");
        stack.happen(plan, step, *fault).await.with_context(|| format!("fault {step}: {fault}"))?;
        ensure!(cloud.ended()?.is_none(), "the simulator ended; see {}", cloud.log.display());
    }
    stack.relay.set(Weather::default());
    // It all works again.
    stack.look_after().await?;
    let before = records(&log);
    wait(PATIENCE, "records after the last fault", || {
        Ok((records(&log) > before + 200).then_some(()))
    })
    .await?;
    cloud.stop(Duration::from_secs(20)).await?;
    stack.drained().await?;
    let (browser, site) = Browser::at_home(&stack.at.web, &account)?;
    let stored = oracle::stored(&browser, &site)?;
    let report = stack.judge(plan, oracle::sent(&log)?, stored.into_iter().map(|(mark, ..)| mark))?;
    stack.cluster.stop(Duration::from_secs(15)).await?;
    stack.collector.stop(Duration::from_secs(15)).await?;
    Ok(report)
}

impl Stack {
    async fn start(dir: &Path, seed: u64, account: &Account) -> Result<Stack> {
        let places = Places::new(dir)?;
        let (zookeeper, hosts) = places.zookeeper("3.4", 0).await?;
        places.prepare(account).await?;
        let disk = Disk::mount(&places.dir.join("gateway/spool")).await;
        let anywhere = Served {
            ingest: "127.0.0.1:0".into(),
            web: "127.0.0.1:0".into(),
        };
        let (collector, at) = places.serve(&anywhere).await?;
        let relay = Relay::new(at.ingest.parse()?, seed).await?;
        let cluster = places.cluster(&hosts, &relay.address.to_string(), &[]).await?;
        Ok(Stack {
            places,
            relay,
            hosts,
            zookeeper,
            collector,
            at,
            cluster,
            cluster_seen_us: now_us(),
            disk,
            taken_over: BTreeSet::new(),
            damaged: BTreeSet::new(),
            lossy: Vec::new(),
        })
    }

    async fn happen(&mut self, plan: &Plan, step: usize, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillCollector => self.restart_collector(|_| Ok(())).await?,
            Fault::TornLog => {
                let rubbish = rubbish(plan, step);
                self.restart_collector(|places| append(&newest(&places.dir.join("collector/store/log"))?, &rubbish))
                    .await?;
            }
            Fault::KillCluster => self.restart_cluster(|_| Ok(())).await?,
            Fault::TornSpool => {
                let rubbish = rubbish(plan, step);
                self.restart_cluster(|spool| append(&newest(&spool.join("flows"))?, &rubbish)).await?;
            }
            Fault::FlippedSpool => {
                let at = plan.pick(step, u64::MAX);
                self.restart_cluster(|spool| flip(&spool.join("flows"), at)).await?;
            }
            Fault::KillZooKeeper => {
                self.zookeeper.kill().await?;
                let port = self.hosts.rsplit(':').next().context("an address has a port")?.parse()?;
                self.zookeeper = self.places.zookeeper("3.4", port).await?.0;
            }
            Fault::PauseCollector(time) => pause(&self.collector, time).await?,
            Fault::PauseCluster(time) => pause(&self.cluster, time).await?,
            Fault::PauseZooKeeper(time) => pause(&self.zookeeper, time).await?,
            Fault::BadNetwork {
                loss,
                double,
                reorder,
                delay_ms,
                time,
            } => {
                let delay = Duration::from_millis(delay_ms.into());
                let weather = Weather {
                    loss,
                    double,
                    reorder,
                    delay,
                    mtu: 0,
                };
                self.weather(weather, time).await;
            }
            Fault::BlackHole(time) => {
                let weather = Weather {
                    loss: 100,
                    ..Weather::default()
                };
                self.weather(weather, time).await;
            }
            Fault::SmallPackets(mtu, time) => self.weather(Weather { mtu, ..Weather::default() }, time).await,
            Fault::AddressChange => self.relay.change_addresses(),
            Fault::DiskFull(time) => match &self.disk {
                Some(disk) => {
                    let from = now_us();
                    disk.fill()?;
                    tokio::time::sleep(time).await;
                    disk.free()?;
                    self.lossy.push((from - ON_THE_WAY_US, now_us() + ON_THE_WAY_US));
                }
                None => eprintln!("left out: nobody may mount a file system here"),
            },
        }
        Ok(())
    }

    async fn weather(&self, weather: Weather, time: Duration) {
        self.relay.set(weather);
        tokio::time::sleep(time).await;
        self.relay.set(Weather::default());
    }

    /// Starts again what has ended by itself: only the daemon may, when it has lost its session.
    async fn look_after(&mut self) -> Result<()> {
        ensure!(
            self.collector.ended()?.is_none(),
            "the collector ended; see {}",
            self.collector.log.display()
        );
        ensure!(self.zookeeper.ended()?.is_none(), "ZooKeeper ended; see {}", self.zookeeper.log.display());
        if self.cluster.ended()?.is_some() {
            let text = std::fs::read_to_string(self.places.cluster_log())?;
            ensure!(
                text.to_lowercase().contains("session"),
                "the cluster daemon ended, and not for its session"
            );
            eprintln!("the cluster daemon lost its session and ended");
            self.lossy.push((self.cluster_seen_us - ON_THE_WAY_US, now_us()));
            self.restart_cluster(|_| Ok(())).await?;
        }
        self.cluster_seen_us = now_us();
        Ok(())
    }

    async fn restart_collector(&mut self, between: impl FnOnce(&Places) -> Result<()>) -> Result<()> {
        self.collector.kill().await?;
        between(&self.places)?;
        self.collector = self.places.serve(&self.at).await?.0;
        Ok(())
    }

    async fn restart_cluster(&mut self, between: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.cluster.kill().await?;
        let killed_us = now_us();
        self.lossy.push((killed_us - ON_THE_WAY_US, killed_us + 1_000_000));
        let spool = self.spool();
        let had = oracle::spooled(&spool)?;
        between(&spool)?;
        let has = oracle::spooled(&spool)?;
        self.damaged.extend(had.difference(&has));
        self.taken_over.extend(had);
        self.cluster = self.places.cluster(&self.hosts, &self.relay.address.to_string(), &[]).await?;
        self.cluster_seen_us = now_us();
        Ok(())
    }

    fn spool(&self) -> PathBuf {
        self.places.dir.join("gateway/spool")
    }

    /// The gateway has sent everything that it has, and the service has acknowledged it.
    async fn drained(&mut self) -> Result<()> {
        let socket = self.places.dir.join("gateway/status.sock");
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            let status = run_program(self.places.program("mn-insights").args(["status", "--json", "--socket"]).arg(&socket)).await;
            let status: Value = serde_json::from_str(&status.unwrap_or_default()).unwrap_or_default();
            let lanes = status["spool"]["lanes"].as_array().cloned().unwrap_or_default();
            let flows = lanes.iter().find(|lane| lane["kind"] == "flows").cloned();
            // Nothing waits, and nothing came since the last look.
            if let Some(flows) = &flows
                && flows["first"] == flows["next"]
                && last == Some(flows.clone())
            {
                return Ok(());
            }
            last = flows;
            ensure!(Instant::now() < deadline, "the gateway's spool does not drain: {status}");
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    fn judge(&self, plan: &Plan, sent: Vec<Logged>, stored: impl Iterator<Item = Mark>) -> Result<Report> {
        let stored = oracle::once(stored)?;
        let told: BTreeMap<Mark, i64> = sent.iter().map(|record| (record.mark, record.time_us)).collect();
        ensure!(told.len() == sent.len(), "the simulator sent a record twice");
        let invented: Vec<&Mark> = stored.iter().filter(|mark| !told.contains_key(mark)).take(5).collect();
        ensure!(invented.is_empty(), "stored and sent by nobody: {invented:?}");
        let gone: Vec<&Mark> = self
            .taken_over
            .iter()
            .filter(|mark| !stored.contains(mark) && !self.damaged.contains(mark))
            .collect();
        ensure!(
            gone.is_empty(),
            "{} records were on a gateway's disk and are not stored: {:?}",
            gone.len(),
            &gone[..gone.len().min(5)]
        );
        let missing: Vec<(&Mark, i64)> = told
            .iter()
            .filter(|(mark, _)| !stored.contains(mark))
            .map(|(mark, time)| (mark, *time))
            .collect();
        let explained =
            |(mark, time): &&(&Mark, i64)| self.damaged.contains(*mark) || self.lossy.iter().any(|(from, to)| (from..=to).contains(&time));
        let unexplained: Vec<_> = missing.iter().filter(|missing| !explained(missing)).collect();
        ensure!(
            unexplained.is_empty(),
            "{} records were sent and are not stored, and no fault explains it: {:?}",
            unexplained.len(),
            &unexplained[..unexplained.len().min(5)]
        );
        ensure!(stored.len() * 2 > told.len(), "most is stored: {} of {}", stored.len(), told.len());
        Ok(Report {
            faults: plan.steps.len(),
            sent: told.len(),
            stored: stored.len(),
            taken_over: self.taken_over.len(),
            lost: missing.len(),
            damaged: self.damaged.iter().filter(|mark| !stored.contains(mark)).count(),
        })
    }
}

/// A small file system in memory.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// None where that is not allowed.
    async fn mount(path: &Path) -> Option<Disk> {
        std::fs::create_dir_all(path).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "insights-faults"]).arg(path);
        run_program(&mut mount).await.ok()?;
        Some(Disk { path: path.into() })
    }

    /// Takes all room that is left.
    fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::create(self.path.join("fill"))?;
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path.join("fill"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn rubbish(plan: &Plan, step: usize) -> Vec<u8> {
    let length = 1 + plan.pick(step, 400);
    (0..length).map(|at| (plan.pick(step, u64::MAX) >> (at % 56)) as u8).collect()
}

fn append(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::File::options()
        .append(true)
        .open(file)
        .with_context(|| format!("open {}", file.display()))?;
    Ok(file.write_all(bytes)?)
}

/// Turns a bit of one of the files of a folder, behind its header.
fn flip(folder: &Path, pick: u64) -> Result<()> {
    const HEADER: usize = 64;
    let file = newest(folder)?;
    let mut bytes = std::fs::read(&file)?;
    if bytes.len() > HEADER {
        let at = HEADER + (pick % (bytes.len() - HEADER) as u64) as usize;
        bytes[at] ^= 1 << (pick >> 32 & 7);
        std::fs::write(&file, bytes)?;
    }
    Ok(())
}

/// The last file of a folder by its name, which counts up.
fn newest(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    files.pop().with_context(|| format!("{} is empty", folder.display()))
}

async fn pause(process: &Process, time: Duration) -> Result<()> {
    let id = process.id().context("the process runs")?.to_string();
    run_program(Command::new("kill").args(["-STOP", &id])).await?;
    tokio::time::sleep(time).await;
    run_program(Command::new("kill").args(["-CONT", &id])).await.map(drop)
}

/// Lines of the simulator's log.
fn records(log: &Path) -> usize {
    std::fs::read(log).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}
