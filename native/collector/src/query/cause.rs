// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Since when a conversation is dropped, and by which change of the topology.
//!
//! The changes between the last record that was let through and the first that was dropped are laid over the topology of before, one moment after
//! the other, and the packet is walked again each time: the changes of the moment at which its verdict turns are the cause, and not only near to it.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use insights_store::{End, FlowFilter, FlowId, FlowRow, FlowTest, Path, Period, Prefix, StoreError, Verdict};
use insights_trace::{Choices, Connection, Edited, Packet, Step, Topology, Trace, Tracer};
use serde::Serialize;
use uuid::Uuid;

use super::{flows, scoped::ScopedStore, trace::Recorded};
use crate::{
    accounts::SiteScope,
    site::{Change, Kind, Site, Sites, What},
};

/// How far back a record is looked for that was let through, µs.
const LOOK_BACK_US: i64 = 7 * 86_400_000_000;
/// Clocks of ZooKeeper and of gateways differ, and a record can overtake the change that it shows, µs.
const SLACK_US: i64 = 5_000_000;
/// Changes that are looked at; more in between are too many to name a cause.
const MAX_CHANGES: usize = 400;
/// Moments whose changes are tried: each is a walk of about a millisecond.
const MAX_MOMENTS: usize = 200;
/// Bins of a round in which the first dropped record is looked for, and rounds.
const BINS: i64 = 100;
const ROUNDS: usize = 4;
/// Records among which the first is looked for in the end.
const RECORDS: usize = 500;

/// What is known about the beginning of drops.
#[derive(Debug, Serialize)]
pub struct Cause {
    /// The last record of the conversation that was let through; `None` where there is none in [`LOOK_BACK_US`].
    pub allowed: Option<(String, i64)>,
    /// The first that was dropped after it.
    pub dropped: (String, i64),
    /// Likeliest first.
    pub suspects: Vec<Suspect>,
    /// Changes in between that have nothing to do with the packet's way.
    pub others: usize,
    /// The changes were too many to try them all.
    pub cut: bool,
}

#[derive(Debug, Serialize)]
pub struct Suspect {
    pub change: Change,
    /// With it, and with nothing later, the packet is dropped that was let through without it. Else it is of something on the packet's way.
    pub decides: bool,
}

/// Looks for the cause of a dropped record; `None` where the record was not dropped, or doesn't say which conversation it is of.
pub async fn cause(store: &ScopedStore, sites: &Sites, scope: &SiteScope, id: FlowId, row: FlowRow, path: Path) -> Result<Option<Cause>, StoreError> {
    if row.verdict != Verdict::Dropped {
        return Ok(None);
    }
    let (Some(same), Some(recorded)) = (same_conversation(&row), Recorded::of(&row, &path)) else {
        return Ok(None);
    };
    let with = |verdict| FlowFilter::And(same.iter().cloned().chain([FlowFilter::Is(FlowTest::Verdict(verdict))]).collect());
    let period = Period::new(row.time_us - LOOK_BACK_US, row.time_us);
    let allowed = flows::newest(store, period, with(Verdict::Allowed), 1).await?.pop();
    let Some(allowed) = allowed else {
        return Ok(Some(Cause {
            allowed: None,
            dropped: (id.to_string(), row.time_us),
            suspects: Vec::new(),
            others: 0,
            cut: false,
        }));
    };
    let allowed_us = allowed.row.time_us;
    let first = first(store, Period::new(allowed_us, row.time_us + 1), with(Verdict::Dropped)).await?;
    let (dropped, dropped_us) = first.unwrap_or((id, row.time_us));
    let mut cause = Cause {
        allowed: Some((allowed.id.to_string(), allowed_us)),
        dropped: (dropped.to_string(), dropped_us),
        suspects: Vec::new(),
        others: 0,
        cut: false,
    };
    // What explains it at its own time comes before what was seen a moment later.
    for late_us in [0, SLACK_US] {
        let period = Period::new(allowed_us - SLACK_US, dropped_us + late_us + 1);
        let changes = sites.changes(scope, period, MAX_CHANGES + 1).await?;
        cause.cut = changes.len() > MAX_CHANGES;
        let (before, after) = (sites.at(scope, period.from_us).await?, sites.at(scope, period.to_us - 1).await?);
        let (packet, in_port) = (recorded.packet, recorded.in_port);
        let judged = tokio::task::spawn_blocking(move || judge(&before, &after, changes, packet, in_port));
        (cause.suspects, cause.others) = judged.await.unwrap_or_default();
        if cause.suspects.iter().any(|suspect| suspect.decides) {
            break;
        }
    }
    Ok(Some(cause))
}

