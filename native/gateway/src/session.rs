// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What to say and what to send on the connection to the service, without sockets and without a clock.
//!
//! The shell ([`crate::uplink`]) tells what happened ([`Session::connected`], [`Session::message`], …) and carries out what
//! [`Session::poll`] gives. Times are durations since any fixed start; randomness comes from a seed.
//!
//! Per kind of data the session knows three places in the lane: up to where the service acknowledged, up to where was sent on this
//! connection, and up to where the spool holds records. It never has more than [`WINDOW_BYTES`] and one batch on the way per kind. A new
//! connection goes on behind the service's own cursor, so what was lost with the old one is sent again, in order, and what arrived is not.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use insights_protocol::{
    Kind, Kinds, PROTOCOL_VERSION,
    control::{Command, CommandDone, Cursor, Hello, Refusal, RefusalCode, Report, Settings, StreamState, ToGateway, ToService, Welcome, close},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

mod lane;
#[cfg(test)]
mod tests;

use lane::Lane;

/// Bytes of one kind that may be on the way without an acknowledgement, not counting the batch that crosses the bound: fills
/// 300 Mbit/s at 100 ms.
pub const WINDOW_BYTES: usize = 4 << 20;

/// First and longest pause between tries, before jitter takes up to half of it away.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A connection that held so long was a good one: the next pause is the first one again.
const GOOD_AFTER: Duration = Duration::from_secs(30);
/// The service has so long to answer the greeting.
const GREETING_TIME: Duration = Duration::from_secs(10);
/// Batches on the way and no acknowledgement for so long: the other side is stuck, perhaps another one is not.
const ACK_TIME: Duration = Duration::from_secs(120);
/// A service that drains gets so long to acknowledge what is on the way.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Bounds on pauses that the service asks for.
const MAX_REFUSAL_PAUSE: Duration = Duration::from_secs(3_600);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(300);

/// The session of one gateway, over all of its connections.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    lanes: [Lane; 4],
    /// What the site's configuration lets leave, and what the service asks for within it.
    allowed: Kinds,
    asked: Kinds,
    tries: u32,
    rng: StdRng,
    /// How many keys there are to try, which one is tried, and how many were refused since one was accepted.
    keys: usize,
    key: usize,
    refused_keys: usize,
    site: String,
    out: VecDeque<Action>,
    /// The trouble that was told last with each key, so that it is told once.
    told: BTreeMap<usize, String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Waits for the next try.
    Waiting {
        until: Duration,
    },
    Connecting,
    /// Connected; the greeting was sent.
    Greeting {
        until: Duration,
    },
    Ready {
        since: Duration,
        report_at: Duration,
    },
    /// Either side ends: nothing new is sent, what is on the way may still be acknowledged.
    Draining {
        until: Duration,
        pause: Duration,
    },
    /// The gateway stops: everything that can still be sent is.
    Leaving {
        until: Duration,
    },
    /// Closed from here; the shell has yet to say so.
    Closing {
        pause: Duration,
    },
    Stopped,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Connect with this key: 0 is the newest.
    Connect {
        key: usize,
    },
    Send(ToService),
    /// Send a report: [`Session::report`].
    Report,
    /// Give up the stream of this kind; the next batch goes on a new one.
    ResetStream(Kind),
    /// The service has all up to here.
    Forget(Cursor),
    /// The service knows numbers that the spool never gave: its lane needs another epoch.
    RenewEpoch(Kind),
    Settings(Settings),
    Run(Command),
    Close {
        code: u32,
        reason: &'static str,
    },
    /// A change of state, for the log.
    Note(Note),
    /// The session ended.
    Stopped,
}

/// A change of state that people should see, told once.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    Connected {
        site: String,
        clock_us: i64,
    },
    /// Not connected: why, and what to do.
    Trouble(Trouble),
    /// The service asked for a pause.
    Draining {
        pause: Duration,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    Refused {
        refusal: Refusal,
        key: usize,
    },
    /// The other side speaks another protocol or broke this one.
    Protocol(String),
    /// No answer from this address.
    Silent {
        address: String,
        port: u16,
    },
    /// What the shell met.
    Failed {
        reason: String,
        remedy: String,
    },
}

impl Session {
    pub fn new(allowed: Kinds, seed: u64) -> Session {
        Session {
            phase: Phase::Waiting { until: Duration::ZERO },
            lanes: Default::default(),
            allowed,
            asked: Kinds::ALL,
            tries: 0,
            rng: StdRng::seed_from_u64(seed),
            keys: 1,
            key: 0,
            refused_keys: 0,
            site: String::new(),
            out: Default::default(),
            told: BTreeMap::new(),
        }
    }

