// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A cloud of two networks behind one router with an uplink, where each way can be told by heart.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{IpAddr, Ipv4Addr};

use insights_trace::{Choices, Connection, Doubt, Edited, End, NoPacket, Reason, Step, Tracer, condition::Part, packet::TCP, walk::Wanted};
use midonet::model::decode_object;
use support::Memory;
use uuid::Uuid;

const WEB: Uuid = Uuid::from_u128(0x11);
const APP: Uuid = Uuid::from_u128(0x12);
const DB: Uuid = Uuid::from_u128(0x13);
const ROUTER: Uuid = Uuid::from_u128(0x21);
const UPLINK: Uuid = Uuid::from_u128(0x31);
const FRONT: Uuid = Uuid::from_u128(0x41);
const BACK: Uuid = Uuid::from_u128(0x42);
/// Network port and router port of each link.
const LINKS: [(Uuid, Uuid); 2] = [
    (Uuid::from_u128(0x51), Uuid::from_u128(0x52)),
    (Uuid::from_u128(0x53), Uuid::from_u128(0x54)),
];
const GUARD: Uuid = Uuid::from_u128(0x61);
const POST: Uuid = Uuid::from_u128(0x62);
const PRE: Uuid = Uuid::from_u128(0x63);
const ALLOW: Uuid = Uuid::from_u128(0x71);
const DROP: Uuid = Uuid::from_u128(0x72);

fn id(id: Uuid) -> String {
    let (msb, lsb) = id.as_u64_pair();
    format!("{{ msb: {msb} lsb: {lsb} }}")
}

fn ids(field: &str, ids: &[Uuid]) -> String {
    ids.iter().map(|of| format!("{field} {}\n", id(*of))).collect()
}

fn prefix(address: &str, length: u8) -> String {
    format!("{{ version: V4 address: \"{address}\" prefix_length: {length} }}")
}

fn ip(address: &str) -> String {
    format!("{{ version: V4 address: \"{address}\" }}")
}

