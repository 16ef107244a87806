// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Records by kind and hop, and whether they add up.

use std::collections::BTreeMap;

use insights_store::{
    StreamKind,
    catalog::{Hop, HopCount},
};

use crate::web::units;

const HOPS: [(Hop, &str); 10] = [
    (Hop::Received, "Received"),
    (Hop::Invalid, "Invalid"),
    (Hop::Dropped, "Dropped"),
    (Hop::Spooled, "Spooled"),
    (Hop::Evicted, "Evicted"),
    (Hop::Acknowledged, "Acknowledged"),
    (Hop::Arrived, "Arrived"),
    (Hop::Refused, "Refused"),
    (Hop::Stored, "Stored"),
    (Hop::Purged, "Purged"),
];

pub(super) struct View {
    pub(super) names: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
    /// Records that retention removed.
    pub(super) purged: u64,
}

pub(super) struct Row {
    pub(super) kind: String,
    pub(super) counts: Vec<String>,
    pub(super) state: &'static str,
    pub(super) verdict: String,
}

impl View {
    pub(super) fn of(counts: &[HopCount]) -> Self {
        let mut sums: BTreeMap<StreamKind, BTreeMap<Hop, u64>> = BTreeMap::new();
        for count in counts {
            *sums.entry(count.kind).or_default().entry(count.hop).or_default() += count.records;
        }
        Self {
            names: HOPS.iter().map(|(_, name)| *name).collect(),
            purged: sums.values().filter_map(|hops| hops.get(&Hop::Purged)).sum(),
            rows: sums.into_iter().map(|(kind, hops)| row(kind, hops)).collect(),
        }
    }
}

fn row(kind: StreamKind, mut hops: BTreeMap<Hop, u64>) -> Row {
    // Topology and events are counted as arrived after the transaction that stored them, and have no count of their own.
    if matches!(kind, StreamKind::Topology | StreamKind::Events) {
        let arrived = hops.get(&Hop::Arrived).copied().unwrap_or(0);
        hops.insert(Hop::Stored, arrived);
    }
    let at = |hop: Hop| hops.get(&hop).copied().unwrap_or(0);
    let lost = at(Hop::Invalid) + at(Hop::Dropped) + at(Hop::Evicted) + at(Hop::Refused);
    let kept = at(Hop::Stored) + at(Hop::Purged);
    let (state, verdict) = if lost > 0 {
        ("degraded", format!("{} lost", units::count(lost)))
    } else if kept < at(Hop::Arrived) {
        ("degraded", format!("{} arrived, not stored", units::count(at(Hop::Arrived) - kept)))
    } else {
        ("up", "complete".to_owned())
    };
    Row {
        kind: kind.name().to_owned(),
        counts: HOPS.iter().map(|(hop, _)| units::count(at(*hop))).collect(),
        state,
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::HopCount;
    use uuid::Uuid;

    use super::*;

    fn verdict(kind: StreamKind, counts: &[(Hop, u64)]) -> String {
        let counts: Vec<_> = counts
            .iter()
            .map(|(hop, records)| HopCount {
                gateway: Uuid::nil(),
                kind,
                hour_us: 0,
                hop: *hop,
                records: *records,
            })
            .collect();
        View::of(&counts).rows.remove(0).verdict
    }

    #[test]
    fn what_was_purged_was_stored_and_what_was_given_up_is_lost() {
        use Hop::{Arrived, Dropped, Purged, Stored};
        assert_eq!(verdict(StreamKind::Flows, &[(Arrived, 10), (Stored, 10)]), "complete");
        assert_eq!(verdict(StreamKind::Flows, &[(Arrived, 10), (Stored, 4), (Purged, 6)]), "complete");
        assert_eq!(verdict(StreamKind::Flows, &[(Arrived, 10), (Stored, 9)]), "1 arrived, not stored");
        assert_eq!(verdict(StreamKind::Flows, &[(Arrived, 10), (Stored, 10), (Dropped, 3)]), "3 lost");
        assert_eq!(verdict(StreamKind::Topology, &[(Arrived, 10)]), "complete");
    }
}
