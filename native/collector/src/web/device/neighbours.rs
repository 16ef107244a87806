// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A device and its direct neighbours, drawn in three columns; the same as a list beneath it.

use std::collections::HashMap;
use std::fmt::Write;

use uuid::Uuid;

use super::Device;
use crate::{
    query::traffic::PortTotal,
    site::{Kind, PortKind, Site, State},
    web::{chart::escape, context::Ctx, frame::state_class, units},
};

/// Nodes of one column; the rest is one node that leads to the list.
const COLUMN: usize = 12;

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) href: String,
    pub(crate) state: &'static str,
    /// Bytes over the edge in the period.
    pub(crate) bytes: f64,
    pub(crate) fold: bool,
}

#[derive(Default)]
pub(crate) struct Neighbours {
    pub(crate) left_title: &'static str,
    pub(crate) right_title: &'static str,
    pub(crate) left: Vec<Node>,
    pub(crate) right: Vec<Node>,
}

pub(crate) fn of(ctx: &Ctx, device: &Device, totals: &HashMap<Uuid, PortTotal>) -> Neighbours {
    let mut found = match device.kind {
        Kind::Network => network(ctx, device.id, totals),
        Kind::Router => router(ctx, device.id, totals),
        Kind::Port => port(ctx, device.id, totals),
        Kind::Host => host(ctx, device.id, totals),
        Kind::TunnelZone => tunnel_zone(ctx, device.id),
        Kind::LoadBalancer | Kind::Pool => balancing(ctx, device),
        Kind::Chain | Kind::Rule | Kind::SecurityGroup => filtering(ctx, device),
        Kind::FloatingIp => floating_ip(ctx, device.id),
        _ => Neighbours::default(),
    };
    let list = match device.kind {
        Kind::Network | Kind::Router => ctx.link("virtual/ports", &[("device", &device.id.to_string())]),
        Kind::Host => ctx.link("virtual/ports", &[("find", &device.object.name)]),
        _ => device.link(ctx, "configuration"),
    };
    fold(&mut found.left, &list);
    fold(&mut found.right, &list);
    found
}

fn node(ctx: &Ctx, id: Uuid, about: impl Into<String>, bytes: f64) -> Option<Node> {
    let object = ctx.site.describe(id)?;
    Some(Node {
        name: object.name,
        about: about.into(),
        href: ctx.to(&format!("d/{}/{id}", object.kind.slug())),
        state: state_class(object.state),
        bytes,
        fold: false,
    })
}

fn over(totals: &HashMap<Uuid, PortTotal>, port: Uuid) -> f64 {
    totals.get(&port).map_or(0.0, PortTotal::bytes)
}

fn port_about(site: &Site, id: Uuid) -> String {
    let Some(port) = site.port(id) else { return String::new() };
    let address = port.addresses.first().map(ToString::to_string);
    let host = port.host.map(|host| site.host_name(host));
    let parts: Vec<String> = address.into_iter().chain(host).collect();
    if parts.is_empty() {
        port.kind.label().to_owned()
    } else {
        parts.join(" · ")
    }
}

fn network(ctx: &Ctx, id: Uuid, totals: &HashMap<Uuid, PortTotal>) -> Neighbours {
    let mut found = Neighbours {
        left_title: "Routers and services",
        right_title: "Ports",
        ..Neighbours::default()
    };
    let Some(network) = ctx.site.network(id) else { return found };
    for port in network.ports.iter().filter_map(|port| ctx.site.port(*port)) {
        match (port.kind, port.peer.and_then(|peer| ctx.site.port(peer))) {
            (_, Some(peer)) => {
                let about = peer
                    .addresses
                    .first()
                    .map_or_else(|| "router".to_owned(), |address| format!("router · {address}"));
                found.left.extend(
                    peer.router
                        .or(peer.network)
                        .and_then(|device| node(ctx, device, about, over(totals, port.id))),
                );
            }
            (PortKind::Dhcp, _) => found.left.extend(node(
                ctx,
                port.id,
                format!("DHCP · {}", port.addresses.first().map_or_else(String::new, ToString::to_string)),
                over(totals, port.id),
            )),
            (PortKind::Vxlan, _) => found
                .left
                .extend(port.vtep.and_then(|vtep| node(ctx, vtep, "VTEP", over(totals, port.id)))),
            _ => found
                .right
                .extend(node(ctx, port.id, port_about(&ctx.site, port.id), over(totals, port.id))),
        }
    }
    busiest(&mut found.right);
    found
}

