// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use super::predict::{
    ACTIONS, Chain, DATAPATH_PORT, DESTINATION, ETHERNET_DESTINATION, ETHERNET_SOURCE, EXPECTED, EXTRAS, FIELDS, HEADER, HOST, ICMP, IN_PORT, Memory,
    Numbered, OUT_PORTS, PAIR, PATH, RESULT, Row, SOURCE, TUNNEL, TUNNELLED, UNTRUSTED, as_told, other_side,
};
use super::{FlowFact, Id, MAX_PATH_ENTRIES};
use crate::WireError;
use crate::column::{Dictionary, Numbers, Sections, Writer};

/// Where a port's number comes from.
pub(super) mod port {
    /// The pair's last packet had the same.
    pub(crate) const SAME: u8 = 0;
    /// The last packet of the other direction had it at its other end.
    pub(crate) const ANSWER: u8 = 1;
    /// Below [`EPHEMERAL`]: most are services.
    pub(crate) const LOW: u8 = 2;
    pub(crate) const HIGH: u8 = 3;
    /// Where systems begin to number their own ends.
    pub(crate) const EPHEMERAL: u16 = 16_384;
}

/// Names of the sections, in the order of the wire.
pub(super) const SECTIONS: [&str; 30] = [
    "ids",
    "tunnels",
    "MAC addresses",
    "IP addresses",
    "extras",
    "headers",
    "path lengths",
    "path devices",
    "path device kinds",
    "path rules",
    "path rule flags",
    "out ports",
    "actions",
    "pair sources",
    "pair destinations",
    "received",
    "cookie",
    "pair",
    "unexpected",
    "ports",
    "low ports",
    "high ports",
    "in port",
    "header",
    "host",
    "datapath port",
    "ethernet source",
    "ethernet destination",
    "path",
    "rest",
];

/// The columns and where each of them ends.
pub(crate) fn encode_columns(flows: &[FlowFact]) -> Result<Sections, WireError> {
    let mut encoder = Encoder::default();
    // Paths come first, so that their new ids are numbered in the order in which a reader finds them.
    let paths: Vec<u64> = flows.iter().map(|flow| encoder.paths.number(&flow.path, &mut encoder.ids)).collect();
    flows.iter().zip(paths).for_each(|(flow, path)| encoder.row(flow, path));
    encoder.finish(flows.len())
}

/// What each section of a batch takes, before and after compression on its own: for benchmarks.
pub fn column_bytes(flows: &[FlowFact]) -> Result<Vec<(&'static str, usize, usize)>, WireError> {
    let sections = encode_columns(flows)?;
    let pieces = sections.pieces().skip(1);
    let compressed = |piece: &[u8]| zstd::bulk::compress(piece, crate::batch::ZSTD_LEVEL).map_or(0, |bytes| bytes.len());
    Ok(SECTIONS
        .iter()
        .zip(pieces)
        .map(|(name, piece)| (*name, piece.len(), compressed(piece).min(piece.len())))
        .collect())
}

#[derive(Default)]
struct Encoder {
    ids: Ids,
    tunnels: Values<super::Tunnel>,
    macs: Values<[u8; 6]>,
    addresses: Values<Option<IpAddr>>,
    extras: Shared<super::Extras>,
    headers: Values<[u8; 6]>,
    paths: Paths,
    outs: Shared<[Id]>,
    actions: Shared<[u8]>,
    pairs: HashMap<(u64, u64), u64, Numbered>,
    pair_sources: Numbers,
    pair_destinations: Numbers,
    first_us: i64,
    last_us: Option<i64>,
    cookies: HashMap<u64, u64, Numbered>,
    received: Numbers,
    cookie: Numbers,
    pair: Numbers,
    unexpected: Numbers,
    modes: Writer,
    low_ports: Numbers,
    high_ports: Numbers,
    columns: [Numbers; FIELDS],
    memory: Memory,
}

impl Encoder {
    fn row(&mut self, flow: &FlowFact, path: u64) {
        let last_us = *self.last_us.get_or_insert(flow.received_us);
        if self.received.is_empty() {
            self.first_us = flow.received_us;
        }
        self.received.zigzag(flow.received_us.wrapping_sub(last_us));
        self.last_us = Some(flow.received_us);

        let mut row = self.numbers(flow);
        row[PATH] = path;
        let last_cookie = self.cookies.entry(row[HOST]).or_insert(0);
        self.cookie.zigzag(flow.cookie.wrapping_sub(*last_cookie) as i64);
        *last_cookie = flow.cookie;
        self.pair.push(row[PAIR]);

        let answers = self.pairs.get(&other_side(&row)).copied();
        let mut unexpected = 0;
        for (bit, field) in EXPECTED.into_iter().enumerate() {
            if self.memory.expected(field, &row, answers) != row[field] {
                unexpected |= 1 << bit;
                self.columns[field].push(row[field]);
            }
        }
        self.unexpected.push(unexpected);
        self.ports(flow, &row, answers);
        let first_out = flow.out_ports.first().map_or(0, |id| 1 + self.ids.number(*id));
        self.memory.learn(&row, (flow.tp_src, flow.tp_dst), first_out);
    }

