// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The session against a service in virtual time, which decides by the very rules that the real one has, with the connection lost, stores
//! that fail and either side started anew at random points.

use std::collections::{BTreeMap, BTreeSet};

use insights_protocol::{
    Kinds,
    order::{Fate, Order},
};
use proptest::prelude::*;

use super::*;

/// A spool: numbers with gaps where batches were lost, and the bytes of each.
#[derive(Default)]
struct Lane {
    batches: BTreeMap<u64, usize>,
    next: u64,
    /// What was taken out by acknowledgements.
    forgotten: u64,
}

/// The other side: keeps what it took per kind, in the order of its coming.
#[derive(Default)]
struct Service {
    taken: BTreeMap<Kind, Vec<u64>>,
    /// Of the streams of this connection.
    orders: BTreeMap<Kind, Order>,
    connected: bool,
}

/// One on its way up: the kind's stream of this connection, and the number.
type Wire = BTreeMap<Kind, std::collections::VecDeque<u64>>;

struct World {
    session: Session,
    now: Duration,
    lanes: BTreeMap<Kind, Lane>,
    service: Service,
    wire: Wire,
    down: std::collections::VecDeque<ToGateway>,
    connecting: bool,
    open: bool,
    notes: Vec<Note>,
    connects: Vec<(Duration, usize)>,
    loading: Option<(Kind, u64)>,
    stopped: bool,
    byes: usize,
}

const EPOCH: u64 = 5;

impl World {
    fn new(seed: u64) -> World {
        let lanes = Kind::ALL.map(|kind| (kind, Lane { next: 1, ..Lane::default() })).into();
        World {
            session: Session::new(Kinds::ALL, seed),
            now: Duration::ZERO,
            lanes,
            service: Service::default(),
            wire: Wire::new(),
            down: Default::default(),
            connecting: false,
            open: false,
            notes: Vec::new(),
            connects: Vec::new(),
            loading: None,
            stopped: false,
            byes: 0,
        }
    }

    fn append(&mut self, kind: Kind, bytes: usize) {
        let lane = self.lanes.get_mut(&kind).unwrap();
        lane.batches.insert(lane.next, bytes);
        lane.next += 1;
        self.session.stored(kind, lane.next);
    }

    /// The spool gives up a batch that was never sent.
    fn evict(&mut self, kind: Kind, beyond: u64) {
        let lane = self.lanes.get_mut(&kind).unwrap();
        let victim = lane.batches.range(beyond..).next().map(|(number, _)| *number);
        if let Some(number) = victim {
            lane.batches.remove(&number);
        }
    }

