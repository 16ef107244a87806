// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a backend for time series does. The embedded one is in this crate; a distributed one answers the same questions.

use futures::future::BoxFuture;
use uuid::Uuid;

use crate::{
    StoreError,
    catalog::HopCount,
    ids::{Appended, Cursor, Period, SiteId, StreamId},
    query::{
        Answer, Bin, DropsQuery, FlowPage, FlowQuery, HistogramQuery, HitsQuery, MeterQuery, MeterSeries, MeterTotal, Pairs, PairsQuery, RuleDrops,
        RuleHits, StoredFlow, Top, TopQuery, TotalsQuery, Usage,
    },
    row::{FlowId, FlowRow, MeterReading, Path, PathId},
};

pub type Outcome<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The rows of one batch and its place in its stream.
#[derive(Clone, Debug)]
pub struct Append {
    pub cursor: Cursor,
    pub rows: Rows,
}

#[derive(Clone, Debug)]
pub enum Rows {
    Flows {
        rows: Vec<FlowRow>,
        /// Every path that the rows name; the store knows which of them it has.
        paths: Vec<Path>,
    },
    Meters(Vec<MeterReading>),
}

/// Time series of all sites. Futures are cancelled by dropping them; an append that was cancelled may or may not have been written.
pub trait Series: Send + Sync {
    /// Stores rows and cursor together, or neither; durable when it returns. Bounds and spans are checked before anything is written.
    fn append(&self, site: SiteId, batch: Append) -> Outcome<'_, Appended>;
    /// The last durable sequence of a stream.
    fn cursor(&self, site: SiteId, stream: StreamId) -> Outcome<'_, Option<u64>>;
    fn flows(&self, site: SiteId, query: FlowQuery) -> Outcome<'_, Answer<FlowPage>>;
    fn flow(&self, site: SiteId, id: FlowId) -> Outcome<'_, Option<StoredFlow>>;
    /// The content of paths, for flows of the period; unknown ids are left out.
    fn paths(&self, site: SiteId, period: Period, ids: Vec<PathId>) -> Outcome<'_, Vec<(PathId, Path)>>;
    /// All bins of the period, in order.
    fn histogram(&self, site: SiteId, query: HistogramQuery) -> Outcome<'_, Answer<Vec<Bin>>>;
    /// Counts by verdict; `start_us` is that of the period and `step_us` is not used.
    fn count(&self, site: SiteId, query: HitsQuery) -> Outcome<'_, Answer<Bin>>;
    fn top(&self, site: SiteId, query: TopQuery) -> Outcome<'_, Answer<Top>>;
    /// Who talks to whom, from roll-ups for long periods.
    fn pairs(&self, site: SiteId, query: PairsQuery) -> Outcome<'_, Answer<Pairs>>;
    /// Most drops first.
    fn drops(&self, site: SiteId, query: DropsQuery) -> Outcome<'_, Answer<Vec<RuleDrops>>>;
    /// By rule id.
    fn hits(&self, site: SiteId, query: HitsQuery) -> Outcome<'_, Answer<Vec<RuleHits>>>;
    /// In the order of the keys asked for.
    fn meters(&self, site: SiteId, query: MeterQuery) -> Outcome<'_, Answer<Vec<MeterSeries>>>;
    /// Most bytes first; keys that did not move are left out.
    fn totals(&self, site: SiteId, query: TotalsQuery) -> Outcome<'_, Answer<Vec<MeterTotal>>>;
    /// Hosts whose meters were read in the period, with the end of their last reading.
    fn metered_hosts(&self, site: SiteId, period: Period) -> Outcome<'_, Vec<(Uuid, i64)>>;
    /// Records of flows and meter readings that are stored ([`crate::catalog::Hop::Stored`]) and were purged, by hour, memory included.
    fn stored(&self, site: SiteId, period: Period) -> Outcome<'_, Vec<HopCount>>;
    fn usage(&self, site: SiteId) -> Outcome<'_, Usage>;
    /// Removes whole files, oldest first, until the site is at or below `bytes`. Returns what it gave back.
    fn purge(&self, site: SiteId, bytes: u64) -> Outcome<'_, Purged>;
    /// Removes what is older than its roll-up is kept ([`crate::Retention`]), of all sites. Done from time to time without being asked.
    fn expire(&self, now_us: i64) -> Outcome<'_, ()>;
    /// Removes all of a site's time series.
    fn remove_site(&self, site: SiteId) -> Outcome<'_, ()>;
    /// Writes what is in memory to files now.
    fn flush(&self) -> Outcome<'_, ()>;
}

/// What a purge removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Purged {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Newest row that was removed.
    pub until_us: Option<i64>,
}
