// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is known of a stream's flows on both sides, and how a row is coded by it.

use std::collections::HashMap;

use super::{
    actions::Asks,
    coder::{Chance, Coder, Symbols},
    dictionary::{Dictionaries, MAX_LIVE},
    fields::*,
    hosts::HostMemory,
    keys::keys,
    links::{Link, Open, packet_of},
    literals::Literals,
    numbers::Number,
    table::{Table, key},
};
use crate::WireError;

/// Rows that are kept for those that follow from them; a packet's records come within milliseconds.
pub(super) const KEPT_ROWS: usize = 4096;
/// Rows of them that wait for something.
const MAX_OPEN: usize = 1024;

/// The one who writes, or the one who reads.
pub(super) trait Side<C: Coder> {
    /// The number of a field's value: what it is on the writing side, anything on the reading side. The next one of its dictionary means a new
    /// value.
    fn number(&mut self, field: usize) -> u32;
    /// Codes a value that is new to its dictionary. Gives the bytes that it takes beside what each of its kind does.
    fn value(&mut self, model: &mut Model, coder: &mut C, field: usize, row: &Row) -> Result<usize, WireError>;
    fn asks(&self, shape: u32) -> Asks;
    fn is_icmp(&self, header: u32) -> bool;
    /// The open row that this one follows from, counted from the newest, and how.
    fn link(&mut self, model: &Model) -> Option<(usize, Link)>;
    /// Others may follow from this row.
    fn opened(&mut self, number: u32, links: u8, row: &Row);
    fn is_transit(&self) -> bool;
    fn cookie(&self) -> u64;
    fn received_us(&self) -> i64;
}

pub(super) struct Model {
    pub(super) dictionaries: Dictionaries,
    /// What values of dictionaries take beside what each of its kind does.
    pub(super) more: usize,
    /// Number of the batch, from 1 on.
    pub(super) now: u16,
    /// Bytes of values above which some are given up.
    pub(super) max_live: usize,
    pub(super) table: Table,
    pub(super) frames: Vec<Frame>,
    pub(super) rows: Vec<Row>,
    pub(super) next_row: u32,
    pub(super) open: Vec<Open>,
    pub(super) hosts: Vec<HostMemory>,
    pub(super) last_us: i64,
    pub(super) last_class: usize,
    pub(super) services: Vec<u32>,
    pub(super) service_numbers: HashMap<u32, u32>,
    pub(super) chances: Chances,
}

/// Chances of numbers and bytes, once all are used.
const FIXED_CHANCES: usize = 512 << 10;

pub(super) struct Chances {
    /// By the class of the row before.
    pub(super) linked: [Chance; 5],
    /// By the links that there are, and each of them.
    pub(super) link: [Chance; 64],
    pub(super) distance: Number<1>,
    pub(super) transit: Chance,
    pub(super) stale: Chance,
    pub(super) icmp: Chance,
    pub(super) time: Number<1>,
    pub(super) cookie: Number<1>,
    /// By field, class, and what is known of the guesses.
    pub(super) hits: Vec<Chance>,
    /// By field.
    pub(super) new: [Chance; PURPOSES],
    pub(super) numbers: [Number<2>; PURPOSES],
    /// By end.
    pub(super) is_service: [Chance; 2],
    pub(super) service: Number<2>,
    pub(super) high: Symbols,
    pub(super) literals: Literals,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            dictionaries: Dictionaries::default(),
            more: 0,
            now: 1,
            max_live: MAX_LIVE,
            table: Table::default(),
            frames: Vec::new(),
            rows: Vec::new(),
            next_row: 0,
            open: Vec::new(),
            hosts: Vec::new(),
            last_us: 0,
            last_class: 0,
            services: Vec::new(),
            service_numbers: HashMap::new(),
            chances: Chances {
                linked: Default::default(),
                link: [Chance::default(); 64],
                distance: Number::default(),
                transit: Chance::default(),
                stale: Chance::default(),
                icmp: Chance::default(),
                time: Number::default(),
                cookie: Number::default(),
                hits: vec![Chance::default(); PURPOSES * CLASSES * STATES],
                new: [Chance::default(); PURPOSES],
                numbers: std::array::from_fn(|_| Number::default()),
                is_service: Default::default(),
                service: Number::default(),
                high: Symbols::default(),
                literals: Literals::default(),
            },
        }
    }
}

/// A row follows from none before it, or by one of the links.
pub(super) const CLASSES: usize = 5;
pub(super) const STATES: usize = 48;

