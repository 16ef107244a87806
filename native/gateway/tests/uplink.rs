// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The uplink against a real QUIC peer on the loopback interface.

#![allow(clippy::unwrap_used)]

mod peer;

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use insights_gateway::{
    Config, identity,
    pipe::{Pipe, Settings as PipeSettings, Switches},
    spooler,
    status::{Shared, Status},
    tap::Stop,
    uplink::Uplink,
};
use insights_protocol::{
    Kind, Kinds,
    batch::Payload,
    control::{Command, CommandKind, Refusal, RefusalCode, Settings, ToGateway, close},
    event::{Event, Level},
    flow::FlowFact,
};
use insights_spool::Spool;
use peer::{Behaviour, Peer, until};
use tokio::sync::watch;

/// What was logged, by tests that run one after the other for its sake.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("insights_gateway") {
            LINES.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
    }

    fn flush(&self) {}
}

async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().await;
    let _ = log::set_logger(&Lines);
    log::set_max_level(log::LevelFilter::Info);
    LINES.lock().unwrap().clear();
    guard
}

fn lines_with(text: &str) -> Vec<String> {
    LINES.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
}

/// An uplink with its spooler, on a folder of its own.
struct Site {
    pipe: Pipe,
    shared: Shared,
    spool: Arc<Spool>,
    resend: watch::Receiver<u64>,
    /// Spooler and uplink, which end in this order.
    parts: [(insights_gateway::tap::StopSender, tokio::task::JoinHandle<()>); 2],
}

impl Site {
    fn start(folder: &Path, port: u16, ca_file: &Path, data: Kinds) -> Site {
        let identity_path = folder.join("identity");
        identity::init(&identity_path, time::OffsetDateTime::now_utc()).unwrap();
        let json = serde_json::json!({
            "insights_cloud": {
                "gateway": {"host": "localhost", "port": port, "ca_file": ca_file},
                "identity": {"path": identity_path},
                "spool": {"path": folder.join("spool"), "max_size": "64MiB"},
                "data": {"topology": data.topology, "state": data.state, "metering": data.metering, "flows": data.flows},
                "status": {"socket": ""},
            },
            "zookeeper": {"hosts": "127.0.0.1:1", "root_key": "/midonet"},
            "host_id": "c0ffee00-0000-4000-8000-000000000001",
        });
        let config = Arc::new(Config::from_json(&json.to_string()).unwrap());
        let (pipe, end) = Pipe::new(PipeSettings {
            kinds: config.data,
            metering_interval: config.metering_interval,
        });
        let shared = Shared::new(config.clone(), pipe.clone());
        let spool = Arc::new(Spool::open(spooler::options(&config.spool), 0xe90c).unwrap());
        let (stored, seen) = watch::channel(std::array::from_fn(|lane| spool.lane(lane).next));
        let (switches, resend) = (Switches::new(pipe.clone(), &end), end.resend.clone());
        switches.lead(1, true);
        let resend_seen = resend.subscribe();
        shared.set_spool(spool.clone());
        let (stop_spooler, spooler_stop) = Stop::channel();
        let (stop_uplink, uplink_stop) = Stop::channel();
        let uplink = Uplink {
            config,
            pipe: pipe.clone(),
            spool: spool.clone(),
            stored: seen,
            switches,
            resend,
            shared: shared.clone(),
            drain: Duration::from_secs(2),
            stop: uplink_stop,
        };
        let spooler = tokio::spawn(spooler::run(end, pipe.clone(), spool.clone(), stored, spooler_stop));
        Site {
            pipe,
            shared,
            spool,
            resend: resend_seen,
            parts: [(stop_spooler, spooler), (stop_uplink, tokio::spawn(uplink.run()))],
        }
    }

    async fn stop(self) {
        for (stop, task) in self.parts {
            stop.stop();
            task.await.unwrap();
        }
    }

    fn status(&self) -> Status {
        self.shared.status()
    }

    fn event(&self, number: u64) {
        let text = number.to_string();
        self.pipe.event(Event {
            at_us: 1,
            level: Level::Info,
            kind: "test".into(),
            text,
            fields: Vec::new(),
            lost: None,
        });
    }
}

