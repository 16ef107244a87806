// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use insights_store::{FlowId, Verdict, query::StoredFlow};
use uuid::Uuid;

use crate::{
    query::{
        filter::{Expr, Field, IpSet, Test, Value},
        flows::{has_ports, protocol},
    },
    site::{PortKind, Site},
    web::{context::Ctx, units},
};

/// A line of the list.
pub(super) struct Row {
    pub(super) href: String,
    pub(super) chosen: bool,
    pub(super) time: String,
    pub(super) part: String,
    pub(super) full: String,
    pub(super) state: &'static str,
    pub(super) result: &'static str,
    pub(super) source: End,
    pub(super) destination: End,
    pub(super) proto: Choice,
    pub(super) host: Choice,
    pub(super) decided: Choice,
    pub(super) decided_place: String,
    pub(super) result_choice: Choice,
}

/// One side of a flow.
pub(super) struct End {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) choice: Choice,
}

/// A value to filter by, or to exclude.
pub(super) struct Choice {
    pub(super) text: String,
    pub(super) only: String,
    pub(super) not: String,
}

impl Row {
    pub(super) fn new(ctx: &Ctx, expr: &Expr, flow: &StoredFlow, chosen: Option<FlowId>) -> Self {
        let row = &flow.row;
        let pick = |text: String, test: Option<Test>| choice(ctx, expr, text, test);
        let ports = has_ports(row);
        let side = |port: Option<Uuid>, ip: Option<std::net::IpAddr>, mac: Option<insights_store::Mac>, tp: u16, field: Field, mac_field: Field| {
            let bare = ip
                .map(|ip| ip.to_string())
                .or_else(|| mac.map(|mac| mac.to_string()))
                .unwrap_or_else(|| "–".to_owned());
            let address = match ip {
                Some(ip) if ports && ip.is_ipv6() => format!("[{ip}]:{tp}"),
                Some(ip) if ports => format!("{ip}:{tp}"),
                _ => bare.clone(),
            };
            let test = ip
                .map(|ip| Test::eq(field, Value::Ip(IpSet::One(ip))))
                .or_else(|| mac.map(|mac| Test::eq(mac_field, Value::Mac(mac))));
            End {
                name: end_name(&ctx.site, port),
                address,
                choice: pick(bare, test),
            }
        };
        let decided = row.rule.and_then(|id| ctx.site.rule(id));
        let (state, result) = verdict(row.verdict);
        let result_value = Value::Number(row.verdict as u64, row.verdict as u64);
        let proto_field = if matches!(row.ether_type, 0x0800 | 0x86dd) {
            (Field::Proto, u64::from(row.proto))
        } else {
            (Field::EtherType, u64::from(row.ether_type))
        };
        Self {
            href: ctx.here(&[("flow", &flow.id.to_string())]),
            chosen: chosen == Some(flow.id),
            time: units::clock(row.time_us),
            part: format!(".{:03}", row.time_us.rem_euclid(1_000_000) / 1_000),
            full: units::full(row.time_us),
            state,
            result,
            source: side(row.src_port, row.src_ip, row.src_mac, row.src_tp, Field::SrcIp, Field::SrcMac),
            destination: side(row.dst_port, row.dst_ip, row.dst_mac, row.dst_tp, Field::DstIp, Field::DstMac),
            proto: pick(protocol(row), Some(Test::eq(proto_field.0, Value::Number(proto_field.1, proto_field.1)))),
            host: pick(
                ctx.site.host_name(row.host),
                Some(Test::eq(Field::Host, Value::Name(row.host.to_string()))),
            ),
            decided: pick(
                decided.as_ref().map_or_else(
                    || {
                        row.rule
                            .map_or_else(|| "no rule".to_owned(), |id| format!("rule {}", &id.to_string()[..8]))
                    },
                    |rule| rule.text.clone(),
                ),
                row.rule.map(|id| Test::eq(Field::Decided, Value::Name(id.to_string()))),
            ),
            decided_place: decided
                .as_ref()
                .map_or_else(String::new, |rule| crate::web::device::rule_place(&ctx.site, rule)),
            result_choice: pick(result.to_owned(), Some(Test::eq(Field::Result, result_value))),
        }
    }
}

/// Shape and word of a verdict.
pub(super) fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Allowed => ("up", "allowed"),
        Verdict::Dropped => ("down", "dropped"),
        Verdict::Consumed => ("unknown", "consumed"),
    }
}

/// Name of what a virtual port stands for: the VM, or the outside of an uplink.
pub(super) fn end_name(site: &Site, port: Option<Uuid>) -> String {
    let Some(id) = port else { return String::new() };
    match site.port_kind(id) {
        Some(PortKind::Uplink) => format!("outside, by {}", site.name(id)),
        Some(_) => site.name(id),
        None => format!("port {}", &id.to_string()[..8]),
    }
}

fn choice(ctx: &Ctx, expr: &Expr, text: String, test: Option<Test>) -> Choice {
    let Some(test) = test else {
        return Choice {
            text,
            only: String::new(),
            not: String::new(),
        };
    };
    let link = |expr: Expr| ctx.here(&[("filter", &expr.to_string()), ("after", ""), ("flow", "")]);
    let not = Test::ne(test.field, test.values[0].clone());
    Choice {
        text,
        only: link(expr.with(test)),
        not: link(expr.with(not)),
    }
}
