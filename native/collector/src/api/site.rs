// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The site itself: gateways, switches, fingerprints.

use axum::{Json, extract::Path, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Problem, SiteAdmin, SiteRead};
use crate::accounts::SiteSettings;

/// Seconds between two readings of meters; 0 leaves it to the site's configuration.
const INTERVALS: std::ops::RangeInclusive<u32> = 5..=3_600;

#[derive(Deserialize)]
pub(super) struct NewKey {
    fingerprint: String,
    #[serde(default)]
    label: String,
}

/// `GET …/gateways`: with their last reports.
pub(super) async fn gateways(call: Call<SiteRead>) -> Result<Json<Value>, Problem> {
    let gateways = call.caller.app.gateways.of_site(&call.scope).await?;
    let gateways: Vec<_> = gateways
        .iter()
        .map(|gateway| {
            let report = gateway.last_report.as_ref();
            json!({
                "id": gateway.id,
                "name": gateway.name,
                "version": gateway.version,
                "fingerprint": gateway.fingerprint,
                "first_seen_us": gateway.first_seen_us,
                "connected_us": gateway.connected_us,
                "disconnected_us": gateway.disconnected_us,
                "report_us": report.map(|(at_us, _)| at_us),
                "report": report.and_then(|(_, text)| serde_json::from_str::<Value>(text).ok()),
            })
        })
        .collect();
    Ok(Json(json!({ "gateways": gateways })))
}

/// `GET …/settings`: what the service asks the site's gateways to send.
pub(super) async fn settings(call: Call<SiteRead>) -> Result<Json<SiteSettings>, Problem> {
    Ok(Json(call.caller.accounts().settings(&call.scope).await?))
}

/// `PUT …/settings`: all of them; what is left out is the default. Connected gateways have it at once.
pub(super) async fn set_settings(call: Call<SiteAdmin>, body: String) -> Result<Json<SiteSettings>, Problem> {
    let settings: SiteSettings = parse(&body)?;
    let seconds = settings.metering_interval_s;
    if seconds != 0 && !INTERVALS.contains(&seconds) {
        let detail = format!("metering_interval_s is 0, or {} to {}", INTERVALS.start(), INTERVALS.end());
        return Err(Problem::body(detail));
    }
    call.caller.accounts().set_settings(&call.scope, settings, call.now_us).await?;
    Ok(Json(settings))
}

/// `GET …/fingerprints`
pub(super) async fn fingerprints(call: Call<SiteRead>) -> Result<Json<Value>, Problem> {
    let keys = call.caller.accounts().fingerprints(&call.scope).await?;
    Ok(Json(json!({ "fingerprints": keys })))
}

/// `POST …/fingerprints`: lets a gateway in by its key.
pub(super) async fn add_fingerprint(call: Call<SiteAdmin>, body: String) -> Result<StatusCode, Problem> {
    let key: NewKey = parse(&body)?;
    call.caller
        .accounts()
        .add_fingerprint(&call.scope, &key.fingerprint, &key.label, call.now_us)
        .await?;
    Ok(StatusCode::CREATED)
}

/// `DELETE …/fingerprints/{fingerprint}`: shuts a key out; its open connection is closed at once.
pub(super) async fn delete_fingerprint(call: Call<SiteAdmin>, Path((_, fingerprint)): Path<(String, String)>) -> Result<StatusCode, Problem> {
    let deleted = call.caller.accounts().delete_fingerprint(&call.scope, &fingerprint, call.now_us).await?;
    if deleted {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("the site has no such fingerprint"))
    }
}

/// The body as JSON, whatever kind its header says.
fn parse<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, Problem> {
    serde_json::from_str(body).map_err(|error| Problem::body(error.to_string()))
}
