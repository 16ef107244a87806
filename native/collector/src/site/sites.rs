// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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

/// Models of past times that are kept for the next page, of all sites: a page and its live parts ask for the same time again.
const PAST_KEPT: usize = 4;

/// Objects in live models beyond which those that nobody uses are given up, the longest unused first. Measured with the example `site_model`, an
/// object with its state and tables takes some 700 bytes: 700 MB. A model that is given up is loaded again at its next use; those in use stay, whatever they
/// come to.
const MAX_OBJECTS: usize = 1_000_000;

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
    past: Mutex<VecDeque<(SiteId, i64, Arc<Site>)>>,
    /// Grows with every use of a model.
    uses: AtomicU64,
    max_objects: usize,
}

/// The live model of one site: loaded from the catalogue at its first use, then kept by what gateways send.
#[derive(Default)]
struct Live {
    loaded: OnceCell<watch::Sender<Arc<Site>>>,
    /// The one that is changed. Held while a batch is committed, so that commits and the model are in one order.
    writer: AsyncMutex<Site>,
    /// Held while a past model of the site is made: two pages that ask for the same time don't make it twice, and one site makes one at a time.
    making: AsyncMutex<()>,
    /// The last use, as a number of [`Inner::uses`].
    used: AtomicU64,
}

impl Live {
    /// Objects in the model; none while it is not loaded.
    fn objects(&self) -> usize {
        let count = |publisher: &watch::Sender<Arc<Site>>| publisher.borrow().classes().map(|(_, count)| count).sum();
        self.loaded.get().map_or(0, count)
    }
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
        Self::bounded(store, MAX_OBJECTS)
    }

    fn bounded(store: Store, max_objects: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                live: Mutex::default(),
                past: Mutex::default(),
                uses: AtomicU64::new(0),
                max_objects,
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

    /// The live model if somebody has loaded it. That it was looked at does not keep it loaded.
    pub(crate) fn loaded(&self, site: SiteId) -> Option<Arc<Site>> {
        let live = self.inner.live.lock();
        Some(live.get(&site)?.loaded.get()?.borrow().clone())
    }

    pub(crate) async fn past(&self, site: SiteId, at_us: i64) -> Result<Arc<Site>, StoreError> {
        if let Some(model) = self.kept(site, at_us) {
            return Ok(model);
        }
        let live = self.entry(site);
        let _making = live.making.lock().await;
        if let Some(model) = self.kept(site, at_us) {
            return Ok(model);
        }
        let model = Arc::new(self.load(site, Some(at_us)).await?);
        let mut kept = self.inner.past.lock();
        if kept.len() >= PAST_KEPT {
            kept.pop_front();
        }
        kept.push_back((site, at_us, model.clone()));
        Ok(model)
    }

    /// A past model that was made before; it is used last now.
    fn kept(&self, site: SiteId, at_us: i64) -> Option<Arc<Site>> {
        let mut kept = self.inner.past.lock();
        let place = kept.iter().position(|(of, at, _)| *of == site && *at == at_us)?;
        let found = kept.remove(place)?;
        let model = found.2.clone();
        kept.push_back(found);
        Some(model)
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
            if applied.snapshot.is_some() {
                sites.give_up_unused();
            }
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
        let live = self.entry(site);
        let mut fresh = false;
        let publisher = live
            .loaded
            .get_or_try_init(|| async {
                let mut writer = live.writer.lock().await;
                *writer = self.load(site, None).await?;
                fresh = true;
                Ok::<_, StoreError>(watch::Sender::new(Arc::new(writer.clone())))
            })
            .await?
            .clone();
        if fresh {
            self.give_up_unused();
        }
        Ok((live, publisher))
    }

    fn entry(&self, site: SiteId) -> Arc<Live> {
        let live = self.inner.live.lock().entry(site).or_default().clone();
        live.used.store(self.inner.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        live
    }

    /// Keeps the models that nobody uses within the bound. One that is in somebody's hands stays: a change that is being committed must not
    /// go to a model that was given up, and who watches a site waits for its next change.
    fn give_up_unused(&self) {
        let mut sites = self.inner.live.lock();
        let mut objects: usize = sites.values().map(|live| live.objects()).sum();
        let mut unused: Vec<(u64, SiteId)> = sites
            .iter()
            .filter(|(_, live)| Arc::strong_count(live) == 1 && live.loaded.get().is_some_and(|publisher| publisher.receiver_count() == 0))
            .map(|(site, live)| (live.used.load(Ordering::Relaxed), *site))
            .collect();
        unused.sort_unstable();
        let mut given_up = Vec::new();
        for (_, site) in unused {
            if objects <= self.inner.max_objects {
                break;
            }
            if let Some(live) = sites.remove(&site) {
                objects -= live.objects();
                given_up.push(live);
            }
        }
        // Taking down a large model takes a while.
        drop(sites);
        drop(given_up);
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

#[cfg(test)]
mod tests {
    use insights_store::{
        AccountId, StoreOptions, StreamId, StreamKind,
        catalog::{self, Account},
    };

    use super::*;

    fn snapshot(site: u128, objects: u128) -> Vec<TopologyChange> {
        let node = |id: u128| Node {
            path: format!("zoom/0/models/Router/{}", Uuid::from_u128(id)),
            data: format!("name: \"router {site}\"").into_bytes(),
            mzxid: 1,
            version: 0,
            ctime_ms: 1,
            mtime_ms: 1,
            ephemeral_owner: 0,
            at_us: 10,
        };
        let puts = (0..objects).map(|id| TopologyChange::Put(node(id)));
        let begin = TopologyChange::SnapshotBegin { at_us: 10, term: 1 };
        let end = TopologyChange::SnapshotEnd {
            at_us: 10,
            nodes: objects as u64,
        };
        [begin].into_iter().chain(puts).chain([end]).collect()
    }

    fn cursor(sequence: u64) -> Cursor {
        Cursor {
            stream: StreamId {
                gateway: Uuid::nil(),
                kind: StreamKind::Topology,
                epoch: 1,
            },
            sequence,
        }
    }

    #[tokio::test]
    async fn models_that_nobody_uses_are_given_up_and_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(dir.path())).await.unwrap();
        let account = Account {
            id: AccountId(Uuid::from_u128(1)),
            email: "ada@example.org".into(),
            name: "Ada".into(),
            password_hash: String::new(),
            created_us: 1,
        };
        store.catalog().create_account(account).await.unwrap();
        let ids = [1, 2, 3].map(|id| SiteId(Uuid::from_u128(id)));
        for id in ids {
            let site = catalog::Site {
                id,
                account: AccountId(Uuid::from_u128(1)),
                name: id.to_string(),
                created_us: 1,
                deleted_us: None,
                quota_bytes: 0,
                settings: "{}".into(),
            };
            store.catalog().create_site(site).await.unwrap();
        }
        let sites = Sites::bounded(store.clone(), 250);
        for (at, site) in ids.iter().enumerate() {
            sites.apply(*site, cursor(0), snapshot(at as u128, 100)).await.unwrap();
        }
        let loaded = |sites: &Sites| -> Vec<bool> {
            let live = sites.inner.live.lock();
            ids.iter().map(|site| live.contains_key(site)).collect()
        };
        // The first is the longest unused; three are too many.
        assert_eq!(loaded(&sites), [false, true, true]);
        let again = sites.current(ids[0]).await.unwrap();
        assert_eq!(again.routers().count(), 100);
        assert_eq!(again.routers().next().unwrap().name, "router 0");
        assert_eq!(loaded(&sites), [true, false, true]);
        // Somebody watches the longest unused one: another goes.
        let mut watched = sites.publisher(ids[2]).await.unwrap().1.subscribe();
        sites.current(ids[0]).await.unwrap();
        sites.current(ids[1]).await.unwrap();
        assert_eq!(loaded(&sites), [false, true, true]);
        let change = TopologyChange::Delete {
            path: format!("zoom/0/models/Router/{}", Uuid::from_u128(7)),
            at_us: 20,
        };
        sites.apply(ids[2], cursor(1), vec![change.clone()]).await.unwrap();
        assert!(watched.has_changed().unwrap());
        assert_eq!(watched.borrow_and_update().routers().count(), 99);
        // What changed while a model was away is in it when it is back.
        drop(watched);
        sites.current(ids[0]).await.unwrap();
        sites.current(ids[1]).await.unwrap();
        assert_eq!(loaded(&sites), [true, true, false]);
        assert_eq!(sites.current(ids[2]).await.unwrap().routers().count(), 99);
    }

    #[tokio::test]
    async fn a_past_model_that_is_being_made_holds_up_no_other_site() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(dir.path())).await.unwrap();
        let sites = Sites::new(store);
        let (one, other) = (SiteId(Uuid::from_u128(1)), SiteId(Uuid::from_u128(2)));
        let first = sites.past(one, 5).await.unwrap();
        let live = sites.entry(one);
        let making = live.making.lock().await;
        // What is kept is there at once, and another site makes its own.
        assert!(Arc::ptr_eq(&first, &sites.past(one, 5).await.unwrap()));
        sites.past(other, 5).await.unwrap();
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), sites.past(one, 6));
        assert!(waiting.await.is_err(), "the same site makes one at a time");
        drop(making);
        sites.past(one, 6).await.unwrap();
    }
}
