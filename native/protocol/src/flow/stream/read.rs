// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::actions::{self, Asks, Given};
use super::coder::{Coder, Reader};
use super::dictionary::{Dictionaries, Dictionary, Keeper};
use super::fields::*;
use super::keys::{Way, action_keys, out_keys};
use super::links::Link;
use super::literals::{address, bytes, count, header, id, is_icmp, mac, port, tunnel};
use super::model::{Model, Side, invalid, set};
use super::write::packet;
use crate::WireError;
use crate::batch::{MAX_RAW_BYTES, MAX_RECORDS};
use crate::flow::predict::Numbered;
use crate::flow::{Device, Extras, FlowFact, Id, MAX_PATH_ENTRIES, Path, Rule, Tunnel};

/// Bytes of values and actions that one batch may make a reader hold. A batch of a gateway has 12 MiB of actions, which may all be new shapes of new
/// parts.
const MAX_VALUES: usize = 4 * MAX_RAW_BYTES;

/// Reads the batches of one stream. After an error it is of no use any more.
#[derive(Default)]
pub(crate) struct FlowReader {
    model: Model,
    known: Known,
}

impl FlowReader {
    /// One that keeps so many bytes of values.
    pub(crate) fn of(max_live: usize) -> FlowReader {
        let mut all = FlowReader::default();
        all.model.max_live = max_live;
        all
    }

    /// Bytes that are kept between batches, roughly.
    pub(crate) fn memory(&self) -> usize {
        self.model.memory()
    }

    /// The flows of the next batch, of which there are so many.
    pub(crate) fn read(&mut self, bytes: &[u8], rows: usize) -> Result<Vec<FlowFact>, WireError> {
        if rows > MAX_RECORDS {
            return Err(WireError::TooLarge {
                what: "rows of a flow batch",
                size: rows,
                limit: MAX_RECORDS,
            });
        }
        let mut coder = Reader::new(bytes);
        let mut flows = Vec::with_capacity(rows);
        let mut hearing = Hearing {
            known: &mut self.known,
            room: MAX_VALUES,
            paths: Vec::new(),
            actions: HashMap::default(),
            shape: Vec::new(),
            unfolded: Vec::new(),
            entries: 0,
            outs: 0,
        };
        for _ in 0..rows {
            let (row, received_us, cookie) = self.model.row(&mut coder, &mut hearing)?;
            flows.push(hearing.flow(&row, received_us, cookie)?);
            if coder.is_beyond() {
                return Err(invalid("end"));
            }
        }
        if !coder.is_done() {
            return Err(invalid("end"));
        }
        if !self.model.end_batch(&mut self.known) {
            *self = FlowReader::of(self.model.max_live);
        }
        Ok(flows)
    }
}

#[derive(Default)]
struct Known {
    hosts: Vec<Id>,
    ports: Vec<Option<Id>>,
    tunnels: Vec<Tunnel>,
    addresses: Vec<Option<IpAddr>>,
    headers: Vec<[u8; 6]>,
    macs: Vec<[u8; 6]>,
    outs: Vec<Arc<[Id]>>,
    paths: Vec<PathParts>,
    extras: Vec<Arc<Extras>>,
    shapes: Vec<Shape>,
    ids: Vec<Id>,
    actions: Vec<Box<[u8]>>,
}

impl Keeper for Known {
    fn parts(&self, tell: &mut dyn FnMut(usize, u32, usize, u32)) {
        for (number, path) in self.paths.iter().enumerate() {
            path.parts.iter().for_each(|part| tell(of::PATHS, number as u32, of::IDS, part >> 8));
        }
        for (number, shape) in self.shapes.iter().enumerate() {
            shape.parts.iter().for_each(|part| tell(of::SHAPES, number as u32, of::ACTIONS, *part));
        }
    }

