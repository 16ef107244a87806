// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the log of an account has: who did what, when, from where; and that nobody else sees it.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::net::IpAddr;

use http::{Client, app, serve};
use insights_collector::{
    accounts::{AccountError, Accounts, AuditLine, AuditQuery, NewToken, Scope, Session},
    clock::now_us,
};
use insights_store::catalog::Catalog;
use service::{PASSWORD, Service, eventually};

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const DAY: i64 = 86_400_000_000;
const NOW: i64 = 1_700_000_000_000_000;

async fn log(accounts: &Accounts, session: &Session, what: &str) -> Vec<AuditLine> {
    let query = AuditQuery {
        what: what.to_owned(),
        limit: 100,
        ..AuditQuery::default()
    };
    accounts.audit(session, query).await.unwrap().0
}

async fn signed_in(accounts: &Accounts, email: &str) -> Session {
    let signed = accounts.sign_in(email, PASSWORD.to_owned(), HOME, NOW).await.unwrap();
    accounts.session(&signed.token, NOW).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_done_and_refused_is_kept_with_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::new(Catalog::open(dir.path()).unwrap());
    for email in ["ada@example.org", "bob@example.org"] {
        accounts.create(email, "A", PASSWORD.to_owned(), NOW).await.unwrap();
    }
    let thief: IpAddr = "198.51.100.7".parse().unwrap();
    let refused = accounts.sign_in("ada@example.org", "a guess".to_owned(), thief, NOW).await;
    assert!(matches!(refused, Err(AccountError::Refused)));
    let session = signed_in(&accounts, "ada@example.org").await;
    // It is kept a little later: the answer does not wait for it.
    eventually("the guess is in the log", async || log(&accounts, &session, "session.").await.len() == 2).await;
    let mut entries = log(&accounts, &session, "session.").await;
    entries.sort_by_key(|line| line.done);
    assert!(!entries[0].done && entries[0].text.contains("wrong password") && entries[0].address == "198.51.100.7");
    assert!(entries[1].done && entries[1].text.contains("signed in with the password") && entries[1].address == "192.0.2.1");

    accounts.rename(&session, "Ada", NOW + 1).await.unwrap();
    let wrong = accounts
        .change_password(&session, HOME, "wrong".into(), "another long one".to_owned(), NOW + 2)
        .await;
    assert!(wrong.is_err());
    let site = accounts.add_site(&session, "eu", NOW + 3).await.unwrap();
    let scope = accounts.scope(&session, site).await.unwrap();
    accounts.add_fingerprint(&scope, &"ab".repeat(32), "gw", NOW + 4).await.unwrap();
    let wanted = NewToken {
        name: "exporter".to_owned(),
        scopes: [Scope::SiteAdmin].into(),
        sites: None,
        expires_us: None,
    };
    let token = accounts.create_token(&session, HOME, PASSWORD.into(), wanted, NOW + 5).await.unwrap();
    let bearer = accounts.bearer(&token, &thief.into(), NOW + 6).await.unwrap().unwrap();
    let by_token = accounts.scope(&bearer, site).await.unwrap();
    accounts.delete_fingerprint(&by_token, &"ab".repeat(32), NOW + 7).await.unwrap();
    accounts
        .reset_password(insights_collector::accounts::Signed::account(&session), PASSWORD.to_owned(), NOW + 8)
        .await
        .unwrap();

    let lines = log(&accounts, &session, "").await;
    let told: Vec<_> = lines
        .iter()
        .rev()
        .skip(2)
        .map(|line| (line.what.as_str(), line.done, line.address.as_str(), line.by.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("account.name", true, "192.0.2.1", "manager"),
            ("account.confirm", false, "192.0.2.1", "manager"),
            ("site.added", true, "192.0.2.1", "manager"),
            ("site.fingerprint", true, "192.0.2.1", "manager"),
            ("token.made", true, "192.0.2.1", "manager"),
            ("site.fingerprint", true, "198.51.100.7", "token exporter"),
            ("account.password", true, "", "the operator"),
        ]
    );
    assert_eq!(lines[1].site, Some(site));
    // Of one group, of what was refused, of a text in any case, page by page.
    assert_eq!(log(&accounts, &session, "site.").await.len(), 3);
    let query = |refused, find: &str, before, limit| AuditQuery {
        what: String::new(),
        refused,
        find: find.to_owned(),
        before,
        limit,
    };
    assert_eq!(accounts.audit(&session, query(true, "", None, 10)).await.unwrap().0.len(), 2);
    assert_eq!(accounts.audit(&session, query(false, "EXPORTER", None, 10)).await.unwrap().0.len(), 2);
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let (page, next) = accounts.audit(&session, query(false, "", before, 4)).await.unwrap();
        paged.extend(page.into_iter().map(|line| line.id));
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(paged, lines.iter().map(|line| line.id).collect::<Vec<_>>());
    // Bob has his own.
    let bob = signed_in(&accounts, "bob@example.org").await;
    let his = log(&accounts, &bob, "").await;
    assert!(his.len() == 1 && his[0].what == "session.in");
    // It ends, and goes with the account.
    assert_eq!(accounts.forget_audit(NOW + 400 * DAY + 2).await.unwrap(), 4);
    accounts.delete(&session, HOME, PASSWORD.into(), NOW + 9).await.unwrap();
    assert_eq!(accounts.audit_count(&session).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn page_api_and_file_show_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, ada) = service.account("ada@example.org").await;
    let address = serve(app(&service)).await;
    let mut client = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let csrf = client.get("/account").await.csrf();
    client.post("/account/name", &[("csrf", &csrf), ("name", "<b>Ada</b>")]).await;
    let page = client.get("/account/audit").await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.contains("the name is &#60;b&#62;Ada") && page.body.contains("from 127.0.0.1"),
        "{}",
        page.body
    );
    for (path, there) in [
        ("?kind=account", true),
        ("?kind=session", false),
        ("?find=the+NAME", true),
        ("?kind=account&find=nothing", false),
    ] {
        let body = client.get(&format!("/account/audit{path}")).await.body;
        assert_eq!(body.contains("the name is"), there, "{path}");
    }
    assert_eq!(client.get("/account/audit?kind=x").await.status, 400);
    assert_eq!(client.get("/account/audit?before=x").await.status, 400);
    let file = client.get("/account/audit?format=csv").await;
    assert!(file.headers["content-type"].starts_with("text/csv"));
    assert!(file.body.starts_with("time,what,outcome,text,address,by,site"), "{}", file.body);
    assert!(client.get("/account/audit?before=1").await.body.contains("Newest"));

    // A token that is for another site does not see what was done to this one.
    let second = service
        .accounts
        .create_site(insights_collector::accounts::Signed::account(&session), "second", 0, now_us())
        .await
        .unwrap();
    service.accounts.add_fingerprint(&ada, &"cd".repeat(32), "gw", now_us()).await.unwrap();
    let mut seen = Vec::new();
    for sites in [None, Some(vec![second])] {
        let wanted = NewToken {
            name: "reader".to_owned(),
            scopes: [Scope::Account].into(),
            sites,
            expires_us: None,
        };
        let token = service
            .accounts
            .create_token(&session, HOME, PASSWORD.into(), wanted, now_us())
            .await
            .unwrap();
        let answer = Client::with_token(address, &token).get("/api/v1/account/audit?kind=site").await;
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        seen.push(body["entries"].as_array().unwrap().len());
    }
    assert_eq!(seen, [1, 0]);
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let body: serde_json::Value = serde_json::from_str(&client.get(&format!("/api/v1/account/audit?limit=2{next}")).await.body).unwrap();
        let entries = body["entries"].as_array().unwrap();
        assert!(entries.len() <= 2);
        all.extend(entries.iter().map(|entry| entry["what"].as_str().unwrap().to_owned()));
        match body["next"].as_u64() {
            Some(id) => next = format!("&before={id}"),
            None => break,
        }
    }
    assert!(
        all.len() > 4 && all.iter().any(|what| what == "token.made") && all.iter().any(|what| what == "site.fingerprint"),
        "{all:?}"
    );
    for wrong in ["limit=0", "limit=x", "before=x"] {
        assert_eq!(client.get(&format!("/api/v1/account/audit?{wrong}")).await.status, 400, "{wrong}");
    }
    service.stop().await;
}
