// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Ports.

use std::net::IpAddr;

use midonet::Mac;
use serde::Serialize;
use uuid::Uuid;

use super::{Prefix, State, optional_mac};

/// What a port is for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// Of a virtual machine, plugged in at a host.
    Vm,
    /// Of a virtual machine that does not run now: no host.
    Unbound,
    /// Router port towards a network.
    RouterInterface,
    /// Router port towards an external network: the tenant router's north side.
    Gateway,
    /// Router port bound to a host's interface: where the cloud meets the physical network.
    Uplink,
    /// Network port of Neutron's DHCP.
    Dhcp,
    /// Of a service container (VPN, load balancer, BGP daemon).
    Container,
    /// Network port towards a VTEP, or a router's VXLAN tunnel port.
    Vxlan,
    /// Network port towards a router, or a link between two devices of the same kind.
    Interior,
    /// Network port plugged in at a host, without a Neutron port: a physical segment or hand-made.
    Exterior,
    /// Neither bound nor linked.
    Unplugged,
}

impl PortKind {
    pub const ALL: [PortKind; 11] = [
        PortKind::Vm,
        PortKind::Unbound,
        PortKind::RouterInterface,
        PortKind::Gateway,
        PortKind::Uplink,
        PortKind::Dhcp,
        PortKind::Container,
        PortKind::Vxlan,
        PortKind::Interior,
        PortKind::Exterior,
        PortKind::Unplugged,
    ];

    pub fn slug(self) -> &'static str {
        match self {
            PortKind::Vm => "vm",
            PortKind::Unbound => "unbound",
            PortKind::RouterInterface => "router_interface",
            PortKind::Gateway => "gateway",
            PortKind::Uplink => "uplink",
            PortKind::Dhcp => "dhcp",
            PortKind::Container => "container",
            PortKind::Vxlan => "vxlan",
            PortKind::Interior => "interior",
            PortKind::Exterior => "exterior",
            PortKind::Unplugged => "unplugged",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            PortKind::Vm => "VM port",
            PortKind::Unbound => "VM port, not running",
            PortKind::RouterInterface => "router interface",
            PortKind::Gateway => "router gateway",
            PortKind::Uplink => "uplink",
            PortKind::Dhcp => "DHCP port",
            PortKind::Container => "container port",
            PortKind::Vxlan => "VXLAN port",
            PortKind::Interior => "link",
            PortKind::Exterior => "exterior port",
            PortKind::Unplugged => "unplugged port",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    pub id: Uuid,
    pub kind: PortKind,
    pub name: String,
    pub tenant: Option<String>,
    pub state: State,
    /// Since when the state holds.
    pub since_us: Option<i64>,
    pub admin_up: bool,
    /// Exactly one of `network` and `router` is set.
    pub network: Option<Uuid>,
    pub router: Option<Uuid>,
    pub peer: Option<Uuid>,
    pub host: Option<Uuid>,
    pub previous_host: Option<Uuid>,
    pub interface: Option<String>,
    #[serde(serialize_with = "optional_mac")]
    pub mac: Option<Mac>,
    pub addresses: Vec<IpAddr>,
    /// Of router ports.
    pub subnets: Vec<Prefix>,
    pub vlan: Option<i64>,
    pub vni: Option<i64>,
    pub tunnel_key: Option<u64>,
    /// Nova server id of a VM port; its name is not known to MidoNet.
    pub vm: Option<String>,
    pub inbound_chain: Option<Uuid>,
    pub outbound_chain: Option<Uuid>,
    pub security_groups: Vec<Uuid>,
    pub port_groups: Vec<Uuid>,
    pub floating_ips: Vec<Uuid>,
    pub routes: Vec<Uuid>,
    pub mirrors: Vec<Uuid>,
    pub container: Option<Uuid>,
    pub vtep: Option<Uuid>,
    pub qos_policy: Option<Uuid>,
    /// What the BGP daemon at this port says of its neighbours.
    pub bgp_status: Option<String>,
    /// Routes learned over BGP at this port.
    pub learned_routes: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortGroup {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub stateful: bool,
    pub ports: Vec<Uuid>,
}
