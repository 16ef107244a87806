// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Records of the wire in the store's form.

use std::net::Ipv4Addr;

use insights_protocol::{
    event::{Event, Level, LossCause, Lost},
    meters::{HostReading, Meter, MeterDelta},
    topology::Change,
};
use insights_store::{
    MeterKey, MeterReading,
    catalog::{self, NewEvent, TopologyChange},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::counters::stream_kind;

/// Longest text of an event that is kept: gateways write sentences.
const MAX_TEXT: usize = 2_000;

/// Most fields of an event that are kept.
const MAX_FIELDS: usize = 50;

pub(super) fn topology(changes: Vec<Change>) -> Vec<TopologyChange> {
    changes
        .into_iter()
        .map(|change| match change {
            Change::SnapshotBegin { at_us, term } => TopologyChange::SnapshotBegin { at_us, term },
            Change::SnapshotEnd { at_us, nodes } => TopologyChange::SnapshotEnd { at_us, nodes },
            Change::Delete { path, at_us } => TopologyChange::Delete { path, at_us },
            Change::Put(node) => TopologyChange::Put(catalog::Node {
                path: node.path,
                data: node.data,
                mzxid: node.mzxid,
                version: node.version,
                ctime_ms: node.ctime_ms,
                mtime_ms: node.mtime_ms,
                ephemeral_owner: node.ephemeral_owner,
                at_us: node.at_us,
            }),
        })
        .collect()
}

/// Readings that cover a span. A first reading only sets the base line and has none.
pub(super) fn meters(readings: Vec<HostReading>) -> Vec<MeterReading> {
    readings
        .into_iter()
        .filter_map(|reading| {
            let from_us = reading.since_us.filter(|since| *since < reading.at_us)?;
            Some(MeterReading {
                host: Uuid::from_bytes(reading.host),
                // What was counted over longer is told of the last of it.
                from_us: from_us.max(reading.at_us.saturating_sub(MeterReading::MAX_SPAN_US)),
                to_us: reading.at_us,
                meters: reading.moved.into_iter().map(meter).collect(),
            })
        })
        .collect()
}

fn meter(delta: MeterDelta) -> insights_store::MeterDelta {
    let name = |mut name: String| {
        let mut end = name.len().min(MeterKey::MAX_NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        name
    };
    let key = match delta.meter {
        Meter::PortRx(id) => MeterKey::PortRx(Uuid::from_bytes(id)),
        Meter::PortTx(id) => MeterKey::PortTx(Uuid::from_bytes(id)),
        Meter::Device(id) => MeterKey::Device(Uuid::from_bytes(id)),
        Meter::Tunnel { source, destination } => MeterKey::Tunnel(Ipv4Addr::from(source), Ipv4Addr::from(destination)),
        Meter::User(text) => MeterKey::User(name(text)),
        Meter::Other(text) => MeterKey::Other(name(text)),
    };
    insights_store::MeterDelta {
        key,
        packets: delta.packets,
        bytes: delta.bytes,
    }
}

pub(super) fn event(gateway: Uuid, event: Event) -> NewEvent {
    let fields: Map<String, Value> = event
        .fields
        .into_iter()
        .take(MAX_FIELDS)
        .map(|(name, value)| (shorten(name), Value::from(shorten(value))))
        .collect();
    NewEvent {
        at_us: event.at_us,
        level: match event.level {
            Level::Info => catalog::Level::Info,
            Level::Warning => catalog::Level::Warning,
            Level::Error => catalog::Level::Error,
        },
        kind: shorten(event.kind),
        text: shorten(event.text),
        fields: Value::Object(fields).to_string(),
        gateway: Some(gateway),
        loss: event.lost.map(loss),
    }
}

fn loss(lost: Lost) -> catalog::Loss {
    catalog::Loss {
        kind: stream_kind(lost.kind),
        // The catalogue counts in signed 64 bits.
        records: lost.records.min(i64::MAX as u64),
        first_us: lost.first_us,
        last_us: lost.last_us,
        cause: match lost.cause {
            LossCause::QueueFull => "queue_full",
            LossCause::SpoolFull => "spool_full",
            LossCause::Invalid => "invalid",
            LossCause::SpoolDamaged => "spool_damaged",
            LossCause::Crash => "crash",
        }
        .to_owned(),
    }
}

fn shorten(text: String) -> String {
    if text.len() <= MAX_TEXT {
        text
    } else {
        text.chars().take(MAX_TEXT / 4).chain(['…']).collect()
    }
}

/// An event that the service makes itself.
pub(super) fn own_event(at_us: i64, level: catalog::Level, kind: &str, text: String, gateway: Option<Uuid>, fields: Value) -> NewEvent {
    NewEvent {
        at_us,
        level,
        kind: kind.to_owned(),
        text,
        fields: fields.to_string(),
        gateway,
        loss: None,
    }
}
