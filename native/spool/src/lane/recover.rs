// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Opening a lane, whatever the process before left of it.

use super::*;
use crate::segment::parse_name;

/// Numbers that an opening leaves out, at most. Far more than a lane gives in a lifetime (a record a microsecond for twelve days), and eight
/// million openings stay below the largest signed number.
const MAX_LEFT_OUT: u64 = 1 << 40;

impl Lane {
    /// Opens the lane in its folder, or makes it. `random` is the epoch when there is no segment that has one; else it says how many numbers
    /// are left out.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        index: usize,
        options: LaneOptions,
        random: u64,
        window_bytes: u64,
        losses: &mut Losses,
    ) -> Result<Lane, SpoolError> {
        disk.create_folder(&folder).map_err(SpoolError::io("create", &folder))?;
        let files = disk.list(&folder).map_err(SpoolError::io("list", &folder))?;
        let mut segments: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (name, bytes) in files {
            if let Some((epoch, first)) = parse_name(&name).filter(|(_, first)| *first > 0) {
                segments.insert(first, (epoch, bytes));
            }
        }
        let last_epoch = segments.last_key_value().map(|(_, (epoch, _))| *epoch);
        let nothing = Tail { bytes: 0, next: 1, items: 0 };
        let mut lane = Lane {
            options,
            index,
            disk,
            folder,
            epoch: last_epoch.unwrap_or(random),
            segments: segments.iter().map(|(first, (_, bytes))| (*first, *bytes)).collect(),
            active: None,
            closed: false,
            written: nothing,
            durable: nothing,
            acknowledged: 0,
            recovered: 0,
            headless: false,
            protected: 0,
            reader: None,
            acker: None,
            told: BTreeSet::new(),
        };
        if let Some(&segment) = lane.segments.keys().next_back() {
            lane.finish_renewal(&segments)?;
            lane.recover_tail(segment, losses)?;
            lane.leave_out(random);
            lane.protect_head(window_bytes);
        }
        lane.recovered = lane.durable.next;
        Ok(lane)
    }

    /// A change of epoch that was cut short is brought to its end.
    fn finish_renewal(&mut self, segments: &BTreeMap<u64, (u64, u64)>) -> Result<(), SpoolError> {
        let stale = segments.iter().filter(|(_, (epoch, _))| *epoch != self.epoch);
        for (&first, &(epoch, _)) in stale {
            let from = self.folder.join(name(epoch, first));
            self.disk.rename(&from, &self.path_of(first)).map_err(SpoolError::io("rename", from))?;
        }
        Ok(())
    }

    /// Numbers behind the last record may have been given and known to the other side, should the disk have lost records that it had synced:
    /// they are left out. So many, by chance, that neither a spool that is opened often nor a copy of it meets them again.
    fn leave_out(&mut self, random: u64) {
        self.written.next += 1 + random % MAX_LEFT_OUT;
        self.durable = self.written;
    }

    /// Checks the last segment to the end of its last good frame and cuts what is behind.
    fn recover_tail(&mut self, segment: u64, losses: &mut Losses) -> Result<(), SpoolError> {
        let path = self.path_of(segment);
        let file = self.disk.open(&path).map_err(SpoolError::io("open", &path))?;
        let failed = |error| SpoolError::io("read", &path)(error);
        let bytes = self.segments[&segment];
        let mut walk = Walk::new(segment, file.clone()).map_err(failed)?;
        let header_holds = walk.items.is_some();
        let mut good = Tail {
            bytes: (SEGMENT_HEADER as u64).min(bytes),
            next: segment,
            items: walk.items.unwrap_or(0),
        };
        // Damage counts once a good frame is behind it; before that it may be a tail that nobody was promised.
        let mut doubtful = Vec::new();
        while let Some(found) = walk
            .next(End {
                bytes,
                next: u64::MAX,
                closed: false,
                items: None,
            })
            .map_err(failed)?
        {
            match found {
                Found::Frame { frame, offset } => {
                    if frame.form == Form::Hole || walk.payload(&frame, offset).map_err(failed)?.is_some() {
                        for found in doubtful.drain(..) {
                            match found {
                                Found::Frame { frame, offset } => self.tell_frame(&walk, &frame, offset, losses),
                                Found::Damage(damage) => self.tell_damage(&walk, damage, losses),
                            }
                        }
                        good = Tail {
                            bytes: offset + frame.size(),
                            next: frame.sequence + 1,
                            items: frame.after(),
                        };
                    } else {
                        doubtful.push(Found::Frame { frame, offset });
                    }
                }
                Found::Damage(damage) => doubtful.push(Found::Damage(damage)),
            }
        }
        (self.written, self.durable) = (good, good);
        if walk.is_sealed() {
            // The process before may have been killed between writing and syncing.
            file.sync().map_err(SpoolError::io("sync", &path))?;
            self.closed = true;
            return Ok(());
        }
        if !header_holds {
            self.leave_damaged(segment, good);
            return Ok(());
        }
        if good.bytes < bytes {
            file.truncate(good.bytes).map_err(SpoolError::io("cut", &path))?;
        }
        // Also when nothing was cut, for the same reason.
        file.sync().map_err(SpoolError::io("sync", &path))?;
        self.disk.sync_folder(&self.folder).map_err(SpoolError::io("sync", &self.folder))?;
        // What comes goes to a new segment, so that no segment holds records of before and after an opening.
        self.measure_active();
        Ok(())
    }

    /// A last segment whose header is torn or damaged. What can be read of it stays; what comes goes to a new segment. Nothing is written
    /// here, so that a lane on a full disk can be opened and read.
    fn leave_damaged(&mut self, segment: u64, good: Tail) {
        if good.next == segment {
            // No record in it. It is made whole before the next segment is begun.
            self.headless = true;
            self.written.items = self.items_before(segment);
            self.durable = self.written;
        } else {
            self.segments.insert(segment, good.bytes);
        }
    }

    /// Items of the lane in front of a segment whose own header does not tell.
    fn items_before(&self, segment: u64) -> u64 {
        let Some((&before, &bytes)) = self.segments.range(..segment).next_back() else {
            return 0;
        };
        let Ok(mut walk) = self.walk(before) else { return 0 };
        while let Ok(Some(_)) = walk.next(End {
            bytes,
            next: segment,
            closed: true,
            items: None,
        }) {}
        walk.items.unwrap_or(0)
    }

    /// What may be on its way to the other side stays: so many bytes from the head.
    fn protect_head(&mut self, window_bytes: u64) {
        let mut bytes = 0;
        for (&segment, &size) in &self.segments {
            bytes += size;
            self.protected = self.end_of(segment).next - 1;
            if bytes >= window_bytes {
                break;
            }
        }
    }
}
