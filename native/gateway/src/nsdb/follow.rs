// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::VecDeque, pin::Pin, sync::atomic::Ordering, time::Duration};

use insights_protocol::event::Level;
use tokio::time::{Instant, sleep};

use super::{
    Place, chain, event, now_us,
    ship::Shipper,
    tracker::{Tracker, Work},
    view::View,
    zk::{Code, Incoming, Link, LinkError, SessionKey, codec, codec::Request},
};
use crate::{pipe::Pipe, tap::Stop};

/// Session time-out that is asked for, as MidoNet's own clients do (`zookeeper.session_timeout`). Nothing of ours lives with this session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// Reads in flight. More brings no speed: 45,000 to 60,000 reads per second are reached from 256 on.
const WINDOW: usize = 512;
/// Paths of one `SetWatches` request: far below the megabyte that servers take by default.
const MAX_ARM_BYTES: usize = 64 << 10;
/// Such requests in flight; each makes the server look at some 600 nodes.
const MAX_ARMS: usize = 4;
/// Changes that wait for the pipe: above the first bound nothing more is asked, above the second nothing more is read.
const ASK_BYTES: usize = 4 << 20;
const READ_BYTES: usize = 16 << 20;
/// Time for which changes are gathered while more are read.
const MAX_GATHER: Duration = Duration::from_millis(20);
/// Messages that are handled before other things are looked at.
const BURST: usize = 256;
/// Pauses between rounds of connecting.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// After so long of servers that refuse, the database is taken to have been replaced by an older one.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Follows the NSDB until the tap is stopped.
pub(super) async fn follow(pipe: &Pipe, stop: &Stop, place: &Place, view: &View) {
    let mut follower = Follower::new(pipe, place, view);
    tokio::select! {
        () = follower.run() => {}
        () = stop.stopped() => {}
    }
    if let Some(link) = follower.link.take() {
        link.close(Duration::from_millis(500)).await;
    }
}

struct Follower<'a> {
    pipe: &'a Pipe,
    place: &'a Place,
    view: &'a View,
    tracker: Tracker,
    shipper: Shipper,
    link: Option<Link>,
    session: SessionKey,
    last_zxid: i64,
    /// Watches that are set again are set as of this transaction: the newest one when the connection was lost. It stays until all are set.
    arm_since: Option<i64>,
    snapshot_began: Instant,
    /// A list on its way into the pipe.
    sending: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Nodes that can't be read for another reason than that they are gone are told once a connection.
    told_unreadable: bool,
}

