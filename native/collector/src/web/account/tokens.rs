// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tokens of the API: what there is, a new one, and the end of one.

use std::collections::BTreeSet;

use askama::Template;
use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use insights_store::SiteId;
use serde::Deserialize;
use time::{Date, macros::format_description};

use super::{Frame, framed, told};
use crate::{
    accounts::{AccountError, MOST_TOKENS, NewToken, Proof, Scope, Session, SiteInfo, TokenInfo},
    query::params::Params,
    web::{
        App,
        error::WebError,
        session::{self, Asking, SignedIn},
        units,
    },
};

#[derive(Template)]
#[template(path = "account_tokens.html")]
struct Page {
    frame: Frame,
    /// The token that was just made; empty otherwise.
    made: String,
    origin: String,
    tokens: Vec<Row>,
    most: usize,
    typed: Typed,
    today: String,
    scopes: Vec<Tick>,
    sites: Vec<Tick>,
}

struct Row {
    id: String,
    name: String,
    scopes: String,
    sites: String,
    used: String,
    address: String,
    ends: String,
    made: String,
    over: bool,
}

struct Tick {
    id: String,
    name: String,
    about: &'static str,
    ticked: bool,
}

/// The form as it was sent, to be shown again with what is wrong. Read by hand: a name may come several times.
#[derive(Default)]
struct Typed {
    name: String,
    until: String,
    scopes: BTreeSet<Scope>,
    sites: Vec<String>,
}

#[derive(Deserialize, Default)]
pub(crate) struct Asked {
    #[serde(default)]
    done: String,
}

pub(crate) async fn page(State(app): State<App>, SignedIn(session): SignedIn, Query(asked): Query<Asked>) -> Result<Response, WebError> {
    let done = match asked.done.as_str() {
        "revoked" => "The token is revoked: whoever shows it is refused from now on.",
        _ => "",
    };
    show(&app, &session, Typed::default(), done, String::new(), String::new()).await
}

/// Makes a token and shows it on the answer itself, which browsers keep nowhere.
pub(crate) async fn make(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    body: String,
) -> Result<Response, WebError> {
    let form = Params::parse(&body);
    session::guard(&session, &headers, form.get("csrf").unwrap_or_default())?;
    let all = |wanted: &'static str| form.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value);
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let typed = Typed {
        name: text("name"),
        until: text("until"),
        scopes: all("scope").filter_map(|name| name.parse().ok()).collect(),
        sites: all("site").map(str::to_owned).collect(),
    };
    let proof = Proof {
        password: text("password"),
        code: text("code"),
    };
    let made = match wanted(&typed) {
        Ok(wanted) => app.accounts.create_token(&session, visitor, proof, wanted, app.now_us()).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(token) => show(&app, &session, Typed::default(), "The token is made.", String::new(), token).await,
        Err(error) => show(&app, &session, typed, "", told(error)?, String::new()).await,
    }
}

#[derive(Deserialize)]
pub(crate) struct RevokeForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    id: String,
}

pub(crate) async fn revoke(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    axum::Form(form): axum::Form<RevokeForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let id = form.id.parse().map_err(|_| WebError::NotFound("There is no such token.".to_owned()))?;
    // One that somebody else revoked meanwhile is revoked as well.
    app.accounts.revoke_token(&session, id, app.now_us()).await?;
    Ok(Redirect::to("/account/tokens?done=revoked").into_response())
}

fn wanted(typed: &Typed) -> Result<NewToken, AccountError> {
    let sites: Vec<SiteId> = typed
        .sites
        .iter()
        .map(|id| id.parse().map_err(|_| AccountError::NoSite))
        .collect::<Result<_, _>>()?;
    Ok(NewToken {
        name: typed.name.clone(),
        scopes: typed.scopes.clone(),
        sites: (!sites.is_empty()).then_some(sites),
        expires_us: match typed.until.trim() {
            "" => None,
            day => Some(end_of(day).ok_or(AccountError::Past)?),
        },
    })
}

/// The end of a day, as forms send days.
fn end_of(day: &str) -> Option<i64> {
    let date = Date::parse(day, format_description!("[year]-[month]-[day]")).ok()?;
    Some(date.next_day()?.midnight().assume_utc().unix_timestamp().saturating_mul(1_000_000))
}

async fn show(app: &App, session: &Session, typed: Typed, done: &'static str, error: String, made: String) -> Result<Response, WebError> {
    let now_us = app.now_us();
    let sites = app.accounts.sites(session).await?;
    let tokens = app.accounts.tokens(session).await?;
    let page = Page {
        frame: Frame::new(app, session, "/account/tokens", done, error).await?,
        made,
        origin: app.accounts.url(),
        tokens: tokens.into_iter().map(|token| row(token, &sites, now_us)).collect(),
        most: MOST_TOKENS,
        today: units::rfc3339(now_us).chars().take(10).collect(),
        scopes: Scope::ALL
            .into_iter()
            .map(|scope| Tick {
                id: String::new(),
                name: scope.name().to_owned(),
                about: scope.about(),
                ticked: typed.scopes.contains(&scope),
            })
            .collect(),
        sites: sites
            .into_iter()
            .map(|site| Tick {
                id: site.id.to_string(),
                ticked: typed.sites.contains(&site.id.to_string()),
                name: site.name,
                about: "",
            })
            .collect(),
        typed,
    };
    framed(&page, &page.frame)
}

fn row(token: TokenInfo, sites: &[SiteInfo], now_us: i64) -> Row {
    let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.name()).collect();
    let named = |id: &SiteId| sites.iter().find(|site| site.id == *id).map(|site| site.name.clone());
    Row {
        id: token.id.to_string(),
        name: token.name,
        scopes: scopes.join(", "),
        sites: match token.sites {
            None => String::new(),
            Some(only) => {
                let names: Vec<_> = only.iter().filter_map(named).collect();
                if names.is_empty() {
                    "no site that is left".to_owned()
                } else {
                    format!("only {}", names.join(", "))
                }
            }
        },
        used: token.used_us.map_or_else(|| "never".to_owned(), units::day_minute),
        address: token.address,
        ends: token.expires_us.map_or_else(|| "never".to_owned(), units::full),
        over: token.expires_us.is_some_and(|end| end <= now_us),
        made: units::day_minute(token.created_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_day_is_good_to_its_end() {
        assert_eq!(end_of("1970-01-01"), Some(86_400_000_000));
        for wrong in ["", "1970-13-01", "tomorrow", "1970-1-1"] {
            assert_eq!(end_of(wrong), None, "{wrong}");
        }
    }
}
