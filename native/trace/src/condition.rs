// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Conditions of rules. Every part that is set must hold; each may be negated, and the whole.

use std::{collections::HashSet, fmt, net::IpAddr, sync::Arc};

use midonet::{
    Mac,
    flow::Fragment,
    model::{Subnet, View},
};
use uuid::Uuid;

use crate::packet::Packet;

/// A part of a condition: why a rule didn't match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// All parts hold, and the rule asks for the contrary.
    Whole,
    Fragment,
    Direction,
    InPort,
    OutPort,
    PortGroup,
    SourceGroup,
    DestinationGroup,
    EtherType,
    SourceMac,
    DestinationMac,
    Tos,
    Protocol,
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    Traversed,
    Vlan,
    /// An ICMP error about a packet.
    IcmpData,
    Rewritten,
}

impl Part {
    pub fn text(self) -> &'static str {
        match self {
            Part::Whole => "it is for everything else",
            Part::Fragment => "fragment",
            Part::Direction => "direction of the connection",
            Part::InPort => "port of entry",
            Part::OutPort => "port of exit",
            Part::PortGroup => "port group",
            Part::SourceGroup => "source is not in the group",
            Part::DestinationGroup => "destination is not in the group",
            Part::EtherType => "ethertype",
            Part::SourceMac => "source MAC",
            Part::DestinationMac => "destination MAC",
            Part::Tos => "type of service",
            Part::Protocol => "protocol",
            Part::Source => "source address",
            Part::Destination => "destination address",
            Part::SourcePort => "source port",
            Part::DestinationPort => "destination port",
            Part::Traversed => "way so far",
            Part::Vlan => "VLAN",
            Part::IcmpData => "packet in an ICMP error",
            Part::Rewritten => "destination was not translated",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A value and whether it must not be that.
type Negatable<T> = Option<(T, bool)>;

/// A condition, compiled.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    negated: bool,
    fragments: Fragments,
    forward: bool,
    returned: bool,
    in_ports: Negatable<Vec<Uuid>>,
    out_ports: Negatable<Vec<Uuid>>,
    port_group: Negatable<Uuid>,
    in_port_group: Negatable<Uuid>,
    out_port_group: Negatable<Uuid>,
    src_group: Negatable<Arc<HashSet<IpAddr>>>,
    dst_group: Negatable<Arc<HashSet<IpAddr>>>,
    ether_type: Negatable<u16>,
    eth_src: Negatable<(Mac, u64)>,
    eth_dst: Negatable<(Mac, u64)>,
    tos: Negatable<u8>,
    proto: Negatable<u8>,
    src: Negatable<Subnet>,
    dst: Negatable<Subnet>,
    src_port: Negatable<(i64, i64)>,
    dst_port: Negatable<(i64, i64)>,
    traversed: Negatable<Uuid>,
    no_vlan: bool,
    vlan: Option<u16>,
    icmp_data: bool,
    rewritten: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fragments {
    #[default]
    Any,
    Later,
    Header,
    Whole,
}

/// What a condition can see beside the packet.
#[derive(Debug)]
pub struct Context<'a> {
    pub returned: bool,
    pub in_port: Option<Uuid>,
    pub out_port: Option<Uuid>,
    /// Groups of the ports.
    pub in_groups: &'a [Uuid],
    pub out_groups: &'a [Uuid],
    /// Devices so far.
    pub traversed: &'a HashSet<Uuid>,
    /// The destination was translated since the packet entered the device.
    pub rewritten: bool,
}

impl Condition {
    /// Compiles the message `Condition` of a rule; an absent one always holds. `group` gives the addresses of an address group.
    pub fn compile(view: Option<View<'_>>, mut group: impl FnMut(Uuid) -> Arc<HashSet<IpAddr>>) -> Condition {
        let Some(view) = view else { return Condition::default() };
        let flag = |name: &str| view.bool(name) == Some(true);
        let number = |name: &str, inverse: &str| {
            view.i64(name)
                .or_else(|| view.u64(name).map(|number| number as i64))
                .map(|number| (number, flag(inverse)))
        };
        let ports = |name: &str, inverse: &str| {
            Some(view.uuids(name))
                .filter(|ports| !ports.is_empty())
                .map(|ports| (ports, flag(inverse)))
        };
        let id = |name: &str, inverse: &str| view.uuid(name).map(|id| (id, flag(inverse)));
        let prefix = |name: &str, inverse: &str| view.subnet(name).map(|subnet| (subnet, flag(inverse)));
        let range = |name: &str, inverse: &str| {
            view.message(name).map(|range| {
                (
                    (range.i64("start").unwrap_or(0), range.i64("end").unwrap_or(i64::from(u16::MAX))),
                    flag(inverse),
                )
            })
        };
        let mac = |name: &str, mask: &str, inverse: &str| {
            let mac: Mac = view.str(name)?.parse().ok()?;
            // Absent, the whole address counts.
            let mask = view.i64(mask).filter(|mask| *mask != 0).map_or(u64::MAX, |mask| mask as u64);
            Some(((mac, mask), flag(inverse)))
        };
        let mut addresses = |name: &str, inverse: &str| view.uuid(name).map(|id| (group(id), flag(inverse)));
        Condition {
            negated: flag("conjunction_inv"),
            fragments: match view.word("fragment_policy").as_deref() {
                Some("NONHEADER") => Fragments::Later,
                Some("HEADER") => Fragments::Header,
                Some("UNFRAGMENTED") => Fragments::Whole,
                _ => Fragments::Any,
            },
            forward: flag("match_forward_flow"),
            returned: flag("match_return_flow"),
            in_ports: ports("in_port_ids", "in_port_inv"),
            out_ports: ports("out_port_ids", "out_port_inv"),
            port_group: id("port_group_id", "inv_port_group"),
            in_port_group: id("in_port_group_id", "inv_in_port_group"),
            out_port_group: id("out_port_group_id", "inv_out_port_group"),
            src_group: addresses("ip_addr_group_id_src", "inv_ip_addr_group_id_src"),
            dst_group: addresses("ip_addr_group_id_dst", "inv_ip_addr_group_id_dst"),
            ether_type: number("dl_type", "inv_dl_type").map(|(number, inverse)| (number as u16, inverse)),
            eth_src: mac("dl_src", "dl_src_mask", "inv_dl_src"),
            eth_dst: mac("dl_dst", "dl_dst_mask", "inv_dl_dst"),
            tos: number("nw_tos", "nw_tos_inv").map(|(number, inverse)| (number as u8, inverse)),
            proto: number("nw_proto", "nw_proto_inv").map(|(number, inverse)| (number as u8, inverse)),
            src: prefix("nw_src_ip", "nw_src_inv"),
            dst: prefix("nw_dst_ip", "nw_dst_inv"),
            src_port: range("tp_src", "tp_src_inv"),
            dst_port: range("tp_dst", "tp_dst_inv"),
            traversed: id("traversed_device", "traversed_device_inv"),
            no_vlan: flag("no_vlan"),
            vlan: view.u64("vlan").and_then(|vlan| u16::try_from(vlan).ok()).filter(|vlan| *vlan != 0),
            icmp_data: view.has("icmp_data_src_ip") || view.has("icmp_data_dst_ip"),
            rewritten: flag("match_nw_dst_rewritten"),
        }
    }

