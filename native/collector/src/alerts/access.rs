// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Alerts as people see and handle them: through the key to one site.

use insights_store::{
    StoreError,
    catalog::{AlertAct, AlertDeed, AlertQuery, Catalog, StoredAlert, StoredRule},
};

use super::{
    machine::MOST_OPEN,
    rules::{BUILT_IN, BuiltIn, built_in},
};
use crate::accounts::SiteScope;

/// Rules of a site, those that all sites have included: each costs a question every few seconds.
pub const MOST_RULES: usize = 100;

/// Longest silence: what is silent longer is better switched off.
const LONGEST_SILENCE_US: i64 = 30 * 86_400_000_000;

/// Why something about alerts could not be done. Messages are for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error("there is no such open alert")]
    NoAlert,
    #[error("there is no such rule")]
    NoRule,
    #[error("a silence ends within 30 days")]
    Silence,
    #[error("read or write alerts")]
    Store(#[from] StoreError),
}

/// A rule as the manager lists it.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    pub rule: &'static BuiltIn,
    pub enabled: bool,
}

/// Alerts and rules of all sites, each opened by its key. Cheap to clone.
#[derive(Clone)]
pub struct Alerts {
    catalog: Catalog,
}

impl Alerts {
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog }
    }

    /// Open ones, the gravest first.
    pub async fn open(&self, scope: &SiteScope, now_us: i64) -> Result<Vec<StoredAlert>, StoreError> {
        let query = AlertQuery {
            open: Some(true),
            rule: None,
            before: None,
            limit: MOST_OPEN * 2,
        };
        let mut open = self.catalog.alerts(scope.site(), query, now_us).await?;
        open.sort_by_key(|alert| (is_quiet(alert), std::cmp::Reverse((alert.says.level, alert.opened_us, alert.id))));
        Ok(open)
    }

    /// Newest first.
    pub async fn list(&self, scope: &SiteScope, query: AlertQuery, now_us: i64) -> Result<Vec<StoredAlert>, StoreError> {
        self.catalog.alerts(scope.site(), query, now_us).await
    }

    /// An alert with its history.
    pub async fn one(&self, scope: &SiteScope, id: u64, now_us: i64) -> Result<Option<(StoredAlert, Vec<AlertAct>)>, StoreError> {
        let Some(alert) = self.catalog.alert(scope.site(), id, now_us).await? else {
            return Ok(None);
        };
        Ok(Some((alert, self.catalog.alert_acts(scope.site(), id).await?)))
    }

    /// Open alerts that nobody has acknowledged or silenced, and all open ones.
    pub async fn counts(&self, scope: &SiteScope, now_us: i64) -> Result<(usize, usize), StoreError> {
        self.catalog.open_alerts(scope.site(), now_us).await
    }

    /// Does something to an open alert in the name of the scope's account.
    pub async fn act(&self, scope: &SiteScope, id: u64, deed: AlertDeed, now_us: i64) -> Result<(), AlertError> {
        if let AlertDeed::Silence { until_us } = deed
            && !(now_us..=now_us + LONGEST_SILENCE_US).contains(&until_us)
        {
            return Err(AlertError::Silence);
        }
        let by = self
            .catalog
            .account(scope.account())
            .await?
            .map_or_else(String::new, |account| account.email);
        if self.catalog.act_on_alert(scope.site(), id, deed, by, now_us).await? {
            Ok(())
        } else {
            Err(AlertError::NoAlert)
        }
    }

    pub async fn rules(&self, scope: &SiteScope) -> Result<Vec<RuleInfo>, StoreError> {
        let kept = self.catalog.alert_rules(scope.site()).await?;
        let enabled = |id: &str| kept.iter().find(|rule| rule.id == id).is_none_or(|rule| rule.enabled);
        Ok(BUILT_IN
            .iter()
            .map(|rule| RuleInfo {
                rule,
                enabled: enabled(rule.id),
            })
            .collect())
    }

    /// Switches a rule on or off. The open alerts of one that is off end at the next look.
    pub async fn switch_rule(&self, scope: &SiteScope, id: &str, enabled: bool, now_us: i64) -> Result<(), AlertError> {
        let rule = StoredRule {
            id: built_in(id).ok_or(AlertError::NoRule)?.id.to_owned(),
            enabled,
            definition: String::new(),
            changed_us: now_us,
        };
        Ok(self.catalog.set_alert_rule(scope.site(), rule, MOST_RULES).await?)
    }
}

/// Somebody looks after it already.
pub(super) fn is_quiet(alert: &StoredAlert) -> bool {
    alert.acknowledged.is_some() || alert.silenced.is_some()
}
