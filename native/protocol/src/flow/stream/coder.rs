// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Arithmetic coding with chances that adapt: what is nearly certain costs nearly nothing. The model is written once for both sides: a [`Writer`] is
//! told each bit and symbol and gives it back, a [`Reader`] gives what was written.

/// How likely a bit is 1, learnt from those before it: the mean of a fast and a slow estimate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    fast: u16,
    slow: u16,
    seen: u8,
}

impl Default for Chance {
    fn default() -> Self {
        Chance {
            fast: 1 << 15,
            slow: 1 << 15,
            seen: 0,
        }
    }
}

/// The slow estimate moves by a 2^-7 of what it was off, and faster before it saw as much.
const SLOW: u8 = 7;
const FAST: u8 = 4;
/// Bits of a probability.
const PRECISION: u32 = 15;

impl Chance {
    /// Between 1 and 2^15 - 1.
    #[inline]
    fn of_one(self) -> u64 {
        ((u64::from(self.fast) + u64::from(self.slow)) >> 2).clamp(1, (1 << PRECISION) - 1)
    }

    #[inline]
    fn learn(&mut self, bit: bool) {
        let slow = (self.seen / 2 + 1).min(SLOW);
        let fast = slow.min(FAST);
        self.seen = (self.seen + 1).min(2 * SLOW);
        let wanted = if bit { i32::from(u16::MAX) } else { 0 };
        let nearer = |estimate: u16, by: u8| (i32::from(estimate) + ((wanted - i32::from(estimate)) >> by)) as u16;
        self.fast = nearer(self.fast, fast);
        self.slow = nearer(self.slow, slow);
    }
}

/// How likely each of 16 symbols is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbols {
    /// Where each symbol begins in [`SPREAD`], without what each of them has in any case.
    edges: [i16; 16],
    seen: u8,
}

/// What a symbol has of 2^15 in any case: a symbol that never comes costs the others little, and 13 bits when it comes.
const LEAST: i16 = 4;
/// What is left to be learnt.
const SPREAD: i16 = i16::MAX - (16 * LEAST - 1);
/// Estimates move by a 2^-6 of what they were off, and faster before they saw as much.
const SYMBOL_RATE: u32 = 7;

impl Default for Symbols {
    fn default() -> Self {
        Symbols {
            edges: std::array::from_fn(|at| at as i16 * (SPREAD / 16)),
            seen: 0,
        }
    }
}

impl Symbols {
    /// Begin and size of a symbol's part of 2^15.
    #[inline]
    fn part(&self, symbol: usize) -> (u64, u64) {
        let begin = self.edges[symbol & 15] + LEAST * symbol as i16;
        let end = match self.edges.get(symbol + 1) {
            Some(edge) => i32::from(edge + LEAST * (symbol as i16 + 1)),
            None => 1 << PRECISION,
        };
        (begin as u64, (end - i32::from(begin)) as u64)
    }

    /// The symbol to whose part the value belongs.
    #[inline]
    fn at(&self, value: i16) -> usize {
        let begun: i16 = self
            .edges
            .iter()
            .enumerate()
            .map(|(at, edge)| i16::from(*edge + LEAST * at as i16 <= value))
            .sum();
        begun as usize - 1
    }

    #[inline]
    fn learn(&mut self, symbol: usize) {
        let rate = (1 + (u8::BITS - (self.seen + 1).leading_zeros())).min(SYMBOL_RATE);
        self.seen = (self.seen + 1).min(64);
        for (at, edge) in self.edges.iter_mut().enumerate() {
            let wanted = if at as i16 > symbol as i16 { SPREAD } else { 0 };
            *edge += (wanted - *edge) >> rate;
        }
    }
}

pub(super) trait Coder {
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool;

    /// One of 16.
    fn symbol(&mut self, symbols: &mut Symbols, symbol: u32) -> u32;

    /// Up to 16 bits of which nothing is known.
    fn plain(&mut self, bits: u32, value: u32) -> u32;
}

/// Most zeros that are left out at the end: what a reader takes for them.
const LEFT_OUT: usize = 8;

/// Range below which four bytes are settled.
const SETTLED: u64 = 1 << 32;

