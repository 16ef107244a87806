// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The site itself: gateways, what is replicated, the balance of records hop by hop, storage, keys.

mod balance;
mod gateway;
mod switches;

use askama::Template;
use axum::{http::StatusCode, response::Response};
use insights_protocol::Kinds;
use insights_store::query::Usage;

use super::{context::Ctx, error::WebError, frame::Frame, html, units};
use crate::{
    accounts::{SiteKeyInfo, TRIAL_FINGERPRINTS},
    ingest::GatewayStatus,
    query::balance::Balance,
};

pub(crate) use gateway::{command, page as gateway_page};
pub(crate) use switches::{interval, switch};

/// A site younger than this tells nothing about how fast it fills, µs.
const FORECAST_FROM_US: i64 = 3_600_000_000;

#[derive(Template)]
#[template(path = "site.html")]
struct Page {
    frame: Frame,
    done: &'static str,
    error: String,
    gateways: Vec<GatewayRow>,
    switches: switches::View,
    balance: balance::View,
    storage: Storage,
    keys: Vec<KeyRow>,
    most_keys: usize,
    objects: Vec<(String, String)>,
    known_at: String,
}

struct GatewayRow {
    name: String,
    href: String,
    state: &'static str,
    what: String,
    version: String,
    role: &'static str,
    lag: String,
    spool: String,
    agents: String,
    meters: String,
    lost: String,
    reported: String,
}

