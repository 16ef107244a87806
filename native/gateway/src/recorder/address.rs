// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The address that agents can reach this machine by.

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use uuid::Uuid;

use crate::nsdb::View;

/// Agents whose way is looked up; the networks of a site repeat.
const MAX_AGENTS: usize = 64;

/// All addresses of this machine.
pub(crate) fn local_addresses() -> HashSet<IpAddr> {
    if_addrs::get_if_addrs()
        .map(|all| all.iter().map(if_addrs::Interface::ip).collect())
        .unwrap_or_default()
}

/// Chooses the address to advertise, most telling first: what listens on one address only can be reached there; the address that the way to
/// the most agents begins at; the address that this machine uses towards ZooKeeper, if that is another machine; any other address.
pub(super) fn choose(bind: IpAddr, towards_zookeeper: IpAddr, view: &View, own: Uuid) -> IpAddr {
    if !bind.is_unspecified() {
        return bind;
    }
    towards_agents(view, own).unwrap_or_else(|| {
        if is_reachable(towards_zookeeper) {
            towards_zookeeper
        } else {
            any_address().unwrap_or(towards_zookeeper)
        }
    })
}

/// The local address that most ways to agents begin at.
fn towards_agents(view: &View, own: Uuid) -> Option<IpAddr> {
    let local = local_addresses();
    let mut ways: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let others = view.agents(own, &local).into_iter().filter(|agent| agent.host != own);
    for agent in others.take(MAX_AGENTS) {
        if let Some(way) = agent.addresses.first().and_then(|address| way_to(*address)) {
            *ways.entry(way).or_default() += 1;
        }
    }
    ways.into_iter()
        .max_by_key(|(address, agents)| (*agents, std::cmp::Reverse(*address)))
        .map(|(address, _)| address)
}

/// The local address from which packets to this one would be sent. Nothing is sent.
fn way_to(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // The port is of no matter: connecting a datagram socket looks the way up and no more.
    socket.connect(SocketAddr::new(address, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

fn any_address() -> Option<IpAddr> {
    let mut addresses: Vec<_> = local_addresses().into_iter().filter(|address| is_reachable(*address)).collect();
    // IPv4 first: MidoNet's underlay is IPv4.
    addresses.sort();
    addresses.first().copied()
}

fn is_reachable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !link_local
}

#[cfg(test)]
mod tests {
    use midonet::nsdb::state::{HostState, Interface};

    use super::*;

    const OWN: Uuid = Uuid::from_u128(1);

    fn agent(view: &View, id: u128, address: &str) {
        let id = Uuid::from_u128(id);
        let interface = Interface {
            name: "eth0".into(),
            up: true,
            addresses: vec![address.parse().unwrap()],
            ..Interface::default()
        };
        let state = HostState {
            host: Some(id),
            interfaces: vec![interface],
        };
        view.put(&format!("zoom/0/state/{id}/Host/{id}/host"), state.to_text().as_bytes());
        view.put(&format!("zoom/0/state/{id}/Host/{id}/alive"), b"alive");
    }

    #[test]
    fn one_address_to_listen_on_is_the_one_to_tell() {
        let bind = "192.0.2.7".parse().unwrap();
        assert_eq!(choose(bind, "198.51.100.1".parse().unwrap(), &View::default(), OWN), bind);
    }

    #[test]
    fn the_way_to_agents_tells_more_than_the_way_to_zookeeper() {
        let view = View::default();
        let zookeeper = "198.51.100.1".parse().unwrap();
        let any = Ipv4Addr::UNSPECIFIED.into();
        assert_eq!(choose(any, zookeeper, &view, OWN), zookeeper);
        agent(&view, 2, "127.0.0.2");
        agent(&view, 3, "127.0.0.3");
        assert_eq!(choose(any, zookeeper, &view, OWN), Ipv4Addr::LOCALHOST);
    }
}
