// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Any device by name, UUID, IP or MAC.

use askama::Template;
use axum::{
    Json,
    response::{IntoResponse, Redirect, Response},
};
use serde::Serialize;

use super::{
    context::Ctx,
    device,
    error::WebError,
    frame::{Frame, state_class, state_word},
    html,
};
use crate::site::{Found, MAX_FOUND};

/// What a list under the search field shows.
const SUGGESTED: usize = 10;

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    frame: Frame,
    asked: String,
    hits: Vec<Hit>,
    all: bool,
}

#[derive(Serialize)]
struct Hit {
    name: String,
    kind: &'static str,
    icon: &'static str,
    matched: String,
    tenant: String,
    state: &'static str,
    state_word: &'static str,
    href: String,
    id: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let asked = ctx.params.get("q").unwrap_or_default().trim().to_owned();
    let found = ctx.site.search(&asked);
    let all = found.len() < MAX_FOUND;
    let hits: Vec<Hit> = found.into_iter().map(|found| hit(&ctx, found)).collect();
    if ctx.params.get("format") == Some("json") {
        return Ok(Json(hits.into_iter().take(SUGGESTED).collect::<Vec<_>>()).into_response());
    }
    // One answer needs no list; who types a whole UUID means its object, not the names that contain it.
    let exact = hits.iter().find(|hit| hit.id.eq_ignore_ascii_case(&asked));
    if let Some(only) = exact.or(if hits.len() == 1 { hits.first() } else { None }) {
        return Ok(Redirect::to(&only.href).into_response());
    }
    html(&Page {
        frame: Frame::new(&ctx, "Search", "search").await?,
        asked,
        hits,
        all,
    })
}

fn hit(ctx: &Ctx, found: Found) -> Hit {
    let object = found.object;
    Hit {
        href: ctx.to(&format!("d/{}/{}", object.kind.slug(), object.id)),
        icon: device::icon(object.kind),
        kind: object.kind.label(),
        name: object.name,
        matched: found.matched,
        tenant: object.tenant.unwrap_or_default(),
        state: state_class(object.state),
        state_word: state_word(object.state),
        id: object.id.to_string(),
    }
}
