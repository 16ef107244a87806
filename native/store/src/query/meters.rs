// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Meters over time. A reading says what was counted in a span, so its counts are spread evenly over it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, RecordBatch},
        datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt64Type, Utf8Type},
    },
    functions_aggregate::expr_fn::{max, sum},
    logical_expr::{Expr, cast, ident, lit, when},
    prelude::DataFrame,
};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{
    MeterPoint, MeterQuery, MeterSeries, MeterTotal, Scanned, SiteTable, TotalsOf, TotalsQuery, View,
    compile::{id, in_period, time},
    engine::{Run, failed},
    groups::{Bins, note},
    levels::{METERS, Part, Plan},
};
use crate::{
    StoreError,
    ids::Period,
    row::MeterKey,
    table::{COVERAGE, TableKind, columns_of, each_meter, fixed_at, meter_columns, meter_key},
};

/// Points of one answer, over all keys: some 64 MB.
const MAX_POINTS: usize = 2_000_000;

/// Readings of one answer that are held while it is made.
const MAX_READINGS: usize = 5_000_000;

/// `kind` and `id` of a meter.
pub(crate) type Column = (u8, [u8; 16]);

#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// What of it counts: other rows have the rest.
    pub(crate) within: Period,
    /// A sum over a span of a roll-up.
    pub(crate) is_sum: bool,
}

/// What was read of the meters of a question.
#[derive(Default)]
pub(crate) struct Readings {
    readings: HashMap<Column, Vec<Reading>>,
    hosts: HashMap<Column, BTreeSet<[u8; 16]>>,
    held: usize,
}

impl Readings {
    pub(crate) fn add(&mut self, meter: Column, host: [u8; 16], reading: Reading) -> Result<(), StoreError> {
        self.readings.entry(meter).or_default().push(reading);
        self.hosts.entry(meter).or_default().insert(host);
        self.held += 1;
        bounded(self.held)
    }

    /// The hosts whose coverage is needed; `None` for all of them, since a meter that no host counted in the period may belong to any.
    pub(crate) fn hosts(&self, keys: &[MeterKey]) -> Option<BTreeSet<[u8; 16]>> {
        let all_seen = keys.iter().all(|key| {
            let (kind, id, _) = meter_columns(key);
            self.hosts.contains_key(&(kind, id))
        });
        all_seen.then(|| self.hosts.values().flatten().copied().collect())
    }
}

/// Traffic of meters over time.
pub(crate) async fn meter_series(run: Run, view: Arc<dyn View>, query: MeterQuery) -> Result<Vec<MeterSeries>, StoreError> {
    let bins = check_points(&query)?;
    let plan = Plan::choose(view.as_ref(), &METERS, query.period, Some(query.step_us));
    note(&run, &plan, query.period);
    let mut readings = Readings::default();
    read(&run, &plan.parts, &these(&query.keys), |meter, host, reading| {
        readings.add(meter, host, reading)
    })
    .await?;
    let mut covered = Coverage::default();
    let mut wanted = ident("kind").eq(lit(COVERAGE));
    if let Some(only) = readings.hosts(&query.keys) {
        wanted = wanted.and(ident("id").in_list(only.into_iter().map(id).collect(), false));
    }
    read(&run, &plan.parts, &wanted, |(_, host), _, reading| covered.add(host, reading)).await?;
    Ok(series_of(query, &bins, plan.period, readings, &covered))
}

/// The bins of a question that keeps its bounds.
pub(crate) fn check_points(query: &MeterQuery) -> Result<Bins, StoreError> {
    check_keys(&query.keys)?;
    let bins = Bins::new(query.period, query.step_us)?;
    if bins.count as usize * query.keys.len() > MAX_POINTS {
        return Err(StoreError::Invalid(format!(
            "{} meters in {} points are more than {MAX_POINTS}",
            query.keys.len(),
            bins.count
        )));
    }
    Ok(bins)
}

