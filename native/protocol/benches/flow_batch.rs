// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Time and size of batches of flow records.
//!
//! `cargo bench -p insights-protocol`. `flow_batch`: 20,000 records of 5 s as they stand on disk, each batch for itself. `flow_stream`: 65,536 records
//! of connections in batches of 4,096 on one stream, its beginning included. `insights-e2e` has a program, `wire`, that measures the traffic of a
//! simulated cloud beside zstd of the same records.

mod traffic;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use insights_protocol::{
    batch::{self, Payload},
    stream::{StreamReader, StreamWriter},
};

const RECORDS: usize = 20_000;
const STREAM_RECORDS: usize = 65_536;
const STREAM_BATCH: usize = 4_096;

fn flow_batch(criterion: &mut Criterion) {
    let payload = Payload::Flows(traffic::pairs(RECORDS));
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

fn write(payloads: &[Payload]) -> Vec<Vec<u8>> {
    let mut writer = StreamWriter::default();
    let bytes = payloads.iter().map(|payload| writer.write_records(payload));
    bytes.map(|bytes| bytes.expect("the records are within the bounds of a batch")).collect()
}

fn flow_stream(criterion: &mut Criterion) {
    let flows = traffic::connections(STREAM_RECORDS);
    let payloads: Vec<Payload> = flows.chunks(STREAM_BATCH).map(|flows| Payload::Flows(flows.to_vec())).collect();
    let batches = write(&payloads);
    let bytes: usize = batches.iter().map(Vec::len).sum();
    eprintln!(
        "{STREAM_RECORDS} records: {bytes} bytes, {:.1} bytes a record",
        bytes as f64 / STREAM_RECORDS as f64
    );
    let mut group = criterion.benchmark_group("flow_stream");
    group.throughput(Throughput::Elements(STREAM_RECORDS as u64)).sample_size(10);
    group.bench_function("encode", |bencher| bencher.iter(|| write(&payloads)));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut reader = StreamReader::default();
            batches
                .iter()
                .map(|bytes| reader.read(bytes).expect("it was written just before").1.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, flow_batch, flow_stream);
criterion_main!(benches);
