// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A process that keeps records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Gateway,
    Collector,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    KillCollector,
    KillCluster,
    KillZooKeeper,
    /// Stopped and continued, as a machine that swaps or a virtual machine that is moved.
    PauseCollector(Duration),
    /// Longer ones cost the daemon its ZooKeeper session, at which it ends.
    PauseCluster(Duration),
    PauseZooKeeper(Duration),
    /// Percent of packets lost, doubled and reordered, and their delay, between gateway and collector.
    BadNetwork {
        loss: u8,
        double: u8,
        reorder: u8,
        delay_ms: u16,
        time: Duration,
    },
    BlackHole(Duration),
    /// Packets above this length vanish between gateway and collector; 1,200 bytes always pass (RFC 9000, 14).
    SmallPackets(u16, Duration),
    /// The collector sees the gateway come from another address.
    AddressChange,
    /// The disk of one side gets no more room.
    DiskFull(Side, Duration),
    /// The gateway dies, and starts on a spool that can only be read.
    ReadOnlySpool(Duration),
    /// What is to be durable takes so long each time.
    SlowSync(Side, Duration, Duration),
    /// The disk says that nothing becomes durable.
    FailingSync(Side, Duration),
    /// ZooKeeper is gone for a while.
    NoZooKeeper(Duration),
    /// The clock of one side is so many seconds ahead or, negative, behind.
    ClockJump(Side, i32, Duration),
    /// The service's name leads to another address.
    NameChange,
    /// The gateway dies, and rubbish stands behind what it had synced.
    TornSpool,
    /// The gateway dies, and a byte of its spool is another one.
    FlippedSpool,
    /// The collector dies, and rubbish stands behind what it had synced.
    TornLog,
    /// The collector dies, and a byte of its commit log is another one.
    FlippedLog,
}

/// Faults with the pauses before them, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub steps: Vec<(Duration, Fault)>,
}

impl Plan {
    pub fn new(seed: u64, faults: usize) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed);
        let steps = (0..faults).map(|_| (millis(&mut rng, 300..2_500), fault(&mut rng))).collect();
        Plan { seed, steps }
    }

    /// A number for a place or a choice in a step, the same for the same seed.
    pub fn pick(&self, step: usize, below: u64) -> u64 {
        StdRng::seed_from_u64(self.seed ^ (step as u64 + 1) << 32).random_range(0..below.max(1))
    }
}

fn fault(rng: &mut StdRng) -> Fault {
    match rng.random_range(0..28) {
        0..3 => Fault::KillCollector,
        3..5 => Fault::KillCluster,
        5 => Fault::KillZooKeeper,
        6 => Fault::PauseCollector(millis(rng, 200..4_000)),
        7 => Fault::PauseCluster(millis(rng, 200..3_000)),
        8 => Fault::PauseZooKeeper(millis(rng, 200..3_000)),
        9 | 10 => Fault::BadNetwork {
            loss: rng.random_range(0..30),
            double: rng.random_range(0..10),
            reorder: rng.random_range(0..30),
            delay_ms: rng.random_range(1..80),
            time: millis(rng, 1_000..5_000),
        },
        11 => Fault::BlackHole(millis(rng, 500..4_000)),
        12 => Fault::DiskFull(Side::Gateway, millis(rng, 500..2_000)),
        13 => Fault::TornSpool,
        14 => Fault::FlippedSpool,
        15 => Fault::TornLog,
        16 => Fault::SmallPackets(rng.random_range(1_200..1_400), millis(rng, 1_000..4_000)),
        17 => Fault::AddressChange,
        18 => Fault::DiskFull(Side::Collector, millis(rng, 500..3_000)),
        19 => Fault::ReadOnlySpool(millis(rng, 500..3_000)),
        20 | 21 => Fault::SlowSync(side(rng), millis(rng, 50..1_500), millis(rng, 1_000..5_000)),
        22 | 23 => Fault::FailingSync(side(rng), millis(rng, 500..2_000)),
        24 => Fault::NoZooKeeper(millis(rng, 1_000..12_000)),
        25 => Fault::ClockJump(side(rng), rng.random_range(-1_800..1_800), millis(rng, 1_000..4_000)),
        26 => Fault::NameChange,
        _ => Fault::FlippedLog,
    }
}

fn side(rng: &mut StdRng) -> Side {
    if rng.random() { Side::Gateway } else { Side::Collector }
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Gateway => "gateway",
            Side::Collector => "collector",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::KillCollector => write!(f, "kill the collector"),
            Fault::KillCluster => write!(f, "kill the cluster daemon"),
            Fault::KillZooKeeper => write!(f, "kill ZooKeeper"),
            Fault::PauseCollector(time) => write!(f, "stop the collector for {time:?}"),
            Fault::PauseCluster(time) => write!(f, "stop the cluster daemon for {time:?}"),
            Fault::PauseZooKeeper(time) => write!(f, "stop ZooKeeper for {time:?}"),
            Fault::BadNetwork {
                loss,
                double,
                reorder,
                delay_ms,
                time,
            } => write!(
                f,
                "lose {loss} %, double {double} %, reorder {reorder} %, delay by {delay_ms} ms for {time:?}"
            ),
            Fault::BlackHole(time) => write!(f, "lose every packet for {time:?}"),
            Fault::SmallPackets(length, time) => write!(f, "lose every packet above {length} bytes for {time:?}"),
            Fault::AddressChange => write!(f, "change the gateway's address"),
            Fault::DiskFull(side, time) => write!(f, "fill the {side}'s disk for {time:?}"),
            Fault::ReadOnlySpool(time) => write!(f, "kill the cluster daemon and let it only read its spool for {time:?}"),
            Fault::SlowSync(side, delay, time) => write!(f, "let each sync of the {side} take {delay:?} for {time:?}"),
            Fault::FailingSync(side, time) => write!(f, "let each sync of the {side} fail for {time:?}"),
            Fault::NoZooKeeper(time) => write!(f, "kill ZooKeeper for {time:?}"),
            Fault::ClockJump(side, seconds, time) => write!(f, "put the {side}'s clock {seconds} s ahead for {time:?}"),
            Fault::NameChange => write!(f, "let the service's name lead to another address"),
            Fault::FlippedLog => write!(f, "kill the collector and flip a byte of its log"),
            Fault::TornSpool => write!(f, "kill the cluster daemon and tear the end of its spool"),
            Fault::FlippedSpool => write!(f, "kill the cluster daemon and flip a byte of its spool"),
            Fault::TornLog => write!(f, "kill the collector and tear the end of its log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_each_time_and_another_one_others() {
        let plan = Plan::new(7, 50);
        assert_eq!(plan.steps, Plan::new(7, 50).steps);
        assert_ne!(plan.steps, Plan::new(8, 50).steps);
        assert_eq!(plan.pick(3, 1_000), plan.pick(3, 1_000));
        // A longer plan begins with the shorter one.
        assert_eq!(plan.steps[..20], Plan::new(7, 20).steps);
    }
}
