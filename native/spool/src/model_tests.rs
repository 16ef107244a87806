// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The spool against a model, on a disk that fails and loses its power.

use std::{collections::BTreeMap, path::PathBuf};

use proptest::prelude::*;

use crate::{
    Entry, LaneOptions, LossCause, Options, Record, Spool, SpoolError, WhenFull,
    frame::{FRAME_HEADER, SEGMENT_HEADER},
    sim::{Fault, SimDisk},
};

/// Lane 0 refuses when it is full, lanes 1 and 2 give way, 2 first.
const LANES: [(&str, u8, u64, WhenFull); 3] = [
    ("kept", 0, 3_000, WhenFull::Refuse),
    ("middle", 1, 6_000, WhenFull::DropOldest),
    ("least", 2, 12_000, WhenFull::DropOldest),
];
const MAX_BYTES: u64 = 12_000;

fn options(window_bytes: u64) -> Options {
    let lanes = LANES.map(|(name, rank, max_bytes, when_full)| LaneOptions {
        name,
        rank,
        max_bytes,
        when_full,
    });
    Options {
        path: PathBuf::from("/spool"),
        max_bytes: MAX_BYTES,
        segment_bytes: 900,
        window_bytes,
        lanes: lanes.to_vec(),
    }
}

fn open(disk: &SimDisk, window_bytes: u64) -> Result<Spool, SpoolError> {
    Spool::open_on(std::sync::Arc::new(disk.clone()), options(window_bytes), RANDOM, None)
}

/// What every opening gets; an opening leaves out one number more.
const RANDOM: u64 = 7;
const LEFT_OUT: u64 = RANDOM + 1;

#[derive(Clone, Debug)]
enum Action {
    /// Records of these lanes and sizes in one call.
    Append(Vec<(usize, usize)>),
    Read(usize),
    /// Acknowledges a part of what was read, in 255ths.
    Ack(usize, u8),
    Fail(usize, usize, Fault),
    Capacity(Option<usize>),
    Reopen,
    Crash(u64),
}

/// A share of the cases that `PROPTEST_CASES` asks for in a long run.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_500);
    ProptestConfig {
        cases,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let append = proptest::collection::vec((0..LANES.len(), 0..700usize), 1..5).prop_map(Action::Append);
    let action = prop_oneof![
        8 => append,
        6 => (0..LANES.len()).prop_map(Action::Read),
        4 => (0..LANES.len(), any::<u8>()).prop_map(|(lane, part)| Action::Ack(lane, part)),
        2 => (0..12usize, 1..4usize, prop_oneof![Just(Fault::Error), Just(Fault::Half)]).prop_map(|(after, times, fault)| Action::Fail(after, times, fault)),
        1 => prop_oneof![Just(None), (2_000..12_000usize).prop_map(Some)].prop_map(Action::Capacity),
        2 => Just(Action::Reopen),
        2 => any::<u64>().prop_map(Action::Crash),
    ];
    proptest::collection::vec(action, 1..80)
}

/// What must hold of one lane.
#[derive(Default)]
struct Model {
    /// Taken over and not acknowledged.
    held: BTreeMap<u64, Record>,
    acknowledged: u64,
    /// The place of the reader.
    read: u64,
    next: u64,
    taken: u64,
    acked_items: u64,
    evicted: u64,
    epoch: u64,
}

struct Run {
    disk: SimDisk,
    spool: Option<Spool>,
    lanes: [Model; 3],
    made: u64,
    /// Power was lost, or a truncation may have failed: records that nobody was promised may be there.
    surplus: bool,
}

impl Run {
    fn new() -> Run {
        let disk = SimDisk::default();
        let spool = open(&disk, 0).unwrap();
        let mut lanes: [Model; 3] = Default::default();
        for (index, lane) in lanes.iter_mut().enumerate() {
            (lane.next, lane.epoch) = (1, spool.lane(index).epoch);
        }
        Run {
            disk,
            spool: Some(spool),
            lanes,
            made: 0,
            surplus: false,
        }
    }

    fn step(&mut self, action: &Action) {
        match action {
            Action::Append(wanted) => self.append(wanted),
            Action::Read(lane) => self.read(*lane),
            Action::Ack(lane, part) => self.ack(*lane, *part),
            Action::Fail(after, times, fault) => {
                self.surplus = true;
                self.disk.fail(*after, *times, *fault);
            }
            Action::Capacity(bytes) => self.disk.set_capacity(*bytes),
            Action::Reopen => self.reopen(),
            Action::Crash(seed) => {
                self.spool = None;
                let mut state = *seed | 1;
                self.disk.crash(|below| {
                    // xorshift: the seed decides all.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state % below as u64) as usize
                });
                self.surplus = true;
                self.reopen();
            }
        }
        self.account();
    }

