// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::{Json, extract::RawQuery};
use serde_json::{Value, json};

use super::{AccountRead, Anything, Caller, Problem, call::Who};
use crate::{
    accounts::{AuditQuery, Signed},
    query::params::Params,
};

/// Entries of an answer at most.
const LIMIT: usize = 1_000;

/// `GET /api/v1/account`: who the call comes from, and what it may do.
pub(super) async fn about(caller: Caller<Anything>) -> Json<Value> {
    let account = caller.who.account();
    Json(match &caller.who {
        Who::Session(session) => json!({ "account": account, "by": "session", "name": session.name }),
        Who::Token(bearer) => json!({ "account": account, "by": "token", "token": bearer.token }),
    })
}

/// `GET /api/v1/sites`: the sites that the caller may see.
pub(super) async fn sites(caller: Caller<Anything>) -> Result<Json<Value>, Problem> {
    let sites = caller.accounts().sites(&caller.who).await?;
    Ok(Json(json!({ "sites": sites })))
}

/// `GET /api/v1/account/sessions`
pub(super) async fn sessions(caller: Caller<AccountRead>) -> Result<Json<Value>, Problem> {
    let sessions = caller.accounts().sessions(&caller.who, caller.app.now_us()).await?;
    Ok(Json(json!({ "sessions": sessions })))
}

/// `GET /api/v1/account/tokens`
pub(super) async fn tokens(caller: Caller<AccountRead>) -> Result<Json<Value>, Problem> {
    let tokens = caller.accounts().tokens(&caller.who).await?;
    Ok(Json(json!({ "tokens": tokens })))
}

/// `GET /api/v1/account/audit?kind=…&refused=1&find=…&before=…&limit=…`: newest first; `next` is the `before` of the next page.
pub(super) async fn audit(caller: Caller<AccountRead>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let params = Params::parse(&query.unwrap_or_default());
    let text = |name: &str| params.get(name).unwrap_or_default();
    let wrong = |name: &'static str, detail: &str| Problem::bad(name, detail.to_owned(), 0..text(name).chars().count());
    let limit = match text("limit") {
        "" => LIMIT,
        number => number
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT).contains(limit))
            .ok_or_else(|| wrong("limit", "limit is 1 to 1000"))?,
    };
    let before = match text("before") {
        "" => None,
        id => Some(id.parse().map_err(|_| wrong("before", "before is what next of a page was"))?),
    };
    let wanted = AuditQuery {
        what: text("kind").to_owned(),
        refused: params.flag("refused"),
        find: text("find").to_owned(),
        before,
        limit,
    };
    let (entries, next) = caller.accounts().audit(&caller.who, wanted).await?;
    Ok(Json(json!({ "entries": entries, "next": next })))
}
