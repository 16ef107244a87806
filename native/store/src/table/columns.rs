// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{ids::Grain, row::MeterKey};

/// A table of the embedded backend. Numbers are on disk: in the commit log and in the catalogue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum TableKind {
    Flows = 1,
    Paths = 2,
    Meters = 3,
    /// Roll-ups: written together with the files of the rows that they sum, never to the commit log.
    FlowMinutes = 4,
    FlowHours = 5,
    MeterHours = 6,
    MeterDays = 7,
    /// The files of [`TableKind::Meters`]: an hour of a meter in a row. Files of an older store have its rows as they are in memory.
    MeterRuns = 8,
    /// What flows say of where they came from and went to, each combination once a day: [`super::ends`].
    Ends = 9,
    /// The files of [`TableKind::Flows`]: what is left of a flow beside its ends. Files of an older store have its rows as they are in memory.
    FlowRests = 10,
}

impl TableKind {
    /// Tables; a kind of file is none.
    pub(crate) const ALL: [TableKind; 8] = [
        TableKind::Flows,
        TableKind::Paths,
        TableKind::Meters,
        TableKind::FlowMinutes,
        TableKind::FlowHours,
        TableKind::MeterHours,
        TableKind::MeterDays,
        TableKind::Ends,
    ];

    /// What comes by the commit log and is in memory for a while.
    pub(crate) const LOGGED: [TableKind; 3] = [TableKind::Flows, TableKind::Paths, TableKind::Meters];

    pub(crate) const ROLLUPS: [TableKind; 4] = [TableKind::FlowMinutes, TableKind::FlowHours, TableKind::MeterHours, TableKind::MeterDays];

    pub(crate) fn name(self) -> &'static str {
        match self {
            TableKind::Flows => "flows",
            TableKind::Paths => "paths",
            TableKind::Meters => "meters",
            TableKind::FlowMinutes => "flow_minutes",
            TableKind::FlowHours => "flow_hours",
            TableKind::MeterHours => "meter_hours",
            TableKind::MeterDays => "meter_days",
            TableKind::MeterRuns => "meter_runs",
            TableKind::Ends => "ends",
            TableKind::FlowRests => "flow_rests",
        }
    }

    /// What a row of a roll-up sums.
    pub(crate) fn level(self) -> Grain {
        match self {
            TableKind::Flows | TableKind::Paths | TableKind::Meters | TableKind::MeterRuns | TableKind::Ends | TableKind::FlowRests => Grain::Records,
            TableKind::FlowMinutes => Grain::Minutes,
            TableKind::FlowHours | TableKind::MeterHours => Grain::Hours,
            TableKind::MeterDays => Grain::Days,
        }
    }

    /// Days that one file covers at most. Roll-ups have few rows a day, and are kept for long.
    pub(crate) fn partition_days(self) -> i64 {
        match self.level() {
            Grain::Records | Grain::Minutes => 1,
            Grain::Hours => 16,
            Grain::Days => 128,
        }
    }

    /// First day of the partition that a time belongs to.
    pub(crate) fn partition_of(self, time_us: i64) -> i64 {
        let days = self.partition_days();
        super::day_of(time_us).div_euclid(days) * days
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        let mut kinds = Self::ALL.into_iter().chain([TableKind::MeterRuns, TableKind::FlowRests]);
        kinds.find(|kind| *kind as u8 == number)
    }

    /// Place among [`TableKind::ALL`] of the table that files of this kind belong to.
    pub(crate) fn place(self) -> usize {
        match self.table() {
            TableKind::Ends => 7,
            table => table as usize - 1,
        }
    }

    /// The table that files of this kind belong to.
    pub(crate) fn table(self) -> Self {
        match self {
            TableKind::MeterRuns => TableKind::Meters,
            TableKind::FlowRests => TableKind::Flows,
            table => table,
        }
    }

    /// The kind of files that this table's rows are written to.
    pub(crate) fn at_rest(self) -> Self {
        match self {
            TableKind::Meters => TableKind::MeterRuns,
            TableKind::Flows => TableKind::FlowRests,
            other => other,
        }
    }

    pub(crate) fn schema(self) -> SchemaRef {
        match self {
            TableKind::Flows => Arc::clone(&FLOWS),
            TableKind::Paths => Arc::clone(&PATHS),
            TableKind::Meters => Arc::clone(&METERS),
            TableKind::FlowMinutes | TableKind::FlowHours => Arc::clone(&FLOW_ROLLUP),
            TableKind::MeterHours | TableKind::MeterDays => Arc::clone(&METER_ROLLUP),
            TableKind::MeterRuns => Arc::clone(&METER_RUNS),
            TableKind::Ends => Arc::clone(&super::ends::ENDS),
            TableKind::FlowRests => Arc::clone(&super::ends::FLOW_RESTS),
        }
    }

    /// Columns that rows are sorted by in a file, each with "descending".
    pub(crate) fn order(self) -> &'static [(&'static str, bool)] {
        match self {
            TableKind::Flows | TableKind::FlowRests => &[("time", true), ("row", true)],
            TableKind::Paths => &[("path", false)],
            TableKind::Meters => &[("kind", false), ("id", false), ("to", false)],
            TableKind::FlowMinutes | TableKind::FlowHours => &FLOW_ROLLUP_ORDER,
            TableKind::MeterHours | TableKind::MeterDays => &[("kind", false), ("id", false), ("host", false), ("time", false)],
            TableKind::MeterRuns => &[("kind", false), ("id", false), ("host", false), ("from", false)],
            TableKind::Ends => &[("ends", false)],
        }
    }

    /// How many of the first columns say what a row of a roll-up is the sum of. The others are sums, and latest times.
    pub(crate) fn keys(self) -> usize {
        match self {
            TableKind::FlowMinutes | TableKind::FlowHours => FLOW_ROLLUP_ORDER.len(),
            TableKind::MeterHours | TableKind::MeterDays => 5,
            TableKind::Flows | TableKind::Paths | TableKind::Meters | TableKind::MeterRuns | TableKind::Ends | TableKind::FlowRests => 0,
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
        // With references to the other columns: [`super::actions`].
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

/// Form of the last two: [`super::runs`].
static METER_RUNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        plain("kind", DataType::UInt8),
        id("id", false),
        maybe("name", DataType::Utf8),
        id("host", false),
        // Begin of the first and end of the last reading of the host in the hour.
        time("from"),
        time("to"),
        plain("times", DataType::Binary),
        maybe("steps", DataType::Binary),
    ]))
});

