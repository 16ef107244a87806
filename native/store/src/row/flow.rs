// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PathId;

/// One flow record of an agent, joined with what the topology said at its time.
///
/// The match (`*_mac`, `*_ip`, `*_tp`, …) is the packet as it entered, before address translation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowRow {
    /// Receipt at the gateway, µs since the epoch, from 0 up to and without [`FlowRow::END_OF_TIME_US`].
    pub time_us: i64,
    /// MidoNet host id of the gateway's machine.
    pub gateway: Uuid,
    /// Host whose agent made the record.
    pub host: Uuid,
    /// MidoNet's code of the simulation result (1 NoOp … 10 GeneratedPacket).
    pub sim_result: u8,
    pub verdict: Verdict,
    /// Seen again at the far end of an overlay tunnel; leave it out to count a flow once.
    pub transit: bool,
    /// Bits of the fields that the agent may have left from an earlier record.
    pub untrusted: u16,
    pub cookie: u64,
    /// Datapath port number of the ingress; 0 for packets that the agent made.
    pub dp_port: u32,
    /// Virtual port of the ingress, where it can be trusted.
    pub in_port: Option<Uuid>,
    /// Virtual ports of the two ends.
    pub src_port: Option<Uuid>,
    pub dst_port: Option<Uuid>,
    /// Tenant ids are texts in OpenStack.
    pub src_tenant: Option<Arc<str>>,
    pub dst_tenant: Option<Arc<str>>,
    pub src_network: Option<Uuid>,
    pub dst_network: Option<Uuid>,
    pub src_mac: Option<Mac>,
    pub dst_mac: Option<Mac>,
    pub ether_type: u16,
    /// Outermost first; at most [`FlowRow::MAX_VLANS`].
    pub vlans: Vec<u16>,
    /// An IPv6 address that maps an IPv4 one reads back as that IPv4 address.
    pub src_ip: Option<IpAddr>,
    pub dst_ip: Option<IpAddr>,
    /// IP protocol; for ARP the opcode.
    pub proto: u8,
    pub tos: u8,
    pub ttl: u8,
    /// Transport ports; for ICMP type and code.
    pub src_tp: u16,
    pub dst_tp: u16,
    pub icmp_id: u16,
    /// What an ICMP error message carried.
    pub icmp_data: Vec<u8>,
    /// 0: not from a tunnel.
    pub tunnel_key: u64,
    /// Underlay IPv4 addresses as numbers, 0 without a tunnel.
    pub tunnel_src: u32,
    pub tunnel_dst: u32,
    /// The rule that decided.
    pub rule: Option<Uuid>,
    /// Devices and rules on the way; see [`super::Path::id`].
    pub path: Option<PathId>,
    /// Exterior virtual ports that the packet leaves by.
    pub out_ports: Vec<Uuid>,
    /// MidoNet's own coding of the actions.
    pub actions: Vec<u8>,
}

impl FlowRow {
    /// 2100-01-01: a time beyond it is a mistake, and room is left for arithmetic.
    pub const END_OF_TIME_US: i64 = 4_102_444_800_000_000;
    /// Transport ports from here on are taken by clients for one connection (Linux draws them from 32768 on). Roll-ups don't keep them.
    pub const EPHEMERAL: u16 = 32_768;
    /// Days that the rows of a batch may lie on, counted by UTC midnights. A batch is seconds long, or what an outage of weeks left over.
    pub const MAX_BATCH_DAYS: usize = 64;
    /// More tags than any real frame carries; the rest of a longer list is an error of its writer.
    pub const MAX_VLANS: usize = 64;
    /// As many as one record of an agent can hold (204,800 bytes) at 16 bytes each.
    pub const MAX_OUT_PORTS: usize = 12_800;
    /// Longest actions and ICMP data: the longest record of an agent.
    pub const MAX_BLOB_BYTES: usize = 204_800;
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Verdict {
    Allowed = 1,
    Dropped = 2,
    /// Ended in the virtual network itself: DHCP, ARP for a router, and the like.
    Consumed = 3,
}

impl Verdict {
    pub const ALL: [Verdict; 3] = [Verdict::Allowed, Verdict::Dropped, Verdict::Consumed];

    pub fn name(self) -> &'static str {
        match self {
            Verdict::Allowed => "allowed",
            Verdict::Dropped => "dropped",
            Verdict::Consumed => "consumed",
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| *verdict as u8 == number)
    }
}

/// An Ethernet address in transmission order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub(crate) fn number(self) -> i64 {
        let [a, b, c, d, e, f] = self.0;
        i64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    pub(crate) fn from_number(number: i64) -> Self {
        let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Identity of a stored flow within its site, and its place in the order newest first: time, then row.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FlowId {
    pub time_us: i64,
    /// Given by the store, unique in it, growing.
    pub row: u64,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time_us, self.row)
    }
}

/// The text is no flow id, which looks like `1750000000000000-42`.
#[derive(Debug, thiserror::Error)]
#[error("a flow id is two numbers with a dash between")]
pub struct BadFlowId;

impl FromStr for FlowId {
    type Err = BadFlowId;

    fn from_str(text: &str) -> Result<Self, BadFlowId> {
        let (time, row) = text.rsplit_once('-').ok_or(BadFlowId)?;
        Ok(Self {
            time_us: time.parse().map_err(|_| BadFlowId)?,
            row: row.parse().map_err(|_| BadFlowId)?,
        })
    }
}