/// Records of the same sender, receiver and service.
fn same_conversation(row: &FlowRow) -> Option<Vec<FlowFilter>> {
    let mut tests = vec![
        FlowTest::InPort(row.in_port?),
        FlowTest::Ip(End::Src, alone(row.src_ip?)?),
        FlowTest::Ip(End::Dst, alone(row.dst_ip?)?),
        FlowTest::Proto(row.proto..=row.proto),
    ];
    if flows::has_ports(row) {
        tests.push(FlowTest::Tp(End::Dst, row.dst_tp..=row.dst_tp));
    }
    Some(tests.into_iter().map(FlowFilter::Is).collect())
}

fn alone(address: IpAddr) -> Option<Prefix> {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}

/// The oldest record of a period, narrowed down by histograms: lists are newest first.
async fn first(store: &ScopedStore, mut period: Period, filter: FlowFilter) -> Result<Option<(FlowId, i64)>, StoreError> {
    for _ in 0..ROUNDS {
        let step = ((period.to_us - period.from_us) / BINS).max(1_000_000);
        let bins = flows::histogram(store, period, filter.clone(), step).await?;
        let Some(bin) = bins.iter().find(|bin| bin.total() > 0) else {
            return Ok(None);
        };
        let found = Period::new(bin.start_us.max(period.from_us), (bin.start_us + step).min(period.to_us));
        let narrow = bin.total() <= RECORDS as u64 || step == 1_000_000;
        period = found;
        if narrow {
            break;
        }
    }
    let oldest = flows::newest(store, period, filter, RECORDS).await?.pop();
    Ok(oldest.map(|flow| (flow.id, flow.row.time_us)))
}

/// The changes that turn the verdict, then those of what is on the packet's way; and how many others there are.
fn judge(before: &Arc<Site>, after: &Arc<Site>, mut changes: Vec<Change>, packet: Packet, in_port: Uuid) -> (Vec<Suspect>, usize) {
    changes.retain(|change| change.kind != Kind::Other && !change.class.starts_with("Neutron"));
    let mut moments: BTreeMap<i64, Vec<&Change>> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| matches!(change.what, What::Created | What::Changed | What::Deleted))
    {
        moments.entry(change.at_us).or_default().push(change);
    }
    let passes = |trace: &Trace| !trace.out_ports().is_empty();
    let walk = |topology: &dyn Topology| Tracer::new(topology).trace(in_port, packet, &Connection::default(), &Choices::default());
    let (old, new) = (walk(&**before), walk(&**after));
    let mut deciding = None;
    if passes(&old) && !passes(&new) {
        let mut edited = Edited::new(&**before);
        for (at_us, group) in moments.iter().take(MAX_MOMENTS) {
            for change in group {
                match after.object(&change.class, change.id) {
                    Some(object) => edited.put(object),
                    None => edited.remove(&change.class, change.id),
                }
            }
            if !passes(&walk(&edited)) {
                deciding = Some(*at_us);
                break;
            }
        }
    }
    let way = on_the_way(&old, &new, before, after);
    let met = met(&old, &new);
    let all = changes.len();
    let mut suspects: Vec<Suspect> = changes
        .into_iter()
        .filter_map(|change| {
            let decides = deciding == Some(change.at_us) && matches!(change.what, What::Created | What::Changed | What::Deleted);
            (decides || way.contains(&change.id)).then_some(Suspect { change, decides })
        })
        .collect();
    // What decides first; of one moment what the packet met itself before what came or went along with it, the rule before its chain, what came or
    // went before what only mentions it.
    let rank = |suspect: &Suspect| {
        (
            !suspect.decides,
            !met.contains(&suspect.change.id),
            suspect.change.kind != Kind::Rule,
            suspect.change.what == What::Changed,
            -suspect.change.at_us,
        )
    };
    suspects.sort_by_key(rank);
    let others = all - suspects.len();
    (suspects, others)
}

/// Rules that held for the packet on either way, and routes that it took.
fn met(old: &Trace, new: &Trace) -> HashSet<Uuid> {
    let steps = old.steps.iter().chain(&new.steps);
    let met = steps.filter_map(|step| match step {
        Step::Rule { hit, .. } => hit.matched.then_some(hit.id),
        Step::Routed { route, .. } => *route,
        _ => None,
    });
    met.collect()
}

