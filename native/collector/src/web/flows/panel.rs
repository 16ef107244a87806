// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One flow beside the list: what became of it and why, its way, its fields.

use std::net::IpAddr;

use insights_store::{FlowFilter, FlowId, FlowRow, FlowTest, Path, Verdict};
use midonet::flow::action::{self, Action};
use uuid::Uuid;

use super::{
    path::{self, Step},
    rows,
};
use crate::{
    query::{
        filter::{Expr, Field, IpSet, Test, Value},
        flows::{self, FlowRequest, has_ports, protocol},
    },
    site::Site,
    web::{context::Ctx, error::WebError, units},
};

pub(super) struct Panel {
    pub(super) state: &'static str,
    pub(super) result: String,
    pub(super) title: String,
    pub(super) time: String,
    pub(super) full: String,
    pub(super) close: String,
    pub(super) share: String,
    pub(super) why: String,
    pub(super) why_more: String,
    /// Source and destination.
    pub(super) sides: [Side; 2],
    pub(super) steps: Vec<Step>,
    pub(super) base: String,
    pub(super) keep: String,
    pub(super) end: String,
    pub(super) dropped: bool,
    pub(super) translation: Vec<String>,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) links: Vec<(&'static str, String)>,
}

pub(super) struct Side {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) address: String,
    pub(super) about: String,
}

impl Panel {
    pub(super) async fn load(ctx: &Ctx, id: FlowId, request: &FlowRequest) -> Result<Option<Self>, WebError> {
        let Some((flow, path)) = flows::flow(ctx.store(), id).await? else {
            return Ok(None);
        };
        let row = &flow.row;
        let then = ctx.app.sites.at(&ctx.scope, row.time_us).await?;
        let steps = path::steps(&then, row, &path);
        let (state, result) = rows::verdict(row.verdict);
        let same_rule = match row.rule.filter(|_| row.verdict == Verdict::Dropped) {
            Some(rule) => {
                let filter = FlowFilter::And(vec![
                    FlowFilter::Is(FlowTest::DecidedBy(rule)),
                    FlowFilter::Is(FlowTest::Verdict(Verdict::Dropped)),
                ]);
                flows::count(ctx.store(), ctx.period, filter).await?.total()
            }
            None => 0,
        };
        let (why, why_more) = why(&then, row, &steps, same_rule, ctx);
        let keep = ctx.to("");
        let mut result = result.to_owned();
        if let Some(first) = result.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Ok(Some(Self {
            state,
            title: title(row),
            time: format!("{}.{:03}", units::clock(row.time_us), row.time_us.rem_euclid(1_000_000) / 1_000),
            full: units::full(row.time_us),
            close: ctx.here(&[("flow", "")]),
            share: ctx.link(
                "flows",
                &[
                    ("flow", &id.to_string()),
                    ("filter", &request.expr.to_string()),
                    ("period", &crate::query::params::fixed_text(ctx.period)),
                ],
            ),
            why,
            why_more,
            sides: [
                side(
                    ctx,
                    &then,
                    row.src_port,
                    row.src_ip,
                    row.src_mac,
                    row.src_tp,
                    row.src_tenant.as_deref(),
                    has_ports(row),
                ),
                side(
                    ctx,
                    &then,
                    row.dst_port,
                    row.dst_ip,
                    row.dst_mac,
                    row.dst_tp,
                    row.dst_tenant.as_deref(),
                    has_ports(row),
                ),
            ],
            end: end(&then, row, same_rule, ctx),
            dropped: row.verdict == Verdict::Dropped,
            translation: translation(row),
            fields: fields(&then, row, &path),
            links: links(ctx, id, row),
            base: ctx.base(),
            keep: keep.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned()),
            steps,
            result,
        }))
    }
}

fn title(row: &FlowRow) -> String {
    let first = match row.sim_result {
        10 => "made by the agent",
        7 => "handled in user space",
        _ if row.transit => "from a tunnel",
        _ => "flow",
    };
    format!("{}, {first}", protocol(row))
}

