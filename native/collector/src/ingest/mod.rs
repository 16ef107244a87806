// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The QUIC endpoint that gateways connect to.
//!
//! A connection is let in by its key ([`tls`], [`pins`]), greets on its control stream ([`connection`]) and sends batches on one stream per
//! kind of data ([`data`]). A batch is decoded, joined with the topology ([`join`]) and committed with its cursor; then it is acknowledged.
//! What a gateway can make this service hold is bounded: see the constants here and in [`data`].

mod connection;
mod contexts;
mod counters;
mod data;
mod gateways;
mod join;

mod pins;
mod reset;
mod rows;
mod snapshots;
mod stories;
mod tls;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use insights_store::{Store, StoreError};
use quinn::{Endpoint, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio::{sync::Semaphore, task::JoinHandle};

pub use counters::{Acks, Counters, KindCounters};
pub(crate) use tls::certificate_until_us;

pub use gateways::{CommandError, GatewayStatus, Gateways, LiveStatus};

use crate::{accounts::Accounts, clock::now_us, site::Sites};
use pins::Pins;

/// Gateways of one site that are connected at once: some machines, and a few that are being replaced.
pub(crate) const MAX_GATEWAYS: usize = 16;

/// Unread data of one connection: two batches at their bound.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Unread data of one stream: a batch at its bound.
const STREAM_WINDOW: u32 = 4 << 20;

/// Bytes of batches that are read, decoded and joined at once, over all connections; more wait, and flow control holds their senders.
const MAX_BATCHES_BYTES: usize = 128 << 20;

/// A gateway that is silent so long is gone; it sends keep-alives more often.
const IDLE: Duration = Duration::from_secs(30);

/// How often changes that other processes made to the catalogue (the command line) are looked for.
const CATALOG_POLL: Duration = Duration::from_secs(1);

/// How often counts are written to the catalogue.
const COUNTS_EVERY: Duration = Duration::from_secs(10);

/// How long open connections are given to end when the service stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the endpoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("use the server's certificate and key")]
    Certificate(#[source] rustls::Error),
    #[error("listen for gateways on UDP {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("read the catalogue")]
    Store(#[source] StoreError),
}

/// What the endpoint is started with.
pub struct IngestOptions {
    /// UDP.
    pub listen: SocketAddr,
    /// The server's own first.
    pub certificates: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Connections at once; more are refused. Each may hold its flow-control window, 8 MiB, in the worst case, beside what is kept of its
    /// stream of flows ([`contexts`]).
    pub max_connections: usize,
}

/// What the endpoint works on.
#[derive(Clone)]
pub struct IngestParts {
    pub store: Store,
    pub sites: Sites,
    pub accounts: Accounts,
    pub gateways: Gateways,
    pub counters: Arc<Counters>,
}

/// The running endpoint.
pub struct Ingest {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) parts: IngestParts,
    pins: Arc<Pins>,
    /// Permits of one KiB each.
    memory: Arc<Semaphore>,
    /// Batches that are decoded and joined at once.
    decoding: Arc<Semaphore>,
    contexts: Arc<contexts::Contexts>,
}

impl Ingest {
    /// Binds and serves. What the gateways of the last run left open in the catalogue is closed first.
    pub async fn start(options: IngestOptions, parts: IngestParts) -> Result<Self, IngestError> {
        parts
            .store
            .catalog()
            .all_gateways_disconnected(now_us())
            .await
            .map_err(IngestError::Store)?;
        let pins = Arc::new(Pins::load(parts.store.catalog()).await.map_err(IngestError::Store)?);
        let known_again = reset::endpoint_config(&options.key);
        let tls = tls::server_config(options.certificates, options.key, pins.clone())?;
        let listen = |source| IngestError::Listen {
            address: options.listen,
            source,
        };
        let socket = std::net::UdpSocket::bind(options.listen).map_err(listen)?;
        let runtime = quinn::default_runtime().ok_or_else(|| listen(std::io::Error::other("no async runtime")))?;
        let endpoint = Endpoint::new(known_again, Some(quic_config(tls)), socket, runtime).map_err(listen)?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Arc::new(Shared {
            parts,
            pins,
            memory: Arc::new(Semaphore::new(MAX_BATCHES_BYTES >> 10)),
            decoding: Arc::new(Semaphore::new(cores)),
            contexts: Arc::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(accept(endpoint.clone(), shared.clone(), options.max_connections)),
            tokio::spawn(follow_catalog(shared.clone(), stopping.clone())),
            tokio::spawn(write_counts(shared.clone(), stopping)),
        ];
        Ok(Self {
            endpoint,
            shared,
            tasks,
            stop,
        })
    }

    /// The address that is listened on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Tells gateways to come back later, waits a little for what is under way, and closes.
    pub async fn stop(self) {
        self.shared.parts.gateways.drain();
        let open = async {
            while self.shared.parts.counters.connections_open.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN, open).await;
        self.endpoint
            .close(VarInt::from_u32(insights_protocol::control::close::DRAINING), b"the service stops");
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
        self.stop.send_replace(true);
        for task in self.tasks {
            // The accept loop ends with its endpoint, the others with the mark; a panic in one was logged by its hook.
            let _ = tokio::time::timeout(DRAIN, task).await;
        }
    }
}

fn quic_config(tls: quinn::crypto::rustls::QuicServerConfig) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        // One per kind, and one more that a gateway opens before the service has seen the old one's end.
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok());
    config.transport_config(Arc::new(transport));
    config
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>, most: usize) {
    while let Some(incoming) = endpoint.accept().await {
        let counters = &shared.parts.counters;
        let open = counters.connections_open.load(Ordering::Relaxed) as usize;
        if open >= most {
            counters::add(&counters.connections_refused, 1);
            incoming.refuse();
        } else if open >= most / 2 && !incoming.remote_address_validated() {
            // Under load a caller has to show first that its address is its own.
            let _ = incoming.retry();
        } else {
            let shared = shared.clone();
            counters::add(&counters.connections_open, 1);
            tokio::spawn(async move {
                connection::serve(incoming, &shared).await;
                shared.parts.counters.connections_open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// Keeps sites and keys as the catalogue has them: at once after changes by this process, soon after those of others.
async fn follow_catalog(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut changes = shared.parts.accounts.changes();
    let catalog = shared.parts.store.catalog().clone();
    let mut version = catalog.version().await.ok();
    loop {
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(CATALOG_POLL) => {
                let now = catalog.version().await.ok();
                if now == version {
                    continue;
                }
                version = now;
            }
            _ = stop.changed() => return,
        }
        if let Err(error) = shared.pins.reload(&catalog).await {
            tracing::error!(error = &error as &dyn std::error::Error, "could not read sites and fingerprints");
        }
    }
}

async fn write_counts(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut last = false;
    while !last {
        tokio::select! {
            () = tokio::time::sleep(COUNTS_EVERY) => {}
            _ = stop.changed() => last = true,
        }
        for (site, counts) in shared.parts.counters.take_pending() {
            if let Err(error) = shared.parts.store.catalog().add_counts(site, counts).await {
                tracing::error!(error = &error as &dyn std::error::Error, %site, "could not keep counts");
            }
        }
    }
}
