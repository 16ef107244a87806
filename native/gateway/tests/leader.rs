// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Several gateways of a site: one leads, another takes over, whatever happens to the first.

#![allow(clippy::unwrap_used)]

mod site;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use insights_gateway::{
    Config,
    leader::{self, Patience},
    pipe::{Pipe, PipeEnd, Settings, Switches},
    tap::{Stop, StopSender, Tap},
};
use serde_json::json;
use site::{PATIENCE, ZooKeeper};
use tokio::{task::JoinHandle, time::Instant};
use uuid::Uuid;

/// Short enough for tests, long enough for a machine that is busy with others.
const SHORT: Patience = Patience {
    session: Duration::from_secs(4),
    start: Duration::from_secs(600),
    away: Duration::from_millis(500),
    yields: Duration::from_secs(2),
};

struct Member {
    pipe: Pipe,
    switches: Switches,
    reaches: Arc<AtomicBool>,
    stop: StopSender,
    task: JoinHandle<()>,
    _end: PipeEnd,
}

impl Member {
    fn start(zookeeper: &ZooKeeper, number: u128, reaches: bool) -> Member {
        let host_id = Uuid::from_u128(number);
        let config = json!({"zookeeper": {"hosts": zookeeper.hosts(), "root_key": "/midonet"}, "host_id": host_id});
        let config = Arc::new(Config::from_json(&config.to_string()).unwrap());
        let (pipe, end) = Pipe::new(Settings {
            kinds: config.data,
            metering_interval: config.metering_interval,
        });
        let switches = Switches::new(pipe.clone(), &end);
        let (stop, stopping) = Stop::channel();
        let tap = Tap {
            config,
            pipe: pipe.clone(),
            stop: stopping,
        };
        let reaches = Arc::new(AtomicBool::new(reaches));
        let seen = reaches.clone();
        let task = tokio::spawn(leader::run(tap, switches.clone(), move || seen.load(Ordering::Relaxed), SHORT));
        Member {
            pipe,
            switches,
            reaches,
            stop,
            task,
            _end: end,
        }
    }

    async fn stop(self) {
        self.stop.stop();
        self.task.await.unwrap();
    }

    /// Takeovers from others.
    fn takeovers(&self) -> u64 {
        self.pipe.gauges().takeovers.load(Ordering::Relaxed)
    }

    fn sends(&self) -> (bool, bool, bool) {
        let kinds = self._end.settings.borrow().kinds;
        (kinds.topology, kinds.metering, kinds.flows)
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Never two at once, and the one that is expected in the end.
async fn until_only(leader: &Member, other: &Member) {
    until("another leader", || {
        assert!(!(leader.switches.leads() && other.switches.leads()), "two lead");
        leader.switches.leads()
    })
    .await;
}

#[tokio::test]
async fn one_leads_and_the_other_takes_over() {
    let zookeeper = ZooKeeper::start("3.4", 1_000);
    let first = Member::start(&zookeeper, 1, true);
    until("the first leader", || first.switches.leads()).await;
    let second = Member::start(&zookeeper, 2, true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((first.switches.leads(), second.switches.leads()), (true, false));
    assert_eq!((first.sends(), second.sends()), ((true, true, true), (false, false, true)));
    // In order.
    first.stop().await;
    until("the second leader", || second.switches.leads()).await;
    // As a crash would: the task is gone, its session ends by itself.
    let third = Member::start(&zookeeper, 3, true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!third.switches.leads());
    second.task.abort();
    until("the third leader", || third.switches.leads()).await;
    assert_eq!((third.sends(), third.takeovers()), ((true, true, true), 1));
    third.stop().await;
    // It comes back as the next leader after itself, and then another one does.
    let third = Member::start(&zookeeper, 3, true);
    until("the third leader again", || third.switches.leads()).await;
    assert_eq!(third.takeovers(), 0);
    third.stop().await;
    let first = Member::start(&zookeeper, 1, true);
    until("the first leader again", || first.switches.leads()).await;
    assert_eq!(first.takeovers(), 1);
    first.stop().await;
}

#[tokio::test]
async fn a_leader_without_the_service_gives_way() {
    let zookeeper = ZooKeeper::start("3.4", 1_000);
    let first = Member::start(&zookeeper, 1, true);
    until("the first leader", || first.switches.leads()).await;
    // One that can't reach the service either is no reason.
    let second = Member::start(&zookeeper, 2, false);
    first.reaches.store(false, Ordering::Relaxed);
    tokio::time::sleep(SHORT.yields + Duration::from_secs(3)).await;
    assert_eq!((first.switches.leads(), second.switches.leads()), (true, false));
    second.reaches.store(true, Ordering::Relaxed);
    until_only(&second, &first).await;
    // It stays so when the first one is back.
    first.reaches.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((first.switches.leads(), second.switches.leads()), (false, true));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_lost_session_is_taken_up_again_or_over() {
    let mut zookeeper = ZooKeeper::start("3.4", 1_000);
    let first = Member::start(&zookeeper, 1, true);
    until("the first leader", || first.switches.leads()).await;
    let second = Member::start(&zookeeper, 2, true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // ZooKeeper comes back before the session is over: nothing changes, its node least of all.
    let node = async |zookeeper: &ZooKeeper| zookeeper.client().await.get_data("/midonet/insights/leader").await.unwrap().1;
    let before = node(&zookeeper).await;
    zookeeper.crash_and_restart();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((first.switches.leads(), second.switches.leads()), (true, false));
    assert_eq!(node(&zookeeper).await.czxid, before.czxid);
    // Its session is ended under it: one leads by another session.
    zookeeper.expire(&format!("{:x}", before.ephemeral_owner));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_ne!(first.switches.leads(), second.switches.leads());
    assert_ne!(node(&zookeeper).await.ephemeral_owner, before.ephemeral_owner);
    // While ZooKeeper is away for longer than the session lasts nobody leads.
    zookeeper
        .without(async {
            until("nobody", || !first.switches.leads() && !second.switches.leads()).await;
        })
        .await;
    until("one again", || first.switches.leads() || second.switches.leads()).await;
    first.stop().await;
    second.stop().await;
}
