// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use axum::{Json, extract::Path};
use insights_store::{
    FlowId,
    query::{Bin, Budget, DimValue, StoredFlow, TopQuery},
};
use serde_json::{Value, json};

use super::{Call, Flows, Problem, Scope};
use crate::{
    query::{
        cause,
        flows::{self, EXPORT_PAGE, FlowRequest, protocol},
    },
    site::Site,
    web::flow_dimension as dimension,
};

/// Rows of an answer without a limit.
const TOP: usize = 10;

/// `GET …/flows?filter=…&period=…&after=…&limit=…`: newest first; `next` is the `after` of the next page.
pub(super) async fn list(call: Call<Flows>) -> Result<Json<Value>, Problem> {
    let request = FlowRequest::parse(&call.params, call.period, &call.names())?;
    let limit = match call.params.get("limit").filter(|text| !text.is_empty()) {
        None => flows::PAGE,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=EXPORT_PAGE) => limit,
            _ => {
                return Err(Problem::bad(
                    "limit",
                    format!("limit is a number from 1 to {EXPORT_PAGE}"),
                    0..text.chars().count(),
                ));
            }
        },
    };
    let page = request.page(call.store(), limit).await?;
    Ok(Json(json!({
        "period": { "from_us": call.period.from_us, "to_us": call.period.to_us },
        "filter": request.expr.to_string(),
        "flows": page.flows.iter().map(|flow| flow_json(&call.site, flow)).collect::<Vec<_>>(),
        "next": page.next.map(|next| next.to_string()),
    })))
}

/// Records over time, by verdict.
pub(super) async fn histogram(call: Call<Flows>) -> Result<Json<Value>, Problem> {
    let request = FlowRequest::parse(&call.params, call.period, &call.names())?;
    let step = crate::web::step_for(call.period);
    let bins = request.histogram(call.store(), step).await?;
    let bins: Vec<_> = bins
        .iter()
        .map(|bin| json!({ "start_us": bin.start_us, "allowed": bin.allowed, "dropped": bin.dropped, "consumed": bin.consumed }))
        .collect();
    Ok(Json(
        json!({ "period": { "from_us": call.period.from_us, "to_us": call.period.to_us }, "step_us": step, "bins": bins }),
    ))
}

/// `GET …/flows/top?by=src.ip,dst.port&limit=10`: the values, or pairs and triples of values, with most flows; the others together.
pub(super) async fn top(call: Call<Flows>) -> Result<Json<Value>, Problem> {
    let request = FlowRequest::parse(&call.params, call.period, &call.names())?;
    let text = call.params.get("by").unwrap_or_default();
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if !(1..=TopQuery::MAX_DIMENSIONS).contains(&names.len()) {
        let detail = format!(
            "by names one to {} fields with commas between, such as src.ip,dst.port",
            TopQuery::MAX_DIMENSIONS
        );
        return Err(Problem::bad("by", detail, 0..text.chars().count()));
    }
    let dimensions = names.iter().map(|name| dimension(name).map(|(_, dimension, _)| dimension));
    let Some(dimensions) = dimensions.collect::<Option<Vec<_>>>() else {
        return Err(Problem::bad(
            "by",
            "by names fields that flows can be counted by".to_owned(),
            0..text.chars().count(),
        ));
    };
    let limit = match call.params.get("limit").filter(|text| !text.is_empty()) {
        None => TOP,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=TopQuery::MAX_LIMIT) => limit,
            _ => {
                let detail = format!("limit is a number from 1 to {}", TopQuery::MAX_LIMIT);
                return Err(Problem::bad("limit", detail, 0..text.chars().count()));
            }
        },
    };
    let top = call
        .store()
        .top(TopQuery {
            period: request.period,
            filter: request.filter,
            dimensions,
            limit,
            budget: Budget::default(),
        })
        .await?;
    let counts = |bin: &Bin| json!({ "all": bin.total(), "allowed": bin.allowed, "dropped": bin.dropped, "consumed": bin.consumed });
    let rows = top
        .rows
        .iter()
        .map(|row| json!({ "values": row.values.iter().map(value).collect::<Vec<_>>(), "flows": counts(&row.flows), "last_us": row.last_us }));
    Ok(Json(json!({
        "period": { "from_us": call.period.from_us, "to_us": call.period.to_us },
        "filter": request.expr.to_string(),
        "by": names,
        "rows": rows.collect::<Vec<_>>(),
        "other": { "values": top.other_values, "flows": counts(&top.other) },
    })))
}

