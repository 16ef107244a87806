// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What becomes of alerts reaches a mail server and a web server on the loopback, signed, and again when it was not taken.

#![allow(clippy::unwrap_used)]

mod http;
mod service;
mod smtp;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use http::{Client, app, between, serve};
use insights_collector::{
    accounts::{Mailer, SiteScope},
    alerts::{Alerts, Courier, CourierParts, Format, NewReceiver, Webhook},
    clock::now_us,
};
use insights_store::catalog::{AlertChange, AlertDeed, AlertText, Level};
use serde_json::Value;
use service::{PASSWORD, PATIENCE, Service, eventually};
use sha2::{Digest, Sha256};
use smtp::{next, options, smtp_server};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
};

/// A request that the web server got.
struct Posted {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// A web server that answers every request with the status of now.
async fn web_server(status: Arc<AtomicU16>) -> (u16, mpsc::UnboundedReceiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, posted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                lines.push(line.trim_end().to_owned());
            }
            let headers: BTreeMap<String, String> = lines
                .iter()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let status = status.load(Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let path = lines[0].split(' ').nth(1).unwrap().to_owned();
            let body = String::from_utf8(body).unwrap();
            let _ = out.send(Posted { path, headers, body });
        }
    });
    (port, posted)
}

async fn posted(from: &mut mpsc::UnboundedReceiver<Posted>) -> Posted {
    tokio::time::timeout(PATIENCE, from.recv()).await.expect("a request").unwrap()
}

/// HMAC as the receiver would check it, by its definition.
fn hmac(secret: &str, data: &str) -> String {
    let pad = |with: u8| {
        let mut block = [with; 64];
        secret.bytes().zip(&mut block).for_each(|(byte, place)| *place ^= byte);
        block
    };
    let inner = Sha256::digest([&pad(0x36)[..], data.as_bytes()].concat());
    hex::encode(Sha256::digest([&pad(0x5c)[..], &inner[..]].concat()))
}

fn opened(subject: &str) -> AlertChange {
    AlertChange::Open {
        rule: "host-down".into(),
        subject: subject.into(),
        since_us: now_us() - 5,
        says: AlertText {
            level: Level::Error,
            text: format!("Host {subject} is down"),
            about: "{}".into(),
            value: None,
            threshold: None,
            members: 0,
        },
    }
}

fn ended(subject: &str) -> AlertChange {
    AlertChange::Resolve {
        rule: "host-down".into(),
        subject: subject.into(),
        why: "it is over".into(),
    }
}

fn courier(service: &Service, mail_port: u16, allowed: &[&str]) -> Courier {
    Courier::start(CourierParts {
        catalog: service.store.catalog().clone(),
        mailer: Mailer::smtp(options(mail_port), "http://insights.test"),
        allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(),
    })
}

