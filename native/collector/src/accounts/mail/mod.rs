// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Mails to people: links that show that an address is theirs.

mod smtp;
mod stream;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use smtp::{MailError, SmtpOptions, SmtpTls};

/// Mails on their way at once. More are not queued but given up and logged: throttling keeps the number far below.
const AT_ONCE: usize = 16;

/// A mail of plain text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
    /// What the reader is to open, also in the text; the log prints it when no server is set.
    pub link: Option<String>,
}

/// How mails go out. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    way: Way,
    base: Arc<str>,
    room: Arc<Semaphore>,
}

#[derive(Clone)]
enum Way {
    /// No server is set: the link is logged, for trials.
    Log,
    Smtp(Arc<SmtpOptions>),
}

impl Mailer {
    /// Prints links in the log. `base` is where people reach the manager, such as `https://insights.example.org`.
    pub fn log(base: &str) -> Self {
        Self::new(Way::Log, base)
    }

    pub fn smtp(options: SmtpOptions, base: &str) -> Self {
        Self::new(Way::Smtp(Arc::new(options)), base)
    }

    fn new(way: Way, base: &str) -> Self {
        Self {
            way,
            base: base.trim_end_matches('/').into(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// A link to a path of the manager.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Hands a mail to the server and waits for its word; without a server the link is logged.
    pub(crate) async fn deliver(&self, mail: Mail) -> Result<(), MailError> {
        match &self.way {
            Way::Log => {
                if let Some(link) = &mail.link {
                    tracing::warn!(link, subject = mail.subject, "no mail server is set; this would have been mailed");
                }
                Ok(())
            }
            Way::Smtp(options) => smtp::send(options, &mail).await,
        }
    }

    /// Sends on a task of its own: how long it takes tells nobody whether there was something to send.
    pub(in crate::accounts) fn send(&self, mail: Mail) {
        match &self.way {
            Way::Log => {
                if let Some(link) = &mail.link {
                    tracing::warn!(link, "no mail server is set; this link would have been mailed");
                }
            }
            Way::Smtp(options) => {
                let Ok(permit) = self.room.clone().try_acquire_owned() else {
                    tracing::error!("too many mails are on their way; one was given up");
                    return;
                };
                let options = options.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    if let Err(error) = smtp::send(&options, &mail).await {
                        tracing::error!(error = &error as &dyn std::error::Error, subject = mail.subject, "could not send a mail");
                    }
                });
            }
        }
    }
}
