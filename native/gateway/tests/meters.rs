// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The collection of meters from agents that answer as MidoNet's do, byte for byte.
#![allow(clippy::unwrap_used)]

mod site;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use insights_gateway::{meters, nsdb::View, pipe::PipeEnd};
use insights_protocol::meters::{HostReading, Meter};
use midonet::nsdb::state::{HostState, Interface};
use serde_json::json;
use site::{PATIENCE, Site, event, golden, site};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    time::timeout,
};
use uuid::Uuid;

/// An agent: its answers, and the most requests that it had at once.
struct Agent {
    id: Uuid,
    address: IpAddr,
    port: u16,
    body: watch::Sender<Option<Vec<u8>>>,
    most_at_once: Arc<AtomicUsize>,
}

impl Agent {
    /// On an address of its own; a body of `None` lets it close connections without a word.
    async fn start(number: u8) -> Agent {
        let address = IpAddr::from([127, 0, 77, number]);
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (body, bodies) = watch::channel(Some(Vec::new()));
        let most_at_once = Arc::new(AtomicUsize::new(0));
        let (most, now) = (most_at_once.clone(), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (bodies, most, now) = (bodies.clone(), most.clone(), now.clone());
                tokio::spawn(async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let mut request = [0; 256];
                    let read = stream.read(&mut request).await.unwrap();
                    assert!(request[..read].starts_with(b"GET /device_stats HTTP/1."));
                    let body = bodies.borrow().clone();
                    if let Some(body) = body {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-length: {}\r\n\r\n", body.len());
                        let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
                    }
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Agent {
            id: Uuid::from_u128(number.into()),
            address,
            port,
            body,
            most_at_once,
        }
    }

    /// Puts it into the NSDB's view.
    fn register(&self, view: &View) {
        let id = self.id;
        let interface = Interface {
            name: "eth0".into(),
            kind: Some("PHYSICAL".into()),
            up: true,
            addresses: vec![self.address],
            ..Interface::default()
        };
        let state = HostState {
            host: Some(id),
            interfaces: vec![interface],
        };
        view.put(&format!("zoom/0/models/Host/{id}"), format!("name: \"agent-{}\"\n", self.port).as_bytes());
        view.put(
            &format!("config/nodes/{id}"),
            json!({"agent": {"midolman": {"stats_http_server_port": self.port}}})
                .to_string()
                .as_bytes(),
        );
        view.put(&format!("zoom/0/state/{id}/Host/{id}/host"), state.to_text().as_bytes());
        view.put(&format!("zoom/0/state/{id}/Host/{id}/alive"), b"alive");
    }

    fn answer(&self, body: &[u8]) {
        self.body.send_replace(Some(body.to_vec()));
    }
}

fn start(folder: &Path) -> (Site, View, tokio::task::JoinHandle<()>) {
    let site = site(
        "127.0.0.1:1",
        "/midonet",
        json!({"metering": {"interval": "1s"}, "spool": {"path": folder}}),
    );
    let view = View::default();
    let running = tokio::spawn(meters::run(site.tap.clone(), view.clone()));
    (site, view, running)
}

async fn reading(end: &mut PipeEnd) -> HostReading {
    timeout(PATIENCE, end.meters.recv()).await.expect("a reading in time").unwrap()
}

/// The next reading of this agent that shows something new.
async fn moving(end: &mut PipeEnd, agent: &Agent) -> HostReading {
    loop {
        let reading = reading(end).await;
        if reading.host == agent.id.into_bytes() && (reading.since_us.is_none() || !reading.moved.is_empty()) {
            return reading;
        }
    }
}

/// The next reading of each of two agents that shows something new.
async fn both_moving(end: &mut PipeEnd, agents: &[Agent; 2]) -> [HostReading; 2] {
    let mut found: [Option<HostReading>; 2] = [None, None];
    loop {
        let reading = reading(end).await;
        let index = agents.iter().position(|agent| reading.host == agent.id.into_bytes()).unwrap();
        if reading.since_us.is_none() || !reading.moved.is_empty() {
            found[index].get_or_insert(reading);
        }
        found = match found {
            [Some(first), Some(second)] => return [first, second],
            found => found,
        };
    }
}

#[tokio::test]
async fn differences_of_the_golden_readings() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, view, running) = start(folder.path());
    let agent = Agent::start(2).await;
    agent.answer(&golden("metering/device_stats-1.tsv"));
    agent.register(&view);
    let first = moving(&mut site.end, &agent).await;
    assert_eq!((first.since_us, first.moved.len()), (None, 0));
    agent.answer(&golden("metering/device_stats-2.tsv"));
    let second = moving(&mut site.end, &agent).await;
    assert!(second.since_us.is_some_and(|since| since >= first.at_us && since < second.at_us) && !second.restarted);
    let moved: BTreeMap<_, _> = second
        .moved
        .iter()
        .map(|delta| (delta.meter.clone(), (delta.packets, delta.bytes)))
        .collect();
    // 2 and 123 before; 152 and 225,123 of one thread, 151 and 225,063 of the other after.
    let device: Uuid = "ec6ef230-f182-3039-ae79-4566b9c58adc".parse().unwrap();
    assert_eq!(
        moved[&Meter::Device(device.into_bytes())],
        sum_of("device:ec6ef230-f182-3039-ae79-4566b9c58adc")
    );
    assert_eq!(moved[&Meter::User("tenant-a.web".into())], sum_of("user:tenant-a.web"));

