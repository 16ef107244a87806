// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::{BTreeMap, HashMap, HashSet};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array},
        compute::cast as cast_array,
        datatypes::{BinaryType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType, UInt8Type},
    },
    functions_aggregate::expr_fn::{count, max, sum},
    logical_expr::{Expr, cast, ident, lit, when},
    prelude::DataFrame,
};
use futures::TryStreamExt;

use super::pairs::{Others, Row, batch_of, cut};
use crate::{
    StoreError,
    ids::Grain,
    query::{Engine, Run, SiteTable, failed, scan_paths},
    row::{FlowRow, PathId},
    table::{Facet, Snapshot, TableKind, columns_of, fixed_at},
};

/// Rows of both roll-ups of these records, in no order. `paths` holds every path that they name.
///
/// Bounded by the rows that are flushed at once ([`crate::StoreOptions::flush_rows`]).
pub(crate) fn roll_flows(engine: &Engine, records: Snapshot, paths: Snapshot) -> Result<[(TableKind, Vec<RecordBatch>); 2], StoreError> {
    engine.run_now(async |run| {
        let mut minutes = cube(&run, records.clone()).await?;
        let met = met(&run, records.clone(), paths).await?;
        minutes.push(batch_of(TableKind::FlowMinutes, &met)?);
        let mut hours = by_the_hour(&run, &minutes).await?;
        let pairs = pairs(&run, records).await?;
        minutes.push(batch_of(TableKind::FlowMinutes, &greatest(&pairs, Grain::Minutes))?);
        hours.push(batch_of(TableKind::FlowHours, &greatest(&pairs, Grain::Hours))?);
        Ok([(TableKind::FlowMinutes, minutes), (TableKind::FlowHours, hours)])
    })
}

/// Begin of the span that a row's time is in.
fn span(level: Grain) -> Expr {
    let step = lit(level.step_us());
    let begin = cast(ident("time"), DataType::Int64) / step.clone() * step;
    cast(begin, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).alias("time")
}

/// Flows that agree in all columns that are kept.
async fn cube(run: &Run, records: Snapshot) -> Result<Vec<RecordBatch>, StoreError> {
    let mut groups = vec![span(Grain::Minutes)];
    let plain = [
        "verdict",
        "transit",
        "src_tenant",
        "dst_tenant",
        "src_network",
        "dst_network",
        "host",
        "gateway",
        "rule",
        "proto",
        "ether_type",
        "sim_result",
    ];
    groups.extend(plain.map(ident));
    for port in ["src_tp", "dst_tp"] {
        let known = when(ident(port).lt(lit(FlowRow::EPHEMERAL)), ident(port)).end().map_err(failed)?;
        groups.push(known.alias(port));
    }
    let sums = vec![count(lit(1_i64)).alias("flows"), max(ident("time")).alias("last")];
    let frame = grouped(run, records, groups, sums)?;
    let mut out = Vec::new();
    for batch in collect(run, frame).await? {
        out.push(shaped(TableKind::FlowMinutes, &batch)?);
    }
    Ok(out)
}

