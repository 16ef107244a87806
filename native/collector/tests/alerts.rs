// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Alerts, from what a gateway sends to what people see, over restarts of the service.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::{path::Path, time::Duration};

use http::{Client, app, serve};
use insights_collector::{
    accounts::SiteScope,
    alerts::{AlertError, Alerts, Engine, EngineOptions, EngineParts},
    clock::now_us,
};
use insights_protocol::{
    Kind,
    batch::Payload,
    event::{Event, Level, LossCause, Lost},
    topology::{Change, Node},
};
use insights_store::catalog::{AlertDeed, AlertQuery, StoredAlert};
use service::{Gateway, PASSWORD, Service, eventually, send_batch};
use uuid::Uuid;

const EPOCH: u64 = 5;
const HOST: Uuid = Uuid::from_u128(0x40);
const OTHER: Uuid = Uuid::from_u128(0x41);
const PORT: Uuid = Uuid::from_u128(0x70);

fn node(path: String, text: &str) -> Change {
    Change::Put(Node {
        path,
        data: text.as_bytes().to_vec(),
        mzxid: now_us(),
        version: 0,
        ctime_ms: now_us() / 1_000,
        mtime_ms: now_us() / 1_000,
        ephemeral_owner: 0,
        at_us: now_us(),
    })
}

fn id(name: &str, id: Uuid) -> String {
    let (msb, lsb) = id.as_u64_pair();
    format!("{name} {{\n  msb: {msb}\n  lsb: {lsb}\n}}\n")
}

fn alive(host: Uuid) -> String {
    format!("zoom/0/state/{host}/Host/{host}/alive")
}

fn active() -> String {
    format!("zoom/0/state/{HOST}/Port/{PORT}/active")
}

fn up() -> Vec<Change> {
    vec![node(alive(HOST), ""), node(active(), "")]
}

fn gone() -> Vec<Change> {
    let delete = |path| Change::Delete { path, at_us: now_us() };
    vec![delete(active()), delete(alive(HOST))]
}

/// Two hosts that are up, one with a port.
fn snapshot() -> Vec<Change> {
    let port = format!(
        "{}{}interface_name: \"eth0\"\nadmin_state_up: true\n",
        id("router_id", Uuid::from_u128(0x50)),
        id("host_id", HOST)
    );
    let mut changes = vec![
        Change::SnapshotBegin { at_us: now_us(), term: 1 },
        node(format!("zoom/0/models/Host/{HOST}"), "name: \"hv-1\"\n"),
        node(format!("zoom/0/models/Host/{OTHER}"), "name: \"hv-2\"\n"),
        node(format!("zoom/0/models/Port/{PORT}"), &port),
        node(alive(OTHER), ""),
    ];
    changes.extend(up());
    let nodes = changes.len() as u64 - 1;
    changes.push(Change::SnapshotEnd { at_us: now_us(), nodes });
    changes
}

fn engine(service: &Service, grace: Duration) -> Engine {
    let options = EngineOptions {
        every: Duration::from_millis(50),
        grace,
    };
    let parts = EngineParts {
        store: service.store.clone(),
        sites: service.sites.clone(),
        gateways: service.gateways.clone(),
        certificate_until_us: None,
    };
    Engine::start(options, parts)
}

/// All alerts that there ever were, newest first.
async fn all(service: &Service, scope: &SiteScope) -> Vec<StoredAlert> {
    let query = AlertQuery {
        open: None,
        rule: None,
        before: None,
        limit: 100,
    };
    Alerts::new(service.store.catalog().clone()).list(scope, query, now_us()).await.unwrap()
}

