// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Alerts: open ones first, what was, the rules, and one alert with its history.

mod acts;
mod one;
mod receivers;
mod row;
mod rule;

use askama::Template;
use axum::response::Response;
use insights_store::catalog::{AlertQuery, Level};

use super::{
    context::Ctx,
    error::WebError,
    frame::Frame,
    html,
    table::{csv_line, csv_response},
    units,
};
use crate::alerts::{Alerts, Format, MOST_OWN};

pub(crate) use acts::{act, switch};
pub(crate) use one::page as one;
pub(crate) use receivers::change as change_receiver;
pub(crate) use row::Row;
pub(crate) use rule::{change as change_rule, edit as edit_rule, link as rule_link, new as new_rule};

/// Resolved alerts of a page.
const PAGE: usize = 100;
/// Lines of a file.
const FILE_LINES: usize = 10_000;

#[derive(Template)]
#[template(path = "alerts.html")]
struct Page {
    frame: Frame,
    tabs: Vec<(&'static str, String, String, bool)>,
    view: &'static str,
    rows: Vec<Row>,
    older: Option<String>,
    newest: Option<String>,
    rules: Vec<RuleRow>,
    own: Vec<OwnRow>,
    new_rule: String,
    most_own: usize,
    receivers: Vec<receivers::Receiver>,
    waiting: usize,
    formats: Vec<(&'static str, &'static str)>,
    receive: String,
    act: String,
    switch: String,
    csv: String,
    done: &'static str,
    error: String,
}

struct RuleRow {
    id: &'static str,
    name: &'static str,
    says: &'static str,
    state: &'static str,
    word: &'static str,
    enabled: bool,
    open: usize,
}

struct OwnRow {
    id: String,
    href: String,
    name: String,
    says: String,
    place: String,
    state: &'static str,
    word: &'static str,
    enabled: bool,
    open: usize,
}

/// Alerts, with the key of the page's site.
pub(super) fn alerts(ctx: &Ctx) -> Alerts {
    Alerts::new(ctx.app.accounts.catalog().clone())
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let view = match ctx.params.get("view").unwrap_or_default() {
        "history" => "history",
        "rules" => "rules",
        "receivers" => "receivers",
        _ => "open",
    };
    if ctx.params.get("format") == Some("csv") {
        return file(&ctx, view).await;
    }
    show(&ctx, view, String::new()).await
}

/// A view, with what is wrong with a form.
async fn show(ctx: &Ctx, view: &'static str, error: String) -> Result<Response, WebError> {
    let alerts = alerts(ctx);
    let open = alerts.open(&ctx.scope, ctx.now_us).await?;
    let before = ctx.params.get("before").and_then(place);
    let (mut rows, mut older) = (Vec::new(), None);
    match view {
        "history" => {
            let query = AlertQuery {
                open: Some(false),
                rule: None,
                before,
                limit: PAGE + 1,
            };
            let mut found = alerts.list(&ctx.scope, query, ctx.now_us).await?;
            let more = found.len() > PAGE;
            found.truncate(PAGE);
            if let Some(last) = found.last().filter(|_| more) {
                older = Some(ctx.here(&[("before", &format!("{}-{}", last.opened_us, last.id))]));
            }
            rows = found.iter().map(|alert| Row::new(ctx, alert)).collect();
        }
        "open" => rows = open.iter().map(|alert| Row::new(ctx, alert)).collect(),
        _ => {}
    }
    let rules = alerts.rules(&ctx.scope).await?;
    let own = alerts.own_rules(&ctx.scope).await?;
    let receivers = alerts.receivers(&ctx.scope).await?;
    let tab = |title, slug: &'static str, count: usize| {
        let href = ctx.link("alerts", &[("view", if slug == "open" { "" } else { slug })]);
        let count = if count == 0 { String::new() } else { units::count(count as u64) };
        (title, href, count, view == slug)
    };
    html(&Page {
        tabs: vec![
            tab("Open", "open", open.len()),
            tab("History", "history", 0),
            tab("Rules", "rules", rules.len() + own.len()),
            tab("Receivers", "receivers", receivers.len()),
        ],
        receivers: receivers.iter().map(|target| receivers::Receiver::new(ctx, target)).collect(),
        waiting: alerts.waiting(&ctx.scope).await?,
        formats: Format::ALL.map(|format| (format.slug(), format.label())).to_vec(),
        receive: format!("{}/alerts/receivers", ctx.base()),
        error,
        rules: rules
            .iter()
            .map(|info| RuleRow {
                id: info.rule.id,
                name: info.rule.name,
                says: info.rule.says,
                state: row::state(info.rule.level),
                word: row::word(info.rule.level),
                enabled: info.enabled,
                open: open.iter().filter(|alert| alert.rule == info.rule.id).count(),
            })
            .collect(),
        own: own
            .iter()
            .map(|rule| OwnRow {
                href: ctx.to(&format!("alerts/rules/{}", rule.id)),
                name: rule.definition.name.clone(),
                says: rule.definition.says(),
                place: rule::place_words(ctx, &rule.definition.scope),
                state: row::state(rule.definition.level),
                word: row::word(rule.definition.level),
                enabled: rule.enabled,
                open: open.iter().filter(|alert| alert.rule == rule.id).count(),
                id: rule.id.clone(),
            })
            .collect(),
        new_rule: ctx.to("alerts/rules/new"),
        most_own: MOST_OWN,
        view,
        rows,
        older,
        newest: before.map(|_| ctx.here(&[("before", "")])),
        act: format!("{}/alerts/act", ctx.base()),
        switch: format!("{}/alerts/rules", ctx.base()),
        csv: ctx.here(&[("format", "csv"), ("before", "")]),
        done: match ctx.params.get("done").unwrap_or_default() {
            "acknowledge" => "Acknowledged. Everybody who sees the site sees who it was.",
            "reopen" => "The acknowledgement is taken back.",
            "silence" => "Silenced. It stays open, and speaks again when the silence ends.",
            "unsilence" => "The silence is over.",
            "gone" => "That alert has ended meanwhile; it is in the history.",
            "added" => "The receiver is there. Test it: a test arrives within seconds.",
            "tested" => "A test is on its way; how it went shows here within seconds.",
            "deleted" => "The receiver is gone, with what waited for it.",
            "saved" => "The rule is kept; it is looked at every minute.",
            "gone-rule" => "The rule is gone; its open alerts end within seconds.",
            "on" => "The rule is on; it looks again within seconds.",
            "off" => "The rule is off; its open alerts end within seconds.",
            _ => "",
        },
        frame: Frame::new(ctx, "Alerts", "alerts").await?,
    })
}

