// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use insights_store::{
    AccountId, SiteId,
    catalog::{Fingerprint, Site, SiteKey},
};
use serde::Serialize;

use super::{AccountError, Accounts, Origin, Session, Signed, SiteScope, check_name, events::Told, format_fingerprint, parse_fingerprint};

/// The trial plan: one site.
pub const TRIAL_SITES: usize = 1;

/// The trial plan: 20 GB of time series.
pub const TRIAL_QUOTA_BYTES: u64 = 20_000_000_000;

/// Fingerprints of a site: some gateways, each with an old and a new key during a renewal.
pub const TRIAL_FINGERPRINTS: usize = 10;

/// A site of an account.
#[derive(Clone, Debug, Serialize)]
pub struct SiteInfo {
    pub id: SiteId,
    pub name: String,
    pub created_us: i64,
    /// 0 for no bound.
    pub quota_bytes: u64,
    #[serde(skip)]
    scope: SiteScope,
}

impl SiteInfo {
    /// The key to the site's data.
    pub fn scope(&self) -> &SiteScope {
        &self.scope
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct SiteKeyInfo {
    /// Colon-separated hexadecimal.
    pub fingerprint: String,
    pub label: String,
    pub added_us: i64,
}

impl Accounts {
    /// The account's sites that they may see, by name.
    pub async fn sites(&self, who: &impl Signed) -> Result<Vec<SiteInfo>, AccountError> {
        let sites = self.catalog.sites_of(who.account()).await?;
        Ok(sites
            .into_iter()
            .filter(|site| who.sees(site.id))
            .map(|site| info(site, who.origin()))
            .collect())
    }

    /// The key to a site's data, if their account owns the site. Sites of others don't exist, as far as they are told.
    pub async fn scope(&self, who: &impl Signed, site: SiteId) -> Result<SiteScope, AccountError> {
        let own = self
            .catalog
            .site(site)
            .await?
            .is_some_and(|found| found.account == who.account() && found.deleted_us.is_none() && who.sees(site));
        if own {
            Ok(SiteScope::new(who.account(), site, who.origin()))
        } else {
            Err(AccountError::NoSite)
        }
    }

    /// A site's own facts.
    pub async fn site(&self, scope: &SiteScope) -> Result<SiteInfo, AccountError> {
        self.catalog
            .site(scope.site())
            .await?
            .map(|site| info(site, scope.origin()))
            .ok_or(AccountError::NoSite)
    }

    /// Adds a site within the plan.
    pub async fn add_site(&self, session: &Session, name: &str, now_us: i64) -> Result<SiteId, AccountError> {
        if self.catalog.sites_of(session.account()).await?.len() >= TRIAL_SITES {
            return Err(AccountError::TooManySites(TRIAL_SITES));
        }
        let id = self.create_site(session.account(), name, TRIAL_QUOTA_BYTES, now_us).await?;
        self.done(session, "site.added", format!("the site {} was added", name.trim()), now_us)
            .await;
        Ok(id)
    }

    /// Adds a site of any account; for the operator's command line.
    pub async fn create_site(&self, account: AccountId, name: &str, quota_bytes: u64, now_us: i64) -> Result<SiteId, AccountError> {
        check_name(name)?;
        let id = SiteId::random();
        let site = Site {
            id,
            account,
            name: name.trim().to_owned(),
            created_us: now_us,
            deleted_us: None,
            quota_bytes,
            settings: "{}".to_owned(),
        };
        self.catalog.create_site(site).await?;
        self.changed();
        Ok(id)
    }

    pub async fn rename_site(&self, scope: &SiteScope, name: &str) -> Result<(), AccountError> {
        check_name(name)?;
        self.catalog.rename_site(scope.site(), name.trim().to_owned()).await?;
        self.changed();
        Ok(())
    }

    /// Marks a site as deleted: its keys stop working at once, its data is removed later.
    pub async fn delete_site(&self, scope: &SiteScope, now_us: i64) -> Result<(), AccountError> {
        self.catalog.delete_site(scope.site(), now_us).await?;
        self.changed();
        Ok(())
    }

    pub async fn fingerprints(&self, scope: &SiteScope) -> Result<Vec<SiteKeyInfo>, AccountError> {
        let keys = self.catalog.fingerprints(scope.site()).await?;
        Ok(keys
            .into_iter()
            .map(|key| SiteKeyInfo {
                fingerprint: format_fingerprint(&key.fingerprint),
                label: key.label,
                added_us: key.added_us,
            })
            .collect())
    }

    /// Lets a gateway in by its key, from now on.
    pub async fn add_fingerprint(&self, scope: &SiteScope, fingerprint: &str, label: &str, now_us: i64) -> Result<(), AccountError> {
        let fingerprint = parse_fingerprint(fingerprint)?;
        if self.catalog.fingerprints(scope.site()).await?.len() >= TRIAL_FINGERPRINTS {
            return Err(AccountError::TooManyFingerprints(TRIAL_FINGERPRINTS));
        }
        self.register_fingerprint(scope.site(), fingerprint, label, now_us).await?;
        let text = format!("fingerprint {} was added", format_fingerprint(&fingerprint));
        self.tell(scope, Told::new("account.fingerprint_added", "site.fingerprint", text), now_us)
            .await;
        Ok(())
    }

    /// The same for the operator's command line, without the plan's bound.
    pub async fn register_fingerprint(&self, site: SiteId, fingerprint: Fingerprint, label: &str, now_us: i64) -> Result<(), AccountError> {
        let label: String = label.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        self.catalog
            .add_fingerprint(SiteKey {
                fingerprint,
                site,
                label,
                added_us: now_us,
            })
            .await?;
        self.changed();
        Ok(())
    }

    /// Shuts a key out, and closes its open connection. False when the site has no such key.
    pub async fn delete_fingerprint(&self, scope: &SiteScope, fingerprint: &str, now_us: i64) -> Result<bool, AccountError> {
        let fingerprint = parse_fingerprint(fingerprint)?;
        let deleted = self.remove_fingerprint(scope.site(), fingerprint).await?;
        if deleted {
            let text = format!("fingerprint {} was deleted", format_fingerprint(&fingerprint));
            self.tell(scope, Told::new("account.fingerprint_deleted", "site.fingerprint", text), now_us)
                .await;
        }
        Ok(deleted)
    }

    /// The same for the operator's command line.
    pub async fn remove_fingerprint(&self, site: SiteId, fingerprint: Fingerprint) -> Result<bool, AccountError> {
        let deleted = self.catalog.delete_fingerprint(site, fingerprint).await?;
        self.changed();
        Ok(deleted)
    }
}

fn info(site: Site, origin: Origin) -> SiteInfo {
    SiteInfo {
        id: site.id,
        name: site.name,
        created_us: site.created_us,
        quota_bytes: site.quota_bytes,
        scope: SiteScope::new(site.account, site.id, origin),
    }
}
