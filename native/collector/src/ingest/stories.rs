// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a change of the topology is worth telling people.

use std::collections::BTreeMap;

use insights_store::catalog::{Level, NewEvent, SnapshotDone};
use serde_json::json;
use uuid::Uuid;

use super::rows::own_event;
use crate::site::{Effect, Kind, Site};

/// Names that a summary spells out; the rest is counted.
const NAMED: usize = 5;

/// Events for hosts that came or went, a finished snapshot, and one summary for all changes of objects in a batch.
pub(super) fn of_batch(
    site: &Site,
    gateway: Uuid,
    at_us: i64,
    effects: &[Effect],
    in_snapshot: bool,
    snapshot: Option<SnapshotDone>,
) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for effect in effects {
        match effect {
            // The first snapshot finds all hosts up: that is no news.
            Effect::HostUp { host, at_us } if !in_snapshot => events.push(host_event(site, *host, *at_us, true)),
            Effect::HostDown { host, at_us } => events.push(host_event(site, *host, *at_us, false)),
            _ => {}
        }
    }
    if let Some(done) = snapshot {
        events.push(snapshot_event(site, gateway, at_us, done));
    }
    if !in_snapshot {
        events.extend(summary(site, gateway, at_us, effects));
    }
    events
}

fn host_event(site: &Site, host: Uuid, at_us: i64, up: bool) -> NewEvent {
    let name = site.host_name(host);
    let (level, kind, text) = if up {
        (Level::Info, "host.up", format!("host {name} is up"))
    } else {
        (Level::Error, "host.down", format!("host {name} is down: its agent's session ended"))
    };
    own_event(at_us, level, kind, text, None, json!({ "host": host, "name": name }))
}

fn snapshot_event(site: &Site, gateway: Uuid, at_us: i64, done: SnapshotDone) -> NewEvent {
    let fields = json!({ "expected": done.expected, "seen": done.seen, "removed": done.removed });
    if done.seen < done.expected {
        let text = format!(
            "a topology snapshot is incomplete: {} of {} nodes arrived; another one is asked for",
            done.seen, done.expected
        );
        return own_event(at_us, Level::Warning, "topology.incomplete", text, Some(gateway), fields);
    }
    let objects = site.counts().objects;
    let text = format!(
        "topology replicated: {objects} objects in {} nodes, {} gone since the last one",
        done.seen, done.removed
    );
    own_event(at_us, Level::Info, "topology.snapshot", text, Some(gateway), fields)
}

/// Rules and back-references change with everything; the summary tells of the things that people name.
fn summary(site: &Site, gateway: Uuid, at_us: i64, effects: &[Effect]) -> Option<NewEvent> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut objects = Vec::new();
    for effect in effects {
        let (verb, class, id, name) = match effect {
            Effect::Created { class, id } => ("created", class, id, None),
            Effect::Deleted { class, id, name } => ("deleted", class, id, Some(name)),
            // Most updates are those of references to what was created or deleted.
            _ => continue,
        };
        // Of a pair of Neutron's object and MidoNet's own, one is enough.
        if class.starts_with("Neutron") && Kind::of_class(class) != Kind::Subnet {
            continue;
        }
        let kind = Kind::of_class(class);
        *counts.entry((verb, kind.label())).or_default() += 1;
        if objects.len() < NAMED && kind != Kind::Other && kind != Kind::Rule {
            let name = name.cloned().or_else(|| site.describe(*id).map(|found| found.name)).unwrap_or_default();
            names.push(name);
            objects.push(json!({ "id": id, "kind": kind.slug(), "what": verb }));
        }
    }
    if counts.is_empty() {
        return None;
    }
    let parts: Vec<String> = counts.iter().map(|((verb, label), count)| format!("{count} {label} {verb}")).collect();
    let mut text = format!("topology changed: {}", parts.join(", "));
    names.retain(|name| !name.is_empty());
    if !names.is_empty() {
        text.push_str(&format!(" ({})", names.join(", ")));
    }
    Some(own_event(
        at_us,
        Level::Info,
        "topology.changed",
        text,
        Some(gateway),
        json!({ "objects": objects }),
    ))
}
