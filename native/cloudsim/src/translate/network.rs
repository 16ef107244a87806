// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::Translator;
use crate::obj::{Kind, Obj, Val};

/// A Neutron network.
#[derive(Clone, Debug)]
pub struct Network {
    pub id: Uuid,
    pub tenant: String,
    pub name: String,
    pub shared: bool,
    pub external: bool,
    /// Its provider type is UPLINK: physical, without a device.
    pub uplink: bool,
}

/// A Neutron subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    pub id: Uuid,
    pub network: Uuid,
    pub tenant: String,
    pub name: String,
    pub cidr: (IpAddr, u8),
    pub gateway: Option<IpAddr>,
    /// First and last address of each allocation pool.
    pub pools: Vec<(IpAddr, IpAddr)>,
    pub dns: Vec<IpAddr>,
    /// Destination and next hop.
    pub routes: Vec<((IpAddr, u8), IpAddr)>,
    pub dhcp: bool,
}

impl Translator<'_> {
    pub fn network(&mut self, network: &Network) {
        let mut neutron = Obj::new(Kind::NeutronNetwork, network.id)
            .with("tenant_id", &network.tenant)
            .with("name", &network.name)
            .with("shared", network.shared)
            .with("admin_state_up", true)
            .with("status", "ACTIVE")
            .with("external", network.external);
        if network.uplink {
            neutron.add("network_type", Val::Enum("UPLINK"));
        }
        self.zoom.create(neutron);
        if !network.uplink {
            self.zoom.create(
                Obj::new(Kind::Network, network.id)
                    .with("tenant_id", &network.tenant)
                    .with("name", &network.name)
                    .with("admin_state_up", true),
            );
        }
    }

    pub fn subnet(&mut self, subnet: &Subnet) {
        let mut neutron = Obj::new(Kind::NeutronSubnet, subnet.id)
            .with("network_id", subnet.network)
            .with("tenant_id", &subnet.tenant)
            .with("name", &subnet.name)
            .with("cidr", subnet.cidr)
            .with("ip_version", if subnet.cidr.0.is_ipv4() { 4u64 } else { 6 })
            .with_all("gateway_ip", subnet.gateway)
            .with_all("dns_nameservers", subnet.dns.iter().copied())
            .with("enable_dhcp", subnet.dhcp)
            .with("shared", false);
        for (start, end) in &subnet.pools {
            neutron.add("allocation_pools", vec![("start", Val::Ip(*start)), ("end", Val::Ip(*end))]);
        }
        for (destination, hop) in &subnet.routes {
            neutron.add(
                "host_routes",
                vec![("destination", Val::Subnet(destination.0, destination.1)), ("nexthop", Val::Ip(*hop))],
            );
        }
        self.zoom.create(neutron);
        // The list of a network's subnets is kept by the translator, not by a binding; an uplink network's stays empty.
        if !self.zoom.has(Kind::Network, subnet.network) {
            return;
        }
        self.zoom
            .update(Kind::NeutronNetwork, subnet.network, |network| network.add("subnets", subnet.id));
        let mut dhcp = Obj::new(Kind::Dhcp, subnet.id)
            .with("network_id", subnet.network)
            .with("subnet_address", subnet.cidr)
            // Until the subnet has a DHCP port its server is its gateway.
            .with_all("server_address", subnet.gateway)
            .with_all("dns_server_address", subnet.dns.iter().copied())
            .with_all("default_gateway", subnet.gateway)
            .with("enabled", subnet.dhcp);
        for (destination, hop) in &subnet.routes {
            dhcp.add(
                "opt121_routes",
                vec![("dst_subnet", Val::Subnet(destination.0, destination.1)), ("gateway", Val::Ip(*hop))],
            );
        }
        self.zoom.create(dhcp);
    }
}
