// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A trace in words, device by device.

use insights_trace::{Doubt, End, Limit, Packet, Reason, Step, Trace, packet::ICMP};
use midonet::flow::{RuleHit, RuleResult};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    query::flows::protocol_name,
    site::{Kind, Site},
};

/// The way of one packet.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// `delivered`, `flooded`, `dropped`, `answered` or `unknown`.
    pub verdict: &'static str,
    /// The end in a sentence.
    pub end: String,
    pub before: String,
    pub after: String,
    pub stops: Vec<Stop>,
    /// What the topology alone doesn't decide.
    pub doubts: Vec<String>,
    /// The rule that decided to drop it.
    pub rule: Option<Uuid>,
    /// Ports by which it leaves the virtual network.
    pub out_ports: Vec<Uuid>,
}

/// A device on the way.
#[derive(Clone, Debug, Serialize)]
pub struct Stop {
    pub id: Uuid,
    pub kind: Kind,
    pub name: String,
    /// What it is, and which way the packet goes through it.
    pub about: String,
    /// What it did.
    pub notes: Vec<String>,
    pub chains: Vec<ChainStop>,
    /// The packet ended here.
    pub dropped: bool,
}

/// A chain with what was evaluated in it, nested chains included.
#[derive(Clone, Debug, Serialize)]
pub struct ChainStop {
    pub id: Uuid,
    pub title: String,
    pub rules: Vec<RuleLine>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RuleLine {
    pub id: Uuid,
    /// Place in its chain, from 1.
    pub number: Option<usize>,
    pub text: String,
    /// Of a chain that was jumped to.
    pub nested: bool,
    pub matched: bool,
    /// For example `accepted`, or `no match: destination port`.
    pub verdict: String,
    /// Ended the evaluation in favour, or against.
    pub accepted: bool,
    pub decided_drop: bool,
}

pub(super) fn way(site: &Site, trace: &Trace) -> Way {
    let mut stops: Vec<Stop> = Vec::new();
    // The device whose chains run: load balancers and pools have none.
    let mut filters = 0;
    for step in &trace.steps {
        match step {
            Step::Enter { port } => {
                filters = stops.len();
                stops.push(stop(site, *port, Kind::Port, "in by"));
            }
            Step::Leave { port } => {
                filters = stops.len();
                stops.push(stop(site, *port, Kind::Port, "out by"));
            }
            Step::Network { network } => {
                filters = stops.len();
                stops.push(stop(site, *network, Kind::Network, ""));
            }
            Step::Router { router } => {
                filters = stops.len();
                stops.push(stop(site, *router, Kind::Router, ""));
            }
            Step::Balancer { balancer } => stops.push(stop(site, *balancer, Kind::LoadBalancer, "")),
            Step::Pool { pool, members } => {
                let mut stop = stop(site, *pool, Kind::Pool, "");
                stop.notes.push(match members {
                    1 => "1 member is up".to_owned(),
                    count => format!("{count} members are up"),
                });
                stops.push(stop);
            }
            Step::Switched { to, .. } => note(
                &mut stops,
                filters,
                match to {
                    Some(port) => format!("knows the destination’s MAC behind {}", site.name(*port)),
                    None => "sends it to all its bound ports".to_owned(),
                },
            ),
            Step::Routed {
                destination: (prefix, length),
                gateway,
                port,
                route,
                ..
            } => {
                let learned = if route.is_none() { " (learned by BGP)" } else { "" };
                let by = port.map_or_else(String::new, |port| format!(" by {}", site.name(port)));
                let next = gateway.map_or_else(String::new, |gateway| format!(", next hop {gateway}"));
                note(&mut stops, filters, format!("route {prefix}/{length}{by}{next}{learned}"));
            }
            Step::Chain { chain, depth: 0 } => {
                if let Some(stop) = stops.get_mut(filters) {
                    let title = chain_title(site, *chain, stop);
                    stop.chains.push(ChainStop {
                        id: *chain,
                        title,
                        rules: Vec::new(),
                    });
                }
            }
            Step::Chain { .. } => {}
            Step::Rule { hit, depth, miss, .. } => {
                let verdict = match miss {
                    Some(part) => format!("no match: {part}"),
                    None => verdict(hit).to_owned(),
                };
                if let Some(chain) = stops.get_mut(filters).and_then(|stop| stop.chains.last_mut()) {
                    let known = site.rule(hit.id);
                    chain.rules.push(RuleLine {
                        id: hit.id,
                        number: known.as_ref().and_then(|rule| rule.position),
                        text: known.map_or_else(|| format!("rule {}", hit.id), |rule| rule.text),
                        nested: *depth > 0,
                        matched: hit.matched,
                        verdict,
                        accepted: hit.matched && hit.result == RuleResult::Accept,
                        decided_drop: hit.matched && matches!(hit.result, RuleResult::Drop | RuleResult::Reject),
                    });
                }
            }
            Step::Translated { dnat, undone, from, to, .. } => {
                let what = if *dnat != *undone { "destination" } else { "source" };
                let again = if *undone { " again" } else { "" };
                note(
                    &mut stops,
                    filters,
                    format!("{what} {}:{} becomes {}:{}{again}", from.0, from.1, to.0, to.1),
                );
            }
        }
    }
    for stop in &mut stops {
        // A chain without rules decides nothing.
        stop.chains.retain(|chain| !chain.rules.is_empty());
    }
    let (verdict, end) = end(site, &trace.end);
    if matches!(trace.end, End::Dropped(_))
        && let Some(last) = stops.get_mut(filters)
    {
        last.dropped = true;
    }
    Way {
        verdict,
        end,
        before: packet(&trace.before),
        after: packet(&trace.after),
        stops,
        doubts: trace.doubts.iter().map(|doubt| self::doubt(site, doubt)).collect(),
        rule: trace.deciding_rule(),
        out_ports: trace.out_ports().to_vec(),
    }
}

fn note(stops: &mut [Stop], at: usize, text: String) {
    if let Some(stop) = stops.get_mut(at) {
        stop.notes.push(text);
    }
}

fn stop(site: &Site, id: Uuid, kind: Kind, way: &str) -> Stop {
    let about = match (kind, site.port(id)) {
        (Kind::Port, Some(port)) => {
            let on = port.host.map_or_else(String::new, |host| format!(" on {}", site.host_name(host)));
            format!("{way} this {}{on}", port.kind.label())
        }
        _ => kind.label().to_owned(),
    };
    Stop {
        id,
        kind,
        name: site.name(id),
        about,
        notes: Vec::new(),
        chains: Vec::new(),
        dropped: false,
    }
}

fn chain_title(site: &Site, chain: Uuid, stop: &Stop) -> String {
    let Some(known) = site.chain(chain) else {
        return "chain".to_owned();
    };
    let role = known.used_by.iter().find(|used| used.id == stop.id).map(|used| used.role);
    role.map_or(known.name, |role| format!("{role} of the {}", stop.kind.label()))
}

fn verdict(hit: &RuleHit) -> &'static str {
    match hit.result {
        RuleResult::Accept => "accepted",
        RuleResult::Continue => "went on",
        RuleResult::Drop => "DROP",
        RuleResult::Jump => "jumped",
        RuleResult::Reject => "REJECT",
        RuleResult::Return => "returned",
        RuleResult::Redirect => "redirected",
        RuleResult::Unknown(_) => "matched",
    }
}

