// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The virtual topology in layers: outside, edge routers, tenant routers, networks, ports. The same as a nested list beside it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write,
};

use askama::Template;
use axum::response::Response;
use insights_store::{
    FlowFilter, FlowTest, Verdict,
    query::{Budget, DimValue, Dimension, TopQuery},
};
use uuid::Uuid;

use super::{
    context::Ctx,
    device::{Node, draw},
    error::WebError,
    frame::{Frame, state_class},
    html,
    moment::Moment,
    units::{self, plural},
};
use crate::{
    query::traffic::{self, PortTotal},
    site::{Network, Port, PortKind, Router, Site},
};

/// Tenants whose networks and ports are drawn when the reader has not chosen any.
const OPEN: usize = 4;
/// Networks of one router that are drawn.
const NETWORKS: usize = 12;
/// Ports with drops that are marked.
const DROPPING: usize = 5_000;
/// Names in the text of a folded node.
const NAMED: usize = 2;

#[derive(Template)]
#[template(path = "virtual.html")]
struct Page {
    frame: Frame,
    about: String,
    tabs: Vec<(&'static str, String)>,
    drawing: String,
    dropping: bool,
    moment: Moment,
    empty: bool,
    tree: Vec<Branch>,
    open: String,
    open_clear: Option<String>,
    as_list: bool,
    drawing_link: String,
    list_link: String,
}

/// A branch of the list.
struct Branch {
    name: String,
    short: String,
    href: String,
    note: String,
    open: bool,
    children: Vec<Twig>,
}

struct Twig {
    name: String,
    href: String,
    state: &'static str,
    note: String,
    leaves: Vec<Leaf>,
}

struct Leaf {
    name: String,
    href: String,
    state: &'static str,
    note: String,
}

/// A box of the drawing, with its place.
struct Placed {
    node: Node,
    column: usize,
    y: usize,
    height: usize,
}

/// The drawing: boxes in their columns and the lines between them. Places follow from the order of names alone, so that nothing jumps when
/// figures or states change.
struct Plan {
    open: HashSet<String>,
    placed: Vec<Placed>,
    /// From, to, bytes.
    edges: Vec<(usize, usize, f64)>,
    height: usize,
}

const COLUMNS: [(usize, usize, &str); 5] = [
    (2, 132, "External and uplinks"),
    (160, 118, "Edge routers"),
    (306, 134, "Tenant routers"),
    (468, 142, "Networks"),
    (640, 196, "Ports"),
];
const TOP: usize = 30;
const BOX: usize = 38;
const GAP: usize = 16;

pub(crate) async fn page(mut ctx: Ctx) -> Result<Response, WebError> {
    let moment = Moment::take(&mut ctx).await?;
    let (totals, drops) = tokio::try_join!(
        async { Ok::<_, WebError>(traffic::port_totals(ctx.store(), ctx.period).await?) },
        drops(&ctx)
    )?;
    let counts = ctx.site.counts();
    let about = [
        plural(counts.tenants, "tenant", "tenants"),
        plural(counts.routers, "router", "routers"),
        plural(counts.networks, "network", "networks"),
        plural(counts.ports, "port", "ports"),
    ]
    .join(" · ");
    let chosen: Vec<String> = ctx
        .params
        .get("open")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect();
    let plan = Plan::new(&ctx, &totals, &chosen);
    html(&Page {
        frame: Frame::new(&ctx, "Virtual topology", "virtual").await?,
        about,
        tabs: [
            ("Tenants", "tenants"),
            ("Networks", "networks"),
            ("Routers", "routers"),
            ("Ports", "ports"),
            ("Chains", "chains"),
            ("Rules", "rules"),
            ("Security groups", "security-groups"),
            ("Load balancers", "load-balancers"),
            ("Floating IPs", "floating-ips"),
            ("Subnets", "subnets"),
        ]
        .into_iter()
        .map(|(title, slug)| (title, ctx.to(&format!("virtual/{slug}"))))
        .collect(),
        empty: counts.networks == 0 && counts.routers == 0,
        drawing: plan.drawing(&ctx, &moment, &drops),
        dropping: !drops.is_empty(),
        moment,
        tree: tree(&ctx, &plan.open),
        open: chosen.join(", "),
        open_clear: (!chosen.is_empty()).then(|| ctx.here(&[("open", "")])),
        as_list: ctx.params.get("view") == Some("list"),
        drawing_link: ctx.here(&[("view", "")]),
        list_link: ctx.here(&[("view", "list")]),
    })
}

/// Dropped flow records by the link of the box that they came from or went to.
async fn drops(ctx: &Ctx) -> Result<HashMap<String, u64>, WebError> {
    let query = |dimension| TopQuery {
        period: ctx.period,
        filter: FlowFilter::Is(FlowTest::Verdict(Verdict::Dropped)),
        dimensions: vec![dimension],
        limit: DROPPING,
        budget: Budget::default(),
    };
    let (from, to) = tokio::try_join!(ctx.store().top(query(Dimension::SrcPort)), ctx.store().top(query(Dimension::DstPort)))?;
    let mut ports: HashMap<Uuid, u64> = HashMap::new();
    for row in from.rows.iter().chain(&to.rows) {
        if let Some(DimValue::Id(port)) = row.values.first() {
            *ports.entry(*port).or_default() += row.flows.dropped;
        }
    }
    let mut links: HashMap<String, u64> = HashMap::new();
    for (port, records) in ports {
        links.insert(ctx.to(&format!("d/port/{port}")), records);
        if let Some(network) = ctx.site.port_network(port) {
            *links.entry(folded(ctx, network)).or_default() += records;
        }
    }
    Ok(links)
}

/// Where the box of many ports of a network leads.
fn folded(ctx: &Ctx, network: Uuid) -> String {
    ctx.link("virtual/ports", &[("device", &network.to_string())])
}

impl Plan {
    fn new(ctx: &Ctx, totals: &HashMap<Uuid, PortTotal>, chosen: &[String]) -> Self {
        let bytes = |port: Uuid| totals.get(&port).map_or(0.0, PortTotal::bytes);
        let site = &ctx.site;
        let (edge, mut tenant): (Vec<Router>, Vec<Router>) = site.routers().partition(|router| router.edge);
        tenant.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
        let mut plan = Plan {
            open: open_tenants(&tenant, chosen),
            placed: Vec::new(),
            edges: Vec::new(),
            height: TOP,
        };
        let mut y = TOP;
        let mut drawn = HashSet::new();
        let mut routers = Vec::new();
        let (shown, rest): (Vec<&Router>, Vec<&Router>) = tenant
            .iter()
            .partition(|router| router.tenant.as_ref().is_some_and(|tenant| plan.open.contains(tenant)));
        for router in shown {
            let begin = y;
            let mut below = Vec::new();
            for network in router
                .networks
                .iter()
                .filter_map(|id| site.network(*id))
                .filter(|network| !network.external)
                .take(NETWORKS)
            {
                if drawn.insert(network.id) {
                    below.push((
                        plan.network(ctx, &network, &mut y, &bytes),
                        link_bytes(site, router.id, network.id, &bytes),
                    ));
                }
            }
            if below.is_empty() {
                y += BOX + GAP;
            }
            let at = plan.put(
                device_node(
                    ctx,
                    "router",
                    router.id,
                    &router.name,
                    &router
                        .tenant
                        .as_deref()
                        .map_or_else(|| "router".to_owned(), |tenant| ctx.tenants.name(tenant)),
                    state_class(router.state),
                ),
                2,
                (begin + y - GAP) / 2 - BOX / 2,
                BOX,
            );
            for (network, bytes) in below {
                plan.edges.push((at, network, bytes));
            }
            routers.push((at, router));
            y += GAP / 2;
        }
        let alone: Vec<Network> = site
            .networks()
            .filter(|network| !network.external && !network.uplink && network.routers.is_empty() && !drawn.contains(&network.id))
            .collect();
        let alone: Vec<Network> = alone
            .into_iter()
            .filter(|network| network.tenant.as_ref().is_some_and(|tenant| plan.open.contains(tenant)))
            .take(NETWORKS)
            .collect();
        for network in alone {
            drawn.insert(network.id);
            plan.network(ctx, &network, &mut y, &bytes);
        }
        let other = rest.len();
        let folded: Vec<Network> = site
            .networks()
            .filter(|network| !network.external && !network.uplink && !drawn.contains(&network.id))
            .collect();
        let mut more = None;
        if other > 0 || !folded.is_empty() {
            let fold = |name: String, href: String| Node {
                name,
                about: String::new(),
                href,
                state: "",
                bytes: 0.0,
                fold: true,
            };
            let router = (other > 0).then(|| plan.put(fold(plural(other, "other router", "other routers"), ctx.to("virtual/routers")), 2, y, 26));
            let ports: usize = folded.iter().map(|network| network.ports.len()).sum();
            let network = plan.put(fold(plural(folded.len(), "network", "networks"), ctx.to("virtual/networks")), 3, y, 26);
            let port = plan.put(fold(plural(ports, "port", "ports"), ctx.to("virtual/ports")), 4, y, 26);
            let north: f64 = rest.iter().filter_map(|router| router.gateway).map(bytes).sum();
            plan.edges.extend(router.map(|router| (router, network, north)));
            plan.edges.push((network, port, 0.0));
            more = router.map(|router| (router, north));
            y += 26 + GAP;
        }
        plan.north(ctx, &edge, &routers, more, y, &bytes);
        plan.height = plan.placed.iter().map(|placed| placed.y + placed.height).max().unwrap_or(TOP) + 16;
        plan
    }

