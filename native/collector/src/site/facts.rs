// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{net::IpAddr, sync::Arc};

use midonet::Mac;
use uuid::Uuid;

use super::{Prefix, fields::Fields};

/// An object of the NSDB as the model holds it: its text, and what lists and joins need of it at once.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) raw: Arc<[u8]>,
    pub(crate) created_ms: i64,
    pub(crate) changed_ms: i64,
    pub(crate) version: i32,
    pub(crate) facts: Facts,
}

/// What is asked of an object per flow record or per row of a list. Everything else is read from the text when a page asks.
#[derive(Clone, Debug)]
pub(crate) enum Facts {
    Port(PortFacts),
    NeutronPort(NeutronPortFacts),
    NeutronNetwork(NeutronNetworkFacts),
    /// Addresses that a search for them finds.
    Addressed(Named, Vec<IpAddr>),
    Other(Named),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) tenant: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PortFacts {
    pub(crate) network: Option<Uuid>,
    pub(crate) router: Option<Uuid>,
    pub(crate) peer: Option<Uuid>,
    pub(crate) host: Option<Uuid>,
    pub(crate) interface: Option<Arc<str>>,
    pub(crate) container: bool,
    pub(crate) vxlan: bool,
    pub(crate) admin_up: bool,
    pub(crate) mac: Option<Mac>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) subnets: Vec<Prefix>,
}

impl PortFacts {
    /// The agent's own definition: bound to a host's interface.
    pub(crate) fn exterior(&self) -> bool {
        self.host.is_some() && self.interface.is_some()
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    Dhcp,
    FloatingIp,
    RouterGateway,
    RouterInterface,
    Compute,
    LoadBalancer,
    RemoteSite,
}

#[derive(Clone, Debug)]
pub(crate) struct NeutronPortFacts {
    pub(crate) named: Named,
    pub(crate) network: Option<Uuid>,
    pub(crate) owner: Owner,
    /// Nova server, or router.
    pub(crate) device: Option<Arc<str>>,
    pub(crate) mac: Option<Mac>,
    pub(crate) addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct NeutronNetworkFacts {
    pub(crate) named: Named,
    pub(crate) external: bool,
    pub(crate) uplink: bool,
    pub(crate) shared: bool,
}

impl Facts {
    pub(crate) fn of(class: &str, fields: &Fields) -> Facts {
        match class {
            "Port" => Facts::Port(port(fields)),
            "NeutronPort" => Facts::NeutronPort(NeutronPortFacts {
                named: named(fields),
                network: fields.id("network_id"),
                owner: owner(fields.symbol("device_owner")),
                device: fields.some_text("device_id"),
                mac: fields.mac("mac_address"),
                addresses: fields
                    .messages("fixed_ips")
                    .iter()
                    .filter_map(|allocation| allocation.ip("ip_address"))
                    .collect(),
            }),
            "NeutronNetwork" => Facts::NeutronNetwork(NeutronNetworkFacts {
                named: named(fields),
                external: fields.flag("external", false),
                uplink: fields.symbol("network_type") == Some("UPLINK"),
                shared: fields.flag("shared", false),
            }),
            "FloatingIp" => addressed(fields, &["floating_ip_address", "fixed_ip_address"]),
            "Vip" | "PoolMember" | "BgpPeer" => addressed(fields, &["address"]),
            "Vtep" => addressed(fields, &["management_ip"]),
            "TunnelZone" => Facts::Addressed(named(fields), fields.messages("hosts").iter().filter_map(|host| host.ip("ip")).collect()),
            _ => Facts::Other(named(fields)),
        }
    }

    pub(crate) fn named(&self) -> Option<&Named> {
        match self {
            Facts::Port(_) => None,
            Facts::NeutronPort(port) => Some(&port.named),
            Facts::NeutronNetwork(network) => Some(&network.named),
            Facts::Addressed(named, _) | Facts::Other(named) => Some(named),
        }
    }

    pub(crate) fn addresses(&self) -> &[IpAddr] {
        match self {
            Facts::Port(port) => &port.addresses,
            Facts::NeutronPort(port) => &port.addresses,
            Facts::Addressed(_, addresses) => addresses,
            Facts::NeutronNetwork(_) | Facts::Other(_) => &[],
        }
    }

    pub(crate) fn mac(&self) -> Option<Mac> {
        match self {
            Facts::Port(port) => port.mac,
            Facts::NeutronPort(port) => port.mac,
            _ => None,
        }
    }
}

fn named(fields: &Fields) -> Named {
    Named {
        name: fields.some_text("name"),
        tenant: fields.some_text("tenant_id"),
    }
}

fn addressed(fields: &Fields, names: &[&str]) -> Facts {
    Facts::Addressed(named(fields), names.iter().filter_map(|name| fields.ip(name)).collect())
}

fn port(fields: &Fields) -> PortFacts {
    let mut addresses: Vec<IpAddr> = fields.ip("port_address").into_iter().collect();
    let subnets = fields.prefixes("port_subnet");
    // With IPv6 the port's own addresses stand in its subnets alone; an address that equals its network part names no host.
    for subnet in &subnets {
        if !subnet.is_network() && !addresses.contains(&subnet.address) {
            addresses.push(subnet.address);
        }
    }
    PortFacts {
        network: fields.id("network_id"),
        router: fields.id("router_id"),
        peer: fields.id("peer_id"),
        host: fields.id("host_id"),
        interface: fields.some_text("interface_name"),
        container: fields.id("service_container_id").is_some(),
        vxlan: fields.id("vtep_id").is_some() || fields.int("vni").is_some_and(|vni| vni != 0) || fields.ip("tunnel_ip").is_some(),
        admin_up: fields.flag("admin_state_up", true),
        mac: fields.mac("port_mac"),
        addresses,
        subnets,
    }
}

/// An owner that Neutron has and MidoNet does not is stored as unset, and reads as COMPUTE.
fn owner(symbol: Option<&str>) -> Owner {
    match symbol {
        Some("DHCP") => Owner::Dhcp,
        Some("FLOATINGIP") => Owner::FloatingIp,
        Some("ROUTER_GATEWAY") => Owner::RouterGateway,
        Some("ROUTER_INTERFACE") => Owner::RouterInterface,
        Some("LOADBALANCER" | "LOADBALANCERV2") => Owner::LoadBalancer,
        Some("REMOTE_SITE") => Owner::RemoteSite,
        _ => Owner::Compute,
    }
}