async fn secret_of(alerts: &Alerts, scope: &SiteScope) -> String {
    let all = alerts.receivers(scope).await.unwrap();
    let webhook = all.iter().find(|target| target.kind == "webhook").unwrap();
    serde_json::from_str::<Webhook>(&webhook.definition).unwrap().secret
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_reach_a_mailbox_and_a_webhook_and_wait_until_they_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let catalog = service.store.catalog().clone();
    let alerts = Alerts::new(catalog.clone());
    let (mail_port, mut mails) = smtp_server(None).await;
    let status = Arc::new(AtomicU16::new(503));
    let (port, mut requests) = web_server(status.clone()).await;
    alerts
        .add_receiver(&scope, "mail", NewReceiver::Mail, Level::Warning, now_us())
        .await
        .unwrap();
    let webhook = NewReceiver::Webhook {
        url: format!("http://127.0.0.1:{port}/hook?x=1"),
        format: Format::Json,
        key: String::new(),
    };
    alerts.add_receiver(&scope, "hook", webhook, Level::Warning, now_us()).await.unwrap();

    // Written with the alert, sent later by whoever runs then.
    catalog.change_alerts(scope.site(), vec![opened("h")], None, now_us()).await.unwrap();
    assert_eq!(alerts.waiting(&scope).await.unwrap(), 2);
    let running = courier(&service, mail_port, &["127.0.0.0/8"]);
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "ada@example.org");
    assert!(mail.text.contains("Subject: [cloud] Critical: Host h is down"), "{}", mail.text);
    assert!(mail.link().starts_with(&format!("/s/{}/alerts/", scope.site())));
    let first = posted(&mut requests).await;
    assert_eq!(first.path, "/hook?x=1");
    let (at, mac) = first.headers["insights-signature"]
        .strip_prefix("t=")
        .unwrap()
        .split_once(",v1=")
        .unwrap();
    let secret = secret_of(&alerts, &scope).await;
    assert_eq!(mac, hmac(&secret, &format!("{at}.{}", first.body)));
    let body: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(body["notices"][0]["alert"]["text"], "Host h is down");
    // It said that it can't: the same notice comes again, from another run of the service, too.
    eventually("the failure is shown", || async {
        let all = alerts.receivers(&scope).await.unwrap();
        all.iter()
            .any(|target| target.failed.as_ref().is_some_and(|(_, why)| why == "it answers with status 503"))
    })
    .await;
    running.stop().await;
    assert_eq!(alerts.waiting(&scope).await.unwrap(), 1);
    status.store(204, Ordering::SeqCst);
    let running = courier(&service, mail_port, &["127.0.0.0/8"]);
    let again = posted(&mut requests).await;
    assert_eq!(again.headers["insights-delivery"], first.headers["insights-delivery"]);
    eventually("nothing waits", || async { alerts.waiting(&scope).await.unwrap() == 0 }).await;

    // The end of an alert is told; of one that opens and ends in silence nothing is.
    catalog
        .change_alerts(scope.site(), vec![ended("h"), opened("quiet")], None, now_us())
        .await
        .unwrap();
    let over: Value = serde_json::from_str(&posted(&mut requests).await.body).unwrap();
    assert_eq!(over["notices"][0]["what"], "resolved");
    assert!(posted(&mut requests).await.body.contains("Host quiet is down"));
    eventually("nothing waits", || async { alerts.waiting(&scope).await.unwrap() == 0 }).await;
    let quiet = alerts.open(&scope, now_us()).await.unwrap()[0].id;
    let hour = now_us() + 3_600_000_000;
    alerts.act(&scope, quiet, AlertDeed::Silence { until_us: hour }, now_us()).await.unwrap();
    catalog.change_alerts(scope.site(), vec![ended("quiet")], None, now_us()).await.unwrap();
    assert!(posted(&mut requests).await.body.contains("resolved"), "its begin was told");
    eventually("nothing waits", || async { alerts.waiting(&scope).await.unwrap() == 0 }).await;
    catalog.change_alerts(scope.site(), vec![opened("quiet")], None, now_us()).await.unwrap();
    assert_eq!(alerts.waiting(&scope).await.unwrap(), 2, "it is told when the silence ends");
    catalog.change_alerts(scope.site(), vec![ended("quiet")], None, now_us()).await.unwrap();
    assert_eq!(alerts.waiting(&scope).await.unwrap(), 0);
    running.stop().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_leads_out_only_and_follows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (_, scope) = service.account("ada@example.org").await;
    let address = serve(app(&service)).await;
    let alerts = Alerts::new(service.store.catalog().clone());
    let status = Arc::new(AtomicU16::new(307));
    let (port, mut requests) = web_server(status).await;
    let mut client = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let page = format!("/s/{}/alerts", scope.site());
    let csrf = client.get(&page).await.csrf();
    let receivers = format!("{page}/receivers");
    let url = format!("http://localhost:{port}/hidden");
    let add = |url: &str| {
        [("deed", "webhook"), ("name", "hook"), ("format", "slack"), ("url", url), ("csrf", &csrf)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let form = add("http://user@example.org/");
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let refused = client.post(&receivers, &form).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    let form = add(&url);
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(client.post(&receivers, &form).await.status, 303);
    let id = alerts.receivers(&scope).await.unwrap()[0].id.to_string();
    let test = [("deed", "test"), ("id", id.as_str()), ("csrf", csrf.as_str())];
    assert_eq!(client.post(&receivers, &test).await.status, 303);
    let why = || async {
        alerts.receivers(&scope).await.unwrap()[0]
            .failed
            .clone()
            .map(|(_, why)| why)
            .unwrap_or_default()
    };

    // Without an operator's word the loopback is out of reach.
    let running = courier(&service, 1, &[]);
    eventually("it is refused", || async { why().await.contains("may not reach") }).await;
    running.stop().await;
    assert!(requests.try_recv().is_err(), "somebody called");
    // With it, a redirect is an answer like any other that is no success.
    let running = courier(&service, 1, &["127.0.0.0/8", "::1/128"]);
    let posted = posted(&mut requests).await;
    let body: Value = serde_json::from_str(&posted.body).unwrap();
    assert!(body["text"].as_str().unwrap().starts_with("*cloud*\nTest: "), "{}", posted.body);
    eventually("it is not followed", || async { why().await.contains("redirects (status 307)") }).await;
    running.stop().await;
    let shown = client.get(&format!("{page}?view=receivers")).await.body;
    assert!(shown.contains("redirects (status 307)") && !shown.contains("/hidden"), "{shown}");
    assert!(between(&shown, "data-copy=\"", "\"").is_some_and(|secret| secret.len() == 64));
    let delete = [("deed", "delete"), ("id", id.as_str()), ("csrf", csrf.as_str())];
    assert_eq!(client.post(&receivers, &delete).await.status, 303);
    assert_eq!(alerts.waiting(&scope).await.unwrap(), 0);
    service.stop().await;
}
