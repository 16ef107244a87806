// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The chains of a device in the order in which packets meet them, with how often each rule was met.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use insights_store::{
    FlowFilter, FlowTest,
    query::{Budget, HitsQuery, RuleHits},
};
use uuid::Uuid;

use super::{Device, Head};
use crate::{
    site::{Kind, Site},
    web::{context::Ctx, error::WebError, frame::Frame, html, units},
};

#[derive(Template)]
#[template(path = "device_rules.html")]
struct Page {
    frame: Frame,
    head: Head,
    chains: Vec<ChainView>,
    period: String,
}

struct ChainView {
    name: String,
    href: String,
    role: String,
    rules: Vec<RuleView>,
}

struct RuleView {
    position: String,
    text: String,
    href: String,
    jump: Option<(String, String)>,
    evaluated: String,
    matched: String,
    last: String,
    flows: String,
    never: bool,
}

pub(crate) fn has_rules(kind: Kind) -> bool {
    matches!(kind, Kind::Chain | Kind::Port | Kind::Network | Kind::Router | Kind::SecurityGroup)
}

pub(crate) async fn page(ctx: &Ctx, device: &Device) -> Result<Response, WebError> {
    let filter = match device.kind {
        // Rules of a group are met in the chains of its ports; there is no device to narrow by.
        Kind::SecurityGroup => FlowFilter::Is(FlowTest::Transit(false)),
        _ => FlowFilter::Is(FlowTest::Device(device.id)),
    };
    let query = HitsQuery {
        period: ctx.period,
        filter,
        budget: Budget::default(),
    };
    let hits: HashMap<Uuid, RuleHits> = ctx.store().hits(query).await?.into_iter().map(|hits| (hits.rule, hits)).collect();
    let chains = chains(&ctx.site, device)
        .into_iter()
        .filter_map(|(role, id)| view(ctx, &hits, role, id))
        .collect();
    html(&Page {
        frame: Frame::new(ctx, &device.object.name, device.place()).await?,
        head: device.head(ctx, "rules"),
        chains,
        period: ctx.spec.title().to_lowercase(),
    })
}

/// Roles and ids.
fn chains(site: &Site, device: &Device) -> Vec<(&'static str, Uuid)> {
    let pairs: Vec<(&'static str, Option<Uuid>)> = match device.kind {
        Kind::Chain => vec![("this chain", Some(device.id))],
        Kind::Port => site.port(device.id).map_or_else(Vec::new, |port| {
            vec![
                ("inbound, from the port", port.inbound_chain),
                ("outbound, to the port", port.outbound_chain),
            ]
        }),
        Kind::Network => site.network(device.id).map_or_else(Vec::new, |network| {
            vec![("inbound", network.inbound_chain), ("outbound", network.outbound_chain)]
        }),
        Kind::Router => site.router(device.id).map_or_else(Vec::new, |router| {
            vec![
                ("pre-routing", router.inbound_chain),
                ("forward", router.forward_chain),
                ("post-routing", router.outbound_chain),
                ("redirect", router.redirect_chain),
            ]
        }),
        _ => site.security_group(device.id).map_or_else(Vec::new, |group| {
            vec![
                ("inbound, from members", group.inbound_chain),
                ("outbound, to members", group.outbound_chain),
            ]
        }),
    };
    pairs.into_iter().filter_map(|(role, id)| Some((role, id?))).collect()
}

fn view(ctx: &Ctx, hits: &HashMap<Uuid, RuleHits>, role: &str, id: Uuid) -> Option<ChainView> {
    let chain = ctx.site.chain(id)?;
    let rules = chain
        .rules
        .iter()
        .filter_map(|id| ctx.site.rule(*id))
        .map(|rule| {
            let hits = hits.get(&rule.id);
            RuleView {
                position: rule.position.map_or_else(|| "–".to_owned(), |position| position.to_string()),
                href: ctx.to(&format!("d/rule/{}", rule.id)),
                jump: rule
                    .jump_to
                    .map(|chain| (ctx.site.name(chain), ctx.to(&format!("d/chain/{chain}/rules")))),
                evaluated: units::count(hits.map_or(0, |hits| hits.evaluated)),
                matched: units::count(hits.map_or(0, |hits| hits.matched)),
                last: hits
                    .and_then(|hits| hits.last_matched_us)
                    .map_or_else(String::new, |last| units::since(last, ctx.now_us)),
                flows: ctx.link("flows", &[("filter", &format!("matched = {}", rule.id))]),
                never: hits.is_none_or(|hits| hits.matched == 0),
                text: rule.text,
            }
        })
        .collect();
    Some(ChainView {
        href: ctx.to(&format!("d/chain/{id}")),
        role: role.to_owned(),
        name: chain.name,
        rules,
    })
}
