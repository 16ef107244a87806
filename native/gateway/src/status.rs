// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How the gateway is: one place that the parts write to, and that statistics, reports and `mn-insights status` read.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use insights_protocol::{Kind, control::Report};
use insights_spool::Spool;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::{Config, clock::now_us, pipe::Pipe, spooler, tap::Stop};

/// Callers at a time; further ones wait in the socket's own queue.
const MAX_CALLERS: usize = 4;
/// A caller gets so long for its request and to take its answer.
const CALL_TIME: std::time::Duration = std::time::Duration::from_secs(2);
/// A status has a few KiB.
const MAX_STATUS: u64 = 1 << 20;

/// Shared by the parts of one gateway.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    pipe: Pipe,
    started_us: i64,
    spool: Mutex<Option<Arc<Spool>>>,
    link: Mutex<Link>,
    failed: Mutex<Vec<String>>,
}

/// The connection, as people see it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Link {
    /// `starting`, `connecting`, `connected`, `waiting` or `stopped`.
    pub state: String,
    /// Since when, µs since the epoch.
    pub since_us: i64,
    /// Host and port as configured, and the address that it has now.
    pub service: String,
    pub address: Option<String>,
    pub site: Option<String>,
    /// Of the key that is used now.
    pub fingerprint: Option<String>,
    /// Why there is no connection, and what to do.
    pub trouble: Option<String>,
    /// The service's clock less ours, ms, as of the greeting.
    pub clock_offset_ms: Option<i64>,
    /// Round trip, ms.
    pub rtt_ms: Option<u64>,
}

/// Everything, as `mn-insights status --json` prints it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    pub version: String,
    pub at_us: i64,
    pub started_us: i64,
    pub host_id: String,
    /// `running` or `failed`: parts that ended with a panic are in `failures`.
    pub state: String,
    pub failures: Vec<String>,
    pub link: Link,
    /// Whether it is this gateway that sends the topology and the meters of its site.
    pub leads: bool,
    /// What may leave now.
    pub kinds: KindSwitches,
    pub lag_ms: u64,
    pub spool: SpoolStatus,
    /// In the order topology, events, meters, flows.
    pub counters: Vec<Counters>,
    pub agents_connected: u32,
    /// Of them, those that connect from an address that the NSDB has for no host.
    pub agents_foreign: u32,
    /// Connections refused by `recorder.clients` since the start.
    pub agents_refused: u64,
    pub agents_alive: u32,
    pub meters_answered: u32,
    /// Of the whole process, which is MidoNet's.
    pub memory_bytes: u64,
    /// What is in force, by key below `insights_cloud`.
    pub settings: BTreeMap<String, String>,
    pub zookeeper: ZookeeperStatus,
}

