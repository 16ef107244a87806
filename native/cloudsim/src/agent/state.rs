// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What an agent writes about its host and ports: all of it ephemeral.

use std::collections::HashSet;

use midonet::{
    Mac,
    nsdb::{
        LearnedRoute, Root, ZERO_NAMESPACE,
        state::{HostState, Interface, PortState},
        table::ArpEntry,
    },
};
use uuid::Uuid;

use crate::{
    incident::Broken,
    obj::Val,
    plan::{HostPlan, tap_name},
    view::{DeviceRef, Learned, PEER_MAC, Port, View},
};

/// A node that an agent keeps as long as its session lives.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Kept {
    pub path: String,
    pub data: Vec<u8>,
    /// ZooKeeper appends a number: a learned entry of a state table.
    pub sequential: bool,
}

/// How long an ARP entry is good, and when it is asked for again: ms.
const ARP_EXPIRY_MS: i64 = 3_600_000;
const ARP_STALE_MS: i64 = 1_800_000;

/// Everything that the agent of a host writes, given the topology.
pub(super) fn of_host(
    root: &Root,
    host: &HostPlan,
    view: &View,
    learned: &[Learned],
    external: Uuid,
    broken: &HashSet<Broken>,
    started_ms: i64,
) -> Vec<Kept> {
    let Some(index) = view.host_by_id.get(&host.id) else { return Vec::new() };
    let ports: Vec<&Port> = view.hosts[*index as usize]
        .ports
        .iter()
        .map(|port| view.port(*port))
        .filter(|port| port.up && !broken.contains(&Broken::Port(port.id)))
        .collect();
    let state = |class: &str, id: Uuid, key: &str, data: Vec<u8>| Kept {
        path: root.state_key(host.id, class, id, key),
        data,
        sequential: false,
    };
    let gateways: Vec<Uuid> = view
        .uplinks
        .iter()
        .filter_map(|port| Some(view.hosts[view.port(*port).host? as usize].id))
        .collect();
    let mut kept = vec![
        state("Host", host.id, "alive", b"alive".to_vec()),
        state("Host", host.id, "host", host_state(host, &ports).to_text().into_bytes()),
        state(
            "Host",
            host.id,
            "container",
            crate::obj::message_text(&[("weight", Val::Int(1)), ("quota", Val::Int(-1)), ("count", Val::Int(0))]).into_bytes(),
        ),
    ];
    for port in &ports {
        let active = PortState {
            host: host.id,
            tunnel_key: Some(port.tunnel_key),
        };
        kept.push(state("Port", port.id, "active", active.to_text().into_bytes()));
        match port.device {
            DeviceRef::Network(network) => {
                if let Some(network) = view.networks.get(network as usize) {
                    let entry = format!("{},{},", port.mac, port.id);
                    kept.push(Kept {
                        path: root.table_entry("Network", network.id, "mac_table", Some("0"), &entry),
                        data: Vec::new(),
                        sequential: true,
                    });
                }
            }
            DeviceRef::Router(router) => uplink(root, host, port, view.routers[router as usize].id, learned, broken, started_ms, &mut kept),
        }
    }
    // What routers learned about the VMs of this host.
    for port in ports.iter().filter(|port| matches!(port.device, DeviceRef::Network(_))) {
        let DeviceRef::Network(network) = port.device else { continue };
        let Some(router) = router_of(view, network) else { continue };
        for address in port.addresses.iter().filter(|address| address.is_ipv4()) {
            kept.push(arp(root, router, &address.to_string(), Some(port.mac), started_ms));
        }
    }
    // One host runs the health checks of all load balancers.
    if view.hosts.iter().map(|other| other.id).filter(|other| gateways.contains(other)).min() == Some(host.id) {
        for (member, up) in &view.members {
            kept.push(state(
                "PoolMember",
                *member,
                "status",
                if *up && !broken.contains(&Broken::Member(*member)) {
                    b"ACTIVE".to_vec()
                } else {
                    b"INACTIVE".to_vec()
                },
            ));
        }
    }
    if host.gateway {
        let entry = format!("{},0,", host.id);
        kept.push(Kept {
            path: root.table_entry("NeutronNetwork", external, "gateway_table", None, &entry),
            data: Vec::new(),
            sequential: true,
        });
    }
    kept
}

/// What the cluster's nodes write about a VTEP and its tunnel zone, under the namespace that they share.
pub(super) fn of_cluster(root: &Root, vtep: Uuid, zone: Option<(Uuid, Uuid, std::net::Ipv4Addr)>, broken: &HashSet<Broken>) -> Vec<Kept> {
    let state = |class: &str, id: Uuid, key: &str, data: String| Kept {
        path: root.state_key(ZERO_NAMESPACE, class, id, key),
        data: data.into_bytes(),
        sequential: false,
    };
    let config = [
        ("vtep_id", Val::Id(vtep)),
        ("name", Val::Str("tor-1".to_owned())),
        ("description", Val::Str("Top of rack switch".to_owned())),
        ("tunnel_addresses", Val::Ip(std::net::Ipv4Addr::new(192, 0, 2, 20).into())),
    ];
    let mut kept = vec![
        state("Vtep", vtep, "config", crate::obj::message_text(&config)),
        state(
            "Vtep",
            vtep,
            "connection_state",
            if broken.contains(&Broken::Vtep) {
                "VTEP_ERROR"
            } else {
                "VTEP_CONNECTED"
            }
            .to_owned(),
        ),
        state("Vtep", vtep, "vxgw_manager", Uuid::from_u128(0xc1).to_string()),
    ];
    kept.extend(zone.map(|(zone, host, address)| state("TunnelZone", zone, "flooding_proxy", format!("{host}#{address}"))));
    kept
}

