// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What MidoNet's translators make of Neutron's objects: the same objects, chains, rules, routes and table entries, in the same order.
//!
//! Each operation is one Neutron request. Source: the translators of MidoNet 5.4.1; the golden cloud is rebuilt from its Neutron objects in
//! `tests/golden.rs` and compared byte for byte.

mod balancer;
mod floating;
mod network;
mod port;
mod router;
mod security;

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;

pub use self::{
    balancer::{Member, Pool, Vip},
    floating::FloatingIp,
    network::{Network, Subnet},
    port::{Owner, Port, fixed_ips},
    router::Router,
    security::{SecurityGroup, SecurityGroupRule},
};
use crate::{
    obj::{Fields, Kind, Obj, Val, address_text},
    zoom::{TableEntry, Zoom},
};

/// Version of a table entry that is configured, not learned.
pub const PERSISTENT: u32 = i32::MAX as u32;
/// Where the metadata service is.
pub const METADATA: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 169, 254), 32);
pub const ANY_V4: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);
/// Metric of routes that translators make.
const ROUTE_WEIGHT: i32 = 100;
/// Ports of dynamic source NAT.
const NAT_PORTS: (u64, u64) = (1024, 65535);

/// Applies Neutron's requests to the NSDB.
pub struct Translator<'a> {
    pub zoom: &'a mut Zoom,
    /// Gives the ids that MidoNet takes at random.
    pub fresh: &'a mut dyn FnMut() -> Uuid,
}

impl Translator<'_> {
    fn fresh(&mut self) -> Uuid {
        (self.fresh)()
    }

    fn chain(&mut self, id: Uuid, name: String) {
        self.zoom.create(Obj::new(Kind::Chain, id).with("name", name));
    }

    fn prepend(&mut self, chain: Uuid, rule: Uuid) {
        self.zoom.update(Kind::Chain, chain, |chain| chain.insert("rule_ids", 0, rule));
    }

    fn append(&mut self, chain: Uuid, rule: Uuid) {
        self.zoom.update(Kind::Chain, chain, |chain| chain.add("rule_ids", rule));
    }

    /// A rule of a fresh id at the end of a chain.
    fn literal(&mut self, chain: Uuid, action: &'static str, condition: Fields) {
        let id = self.fresh();
        self.zoom
            .create(rule(id, "LITERAL_RULE", action).with("chain_id", chain).with("condition", condition));
    }

    fn jump(&mut self, id: Uuid, from: Uuid, to: Uuid) {
        self.zoom.create(jump_rule(id, to).with("chain_id", from));
    }

    fn route(&mut self, id: Uuid, port: Uuid, src: (IpAddr, u8), dst: (IpAddr, u8), via: Via) {
        let mut route = Obj::new(Kind::Route, id)
            .with("src_subnet", src)
            .with("dst_subnet", dst)
            .with("next_hop", Val::Enum(if matches!(via, Via::Local) { "LOCAL" } else { "PORT" }))
            .with("next_hop_port_id", port)
            .with("weight", ROUTE_WEIGHT);
        if let Via::Gateway(gateway, dhcp) = via {
            route.add("next_hop_gateway", gateway);
            if let Some(dhcp) = dhcp {
                route.add("gateway_dhcp_id", dhcp);
            }
        }
        self.zoom.create(route);
    }

    fn mac_entry(&mut self, network: Uuid, mac: &str, port: Uuid) {
        self.zoom.add_entry(mac_entry(network, mac, port));
    }

    fn arp_entry(&mut self, network: Uuid, ip: IpAddr, mac: &str) {
        if let IpAddr::V4(ip) = ip {
            self.zoom.add_entry(arp_entry(network, ip, mac));
        }
    }
}

/// How a route's next hop is reached.
enum Via {
    Port,
    Local,
    /// Through this gateway, which may follow that of a Dhcp.
    Gateway(IpAddr, Option<Uuid>),
}

/// An untagged entry of a network's MAC table, as a translator makes it.
pub fn mac_entry(network: Uuid, mac: &str, port: Uuid) -> TableEntry {
    TableEntry {
        kind: Kind::Network,
        id: network,
        table: "mac_table/0".to_owned(),
        entry: format!("{mac},{port},{PERSISTENT:010}"),
    }
}

/// An entry of a network's ARP table, as a translator makes it.
pub fn arp_entry(network: Uuid, ip: Ipv4Addr, mac: &str) -> TableEntry {
    TableEntry {
        kind: Kind::Network,
        id: network,
        table: "ip4_mac_table".to_owned(),
        entry: format!("{ip},{mac},{PERSISTENT:010}"),
    }
}

fn rule(id: Uuid, kind: &'static str, action: &'static str) -> Obj {
    Obj::new(Kind::Rule, id).with("type", Val::Enum(kind)).with("action", Val::Enum(action))
}

fn jump_rule(id: Uuid, to: Uuid) -> Obj {
    rule(id, "JUMP_RULE", "JUMP").with("jump_rule_data", vec![("jump_chain_id", Val::Id(to))])
}

/// NAT to one address, with a range of ports if dynamic.
fn nat(address: IpAddr, dnat: bool, dynamic: bool) -> Fields {
    let ports = if dynamic { NAT_PORTS } else { (0, 0) };
    let target = vec![
        ("nw_start", Val::Ip(address)),
        ("nw_end", Val::Ip(address)),
        ("tp_start", Val::Uint(ports.0)),
        ("tp_end", Val::Uint(ports.1)),
    ];
    vec![("nat_targets", Val::Msg(target)), ("dnat", Val::Bool(dnat))]
}

fn reverse_nat() -> Fields {
    vec![("dnat", Val::Bool(false)), ("reverse", Val::Bool(true))]
}

fn range(from: i64, to: i64) -> Val {
    Val::Msg(vec![("start", Val::Int(from)), ("end", Val::Int(to))])
}

const ANY_FRAGMENT: (&str, Val) = ("fragment_policy", Val::Enum("ANY"));

fn host_subnet(address: IpAddr) -> Val {
    Val::Subnet(address, if address.is_ipv4() { 32 } else { 128 })
}

fn any_v4() -> (IpAddr, u8) {
    (IpAddr::V4(ANY_V4.0), ANY_V4.1)
}

fn metadata() -> (IpAddr, u8) {
    (IpAddr::V4(METADATA.0), METADATA.1)
}

/// Text of a prefix, as security group rules hold it.
pub fn prefix_text((address, length): (IpAddr, u8)) -> String {
    format!("{}/{length}", address_text(address))
}
