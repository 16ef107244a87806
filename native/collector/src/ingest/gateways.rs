// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use insights_protocol::{
    Kinds,
    control::{Command, CommandKind, Report, ToGateway},
};
use insights_store::{SiteId, StoreError, catalog::Catalog};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::accounts::{SiteScope, format_fingerprint};

/// How long a command's outcome is waited for.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// Commands of one gateway that wait for their outcome: people give them one by one.
const COMMANDS_WAITING: usize = 16;

/// The gateways of all sites: those that are connected, with their last word, and those that were. Cheap to clone.
#[derive(Clone)]
pub struct Gateways {
    catalog: Catalog,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    open: Mutex<HashMap<SiteId, BTreeMap<Uuid, Open>>>,
    next: AtomicU64,
}

/// A connection as others reach it.
struct Open {
    /// Tells connections of one gateway apart.
    number: u64,
    live: LiveStatus,
    out: mpsc::Sender<ToGateway>,
    close: watch::Sender<Option<Closing>>,
    waiting: HashMap<u64, oneshot::Sender<Result<String, String>>>,
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Closing {
    /// A newer connection of the same gateway took over.
    Replaced,
    /// The service stops.
    Draining,
}

/// What a connected gateway says of itself.
#[derive(Clone, Debug)]
pub struct LiveStatus {
    pub address: SocketAddr,
    pub connected_us: i64,
    /// How far the gateway's clock is ahead of the service's, µs.
    pub clock_ahead_us: i64,
    /// What the site's own configuration lets leave.
    pub allowed: Kinds,
    pub report: Option<Report>,
    /// End of the certificate that it came with, µs since the epoch.
    pub certificate_until_us: Option<i64>,
}

/// A gateway for the manager.
#[derive(Clone, Debug)]
pub struct GatewayStatus {
    pub id: Uuid,
    pub name: String,
    pub version: String,
    pub fingerprint: String,
    pub first_seen_us: i64,
    pub connected_us: i64,
    /// `None` while it is connected.
    pub disconnected_us: Option<i64>,
    /// Set while it is connected.
    pub live: Option<LiveStatus>,
    /// The last report, JSON, with its time; also of a gateway that is away.
    pub last_report: Option<(i64, String)>,
}

/// Why a command has no outcome.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum CommandError {
    #[error("the gateway is not connected")]
    Away,
    #[error("the gateway did not answer within {} s", COMMAND_TIMEOUT.as_secs())]
    Timeout,
    #[error("the gateway has {COMMANDS_WAITING} commands to answer")]
    Busy,
    #[error("the gateway could not do it: {0}")]
    Failed(String),
}

/// What a connection gets when it is entered.
pub(super) struct Entered {
    pub(super) number: u64,
    pub(super) close: watch::Receiver<Option<Closing>>,
    pub(super) replaced: bool,
}

