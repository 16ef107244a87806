// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What changed, and when.

use std::collections::BTreeSet;

use insights_store::{Period, SiteId, Store, StoreError, catalog::NodeVersion};
use midonet::nsdb::{Node as Place, Root};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Kind;

/// A change of an object or of its state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub at_us: i64,
    pub kind: Kind,
    pub class: String,
    pub id: Uuid,
    pub what: What,
    /// Fields that differ, by MidoNet's names; for a creation or deletion all that it had.
    pub fields: Vec<FieldChange>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Created,
    Changed,
    Deleted,
    /// A host's agent came, a port was plugged in, and the like.
    Up,
    Down,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Fields that only mirror references of other objects: they change with every neighbour and say nothing of the object itself.
fn is_back_reference(class: &str, field: &str) -> bool {
    midonet::model::class(class)
        .and_then(|class| class.field(field))
        .is_some_and(|field| field.number >= 101 && field.target().is_some())
        && !(class == "Chain" && field == "rule_ids")
}

pub(super) async fn of_object(store: &Store, site: SiteId, id: Uuid, limit: usize) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    let mut hosts = BTreeSet::new();
    for class in midonet::model::CLASSES.iter() {
        let versions = store.catalog().node_history(site, format!("zoom/0/models/{}/{id}", class.name)).await?;
        if class.name == "Port" {
            hosts.extend(versions.iter().filter_map(|version| {
                let object = midonet::model::decode_object("Port", &version.node.data).ok()?;
                object.uuid("host_id")
            }));
        }
        if class.name == "Host" && !versions.is_empty() {
            let states = store.catalog().node_history(site, format!("zoom/0/state/{id}/Host/{id}/alive")).await?;
            changes.extend(states.iter().flat_map(|version| of_state("Host", id, version)));
        }
        changes.extend(of_versions(class.name, id, &versions));
    }
    for host in hosts {
        let states = store
            .catalog()
            .node_history(site, format!("zoom/0/state/{host}/Port/{id}/active"))
            .await?;
        changes.extend(states.iter().flat_map(|version| of_state("Port", id, version)));
    }
    changes.sort_by_key(|change| std::cmp::Reverse(change.at_us));
    changes.truncate(limit);
    Ok(changes)
}

pub(super) async fn of_site(store: &Store, site: SiteId, period: Period, limit: usize) -> Result<Vec<Change>, StoreError> {
    // A changed object shows up as two versions, the one that ended and the one that began.
    let versions = store.catalog().topology_changes(site, period, limit.saturating_mul(2)).await?;
    let mut objects: BTreeSet<(String, Uuid)> = BTreeSet::new();
    let mut changes = Vec::new();
    for version in &versions {
        match place(&format!("/{}", version.node.path)) {
            Place::Object { class, id } => {
                objects.insert((class.to_owned(), id));
            }
            Place::StateKey {
                class: class @ ("Host" | "Port"),
                id,
                key: "alive" | "active",
                ..
            } => changes.extend(of_state(class, id, version)),
            _ => {}
        }
    }
    for (class, id) in objects {
        let versions = store.catalog().node_history(site, format!("zoom/0/models/{class}/{id}")).await?;
        changes.extend(of_versions(&class, id, &versions));
    }
    changes.retain(|change| period.contains(change.at_us));
    changes.sort_by_key(|change| std::cmp::Reverse(change.at_us));
    changes.truncate(limit);
    Ok(changes)
}

/// The changes between the versions of one node, oldest first.
fn of_versions(class: &str, id: Uuid, versions: &[NodeVersion]) -> Vec<Change> {
    let change = |at_us, what, fields| Change {
        at_us,
        kind: Kind::of_class(class),
        class: class.to_owned(),
        id,
        what,
        fields,
    };
    let mut changes = Vec::new();
    let mut last: Option<(i64, Value)> = None;
    for version in versions {
        let now = json(class, &version.node.data);
        match &last {
            Some((until_us, before)) if *until_us == version.valid_from_us => {
                let fields = difference(class, before, &now);
                // A rewrite with the same content, or of references alone, is no news.
                if !fields.is_empty() {
                    changes.push(change(version.valid_from_us, What::Changed, fields));
                }
            }
            _ => {
                if let Some((until_us, before)) = &last {
                    changes.push(change(*until_us, What::Deleted, difference(class, before, &Value::Null)));
                }
                changes.push(change(version.valid_from_us, What::Created, difference(class, &Value::Null, &now)));
            }
        }
        last = version.valid_to_us.map(|until_us| (until_us, now));
    }
    if let Some((until_us, before)) = last {
        changes.push(change(until_us, What::Deleted, difference(class, &before, &Value::Null)));
    }
    changes
}

fn of_state(class: &str, id: Uuid, version: &NodeVersion) -> Vec<Change> {
    let change = |at_us, what| Change {
        at_us,
        kind: Kind::of_class(class),
        class: class.to_owned(),
        id,
        what,
        fields: Vec::new(),
    };
    let mut changes = vec![change(version.valid_from_us, What::Up)];
    changes.extend(version.valid_to_us.map(|until_us| change(until_us, What::Down)));
    changes
}

/// The fields in which two objects differ, in the order of the object that has them.
fn difference(class: &str, before: &Value, after: &Value) -> Vec<FieldChange> {
    let empty = serde_json::Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let names = after.keys().chain(before.keys().filter(|name| !after.contains_key(*name)));
    names
        .filter(|name| before.get(*name) != after.get(*name) && !is_back_reference(class, name))
        .map(|name| FieldChange {
            field: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

fn json(class: &str, data: &[u8]) -> Value {
    midonet::model::decode_object(class, data).map_or(Value::Null, |object| midonet::model::to_json(&object))
}

fn place(path: &str) -> Place<'_> {
    static ROOT: std::sync::LazyLock<Option<Root>> = std::sync::LazyLock::new(|| Root::new("/").ok());
    ROOT.as_ref().and_then(|root| root.parse(path)).unwrap_or(Place::Other)
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::Node;

    use super::*;

    fn version(data: &str, from: i64, to: Option<i64>) -> NodeVersion {
        let node = Node {
            path: String::new(),
            data: data.as_bytes().to_vec(),
            mzxid: from,
            version: 0,
            ctime_ms: 0,
            mtime_ms: 0,
            ephemeral_owner: 0,
            at_us: from,
        };
        NodeVersion {
            node,
            valid_from_us: from,
            valid_to_us: to,
        }
    }

    #[test]
    fn versions_become_changes_with_their_differences() {
        let id = Uuid::from_u128(7);
        let versions = [
            version("name: \"a\"", 1, Some(2)),
            version("name: \"b\"", 2, Some(3)),
            version("name: \"b\" port_ids { msb: 1 lsb: 2 }", 3, Some(5)),
            version("name: \"c\"", 9, None),
        ];
        let changes = of_versions("Network", id, &versions);
        let told: Vec<(i64, What)> = changes.iter().map(|change| (change.at_us, change.what)).collect();
        assert_eq!(told, [(1, What::Created), (2, What::Changed), (5, What::Deleted), (9, What::Created)]);
        let renamed = FieldChange {
            field: "name".into(),
            before: Some("a".into()),
            after: Some("b".into()),
        };
        assert_eq!(changes[1].fields, [renamed]);
    }
}
