// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A trace against what an agent recorded. What the agent chose (an equal route, a pool's member, a source port) and what it knew of the
//! connection is taken from the record.

use std::{collections::BTreeSet, net::IpAddr};

use midonet::flow::{Device, DeviceKind, RuleHit, SimResult, action::Action};
use uuid::Uuid;

use crate::{
    Topology, Tracer,
    packet::{Choices, Connection, Packet, Translation},
    step::{End, Limit, Trace},
};

/// What a flow record says.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub packet: Packet,
    pub in_port: Uuid,
    pub sim_result: SimResult,
    pub devices: &'a [Device],
    pub rules: &'a [RuleHit],
    pub out_ports: &'a [Uuid],
    pub actions: &'a [Action],
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Agrees,
    Differs(Difference),
    /// The trace ends where it doesn't model.
    NotModelled(Limit),
    /// A record that has no way of its own: of a packet that an agent made, or that came by a tunnel.
    NoWay,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// At this place of the devices, or one of them is longer.
    Devices {
        at: usize,
        seen: Option<Uuid>,
        traced: Option<Uuid>,
    },
    /// At this place of the rules.
    Rules {
        at: usize,
        seen: Option<RuleHit>,
        traced: Option<RuleHit>,
    },
    OutPorts {
        seen: Vec<Uuid>,
        traced: Vec<Uuid>,
    },
    /// Forwarded by one, not by the other.
    Verdict {
        seen_forwarded: bool,
    },
}

/// A trace beside a record.
#[derive(Clone, Debug)]
pub struct Fit {
    pub outcome: Outcome,
    pub trace: Trace,
    /// What the agent knew and chose: with it the packet can be walked again over another topology.
    pub connection: Connection,
    pub choices: Choices,
}

impl Seen<'_> {
    /// Where all its translations have brought the packet.
    fn translated(&self) -> (Option<(IpAddr, IpAddr)>, (u16, u16)) {
        let mut addresses = match (self.packet.src, self.packet.dst) {
            (Some(src), Some(dst)) => Some((src, dst)),
            _ => None,
        };
        let mut ports = (self.packet.src_port, self.packet.dst_port);
        for action in self.actions {
            match action {
                Action::SetIpv4 { src, dst, .. } => addresses = Some(((*src).into(), (*dst).into())),
                Action::SetTcp { src, dst } | Action::SetUdp { src, dst } => ports = (*src, *dst),
                _ => {}
            }
        }
        (addresses, ports)
    }

    /// What the agent knew and chose.
    fn hints(&self) -> (Connection, Choices) {
        let (addresses, (src_port, dst_port)) = self.translated();
        let mut connection = Connection {
            returned: true,
            undo: Vec::new(),
        };
        let mut choices = Choices {
            ports: self
                .devices
                .iter()
                .filter(|device| device.kind == DeviceKind::Port)
                .map(|device| device.id)
                .collect(),
            ..Choices::default()
        };
        if let (Some((IpAddr::V4(src), IpAddr::V4(dst))), Some((was_src, was_dst))) = (addresses, self.packet.v4()) {
            choices.member = Some((dst, dst_port));
            choices.source = Some((src, src_port));
            let icmp = self.packet.is_icmp();
            let key = |port: u16| if icmp { self.packet.icmp_id } else { port };
            connection.undo = vec![
                Translation {
                    device: None,
                    dnat: false,
                    before: (dst, key(dst_port)),
                    after: (was_dst, self.packet.destination_key()),
                },
                Translation {
                    device: None,
                    dnat: true,
                    before: (src, key(src_port)),
                    after: (was_src, self.packet.source_key()),
                },
            ];
        }
        (connection, choices)
    }
}

impl<T: Topology> Tracer<T> {
    /// Traces the packet of a record and compares.
    pub fn compare(&mut self, seen: &Seen<'_>) -> Outcome {
        self.explain(seen).map_or(Outcome::NoWay, |fit| fit.outcome)
    }

