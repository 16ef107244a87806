// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows by what they have in common: in time, by values, by rule.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{
    binary::Reader,
    question::Question,
    sql::{condition, id, ids},
};
use crate::{
    StoreError,
    filter::{FlowFilter, FlowTest},
    ids::Period,
    query::{
        Bin, Bins, Choice, DimValue, Dimension, DropsQuery, FLOWS, HistogramQuery, HitsQuery, Kept, MAX_CELLS, Pair, Pairs, PairsQuery, RuleDrops,
        RuleHits, Top, TopQuery, TopRow, check, kept, limit, of_all,
    },
    row::{FlowRow, Mac, PathId, Verdict},
    table::TableKind,
};

/// Flows over time.
pub(super) async fn histogram(question: &Question, query: HistogramQuery) -> Result<Vec<Bin>, StoreError> {
    let bins = Bins::new(query.period, query.step_us)?;
    let mut out: Vec<Bin> = (0..bins.count)
        .map(|at| Bin {
            start_us: bins.start(at),
            ..Bin::default()
        })
        .collect();
    let Some(parts) = Parts::choose(question, query.period, query.filter, Some(query.step_us), true, true).await? else {
        return Ok(out);
    };
    let rows = parts.union(&|_| format!("{} AS bin, verdict", bin(&bins)), "1");
    let sql = format!("SELECT toInt64(bin), verdict, sum(n) FROM ({rows}) GROUP BY bin, verdict");
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    while !reader.is_empty() {
        let (at, verdict, flows) = (reader.i64()?, reader.u8()?, reader.u64()?);
        if let Some(bin) = usize::try_from(at).ok().and_then(|at| out.get_mut(at)) {
            bin.add(Verdict::from_number(verdict), flows);
        }
    }
    Ok(out)
}