fn router(ctx: &Ctx, id: Uuid, totals: &HashMap<Uuid, PortTotal>) -> Neighbours {
    let mut found = Neighbours {
        left_title: "North",
        right_title: "Networks",
        ..Neighbours::default()
    };
    let Some(router) = ctx.site.router(id) else { return found };
    for port in router.ports.iter().filter_map(|port| ctx.site.port(*port)) {
        let bytes = over(totals, port.id);
        match port.kind {
            PortKind::Uplink => found.left.extend(node(
                ctx,
                port.id,
                format!("uplink · {}", port.host.map_or_else(String::new, |host| ctx.site.host_name(host))),
                bytes,
            )),
            PortKind::Gateway => found.left.extend(
                port.peer
                    .and_then(|peer| ctx.site.port_device(peer))
                    .and_then(|device| node(ctx, device, "external network", bytes)),
            ),
            _ => {
                let about = port.addresses.first().map_or_else(String::new, |address| format!("by {address}"));
                let other = port.peer.and_then(|peer| ctx.site.port_device(peer));
                found.right.extend(
                    other
                        .and_then(|device| node(ctx, device, about, bytes))
                        .or_else(|| node(ctx, port.id, port.kind.label(), bytes)),
                );
            }
        }
    }
    found
        .left
        .extend(router.load_balancer.and_then(|balancer| node(ctx, balancer, "load balancer", 0.0)));
    busiest(&mut found.right);
    found
}

fn port(ctx: &Ctx, id: Uuid, totals: &HashMap<Uuid, PortTotal>) -> Neighbours {
    let mut found = Neighbours {
        left_title: "Device",
        right_title: "Host or other end",
        ..Neighbours::default()
    };
    let Some(port) = ctx.site.port(id) else { return found };
    let bytes = over(totals, id);
    found.left.extend(port.network.and_then(|network| node(ctx, network, "network", bytes)));
    found.left.extend(port.router.and_then(|router| node(ctx, router, "router", bytes)));
    found
        .left
        .extend(port.security_groups.iter().filter_map(|group| node(ctx, *group, "security group", 0.0)));
    found.right.extend(
        port.host
            .and_then(|host| node(ctx, host, port.interface.clone().unwrap_or_default(), bytes)),
    );
    found.right.extend(
        port.peer
            .and_then(|peer| ctx.site.port_device(peer))
            .and_then(|device| node(ctx, device, "linked by its port", bytes)),
    );
    found
        .right
        .extend(port.floating_ips.iter().filter_map(|floating| node(ctx, *floating, "floating IP", 0.0)));
    found
}

fn host(ctx: &Ctx, id: Uuid, totals: &HashMap<Uuid, PortTotal>) -> Neighbours {
    let mut found = Neighbours {
        left_title: "Tunnel zones",
        right_title: "Ports bound here",
        ..Neighbours::default()
    };
    let Some(host) = ctx.site.host(id) else { return found };
    found.left.extend(
        host.tunnels
            .iter()
            .filter_map(|end| node(ctx, end.zone, format!("tunnel zone · {}", end.address), 0.0)),
    );
    for port in &host.ports {
        let device = ctx.site.port_device(*port).map_or_else(String::new, |device| ctx.site.name(device));
        found.right.extend(node(ctx, *port, device, over(totals, *port)));
    }
    busiest(&mut found.right);
    found
}

fn tunnel_zone(ctx: &Ctx, id: Uuid) -> Neighbours {
    let mut found = Neighbours {
        left_title: "VTEPs",
        right_title: "Members",
        ..Neighbours::default()
    };
    let Some(zone) = ctx.site.tunnel_zone(id) else { return found };
    found.left.extend(
        ctx.site
            .vteps()
            .filter(|vtep| vtep.tunnel_zone == Some(id))
            .filter_map(|vtep| node(ctx, vtep.id, "VTEP", 0.0)),
    );
    found
        .right
        .extend(zone.ends.iter().filter_map(|end| node(ctx, end.host, end.address.to_string(), 0.0)));
    // Those that are down first: they are what one looks for.
    found.right.sort_by_key(|node| (node.state == state_class(State::Up), node.name.clone()));
    found
}

