// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Notices in the forms that receivers understand.

use insights_store::catalog::Notice;
use serde_json::{Value, json};

use super::{Format, Webhook};
use crate::web::units;

/// A notice as every form needs it.
pub(super) struct Told {
    delivery: String,
    /// `opened`, `resolved` or `test`.
    what: String,
    alert: Value,
    text: String,
    level: String,
    link: String,
    since_us: i64,
    at_us: i64,
}

/// What all notices of one message share.
pub(super) struct Sender<'a> {
    pub(super) site: &'a str,
    pub(super) site_id: &'a str,
    /// The list of open alerts.
    pub(super) link: &'a str,
}

impl Told {
    /// `link` is the page of the alert.
    pub(super) fn of(notice: &Notice, link: impl Fn(u64) -> String) -> Self {
        let alert: Value = serde_json::from_str(&notice.payload).unwrap_or_default();
        let text = |name: &str| alert[name].as_str().unwrap_or_default().to_owned();
        Self {
            delivery: notice.delivery.to_string(),
            what: notice.what.clone(),
            text: text("text"),
            level: text("level"),
            link: alert["id"].as_u64().map_or_else(String::new, link),
            since_us: alert["since_us"].as_i64().unwrap_or(notice.created_us),
            at_us: notice.created_us,
            alert,
        }
    }

    /// One line.
    fn line(&self) -> String {
        match self.what.as_str() {
            "resolved" => format!("Resolved: {}", self.text),
            "test" => format!("Test: {}", self.text),
            _ => {
                let word = if self.level == "error" { "Critical" } else { "Warning" };
                format!("{word}: {}", self.text)
            }
        }
    }

    fn key(&self, site: &str) -> String {
        match self.alert["id"].as_u64() {
            Some(id) => format!("midoinsights-{site}-{id}"),
            None => format!("midoinsights-{site}-test"),
        }
    }
}

/// Subject and text of a mail.
pub(super) fn mail(sender: &Sender<'_>, told: &[Told]) -> (String, String) {
    let subject = match told {
        [one] => format!("[{}] {}", sender.site, one.line()),
        many => format!("[{}] {} alerts opened or ended", sender.site, many.len()),
    };
    let mut text = String::new();
    for one in told {
        text.push_str(&format!(
            "{}\r\n  since {} UTC, told {} UTC\r\n",
            one.line(),
            units::full(one.since_us),
            units::full(one.at_us)
        ));
        if let Some(why) = one.alert["why"].as_str().filter(|why| !why.is_empty()) {
            text.push_str(&format!("  {why}\r\n"));
        }
        if !one.link.is_empty() {
            text.push_str(&format!("  {}\r\n", one.link));
        }
        text.push_str("\r\n");
    }
    text.push_str(&format!("All open alerts of {}:\r\n{}\r\n", sender.site, sender.link));
    // A name of a site or an object may hold anything that can be typed; a subject is one line.
    let subject = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    (subject, text)
}

/// Body of a webhook. Of PagerDuty's form one body holds one notice, the first.
pub(super) fn body(webhook: &Webhook, sender: &Sender<'_>, told: &[Told]) -> Value {
    match webhook.format {
        Format::Json => json!({
            "version": 1,
            "site": { "id": sender.site_id, "name": sender.site },
            "notices": told.iter().map(|one| json!({
                "delivery": one.delivery,
                "what": one.what,
                "at_us": one.at_us,
                "link": one.link,
                "alert": one.alert,
            })).collect::<Vec<_>>(),
        }),
        Format::Slack => {
            let lines: Vec<String> = told
                .iter()
                .map(|one| match one.link.as_str() {
                    "" => escape(&one.line()),
                    link => format!("<{link}|{}>", escape(&one.line())),
                })
                .collect();
            json!({ "text": format!("*{}*\n{}", escape(sender.site), lines.join("\n")) })
        }
        Format::PagerDuty => told.first().map_or(Value::Null, |one| pager_duty(webhook, sender, one)),
        Format::Alertmanager => alertmanager(sender, told),
    }
}

fn pager_duty(webhook: &Webhook, sender: &Sender<'_>, one: &Told) -> Value {
    let mut event = json!({
        "routing_key": webhook.key,
        "event_action": if one.what == "resolved" { "resolve" } else { "trigger" },
        "dedup_key": one.key(sender.site_id),
        "payload": {
            "summary": one.line().chars().take(1_024).collect::<String>(),
            "source": sender.site,
            "severity": match (one.what.as_str(), one.level.as_str()) {
                ("test", _) => "info",
                (_, "error") => "critical",
                _ => "warning",
            },
            "timestamp": units::rfc3339(one.since_us),
            "custom_details": one.alert,
        },
    });
    if !one.link.is_empty() {
        event["links"] = json!([{ "href": one.link, "text": "MidoInsights" }]);
    }
    event
}