/// Flows by verdict.
pub(super) async fn count(question: &Question, query: HitsQuery) -> Result<Bin, StoreError> {
    let mut out = Bin {
        start_us: query.period.from_us,
        ..Bin::default()
    };
    let Some(parts) = Parts::choose(question, query.period, query.filter, None, true, true).await? else {
        return Ok(out);
    };
    let sql = format!(
        "SELECT verdict, sum(n) FROM ({}) GROUP BY verdict",
        parts.union(&|_| "verdict".to_owned(), "1")
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    while !reader.is_empty() {
        let verdict = reader.u8()?;
        out.add(Verdict::from_number(verdict), reader.u64()?);
    }
    Ok(out)
}

/// Values with the most flows.
pub(super) async fn top(question: &Question, query: TopQuery) -> Result<Top, StoreError> {
    if query.dimensions.is_empty() || query.dimensions.len() > TopQuery::MAX_DIMENSIONS {
        return Err(StoreError::Invalid(format!(
            "1 to {} dimensions can be asked for",
            TopQuery::MAX_DIMENSIONS
        )));
    }
    limit(query.limit)?;
    if (1..query.dimensions.len()).any(|at| query.dimensions[..at].contains(&query.dimensions[at])) {
        return Err(StoreError::Invalid("a dimension is asked for twice".into()));
    }
    let is_kept = query.dimensions.iter().all(|dimension| dimension.is_kept());
    let of_devices = query.dimensions == [Dimension::Verdict];
    let start_us = query.period.from_us;
    let Some(parts) = Parts::choose(question, query.period, query.filter, None, is_kept, of_devices).await? else {
        return Ok(empty(start_us));
    };
    best(question, &parts, &query.dimensions, "1", query.limit, start_us).await
}

fn empty(start_us: i64) -> Top {
    let other = Bin { start_us, ..Bin::default() };
    Top { other, ..Top::default() }
}

/// The groups with the most flows; the rest is summed.
async fn best(question: &Question, parts: &Parts<'_>, dimensions: &[Dimension], also: &str, limit: usize, start_us: i64) -> Result<Top, StoreError> {
    let values = |kind: TableKind| {
        let value = |(at, dimension): (usize, &Dimension)| format!("{} AS d{at}", cast(*dimension, &expression(*dimension, kind)));
        let values: Vec<String> = dimensions.iter().enumerate().map(value).collect();
        format!("{}, verdict", values.join(", "))
    };
    let names: Vec<String> = (0..dimensions.len()).map(|at| format!("d{at}")).collect();
    let names = names.join(", ");
    let order: Vec<String> = dimensions.iter().enumerate().map(|(at, dimension)| order(*dimension, at)).collect();
    let of = |verdict: Verdict| format!("sumIf(n, verdict = {})", verdict as u8);
    let sql = format!(
        "SELECT {names}, flows, dropped, consumed, last_us, count() OVER () AS number, sum(flows) OVER () AS all_flows, sum(dropped) OVER () AS all_dropped,
         sum(consumed) OVER () AS all_consumed FROM
         (SELECT {names}, sum(n) AS flows, {} AS dropped, {} AS consumed, max(last_us) AS last_us FROM ({}) GROUP BY {names})
         ORDER BY flows DESC, {} LIMIT {limit}",
        of(Verdict::Dropped),
        of(Verdict::Consumed),
        parts.union(&values, also),
        order.join(", ")
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    let mut top = empty(start_us);
    let (mut number, mut total) = (0, Bin::default());
    let sums = |reader: &mut Reader<'_>| -> Result<[u64; 3], StoreError> { Ok([reader.u64()?, reader.u64()?, reader.u64()?]) };
    let bin = |[flows, dropped, consumed]: [u64; 3]| Bin {
        start_us,
        allowed: flows.saturating_sub(dropped + consumed),
        dropped,
        consumed,
    };
    while !reader.is_empty() {
        let values = dimensions
            .iter()
            .map(|dimension| value(*dimension, &mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        let flows = bin(sums(&mut reader)?);
        let last_us = reader.i64()?;
        number = reader.u64()?;
        total = bin(sums(&mut reader)?);
        top.rows.push(TopRow { values, flows, last_us });
    }
    let shown = |part: fn(&Bin) -> u64| top.rows.iter().map(|row| part(&row.flows)).sum::<u64>();
    top.other = Bin {
        start_us,
        allowed: total.allowed - shown(|bin| bin.allowed),
        dropped: total.dropped - shown(|bin| bin.dropped),
        consumed: total.consumed - shown(|bin| bin.consumed),
    };
    top.other_values = number - top.rows.len() as u64;
    Ok(top)
}

/// Pairs of addresses with the most flows. Hours keep all of them, so nothing is unsure.
pub(super) async fn pairs(question: &Question, query: PairsQuery) -> Result<Pairs, StoreError> {
    limit(query.limit)?;
    check(&query.filter)?;
    if query.period.is_empty() {
        return Ok(Pairs::default());
    }
    let family = FLOWS.without_fine();
    let choice = if of_all(&query.filter) {
        question.choose(&family, query.period, None).await?
    } else {
        question.records(&family, query.period)
    };
    let parts = Parts {
        question,
        choice,
        filter: query.filter,
        kept: Kept::Not,
    };
    let top = best(
        question,
        &parts,
        &[Dimension::SrcIp, Dimension::DstIp],
        "1",
        query.limit,
        query.period.from_us,
    )
    .await?;
    let address = |value: &DimValue| match value {
        DimValue::Ip(address) => Some(*address),
        _ => None,
    };
    let rows = top.rows.iter().filter_map(|row| {
        let [src, dst] = row.values.as_slice() else { return None };
        Some(Pair {
            src: address(src),
            dst: address(dst),
            flows: row.flows,
            last_us: row.last_us,
        })
    });
    Ok(Pairs {
        rows: rows.collect(),
        other: top.other,
        unsure: 0,
    })
}

/// Rules that dropped the most flows.
pub(super) async fn drops(question: &Question, query: DropsQuery) -> Result<Vec<RuleDrops>, StoreError> {
    limit(query.limit)?;
    let bins = Bins::new(query.period, query.step_us)?;
    if bins.count as usize * query.limit > MAX_CELLS {
        return Err(StoreError::Invalid(format!(
            "{} rules in {} bins are more than {MAX_CELLS} values",
            query.limit, bins.count
        )));
    }
    let filter = query.filter.and(FlowTest::Verdict(Verdict::Dropped).into());
    let Some(parts) = Parts::choose(question, query.period, filter, Some(query.step_us), true, false).await? else {
        return Ok(Vec::new());
    };
    let top = best(
        question,
        &parts,
        &[Dimension::Rule],
        "rule IS NOT NULL",
        query.limit,
        query.period.from_us,
    )
    .await?;
    let mut out: Vec<RuleDrops> = Vec::new();
    for row in top.rows {
        let [DimValue::Id(rule)] = row.values[..] else { continue };
        out.push(RuleDrops {
            rule,
            flows: row.flows.total(),
            last_us: row.last_us,
            bins: (0..bins.count).map(|at| (bins.start(at), 0)).collect(),
        });
    }
    if out.is_empty() {
        return Ok(out);
    }
    let places: HashMap<Uuid, usize> = out.iter().enumerate().map(|(at, drops)| (drops.rule, at)).collect();
    let these = format!("rule IN {}", ids(places.keys().copied()));
    let values = |_: TableKind| format!("assumeNotNull(CAST(rule, 'Nullable(UUID)')) AS by_rule, {} AS bin", bin(&bins));
    let sql = format!(
        "SELECT by_rule, toInt64(bin), sum(n) FROM ({}) GROUP BY by_rule, bin",
        parts.union(&values, &these)
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    while !reader.is_empty() {
        let (rule, at, flows) = (reader.id()?, reader.i64()?, reader.u64()?);
        let place = places.get(&rule);
        let cell = place.and_then(|place| out[*place].bins.get_mut(usize::try_from(at).ok()?));
        if let Some(cell) = cell {
            cell.1 += flows;
        }
    }
    Ok(out)
}

/// How often rules were met: flows are counted by path, then each path's rules get its count.
pub(super) async fn hits(question: &Question, query: HitsQuery) -> Result<Vec<RuleHits>, StoreError> {
    check(&query.filter)?;
    if query.period.is_empty() {
        return Ok(Vec::new());
    }
    let choice = if of_all(&query.filter) {
        question.choose(&FLOWS, query.period, None).await?
    } else {
        question.records(&FLOWS, query.period)
    };
    let tables = &question.tables;
    let mut selects = Vec::new();
    for (kind, period) in &choice.parts {
        let passes = condition(&query.filter, tables, *period);
        selects.push(match kind {
            TableKind::Flows => format!(
                "SELECT id, n AS flows, if(met_matched, n, 0) AS matched, if(met_applied, n, 0) AS applied, if(met_matched, last, NULL) AS last_matched FROM
                 (SELECT assumeNotNull(path) AS on_path, count() AS n, max(time) AS last {} AND path IS NOT NULL AND {passes} GROUP BY path) AS of_flows
                 INNER JOIN (SELECT path AS on_path, rule AS id, max(bitTest(flag, 6)) AS met_matched, max(bitTest(flag, 7)) AS met_applied FROM
                  (SELECT path, arrayJoin(arrayZip(rules, flags)) AS met, met.1 AS rule, met.2 AS flag {}) GROUP BY on_path, id) AS of_paths USING on_path",
                tables.rows("flows", *period),
                tables.paths(*period)
            ),
            level => format!(
                "SELECT id, flows, matched, applied, last_matched {} AND {passes}",
                tables.rows(if *level == TableKind::FlowMinutes { "rule_minutes" } else { "rule_hours" }, *period)
            ),
        });
    }
    if selects.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT CAST(id, 'UUID'), sum(flows), sum(matched), sum(applied), toUnixTimestamp64Micro(CAST(max(last_matched), 'Nullable(DateTime64(6))')) FROM
         ({}) GROUP BY id",
        selects.join(" UNION ALL ")
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    let mut rules: BTreeMap<Uuid, RuleHits> = BTreeMap::new();
    while !reader.is_empty() {
        let rule = reader.id()?;
        let hits = RuleHits {
            rule,
            evaluated: reader.u64()?,
            matched: reader.u64()?,
            applied: reader.u64()?,
            last_matched_us: reader.maybe(Reader::i64)?,
        };
        rules.insert(rule, hits);
    }
    Ok(rules.into_values().collect())
}

/// Where the rows of a question about flows are.
struct Parts<'a> {
    question: &'a Question,
    choice: Choice,
    filter: FlowFilter,
    kept: Kept,
}

impl<'a> Parts<'a> {
    /// `is_kept`: roll-ups tell the groups apart, and those of devices do with `of_devices`. `None` when there can't be any.
    async fn choose(
        question: &'a Question,
        period: Period,
        filter: FlowFilter,
        step_us: Option<i64>,
        is_kept: bool,
        of_devices: bool,
    ) -> Result<Option<Self>, StoreError> {
        check(&filter)?;
        if period.is_empty() {
            return Ok(None);
        }
        let kept = match kept(&filter) {
            Kept::Flows if !is_kept => Kept::Not,
            Kept::Device(..) if !of_devices => Kept::Not,
            kept => kept,
        };
        let choice = match kept {
            Kept::Not => question.records(&FLOWS, period),
            _ => question.choose(&FLOWS, period, step_us).await?,
        };
        let parts = Parts {
            question,
            choice,
            filter,
            kept,
        };
        Ok((!parts.choice.parts.is_empty()).then_some(parts))
    }

    /// Rows with these values, the flows that each stands for (`n`) and the time of the last one (`last_us`).
    fn union(&self, values: &dyn Fn(TableKind) -> String, also: &str) -> String {
        let select = |(kind, period): &(TableKind, Period)| {
            let (n, last) = match kind {
                TableKind::Flows => ("toUInt64(1)", "time"),
                _ => ("flows", "last"),
            };
            format!(
                "SELECT {}, {n} AS n, toUnixTimestamp64Micro({last}) AS last_us {} AND {also}",
                values(*kind),
                self.rows(*kind, *period)
            )
        };
        let selects: Vec<String> = self.choice.parts.iter().map(select).collect();
        selects.join(" UNION ALL ")
    }

    fn rows(&self, kind: TableKind, period: Period) -> String {
        let tables = &self.question.tables;
        let minutes = kind == TableKind::FlowMinutes;
        let passes = |filter: &FlowFilter| condition(filter, tables, period);
        if kind == TableKind::Flows {
            return format!("{} AND {}", tables.rows("flows", period), passes(&self.filter));
        }
        match &self.kept {
            Kept::Device(device, rest) => {
                let table = if minutes { "device_minutes" } else { "device_hours" };
                format!("{} AND id = {} AND {}", tables.rows(table, period), id(*device), passes(rest))
            }
            Kept::Flows => {
                let table = if minutes { "flow_minutes" } else { "flow_hours" };
                format!("{} AND {}", tables.rows(table, period), passes(&self.filter))
            }
            Kept::Not => format!("{} AND {}", tables.rows("pair_hours", period), passes(&self.filter)),
        }
    }
}

/// Number of the bin of a row in the period.
fn bin(bins: &Bins) -> String {
    format!("intDiv(toUnixTimestamp64Micro(time) - ({}), {})", bins.first_us, bins.step_us)
}

fn expression(dimension: Dimension, kind: TableKind) -> String {
    match dimension {
        Dimension::Service => {
            let known = |port: &str| format!("proto IN (6, 17, 132) AND {port} < {}", FlowRow::EPHEMERAL);
            format!(
                "multiIf(ifNull({}, 0), toNullable(dst_tp), ifNull({}, 0), toNullable(src_tp), NULL)",
                known("dst_tp"),
                known("src_tp")
            )
        }
        Dimension::Vlan if kind == TableKind::Flows => "if(empty(vlans), NULL, vlans[1])".to_owned(),
        other => other.column().to_owned(),
    }
}

/// How the values of a dimension are sent.
enum Form {
    Number,
    Id,
    Ip,
    Mac,
    Text,
}

fn form(dimension: Dimension) -> Form {
    match dimension {
        Dimension::SrcMac | Dimension::DstMac => Form::Mac,
        Dimension::SrcIp | Dimension::DstIp => Form::Ip,
        Dimension::SrcTenant | Dimension::DstTenant => Form::Text,
        Dimension::SrcNetwork
        | Dimension::DstNetwork
        | Dimension::SrcPort
        | Dimension::DstPort
        | Dimension::InPort
        | Dimension::Host
        | Dimension::Gateway
        | Dimension::Rule
        | Dimension::Path => Form::Id,
        Dimension::SrcTp
        | Dimension::DstTp
        | Dimension::Proto
        | Dimension::EtherType
        | Dimension::Vlan
        | Dimension::Verdict
        | Dimension::SimResult
        | Dimension::Service => Form::Number,
    }
}

fn cast(dimension: Dimension, value: &str) -> String {
    let kind = match form(dimension) {
        Form::Number | Form::Mac => "UInt64",
        Form::Id => "UUID",
        Form::Ip => "IPv6",
        Form::Text => "String",
    };
    format!("CAST({value}, 'Nullable({kind})')")
}

/// Groups of as many flows are in the order of their values, as [`DimValue`] has it.
fn order(dimension: Dimension, at: usize) -> String {
    match form(dimension) {
        // ClickHouse orders UUIDs by their second half.
        Form::Id => format!("UUIDToNum(d{at}) ASC NULLS FIRST"),
        Form::Ip => {
            format!(
                "d{at} IS NOT NULL, NOT ifNull(d{at} >= toIPv6('::ffff:0.0.0.0') AND d{at} <= toIPv6('::ffff:255.255.255.255'), 1), d{at} ASC NULLS FIRST"
            )
        }
        _ => format!("d{at} ASC NULLS FIRST"),
    }
}

fn value(dimension: Dimension, reader: &mut Reader<'_>) -> Result<DimValue, StoreError> {
    let value = match form(dimension) {
        Form::Number => reader.maybe(Reader::u64)?.map(|number| {
            let verdict = u8::try_from(number).ok().and_then(Verdict::from_number);
            match (dimension, verdict) {
                (Dimension::Verdict, Some(verdict)) => DimValue::Verdict(verdict),
                _ => DimValue::Number(number),
            }
        }),
        Form::Mac => reader.maybe(Reader::i64)?.map(|number| DimValue::Mac(Mac::from_number(number))),
        Form::Id => reader.maybe(Reader::id)?.map(|id| match dimension {
            Dimension::Path => DimValue::Path(PathId(id.into_bytes())),
            _ => DimValue::Id(id),
        }),
        Form::Ip => reader.maybe(Reader::address)?.map(DimValue::Ip),
        Form::Text => reader.maybe(|reader| reader.text().map(|text| DimValue::Text(text.into())))?,
    };
    Ok(value.unwrap_or(DimValue::None))
}