    /// Carries out what the session wants.
    fn act(&mut self) {
        loop {
            while let Some(action) = self.session.poll() {
                self.carry_out(action);
            }
            match self.session.next_load() {
                Some((kind, from)) => self.loading = Some((kind, from)),
                None => return,
            }
            let (kind, from) = self.loading.take().unwrap();
            let found = self.lanes[&kind].batches.range(from..).next().map(|(number, bytes)| (*number, *bytes));
            if self.session.loaded(self.now, kind, from, found) {
                self.wire.entry(kind).or_default().push_back(found.unwrap().0);
                self.session.written(kind);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect { key } => {
                assert!(!self.open && !self.connecting, "one connection at a time");
                self.connecting = true;
                self.connects.push((self.now, key));
            }
            Action::Send(ToService::Hello(hello)) => {
                assert!(self.open);
                assert_eq!(hello.protocol, PROTOCOL_VERSION);
            }
            Action::Send(ToService::Bye { .. }) => self.byes += 1,
            Action::Send(_) | Action::Report | Action::Settings(_) | Action::Run(_) | Action::RenewEpoch(_) => {}
            Action::ResetStream(kind) => {
                self.wire.remove(&kind);
                self.service.orders.remove(&kind);
            }
            Action::Forget(Cursor { kind, epoch, sequence }) => {
                assert_eq!(epoch, EPOCH);
                let lane = self.lanes.get_mut(&kind).unwrap();
                assert!(
                    self.service
                        .taken
                        .get(&kind)
                        .and_then(|taken| taken.last())
                        .is_some_and(|last| sequence <= *last),
                    "forgotten unseen"
                );
                lane.batches.retain(|number, _| *number > sequence);
                lane.forgotten = lane.forgotten.max(sequence);
            }
            Action::Close { .. } => {
                if self.open || self.connecting {
                    self.lose(None);
                }
            }
            Action::Note(note) => self.notes.push(note),
            Action::Stopped => self.stopped = true,
        }
    }

    fn establish(&mut self) {
        assert!(std::mem::take(&mut self.connecting));
        self.open = true;
        self.wire.clear();
        self.service.orders.clear();
        self.down.clear();
        let streams = Kind::ALL.map(|kind| {
            let lane = &self.lanes[&kind];
            StreamState {
                kind,
                epoch: EPOCH,
                first: lane.forgotten + 1,
                next: lane.next,
            }
        });
        let hello = Hello {
            protocol: 0,
            software: String::new(),
            gateway: [1; 16],
            name: String::new(),
            started_us: 0,
            clock_us: 0,
            allowed: Kinds::ALL,
            streams: streams.to_vec(),
        };
        self.session.connected(self.now, hello);
        self.act();
    }

    fn welcome(&mut self) {
        let taken = self.service.taken.iter();
        let cursors = taken
            .filter_map(|(&kind, taken)| {
                Some(Cursor {
                    kind,
                    epoch: EPOCH,
                    sequence: *taken.last()?,
                })
            })
            .collect();
        self.service.connected = true;
        self.say(ToGateway::Welcome(welcome_with(cursors)));
    }

    fn say(&mut self, message: ToGateway) {
        self.session.message(self.now, message);
        self.act();
    }

    fn lose(&mut self, trouble: Option<Trouble>) {
        self.open = false;
        self.connecting = false;
        self.service.connected = false;
        self.wire.clear();
        self.down.clear();
        self.session.disconnected(self.now, trouble);
    }

    /// Time passes until the session wants something, at most so long.
    fn pass(&mut self, longest: Duration) {
        let until = self.now + longest;
        while let Some(at) = self.session.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.session.wake(self.now);
            self.act();
            if self.connecting {
                break;
            }
        }
        self.now = self.now.max(until);
    }

    /// The service gets the next batch of a kind, and stores it if its rules say so.
    fn take(&mut self, kind: Kind, ack: bool) {
        self.get(kind, true, ack);
    }

    /// The same, but its disk takes nothing now.
    fn fail(&mut self, kind: Kind) {
        self.get(kind, false, true);
    }

    fn get(&mut self, kind: Kind, stores: bool, ack: bool) {
        let Some(number) = self.wire.get_mut(&kind).and_then(std::collections::VecDeque::pop_front) else {
            return;
        };
        let order = self.service.orders.entry(kind).or_default();
        let taken = self.service.taken.entry(kind).or_default();
        let durable = order.durable(EPOCH).unwrap_or(taken.last().copied());
        assert_eq!(durable, taken.last().copied(), "the service knows what it has");
        let acknowledged = match order.arrived(EPOCH, durable, number) {
            Fate::Leave => return,
            Fate::Known(durable) => durable,
            Fate::Take if stores => {
                taken.push(number);
                order.stored(EPOCH, number);
                number
            }
            Fate::Take => {
                order.failed(number);
                return self.down.push_back(ToGateway::Retry { kind, after_ms: 1_000 });
            }
        };
        if ack {
            self.down.push_back(ToGateway::Ack(Cursor {
                kind,
                epoch: EPOCH,
                sequence: acknowledged,
            }));
        }
    }

    /// The gateway dies, and starts again with what its spool has.
    fn restart(&mut self, seed: u64) {
        if self.open || self.connecting {
            self.lose(None);
        }
        self.session = Session::new(Kinds::ALL, seed);
        self.now += Duration::from_secs(1);
        for (kind, lane) in &self.lanes {
            self.session.stored(*kind, lane.next);
        }
    }

    fn flight_bytes(&self, kind: Kind) -> usize {
        let lane = &self.lanes[&kind];
        self.wire
            .get(&kind)
            .into_iter()
            .flatten()
            .filter_map(|number| lane.batches.get(number))
            .sum()
    }
}

fn welcome_with(cursors: Vec<Cursor>) -> Welcome {
    Welcome {
        protocol: PROTOCOL_VERSION,
        software: String::new(),
        clock_us: 0,
        site: "site".into(),
        settings: Settings::default(),
        cursors,
    }
}