    fn append(&mut self, wanted: &[(usize, usize)]) {
        let records: Vec<(usize, Record)> = wanted
            .iter()
            .map(|&(lane, size)| {
                self.made += 1;
                let payload: Vec<u8> = (0..size).map(|at| (self.made as usize * 31 + at) as u8).collect();
                let first_us = self.made as i64 * 10;
                (
                    lane,
                    Record {
                        sequence: 0,
                        payload,
                        records: 1 + (size % 7) as u32,
                        first_us,
                        last_us: first_us + 9,
                    },
                )
            })
            .collect();
        let entry = |(lane, record): &(usize, Record)| (*lane, record.clone());
        let entries: Vec<Entry<'_>> = records
            .iter()
            .map(|(lane, record)| Entry {
                lane: *lane,
                payload: &record.payload,
                records: record.records,
                first_us: record.first_us,
                last_us: record.last_us,
            })
            .collect();
        let outcomes = self.spool.as_ref().unwrap().append(&entries);
        assert_eq!(outcomes.len(), entries.len());
        for (record, outcome) in records.iter().zip(outcomes) {
            let (lane, record) = entry(record);
            let model = &mut self.lanes[lane];
            if let Ok(sequence) = outcome {
                assert!(sequence >= model.next, "numbers of a lane rise: {sequence} after {}", model.next);
                model.next = sequence + 1;
                model.taken += u64::from(record.records);
                model.held.insert(sequence, Record { sequence, ..record });
            }
        }
    }

