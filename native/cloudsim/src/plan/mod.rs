// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Plans a cloud from a size and a seed, and builds its NSDB through the translators.

mod edge;
mod tenant;

use std::net::{IpAddr, Ipv4Addr};

use rand::{RngCore, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::{
    obj::{Kind, Obj, Val},
    size::Size,
    translate::{FloatingIp, Owner, Port, SecurityGroupRule, Translator},
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
