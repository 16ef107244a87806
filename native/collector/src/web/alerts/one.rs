// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One alert: what it says, what was done, and where to look at its moment.

use askama::Template;
use axum::{extract::Path, response::Response};
use insights_store::{Period, catalog::StoredAlert};

use super::{Row, row::about_link};
use crate::{
    alerts::{About, Measure, OwnRule, Within, built_in},
    query::params,
    site::Kind,
    web::{context::Ctx, error::WebError, frame::Frame, html, units},
};

/// What is shown before its begin and after its end, µs: enough to see the change.
const AROUND_US: i64 = 1_800_000_000;

#[derive(Template)]
#[template(path = "alert.html")]
struct Page {
    frame: Frame,
    row: Row,
    list: String,
    act: String,
    says: String,
    facts: Vec<(&'static str, String)>,
    links: Vec<(&'static str, String)>,
    acts: Vec<Line>,
    open: bool,
}

struct Line {
    time: String,
    what: String,
    by: String,
}

pub(crate) async fn page(ctx: Ctx, Path((_, id)): Path<(String, String)>) -> Result<Response, WebError> {
    let id = id.parse().ok();
    let found = match id {
        Some(id) => super::alerts(&ctx).one(&ctx.scope, id, ctx.now_us).await?,
        None => None,
    };
    let Some((alert, acts)) = found else {
        let text = "There is no such alert at this site; the oldest of the history are forgotten.";
        return Err(WebError::NotFound(text.to_owned()));
    };
    let row = Row::new(&ctx, &alert);
    // It may be gone, or another by now.
    let own = super::alerts(&ctx).own_rule(&ctx.scope, &alert.rule).await?;
    let fact = |name, value: &str| (!value.is_empty()).then(|| (name, value.to_owned()));
    let facts = [
        fact("Rule", &row.rule),
        fact("Since", &format!("{} UTC", row.since_full)),
        fact("Opened", &format!("{} UTC", units::full(alert.opened_us))),
        fact("Lasted", &row.lasted),
        fact("Value", &row.value),
        fact("Threshold", &row.threshold),
        fact("With it", &row.members),
        fact("Unknown", &row.unknown),
        fact("Acknowledged", &row.acknowledged),
        fact("Silent until", &row.silenced),
        fact("Resolved", &row.resolved),
    ];
    let acts = acts.into_iter().map(|act| Line {
        time: units::full(act.at_us),
        what: match act.what.as_str() {
            "opened" => format!("Opened: {}", act.text),
            "unknown" => format!("Not known whether it still holds: {}", act.text),
            "known" => "It is known again that it holds".to_owned(),
            "resolved" => format!("Resolved: {}", act.text),
            "acknowledged" => "Acknowledged".to_owned(),
            "reopened" => "Acknowledgement taken back".to_owned(),
            "silenced" => {
                let until = act.text.parse().map_or_else(|_| String::new(), units::full);
                format!("Silenced until {until} UTC")
            }
            "unsilenced" => "Silence taken back".to_owned(),
            other => format!("{other} {}", act.text),
        },
        by: act.by.unwrap_or_default(),
    });
    html(&Page {
        links: links(&ctx, &alert, own.as_ref()),
        facts: facts.into_iter().flatten().collect(),
        acts: acts.collect(),
        list: ctx.to("alerts"),
        act: format!("{}/alerts/act", ctx.base()),
        says: match (built_in(&alert.rule), &own) {
            (Some(rule), _) => rule.says.to_owned(),
            (None, Some(own)) => own.definition.says(),
            (None, None) => String::new(),
        },
        open: alert.resolved.is_none(),
        frame: Frame::new(&ctx, format!("Alert: {}", row.rule), "alerts").await?,
        row,
    })
}

/// Pages of the moment that the alert is about.
fn links(ctx: &Ctx, alert: &StoredAlert, own: Option<&OwnRule>) -> Vec<(&'static str, String)> {
    let about = About::parse(&alert.says.about);
    let until_us = alert.resolved.as_ref().map_or(ctx.now_us, |(at_us, _)| *at_us);
    let from_us = (alert.since_us - AROUND_US).max(0);
    let period = params::fixed_text(Period::new(
        from_us,
        (until_us.min(alert.since_us + 2 * AROUND_US) + AROUND_US).min(ctx.now_us),
    ));
    let at = |path: &str, own: &[(&str, &str)]| {
        let mut own = own.to_vec();
        own.push(("period", &period));
        ctx.link(path, &own)
    };
    let mut links = Vec::new();
    if let Some(rule) = own {
        links.push(("Its rule", ctx.to(&format!("alerts/rules/{}", rule.id))));
        if rule.definition.measure == Measure::Records && rule.definition.scope == Within::Site {
            links.push(("Flows then", at("flows", &[("filter", &rule.definition.filter)])));
        }
    }
    if let (Some(id), Some(kind)) = (about.id, Kind::from_slug(&about.kind)) {
        links.push(("Its page", about_link(ctx, &about)));
        if matches!(kind, Kind::Host | Kind::Port) {
            links.push(("Traffic then", at(&format!("d/{}/{id}/traffic", kind.slug()), &[])));
            let field = if kind == Kind::Host { "host" } else { "device" };
            links.push(("Flows then", at("flows", &[("filter", &format!("{field} = {id}"))])));
        }
        links.push(("Its history", ctx.to(&format!("d/{}/{id}/history", kind.slug()))));
    } else if !about.kind.is_empty() {
        links.push(("Its page", about_link(ctx, &about)));
    }
    // A moment before: what it looked like when it was well.
    links.push((
        "Topology then",
        at("virtual", &[("at", &(alert.since_us / 1_000_000).saturating_sub(1).to_string())]),
    ));
    links.push(("Dashboard then", at("dashboard", &[])));
    links.push(("Events then", at("events", &[])));
    links
}
