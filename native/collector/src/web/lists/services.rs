// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use super::{device, id, object, of_tenant, tenant};
use crate::{
    site::{Kind, State},
    web::{
        context::Ctx,
        table::{Cell, Column, Table},
    },
};

pub(super) fn chains(ctx: &Ctx) -> Table {
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

pub(super) fn rules(ctx: &Ctx) -> Table {
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

pub(super) fn security_groups(ctx: &Ctx) -> Table {
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

pub(super) fn load_balancers(ctx: &Ctx) -> Table {
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

pub(super) fn floating_ips(ctx: &Ctx) -> Table {
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

pub(super) fn subnets(ctx: &Ctx) -> Table {
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
