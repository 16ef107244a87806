// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Every criterion of the flow history alone, and random combinations of them: page, API and file give what a look at each record gives.
//!
//! `CRITERIA_COMBINATIONS=500 cargo test --workspace --test criteria` asks for more combinations, `CRITERIA_SEED` for others.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use http::{Client, app, serve};
use insights_collector::{clock::now_us, query::params};
use insights_store::{Append, Cursor, FlowRow, Mac, Path, PathDevice, PathRule, Rows, SiteId, StreamId, StreamKind, Verdict};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use service::{PASSWORD, Service};
use uuid::Uuid;

/// Few enough for one answer of the API, and enough that combinations hit some.
const FLOWS: usize = 700;

/// As many combinations as an ordinary run has time for.
const COMBINATIONS: usize = 24;

/// Rows that a page of the list has.
const PAGE: usize = 100;

/// A record and its way.
struct Record {
    row: FlowRow,
    path: Path,
}

/// A filter as text, and what it means.
struct Criterion {
    text: String,
    holds: Box<dyn Fn(&Record) -> bool>,
}

type Holds = Box<dyn Fn(&Record) -> bool>;

/// Ends of a flow that a field looks at.
#[derive(Clone, Copy)]
enum Ends {
    Source,
    Destination,
    Either,
}

impl Ends {
    const ALL: [Ends; 3] = [Ends::Source, Ends::Destination, Ends::Either];

    fn field(self, name: &str) -> String {
        match self {
            Ends::Source => format!("src.{name}"),
            Ends::Destination => format!("dst.{name}"),
            Ends::Either => name.to_owned(),
        }
    }

    /// Holds where it does for the value of an end that it looks at.
    fn any<T>(self, of: (T, T), holds: impl Fn(&T) -> bool) -> bool {
        match self {
            Ends::Source => holds(&of.0),
            Ends::Destination => holds(&of.1),
            Ends::Either => holds(&of.0) || holds(&of.1),
        }
    }
}

fn id(number: u32) -> Uuid {
    Uuid::from_u128(0x5000_0000_0000_4000_8000_0000_0000_0000 + u128::from(number))
}

/// Small ranges of everything, so that values meet; absent ones too.
fn record(random: &mut StdRng, number: usize, time_us: i64) -> Record {
    let address = |random: &mut StdRng| -> Option<IpAddr> {
        match random.random_range(0..10) {
            0 => None,
            1..=2 => Some(format!("2001:db8::{:x}", random.random_range(1..9)).parse().unwrap()),
            _ => Some(IpAddr::from([
                10,
                random.random_range(0..2),
                random.random_range(0..3),
                random.random_range(1..9),
            ])),
        }
    };
    let maybe = |random: &mut StdRng, base: u32| random.random_bool(0.8).then(|| id(base + random.random_range(0..4)));
    let tenant = |random: &mut StdRng| random.random_bool(0.8).then(|| format!("tenant-{}", random.random_range(0..4)).into());
    let mac = |random: &mut StdRng| random.random_bool(0.9).then(|| Mac([0xfa, 0x16, 0x3e, 0, 0, random.random_range(0..6)]));
    let path = Path {
        devices: (0..random.random_range(0..4))
            .map(|_| PathDevice {
                id: id(500 + random.random_range(0..6)),
                kind: 4,
            })
            .collect(),
        rules: (0..random.random_range(0..4))
            .map(|_| PathRule {
                id: id(600 + random.random_range(0..6)),
                result: 2,
                matched: random.random_bool(0.5),
                applied: false,
            })
            .collect(),
    };
    let row = FlowRow {
        time_us,
        gateway: id(1),
        host: id(100 + random.random_range(0..4)),
        sim_result: random.random_range(1..=10),
        verdict: *Verdict::ALL.choose(random).unwrap(),
        transit: random.random_bool(0.3),
        untrusted: 0,
        cookie: number as u64,
        dp_port: 3,
        in_port: None,
        src_port: maybe(random, 200),
        dst_port: maybe(random, 200),
        src_tenant: tenant(random),
        dst_tenant: tenant(random),
        src_network: maybe(random, 300),
        dst_network: maybe(random, 300),
        src_mac: mac(random),
        dst_mac: mac(random),
        ether_type: *[0x0800, 0x86dd, 0x0806, 0x88cc].choose(random).unwrap(),
        vlans: (0..random.random_range(0..3)).map(|_| random.random_range(1..6)).collect(),
        src_ip: address(random),
        dst_ip: address(random),
        proto: *[1, 6, 17, 47].choose(random).unwrap(),
        tos: random.random_range(0..4),
        ttl: random.random_range(60..66),
        src_tp: random.random_range(1..2_000),
        dst_tp: *[22, 53, 80, 443, 8_080].choose(random).unwrap(),
        icmp_id: random.random_range(0..4),
        icmp_data: Vec::new(),
        tunnel_key: random.random_range(0..4),
        tunnel_src: 0,
        tunnel_dst: 0,
        rule: maybe(random, 600),
        path: Some(path.id()),
        out_ports: Vec::new(),
        actions: Vec::new(),
    };
    Record { row, path }
}