/// Devices and rules that flows met, by the minute.
async fn met(run: &Run, records: Snapshot, paths: Snapshot) -> Result<Vec<Row>, StoreError> {
    let groups = vec![
        span(Grain::Minutes),
        ident("verdict"),
        ident("transit"),
        ident("path"),
        ident("out_ports"),
    ];
    let sums = vec![count(lit(1_i64)).alias("flows"), max(ident("time")).alias("last")];
    let frame = grouped(run, records, groups, sums)?;
    let batches = collect(run, frame).await?;
    let mut named: HashSet<[u8; 16]> = HashSet::new();
    for batch in &batches {
        let path = columns_of(batch).fixed("path")?;
        named.extend((0..path.len()).filter_map(|at| fixed_at(path, at)));
    }
    let contents = contents(run, paths, named).await?;
    let mut rows: HashMap<(u8, [u8; 16], i64, u8, bool), Row> = HashMap::new();
    let mut devices: Vec<[u8; 16]> = Vec::new();
    for batch in &batches {
        let columns = columns_of(batch);
        let (time, last) = (
            columns.numbers::<TimestampMicrosecondType>("time")?,
            columns.numbers::<TimestampMicrosecondType>("last")?,
        );
        let (verdict, transit) = (columns.numbers::<UInt8Type>("verdict")?, columns.get("transit")?.as_boolean());
        let (path, out_ports) = (columns.fixed("path")?, columns.bytes::<BinaryType>("out_ports")?);
        let flows = columns.numbers::<Int64Type>("flows")?;
        for at in 0..batch.num_rows() {
            let content = fixed_at(path, at).and_then(|path| contents.get(&path));
            let mut add = |facet: Facet, id: [u8; 16], matched: bool, applied: bool| {
                let (time_us, verdict, transit) = (time.value(at), verdict.value(at), transit.value(at));
                let row = rows.entry((facet as u8, id, time_us, verdict, transit)).or_insert_with(|| Row {
                    facet: facet as u8,
                    id: Some(id),
                    time_us,
                    verdict,
                    transit,
                    ..Row::default()
                });
                row.flows += flows.value(at);
                row.last_us = row.last_us.max(last.value(at));
                if matched {
                    row.matched += flows.value(at);
                    row.last_matched_us = row.last_matched_us.max(Some(last.value(at)));
                }
                row.applied += if applied { flows.value(at) } else { 0 };
            };
            // A flow counts once for a device, however often it passes.
            devices.clear();
            devices.extend(content.into_iter().flat_map(|content| &content.devices));
            if out_ports.is_valid(at) {
                devices.extend(out_ports.value(at).chunks_exact(16).filter_map(|port| <[u8; 16]>::try_from(port).ok()));
            }
            devices.sort_unstable();
            devices.dedup();
            devices.iter().for_each(|id| add(Facet::Devices, *id, false, false));
            for (id, (matched, applied)) in content.into_iter().flat_map(|content| &content.rules) {
                add(Facet::Rules, *id, *matched, *applied);
            }
        }
    }
    Ok(rows.into_values().collect())
}

/// What a path is rolled up to: its devices, and its rules with "matched" and "applied" if they ever were on it.
struct Content {
    devices: Vec<[u8; 16]>,
    rules: BTreeMap<[u8; 16], (bool, bool)>,
}

async fn contents(run: &Run, paths: Snapshot, mut named: HashSet<[u8; 16]>) -> Result<HashMap<[u8; 16], Content>, StoreError> {
    let mut contents = HashMap::with_capacity(named.len());
    if named.is_empty() {
        return Ok(contents);
    }
    let only: Option<Vec<PathId>> = (named.len() <= FEW_PATHS).then(|| named.iter().copied().map(PathId).collect());
    scan_paths(run, paths, only.as_deref(), |path, content| {
        if named.remove(&path.0) {
            let mut rules: BTreeMap<[u8; 16], (bool, bool)> = BTreeMap::new();
            for rule in content.rules() {
                let flags = rules.entry(rule.id.into_bytes()).or_default();
                flags.0 |= rule.matched;
                flags.1 |= rule.applied;
            }
            let devices = content.to_path().devices.iter().map(|device| device.id.into_bytes()).collect();
            contents.insert(path.0, Content { devices, rules });
        }
        Ok(())
    })
    .await?;
    if !named.is_empty() {
        return Err(StoreError::columns(
            "roll flows up",
            format!("{} of their paths are not stored", named.len()),
        ));
    }
    Ok(contents)
}

/// So many paths are looked for by id; for more of them it is quicker to read all.
const FEW_PATHS: usize = 1_000;

/// The same rows, by the hour.
async fn by_the_hour(run: &Run, minutes: &[RecordBatch]) -> Result<Vec<RecordBatch>, StoreError> {
    let schema = TableKind::FlowHours.schema();
    let (keys, values) = schema.fields().split_at(TableKind::FlowHours.keys());
    let groups = keys.iter().map(|field| {
        if field.name() == "time" {
            span(Grain::Hours)
        } else {
            ident(field.name())
        }
    });
    let sums = values.iter().map(|field| {
        let column = ident(field.name());
        let folded = if field.data_type() == &DataType::Int64 {
            sum(column)
        } else {
            max(column)
        };
        folded.alias(field.name())
    });
    let frame = run.rows(TableKind::FlowMinutes.schema(), minutes.to_vec())?;
    let frame = frame.aggregate(groups.collect(), sums.collect()).map_err(failed)?;
    collect(run, frame)
        .await?
        .iter()
        .map(|batch| shaped(TableKind::FlowHours, batch))
        .collect()
}