fn ready(seed: u64) -> World {
    let mut world = World::new(seed);
    world.pass(Duration::from_secs(1));
    world.act();
    world.establish();
    world.welcome();
    world
}

fn refusal(code: RefusalCode, retry_after_s: u32) -> Refusal {
    Refusal {
        code,
        reason: "r".into(),
        remedy: "m".into(),
        retry_after_s,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, usize),
    Take(usize, bool),
    Answer,
    Retry(usize),
    Fail(usize),
    Restart(u64),
    Lose,
    Pass(u64),
    Evict(usize),
    Drain,
}

/// A share of the cases that `PROPTEST_CASES` asks for in a long run.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_000);
    ProptestConfig {
        cases,
        ..ProptestConfig::default()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4usize, prop_oneof![1..5_000usize, 1_000_000..4_000_000usize]).prop_map(|(kind, bytes)| Step::Append(kind, bytes)),
        6 => (0..4usize, any::<bool>()).prop_map(|(kind, ack)| Step::Take(kind, ack)),
        5 => Just(Step::Answer),
        1 => (0..4usize).prop_map(Step::Retry),
        1 => (0..4usize).prop_map(Step::Fail),
        1 => any::<u64>().prop_map(Step::Restart),
        2 => Just(Step::Lose),
        3 => (0..200_000u64).prop_map(Step::Pass),
        1 => (0..4usize).prop_map(Step::Evict),
        1 => Just(Step::Drain),
    ];
    proptest::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(config())]

    /// Whatever happens to the connection: every batch arrives once, in order, and is forgotten only then.
    #[test]
    fn nothing_is_skipped_and_the_order_is_kept(steps in steps(), seed in any::<u64>()) {
        let mut world = World::new(seed);
        let mut evicted: BTreeSet<(Kind, u64)> = BTreeSet::new();
        for step in steps {
            if world.connecting {
                world.establish();
                world.welcome();
            }
            match step {
                Step::Append(kind, bytes) => world.append(Kind::ALL[kind], bytes),
                Step::Take(kind, ack) => world.take(Kind::ALL[kind], ack),
                Step::Answer => if let Some(message) = world.down.pop_front().filter(|_| world.open) { world.say(message) },
                Step::Retry(kind) => if world.open { world.say(ToGateway::Retry { kind: Kind::ALL[kind], after_ms: 50 }) },
                Step::Fail(kind) => world.fail(Kind::ALL[kind]),
                Step::Restart(seed) => world.restart(seed),
                Step::Lose => if world.open || world.connecting { world.lose(Some(Trouble::Protocol("gone".into()))) },
                Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
                Step::Evict(kind) => {
                    // Only what was never sent, as the spool's protection has it.
                    let kind = Kind::ALL[kind];
                    let sent = world.service.taken.get(&kind).and_then(|taken| taken.last()).copied().unwrap_or(0);
                    let sent = world.wire.get(&kind).and_then(|wire| wire.back()).copied().unwrap_or(0).max(sent).max(world.lanes[&kind].forgotten);
                    let before: BTreeSet<u64> = world.lanes[&kind].batches.keys().copied().collect();
                    world.evict(kind, sent + 1);
                    let after: BTreeSet<u64> = world.lanes[&kind].batches.keys().copied().collect();
                    evicted.extend(before.difference(&after).map(|number| (kind, *number)));
                }
                Step::Drain => if world.open { world.say(ToGateway::Draining { reconnect_after_ms: 100 }) },
            }
            world.act();
            for kind in Kind::ALL {
                prop_assert!(world.flight_bytes(kind) < WINDOW_BYTES + 4_000_000);
            }
        }
        // Left alone with a service that answers, everything arrives.
        for _ in 0..20_000 {
            world.act();
            if world.connecting { world.establish(); world.welcome(); }
            Kind::ALL.into_iter().for_each(|kind| world.take(kind, true));
            match world.down.pop_front().filter(|_| world.open) {
                Some(message) => world.say(message),
                None => world.pass(Duration::from_millis(500)),
            }
            if world.lanes.values().all(|lane| lane.batches.is_empty()) { break; }
        }
        for kind in Kind::ALL {
            let all: Vec<u64> = (1..world.lanes[&kind].next).filter(|number| !evicted.contains(&(kind, *number))).collect();
            let taken = world.service.taken.remove(&kind).unwrap_or_default();
            prop_assert_eq!(taken, all, "{}", kind);
            prop_assert!(world.lanes[&kind].batches.is_empty(), "acknowledged batches are forgotten");
        }
    }

    /// No message at any time makes it panic or talk out of turn.
    #[test]
    fn a_service_that_says_anything_is_borne(messages in proptest::collection::vec((0..8u8, 0..4usize, any::<u64>(), any::<u32>(), any::<bool>()), 1..60)) {
        let mut world = World::new(1);
        world.append(Kind::Flows, 10);
        for (what, kind, number, pause, lose) in messages {
            world.act();
            if world.connecting { world.establish(); }
            let kind = Kind::ALL[kind];
            let cursor = Cursor { kind, epoch: if number % 3 == 0 { EPOCH } else { number }, sequence: number % 4 };
            if world.open {
                // A service that was told more than this one holds is outside of this test.
                world.service.taken.insert(kind, vec![u64::MAX]);
                let message = match what {
                    0 => ToGateway::Welcome(welcome_with(vec![cursor])),
                    1 => ToGateway::Refused(refusal(RefusalCode::UnknownKey, pause)),
                    2 => ToGateway::Settings(Settings { kinds: Kinds::ALL, metering_interval_s: pause }),
                    3 => ToGateway::Command(Command { id: number, what: insights_protocol::control::CommandKind::Diagnostics }),
                    4 => ToGateway::Ack(cursor),
                    5 => ToGateway::Retry { kind, after_ms: pause },
                    6 => ToGateway::Draining { reconnect_after_ms: pause },
                    _ => ToGateway::Welcome(Welcome { protocol: 7, ..welcome_with(Vec::new()) }),
                };
                world.say(message);
            }
            if lose && (world.open || world.connecting) { world.lose(None); }
            world.pass(Duration::from_secs(u64::from(pause) % 4_000));
        }
        // Pauses are bounded whatever was asked for.
        if let Some(at) = world.session.deadline() {
            prop_assert!(at <= world.now + MAX_REFUSAL_PAUSE + BACKOFF.1);
        }
    }
}

