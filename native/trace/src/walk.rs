// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The simulation.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use midonet::{
    Mac,
    flow::{Fragment, RuleHit, RuleResult},
};
use uuid::Uuid;

use crate::{
    Topology,
    compiled::{Balancer, Chain, Compiled, Effect, Hop, Network, Owner, Pool, Port, Route, Router, Target},
    condition::{Context, within},
    packet::{ARP, Choices, Connection, DEFAULT_TTL, ECHO, ICMP, IPV4, IPV6, NoPacket, Packet, TCP, Translation, UDP},
    step::{Doubt, End, Limit, Reason, Step, Trace, is_final},
};

/// Most ports that a simulation enters or leaves (`Simulator.MaxDevicesTraversed`); a loop ends there.
const MAX_DEVICES: usize = 12;
/// Steps that are kept: a flood over a large network with long chains would fill a page, and more, with the same thing.
const MAX_STEPS: usize = 10_000;
/// Stands for the address of a neighbour that nobody has asked for yet.
const SOMEBODY: Mac = Mac([0x02, 0, 0, 0, 0, 0]);

/// Traces packets through a topology. What it reads it keeps, so one tracer for many packets is cheap.
#[derive(Debug)]
pub struct Tracer<T> {
    topology: T,
    compiled: Compiled,
}

/// A packet to be made for a port.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Without one, the port's first address of the destination's family.
    pub src: Option<IpAddr>,
    pub dst: IpAddr,
    pub proto: u8,
    pub src_port: u16,
    pub dst_port: u16,
}

impl<T: Topology> Tracer<T> {
    pub fn new(topology: T) -> Self {
        Self {
            topology,
            compiled: Compiled::default(),
        }
    }

    /// The way of a packet that enters by a port.
    pub fn trace(&mut self, port: Uuid, packet: Packet, connection: &Connection, choices: &Choices) -> Trace {
        let mut walk = Walk {
            tracer: self,
            connection,
            choices,
            packet,
            steps: Vec::new(),
            doubts: Vec::new(),
            translations: Vec::new(),
            traversed: HashSet::new(),
            in_port: None,
            out_port: None,
            rewritten: false,
            ports: 0,
        };
        let end = walk.dhcp(port).unwrap_or_else(|| walk.enter(port));
        Trace {
            end,
            before: packet,
            after: walk.packet,
            steps: walk.steps,
            translations: walk.translations,
            doubts: walk.doubts,
        }
    }

    /// The way of the answer to a packet that left by one port.
    pub fn answer(&mut self, trace: &Trace) -> Option<Trace> {
        let End::Delivered(port) = trace.end else { return None };
        let connection = Connection {
            returned: true,
            undo: trace.translations.clone(),
        };
        Some(self.trace(port, trace.after.answer(), &connection, &Choices::default()))
    }

    /// The packet that the machine behind a port would send: addresses by its Neutron port, its network's tables and its subnet's gateway.
    pub fn packet(&mut self, port: Uuid, wanted: &Wanted) -> Result<Packet, NoPacket> {
        let found = self.port(port).ok_or(NoPacket::NoPort)?;
        let neutron = self.topology.object("NeutronPort", port);
        let fixed: Vec<(IpAddr, Option<Uuid>)> = neutron.as_ref().map_or_else(Vec::new, |neutron| {
            let ips = neutron.messages("fixed_ips");
            ips.iter().filter_map(|ip| Some((ip.ip("ip_address")?, ip.uuid("subnet_id")))).collect()
        });
        let of_family = |address: &IpAddr| address.is_ipv4() == wanted.dst.is_ipv4();
        let src = match wanted.src {
            Some(src) if !of_family(&src) => return Err(NoPacket::Families),
            Some(src) => src,
            None => fixed.iter().map(|(address, _)| *address).find(of_family).ok_or(NoPacket::NoSource)?,
        };
        let own = neutron
            .as_ref()
            .and_then(|neutron| neutron.str("mac_address"))
            .and_then(|mac| mac.parse().ok());
        let (eth_src, eth_dst) = match found.owner {
            Owner::Nobody => return Err(NoPacket::NoDevice),
            Owner::Router(_) => (SOMEBODY, found.mac.unwrap_or(SOMEBODY)),
            Owner::Network(network) => {
                let next = self.next_on_subnets(&fixed, wanted.dst)?;
                let IpAddr::V4(address) = next else {
                    return Err(NoPacket::NobodyHas(next));
                };
                let mac = self.topology.ip_mac(network, address).ok_or(NoPacket::NobodyHas(next))?;
                (own.unwrap_or(SOMEBODY), mac)
            }
        };
        Ok(Packet {
            eth_src,
            eth_dst,
            ether_type: if wanted.dst.is_ipv4() { IPV4 } else { IPV6 },
            src: Some(src),
            dst: Some(wanted.dst),
            proto: wanted.proto,
            tos: 0,
            ttl: DEFAULT_TTL,
            src_port: wanted.src_port,
            dst_port: wanted.dst_port,
            icmp_id: 0,
            vlan: None,
            fragment: Fragment::None,
        })
    }

