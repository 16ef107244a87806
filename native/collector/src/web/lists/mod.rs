// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Lists of physical and virtual devices. Each list is one function from the topology to a table; page, sort, narrowing and CSV are common.

mod devices;
mod hosts;
mod services;

use std::collections::HashMap;

use askama::Template;
use axum::{
    Form,
    extract::Path,
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    context::Ctx,
    error::WebError,
    frame::{Frame, state_class, state_word},
    html,
    table::{Cell, Table, TableView},
    units,
};
use crate::{
    query::traffic::PortTotal,
    site::{Kind, State},
};

#[derive(Template)]
#[template(path = "list.html")]
struct Page {
    frame: Frame,
    heading: &'static str,
    about: String,
    tabs: Vec<Tab>,
    noun: &'static str,
    empty: &'static str,
    tenant: String,
    tenant_clear: String,
    view: TableView,
    /// Tenants to name: ids, and what they are called now.
    tenants: Vec<(String, String)>,
    csrf: String,
    name_action: String,
}

struct Tab {
    title: &'static str,
    href: String,
    count: String,
    current: bool,
}

/// A list: where it is, what it is called, what an empty one means.
struct List {
    slug: &'static str,
    title: &'static str,
    noun: &'static str,
    empty: &'static str,
    sort: &'static str,
}

const PHYSICAL: [List; 4] = [
    List {
        slug: "hosts",
        title: "Hosts",
        noun: "hosts",
        empty: "Hosts appear when a gateway replicates the topology.",
        sort: "name",
    },
    List {
        slug: "tunnel-zones",
        title: "Tunnel zones",
        noun: "tunnel zones",
        empty: "This cloud has no tunnel zone.",
        sort: "name",
    },
    List {
        slug: "vteps",
        title: "VTEPs",
        noun: "VTEPs",
        empty: "This cloud uses no hardware VTEPs.",
        sort: "name",
    },
    List {
        slug: "gateways",
        title: "Gateways",
        noun: "gateways",
        empty: "No gateway of MidoInsights has connected yet.",
        sort: "name",
    },
];

const VIRTUAL: [List; 10] = [
    List {
        slug: "tenants",
        title: "Tenants",
        noun: "tenants",
        empty: "No device names a tenant.",
        sort: "-traffic",
    },
    List {
        slug: "networks",
        title: "Networks",
        noun: "networks",
        empty: "This cloud has no networks.",
        sort: "name",
    },
    List {
        slug: "routers",
        title: "Routers",
        noun: "routers",
        empty: "This cloud has no routers.",
        sort: "name",
    },
    List {
        slug: "ports",
        title: "Ports",
        noun: "ports",
        empty: "This cloud has no virtual ports.",
        sort: "name",
    },
    List {
        slug: "chains",
        title: "Chains",
        noun: "chains",
        empty: "This cloud has no chains.",
        sort: "name",
    },
    List {
        slug: "rules",
        title: "Rules",
        noun: "rules",
        empty: "This cloud has no rules.",
        sort: "chain",
    },
    List {
        slug: "security-groups",
        title: "Security groups",
        noun: "security groups",
        empty: "This cloud has no security groups.",
        sort: "name",
    },
    List {
        slug: "load-balancers",
        title: "Load balancers",
        noun: "load balancers",
        empty: "This cloud has no load balancers.",
        sort: "name",
    },
    List {
        slug: "floating-ips",
        title: "Floating IPs",
        noun: "floating IPs",
        empty: "This cloud has no floating IPs.",
        sort: "address",
    },
    List {
        slug: "subnets",
        title: "Subnets",
        noun: "subnets",
        empty: "This cloud has no subnets.",
        sort: "prefix",
    },
];

pub(crate) async fn physical(ctx: Ctx, Path((_, list)): Path<(String, String)>) -> Result<Response, WebError> {
    let list = find(&PHYSICAL, &list)?;
    let table = match list.slug {
        "hosts" => hosts::hosts(&ctx).await?,
        "tunnel-zones" => hosts::tunnel_zones(&ctx),
        "vteps" => hosts::vteps(&ctx),
        _ => hosts::gateways(&ctx),
    };
    let counts = ctx.site.counts();
    let number = |slug: &str| match slug {
        "hosts" => counts.hosts,
        "tunnel-zones" => counts.tunnel_zones,
        "vteps" => counts.vteps,
        _ => ctx.gateways.len(),
    };
    let about = format!("{} of {} hosts alive", counts.hosts_up, counts.hosts);
    answer(&ctx, "Physical", "physical", about, &PHYSICAL, list, number, table).await
}

pub(crate) async fn virtual_(ctx: Ctx, Path((_, list)): Path<(String, String)>) -> Result<Response, WebError> {
    let list = find(&VIRTUAL, &list)?;
    let table = match list.slug {
        "tenants" => devices::tenants(&ctx).await?,
        "networks" => devices::networks(&ctx).await?,
        "routers" => devices::routers(&ctx).await?,
        "ports" => devices::ports(&ctx).await?,
        "chains" => services::chains(&ctx),
        "rules" => services::rules(&ctx),
        "security-groups" => services::security_groups(&ctx),
        "load-balancers" => services::load_balancers(&ctx),
        "floating-ips" => services::floating_ips(&ctx),
        _ => services::subnets(&ctx),
    };
    let counts = ctx.site.counts();
    let number = |slug: &str| match slug {
        "tenants" => counts.tenants,
        "networks" => counts.networks,
        "routers" => counts.routers,
        "ports" => counts.ports,
        "chains" => counts.chains,
        "rules" => counts.rules,
        "security-groups" => counts.security_groups,
        "load-balancers" => counts.load_balancers,
        "floating-ips" => counts.floating_ips,
        _ => ctx.site.subnets().count(),
    };
    let about = format!(
        "{}, {}, {}, {}",
        units::plural(counts.tenants, "tenant", "tenants"),
        units::plural(counts.routers, "router", "routers"),
        units::plural(counts.networks, "network", "networks"),
        units::plural(counts.ports, "port", "ports")
    );
    answer(&ctx, "Virtual", "virtual", about, &VIRTUAL, list, number, table).await
}