fn packet(packet: &Packet) -> String {
    let side = |address: Option<std::net::IpAddr>, port: u16, mac: midonet::Mac| match address {
        Some(address) if matches!(packet.proto, 6 | 17) && packet.ether_type != 0x0806 => match address {
            std::net::IpAddr::V4(address) => format!("{address}:{port}"),
            std::net::IpAddr::V6(address) => format!("[{address}]:{port}"),
        },
        Some(address) => address.to_string(),
        None => mac.to_string(),
    };
    let name = match (packet.ether_type, packet.proto) {
        (0x0806, _) => "ARP".to_owned(),
        (0x0800, ICMP) if packet.src_port == 8 => "ICMP echo".to_owned(),
        (0x0800 | 0x86dd, proto) => protocol_name(proto),
        (other, _) => format!("0x{other:04x}"),
    };
    format!(
        "{name} {} → {}",
        side(packet.src, packet.src_port, packet.eth_src),
        side(packet.dst, packet.dst_port, packet.eth_dst)
    )
}

/// What became of it: a word and a sentence.
pub(super) fn end(site: &Site, end: &End) -> (&'static str, String) {
    let name = |id: &Uuid| site.name(*id);
    match end {
        End::Delivered(port) => {
            let host = site.port(*port).and_then(|port| port.host).map(|host| site.host_name(host));
            let on = host.map_or_else(String::new, |host| format!(", on {host}"));
            ("delivered", format!("It leaves the virtual network by {}{on}.", name(port)))
        }
        End::Flooded(ports) => ("flooded", format!("It leaves by {} ports of the network.", ports.len())),
        End::Answered { device } => ("answered", format!("{} answers it itself.", name(device))),
        End::Dropped(reason) => ("dropped", dropped(site, reason)),
        End::Unknown(limit) => (
            "unknown",
            match limit {
                Limit::Redirect => "A rule sends it to the port of an inserted service. What the service does with it is not known here.",
                Limit::Fip64 => "A route translates it between IPv4 and IPv6. That is not modelled.",
                Limit::Vtep => "It goes to a VTEP, behind which nothing is known here.",
                Limit::VlanPorts => "The network sorts frames by VLAN into ports of their own. That is not modelled.",
            }
            .to_owned(),
        ),
    }
}

