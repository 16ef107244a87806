// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The cloud at a glance: what is wrong in a sentence, then figures, then charts.

mod charts;
mod tables;
mod tiles;
mod verdicts;

use askama::Template;
use axum::response::Response;

use super::{
    alerts::{Row, alerts},
    changes::{ChangeRow, changes},
    context::Ctx,
    error::WebError,
    frame::Frame,
    html, units,
};
use charts::ChartCard;
use tables::{GatewayRow, RuleRow, TenantRow};
use tiles::Tile;
use verdicts::Verdict;

pub(crate) use charts::{bins_chart, gap_text};

/// Rows of the lists beneath the charts: what fits beside each other without scrolling.
const ROWS: usize = 8;
/// Open alerts beside what changed.
const ALERTS: usize = 5;

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Page {
    frame: Frame,
    empty: bool,
    verdicts: Vec<Verdict>,
    worst: &'static str,
    asked: String,
    tiles: Vec<Tile>,
    charts: [ChartCard; 3],
    tenants: Vec<TenantRow>,
    tenants_link: String,
    rules: Vec<RuleRow>,
    rules_link: String,
    alerts: Vec<Row>,
    alert_count: usize,
    act: String,
    changes: Vec<ChangeRow>,
    gateways: Vec<GatewayRow>,
    period: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let frame = Frame::new(&ctx, "Dashboard", "dash");
    let (frame, charts, tenants, rules, changes) = tokio::try_join!(
        frame,
        charts::charts(&ctx),
        tables::tenants(&ctx),
        tables::rules(&ctx),
        changes(&ctx, ROWS)
    )?;
    let open = alerts(&ctx).open(&ctx.scope, ctx.now_us).await?;
    let verdicts = verdicts::verdicts(&ctx, frame.lost);
    let worst = verdicts::worst(&verdicts);
    html(&Page {
        empty: ctx.site.is_empty() && ctx.gateways.is_empty(),
        worst,
        tiles: tiles::tiles(&ctx, &open),
        verdicts,
        alert_count: open.len(),
        alerts: open.iter().take(ALERTS).map(|alert| Row::new(&ctx, alert)).collect(),
        act: format!("{}/alerts/act", ctx.base()),
        asked: units::clock(ctx.now_us),
        charts,
        tenants,
        tenants_link: ctx.link("reports", &[("type", "total")]),
        rules,
        rules_link: ctx.link("flows", &[("filter", "result = dropped")]),
        changes,
        gateways: tables::gateways(&ctx),
        period: ctx.spec.title().to_lowercase(),
        frame,
    })
}