/// Everything that either way touched, with the hosts of its ports.
fn on_the_way(old: &Trace, new: &Trace, before: &Site, after: &Site) -> HashSet<Uuid> {
    let mut ids = HashSet::new();
    for step in old.steps.iter().chain(&new.steps) {
        match step {
            Step::Enter { port } | Step::Leave { port } => {
                ids.insert(*port);
                ids.extend([before, after].iter().filter_map(|site| site.port(*port)?.host));
            }
            Step::Network { network } | Step::Switched { network, .. } => drop(ids.insert(*network)),
            Step::Router { router } => drop(ids.insert(*router)),
            Step::Routed { router, route, .. } => {
                ids.insert(*router);
                ids.extend(route);
            }
            Step::Balancer { balancer } => drop(ids.insert(*balancer)),
            Step::Pool { pool, .. } => drop(ids.insert(*pool)),
            Step::Chain { chain, .. } => drop(ids.insert(*chain)),
            Step::Rule { hit, .. } => drop(ids.insert(hit.id)),
            Step::Translated { .. } => {}
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::TopologyEffect;
    use insights_trace::{End as Fate, packet::TCP, walk::Wanted};

    use super::*;
    use crate::site::{PortKind, golden_tests::golden_site};

    /// A pair of machines of the golden cloud of which one reaches the other, with the rule that lets the packet in.
    fn pair(site: &Site) -> (Uuid, Packet, Uuid) {
        let machines: Vec<_> = site
            .ports()
            .filter(|port| port.kind == PortKind::Vm && !port.addresses.is_empty())
            .collect();
        let mut tracer = Tracer::new(site);
        for from in &machines {
            for to in &machines {
                let wanted = Wanted {
                    src: None,
                    dst: to.addresses[0],
                    proto: TCP,
                    src_port: 40_000,
                    dst_port: 22,
                };
                let Ok(packet) = tracer.packet(from.id, &wanted) else { continue };
                let trace = tracer.trace(from.id, packet, &Connection::default(), &Choices::default());
                if trace.end == Fate::Delivered(to.id)
                    && let Some(accepting) = trace
                        .rules()
                        .iter()
                        .rev()
                        .find(|hit| hit.matched && hit.result == midonet::flow::RuleResult::Accept)
                {
                    return (from.id, packet, accepting.id);
                }
            }
        }
        panic!("nobody reaches anybody");
    }

    fn change(site: &Site, class: &str, id: Uuid, what: What, at_us: i64) -> Change {
        assert!(what == What::Created || site.object(class, id).is_some());
        Change {
            at_us,
            kind: Kind::of_class(class),
            class: class.to_owned(),
            id,
            what,
            fields: Vec::new(),
        }
    }

    #[test]
    fn the_rule_that_was_removed_is_named_before_all_else() {
        let before = golden_site();
        let (port, packet, rule) = pair(&before);
        let mut after = before.clone();
        after.apply(&TopologyEffect::Delete {
            path: format!("zoom/0/models/Rule/{rule}"),
            at_us: 30,
        });
        let other = before.ids_of_class("Rule").find(|id| *id != rule).unwrap();
        let host = before.port(port).unwrap().host.unwrap();
        let changes = vec![
            change(&before, "Host", host, What::Changed, 40),
            change(&before, "Rule", rule, What::Deleted, 30),
            change(&before, "Rule", other, What::Changed, 20),
        ];
        let (suspects, others) = judge(&Arc::new(before), &Arc::new(after), changes, packet, port);
        assert!(suspects[0].decides && suspects[0].change.id == rule, "{suspects:?}");
        assert_eq!(suspects.iter().filter(|suspect| suspect.decides).count(), 1);
        assert!(suspects.iter().any(|suspect| suspect.change.id == host));
        assert_eq!(suspects.len() + others, 3);
    }

    #[test]
    fn of_two_rules_that_went_together_the_one_that_held_is_first() {
        let before = golden_site();
        let (port, packet, rule) = pair(&before);
        // Neutron's rule for a port comes as two of MidoNet's, of which the other is for fragments.
        let ids = before.ids_of_class("Rule").filter(|id| *id != rule);
        let others: Vec<Uuid> = ids.take(3).collect();
        let mut after = before.clone();
        after.apply(&TopologyEffect::Delete {
            path: format!("zoom/0/models/Rule/{rule}"),
            at_us: 30,
        });
        let gone = others.iter().chain([&rule]);
        let changes = gone.map(|id| change(&before, "Rule", *id, What::Deleted, 30)).collect();
        let (suspects, _) = judge(&Arc::new(before), &Arc::new(after), changes, packet, port);
        assert!(
            suspects[0].change.id == rule && suspects.iter().all(|suspect| suspect.decides),
            "{suspects:?}"
        );
    }

    #[test]
    fn where_both_ways_end_alike_nothing_decides() {
        let site = golden_site();
        let (port, packet, rule) = pair(&site);
        let changes = vec![change(&site, "Rule", rule, What::Changed, 10)];
        let site = Arc::new(site);
        let (suspects, others) = judge(&site, &site.clone(), changes, packet, port);
        assert!(suspects.iter().all(|suspect| !suspect.decides) && others == 0, "{suspects:?}");
    }
}
