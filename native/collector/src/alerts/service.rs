// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the service itself knows of a site: its gateways, what was lost, its storage, certificates.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use insights_store::catalog::{Fingerprint, Gateway, Level, Loss, StoredLoss};
use uuid::Uuid;

use super::{
    About,
    machine::{Finding, Others, RuleFacts, Seen},
    rules::{CERTIFICATE_EXPIRING, GATEWAY_AWAY, GATEWAY_LAGGING, QUOTA_NEARING, RECORDS_LOST},
    topology::rule_facts,
};
use crate::{ingest::LiveStatus, web::units};

/// Age of the oldest record that is not sent yet from which on a gateway lags, ms.
const LAG_MS: u64 = 300_000;

/// Share of the quota from which on it nears.
const NEARLY_FULL: f64 = 0.9;

const DAY_US: i64 = 86_400_000_000;
const EXPIRES_SOON_US: i64 = 30 * DAY_US;
const EXPIRES_NOW_US: i64 = 7 * DAY_US;

/// The gateways of a site at one moment.
pub(super) struct GatewaysNow {
    pub(super) known: Vec<Gateway>,
    pub(super) keys: BTreeSet<Fingerprint>,
    pub(super) live: HashMap<Uuid, LiveStatus>,
    /// The service has just started: gateways are still coming back.
    pub(super) starting: bool,
    pub(super) now_us: i64,
}

impl GatewaysNow {
    /// Why the topology of now is not known, if so.
    pub(super) fn blind(&self) -> Option<&'static str> {
        match (self.live.is_empty(), self.starting) {
            (false, _) => None,
            (true, true) => Some("the service has just started and waits for the gateways"),
            (true, false) => Some("no gateway is connected"),
        }
    }

    pub(super) fn away(&self) -> Option<RuleFacts> {
        let mut seen = BTreeMap::new();
        // Whose key was deleted is not expected any more.
        for gateway in self.known.iter().filter(|gateway| self.keys.contains(&gateway.fingerprint)) {
            if self.live.contains_key(&gateway.id) {
                continue;
            }
            let found = if self.starting {
                Seen::Unknown("the service has just started and waits for it".to_owned())
            } else {
                let text = format!("Gateway {} is away", gateway.name);
                let since_us = gateway.disconnected_us;
                Seen::Trouble(plain(Level::Error, text, &About::gateway(gateway), since_us))
            };
            seen.insert(gateway.id.to_string(), found);
        }
        rule_facts(GATEWAY_AWAY, seen)
    }

    pub(super) fn lagging(&self) -> Option<RuleFacts> {
        let mut seen = BTreeMap::new();
        for gateway in &self.known {
            let found = match self.live.get(&gateway.id).map(|live| live.report.as_ref()) {
                Some(Some(report)) if report.lag_ms >= LAG_MS => {
                    let lag_us = i64::try_from(report.lag_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
                    let text = format!("Gateway {} lags by {}", gateway.name, units::duration(lag_us));
                    Seen::Trouble(Finding {
                        value: Some(report.lag_ms as f64 / 1e3),
                        threshold: Some(LAG_MS as f64 / 1e3),
                        ..plain(Level::Warning, text, &About::gateway(gateway), Some(self.now_us - lag_us))
                    })
                }
                Some(Some(_)) => continue,
                Some(None) => Seen::Unknown("it has not reported yet".to_owned()),
                None => Seen::Unknown("it is away".to_owned()),
            };
            seen.insert(gateway.id.to_string(), found);
        }
        rule_facts(GATEWAY_LAGGING, seen)
    }

    /// `service` is the end of the service's own certificate.
    pub(super) fn certificates(&self, service_until_us: Option<i64>) -> Option<RuleFacts> {
        let mut seen = BTreeMap::new();
        if let Some(found) = service_until_us.and_then(|until| self.expires("the service", &About::site(), until)) {
            seen.insert("service".to_owned(), found);
        }
        for gateway in &self.known {
            let until = self.live.get(&gateway.id).map(|live| live.certificate_until_us);
            let found = match until {
                Some(Some(until)) => self.expires(&format!("gateway {}", gateway.name), &About::gateway(gateway), until),
                _ => Some(Seen::Unknown("its certificate is seen while it is connected".to_owned())),
            };
            if let Some(found) = found {
                seen.insert(gateway.id.to_string(), found);
            }
        }
        rule_facts(CERTIFICATE_EXPIRING, seen)
    }

    fn expires(&self, whose: &str, about: &About, until_us: i64) -> Option<Seen> {
        let left = until_us - self.now_us;
        if left > EXPIRES_SOON_US {
            return None;
        }
        let level = if left <= EXPIRES_NOW_US { Level::Error } else { Level::Warning };
        let text = format!("The certificate of {whose} ends on {} UTC", units::full(until_us));
        Some(Seen::Trouble(Finding {
            value: Some((left as f64 / DAY_US as f64).floor()),
            threshold: Some(EXPIRES_SOON_US as f64 / DAY_US as f64),
            ..plain(level, text, about, Some(until_us - EXPIRES_SOON_US))
        }))
    }
}

