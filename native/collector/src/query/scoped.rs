// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The store as pages and API see it: through the key to one site.

use insights_store::{
    FlowId, Path, PathId, Period, SiteId, Store, StoreError,
    catalog::{EventQuery, Gateway, HopCount, StoredEvent, StoredLoss},
    query::{
        Bin, DropsQuery, FlowPage, FlowQuery, HistogramQuery, HitsQuery, MeterQuery, MeterSeries, MeterTotal, RuleDrops, RuleHits, StoredFlow, Top,
        TopQuery, TotalsQuery, Usage,
    },
};

use crate::accounts::SiteScope;

/// A store that answers only to a [`SiteScope`]. Cheap to clone.
#[derive(Clone)]
pub struct Stores(Store);

impl Stores {
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// The part of the store that the scope opens.
    pub fn of(&self, scope: &SiteScope) -> ScopedStore {
        ScopedStore {
            store: self.0.clone(),
            scope: *scope,
        }
    }
}

/// The data of one site: no question to it can name another. Errors are those of the store.
#[derive(Clone)]
pub struct ScopedStore {
    store: Store,
    scope: SiteScope,
}

impl ScopedStore {
    pub fn scope(&self) -> &SiteScope {
        &self.scope
    }

    /// What the scope opens, for parts of the service that look at sites by themselves, too.
    pub(crate) fn parts(&self) -> (&Store, SiteId) {
        (&self.store, self.scope.site())
    }

    /// A page of flows, newest first.
    pub async fn flows(&self, query: FlowQuery) -> Result<FlowPage, StoreError> {
        Ok(self.store.series().flows(self.scope.site(), query).await?.value)
    }

    pub async fn flow(&self, id: FlowId) -> Result<Option<StoredFlow>, StoreError> {
        self.store.series().flow(self.scope.site(), id).await
    }

    /// Paths of flows of the period; unknown ids are left out.
    pub async fn paths(&self, period: Period, ids: Vec<PathId>) -> Result<Vec<(PathId, Path)>, StoreError> {
        self.store.series().paths(self.scope.site(), period, ids).await
    }

    pub async fn histogram(&self, query: HistogramQuery) -> Result<Vec<Bin>, StoreError> {
        Ok(self.store.series().histogram(self.scope.site(), query).await?.value)
    }

    pub async fn count(&self, query: HitsQuery) -> Result<Bin, StoreError> {
        Ok(self.store.series().count(self.scope.site(), query).await?.value)
    }

    pub async fn top(&self, query: TopQuery) -> Result<Top, StoreError> {
        Ok(self.store.series().top(self.scope.site(), query).await?.value)
    }

    pub async fn drops(&self, query: DropsQuery) -> Result<Vec<RuleDrops>, StoreError> {
        Ok(self.store.series().drops(self.scope.site(), query).await?.value)
    }

    pub async fn hits(&self, query: HitsQuery) -> Result<Vec<RuleHits>, StoreError> {
        Ok(self.store.series().hits(self.scope.site(), query).await?.value)
    }

    pub async fn meters(&self, query: MeterQuery) -> Result<Vec<MeterSeries>, StoreError> {
        Ok(self.store.series().meters(self.scope.site(), query).await?.value)
    }

    pub async fn totals(&self, query: TotalsQuery) -> Result<Vec<MeterTotal>, StoreError> {
        Ok(self.store.series().totals(self.scope.site(), query).await?.value)
    }

    /// Bytes that the site occupies.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        self.store.series().usage(self.scope.site()).await
    }

    /// Records by hour, kind and hop.
    pub async fn counts(&self, period: Period) -> Result<Vec<HopCount>, StoreError> {
        self.store.counts(self.scope.site(), period).await
    }

    pub async fn events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.catalog().events(self.scope.site(), query).await
    }

    pub async fn losses(&self, period: Period) -> Result<Vec<StoredLoss>, StoreError> {
        self.store.catalog().losses(self.scope.site(), period).await
    }

    /// Gateways that were ever connected, by name.
    pub async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        self.store.catalog().gateways(self.scope.site()).await
    }
}
