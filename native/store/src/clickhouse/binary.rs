// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! RowBinary: values one after the other, numbers with their lowest byte first, lengths as variable numbers, absent values as a byte 1.

use std::net::IpAddr;

use uuid::Uuid;

use super::client::ServerError;
use crate::{
    StoreError,
    filter::{address_bytes, address_from},
};

pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    /// Also `DateTime64(6)`, in µs.
    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_le_bytes());
    }

    /// Two halves, each with its lowest byte first.
    pub(super) fn id(&mut self, id: Uuid) {
        let (high, low) = id.as_u64_pair();
        self.u64(high);
        self.u64(low);
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        self.0.extend(address_bytes(address));
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.0.extend(value);
    }

    pub(super) fn list<T>(&mut self, values: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.length(values.len());
        values.for_each(|value| write(self, value));
    }

    pub(super) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => {
                self.0.push(0);
                write(self, value);
            }
            None => self.0.push(1),
        }
    }

    fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.0.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
    }
}

/// Reads what the server wrote. Lengths that it can't have are errors, never allocations.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(form)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| form())
    }

    pub(super) fn u8(&mut self) -> Result<u8, StoreError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, StoreError> {
        Ok(self.u8()? != 0)
    }

    pub(super) fn u16(&mut self) -> Result<u16, StoreError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, StoreError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, StoreError> {
        self.array().map(f64::from_le_bytes)
    }

    pub(super) fn id(&mut self) -> Result<Uuid, StoreError> {
        let high = self.u64()?;
        Ok(Uuid::from_u64_pair(high, self.u64()?))
    }

    pub(super) fn address(&mut self) -> Result<IpAddr, StoreError> {
        self.array().map(address_from)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let length = self.length()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| form())
    }

    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        let length = self.length()?;
        // Each value has a byte at least.
        if length > self.0.len() {
            return Err(form());
        }
        (0..length).map(|_| read(self)).collect()
    }

    pub(super) fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match self.u8()? {
            0 => read(self).map(Some),
            _ => Ok(None),
        }
    }

    fn length(&mut self) -> Result<usize, StoreError> {
        let mut length = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f).checked_shl(shift).ok_or_else(form)?;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(form())
    }
}

pub(super) fn form() -> StoreError {
    StoreError::columns("read an answer", ServerError::Form)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec(any::<u64>(), 0..300), blob in prop::collection::vec(any::<u8>(), 0..400), id in any::<u128>()
        ) {
            let mut out = Vec::new();
            let mut writer = Writer(&mut out);
            writer.list(numbers.iter(), |writer, number| writer.u64(*number));
            writer.bytes(&blob);
            writer.maybe(Some(Uuid::from_u128(id)), Writer::id);
            writer.maybe(None::<u8>, Writer::u8);
            writer.i64(-5);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.list(Reader::u64).unwrap(), numbers);
            prop_assert_eq!(reader.bytes().unwrap(), blob.as_slice());
            prop_assert_eq!(reader.maybe(Reader::id).unwrap(), Some(Uuid::from_u128(id)));
            prop_assert_eq!(reader.maybe(Reader::u8).unwrap(), None);
            prop_assert_eq!(reader.i64().unwrap(), -5);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn other_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut reader = Reader(&bytes);
            let _ = reader.list(|reader| reader.maybe(Reader::id));
            let _ = reader.text();
            let _ = reader.length();
        }
    }
}
