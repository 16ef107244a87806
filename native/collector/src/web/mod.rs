// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The Insights Manager: pages drawn on the server, which work as links and forms. Scripts add what follows the clock or the pointer.
//!
//! All state is in the URL ([`crate::query::params`]). A handler of a site's page takes a [`context::Ctx`], which proves who asks, holds the
//! key to the site and the topology, and knows the period. Markup is in `templates/`, one stylesheet and a few modules in `static/`.

mod account;
mod alerts;
mod app;
mod assets;
mod changes;
mod chart;
mod context;
mod dashboard;
mod device;
mod error;
mod events;
mod flows;
mod frame;
mod letters;
mod lists;
mod moment;
mod reports;
mod search;
mod session;
mod site;
mod table;
mod topology;
mod trace;
pub(crate) mod units;
mod what_if;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use tower_http::compression::CompressionLayer;

pub use app::App;

use context::Ctx;
pub(crate) use device::meters_of;
use error::WebError;
pub(crate) use flows::dimension as flow_dimension;
use session::SignedIn;
pub(crate) use session::{session_of, visitor};

/// What a browser may do with a page: load from here, send forms here, nothing else. Charts and drawings set no inline styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// All pages. The server should give requests their peer's address (`into_make_service_with_connect_info`), which the throttle of sign-ins needs.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(session::sign_in_page).post(session::sign_in))
        .route("/sign-in/code", post(session::sign_in_with_code))
        .route("/sign-out", post(session::sign_out))
        .route("/sign-up", get(letters::sign_up_page).post(letters::sign_up))
        .route("/sign-up/confirm", get(letters::welcome_page).post(letters::welcome))
        .route("/forgot", get(letters::forgot_page).post(letters::forgot))
        .route("/reset", get(letters::reset_page).post(letters::reset))
        .route("/account", get(account::page))
        .route("/account/sites", post(account::add_site))
        .route("/account/email", post(account::change_email))
        .route("/account/email/confirm", get(letters::email_page).post(letters::email))
        .route("/account/delete", get(account::delete_page).post(account::delete))
        .route("/account/name", post(account::rename))
        .route("/account/password", post(account::password))
        .route("/account/sessions", get(account::sessions_page))
        .route("/account/sessions/end", post(account::end))
        .route("/account/sessions/end-others", post(account::end_others))
        .route("/account/second-factor", get(account::factor_page))
        .route("/account/second-factor/begin", post(account::begin_factor))
        .route("/account/second-factor/cancel", post(account::cancel_factor))
        .route("/account/second-factor/confirm", post(account::confirm_factor))
        .route("/account/second-factor/codes", post(account::renew_codes))
        .route("/account/second-factor/disable", post(account::disable_factor))
        .route("/account/tokens", get(account::tokens_page).post(account::make_token))
        .route("/account/tokens/revoke", post(account::revoke_token))
        .route("/account/audit", get(account::audit_page))
        .route("/account/fingerprints", post(account::add_fingerprint))
        .route(
            "/account/fingerprints/delete",
            get(account::confirm_delete).post(account::delete_fingerprint),
        )
        .route("/s/{site}", get(site_home))
        .route("/s/{site}/", get(site_home))
        .route("/s/{site}/dashboard", get(dashboard::page))
        .route("/s/{site}/physical", get(physical_home))
        .route("/s/{site}/physical/{list}", get(lists::physical))
        .route("/s/{site}/virtual", get(topology::page))
        .route("/s/{site}/virtual/{list}", get(lists::virtual_))
        .route("/s/{site}/d/{kind}/{id}", get(device::overview))
        .route("/s/{site}/d/{kind}/{id}/traffic", get(device::traffic))
        .route("/s/{site}/d/{kind}/{id}/rules", get(device::rules))
        .route("/s/{site}/d/{kind}/{id}/configuration", get(device::configuration))
        .route("/s/{site}/d/{kind}/{id}/history", get(device::history))
        .route("/s/{site}/o/{id}", get(device::by_id))
        .route("/s/{site}/flows", get(flows::page))
        .route("/s/{site}/flows/complete", get(flows::complete))
        .route("/s/{site}/reports", get(reports::page))
        .route("/s/{site}/alerts", get(alerts::page))
        .route("/s/{site}/alerts/act", post(alerts::act))
        .route("/s/{site}/alerts/receivers", post(alerts::change_receiver))
        .route("/s/{site}/alerts/rules", post(alerts::switch))
        .route("/s/{site}/alerts/rules/new", get(alerts::new_rule))
        .route("/s/{site}/alerts/rules/own", post(alerts::change_rule))
        .route("/s/{site}/alerts/rules/{rule}", get(alerts::edit_rule))
        .route("/s/{site}/alerts/{alert}", get(alerts::one))
        .route("/s/{site}/events", get(events::page))
        .route("/s/{site}/tenants/name", post(lists::name_tenant))
        .route("/s/{site}/flows/top", get(flows::top))
        .route("/s/{site}/flows/filters", post(flows::keep_filter))
        .route("/s/{site}/site", get(site::page))
        .route("/s/{site}/site/switches", post(site::switch))
        .route("/s/{site}/site/interval", post(site::interval))
        .route("/s/{site}/site/gateways/{gateway}", get(site::gateway_page))
        .route("/s/{site}/site/gateways/{gateway}/command", post(site::command))
        .route("/s/{site}/trace", get(trace::page))
        .route("/s/{site}/what-if", get(what_if::page))
        .route("/s/{site}/search", get(search::page))
        .merge(crate::api::routes())
        .route("/static/{version}/{*name}", get(assets::serve))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(app.clone(), headers))
        .layer(CompressionLayer::new())
        .with_state(app)
}

/// To the only site, or the first.
async fn home(State(app): State<App>, SignedIn(session): SignedIn) -> Result<Redirect, WebError> {
    let sites = app.accounts.sites(&session).await?;
    Ok(Redirect::to(
        &sites
            .first()
            .map_or_else(|| "/account".to_owned(), |site| format!("/s/{}/dashboard", site.id)),
    ))
}

async fn site_home(ctx: Ctx) -> Redirect {
    Redirect::to(&ctx.to("dashboard"))
}

async fn physical_home(ctx: Ctx) -> Redirect {
    Redirect::to(&ctx.to("physical/hosts"))
}

async fn nothing() -> Response {
    error::page(StatusCode::NOT_FOUND, "Not here", "There is no such page.".to_owned())
}

/// Headers that every answer has.
async fn headers(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: header::HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(
        header::HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    );
    set(header::CACHE_CONTROL, "no-store");
    if app.secure {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

/// A page from its template.
fn html(template: &impl askama::Template) -> Result<Response, WebError> {
    Ok(axum::response::Html(template.render()?).into_response())
}

/// Width of the bins of a histogram of the API: as fine as that of the page.
pub(crate) fn step_for(period: insights_store::Period) -> i64 {
    step_within(period, 140, 1_000_000)
}

/// Width of steps so that a period has no more than so many.
pub(crate) fn step_within(period: insights_store::Period, most: i64, least_us: i64) -> i64 {
    chart::step_for(period, most, least_us)
}
