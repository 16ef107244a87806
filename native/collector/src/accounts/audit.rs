// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The log of an account: who did what, when, and from where.

use std::net::IpAddr;

use insights_store::{AccountId, SiteId, StoreError, catalog::AuditEntry};
use serde::Serialize;
use uuid::Uuid;

use super::{AccountError, Accounts, Signed, SiteScope};

pub use insights_store::catalog::AuditQuery;

/// How long entries are kept, µs: what happened a year ago can be looked up still.
const KEPT_US: i64 = 400 * 86_400_000_000;

/// Where something is asked from, and by which way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    pub way: Way,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Pages of the manager.
    Manager,
    /// A token of the API, by its id.
    Token(Uuid),
    /// A link in a mail.
    Mail,
    /// The operator's command line.
    Operator,
}

/// Something that is to be kept.
pub(super) struct Act {
    pub(super) what: &'static str,
    pub(super) done: bool,
    pub(super) site: Option<SiteId>,
    pub(super) text: String,
}

/// A line of the log, as its account sees it.
#[derive(Clone, Debug, Serialize)]
pub struct AuditLine {
    pub id: u64,
    pub time_us: i64,
    pub what: String,
    pub done: bool,
    pub site: Option<SiteId>,
    pub text: String,
    /// Empty where there is none.
    pub address: String,
    pub by: String,
}

impl Origin {
    pub const OPERATOR: Self = Self {
        address: None,
        way: Way::Operator,
    };

    pub(super) fn manager(address: IpAddr) -> Self {
        Self {
            address: Some(address),
            way: Way::Manager,
        }
    }

    pub(super) fn mail(address: IpAddr) -> Self {
        Self {
            address: Some(address),
            way: Way::Mail,
        }
    }
}

impl Act {
    pub(super) fn done(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            what,
            done: true,
            site: None,
            text: text.into(),
        }
    }

    pub(super) fn refused(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            done: false,
            ..Self::done(what, text)
        }
    }
}

impl Accounts {
    /// Entries of the account, the newest first, and where the next page begins if there is one. Those of sites that they may not see are left
    /// out, so a page may be shorter than it might.
    pub async fn audit(&self, who: &impl Signed, mut query: AuditQuery) -> Result<(Vec<AuditLine>, Option<u64>), AccountError> {
        let limit = query.limit;
        query.limit += 1;
        let mut entries = self.catalog.audit(who.account(), query).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|(id, _)| *id);
        let seen = entries.into_iter().filter(|(_, entry)| entry.site.is_none_or(|site| who.sees(site)));
        Ok((seen.map(|(id, entry)| line(id, entry)).collect(), next))
    }

    /// How many entries the account has.
    pub async fn audit_count(&self, who: &impl Signed) -> Result<usize, AccountError> {
        Ok(self.catalog.audit_count(who.account()).await?)
    }

    /// Forgets what was done long ago.
    pub async fn forget_audit(&self, now_us: i64) -> Result<usize, AccountError> {
        Ok(self.catalog.forget_audit(now_us - KEPT_US).await?)
    }

    /// Somebody handled an alert; its own history has more.
    pub async fn alert_handled(&self, scope: &SiteScope, alert: u64, what: &str, now_us: i64) {
        let act = Act {
            site: Some(scope.site()),
            ..Act::done("alert.handled", format!("alert {alert}: {what}"))
        };
        self.keep(scope.account(), scope.origin(), act, now_us).await;
    }

    /// Keeps an act. It is done by then: that it can't be kept is no failure of it.
    pub(super) async fn keep(&self, account: AccountId, origin: Origin, act: Act, now_us: i64) {
        let by = match origin.way {
            Way::Manager => Ok("manager".to_owned()),
            Way::Mail => Ok("a mailed link".to_owned()),
            Way::Operator => Ok("the operator".to_owned()),
            Way::Token(id) => self.token_name(account, id).await,
        };
        let kept = match by {
            Ok(by) => self.catalog.append_audit(account, entry(origin, act, by, now_us)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::error!(error = &error as &dyn std::error::Error, "could not keep what was done to an account");
        }
    }

    /// The same without waiting for it: where the time until the answer must not tell that there is an account.
    pub(super) fn keep_later(&self, account: AccountId, origin: Origin, act: Act, now_us: i64) {
        let accounts = self.clone();
        tokio::spawn(async move { accounts.keep(account, origin, act, now_us).await });
    }

    async fn token_name(&self, account: AccountId, id: Uuid) -> Result<String, StoreError> {
        let tokens = self.catalog.api_tokens_of(account).await?;
        let found = tokens.into_iter().find(|token| token.id == id);
        Ok(found.map_or_else(|| "a token".to_owned(), |token| format!("token {}", token.name)))
    }
}

fn entry(origin: Origin, act: Act, by: String, at_us: i64) -> AuditEntry {
    AuditEntry {
        at_us,
        what: act.what.to_owned(),
        done: act.done,
        site: act.site,
        text: act.text,
        address: origin.address.map_or_else(String::new, |address| address.to_string()),
        by,
    }
}

fn line(id: u64, entry: AuditEntry) -> AuditLine {
    AuditLine {
        id,
        time_us: entry.at_us,
        what: entry.what,
        done: entry.done,
        site: entry.site,
        text: entry.text,
        address: entry.address,
        by: entry.by,
    }
}