/// A place in the history: time and id.
fn place(text: &str) -> Option<(i64, u64)> {
    let (time, id) = text.split_once('-')?;
    Some((time.parse().ok()?, id.parse().ok()?))
}

async fn file(ctx: &Ctx, view: &str) -> Result<Response, WebError> {
    let query = AlertQuery {
        open: Some(view == "open"),
        rule: None,
        before: None,
        limit: FILE_LINES,
    };
    let mut out = String::new();
    csv_line(
        &mut out,
        [
            "id",
            "level",
            "rule",
            "text",
            "since",
            "opened",
            "resolved",
            "value",
            "threshold",
            "acknowledged_by",
        ],
    );
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for alert in alerts(ctx).list(&ctx.scope, query, ctx.now_us).await? {
        let resolved = alert.resolved.as_ref().map_or_else(String::new, |(at_us, _)| units::rfc3339(*at_us));
        let level = match alert.says.level {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "critical",
        };
        csv_line(
            &mut out,
            [
                alert.id.to_string().as_str(),
                level,
                &alert.rule,
                &alert.says.text,
                &units::rfc3339(alert.since_us),
                &units::rfc3339(alert.opened_us),
                &resolved,
                &number(alert.says.value),
                &number(alert.says.threshold),
                alert.acknowledged.as_ref().map_or("", |(_, by)| by.as_str()),
            ],
        );
    }
    Ok(csv_response(&format!("{}-alerts.csv", ctx.site_name), out))
}