    fn put(&mut self, node: Node, column: usize, y: usize, height: usize) -> usize {
        self.placed.push(Placed { node, column, y, height });
        self.placed.len() - 1
    }

    /// A network with its ports: one by one where its tenant is open and they are few, else in one box.
    fn network(&mut self, ctx: &Ctx, network: &Network, y: &mut usize, bytes: &dyn Fn(Uuid) -> f64) -> usize {
        const FEW: usize = 8;
        const SMALL: usize = 23;
        let begin = *y;
        let mut ports: Vec<Port> = network
            .ports
            .iter()
            .filter_map(|port| ctx.site.port(*port))
            .filter(|port| matches!(port.kind, PortKind::Vm | PortKind::Unbound | PortKind::Exterior | PortKind::Vxlan))
            .collect();
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        let mut boxes = Vec::new();
        if ports.len() <= FEW {
            for port in &ports {
                let at = self.put(device_node(ctx, "port", port.id, &port.name, "", state_class(port.state)), 4, *y, SMALL);
                boxes.push((at, bytes(port.id)));
                *y += SMALL + 4;
            }
        } else {
            let names: Vec<&str> = ports.iter().take(NAMED).map(|port| port.name.as_str()).collect();
            let node = Node {
                name: plural(ports.len(), "port", "ports"),
                about: names.join(", "),
                href: folded(ctx, network.id),
                state: "",
                bytes: 0.0,
                fold: true,
            };
            boxes.push((self.put(node, 4, *y, BOX), ports.iter().map(|port| bytes(port.id)).sum()));
            *y += BOX + 4;
        }
        *y = (*y).max(begin + BOX) + GAP;
        let prefix = network
            .subnets
            .iter()
            .find_map(|id| ctx.site.subnet(*id)?.prefix)
            .map_or_else(|| "network".to_owned(), |prefix| prefix.to_string());
        let middle = (begin + *y - GAP) / 2;
        let at = self.put(
            device_node(ctx, "network", network.id, &network.name, &prefix, state_class(network.state)),
            3,
            middle.saturating_sub(BOX / 2).max(begin),
            BOX,
        );
        self.edges.extend(boxes.into_iter().map(|(port, bytes)| (at, port, bytes)));
        at
    }

