// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Tokens of the API: what programs sign in with. Each has its scopes, perhaps a choice of sites, perhaps an end.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use insights_store::{AccountId, SiteId, StoreError, catalog::ApiToken};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::{AccountError, Accounts, Origin, Proof, Session, Signed, Visitor, Way, check_name, session::hash_token};

/// Tokens of an account: a page shows them all.
pub const MOST_TOKENS: usize = 50;

/// What every token begins with, so that people and scanners of repositories know one when they see it.
pub const TOKEN_PREFIX: &str = "mits_";

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// How fine the last use of a token is kept, µs: each note of it is a durable write.
const USED_EVERY_US: i64 = 60_000_000;

/// What a token may do. A call of the API needs one of them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    Topology,
    Traffic,
    Flows,
    Reports,
    Events,
    Alerts,
    AlertsAdmin,
    Site,
    SiteAdmin,
    Account,
}

impl Scope {
    pub const ALL: [Scope; 10] = [
        Scope::Topology,
        Scope::Traffic,
        Scope::Flows,
        Scope::Reports,
        Scope::Events,
        Scope::Alerts,
        Scope::AlertsAdmin,
        Scope::Site,
        Scope::SiteAdmin,
        Scope::Account,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Scope::Topology => "topology",
            Scope::Traffic => "traffic",
            Scope::Flows => "flows",
            Scope::Reports => "reports",
            Scope::Events => "events",
            Scope::Alerts => "alerts",
            Scope::AlertsAdmin => "alerts-admin",
            Scope::Site => "site",
            Scope::SiteAdmin => "site-admin",
            Scope::Account => "account",
        }
    }

    /// What it opens, for people.
    pub fn about(self) -> &'static str {
        match self {
            Scope::Topology => "devices, their state and tables",
            Scope::Traffic => "traffic of devices, from meters",
            Scope::Flows => "flow records with their ways",
            Scope::Reports => "volumes by tenant and network",
            Scope::Events => "events of the site",
            Scope::Alerts => "alerts, their history and rules",
            Scope::AlertsAdmin => "make, change and delete rules of alerts",
            Scope::Site => "gateways, balance of records, switches, fingerprints",
            Scope::SiteAdmin => "change switches and fingerprints",
            Scope::Account => "sessions and tokens of the account",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub name: String,
    pub scopes: BTreeSet<Scope>,
    /// `None` for all sites of the account, later ones too.
    pub sites: Option<Vec<SiteId>>,
    pub expires_us: Option<i64>,
}

/// A token as its owner sees it: all but the token.
#[derive(Clone, Debug, Serialize)]
pub struct TokenInfo {
    pub id: Uuid,
    pub name: String,
    pub scopes: BTreeSet<Scope>,
    pub sites: Option<Vec<SiteId>>,
    pub created_us: i64,
    pub expires_us: Option<i64>,
    /// To the minute.
    pub used_us: Option<i64>,
    /// Where it was last used from; empty when it never was.
    pub address: String,
}

/// A program that showed a token which is good.
#[derive(Clone, Debug)]
pub struct Bearer {
    account: AccountId,
    address: IpAddr,
    pub token: TokenInfo,
}

impl Signed for Bearer {
    fn account(&self) -> AccountId {
        self.account
    }

    fn origin(&self) -> Origin {
        Origin {
            address: Some(self.address),
            way: Way::Token(self.token.id),
        }
    }

    fn sees(&self, site: SiteId) -> bool {
        self.token.sites.as_ref().is_none_or(|sites| sites.contains(&site))
    }
}

