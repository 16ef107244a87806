// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The agents' recorders: each record gets its cookie, is encoded as its agent does it, and queued.

use std::{collections::HashMap, sync::Arc};

use midonet::{
    flow::{BinaryEncoder, Encoding, FlowRecord, encode_json, frame},
    meters::{Counters, MeterKey},
};
use uuid::Uuid;

use super::emit::Out;
use crate::{
    agent::{Agent, Context, Refused, sender::Outgoing},
    ledger::{Class, Tally},
};

/// State of an agent's recorder.
struct Recorder {
    agent: usize,
    json: bool,
    /// One for each simulation thread: it reuses its buffer.
    encoders: Vec<BinaryEncoder>,
    /// The in-port that each thread's context still holds.
    in_ports: Vec<Option<Uuid>>,
    /// The next cookie of each thread: thread i of n counts i, i + n, … in 32 bits.
    cookies: Vec<u32>,
    turn: usize,
}

pub(super) struct Recorders {
    context: Arc<Context>,
    agents: Arc<Vec<Agent>>,
    recorders: HashMap<Uuid, Recorder>,
    scratch: Vec<u8>,
}

impl Recorders {
    /// `first` is what the threads' counters begin from.
    pub(super) fn new(context: Arc<Context>, agents: Arc<Vec<Agent>>, json_percent: u8, seed: u64, first: u32) -> Recorders {
        let workers = context.workers.max(1);
        let recorders = (0..).zip(agents.iter()).map(|(index, agent)| {
            let json = (index as u64).wrapping_add(seed).wrapping_mul(37) % 100 < u64::from(json_percent);
            let recorder = Recorder {
                agent: index,
                json,
                encoders: vec![BinaryEncoder::new(); workers],
                in_ports: vec![None; workers],
                cookies: (first..first + workers as u32).collect(),
                turn: 0,
            };
            (agent.host.id, recorder)
        });
        let recorders = recorders.collect();
        Recorders {
            context,
            agents,
            recorders,
            scratch: Vec::new(),
        }
    }

    /// A second went by: flows end.
    pub(super) fn tick(&mut self) {
        self.agents.iter().for_each(|agent| agent.meters.lock().tick());
    }
}

impl Out for Recorders {
    fn count(&mut self, host: Uuid, keys: &[MeterKey], length: i64, rest: Counters, life: usize) {
        if let Some(recorder) = self.recorders.get(&host) {
            let agent = &self.agents[recorder.agent];
            if agent.is_alive() {
                agent.meters.lock().count(recorder.turn, keys, length, rest, life);
            }
        }
    }

    fn stale_in_port(&self, host: Uuid) -> Option<Uuid> {
        let recorder = self.recorders.get(&host)?;
        recorder.in_ports[recorder.turn]
    }

    /// Encodes a record as the host's agent does and queues it. Counts as made also if the queue is full; not if there is no agent.
    fn send(&mut self, host: Uuid, mut record: FlowRecord, class: Class, tenant: Arc<str>, rule: Option<Uuid>) -> u64 {
        let Some(recorder) = self.recorders.get_mut(&host) else { return 0 };
        let agent = &self.agents[recorder.agent];
        if !agent.is_alive() {
            return 0;
        }
        let worker = recorder.turn;
        recorder.turn = (worker + 1) % recorder.encoders.len();
        // Agents sign-extend the 32 bits of their counter.
        record.cookie = recorder.cookies[worker] as i32 as i64 as u64;
        recorder.cookies[worker] = recorder.cookies[worker].wrapping_add(recorder.encoders.len() as u32);
        if !matches!(class, Class::Transit | Class::Generated) {
            recorder.in_ports[worker] = record.in_port;
        }
        let tally = Tally {
            host,
            cookie: record.cookie,
            class,
            tenant,
            rule,
            src_port: record.src_port,
            json: recorder.json,
        };
        self.scratch.clear();
        if recorder.json {
            record.encoding = Encoding::Json;
            self.scratch = encode_json(&record);
        } else if recorder.encoders[worker].encode(&record, &mut self.scratch).is_err() {
            // Too much for the agent's buffer: it drops the record too.
            return 0;
        }
        let mut framed = Vec::with_capacity(self.scratch.len() + 4);
        frame::encode(&self.scratch, &mut framed);
        if agent.offer(Outgoing { frame: framed, tally }) == Err(Refused::QueueFull) {
            self.context.ledger.agent(host, |agent| agent.queue_full += 1);
        }
        1
    }
}
