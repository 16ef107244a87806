// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a record of the simulator costs: the way of its packet through the topology, and its encoding.

use std::{hint::black_box, net::Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use insights_cloudsim::{plan::Plan, size::Size, traffic, view::View};
use midonet::flow::{encode_binary, encode_json};

const RECORDS: usize = 2000;

fn traffic(c: &mut Criterion) {
    let plan = Plan::build(Size::SMALL, 1, Ipv4Addr::new(127, 64, 0, 0));
    let view = View::compile(&plan.zoom, &plan.learned);
    let records = traffic::sample(&view, 1, RECORDS);
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("simulate", |b| b.iter(|| traffic::sample(black_box(&view), 1, RECORDS)));
    group.bench_function("encode binary", |b| {
        b.iter(|| {
            records
                .iter()
                .map(|record| encode_binary(record).map_or(0, |bytes| bytes.len()))
                .sum::<usize>()
        })
    });
    group.bench_function("encode json", |b| {
        b.iter(|| records.iter().map(|record| encode_json(record).len()).sum::<usize>())
    });
    group.finish();

    let mut group = c.benchmark_group("topology");
    group.sample_size(20);
    group.throughput(Throughput::Elements(plan.zoom.len() as u64));
    group.bench_function("plan and translate", |b| {
        b.iter(|| Plan::build(Size::SMALL, 1, Ipv4Addr::new(127, 64, 0, 0)).zoom.len())
    });
    group.bench_function("text of all objects", |b| {
        b.iter(|| plan.zoom.iter().map(|obj| obj.to_text().len()).sum::<usize>())
    });
    group.bench_function("compile", |b| b.iter(|| View::compile(&plan.zoom, &plan.learned).ports.len()));
    group.finish();
}

criterion_group!(benches, traffic);
criterion_main!(benches);
