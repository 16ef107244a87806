// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Networks, routers, their ports, and what hangs on them.

use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::{Prefix, State};

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
