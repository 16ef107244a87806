// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Rows to columns. Bounds are checked here, before anything is written.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion::arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, PrimitiveBuilder, RecordBatch, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    datatypes::{ArrowPrimitiveType, DataType, Field, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};
use uuid::Uuid;

use super::{COVERAGE, TableKind, actions, columns::meter_columns, day_of};
use crate::{
    StoreError,
    filter::address_bytes,
    row::{FlowRow, MeterKey, MeterReading, Path, PathId},
};

/// Refuses flows beyond their bounds.
pub(crate) fn check_flows(rows: &[FlowRow]) -> Result<(), StoreError> {
    for row in rows {
        let fits = row.vlans.len() <= FlowRow::MAX_VLANS
            && row.out_ports.len() <= FlowRow::MAX_OUT_PORTS
            && row.actions.len() <= FlowRow::MAX_BLOB_BYTES
            && row.icmp_data.len() <= FlowRow::MAX_BLOB_BYTES;
        if !fits {
            return Err(StoreError::Invalid(
                "a flow has a longer list than any record of an agent can hold".into(),
            ));
        }
    }
    check_times(rows.iter().map(|row| row.time_us))
}

/// Columns of flows; rows get the numbers from `first_row` on.
pub(crate) fn flow_batch(rows: &[FlowRow], first_row: u64) -> Result<RecordBatch, StoreError> {
    check_flows(rows)?;
    let columns: Vec<ArrayRef> = vec![
        times(rows.iter().map(|row| row.time_us)),
        numbers::<UInt64Type>((first_row..).take(rows.len())),
        ids(rows.iter().map(|row| Some(row.gateway)))?,
        ids(rows.iter().map(|row| Some(row.host)))?,
        numbers::<UInt8Type>(rows.iter().map(|row| row.sim_result)),
        numbers::<UInt8Type>(rows.iter().map(|row| row.verdict as u8)),
        flags(rows.iter().map(|row| row.transit)),
        numbers::<UInt16Type>(rows.iter().map(|row| row.untrusted)),
        numbers::<UInt64Type>(rows.iter().map(|row| row.cookie)),
        numbers::<UInt32Type>(rows.iter().map(|row| row.dp_port)),
        ids(rows.iter().map(|row| row.in_port))?,
        ids(rows.iter().map(|row| row.src_port))?,
        ids(rows.iter().map(|row| row.dst_port))?,
        texts(rows.iter().map(|row| row.src_tenant.as_deref())),
        texts(rows.iter().map(|row| row.dst_tenant.as_deref())),
        ids(rows.iter().map(|row| row.src_network))?,
        ids(rows.iter().map(|row| row.dst_network))?,
        maybe_numbers::<Int64Type>(rows.iter().map(|row| row.src_mac.map(|mac| mac.number()))),
        maybe_numbers::<Int64Type>(rows.iter().map(|row| row.dst_mac.map(|mac| mac.number()))),
        numbers::<UInt16Type>(rows.iter().map(|row| row.ether_type)),
        maybe_numbers::<UInt16Type>(rows.iter().map(|row| row.vlans.first().copied())),
        blobs(
            rows.iter()
                .map(|row| (row.vlans.len() > 1).then(|| row.vlans.iter().flat_map(|vlan| vlan.to_be_bytes()).collect::<Vec<u8>>())),
        ),
        fixed(rows.iter().map(|row| row.src_ip.map(address_bytes)))?,
        fixed(rows.iter().map(|row| row.dst_ip.map(address_bytes)))?,
        numbers::<UInt8Type>(rows.iter().map(|row| row.proto)),
        numbers::<UInt8Type>(rows.iter().map(|row| row.tos)),
        numbers::<UInt8Type>(rows.iter().map(|row| row.ttl)),
        numbers::<UInt16Type>(rows.iter().map(|row| row.src_tp)),
        numbers::<UInt16Type>(rows.iter().map(|row| row.dst_tp)),
        numbers::<UInt16Type>(rows.iter().map(|row| row.icmp_id)),
        blobs(rows.iter().map(|row| (!row.icmp_data.is_empty()).then_some(&row.icmp_data))),
        numbers::<UInt64Type>(rows.iter().map(|row| row.tunnel_key)),
        numbers::<UInt32Type>(rows.iter().map(|row| row.tunnel_src)),
        numbers::<UInt32Type>(rows.iter().map(|row| row.tunnel_dst)),
        ids(rows.iter().map(|row| row.rule))?,
        fixed(rows.iter().map(|row| row.path.map(|path| path.0)))?,
        blobs(
            rows.iter()
                .map(|row| (!row.out_ports.is_empty()).then(|| row.out_ports.iter().flat_map(|port| port.into_bytes()).collect::<Vec<u8>>())),
        ),
        blobs(rows.iter().map(|row| Some(actions::fold(row)))),
    ];
    batch(TableKind::Flows, columns)
}

