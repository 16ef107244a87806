// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The agent's flow sender against recorders that misbehave.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use insights_cloudsim::{
    agent::sender::{self, Endpoint, Outgoing},
    ledger::{Class, Ledger, Tally},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use uuid::Uuid;

const HOST: Uuid = Uuid::from_u128(7);

struct Agent {
    queue: mpsc::Sender<Outgoing>,
    endpoints: watch::Sender<Vec<Endpoint>>,
    ledger: Arc<Ledger>,
    _task: JoinHandle<()>,
}

fn agent(queue: usize, interval: Duration) -> Agent {
    let ledger = Arc::new(Ledger::new(None, None, 0).unwrap());
    let (sender, receiver) = mpsc::channel(queue);
    let (endpoints, known) = watch::channel(Vec::new());
    let _task = tokio::spawn(sender::run(HOST, receiver, known, ledger.clone(), interval, 1));
    Agent {
        queue: sender,
        endpoints,
        ledger,
        _task,
    }
}

fn record(number: u64, size: usize) -> Outgoing {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(size, 0);
    let mut frame = Vec::new();
    midonet::flow::frame::encode(&payload, &mut frame);
    let tally = Tally {
        host: HOST,
        cookie: number,
        class: Class::Forwarded,
        tenant: Arc::from("t"),
        rule: None,
        src_port: 0,
        json: false,
    };
    Outgoing { frame, tally }
}

impl Agent {
    fn count(&self, name: &str) -> u64 {
        let ledger: serde_json::Value = serde_json::from_str(&self.ledger.to_json(0, 0)).unwrap();
        ledger["records"]["by_agent"][HOST.to_string()][name].as_u64().unwrap_or(0)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Agent) -> bool) {
        let started = Instant::now();
        while !holds(self) {
            assert!(started.elapsed() < Duration::from_secs(30), "{what} did not happen");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn recorder() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, ("127.0.0.1".to_owned(), port))
}

/// Numbers of the records that arrive next.
async fn read(stream: &mut TcpStream, count: usize, size: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        assert_eq!(
            stream.read_u8().await.unwrap() as usize,
            size,
            "a connection starts at a frame's beginning"
        );
        let mut payload = vec![0; size];
        stream.read_exact(&mut payload).await.unwrap();
        numbers.push(u64::from_be_bytes(payload[..8].try_into().unwrap()));
    }
    numbers
}

#[tokio::test]
async fn without_an_endpoint_records_are_lost_and_with_one_they_arrive() {
    let agent = agent(16, Duration::from_millis(1));
    agent.queue.send(record(1, 20)).await.unwrap();
    agent.until("the loss of a record", |agent| agent.count("no_endpoint") == 1).await;
    let (listener, endpoint) = recorder().await;
    agent.endpoints.send(vec![endpoint]).unwrap();
    // The connection is made for a record, not before.
    sleep(Duration::from_millis(20)).await;
    assert_eq!(agent.count("connects"), 0);
    agent.queue.send(record(2, 20)).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(read(&mut stream, 1, 20).await, [2]);
    agent.until("the count of a record", |agent| agent.count("sent") == 1).await;
}

#[tokio::test]
async fn after_a_broken_connection_the_next_one_starts_with_a_whole_record() {
    let agent = agent(16, Duration::from_millis(1));
    let (listener, endpoint) = recorder().await;
    agent.endpoints.send(vec![endpoint]).unwrap();
    agent.queue.send(record(0, 20)).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    drop(stream);
    // The end shows at a later write, as it does for an agent; what was written before is gone.
    let mut number = 0;
    let (mut stream, first) = loop {
        number += 1;
        agent.queue.send(record(number, 20)).await.unwrap();
        if let Ok(accepted) = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await {
            let (mut stream, _) = accepted.unwrap();
            let first = read(&mut stream, 1, 20).await[0];
            break (stream, first);
        }
        assert!(number < 500, "the agent never came back");
    };
    assert_eq!(agent.count("connects"), 2);
    assert!(agent.count("lost") >= 1);
    agent.queue.send(record(1000, 20)).await.unwrap();
    let mut seen = first;
    while seen != 1000 {
        let next = read(&mut stream, 1, 20).await[0];
        assert!(next > seen);
        seen = next;
    }
}

#[tokio::test]
async fn a_recorder_that_does_not_read_fills_the_queue_and_blocks_nothing_else() {
    let agent = agent(4, Duration::from_millis(1));
    let (listener, endpoint) = recorder().await;
    agent.endpoints.send(vec![endpoint]).unwrap();
    let held = tokio::spawn(async move { listener.accept().await.unwrap() });
    // Beyond what the sockets of both ends hold, the queue fills.
    let started = Instant::now();
    while agent.queue.try_send(record(1, 100)).is_ok()
        || agent.queue.capacity() > 0
        || agent.count("sent") == 0
        || started.elapsed() < Duration::from_millis(300)
    {
        assert!(started.elapsed() < Duration::from_secs(30), "the queue never filled");
        tokio::task::yield_now().await;
    }
    assert!(agent.queue.try_send(record(2, 100)).is_err());
    drop(held);
}

#[tokio::test]
async fn an_endpoint_is_chosen_at_most_once_in_an_interval() {
    // Nobody listens there.
    let refused: Endpoint = ("127.0.0.1".to_owned(), 1);
    for (interval, lost) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 3)] {
        let agent = agent(16, interval);
        agent.endpoints.send(vec![refused.clone()]).unwrap();
        for number in 1..=3 {
            agent.queue.send(record(number, 20)).await.unwrap();
            agent
                .until("the loss of a record", |agent| agent.count("lost") + agent.count("no_endpoint") == number)
                .await;
        }
        assert_eq!(agent.count("lost"), lost);
    }
}
