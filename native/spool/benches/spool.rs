// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Append with its sync, and reading back, for batches as the gateway makes them.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{hint::black_box, path::Path};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use insights_spool::{Entry, LaneOptions, Options, Spool, WhenFull};

fn open(path: &Path) -> Spool {
    let lane = |name| LaneOptions {
        name,
        rank: 0,
        max_bytes: u64::MAX,
        when_full: WhenFull::DropOldest,
    };
    let options = Options {
        path: path.to_owned(),
        max_bytes: 512 << 20,
        segment_bytes: 8 << 20,
        window_bytes: 0,
        lanes: vec![lane("a"), lane("b"), lane("c"), lane("d")],
    };
    Spool::open(options, 1).unwrap()
}

fn entry(lane: usize, payload: &[u8]) -> Entry<'_> {
    Entry {
        lane,
        payload,
        records: 1,
        first_us: 0,
        last_us: 0,
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append and sync");
    group.sample_size(20);
    for (name, size, count) in [
        ("1 of 4 KiB", 4 << 10, 1),
        ("1 of 512 KiB", 512 << 10, 1),
        ("8 of 512 KiB in one sync", 512 << 10, 8),
    ] {
        // On the disk of the build, not in memory as /tmp may be.
        let folder = tempfile::tempdir_in(std::env::var_os("CARGO_TARGET_TMPDIR").unwrap_or_else(|| ".".into())).unwrap();
        let spool = open(folder.path());
        let payload = vec![7; size];
        group.throughput(Throughput::Bytes((size * count) as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let entries: Vec<_> = (0..count).map(|number| entry(number % 4, &payload)).collect();
                spool.append(black_box(&entries)).into_iter().for_each(|outcome| _ = outcome.unwrap());
            });
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let payload = vec![7; 256 << 10];
    for _ in 0..256 {
        spool.append(&[entry(0, &payload)]).remove(0).unwrap();
    }
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Bytes(256 * payload.len() as u64));
    group.sample_size(20);
    group.bench_function("64 MiB in batches of 256 KiB", |b| {
        b.iter(|| (1..=256).for_each(|sequence| assert!(spool.read(0, black_box(sequence)).unwrap().is_some())));
    });
    group.finish();
}

fn open_full(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let payload = vec![7; 64 << 10];
    for _ in 0..2_048 {
        spool.append(&[entry(0, &payload)]).remove(0).unwrap();
    }
    drop(spool);
    c.bench_function("open with 128 MiB", |b| {
        b.iter_batched(|| (), |()| open(folder.path()), BatchSize::PerIteration)
    });
}

criterion_group!(benches, append, read, open_full);
criterion_main!(benches);
