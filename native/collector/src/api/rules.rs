// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Rules of alerts: those that all sites have, and those that people made.

use axum::{Json, extract::Path, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AlertsAdmin, AlertsRead, Call, Problem};
use crate::{
    accounts::Scope,
    alerts::{AlertError, Alerts, Definition, Measure, OwnRule, PreviewError, PreviewParts},
};

const DAY_US: i64 = 86_400_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    enabled: bool,
}

fn alerts<N>(call: &Call<N>) -> Alerts {
    Alerts::new(call.caller.app.accounts.catalog().clone())
}

/// `GET …/alerts/rules`: all rules, and whether they are on.
pub(super) async fn list(call: Call<AlertsRead>) -> Result<Json<Value>, Problem> {
    let rules = alerts(&call).rules(&call.scope).await?;
    let rules: Vec<Value> = rules
        .iter()
        .map(|info| {
            json!({
                "id": info.rule.id,
                "name": info.rule.name,
                "about": info.rule.says,
                "level": info.rule.level,
                "hold_us": info.rule.hold_us,
                "clear_us": info.rule.clear_us,
                "enabled": info.enabled,
            })
        })
        .collect();
    let own: Vec<Value> = alerts(&call).own_rules(&call.scope).await?.iter().map(own_json).collect();
    Ok(Json(json!({ "rules": rules, "own": own })))
}

/// `POST …/alerts/rules`: makes a rule.
pub(super) async fn add(call: Call<AlertsAdmin>, body: String) -> Result<(StatusCode, Json<Value>), Problem> {
    let definition = definition(&call, &body)?;
    let id = alerts(&call).save_rule(&call.scope, None, &definition, call.now_us).await?;
    told(&call, &definition.name, "made").await;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

/// `GET …/alerts/rules/{rule}`: one that people made.
pub(super) async fn one(call: Call<AlertsRead>, Path((_, id)): Path<(String, String)>) -> Result<Json<Value>, Problem> {
    let rule = alerts(&call).own_rule(&call.scope, &id).await?;
    Ok(Json(own_json(&rule.ok_or(AlertError::NoRule)?)))
}

/// `PUT …/alerts/rules/{rule}`: makes it another; `{"enabled": false}` alone switches it, or a built-in one, off.
pub(super) async fn change(call: Call<AlertsAdmin>, Path((_, id)): Path<(String, String)>, body: String) -> Result<StatusCode, Problem> {
    if let Ok(switch) = serde_json::from_str::<Switch>(&body) {
        let name = alerts(&call).switch_rule(&call.scope, &id, switch.enabled, call.now_us).await?;
        let accounts = call.caller.accounts();
        accounts.rule_switched(&call.scope, &name, switch.enabled, call.now_us).await;
        return Ok(StatusCode::NO_CONTENT);
    }
    let definition = definition(&call, &body)?;
    alerts(&call).save_rule(&call.scope, Some(&id), &definition, call.now_us).await?;
    told(&call, &definition.name, "changed").await;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE …/alerts/rules/{rule}`
pub(super) async fn remove(call: Call<AlertsAdmin>, Path((_, id)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let name = alerts(&call).delete_rule(&call.scope, &id).await?;
    told(&call, &name, "deleted").await;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/alerts/rules/preview`: what a rule would have said in the last day and in the last week.
pub(super) async fn preview(call: Call<AlertsAdmin>, body: String) -> Result<Json<Value>, Problem> {
    let definition = definition(&call, &body)?;
    let parts = PreviewParts {
        store: call.store(),
        gateways: &call.caller.app.gateways,
        site: &call.site,
        tenants: call.tenants(),
        now_us: call.now_us,
    };
    let mut answer = json!({ "says": definition.says() });
    for (name, days) in [("day", 1), ("week", 7)] {
        let preview = definition.preview(&parts, days * DAY_US).await.map_err(|error| match error {
            PreviewError::Definition(error) => Problem::body(error.to_string()),
            PreviewError::Store(error) => error.into(),
        })?;
        answer[name] = json!({
            "from_us": preview.period.from_us,
            "to_us": preview.period.to_us,
            "alerts": preview.alerts,
            "minutes_unknown": preview.unknown,
        });
    }
    Ok(Json(answer))
}

/// Reads a rule that the caller may ask what it asks: a rule over flows tells of flows.
fn definition(call: &Call<AlertsAdmin>, body: &str) -> Result<Definition, Problem> {
    let definition: Definition = serde_json::from_str(body).map_err(|error| Problem::body(error.to_string()))?;
    call.caller.also(if definition.measure == Measure::Records {
        Scope::Flows
    } else {
        Scope::Traffic
    })?;
    definition
        .looks_at(&call.site, call.tenants())
        .map_err(|error| Problem::body(error.to_string()))?;
    Ok(definition)
}

async fn told(call: &Call<AlertsAdmin>, name: &str, what: &str) {
    call.caller.accounts().rule_changed(&call.scope, name.trim(), what, call.now_us).await;
}

fn own_json(rule: &OwnRule) -> Value {
    json!({
        "id": rule.id,
        "enabled": rule.enabled,
        "changed_us": rule.changed_us,
        "about": rule.definition.says(),
        "definition": rule.definition,
    })
}