fn flow(number: u64) -> FlowFact {
    FlowFact {
        received_us: number as i64,
        host: [1; 16],
        cookie: number,
        sim_result: 1,
        in_port: Some([number as u8 % 5; 16]),
        dp_in_port: 1,
        tunnel: Default::default(),
        eth_src: [2; 6],
        eth_dst: [3; 6],
        ether_type: 0x800,
        net_src: Some(Ipv4Addr::from(number as u32 % 9).into()),
        net_dst: None,
        proto: 6,
        tos: 0,
        ttl: 64,
        fragment: 1,
        tp_src: number as u16,
        tp_dst: 80,
        icmp_id: 0,
        extras: Default::default(),
        path: Default::default(),
        out_ports: Vec::new().into(),
        actions: vec![1, 1, 0, 0, 0, number as u8 % 3].into(),
        untrusted: 0,
    }
}

/// The events that the peer took over, in its order.
fn events(peer: &Peer) -> Vec<u64> {
    let seen = peer.seen.lock();
    let batches = seen
        .taken
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::Events)
        .flat_map(|(_, batches)| batches);
    let events = batches.flat_map(|(_, payload)| match payload {
        Payload::Events(events) => events.iter().map(|event| event.text.parse().unwrap()).collect::<Vec<u64>>(),
        other => panic!("{other:?} on the events' stream"),
    });
    events.collect()
}

