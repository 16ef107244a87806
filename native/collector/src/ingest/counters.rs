// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use insights_protocol::Kind;
use insights_store::{
    SiteId, StreamKind,
    catalog::{Hop, HopCount},
};
use parking_lot::Mutex;
use uuid::Uuid;

const HOUR_US: i64 = 3_600_000_000;

/// What the ingest endpoint has counted since the service started, for [`crate::metrics`].
#[derive(Debug, Default)]
pub struct Counters {
    pub connections_open: AtomicU64,
    pub connections_accepted: AtomicU64,
    /// Handshakes that failed: unknown keys, expired certificates, other protocols.
    pub handshakes_failed: AtomicU64,
    /// Connections turned away because there were too many.
    pub connections_refused: AtomicU64,
    kinds: [KindCounters; 4],
    /// Counts for the catalogue that are not written yet.
    pending: Mutex<HashMap<Counted, u64>>,
}

/// Site, gateway, kind, hour and hop that a count is for.
type Counted = (SiteId, Uuid, StreamKind, i64, Hop);

/// What was counted of one kind of data.
#[derive(Debug, Default)]
pub struct KindCounters {
    pub batches: AtomicU64,
    pub bytes: AtomicU64,
    pub records: AtomicU64,
    /// Batches that had been stored before, sent again after a lost acknowledgement.
    pub duplicates: AtomicU64,
    /// Batches that could not be read or broke a bound.
    pub refused: AtomicU64,
    /// Times that a batch was asked for again: the store could not take it, or it followed from one that was not read.
    pub retries: AtomicU64,
    /// Time from the last byte of a batch to its acknowledgement, which is sent when its rows are durable.
    pub acks: Acks,
}

/// How long acknowledgements took, in buckets.
#[derive(Debug, Default)]
pub struct Acks {
    /// One for each of [`Acks::BOUNDS_MS`], and one for what took longer.
    buckets: [AtomicU64; Acks::BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Acks {
    /// Upper bounds of the buckets: from a quick disk's sync to a store that hangs.
    pub const BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 20, 35, 50, 75, 100, 200, 500, 1_000, 5_000, 30_000];

    pub(super) fn took(&self, time: Duration) {
        let bucket = Self::BOUNDS_MS.iter().position(|bound| time <= Duration::from_millis(*bound));
        add(&self.buckets[bucket.unwrap_or(Self::BOUNDS_MS.len())], 1);
        add(&self.sum_us, time.as_micros() as u64);
    }

    /// Upper bound in ms (`None` for the last bucket) with the count of all up to it.
    pub fn up_to(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let mut sum = 0;
        self.buckets.iter().enumerate().map(move |(at, count)| {
            sum += count.load(Ordering::Relaxed);
            (Self::BOUNDS_MS.get(at).copied(), sum)
        })
    }

    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }
}

impl Counters {
    pub fn kind(&self, kind: Kind) -> &KindCounters {
        &self.kinds[kind as usize - 1]
    }

    /// Counts records of a gateway at a hop, in the hour of each.
    pub(super) fn hop(&self, site: SiteId, gateway: Uuid, kind: Kind, hop: Hop, times: impl Iterator<Item = i64>) {
        let mut pending = self.pending.lock();
        // Times of neighbours are mostly of one hour: one look-up for each run of them.
        let mut run: Option<(i64, u64)> = None;
        let mut add = |hour: i64, count: u64| *pending.entry((site, gateway, stream_kind(kind), hour, hop)).or_default() += count;
        for time in times {
            let hour = time.div_euclid(HOUR_US) * HOUR_US;
            match &mut run {
                Some((of, count)) if *of == hour => *count += 1,
                other => {
                    if let Some((of, count)) = other.replace((hour, 1)) {
                        add(of, count);
                    }
                }
            }
        }
        if let Some((hour, count)) = run {
            add(hour, count);
        }
    }

    /// Counts so many records of a gateway at a hop.
    pub(super) fn hop_count(&self, site: SiteId, gateway: Uuid, kind: Kind, hop: Hop, at_us: i64, records: u64) {
        if records > 0 {
            let hour = at_us.div_euclid(HOUR_US) * HOUR_US;
            *self.pending.lock().entry((site, gateway, stream_kind(kind), hour, hop)).or_default() += records;
        }
    }

    /// What is to be added to the catalogue, by site.
    pub(super) fn take_pending(&self) -> HashMap<SiteId, Vec<HopCount>> {
        let mut sites: HashMap<SiteId, Vec<HopCount>> = HashMap::new();
        for ((site, gateway, kind, hour_us, hop), records) in std::mem::take(&mut *self.pending.lock()) {
            sites.entry(site).or_default().push(HopCount {
                gateway,
                kind,
                hour_us,
                hop,
                records,
            });
        }
        sites
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn stream_kind(kind: Kind) -> StreamKind {
    match kind {
        Kind::Topology => StreamKind::Topology,
        Kind::Events => StreamKind::Events,
        Kind::Meters => StreamKind::Meters,
        Kind::Flows => StreamKind::Flows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_counted_up_to_each_bound() {
        let acks = Acks::default();
        for ms in [0, 1, 3, 99, 60_000] {
            acks.took(Duration::from_millis(ms));
        }
        let counts: Vec<_> = acks.up_to().collect();
        assert_eq!(counts[0], (Some(1), 2));
        assert_eq!(counts[2], (Some(5), 3));
        assert_eq!(counts[8], (Some(100), 4));
        assert_eq!(counts.last(), Some(&(None, 5)));
        assert_eq!(acks.sum(), Duration::from_millis(60_103));
    }

    #[test]
    fn records_are_counted_in_their_own_hours() {
        let counters = Counters::default();
        let (site, gateway) = (SiteId(Uuid::nil()), Uuid::nil());
        counters.hop(site, gateway, Kind::Flows, Hop::Arrived, [1, 2, HOUR_US, HOUR_US + 1, 5].into_iter());
        counters.hop_count(site, gateway, Kind::Flows, Hop::Refused, HOUR_US, 7);
        let mut counts = counters.take_pending().remove(&site).unwrap();
        counts.sort_by_key(|count| (count.hop, count.hour_us));
        let told: Vec<(Hop, i64, u64)> = counts.iter().map(|count| (count.hop, count.hour_us, count.records)).collect();
        assert_eq!(told, [(Hop::Arrived, 0, 3), (Hop::Arrived, HOUR_US, 2), (Hop::Refused, HOUR_US, 7)]);
        assert!(counters.take_pending().is_empty());
    }
}
