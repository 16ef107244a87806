// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Finding objects and saying what they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use midonet::Mac;
use uuid::Uuid;

use super::{Counts, Described, Found, Kind, PortKind, Site, State, Tenant, facts::Facts, ports::short};

/// Most hits of a search: more are no help to a person, and bound a page.
pub const MAX_FOUND: usize = 50;

/// Classes whose names are searched, in the order in which hits are shown.
const NAMED: [&str; 14] = [
    "Host",
    "Network",
    "NeutronNetwork",
    "Router",
    "NeutronPort",
    "NeutronSubnet",
    "SecurityGroup",
    "IPAddrGroup",
    "TunnelZone",
    "NeutronLoadBalancerPool",
    "NeutronVIP",
    "QosPolicy",
    "PortGroup",
    "Chain",
];

impl Site {
    /// What an id is; `None` for an id that the site doesn't have now.
    pub fn describe(&self, id: Uuid) -> Option<Described> {
        let class = self.class_of(id)?;
        Some(self.describe_as(class, id))
    }

    /// The name to show for an id, also for one that is not there (any more).
    pub fn name(&self, id: Uuid) -> String {
        self.describe(id).map_or_else(|| short(id), |described| described.name)
    }

    fn describe_as(&self, class: &str, id: Uuid) -> Described {
        let kind = Kind::of_class(class);
        let (state, since_us) = self.state_of_kind(kind, id);
        Described {
            id,
            kind,
            class: class.to_owned(),
            name: self.name_of(class, kind, id),
            tenant: self.tenant_of_kind(class, kind, id),
            state,
            since_us,
        }
    }

    fn name_of(&self, class: &str, kind: Kind, id: Uuid) -> String {
        match kind {
            Kind::Host => self.host_name(id),
            Kind::Network => self.network_name(id),
            Kind::Router => self.router_name(id),
            Kind::Port => self.port_name(id),
            Kind::SecurityGroup => self.group_name(id),
            Kind::Pool => self.pool_name(id),
            Kind::PoolMember => self.member_name(id),
            Kind::Vip => self.vip_name(id),
            Kind::Vtep => self.vtep(id).map_or_else(|| short(id), |vtep| vtep.name),
            Kind::LoadBalancer => self.load_balancer(id).map_or_else(|| short(id), |balancer| balancer.name),
            Kind::Subnet => self.subnet(id).map_or_else(|| short(id), |subnet| subnet.name),
            Kind::FloatingIp => self
                .floating_ip(id)
                .and_then(|floating| floating.address)
                .map_or_else(|| format!("floating IP {}", short(id)), |address| address.to_string()),
            Kind::BgpPeer => self
                .bgp_peer(id)
                .and_then(|peer| peer.address)
                .map_or_else(|| format!("BGP peer {}", short(id)), |address| address.to_string()),
            Kind::BgpNetwork => self
                .fields(class, id)
                .and_then(|fields| fields.prefix("subnet"))
                .map_or_else(|| format!("BGP network {}", short(id)), |prefix| prefix.to_string()),
            Kind::Route => self
                .route(id)
                .and_then(|route| route.destination)
                .map_or_else(|| format!("route {}", short(id)), |prefix| format!("route to {prefix}")),
            Kind::Rule => self.rule(id).map_or_else(|| short(id), |rule| rule.text),
            Kind::SecurityGroupRule => self
                .fields(class, id)
                .map_or_else(|| short(id), |rule| super::words::security_group_rule(self, &rule)),
            Kind::Other => self.own_name(&[class], id).unwrap_or_else(|| format!("{class} {}", short(id))),
            kind => self.own_name(&[class], id).unwrap_or_else(|| format!("{} {}", kind.label(), short(id))),
        }
    }

    fn tenant_of_kind(&self, class: &str, kind: Kind, id: Uuid) -> Option<String> {
        match kind {
            Kind::Network => self.network_tenant(id),
            Kind::Router => self.router_tenant(id),
            Kind::Port => self.port_tenant(id).map(|tenant| tenant.to_string()),
            Kind::Chain => self.chain(id)?.tenant,
            Kind::LoadBalancer => self.load_balancer_tenant(id),
            Kind::Pool => self.pool(id)?.tenant,
            Kind::PoolMember => self.pool_member(id)?.tenant,
            Kind::Vip => self.vip(id)?.tenant,
            Kind::Subnet => self.subnet(id)?.tenant,
            Kind::Rule => self.chain(self.rule(id)?.chain?)?.tenant,
            _ => self.tenant_of(class, id).map(|tenant| tenant.to_string()),
        }
    }

