// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The edge of the cloud: the external network, the edge router and its uplinks.

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;

use super::{ADMIN_TENANT, ADMINS, HostPlan, LOCAL_AS, PUBLIC, Plan};
use crate::{
    ids,
    obj::{Kind, Obj},
    translate::{Network, Owner, Port, Router, Subnet},
    view::Learned,
};

impl Plan {
    /// The external network, and the edge router with an uplink on each gateway host. Gives the external subnet.
    pub(super) fn add_edge(&mut self) -> Uuid {
        let (network, subnet, router) = (self.fresh(), self.fresh(), self.fresh());
        self.external_network = network;
        self.edge_router = router;
        let gateway = Ipv4Addr::from_bits(PUBLIC.0.to_bits() + 1);
        let tenant = ADMIN_TENANT.to_owned();
        let external = Network {
            id: network,
            tenant: tenant.clone(),
            name: "public".to_owned(),
            shared: false,
            external: true,
            uplink: false,
        };
        let public = Subnet {
            id: subnet,
            network,
            tenant: tenant.clone(),
            name: "public-subnet".to_owned(),
            cidr: (IpAddr::V4(PUBLIC.0), PUBLIC.1),
            gateway: Some(IpAddr::V4(gateway)),
            pools: vec![(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 10)), IpAddr::V4(Ipv4Addr::new(198, 18, 255, 250)))],
            dns: Vec::new(),
            routes: Vec::new(),
            dhcp: false,
        };
        let edge = Router {
            id: router,
            tenant: tenant.clone(),
            name: "edge-router".to_owned(),
            gateway: None,
        };
        self.translate(|translator| {
            translator.network(&external);
            translator.subnet(&public);
            translator.router(&edge);
        });
        let gateways: Vec<HostPlan> = self.hosts.iter().filter(|host| host.gateway).cloned().collect();
        for (number, host) in (0u8..).zip(&gateways) {
            self.add_uplink(number, host, &tenant);
        }
        let port = self.router_port(network, subnet, IpAddr::V4(gateway), router, &tenant, "edge-external");
        self.translate(|translator| translator.router_interface(router, port, None));
        let advertised = self.fresh();
        self.zoom
            .create(Obj::new(Kind::BgpNetwork, advertised).with("subnet", PUBLIC).with("router_id", router));
        self.zoom.update(Kind::Router, router, |router| router.set("as_number", LOCAL_AS));
        subnet
    }

    fn add_uplink(&mut self, number: u8, host: &HostPlan, tenant: &str) {
        let (network, subnet, port, peer) = (self.fresh(), self.fresh(), self.fresh(), self.fresh());
        let base = Ipv4Addr::new(10, 88, number, 0);
        let at = |last: u8| IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() | u32::from(last)));
        let mac = self.next_mac();
        let uplink = Network {
            id: network,
            tenant: tenant.to_owned(),
            name: format!("uplink-{}", number + 1),
            shared: false,
            external: false,
            uplink: true,
        };
        let wire = Subnet {
            id: subnet,
            network,
            tenant: tenant.to_owned(),
            name: format!("uplink-subnet-{}", number + 1),
            cidr: (IpAddr::V4(base), 24),
            gateway: Some(at(2)),
            pools: vec![(at(1), at(1))],
            dns: Vec::new(),
            routes: Vec::new(),
            dhcp: false,
        };
        let neutron = Port {
            id: port,
            network,
            tenant: tenant.to_owned(),
            name: format!("uplink-port-{}", number + 1),
            mac,
            fixed_ips: vec![(at(1), subnet)],
            owner: Owner::RouterInterface,
            device: self.edge_router.to_string(),
            security_groups: Vec::new(),
            binding: Some((host.name.clone(), Some("eth1".to_owned()))),
            port_security: true,
            allowed_pairs: Vec::new(),
        };
        let (router, host_id) = (self.edge_router, host.id);
        self.translate(|translator| {
            translator.network(&uplink);
            translator.subnet(&wire);
            translator.port(&neutron);
            translator.router_interface(router, port, Some((host_id, "eth1")));
        });
        self.zoom.create(
            Obj::new(Kind::BgpPeer, peer)
                .with("as_number", LOCAL_AS + 1 + i32::from(number))
                .with("address", at(2))
                .with("keep_alive", 60)
                .with("hold_time", 180)
                .with("connect_retry", 120)
                .with("router_id", router)
                .with("password", format!("bgp-secret-{}", number + 1)),
        );
        let router_port = ids::router_interface_port(port);
        let gateway = Ipv4Addr::from_bits(base.to_bits() | 2);
        for dst in [(Ipv4Addr::UNSPECIFIED, 0), (ADMINS.0, ADMINS.1), (Ipv4Addr::new(192, 0, 2, 0), 24)] {
            self.learned.push(Learned {
                port: router_port,
                dst,
                gateway,
            });
        }
    }
}