/// 10.0.0.0/24 with `WEB` and `APP`, 10.0.1.0/24 with `DB`, which takes connections to 5432 alone; everything else leaves by the uplink as
/// 198.51.100.1.
fn cloud() -> Memory {
    let mut cloud = Memory::default();
    let nets = [
        (FRONT, "10.0.0", vec![(WEB, 5), (APP, 6)], LINKS[0]),
        (BACK, "10.0.1", vec![(DB, 5)], LINKS[1]),
    ];
    let mut routes = Vec::new();
    for (number, (network, net, machines, (link, interface))) in nets.iter().enumerate() {
        let subnet = Uuid::from_u128(0x80 + number as u128);
        let ports: Vec<Uuid> = machines.iter().map(|(port, _)| *port).chain([*link]).collect();
        cloud.add(
            "Network",
            *network,
            &format!("id {} admin_state_up: true {}", id(*network), ids("port_ids", &ports)),
        );
        cloud.add(
            "NeutronSubnet",
            subnet,
            &format!(
                "id {} cidr {} gateway_ip {}",
                id(subnet),
                prefix(&format!("{net}.0"), 24),
                ip(&format!("{net}.1"))
            ),
        );
        for (port, last) in machines {
            let guard = if *port == DB {
                ids("outbound_filter_id", &[GUARD])
            } else {
                String::new()
            };
            cloud.add(
                "Port",
                *port,
                &format!(
                    "id {} network_id {} host_id {} interface_name: \"tap\" {guard}",
                    id(*port),
                    id(*network),
                    id(Uuid::from_u128(9))
                ),
            );
            let mac = format!("02:00:00:00:{number:02x}:{last:02x}");
            cloud.add(
                "NeutronPort",
                *port,
                &format!(
                    "id {} mac_address: \"{mac}\" fixed_ips {{ ip_address {} subnet_id {} }}",
                    id(*port),
                    ip(&format!("{net}.{last}")),
                    id(subnet)
                ),
            );
            cloud.macs.insert((*network, mac.parse().unwrap()), *port);
            cloud
                .arp
                .insert((*network, format!("{net}.{last}").parse().unwrap()), mac.parse().unwrap());
        }
        let mac = format!("02:00:00:00:{number:02x}:01");
        cloud.macs.insert((*network, mac.parse().unwrap()), *link);
        cloud.arp.insert((*network, format!("{net}.1").parse().unwrap()), mac.parse().unwrap());
        cloud.add(
            "Port",
            *link,
            &format!("id {} network_id {} peer_id {}", id(*link), id(*network), id(*interface)),
        );
        let route = Uuid::from_u128(0x90 + number as u128);
        cloud.add(
            "Port",
            *interface,
            &format!(
                "id {} router_id {} peer_id {} port_mac: \"{mac}\" {}",
                id(*interface),
                id(ROUTER),
                id(*link),
                ids("route_ids", &[route])
            ),
        );
        cloud.add(
            "Route",
            route,
            &format!(
                "id {} src_subnet {} dst_subnet {} next_hop: PORT next_hop_port_id {} weight: 100",
                id(route),
                prefix("0.0.0.0", 0),
                prefix(&format!("{net}.0"), 24),
                id(*interface)
            ),
        );
        routes.push(*interface);
    }
    let out = Uuid::from_u128(0xa0);
    cloud.add(
        "Port",
        UPLINK,
        &format!(
            "id {} router_id {} host_id {} interface_name: \"eth1\" port_mac: \"02:00:00:00:0f:01\" {}",
            id(UPLINK),
            id(ROUTER),
            id(Uuid::from_u128(9)),
            ids("route_ids", &[out])
        ),
    );
    cloud.add(
        "Route",
        out,
        &format!(
            "id {} src_subnet {} dst_subnet {} next_hop: PORT next_hop_port_id {} next_hop_gateway {} weight: 100",
            id(out),
            prefix("0.0.0.0", 0),
            prefix("0.0.0.0", 0),
            id(UPLINK),
            ip("192.0.2.1")
        ),
    );
    routes.push(UPLINK);
    cloud.add(
        "Router",
        ROUTER,
        &format!(
            "id {} admin_state_up: true inbound_filter_id {} outbound_filter_id {} {}",
            id(ROUTER),
            id(PRE),
            id(POST),
            ids("port_ids", &routes)
        ),
    );
    cloud.add(
        "Chain",
        GUARD,
        &format!("id {} {}", id(GUARD), ids("rule_ids", &[Uuid::from_u128(0x70), ALLOW, DROP])),
    );
    cloud.add(
        "Rule",
        Uuid::from_u128(0x70),
        &format!(
            "id {} type: LITERAL_RULE action: ACCEPT condition {{ match_return_flow: true }}",
            id(Uuid::from_u128(0x70))
        ),
    );
    cloud.add(
        "Rule",
        ALLOW,
        &format!(
            "id {} type: LITERAL_RULE action: ACCEPT condition {{ nw_proto: 6 tp_dst {{ start: 5432 end: 5432 }} }}",
            id(ALLOW)
        ),
    );
    cloud.add("Rule", DROP, &format!("id {} type: LITERAL_RULE action: DROP condition {{ }}", id(DROP)));
    let (snat, reverse) = (Uuid::from_u128(0x73), Uuid::from_u128(0x74));
    cloud.add("Chain", POST, &format!("id {} {}", id(POST), ids("rule_ids", &[snat])));
    cloud.add(
        "Rule",
        snat,
        &format!(
            "id {} type: NAT_RULE action: ACCEPT condition {{ out_port_ids {} }} nat_rule_data {{ dnat: false nat_targets {{ nw_start {} nw_end {} tp_start: 1024 tp_end: 65535 }} }}",
            id(snat),
            id(UPLINK),
            ip("198.51.100.1"),
            ip("198.51.100.1")
        ),
    );
    cloud.add("Chain", PRE, &format!("id {} {}", id(PRE), ids("rule_ids", &[reverse])));
    cloud.add(
        "Rule",
        reverse,
        &format!(
            "id {} type: NAT_RULE action: ACCEPT condition {{ in_port_ids {} }} nat_rule_data {{ dnat: false reverse: true }}",
            id(reverse),
            id(UPLINK)
        ),
    );
    cloud
}

fn wanted(dst: &str, dst_port: u16) -> Wanted {
    Wanted {
        src: None,
        dst: dst.parse().unwrap(),
        proto: TCP,
        src_port: 40_000,
        dst_port,
    }
}

fn trace(cloud: &Memory, from: Uuid, dst: &str, dst_port: u16) -> insights_trace::Trace {
    let mut tracer = Tracer::new(cloud);
    let packet = tracer.packet(from, &wanted(dst, dst_port)).unwrap();
    tracer.trace(from, packet, &Connection::default(), &Choices::default())
}

