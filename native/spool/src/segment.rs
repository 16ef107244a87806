// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Names of segments, and walking through one.

use std::{io, sync::Arc};

use crate::{
    disk::DiskFile,
    frame::{FRAME_HEADER, Frame, MAGIC, SEGMENT_HEADER, read_segment_header},
};

/// The file name of the segment that begins with this number.
pub(crate) fn name(epoch: u64, first: u64) -> String {
    format!("{epoch:016x}-{first:020}.seg")
}

/// Epoch and first number of a file name; `None` for files of others.
pub(crate) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (epoch, first) = name.strip_suffix(".seg")?.split_once('-')?;
    let digits = epoch.len() == 16 && first.len() == 20 && first.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| Some((u64::from_str_radix(epoch, 16).ok()?, first.parse().ok()?)))
        .flatten()
}

/// Goes through the frames of a segment from the first one on. A stretch that is no frame is searched for the next one.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) segment: u64,
    file: Arc<dyn DiskFile>,
    /// Where the next frame begins.
    pub(crate) offset: u64,
    /// Number of the frame before.
    pub(crate) last: u64,
    /// Items of the lane up to here; `None` at the start of a segment whose header is damaged.
    pub(crate) items: Option<u64>,
    last_us: i64,
}

/// Where a walk must end: bytes behind it and numbers from there on are not the segment's, or not synced yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) bytes: u64,
    pub(crate) next: u64,
}

#[derive(Debug)]
pub(crate) enum Found {
    Frame { frame: Frame, offset: u64 },
    Damage(Damage),
}

/// A stretch of a segment that holds no readable frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// The highest number that was in it, as far as its neighbours tell.
    pub(crate) sequence: u64,
    pub(crate) before: u64,
    /// Items that were in it; `None` at the end of a segment, where no neighbour tells.
    pub(crate) records: Option<u64>,
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
}

impl Walk {
    pub(crate) fn new(segment: u64, file: Arc<dyn DiskFile>) -> io::Result<Walk> {
        let mut header = [0; SEGMENT_HEADER];
        let whole = file.read_at(&mut header, 0)? == SEGMENT_HEADER;
        let items = read_segment_header(&header)
            .filter(|(first, _)| whole && *first == segment)
            .map(|(_, before)| before);
        Ok(Walk {
            segment,
            file,
            offset: SEGMENT_HEADER as u64,
            last: segment.saturating_sub(1),
            items,
            last_us: 0,
        })
    }

    /// The next frame or damaged stretch, which the walk is behind of then.
    pub(crate) fn next(&mut self, end: End) -> io::Result<Option<Found>> {
        if self.offset >= end.bytes {
            return Ok(None);
        }
        let mut header = [0; FRAME_HEADER];
        let whole = self.file.read_at(&mut header, self.offset)? == FRAME_HEADER;
        match Frame::decode(&header).filter(|_| whole) {
            Some(frame) if frame.sequence >= end.next => Ok(None),
            Some(frame) if self.fits(&frame, self.offset, end) => {
                let offset = self.offset;
                self.pass(&frame, offset);
                Ok(Some(Found::Frame { frame, offset }))
            }
            _ => self.resync(end).map(|damage| Some(Found::Damage(damage))),
        }
    }

    /// The content of a frame that the walk gave; `None` when it is not what was written.
    pub(crate) fn payload(&self, frame: &Frame, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let mut payload = vec![0; frame.length as usize];
        let read = self.file.read_at(&mut payload, offset + FRAME_HEADER as u64)?;
        Ok((read == payload.len() && crc32fast::hash(&payload) == frame.payload_crc).then_some(payload))
    }

    /// Turns a frame whose content is damaged into a hole.
    pub(crate) fn punch(&self, frame: &Frame, offset: u64) -> io::Result<()> {
        self.file.write_at(
            &Frame {
                hole: true,
                payload_crc: 0,
                ..*frame
            }
            .encode(),
            offset,
        )
    }

    /// Covers a damaged stretch with a hole. Fails on one too short for a header.
    pub(crate) fn cover(&self, damage: &Damage) -> io::Result<()> {
        let length = damage
            .bytes
            .checked_sub(FRAME_HEADER as u64)
            .and_then(|length| u32::try_from(length).ok());
        let frame = Frame {
            hole: true,
            length: length.ok_or(io::ErrorKind::InvalidInput)?,
            records: damage.records.unwrap_or(0).try_into().unwrap_or(u32::MAX),
            sequence: damage.sequence,
            before: damage.before,
            first_us: damage.first_us,
            last_us: damage.last_us,
            payload_crc: 0,
        };
        self.file.write_at(&frame.encode(), damage.offset)
    }

    fn fits(&self, frame: &Frame, offset: u64, end: End) -> bool {
        frame.sequence > self.last && frame.sequence < end.next && offset + frame.size() <= end.bytes
    }

    fn pass(&mut self, frame: &Frame, offset: u64) {
        self.offset = offset + frame.size();
        self.last = frame.sequence;
        self.items = Some(frame.after());
        self.last_us = frame.last_us;
    }

    /// Looks for the next frame byte by byte, in memory: a segment has a bounded size.
    fn resync(&mut self, end: End) -> io::Result<Damage> {
        let from = self.offset;
        let mut rest = vec![0; (end.bytes - from) as usize];
        let read = self.file.read_at(&mut rest, from)?;
        rest.truncate(read);
        let found = (1..rest.len()).find_map(|at| {
            let header = rest[at..].first_chunk::<FRAME_HEADER>().filter(|header| header[..4] == MAGIC)?;
            let frame = Frame::decode(header).filter(|frame| self.fits(frame, from + at as u64, end))?;
            Some((frame, from + at as u64))
        });
        let before = self.items;
        let damage = match found {
            Some((frame, offset)) => Damage {
                offset: from,
                bytes: offset - from,
                sequence: frame.sequence - 1,
                before: before.unwrap_or(frame.before),
                records: Some(frame.before.saturating_sub(before.unwrap_or(frame.before))),
                first_us: if self.last_us == 0 { frame.first_us } else { self.last_us },
                last_us: frame.first_us,
            },
            None => Damage {
                offset: from,
                bytes: end.bytes - from,
                sequence: end.next.saturating_sub(1).max(self.last),
                before: before.unwrap_or(0),
                records: None,
                first_us: self.last_us,
                last_us: self.last_us,
            },
        };
        self.offset = from + damage.bytes;
        if found.is_some() {
            self.items = Some(damage.before + damage.records.unwrap_or(0));
        }
        Ok(damage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_epoch_and_number() {
        assert_eq!(parse_name(&name(0xfeed, 42)), Some((0xfeed, 42)));
        for foreign in ["lock", "x.seg", "0000000000000000-1.seg", "000000000000feed-0000000000000000004x.seg", ""] {
            assert_eq!(parse_name(foreign), None, "{foreign}");
        }
    }
}
