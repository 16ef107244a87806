// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Alerts as people see and handle them: through the key to one site.

use insights_store::{
    StoreError,
    catalog::{AlertAct, AlertDeed, AlertQuery, AlertTarget, Catalog, Level, StoredAlert, StoredRule},
};
use uuid::Uuid;

use super::{
    machine::MOST_OPEN,
    notices::{Format, MOST_TARGETS, PostError, Webhook},
    own::{self, Definition, DefinitionError, MOST_OWN},
    rules::{BUILT_IN, BuiltIn, built_in},
};
use crate::accounts::SiteScope;

/// Rules of a site, those that all sites have included: [`MOST_OWN`] that people made, and the built-in ones.
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
    #[error("there is no such receiver")]
    NoReceiver,
    #[error("a receiver has a name of 1 to 100 characters")]
    Name,
    #[error(transparent)]
    Url(#[from] PostError),
    #[error("PagerDuty needs the routing key of the service there, up to 200 letters and digits")]
    Key,
    #[error("there is room for {MOST_TARGETS} receivers; delete one first")]
    NoRoom,
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("there is room for {MOST_OWN} rules of your own; delete one first")]
    NoRuleRoom,
    #[error("read or write alerts")]
    Store(#[from] StoreError),
}

/// A receiver as somebody asked for it.
#[derive(Clone, Debug)]
pub enum NewReceiver {
    /// The account's own address.
    Mail,
    Webhook {
        url: String,
        format: Format,
        key: String,
    },
}

/// A rule as the manager lists it.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    pub rule: &'static BuiltIn,
    pub enabled: bool,
}

/// A rule that people of the site made.
#[derive(Clone, Debug)]
pub struct OwnRule {
    pub id: String,
    pub enabled: bool,
    pub changed_us: i64,
    pub definition: Definition,
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

    /// Who alerts are told to, in the order of their making.
    pub async fn receivers(&self, scope: &SiteScope) -> Result<Vec<AlertTarget>, StoreError> {
        self.catalog.alert_targets(scope.site()).await
    }

    /// Notices that wait to be taken.
    pub async fn waiting(&self, scope: &SiteScope) -> Result<usize, StoreError> {
        self.catalog.notices_waiting(scope.site()).await
    }

