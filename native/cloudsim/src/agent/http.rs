// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The agent's meter end point: `GET /device_stats`, one request at a time, answered and closed, as `SimpleHTTPServer` does it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::meters::Shared;

/// A stalled client holds up others for this long.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest request that is read; a request of a collector has 100 bytes.
const MAX_REQUEST: usize = 8 << 10;

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, meters: Shared) {
    loop {
        match listener.accept().await {
            // A client that goes away in the middle is its own loss.
            Ok((stream, _)) => drop(answer(stream, &meters).await),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, meters: &Shared) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head = async {
        let mut buffer = [0; 1024];
        loop {
            let read = stream.read(&mut buffer).await?;
            request.extend_from_slice(&buffer[..read]);
            if read == 0 || request.len() > MAX_REQUEST || request.windows(4).any(|window| window == b"\r\n\r\n") {
                return std::io::Result::Ok(());
            }
        }
    };
    match timeout(READ_TIMEOUT, head).await {
        Ok(read) => read?,
        Err(_) => return Ok(()),
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let tokens: Vec<&str> = line.split_ascii_whitespace().collect();
    let response = match tokens.as_slice() {
        ["GET", "/device_stats", version @ ("HTTP/1.0" | "HTTP/1.1")] => {
            let body = meters.lock().body();
            format!("{version} 200 OK\r\nContent-length: {}\r\n\r\n{body}", body.len())
        }
        [_, _, version] => format!("{version} 404 Not Found\r\n\r\n"),
        _ => "HTTP/1.0 400 Bad Request\r\n\r\n".to_owned(),
    };
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}
