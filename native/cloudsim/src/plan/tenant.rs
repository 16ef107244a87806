// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a tenant has: a router, networks, security groups, VMs, floating addresses, a load balancer.

use std::net::{IpAddr, Ipv4Addr};

use rand::{Rng, seq::IndexedRandom};
use uuid::Uuid;

use super::{ADMINS, Plan, Role, TenantPlan, fresh};
use crate::{
    obj::{Kind, Obj},
    size::Size,
    translate::{Member, Network, Owner, Pool, Port, Router, SecurityGroup, SecurityGroupRule, Subnet, Vip},
};

impl Plan {
    pub(super) fn add_tenant(&mut self, index: u32, size: Size, public_subnet: Uuid) {
        let id = self.fresh().simple().to_string();
        let router = self.fresh();
        let gateway = Port {
            id: self.fresh(),
            network: self.external_network,
            // Neutron leaves the tenant of gateway ports empty.
            tenant: String::new(),
            name: String::new(),
            mac: self.next_mac(),
            fixed_ips: vec![(IpAddr::V4(self.next_float()), public_subnet)],
            owner: Owner::RouterGateway,
            device: router.to_string(),
            security_groups: Vec::new(),
            binding: None,
            port_security: true,
            allowed_pairs: Vec::new(),
        };
        let tenant_router = Router {
            id: router,
            tenant: id.clone(),
            name: format!("router-{}", index + 1),
            gateway: Some((gateway.id, true)),
        };
        self.translate(|translator| {
            translator.port(&gateway);
            translator.router(&tenant_router);
        });
        let mut plan = TenantPlan {
            id: id.clone(),
            router,
            networks: Vec::new(),
            default_group: Uuid::nil(),
            web_group: Uuid::nil(),
            db_group: Uuid::nil(),
            web_rules: Vec::new(),
            made: 0,
        };
        self.add_groups(&mut plan);
        for number in 0..size.networks {
            let network = self.add_network(&id, router, index, number);
            plan.networks.push(network);
        }
        self.tenants.push(plan);
        let tenant = index as usize;
        let mut web = Vec::new();
        for network in 0..size.networks as usize {
            for number in 0..size.vms {
                let role = match number {
                    // Two trunk VMs talk IPv6 and VLANs to each other, where there are VMs enough beside them.
                    _ if size.vms > 4 && number + 2 >= size.vms => Role::Trunk,
                    _ => Role::ALL[(number as usize + network) % 4],
                };
                let host = self.rng.random_range(0..size.hosts) as usize;
                let Some(port) = self.add_vm(tenant, network, role, host) else {
                    continue;
                };
                if role == Role::Web {
                    web.push((network, port));
                }
            }
        }
        for (_, port) in web.iter().take(3) {
            self.add_floating(tenant, *port);
        }
        // Every second tenant has a load balancer on its first network.
        if index.is_multiple_of(2) {
            self.add_balancer(tenant, &web);
        }
        if index.is_multiple_of(3) {
            self.add_qos(&id, web.first().map(|(_, port)| *port));
        }
    }

