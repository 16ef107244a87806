// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The connection to the service: carries out over QUIC what the [`Session`] decides.
//!
//! One loop owns the session and is told everything by events; sockets and disk are in tasks of their own. Events of a connection that
//! was given up carry its number and are passed over.

use std::{sync::Arc, time::Duration};

use insights_protocol::{
    Kind,
    control::{Command, CommandDone, CommandKind, Hello, Settings, StreamState, ToGateway},
};
use insights_spool::{Record, Spool};
use rand::Rng;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    Config,
    clock::{chain, host_name, now_us},
    pipe::{self, Count, Pipe, Switches},
    session::{Action, Note, Session, Trouble},
    spooler::{self, Stored},
    status::Shared,
    tap::Stop,
};

pub(crate) mod connect;
mod connection;
mod log_level;
pub(crate) mod trouble;

use connect::Connected;
use connection::Connection;
use log_level::LogLevel;

/// Events that wait for the loop; tasks that are faster wait in turn.
const EVENT_QUEUE: usize = 64;
/// How often the keys on disk are looked at: a renewal, or the end of an old key.
const KEY_CHECK: Duration = Duration::from_secs(60);
/// Diagnostics are cut to this, so that they fit a control message.
const MAX_DIAGNOSTICS: usize = 256 << 10;

/// What the uplink works with.
#[derive(Debug)]
pub struct Uplink {
    pub config: Arc<Config>,
    pub pipe: Pipe,
    pub spool: Arc<Spool>,
    pub stored: watch::Receiver<Stored>,
    pub switches: Switches,
    pub resend: watch::Sender<u64>,
    pub shared: Shared,
    /// How long the end may take to send what waits.
    pub drain: Duration,
    pub stop: Stop,
}

/// What happened, told by a task.
enum Event {
    Connected(Box<Connected>),
    Failed(Trouble),
    Message(ToGateway),
    /// What came can't be read.
    Broken(String),
    Lost(Option<Trouble>),
    Loaded {
        kind: Kind,
        from: u64,
        record: Option<Record>,
    },
    Written(Kind),
}

struct Loop {
    uplink: Uplink,
    session: Session,
    start: Instant,
    events: mpsc::Sender<(u64, Event)>,
    /// Number of the connection, raised with each try.
    connection: u64,
    live: Option<Connection>,
    /// The task of a try that goes on.
    trying: Option<tokio::task::AbortHandle>,
    /// The end of the key that is used, if it has one.
    key_until: Option<time::OffsetDateTime>,
    log_level: LogLevel,
    stopped: bool,
}

impl Uplink {
    /// Runs until `stop`, and then until what waits is sent and acknowledged, or the time for that is over.
    pub async fn run(self) {
        let (events, mut received) = mpsc::channel(EVENT_QUEUE);
        let session = Session::new(self.config.data, rand::rng().random());
        let log_level = LogLevel::new(self.config.log_level);
        let mut stored = self.stored.clone();
        let stop = self.stop.clone();
        let start = Instant::now();
        let mut state = Loop {
            uplink: self,
            session,
            start,
            events,
            connection: 0,
            live: None,
            trying: None,
            key_until: None,
            log_level,
            stopped: false,
        };
        let mut key_check = tokio::time::interval(KEY_CHECK);
        let mut stopping = false;
        state.tell_stored(*stored.borrow_and_update());
        while !state.stopped {
            state.act().await;
            if state.stopped {
                break;
            }
            let deadline = state.session.deadline().map(|at| start + at);
            tokio::select! {
                Some((connection, event)) = received.recv() => {
                    if connection == state.connection {
                        state.event(event).await;
                    }
                }
                Ok(()) = stored.changed() => state.tell_stored(*stored.borrow_and_update()),
                () = sleep_until(deadline.unwrap_or(start)), if deadline.is_some() => state.session.wake(state.now()),
                () = state.log_level.over() => state.log_level.reset(),
                _ = key_check.tick() => state.check_keys(),
                () = stop.stopped(), if !stopping => {
                    stopping = true;
                    // The spooler ended just before: its last records count, also when their news comes second.
                    state.tell_stored(*stored.borrow_and_update());
                    state.session.stop(state.now(), state.uplink.drain);
                }
            }
        }
        if let Some(live) = state.live.take() {
            live.finish().await;
        }
        state.log_level.reset();
        state.uplink.shared.link(|link| link.state = "stopped".into());
    }
}

impl Loop {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn tell_stored(&mut self, stored: Stored) {
        for kind in Kind::ALL {
            self.session.stored(kind, stored[spooler::lane(kind)]);
        }
    }

