// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Appends with group commit, and questions over files and memory. `cargo bench -p insights-store`.

#![allow(clippy::unwrap_used, reason = "benches")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use insights_store::{
    AccountId, End, FlowFilter, FlowTest, MeterKey, Period, Prefix, Rows, SiteId, Store, StoreOptions, StreamKind, Verdict,
    catalog::{Account, Catalog, Node, Site, TopologyChange},
    query::{Budget, Dimension, DropsQuery, FlowQuery, HistogramQuery, HitsQuery, MeterQuery, TopQuery, TotalsOf, TotalsQuery},
};
use support::{Cloud, DAY_US, EPOCH_US, MINUTE_US, cursor};
use tokio::runtime::Runtime;

const SITE: SiteId = SiteId(uuid::Uuid::from_bytes([1; 16]));

/// Rows behind the questions.
const ROWS: usize = 400_000;

fn open(runtime: &Runtime, dir: &tempfile::TempDir) -> Store {
    let options = StoreOptions {
        upkeep_every: Duration::from_secs(3_600),
        ..StoreOptions::new(dir.path())
    };
    runtime.block_on(Store::open(options)).unwrap()
}

/// One batch at a time: the latency of an acknowledgement.
fn append(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&runtime, &dir);
    let mut cloud = Cloud::new(1, 2_000);
    let sequence = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("append");
    for size in [1, 100, 5_000] {
        let rows = cloud.flows(size, EPOCH_US, EPOCH_US + MINUTE_US);
        let batch = cloud.append(0, rows);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::new("rows", size), &batch, |bencher, batch| {
            bencher.iter(|| {
                let mut batch = batch.clone();
                batch.cursor.sequence = sequence.fetch_add(1, Ordering::Relaxed);
                runtime.block_on(store.series().append(SITE, batch)).unwrap()
            });
        });
    }
    group.finish();
}

/// Many sites at once share one sync of the disk.
fn group_commit(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&runtime, &dir);
    let mut cloud = Cloud::new(1, 2_000);
    let rows = cloud.flows(100, EPOCH_US, EPOCH_US + MINUTE_US);
    let batch = cloud.append(0, rows);
    let sequence = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("group_commit");
    for sites in [1, 10, 100] {
        group.throughput(Throughput::Elements(sites * 100));
        group.bench_with_input(BenchmarkId::new("sites", sites), &sites, |bencher, sites| {
            bencher.iter(|| {
                let sequence = sequence.fetch_add(1, Ordering::Relaxed);
                let appends = (0..*sites).map(|site| {
                    let mut batch = batch.clone();
                    batch.cursor.sequence = sequence;
                    store.series().append(SiteId(uuid::Uuid::from_u128(site.into())), batch)
                });
                runtime.block_on(join_all(appends)).into_iter().for_each(|outcome| {
                    black_box(outcome.unwrap());
                });
            });
        });
    }
    group.finish();
}

fn questions(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&runtime, &dir);
    let mut cloud = Cloud::new(1, 2_000);
    runtime.block_on(fill(&store, &mut cloud));
    let all = Period::new(EPOCH_US, EPOCH_US + 7 * DAY_US);
    let budget = Budget::default();
    let series = store.series();
    let page = |filter| FlowQuery {
        period: all,
        filter,
        after: None,
        limit: 100,
        budget,
    };
    let mut group = criterion.benchmark_group("questions");
    group.sample_size(20);
    let pages: [(&str, FlowFilter); 4] = [
        ("newest_100", FlowFilter::all()),
        (
            "newest_100_of_an_address",
            FlowTest::Ip(End::Src, Prefix::host([10, 0, 0, 42].into())).into(),
        ),
        ("newest_100_dropped_in_a_prefix", {
            let prefix = FlowFilter::from(FlowTest::Ip(End::Either, Prefix::new([10, 0, 1, 0].into(), 24).unwrap()));
            prefix.and(FlowTest::Verdict(Verdict::Dropped).into())
        }),
        ("newest_100_through_a_device", FlowTest::Device(cloud.paths[0].1.devices[0].id).into()),
    ];
    for (name, filter) in pages {
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(series.flows(SITE, page(filter.clone()))).unwrap())
        });
    }
    let filter = FlowFilter::all;
    group.bench_function("histogram_by_hour", |bencher| {
        let query = HistogramQuery {
            period: all,
            filter: filter(),
            step_us: DAY_US / 24,
            budget,
        };
        bencher.iter(|| runtime.block_on(series.histogram(SITE, query.clone())).unwrap());
    });
    for (name, dimensions) in [
        ("top_10_tenants", vec![Dimension::SrcTenant]),
        ("top_10_pairs", vec![Dimension::SrcIp, Dimension::DstIp]),
    ] {
        let query = TopQuery {
            period: all,
            filter: filter(),
            dimensions,
            limit: 10,
            budget,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(series.top(SITE, query.clone())).unwrap())
        });
    }
    group.bench_function("rules_that_dropped_most", |bencher| {
        let query = DropsQuery {
            period: all,
            filter: filter(),
            limit: 10,
            step_us: DAY_US / 24,
            budget,
        };
        bencher.iter(|| runtime.block_on(series.drops(SITE, query.clone())).unwrap());
    });
    group.bench_function("hits_of_all_rules", |bencher| {
        let query = HitsQuery {
            period: all,
            filter: filter(),
            budget,
        };
        bencher.iter(|| runtime.block_on(series.hits(SITE, query.clone())).unwrap());
    });
    let keys: Vec<MeterKey> = cloud
        .ports
        .iter()
        .take(10)
        .flat_map(|port| [MeterKey::PortRx(*port), MeterKey::PortTx(*port)])
        .collect();
    group.bench_function("meters_of_ten_ports", |bencher| {
        let query = MeterQuery {
            period: all,
            keys: keys.clone(),
            step_us: 5 * MINUTE_US,
            budget,
        };
        bencher.iter(|| runtime.block_on(series.meters(SITE, query.clone())).unwrap());
    });
    group.bench_function("totals_of_all_ports", |bencher| {
        let query = TotalsQuery {
            period: all,
            of: TotalsOf::AllPorts,
            budget,
        };
        bencher.iter(|| runtime.block_on(series.totals(SITE, query.clone())).unwrap());
    });
    group.finish();
}

