// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the fuzz targets do with their input: read it, and check what must hold of what was read.

use midonet::flow::action::{self, Action};
use midonet::flow::frame::{Frame, FrameDecoder};
use midonet::flow::{self, Encoding, FlowRecord};
use midonet::meters::{MAX_BODY_BYTES, parse_device_stats, write_device_stats};
use midonet::nsdb::table::{ArpEntry, Entry, Fip64Entry, Table};
use midonet::nsdb::{LearnedRoute, Root, state};
use midonet::{Mac, config, discovery, model, text};

/// Reads an input; panics if something does not hold.
pub(crate) type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("flow_binary", flow_binary),
    ("flow_json", flow_json),
    ("flow_frames", flow_frames),
    ("flow_actions", flow_actions),
    ("text", text),
    ("tables", tables),
    ("state", state),
    ("discovery", discovery),
    ("meters", meters),
    ("config", config),
];

/// A record has no more entries than bytes, and can be written in either form.
pub(crate) fn flow_binary(data: &[u8]) {
    let Ok(record) = flow::binary::decode(data) else { return };
    check_entries(&record, data);
    assert_eq!(record.encoding, Encoding::Binary);
    let _ = flow::encode_binary(&record);
    let _ = flow::encode_json(&record);
}

fn check_entries(record: &FlowRecord, data: &[u8]) {
    let entries = record.icmp_data.len() + record.vlan_ids.len() + record.out_ports.len() + record.rules.len() + record.devices.len();
    assert!(entries + record.actions.len() <= data.len());
}

/// A record that was read is the same after it was written and read again.
pub(crate) fn flow_json(data: &[u8]) {
    let Ok(record) = flow::json::decode(data) else { return };
    check_entries(&record, data);
    let written = flow::encode_json(&record);
    if written.len() <= flow::MAX_RECORD_BYTES {
        assert_eq!(flow::decode(&written), Ok(record));
    }
}

/// Frames don't depend on how the stream was cut into reads, and no more is held than a frame and a read.
pub(crate) fn flow_frames(data: &[u8]) {
    const MAX_FRAME: usize = 1000;
    let Some((&chunk, stream)) = data.split_first() else { return };
    let whole = frames(&mut FrameDecoder::new(MAX_FRAME), [stream]);
    let mut decoder = FrameDecoder::new(MAX_FRAME);
    let pieces = frames(&mut decoder, stream.chunks(usize::from(chunk).max(1)));
    assert_eq!(whole, pieces);
    assert!(whole.1 || decoder.buffered() <= MAX_FRAME + 4);
}

/// The frames (of too long ones the size), and whether framing was lost.
fn frames<'a>(decoder: &mut FrameDecoder, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Result<Vec<u8>, usize>>, bool) {
    let mut found = Vec::new();
    for piece in pieces {
        decoder.extend(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(Frame::Record(record))) => found.push(Ok(record.to_vec())),
                Ok(Some(Frame::Skipped { size })) => found.push(Err(size)),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// A list that was read whole is the same after it was written and read again.
pub(crate) fn flow_actions(data: &[u8]) {
    let decoded = action::decode(data);
    assert!(decoded.actions.len() <= data.len());
    let carried: usize = decoded
        .actions
        .iter()
        .map(|action| if let Action::SetIcmpError { data, .. } = action { data.len() } else { 0 })
        .sum();
    assert!(carried <= data.len());
    if !decoded.cut {
        assert_eq!(action::decode(&action::encode(&decoded.actions)).actions, decoded.actions);
    }
}

/// A text that was read is the same after it was written and read again, and redaction leaves one that can be read.
pub(crate) fn text(data: &[u8]) {
    for class in ["BgpPeer", "Rule", "Gadget"] {
        let redacted = model::redact(class, data);
        if !data.starts_with(b"{") && !data.starts_with(b"[") {
            assert!(redacted.bytes.len() <= data.len() + redacted.removed.len() * 11);
            assert_eq!(redacted.cut_at.is_none(), text::parse(data).is_ok());
        }
        if redacted.cut_at.is_none() && redacted.bytes.len() <= text::MAX_TEXT_BYTES {
            let again = model::redact(class, &redacted.bytes);
            assert_eq!(again.bytes, redacted.bytes);
        }
        let Ok(object) = model::decode_object(class, data) else { continue };
        let written = text::write(&object.message);
        if written.len() <= text::MAX_TEXT_BYTES {
            assert_eq!(text::parse(written.as_bytes()), Ok(object.message.clone()));
        }
        assert_eq!(object.to_text().len(), written.len());
        let _ = (model::to_json(&object), object.references().count(), object.id());
    }
}

/// Names of nodes: paths, entries of tables, learned routes.
pub(crate) fn tables(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        let _ = Root::new(line);
        let _ = Root::default().parse(line);
        let _ = Root::default().parse(&format!("/midonet/zoom/0/{line}"));
        if let Ok(route) = line.parse::<LearnedRoute>() {
            assert_eq!(route.to_string(), line.to_ascii_lowercase());
        }
        if let Ok(entry) = line.parse::<ArpEntry>() {
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
        if let Ok(entry) = line.parse::<Fip64Entry>() {
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
        if let Some(entry) = Entry::parse(line) {
            assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
        }
        if let Ok(mac) = line.parse::<Mac>() {
            assert_eq!(mac.to_string().parse(), Ok(mac));
        }
    }
    let table = Table::from_names(text.lines());
    assert!(table.entries.len() + table.ignored <= text.lines().count());
}

/// Values of state keys.
pub(crate) fn state(data: &[u8]) {
    if let Ok(value) = state::HostState::parse(data) {
        let written = value.to_text();
        if written.len() <= text::MAX_TEXT_BYTES {
            assert_eq!(state::HostState::parse(written.as_bytes()), Ok(value));
        }
    }
    if let Ok(value) = state::PortState::parse(data) {
        assert_eq!(state::PortState::parse(value.to_text().as_bytes()), Ok(value));
    }
    let _ = (
        state::ContainerServiceStatus::parse(data),
        state::ContainerStatus::parse(data),
        state::FloodingProxy::parse(data),
    );
    let _ = state::parse_vtep_configuration(data);
}

/// An instance that was read is the same after it was written and read again.
pub(crate) fn discovery(data: &[u8]) {
    let Ok(instance) = discovery::Instance::parse(data) else { return };
    let written = instance.to_json();
    if written.len() <= discovery::MAX_INSTANCE_BYTES {
        assert_eq!(discovery::Instance::parse(written.as_bytes()).ok(), Some(instance));
    }
}

/// Meters that were read are the same after they were written and read again.
pub(crate) fn meters(data: &[u8]) {
    let stats = parse_device_stats(data);
    let written = write_device_stats(stats.meters.iter().map(|(key, counters)| (key, *counters)));
    assert!(stats.sums().len() <= stats.meters.len());
    if written.len() <= MAX_BODY_BYTES {
        let again = parse_device_stats(written.as_bytes());
        assert_eq!((again.meters, again.invalid), (stats.meters, 0));
    }
}

/// Layers of configuration.
pub(crate) fn config(data: &[u8]) {
    let _ = config::template_of(data, uuid::Uuid::nil());
    let mut layers = config::Layers::new();
    if layers.push("node", data).is_ok() {
        let _ = (layers.stats_port(), layers.bool("agent.flow_history.enabled"), layers.get("agent"));
    }
}
