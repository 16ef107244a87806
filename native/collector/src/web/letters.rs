// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Pages for people who are not signed in: opening an account, a forgotten password, and what links in mails lead to. A link shows a form;
//! only sending it does something, since programs that look through mail open links as well.

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    app::App,
    assets,
    error::{WebError, sentence},
    html,
    session::{self, Asking, Client},
};
use crate::accounts::{AccountError, MIN_PASSWORD, SignUp};

#[derive(Template)]
#[template(path = "letter.html")]
struct Page<'a> {
    css: String,
    theme: String,
    title: &'static str,
    about: &'static str,
    action: &'static str,
    button: &'static str,
    /// Empty: the page has nothing to send.
    fields: Vec<Field<'a>>,
    token: &'a str,
    error: String,
}

struct Field<'a> {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    complete: &'static str,
    value: &'a str,
    most: usize,
    least: usize,
}

#[derive(Deserialize, Default)]
pub(crate) struct Letter {
    #[serde(default)]
    token: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    site: String,
    #[serde(default)]
    password: String,
}

const SENT: &str = "If the address is right, a mail is on its way. Its link is good for a while only; look into the junk folder, too.";

pub(crate) async fn sign_up_page(State(app): State<App>) -> Result<Response, WebError> {
    sign_up_form(&app, &Letter::default(), String::new())
}

pub(crate) async fn sign_up(
    State(app): State<App>,
    Client(client): Client,
    headers: HeaderMap,
    Form(form): Form<Letter>,
) -> Result<Response, WebError> {
    session::same_origin(&headers)?;
    open(&app)?;
    let wanted = SignUp {
        email: form.email.clone(),
        name: form.name.clone(),
        site: form.site.clone(),
    };
    match app.accounts.sign_up(wanted, client, app.now_us()).await {
        Ok(()) => sent(),
        Err(error) => sign_up_form(&app, &form, told(error)?),
    }
}

pub(crate) async fn welcome_page(Query(letter): Query<Letter>) -> Result<Response, WebError> {
    welcome_form(&letter.token, String::new())
}

pub(crate) async fn welcome(
    State(app): State<App>,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<Letter>,
) -> Result<Response, WebError> {
    session::same_origin(&headers)?;
    open(&app)?;
    match app.accounts.confirm_sign_up(&form.token, form.password, visitor, app.now_us()).await {
        Ok(()) => Ok(Redirect::to("/sign-in?done=opened").into_response()),
        Err(error) => welcome_form(&form.token, told(error)?),
    }
}

pub(crate) async fn forgot_page() -> Result<Response, WebError> {
    forgot_form("", String::new())
}

pub(crate) async fn forgot(
    State(app): State<App>,
    Client(client): Client,
    headers: HeaderMap,
    Form(form): Form<Letter>,
) -> Result<Response, WebError> {
    session::same_origin(&headers)?;
    match app.accounts.forgot_password(&form.email, client, app.now_us()).await {
        Ok(()) => sent(),
        Err(error) => forgot_form(&form.email, told(error)?),
    }
}

pub(crate) async fn reset_page(Query(letter): Query<Letter>) -> Result<Response, WebError> {
    reset_form(&letter.token, String::new())
}

pub(crate) async fn reset(
    State(app): State<App>,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<Letter>,
) -> Result<Response, WebError> {
    session::same_origin(&headers)?;
    match app
        .accounts
        .set_forgotten_password(&form.token, form.password, visitor, app.now_us())
        .await
    {
        Ok(()) => Ok(Redirect::to("/sign-in?done=password").into_response()),
        Err(error) => reset_form(&form.token, told(error)?),
    }
}

pub(crate) async fn email_page(Query(letter): Query<Letter>) -> Result<Response, WebError> {
    email_form(&letter.token, String::new())
}

pub(crate) async fn email(
    State(app): State<App>,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<Letter>,
) -> Result<Response, WebError> {
    session::same_origin(&headers)?;
    match app.accounts.confirm_email(&form.token, visitor, app.now_us()).await {
        Ok(()) => Ok(Redirect::to("/account?done=email").into_response()),
        Err(error) => email_form(&form.token, told(error)?),
    }
}

fn open(app: &App) -> Result<(), WebError> {
    if app.sign_up {
        Ok(())
    } else {
        Err(WebError::NotFound(
            "This service opens no accounts by itself; ask its operator for one.".to_owned(),
        ))
    }
}

fn sign_up_form(app: &App, form: &Letter, error: String) -> Result<Response, WebError> {
    open(app)?;
    page(Page {
        title: "Start a trial",
        about: "One site, 20 GB of storage. A link to choose a password comes by mail.",
        action: "/sign-up",
        button: "Send the mail",
        fields: vec![
            email_field(&form.email),
            text_field("name", "Your name", "name", &form.name),
            text_field("site", "Name of your cloud, such as eu-west", "organization", &form.site),
        ],
        error,
        ..blank()
    })
}

fn welcome_form(token: &str, error: String) -> Result<Response, WebError> {
    page(Page {
        title: "Open your account",
        about: "Choose a password, at least 12 characters.",
        action: "/sign-up/confirm",
        button: "Open it",
        fields: vec![password_field()],
        token,
        error,
        ..blank()
    })
}

fn forgot_form(email: &str, error: String) -> Result<Response, WebError> {
    page(Page {
        title: "Forgotten password",
        about: "A link that sets a new one comes by mail.",
        action: "/forgot",
        button: "Send the mail",
        fields: vec![email_field(email)],
        error,
        ..blank()
    })
}

fn reset_form(token: &str, error: String) -> Result<Response, WebError> {
    page(Page {
        title: "A new password",
        about: "At least 12 characters. Every session of the account ends.",
        action: "/reset",
        button: "Set it",
        fields: vec![password_field()],
        token,
        error,
        ..blank()
    })
}

fn email_form(token: &str, error: String) -> Result<Response, WebError> {
    page(Page {
        title: "Your new address",
        about: "From now on you sign in with the address that this link came to.",
        action: "/account/email/confirm",
        button: "Use it",
        token,
        error,
        ..blank()
    })
}

/// The same for everybody, whatever was done.
fn sent() -> Result<Response, WebError> {
    page(Page {
        title: "Look into your mail",
        about: SENT,
        ..blank()
    })
}

fn blank() -> Page<'static> {
    Page {
        css: assets::url("manager.css"),
        theme: assets::url("theme.js"),
        title: "",
        about: "",
        action: "",
        button: "",
        fields: Vec::new(),
        token: "",
        error: String::new(),
    }
}

fn page(page: Page<'_>) -> Result<Response, WebError> {
    let mut response = html(&page)?;
    if !page.error.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn text_field<'a>(name: &'static str, label: &'static str, complete: &'static str, value: &'a str) -> Field<'a> {
    Field {
        name,
        label,
        kind: "text",
        complete,
        value,
        most: 200,
        least: 1,
    }
}

fn email_field(value: &str) -> Field<'_> {
    Field {
        kind: "email",
        most: 254,
        ..text_field("email", "E-mail", "username", value)
    }
}

fn password_field() -> Field<'static> {
    Field {
        kind: "password",
        most: 256,
        least: MIN_PASSWORD,
        ..text_field("password", "Password", "new-password", "")
    }
}

/// What a person is told; the service's own trouble is an error page.
fn told(error: AccountError) -> Result<String, WebError> {
    match error {
        AccountError::Store(_) | AccountError::Hash => Err(error.into()),
        error => Ok(sentence(&error.to_string())),
    }
}
