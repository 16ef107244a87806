// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Records by kind and hop, and whether they add up: [`Balance`] as a table.

use crate::{
    query::balance::{Balance, Hops},
    web::units,
};

/// A column: its heading and its count.
type Column = (&'static str, fn(&Hops) -> u64);

const COLUMNS: [Column; 10] = [
    ("Received", |hops| hops.received),
    ("Invalid", |hops| hops.invalid),
    ("Dropped", |hops| hops.dropped),
    ("Spooled", |hops| hops.spooled),
    ("Evicted", |hops| hops.evicted),
    ("Acknowledged", |hops| hops.acknowledged),
    ("Arrived", |hops| hops.arrived),
    ("Refused", |hops| hops.refused),
    ("Stored", |hops| hops.stored),
    ("Purged", |hops| hops.purged),
];

pub(super) struct View {
    pub(super) names: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
    /// Records that retention removed.
    pub(super) purged: u64,
}

pub(super) struct Row {
    pub(super) kind: &'static str,
    pub(super) counts: Vec<String>,
    pub(super) state: &'static str,
    pub(super) verdict: String,
}

impl View {
    pub(super) fn of(balance: &Balance) -> Self {
        Self {
            names: COLUMNS.iter().map(|(name, _)| *name).collect(),
            rows: balance
                .totals
                .iter()
                .map(|(kind, hops, open)| {
                    let (state, verdict) = verdict(hops, open.storing);
                    Row {
                        kind,
                        counts: COLUMNS.iter().map(|(_, count)| units::count(count(hops))).collect(),
                        state,
                        verdict,
                    }
                })
                .collect(),
            purged: balance.totals.iter().map(|(_, hops, _)| hops.purged).sum(),
        }
    }
}

fn verdict(hops: &Hops, not_stored: i64) -> (&'static str, String) {
    let lost = hops.invalid + hops.dropped + hops.evicted + hops.refused;
    if lost > 0 {
        ("degraded", format!("{} lost", units::count(lost)))
    } else if not_stored > 0 {
        ("degraded", format!("{} arrived, not stored", units::count(not_stored.unsigned_abs())))
    } else {
        ("up", "complete".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use insights_store::{
        StreamKind,
        catalog::{Hop, HopCount},
    };
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
        View::of(&Balance::of(&counts, &[])).rows.remove(0).verdict
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
