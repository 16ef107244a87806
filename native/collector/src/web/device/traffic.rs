// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Traffic of a device: a large chart, and a small one for each of its ports on the same time axis.

use askama::Template;
use axum::response::Response;
use insights_store::MeterKey;
use uuid::Uuid;

use super::{Device, Head};
use crate::{
    alerts::{Measure, Within},
    query::traffic,
    site::{Kind, PortKind, Site},
    web::{
        alerts::rule_link,
        chart::{self, Chart, Gap, Look, Series},
        context::Ctx,
        dashboard::gap_text,
        error::WebError,
        frame::{Frame, state_class},
        html, units,
        units::Unit,
    },
};

/// Small charts on one page; the busiest ports come first.
const SMALL: usize = 48;
const POINTS: i64 = 240;
const SMALL_POINTS: i64 = 90;

#[derive(Template)]
#[template(path = "device_traffic.html")]
struct Page {
    frame: Frame,
    head: Head,
    note: String,
    chart: String,
    alert_link: String,
    bits: String,
    packets: String,
    in_packets: bool,
    ports: Vec<Small>,
    more: usize,
    scale_note: String,
    own: bool,
    own_link: String,
    one_link: String,
}

struct Small {
    name: String,
    href: String,
    sub: String,
    state: &'static str,
    chart: String,
    now_in: String,
    now_out: String,
    max: String,
}

/// The meters of a device: in and out in words, and by port.
pub(crate) struct Groups {
    pub(crate) note: &'static str,
    pub(crate) in_name: &'static str,
    pub(crate) out_name: &'static str,
    pub(crate) incoming: Vec<MeterKey>,
    pub(crate) outgoing: Vec<MeterKey>,
    /// Port, its meter in, its meter out.
    pub(crate) ports: Vec<(Uuid, MeterKey, MeterKey)>,
}

/// `None` for kinds that MidoNet does not meter.
pub(crate) fn groups(site: &Site, kind: Kind, id: Uuid) -> Option<Groups> {
    let toward = |port: &Uuid| (*port, MeterKey::PortTx(*port), MeterKey::PortRx(*port));
    let from = |port: &Uuid| (*port, MeterKey::PortRx(*port), MeterKey::PortTx(*port));
    let (note, in_name, out_name, ports): (_, _, _, Vec<_>) = match kind {
        Kind::Network => {
            let network = site.network(id)?;
            let vms = network.ports.iter().filter(|port| {
                matches!(
                    site.port_kind(**port),
                    Some(PortKind::Vm | PortKind::Unbound | PortKind::Exterior | PortKind::Dhcp)
                )
            });
            ("ports of VMs", "In, to the VMs", "Out, from the VMs", vms.map(toward).collect())
        }
        Kind::Router => {
            let router = site.router(id)?;
            (
                "all ports",
                "In, into the router",
                "Out, out of the router",
                router.ports.iter().map(from).collect(),
            )
        }
        Kind::Host => {
            let host = site.host(id)?;
            (
                "ports bound at this host",
                "In, to the ports",
                "Out, from the ports",
                host.ports.iter().map(toward).collect(),
            )
        }
        Kind::Port => {
            let vm = matches!(
                site.port_kind(id),
                Some(PortKind::Vm | PortKind::Unbound | PortKind::Exterior | PortKind::Dhcp)
            );
            let keys = if vm { toward(&id) } else { from(&id) };
            let names = if vm {
                ("In, to the VM", "Out, from the VM")
            } else {
                ("In, into the device", "Out, out of the device")
            };
            return Some(Groups {
                note: "this port",
                in_name: names.0,
                out_name: names.1,
                incoming: vec![keys.1],
                outgoing: vec![keys.2],
                ports: Vec::new(),
            });
        }
        Kind::Chain | Kind::LoadBalancer | Kind::Pool | Kind::Mirror => {
            return Some(Groups {
                note: "all that passed it",
                in_name: "Passed",
                out_name: "",
                incoming: vec![MeterKey::Device(id)],
                outgoing: Vec::new(),
                ports: Vec::new(),
            });
        }
        _ => return None,
    };
    Some(Groups {
        note,
        in_name,
        out_name,
        incoming: ports.iter().map(|(_, incoming, _)| incoming.clone()).collect(),
        outgoing: ports.iter().map(|(_, _, outgoing)| outgoing.clone()).collect(),
        ports,
    })
}

/// The large chart.
pub(crate) async fn large(ctx: &Ctx, device: &Device, groups: &Groups, packets: bool, points: i64) -> Result<Chart, WebError> {
    let step = chart::step_for(ctx.period, points, traffic::LEAST_STEP_US);
    let found = traffic::lines(
        ctx.store(),
        ctx.period,
        step,
        ctx.now_us,
        &[groups.incoming.clone(), groups.outgoing.clone()],
    )
    .await?;
    let unit = if packets { Unit::Packets } else { Unit::Bits };
    let two_sided = !groups.outgoing.is_empty();
    let series = found
        .lines
        .iter()
        .zip([
            (groups.in_name, if two_sided { Look::In } else { Look::Single }),
            (groups.out_name, Look::Out),
        ])
        .filter(|(_, (name, _))| !name.is_empty())
        .map(|(line, (name, look))| Series {
            name: name.to_owned(),
            look,
            values: line.rates(packets),
            total: if packets {
                units::short_count(line.total_packets)
            } else {
                units::bytes(line.total_bytes)
            },
        })
        .collect();
    let mut chart = Chart::new(
        format!("Traffic of {}", device.object.name),
        unit,
        ctx.period,
        found.start_us,
        found.step_us,
        series,
    );
    chart.gaps = found
        .gaps
        .iter()
        .map(|(from_us, to_us)| Gap {
            from_us: *from_us,
            to_us: *to_us,
        })
        .collect();
    chart.lost = gap_text(&chart.gaps);
    chart.zoom = ctx.zoom();
    Ok(chart)
}

