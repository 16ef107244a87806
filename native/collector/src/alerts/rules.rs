// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The rules that every site has.

use insights_store::catalog::Level;

const SECOND: i64 = 1_000_000;

/// A rule that is there for every site and on until somebody switches it off.
#[derive(Debug)]
pub struct BuiltIn {
    /// Stable: alerts and settings are kept under it.
    pub id: &'static str,
    pub name: &'static str,
    /// What it looks at, in a sentence.
    pub says: &'static str,
    pub level: Level,
    /// How long trouble must hold before it is told, µs. With the time between two looks it stays within ten seconds for all that is a state.
    pub hold_us: i64,
    /// How long it must be over before the alert ends, µs.
    pub clear_us: i64,
}

pub(super) const HOST_DOWN: &str = "host-down";
pub(super) const GATEWAY_AWAY: &str = "gateway-away";
pub(super) const GATEWAY_LAGGING: &str = "gateway-lagging";
pub(super) const RECORDS_LOST: &str = "records-lost";
pub(super) const PORT_DOWN: &str = "port-down";
pub(super) const BGP_DOWN: &str = "bgp-down";
pub(super) const VTEP_ERROR: &str = "vtep-error";
pub(super) const MEMBER_INACTIVE: &str = "pool-member-inactive";
pub(super) const QUOTA_NEARING: &str = "quota-nearing";
pub(super) const CERTIFICATE_EXPIRING: &str = "certificate-expiring";

pub(super) const DROPS_UNUSUAL: &str = "drops-unusual";

pub const BUILT_IN: [BuiltIn; 11] = [
    BuiltIn {
        id: HOST_DOWN,
        name: "Host down",
        says: "The agent of a host has lost its session with the NSDB.",
        level: Level::Error,
        hold_us: 3 * SECOND,
        clear_us: 10 * SECOND,
    },
    BuiltIn {
        id: GATEWAY_AWAY,
        name: "Gateway away",
        says: "A gateway whose key is let in is not connected.",
        level: Level::Error,
        hold_us: 5 * SECOND,
        clear_us: 5 * SECOND,
    },
    BuiltIn {
        id: GATEWAY_LAGGING,
        name: "Gateway lagging",
        says: "The oldest record that a connected gateway has not sent yet is more than five minutes old.",
        level: Level::Warning,
        hold_us: 60 * SECOND,
        clear_us: 60 * SECOND,
    },
    BuiltIn {
        id: RECORDS_LOST,
        name: "Records lost",
        says: "Records were given up on their way; the alert ends when none was lost for 15 minutes.",
        level: Level::Warning,
        hold_us: 0,
        clear_us: 900 * SECOND,
    },
    BuiltIn {
        id: PORT_DOWN,
        name: "Port down",
        says: "A port that is bound to a host is not active there; critical for uplinks.",
        level: Level::Warning,
        hold_us: 5 * SECOND,
        clear_us: 5 * SECOND,
    },
    BuiltIn {
        id: BGP_DOWN,
        name: "BGP session down",
        says: "The BGP daemon of a router has no established session with a peer.",
        level: Level::Error,
        hold_us: 5 * SECOND,
        clear_us: 10 * SECOND,
    },
    BuiltIn {
        id: VTEP_ERROR,
        name: "VTEP error",
        says: "The cluster is not connected to a hardware VTEP.",
        level: Level::Error,
        hold_us: 5 * SECOND,
        clear_us: 10 * SECOND,
    },
    BuiltIn {
        id: MEMBER_INACTIVE,
        name: "Pool member inactive",
        says: "The health monitor of a load-balancer pool does not reach a member.",
        level: Level::Warning,
        hold_us: 5 * SECOND,
        clear_us: 10 * SECOND,
    },
    BuiltIn {
        id: QUOTA_NEARING,
        name: "Quota nearing",
        says: "Flows and meters take more than nine tenths of the plan; above it the oldest go.",
        level: Level::Warning,
        hold_us: 0,
        clear_us: 600 * SECOND,
    },
    BuiltIn {
        id: CERTIFICATE_EXPIRING,
        name: "Certificate expiring",
        says: "A gateway's certificate, or that of the service, ends within 30 days; critical within seven.",
        level: Level::Warning,
        hold_us: 0,
        clear_us: 60 * SECOND,
    },
    BuiltIn {
        id: DROPS_UNUSUAL,
        name: "Drops above the usual",
        says: "More than 100 flow records were dropped in five minutes, and three times the most of the day before.",
        level: Level::Warning,
        hold_us: 0,
        clear_us: 60 * SECOND,
    },
];

/// The rule that all sites have under this id.
pub fn built_in(id: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_within_ten_seconds() {
        for id in [HOST_DOWN, GATEWAY_AWAY, RECORDS_LOST, PORT_DOWN, BGP_DOWN, VTEP_ERROR, MEMBER_INACTIVE] {
            let hold_us = built_in(id).unwrap().hold_us;
            // Seen at one look, told at the first look after the hold.
            assert!(hold_us + 2 * super::super::EVERY.as_micros() as i64 <= 10 * SECOND, "{id}");
        }
    }
}
