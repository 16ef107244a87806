// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The cloud at a glance: what is wrong in a sentence, then figures, then charts.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;
use insights_store::{FlowFilter, FlowTest, MeterKey, StreamKind, query::Bin};

use super::{
    changes::{ChangeRow, changes},
    chart::{self, Chart, Gap, Look, Series},
    context::Ctx,
    error::WebError,
    frame::Frame,
    html, units,
    units::Unit,
};
use crate::{
    query::{flows, traffic},
    site::{PortKind, State},
};

/// Rows of the lists beneath the charts: what fits beside each other without scrolling.
const ROWS: usize = 8;
/// Values of a chart: one per three pixels of a third of a screen.
const POINTS: i64 = 120;
/// Names in one piece of the sentence; more are counted.
const NAMED: usize = 3;

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Page {
    frame: Frame,
    empty: bool,
    verdicts: Vec<Verdict>,
    worst: &'static str,
    asked: String,
    tiles: Vec<Tile>,
    charts: Vec<ChartCard>,
    tenants: Vec<TenantRow>,
    tenants_link: String,
    rules: Vec<RuleRow>,
    rules_link: String,
    changes: Vec<ChangeRow>,
    gateways: Vec<GatewayRow>,
    period: String,
}

/// A piece of the sentence.
struct Verdict {
    state: &'static str,
    what: String,
    links: Vec<(String, String)>,
    rest: String,
}

struct Tile {
    title: &'static str,
    href: String,
    value: String,
    of: String,
    state: &'static str,
    note: String,
}

struct ChartCard {
    id: &'static str,
    title: &'static str,
    note: String,
    href: String,
    body: String,
}

struct TenantRow {
    name: String,
    short: String,
    href: String,
    north_south: String,
    east_west: String,
    total: String,
    north_south_share: String,
    east_west_at: String,
    east_west_share: String,
}

struct RuleRow {
    text: String,
    place: String,
    href: String,
    spark: String,
    dropped: String,
}

struct GatewayRow {
    name: String,
    state: &'static str,
    what: String,
    about: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let frame = Frame::new(&ctx, "Dashboard", "dash");
    let (frame, charts, tenants, rules, changes) = tokio::try_join!(frame, charts(&ctx), tenants(&ctx), rules(&ctx), changes(&ctx, ROWS))?;
    let verdicts = verdicts(&ctx);
    let worst = verdicts
        .iter()
        .map(|verdict| verdict.state)
        .max_by_key(|state| ["up", "unknown", "degraded", "down"].iter().position(|known| known == state))
        .unwrap_or("up");
    html(&Page {
        empty: ctx.site.is_empty() && ctx.gateways.is_empty(),
        worst,
        verdicts,
        asked: units::clock(ctx.now_us),
        tiles: tiles(&ctx),
        charts,
        tenants,
        tenants_link: ctx.link("virtual/tenants", &[("sort", "-traffic")]),
        rules,
        rules_link: ctx.link("flows", &[("filter", "result = dropped")]),
        changes,
        gateways: gateways(&ctx),
        period: ctx.spec.title().to_lowercase(),
        frame,
    })
}

