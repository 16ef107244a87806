// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Hosts, tunnel zones, VTEPs, networks, routers and what belongs to them.

use std::{collections::BTreeSet, net::IpAddr};

use uuid::Uuid;

use super::{
    BgpPeer, FloatingIp, Host, Interface, Link, Network, Route, Router, Site, State, Subnet, TunnelEnd, TunnelZone, Vtep, VtepBinding,
    fields::Fields,
    model::StateValue,
    ports::{is_uplink, short},
};

impl Site {
    pub fn hosts(&self) -> impl Iterator<Item = Host> + '_ {
        self.objects("Host").filter_map(|(id, _)| self.host(id))
    }

    pub fn host(&self, id: Uuid) -> Option<Host> {
        let fields = self.fields("Host", id)?;
        let (state, since_us) = self.host_state(id);
        let current = self.state_of(id, "host", id);
        let known = current
            .map(|state| &state.value)
            .or_else(|| self.past_state(id, "host").map(|past| &past.value));
        let ports: Vec<Uuid> = fields.ids("port_ids").into_iter().filter(|port| self.exists("Port", *port)).collect();
        let mut interfaces: Vec<Interface> = known.map_or_else(Vec::new, |text| {
            Fields::parse(text).messages("interfaces").iter().map(interface).collect()
        });
        for port in &ports {
            let bound_to = self.port_facts(*port).and_then(|facts| facts.interface.as_deref());
            if let Some(interface) = interfaces.iter_mut().find(|interface| Some(&*interface.name) == bound_to) {
                interface.port = Some(*port);
            }
        }
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        let zones = fields.ids("tunnel_zone_ids");
        Some(Host {
            id,
            name: self.host_name(id),
            state,
            since_us,
            interfaces,
            interfaces_current: current.is_some(),
            tunnels: zones
                .iter()
                .flat_map(|zone| self.tunnel_ends(*zone))
                .filter(|end| end.host == id)
                .collect(),
            ports_up: ports.iter().filter(|port| self.port_state(**port).0 == State::Up).count(),
            ports,
            containers: self
                .state_of(id, "container", id)
                .map(|state| Fields::parse(&state.value).int("count").unwrap_or(0)),
            container_weight: fields.int("container_weight").unwrap_or(1),
            flooding_proxy_weight: fields.int("flooding_proxy_weight").unwrap_or(1),
        })
    }

    pub fn host_name(&self, id: Uuid) -> String {
        self.own_name(&["Host"], id).unwrap_or_else(|| format!("host {}", short(id)))
    }

    /// Whether the agent's session lives, and since when it does or doesn't.
    pub fn host_state(&self, id: Uuid) -> (State, Option<i64>) {
        match self.state_of(id, "alive", id) {
            Some(alive) => (State::Up, Some(alive.since_us)),
            None if self.has_states() => (State::Down, self.past_state(id, "alive").map(|past| past.until_us)),
            None => (State::Unknown, None),
        }
    }

    pub fn tunnel_zones(&self) -> impl Iterator<Item = TunnelZone> + '_ {
        self.objects("TunnelZone").filter_map(|(id, _)| self.tunnel_zone(id))
    }

    pub fn tunnel_zone(&self, id: Uuid) -> Option<TunnelZone> {
        let fields = self.fields("TunnelZone", id)?;
        let ends = self.tunnel_ends(id);
        let hosts_up = ends.iter().filter(|end| self.host_state(end.host).0 == State::Up).count();
        Some(TunnelZone {
            id,
            name: self.own_name(&["TunnelZone"], id).unwrap_or_else(|| format!("tunnel zone {}", short(id))),
            encapsulation: fields.symbol("type").unwrap_or_default().to_lowercase(),
            state: if self.has_states() {
                share(hosts_up, ends.len())
            } else {
                State::Unknown
            },
            ends,
            hosts_up,
            flooding_proxy: self.state(id, "flooding_proxy").and_then(flooding_proxy),
        })
    }

    fn tunnel_ends(&self, zone: Uuid) -> Vec<TunnelEnd> {
        let hosts = self.fields("TunnelZone", zone).map(|fields| fields.messages("hosts")).unwrap_or_default();
        hosts
            .iter()
            .filter_map(|end| {
                Some(TunnelEnd {
                    zone,
                    host: end.id("host_id")?,
                    address: end.ip("ip")?,
                })
            })
            .collect()
    }

    pub fn vteps(&self) -> impl Iterator<Item = Vtep> + '_ {
        self.objects("Vtep").filter_map(|(id, _)| self.vtep(id))
    }

    pub fn vtep(&self, id: Uuid) -> Option<Vtep> {
        let fields = self.fields("Vtep", id)?;
        let config = self.state(id, "config").map(|state| Fields::parse(&state.value)).unwrap_or_default();
        let management = fields.ip("management_ip");
        let name = config.some_text("name").map(|name| name.to_string());
        Some(Vtep {
            id,
            name: name
                .or_else(|| management.map(|address| address.to_string()))
                .unwrap_or_else(|| format!("VTEP {}", short(id))),
            description: config.text("description").unwrap_or_default().into_owned(),
            state: match self
                .state(id, "connection_state")
                .map(|state| String::from_utf8_lossy(&state.value).trim().to_owned())
                .as_deref()
            {
                Some("VTEP_CONNECTED") => State::Up,
                Some(_) => State::Down,
                None => State::Unknown,
            },
            management,
            management_port: fields.int("management_port"),
            tunnel_addresses: config.ips("tunnel_addresses"),
            tunnel_zone: fields.id("tunnel_zone_id"),
            bindings: fields
                .messages("bindings")
                .iter()
                .map(|binding| VtepBinding {
                    port_name: binding.text("port_name").unwrap_or_default().into_owned(),
                    vlan: binding.int("vlan_id"),
                    network: binding.id("network_id"),
                })
                .collect(),
        })
    }

    /// Virtual networks, and Neutron's uplink networks, which have no virtual device.
    pub fn networks(&self) -> impl Iterator<Item = Network> + '_ {
        let ids: BTreeSet<Uuid> = self.ids_of_class("Network").chain(self.ids_of_class("NeutronNetwork")).collect();
        ids.into_iter().filter_map(|id| self.network(id))
    }

    pub fn network(&self, id: Uuid) -> Option<Network> {
        let device = self.fields("Network", id);
        let neutron = self.neutron_network(id);
        if device.is_none() && neutron.is_none() {
            return None;
        }
        let fields = match &device {
            Some(fields) => fields.clone(),
            None => self.fields("NeutronNetwork", id).unwrap_or_default(),
        };
        let admin_up = fields.flag("admin_state_up", true);
        let ports: Vec<Uuid> = match &device {
            Some(fields) => fields.ids("port_ids").into_iter().filter(|port| self.exists("Port", *port)).collect(),
            None => self.ports_of_uplink_network(id),
        };
        let routers: BTreeSet<Uuid> = ports.iter().filter_map(|port| self.router_behind(*port)).collect();
        let mut subnets = self.fields("NeutronNetwork", id).map(|fields| fields.ids("subnets")).unwrap_or_default();
        for dhcp in fields.ids("dhcp_ids").into_iter().chain(fields.ids("dhcpv6_ids")) {
            if !subnets.contains(&dhcp) {
                subnets.push(dhcp);
            }
        }
        if device.is_none() {
            // Neutron's object doesn't list the subnets of an uplink network. There are few of those.
            let own = self.ids_of_class("NeutronSubnet").filter(|subnet| !subnets.contains(subnet));
            let own: Vec<Uuid> = own
                .filter(|subnet| {
                    self.fields("NeutronSubnet", *subnet)
                        .is_some_and(|fields| fields.id("network_id") == Some(id))
                })
                .collect();
            subnets.extend(own);
        }
        Some(Network {
            id,
            name: self.network_name(id),
            tenant: self.network_tenant(id),
            state: if admin_up { State::Up } else { State::Off },
            admin_up,
            external: neutron.is_some_and(|network| network.external),
            uplink: neutron.is_some_and(|network| network.uplink),
            shared: neutron.is_some_and(|network| network.shared),
            vni: fields.int("vni").filter(|vni| *vni != 0),
            ports,
            subnets,
            inbound_chain: fields.id("inbound_filter_id"),
            outbound_chain: fields.id("outbound_filter_id"),
            mirrors: ["inbound_mirror_ids", "outbound_mirror_ids"]
                .iter()
                .flat_map(|name| fields.ids(name))
                .collect(),
            qos_policy: fields.id("qos_policy_id"),
            routers: routers.into_iter().collect(),
        })
    }

    pub(super) fn network_tenant(&self, id: Uuid) -> Option<String> {
        self.tenant_of("Network", id)
            .or_else(|| self.tenant_of("NeutronNetwork", id))
            .map(|tenant| tenant.to_string())
    }

    /// The edge router's ports that Neutron's ports on an uplink network stand for.
    fn ports_of_uplink_network(&self, network: Uuid) -> Vec<Uuid> {
        self.objects("NeutronPort")
            .filter(|(_, stored)| matches!(&stored.facts, super::facts::Facts::NeutronPort(port) if port.network == Some(network)))
            .map(|(id, _)| midonet::ids::router_interface_port(id))
            .filter(|port| self.exists("Port", *port))
            .collect()
    }

    pub fn routers(&self) -> impl Iterator<Item = Router> + '_ {
        self.objects("Router").filter_map(|(id, _)| self.router(id))
    }

    pub fn router(&self, id: Uuid) -> Option<Router> {
        let fields = self.fields("Router", id)?;
        let ports: Vec<Uuid> = fields.ids("port_ids").into_iter().filter(|port| self.exists("Port", *port)).collect();
        let uplinks: Vec<Uuid> = ports
            .iter()
            .copied()
            .filter(|port| self.port_facts(*port).is_some_and(is_uplink))
            .collect();
        let networks: BTreeSet<Uuid> = ports
            .iter()
            .filter_map(|port| self.port_facts(self.port_facts(*port)?.peer?)?.network)
            .collect();
        let admin_up = fields.flag("admin_state_up", true);
        let uplinks_up = uplinks.iter().filter(|port| self.port_state(**port).0 == State::Up).count();
        let state = match (admin_up, uplinks.is_empty()) {
            (false, _) => State::Off,
            (true, true) => State::Up,
            (true, false) if self.has_states() => share(uplinks_up, uplinks.len()),
            (true, false) => State::Unknown,
        };
        let mut routes = fields.ids("route_ids");
        routes.extend(
            ports
                .iter()
                .filter_map(|port| self.fields("Port", *port))
                .flat_map(|port| port.ids("route_ids")),
        );
        Some(Router {
            id,
            name: self.router_name(id),
            tenant: self.router_tenant(id),
            state,
            admin_up,
            edge: !uplinks.is_empty(),
            as_number: fields.int("as_number").filter(|number| *number >= 0),
            gateway: ports.iter().copied().find(|port| self.port_kind(*port) == Some(super::PortKind::Gateway)),
            ports,
            uplinks,
            networks: networks.into_iter().collect(),
            routes,
            inbound_chain: fields.id("inbound_filter_id"),
            outbound_chain: fields.id("outbound_filter_id"),
            forward_chain: fields.id("forward_chain_id"),
            redirect_chain: fields.id("local_redirect_chain_id"),
            load_balancer: fields.id("load_balancer_id"),
            bgp_peers: fields.ids("bgp_peer_ids"),
            bgp_networks: fields.ids("bgp_network_ids"),
            mirrors: ["inbound_mirror_ids", "outbound_mirror_ids"]
                .iter()
                .flat_map(|name| fields.ids(name))
                .collect(),
        })
    }

    /// The tenant of a router; an internal one belongs to its load balancer's.
    pub(super) fn router_tenant(&self, id: Uuid) -> Option<String> {
        let own = self.tenant_of("Router", id).map(|tenant| tenant.to_string());
        own.or_else(|| self.vip_port_tenant(self.internal_router_of(id).map(|_| id)?))
    }

    pub fn subnets(&self) -> impl Iterator<Item = Subnet> + '_ {
        let ids: BTreeSet<Uuid> = ["NeutronSubnet", "Dhcp", "DhcpV6"]
            .iter()
            .flat_map(|class| self.ids_of_class(class))
            .collect();
        ids.into_iter().filter_map(|id| self.subnet(id))
    }

    pub fn subnet(&self, id: Uuid) -> Option<Subnet> {
        let neutron = self.fields("NeutronSubnet", id);
        let dhcp = self.fields("Dhcp", id).or_else(|| self.fields("DhcpV6", id));
        if neutron.is_none() && dhcp.is_none() {
            return None;
        }
        let (neutron, has_dhcp) = (neutron.unwrap_or_default(), dhcp.is_some());
        let dhcp = dhcp.unwrap_or_default();
        let network = neutron.id("network_id").or_else(|| dhcp.id("network_id"));
        let prefix = neutron.prefix("cidr").or_else(|| dhcp.prefix("subnet_address"));
        let own = self.own_name(&["NeutronSubnet"], id);
        Some(Subnet {
            id,
            name: own
                .or_else(|| prefix.map(|prefix| prefix.to_string()))
                .unwrap_or_else(|| format!("subnet {}", short(id))),
            tenant: self
                .tenant_of("NeutronSubnet", id)
                .map(|tenant| tenant.to_string())
                .or_else(|| network.and_then(|network| self.network_tenant(network))),
            network,
            prefix,
            gateway: neutron.ip("gateway_ip").or_else(|| dhcp.ip("default_gateway")),
            dhcp: neutron.flag("enable_dhcp", has_dhcp),
            dns: if neutron.ips("dns_nameservers").is_empty() {
                dhcp.ips("dns_server_address")
            } else {
                neutron.ips("dns_nameservers")
            },
        })
    }

    pub fn routes(&self) -> impl Iterator<Item = Route> + '_ {
        self.objects("Route").filter_map(|(id, _)| self.route(id))
    }

    pub fn route(&self, id: Uuid) -> Option<Route> {
        let fields = self.fields("Route", id)?;
        let port = fields.id("next_hop_port_id");
        Some(Route {
            id: Some(id),
            router: fields.id("router_id").or_else(|| self.port_facts(port?)?.router),
            source: fields.prefix("src_subnet"),
            destination: fields.prefix("dst_subnet"),
            // The first value of the enum is what an absent field means.
            next_hop: fields.symbol("next_hop").unwrap_or("BLACKHOLE").to_owned(),
            gateway: fields.ip("next_hop_gateway"),
            port,
            weight: fields.int("weight").unwrap_or(100),
        })
    }

    pub fn floating_ips(&self) -> impl Iterator<Item = FloatingIp> + '_ {
        self.objects("FloatingIp").filter_map(|(id, _)| self.floating_ip(id))
    }

    pub fn floating_ip(&self, id: Uuid) -> Option<FloatingIp> {
        let fields = self.fields("FloatingIp", id)?;
        Some(FloatingIp {
            id,
            tenant: self.tenant_of("FloatingIp", id).map(|tenant| tenant.to_string()),
            address: fields.ip("floating_ip_address"),
            fixed_address: fields.ip("fixed_ip_address"),
            network: fields.id("floating_network_id"),
            router: fields.id("router_id"),
            port: fields.id("port_id"),
        })
    }

    pub fn bgp_peers(&self) -> impl Iterator<Item = BgpPeer> + '_ {
        self.objects("BgpPeer").filter_map(|(id, _)| self.bgp_peer(id))
    }

    pub fn bgp_peer(&self, id: Uuid) -> Option<BgpPeer> {
        let fields = self.fields("BgpPeer", id)?;
        let (router, address) = (fields.id("router_id"), fields.ip("address"));
        let ports = router
            .and_then(|router| self.fields("Router", router))
            .map(|router| router.ids("port_ids"))
            .unwrap_or_default();
        let mut session = None;
        for state in ports.iter().filter_map(|port| self.state(*port, "bgp")) {
            let said = address.and_then(|address| bgp_session(&String::from_utf8_lossy(&state.value), address));
            // Each uplink has a daemon of its own; the one that has the session says so, others are idle.
            if session.as_deref() != Some(ESTABLISHED) && said.is_some() {
                session = said;
            }
        }
        Some(BgpPeer {
            id,
            router,
            address,
            as_number: fields.int("as_number"),
            state: match session.as_deref() {
                Some(ESTABLISHED) => State::Up,
                Some(_) => State::Down,
                None => State::Unknown,
            },
            session,
        })
    }

    /// Links between devices, each once: routers with networks, networks with networks, routers with routers. For the drawing.
    pub fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (id, stored) in self.objects("Port") {
            let Some(facts) = stored.facts.port() else { continue };
            let Some(peer) = facts.peer.filter(|peer| self.port_facts(*peer).is_some()) else {
                continue;
            };
            let (Some(from), Some(to)) = (self.port_device(id), self.port_device(peer)) else {
                continue;
            };
            // Each pair is met twice: taken from the router's side, or from that of the smaller id between equals.
            let peer_is_router = self.port_facts(peer).is_some_and(|peer| peer.router.is_some());
            let first = match (facts.router.is_some(), peer_is_router) {
                (true, false) => true,
                (false, true) => false,
                _ => id < peer,
            };
            if first {
                links.push(Link {
                    from,
                    from_port: id,
                    to,
                    to_port: peer,
                });
            }
        }
        links
    }
}