    /// Edge routers, uplinks and external networks, in the middle of what hangs on them.
    fn north(
        &mut self,
        ctx: &Ctx,
        edge: &[Router],
        routers: &[(usize, &Router)],
        more: Option<(usize, f64)>,
        bottom: usize,
        bytes: &dyn Fn(Uuid) -> f64,
    ) {
        let site = &ctx.site;
        let external: Vec<Network> = site.networks().filter(|network| network.external).collect();
        let uplinks: Vec<Port> = edge
            .iter()
            .flat_map(|router| router.uplinks.iter())
            .filter_map(|port| site.port(*port))
            .collect();
        let outside = uplinks.len() + external.len();
        let middle = (TOP + bottom).min(TOP + 640) / 2;
        let mut y = middle.saturating_sub(outside * (BOX + GAP) / 2).max(TOP);
        let mut edge_at = HashMap::new();
        for (at, router) in edge.iter().enumerate() {
            let place = (middle + at * (BOX + GAP)).saturating_sub(edge.len() * (BOX + GAP) / 2).max(TOP);
            edge_at.insert(
                router.id,
                self.put(
                    device_node(ctx, "router", router.id, &router.name, "edge router", state_class(router.state)),
                    1,
                    place,
                    BOX,
                ),
            );
        }
        for port in &uplinks {
            let about = port.host.map_or_else(|| "uplink".to_owned(), |host| site.host_name(host));
            let at = self.put(device_node(ctx, "port", port.id, &port.name, &about, state_class(port.state)), 0, y, BOX);
            self.edges.extend(
                port.router
                    .and_then(|router| edge_at.get(&router))
                    .map(|edge| (at, *edge, bytes(port.id))),
            );
            y += BOX + GAP;
        }
        let mut external_at = HashMap::new();
        for network in &external {
            let prefix = network
                .subnets
                .iter()
                .find_map(|id| site.subnet(*id)?.prefix)
                .map_or_else(|| "external network".to_owned(), |prefix| prefix.to_string());
            let at = self.put(
                device_node(ctx, "network", network.id, &network.name, &prefix, state_class(network.state)),
                0,
                y,
                BOX,
            );
            external_at.insert(network.id, at);
            for router in &network.routers {
                if let Some(edge) = edge_at.get(router) {
                    self.edges.push((at, *edge, link_bytes(site, *router, network.id, bytes)));
                }
            }
            y += BOX + GAP;
        }
        // A tenant router's gateway leads to an external network, and through it to the edge.
        for (at, router) in routers {
            let Some(gateway) = router.gateway else { continue };
            let network = site.port(gateway).and_then(|port| port.peer).and_then(|peer| site.port_device(peer));
            let to = network.and_then(|id| site.network(id)).and_then(|network| {
                network
                    .routers
                    .iter()
                    .find_map(|router| edge_at.get(router))
                    .or(external_at.get(&network.id))
                    .copied()
            });
            self.edges.extend(to.map(|to| (to, *at, bytes(gateway))));
        }
        if let (Some((at, north)), Some(edge)) = (more, edge_at.values().next()) {
            self.edges.push((*edge, at, north));
        }
    }