    /// What is read is what was written, in order, or was told as lost.
    fn read(&mut self, lane: usize) {
        let model = &mut self.lanes[lane];
        let from = model.read.max(model.acknowledged) + 1;
        match self.spool.as_ref().unwrap().read(lane, from) {
            Ok(Some(record)) => {
                assert!(record.sequence >= from);
                match model.held.get(&record.sequence) {
                    Some(held) => assert_eq!(held, &record),
                    None => assert!(self.surplus, "a record that nobody wrote: {}", record.sequence),
                }
                model.read = record.sequence;
                model.next = model.next.max(record.sequence + 1);
            }
            Ok(None) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn ack(&mut self, lane: usize, part: u8) {
        let model = &mut self.lanes[lane];
        let sequence = model.acknowledged + (model.read.saturating_sub(model.acknowledged)) * u64::from(part) / 255;
        if sequence <= model.acknowledged {
            return;
        }
        let items = self.spool.as_ref().unwrap().ack(lane, sequence).unwrap();
        let rest = model.held.split_off(&(sequence + 1));
        let acked: u64 = std::mem::replace(&mut model.held, rest)
            .values()
            .map(|record| u64::from(record.records))
            .sum();
        model.acked_items += items;
        // Less when some of them had given way; what the reader never saw of them was told as lost.
        if !self.surplus {
            assert!(items <= acked, "{items} of {acked}");
        }
        model.acknowledged = sequence;
    }

    fn reopen(&mut self) {
        self.disk.heal();
        self.account();
        self.spool = None;
        self.spool = Some(open(&self.disk, 0).unwrap());
        for (lane, model) in self.lanes.iter_mut().enumerate() {
            let state = self.spool.as_ref().unwrap().lane(lane);
            assert_eq!(state.epoch, model.epoch, "the epoch stays");
            assert!(
                state.next >= model.next,
                "a number would be used twice: {} after {}",
                state.next,
                model.next
            );
            // The place of the acknowledgement is the other side's to know; it says so again.
            self.spool.as_ref().unwrap().ack(lane, model.acknowledged).unwrap();
        }
    }

    /// Takes what was told as lost, and checks the bound.
    fn account(&mut self) {
        let Some(spool) = &self.spool else { return };
        for lost in spool.take_lost() {
            assert_eq!(lost.cause, LossCause::Evicted, "nothing was damaged");
            assert!(lost.first_us <= lost.last_us);
            assert_ne!(lost.lane, 0, "the first lane never gives way");
            self.lanes[lost.lane].evicted += lost.records;
        }
        let on_disk: usize = self.disk.files().iter().map(|(_, length)| length).sum();
        // Segments that could not be cut or removed may stay for a while.
        if !self.surplus {
            assert_eq!(on_disk as u64, spool.bytes());
            assert!(spool.bytes() <= MAX_BYTES, "{} bytes", spool.bytes());
        }
    }

    /// At the end everything is there or was told as lost.
    fn finish(mut self) {
        self.disk.set_capacity(None);
        self.reopen();
        for lane in 0..LANES.len() {
            let mut found = BTreeMap::new();
            let mut from = self.lanes[lane].acknowledged + 1;
            while let Some(record) = self.spool.as_ref().unwrap().read(lane, from).unwrap() {
                from = record.sequence + 1;
                found.insert(record.sequence, record);
            }
            self.account();
            let model = &self.lanes[lane];
            let mut gone = 0;
            for (sequence, record) in &model.held {
                match found.get(sequence) {
                    Some(there) => assert_eq!(there, record),
                    None => gone += u64::from(record.records),
                }
            }
            if self.surplus {
                // Records that nobody was promised may have given way too.
                assert!(gone <= model.evicted, "{gone} items are gone, {} were told", model.evicted);
            } else {
                let held: u64 = model.held.values().map(|record| u64::from(record.records)).sum();
                assert_eq!(model.taken, model.acked_items + (held - gone) + model.evicted, "the balance closes");
                assert_eq!(found.len(), model.held.keys().filter(|sequence| found.contains_key(sequence)).count());
            }
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_was_taken_over_is_there_or_told_as_lost(actions in actions()) {
        let mut run = Run::new();
        actions.iter().for_each(|action| run.step(action));
        run.finish();
    }

    /// Any damage to any segment: no panic, no wrong record, and the count of the lost is right where records follow.
    #[test]
    fn damage_is_skipped_and_counted(
        sizes in proptest::collection::vec(0..300usize, 8..40),
        place in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 1..200usize,
        value in any::<u8>(),
        reopen in any::<bool>(),
    ) {
        let disk = SimDisk::default();
        let spool = open(&disk, 0).unwrap();
        let mut held = BTreeMap::new();
        for (number, size) in sizes.iter().enumerate() {
            let payload = vec![number as u8; *size];
            let entry = Entry { lane: 1, payload: &payload, records: 3, first_us: 10 + number as i64, last_us: 10 + number as i64 };
            let sequence = spool.append(&[entry]).remove(0).unwrap();
            held.insert(sequence, payload);
        }
        let evicted: u64 = spool.take_lost().iter().map(|lost| lost.records).sum();
        let files: Vec<_> = disk.files().into_iter().filter(|(path, length)| path.starts_with("/spool/middle") && *length > SEGMENT_HEADER).collect();
        let (path, bytes) = &files[place.index(files.len())];
        let last_file = *path == files[files.len() - 1].0;
        let start = SEGMENT_HEADER + at.index(bytes - SEGMENT_HEADER);
        let end = (start + length).min(*bytes);
        let changed = disk.read(path)[start..end].iter().any(|byte| *byte != value);
        disk.damage(path, |content| content[start..end].fill(value));
        let spool = if reopen { drop(spool); open(&disk, 0).unwrap() } else { spool };
        let mut from = 1;
        let mut found = 0u64;
        while let Some(record) = spool.read(1, from).unwrap() {
            prop_assert_eq!(held.get(&record.sequence), Some(&record.payload));
            from = record.sequence + 1;
            found += 1;
        }
        let lost: u64 = spool.take_lost().iter().map(|lost| lost.records).sum();
        let gone = 3 * held.len() as u64 - 3 * found - evicted;
        prop_assert!(changed || gone == 0);
        if last_file && reopen {
            prop_assert!(lost <= gone, "the tail may have been one that nobody was promised");
        } else if !last_file {
            prop_assert_eq!(lost, gone);
        }
        // Told once: neither reading again nor opening again tells it again.
        while let Some(record) = spool.read(1, from).unwrap() { from = record.sequence + 1; }
        drop(spool);
        let spool = open(&disk, 0).unwrap();
        let mut from = 1;
        while let Some(record) = spool.read(1, from).unwrap() { from = record.sequence + 1; }
        if !last_file {
            prop_assert!(spool.take_lost().is_empty());
        }
        let entry = Entry { lane: 1, payload: b"new", records: 1, first_us: 1, last_us: 1 };
        let next = spool.append(&[entry]).remove(0).unwrap();
        prop_assert_eq!(spool.read(1, next).unwrap().unwrap().payload, b"new");
    }
}

fn entry(lane: usize, payload: &[u8]) -> Entry<'_> {
    Entry {
        lane,
        payload,
        records: 2,
        first_us: 5,
        last_us: 6,
    }
}

#[test]
fn flows_give_way_before_meters_and_topology_never() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    let payload = [0; 500];
    (0..40).for_each(|_| _ = spool.append(&[entry(2, &payload)]).remove(0).unwrap());
    let lost = spool.take_lost();
    assert!(lost.len() == 1 && lost[0].lane == 2);
    while spool.append(&[entry(0, &payload)]).remove(0).is_ok() {}
    assert!(spool.take_lost().iter().all(|lost| lost.lane == 2));
    assert!(matches!(
        spool.append(&[entry(0, &payload)]).remove(0),
        Err(SpoolError::Full { lane: "kept" })
    ));
    for _ in 0..40 {
        spool.append(&[entry(1, &payload)]).remove(0).unwrap();
    }
    assert_eq!(spool.read(0, 1).unwrap().unwrap().sequence, 1);
    assert!(spool.bytes() <= MAX_BYTES);
    // Acknowledging makes room again.
    let last = spool.lane(0).next - 1;
    assert_eq!(spool.ack(0, last).unwrap(), 2 * last);
    assert!(spool.append(&[entry(0, &payload)]).remove(0).is_ok());
}

#[test]
fn a_full_lane_whose_records_are_all_acknowledged_takes_more() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    // The second one does not fit beside the first.
    for number in 1..5 {
        assert_eq!(spool.append(&[entry(0, &[0; 2_000])]).remove(0).unwrap(), number);
        assert!(matches!(spool.append(&[entry(0, &[0; 2_000])]).remove(0), Err(SpoolError::Full { .. })));
        spool.ack(0, number).unwrap();
    }
}

#[test]
fn what_may_have_arrived_does_not_give_way() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    let payload = [0; 500];
    (0..6).for_each(|_| _ = spool.append(&[entry(2, &payload)]).remove(0).unwrap());
    spool.protect(2, 3);
    (0..40).for_each(|_| _ = spool.append(&[entry(2, &payload)]).remove(0).unwrap());
    assert_eq!(spool.read(2, 1).unwrap().unwrap().sequence, 1);
    assert!(spool.read(2, 5).unwrap().unwrap().sequence > 10, "those behind gave way");
    drop(spool);
    // After a restart nobody knows what was sent: as much as could be stays.
    let spool = open(&disk, 2_000).unwrap();
    (0..40).for_each(|_| _ = spool.append(&[entry(2, &payload)]).remove(0).unwrap());
    assert_eq!(spool.read(2, 1).unwrap().unwrap().sequence, 1);
}