fn verdicts(ctx: &Ctx) -> Vec<Verdict> {
    let mut found = Vec::new();
    let away: Vec<_> = ctx.gateways.iter().filter(|gateway| gateway.disconnected_us.is_some()).collect();
    if let Some(latest) = away.iter().filter_map(|gateway| gateway.disconnected_us).max() {
        let links = away
            .iter()
            .take(NAMED)
            .map(|gateway| (gateway.name.clone(), ctx.to(&format!("site/gateways/{}", gateway.id))))
            .collect();
        found.push(Verdict {
            state: if away.len() == ctx.gateways.len() { "down" } else { "degraded" },
            what: plural(away.len(), "gateway", "gateways") + " away",
            links,
            rest: format!("since {}", units::since(latest, ctx.now_us)),
        });
    }
    let mut down: Vec<_> = ctx.site.hosts().filter(|host| host.state == State::Down).collect();
    down.sort_by_key(|host| std::cmp::Reverse(host.since_us));
    if !down.is_empty() {
        let links = down
            .iter()
            .take(NAMED)
            .map(|host| (host.name.clone(), ctx.to(&format!("d/host/{}", host.id))))
            .collect();
        let since = down
            .first()
            .and_then(|host| host.since_us)
            .map_or_else(String::new, |since| format!("since {}", units::since(since, ctx.now_us)));
        let more = if down.len() > NAMED {
            format!("and {} more ", down.len() - NAMED)
        } else {
            String::new()
        };
        found.push(Verdict {
            state: "down",
            what: plural(down.len(), "host", "hosts") + " down",
            links,
            rest: more + &since,
        });
    }
    let mut bgp: Vec<_> = ctx.site.bgp_peers().filter(|peer| peer.state == State::Down).collect();
    bgp.truncate(NAMED);
    if !bgp.is_empty() {
        let links = bgp
            .iter()
            .map(|peer| {
                (
                    peer.address.map_or_else(|| "peer".to_owned(), |address| address.to_string()),
                    ctx.to(&format!("d/bgp_peer/{}", peer.id)),
                )
            })
            .collect();
        found.push(Verdict {
            state: "degraded",
            what: plural(bgp.len(), "BGP session", "BGP sessions") + " down",
            links,
            rest: String::new(),
        });
    }
    let vteps: Vec<_> = ctx
        .site
        .vteps()
        .filter(|vtep| matches!(vtep.state, State::Down | State::Degraded))
        .collect();
    if !vteps.is_empty() {
        let links = vteps
            .iter()
            .take(NAMED)
            .map(|vtep| (vtep.name.clone(), ctx.to(&format!("d/vtep/{}", vtep.id))))
            .collect();
        found.push(Verdict {
            state: "degraded",
            what: plural(vteps.len(), "VTEP", "VTEPs") + " degraded",
            links,
            rest: String::new(),
        });
    }
    let pools: Vec<_> = ctx
        .site
        .pools()
        .filter(|pool| matches!(pool.state, State::Down | State::Degraded))
        .collect();
    if !pools.is_empty() {
        let links = pools
            .iter()
            .take(NAMED)
            .map(|pool| (pool.name.clone(), ctx.to(&format!("d/pool/{}", pool.id))))
            .collect();
        found.push(Verdict {
            state: "degraded",
            what: plural(pools.len(), "load-balancer pool", "load-balancer pools") + " degraded",
            links,
            rest: String::new(),
        });
    }
    if found.is_empty() {
        let counts = ctx.site.counts();
        let (state, what) = if ctx.gateways.is_empty() {
            ("unknown", "No gateway has connected yet".to_owned())
        } else {
            ("up", format!("All {} hosts alive, all gateways connected", counts.hosts))
        };
        found.push(Verdict {
            state,
            what,
            links: Vec::new(),
            rest: String::new(),
        });
    }
    found
}

