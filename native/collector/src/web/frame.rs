// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The frame around every page: top bar, side bar, menus.

use insights_store::Period;

use super::{assets, context::Ctx, units};
use crate::{
    query::period::{self, PRESETS, PeriodSpec},
    site::State,
};

/// How often a live page looks for news, s. Meters come every 30 s, flows within seconds.
const LIVE_SECONDS: u32 = 10;
/// The same for a list that is followed.
const TAIL_SECONDS: u32 = 2;

pub(crate) struct Frame {
    pub(crate) title: String,
    pub(crate) page: &'static str,
    pub(crate) base: String,
    pub(crate) path: String,
    pub(crate) site_name: String,
    pub(crate) site_state: &'static str,
    pub(crate) site_state_text: String,
    pub(crate) sites: Vec<SiteItem>,
    pub(crate) period_title: String,
    pub(crate) period_span: String,
    pub(crate) period_text: String,
    pub(crate) from_input: String,
    pub(crate) to_input: String,
    pub(crate) presets: Vec<Preset>,
    pub(crate) back: String,
    pub(crate) on: Option<String>,
    pub(crate) live: bool,
    pub(crate) can_live: bool,
    pub(crate) live_toggle: String,
    pub(crate) live_seconds: u32,
    /// Parameters of this page that a new period keeps.
    pub(crate) kept: Vec<(String, String)>,
    pub(crate) search_text: String,
    pub(crate) user_name: String,
    pub(crate) user_email: String,
    pub(crate) initials: String,
    pub(crate) csrf: String,
    pub(crate) foot_gateways: String,
    pub(crate) foot_lag: String,
    pub(crate) foot_lost: String,
    /// Records of any kind that were given up in the period.
    pub(crate) lost: u64,
    /// Open alerts that nobody looks after yet.
    pub(crate) alerts: usize,
    links: Links,
}

pub(crate) struct SiteItem {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) current: bool,
    pub(crate) state: &'static str,
    pub(crate) about: String,
}

pub(crate) struct Preset {
    pub(crate) text: String,
    pub(crate) href: String,
    pub(crate) current: bool,
}

struct Links {
    base: String,
    keep: String,
}

