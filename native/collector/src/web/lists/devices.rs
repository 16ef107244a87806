// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use uuid::Uuid;

use super::{bytes, device, id, object, of_tenant, state, sum, tenant};
use crate::{
    query::{
        reports,
        traffic::{self, PortTotal},
    },
    site::Kind,
    web::{
        context::Ctx,
        error::WebError,
        table::{Cell, Column, Table},
    },
};

pub(super) async fn tenants(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
    let traffic = reports::by_tenant(&[&ctx.site], &totals);
    let rows = ctx
        .site
        .tenants()
        .iter()
        .map(|tenant| {
            let traffic = traffic.get(&tenant.id).copied();
            let link = |list: &str| ctx.link(list, &[("tenant", &tenant.id)]);
            vec![
                Cell::project(&tenant.id, ctx.tenants.name(&tenant.id))
                    .bold()
                    .link(link("virtual/networks")),
                Cell::count(tenant.networks).link(link("virtual/networks")),
                Cell::count(tenant.routers).link(link("virtual/routers")),
                Cell::count(tenant.ports).link(link("virtual/ports")),
                bytes(traffic.map(|traffic| traffic.north_south())),
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

pub(super) async fn networks(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
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

pub(super) async fn routers(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
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

pub(super) async fn ports(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
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