/// The points of each meter, from what was read of them and of their hosts.
pub(crate) fn series_of(query: MeterQuery, bins: &Bins, about: Period, read: Readings, covered: &Coverage) -> Vec<MeterSeries> {
    let Readings { mut readings, hosts, .. } = read;
    let mut out = Vec::with_capacity(query.keys.len());
    for key in query.keys {
        let (kind, id, _) = meter_columns(&key);
        let mut points: Vec<MeterPoint> = (0..bins.count)
            .map(|at| MeterPoint {
                start_us: bins.start(at),
                ..MeterPoint::default()
            })
            .collect();
        for reading in readings.remove(&(kind, id)).unwrap_or_default() {
            let length = (reading.to_us - reading.from_us) as f64;
            spread(bins, reading.within, reading.from_us, reading.to_us, |at, overlap| {
                let share = overlap as f64 / length;
                points[at].packets += reading.packets as f64 * share;
                points[at].bytes += reading.bytes as f64 * share;
            });
        }
        let hosts = hosts.get(&(kind, id));
        for (from_us, to_us) in covered.of(hosts) {
            spread(bins, about, from_us, to_us, |at, overlap| points[at].covered_us += overlap);
        }
        for (time_us, covered_us) in covered.sums_of(hosts) {
            if let Some(point) = usize::try_from(bins.index(time_us)).ok().and_then(|at| points.get_mut(at)) {
                point.covered_us = (point.covered_us + covered_us).min(query.step_us);
            }
        }
        out.push(MeterSeries { key, points });
    }
    out
}

/// Sums of meters.
pub(crate) async fn meter_totals(run: Run, view: Arc<dyn View>, query: TotalsQuery) -> Result<Vec<MeterTotal>, StoreError> {
    let wanted = match &query.of {
        TotalsOf::Keys(keys) => {
            check_keys(keys)?;
            these(keys)
        }
        TotalsOf::AllPorts => ident("kind").in_list(vec![lit(1_u8), lit(2_u8)], false),
        TotalsOf::AllDevices => ident("kind").eq(lit(3_u8)),
        TotalsOf::AllTunnels => ident("kind").eq(lit(4_u8)),
    };
    let plan = Plan::choose(view.as_ref(), &METERS, query.period, None);
    note(&run, &plan, query.period);
    let moved = ident("packets").gt(lit(0_u64)).or(ident("bytes").gt(lit(0_u64)));
    let mut all: Option<DataFrame> = None;
    let mut totals: BTreeMap<Column, MeterTotal> = BTreeMap::new();
    for part in plan.parts.iter().flat_map(Part::by_kind) {
        if part.kind == TableKind::MeterRuns {
            total_runs(&run, &part, &wanted, &mut totals).await?;
            continue;
        }
        let Some(frame) = meters(&run, &part, wanted.clone().and(moved.clone()))? else {
            continue;
        };
        let is_record = part.kind == TableKind::Meters;
        let share = if is_record { share(part.period).map_err(failed)? } else { lit(1.0_f64) };
        let of = |name: &str| (cast(ident(name), DataType::Float64) * share.clone()).alias(name);
        let last = ident(if is_record { "to" } else { "last" }).alias("last");
        let frame = frame.select(vec![ident("kind"), ident("id"), ident("name"), of("packets"), of("bytes"), last]);
        let frame = frame.map_err(failed)?;
        all = Some(match all {
            Some(others) => others.union(frame).map_err(failed)?,
            None => frame,
        });
    }
    if let Some(all) = all {
        let groups = vec![ident("kind"), ident("id"), ident("name")];
        let of = |name: &str| sum(ident(name)).alias(name);
        let frame = all
            .aggregate(groups, vec![of("packets"), of("bytes"), max(ident("last")).alias("last")])
            .map_err(failed)?;
        let mut batches = run.stream(frame).await?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            add_totals(&batch, &mut totals)?;
        }
    }
    let mut out: Vec<MeterTotal> = totals.into_values().collect();
    out.sort_by(|a, b| b.bytes.total_cmp(&a.bytes).then_with(|| a.key.cmp(&b.key)));
    Ok(out)
}

