// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow history: criteria and their text in step, records over time, the records, and one of them beside.

mod dimension;
mod export;
mod form;
mod panel;
mod path;
mod rows;
mod sankey;
mod saved;
mod top;

use askama::Template;
use axum::{
    Json,
    response::{IntoResponse, Redirect, Response},
};
use insights_store::{FlowId, StreamKind};

use super::{chart, context::Ctx, dashboard, error::WebError, frame::Frame, html, units};
use crate::alerts::{Measure, Within};
use crate::query::{
    filter::{self, complete::Completion},
    flows::{self, FlowRequest, RequestError},
};

pub(crate) use dimension::find as dimension;
pub(crate) use saved::keep as keep_filter;
pub(crate) use top::page as top;

/// Bars of the histogram: one per five pixels of its column.
const BARS: i64 = 140;

#[derive(Template)]
#[template(path = "flows.html")]
struct Page {
    frame: Frame,
    form: form::Form,
    saved: saved::Saved,
    records_link: String,
    top_link: String,
    histogram: String,
    alert_link: String,
    records: String,
    within: String,
    rows: Vec<rows::Row>,
    older: Option<String>,
    newest: Option<String>,
    tail: bool,
    tail_link: String,
    csv: String,
    json: String,
    json_file: String,
    panel: Option<panel::Panel>,
    gone: bool,
    empty: Empty,
}

/// Why a list has no rows.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Empty {
    No,
    /// The filter or the period leaves none.
    Filtered,
    /// The site never sent any in this period.
    Nothing,
    /// The filter can't be read.
    Error,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    if let Some(to) = form::edited(&ctx)? {
        return Ok(Redirect::to(&to).into_response());
    }
    let request = FlowRequest::parse(&ctx.params, ctx.period, &ctx.names());
    let request = match request {
        Ok(request) => request,
        Err(error) => return failed(&ctx, &error).await,
    };
    match ctx.params.get("format") {
        Some("csv") => return Ok(export::csv(&ctx, request)),
        Some("json") => return Ok(export::json(&ctx, request)),
        _ => {}
    }
    let step = chart::step_for(ctx.period, BARS, 1_000_000);
    let store = ctx.store();
    let (bins, page, lost, frame) = tokio::try_join!(
        async { Ok::<_, WebError>(request.histogram(store, step).await?) },
        async { Ok(request.page(store, flows::PAGE).await?) },
        async { Ok(flows::lost(store, ctx.period, StreamKind::Flows).await?) },
        Frame::new(&ctx, "Flow history", "flows"),
    )?;
    let records: u64 = bins.iter().map(insights_store::query::Bin::total).sum();
    let mut histogram = dashboard::bins_chart(&ctx, &bins, step, lost);
    histogram.height = 146;
    let chosen: Option<FlowId> = ctx.params.get("flow").and_then(|text| text.parse().ok());
    let panel = match chosen {
        Some(id) => panel::Panel::load(&ctx, id, &request).await?,
        None => None,
    };
    let empty = match (page.flows.is_empty(), request.expr.is_all()) {
        (false, _) => Empty::No,
        (true, true) => Empty::Nothing,
        (true, false) => Empty::Filtered,
    };
    html(&Page {
        form: form::Form::new(&ctx, &request.expr, None),
        saved: saved::Saved::load(&ctx).await?,
        records_link: ctx.here(&[]),
        top_link: sibling(&ctx, "flows/top"),
        json_file: ctx.here(&[("format", "json"), ("after", ""), ("flow", "")]),
        histogram: histogram.html_compact(),
        alert_link: super::alerts::rule_link(&ctx, Measure::Records, &request.expr.to_string(), &Within::Site),
        records: units::count(records),
        within: units::span(ctx.period.from_us, ctx.period.to_us),
        rows: page.flows.iter().map(|flow| rows::Row::new(&ctx, &request.expr, flow, chosen)).collect(),
        older: page.next.map(|next| ctx.here(&[("after", &next.to_string()), ("tail", "")])),
        newest: request.after.map(|_| ctx.here(&[("after", "")])),
        tail: ctx.params.flag("tail"),
        tail_link: ctx.here(&[("tail", if ctx.params.flag("tail") { "" } else { "1" }), ("after", ""), ("live", "")]),
        csv: ctx.here(&[("format", "csv"), ("after", ""), ("flow", "")]),
        json: format!(
            "/api/v1/sites/{}/flows?{}",
            ctx.scope.site(),
            ctx.here(&[("flow", ""), ("after", ""), ("period", &ctx.spec.text())])
                .split_once('?')
                .map_or("", |(_, query)| query)
        ),
        gone: chosen.is_some() && panel.is_none(),
        panel,
        empty,
        frame,
    })
}

/// Another view of the same filter and period.
fn sibling(ctx: &Ctx, path: &str) -> String {
    ctx.link(path, &[("filter", ctx.params.get("filter").unwrap_or_default())])
}

/// The records of a filter in the period of now.
fn records_of(ctx: &Ctx, filter: &str) -> String {
    ctx.link("flows", &[("filter", filter)])
}

/// The page for a filter that can't be read: the text stays, with what is wrong.
async fn failed(ctx: &Ctx, error: &RequestError) -> Result<Response, WebError> {
    if ctx.params.get("format").is_some() {
        return Err(WebError::Bad(super::error::sentence(&error.to_string())));
    }
    let page = Page {
        frame: Frame::new(ctx, "Flow history", "flows").await?,
        form: form::Form::new(ctx, &filter::Expr::all(), Some(error)),
        saved: saved::Saved::load(ctx).await?,
        records_link: ctx.here(&[]),
        top_link: sibling(ctx, "flows/top"),
        json_file: ctx.here(&[]),
        histogram: String::new(),
        alert_link: String::new(),
        records: "–".to_owned(),
        within: String::new(),
        rows: Vec::new(),
        older: None,
        newest: None,
        tail: false,
        tail_link: ctx.here(&[]),
        csv: ctx.here(&[]),
        json: ctx.here(&[]),
        panel: None,
        gone: false,
        empty: Empty::Error,
    };
    html(&page)
}

/// What can follow in the filter text. It looks at names of the topology only, never at flows.
pub(crate) async fn complete(ctx: Ctx) -> Json<Completion> {
    let text = ctx.params.get("text").unwrap_or_default();
    let names = ctx.names();
    // A text longer than any filter gets no suggestions.
    if text.len() > filter::MAX_TEXT {
        return Json(Completion::default());
    }
    Json(filter::complete::complete(text, |field, beginning| names.suggest(field, beginning)))
}
