// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::{Json, extract::Path};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Problem, Topology};
use crate::site::{Kind, Site};

/// Numbers of the dashboard.
pub(super) async fn counts(call: Call<Topology>) -> Json<Value> {
    Json(json!({ "counts": call.site.counts(), "as_of_us": call.site.at_us() }))
}

/// All objects of a kind, as pages show them.
pub(super) async fn list(call: Call<Topology>, Path((_, kind)): Path<(String, String)>) -> Result<Json<Value>, Problem> {
    let site = &call.site;
    let items = match find(&kind)? {
        Kind::Host => all(site.hosts()),
        Kind::TunnelZone => all(site.tunnel_zones()),
        Kind::Vtep => all(site.vteps()),
        Kind::Network => all(site.networks()),
        Kind::Router => all(site.routers()),
        Kind::Port => all(site.ports()),
        Kind::Chain => all(site.chains()),
        Kind::Rule => all(site.rules()),
        Kind::SecurityGroup => all(site.security_groups()),
        Kind::PortGroup => all(site.port_groups()),
        Kind::LoadBalancer => all(site.load_balancers()),
        Kind::Pool => all(site.pools()),
        Kind::PoolMember => all(site.pool_members()),
        Kind::Vip => all(site.vips()),
        Kind::HealthMonitor => all(site.health_monitors()),
        Kind::FloatingIp => all(site.floating_ips()),
        Kind::Subnet => all(site.subnets()),
        Kind::Mirror => all(site.mirrors()),
        Kind::Route => all(site.routes()),
        Kind::BgpPeer => all(site.bgp_peers()),
        Kind::SecurityGroupRule | Kind::BgpNetwork | Kind::QosPolicy | Kind::Other => {
            return Err(Problem::not_found(format!("{kind} has no list")));
        }
    };
    Ok(Json(
        json!({ "kind": kind, "as_of_us": site.at_us(), "total": items.len(), "items": items }),
    ))
}

/// One object: what it is, how pages show it, the tables that agents and the cluster keep for it, and its fields as MidoNet has them.
pub(super) async fn one(call: Call<Topology>, Path((_, kind, id)): Path<(String, String, String)>) -> Result<Json<Value>, Problem> {
    if kind != Kind::Other.slug() {
        find(&kind)?;
    }
    let id: Uuid = id.parse().map_err(|_| Problem::not_found("an object is named by its UUID"))?;
    let object = call
        .site
        .describe(id)
        .ok_or_else(|| Problem::not_found("no object of this site has this UUID now"))?;
    Ok(Json(json!({
        "view": view(&call.site, object.kind, id),
        "tables": tables(&call.site, object.kind, id),
        "object": object,
        "as_of_us": call.site.at_us(),
        "raw": call.site.raw(id),
    })))
}

/// The item of a kind's list; null for kinds without one.
fn view(site: &Site, kind: Kind, id: Uuid) -> Value {
    match kind {
        Kind::Host => value(site.host(id)),
        Kind::TunnelZone => value(site.tunnel_zone(id)),
        Kind::Vtep => value(site.vtep(id)),
        Kind::Network => value(site.network(id)),
        Kind::Router => value(site.router(id)),
        Kind::Port => value(site.port(id)),
        Kind::Chain => value(site.chain(id)),
        Kind::Rule => value(site.rule(id)),
        Kind::SecurityGroup => value(site.security_group(id)),
        Kind::PortGroup => value(site.port_group(id)),
        Kind::LoadBalancer => value(site.load_balancer(id)),
        Kind::Pool => value(site.pool(id)),
        Kind::PoolMember => value(site.pool_member(id)),
        Kind::Vip => value(site.vip(id)),
        Kind::HealthMonitor => value(site.health_monitor(id)),
        Kind::FloatingIp => value(site.floating_ip(id)),
        Kind::Subnet => value(site.subnet(id)),
        Kind::Mirror => value(site.mirror(id)),
        Kind::Route => value(site.route(id)),
        Kind::BgpPeer => value(site.bgp_peer(id)),
        Kind::SecurityGroupRule | Kind::BgpNetwork | Kind::QosPolicy | Kind::Other => Value::Null,
    }
}

/// State tables of networks, routers and ports; null for others.
fn tables(site: &Site, kind: Kind, id: Uuid) -> Value {
    match kind {
        Kind::Network => json!({
            "mac": site.mac_table(id),
            "ip_mac": site.ip_mac_table(id),
            "gateways": site.gateway_hosts(id),
            "fip64": site.fip64_table(id),
        }),
        Kind::Router => json!({ "arp": site.arp_table(id) }),
        Kind::Port => json!({ "peering": site.peering_table(id), "learned_routes": site.learned_routes(id) }),
        _ => Value::Null,
    }
}

fn find(kind: &str) -> Result<Kind, Problem> {
    Kind::from_slug(kind).ok_or_else(|| Problem::not_found(format!("there is no kind {kind}")))
}

fn all<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<Value> {
    items.map(value).collect()
}

fn value(item: impl Serialize) -> Value {
    // The views are plain data; none of them has a map with other keys than texts.
    serde_json::to_value(item).unwrap_or(Value::Null)
}
