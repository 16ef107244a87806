// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::{HashMap, hash_map::Entry};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use super::actions::{self, Asks, Given, Packet};
use super::coder::{Coder, Writer};
use super::dictionary::{Dictionaries, Dictionary, Keeper};
use super::expected::{Expected, Seen};
use super::fields::*;
use super::keys::{Way, action_keys, out_keys};
use super::links::{Link, packet_of};
use super::literals::{address, bytes, count, header, id, is_icmp, mac, port, tunnel};
use super::model::{Model, Side, set};
use crate::WireError;
use crate::flow::predict::Numbered;
use crate::flow::{Extras, FlowFact, Id, Path, Tunnel};

/// Writes the batches of one stream.
#[derive(Default)]
pub(crate) struct FlowWriter {
    model: Model,
    known: Known,
}

impl FlowWriter {
    /// One that keeps so many bytes of values.
    pub(crate) fn of(max_live: usize) -> FlowWriter {
        let mut all = FlowWriter::default();
        all.model.max_live = max_live;
        all
    }

    /// The bytes of the next batch.
    pub(crate) fn write(&mut self, flows: &[FlowFact]) -> Result<Vec<u8>, WireError> {
        let mut coder = Writer::new(flows.len() * 12 + 64);
        self.known.forget_places();
        for flow in flows {
            let mut shape = std::mem::take(&mut self.known.shape);
            let packet = packet(flow);
            let given = actions::fold(&flow.actions, &packet, &mut shape);
            self.known.shape = shape;
            let mut telling = Telling {
                known: &mut self.known,
                flow,
                given,
                addresses: None,
                current: Current::None,
            };
            self.model.row(&mut coder, &mut telling)?;
        }
        if !self.model.end_batch(&mut self.known) {
            *self = FlowWriter::of(self.model.max_live);
        }
        Ok(coder.finish())
    }
}

pub(super) fn packet(flow: &FlowFact) -> Packet {
    let v4 = |address: Option<IpAddr>| match address {
        Some(IpAddr::V4(v4)) => Some(v4.octets()),
        _ => None,
    };
    Packet {
        addresses: [v4(flow.net_src), v4(flow.net_dst)],
        ports: [flow.tp_src, flow.tp_dst],
    }
}

#[derive(Default)]
struct Known {
    hosts: Numbering<Id>,
    ports: Numbering<Option<Id>>,
    tunnels: Numbering<Tunnel>,
    addresses: Numbering<Option<IpAddr>>,
    headers: Numbering<[u8; 6]>,
    icmp: Vec<bool>,
    macs: Numbering<[u8; 6]>,
    outs: Shared<[Id]>,
    paths: Shared<Path>,
    extras: Shared<Extras>,
    shapes: Numbering<Box<[u8]>>,
    asks: Vec<Asks>,
    frames: Numbering<Frame>,
    ids: Numbering<Id>,
    actions: Numbering<Box<[u8]>>,
    /// Shape of the row that is written.
    shape: Vec<u8>,
    expected: Expected,
}

impl Known {
    fn forget_places(&mut self) {
        self.outs.places.clear();
        self.paths.places.clear();
        self.extras.places.clear();
    }
}

impl Keeper for Known {
    fn parts(&self, tell: &mut dyn FnMut(usize, u32, usize, u32)) {
        for (path, number) in &self.paths.numbers.map {
            let ids = path.devices.iter().map(|device| device.id).chain(path.rules.iter().map(|rule| rule.id));
            ids.filter_map(|id| self.ids.find(&id))
                .for_each(|id| tell(of::PATHS, *number, of::IDS, id));
        }
        for (shape, number) in &self.shapes.map {
            let parts = actions::parts(shape).into_iter();
            let actions = parts.filter_map(|part| self.actions.map.get(&shape[part]));
            actions.for_each(|action| tell(of::SHAPES, *number, of::ACTIONS, *action));
        }
    }

