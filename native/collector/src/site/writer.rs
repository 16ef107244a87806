// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Changes of nodes, applied to a model one by one. Each costs a few small copies, whatever the size of the site.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use insights_store::catalog::{Node, TopologyEffect};
use midonet::{
    Mac,
    nsdb::{Node as Place, Root},
};
use uuid::Uuid;

use super::{
    Site,
    facts::{Facts, Stored},
    fields::Fields,
    model::{PastState, StateValue},
    shards::{ShardKey, Shards},
    tables::TableEntry,
};

/// States whose last value is kept when they go: what was known of a host or port before it went down.
const REMEMBERED: [&str; 3] = ["alive", "host", "active"];

/// What a change did, for those who tell people about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    Created {
        class: Arc<str>,
        id: Uuid,
    },
    Changed {
        class: Arc<str>,
        id: Uuid,
    },
    Deleted {
        class: Arc<str>,
        id: Uuid,
        name: String,
    },
    HostUp {
        host: Uuid,
        at_us: i64,
    },
    HostDown {
        host: Uuid,
        at_us: i64,
    },
    /// Tables, learned routes, states without a story of their own, and nodes that the model doesn't use.
    Other,
}

impl Site {
    /// Applies a change. The order is that of the NSDB, node by node.
    pub fn apply(&mut self, change: &TopologyEffect) -> Effect {
        let path = match change {
            TopologyEffect::Put(node) => &node.path,
            TopologyEffect::Delete { path, .. } => path,
        };
        // Tables are of no account there.
        if !path.starts_with("zoom/0/tables/") {
            self.totals = Arc::default();
        }
        match change {
            TopologyEffect::Put(node) => {
                self.at_us = self.at_us.max(node.at_us);
                self.put(node)
            }
            TopologyEffect::Delete { path, at_us } => {
                self.at_us = self.at_us.max(*at_us);
                self.delete(path, *at_us)
            }
        }
    }

    fn put(&mut self, node: &Node) -> Effect {
        let path = format!("/{}", node.path);
        match place(&path) {
            Place::Object { class, id } => self.put_object(class, id, node),
            Place::StateKey { namespace, class, id, key } => {
                let appeared = self.put_state(namespace, id, key, node);
                if appeared && class == "Host" && key == "alive" && namespace == id {
                    return Effect::HostUp {
                        host: id,
                        at_us: node.ctime_ms.saturating_mul(1000),
                    };
                }
                Effect::Other
            }
            Place::StateValue {
                namespace,
                class: "Port",
                id,
                key: "routes",
                value,
            } => {
                Arc::make_mut(self.tables.routes.entry(id)).insert((Arc::from(value), namespace));
                Effect::Other
            }
            Place::TableEntry {
                id, table, argument, entry, ..
            } => {
                if let Some((entry, version)) = TableEntry::parse(table, argument, entry) {
                    self.tables.put(id, version, entry);
                }
                Effect::Other
            }
            _ => Effect::Other,
        }
    }

    fn delete(&mut self, path: &str, at_us: i64) -> Effect {
        let path = format!("/{path}");
        match place(&path) {
            Place::Object { class, id } => self.delete_object(class, id),
            Place::StateKey { namespace, class, id, key } => {
                let was = self.delete_state(namespace, id, key, at_us);
                if was && class == "Host" && key == "alive" && namespace == id {
                    return Effect::HostDown { host: id, at_us };
                }
                Effect::Other
            }
            Place::StateValue {
                namespace,
                class: "Port",
                id,
                key: "routes",
                value,
            } => {
                if self.tables.routes.contains(&id) {
                    let routes = Arc::make_mut(self.tables.routes.entry(id));
                    routes.remove(&(Arc::from(value), namespace));
                    if routes.is_empty() {
                        self.tables.routes.remove(&id);
                    }
                }
                Effect::Other
            }
            Place::TableEntry {
                id, table, argument, entry, ..
            } => {
                if let Some((entry, version)) = TableEntry::parse(table, argument, entry) {
                    self.tables.remove(id, version, entry);
                }
                Effect::Other
            }
            _ => Effect::Other,
        }
    }

    fn put_object(&mut self, class: &str, id: Uuid, node: &Node) -> Effect {
        let facts = Facts::of(class, &Fields::parse(&node.data));
        let stored = Arc::new(Stored {
            raw: Arc::from(&*node.data),
            created_ms: node.ctime_ms,
            changed_ms: node.mtime_ms,
            version: node.version,
            facts,
        });
        let name: Arc<str> = match self.classes.get_key_value(class) {
            Some((name, _)) => name.clone(),
            None => Arc::from(class),
        };
        let old = self.classes.entry(name.clone()).or_default().insert(id, stored.clone());
        if let Some(old) = &old {
            self.unindex(id, &old.facts);
        }
        self.index(id, &stored.facts);
        match old {
            Some(_) => Effect::Changed { class: name, id },
            None => Effect::Created { class: name, id },
        }
    }

