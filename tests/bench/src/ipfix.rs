// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows as IPFIX (RFC 7011), for collectors that know no MidoNet: each host is an observation domain, each virtual port an interface.
//!
//! A record has what these collectors keep: times, addresses, ports, protocol, interfaces, MAC addresses, VLAN, and MidoNet's verdict as the
//! forwarding status of RFC 7270, and
//! as the number of the source's AS, since nfdump 1.7.1 does not keep the status of IPFIX. Records of MidoNet count neither packets nor bytes; they say 1 and 64. Paths of rules and devices,
//! tenants, networks and actions have no place in it.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use midonet::flow::{DeviceKind, SimResult};
use uuid::Uuid;

use crate::cloud::Flow;

const VERSION: u16 = 10;
const MESSAGE_HEADER: usize = 16;
const SET_HEADER: usize = 4;
const TEMPLATE_SET: u16 = 2;
const TEMPLATE_V4: u16 = 256;
const TEMPLATE_V6: u16 = 257;

/// Largest message: what Ethernet carries unfragmented, less the headers of IPv6 and UDP.
pub const MAX_MESSAGE: usize = 1_452;

/// A collector on UDP forgets templates, and may have missed them: said again after so many messages of a domain.
const TEMPLATE_EVERY: u32 = 512;

/// Forwarding status of RFC 7270: the reason is not told.
const FORWARDED: u8 = 64;
const DROPPED: u8 = 128;
const CONSUMED: u8 = 192;

/// What stands for the bytes of a packet, which MidoNet's records don't tell.
const PACKET_BYTES: u64 = 64;

/// Information elements of IANA's registry with their lengths; the addresses come first.
const COMMON: [(u16, u16); 16] = [
    (152, 8), // flowStartMilliseconds
    (153, 8), // flowEndMilliseconds
    (7, 2),   // sourceTransportPort
    (11, 2),  // destinationTransportPort
    (4, 1),   // protocolIdentifier
    (5, 1),   // ipClassOfService
    (10, 4),  // ingressInterface
    (14, 4),  // egressInterface
    (2, 8),   // packetDeltaCount
    (1, 8),   // octetDeltaCount
    (56, 6),  // sourceMacAddress
    (80, 6),  // destinationMacAddress
    (58, 2),  // vlanId
    (256, 2), // ethernetType
    (89, 1),  // forwardingStatus
    (16, 4),  // bgpSourceAsNumber
];
const V4: [(u16, u16); 2] = [(8, 4), (12, 4)];
const V6: [(u16, u16); 2] = [(27, 16), (28, 16)];

/// The exporters of all hosts.
pub struct Exporter<'a> {
    interfaces: &'a HashMap<Uuid, u32>,
    domains: HashMap<Uuid, Domain>,
}

struct Domain {
    id: u32,
    /// Data records sent so far.
    sequence: u32,
    messages: u32,
}

impl<'a> Exporter<'a> {
    /// `interfaces` are the numbers of virtual ports.
    pub fn new(interfaces: &'a HashMap<Uuid, u32>) -> Self {
        Exporter {
            interfaces,
            domains: HashMap::new(),
        }
    }

    /// The messages of flows, which are sent together by their hosts.
    pub fn messages(&mut self, flows: &[Flow], mut send: impl FnMut(&[u8])) {
        let mut by_domain: BTreeMap<(Uuid, bool), Vec<&Flow>> = BTreeMap::new();
        for flow in flows {
            by_domain.entry((flow.record.host, is_v6(flow))).or_default().push(flow);
        }
        for ((host, v6), flows) in by_domain {
            let next = self.domains.len() as u32 + 1;
            let domain = self.domains.entry(host).or_insert(Domain {
                id: next,
                sequence: 0,
                messages: 0,
            });
            let mut left = flows.as_slice();
            while !left.is_empty() {
                let mut message = begin(domain, left[0].at_us);
                let room = (MAX_MESSAGE - message.len() - SET_HEADER) / length(v6);
                let (now, later) = left.split_at(room.min(left.len()));
                left = later;
                let start = message.len();
                put(&mut message, if v6 { TEMPLATE_V6 } else { TEMPLATE_V4 });
                put(&mut message, (SET_HEADER + now.len() * length(v6)) as u16);
                now.iter().for_each(|flow| record(&mut message, flow, v6, self.interfaces));
                debug_assert_eq!(message.len() - start, SET_HEADER + now.len() * length(v6));
                let size = (message.len() as u16).to_be_bytes();
                message[2..4].copy_from_slice(&size);
                domain.sequence = domain.sequence.wrapping_add(now.len() as u32);
                send(&message);
            }
        }
    }
}

