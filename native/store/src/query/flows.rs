// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{cmp::Reverse, sync::Arc};

use datafusion::{
    arrow::array::RecordBatch,
    logical_expr::{Expr, ident, lit},
    prelude::DataFrame,
};
use futures::TryStreamExt;

use super::{
    FlowPage, FlowQuery, SiteTable, StoredFlow, View,
    compile::{behind, check, compile, in_period, path_tests, time},
    ends,
    engine::{Run, failed},
    paths::resolve,
    scan::Layout,
};
use crate::{
    StoreError,
    ids::Period,
    parquet::DataFile,
    row::FlowId,
    table::{Snapshot, TableKind, flow_ids, flows},
};

/// Files that are read first; twice as many each time, up to the bound, until the page is full. Files hardly overlap in time, so the
/// newest one nearly always suffices when many flows match.
const FIRST_FILES: usize = 2;
const MOST_FILES: usize = 32;

/// A page of flows, newest first.
pub(crate) async fn flow_page(run: Run, view: Arc<dyn View>, query: FlowQuery) -> Result<FlowPage, StoreError> {
    check(&query.filter)?;
    if query.limit == 0 || query.limit > FlowQuery::MAX_LIMIT {
        return Err(StoreError::Invalid(format!("a page has 1 to {} flows", FlowQuery::MAX_LIMIT)));
    }
    let period = match query.after {
        Some(after) => Period::new(query.period.from_us, query.period.to_us.min(after.time_us.saturating_add(1))),
        None => query.period,
    };
    if period.is_empty() {
        return Ok(FlowPage::default());
    }
    let paths = resolve(&run, view.as_ref(), period, path_tests(&query.filter)).await?;
    let mut predicate = in_period(period);
    if let Some(after) = query.after {
        predicate = predicate.and(behind(after));
    }
    if let Some(filter) = compile(&query.filter, &paths) {
        predicate = predicate.and(filter);
    }
    // One more than asked for tells whether there is a next page.
    let mut page = Page {
        limit: query.limit + 1,
        flows: Vec::new(),
    };
    let snapshot = view.flows(period);
    page.add(&newest(&run, &snapshot.in_memory(), Layout::Grouped(1), predicate.clone(), page.limit).await?)?;
    let mut files = snapshot.files.as_slice();
    let mut chunk = FIRST_FILES;
    while let Some(next) = next_files(&mut files, &page, &mut chunk) {
        // What is older than a full page's last flow need not be looked at.
        let predicate = match page.floor() {
            Some(floor) => predicate.clone().and(ident("time").gt_eq(time(floor))),
            None => predicate.clone(),
        };
        page.add(&newest(&run, &snapshot.in_files(next), Layout::Ordered, predicate, page.limit).await?)?;
    }
    let more = page.flows.len() > query.limit;
    page.flows.truncate(query.limit);
    let next = page.flows.last().filter(|_| more).map(|flow| flow.id);
    Ok(FlowPage { flows: page.flows, next })
}

/// One flow by its identity.
pub(crate) async fn flow_by_id(run: Run, view: Arc<dyn View>, id: FlowId) -> Result<Option<StoredFlow>, StoreError> {
    let Some(end) = id.time_us.checked_add(1) else { return Ok(None) };
    let snapshot = view.flows(Period::new(id.time_us, end));
    let predicate = ident("time").eq(time(id.time_us)).and(ident("row").eq(lit(id.row)));
    let found = newest(&run, &snapshot, Layout::Grouped(run.threads()), predicate, 1).await?;
    Ok(found.iter().map(flows).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().next())
}

struct Page {
    limit: usize,
    flows: Vec<StoredFlow>,
}

impl Page {
    fn add(&mut self, batches: &[RecordBatch]) -> Result<(), StoreError> {
        let floor = self.flows.last().filter(|_| self.flows.len() >= self.limit).map(|flow| flow.id);
        for batch in batches {
            let ids = flow_ids(batch)?;
            if floor.is_none_or(|floor| ids.iter().any(|id| *id > floor)) {
                self.flows.extend(flows(batch)?);
            }
        }
        self.flows.sort_unstable_by_key(|flow| Reverse(flow.id));
        self.flows.truncate(self.limit);
        Ok(())
    }

    /// Time of the last flow of a full page.
    fn floor(&self) -> Option<i64> {
        self.flows.last().filter(|_| self.flows.len() >= self.limit).map(|flow| flow.id.time_us)
    }
}

/// The files to be read next: newest first, none that can't have anything for the page.
fn next_files(files: &mut &[Arc<DataFile>], page: &Page, chunk: &mut usize) -> Option<Vec<Arc<DataFile>>> {
    let (next, rest) = files.split_at((*chunk).min(files.len()));
    *files = rest;
    *chunk = (*chunk * 2).min(MOST_FILES);
    let next: Vec<_> = next
        .iter()
        .filter(|file| page.floor().is_none_or(|floor| file.max_us >= floor))
        .cloned()
        .collect();
    // The list is in the order of the last row: where none is left, none follows.
    if next.is_empty() { None } else { Some(next) }
}

