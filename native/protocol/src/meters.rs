// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Traffic meters of agents, as differences between two readings.

use bincode::{Decode, Encode};

/// What an agent's meters counted between two readings.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct HostReading {
    /// MidoNet host id, big-endian.
    pub host: [u8; 16],
    /// Time of the reading before; `None` for the first one, which only sets the base line and carries no meters.
    pub since_us: Option<i64>,
    pub at_us: i64,
    /// The agent started anew since the reading before: its counters are taken whole, what it counted after that reading and before its
    /// restart is not known.
    pub restarted: bool,
    /// Distinct meters that the agent has, whether they moved or not.
    pub meters_total: u32,
    /// The meters that moved, duplicates of a name summed.
    pub moved: Vec<MeterDelta>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct MeterDelta {
    pub meter: Meter,
    pub packets: u64,
    pub bytes: u64,
}

/// Names of meters, see MidoNet's `FlowTagger`.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Meter {
    /// Entered the device through this port.
    PortRx([u8; 16]),
    /// Left the device through this port.
    PortTx([u8; 16]),
    /// Network, router, port, chain, load balancer, pool or mirror.
    Device([u8; 16]),
    /// Between two underlay addresses.
    Tunnel { source: u32, destination: u32 },
    /// Attached to a rule by an operator.
    User(String),
    /// Anything else, whole.
    Other(String),
}