pub(super) struct Writer {
    out: Vec<u8>,
    low: u64,
    range: u64,
}

impl Writer {
    pub(super) fn new(room: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(room),
            low: 0,
            range: u64::MAX,
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        // Of all values that say the same, the one that ends with the most zeros.
        let zeros = (0..8).rev().map(|bytes| (1u64 << (8 * bytes)) - 1);
        let begun = self.low;
        for mask in zeros {
            let (end, over) = begun.overflowing_add(mask);
            let end = end & !mask;
            if end.wrapping_sub(begun) < self.range {
                if over {
                    self.carry();
                }
                self.low = end;
                break;
            }
        }
        self.out.extend(self.low.to_be_bytes());
        for _ in 0..LEFT_OUT {
            if self.out.pop_if(|byte| *byte == 0).is_none() {
                break;
            }
        }
        self.out
    }

    #[inline]
    fn add(&mut self, more: u64) {
        let (low, over) = self.low.overflowing_add(more);
        self.low = low;
        if over {
            self.carry();
        }
    }

    #[cold]
    fn carry(&mut self) {
        for byte in self.out.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    #[inline]
    fn normalise(&mut self) {
        if self.range < SETTLED {
            self.range <<= 32;
            self.out.extend_from_slice(&((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
        }
    }
}

impl Coder for Writer {
    #[inline]
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool {
        let bound = (self.range >> PRECISION) * chance.of_one();
        if bit {
            self.range = bound;
        } else {
            self.add(bound);
            self.range -= bound;
        }
        chance.learn(bit);
        self.normalise();
        bit
    }

    #[inline]
    fn symbol(&mut self, symbols: &mut Symbols, symbol: u32) -> u32 {
        let (begin, size) = symbols.part(symbol as usize);
        let unit = self.range >> PRECISION;
        self.add(unit * begin);
        self.range = unit * size;
        symbols.learn(symbol as usize);
        self.normalise();
        symbol
    }

    #[inline]
    fn plain(&mut self, bits: u32, value: u32) -> u32 {
        self.range >>= bits;
        self.add(self.range * u64::from(value));
        self.normalise();
        value
    }
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    code: u64,
    range: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        let mut reader = Reader {
            bytes,
            at: 0,
            code: 0,
            range: u64::MAX,
        };
        for _ in 0..2 {
            reader.code = reader.code << 32 | reader.next();
        }
        reader
    }

    /// Whether more was read than a writer of these bytes can have settled: then they are cut off or made up.
    pub(super) fn is_beyond(&self) -> bool {
        self.at > self.bytes.len() + LEFT_OUT
    }

    /// Whether everything was read.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len() && !self.is_beyond()
    }

    #[inline]
    fn next(&mut self) -> u64 {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += 4;
        match rest.first_chunk() {
            Some(bytes) => u32::from_be_bytes(*bytes).into(),
            None => {
                let mut bytes = [0; 4];
                bytes[..rest.len()].copy_from_slice(rest);
                u32::from_be_bytes(bytes).into()
            }
        }
    }

    #[inline]
    fn normalise(&mut self) {
        if self.range < SETTLED {
            self.range <<= 32;
            self.code = self.code << 32 | self.next();
        }
    }
}

impl Coder for Reader<'_> {
    #[inline]
    fn bit(&mut self, chance: &mut Chance, _: bool) -> bool {
        let bound = (self.range >> PRECISION) * chance.of_one();
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        chance.learn(bit);
        self.normalise();
        bit
    }

    #[inline]
    fn symbol(&mut self, symbols: &mut Symbols, _: u32) -> u32 {
        let unit = self.range >> PRECISION;
        let symbol = symbols.at((self.code / unit).min((1 << PRECISION) - 1) as i16);
        let (begin, size) = symbols.part(symbol);
        self.code -= unit * begin;
        self.range = unit * size;
        symbols.learn(symbol);
        self.normalise();
        symbol as u32
    }

    #[inline]
    fn plain(&mut self, bits: u32, _: u32) -> u32 {
        self.range >>= bits;
        let value = (self.code / self.range).min((1 << bits) - 1);
        self.code -= value * self.range;
        self.normalise();
        value as u32
    }
}
