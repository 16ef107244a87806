// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The same flows to us and to what others use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use insights_cloudsim::size::SizeArgs;
use insights_gateway::identity::Identity;
use insights_protocol::{
    Kind,
    batch::{self, Payload},
    flow::FlowFact,
};
use quinn::Endpoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    cloud::{self, Cloud, Flow},
    gateway::{Gateway, now_us},
    ipfix::{self, Exporter},
    measure::Machine,
    peers::{
        Taken,
        clickhouse::{self, ClickHouse},
        goflow2::GoFlow2,
        nfdump::Nfdump,
        raw,
    },
    questions::{Asked, Choices, Panel},
    service::{Place, QUIET_S},
};

/// Rows of one page of the API.
const PAGE: usize = 5_000;

const HOUR_S: i64 = 3_600;

/// Values that questions are about, at most so many of a kind.
const CHOICES: usize = 2_000;

/// The same flows to us and to nfdump, GoFlow2, ClickHouse and zstd
#[derive(Args, Clone, Debug)]
pub struct CompareArgs {
    #[command(flatten)]
    pub size: SizeArgs,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Flow records
    #[arg(long, default_value_t = 1_000_000)]
    pub flows: usize,
    /// Hours over which they are spread, up to the last full hour
    #[arg(long, default_value_t = 24)]
    pub hours: i64,
    /// Records of a batch to the collector
    #[arg(long, default_value_t = 5_000)]
    pub batch: usize,
    /// Rounds of questions
    #[arg(long, default_value_t = 20)]
    pub rounds: usize,
    /// Seconds without a change after which files count as merged
    #[arg(long, default_value_t = QUIET_S)]
    pub merge_wait: u64,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Compared {
    pub machine: Machine,
    /// Profile of the collector's build.
    pub profile: String,
    pub version: String,
    pub seconds: f64,
    pub cloud: String,
    pub flows: u64,
    pub hours: i64,
    pub batch: usize,
    pub differences: Differences,
    pub live: Ours,
    pub backlog: Ours,
    pub peers: Vec<Taken>,
    /// Peers that are not installed.
    pub missing: Vec<String>,
    pub asked: Asked,
}

/// How different the flows are: figures of compressed bytes mean nothing without it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Differences {
    pub hosts: usize,
    pub ports: usize,
    pub addresses: usize,
    pub pairs: usize,
    pub connections: usize,
    pub paths: usize,
}

/// What flows cost us.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Ours {
    pub flows: u64,
    /// By the clock until the last one was durable.
    pub seconds: f64,
    /// CPU seconds of the collector until then.
    pub cpu: f64,
    /// CPU seconds of writing files and roll-ups, and of the stop.
    pub later_cpu: f64,
    /// CPU seconds of merging files afterwards.
    pub merge_cpu: f64,
    pub wire_bytes: u64,
    pub flow_bytes: u64,
    pub path_bytes: u64,
    pub rollup_bytes: u64,
    pub files: u64,
    pub resident_mib: u64,
}

/// Where a run finds its programs and keeps what it makes.
#[derive(Clone, Debug)]
pub struct Rooms {
    /// Programs that were built.
    pub bin: PathBuf,
    /// Peers that `make bench` installs.
    pub tools: PathBuf,
    pub dir: PathBuf,
}

impl Rooms {
    /// By the name of the folder, as cargo names it.
    pub fn profile(&self) -> String {
        let release = self.bin.iter().any(|part| part == "release");
        if release { "release" } else { "dev" }.to_owned()
    }
}

/// Files that hold the flows, each in the form of who takes them.
struct Prepared {
    raw: PathBuf,
    datagrams: PathBuf,
    /// Batches that stand for themselves, each behind its length.
    batches: PathBuf,
    differences: Differences,
    choices: Choices,
}

