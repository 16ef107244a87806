// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::Json;
use serde_json::{Value, json};

use super::{Call, Flows, Problem, Scope, Topology};
use crate::query::{
    trace::{self, Ask},
    what_if::{self, Edit},
};

/// Where a packet would go, over the topology of now or of `at` (s since the epoch): what the page `trace` shows.
pub(super) async fn trace(call: Call<Topology>) -> Result<Json<Value>, Problem> {
    let site = match call.params.get("at").filter(|text| !text.is_empty()) {
        None => call.site.clone(),
        Some(text) => {
            let at: i64 = text
                .parse()
                .map_err(|_| Problem::bad("at", format!("“{text}” is no moment: it is seconds since 1970"), 0..text.len()))?;
            call.caller.app.sites.at(&call.scope, at.saturating_mul(1_000_000)).await?
        }
    };
    let bad = |field, text: String| Problem::bad(field, text, 0..0);
    let ask = match Ask::parse(&site, &call.params) {
        Ok(Some(ask)) => ask,
        Ok(None) => return Err(bad("port", "say from which port and to which address: port=…&dst=…".to_owned())),
        Err(error) => {
            let choices: Vec<String> = error.choices.iter().map(|(id, name)| format!(" {id} ({name})")).collect();
            return Err(bad(error.field, format!("{}{}", error.text, choices.join(","))));
        }
    };
    let as_of_us = site.at_us();
    let ways = trace::trace(site, ask).await.map_err(|error| bad("port", error.to_string()))?;
    Ok(Json(json!({ "there": ways.there, "back": ways.back, "as_of_us": as_of_us })))
}

/// Which stored flows would have had another verdict without a rule (`edit=remove`), or if it accepted or dropped what it matches.
pub(super) async fn what_if(call: Call<Flows>) -> Result<Json<Value>, Problem> {
    call.caller.also(Scope::Topology)?;
    let text = call.params.get("rule").unwrap_or_default();
    let rule = text.parse().ok().filter(|id| call.site.rule(*id).is_some());
    let rule = rule.ok_or_else(|| Problem::bad("rule", "no rule of the site has this UUID now".to_owned(), 0..text.len()))?;
    let text = call.params.get("edit").unwrap_or_default();
    let edit = Edit::parse(text).ok_or_else(|| Problem::bad("edit", "edit is one of remove, accept, drop".to_owned(), 0..text.len()))?;
    let answer = what_if::what_if(call.store(), call.site.clone(), call.period, rule, edit).await?;
    Ok(Json(json!({ "rule": rule, "edit": edit, "flows": answer })))
}
