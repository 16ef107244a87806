// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From a sign-up to the deletion of the account, with mails read from a real SMTP server on the loopback.

#![allow(clippy::unwrap_used)]

mod http;
mod service;
mod smtp;

use std::{path::Path, sync::Arc, time::Duration};

use http::{Client, serve};
use insights_collector::{
    accounts::{Accounts, Mailer, SmtpOptions, SmtpTls},
    clock::now_us,
    query::scoped::Stores,
    web::App,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use service::Service;
use smtp::{next, options, smtp_server};
use tokio_rustls::TlsAcceptor;

const PASSWORD: &str = "a password that is long";
const CLIENT: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn manager(dir: &Path, smtp: SmtpOptions) -> (Service, std::net::SocketAddr, Accounts) {
    let service = Service::start(dir).await;
    let accounts = Accounts::new(service.store.catalog().clone()).with_mailer(Mailer::smtp(smtp, "http://insights.test/"));
    let app = App {
        stores: Stores::new(service.store.clone()),
        accounts: accounts.clone(),
        sites: service.sites.clone(),
        gateways: service.gateways.clone(),
        secure: false,
        sign_up: true,
        clock: now_us,
    };
    let address = serve(app).await;
    (service, address, accounts)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_opened_used_moved_and_deleted_by_its_mails() {
    let dir = tempfile::tempdir().unwrap();
    let (port, mut mails) = smtp_server(None).await;
    let (service, address, _) = manager(dir.path(), options(port)).await;
    let mut client = Client::new(address);

    // Sign up; the password is chosen behind the link, which works once, and not by looking at it.
    let form = [("email", "ada@example.org"), ("name", "Ada"), ("site", "eu-west")];
    let asked = client.post("/sign-up", &form).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "ada@example.org");
    let link = mail.link();
    assert_eq!(client.get(&link).await.status, 200);
    assert_eq!(client.get(&link).await.status, 200);
    let (path, token) = link.split_once("?token=").unwrap();
    let short = client.post(path, &[("token", token), ("password", "short")]).await;
    assert_eq!(short.status, 422);
    let opened = client.post(path, &[("token", token), ("password", PASSWORD)]).await;
    assert_eq!((opened.status, opened.location()), (303, "/sign-in?done=opened"), "{}", opened.body);
    let again = client.post(path, &[("token", token), ("password", PASSWORD)]).await;
    assert!(again.status == 422 && again.body.contains("This link is not good"));

    // Who asks for it again gets the same answer, and the mail tells the owner.
    let known = client
        .post("/sign-up", &[("email", "ADA@example.org"), ("name", "Eve"), ("site", "x")])
        .await;
    assert_eq!((known.status, &known.body), (asked.status, &asked.body));
    assert!(next(&mut mails).await.text.contains("Subject: You have an account"));
    let stranger = client.post("/forgot", &[("email", "nobody@example.org")]).await;
    let forgot = client.post("/forgot", &[("email", "ada@example.org")]).await;
    assert_eq!((stranger.status, &stranger.body), (forgot.status, &forgot.body));

    // A forgotten password: the mail to nobody was not sent, so that the next one is Ada's.
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "ada@example.org");
    let mut signed_in = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    assert!(signed_in.get("/account").await.body.contains("eu-west"));
    let link = mail.link();
    let (path, token) = link.split_once("?token=").unwrap();
    let new = "another long password";
    assert_eq!(client.post(path, &[("token", token), ("password", new)]).await.status, 303);
    assert_eq!(signed_in.get("/account").await.status, 303, "its sessions have ended");
    assert_eq!(
        client
            .post("/sign-in", &[("email", "ada@example.org"), ("password", PASSWORD)])
            .await
            .status,
        401
    );

    // Another address: the old one is told, the new one has the link.
    let mut client = Client::signed_in(address, "ada@example.org", new).await;
    let csrf = client.get("/account").await.csrf();
    let wrong = client
        .post("/account/email", &[("csrf", &csrf), ("email", "ada@new.test"), ("password", PASSWORD)])
        .await;
    assert!(wrong.status == 422 && wrong.body.contains("The password is wrong."));
    let form = [("csrf", csrf.as_str()), ("email", "ada@new.test"), ("password", new)];
    assert_eq!(client.post("/account/email", &form).await.location(), "/account?done=mailed");
    let mut two = [next(&mut mails).await, next(&mut mails).await];
    two.sort_by(|a, b| a.to.cmp(&b.to));
    assert_eq!((two[0].to.as_str(), two[1].to.as_str()), ("ada@example.org", "ada@new.test"));
    let link = two[1].link();
    let (path, token) = link.split_once("?token=").unwrap();
    assert_eq!(client.post(path, &[("token", token)]).await.location(), "/account?done=email");
    assert!(client.get("/account").await.body.contains("ada@new.test"));

    // Deletion needs the address and the password.
    let csrf = client.get("/account/delete").await.csrf();
    for (confirm, password) in [("ada@example.org", new), ("ada@new.test", "wrong")] {
        let form = [("csrf", csrf.as_str()), ("confirm", confirm), ("password", password)];
        assert_eq!(client.post("/account/delete", &form).await.status, 422, "{confirm}");
    }
    let form = [("csrf", csrf.as_str()), ("confirm", "ada@new.test"), ("password", new)];
    assert_eq!(client.post("/account/delete", &form).await.location(), "/sign-in?done=deleted");
    let answer = client.post("/sign-in", &[("email", "ada@new.test"), ("password", new)]).await;
    assert_eq!(answer.status, 401);
    assert!(service.store.catalog().accounts().await.unwrap().is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_go_out_through_tls_with_a_password_and_not_without() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let (port, mut mails) = smtp_server(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let (plain_port, mut plain_mails) = smtp_server(None).await;
    let secured = SmtpOptions {
        host: "localhost".to_owned(),
        tls: SmtpTls::Starttls,
        ca: Some(key.cert.pem().into_bytes()),
        login: Some(("insights".to_owned(), "secret".to_owned())),
        ..options(port)
    };
    let dir = tempfile::tempdir().unwrap();
    let (service, address, _) = manager(dir.path(), secured.clone()).await;
    let mut client = Client::new(address);
    let form = [("email", "ada@example.org"), ("name", "Ada"), ("site", "eu-west")];
    client.post("/sign-up", &form).await;
    let mail = next(&mut mails).await;
    // `\0insights\0secret`
    assert_eq!((mail.secured, mail.login.as_deref()), (true, Some("AGluc2lnaHRzAHNlY3JldA==")));
    service.stop().await;

    // A server that offers no TLS gets neither mail nor password.
    let dir = tempfile::tempdir().unwrap();
    let refusing = SmtpOptions { port: plain_port, ..secured };
    let (service, address, _) = manager(dir.path(), refusing).await;
    Client::new(address).post("/sign-up", &form).await;
    assert!(tokio::time::timeout(Duration::from_secs(2), plain_mails.recv()).await.is_err());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_throttled_and_links_end() {
    let dir = tempfile::tempdir().unwrap();
    let (port, mut mails) = smtp_server(None).await;
    let (service, _, accounts) = manager(dir.path(), options(port)).await;
    let now = now_us();
    let client = "192.0.2.1".parse().unwrap();
    accounts.create("ada@example.org", "Ada", PASSWORD.into(), now).await.unwrap();
    for _ in 0..20 {
        accounts.forgot_password("ada@example.org", client, now).await.unwrap();
    }
    let mut sent = vec![next(&mut mails).await];
    while let Ok(Some(mail)) = tokio::time::timeout(Duration::from_secs(1), mails.recv()).await {
        sent.push(mail);
    }
    assert_eq!(sent.len(), 5);
    // Of several links the last is good, and for an hour.
    let mut good = 0;
    for mail in &sent {
        let link = mail.link();
        let token = link.split_once("?token=").unwrap().1;
        let late = accounts.set_forgotten_password(token, PASSWORD.into(), CLIENT, now + 3_600_000_000).await;
        assert!(late.is_err(), "an hour is over");
        good += usize::from(accounts.set_forgotten_password(token, PASSWORD.into(), CLIENT, now + 1).await.is_ok());
    }
    assert_eq!(good, 1);
    service.stop().await;
}
