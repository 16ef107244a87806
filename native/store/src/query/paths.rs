// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion::logical_expr::ident;
use futures::TryStreamExt;

use super::{
    Scanned, SiteTable, View,
    compile::{PathSet, id},
    engine::{Run, failed},
};
use crate::{
    StoreError,
    filter::FlowTest,
    ids::Period,
    row::{Path, PathId},
    table::{DAY_US, PathView, Snapshot, TableKind, day_of, paths},
};

/// Paths that one question may hold: some 100 MB.
pub(super) const MAX_PATHS: usize = 4_000_000;

/// Content of paths that one question may ask for at once.
pub(crate) const MAX_CONTENTS: usize = 10_000;

/// The paths that each test holds for.
pub(super) async fn resolve(run: &Run, view: &dyn View, period: Period, tests: Vec<FlowTest>) -> Result<Vec<(FlowTest, PathSet)>, StoreError> {
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let mut sets: Vec<HashSet<[u8; 16]>> = vec![HashSet::new(); tests.len()];
    let mut held = 0;
    scan(run, view, period, None, |path, content| {
        for (test, set) in tests.iter().zip(&mut sets) {
            let holds = match test {
                FlowTest::Device(id) => content.has_device(id),
                FlowTest::Rule(id) => content.has_rule(id, false),
                FlowTest::RuleMatched(id) => content.has_rule(id, true),
                _ => false,
            };
            if holds && set.insert(path.0) {
                held += 1;
            }
        }
        bounded(held)
    })
    .await?;
    Ok(tests.into_iter().zip(sets.into_iter().map(Arc::new)).collect())
}

/// The content of paths of a period.
pub(crate) async fn path_contents(run: Run, view: Arc<dyn View>, period: Period, ids: Vec<PathId>) -> Result<Vec<(PathId, Path)>, StoreError> {
    if ids.len() > MAX_CONTENTS {
        return Err(StoreError::Invalid(format!("at most {MAX_CONTENTS} paths can be asked for at once")));
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: HashSet<PathId> = ids.iter().copied().collect();
    let mut found: HashMap<PathId, Path> = HashMap::new();
    scan(&run, view.as_ref(), period, Some(&ids), |path, content| {
        if wanted.contains(&path) {
            found.entry(path).or_insert_with(|| content.to_path());
        }
        Ok(())
    })
    .await?;
    let mut out = Vec::new();
    for id in ids {
        if let Some(path) = found.remove(&id) {
            out.push((id, path));
        }
    }
    Ok(out)
}

/// Hands all paths of the period's days to `take`; one may come twice. `only` lets the scan skip others, but need not.
pub(super) async fn scan(
    run: &Run,
    view: &dyn View,
    period: Period,
    only: Option<&[PathId]>,
    take: impl FnMut(PathId, PathView<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if period.is_empty() {
        return Ok(());
    }
    // A path is noted once a day, at any time of it.
    let first = day_of(period.from_us).saturating_mul(DAY_US);
    let last = day_of(period.to_us - 1).saturating_add(1).saturating_mul(DAY_US);
    scan_paths(run, view.paths(Period::new(first, last)), only, take).await
}

/// Hands all paths of a snapshot to `take`, as [`scan`].
pub(crate) async fn scan_paths(
    run: &Run,
    snapshot: Snapshot,
    only: Option<&[PathId]>,
    mut take: impl FnMut(PathId, PathView<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if snapshot.memory.is_empty() && snapshot.files.is_empty() {
        return Ok(());
    }
    let mut frame = run.table(SiteTable::grouped(TableKind::Paths, snapshot, run.threads()))?;
    if let Some(only) = only {
        frame = frame
            .filter(ident("path").in_list(only.iter().map(|path| id(path.0)).collect(), false))
            .map_err(failed)?;
    }
    let mut batches = run.stream(frame).await?;
    while let Some(batch) = batches.try_next().await.map_err(failed)? {
        let mut outcome = Ok(());
        paths(&batch, |path, content| {
            if outcome.is_ok() {
                outcome = take(path, content);
            }
        })?;
        outcome?;
    }
    Ok(())
}

pub(super) fn bounded(held: usize) -> Result<(), StoreError> {
    if held > MAX_PATHS {
        return Err(StoreError::OverBudget {
            what: "paths",
            scanned: Scanned::default(),
        });
    }
    Ok(())
}