const ESTABLISHED: &str = "Established";

/// What the daemon's text says of a neighbour. Known forms: Quagga's `BGP neighbor is 10.0.0.1, …` with `BGP state = Established` on a
/// following line, and one line per peer with its address and a word for the state.
fn bgp_session(text: &str, address: IpAddr) -> Option<String> {
    let address = address.to_string();
    let is_address = |word: &str| word.trim_matches(|c: char| matches!(c, ',' | ':')) == address;
    let mut in_section = false;
    for line in text.lines() {
        let line = line.trim();
        if let Some(neighbour) = line.strip_prefix("BGP neighbor is ") {
            in_section = neighbour.split_whitespace().next().is_some_and(is_address);
        } else if let Some(state) = line.strip_prefix("BGP state = ").filter(|_| in_section) {
            return state.split([',', ' ']).next().map(str::to_owned);
        } else if line.split_whitespace().any(is_address) && !line.starts_with("BGP router") {
            const STATES: [&str; 6] = [ESTABLISHED, "OpenConfirm", "OpenSent", "Active", "Connect", "Idle"];
            if let Some(state) = STATES.into_iter().find(|state| line.split_whitespace().any(|word| word == *state)) {
                return Some(state.to_owned());
            }
        }
    }
    None
}

/// The state of a whole of which so many parts are up.
pub(super) fn share(up: usize, all: usize) -> State {
    match (up, all) {
        (_, 0) => State::Unknown,
        (up, all) if up == all => State::Up,
        (0, _) => State::Down,
        _ => State::Degraded,
    }
}

