// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Lists of physical and virtual devices. Each list is one function from the topology to a table; page, sort, narrowing and CSV are common.

use std::collections::HashMap;

use askama::Template;
use axum::{extract::Path, response::Response};
use uuid::Uuid;

use super::{
    context::Ctx,
    dashboard,
    error::WebError,
    frame::{Frame, state_class, state_word},
    html,
    table::{Cell, Column, Table, TableView},
    units,
};
use crate::{
    query::traffic::{self, PortTotal},
    site::{Kind, State},
};

#[derive(Template)]
#[template(path = "list.html")]
struct Page {
    frame: Frame,
    heading: &'static str,
    about: String,
    tabs: Vec<Tab>,
    noun: &'static str,
    empty: &'static str,
    tenant: String,
    tenant_clear: String,
    view: TableView,
}

struct Tab {
    title: &'static str,
    href: String,
    count: String,
    current: bool,
}

/// A list: where it is, what it is called, what an empty one means.
struct List {
    slug: &'static str,
    title: &'static str,
    noun: &'static str,
    empty: &'static str,
    sort: &'static str,
}

const PHYSICAL: [List; 4] = [
    List {
        slug: "hosts",
        title: "Hosts",
        noun: "hosts",
        empty: "Hosts appear when a gateway replicates the topology.",
        sort: "name",
    },
    List {
        slug: "tunnel-zones",
        title: "Tunnel zones",
        noun: "tunnel zones",
        empty: "This cloud has no tunnel zone.",
        sort: "name",
    },
    List {
        slug: "vteps",
        title: "VTEPs",
        noun: "VTEPs",
        empty: "This cloud uses no hardware VTEPs.",
        sort: "name",
    },
    List {
        slug: "gateways",
        title: "Gateways",
        noun: "gateways",
        empty: "No gateway of MidoInsights has connected yet.",
        sort: "name",
    },
];

const VIRTUAL: [List; 10] = [
    List {
        slug: "tenants",
        title: "Tenants",
        noun: "tenants",
        empty: "No device names a tenant.",
        sort: "-traffic",
    },
    List {
        slug: "networks",
        title: "Networks",
        noun: "networks",
        empty: "This cloud has no networks.",
        sort: "name",
    },
    List {
        slug: "routers",
        title: "Routers",
        noun: "routers",
        empty: "This cloud has no routers.",
        sort: "name",
    },
    List {
        slug: "ports",
        title: "Ports",
        noun: "ports",
        empty: "This cloud has no virtual ports.",
        sort: "name",
    },
    List {
        slug: "chains",
        title: "Chains",
        noun: "chains",
        empty: "This cloud has no chains.",
        sort: "name",
    },
    List {
        slug: "rules",
        title: "Rules",
        noun: "rules",
        empty: "This cloud has no rules.",
        sort: "chain",
    },
    List {
        slug: "security-groups",
        title: "Security groups",
        noun: "security groups",
        empty: "This cloud has no security groups.",
        sort: "name",
    },
    List {
        slug: "load-balancers",
        title: "Load balancers",
        noun: "load balancers",
        empty: "This cloud has no load balancers.",
        sort: "name",
    },
    List {
        slug: "floating-ips",
        title: "Floating IPs",
        noun: "floating IPs",
        empty: "This cloud has no floating IPs.",
        sort: "address",
    },
    List {
        slug: "subnets",
        title: "Subnets",
        noun: "subnets",
        empty: "This cloud has no subnets.",
        sort: "prefix",
    },
];

pub(crate) async fn physical(ctx: Ctx, Path((_, list)): Path<(String, String)>) -> Result<Response, WebError> {
    let list = find(&PHYSICAL, &list)?;
    let table = match list.slug {
        "hosts" => hosts(&ctx).await?,
        "tunnel-zones" => tunnel_zones(&ctx),
        "vteps" => vteps(&ctx),
        _ => gateways(&ctx),
    };
    let counts = ctx.site.counts();
    let number = |slug: &str| match slug {
        "hosts" => counts.hosts,
        "tunnel-zones" => counts.tunnel_zones,
        "vteps" => counts.vteps,
        _ => ctx.gateways.len(),
    };
    let about = format!("{} of {} hosts alive", counts.hosts_up, counts.hosts);
    answer(&ctx, "Physical", "physical", about, &PHYSICAL, list, number, table).await
}

