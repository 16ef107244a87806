// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Traffic and flow records over time.

use insights_store::{FlowFilter, MeterKey, StreamKind, query::Bin};

use crate::{
    alerts::{Measure, Within},
    query::{
        flows,
        traffic::{self, Line},
    },
    site::PortKind,
    web::{
        alerts::rule_link,
        chart::{self, Chart, Gap, Look, Series},
        context::Ctx,
        error::WebError,
        units::{self, Unit},
    },
};

/// Values of a chart: one per three pixels of a third of a screen.
const POINTS: i64 = 120;

/// A chart in its card.
pub(super) struct ChartCard {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) href: String,
    /// The form of a rule over what it shows; empty for none.
    pub(super) alert: String,
    pub(super) body: String,
}

pub(super) async fn charts(ctx: &Ctx) -> Result<[ChartCard; 3], WebError> {
    let ([north_south, total], records) = tokio::try_join!(traffic_charts(ctx), record_chart(ctx, FlowFilter::all()))?;
    let rule = |measure| rule_link(ctx, measure, "", &Within::Site);
    let card = |id, title, note, href, alert, chart: &Chart| ChartCard {
        id,
        title,
        note,
        href,
        alert,
        body: chart.html(),
    };
    let records_note = if records.enlarge_below > 1.0 {
        "allowed above, dropped below ×10"
    } else {
        "allowed above, dropped below"
    };
    let uplinks = ctx.link("virtual/ports", &[("find", "uplink"), ("sort", "-traffic")]);
    Ok([
        card(
            "c-ns",
            "North-south traffic",
            "in above, out below",
            uplinks,
            rule(Measure::Bits),
            &north_south,
        ),
        card(
            "c-total",
            "Total traffic",
            "stacked",
            ctx.link("reports", &[("type", "total")]),
            String::new(),
            &total,
        ),
        card("c-flows", "Flow records", records_note, ctx.to("flows"), rule(Measure::Records), &records),
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
    let line = |at: usize| traffic.lines.get(at).cloned().unwrap_or_default();
    let (incoming, outgoing, sent) = (line(0), line(1), line(2));
    let gaps: Vec<Gap> = traffic
        .gaps
        .iter()
        .map(|(from_us, to_us)| Gap {
            from_us: *from_us,
            to_us: *to_us,
        })
        .collect();
    let series = |name: &str, look, values, total: f64| Series {
        name: name.to_owned(),
        look,
        values,
        total: units::bytes(total),
    };
    let chart = |label: &str, series| {
        let mut chart = Chart::new(label, Unit::Bits, ctx.period, traffic.start_us, traffic.step_us, series);
        chart.lost = gap_text(&gaps);
        chart.gaps.clone_from(&gaps);
        chart.zoom = ctx.zoom();
        chart
    };
    let pairs = |a: &Line, b: &Line| a.rates(false).into_iter().zip(b.rates(false)).collect::<Vec<_>>();
    let both = pairs(&incoming, &outgoing).into_iter().map(|(a, b)| add(a, b)).collect();
    let east_west = pairs(&sent, &outgoing)
        .into_iter()
        .map(|(sent, out)| sent.map(|sent| (sent - out.unwrap_or(0.0)).max(0.0)))
        .collect();
    Ok([
        chart(
            "North-south traffic, in above and out below the line",
            vec![
                series("In", Look::In, incoming.rates(false), incoming.total_bytes),
                series("Out", Look::Out, outgoing.rates(false), outgoing.total_bytes),
            ],
        ),
        chart(
            "Total traffic, east-west on north-south",
            vec![
                series("East-west", Look::Upper, east_west, (sent.total_bytes - outgoing.total_bytes).max(0.0)),
                series("North-south", Look::Lower, both, incoming.total_bytes + outgoing.total_bytes),
            ],
        ),
    ])
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
