// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Who talks to whom: kinds of connections with their shares, endpoints with heavy tails.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use midonet::Mac;
use rand::Rng;

use super::{Connection, Direction};
use crate::{
    plan::ADMINS,
    view::{DeviceRef, Index, PEER_MAC, Packet, Port, View},
};

/// A kind of traffic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// From the Internet to a floating address's web server.
    Web,
    /// From the Internet to ports that no security group opens.
    Scan,
    /// Administrators' SSH.
    Admin,
    /// From a VM to the Internet.
    Outbound,
    /// Between a tenant's VMs, as its groups allow it.
    Inside,
    /// Between a tenant's VMs where no group allows it.
    Forbidden,
    /// From a VM to its tenant's load balancer.
    Balanced,
    Ping,
    /// Of one tenant to another, by floating addresses.
    Across,
    /// IPv6 between VMs without port security, or stopped by it.
    Ipv6,
    /// VLANs between trunk VMs.
    Vlan,
    /// ARP and DHCP.
    Noise,
}

/// Shares of the kinds in new connections, of a thousand.
const SHARES: &[(Kind, u32)] = &[
    (Kind::Web, 270),
    (Kind::Scan, 60),
    (Kind::Admin, 10),
    (Kind::Outbound, 230),
    (Kind::Inside, 230),
    (Kind::Forbidden, 30),
    (Kind::Balanced, 40),
    (Kind::Ping, 35),
    (Kind::Across, 25),
    (Kind::Ipv6, 20),
    (Kind::Vlan, 10),
    (Kind::Noise, 40),
];

/// Distinct addresses of the Internet; a few of them make most of the traffic.
const INTERNET: u32 = 20_000;
/// Ports that scanners try.
const SCANNED: [u16; 8] = [22, 23, 3389, 445, 8080, 5900, 1433, 6379];
/// Longest connection, in seconds.
const LONGEST: f64 = 3600.0;

struct Shape {
    proto: u8,
    port: u16,
    /// Shortest duration in seconds, whose tail follows.
    shortest: f64,
    packets: f64,
    size: u32,
}

impl Kind {
    pub(super) fn pick(rng: &mut impl Rng) -> Option<Kind> {
        let mut at = rng.random_range(0..1000);
        SHARES
            .iter()
            .find(|(_, share)| {
                let here = at < *share;
                at = at.saturating_sub(*share);
                here
            })
            .map(|(kind, _)| *kind)
    }

