// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Meters over time.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{binary::Reader, question::Question, sql::ids};
use crate::{
    StoreError,
    ids::Period,
    query::{Coverage, METERS, MeterQuery, MeterSeries, MeterTotal, Reading, Readings, TotalsOf, TotalsQuery, check_keys, check_points, series_of},
    row::MeterKey,
    table::{COVERAGE, TableKind, meter_columns, meter_key},
};

/// Traffic of meters over time.
pub(super) async fn meter_series(question: &Question, query: MeterQuery) -> Result<Vec<MeterSeries>, StoreError> {
    let bins = check_points(&query)?;
    let choice = question.choose(&METERS, query.period, Some(query.step_us)).await?;
    let mut readings = Readings::default();
    let of_keys = these(&query.keys);
    read(question, &choice.parts, &of_keys, |meter, host, reading| {
        readings.add(meter, host, reading)
    })
    .await?;
    let mut covered = Coverage::default();
    let mut wanted = format!("kind = {COVERAGE}");
    if let Some(only) = readings.hosts(&query.keys) {
        wanted = match only.is_empty() {
            true => "0".to_owned(),
            false => format!("{wanted} AND id IN {}", ids(only.into_iter().map(Uuid::from_bytes))),
        };
    }
    read(question, &choice.parts, &wanted, |(_, host), _, reading| covered.add(host, reading)).await?;
    Ok(series_of(query, &bins, choice.period, readings, &covered))
}

/// Sums of meters.
pub(super) async fn meter_totals(question: &Question, query: TotalsQuery) -> Result<Vec<MeterTotal>, StoreError> {
    let wanted = match &query.of {
        TotalsOf::Keys(keys) => {
            check_keys(keys)?;
            these(keys)
        }
        TotalsOf::AllPorts => "kind IN (1, 2)".to_owned(),
        TotalsOf::AllDevices => "kind = 3".to_owned(),
        TotalsOf::AllTunnels => "kind = 4".to_owned(),
    };
    let choice = question.choose(&METERS, query.period, None).await?;
    let moved = "(packets > 0 OR bytes > 0)";
    let mut selects = Vec::new();
    for (kind, period) in choice.parts.iter().filter(|(_, period)| !period.is_empty()) {
        selects.push(match kind {
            TableKind::Meters => {
                let (s, u) = ("toUnixTimestamp64Micro(since)", "toUnixTimestamp64Micro(until)");
                // Part of a reading that lies in the period.
                let share = format!(
                    "toFloat64(least({u}, {}) - greatest({s}, {})) / toFloat64({u} - {s})",
                    period.to_us, period.from_us
                );
                format!(
                    "SELECT kind, id, name, toFloat64(packets) * ({share}) AS p, toFloat64(bytes) * ({share}) AS b, {u} AS last_us {} AND {wanted} AND {moved}",
                    question.tables.readings(*period)
                )
            }
            level => format!(
                "SELECT kind, id, name, toFloat64(packets) AS p, toFloat64(bytes) AS b, toUnixTimestamp64Micro(last) AS last_us {} AND {wanted} AND {moved}",
                question.tables.rows(table(*level), *period)
            ),
        });
    }
    if selects.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT kind, id, CAST(any(name), 'Nullable(String)'), sum(p), sum(b), max(last_us) FROM ({}) GROUP BY kind, id",
        selects.join(" UNION ALL ")
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    let mut out = Vec::new();
    while !reader.is_empty() {
        let (kind, id) = (reader.u8()?, reader.id()?.into_bytes());
        let name = reader.maybe(Reader::text)?;
        let (packets, bytes, last_us) = (reader.f64()?, reader.f64()?, reader.i64()?);
        out.extend(meter_key(kind, id, name).map(|key| MeterTotal {
            key,
            packets,
            bytes,
            last_us,
        }));
    }
    out.sort_by(|a: &MeterTotal, b| b.bytes.total_cmp(&a.bytes).then_with(|| a.key.cmp(&b.key)));
    Ok(out)
}

/// Hosts that were read, with the end of their last reading.
pub(super) async fn metered_hosts(question: &Question, period: Period) -> Result<Vec<(Uuid, i64)>, StoreError> {
    if period.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT id, toUnixTimestamp64Micro(max(until)) {} AND kind = {COVERAGE} GROUP BY id",
        question.tables.readings(period)
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
    while !reader.is_empty() {
        let host = reader.id()?;
        last.insert(host, reader.i64()?);
    }
    Ok(last.into_iter().collect())
}

fn table(level: TableKind) -> &'static str {
    match level {
        TableKind::MeterDays => "meter_days",
        _ => "meter_hours",
    }
}

fn these(keys: &[MeterKey]) -> String {
    let mut of_kinds: BTreeMap<u8, BTreeSet<[u8; 16]>> = BTreeMap::new();
    for key in keys {
        let (kind, id, _) = meter_columns(key);
        of_kinds.entry(kind).or_default().insert(id);
    }
    let of_kind = |(kind, all): (u8, BTreeSet<[u8; 16]>)| format!("(kind = {kind} AND id IN {})", ids(all.into_iter().map(Uuid::from_bytes)));
    let all: Vec<String> = of_kinds.into_iter().map(of_kind).collect();
    if all.is_empty() {
        "0".to_owned()
    } else {
        format!("({})", all.join(" OR "))
    }
}

async fn read(
    question: &Question,
    parts: &[(TableKind, Period)],
    wanted: &str,
    mut take: impl FnMut((u8, [u8; 16]), [u8; 16], Reading) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for (level, period) in parts.iter().filter(|(_, period)| !period.is_empty()) {
        let is_record = *level == TableKind::Meters;
        let step_us = level.level().step_us();
        let sql = if is_record {
            format!(
                "SELECT kind, id, host, toUnixTimestamp64Micro(since), toUnixTimestamp64Micro(until), packets, bytes {} AND {wanted}",
                question.tables.readings(*period)
            )
        } else {
            // Where in the span the readings were is not known any more, only how much of it they cover.
            format!(
                "SELECT kind, id, host, toUnixTimestamp64Micro(time) AS low, low + if(kind = {COVERAGE}, least(sum(covered), {step_us}), {step_us}),
                 sum(packets), sum(bytes) {} AND {wanted} GROUP BY kind, id, host, time",
                question.tables.rows(table(*level), *period)
            )
        };
        let bytes = question.ask(&sql).await?;
        let mut reader = Reader(&bytes);
        while !reader.is_empty() {
            let meter = (reader.u8()?, reader.id()?.into_bytes());
            let host = reader.id()?.into_bytes();
            let reading = Reading {
                from_us: reader.i64()?,
                to_us: reader.i64()?,
                packets: reader.u64()?,
                bytes: reader.u64()?,
                within: *period,
                is_sum: !is_record,
            };
            take(meter, host, reading)?;
        }
    }
    Ok(())
}