    fn state_of_kind(&self, kind: Kind, id: Uuid) -> (State, Option<i64>) {
        let state = match kind {
            Kind::Host => return self.host_state(id),
            Kind::Port => return self.port_state(id),
            Kind::Network => self.network(id).map(|network| network.state),
            Kind::Router => self.router(id).map(|router| router.state),
            Kind::TunnelZone => self.tunnel_zone(id).map(|zone| zone.state),
            Kind::Vtep => self.vtep(id).map(|vtep| vtep.state),
            Kind::LoadBalancer => self.load_balancer(id).map(|balancer| balancer.state),
            Kind::Pool => self.pool(id).map(|pool| pool.state),
            Kind::PoolMember => self.pool_member_state(id),
            Kind::BgpPeer => self.bgp_peer(id).map(|peer| peer.state),
            Kind::FloatingIp => self
                .floating_ip(id)
                .map(|floating| if floating.port.is_some() { State::Up } else { State::Off }),
            _ => None,
        };
        (state.unwrap_or(State::Unknown), None)
    }

    /// Objects by part of a name (without regard to case), id or the beginning of one, IP or MAC address. At most [`MAX_FOUND`].
    pub fn search(&self, text: &str) -> Vec<Found> {
        let text = text.trim();
        let mut hits = Hits {
            site: self,
            seen: BTreeSet::new(),
            found: Vec::new(),
        };
        if text.is_empty() {
            return Vec::new();
        }
        if let Ok(id) = text.parse::<Uuid>() {
            hits.add(id, || "id".to_owned());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            self.find_address(address, &mut hits);
        }
        if let Ok(mac) = text.parse::<Mac>() {
            self.find_mac(mac, &mut hits);
        }
        let text = text.to_lowercase();
        // Six digits are hardly a word by chance, four may be.
        if text.len() >= 6 {
            self.find_id_prefix(&text, &mut hits);
        }
        self.find_name(&text, &mut hits);
        self.find_id_prefix(&text, &mut hits);
        hits.found
    }

    fn find_address(&self, address: IpAddr, hits: &mut Hits<'_>) {
        for id in self.by_ip.get(&address).into_iter().flat_map(|ids| ids.iter()) {
            hits.add(*id, || format!("address {address}"));
        }
        for (id, _) in self.objects("Host") {
            // Interfaces are state, not indexed: there are few hosts.
            if self
                .host(id)
                .is_some_and(|host| host.interfaces.iter().any(|interface| interface.addresses.contains(&address)))
            {
                hits.add(id, || format!("interface address {address}"));
            }
        }
    }

    fn find_mac(&self, mac: Mac, hits: &mut Hits<'_>) {
        for id in self.by_mac.get(&mac).into_iter().flat_map(|ids| ids.iter()) {
            hits.add(*id, || format!("MAC {mac}"));
        }
        let networks: Vec<Uuid> = self.tables.macs.iter().map(|(network, _)| *network).collect();
        for port in networks.into_iter().filter_map(|network| self.tables.port_of_mac(network, mac)) {
            hits.add(port, || format!("MAC {mac}"));
        }
    }

    fn find_name(&self, text: &str, hits: &mut Hits<'_>) {
        let mut matches: Vec<(bool, usize, String, Uuid)> = Vec::new();
        for (rank, class) in NAMED.iter().enumerate() {
            for (id, stored) in self.objects(class) {
                let Some(name) = stored.facts.named().and_then(|named| named.name.as_deref()) else {
                    continue;
                };
                let name = name.to_lowercase();
                if let Some(at) = name.find(text) {
                    // Names that begin with the text come first.
                    matches.push((at != 0, rank, name, id));
                }
            }
        }
        matches.sort();
        for (_, _, _, id) in matches {
            hits.add(id, || "name".to_owned());
        }
    }

