// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::{Json, extract::Path};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Problem;
use crate::{site::Kind, web::Ctx};

/// Numbers of the dashboard.
pub(super) async fn counts(ctx: Ctx) -> Json<Value> {
    Json(json!({ "counts": ctx.site.counts(), "as_of_us": ctx.site.at_us() }))
}

/// All objects of a kind.
pub(super) async fn list(ctx: Ctx, Path((_, kind)): Path<(String, String)>) -> Result<Json<Value>, Problem> {
    let site = &ctx.site;
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
        Kind::BgpNetwork | Kind::QosPolicy | Kind::Other => return Err(Problem::not_found(format!("{kind} has no list"))),
    };
    Ok(Json(
        json!({ "kind": kind, "as_of_us": site.at_us(), "total": items.len(), "items": items }),
    ))
}

/// One object: what it is, and its fields as MidoNet has them.
pub(super) async fn one(ctx: Ctx, Path((_, kind, id)): Path<(String, String, String)>) -> Result<Json<Value>, Problem> {
    find(&kind)?;
    let id: Uuid = id.parse().map_err(|_| Problem::not_found("an object is named by its UUID"))?;
    let object = ctx
        .site
        .describe(id)
        .ok_or_else(|| Problem::not_found("no object of this site has this UUID now"))?;
    Ok(Json(json!({ "object": object, "as_of_us": ctx.site.at_us(), "raw": ctx.site.raw(id) })))
}

fn find(kind: &str) -> Result<Kind, Problem> {
    Kind::from_slug(kind).ok_or_else(|| Problem::not_found(format!("there is no kind {kind}")))
}

fn all<T: Serialize>(items: impl Iterator<Item = T>) -> Vec<Value> {
    // The views are plain data; none of them has a map with other keys than texts.
    items.map(|item| serde_json::to_value(item).unwrap_or(Value::Null)).collect()
}