    /// What to do next; to be asked until it is `None`.
    pub fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// When [`Session::wake`] wants to be called.
    pub fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until } | Phase::Greeting { until } | Phase::Draining { until, .. } | Phase::Leaving { until } => Some(until),
            Phase::Ready { report_at, .. } => {
                let paused = self.lanes.iter().filter_map(Lane::paused_until).min();
                let stalled = self.lanes.iter().filter_map(|lane| lane.stalled_at(ACK_TIME)).min();
                [Some(report_at), paused, stalled].into_iter().flatten().min()
            }
            Phase::Connecting | Phase::Closing { .. } | Phase::Stopped => None,
        }
    }

    /// Time passed.
    pub fn wake(&mut self, now: Duration) {
        match self.phase {
            Phase::Waiting { until } if now >= until => {
                self.phase = Phase::Connecting;
                self.out.push_back(Action::Connect { key: self.key });
            }
            Phase::Greeting { until } if now >= until => {
                self.trouble(Trouble::Protocol("the service does not answer the greeting".into()));
                self.close(close::PROTOCOL_ERROR, "no greeting", Duration::ZERO);
            }
            Phase::Draining { until, pause } if now >= until => self.close(close::NORMAL, "draining", pause),
            Phase::Leaving { until } if now >= until => self.leave(),
            Phase::Ready { since, report_at } => {
                if self.lanes.iter().any(|lane| lane.stalled_at(ACK_TIME).is_some_and(|at| now >= at)) {
                    self.trouble(Trouble::Protocol("the service acknowledges nothing".into()));
                    return self.close(close::NORMAL, "no acknowledgement", Duration::ZERO);
                }
                self.lanes.iter_mut().for_each(|lane| lane.resume(now));
                if now >= report_at {
                    self.phase = Phase::Ready {
                        since,
                        report_at: now + REPORT_INTERVAL,
                    };
                    self.out.push_back(Action::Report);
                }
            }
            _ => {}
        }
    }

    /// There are so many keys to try, the newest first.
    pub fn keys(&mut self, count: usize) {
        self.keys = count.max(1);
        self.key %= self.keys;
    }

    /// A connection stands. `hello` is sent with what is allowed and what waits.
    pub fn connected(&mut self, now: Duration, hello: Hello) {
        if self.phase != Phase::Connecting {
            return;
        }
        for (lane, state) in self.lanes.iter_mut().zip(in_order(&hello.streams)) {
            lane.begin(state);
        }
        self.phase = Phase::Greeting { until: now + GREETING_TIME };
        self.out.push_back(Action::Send(ToService::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            allowed: self.allowed,
            ..hello
        })));
    }

    /// A try failed, or the connection is gone.
    pub fn disconnected(&mut self, now: Duration, trouble: Option<Trouble>) {
        let mut pause = Duration::ZERO;
        match self.phase {
            Phase::Stopped => return,
            Phase::Leaving { .. } => return self.stopped(),
            Phase::Closing { pause: asked } | Phase::Draining { pause: asked, .. } => pause = asked,
            Phase::Ready { since, .. } if now.saturating_sub(since) >= GOOD_AFTER => self.tries = 0,
            _ => {}
        }
        let closed_here = matches!(self.phase, Phase::Closing { .. });
        if let Some(trouble) = trouble.filter(|_| !closed_here) {
            if let Trouble::Refused { refusal, .. } = &trouble {
                pause = self.refused_pause(refusal);
            }
            self.trouble(trouble);
        }
        self.lanes.iter_mut().for_each(Lane::end);
        let until = if self.another_key() { now } else { now + pause.max(self.backoff()) };
        self.phase = Phase::Waiting { until };
    }

    /// The service said something.
    pub fn message(&mut self, now: Duration, message: ToGateway) {
        match (self.phase, message) {
            (Phase::Greeting { .. }, ToGateway::Welcome(welcome)) => self.welcome(now, welcome),
            (Phase::Greeting { .. } | Phase::Ready { .. } | Phase::Leaving { .. }, ToGateway::Refused(refusal)) => {
                let pause = self.refused_pause(&refusal);
                self.trouble(Trouble::Refused { refusal, key: self.key });
                self.close(close::REFUSED, "refused", pause);
            }
            (Phase::Ready { .. } | Phase::Draining { .. } | Phase::Leaving { .. }, ToGateway::Ack(cursor)) => {
                if self.lanes[cursor.kind as usize - 1].never_sent(&cursor) {
                    return self.broken("the service acknowledged what was never sent");
                }
                self.ack(now, cursor);
            }
            (Phase::Ready { .. }, ToGateway::Retry { kind, after_ms }) => {
                let pause = Duration::from_millis(after_ms.into()).min(MAX_RETRY_PAUSE);
                self.lanes[kind as usize - 1].retry(now + pause);
                self.out.push_back(Action::ResetStream(kind));
            }
            (Phase::Ready { .. }, ToGateway::Settings(settings)) => self.settings(settings),
            (Phase::Ready { .. }, ToGateway::Command(command)) => self.out.push_back(Action::Run(command)),
            (Phase::Ready { .. }, ToGateway::Draining { reconnect_after_ms }) => {
                let pause = Duration::from_millis(reconnect_after_ms.into()).min(MAX_RETRY_PAUSE);
                // Every gateway of the service hears it at once: they come back spread over as long again.
                let pause = pause + pause.mul_f64(self.rng.random());
                self.out.push_back(Action::Note(Note::Draining { pause }));
                self.phase = Phase::Draining {
                    until: now + DRAIN_TIME,
                    pause,
                };
                self.tries = 0;
                self.end_if_drained();
            }
            // Sent before the service knew of our end.
            (Phase::Draining { .. } | Phase::Leaving { .. } | Phase::Closing { .. } | Phase::Stopped, _) => {}
            (Phase::Waiting { .. } | Phase::Connecting, _) => {}
            (Phase::Greeting { .. } | Phase::Ready { .. }, _) => self.broken("the service sent a message out of turn"),
        }
    }

    /// What came can't be read.
    pub fn broken(&mut self, what: &str) {
        self.trouble(Trouble::Protocol(what.to_owned()));
        self.close(close::PROTOCOL_ERROR, "protocol", Duration::ZERO);
    }

    /// The spool holds records of this kind below `next`.
    pub fn stored(&mut self, kind: Kind, next: u64) {
        self.lanes[kind as usize - 1].stored(next);
    }

    /// The next record to read from the spool: kind, and the number to read from. Its outcome goes to [`Session::loaded`]. Kinds with a
    /// lower number go first; of one kind only one is read or written at a time.
    pub fn next_load(&mut self) -> Option<(Kind, u64)> {
        if !matches!(self.phase, Phase::Ready { .. } | Phase::Leaving { .. }) {
            return None;
        }
        let kinds = self.allowed.and(self.asked);
        Kind::ALL
            .into_iter()
            .filter(|kind| leaves(kinds, *kind))
            .find_map(|kind| Some((kind, self.lanes[kind as usize - 1].load()?)))
    }

    /// What was read: number and bytes of the record, or that there is none. `true`: write it, then call [`Session::written`].
    pub fn loaded(&mut self, now: Duration, kind: Kind, from: u64, found: Option<(u64, usize)>) -> bool {
        let lane = &mut self.lanes[kind as usize - 1];
        match self.phase {
            Phase::Ready { .. } | Phase::Leaving { .. } => lane.loaded(now, from, found),
            _ => lane.cancel(),
        }
    }

    /// The record is on its stream.
    pub fn written(&mut self, kind: Kind) {
        self.lanes[kind as usize - 1].written();
        self.leave_if_done();
    }

    /// The outcome of a command.
    pub fn command_done(&mut self, done: CommandDone) {
        if matches!(self.phase, Phase::Ready { .. }) {
            self.out.push_back(Action::Send(ToService::CommandDone(done)));
        }
    }

    /// A report that [`Action::Report`] asked for.
    pub fn report(&mut self, report: Report) {
        if matches!(self.phase, Phase::Ready { .. }) {
            self.out.push_back(Action::Send(ToService::Report(report)));
        }
    }

    /// Connect anew, with the newest key.
    pub fn restart(&mut self, reason: &'static str) {
        self.key = 0;
        if matches!(self.phase, Phase::Ready { .. } | Phase::Greeting { .. }) {
            self.tries = 0;
            self.close(close::NORMAL, reason, Duration::ZERO);
        }
    }

    /// Ends the session: what waits is sent and acknowledged as far as the time reaches.
    pub fn stop(&mut self, now: Duration, time: Duration) {
        match self.phase {
            Phase::Ready { .. } => {
                self.phase = Phase::Leaving { until: now + time };
                self.leave_if_done();
            }
            Phase::Leaving { .. } | Phase::Stopped => {}
            Phase::Greeting { .. } | Phase::Draining { .. } => {
                self.out.push_back(Action::Close {
                    code: close::NORMAL,
                    reason: "stopping",
                });
                self.stopped();
            }
            _ => self.stopped(),
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. } | Phase::Leaving { .. })
    }

    fn welcome(&mut self, now: Duration, welcome: Welcome) {
        if welcome.protocol != PROTOCOL_VERSION {
            let versions = format!("the service speaks protocol {}, this gateway {PROTOCOL_VERSION}", welcome.protocol);
            return self.broken(&versions);
        }
        let stale: Vec<Kind> = welcome
            .cursors
            .iter()
            .filter(|cursor| self.lanes[cursor.kind as usize - 1].is_behind(cursor))
            .map(|cursor| cursor.kind)
            .collect();
        if !stale.is_empty() {
            self.out.extend(stale.into_iter().map(Action::RenewEpoch));
            return self.close(close::NORMAL, "new epoch", Duration::ZERO);
        }
        self.phase = Phase::Ready { since: now, report_at: now };
        self.refused_keys = 0;
        self.told.clear();
        self.site.clone_from(&welcome.site);
        self.out.push_back(Action::Note(Note::Connected {
            site: welcome.site,
            clock_us: welcome.clock_us,
        }));
        self.settings(welcome.settings);
        for cursor in welcome.cursors {
            self.ack(now, cursor);
        }
    }

    fn ack(&mut self, now: Duration, cursor: Cursor) {
        let lane = &mut self.lanes[cursor.kind as usize - 1];
        if !lane.is_of(&cursor) {
            return;
        }
        if lane.ack(now, cursor.sequence) {
            // It takes records: the next pause is the first one again.
            self.tries = 0;
            self.out.push_back(Action::Forget(cursor));
        }
        self.end_if_drained();
        self.leave_if_done();
    }

    fn settings(&mut self, settings: Settings) {
        self.asked = settings.kinds;
        self.out.push_back(Action::Settings(settings));
    }

    fn end_if_drained(&mut self) {
        if let Phase::Draining { pause, .. } = self.phase
            && self.lanes.iter().all(Lane::is_idle)
        {
            self.close(close::NORMAL, "draining", pause);
        }
    }

    fn leave_if_done(&mut self) {
        let kinds = self.allowed.and(self.asked);
        let done = |kind: &Kind| {
            let lane = &self.lanes[*kind as usize - 1];
            lane.is_idle() && (lane.is_at_end() || !leaves(kinds, *kind))
        };
        if matches!(self.phase, Phase::Leaving { .. }) && Kind::ALL.iter().all(done) {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.out.push_back(Action::Send(ToService::Bye {
            reason: "the gateway stops".into(),
        }));
        self.out.push_back(Action::Close {
            code: close::NORMAL,
            reason: "stopping",
        });
        self.stopped();
    }

    fn stopped(&mut self) {
        self.phase = Phase::Stopped;
        self.out.push_back(Action::Stopped);
    }

    fn close(&mut self, code: u32, reason: &'static str, pause: Duration) {
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        self.out.push_back(Action::Close { code, reason });
        if leaving {
            self.stopped();
        } else {
            self.phase = Phase::Closing { pause };
        }
    }

    /// Tells a trouble unless it is the one that was told last.
    fn trouble(&mut self, trouble: Trouble) {
        if let Trouble::Refused { refusal, .. } = &trouble
            && matches!(refusal.code, RefusalCode::UnknownKey | RefusalCode::KeyDeleted | RefusalCode::Certificate)
        {
            self.refused_keys += 1;
        }
        let text = format!("{trouble:?}");
        if self.told.get(&self.key) != Some(&text) {
            self.told.insert(self.key, text);
            self.out.push_back(Action::Note(Note::Trouble(trouble)));
        }
    }

    /// Goes on to the next key when this one was refused and another one was not yet.
    fn another_key(&mut self) -> bool {
        if self.refused_keys == 0 {
            return false;
        }
        self.key = (self.key + 1) % self.keys;
        if self.refused_keys >= self.keys {
            self.refused_keys = 0;
            return false;
        }
        true
    }

    fn refused_pause(&mut self, refusal: &Refusal) -> Duration {
        Duration::from_secs(refusal.retry_after_s.into()).min(MAX_REFUSAL_PAUSE)
    }

    /// Doubles with each try; jitter takes up to half away, so that gateways don't come in step.
    fn backoff(&mut self) -> Duration {
        let (first, longest) = BACKOFF;
        let full = first.saturating_mul(1 << self.tries.min(10)).min(longest);
        self.tries = self.tries.saturating_add(1);
        full.mul_f64(0.5 + 0.5 * self.rng.random::<f64>())
    }
}

/// Whether records of this kind may leave. Events always do: they say what else happened to the data.
pub fn leaves(kinds: Kinds, kind: Kind) -> bool {
    match kind {
        Kind::Topology => kinds.topology || kinds.state,
        Kind::Events => true,
        Kind::Meters => kinds.metering,
        Kind::Flows => kinds.flows,
    }
}

/// The states of the streams in the order of the kinds.
fn in_order(streams: &[StreamState]) -> impl Iterator<Item = StreamState> + '_ {
    Kind::ALL.into_iter().map(|kind| {
        let none = StreamState {
            kind,
            epoch: 0,
            first: 1,
            next: 1,
        };
        streams.iter().copied().find(|state| state.kind == kind).unwrap_or(none)
    })
}
