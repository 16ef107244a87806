// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::row::MeterKey;

/// A table of the embedded backend. Numbers are on disk: in the commit log and in the catalogue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum TableKind {
    Flows = 1,
    Paths = 2,
    Meters = 3,
}

impl TableKind {
    pub(crate) const ALL: [TableKind; 3] = [TableKind::Flows, TableKind::Paths, TableKind::Meters];

    pub(crate) fn name(self) -> &'static str {
        match self {
            TableKind::Flows => "flows",
            TableKind::Paths => "paths",
            TableKind::Meters => "meters",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    pub(crate) fn schema(self) -> SchemaRef {
        match self {
            TableKind::Flows => Arc::clone(&FLOWS),
            TableKind::Paths => Arc::clone(&PATHS),
            TableKind::Meters => Arc::clone(&METERS),
        }
    }

    /// Columns that rows are sorted by in a file, each with "descending".
    pub(crate) fn order(self) -> &'static [(&'static str, bool)] {
        match self {
            TableKind::Flows => &[("time", true), ("row", true)],
            TableKind::Paths => &[("path", false)],
            TableKind::Meters => &[("kind", false), ("id", false), ("to", false)],
        }
    }
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

fn id(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::FixedSizeBinary(16), nullable)
}

fn plain(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn maybe(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

static FLOWS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        time("time"),
        plain("row", DataType::UInt64),
        id("gateway", false),
        id("host", false),
        plain("sim_result", DataType::UInt8),
        plain("verdict", DataType::UInt8),
        plain("transit", DataType::Boolean),
        plain("untrusted", DataType::UInt16),
        plain("cookie", DataType::UInt64),
        plain("dp_port", DataType::UInt32),
        id("in_port", true),
        id("src_port", true),
        id("dst_port", true),
        maybe("src_tenant", DataType::Utf8),
        maybe("dst_tenant", DataType::Utf8),
        id("src_network", true),
        id("dst_network", true),
        // An Ethernet address is a 48-bit number.
        maybe("src_mac", DataType::Int64),
        maybe("dst_mac", DataType::Int64),
        plain("ether_type", DataType::UInt16),
        // The outermost tag; all of them, two bytes each, where there are several.
        maybe("vlan", DataType::UInt16),
        maybe("vlans", DataType::Binary),
        id("src_ip", true),
        id("dst_ip", true),
        plain("proto", DataType::UInt8),
        plain("tos", DataType::UInt8),
        plain("ttl", DataType::UInt8),
        plain("src_tp", DataType::UInt16),
        plain("dst_tp", DataType::UInt16),
        plain("icmp_id", DataType::UInt16),
        maybe("icmp_data", DataType::Binary),
        plain("tunnel_key", DataType::UInt64),
        plain("tunnel_src", DataType::UInt32),
        plain("tunnel_dst", DataType::UInt32),
        id("rule", true),
        id("path", true),
        // 16 bytes each; most flows leave by one port and the same sets repeat.
        maybe("out_ports", DataType::Binary),
        plain("actions", DataType::Binary),
    ]))
});

/// Paths are kept per day of the flows that use them, so that they go when these go.
static PATHS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let ids = DataType::new_list(DataType::FixedSizeBinary(16), false);
    Arc::new(Schema::new(vec![
        time("time"),
        id("path", false),
        Field::new("devices", ids.clone(), false),
        plain("device_kinds", DataType::Binary),
        Field::new("rules", ids, false),
        plain("rule_flags", DataType::Binary),
    ]))
});

static METERS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        plain("kind", DataType::UInt8),
        id("id", false),
        maybe("name", DataType::Utf8),
        id("host", false),
        time("from"),
        time("to"),
        plain("packets", DataType::UInt64),
        plain("bytes", DataType::UInt64),
    ]))
});

/// `kind` of the row that stands for a whole reading of a host: all of its meters are known for that span.
pub(crate) const COVERAGE: u8 = 0;

/// Columns `kind`, `id` and `name` of a meter.
pub(crate) fn meter_columns(key: &MeterKey) -> (u8, [u8; 16], Option<&str>) {
    match key {
        MeterKey::PortRx(id) => (1, id.into_bytes(), None),
        MeterKey::PortTx(id) => (2, id.into_bytes(), None),
        MeterKey::Device(id) => (3, id.into_bytes(), None),
        MeterKey::Tunnel(source, destination) => {
            let mut id = [0; 16];
            id[8..12].copy_from_slice(&source.octets());
            id[12..].copy_from_slice(&destination.octets());
            (4, id, None)
        }
        MeterKey::User(name) => (5, name_id(name), Some(name)),
        MeterKey::Other(name) => (6, name_id(name), Some(name)),
    }
}

/// The meter of these columns; `None` for what is no meter.
pub(crate) fn meter_key(kind: u8, id: [u8; 16], name: Option<&str>) -> Option<MeterKey> {
    let ipv4 = |at: usize| Ipv4Addr::new(id[at], id[at + 1], id[at + 2], id[at + 3]);
    Some(match kind {
        1 => MeterKey::PortRx(Uuid::from_bytes(id)),
        2 => MeterKey::PortTx(Uuid::from_bytes(id)),
        3 => MeterKey::Device(Uuid::from_bytes(id)),
        4 => MeterKey::Tunnel(ipv4(8), ipv4(12)),
        5 => MeterKey::User(name?.to_owned()),
        6 => MeterKey::Other(name?.to_owned()),
        _ => return None,
    })
}

fn name_id(name: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}
