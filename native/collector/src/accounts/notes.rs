// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What people write down about a site: names of tenants, which the NSDB does not hold, and filters to come back to.

use std::collections::BTreeMap;

use insights_store::{SiteId, StoreError, catalog::Catalog};

use super::{AccountError, Accounts, SiteScope, check_name, events::Told};

/// Tenants with a name; a large cloud has some thousands.
const MOST_TENANTS: usize = 20_000;

/// Saved filters of a site: a menu holds no more.
pub const MOST_FILTERS: usize = 50;

/// Longest id of a tenant: Keystone's have 32 or 36 characters, older ones up to 64.
const LONGEST_TENANT: usize = 64;

const TENANT: &str = "tenant";
const FILTER: &str = "filter";

/// Names of a site's tenants, as people gave them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TenantNames(BTreeMap<String, String>);

impl TenantNames {
    /// Those of a site, for parts of the service that look at sites by themselves.
    pub(crate) async fn of_site(catalog: &Catalog, site: SiteId) -> Result<Self, StoreError> {
        Ok(Self(catalog.notes(site, TENANT).await?.into_iter().collect()))
    }

    /// The name that people gave it.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    /// Tenants of a name; without regard to case, as people type.
    pub fn with_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(id, _)| id.as_str())
    }
}

impl Accounts {
    pub async fn tenant_names(&self, scope: &SiteScope) -> Result<TenantNames, AccountError> {
        Ok(TenantNames::of_site(&self.catalog, scope.site()).await?)
    }

    /// Gives a tenant a name; an empty one takes it away.
    pub async fn name_tenant(&self, scope: &SiteScope, id: &str, name: &str, now_us: i64) -> Result<(), AccountError> {
        let (id, name) = (id.trim(), name.trim());
        if id.is_empty() || id.len() > LONGEST_TENANT || id.chars().any(char::is_control) {
            return Err(AccountError::NoTenant);
        }
        let text = if name.is_empty() {
            self.catalog.delete_note(scope.site(), TENANT, id.to_owned()).await?;
            format!("the name of tenant {id} was taken away")
        } else {
            check_name(name)?;
            self.catalog
                .set_note(scope.site(), TENANT, id.to_owned(), name.to_owned(), MOST_TENANTS)
                .await
                .map_err(room)?;
            format!("tenant {id} was named {name}")
        };
        self.tell(scope, Told::new("account.tenant_named", "site.tenant", text), now_us).await;
        Ok(())
    }

    /// Names and texts of the saved filters, by name.
    pub async fn saved_filters(&self, scope: &SiteScope) -> Result<Vec<(String, String)>, AccountError> {
        Ok(self.catalog.notes(scope.site(), FILTER).await?)
    }

    /// Saves a filter under a name, over the one that has it.
    pub async fn save_filter(&self, scope: &SiteScope, name: &str, text: &str) -> Result<(), AccountError> {
        check_name(name)?;
        let (name, text) = (name.trim().to_owned(), text.to_owned());
        self.catalog.set_note(scope.site(), FILTER, name, text, MOST_FILTERS).await.map_err(room)
    }

    pub async fn delete_filter(&self, scope: &SiteScope, name: &str) -> Result<bool, AccountError> {
        Ok(self.catalog.delete_note(scope.site(), FILTER, name.trim().to_owned()).await?)
    }
}

fn room(error: StoreError) -> AccountError {
    match error {
        StoreError::Taken(_) => AccountError::NoRoom,
        other => AccountError::Store(other),
    }
}
