// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Identities and spans of time that all of the store's rooms share.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A site: one cloud. Every method that touches a site's data takes it, and nothing else can name that data.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct SiteId(pub Uuid);

/// Who signs in and owns sites.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct AccountId(pub Uuid);

macro_rules! uuid_id {
    ($name:ident) => {
        impl $name {
            /// A new random one.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(SiteId);
uuid_id!(AccountId);

/// A kind of data with a stream and a sequence of its own. Numbers and names are those of the wire.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum StreamKind {
    Topology = 1,
    Events = 2,
    Meters = 3,
    Flows = 4,
}

impl StreamKind {
    pub const ALL: [StreamKind; 4] = [StreamKind::Topology, StreamKind::Events, StreamKind::Meters, StreamKind::Flows];

    pub fn name(self) -> &'static str {
        match self {
            StreamKind::Topology => "topology",
            StreamKind::Events => "events",
            StreamKind::Meters => "meters",
            StreamKind::Flows => "flows",
        }
    }

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The stream that a batch came by: batches of one epoch are numbered without gaps, and an epoch is drawn anew with the gateway's spool.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId {
    /// MidoNet host id of the gateway's machine.
    pub gateway: Uuid,
    pub kind: StreamKind,
    pub epoch: u64,
}

/// The place of a batch in its stream. A batch is known by this alone, never by its content.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cursor {
    pub stream: StreamId,
    pub sequence: u64,
}

/// What became of a batch. Both mean that it is durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Appended {
    Committed,
    /// The stream is already at this sequence or behind it: nothing was written.
    Duplicate,
}

/// Half-open span of time, `from_us <= t < to_us`, µs since the epoch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Period {
    pub from_us: i64,
    pub to_us: i64,
}

impl Period {
    pub fn new(from_us: i64, to_us: i64) -> Self {
        Self { from_us, to_us }
    }

    pub fn contains(&self, time_us: i64) -> bool {
        self.from_us <= time_us && time_us < self.to_us
    }

    pub fn is_empty(&self) -> bool {
        self.from_us >= self.to_us
    }

    /// The part that both have.
    pub(crate) fn meet(&self, other: Period) -> Period {
        Period::new(self.from_us.max(other.from_us), self.to_us.min(other.to_us))
    }
}

/// How fine the rows are that an answer was made from: the coarsest of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// Every record as it came.
    #[default]
    Records,
    Minutes,
    Hours,
    Days,
}

impl Grain {
    /// Width of a span, µs; records have none.
    pub const fn step_us(self) -> i64 {
        match self {
            Grain::Records => 1,
            Grain::Minutes => 60_000_000,
            Grain::Hours => 3_600_000_000,
            Grain::Days => 86_400_000_000,
        }
    }

    /// The spans that lie in a period as a whole; empty when there is none.
    pub(crate) fn inside(self, period: Period) -> Period {
        let step = self.step_us();
        let from_us = period
            .from_us
            .div_euclid(step)
            .saturating_add(i64::from(period.from_us.rem_euclid(step) != 0))
            .saturating_mul(step);
        Period::new(from_us, period.to_us.div_euclid(step).saturating_mul(step))
    }

    /// The spans that meet a period.
    pub(crate) fn around(self, period: Period) -> Period {
        let step = self.step_us();
        let up = period
            .to_us
            .div_euclid(step)
            .saturating_add(i64::from(period.to_us.rem_euclid(step) != 0));
        Period::new(period.from_us.div_euclid(step).saturating_mul(step), up.saturating_mul(step))
    }
}