fn refusal(code: RefusalCode) -> Refusal {
    Refusal {
        code,
        reason: "because".into(),
        remedy: String::new(),
        retry_after_s: 3_600,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_reach_the_service_and_leave_the_spool() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    (0..10).for_each(|number| site.event(number));
    until("ten events", || events(&peer).len() == 10).await;
    assert_eq!(events(&peer), (0..10).collect::<Vec<_>>());
    until("their acknowledgement", || site.status().counters[1].acknowledged == 10).await;
    assert_eq!(
        lines_with("Gateway client connected to"),
        [format!("INFO Gateway client connected to localhost:{}", peer.address.port())]
    );
    let status = site.status();
    assert_eq!(
        (status.link.state.as_str(), status.link.site.as_deref(), status.lag_ms),
        ("connected", Some("a site"), 0)
    );
    until("a report", || !peer.seen.lock().reports.is_empty()).await;

    // What comes right before the end is sent too, and the end is an orderly one.
    site.event(10);
    site.stop().await;
    until("the last event", || events(&peer).len() == 11 && peer.seen.lock().byes == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_with_a_connection_is_sent_again_from_the_cursor() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(
        folder.path(),
        Behaviour {
            close_after: Some(3),
            retry_every: Some(5),
            ..Behaviour::default()
        },
    );
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    for number in 0..24 {
        site.event(number);
        // A batch each, so that connections end between and inside of them.
        until("the batch", || site.status().spool.lanes[1].next == number + 2).await;
    }
    until("all events", || events(&peer).len() == 24).await;
    assert_eq!(events(&peer), (0..24).collect::<Vec<_>>());
    assert!(peer.seen.lock().hellos.len() > 3, "the connection was lost several times");
    until("their acknowledgement", || site.status().counters[1].acknowledged == 24).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_come_once_and_in_order_whether_they_are_at_hand_or_read_again() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(
        folder.path(),
        Behaviour {
            close_after: Some(4),
            retry_every: Some(3),
            ..Behaviour::default()
        },
    );
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    for batch in 0..8u64 {
        (0..30).for_each(|number| assert!(site.pipe.flow(flow(batch * 30 + number))));
        until("the batch", || site.status().spool.lanes[3].next > batch + 1).await;
    }
    let flows = || {
        let seen = peer.seen.lock();
        let batches = seen.taken.iter().filter(|((kind, _), _)| *kind == Kind::Flows);
        let flows = batches.flat_map(|(_, batches)| batches).flat_map(|(_, payload)| match payload {
            Payload::Flows(flows) => flows.clone(),
            other => panic!("{other:?} on the flows' stream"),
        });
        flows.collect::<Vec<_>>()
    };
    until("all flows", || flows().len() == 240).await;
    assert_eq!(flows(), (0..240).map(flow).collect::<Vec<_>>());
    until("their acknowledgement", || site.status().counters[3].acknowledged == 240).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_what_was_not_acknowledged() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(
        folder.path(),
        Behaviour {
            ack: false,
            ..Behaviour::default()
        },
    );
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    (0..5).for_each(|number| site.event(number));
    until("the events", || events(&peer).len() == 5).await;
    site.stop().await;
    peer.behaviour.lock().ack = true;
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    until("the acknowledgement by the greeting", || site.status().counters[1].acknowledged == 5).await;
    site.event(5);
    until("the sixth event", || events(&peer).len() == 6).await;
    assert_eq!(peer.seen.lock().batches, 2, "nothing was sent twice");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_told_with_its_fingerprint() {
    let _alone = alone().await;
    for in_handshake in [false, true] {
        LINES.lock().unwrap().clear();
        let folder = tempfile::tempdir().unwrap();
        let refuse = (!in_handshake).then(|| refusal(RefusalCode::UnknownKey));
        let peer = Peer::start(
            folder.path(),
            Behaviour {
                refuse,
                refuse_in_handshake: in_handshake,
                ..Behaviour::default()
            },
        );
        let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
        until("the refusal", || site.status().link.trouble.is_some()).await;
        let fingerprint = identity::load(&folder.path().join("identity"), time::OffsetDateTime::now_utc())
            .unwrap()
            .current
            .fingerprint;
        let line = site.status().link.trouble.unwrap();
        assert!(
            line.contains("does not know this gateway's key") && line.contains(&fingerprint.to_string()),
            "{line}"
        );
        assert!(line.contains("add this fingerprint to your site"), "{line}");
        if in_handshake {
            // Tried again and again, told once.
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        assert_eq!(lines_with("is not connected").len(), 1, "{:?}", LINES.lock().unwrap());
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_ends_the_open_connection() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    until("the connection", || site.status().link.state == "connected").await;
    peer.say(ToGateway::Refused(refusal(RefusalCode::KeyDeleted)));
    until("the refusal", || site.status().link.trouble.is_some()).await;
    let line = site.status().link.trouble.unwrap();
    assert!(
        line.contains("was deleted from its site") && line.contains("what to do: add this fingerprint"),
        "{line}"
    );
    assert_eq!(lines_with("was deleted from its site").len(), 1, "told once");
    until("the end of the connection", || site.status().link.state != "connected").await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_dates_do_not_hold_is_told_until_the_key_is_renewed() {
    let _alone = alone().await;
    let now = time::OffsetDateTime::now_utc();
    // Made by a machine whose clock was wrong by thirty years, either way.
    for made in [now - time::Duration::days(30 * 365), now + time::Duration::days(30 * 365)] {
        LINES.lock().unwrap().clear();
        let folder = tempfile::tempdir().unwrap();
        let identity_path = folder.path().join("identity");
        let old = identity::init(&identity_path, made).unwrap().0.current;
        assert!(old.not_after < now || old.not_before > now);
        let peer = Peer::start(
            folder.path(),
            Behaviour {
                check_dates: true,
                ..Behaviour::default()
            },
        );
        let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
        until("the trouble", || site.status().link.trouble.is_some()).await;
        let line = site.status().link.trouble.unwrap();
        assert!(
            line.contains("the dates of this gateway's certificate don't hold now")
                && line.contains("check the clock of this machine")
                && line.contains("`mn-insights renew`"),
            "{line}"
        );
        assert_eq!(lines_with("is not connected").len(), 1, "{:?}", LINES.lock().unwrap());
        assert_eq!(peer.seen.lock().hellos.len(), 0);

        // What the line says to do helps, while the plugin runs.
        let new = identity::renew(&identity_path, Duration::ZERO, false, now).unwrap().current;
        until("the new key", || site.status().link.state == "connected").await;
        assert_eq!(site.status().link.fingerprint, Some(new.fingerprint.to_string()));
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_key_gives_way_to_the_old_one_until_the_service_knows_it() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(
        folder.path(),
        Behaviour {
            refuse: Some(refusal(RefusalCode::UnknownKey)),
            ..Behaviour::default()
        },
    );
    let identity_path = folder.path().join("identity");
    let now = time::OffsetDateTime::now_utc();
    let old = identity::init(&identity_path, now).unwrap().0.current.fingerprint.to_string();
    identity::renew(&identity_path, Duration::from_secs(3_600), false, now).unwrap();
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    // The new key was refused with a pause of an hour; the old one is tried at once.
    until("the refusal of the new key", || site.status().link.trouble.is_some()).await;
    peer.behaviour.lock().refuse = None;
    until("the old key", || site.status().link.fingerprint.as_ref() == Some(&old)).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_server_certificate_is_refused() {
    let _alone = alone().await;
    let cases = [
        (
            Behaviour {
                name: "other.example".into(),
                ..Behaviour::default()
            },
            false,
            "gateway.server_name",
        ),
        (
            Behaviour {
                expired: true,
                ..Behaviour::default()
            },
            false,
            "check the clock",
        ),
        (Behaviour::default(), true, "gateway.ca_file"),
    ];
    for (behaviour, foreign_root, remedy) in cases {
        LINES.lock().unwrap().clear();
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let peer = Peer::start(folder.path(), behaviour);
        let other = Peer::start(elsewhere.path(), Behaviour::default());
        let ca_file = if foreign_root { &other.ca_file } else { &peer.ca_file };
        let site = Site::start(folder.path(), peer.address.port(), ca_file, Kinds::ALL);
        until("the trouble", || site.status().link.trouble.is_some()).await;
        let line = site.status().link.trouble.unwrap();
        assert!(
            line.contains("the service's certificate is not accepted") && line.contains(remedy),
            "{line}"
        );
        assert_eq!(peer.seen.lock().hellos.len(), 0, "nothing is said to a stranger");
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_told() {
    let _alone = alone().await;
    let cases = [
        Behaviour {
            protocol: 99,
            ..Behaviour::default()
        },
        Behaviour {
            alpn: b"h3".to_vec(),
            ..Behaviour::default()
        },
    ];
    for behaviour in cases {
        let folder = tempfile::tempdir().unwrap();
        let peer = Peer::start(folder.path(), behaviour);
        let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
        until("the trouble", || site.status().link.trouble.is_some()).await;
        let line = site.status().link.trouble.unwrap();
        assert!(line.contains("protocol") && line.contains("upgrade the package"), "{line}");
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_is_told_once_and_tried_again() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "").unwrap();
    let site = Site::start(folder.path(), port, &ca, Kinds::ALL);
    until("the trouble", || site.status().link.trouble.is_some()).await;
    assert!(site.status().link.trouble.unwrap().contains("holds no certificate to trust"));
    let peer = Peer::start(folder.path(), Behaviour::default());
    std::fs::copy(&peer.ca_file, &ca).unwrap();
    // The socket at the port is silent: the handshake runs into its time.
    until("silence", || {
        site.status().link.trouble.is_some_and(|line| line.contains("does not answer"))
    })
    .await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_commands_come_down() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let site = Site::start(
        folder.path(),
        peer.address.port(),
        &peer.ca_file,
        Kinds {
            metering: false,
            ..Kinds::ALL
        },
    );
    until("the connection", || site.status().link.state == "connected").await;
    let settings = site.pipe.settings();
    peer.say(ToGateway::Settings(Settings {
        kinds: Kinds { flows: false, ..Kinds::ALL },
        metering_interval_s: 30,
    }));
    until("the settings", || !settings.borrow().kinds.flows).await;
    let now = *settings.borrow();
    assert_eq!(
        now.kinds,
        Kinds {
            flows: false,
            metering: false,
            ..Kinds::ALL
        },
        "the site has the last word"
    );
    assert_eq!(now.metering_interval, Duration::from_secs(30));

    let commands = [
        CommandKind::ResendTopology,
        CommandKind::LogLevel {
            level: "loud".into(),
            seconds: 1,
        },
        CommandKind::Diagnostics,
    ];
    for (id, what) in commands.into_iter().enumerate() {
        peer.command(Command { id: id as u64, what });
    }
    until("their outcomes", || peer.seen.lock().done.len() == 3).await;
    assert_eq!(*site.resend.borrow(), 1);
    {
        let seen = peer.seen.lock();
        assert!(seen.done[1].result.as_ref().unwrap_err().contains("must be one of"));
        let status: Status = serde_json::from_str(seen.done[2].result.as_ref().unwrap()).unwrap();
        assert_eq!(status.link.state, "connected");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_older_than_the_services_cursor_becomes_a_new_one() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    // As if the service had seen 50 batches of this epoch.
    peer.seen
        .lock()
        .taken
        .insert((Kind::Events, 0xe90c), vec![(50, Payload::Events(Vec::new()))]);
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    (0..3).for_each(|number| site.event(number));
    until("the events", || events(&peer).len() == 3).await;
    assert_ne!(site.spool.lane(spooler::lane(Kind::Events)).epoch, 0xe90c);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_drains_is_left_and_found_again() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::start(folder.path(), Behaviour::default());
    let site = Site::start(folder.path(), peer.address.port(), &peer.ca_file, Kinds::ALL);
    until("the connection", || site.status().link.state == "connected").await;
    peer.say(ToGateway::Draining { reconnect_after_ms: 100 });
    until("the second connection", || peer.seen.lock().hellos.len() == 2).await;
    peer.close_all(close::REPLACED);
    until("the trouble", || site.status().link.trouble.is_some()).await;
    assert!(
        site.status()
            .link
            .trouble
            .unwrap()
            .contains("another connection with this gateway's identity")
    );
    site.stop().await;
}