async fn only(service: &Service, scope: &SiteScope) -> Option<StoredAlert> {
    let mut all = all(service, scope).await;
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

async fn again(dir: &Path, grace: Duration) -> (Service, Engine) {
    let service = Service::start(dir).await;
    let engine = engine(&service, grace);
    (service, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_survives_a_restart_and_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    // No gateway has a reason to be away for longer in this test.
    let (service, running) = again(dir.path(), Duration::from_secs(3_600)).await;
    let (_, scope) = service.account("ada@example.org").await;
    let (identity, gateway_id) = (service.known_key(&scope).await, Uuid::new_v4());
    let mut gateway = Gateway::connect(&service, &identity, gateway_id, EPOCH).await;
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 0, &Payload::Topology(snapshot())).await;
    gateway.acknowledged(Kind::Topology, 0).await;
    assert_eq!(only(&service, &scope).await, None, "all is well");
    send_batch(&mut stream, EPOCH, 1, &Payload::Topology(gone())).await;
    gateway.acknowledged(Kind::Topology, 1).await;
    eventually("the host is told", || async { only(&service, &scope).await.is_some() }).await;
    let told = only(&service, &scope).await.unwrap();
    assert_eq!((told.rule.as_str(), told.says.text.as_str()), ("host-down", "Host hv-1 is down"));
    assert_eq!(told.subject, HOST.to_string());
    assert_eq!(told.says.members, 1, "its port is counted, not told");
    assert!(told.opened_us - told.since_us < 25_000_000, "since the fact, not since it was found");
    let alerts = Alerts::new(service.store.catalog().clone());
    alerts.act(&scope, told.id, AlertDeed::Acknowledge, now_us()).await.unwrap();

    // The service ends and comes back before the gateway does.
    running.stop().await;
    service.stop().await;
    let (service, running) = again(dir.path(), Duration::from_secs(3_600)).await;
    let (_, scope) = service.sign_in("ada@example.org").await;
    eventually("nobody knows", || async { only(&service, &scope).await.unwrap().unknown.is_some() }).await;
    let blind = only(&service, &scope).await.unwrap();
    assert_eq!((blind.id, blind.resolved), (told.id, None));
    assert_eq!(blind.acknowledged.unwrap().1, "ada@example.org");
    let mut gateway = Gateway::connect(&service, &identity, gateway_id, EPOCH).await;
    eventually("it is known again", || async { only(&service, &scope).await.unwrap().unknown.is_none() }).await;

    // The host comes back, and the alert ends.
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 2, &Payload::Topology(up())).await;
    gateway.acknowledged(Kind::Topology, 2).await;
    eventually("it is over", || async { only(&service, &scope).await.unwrap().resolved.is_some() }).await;
    let over = only(&service, &scope).await.unwrap();
    assert_eq!(over.id, told.id);
    let alerts = Alerts::new(service.store.catalog().clone());
    let (_, acts) = alerts.one(&scope, over.id, now_us()).await.unwrap().unwrap();
    let words: Vec<&str> = acts.iter().map(|act| act.what.as_str()).collect();
    assert_eq!(words, ["opened", "acknowledged", "unknown", "known", "resolved"]);
    let late = alerts.act(&scope, over.id, AlertDeed::Acknowledge, now_us()).await;
    assert!(matches!(late, Err(AlertError::NoAlert)));
    running.stop().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_and_gateways_that_stay_away_are_told_and_rules_are_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let (service, running) = again(dir.path(), Duration::ZERO).await;
    let (_, scope) = service.account("ada@example.org").await;
    let (_, stranger) = service.account("bob@example.org").await;
    let identity = service.known_key(&scope).await;
    let gateway = Gateway::connect(&service, &identity, Uuid::from_u128(1), EPOCH).await;
    let open = |rule: &'static str| {
        let (service, scope) = (&service, &scope);
        async move {
            let all = all(service, scope).await;
            all.into_iter().find(|alert| alert.rule == rule && alert.resolved.is_none())
        }
    };
    // The engine has seen the site before the loss comes: what was there before is no news.
    gateway.connection.close(quinn::VarInt::from_u32(0), b"");
    eventually("the gateway is away", || async { open("gateway-away").await.is_some() }).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::from_u128(1), EPOCH).await;
    let mut stream = gateway.stream().await;
    let lost = Event {
        at_us: now_us(),
        level: Level::Warning,
        kind: "records.lost".into(),
        text: "7 flows were given up".into(),
        fields: Vec::new(),
        lost: Some(Lost {
            kind: Kind::Flows,
            records: 7,
            first_us: now_us() - 5,
            last_us: now_us(),
            cause: LossCause::SpoolFull,
        }),
    };
    send_batch(&mut stream, EPOCH, 0, &Payload::Events(vec![lost])).await;
    gateway.acknowledged(Kind::Events, 0).await;
    eventually("the loss is told", || async { open("records-lost").await.is_some() }).await;
    assert_eq!(open("records-lost").await.unwrap().says.value, Some(7.0));
    gateway.connection.close(quinn::VarInt::from_u32(0), b"");
    // Whether it was told to be back in between or not, it is away now and stays so.
    eventually("the gateway is away again", || async {
        open("gateway-away").await.is_some() && service.gateways.connected(&scope) == 0
    })
    .await;

    // What people see, and only those whose site it is.
    let address = serve(app(&service)).await;
    let mut ada = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let base = format!("/s/{}/alerts", scope.site());
    let page = ada.get(&base).await;
    assert!(page.body.contains("Gateway gw-1 is away"), "{}", page.body);
    let alert = open("gateway-away").await.unwrap();
    let mut bob = Client::signed_in(address, "bob@example.org", PASSWORD).await;
    let theirs = format!("/s/{}/alerts", stranger.site());
    assert_eq!(bob.get(&format!("{theirs}/{}", alert.id)).await.status, 404);
    let csrf = bob.get(&theirs).await.csrf();
    let id = alert.id.to_string();
    let form = [("csrf", csrf.as_str()), ("alert", &id), ("deed", "acknowledge")];
    assert!(bob.post(&format!("{theirs}/act"), &form).await.location().contains("done=gone"));
    assert_eq!(open("gateway-away").await.unwrap().acknowledged, None);

    // A rule that is off ends its alerts.
    let csrf = page.csrf();
    let form = [("csrf", csrf.as_str()), ("rule", "gateway-away"), ("to", "off")];
    assert_eq!(ada.post(&format!("{base}/rules"), &form).await.status, 303);
    eventually("its alert ends", || async { open("gateway-away").await.is_none() }).await;
    let form = [("csrf", csrf.as_str()), ("rule", "nonsense"), ("to", "off")];
    assert_eq!(ada.post(&format!("{base}/rules"), &form).await.status, 400);
    running.stop().await;
    service.stop().await;
}
