// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From counters that rise since an agent's start to what was counted between two readings.

use insights_protocol::meters::{HostReading, Meter, MeterDelta};
use midonet::meters::{Counters, DeviceStats, MeterKey};
use uuid::Uuid;

use super::journal::Changed;

/// The meters of one agent at its last reading.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Baseline {
    at_us: Option<i64>,
    /// By key, duplicates summed.
    meters: Vec<(MeterKey, Counters)>,
}

impl Baseline {
    /// Meters that are remembered.
    pub(super) fn len(&self) -> usize {
        self.meters.len()
    }

    /// Time of the reading, µs since the epoch; `None` where there was none.
    pub(super) fn at_us(&self) -> Option<i64> {
        self.at_us
    }

    /// In the order of their keys.
    pub(super) fn meters(&self) -> &[(MeterKey, Counters)] {
        &self.meters
    }

    /// Takes over what a reading is known to have had: these meters, and all others as they were.
    pub(super) fn put(&mut self, at_us: i64, meters: Vec<(MeterKey, Counters)>) {
        let mut all: std::collections::BTreeMap<_, _> = std::mem::take(&mut self.meters).into_iter().collect();
        all.extend(meters);
        *self = Baseline {
            at_us: Some(at_us),
            meters: all.into_iter().collect(),
        };
    }

    /// Forgets the reading: the next one is the first again.
    pub(super) fn clear(&mut self) {
        *self = Baseline::default();
    }

    /// Takes the next reading over and says what moved since the last one, and which meters are other than they were.
    ///
    /// Counters fall, and meters vanish, only when their agent starts anew (MidoNet never removes a meter); then all of them count whole.
    /// Nothing else tells a restart for sure: the session behind an agent's entry in the NSDB may also be another one because it was lost.
    /// So an agent whose counters have all risen above what they were before its restart is taken to have gone on, which counts too little
    /// and never too much, as MidoNet's meters do themselves.
    pub(super) fn advance(&mut self, host: Uuid, stats: &DeviceStats, at_us: i64) -> (HostReading, Changed) {
        let new: Vec<(MeterKey, Counters)> = stats.sums().into_iter().map(|(key, counters)| (key.clone(), counters)).collect();
        let since_us = self.at_us;
        let restarted = since_us.is_some() && is_restart(&self.meters, &new);
        let mut moved = Vec::new();
        let mut changed = Vec::new();
        if since_us.is_some() {
            let mut old = if restarted { [].iter() } else { self.meters.iter() }.peekable();
            for (key, counters) in &new {
                while old.next_if(|(old_key, _)| old_key < key).is_some() {}
                let known = old.next_if(|(old_key, _)| old_key == key).map(|(_, before)| *before);
                if known != Some(*counters) {
                    changed.push((key.clone(), *counters));
                }
                let before = known.unwrap_or_default();
                let packets = risen(before.packets, counters.packets);
                let bytes = risen(before.bytes, counters.bytes);
                if packets > 0 || bytes > 0 {
                    moved.push(MeterDelta {
                        meter: meter_of(key),
                        packets,
                        bytes,
                    });
                }
            }
        }
        let reading = HostReading {
            host: host.into_bytes(),
            since_us,
            at_us,
            restarted,
            meters_total: new.len() as u32,
            moved,
        };
        *self = Baseline {
            at_us: Some(at_us),
            meters: new,
        };
        let changed = if since_us.is_none() || restarted {
            Changed::All
        } else {
            Changed::Some(changed)
        };
        (reading, changed)
    }
}

/// Whether a meter fell or is gone.
fn is_restart(old: &[(MeterKey, Counters)], new: &[(MeterKey, Counters)]) -> bool {
    let mut new = new.iter().peekable();
    old.iter().any(|(key, before)| {
        while new.next_if(|(new_key, _)| new_key < key).is_some() {}
        match new.next_if(|(new_key, _)| new_key == key) {
            None => true,
            Some((_, after)) => after.packets < before.packets || after.bytes < before.bytes,
        }
    })
}

fn risen(before: i64, after: i64) -> u64 {
    // Counters are never negative; a reading that says so counts nothing.
    after.max(0).saturating_sub(before.max(0)).max(0) as u64
}