/// A test of the given field; fields are numbered, so that each is tried.
fn criterion(random: &mut StdRng, field: usize) -> Criterion {
    let ends = *Ends::ALL.choose(random).unwrap();
    match field {
        0 => {
            let mac = Mac([0xfa, 0x16, 0x3e, 0, 0, random.random_range(0..6)]);
            test(format!("{} = {mac}", ends.field("mac")), move |record| {
                ends.any((record.row.src_mac, record.row.dst_mac), |of| *of == Some(mac))
            })
        }
        1 => {
            let ip = IpAddr::from([10, random.random_range(0..2), random.random_range(0..3), random.random_range(1..9)]);
            test(format!("{} = {ip}", ends.field("ip")), move |record| {
                ends.any((record.row.src_ip, record.row.dst_ip), |of| *of == Some(ip))
            })
        }
        2 => {
            let (a, b, bits) = (
                random.random_range(0..2),
                random.random_range(0..3),
                *[8, 15, 16, 24, 29].choose(random).unwrap(),
            );
            let network = u32::from_be_bytes([10, a, b, 0]) & (u32::MAX << (32 - bits));
            let text = std::net::Ipv4Addr::from(network);
            test(format!("{} in {text}/{bits}", ends.field("ip")), move |record| {
                ends.any((record.row.src_ip, record.row.dst_ip), |of| match of {
                    Some(IpAddr::V4(ip)) => u32::from(*ip) & (u32::MAX << (32 - bits)) == network,
                    _ => false,
                })
            })
        }
        3 => {
            let last = random.random_range(1..9);
            test(format!("{} in 2001:db8::{last:x}/128", ends.field("ip")), move |record| {
                let ip: IpAddr = format!("2001:db8::{last:x}").parse().unwrap();
                ends.any((record.row.src_ip, record.row.dst_ip), |of| *of == Some(ip))
            })
        }
        4 => {
            let (low, wide) = (random.random_range(1..1_500), random.random_range(0..600));
            test(format!("{} in ({low}-{}, 443)", ends.field("port"), low + wide), move |record| {
                ends.any((record.row.src_tp, record.row.dst_tp), |of| (low..=low + wide).contains(of) || *of == 443)
            })
        }
        5 => {
            let tenant = format!("tenant-{}", random.random_range(0..4));
            test(format!("{} = {tenant}", ends.field("tenant")), move |record| {
                ends.any((record.row.src_tenant.clone(), record.row.dst_tenant.clone()), |of| {
                    of.as_deref() == Some(&*tenant)
                })
            })
        }
        6 => {
            let network = id(300 + random.random_range(0..4));
            test(format!("{} = {network}", ends.field("network")), move |record| {
                ends.any((record.row.src_network, record.row.dst_network), |of| *of == Some(network))
            })
        }
        7 => {
            let port = id(200 + random.random_range(0..4));
            test(format!("{} = {port}", ends.field("vport")), move |record| {
                ends.any((record.row.src_port, record.row.dst_port), |of| *of == Some(port))
            })
        }
        8 => test(format!("{} = none", ends.field("ip")), move |record| {
            ends.any((record.row.src_ip, record.row.dst_ip), Option::is_none)
        }),
        9 => test(format!("{} = none", ends.field("tenant")), move |record| {
            ends.any((record.row.src_tenant.clone(), record.row.dst_tenant.clone()), Option::is_none)
        }),
        10 => {
            let (name, number) = *[("icmp", 1), ("tcp", 6), ("udp", 17), ("47", 47)].choose(random).unwrap();
            test(format!("proto = {name}"), move |record| record.row.proto == number)
        }
        11 => {
            let (name, number) = *[("ipv4", 0x0800), ("ipv6", 0x86dd), ("arp", 0x0806), ("0x88cc", 0x88cc)]
                .choose(random)
                .unwrap();
            test(format!("ethertype = {name}"), move |record| record.row.ether_type == number)
        }
        12 => {
            let vlan = random.random_range(1..6);
            test(format!("vlan = {vlan}"), move |record| record.row.vlans.contains(&vlan))
        }
        13 => {
            let host = id(100 + random.random_range(0..4));
            test(format!("host = {host}"), move |record| record.row.host == host)
        }
        14 => test(format!("gateway = {}", id(1)), |record| record.row.gateway == id(1)),
        15 => {
            let verdict = *Verdict::ALL.choose(random).unwrap();
            test(format!("result = {}", verdict.name()), move |record| record.row.verdict == verdict)
        }
        16 => {
            let (name, number) = *[("noop", 1), ("drop", 2), ("flow_created", 8), ("generated_packet", 10)]
                .choose(random)
                .unwrap();
            test(format!("simulation = {name}"), move |record| record.row.sim_result == number)
        }
        17 => {
            let device = id(500 + random.random_range(0..6));
            test(format!("device = {device}"), move |record| {
                record.path.devices.iter().any(|of| of.id == device)
            })
        }
        18 => {
            let rule = id(600 + random.random_range(0..6));
            test(format!("rule = {rule}"), move |record| record.path.rules.iter().any(|of| of.id == rule))
        }
        19 => {
            let rule = id(600 + random.random_range(0..6));
            test(format!("matched = {rule}"), move |record| {
                record.path.rules.iter().any(|of| of.id == rule && of.matched)
            })
        }
        20 => {
            let rule = id(600 + random.random_range(0..4));
            test(format!("decided = {rule}"), move |record| record.row.rule == Some(rule))
        }
        21 => {
            let tos = random.random_range(0..4);
            test(format!("tos >= {tos}"), move |record| record.row.tos >= tos)
        }
        22 => {
            let ttl = random.random_range(60..66);
            test(format!("ttl < {ttl}"), move |record| record.row.ttl < ttl)
        }
        23 => {
            let icmp = random.random_range(0..4);
            test(format!("icmp.id = {icmp}"), move |record| record.row.icmp_id == icmp)
        }
        24 => {
            let key = random.random_range(0..4);
            test(format!("tunnel = {key}"), move |record| record.row.tunnel_key == key)
        }
        _ => {
            let (word, transit) = *[("yes", true), ("no", false)].choose(random).unwrap();
            test(format!("transit = {word}"), move |record| record.row.transit == transit)
        }
    }
}

