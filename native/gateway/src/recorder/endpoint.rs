// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The listener and its connections. What a peer can cost is bounded:
//!
//! | bound | value | after it |
//! |---|---|---|
//! | who may connect | `recorder.clients` | others are closed, counted |
//! | connections | `recorder.max_connections` | new ones are closed at once |
//! | time to the first valid record | [`PROOF_TIME`] | closed: an agent connects when it has a record to send |
//! | time for the rest of a record | [`RECORD_TIME`] | closed |
//! | waiting parts of records, all connections | [`MAX_WAITING_BYTES`], twice that for agents | those that need more than [`FREE_BYTES`] are closed |
//! | invalid records in a row | 100 | closed |
//! | log lines | one an hour and peer | counted |

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use insights_protocol::{Kind, event::Level, flow::FlowFact};
use parking_lot::Mutex;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::{
    admission::{Admission, Verdict},
    intake::Intake,
    paths::Paths,
};
use crate::{
    config::Clients,
    nsdb::{event, now_us},
    pipe::Pipe,
};

/// Bytes of one read. A record has 0.4 to 2 KB.
const READ_BYTES: usize = 16 << 10;
const PROOF_TIME: Duration = Duration::from_secs(60);
const RECORD_TIME: Duration = Duration::from_secs(60);
/// Parts of records that wait for their rest, of all connections together.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// What every connection may hold whatever the others do: with 2,048 connections 128 MiB. It is twice what reading an agent takes whose
/// records are not above 16 KiB.
const FREE_BYTES: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
const COMPLAINT_PAUSE: Duration = Duration::from_secs(3_600);
/// Peers whose last complaint is remembered; beyond them nothing is logged but the count goes on.
const MAX_COMPLAINERS: usize = 4_096;
/// Pause when the system has no more file descriptors to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener for agents.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
    max_connections: usize,
}

