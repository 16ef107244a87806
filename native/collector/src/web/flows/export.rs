// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows as a file, a page at a time, so that any number of them takes the memory of one page.

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures::StreamExt;
use insights_store::{StoreError, query::StoredFlow};

use crate::{
    query::flows::{EXPORT_PAGE, FlowRequest, protocol},
    site::Site,
    web::{
        context::Ctx,
        table::{csv_line, csv_response},
        units,
    },
};

const COLUMNS: [&str; 26] = [
    "id",
    "time",
    "result",
    "src_name",
    "src_mac",
    "src_ip",
    "src_port",
    "src_tenant",
    "src_vport",
    "dst_name",
    "dst_mac",
    "dst_ip",
    "dst_port",
    "dst_tenant",
    "dst_vport",
    "proto",
    "ethertype",
    "vlans",
    "host",
    "host_id",
    "decided_by",
    "decided_text",
    "simulation",
    "transit",
    "tunnel_key",
    "out_ports",
];

pub(super) fn csv(ctx: &Ctx, request: FlowRequest) -> Response {
    let name = format!("{}-flows.csv", ctx.site_name);
    let (store, site) = (ctx.store().clone(), ctx.site.clone());
    let pages = futures::stream::unfold(Some((request, true)), move |state| {
        let (store, site) = (store.clone(), site.clone());
        async move {
            let (mut request, first) = state?;
            let page = match request.page(&store, EXPORT_PAGE).await {
                Ok(page) => page,
                // The file ends with a broken transfer, so that nobody takes a part for the whole.
                Err(error) => return Some((Err::<Bytes, StoreError>(error), None)),
            };
            let mut out = String::new();
            if first {
                csv_line(&mut out, COLUMNS);
            }
            for flow in &page.flows {
                line(&mut out, &site, flow);
            }
            let next = page.next.map(|next| {
                request.after = Some(next);
                (request, false)
            });
            Some((Ok(Bytes::from(out)), next))
        }
    });
    // The body may be asked again after its end, by the compression for one.
    let pages = pages.fuse();
    let (parts, _) = csv_response(&name, String::new()).into_parts();
    Response::from_parts(parts, Body::from_stream(pages))
}

fn line(out: &mut String, site: &Site, flow: &StoredFlow) {
    let row = &flow.row;
    let text = |value: Option<String>| value.unwrap_or_default();
    let end = |port: Option<uuid::Uuid>| super::rows::end_name(site, port);
    let cells = [
        flow.id.to_string(),
        units::rfc3339(row.time_us),
        row.verdict.name().to_owned(),
        end(row.src_port),
        text(row.src_mac.map(|mac| mac.to_string())),
        text(row.src_ip.map(|ip| ip.to_string())),
        row.src_tp.to_string(),
        text(row.src_tenant.as_ref().map(ToString::to_string)),
        text(row.src_port.map(|id| id.to_string())),
        end(row.dst_port),
        text(row.dst_mac.map(|mac| mac.to_string())),
        text(row.dst_ip.map(|ip| ip.to_string())),
        row.dst_tp.to_string(),
        text(row.dst_tenant.as_ref().map(ToString::to_string)),
        text(row.dst_port.map(|id| id.to_string())),
        protocol(row),
        format!("0x{:04x}", row.ether_type),
        row.vlans.iter().map(u16::to_string).collect::<Vec<_>>().join(" "),
        site.host_name(row.host),
        row.host.to_string(),
        text(row.rule.map(|id| id.to_string())),
        text(row.rule.and_then(|id| site.rule(id)).map(|rule| rule.text)),
        row.sim_result.to_string(),
        if row.transit { "yes" } else { "no" }.to_owned(),
        row.tunnel_key.to_string(),
        row.out_ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ];
    csv_line(out, cells.iter().map(String::as_str));
}
