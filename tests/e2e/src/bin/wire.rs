// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What flow records of a simulated cloud take on the wire, beside zstd of the same records as agents send them.
//!
//! The records are first packets of connections that nobody opened before, the hardest case: in a running cloud long connections come again
//! and again. All batches of a size travel on one stream, whose beginning is measured too.
#![allow(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::{collections::HashMap, io::Write, net::Ipv4Addr};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use insights_cloudsim::{plan::Plan, size::SizeArgs, traffic, view::View};
use insights_gateway::recorder::intake;
use insights_protocol::{
    batch::{self, ENVELOPE_BYTES, Payload},
    flow::{FlowFact, column_bytes},
    frame::LENGTH_BYTES,
    stream::{StreamReader, StreamWriter},
};
use midonet::flow::{FlowRecord, encode_binary, frame};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// Level of zstd for the records as agents send them: that of the wire.
const LEVEL: i32 = 3;

/// Simulation threads of an agent.
const WORKERS: usize = 4;

/// Mean time from a record's making to its receipt.
const LATER_US: f64 = 5_000.0;

/// Bytes a flow record takes on the wire, and time to code it
#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    size: SizeArgs,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Records a second, whose times are random
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// Records of all batches of one size
    #[arg(long, default_value_t = 65_536)]
    records: usize,
    /// Records of a batch
    #[arg(long, value_delimiter = ',', default_value = "1000,4096,16384,65536")]
    batches: Vec<usize>,
    /// Show what each section of a batch takes that stands for itself, as on disk
    #[arg(long)]
    sections: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let plan = Plan::build((&options.size).into(), options.seed, Ipv4Addr::new(127, 64, 0, 0));
    let view = View::compile(&plan.zoom, &plan.learned);
    let records = traffic::sample(&view, options.seed, options.records);
    ensure!(records.len() == options.records, "the cloud has too little traffic");
    let (records, flows) = facts(of_workers(records), options.rate, options.seed);
    println!("{}", cardinalities(&flows));
    println!(
        "zstd is of the same records as agents send them, level {LEVEL}: each batch alone, and all of them in one stream that is flushed after each"
    );
    println!(
        "| records of a batch | wire B | second half | spool B | zstd B | zstd stream B | wire to zstd | to zstd stream | onto the disk µs | back µs | onto \
         the stream µs | off it µs |"
    );
    println!("| --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    for size in options.batches {
        line(&records, &flows, size)?;
    }
    if options.sections {
        println!("\n| section | B a record | compressed |\n| --- | --: | --: |");
        let last = &flows[..flows.len().min(batch::MAX_RECORDS)];
        for (name, raw, compressed) in column_bytes(last)? {
            let per = |bytes: usize| bytes as f64 / last.len() as f64;
            println!("| {name} | {:.2} | {:.2} |", per(raw), per(compressed));
        }
    }
    Ok(())
}

/// As agents send them: each host's workers take turns, count their cookies in steps of their number, and leave the port of the packet before
/// in records that have none.
fn of_workers(mut records: Vec<FlowRecord>) -> Vec<FlowRecord> {
    let mut hosts: HashMap<_, ([Option<Uuid>; WORKERS], u64)> = HashMap::new();
    for record in &mut records {
        let (in_ports, cookie) = hosts.entry(record.host).or_default();
        let in_port = &mut in_ports[(*cookie % WORKERS as u64) as usize];
        if record.in_port.is_some() {
            *in_port = record.in_port;
        } else {
            record.in_port = *in_port;
        }
        record.cookie = *cookie;
        *cookie += 1;
    }
    records
}

/// What the gateway makes of the records: they come at random times, each a little later than it was made.
fn facts(records: Vec<FlowRecord>, rate: f64, seed: u64) -> (Vec<FlowRecord>, Vec<FlowFact>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut spread = |mean_us: f64| -rng.random_range(0.0..1.0f64).max(1e-9).ln() * mean_us;
    let mut made = 1_790_000_000_000_000.0;
    let mut timed: Vec<_> = records
        .into_iter()
        .map(|record| {
            made += spread(1e6 / rate);
            ((made + spread(LATER_US)) as i64, record)
        })
        .collect();
    timed.sort_by_key(|(at, _)| *at);
    let mut paths = HashMap::new();
    let facts = timed.iter().map(|(at, record)| {
        let mut fact = intake::fact_of(record.clone(), *at);
        // As the recorder does.
        fact.path = paths.entry(fact.path.clone()).or_insert(fact.path).clone();
        fact
    });
    let facts = facts.collect();
    (timed.into_iter().map(|(_, record)| record).collect(), facts)
}

