// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flows as a file, a page at a time, so that any number of them takes the memory of one page.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures::StreamExt;
use insights_store::{StoreError, query::StoredFlow};

use crate::{
    api,
    query::flows::{EXPORT_PAGE, FlowRequest, protocol},
    site::Site,
    web::{
        context::Ctx,
        table::{attachment, csv_line, csv_response},
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
    let (parts, _) = csv_response(&format!("{}-flows.csv", ctx.site_name), String::new()).into_parts();
    let body = stream(ctx, request, |out, site, flows, first, _| {
        if first {
            csv_line(out, COLUMNS);
        }
        for flow in flows {
            line(out, site, flow);
        }
    });
    Response::from_parts(parts, body)
}

/// One array, with an object per flow as the API has it.
pub(super) fn json(ctx: &Ctx, request: FlowRequest) -> Response {
    let body = stream(ctx, request, |out, site, flows, first, last| {
        if first {
            out.push('[');
        }
        for (at, flow) in flows.iter().enumerate() {
            out.push_str(if first && at == 0 { "\n" } else { ",\n" });
            out.push_str(&api::flow_json(site, flow).to_string());
        }
        if last {
            out.push_str("\n]\n");
        }
    });
    let mut response = Response::new(body);
    let name = attachment(&format!("{}-flows.json", ctx.site_name));
    let kind = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .extend([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)]);
    response
}

/// Writes one page: the text so far, the flows, whether it is the first, and the last.
type Write = fn(&mut String, &Site, &[StoredFlow], bool, bool);

fn stream(ctx: &Ctx, request: FlowRequest, write: Write) -> Body {
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
            write(&mut out, &site, &page.flows, first, page.next.is_none());
            let next = page.next.map(|next| {
                request.after = Some(next);
                (request, false)
            });
            Some((Ok(Bytes::from(out)), next))
        }
    });
    // The body may be asked again after its end, by the compression for one.
    Body::from_stream(pages.fuse())
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
