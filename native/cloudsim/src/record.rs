// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow records of simulated packets.

use std::net::IpAddr;

use midonet::flow::{DeviceKind, Encoding, FlowRecord, Fragment, SimResult, action::Action};
use uuid::Uuid;

use crate::view::{Host, Index, Packet, Port, TUNNEL_DP_PORT, Verdict, View, Walk};

/// Flags of a tunnel action: with a key.
const TUNNEL_KEY_FLAG: u16 = 4;

/// The record that the ingress host makes of a packet; `before` is the packet as it entered, `after` as it left.
pub(crate) fn ingress(view: &View, host: &Host, port: &Port, before: &Packet, after: &Packet, verdict: Verdict, walk: &Walk) -> FlowRecord {
    let mut record = of_packet(host.id, before);
    record.in_port = Some(port.id);
    record.dp_port = port.dp_port;
    record.sim_result = match verdict {
        Verdict::Consumed => SimResult::NoOp,
        // Matching on an echo's identifier is not for the kernel.
        _ if before.proto == 1 && before.ether_type == 0x0800 => SimResult::UserspaceFlow,
        _ => SimResult::FlowCreated,
    };
    record.rules = walk.rules.clone();
    record.devices = walk.devices.clone();
    record.out_ports = match verdict {
        Verdict::Forwarded(_) | Verdict::Flooded => walk.out_ports.iter().map(|port| view.port(*port).id).collect(),
        _ => Vec::new(),
    };
    if matches!(verdict, Verdict::Forwarded(_) | Verdict::Flooded) {
        changes(before, after, &mut record.actions);
        for port in &walk.out_ports {
            output(view, host, *port, &mut record.actions);
        }
    }
    record
}

/// The record that the host at the end of the tunnel makes of the same packet: without devices and rules, and with the ingress port of some
/// other packet, since agents reuse their contexts.
pub(crate) fn transit(view: &View, from: &Host, port: &Port, packet: &Packet, stale_in_port: Option<Uuid>) -> Option<FlowRecord> {
    let host = &view.hosts[port.host? as usize];
    let mut record = of_packet(host.id, packet);
    record.sim_result = SimResult::FlowCreated;
    record.in_port = stale_in_port;
    record.dp_port = TUNNEL_DP_PORT;
    record.tunnel_key = port.tunnel_key;
    record.tunnel_src = from.underlay;
    record.tunnel_dst = host.underlay;
    record.actions.push(Action::Output { port: port.dp_port });
    Some(record)
}

/// The record of a packet that an agent made itself and delivered by a port.
pub(crate) fn generated(host: &Host, port: &Port, packet: &Packet, stale_in_port: Option<Uuid>) -> FlowRecord {
    let mut record = of_packet(host.id, packet);
    record.sim_result = SimResult::GeneratedPacket;
    record.in_port = stale_in_port;
    record.devices.push(midonet::flow::Device {
        id: port.id,
        kind: DeviceKind::Port,
    });
    record.out_ports.push(port.id);
    record.actions.push(Action::Output { port: port.dp_port });
    record
}

fn of_packet(host: Uuid, packet: &Packet) -> FlowRecord {
    let ip = matches!(packet.ether_type, 0x0800 | 0x86dd);
    let addressed = ip || packet.ether_type == 0x0806;
    FlowRecord {
        encoding: Encoding::Binary,
        eth_src: Some(packet.eth_src),
        eth_dst: Some(packet.eth_dst),
        ether_type: packet.ether_type,
        src: addressed.then_some(packet.src),
        dst: addressed.then_some(packet.dst),
        proto: packet.proto,
        tos: packet.tos,
        ttl: if ip { packet.ttl } else { 0 },
        fragment: Fragment::None,
        src_port: packet.src_port,
        dst_port: packet.dst_port,
        icmp_id: packet.icmp_id,
        vlan_ids: packet.vlan.into_iter().collect(),
        ..FlowRecord::empty(host)
    }
}

/// What has to be set to make one packet of the other, in the datapath's order.
fn changes(before: &Packet, after: &Packet, actions: &mut Vec<Action>) {
    if (before.eth_src, before.eth_dst) != (after.eth_src, after.eth_dst) {
        actions.push(Action::SetEthernet {
            src: after.eth_src,
            dst: after.eth_dst,
        });
    }
    if (before.src, before.dst, before.ttl) != (after.src, after.dst, after.ttl) {
        actions.push(match (after.src, after.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => Action::SetIpv4 {
                src,
                dst,
                proto: after.proto,
                tos: after.tos,
                ttl: after.ttl,
                fragment: Fragment::None,
            },
            // The recorder has no name for a change of IPv6 addresses.
            _ => Action::Unknown,
        });
    }
    if (before.src_port, before.dst_port) != (after.src_port, after.dst_port) {
        match after.proto {
            6 => actions.push(Action::SetTcp {
                src: after.src_port,
                dst: after.dst_port,
            }),
            17 => actions.push(Action::SetUdp {
                src: after.src_port,
                dst: after.dst_port,
            }),
            _ => {}
        }
    }
}

fn output(view: &View, host: &Host, port: Index, actions: &mut Vec<Action>) {
    let port = view.port(port);
    let Some(target) = port.host.map(|index| &view.hosts[index as usize]) else {
        return;
    };
    if target.id == host.id {
        actions.push(Action::Output { port: port.dp_port });
    } else {
        let tunnel = Action::SetTunnel {
            id: port.tunnel_key,
            src: host.underlay,
            dst: target.underlay,
            flags: TUNNEL_KEY_FLAG,
            tos: 0,
            ttl: 255,
        };
        actions.extend([tunnel, Action::Output { port: TUNNEL_DP_PORT }]);
    }
}
