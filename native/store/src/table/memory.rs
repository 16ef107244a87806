// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use datafusion::arrow::{array::RecordBatch, compute::concat_batches};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{ids::Period, parquet::DataFile};

/// Rows in memory that came together, or were put together later.
pub(crate) struct MemBatch {
    /// First and last of their records in the commit log.
    pub(crate) first_lsn: u64,
    pub(crate) last_lsn: u64,
    pub(crate) rows: RecordBatch,
    /// First and last time of the rows.
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
    /// Records by gateway and hour, for the balance; nothing for tables that hold no records of their own.
    pub(crate) counts: BTreeMap<(Uuid, i64), u64>,
    /// What they take in the commit log.
    pub(crate) log_bytes: u64,
    pub(crate) since: Instant,
    /// Given back when the last reader is done with the rows.
    pub(crate) reserved: Reservation,
}

/// One table of one site: rows in memory, and the files.
#[derive(Default)]
pub(crate) struct Table {
    active: Vec<Arc<MemBatch>>,
    active_rows: usize,
    active_bytes: usize,
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
    /// Of flows: files with the ends that flows at rest name, perhaps with those of other days.
    pub(crate) ends: Vec<Arc<DataFile>>,
}

impl Snapshot {
    /// Its rows in memory.
    pub(crate) fn in_memory(&self) -> Snapshot {
        Snapshot {
            memory: self.memory.clone(),
            ..Snapshot::default()
        }
    }

    /// Some of its files.
    pub(crate) fn in_files(&self, files: Vec<Arc<DataFile>>) -> Snapshot {
        Snapshot {
            memory: Vec::new(),
            files,
            ends: self.ends.clone(),
        }
    }

    /// The same by the form of the rows: that of memory, which files of an older store have too, and that of files.
    pub(crate) fn by_form(&self) -> [Snapshot; 2] {
        let (at_rest, plain) = self.files.iter().cloned().partition(|file| file.kind != file.kind.table());
        let plain = Snapshot {
            memory: self.memory.clone(),
            files: plain,
            ends: Vec::new(),
        };
        [plain, self.in_files(at_rest)]
    }

    /// First time of the rows, and behind the last one.
    pub(crate) fn span(&self) -> Period {
        let memory = self.memory.iter().map(|batch| (batch.min_us, batch.max_us));
        let files = self.files.iter().map(|file| (file.min_us, file.max_us));
        let span = memory.chain(files).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        span.map_or(Period::new(0, 0), |(min, max)| Period::new(min, max.saturating_add(1)))
    }
}

impl Table {
    /// Batches come in the order of the commit log. Many small ones are put together: a batch of a few rows costs some KiB of memory, and
    /// each costs a question its share of overhead.
    pub(crate) fn push(&mut self, batch: Arc<MemBatch>) {
        self.add(batch);
        while let Some(joined) = self
            .like_last()
            .and_then(|first| join(&self.active[first..]).map(|joined| (first, joined)))
        {
            let (first, joined) = joined;
            for part in self.active.drain(first..) {
                self.active_rows -= part.rows.num_rows();
                self.active_bytes -= part.reserved.bytes();
            }
            self.add(Arc::new(joined));
        }
    }

    fn add(&mut self, batch: Arc<MemBatch>) {
        self.active_rows += batch.rows.num_rows();
        self.active_bytes += batch.reserved.bytes();
        self.active.push(batch);
    }

    /// Where the last batches of like size begin, when there are enough of them to be put together.
    fn like_last(&self) -> Option<usize> {
        let tier = tier(self.active.last()?)?;
        let like = self.active.iter().rev().take_while(|batch| self::tier(batch) == Some(tier)).count();
        (like >= JOIN).then(|| self.active.len() - like)
    }

