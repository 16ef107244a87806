// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The way of a packet through the topology, as an agent simulates it at the packet's ingress: which devices it crosses, which rules are
//! evaluated with which verdict, what NAT makes of it, where it leaves.
//!
//! Order follows MidoNet's `Port`, `Bridge`, `RouterBase`, `LoadBalancer` and `Chain`.

use std::net::{IpAddr, Ipv4Addr};

use midonet::{
    Mac,
    flow::{Device, DeviceKind, RuleHit, RuleResult},
    meters::MeterKey,
};
use uuid::Uuid;

use super::{DeviceRef, Effect, Hop, Index, PEER_MAC, View, condition::Context, within};

/// Most ports that a simulation enters or leaves (`Simulator.MaxDevicesTraversed`); a loop ends there.
const MAX_DEVICES: usize = 12;
/// Deepest nesting of jumps; MidoNet visits a chain once only, its own chains nest two deep.
const MAX_JUMPS: usize = 8;

/// A packet. `returned` tells that connection tracking knows its other direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packet {
    pub eth_src: Mac,
    pub eth_dst: Mac,
    pub ether_type: u16,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// IP protocol; for ARP the operation.
    pub proto: u8,
    pub tos: u8,
    pub ttl: u8,
    /// Type of ICMP.
    pub src_port: u16,
    /// Code of ICMP.
    pub dst_port: u16,
    pub icmp_id: u16,
    pub vlan: Option<u16>,
    pub returned: bool,
}

/// State of a translation that the return direction needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nat {
    /// Device that translated: a router or a load balancer.
    pub device: Uuid,
    pub dnat: bool,
    pub before: (Ipv4Addr, u16),
    pub after: (Ipv4Addr, u16),
}

/// How a simulation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Leaves by this port.
    Forwarded(Index),
    /// Leaves by the ports in [`Walk::out_ports`].
    Flooded,
    /// A rule decided to drop it.
    Dropped(Uuid),
    /// Dropped without a rule: no route, no MAC, unplugged.
    DroppedElsewhere,
    /// An internal failure that forgets the path.
    Error,
    /// Answered by a device itself.
    Consumed,
}

/// What a simulation found.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub devices: Vec<Device>,
    pub rules: Vec<RuleHit>,
    /// Meters that the flow counts on, one entry per occurrence.
    pub meters: Vec<MeterKey>,
    pub out_ports: Vec<Index>,
    pub nats: Vec<Nat>,
    /// Connection state was used: the flow lives 30 s instead of 60.
    pub stateful: bool,
}

struct Simulation<'a> {
    view: &'a View,
    walk: &'a mut Walk,
    packet: &'a mut Packet,
    /// Translations of the forward direction, to be undone.
    undo: &'a [Nat],
    in_port: Uuid,
    out_port: Option<Uuid>,
    rewritten: bool,
    /// Source port that a dynamic translation takes, before it is brought into the rule's range.
    nat_port: u16,
    /// Chooses among members and equal routes.
    hash: u32,
    traversed: usize,
}

impl View {
    /// Simulates a packet that enters by a port. `packet` becomes what it is when it leaves; `walk` is filled.
    pub fn simulate(&self, port: Index, packet: &mut Packet, undo: &[Nat], nat_port: u16, hash: u32, walk: &mut Walk) -> Verdict {
        walk.clear();
        // Each packet that comes or goes through a device with state is tracked.
        walk.stateful = packet.returned;
        let in_port = self.port(port).id;
        let mut simulation = Simulation {
            view: self,
            walk,
            packet,
            undo,
            in_port,
            out_port: None,
            rewritten: false,
            nat_port,
            hash,
            traversed: 0,
        };
        let verdict = simulation.ingress(port);
        if verdict == Verdict::Error {
            walk.clear();
        }
        verdict
    }
}

impl Walk {
    pub fn clear(&mut self) {
        self.devices.clear();
        self.rules.clear();
        self.meters.clear();
        self.out_ports.clear();
        self.nats.clear();
        self.stateful = false;
    }

    fn device(&mut self, id: Uuid, kind: DeviceKind) {
        self.devices.push(Device { id, kind });
        self.meters.push(MeterKey::Device(id));
    }
}