/// What a row of a roll-up of flows is about. Numbers are on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Facet {
    /// Flows that agree in all of the columns that a roll-up keeps.
    Flows = 0,
    /// Flows through the device `id`, or that leave by the port `id`.
    Devices = 1,
    /// Flows that evaluated the rule `id`, of these those that matched it and that applied it.
    Rules = 2,
    /// Flows between two addresses: those with the most flows of their span.
    Pairs = 3,
    /// All flows of the span that are not in a row of pairs.
    OtherPairs = 4,
}

/// Every key column of a roll-up of flows, in the order of the rows: one device or rule after the other, each in order of time.
static FLOW_ROLLUP_ORDER: [(&str, bool); 19] = [
    ("facet", false),
    ("id", false),
    ("time", false),
    ("verdict", false),
    ("transit", false),
    ("src_tenant", false),
    ("dst_tenant", false),
    ("src_network", false),
    ("dst_network", false),
    ("host", false),
    ("gateway", false),
    ("rule", false),
    ("proto", false),
    ("src_tp", false),
    ("dst_tp", false),
    ("ether_type", false),
    ("sim_result", false),
    ("src_ip", false),
    ("dst_ip", false),
];

/// Columns have the names and meanings of those of flows; what a facet does not tell apart is null.
static FLOW_ROLLUP: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        plain("facet", DataType::UInt8),
        id("id", true),
        // Begin of the span.
        time("time"),
        plain("verdict", DataType::UInt8),
        plain("transit", DataType::Boolean),
        maybe("src_tenant", DataType::Utf8),
        maybe("dst_tenant", DataType::Utf8),
        id("src_network", true),
        id("dst_network", true),
        id("host", true),
        id("gateway", true),
        id("rule", true),
        maybe("proto", DataType::UInt8),
        // Null from [`crate::FlowRow::EPHEMERAL`] on.
        maybe("src_tp", DataType::UInt16),
        maybe("dst_tp", DataType::UInt16),
        maybe("ether_type", DataType::UInt16),
        maybe("sim_result", DataType::UInt8),
        id("src_ip", true),
        id("dst_ip", true),
        plain("flows", DataType::Int64),
        plain("matched", DataType::Int64),
        plain("applied", DataType::Int64),
        // Of pairs that are not listed, the most flows that one can have.
        plain("bound", DataType::Int64),
        time("last"),
        Field::new("last_matched", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
});

static METER_ROLLUP: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        plain("kind", DataType::UInt8),
        id("id", false),
        maybe("name", DataType::Utf8),
        id("host", false),
        time("time"),
        plain("packets", DataType::UInt64),
        plain("bytes", DataType::UInt64),
        // µs of the span that readings cover; of rows of coverage alone.
        plain("covered", DataType::Int64),
        // End of the last reading that moved it.
        time("last"),
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
