// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A snapshot of a large NSDB by the tap, against raw pipelined reads of the same nodes with the same client, and what a reconnect costs.
//! Needs Java and Maven for the ZooKeeper of `tests/daemon`. `cargo bench -p insights-gateway --bench snapshot [-- OBJECTS]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own that prints what it measured")]

#[path = "../tests/site/mod.rs"]
mod site;

use std::time::{Duration, Instant};

use insights_gateway::nsdb::{
    self, NODE_BYTES, View,
    zk::{
        Code, Endpoints, Incoming, Link, SessionKey,
        codec::{self, Request},
    },
};
use insights_protocol::topology::Change;
use serde_json::json;
use site::{Site, ZooKeeper, site};
use uuid::Uuid;

const WINDOW: usize = 512;
const ROUNDS: usize = 5;

/// Shows what the tap complains of: a lost connection makes a figure worthless.
struct Complaints;

impl log::Log for Complaints {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("{}: {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

fn main() {
    log::set_logger(&Complaints).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let objects = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(objects));
}

async fn run(objects: usize) {
    let mut zookeeper = ZooKeeper::start("3.4", 2_000);
    let (directories, leaves) = fill(&zookeeper, objects).await;
    println!("{} objects and entries in {} directories", leaves.len(), directories.len());

    // In turns, so that what else the machine does is in both.
    let (mut raw, mut raw_cpu, mut tap, mut tap_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut grown = 0;
    for _ in 0..ROUNDS {
        let (began, used) = (Instant::now(), cpu());
        read(&zookeeper, &directories, &leaves).await;
        raw.push(began.elapsed());
        raw_cpu.push(cpu() - used);

        let (before, used) = (resident(), cpu());
        let (took, nodes, site) = snapshot(&zookeeper).await;
        assert_eq!(nodes as usize, leaves.len());
        grown = grown.max(resident().saturating_sub(before));
        tap.push(took);
        tap_cpu.push(cpu() - used);
        site.stop.stop();
    }
    let reads = (directories.len() + leaves.len()) as f64;
    let rate = |time: Duration| reads / time.as_secs_f64();
    let (raw, tap) = (median(raw), median(tap));
    println!("raw reads     median {:6.0} ms, {:6.0} reads/s", raw.as_secs_f64() * 1e3, rate(raw));
    println!(
        "tap, snapshot median {:6.0} ms, {:6.0} reads/s, {:.2} of raw",
        tap.as_secs_f64() * 1e3,
        rate(tap),
        tap.as_secs_f64() / raw.as_secs_f64()
    );
    let (raw_cpu, tap_cpu) = (median(raw_cpu), median(tap_cpu));
    println!("CPU time of this process: raw {} ms, tap {} ms", raw_cpu.as_millis(), tap_cpu.as_millis());
    println!(
        "{NODE_BYTES} bytes a remembered node; the process grew by {} KiB at most, {} bytes an object",
        grown >> 10,
        grown / leaves.len()
    );

    // A lost connection: until a change that came meanwhile is here.
    let (_, _, mut site) = snapshot(&zookeeper).await;
    let mut times = Vec::new();
    for leaf in leaves.iter().filter(|path| path.contains("/models/")).take(ROUNDS) {
        zookeeper.crash_and_restart();
        let client = zookeeper.client().await;
        let began = Instant::now();
        client.set_data(leaf, b"admin_state_up: false\n", None).await.unwrap();
        let mut changes = 0;
        'waiting: while let Some(list) = site.end.topology.recv().await {
            changes += list.len();
            for change in list {
                if matches!(&change, Change::Put(node) if leaf.ends_with(&node.path)) {
                    break 'waiting;
                }
            }
        }
        assert_eq!(changes, 1, "nothing else is sent");
        times.push(began.elapsed());
    }
    println!(
        "after a crash of the server: change seen, median {:.0} ms",
        median(times).as_secs_f64() * 1e3
    );
    site.stop.stop();
}

/// A tree as a cloud has it: objects of some classes, and a table with a few entries for every tenth.
async fn fill(zookeeper: &ZooKeeper, objects: usize) -> (Vec<String>, Vec<String>) {
    let text =
        "id {\n  msb: 1234605616436508552\n  lsb: 9833440827789222417\n}\ntenant_id: \"8f2c0f6e5d7a4c6f9a1b2c3d4e5f6071\"\nadmin_state_up: true\n"
            .repeat(3);
    let mut directories: Vec<String> = ["", "/zoom", "/zoom/0", "/zoom/0/models", "/zoom/0/tables", "/zoom/0/tables/Port"]
        .map(|path| format!("/midonet{path}"))
        .into();
    let classes = ["Port", "NeutronPort", "Rule", "Route", "Chain", "Network", "SecurityGroupRule"];
    directories.extend(classes.map(|class| format!("/midonet/zoom/0/models/{class}")));
    let mut leaves = Vec::new();
    for index in 0..objects {
        let id = Uuid::from_u128(0x5eed_0000_0000_4000_8000_0000_0000_0000 + index as u128);
        if index % 10 == 0 {
            let table = format!("/midonet/zoom/0/tables/Port/{id}");
            leaves.push(format!("{table}/peering_table/fa:16:3e:00:00:01,10.0.0.1,2147483647"));
            directories.push(table.clone());
            directories.push(format!("{table}/peering_table"));
        }
        leaves.push(format!("/midonet/zoom/0/models/{}/{id}", classes[index % classes.len()]));
    }
    let mut link = open(zookeeper).await;
    let all: Vec<(&String, &[u8])> = directories
        .iter()
        .map(|path| (path, &b""[..]))
        .chain(leaves.iter().map(|path| (path, text.as_bytes())))
        .collect();
    let mut flight = 0;
    for (path, data) in all {
        link.send(&Request::Create {
            path,
            data: if path.contains(',') { b"" } else { data },
            ephemeral: false,
        });
        flight += 1;
        if flight == WINDOW {
            assert_eq!(reply(&mut link).await.0, Code::OK);
            flight -= 1;
        }
    }
    for _ in 0..flight {
        assert_eq!(reply(&mut link).await.0, Code::OK);
    }
    // What the tap lists: the trees, not their parents.
    directories.drain(..3);
    (directories, leaves)
}

/// All nodes with watches, as many in flight as the tap has.
async fn read(zookeeper: &ZooKeeper, directories: &[String], leaves: &[String]) {
    let mut link = open(zookeeper).await;
    let mut flight = 0;
    let requests = directories.iter().map(|path| Request::GetChildren { path, watch: true });
    let requests = requests.chain(leaves.iter().map(|path| Request::GetData {
        path,
        watch: !path.contains(','),
    }));
    for request in requests {
        link.send(&request);
        flight += 1;
        if flight == WINDOW {
            // What was read is decoded, since nobody reads without.
            let _ = codec::decode_data(reply(&mut link).await.1);
            flight -= 1;
        }
    }
    for _ in 0..flight {
        let _ = codec::decode_data(reply(&mut link).await.1);
    }
}

async fn snapshot(zookeeper: &ZooKeeper) -> (Duration, u64, Site) {
    let mut site = site(&zookeeper.hosts(), "/midonet", json!({}));
    let began = Instant::now();
    tokio::spawn(nsdb::run(site.tap.clone(), View::default()));
    while let Some(list) = site.end.topology.recv().await {
        if let Some(Change::SnapshotEnd { nodes, .. }) = list.last() {
            let nodes = *nodes;
            return (began.elapsed(), nodes, site);
        }
    }
    panic!("the tap ended before its snapshot");
}

async fn open(zookeeper: &ZooKeeper) -> Link {
    let endpoints = Endpoints::parse(&zookeeper.hosts()).unwrap();
    Link::open(&endpoints, &SessionKey::default(), Duration::from_secs(30), 0).await.unwrap()
}

async fn reply(link: &mut Link) -> (Code, bytes::Bytes) {
    loop {
        if let Incoming::Reply { code, body, .. } = link.next(true).await.unwrap() {
            return (code, body);
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// CPU time of this process, without the server's.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // User and system time in hundredths of a second, the 12th and 13th behind the name in parentheses.
    let times = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(times.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}
