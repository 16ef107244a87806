// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    Entry, LaneState, Lost, MAX_PAYLOAD, Options, Record, SpoolError, WhenFull,
    disk::{Disk, RealDisk},
    frame::{FRAME_HEADER, SEGMENT_HEADER},
    lane::Lane,
    lost::Losses,
};

/// Tries to make room on a full disk, a segment each, before a record is refused.
const EVICTIONS_ON_FULL_DISK: usize = 8;

/// An open spool. Its functions block on the disk; all may be called from any thread.
#[derive(Debug)]
pub struct Spool {
    state: Mutex<State>,
    /// Held while records are written and synced, so that one sync covers all that wait and readers are not kept out meanwhile.
    appending: Mutex<()>,
    max_bytes: u64,
    segment_bytes: u64,
    /// Keeps other processes out.
    _lock: Option<File>,
}

#[derive(Debug)]
struct State {
    lanes: Vec<Lane>,
    losses: Losses,
    /// Lanes whose last records may have been cut by a failure while room was made.
    cut: Vec<(usize, SpoolError)>,
}

impl Spool {
    /// Opens the spool in a folder, or makes it. `random` is a new random number: the epoch of lanes that have none yet, and the distance to
    /// the next number of those that have.
    pub fn open(options: Options, random: u64) -> Result<Spool, SpoolError> {
        let disk = Arc::new(RealDisk);
        disk.create_folder(&options.path).map_err(SpoolError::io("create", &options.path))?;
        let lock = lock(&options.path)?;
        Spool::open_on(disk, options, random, Some(lock))
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, options: Options, random: u64, lock: Option<File>) -> Result<Spool, SpoolError> {
        let mut losses = Losses::default();
        let mut lanes = Vec::new();
        for (index, lane) in options.lanes.into_iter().enumerate() {
            let folder = options.path.join(lane.name);
            lanes.push(Lane::open(disk.clone(), folder, index, lane, random, options.window_bytes, &mut losses)?);
        }
        Ok(Spool {
            state: Mutex::new(State {
                lanes,
                losses,
                cut: Vec::new(),
            }),
            appending: Mutex::new(()),
            max_bytes: options.max_bytes,
            segment_bytes: options.segment_bytes,
            _lock: lock,
        })
    }

    /// Takes records over. Returns once they are on disk and synced, with the number or the failure of each. After a failure no later
    /// record of the same lane is taken in the same call, so that order holds.
    pub fn append(&self, entries: &[Entry<'_>]) -> Vec<Result<u64, SpoolError>> {
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        let mut failed: Vec<Option<SpoolError>> = vec![None; state.lanes.len()];
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            let outcome = match &failed[entry.lane] {
                Some(error) => Err(error.clone()),
                None => state.write(entry, self.max_bytes, self.segment_bytes),
            };
            if let Err(error) = &outcome {
                failed[entry.lane] = Some(error.clone());
            }
            outcomes.push(outcome);
            // Making room for one lane closes segments of others; where that failed, what was written to them in this call is cut.
            for (lane, error) in state.cut.drain(..) {
                failed[lane].get_or_insert(error);
            }
        }
        let unsynced: Vec<_> = state
            .lanes
            .iter()
            .enumerate()
            .filter_map(|(index, lane)| Some((index, lane.unsynced()?)))
            .collect();
        drop(state);
        let synced: Vec<_> = unsynced
            .into_iter()
            .map(|(index, (file, path))| (index, file.sync().map_err(SpoolError::io("sync", path))))
            .collect();
        let mut state = self.state();
        for (index, outcome) in synced {
            state.lanes[index].synced(outcome.is_ok());
            if let Err(error) = outcome {
                failed[index] = Some(error);
            }
        }
        for (entry, outcome) in entries.iter().zip(&mut outcomes) {
            // A failure in between may have cut what was written before it.
            let durable = state.lanes[entry.lane].state().next;
            if matches!(outcome, Ok(sequence) if *sequence >= durable)
                && let Some(error) = &failed[entry.lane]
            {
                *outcome = Err(error.clone());
            }
        }
        outcomes
    }