impl Frame {
    pub(crate) async fn new(ctx: &Ctx, title: impl Into<String>, page: &'static str) -> Result<Self, super::error::WebError> {
        let connected = ctx.gateways.iter().filter(|gateway| gateway.disconnected_us.is_none()).count();
        let (site_state, site_state_text) = connection(connected, ctx.gateways.len());
        let mut sites = Vec::new();
        for site in &ctx.sites {
            let current = site.id == ctx.scope.site();
            let (state, about) = if current {
                (site_state, site_state_text.clone())
            } else {
                let gateways = ctx.app.stores.of(site.scope()).gateways().await?;
                let connected = gateways.iter().filter(|gateway| gateway.disconnected_us.is_none()).count();
                connection(connected, gateways.len())
            };
            sites.push(SiteItem {
                name: site.name.clone(),
                href: format!("/s/{}/dashboard", site.id),
                current,
                state,
                about,
            });
        }
        let losses = ctx.store().losses(ctx.period).await?;
        let lost: u64 = losses.iter().map(|stored| stored.loss.records).sum();
        let shift = |spec: PeriodSpec| ctx.here(&[("period", &spec.text()), ("from", ""), ("to", ""), ("after", "")]);
        let keep = ctx.to("");
        let Period { from_us, to_us } = ctx.period;
        Ok(Self {
            title: title.into(),
            page,
            base: ctx.base(),
            path: ctx.uri.path().to_owned(),
            site_name: ctx.site_name.clone(),
            site_state,
            site_state_text,
            sites,
            period_title: ctx.spec.title(),
            period_span: units::span(from_us, to_us),
            period_text: ctx.spec.text(),
            from_input: period::stamp(from_us / 1_000_000 * 1_000_000).replace(' ', "T"),
            to_input: period::stamp(to_us / 1_000_000 * 1_000_000).replace(' ', "T"),
            presets: PRESETS
                .iter()
                .map(|text| Preset {
                    text: (*text).to_owned(),
                    href: ctx.here(&[("period", text), ("from", ""), ("to", ""), ("after", "")]),
                    current: ctx.spec.text() == *text,
                })
                .collect(),
            back: ctx.spec.shifted(false, ctx.now_us).map_or_else(|| ctx.here(&[]), shift),
            on: ctx.spec.shifted(true, ctx.now_us).map(shift),
            live: ctx.live(),
            can_live: ctx.spec.moves(),
            live_toggle: ctx.here(&[("live", if ctx.live() { "0" } else { "1" })]),
            live_seconds: if ctx.params.flag("tail") { TAIL_SECONDS } else { LIVE_SECONDS },
            kept: ctx
                .params
                .iter()
                .filter(|(name, value)| !matches!(*name, "period" | "from" | "to" | "after") && !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            search_text: if page == "search" {
                ctx.params.get("q").unwrap_or_default().to_owned()
            } else {
                String::new()
            },
            user_name: ctx.session.name.clone(),
            user_email: ctx.session.email.clone(),
            initials: initials(&ctx.session.name),
            csrf: ctx.csrf(),
            foot_gateways: format!("{connected} of {}", ctx.gateways.len()),
            foot_lag: lag(ctx),
            foot_lost: units::count(lost),
            lost,
            alerts: super::alerts::alerts(ctx).counts(&ctx.scope, ctx.now_us).await?.0,
            links: Links {
                base: ctx.base(),
                keep: keep.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned()),
            },
        })
    }

    pub(crate) fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    /// A page of the site, with the same period.
    pub(crate) fn to(&self, path: &str) -> String {
        format!("{}/{path}?{}", self.links.base, self.links.keep)
    }

    /// Marks the place of the side bar that the page belongs to.
    pub(crate) fn here(&self, page: &str) -> askama::filters::Safe<&'static str> {
        let belongs = self.page == page || (page == "physical" && self.page == "device-physical") || (page == "virtual" && self.page == "device");
        askama::filters::Safe(if belongs { " aria-current=\"page\"" } else { "" })
    }
}

/// State of a site by its gateways, and in words.
pub(crate) fn connection(connected: usize, known: usize) -> (&'static str, String) {
    match (connected, known) {
        (_, 0) => ("unknown", "no gateway yet".to_owned()),
        (0, 1) => ("down", "gateway away".to_owned()),
        (0, known) => ("down", format!("all {known} gateways away")),
        (connected, known) if connected < known => ("degraded", format!("{connected} of {known} gateways connected")),
        (_, 1) => ("up", "1 gateway connected".to_owned()),
        (connected, _) => ("up", format!("{connected} gateways connected")),
    }
}

/// Name of the shape and colour of a state.
pub(crate) fn state_class(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Degraded => "degraded",
        State::Down => "down",
        State::Off => "off",
        State::Unknown => "unknown",
    }
}

pub(crate) fn state_word(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Degraded => "degraded",
        State::Down => "down",
        State::Off => "off",
        State::Unknown => "no state",
    }
}

fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let first = words.next();
    let last = words.next_back();
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// Oldest unsent record of the gateways, as their last reports say.
fn lag(ctx: &Ctx) -> String {
    let lags = ctx
        .gateways
        .iter()
        .filter(|gateway| gateway.disconnected_us.is_none())
        .filter_map(|gateway| {
            let (_, report) = gateway.report.as_ref()?;
            serde_json::from_str::<serde_json::Value>(report)
                .ok()?
                .get("lag_ms")?
                .as_i64()
                .map(|lag| lag * 1_000)
        });
    lags.max().map_or_else(|| "–".to_owned(), units::duration)
}
