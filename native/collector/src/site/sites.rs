// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use insights_store::{
    Appended, Cursor, Period, SiteId, Store, StoreError,
    catalog::{Node, NodeVersion, SnapshotDone, TopologyChange, TopologyEffect},
};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OnceCell, watch};
use uuid::Uuid;

use super::{Effect, Site, State, model::PastState};
use crate::accounts::SiteScope;

/// Models of past times that are kept for the next page: a page and its live parts ask for the same time again. A site of 100,000 objects
/// takes some 100 MB.
const PAST_KEPT: usize = 4;

/// Ports and hosts that are down whose end is looked up in the history when a model is loaded, one small query each.
const RECALLED: usize = 5_000;

/// The models of all sites. Cheap to clone.
#[derive(Clone)]
pub struct Sites {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    live: Mutex<HashMap<SiteId, Arc<Live>>>,
    past: AsyncMutex<VecDeque<(SiteId, i64, Arc<Site>)>>,
}

/// The live model of one site: loaded from the catalogue at its first use, then kept by what gateways send.
#[derive(Default)]
struct Live {
    loaded: OnceCell<watch::Sender<Arc<Site>>>,
    /// The one that is changed. Held while a batch is committed, so that commits and the model are in one order.
    writer: AsyncMutex<Site>,
}

/// What a topology batch came to.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) appended: Appended,
    pub(crate) snapshot: Option<SnapshotDone>,
    pub(crate) effects: Vec<Effect>,
    /// The model after it.
    pub(crate) site: Arc<Site>,
}

