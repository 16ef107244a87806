// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The tap on the NSDB: everything that MidoNet keeps in ZooKeeper and that people want to see, as a snapshot and then as changes.
//!
//! | part | what it does |
//! |---|---|
//! | [`zk`] | talks to ZooKeeper |
//! | `scope` | says which nodes matter, and how |
//! | `memory` | remembers nodes in few bytes |
//! | `tracker` | decides what to read and what is news; no sockets, no clock |
//! | `ship` | makes [`insights_protocol::topology::Change`]s of it, without secrets |
//! | `follow` | drives all of it on a connection, for ever |
//! | [`view`] | hosts and their addresses for the other taps |
//! | [`decode`] | the same as JSON lines |

pub mod decode;
pub mod view;
pub mod zk;

mod follow;
mod memory;
mod scope;
mod ship;
mod tracker;

use std::{
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

use insights_protocol::event::{Event, Level};
pub use memory::NODE_BYTES;
pub use view::View;

use crate::tap::Tap;

/// Runs until [`Tap::stop`] says so, and keeps the view up to date.
///
/// It reads the NSDB even when none of it may leave: the other taps need the hosts.
pub async fn run(tap: Tap, view: View) {
    match Place::new(&tap.config.zookeeper.hosts, &tap.config.zookeeper.root_key) {
        Ok(place) => follow::follow(&tap.pipe, &tap.stop, &place, &view).await,
        // The configuration was checked; this can only be a connect string that the check knows less well.
        Err(error) => {
            log::error!("the NSDB is not followed: {}", chain(&error));
            tap.stop.stopped().await;
        }
    }
}

/// Where an NSDB is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) endpoints: zk::Endpoints,
    /// Absolute without a slash at its end; empty for the root itself.
    root_key: String,
    /// The same with the connect string's path in front.
    root: String,
}

impl Place {
    pub(crate) fn new(hosts: &str, root_key: &str) -> Result<Place, PlaceError> {
        let endpoints = zk::Endpoints::parse(hosts)?;
        let root_key = midonet::nsdb::Root::new(if root_key.is_empty() { "/" } else { root_key })?
            .as_str()
            .to_owned();
        let root = format!("{}{root_key}", endpoints.chroot);
        Ok(Place { endpoints, root_key, root })
    }

    /// The path of a node of this NSDB, as a [`zk::Session`] takes it.
    pub(crate) fn below_chroot(&self, path: &str) -> String {
        format!("{}/{path}", self.root_key)
    }

    /// The path of a node of this NSDB, as servers know it.
    pub(crate) fn absolute(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// The path of a node below the root key.
    fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.root.as_str())?.strip_prefix('/')
    }

    fn root_or_slash(&self) -> &str {
        if self.root.is_empty() { "/" } else { &self.root }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("read zookeeper.hosts")]
    Hosts(#[from] zk::BadConnectString),
    #[error("read zookeeper.root_key")]
    Root(#[from] midonet::nsdb::InvalidRoot),
}

/// µs since the epoch.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(crate) fn event(level: Level, kind: &str, text: String, fields: &[(&str, String)]) -> Event {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Event {
        at_us: now_us(),
        level,
        kind: kind.to_owned(),
        text,
        fields,
        lost: None,
    }
}
