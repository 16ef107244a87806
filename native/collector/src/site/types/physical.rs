// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Hosts, tunnel zones and VTEPs.

use std::net::IpAddr;

use midonet::Mac;
use serde::Serialize;
use uuid::Uuid;

use super::{State, optional_mac};

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
