// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow records as columns.
//!
//! A record repeats what others of its batch have: hosts, ports, addresses, and above all the path (devices and rules). Each of these is
//! written once per batch and numbered; a row holds numbers and small differences. zstd takes care of the rest.

use std::net::IpAddr;
use std::sync::Arc;

use crate::WireError;
use crate::column::{Dictionary, Reader, Writer};

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

/// Named columns of the rows, in the order of the wire.
const COLUMNS: [&str; 20] = [
    "received",
    "host",
    "cookie",
    "result",
    "in port",
    "datapath port",
    "tunnel",
    "ethernet source",
    "ethernet destination",
    "ether type",
    "source",
    "destination",
    "protocol and flags",
    "source port",
    "destination port",
    "icmp id",
    "extras",
    "path",
    "out ports",
    "actions",
];

pub(crate) fn encode_columns(flows: &[FlowFact]) -> Result<Vec<u8>, WireError> {
    let mut ids = IdBlock::new();
    let mut tunnels = (Dictionary::new(), Writer::default());
    let mut macs = (Dictionary::new(), Writer::default());
    let mut addresses = (Dictionary::new(), Writer::default());
    let mut extras = (Dictionary::new(), Writer::default());
    let mut paths = (Dictionary::new(), Writer::default());
    let mut outs = (Dictionary::new(), Writer::default());
    let mut actions = (Dictionary::new(), Writer::default());
    let mut columns: [Writer; COLUMNS.len()] = Default::default();
    let mut untrusted = Writer::default();
    let mut path_entries = 0;
    let mut last_time = 0;
    let mut last_cookies = std::collections::HashMap::new();

    for flow in flows {
        let [
            c_time,
            c_host,
            c_cookie,
            c_result,
            c_in,
            c_dp,
            c_tunnel,
            c_smac,
            c_dmac,
            c_type,
            c_src,
            c_dst,
            c_small,
            c_sport,
            c_dport,
            c_icmp,
            c_extras,
            c_path,
            c_outs,
            c_actions,
        ] = &mut columns;
        c_time.zigzag(flow.received_us.wrapping_sub(last_time));
        last_time = flow.received_us;
        c_host.varint(ids.number(flow.host));
        let last_cookie = last_cookies.entry(flow.host).or_insert(0u64);
        c_cookie.zigzag(flow.cookie.wrapping_sub(*last_cookie) as i64);
        *last_cookie = flow.cookie;
        c_result.byte(flow.sim_result);
        c_in.varint(flow.in_port.map_or(0, |id| 1 + ids.number(id)));
        c_dp.varint(flow.dp_in_port.into());
        c_tunnel.varint(entry(&mut tunnels, flow.tunnel, |block| {
            block.varint(flow.tunnel.key);
            block.bytes(&flow.tunnel.source.to_be_bytes());
            block.bytes(&flow.tunnel.destination.to_be_bytes());
        }));
        c_smac.varint(entry(&mut macs, flow.eth_src, |block| block.bytes(&flow.eth_src)));
        c_dmac.varint(entry(&mut macs, flow.eth_dst, |block| block.bytes(&flow.eth_dst)));
        c_type.varint(flow.ether_type.into());
        c_src.varint(entry(&mut addresses, flow.net_src, |block| address(block, flow.net_src)));
        c_dst.varint(entry(&mut addresses, flow.net_dst, |block| address(block, flow.net_dst)));
        c_small.bytes(&[flow.proto, flow.tos, flow.ttl, flow.fragment]);
        c_sport.bytes(&flow.tp_src.to_be_bytes());
        c_dport.bytes(&flow.tp_dst.to_be_bytes());
        c_icmp.varint(flow.icmp_id.into());
        c_extras.varint(entry(&mut extras, &*flow.extras, |block| {
            block.varint(flow.extras.vlans.len() as u64);
            flow.extras.vlans.iter().for_each(|vlan| block.varint((*vlan).into()));
            block.varint(flow.extras.icmp_data.len() as u64);
            block.bytes(&flow.extras.icmp_data);
        }));
        c_path.varint(entry(&mut paths, &*flow.path, |block| {
            path_entries += flow.path.devices.len() + flow.path.rules.len();
            block.varint(flow.path.devices.len() as u64);
            for device in &flow.path.devices {
                block.varint(ids.number(device.id));
                block.byte(device.kind);
            }
            block.varint(flow.path.rules.len() as u64);
            for rule in &flow.path.rules {
                block.varint(ids.number(rule.id));
                block.byte(rule.result & 0x3f | u8::from(rule.matched) << 6 | u8::from(rule.applied) << 7);
            }
        }));
        c_outs.varint(entry(&mut outs, &*flow.out_ports, |block| {
            block.varint(flow.out_ports.len() as u64);
            flow.out_ports.iter().for_each(|id| block.varint(ids.number(*id)));
        }));
        c_actions.varint(entry(&mut actions, &*flow.actions, |block| {
            block.varint(flow.actions.len() as u64);
            block.bytes(&flow.actions);
        }));
        untrusted.varint(flow.untrusted.into());
    }
    if path_entries > MAX_PATH_ENTRIES {
        return Err(WireError::TooLarge {
            what: "paths of a batch",
            size: path_entries,
            limit: MAX_PATH_ENTRIES,
        });
    }

    let mut out = Writer::default();
    out.varint(flows.len() as u64);
    out.block(ids.block);
    for (count, block) in [
        (tunnels.0.len(), tunnels.1),
        (macs.0.len(), macs.1),
        (addresses.0.len(), addresses.1),
        (extras.0.len(), extras.1),
        (paths.0.len(), paths.1),
        (outs.0.len(), outs.1),
        (actions.0.len(), actions.1),
    ] {
        out.varint(count);
        out.block(block);
    }
    columns.into_iter().chain([untrusted]).for_each(|column| out.block(column));
    Ok(out.finish())
}

