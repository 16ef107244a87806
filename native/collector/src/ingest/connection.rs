// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One gateway's connection: greeting, control stream, end.

use std::{sync::Arc, time::Duration};

use insights_protocol::{
    Kind, PROTOCOL_VERSION, WireError,
    control::{Cursor, Hello, Refusal, RefusalCode, Report, StreamState, ToGateway, ToService, Welcome, close},
    frame::{LENGTH_BYTES, MAX_CONTROL_FRAME, frame, payload_length},
};
use insights_store::{
    SiteId, StoreError, StreamId,
    catalog::{Fingerprint, Hop, Level},
};
use quinn::{Connection, Incoming, ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};
use uuid::Uuid;

use super::{
    MAX_GATEWAYS, Shared,
    counters::{add, stream_kind},
    data,
    gateways::{Closing, LiveStatus},
    rows::own_event,
    snapshots,
    tls::{certificate_fingerprint, certificate_until_us},
};
use crate::clock::now_us;

/// A handshake and a greeting take no longer, on the slowest of links.
const GREETING: Duration = Duration::from_secs(15);

/// Longest greeting: a few names and numbers.
const MAX_GREETING: usize = 64 << 10;

/// Messages to a gateway that wait for its control stream. A gateway that doesn't read gets no further acknowledgements and stalls itself.
const OUT_QUEUE: usize = 256;

/// How long a gateway has to take its refusal before the connection is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Streams that a greeting may list: one per kind.
const MAX_STREAMS: usize = 16;

/// Longest name of a machine or version that is kept.
const MAX_NAME: usize = 255;

/// Seconds that a refused gateway waits before it tries again.
const RETRY_S: u32 = 60;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the connection ended")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the control stream ended")]
    Read(#[from] ReadExactError),
    #[error("write to the control stream")]
    Write(#[from] WriteError),
    #[error("the gateway broke the protocol")]
    Wire(#[from] WireError),
    #[error("the gateway broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("no greeting within {} s", GREETING.as_secs())]
    Silent,
    #[error("read or write the catalogue")]
    Store(#[from] StoreError),
    #[error("the gateway stopped: {0}")]
    Bye(String),
    #[error("a newer connection took over")]
    Replaced,
    #[error("the service stops")]
    Draining,
    #[error("refused: {0}")]
    Refused(String),
}

/// A gateway that was let in, as its streams need to know it.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) site: SiteId,
    pub(super) gateway: Uuid,
    pub(super) out: mpsc::Sender<ToGateway>,
}

/// Serves one incoming connection to its end.
pub(super) async fn serve(incoming: Incoming, shared: &Arc<Shared>) {
    let address = incoming.remote_address();
    let handshake = async { incoming.accept()?.await };
    let connection = match tokio::time::timeout(GREETING, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            add(&shared.parts.counters.handshakes_failed, 1);
            tracing::debug!(%address, error = &error as &dyn std::error::Error, "handshake failed");
            return;
        }
        Err(_) => {
            add(&shared.parts.counters.handshakes_failed, 1);
            return;
        }
    };
    add(&shared.parts.counters.connections_accepted, 1);
    let ended = greet(&connection, shared).await;
    let code = match &ended {
        Ended::Wire(_) | Ended::Protocol(_) => close::PROTOCOL_ERROR,
        Ended::Replaced => close::REPLACED,
        Ended::Draining => close::DRAINING,
        Ended::Refused(_) => close::REFUSED,
        _ => close::NORMAL,
    };
    match &ended {
        Ended::Wire(_) | Ended::Protocol(_) | Ended::Store(_) => {
            tracing::warn!(%address, error = &ended as &dyn std::error::Error, "connection closed");
        }
        Ended::Refused(reason) => tracing::warn!(%address, reason, "gateway refused"),
        other => tracing::debug!(%address, reason = other as &dyn std::error::Error, "connection ended"),
    }
    connection.close(VarInt::from_u32(code), ended.to_string().as_bytes());
}

/// From the greeting on.
async fn greet(connection: &Connection, shared: &Arc<Shared>) -> Ended {
    let greeting = async {
        let (out, mut control) = connection.accept_bi().await?;
        let bytes = read_frame(&mut control, MAX_GREETING).await?;
        Ok::<_, Ended>((out, control, bytes))
    };
    let (mut out, control, bytes) = match tokio::time::timeout(GREETING, greeting).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) => return error,
        Err(_) => return Ended::Silent,
    };
    match admit(connection, shared, &bytes) {
        Ok((hello, site, fingerprint)) => session(connection, shared, out, control, hello, site, fingerprint).await,
        Err(Denied::Refuse(refusal)) => refuse(&mut out, refusal).await,
        Err(Denied::End(error)) => error,
    }
}

