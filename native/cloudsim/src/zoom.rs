// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The simulated NSDB in memory: objects with their references kept on both sides, and the changes that have to be written.
//!
//! References follow the bindings that MidoNet declares in `MidonetBackend.setupBindings`: a reference on one side makes its counterpart on the
//! other, appended at the end; a deletion clears the other side, or takes it along where MidoNet says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::obj::{Kind, Obj, Val};

/// A declared pair of fields that refer to each other.
struct Binding {
    left: (Kind, &'static str),
    right: (Kind, &'static str),
    /// Deleting the left object deletes what it refers to by this field.
    left_cascades: bool,
}

const fn bind(left: Kind, field: &'static str, right: Kind, back: &'static str) -> Binding {
    Binding {
        left: (left, field),
        right: (right, back),
        left_cascades: false,
    }
}

const fn own(left: Kind, field: &'static str, right: Kind, back: &'static str) -> Binding {
    Binding {
        left: (left, field),
        right: (right, back),
        left_cascades: true,
    }
}

const BINDINGS: &[Binding] = &[
    own(Kind::Network, "port_ids", Kind::Port, "network_id"),
    own(Kind::Network, "dhcp_ids", Kind::Dhcp, "network_id"),
    bind(Kind::Port, "peer_id", Kind::Port, "peer_id"),
    bind(Kind::Port, "dhcp_id", Kind::Dhcp, "router_if_port_id"),
    bind(Kind::Port, "host_id", Kind::Host, "port_ids"),
    bind(Kind::Port, "port_group_ids", Kind::PortGroup, "port_ids"),
    own(Kind::Port, "route_ids", Kind::Route, "next_hop_port_id"),
    bind(Kind::Network, "inbound_filter_id", Kind::Chain, "network_inbound_ids"),
    bind(Kind::Network, "outbound_filter_id", Kind::Chain, "network_outbound_ids"),
    bind(Kind::Router, "inbound_filter_id", Kind::Chain, "router_inbound_ids"),
    bind(Kind::Router, "outbound_filter_id", Kind::Chain, "router_outbound_ids"),
    bind(Kind::Port, "inbound_filter_id", Kind::Chain, "port_inbound_ids"),
    bind(Kind::Port, "outbound_filter_id", Kind::Chain, "port_outbound_ids"),
    own(Kind::Router, "port_ids", Kind::Port, "router_id"),
    own(Kind::Router, "route_ids", Kind::Route, "router_id"),
    bind(Kind::Host, "tunnel_zone_ids", Kind::TunnelZone, "host_ids"),
    own(Kind::LoadBalancer, "pool_ids", Kind::Pool, "load_balancer_id"),
    own(Kind::Pool, "pool_member_ids", Kind::PoolMember, "pool_id"),
    bind(Kind::Pool, "health_monitor_id", Kind::HealthMonitor, "pool_ids"),
    bind(Kind::Mirror, "to_port_id", Kind::Port, "mirror_ids"),
    bind(Kind::Router, "load_balancer_id", Kind::LoadBalancer, "router_id"),
    own(Kind::Pool, "vip_ids", Kind::Vip, "pool_id"),
    own(Kind::Router, "bgp_network_ids", Kind::BgpNetwork, "router_id"),
    own(Kind::Router, "bgp_peer_ids", Kind::BgpPeer, "router_id"),
    bind(Kind::Route, "gateway_dhcp_id", Kind::Dhcp, "gateway_route_ids"),
    own(Kind::Chain, "rule_ids", Kind::Rule, "chain_id"),
    bind(Kind::Rule, "fip_port_id", Kind::Port, "fip_nat_rule_ids"),
    bind(Kind::NeutronPort, "floating_ip_ids", Kind::FloatingIp, "port_id"),
    bind(Kind::NeutronPort, "gw_router_id", Kind::NeutronRouter, "gw_port_id"),
    own(Kind::QosPolicy, "bandwidth_limit_rule_ids", Kind::QosRuleBandwidthLimit, "policy_id"),
    own(Kind::QosPolicy, "dscp_marking_rule_ids", Kind::QosRuleDscp, "policy_id"),
    bind(Kind::Port, "qos_policy_id", Kind::QosPolicy, "port_ids"),
    bind(Kind::Network, "qos_policy_id", Kind::QosPolicy, "network_ids"),
];

/// Tables of a class, made together with each object.
pub fn tables_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Network => &["ip4_mac_table", "mac_table"],
        Kind::Router => &["arp_table"],
        Kind::Port => &["peering_table"],
        Kind::NeutronNetwork => &["fip64_table", "gateway_table"],
        _ => &[],
    }
}