#[test]
fn neighbours_are_switched() {
    let trace = trace(&cloud(), WEB, "10.0.0.6", 80);
    assert_eq!(trace.end, End::Delivered(APP));
    assert_eq!(trace.devices().iter().map(|device| device.id).collect::<Vec<_>>(), [WEB, FRONT, APP]);
    assert_eq!(trace.doubts, []);
}

#[test]
fn other_networks_are_routed_and_the_rule_that_decides_is_named() {
    let cloud = cloud();
    let allowed = trace(&cloud, WEB, "10.0.1.5", 5432);
    assert_eq!(allowed.end, End::Delivered(DB));
    assert_eq!(allowed.after.ttl, allowed.before.ttl - 1);

    let dropped = trace(&cloud, WEB, "10.0.1.5", 22);
    assert_eq!(
        dropped.end,
        End::Dropped(Reason::Rule {
            rule: DROP,
            chain: GUARD,
            rejected: false
        })
    );
    assert_eq!(dropped.deciding_rule(), Some(DROP));
    let misses: Vec<_> = dropped
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Rule { chain: GUARD, miss, .. } => Some(*miss),
            _ => None,
        })
        .collect();
    assert_eq!(misses, [Some(Part::Direction), Some(Part::DestinationPort), None]);
}

#[test]
fn what_leaves_is_translated_and_its_answer_finds_back() {
    let cloud = cloud();
    let mut tracer = Tracer::new(&cloud);
    let packet = tracer.packet(WEB, &wanted("203.0.113.9", 443)).unwrap();
    let out = tracer.trace(WEB, packet, &Connection::default(), &Choices::default());
    assert_eq!(out.end, End::Delivered(UPLINK));
    assert_eq!(out.after.src, Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))));
    assert!(out.doubts.contains(&Doubt::Source { device: ROUTER }));

    let back = tracer.answer(&out).unwrap();
    assert_eq!(back.end, End::Delivered(WEB));
    assert_eq!((back.after.dst, back.after.dst_port), (out.before.src, out.before.src_port));

    // Without the connection nobody knows for whom it is.
    let stray = tracer.trace(UPLINK, out.after.answer(), &Connection::default(), &Choices::default());
    assert_eq!(stray.end, End::Delivered(UPLINK), "it goes where the default route leads");
}

#[test]
fn a_sandbox_changes_the_verdict_and_nothing_else() {
    let cloud = cloud();
    let mut edited = Edited::new(&cloud);
    edited.remove("Rule", DROP);
    let mut tracer = Tracer::new(edited);
    let packet = tracer.packet(WEB, &wanted("10.0.1.5", 22)).unwrap();
    assert_eq!(
        tracer.trace(WEB, packet, &Connection::default(), &Choices::default()).end,
        End::Delivered(DB)
    );
    assert!(matches!(trace(&cloud, WEB, "10.0.1.5", 22).end, End::Dropped(_)));

    let mut edited = Edited::new(&cloud);
    let down = decode_object(
        "Port",
        format!("id {} network_id {} admin_state_up: false", id(APP), id(FRONT)).as_bytes(),
    )
    .unwrap();
    edited.put(down);
    let mut tracer = Tracer::new(edited);
    let packet = tracer.packet(WEB, &wanted("10.0.0.6", 80)).unwrap();
    let end = tracer.trace(WEB, packet, &Connection::default(), &Choices::default()).end;
    assert_eq!(end, End::Dropped(Reason::AdminDown(APP)));
}

#[test]
fn a_packet_that_nobody_could_send_is_refused_with_the_reason() {
    let cloud = cloud();
    let mut tracer = Tracer::new(&cloud);
    let refused = |tracer: &mut Tracer<_>, port, wanted: &Wanted| tracer.packet(port, wanted).unwrap_err();
    let nobody: IpAddr = "10.0.0.77".parse().unwrap();
    assert_eq!(refused(&mut tracer, WEB, &wanted("10.0.0.77", 80)), NoPacket::NobodyHas(nobody));
    assert_eq!(refused(&mut tracer, Uuid::nil(), &wanted("10.0.0.6", 80)), NoPacket::NoPort);
    assert_eq!(refused(&mut tracer, WEB, &wanted("2001:db8::1", 80)), NoPacket::NoSource);
}
