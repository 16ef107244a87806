// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The lists beneath the charts.

use insights_store::{FlowFilter, FlowTest};

use super::ROWS;
use crate::{
    query::{flows, reports, traffic},
    web::{chart, context::Ctx, error::WebError, units},
};

pub(super) struct TenantRow {
    pub(super) name: String,
    pub(super) short: String,
    pub(super) href: String,
    pub(super) north_south: String,
    pub(super) east_west: String,
    pub(super) total: String,
    pub(super) north_south_share: String,
    pub(super) east_west_at: String,
    pub(super) east_west_share: String,
}

pub(super) struct RuleRow {
    pub(super) text: String,
    pub(super) place: String,
    pub(super) href: String,
    pub(super) spark: String,
    pub(super) dropped: String,
}

pub(super) struct GatewayRow {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) what: String,
    pub(super) about: String,
}

pub(super) async fn tenants(ctx: &Ctx) -> Result<Vec<TenantRow>, WebError> {
    let totals = traffic::port_totals(ctx.store(), ctx.period).await?;
    let mut rows: Vec<_> = reports::by_tenant(&[&ctx.site], &totals).into_iter().collect();
    rows.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()).then_with(|| a.0.cmp(&b.0)));
    rows.truncate(ROWS);
    let max = rows.first().map_or(1.0, |(_, traffic)| traffic.total()).max(1.0);
    Ok(rows
        .into_iter()
        .map(|(name, traffic)| {
            let share = |value: f64| value / max * 98.0;
            TenantRow {
                href: ctx.link("virtual/networks", &[("tenant", &name)]),
                short: ctx.tenants.name(&name),
                name,
                north_south: units::bytes(traffic.north_south()),
                east_west: units::bytes(traffic.east_west()),
                total: units::bytes(traffic.total()),
                north_south_share: format!("{:.1}", share(traffic.north_south())),
                east_west_at: format!("{:.1}", share(traffic.north_south()) + 0.6),
                east_west_share: format!("{:.1}", share(traffic.east_west())),
            }
        })
        .collect())
}

pub(super) async fn rules(ctx: &Ctx) -> Result<Vec<RuleRow>, WebError> {
    let step = chart::step_for(ctx.period, 60, 1_000_000);
    let drops = flows::drops(ctx.store(), ctx.period, FlowFilter::Is(FlowTest::Transit(false)), step, ROWS).await?;
    Ok(drops
        .into_iter()
        .map(|drops| {
            let rule = ctx.site.rule(drops.rule);
            let place = rule.as_ref().map_or_else(
                || "not in the topology any more".to_owned(),
                |rule| crate::web::device::rule_place(&ctx.site, rule),
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

pub(super) fn gateways(ctx: &Ctx) -> Vec<GatewayRow> {
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