    /// The trace that fits a record best, and how it fits; `None` for a record without a way of its own.
    pub fn explain(&mut self, seen: &Seen<'_>) -> Option<Fit> {
        if seen.sim_result == SimResult::GeneratedPacket
            || seen.devices.is_empty() && seen.actions.iter().any(|action| matches!(action, Action::Output { .. }))
        {
            return None;
        }
        let (known, choices) = seen.hints();
        // The record doesn't say whether the connection was known, its rules do: one of the ways fits them. With state but nothing to undo is a
        // connection that nobody translated.
        let ways = [
            Connection::default(),
            known.clone(),
            Connection {
                returned: true,
                undo: Vec::new(),
            },
            Connection { returned: false, ..known },
        ];
        let mut best: Option<(usize, Fit)> = None;
        for connection in ways {
            let trace = self.trace(seen.in_port, seen.packet, &connection, &choices);
            let fit = Fit {
                outcome: judge(seen, &trace),
                trace,
                connection,
                choices: choices.clone(),
            };
            let length = match &fit.outcome {
                Outcome::Agrees => return Some(fit),
                Outcome::Differs(Difference::Rules { at, .. }) => 1 + at,
                Outcome::Differs(Difference::Devices { .. }) => 0,
                _ => usize::MAX,
            };
            if best.as_ref().is_none_or(|(before, _)| *before < length) {
                best = Some((length, fit));
            }
        }
        best.map(|(_, fit)| fit)
    }
}

fn judge(seen: &Seen<'_>, trace: &Trace) -> Outcome {
    if let End::Unknown(limit) = trace.end {
        return Outcome::NotModelled(limit);
    }
    let forwarded = !seen.actions.is_empty();
    // The agent forgets the way of a packet that ended in an error.
    if seen.devices.is_empty() && seen.rules.is_empty() && !forwarded {
        return match trace.end {
            End::Dropped(_) if trace.deciding_rule().is_none() => Outcome::Agrees,
            End::Answered { .. } if trace.steps.is_empty() => Outcome::Agrees,
            _ => Outcome::Differs(Difference::Verdict { seen_forwarded: false }),
        };
    }
    let (mut rules, mut its_rules) = (trace.rules(), seen.rules.to_vec());
    let (mut mine, mut its) = (plain(&trace.devices()), plain(seen.devices));
    if matches!(trace.end, End::Flooded(_)) {
        // A flood has no order.
        for rules in [&mut rules, &mut its_rules] {
            rules.sort_by_key(|hit| (hit.id, hit.result.code(), hit.matched, hit.applied));
        }
        mine.sort_unstable();
        its.sort_unstable();
    }
    let at = its_rules.iter().zip(&rules).take_while(|(seen, traced)| seen == traced).count();
    if at < its_rules.len().max(rules.len()) {
        return Outcome::Differs(Difference::Rules {
            at,
            seen: its_rules.get(at).copied(),
            traced: rules.get(at).copied(),
        });
    }
    let at = its.iter().zip(&mine).take_while(|(seen, traced)| seen == traced).count();
    if at < its.len().max(mine.len()) {
        return Outcome::Differs(Difference::Devices {
            at,
            seen: its.get(at).copied(),
            traced: mine.get(at).copied(),
        });
    }
    let delivered = matches!(trace.end, End::Delivered(_) | End::Flooded(_));
    if forwarded != delivered {
        return Outcome::Differs(Difference::Verdict { seen_forwarded: forwarded });
    }
    let set = |ports: &[Uuid]| ports.iter().copied().collect::<BTreeSet<Uuid>>();
    if forwarded && set(seen.out_ports) != set(trace.out_ports()) {
        return Outcome::Differs(Difference::OutPorts {
            seen: seen.out_ports.to_vec(),
            traced: trace.out_ports().to_vec(),
        });
    }
    Outcome::Agrees
}

/// Ids of devices without those that are only watched, each once where it is named several times in a row. Chains are told by their rules; one
/// without rules changes nothing.
fn plain(devices: &[Device]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = devices
        .iter()
        .filter(|device| !matches!(device.kind, DeviceKind::Mirror | DeviceKind::PortGroup | DeviceKind::Chain))
        .map(|device| device.id)
        .collect();
    ids.dedup();
    ids
}
