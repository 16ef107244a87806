// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::Json;
use serde_json::{Value, json};

use super::{AccountRead, Anything, Caller, Problem, call::Who};
use crate::accounts::Signed;

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
