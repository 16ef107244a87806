// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Who alerts are told to.

use axum::{
    Form,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use insights_store::catalog::{AlertTarget, Level};
use serde::Deserialize;
use uuid::Uuid;

use super::{alerts, show};
use crate::{
    alerts::{AlertError, Format, NewReceiver, Webhook},
    web::{
        context::Ctx,
        error::{WebError, sentence},
        units,
    },
};

pub(super) struct Receiver {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) place: String,
    /// Signs what a webhook is sent; empty for mail.
    pub(super) secret: String,
    pub(super) level: &'static str,
    pub(super) state: &'static str,
    pub(super) word: String,
}

#[derive(Deserialize)]
pub(crate) struct ReceiverForm {
    #[serde(default)]
    csrf: String,
    /// `mail`, `webhook`, `test` or `delete`.
    #[serde(default)]
    deed: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    key: String,
    /// `critical` or `warning`.
    #[serde(default)]
    level: String,
}

impl Receiver {
    pub(super) fn new(ctx: &Ctx, target: &AlertTarget) -> Self {
        let webhook: Option<Webhook> = serde_json::from_str(&target.definition).ok().filter(|_| target.kind == "webhook");
        let (state, word) = match (&target.failed, target.delivered_us) {
            (Some((at_us, why)), _) => ("down", format!("failed {}: {why}", units::since(*at_us, ctx.now_us))),
            (None, Some(at_us)) => ("up", format!("last delivered {}", units::since(at_us, ctx.now_us))),
            (None, None) => ("unknown", "nothing sent yet".to_owned()),
        };
        Self {
            id: target.id.to_string(),
            name: target.name.clone(),
            kind: webhook
                .as_ref()
                .map_or_else(|| "e-mail".to_owned(), |webhook| webhook.format.label().to_owned()),
            // What follows the host is often a secret.
            place: webhook.as_ref().map_or_else(|| ctx.session.email.clone(), |webhook| origin(&webhook.url)),
            secret: webhook.map_or_else(String::new, |webhook| webhook.secret),
            level: if target.level >= Level::Error {
                "critical only"
            } else {
                "warnings and critical"
            },
            state,
            word,
        }
    }
}

/// Adds, tests or deletes a receiver.
pub(crate) async fn change(ctx: Ctx, headers: HeaderMap, Form(form): Form<ReceiverForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    let (site, id) = (alerts(&ctx), form.id.parse().unwrap_or(Uuid::nil()));
    let level = if form.level == "critical" { Level::Error } else { Level::Warning };
    let done = match form.deed.as_str() {
        "mail" => {
            let name = if form.name.trim().is_empty() { "E-mail" } else { &form.name };
            let added = site.add_receiver(&ctx.scope, name, NewReceiver::Mail, level, ctx.now_us).await;
            added.map(|()| (name.to_owned(), "added"))
        }
        "webhook" => {
            let new = NewReceiver::Webhook {
                url: form.url.clone(),
                format: Format::from_slug(&form.format).unwrap_or(Format::Json),
                key: form.key.clone(),
            };
            let added = site.add_receiver(&ctx.scope, &form.name, new, level, ctx.now_us).await;
            added.map(|()| (form.name.clone(), "added"))
        }
        "test" => site.test_receiver(&ctx.scope, id, ctx.now_us).await.map(|()| (String::new(), "tested")),
        "delete" => site.delete_receiver(&ctx.scope, id).await.map(|name| (name, "deleted")),
        other => return Err(WebError::Bad(format!("Nobody can “{other}” a receiver."))),
    };
    let (name, what) = match done {
        Ok(done) => done,
        Err(AlertError::Store(error)) => return Err(error.into()),
        Err(error) => {
            let mut page = show(&ctx, "receivers", sentence(&error.to_string())).await?;
            *page.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(page);
        }
    };
    if what != "tested" {
        ctx.app.accounts.receiver_changed(&ctx.scope, name.trim(), what, ctx.now_us).await;
    }
    Ok(Redirect::to(&ctx.link("alerts", &[("view", "receivers"), ("done", what)])).into_response())
}

/// Scheme and host of a URL.
fn origin(url: &str) -> String {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url[after..].find(['/', '?']).map_or(url.len(), |at| after + at);
    let more = if end < url.len() { "/…" } else { "" };
    format!("{}{more}", &url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_part_of_a_url_is_not_shown() {
        assert_eq!(origin("https://hooks.example.org/services/T0/B0/secret"), "https://hooks.example.org/…");
        assert_eq!(origin("http://10.0.0.1:8080"), "http://10.0.0.1:8080");
        assert_eq!(origin("https://example.org?token=x"), "https://example.org/…");
    }
}
