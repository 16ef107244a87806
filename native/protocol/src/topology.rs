// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The NSDB as changes of its nodes.
//!
//! Nodes travel as ZooKeeper has them, with paths relative to the root key (`zoom/0/models/Network/<uuid>`); what they mean is told by
//! their reader. Secrets are removed from the data before it gets here.

use bincode::{Decode, Encode};

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub enum Change {
    /// A whole snapshot begins: all nodes follow, then [`Change::SnapshotEnd`]. Nodes that the reader holds and that don't occur in
    /// between are gone.
    ///
    /// `term` orders the gateways of a site that send its topology one after the other: one with a greater term took over from those with
    /// smaller ones.
    SnapshotBegin { at_us: i64, term: i64 },
    /// The snapshot is whole and had so many nodes.
    SnapshotEnd { at_us: i64, nodes: u64 },
    /// A node is there with this data.
    Put(Node),
    /// A node is gone.
    Delete { path: String, at_us: i64 },
}

impl Change {
    pub fn at_us(&self) -> i64 {
        match self {
            Change::SnapshotBegin { at_us, .. } | Change::SnapshotEnd { at_us, .. } | Change::Delete { at_us, .. } => *at_us,
            Change::Put(node) => node.at_us,
        }
    }
}

#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Node {
    /// Relative to the root key, no slash at either end.
    pub path: String,
    pub data: Vec<u8>,
    /// ZooKeeper's transaction of the last change of the data: the same path with the same number is the same content.
    pub mzxid: i64,
    pub version: i32,
    /// ZooKeeper's times of creation and last change, ms since the epoch, by the server's clock.
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    /// Session that the node lives with; 0 for persistent nodes.
    pub ephemeral_owner: i64,
    /// When the gateway saw it, µs since the epoch.
    pub at_us: i64,
}
