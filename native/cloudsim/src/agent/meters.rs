// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! An agent's traffic meters.
//!
//! They move as MidoNet's: each packet that reaches user space counts at once; what the kernel forwards counts when its flow ends, in one step.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use midonet::meters::{Counters, MeterKey};

/// Longest life of a flow, in seconds: those at the end of a tunnel.
pub const MAX_FLOW_LIFE: usize = 300;

type Registry = HashMap<MeterKey, Counters>;

/// Meters of an agent, a registry for each simulation thread.
#[derive(Debug, Default)]
pub struct Meters {
    workers: Vec<Registry>,
    /// What ends in so many seconds, by worker.
    pending: VecDeque<HashMap<(usize, MeterKey), Counters>>,
}

impl Meters {
    pub fn new(workers: usize) -> Meters {
        Meters {
            workers: vec![Registry::new(); workers.max(1)],
            pending: VecDeque::new(),
        }
    }

    /// A packet that was simulated, and the flow that comes of it: `rest` counts when the flow ends, after `life` seconds.
    pub fn count(&mut self, worker: usize, keys: &[MeterKey], length: i64, rest: Counters, life: usize) {
        let worker = worker % self.workers.len();
        let life = life.min(MAX_FLOW_LIFE);
        if rest.packets > 0 && self.pending.len() <= life {
            self.pending.resize_with(life + 1, HashMap::new);
        }
        for key in keys {
            add(
                self.workers[worker].entry(key.clone()).or_default(),
                Counters { packets: 1, bytes: length },
            );
            if rest.packets > 0 {
                add(self.pending[life].entry((worker, key.clone())).or_default(), rest);
            }
        }
    }

    /// A second went by.
    pub fn tick(&mut self) {
        for ((worker, key), counters) in self.pending.pop_front().into_iter().flatten() {
            add(self.workers[worker].entry(key).or_default(), counters);
        }
    }

    /// What a restart of the agent leaves: nothing.
    pub fn restart(&mut self) {
        self.workers.iter_mut().for_each(Registry::clear);
        self.pending.clear();
    }

    /// The body of `/device_stats`: a key as often as threads have it.
    pub fn body(&self) -> String {
        midonet::meters::write_device_stats(self.workers.iter().flatten().map(|(key, counters)| (key, *counters)))
    }

    /// Packets and bytes of each key over all threads.
    pub fn sums(&self) -> BTreeMap<String, (u64, u64)> {
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (key, counters) in self.workers.iter().flatten() {
            let sum = sums.entry(key.to_string()).or_default();
            sum.0 += counters.packets as u64;
            sum.1 += counters.bytes as u64;
        }
        sums
    }
}

/// Meters that the traffic fills and the agent's end point shows.
pub type Shared = Arc<parking_lot::Mutex<Meters>>;

fn add(to: &mut Counters, more: Counters) {
    to.packets += more.packets;
    to.bytes += more.bytes;
}

#[cfg(test)]
mod tests {
    use midonet::meters::parse_device_stats;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_flow_counts_in_two_steps_and_threads_have_lines_of_their_own() {
        let key = MeterKey::Device(Uuid::from_u128(7));
        let mut meters = Meters::new(2);
        meters.count(0, std::slice::from_ref(&key), 100, Counters { packets: 9, bytes: 900 }, 2);
        meters.count(1, std::slice::from_ref(&key), 50, Counters::default(), 2);
        let sum = |meters: &Meters| parse_device_stats(meters.body().as_bytes()).sums()[&key];
        assert_eq!(parse_device_stats(meters.body().as_bytes()).meters.len(), 2);
        assert_eq!(sum(&meters), Counters { packets: 2, bytes: 150 });
        meters.tick();
        meters.tick();
        assert_eq!(sum(&meters), Counters { packets: 2, bytes: 150 });
        meters.tick();
        assert_eq!(sum(&meters), Counters { packets: 11, bytes: 1050 });
        meters.restart();
        assert_eq!(meters.body(), "");
    }
}