enum Denied {
    Refuse(Refusal),
    End(Ended),
}

/// Whether the caller may send, and as whom.
fn admit(connection: &Connection, shared: &Shared, greeting: &[u8]) -> Result<(Hello, SiteId, Fingerprint), Denied> {
    let version = ToService::greeting_version(greeting).ok_or(Denied::End(Ended::Protocol("the first message is no greeting")))?;
    if version != PROTOCOL_VERSION {
        let (older, newer) = (
            "upgrade the package midonet-insights-plugin of this machine",
            "wait until the service is upgraded",
        );
        return Err(Denied::Refuse(Refusal {
            code: RefusalCode::Protocol,
            reason: format!("the gateway speaks protocol version {version}, this service speaks {PROTOCOL_VERSION}"),
            remedy: if version < PROTOCOL_VERSION { older } else { newer }.to_owned(),
            retry_after_s: 10 * RETRY_S,
        }));
    }
    let hello = match ToService::decode(greeting) {
        Ok(ToService::Hello(hello)) => hello,
        Ok(_) => return Err(Denied::End(Ended::Protocol("the first message is no greeting"))),
        Err(error) => return Err(Denied::End(error.into())),
    };
    if hello.streams.len() > MAX_STREAMS {
        return Err(Denied::End(Ended::Protocol("too many streams in the greeting")));
    }
    let fingerprint = peer_fingerprint(connection).ok_or(Denied::End(Ended::Protocol("no certificate")))?;
    // The key was good at the handshake; it may have been deleted since.
    let site = shared.pins.site_of(&fingerprint).ok_or_else(|| Denied::Refuse(key_deleted()))?;
    let gateway = Uuid::from_bytes(hello.gateway);
    if shared.parts.gateways.others(site, gateway) >= MAX_GATEWAYS {
        return Err(Denied::Refuse(Refusal {
            code: RefusalCode::Busy,
            reason: format!("{MAX_GATEWAYS} gateways of this site are connected already"),
            remedy: "stop the plugin on machines that are not needed".to_owned(),
            retry_after_s: RETRY_S,
        }));
    }
    Ok((hello, site, fingerprint))
}

fn key_deleted() -> Refusal {
    Refusal {
        code: RefusalCode::KeyDeleted,
        reason: "the fingerprint of this gateway's key was deleted from its site".to_owned(),
        remedy: "add the fingerprint that `mn-insights show` prints to the site again, or stop the plugin on this machine".to_owned(),
        retry_after_s: RETRY_S,
    }
}

