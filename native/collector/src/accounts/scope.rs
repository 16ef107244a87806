// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use insights_store::{AccountId, SiteId};

use super::Origin;

/// Who has signed in, by whatever means.
pub trait Signed {
    fn account(&self) -> AccountId;

    /// Where they ask from.
    fn origin(&self) -> Origin;

    /// Whether a site of the account is theirs to see.
    fn sees(&self, _site: SiteId) -> bool {
        true
    }

    /// Of a session, the hash of its token.
    fn session_hash(&self) -> Option<&[u8; 32]> {
        None
    }
}

/// The right to see one site's data. It is made in this module alone, from a session or a token whose account owns the site, and every query and
/// every look at a model needs one: there is no other way to name a site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SiteScope {
    account: AccountId,
    site: SiteId,
    origin: Origin,
}

impl SiteScope {
    pub(in crate::accounts) fn new(account: AccountId, site: SiteId, origin: Origin) -> Self {
        Self { account, site, origin }
    }

    pub fn site(&self) -> SiteId {
        self.site
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Where its owner asks from.
    pub fn origin(&self) -> Origin {
        self.origin
    }
}
