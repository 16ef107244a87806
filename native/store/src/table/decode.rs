// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Columns to rows.

use std::sync::Arc;

use datafusion::arrow::{
    array::{Array, ArrowPrimitiveType, AsArray, FixedSizeBinaryArray, GenericByteArray, ListArray, PrimitiveArray, RecordBatch},
    datatypes::{BinaryType, ByteArrayType, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Utf8Type},
};
use uuid::Uuid;

use super::actions::unfold;
use crate::{
    StoreError,
    filter::address_from,
    query::StoredFlow,
    row::{FlowId, FlowRow, Mac, Path, PathDevice, PathId, PathRule, Verdict},
};

/// The flows of a batch that has all columns, in its order.
pub(crate) fn flows(batch: &RecordBatch) -> Result<Vec<StoredFlow>, StoreError> {
    let columns = Columns(batch);
    let time = columns.numbers::<TimestampMicrosecondType>("time")?;
    let row = columns.numbers::<UInt64Type>("row")?;
    let gateway = columns.fixed("gateway")?;
    let host = columns.fixed("host")?;
    let sim_result = columns.numbers::<UInt8Type>("sim_result")?;
    let verdict = columns.numbers::<UInt8Type>("verdict")?;
    let transit = columns.get("transit")?.as_boolean_opt().ok_or_else(|| unexpected("transit"))?;
    let untrusted = columns.numbers::<UInt16Type>("untrusted")?;
    let cookie = columns.numbers::<UInt64Type>("cookie")?;
    let dp_port = columns.numbers::<UInt32Type>("dp_port")?;
    let in_port = columns.fixed("in_port")?;
    let src_port = columns.fixed("src_port")?;
    let dst_port = columns.fixed("dst_port")?;
    let src_tenant = columns.bytes::<Utf8Type>("src_tenant")?;
    let dst_tenant = columns.bytes::<Utf8Type>("dst_tenant")?;
    let src_network = columns.fixed("src_network")?;
    let dst_network = columns.fixed("dst_network")?;
    let src_mac = columns.numbers::<Int64Type>("src_mac")?;
    let dst_mac = columns.numbers::<Int64Type>("dst_mac")?;
    let ether_type = columns.numbers::<UInt16Type>("ether_type")?;
    let vlan = columns.numbers::<UInt16Type>("vlan")?;
    let vlans = columns.bytes::<BinaryType>("vlans")?;
    let src_ip = columns.fixed("src_ip")?;
    let dst_ip = columns.fixed("dst_ip")?;
    let proto = columns.numbers::<UInt8Type>("proto")?;
    let tos = columns.numbers::<UInt8Type>("tos")?;
    let ttl = columns.numbers::<UInt8Type>("ttl")?;
    let src_tp = columns.numbers::<UInt16Type>("src_tp")?;
    let dst_tp = columns.numbers::<UInt16Type>("dst_tp")?;
    let icmp_id = columns.numbers::<UInt16Type>("icmp_id")?;
    let icmp_data = columns.bytes::<BinaryType>("icmp_data")?;
    let tunnel_key = columns.numbers::<UInt64Type>("tunnel_key")?;
    let tunnel_src = columns.numbers::<UInt32Type>("tunnel_src")?;
    let tunnel_dst = columns.numbers::<UInt32Type>("tunnel_dst")?;
    let rule = columns.fixed("rule")?;
    let path = columns.fixed("path")?;
    let out_ports = columns.bytes::<BinaryType>("out_ports")?;
    let actions = columns.bytes::<BinaryType>("actions")?;

    let text = |column: &GenericByteArray<Utf8Type>, at: usize| column.is_valid(at).then(|| Arc::from(column.value(at)));
    let blob = |column: &GenericByteArray<BinaryType>, at: usize| if column.is_valid(at) { column.value(at).to_vec() } else { Vec::new() };
    Ok((0..batch.num_rows())
        .map(|at| StoredFlow {
            id: FlowId {
                time_us: time.value(at),
                row: row.value(at),
            },
            row: FlowRow {
                time_us: time.value(at),
                gateway: uuid_at(gateway, at),
                host: uuid_at(host, at),
                sim_result: sim_result.value(at),
                verdict: Verdict::from_number(verdict.value(at)).unwrap_or(Verdict::Allowed),
                transit: transit.value(at),
                untrusted: untrusted.value(at),
                cookie: cookie.value(at),
                dp_port: dp_port.value(at),
                in_port: fixed_at(in_port, at).map(Uuid::from_bytes),
                src_port: fixed_at(src_port, at).map(Uuid::from_bytes),
                dst_port: fixed_at(dst_port, at).map(Uuid::from_bytes),
                src_tenant: text(src_tenant, at),
                dst_tenant: text(dst_tenant, at),
                src_network: fixed_at(src_network, at).map(Uuid::from_bytes),
                dst_network: fixed_at(dst_network, at).map(Uuid::from_bytes),
                src_mac: src_mac.is_valid(at).then(|| Mac::from_number(src_mac.value(at))),
                dst_mac: dst_mac.is_valid(at).then(|| Mac::from_number(dst_mac.value(at))),
                ether_type: ether_type.value(at),
                vlans: if vlans.is_valid(at) {
                    vlans
                        .value(at)
                        .chunks_exact(2)
                        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                        .collect()
                } else {
                    vlan.is_valid(at).then(|| vlan.value(at)).into_iter().collect()
                },
                src_ip: fixed_at(src_ip, at).map(address_from),
                dst_ip: fixed_at(dst_ip, at).map(address_from),
                proto: proto.value(at),
                tos: tos.value(at),
                ttl: ttl.value(at),
                src_tp: src_tp.value(at),
                dst_tp: dst_tp.value(at),
                icmp_id: icmp_id.value(at),
                icmp_data: blob(icmp_data, at),
                tunnel_key: tunnel_key.value(at),
                tunnel_src: tunnel_src.value(at),
                tunnel_dst: tunnel_dst.value(at),
                rule: fixed_at(rule, at).map(Uuid::from_bytes),
                path: fixed_at(path, at).map(PathId),
                out_ports: ids_of(&blob(out_ports, at)),
                actions: Vec::new(),
            },
        })
        .enumerate()
        .map(|(at, mut flow)| {
            flow.row.actions = unfold(&flow.row, actions.value(at));
            flow
        })
        .collect())
}

