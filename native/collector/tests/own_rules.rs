// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Rules that people make, from the form and the API to alerts and back.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::{sync::Arc, time::Duration};

use http::{Client, app, serve};
use insights_collector::{
    accounts::{NewToken, Scope, SiteScope},
    alerts::{Alerts, Condition, Definition, Engine, EngineOptions, EngineParts, MOST_OWN, Measure, Within},
    clock::now_us,
};
use insights_protocol::{
    Kind,
    batch::Payload,
    control::{Report, ToService},
    flow::FlowFact,
};
use insights_store::catalog::{AlertQuery, Level, StoredAlert};
use serde_json::{Value, json};
use service::{Gateway, Identity, PASSWORD, Service, eventually, flow, send_batch};
use uuid::Uuid;

const EPOCH: u64 = 5;
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;
const GATEWAY: Uuid = Uuid::from_u128(9);
/// Minutes to come that have their records already: a test on a busy machine takes longer than one.
const AHEAD: i64 = 10;

fn engine(service: &Service) -> Engine {
    let options = EngineOptions {
        every: Duration::from_millis(50),
        grace: Duration::ZERO,
    };
    let parts = EngineParts {
        store: service.store.clone(),
        sites: service.sites.clone(),
        gateways: service.gateways.clone(),
        certificate_until_us: None,
    };
    Engine::start(options, parts)
}

/// A gateway that was there for two days and holds nothing back.
async fn old_gateway(service: &Service, scope: &SiteScope, identity: &Identity) -> Gateway {
    let catalog = service.store.catalog();
    let seen_us = now_us() - 2 * DAY;
    catalog
        .gateway_connected(scope.site(), GATEWAY, "gw-1".into(), "1".into(), identity.fingerprint, seen_us)
        .await
        .unwrap();
    let mut gateway = Gateway::connect(service, identity, GATEWAY, EPOCH).await;
    let report = Report {
        at_us: now_us(),
        leads: true,
        ..Report::default()
    };
    gateway.send(&ToService::Report(report)).await;
    eventually("the report is here", || async {
        service.gateways.of_site(scope).await.unwrap()[0]
            .live
            .as_ref()
            .is_some_and(|live| live.report.is_some())
    })
    .await;
    gateway
}

/// So many records in each of the last minutes and of the next.
fn flows(minutes: i64, each: u64, of: impl Fn(FlowFact) -> FlowFact) -> Payload {
    let now = now_us();
    let one = |minute: i64, at: u64| {
        of(FlowFact {
            received_us: (now - minute * MINUTE).div_euclid(MINUTE) * MINUTE + at as i64,
            ..flow((minute + AHEAD) as u64 * 100_000 + at)
        })
    };
    Payload::Flows(
        (-AHEAD..minutes)
            .flat_map(|minute| (0..each).map(move |at| (minute, at)))
            .map(|(minute, at)| one(minute, at))
            .collect(),
    )
}

async fn all(service: &Service, scope: &SiteScope) -> Vec<StoredAlert> {
    let query = AlertQuery {
        open: None,
        rule: None,
        before: None,
        limit: 100,
    };
    Alerts::new(service.store.catalog().clone()).list(scope, query, now_us()).await.unwrap()
}

