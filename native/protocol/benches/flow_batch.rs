// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Time and size of a batch of flow records.
//!
//! `cargo bench -p insights-protocol`. The traffic: 20,000 records of 5 s; 40 hosts, 600 ports, 4,000 address pairs of which a tenth makes
//! most of the records, 1,200 paths of 5 devices and 9 rules, every fifth record of a new ephemeral port. `insights-e2e` has a program,
//! `wire`, that measures the traffic of a simulated cloud beside zstd of the same records.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use insights_protocol::batch::{self, Payload};
use insights_protocol::flow::{Device, Extras, FlowFact, Id, Path, Rule, Tunnel};

const RECORDS: usize = 20_000;

/// A small generator with a fixed seed: the same records in every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Small numbers far more often than large ones.
    fn heavy(&mut self, bound: usize) -> usize {
        let a = self.below(bound) as f64 / bound as f64;
        ((a * a * a) * bound as f64) as usize
    }

    fn id(&mut self) -> Id {
        let (a, b) = (self.next(), self.next());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a.to_be_bytes());
        id[8..].copy_from_slice(&b.to_be_bytes());
        id
    }
}

struct Pair {
    host: usize,
    in_port: Id,
    out_ports: Arc<[Id]>,
    source: IpAddr,
    destination: IpAddr,
    macs: ([u8; 6], [u8; 6]),
    service: u16,
    client: u16,
    path: Arc<Path>,
    actions: Arc<[u8]>,
}

fn records() -> Vec<FlowFact> {
    let mut seeded = Seeded(7);
    let hosts: Vec<Id> = (0..40).map(|_| seeded.id()).collect();
    let ports: Vec<Id> = (0..600).map(|_| seeded.id()).collect();
    let devices: Vec<Id> = (0..120).map(|_| seeded.id()).collect();
    let rules: Vec<Id> = (0..3_000).map(|_| seeded.id()).collect();
    let paths: Vec<Arc<Path>> = (0..1_200)
        .map(|_| {
            Arc::new(Path {
                devices: (0..5)
                    .map(|_| Device {
                        id: devices[seeded.below(120)],
                        kind: 4,
                    })
                    .collect(),
                rules: (0..9)
                    .map(|n| Rule {
                        id: rules[seeded.below(3_000)],
                        result: 2,
                        matched: n == 8,
                        applied: n == 8,
                    })
                    .collect(),
            })
        })
        .collect();
    let none = Arc::new(Extras::default());
    let mut pairs: Vec<Pair> = (0..4_000)
        .map(|_| {
            let (from, to) = (seeded.below(600) as u32, seeded.below(600) as u32);
            Pair {
                host: from as usize % 40,
                in_port: ports[from as usize],
                out_ports: [ports[to as usize]].into(),
                source: Ipv4Addr::from(0x0a00_0000 + from).into(),
                destination: Ipv4Addr::from(0x0a00_0000 + to).into(),
                macs: (
                    [0xfa, 0x16, 0x3e, 0, (from >> 8) as u8, from as u8],
                    [0xfa, 0x16, 0x3e, 0, (to >> 8) as u8, to as u8],
                ),
                service: [443, 80, 5432, 53][seeded.below(4)],
                client: 32_768 + seeded.below(28_000) as u16,
                path: paths[seeded.heavy(1_200)].clone(),
                actions: [1, 1, 0, 0, 0, seeded.below(60) as u8].into(),
            }
        })
        .collect();
    let mut cookies = [0u64; 40];
    (0..RECORDS)
        .map(|n| {
            let number = seeded.heavy(4_000);
            if seeded.below(5) == 0 {
                pairs[number].client = 32_768 + seeded.below(28_000) as u16;
            }
            let pair = &pairs[number];
            cookies[pair.host] += 1;
            FlowFact {
                received_us: 1_790_000_000_000_000 + n as i64 * 250 + seeded.below(200) as i64,
                host: hosts[pair.host],
                cookie: cookies[pair.host],
                sim_result: 8,
                in_port: Some(pair.in_port),
                dp_in_port: pair.in_port[0].into(),
                tunnel: Tunnel::default(),
                eth_src: pair.macs.0,
                eth_dst: pair.macs.1,
                ether_type: 0x0800,
                net_src: Some(pair.source),
                net_dst: Some(pair.destination),
                proto: 6,
                tos: 0,
                ttl: 64,
                fragment: 0,
                tp_src: pair.client,
                tp_dst: pair.service,
                icmp_id: 0,
                extras: none.clone(),
                path: pair.path.clone(),
                out_ports: pair.out_ports.clone(),
                actions: pair.actions.clone(),
                untrusted: 0,
            }
        })
        .collect()
}

fn flow_batch(criterion: &mut Criterion) {
    let payload = Payload::Flows(records());
    let bytes = batch::encode(&payload).expect("the records are within the bounds of a batch");
    eprintln!(
        "{RECORDS} records: {} bytes, {:.1} bytes a record",
        bytes.len(),
        bytes.len() as f64 / RECORDS as f64
    );
    let mut group = criterion.benchmark_group("flow_batch");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    group.bench_function("encode", |bencher| bencher.iter(|| batch::encode(&payload)));
    group.bench_function("decode", |bencher| bencher.iter(|| batch::decode(&bytes)));
    group.finish();
}

criterion_group!(benches, flow_batch);
criterion_main!(benches);
