// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Ports: what they are for, whose they are, how they are.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Port, PortKind, Site, State,
    facts::{Facts, Owner, PortFacts},
};

impl Site {
    /// All ports.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.objects("Port").filter_map(|(id, _)| self.port(id))
    }

    pub fn port(&self, id: Uuid) -> Option<Port> {
        let facts = self.port_facts(id)?;
        let fields = self.fields("Port", id)?;
        let neutron = self.neutron_port(id);
        let neutron_fields = self.fields("NeutronPort", id).unwrap_or_default();
        let kind = self.kind_of_port(id, facts);
        let (state, since_us) = self.port_state_of(id, facts);
        let mut addresses = facts.addresses.clone();
        for address in neutron.iter().flat_map(|neutron| &neutron.addresses) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        let mirrors = [
            "inbound_mirror_ids",
            "outbound_mirror_ids",
            "post_in_filter_mirror_ids",
            "pre_out_filter_mirror_ids",
        ];
        Some(Port {
            id,
            kind,
            name: self.port_name(id),
            tenant: self.port_tenant(id).map(|tenant| tenant.to_string()),
            state,
            since_us,
            admin_up: facts.admin_up,
            network: facts.network,
            router: facts.router,
            peer: facts.peer,
            host: facts.host,
            previous_host: fields.id("previous_host_id"),
            interface: facts.interface.as_deref().map(str::to_owned),
            mac: facts.mac.or(neutron.and_then(|neutron| neutron.mac)),
            addresses,
            subnets: facts.subnets.clone(),
            vlan: fields.int("vlan_id").filter(|vlan| *vlan != 0),
            vni: fields.int("vni").filter(|vni| *vni != 0),
            tunnel_key: fields.unsigned("tunnel_key"),
            vm: neutron
                .filter(|_| matches!(kind, PortKind::Vm | PortKind::Unbound))
                .and_then(|neutron| neutron.device.as_deref().map(str::to_owned)),
            inbound_chain: fields.id("inbound_filter_id"),
            outbound_chain: fields.id("outbound_filter_id"),
            security_groups: neutron_fields.ids("security_groups"),
            port_groups: fields.ids("port_group_ids"),
            floating_ips: neutron_fields.ids("floating_ip_ids"),
            routes: fields.ids("route_ids"),
            mirrors: mirrors.iter().flat_map(|name| fields.ids(name)).collect(),
            container: fields.id("service_container_id"),
            vtep: fields.id("vtep_id"),
            qos_policy: fields.id("qos_policy_id"),
            bgp_status: self.state(id, "bgp").map(|state| String::from_utf8_lossy(&state.value).into_owned()),
            learned_routes: self.tables.routes.get(&id).map_or(0, |routes| routes.len()),
        })
    }

    /// What a port is for.
    pub fn port_kind(&self, id: Uuid) -> Option<PortKind> {
        self.port_facts(id).map(|facts| self.kind_of_port(id, facts))
    }

    /// The tenant of a port: MidoNet's ports have none of their own.
    pub fn port_tenant(&self, id: Uuid) -> Option<Arc<str>> {
        let facts = self.port_facts(id)?;
        match (facts.router, facts.network) {
            (Some(router), _) => self.tenant_of("Router", router),
            (None, network) => self
                .neutron_port(id)
                .and_then(|port| port.named.tenant.clone())
                .or_else(|| self.tenant_of("Network", network?)),
        }
    }

    /// The device that a port belongs to, network or router.
    pub fn port_device(&self, id: Uuid) -> Option<Uuid> {
        self.port_facts(id).and_then(|facts| facts.router.or(facts.network))
    }

    /// The network of a network port.
    pub fn port_network(&self, id: Uuid) -> Option<Uuid> {
        self.port_facts(id)?.network
    }

    /// The router of a router port.
    pub fn port_router(&self, id: Uuid) -> Option<Uuid> {
        self.port_facts(id)?.router
    }

    /// The router that a network port is linked to, or that a router port belongs to.
    pub fn router_behind(&self, port: Uuid) -> Option<Uuid> {
        let facts = self.port_facts(port)?;
        facts.router.or_else(|| self.port_facts(facts.peer?)?.router)
    }

    /// The port of a network that has a MAC, by its MAC table: what Neutron set and what was learned.
    pub fn port_of_mac(&self, network: Uuid, mac: midonet::Mac) -> Option<Uuid> {
        self.tables.port_of_mac(network, mac)
    }

    /// The port of a network that Neutron gave an address.
    pub fn port_with_address(&self, network: Uuid, address: std::net::IpAddr) -> Option<Uuid> {
        self.by_network_ip
            .get(&(network, address))
            .copied()
            .filter(|port| self.exists("Port", *port))
    }

    /// The port that a floating address stands for.
    pub fn port_of_floating_address(&self, address: std::net::IpAddr) -> Option<Uuid> {
        let candidates = self.by_ip.get(&address)?;
        candidates
            .iter()
            .filter_map(|id| self.floating_ip(*id))
            .find(|floating| floating.address == Some(address))?
            .port
    }

    /// Networks that a router is linked to.
    pub fn networks_of_router(&self, router: Uuid) -> Vec<Uuid> {
        let ports = self.fields("Router", router).map(|fields| fields.ids("port_ids")).unwrap_or_default();
        ports
            .iter()
            .filter_map(|port| self.port_facts(self.port_facts(*port)?.peer?)?.network)
            .collect()
    }

    pub fn port_state(&self, id: Uuid) -> (State, Option<i64>) {
        self.port_facts(id).map_or((State::Unknown, None), |facts| self.port_state_of(id, facts))
    }

    pub(super) fn kind_of_port(&self, id: Uuid, facts: &PortFacts) -> PortKind {
        let owner = self.neutron_port(id).map(|port| port.owner);
        if facts.container {
            PortKind::Container
        } else if facts.vxlan {
            PortKind::Vxlan
        } else if facts.router.is_some() {
            self.kind_of_router_port(facts)
        } else if facts.peer.is_some() {
            PortKind::Interior
        } else if owner == Some(Owner::Dhcp) {
            PortKind::Dhcp
        } else {
            match (facts.exterior(), owner) {
                (true, Some(Owner::Compute)) => PortKind::Vm,
                (true, _) => PortKind::Exterior,
                (false, Some(Owner::Compute)) if facts.host.is_none() => PortKind::Unbound,
                (false, _) => PortKind::Unplugged,
            }
        }
    }

    fn kind_of_router_port(&self, facts: &PortFacts) -> PortKind {
        if facts.exterior() {
            return PortKind::Uplink;
        }
        let Some(peer) = facts.peer else { return PortKind::Unplugged };
        let Some(peer_facts) = self.port_facts(peer) else {
            return PortKind::Interior;
        };
        let Some(network) = peer_facts.network else { return PortKind::Interior };
        match self.neutron_port(peer).map(|port| port.owner) {
            Some(Owner::RouterGateway) => PortKind::Gateway,
            Some(Owner::RouterInterface) => PortKind::RouterInterface,
            // Made by hand: the edge router's own links to external networks are interfaces, a tenant router's are its gateways.
            _ if self.is_external(network) && !facts.router.is_some_and(|router| self.is_edge(router)) => PortKind::Gateway,
            _ => PortKind::RouterInterface,
        }
    }

    pub(super) fn port_state_of(&self, id: Uuid, facts: &PortFacts) -> (State, Option<i64>) {
        if !facts.admin_up {
            return (State::Off, None);
        }
        if facts.exterior() {
            // A port is up where it is bound; an entry of another host is a leftover of a migration.
            let active = facts.host.and_then(|host| self.state_of(id, "active", host));
            return match active {
                Some(active) => (State::Up, Some(active.since_us)),
                // Agents answer DHCP themselves: whether something is plugged in here depends on the deployment and is no fault.
                None if self.neutron_port(id).is_some_and(|port| port.owner == Owner::Dhcp) => (State::Off, None),
                None if self.has_states() => (State::Down, self.past_state(id, "active").map(|past| past.until_us)),
                None => (State::Unknown, None),
            };
        }
        match facts.peer.and_then(|peer| self.port_facts(peer)) {
            Some(peer) if peer.admin_up => (State::Up, None),
            Some(_) => (State::Off, None),
            // VXLAN ports are neither bound nor linked.
            None if facts.vxlan => (State::Up, None),
            None => (State::Off, None),
        }
    }

    /// The name to show: Neutron's, else what the port does.
    pub(super) fn port_name(&self, id: Uuid) -> String {
        let neutron = self.neutron_port(id);
        if let Some(name) = neutron.and_then(|port| port.named.name.as_deref()) {
            return name.to_owned();
        }
        let Some(facts) = self.port_facts(id) else { return short(id) };
        let router = facts.router.or_else(|| self.port_facts(facts.peer?)?.router);
        let other_network = facts.peer.and_then(|peer| self.port_facts(peer)?.network);
        let interface = facts.interface.as_deref().unwrap_or("interface");
        match self.kind_of_port(id, facts) {
            PortKind::Vm | PortKind::Unbound => match neutron.and_then(|port| port.device.as_deref()) {
                Some(device) => format!("vm {device}"),
                None => format!("vm port {}", short(id)),
            },
            PortKind::RouterInterface => match (router, other_network) {
                (Some(router), Some(network)) => format!("{} to {}", self.router_name(router), self.network_name(network)),
                _ => format!("router interface {}", short(id)),
            },
            PortKind::Gateway => match router {
                Some(router) => format!("{} gateway", self.router_name(router)),
                None => format!("router gateway {}", short(id)),
            },
            PortKind::Uplink => match router {
                Some(router) => format!("{} uplink {interface}", self.router_name(router)),
                None => format!("uplink {interface}"),
            },
            PortKind::Interior => match router {
                Some(router) if facts.router.is_none() => format!("to {}", self.router_name(router)),
                _ => format!("link {}", short(id)),
            },
            PortKind::Exterior => format!(
                "{} {interface}",
                facts.network.map_or_else(|| "port".to_owned(), |network| self.network_name(network))
            ),
            kind => format!("{} {}", kind.label(), short(id)),
        }
    }

    pub(super) fn tenant_of(&self, class: &str, id: Uuid) -> Option<Arc<str>> {
        self.stored(class, id)?.facts.named()?.tenant.clone()
    }

    pub(super) fn network_name(&self, id: Uuid) -> String {
        self.own_name(&["Network", "NeutronNetwork"], id)
            .unwrap_or_else(|| format!("network {}", short(id)))
    }

    pub(super) fn router_name(&self, id: Uuid) -> String {
        self.own_name(&["Router", "NeutronRouter"], id)
            .unwrap_or_else(|| match self.internal_router_of(id) {
                Some(balancer) => format!("router of load balancer {}", short(balancer)),
                None => format!("router {}", short(id)),
            })
    }

    /// The name that an object of one of these classes has.
    pub(super) fn own_name(&self, classes: &[&str], id: Uuid) -> Option<String> {
        classes
            .iter()
            .find_map(|class| self.stored(class, id)?.facts.named()?.name.as_deref().map(str::to_owned))
    }

    /// The load balancer (LBaaS v2) that an internal router was made for.
    pub(super) fn internal_router_of(&self, router: Uuid) -> Option<Uuid> {
        let balancer = midonet::ids::load_balancer_router(router);
        self.exists("LoadBalancer", balancer).then_some(balancer)
    }

    pub(super) fn is_external(&self, network: Uuid) -> bool {
        self.neutron_network(network).is_some_and(|network| network.external)
    }

    /// Owns at least one uplink.
    pub(super) fn is_edge(&self, router: Uuid) -> bool {
        self.fields("Router", router)
            .is_some_and(|fields| fields.ids("port_ids").iter().any(|port| self.port_facts(*port).is_some_and(is_uplink)))
    }
}

/// A router port at a host's interface that neither a container nor an overlay VTEP owns.
pub(super) fn is_uplink(facts: &PortFacts) -> bool {
    facts.router.is_some() && facts.exterior() && !facts.container && !facts.vxlan
}

/// Enough of an id to tell it from others in a list.
pub(super) fn short(id: Uuid) -> String {
    let mut text = id.to_string();
    text.truncate(8);
    text
}

impl Facts {
    pub(super) fn port(&self) -> Option<&PortFacts> {
        match self {
            Facts::Port(facts) => Some(facts),
            _ => None,
        }
    }
}
