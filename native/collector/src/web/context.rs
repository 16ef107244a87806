// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What every page of a site begins with: who asks, which site, which period.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, Uri, request::Parts},
};
use insights_store::{Period, SiteId, catalog};

use super::{
    app::App,
    error::WebError,
    session::{self, SignedIn},
    units,
};
use crate::{
    accounts::{AccountError, Session, SiteInfo, SiteScope, TenantNames},
    query::{
        flows::SiteNames,
        params::{self, Params},
        period::{self, PeriodSpec},
        scoped::ScopedStore,
    },
    site::Site,
};

/// Signed in, at a site of the account.
pub(crate) struct Ctx {
    pub(crate) app: App,
    pub(crate) session: Session,
    pub(crate) scope: SiteScope,
    store: ScopedStore,
    pub(crate) site: Arc<Site>,
    pub(crate) sites: Vec<SiteInfo>,
    pub(crate) site_name: String,
    pub(crate) gateways: Vec<catalog::Gateway>,
    pub(crate) tenants: Tenants,
    pub(crate) now_us: i64,
    pub(crate) spec: PeriodSpec,
    pub(crate) period: Period,
    pub(crate) params: Params,
    pub(crate) uri: Uri,
}

impl FromRequestParts<App> for Ctx {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WebError> {
        let SignedIn(session) = SignedIn::from_request_parts(parts, app).await?;
        let path = RawPathParams::from_request_parts(parts, app).await.map_err(|_| unknown_site())?;
        let id: SiteId = path
            .iter()
            .find(|(name, _)| *name == "site")
            .and_then(|(_, value)| value.parse().ok())
            .ok_or_else(unknown_site)?;
        let scope = app.accounts.scope(&session, id).await.map_err(|error| {
            if matches!(error, AccountError::NoSite) {
                unknown_site()
            } else {
                error.into()
            }
        })?;
        let sites = app.accounts.sites(&session).await?;
        let site_name = sites
            .iter()
            .find(|site| site.id == id)
            .map_or_else(|| id.to_string(), |site| site.name.clone());
        let now_us = app.now_us();
        let params = Params::parse(parts.uri.query().unwrap_or_default());
        let spec = params.period(now_us).map_err(|error| WebError::Bad(error.to_string()))?;
        let store = app.stores.of(&scope);
        Ok(Self {
            site: app.sites.live(&scope).await?,
            gateways: store.gateways().await?,
            tenants: Tenants(app.accounts.tenant_names(&scope).await?),
            period: spec.at(now_us),
            app: app.clone(),
            store,
            uri: parts.uri.clone(),
            session,
            scope,
            sites,
            site_name,
            now_us,
            spec,
            params,
        })
    }
}

impl Ctx {
    pub(crate) fn store(&self) -> &ScopedStore {
        &self.store
    }

    /// Lets a form through that a page of this session sent.
    pub(crate) fn guard(&self, headers: &HeaderMap, csrf: &str) -> Result<(), WebError> {
        session::guard(&self.session, headers, csrf)
    }

    /// Begin of all links of the site.
    pub(crate) fn base(&self) -> String {
        format!("/s/{}", self.scope.site())
    }

    /// A link to another page of the site that keeps the period.
    pub(crate) fn to(&self, path: &str) -> String {
        self.link(path, &[])
    }

    /// A link with parameters of its own; the period and the version are kept.
    pub(crate) fn link(&self, path: &str, own: &[(&str, &str)]) -> String {
        let period = self.spec.text();
        let mut pairs: Vec<(&str, &str)> = own.iter().filter(|(_, value)| !value.is_empty()).copied().collect();
        let version = params::VERSION.to_string();
        if !pairs.iter().any(|(name, _)| *name == "period") && self.spec != period::DEFAULT {
            pairs.push(("period", &period));
        }
        if self.spec.moves() && self.params.get("live") == Some("0") {
            pairs.push(("live", "0"));
        }
        pairs.push(("v", &version));
        format!("{}/{path}?{}", self.base(), params::encode(pairs))
    }

    /// This page with some parameters set, or taken away (empty value).
    pub(crate) fn here(&self, change: &[(&str, &str)]) -> String {
        let mut pairs: Vec<(&str, &str)> = self
            .params
            .iter()
            .filter(|(name, value)| !value.is_empty() && !change.iter().any(|(changed, _)| changed == name))
            .collect();
        pairs.extend(change.iter().filter(|(_, value)| !value.is_empty()).copied());
        let version = params::VERSION.to_string();
        if !pairs.iter().any(|(name, _)| *name == "v") {
            pairs.push(("v", &version));
        }
        format!("{}?{}", self.uri.path(), params::encode(pairs))
    }

    /// This page for a span that a brush chooses: `{from}` and `{to}` stand for times as the period's text has them.
    pub(crate) fn zoom(&self) -> String {
        let mut link = self.here(&[("period", ""), ("from", ""), ("to", ""), ("after", ""), ("flow", "")]);
        link.push_str("&period={from}+-+{to}");
        link
    }

    /// The period follows the clock and the reader wants it to.
    pub(crate) fn live(&self) -> bool {
        self.spec.moves() && self.params.get("live") != Some("0")
    }

    /// Names that the filter language knows.
    pub(crate) fn names(&self) -> SiteNames<'_> {
        SiteNames(&self.site, &self.tenants.0)
    }

    pub(crate) fn csrf(&self) -> String {
        session::csrf(&self.session)
    }
}

/// Tenants as they are shown.
pub(crate) struct Tenants(pub(crate) TenantNames);

impl Tenants {
    /// The name that people gave a tenant, else its id, shortened.
    pub(crate) fn name(&self, id: &str) -> String {
        self.0.get(id).map_or_else(|| units::short_id(id), str::to_owned)
    }
}

fn unknown_site() -> WebError {
    WebError::NotFound("There is no such site in your account.".to_owned())
}