    fn numbers(&mut self, flow: &FlowFact) -> Row {
        let mut row = [0; FIELDS];
        let [high, low] = flow.ether_type.to_be_bytes();
        row[SOURCE] = self.addresses.number(flow.net_src, |block| address(block, flow.net_src));
        row[DESTINATION] = self.addresses.number(flow.net_dst, |block| address(block, flow.net_dst));
        row[TUNNELLED] = u64::from(flow.in_port.is_none());
        let next = self.pairs.len() as u64;
        let destination = row[DESTINATION] << 1 | row[TUNNELLED];
        row[PAIR] = *self.pairs.entry((row[SOURCE], destination)).or_insert(next);
        if row[PAIR] == next {
            self.pair_sources.push(row[SOURCE]);
            self.pair_destinations.push(destination);
        }
        let header = [high, low, flow.proto, flow.tos, flow.ttl, flow.fragment];
        row[HEADER] = self.headers.number(header, |block| block.bytes(&header));
        row[IN_PORT] = flow.in_port.map_or(0, |id| 1 + self.ids.number(id));
        row[HOST] = self.ids.number(flow.host);
        row[DATAPATH_PORT] = flow.dp_in_port.into();
        row[ETHERNET_SOURCE] = self.macs.number(flow.eth_src, |block| block.bytes(&flow.eth_src));
        row[ETHERNET_DESTINATION] = self.macs.number(flow.eth_dst, |block| block.bytes(&flow.eth_dst));
        let ids = &mut self.ids;
        row[OUT_PORTS] = self.outs.number(&flow.out_ports, |block| {
            block.varint(flow.out_ports.len() as u64);
            flow.out_ports.iter().for_each(|id| block.varint(ids.number(*id)));
        });
        row[ACTIONS] = self.actions.number(&flow.actions, |block| {
            block.varint(flow.actions.len() as u64);
            block.bytes(&flow.actions);
        });
        row[RESULT] = flow.sim_result.into();
        row[TUNNEL] = self.tunnels.number(flow.tunnel, |block| {
            block.varint(flow.tunnel.key);
            block.bytes(&flow.tunnel.source.to_be_bytes());
            block.bytes(&flow.tunnel.destination.to_be_bytes());
        });
        row[EXTRAS] = self.extras.number(&flow.extras, |block| {
            block.varint(flow.extras.vlans.len() as u64);
            flow.extras.vlans.iter().for_each(|vlan| block.varint((*vlan).into()));
            block.varint(flow.extras.icmp_data.len() as u64);
            block.bytes(&flow.extras.icmp_data);
        });
        row[UNTRUSTED] = flow.untrusted.into();
        row[ICMP] = flow.icmp_id.into();
        row
    }

    fn ports(&mut self, flow: &FlowFact, row: &Row, answers: Option<u64>) {
        let last = self.memory.ports(row[PAIR]);
        let answered = answers.and_then(|pair| self.memory.ports(pair)).map(|ports| as_told(row, ports));
        let mut mode = |port: u16, last: Option<u16>, answered: Option<u16>| match () {
            () if last == Some(port) => port::SAME,
            () if answered == Some(port) => port::ANSWER,
            () if port < port::EPHEMERAL => {
                self.low_ports.push(port.into());
                port::LOW
            }
            () => {
                self.high_ports.push(port.into());
                port::HIGH
            }
        };
        let source = mode(flow.tp_src, last.map(|last| last.0), answered.map(|other| other.0));
        let destination = mode(flow.tp_dst, last.map(|last| last.1), answered.map(|other| other.1));
        self.modes.byte(source | destination << 2);
    }

    fn finish(self, rows: usize) -> Result<Sections, WireError> {
        if self.paths.entries > MAX_PATH_ENTRIES {
            return Err(WireError::TooLarge {
                what: "paths of a batch",
                size: self.paths.entries,
                limit: MAX_PATH_ENTRIES,
            });
        }
        let mut head = Writer::default();
        head.varint(rows as u64);
        head.zigzag(self.first_us);
        head.varint(self.pairs.len() as u64);
        head.varint(self.paths.dictionary.len());
        let mut out = Sections::default();
        out.head(head);
        out.push(self.ids.block);
        out.values(self.tunnels.dictionary.len(), self.tunnels.block);
        out.values(self.macs.dictionary.len(), self.macs.block);
        out.values(self.addresses.dictionary.len(), self.addresses.block);
        out.values(self.extras.dictionary.len(), self.extras.block);
        out.values(self.headers.dictionary.len(), self.headers.block);
        out.push(self.paths.lengths);
        for column in [self.paths.devices, self.paths.kinds, self.paths.rules, self.paths.flags] {
            out.push(column.finish());
        }
        out.values(self.outs.dictionary.len(), self.outs.block);
        out.values(self.actions.dictionary.len(), self.actions.block);
        for column in [
            self.pair_sources,
            self.pair_destinations,
            self.received,
            self.cookie,
            self.pair,
            self.unexpected,
        ] {
            out.push(column.finish());
        }
        out.push(self.modes);
        out.push(self.low_ports.finish());
        out.push(self.high_ports.finish());
        let mut columns = self.columns;
        let mut take = |field: usize| std::mem::take(&mut columns[field]).finish();
        for field in [IN_PORT, HEADER, HOST, DATAPATH_PORT, ETHERNET_SOURCE, ETHERNET_DESTINATION, PATH] {
            out.push(take(field));
        }
        let mut rest = Writer::default();
        for field in [OUT_PORTS, ACTIONS, RESULT, TUNNEL, EXTRAS, UNTRUSTED, ICMP] {
            rest.block(take(field));
        }
        out.push(rest);
        Ok(out)
    }
}

