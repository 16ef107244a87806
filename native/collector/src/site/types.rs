// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Typed views of a site's objects, as pages, reports and the API show them.
//!
//! Views are values made on demand from a [`Site`](super::Site) snapshot. What they derive (names, tenants, kinds of ports, states) follows
//! MidoNet's own definitions. Lists of ids keep the order that MidoNet gives them where it means something (rules of a chain), else they
//! are as stored.

use std::{fmt, net::IpAddr};

use midonet::Mac;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// What an object is, for navigation: one page per kind.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Host,
    TunnelZone,
    Vtep,
    Network,
    Router,
    Port,
    Chain,
    Rule,
    SecurityGroup,
    PortGroup,
    LoadBalancer,
    Pool,
    PoolMember,
    Vip,
    HealthMonitor,
    FloatingIp,
    Subnet,
    Mirror,
    Route,
    BgpPeer,
    BgpNetwork,
    QosPolicy,
    /// An object of a class without a page of its own; its configuration can be shown.
    Other,
}

impl Kind {
    /// Kinds with lists and pages of their own, in the order of navigation.
    pub const ALL: [Kind; 22] = [
        Kind::Host,
        Kind::TunnelZone,
        Kind::Vtep,
        Kind::Network,
        Kind::Router,
        Kind::Port,
        Kind::Chain,
        Kind::Rule,
        Kind::SecurityGroup,
        Kind::PortGroup,
        Kind::LoadBalancer,
        Kind::Pool,
        Kind::PoolMember,
        Kind::Vip,
        Kind::HealthMonitor,
        Kind::FloatingIp,
        Kind::Subnet,
        Kind::Mirror,
        Kind::Route,
        Kind::BgpPeer,
        Kind::BgpNetwork,
        Kind::QosPolicy,
    ];

    /// The name in URLs and JSON, for example `load_balancer`.
    pub fn slug(self) -> &'static str {
        match self {
            Kind::Host => "host",
            Kind::TunnelZone => "tunnel_zone",
            Kind::Vtep => "vtep",
            Kind::Network => "network",
            Kind::Router => "router",
            Kind::Port => "port",
            Kind::Chain => "chain",
            Kind::Rule => "rule",
            Kind::SecurityGroup => "security_group",
            Kind::PortGroup => "port_group",
            Kind::LoadBalancer => "load_balancer",
            Kind::Pool => "pool",
            Kind::PoolMember => "pool_member",
            Kind::Vip => "vip",
            Kind::HealthMonitor => "health_monitor",
            Kind::FloatingIp => "floating_ip",
            Kind::Subnet => "subnet",
            Kind::Mirror => "mirror",
            Kind::Route => "route",
            Kind::BgpPeer => "bgp_peer",
            Kind::BgpNetwork => "bgp_network",
            Kind::QosPolicy => "qos_policy",
            Kind::Other => "object",
        }
    }

    /// The name in text, for example `load balancer`.
    pub fn label(self) -> &'static str {
        match self {
            Kind::TunnelZone => "tunnel zone",
            Kind::Vtep => "VTEP",
            Kind::SecurityGroup => "security group",
            Kind::PortGroup => "port group",
            Kind::LoadBalancer => "load balancer",
            Kind::PoolMember => "pool member",
            Kind::Vip => "VIP",
            Kind::HealthMonitor => "health monitor",
            Kind::FloatingIp => "floating IP",
            Kind::BgpPeer => "BGP peer",
            Kind::BgpNetwork => "BGP network",
            Kind::QosPolicy => "QoS policy",
            other => other.slug(),
        }
    }

    pub fn from_slug(slug: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.slug() == slug)
    }
}

/// Operational state. Shapes and colours belong to the pages.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Up,
    /// Up in part, for example a tunnel zone with a dead host.
    Degraded,
    Down,
    /// Switched off by its owner (`admin_state_up: false`), or not plugged in.
    Off,
    /// MidoNet keeps no state for it, or the state was withheld by the site.
    Unknown,
}

