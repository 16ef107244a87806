// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::sync::Arc;

use midonet::{
    flow::FlowRecord,
    meters::{Counters, MeterKey},
};
use rand::{SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::{
    emit::{Emitter, Out},
    pick::Kind,
};
use crate::{ledger::Class, view::View};

/// Keeps records instead of sending them.
struct Collected {
    records: Vec<FlowRecord>,
}

impl Out for Collected {
    fn count(&mut self, _: Uuid, _: &[MeterKey], _: i64, _: Counters, _: usize) {}

    fn stale_in_port(&self, _: Uuid) -> Option<Uuid> {
        None
    }

    fn send(&mut self, _: Uuid, mut record: FlowRecord, _: Class, _: Arc<str>, _: Option<Uuid>) -> u64 {
        record.cookie = self.records.len() as u64;
        self.records.push(record);
        1
    }
}

/// As many records as asked for of a cloud's traffic, all of them at once; fewer if the cloud has no traffic.
pub fn sample(view: &View, seed: u64, count: usize) -> Vec<FlowRecord> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut emitter = Emitter::new(Collected {
        records: Vec::with_capacity(count),
    });
    // A pick may come to nothing, where a cloud lacks what it needs.
    for _ in 0..count.saturating_mul(8) {
        if emitter.out.records.len() >= count {
            break;
        }
        match Kind::pick(&mut rng) {
            Some(Kind::Noise) => drop(emitter.noise(view, &mut rng)),
            Some(kind) => {
                if let Some(mut connection) = kind.connection(view, &mut rng, 0.0) {
                    emitter.connection(view, &mut connection, 0.0, &mut rng);
                }
            }
            None => {}
        }
    }
    emitter.out.records.truncate(count);
    emitter.out.records
}