impl Simulation<'_> {
    fn ingress(&mut self, index: Index) -> Verdict {
        self.traversed += 1;
        if self.traversed > MAX_DEVICES {
            return Verdict::Error;
        }
        let port = self.view.port(index);
        self.walk.device(port.id, DeviceKind::Port);
        self.walk.meters.push(MeterKey::PortRx(port.id));
        self.in_port = port.id;
        self.out_port = None;
        self.rewritten = false;
        if !port.up {
            return Verdict::DroppedElsewhere;
        }
        if let Some(dropped) = self.filter(port.inbound) {
            return dropped;
        }
        match port.device {
            DeviceRef::Network(Index::MAX) => Verdict::Error,
            DeviceRef::Network(network) => self.bridge(network, index),
            DeviceRef::Router(router) => self.route(router, index),
        }
    }

    fn egress(&mut self, index: Index) -> Verdict {
        self.traversed += 1;
        if self.traversed > MAX_DEVICES {
            return Verdict::Error;
        }
        let port = self.view.port(index);
        if matches!(port.device, DeviceRef::Network(_)) && port.id == self.in_port {
            return Verdict::DroppedElsewhere;
        }
        self.walk.device(port.id, DeviceKind::Port);
        self.walk.meters.push(MeterKey::PortTx(port.id));
        self.out_port = Some(port.id);
        if !port.up {
            return Verdict::DroppedElsewhere;
        }
        if let Some(dropped) = self.filter(port.outbound) {
            return dropped;
        }
        if port.host.is_some() {
            self.walk.out_ports.push(index);
            Verdict::Forwarded(index)
        } else if let Some(peer) = port.peer {
            self.ingress(peer)
        } else {
            Verdict::Error
        }
    }

    fn bridge(&mut self, index: Index, in_port: Index) -> Verdict {
        let network = &self.view.networks[index as usize];
        self.walk.device(network.id, DeviceKind::Bridge);
        let tagged = self.packet.vlan.is_some();
        if !tagged && let Some(dropped) = self.filter(network.inbound) {
            return dropped;
        }
        let to = match self.packet.ether_type {
            0x0806 if self.packet.eth_dst.0 == [0xff; 6] => {
                let IpAddr::V4(target) = self.packet.dst else {
                    return Verdict::DroppedElsewhere;
                };
                // A known address is answered by the bridge itself.
                if self.packet.src != self.packet.dst && network.arp.contains_key(&target) {
                    return Verdict::Consumed;
                }
                None
            }
            _ if self.packet.eth_dst.0[0] & 1 == 1 => None,
            _ => network.macs.get(&self.packet.eth_dst).copied(),
        };
        if !tagged && let Some(dropped) = self.filter(network.outbound) {
            return dropped;
        }
        match to {
            Some(port) if port == in_port => Verdict::Error,
            Some(port) => self.egress(port),
            None => self.flood(index, in_port),
        }
    }

    /// Out of every exterior port that lets the packet through; a router's port takes no broadcast that it doesn't know.
    fn flood(&mut self, network: Index, in_port: Index) -> Verdict {
        for index in self.view.networks[network as usize].ports.iter().copied().filter(|port| *port != in_port) {
            let port = self.view.port(index);
            if port.host.is_none() || !port.up {
                continue;
            }
            self.walk.device(port.id, DeviceKind::Port);
            self.walk.meters.push(MeterKey::PortTx(port.id));
            self.out_port = Some(port.id);
            if self.filter(port.outbound).is_none() {
                self.walk.out_ports.push(index);
            }
        }
        if self.walk.out_ports.is_empty() {
            Verdict::DroppedElsewhere
        } else {
            Verdict::Flooded
        }
    }

    fn route(&mut self, index: Index, in_port: Index) -> Verdict {
        if self.packet.vlan.is_some() || !matches!(self.packet.ether_type, 0x0800 | 0x86dd) {
            return Verdict::DroppedElsewhere;
        }
        let router = &self.view.routers[index as usize];
        self.walk.device(router.id, DeviceKind::Router);
        let port = self.view.port(in_port);
        if self.packet.eth_dst != port.mac && port.peer.is_some() {
            return Verdict::DroppedElsewhere;
        }
        let balanced = match router.balancer {
            Some(balancer) => match self.balance(balancer) {
                Some(true) => true,
                Some(false) => return Verdict::DroppedElsewhere,
                None => false,
            },
            None => false,
        };
        if !balanced && let Some(dropped) = self.filter(router.inbound) {
            return dropped;
        }
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (self.packet.src, self.packet.dst) else {
            return Verdict::DroppedElsewhere;
        };
        let Some(hop) = self.lookup(index, src, dst) else {
            return Verdict::DroppedElsewhere;
        };
        let (out, gateway) = match hop {
            Hop::Port(out, gateway) => (out, gateway),
            Hop::Local if self.packet.proto == 1 && self.packet.src_port == 8 => return Verdict::Consumed,
            Hop::Local | Hop::Blackhole => return Verdict::Error,
            Hop::Reject => return Verdict::DroppedElsewhere,
        };
        if self.packet.ttl <= 1 {
            return Verdict::Error;
        }
        self.packet.ttl -= 1;
        self.out_port = Some(self.view.port(out).id);
        let unbalanced = router.balancer.is_some_and(|balancer| self.unbalance(balancer));
        if !unbalanced && let Some(dropped) = self.filter(router.outbound) {
            return dropped;
        }
        let IpAddr::V4(dst) = self.packet.dst else {
            return Verdict::DroppedElsewhere;
        };
        let Some(mac) = self.next_mac(out, gateway.unwrap_or(dst)) else {
            return Verdict::Error;
        };
        self.packet.eth_src = self.view.port(out).mac;
        self.packet.eth_dst = mac;
        self.egress(out)
    }

    fn lookup(&self, router: Index, src: Ipv4Addr, dst: Ipv4Addr) -> Option<Hop> {
        let routes = &self.view.routers[router as usize].routes;
        let fits = |route: &&super::Route| within(dst.to_bits(), route.dst) && within(src.to_bits(), route.src);
        let best = routes.iter().find(fits)?;
        // Equal routes share the load.
        let equal: Vec<Hop> = routes
            .iter()
            .filter(fits)
            .take_while(|route| route.dst.1 == best.dst.1 && route.weight == best.weight)
            .map(|route| route.hop)
            .collect();
        Some(equal[self.hash as usize % equal.len()])
    }

    fn next_mac(&self, out: Index, address: Ipv4Addr) -> Option<Mac> {
        let port = self.view.port(out);
        let Some(peer) = port.peer else { return Some(PEER_MAC) };
        match self.view.port(peer).device {
            DeviceRef::Network(network) => self.view.networks.get(network as usize)?.arp.get(&address).copied(),
            DeviceRef::Router(_) => Some(self.view.port(peer).mac),
        }
    }

    /// Whether a load balancer took the packet: true with a member, false without one up.
    fn balance(&mut self, index: Index) -> Option<bool> {
        let balancer = &self.view.balancers[index as usize];
        self.walk.device(balancer.id, DeviceKind::LoadBalancer);
        let IpAddr::V4(dst) = self.packet.dst else { return None };
        let vip = balancer
            .vips
            .iter()
            .find(|vip| vip.address == dst && vip.port == self.packet.dst_port && self.packet.proto == 6)?;
        self.walk.device(vip.pool, DeviceKind::Pool);
        if vip.members.is_empty() {
            return Some(false);
        }
        let (address, port) = vip.members[self.hash as usize % vip.members.len()];
        self.walk.nats.push(Nat {
            device: balancer.id,
            dnat: true,
            before: (dst, vip.port),
            after: (address, port),
        });
        self.walk.stateful = true;
        self.packet.dst = IpAddr::V4(address);
        self.packet.dst_port = port;
        self.rewritten = true;
        Some(true)
    }

    fn unbalance(&mut self, index: Index) -> bool {
        let balancer = &self.view.balancers[index as usize];
        let Some(nat) = self.undo.iter().find(|nat| {
            nat.device == balancer.id && IpAddr::V4(nat.after.0) == self.packet.src && nat.after.1 == self.packet.src_port && self.packet.returned
        }) else {
            return false;
        };
        self.packet.src = IpAddr::V4(nat.before.0);
        self.packet.src_port = nat.before.1;
        let pool = balancer
            .vips
            .iter()
            .find(|vip| vip.address == nat.before.0 && vip.port == nat.before.1)
            .map(|vip| vip.pool);
        if let Some(pool) = pool {
            self.walk.device(pool, DeviceKind::Pool);
        }
        true
    }

    /// Runs a device's chain; a verdict ends the simulation.
    fn filter(&mut self, chain: Option<Index>) -> Option<Verdict> {
        match self.chain(chain?, 0) {
            (RuleResult::Drop | RuleResult::Reject, rule) => Some(Verdict::Dropped(rule)),
            _ => None,
        }
    }

    fn chain(&mut self, index: Index, depth: usize) -> (RuleResult, Uuid) {
        let view = self.view;
        let chain = &view.chains[index as usize];
        self.walk.device(chain.id, DeviceKind::Chain);
        for rule in &chain.rules {
            let context = Context {
                in_port: self.in_port,
                out_port: self.out_port,
                rewritten: self.rewritten,
            };
            let matched = rule.condition.matches(self.packet, &context);
            let result = if matched { self.apply(&rule.effect) } else { None };
            let (recorded, applied) = (result.unwrap_or(RuleResult::Continue), result.is_some());
            self.walk.rules.push(RuleHit {
                id: rule.id,
                result: recorded,
                matched,
                applied,
            });
            let decided = match (recorded, &rule.effect) {
                (RuleResult::Jump, Effect::Jump(target)) if depth < MAX_JUMPS => match self.chain(*target, depth + 1) {
                    (RuleResult::Return, _) => (RuleResult::Continue, rule.id),
                    decided => decided,
                },
                (other, _) => (other, rule.id),
            };
            if !matches!(decided.0, RuleResult::Continue | RuleResult::Jump) {
                return decided;
            }
        }
        (RuleResult::Continue, Uuid::nil())
    }

    /// What a rule whose condition holds does; `None` where it has nothing to do.
    fn apply(&mut self, effect: &Effect) -> Option<RuleResult> {
        match effect {
            Effect::Literal(result) => Some(*result),
            Effect::Jump(_) => Some(RuleResult::Jump),
            Effect::Nat { dnat: true, to, .. } => {
                self.packet.dst = IpAddr::V4(*to);
                self.rewritten = true;
                Some(RuleResult::Accept)
            }
            Effect::Nat { dnat: false, to, ports } => self.translate_source(*to, *ports).then_some(RuleResult::Accept),
            Effect::ReverseNat => self.undo_source().then_some(RuleResult::Accept),
        }
    }

    fn translate_source(&mut self, to: Ipv4Addr, ports: Option<(u16, u16)>) -> bool {
        let IpAddr::V4(src) = self.packet.src else { return false };
        if let Some((from, until)) = ports {
            // Only what has ports or an echo identifier can be translated dynamically.
            if !matches!(self.packet.proto, 1 | 6 | 17) {
                return false;
            }
            let old = if self.packet.proto == 1 {
                self.packet.icmp_id
            } else {
                self.packet.src_port
            };
            let new = if self.packet.proto == 1 {
                old
            } else {
                from + self.nat_port % (until - from)
            };
            let device = self.current_router();
            self.walk.nats.push(Nat {
                device,
                dnat: false,
                before: (src, old),
                after: (to, new),
            });
            self.walk.stateful = true;
            if self.packet.proto != 1 {
                self.packet.src_port = new;
            }
        }
        self.packet.src = IpAddr::V4(to);
        true
    }

    fn undo_source(&mut self) -> bool {
        let router = self.current_router();
        let IpAddr::V4(dst) = self.packet.dst else { return false };
        let icmp = self.packet.proto == 1;
        let port = if icmp { self.packet.icmp_id } else { self.packet.dst_port };
        let Some(nat) = self.undo.iter().find(|nat| !nat.dnat && nat.device == router && nat.after == (dst, port)) else {
            return false;
        };
        self.walk.stateful = true;
        self.packet.dst = IpAddr::V4(nat.before.0);
        if !icmp {
            self.packet.dst_port = nat.before.1;
        }
        self.rewritten = true;
        true
    }

    fn current_router(&self) -> Uuid {
        let last = self.walk.devices.iter().rev().find(|device| device.kind == DeviceKind::Router);
        last.map_or(Uuid::nil(), |device| device.id)
    }
}