pub(crate) async fn virtual_(ctx: Ctx, Path((_, list)): Path<(String, String)>) -> Result<Response, WebError> {
    let list = find(&VIRTUAL, &list)?;
    let table = match list.slug {
        "tenants" => tenants(&ctx).await?,
        "networks" => networks(&ctx).await?,
        "routers" => routers(&ctx).await?,
        "ports" => ports(&ctx).await?,
        "chains" => chains(&ctx),
        "rules" => rules(&ctx),
        "security-groups" => security_groups(&ctx),
        "load-balancers" => load_balancers(&ctx),
        "floating-ips" => floating_ips(&ctx),
        _ => subnets(&ctx),
    };
    let counts = ctx.site.counts();
    let number = |slug: &str| match slug {
        "tenants" => counts.tenants,
        "networks" => counts.networks,
        "routers" => counts.routers,
        "ports" => counts.ports,
        "chains" => counts.chains,
        "rules" => counts.rules,
        "security-groups" => counts.security_groups,
        "load-balancers" => counts.load_balancers,
        "floating-ips" => counts.floating_ips,
        _ => ctx.site.subnets().count(),
    };
    let about = format!(
        "{}, {}, {}, {}",
        dashboard::plural(counts.tenants, "tenant", "tenants"),
        dashboard::plural(counts.routers, "router", "routers"),
        dashboard::plural(counts.networks, "network", "networks"),
        dashboard::plural(counts.ports, "port", "ports")
    );
    answer(&ctx, "Virtual", "virtual", about, &VIRTUAL, list, number, table).await
}

#[allow(clippy::too_many_arguments)]
async fn answer(
    ctx: &Ctx,
    heading: &'static str,
    place: &'static str,
    about: String,
    lists: &[List],
    list: &List,
    number: impl Fn(&str) -> usize,
    table: Table,
) -> Result<Response, WebError> {
    if ctx.params.get("format") == Some("csv") {
        return Ok(table.csv(ctx, list.sort));
    }
    let mut tabs: Vec<Tab> = lists
        .iter()
        .map(|tab| Tab {
            title: tab.title,
            href: ctx.to(&format!("{place}/{}", tab.slug)),
            count: units::count(number(tab.slug) as u64),
            current: tab.slug == list.slug,
        })
        .collect();
    if place == "virtual" {
        tabs.insert(
            0,
            Tab {
                title: "Topology",
                href: ctx.to("virtual"),
                count: String::new(),
                current: false,
            },
        );
    }
    html(&Page {
        frame: Frame::new(ctx, list.title, place).await?,
        heading,
        about,
        tabs,
        noun: list.noun,
        empty: list.empty,
        tenant: ctx.params.get("tenant").unwrap_or_default().to_owned(),
        tenant_clear: ctx.here(&[("tenant", ""), ("page", "")]),
        view: table.view(ctx, list.sort),
    })
}

fn find<'a>(lists: &'a [List], slug: &str) -> Result<&'a List, WebError> {
    lists
        .iter()
        .find(|list| list.slug == slug)
        .ok_or_else(|| WebError::NotFound(format!("There is no list of {slug}.")))
}

/// Name with its state, linked to the device's page.
pub(crate) fn device(ctx: &Ctx, kind: Kind, id: Uuid, name: &str, state: Option<State>) -> Cell {
    let cell = Cell::text(name).link(ctx.to(&format!("d/{}/{id}", kind.slug()))).bold();
    match state {
        Some(state) => cell.state(state_class(state)),
        None => cell,
    }
}

fn state(state: State, since_us: Option<i64>, now_us: i64) -> Cell {
    let sub = since_us.map_or_else(String::new, |since| format!("since {}", units::since(since, now_us)));
    Cell::text(state_word(state)).sub(sub)
}

fn tenant(ctx: &Ctx, tenant: Option<&str>) -> Cell {
    tenant.filter(|tenant| !tenant.is_empty()).map_or_else(Cell::none, |tenant| {
        Cell::project(tenant).link(ctx.link("virtual/networks", &[("tenant", tenant)]))
    })
}

