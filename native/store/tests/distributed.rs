// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is special about a store whose time series are in a server: failures between the two, several collectors, its own bounds.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/backend.rs"]
mod backend;
mod support;

use std::time::{Duration, Instant};

use backend::Backend;
use insights_store::{
    AccountId, Appended, End, FlowFilter, FlowRow, FlowTest, Period, SiteId, Store, StoreError, StoreOptions, StreamKind,
    catalog::{Account, EventQuery, Hop, Site},
    query::{Budget, Dimension, FlowQuery, HitsQuery, PairsQuery, StoredFlow, TopQuery},
};
use support::{Cloud, DAY_US, EPOCH_US, cursor};

const ALL: Period = Period { from_us: 0, to_us: i64::MAX };

fn site(number: u8) -> SiteId {
    SiteId(uuid::Uuid::from_bytes([number; 16]))
}

fn still(options: StoreOptions) -> StoreOptions {
    StoreOptions {
        upkeep_every: Duration::from_secs(3_600),
        ..options
    }
}

fn hits(filter: FlowFilter) -> HitsQuery {
    HitsQuery {
        period: ALL,
        filter,
        budget: Budget::default(),
    }
}

async fn all_flows(store: &Store, site: SiteId) -> Vec<StoredFlow> {
    let query = FlowQuery {
        period: ALL,
        filter: FlowFilter::all(),
        after: None,
        limit: FlowQuery::MAX_LIMIT,
        budget: Budget::default(),
    };
    store.series().flows(site, query).await.unwrap().value.flows
}