#[derive(Default)]
struct Ids {
    dictionary: Dictionary<Id>,
    block: Writer,
}

impl Ids {
    fn number(&mut self, id: Id) -> u64 {
        self.find(id).0
    }

    /// The number, and whether it is new.
    fn find(&mut self, id: Id) -> (u64, bool) {
        let (number, new) = self.dictionary.number(id);
        if new {
            self.block.bytes(&id);
        }
        (number, new)
    }
}

/// Distinct values and what is written of them.
struct Values<T> {
    dictionary: Dictionary<T>,
    block: Writer,
}

impl<T: Eq + Hash> Default for Values<T> {
    fn default() -> Self {
        Values {
            dictionary: Dictionary::default(),
            block: Writer::default(),
        }
    }
}

impl<T: Eq + Hash> Values<T> {
    /// The number of a value; `write` appends a new one to the block.
    fn number(&mut self, value: T, write: impl FnOnce(&mut Writer)) -> u64 {
        let (number, new) = self.dictionary.number(value);
        if new {
            write(&mut self.block);
        }
        number
    }
}

/// The same for values that records share: one that was seen at the same place is not looked at again. All records of the batch are alive
/// meanwhile, so no place is used twice.
struct Shared<T: ?Sized> {
    places: HashMap<usize, u64, Numbered>,
    dictionary: Dictionary<Arc<T>>,
    block: Writer,
}

impl<T: Eq + Hash + ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Shared {
            places: HashMap::default(),
            dictionary: Dictionary::default(),
            block: Writer::default(),
        }
    }
}

impl<T: Eq + Hash + ?Sized> Shared<T> {
    fn number(&mut self, value: &Arc<T>, write: impl FnOnce(&mut Writer)) -> u64 {
        let place = Arc::as_ptr(value).cast::<()>() as usize;
        if let Some(number) = self.places.get(&place) {
            return *number;
        }
        let (number, new) = self.dictionary.number(value.clone());
        if new {
            write(&mut self.block);
        }
        self.places.insert(place, number);
        number
    }
}

#[derive(Default)]
struct Paths {
    places: HashMap<usize, u64, Numbered>,
    dictionary: Dictionary<Arc<super::Path>>,
    /// Devices and rules of all paths.
    entries: usize,
    lengths: Writer,
    devices: Numbers,
    kinds: Numbers,
    rules: Numbers,
    flags: Numbers,
    device_chain: Chain,
    kind_chain: Chain,
    rule_chain: Chain,
    flag_chain: Chain,
}

impl Paths {
    fn number(&mut self, path: &Arc<super::Path>, ids: &mut Ids) -> u64 {
        let place = Arc::as_ptr(path) as usize;
        if let Some(number) = self.places.get(&place) {
            return *number;
        }
        let (number, new) = self.dictionary.number(path.clone());
        if new {
            self.write(path, ids);
        }
        self.places.insert(place, number);
        number
    }

    /// Which device and which rule comes next mostly follows from the one before, and their flags from themselves.
    fn write(&mut self, path: &super::Path, ids: &mut Ids) {
        self.entries += path.devices.len() + path.rules.len();
        self.lengths.varint(path.devices.len() as u64);
        self.lengths.varint(path.rules.len() as u64);
        let mut before = [0; 2];
        for device in &path.devices {
            before = chained(ids.find(device.id), before, &mut self.device_chain, &mut self.devices);
            flagged(device.kind, before[1], &mut self.kind_chain, &mut self.kinds);
        }
        for rule in &path.rules {
            before = chained(ids.find(rule.id), before, &mut self.rule_chain, &mut self.rules);
            let flags = rule.result & 0x3f | u8::from(rule.matched) << 6 | u8::from(rule.applied) << 7;
            flagged(flags, before[1], &mut self.flag_chain, &mut self.flags);
        }
    }
}

/// 0 as expected, 1 new, from 2 on the number of a known one.
fn chained((number, new): (u64, bool), before: [u64; 2], chain: &mut Chain, column: &mut Numbers) -> [u64; 2] {
    let as_expected = chain.expected(before) == number + 1;
    column.push(match (as_expected, new) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2 + number,
    });
    chain.learn(before, number);
    [before[1], number + 1]
}

/// 0 as the last time, else one more than the flags.
fn flagged(flags: u8, of: u64, chain: &mut Chain, column: &mut Numbers) {
    let code = u64::from(flags) + 1;
    column.push(if chain.expected([of; 2]) == code { 0 } else { code });
    chain.learn([of; 2], flags.into());
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