/// The verdict, as the collector tells it.
pub fn status(flow: &Flow) -> u8 {
    let record = &flow.record;
    match record.sim_result {
        SimResult::NoOp => CONSUMED,
        SimResult::GeneratedPacket => FORWARDED,
        _ if record.actions.is_empty() => DROPPED,
        _ => FORWARDED,
    }
}

fn is_v6(flow: &Flow) -> bool {
    matches!(flow.record.src, Some(IpAddr::V6(_))) || matches!(flow.record.dst, Some(IpAddr::V6(_)))
}

fn fields(v6: bool) -> impl Iterator<Item = (u16, u16)> {
    if v6 { V6 } else { V4 }.into_iter().chain(COMMON)
}

fn length(v6: bool) -> usize {
    fields(v6).map(|(_, length)| usize::from(length)).sum()
}

/// Header, and the templates when they are due.
fn begin(domain: &mut Domain, at_us: i64) -> Vec<u8> {
    let mut message = Vec::with_capacity(MAX_MESSAGE);
    put(&mut message, VERSION);
    put(&mut message, 0);
    message.extend(((at_us / 1_000_000) as u32).to_be_bytes());
    message.extend(domain.sequence.to_be_bytes());
    message.extend(domain.id.to_be_bytes());
    debug_assert_eq!(message.len(), MESSAGE_HEADER);
    if domain.messages.is_multiple_of(TEMPLATE_EVERY) {
        let both = [(TEMPLATE_V4, false), (TEMPLATE_V6, true)];
        let bytes: usize = both.iter().map(|(_, v6)| 4 + 4 * fields(*v6).count()).sum();
        put(&mut message, TEMPLATE_SET);
        put(&mut message, (SET_HEADER + bytes) as u16);
        for (id, v6) in both {
            put(&mut message, id);
            put(&mut message, fields(v6).count() as u16);
            for (element, length) in fields(v6) {
                put(&mut message, element);
                put(&mut message, length);
            }
        }
    }
    domain.messages = domain.messages.wrapping_add(1);
    message
}

fn record(message: &mut Vec<u8>, flow: &Flow, v6: bool, interfaces: &HashMap<Uuid, u32>) {
    let record = &flow.record;
    for address in [record.src, record.dst] {
        match (v6, address) {
            (false, Some(IpAddr::V4(address))) => message.extend(address.octets()),
            (false, _) => message.extend(Ipv4Addr::UNSPECIFIED.octets()),
            (true, Some(IpAddr::V6(address))) => message.extend(address.octets()),
            (true, Some(IpAddr::V4(address))) => message.extend(address.to_ipv6_mapped().octets()),
            (true, None) => message.extend(Ipv6Addr::UNSPECIFIED.octets()),
        }
    }
    let number = |port: Option<&Uuid>| port.and_then(|port| interfaces.get(port)).copied().unwrap_or(0);
    let ms = ((flow.at_us / 1_000) as u64).to_be_bytes();
    message.extend(ms);
    message.extend(ms);
    put(message, record.src_port);
    put(message, record.dst_port);
    message.push(record.proto);
    message.push(record.tos);
    message.extend(number(ingress(flow).as_ref()).to_be_bytes());
    message.extend(number(record.out_ports.first()).to_be_bytes());
    message.extend(1u64.to_be_bytes());
    message.extend(PACKET_BYTES.to_be_bytes());
    message.extend(record.eth_src.map_or([0; 6], |mac| mac.0));
    message.extend(record.eth_dst.map_or([0; 6], |mac| mac.0));
    put(message, record.vlan_ids.first().copied().unwrap_or(0));
    put(message, record.ether_type);
    message.push(status(flow));
    message.extend(u32::from(status(flow)).to_be_bytes());
}

