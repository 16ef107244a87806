// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The page of one device, in the same form for every kind: overview, traffic, rules, configuration, history.

mod config;
mod facts;
mod history;
mod neighbours;
mod overview;
mod rules;
mod traffic;

pub(crate) use neighbours::{Node, draw};
pub(crate) use traffic::groups as meters_of;

use axum::{
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};
use uuid::Uuid;

use super::{
    context::Ctx,
    error::WebError,
    frame::{state_class, state_word},
    units,
};
use crate::site::{Chain, Described, Kind, Rule, Site};

/// What all tabs begin with.
pub(crate) struct Head {
    pub(crate) kind: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) state: &'static str,
    pub(crate) state_text: String,
    pub(crate) tenant: String,
    pub(crate) tenant_link: String,
    pub(crate) crumbs: Vec<(String, String)>,
    pub(crate) tabs: Vec<Tab>,
    pub(crate) flows: Option<String>,
}

pub(crate) struct Tab {
    pub(crate) title: &'static str,
    pub(crate) href: String,
    pub(crate) current: bool,
}

/// A device that is there, with the place of its pages.
pub(crate) struct Device {
    pub(crate) object: Described,
    pub(crate) kind: Kind,
    pub(crate) id: Uuid,
}

type Address = Path<(String, String, String)>;

pub(crate) async fn overview(ctx: Ctx, Path((_, kind, id)): Address) -> Result<Response, WebError> {
    overview::page(&ctx, &find(&ctx, &kind, &id)?).await
}

pub(crate) async fn traffic(ctx: Ctx, Path((_, kind, id)): Address) -> Result<Response, WebError> {
    traffic::page(&ctx, &find(&ctx, &kind, &id)?).await
}

pub(crate) async fn rules(ctx: Ctx, Path((_, kind, id)): Address) -> Result<Response, WebError> {
    rules::page(&ctx, &find(&ctx, &kind, &id)?).await
}

pub(crate) async fn configuration(ctx: Ctx, Path((_, kind, id)): Address) -> Result<Response, WebError> {
    config::page(&ctx, &find(&ctx, &kind, &id)?).await
}

pub(crate) async fn history(ctx: Ctx, Path((_, kind, id)): Address) -> Result<Response, WebError> {
    // What is gone has a history too.
    let device = match find(&ctx, &kind, &id) {
        Ok(device) => device,
        Err(error) => history::gone(&ctx, &kind, &id).await?.ok_or(error)?,
    };
    history::page(&ctx, &device).await
}

/// To the page of whatever has an id.
pub(crate) async fn by_id(ctx: Ctx, Path((_, id)): Path<(String, String)>) -> Result<Response, WebError> {
    let object = id.parse().ok().and_then(|id: Uuid| ctx.site.describe(id)).ok_or_else(|| nothing(&id))?;
    Ok(Redirect::to(&ctx.to(&format!("d/{}/{}", object.kind.slug(), object.id))).into_response())
}

fn find(ctx: &Ctx, kind: &str, id: &str) -> Result<Device, WebError> {
    let id: Uuid = id.parse().map_err(|_| nothing(id))?;
    let object = ctx.site.describe(id).ok_or_else(|| nothing(&id.to_string()))?;
    let kind = Kind::from_slug(kind).unwrap_or(Kind::Other);
    Ok(Device { object, kind, id })
}

fn nothing(id: &str) -> WebError {
    WebError::NotFound(format!(
        "Nothing in the topology of this site has the UUID {id} now. The search finds devices by name, UUID, IP or MAC."
    ))
}

impl Device {
    pub(crate) fn link(&self, ctx: &Ctx, tab: &str) -> String {
        let tab = if tab.is_empty() { String::new() } else { format!("/{tab}") };
        ctx.to(&format!("d/{}/{}{tab}", self.kind.slug(), self.id))
    }

    /// The filter of its flows, as text.
    pub(crate) fn filter(&self) -> Option<String> {
        match self.kind {
            Kind::Host => Some(format!("host = {}", self.id)),
            Kind::Rule => Some(format!("rule = {}", self.id)),
            Kind::Network | Kind::Router | Kind::Port | Kind::Chain | Kind::LoadBalancer | Kind::Pool | Kind::Mirror | Kind::PortGroup => {
                Some(format!("device = {}", self.id))
            }
            _ => None,
        }
    }

    pub(crate) fn head(&self, ctx: &Ctx, tab: &str) -> Head {
        let mut tabs = vec![("Overview", "")];
        if traffic::groups(&ctx.site, self.kind, self.id).is_some() {
            tabs.push(("Traffic", "traffic"));
        }
        if rules::has_rules(self.kind) {
            tabs.push(("Rules", "rules"));
        }
        tabs.push(("Configuration", "configuration"));
        tabs.push(("History", "history"));
        let tenant = self.object.tenant.clone().unwrap_or_default();
        let since = self
            .object
            .since_us
            .map_or_else(String::new, |since| format!(" since {}", units::since(since, ctx.now_us)));
        let mut kind: String = self.kind.label().to_owned();
        if let Some(port) = (self.kind == Kind::Port).then(|| ctx.site.port_kind(self.id)).flatten() {
            kind = port.label().to_owned();
        }
        Head {
            kind: leak_free_label(self.kind),
            icon: icon(self.kind),
            name: self.object.name.clone(),
            id: self.id.to_string(),
            state: state_class(self.object.state),
            state_text: match self.kind {
                Kind::Port => format!("{kind}, {}{since}", state_word(self.object.state)),
                _ => format!("{}{since}", state_word(self.object.state)),
            },
            tenant_link: ctx.link("virtual/networks", &[("tenant", &tenant)]),
            tenant,
            crumbs: crumbs(ctx, self),
            tabs: tabs
                .into_iter()
                .map(|(title, slug)| Tab {
                    title,
                    href: self.link(ctx, slug),
                    current: slug == tab,
                })
                .collect(),
            flows: self.filter().map(|filter| ctx.link("flows", &[("filter", &filter)])),
        }
    }