impl Sites {
    pub fn new(store: Store) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                live: Mutex::default(),
                past: AsyncMutex::default(),
            }),
        }
    }

    /// The site as it is now.
    pub async fn live(&self, scope: &SiteScope) -> Result<Arc<Site>, StoreError> {
        self.current(scope.site()).await
    }

    /// The site as it is now, with a mark at every change. The receiver sees the newest snapshot only, so a slow reader skips some.
    pub async fn watch(&self, scope: &SiteScope) -> Result<watch::Receiver<Arc<Site>>, StoreError> {
        Ok(self.publisher(scope.site()).await?.1.subscribe())
    }

    /// The site as it was at a time, µs since the epoch. The same time again is cheap for a while.
    pub async fn at(&self, scope: &SiteScope, at_us: i64) -> Result<Arc<Site>, StoreError> {
        self.past(scope.site(), at_us).await
    }

    /// All changes of an object and, for hosts and ports, of their state; newest first, at most `limit`.
    pub async fn history(&self, scope: &SiteScope, id: Uuid, limit: usize) -> Result<Vec<super::Change>, StoreError> {
        super::history::of_object(&self.inner.store, scope.site(), id, limit).await
    }

    /// Changes of objects and states of the whole site in a period; newest first, at most `limit`.
    pub async fn changes(&self, scope: &SiteScope, period: Period, limit: usize) -> Result<Vec<super::Change>, StoreError> {
        super::history::of_site(&self.inner.store, scope.site(), period, limit).await
    }

    pub(crate) async fn current(&self, site: SiteId) -> Result<Arc<Site>, StoreError> {
        Ok(self.publisher(site).await?.1.borrow().clone())
    }

    pub(crate) async fn past(&self, site: SiteId, at_us: i64) -> Result<Arc<Site>, StoreError> {
        // Held while one is made: two pages that ask for the same time don't make it twice.
        let mut kept = self.inner.past.lock().await;
        if let Some(place) = kept.iter().position(|(of, at, _)| *of == site && *at == at_us)
            && let Some(found) = kept.remove(place)
        {
            let model = found.2.clone();
            kept.push_back(found);
            return Ok(model);
        }
        let model = Arc::new(self.load(site, Some(at_us)).await?);
        if kept.len() >= PAST_KEPT {
            kept.pop_front();
        }
        kept.push_back((site, at_us, model.clone()));
        Ok(model)
    }

    /// Commits a batch of changes with its cursor and applies what it came to. It is carried through even when the caller goes away.
    pub(crate) async fn apply(&self, site: SiteId, cursor: Cursor, changes: Vec<TopologyChange>) -> Result<Applied, StoreError> {
        let sites = self.clone();
        let work = tokio::spawn(async move {
            let live = sites.publisher(site).await?;
            let mut writer = live.0.writer.lock().await;
            let applied = sites.inner.store.catalog().apply_topology(site, cursor, changes).await?;
            let effects: Vec<Effect> = applied
                .effects
                .iter()
                .map(|effect| writer.apply(effect))
                .filter(|effect| *effect != Effect::Other)
                .collect();
            if !applied.effects.is_empty() {
                writer.version += 1;
                live.1.send_replace(Arc::new(writer.clone()));
            }
            let site = live.1.borrow().clone();
            Ok(Applied {
                appended: applied.appended,
                snapshot: applied.snapshot,
                effects,
                site,
            })
        });
        work.await.unwrap_or_else(|failed| match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Shut),
        })
    }

    async fn publisher(&self, site: SiteId) -> Result<(Arc<Live>, watch::Sender<Arc<Site>>), StoreError> {
        let live = self.inner.live.lock().entry(site).or_default().clone();
        let publisher = live
            .loaded
            .get_or_try_init(|| async {
                let mut writer = live.writer.lock().await;
                *writer = self.load(site, None).await?;
                Ok::<_, StoreError>(watch::Sender::new(Arc::new(writer.clone())))
            })
            .await?
            .clone();
        Ok((live, publisher))
    }

    /// The model of now or of a past time, from the catalogue.
    async fn load(&self, site: SiteId, at_us: Option<i64>) -> Result<Site, StoreError> {
        let catalog = self.inner.store.catalog();
        let nodes = match at_us {
            Some(at_us) => catalog.topology_at(site, at_us).await?,
            None => catalog.topology(site).await?,
        };
        let mut model = tokio::task::spawn_blocking(move || {
            let mut model = Site::default();
            for version in nodes {
                model.apply(&TopologyEffect::Put(version.node));
            }
            model
        })
        .await
        .map_err(|_| StoreError::Shut)?;
        self.recall(site, at_us, &mut model).await?;
        model.version = 1;
        Ok(model)
    }

    /// Since when what is down is down, and what was known of it before.
    async fn recall(&self, site: SiteId, at_us: Option<i64>, model: &mut Site) -> Result<(), StoreError> {
        let mut wanted: Vec<(Uuid, &'static str, String)> = Vec::new();
        let down: BTreeSet<Uuid> = model.ids_of_class("Host").filter(|host| model.host_state(*host).0 != State::Up).collect();
        for host in &down {
            for key in ["alive", "host"] {
                wanted.push((*host, key, format!("zoom/0/state/{host}/Host/{host}/{key}")));
            }
        }
        for (id, stored) in model.objects("Port") {
            let Some(facts) = stored.facts.port() else { continue };
            if let Some(host) = facts.host.filter(|_| facts.exterior())
                && model.state_of(id, "active", host).is_none()
            {
                wanted.push((id, "active", format!("zoom/0/state/{host}/Port/{id}/active")));
            }
        }
        wanted.truncate(RECALLED);
        for (id, key, path) in wanted {
            let versions = self.inner.store.catalog().node_history(site, path).await?;
            let last = versions.into_iter().rev().find_map(|version| {
                let until_us = version.valid_to_us.filter(|until| at_us.is_none_or(|at| *until <= at))?;
                Some((version, until_us))
            });
            if let Some((NodeVersion { node: Node { data, .. }, .. }, until_us)) = last {
                model.remember(
                    id,
                    PastState {
                        key: Arc::from(key),
                        value: Arc::from(&*data),
                        until_us,
                    },
                );
            }
        }
        Ok(())
    }
}
