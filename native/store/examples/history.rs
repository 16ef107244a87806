// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Measures the topology's history at size: a site's state at any instant, what differs between two instants, the history of one object, a
//! batch of changes; with years of changes behind it, most of them of what comes and goes with the traffic.
//!
//! `cargo run -p insights-store --example history -- [objects=100000] [days=365] [changes=1000000] [rounds=21] [dir=…]`, in the profile whose
//! figures are wanted. `changes` are those of all the days: one in ten is of an object, the others are of entries that live minutes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use insights_store::{
    AccountId, Cursor, SiteId, StreamId, StreamKind,
    catalog::{Account, Catalog, Node, Site, TopologyChange},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// 2026-01-01 00:00 UTC.
const EPOCH_US: i64 = 1_767_225_600_000_000;
const DAY_US: i64 = 86_400_000_000;
/// Changes of one batch, as a gateway sends them.
const BATCH: usize = 2_000;
/// One in so many changes is of an object.
const OF_OBJECTS: u64 = 10;
/// Entries of tables live so long: ARP and MAC addresses that are learned and forgotten.
const LIFE_US: std::ops::Range<i64> = 30_000_000..3_600_000_000;

struct History {
    catalog: Catalog,
    site: SiteId,
    sequence: u64,
    number: i64,
}

#[tokio::main]
async fn main() {
    let arguments: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect();
    let number = |name: &str, default: u64| arguments.get(name).map_or(default, |value| value.parse().unwrap());
    let (objects, days) = (number("objects", 100_000), number("days", 365) as i64);
    let (changes, rounds) = (number("changes", 1_000_000), number("rounds", 21) as usize);
    let scratch = tempfile::tempdir().unwrap();
    let dir = arguments.get("dir").map_or_else(|| scratch.path().to_owned(), Into::into);
    let made = dir.join("catalog.sqlite").exists();
    let mut history = History {
        catalog: Catalog::open(&dir).unwrap(),
        site: SiteId(Uuid::from_bytes([1; 16])),
        sequence: 0,
        number: 0,
    };
    let mut rng = StdRng::seed_from_u64(1);
    if !made {
        let began = Instant::now();
        history.begin(objects).await;
        println!("snapshot of {objects} objects: {:.1} s", began.elapsed().as_secs_f64());
        let began = Instant::now();
        let (batches, slowest) = history.live(&mut rng, objects, days, changes).await;
        let took = began.elapsed();
        println!(
            "{changes} changes over {days} days in {batches} batches: {:.1} s, {:.0} us a change, slowest batch {:.0} ms",
            took.as_secs_f64(),
            took.as_secs_f64() * 1e6 / changes as f64,
            slowest.as_secs_f64() * 1e3
        );
    }
    println!("catalogue: {} MiB", std::fs::metadata(dir.join("catalog.sqlite")).unwrap().len() >> 20);
    history.ask(&mut rng, objects, days, rounds).await;
}

impl History {
    async fn begin(&mut self, objects: u64) {
        let account = Account {
            id: AccountId::random(),
            email: "bench@example.org".into(),
            name: String::new(),
            password_hash: String::new(),
            created_us: 0,
        };
        let site = Site {
            id: self.site,
            account: account.id,
            name: String::new(),
            created_us: 0,
            deleted_us: None,
            quota_bytes: 0,
            settings: "{}".into(),
        };
        self.catalog.create_account(account).await.unwrap();
        self.catalog.create_site(site).await.unwrap();
        let mut changes = vec![TopologyChange::SnapshotBegin { at_us: EPOCH_US, term: 1 }];
        for object in 0..objects {
            changes.push(self.put(object_path(object), EPOCH_US));
        }
        changes.push(TopologyChange::SnapshotEnd {
            at_us: EPOCH_US,
            nodes: objects,
        });
        for batch in changes.chunks(BATCH) {
            self.apply(batch.to_vec()).await;
        }
    }

    /// The changes of some days in order. Returns the batches and how long the slowest took.
    async fn live(&mut self, rng: &mut StdRng, objects: u64, days: i64, changes: u64) -> (u64, Duration) {
        let step_us = days * DAY_US / changes as i64;
        let mut ends: std::collections::BTreeMap<i64, String> = std::collections::BTreeMap::new();
        let (mut batch, mut batches, mut slowest) = (Vec::with_capacity(BATCH), 0, Duration::ZERO);
        let mut made = 0;
        let mut now_us = EPOCH_US + 1;
        while made < changes {
            now_us += step_us;
            while ends.first_key_value().is_some_and(|(end, _)| *end <= now_us) && made < changes {
                let (at_us, path) = ends.pop_first().unwrap();
                batch.push(TopologyChange::Delete { path, at_us });
                made += 1;
            }
            if made % OF_OBJECTS == 0 {
                batch.push(self.put(object_path(rng.random_range(0..objects)), now_us));
            } else {
                let path = format!("zoom/0/tables/Network/{}/mac_table/0/{made}", Uuid::from_u128((made % 500).into()));
                batch.push(self.put(path.clone(), now_us));
                ends.insert(now_us + rng.random_range(LIFE_US), path);
            }
            made += 1;
            if batch.len() >= BATCH {
                let began = Instant::now();
                self.apply(std::mem::take(&mut batch)).await;
                slowest = slowest.max(began.elapsed());
                batches += 1;
            }
        }
        self.apply(batch).await;
        (batches + 1, slowest)
    }

