// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Data streams: batches of one kind, in the order of their sequences.
//!
//! A batch that can't be read is counted, told as an event and passed over: its cursor moves, so that the gateway forgets it. A batch that
//! the store can't take now is asked for again after a pause, and what follows it is left until it comes. So is, at once, one that follows from
//! another that could not be read: it comes on a new stream, whose first batch stands for itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use insights_protocol::{
    Kind, WireError,
    batch::{self, Payload},
    control::{Cursor as WireCursor, ToGateway},
    frame::{LENGTH_BYTES, MAX_DATA_FRAME, payload_length},
    order::{Fate, Order},
};
use insights_store::{
    Append, Appended, Cursor, Rows, StoreError, StreamId,
    catalog::{Hop, Level, Loss, NewEvent},
};
use quinn::{ReadExactError, RecvStream};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Shared,
    connection::{Ended, Peer},
    contexts::Context,
    counters::{add, stream_kind},
    join, rows, snapshots, stories,
};
use crate::{clock::now_us, site::Site};

/// A started frame arrives whole within this time, or its sender is broken: it holds room that others wait for.
const FRAME: Duration = Duration::from_secs(60);

/// Pause before a batch is sent again that the store could not take.
const RETRY_MS: u32 = 2_000;

/// Flows older than this are joined with the topology of their own time, not with that of now.
const LATE_US: i64 = 300_000_000;

/// Late flows of this span share one model, so that a backlog of an hour makes twelve of them.
const LATE_STEP_US: i64 = 300_000_000;

/// Receipt times outside these bounds are a broken clock: 2015 to a day ahead.
const EARLIEST_US: i64 = 1_420_070_400_000_000;
const AHEAD_US: i64 = 86_400_000_000;

/// One stream of a gateway, to its end. `Some` ends the connection too.
pub(super) async fn receive(mut stream: RecvStream, shared: Arc<Shared>, peer: Peer) -> Option<Ended> {
    let mut state = Stream {
        shared: &shared,
        peer: &peer,
        kind: None,
        order: Order::default(),
        in_snapshot: false,
        context: Some(Context::new(&shared.contexts)),
    };
    loop {
        let mut prefix = [0; LENGTH_BYTES];
        match stream.read_exact(&mut prefix).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(0)) => return None,
            // The stream was reset: the gateway opens another one, or is gone.
            Err(ReadExactError::ReadError(_)) => return None,
            Err(error) => return Some(error.into()),
        }
        let length = match payload_length(prefix, MAX_DATA_FRAME) {
            Ok(length) => length,
            Err(error) => return Some(error.into()),
        };
        let room = match shared.memory.clone().acquire_many_owned(kib(length)).await {
            Ok(room) => room,
            Err(_) => return Some(Ended::Draining),
        };
        let mut bytes = vec![0; length];
        match tokio::time::timeout(FRAME, stream.read_exact(&mut bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(Ended::Protocol("a batch stopped in the middle")),
        }
        if let Err(ended) = state.batch(bytes, room).await {
            return Some(ended);
        }
    }
}

fn kib(bytes: usize) -> u32 {
    // Frames are below 5 MiB.
    (bytes >> 10) as u32 + 1
}

struct Stream<'a> {
    shared: &'a Arc<Shared>,
    peer: &'a Peer,
    /// Told by the first batch.
    kind: Option<Kind>,
    order: Order,
    in_snapshot: bool,
    /// What was learnt of the stream; not here only while a batch is decoded.
    context: Option<Context>,
}

/// Why a batch was not stored.
enum Failed {
    /// It never can be.
    Broken(String),
    /// Not now.
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(why) => Failed::Broken(why),
            other => Failed::Store(other),
        }
    }
}

