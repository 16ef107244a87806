// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Meters over time. A reading says what was counted in a span, so its counts are spread evenly over it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, RecordBatch},
        datatypes::{DataType, Float64Type, TimestampMicrosecondType, UInt8Type, UInt64Type, Utf8Type},
    },
    functions_aggregate::expr_fn::{max, sum},
    logical_expr::{Expr, cast, ident, lit, when},
    prelude::DataFrame,
};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{
    MeterPoint, MeterQuery, MeterSeries, MeterTotal, Scanned, SiteTable, TotalsOf, TotalsQuery, View,
    compile::{id, time},
    engine::{Run, failed},
    groups::Bins,
};
use crate::{
    StoreError,
    ids::Period,
    row::MeterKey,
    table::{COVERAGE, TableKind, columns_of, fixed_at, meter_columns, meter_key},
};

/// Points of one answer, over all keys: some 64 MB.
const MAX_POINTS: usize = 2_000_000;

/// Readings of one answer that are held while it is made.
const MAX_READINGS: usize = 5_000_000;

/// `kind` and `id` of a meter.
type Column = (u8, [u8; 16]);

#[derive(Clone, Copy)]
struct Reading {
    from_us: i64,
    to_us: i64,
    packets: u64,
    bytes: u64,
}

/// Traffic of meters over time.
pub(crate) async fn meter_series(run: Run, view: Arc<dyn View>, query: MeterQuery) -> Result<Vec<MeterSeries>, StoreError> {
    check_keys(&query.keys)?;
    let bins = Bins::new(query.period, query.step_us)?;
    if bins.count as usize * query.keys.len() > MAX_POINTS {
        return Err(StoreError::Invalid(format!(
            "{} meters in {} points are more than {MAX_POINTS}",
            query.keys.len(),
            bins.count
        )));
    }
    let mut readings: HashMap<Column, Vec<Reading>> = HashMap::new();
    let mut hosts: HashMap<Column, BTreeSet<[u8; 16]>> = HashMap::new();
    let mut held = 0;
    read(&run, view.as_ref(), query.period, these(&query.keys), |meter, host, reading| {
        readings.entry(meter).or_default().push(reading);
        hosts.entry(meter).or_default().insert(host);
        held += 1;
        bounded(held)
    })
    .await?;
    let covered = Coverage::load(&run, view.as_ref(), query.period, &query.keys, &hosts).await?;
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
            spread(&bins, query.period, reading.from_us, reading.to_us, |at, overlap| {
                let share = overlap as f64 / length;
                points[at].packets += reading.packets as f64 * share;
                points[at].bytes += reading.bytes as f64 * share;
            });
        }
        for (from_us, to_us) in covered.of(hosts.get(&(kind, id))) {
            spread(&bins, query.period, from_us, to_us, |at, overlap| points[at].covered_us += overlap);
        }
        out.push(MeterSeries { key, points });
    }
    Ok(out)
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
    let Some(frame) = meters(&run, view.as_ref(), query.period, wanted)? else {
        return Ok(Vec::new());
    };
    let share = share(query.period).map_err(failed)?;
    let of = |name: &str| sum(cast(ident(name), DataType::Float64) * share.clone()).alias(name);
    let groups = vec![ident("kind"), ident("id"), ident("name")];
    let frame = frame
        .filter(ident("packets").gt(lit(0_u64)).or(ident("bytes").gt(lit(0_u64))))
        .and_then(|frame| frame.aggregate(groups, vec![of("packets"), of("bytes"), max(ident("to")).alias("last")]))
        .map_err(failed)?;
    let mut out = Vec::new();
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        totals(&batch, &mut out)?;
    }
    out.sort_by(|a, b| b.bytes.total_cmp(&a.bytes).then_with(|| a.key.cmp(&b.key)));
    Ok(out)
}

/// Hosts that were read, with the end of their last reading.
pub(crate) async fn metered_hosts(run: Run, view: Arc<dyn View>, period: Period) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    read(&run, view.as_ref(), period, ident("kind").eq(lit(COVERAGE)), |(_, host), _, reading| {
        let last = last.entry(Uuid::from_bytes(host)).or_insert(reading.to_us);
        *last = reading.to_us.max(*last);
        Ok(())
    })
    .await?;
    Ok(last.into_iter().collect())
}

/// When hosts were read.
struct Coverage(HashMap<[u8; 16], Vec<(i64, i64)>>);