/// A state-table entry that is configured, not learned: its path below the table's object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableEntry {
    pub kind: Kind,
    pub id: Uuid,
    /// For instance `mac_table/0`.
    pub table: String,
    /// The node's name: key, value and version.
    pub entry: String,
}

/// One change to be written.
#[derive(Clone, Debug)]
pub enum Change {
    Create(Kind, Uuid, String),
    /// With the version that the node must have.
    Update(Kind, Uuid, String, i32),
    Delete(Kind, Uuid),
    AddEntry(TableEntry),
    RemoveEntry(TableEntry),
}

#[derive(Debug)]
struct Stored {
    obj: Obj,
    /// Version of the znode; `None` until it is written.
    version: Option<i32>,
}

/// The simulated NSDB.
#[derive(Debug, Default)]
pub struct Zoom {
    objects: HashMap<(Kind, Uuid), Stored>,
    entries: BTreeSet<TableEntry>,
    /// Objects that differ from what is stored, in the order of their first change.
    dirty: Vec<(Kind, Uuid)>,
    dirty_set: std::collections::HashSet<(Kind, Uuid)>,
    deleted: Vec<(Kind, Uuid)>,
    entry_changes: Vec<(bool, TableEntry)>,
    tunnel_key: u32,
}

impl Zoom {
    pub fn new() -> Zoom {
        Zoom::default()
    }

    pub fn get(&self, kind: Kind, id: Uuid) -> Option<&Obj> {
        self.objects.get(&(kind, id)).map(|stored| &stored.obj)
    }

    pub fn has(&self, kind: Kind, id: Uuid) -> bool {
        self.objects.contains_key(&(kind, id))
    }

    /// Objects of a class, by id.
    pub fn all(&self, kind: Kind) -> Vec<&Obj> {
        let mut found: Vec<&Obj> = self
            .objects
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .map(|(_, stored)| &stored.obj)
            .collect();
        found.sort_unstable_by_key(|obj| obj.id);
        found
    }

