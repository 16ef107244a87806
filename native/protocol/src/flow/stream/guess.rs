// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A number is coded as a right guess, or else as one of its dictionary, or as a new value.

use super::{
    coder::{Chance, Coder},
    fields::*,
    keys::keys,
    model::{CLASSES, Model, STATES, Side, invalid},
    table::SURE,
};
use crate::WireError;

/// Below this, most ports are services; above, systems number their own ends.
const EPHEMERAL: u32 = 16_384;

impl Model {
    pub(super) fn hit(&mut self, field: usize, class: usize, state: usize) -> &mut Chance {
        &mut self.chances.hits[(field * CLASSES + class) * STATES + state]
    }

    pub(super) fn field<C: Coder, S: Side<C>>(
        &mut self,
        coder: &mut C,
        side: &mut S,
        field: usize,
        class: usize,
        from: Option<&Row>,
        row: &mut Row,
    ) -> Result<(), WireError> {
        let number = side.number(field);
        row[field] = self.guessed(coder, side, field, class, keys(field, class, from, row), number, row)?;
        Ok(())
    }

    /// A number of which one or the other key may know what it was the last time.
    #[allow(clippy::too_many_arguments, reason = "what both sides need to code one number")]
    pub(super) fn guessed<C: Coder, S: Side<C>>(
        &mut self,
        coder: &mut C,
        side: &mut S,
        field: usize,
        class: usize,
        keys: (u32, u32),
        number: u32,
        row: &Row,
    ) -> Result<u32, WireError> {
        let dictionary = DICTIONARY[field];
        // A guess may be a number without a value, which means a new one.
        // Both are asked at once: the memory takes longest.
        let (first, second) = (self.table.get(keys.0), self.table.get(keys.1));
        let first = first.filter(|guess| self.has(field, guess.number));
        let number = 'number: {
            if let Some(first) = first.filter(|first| first.sure == SURE) {
                // Nearly certain: the other key has no say.
                if coder.bit(self.hit(field, class, 1), number == first.number) {
                    if let Some(dictionary) = dictionary {
                        self.dictionaries[dictionary].touch(first.number, self.now);
                    }
                    return Ok(first.number);
                }
            }
            let second = second.filter(|guess| self.has(field, guess.number));
            let other = second.filter(|second| first.is_none_or(|first| first.number != second.number));
            if let Some(first) = first.filter(|first| first.sure < SURE) {
                let agrees = match (second, other) {
                    (None, _) => 0,
                    (Some(_), Some(other)) => 1 + other.sure.min(1) as usize,
                    (Some(second), None) => 3 + usize::from(second.sure == SURE),
                };
                let state = 8 + first.sure as usize * 5 + agrees;
                if coder.bit(self.hit(field, class, state), number == first.number) {
                    break 'number first.number;
                }
            }
            if let Some(other) = other {
                let state = 40 + other.sure as usize * 2 + usize::from(first.is_some());
                if coder.bit(self.hit(field, class, state), number == other.number) {
                    break 'number other.number;
                }
            }
            self.unguessed(coder, side, field, number, row)?
        };
        if let Some(dictionary) = dictionary {
            self.dictionaries[dictionary].touch(number, self.now);
        }
        self.table.put(keys.0, number);
        if keys.1 != keys.0 {
            self.table.put(keys.1, number);
        }
        Ok(number)
    }

    fn unguessed<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &mut S, field: usize, number: u32, row: &Row) -> Result<u32, WireError> {
        let Some(dictionary) = DICTIONARY[field] else {
            return match field {
                SOURCE_PORT | DESTINATION_PORT | GIVEN_SOURCE_PORT | GIVEN_DESTINATION_PORT => self.port(coder, field, number),
                ICMP => Ok(coder.plain(16, number)),
                _ => {
                    let number = self.chances.numbers[field].code(coder, number.into());
                    u32::try_from(number).map_err(|_| invalid("number"))
                }
            };
        };
        let next = self.dictionaries[dictionary].next();
        if self.dictionaries[dictionary].len() == 0 || coder.bit(&mut self.chances.new[field], number == next) {
            let more = side.value(self, coder, field, row)?;
            self.more += more;
            return Ok(self.dictionaries[dictionary].add(self.now, more));
        }
        let number = self.chances.numbers[field].code(coder, number.into());
        match u32::try_from(number) {
            Ok(number) if self.dictionaries[dictionary].has(number) => Ok(number),
            _ => Err(invalid("number")),
        }
    }

    /// Ports of services come again, others are as good as random.
    fn port<C: Coder>(&mut self, coder: &mut C, field: usize, port: u32) -> Result<u32, WireError> {
        let end = usize::from(matches!(field, DESTINATION_PORT | GIVEN_DESTINATION_PORT));
        if !coder.bit(&mut self.chances.is_service[end], port < EPHEMERAL) {
            let high = coder.symbol(&mut self.chances.high, port >> 12);
            return Ok(high << 12 | coder.plain(12, port & 0xfff));
        }
        let count = self.services.len() as u32;
        let number = self.service_numbers.get(&port).copied().unwrap_or(count);
        let number = self.chances.service.code(coder, number.into());
        if number != u64::from(count) {
            return self.services.get(number as usize).copied().ok_or(invalid("port"));
        }
        let port = coder.plain(14, port);
        self.services.push(port);
        self.service_numbers.insert(port, count);
        Ok(port)
    }
}