/// A value that flows were counted by; null for flows that have none.
fn value(value: &DimValue) -> Value {
    match value {
        DimValue::None => Value::Null,
        DimValue::Number(number) => json!(number),
        DimValue::Id(id) => json!(id),
        DimValue::Ip(ip) => json!(ip),
        DimValue::Mac(mac) => json!(mac.to_string()),
        DimValue::Text(text) => json!(text),
        DimValue::Verdict(verdict) => json!(verdict.name()),
        DimValue::Path(path) => json!(format!("{path:?}")),
    }
}

/// One flow with its way.
pub(super) async fn one(call: Call<Flows>, Path((_, id)): Path<(String, String)>) -> Result<Json<Value>, Problem> {
    let id: FlowId = id
        .parse()
        .map_err(|_| Problem::not_found("a flow id is two numbers with a dash between"))?;
    let (flow, path) = flows::flow(call.store(), id)
        .await?
        .ok_or_else(|| Problem::not_found("the flow is not stored, or not any more"))?;
    let mut body = flow_json(&call.site, &flow);
    body["devices"] = path
        .devices
        .iter()
        .map(|device| json!({ "id": device.id, "kind": device.kind }))
        .collect();
    body["rules"] = path
        .rules
        .iter()
        .map(|rule| json!({ "id": rule.id, "result": rule.result, "matched": rule.matched, "applied": rule.applied }))
        .collect();
    Ok(Json(body))
}

/// Since when the conversation of a dropped flow is dropped, and which changes of the topology are the cause; null for one that was not dropped. What
/// a change was is told to who may see the topology, too.
pub(super) async fn cause(call: Call<Flows>, Path((_, id)): Path<(String, String)>) -> Result<Json<Value>, Problem> {
    call.caller.also(Scope::Topology)?;
    let id: FlowId = id
        .parse()
        .map_err(|_| Problem::not_found("a flow id is two numbers with a dash between"))?;
    let (flow, path) = flows::flow(call.store(), id)
        .await?
        .ok_or_else(|| Problem::not_found("the flow is not stored, or not any more"))?;
    let cause = cause::cause(call.store(), &call.caller.app.sites, &call.scope, id, flow.row, path).await?;
    Ok(Json(json!({ "cause": cause })))
}

/// A flow as the API and files have it.
pub(crate) fn flow_json(site: &Site, flow: &StoredFlow) -> Value {
    let row = &flow.row;
    json!({
        "id": flow.id.to_string(),
        "time_us": row.time_us,
        "result": row.verdict.name(),
        "src": { "mac": row.src_mac.map(|mac| mac.to_string()), "ip": row.src_ip, "port": row.src_tp, "tenant": row.src_tenant, "network": row.src_network, "vport": row.src_port },
        "dst": { "mac": row.dst_mac.map(|mac| mac.to_string()), "ip": row.dst_ip, "port": row.dst_tp, "tenant": row.dst_tenant, "network": row.dst_network, "vport": row.dst_port },
        "proto": row.proto,
        "proto_name": protocol(row),
        "ethertype": row.ether_type,
        "vlans": row.vlans,
        "host": row.host,
        "host_name": site.host_name(row.host),
        "gateway": row.gateway,
        "simulation": row.sim_result,
        "in_port": row.in_port,
        "out_ports": row.out_ports,
        "cookie": row.cookie,
        "decided_by": row.rule,
        "transit": row.transit,
        "tunnel_key": row.tunnel_key,
        "tos": row.tos,
        "ttl": row.ttl,
        "icmp_id": row.icmp_id,
        "untrusted": row.untrusted,
    })
}
