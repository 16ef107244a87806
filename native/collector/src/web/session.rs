// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Signing in and out. The session is an opaque token in a cookie; forms carry a second one that is derived from it, and come from this
//! origin only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use askama::Template;
use axum::{
    Form,
    extract::{ConnectInfo, FromRequestParts, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{app::App, assets, error::WebError};
use crate::accounts::{self, AccountError, Visitor};

/// A cookie of this name is taken by browsers over TLS only, for this host and path alone.
const SECURE_COOKIE: &str = "__Host-insights";
/// Of a trial without TLS.
const PLAIN_COOKIE: &str = "insights";

/// A signed-in person.
pub(crate) struct SignedIn(pub accounts::Session);

impl FromRequestParts<App> for SignedIn {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WebError> {
        let next = || WebError::SignIn(parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned());
        session_of(parts, app).await?.map(Self).ok_or_else(next)
    }
}

/// The session of the cookie, if it is good.
pub(crate) async fn session_of(parts: &Parts, app: &App) -> Result<Option<accounts::Session>, AccountError> {
    let Some(token) = cookie(&parts.headers, app.secure) else {
        return Ok(None);
    };
    let Some(session) = app.accounts.session(&token, app.now_us()).await? else {
        return Ok(None);
    };
    let visitor = visitor(parts);
    app.accounts.session_used(&session, &visitor, app.now_us()).await;
    Ok(Some(session.from_address(visitor.address)))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    css: String,
    theme: String,
    email: String,
    next: String,
    failed: bool,
    done: &'static str,
    sign_up: bool,
}

#[derive(Template)]
#[template(path = "sign_in_code.html")]
struct CodePage {
    css: String,
    theme: String,
    ticket: String,
    next: String,
    failed: bool,
}

#[derive(Deserialize)]
pub(crate) struct CodeForm {
    #[serde(default)]
    ticket: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(crate) struct SignInQuery {
    #[serde(default)]
    next: String,
    #[serde(default)]
    done: String,
}

#[derive(Deserialize)]
pub(crate) struct SignInForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(crate) struct CsrfForm {
    #[serde(default)]
    csrf: String,
}

pub(crate) async fn sign_in_page(State(app): State<App>, Query(query): Query<SignInQuery>) -> Result<Response, WebError> {
    let done = match query.done.as_str() {
        "opened" => "The account is open. Sign in to add the fingerprint of your first gateway.",
        "password" => "The new password is set. Sign in with it.",
        "deleted" => "The account is deleted.",
        "ended" => "The session is ended.",
        _ => "",
    };
    form(&app, String::new(), query.next, false, done)
}

pub(crate) async fn sign_in(
    State(app): State<App>,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(typed): Form<SignInForm>,
) -> Result<Response, WebError> {
    same_origin(&headers)?;
    match app.accounts.sign_in(typed.email.trim(), typed.password, visitor, app.now_us()).await {
        Ok(signed) => Ok(welcome(&app, &signed, &typed.next)),
        Err(AccountError::CodeNeeded { ticket }) => code_form(ticket, typed.next, false),
        Err(AccountError::Refused) => form(&app, typed.email, typed.next, true, ""),
        Err(error) => Err(error.into()),
    }
}

/// The second step, where the account has a second factor.
pub(crate) async fn sign_in_with_code(
    State(app): State<App>,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(typed): Form<CodeForm>,
) -> Result<Response, WebError> {
    same_origin(&headers)?;
    match app.accounts.sign_in_with_code(&typed.ticket, &typed.code, visitor, app.now_us()).await {
        Ok(signed) => Ok(welcome(&app, &signed, &typed.next)),
        Err(AccountError::WrongCode) => code_form(typed.ticket, typed.next, true),
        Err(AccountError::Ticket) => form(&app, String::new(), typed.next, false, "That took too long. Begin again, please."),
        Err(error) => Err(error.into()),
    }
}

/// Signed in, and on to where they wanted to go.
fn welcome(app: &App, signed: &accounts::SignIn, next: &str) -> Response {
    let to = if local(next) { next } else { "/" };
    let age = (signed.expires_us - app.now_us()) / 1_000_000;
    ([(header::SET_COOKIE, set_cookie(app, &signed.token, age))], Redirect::to(to)).into_response()
}

fn code_form(ticket: String, next: String, failed: bool) -> Result<Response, WebError> {
    let page = CodePage {
        css: assets::url("manager.css"),
        theme: assets::url("theme.js"),
        ticket,
        next,
        failed,
    };
    let code = if failed { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    Ok((code, Html(page.render()?)).into_response())
}

pub(crate) async fn sign_out(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<CsrfForm>,
) -> Result<Response, WebError> {
    guard(&session, &headers, &form.csrf)?;
    app.accounts.sign_out(&session, app.now_us()).await?;
    Ok(([(header::SET_COOKIE, set_cookie(&app, "", 0))], Redirect::to("/sign-in")).into_response())
}

/// Where a request comes from, for the throttle of sign-ins.
pub(crate) struct Client(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(visitor(parts).address))
    }
}

/// The same with the program that asks.
pub(crate) struct Asking(pub Visitor);

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(visitor(parts)))
    }
}

