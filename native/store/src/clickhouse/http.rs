// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! HTTP/1.1 to one server: requests with a body, answers of a bounded size, connections kept for the next request.
//!
//! A request that is dropped closes its connection, which the server takes as a wish to stop.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::address::ClickHouseOptions;

/// A server that is there takes milliseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// Connections that wait for their next request, as many as there are questions and inserts at once on a busy day.
const IDLE: usize = 32;

/// They are closed before the server does it: versions that are still around do after 10 s.
const IDLE_TIME: Duration = Duration::from_secs(8);

/// Longest head of an answer; that of ClickHouse has some 1,000 bytes.
const HEAD: usize = 32 << 10;

/// Longest answer: the points of [`crate::query::MeterQuery`] with their readings are the largest one.
const BODY: usize = 512 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("can't connect")]
    Connect(#[source] io::Error),
    #[error("the connection can't be secured")]
    Secure(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer is no HTTP")]
    NotHttp,
    #[error("the answer is longer than {BODY} bytes")]
    TooLong,
}

pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

pub(super) struct Http {
    host: String,
    port: u16,
    /// Lines of every request.
    head: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Connection = BufStream<Box<dyn Wire>>;

impl Http {
    pub(super) fn new(options: &ClickHouseOptions) -> Result<Self, HttpError> {
        let address = &options.address;
        let shown = if address.host.contains(':') {
            format!("[{}]", address.host)
        } else {
            address.host.clone()
        };
        let mut head = format!("host: {shown}:{}\r\nx-clickhouse-user: {}\r\n", address.port, address.user);
        if let Some(password) = &options.password {
            // Would end the line.
            if password.chars().any(char::is_control) {
                return Err(HttpError::Secure(io::Error::other("a password has no control characters")));
            }
            head.push_str(&format!("x-clickhouse-key: {password}\r\n"));
        }
        Ok(Self {
            tls: address.secure.then(|| connector(options)).transpose()?,
            host: address.host.clone(),
            port: address.port,
            head,
            idle: Mutex::default(),
        })
    }

    /// `target` is a path with its query, both percent-encoded.
    pub(super) async fn post(&self, target: &str, body: &[u8], time: Duration) -> Result<Answer, HttpError> {
        tokio::time::timeout(time, self.exchange(target, body))
            .await
            .unwrap_or(Err(HttpError::Timeout))
    }

    async fn exchange(&self, target: &str, body: &[u8]) -> Result<Answer, HttpError> {
        let head = format!("POST {target} HTTP/1.1\r\n{}content-length: {}\r\n\r\n", self.head, body.len());
        // The server may have closed a connection that waited; nothing of the answer has come then, and all requests can be repeated.
        if let Some(mut kept) = self.kept()
            && let Ok(first) = send(&mut kept, &head, body).await
        {
            return self.receive(kept, first).await;
        }
        let mut fresh = self.connect().await?;
        let first = send(&mut fresh, &head, body).await.map_err(HttpError::Broken)?;
        self.receive(fresh, first).await
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.retain(|(since, _)| since.elapsed() < IDLE_TIME);
        idle.pop().map(|(_, connection)| connection)
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(HttpError::Connect)?;
            stream.set_nodelay(true).map_err(HttpError::Connect)?;
            let wire: Box<dyn Wire> = match &self.tls {
                Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await.map_err(HttpError::Secure)?),
                None => Box::new(stream),
            };
            Ok(BufStream::with_capacity(64 << 10, 64 << 10, wire))
        };
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or(Err(HttpError::Timeout))
    }

    async fn receive(&self, mut connection: Connection, first: Vec<u8>) -> Result<Answer, HttpError> {
        let mut answer = head(&mut connection, first).await?;
        let chunked = answer
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = answer
            .header("content-length")
            .map(|value| value.parse::<usize>().map_err(|_| HttpError::NotHttp));
        match (chunked, length.transpose()?) {
            (true, _) => answer.body = chunks(&mut connection).await?,
            (false, Some(length)) if length > BODY => return Err(HttpError::TooLong),
            (false, Some(length)) => {
                answer.body = vec![0; length];
                connection.read_exact(&mut answer.body).await.map_err(HttpError::Broken)?;
            }
            (false, None) => {
                let mut limited = (&mut connection).take(BODY as u64 + 1);
                limited.read_to_end(&mut answer.body).await.map_err(HttpError::Broken)?;
                if answer.body.len() > BODY {
                    return Err(HttpError::TooLong);
                }
                return Ok(answer);
            }
        }
        if !answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            let mut idle = self.idle.lock();
            if idle.len() < IDLE {
                idle.push((Instant::now(), connection));
            }
        }
        Ok(answer)
    }
}

fn connector(options: &ClickHouseOptions) -> Result<(TlsConnector, ServerName<'static>), HttpError> {
    let other = |error: &dyn std::fmt::Display| HttpError::Secure(io::Error::other(error.to_string()));
    let mut roots = RootCertStore::empty();
    match &options.ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.map_err(|error| other(&error))?).map_err(|error| other(&error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| other(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(options.address.host.clone()).map_err(|error| other(&error))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// Sends a request and waits for the first bytes of the answer.
async fn send(connection: &mut Connection, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body).await?;
    connection.flush().await?;
    let mut line = Vec::new();
    line_of(connection, &mut line).await?;
    Ok(line)
}

/// One line with its end.
async fn line_of(connection: &mut Connection, line: &mut Vec<u8>) -> io::Result<()> {
    let mut limited = connection.take(HEAD as u64);
    limited.read_until(b'\n', line).await?;
    if line.last() == Some(&b'\n') {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

async fn head(connection: &mut Connection, first: Vec<u8>) -> Result<Answer, HttpError> {
    let mut bytes = first;
    loop {
        let before = bytes.len();
        line_of(connection, &mut bytes).await.map_err(HttpError::Broken)?;
        if bytes.len() > HEAD {
            return Err(HttpError::NotHttp);
        }
        if matches!(&bytes[before..], b"\r\n" | b"\n") {
            break;
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(&bytes).map_err(|_| HttpError::NotHttp)?;
    let status = parsed.code.ok_or(HttpError::NotHttp)?;
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    Ok(Answer {
        status,
        headers,
        body: Vec::new(),
    })
}

async fn chunks(connection: &mut Connection) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        line_of(connection, &mut line).await.map_err(HttpError::Broken)?;
        let size = std::str::from_utf8(&line).ok().and_then(|text| text.split(';').next());
        let size = size
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
            .ok_or(HttpError::NotHttp)?;
        if size == 0 {
            break;
        }
        let begin = body.len();
        if size > BODY - begin {
            return Err(HttpError::TooLong);
        }
        body.resize(begin + size, 0);
        connection.read_exact(&mut body[begin..]).await.map_err(HttpError::Broken)?;
        line.clear();
        line_of(connection, &mut line).await.map_err(HttpError::Broken)?;
    }
    // What follows the last chunk, up to an empty line.
    loop {
        line.clear();
        line_of(connection, &mut line).await.map_err(HttpError::Broken)?;
        if matches!(line.as_slice(), b"\r\n" | b"\n") {
            return Ok(body);
        }
    }
}