impl Accounts {
    /// Makes a token and gives it out, this once. Needs the password: a token outlives the session that makes it.
    pub async fn create_token(
        &self,
        session: &Session,
        visitor: impl Into<Visitor>,
        proof: Proof,
        wanted: NewToken,
        now_us: i64,
    ) -> Result<String, AccountError> {
        check_name(&wanted.name)?;
        if wanted.scopes.is_empty() {
            return Err(AccountError::NoScope);
        }
        if wanted.expires_us.is_some_and(|end| end <= now_us) {
            return Err(AccountError::Past);
        }
        if let Some(sites) = &wanted.sites {
            let own = self.sites(session).await?;
            if sites.is_empty() || sites.iter().any(|id| !own.iter().any(|site| site.id == *id)) {
                return Err(AccountError::NoSite);
            }
        }
        self.confirm(session, &visitor.into(), proof, now_us).await?;
        let text = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>()));
        let scopes: Vec<_> = wanted.scopes.iter().map(|scope| scope.name()).collect();
        let said = format!("the token {} was made, for {}", wanted.name.trim(), scopes.join(", "));
        let token = ApiToken {
            id: Uuid::new_v4(),
            account: session.account(),
            token_hash: hash_token(&text),
            name: wanted.name.trim().to_owned(),
            scopes: scopes.join(" "),
            sites: wanted.sites,
            created_us: now_us,
            expires_us: wanted.expires_us,
            used_us: None,
            client: String::new(),
        };
        match self.catalog.create_api_token(token, MOST_TOKENS).await {
            Err(StoreError::Taken(_)) => return Err(AccountError::NoRoom),
            other => other?,
        }
        self.done(session, "token.made", said, now_us).await;
        Ok(text)
    }

    /// All tokens of the account, the newest first; those that are over are shown until they are deleted.
    pub async fn tokens(&self, who: &impl Signed) -> Result<Vec<TokenInfo>, AccountError> {
        Ok(self.catalog.api_tokens_of(who.account()).await?.into_iter().map(info).collect())
    }

    /// False when the account has none of this id.
    pub async fn revoke_token(&self, session: &Session, id: Uuid, now_us: i64) -> Result<bool, AccountError> {
        let Some(token) = self.catalog.delete_api_token(session.account(), id).await? else {
            return Ok(false);
        };
        let text = format!("the token {} was revoked", token.name);
        self.done(session, "token.revoked", text, now_us).await;
        Ok(true)
    }

    /// Who shows this token; `None` when it is none, is over or revoked.
    pub async fn bearer(&self, text: &str, visitor: &Visitor, now_us: i64) -> Result<Option<Bearer>, AccountError> {
        if !looks_like_token(text) {
            return Ok(None);
        }
        let Some(found) = self.catalog.api_token(hash_token(text), now_us).await? else {
            return Ok(None);
        };
        if found.used_us.is_none_or(|used_us| now_us - used_us >= USED_EVERY_US) {
            let noted = self.catalog.api_token_used(found.id, now_us, visitor.address.to_string()).await;
            if let Err(error) = noted {
                tracing::warn!(error = &error as &dyn std::error::Error, "note the use of a token");
            }
        }
        Ok(Some(Bearer {
            account: found.account,
            address: visitor.address,
            token: info(found),
        }))
    }
}

fn looks_like_token(text: &str) -> bool {
    let rest = text.strip_prefix(TOKEN_PREFIX).unwrap_or_default();
    rest.len() == (TOKEN_BYTES * 4).div_ceil(3) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn info(token: ApiToken) -> TokenInfo {
    TokenInfo {
        id: token.id,
        name: token.name,
        // A scope of a later version opens nothing in this one.
        scopes: token.scopes.split(' ').filter_map(|name| name.parse().ok()).collect(),
        sites: token.sites,
        created_us: token.created_us,
        expires_us: token.expires_us,
        used_us: token.used_us,
        address: token.client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_known_by_their_names() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        assert_eq!("Flows".parse::<Scope>(), Err(()));
    }

    #[test]
    fn only_what_looks_like_a_token_is_looked_up() {
        let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode([255; TOKEN_BYTES]));
        assert!(looks_like_token(&token));
        for other in [
            "",
            "mits_",
            &token[1..],
            &token[..token.len() - 1],
            &format!("{token}A"),
            &token.replace('_', "+"),
        ] {
            assert!(!looks_like_token(other), "{other}");
        }
    }
}