    /// Tells somebody of alerts of a level and graver ones from now on. A webhook gets a secret of its own, which signs what it is sent.
    pub async fn add_receiver(&self, scope: &SiteScope, name: &str, new: NewReceiver, level: Level, now_us: i64) -> Result<(), AlertError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(AlertError::Name);
        }
        let (kind, definition) = match new {
            NewReceiver::Mail => ("mail", "{}".to_owned()),
            NewReceiver::Webhook { url, format, key } => {
                let (url, key) = (url.trim().to_owned(), key.trim().to_owned());
                let needs_key = format == Format::PagerDuty;
                if needs_key && (key.is_empty() || key.len() > 200 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
                    return Err(AlertError::Key);
                }
                let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
                let key = if needs_key { key } else { String::new() };
                let webhook = Webhook { url, format, secret, key };
                webhook.check()?;
                // Plain data: it can always be written.
                ("webhook", serde_json::to_string(&webhook).unwrap_or_default())
            }
        };
        let target = AlertTarget {
            id: Uuid::new_v4(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            definition,
            level,
            created_us: now_us,
            failed: None,
            delivered_us: None,
        };
        match self.catalog.add_alert_target(scope.site(), target, MOST_TARGETS).await {
            Err(StoreError::Taken(_)) => Err(AlertError::NoRoom),
            other => Ok(other?),
        }
    }

    /// The name that it had.
    pub async fn delete_receiver(&self, scope: &SiteScope, id: Uuid) -> Result<String, AlertError> {
        self.catalog.delete_alert_target(scope.site(), id).await?.ok_or(AlertError::NoReceiver)
    }

    /// Puts a test in line for it.
    pub async fn test_receiver(&self, scope: &SiteScope, id: Uuid, now_us: i64) -> Result<(), AlertError> {
        let payload = serde_json::json!({
            "text": "this is how alerts of this site arrive; nothing is wrong",
            "level": Level::Info,
            "since_us": now_us,
        });
        if self.catalog.test_alert_target(scope.site(), id, payload.to_string(), now_us).await? {
            Ok(())
        } else {
            Err(AlertError::NoReceiver)
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

    /// Rules that people made, by name.
    pub async fn own_rules(&self, scope: &SiteScope) -> Result<Vec<OwnRule>, StoreError> {
        let kept = self.catalog.alert_rules(scope.site()).await?;
        let mut rules: Vec<OwnRule> = kept.into_iter().filter_map(own_rule).collect();
        rules.sort_by(|a, b| (&a.definition.name, &a.id).cmp(&(&b.definition.name, &b.id)));
        Ok(rules)
    }

    pub async fn own_rule(&self, scope: &SiteScope, id: &str) -> Result<Option<OwnRule>, StoreError> {
        let kept = self.catalog.alert_rules(scope.site()).await?;
        Ok(kept.into_iter().find(|rule| rule.id == id).and_then(own_rule))
    }

    /// Makes a rule, or makes the one of this id another; gives its id. Whether what it names is there is for the caller to ask: it may come and go.
    pub async fn save_rule(&self, scope: &SiteScope, id: Option<&str>, definition: &Definition, now_us: i64) -> Result<String, AlertError> {
        definition.check()?;
        let (id, enabled) = match id {
            Some(id) => {
                let kept = self.own_rule(scope, id).await?.ok_or(AlertError::NoRule)?;
                (kept.id, kept.enabled)
            }
            None => (format!("{}{}", own::PREFIX, Uuid::new_v4().simple()), true),
        };
        let definition = Definition {
            name: definition.name.trim().to_owned(),
            filter: definition.filter.trim().to_owned(),
            ..definition.clone()
        };
        let rule = StoredRule {
            id: id.clone(),
            enabled,
            // Plain data with finite figures: it can always be written.
            definition: serde_json::to_string(&definition).unwrap_or_default(),
            changed_us: now_us,
        };
        match self.catalog.set_alert_rule(scope.site(), rule, MOST_OWN).await {
            Err(StoreError::Taken(_)) => Err(AlertError::NoRuleRoom),
            other => Ok(other.map(|()| id)?),
        }
    }

    /// The name that it had. Its open alerts end at the next look.
    pub async fn delete_rule(&self, scope: &SiteScope, id: &str) -> Result<String, AlertError> {
        let kept = self.own_rule(scope, id).await?.ok_or(AlertError::NoRule)?;
        let gone = self.catalog.delete_alert_rule(scope.site(), kept.id).await?;
        gone.map(|_| kept.definition.name).ok_or(AlertError::NoRule)
    }

    /// Switches a rule on or off and gives its name. The open alerts of one that is off end at the next look.
    pub async fn switch_rule(&self, scope: &SiteScope, id: &str, enabled: bool, now_us: i64) -> Result<String, AlertError> {
        let (name, definition, most) = match (built_in(id), self.own_rule(scope, id).await?) {
            (Some(rule), _) => (rule.name.to_owned(), String::new(), MOST_RULES - MOST_OWN),
            (None, Some(own)) => {
                let definition = serde_json::to_string(&own.definition).unwrap_or_default();
                (own.definition.name, definition, MOST_OWN)
            }
            (None, None) => return Err(AlertError::NoRule),
        };
        let rule = StoredRule {
            id: id.to_owned(),
            enabled,
            definition,
            changed_us: now_us,
        };
        self.catalog.set_alert_rule(scope.site(), rule, most).await?;
        Ok(name)
    }
}

fn own_rule(stored: StoredRule) -> Option<OwnRule> {
    let definition = serde_json::from_str(&stored.definition).ok()?;
    own::is_own(&stored.id).then_some(OwnRule {
        id: stored.id,
        enabled: stored.enabled,
        changed_us: stored.changed_us,
        definition,
    })
}

/// Somebody looks after it already.
pub(super) fn is_quiet(alert: &StoredAlert) -> bool {
    alert.acknowledged.is_some() || alert.silenced.is_some()
}
