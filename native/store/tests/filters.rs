// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Random filters over random rows: what the store answers is what the filter means, for rows in memory, in files and in merged files.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/backend.rs"]
mod backend;
mod support;

use std::time::{Duration, Instant};

use backend::{Backend, on_both};
use insights_store::{
    End, FlowFilter, FlowRow, FlowTest, KnownField, Mac, Period, Prefix, SiteId, StoreOptions, Verdict,
    query::{Budget, FlowQuery, HitsQuery},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use support::{Cloud, DAY_US, EPOCH_US};
use tokio::runtime::Runtime;
use uuid::Uuid;

const SITE: SiteId = SiteId(Uuid::from_bytes([1; 16]));

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Src), Just(End::Dst), Just(End::Either)]
}

/// Tests made of the values of a row, so that they hold for some, and of values that no row has.
fn test_of(rows: &'static [FlowRow], cloud: &'static Cloud) -> impl Strategy<Value = FlowTest> {
    let none = Uuid::from_bytes([0xee; 16]);
    (0..rows.len(), end(), 0..33_u8, any::<u8>(), 0..29).prop_map(move |(at, end, bits, some, which)| {
        let row = &rows[at];
        let known = [KnownField::Mac, KnownField::Ip, KnownField::Tenant, KnownField::Network, KnownField::Port][usize::from(some) % 5];
        let path = row.path.and_then(|path| cloud.path(path));
        let rule = path.and_then(|path| path.rules.get(usize::from(some) % 3)).map_or(none, |rule| rule.id);
        let device = path
            .and_then(|path| path.devices.get(usize::from(some) % 3))
            .map_or(none, |device| device.id);
        match which {
            0 => FlowTest::Mac(end, row.src_mac.unwrap_or(Mac([9; 6]))),
            1 => FlowTest::Ip(end, row.src_ip.map_or(Prefix::new([10, 0, 0, 0].into(), 8).unwrap(), Prefix::host)),
            2 => {
                let ip = row.dst_ip.unwrap_or([10, 0, 0, 1].into());
                FlowTest::Ip(end, Prefix::new(ip, if ip.is_ipv4() { bits } else { bits * 3 }).unwrap())
            }
            3 => FlowTest::Ip(end, Prefix::range([10, 0, 0, 5].into(), [10, 0, 0, 5 + some / 4].into())),
            4 => FlowTest::Tp(end, row.dst_tp..=row.dst_tp),
            5 => FlowTest::Tp(end, row.dst_tp..=row.dst_tp.saturating_add(u16::from(some) * 40)),
            6 => FlowTest::Tenant(end, row.src_tenant.as_deref().unwrap_or("nobody").to_owned()),
            7 => FlowTest::Network(end, row.dst_network.unwrap_or(none)),
            8 => FlowTest::Port(end, row.src_port.unwrap_or(none)),
            9 => FlowTest::Known(end, known),
            10 => FlowTest::InPort(row.in_port.unwrap_or(none)),
            11 => FlowTest::Proto(row.proto..=row.proto),
            12 => FlowTest::Proto(0..=some),
            13 => FlowTest::EtherType(row.ether_type..=row.ether_type),
            14 => FlowTest::Vlan(1..=u16::from(some % 5)),
            15 => FlowTest::Tos(row.tos..=46),
            16 => FlowTest::Ttl(some..=255),
            17 => FlowTest::IcmpId(0..=0),
            18 => FlowTest::Host(row.host),
            19 => FlowTest::Gateway(if some % 2 == 0 { row.gateway } else { none }),
            20 => FlowTest::Verdict([Verdict::Allowed, Verdict::Dropped, Verdict::Consumed][usize::from(some) % 3]),
            21 => FlowTest::SimResult(row.sim_result),
            22 => FlowTest::Transit(some % 2 == 0),
            23 => FlowTest::TunnelKey(1..=u64::from(some)),
            24 => FlowTest::Cookie(row.cookie),
            25 => FlowTest::DecidedBy(row.rule.unwrap_or(none)),
            26 => FlowTest::Device(if some % 4 == 0 {
                row.out_ports.first().copied().unwrap_or(none)
            } else {
                device
            }),
            27 => FlowTest::Rule(rule),
            _ => FlowTest::RuleMatched(rule),
        }
    })
}

