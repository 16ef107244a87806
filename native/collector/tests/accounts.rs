// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Signing in, against a real catalogue.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use insights_collector::accounts::{AccountError, Accounts, SESSION_US};
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
    accounts.sign_out(&session).await.unwrap();
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
async fn a_new_password_ends_all_sessions() {
    let (_dir, accounts) = accounts().await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
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
    accounts
        .change_password(&session, CLIENT, PASSWORD.into(), new.into(), NOW)
        .await
        .unwrap();
    for token in &tokens {
        assert!(accounts.session(token, NOW).await.unwrap().is_none());
    }
    assert!(accounts.sign_in("ada@example.org", PASSWORD.into(), CLIENT, NOW).await.is_err());
    assert!(accounts.sign_in("ada@example.org", new.into(), CLIENT, NOW).await.is_ok());
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