fn alertmanager(sender: &Sender<'_>, told: &[Told]) -> Value {
    let alerts: Vec<Value> = told
        .iter()
        .map(|one| {
            let resolved = one.what == "resolved";
            json!({
                "status": if resolved { "resolved" } else { "firing" },
                "labels": {
                    "alertname": one.alert["rule"].as_str().unwrap_or("test"),
                    "severity": if one.level == "error" { "critical" } else { "warning" },
                    "site": sender.site,
                    "subject": one.alert["subject"].as_str().unwrap_or_default(),
                },
                "annotations": { "summary": one.text },
                "startsAt": units::rfc3339(one.since_us),
                "endsAt": if resolved { units::rfc3339(one.at_us) } else { "0001-01-01T00:00:00Z".to_owned() },
                "generatorURL": one.link,
                "fingerprint": one.key(sender.site_id),
            })
        })
        .collect();
    let firing = told.iter().any(|one| one.what != "resolved");
    json!({
        "version": "4",
        "groupKey": format!("midoinsights/{}", sender.site_id),
        "truncatedAlerts": 0,
        "status": if firing { "firing" } else { "resolved" },
        "receiver": "midoinsights",
        "groupLabels": { "site": sender.site },
        "commonLabels": { "site": sender.site },
        "commonAnnotations": {},
        "externalURL": sender.link,
        "alerts": alerts,
    })
}

/// The three characters that mean something to Slack.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use insights_store::{
        SiteId,
        catalog::{AlertTarget, Level},
    };
    use uuid::Uuid;

    use super::*;

    fn told(what: &str, text: &str) -> Told {
        let notice = Notice {
            id: 1,
            site: SiteId(Uuid::nil()),
            target: AlertTarget {
                id: Uuid::nil(),
                kind: "webhook".into(),
                name: "x".into(),
                definition: String::new(),
                level: Level::Warning,
                created_us: 0,
                failed: None,
                delivered_us: None,
            },
            delivery: Uuid::from_u128(9),
            what: what.into(),
            payload: json!({ "id": 7, "rule": "host-down", "subject": "h", "level": "error", "text": text, "since_us": 1_000_000, "why": "" })
                .to_string(),
            created_us: 61_000_000,
            attempts: 0,
        };
        Told::of(&notice, |id| format!("https://insights.test/s/x/alerts/{id}"))
    }

    const SENDER: Sender<'static> = Sender {
        site: "eu & west",
        site_id: "s",
        link: "https://insights.test/s/x/alerts",
    };

    fn body_of(format: Format, told: &[Told]) -> Value {
        let webhook = Webhook {
            url: String::new(),
            format,
            secret: String::new(),
            key: "routing".into(),
        };
        body(&webhook, &SENDER, told)
    }

    #[test]
    fn each_form_has_what_its_receiver_asks_for() {
        let opened = told("opened", "Host <a> is down");
        let json = body_of(Format::Json, std::slice::from_ref(&opened));
        assert_eq!(json["notices"][0]["alert"]["rule"], "host-down");
        assert_eq!(json["notices"][0]["delivery"], Uuid::from_u128(9).to_string());
        let slack = body_of(Format::Slack, std::slice::from_ref(&opened));
        assert_eq!(
            slack["text"],
            "*eu &amp; west*\n<https://insights.test/s/x/alerts/7|Critical: Host &lt;a&gt; is down>"
        );
        let pager = body_of(Format::PagerDuty, std::slice::from_ref(&opened));
        assert_eq!((&pager["event_action"], &pager["routing_key"]), (&json!("trigger"), &json!("routing")));
        assert_eq!(pager["payload"]["severity"], "critical");
        let ended = body_of(Format::PagerDuty, &[told("resolved", "x")]);
        assert_eq!((&ended["event_action"], &ended["dedup_key"]), (&json!("resolve"), &pager["dedup_key"]));
        let manager = body_of(Format::Alertmanager, &[told("resolved", "x"), opened]);
        assert_eq!((&manager["status"], &manager["version"]), (&json!("firing"), &json!("4")));
        assert_eq!(manager["alerts"][0]["endsAt"], "1970-01-01T00:01:01.000000Z");
        assert_eq!(manager["alerts"][1]["status"], "firing");
    }

    #[test]
    fn a_mail_has_one_line_as_its_subject_and_a_link_for_each() {
        let (subject, text) = mail(&SENDER, &[told("opened", "Host\r\nBcc: x is down")]);
        assert_eq!(subject, "[eu & west] Critical: Host  Bcc: x is down");
        assert!(text.contains("https://insights.test/s/x/alerts/7\r\n"));
        let (subject, text) = mail(&SENDER, &[told("opened", "a"), told("resolved", "b")]);
        assert_eq!(subject, "[eu & west] 2 alerts opened or ended");
        assert!(text.contains("Critical: a") && text.contains("Resolved: b"));
    }
}
