// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What describes a site as a whole, and any object in it.

use serde::Serialize;
use uuid::Uuid;

use super::{Kind, State};

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

/// Numbers of the dashboard.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
    pub hosts: usize,
    pub hosts_up: usize,
    pub networks: usize,
    pub routers: usize,
    pub edge_routers: usize,
    pub ports: usize,
    /// At an interface of a host; without those of Neutron's DHCP, whose service agents do themselves.
    pub ports_bound: usize,
    /// Of `ports_bound`.
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