    /// Whom a machine asks for by ARP: the destination on its own subnet, else the gateway.
    fn next_on_subnets(&self, fixed: &[(IpAddr, Option<Uuid>)], dst: IpAddr) -> Result<IpAddr, NoPacket> {
        let subnets: Vec<_> = fixed
            .iter()
            .filter_map(|(_, subnet)| self.topology.object("NeutronSubnet", (*subnet)?))
            .collect();
        if subnets.iter().filter_map(|subnet| subnet.subnet("cidr")).any(|cidr| within(dst, &cidr)) {
            return Ok(dst);
        }
        let mut gateways = subnets.iter().filter_map(|subnet| subnet.ip("gateway_ip"));
        gateways.find(|gateway| gateway.is_ipv4() == dst.is_ipv4()).ok_or(NoPacket::NoGateway)
    }

    fn port(&mut self, id: Uuid) -> Option<Arc<Port>> {
        self.compiled.port(&self.topology, id)
    }

    fn network(&mut self, id: Uuid) -> Option<Arc<Network>> {
        self.compiled.network(&self.topology, id)
    }

    fn router(&mut self, id: Uuid) -> Option<Arc<Router>> {
        self.compiled.router(&self.topology, id)
    }

    fn balancer(&mut self, id: Uuid) -> Option<Arc<Balancer>> {
        self.compiled.balancer(&self.topology, id)
    }

    fn chain(&mut self, id: Uuid) -> Option<Arc<Chain>> {
        self.compiled.chain(&self.topology, id)
    }
}

struct Walk<'a, T> {
    tracer: &'a mut Tracer<T>,
    connection: &'a Connection,
    choices: &'a Choices,
    packet: Packet,
    steps: Vec<Step>,
    doubts: Vec<Doubt>,
    translations: Vec<Translation>,
    traversed: HashSet<Uuid>,
    in_port: Option<Arc<Port>>,
    out_port: Option<Arc<Port>>,
    /// The destination was translated since the packet entered the device.
    rewritten: bool,
    /// Ports so far.
    ports: usize,
}

