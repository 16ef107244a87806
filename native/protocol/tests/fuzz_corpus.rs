// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Runs every fuzz target of the wire over its committed corpus, without a fuzzer, and what comes of it when bytes change.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/fuzz/wire_targets.rs"]
mod targets;

use std::{fs, net::IpAddr, path::PathBuf, sync::Arc};

use insights_protocol::{
    batch::{self, Payload},
    flow::{Device, Extras, FlowFact, Path, Rule, Tunnel},
    stream::StreamWriter,
};

fn corpus(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name)
}

#[test]
fn every_corpus_passes() {
    for (name, target) in targets::TARGETS {
        let mut inputs: Vec<PathBuf> = fs::read_dir(corpus(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "{name} has no corpus");
        for input in inputs {
            let data = fs::read(&input).unwrap();
            // The name of the input shows in the output of a failing test.
            eprintln!("{}", input.display());
            target(&data);
            for length in (0..data.len()).step_by(data.len() / 64 + 1) {
                target(&data[..length]);
            }
            for at in (0..data.len()).step_by(data.len() / 256 + 1) {
                let mut changed = data.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
            }
        }
    }
}

#[test]
fn the_corpus_is_what_a_writer_writes() {
    // Otherwise it would say nothing of the form of today; `write_the_corpus` makes it anew.
    for (name, input) in written() {
        assert!(
            fs::read(corpus(name.0).join(name.1)).unwrap() == input,
            "{}/{} is of another form",
            name.0,
            name.1
        );
    }
}

#[test]
#[ignore = "writes into the tree: only when the form of the wire changed"]
fn write_the_corpus() {
    for (name, input) in written() {
        fs::create_dir_all(corpus(name.0)).unwrap();
        fs::write(corpus(name.0).join(name.1), input).unwrap();
    }
}

/// Inputs by target and name.
fn written() -> Vec<((&'static str, &'static str), Vec<u8>)> {
    let flows = flows();
    let batches = [&flows[..1], &flows[1..40], &flows[40..90], &flows[90..]];
    let mut writer = StreamWriter::default();
    let travelled: Vec<(u16, Vec<u8>)> = batches
        .iter()
        .map(|flows| (flows.len() as u16, writer.write_records(&Payload::Flows(flows.to_vec())).unwrap()))
        .collect();
    let stream = |batches: &[(u16, Vec<u8>)]| batches.iter().flat_map(|(rows, bytes)| targets::piece(*rows, bytes)).collect::<Vec<u8>>();
    let mut broken = travelled.clone();
    broken[1].1.truncate(60);
    let alone = |flows: &[FlowFact]| batch::encode(&Payload::Flows(flows.to_vec())).unwrap();
    vec![
        (("flow_stream", "one"), stream(&travelled[..1])),
        (("flow_stream", "connections"), stream(&travelled)),
        (("flow_stream", "broken-in-the-middle"), stream(&broken)),
        (("flow_stream", "more-rows-than-bytes"), targets::piece(u16::MAX, &travelled[0].1)),
        (("batch", "empty"), alone(&[])),
        (("batch", "one"), alone(&flows[..1])),
        (("batch", "connections"), alone(&flows)),
    ]
}

/// Connections with all that flows may have.
fn flows() -> Vec<FlowFact> {
    let id = |kind: u8, n: u8| [kind, n, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, n];
    let v4 = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
    (0..120u8)
        .flat_map(|n| {
            let question = FlowFact {
                received_us: 1_790_000_000_000_000 + i64::from(n) * 300,
                host: id(1, n % 3),
                cookie: n.into(),
                sim_result: 8,
                in_port: Some(id(2, n % 7)),
                dp_in_port: u32::from(n % 7),
                tunnel: Tunnel::default(),
                eth_src: [0xfa, 0x16, 0x3e, 0, 0, n % 7],
                eth_dst: [0xfa, 0x16, 0x3e, 0, 1, n % 5],
                ether_type: if n % 11 == 0 { 0x86dd } else { 0x0800 },
                net_src: if n % 11 == 0 { Some(IpAddr::from(id(3, n))) } else { v4(n % 7) },
                net_dst: if n % 11 == 0 { None } else { v4(100 + n % 5) },
                proto: if n % 13 == 0 { 1 } else { 6 },
                tos: 0,
                ttl: 64,
                fragment: 1,
                tp_src: if n % 13 == 0 { 8 } else { 40_000 + u16::from(n / 2) },
                tp_dst: if n % 13 == 0 { 0 } else { 443 },
                icmp_id: if n % 13 == 0 { n.into() } else { 0 },
                extras: Arc::new(Extras {
                    vlans: if n % 17 == 0 { vec![5, 6] } else { vec![] },
                    icmp_data: if n % 19 == 0 { vec![1; 28] } else { vec![] },
                }),
                path: Arc::new(Path {
                    devices: (0..n % 5).map(|m| Device { id: id(4, m), kind: 4 }).collect(),
                    rules: (0..n % 9)
                        .map(|m| Rule {
                            id: id(5, m),
                            result: 2,
                            matched: m == 3,
                            applied: m == 3,
                        })
                        .collect(),
                }),
                out_ports: (0..n % 3).map(|m| id(2, m)).collect(),
                actions: match n % 4 {
                    0 => [0].into(),
                    1 => [[1, 11, 10, 0, 0, n % 7, 10, 0, 0, 200], [6, 0, 63, 1, 0, 0, 0, 0, 0, 0]].concat()[..14].into(),
                    2 => [2, 12, 1, 1, 1, 187, 1, 0, 0, 0, n].into(),
                    _ => [1, 99, n, n].into(),
                },
                untrusted: if n % 23 == 0 { 3 } else { 0 },
            };
            let answer = FlowFact {
                net_src: question.net_dst,
                net_dst: question.net_src,
                tp_src: question.tp_dst,
                tp_dst: question.tp_src,
                tunnel: Tunnel {
                    key: u64::from(n % 4) * 5,
                    source: 0x0a01_0001,
                    destination: 0x0a01_0002,
                },
                in_port: None,
                ..question.clone()
            };
            [question, answer]
        })
        .collect()
}