const FIELDS: usize = 26;

fn test(text: String, holds: impl Fn(&Record) -> bool + 'static) -> Criterion {
    Criterion {
        text,
        holds: Box::new(holds),
    }
}

/// Criteria joined by `and`, `or` and `not`, three levels deep at most.
fn combination(random: &mut StdRng, depth: u32) -> Criterion {
    match random.random_range(0..if depth == 0 { 1 } else { 4 }) {
        0 => {
            let field = random.random_range(0..FIELDS);
            criterion(random, field)
        }
        1 => {
            let inner = combination(random, depth - 1);
            let holds: Holds = inner.holds;
            test(format!("not ({})", inner.text), move |record| !holds(record))
        }
        joined => {
            let parts: Vec<Criterion> = (0..random.random_range(2..4)).map(|_| combination(random, depth - 1)).collect();
            let (word, all) = if joined == 2 { (" and ", true) } else { (" or ", false) };
            let text = parts.iter().map(|part| format!("({})", part.text)).collect::<Vec<_>>().join(word);
            test(text, move |record| {
                let mut held = parts.iter().map(|part| (part.holds)(record));
                if all { held.all(|holds| holds) } else { held.any(|holds| holds) }
            })
        }
    }
}

async fn fill(service: &Service, site: SiteId, records: &[Record]) {
    // Some rows stay in memory, others are in files: a filter must mean the same in both.
    for (at, part) in records.chunks(records.len() / 2).enumerate() {
        let append = Append {
            cursor: Cursor {
                stream: StreamId {
                    gateway: id(1),
                    kind: StreamKind::Flows,
                    epoch: 1,
                },
                sequence: at as u64 + 1,
            },
            rows: Rows::Flows {
                rows: part.iter().map(|record| record.row.clone()).collect(),
                paths: part.iter().map(|record| record.path.clone()).collect(),
            },
        };
        service.store.series().append(site, append).await.unwrap();
        if at == 0 {
            service.store.series().flush().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_api_and_file_agree_with_a_look_at_each_record() {
    let number = |name: &str, default: usize| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let seed = number("CRITERIA_SEED", 1) as u64;
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let site = scope.site();
    let now = now_us();
    let records: Vec<Record> = (0..FLOWS)
        .map(|at| record(&mut random, at, now - 1_800_000_000 + at as i64 * 1_000_003))
        .collect();
    fill(&service, site, &records).await;
    let mut client = Client::signed_in(serve(app(&service)).await, "ada@example.org", PASSWORD).await;

    // Which id the store gave to which record.
    let all: Value = asked(&mut client, site, "").await;
    let ids: BTreeMap<u64, String> = flows(&all)
        .map(|flow| (flow["cookie"].as_u64().unwrap(), flow["id"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(ids.len(), FLOWS);

    let mut criteria: Vec<Criterion> = (0..FIELDS).map(|field| criterion(&mut random, field)).collect();
    criteria.extend((0..number("CRITERIA_COMBINATIONS", COMBINATIONS)).map(|_| combination(&mut random, 3)));
    let mut told_something = 0;
    for criterion in &criteria {
        // Newest first.
        let expected: Vec<&str> = records
            .iter()
            .rev()
            .filter(|record| (criterion.holds)(record))
            .map(|record| &*ids[&record.row.cookie])
            .collect();
        told_something += usize::from(!expected.is_empty() && expected.len() < FLOWS);
        let what = format!("seed {seed}: {}", criterion.text);
        let answer = asked(&mut client, site, &criterion.text).await;
        let api: Vec<&str> = flows(&answer).map(|flow| flow["id"].as_str().unwrap()).collect();
        assert_eq!(api, expected, "API, {what}");
        let csv = page(&mut client, site, &criterion.text, "csv").await;
        let csv: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(csv, expected, "CSV, {what}");
        let html = page(&mut client, site, &criterion.text, "").await;
        let shown: Vec<&str> = html
            .split("data-href=\"")
            .skip(1)
            .filter_map(|row| row.split('"').next()?.split("flow=").nth(1)?.split('&').next())
            .collect();
        assert_eq!(shown, expected[..expected.len().min(PAGE)], "page, {what}");
        let counted = html.contains(&format!("<b>{} records</b>", group(expected.len())));
        assert!(counted, "the page does not count {} records, {what}", expected.len());
    }
    assert!(
        told_something * 2 > criteria.len(),
        "most filters tell records apart: {told_something} of {}",
        criteria.len()
    );
    top_of_the_api(&mut client, site).await;
    let texts: BTreeSet<&str> = criteria.iter().map(|criterion| &*criterion.text).collect();
    assert!(texts.len() * 2 > criteria.len(), "filters differ");
    service.stop().await;
}

/// Each value of a top has as many flows as a filter on it finds, and with the others they are all.
async fn top_of_the_api(client: &mut Client, site: SiteId) {
    let all = flows(&asked(client, site, "").await).count();
    let query = params::encode([("by", "src.ip,result"), ("period", "last 2 hours"), ("limit", "3")]);
    let answer = client.get(&format!("/api/v1/sites/{site}/flows/top?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let top: Value = serde_json::from_str(&answer.body).unwrap();
    let rows = top["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &top["by"]), (3, &serde_json::json!(["src.ip", "result"])));
    let mut counted = 0;
    for row in rows {
        let (ip, result) = (row["values"][0].as_str().unwrap_or("none"), row["values"][1].as_str().unwrap());
        let found = asked(client, site, &format!("src.ip = {ip} and result = {result}")).await;
        assert_eq!(row["flows"]["all"], flows(&found).count(), "{ip} {result}");
        assert_eq!(row["flows"][result], row["flows"]["all"], "{ip} {result}");
        counted += row["flows"]["all"].as_u64().unwrap();
    }
    assert_eq!(counted + top["other"]["flows"]["all"].as_u64().unwrap(), all as u64);
    for wrong in ["by=", "by=nonsense", "by=src.ip&limit=0", "by=src.ip,dst.ip,proto,host,vlan"] {
        let answer = client.get(&format!("/api/v1/sites/{site}/flows/top?{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

fn flows(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["flows"].as_array().into_iter().flatten()
}

/// All flows of a filter, from the API.
async fn asked(client: &mut Client, site: SiteId, filter: &str) -> Value {
    let query = params::encode([("filter", filter), ("period", "last 2 hours"), ("limit", "5000")]);
    let answer = client.get(&format!("/api/v1/sites/{site}/flows?{query}")).await;
    assert_eq!(answer.status, 200, "{filter}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

async fn page(client: &mut Client, site: SiteId, filter: &str, format: &str) -> String {
    let query = params::encode([("filter", filter), ("period", "last 2 hours"), ("format", format)]);
    let answer = client.get(&format!("/s/{site}/flows?{query}")).await;
    assert_eq!(answer.status, 200, "{filter}: {}", answer.body);
    answer.body
}

/// A count as pages write it.
fn group(count: usize) -> String {
    assert!(count < 1_000, "one group of digits");
    count.to_string()
}
