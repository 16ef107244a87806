// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Devices and rules, read once each.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use midonet::{
    Mac,
    flow::RuleResult,
    model::{Object, Subnet, View},
};
use uuid::Uuid;

use crate::{Topology, condition::Condition};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    Network(Uuid),
    Router(Uuid),
    Nobody,
}

#[derive(Debug)]
pub struct Port {
    pub id: Uuid,
    pub owner: Owner,
    pub admin_up: bool,
    pub inbound: Option<Uuid>,
    pub outbound: Option<Uuid>,
    pub peer: Option<Uuid>,
    /// Bound to an interface of a host: a packet leaves or enters the virtual network by it.
    pub bound: bool,
    /// An agent has it up, as far as is known.
    pub active: Option<bool>,
    /// Of a router port.
    pub mac: Option<Mac>,
    pub vlan: Option<u16>,
    pub groups: Vec<Uuid>,
    /// Towards a VTEP or of an overlay router.
    pub vtep: bool,
    /// A service is inserted before it.
    pub insertion: bool,
}

#[derive(Debug)]
pub struct Network {
    pub admin_up: bool,
    pub inbound: Option<Uuid>,
    pub outbound: Option<Uuid>,
    pub ports: Vec<Uuid>,
    /// A subnet of it has DHCP on.
    pub dhcp: bool,
}

#[derive(Debug)]
pub struct Router {
    pub admin_up: bool,
    pub inbound: Option<Uuid>,
    pub outbound: Option<Uuid>,
    pub forward: Option<Uuid>,
    pub local_redirect: Option<Uuid>,
    pub balancer: Option<Uuid>,
    /// Longest destination first, then the smaller weight.
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug)]
pub struct Route {
    /// `None` for one that was learned by BGP.
    pub id: Option<Uuid>,
    pub src: Subnet,
    pub dst: Subnet,
    pub hop: Hop,
    pub weight: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hop {
    Port(Uuid, Option<Ipv4Addr>),
    Local,
    Blackhole,
    Reject,
    Fip64,
}

#[derive(Debug)]
pub struct Balancer {
    pub admin_up: bool,
    pub pools: Vec<Pool>,
}

#[derive(Debug)]
pub struct Pool {
    pub id: Uuid,
    /// Addresses and ports at which it serves.
    pub vips: Vec<(Ipv4Addr, u16)>,
    /// Members that are up.
    pub members: Vec<(Ipv4Addr, u16)>,
    /// A member is monitored, and nobody says whether it answers.
    pub unsure: bool,
}

#[derive(Debug)]
pub struct Chain {
    pub rules: Vec<Rule>,
}

#[derive(Debug)]
pub struct Rule {
    pub id: Uuid,
    pub condition: Condition,
    pub effect: Effect,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Literal(RuleResult),
    Jump(Uuid),
    Nat {
        dnat: bool,
        target: Target,
        then: RuleResult,
    },
    ReverseNat {
        dnat: bool,
        then: RuleResult,
    },
    /// To a port of a service.
    Redirect,
    /// Marks the packet for tracing, or says nothing that is known.
    Nothing,
}

/// What a translation translates to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
    /// `None`: the port stays, and where it is one address, no state is needed.
    pub ports: Option<(u16, u16)>,
}

impl Target {
    /// One address for one address, without state.
    pub fn is_static(&self) -> bool {
        self.first == self.last && self.ports.is_none()
    }
}

/// What was read of a topology so far.
#[derive(Debug, Default)]
pub struct Compiled {
    ports: HashMap<Uuid, Option<Arc<Port>>>,
    networks: HashMap<Uuid, Option<Arc<Network>>>,
    routers: HashMap<Uuid, Option<Arc<Router>>>,
    balancers: HashMap<Uuid, Option<Arc<Balancer>>>,
    chains: HashMap<Uuid, Option<Arc<Chain>>>,
    groups: HashMap<Uuid, Arc<HashSet<IpAddr>>>,
}

/// Looks a thing up, reading it at the first time.
macro_rules! lookup {
    ($name:ident, $map:ident, $type:ty, $read:ident) => {
        pub fn $name(&mut self, topology: &impl Topology, id: Uuid) -> Option<Arc<$type>> {
            if let Some(known) = self.$map.get(&id) {
                return known.clone();
            }
            let read = self.$read(topology, id).map(Arc::new);
            self.$map.insert(id, read.clone());
            read
        }
    };
}

impl Compiled {
    lookup!(port, ports, Port, read_port);
    lookup!(network, networks, Network, read_network);
    lookup!(router, routers, Router, read_router);
    lookup!(balancer, balancers, Balancer, read_balancer);
    lookup!(chain, chains, Chain, read_chain);

