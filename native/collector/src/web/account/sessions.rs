// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Where the account is signed in.

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{Frame, framed};
use crate::{
    accounts::SessionInfo,
    web::{
        App,
        error::WebError,
        session::{self, SignedIn},
        units,
    },
};

#[derive(Template)]
#[template(path = "account_sessions.html")]
struct Page {
    frame: Frame,
    sessions: Vec<Row>,
    others: usize,
}

struct Row {
    id: String,
    browser: String,
    address: String,
    used: String,
    begun: String,
    ends: String,
    current: bool,
}

#[derive(Deserialize, Default)]
pub(crate) struct Asked {
    #[serde(default)]
    done: String,
}

#[derive(Deserialize)]
pub(crate) struct EndForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    id: String,
}

pub(crate) async fn page(State(app): State<App>, SignedIn(session): SignedIn, Query(asked): Query<Asked>) -> Result<Response, WebError> {
    let done = match asked.done.as_str() {
        "ended" => "The session is ended.",
        "others" => "All other sessions are ended.",
        _ => "",
    };
    let now_us = app.now_us();
    let sessions: Vec<_> = app
        .accounts
        .sessions(&session, now_us)
        .await?
        .into_iter()
        .map(|one| row(one, now_us))
        .collect();
    let page = Page {
        frame: Frame::new(&app, &session, "/account/sessions", done, String::new()).await?,
        others: sessions.iter().filter(|row| !row.current).count(),
        sessions,
    };
    framed(&page, &page.frame)
}

/// Ends one session. To end this one is to sign out.
pub(crate) async fn end(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<EndForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let now_us = app.now_us();
    let own = app
        .accounts
        .sessions(&session, now_us)
        .await?
        .iter()
        .any(|one| one.current && one.id == form.id);
    if own {
        app.accounts.sign_out(&session, app.now_us()).await?;
        return Ok(([(header::SET_COOKIE, session::forget_cookie(&app))], Redirect::to("/sign-in?done=ended")).into_response());
    }
    // One that ended by itself meanwhile is ended as well.
    app.accounts.end_session(&session, &form.id, now_us).await?;
    Ok(Redirect::to("/account/sessions?done=ended").into_response())
}

pub(crate) async fn end_others(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<EndForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    app.accounts.end_other_sessions(&session, app.now_us()).await?;
    Ok(Redirect::to("/account/sessions?done=others").into_response())
}

fn row(one: SessionInfo, now_us: i64) -> Row {
    Row {
        id: one.id,
        browser: or(one.browser, "a program without a name"),
        address: or(one.address, "not known"),
        used: if one.current {
            "now".to_owned()
        } else {
            format!("{} ago", units::duration(now_us - one.used_us))
        },
        begun: units::day_minute(one.created_us),
        ends: units::day_minute(one.expires_us),
        current: one.current,
    }
}

fn or(text: String, instead: &str) -> String {
    if text.is_empty() { instead.to_owned() } else { text }
}
