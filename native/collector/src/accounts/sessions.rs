// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The sessions of an account, and how they end.

use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{AccountError, Accounts, Session, Signed, Visitor};

/// How fine the last use of a session is kept, µs: each note of it is a durable write.
const USED_EVERY_US: i64 = 60_000_000;

/// A session as its owner sees it.
#[derive(Clone, Debug, Serialize)]
pub struct SessionInfo {
    /// Names it among the sessions of the account; no token.
    pub id: String,
    pub created_us: i64,
    pub expires_us: i64,
    /// When it was last used, to the minute.
    pub used_us: i64,
    /// Where it was last used from; empty for what was signed in before addresses were kept.
    pub address: String,
    /// Such as `Firefox on Linux`, or empty.
    pub browser: String,
    /// The session that asks.
    pub current: bool,
}

impl Accounts {
    /// The sessions of the account that are good now, the last used first.
    pub async fn sessions(&self, who: &impl Signed, now_us: i64) -> Result<Vec<SessionInfo>, AccountError> {
        let sessions = self.catalog.sessions_of(who.account(), now_us).await?;
        Ok(sessions
            .into_iter()
            .map(|one| SessionInfo {
                id: id(&one.token_hash),
                created_us: one.created_us,
                expires_us: one.expires_us,
                used_us: one.used_us,
                address: one.client,
                browser: one.browser,
                current: who.session_hash() == Some(&one.token_hash),
            })
            .collect())
    }

    /// Ends a session of the account. False when it has none of this id.
    pub async fn end_session(&self, session: &Session, wanted: &str, now_us: i64) -> Result<bool, AccountError> {
        let sessions = self.catalog.sessions_of(session.account(), now_us).await?;
        let found = sessions
            .iter()
            .find(|one| bool::from(id(&one.token_hash).as_bytes().ct_eq(wanted.as_bytes())));
        match found {
            Some(one) => {
                let ended = self.catalog.delete_session(one.token_hash).await?;
                let text = format!("a session was ended that was last used from {}", one.client);
                self.done(session, "session.ended", text, now_us).await;
                Ok(ended)
            }
            None => Ok(false),
        }
    }

    /// Ends all sessions of the account but this one, and says how many they were.
    pub async fn end_other_sessions(&self, session: &Session, now_us: i64) -> Result<usize, AccountError> {
        let ended = self.catalog.delete_sessions_of(session.account(), Some(*session.token_hash())).await?;
        self.done(session, "session.ended", format!("all other sessions were ended: {ended}"), now_us)
            .await;
        Ok(ended)
    }

    /// Notes that a session is in use. That it can't be noted is no reason to refuse anybody.
    pub async fn session_used(&self, session: &Session, visitor: &Visitor, now_us: i64) {
        if now_us - session.used_us < USED_EVERY_US {
            return;
        }
        let noted = self
            .catalog
            .session_used(*session.token_hash(), now_us, visitor.address.to_string(), visitor.browser.clone());
        if let Err(error) = noted.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "note the use of a session");
        }
    }
}

/// The hash of a token opens nothing, yet pages and logs need not show it.
fn id(token_hash: &[u8; 32]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"insights session ");
    hash.update(token_hash);
    hex::encode(&hash.finalize()[..16])
}
