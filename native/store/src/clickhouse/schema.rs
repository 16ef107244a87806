// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tables, and the views that fill them.
//!
//! Rows are written to a table that keeps nothing (`flows_in`, `meters_in`). Views take from it what each table keeps: records, the contents
//! of new paths, roll-ups by minute, hour, day and year's day, counts for the balance. Every part on the disk is of one site and one span of
//! time, so bytes are counted by site, a purge removes whole parts, and a question opens those of its own site alone.
//!
//! A batch's token is kept by each table for its last [`WINDOW`] parts. So a batch that comes again, after anything was killed anywhere, is
//! written where it is missing and nowhere else.

use super::{binary::Reader, client::Client};
use crate::{StoreError, ids::Grain, query::Budget, row::FlowRow, table::TableKind};

/// Parts of a table whose tokens are remembered. A batch whose fate is not known comes again within a minute or so; some 50 MB of the
/// server's memory for each table, when it is full.
const WINDOW: u32 = 30_000;

/// A form of the tables that this version knows.
const VERSION: u32 = 1;

/// Tables that keep time series, with what they count as and the level that they belong to.
pub(super) const KEPT: [(&str, TableKind); 12] = [
    ("flows", TableKind::Flows),
    ("paths", TableKind::Paths),
    ("meters", TableKind::Meters),
    ("flow_minutes", TableKind::FlowMinutes),
    ("device_minutes", TableKind::FlowMinutes),
    ("rule_minutes", TableKind::FlowMinutes),
    ("flow_hours", TableKind::FlowHours),
    ("device_hours", TableKind::FlowHours),
    ("rule_hours", TableKind::FlowHours),
    ("pair_hours", TableKind::FlowHours),
    ("meter_hours", TableKind::MeterHours),
    ("meter_days", TableKind::MeterDays),
];

/// Columns of flows, in the order in which they are written and read.
pub(super) const FLOW_COLUMNS: [(&str, &str); 37] = [
    ("row", "UInt64 CODEC(ZSTD(1))"),
    ("gateway", "LowCardinality(UUID)"),
    ("host", "LowCardinality(UUID)"),
    ("sim_result", "UInt8 CODEC(ZSTD(1))"),
    ("verdict", "UInt8 CODEC(ZSTD(1))"),
    ("transit", "UInt8 CODEC(ZSTD(1))"),
    ("untrusted", "UInt16 CODEC(ZSTD(1))"),
    ("cookie", "UInt64 CODEC(ZSTD(1))"),
    ("dp_port", "UInt32 CODEC(ZSTD(1))"),
    ("in_port", "LowCardinality(Nullable(UUID))"),
    ("src_port", "LowCardinality(Nullable(UUID))"),
    ("dst_port", "LowCardinality(Nullable(UUID))"),
    ("src_tenant", "LowCardinality(Nullable(String))"),
    ("dst_tenant", "LowCardinality(Nullable(String))"),
    ("src_network", "LowCardinality(Nullable(UUID))"),
    ("dst_network", "LowCardinality(Nullable(UUID))"),
    ("src_mac", "Nullable(UInt64) CODEC(ZSTD(1))"),
    ("dst_mac", "Nullable(UInt64) CODEC(ZSTD(1))"),
    ("ether_type", "UInt16 CODEC(ZSTD(1))"),
    ("vlans", "Array(UInt16) CODEC(ZSTD(1))"),
    ("src_ip", "Nullable(IPv6) CODEC(ZSTD(1))"),
    ("dst_ip", "Nullable(IPv6) CODEC(ZSTD(1))"),
    ("proto", "UInt8 CODEC(ZSTD(1))"),
    ("tos", "UInt8 CODEC(ZSTD(1))"),
    ("ttl", "UInt8 CODEC(ZSTD(1))"),
    ("src_tp", "UInt16 CODEC(ZSTD(1))"),
    ("dst_tp", "UInt16 CODEC(ZSTD(1))"),
    ("icmp_id", "UInt16 CODEC(ZSTD(1))"),
    ("icmp_data", "String CODEC(ZSTD(1))"),
    ("tunnel_key", "UInt64 CODEC(ZSTD(1))"),
    ("tunnel_src", "UInt32 CODEC(ZSTD(1))"),
    ("tunnel_dst", "UInt32 CODEC(ZSTD(1))"),
    ("rule", "LowCardinality(Nullable(UUID))"),
    ("path", "Nullable(UUID) CODEC(ZSTD(1))"),
    ("out_ports", "Array(LowCardinality(UUID))"),
    ("actions", "String CODEC(ZSTD(1))"),
    ("site", "UUID CODEC(ZSTD(1))"),
];