#[test]
fn a_torn_tail_is_cut_and_its_number_not_given_again() {
    for torn in [0, 1, FRAME_HEADER - 1, FRAME_HEADER, FRAME_HEADER + 2] {
        let disk = SimDisk::default();
        let spool = open(&disk, 0).unwrap();
        assert_eq!(spool.append(&[entry(1, b"one")]).remove(0).unwrap(), 1);
        let (path, length) = disk.files().into_iter().find(|(path, _)| path.starts_with("/spool/middle")).unwrap();
        assert_eq!(spool.append(&[entry(1, b"two")]).remove(0).unwrap(), 2);
        drop(spool);
        disk.damage(&path, |content| content.truncate(length + torn));
        let spool = open(&disk, 0).unwrap();
        assert!(spool.take_lost().is_empty());
        assert_eq!(disk.read(&path).len(), length);
        let next = 2 + LEFT_OUT;
        assert_eq!(spool.lane(1).next, next);
        for number in next..next + 3 {
            assert_eq!(spool.append(&[entry(1, b"new")]).remove(0).unwrap(), number);
        }
        // The other side knew the second record; the first of the new ones comes all the same.
        assert_eq!(spool.read(1, 3).unwrap().unwrap().sequence, next);
    }
}

#[test]
fn a_segment_without_header_keeps_its_number_until_another_stands() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    spool.append(&[entry(1, b"one")]).remove(0).unwrap();
    let (path, _) = disk.files().into_iter().find(|(path, _)| path.starts_with("/spool/middle")).unwrap();
    drop(spool);
    disk.damage(&path, |content| content.truncate(3));
    for _ in 0..2 {
        assert_eq!(open(&disk, 0).unwrap().lane(1).next, 1 + LEFT_OUT);
    }
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.append(&[entry(1, b"two")]).remove(0).unwrap(), 1 + LEFT_OUT);
    drop(spool);
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.read(1, 1).unwrap().unwrap().payload, b"two");
    assert!(spool.take_lost().is_empty());
}