#[test]
fn pauses_grow_with_jitter_and_start_again_after_a_good_connection() {
    let mut world = World::new(3);
    let mut pauses = Vec::new();
    let mut last = Duration::ZERO;
    for _ in 0..12 {
        world.pass(Duration::from_secs(100));
        let at = world.connects.last().unwrap().0;
        pauses.push(at - last);
        last = at;
        world.now = at;
        world.lose(Some(Trouble::Failed {
            reason: "no".into(),
            remedy: String::new(),
        }));
    }
    for (index, pause) in pauses.iter().enumerate().skip(1) {
        let full = Duration::from_secs(1 << (index - 1).min(10)).min(BACKOFF.1);
        assert!(*pause >= full / 2 && *pause <= full, "pause {index} is {pause:?}");
    }
    assert_eq!(world.notes.len(), 1, "told once");

    world.pass(Duration::from_secs(100));
    world.establish();
    world.welcome();
    world.pass(GOOD_AFTER);
    world.lose(None);
    let at = world.now;
    world.pass(Duration::from_secs(100));
    assert!(world.connects.last().unwrap().0 <= at + BACKOFF.0);
}

#[test]
fn a_refusal_is_told_once_and_its_pause_is_kept() {
    let mut world = World::new(1);
    for round in 0..3 {
        world.pass(Duration::from_secs(4_000));
        world.establish();
        let at = world.now;
        world.say(ToGateway::Refused(refusal(RefusalCode::UnknownKey, 600)));
        assert!(!world.open);
        assert!(world.session.deadline().unwrap() >= at + Duration::from_secs(600), "round {round}");
    }
    assert_eq!(world.notes.len(), 1);
    // Another refusal is another line; so is the first one after it worked.
    world.pass(Duration::from_secs(4_000));
    world.establish();
    world.say(ToGateway::Refused(refusal(RefusalCode::Site, 1)));
    assert_eq!(world.notes.len(), 2);
    world.pass(Duration::from_secs(4_000));
    world.establish();
    world.welcome();
    world.say(ToGateway::Refused(refusal(RefusalCode::KeyDeleted, 1)));
    assert_eq!(world.notes.len(), 4);
}

