// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows that were spooled just now, as they were before, so that who sends them need not decode them.
//!
//! What is sent is decided by the spool alone: a batch is found here by the very bytes that were read from it. What is not here is decoded.

use std::collections::VecDeque;

use insights_protocol::batch::Payload;
use parking_lot::Mutex;

/// Records of all batches that are kept: one that is as large as they get, or some seconds of small ones. 12 MiB, as the spooler gathers them.
const MAX_RECORDS: usize = 32_768;

/// Batches that were spooled last.
#[derive(Debug, Default)]
pub(crate) struct Fresh(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Somebody sends them.
    wanted: bool,
    records: usize,
    /// Oldest first: bytes in the spool, and what they stand for.
    batches: VecDeque<(Vec<u8>, Payload)>,
}

impl Fresh {
    /// Whether batches are sent now. Nothing is kept while they are not.
    pub(crate) fn want(&self, wanted: bool) {
        let mut kept = self.0.lock();
        kept.wanted = wanted;
        if !wanted {
            kept.records = 0;
            kept.batches.clear();
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.0.lock().wanted
    }

    /// Keeps a batch that is in the spool with these bytes; older ones give way.
    pub(crate) fn put(&self, bytes: Vec<u8>, payload: Payload) {
        let mut kept = self.0.lock();
        if !kept.wanted || payload.len() > MAX_RECORDS {
            return;
        }
        kept.records += payload.len();
        kept.batches.push_back((bytes, payload));
        while kept.records > MAX_RECORDS {
            kept.drop_oldest();
        }
    }

    /// What these bytes from the spool stand for. Batches before it go too: they are sent in their order.
    pub(crate) fn take(&self, bytes: &[u8]) -> Option<Payload> {
        let mut kept = self.0.lock();
        let at = kept.batches.iter().position(|(own, _)| own == bytes)?;
        (0..at).for_each(|_| kept.drop_oldest());
        let (_, payload) = kept.batches.pop_front()?;
        kept.records -= payload.len();
        Some(payload)
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some((_, payload)) = self.batches.pop_front() {
            self.records -= payload.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use insights_protocol::event::{Event, Level};

    use super::*;

    fn events(count: usize) -> Payload {
        let event = Event {
            at_us: 1,
            level: Level::Info,
            kind: "k".into(),
            text: String::new(),
            fields: vec![],
            lost: None,
        };
        Payload::Events(vec![event; count])
    }

    #[test]
    fn a_batch_is_found_by_its_bytes_and_only_while_it_is_wanted() {
        let fresh = Fresh::default();
        fresh.put(vec![1], events(1));
        assert_eq!(fresh.take(&[1]), None, "nobody wanted it");
        fresh.want(true);
        fresh.put(vec![1], events(1));
        fresh.put(vec![2], events(2));
        fresh.put(vec![3], events(3));
        assert_eq!(fresh.take(&[4]), None);
        assert_eq!(fresh.take(&[2]), Some(events(2)));
        assert_eq!(fresh.take(&[1]), None, "it was before");
        fresh.want(false);
        assert_eq!(fresh.take(&[3]), None);
        assert!(fresh.0.lock().batches.is_empty());
    }

    #[test]
    fn the_oldest_batches_give_way() {
        let fresh = Fresh::default();
        fresh.want(true);
        (0..9).for_each(|n| fresh.put(vec![n], events(MAX_RECORDS / 4)));
        assert_eq!(fresh.0.lock().batches.len(), 4);
        assert_eq!(fresh.take(&[4]), None);
        assert!(fresh.take(&[5]).is_some());
        fresh.put(vec![9], events(MAX_RECORDS + 1));
        let kept = fresh.0.lock();
        assert_eq!((kept.batches.len(), kept.records), (3, MAX_RECORDS / 4 * 3));
    }
}