pub(crate) fn visitor(parts: &Parts) -> Visitor {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Visitor::new(peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), agent.unwrap_or_default())
}

/// What forms of a session carry. It can't be made without the session's token, and does not give it away.
pub(crate) fn csrf(session: &accounts::Session) -> String {
    let mut hash = Sha256::new();
    hash.update(b"insights form ");
    hash.update(session.token_hash());
    hex::encode(hash.finalize())
}

/// Lets a form through that a page of this session sent.
pub(crate) fn guard(session: &accounts::Session, headers: &HeaderMap, sent: &str) -> Result<(), WebError> {
    same_origin(headers)?;
    check(session, sent)
}

fn check(session: &accounts::Session, sent: &str) -> Result<(), WebError> {
    let expected = csrf(session);
    if bool::from(expected.as_bytes().ct_eq(sent.as_bytes())) {
        Ok(())
    } else {
        Err(WebError::Forged)
    }
}

/// A form came from a page of this origin, as browsers say it.
pub(crate) fn same_origin(headers: &HeaderMap) -> Result<(), WebError> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return if matches!(site, "same-origin" | "none") {
            Ok(())
        } else {
            Err(WebError::Forged)
        };
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => {
            let ours = origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host));
            if ours { Ok(()) } else { Err(WebError::Forged) }
        }
        // Programs without a browser send neither; they have no cookies of others to abuse.
        _ => Ok(()),
    }
}

fn form(app: &App, email: String, next: String, failed: bool, done: &'static str) -> Result<Response, WebError> {
    let page = SignInPage {
        css: assets::url("manager.css"),
        theme: assets::url("theme.js"),
        email,
        next,
        failed,
        done,
        sign_up: app.sign_up,
    };
    let code = if failed { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    Ok((
        code,
        [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Html(page.render()?),
    )
        .into_response())
}

/// A path of this server, not one that leads elsewhere (`//host`, `/\host`).
fn local(next: &str) -> bool {
    next.starts_with('/') && !next.starts_with("//") && !next.starts_with("/\\") && !next.chars().any(char::is_control)
}

fn cookie(headers: &HeaderMap, secure: bool) -> Option<String> {
    let name = if secure { SECURE_COOKIE } else { PLAIN_COOKIE };
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(have, _)| *have == name)
        .map(|(_, value)| value.to_owned())
        .filter(|token| !token.is_empty())
}

/// Makes the browser forget the session.
pub(crate) fn forget_cookie(app: &App) -> HeaderValue {
    set_cookie(app, "", 0)
}

fn set_cookie(app: &App, token: &str, age_s: i64) -> HeaderValue {
    let name = if app.secure { SECURE_COOKIE } else { PLAIN_COOKIE };
    let secure = if app.secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age_s}{secure}"))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_targets() {
        assert!(local("/s/1/flows?filter=a"));
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\nb",
        ] {
            assert!(!local(next), "{next}");
        }
    }

    #[test]
    fn forms_of_other_origins_are_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.insert(*name, HeaderValue::from_static(value));
            }
            map
        };
        assert!(same_origin(&headers(&[("sec-fetch-site", "same-origin")])).is_ok());
        assert!(same_origin(&headers(&[("sec-fetch-site", "cross-site")])).is_err());
        assert!(same_origin(&headers(&[("sec-fetch-site", "same-site")])).is_err());
        assert!(same_origin(&headers(&[("origin", "http://a.example"), ("host", "b.example")])).is_err());
        assert!(same_origin(&headers(&[("origin", "http://a.example:8080"), ("host", "a.example:8080")])).is_ok());
        assert!(same_origin(&headers(&[("origin", "null"), ("host", "a.example")])).is_err());
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut map = HeaderMap::new();
        map.insert(header::COOKIE, HeaderValue::from_static("xinsights=1; insights=abc; other=2"));
        assert_eq!(cookie(&map, false).as_deref(), Some("abc"));
        assert_eq!(cookie(&map, true), None);
    }
}
