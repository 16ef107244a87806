// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Kinds of objects and their states.

use serde::Serialize;

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
    SecurityGroupRule,
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
    pub const ALL: [Kind; 23] = [
        Kind::Host,
        Kind::TunnelZone,
        Kind::Vtep,
        Kind::Network,
        Kind::Router,
        Kind::Port,
        Kind::Chain,
        Kind::Rule,
        Kind::SecurityGroup,
        Kind::SecurityGroupRule,
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
            Kind::SecurityGroupRule => "security_group_rule",
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
            Kind::SecurityGroupRule => "security group rule",
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
