// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Packets, and what an agent remembers of a connection.

use std::{
    collections::HashSet,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use midonet::{Mac, flow::Fragment};
use uuid::Uuid;

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
/// Type of an ICMP echo request.
pub const ECHO: u16 = 8;
/// Time to live of a packet whose sender nobody knows.
pub const DEFAULT_TTL: u8 = 64;

/// A packet, as an agent's flow match has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packet {
    pub eth_src: Mac,
    pub eth_dst: Mac,
    pub ether_type: u16,
    /// Sender's and target's protocol address where it is ARP; `None` where it is neither IP nor ARP.
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    /// IP protocol; the operation of ARP.
    pub proto: u8,
    pub tos: u8,
    pub ttl: u8,
    /// Source port of TCP and UDP; type of ICMP.
    pub src_port: u16,
    /// Destination port of TCP and UDP; code of ICMP.
    pub dst_port: u16,
    pub icmp_id: u16,
    /// The outermost VLAN.
    pub vlan: Option<u16>,
    pub fragment: Fragment,
}

/// What is remembered of the connection that a packet belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// The packet goes against the direction in which the connection was begun.
    pub returned: bool,
    /// Translations of the forward direction, to be undone.
    pub undo: Vec<Translation>,
}

/// A translation that the other direction undoes. Ports are identifiers where it is ICMP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Translation {
    /// The router or load balancer that translated; `None` fits all.
    pub device: Option<Uuid>,
    /// Of the destination, else of the source.
    pub dnat: bool,
    pub before: (Ipv4Addr, u16),
    pub after: (Ipv4Addr, u16),
}

/// What an agent would choose by a hash, by rotation or at random, where it is known what it chose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Ports that the packet went through: an equal route by one of them is taken.
    pub ports: HashSet<Uuid>,
    /// Member of a pool: address and port.
    pub member: Option<(Ipv4Addr, u16)>,
    /// Source that a dynamic translation took.
    pub source: Option<(Ipv4Addr, u16)>,
}

/// Why no packet can be made for a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoPacket {
    /// No such port in the topology.
    NoPort,
    /// The port has no address of the destination's family, and none was given.
    NoSource,
    /// Source and destination are not of one family.
    Families,
    /// Nobody on the port's network is known to have this address.
    NobodyHas(IpAddr),
    /// The destination is not on the port's subnets, and they have no gateway.
    NoGateway,
    /// A port of neither a network nor a router.
    NoDevice,
}

impl fmt::Display for NoPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPacket::NoPort => f.write_str("the topology has no such port"),
            NoPacket::NoSource => f.write_str("the port has no address of the destination's family: give a source address"),
            NoPacket::Families => f.write_str("one address is IPv4, the other IPv6"),
            NoPacket::NobodyHas(address) => write!(
                f,
                "nobody on the port's network is known to have {address}, so nobody answers the sender's ARP"
            ),
            NoPacket::NoGateway => f.write_str("the destination is on none of the port's subnets, and they have no gateway"),
            NoPacket::NoDevice => f.write_str("the port belongs to neither a network nor a router"),
        }
    }
}

impl std::error::Error for NoPacket {}

impl Packet {
    /// The packet that answers this one: addresses and ports the other way round.
    pub fn answer(&self) -> Packet {
        let icmp = matches!(self.ether_type, IPV4) && self.proto == ICMP;
        Packet {
            eth_src: self.eth_dst,
            eth_dst: self.eth_src,
            src: self.dst,
            dst: self.src,
            src_port: if icmp {
                if self.src_port == ECHO { 0 } else { self.src_port }
            } else {
                self.dst_port
            },
            dst_port: if icmp { self.dst_port } else { self.src_port },
            ttl: DEFAULT_TTL,
            ..*self
        }
    }

    pub(crate) fn v4(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match (self.src, self.dst) {
            (Some(IpAddr::V4(src)), Some(IpAddr::V4(dst))) => Some((src, dst)),
            _ => None,
        }
    }

    pub(crate) fn is_icmp(&self) -> bool {
        self.ether_type == IPV4 && self.proto == ICMP
    }

    /// What stands for the source port in a translation.
    pub(crate) fn source_key(&self) -> u16 {
        if self.is_icmp() { self.icmp_id } else { self.src_port }
    }

    pub(crate) fn destination_key(&self) -> u16 {
        if self.is_icmp() { self.icmp_id } else { self.dst_port }
    }
}
