// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow records become rows: joined with the topology as of their time.
//!
//! A record names ports by id and the packet as it entered. The ends are found in this order:
//! - source: the ingress port, if it can be trusted;
//! - destination: the egress port, if there is exactly one; else, for packets that went nowhere, the port that has the destination MAC in
//!   the source's network, or behind a router the port that has the destination address in a network that the packet could reach.
//!
//! An uplink is the outside world: it has no tenant and no network.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use insights_protocol::flow::{FlowFact, Path as WirePath};
use insights_store::{FlowRow, Mac, Path, PathDevice, PathId, PathRule, Verdict};
use midonet::flow::Untrusted;
use uuid::Uuid;

use crate::site::{PortKind, Site};

/// DeviceType codes of MidoNet's flow records.
const NETWORK: u8 = 4;
const PORT: u8 = 6;

/// SimulationResult codes.
const NO_OP: u8 = 1;
const GENERATED: u8 = 10;

/// RuleResult codes.
const ACCEPT: u8 = 1;
const DROP: u8 = 3;
const REJECT: u8 = 5;

/// Rows of a batch and the paths that they name.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) rows: Vec<FlowRow>,
    pub(super) paths: Vec<Path>,
}

/// Joins the records of one batch. Records of a batch share their paths by reference; each distinct one is hashed once.
pub(super) fn join(site: &Site, gateway: Uuid, flows: &[FlowFact]) -> Joined {
    let mut joiner = Joiner {
        site,
        paths: HashMap::new(),
        ids: HashMap::new(),
    };
    let rows = flows.iter().map(|flow| joiner.row(gateway, flow)).collect();
    Joined {
        rows,
        paths: joiner.paths.into_values().collect(),
    }
}

struct Joiner<'a> {
    site: &'a Site,
    paths: HashMap<PathId, Path>,
    /// By the address of the shared path, which lives as long as the batch.
    ids: HashMap<*const WirePath, Option<PathId>>,
}

/// One end of a flow.
#[derive(Clone, Debug, Default)]
struct End {
    port: Option<Uuid>,
    network: Option<Uuid>,
    tenant: Option<Arc<str>>,
}

