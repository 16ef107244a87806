// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The way of a flow, device by device, with the rules that were evaluated at each, as the topology was at that time.

use insights_store::{FlowRow, Path, PathRule, Verdict};
use uuid::Uuid;

use crate::site::{Kind, Site};

/// MidoNet's codes of devices in a path.
const LOAD_BALANCER: u8 = 1;
const POOL: u8 = 2;
const PORT_GROUP: u8 = 3;
const NETWORK: u8 = 4;
const ROUTER: u8 = 5;
const PORT: u8 = 6;
const CHAIN: u8 = 7;
const MIRROR: u8 = 8;

/// A device on the way.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) id: Uuid,
    pub(super) kind: &'static str,
    pub(super) slug: &'static str,
    pub(super) icon: &'static str,
    pub(super) name: String,
    pub(super) about: String,
    /// Unknown to the topology as of then.
    pub(super) unknown: bool,
    pub(super) chains: Vec<ChainStep>,
    /// The flow ended here by a drop.
    pub(super) dropped: bool,
}

/// A chain with what was evaluated in it, nested chains included.
#[derive(Debug)]
pub(super) struct ChainStep {
    pub(super) id: Option<Uuid>,
    pub(super) title: String,
    pub(super) count: String,
    pub(super) rules: Vec<RuleStep>,
}

#[derive(Debug)]
pub(super) struct RuleStep {
    pub(super) id: Uuid,
    pub(super) number: String,
    pub(super) text: String,
    pub(super) verdict: &'static str,
    pub(super) nested: bool,
    /// Took its action and ended the evaluation in favour.
    pub(super) accepted: bool,
    /// The rule that decided to drop.
    pub(super) decided_drop: bool,
}

/// Joins the devices and the rules of a path: a rule belongs to the device at which its chain hangs, a chain that was jumped to goes with
/// the rule that jumped.
pub(super) fn steps(site: &Site, row: &FlowRow, path: &Path) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for device in path.devices.iter().filter(|device| !matches!(device.kind, CHAIN | PORT_GROUP)) {
        // A device is named again for each thing done in it.
        if steps.last().is_some_and(|last| last.id == device.id) {
            continue;
        }
        steps.push(step(site, device.id, device.kind));
    }
    let mut at = 0;
    let mut outer: Option<(Uuid, usize)> = None;
    for rule in &path.rules {
        let known = site.rule(rule.id);
        let chain = known.as_ref().and_then(|rule| rule.chain);
        let place = chain.and_then(|chain| hangs_at(site, chain, &steps, at));
        let nested = match (chain, place, outer) {
            (Some(chain), Some((found, role)), _) => {
                at = found;
                if outer != Some((chain, found)) || steps[found].chains.last().is_none_or(|open| open.id != Some(chain)) {
                    let title = format!("{role} of the {}", steps[found].kind);
                    steps[found].chains.push(ChainStep {
                        id: Some(chain),
                        title,
                        count: String::new(),
                        rules: Vec::new(),
                    });
                    outer = Some((chain, found));
                }
                false
            }
            (_, None, Some((_, found))) => {
                at = found;
                true
            }
            // Nothing says where it was: it is shown with the first device.
            (chain, None, None) => {
                let Some(first) = steps.get_mut(at) else { break };
                let title = chain
                    .and_then(|id| site.chain(id))
                    .map_or_else(|| "rules without a known chain".to_owned(), |chain| chain.name);
                first.chains.push(ChainStep {
                    id: chain,
                    title,
                    count: String::new(),
                    rules: Vec::new(),
                });
                outer = Some((chain.unwrap_or_default(), at));
                false
            }
            (None, Some(_), _) => false,
        };
        if let Some(open) = steps.get_mut(at).and_then(|step| step.chains.last_mut()) {
            open.rules.push(rule_step(rule, known.as_ref(), nested, row));
        }
    }
    for chain in steps.iter_mut().flat_map(|step| step.chains.iter_mut()) {
        chain.count = crate::web::units::plural(chain.rules.len(), "rule evaluated", "rules evaluated");
    }
    if row.verdict == Verdict::Dropped
        && let Some(last) = steps
            .iter()
            .rposition(|step| step.chains.iter().any(|chain| chain.rules.iter().any(|rule| rule.decided_drop)))
            .or(steps.len().checked_sub(1))
    {
        steps[last].dropped = true;
    }
    steps
}

/// The step at which a chain hangs, from a place on, and as what. Ports are met twice: on the way in and on the way out.
fn hangs_at(site: &Site, chain: Uuid, steps: &[Step], from: usize) -> Option<(usize, &'static str)> {
    let chain = site.chain(chain)?;
    chain
        .used_by
        .iter()
        .filter(|used| used.role != "jump" && used.kind != Kind::Rule)
        .find_map(|used| {
            let ahead = steps.iter().enumerate().skip(from).find(|(_, step)| step.id == used.id);
            ahead
                .or_else(|| steps.iter().enumerate().find(|(_, step)| step.id == used.id))
                .map(|(at, _)| (at, used.role))
        })
}

fn step(site: &Site, id: Uuid, kind: u8) -> Step {
    let (label, slug, icon) = match kind {
        LOAD_BALANCER => ("load balancer", "load_balancer", "lb"),
        POOL => ("pool", "pool", "lb"),
        NETWORK => ("network", "network", "net"),
        ROUTER => ("router", "router", "router"),
        PORT => ("port", "port", "port"),
        MIRROR => ("mirror", "mirror", "chain"),
        _ => ("device", "object", "port"),
    };
    let described = site.describe(id);
    let about = match kind {
        PORT => site.port(id).map_or_else(String::new, |port| {
            let on = port.host.map_or_else(String::new, |host| format!(" on {}", site.host_name(host)));
            format!("{}{on}", port.kind.label())
        }),
        _ => label.to_owned(),
    };
    Step {
        id,
        kind: label,
        slug,
        icon,
        unknown: described.is_none(),
        name: described.map_or_else(|| id.to_string(), |object| object.name),
        about,
        chains: Vec::new(),
        dropped: false,
    }
}

fn rule_step(rule: &PathRule, known: Option<&crate::site::Rule>, nested: bool, row: &FlowRow) -> RuleStep {
    const ACCEPT: u8 = 1;
    const DROP: u8 = 3;
    const REJECT: u8 = 5;
    let decided_drop = row.verdict == Verdict::Dropped && row.rule == Some(rule.id) && rule.matched;
    let verdict = match (rule.matched, rule.result) {
        (false, _) => "no match",
        (true, ACCEPT) => "accepted",
        (true, 2) => "went on",
        (true, DROP) => "DROP",
        (true, 4) => "jumped",
        (true, REJECT) => "REJECT",
        (true, 6) => "returned",
        (true, 7) => "redirected",
        (true, _) => "matched",
    };
    RuleStep {
        id: rule.id,
        number: known
            .and_then(|rule| rule.position)
            .map_or_else(|| "–".to_owned(), |position| position.to_string()),
        text: known.map_or_else(|| format!("rule {} (not in the topology as of then)", rule.id), |rule| rule.text.clone()),
        verdict,
        nested,
        accepted: rule.matched && rule.result == ACCEPT,
        decided_drop: decided_drop || (rule.matched && matches!(rule.result, DROP | REJECT) && row.verdict == Verdict::Dropped),
    }
}
