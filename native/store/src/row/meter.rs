// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What the meters of one agent counted between two readings. Meters that are not listed did not move: their count is a true zero, as
/// against the time in which there was no reading.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeterReading {
    pub host: Uuid,
    /// The span between the two readings, `from_us < to_us`, both within the bounds of [`super::FlowRow::time_us`].
    pub from_us: i64,
    pub to_us: i64,
    pub meters: Vec<MeterDelta>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeterDelta {
    pub key: MeterKey,
    pub packets: u64,
    pub bytes: u64,
}

/// What a meter counts.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterKey {
    /// Entered the virtual device through this port.
    PortRx(Uuid),
    /// Left the virtual device through this port.
    PortTx(Uuid),
    /// Passed this network, router, port, chain, load balancer, pool or mirror.
    Device(Uuid),
    /// Between two underlay addresses.
    Tunnel(Ipv4Addr, Ipv4Addr),
    /// Attached to a rule by an operator.
    User(String),
    /// Any other name.
    Other(String),
}

impl MeterReading {
    /// Longest span of a reading: it is divided among the hours that it covers. An agent that was silent for longer begins anew.
    pub const MAX_SPAN_US: i64 = 32 * 86_400_000_000;
}

impl MeterKey {
    /// Longest name of a user's meter that is kept.
    pub const MAX_NAME_BYTES: usize = 1024;
}