/// Losses that came since the last look.
pub(super) fn losses(new: &[(u64, StoredLoss)], gateways: &[Gateway]) -> Option<RuleFacts> {
    let mut sums: BTreeMap<String, (Loss, Option<&Gateway>)> = BTreeMap::new();
    for (_, StoredLoss { gateway, loss }) in new {
        let whose = gateway.map_or_else(|| "service".to_owned(), |id| id.to_string());
        let (sum, _) = sums.entry(format!("{whose} {} {}", loss.kind, loss.cause)).or_insert_with(|| {
            let gateway = gateway.and_then(|id| gateways.iter().find(|gateway| gateway.id == id));
            (Loss { records: 0, ..loss.clone() }, gateway)
        });
        sum.records += loss.records;
        sum.first_us = sum.first_us.min(loss.first_us);
    }
    let seen = sums.into_iter().map(|(subject, (loss, gateway))| {
        let at = gateway.map_or_else(String::new, |gateway| format!(" at gateway {}", gateway.name));
        let text = format!("Records of {} were lost{at}: {}", loss.kind, loss.cause.replace(['_', '-'], " "));
        let about = gateway.map_or_else(About::site, About::gateway);
        let finding = Finding {
            value: Some(loss.records as f64),
            adds: true,
            ..plain(Level::Warning, text, &about, Some(loss.first_us))
        };
        (subject, Seen::Trouble(finding))
    });
    rule_facts(RECORDS_LOST, seen.collect())
}

/// `used` is `None` when it could not be told.
pub(super) fn quota(used: Option<u64>, quota: u64) -> Option<RuleFacts> {
    let facts = rule_facts(QUOTA_NEARING, BTreeMap::new())?;
    let Some(used) = used else {
        return Some(RuleFacts {
            others: Others::Unknown("the store does not say how much it holds".to_owned()),
            ..facts
        });
    };
    if quota == 0 || (used as f64) < quota as f64 * NEARLY_FULL {
        return Some(facts);
    }
    let text = format!("Flows and meters take {} of {}", units::bytes(used as f64), units::bytes(quota as f64));
    let finding = Finding {
        value: Some((used as f64 / quota as f64 * 100.0).floor()),
        threshold: Some(NEARLY_FULL * 100.0),
        ..plain(Level::Warning, text, &About::site(), None)
    };
    Some(RuleFacts {
        seen: BTreeMap::from([("quota".to_owned(), Seen::Trouble(finding))]),
        ..facts
    })
}