pub async fn run(args: &CompareArgs, rooms: &Rooms) -> Result<Compared> {
    let started = Instant::now();
    let mut machine = Machine::now();
    let say = |what: &str| eprintln!("bench: {:6.1} s  {what}", started.elapsed().as_secs_f64());
    std::fs::create_dir_all(&rooms.dir)?;
    let cloud = Cloud::build((&args.size).into(), args.seed);
    let to_s = now_us() / 1_000_000 / HOUR_S * HOUR_S;
    let day = (to_s - args.hours * HOUR_S, to_s);
    say(&format!("making {} flows of a cloud of {} nodes", args.flows, cloud.size()));
    let prepared = prepare(args, &cloud, day, &rooms.dir)?;
    let sent = args.flows as u64;

    let mut peers = Vec::new();
    let mut missing = Vec::new();
    say("zstd");
    peers.push(raw::take(&prepared.raw, sent)?);
    std::fs::remove_file(&prepared.raw)?;
    match GoFlow2::find(&rooms.tools, &rooms.dir) {
        Some(goflow2) => {
            say("GoFlow2");
            peers.extend(goflow2.take(&prepared.datagrams, sent).await?);
        }
        None => missing.push("GoFlow2".to_owned()),
    }
    let nfdump = Nfdump::find(&rooms.tools, &rooms.dir);
    match &nfdump {
        Some(nfdump) => {
            say("nfdump");
            peers.push(nfdump.take(&prepared.datagrams, sent, day).await?);
        }
        None => missing.push("nfdump".to_owned()),
    }

    say("the collector, live");
    let endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    let (place, identity) = new_place(rooms, "live").await?;
    let version = place.version().await?;
    let live = ours(&place, &endpoint, &identity, &cloud, &prepared, true).await?;
    std::fs::remove_dir_all(&place.dir)?;
    say("the collector, a day's backlog");
    let (place, identity) = new_place(rooms, "day").await?;
    let mut backlog = ours(&place, &endpoint, &identity, &cloud, &prepared, false).await?;
    let service = place.serve(8).await?;
    let before = service.cost()?.cpu;
    service.merged(std::time::Duration::from_secs(args.merge_wait)).await?;
    backlog.merge_cpu = service.cost()?.cpu - before;
    backlog.at_rest(&place)?;

    let (browser, site) = service.at_home()?;
    let mut clickhouse = match ClickHouse::find(&rooms.tools) {
        Some(library) => {
            say("rows for ClickHouse, as our API gives them");
            let blocks = export(&browser, &site, &prepared, day, &rooms.dir)?;
            say("ClickHouse");
            let mut clickhouse = ClickHouse::start(&library, &rooms.dir)?;
            peers.push(clickhouse.take(&blocks, sent)?);
            blocks.iter().try_for_each(std::fs::remove_file)?;
            Some(clickhouse)
        }
        None => {
            missing.push("ClickHouse".to_owned());
            None
        }
    };
    for peer in &missing {
        say(&format!("{peer} is not installed: left out"));
    }
    for taken in peers.iter().filter(|taken| taken.flows != taken.sent) {
        say(&format!("{} took {} of {} flows in", taken.name, taken.flows, taken.sent));
    }
    say(&format!("questions, {} rounds", args.rounds));
    let mut panel = Panel {
        service: &service,
        browser,
        site,
        nfdump: nfdump.as_ref(),
        clickhouse: clickhouse.as_mut(),
    };
    let asked = panel.ask(&prepared.choices, args.rounds, args.seed)?;
    service.stop().await?;
    machine.ended();
    say("done");
    let size = insights_cloudsim::size::Size::from(&args.size);
    Ok(Compared {
        machine,
        profile: rooms.profile(),
        version,
        seconds: started.elapsed().as_secs_f64().round(),
        cloud: format!(
            "{} tenants, {} hosts, {} VMs, {} nodes of NSDB",
            size.tenants,
            size.hosts + size.gateways,
            size.total_vms(),
            cloud.size()
        ),
        flows: sent,
        hours: args.hours,
        batch: args.batch,
        differences: prepared.differences,
        live,
        backlog,
        peers,
        missing,
        asked,
    })
}

/// A collector's new folder with a site.
pub async fn new_place(rooms: &Rooms, name: &str) -> Result<(Place, Identity)> {
    let dir = rooms.dir.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let place = Place::new(&rooms.bin, &dir).await?;
    let identity = place.site("bench").await?;
    Ok((place, identity))
}