    /// What meets the period.
    pub(crate) fn snapshot(&self, period: Period) -> Snapshot {
        let meets = |min_us: i64, max_us: i64| min_us < period.to_us && max_us >= period.from_us;
        Snapshot {
            memory: self.memory().filter(|batch| meets(batch.min_us, batch.max_us)).cloned().collect(),
            files: self.files.iter().filter(|file| meets(file.min_us, file.max_us)).cloned().collect(),
            ends: Vec::new(),
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
        (self.active_rows, self.active_bytes, self.active.first().map(|batch| batch.since))
    }

    pub(crate) fn has_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    /// The rows to be written to files: those of the last try, if it failed, else all that wait.
    pub(crate) fn freeze(&mut self) -> Vec<Arc<MemBatch>> {
        if self.frozen.is_empty() {
            self.frozen = std::mem::take(&mut self.active);
            self.active_rows = 0;
            self.active_bytes = 0;
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
        self.memory().map(|batch| batch.first_lsn).min()
    }
}

/// Batches of like size that are put together. Each row is copied once for each tier, which are powers of this.
const JOIN: usize = 16;

/// Batches of so many rows stay as they are.
const LARGE_ROWS: usize = 1_024;

fn tier(batch: &MemBatch) -> Option<u32> {
    let rows = batch.rows.num_rows();
    (rows < LARGE_ROWS).then(|| rows.max(1).ilog(JOIN))
}

/// One batch of several. `None` when they don't fit together, which can't be for batches of one table; they stay as they are then.
fn join(parts: &[Arc<MemBatch>]) -> Option<MemBatch> {
    let (first, last) = (parts.first()?, parts.last()?);
    let rows = concat_batches(&first.rows.schema(), parts.iter().map(|part| &part.rows)).ok()?;
    let mut counts = BTreeMap::new();
    for (key, records) in parts.iter().flat_map(|part| &part.counts) {
        *counts.entry(*key).or_default() += records;
    }
    Some(MemBatch {
        first_lsn: first.first_lsn,
        last_lsn: last.last_lsn,
        min_us: parts.iter().map(|part| part.min_us).min()?,
        max_us: parts.iter().map(|part| part.max_us).max()?,
        counts,
        log_bytes: parts.iter().map(|part| part.log_bytes).sum(),
        since: first.since,
        reserved: first.reserved.gauge.reserve(rows.get_array_memory_size()),
        rows,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{table::flow_batch, testing::flow};

    fn batch(gauge: &Arc<Gauge>, lsn: u64) -> Arc<MemBatch> {
        let rows = flow_batch(&[flow(lsn as i64), flow(lsn as i64 + 1)], lsn * 10).unwrap();
        let reserved = gauge.reserve(rows.get_array_memory_size());
        let counts = BTreeMap::from([((Uuid::nil(), 0), 2)]);
        Arc::new(MemBatch {
            first_lsn: lsn,
            last_lsn: lsn,
            rows,
            min_us: lsn as i64,
            max_us: lsn as i64 + 1,
            counts,
            log_bytes: 10,
            since: Instant::now(),
            reserved,
        })
    }

    #[test]
    fn small_batches_are_put_together_and_nothing_of_them_is_lost() {
        let gauge = Gauge::new(usize::MAX);
        let mut table = Table::default();
        for lsn in 1..=1_000 {
            table.push(batch(&gauge, lsn));
        }
        let (rows, bytes, _) = table.waiting();
        assert_eq!(rows, 2_000);
        assert_eq!(bytes, gauge.used());
        assert!(table.memory().count() < 3 * JOIN, "{}", table.memory().count());
        assert_eq!(table.memory().map(|batch| batch.counts[&(Uuid::nil(), 0)]).sum::<u64>(), 2_000);
        assert_eq!(table.memory().map(|batch| batch.log_bytes).sum::<u64>(), 10_000);
        assert_eq!(table.oldest_lsn(), Some(1));
        let spans: Vec<_> = table.memory().map(|batch| (batch.first_lsn, batch.last_lsn)).collect();
        assert!(spans.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{spans:?}");
        assert_eq!(table.snapshot(Period::new(700, 701)).memory.len(), 1);
        let frozen = table.freeze();
        table.push(batch(&gauge, 1_001));
        assert_eq!(table.waiting().0, 2);
        // A try that failed is taken up again, without what came later.
        assert_eq!(table.freeze().len(), frozen.len());
        table.thaw(Vec::new());
        drop(frozen);
        assert_eq!(table.waiting().1, gauge.used());
    }
}