fn plain(level: Level, text: String, about: &About, since_us: Option<i64>) -> Finding {
    Finding {
        level,
        text,
        about: about.json(),
        since_us,
        value: None,
        threshold: None,
        adds: false,
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use insights_store::StreamKind;

    use super::*;

    const NOW: i64 = 1_000 * DAY_US;

    fn gateway(id: u128, key: u8) -> Gateway {
        Gateway {
            id: Uuid::from_u128(id),
            name: format!("gw-{id}"),
            version: "1".into(),
            fingerprint: [key; 32],
            first_seen_us: 1,
            connected_us: 2,
            disconnected_us: Some(3),
            report: None,
        }
    }

    fn live(certificate_until_us: i64) -> LiveStatus {
        LiveStatus {
            address: "127.0.0.1:1".parse().unwrap(),
            connected_us: 1,
            clock_ahead_us: 0,
            allowed: insights_protocol::Kinds::ALL,
            report: None,
            certificate_until_us: Some(certificate_until_us),
        }
    }

    fn now(starting: bool) -> GatewaysNow {
        GatewaysNow {
            known: vec![gateway(1, 1), gateway(2, 2), gateway(3, 3)],
            keys: [[1; 32], [2; 32]].into(),
            live: HashMap::from([(Uuid::from_u128(1), live(NOW + 6 * DAY_US))]),
            starting,
            now_us: NOW,
        }
    }

    fn troubled(facts: Option<RuleFacts>) -> Vec<(String, Level)> {
        let seen = facts.unwrap().seen.into_iter();
        seen.filter_map(|(subject, seen)| match seen {
            Seen::Trouble(finding) => Some((subject, finding.level)),
            Seen::Unknown(_) => None,
        })
        .collect()
    }

    #[test]
    fn a_gateway_is_away_when_it_is_expected_and_had_time_to_come_back() {
        let two = Uuid::from_u128(2).to_string();
        assert_eq!(troubled(now(false).away()), [(two.clone(), Level::Error)]);
        let starting = now(true).away().unwrap();
        assert!(matches!(starting.seen.get(&two), Some(Seen::Unknown(_))));
        assert_eq!(now(false).blind(), None);
        let alone = GatewaysNow {
            live: HashMap::new(),
            ..now(false)
        };
        assert_eq!(alone.blind(), Some("no gateway is connected"));
    }

    #[test]
    fn certificates_are_told_before_they_end() {
        let one = Uuid::from_u128(1).to_string();
        assert_eq!(troubled(now(false).certificates(Some(NOW + 31 * DAY_US))), [(one.clone(), Level::Error)]);
        let both = now(false).certificates(Some(NOW + 29 * DAY_US));
        assert_eq!(troubled(both), [(one, Level::Error), ("service".to_owned(), Level::Warning)]);
    }

    #[test]
    fn losses_of_a_kind_and_cause_are_one_trouble() {
        let loss = |id, records, cause: &str| {
            let loss = Loss {
                kind: StreamKind::Flows,
                records,
                first_us: 5,
                last_us: 6,
                cause: cause.into(),
            };
            (
                id,
                StoredLoss {
                    gateway: Some(Uuid::from_u128(1)),
                    loss,
                },
            )
        };
        let new = [loss(1, 4, "spool_full"), loss(2, 6, "spool_full"), loss(3, 1, "crash")];
        let facts = losses(&new, &[gateway(1, 1)]).unwrap();
        let values = facts.seen.values().map(|seen| match seen {
            Seen::Trouble(finding) => (finding.value, finding.text.as_str()),
            Seen::Unknown(_) => (None, ""),
        });
        let values: Vec<_> = values.collect();
        assert_eq!(
            values,
            [
                (Some(1.0), "Records of flows were lost at gateway gw-1: crash"),
                (Some(10.0), "Records of flows were lost at gateway gw-1: spool full")
            ]
        );
    }

    #[test]
    fn a_quota_nears_at_nine_tenths() {
        assert!(troubled(quota(Some(89), 100)).is_empty());
        assert_eq!(troubled(quota(Some(90), 100)).len(), 1);
        assert!(troubled(quota(Some(90), 0)).is_empty(), "no bound");
        assert!(matches!(quota(None, 100).unwrap().others, Others::Unknown(_)));
    }
}
