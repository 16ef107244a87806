// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use insights_store::{AccountId, catalog::WebSession};
use sha2::{Digest, Sha256};

use std::net::{IpAddr, Ipv4Addr};

use super::{AccountError, Accounts, Origin, Proof, Signed, Visitor, audit::Act, check_name};

/// How long a session lives: a working week.
pub const SESSION_US: i64 = 7 * 24 * 3_600_000_000;

/// Sessions of an account at once; with one more the one that was used longest ago ends. A page shows them all.
const MOST_SESSIONS: usize = 50;

/// A signed-in account, as read from a token that a browser sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    account: AccountId,
    pub email: String,
    /// What the menu shows.
    pub name: String,
    pub created_us: i64,
    pub expires_us: i64,
    pub(super) used_us: i64,
    /// Where it is used from.
    address: IpAddr,
    token_hash: [u8; 32],
}

impl Signed for Session {
    fn account(&self) -> AccountId {
        self.account
    }

    fn origin(&self) -> Origin {
        Origin::manager(self.address)
    }

    fn session_hash(&self) -> Option<&[u8; 32]> {
        Some(&self.token_hash)
    }
}

impl Session {
    /// A value that is different for each session and not its token, for example to derive a token against cross-site requests from.
    pub fn token_hash(&self) -> &[u8; 32] {
        &self.token_hash
    }

    /// The session as it is used from there now.
    pub fn from_address(self, address: IpAddr) -> Self {
        Self { address, ..self }
    }
}

/// What a successful sign-in gives: the token for the browser, which is stored nowhere else.
#[derive(Clone, Debug)]
pub struct SignIn {
    pub token: String,
    pub expires_us: i64,
}

impl Accounts {
    /// Signs in. Fails with [`AccountError::Refused`] whatever is wrong, with [`AccountError::CodeNeeded`] when nothing is and the account has a
    /// second factor.
    pub async fn sign_in(&self, email: &str, password: String, visitor: impl Into<Visitor>, now_us: i64) -> Result<SignIn, AccountError> {
        let visitor = visitor.into();
        let client = visitor.address;
        if !self.throttle.lock().allows(email, client, now_us) {
            tracing::warn!(%client, "sign-in refused: too many failures");
            return Err(AccountError::Refused);
        }
        let account = self.catalog.account_by_email(email).await?;
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        let Some(account) = account.as_ref().filter(|_| right) else {
            self.throttle.lock().failed(email, client, now_us);
            if let Some(account) = account {
                let act = Act::refused("session.in", format!("a wrong password was typed {}", with(&visitor)));
                self.keep_later(account.id, Origin::manager(client), act, now_us);
            }
            return Err(AccountError::Refused);
        };
        if let Some(ticket) = self.ticket(account, now_us).await? {
            return Err(AccountError::CodeNeeded { ticket });
        }
        self.throttle.lock().succeeded(email);
        self.begin_session(account.id, visitor, "the password", now_us).await
    }

    /// A session of somebody who has shown everything that is asked for.
    pub(super) async fn begin_session(&self, account: AccountId, visitor: Visitor, how: &str, now_us: i64) -> Result<SignIn, AccountError> {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let expires_us = now_us + SESSION_US;
        let session = WebSession {
            token_hash: hash_token(&token),
            account,
            created_us: now_us,
            expires_us,
            used_us: now_us,
            client: visitor.address.to_string(),
            browser: visitor.browser.clone(),
        };
        self.catalog.create_session(session, MOST_SESSIONS).await?;
        let act = Act::done("session.in", format!("signed in with {how}, {}", with(&visitor)));
        self.keep(account, Origin::manager(visitor.address), act, now_us).await;
        Ok(SignIn { token, expires_us })
    }

    /// The session of a token; `None` when it is over, or never was.
    pub async fn session(&self, token: &str, now_us: i64) -> Result<Option<Session>, AccountError> {
        let found = self.catalog.session(hash_token(token), now_us).await?;
        Ok(found.map(|(session, account)| Session {
            account: account.id,
            email: account.email,
            name: account.name,
            created_us: session.created_us,
            expires_us: session.expires_us,
            used_us: session.used_us,
            address: session.client.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            token_hash: session.token_hash,
        }))
    }

