// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Transactions against ZooKeeper from 3.4 on, pipelined.
//!
//! The crate that holds the agents' sessions makes nodes in transactions by an operation that servers before 3.5 don't know, and MidoNet's own
//! server is 3.4.8. So the writer of the NSDB speaks the few requests that it needs itself: connect, ping, multi, create, close. Layouts are those
//! of ZooKeeper's `zookeeper.jute`.

use std::{io, time::Duration};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

/// Requests in flight: enough to keep a server busy, few enough that its queue stays short.
const WINDOW: usize = 32;
/// Longest answer that is read; those of this writer hold one path per operation.
const MAX_REPLY_BYTES: usize = 4 << 20;
/// Asked of the server; it may shorten it.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No answer for this long means that the server is gone.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

const PING_XID: i32 = -2;
const OP_PING: i32 = 11;
const OP_MULTI: i32 = 14;
const OP_CREATE: i32 = 1;
const OP_DELETE: i32 = 2;
const OP_SET_DATA: i32 = 5;
const OP_CLOSE: i32 = -11;
const OP_ERROR: i32 = -1;

/// Codes of `KeeperException` that matter here.
pub const NO_NODE: i32 = -101;
pub const BAD_VERSION: i32 = -103;
pub const NODE_EXISTS: i32 = -110;
pub const NOT_EMPTY: i32 = -111;

