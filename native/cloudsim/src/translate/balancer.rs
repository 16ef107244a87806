// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::Translator;
use crate::{
    ids,
    obj::{Kind, Obj, Val},
};

/// A pool of LBaaS v1.
#[derive(Clone, Debug)]
pub struct Pool {
    pub id: Uuid,
    pub tenant: String,
    pub name: String,
    pub subnet: Uuid,
    pub router: Uuid,
}

/// A member of a pool.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: Uuid,
    pub tenant: String,
    pub pool: Uuid,
    pub address: IpAddr,
    pub port: i32,
    pub weight: i32,
}

/// A virtual address of a pool.
#[derive(Clone, Debug)]
pub struct Vip {
    pub id: Uuid,
    pub tenant: String,
    pub name: String,
    pub pool: Uuid,
    pub subnet: Uuid,
    /// Its Neutron port.
    pub neutron_port: Uuid,
    pub address: IpAddr,
    pub port: i32,
    pub sticky: bool,
}

impl Translator<'_> {
    pub fn pool(&mut self, pool: &Pool) {
        self.zoom.create(
            Obj::new(Kind::NeutronLoadBalancerPool, pool.id)
                .with("tenant_id", &pool.tenant)
                .with("name", &pool.name)
                .with("description", "")
                .with("admin_state_up", true)
                .with("lb_method", "ROUND_ROBIN")
                .with("subnet_id", pool.subnet)
                .with("protocol", "TCP")
                .with("router_id", pool.router)
                .with("status", "ACTIVE"),
        );
        let balancer = ids::router_load_balancer(pool.router);
        if !self.zoom.has(Kind::LoadBalancer, balancer) {
            self.zoom.create(
                Obj::new(Kind::LoadBalancer, balancer)
                    .with("admin_state_up", true)
                    .with("router_id", pool.router),
            );
        }
        self.zoom.create(
            Obj::new(Kind::Pool, pool.id)
                .with("load_balancer_id", balancer)
                .with("admin_state_up", true),
        );
    }

    pub fn pool_member(&mut self, member: &Member) {
        self.zoom.create(
            Obj::new(Kind::NeutronLoadBalancerPoolMember, member.id)
                .with("tenant_id", &member.tenant)
                .with("pool_id", member.pool)
                .with("address", member.address)
                .with("admin_state_up", true)
                .with("protocol_port", member.port)
                .with("weight", member.weight)
                .with("status", "ACTIVE"),
        );
        self.zoom.create(
            Obj::new(Kind::PoolMember, member.id)
                .with("admin_state_up", true)
                .with("pool_id", member.pool)
                .with("status", Val::Enum("ACTIVE"))
                .with("address", member.address)
                .with("protocol_port", member.port)
                .with("weight", member.weight),
        );
    }

    pub fn vip(&mut self, vip: &Vip) {
        let mut neutron = Obj::new(Kind::NeutronVIP, vip.id)
            .with("tenant_id", &vip.tenant)
            .with("subnet_id", vip.subnet)
            .with("name", &vip.name)
            .with("address", vip.address)
            .with("pool_id", vip.pool)
            .with("port_id", vip.neutron_port)
            .with("description", "")
            .with("admin_state_up", true)
            .with("protocol", "TCP")
            .with("protocol_port", vip.port)
            .with("connection_limit", -1)
            .with("status", "ACTIVE");
        let mut topology = Obj::new(Kind::Vip, vip.id)
            .with("admin_state_up", true)
            .with("pool_id", vip.pool)
            .with("address", vip.address)
            .with("protocol_port", vip.port);
        if vip.sticky {
            neutron.add("session_persistence", vec![("type", Val::Enum("SOURCE_IP"))]);
            topology.add("session_persistence", Val::Enum("SOURCE_IP"));
        }
        self.zoom.create(neutron);
        self.zoom.create(topology);
    }
}
