// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Int64Type, UInt8Type},
    },
    functions_aggregate::expr_fn::{count as count_of, max, sum},
    logical_expr::{Expr, cast, ident, lit},
};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{
    Bin, DimValue, Dimension, DropsQuery, HistogramQuery, HitsQuery, RuleDrops, SiteTable, Top, TopQuery, View,
    compile::{check, compile, id, in_period, path_tests},
    engine::{Run, failed},
    paths::resolve,
    top::Best,
};
use crate::{
    StoreError,
    filter::{FlowFilter, FlowTest},
    ids::Period,
    row::Verdict,
    table::{TableKind, columns_of, fixed_at},
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
    let groups = vec![bins.expression().alias("bin"), ident("verdict")];
    group(&run, view.as_ref(), query.period, &query.filter, None, groups, vec![flows()], |batch| {
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
    group(
        &run,
        view.as_ref(),
        query.period,
        &query.filter,
        None,
        vec![ident("verdict")],
        vec![flows()],
        |batch| {
            let columns = columns_of(batch);
            let verdict = columns.numbers::<UInt8Type>("verdict")?;
            let flows = columns.numbers::<Int64Type>("flows")?;
            (0..batch.num_rows()).for_each(|at| out.add(Verdict::from_number(verdict.value(at)), flows.value(at) as u64));
            Ok(())
        },
    )
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
    let groups = columns.iter().map(|name| ident(*name)).collect::<Vec<_>>();
    columns.sort_unstable();
    if columns.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(StoreError::Invalid("a dimension is asked for twice".into()));
    }
    let with = |verdict: Verdict| sum(cast(ident("verdict").eq(lit(verdict as u8)), DataType::Int64));
    let aggregates = vec![
        flows(),
        with(Verdict::Dropped).alias("dropped_flows"),
        with(Verdict::Consumed).alias("consumed_flows"),
        max(ident("time")).alias("last"),
    ];
    let mut best = Best::new(query.limit, query.period.from_us);
    group(&run, view.as_ref(), query.period, &query.filter, None, groups, aggregates, |batch| {
        best.add(batch, &query.dimensions)
    })
    .await?;
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
    let decided = Some(ident("rule").is_not_null());
    let mut best = Best::new(query.limit, query.period.from_us);
    let columns = vec![flows(), max(ident("time")).alias("last")];
    group(
        &run,
        view.as_ref(),
        query.period,
        &filter,
        decided,
        vec![ident("rule")],
        columns,
        |batch| best.add(batch, &[Dimension::Rule]),
    )
    .await?;
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
    let groups = vec![ident("rule"), bins.expression().alias("bin")];
    group(&run, view.as_ref(), query.period, &filter, Some(these), groups, vec![flows()], |batch| {
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
const MAX_CELLS: usize = 1_000_000;

fn limit(limit: usize) -> Result<(), StoreError> {
    if limit == 0 || limit > TopQuery::MAX_LIMIT {
        return Err(StoreError::Invalid(format!("1 to {} values can be asked for", TopQuery::MAX_LIMIT)));
    }
    Ok(())
}

fn flows() -> Expr {
    count_of(lit(1_i64)).alias("flows")
}

/// Groups the flows of a filter and hands the groups to `take`, batch by batch.
#[allow(clippy::too_many_arguments, reason = "the parts of one statement")]
pub(super) async fn group(
    run: &Run,
    view: &dyn View,
    period: Period,
    filter: &FlowFilter,
    also: Option<Expr>,
    groups: Vec<Expr>,
    aggregates: Vec<Expr>,
    mut take: impl FnMut(&RecordBatch) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    check(filter)?;
    if period.is_empty() {
        return Ok(());
    }
    let paths = resolve(run, view, period, path_tests(filter)).await?;
    let predicate = [compile(filter, &paths), also].into_iter().flatten().fold(in_period(period), Expr::and);
    let table = SiteTable::grouped(TableKind::Flows, view.flows(period), run.threads());
    if table.size() == (0, 0) {
        return Ok(());
    }
    let frame = run
        .table(table)?
        .filter(predicate)
        .and_then(|frame| frame.aggregate(groups, aggregates))
        .map_err(failed)?;
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        take(&batch)?;
    }
    Ok(())
}

/// Bins of equal width over a period.
pub(super) struct Bins {
    first_us: i64,
    step_us: i64,
    pub(super) count: i64,
}

impl Bins {
    pub(super) fn new(period: Period, step_us: i64) -> Result<Self, StoreError> {
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

    pub(super) fn start(&self, at: i64) -> i64 {
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
