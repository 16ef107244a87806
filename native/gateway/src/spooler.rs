// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From the pipe to the disk: facts are gathered to batches, encoded, and appended to the spool, which syncs them. Only then are they
//! counted as taken over and offered to the uplink.
//!
//! One task per kind gathers; one writes, so that a single sync covers whatever is ready. When the disk takes nothing, topology waits
//! (the tap holds back and reads the newest state later), everything else is dropped and counted.

use std::{sync::Arc, time::Duration};

use insights_protocol::{
    Kind, WireError,
    batch::{self, Payload},
    event::{Event, Level, LossCause, Lost},
    topology::Change,
};
use insights_spool::{Entry, LaneOptions, Options, Spool, SpoolError, WhenFull};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use crate::{
    clock::{chain, now_us},
    config::SpoolConfig,
    pipe::{Count, Pipe, PipeEnd},
    session::WINDOW_BYTES,
    tap::Stop,
};

mod gather;

use gather::gather;

/// Batches that wait for the writer, per kind.
const BATCH_QUEUE: usize = 2;
/// Batches that one sync covers at most; bounds what is encoded at a time.
const GROUP: usize = 8;
/// How often losses become events, and a disk that failed is tried again.
const TICK: Duration = Duration::from_secs(2);

/// Numbers behind the last record of each lane, by [`lane`].
pub type Stored = [u64; 4];

/// The spool's lane of a kind.
pub fn lane(kind: Kind) -> usize {
    kind as usize - 1
}

/// The kind of a spool's lane.
pub fn kind(lane: usize) -> Kind {
    Kind::ALL[lane]
}

/// How the gateway lays out its spool. Topology has a quarter of it and waits there, since what it says is replaced by what comes later;
/// events have a sixteenth; meters push out flows, flows push out older flows.
pub fn options(config: &SpoolConfig) -> Options {
    let max = config.max_bytes;
    let segment_bytes = (max / 64).clamp(1 << 20, 8 << 20);
    let lane = |kind: Kind, rank, max_bytes, when_full| LaneOptions {
        name: kind.name(),
        rank,
        max_bytes,
        when_full,
    };
    Options {
        path: config.path.clone(),
        max_bytes: max,
        segment_bytes,
        window_bytes: (WINDOW_BYTES + batch::MAX_BATCH_BYTES) as u64,
        lanes: vec![
            lane(Kind::Topology, 0, max / 4, WhenFull::Refuse),
            lane(Kind::Events, 0, (max / 16).max(4 * segment_bytes), WhenFull::DropOldest),
            lane(Kind::Meters, 1, max / 2, WhenFull::DropOldest),
            lane(Kind::Flows, 2, max, WhenFull::DropOldest),
        ],
    }
}

