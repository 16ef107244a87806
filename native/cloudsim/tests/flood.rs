// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The load without a cloud: each record is whole, of the traffic of a cloud, and unlike any other.
#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, time::Duration};

use insights_cloudsim::{
    flood::{Options, run},
    size::Size,
};
use midonet::flow::{
    Encoding, FlowRecord, MAX_RECORD_BYTES, decode,
    frame::{Frame, FrameDecoder},
};
use tokio::{io::AsyncReadExt, net::TcpListener, sync::mpsc};

async fn flood(json: bool, limit: u64) -> (u64, u64, Vec<FlowRecord>, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (sender, mut received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let (mut frames, mut bytes, mut records) = (FrameDecoder::new(MAX_RECORD_BYTES), 0, Vec::new());
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    bytes += count as u64;
                    frames.extend(&buffer[..count]);
                    while let Ok(Some(Frame::Record(record))) = frames.next_frame() {
                        records.push(decode(record).unwrap());
                    }
                }
                assert!(frames.is_at_boundary());
                sender.send((records, bytes)).unwrap();
            });
        }
    });
    let options = Options {
        target,
        connections: 3,
        duration: Duration::from_secs(60),
        limit: Some(limit),
        rate: None,
        json,
        size: Size::SMALL,
        seed: 9,
    };
    let report = run(options).await.unwrap();
    let (mut records, mut bytes) = (Vec::new(), 0);
    for _ in 0..3 {
        let (some, count) = received.recv().await.unwrap();
        records.extend(some);
        bytes += count;
    }
    (report.records, report.bytes, records, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_is_what_arrives() {
    let (reported, reported_bytes, records, bytes) = flood(false, 20_000).await;
    assert_eq!((reported, reported_bytes), (records.len() as u64, bytes));
    assert!(reported <= 20_000 && reported > 20_000 - 3 * 256, "{reported}");
    let cookies: HashSet<u64> = records.iter().map(|record| record.cookie).collect();
    assert_eq!(cookies.len(), records.len());
    assert!(records.iter().any(|record| record.actions.is_empty()) && records.iter().any(|record| record.is_tunnel_duplicate()));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_records_are_sent_too() {
    let (reported, _, records, _) = flood(true, 2_000).await;
    assert_eq!(reported, records.len() as u64);
    assert!(records.iter().all(|record| record.encoding == Encoding::Json));
}
