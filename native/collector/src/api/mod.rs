// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! JSON under `/api/v1`: what pages show, from the same query object. Answers to bad questions are problems after RFC 9457.
//!
//! A call comes with a token (`Authorization: Bearer`) or from a signed-in browser; the type of [`Call`] says what it needs.

mod account;
mod alerts;
mod balance;
mod call;
mod events;
mod flows;
mod rules;
mod site;
mod topology;
mod trace;
mod traffic;

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::json;

use std::collections::BTreeSet;

use crate::{
    accounts::{AccountError, Scope},
    alerts::AlertError,
    web::App,
};

use call::{AccountRead, AlertsAdmin, AlertsRead, Anything, Call, Caller, Events, Flows, Reports, SiteAdmin, SiteRead, Topology, Traffic};
pub(crate) use flows::flow_json;

/// All routes of the API.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/account", get(account::about))
        .route("/api/v1/account/sessions", get(account::sessions))
        .route("/api/v1/account/tokens", get(account::tokens))
        .route("/api/v1/account/audit", get(account::audit))
        .route("/api/v1/sites", get(account::sites))
        .route("/api/v1/sites/{site}/gateways", get(site::gateways))
        .route("/api/v1/sites/{site}/settings", get(site::settings).put(site::set_settings))
        .route("/api/v1/sites/{site}/fingerprints", get(site::fingerprints).post(site::add_fingerprint))
        .route("/api/v1/sites/{site}/fingerprints/{fingerprint}", delete(site::delete_fingerprint))
        .route("/api/v1/sites/{site}/events", get(events::list))
        .route("/api/v1/sites/{site}/reports/tenants", get(traffic::tenants))
        .route("/api/v1/sites/{site}/reports/networks", get(traffic::networks))
        .route("/api/v1/sites/{site}/traffic/{kind}/{id}", get(traffic::device))
        .route("/api/v1/sites/{site}/flows", get(flows::list))
        .route("/api/v1/sites/{site}/flows/histogram", get(flows::histogram))
        .route("/api/v1/sites/{site}/flows/top", get(flows::top))
        .route("/api/v1/sites/{site}/flows/{flow}", get(flows::one))
        .route("/api/v1/sites/{site}/flows/{flow}/cause", get(flows::cause))
        .route("/api/v1/sites/{site}/alerts", get(alerts::list))
        .route("/api/v1/sites/{site}/alerts/rules", get(rules::list).post(rules::add))
        .route("/api/v1/sites/{site}/alerts/rules/preview", post(rules::preview))
        .route(
            "/api/v1/sites/{site}/alerts/rules/{rule}",
            get(rules::one).put(rules::change).delete(rules::remove),
        )
        .route("/api/v1/sites/{site}/alerts/{alert}", get(alerts::one))
        .route("/api/v1/sites/{site}/balance", get(balance::balance))
        .route("/api/v1/sites/{site}/trace", get(trace::trace))
        .route("/api/v1/sites/{site}/what-if", get(trace::what_if))
        .route("/api/v1/sites/{site}/topology/counts", get(topology::counts))
        .route("/api/v1/sites/{site}/topology/{kind}", get(topology::list))
        .route("/api/v1/sites/{site}/topology/{kind}/{id}", get(topology::one))
}

/// A problem after RFC 9457.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// The parameter that is wrong, and where in it.
    at: Option<(&'static str, usize, usize)>,
    /// The scope that is missing, and those that are there.
    scopes: Option<(Scope, Vec<Scope>)>,
}

impl Problem {
    pub(crate) fn bad(parameter: &'static str, detail: String, at: std::ops::Range<usize>) -> Self {
        Self {
            at: Some((parameter, at.start, at.end)),
            ..Self::of(StatusCode::BAD_REQUEST, "a parameter can't be read", detail)
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, "not found", detail)
    }

    /// In the same words whether there is no such site or it is somebody else's.
    pub(crate) fn no_site() -> Self {
        Self::not_found("There is no such site in your account.")
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::UNAUTHORIZED, "nobody is signed in", detail)
    }

    /// The token is good, and not for this.
    pub(crate) fn lacks(needed: Scope, has: &BTreeSet<Scope>) -> Self {
        let detail = format!("the call needs a token with the scope {needed}");
        Self {
            scopes: Some((needed, has.iter().copied().collect())),
            ..Self::of(StatusCode::FORBIDDEN, "the token lacks a scope", detail)
        }
    }

    pub(crate) fn token_only() -> Self {
        Self::of(
            StatusCode::FORBIDDEN,
            "a session is not enough",
            "changes through the API are made with a token",
        )
    }

    pub(crate) fn body(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::BAD_REQUEST, "the body can't be read", detail)
    }

    fn of(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            title,
            detail: detail.into(),
            at: None,
            scopes: None,
        }
    }
}

impl From<insights_store::StoreError> for Problem {
    fn from(error: insights_store::StoreError) -> Self {
        if matches!(error, insights_store::StoreError::OverBudget { .. }) {
            let detail = "the question reaches over more records than may be read at once; choose a shorter period or a narrower filter".to_owned();
            return Self::of(StatusCode::SERVICE_UNAVAILABLE, "too much to read", detail);
        }
        if matches!(error, insights_store::StoreError::Busy { .. }) {
            let detail = "too many questions about this site are being answered at this moment; ask again in a while".to_owned();
            return Self::of(StatusCode::SERVICE_UNAVAILABLE, "other questions first", detail);
        }
        tracing::error!(error = &error as &dyn std::error::Error, "API call failed to read the store");
        Self::of(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the store could not be read",
            "the service's log says why",
        )
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NoSite => Self::no_site(),
            AccountError::Store(error) => error.into(),
            AccountError::Hash => Self::of(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the account could not be read",
                "the service's log says why",
            ),
            AccountError::Taken(_) => Self::of(StatusCode::CONFLICT, "there already", error.to_string()),
            other => Self::of(StatusCode::BAD_REQUEST, "that can't be done", other.to_string()),
        }
    }
}

impl From<AlertError> for Problem {
    fn from(error: AlertError) -> Self {
        match error {
            AlertError::Store(error) => error.into(),
            AlertError::NoRule | AlertError::NoAlert | AlertError::NoReceiver => Self::not_found(error.to_string()),
            AlertError::NoRuleRoom | AlertError::NoRoom => Self::of(StatusCode::CONFLICT, "no room", error.to_string()),
            other => Self::of(StatusCode::BAD_REQUEST, "that can't be done", other.to_string()),
        }
    }
}

impl From<crate::query::flows::RequestError> for Problem {
    fn from(error: crate::query::flows::RequestError) -> Self {
        use crate::query::flows::RequestError;
        let detail = error.to_string();
        match error {
            RequestError::Filter(error) => Problem::bad("filter", detail, error.at),
            RequestError::Resolve(_) => Problem::bad("filter", detail, 0..0),
            RequestError::After(text) => Problem::bad("after", detail, 0..text.chars().count()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({ "type": "about:blank", "title": self.title, "status": self.status.as_u16(), "detail": self.detail });
        if let Some((parameter, from, to)) = self.at {
            body["parameter"] = parameter.into();
            body["at"] = json!([from, to]);
        }
        // What a client is to show to be let in (RFC 6750).
        let mut challenge = (self.status == StatusCode::UNAUTHORIZED).then(|| "Bearer".to_owned());
        if let Some((needed, has)) = self.scopes {
            body["needed"] = json!(needed);
            body["scopes"] = json!(has);
            challenge = Some(format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\""));
        }
        let mut response = (
            self.status,
            [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))],
            body.to_string(),
        )
            .into_response();
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
