// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One lane: its segments, its tail, and the places of its reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    Entry, LaneOptions, LaneState, LossCause, Lost, Record, SpoolError,
    disk::{Disk, DiskFile},
    frame::{FRAME_HEADER, Form, Frame, SEGMENT_HEADER, segment_header},
    lost::Losses,
    segment::{Damage, End, Found, Walk, name},
};

mod recover;

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) options: LaneOptions,
    index: usize,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    epoch: u64,
    /// First number and bytes of each segment. The last one is appended to.
    segments: BTreeMap<u64, u64>,
    /// The last segment's file; `None` when it failed or is closed, so that a new segment must be begun.
    active: Option<Arc<dyn DiskFile>>,
    /// The last segment has its seal.
    closed: bool,
    /// Behind the last frame that was written, and behind the last one that is synced.
    written: Tail,
    durable: Tail,
    acknowledged: u64,
    /// The number of the first record that came after the opening; a segment begins with it.
    recovered: u64,
    /// An opening found the last segment without a header and without a record.
    headless: bool,
    protected: u64,
    reader: Option<Walk>,
    acker: Option<Walk>,
    /// Damaged places that were told but could not be marked on disk.
    told: BTreeSet<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Tail {
    /// Of the last segment.
    bytes: u64,
    next: u64,
    items: u64,
}

