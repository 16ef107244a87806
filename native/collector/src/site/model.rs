// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, OnceLock, Weak},
};

use midonet::Mac;
use serde::Serialize;
use uuid::Uuid;

use super::{
    Counts, Kind, Tenant,
    facts::{Facts, NeutronNetworkFacts, NeutronPortFacts, PortFacts, Stored},
    fields::Fields,
    shards::Shards,
    tables::Tables,
};

/// The topology of a site at one moment: an immutable value, shared by reference and cheap to keep.
///
/// Objects are looked up by id or listed by kind, as the views of this module. Lists are in the order of ids, so that they are the same
/// from page to page. A view is built when it is asked for: take what you show.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub(super) version: u64,
    pub(super) at_us: i64,
    /// Objects by class and id. Objects of different classes can have one id: a Neutron object and what MidoNet made of it.
    pub(super) classes: BTreeMap<Arc<str>, Shards<Uuid, Arc<Stored>>>,
    /// What agents and the cluster say of an object now.
    pub(super) states: Shards<Uuid, Arc<Vec<StateValue>>>,
    /// The last value of a state that is gone: what was known of a host or port before it went down.
    pub(super) past: Shards<Uuid, Arc<Vec<PastState>>>,
    pub(super) tables: Tables,
    /// Objects by address, with duplicates of an id where several classes have it. Tenants reuse addresses, so there can be many.
    pub(super) by_mac: Shards<Mac, Arc<BTreeSet<Uuid>>>,
    pub(super) by_ip: Shards<IpAddr, Arc<BTreeSet<Uuid>>>,
    /// Network ports by the network and the address that Neutron gave them.
    pub(super) by_network_ip: Shards<(Uuid, IpAddr), Uuid>,
    pub(super) totals: Arc<Totals>,
}

/// Figures that cost a walk over all ports, made when they are first asked for. Snapshots share them until an object or its state changes: most
/// changes of a busy site are those of tables.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) counts: OnceLock<Counts>,
    pub(super) tenants: OnceLock<Vec<Tenant>>,
}

/// Tells whether objects or states changed, without holding on to a snapshot.
#[derive(Debug)]
pub(crate) struct Mark(Weak<Totals>);

impl Mark {
    /// Neither objects nor states differ; tables may.
    pub(crate) fn is_of(&self, site: &Site) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&site.totals))
    }
}

/// A state key of an object, as its writer set it.
#[derive(Clone, Debug)]
pub(crate) struct StateValue {
    pub(crate) key: Arc<str>,
    /// Who set it: a host id, or zero for the cluster.
    pub(crate) namespace: Uuid,
    pub(crate) value: Arc<[u8]>,
    pub(crate) since_us: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct PastState {
    pub(crate) key: Arc<str>,
    pub(crate) value: Arc<[u8]>,
    /// When it went.
    pub(crate) until_us: i64,
}

/// An object as MidoNet has it, for the Configuration tab.
#[derive(Clone, Debug, Serialize)]
pub struct RawObject {
    pub class: String,
    pub id: Uuid,
    /// All fields by MidoNet's names; secrets were removed at the site.
    pub fields: serde_json::Value,
    pub created_us: i64,
    pub changed_us: i64,
    /// Number of changes since its creation.
    pub version: i32,
}

impl Site {
    /// Grows with every published change of the site.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Time of the last change in it, µs since the epoch; 0 for a site of which nothing is known yet.
    pub fn at_us(&self) -> i64 {
        self.at_us
    }

    /// What tells later snapshots from this one.
    pub(crate) fn mark(&self) -> Mark {
        Mark(Arc::downgrade(&self.totals))
    }

    /// Nothing is known of the site yet.
    pub fn is_empty(&self) -> bool {
        self.classes.values().all(|objects| objects.len() == 0)
    }

    /// Classes that have objects, with how many.
    pub fn classes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.classes
            .iter()
            .map(|(class, objects)| (&**class, objects.len()))
            .filter(|(_, count)| *count > 0)
    }

    /// All objects that have this id, the virtual device before its Neutron counterpart.
    pub fn raw(&self, id: Uuid) -> Vec<RawObject> {
        let mut found: Vec<RawObject> = self
            .classes
            .iter()
            .filter_map(|(class, objects)| {
                let stored = objects.get(&id)?;
                Some(RawObject {
                    class: class.to_string(),
                    id,
                    fields: json(class, &stored.raw),
                    created_us: stored.created_ms.saturating_mul(1000),
                    changed_us: stored.changed_ms.saturating_mul(1000),
                    version: stored.version,
                })
            })
            .collect();
        found.sort_by_key(|object| class_rank(&object.class));
        found
    }

