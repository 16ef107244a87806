// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Details, password, keys of the sites, deletion.

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use insights_store::SiteId;
use serde::Deserialize;

use super::{Frame, framed, told};
use crate::{
    accounts::{AccountError, Proof, Session, TRIAL_FINGERPRINTS},
    web::{
        App, assets,
        error::WebError,
        frame::connection,
        html,
        session::{self, Asking, SignedIn},
        units,
    },
};

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    frame: Frame,
    sites: Vec<SiteView>,
    most: usize,
}

struct SiteView {
    id: String,
    name: String,
    state: &'static str,
    about: String,
    keys: Vec<KeyView>,
}

struct KeyView {
    label: String,
    fingerprint: String,
    short: String,
    added: String,
    delete: String,
}

#[derive(Template)]
#[template(path = "delete_fingerprint.html")]
struct ConfirmPage {
    css: String,
    theme: String,
    csrf: String,
    site: String,
    site_id: String,
    fingerprint: String,
    about: String,
    error: String,
}

#[derive(Deserialize, Default)]
pub(crate) struct Asked {
    #[serde(default)]
    done: String,
}

#[derive(Deserialize)]
pub(crate) struct NameForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    old: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    new: String,
}

#[derive(Deserialize)]
pub(crate) struct EmailForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
pub(crate) struct DeleteForm {
    #[serde(default)]
    csrf: String,
    /// The account's address, typed to confirm.
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    code: String,
}

#[derive(Template)]
#[template(path = "delete_account.html")]
struct DeletePage {
    css: String,
    theme: String,
    csrf: String,
    email: String,
    sites: String,
    factor: bool,
    error: String,
}

#[derive(Deserialize)]
pub(crate) struct KeyForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    site: String,
    #[serde(default)]
    fingerprint: String,
    #[serde(default)]
    label: String,
    /// The site's name, typed to confirm a deletion.
    #[serde(default)]
    confirm: String,
}

pub(crate) async fn page(State(app): State<App>, SignedIn(session): SignedIn, Query(asked): Query<Asked>) -> Result<Response, WebError> {
    let done = match asked.done.as_str() {
        "name" => "The name is changed.",
        "password" => "The password is changed, and all other sessions are ended.",
        "email" => "The address is changed.",
        "mailed" => "A link went to the new address. It changes when the link is followed.",
        "site" => "The site is added.",
        "added" => "The fingerprint is added: the gateway gets in with its next try.",
        "deleted" => "The fingerprint is deleted.",
        _ => "",
    };
    show(&app, &session, done, String::new()).await
}

pub(crate) async fn rename(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<NameForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    outcome(
        &app,
        &session,
        app.accounts.rename(&session, &form.name, app.now_us()).await,
        "/account?done=name",
    )
    .await
}

pub(crate) async fn password(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<PasswordForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let proof = Proof {
        password: form.old,
        code: form.code,
    };
    let changed = app.accounts.change_password(&session, visitor, proof, form.new, app.now_us()).await;
    outcome(&app, &session, changed, "/account?done=password").await
}

pub(crate) async fn change_email(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<EmailForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let proof = Proof {
        password: form.password,
        code: form.code,
    };
    let asked = app.accounts.change_email(&session, visitor, proof, &form.email, app.now_us()).await;
    outcome(&app, &session, asked, "/account?done=mailed").await
}

pub(crate) async fn add_site(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<NameForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let added = app.accounts.add_site(&session, &form.name, app.now_us()).await.map(|_| ());
    outcome(&app, &session, added, "/account?done=site").await
}

pub(crate) async fn delete_page(State(app): State<App>, SignedIn(session): SignedIn) -> Result<Response, WebError> {
    deletion(&app, &session, String::new()).await
}

/// Deletes the account for whoever types its address and its password.
pub(crate) async fn delete(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<DeleteForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    if !form.confirm.trim().eq_ignore_ascii_case(&session.email) {
        return deletion(&app, &session, format!("Type {} to confirm.", session.email)).await;
    }
    let proof = Proof {
        password: form.password,
        code: form.code,
    };
    match app.accounts.delete(&session, visitor, proof, app.now_us()).await {
        Ok(()) => Ok((
            [(header::SET_COOKIE, session::forget_cookie(&app))],
            Redirect::to("/sign-in?done=deleted"),
        )
            .into_response()),
        Err(error) => deletion(&app, &session, told(error)?).await,
    }
}

