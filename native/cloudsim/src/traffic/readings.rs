// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What agents' meters say over hours, in a time of its own: for measuring what keeping them costs.

use std::{collections::BTreeMap, sync::Arc};

use midonet::{
    flow::FlowRecord,
    meters::{Counters, MeterKey, parse_device_stats},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::{
    Going, Rate,
    emit::{Emitter, Out},
};
use crate::{agent::meters::Meters, ledger::Class, view::View};

/// Which readings.
#[derive(Clone, Copy, Debug)]
pub struct ReadingsOf {
    /// Flow records a second.
    pub rate: Rate,
    pub seed: u64,
    pub seconds: u32,
    /// Seconds between two readings of an agent, on average.
    pub interval: u32,
}

/// One reading of an agent's meters, as a gateway takes it.
#[derive(Clone, Debug)]
pub struct Reading {
    pub host: Uuid,
    /// Of the reading before and of this one, µs since the start; none for the first.
    pub since_us: Option<i64>,
    pub at_us: i64,
    /// What each meter counted since the reading before; zeros are in it.
    pub meters: Vec<(MeterKey, Counters)>,
}

/// A thread of an agent, as by default.
const WORKERS: usize = 1;

/// How late a gateway looks and an agent answers: the gateway's tick and some milliseconds, in µs.
const LATE_US: i64 = 200_000;

struct Counted(BTreeMap<Uuid, Meters>);

impl Out for Counted {
    fn count(&mut self, host: Uuid, keys: &[MeterKey], length: i64, rest: Counters, life: usize) {
        let meters = self.0.entry(host).or_insert_with(|| Meters::new(WORKERS));
        meters.count(0, keys, length, rest, life);
    }

    fn stale_in_port(&self, _: Uuid) -> Option<Uuid> {
        None
    }

    fn send(&mut self, _: Uuid, _: FlowRecord, _: Class, _: Arc<str>, _: Option<Uuid>) -> u64 {
        1
    }
}

/// When an agent was read, what it said, and when it is read again.
#[derive(Default)]
struct Agent {
    last_us: Option<i64>,
    due_us: i64,
    before: BTreeMap<MeterKey, Counters>,
}

/// Hands all readings of a cloud's agents to `take`, in order of time to the second.
pub fn readings(view: &View, of: ReadingsOf, mut take: impl FnMut(Reading)) {
    let mut rng = StdRng::seed_from_u64(of.seed);
    let mut going = Going::new(Counted(BTreeMap::new()), of.seed, None);
    let interval_us = i64::from(of.interval.max(1)) * 1_000_000;
    let mut agents: Vec<(Uuid, Agent)> = view.hosts.iter().map(|host| (host.id, Agent::default())).collect();
    agents.iter_mut().for_each(|(_, agent)| agent.due_us = rng.random_range(0..interval_us));
    let mut budget = 0.0;
    for second in 0..of.seconds {
        let now_us = i64::from(second) * 1_000_000;
        let rate = of.rate.at(now_us);
        budget = going.round(view, f64::from(second), rate, budget + rate);
        let Going {
            emitter: Emitter { out, .. },
            ..
        } = &mut going;
        out.0.values_mut().for_each(Meters::tick);
        for (host, agent) in agents.iter_mut().filter(|(_, agent)| agent.due_us < now_us + 1_000_000) {
            let at_us = agent.due_us + rng.random_range(0..LATE_US);
            // As a gateway does it: at each agent's own moment, five percent around the interval.
            agent.due_us = at_us + (interval_us as f64 * (0.95 + rng.random::<f64>() / 10.0)) as i64;
            let Some(meters) = out.0.get(host) else { continue };
            let stats = parse_device_stats(meters.body().as_bytes());
            let sums: BTreeMap<MeterKey, Counters> = stats.sums().into_iter().map(|(key, sum)| (key.clone(), sum)).collect();
            let since = |key: &MeterKey, now: Counters| {
                let before = agent.before.get(key).copied().unwrap_or_default();
                Counters {
                    packets: now.packets - before.packets,
                    bytes: now.bytes - before.bytes,
                }
            };
            let meters = sums.iter().map(|(key, now)| (key.clone(), since(key, *now))).collect();
            take(Reading {
                host: *host,
                since_us: agent.last_us.replace(at_us),
                at_us,
                meters,
            });
            agent.before = sums;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::Plan, size::Size};

    #[test]
    fn readings_of_an_agent_follow_each_other_and_some_meters_stand_still() {
        let plan = Plan::build(Size::SMALL, 3, std::net::Ipv4Addr::new(127, 64, 0, 0));
        let view = View::compile(&plan.zoom, &plan.learned);
        let of = ReadingsOf {
            rate: Rate { mean: 5.0, flat: true },
            seed: 3,
            seconds: 600,
            interval: 60,
        };
        let mut last: BTreeMap<Uuid, i64> = BTreeMap::new();
        let (mut moved, mut still) = (0, 0);
        readings(&view, of, |reading| {
            assert_eq!(reading.since_us, last.insert(reading.host, reading.at_us));
            assert!(
                reading
                    .since_us
                    .is_none_or(|since_us| (50_000_000..70_000_000).contains(&(reading.at_us - since_us)))
            );
            for (_, counters) in &reading.meters {
                assert!(counters.packets >= 0 && counters.bytes >= counters.packets * 40);
                if counters.packets > 0 {
                    moved += 1;
                } else {
                    still += 1;
                }
            }
        });
        assert!(moved > 100 && still > 100, "{moved} {still}");
        assert!(last.len() > 3);
    }
}
