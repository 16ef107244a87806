// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Telling others: who wants to know, in which form, and the task that sends what waits.

mod address;
mod courier;
mod format;
mod post;
mod sign;

use serde::{Deserialize, Serialize};

pub use address::AllowedPrefix;
pub use courier::{Courier, CourierParts};
pub use post::PostError;

/// Receivers of a site: a few channels and an on-call service.
pub const MOST_TARGETS: usize = 20;

/// What a webhook is sent, and how.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Webhook {
    pub url: String,
    pub format: Format,
    /// Signs each body; made by the service.
    pub secret: String,
    /// The receiver's own key (PagerDuty's routing key), where its format has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}

/// Form of a webhook's body.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Our own document.
    Json,
    /// `{"text": …}`, as Slack, Mattermost and others take it.
    Slack,
    /// Events API v2.
    PagerDuty,
    /// What Alertmanager sends to its webhooks (version 4).
    Alertmanager,
}

impl Format {
    pub const ALL: [Format; 4] = [Format::Json, Format::Slack, Format::PagerDuty, Format::Alertmanager];

    pub fn slug(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Slack => "slack",
            Format::PagerDuty => "pagerduty",
            Format::Alertmanager => "alertmanager",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Format::Json => "JSON of MidoInsights",
            Format::Slack => "Slack, Mattermost",
            Format::PagerDuty => "PagerDuty (Events API v2)",
            Format::Alertmanager => "Alertmanager’s webhook",
        }
    }

    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.slug() == slug)
    }
}

impl Webhook {
    /// What is wrong with it, for the person who typed it. Where its name leads is looked at when something is sent.
    pub(super) fn check(&self) -> Result<(), PostError> {
        post::Place::parse(&self.url).map(|_| ())
    }
}