    fn forget(&mut self, dictionaries: &Dictionaries) {
        self.hosts.forget(&dictionaries[of::HOSTS]);
        self.ports.forget(&dictionaries[of::PORTS]);
        self.tunnels.forget(&dictionaries[of::TUNNELS]);
        self.addresses.forget(&dictionaries[of::ADDRESSES]);
        self.headers.forget(&dictionaries[of::HEADERS]);
        self.icmp.truncate(dictionaries[of::HEADERS].len());
        self.macs.forget(&dictionaries[of::MACS]);
        self.outs.numbers.forget(&dictionaries[of::OUTS]);
        self.paths.numbers.forget(&dictionaries[of::PATHS]);
        self.extras.numbers.forget(&dictionaries[of::EXTRAS]);
        self.shapes.forget(&dictionaries[of::SHAPES]);
        self.asks.truncate(dictionaries[of::SHAPES].len());
        self.frames.forget(&dictionaries[of::FRAMES]);
        self.ids.forget(&dictionaries[of::IDS]);
        self.actions.forget(&dictionaries[of::ACTIONS]);
    }
}

/// The numbers of values. One that is new here gets the number that [`Dictionary`] gives it when it is coded: in the same order.
struct Numbering<T> {
    map: HashMap<T, u32, Numbered>,
    free: Vec<u32>,
    next: u32,
}

impl<T> Default for Numbering<T> {
    fn default() -> Self {
        Numbering {
            map: HashMap::default(),
            free: Vec::new(),
            next: 0,
        }
    }
}

impl<T: Eq + Hash> Numbering<T> {
    #[inline]
    fn number(&mut self, value: T) -> u32 {
        match self.map.entry(value) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => *entry.insert(self.free.pop().unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            })),
        }
    }

    fn find(&self, value: &T) -> Option<u32> {
        self.map.get(value).copied()
    }

    fn forget(&mut self, dictionary: &Dictionary) {
        self.map.retain(|_, number| dictionary.has(*number));
        self.free = dictionary.free().to_vec();
        self.next = dictionary.len() as u32;
    }
}

impl Numbering<Box<[u8]>> {
    fn number_of(&mut self, value: &[u8]) -> u32 {
        match self.map.get(value) {
            Some(number) => *number,
            None => self.number(value.into()),
        }
    }
}

/// Values that records share: within a batch, all of which is alive, one at the same place is the same.
struct Shared<T: ?Sized> {
    places: HashMap<usize, u32, Numbered>,
    numbers: Numbering<Arc<T>>,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Shared {
            places: HashMap::default(),
            numbers: Numbering::default(),
        }
    }
}

impl<T: Eq + Hash + ?Sized> Shared<T> {
    fn number(&mut self, value: &Arc<T>) -> u32 {
        let place = Arc::as_ptr(value).cast::<()>() as usize;
        if let Some(number) = self.places.get(&place) {
            return *number;
        }
        let number = match self.numbers.map.get(value) {
            Some(number) => *number,
            None => self.numbers.number(value.clone()),
        };
        self.places.insert(place, number);
        number
    }
}

/// The flow that is written.
struct Telling<'a> {
    known: &'a mut Known,
    flow: &'a FlowFact,
    given: Given,
    /// Numbers of source and destination, where both are known already.
    addresses: Option<[u32; 2]>,
    current: Current,
}

/// A part of a value of a dictionary.
enum Current {
    None,
    Id(Id),
    Action(std::ops::Range<usize>),
}

impl Telling<'_> {
    fn given_address(&self, end: usize) -> Option<IpAddr> {
        self.given.addresses[end].map(IpAddr::from)
    }

    fn header(&self) -> [u8; 6] {
        let [high, low] = self.flow.ether_type.to_be_bytes();
        [high, low, self.flow.proto, self.flow.tos, self.flow.ttl, self.flow.fragment]
    }
}