/// Puts the value of a number that was given just now.
pub(super) fn set<T: Default>(values: &mut Vec<T>, number: u32, value: T) {
    let at = number as usize;
    if at >= values.len() {
        values.resize_with(at + 1, T::default);
    }
    values[at] = value;
}

pub(super) fn invalid(field: &'static str) -> WireError {
    WireError::Invalid {
        what: "stream of flows",
        field,
    }
}

impl Model {
    pub(super) fn row_at(&self, number: u32) -> &Row {
        &self.rows[number as usize % KEPT_ROWS]
    }

    /// Whether a number stands for a value now: one from a row before may not do any more, and then a new value could get it.
    pub(super) fn has(&self, field: usize, number: u32) -> bool {
        DICTIONARY[field].is_none_or(|dictionary| self.dictionaries[dictionary].has(number))
    }

    /// One row: its numbers, time and cookie.
    pub(super) fn row<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &mut S) -> Result<(Row, i64, u64), WireError> {
        let time = self.chances.time.signed(coder, side.received_us().wrapping_sub(self.last_us));
        self.last_us = self.last_us.wrapping_add(time);

        let link = self.link(coder, side)?;
        let transit = match link {
            Some((_, link)) => link.is_transit(),
            None => coder.bit(&mut self.chances.transit, side.is_transit()),
        };
        let from = link.map(|(at, _)| *self.row_at(self.open[at].number));
        let class = link.map_or(0, |(_, link)| 1 + link as usize);
        self.last_class = class;

        let mut row: Row = [0; FIELDS];
        row[TRANSIT] = transit.into();
        if !transit {
            self.field(coder, side, IN_PORT, class, from.as_ref(), &mut row)?;
        }
        self.field(coder, side, HOST, class, from.as_ref(), &mut row)?;
        let cookie = self.cookie(coder, side, row[HOST]);
        if transit {
            self.stale_port(coder, side, cookie, &mut row)?;
        }
        self.note_port(&row, cookie);
        self.field(coder, side, TUNNEL, class, from.as_ref(), &mut row)?;
        match (link, &from) {
            (Some((_, link)), Some(from)) => {
                let packet = packet_of(side, from, link);
                for (field, expected) in PACKET.into_iter().zip(packet) {
                    if link != Link::Before {
                        row[field] = expected;
                        continue;
                    }
                    // What it was before its addresses were translated.
                    let number = side.number(field);
                    if self.has(field, expected) && coder.bit(self.hit(field, class, 7), number == expected) {
                        row[field] = expected;
                    } else {
                        self.field(coder, side, field, 0, None, &mut row)?;
                    }
                }
            }
            _ => {
                for field in PACKET {
                    self.field(coder, side, field, class, None, &mut row)?;
                }
            }
        }
        self.frame(coder, side, class, from.as_ref(), &mut row)?;
        self.given(coder, side, link.map(|(_, link)| link).zip(from.as_ref()), &mut row)?;
        // Only echoes have one.
        let number = side.number(ICMP);
        if side.is_icmp(row[HEADER]) || coder.bit(&mut self.chances.icmp, number != 0) {
            self.field(coder, side, ICMP, class, from.as_ref(), &mut row)?;
        }
        self.remember(side, link, &row);
        Ok((row, self.last_us, cookie))
    }

    fn frame<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &mut S, class: usize, from: Option<&Row>, row: &mut Row) -> Result<(), WireError> {
        let number = side.number(FRAME);
        let next = self.dictionaries[of::FRAMES].next();
        let number = self.guessed(coder, side, FRAME, class, keys(FRAME, class, from, row), number, row)?;
        row[FRAME] = number;
        if number != next
            && let Some(frame) = self.frames.get(number as usize)
        {
            for (field, number) in FRAME_FIELDS.into_iter().zip(frame) {
                row[field] = *number;
            }
            return Ok(());
        }
        for field in FRAME_FIELDS {
            self.field(coder, side, field, class, from, row)?;
        }
        set(&mut self.frames, number, FRAME_FIELDS.map(|field| row[field]));
        Ok(())
    }

    /// The place of the open row that this one follows from.
    fn link<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &mut S) -> Result<Option<(usize, Link)>, WireError> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let found = side.link(self);
        if !coder.bit(&mut self.chances.linked[self.last_class], found.is_some()) {
            return Ok(None);
        }
        let (back, wanted) = found.unwrap_or((0, Link::Through));
        let back = self.chances.distance.code(coder, back as u64);
        let at = usize::try_from(back)
            .ok()
            .and_then(|back| self.open.len().checked_sub(back.checked_add(1)?));
        let at = at.ok_or(invalid("place of a row"))?;
        let links = self.open[at].links;
        for link in Link::ALL.into_iter().filter(|link| links & link.bit() != 0) {
            let chance = &mut self.chances.link[usize::from(links) << 2 | link as usize];
            if coder.bit(chance, link == wanted) {
                return Ok(Some((at, link)));
            }
        }
        Err(invalid("link"))
    }

    /// Addresses and ports that actions set.
    fn given<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &mut S, from: Option<(Link, &Row)>, row: &mut Row) -> Result<(), WireError> {
        let asks = side.asks(row[SHAPE]);
        let asked = [asks.addresses[0], asks.addresses[1], asks.ports[0], asks.ports[1]];
        for (end, field) in [GIVEN_SOURCE, GIVEN_DESTINATION, GIVEN_SOURCE_PORT, GIVEN_DESTINATION_PORT]
            .into_iter()
            .enumerate()
        {
            if !asked[end] {
                row[field] = row[PACKET[end]];
                continue;
            }
            let number = side.number(field);
            let expected = match from {
                // The answer undoes what was done to the question, and the other way around.
                Some((Link::Answer, from)) if from[TRANSIT] == 0 => Some(from[PACKET[end ^ 1]]),
                Some((Link::Before, from)) => Some(from[PACKET[end]]),
                _ => None,
            };
            if let Some(expected) = expected.filter(|expected| self.has(field, *expected))
                && coder.bit(self.hit(field, 1, 0), number == expected)
            {
                row[field] = expected;
                continue;
            }
            let purpose = (field as u32) << 8;
            let keys = match end {
                0 | 1 => (
                    key(purpose, row[SOURCE], row[DESTINATION]),
                    key(purpose | 1, row[PACKET[end]], row[DESTINATION_PORT]),
                ),
                _ => (
                    key(
                        purpose,
                        row[SOURCE] << 16 ^ row[SOURCE_PORT],
                        row[DESTINATION] << 16 ^ row[DESTINATION_PORT],
                    ),
                    key(purpose | 1, row[DESTINATION], row[PACKET[end]]),
                ),
            };
            row[field] = self.guessed(coder, side, field, 0, keys, number, row)?;
        }
        Ok(())
    }

    /// Keeps the row, and what may follow from it.
    fn remember<C: Coder, S: Side<C>>(&mut self, side: &mut S, link: Option<(usize, Link)>, row: &Row) {
        let asks = side.asks(row[SHAPE]);
        let tunnel = |links: u8| if asks.tunnel { links } else { 0 };
        let (through, answer, other) = (Link::Through.bit(), Link::Answer.bit(), Link::AnswerThrough.bit());
        let mut links = match row[TRANSIT] {
            0 if asks.forwards => answer | tunnel(through | other),
            0 => 0,
            _ => answer | Link::Before.bit(),
        };
        if let Some((at, link)) = link {
            let open = &mut self.open[at];
            let from_transit = self.rows[open.number as usize % KEPT_ROWS][TRANSIT] != 0;
            let before = open.links;
            (open.links, links) = match link {
                Link::Through | Link::AnswerThrough => (before & !link.bit(), 0),
                Link::Before => (0, links & !through),
                Link::Answer if from_transit => (0, links & !other),
                // The tunnel's other end may have told of it already.
                Link::Answer => (before & !(answer | other), if before & other != 0 { links & through } else { 0 }),
            };
            if open.links == 0 {
                self.open.remove(at);
            }
        }
        let number = self.next_row;
        match self.rows.get_mut(number as usize % KEPT_ROWS) {
            Some(place) => *place = *row,
            None => self.rows.push(*row),
        }
        self.next_row += 1;
        let gone = self
            .open
            .iter()
            .take_while(|open| open.number + KEPT_ROWS as u32 <= self.next_row)
            .count();
        self.open.drain(..gone);
        if links != 0 {
            if self.open.len() == MAX_OPEN {
                self.open.drain(..MAX_OPEN / 4);
            }
            self.open.push(Open { number, links });
            side.opened(number, links, row);
        }
    }

    /// Bytes that a reader keeps, roughly.
    pub(super) fn memory(&self) -> usize {
        let chances = self.chances.hits.len() * size_of::<Chance>() + FIXED_CHANCES;
        self.kept() + self.table.memory() + self.rows.len() * size_of::<Row>() + chances
    }
}