impl<T: Topology> Walk<'_, T> {
    fn step(&mut self, step: Step) {
        if self.steps.len() < MAX_STEPS {
            self.steps.push(step);
        }
    }

    fn doubt(&mut self, doubt: Doubt) {
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }

    /// The agent answers DHCP requests of bound network ports itself, before it simulates anything.
    fn dhcp(&mut self, id: Uuid) -> Option<End> {
        let packet = &self.packet;
        if packet.ether_type != IPV4 || (packet.proto, packet.src_port, packet.dst_port) != (UDP, 68, 67) {
            return None;
        }
        match self.tracer.port(id).filter(|port| port.bound)?.owner {
            Owner::Network(network) => self.tracer.network(network)?.dhcp.then_some(End::Answered { device: network }),
            Owner::Router(_) | Owner::Nobody => None,
        }
    }

    fn enter(&mut self, id: Uuid) -> End {
        self.ports += 1;
        if self.ports > MAX_DEVICES {
            return End::Dropped(Reason::TooManyDevices);
        }
        let Some(port) = self.tracer.port(id) else {
            return End::Dropped(Reason::Missing(id));
        };
        self.step(Step::Enter { port: id });
        self.traversed.insert(id);
        self.in_port = Some(port.clone());
        self.out_port = None;
        self.rewritten = false;
        if !port.admin_up {
            return End::Dropped(Reason::AdminDown(id));
        }
        if port.insertion {
            self.doubt(Doubt::Insertion { port: id });
        }
        if let Some(end) = self.filter(port.inbound, id) {
            return end;
        }
        match port.owner {
            Owner::Network(network) => self.bridge(network, &port),
            Owner::Router(router) => self.route(router, &port),
            Owner::Nobody => End::Dropped(Reason::Unplugged(id)),
        }
    }

    fn leave(&mut self, id: Uuid) -> End {
        self.ports += 1;
        if self.ports > MAX_DEVICES {
            return End::Dropped(Reason::TooManyDevices);
        }
        let Some(port) = self.tracer.port(id) else {
            return End::Dropped(Reason::Missing(id));
        };
        if matches!(port.owner, Owner::Network(_)) && self.in_port.as_ref().is_some_and(|from| from.id == id) {
            return End::Dropped(Reason::SamePort(id));
        }
        self.step(Step::Leave { port: id });
        self.traversed.insert(id);
        self.out_port = Some(port.clone());
        if !port.admin_up {
            return End::Dropped(Reason::AdminDown(id));
        }
        if port.insertion {
            self.doubt(Doubt::Insertion { port: id });
        }
        if let Some(end) = self.filter(port.outbound, id) {
            return end;
        }
        if port.vtep {
            return End::Unknown(Limit::Vtep);
        }
        if port.bound {
            if port.active == Some(false) {
                self.doubt(Doubt::Inactive { port: id });
            }
            return End::Delivered(id);
        }
        match port.peer {
            Some(peer) => self.enter(peer),
            None => End::Dropped(Reason::Unplugged(id)),
        }
    }

    fn bridge(&mut self, id: Uuid, from: &Arc<Port>) -> End {
        let Some(network) = self.tracer.network(id) else {
            return End::Dropped(Reason::Missing(id));
        };
        self.step(Step::Network { network: id });
        self.traversed.insert(id);
        if !network.admin_up {
            return End::Dropped(Reason::AdminDown(id));
        }
        if from.vlan.is_some() || self.packet.vlan.is_some_and(|vlan| self.has_vlan_port(&network, vlan)) {
            return End::Unknown(Limit::VlanPorts);
        }
        // What is tagged inside is filtered by nobody.
        let tagged = self.packet.vlan.is_some();
        if !tagged && let Some(end) = self.filter(network.inbound, id) {
            return end;
        }
        let to = match self.packet.ether_type {
            ARP if self.packet.eth_dst.0 == [0xff; 6] => {
                let Some((sender, target)) = self.packet.v4() else {
                    return End::Dropped(Reason::NobodyElse(id));
                };
                // A known address is answered for; who asks for his own tells it to all.
                if sender != target && self.tracer.topology.ip_mac(id, target).is_some() {
                    return End::Answered { device: id };
                }
                None
            }
            _ if self.packet.eth_dst.0[0] & 1 == 1 => None,
            _ => self.behind(id),
        };
        self.step(Step::Switched { network: id, to });
        if !tagged && let Some(end) = self.filter(network.outbound, id) {
            return end;
        }
        match to {
            Some(port) if port == from.id => End::Dropped(Reason::SamePort(port)),
            Some(port) => self.leave(port),
            None => self.flood(id, &network, from.id),
        }
    }

    /// The port behind the destination's address. One that is known on another VLAN only is taken to be at the same port.
    fn behind(&self, network: Uuid) -> Option<Uuid> {
        let topology = &self.tracer.topology;
        let vlan = self.packet.vlan.unwrap_or(0);
        topology
            .mac_port(network, vlan, self.packet.eth_dst)
            .or_else(|| topology.mac_port(network, 0, self.packet.eth_dst))
    }

    fn has_vlan_port(&mut self, network: &Network, vlan: u16) -> bool {
        network.ports.iter().any(|port| {
            let port = self.tracer.port(*port);
            port.is_some_and(|port| port.peer.is_some() && port.vlan == Some(vlan))
        })
    }

    /// Out of every bound port that lets the packet through; routers take no frame that is for nobody they know.
    fn flood(&mut self, id: Uuid, network: &Network, from: Uuid) -> End {
        let mut reached = Vec::new();
        for port in &network.ports {
            let Some(port) = self.tracer.port(*port) else { continue };
            if port.id == from || !port.bound || !port.admin_up || port.active == Some(false) {
                continue;
            }
            self.step(Step::Leave { port: port.id });
            self.traversed.insert(port.id);
            self.out_port = Some(port.clone());
            if self.filter(port.outbound, port.id).is_none() {
                reached.push(port.id);
            }
        }
        if reached.is_empty() {
            End::Dropped(Reason::NobodyElse(id))
        } else {
            End::Flooded(reached)
        }
    }

    fn route(&mut self, id: Uuid, from: &Arc<Port>) -> End {
        if self.packet.vlan.is_some() || !matches!(self.packet.ether_type, IPV4 | IPV6 | ARP) {
            return End::Dropped(Reason::NotRoutable(id));
        }
        let Some(router) = self.tracer.router(id) else {
            return End::Dropped(Reason::Missing(id));
        };
        self.step(Step::Router { router: id });
        self.traversed.insert(id);
        if !router.admin_up {
            return End::Dropped(Reason::AdminDown(id));
        }
        if self.packet.ether_type == ARP {
            return End::Answered { device: id };
        }
        if from.mac.is_some_and(|mac| mac != self.packet.eth_dst) {
            return End::Dropped(Reason::NotForRouter(id));
        }
        let balanced = match router.balancer.map(|balancer| self.balance(balancer)) {
            Some(Balanced::End(end)) => return end,
            Some(Balanced::Yes) => true,
            Some(Balanced::No) | None => false,
        };
        if !balanced && let Some(end) = self.filter(router.inbound, id) {
            return end;
        }
        let Some((src, dst)) = self.packet.v4() else {
            return End::Dropped(Reason::NotRoutable(id));
        };
        let Some((route, equal)) = self.lookup(&router, src, dst) else {
            return End::Dropped(Reason::NoRoute(id));
        };
        if equal > 1 {
            self.doubt(Doubt::EqualRoutes { router: id, count: equal });
        }
        let (port, gateway) = match route.hop {
            Hop::Port(port, gateway) => (Some(port), gateway),
            _ => (None, None),
        };
        let destination = match route.dst.address {
            IpAddr::V4(address) => (address, route.dst.prefix_length),
            IpAddr::V6(_) => (Ipv4Addr::UNSPECIFIED, 0),
        };
        self.step(Step::Routed {
            router: id,
            route: route.id,
            destination,
            gateway,
            port,
            equal,
        });
        let out = match route.hop {
            Hop::Port(port, _) => port,
            Hop::Local if self.packet.proto == ICMP && self.packet.src_port == ECHO => return End::Answered { device: id },
            Hop::Local => {
                if let Some(chain) = router.local_redirect
                    && self.tracer.chain(chain).is_some_and(|chain| !chain.rules.is_empty())
                {
                    self.doubt(Doubt::LocalRedirect { router: id });
                }
                return End::Dropped(Reason::RouterItself(id));
            }
            Hop::Blackhole => return End::Dropped(Reason::Blackhole { router: id, route: route.id }),
            Hop::Reject => return End::Dropped(Reason::RejectedByRoute { router: id, route: route.id }),
            Hop::Fip64 => return End::Unknown(Limit::Fip64),
        };
        if self.packet.ttl <= 1 {
            return End::Dropped(Reason::TimeToLive(id));
        }
        self.packet.ttl -= 1;
        let Some(port) = self.tracer.port(out) else {
            return End::Dropped(Reason::Missing(out));
        };
        self.out_port = Some(port.clone());
        if let Some(end) = self.filter(router.forward, id) {
            return end;
        }
        let undone = router.balancer.is_some_and(|balancer| self.unbalance(balancer));
        if !undone && let Some(end) = self.filter(router.outbound, id) {
            return end;
        }
        let Some((_, dst)) = self.packet.v4() else {
            return End::Dropped(Reason::NotRoutable(id));
        };
        let next = gateway.unwrap_or(dst);
        let Some(mac) = self.next_mac(id, &port, next) else {
            return End::Dropped(Reason::NobodyAnswers { router: id, address: next });
        };
        if let Some(own) = port.mac {
            self.packet.eth_src = own;
        }
        self.packet.eth_dst = mac;
        self.leave(out)
    }

    /// The route that is taken, and how many are as good.
    fn lookup(&self, router: &Router, src: Ipv4Addr, dst: Ipv4Addr) -> Option<(Route, usize)> {
        let fits = |route: &&Route| within(dst.into(), &route.dst) && within(src.into(), &route.src);
        let best = router.routes.iter().find(fits)?;
        let equal: Vec<&Route> = router
            .routes
            .iter()
            .filter(fits)
            .take_while(|route| route.dst.prefix_length == best.dst.prefix_length && route.weight == best.weight)
            .collect();
        let chosen = equal
            .iter()
            .find(|route| matches!(route.hop, Hop::Port(port, _) if self.choices.ports.contains(&port)));
        Some(((*chosen.unwrap_or(&best)).clone(), equal.len()))
    }

    /// The Ethernet address of the next hop. Whoever is beyond an uplink is taken to answer.
    fn next_mac(&mut self, router: Uuid, out: &Port, address: Ipv4Addr) -> Option<Mac> {
        if let Some(peer) = out.peer {
            let peer = self.tracer.port(peer)?;
            return match peer.owner {
                Owner::Network(network) => {
                    let topology = &self.tracer.topology;
                    topology.ip_mac(network, address).or_else(|| topology.neighbour(router, address))
                }
                Owner::Router(_) => peer.mac,
                Owner::Nobody => None,
            };
        }
        self.tracer.topology.neighbour(router, address).or_else(|| {
            self.doubt(Doubt::Neighbour { router, address });
            Some(SOMEBODY)
        })
    }

    fn balance(&mut self, id: Uuid) -> Balanced {
        let Some(balancer) = self.tracer.balancer(id).filter(|balancer| balancer.admin_up) else {
            return Balanced::No;
        };
        self.step(Step::Balancer { balancer: id });
        self.traversed.insert(id);
        let Some((_, dst)) = self.packet.v4().filter(|_| self.packet.proto == TCP) else {
            return Balanced::No;
        };
        let at = (dst, self.packet.dst_port);
        let Some(pool) = balancer.pools.iter().find(|pool| pool.vips.contains(&at)) else {
            return Balanced::No;
        };
        self.step(Step::Pool {
            pool: pool.id,
            members: pool.members.len(),
        });
        self.traversed.insert(pool.id);
        if pool.unsure {
            self.doubt(Doubt::MemberStates { pool: pool.id });
        }
        let Some(member) = self.member(pool) else {
            return Balanced::End(End::Dropped(Reason::NoMember(pool.id)));
        };
        self.translate(id, true, at, member);
        self.step(Step::Translated {
            device: id,
            dnat: true,
            undone: false,
            from: (at.0.into(), at.1),
            to: (member.0.into(), member.1),
        });
        self.packet.dst = Some(member.0.into());
        self.packet.dst_port = member.1;
        self.rewritten = true;
        Balanced::Yes
    }

    fn member(&mut self, pool: &Pool) -> Option<(Ipv4Addr, u16)> {
        if pool.members.len() > 1 {
            self.doubt(Doubt::Member {
                pool: pool.id,
                count: pool.members.len(),
            });
        }
        let known = self.choices.member.filter(|member| pool.members.contains(member));
        known.or_else(|| pool.members.first().copied())
    }

    /// Gives the answer of a member the address at which it was asked.
    fn unbalance(&mut self, id: Uuid) -> bool {
        let (true, Some((src, _)), Some(balancer)) = (self.connection.returned, self.packet.v4(), self.tracer.balancer(id)) else {
            return false;
        };
        let from = (src, self.packet.src_port);
        // What a rule translated fits no virtual address.
        let is_vip = |at: &(Ipv4Addr, u16)| balancer.pools.iter().find(|pool| pool.vips.contains(at));
        let Some((undone, pool)) = self.undo(id, true, from).and_then(|undone| Some((undone, is_vip(&undone.before)?))) else {
            return false;
        };
        self.step(Step::Pool {
            pool: pool.id,
            members: pool.members.len(),
        });
        self.step(Step::Translated {
            device: id,
            dnat: true,
            undone: true,
            from: (from.0.into(), from.1),
            to: (undone.before.0.into(), undone.before.1),
        });
        self.packet.src = Some(undone.before.0.into());
        self.packet.src_port = undone.before.1;
        true
    }

    fn undo(&self, device: Uuid, dnat: bool, after: (Ipv4Addr, u16)) -> Option<Translation> {
        let fits = |done: &&Translation| done.dnat == dnat && done.after == after && done.device.is_none_or(|of| of == device);
        self.connection.undo.iter().find(fits).copied()
    }

    fn translate(&mut self, device: Uuid, dnat: bool, before: (Ipv4Addr, u16), after: (Ipv4Addr, u16)) {
        self.translations.push(Translation {
            device: Some(device),
            dnat,
            before,
            after,
        });
    }

    /// Runs the chain that hangs at a device. A verdict against the packet ends its way.
    fn filter(&mut self, chain: Option<Uuid>, device: Uuid) -> Option<End> {
        let (result, rule, chain) = self.chain(chain?, device, 0, &mut Vec::new());
        match result {
            RuleResult::Drop | RuleResult::Reject => Some(End::Dropped(Reason::Rule {
                rule,
                chain,
                rejected: result == RuleResult::Reject,
            })),
            RuleResult::Redirect => Some(End::Unknown(Limit::Redirect)),
            _ => None,
        }
    }

    fn chain(&mut self, id: Uuid, device: Uuid, depth: usize, visited: &mut Vec<Uuid>) -> (RuleResult, Uuid, Uuid) {
        let on = (RuleResult::Continue, Uuid::nil(), id);
        let Some(chain) = self.tracer.chain(id) else { return on };
        visited.push(id);
        self.step(Step::Chain { chain: id, depth });
        self.traversed.insert(id);
        for rule in &chain.rules {
            let miss = rule.condition.miss(
                &self.packet,
                &Context {
                    returned: self.connection.returned,
                    in_port: self.in_port.as_ref().map(|port| port.id),
                    out_port: self.out_port.as_ref().map(|port| port.id),
                    in_groups: self.in_port.as_ref().map_or(&[], |port| &port.groups),
                    out_groups: self.out_port.as_ref().map_or(&[], |port| &port.groups),
                    traversed: &self.traversed,
                    rewritten: self.rewritten,
                },
            );
            let before = self.packet;
            let applied = if miss.is_none() { self.apply(&rule.effect, device) } else { None };
            let result = applied.unwrap_or(RuleResult::Continue);
            self.step(Step::Rule {
                chain: id,
                hit: RuleHit {
                    id: rule.id,
                    result,
                    matched: miss.is_none(),
                    applied: applied.is_some(),
                },
                depth,
                miss,
            });
            self.tell_translation(&rule.effect, device, &before);
            match (result, &rule.effect) {
                (RuleResult::Jump, Effect::Jump(target)) => {
                    if visited.contains(target) || self.tracer.chain(*target).is_none() {
                        self.doubt(Doubt::Jump { rule: rule.id });
                        continue;
                    }
                    let decided = self.chain(*target, device, depth + 1, visited);
                    if is_final(decided.0) {
                        return decided;
                    }
                }
                (result, _) if is_final(result) || result == RuleResult::Return => return (result, rule.id, id),
                _ => {}
            }
        }
        on
    }

    /// What a rule whose condition holds does; `None` where it has nothing to do.
    fn apply(&mut self, effect: &Effect, device: Uuid) -> Option<RuleResult> {
        match effect {
            Effect::Literal(result) => Some(*result),
            Effect::Jump(_) => Some(RuleResult::Jump),
            Effect::Redirect => Some(RuleResult::Redirect),
            Effect::Nothing => None,
            Effect::Nat { dnat: true, target, then } => self.translate_destination(target, device).then_some(*then),
            Effect::Nat { dnat: false, target, then } => self.translate_source(target, device).then_some(*then),
            Effect::ReverseNat { dnat, then } => self.reverse(*dnat, device).then_some(*then),
        }
    }

    fn translate_destination(&mut self, target: &Target, device: Uuid) -> bool {
        let Some((_, dst)) = self.packet.v4() else { return false };
        if !target.is_static() {
            if !matches!(self.packet.proto, ICMP | TCP | UDP) {
                return false;
            }
            let port = match target.ports {
                Some((first, _)) if !self.packet.is_icmp() => first,
                _ => self.packet.dst_port,
            };
            if target.first != target.last {
                self.doubt(Doubt::Source { device });
            }
            let before = (dst, self.packet.destination_key());
            self.translate(device, true, before, (target.first, port));
            self.packet.dst_port = port;
        }
        self.packet.dst = Some(target.first.into());
        self.rewritten = true;
        true
    }

    fn translate_source(&mut self, target: &Target, device: Uuid) -> bool {
        let Some((src, _)) = self.packet.v4() else { return false };
        let mut to = target.first;
        if !target.is_static() {
            // Only what has ports or an echo's identifier can be told apart again.
            if !matches!(self.packet.proto, ICMP | TCP | UDP) {
                return false;
            }
            let range = |(address, _): &(Ipv4Addr, u16)| (target.first..=target.last).contains(address);
            let known = self.choices.source.filter(range);
            let old = self.packet.source_key();
            let port = match (known, target.ports) {
                _ if self.packet.is_icmp() => old,
                (Some((_, port)), _) => port,
                (None, Some((first, last))) => old.clamp(first, last),
                (None, None) => old,
            };
            to = known.map_or(target.first, |(address, _)| address);
            if known.is_none() {
                self.doubt(Doubt::Source { device });
            }
            self.translate(device, false, (src, old), (to, port));
            if !self.packet.is_icmp() {
                self.packet.src_port = port;
            }
        }
        self.packet.src = Some(to.into());
        true
    }

    fn reverse(&mut self, dnat: bool, device: Uuid) -> bool {
        let Some((src, dst)) = self.packet.v4() else { return false };
        let after = if dnat {
            (src, self.packet.source_key())
        } else {
            (dst, self.packet.destination_key())
        };
        let Some(undone) = self.undo(device, dnat, after) else { return false };
        let (address, port) = undone.before;
        if dnat {
            self.packet.src = Some(address.into());
            if !self.packet.is_icmp() {
                self.packet.src_port = port;
            }
        } else {
            self.packet.dst = Some(address.into());
            if !self.packet.is_icmp() {
                self.packet.dst_port = port;
            }
            self.rewritten = true;
        }
        true
    }

    fn tell_translation(&mut self, effect: &Effect, device: Uuid, before: &Packet) {
        let undone = matches!(effect, Effect::ReverseNat { .. });
        if !undone && !matches!(effect, Effect::Nat { .. }) {
            return;
        }
        let after = self.packet;
        let sources = (before.src.map(|src| (src, before.src_port)), after.src.map(|src| (src, after.src_port)));
        let destinations = (before.dst.map(|dst| (dst, before.dst_port)), after.dst.map(|dst| (dst, after.dst_port)));
        for (dnat, (from, to)) in [(false, sources), (true, destinations)] {
            if let (Some(from), Some(to)) = (from, to)
                && from != to
            {
                // An undone translation of the source changes the destination.
                let dnat = dnat != undone;
                self.step(Step::Translated {
                    device,
                    dnat,
                    undone,
                    from,
                    to,
                });
            }
        }
    }
}

/// What a load balancer made of a packet.
enum Balanced {
    Yes,
    No,
    End(End),
}
