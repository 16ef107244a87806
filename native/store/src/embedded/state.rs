// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard, RwLock};

use crate::{
    StoreError,
    catalog::{Catalog, Hop, HopCount},
    ids::{Cursor, Period, SiteId, StreamId, StreamKind},
    log::LogWriter,
    query::{Rolled, Usage, View},
    store::StoreOptions,
    table::{Gauge, KnownPaths, Numbers, Snapshot, Table, TableKind},
};

/// Paths that are known to be durable, over all sites; each costs some 50 bytes, twice. As many combinations of ends.
const KNOWN: usize = 1_000_000;

/// Fewest paths that are known of a site: below that, each batch would write its paths again.
const LEAST_KNOWN: usize = 2_000;

/// Epochs of a gateway's stream that are remembered, as in the catalogue.
const EPOCHS: usize = 4;

/// What all threads of the embedded backend share.
pub(crate) struct State {
    pub(super) options: StoreOptions,
    pub(super) catalog: Catalog,
    sites: RwLock<HashMap<SiteId, Arc<SiteData>>>,
    pub(super) gauge: Arc<Gauge>,
    pub(super) cursors: Mutex<Cursors>,
    pub(super) log: Mutex<LogWriter>,
    /// The first record of the log whose rows are not in the memory tables yet.
    pub(super) applied_lsn: AtomicU64,
    pub(super) next_row: AtomicU64,
    stopping: AtomicBool,
    /// Taken while the lists of files change: by a flush, a merge, a purge, one at a time each.
    pub(super) flushing: Mutex<()>,
    pub(super) keeping: Mutex<()>,
    /// Held by whoever moves counts from memory to the catalogue, so that a reader sees each once.
    pub(super) counting: RwLock<()>,
    alarm: Mutex<bool>,
    rung: Condvar,
    /// The folder is this process's own as long as it holds this.
    _lock: File,
}

/// One site: its folder and its tables.
pub(crate) struct SiteData {
    pub(super) id: SiteId,
    pub(super) dir: PathBuf,
    /// Under one lock, so that a question sees rows either in memory or in files and their roll-ups.
    tables: Mutex<[Table; TableKind::ALL.len()]>,
    pub(super) known: Mutex<KnownPaths>,
    pub(super) numbers: Numbers,
}

impl SiteData {
    /// One table; the others wait meanwhile.
    pub(super) fn table(&self, kind: TableKind) -> MappedMutexGuard<'_, Table> {
        MutexGuard::map(self.tables.lock(), |tables| &mut tables[kind.place()])
    }

    /// All tables at one moment, in the order of their numbers.
    pub(super) fn tables(&self) -> MutexGuard<'_, [Table; TableKind::ALL.len()]> {
        self.tables.lock()
    }

    pub(super) fn table_dir(&self, kind: TableKind) -> PathBuf {
        self.dir.join(kind.name())
    }
}

impl View for SiteData {
    fn flows(&self, period: Period) -> Snapshot {
        let tables = self.tables();
        Snapshot {
            ends: tables[TableKind::Ends.place()].files().to_vec(),
            ..tables[TableKind::Flows.place()].snapshot(period)
        }
    }

    fn paths(&self, period: Period) -> Snapshot {
        self.table(TableKind::Paths).snapshot(period)
    }

    fn meters(&self, period: Period) -> Snapshot {
        self.table(TableKind::Meters).snapshot(period)
    }

    fn rolled(&self, records: TableKind, levels: [TableKind; 2]) -> Rolled {
        let tables = self.tables();
        let files = |kind: TableKind| tables[kind.place()].files().to_vec();
        Rolled {
            records: Snapshot {
                ends: files(TableKind::Ends),
                ..tables[records.place()].snapshot(Period::new(i64::MIN, i64::MAX))
            },
            levels: levels.map(|kind| (kind, files(kind))),
        }
    }
}

