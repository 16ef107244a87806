// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a flow costs when there are more sites, and when more flows are stored; what a site costs that only is there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use insights_cloudsim::size::Size;
use insights_protocol::{Kind, batch::Payload, flow::FlowFact};
use quinn::Endpoint;
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

use crate::{
    cloud::{self, Cloud},
    compare::{Rooms, new_place},
    gateway::{Gateway, now_us},
    ipfix,
    measure::{Machine, Times},
    service::{Place, QUIET_S, Service},
};

/// A cloud of each of many sites: one tenant with two VMs.
const TINY: Size = Size {
    tenants: 1,
    hosts: 2,
    gateways: 1,
    networks: 1,
    vms: 2,
};

/// Flows of a batch when there are many sites: a second of a small one.
const BATCH: usize = 100;

/// Flows of a batch when one site's store is filled.
const FILL_BATCH: usize = 5_000;

/// Memory is looked at when nothing has happened for so long.
const IDLE: Duration = Duration::from_secs(5);

const DAY_US: i64 = 86_400_000_000;

/// Flows that lie on a day of a filled store.
const PER_DAY: usize = 1_000_000;

/// How cost grows with sites and with stored flows
#[derive(Args, Clone, Debug)]
pub struct GrowthArgs {
    /// Numbers of sites, each with its own collector
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    pub sites: Vec<usize>,
    /// Flows of all sites together
    #[arg(long, default_value_t = 200_000)]
    pub flows: usize,
    /// Flows that are stored when questions are asked
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000")]
    pub stored: Vec<usize>,
    /// Rounds of questions
    #[arg(long, default_value_t = 11)]
    pub rounds: usize,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Grown {
    pub machine: Machine,
    pub profile: String,
    pub version: String,
    pub seconds: f64,
    pub batch: usize,
    pub nodes_of_a_site: usize,
    pub sites: Vec<BySites>,
    pub stored: Vec<ByStored>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct BySites {
    pub sites: usize,
    pub flows: usize,
    /// By the clock until the last flow was durable.
    pub seconds: f64,
    /// CPU seconds of the collector until then, and of files, roll-ups and the stop.
    pub cpu: f64,
    pub later_cpu: f64,
    /// KiB of the collector when it has started, and with all gateways connected and idle.
    pub started_kib: u64,
    pub idle_kib: u64,
    /// CPU seconds of a second of idleness.
    pub idle_cpu: f64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ByStored {
    pub stored: usize,
    /// Of the flows that were added to those of the row before.
    pub added: usize,
    pub cpu: f64,
    pub seconds: f64,
    pub resident_mib: u64,
    pub bytes: u64,
    pub rollup_bytes: u64,
    pub files: u64,
    pub questions: Vec<(String, Times)>,
}

pub async fn run(args: &GrowthArgs, rooms: &Rooms) -> Result<Grown> {
    let started = Instant::now();
    let mut machine = Machine::now();
    let endpoint = Endpoint::client("127.0.0.1:0".parse()?)?;
    let mut grown = Grown {
        profile: rooms.profile(),
        batch: BATCH,
        ..Grown::default()
    };
    let tiny = Cloud::build(TINY, args.seed);
    grown.nodes_of_a_site = tiny.size();
    for sites in &args.sites {
        eprintln!("bench: {:6.1} s  {sites} sites", started.elapsed().as_secs_f64());
        grown.sites.push(by_sites(args, rooms, &endpoint, &tiny, *sites).await?);
    }
    let cloud = Cloud::build(Size::SMALL, args.seed);
    let (place, identity) = new_place(rooms, "stored").await?;
    grown.version = place.version().await?;
    let service = place.serve(8).await?;
    let mut gateway = Gateway::connect(&endpoint, service.ingest, &place.ca(), &identity).await?;
    let most = args.stored.iter().copied().max().unwrap_or(0);
    let days = most.div_ceil(PER_DAY) as i64;
    let to_us = now_us();
    let from_us = to_us - days * DAY_US;
    gateway.send(&Payload::Topology(cloud.snapshot(from_us))).await?;
    gateway.settled(Kind::Topology).await?;
    let mut flows = cloud.flows(0, most, from_us, to_us);
    let mut filled = 0;
    let mut left: Vec<FlowFact> = Vec::new();
    for stored in &args.stored {
        eprintln!("bench: {:6.1} s  {stored} stored flows", started.elapsed().as_secs_f64());
        let before = service.cost()?.cpu;
        let began = Instant::now();
        let added = stored - filled;
        let mut last_us = from_us;
        while filled < *stored {
            if left.is_empty() {
                left = cloud::facts(&flows.next_chunk()?);
            }
            let batch: Vec<FlowFact> = left.drain(..FILL_BATCH.min(left.len()).min(stored - filled)).collect();
            filled += batch.len();
            last_us = batch.last().map_or(last_us, |flow| flow.received_us);
            gateway.send(&Payload::Flows(batch)).await?;
        }
        gateway.settled(Kind::Flows).await?;
        let cost = service.cost()?;
        let seconds = began.elapsed().as_secs_f64();
        service.merged(Duration::from_secs(QUIET_S)).await?;
        let bytes = place.at_rest()?;
        grown.stored.push(ByStored {
            stored: *stored,
            added,
            cpu: cost.cpu - before,
            seconds,
            resident_mib: service.cost()?.resident >> 20,
            bytes: bytes.flows + bytes.paths,
            rollup_bytes: bytes.rollups,
            files: bytes.files,
            questions: ask(args, &service, &cloud, (from_us, last_us + 1))?,
        });
    }
    drop(gateway);
    service.stop().await?;
    machine.ended();
    grown.machine = machine;
    grown.seconds = started.elapsed().as_secs_f64().round();
    Ok(grown)
}

async fn by_sites(args: &GrowthArgs, rooms: &Rooms, endpoint: &Endpoint, cloud: &Cloud, sites: usize) -> Result<BySites> {
    let dir = rooms.dir.join(format!("sites-{sites}"));
    let place = Place::new(&rooms.bin, &dir).await?;
    let mut identities = Vec::new();
    for number in 0..sites {
        identities.push(place.site(&format!("site-{number}")).await?);
    }
    let service = place.serve(sites + 8).await?;
    tokio::time::sleep(IDLE).await;
    let started_kib = service.cost()?.resident >> 10;
    let mut gateways = Vec::new();
    for identity in &identities {
        let mut gateway = Gateway::connect(endpoint, service.ingest, &place.ca(), identity).await?;
        gateway.send(&Payload::Topology(cloud.snapshot(now_us()))).await?;
        gateway.settled(Kind::Topology).await?;
        gateways.push(gateway);
    }
    let idle = service.cost()?;
    tokio::time::sleep(IDLE).await;
    let idle_kib = service.cost()?.resident >> 10;
    let idle_cpu = (service.cost()?.cpu - idle.cpu) / IDLE.as_secs_f64();

    let batches = args.flows.div_ceil(BATCH * sites);
    let mut flows = cloud.flows(1, batches * BATCH * sites, 0, 1_000_000);
    let mut ready: Vec<FlowFact> = Vec::new();
    let before = service.cost()?.cpu;
    let began = Instant::now();
    for _ in 0..batches {
        for gateway in &mut gateways {
            if ready.len() < BATCH {
                ready.extend(cloud::facts(&flows.next_chunk()?));
            }
            let mut batch: Vec<FlowFact> = ready.drain(..BATCH).collect();
            let now_us = now_us();
            for (place, flow) in batch.iter_mut().enumerate() {
                flow.received_us = now_us - (BATCH - place) as i64;
            }
            gateway.send(&Payload::Flows(batch)).await?;
        }
    }
    for gateway in &mut gateways {
        gateway.settled(Kind::Flows).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = service.cost()?.cpu;
    drop(gateways);
    let all = service.stop().await?;
    std::fs::remove_dir_all(&dir).context("remove the folder of the sites")?;
    Ok(BySites {
        sites,
        flows: batches * BATCH * sites,
        seconds,
        cpu: cpu - before,
        later_cpu: all - cpu,
        started_kib,
        idle_kib,
        idle_cpu,
    })
}

fn ask(args: &GrowthArgs, service: &Service, cloud: &Cloud, (from_us, to_us): (i64, i64)) -> Result<Vec<(String, Times)>> {
    let (browser, site) = service.at_home()?;
    let mut rng = StdRng::seed_from_u64(args.seed);
    let sample = cloud.flows(0, 5_000, 0, 1).next_chunk()?;
    let ports: Vec<_> = sample.iter().filter_map(ipfix::ingress).collect();
    let addresses: Vec<_> = sample
        .iter()
        .filter_map(|flow| flow.record.src)
        .filter(|address| address.is_ipv4())
        .collect();
    let stamp = |us: i64| -> Result<String> {
        let time = time::OffsetDateTime::from_unix_timestamp(us.div_euclid(1_000_000))?;
        Ok(time.format(&time::format_description::well_known::Rfc3339)?)
    };
    let end = stamp(to_us + 1_000_000)?;
    let all = format!("from={}&to={end}", stamp(from_us)?);
    let day = format!("from={}&to={end}", stamp((to_us - DAY_US).max(from_us))?);
    let hour = format!("from={}&to={end}", stamp((to_us - DAY_US / 24).max(from_us))?);
    let base = format!("/api/v1/sites/{site}/flows");
    let mut found: Vec<(String, Times)> = Vec::new();
    for round in 0..=args.rounds {
        let port = ports.choose(&mut rng).context("no flow has a port")?;
        let address = addresses.choose(&mut rng).context("no flow has an address")?;
        for (name, path) in [
            (
                "last 100 flows of a port",
                format!("{base}?{all}&limit=100&filter=src.vport%20%3D%20{port}"),
            ),
            ("top 10 talkers of the last hour", format!("{base}/top?{hour}&by=src.ip&limit=10")),
            ("last day by verdict", format!("{base}/histogram?{day}")),
            ("everything by verdict", format!("{base}/histogram?{all}")),
            (
                "one address over everything",
                format!("{base}/histogram?{all}&filter=ip%20%3D%20{address}"),
            ),
        ] {
            let before = service.cost()?.cpu;
            let began = Instant::now();
            browser.json(&path)?;
            let seconds = began.elapsed().as_secs_f64();
            let cpu = service.cost()?.cpu - before;
            if round == 0 {
                found.push((name.to_owned(), Times::default()));
            } else if let Some((_, times)) = found.iter_mut().find(|(known, _)| known == name) {
                times.add(seconds, cpu);
            }
        }
    }
    Ok(found)
}
