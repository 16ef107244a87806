// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Accounts, sessions, and the key to a site's data.
//!
//! Nothing here tells a stranger who has an account: a wrong address, a wrong password and a locked account take the same path and the
//! same time, and get the same answer.

mod audit;
mod events;
mod factor;
mod fingerprint;
mod letters;
mod mail;
mod notes;
mod password;
mod scope;
mod session;
mod sessions;
mod settings;
mod sites;
mod throttle;
mod tokens;
mod totp;
mod visitor;

use std::sync::Arc;

use insights_store::{AccountId, StoreError, catalog::Catalog};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use audit::{AuditLine, AuditQuery, Origin, Way};
pub use factor::{Factor, Proof, Setup};
pub use fingerprint::{FingerprintError, format_fingerprint, parse_fingerprint};
pub use letters::SignUp;
pub(crate) use mail::Mail;
pub use mail::{MailError, Mailer, SmtpOptions, SmtpTls};
pub use notes::{MOST_FILTERS, TenantNames};
pub use password::{MAX_PASSWORD, MIN_PASSWORD, generate_password};
pub use scope::{Signed, SiteScope};
pub use session::{SESSION_US, Session, SignIn};
pub use sessions::SessionInfo;
pub use settings::SiteSettings;
pub use sites::{SiteInfo, SiteKeyInfo, TRIAL_FINGERPRINTS, TRIAL_QUOTA_BYTES, TRIAL_SITES};
pub use tokens::{Bearer, MOST_TOKENS, NewToken, Scope, TOKEN_PREFIX, TokenInfo};
pub use visitor::Visitor;

/// Why something about an account could not be done. Messages are for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("e-mail address or password is wrong, or there were too many attempts")]
    Refused,
    #[error("the password is wrong")]
    WrongPassword,
    /// The password is right, and the account has a second factor: the ticket is to come back with a code.
    #[error("signing in needs a code")]
    CodeNeeded { ticket: String },
    #[error("that code is not good now: it was used, is too old, or there were too many attempts")]
    WrongCode,
    #[error("signing in took too long; begin again")]
    Ticket,
    #[error("a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")]
    PasswordLength,
    #[error("{0:?} is not an e-mail address")]
    Email(String),
    #[error("a name has 1 to 200 characters")]
    Name,
    #[error("this link is not good: it was used, it is too old, or it was cut; ask for another one")]
    Link,
    #[error("no such site")]
    NoSite,
    #[error("a token has at least one scope")]
    NoScope,
    #[error("the last day is a day to come")]
    Past,
    #[error("that is not the id of a tenant")]
    NoTenant,
    #[error("there is no room for one more; delete one first")]
    NoRoom,
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    #[error("the plan has room for {0} fingerprints per site")]
    TooManyFingerprints(usize),
    #[error("the plan has room for {0} sites")]
    TooManySites(usize),
    #[error("{0} is taken")]
    Taken(&'static str),
    #[error("hash a password")]
    Hash,
    #[error("read or write the catalogue")]
    Store(#[source] StoreError),
}

impl From<StoreError> for AccountError {
    fn from(source: StoreError) -> Self {
        match source {
            StoreError::Taken(what) => AccountError::Taken(what),
            other => AccountError::Store(other),
        }
    }
}

/// Everything about accounts. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    catalog: Catalog,
    throttle: Arc<Mutex<throttle::Throttle>>,
    /// Mails that were asked for.
    mails: Arc<Mutex<throttle::Throttle>>,
    /// Between password and code.
    tickets: Arc<Mutex<factor::Tickets>>,
    mailer: Mailer,
    passwords: password::Passwords,
    /// Counts changes of sites, settings and fingerprints made by this process, so that open connections learn of them at once.
    changes: watch::Sender<u64>,
}

impl Accounts {
    pub fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            throttle: Arc::default(),
            mails: Arc::default(),
            tickets: Arc::default(),
            mailer: Mailer::log(""),
            passwords: password::Passwords::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Sends mails this way; without, links are logged.
    pub fn with_mailer(mut self, mailer: Mailer) -> Self {
        self.mailer = mailer;
        self
    }

    /// Creates an account; for sign-up and for the operator's command line.
    pub async fn create(&self, email: &str, name: &str, password: String, now_us: i64) -> Result<AccountId, AccountError> {
        let email = email.trim();
        check_email(email)?;
        check_name(name)?;
        let password_hash = self.passwords.hash(password).await?;
        let id = AccountId::random();
        let account = insights_store::catalog::Account {
            id,
            email: email.to_owned(),
            name: name.trim().to_owned(),
            password_hash,
            created_us: now_us,
        };
        self.catalog.create_account(account).await?;
        Ok(id)
    }

    /// Sets a password without the old one; for the operator's command line. Ends all sessions of the account.
    pub async fn reset_password(&self, id: AccountId, password: String, now_us: i64) -> Result<(), AccountError> {
        let hash = self.passwords.hash(password).await?;
        self.catalog.set_password_hash(id, hash, None).await?;
        let act = audit::Act::done("account.password", "the password was set, and all sessions were ended");
        self.keep(id, Origin::OPERATOR, act, now_us).await;
        Ok(())
    }

    /// Where people reach the manager; empty when that was not said.
    pub fn url(&self) -> String {
        self.mailer.link("")
    }

    /// A mark that grows with every change of sites, settings and fingerprints made by this process.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(in crate::accounts) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// How mails go out.
    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }
}

/// Enough to catch a slip; whether mail arrives, only mail can show.
fn check_email(email: &str) -> Result<(), AccountError> {
    let valid = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if valid { Ok(()) } else { Err(AccountError::Email(email.to_owned())) }
}

pub(in crate::accounts) fn check_name(name: &str) -> Result<(), AccountError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        Err(AccountError::Name)
    } else {
        Ok(())
    }
}
