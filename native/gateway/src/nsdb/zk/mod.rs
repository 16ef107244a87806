// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A ZooKeeper client as small as the tap needs it: reads with one-shot watches, ephemeral nodes, sessions.
//!
//! Why not a library: a client that hands out one watcher per node costs some 700 bytes a node inside the cluster's JVM, and the one that was
//! tried (`zookeeper-client` 0.11) sends watches again after a reconnect in parts that all carry the same transaction id, which it then
//! can't match: with more than 128 KiB of watched paths every lost connection ends in a lost session. Here a watch costs nothing at this
//! end: an event names its path, and [`super::tracker`] knows what that path means to it.
//!
//! The wire is that of ZooKeeper 3.4, which all servers up to 3.9 speak: no persistent watches, no removal of watches, no TTL nodes.
//! [`codec`] holds bytes only; [`Link`] is one connection; [`Session`] asks one thing after the other, for those who ask little.

pub mod codec;
mod endpoints;
mod link;
mod session;

pub use codec::{Code, EventKind, Stat};
pub use endpoints::{BadConnectString, Endpoints};
pub use link::{Incoming, Link, LinkError, SessionKey};
pub use session::{Session, ZkError};
