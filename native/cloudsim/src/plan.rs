// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Plans a cloud from a size and a seed, and builds its NSDB through the translators.

use std::net::{IpAddr, Ipv4Addr};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

use crate::{
    ids,
    obj::{Kind, Obj, Val},
    size::Size,
    translate::{FloatingIp, Member, Network, Owner, Pool, Port, Router, SecurityGroup, SecurityGroupRule, Subnet, Translator, Vip},
    view::Learned,
    zoom::Zoom,
};

/// Addresses of the external network: those that RFC 2544 sets aside for tests.
const PUBLIC: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 16);
/// Administrators' addresses, from which SSH is allowed.
pub const ADMINS: (Ipv4Addr, u8) = (Ipv4Addr::new(203, 0, 113, 0), 24);
/// The tenant that owns the edge.
const ADMIN_TENANT: &str = "ad000000000040008000000000000001";
/// AS of the edge router; its peers have the ones above.
const LOCAL_AS: i32 = 64_513;

/// What a VM does; its traffic follows from it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    Web,
    App,
    Db,
    Batch,
    /// Without port security: bridges IPv6 and VLANs too.
    Trunk,
}

impl Role {
    const ALL: [Role; 5] = [Role::Web, Role::App, Role::Db, Role::Batch, Role::Trunk];

    pub fn name(self) -> &'static str {
        match self {
            Role::Web => "web",
            Role::App => "app",
            Role::Db => "db",
            Role::Batch => "batch",
            Role::Trunk => "trunk",
        }
    }
}

/// A planned host.
#[derive(Clone, Debug)]
pub struct HostPlan {
    pub id: Uuid,
    pub name: String,
    /// Its address on the underlay, on which its agent serves meters.
    pub address: Ipv4Addr,
    pub gateway: bool,
}

/// A tenant and what its VMs can be attached to.
#[derive(Clone, Debug)]
pub struct TenantPlan {
    pub id: String,
    pub router: Uuid,
    /// Network, subnet, first two octets of its prefix.
    pub networks: Vec<(Uuid, Uuid, Ipv4Addr)>,
    pub default_group: Uuid,
    pub web_group: Uuid,
    pub db_group: Uuid,
    /// The rule by which the web group lets HTTP in, and the one for HTTPS.
    pub web_rules: Vec<SecurityGroupRule>,
    /// VMs made so far, which names and addresses count on.
    pub made: u32,
}

/// A planned cloud with its NSDB.
#[derive(Debug)]
pub struct Plan {
    pub zoom: Zoom,
    pub hosts: Vec<HostPlan>,
    pub tenants: Vec<TenantPlan>,
    pub edge_router: Uuid,
    pub external_network: Uuid,
    pub learned: Vec<Learned>,
    pub vtep: Uuid,
    /// The VTEP's tunnel zone, and the host in it that floods for it.
    pub vtep_zone: Option<(Uuid, Uuid, Ipv4Addr)>,
    /// Where the randomness of later events goes on.
    pub rng: StdRng,
    /// Last octets used for MACs and floating addresses.
    macs: u32,
    floats: u32,
}

impl Plan {
    /// Builds the cloud. `underlay` is the prefix of the hosts' addresses, on the loopback so that their agents can be reached.
    pub fn build(size: Size, seed: u64, underlay: Ipv4Addr) -> Plan {
        let mut plan = Plan {
            zoom: Zoom::new(),
            hosts: Vec::new(),
            tenants: Vec::new(),
            edge_router: Uuid::nil(),
            external_network: Uuid::nil(),
            learned: Vec::new(),
            vtep: Uuid::nil(),
            vtep_zone: None,
            rng: StdRng::seed_from_u64(seed),
            macs: 0,
            floats: 0,
        };
        plan.add_hosts(size, underlay);
        let public_subnet = plan.add_edge();
        for tenant in 0..size.tenants {
            plan.add_tenant(tenant, size, public_subnet);
        }
        plan
    }

    /// A random id of version 4.
    pub fn fresh(&mut self) -> Uuid {
        fresh(&mut self.rng)
    }

