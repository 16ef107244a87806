// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures::{StreamExt, stream};
use insights_store::{
    SiteId, StoreError,
    catalog::{Catalog, Notice},
};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::{
    AllowedPrefix, Format, Webhook,
    format::{self, Sender, Told},
    post, sign,
};
use crate::{
    accounts::{Mail, Mailer},
    clock::now_us,
};

/// How often what is due is looked for.
const EVERY: Duration = Duration::from_secs(1);

/// Notices that are read at once, and so the most in one message.
const AT_ONCE: usize = 200;

/// Messages on their way at once, each to another receiver.
const RECEIVERS: usize = 8;

/// More notices for one receiver at the same moment become one message.
const SINGLY: usize = 3;

/// Messages to one receiver in an hour; what is above waits for the next hour and comes as one message.
const PER_HOUR: u32 = 30;
const HOUR_US: i64 = 3_600_000_000;

/// The first pause after a failure; it doubles with each, to an hour at most.
const FIRST_PAUSE_US: i64 = 10_000_000;

/// What the courier works with.
#[derive(Clone)]
pub struct CourierParts {
    pub catalog: Catalog,
    pub mailer: Mailer,
    pub allowed: Vec<AllowedPrefix>,
}

/// The running task that delivers notices.
pub struct Courier {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Messages of the hour by receiver. In memory: after a restart a receiver may get some more, no less.
type Sent = Mutex<HashMap<(SiteId, Uuid), (i64, u32)>>;

impl Courier {
    pub fn start(parts: CourierParts) -> Self {
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(run(parts, stopping));
        Self { stop, task }
    }

    /// Ends when the messages on their way have arrived or failed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A panic was logged by its hook.
        let _ = self.task.await;
    }
}

async fn run(parts: CourierParts, mut stop: watch::Receiver<bool>) {
    let sent = Sent::default();
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => return,
        }
        match deliver_due(&parts, &sent).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(error = &error as &dyn std::error::Error, "could not deliver notices of alerts");
                }
            }
        }
    }
}

async fn deliver_due(parts: &CourierParts, sent: &Sent) -> Result<(), StoreError> {
    let due = parts.catalog.due_notices(now_us(), AT_ONCE).await?;
    let mut receivers: BTreeMap<(SiteId, Uuid), Vec<Notice>> = BTreeMap::new();
    for notice in due {
        receivers.entry((notice.site, notice.target.id)).or_default().push(notice);
    }
    let results: Vec<Result<(), StoreError>> = stream::iter(receivers)
        .map(|(receiver, notices)| async move {
            if notices.len() > SINGLY && !is_single(&notices) {
                return deliver(parts, sent, receiver, notices).await.map(|_| ());
            }
            let mut notices = notices.into_iter();
            for notice in notices.by_ref() {
                if !deliver(parts, sent, receiver, vec![notice]).await? {
                    break;
                }
            }
            // One that does not take the first is not asked to take the rest: others wait for their turn.
            for notice in notices {
                parts.catalog.put_notice_off(notice.id, now_us() + FIRST_PAUSE_US).await?;
            }
            Ok(())
        })
        .buffer_unordered(RECEIVERS)
        .collect()
        .await;
    results.into_iter().collect()
}

/// The receiver takes one notice at a time.
fn is_single(notices: &[Notice]) -> bool {
    let webhook = notices
        .first()
        .and_then(|notice| serde_json::from_str::<Webhook>(&notice.target.definition).ok());
    webhook.is_some_and(|webhook| webhook.format == Format::PagerDuty)
}

