// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Bytes of a column: varints, zigzag differences, runs of fixed-size values, and dictionaries in order of first occurrence.

use std::collections::HashMap;
use std::hash::Hash;

use crate::WireError;

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

    /// A column or dictionary as one block, its length before it.
    pub(crate) fn block(&mut self, block: Writer) {
        self.varint(block.0.len() as u64);
        self.0.extend_from_slice(&block.0);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
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
    numbers: HashMap<T, u64>,
}

impl<T: Eq + Hash> Dictionary<T> {
    pub(crate) fn new() -> Self {
        Dictionary { numbers: HashMap::new() }
    }

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
