// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    StoreError,
    catalog::{Catalog, Hop, HopCount, blocking},
    clickhouse::{ClickHouse, ClickHouseOptions},
    embedded::Embedded,
    ids::{Period, SiteId, StreamId, StreamKind},
    series::Series,
};

/// Time series and catalogue of one service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    series: Arc<dyn Series>,
    catalog: Catalog,
}

/// How an embedded store behaves. All bounds hold over all sites together.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub dir: PathBuf,
    /// The key that names and addresses in the catalogue are sealed with; made when it is not there.
    pub key_file: PathBuf,
    /// Rows in memory, bytes: above it, appends wait until enough is in files.
    pub memory_bytes: usize,
    /// A site's rows of a kind go to a file when there are so many of them.
    pub flush_rows: usize,
    /// Or so many bytes of them in memory.
    pub flush_bytes: usize,
    /// Or when the oldest of them is so old.
    pub flush_age: Duration,
    /// A segment of the commit log is closed at this size.
    pub segment_bytes: u64,
    /// Files of a site, kind and day with fewer rows than this are merged.
    pub merge_rows: u64,
    /// How often retention and merging look around.
    pub upkeep_every: Duration,
    /// Memory of all questions that run at once, bytes.
    pub query_memory_bytes: usize,
    /// Questions that run at once; more wait.
    pub queries: usize,
    /// Of these, questions of one site.
    pub queries_per_site: usize,
    /// How long a question waits for its turn at most.
    pub query_wait: Duration,
    /// Threads that answer questions.
    pub query_threads: usize,
    /// How long roll-ups are kept.
    pub retention: Retention,
}

/// How long roll-ups are kept, by the time of what they sum. Records themselves, and roll-ups when no records are left, go when a site is
/// at its quota.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub flow_minutes: Duration,
    pub flow_hours: Duration,
    pub meter_hours: Duration,
    pub meter_days: Duration,
    /// Percent of a site's quota that roll-ups may take of it when it is full. Beyond that they go first, minutes before hours.
    pub rollup_percent: u8,
}

impl Default for Retention {
    /// Minutes for a month, hours for what a year is compared with, days for five years.
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            flow_minutes: days(35),
            flow_hours: days(400),
            meter_hours: days(400),
            meter_days: days(5 * 366),
            rollup_percent: 25,
        }
    }
}

impl StoreOptions {
    /// Bounds for a small machine: half a GB for rows, as much for questions.
    /// The key is beside the catalogue, as in trials and tests.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            key_file: dir.join("profile.key"),
            dir,
            memory_bytes: 512 << 20,
            // A row group of the files.
            flush_rows: 131_072 * 4,
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(300),
            segment_bytes: 64 << 20,
            merge_rows: 131_072 * 8,
            upkeep_every: Duration::from_secs(60),
            query_memory_bytes: 512 << 20,
            queries: 8,
            // Half: others find a place at once, and a page's questions are answered side by side.
            queries_per_site: 4,
            // Longer than a page's other questions take, shorter than a reader waits.
            query_wait: Duration::from_secs(15),
            query_threads: std::thread::available_parallelism().map_or(2, usize::from),
            retention: Retention::default(),
        }
    }
}

impl Store {
    /// Opens or creates the embedded store of a folder and takes up what a crash left.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        blocking(move || {
            let catalog = Catalog::open_with(&options.dir, &options.key_file)?;
            let series = Embedded::open(&options, catalog.clone())?;
            Ok(Self {
                series: Arc::new(series),
                catalog,
            })
        })
        .await
    }

    /// Opens a store whose time series are in a ClickHouse server. The catalogue is in the folder.
    pub async fn open_distributed(options: StoreOptions, server: ClickHouseOptions) -> Result<Self, StoreError> {
        let (dir, key_file) = (options.dir.clone(), options.key_file.clone());
        let catalog = blocking(move || Catalog::open_with(&dir, &key_file)).await?;
        let series = ClickHouse::open(&options, server, catalog.clone()).await?;
        Ok(Self { series, catalog })
    }

    /// A store of these two parts.
    pub fn new(series: Arc<dyn Series>, catalog: Catalog) -> Self {
        Self { series, catalog }
    }

    pub fn series(&self) -> &dyn Series {
        self.series.as_ref()
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The last durable sequence of any stream.
    pub async fn cursor(&self, site: SiteId, stream: StreamId) -> Result<Option<u64>, StoreError> {
        match stream.kind {
            StreamKind::Flows | StreamKind::Meters => self.series.cursor(site, stream).await,
            StreamKind::Topology | StreamKind::Events => self.catalog.stream_cursor(site, stream).await,
        }
    }

    /// Counts of all hops of a site, by hour: what gateways and collector counted, and what is stored at this moment.
    pub async fn counts(&self, site: SiteId, period: Period) -> Result<Vec<HopCount>, StoreError> {
        let mut counts = self.catalog.counts(site, period).await?;
        counts.retain(|count| {
            !matches!(
                (count.hop, count.kind),
                (Hop::Stored | Hop::Purged, StreamKind::Flows | StreamKind::Meters)
            )
        });
        counts.extend(self.series.stored(site, period).await?);
        counts.sort_by_key(|count| (count.hour_us, count.gateway, count.kind, count.hop));
        Ok(counts)
    }

    /// Removes a site with all that is known of it.
    pub async fn remove_site(&self, site: SiteId) -> Result<(), StoreError> {
        self.series.remove_site(site).await?;
        self.catalog.erase_site(site).await
    }
}
