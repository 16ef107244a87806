// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What one core takes of agents' streams: framing, decoding and the making of facts.
//! `cargo bench -p insights-gateway --bench intake`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use insights_gateway::recorder::intake::Intake;

/// The golden stream so often that it has about 5,000 records.
const REPEAT: usize = 64;
/// Records of the golden stream.
const RECORDS: u64 = 78;
/// Bytes of one read of the endpoint.
const READ_BYTES: usize = 16 << 10;

fn intake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("intake");
    for form in ["binary", "json"] {
        let path = format!("{}/../../tests/fixtures/golden/flows/flows-{form}.wire", env!("CARGO_MANIFEST_DIR"));
        let stream = std::fs::read(path).expect("the golden stream is in the repository").repeat(REPEAT);
        group.throughput(Throughput::Elements(RECORDS * REPEAT as u64));
        group.bench_function(form, |bencher| {
            bencher.iter(|| {
                let mut intake = Intake::default();
                let mut facts = 0u64;
                for bytes in stream.chunks(READ_BYTES) {
                    let fact = |fact| {
                        black_box(fact);
                        facts += 1;
                    };
                    intake.take(bytes, 0, fact, |_| ()).expect("the golden stream is whole");
                }
                assert_eq!(facts, RECORDS * REPEAT as u64);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, intake);
criterion_main!(benches);
