// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From the objects of the NSDB to a [`View`].

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use midonet::{Mac, flow::RuleResult};
use uuid::Uuid;

use super::{
    Balancer, BalancerVip, Chain, Condition, DeviceRef, Effect, Hop, Host, Index, Learned, Network, PEER_MAC, Port, Route, Router, Rule, View,
};
use crate::{
    obj::{Kind, Obj, Val},
    translate::fixed_ips,
    zoom::Zoom,
};

/// Datapath port number of a host's first bound port; the ones below are the datapath's own and its tunnel ports.
const FIRST_DP_PORT: u32 = 5;

impl View {
    pub fn compile(zoom: &Zoom, learned: &[Learned]) -> View {
        let mut view = View {
            tenants: vec![String::new()],
            ..View::default()
        };
        let mut tenants: HashMap<String, Index> = HashMap::from([(String::new(), 0)]);
        let mut tenant = |view: &mut View, id: Option<&str>| -> Index {
            let id = id.unwrap_or_default();
            if let Some(index) = tenants.get(id) {
                return *index;
            }
            let index = view.tenants.len() as Index;
            view.tenants.push(id.to_owned());
            tenants.insert(id.to_owned(), index);
            index
        };

        let chains = zoom.all(Kind::Chain);
        let chain_index: HashMap<Uuid, Index> = (0..).zip(&chains).map(|(index, chain)| (chain.id, index)).collect();
        view.chains = compile_chains(zoom, &chains, &chain_index);
        let chain = |obj: &Obj, field: &str| obj.uuid(field).and_then(|id| chain_index.get(&id).copied());

        for host in zoom.all(Kind::Host) {
            view.host_by_id.insert(host.id, view.hosts.len() as Index);
            view.hosts.push(Host {
                id: host.id,
                name: host.text("name").unwrap_or_default().to_owned(),
                underlay: Ipv4Addr::UNSPECIFIED,
                ports: Vec::new(),
            });
        }
        for zone in zoom.all(Kind::TunnelZone) {
            for entry in zone.all("hosts") {
                if let (Some(host), Some(IpAddr::V4(ip))) = (entry.field("host_id").and_then(Val::as_id), entry.field("ip").and_then(Val::as_ip))
                    && let Some(index) = view.host_by_id.get(&host)
                {
                    view.hosts[*index as usize].underlay = ip;
                }
            }
        }

        let networks = zoom.all(Kind::Network);
        let network_index: HashMap<Uuid, Index> = (0..).zip(&networks).map(|(index, network)| (network.id, index)).collect();
        for network in &networks {
            let external = zoom
                .get(Kind::NeutronNetwork, network.id)
                .and_then(|neutron| neutron.flag("external"))
                .unwrap_or(false);
            let owner = tenant(&mut view, network.text("tenant_id"));
            let gateway = network
                .uuids("dhcp_ids")
                .find_map(|dhcp| match zoom.get(Kind::Dhcp, dhcp)?.ip("default_gateway")? {
                    IpAddr::V4(ip) => Some(ip),
                    IpAddr::V6(_) => None,
                });
            view.networks.push(Network {
                id: network.id,
                external,
                inbound: chain(network, "inbound_filter_id"),
                outbound: chain(network, "outbound_filter_id"),
                ports: Vec::new(),
                macs: HashMap::new(),
                arp: HashMap::new(),
                gateway,
                tenant: owner,
            });
        }
        let routers = zoom.all(Kind::Router);
        let router_index: HashMap<Uuid, Index> = (0..).zip(&routers).map(|(index, router)| (router.id, index)).collect();
        for router in &routers {
            let owner = tenant(&mut view, router.text("tenant_id"));
            view.routers.push(Router {
                id: router.id,
                inbound: chain(router, "inbound_filter_id"),
                outbound: chain(router, "outbound_filter_id"),
                routes: Vec::new(),
                balancer: None,
                tenant: owner,
            });
        }

        let ports = zoom.all(Kind::Port);
        view.port_by_id = (0..).zip(&ports).map(|(index, port)| (port.id, index)).collect();
        for (index, port) in (0..).zip(&ports) {
            let network = port.uuid("network_id").and_then(|id| network_index.get(&id));
            let router = port.uuid("router_id").and_then(|id| router_index.get(&id));
            let device = match (network, router) {
                (Some(network), _) => DeviceRef::Network(*network),
                (None, Some(router)) => DeviceRef::Router(*router),
                // A port of nothing takes part in no simulation; it keeps its index.
                (None, None) => DeviceRef::Network(Index::MAX),
            };
            let neutron = zoom.get(Kind::NeutronPort, port.id);
            let owner = match (device, neutron.and_then(|neutron| neutron.text("tenant_id"))) {
                (_, Some(id)) if !id.is_empty() => tenant(&mut view, Some(id)),
                (DeviceRef::Network(network), _) => view.networks.get(network as usize).map_or(0, |network| network.tenant),
                (DeviceRef::Router(router), _) => view.routers[router as usize].tenant,
            };
            let mac = neutron.and_then(|neutron| neutron.text("mac_address")).or(port.text("port_mac"));
            let host = port.uuid("host_id").and_then(|id| view.host_by_id.get(&id).copied());
            let mut dp_port = 0;
            if let Some(host) = host {
                let host = &mut view.hosts[host as usize];
                dp_port = FIRST_DP_PORT + host.ports.len() as u32;
                host.ports.push(index);
            }
            let addresses = match neutron {
                Some(neutron) => fixed_ips(neutron).into_iter().map(|(ip, _)| ip).collect(),
                None => port.ip("port_address").into_iter().collect(),
            };
            let is_vm = network.is_some() && neutron.is_some_and(|neutron| neutron.text("device_owner") == Some("COMPUTE")) && host.is_some();
            if is_vm {
                view.vms.push(index);
            }
            if router.is_some() && host.is_some() {
                view.uplinks.push(index);
            }
            view.ports.push(Port {
                id: port.id,
                device,
                inbound: chain(port, "inbound_filter_id"),
                outbound: chain(port, "outbound_filter_id"),
                peer: port.uuid("peer_id").and_then(|id| view.port_by_id.get(&id).copied()),
                host,
                interface: port.text("interface_name").unwrap_or_default().to_owned(),
                dp_port,
                tunnel_key: port.int("tunnel_key").unwrap_or(0) as u64,
                mac: mac.and_then(|mac| mac.parse().ok()).unwrap_or(PEER_MAC),
                addresses,
                groups: port.uuids("port_group_ids").collect(),
                tenant: owner,
                secured: neutron.and_then(|neutron| neutron.flag("port_security_enabled")).unwrap_or(false),
                name: neutron.and_then(|neutron| neutron.text("name")).unwrap_or_default().to_owned(),
                up: port.flag("admin_state_up").unwrap_or(true),
            });
            if let DeviceRef::Network(network) = device
                && let Some(network) = view.networks.get_mut(network as usize)
            {
                network.ports.push(index);
            }
        }
        for entry in zoom.entries() {
            let Some(network) = network_index.get(&entry.id).filter(|_| entry.kind == Kind::Network) else {
                continue;
            };
            let network = &mut view.networks[*network as usize];
            let mut parts = entry.entry.split(',');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
                continue;
            };
            if entry.table == "ip4_mac_table" {
                if let (Ok(ip), Ok(mac)) = (key.parse(), value.parse()) {
                    network.arp.insert(ip, mac);
                }
            } else if let (Ok(mac), Ok(port)) = (key.parse::<Mac>(), value.parse::<Uuid>())
                && let Some(port) = view.port_by_id.get(&port)
            {
                network.macs.insert(mac, *port);
            }
        }
        view.trunks = view.vms.iter().copied().filter(|vm| !view.ports[*vm as usize].secured).collect();
        view.vms_by_tenant = vec![Vec::new(); view.tenants.len()];
        for vm in &view.vms {
            view.vms_by_tenant[view.ports[*vm as usize].tenant as usize].push(*vm);
        }
        compile_routes(zoom, learned, &router_index, &mut view);
        compile_balancers(zoom, &router_index, &mut view);
        for fip in zoom.all(Kind::FloatingIp) {
            if let (Some(IpAddr::V4(address)), Some(port)) = (fip.ip("floating_ip_address"), fip.uuid("port_id"))
                && let Some(port) = view.port_by_id.get(&port)
                && view.ports[*port as usize].host.is_some()
            {
                view.floating.push((address, *port));
            }
        }
        view
    }

    pub fn port(&self, index: Index) -> &Port {
        &self.ports[index as usize]
    }
}

