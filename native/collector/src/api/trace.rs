// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::Json;
use serde_json::{Value, json};

use super::{Call, Problem, Topology};
use crate::query::trace::{self, Ask};

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