/// Sums of runs: of what is asked for, in the period.
async fn total_runs(run: &Run, part: &Part, wanted: &Expr, totals: &mut BTreeMap<Column, MeterTotal>) -> Result<(), StoreError> {
    let Some(frame) = meters(run, part, wanted.clone())? else {
        return Ok(());
    };
    let period = part.period;
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let mut outcome = Ok(());
        each_meter(&batch, |row, steps| {
            let (mut packets, mut bytes, mut last_us) = (0.0, 0.0, None);
            for step in steps.iter().filter(|step| step.packets > 0 || step.bytes > 0) {
                let inside = step.to_us.min(period.to_us) - step.from_us.max(period.from_us);
                if inside <= 0 {
                    continue;
                }
                let share = inside as f64 / (step.to_us - step.from_us) as f64;
                packets += step.packets as f64 * share;
                bytes += step.bytes as f64 * share;
                last_us = last_us.max(Some(step.to_us));
            }
            let key = last_us.and_then(|_| meter_key(row.kind, row.id, row.name));
            if let (Some(last_us), Some(key)) = (last_us, key) {
                let total = MeterTotal {
                    key,
                    packets,
                    bytes,
                    last_us,
                };
                add_total(totals, (row.kind, row.id), total);
                if totals.len() > MAX_READINGS {
                    outcome = bounded(totals.len());
                }
            }
        })?;
        outcome?;
    }
    Ok(())
}

fn add_total(totals: &mut BTreeMap<Column, MeterTotal>, meter: Column, more: MeterTotal) {
    match totals.entry(meter) {
        Entry::Vacant(new) => drop(new.insert(more)),
        Entry::Occupied(known) => {
            let known = known.into_mut();
            known.packets += more.packets;
            known.bytes += more.bytes;
            known.last_us = known.last_us.max(more.last_us);
        }
    }
}

/// Hosts that were read, with the end of their last reading.
pub(crate) async fn metered_hosts(run: Run, view: Arc<dyn View>, period: Period) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    let plan = Plan::records(view.as_ref(), &METERS, period);
    read(&run, &plan.parts, &ident("kind").eq(lit(COVERAGE)), |(_, host), _, reading| {
        let last = last.entry(Uuid::from_bytes(host)).or_insert(reading.to_us);
        *last = reading.to_us.max(*last);
        Ok(())
    })
    .await?;
    Ok(last.into_iter().collect())
}

/// When hosts were read.
#[derive(Default)]
pub(crate) struct Coverage {
    spans: HashMap<[u8; 16], Vec<(i64, i64)>>,
    /// Of roll-ups: how much of the span that begins at a time.
    sums: HashMap<[u8; 16], BTreeMap<i64, i64>>,
    held: usize,
}

impl Coverage {
    pub(crate) fn add(&mut self, host: [u8; 16], reading: Reading) -> Result<(), StoreError> {
        let from_us = reading.from_us.max(reading.within.from_us);
        let to_us = reading.to_us.min(reading.within.to_us);
        if reading.is_sum {
            *self.sums.entry(host).or_default().entry(reading.from_us).or_default() += reading.to_us - reading.from_us;
        } else if from_us < to_us {
            self.spans.entry(host).or_default().push((from_us, to_us));
        }
        self.held += 1;
        bounded(self.held)
    }

