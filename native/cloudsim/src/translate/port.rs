// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::{ANY_FRAGMENT, Translator, host_subnet, metadata, range};
use crate::{
    ids,
    obj::{Fields, Kind, Obj, Val},
};

/// What a Neutron port is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    Compute,
    Dhcp,
    RouterInterface,
    RouterGateway,
    LoadBalancer,
    FloatingIp,
}

impl Owner {
    pub fn name(self) -> &'static str {
        match self {
            Owner::Compute => "COMPUTE",
            Owner::Dhcp => "DHCP",
            Owner::RouterInterface => "ROUTER_INTERFACE",
            Owner::RouterGateway => "ROUTER_GATEWAY",
            Owner::LoadBalancer => "LOADBALANCER",
            Owner::FloatingIp => "FLOATINGIP",
        }
    }

    /// Neutron trusts the port: it gets no security chains.
    fn trusted(self) -> bool {
        !matches!(self, Owner::Compute | Owner::LoadBalancer)
    }

    fn in_tables(self) -> bool {
        matches!(self, Owner::Compute | Owner::RouterInterface | Owner::RouterGateway)
    }
}

/// A Neutron port.
#[derive(Clone, Debug)]
pub struct Port {
    pub id: Uuid,
    pub network: Uuid,
    pub tenant: String,
    pub name: String,
    pub mac: String,
    /// Address and subnet.
    pub fixed_ips: Vec<(IpAddr, Uuid)>,
    pub owner: Owner,
    pub device: String,
    pub security_groups: Vec<Uuid>,
    /// Host name, and the interface's name where Neutron knows it.
    pub binding: Option<(String, Option<String>)>,
    pub port_security: bool,
    /// Prefix and MAC.
    pub allowed_pairs: Vec<((IpAddr, u8), String)>,
}