    pub(super) fn connection(self, view: &View, rng: &mut impl Rng, now: f64) -> Option<Connection> {
        let tcp = |port, shortest, packets, size| Shape {
            proto: 6,
            port,
            shortest,
            packets,
            size,
        };
        let udp = |port| Shape {
            proto: 17,
            port,
            shortest: 0.1,
            packets: 1.0,
            size: 120,
        };
        let ping = Shape {
            proto: 1,
            port: 0,
            shortest: 2.0,
            packets: 1.0,
            size: 98,
        };
        let (port, packet, shape) = match self {
            Kind::Web | Kind::Scan | Kind::Admin => {
                let uplink = some(&view.uplinks, rng)?;
                let (floating, _) = *view.floating.get(tail(view.floating.len(), rng)?)?;
                let client = if self == Kind::Admin { admin(rng) } else { internet(rng) };
                let shape = match self {
                    Kind::Web if rng.random_ratio(4, 5) => tcp(443, 0.4, 60.0, 900),
                    Kind::Web => tcp(80, 0.3, 40.0, 800),
                    Kind::Admin => tcp(22, 60.0, 8.0, 140),
                    _ => tcp(SCANNED[rng.random_range(0..SCANNED.len())], 0.01, 1.0, 60),
                };
                (uplink, from_outside(view, uplink, client, floating), shape)
            }
            Kind::Outbound => {
                let vm = vm(view, rng)?;
                let shape = match rng.random_range(0..10) {
                    0..=5 => tcp(443, 0.5, 50.0, 700),
                    6 => tcp(80, 0.4, 30.0, 700),
                    7 | 8 => udp(53),
                    _ => udp(123),
                };
                let server = if shape.port == 53 { Ipv4Addr::new(9, 9, 9, 9) } else { internet(rng) };
                (vm, through_router(view, vm, server)?, shape)
            }
            Kind::Inside => {
                // Databases start nothing.
                let client = (0..4).filter_map(|_| vm(view, rng)).find(|vm| !is_db(view.port(*vm)))?;
                let server = neighbour(view, client, rng, |port| port.secured)?;
                let shape = if is_db(view.port(server)) {
                    tcp(5432, 5.0, 30.0, 400)
                } else {
                    tcp([8080, 8443, 6379, 9200][rng.random_range(0..4)], 0.5, 40.0, 500)
                };
                (client, to_vm(view, client, server)?, shape)
            }
            Kind::Forbidden => {
                let client = vm(view, rng)?;
                let server = neighbour(view, client, rng, is_db)?;
                (
                    client,
                    to_vm(view, client, server)?,
                    tcp(SCANNED[rng.random_range(0..SCANNED.len())], 0.01, 1.0, 60),
                )
            }
            Kind::Balanced => {
                let (address, port, router) = *view.vips.get(tail(view.vips.len(), rng)?)?;
                // Clients are on the tenant's other networks: the virtual address is reached through the router.
                let tenant = view.routers[router as usize].tenant;
                let clients: Vec<Index> = view
                    .vms
                    .iter()
                    .copied()
                    .filter(|vm| view.port(*vm).tenant == tenant && !in_subnet(view, *vm, address))
                    .collect();
                let client = some(&clients, rng)?;
                (client, through_router(view, client, address)?, tcp(port, 0.3, 30.0, 700))
            }
            Kind::Ping => {
                let client = vm(view, rng)?;
                let server = neighbour(view, client, rng, |_| true)?;
                (client, to_vm(view, client, server)?, ping)
            }
            Kind::Across => {
                let client = vm(view, rng)?;
                let others: Vec<Ipv4Addr> = view
                    .floating
                    .iter()
                    .filter(|(_, port)| view.port(*port).tenant != view.port(client).tenant)
                    .map(|(address, _)| *address)
                    .collect();
                let server = *others.get(tail(others.len(), rng)?)?;
                (client, through_router(view, client, server)?, tcp(443, 0.4, 40.0, 800))
            }
            Kind::Ipv6 => {
                // Some of it starts where port security stops it.
                let client = if rng.random_ratio(3, 4) {
                    some(&view.trunks, rng)?
                } else {
                    vm(view, rng)?
                };
                let server = neighbour(view, client, rng, |port| !port.secured && port.device == view.port(client).device)
                    .or_else(|| neighbour(view, client, rng, |port| port.device == view.port(client).device))?;
                (client, ipv6(view, client, server), tcp(22, 1.0, 10.0, 300))
            }
            Kind::Vlan => {
                let client = some(&view.trunks, rng)?;
                let server = neighbour(view, client, rng, |port| !port.secured && port.device == view.port(client).device)?;
                let mut packet = to_vm(view, client, server)?;
                packet.vlan = Some([100, 101, 200][rng.random_range(0..3)]);
                (client, packet, tcp(8080, 1.0, 20.0, 400))
            }
            Kind::Noise => return None,
        };
        Some(start(view, port, packet, &shape, rng, now))
    }
}

fn is_db(port: &Port) -> bool {
    port.name.starts_with("db-")
}

fn start(view: &View, port: Index, mut packet: Packet, shape: &Shape, rng: &mut impl Rng, now: f64) -> Connection {
    packet.proto = shape.proto;
    if shape.proto == 1 {
        packet.src_port = 8;
        packet.dst_port = 0;
        packet.icmp_id = rng.random();
    } else {
        packet.src_port = rng.random_range(32_768..=60_999);
        packet.dst_port = shape.port;
    }
    // Durations with a heavy tail: most are over at once, a few last for an hour.
    let duration = (shape.shortest / rng.random_range(0.0f64..1.0).max(1e-6).powf(0.9)).min(LONGEST);
    let packets = shape.packets / duration.max(1.0).sqrt() * (0.3 + 2.0 * rng.random::<f64>().powi(3));
    Connection {
        forward: Direction {
            port: view.port(port).id,
            packet,
            packets,
            size: shape.size,
        },
        nats: Vec::new(),
        nat_port: rng.random(),
        hash: rng.random(),
        answered: true,
        ends: now + duration,
    }
}