impl Stream<'_> {
    async fn batch(&mut self, bytes: Vec<u8>, room: OwnedSemaphorePermit) -> Result<(), Ended> {
        let arrived = Instant::now();
        let envelope = batch::open(&bytes)?;
        let (epoch, sequence) = (envelope.epoch, envelope.sequence);
        let kind = self.kind_of(envelope.batch)?;
        let counters = self.shared.parts.counters.kind(kind);
        let cursor = Cursor {
            stream: StreamId {
                gateway: self.peer.gateway,
                kind: stream_kind(kind),
                epoch,
            },
            sequence,
        };
        let durable = match self.order.durable(epoch) {
            Some(durable) => durable,
            None => self.shared.parts.store.cursor(self.peer.site, cursor.stream).await?,
        };
        match self.order.arrived(epoch, durable, sequence) {
            Fate::Take => {}
            Fate::Leave => return Ok(()),
            Fate::Known(durable) => {
                add(&counters.duplicates, 1);
                return self.acknowledge(kind, epoch, durable).await;
            }
        }
        add(&counters.bytes, bytes.len() as u64);
        let (stored, records) = match self.decode(bytes, room).await? {
            Ok((payload, room)) => {
                let records = payload.len() as u64;
                let stored = self.store(kind, cursor, payload).await;
                drop(room);
                (stored, records)
            }
            Err((WireError::OutOfStep, _)) => {
                add(&counters.retries, 1);
                tracing::debug!(gateway = %self.peer.gateway, %kind, sequence, "a batch follows from one that was not read");
                self.order.failed(sequence);
                return self.send(ToGateway::Retry { kind, after_ms: 0 }).await;
            }
            Err((error, records)) => (Err(Failed::Broken(chain(&error))), records),
        };
        match stored {
            Ok(appended) => {
                add(&counters.batches, 1);
                add(
                    if appended == Appended::Duplicate {
                        &counters.duplicates
                    } else {
                        &counters.records
                    },
                    if appended == Appended::Duplicate { 1 } else { records },
                );
            }
            Err(Failed::Broken(why)) => {
                add(&counters.refused, 1);
                if let Err(error) = self.pass_over(kind, cursor, records, why).await {
                    return self.ask_again(kind, sequence, error).await;
                }
            }
            Err(Failed::Store(error)) => return self.ask_again(kind, sequence, error).await,
        }
        self.order.stored(epoch, sequence);
        self.acknowledge(kind, epoch, sequence).await?;
        self.shared.parts.counters.kind(kind).acks.took(arrived.elapsed());
        Ok(())
    }

    /// The kind of a stream is that of its first batch. Without it nothing can be acknowledged, and the connection ends.
    fn kind_of(&mut self, batch: &[u8]) -> Result<Kind, Ended> {
        match (self.kind, batch::header(batch)) {
            (Some(kind), Ok(header)) if header.kind != kind => Err(Ended::Protocol("a stream of several kinds")),
            (Some(kind), _) => Ok(kind),
            (None, Ok(header)) => {
                self.kind = Some(header.kind);
                Ok(header.kind)
            }
            (None, Err(error)) => Err(error.into()),
        }
    }

    /// Opens a batch off the async threads; so many at once as there are cores.
    #[allow(clippy::type_complexity, reason = "used once, read from the outside in")]
    async fn decode(
        &mut self,
        bytes: Vec<u8>,
        room: OwnedSemaphorePermit,
    ) -> Result<Result<(Payload, OwnedSemaphorePermit), (WireError, u64)>, Ended> {
        let permit = self.shared.decoding.clone().acquire_owned().await.map_err(|_| Ended::Draining)?;
        let mut context = self.context.take().unwrap_or_else(|| Context::new(&self.shared.contexts));
        let decoded = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let decoded = read(&mut context, &bytes);
            (context, decoded.map(|payload| (payload, room)))
        });
        let (context, decoded) = decoded.await.map_err(|_| Ended::Protocol("a batch could not be decoded"))?;
        self.context = Some(context);
        Ok(decoded)
    }

    /// Rows and cursor, in one commit.
    async fn store(&mut self, kind: Kind, cursor: Cursor, payload: Payload) -> Result<Appended, Failed> {
        let (site, gateway, parts) = (self.peer.site, self.peer.gateway, &self.shared.parts);
        let arrived: Vec<i64> = times(&payload);
        let appended = match payload {
            Payload::Topology(changes) => self.store_topology(cursor, changes).await?,
            Payload::Events(events) => {
                let events = events.into_iter().map(|event| rows::event(gateway, event)).collect();
                parts.store.catalog().append_events(site, Some(cursor), events).await?
            }
            Payload::Meters(readings) => {
                let rows = Rows::Meters(rows::meters(readings));
                parts.store.series().append(site, Append { cursor, rows }).await?
            }
            Payload::Flows(flows) => {
                let latest = now_us() + AHEAD_US;
                if let Some(bad) = flows
                    .iter()
                    .map(|flow| flow.received_us)
                    .find(|time| !(EARLIEST_US..latest).contains(time))
                {
                    return Err(Failed::Broken(format!(
                        "a flow has the time {bad} µs, which a clock that is right does not show"
                    )));
                }
                let oldest = flows.iter().map(|flow| flow.received_us).min().unwrap_or(0);
                let model = self.model_of(oldest).await?;
                let joined = tokio::task::spawn_blocking(move || join::join(&model, gateway, &flows));
                let joined = joined.await.map_err(|_| Failed::Broken("its records could not be joined".to_owned()))?;
                let rows = Rows::Flows {
                    rows: joined.rows,
                    paths: joined.paths,
                };
                parts.store.series().append(site, Append { cursor, rows }).await?
            }
        };
        if appended == Appended::Committed {
            parts.counters.hop(site, gateway, kind, Hop::Arrived, arrived.into_iter());
        }
        Ok(appended)
    }

    async fn store_topology(&mut self, cursor: Cursor, changes: Vec<insights_protocol::topology::Change>) -> Result<Appended, Failed> {
        use insights_protocol::topology::Change;
        let (site, gateway, parts) = (self.peer.site, self.peer.gateway, &self.shared.parts);
        let at_us = changes.last().map_or(0, Change::at_us);
        let begins = changes.iter().any(|change| matches!(change, Change::SnapshotBegin { .. }));
        if changes.iter().any(|change| matches!(change, Change::SnapshotEnd { .. })) {
            // Until it shows that nothing of it is missing; the service may end right after the commit.
            snapshots::want(parts.store.catalog(), site, gateway).await;
        }
        let applied = parts.sites.apply(site, cursor, rows::topology(changes)).await?;
        let in_snapshot = self.in_snapshot || begins;
        self.in_snapshot = in_snapshot && applied.snapshot.is_none();
        let events = stories::of_batch(&applied.site, gateway, at_us, &applied.effects, in_snapshot, applied.snapshot);
        if !events.is_empty() {
            self.tell(events).await;
        }
        match applied.snapshot {
            Some(done) if done.seen < done.expected => self.ask_for_snapshot().await,
            Some(_) => snapshots::got(parts.store.catalog(), site).await,
            None => {}
        }
        Ok(applied.appended)
    }

    /// The topology as of flows of this age.
    async fn model_of(&self, time_us: i64) -> Result<Arc<Site>, StoreError> {
        let (site, sites) = (self.peer.site, &self.shared.parts.sites);
        let live = sites.current(site).await?;
        if now_us() - time_us <= LATE_US {
            return Ok(live);
        }
        let past = sites.past(site, time_us.div_euclid(LATE_STEP_US) * LATE_STEP_US + LATE_STEP_US).await?;
        // Flows can be older than the first snapshot.
        Ok(if past.is_empty() { live } else { past })
    }

    /// Counts and tells a batch that can't be stored, and moves its cursor.
    async fn pass_over(&mut self, kind: Kind, cursor: Cursor, records: u64, why: String) -> Result<(), StoreError> {
        let (site, gateway, parts, now) = (self.peer.site, self.peer.gateway, &self.shared.parts, now_us());
        tracing::warn!(%gateway, %kind, sequence = cursor.sequence, records, why, "batch refused");
        let fields = json!({ "kind": kind.name(), "sequence": cursor.sequence, "records": records, "why": why });
        let mut event = rows::own_event(
            now,
            Level::Error,
            "batch.refused",
            format!("a batch of {records} {kind} records could not be read and was left out: {why}"),
            Some(gateway),
            fields,
        );
        event.loss = Some(Loss {
            kind: stream_kind(kind),
            records,
            first_us: now,
            last_us: now,
            cause: "refused".to_owned(),
        });
        match kind {
            Kind::Topology => {
                // What was in it is not known: only a snapshot makes the model whole again.
                snapshots::want(parts.store.catalog(), site, gateway).await;
                parts.sites.apply(site, cursor, Vec::new()).await?;
                self.tell(vec![event]).await;
                self.ask_for_snapshot().await;
            }
            Kind::Events => {
                parts.store.catalog().append_events(site, Some(cursor), vec![event]).await?;
            }
            Kind::Meters | Kind::Flows => {
                let rows = if kind == Kind::Meters {
                    Rows::Meters(Vec::new())
                } else {
                    Rows::Flows {
                        rows: Vec::new(),
                        paths: Vec::new(),
                    }
                };
                parts.store.series().append(site, Append { cursor, rows }).await?;
                self.tell(vec![event]).await;
            }
        }
        parts.counters.hop_count(site, gateway, kind, Hop::Refused, now, records);
        Ok(())
    }

    async fn tell(&self, events: Vec<NewEvent>) {
        if let Err(error) = self.shared.parts.store.catalog().append_events(self.peer.site, None, events).await {
            tracing::error!(error = &error as &dyn std::error::Error, "could not keep events");
        }
    }

    /// Asks for the snapshot that is wanted. A connection that ends asks for nothing; the next one does.
    async fn ask_for_snapshot(&self) {
        let _ = self.peer.out.send(snapshots::request(&self.shared.parts.gateways)).await;
    }

    async fn ask_again(&mut self, kind: Kind, sequence: u64, error: StoreError) -> Result<(), Ended> {
        add(&self.shared.parts.counters.kind(kind).retries, 1);
        tracing::error!(gateway = %self.peer.gateway, %kind, sequence, error = &error as &dyn std::error::Error, "could not store a batch");
        self.order.failed(sequence);
        self.send(ToGateway::Retry { kind, after_ms: RETRY_MS }).await
    }

    async fn acknowledge(&self, kind: Kind, epoch: u64, sequence: u64) -> Result<(), Ended> {
        self.send(ToGateway::Ack(WireCursor { kind, epoch, sequence })).await
    }

    async fn send(&self, message: ToGateway) -> Result<(), Ended> {
        self.peer.out.send(message).await.map_err(|_| Ended::Draining)
    }
}

/// The records of a batch in its envelope; an error comes with how many it says there are.
fn read(context: &mut Context, bytes: &[u8]) -> Result<Payload, (WireError, u64)> {
    let batch = batch::open(bytes).map_err(|error| (error, 0))?.batch;
    let records = batch::header(batch).map_or(0, |header| u64::from(header.records));
    context.read(batch).map_err(|error| (error, records))
}

/// The time of each record.
fn times(payload: &Payload) -> Vec<i64> {
    match payload {
        Payload::Topology(records) => records.iter().map(insights_protocol::topology::Change::at_us).collect(),
        Payload::Events(records) => records.iter().map(|event| event.at_us).collect(),
        // The first reading of an agent only sets the base line: there is nothing of it to store.
        Payload::Meters(records) => records
            .iter()
            .filter(|reading| reading.since_us.is_some())
            .map(|reading| reading.at_us)
            .collect(),
        Payload::Flows(records) => records.iter().map(|flow| flow.received_us).collect(),
    }
}

/// An error with its causes, for an event.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
