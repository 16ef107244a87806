// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the topology of now says of hosts, ports, BGP sessions, VTEPs and pool members.

use std::collections::BTreeMap;

use insights_store::catalog::Level;
use uuid::Uuid;

use super::{
    About,
    machine::{Finding, Key, Others, RuleFacts, Seen},
    rules::{BGP_DOWN, HOST_DOWN, MEMBER_INACTIVE, PORT_DOWN, VTEP_ERROR, built_in},
};
use crate::site::{Kind, Port, PortKind, Site, State};

/// The rules that are answered from the topology.
pub(super) const RULES: [&str; 5] = [HOST_DOWN, PORT_DOWN, BGP_DOWN, VTEP_ERROR, MEMBER_INACTIVE];

const WITHHELD: &str = "the site does not say in which state it is";

type Found = BTreeMap<String, Seen>;

/// What the rules find. A walk over all ports: some tens of milliseconds with 100,000 of them.
pub(super) fn facts(site: &Site) -> Vec<RuleFacts> {
    RULES
        .iter()
        .filter_map(|rule| {
            let seen = match *rule {
                HOST_DOWN => hosts(site),
                PORT_DOWN => ports(site),
                BGP_DOWN => Some(peers(site)),
                VTEP_ERROR => Some(vteps(site)),
                _ => Some(members(site)),
            };
            let others = if seen.is_some() {
                Others::Fine
            } else {
                Others::Unknown(WITHHELD.to_owned())
            };
            let facts = rule_facts(rule, seen.unwrap_or_default())?;
            Some(RuleFacts { others, ..facts })
        })
        .collect()
}

/// Facts of a built-in rule that is known for all its subjects.
pub(super) fn rule_facts(rule: &str, seen: Found) -> Option<RuleFacts> {
    let rule = built_in(rule)?;
    Some(RuleFacts {
        rule: rule.id.to_owned(),
        hold_us: rule.hold_us,
        clear_us: rule.clear_us,
        seen,
        others: Others::Fine,
    })
}

fn trouble(level: Level, text: String, about: &About, since_us: Option<i64>, cause: Option<Key>) -> Seen {
    Seen::Trouble(Finding {
        level,
        text,
        about: about.json(),
        since_us,
        value: None,
        threshold: None,
        adds: false,
        cause,
    })
}

fn not_known() -> Seen {
    Seen::Unknown(WITHHELD.to_owned())
}

/// `None` when the site tells no states at all.
fn hosts(site: &Site) -> Option<Found> {
    let mut found = Found::new();
    for id in site.ids_of_class("Host") {
        let (state, since_us) = site.host_state(id);
        match state {
            State::Down => {
                let name = site.host_name(id);
                let text = format!("Host {name} is down");
                let about = About::object(Kind::Host, id, name, None);
                found.insert(id.to_string(), trouble(Level::Error, text, &about, since_us, None));
            }
            State::Unknown => return None,
            _ => {}
        }
    }
    Some(found)
}

/// Trouble of a host that is down.
fn host_down(site: &Site, host: Uuid) -> Option<Key> {
    (site.host_state(host).0 == State::Down).then(|| (HOST_DOWN.to_owned(), host.to_string()))
}

/// `None` when the site tells no states at all.
fn ports(site: &Site) -> Option<Found> {
    let mut found = Found::new();
    for id in site.ids_of_class("Port") {
        match site.port_state(id).0 {
            State::Down => {
                if let Some(port) = site.port(id) {
                    found.insert(id.to_string(), port_down(site, port));
                }
            }
            State::Unknown => return None,
            _ => {}
        }
    }
    Some(found)
}

fn port_down(site: &Site, port: Port) -> Seen {
    let level = if port.kind == PortKind::Uplink { Level::Error } else { Level::Warning };
    let at = port.host.map_or_else(String::new, |host| format!(" at {}", site.host_name(host)));
    let text = format!("{} {} is down{at}", sentence_case(port.kind.label()), port.name);
    let cause = port.host.and_then(|host| host_down(site, host));
    let about = About::object(Kind::Port, port.id, port.name, port.tenant);
    trouble(level, text, &about, port.since_us, cause)
}

