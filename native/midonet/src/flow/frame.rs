// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Framing of a recorder connection: each record after its length as a base-128 varint of at most four bytes (`FlowSenderWorker.sendRecord`).
//!
//! A connection starts at a frame boundary and can end in the middle of a frame. The length excludes the varint.

use super::MAX_RECORD_BYTES;

/// Longest varint that an agent writes: four groups of seven bits.
const MAX_VARINT_BYTES: usize = 4;

/// What a decoder between two frames keeps of its memory: a connection that once sent a long record must not hold on to it.
const KEPT_CAPACITY: usize = 16 << 10;

/// One step of [`FrameDecoder::next_frame`].
#[derive(Debug, Eq, PartialEq)]
pub enum Frame<'a> {
    /// The bytes of a whole record.
    Record(&'a [u8]),
    /// A frame above the bound was passed over by its length; `size` is what it claimed.
    Skipped { size: usize },
}

/// Framing is lost: no way to find the next record, so the connection must be given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("length of a frame has more than {MAX_VARINT_BYTES} bytes after {at} bytes of the stream")]
pub struct FrameError {
    /// Bytes of the stream before the length.
    pub at: u64,
}

/// Cuts a stream into records. Holds at most one frame at the bound and one read; a longer frame is dropped as it arrives.
///
/// Use: [`FrameDecoder::extend`] with what was read, then [`FrameDecoder::next_frame`] until it gives `None`.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
    max_frame: usize,
    /// Bytes of a too long frame that are still to be dropped.
    skip: usize,
    /// Bytes of the stream before `start`.
    consumed: u64,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        FrameDecoder::new(MAX_RECORD_BYTES)
    }
}

impl FrameDecoder {
    /// Frames longer than `max_frame` are skipped.
    pub fn new(max_frame: usize) -> FrameDecoder {
        FrameDecoder {
            buffer: Vec::new(),
            start: 0,
            max_frame,
            skip: 0,
            consumed: 0,
        }
    }

    /// Takes over what was read from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        let dropped = self.skip.min(bytes.len());
        self.skip -= dropped;
        self.consumed += dropped as u64;
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(KEPT_CAPACITY);
        }
        self.buffer.extend_from_slice(&bytes[dropped..]);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let Some((size, varint)) = self.length()? else {
            return Ok(None);
        };
        let pending = self.buffer.len() - self.start - varint;
        if size > self.max_frame {
            let dropped = size.min(pending);
            self.skip = size - dropped;
            self.advance(varint + dropped);
            return Ok(Some(Frame::Skipped { size }));
        }
        if pending < size {
            return Ok(None);
        }
        let first = self.start + varint;
        self.advance(varint + size);
        Ok(Some(Frame::Record(&self.buffer[first..first + size])))
    }

    /// Whether the stream is at a frame boundary: if it ends elsewhere, a record was lost.
    pub fn is_at_boundary(&self) -> bool {
        self.start == self.buffer.len() && self.skip == 0
    }

    /// Bytes of the stream that were given out or dropped.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Bytes that wait for the rest of their frame.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.consumed += bytes as u64;
    }

    /// The length at the start of the unread part and the bytes that it takes.
    fn length(&self) -> Result<Option<(usize, usize)>, FrameError> {
        let unread = &self.buffer[self.start..];
        let mut size = 0;
        for (index, &byte) in unread.iter().take(MAX_VARINT_BYTES).enumerate() {
            size |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(Some((size, index + 1)));
            }
        }
        if unread.len() < MAX_VARINT_BYTES {
            Ok(None)
        } else {
            Err(FrameError { at: self.consumed })
        }
    }
}

/// A record in its frame, as an agent sends it. Records above 2^28 bytes have no frame; none is near.
pub fn encode(record: &[u8], out: &mut Vec<u8>) {
    let mut length = record.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(record);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(records: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        records.iter().for_each(|record| encode(record, &mut out));
        out
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        for (size, varint) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (204_800, 3)] {
            let record = vec![7; size];
            let bytes = framed(&[&record]);
            assert_eq!(bytes.len(), size + varint);
            let mut decoder = FrameDecoder::default();
            decoder.extend(&bytes[..bytes.len() - 1]);
            assert_eq!(decoder.next_frame(), Ok(None));
            assert_eq!(decoder.is_at_boundary(), bytes.len() == 1);
            decoder.extend(&bytes[bytes.len() - 1..]);
            assert_eq!(decoder.next_frame(), Ok(Some(Frame::Record(&record))));
            assert!(decoder.is_at_boundary());
        }
    }

    #[test]
    fn a_too_long_frame_is_dropped_without_being_held() {
        let long = vec![1; 1000];
        let bytes = framed(&[b"ab", &long, b"cd"]);
        for chunk in [1, 3, 500, 2000] {
            let mut decoder = FrameDecoder::new(100);
            let mut seen = Vec::new();
            for piece in bytes.chunks(chunk) {
                decoder.extend(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(match frame {
                        Frame::Record(record) => record.to_vec(),
                        Frame::Skipped { size } => size.to_string().into_bytes(),
                    });
                }
                assert!(decoder.buffered() <= 102);
            }
            assert_eq!(seen, [b"ab".to_vec(), b"1000".to_vec(), b"cd".to_vec()], "chunk {chunk}");
            assert_eq!(decoder.consumed(), bytes.len() as u64);
        }
    }

    #[test]
    fn a_length_without_end_loses_the_framing() {
        let mut decoder = FrameDecoder::default();
        decoder.extend(&framed(&[b"ab"]));
        decoder.extend(&[0x80, 0x80, 0x80]);
        assert_eq!(decoder.next_frame(), Ok(Some(Frame::Record(b"ab"))));
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.extend(&[0x80]);
        assert_eq!(decoder.next_frame(), Err(FrameError { at: 3 }));
    }
}