impl Side<Writer> for Telling<'_> {
    fn number(&mut self, field: usize) -> u32 {
        let (flow, known) = (self.flow, &mut *self.known);
        match field {
            HOST => known.hosts.number(flow.host),
            IN_PORT => known.ports.number(flow.in_port),
            TUNNEL => known.tunnels.number(flow.tunnel),
            SOURCE => match self.addresses {
                Some([source, _]) => source,
                None => known.addresses.number(flow.net_src),
            },
            DESTINATION => match self.addresses {
                Some([_, destination]) => destination,
                None => known.addresses.number(flow.net_dst),
            },
            HEADER => {
                let header = self.header();
                self.known.headers.number(header)
            }
            SOURCE_PORT => flow.tp_src.into(),
            DESTINATION_PORT => flow.tp_dst.into(),
            DATAPATH_PORT => flow.dp_in_port,
            OUTS => known.outs.number(&flow.out_ports),
            ETHERNET_SOURCE => known.macs.number(flow.eth_src),
            ETHERNET_DESTINATION => known.macs.number(flow.eth_dst),
            PATH => known.paths.number(&flow.path),
            SHAPE => known.shapes.number_of(&known.shape),
            GIVEN_SOURCE => {
                let address = self.given_address(0);
                self.known.addresses.number(address)
            }
            GIVEN_DESTINATION => {
                let address = self.given_address(1);
                self.known.addresses.number(address)
            }
            GIVEN_SOURCE_PORT => self.given.ports[0].unwrap_or(0).into(),
            GIVEN_DESTINATION_PORT => self.given.ports[1].unwrap_or(0).into(),
            RESULT => flow.sim_result.into(),
            EXTRAS => known.extras.number(&flow.extras),
            UNTRUSTED => flow.untrusted.into(),
            FRAME => {
                let frame = FRAME_FIELDS.map(|field| Side::<Writer>::number(self, field));
                self.known.frames.number(frame)
            }
            ICMP => flow.icmp_id.into(),
            _ => 0,
        }
    }

    fn value(&mut self, model: &mut Model, coder: &mut Writer, field: usize, row: &Row) -> Result<usize, WireError> {
        let flow = self.flow;
        match (field, &self.current) {
            (HOST, _) => _ = id(coder, flow.host),
            (IN_PORT, _) => _ = port(model, coder, flow.in_port),
            (OUT, Current::Id(id)) => _ = port(model, coder, Some(*id)),
            (DEVICE | RULE, Current::Id(this)) => _ = id(coder, *this),
            (TUNNEL, _) => _ = tunnel(model, coder, flow.tunnel),
            (SOURCE, _) => _ = address(model, coder, flow.net_src)?,
            (DESTINATION, _) => _ = address(model, coder, flow.net_dst)?,
            (GIVEN_SOURCE, _) => _ = address(model, coder, self.given_address(0))?,
            (GIVEN_DESTINATION, _) => _ = address(model, coder, self.given_address(1))?,
            (HEADER, _) => {
                let header = header(model, coder, self.header());
                set(&mut self.known.icmp, model.dictionaries[of::HEADERS].next(), is_icmp(&header));
            }
            (ETHERNET_SOURCE, _) => _ = mac(model, coder, flow.eth_src),
            (ETHERNET_DESTINATION, _) => _ = mac(model, coder, flow.eth_dst),
            (OUTS, _) => {
                count(model, coder, flow.out_ports.len())?;
                let mut before = 0;
                for out in flow.out_ports.iter() {
                    self.current = Current::Id(*out);
                    let number = self.known.ports.number(Some(*out));
                    before = model.guessed(coder, self, OUT, 0, out_keys(row, before), number, row)?.wrapping_add(1);
                }
                return Ok(16 * flow.out_ports.len());
            }
            (PATH, _) => return self.path(model, coder, row),
            (SHAPE, _) => return self.shape(model, coder, row),
            (ACTION, Current::Action(part)) => return Ok(bytes(model, coder, &self.known.shape[part.clone()], usize::MAX)?.len()),
            (EXTRAS, _) => {
                count(model, coder, flow.extras.vlans.len())?;
                for vlan in &flow.extras.vlans {
                    coder.plain(16, (*vlan).into());
                }
                bytes(model, coder, &flow.extras.icmp_data, usize::MAX)?;
                return Ok(2 * flow.extras.vlans.len() + flow.extras.icmp_data.len());
            }
            _ => {}
        }
        Ok(0)
    }

    fn asks(&self, shape: u32) -> Asks {
        self.known.asks.get(shape as usize).copied().unwrap_or_default()
    }

    fn is_icmp(&self, header: u32) -> bool {
        self.known.icmp.get(header as usize).copied().unwrap_or(false)
    }

    fn link(&mut self, model: &Model) -> Option<(usize, Link)> {
        let (flow, known) = (self.flow, &*self.known);
        let source = known.addresses.find(&flow.net_src)?;
        let destination = known.addresses.find(&flow.net_dst)?;
        self.addresses = Some([source, destination]);
        let ports = [flow.tp_src, flow.tp_dst];
        let transit = self.is_transit();
        let own = [source, destination, ports[0].into(), ports[1].into()];
        // The open row, counted from the newest.
        let open = |packet: [u32; 4], seen: Seen| {
            let (number, link) = known.expected.get(packet, seen)?;
            let at = model.open.partition_point(|open| open.number < number);
            let open = model.open.get(at).filter(|open| open.number == number && open.links & link.bit() != 0)?;
            (packet_of(self, model.row_at(open.number), link) == packet).then_some((model.open.len() - 1 - at, link))
        };
        open(own, if transit { Seen::InTunnel } else { Seen::AtPort }).or_else(|| {
            if transit {
                return None;
            }
            let address = |end: usize, own: u32| match self.given_address(end) {
                Some(address) => known.addresses.find(&Some(address)),
                None => Some(own),
            };
            let after = [
                address(0, source)?,
                address(1, destination)?,
                self.given.ports[0].unwrap_or(ports[0]).into(),
                self.given.ports[1].unwrap_or(ports[1]).into(),
            ];
            open(after, Seen::Became)
        })
    }

    fn opened(&mut self, number: u32, links: u8, row: &Row) {
        for link in Link::ALL.into_iter().filter(|link| links & link.bit() != 0) {
            let packet = packet_of(self, row, link);
            self.known.expected.put(packet, number, link);
        }
    }

    fn is_transit(&self) -> bool {
        self.flow.tunnel.key != 0
    }

    fn cookie(&self) -> u64 {
        self.flow.cookie
    }

    fn received_us(&self) -> i64 {
        self.flow.received_us
    }
}

