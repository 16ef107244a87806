// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Binary arithmetic coding with chances that adapt: a bit that is nearly certain costs nearly nothing. The model is written once for both
//! sides: a [`Writer`] is told each bit and gives it back, a [`Reader`] gives what was written.

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
    fn of_one(self) -> u32 {
        ((u32::from(self.fast) + u32::from(self.slow)) >> 2).clamp(1, (1 << PRECISION) - 1)
    }

    fn learn(&mut self, bit: bool) {
        let slow = (self.seen / 2 + 1).min(SLOW);
        let fast = slow.min(FAST);
        self.seen = (self.seen + 1).min(2 * SLOW);
        if bit {
            self.fast += (u16::MAX - self.fast) >> fast;
            self.slow += (u16::MAX - self.slow) >> slow;
        } else {
            self.fast -= self.fast >> fast;
            self.slow -= self.slow >> slow;
        }
    }
}

pub(super) trait Coder {
    fn bit(&mut self, chance: &mut Chance, bit: bool) -> bool;

    /// Up to 16 bits of which nothing is known.
    fn plain(&mut self, bits: u32, value: u32) -> u32;
}

/// Most zeros that are left out at the end.
const LEFT_OUT: usize = 4;

/// Range below which a byte is settled.
const SETTLED: u32 = 1 << 24;

pub(super) struct Writer {
    out: Vec<u8>,
    low: u64,
    range: u32,
    /// The last byte that a carry may still change, and how many bytes of 255 follow it.
    last: u8,
    full: usize,
    /// Nothing was settled yet.
    first: bool,
}

impl Writer {
    pub(super) fn new(room: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(room),
            low: 0,
            range: u32::MAX,
            last: 0,
            full: 0,
            first: true,
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        // Of all values that say the same, one that ends with zeros, which a reader takes for what is not there.
        self.low = (self.low + u64::from(SETTLED - 1)) & !u64::from(SETTLED - 1);
        for _ in 0..5 {
            self.settle();
        }
        for _ in 0..LEFT_OUT {
            if self.out.pop_if(|byte| *byte == 0).is_none() {
                break;
            }
        }
        self.out
    }

    fn settle(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            if !self.first {
                self.out.push(self.last.wrapping_add(carry));
            }
            self.first = false;
            self.out.extend(std::iter::repeat_n(0xff_u8.wrapping_add(carry), self.full));
            self.full = 0;
            self.last = (self.low >> 24) as u8;
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    fn normalise(&mut self) {
        while self.range < SETTLED {
            self.range <<= 8;
            self.settle();
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
            self.low += u64::from(bound);
            self.range -= bound;
        }
        chance.learn(bit);
        self.normalise();
        bit
    }

    #[inline]
    fn plain(&mut self, bits: u32, value: u32) -> u32 {
        self.range >>= bits;
        self.low += u64::from(self.range) * u64::from(value);
        self.normalise();
        value
    }
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    code: u32,
    range: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        let mut reader = Reader {
            bytes,
            at: 0,
            code: 0,
            range: u32::MAX,
        };
        for _ in 0..4 {
            reader.code = reader.code << 8 | reader.next();
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

    fn next(&mut self) -> u32 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte.into()
    }

    fn normalise(&mut self) {
        while self.range < SETTLED {
            self.range <<= 8;
            self.code = self.code << 8 | self.next();
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
    fn plain(&mut self, bits: u32, _: u32) -> u32 {
        self.range >>= bits;
        let value = (self.code / self.range).min((1 << bits) - 1);
        self.code -= value * self.range;
        self.normalise();
        value
    }
}
