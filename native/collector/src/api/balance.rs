// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::Json;
use serde_json::{Value, json};

use super::{Call, Problem, SiteRead};
use crate::query::balance::Balance;

/// `GET …/balance?period=…`: records by hour, gateway, kind and hop, what was lost and why, and what does not add up.
pub(super) async fn balance(call: Call<SiteRead>) -> Result<Json<Value>, Problem> {
    let (counts, losses) = tokio::try_join!(call.store().counts(call.period), call.store().losses(call.period))?;
    let balance = Balance::of(&counts, &losses);
    let totals: serde_json::Map<String, Value> = balance
        .totals
        .iter()
        .map(|(kind, hops, open)| ((*kind).to_owned(), json!({ "hops": hops, "open": open })))
        .collect();
    Ok(Json(json!({
        "period": { "from_us": call.period.from_us, "to_us": call.period.to_us },
        "totals": totals,
        "losses": balance.losses,
        "hours": balance.lines,
    })))
}