pub(crate) async fn page(ctx: &Ctx, device: &Device) -> Result<Response, WebError> {
    let groups =
        groups(&ctx.site, device.kind, device.id).ok_or_else(|| WebError::NotFound(format!("MidoNet does not meter a {}.", device.kind.label())))?;
    let in_packets = ctx.params.get("unit") == Some("packets");
    let mut chart = large(ctx, device, &groups, in_packets, POINTS).await?;
    chart.height = 240;
    "Meters move in steps of 30–60 s; each step is spread over the interval that it covers.".clone_into(&mut chart.hint);
    let own = ctx.params.get("scale") != Some("one");
    let (ports, max, unit_name) = small(ctx, &groups, in_packets, own).await?;
    html(&Page {
        frame: Frame::new(ctx, &device.object.name, device.place()).await?,
        head: device.head(ctx, "traffic"),
        note: if groups.outgoing.is_empty() {
            groups.note.to_owned()
        } else {
            format!("in above, out below the line · {}", groups.note)
        },
        chart: chart.html(),
        alert_link: rule_link(
            ctx,
            if in_packets { Measure::Packets } else { Measure::Bits },
            "",
            &Within::Device {
                kind: device.kind.slug().to_owned(),
                id: device.id,
            },
        ),
        bits: ctx.here(&[("unit", "")]),
        packets: ctx.here(&[("unit", "packets")]),
        in_packets,
        more: groups.ports.len().saturating_sub(ports.len()),
        ports,
        scale_note: if own {
            format!("{unit_name}, each on its own scale")
        } else {
            format!("{unit_name}, one scale up to {max}")
        },
        own,
        own_link: ctx.here(&[("scale", "")]),
        one_link: ctx.here(&[("scale", "one")]),
    })
}

/// Small charts, the busiest first, the largest rate of all, and the unit of their figures.
async fn small(ctx: &Ctx, groups: &Groups, packets: bool, own: bool) -> Result<(Vec<Small>, String, String), WebError> {
    let step = chart::step_for(ctx.period, SMALL_POINTS, traffic::LEAST_STEP_US);
    let keys: Vec<Vec<MeterKey>> = groups
        .ports
        .iter()
        .flat_map(|(_, incoming, outgoing)| [vec![incoming.clone()], vec![outgoing.clone()]])
        .collect();
    let found = traffic::lines(ctx.store(), ctx.period, step, ctx.now_us, &keys).await?;
    let mut pairs: Vec<_> = groups.ports.iter().zip(found.lines.chunks(2)).collect();
    pairs.sort_by(|(_, a), (_, b)| {
        let sum = |lines: &[traffic::Line]| lines.iter().map(|line| line.total_bytes).sum::<f64>();
        sum(b).total_cmp(&sum(a))
    });
    let unit = if packets { Unit::Packets } else { Unit::Bits };
    let peak = |line: &traffic::Line| line.rates(packets).into_iter().flatten().fold(0.0, f64::max);
    let all = pairs.iter().flat_map(|(_, lines)| lines.iter().map(peak)).fold(0.0, f64::max);
    let (factor, unit_name) = unit.scaled(all);
    let shown = |rate: f64| units::short(rate / factor);
    let small = pairs
        .into_iter()
        .take(SMALL)
        .map(|((port, ..), lines)| {
            let view = ctx.site.port(*port);
            let name = ctx.site.name(*port);
            let last = |line: &traffic::Line| {
                line.rates(packets)
                    .into_iter()
                    .flatten()
                    .next_back()
                    .map_or_else(|| "–".to_owned(), shown)
            };
            let series = lines
                .iter()
                .zip([("In", Look::In), ("Out", Look::Out)])
                .map(|(line, (name, look))| Series {
                    name: name.to_owned(),
                    look,
                    values: line.rates(packets),
                    total: String::new(),
                })
                .collect();
            let mut chart = Chart::new(
                format!("{name}: in {}, out {} last", last(&lines[0]), last(&lines[1])),
                unit,
                ctx.period,
                found.start_us,
                found.step_us,
                series,
            );
            if !own {
                chart.scale_to(all);
            }
            Small {
                href: ctx.to(&format!("d/port/{port}/traffic")),
                sub: view
                    .as_ref()
                    .and_then(|view| view.addresses.first())
                    .map_or_else(String::new, ToString::to_string),
                state: view.map_or("unknown", |view| state_class(view.state)),
                chart: chart.html_mini(),
                now_in: last(&lines[0]),
                now_out: last(&lines[1]),
                max: format!("max {} / {}", shown(peak(&lines[0])), shown(peak(&lines[1]))),
                name,
            }
        })
        .collect();
    Ok((small, format!("{} {unit_name}", shown(all)), unit_name))
}
