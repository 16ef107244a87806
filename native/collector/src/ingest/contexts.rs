// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is kept of the streams of flows, so that their next batches can be read.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use insights_protocol::{WireError, batch::Payload, stream::StreamReader};

/// Bytes that all streams may keep, whatever their number. One keeps some 3 MiB for a small cloud and 13 MiB at its own bound, so a thousand gateways
/// can't all keep what they would: those with more than their part begin anew more often.
const MAX_BYTES: usize = 2 << 30;

/// What all streams keep.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    bytes: AtomicUsize,
    streams: AtomicUsize,
}

/// What one stream keeps.
pub(super) struct Context {
    all: Arc<Contexts>,
    reader: StreamReader,
    bytes: usize,
}

impl Context {
    pub(super) fn new(all: &Arc<Contexts>) -> Context {
        all.streams.fetch_add(1, Ordering::Relaxed);
        Context {
            all: all.clone(),
            reader: StreamReader::default(),
            bytes: 0,
        }
    }

    /// The records of the stream's next batch. Afterwards a stream that keeps more than its part, where all together keep too much, forgets what it
    /// knows: its gateway is then asked to begin anew.
    pub(super) fn read(&mut self, batch: &[u8]) -> Result<Payload, WireError> {
        let payload = self.reader.read(batch);
        let all = self.account();
        let share = MAX_BYTES / self.all.streams.load(Ordering::Relaxed).max(1);
        if all > MAX_BYTES && self.bytes > share {
            self.reader.forget();
            self.account();
        }
        payload.map(|(_, payload)| payload)
    }

    /// What all keep now.
    fn account(&mut self) -> usize {
        let bytes = self.reader.memory();
        self.all.bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        let all = before - self.bytes;
        self.bytes = bytes;
        all
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.all.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