fn interface(fields: &Fields) -> Interface {
    Interface {
        name: fields.text("name").unwrap_or_default().into_owned(),
        kind: fields.symbol("type").unwrap_or("UNKNOWN").to_owned(),
        mac: fields.mac("mac"),
        addresses: fields.ips("addresses"),
        up: fields.flag("up", false),
        has_link: fields.flag("has_link", false),
        mtu: fields.int("mtu"),
        endpoint: fields.symbol("endpoint").map(str::to_owned),
        port: None,
    }
}

/// `<host uuid>#<ipv4>`.
fn flooding_proxy(state: &StateValue) -> Option<(Uuid, IpAddr)> {
    let text = std::str::from_utf8(&state.value).ok()?;
    let (host, address) = text.trim().split_once('#')?;
    Some((host.parse().ok()?, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bgp_sessions_are_read_from_the_daemons_text() {
        let quagga = "BGP neighbor is 10.0.0.1, remote AS 64513, local AS 64514, external link\n  BGP version 4\n  BGP state = Established, up for 00:10:00\n\
                      BGP neighbor is 10.0.0.11, remote AS 64513\n  BGP state = Active\n";
        let session = |text, address: &str| bgp_session(text, address.parse().unwrap());
        assert_eq!(session(quagga, "10.0.0.1").as_deref(), Some("Established"));
        assert_eq!(session(quagga, "10.0.0.11").as_deref(), Some("Active"));
        assert_eq!(session(quagga, "10.0.0.2"), None);
        let line = "bgpd is UP\nBGP router identifier 10.0.0.1, local AS number 64513\nPeer 10.0.0.2 AS 64514 Established 00:10:11\n";
        assert_eq!(session(line, "10.0.0.2").as_deref(), Some("Established"));
        assert_eq!(session(line, "10.0.0.1"), None);
        assert_eq!(session("BGP daemon is not ready", "10.0.0.1"), None);
    }
}
