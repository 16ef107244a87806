// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The row of figures. Each leads to its list.

use insights_store::catalog::{Level, StoredAlert};

use crate::{
    site::State,
    web::{
        context::Ctx,
        units::{self, plural},
    },
};

pub(super) struct Tile {
    pub(super) title: &'static str,
    pub(super) href: String,
    pub(super) value: String,
    pub(super) of: String,
    /// Empty: it has none.
    pub(super) state: &'static str,
    pub(super) note: String,
}

/// How many of all are not as they should be, with the word for it.
#[derive(Clone, Copy)]
struct Health {
    bad: usize,
    all: usize,
    word: &'static str,
}

impl Health {
    fn of(states: impl Iterator<Item = State>, word: &'static str) -> Self {
        let (mut bad, mut all) = (0, 0);
        for state in states {
            all += 1;
            bad += usize::from(matches!(state, State::Down | State::Degraded));
        }
        Self { bad, all, word }
    }

    fn state(self) -> &'static str {
        match (self.bad, self.all) {
            (_, 0) => "",
            (0, _) => "up",
            _ => "down",
        }
    }

    fn note(self) -> String {
        match (self.bad, self.all) {
            (_, 0) => "none".to_owned(),
            (0, _) => "all up".to_owned(),
            (bad, _) => format!("{bad} {}", self.word),
        }
    }
}

pub(super) fn tiles(ctx: &Ctx, open: &[StoredAlert]) -> Vec<Tile> {
    let site = &ctx.site;
    let counts = site.counts();
    let tile = |title, path: &str, value: usize, of: String, health: Health| Tile {
        title,
        href: ctx.to(path),
        value: units::count(value as u64),
        of,
        state: health.state(),
        note: health.note(),
    };
    let health = |good: usize, all: usize, word| Health {
        bad: all.saturating_sub(good),
        all,
        word,
    };
    let members = Health::of(site.pool_members().map(|member| member.state), "down");
    let zone_members: usize = site.tunnel_zones().map(|zone| zone.ends.len()).sum();
    let connected = ctx.gateways.iter().filter(|gateway| gateway.disconnected_us.is_none()).count();
    vec![
        alerts(ctx, open),
        tile(
            "Hosts alive",
            "physical/hosts",
            counts.hosts_up,
            format!(" / {}", counts.hosts),
            health(counts.hosts_up, counts.hosts, "down"),
        ),
        tile(
            "Networks",
            "virtual/networks",
            counts.networks,
            String::new(),
            Health::of(site.networks().map(|network| network.state), "degraded"),
        ),
        tile(
            "Routers",
            "virtual/routers",
            counts.routers,
            String::new(),
            Health::of(site.routers().map(|router| router.state), "degraded"),
        ),
        tile(
            "Ports active",
            "virtual/ports",
            counts.ports_up,
            format!(" / {} bound", units::count(counts.ports_bound as u64)),
            health(counts.ports_up, counts.ports_bound, "down"),
        ),
        Tile {
            state: "",
            note: plural(zone_members, "member", "members"),
            ..tile(
                "Tunnel zones",
                "physical/tunnel-zones",
                counts.tunnel_zones,
                String::new(),
                health(0, 0, ""),
            )
        },
        tile(
            "VTEPs",
            "physical/vteps",
            counts.vteps,
            String::new(),
            Health::of(site.vteps().map(|vtep| vtep.state), "degraded"),
        ),
        Tile {
            note: if members.all == 0 {
                "no members".to_owned()
            } else {
                format!("{} of {} members up", members.all - members.bad, members.all)
            },
            ..tile("Load balancers", "virtual/load-balancers", counts.load_balancers, String::new(), members)
        },
        tile(
            "Gateways",
            "site",
            connected,
            format!(" / {} connected", ctx.gateways.len()),
            health(connected, ctx.gateways.len(), "away"),
        ),
    ]
}

/// Open alerts, and how many of them nobody looks after.
fn alerts(ctx: &Ctx, open: &[StoredAlert]) -> Tile {
    let fresh = open
        .iter()
        .filter(|alert| alert.acknowledged.is_none() && alert.silenced.is_none())
        .count();
    let worst = open.iter().filter(|alert| alert.unknown.is_none()).map(|alert| alert.says.level).max();
    Tile {
        title: "Open alerts",
        href: ctx.to("alerts"),
        value: units::count(open.len() as u64),
        of: String::new(),
        state: match (open.is_empty(), worst) {
            (true, _) => "up",
            (false, Some(Level::Error)) => "down",
            (false, Some(Level::Warning)) => "degraded",
            (false, _) => "unknown",
        },
        note: match (open.len(), fresh) {
            (0, _) => "nothing".to_owned(),
            (_, 0) => "all looked after".to_owned(),
            (_, fresh) => format!("{} new", units::count(fresh as u64)),
        },
    }
}