/// Columns of the paths that flows name and that are not `known` of their day yet, with the days and ids of these. `None` when all are.
#[allow(clippy::type_complexity, reason = "a pair used once")]
pub(crate) fn path_batch(
    rows: &[FlowRow],
    paths: &[Path],
    known: impl Fn(i64, PathId) -> bool,
) -> Result<Option<(RecordBatch, Vec<(i64, PathId)>)>, StoreError> {
    let content = by_id(paths)?;
    let mut seen = HashSet::new();
    let mut new = Vec::new();
    for row in rows {
        let Some(id) = row.path else { continue };
        let key = (day_of(row.time_us), id);
        if !seen.insert(key) {
            continue;
        }
        let path = content.get(&id).ok_or_else(|| not_held(id))?;
        if !known(key.0, id) {
            new.push((row.time_us, id, *path));
        }
    }
    if new.is_empty() {
        return Ok(None);
    }
    let columns: Vec<ArrayRef> = vec![
        times(new.iter().map(|(time, ..)| *time)),
        fixed(new.iter().map(|(_, id, _)| Some(id.0)))?,
        id_lists(new.iter().map(|(.., path)| path.devices.iter().map(|device| device.id)))?,
        blobs(
            new.iter()
                .map(|(.., path)| Some(path.devices.iter().map(|device| device.kind).collect::<Vec<u8>>())),
        ),
        id_lists(new.iter().map(|(.., path)| path.rules.iter().map(|rule| rule.id)))?,
        blobs(
            new.iter()
                .map(|(.., path)| Some(path.rules.iter().map(|rule| rule.flags()).collect::<Vec<u8>>())),
        ),
    ];
    let keys = new.iter().map(|(time, id, _)| (day_of(*time), *id)).collect();
    Ok(Some((batch(TableKind::Paths, columns)?, keys)))
}

/// Paths of a batch, each within its bounds.
pub(crate) fn by_id(paths: &[Path]) -> Result<HashMap<PathId, &Path>, StoreError> {
    let mut content = HashMap::with_capacity(paths.len());
    for path in paths {
        if path.devices.len() > Path::MAX_LENGTH || path.rules.len() > Path::MAX_LENGTH {
            return Err(StoreError::Invalid("a path is longer than any record of an agent can hold".into()));
        }
        content.insert(path.id(), path);
    }
    Ok(content)
}

pub(crate) fn not_held(path: PathId) -> StoreError {
    StoreError::Invalid(format!("a flow names the path {path}, which its batch does not hold"))
}

/// Rows of meter readings: one for each reading as a whole, and one for each meter that moved.
pub(crate) fn meter_rows(readings: &[MeterReading]) -> Result<Vec<MeterColumns<'_>>, StoreError> {
    check_times(readings.iter().flat_map(|reading| [reading.from_us, reading.to_us]))?;
    let mut rows: Vec<MeterColumns<'_>> = Vec::new();
    for reading in readings {
        if reading.from_us >= reading.to_us {
            return Err(StoreError::Invalid("a meter reading must end after it begins".into()));
        }
        if reading.to_us - reading.from_us > MeterReading::MAX_SPAN_US {
            return Err(StoreError::Invalid("a meter reading covers more than 32 days".into()));
        }
        rows.push((COVERAGE, reading.host.into_bytes(), None, reading, 0, 0));
        for meter in &reading.meters {
            if let MeterKey::User(name) | MeterKey::Other(name) = &meter.key
                && name.len() > MeterKey::MAX_NAME_BYTES
            {
                return Err(StoreError::Invalid(format!(
                    "a meter's name has {} bytes, at most {} are kept",
                    name.len(),
                    MeterKey::MAX_NAME_BYTES
                )));
            }
            let (kind, id, name) = meter_columns(&meter.key);
            rows.push((kind, id, name, reading, meter.packets, meter.bytes));
        }
    }
    Ok(rows)
}

