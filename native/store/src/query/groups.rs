// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Int64Type, UInt8Type},
    },
    functions_aggregate::expr_fn::{max, sum},
    logical_expr::{Expr, cast, ident, lit},
    prelude::DataFrame,
};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{
    Bin, DimValue, Dimension, DropsQuery, HistogramQuery, HitsQuery, RuleDrops, SiteTable, Top, TopQuery, View,
    compile::{check, compile, id, in_period, path_tests},
    ends,
    engine::{Run, failed},
    levels::{self, Kept, Part, Plan, kept},
    paths::resolve,
    top::Best,
};
use crate::{
    StoreError,
    filter::{FlowFilter, FlowTest},
    ids::Period,
    row::Verdict,
    table::{Facet, TableKind, columns_of, fixed_at},
};

/// Flows over time.
pub(crate) async fn histogram(run: Run, view: Arc<dyn View>, query: HistogramQuery) -> Result<Vec<Bin>, StoreError> {
    let bins = Bins::new(query.period, query.step_us)?;
    let mut out: Vec<Bin> = (0..bins.count)
        .map(|at| Bin {
            start_us: bins.start(at),
            ..Bin::default()
        })
        .collect();
    let groups = Groups {
        period: query.period,
        step_us: Some(query.step_us),
        filter: query.filter,
        also: None,
        by: vec![(bins.expression(), "bin"), (ident("verdict"), "verdict")],
        sums: &[FLOWS],
        kept: true,
        of_devices: true,
    };
    group(&run, view.as_ref(), groups, |batch| {
        let columns = columns_of(batch);
        let bin = columns.numbers::<Int64Type>("bin")?;
        let verdict = columns.numbers::<UInt8Type>("verdict")?;
        let flows = columns.numbers::<Int64Type>("flows")?;
        for at in 0..batch.num_rows() {
            if let Some(bin) = usize::try_from(bin.value(at)).ok().and_then(|bin| out.get_mut(bin)) {
                bin.add(Verdict::from_number(verdict.value(at)), flows.value(at) as u64);
            }
        }
        Ok(())
    })
    .await?;
    Ok(out)
}

/// Flows by verdict.
pub(crate) async fn count(run: Run, view: Arc<dyn View>, query: HitsQuery) -> Result<Bin, StoreError> {
    let mut out = Bin {
        start_us: query.period.from_us,
        ..Bin::default()
    };
    let groups = Groups {
        period: query.period,
        step_us: None,
        filter: query.filter,
        also: None,
        by: vec![(ident("verdict"), "verdict")],
        sums: &[FLOWS],
        kept: true,
        of_devices: true,
    };
    group(&run, view.as_ref(), groups, |batch| {
        let columns = columns_of(batch);
        let verdict = columns.numbers::<UInt8Type>("verdict")?;
        let flows = columns.numbers::<Int64Type>("flows")?;
        (0..batch.num_rows()).for_each(|at| out.add(Verdict::from_number(verdict.value(at)), flows.value(at) as u64));
        Ok(())
    })
    .await?;
    Ok(out)
}

/// Values with the most flows.
pub(crate) async fn top(run: Run, view: Arc<dyn View>, query: TopQuery) -> Result<Top, StoreError> {
    if query.dimensions.is_empty() || query.dimensions.len() > TopQuery::MAX_DIMENSIONS {
        return Err(StoreError::Invalid(format!(
            "1 to {} dimensions can be asked for",
            TopQuery::MAX_DIMENSIONS
        )));
    }
    limit(query.limit)?;
    let mut columns: Vec<&'static str> = query.dimensions.iter().map(|dimension| dimension.column()).collect();
    columns.sort_unstable();
    if columns.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(StoreError::Invalid("a dimension is asked for twice".into()));
    }
    let by = query.dimensions.iter().map(|dimension| Ok((dimension.expression()?, dimension.column())));
    let groups = Groups {
        period: query.period,
        step_us: None,
        filter: query.filter,
        also: None,
        by: by.collect::<datafusion::error::Result<_>>().map_err(failed)?,
        sums: &[FLOWS, DROPPED, CONSUMED, LAST],
        kept: query.dimensions.iter().all(|dimension| dimension.is_kept()),
        of_devices: query.dimensions == [Dimension::Verdict],
    };
    let mut best = Best::new(query.limit, query.period.from_us);
    group(&run, view.as_ref(), groups, |batch| best.add(batch, &query.dimensions)).await?;
    Ok(best.finish())
}