fn tiles(ctx: &Ctx) -> Vec<Tile> {
    let counts = ctx.site.counts();
    let tile = |title, path: &str, value: usize, of: String, state, note: String| Tile {
        title,
        href: ctx.to(path),
        value: units::count(value as u64),
        of,
        state,
        note,
    };
    let hosts_down = counts.hosts - counts.hosts_up.min(counts.hosts);
    let ports_down = counts.ports_bound - counts.ports_up.min(counts.ports_bound);
    let down_of = |states: Vec<State>| states.iter().filter(|state| matches!(state, State::Down | State::Degraded)).count();
    let routers_down = down_of(ctx.site.routers().map(|router| router.state).collect());
    let networks_down = down_of(ctx.site.networks().map(|network| network.state).collect());
    let vteps_down = down_of(ctx.site.vteps().map(|vtep| vtep.state).collect());
    let members: Vec<State> = ctx.site.pool_members().map(|member| member.state).collect();
    let members_up = members.iter().filter(|state| **state == State::Up).count();
    let zone_members: usize = ctx.site.tunnel_zones().map(|zone| zone.ends.len()).sum();
    let connected = ctx.gateways.iter().filter(|gateway| gateway.disconnected_us.is_none()).count();
    let state = |down: usize, all: usize| {
        if all == 0 {
            ""
        } else if down == 0 {
            "up"
        } else {
            "down"
        }
    };
    let note = |down: usize, all: usize, word: &str| {
        if all == 0 {
            "none".to_owned()
        } else if down == 0 {
            "all up".to_owned()
        } else {
            format!("{down} {word}")
        }
    };
    vec![
        tile(
            "Hosts alive",
            "physical/hosts",
            counts.hosts_up,
            format!(" / {}", counts.hosts),
            state(hosts_down, counts.hosts),
            note(hosts_down, counts.hosts, "down"),
        ),
        tile(
            "Networks",
            "virtual/networks",
            counts.networks,
            String::new(),
            state(networks_down, counts.networks),
            note(networks_down, counts.networks, "degraded"),
        ),
        tile(
            "Routers",
            "virtual/routers",
            counts.routers,
            String::new(),
            state(routers_down, counts.routers),
            note(routers_down, counts.routers, "degraded"),
        ),
        tile(
            "Ports active",
            "virtual/ports",
            counts.ports_up,
            format!(" / {} bound", units::count(counts.ports_bound as u64)),
            state(ports_down, counts.ports_bound),
            note(ports_down, counts.ports_bound, "down"),
        ),
        tile(
            "Tunnel zones",
            "physical/tunnel-zones",
            counts.tunnel_zones,
            String::new(),
            "",
            plural(zone_members, "member", "members"),
        ),
        tile(
            "VTEPs",
            "physical/vteps",
            counts.vteps,
            String::new(),
            state(vteps_down, counts.vteps),
            note(vteps_down, counts.vteps, "degraded"),
        ),
        tile(
            "Load balancers",
            "virtual/load-balancers",
            counts.load_balancers,
            String::new(),
            if members.is_empty() {
                ""
            } else {
                state(members.len() - members_up, members.len())
            },
            if members.is_empty() {
                "no members".to_owned()
            } else {
                format!("{members_up} of {} members up", members.len())
            },
        ),
        tile(
            "Gateways",
            "site",
            connected,
            format!(" / {} connected", ctx.gateways.len()),
            state(ctx.gateways.len() - connected, ctx.gateways.len()),
            note(ctx.gateways.len() - connected, ctx.gateways.len(), "away"),
        ),
    ]
}

async fn charts(ctx: &Ctx) -> Result<Vec<ChartCard>, WebError> {
    let (traffic, records) = tokio::try_join!(traffic_charts(ctx), record_chart(ctx, FlowFilter::all()))?;
    let [north_south, total] = traffic;
    let note = if records.enlarge_below > 1.0 {
        "allowed above, dropped below ×10"
    } else {
        "allowed above, dropped below"
    };
    Ok(vec![
        ChartCard {
            id: "c-ns",
            title: "North-south traffic",
            note: "in above, out below".to_owned(),
            href: ctx.link("virtual/ports", &[("find", "uplink"), ("sort", "-traffic")]),
            body: north_south.html(),
        },
        ChartCard {
            id: "c-total",
            title: "Total traffic",
            note: "stacked".to_owned(),
            href: ctx.link("virtual/tenants", &[("sort", "-traffic")]),
            body: total.html(),
        },
        ChartCard {
            id: "c-flows",
            title: "Flow records",
            note: note.to_owned(),
            href: ctx.to("flows"),
            body: records.html(),
        },
    ])
}

