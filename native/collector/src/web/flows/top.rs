// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Who has most flows: the values of one dimension, or the pairs and triples of several, with the rest as "other", beside the period before.

use std::collections::HashMap;

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use insights_store::{
    Period,
    query::{Bin, Budget, DimValue, Dimension, Top, TopQuery},
};

use super::{dimension, form, sankey};
use crate::{
    query::{
        filter::{Expr, Field},
        flows::FlowRequest,
    },
    web::{
        context::Ctx,
        error::{WebError, sentence},
        frame::Frame,
        html,
        table::{csv_line, csv_response},
        units,
    },
};

/// Dimensions at once: more can't be drawn.
const MOST_DIMENSIONS: usize = 3;
/// Rows that can be asked for, and without asking.
const LIMITS: [usize; 4] = [10, 20, 50, 200];
const LIMIT: usize = 20;
/// Rows of a file.
const FILE_ROWS: usize = 10_000;

#[derive(Template)]
#[template(path = "top.html")]
struct Page {
    frame: Frame,
    form: form::Form,
    saved: super::saved::Saved,
    records_link: String,
    top_link: String,
    chosen: Vec<Chosen>,
    /// Dimensions that can be added: label, link.
    more: Vec<(&'static str, String)>,
    limits: Vec<(usize, String, bool)>,
    heads: Vec<&'static str>,
    rows: Vec<Row>,
    other: Option<Row>,
    total: String,
    values: String,
    within: String,
    before: String,
    csv: String,
    sankey: String,
    error: bool,
}

/// A dimension that is counted by.
struct Chosen {
    label: &'static str,
    remove: Option<String>,
}

struct Row {
    cells: Vec<Cell>,
    records: String,
    share: String,
    dropped: String,
    before: String,
    last: String,
    allowed_width: String,
    dropped_at: String,
    dropped_width: String,
}

struct Cell {
    text: String,
    title: String,
    href: String,
}

type Dimensions = Vec<(Field, Dimension, &'static str)>;

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    if let Some(to) = form::edited(&ctx)? {
        return Ok(Redirect::to(&to).into_response());
    }
    let dimensions = dimensions(&ctx)?;
    let request = match FlowRequest::parse(&ctx.params, ctx.period, &ctx.names()) {
        Ok(request) => request,
        Err(error) if ctx.params.get("format").is_some() => return Err(WebError::Bad(sentence(&error.to_string()))),
        Err(error) => {
            let form = form::Form::new(&ctx, &Expr::all(), Some(&error));
            return html(&view(&ctx, dimensions, form, None).await?);
        }
    };
    let file = ctx.params.get("format") == Some("csv");
    let limit = if file { FILE_ROWS } else { limit(&ctx) };
    let length = ctx.period.to_us - ctx.period.from_us;
    let earlier = Period::new(ctx.period.from_us - length, ctx.period.from_us);
    let query = |period: Period, limit| TopQuery {
        period,
        filter: request.filter.clone(),
        dimensions: dimensions.iter().map(|(_, dimension, _)| *dimension).collect(),
        limit,
        budget: Budget::default(),
    };
    // Of the period before, more rows: what led then may be far down now, and the other way round.
    let (now, before) = tokio::try_join!(
        ctx.store().top(query(ctx.period, limit)),
        ctx.store().top(query(earlier, TopQuery::MAX_LIMIT.min(limit * 10)))
    )?;
    if file {
        return Ok(csv(&ctx, &dimensions, &now));
    }
    let form = form::Form::new(&ctx, &request.expr, None);
    html(&view(&ctx, dimensions, form, Some((&request.expr, now, before, earlier))).await?)
}

/// What is counted by: `by=src.ip,dst.port`.
fn dimensions(ctx: &Ctx) -> Result<Dimensions, WebError> {
    let names = ctx.params.get("by").filter(|names| !names.trim().is_empty()).unwrap_or("src.vport");
    let mut found: Dimensions = Vec::new();
    for name in names.split(',').map(str::trim) {
        let dimension = dimension::find(name).ok_or_else(|| WebError::Bad(format!("Flows can’t be counted by “{name}”.")))?;
        if !found.iter().any(|(field, ..)| *field == dimension.0) {
            found.push(dimension);
        }
    }
    if found.len() > MOST_DIMENSIONS {
        return Err(WebError::Bad(format!("Flows are counted by up to {MOST_DIMENSIONS} dimensions at once.")));
    }
    Ok(found)
}

fn limit(ctx: &Ctx) -> usize {
    ctx.params
        .get("top")
        .and_then(|text| text.parse().ok())
        .filter(|limit| LIMITS.contains(limit))
        .unwrap_or(LIMIT)
}

async fn view(ctx: &Ctx, dimensions: Dimensions, form: form::Form, found: Option<(&Expr, Top, Top, Period)>) -> Result<Page, WebError> {
    let link = |dimensions: &[&str]| ctx.here(&[("by", &dimensions.join(","))]);
    let names: Vec<&str> = dimensions.iter().map(|(field, ..)| field.name()).collect();
    let chosen = dimensions
        .iter()
        .map(|(field, _, label)| {
            let rest: Vec<&str> = names.iter().filter(|name| **name != field.name()).copied().collect();
            Chosen {
                label,
                remove: (!rest.is_empty()).then(|| link(&rest)),
            }
        })
        .collect();
    let more = if dimensions.len() < MOST_DIMENSIONS {
        dimension::DIMENSIONS
            .iter()
            .filter(|(field, ..)| !names.contains(&field.name()))
            .map(|(field, _, label)| {
                let all: Vec<&str> = names.iter().copied().chain([field.name()]).collect();
                (*label, link(&all))
            })
            .collect()
    } else {
        Vec::new()
    };
    let error = found.is_none();
    let now_limit = limit(ctx);
    let mut page = Page {
        frame: Frame::new(ctx, "Top flows", "flows").await?,
        form,
        saved: super::saved::Saved::load(ctx).await?,
        records_link: super::sibling(ctx, "flows"),
        top_link: ctx.here(&[]),
        chosen,
        more,
        limits: LIMITS
            .iter()
            .map(|limit| (*limit, ctx.here(&[("top", &limit.to_string())]), *limit == now_limit))
            .collect(),
        heads: dimensions.iter().map(|(.., label)| *label).collect(),
        rows: Vec::new(),
        other: None,
        total: "–".to_owned(),
        values: String::new(),
        within: units::span(ctx.period.from_us, ctx.period.to_us),
        before: String::new(),
        csv: ctx.here(&[("format", "csv")]),
        sankey: String::new(),
        error,
    };
    if let Some((expr, now, before, earlier)) = found {
        page.before = units::span(earlier.from_us, earlier.to_us);
        fill(ctx, &mut page, &dimensions, expr, &now, &before);
    }
    Ok(page)
}

fn fill(ctx: &Ctx, page: &mut Page, dimensions: &Dimensions, expr: &Expr, now: &Top, before: &Top) {
    let sum = now.rows.iter().map(|row| row.flows.total()).sum::<u64>() + now.other.total();
    let widest = now.rows.iter().map(|row| row.flows.total()).max().unwrap_or(1).max(1) as f64;
    let earlier: HashMap<&[DimValue], u64> = before.rows.iter().map(|row| (&row.values[..], row.flows.total())).collect();
    let row = |cells, flows: Bin, before: String, last: String| {
        let width = |count: u64| (count as f64 / widest * 100.0).min(100.0);
        Row {
            cells,
            records: units::count(flows.total()),
            share: if sum == 0 {
                "–".to_owned()
            } else {
                format!("{:.1}\u{202f}%", flows.total() as f64 / sum as f64 * 100.0)
            },
            dropped: units::count(flows.dropped),
            before,
            last,
            allowed_width: format!("{:.2}", width(flows.total() - flows.dropped)),
            dropped_at: format!("{:.2}", width(flows.total() - flows.dropped)),
            dropped_width: format!("{:.2}", width(flows.dropped)),
        }
    };
    let mut flows = Vec::new();
    for top in &now.rows {
        let mut narrowed = Some(expr.clone());
        let cells: Vec<Cell> = dimensions
            .iter()
            .zip(&top.values)
            .map(|((field, ..), value)| {
                let test = dimension::test(*field, value);
                narrowed = match (narrowed.take(), &test) {
                    (Some(expr), Some(test)) => Some(expr.with(test.clone())),
                    _ => None,
                };
                let only = test.map(|test| expr.with(test).to_string());
                Cell {
                    text: dimension::text(ctx, *field, value),
                    title: only.clone().unwrap_or_default(),
                    href: only.map_or_else(String::new, |only| super::records_of(ctx, &only)),
                }
            })
            .collect();
        flows.push((cells.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>(), top.flows));
        let then = match earlier.get(&top.values[..]) {
            Some(count) => units::count(*count),
            // Beyond the rows that were asked for, the value may have had some.
            None if before.other_values > 0 => "few".to_owned(),
            None => "0".to_owned(),
        };
        page.rows.push(row(cells, top.flows, then, units::since(top.last_us, ctx.now_us)));
    }
    if now.other_values > 0 {
        let cells = vec![Cell {
            text: format!("{} other", units::count(now.other_values)),
            title: String::new(),
            href: String::new(),
        }];
        page.other = Some(row(cells, now.other, "–".to_owned(), String::new()));
    }
    page.total = units::count(sum);
    page.values = units::count(now.rows.len() as u64 + now.other_values);
    if dimensions.len() > 1 {
        page.sankey = sankey::drawing(&page.heads, &flows, now.other.total());
    }
}

fn csv(ctx: &Ctx, dimensions: &Dimensions, top: &Top) -> Response {
    let mut out = String::new();
    let names = dimensions.iter().map(|(field, ..)| field.name());
    csv_line(&mut out, names.chain(["records", "allowed", "dropped", "consumed", "last"]));
    let mut line = |values: Vec<String>, flows: Bin, last: String| {
        let counts = [flows.total(), flows.allowed, flows.dropped, flows.consumed].map(|count| count.to_string());
        csv_line(&mut out, values.iter().chain(&counts).chain([&last]).map(String::as_str));
    };
    for row in &top.rows {
        let values = dimensions
            .iter()
            .zip(&row.values)
            .map(|((field, ..), value)| dimension::text(ctx, *field, value));
        line(values.collect(), row.flows, units::rfc3339(row.last_us));
    }
    if top.other_values > 0 {
        let mut values = vec![String::new(); dimensions.len()];
        values[0] = "other".to_owned();
        line(values, top.other, String::new());
    }
    csv_response(&format!("{}-top-flows.csv", ctx.site_name), out)
}