    #[allow(clippy::unused_self)]
    fn read_port(&mut self, topology: &impl Topology, id: Uuid) -> Option<Port> {
        let port = topology.object("Port", id)?;
        let owner = match (port.uuid("network_id"), port.uuid("router_id")) {
            (Some(network), _) => Owner::Network(network),
            (None, Some(router)) => Owner::Router(router),
            (None, None) => Owner::Nobody,
        };
        let bound = port.uuid("host_id").is_some() && port.str("interface_name").is_some_and(|name| !name.is_empty());
        Some(Port {
            id,
            owner,
            admin_up: port.bool("admin_state_up") != Some(false),
            inbound: port.uuid("inbound_filter_id"),
            outbound: port.uuid("outbound_filter_id"),
            peer: port.uuid("peer_id"),
            bound,
            active: if bound { topology.port_active(id) } else { None },
            mac: port.str("port_mac").and_then(|mac| mac.parse().ok()),
            vlan: port.u64("vlan_id").and_then(|vlan| u16::try_from(vlan).ok()).filter(|vlan| *vlan != 0),
            groups: port.uuids("port_group_ids"),
            vtep: port.uuid("vtep_id").is_some() || port.u64("vni").is_some_and(|vni| vni != 0),
            insertion: port.uuid("l2insertion_infilter_id").is_some() || port.uuid("l2insertion_outfilter_id").is_some(),
        })
    }

    #[allow(clippy::unused_self)]
    fn read_network(&mut self, topology: &impl Topology, id: Uuid) -> Option<Network> {
        let network = topology.object("Network", id)?;
        Some(Network {
            admin_up: network.bool("admin_state_up") == Some(true),
            inbound: network.uuid("inbound_filter_id"),
            outbound: network.uuid("outbound_filter_id"),
            ports: network.uuids("port_ids"),
            dhcp: network
                .uuids("dhcp_ids")
                .into_iter()
                .filter_map(|subnet| topology.object("Dhcp", subnet))
                .any(|subnet| subnet.bool("enabled") == Some(true)),
        })
    }

    fn read_router(&mut self, topology: &impl Topology, id: Uuid) -> Option<Router> {
        let router = topology.object("Router", id)?;
        let mut routes: Vec<Route> = router
            .uuids("route_ids")
            .into_iter()
            .filter_map(|route| read_route(topology, route))
            .collect();
        for port in router.uuids("port_ids") {
            let Some(object) = topology.object("Port", port) else { continue };
            // Routes by a port that is not up are not in the agents' tables.
            let known = self.port(topology, port);
            if known.is_none_or(|port| port.active == Some(false)) {
                continue;
            }
            routes.extend(object.uuids("route_ids").into_iter().filter_map(|route| read_route(topology, route)));
            routes.extend(topology.learned(port).into_iter().map(|route| Route {
                id: None,
                src: Subnet {
                    address: route.src.into(),
                    prefix_length: route.src_length,
                },
                dst: Subnet {
                    address: route.dst.into(),
                    prefix_length: route.dst_length,
                },
                hop: Hop::Port(
                    route.port.unwrap_or(port),
                    Some(route.gateway).filter(|gateway| !gateway.is_unspecified()),
                ),
                weight: i64::from(route.weight),
            }));
        }
        routes.sort_by_key(|route| (std::cmp::Reverse(route.dst.prefix_length), route.weight));
        Some(Router {
            admin_up: router.bool("admin_state_up") == Some(true),
            inbound: router.uuid("inbound_filter_id"),
            outbound: router.uuid("outbound_filter_id"),
            forward: router.uuid("forward_chain_id"),
            local_redirect: router.uuid("local_redirect_chain_id"),
            balancer: router.uuid("load_balancer_id"),
            routes,
        })
    }

    #[allow(clippy::unused_self)]
    fn read_balancer(&mut self, topology: &impl Topology, id: Uuid) -> Option<Balancer> {
        let balancer = topology.object("LoadBalancer", id)?;
        Some(Balancer {
            admin_up: balancer.bool("admin_state_up") == Some(true),
            pools: balancer
                .uuids("pool_ids")
                .into_iter()
                .filter_map(|pool| read_pool(topology, pool))
                .collect(),
        })
    }

    fn read_chain(&mut self, topology: &impl Topology, id: Uuid) -> Option<Chain> {
        let chain = topology.object("Chain", id)?;
        let rules = chain.uuids("rule_ids");
        Some(Chain {
            rules: rules
                .into_iter()
                .filter_map(|rule| {
                    let object = topology.object("Rule", rule)?;
                    Some(Rule {
                        id: rule,
                        condition: Condition::compile(object.message("condition"), |group| self.group(topology, group)),
                        effect: effect(&object),
                    })
                })
                .collect(),
        })
    }