impl<'a> Follower<'a> {
    fn new(pipe: &'a Pipe, place: &'a Place, view: &'a View) -> Follower<'a> {
        let mut shipper = Shipper::new(view.clone(), pipe.settings().borrow().kinds, now_us());
        Follower {
            pipe,
            place,
            view,
            tracker: Tracker::new(&mut shipper),
            shipper,
            link: None,
            session: SessionKey::default(),
            last_zxid: 0,
            arm_since: None,
            snapshot_began: Instant::now(),
            sending: None,
            told_unreadable: false,
        }
    }

    async fn run(&mut self) {
        loop {
            let link = self.connect().await;
            self.session = link.session.clone();
            self.link = Some(link);
            self.told_unreadable = false;
            let error = self.serve().await;
            self.last_zxid = self.link.take().map_or(self.last_zxid, |link| link.last_zxid);
            // Watches that were being set again keep the older mark.
            self.arm_since.get_or_insert(self.last_zxid);
            self.tracker.disconnected();
            self.flush().await;
            let text = format!("connection to ZooKeeper lost: {}", chain(&error));
            log::warn!("{text}; trying again");
            self.pipe.event(event(Level::Warning, "nsdb.connection_lost", text, &[]));
            if matches!(error, LinkError::Expired) {
                self.session = SessionKey::default();
            }
        }
    }

    /// Tries for ever.
    async fn connect(&mut self) -> Link {
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        let mut refused: Option<Instant> = None;
        let began = Instant::now();
        loop {
            let start_over = refused.is_some_and(|since| since.elapsed() > REFUSED_FOR);
            let last_zxid = if start_over { 0 } else { self.last_zxid };
            // A session that nobody held for long is gone; a new one costs the same.
            if start_over || began.elapsed() > 2 * SESSION_TIMEOUT {
                self.session = SessionKey::default();
            }
            match Link::open(&self.place.endpoints, &self.session, SESSION_TIMEOUT, last_zxid).await {
                Ok(link) => match self.welcome(link, start_over).await {
                    Ok(link) => return link,
                    Err(error) => log::debug!("ZooKeeper: {}", chain(&error)),
                },
                Err(LinkError::Expired) => {
                    let text = "ZooKeeper ended the session; what changed meanwhile is read in a new one";
                    log::warn!("{text}");
                    self.pipe.event(event(Level::Warning, "nsdb.session_lost", text.into(), &[]));
                    self.session = SessionKey::default();
                    continue;
                }
                Err(error) => {
                    if matches!(error, LinkError::Refused { .. }) {
                        refused.get_or_insert_with(Instant::now);
                    }
                    if !told {
                        told = true;
                        let text = format!("can't reach ZooKeeper at {}: {}", self.place.endpoints, chain(&error));
                        log::warn!("{text}; trying again until it answers");
                        self.pipe.event(event(Level::Warning, "nsdb.unreachable", text, &[]));
                    }
                }
            }
            sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn welcome(&mut self, mut link: Link, start_over: bool) -> Result<Link, LinkError> {
        if start_over {
            let asked = link.send(&Request::Exists { path: "/", watch: false });
            loop {
                if let Incoming::Reply { xid, .. } = link.next(true).await?
                    && xid == asked
                {
                    break;
                }
            }
            if link.last_zxid < self.last_zxid {
                let text = format!(
                    "ZooKeeper's database is older than what was read from it ({:#x} after {:#x}): it was replaced; reading all of it again",
                    link.last_zxid, self.last_zxid
                );
                log::warn!("{text}");
                self.pipe.event(event(Level::Warning, "nsdb.replaced", text, &[]));
                self.shipper.now_us = now_us();
                self.shipper.term = self.term();
                self.view.clear();
                self.tracker = Tracker::new(&mut self.shipper);
                self.snapshot_began = Instant::now();
                self.arm_since = None;
                self.last_zxid = 0;
            }
        }
        let text = format!("following the NSDB at {}{} in {:?}", link.peer, self.place.root_or_slash(), link.session);
        log::info!("{text}");
        self.pipe
            .event(event(Level::Info, "nsdb.connected", text, &[("server", link.peer.to_string())]));
        Ok(link)
    }

    /// Works until the connection fails.
    async fn serve(&mut self) -> LinkError {
        let mut settings = self.pipe.settings();
        let mut resend = self.pipe.resend();
        let (mut settings_open, mut resend_open) = (true, true);
        let mut flight = Flight::default();
        let mut sent = Instant::now();
        loop {
            let Some(link) = self.link.as_mut() else {
                return LinkError::Closed;
            };
            if self.shipper.waiting() < ASK_BYTES {
                flight.fill(link, &mut self.tracker, self.place, &mut self.arm_since);
            }
            // Full lists while much is read; else what is there as soon as nothing more is about to come.
            let due = self.shipper.is_full() || !link.has_input() && (flight.reads.is_empty() || sent.elapsed() > MAX_GATHER);
            if self.sending.is_none() && self.shipper.waiting() > 0 && due {
                sent = Instant::now();
                self.send();
            }
            let Some(link) = self.link.as_mut() else {
                return LinkError::Closed;
            };
            let read = self.shipper.waiting() < READ_BYTES;
            tokio::select! {
                biased;
                () = arrive(&mut self.sending) => {}
                open = settings.changed(), if settings_open => {
                    settings_open = open.is_ok();
                    self.set_kinds(settings.borrow_and_update().kinds);
                }
                open = resend.changed(), if resend_open => {
                    resend_open = open.is_ok();
                    if resend_open {
                        self.resend();
                    }
                }
                incoming = link.next(read) => match incoming {
                    Err(error) => return error,
                    Ok(incoming) => {
                        self.shipper.now_us = now_us();
                        if let Err(error) = self.burst(incoming, &mut flight).await {
                            return error;
                        }
                    }
                },
            }
        }
    }

    /// Begins to send the changes that wait longest.
    fn send(&mut self) {
        let (pipe, list) = (self.pipe.clone(), self.shipper.take());
        self.sending = Some(Box::pin(async move { pipe.topology(list).await }));
    }

    /// Sends all changes that wait.
    async fn flush(&mut self) {
        loop {
            if self.sending.is_some() {
                arrive(&mut self.sending).await;
            }
            if self.shipper.waiting() == 0 {
                return;
            }
            self.send();
        }
    }

    /// Handles a message and those that are there already.
    async fn burst(&mut self, first: Incoming, flight: &mut Flight) -> Result<(), LinkError> {
        self.handle(first, flight)?;
        for _ in 1..BURST {
            let Some(link) = self.link.as_mut().filter(|link| link.has_input()) else {
                break;
            };
            if self.shipper.waiting() >= READ_BYTES {
                break;
            }
            // What was taken from the link must be handled: it does not come again.
            let incoming = link.next(true).await?;
            self.handle(incoming, flight)?;
        }
        if let Some(nodes) = self.shipper.ended.take() {
            let took = self.snapshot_began.elapsed();
            let text = format!("snapshot of {nodes} nodes read in {:.1} s", took.as_secs_f64());
            log::info!("{text}");
            let fields = [
                ("nodes", nodes.to_string()),
                ("remembered", self.tracker.nodes().to_string()),
                ("ms", took.as_millis().to_string()),
            ];
            self.pipe.event(event(Level::Info, "nsdb.snapshot", text, &fields));
        }
        Ok(())
    }

    fn handle(&mut self, incoming: Incoming, flight: &mut Flight) -> Result<(), LinkError> {
        match incoming {
            Incoming::Event { kind, path } => {
                if let Some(path) = self.place.relative(&path) {
                    self.tracker.on_event(kind, path, &mut self.shipper);
                }
            }
            Incoming::WatchesSet { code } => {
                flight.arms = flight.arms.saturating_sub(1);
                if code != Code::OK {
                    log::warn!("ZooKeeper did not set watches again: {code}");
                    return Err(LinkError::Closed);
                }
            }
            Incoming::Reply { xid, code, body } => {
                let Some((asked, work)) = flight.reads.pop_front().filter(|(asked, _)| *asked == xid) else {
                    return Err(codec::Malformed("order of replies").into());
                };
                debug_assert_eq!(asked, xid);
                if code != Code::OK && code != Code::NO_NODE && !self.told_unreadable {
                    self.told_unreadable = true;
                    log::warn!("ZooKeeper does not let {work:?} be read: {code}; it is passed over, others like it too");
                }
                let refused = (code != Code::OK).then_some(code);
                match work {
                    Work::Get { path, .. } => {
                        let reply = refused.map_or_else(|| codec::decode_data(body).map(Ok), |code| Ok(Err(code)))?;
                        self.tracker.on_data(&path, reply, &mut self.shipper);
                    }
                    Work::List { path } => {
                        let reply = refused.map_or_else(|| codec::decode_children(body).map(Ok), |code| Ok(Err(code)))?;
                        self.tracker.on_list(&path, reply, &mut self.shipper);
                    }
                    Work::Exists { path } => {
                        let reply = match code {
                            Code::OK => Ok(true),
                            Code::NO_NODE => Ok(false),
                            code => Err(code),
                        };
                        self.tracker.on_exists(&path, reply, &mut self.shipper);
                    }
                    Work::Arm { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// More may leave than before: the service needs all of it once.
    fn set_kinds(&mut self, kinds: insights_protocol::Kinds) {
        let before = std::mem::replace(&mut self.shipper.kinds, kinds);
        if (kinds.topology && !before.topology) || (kinds.topology && kinds.state && !before.state) {
            self.resend();
        }
    }

    fn resend(&mut self) {
        self.shipper.now_us = now_us();
        self.shipper.term = self.term();
        self.snapshot_began = Instant::now();
        self.tracker.resend(&mut self.shipper);
    }

    fn term(&self) -> i64 {
        self.pipe.gauges().term.load(Ordering::Relaxed)
    }
}

/// Ends when the list is in the pipe; never when there is none. Safe to drop and call again.
async fn arrive(sending: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match sending {
        Some(list) => list.await,
        None => std::future::pending().await,
    }
    *sending = None;
}

/// What was asked and not answered.
#[derive(Debug, Default)]
struct Flight {
    reads: VecDeque<(i32, Work)>,
    /// `SetWatches` requests.
    arms: usize,
}

impl Flight {
    /// Asks for as much as the window takes.
    fn fill(&mut self, link: &mut Link, tracker: &mut Tracker, place: &Place, arm_since: &mut Option<i64>) {
        let mut batch = ArmBatch::default();
        let mut idle = false;
        while self.reads.len() < WINDOW && self.arms < MAX_ARMS {
            let Some(work) = tracker.next_work() else {
                idle = true;
                break;
            };
            let xid = match &work {
                Work::Get { path, watch } => link.send(&Request::GetData {
                    path: &place.absolute(path),
                    watch: *watch,
                }),
                Work::List { path } => link.send(&Request::GetChildren {
                    path: &place.absolute(path),
                    watch: true,
                }),
                Work::Exists { path } => link.send(&Request::Exists {
                    path: &place.absolute(path),
                    watch: true,
                }),
                Work::Arm { path, data, exist, child } => {
                    batch.push(place.absolute(path), *data, *exist, *child);
                    if batch.bytes >= MAX_ARM_BYTES {
                        self.arms += batch.send(link, *arm_since);
                    }
                    continue;
                }
            };
            self.reads.push_back((xid, work));
        }
        self.arms += batch.send(link, *arm_since);
        if idle && self.arms == 0 {
            *arm_since = None;
        }
    }
}

/// Watches that are set again with one request.
#[derive(Default)]
struct ArmBatch {
    data: Vec<String>,
    exist: Vec<String>,
    child: Vec<String>,
    bytes: usize,
}

impl ArmBatch {
    fn push(&mut self, path: String, data: bool, exist: bool, child: bool) {
        for (wanted, list) in [(data, &mut self.data), (exist, &mut self.exist), (child, &mut self.child)] {
            if wanted {
                self.bytes += path.len() + 4;
                list.push(path.clone());
            }
        }
    }

    /// Sends what was gathered; the number of requests that this took.
    fn send(&mut self, link: &mut Link, since: Option<i64>) -> usize {
        if self.bytes == 0 {
            return 0;
        }
        // Watches are set again only after a lost connection, which left the mark; 0 would make each of them fire.
        link.send(&Request::SetWatches {
            since: since.unwrap_or(0),
            data: &self.data,
            exist: &self.exist,
            child: &self.child,
        });
        *self = ArmBatch::default();
        1
    }
}