    /// Ids of all objects of a class, in their order.
    pub fn ids_of_class(&self, class: &str) -> impl Iterator<Item = Uuid> + '_ {
        self.objects(class).map(|(id, _)| id)
    }

    /// The classes of an id, the virtual device before its Neutron counterpart.
    pub(super) fn class_of(&self, id: Uuid) -> Option<&str> {
        self.classes
            .iter()
            .filter(|(_, objects)| objects.contains(&id))
            .map(|(class, _)| &**class)
            .min_by_key(|class| class_rank(class))
    }

    pub(super) fn stored(&self, class: &str, id: Uuid) -> Option<&Arc<Stored>> {
        self.classes.get(class)?.get(&id)
    }

    pub(super) fn exists(&self, class: &str, id: Uuid) -> bool {
        self.stored(class, id).is_some()
    }

    pub(super) fn objects(&self, class: &str) -> impl Iterator<Item = (Uuid, &Arc<Stored>)> + '_ {
        self.classes
            .get(class)
            .into_iter()
            .flat_map(|objects| objects.iter().map(|(id, stored)| (*id, stored)))
    }

    pub(super) fn count(&self, class: &str) -> usize {
        self.classes.get(class).map_or(0, Shards::len)
    }

    /// All fields of an object.
    pub(super) fn fields(&self, class: &str, id: Uuid) -> Option<Fields> {
        Some(Fields::parse(&self.stored(class, id)?.raw))
    }

    pub(super) fn port_facts(&self, id: Uuid) -> Option<&PortFacts> {
        match &self.stored("Port", id)?.facts {
            Facts::Port(facts) => Some(facts),
            _ => None,
        }
    }

    pub(super) fn neutron_port(&self, id: Uuid) -> Option<&NeutronPortFacts> {
        match &self.stored("NeutronPort", id)?.facts {
            Facts::NeutronPort(facts) => Some(facts),
            _ => None,
        }
    }

    pub(super) fn neutron_network(&self, id: Uuid) -> Option<&NeutronNetworkFacts> {
        match &self.stored("NeutronNetwork", id)?.facts {
            Facts::NeutronNetwork(facts) => Some(facts),
            _ => None,
        }
    }

    /// The value of a state key. Several namespaces can hold one for a moment, when a port moves: the one that was set last.
    pub(super) fn state(&self, id: Uuid, key: &str) -> Option<&StateValue> {
        self.states
            .get(&id)?
            .iter()
            .filter(|state| &*state.key == key)
            .max_by_key(|state| state.since_us)
    }

    pub(super) fn state_of(&self, id: Uuid, key: &str, namespace: Uuid) -> Option<&StateValue> {
        self.states
            .get(&id)?
            .iter()
            .find(|state| state.namespace == namespace && &*state.key == key)
    }

    pub(super) fn past_state(&self, id: Uuid, key: &str) -> Option<&PastState> {
        self.past.get(&id)?.iter().find(|state| &*state.key == key)
    }

    /// False when no agent has any state: the site withholds it, and nothing can be said to be down.
    pub(super) fn has_states(&self) -> bool {
        self.states.len() > 0 || self.past.len() > 0
    }
}

impl Kind {
    /// The kind of a class of the NSDB.
    pub fn of_class(class: &str) -> Kind {
        match class {
            "Host" => Kind::Host,
            "TunnelZone" => Kind::TunnelZone,
            "Vtep" => Kind::Vtep,
            "Network" | "NeutronNetwork" => Kind::Network,
            "Router" | "NeutronRouter" => Kind::Router,
            "Port" | "NeutronPort" => Kind::Port,
            "Chain" => Kind::Chain,
            "Rule" => Kind::Rule,
            "SecurityGroup" | "IPAddrGroup" => Kind::SecurityGroup,
            "SecurityGroupRule" => Kind::SecurityGroupRule,
            "PortGroup" => Kind::PortGroup,
            "LoadBalancer" => Kind::LoadBalancer,
            "Pool" | "NeutronLoadBalancerPool" => Kind::Pool,
            "PoolMember" | "NeutronLoadBalancerPoolMember" => Kind::PoolMember,
            "Vip" | "NeutronVIP" => Kind::Vip,
            "HealthMonitor" | "NeutronHealthMonitor" => Kind::HealthMonitor,
            "FloatingIp" => Kind::FloatingIp,
            "NeutronSubnet" | "Dhcp" | "DhcpV6" => Kind::Subnet,
            "Mirror" => Kind::Mirror,
            "Route" => Kind::Route,
            "BgpPeer" => Kind::BgpPeer,
            "BgpNetwork" => Kind::BgpNetwork,
            "QosPolicy" => Kind::QosPolicy,
            _ => Kind::Other,
        }
    }
}

/// The class `C3POState` is JSON, all others are in protobuf's text form. Text that can't be parsed is shown as it is.
fn json(class: &str, raw: &[u8]) -> serde_json::Value {
    if let Ok(fields) = serde_json::from_slice::<serde_json::Map<_, _>>(raw) {
        return fields.into();
    }
    match midonet::model::decode_object(class, raw) {
        Ok(object) => midonet::model::to_json(&object),
        Err(_) => serde_json::json!({ "text": String::from_utf8_lossy(raw) }),
    }
}

/// Where a class stands among those that share an id: the richest description of the thing first.
fn class_rank(class: &str) -> u8 {
    match class {
        "SecurityGroup" | "NeutronSubnet" => 0,
        _ if class.starts_with("Neutron") => 2,
        "IPAddrGroup" | "Dhcp" | "DhcpV6" => 2,
        _ => 1,
    }
}
