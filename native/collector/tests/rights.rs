// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Who may see and do what: every route with every kind of credential.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use http::{Answer, Client, app, serve};
use insights_collector::{
    accounts::{AccountError, NewToken, Scope, Session, Signed, SiteScope, Visitor},
    clock::now_us,
};
use insights_store::SiteId;
use service::{PASSWORD, Service};
use uuid::Uuid;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DAY: i64 = 86_400_000_000;
const NO_SITE: &str = "There is no such site in your account.";
/// Calls that tell of flows and of the topology: both scopes together open them, and none alone.
const FLOWS_AND_TOPOLOGY: [&str; 2] = ["/flows/{flow}/cause", "/what-if"];

/// Methods and paths of all routes, as they stand where the routers are made: a new one is in the test without being written down twice.
fn routes() -> Vec<(&'static str, String)> {
    let sources = [include_str!("../src/web/mod.rs"), include_str!("../src/api/mod.rs")];
    let mut routes = Vec::new();
    for route in sources.iter().flat_map(|source| source.split(".route(").skip(1)) {
        let path = route.split('"').nth(1).unwrap().to_owned();
        // Behind the last one stands the rest of the file.
        let route = route.split("\n}").next().unwrap();
        for (handler, method) in [("get(", "GET"), ("post(", "POST"), ("put(", "PUT"), ("delete(", "DELETE")] {
            // A handler may be named `delete`, a method has no module before it.
            let given = route
                .match_indices(handler)
                .any(|(at, _)| matches!(route.as_bytes()[at - 1], b' ' | b'.'));
            if given {
                routes.push((method, path.clone()));
            }
        }
    }
    routes
}

