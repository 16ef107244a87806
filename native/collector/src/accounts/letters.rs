// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What begins with a mail: an account for a trial, a new password, another address. Whoever asks gets the same answer in the same time,
//! whether or not there is an account; only the mail tells.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use insights_store::{
    AccountId, StoreError,
    catalog::{Account, AccountToken, TokenPurpose},
};
use serde::{Deserialize, Serialize};

use super::{
    AccountError, Accounts, Origin, Proof, Session, Signed, TRIAL_QUOTA_BYTES, Visitor, audit::Act, check_email, check_name, mail::Mail,
    session::hash_token,
};

/// How long a link of a sign-up or of a new address is good: people read mail once a day.
const LONG_US: i64 = 48 * 3_600_000_000;

/// How long a link for a new password is good: whoever asks is waiting for it.
const SHORT_US: i64 = 3_600_000_000;

/// Links that are good at once, over all people. Each is a row of some 500 bytes.
const MOST_TOKENS: usize = 10_000;

/// An account that is asked for.
#[derive(Clone, Debug)]
pub struct SignUp {
    pub email: String,
    pub name: String,
    /// Name of the first site.
    pub site: String,
}

#[derive(Deserialize, Serialize)]
struct Wanted {
    name: String,
    site: String,
}

impl Accounts {
    /// Mails a link that makes the account. Where the address has one already, its owner is told so instead.
    pub async fn sign_up(&self, wanted: SignUp, client: IpAddr, now_us: i64) -> Result<(), AccountError> {
        let email = wanted.email.trim().to_owned();
        check_email(&email)?;
        check_name(&wanted.name)?;
        check_name(&wanted.site)?;
        if !self.may_mail(&email, client, now_us) {
            return Ok(());
        }
        if let Some(account) = self.catalog.account_by_email(&email).await? {
            let token = self
                .token(TokenPurpose::ResetPassword, Some(account.id), &email, String::new(), now_us + SHORT_US)
                .await?;
            let link = self.mailer.link(&format!("/reset?token={token}"));
            self.mailer.send(Mail {
                subject: "You have an account of MidoInsights".to_owned(),
                text: format!(
                    "Somebody, perhaps you, asked for an account of MidoInsights with this address, which has one.\r\n\r\n\
                     If you don't know your password any more, this link sets a new one within an hour:\r\n{link}\r\n\r\n\
                     Else there is nothing to do.\r\n"
                ),
                to: email,
                link: Some(link),
            });
            return Ok(());
        }
        let payload = Wanted {
            name: wanted.name.trim().to_owned(),
            site: wanted.site.trim().to_owned(),
        };
        let payload = serde_json::to_string(&payload).unwrap_or_default();
        let token = self.token(TokenPurpose::SignUp, None, &email, payload, now_us + LONG_US).await?;
        let link = self.mailer.link(&format!("/sign-up/confirm?token={token}"));
        self.mailer.send(Mail {
            to: email,
            subject: "Your trial of MidoInsights".to_owned(),
            text: format!(
                "Welcome. To open your account of MidoInsights and to choose its password, follow this link within two days:\r\n{link}\r\n\r\n\
                 If you did not ask for it, there is nothing to do.\r\n"
            ),
            link: Some(link),
        });
        Ok(())
    }

    /// Makes the account and the site of a sign-up. The password is chosen here, by whoever reads the mail: nobody can prepare an account
    /// for somebody else's address. A link works once.
    pub async fn confirm_sign_up(&self, token: &str, password: String, visitor: impl Into<Visitor>, now_us: i64) -> Result<(), AccountError> {
        let password_hash = self.passwords.hash(password).await?;
        let found = self.take(token, TokenPurpose::SignUp, now_us).await?;
        let wanted: Wanted = serde_json::from_str(&found.payload).map_err(|_| AccountError::Link)?;
        let id = AccountId::random();
        let account = Account {
            id,
            email: found.email,
            name: wanted.name,
            password_hash,
            created_us: now_us,
        };
        match self.catalog.create_account(account).await {
            Ok(()) => {}
            // The operator made one in the meantime.
            Err(StoreError::Taken(_)) => return Err(AccountError::Link),
            Err(error) => return Err(error.into()),
        }
        self.create_site(id, &wanted.site, TRIAL_QUOTA_BYTES, now_us).await?;
        let act = Act::done("account.opened", format!("the account was opened, with the site {}", wanted.site.trim()));
        self.keep(id, Origin::mail(visitor.into().address), act, now_us).await;
        tracing::info!(account = %id, "an account was opened");
        Ok(())
    }

    /// Mails a link that sets a new password, if there is an account.
    pub async fn forgot_password(&self, email: &str, client: IpAddr, now_us: i64) -> Result<(), AccountError> {
        let email = email.trim();
        check_email(email)?;
        if !self.may_mail(email, client, now_us) {
            return Ok(());
        }
        let account = self.catalog.account_by_email(email).await?;
        // Without an account a link is kept, too, which nobody gets: it takes the same time.
        let (id, to) = account.map_or((None, email.to_owned()), |account| (Some(account.id), account.email));
        let token = self.token(TokenPurpose::ResetPassword, id, &to, String::new(), now_us + SHORT_US).await?;
        if let Some(id) = id {
            let act = Act::done("account.password", "a link for a new password was asked for");
            self.keep_later(id, Origin::manager(client), act, now_us);
            let link = self.mailer.link(&format!("/reset?token={token}"));
            self.mailer.send(Mail {
                to,
                subject: "A new password for MidoInsights".to_owned(),
                text: format!(
                    "To set a new password for MidoInsights, follow this link within an hour:\r\n{link}\r\n\r\n\
                     If you did not ask for it, there is nothing to do: the old one is good still.\r\n"
                ),
                link: Some(link),
            });
        }
        Ok(())
    }