/// The port of the ingress where the agent means it, as the collector believes it: at the far end of a tunnel, and of packets that an agent
/// made, it is left from another packet.
pub fn ingress(flow: &Flow) -> Option<Uuid> {
    let record = &flow.record;
    let transit = record.tunnel_key != 0 && record.devices.is_empty();
    let port = record.in_port?;
    let in_path = record.devices.is_empty() || record.devices.iter().any(|device| device.kind == DeviceKind::Port && device.id == port);
    (in_path && !transit && record.dp_port != 0 && record.sim_result != SimResult::GeneratedPacket).then_some(port)
}

fn put(message: &mut Vec<u8>, value: u16) {
    message.extend(value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use insights_cloudsim::size::Size;

    use super::*;
    use crate::cloud::Cloud;

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_be_bytes([bytes[at], bytes[at + 1]])
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    /// Reads messages as RFC 7011 says, with nothing known but the templates in them: (element, bytes) of each record.
    fn read(messages: &[Vec<u8>]) -> Vec<Vec<(u16, Vec<u8>)>> {
        let mut templates: HashMap<(u32, u16), Vec<(u16, u16)>> = HashMap::new();
        let mut sequences: HashMap<u32, u32> = HashMap::new();
        let mut records = Vec::new();
        for message in messages {
            assert_eq!((u16_at(message, 0), usize::from(u16_at(message, 2))), (VERSION, message.len()));
            assert!(message.len() <= MAX_MESSAGE);
            let domain = u32_at(message, 12);
            assert_eq!(u32_at(message, 8), *sequences.entry(domain).or_default(), "records of a domain before");
            let mut at = MESSAGE_HEADER;
            while at < message.len() {
                let (set, end) = (u16_at(message, at), at + usize::from(u16_at(message, at + 2)));
                at += SET_HEADER;
                while at < end {
                    if set == TEMPLATE_SET {
                        let (id, count) = (u16_at(message, at), usize::from(u16_at(message, at + 2)));
                        let field = |number: usize| (u16_at(message, at + 4 + 4 * number), u16_at(message, at + 6 + 4 * number));
                        templates.insert((domain, id), (0..count).map(field).collect());
                        at += 4 + 4 * count;
                    } else {
                        let mut record = Vec::new();
                        for (element, length) in &templates[&(domain, set)] {
                            record.push((*element, message[at..at + usize::from(*length)].to_vec()));
                            at += usize::from(*length);
                        }
                        records.push(record);
                        *sequences.get_mut(&domain).unwrap() += 1;
                    }
                }
                assert_eq!(at, end, "a set ends with a record");
            }
        }
        records
    }

    #[test]
    fn what_is_exported_reads_back() {
        let cloud = Cloud::build(Size::SMALL, 1);
        let mut flows = cloud.flows(1, 3_000, 1_790_000_000_000_000, 1_790_000_060_000_000);
        let flows = flows.next_chunk().unwrap();
        let mut exporter = Exporter::new(&cloud.interfaces);
        let mut messages = Vec::new();
        exporter.messages(&flows, |message| messages.push(message.to_vec()));
        let read = read(&messages);
        assert_eq!(read.len(), flows.len());
        // Hosts send on their own, so the order is another one.
        let key = |number: u64, ports: (u16, u16), status: u8, interface: u32| (number, ports, status, interface);
        let mut sent: Vec<_> = flows
            .iter()
            .map(|flow| {
                let interface = ingress(flow).and_then(|port| cloud.interfaces.get(&port)).copied().unwrap_or(0);
                key(
                    (flow.at_us / 1_000) as u64,
                    (flow.record.src_port, flow.record.dst_port),
                    status(flow),
                    interface,
                )
            })
            .collect();
        let mut got: Vec<_> = read
            .iter()
            .map(|record| {
                let bytes = |wanted: u16| {
                    let found = record.iter().find(|(element, _)| *element == wanted).unwrap();
                    found.1.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
                };
                assert_eq!(bytes(152), bytes(153));
                key(bytes(152), (bytes(7) as u16, bytes(11) as u16), bytes(89) as u8, bytes(10) as u32)
            })
            .collect();
        sent.sort_unstable();
        got.sort_unstable();
        assert_eq!(sent, got);
        assert!(sent.iter().any(|flow| flow.2 == DROPPED) && sent.iter().any(|flow| flow.2 == FORWARDED));
    }
}
