// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow records, and their form on the wire: columns.
//!
//! A batch stands for itself, so that it can be dropped, sent again, and read by a collector that knows nothing of the others. Three things
//! make it small:
//! - what records repeat (hosts, ports, addresses, paths, actions) is written once and numbered in the order of first occurrence;
//! - most numbers of a record follow from others of it: the host from the port, the path from the pair of addresses. A row says only
//!   which ones are other than those of the last record that it would follow from ([`predict`]);
//! - numbers stand as planes of bytes, lowest first, and large columns are compressed each on its own, so that each gets its own code.

use std::net::IpAddr;
use std::sync::Arc;

mod decode;
mod encode;
pub(crate) mod predict;
mod stream;

pub(crate) use decode::decode_columns;
pub use encode::column_bytes;
pub(crate) use encode::encode_columns;
pub(crate) use stream::{FlowReader, FlowWriter};

/// A UUID, big-endian; all zero where there is none.
pub type Id = [u8; 16];

/// Devices and rules that the distinct paths of one batch may hold together: 24 MiB decoded. The largest record that MidoNet can make
/// (200 KiB) has about 11,000.
pub const MAX_PATH_ENTRIES: usize = 1 << 20;

/// What an agent said about one packet that it simulated, as it was received. Field meanings and values are MidoNet's
/// (`flowhistory.schema.xml`); `untrusted` says which of them hold bytes of another record.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowFact {
    /// When the gateway read it, µs since the epoch; records have no time of their own.
    pub received_us: i64,
    pub host: Id,
    /// Counter of the agent's worker; with the host it identifies a simulation until the agent restarts.
    pub cookie: u64,
    /// SimulationResult code.
    pub sim_result: u8,
    /// Virtual port that the packet came in by.
    pub in_port: Option<Id>,
    /// Datapath port number that the packet came in by; 0 for packets that the agent made.
    pub dp_in_port: u32,
    pub tunnel: Tunnel,
    pub eth_src: [u8; 6],
    pub eth_dst: [u8; 6],
    pub ether_type: u16,
    pub net_src: Option<IpAddr>,
    pub net_dst: Option<IpAddr>,
    /// IP protocol; for ARP its operation.
    pub proto: u8,
    pub tos: u8,
    pub ttl: u8,
    /// 0 unknown, 1 not a fragment, 2 first, 3 later.
    pub fragment: u8,
    /// TCP or UDP port; ICMP type.
    pub tp_src: u16,
    /// TCP or UDP port; ICMP code.
    pub tp_dst: u16,
    pub icmp_id: u16,
    pub extras: Arc<Extras>,
    pub path: Arc<Path>,
    /// Exterior ports that the packet leaves by.
    pub out_ports: Arc<[Id]>,
    /// Actions in MidoNet's binary form, count byte included; an empty list means dropped.
    pub actions: Arc<[u8]>,
    /// Bits of `midonet::flow::Untrusted`.
    pub untrusted: u16,
}

/// Outer header of a packet that came from an overlay tunnel; all zero otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tunnel {
    pub key: u64,
    pub source: u32,
    pub destination: u32,
}

/// What few records have.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Extras {
    /// VLAN ids, outermost first.
    pub vlans: Vec<u16>,
    /// Embedded data of an ICMP error.
    pub icmp_data: Vec<u8>,
}

/// The way of a packet through the virtual topology, in order.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Path {
    pub devices: Vec<Device>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Device {
    pub id: Id,
    /// DeviceType code.
    pub kind: u8,
}

/// A rule that was evaluated.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rule {
    pub id: Id,
    /// RuleResult code, at most 63 on the wire.
    pub result: u8,
    pub matched: bool,
    pub applied: bool,
}