    fn forget(&mut self, dictionaries: &Dictionaries) {
        fn forget<T>(values: &mut Vec<T>, dictionary: &Dictionary) {
            values.truncate(dictionary.len());
        }
        /// Of values that take more than their place.
        fn give_up<T: Default>(values: &mut Vec<T>, dictionary: &Dictionary) {
            forget(values, dictionary);
            for number in dictionary.free() {
                if let Some(value) = values.get_mut(*number as usize) {
                    *value = T::default();
                }
            }
        }
        forget(&mut self.hosts, &dictionaries[of::HOSTS]);
        forget(&mut self.ports, &dictionaries[of::PORTS]);
        forget(&mut self.tunnels, &dictionaries[of::TUNNELS]);
        forget(&mut self.addresses, &dictionaries[of::ADDRESSES]);
        forget(&mut self.headers, &dictionaries[of::HEADERS]);
        forget(&mut self.macs, &dictionaries[of::MACS]);
        forget(&mut self.ids, &dictionaries[of::IDS]);
        give_up(&mut self.outs, &dictionaries[of::OUTS]);
        give_up(&mut self.paths, &dictionaries[of::PATHS]);
        give_up(&mut self.extras, &dictionaries[of::EXTRAS]);
        give_up(&mut self.shapes, &dictionaries[of::SHAPES]);
        give_up(&mut self.actions, &dictionaries[of::ACTIONS]);
    }
}

/// A path, small as long as no flow of the batch has it.
#[derive(Default)]
struct PathParts {
    devices: usize,
    /// Number of the id, and 8 bits of kind or flags.
    parts: Box<[u32]>,
}

#[derive(Default)]
struct Shape {
    /// Numbers of its actions.
    parts: Box<[u32]>,
    asks: Asks,
}

/// The batch that is read.
struct Hearing<'a> {
    known: &'a mut Known,
    /// Bytes that values and actions may yet take.
    room: usize,
    /// Paths of this batch, by number.
    paths: Vec<Option<Arc<Path>>>,
    /// Actions that are the same for all packets, by number of their shape.
    actions: HashMap<u32, Arc<[u8]>, Numbered>,
    /// The shape of one row, and its actions.
    shape: Vec<u8>,
    unfolded: Vec<u8>,
    /// Parts of the paths, and entries of new lists of ports, so far.
    entries: usize,
    outs: usize,
}

fn pick<T: Clone>(values: &[T], number: u32) -> Result<T, WireError> {
    values.get(number as usize).cloned().ok_or(invalid("number"))
}

fn narrow<T: TryFrom<u32>>(number: u32) -> Result<T, WireError> {
    T::try_from(number).map_err(|_| invalid("number that is too large"))
}

/// So many entries more.
fn bounded(what: &'static str, before: usize, entries: usize) -> Result<usize, WireError> {
    let size = before.saturating_add(entries);
    if size > MAX_PATH_ENTRIES {
        return Err(WireError::TooLarge {
            what,
            size,
            limit: MAX_PATH_ENTRIES,
        });
    }
    Ok(size)
}