#[test]
fn both_keys_are_tried_at_once_and_each_refusal_is_told_once() {
    let mut world = World::new(1);
    world.session.keys(2);
    for _ in 0..3 {
        world.pass(Duration::from_secs(100));
        world.establish();
        world.say(ToGateway::Refused(refusal(RefusalCode::UnknownKey, 10)));
        let at = world.now;
        world.pass(Duration::from_millis(1));
        assert_eq!(*world.connects.last().unwrap(), (at, 1), "the old key without a pause");
        world.establish();
        world.say(ToGateway::Refused(refusal(RefusalCode::UnknownKey, 10)));
        assert!(world.session.deadline().unwrap() >= at + Duration::from_secs(10));
    }
    assert_eq!(world.notes.len(), 2);
    world.pass(Duration::from_secs(100));
    assert_eq!(world.connects.last().unwrap().1, 0, "the new key first");
}

#[test]
fn withheld_kinds_are_not_sent() {
    let mut world = ready(1);
    world.say(ToGateway::Settings(Settings {
        kinds: Kinds { flows: false, ..Kinds::ALL },
        metering_interval_s: 0,
    }));
    world.append(Kind::Flows, 10);
    world.append(Kind::Meters, 10);
    world.act();
    assert_eq!(world.wire.keys().collect::<Vec<_>>(), [&Kind::Meters]);
    world.say(ToGateway::Settings(Settings::default()));
    assert!(world.wire.contains_key(&Kind::Flows));
}

#[test]
fn a_service_that_acknowledges_nothing_is_left() {
    let mut world = ready(1);
    world.append(Kind::Events, 10);
    world.act();
    world.pass(ACK_TIME - Duration::from_secs(1));
    assert!(world.open);
    world.pass(Duration::from_secs(2));
    assert!(!world.open);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_connection() {
    let mut world = ready(1);
    world.say(ToGateway::Ack(Cursor {
        kind: Kind::Events,
        epoch: EPOCH,
        sequence: 4,
    }));
    assert!(!world.open);
    assert!(matches!(&world.notes[1], Note::Trouble(Trouble::Protocol(what)) if what.contains("never sent")));
}

#[test]
fn a_stop_sends_what_waits_and_says_goodbye() {
    let mut world = ready(1);
    world.append(Kind::Events, 10);
    world.act();
    world.session.stop(world.now, Duration::from_secs(1));
    world.act();
    assert!(!world.stopped);
    world.append(Kind::Events, 10);
    world.act();
    world.take(Kind::Events, true);
    world.take(Kind::Events, true);
    while let Some(message) = world.down.pop_front() {
        world.say(message);
    }
    assert!(world.stopped && world.byes == 1);

    // And when nothing is acknowledged, its time ends it.
    let mut world = ready(2);
    world.append(Kind::Events, 10);
    world.act();
    world.session.stop(world.now, Duration::from_secs(1));
    world.pass(Duration::from_secs(2));
    assert!(world.stopped && world.byes == 1);
}

#[test]
fn a_silent_service_is_left_after_the_greeting_time() {
    let mut world = World::new(1);
    world.pass(Duration::from_secs(1));
    world.establish();
    world.pass(GREETING_TIME);
    assert!(!world.open);
    assert!(matches!(&world.notes[0], Note::Trouble(Trouble::Protocol(what)) if what.contains("greeting")));
}

#[test]
fn a_cursor_beyond_the_spool_asks_for_a_new_epoch() {
    let mut world = World::new(1);
    world.append(Kind::Flows, 1);
    world.pass(Duration::from_secs(1));
    world.establish();
    let stale = Cursor {
        kind: Kind::Flows,
        epoch: EPOCH,
        sequence: 2,
    };
    world.session.message(world.now, ToGateway::Welcome(welcome_with(vec![stale])));
    let mut actions = Vec::new();
    while let Some(action) = world.session.poll() {
        actions.push(action);
    }
    assert_eq!(actions[0], Action::RenewEpoch(Kind::Flows));
    assert!(matches!(actions[1], Action::Close { .. }));
}
