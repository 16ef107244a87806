// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One packet of one's own choice, recorded as any other: what a script looks at before and after.

use std::{net::Ipv4Addr, sync::Arc};

use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::{
    Connection, Direction,
    emit::Emitter,
    pick::{from_outside, through_router, to_vm},
    recorders::Recorders,
};
use crate::{
    agent::{Agent, Context},
    view::Index,
};

/// Counts of the agents' threads from which its records begin, so that none has the number of a record of the traffic.
const FIRST_COOKIE: u32 = 1 << 31;

/// A TCP connection's first packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    pub from: From,
    pub to: To,
    pub port: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// By the first uplink.
    Outside(Ipv4Addr),
    Vm(Uuid),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum To {
    /// A floating address or one of the Internet.
    Address(Ipv4Addr),
    Vm(Uuid),
}

/// Sends probes.
pub struct Prober {
    context: Arc<Context>,
    emitter: Emitter<Recorders>,
    rng: StdRng,
}

impl Prober {
    pub fn new(context: Arc<Context>, agents: Arc<Vec<Agent>>, seed: u64) -> Prober {
        let recorders = Recorders::new(context.clone(), agents, 0, seed, FIRST_COOKIE);
        Prober {
            context,
            emitter: Emitter::new(recorders),
            rng: StdRng::seed_from_u64(seed ^ 0x0070_726f_6265),
        }
    }

    /// Whether it got through; `None` where its ends are not there.
    pub fn probe(&mut self, probe: &Probe) -> Option<bool> {
        let view = self.context.view.read().clone();
        let index = |id: Uuid| -> Option<Index> { view.port_by_id.get(&id).copied() };
        let (port, mut packet) = match (probe.from, probe.to) {
            (From::Outside(client), To::Address(server)) => {
                let uplink = *view.uplinks.first()?;
                (uplink, from_outside(&view, uplink, client, server))
            }
            (From::Vm(client), To::Address(server)) => (index(client)?, through_router(&view, index(client)?, server)?),
            (From::Vm(client), To::Vm(server)) => (index(client)?, to_vm(&view, index(client)?, index(server)?)?),
            (From::Outside(_), To::Vm(_)) => return None,
        };
        packet.src_port = self.rng.random_range(32_768..=60_999);
        packet.dst_port = probe.port;
        let mut connection = Connection {
            forward: Direction {
                port: view.port(port).id,
                packet,
                packets: 1.0,
                size: 60,
            },
            nats: Vec::new(),
            nat_port: self.rng.random(),
            hash: self.rng.random(),
            answered: false,
            ends: 0.0,
        };
        Some(self.emitter.connection(&view, &mut connection, 0.0, &mut self.rng).lives)
    }
}
