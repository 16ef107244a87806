// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The second factor, with an app of its own: set up, asked for, used up, guessed at, lost and taken away.

#![allow(clippy::unwrap_used)]

mod http;
mod service;

use std::net::IpAddr;

use http::{Client, app, between, serve};
use insights_collector::{
    accounts::{AccountError, Accounts, Factor, Proof, Session},
    clock::now_us,
};
use insights_store::catalog::Catalog;
use ring::hmac;
use service::Service;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PASSWORD: &str = service::PASSWORD;
const ADA: &str = "ada@example.org";
const STEP: i64 = 30_000_000;
/// The begin of a step.
const NOW: i64 = 1_700_000_010_000_000;

/// What an app does with the secret that it read: RFC 6238 after its text, not after our code.
fn app_code(secret: &str, at_us: i64) -> String {
    let mut bits = String::new();
    for c in secret.chars().filter(|c| !c.is_whitespace()) {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap();
        bits.push_str(&format!("{value:05b}"));
    }
    let key: Vec<u8> = (0..bits.len() / 8)
        .map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap())
        .collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = hmac::sign(&key, &(at_us / STEP).to_be_bytes());
    let at = (tag.as_ref()[19] & 15) as usize;
    let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn proof(code: &str) -> Proof {
    Proof {
        password: PASSWORD.to_owned(),
        code: code.to_owned(),
    }
}

async fn ada() -> (tempfile::TempDir, Accounts, Session) {
    let dir = tempfile::tempdir().unwrap();
    let accounts = Accounts::new(Catalog::open(dir.path()).unwrap());
    accounts.create(ADA, "Ada", PASSWORD.to_owned(), NOW).await.unwrap();
    let signed = accounts.sign_in(ADA, PASSWORD.to_owned(), CLIENT, NOW).await.unwrap();
    let session = accounts.session(&signed.token, NOW).await.unwrap().unwrap();
    (dir, accounts, session)
}

/// Puts a factor in use at [`NOW`]: its secret, and the recovery codes.
async fn enrolled(accounts: &Accounts, session: &Session) -> (String, Vec<String>) {
    accounts.begin_second_factor(session, CLIENT, PASSWORD.into(), NOW).await.unwrap();
    let Factor::Begun(setup) = accounts.second_factor(session).await.unwrap() else {
        panic!("nothing was begun");
    };
    let code = app_code(&setup.secret, NOW);
    let codes = accounts.confirm_second_factor(session, CLIENT, &code, NOW).await.unwrap();
    (setup.secret, codes)
}

