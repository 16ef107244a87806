// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows and paths as they are.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    binary::Reader,
    question::Question,
    rows::{flow_columns, path, stored_flow},
    sql::{condition, ids, time},
};
use crate::{
    StoreError,
    ids::Period,
    query::{FlowPage, FlowQuery, MAX_CONTENTS, StoredFlow, check},
    row::{FlowId, Path, PathId},
};

/// A page of flows, newest first.
pub(super) async fn flow_page(question: &Question, query: FlowQuery) -> Result<FlowPage, StoreError> {
    check(&query.filter)?;
    if query.limit == 0 || query.limit > FlowQuery::MAX_LIMIT {
        return Err(StoreError::Invalid(format!("a page has 1 to {} flows", FlowQuery::MAX_LIMIT)));
    }
    let mut period = query.period;
    let mut behind = String::new();
    if let Some(after) = query.after {
        period = period.meet(Period::new(i64::MIN, after.time_us.saturating_add(1)));
        behind = format!(" AND (time < {} OR `row` < {})", time(after.time_us), after.row);
    }
    if period.is_empty() {
        return Ok(FlowPage::default());
    }
    // One more than asked for tells whether there is a next page.
    let sql = format!(
        "SELECT {} {}{behind} AND {} ORDER BY time DESC, `row` DESC LIMIT {}",
        flow_columns(),
        question.tables.rows("flows", period),
        condition(&query.filter, &question.tables, period),
        query.limit + 1
    );
    let mut flows = flows(&question.ask(&sql).await?)?;
    let more = flows.len() > query.limit;
    flows.truncate(query.limit);
    let next = flows.last().filter(|_| more).map(|flow| flow.id);
    Ok(FlowPage { flows, next })
}

/// One flow by its identity.
pub(super) async fn flow_by_id(question: &Question, id: FlowId) -> Result<Option<StoredFlow>, StoreError> {
    let Some(end) = id.time_us.checked_add(1) else { return Ok(None) };
    let sql = format!(
        "SELECT {} {} AND `row` = {} LIMIT 1",
        flow_columns(),
        question.tables.rows("flows", Period::new(id.time_us, end)),
        id.row
    );
    Ok(flows(&question.ask(&sql).await?)?.into_iter().next())
}

fn flows(bytes: &[u8]) -> Result<Vec<StoredFlow>, StoreError> {
    let mut reader = Reader(bytes);
    let mut out = Vec::new();
    while !reader.is_empty() {
        out.push(stored_flow(&mut reader)?);
    }
    Ok(out)
}

/// The content of paths of a period, in the order in which they were asked for.
pub(super) async fn path_contents(question: &Question, period: Period, wanted: Vec<PathId>) -> Result<Vec<(PathId, Path)>, StoreError> {
    if wanted.len() > MAX_CONTENTS {
        return Err(StoreError::Invalid(format!("at most {MAX_CONTENTS} paths can be asked for at once")));
    }
    if wanted.is_empty() || period.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT path, devices, kinds, rules, flags {} AND path IN {} LIMIT 1 BY path",
        question.tables.paths(period),
        ids(wanted.iter().map(|path| Uuid::from_bytes(path.0)))
    );
    let bytes = question.ask(&sql).await?;
    let mut reader = Reader(&bytes);
    let mut found = HashMap::new();
    while !reader.is_empty() {
        let (id, content) = path(&mut reader)?;
        found.insert(id, content);
    }
    Ok(wanted
        .into_iter()
        .filter_map(|id| found.remove(&id).map(|content| (id, content)))
        .collect())
}