#[test]
fn a_new_epoch_keeps_the_records() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    (0..5).for_each(|_| _ = spool.append(&[entry(1, &[1; 400])]).remove(0).unwrap());
    // The second renaming fails: opening again brings it to its end.
    disk.fail(2, 1, Fault::Error);
    assert!(spool.renew_epoch(1, 99).is_err());
    drop(spool);
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.lane(1).epoch, 99);
    assert_eq!(spool.read(1, 1).unwrap().unwrap().sequence, 1);
    assert_eq!(spool.append(&[entry(1, b"x")]).remove(0).unwrap(), 6 + LEFT_OUT);
    assert!(
        disk.files()
            .iter()
            .filter(|(path, _)| path.starts_with("/spool/middle"))
            .all(|(path, _)| path.to_str().unwrap().contains("0000000000000063-"))
    );
}

#[test]
fn a_new_epoch_holds_only_what_came_after_the_opening() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    (0..5).for_each(|_| _ = spool.append(&[entry(1, b"sent")]).remove(0).unwrap());
    drop(spool);
    // The other side has all of them, and two more that the disk lost.
    let spool = open(&disk, 0).unwrap();
    (0..2).for_each(|_| _ = spool.append(&[entry(1, b"new")]).remove(0).unwrap());
    let items = u64::from(entry(1, b"sent").records);
    assert_eq!(spool.renew_epoch(1, 99).unwrap(), 5 * items);
    let first = 6 + LEFT_OUT;
    let lane = spool.lane(1);
    assert_eq!((lane.epoch, lane.first, lane.next), (99, first, first + 2));
    assert_eq!(spool.read(1, lane.first).unwrap().unwrap().payload, b"new");
    // Once more: what is there now was not there at an opening.
    assert_eq!(spool.renew_epoch(1, 100).unwrap(), 0);
    assert_eq!(spool.lane(1).first, first);
    // A crash before the first acknowledgement brings nothing of before back.
    drop(spool);
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.lane(1).first, first);
    assert_eq!(spool.read(1, 1).unwrap().unwrap().payload, b"new");
}

#[test]
fn a_new_epoch_without_a_new_record_is_empty_after_a_crash_too() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    spool.append(&[entry(1, b"sent")]).remove(0).unwrap();
    drop(spool);
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.renew_epoch(1, 99).unwrap(), u64::from(entry(1, b"sent").records));
    drop(spool);
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.lane(1).epoch, 99);
    assert_eq!(spool.read(1, 1).unwrap(), None);
}

#[test]
fn a_disk_that_fails_takes_nothing_over_and_goes_on_later() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    assert!(spool.append(&[entry(1, b"a")]).remove(0).is_ok());
    disk.fail(0, usize::MAX, Fault::Half);
    for _ in 0..3 {
        assert!(matches!(spool.append(&[entry(1, b"b")]).remove(0), Err(SpoolError::Io { .. })));
    }
    assert_eq!(spool.read(1, 1).unwrap().unwrap().payload, b"a", "reading goes on");
    disk.heal();
    assert!(spool.append(&[entry(1, b"c")]).remove(0).is_ok());
    assert_eq!(spool.read(1, 2).unwrap().unwrap().payload, b"c");
}

#[test]
fn the_oldest_time_is_that_of_the_first_record_that_waits() {
    let disk = SimDisk::default();
    let spool = open(&disk, 0).unwrap();
    assert_eq!(spool.lane(1).oldest_us, None);
    for time in [10, 20, 30] {
        let entry = Entry {
            lane: 1,
            payload: b"",
            records: 1,
            first_us: time,
            last_us: time,
        };
        spool.append(&[entry]).remove(0).unwrap();
    }
    assert_eq!(spool.lane(1).oldest_us, Some(10));
    spool.ack(1, 2).unwrap();
    assert_eq!((spool.lane(1).oldest_us, spool.lane(1).first), (Some(30), 3));
    spool.ack(1, 3).unwrap();
    assert_eq!(spool.lane(1).oldest_us, None);
}