/// Sends a refusal and gives the gateway time to take it.
async fn refuse(out: &mut SendStream, refusal: Refusal) -> Ended {
    let reason = refusal.reason.clone();
    let farewell = async {
        send(out, &ToGateway::Refused(refusal)).await?;
        // An end that was sent before can't be sent again; then all is said.
        let _ = out.finish();
        let _ = out.stopped().await;
        Ok::<_, Ended>(())
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
    Ended::Refused(reason)
}

async fn session(
    connection: &Connection,
    shared: &Arc<Shared>,
    mut out: SendStream,
    mut control: RecvStream,
    hello: Hello,
    site: SiteId,
    fingerprint: Fingerprint,
) -> Ended {
    let (gateway, now) = (Uuid::from_bytes(hello.gateway), now_us());
    let (sender, mut messages) = mpsc::channel(OUT_QUEUE);
    let Some(known) = shared.pins.site(site) else {
        return refuse(&mut out, key_deleted()).await;
    };
    let cursors = match cursors(shared, site, gateway, &hello.streams).await {
        Ok(cursors) => cursors,
        Err(error) => return error.into(),
    };
    let live = LiveStatus {
        address: connection.remote_address(),
        connected_us: now,
        clock_ahead_us: hello.clock_us.saturating_sub(now),
        allowed: hello.allowed,
        report: None,
        certificate_until_us: peer_certificate(connection, certificate_until_us),
    };
    let mut entered = shared.parts.gateways.enter(site, gateway, live, sender.clone());
    let welcome = Welcome {
        protocol: PROTOCOL_VERSION,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        clock_us: now,
        site: known.name.to_string(),
        settings: known.settings.wire(),
        cursors,
    };
    let peer = Peer { site, gateway, out: sender };
    let name = text(&hello.name);
    let noted = note_connected(shared, &peer, &hello, &name, fingerprint, connection, now).await;
    tracing::info!(site = %known.name, gateway = %gateway, name, version = hello.software, address = %connection.remote_address(), replaced = entered.replaced, "gateway connected");
    let ended = match noted {
        Err(error) => error.into(),
        Ok(()) => match send(&mut out, &ToGateway::Welcome(welcome)).await {
            Err(error) => error,
            Ok(()) => {
                let mut reports = Reports::new(shared, &peer, &hello).await;
                match snapshots::is_wanted(shared.parts.store.catalog(), site, gateway).await {
                    // The queue is empty but for this.
                    Ok(true) => _ = peer.out.try_send(snapshots::request(&shared.parts.gateways)),
                    Ok(false) => {}
                    Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "could not read whether a snapshot is wanted"),
                }
                let mut changes = shared.pins.changes();
                let mut settings = known.settings;
                let mut streams = JoinSet::new();
                let mut reader = std::pin::pin!(read_control(&mut control, shared, &peer, &mut reports));
                loop {
                    tokio::select! {
                        ended = &mut reader => break ended,
                        Some(message) = messages.recv() => {
                            if let Err(error) = send(&mut out, &message).await {
                                break error;
                            }
                        }
                        stream = connection.accept_uni() => match stream {
                            Ok(stream) => { streams.spawn(data::receive(stream, shared.clone(), peer.clone())); }
                            Err(error) => break error.into(),
                        },
                        Some(done) = streams.join_next() => {
                            // A task is not cancelled here; a panic in one ends the connection, and the gateway sends again.
                            if let Some(ended) = done.unwrap_or(Some(Ended::Protocol("a batch could not be handled"))) {
                                break ended;
                            }
                        }
                        _ = changes.changed() => match shared.pins.site(site) {
                            Some(now) if shared.pins.site_of(&fingerprint) == Some(site) => {
                                if now.settings != settings {
                                    settings = now.settings;
                                    if let Err(error) = send(&mut out, &ToGateway::Settings(settings.wire())).await {
                                        break error;
                                    }
                                }
                            }
                            _ => break refuse(&mut out, key_deleted()).await,
                        },
                        _ = entered.close.changed() => {
                            let closing = *entered.close.borrow();
                            match closing {
                                Some(Closing::Replaced) => break Ended::Replaced,
                                Some(Closing::Draining) => break drain(&mut out, &mut messages, &mut streams).await,
                                None => {}
                            }
                        }
                    }
                }
            }
        },
    };
    if shared.parts.gateways.leave(site, gateway, entered.number) {
        note_disconnected(shared, &peer, &name, now, &ended).await;
        tracing::info!(site = %known.name, gateway = %gateway, name, reason = &ended as &dyn std::error::Error, "gateway disconnected");
    }
    ended
}

/// Tells the gateway to come back later, and passes on the acknowledgements of what is being stored.
async fn drain(out: &mut SendStream, messages: &mut mpsc::Receiver<ToGateway>, streams: &mut JoinSet<Option<Ended>>) -> Ended {
    let passed = async {
        send(out, &ToGateway::Draining { reconnect_after_ms: 3_000 }).await?;
        streams.abort_all();
        while streams.join_next().await.is_some() {}
        while let Ok(message) = messages.try_recv() {
            send(out, &message).await?;
        }
        let _ = out.finish();
        let _ = out.stopped().await;
        Ok::<_, Ended>(())
    };
    let _ = tokio::time::timeout(FAREWELL, passed).await;
    Ended::Draining
}

/// What the service holds durably of the streams that the gateway has.
async fn cursors(shared: &Shared, site: SiteId, gateway: Uuid, streams: &[StreamState]) -> Result<Vec<Cursor>, StoreError> {
    let mut cursors = Vec::new();
    for StreamState { kind, epoch, .. } in streams {
        let stream = StreamId {
            gateway,
            kind: stream_kind(*kind),
            epoch: *epoch,
        };
        if let Some(sequence) = shared.parts.store.cursor(site, stream).await? {
            cursors.push(Cursor {
                kind: *kind,
                epoch: *epoch,
                sequence,
            });
        }
    }
    Ok(cursors)
}

