// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows and meter readings to rows of the server, and back.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    binary::{Reader, Writer, form},
    schema::FLOW_COLUMNS,
};
use crate::{
    StoreError,
    ids::{Cursor, SiteId},
    query::StoredFlow,
    row::{FlowId, FlowRow, Mac, MeterReading, Path, PathDevice, PathId, PathRule, Verdict},
    table::{by_id, check_flows, day_of, meter_rows, not_held},
};

/// Bits of a flow's number that are its place in its batch.
const PLACE: u32 = 24;

/// Rows of a batch.
pub(super) struct Encoded {
    pub(super) into: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Days and paths that are known once the rows are stored.
    pub(super) fresh: Vec<(i64, PathId)>,
}

/// Rows of a batch for `flows_in`, with the paths in it that were not known of their day.
pub(super) fn flows_in(
    site: SiteId,
    cursor: Cursor,
    rows: &[FlowRow],
    paths: &[Path],
    is_known: impl Fn(&(i64, PathId)) -> bool,
) -> Result<Encoded, StoreError> {
    check_flows(rows)?;
    if rows.len() >= 1 << PLACE {
        return Err(StoreError::Invalid(format!("a batch of {} flows", rows.len())));
    }
    let paths = by_id(paths)?;
    let mut fresh: BTreeMap<(i64, PathId), ()> = BTreeMap::new();
    let mut out = Vec::with_capacity(rows.len() * 500);
    let first = first_row(cursor);
    for (at, row) in rows.iter().enumerate() {
        let path = row.path.map(|path| paths.get(&path).copied().ok_or_else(|| not_held(path))).transpose()?;
        let key = row.path.map(|path| (day_of(row.time_us), path));
        let is_new = key.is_some_and(|key| !is_known(&key) && fresh.insert(key, ()).is_none());
        let mut writer = Writer(&mut out);
        writer.i64(row.time_us);
        flow(&mut writer, site, first | at as u64, row);
        met(&mut writer, row, path);
        writer.u8(u8::from(is_new));
        let none = Path::default();
        let content = path.filter(|_| is_new).unwrap_or(&none);
        writer.list(content.devices.iter(), |writer, device| writer.id(device.id));
        writer.list(content.devices.iter(), |writer, device| writer.u8(device.kind));
        writer.list(content.rules.iter(), |writer, rule| writer.id(rule.id));
        writer.list(content.rules.iter(), |writer, rule| writer.u8(rule.flags()));
    }
    Ok(Encoded {
        into: "flows_in",
        bytes: out,
        fresh: fresh.into_keys().collect(),
    })
}