fn compile_chains(zoom: &Zoom, chains: &[&Obj], index: &HashMap<Uuid, Index>) -> Vec<Chain> {
    let groups: HashMap<Uuid, Arc<HashSet<IpAddr>>> = zoom
        .all(Kind::IPAddrGroup)
        .into_iter()
        .map(|group| {
            (
                group.id,
                Arc::new(
                    group
                        .all("ip_addr_ports")
                        .filter_map(|entry| entry.field("ip_address")?.as_ip())
                        .collect(),
                ),
            )
        })
        .collect();
    let compile = |id: Uuid| {
        let rule = zoom.get(Kind::Rule, id)?;
        let effect = match rule.text("type")? {
            "JUMP_RULE" => Effect::Jump(*index.get(&rule.get("jump_rule_data")?.field("jump_chain_id")?.as_id()?)?),
            "NAT_RULE" => nat_effect(rule.get("nat_rule_data")?)?,
            _ => Effect::Literal(RuleResult::from_name(rule.text("action")?)),
        };
        Some(Rule {
            id,
            condition: Condition::compile(rule.get("condition"), |group| groups.get(&group).cloned()),
            effect,
        })
    };
    chains
        .iter()
        .map(|chain| Chain {
            id: chain.id,
            rules: chain.uuids("rule_ids").filter_map(compile).collect(),
        })
        .collect()
}