    /// The first part that keeps the rule from matching; `None` where it matches.
    pub fn miss(&self, packet: &Packet, context: &Context<'_>) -> Option<Part> {
        // Of a packet whose fragment is not meant nothing else is asked, not even the contrary.
        let fragment_fits = match self.fragments {
            Fragments::Any => true,
            Fragments::Later => packet.fragment == Fragment::Later,
            Fragments::Header => packet.fragment != Fragment::Later,
            Fragments::Whole => packet.fragment == Fragment::None,
        };
        if !fragment_fits {
            return Some(Part::Fragment);
        }
        match (self.fails(packet, context), self.negated) {
            (None, true) => Some(Part::Whole),
            (Some(part), false) => Some(part),
            (None, false) | (Some(_), true) => None,
        }
    }

    fn fails(&self, packet: &Packet, context: &Context<'_>) -> Option<Part> {
        let is_in = |group: &Arc<HashSet<IpAddr>>, address: Option<IpAddr>| address.is_some_and(|address| group.contains(&address));
        let in_prefix = |prefix: &Subnet, address: Option<IpAddr>| address.is_some_and(|address| within(address, prefix));
        let in_range = |(from, to): &(i64, i64), port: u16| (*from..=*to).contains(&i64::from(port));
        let is_one = |ports: &Vec<Uuid>, port: Option<Uuid>| port.is_some_and(|port| ports.contains(&port));
        let is_mac = |(wanted, mask): &(Mac, u64), mac: Mac| (bits(*wanted) ^ bits(mac)) & mask == 0;
        let holds = [
            (Part::Direction, !(self.forward && context.returned || self.returned && !context.returned)),
            (Part::InPort, test(&self.in_ports, |ports| is_one(ports, context.in_port))),
            (Part::OutPort, test(&self.out_ports, |ports| is_one(ports, context.out_port))),
            (Part::PortGroup, test(&self.port_group, |group| context.in_groups.contains(group))),
            (Part::PortGroup, test(&self.in_port_group, |group| context.in_groups.contains(group))),
            (Part::PortGroup, test(&self.out_port_group, |group| context.out_groups.contains(group))),
            (Part::SourceGroup, test(&self.src_group, |group| is_in(group, packet.src))),
            (Part::DestinationGroup, test(&self.dst_group, |group| is_in(group, packet.dst))),
            (Part::EtherType, test(&self.ether_type, |ether_type| *ether_type == packet.ether_type)),
            (Part::SourceMac, test(&self.eth_src, |mac| is_mac(mac, packet.eth_src))),
            (Part::DestinationMac, test(&self.eth_dst, |mac| is_mac(mac, packet.eth_dst))),
            (Part::Tos, test(&self.tos, |tos| *tos == packet.tos)),
            (Part::Protocol, test(&self.proto, |proto| *proto == packet.proto)),
            (Part::Source, test(&self.src, |prefix| in_prefix(prefix, packet.src))),
            (Part::Destination, test(&self.dst, |prefix| in_prefix(prefix, packet.dst))),
            (Part::SourcePort, test(&self.src_port, |range| in_range(range, packet.src_port))),
            (Part::DestinationPort, test(&self.dst_port, |range| in_range(range, packet.dst_port))),
            (Part::Traversed, test(&self.traversed, |device| context.traversed.contains(device))),
            (
                Part::Vlan,
                !(self.no_vlan && packet.vlan.is_some()) && self.vlan.is_none_or(|vlan| packet.vlan == Some(vlan)),
            ),
            // What an ICMP error is about is not in a packet as it is given here.
            (Part::IcmpData, !self.icmp_data),
            (Part::Rewritten, !self.rewritten || context.rewritten),
        ];
        holds.into_iter().find(|(_, holds)| !holds).map(|(part, _)| part)
    }
}

fn test<T>(part: &Negatable<T>, holds: impl Fn(&T) -> bool) -> bool {
    part.as_ref().is_none_or(|(value, inverse)| holds(value) != *inverse)
}

fn bits(mac: Mac) -> u64 {
    mac.0.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// Whether an address is in a prefix of its family.
pub fn within(address: IpAddr, prefix: &Subnet) -> bool {
    match (address, prefix.address) {
        (IpAddr::V4(address), IpAddr::V4(of)) => {
            let length = u32::from(prefix.prefix_length.min(32));
            length == 0 || (address.to_bits() ^ of.to_bits()) >> (32 - length) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(of)) => {
            let length = u32::from(prefix.prefix_length.min(128));
            length == 0 || (address.to_bits() ^ of.to_bits()) >> (128 - length) == 0
        }
        _ => false,
    }
}