fn meter_of(key: &MeterKey) -> Meter {
    match key {
        MeterKey::Device(id) => Meter::Device(id.into_bytes()),
        MeterKey::PortRx(id) => Meter::PortRx(id.into_bytes()),
        MeterKey::PortTx(id) => Meter::PortTx(id.into_bytes()),
        MeterKey::Tunnel { src, dst } => Meter::Tunnel {
            source: (*src).into(),
            destination: (*dst).into(),
        },
        MeterKey::User(name) => Meter::User(name.clone()),
        MeterKey::Other(name) => Meter::Other(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use midonet::meters::parse_device_stats;
    use proptest::prelude::*;

    use super::*;

    const HOST: Uuid = Uuid::from_u128(7);

    fn golden(reading: u8) -> DeviceStats {
        let path = format!(
            "{}/../../tests/fixtures/golden/metering/device_stats-{reading}.tsv",
            env!("CARGO_MANIFEST_DIR")
        );
        parse_device_stats(&std::fs::read(path).unwrap())
    }

    fn moved(reading: &HostReading) -> BTreeMap<Meter, (u64, u64)> {
        reading
            .moved
            .iter()
            .map(|delta| (delta.meter.clone(), (delta.packets, delta.bytes)))
            .collect()
    }

    #[test]
    fn golden_readings_add_up() {
        let mut baseline = Baseline::default();
        let first = baseline.advance(HOST, &golden(1), 10).0;
        assert_eq!((first.since_us, first.at_us, first.moved.len()), (None, 10, 0));
        let second = baseline.advance(HOST, &golden(2), 20).0;
        assert_eq!((second.since_us, second.restarted), (Some(10), false));
        let (one, two) = (golden(1), golden(2));
        let (one, two) = (one.sums(), two.sums());
        assert_eq!(second.meters_total as usize, two.len());
        let expected: BTreeMap<_, _> = two
            .iter()
            .map(|(key, after)| {
                let before = one.get(key).copied().unwrap_or_default();
                (
                    meter_of(key),
                    ((after.packets - before.packets) as u64, (after.bytes - before.bytes) as u64),
                )
            })
            .filter(|(_, delta)| *delta != (0, 0))
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(moved(&second), expected);
    }

    fn stats(meters: &[(u128, i64)]) -> DeviceStats {
        let meters = meters.iter().map(|(id, packets)| {
            (
                MeterKey::Device(Uuid::from_u128(*id)),
                Counters {
                    packets: *packets,
                    bytes: packets * 100,
                },
            )
        });
        DeviceStats {
            meters: meters.collect(),
            ..DeviceStats::default()
        }
    }

    fn device(id: u128) -> Meter {
        Meter::Device(Uuid::from_u128(id).into_bytes())
    }

    #[test]
    fn a_fallen_counter_or_a_missing_meter_is_a_restart() {
        for after in [&[(1, 9), (2, 30)][..], &[(2, 30)]] {
            let mut baseline = Baseline::default();
            baseline.advance(HOST, &stats(&[(1, 10), (2, 20)]), 1);
            let reading = baseline.advance(HOST, &stats(after), 2).0;
            assert!(reading.restarted);
            assert_eq!(moved(&reading)[&device(2)], (30, 3_000));
            // What moves from there on is a difference again.
            assert_eq!(moved(&baseline.advance(HOST, &stats(&[(1, 9), (2, 31)]), 3).0)[&device(2)], (1, 100));
        }
    }

    #[test]
    fn meters_that_stand_still_are_not_sent() {
        let mut baseline = Baseline::default();
        baseline.advance(HOST, &stats(&[(1, 10)]), 1);
        let reading = baseline.advance(HOST, &stats(&[(1, 10), (2, 0), (3, 5)]), 2).0;
        assert_eq!((reading.meters_total, reading.restarted), (3, false));
        assert_eq!(moved(&reading), BTreeMap::from([(device(3), (5, 500))]));
    }

    proptest! {
        /// Without restarts the sum of all differences is what the counters rose by, whatever the steps and however the threads share it.
        #[test]
        fn differences_add_up(steps in proptest::collection::vec(proptest::collection::vec((0..6u128, 1..100i64), 0..8), 1..20)) {
            let mut baseline = Baseline::default();
            baseline.advance(HOST, &stats(&[]), 0);
            let mut threads = [BTreeMap::<u128, i64>::new(), BTreeMap::new()];
            let mut sums = BTreeMap::<Meter, u64>::new();
            for (at, step) in steps.into_iter().enumerate() {
                for (index, (id, packets)) in step.into_iter().enumerate() {
                    *threads[index % 2].entry(id).or_default() += packets;
                }
                let lines: Vec<_> = threads.iter().flatten().map(|(id, packets)| (*id, *packets)).collect();
                let reading = baseline.advance(HOST, &stats(&lines), 1 + at as i64).0;
                prop_assert!(!reading.restarted);
                reading.moved.into_iter().for_each(|delta| *sums.entry(delta.meter).or_default() += delta.packets);
            }
            let mut expected = BTreeMap::<Meter, u64>::new();
            threads.iter().flatten().for_each(|(id, packets)| *expected.entry(device(*id)).or_default() += *packets as u64);
            prop_assert_eq!(sums, expected);
        }
    }
}