fn filter_of(rows: &'static [FlowRow], cloud: &'static Cloud) -> impl Strategy<Value = FlowFilter> {
    test_of(rows, cloud).prop_map(FlowFilter::Is).prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(FlowFilter::And),
            prop::collection::vec(inner.clone(), 0..4).prop_map(FlowFilter::Or),
            inner.prop_map(|part| FlowFilter::Not(Box::new(part))),
        ]
    })
}

on_both!(the_store_answers_what_a_filter_means);

fn the_store_answers_what_a_filter_means(runtime: &Runtime, backend: Backend) {
    let options = StoreOptions {
        flush_age: Duration::from_secs(3_600),
        upkeep_every: Duration::from_millis(20),
        ..backend.options()
    };
    let store = runtime.block_on(backend.open(options));
    let cloud: &'static mut Cloud = Box::leak(Box::new(Cloud::new(11, 60)));
    let mut rows = Vec::new();
    runtime.block_on(async {
        // Nine files of a day become one; two more stay; the rest is in memory.
        for sequence in 0..13 {
            let day = EPOCH_US + if sequence < 9 { 0 } else { DAY_US };
            let part = cloud.flows(120, day, day + DAY_US);
            rows.extend(part.clone());
            store.series().append(SITE, cloud.append(sequence, part)).await.unwrap();
            if sequence < 11 {
                store.series().flush().await.unwrap();
            }
            if sequence == 9 && !backend.is_embedded() {
                backend.merge_all().await;
            }
        }
        let waited = Instant::now();
        while backend.is_embedded() && store.series().usage(SITE).await.unwrap().files > 15 {
            assert!(waited.elapsed() < Duration::from_secs(60), "files were not merged");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let rows: &'static [FlowRow] = Vec::leak(rows);
    let cloud: &'static Cloud = cloud;
    let met = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = (filter_of(rows, cloud), 0..48_i64, 1..48_i64, 1..400_usize);
    let outcome = runner.run(&strategy, |(filter, from, hours, limit)| {
        let from_us = EPOCH_US + from * DAY_US / 24;
        let period = Period::new(from_us, from_us + hours * DAY_US / 24);
        let matches = |row: &&FlowRow| period.contains(row.time_us) && filter.matches(row, row.path.and_then(|path| cloud.path(path)));
        let mut expected: Vec<&FlowRow> = rows.iter().filter(matches).collect();
        met.set(met.get() + usize::from(!expected.is_empty() && expected.len() < rows.len()));
        expected.sort_by_key(|row| std::cmp::Reverse(row.time_us));
        runtime.block_on(async {
            let mut query = FlowQuery {
                period,
                filter: filter.clone(),
                after: None,
                limit,
                budget: Budget::default(),
            };
            let mut found = Vec::new();
            loop {
                let page = store.series().flows(SITE, query.clone()).await.unwrap().value;
                found.extend(page.flows.into_iter().map(|flow| flow.row));
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            // Times are random µs: no two rows share one.
            prop_assert!(
                found.iter().eq(expected.iter().copied()),
                "{} found, {} expected",
                found.len(),
                expected.len()
            );
            let count = store
                .series()
                .count(
                    SITE,
                    HitsQuery {
                        period,
                        filter,
                        budget: Budget::default(),
                    },
                )
                .await
                .unwrap()
                .value;
            prop_assert_eq!(count.total(), expected.len() as u64);
            let dropped = expected.iter().filter(|row| row.verdict == Verdict::Dropped).count() as u64;
            prop_assert_eq!(count.dropped, dropped);
            Ok::<_, TestCaseError>(())
        })
    });
    outcome.unwrap();
    // Filters that never match would show nothing.
    assert!(met.get() > 10, "only {} filters met any row", met.get());
}