async fn read_control(control: &mut RecvStream, shared: &Shared, peer: &Peer, reports: &mut Reports) -> Ended {
    loop {
        let bytes = match read_frame(control, MAX_CONTROL_FRAME).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        match ToService::decode(&bytes) {
            Ok(ToService::Report(report)) => reports.take(shared, peer, report).await,
            Ok(ToService::CommandDone(done)) => shared.parts.gateways.done(peer.site, peer.gateway, done.id, done.result),
            Ok(ToService::Bye { reason }) => return Ended::Bye(text(&reason)),
            Ok(ToService::Hello(_)) => return Ended::Protocol("a second greeting"),
            Err(error) => return error.into(),
        }
    }
}

/// Reports of one gateway: the last one for the manager, the growth of its counters for the balance.
struct Reports {
    started_us: i64,
    /// Counters up to which the balance has been told.
    told: Option<Report>,
    kept_us: i64,
}

/// What is kept of a report in the catalogue, to go on from after a restart of the service.
#[derive(serde::Serialize, serde::Deserialize)]
struct KeptReport {
    started_us: i64,
    at_us: i64,
    #[serde(default)]
    leads: bool,
    lag_ms: u64,
    spool_bytes: u64,
    spool_limit: u64,
    agents_connected: u32,
    meters_answered: u32,
    agents_alive: u32,
    memory_bytes: u64,
    counters: Vec<KeptCounters>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct KeptCounters {
    kind: String,
    received: u64,
    invalid: u64,
    dropped: u64,
    spooled: u64,
    evicted: u64,
    acknowledged: u64,
}

/// Reports come every few seconds; each is a durable write, so not all are kept.
const KEEP_EVERY_US: i64 = 15_000_000;

impl Reports {
    async fn new(shared: &Shared, peer: &Peer, hello: &Hello) -> Self {
        let known = shared.parts.store.catalog().gateways(peer.site).await.unwrap_or_default();
        let kept = known
            .into_iter()
            .find(|gateway| gateway.id == peer.gateway)
            .and_then(|gateway| gateway.report);
        let kept: Option<KeptReport> = kept.and_then(|(_, json)| serde_json::from_str(&json).ok());
        // Counters go on from where they were, unless the gateway has started anew.
        let told = kept.filter(|kept| kept.started_us == hello.started_us).map(|kept| kept.report());
        Self {
            started_us: hello.started_us,
            told,
            kept_us: 0,
        }
    }

    async fn take(&mut self, shared: &Shared, peer: &Peer, report: Report) {
        let now = now_us();
        shared.parts.gateways.reported(peer.site, peer.gateway, report.clone());
        if now - self.kept_us < KEEP_EVERY_US {
            return;
        }
        let kept = KeptReport::of(self.started_us, &report);
        let json = serde_json::to_string(&kept).unwrap_or_default();
        if let Err(error) = shared.parts.store.catalog().gateway_report(peer.site, peer.gateway, now, json).await {
            tracing::error!(error = &error as &dyn std::error::Error, "could not keep a gateway's report");
            return;
        }
        self.kept_us = now;
        self.count(shared, peer, &report, now);
        self.told = Some(report);
    }