fn prepare(args: &CompareArgs, cloud: &Cloud, (from_s, to_s): (i64, i64), dir: &Path) -> Result<Prepared> {
    let create = |name: &str| -> Result<(PathBuf, BufWriter<File>)> {
        let path = dir.join(name);
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok((path, BufWriter::new(file)))
    };
    let (raw_path, mut raw) = create("records")?;
    let (datagrams_path, mut datagrams) = create("datagrams")?;
    let (batches_path, mut batches) = create("batches")?;
    let mut exporter = Exporter::new(&cloud.interfaces);
    let mut seen = Seen::default();
    let mut flows = cloud.flows(0, args.flows, from_s * 1_000_000, to_s * 1_000_000);
    loop {
        let chunk = flows.next_chunk()?;
        if chunk.is_empty() {
            break;
        }
        raw::write(&mut raw, &chunk)?;
        let mut wrote = Ok(());
        // What agents export together: some seconds of a busy cloud.
        for together in chunk.chunks(2_000) {
            exporter.messages(together, |message| {
                let length = (message.len() as u16).to_be_bytes();
                if wrote.is_ok() {
                    wrote = datagrams.write_all(&length).and_then(|()| datagrams.write_all(message));
                }
            });
        }
        wrote?;
        seen.add(&chunk);
        for facts in cloud::facts(&chunk).chunks(args.batch) {
            let alone = batch::encode(&Payload::Flows(facts.to_vec()))?;
            batches.write_all(&(alone.len() as u32).to_be_bytes())?;
            batches.write_all(&alone)?;
        }
    }
    raw.flush()?;
    datagrams.flush()?;
    batches.flush()?;
    let choose = |all: BTreeSet<_>| all.into_iter().take(CHOICES).collect::<Vec<_>>();
    let ports = choose(seen.ingress.iter().copied().collect());
    Ok(Prepared {
        raw: raw_path,
        datagrams: datagrams_path,
        batches: batches_path,
        choices: Choices {
            day: (from_s, to_s),
            ports: ports.into_iter().filter_map(|port| Some((port, *cloud.interfaces.get(&port)?))).collect(),
            addresses: seen.addresses.iter().copied().filter(|address| address.is_ipv4()).take(CHOICES).collect(),
        },
        differences: seen.differences(),
    })
}

#[derive(Default)]
struct Seen {
    hosts: BTreeSet<Uuid>,
    ingress: BTreeSet<Uuid>,
    addresses: BTreeSet<std::net::IpAddr>,
    pairs: BTreeSet<u64>,
    connections: BTreeSet<u64>,
    paths: BTreeSet<u64>,
}

impl Seen {
    fn add(&mut self, flows: &[Flow]) {
        // Distinct hashes stand for distinct values: a collision in some millions is as good as never.
        fn hash(value: impl std::hash::Hash) -> u64 {
            use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
            BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
        }
        for Flow { record, .. } in flows {
            self.hosts.insert(record.host);
            self.addresses.extend(record.src.into_iter().chain(record.dst));
            self.pairs.insert(hash((record.src, record.dst)));
            self.connections
                .insert(hash((record.src, record.dst, record.proto, record.src_port, record.dst_port)));
            self.paths.insert(hash((&record.rules, &record.devices)));
        }
        self.ingress.extend(flows.iter().filter_map(ipfix::ingress));
    }

    fn differences(&self) -> Differences {
        Differences {
            hosts: self.hosts.len(),
            ports: self.ingress.len(),
            addresses: self.addresses.len(),
            pairs: self.pairs.len(),
            connections: self.connections.len(),
            paths: self.paths.len(),
        }
    }
}

/// Sends the flows to a collector of its own, as they come or as a backlog of the day, and stops it.
async fn ours(place: &Place, endpoint: &Endpoint, identity: &Identity, cloud: &Cloud, prepared: &Prepared, live: bool) -> Result<Ours> {
    let service = place.serve(8).await?;
    let mut gateway = Gateway::connect(endpoint, service.ingest, &place.ca(), identity).await?;
    let since_us = if live { now_us() } else { prepared.choices.day.0 * 1_000_000 - 1 };
    gateway.send(&Payload::Topology(cloud.snapshot(since_us))).await?;
    gateway.settled(Kind::Topology).await?;
    let topology_bytes = gateway.bytes;
    let before = service.cost()?.cpu;
    let began = Instant::now();
    let mut flows = 0;
    let mut batches = Batches::open(&prepared.batches)?;
    while let Some(alone) = batches.next_alone()? {
        if live {
            let mut facts = facts_of(&alone)?;
            let count = facts.len() as i64;
            // They came since the last batch, one after the other.
            let now_us = now_us();
            for (place, fact) in facts.iter_mut().enumerate() {
                fact.received_us = now_us - count + place as i64;
            }
            flows += facts.len() as u64;
            gateway.send(&Payload::Flows(facts)).await?;
        } else {
            flows += u64::from(batch::header(&alone)?.records);
            gateway.send_encoded(Kind::Flows, &alone).await?;
        }
    }
    gateway.settled(Kind::Flows).await?;
    let seconds = began.elapsed().as_secs_f64();
    let cost = service.cost()?;
    let wire_bytes = gateway.bytes - topology_bytes;
    drop(gateway);
    let all = service.stop().await?;
    let mut found = Ours {
        flows,
        seconds,
        cpu: cost.cpu - before,
        later_cpu: all - cost.cpu,
        wire_bytes,
        resident_mib: cost.resident >> 20,
        ..Ours::default()
    };
    found.at_rest(place)?;
    Ok(found)
}