fn dropped(site: &Site, reason: &Reason) -> String {
    let name = |id: &Uuid| site.name(*id);
    match reason {
        Reason::Rule { rule, rejected, .. } => {
            let text = site.rule(*rule).map_or_else(|| rule.to_string(), |rule| rule.text);
            let how = if *rejected { "rejects" } else { "drops" };
            format!("The rule “{text}” {how} it.")
        }
        Reason::AdminDown(id) => format!("{} is switched off.", name(id)),
        Reason::Unplugged(id) => format!("{} is neither bound to a host nor linked to another device.", name(id)),
        Reason::NotForRouter(id) => format!("The frame is not addressed to {}.", name(id)),
        Reason::NotRoutable(id) => format!("{} routes IPv4 only.", name(id)),
        Reason::NoRoute(id) => format!("{} has no route to the destination.", name(id)),
        Reason::Blackhole { router, .. } => format!("A route of {} drops it (blackhole).", name(router)),
        Reason::RejectedByRoute { router, .. } => format!("A route of {} rejects it.", name(router)),
        Reason::RouterItself(id) => format!("It is for {} itself, which serves nothing there.", name(id)),
        Reason::TimeToLive(id) => format!("Its time to live ends at {}.", name(id)),
        Reason::NobodyAnswers { router, address } => format!("{} knows nobody who has {address}.", name(router)),
        Reason::NoMember(pool) => format!("No member of {} is up.", name(pool)),
        Reason::SamePort(id) => format!("The destination is behind {}, by which it came.", name(id)),
        Reason::NobodyElse(id) => format!("It is for all of {}, and nobody else takes it.", name(id)),
        Reason::TooManyDevices => "It goes in a circle: MidoNet gives up after 12 ports.".to_owned(),
        Reason::Missing(id) => format!("The topology lacks {id}, which it names."),
    }
}

fn doubt(site: &Site, doubt: &Doubt) -> String {
    let name = |id: &Uuid| site.name(*id);
    match doubt {
        Doubt::EqualRoutes { router, count } => format!(
            "{} has {count} equal routes; the agent chooses one by a hash of the flow. This is the first.",
            name(router)
        ),
        Doubt::Member { pool, count } => format!("The agent takes one of {count} members of {}. This is the first.", name(pool)),
        Doubt::Source { device } => format!("{} takes a free port out of a range; this is one of them.", name(device)),
        Doubt::Neighbour { router, address } => format!("{} has not asked for {address} yet; it is taken to answer.", name(router)),
        Doubt::Inactive { port } => format!("{} is not up at its host: nobody takes the packet there.", name(port)),
        Doubt::Insertion { port } => format!("A service is inserted before {}; its chains are not walked.", name(port)),
        Doubt::LocalRedirect { router } => format!("{} may redirect what is for itself; that chain is not walked.", name(router)),
        Doubt::MemberStates { pool } => format!("Nobody says whether monitored members of {} answer; they are taken to.", name(pool)),
        Doubt::Jump { rule } => {
            let text = site.rule(*rule).map_or_else(|| rule.to_string(), |rule| rule.text);
            format!("The rule “{text}” jumps to a chain that was walked already, or is not there.")
        }
    }
}