fn empty(eth_src: Mac, eth_dst: Mac, src: IpAddr, dst: IpAddr) -> Packet {
    Packet {
        eth_src,
        eth_dst,
        ether_type: if src.is_ipv4() { 0x0800 } else { 0x86dd },
        src,
        dst,
        proto: 6,
        tos: 0,
        ttl: 64,
        src_port: 0,
        dst_port: 0,
        icmp_id: 0,
        vlan: None,
        returned: false,
    }
}

pub(super) fn from_outside(view: &View, uplink: Index, client: Ipv4Addr, server: Ipv4Addr) -> Packet {
    Packet {
        ttl: 52,
        ..empty(PEER_MAC, view.port(uplink).mac, client.into(), server.into())
    }
}

/// To an address beyond the VM's router.
pub(super) fn through_router(view: &View, vm: Index, server: Ipv4Addr) -> Option<Packet> {
    let port = view.port(vm);
    let network = network_of(view, port)?;
    let router = *network.arp.get(&network.gateway?)?;
    Some(empty(port.mac, router, v4(port)?.into(), server.into()))
}

pub(super) fn to_vm(view: &View, client: Index, server: Index) -> Option<Packet> {
    let (from, to) = (view.port(client), view.port(server));
    if from.device == to.device {
        return Some(empty(from.mac, to.mac, v4(from)?.into(), v4(to)?.into()));
    }
    through_router(view, client, v4(to)?)
}

fn ipv6(view: &View, client: Index, server: Index) -> Packet {
    let (from, to) = (view.port(client), view.port(server));
    empty(from.mac, to.mac, eui64(from.mac).into(), eui64(to.mac).into())
}

/// The link-local address of a MAC.
fn eui64(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 2, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
}

fn network_of<'a>(view: &'a View, port: &Port) -> Option<&'a crate::view::Network> {
    match port.device {
        DeviceRef::Network(network) => view.networks.get(network as usize),
        DeviceRef::Router(_) => None,
    }
}

fn in_subnet(view: &View, vm: Index, address: Ipv4Addr) -> bool {
    v4(view.port(vm)).is_some_and(|own| own.to_bits() >> 8 == address.to_bits() >> 8)
}

fn v4(port: &Port) -> Option<Ipv4Addr> {
    port.addresses
        .iter()
        .find_map(|address| if let IpAddr::V4(address) = address { Some(*address) } else { None })
}

fn vm(view: &View, rng: &mut impl Rng) -> Option<Index> {
    view.vms.get(tail(view.vms.len(), rng)?).copied()
}

/// Another VM of the same tenant that fits; a few tries, since tenants are small beside the cloud.
fn neighbour(view: &View, vm: Index, rng: &mut impl Rng, fits: impl Fn(&Port) -> bool) -> Option<Index> {
    let tenant = view.port(vm).tenant;
    let own = view.vms_by_tenant.get(tenant as usize)?;
    let candidates: Vec<Index> = own.iter().copied().filter(|other| *other != vm && fits(view.port(*other))).collect();
    some(&candidates, rng)
}

fn some(list: &[Index], rng: &mut impl Rng) -> Option<Index> {
    if list.is_empty() {
        None
    } else {
        Some(list[rng.random_range(0..list.len())])
    }
}

/// A position in a list, the first ones far more often than the last.
fn tail(length: usize, rng: &mut impl Rng) -> Option<usize> {
    if length == 0 {
        return None;
    }
    // Scattered, so that the busiest are not those with the smallest ids of each class.
    let at = (rng.random::<f64>().powf(2.2) * length as f64) as usize;
    Some(at.min(length - 1))
}

/// An address of the Internet out of a fixed set, outside of what is set aside.
fn internet(rng: &mut impl Rng) -> Ipv4Addr {
    let index = (rng.random::<f64>().powi(3) * f64::from(INTERNET)) as u32;
    let mixed = index.wrapping_mul(0x9e37_79b1).rotate_left(13) ^ 0x5bd1_e995u32.wrapping_mul(index + 1);
    let [a, b, c, d] = mixed.to_be_bytes();
    // First octets that are given to providers all over the world.
    const FIRST: [u8; 16] = [5, 23, 31, 45, 62, 77, 81, 93, 104, 133, 151, 163, 185, 193, 202, 212];
    Ipv4Addr::new(FIRST[usize::from(a % 16)], b, c, d.clamp(1, 254))
}

fn admin(rng: &mut impl Rng) -> Ipv4Addr {
    Ipv4Addr::from_bits(ADMINS.0.to_bits() | rng.random_range(5..30))
}