/// An address with a prefix length. The address keeps its host part where it has one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.length.min(32));
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.length.min(128));
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl Prefix {
    /// Whether there is a host part and no bit of it is set.
    pub fn is_network(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => u32::from(address).checked_shl(u32::from(self.length)) == Some(0),
            IpAddr::V6(address) => u128::from(address).checked_shl(u32::from(self.length)) == Some(0),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What every object has: enough for a link, a search result or a breadcrumb.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Described {
    pub id: Uuid,
    pub kind: Kind,
    /// MidoNet's class, for example `NeutronSubnet`.
    pub class: String,
    /// The name to show: MidoNet's own, or one derived from what the object is; never empty.
    pub name: String,
    /// OpenStack project id.
    pub tenant: Option<String>,
    pub state: State,
    /// Since when the state holds, µs since the epoch.
    pub since_us: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    pub id: Uuid,
    pub name: String,
    /// [`State::Up`] while the agent's session lives.
    pub state: State,
    /// When the agent came or, when it is down, went.
    pub since_us: Option<i64>,
    /// Of now, or the last ones known when the host is down.
    pub interfaces: Vec<Interface>,
    /// False when `interfaces` are those of before the host went down.
    pub interfaces_current: bool,
    /// Underlay address per tunnel zone.
    pub tunnels: Vec<TunnelEnd>,
    /// Ports bound here.
    pub ports: Vec<Uuid>,
    /// How many of `ports` are up.
    pub ports_up: usize,
    /// Service containers that run here, as the agent says.
    pub containers: Option<i64>,
    pub container_weight: i64,
    pub flooding_proxy_weight: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interface {
    pub name: String,
    /// `PHYSICAL`, `VIRTUAL`, `TUNNEL` or `UNKNOWN`.
    pub kind: String,
    #[serde(serialize_with = "optional_mac")]
    pub mac: Option<Mac>,
    pub addresses: Vec<IpAddr>,
    pub up: bool,
    pub has_link: bool,
    pub mtu: Option<i64>,
    /// Datapath endpoint, for example `TUNTAP_EP`.
    pub endpoint: Option<String>,
    /// The virtual port bound to this interface.
    pub port: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TunnelEnd {
    pub zone: Uuid,
    pub host: Uuid,
    pub address: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TunnelZone {
    pub id: Uuid,
    pub name: String,
    /// `gre`, `vxlan` or `vtep`.
    pub encapsulation: String,
    pub state: State,
    pub ends: Vec<TunnelEnd>,
    pub hosts_up: usize,
    /// Host and address of the flooding proxy.
    pub flooding_proxy: Option<(Uuid, IpAddr)>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vtep {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    pub state: State,
    pub management: Option<IpAddr>,
    pub management_port: Option<i64>,
    pub tunnel_addresses: Vec<IpAddr>,
    pub tunnel_zone: Option<Uuid>,
    pub bindings: Vec<VtepBinding>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VtepBinding {
    pub port_name: String,
    pub vlan: Option<i64>,
    pub network: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Network {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub state: State,
    pub admin_up: bool,
    /// Neutron's `router:external`.
    pub external: bool,
    /// A Neutron uplink network has no virtual device, only ports of the edge router.
    pub uplink: bool,
    pub shared: bool,
    pub vni: Option<i64>,
    pub ports: Vec<Uuid>,
    pub subnets: Vec<Uuid>,
    pub inbound_chain: Option<Uuid>,
    pub outbound_chain: Option<Uuid>,
    pub mirrors: Vec<Uuid>,
    pub qos_policy: Option<Uuid>,
    /// Routers linked to it.
    pub routers: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Router {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub state: State,
    pub admin_up: bool,
    /// Owns at least one uplink port.
    pub edge: bool,
    pub as_number: Option<i64>,
    pub ports: Vec<Uuid>,
    pub uplinks: Vec<Uuid>,
    /// Port towards an external network.
    pub gateway: Option<Uuid>,
    /// Networks linked to it.
    pub networks: Vec<Uuid>,
    /// Configured routes, of the router and of its ports.
    pub routes: Vec<Uuid>,
    pub inbound_chain: Option<Uuid>,
    pub outbound_chain: Option<Uuid>,
    pub forward_chain: Option<Uuid>,
    pub redirect_chain: Option<Uuid>,
    pub load_balancer: Option<Uuid>,
    pub bgp_peers: Vec<Uuid>,
    pub bgp_networks: Vec<Uuid>,
    pub mirrors: Vec<Uuid>,
}

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
pub struct Chain {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    /// In the order of evaluation.
    pub rules: Vec<Uuid>,
    pub used_by: Vec<ChainUse>,
}

/// Where a chain hangs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ChainUse {
    pub kind: Kind,
    pub id: Uuid,
    /// For example `inbound filter`, `forward chain`, `jump`.
    pub role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    pub id: Uuid,
    pub chain: Option<Uuid>,
    /// Place in its chain, from 1.
    pub position: Option<usize>,
    /// `ACCEPT`, `DROP`, `JUMP`, …
    pub action: String,
    /// `LITERAL_RULE`, `NAT_RULE`, …
    pub rule_type: String,
    /// The whole rule in words, for example `accept TCP to port 443 from group web`.
    pub text: String,
    pub jump_to: Option<Uuid>,
    pub security_groups: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecurityGroup {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    pub tenant: Option<String>,
    pub rules: Vec<SecurityGroupRule>,
    pub members: Vec<GroupMember>,
    pub inbound_chain: Option<Uuid>,
    pub outbound_chain: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecurityGroupRule {
    pub id: Uuid,
    /// True: towards the VM.
    pub ingress: bool,
    pub text: String,
    pub remote_group: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupMember {
    pub address: IpAddr,
    pub ports: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortGroup {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub stateful: bool,
    pub ports: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadBalancer {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub admin_up: bool,
    pub state: State,
    pub router: Option<Uuid>,
    pub pools: Vec<Uuid>,
    pub container: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub admin_up: bool,
    pub state: State,
    pub load_balancer: Option<Uuid>,
    pub protocol: String,
    pub method: String,
    pub members: Vec<Uuid>,
    pub members_up: usize,
    pub vips: Vec<Uuid>,
    pub health_monitor: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolMember {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub admin_up: bool,
    pub state: State,
    pub pool: Option<Uuid>,
    pub address: Option<IpAddr>,
    pub port: Option<i64>,
    pub weight: Option<i64>,
    /// The network port that has the address, if one network of the pool's tenant has it.
    pub network_port: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vip {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub admin_up: bool,
    pub address: Option<IpAddr>,
    pub port: Option<i64>,
    pub pool: Option<Uuid>,
    pub gateway_port: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthMonitor {
    pub id: Uuid,
    pub admin_up: bool,
    pub monitor_type: String,
    pub delay_s: Option<i64>,
    pub timeout_s: Option<i64>,
    pub max_retries: Option<i64>,
    pub pools: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FloatingIp {
    pub id: Uuid,
    pub tenant: Option<String>,
    pub address: Option<IpAddr>,
    pub fixed_address: Option<IpAddr>,
    pub network: Option<Uuid>,
    pub router: Option<Uuid>,
    /// Set when associated.
    pub port: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Subnet {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    pub network: Option<Uuid>,
    pub prefix: Option<Prefix>,
    pub gateway: Option<IpAddr>,
    pub dhcp: bool,
    pub dns: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BgpPeer {
    pub id: Uuid,
    pub router: Option<Uuid>,
    pub address: Option<IpAddr>,
    pub as_number: Option<i64>,
    /// From what the BGP daemon says at the router's uplinks.
    pub state: State,
    /// The daemon's own word, for example `Established`.
    pub session: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mirror {
    pub id: Uuid,
    pub to_port: Option<Uuid>,
    /// In words, one per condition.
    pub conditions: Vec<String>,
    pub networks: Vec<Uuid>,
    pub routers: Vec<Uuid>,
    pub ports: Vec<Uuid>,
}

/// A route, configured or learned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// `None` for a learned route.
    pub id: Option<Uuid>,
    pub router: Option<Uuid>,
    pub source: Option<Prefix>,
    pub destination: Option<Prefix>,
    /// `PORT`, `LOCAL`, `BLACKHOLE`, `REJECT`, `FIP64` or `BGP` for a learned one.
    pub next_hop: String,
    pub gateway: Option<IpAddr>,
    pub port: Option<Uuid>,
    pub weight: i64,
}

/// An entry of a network's MAC table: the one that is in force for its MAC and VLAN.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct MacEntry {
    pub vlan: u16,
    #[serde(serialize_with = "mac")]
    pub mac: Mac,
    pub port: Uuid,
    /// Learned from traffic; else configured.
    pub learned: bool,
}

/// An entry of a network's IPv4 to MAC table, or of a port's peering table.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct IpMacEntry {
    pub address: IpAddr,
    #[serde(serialize_with = "mac")]
    pub mac: Mac,
    pub learned: bool,
}

/// An entry of a router's ARP table. Times are by the agent's clock.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ArpEntry {
    pub address: IpAddr,
    /// `None` while nobody has answered.
    #[serde(serialize_with = "optional_mac")]
    pub mac: Option<Mac>,
    pub expiry_ms: i64,
    pub stale_ms: i64,
    pub last_arp_ms: i64,
}

/// A translation between an IPv6 floating address and an IPv4 fixed one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fip64Entry {
    pub fixed: IpAddr,
    pub floating: IpAddr,
    pub port: Uuid,
    pub router: Uuid,
}

/// Numbers of the dashboard.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    pub hosts: usize,
    pub hosts_up: usize,
    pub networks: usize,
    pub routers: usize,
    pub edge_routers: usize,
    pub ports: usize,
    pub ports_bound: usize,
    pub ports_up: usize,
    pub vm_ports: usize,
    pub uplinks: usize,
    pub tunnel_zones: usize,
    pub vteps: usize,
    pub load_balancers: usize,
    pub floating_ips: usize,
    pub security_groups: usize,
    pub chains: usize,
    pub rules: usize,
    pub tenants: usize,
    /// Objects of all classes.
    pub objects: usize,
}

/// A tenant: MidoNet knows its id only.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Tenant {
    pub id: String,
    pub networks: usize,
    pub routers: usize,
    pub ports: usize,
}

/// A link of the drawing: two devices joined by a pair of ports, or a device and what is plugged in.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Link {
    /// Device on this side.
    pub from: Uuid,
    pub from_port: Uuid,
    /// Device on the other side.
    pub to: Uuid,
    pub to_port: Uuid,
}

/// A hit of the search for devices.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Found {
    pub object: Described,
    /// What matched, for example `name` or `address 10.0.0.5`.
    pub matched: String,
}

fn mac<S: Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(mac)
}

fn optional_mac<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
    match mac {
        Some(mac) => serializer.collect_str(mac),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_their_own_addresses_only() {
        let prefix = Prefix {
            address: "10.1.2.3".parse().unwrap(),
            length: 24,
        };
        assert!(prefix.contains("10.1.2.255".parse().unwrap()));
        assert!(!prefix.contains("10.1.3.0".parse().unwrap()));
        let all = Prefix {
            address: "0.0.0.0".parse().unwrap(),
            length: 0,
        };
        assert!(all.contains("255.0.0.1".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        let all = Prefix {
            address: "::".parse().unwrap(),
            length: 0,
        };
        assert!(all.contains("2001:db8::1".parse().unwrap()));
    }
}
