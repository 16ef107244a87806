// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What every call of the API begins with: who asks and by what right, which site, which period.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{header, request::Parts},
};
use insights_store::{Period, SiteId};

use super::Problem;
use crate::{
    accounts::{Accounts, Bearer, Origin, Scope, Session, Signed, SiteScope, TenantNames},
    query::{flows::SiteNames, params::Params, scoped::ScopedStore},
    site::Site,
    web::{self, App},
};

/// What a call needs: a type for each, so that no handler gets at a site without having said it.
pub(crate) trait Needs: Send + Sync + 'static {
    /// `None`: whoever is signed in may.
    const SCOPE: Option<Scope>;
    /// Changes are made with tokens alone: a page of another origin has cookies to send, but no token.
    const CHANGES: bool = false;
}

macro_rules! needs {
    ($($name:ident $scope:expr, $changes:literal;)*) => {
        $(
            pub(crate) struct $name;

            impl Needs for $name {
                const SCOPE: Option<Scope> = $scope;
                const CHANGES: bool = $changes;
            }
        )*
    };
}

needs! {
    Anything None, false;
    Topology Some(Scope::Topology), false;
    Traffic Some(Scope::Traffic), false;
    Flows Some(Scope::Flows), false;
    Reports Some(Scope::Reports), false;
    Events Some(Scope::Events), false;
    SiteRead Some(Scope::Site), false;
    SiteAdmin Some(Scope::SiteAdmin), true;
    AlertsRead Some(Scope::Alerts), false;
    AlertsAdmin Some(Scope::AlertsAdmin), true;
    AccountRead Some(Scope::Account), false;
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Session(Session),
    Token(Bearer),
}

impl Signed for Who {
    fn account(&self) -> insights_store::AccountId {
        match self {
            Who::Session(session) => session.account(),
            Who::Token(bearer) => bearer.account(),
        }
    }

    fn origin(&self) -> Origin {
        match self {
            Who::Session(session) => session.origin(),
            Who::Token(bearer) => bearer.origin(),
        }
    }

    fn sees(&self, site: SiteId) -> bool {
        match self {
            Who::Session(session) => session.sees(site),
            Who::Token(bearer) => bearer.sees(site),
        }
    }

    fn session_hash(&self) -> Option<&[u8; 32]> {
        match self {
            Who::Session(session) => session.session_hash(),
            Who::Token(_) => None,
        }
    }
}

/// A caller who may do what `N` says.
pub(crate) struct Caller<N> {
    pub(crate) app: App,
    pub(crate) who: Who,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<App> for Caller<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let who = match bearer_token(parts)? {
            Some(token) => {
                let found = app.accounts.bearer(&token, &web::visitor(parts), app.now_us()).await?;
                Who::Token(found.ok_or_else(|| Problem::unauthorized("the token is not known, is over or was revoked"))?)
            }
            None => {
                let found = web::session_of(parts, app).await?;
                Who::Session(found.ok_or_else(|| Problem::unauthorized("the call needs a token: Authorization: Bearer …"))?)
            }
        };
        match (&who, N::SCOPE) {
            (Who::Token(bearer), Some(scope)) if !bearer.token.scopes.contains(&scope) => return Err(Problem::lacks(scope, &bearer.token.scopes)),
            (Who::Session(_), _) if N::CHANGES => return Err(Problem::token_only()),
            _ => {}
        }
        Ok(Self {
            app: app.clone(),
            who,
            needs: PhantomData,
        })
    }
}

impl<N> Caller<N> {
    /// What a call needs beside its own scope.
    pub(crate) fn also(&self, scope: Scope) -> Result<(), Problem> {
        match &self.who {
            Who::Token(bearer) if !bearer.token.scopes.contains(&scope) => Err(Problem::lacks(scope, &bearer.token.scopes)),
            _ => Ok(()),
        }
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.app.accounts
    }
}

/// The same, at a site that is theirs to see, for a period.
pub(crate) struct Call<N> {
    pub(crate) caller: Caller<N>,
    pub(crate) scope: SiteScope,
    store: ScopedStore,
    pub(crate) site: Arc<Site>,
    tenants: TenantNames,
    pub(crate) now_us: i64,
    pub(crate) period: Period,
    pub(crate) params: Params,
}

impl<N: Needs> FromRequestParts<App> for Call<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::<N>::from_request_parts(parts, app).await?;
        let path = RawPathParams::from_request_parts(parts, app).await.map_err(|_| Problem::no_site())?;
        let id: SiteId = path
            .iter()
            .find(|(name, _)| *name == "site")
            .and_then(|(_, value)| value.parse().ok())
            .ok_or_else(Problem::no_site)?;
        let scope = app.accounts.scope(&caller.who, id).await?;
        let now_us = app.now_us();
        let params = Params::parse(parts.uri.query().unwrap_or_default());
        let spec = params.period(now_us).map_err(|error| {
            let length = params.get("period").unwrap_or_default().chars().count();
            Problem::bad("period", error.to_string(), 0..length)
        })?;
        let store = app.stores.of(&scope);
        Ok(Self {
            site: app.sites.live(&scope).await?,
            tenants: app.accounts.tenant_names(&scope).await?,
            period: spec.at(now_us),
            caller,
            scope,
            store,
            now_us,
            params,
        })
    }
}

impl<N> Call<N> {
    pub(crate) fn store(&self) -> &ScopedStore {
        &self.store
    }

    /// Names that the filter language knows.
    pub(crate) fn names(&self) -> SiteNames<'_> {
        SiteNames(&self.site, &self.tenants)
    }

    pub(crate) fn tenants(&self) -> &TenantNames {
        &self.tenants
    }
}

/// The token of the header; a header of another form is a mistake to be told, not a reason to look for a cookie.
fn bearer_token(parts: &Parts) -> Result<Option<String>, Problem> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned());
    match (token, values.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(Problem::unauthorized("the header Authorization has to be: Bearer …")),
    }
}
