// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From a packet to the records that agents send and the meters that move.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use midonet::{
    flow::FlowRecord,
    meters::{Counters, MeterKey},
};
use rand::Rng;
use uuid::Uuid;

use super::Connection;
use crate::{
    ledger::Class,
    record,
    view::{DeviceRef, Host, Index, Packet, Port, Verdict, View, Walk},
};

/// Lives of flows in seconds, by what they are (`FlowExpirationIndexer`).
const STATEFUL: usize = 30;
const STATELESS: usize = 60;
const DROPPED: usize = 5;
const TUNNELLED: usize = 300;

/// What simulating a connection came to.
pub(super) struct Outcome {
    pub made: u64,
    /// Its packets got through, so there will be more.
    pub lives: bool,
    pub stateful: bool,
}

/// Where records and meters go.
pub(super) trait Out {
    /// A packet of a flow at a host, and the flow's `rest` when its life is over.
    fn count(&mut self, host: Uuid, keys: &[MeterKey], length: i64, rest: Counters, life: usize);

    /// The in-port that the host's next simulation thread has from its packet before.
    fn stale_in_port(&self, host: Uuid) -> Option<Uuid>;

    /// Takes a record; gives how many were made of it.
    fn send(&mut self, host: Uuid, record: FlowRecord, class: Class, tenant: Arc<str>, rule: Option<Uuid>) -> u64;
}

/// Simulates packets and says what agents make of them.
pub(super) struct Emitter<O> {
    pub out: O,
    tenants: HashMap<String, Arc<str>>,
    walk: Walk,
}

impl<O: Out> Emitter<O> {
    pub(super) fn new(out: O) -> Emitter<O> {
        Emitter {
            out,
            tenants: HashMap::new(),
            walk: Walk::default(),
        }
    }

    /// Simulates both directions of a connection and records them.
    pub(super) fn connection(&mut self, view: &View, connection: &mut Connection, left: f64, rng: &mut impl Rng) -> Outcome {
        let mut outcome = Outcome {
            made: 0,
            lives: false,
            stateful: false,
        };
        let Some(&port) = view.port_by_id.get(&connection.forward.port) else {
            return outcome;
        };
        let mut packet = connection.forward.packet;
        let verdict = self.simulate(view, port, &mut packet, &[], connection.nat_port, connection.hash);
        connection.nats.clone_from(&self.walk.nats);
        let volume = volume(&connection.forward, left);
        outcome.stateful = self.walk.stateful || matches!(verdict, Verdict::Forwarded(_));
        outcome.made += self.record(view, port, &connection.forward.packet, &packet, verdict, volume, outcome.stateful);
        let Verdict::Forwarded(out) = verdict else { return outcome };
        outcome.lives = true;
        if connection.answered {
            let (mut answer, entered) = {
                let answer = answer(&packet);
                (answer, answer)
            };
            let nats = std::mem::take(&mut connection.nats);
            let verdict = self.simulate(view, out, &mut answer, &nats, connection.nat_port, connection.hash);
            connection.nats = nats;
            // What comes back is a few times as large, or as small.
            let ratio = rng.random_range(0.2..4.0);
            let back = Counters {
                packets: volume.packets,
                bytes: (volume.bytes as f64 * ratio) as i64,
            };
            outcome.made += self.record(view, out, &entered, &answer, verdict, back, true);
        }
        outcome
    }

