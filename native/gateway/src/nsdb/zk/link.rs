// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::seq::SliceRandom;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp},
    time::{Instant, sleep_until, timeout},
};

use super::codec::{self, Code, EventKind, Malformed, Request, XID_EVENT, XID_PING, XID_SET_WATCHES};
use super::endpoints::Endpoints;

/// Time for one address to answer a TCP connect: an unreachable server must not use up the session's time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for a server to greet back. A server without a quorum accepts connections and says nothing.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that one read may take.
const READ_BYTES: usize = 64 << 10;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("find the address of {host}")]
    Resolve {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("connect to {server}")]
    Connect {
        server: String,
        #[source]
        source: std::io::Error,
    },
    #[error("server {server} closed the connection before the session was there: it has no quorum, or its state is older than what was read")]
    Refused { server: String },
    #[error("session has expired")]
    Expired,
    #[error("use the connection")]
    Io(#[source] std::io::Error),
    #[error("server closed the connection")]
    Closed,
    #[error("server was silent for {0:?}")]
    Silent(Duration),
    #[error("understand the server")]
    Malformed(#[from] Malformed),
}

/// What it takes to go on with a session on another connection.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct SessionKey {
    pub id: i64,
    password: Vec<u8>,
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {:#x}", self.id)
    }
}

/// What came from the server.
#[derive(Debug)]
pub enum Incoming {
    Reply { xid: i32, code: Code, body: Bytes },
    WatchesSet { code: Code },
    Event { kind: EventKind, path: String },
}

/// One connection with a session on it. It pings by itself while [`Link::next`] is awaited.
#[derive(Debug)]
pub struct Link {
    reader: tcp::OwnedReadHalf,
    writer: tcp::OwnedWriteHalf,
    input: BytesMut,
    output: BytesMut,
    pub session: SessionKey,
    /// As the server granted it.
    pub session_timeout: Duration,
    /// This end's and the server's address.
    pub local: std::net::SocketAddr,
    pub peer: std::net::SocketAddr,
    /// The newest transaction that the server was at in a reply.
    pub last_zxid: i64,
    last_xid: i32,
    last_sent: Instant,
    last_received: Instant,
}

