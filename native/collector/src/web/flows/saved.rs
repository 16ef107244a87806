// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Filters that people come back to, shared by all who see the site.

use axum::{
    Form,
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use crate::{
    accounts::MOST_FILTERS,
    query::filter,
    web::{context::Ctx, error::WebError},
};

pub(super) struct Saved {
    /// Name, text, where it leads.
    pub(super) filters: Vec<(String, String, String)>,
    pub(super) action: String,
    pub(super) csrf: String,
    pub(super) most: usize,
    /// The filter of now, to be saved; empty when there is none.
    pub(super) text: String,
}

#[derive(Deserialize)]
pub(crate) struct FilterForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    filter: String,
    /// The name of one to delete.
    #[serde(default)]
    delete: String,
}

impl Saved {
    pub(super) async fn load(ctx: &Ctx) -> Result<Self, WebError> {
        let filters = ctx.app.accounts.saved_filters(&ctx.scope).await?;
        Ok(Self {
            filters: filters
                .into_iter()
                .map(|(name, text)| {
                    let href = ctx.here(&[("filter", &text), ("after", ""), ("flow", "")]);
                    (name, text, href)
                })
                .collect(),
            action: format!("{}/flows/filters", ctx.base()),
            csrf: ctx.csrf(),
            most: MOST_FILTERS,
            text: ctx.params.get("filter").unwrap_or_default().trim().to_owned(),
        })
    }
}

/// Saves a filter under a name, or deletes one.
pub(crate) async fn keep(ctx: Ctx, headers: HeaderMap, Form(form): Form<FilterForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    if !form.delete.is_empty() {
        ctx.app.accounts.delete_filter(&ctx.scope, &form.delete).await?;
        return Ok(Redirect::to(&ctx.link("flows", &[("filter", &form.filter)])).into_response());
    }
    // What can't be read now could not be read later.
    let text = filter::parse(&form.filter)
        .map_err(|error| WebError::Bad(super::super::error::sentence(&error.to_string())))?
        .to_string();
    if text.is_empty() {
        return Err(WebError::Bad("There is no filter to save.".to_owned()));
    }
    ctx.app.accounts.save_filter(&ctx.scope, &form.name, &text).await?;
    Ok(Redirect::to(&ctx.link("flows", &[("filter", &text)])).into_response())
}
