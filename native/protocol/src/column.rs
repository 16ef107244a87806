// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Bytes of a column: varints, zigzag differences, runs of fixed-size values, planes of numbers, and dictionaries in order of first
//! occurrence.

use std::collections::HashMap;
use std::hash::Hash;

use crate::WireError;
use crate::flow::predict::Numbered;

#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn zigzag(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// A column or dictionary as one block, its length before it.
    pub(crate) fn block(&mut self, block: Writer) {
        self.varint(block.0.len() as u64);
        self.0.extend_from_slice(&block.0);
    }
}

/// Blocks one after the other, with the places where a new one begins: large ones are compressed on their own.
#[derive(Default)]
pub(crate) struct Sections {
    bytes: Vec<u8>,
    begins: Vec<usize>,
}

impl Sections {
    /// The block before all others.
    pub(crate) fn head(&mut self, block: Writer) {
        self.push(block);
    }

    pub(crate) fn push(&mut self, block: Writer) {
        self.begins.push(self.bytes.len());
        let mut framed = Writer(std::mem::take(&mut self.bytes));
        framed.block(block);
        self.bytes = framed.0;
    }

    /// The values of a dictionary, their count before them.
    pub(crate) fn values(&mut self, count: u64, block: Writer) {
        let mut counted = Writer(Vec::with_capacity(block.len() + 9));
        counted.varint(count);
        counted.bytes(&block.0);
        self.push(counted);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blocks with their lengths.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.begins.iter().skip(1).copied().chain([self.bytes.len()]);
        self.begins.iter().zip(ends).map(|(begin, end)| &self.bytes[*begin..end])
    }
}

/// Numbers in planes of bytes: the width of the largest, then the lowest byte of each, then the second of each, and so on. Bytes of one
/// kind stand together, which an entropy coder needs.
#[derive(Default)]
pub(crate) struct Numbers {
    values: Vec<u64>,
    all: u64,
}

impl Numbers {
    pub(crate) fn push(&mut self, value: u64) {
        self.values.push(value);
        self.all |= value;
    }

    pub(crate) fn zigzag(&mut self, value: i64) {
        self.push(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn finish(self) -> Writer {
        let width = (8 - self.all.leading_zeros() as usize / 8).max(1);
        let mut out = Vec::with_capacity(1 + width * self.values.len());
        out.push(width as u8);
        for plane in 0..width {
            out.extend(self.values.iter().map(|value| (value >> (8 * plane)) as u8));
        }
        Writer(out)
    }
}

/// Reads [`Numbers`].
pub(crate) struct NumbersReader<'a> {
    planes: &'a [u8],
    width: usize,
    count: usize,
    at: usize,
    what: &'static str,
}

impl<'a> NumbersReader<'a> {
    /// All that is left of the block is the numbers.
    pub(crate) fn new(mut block: Reader<'a>) -> Result<Self, WireError> {
        let width = usize::from(block.byte()?);
        if !(1..=8).contains(&width) || !block.left().is_multiple_of(width) {
            return Err(block.invalid("width of numbers"));
        }
        let planes = block.take(block.left())?;
        Ok(NumbersReader {
            planes,
            width,
            count: planes.len() / width,
            at: 0,
            what: block.what,
        })
    }

    pub(crate) fn next(&mut self) -> Result<u64, WireError> {
        if self.at == self.count {
            return Err(WireError::Invalid {
                what: self.what,
                field: "number of numbers",
            });
        }
        let mut value = 0;
        for plane in 0..self.width {
            value |= u64::from(self.planes[plane * self.count + self.at]) << (8 * plane);
        }
        self.at += 1;
        Ok(value)
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, WireError> {
        let value = self.next()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Whether all numbers were read.
    pub(crate) fn is_done(&self) -> bool {
        self.at == self.count
    }
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { bytes, what }
    }

    pub(crate) fn invalid(&self, field: &'static str) -> WireError {
        WireError::Invalid { what: self.what, field }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or(self.invalid("length"))?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.bytes.split_first_chunk().ok_or(self.invalid("length"))?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.invalid("varint"))
    }

    /// A varint that must fit the narrower type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, WireError> {
        let value = self.varint()?;
        T::try_from(value).map_err(|_| self.invalid(field))
    }

    pub(crate) fn zigzag(&mut self) -> Result<i64, WireError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of things that take at least one byte each, so that no count can claim more than the bytes that are there.
    pub(crate) fn count(&mut self) -> Result<usize, WireError> {
        let count: usize = self.narrow("count")?;
        if count > self.left() { Err(self.invalid("count")) } else { Ok(count) }
    }

    pub(crate) fn block(&mut self, what: &'static str) -> Result<Reader<'a>, WireError> {
        let length: usize = self.narrow("block length")?;
        Ok(Reader {
            bytes: self.take(length)?,
            what,
        })
    }

    pub(crate) fn finish(self) -> Result<(), WireError> {
        match self.left() {
            0 => Ok(()),
            left => Err(WireError::Trailing { what: self.what, left }),
        }
    }
}

/// Values numbered in the order of their first occurrence.
pub(crate) struct Dictionary<T> {
    numbers: HashMap<T, u64, Numbered>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Dictionary { numbers: HashMap::default() }
    }
}

impl<T: Eq + Hash> Dictionary<T> {
    /// The number of the value, and whether it is new: a new one must be written to the dictionary's block by the caller.
    pub(crate) fn number(&mut self, value: T) -> (u64, bool) {
        let next = self.numbers.len() as u64;
        let number = *self.numbers.entry(value).or_insert(next);
        (number, number == next)
    }

    pub(crate) fn len(&self) -> u64 {
        self.numbers.len() as u64
    }
}