    pub async fn sign_out(&self, session: &Session, now_us: i64) -> Result<(), AccountError> {
        self.catalog.delete_session(session.token_hash).await?;
        self.done(session, "session.out", "signed out", now_us).await;
        Ok(())
    }

    /// Changes the name that the menu shows.
    pub async fn rename(&self, session: &Session, name: &str, now_us: i64) -> Result<(), AccountError> {
        check_name(name)?;
        self.catalog.rename_account(session.account, name.trim().to_owned()).await?;
        self.done(session, "account.name", format!("the name is {} now", name.trim()), now_us)
            .await;
        Ok(())
    }

    /// Changes the password and ends all other sessions of the account.
    pub async fn change_password(
        &self,
        session: &Session,
        visitor: impl Into<Visitor>,
        proof: Proof,
        new: String,
        now_us: i64,
    ) -> Result<(), AccountError> {
        // A password that is too short must not use the code up.
        let hash = self.passwords.hash(new).await?;
        self.confirm(session, &visitor.into(), proof, now_us).await?;
        self.catalog.set_password_hash(session.account, hash, Some(session.token_hash)).await?;
        self.catalog.delete_tokens_of(session.account).await?;
        let text = "the password was changed, and all other sessions were ended";
        self.done(session, "account.password", text, now_us).await;
        Ok(())
    }

    /// Deletes the account with its sites. Connections of their gateways are closed.
    pub async fn delete(&self, session: &Session, visitor: impl Into<Visitor>, proof: Proof, now_us: i64) -> Result<(), AccountError> {
        self.confirm(session, &visitor.into(), proof, now_us).await?;
        self.catalog.delete_account(session.account, now_us).await?;
        self.changed();
        Ok(())
    }

    /// Forgets sessions that are over.
    pub async fn delete_expired_sessions(&self, now_us: i64) -> Result<usize, AccountError> {
        Ok(self.catalog.delete_expired_sessions(now_us).await?)
    }

    /// Checks the password of a session's account again, and a code where it has a second factor: a stolen session must not be enough for what
    /// can't be undone.
    pub(super) async fn confirm(&self, session: &Session, visitor: &Visitor, proof: Proof, now_us: i64) -> Result<(), AccountError> {
        let client = visitor.address;
        if !self.throttle.lock().allows(&session.email, client, now_us) {
            return Err(AccountError::WrongPassword);
        }
        let hash = self.catalog.account(session.account).await?.map(|account| account.password_hash);
        if !self.passwords.verify(proof.password, hash).await? {
            self.throttle.lock().failed(&session.email, client, now_us);
            let act = Act::refused("account.confirm", "a wrong password was typed to confirm a change");
            self.keep(session.account, Origin::manager(client), act, now_us).await;
            return Err(AccountError::WrongPassword);
        }
        if self.has_second_factor(session).await? {
            let checked = self.check_code(session.account, visitor, &proof.code, now_us).await;
            if matches!(checked, Err(AccountError::WrongCode)) {
                let act = Act::refused("account.confirm", "a wrong code was typed to confirm a change");
                self.keep(session.account, Origin::manager(client), act, now_us).await;
            }
            checked?;
        }
        Ok(())
    }

    /// Keeps what was done with a session.
    pub(super) async fn done(&self, session: &Session, what: &'static str, text: impl Into<String>, now_us: i64) {
        self.keep(session.account, session.origin(), Act::done(what, text), now_us).await;
    }
}

/// With which program.
fn with(visitor: &Visitor) -> String {
    if visitor.browser.is_empty() {
        "in a program without a name".to_owned()
    } else {
        format!("in {}", visitor.browser)
    }
}

/// A token is random and long: a plain hash of it can be neither guessed nor looked up.
pub(super) fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
