// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use super::actions::{self, Asks, Given, Packet};
use super::coder::{Coder, Writer};
use super::fields::*;
use super::keys::{Way, action_keys, out_keys};
use super::links::{Link, packet_of};
use super::literals::{address, bytes, count, header, id, is_icmp, mac, port, tunnel};
use super::model::{KEPT_ROWS, Model, Side};
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
                current: Current::None,
            };
            self.model.row(&mut coder, &mut telling)?;
        }
        if self.model.weight > super::MAX_WEIGHT {
            *self = FlowWriter::default();
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
    /// Packets that follow from open rows: by how they are looked for, number of the row and link.
    expected: HashMap<([u32; 4], u8), (u32, Link), Numbered>,
}

/// Rows that follow are looked for in so many packets at most.
const MAX_EXPECTED: usize = 16_384;

impl Known {
    fn forget_places(&mut self) {
        self.outs.places.clear();
        self.paths.places.clear();
        self.extras.places.clear();
    }
}

struct Numbering<T>(HashMap<T, u32, Numbered>);

impl<T> Default for Numbering<T> {
    fn default() -> Self {
        Numbering(HashMap::default())
    }
}

impl<T: Eq + Hash> Numbering<T> {
    fn number(&mut self, value: T) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(value).or_insert(next)
    }

    fn find(&self, value: &T) -> Option<u32> {
        self.0.get(value).copied()
    }
}

impl Numbering<Box<[u8]>> {
    fn number_of(&mut self, value: &[u8]) -> u32 {
        match self.0.get(value) {
            Some(number) => *number,
            None => self.number(value.into()),
        }
    }
}

/// Values that records share: within a batch, all of which is alive, one at the same place is the same.
struct Shared<T: ?Sized> {
    places: HashMap<usize, u32, Numbered>,
    numbers: HashMap<Arc<T>, u32, Numbered>,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Shared {
            places: HashMap::default(),
            numbers: HashMap::default(),
        }
    }
}

impl<T: Eq + Hash + ?Sized> Shared<T> {
    fn number(&mut self, value: &Arc<T>) -> u32 {
        let place = Arc::as_ptr(value).cast::<()>() as usize;
        if let Some(number) = self.places.get(&place) {
            return *number;
        }
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(value.clone()).or_insert(next);
        self.places.insert(place, number);
        number
    }
}

/// The flow that is written.
struct Telling<'a> {
    known: &'a mut Known,
    flow: &'a FlowFact,
    given: Given,
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
            SOURCE => known.addresses.number(flow.net_src),
            DESTINATION => known.addresses.number(flow.net_dst),
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

    fn value(&mut self, model: &mut Model, coder: &mut Writer, field: usize, row: &Row) -> Result<(), WireError> {
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
                self.known.icmp.push(is_icmp(&header));
            }
            (ETHERNET_SOURCE, _) => _ = mac(model, coder, flow.eth_src),
            (ETHERNET_DESTINATION, _) => _ = mac(model, coder, flow.eth_dst),
            (OUTS, _) => {
                count(model, coder, flow.out_ports.len())?;
                let mut before = 0;
                for out in flow.out_ports.iter() {
                    self.current = Current::Id(*out);
                    let number = self.known.ports.number(Some(*out));
                    before = model.guessed(coder, self, OUT, 0, out_keys(row, before), number, row)? + 1;
                }
                model.weight += 16 * flow.out_ports.len();
            }
            (PATH, _) => self.path(model, coder, row)?,
            (SHAPE, _) => {
                let shape = std::mem::take(&mut self.known.shape);
                let parts = actions::parts(&shape);
                self.known.asks.push(actions::asks(&shape).unwrap_or_default());
                count(model, coder, parts.len())?;
                let mut before = [0, 0];
                self.known.shape = shape;
                for part in parts {
                    let number = {
                        let Known { shape, actions, .. } = &mut *self.known;
                        actions.number_of(&shape[part.clone()])
                    };
                    model.weight += 4;
                    self.current = Current::Action(part);
                    let number = model.guessed(coder, self, ACTION, 0, action_keys(row, before), number, row)?;
                    before = [before[1], number + 1];
                }
            }
            (ACTION, Current::Action(part)) => {
                model.weight += part.len();
                _ = bytes(model, coder, &self.known.shape[part.clone()], usize::MAX)?;
            }
            (EXTRAS, _) => {
                count(model, coder, flow.extras.vlans.len())?;
                for vlan in &flow.extras.vlans {
                    coder.plain(16, (*vlan).into());
                }
                bytes(model, coder, &flow.extras.icmp_data, usize::MAX)?;
                model.weight += 2 * flow.extras.vlans.len() + flow.extras.icmp_data.len();
            }
            _ => {}
        }
        Ok(())
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
        let ports = [flow.tp_src, flow.tp_dst];
        let transit = self.is_transit();
        let own = [source, destination, ports[0].into(), ports[1].into()];
        let found = known.expected.get(&(own, u8::from(transit)));
        let open = |found: Option<&(u32, Link)>| {
            let (number, link) = *found?;
            // The newest come first.
            let back = model.open.iter().rev().position(|open| open.number <= number)?;
            let open = model.open[model.open.len() - 1 - back];
            (open.number == number && open.links & link.bit() != 0).then_some((back, link))
        };
        open(found).or_else(|| {
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
            open(known.expected.get(&(after, BEFORE)))
        })
    }

    fn opened(&mut self, number: u32, links: u8, row: &Row) {
        if self.known.expected.len() > MAX_EXPECTED {
            self.known.expected.retain(|_, (of, _)| *of + KEPT_ROWS as u32 > number);
        }
        for link in Link::ALL.into_iter().filter(|link| links & link.bit() != 0) {
            let how = if link == Link::Before { BEFORE } else { link.is_transit().into() };
            let packet = packet_of(self, row, link);
            self.known.expected.insert((packet, how), (number, link));
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

/// How a row is looked for by the packet that it becomes, beside 0 and 1 for one that came by a port or through a tunnel.
const BEFORE: u8 = 2;

impl Telling<'_> {
    fn path(&mut self, model: &mut Model, coder: &mut Writer, row: &Row) -> Result<(), WireError> {
        let path = self.flow.path.clone();
        model.weight += 4 * (path.devices.len() + path.rules.len());
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
        Ok(())
    }
}