/// A linked object by its id.
fn object(ctx: &Ctx, kind: Kind, id: Option<Uuid>) -> Cell {
    id.map_or_else(Cell::none, |id| {
        Cell::text(ctx.site.name(id)).link(ctx.to(&format!("d/{}/{id}", kind.slug())))
    })
}

fn bytes(value: Option<f64>) -> Cell {
    value
        .filter(|value| *value > 0.0)
        .map_or_else(Cell::none, |value| Cell::number(value, units::bytes(value)))
}

fn id(id: Uuid) -> Cell {
    Cell::text(id.to_string()).mono()
}

/// The list shows one tenant's objects when the URL names it.
fn of_tenant(ctx: &Ctx, tenant: Option<&str>) -> bool {
    ctx.params
        .get("tenant")
        .filter(|wanted| !wanted.is_empty())
        .is_none_or(|wanted| tenant == Some(wanted))
}

/// Sum over some ports of a direction-less total.
fn sum(totals: &HashMap<Uuid, PortTotal>, ports: &[Uuid]) -> Option<f64> {
    let mut known = ports.iter().filter_map(|port| totals.get(port)).peekable();
    known.peek()?;
    Some(known.map(PortTotal::bytes).sum())
}

async fn hosts(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.scope, ctx.period).await?;
    let rows = ctx
        .site
        .hosts()
        .map(|host| {
            let underlay: Vec<_> = host.tunnels.iter().map(|end| end.address.to_string()).collect();
            vec![
                device(ctx, Kind::Host, host.id, &host.name, Some(host.state)),
                state(host.state, host.since_us, ctx.now_us),
                Cell::text(underlay.join(", ")),
                Cell::count(host.interfaces.len()),
                Cell::number(host.ports_up as f64, format!("{} / {}", host.ports_up, host.ports.len())).plain(host.ports_up.to_string()),
                Cell::count(host.ports.len()),
                bytes(sum(&totals, &host.ports)),
                id(host.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Host"),
        Column::text("state", "State"),
        Column::text("underlay", "Tunnel address").wide(),
        Column::number("interfaces", "Interfaces").wide(),
        Column::number("ports_up", "Ports active"),
        Column::number("ports", "Bound").wide(),
        Column::number("traffic", "Traffic"),
        Column::text("id", "UUID").wide(),
    ];
    Ok(Table {
        name: "hosts",
        columns,
        rows,
    })
}

fn tunnel_zones(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .tunnel_zones()
        .map(|zone| {
            vec![
                device(ctx, Kind::TunnelZone, zone.id, &zone.name, Some(zone.state)),
                Cell::text(zone.encapsulation.clone()),
                Cell::number(zone.hosts_up as f64, format!("{} / {}", zone.hosts_up, zone.ends.len())),
                zone.flooding_proxy.map_or_else(Cell::none, |(host, address)| {
                    Cell::text(ctx.site.host_name(host)).sub(address.to_string())
                }),
                id(zone.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Tunnel zone"),
        Column::text("encapsulation", "Encapsulation"),
        Column::number("members", "Members alive"),
        Column::text("proxy", "Flooding proxy").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "tunnel-zones",
        columns,
        rows,
    }
}

fn vteps(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .vteps()
        .map(|vtep| {
            vec![
                device(ctx, Kind::Vtep, vtep.id, &vtep.name, Some(vtep.state)),
                state(vtep.state, None, ctx.now_us),
                vtep.management.map_or_else(Cell::none, |address| Cell::text(address.to_string())),
                Cell::text(vtep.tunnel_addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
                Cell::count(vtep.bindings.len()),
                object(ctx, Kind::TunnelZone, vtep.tunnel_zone),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "VTEP"),
        Column::text("state", "State"),
        Column::text("management", "Management"),
        Column::text("tunnel", "Tunnel addresses").wide(),
        Column::number("bindings", "Bindings"),
        Column::text("zone", "Tunnel zone").wide(),
    ];
    Table {
        name: "vteps",
        columns,
        rows,
    }
}

fn gateways(ctx: &Ctx) -> Table {
    let rows = ctx
        .gateways
        .iter()
        .map(|gateway| {
            let (class, word, since) = match gateway.disconnected_us {
                None => ("up", "connected", gateway.connected_us),
                Some(since) => ("down", "away", since),
            };
            vec![
                Cell::text(gateway.name.clone()).state(class).bold().link(ctx.to("site")),
                Cell::text(word).sub(format!("since {}", units::since(since, ctx.now_us))),
                Cell::text(gateway.version.clone()),
                Cell::number(gateway.first_seen_us as f64, units::full(gateway.first_seen_us)).plain(units::rfc3339(gateway.first_seen_us)),
                id(gateway.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Gateway"),
        Column::text("state", "State"),
        Column::text("version", "Version"),
        Column::number("first_seen", "First seen, UTC").wide(),
        Column::text("id", "Host UUID").wide(),
    ];
    Table {
        name: "gateways",
        columns,
        rows,
    }
}

async fn tenants(ctx: &Ctx) -> Result<Table, WebError> {
    let traffic = dashboard::tenant_traffic(ctx).await?;
    let rows = ctx
        .site
        .tenants()
        .iter()
        .map(|tenant| {
            let traffic = traffic.get(&tenant.id).copied();
            let link = |list: &str| ctx.link(list, &[("tenant", &tenant.id)]);
            vec![
                Cell::text(&tenant.id).bold().link(link("virtual/networks")),
                Cell::count(tenant.networks).link(link("virtual/networks")),
                Cell::count(tenant.routers).link(link("virtual/routers")),
                Cell::count(tenant.ports).link(link("virtual/ports")),
                bytes(traffic.map(|traffic| traffic.north_south)),
                bytes(traffic.map(|traffic| traffic.east_west())),
                bytes(traffic.map(|traffic| traffic.total())),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("tenant", "Tenant"),
        Column::number("networks", "Networks"),
        Column::number("routers", "Routers"),
        Column::number("ports", "Ports"),
        Column::number("north_south", "North-south").wide(),
        Column::number("east_west", "East-west").wide(),
        Column::number("traffic", "Traffic"),
    ];
    Ok(Table {
        name: "tenants",
        columns,
        rows,
    })
}

async fn networks(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.scope, ctx.period).await?;
    let rows = ctx
        .site
        .networks()
        .filter(|network| of_tenant(ctx, network.tenant.as_deref()))
        .map(|network| {
            let subnets: Vec<_> = network
                .subnets
                .iter()
                .filter_map(|id| ctx.site.subnet(*id)?.prefix)
                .map(|prefix| prefix.to_string())
                .collect();
            let what = if network.uplink {
                "uplink"
            } else if network.external {
                "external"
            } else if network.shared {
                "shared"
            } else {
                "tenant"
            };
            vec![
                device(ctx, Kind::Network, network.id, &network.name, Some(network.state)),
                Cell::text(what),
                Cell::text(subnets.join(", ")),
                Cell::count(network.ports.len()).link(ctx.link("virtual/ports", &[("device", &network.id.to_string())])),
                match network.routers.first() {
                    Some(router) => object(ctx, Kind::Router, Some(*router)),
                    None => Cell::none(),
                },
                bytes(sum(&totals, &network.ports)),
                tenant(ctx, network.tenant.as_deref()),
                id(network.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Network"),
        Column::text("kind", "Kind"),
        Column::text("subnets", "Subnets"),
        Column::number("ports", "Ports"),
        Column::text("router", "Router").wide(),
        Column::number("traffic", "Traffic of its ports").wide(),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Ok(Table {
        name: "networks",
        columns,
        rows,
    })
}

async fn routers(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.scope, ctx.period).await?;
    let rows = ctx
        .site
        .routers()
        .filter(|router| of_tenant(ctx, router.tenant.as_deref()))
        .map(|router| {
            let north: Vec<Uuid> = if router.edge {
                router.uplinks.clone()
            } else {
                router.gateway.into_iter().collect()
            };
            vec![
                device(ctx, Kind::Router, router.id, &router.name, Some(router.state)),
                Cell::text(if router.edge { "edge" } else { "tenant" }),
                Cell::count(router.ports.len()).link(ctx.link("virtual/ports", &[("device", &router.id.to_string())])),
                Cell::count(router.networks.len()),
                Cell::count(router.routes.len()),
                Cell::count(router.bgp_peers.len()),
                bytes(sum(&totals, &north)),
                tenant(ctx, router.tenant.as_deref()),
                id(router.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Router"),
        Column::text("kind", "Kind"),
        Column::number("ports", "Ports"),
        Column::number("networks", "Networks"),
        Column::number("routes", "Routes").wide(),
        Column::number("bgp", "BGP peers").wide(),
        Column::number("traffic", "North-south traffic"),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Ok(Table {
        name: "routers",
        columns,
        rows,
    })
}

async fn ports(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.scope, ctx.period).await?;
    let device_wanted: Option<Uuid> = ctx.params.get("device").and_then(|text| text.parse().ok());
    let rows = ctx
        .site
        .ports()
        .filter(|port| {
            of_tenant(ctx, port.tenant.as_deref()) && device_wanted.is_none_or(|wanted| port.network == Some(wanted) || port.router == Some(wanted))
        })
        .map(|port| {
            let total = totals.get(&port.id);
            let on = match (port.network, port.router) {
                (Some(network), _) => object(ctx, Kind::Network, Some(network)),
                (None, router) => object(ctx, Kind::Router, router),
            };
            vec![
                device(ctx, Kind::Port, port.id, &port.name, Some(port.state)),
                Cell::text(port.kind.label()),
                state(port.state, port.since_us, ctx.now_us),
                on,
                Cell::text(port.addresses.first().map_or_else(String::new, ToString::to_string))
                    .sub(port.mac.map_or_else(String::new, |mac| mac.to_string())),
                match port.host {
                    Some(host) => object(ctx, Kind::Host, Some(host)).sub(port.interface.clone().unwrap_or_default()),
                    None => Cell::none(),
                },
                bytes(total.map(PortTotal::bytes)),
                tenant(ctx, port.tenant.as_deref()),
                id(port.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Port"),
        Column::text("kind", "Kind"),
        Column::text("state", "State").wide(),
        Column::text("device", "Device"),
        Column::text("address", "Address").wide(),
        Column::text("host", "Host").wide(),
        Column::number("traffic", "Traffic"),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Ok(Table {
        name: "ports",
        columns,
        rows,
    })
}

fn chains(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .chains()
        .filter(|chain| of_tenant(ctx, chain.tenant.as_deref()))
        .map(|chain| {
            let used = chain.used_by.first().map_or_else(Cell::none, |used| {
                let more = if chain.used_by.len() > 1 {
                    format!(", and {} more", chain.used_by.len() - 1)
                } else {
                    String::new()
                };
                object(ctx, used.kind, Some(used.id)).sub(format!("{}{more}", used.role))
            });
            vec![
                device(ctx, Kind::Chain, chain.id, &chain.name, None),
                Cell::count(chain.rules.len()),
                used,
                tenant(ctx, chain.tenant.as_deref()),
                id(chain.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Chain"),
        Column::number("rules", "Rules"),
        Column::text("used_by", "Used by"),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "chains",
        columns,
        rows,
    }
}

fn rules(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .rules()
        .map(|rule| {
            let position = rule
                .position
                .map_or_else(Cell::none, |position| Cell::number(position as f64, position.to_string()));
            vec![
                device(ctx, Kind::Rule, rule.id, &rule.text, None),
                Cell::text(rule.action.to_lowercase()),
                object(ctx, Kind::Chain, rule.chain),
                position,
                Cell::text("drops").link(ctx.link("flows", &[("filter", &format!("decided = {} and result = dropped", rule.id))])),
                id(rule.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("rule", "Rule"),
        Column::text("action", "Action").wide(),
        Column::text("chain", "Chain"),
        Column::number("position", "No."),
        Column::text("flows", "Flows").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "rules",
        columns,
        rows,
    }
}

fn security_groups(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .security_groups()
        .filter(|group| of_tenant(ctx, group.tenant.as_deref()))
        .map(|group| {
            vec![
                device(ctx, Kind::SecurityGroup, group.id, &group.name, None).sub(group.description.clone()),
                Cell::count(group.rules.iter().filter(|rule| rule.ingress).count()),
                Cell::count(group.rules.iter().filter(|rule| !rule.ingress).count()),
                Cell::count(group.members.len()),
                tenant(ctx, group.tenant.as_deref()),
                id(group.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Security group"),
        Column::number("ingress", "Rules in"),
        Column::number("egress", "Rules out"),
        Column::number("members", "Addresses"),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "security-groups",
        columns,
        rows,
    }
}

fn load_balancers(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .load_balancers()
        .filter(|balancer| of_tenant(ctx, balancer.tenant.as_deref()))
        .map(|balancer| {
            let pools: Vec<_> = balancer.pools.iter().filter_map(|id| ctx.site.pool(*id)).collect();
            let (up, all) = (
                pools.iter().map(|pool| pool.members_up).sum::<usize>(),
                pools.iter().map(|pool| pool.members.len()).sum::<usize>(),
            );
            let vips: Vec<_> = pools
                .iter()
                .flat_map(|pool| pool.vips.iter())
                .filter_map(|id| ctx.site.vip(*id))
                .map(|vip| {
                    format!(
                        "{}:{}",
                        vip.address.map_or_else(|| "–".to_owned(), |address| address.to_string()),
                        vip.port.unwrap_or(0)
                    )
                })
                .collect();
            vec![
                device(ctx, Kind::LoadBalancer, balancer.id, &balancer.name, Some(balancer.state)),
                Cell::text(vips.join(", ")),
                Cell::count(pools.len()),
                Cell::number(up as f64, format!("{up} / {all}")),
                object(ctx, Kind::Router, balancer.router),
                tenant(ctx, balancer.tenant.as_deref()),
                id(balancer.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("name", "Load balancer"),
        Column::text("vips", "VIPs"),
        Column::number("pools", "Pools"),
        Column::number("members", "Members up"),
        Column::text("router", "Router").wide(),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "load-balancers",
        columns,
        rows,
    }
}

fn floating_ips(ctx: &Ctx) -> Table {
    let text = |address: Option<std::net::IpAddr>| address.map_or_else(|| "–".to_owned(), |address| address.to_string());
    let rows = ctx
        .site
        .floating_ips()
        .filter(|floating| of_tenant(ctx, floating.tenant.as_deref()))
        .map(|floating| {
            let state = if floating.port.is_some() { State::Up } else { State::Off };
            vec![
                device(ctx, Kind::FloatingIp, floating.id, &text(floating.address), Some(state)),
                Cell::text(text(floating.fixed_address)),
                object(ctx, Kind::Port, floating.port),
                object(ctx, Kind::Router, floating.router),
                object(ctx, Kind::Network, floating.network),
                tenant(ctx, floating.tenant.as_deref()),
                id(floating.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("address", "Floating IP"),
        Column::text("fixed", "Fixed address"),
        Column::text("port", "Port"),
        Column::text("router", "Router").wide(),
        Column::text("network", "Network").wide(),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "floating-ips",
        columns,
        rows,
    }
}

fn subnets(ctx: &Ctx) -> Table {
    let rows = ctx
        .site
        .subnets()
        .filter(|subnet| of_tenant(ctx, subnet.tenant.as_deref()))
        .map(|subnet| {
            vec![
                device(
                    ctx,
                    Kind::Subnet,
                    subnet.id,
                    &subnet.prefix.map_or_else(|| "–".to_owned(), |prefix| prefix.to_string()),
                    None,
                ),
                Cell::text(subnet.name.clone()),
                object(ctx, Kind::Network, subnet.network),
                Cell::text(subnet.gateway.map_or_else(String::new, |address| address.to_string())),
                Cell::text(if subnet.dhcp { "on" } else { "off" }),
                tenant(ctx, subnet.tenant.as_deref()),
                id(subnet.id),
            ]
        })
        .collect();
    let columns = vec![
        Column::text("prefix", "Prefix"),
        Column::text("name", "Name"),
        Column::text("network", "Network"),
        Column::text("gateway", "Gateway").wide(),
        Column::text("dhcp", "DHCP").wide(),
        Column::text("tenant", "Tenant").wide(),
        Column::text("id", "UUID").wide(),
    ];
    Table {
        name: "subnets",
        columns,
        rows,
    }
}
