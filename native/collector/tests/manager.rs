// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Pages over HTTP, with gateways that are really connected.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use http::{Client, app, serve};
use insights_collector::accounts::Signed;
use insights_protocol::control::{CommandDone, CommandKind, Settings, ToGateway, ToService};
use insights_store::{
    Period,
    catalog::{EventQuery, StoredEvent},
};
use service::{Gateway, PASSWORD, Service, eventually};
use uuid::Uuid;

/// The next settings that the gateway gets.
async fn settings(gateway: &mut Gateway) -> Settings {
    loop {
        if let ToGateway::Settings(settings) = gateway.receive().await.expect("the connection holds") {
            return settings;
        }
    }
}

async fn told(service: &Service, site: insights_store::SiteId, kind: &str) -> Vec<StoredEvent> {
    let mut query = EventQuery::all(Period::new(0, i64::MAX), 100);
    kind.clone_into(&mut query.kind);
    service.store.catalog().events(site, query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_shown_and_ended_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    service.account("ada@example.org").await;
    let address = serve(app(&service)).await;
    let mut here = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let mut there = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let page = here.get("/account/sessions").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("this one") && page.body.contains("127.0.0.1"), "{}", page.body);
    let csrf = page.csrf();
    assert_eq!(here.post("/account/sessions/end-others", &[]).await.status, 403);
    assert_eq!(there.get("/account").await.status, 200);
    let ended = here.post("/account/sessions/end-others", &[("csrf", &csrf)]).await;
    assert_eq!(ended.location(), "/account/sessions?done=others");
    assert!(there.get("/account").await.location().starts_with("/sign-in"));

    // One by one, by its form; the own one is left by it, too.
    let mut there = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let list = |page: String| {
        page.split("name=\"id\" value=\"")
            .skip(1)
            .map(|part| part[..32].to_owned())
            .collect::<Vec<_>>()
    };
    let theirs = list(there.get("/account/sessions").await.body);
    let ids = list(here.get("/account/sessions").await.body);
    assert_eq!((ids.len(), theirs.len()), (2, 2));
    let own = {
        let page = here.get("/account/sessions").await.body;
        let row = page.split("<tr aria-current").nth(1).unwrap().to_owned();
        list(row).remove(0)
    };
    let other = ids.into_iter().find(|id| *id != own).unwrap();
    assert_eq!(here.post("/account/sessions/end", &[("csrf", &csrf), ("id", &other)]).await.status, 303);
    assert!(there.get("/account").await.location().starts_with("/sign-in"));
    assert_eq!(here.get("/account").await.status, 200);
    let left = here.post("/account/sessions/end", &[("csrf", &csrf), ("id", &own)]).await;
    assert_eq!(left.location(), "/sign-in?done=ended");
    assert!(here.get("/account").await.location().starts_with("/sign-in"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_reaches_the_gateway_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = Gateway::connect(&service, &identity, Uuid::from_u128(1), 1).await;
    let address = serve(app(&service)).await;
    let mut client = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let base = format!("/s/{}/site", scope.site());
    let page = client.get(&base).await;
    assert!(page.body.contains("Flows: on, switch off"), "{}", page.body);
    let csrf = page.csrf();

    let switch = format!("{base}/switches");
    assert_eq!(client.post(&switch, &[("kind", "flows"), ("to", "off")]).await.status, 403);
    let answer = client.post(&switch, &[("csrf", &csrf), ("kind", "flows"), ("to", "off")]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let got = settings(&mut gateway).await;
    assert!(!got.kinds.flows && got.kinds.topology && got.kinds.state && got.kinds.metering);
    let page = client.get(answer.location()).await;
    assert!(page.body.contains("Flows: off, switch on") && page.body.contains("role=\"status\""));

    let interval = format!("{base}/interval");
    for wrong in ["4", "3601", "x", "-1"] {
        let answer = client.post(&interval, &[("csrf", &csrf), ("seconds", wrong)]).await;
        assert_eq!(answer.status, 422, "{wrong}");
        assert!(answer.body.contains("The interval is 5 to 3600 seconds"), "{wrong}");
    }
    assert_eq!(client.post(&interval, &[("csrf", &csrf), ("seconds", "15")]).await.status, 303);
    let got = settings(&mut gateway).await;
    assert_eq!(got.metering_interval_s, 15);
    let events = told(&service, scope.site(), "account.settings").await;
    assert_eq!(events.len(), 2);
    assert!(events[1].event.text.contains("topology, state, metering;") && events[1].event.fields.contains(&session.account().to_string()));
    // The catalogue knows who it was, the page how they are called.
    let page = client.get(&format!("/s/{}/events?kind=account", scope.site())).await;
    assert!(page.body.contains("by ada@example.org"), "{}", page.body);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_go_to_the_gateway_and_their_outcome_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let id = Uuid::from_u128(5);
    let mut gateway = Gateway::connect(&service, &identity, id, 1).await;
    let address = serve(app(&service)).await;
    let mut client = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let path = format!("/s/{}/site/gateways/{id}", scope.site());
    let command = format!("{path}/command");
    let csrf = client.get(&path).await.csrf();
    let answering = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let Some(message) = gateway.receive().await else { break };
            let ToGateway::Command(command) = message else { continue };
            let result = match &command.what {
                CommandKind::ResendTopology if !seen.is_empty() => Ok("a snapshot is on its way".to_owned()),
                // The one that the service gives on its own when a gateway comes.
                CommandKind::ResendTopology => Ok(String::new()),
                CommandKind::LogLevel { .. } => Err("not <today>".to_owned()),
                CommandKind::Diagnostics => Ok(r#"{"spool":{"files":3}}"#.to_owned()),
            };
            seen.push(command.what.clone());
            gateway.send(&ToService::CommandDone(CommandDone { id: command.id, result })).await;
        }
        (seen, gateway)
    });
    assert_eq!(client.post(&command, &[("what", "diagnostics")]).await.status, 403);
    let shown = client.post(&command, &[("csrf", &csrf), ("what", "diagnostics")]).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert!(shown.body.contains("&#34;files&#34;: 3"), "{}", shown.body);
    let file = client.post(&command, &[("csrf", &csrf), ("what", "file")]).await;
    assert_eq!(file.body, r#"{"spool":{"files":3}}"#);
    assert!(file.headers["content-disposition"].starts_with("attachment"));
    let failed = client
        .post(&command, &[("csrf", &csrf), ("what", "level"), ("level", "debug"), ("minutes", "30")])
        .await;
    assert_eq!(failed.status, 422);
    assert!(failed.body.contains("not &#60;today&#62;"), "{}", failed.body);
    let done = client.post(&command, &[("csrf", &csrf), ("what", "resend")]).await;
    assert!(done.body.contains("a snapshot is on its way"), "{}", done.body);
    let (seen, gateway) = answering.await.unwrap();
    assert!(seen.contains(&CommandKind::LogLevel {
        level: "debug".to_owned(),
        seconds: 1_800
    }));
    assert_eq!(told(&service, scope.site(), "account.command").await.len(), 3);

    for (level, minutes) in [("loud", "5"), ("debug", "0"), ("debug", "1441"), ("debug", "")] {
        let form = [("csrf", csrf.as_str()), ("what", "level"), ("level", level), ("minutes", minutes)];
        assert_eq!(client.post(&command, &form).await.status, 422, "{level} {minutes}");
    }
    gateway.connection.close(0u32.into(), b"");
    eventually("the gateway is away", || async { service.gateways.connected(&scope) == 0 }).await;
    let away = client.post(&command, &[("csrf", &csrf), ("what", "resend")]).await;
    assert_eq!(away.status, 422);
    assert!(away.body.contains("The gateway is not connected."), "{}", away.body);
    service.stop().await;
}