async fn of_rule(service: &Service, scope: &SiteScope, rule: &str) -> Option<StoredAlert> {
    let mut found: Vec<_> = all(service, scope).await.into_iter().filter(|alert| alert.rule == rule).collect();
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

fn rule(name: &str, filter: &str, condition: Condition) -> Definition {
    Definition {
        name: name.into(),
        measure: Measure::Records,
        filter: filter.into(),
        scope: Within::Site,
        condition,
        level: Level::Error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_opens_is_not_told_twice_and_ends_only_when_that_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = old_gateway(&service, &scope, &identity).await;
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 0, &flows(10, 20, |flow| flow)).await;
    gateway.acknowledged(Kind::Flows, 0).await;
    let alerts = Alerts::new(service.store.catalog().clone());
    let save = async |id: Option<&str>, definition: Definition| alerts.save_rule(&scope, id, &definition, now_us()).await.unwrap();
    let above = |threshold| Condition::Above { threshold, minutes: 3 };
    let busy = save(None, rule("busy", "dst.port = 443", above(15.0))).await;
    let quiet = save(None, rule("other port", "dst.port = 80", above(15.0))).await;
    let absent = save(None, rule("nothing comes", "dst.port = 80", Condition::Absent { minutes: 5 })).await;
    let gone = save(
        None,
        rule("of a host", &format!("host = {}", Uuid::from_u128(3)), Condition::Absent { minutes: 5 }),
    )
    .await;
    let unknown = save(None, rule("of nobody", "host = nobody", Condition::Absent { minutes: 5 })).await;

    let running = engine(&service);
    for (id, text) in [
        (&busy, "busy: 20 records a minute, above 15 records a minute for 3\u{202f}min"),
        (&absent, "nothing comes: nothing for 5\u{202f}min"),
    ] {
        eventually(text, || async { of_rule(&service, &scope, id).await.is_some() }).await;
        let told = of_rule(&service, &scope, id).await.unwrap();
        assert_eq!((told.says.text.as_str(), told.says.level), (text, Level::Error));
        assert!(told.since_us <= told.opened_us - 3 * MINUTE);
    }
    eventually("a host that nobody knows sends nothing", || async {
        of_rule(&service, &scope, &gone).await.is_some()
    })
    .await;
    for id in [&quiet, &unknown] {
        assert_eq!(of_rule(&service, &scope, id).await, None, "{id}");
    }

    // Nobody can tell while the gateway is away: the absence is not known any more, and what holds already may only be more.
    gateway.connection.close(quinn::VarInt::from_u32(0), b"");
    eventually("it is away", || async { service.gateways.connected(&scope) == 0 }).await;
    let touch = async |id: &str, definition: Definition| save(Some(id), definition).await;
    touch(&absent, rule("nothing comes", "dst.port = 80", Condition::Absent { minutes: 6 })).await;
    touch(&busy, rule("busy", "dst.port = 443", above(100.0))).await;
    running.stop().await;
    service.stop().await;

    // A service that comes back goes on with the alerts that are open.
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.sign_in("ada@example.org").await;
    let catalog = service.store.catalog();
    let (from_us, to_us) = (now_us() - 20 * MINUTE, now_us() - 10 * MINUTE);
    catalog
        .gateway_connected(scope.site(), GATEWAY, "gw-1".into(), "1".into(), identity.fingerprint, from_us)
        .await
        .unwrap();
    catalog.gateway_disconnected(scope.site(), GATEWAY, from_us, to_us).await.unwrap();
    let running = engine(&service);
    for id in [&absent, &busy] {
        eventually("it is not known", || async {
            of_rule(&service, &scope, id).await.unwrap().unknown.is_some()
        })
        .await;
        assert_eq!(of_rule(&service, &scope, id).await.unwrap().resolved, None);
    }
    // What is known again, and holds, is the same alert.
    let alerts = Alerts::new(service.store.catalog().clone());
    let before = of_rule(&service, &scope, &busy).await.unwrap().id;
    let low = rule("busy", "dst.port = 443", Condition::Above { threshold: 1.0, minutes: 1 });
    alerts.save_rule(&scope, Some(&busy), &low, now_us()).await.unwrap();
    eventually("it holds", || async { of_rule(&service, &scope, &busy).await.unwrap().unknown.is_none() }).await;
    assert_eq!(of_rule(&service, &scope, &busy).await.unwrap().id, before);

    // Off and deleted rules end their alerts.
    alerts.switch_rule(&scope, &busy, false, now_us()).await.unwrap();
    assert_eq!(alerts.delete_rule(&scope, &absent).await.unwrap(), "nothing comes");
    for id in [&busy, &absent] {
        eventually("it ends", || async { of_rule(&service, &scope, id).await.unwrap().resolved.is_some() }).await;
    }
    assert!(alerts.delete_rule(&scope, "host-down").await.is_err(), "that is nobody's own");
    running.stop().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_above_the_usual_are_told_of_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = old_gateway(&service, &scope, &identity).await;
    let mut stream = gateway.stream().await;
    let few = |flow| FlowFact {
        // None: it was dropped.
        actions: Arc::new([0]),
        ..flow
    };
    send_batch(&mut stream, EPOCH, 0, &flows(600, 5, few)).await;
    gateway.acknowledged(Kind::Flows, 0).await;
    let running = engine(&service);
    // It was looked at when a rule of people was, too.
    let alerts = Alerts::new(service.store.catalog().clone());
    let sign = rule("sign", "result = dropped", Condition::Above { threshold: 1.0, minutes: 1 });
    let sign = alerts.save_rule(&scope, None, &sign, now_us()).await.unwrap();
    eventually("the sign", || async { of_rule(&service, &scope, &sign).await.is_some() }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(of_rule(&service, &scope, "drops-unusual").await, None, "five a minute are usual");
    running.stop().await;
    let many = |flow: FlowFact| FlowFact {
        actions: Arc::new([0]),
        cookie: flow.cookie + (1 << 40),
        ..flow
    };
    send_batch(&mut stream, EPOCH, 1, &flows(5, 30, many)).await;
    gateway.acknowledged(Kind::Flows, 1).await;
    let running = engine(&service);
    eventually("drops are told", || async { of_rule(&service, &scope, "drops-unusual").await.is_some() }).await;
    let told = of_rule(&service, &scope, "drops-unusual").await.unwrap();
    assert!(told.says.text.contains("at most in the day before"), "{}", told.says.text);
    running.stop().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_make_see_change_and_delete_rules() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, scope) = service.account("ada@example.org").await;
    let identity = service.known_key(&scope).await;
    let mut gateway = old_gateway(&service, &scope, &identity).await;
    let mut stream = gateway.stream().await;
    send_batch(&mut stream, EPOCH, 0, &flows(30, 20, |flow| flow)).await;
    gateway.acknowledged(Kind::Flows, 0).await;
    let address = serve(app(&service)).await;
    let mut ada = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let base = format!("/s/{}", scope.site());

    // From the flow history to a form that is filled in, with a threshold above all that there was.
    let page = ada.get(&format!("{base}/flows?filter=dst.port+%3D+443")).await;
    let link = http::between(&page.body, "href=\"", "\">Alert me on this").unwrap();
    let link = link.rsplit("href=\"").next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
    let form = ada.get(&link).await;
    assert_eq!(form.status, 200, "{link}: {}", form.body);
    assert!(
        form.body.contains("value=\"dst.port = 443\"") && form.body.contains("name=\"amount\" value=\"30\""),
        "{}",
        form.body
    );
    assert_eq!(form.body.matches("<p>0 alerts").count(), 2, "{}", form.body);
    let lower = ada.get(&format!("{link}&amount=10&minutes=3")).await;
    assert_eq!(lower.body.matches("<p>1 alert").count(), 2, "{}", lower.body);
    assert!(lower.body.contains("class=\"alarm\"") && lower.body.contains("class=\"limit\""));
    let wrong = ada.get(&format!("{base}/alerts/rules/new?filter=dst.prt+%3D+1&amount=1")).await;
    assert!(wrong.status == 200 && wrong.body.contains("role=\"alert\""), "{}", wrong.body);

    let csrf = form.csrf();
    let mut fields = vec![
        ("csrf", csrf.as_str()),
        ("deed", "save"),
        ("name", "busy <https>"),
        ("measure", "records"),
        ("filter", "dst.port = 443"),
        ("in", "site"),
        ("is", "above"),
        ("amount", "10"),
        ("minutes", "3"),
    ];
    let save = format!("{base}/alerts/rules/own");
    assert_eq!(ada.post(&save, &fields[1..]).await.status, 403);
    let made = ada.post(&save, &fields).await;
    assert_eq!(made.status, 303, "{}", made.body);
    let list = ada.get(made.location()).await;
    assert!(
        list.body.contains("busy &#60;https&#62;") || list.body.contains("busy &lt;https&gt;"),
        "{}",
        list.body
    );
    let alerts = Alerts::new(service.store.catalog().clone());
    let kept = alerts.own_rules(&scope).await.unwrap();
    let [one] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!(one.definition.condition, Condition::Above { threshold: 10.0, minutes: 3 });
    fields.push(("rule", &one.id));
    fields[7] = ("amount", "12k");
    assert_eq!(ada.post(&save, &fields).await.status, 303);
    let edit = ada.get(&format!("{base}/alerts/rules/{}", one.id)).await;
    assert!(edit.body.contains("value=\"12000\""), "{}", edit.body);
    fields[7] = ("amount", "many");
    assert_eq!(ada.post(&save, &fields).await.status, 422);
    fields[1] = ("deed", "delete");
    assert_eq!(ada.post(&save, &fields).await.status, 303);
    assert_eq!(ada.post(&save, &fields).await.status, 422);
    assert_eq!(ada.get(&format!("{base}/alerts/rules/{}", one.id)).await.status, 404);

    // The same for programs.
    let token = async |scopes: &[Scope]| {
        let wanted = NewToken {
            name: "a program".to_owned(),
            scopes: scopes.iter().copied().collect(),
            sites: None,
            expires_us: None,
        };
        let client = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let token = service
            .accounts
            .create_token(&session, client, PASSWORD.into(), wanted, now_us())
            .await
            .unwrap();
        Client::with_token(address, &token)
    };
    let mut program = token(&[Scope::Alerts, Scope::AlertsAdmin, Scope::Flows]).await;
    let mut blind = token(&[Scope::AlertsAdmin]).await;
    let rules = format!("/api/v1/sites/{}/alerts/rules", scope.site());
    let body = json!({ "name": "drops", "filter": "dst.port = 443", "condition": { "is": "above", "threshold": 10, "minutes": 3 } });
    assert_eq!(
        blind.send("POST", &rules, Some(body.to_string())).await.status,
        403,
        "a rule over flows tells of flows"
    );
    let shown = program.send("POST", &format!("{rules}/preview"), Some(body.to_string())).await;
    let shown: Value = serde_json::from_str(&shown.body).unwrap();
    assert_eq!(shown["day"]["alerts"].as_array().unwrap().len(), 1, "{shown}");
    let made = program.send("POST", &rules, Some(body.to_string())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = serde_json::from_str::<Value>(&made.body).unwrap()["id"].as_str().unwrap().to_owned();
    let one = format!("{rules}/{id}");
    for (body, status) in [
        (json!({ "enabled": false }), 204),
        (json!({ "name": "x", "condition": { "is": "absent", "minutes": 0 } }), 400),
        (
            json!({ "name": "x", "filter": "host = nobody", "condition": { "is": "absent", "minutes": 5 } }),
            400,
        ),
        (json!({ "name": "silence", "condition": { "is": "absent", "minutes": 5 } }), 204),
    ] {
        assert_eq!(program.send("PUT", &one, Some(body.to_string())).await.status, status, "{body}");
    }
    let kept: Value = serde_json::from_str(&program.get(&one).await.body).unwrap();
    assert_eq!((&kept["enabled"], &kept["definition"]["name"]), (&json!(false), &json!("silence")));
    assert_eq!(program.send("DELETE", &one, None).await.status, 204);
    assert_eq!(program.send("DELETE", &one, None).await.status, 404);
    for _ in 0..MOST_OWN {
        assert_eq!(program.send("POST", &rules, Some(body.to_string())).await.status, 201);
    }
    assert_eq!(program.send("POST", &rules, Some(body.to_string())).await.status, 409);
    service.stop().await;
}
