// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What reading one golden record, object or body of meters costs. `cargo bench -p midonet`
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::path::PathBuf;

use base64::Engine;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use midonet::flow::frame::{Frame, FrameDecoder};
use midonet::{flow, meters, model, text};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden").join(name)).unwrap()
}

/// All records of a golden stream.
fn records(name: &str) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::default();
    decoder.extend(&file(name));
    let mut records = Vec::new();
    while let Some(Frame::Record(record)) = decoder.next_frame().unwrap() {
        records.push(record.to_vec());
    }
    assert_eq!(records.len(), 78);
    records
}

/// All objects of the golden tree, with their classes.
fn objects() -> Vec<(String, Vec<u8>)> {
    let tree = String::from_utf8(file("topology/zk-tree.jsonl")).unwrap();
    let lines = tree.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let objects = lines.filter_map(|line| {
        let class = line["path"]
            .as_str()?
            .strip_prefix("/midonet/zoom/0/models/")?
            .split_once('/')?
            .0
            .to_owned();
        let data = base64::engine::general_purpose::STANDARD.decode(line["data"].as_str()?).unwrap();
        (class != "C3POState").then_some((class, data))
    });
    objects.collect()
}

fn flows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow");
    for (form, name) in [("binary", "flows/flows-binary.wire"), ("json", "flows/flows-json.wire")] {
        let records = records(name);
        // The first one is a plain TCP flow with four devices and two rules.
        let typical = records[0].clone();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("decode {form}, a typical record"), |bencher| {
            bencher.iter(|| flow::decode(black_box(&typical)).unwrap())
        });
        group.throughput(Throughput::Elements(records.len() as u64));
        group.bench_function(format!("decode {form}, all golden records"), |bencher| {
            bencher.iter(|| {
                records
                    .iter()
                    .map(|record| flow::decode(black_box(record)).unwrap().actions.len())
                    .sum::<usize>()
            });
        });
        let record = flow::decode(&typical).unwrap();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("encode {form}, a typical record"), |bencher| {
            bencher.iter(|| {
                if form == "json" {
                    flow::encode_json(black_box(&record))
                } else {
                    flow::encode_binary(black_box(&record)).unwrap()
                }
            });
        });
    }
    let wire = file("flows/flows-binary.wire");
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("cut the golden stream into frames", |bencher| {
        bencher.iter(|| {
            let mut decoder = FrameDecoder::default();
            let mut count = 0;
            for piece in wire.chunks(16 << 10) {
                decoder.extend(black_box(piece));
                while let Some(frame) = decoder.next_frame().unwrap() {
                    count += usize::from(matches!(frame, Frame::Record(_)));
                }
            }
            count
        });
    });
    group.finish();
}

fn topology(criterion: &mut Criterion) {
    let objects = objects();
    let bytes = objects.iter().map(|(_, data)| data.len() as u64).sum();
    let mut group = criterion.benchmark_group("objects");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("parse text", |bencher| {
        bencher.iter(|| {
            objects
                .iter()
                .map(|(_, data)| text::parse(black_box(data)).unwrap().fields.len())
                .sum::<usize>()
        });
    });
    group.bench_function("redact", |bencher| {
        bencher.iter(|| {
            objects
                .iter()
                .map(|(class, data)| model::redact(class, black_box(data)).bytes.len())
                .sum::<usize>()
        });
    });
    let parsed: Vec<_> = objects.iter().map(|(class, data)| model::decode_object(class, data).unwrap()).collect();
    group.throughput(Throughput::Elements(parsed.len() as u64));
    group.bench_function("to JSON", |bencher| {
        bencher.iter(|| {
            parsed
                .iter()
                .map(|object| model::to_json(black_box(object)).is_object())
                .filter(|is| *is)
                .count()
        })
    });
    group.bench_function("links", |bencher| {
        bencher.iter(|| parsed.iter().map(|object| black_box(object).references().count()).sum::<usize>())
    });
    group.finish();
}

fn device_stats(criterion: &mut Criterion) {
    let body = file("metering/device_stats-3.tsv").repeat(100);
    let lines = body.iter().filter(|byte| **byte == b'\n').count();
    let mut group = criterion.benchmark_group("meters");
    group.throughput(Throughput::Elements(lines as u64));
    group.bench_function("parse and sum", |bencher| {
        bencher.iter(|| meters::parse_device_stats(black_box(&body)).sums().len())
    });
    group.finish();
}

criterion_group!(benches, flows, topology, device_stats);
criterion_main!(benches);
