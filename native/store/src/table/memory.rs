// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use datafusion::arrow::array::RecordBatch;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{ids::Period, parquet::DataFile};

/// Rows of one batch in memory.
pub(crate) struct MemBatch {
    /// Place of its record in the commit log.
    pub(crate) lsn: u64,
    pub(crate) rows: RecordBatch,
    /// First and last time of the rows.
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
    /// Records by hour, for the balance; nothing for tables that hold no records of their own.
    pub(crate) counts: Vec<(i64, u64)>,
    pub(crate) gateway: Uuid,
    pub(crate) since: Instant,
    /// Given back when the last reader is done with the rows.
    pub(crate) reserved: Reservation,
}

/// One table of one site: rows in memory, and the files.
#[derive(Default)]
pub(crate) struct Table {
    active: Vec<Arc<MemBatch>>,
    /// Being written to a file.
    frozen: Vec<Arc<MemBatch>>,
    /// Newest last row first.
    files: Vec<Arc<DataFile>>,
}

/// What a question reads: each row is in it once.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) memory: Vec<Arc<MemBatch>>,
    pub(crate) files: Vec<Arc<DataFile>>,
}

impl Table {
    pub(crate) fn push(&mut self, batch: Arc<MemBatch>) {
        self.active.push(batch);
    }

    /// What meets the period.
    pub(crate) fn snapshot(&self, period: Period) -> Snapshot {
        let meets = |min_us: i64, max_us: i64| min_us < period.to_us && max_us >= period.from_us;
        Snapshot {
            memory: self.memory().filter(|batch| meets(batch.min_us, batch.max_us)).cloned().collect(),
            files: self.files.iter().filter(|file| meets(file.min_us, file.max_us)).cloned().collect(),
        }
    }

    pub(crate) fn memory(&self) -> impl Iterator<Item = &Arc<MemBatch>> {
        self.frozen.iter().chain(&self.active)
    }

    pub(crate) fn files(&self) -> &[Arc<DataFile>] {
        &self.files
    }

    /// Rows and bytes that wait to be frozen, and since when.
    pub(crate) fn waiting(&self) -> (usize, usize, Option<Instant>) {
        let rows = self.active.iter().map(|batch| batch.rows.num_rows()).sum();
        let bytes = self.active.iter().map(|batch| batch.reserved.bytes()).sum();
        (rows, bytes, self.active.first().map(|batch| batch.since))
    }

    pub(crate) fn has_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    /// The rows to be written to files: those of the last try, if it failed, else all that wait.
    pub(crate) fn freeze(&mut self) -> Vec<Arc<MemBatch>> {
        if self.frozen.is_empty() {
            self.frozen = std::mem::take(&mut self.active);
        }
        self.frozen.clone()
    }

    /// The frozen rows are in these files from now on.
    pub(crate) fn thaw(&mut self, files: Vec<Arc<DataFile>>) {
        self.frozen.clear();
        self.add_files(files);
    }

    pub(crate) fn add_files(&mut self, files: Vec<Arc<DataFile>>) {
        self.files.extend(files);
        self.files.sort_by_key(|file| std::cmp::Reverse((file.max_us, file.id)));
    }

    /// `new` takes the place of `old`.
    pub(crate) fn replace(&mut self, old: &[Arc<DataFile>], new: Vec<Arc<DataFile>>) {
        self.files.retain(|file| !old.iter().any(|old| old.id == file.id));
        self.add_files(new);
    }

    /// The first record of the commit log whose rows are not all in files.
    pub(crate) fn oldest_lsn(&self) -> Option<u64> {
        self.memory().map(|batch| batch.lsn).min()
    }
}

/// Bytes of rows in memory, over all sites.
pub(crate) struct Gauge {
    used: AtomicUsize,
    limit: usize,
    freed: Notify,
}

impl Gauge {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit,
            freed: Notify::new(),
        })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Waits until the bound is kept. What comes through at once may exceed it by the batches that are in flight.
    pub(crate) async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.used() < self.limit {
                return;
            }
            freed.await;
        }
    }

    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            gauge: Arc::clone(self),
            bytes,
        }
    }
}

/// Part of a [`Gauge`].
pub(crate) struct Reservation {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.gauge.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.gauge.freed.notify_waiters();
    }
}