    // The agent starts anew.
    agent.answer(&golden("metering/device_stats-1.tsv"));
    let third = moving(&mut site.end, &agent).await;
    assert!(third.restarted);
    assert_eq!(agent.most_at_once.load(Ordering::SeqCst), 1);
    let gauges = site.tap.pipe.gauges();
    assert_eq!(
        (
            gauges.agents_alive.load(Ordering::Relaxed),
            gauges.meters_answered.load(Ordering::Relaxed)
        ),
        (1, 1)
    );
    site.stop.stop();
    running.await.unwrap();
}

/// What a meter rose by from the first to the second golden reading.
fn sum_of(key: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let text = String::from_utf8(golden(name)).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("meters:{key}\t")).map(str::to_owned));
        lines.fold((0u64, 0u64), |(packets, bytes), line| {
            let (line_packets, line_bytes) = line.split_once('\t').unwrap();
            (packets + line_packets.parse::<u64>().unwrap(), bytes + line_bytes.parse::<u64>().unwrap())
        })
    };
    let (before, after) = (sum("metering/device_stats-1.tsv"), sum("metering/device_stats-2.tsv"));
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn silence_is_an_event_and_the_next_difference_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, view, running) = start(folder.path());
    let agents = [Agent::start(3).await, Agent::start(4).await];
    let line = |packets: u64| format!("meters:device:{}\t{packets}\t{}\n", Uuid::from_u128(9), packets * 100).into_bytes();
    for agent in &agents {
        agent.answer(&line(10));
        agent.register(&view);
    }
    let first = moving(&mut site.end, &agents[0]).await;
    agents[0].body.send_replace(None);
    let lost = event(&mut site.end, "meters.unreachable").await;
    assert_eq!(lost.fields[0].1, agents[0].id.to_string());
    // The other one goes on meanwhile.
    agents[1].answer(&line(15));
    assert_eq!(moving(&mut site.end, &agents[1]).await.host, agents[1].id.into_bytes());
    agents[0].answer(&line(30));
    event(&mut site.end, "meters.answering").await;
    let next = moving(&mut site.end, &agents[0]).await;
    assert_eq!((next.moved[0].packets, next.restarted), (20, false));
    // Readings before the silence may have moved the beginning, but not into it.
    assert!(next.since_us.unwrap() >= first.at_us && next.since_us.unwrap() < lost.at_us && next.at_us > lost.at_us);
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn an_agent_is_found_behind_addresses_that_are_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, view, running) = start(folder.path());
    let agent = Agent::start(5).await;
    agent.answer(b"");
    agent.register(&view);
    // Nobody listens on the first one; on the second something else does.
    let other = TcpListener::bind(("127.0.77.7", agent.port)).await;
    if let Ok(other) = other {
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = other.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
            }
        });
    }
    let addresses = ["127.0.77.6", "127.0.77.7", "127.0.77.5"].map(|text| text.parse().unwrap());
    let interface = Interface {
        name: "eth0".into(),
        up: true,
        addresses: addresses.to_vec(),
        ..Interface::default()
    };
    let state = HostState {
        host: Some(agent.id),
        interfaces: vec![interface],
    };
    view.put(&format!("zoom/0/state/{0}/Host/{0}/host", agent.id), state.to_text().as_bytes());
    let first = reading(&mut site.end).await;
    assert_eq!((first.host, first.meters_total), (agent.id.into_bytes(), 0));
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn nothing_is_read_while_meters_may_not_leave() {
    let folder = tempfile::tempdir().unwrap();
    let (mut site, view, running) = start(folder.path());
    let agent = Agent::start(8).await;
    agent.answer(b"");
    agent.register(&view);
    reading(&mut site.end).await;
    site.end.settings.send_modify(|settings| settings.kinds.metering = false);
    // What was under way may still come.
    while timeout(Duration::from_secs(3), site.end.meters.recv()).await.is_ok() {}
    agent.most_at_once.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(agent.most_at_once.load(Ordering::SeqCst), 0);
    site.end.settings.send_modify(|settings| settings.kinds.metering = true);
    assert_eq!(reading(&mut site.end).await.since_us, None);
    site.stop.stop();
    running.await.unwrap();
}

