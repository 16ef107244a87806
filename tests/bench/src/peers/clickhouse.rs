// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! ClickHouse, as the library that its makers publish for embedding: the same engine without a server's connection handling. A helper program
//! holds it, so that it is a process with times of its own.

use std::{
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use insights_e2e::cost::Cost;
use insights_protocol::flow::FlowFact;
use serde_json::Value;
use uuid::Uuid;

use super::Taken;

/// Rows of an insert: its documentation asks for tens of thousands at least.
pub const BLOCK: usize = 50_000;

/// All that our own rows have. Low cardinality where values repeat, deltas for times, zstd for the rest; ordered as lists and charts read it;
/// Bloom filters for what is looked for without a time.
const TABLE: &str = "CREATE TABLE flows.flows (
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    gateway LowCardinality(UUID),
    host LowCardinality(UUID),
    cookie UInt64 CODEC(T64, ZSTD(1)),
    sim_result UInt8 CODEC(ZSTD(1)),
    verdict Enum8('allowed' = 1, 'dropped' = 2, 'consumed' = 3) CODEC(ZSTD(1)),
    transit Bool CODEC(ZSTD(1)),
    untrusted UInt16 CODEC(T64, ZSTD(1)),
    dp_port UInt32 CODEC(T64, ZSTD(1)),
    in_port LowCardinality(UUID),
    src_port LowCardinality(UUID),
    dst_port LowCardinality(UUID),
    src_tenant LowCardinality(String),
    dst_tenant LowCardinality(String),
    src_network LowCardinality(UUID),
    dst_network LowCardinality(UUID),
    src_mac UInt64 CODEC(ZSTD(1)),
    dst_mac UInt64 CODEC(ZSTD(1)),
    ether_type UInt16 CODEC(T64, ZSTD(1)),
    vlans Array(UInt16) CODEC(ZSTD(1)),
    src_ip IPv6 CODEC(ZSTD(1)),
    dst_ip IPv6 CODEC(ZSTD(1)),
    proto UInt8 CODEC(ZSTD(1)),
    tos UInt8 CODEC(ZSTD(1)),
    ttl UInt8 CODEC(ZSTD(1)),
    src_tp UInt16 CODEC(T64, ZSTD(1)),
    dst_tp UInt16 CODEC(T64, ZSTD(1)),
    icmp_id UInt16 CODEC(T64, ZSTD(1)),
    icmp_data String CODEC(ZSTD(1)),
    tunnel_key UInt64 CODEC(T64, ZSTD(1)),
    tunnel_src UInt32 CODEC(T64, ZSTD(1)),
    tunnel_dst UInt32 CODEC(T64, ZSTD(1)),
    rule LowCardinality(UUID),
    devices Array(LowCardinality(UUID)),
    device_kinds Array(UInt8) CODEC(ZSTD(1)),
    rules Array(LowCardinality(UUID)),
    rule_results Array(UInt8) CODEC(ZSTD(1)),
    out_ports Array(LowCardinality(UUID)),
    actions String CODEC(ZSTD(1)),
    INDEX src_ip_seen src_ip TYPE bloom_filter GRANULARITY 4,
    INDEX dst_ip_seen dst_ip TYPE bloom_filter GRANULARITY 4,
    INDEX src_port_seen src_port TYPE bloom_filter GRANULARITY 4
) ENGINE = MergeTree PARTITION BY toYYYYMMDD(time) ORDER BY (toStartOfFiveMinutes(time), host, time)";

pub struct ClickHouse {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl ClickHouse {
    /// `None` where the library or Python, which holds it, is missing.
    pub fn find(tools: &Path) -> Option<PathBuf> {
        let python = super::program(tools, "python3");
        let library = tools.join("node_modules/@chdb/lib-linux-x64-gnu/libchdb.so");
        (python.is_some() && library.is_file()).then_some(library)
    }

