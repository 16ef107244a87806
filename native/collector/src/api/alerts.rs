// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::{Json, extract::Path};
use insights_store::catalog::{AlertQuery, StoredAlert};
use serde_json::{Value, json};

use super::{AlertsRead, Call, Problem};
use crate::alerts::{About, Alerts};

/// Alerts of one answer.
const PAGE: usize = 1_000;

fn alerts(call: &Call<AlertsRead>) -> Alerts {
    Alerts::new(call.caller.app.accounts.catalog().clone())
}

/// `GET …/alerts?state=open|resolved|all&rule=…&before=…`: newest first; `next` is the `before` of the next answer.
pub(super) async fn list(call: Call<AlertsRead>) -> Result<Json<Value>, Problem> {
    let state = call.params.get("state").filter(|state| !state.is_empty()).unwrap_or("open");
    let open = match state {
        "open" => Some(true),
        "resolved" => Some(false),
        "all" => None,
        other => {
            let detail = "the state is open, resolved or all".to_owned();
            return Err(Problem::bad("state", detail, 0..other.chars().count()));
        }
    };
    let before = match call.params.get("before").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let place = text.split_once('-').and_then(|(time, id)| Some((time.parse().ok()?, id.parse().ok()?)));
            let bad = || Problem::bad("before", "that is no place in a list of alerts".to_owned(), 0..text.chars().count());
            Some(place.ok_or_else(bad)?)
        }
    };
    let query = AlertQuery {
        open,
        rule: call.params.get("rule").filter(|rule| !rule.is_empty()).map(str::to_owned),
        before,
        limit: PAGE,
    };
    let found = alerts(&call).list(&call.scope, query, call.now_us).await?;
    let next = found
        .last()
        .filter(|_| found.len() == PAGE)
        .map(|last| format!("{}-{}", last.opened_us, last.id));
    let found: Vec<Value> = found.iter().map(alert_json).collect();
    Ok(Json(json!({ "alerts": found, "next": next })))
}

/// One alert with its history.
pub(super) async fn one(call: Call<AlertsRead>, Path((_, id)): Path<(String, String)>) -> Result<Json<Value>, Problem> {
    let none = || Problem::not_found("no alert of this site has this id");
    let id: u64 = id.parse().map_err(|_| none())?;
    let (alert, acts) = alerts(&call).one(&call.scope, id, call.now_us).await?.ok_or_else(none)?;
    let acts: Vec<Value> = acts
        .iter()
        .map(|act| json!({ "at_us": act.at_us, "what": act.what, "by": act.by, "text": act.text }))
        .collect();
    let mut body = alert_json(&alert);
    body["history"] = acts.into();
    Ok(Json(body))
}

fn alert_json(alert: &StoredAlert) -> Value {
    let told = |pair: &Option<(i64, String)>, name: &str| pair.as_ref().map(|(at_us, text)| json!({ "at_us": at_us, name: text }));
    json!({
        "id": alert.id,
        "rule": alert.rule,
        "subject": alert.subject,
        "state": if alert.resolved.is_some() { "resolved" } else { "open" },
        "level": alert.says.level,
        "text": alert.says.text,
        "about": About::parse(&alert.says.about),
        "value": alert.says.value,
        "threshold": alert.says.threshold,
        "members": alert.says.members,
        "since_us": alert.since_us,
        "opened_us": alert.opened_us,
        "updated_us": alert.updated_us,
        "unknown": told(&alert.unknown, "why"),
        "resolved": told(&alert.resolved, "why"),
        "acknowledged": told(&alert.acknowledged, "by"),
        "silenced": alert.silenced.as_ref().map(|(until_us, by)| json!({ "until_us": until_us, "by": by })),
    })
}
