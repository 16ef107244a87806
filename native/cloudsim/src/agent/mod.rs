// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Agents: a task for each host, with a ZooKeeper session, a flow sender and a meter end point.

pub mod http;
pub mod meters;
pub mod sender;
mod session;
mod state;

pub use session::cluster;

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use midonet::nsdb::Root;
use parking_lot::{Mutex, RwLock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use self::{meters::Meters, sender::Outgoing};
use crate::{incident::Broken, ledger::Ledger, plan::HostPlan, view::View};

/// What all agents share.
pub struct Context {
    pub zookeeper: String,
    pub root: Root,
    /// The name under which recorders are registered.
    pub service: String,
    pub ledger: Arc<Ledger>,
    /// The topology as of now; replaced when it changes.
    pub view: RwLock<Arc<View>>,
    pub workers: usize,
    pub queue: usize,
    pub interval: std::time::Duration,
    /// Rises with every change of the topology, so that sessions look for ports that came and went.
    pub changed: watch::Sender<u64>,
    /// Routes that the edge router learned, as of now.
    pub learned: RwLock<Vec<crate::view::Learned>>,
    pub external_network: Uuid,
    /// What is broken, though the topology has it whole.
    pub broken: RwLock<std::collections::HashSet<Broken>>,
}

/// An agent of a host. It can stop and come back.
pub struct Agent {
    pub host: HostPlan,
    pub meters: meters::Shared,
    /// Where its records go; closed while it is down.
    queue: Mutex<Option<mpsc::Sender<Outgoing>>>,
    alive: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    stop: Mutex<Option<watch::Sender<session::Stop>>>,
}

/// Why a record was not taken.
#[derive(Debug, Eq, PartialEq)]
pub enum Refused {
    Down,
    QueueFull,
}

impl Agent {
    pub fn new(host: HostPlan, workers: usize) -> Agent {
        Agent {
            host,
            meters: Arc::new(Mutex::new(Meters::new(workers))),
            queue: Mutex::new(None),
            alive: AtomicBool::new(false),
            tasks: Mutex::new(Vec::new()),
            stop: Mutex::new(None),
        }
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Starts the agent. The listener of its meters is given, since its port stands in the host's configuration.
    pub fn start(&self, context: &Arc<Context>, listener: TcpListener, seed: u64) {
        let (sender, queue) = mpsc::channel(context.queue);
        let (endpoints, known) = watch::channel(Vec::new());
        let (stop, stopped) = watch::channel(session::Stop::No);
        *self.queue.lock() = Some(sender);
        *self.stop.lock() = Some(stop);
        self.meters.lock().restart();
        self.alive.store(true, Ordering::Relaxed);
        let name = self.host.name.clone();
        context.ledger.agent(self.host.id, |agent| {
            agent.name = name;
            agent.alive = true;
        });
        let mut tasks = self.tasks.lock();
        tasks.push(tokio::spawn(http::serve(listener, self.meters.clone())));
        tasks.push(tokio::spawn(sender::run(
            self.host.id,
            queue,
            known,
            context.ledger.clone(),
            context.interval,
            seed,
        )));
        tasks.push(tokio::spawn(session::run(context.clone(), self.host.clone(), endpoints, stopped)));
    }

    /// Stops the agent: at once and without a word if it crashes, so that its session lives until it times out.
    pub async fn stop(&self, ledger: &Ledger, crash: bool) {
        self.alive.store(false, Ordering::Relaxed);
        self.queue.lock().take();
        if let Some(stop) = self.stop.lock().take() {
            let _ = stop.send(if crash { session::Stop::Crash } else { session::Stop::Orderly });
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let last = tasks.len().saturating_sub(1);
        for (index, task) in tasks.into_iter().enumerate() {
            // The session ends by itself after it has closed; the others have nothing to finish.
            if index != last {
                task.abort();
            }
            let _ = task.await;
        }
        ledger.agent(self.host.id, |agent| {
            agent.alive = false;
            agent.endpoint = None;
        });
    }

    /// Queues a record, unless the queue is full.
    pub fn offer(&self, record: Outgoing) -> Result<(), Refused> {
        match &*self.queue.lock() {
            None => Err(Refused::Down),
            Some(queue) => queue.try_send(record).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Refused::QueueFull,
                mpsc::error::TrySendError::Closed(_) => Refused::Down,
            }),
        }
    }

    pub fn address(&self) -> Ipv4Addr {
        self.host.address
    }
}