/// Rules that dropped the most flows.
pub(crate) async fn drops(run: Run, view: Arc<dyn View>, query: DropsQuery) -> Result<Vec<RuleDrops>, StoreError> {
    limit(query.limit)?;
    let bins = Bins::new(query.period, query.step_us)?;
    if bins.count as usize * query.limit > MAX_CELLS {
        return Err(StoreError::Invalid(format!(
            "{} rules in {} bins are more than {MAX_CELLS} values",
            query.limit, bins.count
        )));
    }
    let filter = query.filter.and(FlowTest::Verdict(Verdict::Dropped).into());
    let mut best = Best::new(query.limit, query.period.from_us);
    let groups = Groups {
        period: query.period,
        step_us: Some(query.step_us),
        filter: filter.clone(),
        also: Some(ident("rule").is_not_null()),
        by: vec![(ident("rule"), "rule")],
        sums: &[FLOWS, LAST],
        kept: true,
        of_devices: false,
    };
    group(&run, view.as_ref(), groups, |batch| best.add(batch, &[Dimension::Rule])).await?;
    let mut out: Vec<RuleDrops> = Vec::new();
    for row in best.finish().rows {
        let [DimValue::Id(rule)] = row.values[..] else { continue };
        let empty = (0..bins.count).map(|at| (bins.start(at), 0)).collect();
        out.push(RuleDrops {
            rule,
            flows: row.flows.total(),
            last_us: row.last_us,
            bins: empty,
        });
    }
    if out.is_empty() {
        return Ok(out);
    }
    let places: HashMap<Uuid, usize> = out.iter().enumerate().map(|(at, drops)| (drops.rule, at)).collect();
    let these = ident("rule").in_list(out.iter().map(|drops| id(drops.rule.into_bytes())).collect(), false);
    let groups = Groups {
        period: query.period,
        step_us: Some(query.step_us),
        filter,
        also: Some(these),
        by: vec![(ident("rule"), "rule"), (bins.expression(), "bin")],
        sums: &[FLOWS],
        kept: true,
        of_devices: false,
    };
    group(&run, view.as_ref(), groups, |batch| {
        let columns = columns_of(batch);
        let rule = columns.fixed("rule")?;
        let bin = columns.numbers::<Int64Type>("bin")?;
        let flows = columns.numbers::<Int64Type>("flows")?;
        for at in 0..batch.num_rows() {
            let place = fixed_at(rule, at).and_then(|rule| places.get(&Uuid::from_bytes(rule)));
            let cell = place.and_then(|place| out[*place].bins.get_mut(usize::try_from(bin.value(at)).ok()?));
            if let Some(cell) = cell {
                cell.1 += flows.value(at) as u64;
            }
        }
        Ok(())
    })
    .await?;
    Ok(out)
}

/// Values of one answer: rules times bins.
pub(crate) const MAX_CELLS: usize = 1_000_000;

pub(crate) fn limit(limit: usize) -> Result<(), StoreError> {
    if limit == 0 || limit > TopQuery::MAX_LIMIT {
        return Err(StoreError::Invalid(format!("1 to {} values can be asked for", TopQuery::MAX_LIMIT)));
    }
    Ok(())
}

/// What flows are grouped by, and what is asked of each group.
pub(super) struct Groups {
    pub(super) period: Period,
    /// Width of bins among the groups.
    pub(super) step_us: Option<i64>,
    pub(super) filter: FlowFilter,
    /// A condition besides the filter, on what roll-ups keep.
    pub(super) also: Option<Expr>,
    /// Values with the names that they get.
    pub(super) by: Vec<(Expr, &'static str)>,
    /// Of [`FLOWS`], [`DROPPED`], [`CONSUMED`] and [`LAST`].
    pub(super) sums: &'static [&'static str],
    /// Roll-ups tell the groups apart.
    pub(super) kept: bool,
    /// And so do those of devices, which know only time, verdict and transit.
    pub(super) of_devices: bool,
}

const FLOWS: &str = "flows";
const DROPPED: &str = "dropped_flows";
const CONSUMED: &str = "consumed_flows";
const LAST: &str = "last";

/// Groups flows and hands the groups to `take`, batch by batch, each group once.
pub(super) async fn group(
    run: &Run,
    view: &dyn View,
    groups: Groups,
    take: impl FnMut(&RecordBatch) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    check(&groups.filter)?;
    if groups.period.is_empty() {
        return Ok(());
    }
    let kept = match kept(&groups.filter) {
        Kept::Flows if !groups.kept => Kept::Not,
        Kept::Device(..) if !groups.of_devices => Kept::Not,
        kept => kept,
    };
    let plan = match kept {
        Kept::Not => Plan::records(view, &levels::FLOWS, groups.period),
        _ => Plan::choose(view, &levels::FLOWS, groups.period, groups.step_us),
    };
    note(run, &plan, groups.period);
    group_parts(run, view, &groups, &kept, plan.parts, take).await
}

/// Tells the reader where the answer comes from.
pub(super) fn note(run: &Run, plan: &Plan, asked: Period) {
    run.read_from(plan.level, (plan.period != asked).then_some(plan.period));
}