/// The router that a network hangs on, by its port with the network's gateway address.
fn router_of(view: &View, network: u32) -> Option<Uuid> {
    let network = view.networks.get(network as usize)?;
    let mac = network.arp.get(&network.gateway?)?;
    let peer = view.port(*network.macs.get(mac)?).peer?;
    match view.port(peer).device {
        DeviceRef::Router(router) => Some(view.routers[router as usize].id),
        DeviceRef::Network(_) => None,
    }
}

#[expect(clippy::too_many_arguments, reason = "what an uplink's agent knows")]
fn uplink(
    root: &Root,
    host: &HostPlan,
    port: &Port,
    router: Uuid,
    learned: &[Learned],
    broken: &HashSet<Broken>,
    started_ms: i64,
    kept: &mut Vec<Kept>,
) {
    let routes: Vec<&Learned> = learned.iter().filter(|route| route.port == port.id).collect();
    if let Some(route) = routes.first() {
        let own = port.addresses.first().map(ToString::to_string).unwrap_or_default();
        let session = if broken.contains(&Broken::Peer(route.gateway)) {
            "Active never"
        } else {
            "Established 00:10:11"
        };
        let text = format!(
            "bgpd is UP\nBGP router identifier {own}, local AS number 64513\nPeer {} {session}\n",
            route.gateway
        );
        kept.push(Kept {
            path: root.state_key(host.id, "Port", port.id, "bgp"),
            data: text.into_bytes(),
            sequential: false,
        });
        kept.push(arp(root, router, &route.gateway.to_string(), Some(PEER_MAC), started_ms));
    }
    for route in routes {
        let value = LearnedRoute {
            dst: route.dst.0,
            dst_length: route.dst.1,
            src: std::net::Ipv4Addr::UNSPECIFIED,
            src_length: 0,
            gateway: route.gateway,
            weight: 100,
            router,
            port: Some(port.id),
        };
        let value = value.to_string();
        kept.push(Kept {
            path: root.state_value(host.id, "Port", port.id, "routes", &value),
            data: value.into_bytes(),
            sequential: false,
        });
    }
}

fn arp(root: &Root, router: Uuid, address: &str, mac: Option<Mac>, now_ms: i64) -> Kept {
    let value = ArpEntry {
        mac,
        expiry_ms: now_ms + ARP_EXPIRY_MS,
        stale_ms: now_ms + ARP_STALE_MS,
        last_arp_ms: now_ms,
    };
    Kept {
        path: root.table_entry("Router", router, "arp_table", None, &format!("{address},{value},")),
        data: Vec::new(),
        sequential: true,
    }
}

fn host_state(host: &HostPlan, ports: &[&Port]) -> HostState {
    let [_, a, b, c] = host.address.octets();
    let interface = |name: &str, kind: &str, endpoint: &str, mac: String, ifindex: i32| Interface {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        mac: Some(mac),
        addresses: Vec::new(),
        up: true,
        has_link: true,
        mtu: Some(1500),
        endpoint: Some(endpoint.to_owned()),
        port_type: None,
        ifindex: Some(ifindex),
    };
    let mut interfaces = vec![
        Interface {
            addresses: vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()],
            mtu: Some(65536),
            ..interface("lo", "VIRTUAL", "LOCALHOST_EP", "00:00:00:00:00:00".to_owned(), 1)
        },
        Interface {
            addresses: vec![host.address.into(), link_local(a, b, c)],
            ..interface("eth0", "PHYSICAL", "PHYSICAL_EP", format!("52:54:00:{a:02x}:{b:02x}:{c:02x}"), 2)
        },
        interface("eth1", "PHYSICAL", "PHYSICAL_EP", format!("52:54:01:{a:02x}:{b:02x}:{c:02x}"), 3),
        interface("midonet", "VIRTUAL", "DATAPATH_EP", format!("02:00:00:{a:02x}:{b:02x}:{c:02x}"), 4),
    ];
    let taps = ports.iter().filter(|port| matches!(port.device, DeviceRef::Network(_)));
    for (ifindex, port) in (10..).zip(taps) {
        let [_, mac @ ..] = port.mac.0;
        let name = if port.interface.is_empty() {
            tap_name(port.id)
        } else {
            port.interface.clone()
        };
        let mac = Mac([0xfe, mac[0], mac[1], mac[2], mac[3], mac[4]]).to_string();
        interfaces.push(interface(&name, "VIRTUAL", "TUNTAP_EP", mac, ifindex));
    }
    HostState {
        host: Some(host.id),
        interfaces,
    }
}

fn link_local(a: u8, b: u8, c: u8) -> std::net::IpAddr {
    std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfe00 | u16::from(a), u16::from(b) << 8 | u16::from(c)).into()
}
