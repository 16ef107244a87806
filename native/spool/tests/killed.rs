// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A process that is killed at any point keeps every record that it was told was taken over. On the real disk.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use insights_spool::{Entry, LaneOptions, Options, Spool, SpoolError, WhenFull};

const FOLDER: &str = "SPOOL_TEST_FOLDER";
const KILLS: u64 = 12;

fn options(path: &Path) -> Options {
    let lane = |name| LaneOptions {
        name,
        rank: 0,
        max_bytes: u64::MAX,
        when_full: WhenFull::Refuse,
    };
    Options {
        path: path.to_owned(),
        max_bytes: 1 << 30,
        segment_bytes: 20_000,
        window_bytes: 0,
        lanes: vec![lane("a"), lane("b")],
    }
}

/// The content of a record follows from its number.
fn payload(lane: usize, sequence: u64) -> Vec<u8> {
    let size = (sequence * 7919 + lane as u64 * 31) % 3_000;
    (0..size).map(|at| (at ^ sequence) as u8).collect()
}

/// Not a test of its own: the process that is killed. It says each number once it was taken over.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let spool = Spool::open(options(Path::new(&folder)), 1).unwrap();
    let mut out = std::io::stdout();
    loop {
        let next = [0, 1].map(|lane| spool.lane(lane).next);
        let payloads = [payload(0, next[0]), payload(0, next[0] + 1), payload(1, next[1])];
        let entry = |lane, payload| Entry {
            lane,
            payload,
            records: 1,
            first_us: 1,
            last_us: 2,
        };
        let outcomes = spool.append(&[entry(0, &payloads[0]), entry(0, &payloads[1]), entry(1, &payloads[2])]);
        for (lane, outcome) in [0, 0, 1].into_iter().zip(outcomes) {
            writeln!(out, "taken {lane} {}", outcome.unwrap()).unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn what_was_taken_over_survives_a_kill_at_any_point() {
    let folder = tempfile::tempdir().unwrap();
    let mut taken = [BTreeSet::new(), BTreeSet::new()];
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(("taken", numbers)) = line.split_once(' ') {
                let (lane, sequence) = numbers.split_once(' ').unwrap();
                taken[lane.parse::<usize>().unwrap()].insert(sequence.parse::<u64>().unwrap());
                seen += 1;
                // What it said before the kill arrived still counts.
                if seen == 20 + kill * 13 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(seen > 0);

        let spool = Spool::open(options(folder.path()), 2).unwrap();
        for (lane, taken) in taken.iter().enumerate() {
            assert_eq!(spool.lane(lane).epoch, 1);
            let (mut from, mut found) = (1, BTreeSet::new());
            while let Some(record) = spool.read(lane, from).unwrap() {
                assert_eq!(record.payload, payload(lane, record.sequence));
                from = record.sequence + 1;
                found.insert(record.sequence);
            }
            let gone: Vec<_> = taken.difference(&found).collect();
            assert!(gone.is_empty(), "lane {lane}: {gone:?} were taken over");
        }
        assert!(spool.take_lost().is_empty());
    }
}

#[test]
fn a_second_process_is_kept_out() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(options(folder.path()), 1).unwrap();
    assert!(matches!(Spool::open(options(folder.path()), 1), Err(SpoolError::InUse { .. })));
    drop(spool);
    assert!(Spool::open(options(folder.path()), 1).is_ok());
}

#[test]
fn appenders_and_a_reader_work_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(options(folder.path()), 1).unwrap();
    std::thread::scope(|scope| {
        for lane in 0..2 {
            let spool = &spool;
            scope.spawn(move || {
                for number in 0..200u64 {
                    let bytes = number.to_be_bytes();
                    spool
                        .append(&[Entry {
                            lane,
                            payload: &bytes,
                            records: 1,
                            first_us: 0,
                            last_us: 0,
                        }])
                        .remove(0)
                        .unwrap();
                }
            });
            scope.spawn(move || {
                let mut from = 1;
                while from <= 200 {
                    match spool.read(lane, from).unwrap() {
                        Some(record) => {
                            assert_eq!((record.sequence, record.payload), (from, (from - 1).to_be_bytes().to_vec()));
                            spool.ack(lane, from).unwrap();
                            from += 1;
                        }
                        None => std::thread::sleep(Duration::from_millis(1)),
                    }
                }
            });
        }
    });
    assert!((0..2).all(|lane| spool.lane(lane).first == 201));
}
