// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Believable rows from a seed, for tests, benches and examples.

#![allow(dead_code, reason = "each user takes a part")]

use std::{net::IpAddr, sync::Arc};

use insights_store::{
    Append, Cursor, FlowRow, Mac, MeterDelta, MeterKey, MeterReading, Path, PathDevice, PathId, PathRule, Rows, StreamId, StreamKind, Verdict,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// 2026-01-01 00:00 UTC.
pub(crate) const EPOCH_US: i64 = 1_767_225_600_000_000;
pub(crate) const MINUTE_US: i64 = 60_000_000;
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// A small cloud: what flows are made of.
pub(crate) struct Cloud {
    rng: StdRng,
    pub(crate) hosts: Vec<Uuid>,
    pub(crate) ports: Vec<Uuid>,
    pub(crate) tenants: Vec<Arc<str>>,
    pub(crate) networks: Vec<Uuid>,
    pub(crate) rules: Vec<Uuid>,
    pub(crate) paths: Vec<(PathId, Path)>,
}

pub(crate) fn id(rng: &mut StdRng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}

pub(crate) fn gateway(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

pub(crate) fn cursor(gateway_number: u8, kind: StreamKind, epoch: u64, sequence: u64) -> Cursor {
    Cursor {
        stream: StreamId {
            gateway: gateway(gateway_number),
            kind,
            epoch,
        },
        sequence,
    }
}

impl Cloud {
    /// `size` is the number of virtual ports; paths are twice as many.
    pub(crate) fn new(seed: u64, size: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ids = |count: usize| (0..count.max(1)).map(|_| id(&mut rng)).collect::<Vec<_>>();
        let (hosts, ports, networks, rules, devices) = (ids(size / 20), ids(size), ids(size / 8), ids(size / 4), ids(size / 8));
        let tenants = ids(size / 16).iter().map(|id| Arc::from(id.simple().to_string())).collect();
        let mut paths = Vec::new();
        for _ in 0..size * 2 {
            let mut kinds = [6, 4, 7, 5, 4, 6].into_iter();
            let path = Path {
                devices: (0..rng.random_range(2..6))
                    .map(|_| PathDevice {
                        id: devices[rng.random_range(0..devices.len())],
                        kind: kinds.next().unwrap_or(6),
                    })
                    .collect(),
                rules: (0..rng.random_range(0..8))
                    .map(|_| PathRule {
                        id: rules[rng.random_range(0..rules.len())],
                        result: rng.random_range(1..8),
                        matched: rng.random(),
                        applied: rng.random(),
                    })
                    .collect(),
            };
            paths.push((path.id(), path));
        }
        Self {
            rng,
            hosts,
            ports,
            tenants,
            networks,
            rules,
            paths,
        }
    }

    fn pick<T: Clone>(rng: &mut StdRng, of: &[T]) -> T {
        of[rng.random_range(0..of.len())].clone()
    }

    /// A flow whose fields take few values, so that filters of random values meet some.
    pub(crate) fn flow(&mut self, time_us: i64) -> FlowRow {
        let rng = &mut self.rng;
        let maybe = |rng: &mut StdRng| rng.random_bool(0.9);
        let port = rng.random_range(0..self.ports.len());
        let peer = rng.random_range(0..self.ports.len());
        let ip = |port: usize| -> IpAddr {
            if port % 16 == 7 {
                IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, port as u16])
            } else {
                IpAddr::from([10, (port >> 16) as u8, (port >> 8) as u8, port as u8])
            }
        };
        let mac = |port: usize| Mac([2, 0, 0, (port >> 16) as u8, (port >> 8) as u8, port as u8]);
        let dropped = rng.random_bool(0.1);
        let out_port = self.ports[peer];
        FlowRow {
            time_us,
            gateway: gateway(1),
            host: Self::pick(rng, &self.hosts),
            sim_result: if rng.random_bool(0.95) { 8 } else { 1 },
            verdict: match (dropped, rng.random_bool(0.02)) {
                (true, _) => Verdict::Dropped,
                (_, true) => Verdict::Consumed,
                _ => Verdict::Allowed,
            },
            transit: rng.random_bool(0.2),
            untrusted: rng.random_range(0..4),
            cookie: rng.random_range(0..1 << 20),
            dp_port: rng.random_range(0..64),
            in_port: maybe(rng).then(|| self.ports[port]),
            src_port: maybe(rng).then(|| self.ports[port]),
            dst_port: maybe(rng).then(|| self.ports[peer]),
            src_tenant: maybe(rng).then(|| Arc::clone(&self.tenants[port % self.tenants.len()])),
            dst_tenant: maybe(rng).then(|| Arc::clone(&self.tenants[peer % self.tenants.len()])),
            src_network: maybe(rng).then(|| self.networks[port % self.networks.len()]),
            dst_network: maybe(rng).then(|| self.networks[peer % self.networks.len()]),
            src_mac: maybe(rng).then(|| mac(port)),
            dst_mac: maybe(rng).then(|| mac(peer)),
            ether_type: if port % 16 == 7 { 0x86dd } else { 0x0800 },
            vlans: match rng.random_range(0..20) {
                0 => vec![rng.random_range(1..5)],
                1 => vec![rng.random_range(1..5), rng.random_range(1..5)],
                _ => Vec::new(),
            },
            src_ip: maybe(rng).then(|| ip(port)),
            dst_ip: maybe(rng).then(|| ip(peer)),
            proto: [6, 6, 6, 17, 1][rng.random_range(0..5)],
            tos: [0, 0, 0, 46][rng.random_range(0..4)],
            ttl: 64,
            src_tp: rng.random_range(32_768..60_999),
            dst_tp: [22, 53, 80, 443, 3306, 5432, 8080][rng.random_range(0..7)],
            icmp_id: 0,
            icmp_data: if rng.random_bool(0.01) { vec![1, 2, 3] } else { Vec::new() },
            tunnel_key: if rng.random_bool(0.2) { rng.random_range(1..100) } else { 0 },
            tunnel_src: 0xac10_0001,
            tunnel_dst: 0xac10_0002,
            rule: (dropped || rng.random_bool(0.5)).then(|| Self::pick(rng, &self.rules)),
            path: maybe(rng).then(|| self.paths[(port * 31 + peer) % self.paths.len()].0),
            out_ports: if dropped { Vec::new() } else { vec![out_port] },
            actions: if dropped { vec![0] } else { vec![1, 1, 0, 0, 0, peer as u8] },
        }
    }

    /// Rows over a span of time, not in order.
    pub(crate) fn flows(&mut self, count: usize, from_us: i64, to_us: i64) -> Vec<FlowRow> {
        (0..count)
            .map(|_| {
                let time_us = self.rng.random_range(from_us..to_us);
                self.flow(time_us)
            })
            .collect()
    }

    /// The contents of the paths that rows name.
    pub(crate) fn paths_of(&self, rows: &[FlowRow]) -> Vec<Path> {
        let named: std::collections::BTreeSet<PathId> = rows.iter().filter_map(|row| row.path).collect();
        self.paths
            .iter()
            .filter(|(id, _)| named.contains(id))
            .map(|(_, path)| path.clone())
            .collect()
    }

    pub(crate) fn path(&self, id: PathId) -> Option<&Path> {
        self.paths.iter().find(|(known, _)| *known == id).map(|(_, path)| path)
    }

    /// A batch of flows of gateway 1, epoch 1.
    pub(crate) fn append(&self, sequence: u64, rows: Vec<FlowRow>) -> Append {
        let paths = self.paths_of(&rows);
        Append {
            cursor: cursor(1, StreamKind::Flows, 1, sequence),
            rows: Rows::Flows { rows, paths },
        }
    }

    /// Readings of all hosts, one each minute; meters that did not move are left out.
    pub(crate) fn readings(&mut self, minutes: std::ops::Range<i64>) -> Vec<MeterReading> {
        let mut out = Vec::new();
        for minute in minutes {
            let from_us = EPOCH_US + minute * MINUTE_US;
            for (at, host) in self.hosts.iter().enumerate() {
                let mut meters = Vec::new();
                for port in self.ports.iter().skip(at).step_by(self.hosts.len()) {
                    for key in [MeterKey::PortRx(*port), MeterKey::PortTx(*port)] {
                        if self.rng.random_bool(0.6) {
                            let packets = self.rng.random_range(1..1_000);
                            meters.push(MeterDelta {
                                key,
                                packets,
                                bytes: packets * 700,
                            });
                        }
                    }
                }
                out.push(MeterReading {
                    host: *host,
                    from_us,
                    to_us: from_us + MINUTE_US,
                    meters,
                });
            }
        }
        out
    }
}
