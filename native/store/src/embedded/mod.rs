// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The embedded backend: commit log, rows in memory, Parquet files, all in one folder of one machine.
//!
//! An append is encoded by its caller, written to the log by the one commit thread together with all that wait at that moment, put into
//! the memory tables, and only then acknowledged. The flush thread moves rows from memory to files and gives log segments back; the upkeep
//! thread merges small files and holds sites to their quotas. None of them is on the way of an acknowledgement.

mod commit;
mod flush;
#[cfg(test)]
mod old_form;
mod open;
mod state;
mod upkeep;

use std::{sync::Arc, thread::JoinHandle};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::{
    StoreError,
    catalog::{Catalog, HopCount},
    ids::{Appended, Period, SiteId, StreamId},
    query::{
        self, Answer, Bin, Budget, DropsQuery, Engine, FlowPage, FlowQuery, HistogramQuery, HitsQuery, MeterQuery, MeterSeries, MeterTotal, Pairs,
        PairsQuery, RuleDrops, RuleHits, StoredFlow, Top, TopQuery, TotalsQuery, Usage,
    },
    row::{FlowId, Path, PathId},
    series::{Append, Outcome, Purged, Series},
    store::StoreOptions,
};

pub(crate) use open::lock;
pub(crate) use upkeep::{now_us, purge_event};

use commit::Committer;
use state::State;

/// The embedded backend.
pub(crate) struct Embedded {
    state: Arc<State>,
    engine: Arc<Engine>,
    committer: Committer,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Embedded {
    /// Opens or creates the store in a folder and takes up what a crash left. Blocks.
    pub(crate) fn open(options: &StoreOptions, catalog: Catalog) -> Result<Self, StoreError> {
        let engine = Arc::new(Engine::new(options)?);
        let state = Arc::new(open::open(options, catalog)?);
        let committer = Committer::start(Arc::clone(&state))?;
        let threads = vec![
            flush::start(Arc::clone(&state), Arc::clone(&engine))?,
            upkeep::start(Arc::clone(&state), Arc::clone(&engine))?,
        ];
        Ok(Self {
            state,
            engine,
            committer,
            threads: Mutex::new(threads),
        })
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&State) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        let state = Arc::clone(&self.state);
        crate::catalog::blocking(move || work(&state)).await
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // What is in memory is in the log too, so stopping needs no flush.
        self.committer.stop();
        self.state.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the store ended with a panic");
            }
        }
    }
}

/// Asks the engine.
macro_rules! ask {
    ($self:ident, $site:ident, $budget:expr, $question:expr) => {{
        Box::pin(async move {
            let view = $self.state.view($site);
            $self.engine.run($site, $budget, move |run| $question(run, view)).await
        })
    }};
}

impl Series for Embedded {
    fn append(&self, site: SiteId, batch: Append) -> Outcome<'_, Appended> {
        Box::pin(self.committer.append(site, batch))
    }

    fn cursor(&self, site: SiteId, stream: StreamId) -> Outcome<'_, Option<u64>> {
        let cursor = self.state.cursors.lock().get(site, stream);
        Box::pin(async move { Ok(cursor) })
    }

    fn flows(&self, site: SiteId, query: FlowQuery) -> Outcome<'_, Answer<FlowPage>> {
        ask!(self, site, query.budget, |run, view| query::flow_page(run, view, query))
    }

    fn flow(&self, site: SiteId, id: FlowId) -> Outcome<'_, Option<StoredFlow>> {
        Box::pin(async move {
            let answer: Result<Answer<_>, _> = ask!(self, site, Budget::default(), |run, view| query::flow_by_id(run, view, id)).await;
            Ok(answer?.value)
        })
    }

    fn paths(&self, site: SiteId, period: Period, ids: Vec<PathId>) -> Outcome<'_, Vec<(PathId, Path)>> {
        Box::pin(async move {
            let answer: Result<Answer<_>, _> = ask!(self, site, Budget::default(), |run, view| query::path_contents(run, view, period, ids)).await;
            Ok(answer?.value)
        })
    }

    fn histogram(&self, site: SiteId, query: HistogramQuery) -> Outcome<'_, Answer<Vec<Bin>>> {
        ask!(self, site, query.budget, |run, view| query::histogram(run, view, query))
    }

    fn count(&self, site: SiteId, query: HitsQuery) -> Outcome<'_, Answer<Bin>> {
        ask!(self, site, query.budget, |run, view| query::count(run, view, query))
    }

    fn top(&self, site: SiteId, query: TopQuery) -> Outcome<'_, Answer<Top>> {
        ask!(self, site, query.budget, |run, view| query::top(run, view, query))
    }

    fn pairs(&self, site: SiteId, query: PairsQuery) -> Outcome<'_, Answer<Pairs>> {
        ask!(self, site, query.budget, |run, view| query::pairs(run, view, query))
    }

    fn drops(&self, site: SiteId, query: DropsQuery) -> Outcome<'_, Answer<Vec<RuleDrops>>> {
        ask!(self, site, query.budget, |run, view| query::drops(run, view, query))
    }

    fn hits(&self, site: SiteId, query: HitsQuery) -> Outcome<'_, Answer<Vec<RuleHits>>> {
        ask!(self, site, query.budget, |run, view| query::hits(run, view, query))
    }

    fn meters(&self, site: SiteId, query: MeterQuery) -> Outcome<'_, Answer<Vec<MeterSeries>>> {
        ask!(self, site, query.budget, |run, view| query::meter_series(run, view, query))
    }

    fn totals(&self, site: SiteId, query: TotalsQuery) -> Outcome<'_, Answer<Vec<MeterTotal>>> {
        ask!(self, site, query.budget, |run, view| query::meter_totals(run, view, query))
    }

    fn metered_hosts(&self, site: SiteId, period: Period) -> Outcome<'_, Vec<(Uuid, i64)>> {
        Box::pin(async move {
            let answer: Result<Answer<_>, _> = ask!(self, site, Budget::default(), |run, view| query::metered_hosts(run, view, period)).await;
            Ok(answer?.value)
        })
    }

    fn stored(&self, site: SiteId, period: Period) -> Outcome<'_, Vec<HopCount>> {
        Box::pin(self.blocking(move |state| state.counts(site, period)))
    }

    fn usage(&self, site: SiteId) -> Outcome<'_, Usage> {
        Box::pin(self.blocking(move |state| state.usage(site)))
    }

    fn purge(&self, site: SiteId, bytes: u64) -> Outcome<'_, Purged> {
        Box::pin(self.blocking(move |state| upkeep::purge(state, site, bytes)))
    }

    fn expire(&self, now_us: i64) -> Outcome<'_, ()> {
        Box::pin(self.blocking(move |state| upkeep::expire(state, now_us)))
    }

    fn remove_site(&self, site: SiteId) -> Outcome<'_, ()> {
        Box::pin(self.blocking(move |state| upkeep::remove_site(state, site)))
    }

    fn flush(&self) -> Outcome<'_, ()> {
        let engine = Arc::clone(&self.engine);
        Box::pin(self.blocking(move |state| flush::flush_all(state, &engine)))
    }
}