    /// From four hexadecimal digits on, the beginning of an id.
    fn find_id_prefix(&self, text: &str, hits: &mut Hits<'_>) {
        if text.len() < 4 || !text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return;
        }
        for objects in self.classes.values() {
            for (id, _) in objects.iter().filter(|(id, _)| id.to_string().starts_with(text)) {
                hits.add(*id, || "id".to_owned());
            }
        }
    }

    /// Ports that have an address, in any network; tenants reuse addresses.
    pub fn ports_with_address(&self, address: IpAddr) -> Vec<Uuid> {
        self.by_ip
            .get(&address)
            .into_iter()
            .flat_map(|ids| ids.iter().copied())
            .filter(|id| self.exists("Port", *id))
            .collect()
    }

    /// Numbers of the dashboard. Made once per snapshot.
    pub fn counts(&self) -> Counts {
        *self.totals.counts.get_or_init(|| {
            let mut counts = Counts {
                hosts: self.count("Host"),
                networks: self.count("Network"),
                routers: self.count("Router"),
                ports: self.count("Port"),
                tunnel_zones: self.count("TunnelZone"),
                vteps: self.count("Vtep"),
                load_balancers: self.count("LoadBalancer"),
                floating_ips: self.count("FloatingIp"),
                security_groups: self.count("SecurityGroup"),
                chains: self.count("Chain"),
                rules: self.count("Rule"),
                objects: self.classes.values().map(super::shards::Shards::len).sum(),
                tenants: self.tenants().len(),
                ..Counts::default()
            };
            counts.hosts_up = self.objects("Host").filter(|(id, _)| self.host_state(*id).0 == State::Up).count();
            let mut edges = BTreeSet::new();
            for (id, stored) in self.objects("Port") {
                let Some(facts) = stored.facts.port() else { continue };
                let kind = self.kind_of_port(id, facts);
                match kind {
                    PortKind::Vm | PortKind::Unbound => counts.vm_ports += 1,
                    PortKind::Uplink => {
                        counts.uplinks += 1;
                        edges.extend(facts.router);
                    }
                    _ => {}
                }
                // A DHCP port's binding says nothing: agents answer DHCP themselves.
                if facts.exterior() && kind != PortKind::Dhcp {
                    counts.ports_bound += 1;
                    counts.ports_up += usize::from(self.port_state_of(id, facts).0 == State::Up);
                }
            }
            counts.edge_routers = edges.len();
            counts
        })
    }

    /// Tenants that own networks, routers or ports, by id. Made once per snapshot.
    pub fn tenants(&self) -> &[Tenant] {
        self.totals.tenants.get_or_init(|| {
            let mut tenants: BTreeMap<String, Tenant> = BTreeMap::new();
            let mut count = |id: Option<&str>, add: fn(&mut Tenant)| {
                if let Some(id) = id {
                    if !tenants.contains_key(id) {
                        tenants.insert(
                            id.to_owned(),
                            Tenant {
                                id: id.to_owned(),
                                networks: 0,
                                routers: 0,
                                ports: 0,
                            },
                        );
                    }
                    if let Some(tenant) = tenants.get_mut(id) {
                        add(tenant);
                    }
                }
            };
            for (_, stored) in self.objects("Network") {
                count(stored.facts.named().and_then(|named| named.tenant.as_deref()), |tenant| {
                    tenant.networks += 1
                });
            }
            for (_, stored) in self.objects("Router") {
                count(stored.facts.named().and_then(|named| named.tenant.as_deref()), |tenant| {
                    tenant.routers += 1
                });
            }
            for (id, stored) in self.objects("Port") {
                if matches!(stored.facts, Facts::Port(_)) {
                    count(self.port_tenant(id).as_deref(), |tenant| tenant.ports += 1);
                }
            }
            tenants.into_values().collect()
        })
    }
}

struct Hits<'a> {
    site: &'a Site,
    seen: BTreeSet<Uuid>,
    found: Vec<Found>,
}

impl Hits<'_> {
    fn add(&mut self, id: Uuid, matched: impl FnOnce() -> String) {
        if self.found.len() >= MAX_FOUND || !self.seen.insert(id) {
            return;
        }
        if let Some(object) = self.site.describe(id) {
            self.found.push(Found { object, matched: matched() });
        }
    }
}
