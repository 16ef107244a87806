// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What matters of each kind of device, in a few lines.

use std::net::IpAddr;

use uuid::Uuid;

use super::Device;
use crate::{
    site::{Kind, Port, PortKind, State},
    web::{context::Ctx, units},
};

/// Names in one line; more are counted.
const NAMED: usize = 4;

/// A line: texts with where they lead.
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) parts: Vec<(String, String)>,
}

struct Facts<'a> {
    ctx: &'a Ctx,
    facts: Vec<Fact>,
}

impl Facts<'_> {
    fn text(&mut self, name: &'static str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.facts.push(Fact {
                name,
                parts: vec![(text, String::new())],
            });
        }
    }

    fn maybe(&mut self, name: &'static str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.text(name, value.to_string());
        }
    }

    fn link(&mut self, name: &'static str, kind: Kind, id: Option<Uuid>) {
        self.links(name, kind, id.as_slice());
    }

    fn links(&mut self, name: &'static str, kind: Kind, ids: &[Uuid]) {
        if ids.is_empty() {
            return;
        }
        let mut parts: Vec<_> = ids
            .iter()
            .take(NAMED)
            .map(|id| (self.ctx.site.name(*id), self.ctx.to(&format!("d/{}/{id}", kind.slug()))))
            .collect();
        if ids.len() > NAMED {
            parts.push((format!("{} more", ids.len() - NAMED), String::new()));
        }
        self.facts.push(Fact { name, parts });
    }

    fn addresses(&mut self, name: &'static str, addresses: &[IpAddr]) {
        self.text(name, addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }

    fn admin(&mut self, up: bool) {
        self.text("Admin state", if up { "up" } else { "down" });
    }
}

pub(crate) fn of(ctx: &Ctx, device: &Device) -> Vec<Fact> {
    let mut facts = Facts { ctx, facts: Vec::new() };
    let id = device.id;
    match device.kind {
        Kind::Host => host(&mut facts, id),
        Kind::TunnelZone => tunnel_zone(&mut facts, id),
        Kind::Vtep => vtep(&mut facts, id),
        Kind::Network => network(&mut facts, id),
        Kind::Router => router(&mut facts, id),
        Kind::Port => {
            if let Some(port) = ctx.site.port(id) {
                self::port(&mut facts, &port);
            }
        }
        Kind::Chain | Kind::Rule | Kind::SecurityGroup => filtering(&mut facts, device.kind, id),
        Kind::LoadBalancer | Kind::Pool | Kind::PoolMember | Kind::Vip | Kind::HealthMonitor => balancing(&mut facts, device.kind, id),
        _ => others(&mut facts, device.kind, id),
    }
    facts.text("Class", device.object.class.clone());
    facts.facts
}

fn host(facts: &mut Facts<'_>, id: Uuid) {
    let Some(host) = facts.ctx.site.host(id) else { return };
    facts.text(
        if host.state == State::Up { "Alive since" } else { "Not alive since" },
        host.since_us.map_or_else(String::new, units::full),
    );
    for end in &host.tunnels {
        let zone = (facts.ctx.site.name(end.zone), facts.ctx.to(&format!("d/tunnel_zone/{}", end.zone)));
        facts.facts.push(Fact {
            name: "Tunnel address",
            parts: vec![(format!("{} in", end.address), String::new()), zone],
        });
    }
    facts.text("Ports", format!("{} bound, {} active", host.ports.len(), host.ports_up));
    let up = host.interfaces.iter().filter(|interface| interface.up).count();
    let when = if host.interfaces_current { "" } else { ", last known" };
    facts.text("Interfaces", format!("{}, {up} up{when}", host.interfaces.len()));
    facts.maybe("Containers", host.containers);
    facts.text("Container weight", host.container_weight.to_string());
    facts.text("Flooding proxy", format!("weight {}", host.flooding_proxy_weight));
}

fn tunnel_zone(facts: &mut Facts<'_>, id: Uuid) {
    let Some(zone) = facts.ctx.site.tunnel_zone(id) else { return };
    facts.text("Encapsulation", zone.encapsulation.clone());
    facts.text("Members", format!("{}, {} alive", zone.ends.len(), zone.hosts_up));
    facts.links("Hosts", Kind::Host, &zone.ends.iter().map(|end| end.host).collect::<Vec<_>>());
    facts.link("Flooding proxy", Kind::Host, zone.flooding_proxy.map(|(host, _)| host));
}