impl Joiner<'_> {
    fn row(&mut self, gateway: Uuid, flow: &FlowFact) -> FlowRow {
        let untrusted = Untrusted::from_bits_truncate(flow.untrusted);
        let transit = flow.tunnel.key != 0 && flow.path.devices.is_empty();
        let verdict = verdict(flow);
        let in_port = trusted_in_port(flow, untrusted, transit);
        let out_ports: Vec<Uuid> = flow
            .out_ports
            .iter()
            .take(FlowRow::MAX_OUT_PORTS)
            .map(|id| Uuid::from_bytes(*id))
            .collect();
        let ethernet = !untrusted.contains(Untrusted::ETHERNET);
        let addresses = !untrusted.contains(Untrusted::ADDRESSES);
        let (src_ip, dst_ip) = if addresses { (flow.net_src, flow.net_dst) } else { (None, None) };
        let source = in_port.map(|port| self.end_at(port)).unwrap_or_default();
        let destination = match (&*out_ports, transit) {
            (_, true) => End::default(),
            ([only], _) => self.end_at(*only),
            ([], _) => self.destination_of(flow, in_port, ethernet.then_some(flow.eth_dst), dst_ip),
            (many, _) => self.common_end(many),
        };
        FlowRow {
            time_us: flow.received_us,
            gateway,
            host: Uuid::from_bytes(flow.host),
            sim_result: flow.sim_result,
            verdict,
            transit,
            untrusted: flow.untrusted,
            cookie: flow.cookie,
            dp_port: flow.dp_in_port,
            in_port,
            src_port: source.port,
            dst_port: destination.port,
            src_tenant: source.tenant,
            dst_tenant: destination.tenant,
            src_network: source.network,
            dst_network: destination.network,
            src_mac: ethernet.then_some(Mac(flow.eth_src)),
            dst_mac: ethernet.then_some(Mac(flow.eth_dst)),
            ether_type: flow.ether_type,
            vlans: flow.extras.vlans.iter().copied().take(FlowRow::MAX_VLANS).collect(),
            src_ip,
            dst_ip,
            proto: flow.proto,
            tos: flow.tos,
            ttl: flow.ttl,
            src_tp: flow.tp_src,
            dst_tp: flow.tp_dst,
            icmp_id: flow.icmp_id,
            icmp_data: cut(&flow.extras.icmp_data),
            tunnel_key: flow.tunnel.key,
            tunnel_src: flow.tunnel.source,
            tunnel_dst: flow.tunnel.destination,
            rule: deciding_rule(&flow.path, verdict),
            path: self.path(&flow.path),
            out_ports,
            actions: cut(&flow.actions),
        }
    }

    /// What is plugged in at a port of the edge of the virtual network.
    fn end_at(&self, port: Uuid) -> End {
        let Some(kind) = self.site.port_kind(port) else {
            return End {
                port: Some(port),
                ..End::default()
            };
        };
        if kind == PortKind::Uplink {
            return End {
                port: Some(port),
                ..End::default()
            };
        }
        End {
            port: Some(port),
            network: self.site.port_network(port),
            tenant: self.site.port_tenant(port),
        }
    }

    /// What several egress ports have in common: a broadcast stays in its network.
    fn common_end(&self, ports: &[Uuid]) -> End {
        let mut ends = ports.iter().map(|port| self.end_at(*port));
        let Some(first) = ends.next() else { return End::default() };
        let mut common = End { port: None, ..first };
        for end in ends {
            if end.network != common.network {
                common.network = None;
            }
            if end.tenant != common.tenant {
                common.tenant = None;
            }
        }
        common
    }

    /// Where a packet that did not leave was going.
    fn destination_of(&self, flow: &FlowFact, in_port: Option<Uuid>, mac: Option<[u8; 6]>, ip: Option<IpAddr>) -> End {
        let Some(in_port) = in_port else { return End::default() };
        let network = self.site.port_network(in_port);
        let behind_mac = network
            .zip(mac)
            .and_then(|(network, mac)| self.site.port_of_mac(network, midonet::Mac(mac)));
        if let Some(port) = behind_mac
            && self.site.router_behind(port).is_none()
        {
            return self.end_at(port);
        }
        // Not a neighbour: the packet was for a router, or came from one.
        let Some(ip) = ip else { return End::default() };
        let router = behind_mac
            .and_then(|port| self.site.router_behind(port))
            .or_else(|| self.site.port_router(in_port));
        let traversed = flow
            .path
            .devices
            .iter()
            .rev()
            .filter(|device| device.kind == NETWORK)
            .map(|device| Uuid::from_bytes(device.id));
        let reachable = router.map(|router| self.site.networks_of_router(router)).unwrap_or_default();
        let port = traversed
            .chain(reachable)
            .find_map(|network| self.site.port_with_address(network, ip))
            .or_else(|| self.site.port_of_floating_address(ip));
        port.map(|port| self.end_at(port)).unwrap_or_default()
    }

    /// The id of a path, `None` for an empty one and for one that is longer than a record of an agent can be.
    fn path(&mut self, path: &Arc<WirePath>) -> Option<PathId> {
        if let Some(id) = self.ids.get(&Arc::as_ptr(path)) {
            return *id;
        }
        let length = path.devices.len() + path.rules.len();
        let id = (1..=Path::MAX_LENGTH).contains(&length).then(|| {
            let stored = Path {
                devices: path
                    .devices
                    .iter()
                    .map(|device| PathDevice {
                        id: Uuid::from_bytes(device.id),
                        kind: device.kind,
                    })
                    .collect(),
                rules: path
                    .rules
                    .iter()
                    .map(|rule| PathRule {
                        id: Uuid::from_bytes(rule.id),
                        result: rule.result,
                        matched: rule.matched,
                        applied: rule.applied,
                    })
                    .collect(),
            };
            let id = stored.id();
            self.paths.entry(id).or_insert(stored);
            id
        });
        self.ids.insert(Arc::as_ptr(path), id);
        id
    }
}

/// No actions means dropped, unless the packet ended in the virtual network itself.
fn verdict(flow: &FlowFact) -> Verdict {
    // The first byte counts the actions.
    let forwarded = flow.actions.first().is_some_and(|count| *count > 0);
    match (forwarded, flow.sim_result) {
        (_, NO_OP) => Verdict::Consumed,
        (true, _) => Verdict::Allowed,
        // A packet of the agent's own that reached nobody is NoOp; this one was delivered.
        (false, GENERATED) => Verdict::Allowed,
        (false, _) => Verdict::Dropped,
    }
}

/// Pooled contexts of the agent keep the ingress port of an earlier packet: it is believed only where it can be this packet's.
fn trusted_in_port(flow: &FlowFact, untrusted: Untrusted, transit: bool) -> Option<Uuid> {
    let id = flow.in_port?;
    if untrusted.contains(Untrusted::IN_PORT) || flow.sim_result == GENERATED || flow.dp_in_port == 0 || transit {
        return None;
    }
    // An error drop comes without its path; a path that is there must begin at the port.
    let in_path = flow.path.devices.is_empty() || flow.path.devices.iter().any(|device| device.kind == PORT && device.id == id);
    in_path.then(|| Uuid::from_bytes(id))
}

/// The last rule that was applied with the verdict's result.
fn deciding_rule(path: &WirePath, verdict: Verdict) -> Option<Uuid> {
    let results: &[u8] = match verdict {
        Verdict::Allowed => &[ACCEPT],
        Verdict::Dropped => &[DROP, REJECT],
        Verdict::Consumed => return None,
    };
    path.rules
        .iter()
        .rev()
        .find(|rule| rule.applied && results.contains(&rule.result))
        .map(|rule| Uuid::from_bytes(rule.id))
}

fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(FlowRow::MAX_BLOB_BYTES)].to_vec()
}
