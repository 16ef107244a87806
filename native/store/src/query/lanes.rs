// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Who may ask now. One site's questions never take all places, nor all memory, so another site's find some.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use datafusion::{
    error::DataFusionError,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
    prelude::SessionContext,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{StoreError, ids::SiteId, store::StoreOptions};

/// Questions of a site that wait for a place; a page asks some ten. Who comes beyond that is sent away at once.
const MAX_WAITING: usize = 64;

/// Lanes that are kept although nobody is in them; each has a session of some 100 KB.
const KEPT: usize = 256;

/// The places of all sites. What a lane has for its questions is a `C`.
pub(crate) struct Lanes<C> {
    all: Arc<Semaphore>,
    of_site: usize,
    patience: Duration,
    new: Box<dyn Fn() -> C + Send + Sync>,
    lanes: Mutex<HashMap<SiteId, Arc<Lane<C>>>>,
}

struct Lane<C> {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    context: C,
}

/// The right to ask, given back when it is dropped.
pub(crate) struct Place<C> {
    pub(crate) context: C,
    _of_site: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Lanes<SessionContext> {
    /// Lanes that share the memory of a context.
    pub(super) fn in_memory(options: &StoreOptions, context: SessionContext) -> Self {
        // One place is enough for half of the memory, and two sites find room beside each other.
        let limit = options.query_memory_bytes / 2;
        Self::new(options, move || {
            let mut environment = context.runtime_env().as_ref().clone();
            environment.memory_pool = Arc::new(Share {
                whole: environment.memory_pool,
                used: AtomicUsize::new(0),
                limit,
            });
            SessionContext::new_with_config_rt(context.copied_config(), Arc::new(environment))
        })
    }
}

impl<C: Clone> Lanes<C> {
    pub(crate) fn new(options: &StoreOptions, new: impl Fn() -> C + Send + Sync + 'static) -> Self {
        let all = options.queries.max(1);
        Self {
            all: Arc::new(Semaphore::new(all)),
            of_site: options.queries_per_site.clamp(1, all),
            patience: options.query_wait,
            new: Box::new(new),
            lanes: Mutex::default(),
        }
    }

    /// Waits for a place of the site, then for one of all: in turn, but no longer than either patience or the question's own time.
    pub(crate) async fn enter(&self, site: SiteId, time: Duration) -> Result<Place<C>, StoreError> {
        let lane = self.lane(site);
        let asked = Instant::now();
        let busy = || StoreError::Busy { waited: asked.elapsed() };
        let waiting = Waiting::join(&lane.waiting).ok_or_else(busy)?;
        let places = async {
            let of_site = Arc::clone(&lane.places).acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>((of_site, Arc::clone(&self.all).acquire_owned().await?))
        };
        let places = tokio::time::timeout(self.patience.min(time), places).await;
        drop(waiting);
        let (of_site, of_all) = places.map_err(|_| busy())?.map_err(|_| StoreError::Shut)?;
        Ok(Place {
            context: lane.context.clone(),
            _of_site: of_site,
            _of_all: of_all,
        })
    }

    fn lane(&self, site: SiteId) -> Arc<Lane<C>> {
        let mut lanes = self.lanes.lock();
        if lanes.len() >= KEPT && !lanes.contains_key(&site) {
            // Who waits or asks holds the lane or one of its places.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || lane.places.available_permits() < self.of_site);
        }
        let lane = lanes.entry(site).or_insert_with(|| Arc::new(self.new_lane()));
        Arc::clone(lane)
    }