async fn ticket(accounts: &Accounts, now_us: i64) -> String {
    match accounts.sign_in(ADA, PASSWORD.to_owned(), CLIENT, now_us).await {
        Err(AccountError::CodeNeeded { ticket }) => ticket,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_password_alone_does_not_sign_in_any_more() {
    let (_dir, accounts, session) = ada().await;
    // Who has a session alone adds no factor; one that is begun asks for nothing yet.
    let wrong = accounts.begin_second_factor(&session, CLIENT, "not it".into(), NOW).await;
    assert!(matches!(wrong, Err(AccountError::WrongPassword)));
    assert_eq!(accounts.second_factor(&session).await.unwrap(), Factor::Off);
    accounts.begin_second_factor(&session, CLIENT, PASSWORD.into(), NOW).await.unwrap();
    assert!(accounts.sign_in(ADA, PASSWORD.to_owned(), CLIENT, NOW).await.is_ok());
    accounts.give_up_second_factor(&session).await.unwrap();
    assert_eq!(accounts.second_factor(&session).await.unwrap(), Factor::Off);

    let (secret, codes) = enrolled(&accounts, &session).await;
    assert_eq!(codes.len(), 10);
    // The session from before goes on.
    assert_eq!(accounts.sessions(&session, NOW).await.unwrap().len(), 2);
    // A second one does not take its place.
    let again = accounts.begin_second_factor(&session, CLIENT, proof(&codes[9]), NOW).await;
    assert!(matches!(again, Err(AccountError::Taken(_))), "{again:?}");

    // A wrong password is told as before; only the right one leads to the code.
    let refused = accounts.sign_in(ADA, "wrong password".to_owned(), CLIENT, NOW).await;
    assert!(matches!(refused, Err(AccountError::Refused)));
    let first = ticket(&accounts, NOW).await;
    for wrong in ["", "000", "not a code", &app_code("AAAA", NOW)] {
        let refused = accounts.sign_in_with_code(&first, wrong, CLIENT, NOW).await;
        assert!(matches!(refused, Err(AccountError::WrongCode)), "{wrong}");
    }
    // The code that set it up is used up; the next is good, in groups too, and once.
    let next = app_code(&secret, NOW + STEP);
    let used = accounts.sign_in_with_code(&first, &app_code(&secret, NOW), CLIENT, NOW + STEP).await;
    assert!(matches!(used, Err(AccountError::WrongCode)));
    let later = NOW + 40 * 60_000_000;
    let (first, next_later) = (ticket(&accounts, later).await, app_code(&secret, later));
    let grouped = format!("{} {}", &next_later[..3], &next_later[3..]);
    let signed = accounts.sign_in_with_code(&first, &grouped, CLIENT, later).await.unwrap();
    assert!(accounts.session(&signed.token, later).await.unwrap().is_some());
    assert_ne!(next, next_later);
    // The ticket is used up with it, and the code for another ticket as well.
    let again = accounts
        .sign_in_with_code(&first, &app_code(&secret, later + STEP), CLIENT, later + STEP)
        .await;
    assert!(matches!(again, Err(AccountError::Ticket)));
    let second = ticket(&accounts, later).await;
    let replayed = accounts.sign_in_with_code(&second, &next_later, CLIENT, later).await;
    assert!(matches!(replayed, Err(AccountError::WrongCode)));
    // Tickets end, and there is no other way to one.
    let late = later + 5 * 60_000_000;
    let over = accounts.sign_in_with_code(&second, &app_code(&secret, late), CLIENT, late).await;
    assert!(matches!(over, Err(AccountError::Ticket)));
    let made_up = accounts.sign_in_with_code("made up", &app_code(&secret, late), CLIENT, late).await;
    assert!(matches!(made_up, Err(AccountError::Ticket)));
}

#[tokio::test]
async fn codes_can_not_be_guessed_and_recovery_codes_work_once() {
    let (dir, accounts, session) = ada().await;
    let (secret, codes) = enrolled(&accounts, &session).await;
    // Wrong codes count for the account, whatever ticket they come with and wherever from.
    let mut tickets = Vec::new();
    for _ in 0..5 {
        tickets.push(ticket(&accounts, NOW).await);
    }
    for (number, ticket) in tickets.iter().enumerate() {
        let from: IpAddr = format!("192.0.2.{number}").parse().unwrap();
        let refused = accounts.sign_in_with_code(ticket, "abc", from, NOW).await;
        assert!(matches!(refused, Err(AccountError::WrongCode)));
    }
    // Now even a good one waits, and is not used up by that.
    for good in [&app_code(&secret, NOW + STEP), &codes[0]] {
        let refused = accounts.sign_in_with_code(&tickets[0], good, CLIENT, NOW).await;
        assert!(matches!(refused, Err(AccountError::WrongCode)));
    }
    let later = NOW + 4 * 60_000_000;
    let typed = codes[0].to_uppercase().replace('-', " ");
    assert!(accounts.sign_in_with_code(&tickets[0], &typed, CLIENT, later).await.is_ok());
    let again = accounts.sign_in_with_code(&tickets[1], &codes[0], CLIENT, later).await;
    assert!(matches!(again, Err(AccountError::WrongCode)));
    let Factor::On { recovery_codes, .. } = accounts.second_factor(&session).await.unwrap() else {
        panic!("it is on");
    };
    assert_eq!(recovery_codes, 9);
    // New ones take the place of all.
    let new = accounts.new_recovery_codes(&session, CLIENT, proof(&codes[1]), later).await.unwrap();
    assert!(accounts.sign_in_with_code(&tickets[1], &codes[2], CLIENT, later).await.is_err());
    assert!(accounts.sign_in_with_code(&tickets[1], &new[0], CLIENT, later).await.is_ok());
    // Neither the secret nor a code is on the disk.
    let raw: Vec<u8> = codes
        .iter()
        .chain(&new)
        .map(|code| code.replace('-', ""))
        .collect::<String>()
        .into_bytes();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for text in std::iter::once(secret.as_bytes()).chain(raw.chunks(16)) {
            assert!(!bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text)));
        }
    }
}

