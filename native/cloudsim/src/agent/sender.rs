// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The agent's flow sender, with the rules of MidoNet's `FlowSenderWorker`: one connection, a queue of 128 records, an endpoint chosen at random
//! among those that discovery knows and forgotten at any error, at most one choice in five seconds.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    clock,
    ledger::{Ledger, Tally},
};

/// `agent.flow_history.queue_size`.
pub const QUEUE: usize = 128;
/// `agent.flow_history.connection_interval`.
pub const CONNECTION_INTERVAL: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A framed record on its way.
#[derive(Debug)]
pub struct Outgoing {
    pub frame: Vec<u8>,
    pub tally: Tally,
}

/// Host and port of a recorder.
pub type Endpoint = (String, u16);

struct Sender {
    host: Uuid,
    ledger: Arc<Ledger>,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    interval: Duration,
    rng: StdRng,
    endpoint: Option<Endpoint>,
    stream: Option<(Endpoint, TcpStream)>,
    next_choice: Instant,
    buffer: Vec<u8>,
}

/// Sends what comes through the queue until the queue's other end is dropped.
pub async fn run(
    host: Uuid,
    mut queue: mpsc::Receiver<Outgoing>,
    endpoints: watch::Receiver<Vec<Endpoint>>,
    ledger: Arc<Ledger>,
    interval: Duration,
    seed: u64,
) {
    let rng = StdRng::seed_from_u64(seed);
    let mut sender = Sender {
        host,
        ledger,
        endpoints,
        interval,
        rng,
        endpoint: None,
        stream: None,
        next_choice: Instant::now(),
        buffer: Vec::new(),
    };
    let mut batch = Vec::with_capacity(QUEUE);
    let mut discovery_lives = true;
    loop {
        tokio::select! {
            changed = sender.endpoints.changed(), if discovery_lives => {
                discovery_lives = changed.is_ok();
                // Any change of the set may move an agent.
                sender.choose();
            }
            count = queue.recv_many(&mut batch, QUEUE) => {
                if count == 0 {
                    return;
                }
                sender.send(&mut batch).await;
            }
        }
    }
}

impl Sender {
    fn choose(&mut self) {
        let known = self.endpoints.borrow_and_update().clone();
        if known.is_empty() {
            self.endpoint = None;
            return;
        }
        let now = Instant::now();
        if now < self.next_choice {
            return;
        }
        self.next_choice = now + self.interval;
        self.endpoint = Some(known[self.rng.random_range(0..known.len())].clone());
    }

    async fn send(&mut self, batch: &mut Vec<Outgoing>) {
        if self.endpoint.is_none() {
            self.choose();
        }
        let Some(endpoint) = self.endpoint.clone() else {
            let lost = batch.len() as u64;
            self.ledger.agent(self.host, |agent| agent.no_endpoint += lost);
            batch.clear();
            return;
        };
        if self.stream.as_ref().is_none_or(|(connected, _)| *connected != endpoint) {
            self.stream = None;
            match connect(&endpoint).await {
                Ok(stream) => {
                    let name = format!("{}:{}", endpoint.0, endpoint.1);
                    self.ledger.agent(self.host, |agent| {
                        agent.connects += 1;
                        agent.endpoint = Some(name);
                    });
                    self.stream = Some((endpoint, stream));
                }
                Err(error) => {
                    self.failed(&error, batch.len() as u64);
                    batch.clear();
                    return;
                }
            }
        }
        self.write(batch).await;
        batch.clear();
    }

    /// Writes the batch and counts the records whose last byte was taken, also when the connection breaks in its middle.
    async fn write(&mut self, batch: &[Outgoing]) {
        let Some((_, stream)) = &mut self.stream else { return };
        self.buffer.clear();
        batch.iter().for_each(|record| self.buffer.extend_from_slice(&record.frame));
        self.ledger.sending(clock::now_us(), batch.iter().map(|record| &record.tally));
        let mut written = 0;
        let error = loop {
            if written == self.buffer.len() {
                break None;
            }
            match stream.write(&self.buffer[written..]).await {
                Ok(0) => break Some(std::io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) => break Some(error),
            }
        };
        let mut end = 0;
        let whole = batch.iter().take_while(|record| {
            end += record.frame.len();
            end <= written
        });
        let whole = whole.count();
        self.ledger
            .sent(self.host, written as u64, batch[..whole].iter().map(|record| &record.tally));
        if let Some(error) = error {
            self.ledger.not_sent(batch[whole..].iter().map(|record| &record.tally));
            self.failed(&error, (batch.len() - whole) as u64);
        }
    }

    fn failed(&mut self, error: &std::io::Error, lost: u64) {
        log::debug!("agent {}: error sending flow record to endpoint: {error}", self.host);
        self.stream = None;
        self.endpoint = None;
        self.ledger.agent(self.host, |agent| {
            agent.lost += lost;
            agent.endpoint = None;
        });
    }
}

async fn connect(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let connect = TcpStream::connect((endpoint.0.as_str(), endpoint.1));
    timeout(CONNECT_TIMEOUT, connect)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
