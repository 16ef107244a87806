// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use super::{bytes, device, id, object, state, sum};
use crate::{
    query::traffic,
    site::Kind,
    web::{
        context::Ctx,
        error::WebError,
        table::{Cell, Column, Table},
        units,
    },
};

pub(super) async fn hosts(ctx: &Ctx) -> Result<Table, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
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

pub(super) fn tunnel_zones(ctx: &Ctx) -> Table {
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

pub(super) fn vteps(ctx: &Ctx) -> Table {
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

pub(super) fn gateways(ctx: &Ctx) -> Table {
    let rows = ctx
        .gateways
        .iter()
        .map(|gateway| {
            let (class, word, since) = match gateway.disconnected_us {
                None => ("up", "connected", gateway.connected_us),
                Some(since) => ("down", "away", since),
            };
            vec![
                Cell::text(gateway.name.clone())
                    .state(class)
                    .bold()
                    .link(ctx.to(&format!("site/gateways/{}", gateway.id))),
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
