// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Records hop by hop, and whether they add up.
//!
//! | | is |
//! |---|---|
//! | received | invalid + dropped + spooled |
//! | spooled | evicted + acknowledged + what waits in the spool |
//! | acknowledged | arrived, but for batches that were refused |
//! | arrived | stored + purged |
//!
//! A gateway counts by the hour of its report and the service by the hour of the record, so hours close but for what is on its way over their ends.
//! Reports come every few seconds: what a gateway received since its last report before it was killed is in none of its counts, and shows as
//! arrived beyond what was acknowledged.

use std::collections::BTreeMap;

use insights_store::{
    StreamKind,
    catalog::{Hop, HopCount, StoredLoss},
};
use serde::Serialize;
use uuid::Uuid;

/// Records of one kind at each hop.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Hops {
    pub received: u64,
    pub invalid: u64,
    pub dropped: u64,
    pub spooled: u64,
    pub evicted: u64,
    pub acknowledged: u64,
    pub arrived: u64,
    pub refused: u64,
    pub stored: u64,
    pub purged: u64,
}

/// What is left of each step of the table above: zero where it adds up. Below zero: more came out of the step than is known to have gone in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Open {
    /// Received and in no other count: on the way to the spool.
    pub taking: i64,
    /// In the spool.
    pub waiting: i64,
    /// Acknowledged and neither arrived nor refused.
    pub uplink: i64,
    /// Arrived and not stored yet.
    pub storing: i64,
}

/// A line of the balance.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Line {
    pub gateway: Uuid,
    pub kind: &'static str,
    /// Begin of the hour, µs since the epoch.
    pub hour_us: i64,
    #[serde(flatten)]
    pub hops: Hops,
}

/// Records of one kind that were given up, by why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Lost {
    pub kind: &'static str,
    pub cause: String,
    pub records: u64,
}

/// The balance of a period.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Balance {
    /// By hour, gateway and kind.
    pub lines: Vec<Line>,
    /// By kind, over the whole period and all gateways.
    pub totals: Vec<(&'static str, Hops, Open)>,
    pub losses: Vec<Lost>,
}

impl Balance {
    pub fn of(counts: &[HopCount], losses: &[StoredLoss]) -> Self {
        let mut lines: BTreeMap<(i64, Uuid, StreamKind), Hops> = BTreeMap::new();
        let mut totals: BTreeMap<StreamKind, Hops> = BTreeMap::new();
        for count in counts {
            lines.entry((count.hour_us, count.gateway, count.kind)).or_default().add(count);
            totals.entry(count.kind).or_default().add(count);
        }
        let mut causes: BTreeMap<(StreamKind, &str), u64> = BTreeMap::new();
        for stored in losses {
            *causes.entry((stored.loss.kind, &stored.loss.cause)).or_default() += stored.loss.records;
        }
        Self {
            lines: lines
                .into_iter()
                .map(|((hour_us, gateway, kind), hops)| Line {
                    gateway,
                    kind: kind.name(),
                    hour_us,
                    hops: hops.complete(kind),
                })
                .collect(),
            totals: totals
                .into_iter()
                .map(|(kind, hops)| {
                    let hops = hops.complete(kind);
                    (kind.name(), hops, hops.open())
                })
                .collect(),
            losses: causes
                .into_iter()
                .map(|((kind, cause), records)| Lost {
                    kind: kind.name(),
                    cause: cause.to_owned(),
                    records,
                })
                .collect(),
        }
    }
}

impl Hops {
    fn add(&mut self, count: &HopCount) {
        let hop = match count.hop {
            Hop::Received => &mut self.received,
            Hop::Invalid => &mut self.invalid,
            Hop::Dropped => &mut self.dropped,
            Hop::Spooled => &mut self.spooled,
            Hop::Evicted => &mut self.evicted,
            Hop::Acknowledged => &mut self.acknowledged,
            Hop::Arrived => &mut self.arrived,
            Hop::Refused => &mut self.refused,
            Hop::Stored => &mut self.stored,
            Hop::Purged => &mut self.purged,
        };
        *hop += count.records;
    }

    /// Topology and events are counted as arrived after the transaction that stored them, and have no count of their own.
    fn complete(mut self, kind: StreamKind) -> Self {
        if matches!(kind, StreamKind::Topology | StreamKind::Events) {
            self.stored = self.arrived;
        }
        self
    }

    /// What does not add up, step by step.
    pub fn open(&self) -> Open {
        let left = |of: u64, parts: &[u64]| parts.iter().fold(of as i64, |left, part| left - *part as i64);
        Open {
            taking: left(self.received, &[self.invalid, self.dropped, self.spooled]),
            waiting: left(self.spooled, &[self.evicted, self.acknowledged]),
            uplink: left(self.acknowledged, &[self.arrived, self.refused]),
            storing: left(self.arrived, &[self.stored, self.purged]),
        }
    }
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::Loss;

    use super::*;

    fn count(gateway: u128, hour_us: i64, hop: Hop, records: u64) -> HopCount {
        HopCount {
            gateway: Uuid::from_u128(gateway),
            kind: StreamKind::Flows,
            hour_us,
            hop,
            records,
        }
    }

    #[test]
    fn what_does_not_add_up_is_told_step_by_step() {
        let counts = [
            count(1, 0, Hop::Received, 100),
            count(1, 0, Hop::Invalid, 3),
            count(1, 0, Hop::Dropped, 7),
            count(1, 0, Hop::Spooled, 90),
            count(2, 0, Hop::Received, 10),
            count(2, 0, Hop::Spooled, 10),
            count(1, 3_600_000_000, Hop::Evicted, 5),
            count(1, 3_600_000_000, Hop::Acknowledged, 80),
            count(2, 0, Hop::Acknowledged, 10),
            count(1, 0, Hop::Arrived, 78),
            count(1, 0, Hop::Refused, 2),
            count(2, 0, Hop::Arrived, 10),
            count(1, 0, Hop::Stored, 60),
            count(1, 0, Hop::Purged, 18),
            count(2, 0, Hop::Stored, 9),
        ];
        let loss = |records, cause: &str| StoredLoss {
            gateway: None,
            loss: Loss {
                kind: StreamKind::Flows,
                records,
                first_us: 0,
                last_us: 1,
                cause: cause.into(),
            },
        };
        let balance = Balance::of(&counts, &[loss(4, "disk full"), loss(5, "evicted"), loss(3, "disk full")]);
        let open = Open {
            taking: 0,
            waiting: 5,
            uplink: 0,
            storing: 1,
        };
        let [("flows", hops, left)] = balance.totals[..] else {
            panic!("{balance:?}")
        };
        assert_eq!((hops.received, hops.spooled, left), (110, 100, open));
        assert_eq!(balance.lines.len(), 3);
        assert_eq!(
            balance.losses.iter().map(|lost| (&*lost.cause, lost.records)).collect::<Vec<_>>(),
            [("disk full", 7), ("evicted", 5)]
        );
    }

    #[test]
    fn more_than_went_in_is_below_zero() {
        let counts = [
            count(1, 0, Hop::Acknowledged, 5),
            count(1, 0, Hop::Arrived, 8),
            count(1, 0, Hop::Stored, 8),
        ];
        assert_eq!(Balance::of(&counts, &[]).totals[0].2.uplink, -3);
    }
}
