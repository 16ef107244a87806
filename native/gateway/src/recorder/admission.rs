// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Whether a peer may send flow records, by its address.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{config::Clients, nsdb::View};

/// An agent writes its addresses into the NSDB before it sends, but they may still be on their way to the view; so long a stranger waits
/// without being read.
const GRACE: Duration = Duration::from_secs(10);
/// The same while the NSDB has not been read once, which may take long on a large site.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);
/// Strangers that wait at a time. They have this room beside `recorder.max_connections`, so that they take none from agents; further ones
/// are refused at once.
const MAX_WAITING: usize = 256;

/// The doorkeeper of one endpoint.
#[derive(Debug)]
pub(super) struct Admission {
    clients: Clients,
    view: View,
    waiting: AtomicUsize,
}

/// What is known of a peer at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Admitted,
    /// May yet be found among the hosts of the NSDB.
    Waits,
    Refused,
}

impl Admission {
    pub(super) fn new(clients: Clients, view: View) -> Admission {
        Admission {
            clients,
            view,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whoever gets [`Verdict::Waits`] holds a place until [`Admission::wait`] returns.
    pub(super) fn verdict(&self, peer: IpAddr) -> Verdict {
        let Clients::Listed { hosts, networks } = &self.clients else {
            return Verdict::Admitted;
        };
        if networks.iter().any(|network| network.contains(peer)) || *hosts && self.view.is_host_address(peer) {
            return Verdict::Admitted;
        }
        let free = |waiting: usize| (waiting < MAX_WAITING).then_some(waiting + 1);
        match *hosts && self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok() {
            true => Verdict::Waits,
            false => Verdict::Refused,
        }
    }

    /// Waits until the address is a host's: `Some(true)`; `Some(false)` when it did not become one; `None` when the peer went away before.
    pub(super) async fn wait(&self, stream: &TcpStream, peer: IpAddr) -> Option<bool> {
        let _place = Place(&self.waiting);
        let patience = if self.view.is_whole() { GRACE } else { SNAPSHOT_PATIENCE };
        let deadline = Instant::now() + patience;
        let mut version = self.view.version();
        let known = async {
            while !self.view.is_host_address(peer) {
                if version.changed().await.is_err() {
                    sleep_until(deadline).await;
                }
            }
        };
        tokio::select! {
            known = timeout_at(deadline, known) => Some(known.is_ok()),
            () = gone(stream) => None,
        }
    }

    /// Whether the peer would be admitted if hosts of the NSDB alone were.
    pub(super) fn is_host(&self, peer: IpAddr) -> bool {
        self.view.is_host_address(peer)
    }

    pub(super) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Connections that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns when the peer closes without having sent anything. Once it sent something, its end can't be seen without reading.
async fn gone(stream: &TcpStream) {
    match stream.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}