    fn delete_object(&mut self, class: &str, id: Uuid) -> Effect {
        let name = self.describe(id).map(|described| described.name).unwrap_or_default();
        let Some((class, _)) = self.classes.get_key_value(class) else {
            return Effect::Other;
        };
        let class = class.clone();
        let Some(old) = self.classes.get_mut(&class).and_then(|objects| objects.remove(&id)) else {
            return Effect::Other;
        };
        self.unindex(id, &old.facts);
        if matches!(&*class, "Host" | "Port") {
            self.past.remove(&id);
        }
        Effect::Deleted { class, id, name }
    }

    /// True when the key was not there before.
    fn put_state(&mut self, namespace: Uuid, id: Uuid, key: &str, node: &Node) -> bool {
        let value = StateValue {
            key: Arc::from(key),
            namespace,
            value: Arc::from(&*node.data),
            since_us: node.ctime_ms.saturating_mul(1000),
        };
        let states = Arc::make_mut(self.states.entry(id));
        let place = states.iter().position(|state| state.namespace == namespace && &*state.key == key);
        match place {
            Some(place) => states[place] = value,
            None => states.push(value),
        }
        self.forget(id, key);
        place.is_none()
    }

    /// True when the key was there.
    fn delete_state(&mut self, namespace: Uuid, id: Uuid, key: &str, at_us: i64) -> bool {
        if !self.states.contains(&id) {
            return false;
        }
        let states = Arc::make_mut(self.states.entry(id));
        let Some(place) = states.iter().position(|state| state.namespace == namespace && &*state.key == key) else {
            return false;
        };
        let gone = states.remove(place);
        let (last, elsewhere) = (states.is_empty(), states.iter().any(|state| &*state.key == key));
        if last {
            self.states.remove(&id);
        }
        if REMEMBERED.contains(&key) && !elsewhere {
            self.remember(
                id,
                PastState {
                    key: gone.key,
                    value: gone.value,
                    until_us: at_us,
                },
            );
        }
        true
    }

    /// Keeps the last value of a state that is gone.
    pub(super) fn remember(&mut self, id: Uuid, past: PastState) {
        self.forget(id, &past.key.clone());
        Arc::make_mut(self.past.entry(id)).push(past);
    }

    fn forget(&mut self, id: Uuid, key: &str) {
        if self.past_state(id, key).is_none() {
            return;
        }
        let past = Arc::make_mut(self.past.entry(id));
        past.retain(|state| &*state.key != key);
        if past.is_empty() {
            self.past.remove(&id);
        }
    }

    fn index(&mut self, id: Uuid, facts: &Facts) {
        if let Some(mac) = facts.mac() {
            add(&mut self.by_mac, mac, id);
        }
        for address in facts.addresses() {
            add(&mut self.by_ip, *address, id);
        }
        if let Facts::NeutronPort(port) = facts
            && let Some(network) = port.network
        {
            for address in &port.addresses {
                self.by_network_ip.insert((network, *address), id);
            }
        }
    }

    fn unindex(&mut self, id: Uuid, facts: &Facts) {
        // Another class may have the same id with the same address: its entry stays.
        let others: Vec<Arc<Stored>> = ["Port", "NeutronPort"]
            .iter()
            .filter_map(|class| self.stored(class, id).cloned())
            .collect();
        let mac_stays = |mac: Mac| others.iter().any(|other| other.facts.mac() == Some(mac));
        let address_stays = |address: IpAddr| others.iter().any(|other| other.facts.addresses().contains(&address));
        if let Some(mac) = facts.mac().filter(|mac| !mac_stays(*mac)) {
            take(&mut self.by_mac, &mac, id);
        }
        for address in facts.addresses().iter().filter(|address| !address_stays(**address)) {
            take(&mut self.by_ip, address, id);
        }
        if let Facts::NeutronPort(port) = facts
            && let Some(network) = port.network
        {
            for address in &port.addresses {
                // The address may have gone to another port meanwhile.
                if self.by_network_ip.get(&(network, *address)) == Some(&id) {
                    self.by_network_ip.remove(&(network, *address));
                }
            }
        }
    }
}

fn add<K: ShardKey>(index: &mut Shards<K, Arc<BTreeSet<Uuid>>>, key: K, id: Uuid) {
    Arc::make_mut(index.entry(key)).insert(id);
}

fn take<K: ShardKey>(index: &mut Shards<K, Arc<BTreeSet<Uuid>>>, key: &K, id: Uuid) {
    if !index.contains(key) {
        return;
    }
    let ids = Arc::make_mut(index.entry(key.clone()));
    ids.remove(&id);
    if ids.is_empty() {
        index.remove(key);
    }
}

/// What stands at a path that begins with a slash; relative paths of the wire are those of a root key of nothing.
fn place(path: &str) -> Place<'_> {
    static ROOT: std::sync::LazyLock<Option<Root>> = std::sync::LazyLock::new(|| Root::new("/").ok());
    ROOT.as_ref().and_then(|root| root.parse(path)).unwrap_or(Place::Other)
}