/// What is looked for without knowing when.
const INDEXES: &str = ", INDEX src_ip_seen src_ip TYPE bloom_filter GRANULARITY 4, INDEX dst_ip_seen dst_ip TYPE bloom_filter GRANULARITY 4";

const TIME: &str = "DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1))";
const LAST: &str = "SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1))";
const SUM: &str = "SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1))";

/// Makes what is missing.
pub(super) async fn make(client: &Client) -> Result<(), StoreError> {
    client
        .change("CREATE TABLE IF NOT EXISTS versions (version UInt32) ENGINE = MergeTree ORDER BY version")
        .await?;
    let found = client.ask("SELECT max(version) FROM versions", Budget::default()).await?;
    let found = Reader(&found.bytes).u32()?;
    if found > VERSION {
        return Err(StoreError::Newer {
            path: "the database in ClickHouse".into(),
            found,
            known: VERSION,
        });
    }
    for statement in statements() {
        client.change(&statement).await?;
    }
    if found < VERSION {
        client.change(&format!("INSERT INTO versions VALUES ({VERSION})")).await?;
    }
    Ok(())
}

fn statements() -> Vec<String> {
    let mut out = Vec::new();
    let columns = |of: &[(&str, &str)]| of.iter().map(|(name, kind)| format!("`{name}` {kind}")).collect::<Vec<_>>().join(", ");
    let mut table = |name: &str, all: &[(&str, &str)], engine: &str| {
        let kept = "fsync_after_insert = 1, fsync_part_directory = 1, allow_nullable_key = 1, non_replicated_deduplication_window =";
        let kept = if engine == "Null" {
            String::new()
        } else {
            format!(" SETTINGS {kept} {WINDOW}")
        };
        let indexes = if name == "flows" { INDEXES } else { "" };
        out.push(format!(
            "CREATE TABLE IF NOT EXISTS {name} ({}{indexes}) ENGINE = {engine}{kept}",
            columns(all)
        ));
    };

    // What comes in. `at` is the time of a flow: views give `time` another meaning.
    let mut flows_in = vec![("at", "DateTime64(6, 'UTC')")];
    flows_in.extend(FLOW_COLUMNS.map(|(name, kind)| (name, kind.split(" CODEC").next().unwrap_or(kind))));
    flows_in.extend([
        // Devices and rules that the flow met, each once; flags: 1 matched, 2 applied.
        ("met_devices", "Array(UUID)"),
        ("met_rules", "Array(UUID)"),
        ("met_flags", "Array(UInt8)"),
        // The content of the path, where it is not known to be stored.
        ("is_new", "UInt8"),
        ("devices", "Array(UUID)"),
        ("kinds", "Array(UInt8)"),
        ("rules", "Array(UUID)"),
        ("flags", "Array(UInt8)"),
    ]);
    table("flows_in", &flows_in, "Null");
    let meters = [
        ("site", "UUID"),
        ("kind", "UInt8"),
        ("id", "UUID"),
        ("name", "Nullable(String)"),
        ("host", "UUID"),
        ("since", "DateTime64(6, 'UTC')"),
        ("until", "DateTime64(6, 'UTC')"),
        ("packets", "UInt64"),
        ("bytes", "UInt64"),
    ];
    let mut meters_in = meters.to_vec();
    meters_in.push(("gateway", "UUID"));
    table("meters_in", &meters_in, "Null");

    // Records.
    let mut flows = vec![("time", TIME)];
    flows.extend(FLOW_COLUMNS);
    table("flows", &flows, "MergeTree PARTITION BY (site, toDate(time)) ORDER BY (site, time, row)");
    let paths = [
        ("site", "UUID CODEC(ZSTD(1))"),
        ("day", "Date CODEC(ZSTD(1))"),
        ("path", "UUID CODEC(ZSTD(1))"),
        ("devices", "Array(LowCardinality(UUID))"),
        ("kinds", "Array(UInt8) CODEC(ZSTD(1))"),
        ("rules", "Array(LowCardinality(UUID))"),
        ("flags", "Array(UInt8) CODEC(ZSTD(1))"),
    ];
    table("paths", &paths, "ReplacingMergeTree PARTITION BY (site, day) ORDER BY (site, day, path)");
    let stored = [
        ("site", "UUID CODEC(ZSTD(1))"),
        ("kind", "UInt8 CODEC(ZSTD(1))"),
        ("id", "UUID CODEC(ZSTD(1))"),
        ("name", "LowCardinality(Nullable(String))"),
        ("host", "LowCardinality(UUID)"),
        ("since", TIME),
        ("until", TIME),
        ("packets", "UInt64 CODEC(T64, ZSTD(1))"),
        ("bytes", "UInt64 CODEC(T64, ZSTD(1))"),
    ];
    table(
        "meters",
        &stored,
        "MergeTree PARTITION BY (site, toDate(until)) ORDER BY (site, kind, id, host, since)",
    );

    // Roll-ups.
    for level in ["minutes", "hours"] {
        let (_, by) = spans(level);
        let engine = |keys: &str| format!("AggregatingMergeTree PARTITION BY (site, {by}) PRIMARY KEY (site, {keys}) ORDER BY (site, {keys}");
        let kept = [
            ("site", "UUID CODEC(ZSTD(1))"),
            ("time", TIME),
            ("verdict", "UInt8 CODEC(ZSTD(1))"),
            ("transit", "UInt8 CODEC(ZSTD(1))"),
            ("src_tenant", "LowCardinality(Nullable(String))"),
            ("dst_tenant", "LowCardinality(Nullable(String))"),
            ("src_network", "LowCardinality(Nullable(UUID))"),
            ("dst_network", "LowCardinality(Nullable(UUID))"),
            ("host", "LowCardinality(UUID)"),
            ("gateway", "LowCardinality(UUID)"),
            ("rule", "LowCardinality(Nullable(UUID))"),
            ("proto", "UInt8 CODEC(ZSTD(1))"),
            ("ether_type", "UInt16 CODEC(ZSTD(1))"),
            ("sim_result", "UInt8 CODEC(ZSTD(1))"),
            ("src_tp", "Nullable(UInt16) CODEC(ZSTD(1))"),
            ("dst_tp", "Nullable(UInt16) CODEC(ZSTD(1))"),
            ("flows", SUM),
            ("last", LAST),
        ];
        let also: String = kept[2..16].iter().map(|(name, _)| format!(", {name}")).collect();
        table(&format!("flow_{level}"), &kept, &format!("{}{also})", engine("time")));
        let met = |more: &[(&'static str, &'static str)]| {
            let mut columns = vec![
                ("site", "UUID CODEC(ZSTD(1))"),
                ("id", "LowCardinality(UUID)"),
                ("time", TIME),
                ("verdict", "UInt8 CODEC(ZSTD(1))"),
                ("transit", "UInt8 CODEC(ZSTD(1))"),
                ("flows", SUM),
                ("last", LAST),
            ];
            columns.extend(more);
            columns
        };
        table(
            &format!("device_{level}"),
            &met(&[]),
            &format!("{}, verdict, transit)", engine("id, time")),
        );
        let of_rules = [
            ("matched", SUM),
            ("applied", SUM),
            (
                "last_matched",
                "SimpleAggregateFunction(max, Nullable(DateTime64(6, 'UTC'))) CODEC(ZSTD(1))",
            ),
        ];
        table(
            &format!("rule_{level}"),
            &met(&of_rules),
            &format!("{}, verdict, transit)", engine("id, time")),
        );
    }
    let pairs = [
        ("site", "UUID CODEC(ZSTD(1))"),
        ("time", TIME),
        ("verdict", "UInt8 CODEC(ZSTD(1))"),
        ("transit", "UInt8 CODEC(ZSTD(1))"),
        ("src_ip", "Nullable(IPv6) CODEC(ZSTD(1))"),
        ("dst_ip", "Nullable(IPv6) CODEC(ZSTD(1))"),
        ("flows", SUM),
        ("last", LAST),
    ];
    let (_, by) = spans("hours");
    table(
        "pair_hours",
        &pairs,
        &format!("AggregatingMergeTree PARTITION BY (site, {by}) PRIMARY KEY (site, time) ORDER BY (site, time, verdict, transit, src_ip, dst_ip)"),
    );
    for (name, by) in [("meter_hours", "toStartOfMonth(time)"), ("meter_days", "toStartOfYear(time)")] {
        let sums = [
            ("site", "UUID CODEC(ZSTD(1))"),
            ("kind", "UInt8 CODEC(ZSTD(1))"),
            ("id", "UUID CODEC(ZSTD(1))"),
            ("name", "LowCardinality(Nullable(String))"),
            ("host", "LowCardinality(UUID)"),
            ("time", TIME),
            ("packets", SUM),
            ("bytes", SUM),
            ("covered", SUM),
            ("last", LAST),
        ];
        table(
            name,
            &sums,
            &format!("AggregatingMergeTree PARTITION BY (site, {by}) ORDER BY (site, kind, id, host, time, name)"),
        );
    }

    // The rest: few rows.
    let counts = [
        ("site", "UUID"),
        ("hour", "DateTime64(6, 'UTC')"),
        ("gateway", "UUID"),
        ("kind", "UInt8"),
        ("hop", "UInt8"),
        ("records", "SimpleAggregateFunction(sum, UInt64)"),
    ];
    table("counts", &counts, "AggregatingMergeTree ORDER BY (site, hour, gateway, kind, hop)");
    let cursors = [
        ("site", "UUID"),
        ("gateway", "UUID"),
        ("kind", "UInt8"),
        ("epoch", "UInt64"),
        ("sequence", "SimpleAggregateFunction(max, UInt64)"),
    ];
    table("cursors", &cursors, "AggregatingMergeTree ORDER BY (site, gateway, kind, epoch)");
    let floors = [("site", "UUID"), ("level", "UInt8"), ("until_us", "SimpleAggregateFunction(max, Int64)")];
    table("floors", &floors, "AggregatingMergeTree ORDER BY (site, level)");
    out.extend(views());
    out
}

