// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From the pipe to the disk: what is taken over is in the spool, what is not is counted and told.

#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc, time::Duration};

use insights_gateway::{
    config::SpoolConfig,
    pipe::{Pipe, Settings},
    spooler,
    tap::{Stop, StopSender},
};
use insights_protocol::{
    Kind, Kinds,
    batch::{self, Payload},
    event::{Event, Level, LossCause},
    flow::FlowFact,
    topology::{Change, Node},
};
use insights_spool::{Options, Spool};
use tokio::{sync::watch, task::JoinHandle};

struct Site {
    pipe: Pipe,
    spool: Arc<Spool>,
    settings: watch::Sender<Settings>,
    stored: watch::Receiver<spooler::Stored>,
    stop: StopSender,
    task: JoinHandle<()>,
}

fn settings(kinds: Kinds) -> Settings {
    Settings {
        kinds,
        metering_interval: Duration::from_secs(10),
    }
}

impl Site {
    fn start(folder: &Path, change: impl FnOnce(&mut Options)) -> Site {
        let mut options = spooler::options(&SpoolConfig {
            path: folder.join("spool"),
            max_bytes: 64 << 20,
        });
        change(&mut options);
        let spool = Arc::new(Spool::open(options, 1).unwrap());
        let (pipe, end) = Pipe::new(settings(Kinds::ALL));
        let (stored, seen) = watch::channel(std::array::from_fn(|lane| spool.lane(lane).next));
        let (stop, stopped) = Stop::channel();
        let settings = end.settings.clone();
        let task = tokio::spawn(spooler::run(end, pipe.clone(), spool.clone(), stored, stopped));
        Site {
            pipe,
            spool,
            settings,
            stored: seen,
            stop,
            task,
        }
    }

    async fn stop(self) -> (Pipe, Arc<Spool>) {
        self.stop.stop();
        self.task.await.unwrap();
        (self.pipe, self.spool)
    }
}

/// All that a lane holds, in order.
fn payloads(spool: &Spool, kind: Kind) -> Vec<Payload> {
    let mut from = 1;
    let mut found = Vec::new();
    while let Some(record) = spool.read(spooler::lane(kind), from).unwrap() {
        from = record.sequence + 1;
        let (header, payload) = batch::decode(&record.payload).unwrap();
        assert_eq!((header.kind, header.records), (kind, record.records));
        found.push(payload);
    }
    found
}

fn losses(spool: &Spool) -> Vec<(Kind, LossCause, u64)> {
    let events = payloads(spool, Kind::Events).into_iter().flat_map(|payload| match payload {
        Payload::Events(events) => events,
        other => panic!("{other:?}"),
    });
    events
        .filter_map(|event| event.lost)
        .map(|lost| (lost.kind, lost.cause, lost.records))
        .collect()
}

fn flow(number: u64) -> FlowFact {
    // Addresses that don't compress, so that batches have a size.
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    FlowFact {
        received_us: 1 + number as i64,
        host: [1; 16],
        cookie: hash,
        sim_result: 1,
        in_port: Some(u128::from(hash).wrapping_mul(0x2545_f491_4f6c_dd1d_0000_0000_0000_1001).to_be_bytes()),
        dp_in_port: 1,
        tunnel: Default::default(),
        eth_src: [2; 6],
        eth_dst: [3; 6],
        ether_type: 0x800,
        net_src: None,
        net_dst: None,
        proto: 6,
        tos: 0,
        ttl: 64,
        fragment: 1,
        tp_src: hash as u16,
        tp_dst: 80,
        icmp_id: 0,
        extras: Default::default(),
        path: Default::default(),
        out_ports: Vec::new().into(),
        actions: Vec::new().into(),
        untrusted: 0,
    }
}

fn put(number: u64, bytes: usize) -> Change {
    let mut state = number | 1;
    let data = (0..bytes).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    Change::Put(Node {
        path: format!("zoom/0/models/Port/{number}"),
        data: data.collect(),
        mzxid: 1,
        version: 0,
        ctime_ms: 0,
        mtime_ms: 0,
        ephemeral_owner: 0,
        at_us: number as i64,
    })
}

