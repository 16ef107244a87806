// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Reports by volume: north-south per tenant, total per tenant, total per network; beside the period before.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use insights_store::{Period, StreamKind};

use super::{
    context::Ctx,
    error::WebError,
    frame::Frame,
    html,
    table::{csv_line, csv_response},
    units,
};
use crate::query::{
    flows,
    reports::{self, TenantTraffic, Volume},
    traffic,
};

/// Types in the order of the menu: slug, title, what it counts, names of its two parts.
const TYPES: [Type; 3] = [
    Type {
        slug: "north-south",
        title: "North-south traffic per tenant",
        about: "between the tenant’s networks and the external network, at the gateways of its routers",
        parts: ("In", "Out"),
        of: "tenant",
    },
    Type {
        slug: "total",
        title: "Total traffic per tenant",
        about: "in and out of the ports of its VMs; what passes between two of them is counted at both",
        parts: ("North-south", "East-west"),
        of: "tenant",
    },
    Type {
        slug: "networks",
        title: "Total traffic per network",
        about: "in and out of the ports of its VMs",
        parts: ("In", "Out"),
        of: "network",
    },
];

/// How many bars can be asked for.
const TOPS: [usize; 4] = [5, 10, 25, 50];
const TOP: usize = 10;

struct Type {
    slug: &'static str,
    title: &'static str,
    about: &'static str,
    parts: (&'static str, &'static str),
    of: &'static str,
}

#[derive(Template)]
#[template(path = "reports.html")]
struct Page {
    frame: Frame,
    types: Vec<(&'static str, &'static str, bool)>,
    title: &'static str,
    about: &'static str,
    of: &'static str,
    parts: (&'static str, &'static str),
    tenants: Vec<(String, String, bool)>,
    tops: Vec<(usize, bool)>,
    kept: Vec<(String, String)>,
    path: String,
    csv: String,
    period: String,
    before: String,
    total: String,
    total_before: String,
    total_change: String,
    bars: Vec<Line>,
    rows: Vec<Line>,
    rest: Option<Line>,
    made: String,
    incomplete: String,
}

/// A line of the report; the parts of the bar are per cent of the widest.
struct Line {
    rank: String,
    key: String,
    name: String,
    href: String,
    about: String,
    first: String,
    second: String,
    total: String,
    share: String,
    before: String,
    change: String,
    first_width: String,
    second_at: String,
    second_width: String,
    before_width: String,
    plain: [f64; 4],
}

/// One tenant or network.
#[derive(Clone, Default)]
struct Entry {
    name: String,
    href: String,
    about: String,
    first: f64,
    second: f64,
    before: f64,
}