#[derive(Deserialize)]
pub(crate) struct NameForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    name: String,
}

/// Gives a tenant a name, or takes it away with an empty one.
pub(crate) async fn name_tenant(ctx: Ctx, headers: HeaderMap, Form(form): Form<NameForm>) -> Result<Response, WebError> {
    ctx.guard(&headers, &form.csrf)?;
    ctx.app.accounts.name_tenant(&ctx.scope, &form.tenant, &form.name, ctx.now_us).await?;
    Ok(Redirect::to(&ctx.to("virtual/tenants")).into_response())
}

#[allow(clippy::too_many_arguments)]
async fn answer(
    ctx: &Ctx,
    heading: &'static str,
    place: &'static str,
    about: String,
    lists: &[List],
    list: &List,
    number: impl Fn(&str) -> usize,
    table: Table,
) -> Result<Response, WebError> {
    if ctx.params.get("format") == Some("csv") {
        return Ok(table.csv(ctx, list.sort));
    }
    let mut tabs: Vec<Tab> = lists
        .iter()
        .map(|tab| Tab {
            title: tab.title,
            href: ctx.to(&format!("{place}/{}", tab.slug)),
            count: units::count(number(tab.slug) as u64),
            current: tab.slug == list.slug,
        })
        .collect();
    if place == "virtual" {
        tabs.insert(
            0,
            Tab {
                title: "Topology",
                href: ctx.to("virtual"),
                count: String::new(),
                current: false,
            },
        );
    }
    html(&Page {
        frame: Frame::new(ctx, list.title, place).await?,
        heading,
        about,
        tabs,
        noun: list.noun,
        empty: list.empty,
        tenant: ctx
            .params
            .get("tenant")
            .filter(|id| !id.is_empty())
            .map_or_else(String::new, |id| ctx.tenants.name(id)),
        tenant_clear: ctx.here(&[("tenant", ""), ("page", "")]),
        view: table.view(ctx, list.sort),
        tenants: if list.slug == "tenants" {
            ctx.site
                .tenants()
                .iter()
                .map(|tenant| (tenant.id.clone(), ctx.tenants.0.get(&tenant.id).unwrap_or_default().to_owned()))
                .collect()
        } else {
            Vec::new()
        },
        csrf: ctx.csrf(),
        name_action: format!("{}/tenants/name", ctx.base()),
    })
}

fn find<'a>(lists: &'a [List], slug: &str) -> Result<&'a List, WebError> {
    lists
        .iter()
        .find(|list| list.slug == slug)
        .ok_or_else(|| WebError::NotFound(format!("There is no list of {slug}.")))
}

/// Name with its state, linked to the device's page.
pub(crate) fn device(ctx: &Ctx, kind: Kind, id: Uuid, name: &str, state: Option<State>) -> Cell {
    let cell = Cell::text(name).link(ctx.to(&format!("d/{}/{id}", kind.slug()))).bold();
    match state {
        Some(state) => cell.state(state_class(state)),
        None => cell,
    }
}

fn state(state: State, since_us: Option<i64>, now_us: i64) -> Cell {
    let sub = since_us.map_or_else(String::new, |since| format!("since {}", units::since(since, now_us)));
    Cell::text(state_word(state)).sub(sub)
}

fn tenant(ctx: &Ctx, tenant: Option<&str>) -> Cell {
    tenant.filter(|tenant| !tenant.is_empty()).map_or_else(Cell::none, |tenant| {
        Cell::project(tenant, ctx.tenants.name(tenant)).link(ctx.link("virtual/networks", &[("tenant", tenant)]))
    })
}

/// A linked object by its id.
fn object(ctx: &Ctx, kind: Kind, id: Option<Uuid>) -> Cell {
    id.map_or_else(Cell::none, |id| {
        Cell::text(ctx.site.name(id)).link(ctx.to(&format!("d/{}/{id}", kind.slug())))
    })
}

fn bytes(value: Option<f64>) -> Cell {
    value
        .filter(|value| *value > 0.0)
        .map_or_else(Cell::none, |value| Cell::number(value, units::bytes(value)))
}

fn id(id: Uuid) -> Cell {
    Cell::text(id.to_string()).mono()
}

/// The list shows one tenant's objects when the URL names it.
fn of_tenant(ctx: &Ctx, tenant: Option<&str>) -> bool {
    ctx.params
        .get("tenant")
        .filter(|wanted| !wanted.is_empty())
        .is_none_or(|wanted| tenant == Some(wanted))
}

/// Sum over some ports of a direction-less total.
fn sum(totals: &HashMap<Uuid, PortTotal>, ports: &[Uuid]) -> Option<f64> {
    let mut known = ports.iter().filter_map(|port| totals.get(port)).peekable();
    known.peek()?;
    Some(known.map(PortTotal::bytes).sum())
}