fn balancing(ctx: &Ctx, device: &Device) -> Neighbours {
    let mut found = Neighbours {
        left_title: "In front",
        right_title: "Behind",
        ..Neighbours::default()
    };
    if let Some(balancer) = ctx.site.load_balancer(device.id) {
        found.left.extend(balancer.router.and_then(|router| node(ctx, router, "router", 0.0)));
        found.right.extend(balancer.pools.iter().filter_map(|pool| {
            let about = ctx
                .site
                .pool(*pool)
                .map_or_else(String::new, |pool| format!("pool · {} of {} up", pool.members_up, pool.members.len()));
            node(ctx, *pool, about, 0.0)
        }));
    } else if let Some(pool) = ctx.site.pool(device.id) {
        found
            .left
            .extend(pool.load_balancer.and_then(|balancer| node(ctx, balancer, "load balancer", 0.0)));
        found.left.extend(pool.vips.iter().filter_map(|vip| node(ctx, *vip, "VIP", 0.0)));
        found.right.extend(pool.members.iter().filter_map(|member| {
            let about = ctx
                .site
                .pool_member(*member)
                .and_then(|member| Some(format!("member · {}", member.address?)))
                .unwrap_or_default();
            node(ctx, *member, about, 0.0)
        }));
    }
    found
}

fn filtering(ctx: &Ctx, device: &Device) -> Neighbours {
    let mut found = Neighbours {
        left_title: "Used by",
        right_title: "Leads to",
        ..Neighbours::default()
    };
    let chain = match device.kind {
        Kind::Rule => ctx.site.rule(device.id).and_then(|rule| {
            found.left.extend(rule.chain.and_then(|chain| node(ctx, chain, "chain", 0.0)));
            found.right.extend(rule.jump_to.and_then(|chain| node(ctx, chain, "jump", 0.0)));
            found
                .right
                .extend(rule.security_groups.iter().filter_map(|group| node(ctx, *group, "security group", 0.0)));
            None
        }),
        Kind::SecurityGroup => {
            if let Some(group) = ctx.site.security_group(device.id) {
                found.right_title = "Members";
                found.left_title = "Chains";
                found.left.extend(
                    [group.inbound_chain, group.outbound_chain]
                        .into_iter()
                        .flatten()
                        .filter_map(|chain| node(ctx, chain, "chain", 0.0)),
                );
                found.right.extend(
                    group
                        .members
                        .iter()
                        .flat_map(|member| member.ports.iter())
                        .filter_map(|port| node(ctx, *port, port_about(&ctx.site, *port), 0.0)),
                );
            }
            None
        }
        _ => ctx.site.chain(device.id),
    };
    if let Some(chain) = chain {
        found
            .left
            .extend(chain.used_by.iter().filter_map(|used| node(ctx, used.id, used.role, 0.0)));
        let mut jumps: Vec<Uuid> = chain.rules.iter().filter_map(|rule| ctx.site.rule(*rule)?.jump_to).collect();
        jumps.sort_unstable();
        jumps.dedup();
        found.right.extend(jumps.into_iter().filter_map(|chain| node(ctx, chain, "jump", 0.0)));
    }
    found
}

fn floating_ip(ctx: &Ctx, id: Uuid) -> Neighbours {
    let mut found = Neighbours {
        left_title: "Outside",
        right_title: "Inside",
        ..Neighbours::default()
    };
    let Some(floating) = ctx.site.floating_ip(id) else { return found };
    found
        .left
        .extend(floating.network.and_then(|network| node(ctx, network, "external network", 0.0)));
    found.right.extend(floating.router.and_then(|router| node(ctx, router, "router", 0.0)));
    found
        .right
        .extend(floating.port.and_then(|port| node(ctx, port, port_about(&ctx.site, port), 0.0)));
    found
}

/// What is down first, then by traffic, then by name.
fn busiest(nodes: &mut [Node]) {
    nodes.sort_by(|a, b| {
        (b.state == "down")
            .cmp(&(a.state == "down"))
            .then_with(|| b.bytes.total_cmp(&a.bytes))
            .then_with(|| a.name.cmp(&b.name))
    });
}

fn fold(nodes: &mut Vec<Node>, list: &str) {
    if nodes.len() <= COLUMN {
        return;
    }
    let rest = nodes.split_off(COLUMN - 1);
    nodes.push(Node {
        name: format!("{} more", rest.len()),
        about: "as a list".to_owned(),
        href: list.to_owned(),
        state: "",
        bytes: rest.iter().map(|node| node.bytes).sum(),
        fold: true,
    });
}