#[tokio::test]
async fn a_restart_of_the_gateway_goes_on_from_the_last_reading() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [Agent::start(20).await, Agent::start(21).await];
    let line = |packets: u64| format!("meters:device:{}\t{packets}\t{}\n", Uuid::from_u128(9), packets * 100).into_bytes();
    let mut ends = Vec::new();
    for killed in [false, true] {
        let (mut site, view, running) = start(folder.path());
        for agent in &agents {
            agent.answer(&line(if killed { 50 } else { 10 }));
            agent.register(&view);
        }
        let last = both_moving(&mut site.end, &agents).await;
        if killed {
            let (orderly, reading) = (&ends[0], &last[0]);
            let HostReading { since_us, at_us, .. } = *reading;
            assert_eq!((reading.moved[0].packets, reading.restarted), (40, false));
            assert!(since_us.is_some_and(|since| since >= *orderly && since < at_us), "{since_us:?} {orderly}");
            running.abort();
            let _ = running.await;
        } else {
            assert!(last.iter().all(|reading| reading.since_us.is_none()));
            ends.push(last[0].at_us);
            site.stop.stop();
            running.await.unwrap();
        }
    }
    // Meanwhile one agent starts anew, the other goes on.
    let (mut site, view, running) = start(folder.path());
    agents[0].answer(&line(7));
    agents[1].answer(&line(60));
    agents.iter().for_each(|agent| agent.register(&view));
    let [anew, on] = both_moving(&mut site.end, &agents).await;
    assert_eq!((anew.moved[0].packets, anew.restarted), (7, true));
    assert_eq!((on.moved[0].packets, on.restarted, on.since_us.is_some()), (10, false, true));
    site.stop.stop();
    running.await.unwrap();

    // What counted while meters could not leave stays here, after a restart too.
    let (mut site, view, running) = start(folder.path());
    site.end.settings.send_modify(|settings| settings.kinds.metering = false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.end.settings.send_modify(|settings| settings.kinds.metering = true);
    agents[1].answer(&line(90));
    agents[1].register(&view);
    assert_eq!(moving(&mut site.end, &agents[1]).await.since_us, None);
    site.stop.stop();
    running.await.unwrap();
}