impl Ours {
    fn at_rest(&mut self, place: &Place) -> Result<()> {
        let bytes = place.at_rest()?;
        self.flow_bytes = bytes.flows;
        self.path_bytes = bytes.paths;
        self.rollup_bytes = bytes.rollups;
        self.files = bytes.files;
        Ok(())
    }
}

struct Batches(BufReader<File>);

impl Batches {
    fn open(path: &Path) -> Result<Batches> {
        Ok(Batches(BufReader::new(
            File::open(path).with_context(|| format!("open {}", path.display()))?,
        )))
    }

    fn next_alone(&mut self) -> Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }
}

fn facts_of(alone: &[u8]) -> Result<Vec<FlowFact>> {
    match batch::decode(alone)? {
        (_, Payload::Flows(facts)) => Ok(facts),
        _ => anyhow::bail!("a batch of flows is none"),
    }
}

/// Reads all flows back from our API and writes them, joined as they are, as files of rows for ClickHouse, oldest first. Fails unless each
/// flow that was sent is there once.
fn export(browser: &insights_e2e::manager::Browser, site: &str, prepared: &Prepared, (from_s, to_s): (i64, i64), dir: &Path) -> Result<Vec<PathBuf>> {
    let mut joined: BTreeMap<(Uuid, u64), Value> = BTreeMap::new();
    let mut blocks = Vec::new();
    let mut rows = (Vec::new(), 0);
    let mut batches = Batches::open(&prepared.batches)?;
    // Hour by hour, so that one hour's rows are in memory.
    for hour in (from_s..to_s).step_by(HOUR_S as usize) {
        let mut after = String::new();
        loop {
            let (from, to) = (hour * 1_000_000, (hour + HOUR_S) * 1_000_000);
            let path = format!(
                "/api/v1/sites/{site}/flows?from={}&to={}&limit={PAGE}&after={after}",
                stamp(from)?,
                stamp(to)?
            );
            let mut page = browser.json(&path)?;
            if let Value::Array(flows) = page["flows"].take() {
                for flow in flows {
                    let host = flow["host"]
                        .as_str()
                        .and_then(|text| Uuid::parse_str(text).ok())
                        .context("a flow has no host")?;
                    let cookie = flow["cookie"].as_u64().context("a flow has no cookie")?;
                    ensure!(joined.insert((host, cookie), flow).is_none(), "a flow is there twice");
                }
            }
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        while joined.len() > 2 * clickhouse::BLOCK || (hour + HOUR_S == to_s && !joined.is_empty()) {
            let alone = batches.next_alone()?.context("more flows are stored than were sent")?;
            for fact in facts_of(&alone)? {
                let found = joined
                    .remove(&(Uuid::from_bytes(fact.host), fact.cookie))
                    .context("a flow that was sent is not stored")?;
                clickhouse::row(&mut rows.0, &fact, &found);
                rows.1 += 1;
                if rows.1 == clickhouse::BLOCK {
                    blocks.push(write_block(dir, blocks.len(), &std::mem::take(&mut rows).0)?);
                }
            }
        }
    }
    ensure!(batches.next_alone()?.is_none(), "fewer flows are stored than were sent");
    if rows.1 > 0 {
        blocks.push(write_block(dir, blocks.len(), &rows.0)?);
    }
    Ok(blocks)
}

fn write_block(dir: &Path, number: usize, bytes: &[u8]) -> Result<PathBuf> {
    let path = dir.join(format!("block-{number:05}"));
    std::fs::write(&path, bytes)?;
    Ok(path)
}

fn stamp(us: i64) -> Result<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(us / 1_000_000)?;
    Ok(time.format(&time::format_description::well_known::Rfc3339)?)
}
