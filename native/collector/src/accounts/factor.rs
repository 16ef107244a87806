// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The second factor: a code of an app beside the password, and recovery codes for whoever lost the app.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use insights_store::{AccountId, StoreError, catalog::Account};
use rand::Rng;

use super::{
    AccountError, Accounts, Origin, Session, SignIn, Signed, Visitor,
    audit::Act,
    session::hash_token,
    totp::{self, DIGITS, SECRET_BYTES},
};

/// Codes for whoever lost the app: a handful, each good once.
const RECOVERY_CODES: usize = 10;

/// Characters of a recovery code, of five bits each: too many to be guessed, few enough to be typed.
const RECOVERY_LENGTH: usize = 16;

/// How long the page that asks for the code is good.
const TICKET_US: i64 = 5 * 60_000_000;

/// People between password and code at once, each some 200 bytes; with more, those who began first begin again.
const MOST_TICKETS: usize = 10_000;

/// Characters that can't be mistaken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// People who have shown their password and not yet their code.
#[derive(Default)]
pub(super) struct Tickets(HashMap<[u8; 32], Ticket>);

#[derive(Clone)]
struct Ticket {
    account: AccountId,
    email: String,
    until_us: i64,
}

/// What is asked for again before something is done that can't be undone, or that opens the account to others.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    pub password: String,
    /// Of the app, or a recovery code; where the account has no second factor, nobody looks at it.
    pub code: String,
}

/// What an account's second factor is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Factor {
    Off,
    /// It waits for its first code.
    Begun(Setup),
    On {
        since_us: i64,
        recovery_codes: usize,
    },
}

/// What an app needs to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setup {
    /// Base32, for typing.
    pub secret: String,
    /// `otpauth://…`, for a QR code.
    pub uri: String,
}

impl Accounts {
    pub async fn second_factor(&self, session: &Session) -> Result<Factor, AccountError> {
        Ok(match self.catalog.second_factor(session.account()).await? {
            None => Factor::Off,
            Some(found) => match found.since_us {
                Some(since_us) => Factor::On {
                    since_us,
                    recovery_codes: found.recovery_codes,
                },
                None => Factor::Begun(setup(&found.secret, &session.email)?),
            },
        })
    }

    /// Whether the account has one in use.
    pub async fn has_second_factor(&self, session: &Session) -> Result<bool, AccountError> {
        let found = self.catalog.second_factor(session.account()).await?;
        Ok(found.is_some_and(|found| found.since_us.is_some()))
    }

    /// Draws a secret, which is in use from its first code on. Needs the password: who adds a factor shuts everybody else out.
    pub async fn begin_second_factor(&self, session: &Session, visitor: impl Into<Visitor>, proof: Proof, now_us: i64) -> Result<(), AccountError> {
        self.confirm(session, &visitor.into(), proof, now_us).await?;
        let secret = hex::encode(rand::random::<[u8; SECRET_BYTES]>());
        Ok(self.catalog.begin_second_factor(session.account(), secret).await?)
    }

    /// Gives up what was begun; one that is in use stays.
    pub async fn give_up_second_factor(&self, session: &Session) -> Result<(), AccountError> {
        self.catalog.give_up_second_factor(session.account()).await?;
        Ok(())
    }

    /// Puts it in use with its first code, and gives the recovery codes, this once. Sessions that are there stay; what needs a proof needs a code
    /// from now on.
    pub async fn confirm_second_factor(
        &self,
        session: &Session,
        visitor: impl Into<Visitor>,
        code: &str,
        now_us: i64,
    ) -> Result<Vec<String>, AccountError> {
        let client = visitor.into().address;
        let key = throttled(session.account());
        if !self.throttle.lock().allows(&key, client, now_us) {
            return Err(AccountError::WrongCode);
        }
        let found = self.catalog.second_factor(session.account()).await?.ok_or(AccountError::WrongCode)?;
        let Some(step) = totp::step_of(&bytes(&found.secret)?, &digits(code), now_us) else {
            self.throttle.lock().failed(&key, client, now_us);
            return Err(AccountError::WrongCode);
        };
        let codes = recovery_codes();
        let hashes = codes.iter().map(|code| hash_code(code)).collect();
        if !self.catalog.confirm_second_factor(session.account(), step, now_us, hashes).await? {
            return Err(AccountError::WrongCode);
        }
        self.throttle.lock().succeeded(&key);
        self.done(session, "factor.on", "the second factor was switched on", now_us).await;
        Ok(codes)
    }