impl Lane {
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().sum()
    }

    pub(crate) fn state(&self) -> LaneState {
        let next = self.durable.next;
        let oldest = self.segments.keys().next().copied().unwrap_or(next);
        let first = oldest.max(self.acknowledged + 1).min(next);
        LaneState {
            epoch: self.epoch,
            first,
            next,
            bytes: self.bytes(),
            oldest_us: self.oldest_us(),
        }
    }

    /// Writes a record behind the last one. It is not synced then.
    pub(crate) fn write(&mut self, entry: &Entry<'_>, segment_bytes: u64) -> Result<u64, SpoolError> {
        if self.active.is_none() || self.written.bytes >= segment_bytes && self.written.bytes > SEGMENT_HEADER as u64 {
            self.roll()?;
        }
        let sequence = self.written.next;
        let frame = Frame {
            form: Form::Record,
            length: entry.payload.len() as u32,
            records: entry.records,
            sequence,
            before: self.written.items,
            first_us: entry.first_us,
            last_us: entry.last_us,
            payload_crc: crc32fast::hash(entry.payload),
        };
        let mut bytes = Vec::with_capacity(FRAME_HEADER + entry.payload.len());
        bytes.extend_from_slice(&frame.encode());
        bytes.extend_from_slice(entry.payload);
        let path = self.active_path();
        let file = self.active.as_ref().expect("roll made one");
        if let Err(error) = file.write_at(&bytes, self.written.bytes) {
            // What was written of it must go; where that fails, it goes before the next record is written.
            if file.truncate(self.written.bytes).is_err() {
                // Its failure counts more than that of the write: it cuts records that were written before.
                let synced = self.sync_active();
                self.active = None;
                synced?;
            }
            return Err(SpoolError::io("write", path)(error));
        }
        self.written = Tail {
            bytes: self.written.bytes + frame.size(),
            next: sequence + 1,
            items: frame.after(),
        };
        self.measure_active();
        Ok(sequence)
    }

    /// The file to sync so that all that was written is durable; [`Lane::synced`] takes the outcome.
    pub(crate) fn unsynced(&self) -> Option<(Arc<dyn DiskFile>, PathBuf)> {
        let file = self.active.as_ref().filter(|_| self.written != self.durable)?;
        Some((file.clone(), self.active_path()))
    }

    /// After a sync. When it failed, nothing is known of what was written since the one before: it is cut, and a new segment begun.
    pub(crate) fn synced(&mut self, good: bool) {
        if good {
            self.durable = self.written;
            return;
        }
        self.written = self.durable;
        if let Some(file) = self.active.take() {
            // Where this fails it is done before the next record is written.
            let _ = file.truncate(self.durable.bytes);
        }
        self.measure_active();
    }

    /// Closes the last segment and begins a new one.
    pub(crate) fn roll(&mut self) -> Result<(), SpoolError> {
        if let Some((&last, _)) = self.segments.last_key_value().filter(|_| !self.closed) {
            let empty = last == self.written.next;
            if empty && self.active.is_some() {
                return Ok(());
            }
            if !empty {
                self.close(last)?;
            }
        }
        self.begin()
    }

    fn begin(&mut self) -> Result<(), SpoolError> {
        let first = self.written.next;
        let path = self.folder.join(name(self.epoch, first));
        let file = self.disk.create(&path).map_err(SpoolError::io("create", &path))?;
        let header = file.write_at(&segment_header(first, self.written.items), 0).and_then(|()| file.sync());
        if let Err(error) = header.and_then(|()| self.disk.sync_folder(&self.folder)) {
            // The empty file stays: its name may be all that keeps the number.
            let _ = file.truncate(0);
            return Err(SpoolError::io("begin segment", path)(error));
        }
        self.segments.insert(first, SEGMENT_HEADER as u64);
        self.active = Some(file);
        self.closed = false;
        self.written.bytes = SEGMENT_HEADER as u64;
        self.durable = self.written;
        self.trim();
        Ok(())
    }

    /// Cuts what a failure left behind the last segment's end, and seals it. Nothing is appended elsewhere before that worked: an end
    /// without a seal is damage.
    fn close(&mut self, segment: u64) -> Result<(), SpoolError> {
        let path = self.path_of(segment);
        let file = match &self.active {
            Some(file) => file.clone(),
            None => {
                let file = self.disk.open(&path).map_err(SpoolError::io("open", &path))?;
                file.truncate(self.durable.bytes).map_err(SpoolError::io("cut", &path))?;
                file
            }
        };
        if self.headless {
            if let Err(error) = file.write_at(&segment_header(segment, self.written.items), 0) {
                let _ = file.truncate(0);
                self.written.bytes = 0;
                self.durable = self.written;
                self.measure_active();
                return Err(SpoolError::io("write", path)(error));
            }
            self.written.bytes = SEGMENT_HEADER as u64;
        }
        let seal = Frame::seal(self.written.next - 1, self.written.items, 0).encode();
        if let Err(error) = file.write_at(&seal, self.written.bytes) {
            let _ = file.truncate(self.written.bytes);
            self.measure_active();
            return Err(SpoolError::io("seal", path)(error));
        }
        let outcome = file.sync();
        self.synced(outcome.is_ok());
        outcome.map_err(SpoolError::io("sync", path))?;
        self.segments.insert(segment, self.written.bytes + FRAME_HEADER as u64);
        self.active = None;
        self.closed = true;
        self.headless = false;
        Ok(())
    }

    /// The first record from this number on that the lane still holds. Damaged ones are passed over and told.
    pub(crate) fn read(&mut self, from: u64, losses: &mut Losses) -> Result<Option<Record>, SpoolError> {
        let from = from.max(self.acknowledged + 1);
        let mut walk = match self.reader.take() {
            Some(walk) if walk.last < from && self.holds(&walk, from) => walk,
            _ => match self.walk_to(from)? {
                Some(walk) => walk,
                None => return Ok(None),
            },
        };
        loop {
            let end = self.end_of(walk.segment);
            let path = self.path_of(walk.segment);
            match walk.next(end).map_err(SpoolError::io("read", &path))? {
                Some(Found::Frame { frame, .. }) if frame.form == Form::Hole || frame.sequence < from => {}
                Some(Found::Frame { frame, offset }) => match walk.payload(&frame, offset).map_err(SpoolError::io("read", &path))? {
                    Some(payload) => {
                        self.reader = Some(walk);
                        let Frame {
                            sequence,
                            records,
                            first_us,
                            last_us,
                            ..
                        } = frame;
                        return Ok(Some(Record {
                            sequence,
                            payload,
                            records,
                            first_us,
                            last_us,
                        }));
                    }
                    None => self.tell_frame(&walk, &frame, offset, losses),
                },
                Some(Found::Damage(damage)) => self.tell_damage(&walk, damage, losses),
                None => match self.segments.range(walk.segment + 1..).next() {
                    Some((&segment, _)) => walk = self.walk(segment)?,
                    None => {
                        self.reader = Some(walk);
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// Forgets all records up to and with this number; says how many items they held.
    pub(crate) fn ack(&mut self, sequence: u64) -> Result<u64, SpoolError> {
        let sequence = sequence.min(self.durable.next - 1);
        if sequence <= self.acknowledged {
            return Ok(0);
        }
        let mut items = 0;
        let mut walk = match self.acker.take() {
            Some(walk) if self.segments.contains_key(&walk.segment) => Some(walk),
            _ => self.walk_to(self.acknowledged + 1)?,
        };
        while let Some(mut at) = walk.take() {
            let path = self.path_of(at.segment);
            loop {
                let before = at.clone();
                match at.next(self.end_of(at.segment)).map_err(SpoolError::io("read", &path))? {
                    Some(Found::Frame { frame, .. }) if frame.sequence > sequence => {
                        at = before;
                        break;
                    }
                    Some(Found::Frame { frame, .. }) if frame.form == Form::Hole || frame.sequence <= self.acknowledged => {}
                    Some(Found::Frame { frame, .. }) => items += u64::from(frame.records),
                    Some(Found::Damage(_)) => {}
                    None => break,
                }
            }
            match self.segments.range(at.segment + 1..).next() {
                Some((&segment, _)) if segment <= sequence => walk = Some(self.walk(segment)?),
                _ => self.acker = Some(at),
            }
        }
        self.acknowledged = sequence;
        self.trim();
        Ok(items)
    }

    pub(crate) fn protect(&mut self, sequence: u64) {
        self.protected = self.protected.max(sequence);
    }

    /// Gives up the oldest segment that may give way. `false` when there is none.
    pub(crate) fn evict(&mut self, losses: &mut Losses) -> Result<bool, SpoolError> {
        let Some((&segment, &bytes)) = self.segments.range(self.protected + 1..).next() else {
            return Ok(false);
        };
        if self.segments.last_key_value().is_some_and(|(&last, _)| last == segment) {
            if bytes <= SEGMENT_HEADER as u64 {
                return Ok(false);
            }
            self.roll()?;
            if !self.segments.contains_key(&segment) {
                return Ok(true); // All of it was acknowledged.
            }
        }
        let lost = self.contents(segment);
        let path = self.path_of(segment);
        self.disk.remove(&path).map_err(SpoolError::io("remove", &path))?;
        // What was told as lost must not come back with the next start.
        let _ = self.disk.sync_folder(&self.folder);
        self.forget(segment);
        losses.add(lost);
        Ok(true)
    }

    /// Gives the last segment up when all that it holds is acknowledged. `false` when there is nothing to gain.
    pub(crate) fn reclaim(&mut self) -> Result<bool, SpoolError> {
        let holds = self.segments.last_key_value().is_some_and(|(&first, _)| first < self.durable.next);
        if self.acknowledged + 1 < self.durable.next || self.written != self.durable || !holds {
            return Ok(false);
        }
        self.roll()?;
        Ok(true)
    }

    /// Gives the lane another epoch; its records keep their numbers. Those that were there when the lane was opened are deleted first: the
    /// other side has them by the same numbers. Gives their items.
    pub(crate) fn renew(&mut self, epoch: u64) -> Result<u64, SpoolError> {
        // They must be off the disk, or an opening after a crash would take them for records of the new epoch.
        if self.segments.last_key_value().is_some_and(|(&last, _)| last < self.recovered) {
            self.roll()?;
        }
        let items = self.ack(self.recovered.saturating_sub(1))?;
        let old: Vec<u64> = self.segments.range(..self.recovered).map(|(&segment, _)| segment).collect();
        for segment in old {
            let path = self.path_of(segment);
            self.disk.remove(&path).map_err(SpoolError::io("remove", path))?;
            self.forget(segment);
        }
        self.disk.sync_folder(&self.folder).map_err(SpoolError::io("sync", &self.folder))?;
        self.recovered = 0;
        // Newest first: an opening after a crash in between takes the epoch of the last segment and goes on with the others.
        for &segment in self.segments.keys().rev() {
            let (from, to) = (self.path_of(segment), self.folder.join(name(epoch, segment)));
            self.disk.rename(&from, &to).map_err(SpoolError::io("rename", from))?;
        }
        self.epoch = epoch;
        self.disk.sync_folder(&self.folder).map_err(SpoolError::io("sync", &self.folder))?;
        Ok(items)
    }

    /// Time of the first item that is not acknowledged. `None` too when the disk doesn't tell.
    fn oldest_us(&self) -> Option<i64> {
        if self.acknowledged + 1 >= self.durable.next {
            return None;
        }
        let mut walk = match &self.acker {
            Some(walk) if self.segments.contains_key(&walk.segment) => walk.clone(),
            _ => self.walk_to(self.acknowledged + 1).ok()??,
        };
        loop {
            match walk.next(self.end_of(walk.segment)).ok()? {
                Some(Found::Frame { frame, .. }) if frame.form == Form::Record && frame.sequence > self.acknowledged => return Some(frame.first_us),
                Some(_) => {}
                None => walk = self.walk(*self.segments.range(walk.segment + 1..).next()?.0).ok()?,
            }
        }
    }

    /// What is in a segment and not acknowledged, as a loss.
    fn contents(&self, segment: u64) -> Lost {
        let mut lost = Lost {
            lane: self.index,
            cause: LossCause::Evicted,
            records: 0,
            first_us: i64::MAX,
            last_us: i64::MIN,
        };
        let mut add = |records: u64, first_us: i64, last_us: i64| {
            lost.records += records;
            lost.first_us = lost.first_us.min(first_us);
            lost.last_us = lost.last_us.max(last_us);
        };
        let Ok(mut walk) = self.walk(segment) else { return lost };
        let end = self.end_of(segment);
        // A disk that can't be read tells no more; what is behind stays uncounted.
        while let Ok(Some(found)) = walk.next(end) {
            match found {
                Found::Frame { frame, offset } => {
                    if frame.form == Form::Record && frame.sequence > self.acknowledged && !self.told.contains(&(segment, offset)) {
                        add(frame.records.into(), frame.first_us, frame.last_us);
                    }
                }
                Found::Damage(damage) => {
                    if !self.told.contains(&(segment, damage.offset)) {
                        add(self.records_in(&damage, segment), damage.first_us, damage.last_us);
                    }
                }
            }
        }
        lost
    }

    fn tell_frame(&mut self, walk: &Walk, frame: &Frame, offset: u64, losses: &mut Losses) {
        let place = (walk.segment, offset);
        if !self.told.contains(&place) {
            let Frame {
                records, first_us, last_us, ..
            } = *frame;
            losses.add(Lost {
                lane: self.index,
                cause: LossCause::Damaged,
                records: records.into(),
                first_us,
                last_us,
            });
            if walk.punch(frame, offset).is_err() {
                self.told.insert(place);
            }
        }
    }

    fn tell_damage(&mut self, walk: &Walk, damage: Damage, losses: &mut Losses) {
        let place = (walk.segment, damage.offset);
        if !self.told.contains(&place) {
            let records = self.records_in(&damage, walk.segment);
            let Damage { first_us, last_us, .. } = damage;
            losses.add(Lost {
                lane: self.index,
                cause: LossCause::Damaged,
                records,
                first_us,
                last_us,
            });
            if walk.cover(&damage, records).is_err() {
                self.told.insert(place);
            }
        }
    }

    /// Items in a damaged stretch. Where the seal is gone too, the next segment tells; should those in between have given way, they are
    /// told twice.
    fn records_in(&self, damage: &Damage, segment: u64) -> u64 {
        damage.records.unwrap_or_else(|| {
            let following = self.segments.range(segment + 1..).next();
            let walk = following.and_then(|(&next, _)| self.walk(next).ok());
            walk.and_then(|walk| walk.items).map_or(0, |items| items.saturating_sub(damage.before))
        })
    }

    fn sync_active(&mut self) -> Result<(), SpoolError> {
        let Some((file, path)) = self.unsynced() else { return Ok(()) };
        let outcome = file.sync();
        self.synced(outcome.is_ok());
        outcome.map_err(SpoolError::io("sync", path))
    }

    /// Deletes segments whose records are all acknowledged. One that can't be deleted is tried again later.
    fn trim(&mut self) {
        while let Some((&segment, _)) = self.segments.first_key_value()
            && let Some((&next, _)) = self.segments.range(segment + 1..).next()
            && next <= self.acknowledged + 1
            && self.disk.remove(&self.path_of(segment)).is_ok()
        {
            self.forget(segment);
        }
    }

    fn forget(&mut self, segment: u64) {
        self.segments.remove(&segment);
        self.told.retain(|(of, _)| *of != segment);
        self.reader.take_if(|walk| walk.segment == segment);
        self.acker.take_if(|walk| walk.segment == segment);
    }

    fn measure_active(&mut self) {
        if !self.closed
            && let Some(mut last) = self.segments.last_entry()
        {
            last.insert(self.written.bytes);
        }
    }

    /// Whether a number is to be found from a walk's place on in its segment, or in none at all.
    fn holds(&self, walk: &Walk, from: u64) -> bool {
        self.segments.contains_key(&walk.segment)
            && self
                .segments
                .range(walk.segment + 1..)
                .next()
                .is_none_or(|(&next, _)| from < next || walk.last + 1 == from)
    }

    /// A walk in the segment that holds this number, or in the first one behind it.
    fn walk_to(&self, from: u64) -> Result<Option<Walk>, SpoolError> {
        let segment = self.segments.range(..=from).next_back().or_else(|| self.segments.first_key_value());
        segment.map(|(&segment, _)| self.walk(segment)).transpose()
    }

    fn walk(&self, segment: u64) -> Result<Walk, SpoolError> {
        let path = self.path_of(segment);
        let active = self
            .active
            .as_ref()
            .filter(|_| self.segments.last_key_value().is_some_and(|(&last, _)| last == segment));
        let file = match active {
            Some(file) => file.clone(),
            None => self.disk.open(&path).map_err(SpoolError::io("open", &path))?,
        };
        Walk::new(segment, file).map_err(SpoolError::io("read", path))
    }

    fn end_of(&self, segment: u64) -> End {
        match self.segments.range(segment + 1..).next() {
            Some((&next, _)) => End {
                bytes: self.segments.get(&segment).copied().unwrap_or(0),
                next,
                closed: true,
                items: None,
            },
            None if self.closed => End {
                bytes: self.segments.get(&segment).copied().unwrap_or(0),
                next: self.durable.next,
                closed: true,
                items: None,
            },
            None => End {
                bytes: self.durable.bytes,
                next: self.durable.next,
                closed: false,
                items: Some(self.durable.items),
            },
        }
    }

    fn active_path(&self) -> PathBuf {
        self.path_of(self.segments.last_key_value().map_or(self.written.next, |(&first, _)| first))
    }

    fn path_of(&self, segment: u64) -> PathBuf {
        self.folder.join(name(self.epoch, segment))
    }
}
