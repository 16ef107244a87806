// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The ledger over HTTP: any GET gives it whole as JSON.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{clock, ledger::Ledger};

const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, ledger: Arc<Ledger>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let ledger = ledger.clone();
                tokio::spawn(async move { answer(stream, &ledger).await });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, ledger: &Ledger) -> std::io::Result<()> {
    let mut head = [0; 2048];
    // Whatever is asked for, there is one thing to give; the request is read so that the answer isn't cut off by its rest.
    let _ = timeout(READ_TIMEOUT, stream.read(&mut head)).await;
    let body = ledger.to_json(clock::now_us(), usize::MAX);
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}
