// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! State tables: what agents learned, and what Neutron set beforehand.
//!
//! For one key the learned entry with the greatest version counts; a configured one counts when there is none. Several entries of a key
//! exist for a moment whenever a value changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use midonet::Mac;
use uuid::Uuid;

use super::{ArpEntry, Fip64Entry, IpMacEntry, MacEntry, Prefix, Route, Site, shards::Shards};

/// Version of configured entries; learned ones are numbered below it.
const CONFIGURED: i64 = i32::MAX as i64;

/// All entries of a table by key, each with its versions.
type Entries<K, V> = Arc<BTreeMap<K, BTreeMap<i64, V>>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    /// By network; key is MAC, then VLAN.
    pub(super) macs: Shards<Uuid, Entries<(Mac, u16), Uuid>>,
    /// By network.
    pub(super) ip_macs: Shards<Uuid, Entries<IpAddr, Mac>>,
    /// By router.
    pub(super) arps: Shards<Uuid, Entries<IpAddr, ArpEntry>>,
    /// By port.
    pub(super) peerings: Shards<Uuid, Entries<Mac, IpAddr>>,
    /// By network.
    pub(super) gateways: Shards<Uuid, Entries<Uuid, ()>>,
    /// By network; the key is the whole text of the entry.
    pub(super) fip64s: Shards<Uuid, Entries<Arc<str>, Fip64Entry>>,
    /// Routes learned at a port, as nodes name them, with their writers.
    pub(super) routes: Shards<Uuid, LearnedRoutes>,
}

/// Texts of routes, each with the host that wrote it.
type LearnedRoutes = Arc<BTreeSet<(Arc<str>, Uuid)>>;

/// One entry of a table, ready to be put in or taken out.
#[derive(Clone, Debug)]
pub(crate) enum TableEntry {
    Mac { vlan: u16, mac: Mac, port: Uuid },
    IpMac { address: IpAddr, mac: Mac },
    Arp(ArpEntry),
    Peering { mac: Mac, address: IpAddr },
    Gateway { host: Uuid },
    Fip64 { key: Arc<str>, entry: Fip64Entry },
}

impl TableEntry {
    /// The entry that a node of a table stands for, with its version; `None` for names that no reader of MidoNet's understands either.
    pub(super) fn parse(table: &str, argument: Option<&str>, name: &str) -> Option<(TableEntry, i64)> {
        let entry = midonet::nsdb::table::Entry::parse(name)?;
        let (key, value) = (entry.key, entry.value);
        let parsed = match table {
            "mac_table" => TableEntry::Mac {
                vlan: argument?.parse().ok()?,
                mac: key.parse().ok()?,
                port: value.parse().ok()?,
            },
            "ip4_mac_table" => TableEntry::IpMac {
                address: key.parse().ok()?,
                mac: value.parse().ok()?,
            },
            "arp_table" => {
                let arp: midonet::nsdb::table::ArpEntry = value.parse().ok()?;
                let address = key.parse().ok()?;
                TableEntry::Arp(ArpEntry {
                    address,
                    mac: arp.mac,
                    expiry_ms: arp.expiry_ms,
                    stale_ms: arp.stale_ms,
                    last_arp_ms: arp.last_arp_ms,
                })
            }
            "peering_table" => TableEntry::Peering {
                mac: key.parse().ok()?,
                address: value.parse().ok()?,
            },
            "gateway_table" => TableEntry::Gateway { host: key.parse().ok()? },
            "fip64_table" => {
                let fip: midonet::nsdb::table::Fip64Entry = key.parse().ok()?;
                let entry = Fip64Entry {
                    fixed: fip.fixed.into(),
                    floating: fip.floating.into(),
                    port: fip.port,
                    router: fip.router,
                };
                TableEntry::Fip64 { key: Arc::from(key), entry }
            }
            _ => return None,
        };
        Some((parsed, i64::from(entry.version)))
    }
}

impl Tables {
    pub(super) fn put(&mut self, owner: Uuid, version: i64, entry: TableEntry) {
        match entry {
            TableEntry::Mac { vlan, mac, port } => put(&mut self.macs, owner, (mac, vlan), version, port),
            TableEntry::IpMac { address, mac } => put(&mut self.ip_macs, owner, address, version, mac),
            TableEntry::Arp(entry) => put(&mut self.arps, owner, entry.address, version, entry),
            TableEntry::Peering { mac, address } => put(&mut self.peerings, owner, mac, version, address),
            TableEntry::Gateway { host } => put(&mut self.gateways, owner, host, version, ()),
            TableEntry::Fip64 { key, entry } => put(&mut self.fip64s, owner, key, version, entry),
        }
    }

    pub(super) fn remove(&mut self, owner: Uuid, version: i64, entry: TableEntry) {
        match entry {
            TableEntry::Mac { vlan, mac, port } => remove(&mut self.macs, owner, &(mac, vlan), version, &port),
            TableEntry::IpMac { address, mac } => remove(&mut self.ip_macs, owner, &address, version, &mac),
            TableEntry::Arp(entry) => remove(&mut self.arps, owner, &entry.address.clone(), version, &entry),
            TableEntry::Peering { mac, address } => remove(&mut self.peerings, owner, &mac, version, &address),
            TableEntry::Gateway { host } => remove(&mut self.gateways, owner, &host, version, &()),
            TableEntry::Fip64 { key, entry } => remove(&mut self.fip64s, owner, &key, version, &entry),
        }
    }

    /// The port that a MAC is behind, on any VLAN of the network; untagged first.
    pub(super) fn port_of_mac(&self, network: Uuid, mac: Mac) -> Option<Uuid> {
        let table = self.macs.get(&network)?;
        table
            .range((mac, 0)..=(mac, u16::MAX))
            .find_map(|(_, versions)| current(versions).map(|(_, port)| *port))
    }
}