    fn new_lane(&self) -> Lane<C> {
        Lane {
            places: Arc::new(Semaphore::new(self.of_site)),
            waiting: AtomicUsize::new(0),
            context: (self.new)(),
        }
    }
}

/// One who waits in a lane.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// `None` when there are too many.
    fn join(lane: &'a AtomicUsize) -> Option<Self> {
        let before = lane.fetch_add(1, Ordering::Relaxed);
        let waiting = Self(lane);
        (before < MAX_WAITING).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part of the memory of all questions.
#[derive(Debug)]
struct Share {
    whole: Arc<dyn MemoryPool>,
    used: AtomicUsize,
    limit: usize,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {}", self.limit, self.whole)
    }
}

impl MemoryPool for Share {
    fn name(&self) -> &str {
        "share"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.whole.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.whole.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.used.fetch_add(additional, Ordering::Relaxed);
        self.whole.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.used.fetch_sub(shrink, Ordering::Relaxed);
        self.whole.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<(), DataFusionError> {
        let before = self.used.fetch_add(additional, Ordering::Relaxed);
        let grown = if before.saturating_add(additional) > self.limit {
            Err(DataFusionError::ResourcesExhausted(format!(
                "a site's questions have {} bytes of memory",
                self.limit
            )))
        } else {
            self.whole.try_grow(reservation, additional)
        };
        grown.inspect_err(|_| {
            self.used.fetch_sub(additional, Ordering::Relaxed);
        })
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use uuid::Uuid;

    use super::*;

    fn lanes(queries: usize, of_site: usize, wait: Duration) -> Lanes<()> {
        let options = StoreOptions {
            queries,
            queries_per_site: of_site,
            query_wait: wait,
            ..StoreOptions::new("")
        };
        Lanes::new(&options, || ())
    }

    fn site(number: u128) -> SiteId {
        SiteId(Uuid::from_u128(number))
    }

    const MINUTE: Duration = Duration::from_secs(60);
    /// Long enough to find no place.
    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_site_that_asks_much_leaves_places_to_others() {
        let lanes = lanes(4, 3, MINUTE);
        let mut busy = Vec::new();
        for _ in 0..3 {
            busy.push(lanes.enter(site(1), MINUTE).await.unwrap());
        }
        assert!(matches!(lanes.enter(site(1), MOMENT).await, Err(StoreError::Busy { .. })));
        let other = lanes.enter(site(2), MINUTE).await.unwrap();
        // All places are taken now; the first that is given back goes to who waits, also of the busy site.
        assert!(lanes.enter(site(3), MOMENT).await.is_err());
        busy.pop();
        drop(lanes.enter(site(1), MINUTE).await.unwrap());
        drop((other, busy));
        assert_eq!(lanes.all.available_permits(), 4);
    }

    #[tokio::test]
    async fn who_comes_to_a_long_queue_is_sent_away_at_once() {
        let lanes = lanes(4, 1, MOMENT);
        let held = lanes.enter(site(1), MINUTE).await.unwrap();
        let queue = futures::future::join_all((0..MAX_WAITING + 5).map(|_| lanes.enter(site(1), MINUTE)));
        let outcomes = queue.await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(StoreError::Busy { .. }))));
        drop(held);
        // Nobody waits any more.
        drop(lanes.enter(site(1), MINUTE).await.unwrap());
        assert_eq!(lanes.lane(site(1)).waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn lanes_of_sites_that_ask_no_more_go() {
        let lanes = lanes(4, 2, MINUTE);
        let held = lanes.enter(site(0), MINUTE).await.unwrap();
        for number in 1..300 {
            drop(lanes.enter(site(number), MINUTE).await.unwrap());
        }
        assert!(lanes.lanes.lock().len() <= KEPT);
        assert_eq!(lanes.lane(site(0)).places.available_permits(), 1, "the one in use is the same");
        drop(held);
    }

    #[test]
    fn a_site_has_its_share_of_memory_and_no_more() {
        let whole: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let share = |limit| -> Arc<dyn MemoryPool> {
            Arc::new(Share {
                whole: Arc::clone(&whole),
                used: AtomicUsize::new(0),
                limit,
            })
        };
        let (one, other) = (share(60), share(60));
        let first = MemoryConsumer::new("first").register(&one);
        let second = MemoryConsumer::new("second").register(&other);
        first.try_grow(50).unwrap();
        assert!(first.try_grow(11).is_err(), "beyond its share");
        second.try_grow(40).unwrap();
        assert!(second.try_grow(11).is_err(), "beyond what there is");
        drop(first);
        second.try_grow(20).unwrap();
        assert_eq!((one.reserved(), other.reserved(), whole.reserved()), (0, 60, 60));
    }
}
