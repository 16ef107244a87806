// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Where a packet would go: the question as it stands in a URL, and the answer in words.

mod ask;
mod words;

use std::sync::Arc;

use insights_store::{FlowRow, Path};
use insights_trace::{Choices, Connection, Difference, NoPacket, Outcome, Packet, Seen, Trace, Tracer, walk::Wanted};
use midonet::flow::{Device, DeviceKind, Fragment, RuleHit, RuleResult, SimResult, action};
use uuid::Uuid;

pub use ask::{Ask, AskError, PROTOCOLS};
pub use words::{ChainStop, RuleLine, Stop, Way};

use crate::site::Site;

/// The way of a packet, and that of its answer where it was delivered to one port.
#[derive(Debug)]
pub struct Ways {
    pub there: Way,
    pub back: Option<Way>,
}

/// Walks the packet that the machine behind a port would send.
pub async fn trace(site: Arc<Site>, ask: Ask) -> Result<Ways, NoPacket> {
    // A router with many routes takes milliseconds to read: not on the threads that serve others.
    let walked = tokio::task::spawn_blocking(move || {
        let mut tracer = Tracer::new(&*site);
        let packet = tracer.packet(
            ask.port,
            &Wanted {
                src: ask.src,
                dst: ask.dst,
                proto: ask.proto,
                src_port: ask.src_port,
                dst_port: ask.dst_port,
            },
        )?;
        let there = tracer.trace(ask.port, packet, &Connection::default(), &Choices::default());
        let back = tracer.answer(&there);
        Ok(Ways {
            there: words::way(&site, &there),
            back: back.map(|back| words::way(&site, &back)),
        })
    });
    walked.await.unwrap_or(Err(NoPacket::NoPort))
}

/// The way of a recorded packet over the topology of its time, and how it compares with what the agent recorded; `None` for a record that has
/// no way of its own.
pub async fn of_flow(site: Arc<Site>, row: FlowRow, path: Path) -> Option<(Way, Agreement)> {
    let walked = tokio::task::spawn_blocking(move || {
        let recorded = Recorded::of(&row, &path)?;
        let fit = Tracer::new(&*site).explain(&recorded.seen())?;
        Some((words::way(&site, &fit.trace), Agreement::of(&site, &fit.outcome, &fit.trace)))
    });
    walked.await.ok().flatten()
}

/// How a trace compares with a record.
#[derive(Debug)]
pub struct Agreement {
    pub agrees: bool,
    pub text: String,
}

impl Agreement {
    fn of(site: &Site, outcome: &Outcome, trace: &Trace) -> Self {
        let name = |id: Option<Uuid>| id.map_or_else(|| "nothing more".to_owned(), |id| site.name(id));
        let rule = |hit: Option<RuleHit>| {
            hit.map_or_else(
                || "no rule".to_owned(),
                |hit| {
                    let text = site.rule(hit.id).map_or_else(|| hit.id.to_string(), |rule| rule.text);
                    format!(
                        "“{text}” ({})",
                        if hit.matched {
                            hit.result.name().to_lowercase()
                        } else {
                            "no match".to_owned()
                        }
                    )
                },
            )
        };
        let text = match outcome {
            Outcome::Agrees => {
                "The walk over the topology of then agrees with the agent’s record: the same devices, the same rules, the same verdict.".to_owned()
            }
            Outcome::Differs(Difference::Rules { seen, traced, .. }) => {
                format!(
                    "The agent’s record has {} where this walk has {}: the agent knew another topology, or state that is not stored.",
                    rule(*seen),
                    rule(*traced)
                )
            }
            Outcome::Differs(Difference::Devices { seen, traced, .. }) => {
                format!("The agent’s record goes on with {}, this walk with {}.", name(*seen), name(*traced))
            }
            Outcome::Differs(Difference::OutPorts { seen, .. }) => {
                format!("By the agent’s record it left by {}.", name(seen.first().copied()))
            }
            Outcome::Differs(Difference::Verdict { seen_forwarded: true }) => "The agent forwarded it, this walk does not.".to_owned(),
            Outcome::Differs(Difference::Verdict { seen_forwarded: false }) => "The agent did not forward it, this walk does.".to_owned(),
            Outcome::NotModelled(_) | Outcome::NoWay => words::end(site, &trace.end).1,
        };
        Self {
            agrees: *outcome == Outcome::Agrees,
            text,
        }
    }
}

/// A stored flow as the trace compares it.
pub(super) struct Recorded {
    pub(super) packet: Packet,
    pub(super) in_port: Uuid,
    sim_result: SimResult,
    devices: Vec<Device>,
    rules: Vec<RuleHit>,
    out_ports: Vec<Uuid>,
    actions: Vec<action::Action>,
}

impl Recorded {
    /// `None` where the record doesn't say where the packet came from.
    pub(super) fn of(row: &FlowRow, path: &Path) -> Option<Self> {
        Some(Self {
            packet: Packet {
                eth_src: midonet::Mac(row.src_mac?.0),
                eth_dst: midonet::Mac(row.dst_mac?.0),
                ether_type: row.ether_type,
                src: row.src_ip,
                dst: row.dst_ip,
                proto: row.proto,
                tos: row.tos,
                ttl: row.ttl,
                src_port: row.src_tp,
                dst_port: row.dst_tp,
                icmp_id: row.icmp_id,
                vlan: row.vlans.first().copied(),
                fragment: Fragment::None,
            },
            in_port: row.in_port?,
            sim_result: SimResult::from_code(row.sim_result),
            devices: path
                .devices
                .iter()
                .map(|device| Device {
                    id: device.id,
                    kind: DeviceKind::from_code(device.kind),
                })
                .collect(),
            rules: path
                .rules
                .iter()
                .map(|rule| RuleHit {
                    id: rule.id,
                    result: RuleResult::from_code(rule.result),
                    matched: rule.matched,
                    applied: rule.applied,
                })
                .collect(),
            out_ports: row.out_ports.clone(),
            actions: action::decode(&row.actions).actions,
        })
    }

    pub(super) fn seen(&self) -> Seen<'_> {
        Seen {
            packet: self.packet,
            in_port: self.in_port,
            sim_result: self.sim_result,
            devices: &self.devices,
            rules: &self.rules,
            out_ports: &self.out_ports,
            actions: &self.actions,
        }
    }
}
