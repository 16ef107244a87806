// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From a sign-up to the deletion of the account, with mails read from a real SMTP server on the loopback.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::{path::Path, sync::Arc, time::Duration};

use http::{Client, between, serve};
use insights_collector::{
    accounts::{Accounts, Mailer, SmtpOptions, SmtpTls},
    clock::now_us,
    query::scoped::Stores,
    web::App,
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use service::Service;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

const PASSWORD: &str = "a password that is long";

/// A mail as the server took it.
#[derive(Debug)]
struct Got {
    to: String,
    login: Option<String>,
    secured: bool,
    text: String,
}

impl Got {
    /// The path of the link in it.
    fn link(&self) -> String {
        // Long lines are folded in transit (quoted-printable).
        let text = self.text.replace("=\r\n", "").replace("=3D", "=");
        let path = between(&text, "http://insights.test", "\r\n").unwrap();
        path.trim().to_owned()
    }
}

/// An SMTP server: with a certificate it offers STARTTLS and takes mail and passwords behind it only.
async fn smtp_server(tls: Option<TlsAcceptor>) -> (u16, mpsc::UnboundedReceiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (out, mails) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(greet(stream, tls.clone(), out.clone()));
        }
    });
    (port, mails)
}

async fn greet(mut stream: TcpStream, tls: Option<TlsAcceptor>, out: mpsc::UnboundedSender<Got>) {
    stream.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
    let Some(tls) = tls else {
        talk(BufReader::new(stream), false, out).await;
        return;
    };
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let answer: &[u8] = if line.starts_with("EHLO") {
            b"250-mail.test\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
        } else if line.starts_with("STARTTLS") {
            b"220 go ahead\r\n"
        } else {
            b"530 STARTTLS first\r\n"
        };
        reader.write_all(answer).await.unwrap();
        if line.starts_with("STARTTLS") {
            break;
        }
    }
    let Ok(stream) = tls.accept(reader.into_inner()).await else { return };
    talk(BufReader::new(stream), true, out).await;
}

async fn talk(mut stream: BufReader<impl AsyncRead + AsyncWrite + Unpin>, secured: bool, out: mpsc::UnboundedSender<Got>) {
    let (mut to, mut login) = (String::new(), None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let answer: &[u8] = match line.split([' ', '\r']).next().unwrap() {
            "EHLO" if secured => b"250-mail.test\r\n250 AUTH PLAIN\r\n",
            "EHLO" | "MAIL" => b"250 fine\r\n",
            "AUTH" => {
                login = Some(line.trim().trim_start_matches("AUTH PLAIN ").to_owned());
                b"235 come in\r\n"
            }
            "RCPT" => {
                to = between(&line, "<", ">").unwrap();
                b"250 fine\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut text).await.unwrap();
                }
                let login = login.clone();
                out.send(Got {
                    to: to.clone(),
                    login,
                    secured,
                    text,
                })
                .unwrap();
                b"250 taken\r\n"
            }
            "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n").await;
                return;
            }
            _ => b"500 what\r\n",
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

fn options(port: u16) -> SmtpOptions {
    SmtpOptions {
        host: "127.0.0.1".to_owned(),
        port,
        tls: SmtpTls::None,
        ca: None,
        login: None,
        from: "MidoInsights <insights@mail.test>".to_owned(),
    }
}

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

async fn next(mails: &mut mpsc::UnboundedReceiver<Got>) -> Got {
    tokio::time::timeout(service::PATIENCE, mails.recv()).await.expect("a mail").unwrap()
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
        let late = accounts.set_forgotten_password(token, PASSWORD.into(), now + 3_600_000_000).await;
        assert!(late.is_err(), "an hour is over");
        good += usize::from(accounts.set_forgotten_password(token, PASSWORD.into(), now + 1).await.is_ok());
    }
    assert_eq!(good, 1);
    service.stop().await;
}
