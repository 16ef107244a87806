// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Names of segments, and walking through one.

use std::{io, sync::Arc};

use crate::{
    disk::DiskFile,
    frame::{FRAME_HEADER, Form, Frame, MAGIC, SEGMENT_HEADER, read_segment_header},
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
    /// The seal was seen, or its absence told.
    sealed: bool,
}

/// Where a walk must end: bytes behind it and numbers from there on are not the segment's, or not synced yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) bytes: u64,
    pub(crate) next: u64,
    /// The segment is closed, so that a seal must be there.
    pub(crate) closed: bool,
    /// Items of the lane up to the end, where that is known.
    pub(crate) items: Option<u64>,
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
    /// Items that were in it; `None` at the end of a segment whose seal is gone.
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
            sealed: false,
        })
    }

    /// The next record or hole, or the next damaged stretch; the walk is behind it then.
    pub(crate) fn next(&mut self, end: End) -> io::Result<Option<Found>> {
        if self.sealed {
            return Ok(None);
        }
        if self.offset >= end.bytes {
            self.sealed = end.closed;
            return Ok(end.closed.then(|| Found::Damage(self.damage(end.bytes, None, end))));
        }
        let mut header = [0; FRAME_HEADER];
        let whole = self.file.read_at(&mut header, self.offset)? == FRAME_HEADER;
        match Frame::decode(&header).filter(|frame| whole && self.fits(frame, self.offset, end)) {
            Some(seal) if seal.form == Form::Seal => {
                self.items = Some(seal.before);
                self.sealed = true;
                Ok(None)
            }
            Some(frame) => {
                let offset = self.offset;
                self.offset += frame.size();
                self.last = frame.sequence;
                self.items = Some(frame.after());
                self.last_us = frame.last_us;
                Ok(Some(Found::Frame { frame, offset }))
            }
            None => self.resync(end).map(|damage| Some(Found::Damage(damage))),
        }
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
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
                form: Form::Hole,
                payload_crc: 0,
                ..*frame
            }
            .encode(),
            offset,
        )
    }

    /// Covers a damaged stretch with a hole, at the end of a segment with a seal. Fails on one too short for a header.
    pub(crate) fn cover(&self, damage: &Damage, records: u64) -> io::Result<()> {
        let length = damage
            .bytes
            .saturating_sub(FRAME_HEADER as u64)
            .try_into()
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let Damage {
            sequence,
            before,
            first_us,
            last_us,
            ..
        } = *damage;
        let frame = match damage.records {
            None => Frame::seal(sequence, before + records, length),
            Some(_) if damage.bytes < FRAME_HEADER as u64 => return Err(io::ErrorKind::InvalidInput.into()),
            Some(_) => Frame {
                form: Form::Hole,
                length,
                records: records.try_into().unwrap_or(u32::MAX),
                sequence,
                before,
                first_us,
                last_us,
                payload_crc: 0,
            },
        };
        self.file.write_at(&frame.encode(), damage.offset)
    }

    fn fits(&self, frame: &Frame, offset: u64, end: End) -> bool {
        let rises = frame.sequence > self.last || frame.form != Form::Record && frame.sequence == self.last;
        rises && frame.sequence < end.next && offset + frame.size() <= end.bytes
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
        let to = found.map_or(end.bytes, |(_, offset)| offset);
        let damage = self.damage(to, found.map(|(frame, _)| frame), end);
        self.offset = to;
        match found {
            Some((frame, _)) => self.items = Some(frame.before),
            None => self.sealed = end.closed,
        }
        Ok(damage)
    }

    /// The stretch from here on, in front of a frame or at the end of the segment.
    fn damage(&self, to: u64, before: Option<Frame>, end: End) -> Damage {
        let items = self.items.or(before.map(|frame| frame.before)).unwrap_or(0);
        let last_us = match before {
            Some(Frame { form: Form::Seal, .. }) | None => self.last_us,
            Some(frame) => frame.first_us,
        };
        Damage {
            offset: self.offset,
            bytes: to.saturating_sub(self.offset),
            sequence: match before {
                Some(frame) if frame.form == Form::Seal => frame.sequence,
                Some(frame) => frame.sequence - 1,
                None => (end.next - 1).max(self.last),
            },
            before: items,
            records: before.map(|frame| frame.before).or(end.items).map(|end| end.saturating_sub(items)),
            first_us: if self.last_us == 0 { last_us } else { self.last_us },
            last_us,
        }
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
