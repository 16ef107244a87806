// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The topology as agents simulate it: devices by index, chains with compiled conditions, routes, learned addresses.

mod compile;
mod condition;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use midonet::{Mac, flow::RuleResult};
use uuid::Uuid;

pub use condition::Condition;
pub use walk::{Nat, Packet, Verdict, Walk};

/// Index of a device in its list.
pub type Index = u32;

/// A compiled topology.
#[derive(Debug, Default)]
pub struct View {
    pub ports: Vec<Port>,
    pub port_by_id: HashMap<Uuid, Index>,
    pub networks: Vec<Network>,
    pub routers: Vec<Router>,
    pub chains: Vec<Chain>,
    pub balancers: Vec<Balancer>,
    pub hosts: Vec<Host>,
    pub host_by_id: HashMap<Uuid, Index>,
    /// Ids of tenants; the first is empty: no tenant.
    pub tenants: Vec<String>,
    /// Ports of VMs that are bound to a host, by the order of their ids.
    pub vms: Vec<Index>,
    /// The same, by tenant.
    pub vms_by_tenant: Vec<Vec<Index>>,
    /// Those without port security.
    pub trunks: Vec<Index>,
    /// Ports of edge routers that are bound to a host.
    pub uplinks: Vec<Index>,
    /// Floating addresses with the VM's port.
    pub floating: Vec<(Ipv4Addr, Index)>,
    /// Members of pools, and whether they are up.
    pub members: Vec<(Uuid, bool)>,
    /// Virtual addresses of load balancers: address, port, router.
    pub vips: Vec<(Ipv4Addr, u16, Index)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceRef {
    Network(Index),
    Router(Index),
}

#[derive(Clone, Debug)]
pub struct Port {
    pub id: Uuid,
    pub device: DeviceRef,
    pub inbound: Option<Index>,
    pub outbound: Option<Index>,
    pub peer: Option<Index>,
    pub host: Option<Index>,
    pub interface: String,
    /// Number in the host's datapath.
    pub dp_port: u32,
    pub tunnel_key: u64,
    pub mac: Mac,
    /// Fixed addresses of a VM, or the router port's own.
    pub addresses: Vec<IpAddr>,
    pub groups: Vec<Uuid>,
    pub tenant: Index,
    /// Neutron's security chains apply.
    pub secured: bool,
    /// Name in Neutron.
    pub name: String,
    pub up: bool,
}

#[derive(Debug)]
pub struct Network {
    pub id: Uuid,
    pub external: bool,
    pub inbound: Option<Index>,
    pub outbound: Option<Index>,
    pub ports: Vec<Index>,
    /// Where a MAC is: a VM's port, or the port that leads to a router.
    pub macs: HashMap<Mac, Index>,
    pub arp: HashMap<Ipv4Addr, Mac>,
    pub gateway: Option<Ipv4Addr>,
    pub tenant: Index,
}

#[derive(Debug)]
pub struct Router {
    pub id: Uuid,
    pub inbound: Option<Index>,
    pub outbound: Option<Index>,
    /// Longest prefix first, then the smaller weight.
    pub routes: Vec<Route>,
    pub balancer: Option<Index>,
    pub tenant: Index,
}

#[derive(Clone, Debug)]
pub struct Route {
    pub src: (u32, u8),
    pub dst: (u32, u8),
    pub hop: Hop,
    pub weight: i64,
}

#[derive(Clone, Copy, Debug)]
pub enum Hop {
    Port(Index, Option<Ipv4Addr>),
    Local,
    Blackhole,
    Reject,
}

#[derive(Debug)]
pub struct Chain {
    pub id: Uuid,
    pub rules: Vec<Rule>,
}

#[derive(Debug)]
pub struct Rule {
    pub id: Uuid,
    pub condition: Condition,
    pub effect: Effect,
}

#[derive(Debug)]
pub enum Effect {
    Literal(RuleResult),
    Jump(Index),
    /// To one address; with ports it is dynamic and needs state.
    Nat {
        dnat: bool,
        to: Ipv4Addr,
        ports: Option<(u16, u16)>,
    },
    ReverseNat,
}

#[derive(Debug)]
pub struct Balancer {
    pub id: Uuid,
    pub vips: Vec<BalancerVip>,
}

#[derive(Debug)]
pub struct BalancerVip {
    pub address: Ipv4Addr,
    pub port: u16,
    pub pool: Uuid,
    /// Address and port of the members that are up.
    pub members: Vec<(Ipv4Addr, u16)>,
}

#[derive(Clone, Debug)]
pub struct Host {
    pub id: Uuid,
    pub name: String,
    pub underlay: Ipv4Addr,
    pub ports: Vec<Index>,
}

/// A route that an edge router learned: its port, destination and next hop.
#[derive(Clone, Debug)]
pub struct Learned {
    pub port: Uuid,
    pub dst: (Ipv4Addr, u8),
    pub gateway: Ipv4Addr,
}

/// Number of every datapath's tunnel port.
pub const TUNNEL_DP_PORT: u32 = 2;

/// MAC of the routers beyond the uplinks.
pub const PEER_MAC: Mac = Mac([0x00, 0x00, 0x5e, 0x00, 0x01, 0x58]);

/// Whether an address is in a prefix.
pub fn within(address: u32, (prefix, length): (u32, u8)) -> bool {
    length == 0 || (address ^ prefix) >> (32 - u32::from(length.min(32))) == 0
}
