// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Made-up traffic for the benchmarks, the same in every run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use insights_protocol::flow::{Device, Extras, FlowFact, Id, Path, Rule, Tunnel};

/// A small generator with a fixed seed: the same records in every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Small numbers far more often than large ones.
    fn heavy(&mut self, bound: usize) -> usize {
        let a = self.below(bound) as f64 / bound as f64;
        ((a * a * a) * bound as f64) as usize
    }

    fn id(&mut self) -> Id {
        let (a, b) = (self.next(), self.next());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a.to_be_bytes());
        id[8..].copy_from_slice(&b.to_be_bytes());
        id
    }
}

struct Pair {
    host: usize,
    in_port: Id,
    out_ports: Arc<[Id]>,
    source: IpAddr,
    destination: IpAddr,
    macs: ([u8; 6], [u8; 6]),
    service: u16,
    client: u16,
    path: Arc<Path>,
    actions: Arc<[u8]>,
}

/// 40 hosts, 600 ports, 4,000 address pairs of which a tenth makes most of the records, 1,200 paths of 5 devices and 9 rules, every fifth record of
/// a new ephemeral port.
pub(crate) fn pairs(records: usize) -> Vec<FlowFact> {
    let mut seeded = Seeded(7);
    let hosts: Vec<Id> = (0..40).map(|_| seeded.id()).collect();
    let ports: Vec<Id> = (0..600).map(|_| seeded.id()).collect();
    let devices: Vec<Id> = (0..120).map(|_| seeded.id()).collect();
    let rules: Vec<Id> = (0..3_000).map(|_| seeded.id()).collect();
    let paths: Vec<Arc<Path>> = (0..1_200)
        .map(|_| {
            Arc::new(Path {
                devices: (0..5)
                    .map(|_| Device {
                        id: devices[seeded.below(120)],
                        kind: 4,
                    })
                    .collect(),
                rules: (0..9)
                    .map(|n| Rule {
                        id: rules[seeded.below(3_000)],
                        result: 2,
                        matched: n == 8,
                        applied: n == 8,
                    })
                    .collect(),
            })
        })
        .collect();
    let none = Arc::new(Extras::default());
    let mut pairs: Vec<Pair> = (0..4_000)
        .map(|_| {
            let (from, to) = (seeded.below(600) as u32, seeded.below(600) as u32);
            Pair {
                host: from as usize % 40,
                in_port: ports[from as usize],
                out_ports: [ports[to as usize]].into(),
                source: Ipv4Addr::from(0x0a00_0000 + from).into(),
                destination: Ipv4Addr::from(0x0a00_0000 + to).into(),
                macs: (
                    [0xfa, 0x16, 0x3e, 0, (from >> 8) as u8, from as u8],
                    [0xfa, 0x16, 0x3e, 0, (to >> 8) as u8, to as u8],
                ),
                service: [443, 80, 5432, 53][seeded.below(4)],
                client: 32_768 + seeded.below(28_000) as u16,
                path: paths[seeded.heavy(1_200)].clone(),
                actions: [1, 1, 0, 0, 0, seeded.below(60) as u8].into(),
            }
        })
        .collect();
    let mut cookies = [0u64; 40];
    (0..records)
        .map(|n| {
            let number = seeded.heavy(4_000);
            if seeded.below(5) == 0 {
                pairs[number].client = 32_768 + seeded.below(28_000) as u16;
            }
            let pair = &pairs[number];
            cookies[pair.host] += 1;
            FlowFact {
                received_us: 1_790_000_000_000_000 + n as i64 * 250 + seeded.below(200) as i64,
                host: hosts[pair.host],
                cookie: cookies[pair.host],
                sim_result: 8,
                in_port: Some(pair.in_port),
                dp_in_port: pair.in_port[0].into(),
                tunnel: Tunnel::default(),
                eth_src: pair.macs.0,
                eth_dst: pair.macs.1,
                ether_type: 0x0800,
                net_src: Some(pair.source),
                net_dst: Some(pair.destination),
                proto: 6,
                tos: 0,
                ttl: 64,
                fragment: 0,
                tp_src: pair.client,
                tp_dst: pair.service,
                icmp_id: 0,
                extras: none.clone(),
                path: pair.path.clone(),
                out_ports: pair.out_ports.clone(),
                actions: pair.actions.clone(),
                untrusted: 0,
            }
        })
        .collect()
}

/// Connections from tenants' ports to services of others: each is told of at its first host, where its tunnel ends, and so is its answer. Every third
/// one goes to an address that is translated on its way.
pub(crate) fn connections(records: usize) -> Vec<FlowFact> {
    let mut seeded = Seeded(11);
    let template = pairs(1_200);
    let underlay = |host: usize| 0xac10_0000 | host as u32;
    let mut flows = Vec::with_capacity(records + 4);
    let mut cookies = [0u64; 40];
    let mut now = 1_790_000_000_000_000;
    while flows.len() < records {
        let (question, answer) = (&template[seeded.heavy(1_200)], &template[seeded.heavy(1_200)]);
        let [from, to] = [question, answer].map(|flow| usize::from(flow.cookie as u8) % 40);
        let client = 32_768 + seeded.below(28_000) as u16;
        let (service, inside) = (question.net_dst, if seeded.below(3) == 0 { answer.net_src } else { question.net_dst });
        let set = |source: Option<IpAddr>, destination: Option<IpAddr>, ports: [u16; 2], to: usize, key: u8| {
            let bytes = |address: Option<IpAddr>| match address {
                Some(IpAddr::V4(address)) => address.octets(),
                _ => [0; 4],
            };
            let mut actions = vec![4, 11];
            actions.extend(bytes(source));
            actions.extend(bytes(destination));
            actions.extend([6, 0, 63, 1, 12]);
            ports.iter().for_each(|port| actions.extend(port.to_be_bytes()));
            actions.extend([13, 0, 0, 0, 0, 0, 0, 0, key]);
            actions.extend(underlay(from).to_be_bytes());
            actions.extend(underlay(to).to_be_bytes());
            actions.extend([0, 0, 0, 255, 1, 0, 0, 0, 1]);
            Arc::<[u8]>::from(actions)
        };
        let mut told = |host: usize, by: &FlowFact, addresses: [Option<IpAddr>; 2], ports: [u16; 2], tunnel: Option<u8>, actions: Arc<[u8]>| {
            now += 100 + seeded.below(300) as i64;
            cookies[host] += 1;
            flows.push(FlowFact {
                received_us: now,
                cookie: cookies[host],
                host: template[host].host,
                in_port: if tunnel.is_none() { by.in_port } else { None },
                tunnel: tunnel.map_or(Tunnel::default(), |key| Tunnel {
                    key: key.into(),
                    source: underlay(from),
                    destination: underlay(to),
                }),
                net_src: addresses[0],
                net_dst: addresses[1],
                tp_src: ports[0],
                tp_dst: ports[1],
                actions,
                ..by.clone()
            });
        };
        let there = [client, question.tp_dst];
        let back = [question.tp_dst, client];
        let out: Arc<[u8]> = Arc::from([1, 1, 0, 0, 0, to as u8]);
        told(
            from,
            question,
            [question.net_src, service],
            there,
            None,
            set(question.net_src, inside, there, to, 7),
        );
        told(to, question, [question.net_src, inside], there, Some(7), out.clone());
        told(
            to,
            answer,
            [inside, question.net_src],
            back,
            None,
            set(service, question.net_src, back, from, 9),
        );
        told(from, answer, [service, question.net_src], back, Some(9), out);
    }
    flows.truncate(records);
    flows
}