impl Gateways {
    pub fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            inner: Arc::default(),
        }
    }

    /// All gateways of a site that were ever connected, by name.
    pub async fn of_site(&self, scope: &SiteScope) -> Result<Vec<GatewayStatus>, StoreError> {
        let known = self.catalog.gateways(scope.site()).await?;
        let open = self.inner.open.lock();
        let open = open.get(&scope.site());
        Ok(known
            .into_iter()
            .map(|gateway| {
                let live = open.and_then(|open| open.get(&gateway.id)).map(|open| open.live.clone());
                GatewayStatus {
                    id: gateway.id,
                    name: gateway.name,
                    version: gateway.version,
                    fingerprint: format_fingerprint(&gateway.fingerprint),
                    first_seen_us: gateway.first_seen_us,
                    connected_us: gateway.connected_us,
                    disconnected_us: gateway.disconnected_us.filter(|_| live.is_none()),
                    live,
                    last_report: gateway.report,
                }
            })
            .collect())
    }

    /// The connected gateways of a site.
    pub(crate) fn live_of(&self, site: SiteId) -> HashMap<Uuid, LiveStatus> {
        let open = self.inner.open.lock();
        let open = open.get(&site).into_iter().flatten();
        open.map(|(id, open)| (*id, open.live.clone())).collect()
    }

    /// How many gateways of a site are connected.
    pub fn connected(&self, scope: &SiteScope) -> usize {
        self.inner.open.lock().get(&scope.site()).map_or(0, BTreeMap::len)
    }

    /// Gives a connected gateway a command and waits for its outcome.
    pub async fn command(&self, scope: &SiteScope, gateway: Uuid, what: CommandKind) -> Result<String, CommandError> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (done, outcome) = oneshot::channel();
        let out = {
            let mut open = self.inner.open.lock();
            let open = open
                .get_mut(&scope.site())
                .and_then(|open| open.get_mut(&gateway))
                .ok_or(CommandError::Away)?;
            open.waiting.retain(|_, waiting| !waiting.is_closed());
            if open.waiting.len() >= COMMANDS_WAITING {
                return Err(CommandError::Busy);
            }
            open.waiting.insert(id, done);
            open.out.clone()
        };
        let answered = async {
            out.send(ToGateway::Command(Command { id, what })).await.map_err(|_| CommandError::Away)?;
            outcome.await.map_err(|_| CommandError::Away)?.map_err(CommandError::Failed)
        };
        tokio::time::timeout(COMMAND_TIMEOUT, answered)
            .await
            .unwrap_or(Err(CommandError::Timeout))
    }

    /// A number that no other command has, for commands that the service gives on its own and whose outcome nobody waits for.
    pub(super) fn command_id(&self) -> u64 {
        self.inner.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Connections of a site, without that of this gateway.
    pub(super) fn others(&self, site: SiteId, gateway: Uuid) -> usize {
        self.inner
            .open
            .lock()
            .get(&site)
            .map_or(0, |open| open.keys().filter(|id| **id != gateway).count())
    }

    /// Enters a connection; an older one of the same gateway is told to go.
    pub(super) fn enter(&self, site: SiteId, gateway: Uuid, live: LiveStatus, out: mpsc::Sender<ToGateway>) -> Entered {
        let number = self.command_id();
        let (close, closing) = watch::channel(None);
        let open = Open {
            number,
            live,
            out,
            close,
            waiting: HashMap::new(),
        };
        let old = self.inner.open.lock().entry(site).or_default().insert(gateway, open);
        let replaced = old.is_some();
        if let Some(old) = old {
            old.close.send_replace(Some(Closing::Replaced));
        }
        Entered {
            number,
            close: closing,
            replaced,
        }
    }

    /// Takes a connection out, unless a newer one has its place. True when it was the last word.
    pub(super) fn leave(&self, site: SiteId, gateway: Uuid, number: u64) -> bool {
        let mut sites = self.inner.open.lock();
        let Some(open) = sites.get_mut(&site) else { return false };
        if open.get(&gateway).is_none_or(|open| open.number != number) {
            return false;
        }
        open.remove(&gateway);
        if open.is_empty() {
            sites.remove(&site);
        }
        true
    }

    pub(super) fn reported(&self, site: SiteId, gateway: Uuid, report: Report) {
        if let Some(open) = self.inner.open.lock().get_mut(&site).and_then(|open| open.get_mut(&gateway)) {
            open.live.report = Some(report);
        }
    }

    pub(super) fn done(&self, site: SiteId, gateway: Uuid, id: u64, result: Result<String, String>) {
        let waiting = self
            .inner
            .open
            .lock()
            .get_mut(&site)
            .and_then(|open| open.get_mut(&gateway))
            .and_then(|open| open.waiting.remove(&id));
        if let Some(waiting) = waiting {
            // Nobody may be waiting any more.
            let _ = waiting.send(result);
        }
    }

    /// Tells all connections that the service stops.
    pub(super) fn drain(&self) {
        for open in self.inner.open.lock().values().flat_map(BTreeMap::values) {
            open.close.send_replace(Some(Closing::Draining));
        }
    }
}
