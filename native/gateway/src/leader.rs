// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Which gateway of a site sends what must be sent once: the topology and the meters. Flow records go by whichever gateway an agent chose.
//!
//! The leader holds an ephemeral node; who finds it gone makes it anew. A gateway that reaches the service goes before one that doesn't:
//!
//! | node below the root key | who makes it | what it says |
//! |---|---|---|
//! | `insights/leader` | the leader | host id and name; its creation time is the *term*, which orders snapshots of several leaders |
//! | `insights/last` | the leader, before it begins | host id; it stays, so that a leader knows whether it is the next one of itself |
//! | `insights/connected/<host id>` | each gateway that reaches the service | that it could lead |
//!
//! A leader whose session may have ended falls silent before others can lead. What it had sent late is recognised by its older term.

use std::{convert::Infallible, time::Duration};

use insights_protocol::event::Level;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use crate::{
    clock::{chain, host_name},
    nsdb::{
        Place, event,
        zk::{LinkError, Session, SessionKey, ZkError},
    },
    pipe::Switches,
    tap::Tap,
};

/// How often the connection to the service is looked at.
const TICK: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// Time for the nodes to be taken away at the end.
const END_PATIENCE: Duration = Duration::from_millis(500);

const LEADER: &str = "insights/leader";
const LAST: &str = "insights/last";
const CONNECTED: &str = "insights/connected";

/// How long gateways wait for each other.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Session time-out: so long a dead leader is missed.
    pub session: Duration,
    /// A gateway that doesn't reach the service leads only when nobody else did for so long: its spool keeps what it gathers.
    pub start: Duration,
    /// A connection to the service that is lost for less is not told to the others.
    pub away: Duration,
    /// A leader that doesn't reach the service for so long gives way to a gateway that does.
    pub yields: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            // Shorter ones end in pauses of MidoNet's JVM.
            session: Duration::from_secs(15),
            start: Duration::from_secs(30),
            away: Duration::from_secs(10),
            yields: Duration::from_secs(60),
        }
    }
}

/// Stands for election until the tap is stopped, and gives the lead back then. `reaches` says whether the service can be reached now.
pub async fn run(tap: Tap, switches: Switches, reaches: impl Fn() -> bool + Send, patience: Patience) {
    if !tap.config.data.topology && !tap.config.data.metering {
        // Nothing of it may leave from here; whoever may send it leads.
        return tap.stop.stopped().await;
    }
    let place = match Place::new(&tap.config.zookeeper.hosts, &tap.config.zookeeper.root_key) {
        Ok(place) => place,
        // The NSDB tap says so.
        Err(_) => return tap.stop.stopped().await,
    };
    let mut candidate = Candidate::new(tap, switches, reaches, patience, place);
    let stop = candidate.tap.stop.clone();
    tokio::select! {
        () = candidate.stand() => {}
        () = stop.stopped() => {}
    }
    candidate.end().await;
}

struct Candidate<R> {
    tap: Tap,
    switches: Switches,
    reaches: R,
    patience: Patience,
    place: Place,
    began: Instant,
    /// When the service was reached last.
    reached: Option<Instant>,
    key: SessionKey,
    session: Option<Session>,
    /// Creation time of our leader's node, while it is there and of this session.
    term: Option<i64>,
    /// Whether our node below `insights/connected` is there.
    announced: bool,
}

impl<R: Fn() -> bool> Candidate<R> {
    fn new(tap: Tap, switches: Switches, reaches: R, patience: Patience, place: Place) -> Candidate<R> {
        Candidate {
            tap,
            switches,
            reaches,
            patience,
            place,
            began: Instant::now(),
            reached: None,
            key: SessionKey::default(),
            session: None,
            term: None,
            announced: false,
        }
    }