    /// Takes it away. Needs the password and a code.
    pub async fn disable_second_factor(&self, session: &Session, visitor: impl Into<Visitor>, proof: Proof, now_us: i64) -> Result<(), AccountError> {
        self.confirm(session, &visitor.into(), proof, now_us).await?;
        self.catalog.delete_second_factor(session.account()).await?;
        self.done(session, "factor.off", "the second factor was switched off", now_us).await;
        Ok(())
    }

    /// New recovery codes in place of those that are left. Needs the password and a code.
    pub async fn new_recovery_codes(
        &self,
        session: &Session,
        visitor: impl Into<Visitor>,
        proof: Proof,
        now_us: i64,
    ) -> Result<Vec<String>, AccountError> {
        self.confirm(session, &visitor.into(), proof, now_us).await?;
        let codes = recovery_codes();
        let hashes = codes.iter().map(|code| hash_code(code)).collect();
        self.catalog.set_recovery_codes(session.account(), hashes).await?;
        self.done(session, "factor.codes", "new recovery codes were made", now_us).await;
        Ok(codes)
    }

    /// Takes it away without a question; for the operator's command line. False when there was none.
    pub async fn reset_second_factor(&self, account: AccountId, now_us: i64) -> Result<bool, AccountError> {
        let reset = self.catalog.delete_second_factor(account).await?;
        if reset {
            let act = Act::done("factor.off", "the second factor was taken away");
            self.keep(account, Origin::OPERATOR, act, now_us).await;
        }
        Ok(reset)
    }

    /// The ticket of somebody who has shown the password and needs a code; `None` when the password is enough.
    pub(super) async fn ticket(&self, account: &Account, now_us: i64) -> Result<Option<String>, AccountError> {
        let found = self.catalog.second_factor(account.id).await?;
        if found.is_none_or(|found| found.since_us.is_none()) {
            return Ok(None);
        }
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let ticket = Ticket {
            account: account.id,
            email: account.email.clone(),
            until_us: now_us + TICKET_US,
        };
        self.tickets.lock().put(hash_token(&text), ticket, now_us);
        Ok(Some(text))
    }

    /// Signs in with the code of the app, or a recovery code. Each is good once; wrong ones are counted for the account, whatever ticket
    /// they come with.
    pub async fn sign_in_with_code(&self, ticket: &str, code: &str, visitor: impl Into<Visitor>, now_us: i64) -> Result<SignIn, AccountError> {
        let visitor = visitor.into();
        let hash = hash_token(ticket);
        let held = self.tickets.lock().get(&hash, now_us).ok_or(AccountError::Ticket)?;
        let checked = self.check_code(held.account, &visitor, code, now_us).await;
        if matches!(checked, Err(AccountError::WrongCode)) {
            let act = Act::refused("session.in", "the password was right, and a wrong code was typed");
            self.keep(held.account, Origin::manager(visitor.address), act, now_us).await;
        }
        let kind = checked?;
        self.tickets.lock().0.remove(&hash);
        self.throttle.lock().succeeded(&held.email);
        self.begin_session(held.account, visitor, &format!("the password and {kind}"), now_us)
            .await
    }

    /// Uses a code up, for an account that has a second factor in use. Wrong ones are counted for the account and the client.
    /// Says which kind it was, for people.
    pub(super) async fn check_code(&self, account: AccountId, visitor: &Visitor, code: &str, now_us: i64) -> Result<&'static str, AccountError> {
        let key = throttled(account);
        if !self.throttle.lock().allows(&key, visitor.address, now_us) {
            tracing::warn!(client = %visitor.address, "a code was refused: too many failures");
            return Err(AccountError::WrongCode);
        }
        let Some(kind) = self.takes(account, code, now_us).await? else {
            self.throttle.lock().failed(&key, visitor.address, now_us);
            return Err(AccountError::WrongCode);
        };
        self.throttle.lock().succeeded(&key);
        Ok(kind)
    }

    /// Which kind of code it is, where it is good; from now on it is not.
    async fn takes(&self, account: AccountId, code: &str, now_us: i64) -> Result<Option<&'static str>, AccountError> {
        let Some(found) = self.catalog.second_factor(account).await? else {
            return Ok(None);
        };
        // Both are looked at, so that the time does not tell which kind it was.
        let step = totp::step_of(&bytes(&found.secret)?, &digits(code), now_us);
        let recovered = self.catalog.use_recovery_code(account, hash_code(code)).await?;
        match step {
            Some(step) => Ok(self.catalog.use_code(account, step).await?.then_some("a code of the app")),
            None => Ok(recovered.then_some("a recovery code")),
        }
    }
}