#[tokio::test]
async fn what_a_stolen_session_must_not_do_needs_a_code() {
    let (_dir, accounts, session) = ada().await;
    let (_, codes) = enrolled(&accounts, &session).await;
    let new = "another long password";
    let without = accounts.change_password(&session, CLIENT, PASSWORD.into(), new.to_owned(), NOW).await;
    assert!(matches!(without, Err(AccountError::WrongCode)));
    let without = accounts.change_email(&session, CLIENT, PASSWORD.into(), "eve@example.org", NOW).await;
    assert!(matches!(without, Err(AccountError::WrongCode)));
    let without = accounts.disable_second_factor(&session, CLIENT, PASSWORD.into(), NOW).await;
    assert!(matches!(without, Err(AccountError::WrongCode)));
    let without = accounts.delete(&session, CLIENT, PASSWORD.into(), NOW).await;
    assert!(matches!(without, Err(AccountError::WrongCode)));
    // Wrong passwords use no code up.
    let wrong = Proof {
        password: "wrong".to_owned(),
        code: codes[0].clone(),
    };
    let refused = accounts.disable_second_factor(&session, CLIENT, wrong, NOW).await;
    assert!(matches!(refused, Err(AccountError::WrongPassword)));
    accounts
        .change_password(&session, CLIENT, proof(&codes[0]), new.to_owned(), NOW)
        .await
        .unwrap();
    // A password from a mailed link takes no factor away.
    accounts
        .reset_password(insights_collector::accounts::Signed::account(&session), PASSWORD.to_owned(), NOW)
        .await
        .unwrap();
    ticket(&accounts, NOW).await;
    accounts.disable_second_factor(&session, CLIENT, proof(&codes[1]), NOW).await.unwrap();
    assert!(accounts.sign_in(ADA, PASSWORD.to_owned(), CLIENT, NOW).await.is_ok());
    // A new one has its own codes.
    let (_, fresh) = enrolled(&accounts, &session).await;
    let ticket = ticket(&accounts, NOW).await;
    assert!(accounts.sign_in_with_code(&ticket, &codes[2], CLIENT, NOW).await.is_err());
    assert!(accounts.sign_in_with_code(&ticket, &fresh[0], CLIENT, NOW).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_lead_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    service.account(ADA).await;
    let address = serve(app(&service)).await;
    let mut client = Client::signed_in(address, ADA, PASSWORD).await;
    let page = client.get("/account/second-factor").await;
    let csrf = page.csrf();
    assert!(!page.body.contains("<svg class=\"qr\""));
    let at = |path: &str| format!("/account/second-factor/{path}");
    assert_eq!(client.post(&at("begin"), &[("password", PASSWORD)]).await.status, 403);
    assert_eq!(client.post(&at("begin"), &[("csrf", &csrf), ("password", "wrong")]).await.status, 422);
    assert_eq!(client.post(&at("begin"), &[("csrf", &csrf), ("password", PASSWORD)]).await.status, 303);
    let page = client.get("/account/second-factor").await;
    assert!(page.body.contains("<svg class=\"qr\""));
    let secret = between(&page.body, "class=\"secret\"><code>", "</code>").unwrap();
    assert_eq!(client.post(&at("confirm"), &[("csrf", &csrf), ("code", "abc")]).await.status, 422);
    let made = client
        .post(&at("confirm"), &[("csrf", &csrf), ("code", &app_code(&secret, now_us()))])
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert!(made.headers["cache-control"].contains("no-store"));
    let list = between(&made.body, "<ul class=\"secret codes\">", "</ul>").unwrap();
    let codes: Vec<String> = list
        .split("<code>")
        .skip(1)
        .map(|part| part.split('<').next().unwrap().to_owned())
        .collect();
    assert_eq!(codes.len(), 10);
    assert!(!client.get("/account/second-factor").await.body.contains(&codes[0]));
    for page in ["/account", "/account/tokens", "/account/delete", "/account/second-factor"] {
        assert!(client.get(page).await.body.contains("name=\"code\""), "{page}");
    }

    let mut other = Client::new(address);
    let form = other
        .post("/sign-in", &[("email", ADA), ("password", PASSWORD), ("next", "/account")])
        .await;
    assert_eq!(form.status, 200);
    assert!(!form.headers.contains_key("set-cookie"), "no session yet");
    let ticket = between(&form.body, "name=\"ticket\" value=\"", "\"").unwrap();
    let next = between(&form.body, "name=\"next\" value=\"", "\"").unwrap();
    let typed = |code| [("ticket", ticket.as_str()), ("next", next.as_str()), ("code", code)];
    let refused = other.post("/sign-in/code", &typed("abc")).await;
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("That code is not good now") && !refused.headers.contains_key("set-cookie"));
    let signed = other.post("/sign-in/code", &typed(&codes[0])).await;
    assert_eq!((signed.status, signed.location()), (303, "/account"));
    assert_eq!(other.get("/account").await.status, 200);
    let csrf = other.get("/account/second-factor").await.csrf();
    let off = [("csrf", csrf.as_str()), ("password", PASSWORD), ("code", codes[1].as_str())];
    assert_eq!(other.post(&at("disable"), &off[..2]).await.status, 422);
    assert_eq!(other.post(&at("disable"), &off).await.status, 303);
    Client::signed_in(address, ADA, PASSWORD).await;
    service.stop().await;
}