/// Why a transaction did not happen.
#[derive(Debug, Error)]
pub enum ZkError {
    #[error("connect to ZooKeeper at {0}")]
    Connect(String, #[source] io::Error),
    #[error("talk to ZooKeeper")]
    Io(#[from] io::Error),
    #[error("ZooKeeper did not answer for {} s", REPLY_TIMEOUT.as_secs())]
    Silent,
    #[error("ZooKeeper refused the session")]
    SessionRefused,
    #[error("answer of ZooKeeper is not one of its protocol: {0}")]
    Malformed(&'static str),
    /// With the operation's position in the transaction.
    #[error("ZooKeeper refused operation {index} on {path} with code {code}")]
    Refused { code: i32, index: usize, path: String },
}

/// Operations that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Multi {
    body: Vec<u8>,
    paths: Vec<String>,
}

/// A session that writes.
pub struct Writer {
    stream: TcpStream,
    xid: i32,
    last_sent: Instant,
}

impl Multi {
    pub fn create(&mut self, path: &str, data: &[u8]) {
        self.header(OP_CREATE, path);
        create_body(&mut self.body, path, data);
    }

    pub fn set(&mut self, path: &str, data: &[u8], version: i32) {
        self.header(OP_SET_DATA, path);
        string(&mut self.body, path);
        buffer(&mut self.body, data);
        self.body.extend(version.to_be_bytes());
    }

    pub fn delete(&mut self, path: &str) {
        self.header(OP_DELETE, path);
        string(&mut self.body, path);
        self.body.extend((-1i32).to_be_bytes());
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Size on the wire.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    fn header(&mut self, op: i32, path: &str) {
        self.paths.push(path.to_owned());
        self.body.extend(op.to_be_bytes());
        self.body.push(0);
        self.body.extend((-1i32).to_be_bytes());
    }
}

impl Writer {
    /// Opens a session with the first server of a connect string that answers.
    pub async fn connect(hosts: &str) -> Result<Writer, ZkError> {
        let mut last = ZkError::Connect(hosts.to_owned(), io::Error::other("no address given"));
        for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            let address = if host.contains(':') { host.to_owned() } else { format!("{host}:2181") };
            match Writer::open(&address).await {
                Ok(writer) => return Ok(writer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(address: &str) -> Result<Writer, ZkError> {
        let connect = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connect
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| ZkError::Connect(address.to_owned(), error))?;
        stream.set_nodelay(true)?;
        let mut writer = Writer {
            stream,
            xid: 0,
            last_sent: Instant::now(),
        };
        let mut request = Vec::with_capacity(44);
        request.extend(0i32.to_be_bytes());
        request.extend(0i64.to_be_bytes());
        request.extend((SESSION_TIMEOUT.as_millis() as i32).to_be_bytes());
        request.extend(0i64.to_be_bytes());
        buffer(&mut request, &[0; 16]);
        // Not for a server that only reads.
        request.push(0);
        writer.send(&request).await?;
        let reply = writer.receive().await?;
        // Protocol version, then the granted time-out: none, when the session is refused.
        match reply.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes) {
            Some(granted) if granted > 0 => Ok(writer),
            Some(_) => Err(ZkError::SessionRefused),
            None => Err(ZkError::Malformed("short connect response")),
        }
    }

    /// Runs transactions in order, many in flight. Each answer, with its position, goes to `done`; an error of one doesn't hold up the others.
    pub async fn run(&mut self, multis: &[Multi], mut done: impl FnMut(usize, Result<(), ZkError>)) -> Result<(), ZkError> {
        let (mut sent, mut received) = (0, 0);
        let first_xid = self.xid + 1;
        while received < multis.len() {
            while sent < multis.len() && sent - received < WINDOW {
                self.send_multi(&multis[sent]).await?;
                sent += 1;
            }
            let reply = self.receive().await?;
            let (xid, error) = reply_header(&reply)?;
            if xid == PING_XID {
                continue;
            }
            if xid != first_xid + received as i32 {
                return Err(ZkError::Malformed("answer out of order"));
            }
            done(received, multi_result(&multis[received], error, &reply[16..]));
            received += 1;
        }
        Ok(())
    }

    /// Runs one transaction.
    pub async fn commit(&mut self, multi: &Multi) -> Result<(), ZkError> {
        let mut result = Ok(());
        self.run(std::slice::from_ref(multi), |_, outcome| result = outcome).await?;
        result
    }

    /// Creates one node; one that is there already is fine.
    pub async fn ensure(&mut self, path: &str) -> Result<(), ZkError> {
        self.put(path, &[]).await
    }

    /// Creates one node with data, unless it is there.
    pub async fn put(&mut self, path: &str, data: &[u8]) -> Result<(), ZkError> {
        let mut multi = Multi::default();
        multi.create(path, data);
        match self.commit(&multi).await {
            Err(ZkError::Refused { code: NODE_EXISTS, .. }) => Ok(()),
            other => other,
        }
    }

    /// Keeps the session alive when nothing else was sent for a third of its time-out.
    pub async fn keep_alive(&mut self) -> Result<(), ZkError> {
        if self.last_sent.elapsed() < SESSION_TIMEOUT / 6 {
            return Ok(());
        }
        let mut request = Vec::with_capacity(8);
        request.extend(PING_XID.to_be_bytes());
        request.extend(OP_PING.to_be_bytes());
        self.send(&request).await?;
        let reply = self.receive().await?;
        reply_header(&reply).map(drop)
    }

    /// Ends the session.
    pub async fn close(mut self) {
        self.xid += 1;
        let mut request = Vec::with_capacity(8);
        request.extend(self.xid.to_be_bytes());
        request.extend(OP_CLOSE.to_be_bytes());
        // The server ends the session by itself if this is lost.
        let _ = self.send(&request).await;
        let _ = self.receive().await;
    }

    async fn send_multi(&mut self, multi: &Multi) -> Result<(), ZkError> {
        self.xid += 1;
        let mut request = Vec::with_capacity(multi.body.len() + 24);
        request.extend(self.xid.to_be_bytes());
        request.extend(OP_MULTI.to_be_bytes());
        request.extend(&multi.body);
        request.extend((-1i32).to_be_bytes());
        request.push(1);
        request.extend((-1i32).to_be_bytes());
        self.send(&request).await
    }

    async fn send(&mut self, request: &[u8]) -> Result<(), ZkError> {
        let mut frame = Vec::with_capacity(request.len() + 4);
        frame.extend((request.len() as u32).to_be_bytes());
        frame.extend(request);
        self.stream.write_all(&frame).await?;
        self.last_sent = Instant::now();
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ZkError> {
        let read = async {
            let length = self.stream.read_u32().await? as usize;
            if length > MAX_REPLY_BYTES {
                return Err(ZkError::Malformed("answer too long"));
            }
            let mut reply = vec![0; length];
            self.stream.read_exact(&mut reply).await?;
            Ok(reply)
        };
        timeout(REPLY_TIMEOUT, read).await.unwrap_or(Err(ZkError::Silent))
    }
}

/// Id and error code of an answer; sixteen bytes, with the transaction id between them.
fn reply_header(reply: &[u8]) -> Result<(i32, i32), ZkError> {
    let number = |at: usize| reply.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
    number(0).zip(number(12)).ok_or(ZkError::Malformed("short header"))
}

/// The first operation that failed by itself; the others of a failed transaction are told as rolled back (0) or not run (-2).
fn multi_result(multi: &Multi, error: i32, body: &[u8]) -> Result<(), ZkError> {
    let refused = |code, index: usize| ZkError::Refused {
        code,
        index,
        path: multi.paths.get(index).cloned().unwrap_or_default(),
    };
    let number = |at: usize| body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
    if error != 0 && body.is_empty() {
        return Err(refused(error, 0));
    }
    if number(0) != Some(OP_ERROR) || body.get(4) == Some(&1) {
        return if error == 0 { Ok(()) } else { Err(refused(error, 0)) };
    }
    // Of a failed transaction each result is a header of nine bytes and a code.
    for index in 0..multi.len() {
        match number(index * 13 + 9) {
            Some(0 | -2) => {}
            Some(code) => return Err(refused(code, index)),
            None => return Err(ZkError::Malformed("short result")),
        }
    }
    Err(refused(error, 0))
}

fn create_body(out: &mut Vec<u8>, path: &str, data: &[u8]) {
    string(out, path);
    buffer(out, data);
    // One access rule: everything for everybody, as MidoNet's clients give.
    out.extend(1i32.to_be_bytes());
    out.extend(31i32.to_be_bytes());
    string(out, "world");
    string(out, "anyone");
    out.extend(0i32.to_be_bytes());
}

fn string(out: &mut Vec<u8>, text: &str) {
    buffer(out, text.as_bytes());
}

fn buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}