/// Puts flows in as fast as the pipe takes them.
async fn flows(site: &Site, count: u64) {
    for number in 0..count {
        while !site.pipe.flow(flow(number)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_on_disk_after_a_stop_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |_| {});
    flows(&site, 20_000).await;
    for number in 0..50 {
        site.pipe.topology(vec![put(number * 2, 10), put(number * 2 + 1, 10)]).await;
    }
    let event = |number: i64| Event {
        at_us: number,
        level: Level::Info,
        kind: "t".into(),
        text: String::new(),
        fields: Vec::new(),
        lost: None,
    };
    (0..5).for_each(|number| site.pipe.event(event(number)));
    let mut stored = site.stored.clone();
    let (pipe, spool) = site.stop().await;
    let flows: Vec<i64> = payloads(&spool, Kind::Flows)
        .into_iter()
        .flat_map(|payload| if let Payload::Flows(flows) = payload { flows } else { Vec::new() })
        .map(|flow| flow.received_us)
        .collect();
    assert_eq!(flows, (1..=20_000).collect::<Vec<_>>());
    let changes: Vec<i64> = payloads(&spool, Kind::Topology)
        .into_iter()
        .flat_map(|payload| if let Payload::Topology(changes) = payload { changes } else { Vec::new() })
        .map(|change| change.at_us())
        .collect();
    assert_eq!(changes, (0..100).collect::<Vec<_>>());
    let counters = pipe.counters();
    assert_eq!((counters[0].spooled, counters[1].spooled, counters[3].spooled), (100, 5, 20_000));
    let next = *stored.borrow_and_update();
    assert_eq!(next, std::array::from_fn(|lane| spool.lane(lane).next), "the uplink was told of all");
}

#[tokio::test(flavor = "multi_thread")]
async fn evicted_flows_are_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |options| {
        (options.max_bytes, options.segment_bytes, options.window_bytes) = (600_000, 50_000, 0);
        options.lanes[1].max_bytes = 100_000;
    });
    for _ in 0..5 {
        flows(&site, 10_000).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    let (pipe, spool) = site.stop().await;
    let counters = pipe.counters()[3];
    let held: u64 = payloads(&spool, Kind::Flows).iter().map(|payload| payload.len() as u64).sum();
    let told: u64 = losses(&spool)
        .iter()
        .filter(|(kind, cause, _)| (*kind, *cause) == (Kind::Flows, LossCause::SpoolFull))
        .map(|(.., records)| records)
        .sum();
    assert!(counters.evicted > 0 && spool.bytes() <= 600_000);
    assert_eq!(counters.spooled, 50_000);
    assert_eq!(held + counters.evicted, counters.spooled, "the balance closes");
    assert_eq!(told, counters.evicted);
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_waits_for_room_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |options| {
        (options.segment_bytes, options.lanes[0].max_bytes) = (1 << 20, 10 << 20);
    });
    let pipe = site.pipe.clone();
    let feeder = tokio::spawn(async move {
        for number in 0..80 {
            pipe.topology(vec![put(number, 500_000)]).await;
        }
    });
    // The service acknowledges slowly; every number is seen once and in order.
    let lane = spooler::lane(Kind::Topology);
    let (mut from, mut seen) = (1, Vec::new());
    for _ in 0..3_000 {
        match site.spool.read(lane, from).unwrap() {
            Some(record) => {
                from = record.sequence + 1;
                if let (_, Payload::Topology(changes)) = batch::decode(&record.payload).unwrap() {
                    seen.extend(changes.iter().map(Change::at_us));
                }
                site.spool.ack(lane, record.sequence).unwrap();
            }
            None if seen.len() == 80 => break,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        assert!(site.spool.lane(lane).bytes <= 10 << 20);
    }
    assert_eq!(seen, (0..80).collect::<Vec<_>>());
    feeder.await.unwrap();
    let (pipe, _) = site.stop().await;
    assert_eq!((pipe.counters()[0].spooled, pipe.counters()[0].dropped), (80, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_a_full_topology_lane_ends() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |options| {
        (options.segment_bytes, options.lanes[0].max_bytes) = (1 << 20, 10 << 20);
    });
    let pipe = site.pipe.clone();
    let feeder = tokio::spawn(async move {
        for number in 0..200 {
            pipe.topology(vec![put(number, 500_000)]).await;
        }
    });
    while site.spool.lane(spooler::lane(Kind::Topology)).next < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (pipe, _) = tokio::time::timeout(Duration::from_secs(20), site.stop()).await.unwrap();
    feeder.abort();
    let counters = pipe.counters()[0];
    assert!(counters.spooled > 0 && counters.received > counters.spooled);
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_beyond_the_queue_and_unreadable_ones_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |_| {});
    // Without a pause in between nothing takes them out of the queue but the other threads.
    let mut taken = 0;
    for number in 0..400_000 {
        taken += u64::from(site.pipe.flow(flow(number)));
    }
    site.pipe.invalid(Kind::Flows, 7);
    let (pipe, spool) = site.stop().await;
    let counters = pipe.counters()[3];
    assert_eq!((counters.received, counters.invalid), (400_007, 7));
    assert_eq!(counters.spooled, taken);
    assert_eq!(counters.dropped, 400_000 - taken);
    let losses = losses(&spool);
    let told = |cause| {
        losses
            .iter()
            .filter(|loss| (loss.0, loss.1) == (Kind::Flows, cause))
            .map(|loss| loss.2)
            .sum::<u64>()
    };
    assert_eq!((told(LossCause::QueueFull), told(LossCause::Invalid)), (counters.dropped, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |_| {});
    site.settings.send_replace(settings(Kinds {
        flows: false,
        topology: false,
        state: false,
        metering: true,
    }));
    assert!(!site.pipe.flow(flow(1)));
    site.pipe.topology(vec![put(1, 1)]).await;
    site.settings.send_replace(settings(Kinds {
        flows: false,
        topology: false,
        state: true,
        metering: true,
    }));
    site.pipe.topology(vec![put(2, 1)]).await;
    let (pipe, spool) = site.stop().await;
    assert!(payloads(&spool, Kind::Flows).is_empty() && losses(&spool).is_empty(), "it is no loss");
    assert_eq!(payloads(&spool, Kind::Topology), [Payload::Topology(vec![put(2, 1)])]);
    assert_eq!((pipe.counters()[0].dropped, pipe.counters()[3].dropped), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_above_the_bounds_of_the_wire_is_divided() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), |_| {});
    // 12 MiB that don't compress, in one list: above what one batch may have.
    let changes: Vec<_> = (0..12).map(|number| put(number, 1 << 20)).collect();
    site.pipe.topology(changes.clone()).await;
    let (_, spool) = site.stop().await;
    let found = payloads(&spool, Kind::Topology);
    assert!(found.len() > 1);
    let all: Vec<_> = found
        .into_iter()
        .flat_map(|payload| if let Payload::Topology(changes) = payload { changes } else { Vec::new() })
        .collect();
    assert_eq!(all, changes);
}
