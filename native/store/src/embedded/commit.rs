// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use datafusion::arrow::{
    array::RecordBatch,
    datatypes::{TimestampMicrosecondType, UInt8Type},
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::state::State;
use crate::{
    StoreError,
    catalog::hour_of,
    ids::{Appended, Cursor, SiteId, StreamId, StreamKind},
    log::{LogRecord, LogTable},
    parquet::span,
    row::PathId,
    series::{Append, Rows},
    table::{COVERAGE, MemBatch, Reservation, TableKind, columns_of, flow_batch, meter_batch, path_batch},
};

/// Batches that wait for the commit thread; more wait in their callers.
const QUEUE: usize = 1_024;

/// Bytes that are made durable at once: beyond that, a group would make its first members wait for the disk.
const GROUP_BYTES: usize = 64 << 20;

/// How often a broken log is tried again: soon enough for a disk that was full for a moment, seldom enough for one that hangs at each try.
const MEND_EVERY: Duration = Duration::from_secs(1);

/// How often it is said that it is still broken.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The way into the commit thread.
pub(super) struct Committer {
    state: Arc<State>,
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A batch that is ready to be written.
struct Request {
    site: SiteId,
    cursor: Cursor,
    payload: Vec<u8>,
    tables: Vec<(LogTable, Reservation)>,
    /// Paths that are known once this is durable.
    paths: Vec<(i64, PathId)>,
    done: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Committer {
    pub(super) fn start(state: Arc<State>) -> Result<Self, StoreError> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("store-commit".into())
            .spawn(move || commit_all(&shared, requests))
            .map_err(|source| StoreError::io("start the commit thread", source))?;
        Ok(Self {
            state,
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn append(&self, site: SiteId, batch: Append) -> impl Future<Output = Result<Appended, StoreError>> + Send + 'static {
        let queue = self.queue.lock().clone();
        let state = Arc::clone(&self.state);
        async move {
            let Some(queue) = queue else { return Err(StoreError::Shut) };
            // What is durable already needs no work; the commit thread asks again, for what is on its way.
            if is_durable(&state, site, batch.cursor) {
                return Ok(Appended::Duplicate);
            }
            if state.gauge.used() >= state.gauge.limit() {
                state.ring();
                state.gauge.room().await;
            }
            let shared = Arc::clone(&state);
            let (done, outcome) = oneshot::channel();
            let request = crate::catalog::blocking(move || prepare(&shared, site, batch, done)).await?;
            queue.send(request).await.map_err(|_| StoreError::Shut)?;
            outcome.await.map_err(|_| StoreError::Shut)?
        }
    }

    /// Ends the commit thread after what is in its queue.
    pub(super) fn stop(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            log::error!("the commit thread of the store ended with a panic");
        }
    }
}

fn is_durable(state: &State, site: SiteId, cursor: Cursor) -> bool {
    state
        .cursors
        .lock()
        .get(site, cursor.stream)
        .is_some_and(|durable| cursor.sequence <= durable)
}

/// Checks and encodes a batch.
fn prepare(state: &State, site: SiteId, batch: Append, done: oneshot::Sender<Result<Appended, StoreError>>) -> Result<Request, StoreError> {
    let cursor = batch.cursor;
    let mut paths = Vec::new();
    let mut tables = Vec::new();
    match batch.rows {
        Rows::Flows { rows, paths: contents } => {
            kind_is(cursor, StreamKind::Flows)?;
            let first = state.next_row.fetch_add(rows.len() as u64, Ordering::Relaxed);
            let site = state.site(site);
            let known = |day, path| site.known.lock().get(&(day, path)).is_some();
            if let Some((batch, keys)) = path_batch(&rows, &contents, known)? {
                tables.push(LogTable::new(TableKind::Paths, batch));
                paths = keys;
            }
            if !rows.is_empty() {
                tables.push(LogTable::new(TableKind::Flows, flow_batch(&rows, first)?));
            }
        }
        Rows::Meters(readings) => {
            kind_is(cursor, StreamKind::Meters)?;
            if !readings.is_empty() {
                tables.push(LogTable::new(TableKind::Meters, meter_batch(&readings)?));
            }
        }
    }
    let payload = LogRecord::encode(site, cursor, &mut tables)?;
    let tables = tables
        .into_iter()
        .map(|table| {
            let reserved = state.gauge.reserve(table.rows.get_array_memory_size());
            (table, reserved)
        })
        .collect();
    Ok(Request {
        site,
        cursor,
        payload,
        tables,
        paths,
        done,
    })
}

fn kind_is(cursor: Cursor, kind: StreamKind) -> Result<(), StoreError> {
    if cursor.stream.kind == kind {
        Ok(())
    } else {
        Err(StoreError::Invalid(format!("a batch of {kind} with a cursor of {}", cursor.stream.kind)))
    }
}

fn commit_all(state: &State, mut requests: mpsc::Receiver<Request>) {
    let mut broken: Option<Broken> = None;
    while let Some(first) = requests.blocking_recv() {
        if broken.as_mut().is_some_and(|broken| !broken.mend(state)) {
            let _ = first.done.send(Err(StoreError::Shut));
            continue;
        }
        broken = None;
        let mut group = vec![first];
        let mut bytes = group[0].payload.len();
        while bytes < GROUP_BYTES
            && let Ok(next) = requests.try_recv()
        {
            bytes += next.payload.len();
            group.push(next);
        }
        if let Err(error) = commit_group(state, group) {
            log::error!("{error}: {}; nothing is stored until that is well again", cause(&error));
            broken = Some(Broken::new());
        }
    }
}

/// A log that could not be written. What its last group left on the disk is not known, so it is cut off before anything else is written.
struct Broken {
    tried: Instant,
    told: Instant,
}

impl Broken {
    fn new() -> Self {
        let now = Instant::now();
        Self { tried: now, told: now }
    }