impl Translator<'_> {
    pub fn port(&mut self, port: &Port) {
        self.zoom.create(neutron_port(port));
        if port.owner == Owner::FloatingIp || !self.zoom.has(Kind::Network, port.network) {
            return;
        }
        let first_v6 = port.fixed_ips.first().is_some_and(|(ip, _)| ip.is_ipv6());
        if port.owner.in_tables() && !first_v6 {
            self.mac_entry(port.network, &port.mac, port.id);
            for (ip, _) in &port.fixed_ips {
                self.arp_entry(port.network, *ip, &port.mac);
            }
        }
        let tunnel_key = self.zoom.next_tunnel_key();
        let mut topology = Obj::new(Kind::Port, port.id)
            .with("network_id", port.network)
            .with("admin_state_up", true)
            .with("tunnel_key", tunnel_key);
        if let Some((host, Some(interface))) = &port.binding
            && let Some(host) = self.host_by_name(host)
        {
            topology.add("host_id", host);
            topology.add("interface_name", interface);
        }
        if !port.owner.trusted() {
            topology.add("inbound_filter_id", ids::in_chain(port.id));
            topology.add("outbound_filter_id", ids::out_chain(port.id));
            self.security_chains(port);
        }
        match port.owner {
            Owner::Compute => self.dhcp_hosts(port),
            Owner::Dhcp => self.dhcp_server(port),
            _ => {}
        }
        self.zoom.create(topology);
    }

    /// Removes a VM's port with all that was made for it.
    pub fn delete_port(&mut self, port: Uuid) {
        let Some(neutron) = self.zoom.get(Kind::NeutronPort, port).cloned() else {
            return;
        };
        let network = neutron.uuid("network_id").unwrap_or_default();
        let mac = neutron.text("mac_address").unwrap_or_default().to_owned();
        let fixed: Vec<(IpAddr, Uuid)> = fixed_ips(&neutron);
        self.zoom.remove_entry(super::mac_entry(network, &mac, port));
        for (ip, subnet) in &fixed {
            if let IpAddr::V4(ip) = ip {
                self.zoom.remove_entry(super::arp_entry(network, *ip, &mac));
            }
            let host = Val::Msg(vec![("mac", Val::Str(mac.clone())), ("ip_address", Val::Ip(*ip))]);
            self.zoom.update(Kind::Dhcp, *subnet, |dhcp| dhcp.remove("hosts", &host));
        }
        for group in neutron.uuids("security_groups") {
            for (ip, _) in &fixed {
                self.leave_group(group, *ip, port);
            }
        }
        self.zoom.delete(Kind::Port, port);
        for chain in [ids::in_chain(port), ids::out_chain(port), ids::anti_spoof_chain(port)] {
            self.zoom.delete(Kind::Chain, chain);
        }
        self.zoom.delete(Kind::NeutronPort, port);
    }

    /// Binds a port to a host's interface, as Nova does through the REST API.
    pub fn bind(&mut self, port: Uuid, host: Uuid, interface: &str) {
        self.zoom.update(Kind::Port, port, |port| {
            port.set("host_id", host);
            port.set("interface_name", interface);
            // The REST API's form of a port has a VLAN, which it writes back.
            port.set("vlan_id", 0u64);
        });
    }

    /// Takes a port from its host.
    pub fn unbind(&mut self, port: Uuid) {
        self.zoom.update(Kind::Port, port, |port| {
            port.clear("host_id");
            port.clear("interface_name");
        });
    }

    fn host_by_name(&self, name: &str) -> Option<Uuid> {
        self.zoom
            .all(Kind::Host)
            .into_iter()
            .find(|host| host.text("name") == Some(name))
            .map(|host| host.id)
    }

    fn security_chains(&mut self, port: &Port) {
        let (inbound, outbound, spoof) = (ids::in_chain(port.id), ids::out_chain(port.id), ids::anti_spoof_chain(port.id));
        // Names are the device's point of view: what the VM sends comes in.
        self.chain(inbound, format!("OS_PORT_{}_INBOUND", port.id));
        self.chain(outbound, format!("OS_PORT_{}_OUTBOUND", port.id));
        self.chain(spoof, format!("OS_PORT_{}_ANTI_SPOOF", port.id));
        self.zoom
            .update(Kind::Chain, spoof, |chain| chain.add("jump_rule_ids", ids::anti_spoof_jump_rule(port.id)));
        for group in &port.security_groups {
            for (ip, _) in &port.fixed_ips {
                self.join_group(*group, *ip, port.id);
            }
        }
        if !port.port_security {
            return;
        }
        self.jump(ids::anti_spoof_jump_rule(port.id), inbound, spoof);
        let returned = || vec![("match_return_flow", Val::Bool(true))];
        self.literal(inbound, "ACCEPT", returned());
        for group in &port.security_groups {
            let id = self.fresh();
            self.jump(id, inbound, ids::in_chain(*group));
        }
        let not_arp = || vec![("dl_type", Val::Int(0x0806)), ("inv_dl_type", Val::Bool(true)), ANY_FRAGMENT];
        self.literal(inbound, "DROP", not_arp());

        self.literal(outbound, "ACCEPT", returned());
        for group in &port.security_groups {
            let id = self.fresh();
            self.jump(id, outbound, ids::out_chain(*group));
        }
        self.literal(outbound, "DROP", not_arp());

        self.literal(spoof, "RETURN", vec![("tp_src", range(68, 68)), ("tp_dst", range(67, 67)), ANY_FRAGMENT]);
        let own = port.fixed_ips.iter().map(|(ip, _)| (host_subnet(*ip), &port.mac));
        let allowed = port.allowed_pairs.iter().map(|((ip, length), mac)| (Val::Subnet(*ip, *length), mac));
        for (prefix, mac) in own.chain(allowed) {
            self.literal(
                spoof,
                "RETURN",
                vec![("dl_type", Val::Int(0x0806)), ("nw_src_ip", prefix.clone()), ANY_FRAGMENT],
            );
            self.literal(
                spoof,
                "RETURN",
                vec![("dl_src", Val::Str(mac.clone())), ("nw_src_ip", prefix), ANY_FRAGMENT],
            );
        }
        self.literal(spoof, "DROP", vec![ANY_FRAGMENT]);
    }

    fn dhcp_hosts(&mut self, port: &Port) {
        for (ip, subnet) in &port.fixed_ips {
            let host: Fields = vec![("mac", Val::Str(port.mac.clone())), ("ip_address", Val::Ip(*ip))];
            self.zoom.update(Kind::Dhcp, *subnet, |dhcp| dhcp.add("hosts", host));
        }
    }

    fn dhcp_server(&mut self, port: &Port) {
        for (ip, subnet) in port.fixed_ips.iter().filter(|(ip, _)| ip.is_ipv4()) {
            let (prefix, length) = metadata();
            let route: Fields = vec![("dst_subnet", Val::Subnet(prefix, length)), ("gateway", Val::Ip(*ip))];
            self.zoom.update(Kind::Dhcp, *subnet, |dhcp| {
                dhcp.set("server_address", *ip);
                dhcp.add("opt121_routes", route);
            });
        }
    }

    fn join_group(&mut self, group: Uuid, ip: IpAddr, port: Uuid) {
        self.zoom.update(Kind::IPAddrGroup, group, |group| {
            let present = group
                .all("ip_addr_ports")
                .find(|entry| entry.field("ip_address").and_then(Val::as_ip) == Some(ip))
                .cloned();
            let mut fields = match &present {
                Some(entry) => entry.fields().to_vec(),
                None => vec![("ip_address", Val::Ip(ip))],
            };
            fields.push(("port_ids", Val::Id(port)));
            if let Some(entry) = &present {
                group.remove("ip_addr_ports", entry);
            }
            group.add("ip_addr_ports", fields);
        });
    }

    fn leave_group(&mut self, group: Uuid, ip: IpAddr, port: Uuid) {
        self.zoom.update(Kind::IPAddrGroup, group, |group| {
            let Some(entry) = group
                .all("ip_addr_ports")
                .find(|entry| entry.field("ip_address").and_then(Val::as_ip) == Some(ip))
                .cloned()
            else {
                return;
            };
            group.remove("ip_addr_ports", &entry);
            let left: Fields = entry.fields().iter().filter(|field| field.1 != Val::Id(port)).cloned().collect();
            if left.len() > 1 {
                group.add("ip_addr_ports", left);
            }
        });
    }
}