    /// Spans in which at least one of the hosts was read, in order and apart. Without hosts: any host.
    fn of(&self, hosts: Option<&BTreeSet<[u8; 16]>>) -> Vec<(i64, i64)> {
        let mut spans: Vec<(i64, i64)> = match hosts {
            Some(hosts) => hosts.iter().filter_map(|host| self.spans.get(host)).flatten().copied().collect(),
            None => self.spans.values().flatten().copied().collect(),
        };
        spans.sort_unstable();
        let mut apart: Vec<(i64, i64)> = Vec::new();
        for (from_us, to_us) in spans {
            match apart.last_mut() {
                Some(last) if from_us <= last.1 => last.1 = last.1.max(to_us),
                _ => apart.push((from_us, to_us)),
            }
        }
        apart
    }

    /// How much of the spans of roll-ups was read by one of the hosts, the one that read most of it. Without hosts: any host.
    fn sums_of(&self, hosts: Option<&BTreeSet<[u8; 16]>>) -> BTreeMap<i64, i64> {
        let mut most: BTreeMap<i64, i64> = BTreeMap::new();
        for (host, sums) in &self.sums {
            if hosts.is_some_and(|hosts| !hosts.contains(host)) {
                continue;
            }
            for (time_us, covered_us) in sums {
                let known = most.entry(*time_us).or_default();
                *known = (*known).max(*covered_us);
            }
        }
        most
    }
}

/// Calls `take` with each bin that the span meets inside of the period, and the length of the meeting.
fn spread(bins: &Bins, period: Period, from_us: i64, to_us: i64, mut take: impl FnMut(usize, i64)) {
    let from_us = from_us.max(period.from_us);
    let to_us = to_us.min(period.to_us);
    if from_us >= to_us {
        return;
    }
    for at in bins.index(from_us)..=bins.index(to_us - 1) {
        let overlap = to_us.min(bins.start(at + 1)) - from_us.max(bins.start(at));
        take(at as usize, overlap);
    }
}

/// Part of a reading that lies in the period.
fn share(period: Period) -> datafusion::error::Result<Expr> {
    let number = |name: &str| cast(ident(name), DataType::Int64);
    let (low, high) = (lit(period.from_us), lit(period.to_us));
    let begin = when(number("from").lt(low.clone()), low).otherwise(number("from"))?;
    let end = when(number("to").gt(high.clone()), high).otherwise(number("to"))?;
    Ok(cast(end - begin, DataType::Float64) / cast(number("to") - number("from"), DataType::Float64))
}

fn these(keys: &[MeterKey]) -> Expr {
    let mut ids: BTreeMap<u8, Vec<Expr>> = BTreeMap::new();
    for key in keys {
        let (kind, bytes, _) = meter_columns(key);
        ids.entry(kind).or_default().push(id(bytes));
    }
    let of_kind = |(kind, ids)| ident("kind").eq(lit(kind)).and(ident("id").in_list(ids, false));
    ids.into_iter().map(of_kind).reduce(Expr::or).unwrap_or_else(|| lit(false))
}

pub(crate) fn check_keys(keys: &[MeterKey]) -> Result<(), StoreError> {
    if keys.len() > MeterQuery::MAX_KEYS {
        return Err(StoreError::Invalid(format!(
            "{} meters, at most {} can be asked for at once",
            keys.len(),
            MeterQuery::MAX_KEYS
        )));
    }
    Ok(())
}

fn bounded(held: usize) -> Result<(), StoreError> {
    if held > MAX_READINGS {
        return Err(StoreError::OverBudget {
            what: "readings",
            scanned: Scanned::default(),
        });
    }
    Ok(())
}

/// Rows of a part whose span meets its period.
fn meters(run: &Run, part: &Part, wanted: Expr) -> Result<Option<DataFrame>, StoreError> {
    let period = part.period;
    let table = SiteTable::grouped(part.kind, part.snapshot.clone(), run.threads());
    if period.is_empty() || table.size() == (0, 0) {
        return Ok(None);
    }
    let meets = match part.kind {
        TableKind::Meters | TableKind::MeterRuns => ident("from").lt(time(period.to_us)).and(ident("to").gt(time(period.from_us))),
        _ => in_period(period),
    };
    run.table(table)?.filter(meets.and(wanted)).map(Some).map_err(failed)
}

