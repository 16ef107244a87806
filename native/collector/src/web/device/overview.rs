// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use insights_store::{FlowFilter, FlowTest, Verdict};

use super::{
    Device, Head,
    facts::{self, Fact},
    neighbours::{self, Node},
    traffic,
};
use crate::{
    query::{
        filter,
        flows::{self, has_ports},
        traffic::port_totals,
    },
    site::Kind,
    web::{context::Ctx, error::WebError, frame::Frame, html, units},
};

/// Drops beside the chart.
const DROPS: usize = 8;
const POINTS: i64 = 160;

#[derive(Template)]
#[template(path = "device.html")]
struct Page {
    frame: Frame,
    head: Head,
    has_neighbours: bool,
    columns: Vec<(&'static str, Vec<Node>)>,
    drawing: String,
    as_list: bool,
    drawing_link: String,
    list_link: String,
    facts: Vec<Fact>,
    traffic: String,
    traffic_note: String,
    traffic_link: String,
    drops: Vec<Drop>,
    drops_link: String,
    has_flows: bool,
    interfaces: Vec<InterfaceRow>,
    interfaces_note: String,
}

struct Drop {
    time: String,
    href: String,
    from: String,
    to: String,
}

struct InterfaceRow {
    name: String,
    kind: String,
    up: bool,
    mac: String,
    addresses: String,
    mtu: String,
    port: String,
    port_link: String,
}

pub(crate) async fn page(ctx: &Ctx, device: &Device) -> Result<Response, WebError> {
    let groups = traffic::groups(&ctx.site, device.kind, device.id);
    let totals = match device.kind {
        Kind::Network | Kind::Router | Kind::Port | Kind::Host => port_totals(ctx.store(), ctx.period).await?,
        _ => HashMap::new(),
    };
    let found = neighbours::of(ctx, device, &totals);
    let seconds = (ctx.period.to_us - ctx.period.from_us).max(1) as f64 / 1e6;
    let (chart, note) = match &groups {
        Some(groups) => {
            let mut chart = traffic::large(ctx, device, groups, false, POINTS).await?;
            chart.height = 160;
            (chart.html(), groups.note.to_owned())
        }
        None => (String::new(), String::new()),
    };
    let text = device.filter();
    let drops = match &text {
        Some(text) => drops(ctx, text).await?,
        None => Vec::new(),
    };
    let (interfaces, interfaces_note) = interfaces(ctx, device);
    html(&Page {
        frame: Frame::new(ctx, &device.object.name, device.place()).await?,
        head: device.head(ctx, ""),
        has_neighbours: !found.left.is_empty() || !found.right.is_empty(),
        drawing: neighbours::drawing(device, &found, seconds),
        columns: vec![(found.left_title, found.left), (found.right_title, found.right)],
        as_list: ctx.params.get("view") == Some("list"),
        drawing_link: ctx.here(&[("view", "")]),
        list_link: ctx.here(&[("view", "list")]),
        facts: facts::of(ctx, device),
        traffic: chart,
        traffic_note: note,
        traffic_link: device.link(ctx, "traffic"),
        drops,
        drops_link: text.as_ref().map_or_else(String::new, |text| {
            ctx.link("flows", &[("filter", &format!("{text} and result = dropped"))])
        }),
        has_flows: text.is_some(),
        interfaces,
        interfaces_note,
    })
}

async fn drops(ctx: &Ctx, text: &str) -> Result<Vec<Drop>, WebError> {
    let expr = filter::parse(text).map_err(|error| WebError::Bad(error.to_string()))?;
    let filter = filter::resolve::resolve(&expr, &ctx.names()).map_err(|error| WebError::Bad(error.to_string()))?;
    let filter = filter.and(FlowFilter::Is(FlowTest::Verdict(Verdict::Dropped)));
    let flows = flows::newest(ctx.store(), ctx.period, filter, DROPS).await?;
    Ok(flows
        .iter()
        .map(|flow| {
            let row = &flow.row;
            let end = |port: Option<uuid::Uuid>, ip: Option<std::net::IpAddr>, mac: Option<insights_store::Mac>| match port {
                Some(port) if ctx.site.port_kind(port).is_some() => ctx.site.name(port),
                _ => ip
                    .map(|ip| ip.to_string())
                    .or_else(|| mac.map(|mac| mac.to_string()))
                    .unwrap_or_else(|| "–".to_owned()),
            };
            let port = if has_ports(row) { format!(" : {}", row.dst_tp) } else { String::new() };
            Drop {
                time: units::clock(row.time_us),
                href: ctx.link(
                    "flows",
                    &[("filter", &format!("{text} and result = dropped")), ("flow", &flow.id.to_string())],
                ),
                from: end(row.src_port, row.src_ip, row.src_mac),
                to: format!("{}{port}", end(row.dst_port, row.dst_ip, row.dst_mac)),
            }
        })
        .collect())
}

fn interfaces(ctx: &Ctx, device: &Device) -> (Vec<InterfaceRow>, String) {
    let Some(host) = (device.kind == Kind::Host).then(|| ctx.site.host(device.id)).flatten() else {
        return (Vec::new(), String::new());
    };
    let note = if host.interfaces_current {
        "as the agent reports them".to_owned()
    } else {
        "as they were before the host went down".to_owned()
    };
    let rows = host
        .interfaces
        .into_iter()
        .map(|interface| InterfaceRow {
            name: interface.name,
            kind: interface.kind.to_lowercase(),
            up: interface.up && interface.has_link,
            mac: interface.mac.map_or_else(String::new, |mac| mac.to_string()),
            addresses: interface.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            mtu: interface.mtu.map_or_else(String::new, |mtu| mtu.to_string()),
            port: interface.port.map_or_else(String::new, |port| ctx.site.name(port)),
            port_link: interface.port.map_or_else(String::new, |port| ctx.to(&format!("d/port/{port}"))),
        })
        .collect();
    (rows, note)
}