/// Delivers notices as one message, or puts them off. False when the receiver did not take them.
async fn deliver(parts: &CourierParts, sent: &Sent, receiver: (SiteId, Uuid), notices: Vec<Notice>) -> Result<bool, StoreError> {
    let now = now_us();
    if let Some(next_us) = wait_for(sent, receiver, now) {
        for notice in notices {
            parts.catalog.put_notice_off(notice.id, next_us).await?;
        }
        return Ok(true);
    }
    let outcome = send(parts, receiver.0, &notices).await?;
    let now = now_us();
    for notice in notices {
        match &outcome {
            Ok(()) => parts.catalog.notice_delivered(receiver.0, receiver.1, notice.id, now).await?,
            Err(why) => {
                let next_us = now + pause_us(notice.attempts);
                parts
                    .catalog
                    .notice_failed(receiver.0, receiver.1, notice.id, why.clone(), next_us, now)
                    .await?;
            }
        }
    }
    let taken = outcome.is_ok();
    if let Err(why) = outcome {
        tracing::warn!(site = %receiver.0, receiver = %receiver.1, why, "a receiver of alerts did not take a notice; it is tried again");
    }
    Ok(taken)
}

/// Counts a message to a receiver, or says when there is room for the next.
fn wait_for(sent: &Sent, receiver: (SiteId, Uuid), now_us: i64) -> Option<i64> {
    let mut sent = sent.lock();
    sent.retain(|_, (begun_us, _)| now_us - *begun_us < HOUR_US);
    let (begun_us, count) = sent.entry(receiver).or_insert((now_us, 0));
    if *count >= PER_HOUR {
        return Some(*begun_us + HOUR_US);
    }
    *count += 1;
    None
}

fn pause_us(attempts: u32) -> i64 {
    FIRST_PAUSE_US.saturating_mul(1 << attempts.min(16)).min(HOUR_US)
}

/// Sends one message. The inner error is for the person who set the receiver up.
async fn send(parts: &CourierParts, site: SiteId, notices: &[Notice]) -> Result<Result<(), String>, StoreError> {
    let (Some(first), Some(known)) = (notices.first(), parts.catalog.site(site).await?) else {
        return Ok(Ok(()));
    };
    let base = format!("/s/{site}/alerts");
    let told: Vec<Told> = notices
        .iter()
        .map(|notice| Told::of(notice, |id| parts.mailer.link(&format!("{base}/{id}"))))
        .collect();
    let (site_id, link) = (site.to_string(), parts.mailer.link(&base));
    let sender = Sender {
        site: &known.name,
        site_id: &site_id,
        link: &link,
    };
    if first.target.kind == "mail" {
        // To the account's own address, which is proven to be theirs: nobody can be sent what they did not ask for.
        let Some(account) = parts.catalog.account(known.account).await? else {
            return Ok(Ok(()));
        };
        let (subject, text) = format::mail(&sender, &told);
        let mail = Mail {
            to: account.email,
            subject,
            text,
            link: Some(link.clone()),
        };
        return Ok(parts.mailer.deliver(mail).await.map_err(|error| error.to_string()));
    }
    let Ok(webhook) = serde_json::from_str::<Webhook>(&first.target.definition) else {
        return Ok(Err("its settings can't be read".to_owned()));
    };
    let body = format::body(&webhook, &sender, &told).to_string();
    let headers = [
        ("insights-delivery", first.delivery.to_string()),
        (
            "insights-signature",
            sign::signature(&webhook.secret, now_us() / 1_000_000, body.as_bytes()),
        ),
    ];
    let posted = post::post(&webhook.url, &headers, body.as_bytes(), &parts.allowed).await;
    Ok(posted.map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_has_room_for_some_an_hour() {
        let (sent, receiver) = (Sent::default(), (SiteId(Uuid::nil()), Uuid::nil()));
        for _ in 0..PER_HOUR {
            assert_eq!(wait_for(&sent, receiver, 5), None);
        }
        assert_eq!(wait_for(&sent, receiver, 6), Some(5 + HOUR_US));
        assert_eq!(wait_for(&sent, (SiteId(Uuid::nil()), Uuid::from_u128(1)), 6), None, "another one");
        assert_eq!(wait_for(&sent, receiver, 5 + HOUR_US), None);
    }

    #[test]
    fn pauses_double_to_an_hour() {
        assert_eq!([0, 1, 2].map(pause_us), [10_000_000, 20_000_000, 40_000_000]);
        assert_eq!(pause_us(9), HOUR_US);
        assert_eq!(pause_us(u32::MAX), HOUR_US);
    }
}