    /// Sets the password of whoever has the link. All sessions end, and other links of the account with them.
    pub async fn set_forgotten_password(&self, token: &str, password: String, visitor: impl Into<Visitor>, now_us: i64) -> Result<(), AccountError> {
        // A password that is too short must not use the link up.
        let hash = self.passwords.hash(password).await?;
        let found = self.take(token, TokenPurpose::ResetPassword, now_us).await?;
        let account = found.account.ok_or(AccountError::Link)?;
        self.catalog.set_password_hash(account, hash, None).await?;
        self.catalog.delete_tokens_of(account).await?;
        self.throttle.lock().succeeded(&found.email);
        let act = Act::done("account.password", "a new password was set, and all sessions were ended");
        self.keep(account, Origin::mail(visitor.into().address), act, now_us).await;
        Ok(())
    }

    /// Mails a link to the new address, and tells the old one. Needs the password, and a code where there is a second factor.
    pub async fn change_email(
        &self,
        session: &Session,
        visitor: impl Into<Visitor>,
        proof: Proof,
        email: &str,
        now_us: i64,
    ) -> Result<(), AccountError> {
        let visitor = visitor.into();
        let client = visitor.address;
        let email = email.trim();
        check_email(email)?;
        self.confirm(session, &visitor, proof, now_us).await?;
        if !self.may_mail(email, client, now_us) {
            return Ok(());
        }
        self.done(session, "account.email", format!("the address {email} was asked for"), now_us)
            .await;
        // That the address has an account is told by the mail only, and by the link, which fails.
        let token = self
            .token(TokenPurpose::ChangeEmail, Some(session.account()), email, String::new(), now_us + LONG_US)
            .await?;
        let link = self.mailer.link(&format!("/account/email/confirm?token={token}"));
        self.mailer.send(Mail {
            to: email.to_owned(),
            subject: "Your new address for MidoInsights".to_owned(),
            text: format!("To use this address for your account of MidoInsights, follow this link within two days:\r\n{link}\r\n"),
            link: Some(link),
        });
        self.mailer.send(Mail {
            to: session.email.clone(),
            subject: "Your address for MidoInsights is about to change".to_owned(),
            text: "Somebody who is signed in with your account and knows its password asked for another e-mail address. It changes when the link \
                   that went to the new address is followed. If it was not you, change your password now.\r\n"
                .to_owned(),
            link: None,
        });
        Ok(())
    }

    /// Makes the address of the link that of the account.
    pub async fn confirm_email(&self, token: &str, visitor: impl Into<Visitor>, now_us: i64) -> Result<(), AccountError> {
        let found = self.take(token, TokenPurpose::ChangeEmail, now_us).await?;
        let account = found.account.ok_or(AccountError::Link)?;
        let act = Act::done("account.email", format!("the address is {} now", found.email));
        match self.catalog.set_email(account, found.email).await {
            Err(StoreError::Taken(_) | StoreError::Missing(_)) => return Err(AccountError::Link),
            other => other?,
        }
        self.keep(account, Origin::mail(visitor.into().address), act, now_us).await;
        Ok(())
    }

    /// Forgets links that are over.
    pub async fn delete_expired_tokens(&self, now_us: i64) -> Result<usize, AccountError> {
        Ok(self.catalog.delete_expired_tokens(now_us).await?)
    }

    /// Whether one more mail may be asked for, by this client and to this address.
    fn may_mail(&self, email: &str, client: IpAddr, now_us: i64) -> bool {
        let mut mails = self.mails.lock();
        let free = mails.allows(email, client, now_us);
        if free {
            mails.failed(email, client, now_us);
        } else {
            tracing::warn!(%client, "a mail was not sent: too many were asked for");
        }
        free
    }

    async fn token(
        &self,
        purpose: TokenPurpose,
        account: Option<AccountId>,
        email: &str,
        payload: String,
        expires_us: i64,
    ) -> Result<String, AccountError> {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let kept = AccountToken {
            token_hash: hash_token(&token),
            purpose,
            account,
            email: email.to_owned(),
            payload,
            expires_us,
        };
        self.catalog.create_token(kept, MOST_TOKENS).await?;
        Ok(token)
    }

    /// Uses a link up.
    async fn take(&self, token: &str, purpose: TokenPurpose, now_us: i64) -> Result<AccountToken, AccountError> {
        let found = self.catalog.token(hash_token(token), purpose, now_us).await?.ok_or(AccountError::Link)?;
        if self.catalog.delete_token(found.token_hash).await? {
            Ok(found)
        } else {
            Err(AccountError::Link)
        }
    }
}