/// Identities of the flows of a batch, in its order.
pub(crate) fn flow_ids(batch: &RecordBatch) -> Result<Vec<FlowId>, StoreError> {
    let columns = Columns(batch);
    let time = columns.numbers::<TimestampMicrosecondType>("time")?;
    let row = columns.numbers::<UInt64Type>("row")?;
    Ok((0..batch.num_rows())
        .map(|at| FlowId {
            time_us: time.value(at),
            row: row.value(at),
        })
        .collect())
}

/// Hands every path of a batch to `take`: its id, device ids and kinds, rule ids and flags.
pub(crate) fn paths(batch: &RecordBatch, mut take: impl FnMut(PathId, PathView<'_>)) -> Result<(), StoreError> {
    let columns = Columns(batch);
    let id = columns.fixed("path")?;
    let lists = |name| {
        let list: &ListArray = columns.get(name)?.as_list_opt().ok_or_else(|| unexpected(name))?;
        let values = list
            .values()
            .as_any()
            .downcast_ref::<FixedSizeBinaryArray>()
            .ok_or_else(|| unexpected(name))?;
        Ok::<_, StoreError>((list, values))
    };
    let (devices, device_ids) = lists("devices")?;
    let (rules, rule_ids) = lists("rules")?;
    let device_kinds = columns.bytes::<BinaryType>("device_kinds")?;
    let rule_flags = columns.bytes::<BinaryType>("rule_flags")?;
    for at in 0..batch.num_rows() {
        let Some(path) = fixed_at(id, at).map(PathId) else { continue };
        let span = |list: &ListArray| list.value_offsets()[at] as usize..list.value_offsets()[at + 1] as usize;
        let view = PathView {
            devices: span(devices),
            device_ids,
            device_kinds: device_kinds.value(at),
            rules: span(rules),
            rule_ids,
            rule_flags: rule_flags.value(at),
        };
        take(path, view);
    }
    Ok(())
}

/// One path in the columns of a batch.
pub(crate) struct PathView<'a> {
    devices: std::ops::Range<usize>,
    device_ids: &'a FixedSizeBinaryArray,
    device_kinds: &'a [u8],
    rules: std::ops::Range<usize>,
    rule_ids: &'a FixedSizeBinaryArray,
    rule_flags: &'a [u8],
}

impl PathView<'_> {
    pub(crate) fn has_device(&self, id: &Uuid) -> bool {
        self.devices.clone().any(|at| self.device_ids.value(at) == id.as_bytes())
    }

    pub(crate) fn has_rule(&self, id: &Uuid, matched: bool) -> bool {
        self.rules().any(|rule| rule.id == *id && (rule.matched || !matched))
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = PathRule> {
        self.rules
            .clone()
            .zip(self.rule_flags)
            .map(|(at, flags)| PathRule::from_flags(uuid_at(self.rule_ids, at), *flags))
    }

    pub(crate) fn to_path(&self) -> Path {
        let devices = self.devices.clone().zip(self.device_kinds);
        Path {
            devices: devices
                .map(|(at, kind)| PathDevice {
                    id: uuid_at(self.device_ids, at),
                    kind: *kind,
                })
                .collect(),
            rules: self.rules().collect(),
        }
    }
}

/// Columns by name, of the type that this version writes.
pub(crate) struct Columns<'a>(pub(crate) &'a RecordBatch);

impl<'a> Columns<'a> {
    pub(crate) fn get(&self, name: &'static str) -> Result<&'a dyn Array, StoreError> {
        self.0.column_by_name(name).map(|column| column.as_ref()).ok_or_else(|| unexpected(name))
    }

    pub(crate) fn numbers<T: ArrowPrimitiveType>(&self, name: &'static str) -> Result<&'a PrimitiveArray<T>, StoreError> {
        self.get(name)?.as_primitive_opt::<T>().ok_or_else(|| unexpected(name))
    }

    pub(crate) fn fixed(&self, name: &'static str) -> Result<&'a FixedSizeBinaryArray, StoreError> {
        self.get(name)?.as_fixed_size_binary_opt().ok_or_else(|| unexpected(name))
    }

    pub(crate) fn bytes<T: ByteArrayType>(&self, name: &'static str) -> Result<&'a GenericByteArray<T>, StoreError> {
        self.get(name)?.as_bytes_opt::<T>().ok_or_else(|| unexpected(name))
    }
}

/// The 16 bytes at a place, if there are any.
pub(crate) fn fixed_at(column: &FixedSizeBinaryArray, at: usize) -> Option<[u8; 16]> {
    column.is_valid(at).then(|| column.value(at).try_into().unwrap_or_default())
}

fn uuid_at(column: &FixedSizeBinaryArray, at: usize) -> Uuid {
    Uuid::from_bytes(column.value(at).try_into().unwrap_or_default())
}

fn ids_of(bytes: &[u8]) -> Vec<Uuid> {
    bytes
        .chunks_exact(16)
        .map(|chunk| Uuid::from_bytes(chunk.try_into().unwrap_or_default()))
        .collect()
}

fn unexpected(name: &'static str) -> StoreError {
    StoreError::columns("read columns", format!("column {name} is missing or of another type"))
}
