// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the simulation did, for whoever checks what arrived of it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

/// What a record was, beside its bytes: what the ledger counts it as once it is sent.
#[derive(Clone, Debug)]
pub struct Tally {
    pub host: Uuid,
    pub cookie: u64,
    pub class: Class,
    pub tenant: Arc<str>,
    /// The rule that dropped the packet.
    pub rule: Option<Uuid>,
    pub src_port: u16,
    pub json: bool,
}

/// How a record reads to somebody who knows only the record.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Actions are there: the packet goes on.
    Forwarded,
    /// No actions; a rule decided so.
    Dropped,
    /// No actions and no rule that dropped: no route, no MAC, or an internal error.
    DroppedElsewhere,
    /// Answered by a device; the record says NOOP.
    Consumed,
    /// Made by an agent itself.
    Generated,
    /// The second record of a flow, at the end of its tunnel.
    Transit,
}

/// Numbers of one agent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentCounts {
    pub name: String,
    pub alive: bool,
    /// Records whose last byte the socket took.
    pub sent: u64,
    pub sent_bytes: u64,
    /// Lost because the queue of 128 records was full.
    pub queue_full: u64,
    /// Lost because no endpoint was known.
    pub no_endpoint: u64,
    /// Lost with a connection.
    pub lost: u64,
    pub connects: u64,
    pub endpoint: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub struct Records {
    pub made: u64,
    pub sent: u64,
    pub sent_json: u64,
    pub by_class: BTreeMap<Class, u64>,
    pub by_tenant: BTreeMap<Arc<str>, u64>,
    pub by_dropping_rule: BTreeMap<Uuid, u64>,
    pub by_agent: BTreeMap<Uuid, AgentCounts>,
}

/// What the cloud consists of now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Things {
    pub objects: BTreeMap<&'static str, usize>,
    pub hosts: usize,
    pub hosts_alive: usize,
    pub tenants: usize,
    pub networks: usize,
    pub routers: usize,
    pub ports: usize,
    pub ports_bound: usize,
    pub ports_active: usize,
    pub vm_ports: usize,
    pub uplink_ports: usize,
    pub tunnel_zones: usize,
    pub vteps: usize,
    pub load_balancers: usize,
    pub floating_ips: usize,
    pub security_groups: usize,
    /// Hosts in tunnel zones, each as often as it is in one.
    pub tunnel_zone_members: usize,
    pub pool_members: usize,
    pub pool_members_up: usize,
    /// Ports whose meters tell of traffic between whom; empty in a cloud of more than [`MAX_LISTED_PORTS`] ports.
    pub traffic_ports: BTreeMap<Uuid, TrafficPort>,
}

/// Ports that the ledger lists: it is made anew each second.
pub const MAX_LISTED_PORTS: usize = 5_000;

#[derive(Clone, Debug, Serialize)]
pub struct TrafficPort {
    pub role: PortRole,
    /// Empty for none.
    pub tenant: String,
}

/// What passes a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRole {
    /// What a VM sends and gets.
    Vm,
    /// What leaves the cloud and comes into it.
    Uplink,
    /// What leaves a tenant's router for an external network and comes from it.
    Gateway,
}

/// Something that happened to the cloud.
#[derive(Clone, Debug, Serialize)]
pub struct Happening {
    /// Microseconds since the epoch.
    pub time_us: i64,
    pub what: String,
}

/// Happenings that are kept: a day of one every minute.
const MAX_HAPPENINGS: usize = 1440;

#[derive(Debug, Default)]
struct Inner {
    records: Records,
    things: Things,
    happenings: Vec<Happening>,
    log: Option<BufWriter<File>>,
}

/// Packets and bytes of each meter, by host.
pub type Meters = BTreeMap<Uuid, BTreeMap<String, (u64, u64)>>;

/// Meters that the ledger's file holds at most: beyond it takes longer to write than the file is good for. The end point gives them all.
const MAX_FILE_METERS: usize = 20_000;

/// The truth about a running simulation.
pub struct Ledger {
    inner: Mutex<Inner>,
    /// What the agents' end points show now.
    meters: OnceLock<Box<dyn Fn() -> Meters + Send + Sync>>,
    file: Option<PathBuf>,
    started_us: i64,
}

#[derive(Serialize)]
struct Page<'a> {
    started_us: i64,
    time_us: i64,
    things: &'a Things,
    records: &'a Records,
    #[serde(skip_serializing_if = "Option::is_none")]
    meters: Option<Meters>,
    happenings: &'a [Happening],
}