struct Storage {
    used: String,
    quota: String,
    share: String,
    parts: Vec<(&'static str, String)>,
    oldest: String,
    forecast: String,
    purged: String,
}

struct KeyRow {
    label: String,
    short: String,
    fingerprint: String,
    added: String,
    used_by: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let done = match ctx.params.get("done").unwrap_or_default() {
        "switched" => "The switch is set; gateways that are connected have it already.",
        "interval" => "The interval is set; gateways that are connected have it already.",
        _ => "",
    };
    show(&ctx, done, String::new()).await
}

/// The page, with what was done or what is wrong.
async fn show(ctx: &Ctx, done: &'static str, error: String) -> Result<Response, WebError> {
    let gateways = ctx.app.gateways.of_site(&ctx.scope).await?;
    let (settings, site, keys, usage, counts, frame) = tokio::try_join!(
        async { Ok::<_, WebError>(ctx.app.accounts.settings(&ctx.scope).await?) },
        async { Ok(ctx.app.accounts.site(&ctx.scope).await?) },
        async { Ok(ctx.app.accounts.fingerprints(&ctx.scope).await?) },
        async { Ok(ctx.store().usage().await?) },
        async { Ok(ctx.store().counts(ctx.period).await?) },
        Frame::new(ctx, "Site", "site"),
    )?;
    let mut objects: Vec<_> = ctx
        .site
        .classes()
        .map(|(class, count)| (class.to_owned(), units::count(count as u64)))
        .collect();
    objects.sort();
    let balance = balance::View::of(&Balance::of(&counts, &[]));
    let mut response = html(&Page {
        frame,
        done,
        gateways: gateways.iter().map(|gateway| gateway_row(ctx, gateway)).collect(),
        switches: switches::View::new(ctx, settings, &gateways),
        storage: storage(ctx, &usage, site.quota_bytes, balance.purged),
        balance,
        keys: keys.into_iter().map(|key| key_row(key, &gateways)).collect(),
        most_keys: TRIAL_FINGERPRINTS,
        objects,
        known_at: if ctx.site.at_us() == 0 {
            "nothing yet".to_owned()
        } else {
            units::full(ctx.site.at_us())
        },
        error: error.clone(),
    })?;
    if !error.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn gateway_row(ctx: &Ctx, gateway: &GatewayStatus) -> GatewayRow {
    let figures = gateway::Figures::of(gateway);
    let (state, what) = gateway::state(gateway, ctx.now_us);
    GatewayRow {
        name: gateway.name.clone(),
        href: ctx.to(&format!("site/gateways/{}", gateway.id)),
        state,
        what,
        version: gateway.version.clone(),
        role: figures.role(),
        lag: figures.lag(),
        spool: figures.spool(),
        agents: figures.agents(),
        meters: figures.meters(),
        lost: figures.lost(),
        reported: figures.reported(ctx.now_us),
    }
}

fn key_row(key: SiteKeyInfo, gateways: &[GatewayStatus]) -> KeyRow {
    let users: Vec<_> = gateways
        .iter()
        .filter(|gateway| gateway.fingerprint == key.fingerprint)
        .map(|gateway| gateway.name.as_str())
        .collect();
    KeyRow {
        used_by: if users.is_empty() {
            "no gateway has used it".to_owned()
        } else {
            format!("last used by {}", users.join(", "))
        },
        label: if key.label.is_empty() { "without a name".to_owned() } else { key.label },
        short: units::short_fingerprint(&key.fingerprint),
        fingerprint: key.fingerprint,
        added: units::day_minute(key.added_us),
    }
}

fn storage(ctx: &Ctx, usage: &Usage, quota: u64, purged: u64) -> Storage {
    let used = usage.total() as f64;
    Storage {
        used: units::bytes(used),
        quota: if quota == 0 { "no bound".to_owned() } else { units::bytes(quota as f64) },
        share: if quota == 0 {
            "0".to_owned()
        } else {
            format!("{:.1}", (used / quota as f64 * 100.0).clamp(0.3, 100.0))
        },
        parts: vec![
            ("Flow records", units::bytes(usage.flows as f64)),
            ("Their ends", units::bytes(usage.ends as f64)),
            ("Their paths", units::bytes(usage.paths as f64)),
            ("Meters", units::bytes(usage.meters as f64)),
            ("Roll-ups", units::bytes(usage.rollups as f64)),
            ("Commit log", units::bytes(usage.log as f64)),
            ("Topology and events", units::bytes(usage.catalog as f64)),
            ("Files", units::count(usage.files)),
        ],
        oldest: usage.oldest_us.map_or_else(|| "nothing in files yet".to_owned(), units::full),
        forecast: forecast(usage, quota, ctx.now_us),
        purged: if purged == 0 {
            "none".to_owned()
        } else {
            units::plural(purged as usize, "record", "records")
        },
    }
}

/// When the quota is reached if the site goes on as it did since its oldest record.
fn forecast(usage: &Usage, quota: u64, now_us: i64) -> String {
    if quota == 0 {
        return "the plan has no bound".to_owned();
    }
    let used = usage.total();
    if used >= quota {
        return "reached: the oldest records go as new ones come".to_owned();
    }
    let age = usage.oldest_us.map_or(0, |oldest| now_us - oldest);
    if age < FORECAST_FROM_US || used == 0 {
        return "not enough stored yet to tell".to_owned();
    }
    let per_day = used as f64 / (age as f64 / 86_400e6);
    let days = (quota - used) as f64 / per_day;
    let rate = units::bytes(per_day);
    if days > 3_650.0 {
        format!("not within ten years, at {rate} a day")
    } else if days >= 1.5 {
        format!("in about {days:.0} days, at {rate} a day")
    } else {
        format!("in about {:.0} hours, at {rate} a day", days * 24.0)
    }
}

/// Kinds of data in the order of the page: slug, name, what it is.
const KINDS: [(&str, &str, &str); 4] = [
    ("topology", "Topology", "objects of the NSDB"),
    ("state", "State", "hosts and ports alive, MAC, ARP and route tables"),
    ("metering", "Metering", "traffic meters of the agents"),
    ("flows", "Flows", "flow records of the agents"),
];

fn allows(kinds: Kinds, slug: &str) -> bool {
    match slug {
        "topology" => kinds.topology,
        "state" => kinds.state,
        "metering" => kinds.metering,
        _ => kinds.flows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forecast_goes_by_the_age_of_the_oldest_record() {
        const DAY: i64 = 86_400_000_000;
        let usage = |flows, oldest_us| Usage {
            flows,
            oldest_us,
            ..Usage::default()
        };
        let now = 100 * DAY;
        assert_eq!(
            forecast(&usage(5_000_000_000, Some(now - 10 * DAY)), 20_000_000_000, now).replace('\u{202f}', " "),
            "in about 30 days, at 500 MB a day"
        );
        assert!(forecast(&usage(20_000_000_000, Some(0)), 20_000_000_000, now).starts_with("reached"));
        assert!(forecast(&usage(1, Some(now - 1)), 20_000_000_000, now).starts_with("not enough"));
        assert!(forecast(&usage(1, Some(0)), 20_000_000_000, now).starts_with("not within"));
        assert!(forecast(&usage(1, Some(0)), 0, now).contains("no bound"));
        assert!(forecast(&usage(19_500_000_000, Some(now - DAY)), 20_000_000_000, now).contains("hours"));
    }
}
