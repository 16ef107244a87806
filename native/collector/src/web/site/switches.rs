// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What leaves the site: a switch per kind of data, and how often meters are read.

use axum::{
    Form,
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{KINDS, allows, show};
use crate::{
    accounts::SiteSettings,
    ingest::GatewayStatus,
    web::{context::Ctx, error::WebError},
};

/// Seconds between meter readings that a site can choose: below, agents are busy with being asked; above, the gateway takes an hour.
const INTERVALS: std::ops::RangeInclusive<u32> = 5..=3_600;

pub(super) struct View {
    pub(super) kinds: Vec<Kind>,
    pub(super) csrf: String,
    pub(super) action: String,
    pub(super) interval_action: String,
    /// Empty: the site's configuration.
    pub(super) interval: String,
}

pub(super) struct Kind {
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) wanted: bool,
    /// Gateways whose configuration keeps it at the site.
    pub(super) forbidden: String,
}

#[derive(Deserialize)]
pub(crate) struct SwitchForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    to: String,
}

#[derive(Deserialize)]
pub(crate) struct IntervalForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    seconds: String,
}

impl View {
    pub(super) fn new(ctx: &Ctx, settings: SiteSettings, gateways: &[GatewayStatus]) -> Self {
        let kinds = KINDS
            .into_iter()
            .map(|(slug, name, about)| {
                let forbidding: Vec<_> = gateways
                    .iter()
                    .filter(|gateway| gateway.live.as_ref().is_some_and(|live| !allows(live.allowed, slug)))
                    .map(|gateway| gateway.name.as_str())
                    .collect();
                Kind {
                    slug,
                    name,
                    about,
                    wanted: allows(settings.kinds(), slug),
                    forbidden: forbidding.join(", "),
                }
            })
            .collect();
        Self {
            kinds,
            csrf: ctx.csrf(),
            action: format!("{}/site/switches", ctx.base()),
            interval_action: format!("{}/site/interval", ctx.base()),
            interval: match settings.metering_interval_s {
                0 => String::new(),
                seconds => seconds.to_string(),
            },
        }
    }
}

/// Switches one kind on or off. Connected gateways have it within moments.
pub(crate) async fn switch(ctx: Ctx, headers: HeaderMap, Form(form): Form<SwitchForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    let on = match form.to.as_str() {
        "on" => true,
        "off" => false,
        other => return Err(WebError::Bad(format!("A switch goes on or off, not “{other}”."))),
    };
    let mut settings = ctx.app.accounts.settings(&ctx.scope).await?;
    match form.kind.as_str() {
        "topology" => settings.topology = on,
        "state" => settings.state = on,
        "metering" => settings.metering = on,
        "flows" => settings.flows = on,
        other => return Err(WebError::Bad(format!("There is no switch “{other}”."))),
    }
    ctx.app.accounts.set_settings(&ctx.scope, settings, ctx.now_us).await?;
    Ok(Redirect::to(&ctx.link("site", &[("done", "switched")])).into_response())
}

/// Sets how often meters are read; an empty number leaves it to the site's configuration.
pub(crate) async fn interval(ctx: Ctx, headers: HeaderMap, Form(form): Form<IntervalForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    let seconds = match form.seconds.trim() {
        "" => 0,
        text => match text.parse().ok().filter(|seconds| INTERVALS.contains(seconds)) {
            Some(seconds) => seconds,
            None => {
                let error = format!("The interval is {} to {} seconds, or empty.", INTERVALS.start(), INTERVALS.end());
                return show(&ctx, "", error).await;
            }
        },
    };
    let mut settings = ctx.app.accounts.settings(&ctx.scope).await?;
    settings.metering_interval_s = seconds;
    ctx.app.accounts.set_settings(&ctx.scope, settings, ctx.now_us).await?;
    Ok(Redirect::to(&ctx.link("site", &[("done", "interval")])).into_response())
}