impl Site {
    /// The MAC table of a network.
    pub fn mac_table(&self, network: Uuid) -> Vec<MacEntry> {
        rows(&self.tables.macs, network, |(mac, vlan), port, learned| MacEntry {
            vlan: *vlan,
            mac: *mac,
            port: *port,
            learned,
        })
    }

    /// The IPv4 to MAC table of a network.
    pub fn ip_mac_table(&self, network: Uuid) -> Vec<IpMacEntry> {
        rows(&self.tables.ip_macs, network, |address, mac, learned| IpMacEntry {
            address: *address,
            mac: *mac,
            learned,
        })
    }

    /// The ARP table of a router.
    pub fn arp_table(&self, router: Uuid) -> Vec<ArpEntry> {
        rows(&self.tables.arps, router, |_, entry, _| entry.clone())
    }

    /// VXLAN peers of a port, by MAC.
    pub fn peering_table(&self, port: Uuid) -> Vec<IpMacEntry> {
        rows(&self.tables.peerings, port, |mac, address, learned| IpMacEntry {
            address: *address,
            mac: *mac,
            learned,
        })
    }

    /// Gateway hosts of a network.
    pub fn gateway_hosts(&self, network: Uuid) -> Vec<Uuid> {
        rows(&self.tables.gateways, network, |host, (), _| *host)
    }

    /// IPv6 floating addresses of a network.
    pub fn fip64_table(&self, network: Uuid) -> Vec<Fip64Entry> {
        rows(&self.tables.fip64s, network, |_, entry, _| entry.clone())
    }

    /// Routes that a port learned over BGP.
    pub fn learned_routes(&self, port: Uuid) -> Vec<Route> {
        let Some(routes) = self.tables.routes.get(&port) else {
            return Vec::new();
        };
        routes.iter().filter_map(|(name, _)| learned_route(name, port)).collect()
    }
}

fn put<O, K: Ord + Clone, V: Clone>(tables: &mut Shards<O, Entries<K, V>>, owner: O, key: K, version: i64, value: V)
where
    O: super::shards::ShardKey,
{
    Arc::make_mut(tables.entry(owner)).entry(key).or_default().insert(version, value);
}

/// Takes out an entry with this value only: a node that was replaced under the same version must not take its successor along.
fn remove<O, K: Ord + Clone, V: Clone + PartialEq>(tables: &mut Shards<O, Entries<K, V>>, owner: O, key: &K, version: i64, value: &V)
where
    O: super::shards::ShardKey,
{
    if !tables.contains(&owner) {
        return;
    }
    let table = Arc::make_mut(tables.entry(owner.clone()));
    if let Some(versions) = table.get_mut(key) {
        if versions.get(&version) == Some(value) {
            versions.remove(&version);
        }
        if versions.is_empty() {
            table.remove(key);
        }
    }
    if table.is_empty() {
        tables.remove(&owner);
    }
}

/// The entry that is in force, and whether it was learned.
pub(super) fn current<V>(versions: &BTreeMap<i64, V>) -> Option<(bool, &V)> {
    let learned = versions.range(..CONFIGURED).next_back();
    learned
        .map(|(_, value)| (true, value))
        .or_else(|| versions.get(&CONFIGURED).map(|value| (false, value)))
}

fn rows<K, V, R>(tables: &Shards<Uuid, Entries<K, V>>, owner: Uuid, row: impl Fn(&K, &V, bool) -> R) -> Vec<R> {
    let Some(table) = tables.get(&owner) else { return Vec::new() };
    table
        .iter()
        .filter_map(|(key, versions)| current(versions).map(|(learned, value)| row(key, value, learned)))
        .collect()
}

fn learned_route(name: &str, port: Uuid) -> Option<Route> {
    let route: midonet::nsdb::LearnedRoute = name.parse().ok()?;
    Some(Route {
        id: None,
        router: Some(route.router),
        source: Some(Prefix {
            address: IpAddr::V4(route.src),
            length: route.src_length,
        }),
        destination: Some(Prefix {
            address: IpAddr::V4(route.dst),
            length: route.dst_length,
        }),
        next_hop: "BGP".to_owned(),
        gateway: Some(IpAddr::V4(route.gateway)),
        port: route.port.or(Some(port)),
        weight: i64::from(route.weight),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_learned_entry_beats_the_configured_one() {
        let (network, old, new) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let entry = |port| TableEntry::Mac { vlan: 0, mac, port };
        let mut site = Site::default();
        site.tables.put(network, CONFIGURED, entry(old));
        assert_eq!(
            site.mac_table(network),
            [MacEntry {
                vlan: 0,
                mac,
                port: old,
                learned: false
            }]
        );
        site.tables.put(network, 7, entry(new));
        site.tables.put(network, 3, entry(old));
        assert_eq!(
            site.mac_table(network),
            [MacEntry {
                vlan: 0,
                mac,
                port: new,
                learned: true
            }]
        );
        assert_eq!(site.tables.port_of_mac(network, mac), Some(new));
        site.tables.remove(network, 7, entry(old));
        assert_eq!(site.tables.port_of_mac(network, mac), Some(new), "another value stays");
        site.tables.remove(network, 7, entry(new));
        site.tables.remove(network, 3, entry(old));
        assert_eq!(site.tables.port_of_mac(network, mac), Some(old));
        site.tables.remove(network, CONFIGURED, entry(old));
        assert_eq!(site.mac_table(network), []);
        assert_eq!(site.tables.macs.len(), 0);
    }
}