impl Link {
    /// Opens a connection to any of the servers, tried in random order, and takes up the session, or makes a new one when its id is 0.
    ///
    /// A server that is behind `last_zxid` refuses: what was read once never goes backwards. The error is that of the last server, except
    /// that [`LinkError::Expired`] ends the round.
    pub async fn open(endpoints: &Endpoints, session: &SessionKey, session_timeout: Duration, last_zxid: i64) -> Result<Link, LinkError> {
        let mut servers: Vec<_> = endpoints.servers.iter().collect();
        servers.shuffle(&mut rand::rng());
        let mut error = LinkError::Closed;
        for (host, port) in servers {
            let addresses = match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(addresses) => addresses.collect::<Vec<_>>(),
                Err(source) => {
                    error = LinkError::Resolve { host: host.clone(), source };
                    continue;
                }
            };
            for address in addresses {
                match Link::open_at(address, session, session_timeout, last_zxid).await {
                    Ok(link) => return Ok(link),
                    Err(LinkError::Expired) => return Err(LinkError::Expired),
                    Err(other) => error = other,
                }
            }
        }
        Err(error)
    }

    async fn open_at(address: std::net::SocketAddr, session: &SessionKey, session_timeout: Duration, last_zxid: i64) -> Result<Link, LinkError> {
        let connect_error = |source| LinkError::Connect {
            server: address.to_string(),
            source,
        };
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(connect_error)?;
        stream.set_nodelay(true).map_err(connect_error)?;
        let (local, peer) = (stream.local_addr().map_err(connect_error)?, stream.peer_addr().map_err(connect_error)?);
        let (reader, writer) = stream.into_split();
        let now = Instant::now();
        let mut link = Link {
            reader,
            writer,
            input: BytesMut::new(),
            output: BytesMut::new(),
            session: session.clone(),
            session_timeout,
            local,
            peer,
            last_zxid,
            last_xid: 0,
            last_sent: now,
            last_received: now,
        };
        match timeout(GREETING_TIMEOUT, link.greet()).await {
            Err(_) => Err(LinkError::Silent(GREETING_TIMEOUT)),
            Ok(Err(LinkError::Closed | LinkError::Io(_))) => Err(LinkError::Refused { server: address.to_string() }),
            Ok(Err(other)) => Err(other),
            Ok(Ok(())) => Ok(link),
        }
    }

    async fn greet(&mut self) -> Result<(), LinkError> {
        let mut hello = BytesMut::new();
        codec::encode_connect(
            self.last_zxid,
            self.session_timeout.as_millis() as i32,
            self.session.id,
            &self.session.password,
            &mut hello,
        );
        self.writer.write_all(&hello).await.map_err(LinkError::Io)?;
        let greeting = loop {
            if let Some(frame) = codec::take_frame(&mut self.input)? {
                break codec::decode_connected(frame)?;
            }
            if self.reader.read_buf(&mut self.input).await.map_err(LinkError::Io)? == 0 {
                return Err(LinkError::Closed);
            }
        };
        if greeting.session == 0 {
            return Err(LinkError::Expired);
        }
        self.session = SessionKey {
            id: greeting.session,
            password: greeting.password,
        };
        self.session_timeout = Duration::from_millis(greeting.timeout_ms.max(1) as u64);
        self.last_received = Instant::now();
        Ok(())
    }

    /// Bytes that a large frame still lacks, so that its buffer grows once.
    fn rest_of_frame(&self) -> usize {
        match self.input.first_chunk::<4>() {
            Some(length) => (u32::from_be_bytes(*length) as usize + 4)
                .min(codec::MAX_FRAME)
                .saturating_sub(self.input.len()),
            None => 0,
        }
    }

    /// Puts a request behind those that wait to be sent and says under which number its reply comes.
    pub fn send(&mut self, request: &Request<'_>) -> i32 {
        let xid = match request {
            Request::SetWatches { .. } => XID_SET_WATCHES,
            Request::Ping => XID_PING,
            _ => {
                self.last_xid = if self.last_xid == i32::MAX { 1 } else { self.last_xid + 1 };
                self.last_xid
            }
        };
        request.encode(xid, &mut self.output);
        xid
    }

    /// Whether [`Link::next`] has something without waiting.
    pub fn has_input(&self) -> bool {
        self.input.len() > 4 && self.rest_of_frame() == 0
    }

    /// The next message. Writes what waits and pings meanwhile. With `read` false nothing more is read from the server; the session lives
    /// on. Safe to drop and call again.
    pub async fn next(&mut self, read: bool) -> Result<Incoming, LinkError> {
        loop {
            if read {
                while let Some(mut frame) = codec::take_frame(&mut self.input)? {
                    let header = codec::decode_header(&mut frame)?;
                    match header.xid {
                        XID_PING => {}
                        XID_EVENT => {
                            let (kind, path) = codec::decode_event(frame)?;
                            return Ok(Incoming::Event { kind, path });
                        }
                        XID_SET_WATCHES => return Ok(Incoming::WatchesSet { code: header.code }),
                        _ if header.code == Code::SESSION_EXPIRED || header.code == Code::SESSION_MOVED => return Err(LinkError::Expired),
                        xid => {
                            self.last_zxid = self.last_zxid.max(header.zxid);
                            return Ok(Incoming::Reply {
                                xid,
                                code: header.code,
                                body: frame,
                            });
                        }
                    }
                }
            }
            let ping_at = self.last_sent + self.session_timeout / 3;
            let patience = self.session_timeout * 2 / 3;
            let wake_at = if read { ping_at.min(self.last_received + patience) } else { ping_at };
            self.input.reserve(self.rest_of_frame().max(READ_BYTES));
            tokio::select! {
                got = self.reader.read_buf(&mut self.input), if read => {
                    if got.map_err(LinkError::Io)? == 0 {
                        return Err(LinkError::Closed);
                    }
                    self.last_received = Instant::now();
                }
                sent = self.writer.write_buf(&mut self.output), if !self.output.is_empty() => {
                    sent.map_err(LinkError::Io)?;
                    self.last_sent = Instant::now();
                }
                () = sleep_until(wake_at) => {
                    let now = Instant::now();
                    if read && now >= self.last_received + patience {
                        return Err(LinkError::Silent(patience));
                    }
                    // While nothing was read on purpose, silence says nothing.
                    if !read {
                        self.last_received = now;
                    }
                    if now >= ping_at {
                        self.send(&Request::Ping);
                        self.last_sent = now;
                    }
                }
            }
        }
    }

    /// Ends the session on the server, so that its ephemeral nodes go at once; waits at most `patience`.
    pub async fn close(mut self, patience: Duration) {
        let xid = self.send(&Request::CloseSession);
        let closed = async {
            loop {
                match self.next(true).await {
                    Ok(Incoming::Reply { xid: reply, .. }) if reply == xid => break,
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        };
        // A server that doesn't answer ends the session when its time is up.
        let _ = timeout(patience, closed).await;
    }
}