/// Addresses and subnets of a stored Neutron port.
pub fn fixed_ips(neutron: &Obj) -> Vec<(IpAddr, Uuid)> {
    let pair = |entry: &Val| Some((entry.field("ip_address")?.as_ip()?, entry.field("subnet_id")?.as_id()?));
    neutron.all("fixed_ips").filter_map(pair).collect()
}

fn neutron_port(port: &Port) -> Obj {
    let mut neutron = Obj::new(Kind::NeutronPort, port.id)
        .with("network_id", port.network)
        .with("tenant_id", &port.tenant)
        .with("name", &port.name)
        .with("mac_address", &port.mac)
        .with("admin_state_up", true)
        .with("device_owner", Val::Enum(port.owner.name()))
        .with("device_id", &port.device)
        .with("status", "ACTIVE")
        .with_all("security_groups", port.security_groups.iter().copied())
        .with("port_security_enabled", port.port_security);
    for (ip, subnet) in &port.fixed_ips {
        neutron.add("fixed_ips", vec![("ip_address", Val::Ip(*ip)), ("subnet_id", Val::Id(*subnet))]);
    }
    if let Some((host, interface)) = &port.binding {
        neutron.add("host_id", host);
        let profile: Fields = interface.iter().map(|name| ("interface_name", Val::Str(name.clone()))).collect();
        neutron.add("profile", profile);
    }
    for ((ip, length), mac) in &port.allowed_pairs {
        neutron.add(
            "allowed_address_pairs",
            vec![("ip_address", Val::Subnet(*ip, *length)), ("mac_address", Val::Str(mac.clone()))],
        );
    }
    neutron
}