/// North-south from the meters of uplinks; east-west is what VMs send beyond what leaves by uplinks.
async fn traffic_charts(ctx: &Ctx) -> Result<[Chart; 2], WebError> {
    let (mut uplink_in, mut uplink_out, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for port in ctx.site.ports() {
        match port.kind {
            PortKind::Uplink => {
                uplink_in.push(MeterKey::PortRx(port.id));
                uplink_out.push(MeterKey::PortTx(port.id));
            }
            PortKind::Vm | PortKind::Exterior => sent.push(MeterKey::PortRx(port.id)),
            _ => {}
        }
    }
    let step = chart::step_for(ctx.period, POINTS, traffic::LEAST_STEP_US);
    let traffic = traffic::lines(ctx.store(), ctx.period, step, ctx.now_us, &[uplink_in, uplink_out, sent]).await?;
    let [incoming, outgoing, sent] = &traffic.lines[..] else {
        return Err(WebError::NotFound("No traffic.".to_owned()));
    };
    let gaps: Vec<Gap> = traffic
        .gaps
        .iter()
        .map(|(from_us, to_us)| Gap {
            from_us: *from_us,
            to_us: *to_us,
        })
        .collect();
    let lost = gap_text(&gaps);
    let series = |name: &str, look, values, total: f64| Series {
        name: name.to_owned(),
        look,
        values,
        total: units::bytes(total),
    };
    let mut north_south = Chart::new(
        "North-south traffic, in above and out below the line",
        Unit::Bits,
        ctx.period,
        traffic.start_us,
        traffic.step_us,
        vec![
            series("In", Look::In, incoming.rates(false), incoming.total_bytes),
            series("Out", Look::Out, outgoing.rates(false), outgoing.total_bytes),
        ],
    );
    let both: Vec<Option<f64>> = incoming.rates(false).iter().zip(outgoing.rates(false)).map(|(a, b)| add(*a, b)).collect();
    let east_west: Vec<Option<f64>> = sent
        .rates(false)
        .iter()
        .zip(outgoing.rates(false))
        .map(|(sent, out)| sent.map(|sent| (sent - out.unwrap_or(0.0)).max(0.0)))
        .collect();
    let mut total = Chart::new(
        "Total traffic, east-west on north-south",
        Unit::Bits,
        ctx.period,
        traffic.start_us,
        traffic.step_us,
        vec![
            series("East-west", Look::Upper, east_west, (sent.total_bytes - outgoing.total_bytes).max(0.0)),
            series("North-south", Look::Lower, both, incoming.total_bytes + outgoing.total_bytes),
        ],
    );
    for chart in [&mut north_south, &mut total] {
        chart.gaps.clone_from(&gaps);
        chart.lost.clone_from(&lost);
        chart.zoom = ctx.zoom();
    }
    Ok([north_south, total])
}

fn add(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (None, None) => None,
        _ => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
    }
}

/// Meters that are missing, in words.
pub(crate) fn gap_text(gaps: &[Gap]) -> String {
    match gaps {
        [] => String::new(),
        [gap] => format!("meters missing {}–{}", units::minute(gap.from_us), units::minute(gap.to_us)),
        gaps => format!(
            "meters missing in {} spans, {} in all",
            gaps.len(),
            units::duration(gaps.iter().map(|gap| gap.to_us - gap.from_us).sum())
        ),
    }
}

/// Records per second, allowed and dropped, of the flows of a filter.
pub(crate) async fn record_chart(ctx: &Ctx, filter: FlowFilter) -> Result<Chart, WebError> {
    let step = chart::step_for(ctx.period, POINTS, 1_000_000);
    let (bins, lost) = tokio::try_join!(
        flows::histogram(ctx.store(), ctx.period, filter, step),
        flows::lost(ctx.store(), ctx.period, StreamKind::Flows)
    )?;
    Ok(bins_chart(ctx, &bins, step, lost))
}

pub(crate) fn bins_chart(ctx: &Ctx, bins: &[Bin], step: i64, (spans, records): (Vec<(i64, i64)>, u64)) -> Chart {
    // Bins at the edges reach out of the period; their rate is that of the part inside.
    let seconds = |bin: &Bin| ((bin.start_us + step).min(ctx.period.to_us) - bin.start_us.max(ctx.period.from_us)).max(1) as f64 / 1e6;
    let series = |name: &str, look, count: fn(&Bin) -> u64| Series {
        name: name.to_owned(),
        look,
        values: bins.iter().map(|bin| Some(count(bin) as f64 / seconds(bin))).collect(),
        total: units::short_count(bins.iter().map(count).sum::<u64>() as f64),
    };
    let start = bins.first().map_or(ctx.period.from_us, |bin| bin.start_us);
    let mut chart = Chart::new(
        "Flow records per second, allowed above and dropped below the line",
        Unit::Records,
        ctx.period,
        start,
        step,
        vec![
            series("Allowed", Look::Allowed, |bin| bin.allowed + bin.consumed),
            series("Dropped", Look::Dropped, |bin| bin.dropped),
        ],
    )
    .enlarge_small_below();
    chart.gaps = spans
        .iter()
        .map(|(from_us, to_us)| Gap {
            from_us: *from_us,
            to_us: *to_us,
        })
        .collect();
    if records > 0 {
        chart.lost = format!("{} flow records lost", units::count(records));
    }
    chart.zoom = ctx.zoom();
    chart
}

