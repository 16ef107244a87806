// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How numbers are coded by symbols of four bits.

use super::coder::{Coder, Symbols};

/// A byte: its high half, then its low one by the high one.
#[derive(Clone, Debug)]
pub(super) struct Byte(Vec<Symbols>);

impl Default for Byte {
    fn default() -> Self {
        Byte(vec![Symbols::default(); 17])
    }
}

impl Byte {
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, value: u8) -> u8 {
        let high = coder.symbol(&mut self.0[16], u32::from(value >> 4));
        let low = coder.symbol(&mut self.0[high as usize & 15], u32::from(value & 15));
        (high << 4 | low) as u8
    }
}

/// Numbers from this length on are rare.
const LONG: u32 = 15;

/// A number of any size: its length in bits, then as many of its highest halves of a byte as `KNOWN`, 1 or 2, by chances that were learnt, then the
/// rest as it is.
#[derive(Clone, Debug)]
pub(super) struct Number<const KNOWN: usize> {
    length: Symbols,
    /// By length.
    first: Vec<Symbols>,
    /// By length and first.
    second: Vec<Symbols>,
}

impl<const KNOWN: usize> Default for Number<KNOWN> {
    fn default() -> Self {
        Number {
            length: Symbols::default(),
            first: Vec::new(),
            second: Vec::new(),
        }
    }
}

impl<const KNOWN: usize> Number<KNOWN> {
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, value: u64) -> u64 {
        let length = u64::BITS - value.leading_zeros();
        let class = coder.symbol(&mut self.length, length.min(LONG));
        let length = match class {
            LONG => coder.plain(7, length).clamp(LONG, u64::BITS),
            length => length,
        };
        if length < 2 {
            return length.into();
        }
        // The first bit is known from the length.
        let mut left = length - 1;
        let mut coded = 1;
        let (mut models, mut at) = (&mut self.first, class as usize);
        for place in 0..KNOWN {
            if left == 0 {
                break;
            }
            if models.is_empty() {
                models.resize(16 << (4 * place), Symbols::default());
            }
            let bits = left.min(4);
            left -= bits;
            let mask = (1u64 << bits) - 1;
            let symbol = coder.symbol(&mut models[at], (value >> left & mask) as u32);
            at = at << 4 | symbol as usize;
            models = &mut self.second;
            coded = coded << bits | u64::from(symbol) & mask;
        }
        while left > 0 {
            let step = left.min(16);
            left -= step;
            coded = coded << step | u64::from(coder.plain(step, (value >> left) as u32 & ((1 << step) - 1)));
        }
        coded
    }

    /// A number of either sign.
    pub(super) fn signed<C: Coder>(&mut self, coder: &mut C, value: i64) -> i64 {
        let value = self.code(coder, ((value << 1) ^ (value >> 63)) as u64);
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }
}

/// Bytes of which nothing is known.
pub(super) fn plain_bytes<C: Coder, const N: usize>(coder: &mut C, mut bytes: [u8; N]) -> [u8; N] {
    let mut pairs = bytes.chunks_exact_mut(2);
    for pair in &mut pairs {
        let two = coder.plain(16, u32::from(pair[0]) << 8 | u32::from(pair[1]));
        (pair[0], pair[1]) = ((two >> 8) as u8, two as u8);
    }
    for byte in pairs.into_remainder() {
        *byte = coder.plain(8, (*byte).into()) as u8;
    }
    bytes
}