pub(crate) fn decode_columns(bytes: &[u8]) -> Result<Vec<FlowFact>, WireError> {
    let mut all = Reader::new("flow batch", bytes);
    let rows: usize = all.narrow("row count")?;
    if rows > crate::batch::MAX_RECORDS {
        return Err(WireError::TooLarge {
            what: "rows of a flow batch",
            size: rows,
            limit: crate::batch::MAX_RECORDS,
        });
    }
    let mut id_block = all.block("ids")?;
    let mut ids: Vec<Id> = Vec::with_capacity(id_block.left() / 16);
    while id_block.left() > 0 {
        ids.push(id_block.array()?);
    }
    let id_at = |number: u64| {
        ids.get(number as usize).copied().ok_or(WireError::Invalid {
            what: "flow batch",
            field: "id number",
        })
    };

    let tunnels = dictionary(&mut all, "tunnels", |block| {
        Ok(Tunnel {
            key: block.varint()?,
            source: u32::from_be_bytes(block.array()?),
            destination: u32::from_be_bytes(block.array()?),
        })
    })?;
    let macs = dictionary(&mut all, "MAC addresses", Reader::array::<6>)?;
    let addresses = dictionary(&mut all, "IP addresses", read_address)?;
    let extras = dictionary(&mut all, "extras", |block| {
        let vlans = (0..block.count()?).map(|_| block.narrow("VLAN")).collect::<Result<_, _>>()?;
        let length = block.count()?;
        Ok(Arc::new(Extras {
            vlans,
            icmp_data: block.take(length)?.to_vec(),
        }))
    })?;
    let mut path_entries = 0;
    let paths = dictionary(&mut all, "paths", |block| {
        let mut path = Path::default();
        let mut claim = |count: usize| {
            path_entries += count;
            if path_entries > MAX_PATH_ENTRIES {
                return Err(WireError::TooLarge {
                    what: "paths of a batch",
                    size: path_entries,
                    limit: MAX_PATH_ENTRIES,
                });
            }
            Ok(count)
        };
        for _ in 0..claim(block.count()?)? {
            path.devices.push(Device {
                id: id_at(block.varint()?)?,
                kind: block.byte()?,
            });
        }
        for _ in 0..claim(block.count()?)? {
            let id = id_at(block.varint()?)?;
            let flags = block.byte()?;
            path.rules.push(Rule {
                id,
                result: flags & 0x3f,
                matched: flags & 0x40 != 0,
                applied: flags & 0x80 != 0,
            });
        }
        Ok(Arc::new(path))
    })?;
    let mut out_entries = 0;
    let outs = dictionary(&mut all, "out ports", |block| {
        let count = block.count()?;
        out_entries += count;
        if out_entries > MAX_PATH_ENTRIES {
            return Err(WireError::TooLarge {
                what: "out ports of a batch",
                size: out_entries,
                limit: MAX_PATH_ENTRIES,
            });
        }
        (0..count).map(|_| id_at(block.varint()?)).collect::<Result<Arc<[Id]>, _>>()
    })?;
    let actions = dictionary(&mut all, "actions", |block| {
        let length = block.count()?;
        block.take(length).map(Arc::<[u8]>::from)
    })?;

    let mut columns = Vec::with_capacity(COLUMNS.len());
    for name in COLUMNS {
        columns.push(all.block(name)?);
    }
    let mut untrusted = all.block("untrusted")?;
    all.finish()?;
    let Ok(mut columns) = <[Reader<'_>; COLUMNS.len()]>::try_from(columns) else {
        return Err(WireError::Invalid {
            what: "flow batch",
            field: "columns",
        });
    };

    // Every row takes at least one byte of the first column, so the vector can't be larger than the bytes that came.
    if rows > columns[0].left() {
        return Err(WireError::Invalid {
            what: "flow batch",
            field: "row count",
        });
    }
    let mut flows = Vec::with_capacity(rows);
    let mut last_time = 0i64;
    let mut last_cookies = std::collections::HashMap::new();
    for _ in 0..rows {
        let [
            c_time,
            c_host,
            c_cookie,
            c_result,
            c_in,
            c_dp,
            c_tunnel,
            c_smac,
            c_dmac,
            c_type,
            c_src,
            c_dst,
            c_small,
            c_sport,
            c_dport,
            c_icmp,
            c_extras,
            c_path,
            c_outs,
            c_actions,
        ] = &mut columns;
        last_time = last_time.wrapping_add(c_time.zigzag()?);
        let host = id_at(c_host.varint()?)?;
        let cookie = last_cookies.entry(host).or_insert(0u64);
        *cookie = cookie.wrapping_add(c_cookie.zigzag()? as u64);
        let [proto, tos, ttl, fragment] = c_small.array()?;
        flows.push(FlowFact {
            received_us: last_time,
            host,
            cookie: *cookie,
            sim_result: c_result.byte()?,
            in_port: c_in.varint()?.checked_sub(1).map(id_at).transpose()?,
            dp_in_port: c_dp.narrow("datapath port")?,
            tunnel: pick(&tunnels, c_tunnel)?,
            eth_src: pick(&macs, c_smac)?,
            eth_dst: pick(&macs, c_dmac)?,
            ether_type: c_type.narrow("ether type")?,
            net_src: pick(&addresses, c_src)?,
            net_dst: pick(&addresses, c_dst)?,
            proto,
            tos,
            ttl,
            fragment,
            tp_src: u16::from_be_bytes(c_sport.array()?),
            tp_dst: u16::from_be_bytes(c_dport.array()?),
            icmp_id: c_icmp.narrow("icmp id")?,
            extras: pick(&extras, c_extras)?,
            path: pick(&paths, c_path)?,
            out_ports: pick(&outs, c_outs)?,
            actions: pick(&actions, c_actions)?,
            untrusted: untrusted.narrow("untrusted flags")?,
        });
    }
    columns.into_iter().chain([untrusted]).try_for_each(Reader::finish)?;
    Ok(flows)
}