async fn tenants(ctx: &Ctx) -> Result<Vec<TenantRow>, WebError> {
    let mut rows: Vec<_> = tenant_traffic(ctx).await?.into_iter().collect();
    rows.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()).then_with(|| a.0.cmp(&b.0)));
    rows.truncate(ROWS);
    let max = rows.first().map_or(1.0, |(_, traffic)| traffic.total()).max(1.0);
    Ok(rows
        .into_iter()
        .map(|(name, traffic)| {
            let share = |value: f64| value / max * 98.0;
            TenantRow {
                href: ctx.link("virtual/networks", &[("tenant", &name)]),
                short: units::short_id(&name),
                name,
                north_south: units::bytes(traffic.north_south),
                east_west: units::bytes(traffic.east_west()),
                total: units::bytes(traffic.total()),
                north_south_share: format!("{:.1}", share(traffic.north_south)),
                east_west_at: format!("{:.1}", share(traffic.north_south) + 0.6),
                east_west_share: format!("{:.1}", share(traffic.east_west())),
            }
        })
        .collect())
}

/// Bytes in and out of a tenant's ports, and of these, what went through its routers' gateways.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TenantTraffic {
    pub(crate) ports: f64,
    pub(crate) north_south: f64,
}

impl TenantTraffic {
    pub(crate) fn total(&self) -> f64 {
        self.ports.max(self.north_south)
    }

    pub(crate) fn east_west(&self) -> f64 {
        self.total() - self.north_south
    }
}

pub(crate) async fn tenant_traffic(ctx: &Ctx) -> Result<HashMap<String, TenantTraffic>, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
    let mut tenants: HashMap<String, TenantTraffic> = HashMap::new();
    for (id, total) in totals {
        let Some(tenant) = ctx.site.port_tenant(id) else { continue };
        let traffic = match ctx.site.port_kind(id) {
            Some(PortKind::Vm | PortKind::Exterior | PortKind::Unbound) => TenantTraffic {
                ports: total.bytes(),
                north_south: 0.0,
            },
            Some(PortKind::Gateway) => TenantTraffic {
                ports: 0.0,
                north_south: total.bytes(),
            },
            _ => continue,
        };
        let sum = tenants.entry(tenant.to_string()).or_default();
        sum.ports += traffic.ports;
        sum.north_south += traffic.north_south;
    }
    Ok(tenants)
}

async fn rules(ctx: &Ctx) -> Result<Vec<RuleRow>, WebError> {
    let step = chart::step_for(ctx.period, 60, 1_000_000);
    let drops = flows::drops(ctx.store(), ctx.period, FlowFilter::Is(FlowTest::Transit(false)), step, ROWS).await?;
    Ok(drops
        .into_iter()
        .map(|drops| {
            let rule = ctx.site.rule(drops.rule);
            let place = rule.as_ref().map_or_else(
                || "not in the topology any more".to_owned(),
                |rule| super::device::rule_place(&ctx.site, rule),
            );
            RuleRow {
                text: rule.map_or_else(|| format!("rule {}", drops.rule), |rule| rule.text),
                place,
                href: ctx.link("flows", &[("filter", &format!("decided = {} and result = dropped", drops.rule))]),
                spark: chart::spark(&drops.bins.iter().map(|(_, flows)| *flows).collect::<Vec<_>>()),
                dropped: units::count(drops.flows),
            }
        })
        .collect())
}

fn gateways(ctx: &Ctx) -> Vec<GatewayRow> {
    ctx.gateways
        .iter()
        .map(|gateway| match gateway.disconnected_us {
            None => GatewayRow {
                name: gateway.name.clone(),
                state: "up",
                what: format!("connected since {}", units::since(gateway.connected_us, ctx.now_us)),
                about: format!("version {}", gateway.version),
            },
            Some(since) => GatewayRow {
                name: gateway.name.clone(),
                state: "down",
                what: format!("away since {}", units::since(since, ctx.now_us)),
                about: "it keeps recording into its spool".to_owned(),
            },
        })
        .collect()
}

/// `1 host`, `3 hosts`.
pub(crate) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", units::count(count as u64), if count == 1 { one } else { many })
}
