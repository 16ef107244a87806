// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The account: details, password, keys of its sites, second factor, sessions, tokens of the API, audit log.

mod audit;
mod factor;
mod overview;
mod sessions;
mod tokens;

use axum::{http::StatusCode, response::Response};

use super::{
    App, assets,
    error::{WebError, sentence},
    html, session,
};
use crate::accounts::{AccountError, Session};

pub(crate) use audit::page as audit_page;
pub(crate) use factor::{
    begin as begin_factor, cancel as cancel_factor, confirm as confirm_factor, disable as disable_factor, page as factor_page, renew as renew_codes,
};
pub(crate) use overview::{add_fingerprint, add_site, change_email, confirm_delete, delete, delete_fingerprint, delete_page, page, password, rename};
pub(crate) use sessions::{end, end_others, page as sessions_page};
pub(crate) use tokens::{make as make_token, page as tokens_page, revoke as revoke_token};

/// What all pages of the account have around them.
struct Frame {
    css: String,
    theme: String,
    script: String,
    name: String,
    email: String,
    csrf: String,
    /// Forms that need a proof ask for a code as well.
    factor: bool,
    /// The page among [`Frame::TABS`].
    tab: &'static str,
    home: String,
    done: &'static str,
    error: String,
}

impl Frame {
    /// Path and name.
    const TABS: [(&'static str, &'static str); 5] = [
        ("/account", "Account"),
        ("/account/second-factor", "Second factor"),
        ("/account/sessions", "Sessions"),
        ("/account/tokens", "API tokens"),
        ("/account/audit", "Audit log"),
    ];

    async fn new(app: &App, session: &Session, tab: &'static str, done: &'static str, error: String) -> Result<Self, WebError> {
        let sites = app.accounts.sites(session).await?;
        Ok(Self {
            css: assets::url("manager.css"),
            theme: assets::url("theme.js"),
            script: assets::url("manager.js"),
            name: session.name.clone(),
            email: session.email.clone(),
            csrf: session::csrf(session),
            factor: app.accounts.has_second_factor(session).await?,
            tab,
            home: sites
                .first()
                .map_or_else(|| "/account".to_owned(), |site| format!("/s/{}/dashboard", site.id)),
            done,
            error,
        })
    }

    /// Path, name, and whether it is this one.
    fn tabs(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        Self::TABS.into_iter().map(|(path, name)| (path, name, path == self.tab))
    }
}

/// The page; one with an error says so to programs as well.
fn framed(page: &impl askama::Template, frame: &Frame) -> Result<Response, WebError> {
    let mut response = html(page)?;
    if !frame.error.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

/// What a person is told; the service's own trouble is an error page.
fn told(error: AccountError) -> Result<String, WebError> {
    match error {
        AccountError::Store(_) | AccountError::Hash => Err(error.into()),
        error => Ok(sentence(&error.to_string())),
    }
}
