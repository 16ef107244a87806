// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A dry run: which flows of the period would have had another verdict without a rule, or if it decided otherwise.

use askama::Template;
use axum::response::Response;
use uuid::Uuid;

use super::{context::Ctx, error::WebError, frame::Frame, html, units};
use crate::{
    query::{
        filter::{Expr, Field, IpSet, Test, Value},
        flows::protocol_name,
        what_if::{self, Edit, MAX_RECORDS, Pair},
    },
    site::Kind,
};

#[derive(Template)]
#[template(path = "what_if.html")]
struct Page {
    frame: Frame,
    rule: String,
    rule_link: String,
    place: String,
    edits: Vec<(&'static str, String, bool)>,
    period: String,
    looked: String,
    tiles: Vec<(&'static str, &'static str, String, &'static str)>,
    pairs: Vec<PairRow>,
    tenants: Vec<(String, String)>,
    nothing: bool,
    unsure: String,
}

struct PairRow {
    from: String,
    to: String,
    service: String,
    dropped: bool,
    records: String,
    href: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let text = ctx.params.get("rule").unwrap_or_default();
    let id: Uuid = text.parse().map_err(|_| WebError::Bad(format!("“{text}” is no UUID of a rule.")))?;
    let rule = ctx
        .site
        .rule(id)
        .ok_or_else(|| WebError::NotFound("The site has no such rule now. A dry run begins at the page of a rule.".to_owned()))?;
    let edit = match ctx.params.get("edit").filter(|text| !text.is_empty()) {
        None => Edit::Remove,
        Some(text) => Edit::parse(text).ok_or_else(|| WebError::Bad(format!("“{text}” is no change: remove, accept or drop.")))?,
    };
    let answer = what_if::what_if(ctx.store(), ctx.site.clone(), ctx.period, id, edit).await?;
    let count = |count: usize| units::count(count as u64);
    let looked = if answer.more {
        format!("the newest {} flow records of {} that met it", count(MAX_RECORDS), ctx.spec.phrase())
    } else {
        format!(
            "{} of {} that met it",
            units::plural(answer.records, "flow record", "flow records"),
            ctx.spec.phrase()
        )
    };
    let unsure = if answer.unsure > 0 {
        format!(
            "{} could not be judged: the topology changed since they were recorded, or their agent knew what is not stored.",
            units::plural(answer.unsure, "record", "records")
        )
    } else {
        String::new()
    };
    html(&Page {
        frame: Frame::new(&ctx, "What if", "device").await?,
        rule: rule.text.clone(),
        rule_link: ctx.to(&format!("d/{}/{id}", Kind::Rule.slug())),
        place: rule.chain.map_or_else(String::new, |chain| ctx.site.name(chain)),
        edits: Edit::ALL
            .iter()
            .map(|(other, word, says)| (*says, ctx.here(&[("edit", word)]), *other == edit))
            .collect(),
        period: ctx.spec.phrase(),
        looked,
        tiles: vec![
            (
                "Newly dropped",
                "down",
                count(answer.newly_dropped),
                "let through then, dropped with the change",
            ),
            (
                "Newly let through",
                "up",
                count(answer.newly_allowed),
                "dropped then, let through with the change",
            ),
            ("The same", "unknown", count(answer.unchanged), "other rules decide alike"),
        ],
        pairs: answer.pairs.iter().map(|pair| pair_row(&ctx, pair)).collect(),
        tenants: answer
            .tenants
            .iter()
            .map(|(tenant, records)| {
                let name = tenant
                    .as_deref()
                    .map_or_else(|| "from outside".to_owned(), |tenant| ctx.tenants.name(tenant));
                (name, count(*records))
            })
            .collect(),
        nothing: answer.records == 0,
        unsure,
    })
}

fn pair_row(ctx: &Ctx, pair: &Pair) -> PairRow {
    let end = |port: Option<Uuid>, address: &str| match port {
        Some(port) => format!("{} {address}", ctx.site.name(port)),
        None => address.to_owned(),
    };
    let ip = |field, address: &str| {
        address
            .parse()
            .ok()
            .map(|address| Expr::Test(Test::eq(field, Value::Ip(IpSet::One(address)))))
    };
    let tests: Vec<Expr> = [ip(Field::SrcIp, &pair.src), ip(Field::DstIp, &pair.dst)].into_iter().flatten().collect();
    PairRow {
        from: end(pair.src_port, &pair.src),
        to: end(pair.dst_port, &pair.dst),
        service: match pair.service {
            Some(port) => format!("{} {port}", protocol_name(pair.proto)),
            None => protocol_name(pair.proto),
        },
        dropped: pair.dropped,
        records: units::count(pair.records as u64),
        href: ctx.link("flows", &[("filter", &Expr::from_conjuncts(tests).to_string())]),
    }
}
