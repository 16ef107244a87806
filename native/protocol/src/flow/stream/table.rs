// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What followed from what the last time.

/// Most entries: with [`FIRST`] and doubling, a table takes 8 bytes for each, 2 MiB.
const MOST: u32 = 18;
const FIRST: u32 = 10;

/// Times that a guess was right in a row, as far as it is counted.
pub(super) const SURE: u32 = 3;
const VALUE_BITS: u32 = 30;

/// Remembers a number for each of many keys, as good as it can in bounded memory: a key may push another one out, and keys that meet in 32 bits
/// are taken for the same. Both sides forget alike, so a wrong guess costs bytes and nothing else.
#[derive(Debug)]
pub(super) struct Table {
    /// Tag of the key, 0 for none; how sure the number is, and the number.
    slots: Vec<(u32, u32)>,
    bits: u32,
    used: usize,
}

/// What is remembered: the number, and how often it was right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Guess {
    pub(super) number: u32,
    pub(super) sure: u32,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            slots: vec![(0, 0); 1 << FIRST],
            bits: FIRST,
            used: 0,
        }
    }
}

/// A key of a purpose and two numbers.
#[inline]
pub(super) fn key(purpose: u32, a: u32, b: u32) -> u32 {
    let mut hash = (u64::from(a) << 32 | u64::from(b)) ^ u64::from(purpose).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (hash >> 32) as u32 | 1
}

impl Table {
    pub(super) fn memory(&self) -> usize {
        self.slots.len() * size_of::<(u32, u32)>()
    }

    #[inline]
    fn place(&self, key: u32) -> usize {
        (key >> (32 - self.bits)) as usize
    }

    #[inline]
    pub(super) fn get(&self, key: u32) -> Option<Guess> {
        let (tag, value) = self.slots[self.place(key)];
        (tag == key).then_some(Guess {
            number: value & ((1 << VALUE_BITS) - 1),
            sure: value >> VALUE_BITS,
        })
    }

    /// Remembers a number, if it is below 2^30.
    #[inline]
    pub(super) fn put(&mut self, key: u32, number: u32) {
        if number >> VALUE_BITS != 0 {
            return;
        }
        let at = self.place(key);
        let (tag, value) = &mut self.slots[at];
        if *tag == key && *value & ((1 << VALUE_BITS) - 1) == number {
            if *value >> VALUE_BITS < SURE {
                *value += 1 << VALUE_BITS;
            }
            return;
        }
        let new = *tag == 0;
        (*tag, *value) = (key, number);
        if new {
            self.used += 1;
            if self.used > self.slots.len() / 2 && self.bits < MOST {
                self.grow();
            }
        }
    }

    fn grow(&mut self) {
        self.bits += 1;
        let slots = std::mem::replace(&mut self.slots, vec![(0, 0); 1 << self.bits]);
        self.used = 0;
        for (tag, value) in slots.into_iter().filter(|(tag, _)| *tag != 0) {
            let at = self.place(tag);
            // Two of one place were never there together, so these don't meet.
            self.slots[at] = (tag, value);
            self.used += 1;
        }
    }
}