impl Entry {
    fn total(&self) -> f64 {
        self.first + self.second
    }
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let wanted = ctx.params.get("type").filter(|slug| !slug.is_empty()).unwrap_or(TYPES[0].slug);
    let kind = TYPES
        .iter()
        .find(|kind| kind.slug == wanted)
        .ok_or_else(|| WebError::Bad(format!("There is no report “{wanted}”.")))?;
    let tenant = ctx.params.get("tenant").unwrap_or_default();
    let top = ctx
        .params
        .get("top")
        .and_then(|text| text.parse().ok())
        .filter(|top| TOPS.contains(top))
        .unwrap_or(TOP);
    let length = ctx.period.to_us - ctx.period.from_us;
    let before = Period::new(ctx.period.from_us - length, ctx.period.from_us);
    let mut entries = entries(&ctx, kind, tenant, before).await?;
    entries.sort_by(|(a_key, a), (b_key, b)| {
        b.total()
            .total_cmp(&a.total())
            .then_with(|| b.before.total_cmp(&a.before))
            .then_with(|| a_key.cmp(b_key))
    });
    let lines = lines(&entries);
    if ctx.params.get("format") == Some("csv") {
        return Ok(csv(&ctx, kind, &lines));
    }
    let sum: f64 = entries.iter().map(|(_, entry)| entry.total()).sum();
    let sum_before: f64 = entries.iter().map(|(_, entry)| entry.before).sum();
    let (_, lost) = flows::lost(ctx.store(), ctx.period, StreamKind::Meters).await?;
    let shown = entries.len().min(top);
    let rest = (entries.len() > shown).then(|| {
        let mut rest = Entry {
            name: format!("{} others", entries.len() - shown),
            ..Entry::default()
        };
        for (_, entry) in &entries[shown..] {
            rest.first += entry.first;
            rest.second += entry.second;
            rest.before += entry.before;
        }
        line(String::new(), "", &rest, sum, widest(&entries))
    });
    let bars = entries
        .iter()
        .take(top)
        .enumerate()
        .map(|(at, (key, entry))| line((at + 1).to_string(), key, entry, sum, widest(&entries)))
        .collect();
    html(&Page {
        frame: Frame::new(&ctx, "Reports", "reports").await?,
        types: TYPES.iter().map(|kind| (kind.slug, kind.title, kind.slug == wanted)).collect(),
        title: kind.title,
        about: kind.about,
        of: kind.of,
        parts: kind.parts,
        tenants: ctx
            .site
            .tenants()
            .iter()
            .map(|known| (known.id.clone(), ctx.tenants.name(&known.id), known.id == tenant))
            .collect(),
        tops: TOPS.iter().map(|count| (*count, *count == top)).collect(),
        kept: ctx
            .params
            .iter()
            .filter(|(name, value)| !matches!(*name, "type" | "tenant" | "top" | "format") && !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        path: ctx.uri.path().to_owned(),
        csv: ctx.here(&[("format", "csv")]),
        period: units::span(ctx.period.from_us, ctx.period.to_us),
        before: units::span(before.from_us, before.to_us),
        total: units::bytes(sum),
        total_before: units::bytes(sum_before),
        total_change: change(sum, sum_before),
        bars,
        rows: lines,
        rest,
        made: units::full(ctx.now_us),
        incomplete: if lost == 0 {
            String::new()
        } else {
            format!(
                "{} were lost in this period: the volumes are too small by what they held.",
                units::plural(lost as usize, "meter reading", "meter readings")
            )
        },
    })
}

async fn entries(ctx: &Ctx, kind: &Type, tenant: &str, before: Period) -> Result<Vec<(String, Entry)>, WebError> {
    let (now, then, past) = tokio::try_join!(
        traffic::port_totals(ctx.store(), ctx.period),
        traffic::port_totals(ctx.store(), before),
        // Ports that went in the meantime have their tenant in the topology of the begin.
        ctx.app.sites.at(&ctx.scope, ctx.period.from_us),
    )?;
    let sites = [&*ctx.site, &*past];
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    if kind.slug == "networks" {
        for (id, volume) in reports::by_network(&sites, &now) {
            let entry = entries.entry(id.to_string()).or_default();
            (entry.first, entry.second) = (volume.incoming, volume.outgoing);
        }
        for (id, volume) in reports::by_network(&sites, &then) {
            entries.entry(id.to_string()).or_default().before = volume.total();
        }
        entries.retain(|id, entry| {
            let known = id.parse().ok().and_then(|id| sites.iter().find_map(|site| site.network(id)));
            let owner = known.as_ref().and_then(|network| network.tenant.clone()).unwrap_or_default();
            entry.name = known.as_ref().map_or_else(|| id.clone(), |network| network.name.clone());
            entry.about = if owner.is_empty() { String::new() } else { ctx.tenants.name(&owner) };
            entry.href = ctx.to(&format!("d/network/{id}/traffic"));
            tenant.is_empty() || owner == tenant
        });
    } else {
        let parts = |traffic: &TenantTraffic| match kind.slug {
            "total" => (traffic.north_south(), traffic.east_west()),
            _ => {
                let Volume { incoming, outgoing } = traffic.outside;
                (incoming, outgoing)
            }
        };
        for (id, traffic) in reports::by_tenant(&sites, &now) {
            let entry = entries.entry(id).or_default();
            (entry.first, entry.second) = parts(&traffic);
        }
        for (id, traffic) in reports::by_tenant(&sites, &then) {
            let (first, second) = parts(&traffic);
            entries.entry(id).or_default().before = first + second;
        }
        entries.retain(|id, entry| {
            entry.name = ctx.tenants.name(id);
            entry.href = ctx.link("virtual/networks", &[("tenant", id)]);
            tenant.is_empty() || id == tenant
        });
    }
    Ok(entries
        .into_iter()
        .filter(|(_, entry)| entry.total() > 0.0 || entry.before > 0.0)
        .collect())
}

fn widest(entries: &[(String, Entry)]) -> f64 {
    entries.iter().map(|(_, entry)| entry.total().max(entry.before)).fold(1.0, f64::max)
}

fn lines(entries: &[(String, Entry)]) -> Vec<Line> {
    let sum = entries.iter().map(|(_, entry)| entry.total()).sum();
    let widest = widest(entries);
    entries
        .iter()
        .enumerate()
        .map(|(at, (key, entry))| line((at + 1).to_string(), key, entry, sum, widest))
        .collect()
}

fn line(rank: String, key: &str, entry: &Entry, sum: f64, widest: f64) -> Line {
    let total = entry.total();
    // What is there is seen, however little it is.
    let width = |bytes: f64| if bytes > 0.0 { (bytes / widest * 100.0).clamp(0.3, 100.0) } else { 0.0 };
    Line {
        rank,
        key: key.to_owned(),
        name: entry.name.clone(),
        href: entry.href.clone(),
        about: entry.about.clone(),
        first: units::bytes(entry.first),
        second: units::bytes(entry.second),
        total: units::bytes(total),
        share: if sum > 0.0 {
            format!("{:.1}\u{202f}%", total / sum * 100.0)
        } else {
            "–".to_owned()
        },
        before: units::bytes(entry.before),
        change: change(total, entry.before),
        first_width: format!("{:.2}", width(entry.first)),
        second_at: format!("{:.2}", width(entry.first)),
        second_width: format!("{:.2}", width(entry.second)),
        before_width: format!("{:.2}", width(entry.before)),
        plain: [entry.first, entry.second, total, entry.before],
    }
}

/// Growth against the period before, in per cent.
fn change(now: f64, before: f64) -> String {
    if before <= 0.0 {
        return if now > 0.0 { "new".to_owned() } else { "–".to_owned() };
    }
    let percent = (now - before) / before * 100.0;
    if percent.abs() < 0.5 {
        "±0\u{202f}%".to_owned()
    } else if percent >= 1_000.0 {
        format!("×{:.0}", now / before)
    } else {
        let sign = if percent > 0.0 { '+' } else { '−' };
        format!("{sign}{:.0}\u{202f}%", percent.abs())
    }
}

fn csv(ctx: &Ctx, kind: &Type, lines: &[Line]) -> Response {
    let column = |name: &str| format!("{}_bytes", name.to_lowercase().replace('-', "_"));
    let (first, second) = (column(kind.parts.0), column(kind.parts.1));
    let mut out = String::new();
    csv_line(
        &mut out,
        [
            "rank",
            "id",
            "name",
            "tenant",
            &first,
            &second,
            "total_bytes",
            "share_percent",
            "previous_total_bytes",
            "from",
            "to",
        ],
    );
    let (from, to) = (units::rfc3339(ctx.period.from_us), units::rfc3339(ctx.period.to_us));
    for line in lines {
        let [first, second, total, before] = line.plain.map(|bytes| format!("{bytes:.0}"));
        let share = line.share.trim_end_matches(['\u{202f}', '%']);
        csv_line(
            &mut out,
            [
                &line.rank,
                &line.key,
                &line.name,
                &line.about,
                &first,
                &second,
                &total,
                share,
                &before,
                &from,
                &to,
            ],
        );
    }
    csv_response(&format!("{}-{}.csv", ctx.site_name, kind.slug), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_against_the_period_before() {
        let change = |now, before| change(now, before).replace('\u{202f}', " ");
        assert_eq!(change(150.0, 100.0), "+50 %");
        assert_eq!(change(50.0, 100.0), "−50 %");
        assert_eq!(change(100.2, 100.0), "±0 %");
        assert_eq!(change(2_000.0, 100.0), "×20");
        assert_eq!((change(1.0, 0.0), change(0.0, 0.0)), ("new".into(), "–".into()));
        assert_eq!(change(0.0, 10.0), "−100 %");
    }
}