/// Begin of the span that a flow is in, and what rows of a level are parted by.
fn spans(level: &str) -> (&'static str, &'static str) {
    match level {
        "minutes" => ("toStartOfMinute(at)", "toMonday(time)"),
        _ => ("toStartOfHour(at)", "toStartOfMonth(time)"),
    }
}

fn views() -> Vec<String> {
    let mut out = Vec::new();
    let mut view = |to: &str, name: &str, select: String| {
        out.push(format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {name} TO {to} AS {select}"));
    };
    let names = FLOW_COLUMNS.map(|(name, _)| format!("`{name}`")).join(", ");
    view("flows", "flows_to_flows", format!("SELECT at AS time, {names} FROM flows_in"));
    view(
        "paths",
        "flows_to_paths",
        "SELECT site, toDate(at) AS day, assumeNotNull(path) AS path, devices, kinds, rules, flags FROM flows_in WHERE is_new = 1".to_owned(),
    );
    let known = |port: &str| format!("if({port} < {}, {port}, NULL) AS {port}_kept", FlowRow::EPHEMERAL);
    for level in ["minutes", "hours"] {
        let (begin, _) = spans(level);
        let plain = "verdict, transit, src_tenant, dst_tenant, src_network, dst_network, host, gateway, rule, proto, ether_type, sim_result";
        view(
            &format!("flow_{level}"),
            &format!("flows_to_flow_{level}"),
            format!(
                "SELECT site, time, {plain}, src_tp_kept AS src_tp, dst_tp_kept AS dst_tp, flows, last FROM
                 (SELECT site, {begin} AS time, {plain}, {}, {}, count() AS flows, max(at) AS last FROM flows_in
                  GROUP BY site, time, {plain}, src_tp_kept, dst_tp_kept)",
                known("src_tp"),
                known("dst_tp")
            ),
        );
        view(
            &format!("device_{level}"),
            &format!("flows_to_device_{level}"),
            format!(
                "SELECT site, id, {begin} AS time, verdict, transit, count() AS flows, max(at) AS last FROM flows_in
                 ARRAY JOIN met_devices AS id GROUP BY site, id, time, verdict, transit"
            ),
        );
        view(
            &format!("rule_{level}"),
            &format!("flows_to_rule_{level}"),
            format!(
                "SELECT site, id, {begin} AS time, verdict, transit, count() AS flows, max(at) AS last, countIf(bitTest(met, 0)) AS matched,
                 countIf(bitTest(met, 1)) AS applied, maxIf(toNullable(at), bitTest(met, 0)) AS last_matched FROM flows_in
                 ARRAY JOIN met_rules AS id, met_flags AS met GROUP BY site, id, time, verdict, transit"
            ),
        );
    }
    view(
        "pair_hours",
        "flows_to_pair_hours",
        "SELECT site, toStartOfHour(at) AS time, verdict, transit, src_ip, dst_ip, count() AS flows, max(at) AS last FROM flows_in
         GROUP BY site, time, verdict, transit, src_ip, dst_ip"
            .to_owned(),
    );
    view(
        "counts",
        "flows_to_counts",
        "SELECT site, toStartOfHour(at) AS hour, gateway, 4 AS kind, 9 AS hop, count() AS records FROM flows_in GROUP BY site, hour, gateway"
            .to_owned(),
    );
    view(
        "meters",
        "meters_to_meters",
        "SELECT site, kind, id, name, host, since, until, packets, bytes FROM meters_in".to_owned(),
    );
    for (name, level) in [("meter_hours", Grain::Hours), ("meter_days", Grain::Days)] {
        let step = level.step_us();
        // What was counted up to a time, were it even: the parts of a reading add up to it.
        let part = |of: &str| {
            let up_to = |time: &str| format!("intDiv(toInt128({of}) * toInt128({time} - s), toInt128(u - s))");
            format!("sum(toUInt64({} - {})) AS {of}_sum", up_to("high"), up_to("low"))
        };
        view(
            name,
            &format!("meters_to_{name}"),
            format!(
                "SELECT site, kind, id, name, host, fromUnixTimestamp64Micro(span * {step}, 'UTC') AS time, packets_sum AS packets, bytes_sum AS bytes,
                 covered, fromUnixTimestamp64Micro(last_us, 'UTC') AS last FROM
                 (SELECT site, kind, id, name, host, span, {}, {}, sumIf(toUInt64(high - low), kind = 0) AS covered, max(high) AS last_us FROM
                  (SELECT *, greatest(s, span * {step}) AS low, least(u, (span + 1) * {step}) AS high FROM
                   (SELECT *, arrayJoin(range(intDiv(s, {step}), intDiv(u - 1, {step}) + 1)) AS span FROM
                    (SELECT *, toUnixTimestamp64Micro(since) AS s, toUnixTimestamp64Micro(until) AS u FROM meters_in)))
                  GROUP BY site, kind, id, name, host, span)",
                part("packets"),
                part("bytes")
            ),
        );
    }
    // A reading counts in the hour of its last moment.
    view(
        "counts",
        "meters_to_counts",
        "SELECT site, hour, gateway, 3 AS kind, 9 AS hop, records FROM
         (SELECT site, toStartOfHour(fromUnixTimestamp64Micro(toUnixTimestamp64Micro(until) - 1, 'UTC')) AS hour, gateway, count() AS records
          FROM meters_in WHERE kind = 0 GROUP BY site, hour, gateway)"
            .to_owned(),
    );
    out
}
