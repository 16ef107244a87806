// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{Int64Type, TimestampMicrosecondType, UInt8Type},
    },
    functions_aggregate::expr_fn::{max, sum},
    logical_expr::{Expr, ident, lit},
};
use futures::TryStreamExt;

use super::{
    Bin, Pair, Pairs, PairsQuery, Scanned, SiteTable, View,
    compile::{check, compile, in_period},
    engine::{Run, failed},
    groups::{Groups, group_parts, limit, note},
    levels::{FLOWS, Kept, Part, Plan, of_all},
};
use crate::{
    StoreError,
    filter::address_from,
    row::Verdict,
    table::{Facet, TableKind, columns_of, fixed_at},
};

/// Pairs that are held while the greatest are found: some 300 MB.
const MAX_PAIRS: usize = 2_000_000;

type Addresses = (Option<[u8; 16]>, Option<[u8; 16]>);

/// Pairs of addresses with the most flows.
pub(crate) async fn pairs(run: Run, view: Arc<dyn View>, query: PairsQuery) -> Result<Pairs, StoreError> {
    limit(query.limit)?;
    check(&query.filter)?;
    if query.period.is_empty() {
        return Ok(Pairs::default());
    }
    let plan = if of_all(&query.filter) {
        Plan::choose(view.as_ref(), &FLOWS, query.period, None)
    } else {
        Plan::records(view.as_ref(), &FLOWS, query.period)
    };
    note(&run, &plan, query.period);
    let (records, rolled): (Vec<Part>, Vec<Part>) = plan.parts.into_iter().partition(|part| part.kind == TableKind::Flows);
    let mut sums = Sums {
        start_us: query.period.from_us,
        ..Sums::default()
    };
    let groups = Groups {
        period: query.period,
        step_us: None,
        filter: query.filter,
        also: None,
        by: ["src_ip", "dst_ip", "verdict"].map(|name| (ident(name), name)).to_vec(),
        sums: &["flows", "last"],
        kept: false,
        of_devices: false,
    };
    group_parts(&run, view.as_ref(), &groups, &Kept::Not, records, |batch| sums.add(batch)).await?;
    for part in rolled {
        let facet = |facet: Facet| ident("facet").eq(lit(facet as u8));
        let pairs = facet(Facet::Pairs).or(facet(Facet::OtherPairs));
        let predicate = compile(&groups.filter, &[])
            .into_iter()
            .fold(in_period(part.period).and(pairs), Expr::and);
        let by = ["src_ip", "dst_ip", "verdict", "facet"].map(ident).to_vec();
        let of = |name: &str| sum(ident(name)).alias(name);
        let frame = run.table(SiteTable::grouped(part.kind, part.snapshot, run.threads()))?;
        let frame = frame
            .filter(predicate)
            .and_then(|frame| frame.aggregate(by, vec![of("flows"), of("bound"), max(ident("last")).alias("last")]));
        let mut batches = run.stream(frame.map_err(failed)?).await?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            sums.add(&batch)?;
        }
    }
    Ok(sums.finish(query.limit))
}

#[derive(Default)]
struct Sums {
    start_us: i64,
    pairs: HashMap<Addresses, (Bin, i64)>,
    other: Bin,
    unsure: u64,
}

impl Sums {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let columns = columns_of(batch);
        let (src, dst) = (columns.fixed("src_ip")?, columns.fixed("dst_ip")?);
        let verdict = columns.numbers::<UInt8Type>("verdict")?;
        let flows = columns.numbers::<Int64Type>("flows")?;
        let last = columns.numbers::<TimestampMicrosecondType>("last")?;
        // Roll-ups alone have these.
        let facet = columns.numbers::<UInt8Type>("facet").ok();
        let bound = columns.numbers::<Int64Type>("bound").ok();
        for at in 0..batch.num_rows() {
            let (verdict, count) = (Verdict::from_number(verdict.value(at)), flows.value(at) as u64);
            if facet.is_some_and(|facet| facet.value(at) == Facet::OtherPairs as u8) {
                self.other.add(verdict, count);
                self.unsure += bound.map_or(0, |bound| bound.value(at) as u64);
                continue;
            }
            let pair = self.pairs.entry((fixed_at(src, at), fixed_at(dst, at))).or_default();
            pair.0.add(verdict, count);
            pair.1 = pair.1.max(last.value(at));
        }
        if self.pairs.len() > MAX_PAIRS {
            return Err(StoreError::OverBudget {
                what: "pairs",
                scanned: Scanned::default(),
            });
        }
        Ok(())
    }

    fn finish(self, limit: usize) -> Pairs {
        let mut all: Vec<(Addresses, (Bin, i64))> = self.pairs.into_iter().collect();
        all.sort_by_key(|(addresses, (flows, _))| (Reverse(flows.total()), *addresses));
        let mut other = self.other;
        for (_, (flows, _)) in all.iter().skip(limit) {
            other.allowed += flows.allowed;
            other.dropped += flows.dropped;
            other.consumed += flows.consumed;
        }
        let start_us = self.start_us;
        let rows = all.into_iter().take(limit).map(|((src, dst), (flows, last_us))| Pair {
            src: src.map(address_from),
            dst: dst.map(address_from),
            flows: Bin { start_us, ..flows },
            last_us,
        });
        Pairs {
            rows: rows.collect(),
            other: Bin { start_us, ..other },
            unsure: self.unsure,
        }
    }
}
