// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Bytes of a segment. All numbers are little-endian.
//!
//! Segment header, 28 bytes: `magic [u8; 8], first number u64, items before u64, crc32 of these u32`.
//!
//! Frame header, 56 bytes, then the content:
//! | field | type | |
//! |---|---|---|
//! | magic | `[u8; 4]` | |
//! | form | u32 | 1 record; 2 hole, where something was lost; 3 seal, the last frame of a closed segment |
//! | length | u32 | of the content |
//! | items | u32 | inside |
//! | number | u64 | of the record, rising within a lane |
//! | before | u64 | items of all records of the lane before this one: tells how many a damaged stretch had |
//! | first, last | i64, i64 | times of the items |
//! | content crc | u32 | crc32 of the content; 0 for holes and seals |
//! | header crc | u32 | crc32 of the fields above |

use crate::MAX_PAYLOAD;

pub(crate) const SEGMENT_HEADER: usize = 28;
pub(crate) const FRAME_HEADER: usize = 56;

pub(crate) const MAGIC: [u8; 4] = *b"mIr\x01";
const SEGMENT_MAGIC: [u8; 8] = *b"mIspool\x01";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Record = 1,
    /// Stands where records were lost, which was told.
    Hole = 2,
    /// Ends a closed segment: says up to which number and item it went.
    Seal = 3,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) form: Form,
    pub(crate) length: u32,
    pub(crate) records: u32,
    pub(crate) sequence: u64,
    pub(crate) before: u64,
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    pub(crate) payload_crc: u32,
}

impl Frame {
    /// Bytes on disk with the content.
    pub(crate) fn size(&self) -> u64 {
        FRAME_HEADER as u64 + u64::from(self.length)
    }

    /// Items of the lane up to and with this record.
    pub(crate) fn after(&self) -> u64 {
        self.before.saturating_add(self.records.into())
    }

    /// The seal behind the record with this number.
    pub(crate) fn seal(sequence: u64, items: u64, length: u32) -> Frame {
        Frame {
            form: Form::Seal,
            length,
            records: 0,
            sequence,
            before: items,
            first_us: 0,
            last_us: 0,
            payload_crc: 0,
        }
    }

    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&(self.form as u32).to_le_bytes());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[12..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.before.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_us.to_le_bytes());
        out[40..48].copy_from_slice(&self.last_us.to_le_bytes());
        out[48..52].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..52]);
        out[52..56].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER]) -> Option<Frame> {
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let form = [Form::Record, Form::Hole, Form::Seal]
            .into_iter()
            .find(|form| *form as u32 == u32_at(4))?;
        let frame = Frame {
            form,
            length: u32_at(8),
            records: u32_at(12),
            sequence: u64_at(16),
            before: u64_at(24),
            first_us: u64_at(32) as i64,
            last_us: u64_at(40) as i64,
            payload_crc: u32_at(48),
        };
        let whole = bytes[..4] == MAGIC && crc32fast::hash(&bytes[..52]) == u32_at(52);
        // A hole may stand for several records and be longer than any of them.
        let bounded = form != Form::Record || frame.length as usize <= MAX_PAYLOAD;
        (whole && bounded).then_some(frame)
    }
}

pub(crate) fn segment_header(first: u64, before: u64) -> [u8; SEGMENT_HEADER] {
    let mut out = [0; SEGMENT_HEADER];
    out[..8].copy_from_slice(&SEGMENT_MAGIC);
    out[8..16].copy_from_slice(&first.to_le_bytes());
    out[16..24].copy_from_slice(&before.to_le_bytes());
    let crc = crc32fast::hash(&out[..24]);
    out[24..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// First number and items before, if the header holds.
pub(crate) fn read_segment_header(bytes: &[u8; SEGMENT_HEADER]) -> Option<(u64, u64)> {
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let crc = u32::from_le_bytes(std::array::from_fn(|i| bytes[24 + i]));
    (bytes[..8] == SEGMENT_MAGIC && crc32fast::hash(&bytes[..24]) == crc).then(|| (u64_at(8), u64_at(16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_any_flipped_bit_is_none() {
        let frame = Frame {
            form: Form::Record,
            length: 9,
            records: 3,
            sequence: 7,
            before: 20,
            first_us: -1,
            last_us: 5,
            payload_crc: 77,
        };
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes), Some(frame));
        for bit in 0..FRAME_HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&damaged), None, "bit {bit}");
        }
        let bytes = segment_header(4, 6);
        assert_eq!(read_segment_header(&bytes), Some((4, 6)));
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_segment_header(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_length_above_the_bound_is_refused() {
        let frame = Frame {
            form: Form::Record,
            length: MAX_PAYLOAD as u32 + 1,
            records: 1,
            sequence: 1,
            before: 0,
            first_us: 0,
            last_us: 0,
            payload_crc: 0,
        };
        assert_eq!(Frame::decode(&frame.encode()), None);
    }
}
