// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Signing in, against a real catalogue.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use insights_collector::accounts::{AccountError, Accounts, SESSION_US, Signed, Visitor};
use insights_store::catalog::Catalog;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "correct horse battery staple";
const NOW: i64 = 1_700_000_000_000_000;

async fn accounts() -> (tempfile::TempDir, Accounts) {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::new(Catalog::open(dir.path()).unwrap());
    accounts.create("Ada@example.org", "Ada", PASSWORD.into(), NOW).await.unwrap();
    (dir, accounts)
}

#[tokio::test]
async fn a_session_lasts_until_it_is_over_or_ended() {
    let (dir, accounts) = accounts().await;
    let signed_in = accounts.sign_in("ada@EXAMPLE.org", PASSWORD.into(), CLIENT, NOW).await.unwrap();
    let session = accounts.session(&signed_in.token, NOW + 1).await.unwrap().unwrap();
    assert_eq!((&*session.name, &*session.email), ("Ada", "Ada@example.org"));
    assert!(accounts.session(&signed_in.token, NOW + SESSION_US).await.unwrap().is_none());
    assert!(accounts.session("another token", NOW + 1).await.unwrap().is_none());
    // Neither password nor token is on the disk.
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [PASSWORD, &signed_in.token] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
    accounts.sign_out(&session, NOW + 1).await.unwrap();
    assert!(accounts.session(&signed_in.token, NOW + 1).await.unwrap().is_none());
}

#[tokio::test]
async fn who_exists_is_not_told() {
    let (_dir, accounts) = accounts().await;
    let mut answers = Vec::new();
    for email in ["ada@example.org", "nobody@example.org"] {
        let mut told = Vec::new();
        for _ in 0..7 {
            let error = accounts.sign_in(email, "wrong password".into(), CLIENT, NOW).await.unwrap_err();
            assert!(matches!(error, AccountError::Refused));
            told.push(error.to_string());
        }
        answers.push(told);
    }
    assert_eq!(answers[0], answers[1]);
    // Locked out: the right password does not help for a while, then it does.
    assert!(matches!(
        accounts.sign_in("ada@example.org", PASSWORD.into(), CLIENT, NOW).await,
        Err(AccountError::Refused)
    ));
    assert!(
        accounts
            .sign_in("ada@example.org", PASSWORD.into(), CLIENT, NOW + 3_600_000_000)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let (_dir, accounts) = accounts().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(accounts.sign_in("ada@example.org", PASSWORD.into(), CLIENT, NOW).await.unwrap().token);
    }
    let session = accounts.session(&tokens[0], NOW).await.unwrap().unwrap();
    let new = "another long password";
    let wrong = accounts
        .change_password(&session, CLIENT, "not the old one".into(), new.into(), NOW)
        .await;
    assert!(matches!(wrong, Err(AccountError::WrongPassword)));
    let short = accounts.change_password(&session, CLIENT, PASSWORD.into(), "short".into(), NOW).await;
    assert!(matches!(short, Err(AccountError::PasswordLength)));
    assert_eq!(accounts.sessions(&session, NOW).await.unwrap().len(), 3);
    accounts
        .change_password(&session, CLIENT, PASSWORD.into(), new.into(), NOW)
        .await
        .unwrap();
    for (at, token) in tokens.iter().enumerate() {
        assert_eq!(accounts.session(token, NOW).await.unwrap().is_some(), at == 0, "{at}");
    }
    assert!(accounts.sign_in("ada@example.org", PASSWORD.into(), CLIENT, NOW).await.is_err());
    assert!(accounts.sign_in("ada@example.org", new.into(), CLIENT, NOW).await.is_ok());
    // The operator's new password ends them all.
    accounts.reset_password(session.account(), PASSWORD.into(), NOW).await.unwrap();
    assert!(accounts.session(&tokens[0], NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn sessions_are_listed_with_their_use_and_ended_one_by_one() {
    let (_dir, accounts) = accounts().await;
    accounts.create("bob@example.org", "Bob", PASSWORD.into(), NOW).await.unwrap();
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let home = Visitor::new("192.0.2.1".parse().unwrap(), agent);
    let mut sessions = Vec::new();
    for (email, at) in [
        ("ada@example.org", 0),
        ("ada@example.org", 1),
        ("ada@example.org", 2),
        ("bob@example.org", 3),
    ] {
        let signed = accounts.sign_in(email, PASSWORD.into(), home.clone(), NOW + at).await.unwrap();
        sessions.push(accounts.session(&signed.token, NOW + at).await.unwrap().unwrap());
    }
    let listed = accounts.sessions(&sessions[0], NOW + 5).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.iter().map(|one| one.current).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!((&*listed[2].browser, &*listed[2].address), ("Firefox on Linux", "192.0.2.1"));

    // The use is noted once a minute, with where it came from then.
    let away = Visitor::new("2001:db8::1".parse().unwrap(), "curl/8.5.0");
    accounts.session_used(&sessions[0], &away, NOW + 59_999_999).await;
    assert!(accounts.sessions(&sessions[0], NOW).await.unwrap()[2].current);
    accounts.session_used(&sessions[0], &away, NOW + 60_000_000).await;
    let first = accounts.sessions(&sessions[0], NOW).await.unwrap().remove(0);
    assert_eq!(
        (first.current, first.used_us, &*first.browser, &*first.address),
        (true, NOW + 60_000_000, "curl/8.5.0", "2001:db8::1")
    );

    // Nobody ends the session of another account, nor one that is not there.
    let bobs = accounts.sessions(&sessions[3], NOW + 5).await.unwrap().remove(0).id;
    assert!(!accounts.end_session(&sessions[0], &bobs, NOW + 5).await.unwrap());
    assert!(!accounts.end_session(&sessions[0], "", NOW + 5).await.unwrap());
    assert_eq!(accounts.sessions(&sessions[3], NOW + 5).await.unwrap().len(), 1);
    let second = listed[0].id.clone();
    assert!(accounts.end_session(&sessions[0], &second, NOW + 5).await.unwrap());
    assert!(!accounts.end_session(&sessions[0], &second, NOW + 5).await.unwrap());
    assert_eq!(accounts.end_other_sessions(&sessions[0], NOW + 5).await.unwrap(), 1);
    assert_eq!(accounts.sessions(&sessions[0], NOW + 5).await.unwrap().len(), 1);
    assert_eq!(accounts.sessions(&sessions[3], NOW + 5).await.unwrap().len(), 1);
    // What is over is not shown.
    assert!(accounts.sessions(&sessions[0], NOW + SESSION_US).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_account_is_refused_at_creation() {
    let (_dir, accounts) = accounts().await;
    for email in ["", "ada", "@example.org", "a b@example.org", "a@b@c"] {
        assert!(
            matches!(accounts.create(email, "Ada", PASSWORD.into(), NOW).await, Err(AccountError::Email(_))),
            "{email}"
        );
    }
    assert!(matches!(
        accounts.create("b@example.org", " ", PASSWORD.into(), NOW).await,
        Err(AccountError::Name)
    ));
    assert!(matches!(
        accounts.create("b@example.org", "B", "short".into(), NOW).await,
        Err(AccountError::PasswordLength)
    ));
    assert!(matches!(
        accounts.create("ADA@example.org", "A", PASSWORD.into(), NOW).await,
        Err(AccountError::Taken(_))
    ));
}