    fn drawing(&self, ctx: &Ctx, moment: &Moment, drops: &HashMap<String, u64>) -> String {
        let differs: HashSet<&str> = moment.differences.iter().map(|difference| difference.href.as_str()).collect();
        let most = self.edges.iter().map(|(.., bytes)| *bytes).fold(0.0, f64::max);
        let seconds = (ctx.period.to_us - ctx.period.from_us).max(1) as f64 / 1e6;
        let mut out = format!(
            "<svg width=\"838\" height=\"{0}\" viewBox=\"0 0 838 {0}\" role=\"group\" aria-label=\"Virtual topology in layers. The same is a list beside it.\">",
            self.height
        );
        for (x, _, title) in COLUMNS {
            let _ = write!(out, "<text class=\"col\" x=\"{x}\" y=\"16\">{title}</text>");
        }
        for (from, to, bytes) in &self.edges {
            let (from, to) = (&self.placed[*from], &self.placed[*to]);
            let (x1, y1) = (COLUMNS[from.column].0 + COLUMNS[from.column].1, from.y + from.height / 2);
            let (x2, y2) = (COLUMNS[to.column].0, to.y + to.height / 2);
            let middle = x1.midpoint(x2);
            let width = if most <= 0.0 || *bytes <= 0.0 {
                1.0
            } else {
                1.2 + 3.8 * (bytes / most).sqrt()
            };
            let dropped = drops.get(&to.node.href).or_else(|| drops.get(&from.node.href)).copied().unwrap_or(0);
            let class = if dropped > 0 { "ed drop" } else { "ed" };
            let _ = write!(
                out,
                "<path class=\"{class}\" stroke-width=\"{width:.1}\" d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\">"
            );
            if *bytes > 0.0 || dropped > 0 {
                let rate = units::bits_per_second(bytes * 8.0 / seconds);
                let drops = if dropped > 0 {
                    format!(", {}", plural(dropped as usize, "record dropped", "records dropped"))
                } else {
                    String::new()
                };
                let _ = write!(out, "<title>{rate}{drops}</title>");
            }
            out.push_str("</path>");
        }
        for placed in &self.placed {
            let (x, width, _) = COLUMNS[placed.column];
            draw(
                &mut out,
                &placed.node,
                x,
                placed.y,
                width,
                placed.height,
                if differs.contains(placed.node.href.as_str()) { " differs" } else { "" },
            );
        }
        out.push_str("</svg>");
        out
    }
}

fn device_node(ctx: &Ctx, slug: &str, id: Uuid, name: &str, about: &str, state: &'static str) -> Node {
    Node {
        name: name.to_owned(),
        about: about.to_owned(),
        href: ctx.to(&format!("d/{slug}/{id}")),
        state,
        bytes: 0.0,
        fold: false,
    }
}

/// Bytes over the ports that join two devices.
fn link_bytes(site: &Site, router: Uuid, network: Uuid, bytes: &dyn Fn(Uuid) -> f64) -> f64 {
    let ports = site.router(router).map_or_else(Vec::new, |router| router.ports);
    ports
        .into_iter()
        .filter(|port| site.port(*port).and_then(|port| port.peer).and_then(|peer| site.port_device(peer)) == Some(network))
        .map(bytes)
        .sum()
}

/// Those that the reader chose, else the first ones that have routers.
fn open_tenants(routers: &[Router], chosen: &[String]) -> HashSet<String> {
    if !chosen.is_empty() {
        return chosen.iter().cloned().collect();
    }
    let mut open = Vec::new();
    for tenant in routers.iter().filter_map(|router| router.tenant.clone()) {
        if !open.contains(&tenant) && open.len() < OPEN {
            open.push(tenant);
        }
    }
    open.into_iter().collect()
}

/// The list: tenants, their networks, ports.
fn tree(ctx: &Ctx, open: &HashSet<String>) -> Vec<Branch> {
    const LEAVES: usize = 100;
    let mut tenants: BTreeMap<String, Vec<Network>> = BTreeMap::new();
    for network in ctx.site.networks() {
        tenants.entry(network.tenant.clone().unwrap_or_default()).or_default().push(network);
    }
    tenants
        .into_iter()
        .map(|(tenant, networks)| {
            let opened = open.contains(&tenant);
            let children = networks
                .iter()
                .map(|network| Twig {
                    name: network.name.clone(),
                    href: ctx.to(&format!("d/network/{}", network.id)),
                    state: state_class(network.state),
                    note: plural(network.ports.len(), "port", "ports"),
                    leaves: if opened {
                        network
                            .ports
                            .iter()
                            .take(LEAVES)
                            .filter_map(|id| ctx.site.port(*id))
                            .map(|port| Leaf {
                                href: ctx.to(&format!("d/port/{}", port.id)),
                                state: state_class(port.state),
                                note: port.host.map_or_else(|| port.kind.label().to_owned(), |host| ctx.site.host_name(host)),
                                name: port.name,
                            })
                            .collect()
                    } else {
                        Vec::new()
                    },
                })
                .collect();
            Branch {
                href: ctx.here(&[("open", &tenant)]),
                short: if tenant.is_empty() {
                    "without a tenant".to_owned()
                } else {
                    ctx.tenants.name(&tenant)
                },
                name: tenant,
                note: plural(networks.len(), "network", "networks"),
                open: opened,
                children,
            }
        })
        .collect()
}
