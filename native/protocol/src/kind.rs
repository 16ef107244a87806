// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use bincode::{Decode, Encode};

/// A kind of data, each with a stream and a sequence of its own. The order is that of sending: topology before meters before flows.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Kind {
    Topology = 1,
    Events = 2,
    Meters = 3,
    Flows = 4,
}

impl Kind {
    /// All kinds in the order of their priority on the connection.
    pub const ALL: [Kind; 4] = [Kind::Topology, Kind::Events, Kind::Meters, Kind::Flows];

    /// Name for logs, folders and counters.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Topology => "topology",
            Kind::Events => "events",
            Kind::Meters => "meters",
            Kind::Flows => "flows",
        }
    }

    /// The kind with this number on the wire and on disk.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which data may leave a site. `state` is part of the topology stream and can be withheld alone.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
pub struct Kinds {
    pub topology: bool,
    pub state: bool,
    pub metering: bool,
    pub flows: bool,
}

impl Kinds {
    pub const ALL: Kinds = Kinds {
        topology: true,
        state: true,
        metering: true,
        flows: true,
    };

    /// What both sides allow.
    pub fn and(self, other: Kinds) -> Kinds {
        Kinds {
            topology: self.topology && other.topology,
            state: self.state && other.state,
            metering: self.metering && other.metering,
            flows: self.flows && other.flows,
        }
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Kinds::ALL
    }
}