fn nat_effect(data: &Val) -> Option<Effect> {
    if data.field("reverse") == Some(&Val::Bool(true)) {
        return Some(Effect::ReverseNat);
    }
    let target = data.field("nat_targets")?;
    let IpAddr::V4(to) = target.field("nw_start")?.as_ip()? else {
        return None;
    };
    let port = |name| {
        target
            .field(name)
            .and_then(Val::as_int)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0)
    };
    Some(Effect::Nat {
        dnat: data.field("dnat") == Some(&Val::Bool(true)),
        to,
        ports: port("tp_start").zip(port("tp_end")),
    })
}

fn compile_routes(zoom: &Zoom, learned: &[Learned], routers: &HashMap<Uuid, Index>, view: &mut View) {
    let v4 = |prefix: Option<(IpAddr, u8)>| match prefix {
        Some((IpAddr::V4(ip), length)) => Some((ip.to_bits(), length)),
        _ => None,
    };
    for route in zoom.all(Kind::Route) {
        let port = route.uuid("next_hop_port_id").and_then(|id| view.port_by_id.get(&id).copied());
        let router = match port.map(|port| view.port(port).device) {
            Some(DeviceRef::Router(router)) => Some(router),
            _ => route.uuid("router_id").and_then(|id| routers.get(&id).copied()),
        };
        let (Some(router), Some(src), Some(dst)) = (router, v4(route.subnet("src_subnet")), v4(route.subnet("dst_subnet"))) else {
            continue;
        };
        let hop = match (route.text("next_hop"), port) {
            (Some("LOCAL"), _) => Hop::Local,
            (Some("PORT"), Some(port)) => {
                let gateway = route
                    .ip("next_hop_gateway")
                    .and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
                Hop::Port(port, gateway)
            }
            (Some("REJECT"), _) => Hop::Reject,
            _ => Hop::Blackhole,
        };
        view.routers[router as usize].routes.push(Route {
            src,
            dst,
            hop,
            weight: route.int("weight").unwrap_or(100),
        });
    }
    for route in learned {
        if let Some(port) = view.port_by_id.get(&route.port).copied()
            && let DeviceRef::Router(router) = view.port(port).device
        {
            view.routers[router as usize].routes.push(Route {
                src: (0, 0),
                dst: (route.dst.0.to_bits(), route.dst.1),
                hop: Hop::Port(port, Some(route.gateway)),
                weight: 100,
            });
        }
    }
    for router in &mut view.routers {
        router.routes.sort_by_key(|route| (std::cmp::Reverse(route.dst.1), route.weight));
    }
}

fn compile_balancers(zoom: &Zoom, routers: &HashMap<Uuid, Index>, view: &mut View) {
    view.members = zoom
        .all(Kind::PoolMember)
        .iter()
        .map(|member| (member.id, member.flag("admin_state_up") == Some(true)))
        .collect();
    for balancer in zoom.all(Kind::LoadBalancer) {
        let Some(router) = balancer.uuid("router_id").and_then(|id| routers.get(&id).copied()) else {
            continue;
        };
        let mut vips = Vec::new();
        for pool in balancer.uuids("pool_ids").filter_map(|pool| zoom.get(Kind::Pool, pool)) {
            let members: Vec<(Ipv4Addr, u16)> = pool
                .uuids("pool_member_ids")
                .filter_map(|member| {
                    let member = zoom.get(Kind::PoolMember, member)?;
                    match (member.ip("address")?, member.int("protocol_port")?, member.flag("admin_state_up")?) {
                        (IpAddr::V4(ip), port, true) => Some((ip, u16::try_from(port).ok()?)),
                        _ => None,
                    }
                })
                .collect();
            for vip in pool.uuids("vip_ids").filter_map(|vip| zoom.get(Kind::Vip, vip)) {
                if let (Some(IpAddr::V4(address)), Some(port)) = (vip.ip("address"), vip.int("protocol_port"))
                    && let Ok(port) = u16::try_from(port)
                {
                    view.vips.push((address, port, router));
                    vips.push(BalancerVip {
                        address,
                        port,
                        pool: pool.id,
                        members: members.clone(),
                    });
                }
            }
        }
        view.routers[router as usize].balancer = Some(view.balancers.len() as Index);
        view.balancers.push(Balancer { id: balancer.id, vips });
    }
}