    /// Never ends.
    async fn stand(&mut self) {
        let mut pause = FIRST_PAUSE;
        // A leader without a connection leads on until then: servers take its session for dead no earlier.
        let mut until = Instant::now();
        let mut told = false;
        loop {
            let opened = match self.switches.leads() {
                true => timeout_at(until, self.open()).await.unwrap_or_else(|_| Err(LinkError::Closed.into())),
                false => self.open().await,
            };
            let error = match opened {
                Ok(session_timeout) => {
                    let began = Instant::now();
                    let Err(error) = self.hold().await;
                    self.session = None;
                    until = Instant::now() + session_timeout / 4;
                    if began.elapsed() > LAST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    error
                }
                Err(error) => error,
            };
            match &error {
                ZkError::Node { .. } if !std::mem::replace(&mut told, true) => log::warn!(
                    "Can't learn which gateway leads, so topology and meters are not sent from here: {}; trying again",
                    chain(&error)
                ),
                error => log::debug!("leadership: {}", chain(error)),
            }
            if matches!(error, ZkError::Link(LinkError::Expired)) {
                self.key = SessionKey::default();
                self.lost("its session in ZooKeeper expired");
                continue;
            }
            if Instant::now() >= until {
                self.lost("ZooKeeper can't be reached");
            }
            sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
            if !self.switches.leads() {
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }

    /// Goes on with the session, or opens a new one; the time-out that was granted.
    async fn open(&mut self) -> Result<Duration, ZkError> {
        let is_new = self.key == SessionKey::default();
        let mut session = Session::resume(&self.place.endpoints, &self.key, self.patience.session).await?;
        if is_new {
            (self.term, self.announced) = (None, false);
            session.create_all(&self.place.below_chroot(CONNECTED)).await?;
        }
        let link = session.link();
        let granted = link.session_timeout;
        self.key = link.session.clone();
        self.session = Some(session);
        Ok(granted)
    }

    /// Leads when it can, until the session fails.
    async fn hold(&mut self) -> Result<Infallible, ZkError> {
        let patience = self.session()?.link().session_timeout * 2 / 3;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut free = self.look().await?;
        let mut last = Instant::now();
        loop {
            if free && self.is_eligible() {
                free = self.take().await?;
            }
            let session = self.session()?;
            tokio::select! {
                happened = session.event() => {
                    happened?;
                    free = self.look().await?;
                }
                _ = tick.tick() => {}
            }
            if last.elapsed() > patience {
                self.lost("the process stood still, others may have led meanwhile");
                free = self.look().await?;
            }
            last = Instant::now();
            self.announce().await?;
            if self.term.is_some() && self.must_yield().await? {
                self.lost("another gateway reaches the service, and this one doesn't");
                self.term = None;
                self.delete(LEADER).await?;
            }
        }
    }

    /// Finds out who leads, and sets the watch that tells when that ends. Says whether nobody does.
    async fn look(&mut self) -> Result<bool, ZkError> {
        let path = self.place.below_chroot(LEADER);
        let own = self.tap.config.host_id.to_string();
        loop {
            let session = self.session()?;
            let holder = match session.watch(&path).await? {
                Some(_) => session.get(&path).await?,
                None => {
                    if self.term.take().is_some() {
                        self.lost("its node in ZooKeeper was taken away");
                    }
                    return Ok(true);
                }
            };
            match holder {
                Some((_, stat)) if self.term == Some(stat.ctime_ms) => {
                    self.won(stat.ctime_ms, true);
                    return Ok(false);
                }
                // Of an earlier session, or of this machine before it started anew: it would go with that session.
                Some((data, _)) if is_of(&data, &own) => self.delete(LEADER).await?,
                Some(_) => {
                    self.term = None;
                    self.lost("another gateway leads");
                    return Ok(false);
                }
                // Gone between the two.
                None => {}
            }
        }
    }

    /// Takes the lead, unless another gateway was faster. Says whether nobody leads, as [`Candidate::look`].
    async fn take(&mut self) -> Result<bool, ZkError> {
        if !self.create(LEADER).await? {
            return self.look().await;
        }
        let (path, last) = (self.place.below_chroot(LEADER), self.place.below_chroot(LAST));
        let own = self.tap.config.host_id.to_string();
        let session = self.session()?;
        let goes_on = session.get(&last).await?.is_some_and(|(data, _)| data == own.as_bytes());
        if !goes_on && !session.create(&last, own.as_bytes(), false).await? {
            session.set(&last, own.as_bytes()).await?;
        }
        self.term = session.watch(&path).await?.map(|stat| stat.ctime_ms);
        if let Some(term) = self.term {
            self.won(term, goes_on);
        }
        // It may be gone again.
        self.look().await
    }

    /// Whether this gateway should lead if nobody does.
    fn is_eligible(&self) -> bool {
        self.switches.leads() || (self.reaches)() || self.began.elapsed() > self.patience.start
    }

    /// Tells the other gateways whether this one reaches the service.
    async fn announce(&mut self) -> Result<(), ZkError> {
        if (self.reaches)() {
            self.reached = Some(Instant::now());
        }
        let near = self.reached.is_some_and(|reached| reached.elapsed() < self.patience.away);
        if near != self.announced {
            let path = format!("{CONNECTED}/{}", self.tap.config.host_id);
            // One of an earlier session would go with it.
            self.delete(&path).await?;
            if near {
                self.create(&path).await?;
            }
            self.announced = near;
        }
        Ok(())
    }

    /// Whether this gateway has not reached the service for long, and another one does.
    async fn must_yield(&mut self) -> Result<bool, ZkError> {
        let silent = self.reached.unwrap_or(self.began).elapsed();
        if silent < self.patience.yields {
            return Ok(false);
        }
        let (path, own) = (self.place.below_chroot(CONNECTED), self.tap.config.host_id.to_string());
        let others = self.session()?.children(&path).await?.unwrap_or_default();
        let yields = others.iter().any(|name| *name != own);
        if yields {
            // It does not come back at once.
            self.began = Instant::now();
        }
        Ok(yields)
    }

    fn won(&self, term: i64, goes_on: bool) {
        let already = self.switches.leads();
        self.switches.lead(term, goes_on);
        if !already {
            self.tell("gateway.leads", "this gateway sends the topology and the meters of the site".to_owned());
        }
    }

    fn lost(&self, why: &str) {
        if self.switches.leads() {
            self.switches.follow();
            self.tell(
                "gateway.follows",
                format!("this gateway no longer sends the topology and the meters of the site: {why}"),
            );
        }
    }

    fn tell(&self, kind: &str, text: String) {
        log::info!("{text}");
        self.tap.pipe.event(event(Level::Info, kind, text, &[]));
    }

    fn session(&mut self) -> Result<&mut Session, ZkError> {
        self.session.as_mut().ok_or(ZkError::Link(LinkError::Closed))
    }

    async fn create(&mut self, path: &str) -> Result<bool, ZkError> {
        let data = json!({"gateway": self.tap.config.host_id, "name": host_name()}).to_string();
        let path = self.place.below_chroot(path);
        self.session()?.create(&path, data.as_bytes(), true).await
    }

    async fn delete(&mut self, path: &str) -> Result<(), ZkError> {
        let path = self.place.below_chroot(path);
        self.session()?.delete(&path).await.map(drop)
    }

    /// Lets another gateway lead at once; bounded in time. What the taps still find goes to the spool; the service knows its older term.
    async fn end(self) {
        let Some(session) = self.session else { return };
        // The nodes go with the session.
        session.close(END_PATIENCE).await;
    }
}

/// Whether a leader's node was made by the gateway of this host.
fn is_of(data: &[u8], host_id: &str) -> bool {
    let node: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
    node["gateway"].as_str() == Some(host_id)
}
