// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What happened at the site and its gateways, and what changed in its topology, as one searchable time line.

use std::cmp::Reverse;

use askama::Template;
use axum::response::Response;
use insights_store::catalog::{EventQuery, Level};

use crate::accounts::{Session, Signed};

use super::{
    changes,
    context::Ctx,
    error::WebError,
    frame::Frame,
    html,
    table::{csv_line, csv_response},
    units,
};

/// Lines of a page.
const LINES: usize = 300;
/// Lines of a file.
const FILE_LINES: usize = 10_000;

#[derive(Template)]
#[template(path = "events.html")]
struct Page {
    frame: Frame,
    lines: Vec<Line>,
    more: bool,
    find: String,
    kind: String,
    choices: Vec<(String, String, bool)>,
    csv: String,
    path: String,
    kept: Vec<(String, String)>,
}

struct Line {
    at_us: i64,
    time: String,
    state: &'static str,
    word: &'static str,
    kind: String,
    text: String,
    link: String,
    about: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let find = ctx.params.get("find").unwrap_or_default().trim().to_owned();
    let kind = ctx.params.get("kind").unwrap_or_default().to_owned();
    let file = ctx.params.get("format") == Some("csv");
    let limit = if file { FILE_LINES } else { LINES };
    let mut lines = lines(&ctx, &kind, &find, limit).await?;
    lines.sort_by_key(|line| Reverse(line.at_us));
    let more = lines.len() > limit;
    lines.truncate(limit);
    if file {
        let mut out = String::new();
        csv_line(&mut out, ["time", "level", "kind", "text", "about"]);
        for line in &lines {
            csv_line(
                &mut out,
                [units::rfc3339(line.at_us).as_str(), line.word, &line.kind, &line.text, &line.about],
            );
        }
        return Ok(csv_response(&format!("{}-events.csv", ctx.site_name), out));
    }
    let choices = [
        ("", "All"),
        ("topology", "Topology"),
        ("gateway", "Gateways"),
        ("warning", "Warnings"),
        ("loss", "Losses"),
        ("alert", "Alerts"),
        ("account", "People"),
    ]
    .into_iter()
    .map(|(slug, title)| (title.to_owned(), ctx.here(&[("kind", slug)]), kind == slug))
    .collect();
    html(&Page {
        frame: Frame::new(&ctx, "Events", "events").await?,
        lines,
        more,
        csv: ctx.here(&[("format", "csv")]),
        path: ctx.uri.path().to_owned(),
        kept: ctx
            .params
            .iter()
            .filter(|(name, value)| *name != "find" && !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        find,
        kind,
        choices,
    })
}

async fn lines(ctx: &Ctx, kind: &str, find: &str, limit: usize) -> Result<Vec<Line>, WebError> {
    let mut lines = Vec::new();
    if kind != "topology" {
        let mut query = EventQuery::all(ctx.period, (limit + 1).min(EventQuery::MAX_LIMIT));
        find.clone_into(&mut query.text);
        if kind == "warning" {
            query.level = Level::Warning;
        }
        if kind == "account" {
            "account.".clone_into(&mut query.kind);
        }
        if kind == "alert" {
            "alert.".clone_into(&mut query.kind);
        }
        for stored in ctx.store().events(query).await? {
            let event = stored.event;
            if (kind == "loss" && event.loss.is_none())
                || (kind == "gateway" && (event.kind.starts_with("account.") || event.kind.starts_with("alert.")))
            {
                continue;
            }
            let (state, word) = match event.level {
                Level::Info => ("up", "info"),
                Level::Warning => ("degraded", "warning"),
                Level::Error => ("down", "error"),
            };
            let gateway = event
                .gateway
                .and_then(|id| ctx.gateways.iter().find(|gateway| gateway.id == id))
                .map_or_else(String::new, |gateway| gateway.name.clone());
            lines.push(Line {
                at_us: event.at_us,
                time: units::full(event.at_us),
                state,
                word,
                link: alert_link(ctx, &event.kind, &event.fields),
                about: fields(&event.fields, &gateway, &ctx.session),
                kind: event.kind,
                text: event.text,
            });
        }
    }
    if kind.is_empty() || kind == "topology" {
        let wanted = find.to_lowercase();
        for change in ctx.app.sites.changes(&ctx.scope, ctx.period, limit + 1).await? {
            let row = changes::change_row(ctx, &change);
            let text = format!("{} {} {}", row.kind, row.name, row.what);
            if !wanted.is_empty() && !text.to_lowercase().contains(&wanted) && !row.details.to_lowercase().contains(&wanted) {
                continue;
            }
            lines.push(Line {
                at_us: change.at_us,
                time: row.full,
                state: "",
                word: "topology",
                kind: format!("topology.{}", change.kind.slug()),
                text,
                link: row.href,
                about: row.details,
            });
        }
    }
    Ok(lines)
}

/// The page of the alert that an event tells of.
fn alert_link(ctx: &Ctx, kind: &str, fields: &str) -> String {
    let fields: serde_json::Value = if kind.starts_with("alert.") {
        serde_json::from_str(fields).unwrap_or_default()
    } else {
        return String::new();
    };
    fields["alert"].as_u64().map_or_else(String::new, |id| ctx.to(&format!("alerts/{id}")))
}

/// Fields of an event in one line.
fn fields(json: &str, gateway: &str, session: &Session) -> String {
    let mut parts: Vec<String> = Vec::new();
    if !gateway.is_empty() {
        parts.push(gateway.to_owned());
    }
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(json) {
        parts.extend(fields.iter().map(|(name, value)| match value {
            // A site has one account, and only its sessions and tokens do anything to it.
            serde_json::Value::String(id) if *id == session.account().to_string() => format!("{name} {}", session.email),
            serde_json::Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        }));
    }
    parts.join(" · ")
}