    /// ARP and DHCP of some VM.
    pub(super) fn noise(&mut self, view: &View, rng: &mut impl Rng) -> u64 {
        if view.vms.is_empty() {
            return 0;
        }
        let index = view.vms[rng.random_range(0..view.vms.len())];
        let port = view.port(index);
        let DeviceRef::Network(network) = port.device else { return 0 };
        let (Some(network), Some(IpAddr::V4(own))) = (view.networks.get(network as usize), port.addresses.first()) else {
            return 0;
        };
        let Some(host) = port.host.map(|host| &view.hosts[host as usize]) else {
            return 0;
        };
        let broadcast = midonet::Mac([0xff; 6]);
        let base = Packet {
            eth_src: port.mac,
            eth_dst: broadcast,
            ether_type: 0x0806,
            src: IpAddr::V4(*own),
            dst: IpAddr::V4(*own),
            proto: 1,
            tos: 0,
            ttl: 64,
            src_port: 0,
            dst_port: 0,
            icmp_id: 0,
            vlan: None,
            returned: false,
        };
        if !port.secured && rng.random_ratio(1, 4) {
            // A frame without addresses: in its record stand those of the record before.
            let announcement = Packet {
                eth_dst: midonet::Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]),
                ether_type: 0x88cc,
                proto: 0,
                ..base
            };
            let mut after = announcement;
            let verdict = self.simulate(view, index, &mut after, &[], 0, 0);
            return self.record(view, index, &announcement, &after, verdict, Counters::default(), false);
        }
        if rng.random_ratio(1, 4) {
            // The agent answers DHCP before it simulates anything.
            let unset = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
            let all = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
            let request = Packet {
                ether_type: 0x0800,
                proto: 17,
                src: unset,
                dst: all,
                src_port: 68,
                dst_port: 67,
                ..base
            };
            self.walk.clear();
            let mut made = self.record(view, index, &request, &request, Verdict::Consumed, Counters::default(), false);
            let Some(gateway) = network.gateway else { return made };
            let offer = Packet {
                eth_src: midonet::Mac([0x02, 0xa8, 0x9c, 0xde, 0x39, 0x27]),
                eth_dst: port.mac,
                src: IpAddr::V4(gateway),
                dst: *port.addresses.first().unwrap_or(&all),
                src_port: 67,
                dst_port: 68,
                ..request
            };
            made += self.generated(host, port, &offer);
            return made;
        }
        // For the gateway mostly; sometimes for an address that nobody has, which is flooded.
        let target = if rng.random_ratio(4, 5) {
            network.gateway.unwrap_or(*own)
        } else {
            std::net::Ipv4Addr::from_bits(own.to_bits() & !0xff | 253)
        };
        let request = Packet {
            dst: IpAddr::V4(target),
            ..base
        };
        let mut after = request;
        let verdict = self.simulate(view, index, &mut after, &[], 0, 0);
        let mut made = self.record(view, index, &request, &after, verdict, Counters::default(), false);
        if verdict == Verdict::Consumed
            && let Some(mac) = network.arp.get(&target)
        {
            let reply = Packet {
                eth_src: *mac,
                eth_dst: port.mac,
                src: IpAddr::V4(target),
                dst: IpAddr::V4(*own),
                proto: 2,
                ..request
            };
            made += self.generated(host, port, &reply);
        }
        made
    }

    fn simulate(&mut self, view: &View, port: Index, packet: &mut Packet, undo: &[crate::view::Nat], nat_port: u16, hash: u32) -> Verdict {
        view.simulate(port, packet, undo, nat_port, hash, &mut self.walk)
    }

    /// Records a simulated packet at its ingress and, if it went through a tunnel, at the tunnel's end; and counts it on the meters of both.
    #[allow(clippy::too_many_arguments)]
    fn record(&mut self, view: &View, port: Index, before: &Packet, after: &Packet, verdict: Verdict, volume: Counters, stateful: bool) -> u64 {
        let port = view.port(port);
        let Some(host) = port.host.map(|host| &view.hosts[host as usize]) else {
            return 0;
        };
        let record = record::ingress(view, host, port, before, after, verdict, &self.walk);
        let (class, rule) = match verdict {
            Verdict::Forwarded(_) | Verdict::Flooded => (Class::Forwarded, None),
            Verdict::Dropped(rule) => (Class::Dropped, Some(rule)),
            Verdict::DroppedElsewhere | Verdict::Error => (Class::DroppedElsewhere, None),
            Verdict::Consumed => (Class::Consumed, None),
        };
        let tenant = self.tenant(view, port);
        let length = i64::from(MIN_FRAME.max(volume.bytes.checked_div(volume.packets).unwrap_or(0) as i32));
        let rest = Counters {
            packets: (volume.packets - 1).max(0),
            bytes: (volume.bytes - length).max(0),
        };
        let tunnel_end = match verdict {
            Verdict::Forwarded(out) => Some(view.port(out)).filter(|out| out.host != port.host),
            _ => None,
        };
        let mut keys = std::mem::take(&mut self.walk.meters);
        let life = match class {
            Class::Forwarded if stateful => STATEFUL,
            Class::Forwarded => STATELESS,
            _ => DROPPED,
        };
        let tunnel = tunnel_end.and_then(|end| end.host).map(|end| MeterKey::Tunnel {
            src: host.underlay,
            dst: view.hosts[end as usize].underlay,
        });
        keys.extend(tunnel.clone());
        self.out.count(
            host.id,
            &keys,
            length,
            if class == Class::Consumed { Counters::default() } else { rest },
            life,
        );
        keys.clear();
        self.walk.meters = keys;
        let mut made = self.out.send(host.id, record, class, tenant.clone(), rule);
        if let Some(end) = tunnel_end
            && let Some(end_host) = end.host.map(|end| view.hosts[end as usize].id)
        {
            let stale = self.out.stale_in_port(end_host);
            if let Some(record) = record::transit(view, host, end, after, stale) {
                self.out.count(end_host, tunnel.as_slice(), length, rest, TUNNELLED);
                made += self.out.send(end_host, record, Class::Transit, tenant, None);
            }
        }
        made
    }

    fn generated(&mut self, host: &Host, port: &Port, packet: &Packet) -> u64 {
        let stale = self.out.stale_in_port(host.id);
        let record = record::generated(host, port, packet, stale);
        let keys = [MeterKey::Device(port.id), MeterKey::PortTx(port.id)];
        self.out.count(host.id, &keys, i64::from(MIN_FRAME), Counters::default(), DROPPED);
        self.out.send(host.id, record, Class::Generated, Arc::from(""), None)
    }

    fn tenant(&mut self, view: &View, port: &Port) -> Arc<str> {
        let tenant = &view.tenants[port.tenant as usize];
        match self.tenants.get(tenant) {
            Some(tenant) => tenant.clone(),
            None => self.tenants.entry(tenant.clone()).or_insert_with(|| Arc::from(tenant.as_str())).clone(),
        }
    }
}

/// Shortest Ethernet frame without its checksum.
const MIN_FRAME: i32 = 60;

/// Packets and bytes of a direction during the life of one flow.
fn volume(direction: &super::Direction, left: f64) -> Counters {
    let seconds = left.clamp(0.2, STATEFUL as f64);
    let packets = (direction.packets * seconds).max(1.0) as i64;
    Counters {
        packets,
        bytes: packets * i64::from(direction.size),
    }
}

/// The packet that answers one that arrived.
fn answer(packet: &Packet) -> Packet {
    let (src_port, dst_port) = if packet.proto == 1 { (0, 0) } else { (packet.dst_port, packet.src_port) };
    Packet {
        eth_src: packet.eth_dst,
        eth_dst: packet.eth_src,
        src: packet.dst,
        dst: packet.src,
        src_port,
        dst_port,
        ttl: 64,
        returned: true,
        ..*packet
    }
}
