// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is wrong now, in a sentence: told from states, gateways and losses.

use crate::{
    site::State,
    web::{
        context::Ctx,
        units::{self, plural},
    },
};

/// Names in one piece of the sentence; more are counted.
const NAMED: usize = 3;

/// A piece of the sentence.
pub(super) struct Verdict {
    pub(super) state: &'static str,
    pub(super) what: String,
    /// Names and where they lead.
    pub(super) links: Vec<(String, String)>,
    pub(super) rest: String,
}

/// The pieces, or one that says that all is well.
pub(super) fn verdicts(ctx: &Ctx, lost_records: u64) -> Vec<Verdict> {
    let site = &ctx.site;
    let device = |kind: &str, id: uuid::Uuid| ctx.to(&format!("d/{kind}/{id}"));
    let bad = |state: State| matches!(state, State::Down | State::Degraded);
    let since = |at: Option<i64>| at.map_or_else(String::new, |at| format!("since {}", units::since(at, ctx.now_us)));

    let mut away: Vec<_> = ctx.gateways.iter().filter(|gateway| gateway.disconnected_us.is_some()).collect();
    away.sort_by_key(|gateway| std::cmp::Reverse(gateway.disconnected_us));
    let away_since = since(away.first().and_then(|gateway| gateway.disconnected_us));
    let away_state = if away.len() == ctx.gateways.len() { "down" } else { "degraded" };
    let away = away
        .iter()
        .map(|gateway| (gateway.name.clone(), ctx.to(&format!("site/gateways/{}", gateway.id))));
    let mut hosts: Vec<_> = site.hosts().filter(|host| host.state == State::Down).collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(host.since_us));
    let hosts_since = since(hosts.first().and_then(|host| host.since_us));
    let hosts = hosts.into_iter().map(|host| (host.name, device("host", host.id)));
    let peers = site.bgp_peers().filter(|peer| peer.state == State::Down).map(|peer| {
        let name = peer.address.map_or_else(|| "peer".to_owned(), |address| address.to_string());
        (name, device("bgp_peer", peer.id))
    });
    let vteps = site
        .vteps()
        .filter(|vtep| bad(vtep.state))
        .map(|vtep| (vtep.name, device("vtep", vtep.id)));
    let pools = site
        .pools()
        .filter(|pool| bad(pool.state))
        .map(|pool| (pool.name, device("pool", pool.id)));

    let mut found: Vec<Verdict> = [
        piece(away_state, ("gateway", "gateways"), "away", away.collect(), away_since),
        piece("down", ("host", "hosts"), "down", hosts.collect(), hosts_since),
        piece("degraded", ("BGP session", "BGP sessions"), "down", peers.collect(), String::new()),
        piece("degraded", ("VTEP", "VTEPs"), "degraded", vteps.collect(), String::new()),
        piece(
            "degraded",
            ("load-balancer pool", "load-balancer pools"),
            "degraded",
            pools.collect(),
            String::new(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if lost_records > 0 {
        found.push(Verdict {
            state: "degraded",
            what: plural(lost_records as usize, "record lost", "records lost"),
            links: vec![("where".to_owned(), ctx.link("events", &[("kind", "loss")]))],
            rest: format!("in the {}", ctx.spec.title().to_lowercase()),
        });
    }
    if found.is_empty() {
        let hosts = site.counts().hosts;
        let (state, what) = if ctx.gateways.is_empty() {
            ("unknown", "No gateway has connected yet".to_owned())
        } else {
            ("up", format!("All {hosts} hosts alive, all gateways connected"))
        };
        found.push(Verdict {
            state,
            what,
            links: Vec::new(),
            rest: String::new(),
        });
    }
    found
}

/// The gravest of the states.
pub(super) fn worst(verdicts: &[Verdict]) -> &'static str {
    let gravity = |state: &&str| ["up", "unknown", "degraded", "down"].iter().position(|known| known == state);
    verdicts.iter().map(|verdict| verdict.state).max_by_key(gravity).unwrap_or("up")
}

fn piece(state: &'static str, (one, many): (&str, &str), word: &str, mut links: Vec<(String, String)>, mut rest: String) -> Option<Verdict> {
    let count = links.len();
    if count == 0 {
        return None;
    }
    links.truncate(NAMED);
    if count > NAMED {
        rest = format!("and {} more {rest}", count - NAMED);
    }
    Some(Verdict {
        state,
        what: format!("{} {word}", plural(count, one, many)),
        links,
        rest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_are_named_and_the_rest_counted() {
        let links = |count: usize| (0..count).map(|n| (format!("h{n}"), String::new())).collect::<Vec<_>>();
        assert!(piece("down", ("host", "hosts"), "down", links(0), String::new()).is_none());
        let one = piece("down", ("host", "hosts"), "down", links(1), "since 10:00".into()).unwrap();
        assert_eq!((one.what.as_str(), one.rest.as_str()), ("1 host down", "since 10:00"));
        let five = piece("down", ("host", "hosts"), "down", links(5), "since 10:00".into()).unwrap();
        assert_eq!((five.what.as_str(), five.links.len()), ("5 hosts down", 3));
        assert_eq!(five.rest, "and 2 more since 10:00");
    }
}