impl Telling<'_> {
    fn shape(&mut self, model: &mut Model, coder: &mut Writer, row: &Row) -> Result<usize, WireError> {
        let parts = actions::parts(&self.known.shape);
        let asks = actions::asks(&self.known.shape).unwrap_or_default();
        set(&mut self.known.asks, model.dictionaries[of::SHAPES].next(), asks);
        let count = count(model, coder, parts.len())?;
        let mut before = [0, 0];
        for part in parts {
            let Known { shape, actions, .. } = &mut *self.known;
            let number = actions.number_of(&shape[part.clone()]);
            self.current = Current::Action(part);
            let number = model.guessed(coder, self, ACTION, 0, action_keys(row, before), number, row)?;
            before = [before[1], number.wrapping_add(1)];
        }
        Ok(4 * count)
    }

    fn path(&mut self, model: &mut Model, coder: &mut Writer, row: &Row) -> Result<usize, WireError> {
        let path = self.flow.path.clone();
        let mut way = Way::new(row);
        model.guessed(coder, self, DEVICES, 0, way.length(row, 0), path.devices.len() as u32, row)?;
        for device in &path.devices {
            self.current = Current::Id(device.id);
            let number = self.known.ids.number(device.id);
            let number = model.guessed(coder, self, DEVICE, 0, way.device(row), number, row)?;
            way.step(number);
            model.guessed(coder, self, DEVICE_KIND, 0, way.of(), device.kind.into(), row)?;
        }
        model.guessed(coder, self, RULES, 0, way.length(row, 1), path.rules.len() as u32, row)?;
        for rule in &path.rules {
            self.current = Current::Id(rule.id);
            let number = self.known.ids.number(rule.id);
            let number = model.guessed(coder, self, RULE, 0, way.rule(row), number, row)?;
            way.step(number);
            let flags = rule.result & 0x3f | u8::from(rule.matched) << 6 | u8::from(rule.applied) << 7;
            model.guessed(coder, self, RULE_FLAGS, 0, way.of(), flags.into(), row)?;
        }
        Ok(4 * (path.devices.len() + path.rules.len()))
    }
}
