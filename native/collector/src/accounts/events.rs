// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What people did to a site, as events of the site, and in the log of the account.

use insights_store::catalog::{Level, NewEvent};
use uuid::Uuid;

use super::{Accounts, SiteScope, audit::Act};

/// An act that the site's events are to hold.
pub(super) struct Told {
    kind: &'static str,
    /// The word in the log of the account.
    audited: &'static str,
    text: String,
    gateway: Option<Uuid>,
}

impl Told {
    pub(super) fn new(kind: &'static str, audited: &'static str, text: impl Into<String>) -> Self {
        Self {
            kind,
            audited,
            text: text.into(),
            gateway: None,
        }
    }
}

impl Accounts {
    /// A gateway was given a command.
    pub async fn command_given(&self, scope: &SiteScope, gateway: Uuid, what: &str, now_us: i64) {
        let told = Told {
            gateway: Some(gateway),
            ..Told::new("account.command", "site.command", format!("a gateway was asked to {what}"))
        };
        self.tell(scope, told, now_us).await;
    }

    /// A rule of alerts was switched on or off.
    pub async fn rule_switched(&self, scope: &SiteScope, name: &str, on: bool, now_us: i64) {
        let word = if on { "on" } else { "off" };
        let told = Told::new("account.alert_rule", "alert.rule", format!("the rule {name} was switched {word}"));
        self.tell(scope, told, now_us).await;
    }

    /// A rule of alerts was made, changed or deleted.
    pub async fn rule_changed(&self, scope: &SiteScope, name: &str, what: &str, now_us: i64) {
        let told = Told::new("account.alert_rule", "alert.rule", format!("the rule {name} was {what}"));
        self.tell(scope, told, now_us).await;
    }

    /// A receiver of alerts was added or deleted.
    pub async fn receiver_changed(&self, scope: &SiteScope, name: &str, what: &str, now_us: i64) {
        let told = Told::new(
            "account.alert_receiver",
            "alert.receiver",
            format!("the receiver of alerts {name} was {what}"),
        );
        self.tell(scope, told, now_us).await;
    }

    /// Keeps an act with the id of the account that did it, which pages show as its address. It is done by then: that it can't be kept is no
    /// failure of it.
    pub(super) async fn tell(&self, scope: &SiteScope, told: Told, now_us: i64) {
        let act = Act {
            site: Some(scope.site()),
            ..Act::done(told.audited, told.text.clone())
        };
        self.keep(scope.account(), scope.origin(), act, now_us).await;
        let event = NewEvent {
            at_us: now_us,
            level: Level::Info,
            kind: told.kind.to_owned(),
            text: told.text,
            fields: serde_json::json!({ "by": scope.account() }).to_string(),
            gateway: told.gateway,
            loss: None,
        };
        if let Err(error) = self.catalog.append_events(scope.site(), None, vec![event]).await {
            tracing::error!(
                kind = told.kind,
                error = &error as &dyn std::error::Error,
                "could not keep an event of an account"
            );
        }
    }
}