    /// Carries out what the session wants until it wants nothing more.
    async fn act(&mut self) {
        loop {
            while let Some(action) = self.session.poll() {
                self.carry_out(action).await;
            }
            match self.session.next_load() {
                Some((kind, from)) => self.load(kind, from),
                None => return,
            }
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect { key } => self.connect(key),
            Action::Send(message) => {
                if let Some(live) = &mut self.live
                    && let Err(what) = live.send(&message)
                {
                    self.session.broken(&what);
                }
            }
            Action::Report => {
                let rtt = self.live.as_ref().map(|live| live.rtt().as_millis() as u64);
                self.uplink.shared.link(|link| link.rtt_ms = rtt);
                let shared = self.uplink.shared.clone();
                if let Ok(report) = tokio::task::spawn_blocking(move || shared.report()).await {
                    self.session.report(report);
                }
            }
            Action::ResetStream(kind) => {
                if let Some(live) = &mut self.live {
                    live.reset(kind);
                }
            }
            Action::Forget(cursor) => {
                let (spool, lane) = (self.uplink.spool.clone(), spooler::lane(cursor.kind));
                match tokio::task::spawn_blocking(move || spool.ack(lane, cursor.sequence)).await {
                    Ok(Ok(records)) => self.uplink.pipe.count(cursor.kind, Count::Acknowledged, records),
                    // It is acknowledged again at the next greeting.
                    Ok(Err(error)) => log::warn!("Acknowledged records stay in the spool: {}", chain(&error)),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
            Action::RenewEpoch(kind) => {
                log::warn!(
                    "The service has {kind} batches that this spool does not know: its disk lost the last ones, or it is an older copy; what came \
                     since the start is sent as a new one"
                );
                let (spool, epoch) = (self.uplink.spool.clone(), rand::rng().random());
                let renewed = tokio::task::spawn_blocking(move || spool.renew_epoch(spooler::lane(kind), epoch)).await;
                match renewed {
                    Ok(Ok(records)) => self.uplink.pipe.count(kind, Count::Acknowledged, records),
                    Ok(Err(error)) => log::error!("The spool can't be made a new one: {}", chain(&error)),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
            Action::Settings(settings) => self.settings(settings),
            Action::Run(command) => self.run_command(command).await,
            Action::Close { code, reason } => {
                self.trying.take().inspect(|task| task.abort());
                match &mut self.live {
                    Some(live) => live.close(code, reason),
                    // The session waits to hear of the end.
                    None => self.session.disconnected(self.now(), None),
                }
            }
            Action::Note(note) => self.note(note),
            Action::Stopped => self.stopped = true,
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Connected(connected) => {
                self.trying = None;
                self.session.keys(connected.keys);
                self.key_until = connected.until;
                let Connected { address, fingerprint, .. } = *connected;
                self.uplink.shared.link(|link| {
                    link.address = Some(address.to_string());
                    link.fingerprint = Some(fingerprint.to_string());
                });
                self.live = Some(Connection::new(
                    connected.connection,
                    connected.endpoint,
                    connected.control,
                    self.sender(),
                ));
                let hello = self.hello();
                self.session.connected(self.now(), hello);
            }
            Event::Failed(trouble) => {
                self.trying = None;
                self.session.disconnected(self.now(), Some(trouble));
                self.waiting();
            }
            Event::Message(message) => self.session.message(self.now(), message),
            Event::Broken(what) => self.session.broken(&what),
            Event::Lost(trouble) => {
                self.live = None;
                self.session.disconnected(self.now(), trouble);
                self.waiting();
            }
            Event::Loaded { kind, from, record } => {
                let found = record.as_ref().map(|record| (record.sequence, record.payload.len()));
                if let Some(record) = record.filter(|_| self.live.is_some())
                    && self.session.loaded(self.now(), kind, from, found)
                {
                    let lane = spooler::lane(kind);
                    self.uplink.spool.protect(lane, record.sequence);
                    let epoch = self.uplink.spool.lane(lane).epoch;
                    // Before it is asked for: what comes meanwhile is sent soon.
                    self.uplink.pipe.fresh().want(true);
                    let payload = self.uplink.pipe.fresh().take(&record.payload);
                    if let Some(live) = &mut self.live {
                        live.write(kind, epoch, record, payload);
                    }
                } else if found.is_none() {
                    self.session.loaded(self.now(), kind, from, None);
                }
            }
            Event::Written(kind) => self.session.written(kind),
        }
    }

    fn connect(&mut self, key: usize) {
        self.connection += 1;
        self.live = None;
        self.uplink.shared.link(|link| link.state = "connecting".into());
        let (events, config) = (self.sender(), self.uplink.config.clone());
        let task = tokio::spawn(async move {
            let event = match connect::connect(&config, key).await {
                Ok(connected) => Event::Connected(Box::new(connected)),
                Err(trouble) => Event::Failed(trouble),
            };
            events.tell(event).await;
        });
        self.trying = Some(task.abort_handle());
    }

    fn load(&self, kind: Kind, from: u64) {
        let (events, spool) = (self.sender(), self.uplink.spool.clone());
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || spool.read(spooler::lane(kind), from)).await;
            match read {
                Ok(Ok(record)) => events.tell(Event::Loaded { kind, from, record }).await,
                Ok(Err(error)) => events.tell(Event::Broken(format!("the spool can't be read: {}", chain(&error)))).await,
                Err(error) => events.tell(Event::Broken(format!("reading the spool ended with {error}"))).await,
            }
        });
    }

    fn hello(&self) -> Hello {
        let streams = Kind::ALL.map(|kind| {
            let lane = self.uplink.spool.lane(spooler::lane(kind));
            StreamState {
                kind,
                epoch: lane.epoch,
                first: lane.first,
                next: lane.next,
            }
        });
        Hello {
            protocol: insights_protocol::PROTOCOL_VERSION,
            software: env!("CARGO_PKG_VERSION").into(),
            gateway: self.uplink.config.host_id.into_bytes(),
            name: host_name(),
            started_us: self.uplink.shared.started_us(),
            clock_us: now_us(),
            allowed: self.uplink.config.data,
            streams: streams.to_vec(),
        }
    }

    fn settings(&mut self, settings: Settings) {
        let config = &self.uplink.config;
        let metering_interval = match settings.metering_interval_s {
            0 => config.metering_interval,
            seconds => Duration::from_secs(seconds.into()).clamp(Duration::from_secs(1), Duration::from_secs(3_600)),
        };
        let new = pipe::Settings {
            kinds: config.data.and(settings.kinds),
            metering_interval,
        };
        if self.uplink.switches.asked(new) {
            let on: Vec<_> = [
                ("topology", new.kinds.topology),
                ("state", new.kinds.state),
                ("metering", new.kinds.metering),
                ("flows", new.kinds.flows),
            ]
            .into_iter()
            .filter_map(|(name, on)| on.then_some(name))
            .collect();
            let on = if on.is_empty() { "nothing".to_owned() } else { on.join(", ") };
            log::info!("Settings of the service: send {on}; meters every {} s", metering_interval.as_secs());
        }
    }

    async fn run_command(&mut self, command: Command) {
        let result = match command.what {
            CommandKind::ResendTopology => {
                self.uplink.resend.send_modify(|count| *count += 1);
                Ok("a snapshot is on its way".to_owned())
            }
            CommandKind::LogLevel { level, seconds } => self.log_level.set(&level, seconds),
            CommandKind::Diagnostics => {
                let shared = self.uplink.shared.clone();
                let text = tokio::task::spawn_blocking(move || shared.json()).await;
                text.map(|text| text.chars().take(MAX_DIAGNOSTICS / 4).collect())
                    .map_err(|error| error.to_string())
            }
        };
        self.session.command_done(CommandDone { id: command.id, result });
    }

    fn note(&mut self, note: Note) {
        let gateway = &self.uplink.config.gateway;
        match note {
            Note::Connected { site, clock_us } => {
                log::info!("Gateway client connected to {}:{}", gateway.host, gateway.port);
                let offset = (clock_us - now_us()) / 1_000;
                self.uplink.shared.link(|link| {
                    link.state = "connected".into();
                    link.site = Some(site);
                    link.trouble = None;
                    link.clock_offset_ms = Some(offset);
                });
            }
            Note::Trouble(trouble) => {
                let fingerprint = self.uplink.shared.status().link.fingerprint;
                let text = trouble::text(&trouble, gateway, fingerprint.as_deref());
                log::warn!("{text}");
                self.uplink.shared.link(|link| link.trouble = Some(text));
            }
            Note::Draining { pause } => log::info!("The service asks for a pause of {} s", pause.as_secs()),
        }
    }

    fn waiting(&self) {
        self.uplink.pipe.fresh().want(false);
        self.uplink.shared.link(|link| {
            link.state = "waiting".into();
            link.rtt_ms = None;
        });
    }

    /// A renewed key is taken up, and one whose time is over is not used on.
    fn check_keys(&mut self) {
        let now = time::OffsetDateTime::now_utc();
        if let Err(error) = crate::identity::forget_expired(&self.uplink.config.identity_path, now) {
            log::warn!("The old key stays on disk: {}", chain(&error));
        }
        if self.key_until.is_some_and(|until| until <= now) {
            self.key_until = None;
            log::info!("The time of the old key is over; connecting with the new one");
            self.session.restart("key expired");
        }
    }

    fn sender(&self) -> EventSender {
        EventSender {
            connection: self.connection,
            events: self.events.clone(),
        }
    }
}

/// Tells the loop what happened on one connection.
#[derive(Clone, Debug)]
struct EventSender {
    connection: u64,
    events: mpsc::Sender<(u64, Event)>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

impl EventSender {
    async fn tell(&self, event: Event) {
        // The loop is gone only at the very end.
        let _ = self.events.send((self.connection, event)).await;
    }
}
