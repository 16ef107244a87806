// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! JSON under `/api/v1`: what pages show, from the same query object. Answers to bad questions are problems after RFC 9457.

mod alerts;
mod balance;
mod flows;
mod topology;

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::web::App;

pub(crate) use flows::flow_json;

/// All routes of the API.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/sites/{site}/flows", get(flows::list))
        .route("/api/v1/sites/{site}/flows/histogram", get(flows::histogram))
        .route("/api/v1/sites/{site}/flows/{flow}", get(flows::one))
        .route("/api/v1/sites/{site}/alerts", get(alerts::list))
        .route("/api/v1/sites/{site}/alerts/rules", get(alerts::rules))
        .route("/api/v1/sites/{site}/alerts/{alert}", get(alerts::one))
        .route("/api/v1/sites/{site}/balance", get(balance::balance))
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
}

impl Problem {
    pub(crate) fn bad(parameter: &'static str, detail: String, at: std::ops::Range<usize>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "a parameter can't be read",
            detail,
            at: Some((parameter, at.start, at.end)),
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "not found",
            detail: detail.into(),
            at: None,
        }
    }
}

impl From<insights_store::StoreError> for Problem {
    fn from(error: insights_store::StoreError) -> Self {
        if matches!(error, insights_store::StoreError::OverBudget { .. }) {
            let detail = "the question reaches over more records than may be read at once; choose a shorter period or a narrower filter".to_owned();
            return Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "too much to read",
                detail,
                at: None,
            };
        }
        tracing::error!(error = &error as &dyn std::error::Error, "API call failed to read the store");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            title: "the store could not be read",
            detail: "the service's log says why".to_owned(),
            at: None,
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
        (
            self.status,
            [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))],
            body.to_string(),
        )
            .into_response()
    }
}
