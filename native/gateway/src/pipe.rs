// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The way of facts from the taps to the disk.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use insights_protocol::{
    Kind, Kinds,
    control::KindCounters,
    event::{Event, LossCause, Lost},
    flow::FlowFact,
    meters::HostReading,
    topology::Change,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::{fresh::Fresh, session::leaves};

/// Flows that wait for their batch: a third of a second at 50,000 flows/s; some 10 MB.
const FLOW_QUEUE: usize = 16_384;
/// Lists of changes that wait; a tap that is faster waits in turn.
const TOPOLOGY_QUEUE: usize = 64;
const METER_QUEUE: usize = 64;
/// Events beyond these are dropped and counted: a fault that makes more of them says nothing new.
const EVENT_QUEUE: usize = 1_024;

/// Where taps put what they find. Cheap to clone; all clones are the same pipe.
#[derive(Clone, Debug)]
pub struct Pipe(Arc<Inner>);

/// What may leave this gateway now: the site's configuration and, within that, what the service asks for and what falls to this gateway
/// among several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    pub kinds: Kinds,
    /// Time between meter readings.
    pub metering_interval: Duration,
}

/// Numbers that taps keep up to date, for the gateway's report.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Agents connected to the recorder endpoint now.
    pub agents_connected: AtomicU32,
    /// Of them, those whose address is no host's in the NSDB.
    pub agents_foreign: AtomicU32,
    /// Connections to the recorder endpoint that were refused for their address since the start.
    pub agents_refused: AtomicU64,
    /// Agents whose meters answered in the last round.
    pub meters_answered: AtomicU32,
    /// Agents that the NSDB shows as alive.
    pub agents_alive: AtomicU32,
    /// Orders the leaders of a site: creation time of this gateway's leader node, ms by ZooKeeper's clock; 0 while it doesn't lead.
    pub term: AtomicI64,
    /// Whether topology and meters are held back only because this gateway doesn't lead.
    pub waits: AtomicBool,
    /// Times that this gateway took over from another one: what it knows of before is not what was sent last.
    pub takeovers: AtomicU64,
}

/// Decides [`Settings`] from what the service asks for and from whether this gateway leads. Only a leader sends topology and meters.
#[derive(Clone, Debug)]
pub struct Switches {
    pipe: Pipe,
    settings: watch::Sender<Settings>,
    /// As if this gateway led.
    asked: Arc<Mutex<Settings>>,
}

#[derive(Debug)]
struct Inner {
    topology: mpsc::Sender<Vec<Change>>,
    events: mpsc::Sender<Event>,
    meters: mpsc::Sender<HostReading>,
    flows: mpsc::Sender<FlowFact>,
    settings: watch::Receiver<Settings>,
    resend: watch::Receiver<u64>,
    counters: Counters,
    gauges: Gauges,
    fresh: Fresh,
    /// Given up since the last report, by kind and cause.
    losses: Mutex<BTreeMap<(Kind, LossCause), Lost>>,
}

/// The other end of the pipe.
#[derive(Debug)]
pub struct PipeEnd {
    pub topology: mpsc::Receiver<Vec<Change>>,
    pub events: mpsc::Receiver<Event>,
    pub meters: mpsc::Receiver<HostReading>,
    pub flows: mpsc::Receiver<FlowFact>,
    pub settings: watch::Sender<Settings>,
    /// Counts the snapshots that were asked for.
    pub resend: watch::Sender<u64>,
}

impl Switches {
    /// Nothing but flows and events leaves until this gateway leads.
    pub fn new(pipe: Pipe, end: &PipeEnd) -> Switches {
        let asked = *end.settings.borrow();
        let switches = Switches {
            pipe,
            settings: end.settings.clone(),
            asked: Arc::new(Mutex::new(asked)),
        };
        switches.follow();
        switches
    }

    /// Whether these settings are new.
    pub fn asked(&self, settings: Settings) -> bool {
        let mut asked = self.asked.lock();
        let changed = std::mem::replace(&mut *asked, settings) != settings;
        self.decide(*asked);
        changed
    }

    /// This gateway leads, by a node that was created at this time. `goes_on` says that no other gateway led since it did last.
    pub fn lead(&self, term: i64, goes_on: bool) {
        if !goes_on {
            self.pipe.gauges().takeovers.fetch_add(1, Ordering::Relaxed);
        }
        self.turn(term);
    }

    /// Another gateway may lead.
    pub fn follow(&self) {
        self.turn(0);
    }

    fn turn(&self, term: i64) {
        let asked = self.asked.lock();
        self.pipe.gauges().term.store(term, Ordering::Relaxed);
        self.pipe.gauges().waits.store(term == 0, Ordering::Relaxed);
        self.decide(*asked);
    }

    pub fn leads(&self) -> bool {
        self.pipe.gauges().term.load(Ordering::Relaxed) != 0
    }

    fn decide(&self, asked: Settings) {
        let leads = self.leads();
        let kinds = Kinds {
            topology: asked.kinds.topology && leads,
            state: asked.kinds.state && leads,
            metering: asked.kinds.metering && leads,
            ..asked.kinds
        };
        let decided = Settings { kinds, ..asked };
        self.settings.send_if_modified(|settings| std::mem::replace(settings, decided) != decided);
    }
}

