// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `GET /device_stats` as an agent's little server answers it: a status line, `Content-length`, the body, and the end of the connection.
//! It takes one request at a time and sends nothing but 200 a body.

use std::{net::SocketAddr, time::Duration};

use midonet::meters::MAX_BODY_BYTES;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::nsdb::now_us;

/// Time for a connection; agents are on the same network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for the whole answer: the agent writes it in one go after it was built in memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The agent's head has two lines.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// What is reserved at once, whatever the head says.
const FIRST_BYTES: usize = 64 << 10;

const REQUEST: &[u8] = b"GET /device_stats HTTP/1.0\r\n\r\n";

/// Why there are no meters.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("connect")]
    Connect(#[source] std::io::Error),
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout,
    #[error("talk")]
    Io(#[source] std::io::Error),
    #[error("no whole answer within {ANSWER_TIMEOUT:?}")]
    AnswerTimeout,
    #[error("answer is not HTTP")]
    NotHttp,
    #[error("answer has status {0}")]
    Status(u16),
    #[error("body is longer than {MAX_BODY_BYTES} bytes")]
    TooLong,
    #[error("body ends after {got} of {length} bytes")]
    CutOff { got: usize, length: usize },
}

/// An agent's answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// When it began to arrive, which is right after the counters were read, µs since the epoch.
    pub(super) at_us: i64,
}

/// Asks the agent at this address.
pub(super) async fn get(address: SocketAddr) -> Result<Answer, HttpError> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| HttpError::ConnectTimeout)?
        .map_err(HttpError::Connect)?;
    timeout(ANSWER_TIMEOUT, ask(stream)).await.map_err(|_| HttpError::AnswerTimeout)?
}

async fn ask(mut stream: TcpStream) -> Result<Answer, HttpError> {
    stream.write_all(REQUEST).await.map_err(HttpError::Io)?;
    let mut bytes = Vec::with_capacity(FIRST_BYTES);
    let mut at_us = None;
    let mut head = None;
    loop {
        let limit = match head {
            None => MAX_HEAD_BYTES + FIRST_BYTES,
            Some(Head { end, length }) => match length {
                Some(length) if bytes.len() >= end + length => break,
                Some(length) => end + length,
                None => end + MAX_BODY_BYTES + 1,
            },
        };
        let room = limit.saturating_sub(bytes.len()) as u64;
        if room == 0 {
            return Err(if head.is_some() { HttpError::TooLong } else { HttpError::NotHttp });
        }
        if (&mut stream).take(room).read_buf(&mut bytes).await.map_err(HttpError::Io)? == 0 {
            break;
        }
        at_us.get_or_insert_with(now_us);
        if head.is_none() {
            head = parse_head(&bytes)?;
        }
    }
    let Head { end, length } = head.ok_or(HttpError::NotHttp)?;
    bytes.drain(..end);
    if let Some(length) = length
        && bytes.len() < length
    {
        return Err(HttpError::CutOff { got: bytes.len(), length });
    }
    if bytes.len() > MAX_BODY_BYTES {
        return Err(HttpError::TooLong);
    }
    bytes.truncate(length.unwrap_or(bytes.len()));
    Ok(Answer {
        body: bytes,
        at_us: at_us.unwrap_or_else(now_us),
    })
}

#[derive(Clone, Copy)]
struct Head {
    /// Where the body begins.
    end: usize,
    length: Option<usize>,
}

/// The head, once it is whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HttpError> {
    let searched = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    let Some(blank) = searched.windows(4).position(|four| four == b"\r\n\r\n") else {
        let known = searched.len().min(5);
        return if searched[..known] != b"HTTP/"[..known] || searched.len() == MAX_HEAD_BYTES {
            Err(HttpError::NotHttp)
        } else {
            Ok(None)
        };
    };
    let text = std::str::from_utf8(&bytes[..blank]).map_err(|_| HttpError::NotHttp)?;
    let mut lines = text.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    if !status.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Err(HttpError::NotHttp);
    }
    match status.next().and_then(|code| code.parse().ok()) {
        Some(200) => {}
        Some(code) => return Err(HttpError::Status(code)),
        None => return Err(HttpError::NotHttp),
    }
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length
        .map(|(_, value)| value.trim().parse::<usize>().map_err(|_| HttpError::NotHttp))
        .transpose()?;
    if length.is_some_and(|length| length > MAX_BODY_BYTES) {
        return Err(HttpError::TooLong);
    }
    Ok(Some(Head { end: blank + 4, length }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What the client makes of these pieces of an answer.
    async fn answer(pieces: &'static [&'static [u8]]) -> Result<String, HttpError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; REQUEST.len()];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, REQUEST);
            for piece in pieces {
                // The client may have heard enough.
                let _ = stream.write_all(piece).await;
                let _ = stream.flush().await;
                tokio::task::yield_now().await;
            }
        };
        let (got, ()) = tokio::join!(get(address), server);
        got.map(|answer| String::from_utf8(answer.body).unwrap())
    }

    #[tokio::test]
    async fn what_agents_answer() {
        assert_eq!(answer(&[b"HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabc"]).await.unwrap(), "abc");
        assert_eq!(
            answer(&[b"HT", b"TP/1.0 200 OK\r\n", b"Content-length: 3\r\n\r", b"\na", b"bc"])
                .await
                .unwrap(),
            "abc"
        );
        assert_eq!(answer(&[b"HTTP/1.0 200 OK\r\n\r\nabc"]).await.unwrap(), "abc");
        assert_eq!(answer(&[b"HTTP/1.0 200 OK\r\nContent-length: 0\r\n\r\n"]).await.unwrap(), "");
        assert_eq!(answer(&[b"HTTP/1.0 200 OK\r\nContent-length: 2\r\n\r\nabc"]).await.unwrap(), "ab");
    }

    #[tokio::test]
    async fn what_others_answer() {
        assert!(matches!(answer(&[b"HTTP/1.1 404 Not Found\r\n\r\n"]).await, Err(HttpError::Status(404))));
        assert!(matches!(answer(&[b"SSH-2.0-OpenSSH_9.2\r\n"]).await, Err(HttpError::NotHttp)));
        assert!(matches!(answer(&[]).await, Err(HttpError::NotHttp)));
        assert!(matches!(
            answer(&[b"HTTP/1.1 200 OK\r\nContent-length: 9\r\n\r\nabc"]).await,
            Err(HttpError::CutOff { got: 3, length: 9 })
        ));
        assert!(matches!(
            answer(&[b"HTTP/1.1 200 OK\r\nContent-length: 99999999999\r\n\r\n"]).await,
            Err(HttpError::TooLong)
        ));
        assert!(matches!(
            answer(&[b"HTTP/1.1 200 OK\r\nContent-length: x\r\n\r\n"]).await,
            Err(HttpError::NotHttp)
        ));
        static ENDLESS: [u8; 200_000] = [b'H'; 200_000];
        static ENDLESS_PIECES: &[&[u8]] = &[&ENDLESS];
        assert!(matches!(answer(ENDLESS_PIECES).await, Err(HttpError::NotHttp)));
    }
}