    /// Place in the side bar.
    pub(crate) fn place(&self) -> &'static str {
        if matches!(self.kind, Kind::Host | Kind::TunnelZone | Kind::Vtep) {
            "device-physical"
        } else {
            "device"
        }
    }
}

fn leak_free_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "Host",
        Kind::TunnelZone => "Tunnel zone",
        Kind::Vtep => "VTEP",
        Kind::Network => "Network",
        Kind::Router => "Router",
        Kind::Port => "Port",
        Kind::Chain => "Chain",
        Kind::Rule => "Rule",
        Kind::SecurityGroup => "Security group",
        Kind::SecurityGroupRule => "Security group rule",
        Kind::PortGroup => "Port group",
        Kind::LoadBalancer => "Load balancer",
        Kind::Pool => "Pool",
        Kind::PoolMember => "Pool member",
        Kind::Vip => "VIP",
        Kind::HealthMonitor => "Health monitor",
        Kind::FloatingIp => "Floating IP",
        Kind::Subnet => "Subnet",
        Kind::Mirror => "Mirror",
        Kind::Route => "Route",
        Kind::BgpPeer => "BGP peer",
        Kind::BgpNetwork => "BGP network",
        Kind::QosPolicy => "QoS policy",
        Kind::Other => "Object",
    }
}

pub(crate) fn icon(kind: Kind) -> &'static str {
    match kind {
        Kind::Host => "host",
        Kind::TunnelZone => "tz",
        Kind::Vtep => "phys",
        Kind::Network | Kind::Subnet => "net",
        Kind::Router | Kind::Route | Kind::BgpPeer | Kind::BgpNetwork => "router",
        Kind::Chain | Kind::Rule | Kind::Mirror => "chain",
        Kind::LoadBalancer | Kind::Pool | Kind::PoolMember | Kind::Vip | Kind::HealthMonitor => "lb",
        Kind::FloatingIp => "ext",
        Kind::SecurityGroup | Kind::SecurityGroupRule | Kind::PortGroup | Kind::QosPolicy => "tag",
        Kind::Port | Kind::Other => "port",
    }
}

fn crumbs(ctx: &Ctx, device: &Device) -> Vec<(String, String)> {
    let list = match device.kind {
        Kind::Host => ("Hosts", "physical/hosts"),
        Kind::TunnelZone => ("Tunnel zones", "physical/tunnel-zones"),
        Kind::Vtep => ("VTEPs", "physical/vteps"),
        Kind::Network => ("Networks", "virtual/networks"),
        Kind::Router => ("Routers", "virtual/routers"),
        Kind::Port => ("Ports", "virtual/ports"),
        Kind::Chain => ("Chains", "virtual/chains"),
        Kind::Rule => ("Rules", "virtual/rules"),
        Kind::SecurityGroup | Kind::SecurityGroupRule => ("Security groups", "virtual/security-groups"),
        Kind::LoadBalancer | Kind::Pool | Kind::PoolMember | Kind::Vip => ("Load balancers", "virtual/load-balancers"),
        Kind::FloatingIp => ("Floating IPs", "virtual/floating-ips"),
        Kind::Subnet => ("Subnets", "virtual/subnets"),
        _ => ("Topology", "virtual"),
    };
    let first = if device.place() == "device-physical" {
        ("Physical", "physical/hosts")
    } else {
        ("Virtual", "virtual")
    };
    let mut crumbs = vec![(first.0.to_owned(), ctx.to(first.1)), (list.0.to_owned(), ctx.to(list.1))];
    let parent = match device.kind {
        Kind::Port => ctx
            .site
            .port(device.id)
            .and_then(|port| port.network.map(|id| (Kind::Network, id)).or(port.router.map(|id| (Kind::Router, id)))),
        Kind::Rule => ctx.site.rule(device.id).and_then(|rule| rule.chain).map(|id| (Kind::Chain, id)),
        Kind::Pool => ctx
            .site
            .pool(device.id)
            .and_then(|pool| pool.load_balancer)
            .map(|id| (Kind::LoadBalancer, id)),
        Kind::PoolMember => ctx.site.pool_member(device.id).and_then(|member| member.pool).map(|id| (Kind::Pool, id)),
        Kind::Subnet => ctx.site.subnet(device.id).and_then(|subnet| subnet.network).map(|id| (Kind::Network, id)),
        _ => None,
    };
    if let Some((kind, id)) = parent {
        crumbs.push((ctx.site.name(id), ctx.to(&format!("d/{}/{id}", kind.slug()))));
    }
    crumbs
}

/// Where a rule stands, for example `db-01 · port, outbound filter`.
pub(crate) fn rule_place(site: &Site, rule: &Rule) -> String {
    rule.chain
        .and_then(|chain| site.chain(chain))
        .map_or_else(String::new, |chain| chain_place(site, &chain))
}

/// Where a chain hangs.
pub(crate) fn chain_place(site: &Site, chain: &Chain) -> String {
    match chain.used_by.iter().find(|used| used.role != "jump").or(chain.used_by.first()) {
        Some(used) => format!("{} · {}, {}", site.name(used.id), used.kind.label(), used.role),
        None => chain.name.clone(),
    }
}
