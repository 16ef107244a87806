// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A past moment of the topology, and what differs from now.

use std::collections::BTreeMap;

use insights_store::Period;
use uuid::Uuid;

use super::{
    context::Ctx,
    error::WebError,
    frame::{state_class, state_word},
    units,
};
use crate::site::{Site, State};

/// Differences that are listed; more are counted.
const LISTED: usize = 60;
/// Changes of the period that the steps back and forth know.
const CHANGES: usize = 2_000;
/// Places of the slider: one per two pixels.
const PLACES: i64 = 400;

/// The slider over the period. All of it is a form and links.
pub(crate) struct Moment {
    /// s since the epoch.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) at: i64,
    pub(crate) step: i64,
    pub(crate) past: bool,
    pub(crate) shown: String,
    pub(crate) earlier: Option<String>,
    pub(crate) later: Option<String>,
    pub(crate) now: String,
    pub(crate) path: String,
    pub(crate) kept: Vec<(String, String)>,
    pub(crate) differences: Vec<Difference>,
    pub(crate) total: usize,
}

pub(crate) struct Difference {
    pub(crate) sign: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) what: String,
}

/// A device as far as a drawing shows it.
struct Seen {
    kind: &'static str,
    slug: &'static str,
    name: String,
    state: State,
}

impl Moment {
    /// Reads `at` (s since the epoch) and puts the topology of then in the place of that of now.
    pub(crate) async fn take(ctx: &mut Ctx) -> Result<Self, WebError> {
        let end = ctx.period.to_us.min(ctx.now_us);
        let (from, to) = (ctx.period.from_us.div_euclid(1_000_000), end.div_euclid(1_000_000).max(1));
        let asked = match ctx.params.get("at").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let at: i64 = text
                    .parse()
                    .map_err(|_| WebError::Bad(format!("“{text}” is no moment: it is seconds since 1970.")))?;
                Some(at.clamp(from, to))
            }
        };
        let mut differences = Vec::new();
        if let Some(at) = asked {
            let then = ctx.app.sites.at(&ctx.scope, at * 1_000_000).await?;
            differences = differing(ctx, &then, &ctx.site);
            ctx.site = then;
        }
        let period = Period::new(ctx.period.from_us, end.max(ctx.period.from_us + 1));
        let mut times: Vec<i64> = ctx
            .app
            .sites
            .changes(&ctx.scope, period, CHANGES)
            .await?
            .iter()
            // The moment behind the change shows it.
            .map(|change| change.at_us.div_euclid(1_000_000) + 1)
            .filter(|time| (from..=to).contains(time))
            .collect();
        times.sort_unstable();
        times.dedup();
        let at = asked.unwrap_or(to);
        let link = |at: i64| ctx.here(&[("at", &at.to_string()), ("live", "0")]);
        let total = differences.len();
        differences.truncate(LISTED);
        Ok(Self {
            from,
            to,
            at,
            step: ((to - from) / PLACES).max(1),
            past: asked.is_some(),
            shown: units::full(at * 1_000_000),
            earlier: times.iter().rev().find(|time| **time < at).map(|time| link(*time)),
            later: times.iter().find(|time| asked.is_some() && **time > at).map(|time| link(*time)),
            now: ctx.here(&[("at", ""), ("live", "")]),
            path: ctx.uri.path().to_owned(),
            kept: ctx
                .params
                .iter()
                .filter(|(name, value)| !matches!(*name, "at" | "live") && !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            differences,
            total,
        })
    }
}

/// What is there only then, only now, or in another state; by kind and name.
fn differing(ctx: &Ctx, then: &Site, now: &Site) -> Vec<Difference> {
    let (before, after) = (seen(then), seen(now));
    let mut found: Vec<Difference> = Vec::new();
    let mut tell = |sign, id: Uuid, seen: &Seen, what: String| {
        found.push(Difference {
            sign,
            kind: seen.kind,
            name: seen.name.clone(),
            href: ctx.to(&format!("d/{}/{id}", seen.slug)),
            what,
        });
    };
    for (id, old) in &before {
        match after.get(id) {
            None => tell("−", *id, old, "is gone now".to_owned()),
            Some(new) if state_class(new.state) != state_class(old.state) => {
                let what = format!("{} then, {} now", state_word(old.state), state_word(new.state));
                tell("≠", *id, new, what);
            }
            Some(new) if new.name != old.name => tell("≠", *id, new, format!("was called {}", old.name)),
            Some(_) => {}
        }
    }
    for (id, new) in after.iter().filter(|(id, _)| !before.contains_key(id)) {
        tell("+", *id, new, "was not there yet".to_owned());
    }
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    found
}

fn seen(site: &Site) -> BTreeMap<Uuid, Seen> {
    let device = |kind, slug, name, state| Seen { kind, slug, name, state };
    let routers = site
        .routers()
        .map(|router| (router.id, device("Router", "router", router.name, router.state)));
    let networks = site
        .networks()
        .map(|network| (network.id, device("Network", "network", network.name, network.state)));
    let ports = site.ports().map(|port| (port.id, device("Port", "port", port.name, port.state)));
    routers.chain(networks).chain(ports).collect()
}