/// Span, verdict and transit, then the addresses.
type Pair = (i64, u8, bool, Option<[u8; 16]>, Option<[u8; 16]>);

/// Flows between addresses by the minute, with the last of them.
async fn pairs(run: &Run, records: Snapshot) -> Result<Vec<(Pair, i64, i64)>, StoreError> {
    let groups = vec![span(Grain::Minutes), ident("verdict"), ident("transit"), ident("src_ip"), ident("dst_ip")];
    let sums = vec![count(lit(1_i64)).alias("flows"), max(ident("time")).alias("last")];
    let frame = grouped(run, records, groups, sums)?;
    let mut out = Vec::new();
    for batch in collect(run, frame).await? {
        let columns = columns_of(&batch);
        let (time, last) = (
            columns.numbers::<TimestampMicrosecondType>("time")?,
            columns.numbers::<TimestampMicrosecondType>("last")?,
        );
        let (verdict, transit) = (columns.numbers::<UInt8Type>("verdict")?, columns.get("transit")?.as_boolean());
        let (src_ip, dst_ip) = (columns.fixed("src_ip")?, columns.fixed("dst_ip")?);
        let flows = columns.numbers::<Int64Type>("flows")?;
        out.extend((0..batch.num_rows()).map(|at| {
            let pair = (
                time.value(at),
                verdict.value(at),
                transit.value(at),
                fixed_at(src_ip, at),
                fixed_at(dst_ip, at),
            );
            (pair, flows.value(at), last.value(at))
        }));
    }
    Ok(out)
}

/// The pairs with the most flows of each span, and the sums of the others.
fn greatest(pairs: &[(Pair, i64, i64)], level: Grain) -> Vec<Row> {
    let step = level.step_us();
    let mut sums: HashMap<Pair, (i64, i64)> = HashMap::new();
    for ((time_us, verdict, transit, src_ip, dst_ip), flows, last_us) in pairs {
        let span = time_us.div_euclid(step) * step;
        let sum = sums.entry((span, *verdict, *transit, *src_ip, *dst_ip)).or_default();
        sum.0 += flows;
        sum.1 = sum.1.max(*last_us);
    }
    let mut groups: BTreeMap<(i64, u8, bool), Vec<Row>> = BTreeMap::new();
    for ((time_us, verdict, transit, src_ip, dst_ip), (flows, last_us)) in sums {
        groups.entry((time_us, verdict, transit)).or_default().push(Row {
            facet: Facet::Pairs as u8,
            time_us,
            verdict,
            transit,
            src_ip,
            dst_ip,
            flows,
            last_us,
            ..Row::default()
        });
    }
    let mut others = Others::default();
    let mut out = Vec::new();
    groups.into_values().for_each(|group| cut(group, &mut others, &mut out));
    out.extend(others.into_rows());
    out
}

fn grouped(run: &Run, records: Snapshot, groups: Vec<Expr>, sums: Vec<Expr>) -> Result<DataFrame, StoreError> {
    let table = SiteTable::grouped(TableKind::Flows, records, run.threads());
    run.table(table)?.aggregate(groups, sums).map_err(failed)
}

async fn collect(run: &Run, frame: DataFrame) -> Result<Vec<RecordBatch>, StoreError> {
    run.stream(frame).await?.try_collect().await.map_err(failed)
}

/// The columns of the table, by name. What is missing has none of it: null, or zero where null can't be.
fn shaped(kind: TableKind, batch: &RecordBatch) -> Result<RecordBatch, StoreError> {
    let schema = kind.schema();
    let failed = |source| StoreError::columns("build roll-ups", source);
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            if let Some(column) = batch.column_by_name(field.name()) {
                return cast_array(column, field.data_type()).map_err(failed);
            }
            let rows = batch.num_rows();
            let column: ArrayRef = match field.data_type() {
                DataType::Int64 => std::sync::Arc::new(datafusion::arrow::array::Int64Array::from(vec![0; rows])),
                DataType::UInt8 if !field.is_nullable() => {
                    std::sync::Arc::new(datafusion::arrow::array::UInt8Array::from(vec![Facet::Flows as u8; rows]))
                }
                other => new_null_array(other, rows),
            };
            Ok(column)
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    RecordBatch::try_new(schema, columns).map_err(failed)
}
