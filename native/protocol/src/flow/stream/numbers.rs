// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How numbers are coded bit by bit.

use super::coder::{Chance, Coder};

/// A number of up to `N` bits in a tree of chances, one for each beginning of it.
#[derive(Clone, Debug)]
pub(super) struct Tree<const N: u32>(Vec<Chance>);

impl<const N: u32> Default for Tree<N> {
    fn default() -> Self {
        Tree(vec![Chance::default(); 1 << N])
    }
}

impl<const N: u32> Tree<N> {
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, value: u32) -> u32 {
        code_in(&mut self.0, coder, N, value)
    }
}

/// The tree has a chance for each node, from 1 on.
fn code_in<C: Coder>(tree: &mut [Chance], coder: &mut C, bits: u32, value: u32) -> u32 {
    let mut node = 1usize;
    for at in (0..bits).rev() {
        let bit = coder.bit(&mut tree[node], value >> at & 1 != 0);
        node = node << 1 | usize::from(bit);
    }
    node as u32 - (1 << bits)
}

/// Numbers from this length on are rare.
const LONG: u32 = 31;

/// A number of any size: its length in bits, then as many of its highest bits as `KNOWN` by chances that were learnt, then the rest as it is.
#[derive(Clone, Debug)]
pub(super) struct Number<const KNOWN: u32> {
    length: Tree<5>,
    /// By length.
    highest: Vec<Chance>,
}

impl<const KNOWN: u32> Default for Number<KNOWN> {
    fn default() -> Self {
        Number {
            length: Tree::default(),
            highest: Vec::new(),
        }
    }
}

impl<const KNOWN: u32> Number<KNOWN> {
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, value: u64) -> u64 {
        let length = 64 - value.leading_zeros();
        let mut length = match self.length.code(coder, length.min(LONG)) {
            LONG => coder.plain(7, length).clamp(LONG, 64),
            length => length,
        };
        length = length.min(64);
        if length < 2 {
            return length.into();
        }
        // The first one is known from the length.
        let bits = (length - 1).min(KNOWN);
        let (begin, size) = (length as usize * (1 << KNOWN), 1 << KNOWN);
        if self.highest.len() < begin + size {
            self.highest.resize(begin + size, Chance::default());
        }
        let mut left = length - 1 - bits;
        let mask = (1u64 << bits) - 1;
        let high = code_in(&mut self.highest[begin..begin + size], coder, bits, (value >> left & mask) as u32);
        let mut coded = 1 << bits | u64::from(high);
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
pub(super) fn plain_bytes<C: Coder, const N: usize>(coder: &mut C, bytes: [u8; N]) -> [u8; N] {
    bytes.map(|byte| coder.plain(8, byte.into()) as u8)
}