impl Ledger {
    /// `record_log` gets a line per record before it is written to a recorder: host, cookie, class, source port, the rule that dropped it or a
    /// dash, time in microseconds since the epoch, tenant; and a line of `lost`, host and cookie for one that was not written whole after all. So
    /// it has every record that anybody can have received, whenever the simulation is killed.
    pub fn new(file: Option<PathBuf>, record_log: Option<&Path>, now_us: i64) -> std::io::Result<Ledger> {
        let log = record_log.map(|path| File::create(path).map(BufWriter::new)).transpose()?;
        Ok(Ledger {
            inner: Mutex::new(Inner { log, ..Inner::default() }),
            meters: OnceLock::new(),
            file,
            started_us: now_us,
        })
    }

    pub fn made(&self, count: u64) {
        self.inner.lock().records.made += count;
    }

    /// Records that one agent is about to write.
    pub fn sending<'a>(&self, now_us: i64, tallies: impl Iterator<Item = &'a Tally>) {
        let mut inner = self.inner.lock();
        let Some(log) = &mut inner.log else { return };
        for tally in tallies {
            let class = serde_json::to_value(tally.class).unwrap_or_default();
            let class = class.as_str().unwrap_or_default();
            let rule = tally.rule.map_or_else(|| "-".to_owned(), |rule| rule.to_string());
            let Tally {
                host,
                cookie,
                src_port,
                tenant,
                ..
            } = tally;
            // A log that can't be written shows as a difference to what arrives.
            let _ = writeln!(log, "{host} {cookie} {class} {src_port} {rule} {now_us} {tenant}");
        }
        let _ = log.flush();
    }

    /// Records of [`Ledger::sending`] that were not written whole.
    pub fn not_sent<'a>(&self, tallies: impl Iterator<Item = &'a Tally>) {
        if let Some(log) = &mut self.inner.lock().log {
            for tally in tallies {
                let _ = writeln!(log, "lost {} {}", tally.host, tally.cookie);
            }
        }
    }

    /// Records that one agent's socket took whole.
    pub fn sent<'a>(&self, host: Uuid, bytes: u64, tallies: impl Iterator<Item = &'a Tally>) {
        let mut inner = self.inner.lock();
        let records = &mut inner.records;
        let mut count = 0;
        for tally in tallies {
            count += 1;
            *records.by_class.entry(tally.class).or_default() += 1;
            if !tally.tenant.is_empty() {
                *records.by_tenant.entry(tally.tenant.clone()).or_default() += 1;
            }
            if let Some(rule) = tally.rule {
                *records.by_dropping_rule.entry(rule).or_default() += 1;
            }
            records.sent_json += u64::from(tally.json);
        }
        records.sent += count;
        let agent = records.by_agent.entry(host).or_default();
        agent.sent += count;
        agent.sent_bytes += bytes;
    }

    /// Changes an agent's own numbers.
    pub fn agent(&self, host: Uuid, change: impl FnOnce(&mut AgentCounts)) {
        change(self.inner.lock().records.by_agent.entry(host).or_default());
    }

    pub fn set_things(&self, things: Things) {
        self.inner.lock().things = things;
    }

    /// Where meters are read when somebody asks.
    pub fn set_meters(&self, meters: impl Fn() -> Meters + Send + Sync + 'static) {
        // Set once, when the simulation starts.
        let _ = self.meters.set(Box::new(meters));
    }

    pub fn happened(&self, time_us: i64, what: String) {
        log::info!("{what}");
        let mut inner = self.inner.lock();
        if inner.happenings.len() == MAX_HAPPENINGS {
            inner.happenings.remove(0);
        }
        inner.happenings.push(Happening { time_us, what });
    }

    /// Records sent so far, and made so far.
    pub fn totals(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.records.sent, inner.records.made)
    }

    /// The whole ledger; with the meters if they are not more than asked for.
    pub fn to_json(&self, now_us: i64, max_meters: usize) -> String {
        let meters = self
            .meters
            .get()
            .map(|meters| meters())
            .filter(|meters| meters.values().map(BTreeMap::len).sum::<usize>() <= max_meters);
        let inner = self.inner.lock();
        let page = Page {
            started_us: self.started_us,
            time_us: now_us,
            things: &inner.things,
            records: &inner.records,
            meters,
            happenings: &inner.happenings,
        };
        serde_json::to_string(&page).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()))
    }

    /// Writes the ledger's file in one step, and what the log holds back.
    pub fn flush(&self, now_us: i64) -> std::io::Result<()> {
        if let Some(log) = &mut self.inner.lock().log {
            log.flush()?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        let partial = file.with_extension("partial");
        std::fs::write(&partial, self.to_json(now_us, MAX_FILE_METERS))?;
        std::fs::rename(&partial, file)
    }
}
