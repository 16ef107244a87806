// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The distributed backend: time series in a ClickHouse server, reached by its HTTP interface. A collector keeps none of them itself.
//!
//! **Each record once.** A batch is one insert, into a table that keeps nothing; views write the tables that do ([`schema`]). The insert
//! carries the batch's place in its stream as a token, which each of these tables remembers. Then the cursor moves, in a table of its own,
//! and only then the batch is acknowledged. So, wherever anything is killed:
//! - before the insert, or in the middle of it: the cursor is where it was, the gateway sends the batch again, and each table takes what it
//!   lacks, since it knows the token of what it has;
//! - between insert and cursor: the same, and no table lacks anything;
//! - after the cursor: the batch is a duplicate, known by the cursor alone.
//!
//! The cursor goes last because it says "all of it is there", and it is beside the rows, not in the collector's catalogue, because a collector
//! can be replaced while the rows stay. Batches of one stream are stored one after the other, as they are acknowledged.

mod address;
mod binary;
mod client;
mod groups;
mod http;
mod keeping;
mod lists;
mod meters;
mod question;
mod rows;
mod schema;
mod sql;

use std::{
    collections::HashMap,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use uuid::Uuid;

pub use address::{ClickHouseAddress, ClickHouseOptions};

use self::{
    binary::{Reader, Writer},
    client::Client,
    question::{Question, SiteTables},
    rows::Encoded,
};
use crate::{
    StoreError,
    catalog::{Catalog, HopCount},
    embedded::lock,
    ids::{Appended, Cursor, Period, SiteId, StreamId, StreamKind},
    query::{
        Answer, Bin, Budget, DropsQuery, FlowPage, FlowQuery, HistogramQuery, HitsQuery, Lanes, MeterQuery, MeterSeries, MeterTotal, Pairs,
        PairsQuery, RuleDrops, RuleHits, StoredFlow, Top, TopQuery, TotalsQuery, Usage,
    },
    row::{FlowId, Path, PathId},
    series::{Append, Outcome, Purged, Rows, Series},
    store::StoreOptions,
    table::KnownPaths,
};

/// Batches that are stored at once, over all streams: each is encoded in memory, some 60 MB at worst.
const INSERTS: usize = 8;

/// Places of the streams; two that share one wait for each other.
const PLACES: usize = 256;

/// Paths of a site that are known to be stored.
const KNOWN: usize = 100_000;

/// Sites whose paths are remembered.
const SITES: usize = 1_024;

/// Time series in a ClickHouse server.
pub(crate) struct ClickHouse {
    client: Arc<Client>,
    options: StoreOptions,
    catalog: Catalog,
    lanes: Lanes<()>,
    inserts: tokio::sync::Semaphore,
    streams: Vec<tokio::sync::Mutex<()>>,
    known: Mutex<HashMap<SiteId, KnownPaths>>,
    /// One purge at a time.
    keeping: tokio::sync::Mutex<()>,
    this: Weak<ClickHouse>,
    _lock: File,
}

impl ClickHouse {
    /// Makes the tables that are missing. The catalogue's folder is for this process alone.
    pub(crate) async fn open(options: &StoreOptions, server: ClickHouseOptions, catalog: Catalog) -> Result<Arc<Self>, StoreError> {
        let dir = options.dir.clone();
        let lock = crate::catalog::blocking(move || lock(&dir)).await?;
        // One question is enough for half of the memory, and two sites find room beside each other.
        let client = Arc::new(Client::new(server, options.query_memory_bytes / 2)?);
        schema::make(&client).await?;
        let backend = Arc::new_cyclic(|this| Self {
            client,
            options: options.clone(),
            catalog,
            lanes: Lanes::new(options, || ()),
            inserts: tokio::sync::Semaphore::new(INSERTS),
            streams: (0..PLACES).map(|_| tokio::sync::Mutex::default()).collect(),
            known: Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
            this: this.clone(),
            _lock: lock,
        });
        tokio::spawn(keeping::keep(Arc::downgrade(&backend), options.upkeep_every));
        Ok(backend)
    }

    /// Runs a question about a site within its budget, when it is its turn. It ends when the future is dropped.
    async fn run<T>(
        &self,
        site: SiteId,
        budget: Budget,
        work: impl AsyncFnOnce(&Question) -> Result<T, StoreError>,
    ) -> Result<Answer<T>, StoreError> {
        let asked = Instant::now();
        let _place = self.lanes.enter(site, budget.time).await?;
        let question = Question::new(Arc::clone(&self.client), site, budget, asked);
        let value = work(&question).await?;
        Ok(question.answer(value))
    }

    fn all(&self, site: SiteId, table: &str) -> String {
        SiteTables::of(site).all(table)
    }

    async fn append_batch(&self, site: SiteId, batch: Append) -> Result<Appended, StoreError> {
        let Append { cursor, rows } = batch;
        let mut hasher = DefaultHasher::new();
        (site, cursor.stream).hash(&mut hasher);
        let _one = self.streams[hasher.finish() as usize % PLACES].lock().await;
        if self.durable(site, cursor.stream).await?.is_some_and(|durable| cursor.sequence <= durable) {
            return Ok(Appended::Duplicate);
        }
        let _permit = self.inserts.acquire().await.map_err(|_| StoreError::Shut)?;
        let this = self.this.upgrade().ok_or(StoreError::Shut)?;
        let Encoded { into, bytes, fresh } = crate::catalog::blocking(move || this.encode(site, cursor, rows)).await?;
        if !bytes.is_empty() {
            let StreamId { gateway, kind, epoch } = cursor.stream;
            let token = format!("{kind}:{site}:{gateway}:{epoch}:{}", cursor.sequence);
            self.client.insert(into, &bytes, Some(&token)).await?;
        }
        self.advance(site, cursor).await?;
        self.remember(site, fresh);
        Ok(Appended::Committed)
    }

    fn encode(&self, site: SiteId, cursor: Cursor, rows: Rows) -> Result<Encoded, StoreError> {
        let kind = match rows {
            Rows::Flows { .. } => StreamKind::Flows,
            Rows::Meters(_) => StreamKind::Meters,
        };
        if cursor.stream.kind != kind {
            return Err(StoreError::Invalid(format!("a batch of {kind} with a cursor of {}", cursor.stream.kind)));
        }
        match rows {
            Rows::Flows { rows, paths } => {
                let is_known = |key: &(i64, PathId)| self.known.lock().get(&site).is_some_and(|known| known.get(key).is_some());
                rows::flows_in(site, cursor, &rows, &paths, is_known)
            }
            Rows::Meters(readings) => rows::meters_in(site, cursor, &readings),
        }
    }

    fn remember(&self, site: SiteId, fresh: Vec<(i64, PathId)>) {
        let mut known = self.known.lock();
        if known.len() >= SITES && !known.contains_key(&site) {
            known.clear();
        }
        known.entry(site).or_default().insert(fresh.into_iter().map(|path| (path, ())), KNOWN);
    }

    /// The last sequence whose rows are all there.
    async fn durable(&self, site: SiteId, stream: StreamId) -> Result<Option<u64>, StoreError> {
        let sql = format!(
            "SELECT count(), max(sequence) {} AND gateway = {} AND kind = {} AND epoch = {}",
            self.all(site, "cursors"),
            sql::id(stream.gateway),
            stream.kind as u8,
            stream.epoch
        );
        let answer = self.client.ask(&sql, Budget::default()).await?;
        let mut reader = Reader(&answer.bytes);
        let (count, sequence) = (reader.u64()?, reader.u64()?);
        Ok((count > 0).then_some(sequence))
    }

    async fn advance(&self, site: SiteId, cursor: Cursor) -> Result<(), StoreError> {
        let mut row = Vec::new();
        let mut writer = Writer(&mut row);
        writer.id(site.0);
        writer.id(cursor.stream.gateway);
        writer.u8(cursor.stream.kind as u8);
        writer.u64(cursor.stream.epoch);
        writer.u64(cursor.sequence);
        self.client.insert("cursors (site, gateway, kind, epoch, sequence)", &row, None).await
    }
}

/// Asks the server.
macro_rules! ask {
    ($self:ident, $site:ident, $budget:expr, $question:expr) => {
        Box::pin($self.run($site, $budget, $question))
    };
}

impl Series for ClickHouse {
    fn append(&self, site: SiteId, batch: Append) -> Outcome<'_, Appended> {
        Box::pin(self.append_batch(site, batch))
    }

    fn cursor(&self, site: SiteId, stream: StreamId) -> Outcome<'_, Option<u64>> {
        Box::pin(self.durable(site, stream))
    }

    fn flows(&self, site: SiteId, query: FlowQuery) -> Outcome<'_, Answer<FlowPage>> {
        ask!(self, site, query.budget, async move |question: &Question| lists::flow_page(
            question, query
        )
        .await)
    }

    fn flow(&self, site: SiteId, id: FlowId) -> Outcome<'_, Option<StoredFlow>> {
        Box::pin(async move {
            let ask = async |question: &Question| lists::flow_by_id(question, id).await;
            Ok(self.run(site, Budget::default(), ask).await?.value)
        })
    }

    fn paths(&self, site: SiteId, period: Period, ids: Vec<PathId>) -> Outcome<'_, Vec<(PathId, Path)>> {
        Box::pin(async move {
            let ask = async |question: &Question| lists::path_contents(question, period, ids).await;
            Ok(self.run(site, Budget::default(), ask).await?.value)
        })
    }

    fn histogram(&self, site: SiteId, query: HistogramQuery) -> Outcome<'_, Answer<Vec<Bin>>> {
        ask!(self, site, query.budget, async move |question: &Question| groups::histogram(
            question, query
        )
        .await)
    }

    fn count(&self, site: SiteId, query: HitsQuery) -> Outcome<'_, Answer<Bin>> {
        ask!(self, site, query.budget, async move |question: &Question| groups::count(question, query)
            .await)
    }

    fn top(&self, site: SiteId, query: TopQuery) -> Outcome<'_, Answer<Top>> {
        ask!(self, site, query.budget, async move |question: &Question| groups::top(question, query)
            .await)
    }

    fn pairs(&self, site: SiteId, query: PairsQuery) -> Outcome<'_, Answer<Pairs>> {
        ask!(self, site, query.budget, async move |question: &Question| groups::pairs(question, query)
            .await)
    }

    fn drops(&self, site: SiteId, query: DropsQuery) -> Outcome<'_, Answer<Vec<RuleDrops>>> {
        ask!(self, site, query.budget, async move |question: &Question| groups::drops(question, query)
            .await)
    }

    fn hits(&self, site: SiteId, query: HitsQuery) -> Outcome<'_, Answer<Vec<RuleHits>>> {
        ask!(self, site, query.budget, async move |question: &Question| groups::hits(question, query)
            .await)
    }

    fn meters(&self, site: SiteId, query: MeterQuery) -> Outcome<'_, Answer<Vec<MeterSeries>>> {
        ask!(self, site, query.budget, async move |question: &Question| meters::meter_series(
            question, query
        )
        .await)
    }

    fn totals(&self, site: SiteId, query: TotalsQuery) -> Outcome<'_, Answer<Vec<MeterTotal>>> {
        ask!(self, site, query.budget, async move |question: &Question| meters::meter_totals(
            question, query
        )
        .await)
    }

    fn metered_hosts(&self, site: SiteId, period: Period) -> Outcome<'_, Vec<(Uuid, i64)>> {
        Box::pin(async move {
            let ask = async |question: &Question| meters::metered_hosts(question, period).await;
            Ok(self.run(site, Budget::default(), ask).await?.value)
        })
    }

    fn stored(&self, site: SiteId, period: Period) -> Outcome<'_, Vec<HopCount>> {
        Box::pin(self.counts_of(site, period))
    }

    fn usage(&self, site: SiteId) -> Outcome<'_, Usage> {
        Box::pin(self.usage_of(site))
    }

    fn purge(&self, site: SiteId, bytes: u64) -> Outcome<'_, Purged> {
        Box::pin(self.purge_to(site, bytes))
    }

    fn expire(&self, now_us: i64) -> Outcome<'_, ()> {
        Box::pin(self.expire_all(now_us))
    }

    fn remove_site(&self, site: SiteId) -> Outcome<'_, ()> {
        Box::pin(self.erase(site))
    }

    /// Every append is on the server's disk.
    fn flush(&self) -> Outcome<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