/// The drawing: positions depend on the order alone, so that it stays as it is when figures move.
pub(crate) fn drawing(device: &Device, found: &Neighbours, seconds: f64) -> String {
    const ROW: usize = 46;
    const TOP: usize = 34;
    let rows = found.left.len().max(found.right.len()).max(1);
    let height = TOP + rows * ROW + 8;
    let centre = TOP + rows * ROW / 2;
    let most = found.left.iter().chain(&found.right).map(|node| node.bytes).fold(0.0, f64::max);
    let width = |bytes: f64| {
        if bytes <= 0.0 || most <= 0.0 {
            1.0
        } else {
            1.2 + 3.8 * (bytes / most).sqrt()
        }
    };
    let place = |at: usize, count: usize| TOP + (rows * ROW - count * ROW) / 2 + at * ROW;
    let mut out = format!(
        "<svg width=\"806\" height=\"{height}\" viewBox=\"0 0 806 {height}\" role=\"group\" aria-label=\"{} and its direct neighbours\">",
        escape(&device.object.name)
    );
    let title = |x: u32, text: &str| format!("<text class=\"col\" x=\"{x}\" y=\"18\">{}</text>", escape(text));
    out.push_str(&title(8, found.left_title));
    out.push_str(&title(272, &format!("This {}", device.kind.label())));
    out.push_str(&title(560, found.right_title));
    if most > 0.0 {
        out.push_str("<text class=\"col e\" x=\"802\" y=\"18\">in + out, mean</text>");
    }
    for (at, node) in found.left.iter().enumerate() {
        let y = place(at, found.left.len()) + 19;
        let _ = write!(
            out,
            "<path class=\"ed\" stroke-width=\"{:.1}\" d=\"M176 {y}C224 {y} 224 {centre} 272 {centre}\"/>",
            width(node.bytes)
        );
    }
    for (at, node) in found.right.iter().enumerate() {
        let y = place(at, found.right.len()) + 19;
        let _ = write!(
            out,
            "<path class=\"ed\" stroke-width=\"{:.1}\" d=\"M442 {centre}C501 {centre} 501 {y} 560 {y}\"/>",
            width(node.bytes)
        );
    }
    for (at, node) in found.left.iter().enumerate() {
        draw(&mut out, node, 8, place(at, found.left.len()), 168, 38, "");
    }
    let own = Node {
        name: device.object.name.clone(),
        about: device.kind.label().to_owned(),
        href: String::new(),
        state: state_class(device.object.state),
        bytes: 0.0,
        fold: false,
    };
    draw(&mut out, &own, 272, centre - 24, 170, 48, " self");
    for (at, node) in found.right.iter().enumerate() {
        let y = place(at, found.right.len());
        draw(&mut out, node, 560, y, 160, 38, "");
        if most > 0.0 {
            let rate = if node.bytes > 0.0 {
                units::bits_per_second(node.bytes * 8.0 / seconds)
            } else {
                "–".to_owned()
            };
            let _ = write!(out, "<text class=\"rate e\" x=\"802\" y=\"{}\">{rate}</text>", y + 23);
        }
    }
    out.push_str("</svg>");
    out
}

pub(crate) fn draw(out: &mut String, node: &Node, x: usize, y: usize, width: usize, height: usize, class: &str) {
    let bad = if node.state == "down" { " bad" } else { "" };
    let fold = if node.fold { " fold" } else { "" };
    // Inter's mean widths: 12 px semi-bold for names, 11 px regular for the line beneath.
    let room = (width - 34) * 10 / 66;
    let about_room = (width - 32) * 10 / 58;
    let (open, close) = if node.href.is_empty() {
        (String::new(), "")
    } else {
        (format!("<a href=\"{}\">", escape(&node.href)), "</a>")
    };
    let text = x + if node.state.is_empty() { 12 } else { 26 };
    let middle = y + height / 2;
    let _ = write!(
        out,
        "{open}<g class=\"nd{class}{bad}{fold}\"><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>",
        escape(
            &[node.name.as_str(), &node.about, node.state]
                .iter()
                .filter(|part| !part.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join(", ")
        )
    );
    if !node.state.is_empty() {
        let _ = write!(
            out,
            "<svg class=\"st-i is-{0}\" x=\"{1}\" y=\"{2}\" width=\"9\" height=\"9\"><use href=\"#s-{0}\"/></svg>",
            node.state,
            x + 10,
            if height < 30 { middle - 4 } else { middle - 12 }
        );
    }
    if height < 30 {
        let _ = write!(
            out,
            "<text class=\"nm\" x=\"{text}\" y=\"{}\">{}</text></g>{close}",
            middle + 4,
            escape(&cut(&node.name, room))
        );
        return;
    }
    let _ = write!(
        out,
        "<text class=\"nm\" x=\"{text}\" y=\"{}\">{}</text><text class=\"sb\" x=\"{text}\" y=\"{}\">{}</text></g>{close}",
        middle - 3,
        escape(&cut(&node.name, room)),
        middle + 12,
        escape(&cut(&node.about, about_room))
    );
}

/// As many characters as a box has room for.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        text.to_owned()
    } else {
        text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
    }
}
