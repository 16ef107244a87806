// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One connection and its streams.

use std::{collections::BTreeMap, time::Duration};

use insights_protocol::{
    Kind,
    batch::{self, Payload},
    control::{ToGateway, ToService},
    frame::{LENGTH_BYTES, MAX_CONTROL_FRAME, MAX_DATA_FRAME, frame, payload_length},
    stream::StreamWriter,
};
use insights_spool::Record;
use quinn::{Endpoint, RecvStream, SendStream, VarInt};
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};

use super::{Event, EventSender, trouble};
use crate::clock::chain;

/// Control messages that wait to be written. They are few; a service that takes none of so many is stuck.
const CONTROL_QUEUE: usize = 64;
/// The end may take so long to reach the other side.
const CLOSE_TIME: Duration = Duration::from_millis(300);
/// The control stream goes before all data.
const CONTROL_PRIORITY: i32 = 10;

#[derive(Debug)]
pub(super) struct Connection {
    connection: quinn::Connection,
    endpoint: Endpoint,
    events: EventSender,
    control: Option<mpsc::Sender<Vec<u8>>>,
    writers: BTreeMap<Kind, Writer>,
    /// Ends with the connection.
    tasks: Vec<AbortHandle>,
    control_writer: Option<tokio::task::JoinHandle<()>>,
}

/// A record of the spool, its epoch, and what it stands for if that is at hand.
type ToWrite = (u64, Record, Option<Payload>);

#[derive(Debug)]
struct Writer {
    records: mpsc::Sender<ToWrite>,
    task: AbortHandle,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection, endpoint: Endpoint, control: (SendStream, RecvStream), events: EventSender) -> Connection {
        let (send, receive) = control;
        let (control, queue) = mpsc::channel(CONTROL_QUEUE);
        let writer = tokio::spawn(write_control(send, queue));
        let reader = tokio::spawn(read_control(receive, events.clone()));
        let watcher = tokio::spawn(watch(connection.clone(), events.clone(), reader));
        Connection {
            connection,
            endpoint,
            events,
            control: Some(control),
            writers: BTreeMap::new(),
            tasks: vec![watcher.abort_handle()],
            control_writer: Some(writer),
        }
    }

    pub(super) fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Fails when the message is too large, or the service takes none.
    pub(super) fn send(&mut self, message: &ToService) -> Result<(), String> {
        let bytes = message
            .encode()
            .and_then(|bytes| frame(&bytes, MAX_CONTROL_FRAME))
            .map_err(|error| chain(&error))?;
        match self.control.as_ref().map(|queue| queue.try_send(bytes)) {
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err("the service takes no messages".into()),
            // The writer is gone with the connection, whose end is told on its own.
            _ => Ok(()),
        }
    }

    /// Puts a record of this epoch on the stream of its kind, which is opened for the first one.
    pub(super) fn write(&mut self, kind: Kind, epoch: u64, record: Record, payload: Option<Payload>) {
        let writer = self.writers.entry(kind).or_insert_with(|| {
            let (records, queue) = mpsc::channel(1);
            let task = tokio::spawn(write_data(self.connection.clone(), kind, queue, self.events.clone())).abort_handle();
            Writer { records, task }
        });
        // One at a time per kind: the queue has room.
        let _ = writer.records.try_send((epoch, record, payload));
    }

    /// Gives the stream of a kind up.
    pub(super) fn reset(&mut self, kind: Kind) {
        if let Some(writer) = self.writers.remove(&kind) {
            writer.task.abort();
        }
    }

    /// Closes at once, after what was said on the control stream has gone out if that takes no time. The end is told as an event.
    pub(super) fn close(&mut self, code: u32, reason: &'static str) {
        self.control = None;
        let (connection, writer) = (self.connection.clone(), self.control_writer.take());
        tokio::spawn(async move {
            if let Some(writer) = writer {
                let _ = timeout(CLOSE_TIME, writer).await;
            }
            connection.close(VarInt::from_u32(code), reason.as_bytes());
        });
    }

    /// Waits until the other side had its chance to hear of the end.
    pub(super) async fn finish(self) {
        let _ = timeout(CLOSE_TIME * 2, self.connection.closed()).await;
        let _ = timeout(CLOSE_TIME, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.writers.values().for_each(|writer| writer.task.abort());
    }
}

/// Tells of the end of the connection, after all that was read before it.
async fn watch(connection: quinn::Connection, events: EventSender, reader: tokio::task::JoinHandle<()>) {
    let error = connection.closed().await;
    let _ = timeout(CLOSE_TIME, reader).await;
    events.tell(Event::Lost(trouble::of_connection(&error))).await;
}

async fn write_control(mut stream: SendStream, mut queue: mpsc::Receiver<Vec<u8>>) {
    let _ = stream.set_priority(CONTROL_PRIORITY);
    while let Some(bytes) = queue.recv().await {
        if stream.write_all(&bytes).await.is_err() {
            return; // With the connection.
        }
    }
    // The last words are waited for: a close on their heels would take them back.
    if stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
}

async fn read_control(mut stream: RecvStream, events: EventSender) {
    loop {
        let mut length = [0; LENGTH_BYTES];
        // The end of the stream or of the connection is told by the connection's watcher.
        if stream.read_exact(&mut length).await.is_err() {
            return;
        }
        let length = match payload_length(length, MAX_CONTROL_FRAME) {
            Ok(length) => length,
            Err(error) => return events.tell(Event::Broken(chain(&error))).await,
        };
        let mut bytes = vec![0; length];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        match ToGateway::decode(&bytes) {
            Ok(message) => events.tell(Event::Message(message)).await,
            Err(error) => return events.tell(Event::Broken(chain(&error))).await,
        }
    }
}

/// Writes records of one kind. Dropped in the middle of one, the stream is reset, not ended. What the service knows of the stream goes with it: the
/// next one begins anew.
async fn write_data(connection: quinn::Connection, kind: Kind, mut queue: mpsc::Receiver<ToWrite>, events: EventSender) {
    let Ok(stream) = connection.open_uni().await else { return };
    let mut stream = ResetOnDrop(stream);
    // Topology before events before meters before flows.
    let _ = stream.0.set_priority(Kind::ALL.len() as i32 - kind as i32);
    let mut writer = StreamWriter::default();
    while let Some((epoch, record, payload)) = queue.recv().await {
        // Coding a large batch takes some 100 ms of a core.
        let coded = tokio::task::spawn_blocking(move || {
            let at_hand = payload.and_then(|payload| writer.write_records(&payload).ok());
            let coded = at_hand.unwrap_or_else(|| writer.write(&record.payload));
            let envelope = batch::seal(epoch, record.sequence, &coded);
            (writer, frame(&envelope, MAX_DATA_FRAME))
        });
        let bytes = match coded.await {
            Ok((back, Ok(bytes))) => {
                writer = back;
                bytes
            }
            Ok((_, Err(error))) => return log::error!("A batch of kind {kind} can't be sent: {}", chain(&error)),
            Err(error) => return log::error!("A batch of kind {kind} could not be coded: {error}"),
        };
        match stream.0.write_all(&bytes).await {
            Ok(()) => events.tell(Event::Written(kind)).await,
            // The service stopped the stream: it says on the control stream what it wants.
            Err(_) => return,
        }
    }
}

struct ResetOnDrop(SendStream);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        let _ = self.0.reset(VarInt::from_u32(0));
    }
}
