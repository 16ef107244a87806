// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{Int64Type, TimestampMicrosecondType},
    functions_aggregate::expr_fn::{count, max},
    logical_expr::{ident, lit},
};
use uuid::Uuid;

use super::{
    HitsQuery, RuleHits, View,
    engine::Run,
    groups::group,
    paths::{bounded, scan},
};
use crate::{
    StoreError,
    table::{columns_of, fixed_at},
};

/// How often rules were met: flows are counted by path, then each path's rules get its count.
pub(crate) async fn hits(run: Run, view: Arc<dyn View>, query: HitsQuery) -> Result<Vec<RuleHits>, StoreError> {
    let mut flows: HashMap<[u8; 16], (u64, i64)> = HashMap::new();
    let aggregates = vec![count(lit(1_i64)).alias("flows"), max(ident("time")).alias("last")];
    let on_path = Some(ident("path").is_not_null());
    group(
        &run,
        view.as_ref(),
        query.period,
        &query.filter,
        on_path,
        vec![ident("path")],
        aggregates,
        |batch| {
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
        },
    )
    .await?;
    let mut rules: BTreeMap<Uuid, RuleHits> = BTreeMap::new();
    let mut on_this: HashMap<Uuid, (bool, bool)> = HashMap::new();
    if !flows.is_empty() {
        scan(&run, view.as_ref(), query.period, None, |path, content| {
            // A path may come once for each day; its flows count once.
            let Some((count, last_us)) = flows.remove(&path.0) else { return Ok(()) };
            on_this.clear();
            for rule in content.rules() {
                let flags = on_this.entry(rule.id).or_default();
                flags.0 |= rule.matched;
                flags.1 |= rule.applied;
            }
            for (rule, (matched, applied)) in on_this.drain() {
                let hits = rules.entry(rule).or_insert(RuleHits {
                    rule,
                    evaluated: 0,
                    matched: 0,
                    applied: 0,
                    last_matched_us: None,
                });
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
    Ok(rules.into_values().collect())
}