impl Hearing<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), WireError> {
        self.room = self.room.checked_sub(bytes).ok_or(WireError::TooLarge {
            what: "values of a flow batch",
            size: MAX_VALUES.saturating_add(bytes) - self.room,
            limit: MAX_VALUES,
        })?;
        Ok(())
    }

    /// The path of a number, made anew for each batch.
    fn path_of(&mut self, number: u32) -> Result<Arc<Path>, WireError> {
        if let Some(Some(path)) = self.paths.get(number as usize) {
            return Ok(path.clone());
        }
        let PathParts { devices, parts } = self.known.paths.get(number as usize).ok_or(invalid("number"))?;
        let (devices, rules) = parts.split_at_checked(*devices).ok_or(invalid("path"))?;
        let id = |part: &u32| pick(&self.known.ids, part >> 8);
        let path = Path {
            devices: devices
                .iter()
                .map(|part| {
                    Ok(Device {
                        id: id(part)?,
                        kind: *part as u8,
                    })
                })
                .collect::<Result<_, WireError>>()?,
            rules: rules
                .iter()
                .map(|part| {
                    Ok(Rule {
                        id: id(part)?,
                        result: *part as u8 & 0x3f,
                        matched: part & 0x40 != 0,
                        applied: part & 0x80 != 0,
                    })
                })
                .collect::<Result<_, WireError>>()?,
        };
        self.entries = bounded("paths of a batch", self.entries, path.devices.len() + path.rules.len())?;
        let path = Arc::new(path);
        set(&mut self.paths, number, Some(path.clone()));
        Ok(path)
    }

    fn flow(&mut self, row: &Row, received_us: i64, cookie: u64) -> Result<FlowFact, WireError> {
        let path = self.path_of(row[PATH])?;
        let known = &*self.known;
        let [high, low, proto, tos, ttl, fragment] = pick(&known.headers, row[HEADER])?;
        let mut flow = FlowFact {
            received_us,
            host: pick(&known.hosts, row[HOST])?,
            cookie,
            sim_result: narrow(row[RESULT])?,
            in_port: pick(&known.ports, row[IN_PORT])?,
            dp_in_port: row[DATAPATH_PORT],
            tunnel: pick(&known.tunnels, row[TUNNEL])?,
            eth_src: pick(&known.macs, row[ETHERNET_SOURCE])?,
            eth_dst: pick(&known.macs, row[ETHERNET_DESTINATION])?,
            ether_type: u16::from_be_bytes([high, low]),
            net_src: pick(&known.addresses, row[SOURCE])?,
            net_dst: pick(&known.addresses, row[DESTINATION])?,
            proto,
            tos,
            ttl,
            fragment,
            tp_src: narrow(row[SOURCE_PORT])?,
            tp_dst: narrow(row[DESTINATION_PORT])?,
            icmp_id: narrow(row[ICMP])?,
            extras: pick(&known.extras, row[EXTRAS])?,
            path,
            out_ports: pick(&known.outs, row[OUTS])?,
            actions: Arc::default(),
            untrusted: narrow(row[UNTRUSTED])?,
        };
        flow.actions = self.actions_of(row, &flow)?;
        Ok(flow)
    }

    fn actions_of(&mut self, row: &Row, flow: &FlowFact) -> Result<Arc<[u8]>, WireError> {
        if let Some(actions) = self.actions.get(&row[SHAPE]) {
            return Ok(actions.clone());
        }
        let Known {
            shapes, actions, addresses, ..
        } = &*self.known;
        let Shape { parts, asks } = shapes.get(row[SHAPE] as usize).ok_or(invalid("number"))?;
        self.shape.clear();
        for part in parts {
            self.shape.extend_from_slice(actions.get(*part as usize).ok_or(invalid("number"))?);
        }
        let address = |field: usize, asked: bool| match addresses.get(row[field] as usize) {
            Some(Some(IpAddr::V4(address))) if asked => Some(address.octets()),
            _ => None,
        };
        let port = |field: usize, asked: bool| asked.then(|| narrow(row[field])).transpose();
        let given = Given {
            addresses: [address(GIVEN_SOURCE, asks.addresses[0]), address(GIVEN_DESTINATION, asks.addresses[1])],
            ports: [port(GIVEN_SOURCE_PORT, asks.ports[0])?, port(GIVEN_DESTINATION_PORT, asks.ports[1])?],
        };
        let constant = asks.constant;
        actions::unfold(&self.shape, &packet(flow), &given, &mut self.unfolded).ok_or(invalid("shape of actions"))?;
        let actions: Arc<[u8]> = self.unfolded.as_slice().into();
        self.take(actions.len())?;
        if constant {
            self.actions.insert(row[SHAPE], actions.clone());
        }
        Ok(actions)
    }

    fn path(&mut self, model: &mut Model, coder: &mut Reader<'_>, row: &Row) -> Result<PathParts, WireError> {
        let mut parts = Vec::new();
        let mut way = Way::new(row);
        let mut part = |number: u32, byte: u32| match (number, byte) {
            (..0x100_0000, ..0x100) => {
                parts.push(number << 8 | byte);
                Ok(())
            }
            _ => Err(invalid("part of a path")),
        };
        let devices = model.guessed(coder, self, DEVICES, 0, way.length(row, 0), 0, row)?;
        let entries = bounded("path", 0, devices as usize)?;
        for _ in 0..devices {
            let number = model.guessed(coder, self, DEVICE, 0, way.device(row), 0, row)?;
            way.step(number);
            part(number, model.guessed(coder, self, DEVICE_KIND, 0, way.of(), 0, row)?)?;
        }
        let rules = model.guessed(coder, self, RULES, 0, way.length(row, 1), 0, row)?;
        bounded("path", entries, rules as usize)?;
        for _ in 0..rules {
            let number = model.guessed(coder, self, RULE, 0, way.rule(row), 0, row)?;
            way.step(number);
            part(number, model.guessed(coder, self, RULE_FLAGS, 0, way.of(), 0, row)?)?;
        }
        Ok(PathParts {
            devices: devices as usize,
            parts: parts.into(),
        })
    }
}

