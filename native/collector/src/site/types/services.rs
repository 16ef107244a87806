// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Load balancers and floating addresses.

use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::State;

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