fn why(then: &Site, row: &FlowRow, steps: &[Step], same_rule: u64, ctx: &Ctx) -> (String, String) {
    if row.verdict != Verdict::Dropped {
        return (String::new(), String::new());
    }
    let device = steps.iter().find(|step| step.dropped);
    let place = device.map_or_else(|| "The virtual network".to_owned(), |step| format!("{} ({})", step.name, step.about));
    let Some(rule) = row.rule else {
        let text = match device.map(|step| step.kind) {
            Some("router") => format!(
                "No rule decided. It ended at the router {place}: no route leads on, or a route drops or rejects it, or nobody answered for the next address."
            ),
            Some(_) => format!("No rule decided. It ended at {place}."),
            None => "No rule decided, and the record names no device: the agent's simulation ended in an error.".to_owned(),
        };
        return (text, String::new());
    };
    let chain = device.and_then(|step| step.chains.iter().rev().find(|chain| chain.rules.iter().any(|rule| rule.decided_drop)));
    let text = then.rule(rule).map_or_else(|| format!("rule {rule}"), |rule| rule.text);
    let title = chain.map_or_else(|| "its chain".to_owned(), |chain| format!("the {}", chain.title));
    let more = if ctx.site.rule(rule).is_none() {
        "The rule is not in the topology any more.".to_owned()
    } else if same_rule > 1 {
        format!("It dropped {} flow records in {}.", units::count(same_rule), ctx.spec.phrase())
    } else {
        String::new()
    };
    (format!("{place} dropped it. In {title}, the rule “{text}” decided."), more)
}