fn peers(site: &Site) -> Found {
    let mut found = Found::new();
    for peer in site.bgp_peers() {
        match peer.state {
            State::Down => {
                let address = peer.address.map_or_else(|| "unknown address".to_owned(), |address| address.to_string());
                let router = peer.router.and_then(|router| site.router(router));
                let name = router.as_ref().map_or_else(String::new, |router| format!(" of router {}", router.name));
                let says = peer.session.map_or_else(String::new, |session| format!(": {session}"));
                let text = format!("BGP session with {address}{name} is down{says}");
                let tenant = router.as_ref().and_then(|router| router.tenant.clone());
                let about = About::object(Kind::BgpPeer, peer.id, address, tenant);
                // Its router has no other way out.
                let uplinks = router.map(|router| router.uplinks).unwrap_or_default();
                let mut down = uplinks.iter().map(|port| host_down(site, site.port(*port)?.host?));
                let cause = down.next().flatten().filter(|_| down.all(|cause| cause.is_some()));
                found.insert(peer.id.to_string(), trouble(Level::Error, text, &about, None, cause));
            }
            State::Unknown => _ = found.insert(peer.id.to_string(), not_known()),
            _ => {}
        }
    }
    found
}

fn vteps(site: &Site) -> Found {
    let mut found = Found::new();
    for vtep in site.vteps() {
        match vtep.state {
            State::Down | State::Degraded => {
                let text = format!("VTEP {} is not connected", vtep.name);
                let about = About::object(Kind::Vtep, vtep.id, vtep.name, None);
                found.insert(vtep.id.to_string(), trouble(Level::Error, text, &about, None, None));
            }
            State::Unknown => _ = found.insert(vtep.id.to_string(), not_known()),
            _ => {}
        }
    }
    found
}

fn members(site: &Site) -> Found {
    let mut found = Found::new();
    for member in site.pool_members() {
        match member.state {
            State::Down => {
                let pool = member.pool.and_then(|pool| site.pool(pool));
                let of = pool.map_or_else(String::new, |pool| format!(" of pool {}", pool.name));
                let text = format!("Pool member {}{of} is inactive", member.name);
                let host = member.network_port.and_then(|port| site.port(port)?.host);
                let cause = host.and_then(|host| host_down(site, host));
                let about = About::object(Kind::PoolMember, member.id, member.name, member.tenant);
                found.insert(member.id.to_string(), trouble(Level::Warning, text, &about, None, cause));
            }
            State::Unknown => _ = found.insert(member.id.to_string(), not_known()),
            _ => {}
        }
    }
    found
}

/// The first letter of a text as a capital.
fn sentence_case(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::TopologyEffect;

    use super::*;
    use crate::{alerts::machine::Machine, site::golden_tests::golden_site};

    /// What the rule finds: its subjects, and what they follow from.
    fn of_rule(site: &Site, rule: &str) -> Vec<(String, Option<Key>)> {
        let facts = facts(site);
        let facts = facts.iter().find(|facts| facts.rule == rule).unwrap();
        let each = facts.seen.iter().filter_map(|(subject, seen)| match seen {
            Seen::Trouble(finding) => Some((subject.clone(), finding.cause.clone())),
            Seen::Unknown(_) => None,
        });
        each.collect()
    }

    #[test]
    fn a_host_that_goes_takes_its_ports_along() {
        let mut site = golden_site();
        let before = of_rule(&site, PORT_DOWN).len();
        let host = site
            .hosts()
            .find(|host| host.state == State::Up && host.ports_up > 1)
            .expect("a host with ports");
        let mut machine = Machine::default();
        machine.step(0, &facts(&site));
        machine.step(60_000_000, &facts(&site));
        let open = machine.open();
        let mut gone = vec![format!("zoom/0/state/{0}/Host/{0}/alive", host.id)];
        gone.extend(host.ports.iter().map(|port| format!("zoom/0/state/{}/Port/{port}/active", host.id)));
        for path in gone {
            site.apply(&TopologyEffect::Delete { path, at_us: 5 });
        }
        assert!(of_rule(&site, HOST_DOWN).iter().any(|(subject, _)| *subject == host.id.to_string()));
        let ports = of_rule(&site, PORT_DOWN);
        assert!(ports.len() > before + 1);
        let cause = Some((HOST_DOWN.to_owned(), host.id.to_string()));
        assert_eq!(ports.iter().filter(|(_, of)| *of == cause).count(), host.ports_up);
        machine.step(120_000_000, &facts(&site));
        machine.step(180_000_000, &facts(&site));
        assert_eq!(machine.open(), open + 1, "the host alone");
    }

    #[test]
    fn states_that_the_site_withholds_are_not_trouble() {
        let all = facts(&Site::default());
        assert!(all.iter().all(|facts| facts.seen.is_empty()));
        assert_eq!(sentence_case("VM port"), "VM port");
        assert_eq!(sentence_case("uplink"), "Uplink");
    }
}