    async fn ask(&self, rng: &mut StdRng, objects: u64, days: i64, rounds: usize) {
        let moment = |rng: &mut StdRng| EPOCH_US + rng.random_range(1..days * DAY_US);
        let mut answer = 0;
        let mut times = Times::of("state at an instant");
        for _ in 0..rounds {
            let at_us = moment(rng);
            let began = Instant::now();
            answer = self.catalog.topology_at(self.site, at_us).await.unwrap().len();
            times.clock.push(began.elapsed());
        }
        times.tell(answer);
        for (what, span_us) in [
            ("difference of two instants a day apart", DAY_US),
            ("difference of the first and the last instant", days * DAY_US),
        ] {
            let mut times = Times::of(what);
            for _ in 0..rounds {
                let from_us = EPOCH_US + rng.random_range(0..=days * DAY_US - span_us);
                let began = Instant::now();
                answer = self
                    .catalog
                    .topology_difference(self.site, from_us, from_us + span_us)
                    .await
                    .unwrap()
                    .len();
                times.clock.push(began.elapsed());
            }
            times.tell(answer);
        }
        let mut times = Times::of("history of an object");
        for _ in 0..rounds {
            let path = object_path(rng.random_range(0..objects));
            let began = Instant::now();
            answer = self.catalog.node_history(self.site, path).await.unwrap().len();
            times.clock.push(began.elapsed());
        }
        times.tell(answer);
    }

    fn put(&mut self, path: String, at_us: i64) -> TopologyChange {
        self.number += 1;
        let is_object = path.starts_with("zoom/0/models");
        TopologyChange::Put(Node {
            data: if is_object { content(self.number) } else { Vec::new() },
            path,
            mzxid: self.number,
            version: 0,
            ctime_ms: at_us / 1_000,
            mtime_ms: at_us / 1_000,
            ephemeral_owner: 0,
            at_us,
        })
    }

    async fn apply(&mut self, changes: Vec<TopologyChange>) {
        let cursor = Cursor {
            stream: StreamId {
                gateway: Uuid::from_bytes([2; 16]),
                kind: StreamKind::Topology,
                epoch: 1,
            },
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.catalog.apply_topology(self.site, cursor, changes).await.unwrap();
    }
}

fn object_path(object: u64) -> String {
    // Ids of MidoNet are random; these only look like it.
    let spread = u128::from(object.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(object);
    format!("zoom/0/models/Port/{}", Uuid::from_u128(spread))
}

/// As long as the text of a port.
fn content(number: i64) -> Vec<u8> {
    let id = |field: &str| format!("{field} {{ msb: {} lsb: {} }} ", number.wrapping_mul(0x5851_f42d_4c95_7f2d), number);
    format!(
        "{}{}{}{}interface_name: \"tap{number:011x}\" port_mac: \"fa:16:3e:00:00:01\" port_address {{ version: V4 address: \"10.0.0.1\" }} tunnel_key: {number} admin_state_up: true",
        id("id"),
        id("network_id"),
        id("host_id"),
        id("inbound_filter_id")
    )
    .into_bytes()
}

/// Times by the clock of one question's rounds, and the CPU time of all of them, which tells more on a busy machine.
struct Times {
    what: &'static str,
    cpu: f64,
    clock: Vec<Duration>,
}

impl Times {
    fn of(what: &'static str) -> Self {
        Self {
            what,
            cpu: cpu_seconds(),
            clock: Vec::new(),
        }
    }

    fn tell(mut self, rows: usize) {
        let cpu_ms = (cpu_seconds() - self.cpu) * 1e3 / self.clock.len() as f64;
        self.clock.sort();
        let ms = |at: usize| self.clock[at].as_secs_f64() * 1e3;
        let last = self.clock.len() - 1;
        println!(
            "{}: median {:.1} ms, p95 {:.1}, max {:.1}, CPU {cpu_ms:.1}; {rows} in the last answer",
            self.what,
            ms(last / 2),
            ms(last * 95 / 100),
            ms(last)
        );
    }
}

/// User and system time of this process, from the kernel's clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
