// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Entries of state tables, and routes.

use std::net::IpAddr;

use midonet::Mac;
use serde::Serialize;
use uuid::Uuid;

use super::{Prefix, mac, optional_mac};

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