/// Numbers of a batch's flows are made of its place in its stream, so a batch that comes again gets the same ones, whichever collector takes
/// it. Two flows of a site would share one only with the same time, the same place and the same 40 bits of the batches' hashes.
fn first_row(cursor: Cursor) -> u64 {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(cursor.stream.gateway.as_bytes());
    hash.update(cursor.stream.epoch.to_be_bytes());
    hash.update(cursor.sequence.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest.iter().take(5).fold(0, |number, byte| number << 8 | u64::from(*byte)) << PLACE
}

/// The columns of [`FLOW_COLUMNS`].
fn flow(writer: &mut Writer<'_>, site: SiteId, number: u64, row: &FlowRow) {
    let mac = |writer: &mut Writer<'_>, mac: Mac| writer.i64(mac.number());
    let text = |writer: &mut Writer<'_>, text: &str| writer.bytes(text.as_bytes());
    writer.u64(number);
    writer.id(row.gateway);
    writer.id(row.host);
    writer.u8(row.sim_result);
    writer.u8(row.verdict as u8);
    writer.u8(u8::from(row.transit));
    writer.u16(row.untrusted);
    writer.u64(row.cookie);
    writer.u32(row.dp_port);
    writer.maybe(row.in_port, Writer::id);
    writer.maybe(row.src_port, Writer::id);
    writer.maybe(row.dst_port, Writer::id);
    writer.maybe(row.src_tenant.as_deref(), text);
    writer.maybe(row.dst_tenant.as_deref(), text);
    writer.maybe(row.src_network, Writer::id);
    writer.maybe(row.dst_network, Writer::id);
    writer.maybe(row.src_mac, mac);
    writer.maybe(row.dst_mac, mac);
    writer.u16(row.ether_type);
    writer.list(row.vlans.iter(), |writer, vlan| writer.u16(*vlan));
    writer.maybe(row.src_ip, Writer::address);
    writer.maybe(row.dst_ip, Writer::address);
    writer.u8(row.proto);
    writer.u8(row.tos);
    writer.u8(row.ttl);
    writer.u16(row.src_tp);
    writer.u16(row.dst_tp);
    writer.u16(row.icmp_id);
    writer.bytes(&row.icmp_data);
    writer.u64(row.tunnel_key);
    writer.u32(row.tunnel_src);
    writer.u32(row.tunnel_dst);
    writer.maybe(row.rule, Writer::id);
    writer.maybe(row.path.map(|path| Uuid::from_bytes(path.0)), Writer::id);
    writer.list(row.out_ports.iter(), |writer, port| writer.id(*port));
    writer.bytes(&row.actions);
    writer.id(site.0);
}

/// A flow counts once for a device or a rule, however often it passes.
fn met(writer: &mut Writer<'_>, row: &FlowRow, path: Option<&Path>) {
    let mut devices: Vec<Uuid> = path.into_iter().flat_map(|path| path.devices.iter().map(|device| device.id)).collect();
    devices.extend(&row.out_ports);
    devices.sort_unstable();
    devices.dedup();
    let mut rules: BTreeMap<Uuid, u8> = BTreeMap::new();
    for rule in path.into_iter().flat_map(|path| &path.rules) {
        *rules.entry(rule.id).or_default() |= u8::from(rule.matched) | u8::from(rule.applied) << 1;
    }
    writer.list(devices.iter(), |writer, device| writer.id(*device));
    writer.list(rules.keys(), |writer, rule| writer.id(*rule));
    writer.list(rules.values(), |writer, met| writer.u8(*met));
}

/// What a question selects of flows, for [`stored_flow`].
pub(super) fn flow_columns() -> String {
    let names = FLOW_COLUMNS.map(|(name, _)| format!("`{name}`")).join(", ");
    format!("time, {names}")
}

pub(super) fn stored_flow(reader: &mut Reader<'_>) -> Result<StoredFlow, StoreError> {
    let mac = |reader: &mut Reader<'_>| reader.i64().map(Mac::from_number);
    let text = |reader: &mut Reader<'_>| reader.text().map(Into::into);
    let id = FlowId {
        time_us: reader.i64()?,
        row: reader.u64()?,
    };
    let row = FlowRow {
        time_us: id.time_us,
        gateway: reader.id()?,
        host: reader.id()?,
        sim_result: reader.u8()?,
        verdict: Verdict::from_number(reader.u8()?).ok_or_else(form)?,
        transit: reader.bool()?,
        untrusted: reader.u16()?,
        cookie: reader.u64()?,
        dp_port: reader.u32()?,
        in_port: reader.maybe(Reader::id)?,
        src_port: reader.maybe(Reader::id)?,
        dst_port: reader.maybe(Reader::id)?,
        src_tenant: reader.maybe(text)?,
        dst_tenant: reader.maybe(text)?,
        src_network: reader.maybe(Reader::id)?,
        dst_network: reader.maybe(Reader::id)?,
        src_mac: reader.maybe(mac)?,
        dst_mac: reader.maybe(mac)?,
        ether_type: reader.u16()?,
        vlans: reader.list(Reader::u16)?,
        src_ip: reader.maybe(Reader::address)?,
        dst_ip: reader.maybe(Reader::address)?,
        proto: reader.u8()?,
        tos: reader.u8()?,
        ttl: reader.u8()?,
        src_tp: reader.u16()?,
        dst_tp: reader.u16()?,
        icmp_id: reader.u16()?,
        icmp_data: reader.bytes()?.to_vec(),
        tunnel_key: reader.u64()?,
        tunnel_src: reader.u32()?,
        tunnel_dst: reader.u32()?,
        rule: reader.maybe(Reader::id)?,
        path: reader.maybe(Reader::id)?.map(|path| PathId(path.into_bytes())),
        out_ports: reader.list(Reader::id)?,
        actions: reader.bytes()?.to_vec(),
    };
    // The site.
    reader.id()?;
    Ok(StoredFlow { id, row })
}

/// `path, devices, kinds, rules, flags` of the path table.
pub(super) fn path(reader: &mut Reader<'_>) -> Result<(PathId, Path), StoreError> {
    let id = PathId(reader.id()?.into_bytes());
    let (devices, kinds) = (reader.list(Reader::id)?, reader.list(Reader::u8)?);
    let (rules, flags) = (reader.list(Reader::id)?, reader.list(Reader::u8)?);
    let path = Path {
        devices: devices.into_iter().zip(kinds).map(|(id, kind)| PathDevice { id, kind }).collect(),
        rules: rules.into_iter().zip(flags).map(|(id, flags)| PathRule::from_flags(id, flags)).collect(),
    };
    Ok((id, path))
}

/// Rows of a batch for `meters_in`.
pub(super) fn meters_in(site: SiteId, cursor: Cursor, readings: &[MeterReading]) -> Result<Encoded, StoreError> {
    let rows = meter_rows(readings)?;
    let mut out = Vec::with_capacity(rows.len() * 100);
    for (kind, id, name, reading, packets, bytes) in rows {
        let mut writer = Writer(&mut out);
        writer.id(site.0);
        writer.u8(kind);
        writer.id(Uuid::from_bytes(id));
        writer.maybe(name, |writer, name| writer.bytes(name.as_bytes()));
        writer.id(reading.host);
        writer.i64(reading.from_us);
        writer.i64(reading.to_us);
        writer.u64(packets);
        writer.u64(bytes);
        writer.id(cursor.stream.gateway);
    }
    Ok(Encoded {
        into: "meters_in",
        bytes: out,
        fresh: Vec::new(),
    })
}