    /// Tries once in a while; `true` when the log can be written again.
    fn mend(&mut self, state: &State) -> bool {
        if self.tried.elapsed() < MEND_EVERY {
            return false;
        }
        let mended = state.log.lock().mend();
        self.tried = Instant::now();
        match mended {
            Ok(()) => {
                log::info!("the commit log can be written again");
                true
            }
            Err(error) => {
                if self.told.elapsed() >= TELL_EVERY {
                    log::error!("{error}: {}; still nothing is stored", cause(&error));
                    self.told = self.tried;
                }
                false
            }
        }
    }
}

/// Writes the batches that are new, makes them durable together, and shows them to questions. After an error the log has to be mended.
fn commit_group(state: &State, group: Vec<Request>) -> Result<(), StoreError> {
    let mut new = Vec::new();
    let mut repeated = Vec::new();
    // Sequences that this very group holds already.
    let mut held: HashMap<(SiteId, StreamId), u64> = HashMap::new();
    let mut log = state.log.lock();
    for request in group {
        let stream = (request.site, request.cursor.stream);
        let durable = held
            .get(&stream)
            .copied()
            .or_else(|| state.cursors.lock().get(request.site, request.cursor.stream));
        if durable.is_some_and(|durable| request.cursor.sequence <= durable) {
            repeated.push(request.done);
            continue;
        }
        match log.add(&request.payload) {
            Ok(lsn) => {
                held.insert(stream, request.cursor.sequence);
                new.push((lsn, request));
            }
            Err(error) => {
                let _ = request.done.send(Err(error));
            }
        }
    }
    let committed = log.commit();
    drop(log);
    if let Err(error) = committed {
        let all = new.into_iter().map(|(_, request)| request.done).chain(repeated);
        all.for_each(|done| {
            let _ = done.send(Err(StoreError::Shut));
        });
        return Err(error);
    }
    for (lsn, request) in new {
        let outcome = apply(state, lsn, request.site, request.cursor, request.tables, request.paths).map(|()| Appended::Committed);
        state.applied_lsn.store(lsn + 1, Ordering::Release);
        let _ = request.done.send(outcome);
    }
    for done in repeated {
        let _ = done.send(Ok(Appended::Duplicate));
    }
    state.log.lock().rotate_if_full()
}

/// Puts durable rows into the memory tables and moves the cursor.
pub(super) fn apply(
    state: &State,
    lsn: u64,
    site: SiteId,
    cursor: Cursor,
    tables: Vec<(LogTable, Reservation)>,
    paths: Vec<(i64, PathId)>,
) -> Result<(), StoreError> {
    let site = state.site(site);
    let mut due = false;
    for (table, reserved) in tables {
        let kind = table.kind;
        let batch = mem_batch(lsn, cursor, table, reserved)?;
        let mut tables = site.table(kind);
        tables.push(Arc::new(batch));
        let (rows, bytes, _) = tables.waiting();
        due |= rows >= state.options.flush_rows || bytes >= state.options.flush_bytes;
    }
    site.known.lock().insert(paths.into_iter().map(|path| (path, ())), state.most_known());
    state.cursors.lock().advance(site.id, cursor);
    if due || state.gauge.used() > state.gauge.limit() / 2 {
        state.ring();
    }
    Ok(())
}

pub(super) fn mem_batch(lsn: u64, cursor: Cursor, table: LogTable, reserved: Reservation) -> Result<MemBatch, StoreError> {
    let LogTable { kind, rows, bytes } = table;
    let (min_us, max_us) = span(kind, &rows)?;
    let counts = counts(kind, &rows)?
        .into_iter()
        .map(|(hour_us, records)| ((cursor.stream.gateway, hour_us), records))
        .collect();
    Ok(MemBatch {
        first_lsn: lsn,
        last_lsn: lsn,
        rows,
        min_us,
        max_us,
        counts,
        log_bytes: bytes,
        since: Instant::now(),
        reserved,
    })
}

/// Records by hour: flows, and readings of hosts.
fn counts(kind: TableKind, rows: &RecordBatch) -> Result<BTreeMap<i64, u64>, StoreError> {
    let columns = columns_of(rows);
    let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
    match kind {
        TableKind::Flows => {
            for time in columns.numbers::<TimestampMicrosecondType>("time")?.values() {
                *hours.entry(hour_of(*time)).or_default() += 1;
            }
        }
        TableKind::Meters => {
            let kinds = columns.numbers::<UInt8Type>("kind")?.values();
            let times = columns.numbers::<TimestampMicrosecondType>("to")?.values();
            for (_, time) in kinds.iter().zip(times).filter(|(kind, _)| **kind == COVERAGE) {
                *hours.entry(hour_of(*time - 1)).or_default() += 1;
            }
        }
        _ => {}
    }
    Ok(hours)
}

/// The cause of an error that is handled here.
pub(super) fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}