impl State {
    #[allow(clippy::too_many_arguments, reason = "the parts that opening found")]
    pub(super) fn new(
        options: StoreOptions,
        catalog: Catalog,
        gauge: Arc<Gauge>,
        cursors: Cursors,
        log: LogWriter,
        next_lsn: u64,
        next_row: u64,
        lock: File,
        sites: HashMap<SiteId, Arc<SiteData>>,
    ) -> Self {
        Self {
            options,
            catalog,
            sites: RwLock::new(sites),
            gauge,
            cursors: Mutex::new(cursors),
            log: Mutex::new(log),
            applied_lsn: AtomicU64::new(next_lsn),
            next_row: AtomicU64::new(next_row),
            stopping: AtomicBool::new(false),
            flushing: Mutex::new(()),
            keeping: Mutex::new(()),
            counting: RwLock::new(()),
            alarm: Mutex::new(false),
            rung: Condvar::new(),
            _lock: lock,
        }
    }

    /// The site, made when it is new.
    pub(super) fn site(&self, id: SiteId) -> Arc<SiteData> {
        if let Some(site) = self.known_site(id) {
            return site;
        }
        let mut sites = self.sites.write();
        Arc::clone(sites.entry(id).or_insert_with(|| Arc::new(new_site(&self.options, id))))
    }

    pub(super) fn known_site(&self, id: SiteId) -> Option<Arc<SiteData>> {
        self.sites.read().get(&id).cloned()
    }

    pub(super) fn sites(&self) -> Vec<Arc<SiteData>> {
        self.sites.read().values().cloned().collect()
    }

    pub(super) fn forget_site(&self, id: SiteId) {
        self.sites.write().remove(&id);
    }

    /// What questions about a site see: nothing, when it has never had any data.
    pub(super) fn view(&self, id: SiteId) -> Arc<dyn View> {
        match self.known_site(id) {
            Some(site) => site,
            None => Arc::new(new_site(&self.options, id)),
        }
    }