    fn count(&self, shared: &Shared, peer: &Peer, report: &Report, now: i64) {
        for counters in report.counters.iter().take(MAX_STREAMS) {
            let before = self
                .told
                .as_ref()
                .and_then(|told| told.counters.iter().find(|old| old.kind == counters.kind));
            for (hop, count, old) in [
                (Hop::Received, counters.received, before.map(|old| old.received)),
                (Hop::Invalid, counters.invalid, before.map(|old| old.invalid)),
                (Hop::Dropped, counters.dropped, before.map(|old| old.dropped)),
                (Hop::Spooled, counters.spooled, before.map(|old| old.spooled)),
                (Hop::Evicted, counters.evicted, before.map(|old| old.evicted)),
                (Hop::Acknowledged, counters.acknowledged, before.map(|old| old.acknowledged)),
            ] {
                let grown = count.saturating_sub(old.unwrap_or(0));
                shared.parts.counters.hop_count(peer.site, peer.gateway, counters.kind, hop, now, grown);
            }
        }
    }
}

impl KeptReport {
    fn of(started_us: i64, report: &Report) -> Self {
        let counters = report.counters.iter().take(MAX_STREAMS).map(|counters| KeptCounters {
            kind: counters.kind.name().to_owned(),
            received: counters.received,
            invalid: counters.invalid,
            dropped: counters.dropped,
            spooled: counters.spooled,
            evicted: counters.evicted,
            acknowledged: counters.acknowledged,
        });
        Self {
            started_us,
            at_us: report.at_us,
            leads: report.leads,
            lag_ms: report.lag_ms,
            spool_bytes: report.spool_bytes,
            spool_limit: report.spool_limit,
            agents_connected: report.agents_connected,
            meters_answered: report.meters_answered,
            agents_alive: report.agents_alive,
            memory_bytes: report.memory_bytes,
            counters: counters.collect(),
        }
    }

    fn report(self) -> Report {
        let counters = self.counters.into_iter().filter_map(|counters| {
            Some(insights_protocol::control::KindCounters {
                kind: Kind::ALL.into_iter().find(|kind| kind.name() == counters.kind)?,
                received: counters.received,
                invalid: counters.invalid,
                dropped: counters.dropped,
                spooled: counters.spooled,
                evicted: counters.evicted,
                acknowledged: counters.acknowledged,
            })
        });
        Report {
            counters: counters.collect(),
            ..Report::default()
        }
    }
}

async fn note_connected(
    shared: &Shared,
    peer: &Peer,
    hello: &Hello,
    name: &str,
    fingerprint: Fingerprint,
    connection: &Connection,
    now: i64,
) -> Result<(), StoreError> {
    let (catalog, address) = (shared.parts.store.catalog(), connection.remote_address());
    catalog
        .gateway_connected(peer.site, peer.gateway, name.to_owned(), text(&hello.software), fingerprint, now)
        .await?;
    let fields = json!({ "name": name, "address": address.to_string(), "version": text(&hello.software) });
    let event = own_event(
        now,
        Level::Info,
        "gateway.connected",
        format!("gateway {name} connected from {address}"),
        Some(peer.gateway),
        fields,
    );
    catalog.append_events(peer.site, None, vec![event]).await.map(drop)
}

async fn note_disconnected(shared: &Shared, peer: &Peer, name: &str, connected_us: i64, ended: &Ended) {
    let (catalog, now) = (shared.parts.store.catalog(), now_us());
    let fields = json!({ "name": name, "reason": ended.to_string() });
    let level = if matches!(ended, Ended::Bye(_) | Ended::Draining) {
        Level::Info
    } else {
        Level::Warning
    };
    let event = own_event(
        now,
        level,
        "gateway.disconnected",
        format!("gateway {name} disconnected: {ended}"),
        Some(peer.gateway),
        fields,
    );
    let noted = async {
        catalog.gateway_disconnected(peer.site, peer.gateway, connected_us, now).await?;
        catalog.append_events(peer.site, None, vec![event]).await
    };
    if let Err(error) = noted.await {
        tracing::error!(error = &error as &dyn std::error::Error, "could not note that a gateway disconnected");
    }
}

fn peer_fingerprint(connection: &Connection) -> Option<Fingerprint> {
    peer_certificate(connection, certificate_fingerprint)
}

/// What the certificate of the other side says.
fn peer_certificate<T>(connection: &Connection, read: impl Fn(&CertificateDer<'_>) -> Option<T>) -> Option<T> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    read(chain.first()?)
}

/// The next frame of a control stream.
pub(super) async fn read_frame(stream: &mut RecvStream, limit: usize) -> Result<Vec<u8>, Ended> {
    let mut prefix = [0; LENGTH_BYTES];
    stream.read_exact(&mut prefix).await?;
    let mut bytes = vec![0; payload_length(prefix, limit)?];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn send(stream: &mut SendStream, message: &ToGateway) -> Result<(), Ended> {
    Ok(stream.write_all(&frame(&message.encode()?, MAX_CONTROL_FRAME)?).await?)
}

/// A text of the other side, fit for logs and pages.
fn text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}