fn vtep(facts: &mut Facts<'_>, id: Uuid) {
    let Some(vtep) = facts.ctx.site.vtep(id) else { return };
    facts.text("Description", vtep.description.clone());
    facts.text(
        "Management",
        vtep.management
            .map_or_else(String::new, |address| format!("{address} port {}", vtep.management_port.unwrap_or(6632))),
    );
    facts.addresses("Tunnel addresses", &vtep.tunnel_addresses);
    facts.link("Tunnel zone", Kind::TunnelZone, vtep.tunnel_zone);
    for binding in vtep.bindings.iter().take(NAMED) {
        let port = format!("{}, VLAN {} to", binding.port_name, binding.vlan.unwrap_or(0));
        let network = binding
            .network
            .map(|network| (facts.ctx.site.name(network), facts.ctx.to(&format!("d/network/{network}"))));
        facts.facts.push(Fact {
            name: "Binding",
            parts: [(port, String::new())].into_iter().chain(network).collect(),
        });
    }
}

fn network(facts: &mut Facts<'_>, id: Uuid) {
    let Some(network) = facts.ctx.site.network(id) else { return };
    for subnet in network.subnets.iter().filter_map(|subnet| facts.ctx.site.subnet(*subnet)) {
        let prefix = subnet.prefix.map_or_else(|| subnet.name.clone(), |prefix| prefix.to_string());
        let gateway = subnet.gateway.map_or_else(String::new, |gateway| format!("gateway {gateway}"));
        facts.facts.push(Fact {
            name: "Subnet",
            parts: vec![(prefix, facts.ctx.to(&format!("d/subnet/{}", subnet.id))), (gateway, String::new())],
        });
    }
    let ports: Vec<Port> = network.ports.iter().filter_map(|port| facts.ctx.site.port(*port)).collect();
    let vms = ports.iter().filter(|port| matches!(port.kind, PortKind::Vm | PortKind::Unbound)).count();
    let down = ports.iter().filter(|port| port.state == State::Down).count();
    let down = if down > 0 { format!(", {down} down") } else { String::new() };
    facts.text("Ports", format!("{}, {vms} of VMs{down}", ports.len()));
    facts.links("Router", Kind::Router, &network.routers);
    let kind = match (network.external, network.uplink, network.shared) {
        (_, true, _) => "uplink",
        (true, ..) => "external",
        (.., true) => "shared",
        _ => "",
    };
    facts.text("Kind", kind);
    facts.link("Inbound chain", Kind::Chain, network.inbound_chain);
    facts.link("Outbound chain", Kind::Chain, network.outbound_chain);
    facts.links("Mirrors", Kind::Mirror, &network.mirrors);
    facts.link("QoS policy", Kind::QosPolicy, network.qos_policy);
    facts.maybe("VNI", network.vni);
    facts.admin(network.admin_up);
    facts.text("MACs known", facts.ctx.site.mac_table(id).len().to_string());
}

fn router(facts: &mut Facts<'_>, id: Uuid) {
    let Some(router) = facts.ctx.site.router(id) else { return };
    facts.text("Kind", if router.edge { "edge router" } else { "tenant router" });
    facts.text("Ports", router.ports.len().to_string());
    facts.links("Uplinks", Kind::Port, &router.uplinks);
    facts.link("Gateway port", Kind::Port, router.gateway);
    facts.links("Networks", Kind::Network, &router.networks);
    let learned: usize = router
        .ports
        .iter()
        .filter_map(|port| facts.ctx.site.port(*port))
        .map(|port| port.learned_routes)
        .sum();
    let learned = if learned > 0 { format!(", {learned} learned") } else { String::new() };
    facts.text("Routes", format!("{} configured{learned}", router.routes.len()));
    facts.maybe("AS number", router.as_number);
    facts.links("BGP peers", Kind::BgpPeer, &router.bgp_peers);
    facts.link("Load balancer", Kind::LoadBalancer, router.load_balancer);
    facts.link("Pre-routing", Kind::Chain, router.inbound_chain);
    facts.link("Post-routing", Kind::Chain, router.outbound_chain);
    facts.link("Forward chain", Kind::Chain, router.forward_chain);
    facts.link("Redirect chain", Kind::Chain, router.redirect_chain);
    facts.admin(router.admin_up);
    facts.text("ARP entries", facts.ctx.site.arp_table(id).len().to_string());
}

