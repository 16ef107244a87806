// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::Json;
use serde_json::{Value, json};

use super::Problem;
use crate::{query::balance::Balance, web::Ctx};

/// `GET …/balance?period=…`: records by hour, gateway, kind and hop, what was lost and why, and what does not add up.
pub(super) async fn balance(ctx: Ctx) -> Result<Json<Value>, Problem> {
    let (counts, losses) = tokio::try_join!(ctx.store().counts(ctx.period), ctx.store().losses(ctx.period))?;
    let balance = Balance::of(&counts, &losses);
    let totals: serde_json::Map<String, Value> = balance
        .totals
        .iter()
        .map(|(kind, hops, open)| ((*kind).to_owned(), json!({ "hops": hops, "open": open })))
        .collect();
    Ok(Json(json!({
        "period": { "from_us": ctx.period.from_us, "to_us": ctx.period.to_us },
        "totals": totals,
        "losses": balance.losses,
        "hours": balance.lines,
    })))
}