impl Side<Reader<'_>> for Hearing<'_> {
    fn number(&mut self, _: usize) -> u32 {
        0
    }

    fn value(&mut self, model: &mut Model, coder: &mut Reader<'_>, field: usize, row: &Row) -> Result<usize, WireError> {
        let number = DICTIONARY[field].map_or(0, |dictionary| model.dictionaries[dictionary].next());
        match field {
            HOST => set(&mut self.known.hosts, number, id(coder, Id::default())),
            IN_PORT | OUT => set(&mut self.known.ports, number, port(model, coder, None)),
            DEVICE | RULE => set(&mut self.known.ids, number, id(coder, Id::default())),
            TUNNEL => set(&mut self.known.tunnels, number, tunnel(model, coder, Tunnel::default())),
            SOURCE | DESTINATION | GIVEN_SOURCE | GIVEN_DESTINATION => set(&mut self.known.addresses, number, address(model, coder, None)?),
            HEADER => set(&mut self.known.headers, number, header(model, coder, Default::default())),
            ETHERNET_SOURCE | ETHERNET_DESTINATION => set(&mut self.known.macs, number, mac(model, coder, Default::default())),
            OUTS => {
                let count = count(model, coder, 0)?;
                self.outs = bounded("out ports of a batch", self.outs, count)?;
                let (mut before, mut outs) = (0, Vec::with_capacity(count));
                for _ in 0..count {
                    let number = model.guessed(coder, self, OUT, 0, out_keys(row, before), 0, row)?;
                    before = number.wrapping_add(1);
                    outs.push(pick(&self.known.ports, number)?.ok_or(invalid("port"))?);
                }
                set(&mut self.known.outs, number, outs.into());
                return Ok(16 * count);
            }
            PATH => {
                let path = self.path(model, coder, row)?;
                let more = 4 * path.parts.len();
                set(&mut self.known.paths, number, path);
                return Ok(more);
            }
            SHAPE => {
                let count = count(model, coder, 0)?;
                let (mut parts, mut before) = (Vec::new(), [0, 0]);
                self.shape.clear();
                for _ in 0..count {
                    let number = model.guessed(coder, self, ACTION, 0, action_keys(row, before), 0, row)?;
                    before = [before[1], number.wrapping_add(1)];
                    let part = self.known.actions.get(number as usize).ok_or(invalid("number"))?;
                    let length = part.len();
                    self.shape.extend_from_slice(part);
                    parts.push(number);
                    // Parts are never empty but where a record has no actions at all.
                    self.take(length.max(1))?;
                }
                let asks = actions::asks(&self.shape).ok_or(invalid("shape of actions"))?;
                set(&mut self.known.shapes, number, Shape { parts: parts.into(), asks });
                return Ok(4 * count);
            }
            ACTION => {
                let part = bytes(model, coder, &[], self.room)?;
                self.take(part.len())?;
                let more = part.len();
                set(&mut self.known.actions, number, part.into());
                return Ok(more);
            }
            EXTRAS => {
                let count = count(model, coder, 0)?;
                self.take(count.saturating_mul(2))?;
                let vlans: Vec<u16> = (0..count).map(|_| coder.plain(16, 0) as u16).collect();
                let icmp_data = bytes(model, coder, &[], self.room)?;
                self.take(icmp_data.len())?;
                let more = 2 * count + icmp_data.len();
                set(&mut self.known.extras, number, Arc::new(Extras { vlans, icmp_data }));
                return Ok(more);
            }
            // Its fields follow.
            FRAME => {}
            _ => return Err(invalid("field")),
        }
        Ok(0)
    }

    fn asks(&self, shape: u32) -> Asks {
        self.known.shapes.get(shape as usize).map(|shape| shape.asks).unwrap_or_default()
    }

    fn is_icmp(&self, header_number: u32) -> bool {
        self.known.headers.get(header_number as usize).is_some_and(is_icmp)
    }

    fn link(&mut self, _: &Model) -> Option<(usize, Link)> {
        None
    }

    fn opened(&mut self, _: u32, _: u8, _: &Row) {}

    fn is_transit(&self) -> bool {
        false
    }

    fn cookie(&self) -> u64 {
        0
    }

    fn received_us(&self) -> i64 {
        0
    }
}