struct IdBlock {
    dictionary: Dictionary<Id>,
    block: Writer,
}

impl IdBlock {
    fn new() -> Self {
        IdBlock {
            dictionary: Dictionary::new(),
            block: Writer::default(),
        }
    }

    fn number(&mut self, id: Id) -> u64 {
        let (number, new) = self.dictionary.number(id);
        if new {
            self.block.bytes(&id);
        }
        number
    }
}

/// The number of a value in its dictionary; `write` appends a new one to the block.
fn entry<T: Eq + std::hash::Hash>((dictionary, block): &mut (Dictionary<T>, Writer), value: T, write: impl FnOnce(&mut Writer)) -> u64 {
    let (number, new) = dictionary.number(value);
    if new {
        write(block);
    }
    number
}

fn dictionary<'a, T>(
    all: &mut Reader<'a>,
    what: &'static str,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = all.varint()?;
    let mut block = all.block(what)?;
    // Every entry takes at least one byte.
    if count > block.left() as u64 {
        return Err(block.invalid("count"));
    }
    let values = (0..count).map(|_| read(&mut block)).collect::<Result<Vec<_>, _>>()?;
    block.finish()?;
    Ok(values)
}

fn pick<T: Clone>(dictionary: &[T], column: &mut Reader<'_>) -> Result<T, WireError> {
    let number: usize = column.narrow("number")?;
    dictionary.get(number).cloned().ok_or(column.invalid("number"))
}

fn address(block: &mut Writer, address: Option<IpAddr>) {
    match address {
        None => block.byte(0),
        Some(IpAddr::V4(v4)) => {
            block.byte(4);
            block.bytes(&v4.octets());
        }
        Some(IpAddr::V6(v6)) => {
            block.byte(6);
            block.bytes(&v6.octets());
        }
    }
}

fn read_address(block: &mut Reader<'_>) -> Result<Option<IpAddr>, WireError> {
    match block.byte()? {
        0 => Ok(None),
        4 => Ok(Some(block.array::<4>()?.into())),
        6 => Ok(Some(block.array::<16>()?.into())),
        _ => Err(block.invalid("address family")),
    }
}