    /// Runs Neutron requests.
    pub fn translate<T>(&mut self, work: impl FnOnce(&mut Translator<'_>) -> T) -> T {
        let rng = &mut self.rng;
        work(&mut Translator {
            zoom: &mut self.zoom,
            fresh: &mut || fresh(rng),
        })
    }

    /// Adds a VM to a tenant's network and binds it to a host; none if the network has no address left.
    pub fn add_vm(&mut self, tenant: usize, network: usize, role: Role, host: usize) -> Option<Uuid> {
        let id = self.fresh();
        let mac = self.next_mac();
        let device = self.fresh();
        let plan = &mut self.tenants[tenant];
        let number = plan.made;
        plan.made += 1;
        let (network_id, subnet, base) = plan.networks[network];
        let plan = plan.clone();
        // The first address from .20 on that nobody has: ports that went have left theirs.
        let used: std::collections::HashSet<IpAddr> = self
            .zoom
            .get(Kind::Dhcp, subnet)
            .into_iter()
            .flat_map(|dhcp| dhcp.all("hosts"))
            .filter_map(|host| host.field("ip_address")?.as_ip())
            .collect();
        let address = (20..=250u8)
            .map(|last| IpAddr::V4(Ipv4Addr::from_bits(base.to_bits() | u32::from(last))))
            .find(|address| !used.contains(address))?;
        let mut groups = vec![plan.default_group];
        match role {
            Role::Web => groups.push(plan.web_group),
            Role::Db => groups = vec![plan.db_group],
            _ => {}
        }
        let host = self.hosts[host].clone();
        let interface = tap_name(id);
        let port = Port {
            id,
            network: network_id,
            tenant: plan.id,
            name: format!("{}-{number}", role.name()),
            mac,
            fixed_ips: vec![(address, subnet)],
            owner: Owner::Compute,
            device: device.to_string(),
            security_groups: groups,
            binding: Some((host.name, None)),
            port_security: role != Role::Trunk,
            allowed_pairs: Vec::new(),
        };
        self.translate(|translator| {
            translator.port(&port);
            translator.bind(id, host.id, &interface);
        });
        Some(id)
    }

    /// Gives a VM a floating address.
    pub fn add_floating(&mut self, tenant: usize, port: Uuid) -> Option<Uuid> {
        let fixed = crate::translate::fixed_ips(self.zoom.get(Kind::NeutronPort, port)?).first()?.0;
        let id = self.fresh();
        let address = self.next_float();
        let fip = FloatingIp {
            id,
            tenant: self.tenants[tenant].id.clone(),
            network: self.external_network,
            address: IpAddr::V4(address),
            association: Some((self.tenants[tenant].router, port, fixed)),
        };
        self.translate(|translator| translator.floating_ip(&fip));
        Some(id)
    }

    /// Takes a floating address from its VM and gives it to another of the same tenant.
    pub fn move_floating(&mut self, fip: Uuid, port: Uuid) -> Option<()> {
        let stored = self.zoom.get(Kind::FloatingIp, fip)?;
        let fixed = crate::translate::fixed_ips(self.zoom.get(Kind::NeutronPort, port)?).first()?.0;
        let moved = FloatingIp {
            id: fip,
            tenant: stored.text("tenant_id")?.to_owned(),
            network: stored.uuid("floating_network_id")?,
            address: stored.ip("floating_ip_address")?,
            association: Some((stored.uuid("router_id")?, port, fixed)),
        };
        self.translate(|translator| {
            translator.disassociate(fip);
            translator.associate_floating_ip(&moved);
        });
        Some(())
    }

    fn next_mac(&mut self) -> String {
        self.macs += 1;
        let [_, a, b, c] = self.macs.to_be_bytes();
        format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}")
    }

    fn next_float(&mut self) -> Ipv4Addr {
        self.floats += 1;
        Ipv4Addr::from_bits(PUBLIC.0.to_bits() + 0x100 + self.floats)
    }

    fn add_hosts(&mut self, size: Size, underlay: Ipv4Addr) {
        let zone = self.fresh();
        let mut tunnel_zone = Obj::new(Kind::TunnelZone, zone)
            .with("name", "default_tz")
            .with("type", Val::Enum("VXLAN"));
        for index in 0..size.hosts + size.gateways {
            let gateway = index >= size.hosts;
            let name = if gateway {
                format!("gateway-{}", index - size.hosts + 1)
            } else {
                format!("compute-{}", index + 1)
            };
            // 250 addresses of each /24 from .1 on.
            let address = Ipv4Addr::from_bits(underlay.to_bits() + (index / 250) * 256 + index % 250 + 1);
            let id = self.fresh();
            self.zoom.create(Obj::new(Kind::Host, id).with("name", &name));
            tunnel_zone.add("hosts", vec![("host_id", Val::Id(id)), ("ip", Val::Ip(IpAddr::V4(address)))]);
            tunnel_zone.add("host_ids", id);
            self.hosts.push(HostPlan { id, name, address, gateway });
        }
        self.zoom.create(tunnel_zone);
        let vtep_zone = self.fresh();
        let mut zone = Obj::new(Kind::TunnelZone, vtep_zone)
            .with("name", "vtep_tz")
            .with("type", Val::Enum("VTEP"));
        for host in self.hosts.iter().filter(|host| host.gateway) {
            zone.add("hosts", vec![("host_id", Val::Id(host.id)), ("ip", Val::Ip(IpAddr::V4(host.address)))]);
            zone.add("host_ids", host.id);
            self.vtep_zone.get_or_insert((vtep_zone, host.id, host.address));
        }
        self.zoom.create(zone);
        self.vtep = self.fresh();
        self.zoom.create(
            Obj::new(Kind::Vtep, self.vtep)
                .with("management_ip", Ipv4Addr::new(192, 0, 2, 10))
                .with("management_port", 6632u64)
                .with("tunnel_zone_id", vtep_zone),
        );
    }

    /// The external network, and the edge router with an uplink on each gateway host. Gives the external subnet.
    fn add_edge(&mut self) -> Uuid {
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

    fn router_port(&mut self, network: Uuid, subnet: Uuid, address: IpAddr, router: Uuid, tenant: &str, name: &str) -> Uuid {
        let port = Port {
            id: self.fresh(),
            network,
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            mac: self.next_mac(),
            fixed_ips: vec![(address, subnet)],
            owner: Owner::RouterInterface,
            device: router.to_string(),
            security_groups: Vec::new(),
            binding: None,
            port_security: true,
            allowed_pairs: Vec::new(),
        };
        self.translate(|translator| translator.port(&port));
        port.id
    }

    fn add_tenant(&mut self, index: u32, size: Size, public_subnet: Uuid) {
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

/// The name of a VM's tap interface.
pub fn tap_name(port: Uuid) -> String {
    format!("tap{}", &port.to_string()[..11])
}

fn fresh(rng: &mut StdRng) -> Uuid {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
