// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The cloud's traffic: connections between VMs and the Internet, and the flow records and meters that agents make of them.

mod emit;
mod pick;
mod probe;
mod rate;
mod readings;
mod recorders;
mod sample;

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

pub use self::probe::{From, Probe, Prober, To};
pub use self::rate::Rate;
pub use self::readings::{Reading, ReadingsOf, readings};
pub use self::sample::sample;
use self::{
    emit::{Emitter, Out},
    pick::Kind,
    recorders::Recorders,
};
use crate::{
    agent::{Agent, Context},
    clock,
    view::{Nat, Packet, View},
};

/// Between two rounds; short, so that a round's records fit into the agents' queues.
const TICK: Duration = Duration::from_millis(5);
/// Connections that are remembered for their next record; shorter ones are not. Bounds memory at some 300 bytes each.
const MAX_CONNECTIONS: usize = 400_000;

/// How a simulation's traffic is made.
#[derive(Clone, Debug)]
pub struct Settings {
    pub rate: Rate,
    /// Part of the agents that send JSON, in percent.
    pub json_percent: u8,
    pub seed: u64,
    /// Stop after this many records.
    pub limit: Option<u64>,
    /// Time before the first packet.
    pub quiet: Duration,
}

/// One direction of a connection.
#[derive(Clone, Debug)]
struct Direction {
    /// Port by which its packets enter.
    port: Uuid,
    packet: Packet,
    /// Packets and bytes in a second.
    packets: f64,
    size: u32,
}

#[derive(Clone, Debug)]
struct Connection {
    forward: Direction,
    /// Translations of the forward direction, which the other undoes.
    nats: Vec<Nat>,
    nat_port: u16,
    hash: u32,
    answered: bool,
    /// Seconds since the start.
    ends: f64,
}

struct Due {
    at: f64,
    connection: Box<Connection>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        self.at.total_cmp(&other.at)
    }
}

/// The traffic of a cloud.
pub struct Traffic {
    context: Arc<Context>,
    settings: Settings,
    going: Going<Recorders>,
}

/// Connections that begin, go on and end, at times that are given.
struct Going<O> {
    emitter: Emitter<O>,
    rng: StdRng,
    connections: BinaryHeap<Reverse<Due>>,
    limit: Option<u64>,
    made: u64,
}

impl Traffic {
    pub fn new(context: Arc<Context>, agents: Arc<Vec<Agent>>, settings: Settings) -> Traffic {
        let recorders = Recorders::new(context.clone(), agents, settings.json_percent, settings.seed, 0);
        Traffic {
            context,
            going: Going::new(recorders, settings.seed, settings.limit),
            settings,
        }
    }

    /// Makes traffic until it is dropped, or until as many records as set were made.
    pub async fn run(mut self) {
        tokio::time::sleep(self.settings.quiet).await;
        let start = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut last, mut second) = (0.0, 0);
        let mut budget = 0.0;
        loop {
            ticks.tick().await;
            let now = start.elapsed().as_secs_f64();
            let rate = self.settings.rate.at(clock::now_us());
            // A pause of the machine is not made up for beyond a second.
            budget = (budget + rate * (now - last).min(1.0)).min(rate);
            last = now;
            let view = self.context.view.read().clone();
            let before = self.going.made;
            budget = self.going.round(&view, now, rate, budget);
            self.context.ledger.made(self.going.made - before);
            if self.settings.limit.is_some_and(|limit| self.going.made >= limit) {
                log::info!("made {} flow records, which is the limit", self.going.made);
                return;
            }
            while second < now as u64 {
                second += 1;
                self.going.emitter.out.tick();
            }
        }
    }
}

impl<O: Out> Going<O> {
    fn new(out: O, seed: u64, limit: Option<u64>) -> Going<O> {
        Going {
            emitter: Emitter::new(out),
            rng: StdRng::seed_from_u64(seed ^ 0x7472_6166_6669_6321),
            connections: BinaryHeap::new(),
            limit,
            made: 0,
        }
    }

    /// Makes the records that the budget allows; returns what is left of it. `now` is in seconds since the start.
    fn round(&mut self, view: &View, now: f64, rate: f64, mut budget: f64) -> f64 {
        while budget >= 1.0 && self.limit.is_none_or(|limit| self.made < limit) {
            let due = self.connections.peek().is_some_and(|due| due.0.at <= now);
            let made = match if due { self.connections.pop() } else { None } {
                Some(Reverse(due)) => self.again(view, now, due.connection),
                None => self.fresh(view, now, rate),
            };
            self.made += made;
            // Picks that come to nothing, as in a cloud without VMs, must not spin.
            budget -= made.max(1) as f64;
        }
        budget
    }

    fn fresh(&mut self, view: &View, now: f64, rate: f64) -> u64 {
        let Some(kind) = Kind::pick(&mut self.rng) else { return 0 };
        if let Kind::Noise = kind {
            return self.emitter.noise(view, &mut self.rng);
        }
        let Some(mut connection) = kind.connection(view, &mut self.rng, now) else {
            return 0;
        };
        // Connections that live on take half of the rate at most.
        if self.connections.len() as f64 > (rate * 15.0).min(MAX_CONNECTIONS as f64) {
            connection.ends = now;
        }
        self.again(view, now, Box::new(connection))
    }

    /// The records of both directions, now and again when their flows have ended while the connection goes on.
    fn again(&mut self, view: &View, now: f64, mut connection: Box<Connection>) -> u64 {
        let left = connection.ends - now;
        let outcome = self.emitter.connection(view, &mut connection, left.max(0.0), &mut self.rng);
        if outcome.lives && left > 0.0 {
            // A flow ends 30 s after it began if it has state, 60 s if not, and its next packet comes soon after.
            let life = if outcome.stateful { 30.0 } else { 60.0 };
            let at = now + life + self.rng.random_range(0.0..2.0);
            if at < connection.ends {
                self.connections.push(Reverse(Due { at, connection }));
            }
        }
        outcome.made
    }
}