impl From<String> for Proof {
    fn from(password: String) -> Self {
        Self {
            password,
            code: String::new(),
        }
    }
}

impl From<&str> for Proof {
    fn from(password: &str) -> Self {
        password.to_owned().into()
    }
}

impl Tickets {
    fn put(&mut self, hash: [u8; 32], ticket: Ticket, now_us: i64) {
        if self.0.len() >= MOST_TICKETS {
            self.0.retain(|_, ticket| ticket.until_us > now_us);
            if self.0.len() >= MOST_TICKETS {
                let first = self.0.iter().min_by_key(|(_, ticket)| ticket.until_us).map(|(hash, _)| *hash);
                first.and_then(|first| self.0.remove(&first));
            }
        }
        self.0.insert(hash, ticket);
    }

    fn get(&self, hash: &[u8; 32], now_us: i64) -> Option<Ticket> {
        self.0.get(hash).filter(|ticket| ticket.until_us > now_us).cloned()
    }
}

/// Beside e-mail addresses in the throttle; no address has a blank.
fn throttled(account: AccountId) -> String {
    format!("code of {account}")
}

fn setup(secret: &str, email: &str) -> Result<Setup, AccountError> {
    let secret = totp::base32(&bytes(secret)?);
    let label = crate::query::params::encode([("MidoInsights", email)]);
    // The label is `issuer:account`; what `encode` made is `issuer=account`.
    let label = label.replacen('=', ":", 1);
    Ok(Setup {
        uri: format!("otpauth://totp/{label}?secret={secret}&issuer=MidoInsights&algorithm=SHA1&digits={DIGITS}&period=30"),
        secret,
    })
}

fn bytes(secret: &str) -> Result<Vec<u8>, AccountError> {
    hex::decode(secret).map_err(|_| {
        AccountError::Store(StoreError::Damaged {
            path: "the catalogue".to_owned(),
            detail: "the secret of a second factor is not one".to_owned(),
        })
    })
}

/// As apps show codes, in two groups.
fn digits(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

fn recovery_codes() -> Vec<String> {
    let mut random = rand::rng();
    let mut code = || {
        let all: String = (0..RECOVERY_LENGTH)
            .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
            .collect();
        let groups: Vec<&str> = (0..RECOVERY_LENGTH).step_by(4).map(|at| &all[at..at + 4]).collect();
        groups.join("-")
    };
    (0..RECOVERY_CODES).map(|_| code()).collect()
}

/// 80 random bits: a plain hash of them can't be turned back.
fn hash_code(code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).take(RECOVERY_LENGTH + 1).collect();
    hash_token(&plain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_codes_differ_and_are_read_in_any_form() {
        let codes = recovery_codes();
        assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), RECOVERY_CODES);
        for code in codes {
            assert_eq!(code.len(), RECOVERY_LENGTH + 3);
            assert_eq!(hash_code(&code), hash_code(&format!(" {} ", code.replace('-', "").to_uppercase())));
            assert_ne!(hash_code(&code), hash_code(&format!("{code}x")));
        }
    }

    #[test]
    fn apps_are_told_who_and_what() {
        let setup = setup(&hex::encode(b"12345678901234567890"), "ada+x@example.org").unwrap();
        assert_eq!(
            setup.uri,
            "otpauth://totp/MidoInsights:ada%2Bx%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=MidoInsights&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn tickets_end_and_are_bounded() {
        let mut tickets = Tickets::default();
        let ticket = |until_us| Ticket {
            account: AccountId::random(),
            email: "a@b".to_owned(),
            until_us,
        };
        tickets.put([1; 32], ticket(10), 0);
        assert!(tickets.get(&[1; 32], 9).is_some() && tickets.get(&[1; 32], 10).is_none());
        for number in 0..MOST_TICKETS as u64 + 5 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_be_bytes());
            tickets.put(hash, ticket(100 + number as i64), 0);
        }
        assert_eq!(tickets.0.len(), MOST_TICKETS);
        assert!(tickets.get(&[1; 32], 0).is_none());
    }
}
