// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use super::*;

/// When a batch is whole.
pub(super) struct Rule<T> {
    /// After its first record.
    within: Duration,
    /// Records; a batch may hold as many more as its last item has.
    records: usize,
    /// Bytes in memory, roughly what they are before compression.
    bytes: usize,
    measure: fn(&T) -> (usize, usize),
    wrap: fn(Vec<T>) -> Payload,
}

/// Changes are seen by people at once.
pub(super) const TOPOLOGY: Rule<Vec<Change>> = Rule {
    within: Duration::from_millis(250),
    records: 16_384,
    bytes: 4 << 20,
    measure: |changes| (changes.len(), changes.iter().map(size).sum()),
    wrap: |lists| Payload::Topology(lists.into_iter().flatten().collect()),
};

pub(super) const EVENTS: Rule<insights_protocol::event::Event> = Rule {
    within: Duration::from_millis(250),
    records: 1_024,
    bytes: 1 << 20,
    measure: |event| (1, event.text.len() + 256),
    wrap: Payload::Events,
};

pub(super) const METERS: Rule<insights_protocol::meters::HostReading> = Rule {
    within: Duration::from_secs(1),
    records: 1_024,
    bytes: 4 << 20,
    measure: |reading| (1, 64 + 48 * reading.moved.len()),
    wrap: Payload::Meters,
};

/// A second's worth, and the more a second brings the fewer bytes a record takes; up to what memory allows, since four batches of them are
/// all that the pipe holds. Flows share their paths, so each counts its part of one.
pub(super) const FLOWS: Rule<insights_protocol::flow::FlowFact> = Rule {
    within: Duration::from_secs(1),
    records: 32_768,
    bytes: 12 << 20,
    measure: |flow| {
        let path = 24 * (flow.path.devices.len() + flow.path.rules.len());
        let shared = Arc::strong_count(&flow.path).max(1);
        (1, 256 + flow.actions.len() + 16 * flow.out_ports.len() + path / shared)
    },
    wrap: Payload::Flows,
};

/// Gathers items to batches until `stop`, and then what is left of them.
pub(super) async fn gather<T>(mut items: mpsc::Receiver<T>, batches: mpsc::Sender<Payload>, rule: Rule<T>, stop: Stop) {
    loop {
        let first = tokio::select! {
            biased;
            item = items.recv() => item,
            () = stop.stopped() => {
                items.close();
                items.recv().await
            }
        };
        let Some(first) = first else { return };
        let (mut records, mut bytes) = (rule.measure)(&first);
        let mut batch = vec![first];
        let until = Instant::now() + rule.within;
        while records < rule.records && bytes < rule.bytes {
            let next = tokio::select! {
                biased;
                item = items.recv() => item,
                () = sleep_until(until) => None,
                () = stop.stopped() => {
                    items.close();
                    timeout_at(until, items.recv()).await.ok().flatten()
                }
            };
            let Some(item) = next else { break };
            let (more, size) = (rule.measure)(&item);
            records += more;
            bytes += size;
            batch.push(item);
        }
        // The writer is gone only when the gateway's end came before its deadline.
        if batches.send((rule.wrap)(batch)).await.is_err() {
            return;
        }
    }
}

fn size(change: &Change) -> usize {
    match change {
        Change::Put(node) => 64 + node.path.len() + node.data.len(),
        Change::Delete { path, .. } => 16 + path.len(),
        Change::SnapshotBegin { .. } | Change::SnapshotEnd { .. } => 16,
    }
}
