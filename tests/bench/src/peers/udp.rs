// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Sends prepared datagrams to a collector on the loopback no faster than it takes them.

use std::{
    io::{BufReader, Read},
    net::UdpSocket,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// Datagrams between looks at the receiver's queue.
const BURST: usize = 16;

/// Bytes that may wait in the receiver's socket: far below any default buffer.
const WAITING: u64 = 64 << 10;

/// A collector that takes nothing for so long is broken.
const STUCK: Duration = Duration::from_secs(60);

/// Sends the datagrams of a file, each behind its length, and waits until the receiver has read all of them.
pub(super) fn send(file: &Path, port: u16) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", port))?;
    let mut input = BufReader::new(std::fs::File::open(file).with_context(|| format!("open {}", file.display()))?);
    let mut datagram = vec![0; usize::from(u16::MAX)];
    let mut burst = 0;
    loop {
        let mut length = [0; 2];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        let length = usize::from(u16::from_be_bytes(length));
        input.read_exact(&mut datagram[..length])?;
        socket.send(&datagram[..length])?;
        burst += 1;
        if burst == BURST {
            burst = 0;
            drained(port, WAITING)?;
        }
    }
    drained(port, 0)
}

/// Waits until somebody listens on a port.
pub(super) fn listening(port: u16, within: Duration) -> Result<()> {
    let until = Instant::now() + within;
    while queue(port)?.is_none() {
        ensure!(Instant::now() < until, "nobody listens on UDP port {port} after {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Datagrams that the kernel dropped since the receiver could not keep up.
pub(super) fn dropped(port: u16) -> Result<u64> {
    Ok(queue(port)?.map_or(0, |(_, dropped)| dropped))
}

fn drained(port: u16, left: u64) -> Result<()> {
    let mut moved = (u64::MAX, Instant::now());
    loop {
        let (waiting, _) = queue(port)?.context("the collector has closed its socket")?;
        if waiting <= left {
            return Ok(());
        }
        if waiting != moved.0 {
            moved = (waiting, Instant::now());
        }
        ensure!(moved.1.elapsed() < STUCK, "the collector reads no more");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Bytes waiting and datagrams dropped of the sockets that are bound to a port, IPv4 and IPv6.
fn queue(port: u16) -> Result<Option<(u64, u64)>> {
    let mut found = None;
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        let text = std::fs::read_to_string(table).with_context(|| format!("read {table}"))?;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, _, queues, ..] = fields[..] else { continue };
            let port_of = |address: &str| address.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
            // The sender's own socket is connected to the port, not bound to it.
            if port_of(local) != Some(port) || port_of(remote) != Some(0) {
                continue;
            }
            let waiting = queues.rsplit(':').next().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
            let dropped = fields.last().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
            let (all, lost) = found.unwrap_or((0, 0));
            found = Some((all + waiting, lost + dropped));
        }
    }
    Ok(found)
}

/// A free UDP port.
pub(super) fn free_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}