/// The newest flows that pass, in no order; up to the limit from each form of files.
async fn newest(run: &Run, snapshot: &Snapshot, layout: Layout, predicate: Expr, limit: usize) -> Result<Vec<RecordBatch>, StoreError> {
    let mut found = Vec::new();
    let [plain, at_rest] = snapshot.by_form();
    let plain = SiteTable::new(TableKind::Flows, plain, layout);
    if plain.size() != (0, 0) {
        let frame = run.table(plain)?.filter(predicate.clone()).map_err(failed)?;
        found = first(run, frame, limit).await?;
    }
    let at_rest = SiteTable::new(TableKind::FlowRests, at_rest, layout);
    if at_rest.size() != (0, 0) {
        let frame = ends::frame(run, at_rest, Some(predicate), None).await?;
        let rests = first(run, frame, limit).await?;
        found.extend(ends::whole(run, snapshot, &rests).await?);
    }
    Ok(found)
}

async fn first(run: &Run, frame: DataFrame, limit: usize) -> Result<Vec<RecordBatch>, StoreError> {
    let order = TableKind::Flows
        .order()
        .iter()
        .map(|(name, descending)| ident(*name).sort(!descending, false))
        .collect();
    let frame = frame.sort(order).and_then(|frame| frame.limit(0, Some(limit)));
    run.stream(frame.map_err(failed)?).await?.try_collect().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;

    use super::*;
    use crate::{
        catalog::files::FileEntry,
        filter::{FlowFilter, FlowTest, Prefix},
        ids::SiteId,
        parquet::write_flows,
        query::Engine,
        row::FlowRow,
        store::StoreOptions,
        table::{Numbers, flow_batch},
        testing::flow,
    };

    /// A file of flows, and that of their ends if there are new ones.
    fn files(dir: &std::path::Path, numbers: &Numbers, number: u64) -> (Arc<DataFile>, Option<Arc<DataFile>>) {
        let rows: Vec<_> = (0..100)
            .map(|at| FlowRow {
                ttl: (at % 50) as u8,
                ..flow(number as i64 * 1_000 + at)
            })
            .collect();
        let batch = flow_batch(&rows, number * 1_000).unwrap();
        let (flows, mut ends) = write_flows(dir, SiteId::random(), numbers, &[&batch]).unwrap();
        let file = |entry: &FileEntry| Arc::new(DataFile::new(number, dir.join(entry.kind.name()).join(&entry.name), entry));
        let ends = ends.pop().unwrap();
        numbers.keep(ends.day, ends.fresh, 1_000);
        (file(&flows[0]), ends.entry.as_ref().map(file))
    }

    /// The two things that make a page fast: files are merged in their own order without a sort, and the filter is inside of the scan.
    #[test]
    fn the_plan_of_a_page_uses_the_order_and_filters_in_the_scan() {
        let dir = tempfile::tempdir().unwrap();
        let numbers = Numbers::new(1);
        let (files, ends): (Vec<_>, Vec<_>) = (0..3).map(|number| files(dir.path(), &numbers, number)).unzip();
        let ends: Vec<_> = ends.into_iter().flatten().collect();
        assert_eq!((ends.len(), ends[0].rows, numbers.next()), (1, 50, 51));
        let engine = Engine::new(&StoreOptions {
            query_threads: 2,
            ..StoreOptions::new(dir.path())
        })
        .unwrap();
        let plan = engine
            .run_now(async |run| {
                let address = FlowTest::Ip(crate::End::Either, Prefix::host([10, 0, 0, 1].into()));
                let filter = FlowFilter::from(address).and(FlowTest::Ttl(0..=30).into());
                let predicate = in_period(Period::new(0, 10_000)).and(compile(&filter, &[]).unwrap());
                let order = TableKind::Flows
                    .order()
                    .iter()
                    .map(|(name, descending)| ident(*name).sort(!descending, false))
                    .collect();
                let snapshot = Snapshot {
                    files,
                    ends,
                    ..Snapshot::default()
                };
                let table = SiteTable::ordered(TableKind::FlowRests, snapshot);
                let frame = ends::frame(&run, table, Some(predicate), None).await?;
                let frame = frame.sort(order).unwrap().limit(0, Some(10)).unwrap();
                Ok(frame.create_physical_plan().await.unwrap())
            })
            .unwrap();
        let text = displayable(plan.as_ref()).indent(false).to_string();
        assert!(text.contains("SortPreservingMergeExec") && text.contains("fetch=10"), "{text}");
        assert!(!text.contains("SortExec") && !text.contains("FilterExec"), "{text}");
        assert!(text.contains("predicate=") && text.contains("pruning_predicate="), "{text}");
        assert!(text.contains("ends_pass") && text.contains("ends_max"), "{text}");
    }
}