pub(crate) async fn add_fingerprint(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<KeyForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let scope = app.accounts.scope(&session, site(&form.site)?).await?;
    let added = app.accounts.add_fingerprint(&scope, &form.fingerprint, &form.label, app.now_us()).await;
    outcome(&app, &session, added, "/account?done=added").await
}

pub(crate) async fn confirm_delete(State(app): State<App>, SignedIn(session): SignedIn, Query(form): Query<KeyForm>) -> Result<Response, WebError> {
    confirm(&app, &session, &form, String::new()).await
}

pub(crate) async fn delete_fingerprint(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<KeyForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    let scope = app.accounts.scope(&session, site(&form.site)?).await?;
    let info = app.accounts.site(&scope).await?;
    if form.confirm.trim() != info.name {
        return confirm(&app, &session, &form, format!("Type {} to confirm.", info.name)).await;
    }
    let deleted = app.accounts.delete_fingerprint(&scope, &form.fingerprint, app.now_us()).await.map(|_| ());
    outcome(&app, &session, deleted, "/account?done=deleted").await
}

fn site(text: &str) -> Result<SiteId, WebError> {
    text.parse()
        .map_err(|_| WebError::NotFound("There is no such site in your account.".to_owned()))
}

/// On to the next page, or this one again with what was wrong.
async fn outcome(app: &App, session: &Session, result: Result<(), AccountError>, next: &str) -> Result<Response, WebError> {
    match result {
        Ok(()) => Ok(Redirect::to(next).into_response()),
        Err(error) => show(app, session, "", told(error)?).await,
    }
}

async fn show(app: &App, session: &Session, done: &'static str, error: String) -> Result<Response, WebError> {
    let mut sites = Vec::new();
    for info in app.accounts.sites(session).await? {
        let scope = app.accounts.scope(session, info.id).await?;
        let gateways = app.stores.of(&scope).gateways().await?;
        let connected = gateways.iter().filter(|gateway| gateway.disconnected_us.is_none()).count();
        let (state, about) = connection(connected, gateways.len());
        let keys = app.accounts.fingerprints(&scope).await?;
        sites.push(SiteView {
            id: info.id.to_string(),
            name: info.name,
            state,
            about,
            keys: keys
                .into_iter()
                .map(|key| KeyView {
                    delete: format!(
                        "/account/fingerprints/delete?{}",
                        crate::query::params::encode([("site", info.id.to_string().as_str()), ("fingerprint", &key.fingerprint)])
                    ),
                    short: units::short_fingerprint(&key.fingerprint),
                    fingerprint: key.fingerprint,
                    label: if key.label.is_empty() { "without a name".to_owned() } else { key.label },
                    added: units::day_minute(key.added_us),
                })
                .collect(),
        });
    }
    let page = Page {
        frame: Frame::new(app, session, "/account", done, error).await?,
        sites,
        most: TRIAL_FINGERPRINTS,
    };
    framed(&page, &page.frame)
}

async fn deletion(app: &App, session: &Session, error: String) -> Result<Response, WebError> {
    let sites: Vec<_> = app.accounts.sites(session).await?.into_iter().map(|site| site.name).collect();
    let wrong = !error.is_empty();
    let mut response = html(&DeletePage {
        css: assets::url("manager.css"),
        theme: assets::url("theme.js"),
        csrf: session::csrf(session),
        email: session.email.clone(),
        sites: sites.join(", "),
        factor: app.accounts.has_second_factor(session).await?,
        error,
    })?;
    if wrong {
        *response.status_mut() = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

async fn confirm(app: &App, session: &Session, form: &KeyForm, error: String) -> Result<Response, WebError> {
    let scope = app.accounts.scope(session, site(&form.site)?).await?;
    let info = app.accounts.site(&scope).await?;
    let gateways = app.stores.of(&scope).gateways().await?;
    let connected = gateways.iter().filter(|gateway| gateway.disconnected_us.is_none()).count();
    html(&ConfirmPage {
        css: assets::url("manager.css"),
        theme: assets::url("theme.js"),
        csrf: session::csrf(session),
        site: info.name,
        site_id: info.id.to_string(),
        fingerprint: form.fingerprint.clone(),
        about: connection(connected, gateways.len()).1,
        error,
    })
}
