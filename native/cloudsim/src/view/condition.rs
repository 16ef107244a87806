// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use midonet::Mac;
use uuid::Uuid;

use super::walk::Packet;
use crate::obj::Val;

/// A rule's condition, compiled. Every part that is set must hold; the whole may be negated.
#[derive(Debug, Default)]
pub struct Condition {
    negated: bool,
    forward: bool,
    returned: bool,
    in_ports: Vec<Uuid>,
    out_ports: Vec<Uuid>,
    src_group: Option<Arc<HashSet<IpAddr>>>,
    dst_group: Option<Arc<HashSet<IpAddr>>>,
    ether_type: Option<(u16, bool)>,
    eth_src: Option<Mac>,
    proto: Option<(u8, bool)>,
    src: Option<(IpAddr, u8, bool)>,
    dst: Option<(IpAddr, u8, bool)>,
    src_port: Option<(u16, u16)>,
    dst_port: Option<(u16, u16)>,
    /// Holds for later fragments only; simulated packets are whole.
    later_fragments: bool,
    rewritten: bool,
}

/// What a condition can see beside the packet.
pub(super) struct Context {
    pub in_port: Uuid,
    pub out_port: Option<Uuid>,
    pub rewritten: bool,
}

impl Condition {
    /// Compiles the `condition` field of a rule; absent, it always holds.
    pub(super) fn compile(value: Option<&Val>, group: impl Fn(Uuid) -> Option<Arc<HashSet<IpAddr>>>) -> Condition {
        let mut condition = Condition::default();
        let Some(value) = value else { return condition };
        let flag = |name: &str| matches!(value.field(name), Some(Val::Bool(true)));
        let number = |name: &str| value.field(name).and_then(Val::as_int);
        let range = |name: &str| {
            let range = value.field(name)?;
            let end = |name| range.field(name).and_then(Val::as_int).and_then(|end| u16::try_from(end).ok());
            Some((end("start").unwrap_or(0), end("end").unwrap_or(u16::MAX)))
        };
        let prefix = |name: &str, inverse: &str| value.field(name).and_then(Val::as_subnet).map(|(ip, length)| (ip, length, flag(inverse)));
        let ports = |name: &str| {
            value
                .fields()
                .iter()
                .filter(|field| field.0 == name)
                .filter_map(|field| field.1.as_id())
                .collect()
        };
        condition.negated = flag("conjunction_inv");
        condition.forward = flag("match_forward_flow");
        condition.returned = flag("match_return_flow");
        condition.in_ports = ports("in_port_ids");
        condition.out_ports = ports("out_port_ids");
        condition.src_group = value.field("ip_addr_group_id_src").and_then(Val::as_id).and_then(&group);
        condition.dst_group = value.field("ip_addr_group_id_dst").and_then(Val::as_id).and_then(&group);
        condition.ether_type = number("dl_type").map(|number| (number as u16, flag("inv_dl_type")));
        condition.eth_src = match value.field("dl_src") {
            Some(Val::Str(text)) => text.parse().ok(),
            _ => None,
        };
        condition.proto = number("nw_proto").map(|number| (number as u8, flag("nw_proto_inv")));
        condition.src = prefix("nw_src_ip", "nw_src_inv");
        condition.dst = prefix("nw_dst_ip", "nw_dst_inv");
        condition.src_port = range("tp_src");
        condition.dst_port = range("tp_dst");
        condition.later_fragments = matches!(value.field("fragment_policy"), Some(Val::Enum("NONHEADER")));
        condition.rewritten = flag("match_nw_dst_rewritten");
        condition
    }

    pub(super) fn matches(&self, packet: &Packet, context: &Context) -> bool {
        !self.later_fragments && self.holds(packet, context) != self.negated
    }

    fn holds(&self, packet: &Packet, context: &Context) -> bool {
        let in_prefix = |address: IpAddr, (prefix, length, inverse): (IpAddr, u8, bool)| contains(prefix, length, address) != inverse;
        let in_range = |port: u16, (from, to): (u16, u16)| (from..=to).contains(&port);
        (!self.forward || !packet.returned)
            && (!self.returned || packet.returned)
            && (self.in_ports.is_empty() || self.in_ports.contains(&context.in_port))
            && (self.out_ports.is_empty() || context.out_port.is_some_and(|port| self.out_ports.contains(&port)))
            && self
                .ether_type
                .is_none_or(|(ether_type, inverse)| (packet.ether_type == ether_type) != inverse)
            && self.eth_src.is_none_or(|mac| packet.eth_src == mac)
            && self.proto.is_none_or(|(proto, inverse)| (packet.proto == proto) != inverse)
            && self.src.is_none_or(|src| in_prefix(packet.src, src))
            && self.dst.is_none_or(|dst| in_prefix(packet.dst, dst))
            && self.src_port.is_none_or(|range| in_range(packet.src_port, range))
            && self.dst_port.is_none_or(|range| in_range(packet.dst_port, range))
            && self.src_group.as_ref().is_none_or(|group| group.contains(&packet.src))
            && self.dst_group.as_ref().is_none_or(|group| group.contains(&packet.dst))
            && (!self.rewritten || context.rewritten)
    }
}

fn contains(prefix: IpAddr, length: u8, address: IpAddr) -> bool {
    match (prefix, address) {
        (IpAddr::V4(prefix), IpAddr::V4(address)) => super::within(address.to_bits(), (prefix.to_bits(), length)),
        (IpAddr::V6(prefix), IpAddr::V6(address)) => length == 0 || (prefix.to_bits() ^ address.to_bits()) >> (128 - u32::from(length.min(128))) == 0,
        _ => false,
    }
}