    fn add_network(&mut self, tenant: &str, router: Uuid, index: u32, number: u32) -> (Uuid, Uuid, Ipv4Addr) {
        let (network, subnet, dhcp) = (self.fresh(), self.fresh(), self.fresh());
        // Tenants use the same prefixes, as they do in real clouds: every fourth one has the same.
        let base = Ipv4Addr::new(10, (index % 4) as u8, number as u8, 0);
        let at = |last: u8| IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() | u32::from(last)));
        let mac = self.next_mac();
        let net = Network {
            id: network,
            tenant: tenant.to_owned(),
            name: format!("net-{}-{}", index + 1, number + 1),
            shared: false,
            external: false,
            uplink: false,
        };
        let sub = Subnet {
            id: subnet,
            network,
            tenant: tenant.to_owned(),
            name: format!("subnet-{}-{}", index + 1, number + 1),
            cidr: (IpAddr::V4(base), 24),
            gateway: Some(at(1)),
            pools: vec![(at(2), at(254))],
            dns: vec![IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9))],
            routes: Vec::new(),
            dhcp: true,
        };
        let server = Port {
            id: dhcp,
            network,
            tenant: tenant.to_owned(),
            name: String::new(),
            mac,
            fixed_ips: vec![(at(2), subnet)],
            owner: Owner::Dhcp,
            device: format!("dhcp-{network}"),
            security_groups: Vec::new(),
            binding: None,
            port_security: true,
            allowed_pairs: Vec::new(),
        };
        self.translate(|translator| {
            translator.network(&net);
            translator.subnet(&sub);
            translator.port(&server);
        });
        let port = self.router_port(network, subnet, at(1), router, tenant, "");
        self.translate(|translator| translator.router_interface(router, port, None));
        (network, subnet, base)
    }

    fn add_groups(&mut self, plan: &mut TenantPlan) {
        let any = Some((IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
        plan.default_group = self.fresh();
        plan.web_group = self.fresh();
        plan.db_group = self.fresh();
        let mut rule = |group: Uuid, ingress: bool| SecurityGroupRule {
            id: fresh(&mut self.rng),
            tenant: plan.id.clone(),
            group,
            ingress,
            ipv6: false,
            protocol: None,
            ports: None,
            remote_group: None,
            remote_prefix: None,
        };
        let tcp = |base: SecurityGroupRule, port: i64| SecurityGroupRule {
            protocol: Some("TCP"),
            ports: Some((port, port)),
            ..base
        };
        let own = Some(plan.default_group);
        let default = vec![
            rule(plan.default_group, false),
            SecurityGroupRule {
                ipv6: true,
                ..rule(plan.default_group, false)
            },
            SecurityGroupRule {
                remote_group: own,
                ..rule(plan.default_group, true)
            },
            SecurityGroupRule {
                ipv6: true,
                remote_group: own,
                ..rule(plan.default_group, true)
            },
        ];
        let web = vec![
            SecurityGroupRule {
                remote_prefix: any,
                ..tcp(rule(plan.web_group, true), 80)
            },
            SecurityGroupRule {
                remote_prefix: any,
                ..tcp(rule(plan.web_group, true), 443)
            },
            SecurityGroupRule {
                remote_prefix: Some((IpAddr::V4(ADMINS.0), ADMINS.1)),
                ..tcp(rule(plan.web_group, true), 22)
            },
            SecurityGroupRule {
                protocol: Some("ICMP"),
                ..rule(plan.web_group, true)
            },
        ];
        // Databases answer the default group and may only resolve names by themselves.
        let db = vec![
            SecurityGroupRule {
                protocol: Some("UDP"),
                ports: Some((53, 53)),
                ..rule(plan.db_group, false)
            },
            SecurityGroupRule {
                remote_group: own,
                ..tcp(rule(plan.db_group, true), 5432)
            },
        ];
        plan.web_rules = web[..2].to_vec();
        let groups = [
            (plan.default_group, "default", "Default security group", default),
            (plan.web_group, "web", "Web servers", web),
            (plan.db_group, "db", "Databases", db),
        ];
        for (id, name, description, rules) in groups {
            let group = SecurityGroup {
                id,
                tenant: plan.id.clone(),
                name: name.to_owned(),
                description: description.to_owned(),
                rules,
            };
            self.translate(|translator| translator.security_group(&group));
        }
    }

    fn add_balancer(&mut self, tenant: usize, web: &[(usize, Uuid)]) {
        let members: Vec<IpAddr> = web
            .iter()
            .filter(|(network, _)| *network == 0)
            .filter_map(|(_, port)| Some(crate::translate::fixed_ips(self.zoom.get(Kind::NeutronPort, *port)?).first()?.0))
            .collect();
        if members.is_empty() {
            return;
        }
        let plan = self.tenants[tenant].clone();
        let (network, subnet, base) = plan.networks[0];
        let address = IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() | 10));
        let pool = Pool {
            id: self.fresh(),
            tenant: plan.id.clone(),
            name: "web-pool".to_owned(),
            subnet,
            router: plan.router,
        };
        let port = Port {
            id: self.fresh(),
            network,
            tenant: plan.id.clone(),
            name: String::new(),
            mac: self.next_mac(),
            fixed_ips: vec![(address, subnet)],
            owner: Owner::LoadBalancer,
            device: String::new(),
            security_groups: Vec::new(),
            binding: None,
            port_security: true,
            allowed_pairs: Vec::new(),
        };
        let vip = Vip {
            id: self.fresh(),
            tenant: plan.id.clone(),
            name: "web-vip".to_owned(),
            pool: pool.id,
            subnet,
            neutron_port: port.id,
            address,
            port: 80,
            sticky: false,
        };
        let members: Vec<Member> = members
            .into_iter()
            .map(|address| Member {
                id: fresh(&mut self.rng),
                tenant: plan.id.clone(),
                pool: pool.id,
                address,
                port: 80,
                weight: 1,
            })
            .collect();
        self.translate(|translator| {
            translator.pool(&pool);
            members.iter().for_each(|member| translator.pool_member(member));
            translator.port(&port);
            translator.vip(&vip);
        });
    }

    fn add_qos(&mut self, tenant: &str, port: Option<Uuid>) {
        let (policy, limit) = (self.fresh(), self.fresh());
        let kbps = *[10_000, 50_000, 100_000].choose(&mut self.rng).unwrap_or(&10_000);
        self.zoom.create(
            Obj::new(Kind::QosPolicy, policy)
                .with("name", "web-limit")
                .with("description", "")
                .with("shared", false)
                .with("tenant_id", tenant),
        );
        self.zoom.create(
            Obj::new(Kind::QosRuleBandwidthLimit, limit)
                .with("max_kbps", kbps)
                .with("max_burst_kb", kbps / 10)
                .with("policy_id", policy),
        );
        if let Some(port) = port {
            self.zoom.update(Kind::NeutronPort, port, |port| port.set("qos_policy_id", policy));
            self.zoom.update(Kind::Port, port, |port| port.set("qos_policy_id", policy));
        }
    }
}
