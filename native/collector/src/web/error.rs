// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Pages that say what went wrong, and what to do.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use insights_store::StoreError;

use super::assets;
use crate::accounts::AccountError;

/// What a handler can end with instead of a page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    /// Nobody is signed in; where to go after signing in.
    #[error("not signed in")]
    SignIn(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Bad(String),
    #[error("the request did not come from a page of this manager")]
    Forged,
    #[error("reading the store")]
    Store(#[from] StoreError),
    #[error("an account")]
    Account(#[from] AccountError),
    #[error("drawing the page")]
    Render(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    code: u16,
    title: &'a str,
    text: String,
    css: String,
    theme: String,
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let (code, title, text) = match &self {
            WebError::SignIn(next) => {
                let query = crate::query::params::encode([("next", next.as_str())]);
                return Redirect::to(&format!("/sign-in?{query}")).into_response();
            }
            WebError::NotFound(text) => (StatusCode::NOT_FOUND, "Not here", text.clone()),
            WebError::Bad(text) => (StatusCode::BAD_REQUEST, "This link can’t be read", text.clone()),
            WebError::Forged => (
                StatusCode::FORBIDDEN,
                "Not sent from here",
                "The form was not sent from a page of this manager, or the page was open for too long. Go back, reload it and try again.".to_owned(),
            ),
            WebError::Store(StoreError::OverBudget { .. }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too much to read",
                "The question reaches over more records than may be read at once. Choose a shorter period or a narrower filter.".to_owned(),
            ),
            WebError::Store(StoreError::Busy { .. }) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Other questions first",
                "Too many questions about this site are being answered at this moment. Try again in a while.".to_owned(),
            ),
            WebError::Store(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "page failed to read the store");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something broke",
                    "The store could not be read. The service's log says why; nothing is lost by trying again.".to_owned(),
                )
            }
            WebError::Account(AccountError::Store(_) | AccountError::Hash) => {
                tracing::error!(error = &self as &dyn std::error::Error, "page failed to read an account");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something broke",
                    "The account could not be read. The service's log says why.".to_owned(),
                )
            }
            WebError::Account(error) => (StatusCode::BAD_REQUEST, "That can’t be done", sentence(&error.to_string())),
            WebError::Render(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "page failed to draw");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something broke",
                    "The page could not be drawn. The service's log says why.".to_owned(),
                )
            }
        };
        page(code, title, text)
    }
}

/// A message as a person reads it.
pub(super) fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    chars
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

/// A plain page with one message.
pub(super) fn page(code: StatusCode, title: &str, text: String) -> Response {
    let page = ErrorPage {
        code: code.as_u16(),
        title,
        text,
        css: assets::url("manager.css"),
        theme: assets::url("theme.js"),
    };
    let body = page.render().unwrap_or_else(|_| title.to_owned());
    (code, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Html(body)).into_response()
}