fn port(facts: &mut Facts<'_>, port: &Port) {
    facts.link("Network", Kind::Network, port.network);
    facts.link("Router", Kind::Router, port.router);
    facts.addresses("Addresses", &port.addresses);
    facts.maybe("MAC", port.mac);
    facts.link("Host", Kind::Host, port.host);
    facts.text("Interface", port.interface.clone().unwrap_or_default());
    if port.previous_host.is_some_and(|previous| Some(previous) != port.host) {
        facts.link("Migrated from", Kind::Host, port.previous_host);
    }
    if let Some(peer) = port.peer {
        let device = facts.ctx.site.port_device(peer);
        let mut parts = vec![(facts.ctx.site.name(peer), facts.ctx.to(&format!("d/port/{peer}")))];
        if let Some(object) = device.and_then(|id| facts.ctx.site.describe(id)) {
            parts.push(("of".to_owned(), String::new()));
            parts.push((object.name, facts.ctx.to(&format!("d/{}/{}", object.kind.slug(), object.id))));
        }
        facts.facts.push(Fact { name: "Linked to", parts });
    }
    facts.text("VM", port.vm.clone().unwrap_or_default());
    facts.links("Security groups", Kind::SecurityGroup, &port.security_groups);
    facts.links("Floating IPs", Kind::FloatingIp, &port.floating_ips);
    facts.link("Inbound chain", Kind::Chain, port.inbound_chain);
    facts.link("Outbound chain", Kind::Chain, port.outbound_chain);
    facts.links("Port groups", Kind::PortGroup, &port.port_groups);
    facts.link("VTEP", Kind::Vtep, port.vtep);
    facts.maybe("VLAN", port.vlan);
    facts.maybe("VNI", port.vni);
    facts.maybe("Tunnel key", port.tunnel_key);
    facts.text("BGP", port.bgp_status.clone().unwrap_or_default());
    if port.learned_routes > 0 {
        facts.text("Learned routes", port.learned_routes.to_string());
    }
    facts.admin(port.admin_up);
}

fn filtering(facts: &mut Facts<'_>, kind: Kind, id: Uuid) {
    if let Some(chain) = (kind == Kind::Chain).then(|| facts.ctx.site.chain(id)).flatten() {
        facts.text("Rules", chain.rules.len().to_string());
        for used in chain.used_by.iter().take(8) {
            let name = (facts.ctx.site.name(used.id), facts.ctx.to(&format!("d/{}/{}", used.kind.slug(), used.id)));
            facts.facts.push(Fact {
                name: "Used by",
                parts: vec![name, (used.role.to_owned(), String::new())],
            });
        }
    }
    if let Some(rule) = (kind == Kind::Rule).then(|| facts.ctx.site.rule(id)).flatten() {
        facts.text("Action", rule.action.to_lowercase());
        facts.text("Type", rule.rule_type.to_lowercase().replace('_', " "));
        facts.link("Chain", Kind::Chain, rule.chain);
        facts.maybe("Place", rule.position);
        facts.text("Where", super::rule_place(&facts.ctx.site, &rule));
        facts.link("Jumps to", Kind::Chain, rule.jump_to);
        facts.links("Security groups", Kind::SecurityGroup, &rule.security_groups);
        let id = rule.id.to_string();
        let edits = crate::query::what_if::Edit::ALL.iter();
        let parts = edits
            .map(|(_, word, says)| (format!("{says}?"), facts.ctx.link("what-if", &[("rule", &id), ("edit", word)])))
            .collect();
        facts.facts.push(Fact { name: "What if it", parts });
    }
    if let Some(group) = (kind == Kind::SecurityGroup).then(|| facts.ctx.site.security_group(id)).flatten() {
        facts.text("Description", group.description.clone());
        for rule in group.rules.iter().take(12) {
            facts.text(if rule.ingress { "In" } else { "Out" }, rule.text.clone());
        }
        facts.text("Addresses", group.members.len().to_string());
        facts.links(
            "Ports",
            Kind::Port,
            &group.members.iter().flat_map(|member| member.ports.iter().copied()).collect::<Vec<_>>(),
        );
        facts.link("Inbound chain", Kind::Chain, group.inbound_chain);
        facts.link("Outbound chain", Kind::Chain, group.outbound_chain);
    }
}