fn line(records: &[FlowRecord], flows: &[FlowFact], size: usize) -> Result<()> {
    let (mut wire, mut spool, mut zstd) = (Vec::new(), 0, 0);
    let mut kept = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    let (mut spooling, mut back, mut writing, mut reading) = (0.0, 0.0, 0.0, 0.0);
    let (mut writer, mut reader) = (StreamWriter::default(), StreamReader::default());
    for (records, flows) in records.chunks(size).zip(flows.chunks(size)) {
        let mut framed = Vec::new();
        for record in records {
            frame::encode(&encode_binary(record).context("encode a record")?, &mut framed);
        }
        zstd += zstd::bulk::compress(&framed, LEVEL)?.len();
        kept.write_all(&framed)?;
        kept.flush()?;
        let payload = Payload::Flows(flows.to_vec());
        let began = cpu_seconds()?;
        let alone = batch::encode(&payload)?;
        let spooled = cpu_seconds()?;
        let (_, again) = batch::decode(&alone)?;
        let decoded = cpu_seconds()?;
        ensure!(again == payload, "a batch came back from the disk as another");
        let coding = cpu_seconds()?;
        let travels = writer.write_records(&payload)?;
        let coded = cpu_seconds()?;
        spooling += spooled - began;
        back += decoded - spooled;
        writing += coded - coding;
        spool += alone.len();
        wire.push(travels.len() + ENVELOPE_BYTES + LENGTH_BYTES);
        let began = cpu_seconds()?;
        let (_, decoded) = reader.read(&travels)?;
        reading += cpu_seconds()? - began;
        ensure!(decoded == payload, "a batch came back as another");
    }
    let per = |bytes: usize| bytes as f64 / flows.len() as f64;
    let us = |seconds: f64| seconds * 1e6 / flows.len() as f64;
    let half = wire.len() / 2;
    let (all, kept) = (wire.iter().sum::<usize>(), kept.finish()?.len());
    println!(
        "| {size} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        per(all),
        wire[half..].iter().sum::<usize>() as f64 / (flows.len() - half * size) as f64,
        per(spool),
        per(zstd),
        per(kept),
        all as f64 / zstd as f64,
        all as f64 / kept as f64,
        us(spooling),
        us(back),
        us(writing),
        us(reading)
    );
    Ok(())
}

/// Of this thread: other programs on the machine don't count.
fn cpu_seconds() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("read the thread's time")?;
    let nanoseconds: f64 = text.split_whitespace().next().context("the thread has no time")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// How different the records are.
fn cardinalities(flows: &[FlowFact]) -> String {
    fn distinct<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> usize {
        values.collect::<std::collections::HashSet<_>>().len()
    }
    format!(
        "{} records of {} hosts, {} ports, {} addresses, {} pairs of addresses, {} connections, {} paths with {} rules and devices",
        flows.len(),
        distinct(flows.iter().map(|flow| flow.host)),
        distinct(flows.iter().filter_map(|flow| flow.in_port)),
        distinct(flows.iter().flat_map(|flow| [flow.net_src, flow.net_dst])),
        distinct(flows.iter().map(|flow| (flow.net_src, flow.net_dst))),
        distinct(
            flows
                .iter()
                .map(|flow| (flow.net_src, flow.net_dst, flow.proto, flow.tp_src, flow.tp_dst))
        ),
        distinct(flows.iter().map(|flow| &flow.path)),
        distinct(flows.iter().flat_map(|flow| {
            flow.path
                .rules
                .iter()
                .map(|rule| rule.id)
                .chain(flow.path.devices.iter().map(|device| device.id))
        })),
    )
}