/// Seven days of flows and two hours of meters; the newest part stays in memory.
async fn fill(store: &Store, cloud: &mut Cloud) {
    const BATCH: usize = 5_000;
    let batches = ROWS / BATCH;
    let span_us = 7 * DAY_US / batches as i64;
    for at in 0..batches {
        let from_us = EPOCH_US + at as i64 * span_us;
        let rows = cloud.flows(BATCH, from_us, from_us + span_us);
        store.series().append(SITE, cloud.append(at as u64, rows)).await.unwrap();
        if at + 2 == batches {
            let readings = cloud.readings(0..120);
            let batch = insights_store::Append {
                cursor: cursor(1, StreamKind::Meters, 1, 0),
                rows: Rows::Meters(readings),
            };
            store.series().append(SITE, batch).await.unwrap();
            store.series().flush().await.unwrap();
        }
    }
}

/// A cloud of 20,000 objects: its snapshot, the same again after a reconnect, and its state at a past moment.
fn topology(criterion: &mut Criterion) {
    const NODES: usize = 20_000;
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let account = Account {
        id: AccountId::random(),
        email: "bench@example.org".into(),
        name: String::new(),
        password_hash: String::new(),
        created_us: 0,
    };
    let site = |id| Site {
        id,
        account: account.id,
        name: String::new(),
        created_us: 0,
        deleted_us: None,
        quota_bytes: 0,
        settings: "{}".into(),
    };
    runtime.block_on(catalog.create_account(account.clone())).unwrap();
    let snapshot: Vec<TopologyChange> = std::iter::once(TopologyChange::SnapshotBegin { at_us: EPOCH_US, term: 1 })
        .chain((0..NODES).map(|number| {
            TopologyChange::Put(Node {
                path: format!("zoom/0/models/Port/{}", uuid::Uuid::from_u128(number as u128)),
                data: vec![b'x'; 400],
                mzxid: number as i64,
                version: 0,
                ctime_ms: 0,
                mtime_ms: 0,
                ephemeral_owner: 0,
                at_us: EPOCH_US,
            })
        }))
        .chain([TopologyChange::SnapshotEnd {
            at_us: EPOCH_US,
            nodes: NODES as u64,
        }])
        .collect();
    let sequence = AtomicU64::new(0);
    let apply = |id| {
        let at = cursor(1, StreamKind::Topology, 1, sequence.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(catalog.apply_topology(id, at, snapshot.clone())).unwrap()
    };
    let mut group = criterion.benchmark_group("topology");
    group.sample_size(10).throughput(Throughput::Elements(NODES as u64));
    group.bench_function("first_snapshot", |bencher| {
        bencher.iter_batched(
            || {
                let id = SiteId::random();
                runtime.block_on(catalog.create_site(site(id))).unwrap();
                id
            },
            apply,
            BatchSize::PerIteration,
        );
    });
    let id = SiteId::random();
    runtime.block_on(catalog.create_site(site(id))).unwrap();
    apply(id);
    group.bench_function("same_snapshot_again", |bencher| bencher.iter(|| apply(id)));
    group.bench_function("state_at_a_time", |bencher| {
        bencher.iter(|| runtime.block_on(catalog.topology_at(id, EPOCH_US + 1)).unwrap())
    });
    group.finish();
}

criterion_group!(benches, append, group_commit, questions, topology);
criterion_main!(benches);