/// Where the plugin finds MidoNet's database.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ZookeeperStatus {
    pub hosts: String,
    pub root_key: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KindSwitches {
    pub topology: bool,
    pub state: bool,
    pub metering: bool,
    pub flows: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SpoolStatus {
    /// `false` while the spool can't be opened.
    pub open: bool,
    pub bytes: u64,
    pub limit: u64,
    pub lanes: Vec<LaneStatus>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LaneStatus {
    pub kind: String,
    /// 16 hex digits.
    pub epoch: String,
    pub first: u64,
    pub next: u64,
    pub bytes: u64,
}

/// Records of one kind since the start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counters {
    pub kind: String,
    pub received: u64,
    pub invalid: u64,
    pub dropped: u64,
    pub spooled: u64,
    pub evicted: u64,
    pub acknowledged: u64,
}

impl Shared {
    pub fn new(config: Arc<Config>, pipe: Pipe) -> Shared {
        let service = format!("{}:{}", config.gateway.host, config.gateway.port);
        let link = Link {
            state: "starting".into(),
            since_us: now_us(),
            service,
            ..Link::default()
        };
        let inner = Inner {
            config,
            pipe,
            started_us: now_us(),
            spool: Mutex::default(),
            link: Mutex::new(link),
            failed: Mutex::default(),
        };
        Shared(Arc::new(inner))
    }

    pub(crate) fn started_us(&self) -> i64 {
        self.0.started_us
    }

    /// The spool is open.
    pub fn set_spool(&self, spool: Arc<Spool>) {
        *self.0.spool.lock() = Some(spool);
    }

    /// Changes what is known of the connection; the time of its state follows by itself.
    pub(crate) fn link(&self, change: impl FnOnce(&mut Link)) {
        let mut link = self.0.link.lock();
        let before = link.state.clone();
        change(&mut link);
        if link.state != before {
            link.since_us = now_us();
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.link.lock().state == "connected"
    }

    /// A part ended with a panic.
    pub(crate) fn failed(&self, part: String) {
        self.0.failed.lock().push(part);
    }

    pub fn status(&self) -> Status {
        let inner = &*self.0;
        let at_us = now_us();
        let failures = inner.failed.lock().clone();
        let spool = inner.spool.lock().clone();
        let lanes: Vec<_> = spool
            .iter()
            .flat_map(|spool| Kind::ALL.map(|kind| (kind, spool.lane(spooler::lane(kind)))))
            .collect();
        let oldest_us = lanes.iter().filter_map(|(_, lane)| lane.oldest_us).min();
        let kinds = inner.pipe.settings().borrow().kinds;
        let gauges = inner.pipe.gauges();
        let counters = inner.pipe.counters().into_iter().map(|counters| Counters {
            kind: counters.kind.name().into(),
            received: counters.received,
            invalid: counters.invalid,
            dropped: counters.dropped,
            spooled: counters.spooled,
            evicted: counters.evicted,
            acknowledged: counters.acknowledged,
        });
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            at_us,
            started_us: inner.started_us,
            host_id: inner.config.host_id.to_string(),
            state: if failures.is_empty() { "running" } else { "failed" }.into(),
            failures,
            link: inner.link.lock().clone(),
            leads: gauges.term.load(Ordering::Relaxed) != 0,
            kinds: KindSwitches {
                topology: kinds.topology,
                state: kinds.state,
                metering: kinds.metering,
                flows: kinds.flows,
            },
            lag_ms: oldest_us.map_or(0, |oldest| at_us.saturating_sub(oldest).max(0) as u64 / 1_000),
            spool: SpoolStatus {
                open: spool.is_some(),
                bytes: lanes.iter().map(|(_, lane)| lane.bytes).sum(),
                limit: inner.config.spool.max_bytes,
                lanes: lanes.into_iter().map(lane_status).collect(),
            },
            counters: counters.collect(),
            agents_connected: gauges.agents_connected.load(Ordering::Relaxed),
            agents_foreign: gauges.agents_foreign.load(Ordering::Relaxed),
            agents_refused: gauges.agents_refused.load(Ordering::Relaxed),
            agents_alive: gauges.agents_alive.load(Ordering::Relaxed),
            meters_answered: gauges.meters_answered.load(Ordering::Relaxed),
            memory_bytes: resident_bytes(),
            settings: inner.config.settings(),
            zookeeper: ZookeeperStatus {
                hosts: inner.config.zookeeper.hosts.clone(),
                root_key: inner.config.zookeeper.root_key.clone(),
            },
        }
    }

    /// The same for the service.
    pub(crate) fn report(&self) -> Report {
        let status = self.status();
        Report {
            at_us: status.at_us,
            leads: status.leads,
            lag_ms: status.lag_ms,
            spool_bytes: status.spool.bytes,
            spool_limit: status.spool.limit,
            counters: self.0.pipe.counters(),
            agents_connected: status.agents_connected,
            meters_answered: status.meters_answered,
            agents_alive: status.agents_alive,
            memory_bytes: status.memory_bytes,
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string(&self.status()).unwrap_or_else(|error| format!("{{\"state\":\"{error}\"}}"))
    }
}

/// Answers on the local socket until `stop`. Whoever connects gets the status; there is nothing to ask.
pub async fn serve(path: &Path, shared: Shared, stop: Stop) {
    let listener = match bind(path) {
        Ok(listener) => listener,
        Err(error) => {
            log::warn!("`mn-insights status` will not work: can't listen on {}: {error}", path.display());
            return stop.stopped().await;
        }
    };
    let callers = Arc::new(tokio::sync::Semaphore::new(MAX_CALLERS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.stopped() => break,
        };
        match accepted {
            Ok((mut stream, _)) => {
                let Ok(permit) = callers.clone().acquire_owned().await else { break };
                let shared = shared.clone();
                tokio::spawn(async move {
                    let text = tokio::task::spawn_blocking(move || shared.json()).await.unwrap_or_default();
                    // A caller that went away is no fault of ours.
                    let _ = timeout(CALL_TIME, stream.write_all(text.as_bytes())).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
        }
    }
    let _ = std::fs::remove_file(path);
}

/// Asks the running plugin.
pub async fn ask(path: &Path) -> std::io::Result<Status> {
    let exchange = async {
        let stream = UnixStream::connect(path).await?;
        let mut text = Vec::new();
        stream.take(MAX_STATUS).read_to_end(&mut text).await?;
        serde_json::from_slice(&text).map_err(std::io::Error::other)
    };
    timeout(CALL_TIME * 2, exchange)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

/// Listens under another name first, so that the socket that others see takes calls and is the owner's alone.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&temporary, path)?;
    Ok(listener)
}

fn lane_status((kind, lane): (Kind, insights_spool::LaneState)) -> LaneStatus {
    LaneStatus {
        kind: kind.name().into(),
        epoch: format!("{:016x}", lane.epoch),
        first: lane.first,
        next: lane.next,
        bytes: lane.bytes,
    }
}

/// Resident memory of this process; 0 where `/proc` does not tell.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}