    /// How many paths of one site may be known, and how many ends.
    pub(super) fn most_known(&self) -> usize {
        (KNOWN / self.sites.read().len().max(1)).max(LEAST_KNOWN)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.rung.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Wakes the flush thread.
    pub(super) fn ring(&self) {
        *self.alarm.lock() = true;
        self.rung.notify_all();
    }

    /// Waits for [`State::ring`], at most for a time.
    pub(super) fn wait(&self, at_most: Duration) {
        let mut alarm = self.alarm.lock();
        if !*alarm && !self.is_stopping() {
            self.rung.wait_for(&mut alarm, at_most);
        }
        *alarm = false;
    }

    /// Waits for the end, at most for a time.
    pub(super) fn rest(&self, at_most: Duration) {
        let until = std::time::Instant::now() + at_most;
        let mut alarm = self.alarm.lock();
        while !self.is_stopping() && !self.rung.wait_until(&mut alarm, until).timed_out() {}
    }

    /// Records stored and purged by hour: those in files and those in memory.
    pub(super) fn counts(&self, id: SiteId, period: Period) -> Result<Vec<HopCount>, StoreError> {
        let _still = self.counting.read();
        let kept = self.catalog.counts_now(id, period)?;
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for count in kept.into_iter().filter(|count| matches!(count.hop, Hop::Stored | Hop::Purged)) {
            *counts.entry((count.hour_us, count.gateway, count.kind, count.hop)).or_default() += count.records;
        }
        if let Some(site) = self.known_site(id) {
            for (table, kind) in [(TableKind::Flows, StreamKind::Flows), (TableKind::Meters, StreamKind::Meters)] {
                for batch in site.table(table).memory() {
                    for ((gateway, hour_us), records) in &batch.counts {
                        *counts.entry((*hour_us, *gateway, kind, Hop::Stored)).or_default() += records;
                    }
                }
            }
        }
        let in_period = |hour_us: i64| hour_us < period.to_us && hour_us >= crate::catalog::hour_of(period.from_us);
        let counts = counts.into_iter().filter(|((hour_us, ..), _)| in_period(*hour_us));
        Ok(counts
            .map(|((hour_us, gateway, kind, hop), records)| HopCount {
                gateway,
                kind,
                hour_us,
                hop,
                records,
            })
            .collect())
    }

    pub(super) fn usage(&self, id: SiteId) -> Result<Usage, StoreError> {
        let mut usage = Usage {
            catalog: self.catalog.bytes_now(id)?,
            ..Usage::default()
        };
        let Some(site) = self.known_site(id) else { return Ok(usage) };
        for kind in TableKind::ALL {
            let table = site.table(kind);
            let bytes: u64 = table.files().iter().map(|file| file.bytes).sum();
            match kind {
                TableKind::Flows => usage.flows = bytes,
                TableKind::Paths => usage.paths = bytes,
                TableKind::Ends => usage.ends = bytes,
                TableKind::Meters => usage.meters = bytes,
                _ => usage.rollups += bytes,
            }
            usage.files += table.files().len() as u64;
            usage.log += table.memory().map(|batch| batch.log_bytes).sum::<u64>();
            usage.pending += table.memory().map(|batch| batch.reserved.bytes() as u64).sum::<u64>();
            if TableKind::LOGGED.contains(&kind) {
                let oldest = table.files().iter().map(|file| file.min_us).min();
                usage.oldest_us = [usage.oldest_us, oldest].into_iter().flatten().min();
            }
        }
        Ok(usage)
    }
}

pub(super) fn new_site(options: &StoreOptions, id: SiteId) -> SiteData {
    SiteData {
        id,
        dir: options.dir.join("sites").join(id.to_string()),
        tables: Mutex::new(std::array::from_fn(|_| Table::default())),
        known: Mutex::new(KnownPaths::default()),
        // Zero stands for none.
        numbers: Numbers::new(1),
    }
}

/// How far the streams of flows and meters are durable.
#[derive(Default)]
pub(crate) struct Cursors {
    /// Epochs of a stream with their last sequences, newest last.
    streams: HashMap<(SiteId, uuid::Uuid, StreamKind), Vec<(u64, u64)>>,
    /// Streams that have moved since they were written to the catalogue.
    moved: HashSet<(SiteId, StreamId)>,
}

impl Cursors {
    pub(super) fn get(&self, site: SiteId, stream: StreamId) -> Option<u64> {
        let epochs = self.streams.get(&(site, stream.gateway, stream.kind))?;
        epochs.iter().find(|(epoch, _)| *epoch == stream.epoch).map(|(_, sequence)| *sequence)
    }

    pub(super) fn advance(&mut self, site: SiteId, cursor: Cursor) {
        let Cursor { stream, sequence } = cursor;
        let epochs = self.streams.entry((site, stream.gateway, stream.kind)).or_default();
        let known = epochs.iter().position(|(epoch, _)| *epoch == stream.epoch);
        let sequence = known.map_or(sequence, |at| epochs.remove(at).1.max(sequence));
        if epochs.len() >= EPOCHS {
            epochs.remove(0);
        }
        epochs.push((stream.epoch, sequence));
        self.moved.insert((site, stream));
    }

    /// The cursors that moved; they count as written from now on.
    pub(super) fn take_moved(&mut self) -> Vec<(SiteId, Cursor)> {
        let moved = std::mem::take(&mut self.moved);
        moved
            .into_iter()
            .filter_map(|(site, stream)| self.get(site, stream).map(|sequence| (site, Cursor { stream, sequence })))
            .collect()
    }

    /// They could not be written after all.
    pub(super) fn put_back(&mut self, cursors: &[(SiteId, Cursor)]) {
        self.moved.extend(cursors.iter().map(|(site, cursor)| (*site, cursor.stream)));
    }

    pub(super) fn forget_site(&mut self, site: SiteId) {
        self.streams.retain(|(of, ..), _| *of != site);
        self.moved.retain(|(of, _)| *of != site);
    }
}
