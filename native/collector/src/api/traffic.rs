// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Traffic of devices over time, and volumes by tenant and network.

use axum::{Json, extract::Path};
use insights_store::MeterKey;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Call, Problem, Reports, Traffic};
use crate::{
    query::{
        reports::{self, Volume},
        traffic::{self, LEAST_STEP_US, Line},
    },
    site::Kind,
    web,
};

/// Steps of an answer at most, so that a long period is told in coarser ones.
const STEPS: i64 = 500;

/// `GET …/traffic/{kind}/{id}?period=…`: rates in and out of a device, per second; null where no reading covers the step.
pub(super) async fn device(call: Call<Traffic>, Path((_, kind, id)): Path<(String, String, String)>) -> Result<Json<Value>, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found("an object is named by its UUID"))?;
    let kind = Kind::from_slug(&kind).ok_or_else(|| Problem::not_found(format!("there is no kind {kind}")))?;
    let groups = web::meters_of(&call.site, kind, id).ok_or_else(|| Problem::not_found("MidoNet does not meter objects of this kind"))?;
    let step = web::step_within(call.period, STEPS, LEAST_STEP_US);
    let both: [Vec<MeterKey>; 2] = [groups.incoming, groups.outgoing];
    let traffic = traffic::lines(call.store(), call.period, step, call.now_us, &both).await?;
    let line = |at: usize| traffic.lines.get(at).map(line);
    Ok(Json(json!({
        "period": { "from_us": call.period.from_us, "to_us": call.period.to_us },
        "start_us": traffic.start_us,
        "step_us": traffic.step_us,
        "in": line(0),
        "out": line(1),
        "gaps": traffic.gaps.iter().map(|(from_us, to_us)| json!({ "from_us": from_us, "to_us": to_us })).collect::<Vec<_>>(),
    })))
}

/// `GET …/reports/tenants?period=…`: bytes of each tenant's ports, and of them through the gateways of its routers.
pub(super) async fn tenants(call: Call<Reports>) -> Result<Json<Value>, Problem> {
    let (totals, past) = tokio::try_join!(
        traffic::port_totals(call.store(), call.period),
        call.caller.app.sites.at(&call.scope, call.period.from_us)
    )?;
    let tenants: Vec<_> = reports::by_tenant(&[&*call.site, &*past], &totals)
        .into_iter()
        .map(|(id, traffic)| {
            json!({
                "name": call.tenants().get(&id),
                "ports": volume(traffic.ports),
                "outside": volume(traffic.outside),
                "north_south_bytes": traffic.north_south(),
                "east_west_bytes": traffic.east_west(),
                "id": id,
            })
        })
        .collect();
    Ok(answer(&call, "tenants", tenants))
}

/// `GET …/reports/networks?period=…`: bytes of each network's VM ports.
pub(super) async fn networks(call: Call<Reports>) -> Result<Json<Value>, Problem> {
    let (totals, past) = tokio::try_join!(
        traffic::port_totals(call.store(), call.period),
        call.caller.app.sites.at(&call.scope, call.period.from_us)
    )?;
    let sites = [&*call.site, &*past];
    let networks: Vec<_> = reports::by_network(&sites, &totals)
        .into_iter()
        .map(|(id, traffic)| {
            let known = sites.iter().find_map(|site| site.network(id));
            json!({
                "id": id,
                "name": known.as_ref().map(|network| network.name.clone()),
                "tenant": known.as_ref().and_then(|network| network.tenant.clone()),
                "ports": volume(traffic),
            })
        })
        .collect();
    Ok(answer(&call, "networks", networks))
}

fn answer(call: &Call<Reports>, what: &str, items: Vec<Value>) -> Json<Value> {
    Json(json!({ "period": { "from_us": call.period.from_us, "to_us": call.period.to_us }, what: items }))
}

fn volume(volume: Volume) -> Value {
    json!({ "in_bytes": volume.incoming, "out_bytes": volume.outgoing, "total_bytes": volume.total() })
}

fn line(line: &Line) -> Value {
    json!({ "bytes": line.bytes, "packets": line.packets, "total_bytes": line.total_bytes, "total_packets": line.total_packets })
}