fn balancing(facts: &mut Facts<'_>, kind: Kind, id: Uuid) {
    let site = facts.ctx.site.clone();
    match kind {
        Kind::LoadBalancer => {
            let Some(balancer) = site.load_balancer(id) else { return };
            facts.link("Router", Kind::Router, balancer.router);
            facts.links("Pools", Kind::Pool, &balancer.pools);
            facts.admin(balancer.admin_up);
        }
        Kind::Pool => {
            let Some(pool) = site.pool(id) else { return };
            facts.text("Protocol", pool.protocol.clone());
            facts.text("Method", pool.method.to_lowercase().replace('_', " "));
            facts.text("Members", format!("{}, {} up", pool.members.len(), pool.members_up));
            facts.links("VIPs", Kind::Vip, &pool.vips);
            facts.link("Load balancer", Kind::LoadBalancer, pool.load_balancer);
            facts.link("Health monitor", Kind::HealthMonitor, pool.health_monitor);
            facts.admin(pool.admin_up);
        }
        Kind::PoolMember => {
            let Some(member) = site.pool_member(id) else { return };
            facts.text(
                "Address",
                format!(
                    "{}:{}",
                    member.address.map_or_else(|| "–".to_owned(), |address| address.to_string()),
                    member.port.unwrap_or(0)
                ),
            );
            facts.maybe("Weight", member.weight);
            facts.link("Pool", Kind::Pool, member.pool);
            facts.link("Port", Kind::Port, member.network_port);
            facts.admin(member.admin_up);
        }
        Kind::Vip => {
            let Some(vip) = site.vip(id) else { return };
            facts.text(
                "Address",
                format!(
                    "{}:{}",
                    vip.address.map_or_else(|| "–".to_owned(), |address| address.to_string()),
                    vip.port.unwrap_or(0)
                ),
            );
            facts.link("Pool", Kind::Pool, vip.pool);
            facts.link("Gateway port", Kind::Port, vip.gateway_port);
            facts.admin(vip.admin_up);
        }
        _ => {
            let Some(monitor) = site.health_monitor(id) else { return };
            facts.text("Type", monitor.monitor_type.clone());
            facts.text("Every", monitor.delay_s.map_or_else(String::new, |seconds| format!("{seconds} s")));
            facts.text("Time-out", monitor.timeout_s.map_or_else(String::new, |seconds| format!("{seconds} s")));
            facts.maybe("Retries", monitor.max_retries);
            facts.links("Pools", Kind::Pool, &monitor.pools);
        }
    }
}

fn others(facts: &mut Facts<'_>, kind: Kind, id: Uuid) {
    let site = facts.ctx.site.clone();
    match kind {
        Kind::FloatingIp => {
            let Some(floating) = site.floating_ip(id) else { return };
            facts.maybe("Address", floating.address);
            facts.maybe("Fixed address", floating.fixed_address);
            facts.link("Port", Kind::Port, floating.port);
            facts.link("Router", Kind::Router, floating.router);
            facts.link("Network", Kind::Network, floating.network);
        }
        Kind::Subnet => {
            let Some(subnet) = site.subnet(id) else { return };
            facts.maybe("Prefix", subnet.prefix);
            facts.maybe("Gateway", subnet.gateway);
            facts.link("Network", Kind::Network, subnet.network);
            facts.text("DHCP", if subnet.dhcp { "on" } else { "off" });
            facts.addresses("DNS servers", &subnet.dns);
        }
        Kind::BgpPeer => {
            let Some(peer) = site.bgp_peer(id) else { return };
            facts.maybe("Address", peer.address);
            facts.maybe("AS number", peer.as_number);
            facts.text("Session", peer.session.clone().unwrap_or_default());
            facts.link("Router", Kind::Router, peer.router);
        }
        Kind::Mirror => {
            let Some(mirror) = site.mirror(id) else { return };
            facts.link("Sends to", Kind::Port, mirror.to_port);
            for condition in &mirror.conditions {
                facts.text("Takes", condition.clone());
            }
            facts.links("Networks", Kind::Network, &mirror.networks);
            facts.links("Routers", Kind::Router, &mirror.routers);
            facts.links("Ports", Kind::Port, &mirror.ports);
        }
        Kind::PortGroup => {
            let Some(group) = site.port_group(id) else { return };
            facts.text("Stateful", if group.stateful { "yes: its ports share connections" } else { "no" });
            facts.links("Ports", Kind::Port, &group.ports);
        }
        Kind::Route => {
            let Some(route) = site.route(id) else { return };
            facts.maybe("Destination", route.destination);
            facts.maybe("Source", route.source);
            facts.text("Next hop", route.next_hop.to_lowercase());
            facts.maybe("Gateway", route.gateway);
            facts.link("Port", Kind::Port, route.port);
            facts.link("Router", Kind::Router, route.router);
            facts.text("Weight", route.weight.to_string());
        }
        _ => {}
    }
}
