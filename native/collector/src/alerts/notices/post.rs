// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! One POST to a place that somebody typed in: one connection to one address that was looked at, no redirects, bounded in time and size.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::Uri;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::address::{AllowedPrefix, may_reach};

/// A receiver that takes longer is as good as away.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest URL: it goes into one line of a request.
pub(super) const LONGEST_URL: usize = 2_000;

/// Bytes of an answer that are read: its first line, and a line of why.
const ANSWER: u64 = 4_096;

/// Why a webhook was not delivered. Texts are for the person who set it up; none holds the URL, which may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("a URL begins with https:// or http://, names a host, and has no user, fragment or blank")]
    Url,
    #[error("the host's name can't be resolved")]
    Resolve(#[source] io::Error),
    #[error("the host is in a network that webhooks may not reach")]
    Forbidden,
    #[error("could not connect")]
    Connect(#[source] io::Error),
    #[error("the connection can't be secured")]
    Secure(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("it redirects (status {0}), which is not followed")]
    Redirect(u16),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("it does not answer in HTTP")]
    NotHttp,
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// A URL that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    secure: bool,
    host: String,
    port: u16,
    /// As the `host` header has it.
    authority: String,
    path: String,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, PostError> {
        if url.len() > LONGEST_URL || url.contains('#') || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(PostError::Url);
        }
        let uri: Uri = url.parse().map_err(|_| PostError::Url)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(PostError::Url),
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or(PostError::Url)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(PostError::Url);
        }
        Ok(Self {
            secure,
            host,
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned()),
        })
    }

    /// The address to connect to. A name that leads to any address out of bounds leads nowhere: no receiver needs that.
    async fn address(&self, allowed: &[AllowedPrefix]) -> Result<SocketAddr, PostError> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(PostError::Resolve)?
            .collect();
        if !found.iter().all(|address| may_reach(address.ip(), allowed)) {
            return Err(PostError::Forbidden);
        }
        let none = || PostError::Resolve(io::Error::new(io::ErrorKind::NotFound, "no address"));
        found.first().copied().ok_or_else(none)
    }
}

/// Sends a JSON body and waits for the answer's status: 2xx is good.
pub(super) async fn post(url: &str, headers: &[(&str, String)], body: &[u8], allowed: &[AllowedPrefix]) -> Result<(), PostError> {
    let place = Place::parse(url)?;
    let sending = async {
        let stream = TcpStream::connect(place.address(allowed).await?).await.map_err(PostError::Connect)?;
        if place.secure {
            talk(secure(&place, stream).await?, &place, headers, body).await
        } else {
            talk(stream, &place, headers, body).await
        }
    };
    tokio::time::timeout(TIMEOUT, sending).await.unwrap_or(Err(PostError::Timeout))
}

async fn secure(place: &Place, stream: TcpStream) -> Result<impl AsyncRead + AsyncWrite + Unpin, PostError> {
    let other = |error: &dyn std::fmt::Display| PostError::Secure(io::Error::other(error.to_string()));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| other(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(place.host.clone()).map_err(|error| other(&error))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(PostError::Secure)
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place, headers: &[(&str, String)], body: &[u8]) -> Result<(), PostError> {
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: MidoInsights/{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n",
        place.path,
        place.authority,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(PostError::Broken)?;
    stream.write_all(body).await.map_err(PostError::Broken)?;
    stream.flush().await.map_err(PostError::Broken)?;
    let mut answer = Vec::new();
    let mut limited = stream.take(ANSWER);
    while !answer.contains(&b'\n') {
        if limited.read_buf(&mut answer).await.map_err(PostError::Broken)? == 0 {
            break;
        }
    }
    match status(&answer).ok_or(PostError::NotHttp)? {
        200..300 => Ok(()),
        redirect @ 300..400 => Err(PostError::Redirect(redirect)),
        other => Err(PostError::Status(other)),
    }
}

/// Status of an answer's first line.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_are_places() {
        let place = Place::parse("https://hooks.example.org/a/b?c=d").unwrap();
        assert_eq!((place.secure, place.port, place.path.as_str()), (true, 443, "/a/b?c=d"));
        let place = Place::parse("http://[2a00::1]:8080").unwrap();
        assert_eq!((place.host.as_str(), place.port, place.path.as_str()), ("2a00::1", 8080, "/"));
        for url in [
            "ftp://example.org/",
            "example.org",
            "/path",
            "https:///x",
            "https://user:pass@example.org/",
            "https://example.org/#x",
            "https://example.org/a b",
            "https://example.org/\r\nx: y",
            "",
        ] {
            assert!(matches!(Place::parse(url), Err(PostError::Url)), "{url}");
        }
        assert!(Place::parse(&format!("https://example.org/{}", "a".repeat(LONGEST_URL))).is_err());
    }

    #[test]
    fn answers_are_read_by_their_first_line() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 500\n"), Some(500));
        for other in [&b"SSH-2.0-x\r\n"[..], b"", b"HTTP/1.1\r\n", b"HTTP/1.1 x\r\n", b"\xff 200"] {
            assert_eq!(status(other), None);
        }
    }

    #[tokio::test]
    async fn loopback_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for url in [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/")] {
            assert!(matches!(post(&url, &[], b"{}", &[]).await, Err(PostError::Forbidden)), "{url}");
        }
    }
}