/// [`group`] over parts of a plan.
pub(super) async fn group_parts(
    run: &Run,
    view: &dyn View,
    groups: &Groups,
    kept: &Kept,
    parts: Vec<Part>,
    mut take: impl FnMut(&RecordBatch) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut all: Option<DataFrame> = None;
    for part in parts.iter().flat_map(Part::by_kind) {
        let table = SiteTable::grouped(part.kind, part.snapshot, run.threads());
        if table.size() == (0, 0) {
            continue;
        }
        let predicate = if part.kind.table() == TableKind::Flows {
            // Paths of the rows that are there are enough.
            let period = part.period.meet(table.span());
            let paths = resolve(run, view, period, path_tests(&groups.filter)).await?;
            compile(&groups.filter, &paths)
        } else {
            let facet = |facet: Facet| ident("facet").eq(lit(facet as u8));
            let rest = |filter: &FlowFilter| compile(filter, &[]);
            match kept {
                Kept::Flows => Some(and(facet(Facet::Flows), rest(&groups.filter))),
                Kept::Device(device, filter) => {
                    let these = facet(Facet::Devices).and(ident("id").eq(id(device.into_bytes())));
                    Some(and(these, rest(filter)))
                }
                Kept::Not => continue,
            }
        };
        let predicate = [predicate, groups.also.clone()]
            .into_iter()
            .flatten()
            .fold(in_period(part.period), Expr::and);
        let columns = groups.columns(part.kind);
        let rows = if part.kind == TableKind::FlowRests {
            ends::frame(run, table, Some(predicate), Some(columns)).await?
        } else {
            let rows = run.table(table)?.filter(predicate).and_then(|frame| frame.select(columns));
            rows.map_err(failed)?
        };
        all = Some(match all {
            Some(others) => others.union(rows).map_err(failed)?,
            None => rows,
        });
    }
    let Some(all) = all else { return Ok(()) };
    let by = groups.by.iter().map(|(_, name)| ident(*name)).collect();
    let sums = groups.sums.iter().map(|name| {
        let column = ident(*name);
        if *name == LAST { max(column) } else { sum(column) }.alias(*name)
    });
    let frame = all.aggregate(by, sums.collect()).map_err(failed)?;
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        take(&batch)?;
    }
    Ok(())
}

fn and(a: Expr, b: Option<Expr>) -> Expr {
    b.into_iter().fold(a, Expr::and)
}

impl Groups {
    /// The groups' values, and what each row adds to their sums.
    fn columns(&self, kind: TableKind) -> Vec<Expr> {
        let is_record = kind.table() == TableKind::Flows;
        let flows = || if is_record { lit(1_i64) } else { ident(FLOWS) };
        let of = |verdict: Verdict| cast(ident("verdict").eq(lit(verdict as u8)), DataType::Int64) * flows();
        let sums = self.sums.iter().map(|name| {
            let column = match *name {
                DROPPED => of(Verdict::Dropped),
                CONSUMED => of(Verdict::Consumed),
                LAST => ident(if is_record { "time" } else { LAST }),
                _ => flows(),
            };
            column.alias(*name)
        });
        self.by.iter().map(|(value, name)| value.clone().alias(*name)).chain(sums).collect()
    }
}

/// Bins of equal width over a period.
pub(crate) struct Bins {
    pub(crate) first_us: i64,
    pub(crate) step_us: i64,
    pub(crate) count: i64,
}

impl Bins {
    pub(crate) fn new(period: Period, step_us: i64) -> Result<Self, StoreError> {
        if step_us <= 0 {
            return Err(StoreError::Invalid("the width of bins must be above zero".into()));
        }
        let first_us = period.from_us.div_euclid(step_us).checked_mul(step_us);
        let width = first_us
            .and_then(|first_us| period.to_us.checked_sub(first_us))
            .ok_or_else(|| StoreError::Invalid("the period is too long".into()))?;
        let count = if period.is_empty() {
            0
        } else {
            width.div_euclid(step_us) + i64::from(width.rem_euclid(step_us) != 0)
        };
        if count > HistogramQuery::MAX_BINS {
            return Err(StoreError::Invalid(format!(
                "{count} bins, at most {} are allowed",
                HistogramQuery::MAX_BINS
            )));
        }
        Ok(Self {
            first_us: period.to_us - width,
            step_us,
            count,
        })
    }

    pub(crate) fn start(&self, at: i64) -> i64 {
        self.first_us + at * self.step_us
    }

    /// Index of the bin that a time is in.
    pub(super) fn index(&self, time_us: i64) -> i64 {
        (time_us - self.first_us).div_euclid(self.step_us)
    }

    /// Number of the bin of a row in the period.
    fn expression(&self) -> Expr {
        (cast(ident("time"), DataType::Int64) - lit(self.first_us)) / lit(self.step_us)
    }
}