/// Records, and what each roll-up says that they are.
async fn sums(backend: &Backend) -> Vec<String> {
    let mut out = vec![backend.ask("SELECT count() FROM flows").await];
    for table in ["flow_minutes", "flow_hours", "pair_hours"] {
        out.push(backend.ask(&format!("SELECT sum(flows) FROM {table}")).await);
    }
    out.push(backend.ask("SELECT sum(records) FROM counts").await);
    out.iter().map(|text| text.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_cut_off_anywhere_is_completed_and_counts_once() {
    let backend = Backend::clickhouse().await;
    let store = backend.open(still(backend.options())).await;
    let mut cloud = Cloud::new(31, 50);
    // Three days, so several parts of each table.
    let batch = cloud.append(0, cloud_rows(31, 300));
    drop(cloud.flows(1, EPOCH_US, EPOCH_US + DAY_US));
    let all = vec!["300".to_owned(); 5];
    assert_eq!(store.series().append(site(1), batch.clone()).await.unwrap(), Appended::Committed);
    assert_eq!(sums(&backend).await, all);

    // Killed before the cursor was written.
    backend.ask("TRUNCATE TABLE cursors").await;
    let stream = batch.cursor.stream;
    assert_eq!(store.cursor(site(1), stream).await.unwrap(), None);
    assert_eq!(store.series().append(site(1), batch.clone()).await.unwrap(), Appended::Committed);
    assert_eq!(
        (sums(&backend).await, store.cursor(site(1), stream).await.unwrap()),
        (all.clone(), Some(0))
    );

    // Killed when some tables had their rows and others had not.
    let views = ["flows_to_flows", "flows_to_flow_hours", "flows_to_counts"];
    for view in views {
        backend.ask(&format!("DROP VIEW {view} SYNC")).await;
    }
    let next = cloud.append(1, cloud_rows(32, 200));
    store.series().append(site(1), next.clone()).await.unwrap();
    assert_eq!(sums(&backend).await, ["300", "500", "300", "500", "300"]);
    drop(store);
    backend.ask("TRUNCATE TABLE cursors").await;
    // Another collector, with the same catalogue; it makes the views that are missing, and takes both batches again.
    let store = backend.open(still(backend.options())).await;
    for batch in [batch, next] {
        assert_eq!(store.series().append(site(1), batch.clone()).await.unwrap(), Appended::Committed);
        assert_eq!(store.series().append(site(1), batch).await.unwrap(), Appended::Duplicate);
    }
    assert_eq!(sums(&backend).await, vec!["500".to_owned(); 5]);
    backend.merge_all().await;
    assert_eq!(sums(&backend).await, vec!["500".to_owned(); 5]);
    let stored = store.counts(site(1), ALL).await.unwrap();
    assert_eq!(stored.iter().map(|count| count.records).sum::<u64>(), 500);
    assert!(stored.iter().all(|count| count.hop == Hop::Stored && count.kind == StreamKind::Flows));
}

/// Rows whose paths are those of [`Cloud::new`] with seed 31.
fn cloud_rows(seed: u64, count: usize) -> Vec<FlowRow> {
    let mut cloud = Cloud::new(31, 50);
    // Another seed gives other rows.
    for _ in 31..seed {
        drop(cloud.flows(1_000, EPOCH_US, EPOCH_US + DAY_US));
    }
    cloud.flows(count, EPOCH_US, EPOCH_US + 3 * DAY_US)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_as_they_were_and_have_the_same_ids_wherever_they_are_taken() {
    let backend = Backend::clickhouse().await;
    let store = backend.open(still(backend.options())).await;
    let mut cloud = Cloud::new(1, 100);
    let rows = cloud.flows(500, EPOCH_US, EPOCH_US + 3 * DAY_US);
    let batch = cloud.append(0, rows.clone());
    store.series().append(site(1), batch.clone()).await.unwrap();
    let found = all_flows(&store, site(1)).await;
    assert!(found.is_sorted_by_key(|flow| std::cmp::Reverse(flow.id)));
    let mut expected = rows;
    expected.sort_by_key(|row| std::cmp::Reverse(row.time_us));
    assert!(found.iter().map(|flow| &flow.row).eq(expected.iter()));
    for flow in found.iter().step_by(97) {
        assert_eq!(store.series().flow(site(1), flow.id).await.unwrap().unwrap(), *flow);
        assert_eq!(store.series().flow(site(2), flow.id).await.unwrap(), None);
        if let Some(path) = flow.row.path {
            let period = Period::new(flow.row.time_us, flow.row.time_us + 1);
            let contents = store.series().paths(site(1), period, vec![path]).await.unwrap();
            assert_eq!(contents, vec![(path, cloud.path(path).unwrap().clone())]);
            assert!(store.series().paths(site(2), period, vec![path]).await.unwrap().is_empty());
        }
    }
    // The same batch into another store.
    let other = Backend::clickhouse().await;
    let second = other.open(still(other.options())).await;
    second.series().append(site(1), batch).await.unwrap();
    assert_eq!(all_flows(&second, site(1)).await, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_question_of_a_site_reaches_another() {
    let backend = Backend::clickhouse().await;
    let store = backend.open(still(backend.options())).await;
    let mut cloud = Cloud::new(7, 50);
    let rows = cloud.flows(300, EPOCH_US, EPOCH_US + DAY_US);
    store.series().append(site(1), cloud.append(0, rows.clone())).await.unwrap();
    // A tenant's name that would end a statement, were it in one.
    let odd = "x') OR 1=1 -- \\";
    let mut other = rows[..10].to_vec();
    other.iter_mut().for_each(|row| row.src_tenant = Some(odd.into()));
    store.series().append(site(2), cloud.append(0, other)).await.unwrap();
    let device = rows
        .iter()
        .find_map(|row| row.path.and_then(|path| cloud.path(path)).and_then(|path| path.devices.first()));
    let filters = [
        FlowFilter::all(),
        FlowFilter::from(FlowTest::Device(device.unwrap().id)).negate(),
        FlowTest::Tenant(End::Src, odd.into()).into(),
        FlowFilter::Or(vec![FlowFilter::all(), FlowTest::Tenant(End::Either, odd.into()).into()]),
    ];
    let counts = [(300, 10), (0, 0), (0, 10), (300, 10)];
    for (filter, (one, two)) in filters.into_iter().zip(counts) {
        let negated = matches!(filter, FlowFilter::Not(_));
        for (number, expected) in [(1, one), (2, two), (3, 0)] {
            let found = store.series().count(site(number), hits(filter.clone())).await.unwrap().value.total();
            assert!(
                found == expected || negated && found <= [300, 10, 0][usize::from(number) - 1],
                "{filter:?} {found}"
            );
        }
    }
    for (number, least) in [(2, 1), (3, 0)] {
        let query = hits(FlowFilter::all());
        assert!(store.series().hits(site(number), query).await.unwrap().value.len() >= least);
        let (period, filter, budget) = (ALL, FlowFilter::all(), Budget::default());
        let top = TopQuery {
            period,
            filter: filter.clone(),
            dimensions: vec![Dimension::SrcTenant],
            limit: 10,
            budget,
        };
        let top = store.series().top(site(number), top).await.unwrap().value;
        let pairs = PairsQuery {
            period,
            filter,
            limit: 1_000,
            budget,
        };
        let pairs = store.series().pairs(site(number), pairs).await.unwrap().value;
        let sum: u64 = pairs.rows.iter().map(|pair| pair.flows.total()).sum();
        assert_eq!((top.rows.len() as u64, sum), (least as u64, 10 * least as u64));
    }
    store.remove_site(site(1)).await.unwrap();
    assert!(all_flows(&store, site(1)).await.is_empty());
    assert_eq!(store.series().usage(site(1)).await.unwrap().total(), 0);
    assert_eq!(store.cursor(site(1), cursor(1, StreamKind::Flows, 1, 0).stream).await.unwrap(), None);
    assert_eq!(all_flows(&store, site(2)).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_collectors_that_take_the_same_stream_store_each_batch_once() {
    let backend = Backend::clickhouse().await;
    let second = backend.beside();
    let (one, two) = (backend.open(still(backend.options())).await, second.open(still(second.options())).await);
    let mut cloud = Cloud::new(9, 50);
    for sequence in 0..6 {
        let rows = cloud.flows(50, EPOCH_US, EPOCH_US + DAY_US);
        let batch = cloud.append(sequence, rows);
        let both = futures::future::join(one.series().append(site(1), batch.clone()), two.series().append(site(1), batch)).await;
        both.0.unwrap();
        both.1.unwrap();
    }
    assert_eq!(sums(&backend).await, vec!["300".to_owned(); 5]);
    assert_eq!(all_flows(&two, site(1)).await, all_flows(&one, site(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_holds_questions_to_their_budget_and_drops_those_that_nobody_waits_for() {
    let backend = Backend::clickhouse().await;
    let store = backend.open(still(backend.options())).await;
    let mut cloud = Cloud::new(9, 50);
    for sequence in 0..3 {
        let rows = cloud.flows(20_000, EPOCH_US, EPOCH_US + DAY_US);
        store.series().append(site(1), cloud.append(sequence, rows)).await.unwrap();
    }
    let cookie = FlowFilter::from(FlowTest::Cookie(7));
    for (what, budget) in [
        (
            "rows",
            Budget {
                rows: 1_000,
                ..Budget::default()
            },
        ),
        (
            "bytes",
            Budget {
                bytes: 1_000,
                ..Budget::default()
            },
        ),
    ] {
        let query = HitsQuery {
            budget,
            ..hits(cookie.clone())
        };
        let over = store.series().count(site(1), query).await.unwrap_err();
        assert!(matches!(over, StoreError::OverBudget { what: found, .. } if found == what), "{over}");
    }
    // Many tests of every row: seconds of work.
    let slow = |at: u8| FlowFilter::from(FlowTest::Vlan(u16::from(at)..=4_000)).negate();
    let query = hits(FlowFilter::And((0..200).map(slow).collect()));
    let running = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT verdict%' AND current_database = currentDatabase()";
    let mut question = store.series().count(site(1), query);
    let asked = Instant::now();
    let mut seen = false;
    while !seen && asked.elapsed() < Duration::from_secs(60) {
        if futures::poll!(&mut question).is_ready() {
            break;
        }
        seen = backend.ask(running).await.trim() != "0";
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(question);
    let dropped = Instant::now();
    while backend.ask(running).await.trim() != "0" {
        assert!(dropped.elapsed() < Duration::from_secs(30), "the server still works at it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        store.series().count(site(1), hits(FlowFilter::all())).await.unwrap().value.total(),
        60_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_held_to_its_quota_by_whole_days() {
    let backend = Backend::clickhouse().await;
    let store = backend.open(still(backend.options())).await;
    let account = Account {
        id: AccountId::random(),
        email: "ada@example.org".into(),
        name: "Ada".into(),
        password_hash: "$argon2id$x".into(),
        created_us: 1,
    };
    store.catalog().create_account(account.clone()).await.unwrap();
    let mut cloud = Cloud::new(8, 50);
    for day in 0..4 {
        let from_us = EPOCH_US + day * DAY_US;
        for number in [1, 2] {
            let rows = cloud.flows(300, from_us, from_us + DAY_US);
            store.series().append(site(number), cloud.append(day as u64, rows)).await.unwrap();
        }
    }
    backend.merge_all().await;
    let usage = store.series().usage(site(1)).await.unwrap();
    assert!(
        usage.flows > 0 && usage.paths > 0 && usage.rollups > 0 && usage.oldest_us.is_some_and(|us| us >= EPOCH_US),
        "{usage:?}"
    );
    // Room for roll-ups and half of the flows.
    let quota = usage.rollups * 4 + 1;
    let half = usage.rollups + (usage.flows + usage.paths) / 2;
    let options = StoreOptions {
        retention: insights_store::Retention {
            rollup_percent: 100,
            ..insights_store::Retention::default()
        },
        ..still(backend.options())
    };
    drop(store);
    let store = backend.open(options).await;
    assert_eq!(store.series().purge(site(1), quota.max(usage.total())).await.unwrap().files, 0);
    let purged = store.series().purge(site(1), half).await.unwrap();
    let left = store.series().usage(site(1)).await.unwrap();
    assert!(
        left.total() - left.catalog <= half && purged.bytes == usage.total() - (left.total() - left.catalog),
        "{left:?} {purged:?}"
    );
    let flows = all_flows(&store, site(1)).await;
    assert_eq!(flows.len() as u64 + purged.rows, 1_200);
    assert!(!flows.is_empty() && purged.rows % 300 == 0 && purged.rows > 0, "{purged:?}");
    assert!(flows.iter().all(|flow| Some(flow.row.time_us) > purged.until_us));
    for flow in flows.iter().filter(|flow| flow.row.path.is_some()).take(5) {
        let period = Period::new(flow.row.time_us, flow.row.time_us + 1);
        assert_eq!(
            store.series().paths(site(1), period, vec![flow.row.path.unwrap()]).await.unwrap().len(),
            1
        );
    }
    assert_eq!(all_flows(&store, site(2)).await.len(), 1_200);
    let counts = store.counts(site(1), ALL).await.unwrap();
    let sum = |hop| counts.iter().filter(|count| count.hop == hop).map(|count| count.records).sum::<u64>();
    assert_eq!((sum(Hop::Stored), sum(Hop::Purged)), (1_200, purged.rows));
    // Long periods still count what is gone, from roll-ups.
    assert_eq!(store.series().count(site(1), hits(FlowFilter::all())).await.unwrap().value.total(), 1_200);
    let events = store.catalog().events(site(1), EventQuery::all(ALL, 10)).await.unwrap();
    assert!(events.iter().any(|event| event.event.kind == "retention.purged"), "{events:?}");
    // Flows that come late for a day that went are there, with their paths.
    let late = cloud.flows(20, EPOCH_US, EPOCH_US + DAY_US);
    store.series().append(site(1), cloud.append(9, late)).await.unwrap();
    assert_eq!(all_flows(&store, site(1)).await.len(), flows.len() + 20);
    let path = all_flows(&store, site(1)).await.iter().rev().find_map(|flow| flow.row.path).unwrap();
    let day = Period::new(EPOCH_US, EPOCH_US + DAY_US);
    assert_eq!(store.series().paths(site(1), day, vec![path]).await.unwrap().len(), 1);

    // The upkeep does the same by itself.
    let new = Site {
        id: site(2),
        account: account.id,
        name: "two".into(),
        created_us: 1,
        deleted_us: None,
        quota_bytes: half,
        settings: "{}".into(),
    };
    store.catalog().create_site(new).await.unwrap();
    drop(store);
    let store = backend
        .open(StoreOptions {
            upkeep_every: Duration::from_millis(20),
            ..backend.options()
        })
        .await;
    let waited = Instant::now();
    while store.series().usage(site(2)).await.unwrap().total() > half {
        assert!(waited.elapsed() < Duration::from_secs(60), "the quota was not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_talked_to_is_named() {
    let backend = Backend::clickhouse().await;
    let store = backend.open(still(backend.options())).await;
    let beside = backend.beside();
    drop(beside.open(still(beside.options())).await);
    backend.ask("INSERT INTO versions VALUES (1000)").await;
    let newer = beside.try_open(still(beside.options())).await.err().unwrap();
    assert!(matches!(newer, StoreError::Newer { found: 1_000, .. }), "{newer}");
    // A server that is gone: nothing is taken, nothing is lost.
    drop(store);
    let nobody = insights_store::ClickHouseOptions::new("clickhouse://127.0.0.1:1/nothing".parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open_distributed(StoreOptions::new(dir.path()), nobody).await.err().unwrap();
    let told = std::error::Error::source(&error).unwrap().to_string();
    assert!(told.contains("connect"), "{told}");
}