    fn group(&mut self, topology: &impl Topology, id: Uuid) -> Arc<HashSet<IpAddr>> {
        let read = || {
            let group = topology.object("IPAddrGroup", id)?;
            Some(Arc::new(
                group
                    .messages("ip_addr_ports")
                    .iter()
                    .filter_map(|entry| entry.ip("ip_address"))
                    .collect(),
            ))
        };
        self.groups.entry(id).or_insert_with(|| read().unwrap_or_default()).clone()
    }
}

fn read_route(topology: &impl Topology, id: Uuid) -> Option<Route> {
    let route = topology.object("Route", id)?;
    let port = route.uuid("next_hop_port_id");
    let gateway = match route.ip("next_hop_gateway") {
        Some(IpAddr::V4(gateway)) if !gateway.is_unspecified() => Some(gateway),
        _ => None,
    };
    let hop = match (route.word("next_hop").as_deref(), port) {
        (Some("LOCAL"), _) => Hop::Local,
        (Some("PORT"), Some(port)) => Hop::Port(port, gateway),
        (Some("REJECT"), _) => Hop::Reject,
        (Some("FIP64"), _) => Hop::Fip64,
        _ => Hop::Blackhole,
    };
    Some(Route {
        id: Some(id),
        src: route.subnet("src_subnet")?,
        dst: route.subnet("dst_subnet")?,
        hop,
        weight: route.i64("weight").unwrap_or(100),
    })
}

fn read_pool(topology: &impl Topology, id: Uuid) -> Option<Pool> {
    let pool = topology.object("Pool", id)?;
    if pool.bool("admin_state_up") != Some(true) {
        return None;
    }
    let end = |object: &Object| match (
        object.ip("address"),
        object.u64("protocol_port").or(object.i64("protocol_port").map(|port| port as u64)),
    ) {
        (Some(IpAddr::V4(address)), Some(port)) => Some((address, u16::try_from(port).ok()?)),
        _ => None,
    };
    let is_up = |object: &Object| object.bool("admin_state_up") == Some(true);
    let mut unsure = false;
    let members = pool.uuids("pool_member_ids").into_iter().filter_map(|member| {
        let object = topology.object("PoolMember", member).filter(is_up)?;
        let answers = match object.word("status").as_deref() {
            Some("INACTIVE") => false,
            Some("MONITORED") => topology.member_active(member).unwrap_or_else(|| {
                unsure = true;
                true
            }),
            _ => true,
        };
        end(&object).filter(|_| answers)
    });
    let members = members.collect();
    let vips = pool
        .uuids("vip_ids")
        .into_iter()
        .filter_map(|vip| topology.object("Vip", vip).filter(is_up));
    Some(Pool {
        id,
        vips: vips.filter_map(|vip| end(&vip)).collect(),
        members,
        unsure,
    })
}

fn effect(rule: &Object) -> Effect {
    let action = rule.word("action").map_or(RuleResult::Continue, |word| RuleResult::from_name(&word));
    match rule.word("type").as_deref() {
        Some("JUMP_RULE") => rule
            .message("jump_rule_data")
            .and_then(|data| data.uuid("jump_chain_id"))
            .map_or(Effect::Nothing, Effect::Jump),
        Some("NAT_RULE") => rule
            .message("nat_rule_data")
            .and_then(|data| nat(&data, action))
            .unwrap_or(Effect::Nothing),
        Some("L2TRANSFORM_RULE") => Effect::Redirect,
        Some("TRACE_RULE") => Effect::Nothing,
        _ if action == RuleResult::Redirect => Effect::Redirect,
        _ => Effect::Literal(action),
    }
}

fn nat(data: &View<'_>, then: RuleResult) -> Option<Effect> {
    let dnat = data.bool("dnat") == Some(true);
    if data.bool("reverse") == Some(true) {
        return Some(Effect::ReverseNat { dnat, then });
    }
    let targets = data.messages("nat_targets");
    let target = targets.first()?;
    let (IpAddr::V4(first), IpAddr::V4(last)) = (target.ip("nw_start")?, target.ip("nw_end").or(target.ip("nw_start"))?) else {
        return None;
    };
    let port = |name| target.u64(name).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    Some(Effect::Nat {
        dnat,
        target: Target {
            first,
            last,
            ports: port("tp_start").zip(port("tp_end")),
        },
        then,
    })
}