impl Endpoint {
    pub(super) fn bind(address: IpAddr, port: u16, max_connections: usize) -> io::Result<Endpoint> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Connections inherit it: an agent's machine that dies without a word is noticed, if after two hours.
        socket.set_keepalive(true)?;
        socket.bind(SocketAddr::new(address, port))?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Endpoint {
            address: listener.local_addr()?,
            listener,
            max_connections,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and reads until dropped; all connections close then.
    pub(super) async fn run(self, pipe: Pipe, admission: Admission) {
        let shared = Arc::new(Shared {
            pipe,
            admission,
            paths: Paths::default(),
            waiting: AtomicUsize::new(0),
            complaints: Mutex::default(),
        });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // An IPv6 socket shows IPv4 peers in their mapped form.
                    let peer = peer.ip().to_canonical();
                    let verdict = shared.admission.verdict(peer);
                    if verdict == Verdict::Refused {
                        shared.refuse(peer);
                    } else if verdict == Verdict::Admitted && connections.len() - shared.admission.waiting() >= self.max_connections {
                        let what = format!(
                            "there are {} connections already; see insights_cloud.recorder.max_connections",
                            self.max_connections
                        );
                        shared.complain(peer, "recorder.bad_peer", &what);
                    } else {
                        connections.spawn(serve(stream, peer, verdict, shared.clone()));
                    }
                }
                Err(error) => {
                    log::debug!("accept an agent: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    pipe: Pipe,
    admission: Admission,
    paths: Paths,
    /// Bytes of waiting parts of records.
    waiting: AtomicUsize,
    /// By peer and code of the event.
    complaints: Mutex<HashMap<(IpAddr, &'static str), Complaint>>,
}

#[derive(Debug)]
struct Complaint {
    told: Instant,
    untold: u64,
}

impl Shared {
    /// A peer may not send.
    fn refuse(&self, peer: IpAddr) {
        self.pipe.gauges().agents_refused.fetch_add(1, Ordering::Relaxed);
        let clients = self.admission.clients();
        let why = match clients {
            Clients::Listed { networks, .. } if networks.is_empty() => "the address is of no host in the NSDB",
            _ => "the address is not in the list",
        };
        let what = format!(
            "refused, insights_cloud.recorder.clients is {clients} and {why}; if this is an agent, its records are lost: \
             add its address or network to the list, then restart the MidoNet Cluster"
        );
        self.complain(peer, "recorder.refused", &what);
    }

    /// Logs what is wrong with a peer, at most once an hour.
    fn complain(&self, peer: IpAddr, code: &'static str, what: &str) {
        let key = (peer, code);
        let now = Instant::now();
        let mut complaints = self.complaints.lock();
        if complaints.len() >= MAX_COMPLAINERS && !complaints.contains_key(&key) {
            complaints.retain(|_, complaint| now < complaint.told + COMPLAINT_PAUSE);
            if complaints.len() >= MAX_COMPLAINERS {
                return;
            }
        }
        let untold = match complaints.get_mut(&key) {
            Some(complaint) if now < complaint.told + COMPLAINT_PAUSE => {
                complaint.untold += 1;
                return;
            }
            Some(complaint) => complaint.untold,
            None => 0,
        };
        complaints.insert(key, Complaint { told: now, untold: 0 });
        drop(complaints);
        let text = format!("recorder and {peer}: {what}");
        match untold {
            0 => log::warn!("{text}"),
            untold => log::warn!("{text} ({untold} other complaints in the last hour)"),
        }
        self.pipe.event(event(
            Level::Warning,
            code,
            text,
            &[("peer", peer.to_string()), ("untold", untold.to_string())],
        ));
    }
}

/// A connection's share of the common bounds, given back when it ends.
struct Share<'a> {
    shared: &'a Shared,
    bytes: usize,
    /// Whether its peer has no address of a host.
    foreign: bool,
}

impl<'a> Share<'a> {
    fn new(shared: &'a Shared, peer: IpAddr) -> Share<'a> {
        let gauges = shared.pipe.gauges();
        gauges.agents_connected.fetch_add(1, Ordering::Relaxed);
        let foreign = !shared.admission.is_host(peer);
        gauges.agents_foreign.fetch_add(foreign.into(), Ordering::Relaxed);
        Share { shared, bytes: 0, foreign }
    }

    /// Whether the connection may hold so much. Agents that proved to be some have a second half that strangers can't use up.
    fn hold(&mut self, bytes: usize, proven: bool) -> bool {
        let before = self.shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.shared.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        let all = before + bytes - self.bytes;
        self.bytes = bytes;
        bytes <= FREE_BYTES || all <= if proven { 2 * MAX_WAITING_BYTES } else { MAX_WAITING_BYTES }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        let gauges = self.shared.pipe.gauges();
        gauges.agents_connected.fetch_sub(1, Ordering::Relaxed);
        gauges.agents_foreign.fetch_sub(self.foreign.into(), Ordering::Relaxed);
    }
}

/// One connection from its verdict to its end.
async fn serve(stream: TcpStream, peer: IpAddr, verdict: Verdict, shared: Arc<Shared>) {
    if verdict == Verdict::Waits {
        match shared.admission.wait(&stream, peer).await {
            Some(true) => {}
            Some(false) => return shared.refuse(peer),
            None => return,
        }
    }
    read(stream, peer, shared).await;
}

/// Reads one connection to its end.
async fn read(mut stream: TcpStream, peer: IpAddr, shared: Arc<Shared>) {
    let pipe = &shared.pipe;
    let mut share = Share::new(&shared, peer);
    let mut intake = Intake::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut deadline = Some(Instant::now() + PROOF_TIME);
    let end = loop {
        let read = match deadline {
            Some(deadline) => timeout_at(deadline, stream.read(&mut buffer))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            None => stream.read(&mut buffer).await,
        };
        let bytes = match read {
            Ok(0) => break None,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !intake.proven => {
                break Some(format!("no valid record within {PROOF_TIME:?}; closed"));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut && intake.is_amid_record() => {
                break Some(format!("the rest of a record did not come within {RECORD_TIME:?}; closed"));
            }
            // An agent that was killed.
            Err(error) => {
                log::debug!("read from agent {peer}: {error}");
                break None;
            }
        };
        let mut invalid = None;
        let mut count = 0;
        // What the pipe drops it counts; the agent is not kept waiting for it.
        let fact = |mut fact: FlowFact| {
            fact.path = shared.paths.intern(fact.path);
            pipe.flow(fact);
        };
        let taken = intake.take(bytes, now_us(), fact, |why| {
            count += 1;
            invalid.get_or_insert_with(|| why.to_string());
        });
        if let Some(why) = invalid {
            pipe.invalid(Kind::Flows, count);
            shared.complain(peer, "recorder.bad_peer", &format!("a record can't be decoded: {why}"));
        }
        if let Err(error) = taken {
            break Some(format!("{error}; closed"));
        }
        if !share.hold(intake.memory(), intake.proven) {
            break Some(String::from(
                "its record is larger than the memory that is left for waiting parts; closed",
            ));
        }
        deadline = match (intake.proven, intake.is_amid_record()) {
            (false, _) => deadline,
            (true, false) => None,
            (true, true) => deadline.or_else(|| Some(Instant::now() + RECORD_TIME)),
        };
    };
    if intake.is_amid_record() && intake.proven {
        // The record that was cut off is lost.
        pipe.invalid(Kind::Flows, 1);
    }
    if let Some(complaint) = end {
        shared.complain(peer, "recorder.bad_peer", &complaint);
    }
}