/// Columns of meter readings.
pub(crate) fn meter_batch(readings: &[MeterReading]) -> Result<RecordBatch, StoreError> {
    let rows = meter_rows(readings)?;
    let columns: Vec<ArrayRef> = vec![
        numbers::<UInt8Type>(rows.iter().map(|row| row.0)),
        fixed(rows.iter().map(|row| Some(row.1)))?,
        texts(rows.iter().map(|row| row.2)),
        ids(rows.iter().map(|row| Some(row.3.host)))?,
        times(rows.iter().map(|row| row.3.from_us)),
        times(rows.iter().map(|row| row.3.to_us)),
        numbers::<UInt64Type>(rows.iter().map(|row| row.4)),
        numbers::<UInt64Type>(rows.iter().map(|row| row.5)),
    ];
    batch(TableKind::Meters, columns)
}

/// Refuses times that no clock shows, and batches that would be spread over many files: each day has one.
fn check_times(times: impl Iterator<Item = i64>) -> Result<(), StoreError> {
    let mut days = HashSet::new();
    for time in times {
        if !(0..FlowRow::END_OF_TIME_US).contains(&time) {
            return Err(StoreError::Invalid(format!("{time} µs since the epoch is before 1970 or after 2099")));
        }
        days.insert(day_of(time));
    }
    if days.len() > FlowRow::MAX_BATCH_DAYS {
        return Err(StoreError::Invalid(format!(
            "a batch with rows of {} days, at most {} are taken",
            days.len(),
            FlowRow::MAX_BATCH_DAYS
        )));
    }
    Ok(())
}

/// Kind, id and name of a meter, its reading, packets, bytes.
pub(crate) type MeterColumns<'a> = (u8, [u8; 16], Option<&'a str>, &'a MeterReading, u64, u64);

fn batch(kind: TableKind, columns: Vec<ArrayRef>) -> Result<RecordBatch, StoreError> {
    RecordBatch::try_new(kind.schema(), columns).map_err(|source| StoreError::columns("build columns", source))
}

fn times(values: impl ExactSizeIterator<Item = i64>) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::with_capacity(values.len()).with_timezone("UTC");
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

fn numbers<T: ArrowPrimitiveType>(values: impl Iterator<Item = T::Native>) -> ArrayRef {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.size_hint().0);
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

fn maybe_numbers<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<T::Native>>) -> ArrayRef {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.size_hint().0);
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn flags(values: impl Iterator<Item = bool>) -> ArrayRef {
    let mut builder = BooleanBuilder::with_capacity(values.size_hint().0);
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    // The builders' own guess is 1 KiB a column, too much for a batch of a few rows.
    let mut builder = StringBuilder::with_capacity(values.size_hint().0, 0);
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn blobs<B: AsRef<[u8]>>(values: impl Iterator<Item = Option<B>>) -> ArrayRef {
    let mut builder = BinaryBuilder::with_capacity(values.size_hint().0, 0);
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn ids(values: impl ExactSizeIterator<Item = Option<Uuid>>) -> Result<ArrayRef, StoreError> {
    fixed(values.map(|value| value.map(Uuid::into_bytes)))
}

fn fixed(values: impl ExactSizeIterator<Item = Option<[u8; 16]>>) -> Result<ArrayRef, StoreError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), 16);
    for value in values {
        match value {
            Some(value) => builder.append_value(value).map_err(|source| StoreError::columns("build ids", source))?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn id_lists<I: Iterator<Item = Uuid>>(lists: impl Iterator<Item = I>) -> Result<ArrayRef, StoreError> {
    let item = Field::new_list_field(DataType::FixedSizeBinary(16), false);
    let rows = lists.size_hint().0;
    let mut builder = ListBuilder::with_capacity(FixedSizeBinaryBuilder::with_capacity(0, 16), rows).with_field(Arc::new(item));
    for list in lists {
        for id in list {
            builder
                .values()
                .append_value(id.as_bytes())
                .map_err(|source| StoreError::columns("build ids", source))?;
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