async fn read(
    run: &Run,
    parts: &[Part],
    wanted: &Expr,
    mut take: impl FnMut(Column, [u8; 16], Reading) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for part in parts.iter().flat_map(Part::by_kind) {
        let Some(frame) = meters(run, &part, wanted.clone())? else {
            continue;
        };
        if part.kind == TableKind::MeterRuns {
            read_runs(run, frame, part.period, &mut take).await?;
            continue;
        }
        let is_record = part.kind == TableKind::Meters;
        let step_us = part.kind.level().step_us();
        let mut batches = run.stream(frame).await?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            let columns = columns_of(&batch);
            let kind = columns.numbers::<UInt8Type>("kind")?;
            let id = columns.fixed("id")?;
            let host = columns.fixed("host")?;
            let from = columns.numbers::<TimestampMicrosecondType>(if is_record { "from" } else { "time" })?;
            let to = if is_record {
                Some(columns.numbers::<TimestampMicrosecondType>("to")?)
            } else {
                None
            };
            let covered = if is_record {
                None
            } else {
                Some(columns.numbers::<Int64Type>("covered")?)
            };
            let packets = columns.numbers::<UInt64Type>("packets")?;
            let bytes = columns.numbers::<UInt64Type>("bytes")?;
            for at in 0..batch.num_rows() {
                let (Some(id), Some(host)) = (fixed_at(id, at), fixed_at(host, at)) else {
                    continue;
                };
                let from_us = from.value(at);
                let to_us = match (to, covered) {
                    (Some(to), _) => to.value(at),
                    // Where in the span the readings were is not known any more, only how much of it they cover.
                    (_, Some(covered)) if kind.value(at) == COVERAGE => from_us + covered.value(at).min(step_us),
                    _ => from_us + step_us,
                };
                let reading = Reading {
                    from_us,
                    to_us,
                    packets: packets.value(at),
                    bytes: bytes.value(at),
                    within: part.period,
                    is_sum: !is_record,
                };
                take((kind.value(at), id), host, reading)?;
            }
        }
    }
    Ok(())
}

/// The readings of runs that meet the period.
async fn read_runs(
    run: &Run,
    frame: DataFrame,
    period: Period,
    take: &mut impl FnMut(Column, [u8; 16], Reading) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let mut outcome = Ok(());
        each_meter(&batch, |row, steps| {
            for step in steps.iter().filter(|step| step.from_us < period.to_us && step.to_us > period.from_us) {
                if outcome.is_ok() {
                    let reading = Reading {
                        from_us: step.from_us,
                        to_us: step.to_us,
                        packets: step.packets,
                        bytes: step.bytes,
                        within: period,
                        is_sum: false,
                    };
                    outcome = take((row.kind, row.id), row.host, reading);
                }
            }
        })?;
        outcome?;
    }
    Ok(())
}

fn add_totals(batch: &RecordBatch, totals: &mut BTreeMap<Column, MeterTotal>) -> Result<(), StoreError> {
    let columns = columns_of(batch);
    let kind = columns.numbers::<UInt8Type>("kind")?;
    let id = columns.fixed("id")?;
    let name = columns.bytes::<Utf8Type>("name")?;
    let packets = columns.numbers::<Float64Type>("packets")?;
    let bytes = columns.numbers::<Float64Type>("bytes")?;
    let last = columns.numbers::<TimestampMicrosecondType>("last")?;
    for at in 0..batch.num_rows() {
        let name = name.is_valid(at).then(|| name.value(at));
        let Some(id) = fixed_at(id, at) else { continue };
        if let Some(key) = meter_key(kind.value(at), id, name) {
            let total = MeterTotal {
                key,
                packets: packets.value(at),
                bytes: bytes.value(at),
                last_us: last.value(at),
            };
            add_total(totals, (kind.value(at), id), total);
        }
    }
    Ok(())
}
