// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::Array,
        datatypes::{Int64Type, TimestampMicrosecondType},
    },
    functions_aggregate::expr_fn::{max, sum},
    logical_expr::{Expr, ident, lit},
};
use futures::TryStreamExt;
use uuid::Uuid;

use super::{
    HitsQuery, RuleHits, SiteTable, View,
    compile::{check, compile, in_period},
    engine::{Run, failed},
    groups::{Groups, group_parts, note},
    levels::{FLOWS, Kept, Part, Plan, of_all},
    paths::{bounded, scan},
};
use crate::{
    StoreError,
    ids::Period,
    table::{Facet, TableKind, columns_of, fixed_at},
};

/// How often rules were met: flows are counted by path, then each path's rules get its count.
pub(crate) async fn hits(run: Run, view: Arc<dyn View>, query: HitsQuery) -> Result<Vec<RuleHits>, StoreError> {
    let groups = Groups {
        period: query.period,
        step_us: None,
        filter: query.filter,
        also: None,
        by: vec![(ident("path"), "path")],
        sums: &["flows", "last"],
        kept: false,
        of_devices: false,
    };
    check(&groups.filter)?;
    if groups.period.is_empty() {
        return Ok(Vec::new());
    }
    let plan = if of_all(&groups.filter) {
        Plan::choose(view.as_ref(), &FLOWS, query.period, None)
    } else {
        Plan::records(view.as_ref(), &FLOWS, query.period)
    };
    note(&run, &plan, query.period);
    let (records, rolled): (Vec<Part>, Vec<Part>) = plan.parts.into_iter().partition(|part| part.kind == TableKind::Flows);
    let days = records
        .iter()
        .map(|part| part.span())
        .reduce(|a, b| Period::new(a.from_us.min(b.from_us), a.to_us.max(b.to_us)));
    let days = days.unwrap_or(query.period).meet(plan.period);
    let mut flows: HashMap<[u8; 16], (u64, i64)> = HashMap::new();
    group_parts(&run, view.as_ref(), &groups, &Kept::Not, records, |batch| {
        let columns = columns_of(batch);
        let path = columns.fixed("path")?;
        let count = columns.numbers::<Int64Type>("flows")?;
        let last = columns.numbers::<TimestampMicrosecondType>("last")?;
        for at in 0..batch.num_rows() {
            if let Some(path) = fixed_at(path, at) {
                flows.insert(path, (count.value(at) as u64, last.value(at)));
            }
        }
        bounded(flows.len())
    })
    .await?;
    let mut rules: BTreeMap<Uuid, RuleHits> = BTreeMap::new();
    let mut on_this: HashMap<Uuid, (bool, bool)> = HashMap::new();
    if !flows.is_empty() {
        scan(&run, view.as_ref(), days, None, |path, content| {
            // A path may come once for each day; its flows count once.
            let Some((count, last_us)) = flows.remove(&path.0) else { return Ok(()) };
            on_this.clear();
            for rule in content.rules() {
                let flags = on_this.entry(rule.id).or_default();
                flags.0 |= rule.matched;
                flags.1 |= rule.applied;
            }
            for (rule, (matched, applied)) in on_this.drain() {
                let hits = rules.entry(rule).or_insert_with(|| none(rule));
                hits.evaluated += count;
                if matched {
                    hits.matched += count;
                    hits.last_matched_us = hits.last_matched_us.max(Some(last_us));
                }
                if applied {
                    hits.applied += count;
                }
            }
            Ok(())
        })
        .await?;
    }
    for part in rolled {
        let facet = ident("facet").eq(lit(Facet::Rules as u8));
        let predicate = compile(&groups.filter, &[])
            .into_iter()
            .fold(in_period(part.period).and(facet), Expr::and);
        let of = |name: &str| sum(ident(name)).alias(name);
        let sums = vec![
            of("flows"),
            of("matched"),
            of("applied"),
            max(ident("last_matched")).alias("last_matched"),
        ];
        let frame = run.table(SiteTable::grouped(part.kind, part.snapshot, run.threads()))?;
        let frame = frame.filter(predicate).and_then(|frame| frame.aggregate(vec![ident("id")], sums));
        let mut batches = run.stream(frame.map_err(failed)?).await?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            let columns = columns_of(&batch);
            let id = columns.fixed("id")?;
            let number = |name| columns.numbers::<Int64Type>(name);
            let (flows, matched, applied) = (number("flows")?, number("matched")?, number("applied")?);
            let last = columns.numbers::<TimestampMicrosecondType>("last_matched")?;
            for at in 0..batch.num_rows() {
                let Some(rule) = fixed_at(id, at).map(Uuid::from_bytes) else { continue };
                let hits = rules.entry(rule).or_insert_with(|| none(rule));
                hits.evaluated += flows.value(at) as u64;
                hits.matched += matched.value(at) as u64;
                hits.applied += applied.value(at) as u64;
                hits.last_matched_us = hits.last_matched_us.max(last.is_valid(at).then(|| last.value(at)));
            }
        }
    }
    Ok(rules.into_values().collect())
}

fn none(rule: Uuid) -> RuleHits {
    RuleHits {
        rule,
        evaluated: 0,
        matched: 0,
        applied: 0,
        last_matched_us: None,
    }
}