impl Coverage {
    async fn load(
        run: &Run,
        view: &dyn View,
        period: Period,
        keys: &[MeterKey],
        hosts: &HashMap<Column, BTreeSet<[u8; 16]>>,
    ) -> Result<Self, StoreError> {
        let mut wanted = ident("kind").eq(lit(COVERAGE));
        // A meter that no host counted in the period may belong to any.
        let all_seen = keys.iter().all(|key| {
            let (kind, id, _) = meter_columns(key);
            hosts.contains_key(&(kind, id))
        });
        if all_seen {
            let only: BTreeSet<[u8; 16]> = hosts.values().flatten().copied().collect();
            wanted = wanted.and(ident("id").in_list(only.into_iter().map(id).collect(), false));
        }
        let mut spans: HashMap<[u8; 16], Vec<(i64, i64)>> = HashMap::new();
        let mut held = 0;
        read(run, view, period, wanted, |(_, host), _, reading| {
            spans.entry(host).or_default().push((reading.from_us, reading.to_us));
            held += 1;
            bounded(held)
        })
        .await?;
        Ok(Self(spans))
    }

    /// Spans in which at least one of the hosts was read, in order and apart. Without hosts: any host.
    fn of(&self, hosts: Option<&BTreeSet<[u8; 16]>>) -> Vec<(i64, i64)> {
        let mut spans: Vec<(i64, i64)> = match hosts {
            Some(hosts) => hosts.iter().filter_map(|host| self.0.get(host)).flatten().copied().collect(),
            None => self.0.values().flatten().copied().collect(),
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

fn check_keys(keys: &[MeterKey]) -> Result<(), StoreError> {
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

/// Rows whose span meets the period.
fn meters(run: &Run, view: &dyn View, period: Period, wanted: Expr) -> Result<Option<DataFrame>, StoreError> {
    if period.is_empty() {
        return Ok(None);
    }
    let table = SiteTable::grouped(TableKind::Meters, view.meters(period), run.threads());
    if table.size() == (0, 0) {
        return Ok(None);
    }
    let meets = ident("from").lt(time(period.to_us)).and(ident("to").gt(time(period.from_us)));
    run.table(table)?.filter(meets.and(wanted)).map(Some).map_err(failed)
}

async fn read(
    run: &Run,
    view: &dyn View,
    period: Period,
    wanted: Expr,
    mut take: impl FnMut(Column, [u8; 16], Reading) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Some(frame) = meters(run, view, period, wanted)? else {
        return Ok(());
    };
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let columns = columns_of(&batch);
        let kind = columns.numbers::<UInt8Type>("kind")?;
        let id = columns.fixed("id")?;
        let host = columns.fixed("host")?;
        let from = columns.numbers::<TimestampMicrosecondType>("from")?;
        let to = columns.numbers::<TimestampMicrosecondType>("to")?;
        let packets = columns.numbers::<UInt64Type>("packets")?;
        let bytes = columns.numbers::<UInt64Type>("bytes")?;
        for at in 0..batch.num_rows() {
            let (Some(id), Some(host)) = (fixed_at(id, at), fixed_at(host, at)) else {
                continue;
            };
            let reading = Reading {
                from_us: from.value(at),
                to_us: to.value(at),
                packets: packets.value(at),
                bytes: bytes.value(at),
            };
            take((kind.value(at), id), host, reading)?;
        }
    }
    Ok(())
}

fn totals(batch: &RecordBatch, out: &mut Vec<MeterTotal>) -> Result<(), StoreError> {
    let columns = columns_of(batch);
    let kind = columns.numbers::<UInt8Type>("kind")?;
    let id = columns.fixed("id")?;
    let name = columns.bytes::<Utf8Type>("name")?;
    let packets = columns.numbers::<Float64Type>("packets")?;
    let bytes = columns.numbers::<Float64Type>("bytes")?;
    let last = columns.numbers::<TimestampMicrosecondType>("last")?;
    for at in 0..batch.num_rows() {
        let name = name.is_valid(at).then(|| name.value(at));
        if let Some(key) = fixed_at(id, at).and_then(|id| meter_key(kind.value(at), id, name)) {
            out.push(MeterTotal {
                key,
                packets: packets.value(at),
                bytes: bytes.value(at),
                last_us: last.value(at),
            });
        }
    }
    Ok(())
}