fn end(then: &Site, row: &FlowRow, same_rule: u64, ctx: &Ctx) -> String {
    match row.verdict {
        Verdict::Dropped if same_rule > 0 => format!("by a rule, {} times in {}", units::count(same_rule), ctx.spec.phrase()),
        Verdict::Dropped => "without a rule".to_owned(),
        Verdict::Consumed => "in the virtual network itself".to_owned(),
        Verdict::Allowed => {
            let names: Vec<_> = row.out_ports.iter().take(3).map(|port| then.name(*port)).collect();
            match row.out_ports.len() {
                0 => "to a tunnel or a local port".to_owned(),
                count if count > 3 => format!("to {} and {} more ports", names.join(", "), count - 3),
                _ => format!("to {}", names.join(", ")),
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn side(
    ctx: &Ctx,
    then: &Site,
    port: Option<Uuid>,
    ip: Option<IpAddr>,
    mac: Option<insights_store::Mac>,
    tp: u16,
    tenant: Option<&str>,
    ports: bool,
) -> Side {
    let address = match ip {
        Some(ip) if ports && ip.is_ipv6() => format!("[{ip}]:{tp}"),
        Some(ip) if ports => format!("{ip}:{tp}"),
        Some(ip) => ip.to_string(),
        None => mac.map_or_else(|| "–".to_owned(), |mac| mac.to_string()),
    };
    let name = rows::end_name(then, port);
    let host = port
        .and_then(|id| then.port(id))
        .and_then(|port| port.host)
        .map(|host| then.host_name(host));
    let about: Vec<String> = tenant
        .map(|tenant| format!("tenant {}", ctx.tenants.name(tenant)))
        .into_iter()
        .chain(host)
        .collect();
    Side {
        name: if name.is_empty() { "unknown end".to_owned() } else { name },
        href: port
            .filter(|id| ctx.site.port_kind(*id).is_some())
            .map_or_else(String::new, |id| ctx.to(&format!("d/port/{id}"))),
        address,
        about: about.join(" · "),
    }
}

/// What the actions change in the packet.
fn translation(row: &FlowRow) -> Vec<String> {
    let mut found = Vec::new();
    for action in action::decode(&row.actions).actions {
        match action {
            Action::SetIpv4 { src, dst, .. } => {
                let change = |before: Option<IpAddr>, after: IpAddr, what: &str| {
                    before
                        .filter(|before| *before != after)
                        .map(|before| format!("{what} {before} becomes {after}"))
                };
                found.extend(change(row.src_ip, src.into(), "source"));
                found.extend(change(row.dst_ip, dst.into(), "destination"));
            }
            Action::SetTcp { src, dst } | Action::SetUdp { src, dst } => {
                if src != row.src_tp {
                    found.push(format!("source port {} becomes {src}", row.src_tp));
                }
                if dst != row.dst_tp {
                    found.push(format!("destination port {} becomes {dst}", row.dst_tp));
                }
            }
            Action::SetTunnel { dst, id, .. } => found.push(format!("sent by the tunnel to {dst}, key {id}")),
            _ => {}
        }
    }
    found
}

fn fields(then: &Site, row: &FlowRow, path: &Path) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("Host", then.host_name(row.host)),
        ("Ethertype", format!("0x{:04x}", row.ether_type)),
        ("Protocol", protocol(row)),
    ];
    let mut put = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
    put("Source MAC", row.src_mac.map(|mac| mac.to_string()));
    put("Destination MAC", row.dst_mac.map(|mac| mac.to_string()));
    put(
        "ICMP type, code",
        (matches!(row.ether_type, 0x0800 | 0x86dd) && matches!(row.proto, 1 | 58)).then(|| format!("{}, {}", row.src_tp, row.dst_tp)),
    );
    put(
        "VLANs",
        (!row.vlans.is_empty()).then(|| row.vlans.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")),
    );
    put("TTL, TOS", (row.ttl > 0).then(|| format!("{}, {}", row.ttl, row.tos)));
    put("Tunnel key", (row.tunnel_key != 0).then(|| row.tunnel_key.to_string()));
    put(
        "Simulation",
        Field::Simulation
            .words()
            .iter()
            .find(|(_, number)| *number == u64::from(row.sim_result))
            .map(|(word, _)| word.replace('_', " ")),
    );
    put("Devices, rules", Some(format!("{}, {}", path.devices.len(), path.rules.len())));
    put(
        "Fields not to be trusted",
        (row.untrusted != 0).then(|| {
            let fields = midonet::flow::Untrusted::from_bits_truncate(row.untrusted);
            fields
                .iter_names()
                .map(|(name, _)| name.to_lowercase().replace('_', " "))
                .collect::<Vec<_>>()
                .join(", ")
        }),
    );
    fields
}

fn links(ctx: &Ctx, id: FlowId, row: &FlowRow) -> Vec<(&'static str, String)> {
    let mut links = Vec::new();
    if row.in_port.is_some() && !row.transit {
        links.push(("Trace over the topology of then", ctx.link("trace", &[("flow", &id.to_string())])));
    }
    let flows = |tests: Vec<Test>| {
        ctx.link(
            "flows",
            &[("filter", &Expr::from_conjuncts(tests.into_iter().map(Expr::Test).collect()).to_string())],
        )
    };
    if let (Some(src), Some(dst)) = (row.src_ip, row.dst_ip) {
        links.push((
            "Same pair",
            flows(vec![
                Test::eq(Field::SrcIp, Value::Ip(IpSet::One(src))),
                Test::eq(Field::DstIp, Value::Ip(IpSet::One(dst))),
            ]),
        ));
        links.push((
            "The other direction",
            flows(vec![
                Test::eq(Field::SrcIp, Value::Ip(IpSet::One(dst))),
                Test::eq(Field::DstIp, Value::Ip(IpSet::One(src))),
            ]),
        ));
    }
    if let Some(rule) = row.rule {
        links.push(("Same rule", flows(vec![Test::eq(Field::Decided, Value::Name(rule.to_string()))])));
        if ctx.site.rule(rule).is_some() {
            links.push(("The rule", ctx.to(&format!("d/rule/{rule}"))));
        }
    }
    if let Some(port) = row.dst_port.filter(|id| ctx.site.port_kind(*id).is_some()) {
        links.push(("Traffic of the destination", ctx.to(&format!("d/port/{port}/traffic"))));
    }
    links
}