    /// Every object, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Obj> {
        self.objects.values().map(|stored| &stored.obj)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Number of objects by class.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for (kind, _) in self.objects.keys() {
            *counts.entry(kind.name()).or_insert(0) += 1;
        }
        counts
    }

    /// The next overlay tunnel key.
    pub fn next_tunnel_key(&mut self) -> u64 {
        self.tunnel_key += 1;
        u64::from(self.tunnel_key)
    }

    /// The last tunnel key given out: what the sequence node holds.
    pub fn last_tunnel_key(&self) -> u32 {
        self.tunnel_key
    }

    /// Adds an object and the counterparts of its references.
    pub fn create(&mut self, obj: Obj) {
        let (kind, id) = (obj.kind, obj.id);
        let references = references(&obj);
        debug_assert!(!self.has(kind, id), "{} {id} exists", kind.name());
        self.objects.insert((kind, id), Stored { obj, version: None });
        self.touch(kind, id);
        for (target, back) in references {
            self.link(target, back, id);
        }
    }

    /// Changes an object and follows the references that changed.
    pub fn update(&mut self, kind: Kind, id: Uuid, change: impl FnOnce(&mut Obj)) -> bool {
        let Some(stored) = self.objects.get_mut(&(kind, id)) else { return false };
        let before = references(&stored.obj);
        change(&mut stored.obj);
        let after = references(&stored.obj);
        self.touch(kind, id);
        for (target, back) in before.iter().filter(|reference| !after.contains(reference)) {
            self.unlink(*target, back, id);
        }
        for (target, back) in after.iter().filter(|reference| !before.contains(reference)) {
            self.link(*target, back, id);
        }
        true
    }

    /// Takes an object out, clears what refers to it, and deletes what it owns.
    pub fn delete(&mut self, kind: Kind, id: Uuid) -> bool {
        let Some(stored) = self.objects.remove(&(kind, id)) else { return false };
        if self.dirty_set.remove(&(kind, id)) {
            self.dirty.retain(|key| *key != (kind, id));
        }
        if stored.version.is_some() {
            self.deleted.push((kind, id));
        }
        for entry in self.entries_of(kind, id) {
            // The node goes together with its object's tables.
            self.entries.remove(&entry);
        }
        for (target, back) in references(&stored.obj) {
            self.unlink(target, back, id);
        }
        for binding in BINDINGS.iter().filter(|binding| binding.left.0 == kind && binding.left_cascades) {
            for owned in stored.obj.uuids(binding.left.1) {
                self.delete(binding.right.0, owned);
            }
        }
        true
    }

    /// Adds a configured entry of a state table.
    pub fn add_entry(&mut self, entry: TableEntry) {
        if self.entries.insert(entry.clone()) {
            self.entry_changes.push((true, entry));
        }
    }

    pub fn remove_entry(&mut self, entry: TableEntry) {
        if self.entries.remove(&entry) {
            self.entry_changes.push((false, entry));
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.entries.iter()
    }

    pub fn entries_of(&self, kind: Kind, id: Uuid) -> Vec<TableEntry> {
        let from = TableEntry {
            kind,
            id,
            table: String::new(),
            entry: String::new(),
        };
        self.entries
            .range(from..)
            .take_while(|entry| entry.kind == kind && entry.id == id)
            .cloned()
            .collect()
    }

    /// What has to be written since the last call; the versions are taken as written.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.dirty.len() + self.deleted.len() + self.entry_changes.len());
        changes.extend(std::mem::take(&mut self.deleted).into_iter().map(|(kind, id)| Change::Delete(kind, id)));
        for (kind, id) in std::mem::take(&mut self.dirty) {
            let Some(stored) = self.objects.get_mut(&(kind, id)) else { continue };
            let text = stored.obj.to_text();
            changes.push(match stored.version {
                None => {
                    stored.version = Some(0);
                    Change::Create(kind, id, text)
                }
                Some(version) => {
                    stored.version = Some(version + 1);
                    Change::Update(kind, id, text, version)
                }
            });
        }
        self.dirty_set.clear();
        for (added, entry) in std::mem::take(&mut self.entry_changes) {
            // An entry of an object that went in the meantime went with it.
            if !added && self.has(entry.kind, entry.id) {
                changes.push(Change::RemoveEntry(entry));
            } else if added && self.entries.contains(&entry) {
                changes.push(Change::AddEntry(entry));
            }
        }
        changes
    }

    fn touch(&mut self, kind: Kind, id: Uuid) {
        if self.dirty_set.insert((kind, id)) {
            self.dirty.push((kind, id));
        }
    }

    fn link(&mut self, target: (Kind, Uuid), back: &'static str, id: Uuid) {
        let Some(stored) = self.objects.get_mut(&target) else { return };
        if stored.obj.uuids(back).any(|present| present == id) {
            return;
        }
        if back.ends_with("_ids") {
            stored.obj.add(back, id);
        } else {
            stored.obj.set(back, id);
        }
        self.touch(target.0, target.1);
    }

    fn unlink(&mut self, target: (Kind, Uuid), back: &str, id: Uuid) {
        let Some(stored) = self.objects.get_mut(&target) else { return };
        stored.obj.remove(back, &Val::Id(id));
        self.touch(target.0, target.1);
    }
}

/// What an object refers to by its bound fields: the target, and the target's field that refers back.
fn references(obj: &Obj) -> Vec<((Kind, Uuid), &'static str)> {
    let mut found = Vec::new();
    for binding in BINDINGS {
        if binding.left.0 == obj.kind {
            found.extend(obj.uuids(binding.left.1).map(|id| ((binding.right.0, id), binding.right.1)));
        }
        // A binding of a field to itself has one direction only.
        if binding.right.0 == obj.kind && binding.left != binding.right {
            found.extend(obj.uuids(binding.right.1).map(|id| ((binding.left.0, id), binding.left.1)));
        }
    }
    found
}
