// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The way of a flow through the virtual network. Paths repeat from flow to flow and are stored once a day and site.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Path {
    /// In order of traversal, repetitions included.
    pub devices: Vec<PathDevice>,
    /// Every rule evaluated, in order.
    pub rules: Vec<PathRule>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PathDevice {
    pub id: Uuid,
    /// MidoNet's code: 1 load balancer, 2 pool, 3 port group, 4 network, 5 router, 6 port, 7 chain, 8 mirror.
    pub kind: u8,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PathRule {
    pub id: Uuid,
    /// MidoNet's code: 1 accept, 2 continue, 3 drop, 4 jump, 5 reject, 6 return, 7 redirect. At most 63.
    pub result: u8,
    /// The condition held.
    pub matched: bool,
    /// The action was taken.
    pub applied: bool,
}

/// Identity of a path: the first 16 bytes of the SHA-256 of its content.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PathId(pub [u8; 16]);

impl Path {
    /// As many devices and rules as one record of an agent can hold (204,800 bytes at 17 bytes each).
    pub const MAX_LENGTH: usize = 12_048;

    /// Same content, same id, on every machine and in every version.
    pub fn id(&self) -> PathId {
        let mut hash = Sha256::new();
        hash.update((self.devices.len() as u32).to_be_bytes());
        for device in &self.devices {
            hash.update(device.id.as_bytes());
            hash.update([device.kind]);
        }
        for rule in &self.rules {
            hash.update(rule.id.as_bytes());
            hash.update([rule.flags()]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        PathId(id)
    }
}

impl PathRule {
    const MATCHED: u8 = 0x40;
    const APPLIED: u8 = 0x80;

    /// Result in the low six bits, then matched, applied.
    pub(crate) fn flags(&self) -> u8 {
        let mut flags = self.result & 0x3f;
        if self.matched {
            flags |= Self::MATCHED;
        }
        if self.applied {
            flags |= Self::APPLIED;
        }
        flags
    }

    pub(crate) fn from_flags(id: Uuid, flags: u8) -> Self {
        Self {
            id,
            result: flags & 0x3f,
            matched: flags & Self::MATCHED != 0,
            applied: flags & Self::APPLIED != 0,
        }
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