/// A route of a site. Whatever else is named may be there or not: the site alone decides.
fn fill(route: &str, site: Uuid) -> String {
    let path = route.replace("{site}", &site.to_string());
    let path = path.replace("{list}", if route.contains("physical") { "hosts" } else { "networks" });
    let path = path.replace("{kind}", "network").replace("{flow}", "1-1");
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            Uuid::nil().to_string()
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn call(client: &mut Client, method: &str, path: &str, form: &[(&str, &str)]) -> Answer {
    match method {
        "GET" => client.get(path).await,
        "POST" => client.post(path, form).await,
        _ => client.send(method, path, Some("{}".to_owned())).await,
    }
}

fn wanted(scopes: &[Scope]) -> NewToken {
    NewToken {
        name: "a program".to_owned(),
        scopes: scopes.iter().copied().collect(),
        sites: None,
        expires_us: None,
    }
}

async fn token(service: &Service, session: &Session, wanted: NewToken) -> String {
    service
        .accounts
        .create_token(session, CLIENT, PASSWORD.into(), wanted, now_us())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_tells_one_account_of_another_accounts_site() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, ada) = service.account("ada@example.org").await;
    let (_, bob) = service.account("bob@example.org").await;
    let address = serve(app(&service)).await;
    let mut client = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let mut stranger = Client::new(address);
    // A token opens the API; to pages it is nothing.
    let mut program = Client::with_token(address, &token(&service, &session, wanted(&Scope::ALL)).await);
    let csrf = client.get("/account").await.csrf();
    let form = [("csrf", csrf.as_str())];
    let mut walked = 0;
    for (method, route) in routes().into_iter().filter(|(_, route)| route.starts_with("/s/{site}")) {
        walked += 1;
        let theirs = call(&mut client, method, &fill(&route, bob.site().0), &form).await;
        assert_eq!(theirs.status, 404, "{method} {route}");
        assert!(theirs.body.contains(NO_SITE), "{method} {route}: {}", theirs.body);
        assert!(!theirs.body.contains("cloud"), "{method} {route} names the site");
        // What does not exist at all is told in the same words.
        let none = call(&mut client, method, &fill(&route, Uuid::from_u128(7)), &form).await;
        assert_eq!((none.status, none.body), (theirs.status, theirs.body), "{method} {route}");
        for nobody in [&mut stranger, &mut program] {
            let refused = call(nobody, method, &fill(&route, ada.site().0), &form).await;
            assert_eq!(refused.status, 303, "{method} {route}");
            assert!(refused.location().starts_with("/sign-in?next="), "{method} {route}");
        }
    }
    assert!(walked > 25, "{walked} routes were found");
    // Forms that name a site in a field.
    for path in ["/account/fingerprints", "/account/fingerprints/delete"] {
        let site = bob.site().to_string();
        let fingerprint = "ab".repeat(32);
        let form = [
            ("csrf", csrf.as_str()),
            ("site", &site),
            ("fingerprint", &fingerprint),
            ("confirm", "cloud"),
        ];
        assert_ne!(client.post(path, &form).await.status, 303, "{path}");
    }
    assert!(service.accounts.fingerprints(&bob).await.unwrap().is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_refuses_every_credential_that_is_not_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, ada) = service.account("ada@example.org").await;
    let (_, bob) = service.account("bob@example.org").await;
    let second = service.accounts.create_site(session.account(), "second", 0, now_us()).await.unwrap();
    let address = serve(app(&service)).await;
    let limited = NewToken {
        sites: Some(vec![second]),
        ..wanted(&Scope::ALL)
    };
    let dying = NewToken {
        expires_us: Some(now_us() + DAY),
        ..wanted(&Scope::ALL)
    };
    let [all, limited, dying, revoked] = [wanted(&Scope::ALL), limited, dying, wanted(&Scope::ALL)];
    let mut all = Client::with_token(address, &token(&service, &session, all).await);
    let mut limited = Client::with_token(address, &token(&service, &session, limited).await);
    let dying = token(&service, &session, dying).await;
    let revoked = token(&service, &session, revoked).await;
    let newest = service.accounts.tokens(&session).await.unwrap();
    let gone = newest.iter().max_by_key(|token| token.created_us).unwrap();
    assert!(service.accounts.revoke_token(&session, gone.id, now_us()).await.unwrap());
    assert!(!service.accounts.revoke_token(&session, gone.id, now_us()).await.unwrap());
    // Each scope alone.
    let mut single = BTreeMap::new();
    for scope in Scope::ALL {
        single.insert(scope, Client::with_token(address, &token(&service, &session, wanted(&[scope])).await));
    }
    let both = token(&service, &session, wanted(&[Scope::Flows, Scope::Topology])).await;
    let mut both = Client::with_token(address, &both);
    let mut signed_in = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let mut nobody = Client::new(address);
    let mut bad: Vec<Client> = [&revoked, "mits_nonsense", &dying[1..], "", &format!("mits_{}", "A".repeat(43))]
        .into_iter()
        .map(|token| Client::with_token(address, token))
        .collect();
    bad.push(Client::new(address));
    bad.last_mut().unwrap().authorization = Some("Basic YWRhOng=".to_owned());

    let (mut walked, mut used) = (0, BTreeSet::new());
    for (method, route) in routes().into_iter().filter(|(_, route)| route.starts_with("/api/")) {
        walked += 1;
        let at = |site: SiteId| fill(&route, site.0);
        let what = format!("{method} {route}");
        let of_site = route.contains("{site}");
        // A foreign site and none at all are told in the same words, by session and by token.
        if of_site {
            for client in [&mut all, &mut signed_in] {
                let theirs = call(client, method, &at(bob.site()), &[]).await;
                let none = call(client, method, &at(SiteId(Uuid::from_u128(7))), &[]).await;
                assert_eq!((theirs.status, &theirs.body), (none.status, &none.body), "{what}");
                assert!(
                    matches!(theirs.status, 403 | 404) && !theirs.body.contains("cloud"),
                    "{what}: {}",
                    theirs.body
                );
            }
            let theirs = call(&mut all, method, &at(bob.site()), &[]).await;
            assert!(theirs.status == 404 && theirs.body.contains(NO_SITE), "{what}: {}", theirs.body);
            // A site of the account that the token leaves out.
            let other = call(&mut limited, method, &at(ada.site()), &[]).await;
            assert_eq!((other.status, &other.body), (theirs.status, &theirs.body), "{what}");
        }
        let good = call(&mut all, method, &at(ada.site()), &[]).await;
        assert!(!matches!(good.status, 401 | 403 | 500..), "{what}: {} {}", good.status, good.body);
        for client in bad.iter_mut().chain([&mut nobody]) {
            let refused = call(client, method, &at(ada.site()), &[]).await;
            assert_eq!(refused.status, 401, "{what}: {}", refused.body);
            assert_eq!(refused.headers["content-type"], "application/problem+json", "{what}");
            assert_eq!(refused.headers["www-authenticate"], "Bearer", "{what}");
        }
        // One scope opens it, or it needs none; all others are told which.
        let mut open = Vec::new();
        for (scope, client) in &mut single {
            let answer = call(client, method, &at(ada.site()), &[]).await;
            if answer.status != 403 {
                open.push(*scope);
                continue;
            }
            let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(problem["title"], "the token lacks a scope", "{what}");
            assert_eq!(problem["scopes"], serde_json::json!([scope]), "{what}");
            let needed = problem["needed"].as_str().unwrap();
            assert!(problem["detail"].as_str().unwrap().ends_with(needed), "{what}");
            assert_eq!(
                answer.headers["www-authenticate"],
                format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"")
            );
        }
        match open[..] {
            [one] => {
                used.insert(one);
            }
            [] if FLOWS_AND_TOPOLOGY.iter().any(|end| route.ends_with(end)) => {
                let answer = call(&mut both, method, &at(ada.site()), &[]).await;
                assert!(!matches!(answer.status, 401 | 403 | 500..), "{what}: {} {}", answer.status, answer.body);
            }
            _ => assert!(open.len() == Scope::ALL.len() && !of_site, "{what} is open to {open:?}"),
        }
        // Changes need a token: what a browser sends by itself is not enough.
        let by_session = call(&mut signed_in, method, &at(ada.site()), &[]).await;
        assert_eq!(by_session.status == 403, method != "GET", "{what}: {}", by_session.body);
    }
    assert!(walked > 15, "{walked} routes were found");
    assert_eq!(used.len(), Scope::ALL.len(), "a scope that opens nothing");
    // What is over is refused as if it had never been.
    let visitor = Visitor::from(CLIENT);
    assert!(service.accounts.bearer(&dying, &visitor, now_us()).await.unwrap().is_some());
    assert!(service.accounts.bearer(&dying, &visitor, now_us() + DAY).await.unwrap().is_none());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_used_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, ada) = service.account("ada@example.org").await;
    let address = serve(app(&service)).await;
    let mut client = Client::signed_in(address, "ada@example.org", PASSWORD).await;
    let csrf = client.get("/account/tokens").await.csrf();
    let site = ada.site().to_string();
    let form = |name: &'static str, until: &'static str, password: &'static str| {
        vec![
            ("csrf", csrf.clone()),
            ("name", name.to_owned()),
            ("until", until.to_owned()),
            ("scope", "site".to_owned()),
            ("scope", "site-admin".to_owned()),
            ("site", site.clone()),
            ("password", password.to_owned()),
        ]
    };
    for (name, until, password, wrong) in [
        ("deploy", "", "not it", "The password is wrong."),
        (" ", "", PASSWORD, "A name has 1 to 200 characters."),
        ("deploy", "2001-01-01", PASSWORD, "The last day is a day to come."),
        ("deploy", "someday", PASSWORD, "The last day is a day to come."),
    ] {
        let form = form(name, until, password);
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = client.post("/account/tokens", &form).await;
        assert_eq!(refused.status, 422, "{wrong}");
        assert!(refused.body.contains(wrong), "{wrong}");
        // What was ticked still is.
        assert_eq!(refused.body.matches(" checked").count(), 3, "{wrong}");
    }
    let sent = form("deploy", "2999-12-31", PASSWORD);
    let sent: Vec<_> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(client.post("/account/tokens", &sent[1..]).await.status, 403);
    let made = client.post("/account/tokens", &sent).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let secret = http::between(&made.body, "<code>mits_", "</code>").unwrap();
    let secret = format!("mits_{secret}");
    let page = client.get("/account/tokens").await;
    assert!(page.body.contains("deploy") && page.body.contains("only cloud") && page.body.contains("never"));
    assert!(!page.body.contains(&secret));
    // It is on no disk.
    for file in std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{}",
            file.display()
        );
    }

    let mut program = Client::with_token(address, &secret);
    let about: serde_json::Value = serde_json::from_str(&program.get("/api/v1/account").await.body).unwrap();
    assert_eq!((&about["by"], &about["token"]["name"]), (&"token".into(), &"deploy".into()));
    assert_eq!(about["token"]["scopes"], serde_json::json!(["site", "site-admin"]));
    let base = format!("/api/v1/sites/{}", ada.site());
    let key = "ab".repeat(32);
    let body = serde_json::json!({ "fingerprint": key, "label": "gw-9" }).to_string();
    let path = format!("{base}/fingerprints");
    assert_eq!(program.send("POST", &path, Some(body.clone())).await.status, 201);
    assert_eq!(program.send("POST", &path, Some(body)).await.status, 409);
    assert_eq!(program.send("POST", &path, Some("x".to_owned())).await.status, 400);
    assert!(program.get(&path).await.body.contains("gw-9"));
    let one = format!("{path}/{key}");
    assert_eq!(program.send("DELETE", &one, None).await.status, 204);
    assert_eq!(program.send("DELETE", &one, None).await.status, 404);
    let settings = format!("{base}/settings");
    assert_eq!(program.send("PUT", &settings, Some(r#"{"flows":false}"#.to_owned())).await.status, 200);
    assert_eq!(
        program
            .send("PUT", &settings, Some(r#"{"metering_interval_s":4}"#.to_owned()))
            .await
            .status,
        400
    );
    assert!(program.get(&settings).await.body.contains("\"flows\":false"));
    let page = client.get("/account/tokens").await;
    assert!(page.body.contains("from 127.0.0.1"), "{}", page.body);

    let id = http::between(&page.body, "name=\"id\" value=\"", "\"").unwrap();
    assert_eq!(client.post("/account/tokens/revoke", &[("id", &id)]).await.status, 403);
    let revoked = client.post("/account/tokens/revoke", &[("csrf", &csrf), ("id", &id)]).await;
    assert_eq!(revoked.location(), "/account/tokens?done=revoked");
    assert_eq!(program.get("/api/v1/account").await.status, 401);
    // A token for a site of somebody else can't be made, nor one for nothing.
    for wrong in [
        NewToken {
            sites: Some(vec![SiteId(Uuid::from_u128(7))]),
            ..wanted(&Scope::ALL)
        },
        wanted(&[]),
    ] {
        let made = service.accounts.create_token(&session, CLIENT, PASSWORD.into(), wrong, now_us()).await;
        assert!(matches!(made, Err(AccountError::NoSite | AccountError::NoScope)));
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_with_their_account() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let (session, _): (Session, SiteScope) = service.account("ada@example.org").await;
    let text = token(&service, &session, wanted(&[Scope::Flows])).await;
    let visitor = Visitor::from(CLIENT);
    assert!(service.accounts.bearer(&text, &visitor, now_us()).await.unwrap().is_some());
    service.accounts.delete(&session, CLIENT, PASSWORD.into(), now_us()).await.unwrap();
    assert!(service.accounts.bearer(&text, &visitor, now_us()).await.unwrap().is_none());
    service.stop().await;
}
