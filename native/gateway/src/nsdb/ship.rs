// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::VecDeque;

use bytes::Bytes;
use insights_protocol::{
    Kinds,
    topology::{Change, Node},
};
use midonet::model::redact;

use super::{scope::Kind, tracker::Sink, view::View, zk::Stat};

/// Changes that one list takes. Lists go one by one into the pipe, which holds some dozens.
const MAX_LIST: usize = 1_000;
/// Bytes after which a list is full, whatever it counts.
const MAX_LIST_BYTES: usize = 1 << 20;
/// What a change takes besides its path and data.
const CHANGE_BYTES: usize = std::mem::size_of::<Change>();

/// Makes changes of what the tracker found: secrets out, kinds of data that may not leave out, hosts into the view.
#[derive(Debug)]
pub(super) struct Shipper {
    pub kinds: Kinds,
    /// Time of what is found now, µs since the epoch.
    pub now_us: i64,
    /// The leader's term that snapshots carry.
    pub term: i64,
    view: View,
    out: VecDeque<Change>,
    bytes: usize,
    /// Nodes of the last snapshot that ended.
    pub ended: Option<u64>,
}

impl Shipper {
    pub(super) fn new(view: View, kinds: Kinds, now_us: i64) -> Shipper {
        Shipper {
            kinds,
            now_us,
            term: 0,
            view,
            out: VecDeque::new(),
            bytes: 0,
            ended: None,
        }
    }

    /// Bytes that wait to be taken.
    pub(super) fn waiting(&self) -> usize {
        self.bytes
    }

    /// Whether a list is full.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= MAX_LIST || self.bytes >= MAX_LIST_BYTES
    }

    /// The oldest changes that wait, at most a list.
    pub(super) fn take(&mut self) -> Vec<Change> {
        let mut list = Vec::with_capacity(self.out.len().min(MAX_LIST));
        let mut bytes = 0;
        while list.len() < MAX_LIST
            && bytes < MAX_LIST_BYTES
            && let Some(change) = self.out.pop_front()
        {
            bytes += size_of_change(&change);
            list.push(change);
        }
        self.bytes -= bytes;
        list
    }

    fn leaves(&self, kind: Kind) -> bool {
        match kind {
            Kind::Topology => self.kinds.topology,
            Kind::State => self.kinds.topology && self.kinds.state,
            Kind::Local => false,
        }
    }

    fn push(&mut self, change: Change) {
        self.bytes += size_of_change(&change);
        self.out.push_back(change);
    }
}

impl Sink for Shipper {
    fn begin(&mut self) {
        if self.kinds.topology {
            self.push(Change::SnapshotBegin {
                at_us: self.now_us,
                term: self.term,
            });
        }
    }

    fn put(&mut self, kind: Kind, path: &str, data: Bytes, stat: &Stat) {
        self.view.put(path, &data);
        if !self.leaves(kind) {
            return;
        }
        let data = match class_of(kind, path) {
            None => data.to_vec(),
            Some(class) => {
                let redacted = redact(class, &data);
                if let Some(at) = redacted.cut_at {
                    log::warn!("{path} can't be read from byte {at} on and is sent without the rest");
                }
                redacted.bytes
            }
        };
        self.push(Change::Put(Node {
            path: path.to_owned(),
            data,
            mzxid: stat.mzxid,
            version: stat.version,
            ctime_ms: stat.ctime_ms,
            mtime_ms: stat.mtime_ms,
            ephemeral_owner: stat.ephemeral_owner,
            at_us: self.now_us,
        }));
    }

    fn gone(&mut self, kind: Kind, path: &str) {
        self.view.gone(path);
        if self.leaves(kind) {
            self.push(Change::Delete {
                path: path.to_owned(),
                at_us: self.now_us,
            });
        }
    }

    fn end(&mut self, topology: u64, state: u64) {
        self.view.set_whole();
        let nodes = topology + if self.kinds.state { state } else { 0 };
        self.ended = Some(nodes);
        if self.kinds.topology {
            self.push(Change::SnapshotEnd { at_us: self.now_us, nodes });
        }
    }
}

/// The class of an object's path; state and tables hold none of the fields that are secret.
fn class_of(kind: Kind, path: &str) -> Option<&str> {
    match kind {
        Kind::Topology => path.split('/').nth(3),
        Kind::State | Kind::Local => None,
    }
}

fn size_of_change(change: &Change) -> usize {
    CHANGE_BYTES
        + match change {
            Change::Put(node) => node.path.len() + node.data.len(),
            Change::Delete { path, .. } => path.len(),
            Change::SnapshotBegin { .. } | Change::SnapshotEnd { .. } => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(shipper: &mut Shipper, kind: Kind, path: &str, data: &'static str) {
        shipper.put(kind, path, Bytes::from_static(data.as_bytes()), &Stat::default());
    }

    #[test]
    fn secrets_stay_here() {
        let mut shipper = Shipper::new(View::default(), Kinds::ALL, 5);
        put(
            &mut shipper,
            Kind::Topology,
            "zoom/0/models/BgpPeer/x",
            "as_number: 7\npassword: \"hush\"\n",
        );
        let [Change::Put(node)] = &shipper.take()[..] else {
            panic!("one change")
        };
        let text = std::str::from_utf8(&node.data).unwrap();
        assert!(text.contains("as_number: 7") && !text.contains("hush"), "{text}");
        assert_eq!(shipper.waiting(), 0);
    }

    #[test]
    fn what_may_not_leave_is_seen_but_not_sent() {
        let mut shipper = Shipper::new(View::default(), Kinds { state: false, ..Kinds::ALL }, 5);
        let host = uuid::Uuid::from_u128(7);
        put(&mut shipper, Kind::State, &format!("zoom/0/state/{host}/Host/{host}/alive"), "alive");
        put(&mut shipper, Kind::Local, "config/nodes/x", "{}");
        shipper.end(0, 1);
        assert_eq!(shipper.take(), [Change::SnapshotEnd { at_us: 5, nodes: 0 }]);
        assert_eq!(shipper.view.agents(host, &std::collections::HashSet::new()).len(), 1);
    }

    #[test]
    fn lists_are_bounded_and_in_order() {
        let mut shipper = Shipper::new(View::default(), Kinds::ALL, 5);
        (0..2_500).for_each(|index| shipper.gone(Kind::State, &format!("zoom/0/state/{index}")));
        let lists: Vec<_> = std::iter::repeat_with(|| shipper.take()).take_while(|list| !list.is_empty()).collect();
        assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 500]);
        assert_eq!(
            lists[2][499],
            Change::Delete {
                path: "zoom/0/state/2499".into(),
                at_us: 5
            }
        );
    }
}
