// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! As many flow records as a recorder takes: for benchmarks of what receives them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use midonet::flow::{Encoding, FlowRecord, encode_binary, encode_json, frame};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, interval},
};

use crate::{plan::Plan, size::Size, traffic, view::View};

/// Distinct records that a connection repeats, each time with another cookie.
const SAMPLE: usize = 4096;
/// Records in one write.
const BATCH: usize = 256;
/// Where the cookie stands in a binary record.
const COOKIE_AT: usize = 9;

/// How the load is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Host and port of the recorder.
    pub target: String,
    pub connections: usize,
    pub duration: Duration,
    /// Stop after so many records, all connections together.
    pub limit: Option<u64>,
    /// Records in a second, all connections together; as fast as it goes if not given.
    pub rate: Option<f64>,
    pub json: bool,
    pub size: Size,
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub records: u64,
    pub bytes: u64,
    pub elapsed: Duration,
}

/// Framed records ready to be sent, with the place of each cookie.
struct Prepared {
    bytes: Vec<u8>,
    /// End of each record.
    ends: Vec<usize>,
    /// Start of each cookie; none in JSON.
    cookies: Vec<usize>,
}

/// Sends until the time or the records are over. A connection that breaks ends; the others go on.
pub async fn run(options: Options) -> std::io::Result<Report> {
    let plan = Plan::build(options.size, options.seed, std::net::Ipv4Addr::new(127, 64, 0, 0));
    let view = View::compile(&plan.zoom, &plan.learned);
    let records = traffic::sample(&view, options.seed, SAMPLE);
    let (sent, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for index in 0..options.connections {
        let stream = TcpStream::connect(&options.target).await?;
        // Each connection starts elsewhere in the sample.
        let mut own = records.clone();
        own.rotate_left(index * SAMPLE / options.connections.max(1) % records.len().max(1));
        let prepared = prepare(&own, options.json);
        tasks.push(tokio::spawn(connection(
            stream,
            prepared,
            index as u64,
            options.clone(),
            started,
            sent.clone(),
            bytes.clone(),
        )));
    }
    for task in tasks {
        if let Ok(Err(error)) = task.await {
            log::warn!("a connection broke: {error}");
        }
    }
    Ok(Report {
        records: sent.load(Ordering::Relaxed),
        bytes: bytes.load(Ordering::Relaxed),
        elapsed: started.elapsed(),
    })
}

fn prepare(records: &[FlowRecord], json: bool) -> Prepared {
    let mut prepared = Prepared {
        bytes: Vec::new(),
        ends: Vec::new(),
        cookies: Vec::new(),
    };
    for record in records {
        let mut record = record.clone();
        let encoded = if json {
            record.encoding = Encoding::Json;
            encode_json(&record)
        } else {
            match encode_binary(&record) {
                Ok(encoded) => encoded,
                // Longer than an agent could send.
                Err(_) => continue,
            }
        };
        let start = prepared.bytes.len();
        frame::encode(&encoded, &mut prepared.bytes);
        if !json {
            prepared.cookies.push(prepared.bytes.len() - encoded.len() + COOKIE_AT);
        }
        debug_assert!(prepared.bytes.len() > start);
        prepared.ends.push(prepared.bytes.len());
    }
    prepared
}

async fn connection(
    mut stream: TcpStream,
    mut prepared: Prepared,
    index: u64,
    options: Options,
    started: Instant,
    sent: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
) -> std::io::Result<()> {
    if prepared.ends.is_empty() {
        return Ok(());
    }
    let mut pace = options
        .rate
        .map(|rate| interval(Duration::from_secs_f64(BATCH as f64 * options.connections as f64 / rate.max(1.0))));
    let mut cookie = 0u32;
    let mut at = 0;
    while started.elapsed() < options.duration {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let count = BATCH.min(prepared.ends.len() - at);
        if let Some(limit) = options.limit {
            // Reserved first, so that the connections together don't go beyond it.
            let before = sent.fetch_add(count as u64, Ordering::Relaxed);
            if before + count as u64 > limit {
                sent.fetch_sub(count as u64, Ordering::Relaxed);
                return Ok(());
            }
        }
        // A cookie of this connection's own, so that each record can be told from all others.
        for offset in prepared.cookies.iter().skip(at).take(count) {
            cookie = cookie.wrapping_add(1);
            prepared.bytes[*offset..offset + 8].copy_from_slice(&(index << 32 | u64::from(cookie)).to_le_bytes());
        }
        let from = if at == 0 { 0 } else { prepared.ends[at - 1] };
        let to = prepared.ends[at + count - 1];
        stream.write_all(&prepared.bytes[from..to]).await?;
        if options.limit.is_none() {
            sent.fetch_add(count as u64, Ordering::Relaxed);
        }
        bytes.fetch_add((to - from) as u64, Ordering::Relaxed);
        at = (at + count) % prepared.ends.len();
    }
    stream.shutdown().await
}
