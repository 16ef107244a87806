// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The second factor: set up with an app, new recovery codes, and taken away.

use std::fmt::Write;

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use qrcodegen::{QrCode, QrCodeEcc};
use serde::Deserialize;

use super::{Frame, framed, told};
use crate::{
    accounts::{Factor, Proof, Session},
    web::{
        App,
        error::WebError,
        session::{self, Asking, SignedIn},
        units,
    },
};

/// Light modules around the code, as the standard wants them.
const QUIET: i32 = 4;

#[derive(Template)]
#[template(path = "account_factor.html")]
struct Page {
    frame: Frame,
    /// Recovery codes that were just made.
    codes: Vec<String>,
    on: bool,
    since: String,
    left: usize,
    setup: Option<SetupView>,
}

struct SetupView {
    /// In groups, for typing.
    secret: String,
    size: i32,
    /// Of the dark modules.
    path: String,
}

#[derive(Deserialize, Default)]
pub(crate) struct Asked {
    #[serde(default)]
    done: String,
}

#[derive(Deserialize)]
pub(crate) struct FactorForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    password: String,
}

impl FactorForm {
    fn proof(self) -> Proof {
        Proof {
            password: self.password,
            code: self.code,
        }
    }
}

pub(crate) async fn page(State(app): State<App>, SignedIn(session): SignedIn, Query(asked): Query<Asked>) -> Result<Response, WebError> {
    let done = match asked.done.as_str() {
        "off" => "The second factor is off: the password is enough to sign in.",
        _ => "",
    };
    show(&app, &session, done, String::new(), Vec::new()).await
}

pub(crate) async fn begin(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<FactorForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    match app.accounts.begin_second_factor(&session, visitor, form.proof(), app.now_us()).await {
        Ok(()) => Ok(Redirect::to("/account/second-factor").into_response()),
        Err(error) => show(&app, &session, "", told(error)?, Vec::new()).await,
    }
}

/// Gives up what was begun.
pub(crate) async fn cancel(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
    Form(form): Form<FactorForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    app.accounts.give_up_second_factor(&session).await?;
    Ok(Redirect::to("/account/second-factor").into_response())
}

/// Puts it in use, and shows the recovery codes on the answer itself.
pub(crate) async fn confirm(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<FactorForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    match app.accounts.confirm_second_factor(&session, visitor, &form.code, app.now_us()).await {
        Ok(codes) => show(&app, &session, "The second factor is on.", String::new(), codes).await,
        Err(error) => show(&app, &session, "", told(error)?, Vec::new()).await,
    }
}

pub(crate) async fn renew(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<FactorForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    match app.accounts.new_recovery_codes(&session, visitor, form.proof(), app.now_us()).await {
        Ok(codes) => show(&app, &session, "The recovery codes before are good no more.", String::new(), codes).await,
        Err(error) => show(&app, &session, "", told(error)?, Vec::new()).await,
    }
}

pub(crate) async fn disable(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Asking(visitor): Asking,
    headers: HeaderMap,
    Form(form): Form<FactorForm>,
) -> Result<Response, WebError> {
    session::guard(&session, &headers, &form.csrf)?;
    match app.accounts.disable_second_factor(&session, visitor, form.proof(), app.now_us()).await {
        Ok(()) => Ok(Redirect::to("/account/second-factor?done=off").into_response()),
        Err(error) => show(&app, &session, "", told(error)?, Vec::new()).await,
    }
}

async fn show(app: &App, session: &Session, done: &'static str, error: String, codes: Vec<String>) -> Result<Response, WebError> {
    let factor = app.accounts.second_factor(session).await?;
    let (mut on, mut since, mut left, mut setup) = (false, String::new(), 0, None);
    match factor {
        Factor::Off => {}
        Factor::Begun(begun) => setup = Some(view(&begun.secret, &begun.uri)),
        Factor::On { since_us, recovery_codes } => (on, since, left) = (true, units::full(since_us), recovery_codes),
    }
    let page = Page {
        frame: Frame::new(app, session, "/account/second-factor", done, error).await?,
        codes,
        on,
        since,
        left,
        setup,
    };
    framed(&page, &page.frame)
}

fn view(secret: &str, uri: &str) -> SetupView {
    let groups: Vec<&str> = (0..secret.len())
        .step_by(4)
        .filter_map(|at| secret.get(at..(at + 4).min(secret.len())))
        .collect();
    // An address of 254 characters fits as well; without a picture the secret can be typed.
    let (size, path) = QrCode::encode_text(uri, QrCodeEcc::Medium).map_or((0, String::new()), |code| drawn(&code));
    SetupView {
        secret: groups.join(" "),
        size,
        path,
    }
}

/// Width with its margin, and the dark modules as rows of rectangles.
fn drawn(code: &QrCode) -> (i32, String) {
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let begin = x;
            while x < size && code.get_module(x, y) {
                x += 1;
            }
            if x > begin {
                let width = x - begin;
                // To a text, which does not fail.
                let _ = write!(path, "M{} {}h{width}v1h-{width}z", begin + QUIET, y + QUIET);
            }
            x += 1;
        }
    }
    (size + 2 * QUIET, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dark_module_is_drawn_once() {
        let code = QrCode::encode_text("otpauth://totp/MidoInsights:ada@example.org?secret=AAAA", QrCodeEcc::Medium).unwrap();
        let (size, path) = drawn(&code);
        assert_eq!(size, code.size() + 8);
        let mut dark = std::collections::BTreeSet::new();
        for part in path.split('M').skip(1) {
            let (x, rest) = part.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (width, _) = rest.split_once('v').unwrap();
            let [x, y, width]: [i32; 3] = [x, y, width].map(|text| text.parse().unwrap());
            for x in x..x + width {
                assert!(dark.insert((x - QUIET, y - QUIET)));
            }
        }
        for (x, y) in (0..code.size()).flat_map(|x| (0..code.size()).map(move |y| (x, y))) {
            assert_eq!(dark.contains(&(x, y)), code.get_module(x, y), "{x} {y}");
        }
    }
}
