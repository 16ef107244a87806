// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The simulated cloud that all flows come from: its topology as a gateway would send it, and its flows with their times.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use anyhow::{Result, ensure};
use insights_cloudsim::{plan::Plan, size::Size, traffic, view::View, zoom};
use insights_gateway::recorder::intake;
use insights_protocol::{
    flow::FlowFact,
    topology::{Change, Node},
};
use midonet::{flow::FlowRecord, nsdb::state::PortState};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// Simulation threads of an agent: each leaves the port of the packet before in records that have none.
const WORKERS: usize = 4;

/// Flows that are made at once. A connection's flows stand together in the sample and close together in time.
const CHUNK: usize = 50_000;

/// A planned cloud.
pub struct Cloud {
    view: View,
    seed: u64,
    /// Path and content of each node.
    nodes: Vec<(String, Vec<u8>)>,
    /// Number of each virtual port, from 1 on: what flow formats with interfaces call it.
    pub interfaces: HashMap<Uuid, u32>,
}

/// One record and when it is received.
#[derive(Clone, Debug)]
pub struct Flow {
    pub at_us: i64,
    pub record: FlowRecord,
}

impl Cloud {
    pub fn build(size: Size, seed: u64) -> Cloud {
        let mut plan = Plan::build(size, seed, Ipv4Addr::new(127, 64, 0, 0));
        let view = View::compile(&plan.zoom, &plan.learned);
        let ports: BTreeSet<Uuid> = view.ports.iter().map(|port| port.id).collect();
        let mut nodes = Vec::new();
        for change in plan.zoom.take_changes() {
            match change {
                zoom::Change::Create(kind, id, text) => nodes.push((format!("zoom/0/models/{}/{id}", kind.name()), text.into_bytes())),
                zoom::Change::AddEntry(entry) => {
                    let path = format!("zoom/0/tables/{}/{}/{}/{}", entry.kind.name(), entry.id, entry.table, entry.entry);
                    nodes.push((path, Vec::new()));
                }
                _ => {}
            }
        }
        for host in &plan.hosts {
            nodes.push((format!("zoom/0/state/{0}/Host/{0}/alive", host.id), b"alive".to_vec()));
        }
        for port in view.ports.iter().filter(|port| port.up) {
            let Some(host) = port.host.map(|index| view.hosts[index as usize].id) else {
                continue;
            };
            let active = PortState {
                host,
                tunnel_key: Some(port.tunnel_key),
            };
            nodes.push((format!("zoom/0/state/{host}/Port/{}/active", port.id), active.to_text().into_bytes()));
        }
        Cloud {
            view,
            seed,
            nodes,
            interfaces: ports.into_iter().zip(1..).collect(),
        }
    }

    /// Nodes of the NSDB.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The NSDB as a gateway's snapshot of this moment.
    pub fn snapshot(&self, at_us: i64) -> Vec<Change> {
        let node = |(number, (path, data)): (usize, &(String, Vec<u8>))| {
            Change::Put(Node {
                path: path.clone(),
                data: data.clone(),
                mzxid: number as i64 + 1,
                version: 0,
                ctime_ms: at_us / 1_000,
                mtime_ms: at_us / 1_000,
                ephemeral_owner: 0,
                at_us,
            })
        };
        let begin = Change::SnapshotBegin { at_us, term: 1 };
        let end = Change::SnapshotEnd {
            at_us,
            nodes: self.nodes.len() as u64,
        };
        [begin].into_iter().chain(self.nodes.iter().enumerate().map(node)).chain([end]).collect()
    }

    /// Flows of connections that nobody opened before, in the order of their times, which are random with the same mean rate throughout.
    /// The same cloud and `run` give the same flows.
    pub fn flows(&self, run: u64, count: usize, from_us: i64, to_us: i64) -> Flows<'_> {
        Flows {
            cloud: self,
            run,
            rng: StdRng::seed_from_u64(self.seed ^ run.rotate_left(32)),
            hosts: HashMap::new(),
            made: 0,
            count,
            from_us,
            to_us,
        }
    }
}

/// Makes flows in chunks.
pub struct Flows<'a> {
    cloud: &'a Cloud,
    run: u64,
    rng: StdRng,
    hosts: HashMap<Uuid, Agent>,
    made: usize,
    count: usize,
    from_us: i64,
    to_us: i64,
}

#[derive(Default)]
struct Agent {
    cookie: u64,
    in_ports: [Option<Uuid>; WORKERS],
}

impl Flows<'_> {
    /// The next flows; none when all are made.
    pub fn next_chunk(&mut self) -> Result<Vec<Flow>> {
        let count = CHUNK.min(self.count - self.made);
        if count == 0 {
            return Ok(Vec::new());
        }
        let seed = self.cloud.seed.wrapping_add((self.run << 32) + self.made as u64 + 1);
        let records = traffic::sample(&self.cloud.view, seed, count);
        ensure!(records.len() == count, "the cloud has too little traffic");
        let step = (self.to_us - self.from_us) as f64 / self.count as f64;
        let begin = self.from_us as f64 + self.made as f64 * step;
        let mut times: Vec<i64> = (0..count)
            .map(|_| off_the_mark((begin + self.rng.random_range(0.0..count as f64) * step) as i64))
            .collect();
        times.sort_unstable();
        self.made += count;
        let flows = times.into_iter().zip(records).map(|(at_us, record)| Flow {
            at_us,
            record: self.of_worker(record),
        });
        Ok(flows.collect())
    }

    /// As agents send them: each host's workers take turns and count their cookies.
    fn of_worker(&mut self, mut record: FlowRecord) -> FlowRecord {
        let agent = self.hosts.entry(record.host).or_default();
        let in_port = &mut agent.in_ports[(agent.cookie % WORKERS as u64) as usize];
        if record.in_port.is_some() {
            *in_port = record.in_port;
        } else {
            record.in_port = *in_port;
        }
        record.cookie = agent.cookie;
        agent.cookie += 1;
        record
    }
}

/// Nothing falls into the first millisecond of five minutes: some tools count both ends of a span in whole seconds, others only its beginning.
fn off_the_mark(at_us: i64) -> i64 {
    if at_us.rem_euclid(300_000_000) < 1_000 { at_us + 1_000 } else { at_us }
}

/// What the gateway makes of flows.
pub fn facts(flows: &[Flow]) -> Vec<FlowFact> {
    let mut paths = HashMap::new();
    let fact = |flow: &Flow| {
        let mut fact = intake::fact_of(flow.record.clone(), flow.at_us);
        // As the recorder does.
        fact.path = paths.entry(fact.path.clone()).or_insert(fact.path).clone();
        fact
    };
    flows.iter().map(fact).collect()
}
