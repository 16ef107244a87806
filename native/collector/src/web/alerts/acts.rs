// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What people do to alerts and rules. Each is a form; afterwards the reader is where they were.

use axum::{
    Form,
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use insights_store::catalog::AlertDeed;
use serde::Deserialize;

use super::alerts;
use crate::{
    alerts::AlertError,
    web::{
        context::Ctx,
        error::{WebError, sentence},
    },
};

const HOUR_US: i64 = 3_600_000_000;

#[derive(Deserialize)]
pub(crate) struct ActForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    alert: String,
    /// `acknowledge`, `reopen`, `silence` or `unsilence`.
    #[serde(default)]
    deed: String,
    /// How long to be silent.
    #[serde(default)]
    hours: String,
    /// `one` goes back to the page of the alert, `dashboard` there, all else to the list.
    #[serde(default)]
    from: String,
}

#[derive(Deserialize)]
pub(crate) struct RuleForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    rule: String,
    /// `on` or `off`.
    #[serde(default)]
    to: String,
}

pub(crate) async fn act(ctx: Ctx, headers: HeaderMap, Form(form): Form<ActForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    let (deed, mut done) = match form.deed.as_str() {
        "acknowledge" => (AlertDeed::Acknowledge, "acknowledge"),
        "reopen" => (AlertDeed::Reopen, "reopen"),
        "silence" => {
            let hours: i64 = form.hours.trim().parse().map_err(|_| bad(&AlertError::Silence))?;
            let until_us = hours.checked_mul(HOUR_US).and_then(|us| ctx.now_us.checked_add(us));
            let until_us = until_us.filter(|_| hours > 0).ok_or_else(|| bad(&AlertError::Silence))?;
            (AlertDeed::Silence { until_us }, "silence")
        }
        "unsilence" => (AlertDeed::Unsilence, "unsilence"),
        other => return Err(WebError::Bad(format!("Nobody can “{other}” an alert."))),
    };
    let id = form.alert.parse().unwrap_or(0);
    match alerts(&ctx).act(&ctx.scope, id, deed, ctx.now_us).await {
        Ok(()) => ctx.app.accounts.alert_handled(&ctx.scope, id, done, ctx.now_us).await,
        Err(AlertError::NoAlert) => done = "gone",
        Err(AlertError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(bad(&error)),
    }
    let back = match form.from.as_str() {
        "one" if done != "gone" => ctx.to(&format!("alerts/{id}")),
        "dashboard" => ctx.to("dashboard"),
        _ => ctx.link("alerts", &[("done", done)]),
    };
    Ok(Redirect::to(&back).into_response())
}

/// Switches a rule on or off.
pub(crate) async fn switch(ctx: Ctx, headers: HeaderMap, Form(form): Form<RuleForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    let on = form.to == "on";
    let name = match alerts(&ctx).switch_rule(&ctx.scope, &form.rule, on, ctx.now_us).await {
        Ok(name) => name,
        Err(AlertError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(bad(&error)),
    };
    ctx.app.accounts.rule_switched(&ctx.scope, &name, on, ctx.now_us).await;
    let done = if on { "on" } else { "off" };
    Ok(Redirect::to(&ctx.link("alerts", &[("view", "rules"), ("done", done)])).into_response())
}

fn bad(error: &AlertError) -> WebError {
    WebError::Bad(sentence(&error.to_string()))
}