    pub fn start(library: &Path, dir: &Path) -> Result<ClickHouse> {
        let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/clickhouse");
        let data = dir.join("clickhouse");
        std::fs::create_dir_all(&data)?;
        let mut child = Command::new(&helper)
            .arg(library)
            .arg(&data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", helper.display()))?;
        let mut started = ClickHouse {
            input: child.stdin.take().context("the helper has no input")?,
            output: BufReader::new(child.stdout.take().context("the helper has no output")?),
            child,
        };
        started.ask("SELECT 1")?;
        Ok(started)
    }

    /// The answer as lines of values with tabs between.
    pub fn ask(&mut self, sql: &str) -> Result<String> {
        let mut line = serde_json::to_string(sql)?;
        line.push('\n');
        self.input.write_all(line.as_bytes()).context("ask ClickHouse")?;
        self.input.flush()?;
        let mut answer = String::new();
        ensure!(self.output.read_line(&mut answer)? > 0, "ClickHouse has ended");
        let answer: Value = serde_json::from_str(&answer)?;
        match (answer["error"].as_str(), answer["text"].as_str()) {
            (Some(error), _) => bail!("ClickHouse on {}: {error}", sql.chars().take(200).collect::<String>()),
            (None, Some(text)) => Ok(text.to_owned()),
            (None, None) => bail!("ClickHouse gave no answer"),
        }
    }

    /// CPU seconds since its start.
    pub fn cpu(&self) -> Result<f64> {
        Ok(Cost::of(self.child.id())?.cpu)
    }

    /// Takes files of rows in, then merges them all.
    pub fn take(&mut self, blocks: &[PathBuf], sent: u64) -> Result<Taken> {
        self.ask("CREATE DATABASE flows")?;
        // Small numbers as ids would be suspicious; these are UUIDs.
        self.ask("SET allow_suspicious_low_cardinality_types = 1")?;
        self.ask(TABLE)?;
        let before = self.cpu()?;
        for block in blocks {
            self.ask(&format!("INSERT INTO flows.flows FROM INFILE '{}' FORMAT RowBinary", block.display()))?;
        }
        let taken = self.cpu()?;
        let parts = self.bytes()?;
        self.ask("OPTIMIZE TABLE flows.flows FINAL")?;
        let flows = self.ask("SELECT count() FROM flows.flows")?.trim().parse()?;
        Ok(Taken {
            name: "ClickHouse".into(),
            version: self.ask("SELECT version()")?.trim().to_owned(),
            command: format!("INSERT … FORMAT RowBinary of {BLOCK} rows each, then OPTIMIZE TABLE … FINAL; no fsync, as is its default"),
            flows,
            sent,
            cpu: taken - before,
            later_cpu: self.cpu()? - taken,
            bytes: vec![("as inserted".to_owned(), parts), ("merged".to_owned(), self.bytes()?)],
        })
    }

    fn bytes(&mut self) -> Result<u64> {
        let told = self.ask("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'flows'")?;
        Ok(told.trim().parse()?)
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        // Questions in its input are answered before it sees the end; there are none left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One row in the form that ClickHouse reads fastest, from a flow as it came and as our API tells it joined.
pub fn row(out: &mut Vec<u8>, flow: &FlowFact, joined: &Value) {
    let id = |value: &Value| value.as_str().and_then(|text| Uuid::parse_str(text).ok()).unwrap_or_default();
    let text = |out: &mut Vec<u8>, value: &Value| bytes(out, value.as_str().unwrap_or_default().as_bytes());
    let (src, dst) = (&joined["src"], &joined["dst"]);
    out.extend(flow.received_us.to_le_bytes());
    uuid(out, id(&joined["gateway"]));
    uuid(out, Uuid::from_bytes(flow.host));
    out.extend(flow.cookie.to_le_bytes());
    out.push(flow.sim_result);
    out.push(match joined["result"].as_str() {
        Some("dropped") => 2,
        Some("consumed") => 3,
        _ => 1,
    });
    out.push(u8::from(joined["transit"].as_bool().unwrap_or_default()));
    out.extend(flow.untrusted.to_le_bytes());
    out.extend(flow.dp_in_port.to_le_bytes());
    uuid(out, id(&joined["in_port"]));
    uuid(out, id(&src["vport"]));
    uuid(out, id(&dst["vport"]));
    text(out, &src["tenant"]);
    text(out, &dst["tenant"]);
    uuid(out, id(&src["network"]));
    uuid(out, id(&dst["network"]));
    out.extend(mac(flow.eth_src).to_le_bytes());
    out.extend(mac(flow.eth_dst).to_le_bytes());
    out.extend(flow.ether_type.to_le_bytes());
    length(out, flow.extras.vlans.len());
    flow.extras.vlans.iter().for_each(|vlan| out.extend(vlan.to_le_bytes()));
    out.extend(address(flow.net_src).octets());
    out.extend(address(flow.net_dst).octets());
    out.extend([flow.proto, flow.tos, flow.ttl]);
    out.extend(flow.tp_src.to_le_bytes());
    out.extend(flow.tp_dst.to_le_bytes());
    out.extend(flow.icmp_id.to_le_bytes());
    bytes(out, &flow.extras.icmp_data);
    out.extend(flow.tunnel.key.to_le_bytes());
    out.extend(flow.tunnel.source.to_le_bytes());
    out.extend(flow.tunnel.destination.to_le_bytes());
    uuid(out, id(&joined["decided_by"]));
    length(out, flow.path.devices.len());
    flow.path.devices.iter().for_each(|device| uuid(out, Uuid::from_bytes(device.id)));
    length(out, flow.path.devices.len());
    out.extend(flow.path.devices.iter().map(|device| device.kind));
    length(out, flow.path.rules.len());
    flow.path.rules.iter().for_each(|rule| uuid(out, Uuid::from_bytes(rule.id)));
    length(out, flow.path.rules.len());
    out.extend(
        flow.path
            .rules
            .iter()
            .map(|rule| rule.result << 2 | u8::from(rule.matched) << 1 | u8::from(rule.applied)),
    );
    length(out, flow.out_ports.len());
    flow.out_ports.iter().for_each(|port| uuid(out, Uuid::from_bytes(*port)));
    bytes(out, &flow.actions);
}

/// An address as the table has it: IPv4 ones mapped, none as zeros.
pub fn address(address: Option<IpAddr>) -> Ipv6Addr {
    match address {
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
        Some(IpAddr::V6(address)) => address,
        None => Ipv6Addr::UNSPECIFIED,
    }
}

fn mac(mac: [u8; 6]) -> u64 {
    mac.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Two halves, each with its lowest byte first.
fn uuid(out: &mut Vec<u8>, id: Uuid) {
    let (high, low) = id.as_u64_pair();
    out.extend(high.to_le_bytes());
    out.extend(low.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    length(out, value.len());
    out.extend(value);
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}