impl Pipe {
    /// A pipe and its other end. Tests of taps read the other end themselves.
    pub fn new(settings: Settings) -> (Pipe, PipeEnd) {
        let (topology, topology_end) = mpsc::channel(TOPOLOGY_QUEUE);
        let (events, events_end) = mpsc::channel(EVENT_QUEUE);
        let (meters, meters_end) = mpsc::channel(METER_QUEUE);
        let (flows, flows_end) = mpsc::channel(FLOW_QUEUE);
        let (settings_end, settings) = watch::channel(settings);
        let (resend_end, resend) = watch::channel(0);
        let inner = Inner {
            topology,
            events,
            meters,
            flows,
            settings,
            resend,
            counters: Counters::default(),
            gauges: Gauges::default(),
            fresh: Fresh::default(),
            losses: Mutex::default(),
        };
        let end = PipeEnd {
            topology: topology_end,
            events: events_end,
            meters: meters_end,
            flows: flows_end,
            settings: settings_end,
            resend: resend_end,
        };
        (Pipe(Arc::new(inner)), end)
    }

    /// Changes of the NSDB in their order. Waits while the queue is full, which is as long as the disk takes; a list should hold at most
    /// some thousand changes. Once the gateway stops, changes are passed over.
    pub async fn topology(&self, changes: Vec<Change>) {
        if self.0.gauges.waits.load(Ordering::Relaxed) {
            // Found while this gateway led; the one that leads now sends them.
            return;
        }
        let count = changes.len() as u64;
        self.count(Kind::Topology, Count::Received, count);
        if !leaves(self.kinds(), Kind::Topology) || self.0.topology.send(changes).await.is_err() {
            self.count(Kind::Topology, Count::Dropped, count);
        }
    }

    /// One flow record. Never waits; `false` when it was dropped, which is counted and reported by the pipe.
    pub fn flow(&self, flow: FlowFact) -> bool {
        self.count(Kind::Flows, Count::Received, 1);
        let at_us = flow.received_us;
        let outcome = if self.kinds().flows {
            self.0.flows.try_send(flow).map_err(|_| true)
        } else {
            Err(false)
        };
        if let Err(full) = outcome {
            self.count(Kind::Flows, Count::Dropped, 1);
            if full {
                self.lost(Kind::Flows, LossCause::QueueFull, 1, at_us, at_us);
            }
        }
        outcome.is_ok()
    }

    /// One reading of an agent's meters. Waits while the queue is full.
    pub async fn meters(&self, reading: HostReading) {
        self.count(Kind::Meters, Count::Received, 1);
        if !self.kinds().metering || self.0.meters.send(reading).await.is_err() {
            self.count(Kind::Meters, Count::Dropped, 1);
        }
    }

    /// Something that people should know. Never waits; events above the queue's bound are dropped and counted.
    pub fn event(&self, event: Event) {
        self.count(Kind::Events, Count::Received, 1);
        let at_us = event.at_us;
        if self.0.events.try_send(event).is_err() {
            self.count(Kind::Events, Count::Dropped, 1);
            self.lost(Kind::Events, LossCause::QueueFull, 1, at_us, at_us);
        }
    }

    /// Records of a source that could not be decoded. They count as received too; the pipe reports them as lost.
    pub fn invalid(&self, kind: Kind, records: u64) {
        self.count(kind, Count::Received, records);
        self.count(kind, Count::Invalid, records);
        self.lost(kind, LossCause::Invalid, records, 0, 0);
    }

    /// What may leave now. A tap whose data may not leave collects none.
    pub fn settings(&self) -> watch::Receiver<Settings> {
        self.0.settings.clone()
    }

    /// Rises whenever a whole snapshot of the topology is wanted again.
    pub fn resend(&self) -> watch::Receiver<u64> {
        self.0.resend.clone()
    }

    pub fn gauges(&self) -> &Gauges {
        &self.0.gauges
    }

    /// Flows that are on disk since just now.
    pub(crate) fn fresh(&self) -> &Fresh {
        &self.0.fresh
    }

    /// What was counted since the start, in the order of [`Kind::ALL`].
    pub fn counters(&self) -> Vec<KindCounters> {
        Kind::ALL.into_iter().map(|kind| self.0.counters.of(kind)).collect()
    }

    /// Notes records that were given up, for the next report. A time of 0 is that of the report.
    pub(crate) fn lost(&self, kind: Kind, cause: LossCause, records: u64, first_us: i64, last_us: i64) {
        let mut losses = self.0.losses.lock();
        let lost = losses.entry((kind, cause)).or_insert(Lost {
            kind,
            records: 0,
            first_us,
            last_us,
            cause,
        });
        lost.records += records;
        lost.first_us = lost.first_us.min(first_us);
        lost.last_us = lost.last_us.max(last_us);
    }

    /// What was given up since the last call.
    pub(crate) fn take_lost(&self) -> Vec<Lost> {
        std::mem::take(&mut *self.0.losses.lock())
            .into_values()
            .filter(|lost| lost.records > 0)
            .collect()
    }

    fn kinds(&self) -> Kinds {
        self.0.settings.borrow().kinds
    }

    pub(crate) fn count(&self, kind: Kind, what: Count, records: u64) {
        self.0.counters.0[kind as usize - 1][what as usize].fetch_add(records, Ordering::Relaxed);
    }
}

/// What a record met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Received,
    Invalid,
    Dropped,
    Spooled,
    Evicted,
    Acknowledged,
}

/// By kind and by [`Count`].
#[derive(Debug, Default)]
struct Counters([[AtomicU64; 6]; 4]);

impl Counters {
    fn of(&self, kind: Kind) -> KindCounters {
        let read = |what: Count| self.0[kind as usize - 1][what as usize].load(Ordering::Relaxed);
        KindCounters {
            kind,
            received: read(Count::Received),
            invalid: read(Count::Invalid),
            dropped: read(Count::Dropped),
            spooled: read(Count::Spooled),
            evicted: read(Count::Evicted),
            acknowledged: read(Count::Acknowledged),
        }
    }
}
