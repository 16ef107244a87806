// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longest request: a message of 200 notices has some 100 kB.
const LONGEST: usize = 1 << 20;

/// Longest pause before an answer, ms: long enough for a kill to come in between.
const SLOWEST_MS: u64 = 1_500;

/// What was told of an alert.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    pub delivery: String,
    pub alert: u64,
    /// `opened` or `resolved`.
    pub what: String,
}

/// What a receiver did with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Kept, and answered with 200.
    Taken,
    /// Kept, and the answer was lost.
    Silent,
    /// Not kept, and answered with 503.
    Refused,
}

#[derive(Clone, Debug)]
pub struct Post {
    /// When all of it was there, µs.
    pub at_us: i64,
    pub notices: Vec<Notice>,
    pub outcome: Outcome,
}

/// A receiver of webhooks that is sometimes slow, sometimes full, and sometimes gone before it answers.
pub struct Receiver {
    pub address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start(seed: u64) -> Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the receiver")?;
        let address = listener.local_addr()?;
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = posts.clone();
        let task = tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            while let Ok((stream, _)) = listener.accept().await {
                let (outcome, pause) = match rng.random_range(0..10) {
                    0 => (Outcome::Silent, 0),
                    1 => (Outcome::Refused, 0),
                    2..=4 => (Outcome::Taken, rng.random_range(0..SLOWEST_MS)),
                    _ => (Outcome::Taken, 0),
                };
                tokio::spawn(take(stream, kept.clone(), outcome, Duration::from_millis(pause)));
            }
        });
        Ok(Receiver { address, posts, task })
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(mut stream: TcpStream, posts: Arc<Mutex<Vec<Post>>>, outcome: Outcome, pause: Duration) {
    // A sender that is killed in its request has told nothing.
    let Ok(notices) = read(&mut stream).await else { return };
    let post = Post {
        at_us: now_us(),
        notices,
        outcome,
    };
    posts.lock().unwrap_or_else(PoisonError::into_inner).push(post);
    tokio::time::sleep(pause).await;
    let answer = match outcome {
        Outcome::Silent => return,
        Outcome::Taken => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        Outcome::Refused => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    };
    // Whoever was killed meanwhile does not hear it.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Result<Vec<Notice>> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            break (end + 4, length.context("a request has a length")?);
        }
        more(stream, &mut bytes).await?;
    };
    while bytes.len() < head + length {
        more(stream, &mut bytes).await?;
    }
    let body: Value = serde_json::from_slice(&bytes[head..head + length])?;
    let notices = body["notices"].as_array().context("a body has notices")?;
    notices
        .iter()
        .map(|notice| {
            Ok(Notice {
                delivery: notice["delivery"].as_str().context("a notice has a delivery")?.to_owned(),
                alert: notice["alert"]["id"].as_u64().context("a notice has an alert")?,
                what: notice["what"].as_str().context("a notice says what")?.to_owned(),
            })
        })
        .collect()
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    ensure!(bytes.len() < LONGEST, "a request of more than {LONGEST} bytes");
    let mut chunk = [0; 8_192];
    let count = stream.read(&mut chunk).await?;
    ensure!(count > 0, "the request is cut off");
    bytes.extend_from_slice(&chunk[..count]);
    Ok(())
}

pub(super) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}
