// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The site itself: gateways, what is replicated, the balance of records hop by hop, storage, keys.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use insights_store::{StreamKind, catalog::Hop};
use serde_json::Value;

use super::{context::Ctx, error::WebError, frame::Frame, html, units};

#[derive(Template)]
#[template(path = "site.html")]
struct Page {
    frame: Frame,
    gateways: Vec<GatewayRow>,
    kinds: Vec<KindRow>,
    hops: Vec<HopRow>,
    hop_names: Vec<&'static str>,
    used: String,
    quota: String,
    share: String,
    storage: Vec<(&'static str, String)>,
    oldest: String,
    keys: Vec<KeyRow>,
    objects: Vec<(String, String)>,
    known_at: String,
}

struct GatewayRow {
    name: String,
    state: &'static str,
    what: String,
    version: String,
    lag: String,
    spool: String,
    agents: String,
    meters: String,
    memory: String,
    reported: String,
    id: String,
}

struct KindRow {
    name: &'static str,
    about: &'static str,
    wanted: bool,
}

struct HopRow {
    kind: String,
    counts: Vec<String>,
    state: &'static str,
    verdict: String,
}

struct KeyRow {
    label: String,
    fingerprint: String,
    added: String,
}

pub(crate) async fn page(ctx: Ctx) -> Result<Response, WebError> {
    let settings = ctx.app.accounts.settings(&ctx.scope).await?;
    let site = ctx.app.accounts.site(&ctx.scope).await?;
    let keys = ctx.app.accounts.fingerprints(&ctx.scope).await?;
    let usage = ctx.store().series().usage(ctx.scope.site()).await?;
    let used = usage.total() as f64;
    let mut classes: Vec<_> = ctx
        .site
        .classes()
        .map(|(class, count)| (class.to_owned(), units::count(count as u64)))
        .collect();
    classes.sort();
    html(&Page {
        frame: Frame::new(&ctx, "Site", "site").await?,
        gateways: ctx.gateways.iter().map(|gateway| gateway_row(&ctx, gateway)).collect(),
        kinds: vec![
            KindRow {
                name: "Topology",
                about: "objects of the NSDB",
                wanted: settings.topology,
            },
            KindRow {
                name: "State",
                about: "hosts and ports alive, MAC, ARP and route tables",
                wanted: settings.state,
            },
            KindRow {
                name: "Metering",
                about: "traffic meters of the agents",
                wanted: settings.metering,
            },
            KindRow {
                name: "Flows",
                about: "flow records of the agents",
                wanted: settings.flows,
            },
        ],
        hops: balance(&ctx).await?,
        hop_names: HOPS.iter().map(|(_, name)| *name).collect(),
        used: units::bytes(used),
        quota: if site.quota_bytes == 0 {
            "no bound".to_owned()
        } else {
            units::bytes(site.quota_bytes as f64)
        },
        share: if site.quota_bytes == 0 {
            "0".to_owned()
        } else {
            format!("{:.1}", (used / site.quota_bytes as f64 * 100.0).clamp(0.3, 100.0))
        },
        storage: vec![
            ("Flow records", units::bytes(usage.flows as f64)),
            ("Paths", units::bytes(usage.paths as f64)),
            ("Meters", units::bytes(usage.meters as f64)),
            ("In memory and log", units::bytes(usage.pending as f64)),
            ("Files", units::count(usage.files)),
        ],
        oldest: usage.oldest_us.map_or_else(|| "nothing in files yet".to_owned(), units::full),
        keys: keys
            .into_iter()
            .map(|key| KeyRow {
                label: key.label,
                fingerprint: key.fingerprint,
                added: units::day_minute(key.added_us),
            })
            .collect(),
        objects: classes,
        known_at: if ctx.site.at_us() == 0 {
            "nothing yet".to_owned()
        } else {
            units::full(ctx.site.at_us())
        },
    })
}

fn gateway_row(ctx: &Ctx, gateway: &insights_store::catalog::Gateway) -> GatewayRow {
    let report = gateway
        .report
        .as_ref()
        .and_then(|(at, json)| Some((*at, serde_json::from_str::<Value>(json).ok()?)));
    let number = |name: &str| report.as_ref().and_then(|(_, report)| report.get(name)?.as_f64());
    let dash = || "–".to_owned();
    let (state, what) = match gateway.disconnected_us {
        None => ("up", format!("connected since {}", units::since(gateway.connected_us, ctx.now_us))),
        Some(since) => ("down", format!("away since {}", units::since(since, ctx.now_us))),
    };
    GatewayRow {
        name: gateway.name.clone(),
        state,
        what,
        version: gateway.version.clone(),
        lag: number("lag_ms").map_or_else(dash, |lag| units::duration((lag * 1_000.0) as i64)),
        spool: match (number("spool_bytes"), number("spool_limit")) {
            (Some(used), Some(limit)) => format!("{} of {}", units::bytes(used), units::bytes(limit)),
            _ => dash(),
        },
        agents: number("agents_connected").map_or_else(dash, |agents| units::count(agents as u64)),
        meters: match (number("meters_answered"), number("agents_alive")) {
            (Some(answered), Some(alive)) => format!("{answered} of {alive}"),
            _ => dash(),
        },
        memory: number("memory_bytes").map_or_else(dash, units::bytes),
        reported: report.as_ref().map_or_else(dash, |(at, _)| units::since(*at, ctx.now_us)),
        id: gateway.id.to_string(),
    }
}

const HOPS: [(Hop, &str); 9] = [
    (Hop::Received, "Received"),
    (Hop::Invalid, "Invalid"),
    (Hop::Dropped, "Dropped"),
    (Hop::Spooled, "Spooled"),
    (Hop::Evicted, "Evicted"),
    (Hop::Acknowledged, "Acknowledged"),
    (Hop::Arrived, "Arrived"),
    (Hop::Refused, "Refused"),
    (Hop::Stored, "Stored"),
];

/// Records by kind and hop over the period's hours.
async fn balance(ctx: &Ctx) -> Result<Vec<HopRow>, WebError> {
    let mut sums: BTreeMap<StreamKind, BTreeMap<Hop, u64>> = BTreeMap::new();
    for count in ctx.store().counts(ctx.scope.site(), ctx.period).await? {
        *sums.entry(count.kind).or_default().entry(count.hop).or_default() += count.records;
    }
    Ok(sums
        .into_iter()
        .map(|(kind, mut hops)| {
            // Topology and events are counted as arrived after the transaction that stored them, and have no count of their own.
            if matches!(kind, StreamKind::Topology | StreamKind::Events) {
                let arrived = hops.get(&Hop::Arrived).copied().unwrap_or(0);
                hops.insert(Hop::Stored, arrived);
            }
            let at = |hop: Hop| hops.get(&hop).copied().unwrap_or(0);
            let lost = at(Hop::Invalid) + at(Hop::Dropped) + at(Hop::Evicted) + at(Hop::Refused);
            let (state, verdict) = if lost > 0 {
                ("degraded", format!("{} lost", units::count(lost)))
            } else if at(Hop::Stored) < at(Hop::Arrived) {
                (
                    "degraded",
                    format!("{} arrived, not stored", units::count(at(Hop::Arrived) - at(Hop::Stored))),
                )
            } else {
                ("up", "complete".to_owned())
            };
            HopRow {
                kind: kind.name().to_owned(),
                counts: HOPS.iter().map(|(hop, _)| units::count(at(*hop))).collect(),
                state,
                verdict,
            }
        })
        .collect())
}
