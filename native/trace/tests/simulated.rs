// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The trace against the records of a simulated cloud, whose agents walk the topology on their own.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, net::Ipv4Addr};

use insights_cloudsim::{obj::Kind, plan::Plan, size::Size, traffic, view::View};
use insights_trace::{Outcome, Packet, Seen, Tracer};
use midonet::{flow::FlowRecord, nsdb::LearnedRoute};
use support::Memory;
use uuid::Uuid;

/// The topology that MidoNet's agents would read of a planned cloud.
fn cloud(plan: &Plan) -> Memory {
    let mut cloud = Memory::default();
    for obj in plan.zoom.iter() {
        cloud.add(obj.kind.name(), obj.id, &obj.to_text());
    }
    for entry in plan.zoom.entries().filter(|entry| entry.kind == Kind::Network) {
        let mut parts = entry.entry.split(',');
        let (key, value) = (parts.next().unwrap(), parts.next().unwrap());
        if entry.table == "ip4_mac_table" {
            cloud.arp.insert((entry.id, key.parse().unwrap()), value.parse().unwrap());
        } else {
            cloud.macs.insert((entry.id, key.parse().unwrap()), value.parse().unwrap());
        }
    }
    cloud.learned = plan
        .learned
        .iter()
        .map(|route| LearnedRoute {
            dst: route.dst.0,
            dst_length: route.dst.1,
            src: Ipv4Addr::UNSPECIFIED,
            src_length: 0,
            gateway: route.gateway,
            weight: 100,
            router: Uuid::nil(),
            port: Some(route.port),
        })
        .collect();
    cloud
}

fn packet(record: &FlowRecord) -> Packet {
    Packet {
        eth_src: record.eth_src.unwrap(),
        eth_dst: record.eth_dst.unwrap(),
        ether_type: record.ether_type,
        src: record.src,
        dst: record.dst,
        proto: record.proto,
        tos: record.tos,
        ttl: record.ttl,
        src_port: record.src_port,
        dst_port: record.dst_port,
        icmp_id: record.icmp_id,
        vlan: record.vlan_ids.first().copied(),
        fragment: record.fragment,
    }
}

/// Traces as many records as asked for, and tells what came of them.
fn outcomes(size: Size, seed: u64, count: usize) -> (BTreeMap<&'static str, usize>, Vec<String>) {
    let plan = Plan::build(size, seed, Ipv4Addr::new(127, 0, 0, 0));
    let view = View::compile(&plan.zoom, &plan.learned);
    let mut tracer = Tracer::new(cloud(&plan));
    let (mut counts, mut differences) = (BTreeMap::new(), Vec::new());
    for record in traffic::sample(&view, seed, count) {
        let outcome = tracer.compare(&Seen {
            packet: packet(&record),
            in_port: record.in_port.unwrap_or_default(),
            sim_result: record.sim_result,
            devices: &record.devices,
            rules: &record.rules,
            out_ports: &record.out_ports,
            actions: &record.actions,
        });
        let what = match &outcome {
            Outcome::Agrees => "agrees",
            Outcome::Differs(_) => "differs",
            Outcome::NotModelled(_) => "not modelled",
            Outcome::NoWay => "no way",
        };
        *counts.entry(what).or_default() += 1;
        if !matches!(outcome, Outcome::Agrees | Outcome::NoWay) && differences.len() < 5 {
            differences.push(format!(
                "{outcome:?}: {:?}:{} -> {:?}:{} protocol {} actions {:?}",
                record.src, record.src_port, record.dst, record.dst_port, record.proto, record.actions
            ));
        }
    }
    (counts, differences)
}

/// Records that are traced; `TRACE_RECORDS` asks for more.
const RECORDS: usize = 20_000;

#[test]
fn the_trace_agrees_with_every_record_of_a_simulated_cloud() {
    let records = std::env::var("TRACE_RECORDS").map_or(RECORDS, |text| text.parse().unwrap());
    let (counts, differences) = outcomes(Size::SMALL, 7, records);
    #[allow(clippy::print_stdout)]
    {
        println!("{counts:?}");
    }
    assert!(differences.is_empty(), "{counts:?}\n{}", differences.join("\n\n"));
    assert!(counts["agrees"] > records / 3, "{counts:?}");
}