    /// The first record of a lane from this number on that is neither acknowledged nor lost; `None` at the end.
    pub fn read(&self, lane: usize, from: u64) -> Result<Option<Record>, SpoolError> {
        let State { lanes, losses, .. } = &mut *self.state();
        lanes[lane].read(from, losses)
    }

    /// Forgets the records of a lane up to and with this number, and deletes their segments. Returns how many items they held.
    pub fn ack(&self, lane: usize, sequence: u64) -> Result<u64, SpoolError> {
        self.state().lanes[lane].ack(sequence)
    }

    /// Records up to and with this number may have reached the other side: they don't give way until they are acknowledged.
    pub fn protect(&self, lane: usize, sequence: u64) {
        self.state().lanes[lane].protect(sequence);
    }

    /// Gives a lane another epoch, when the other side knows numbers of the old one that this spool never gave: it is an older copy,
    /// or its disk lost the last records. What was there when the spool was opened is known there too and is forgotten; gives its items.
    pub fn renew_epoch(&self, lane: usize, epoch: u64) -> Result<u64, SpoolError> {
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().lanes[lane].renew(epoch)
    }

    pub fn lane(&self, lane: usize) -> LaneState {
        self.state().lanes[lane].state()
    }

    /// Bytes of all segment files.
    pub fn bytes(&self) -> u64 {
        self.state().lanes.iter().map(Lane::bytes).sum()
    }

    /// What was lost since the last call, one entry per lane and cause.
    pub fn take_lost(&self) -> Vec<Lost> {
        self.state().losses.take()
    }

    /// A panic while the state was held leaves it as consistent as a failed disk operation does.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, entry: &Entry<'_>, max_bytes: u64, segment_bytes: u64) -> Result<u64, SpoolError> {
        if entry.payload.len() > MAX_PAYLOAD {
            return Err(SpoolError::TooLarge {
                size: entry.payload.len(),
                limit: MAX_PAYLOAD,
            });
        }
        // A seal and a segment header too, should the record begin a new segment.
        let need = (FRAME_HEADER + SEGMENT_HEADER + FRAME_HEADER + entry.payload.len()) as u64;
        self.make_room(entry.lane, need, max_bytes)?;
        let mut tries = EVICTIONS_ON_FULL_DISK;
        loop {
            match self.lanes[entry.lane].write(entry, segment_bytes) {
                Err(error) if error.is_disk_full() && tries > 0 && self.evict_for(entry.lane)? => tries -= 1,
                outcome => return outcome,
            }
        }
    }

    fn make_room(&mut self, lane: usize, need: u64, max_bytes: u64) -> Result<(), SpoolError> {
        let State { lanes, losses, .. } = self;
        let full = SpoolError::Full {
            lane: lanes[lane].options.name,
        };
        while lanes[lane].bytes() + need > lanes[lane].options.max_bytes {
            let gained = match lanes[lane].options.when_full {
                WhenFull::Refuse => lanes[lane].reclaim()?,
                WhenFull::DropOldest => lanes[lane].evict(losses)?,
            };
            if !gained {
                return Err(full);
            }
        }
        while self.lanes.iter().map(Lane::bytes).sum::<u64>() + need > max_bytes {
            if !self.evict_for(lane)? {
                return Err(full);
            }
        }
        Ok(())
    }

    /// Gives up one segment of the least important lane that is no more important than this one. A failure may have cut what was written
    /// to that lane before, so nothing more may be written to it in the same call.
    fn evict_for(&mut self, lane: usize) -> Result<bool, SpoolError> {
        let State { lanes, losses, cut } = self;
        let rank = lanes[lane].options.rank;
        let mut victims: Vec<usize> = (0..lanes.len()).filter(|&other| lanes[other].options.rank >= rank).collect();
        victims.sort_by_key(|&other| std::cmp::Reverse(lanes[other].options.rank));
        for victim in victims {
            if victim == lane && lanes[lane].options.when_full == WhenFull::Refuse {
                continue;
            }
            match lanes[victim].evict(losses) {
                Ok(true) => return Ok(true),
                Err(error) if victim == lane => return Err(error),
                Err(error) => cut.push((victim, error)),
                Ok(false) => {}
            }
        }
        Ok(false)
    }
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(SpoolError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::io("lock", path)(error)),
    }
}