/// Runs until `stop`, and then until what is in the pipe is on disk.
pub async fn run(end: PipeEnd, pipe: Pipe, spool: Arc<Spool>, stored: watch::Sender<Stored>, stop: Stop) {
    let PipeEnd {
        topology,
        events,
        meters,
        flows,
        ..
    } = end;
    let (topology_out, topology_in) = mpsc::channel(BATCH_QUEUE);
    let (events_out, events_in) = mpsc::channel(BATCH_QUEUE);
    let (meters_out, meters_in) = mpsc::channel(BATCH_QUEUE);
    let (flows_out, flows_in) = mpsc::channel(BATCH_QUEUE);
    let mut gatherers = JoinSet::new();
    gatherers.spawn(gather(topology, topology_out, gather::TOPOLOGY, stop.clone()));
    gatherers.spawn(gather(events, events_out, gather::EVENTS, stop.clone()));
    gatherers.spawn(gather(meters, meters_out, gather::METERS, stop.clone()));
    gatherers.spawn(gather(flows, flows_out, gather::FLOWS, stop.clone()));
    let writer = Writer {
        pipe,
        spool,
        stored,
        stop,
        waiting: Vec::new(),
        trouble: None,
    };
    writer.run([topology_in, events_in, meters_in, flows_in]).await;
    while let Some(outcome) = gatherers.join_next().await {
        if let Err(error) = outcome {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

struct Writer {
    pipe: Pipe,
    spool: Arc<Spool>,
    stored: watch::Sender<Stored>,
    stop: Stop,
    /// Topology that the spool would not take yet.
    waiting: Vec<Encoded>,
    trouble: Option<String>,
}

/// A batch, ready for the disk.
struct Encoded {
    kind: Kind,
    bytes: Vec<u8>,
    /// What they stand for, where who sends them has use for it.
    payload: Option<Payload>,
    records: u32,
    first_us: i64,
    last_us: i64,
}

impl Writer {
    async fn run(mut self, queues: [mpsc::Receiver<Payload>; 4]) {
        let [mut topology, mut events, mut meters, mut flows] = queues;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = [true; 4];
        while open.contains(&true) {
            let held = !self.waiting.is_empty();
            if held && self.stop.is_stopped() {
                // The last try is below; the next start begins with a snapshot.
                topology.close();
            }
            let mut group = Vec::new();
            tokio::select! {
                biased;
                payload = topology.recv(), if open[0] && !held => open[0] = take(payload, &mut group),
                payload = events.recv(), if open[1] => open[1] = take(payload, &mut group),
                payload = meters.recv(), if open[2] => open[2] = take(payload, &mut group),
                payload = flows.recv(), if open[3] => open[3] = take(payload, &mut group),
                _ = tick.tick() => {}
            }
            if held && self.stop.is_stopped() {
                open[0] = false;
            }
            for queue in [&mut events, &mut meters, &mut flows] {
                while group.len() < GROUP
                    && let Ok(payload) = queue.try_recv()
                {
                    group.push(payload);
                }
            }
            self.report_losses(&mut group);
            self.write(group).await;
        }
        let mut last = Vec::new();
        self.report_losses(&mut last);
        self.write(last).await;
        self.drop_waiting();
    }

    /// Appends what waits and these payloads.
    async fn write(&mut self, payloads: Vec<Payload>) {
        if payloads.is_empty() && self.waiting.is_empty() {
            return;
        }
        let (spool, waiting) = (self.spool.clone(), std::mem::take(&mut self.waiting));
        let keep = self.pipe.fresh().is_wanted();
        let work = tokio::task::spawn_blocking(move || {
            let mut invalid = Vec::new();
            let mut batches = waiting;
            for payload in payloads {
                encode(payload, keep, &mut batches, &mut invalid);
            }
            let entries: Vec<_> = batches.iter().map(Encoded::entry).collect();
            let outcomes = spool.append(&entries);
            (batches, outcomes, invalid)
        });
        let (batches, outcomes, invalid) = match work.await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        for (kind, records, error) in invalid {
            log::error!("{records} records of kind {kind} can't be encoded: {}", chain(&error));
            self.pipe.count(kind, Count::Dropped, records);
            self.pipe.lost(kind, LossCause::Invalid, records, 0, 0);
        }
        let mut failure = None;
        for (batch, outcome) in batches.into_iter().zip(outcomes) {
            match outcome {
                Ok(sequence) => {
                    self.pipe.count(batch.kind, Count::Spooled, batch.records.into());
                    if let Some(payload) = batch.payload {
                        self.pipe.fresh().put(batch.bytes, payload);
                    }
                    self.stored.send_modify(|stored| stored[lane(batch.kind)] = sequence + 1);
                }
                Err(error) => {
                    failure = Some(error);
                    self.refused(batch);
                }
            }
        }
        self.tell(failure);
    }

    fn refused(&mut self, batch: Encoded) {
        if batch.kind == Kind::Topology {
            self.waiting.push(batch);
        } else {
            self.pipe.count(batch.kind, Count::Dropped, batch.records.into());
            self.pipe
                .lost(batch.kind, LossCause::QueueFull, batch.records.into(), batch.first_us, batch.last_us);
        }
    }

    fn drop_waiting(&mut self) {
        for batch in self.waiting.drain(..) {
            self.pipe.count(batch.kind, Count::Dropped, batch.records.into());
        }
    }

    /// Logs when the spool begins or ends to refuse records.
    fn tell(&mut self, failure: Option<SpoolError>) {
        let text = failure.as_ref().map(|error| chain(error));
        match (&self.trouble, &text) {
            (None, Some(text)) => log::error!("The spool takes no more records: {text}. Topology waits, what else comes is dropped and counted"),
            (Some(_), None) => log::info!("The spool takes records again"),
            _ => {}
        }
        self.trouble = text;
    }

    /// Adds an event for each loss since the last time.
    fn report_losses(&self, group: &mut Vec<Payload>) {
        for lost in self.spool.take_lost() {
            let (kind, cause) = match lost.cause {
                insights_spool::LossCause::Evicted => (kind(lost.lane), LossCause::SpoolFull),
                insights_spool::LossCause::Damaged => (kind(lost.lane), LossCause::SpoolDamaged),
            };
            self.pipe.count(kind, Count::Evicted, lost.records);
            self.pipe.lost(kind, cause, lost.records, lost.first_us, lost.last_us);
        }
        let at_us = now_us();
        let events: Vec<_> = self.pipe.take_lost().into_iter().map(|lost| loss_event(lost, at_us)).collect();
        if !events.is_empty() {
            self.pipe.count(Kind::Events, Count::Received, events.len() as u64);
            group.push(Payload::Events(events));
        }
    }
}

impl Encoded {
    fn entry(&self) -> Entry<'_> {
        Entry {
            lane: lane(self.kind),
            payload: &self.bytes,
            records: self.records,
            first_us: self.first_us,
            last_us: self.last_us,
        }
    }
}

fn take(payload: Option<Payload>, group: &mut Vec<Payload>) -> bool {
    let open = payload.is_some();
    group.extend(payload);
    open
}

/// Encodes a payload, in parts where it is above a bound of the wire. Flows are kept if that is asked for.
fn encode(payload: Payload, keep: bool, out: &mut Vec<Encoded>, invalid: &mut Vec<(Kind, u64, WireError)>) {
    let kind = payload.kind();
    match batch::encode(&payload) {
        Ok(bytes) => match batch::header(&bytes) {
            Ok(header) => out.push(Encoded {
                kind,
                bytes,
                payload: Some(payload).filter(|_| keep && kind == Kind::Flows),
                records: header.records,
                first_us: header.first_us,
                last_us: header.last_us,
            }),
            Err(error) => invalid.push((kind, payload.len() as u64, error)),
        },
        Err(WireError::TooLarge { .. }) if payload.len() > 1 => {
            let (head, tail) = halves(payload);
            encode(head, keep, out, invalid);
            encode(tail, keep, out, invalid);
        }
        Err(error) => invalid.push((kind, payload.len() as u64, error)),
    }
}

fn halves(payload: Payload) -> (Payload, Payload) {
    fn halve<T>(mut records: Vec<T>) -> (Vec<T>, Vec<T>) {
        let tail = records.split_off(records.len() / 2);
        (records, tail)
    }
    fn both<T>((head, tail): (Vec<T>, Vec<T>), wrap: fn(Vec<T>) -> Payload) -> (Payload, Payload) {
        (wrap(head), wrap(tail))
    }
    match payload {
        Payload::Topology(records) => both(halve(records), Payload::Topology),
        Payload::Events(records) => both(halve(records), Payload::Events),
        Payload::Meters(records) => both(halve(records), Payload::Meters),
        Payload::Flows(records) => both(halve(records), Payload::Flows),
    }
}

/// A loss, for people and for the balance.
fn loss_event(lost: Lost, at_us: i64) -> Event {
    let Lost { kind, records, cause, .. } = lost;
    let at = |time: i64| if time == 0 { at_us } else { time };
    let why = match cause {
        LossCause::QueueFull => "they came faster than the disk took them",
        LossCause::SpoolFull => "the spool was full",
        LossCause::Invalid => "they could not be decoded",
        LossCause::SpoolDamaged => "the spool's disk did not give them back",
        LossCause::Crash => "the process ended before they were on disk",
    };
    Event {
        at_us,
        level: Level::Warning,
        kind: "records.lost".into(),
        text: format!("{records} records of kind {kind} were lost: {why}"),
        fields: vec![("kind".into(), kind.name().into()), ("records".into(), records.to_string())],
        lost: Some(Lost {
            first_us: at(lost.first_us),
            last_us: at(lost.last_us),
            ..lost
        }),
    }
}
