// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Alerts: rules look at facts, and what becomes of trouble is kept.
//!
//! [`Engine`] looks at each site every few seconds: it collects facts ([`topology`], [`service`]), gives them to the site's [`machine`], and writes
//! what changed in one transaction. The machine moves on only when that was written, so nothing is told twice or forgotten, whatever is killed.
//! Rules that people make ([`own`]) are judged over minutes of roll-ups and go through the same machine.
//! What [`notices`] are to be sent is written in the same transaction, and [`Courier`] sends it until it was taken.
//! People reach alerts through [`Alerts`], with the key to their site.

mod access;
mod engine;
mod machine;
mod notices;
mod own;
mod rules;
mod service;
mod topology;

use std::time::Duration;

use insights_store::catalog::Gateway;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::site::Kind;

pub use access::{AlertError, Alerts, MOST_RULES, NewReceiver, OwnRule, RuleInfo};
pub use engine::{Engine, EngineOptions, EngineParts};
pub use notices::{AllowedPrefix, Courier, CourierParts, Format, MOST_TARGETS, PostError, Webhook};
pub use own::{Condition, Definition, DefinitionError, MOST_MINUTES, MOST_OWN, Measure, Preview, PreviewError, PreviewParts, Span, Within, is_own};
pub use rules::{BUILT_IN, BuiltIn, built_in};

/// How often a site is looked at.
pub const EVERY: Duration = Duration::from_secs(2);

/// What an alert is about, so that its page can lead there.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct About {
    /// `gateway`, `site`, or the slug of a kind of object; empty for none.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Name of the rule, where people made it: it may be gone when the alert is read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
}

impl About {
    fn object(kind: Kind, id: Uuid, name: String, tenant: Option<String>) -> Self {
        Self {
            kind: kind.slug().to_owned(),
            id: Some(id),
            name,
            tenant,
            rule: String::new(),
        }
    }

    fn gateway(gateway: &Gateway) -> Self {
        Self {
            kind: "gateway".to_owned(),
            id: Some(gateway.id),
            name: gateway.name.clone(),
            ..Self::default()
        }
    }

    fn site() -> Self {
        Self {
            kind: "site".to_owned(),
            ..Self::default()
        }
    }

    fn json(&self) -> String {
        // Plain data: it can always be written.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// As it was kept; what can't be read is about nothing.
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }
}
