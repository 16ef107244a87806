// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What flow records of a simulated cloud take on the wire, beside zstd of the same records as agents send them.
//!
//! The records are first packets of connections that nobody opened before, the hardest case: in a running cloud long connections come again
//! and again. Each batch is measured alone and holds all that its reader needs.
#![allow(clippy::print_stdout, reason = "a program that prints what it measured")]

use std::{collections::HashMap, net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use insights_cloudsim::{plan::Plan, size::SizeArgs, traffic, view::View};
use insights_gateway::recorder::intake;
use insights_protocol::{
    batch::{self, Payload},
    flow::{FlowFact, column_bytes},
};
use midonet::flow::{FlowRecord, encode_binary, frame};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Level of zstd for the records as agents send them: that of the wire.
const LEVEL: i32 = 3;

/// Bytes a flow record takes on the wire, and time to encode it
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
    /// Show what each section of the largest batch takes
    #[arg(long)]
    sections: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let plan = Plan::build((&options.size).into(), options.seed, Ipv4Addr::new(127, 64, 0, 0));
    let view = View::compile(&plan.zoom, &plan.learned);
    let records = traffic::sample(&view, options.seed, options.records);
    ensure!(records.len() == options.records, "the cloud has too little traffic");
    let records = counted(records);
    let flows = facts(&records, options.rate, options.seed);
    println!("{}", cardinalities(&flows));
    println!("| records of a batch | raw B | wire B | zstd B | wire to zstd | encode µs | decode µs |");
    println!("| --: | --: | --: | --: | --: | --: | --: |");
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

/// With cookies as agents count them: one after the other on each host.
fn counted(mut records: Vec<FlowRecord>) -> Vec<FlowRecord> {
    let mut cookies = HashMap::new();
    for record in &mut records {
        let cookie = cookies.entry(record.host).or_insert(0);
        *cookie += 1;
        record.cookie = *cookie;
    }
    records
}

fn facts(records: &[FlowRecord], rate: f64, seed: u64) -> Vec<FlowFact> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut at = 1_790_000_000_000_000.0;
    let mut paths = HashMap::new();
    let mut facts = Vec::with_capacity(records.len());
    for record in records {
        at += -rng.random_range(0.0..1.0f64).max(1e-9).ln() * 1e6 / rate;
        let mut fact = intake::fact_of(record.clone(), at as i64);
        // As the recorder does.
        fact.path = paths.entry(fact.path.clone()).or_insert(fact.path).clone();
        facts.push(fact);
    }
    facts
}

fn line(records: &[FlowRecord], flows: &[FlowFact], size: usize) -> Result<()> {
    let (mut raw, mut wire, mut zstd) = (0, 0, 0);
    let (mut encoding, mut decoding) = (0.0, 0.0);
    for (records, flows) in records.chunks(size).zip(flows.chunks(size)) {
        let mut framed = Vec::new();
        for record in records {
            frame::encode(&encode_binary(record).context("encode a record")?, &mut framed);
        }
        raw += framed.len();
        zstd += zstd::bulk::compress(&framed, LEVEL)?.len();
        let payload = Payload::Flows(flows.to_vec());
        let began = Instant::now();
        let bytes = batch::encode(&payload)?;
        encoding += began.elapsed().as_secs_f64();
        wire += bytes.len();
        let began = Instant::now();
        let (_, decoded) = batch::decode(&bytes)?;
        decoding += began.elapsed().as_secs_f64();
        ensure!(decoded == payload, "a batch came back as another");
    }
    let per = |bytes: usize| bytes as f64 / flows.len() as f64;
    let us = |seconds: f64| seconds * 1e6 / flows.len() as f64;
    println!(
        "| {size} | {:.0} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} |",
        per(raw),
        per(wire),
        per(zstd),
        wire as f64 / zstd as f64,
        us(encoding),
        us(decoding)
    );
    Ok(())
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
