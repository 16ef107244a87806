// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The minutes that a rule looks at, from the store, and which of them are complete.

use std::collections::{BTreeSet, HashMap};

use insights_store::{
    Period, SiteId, Store, StoreError, StreamKind,
    catalog::{EventQuery, Fingerprint, Gateway},
    query::{Budget, HistogramQuery},
};
use uuid::Uuid;

use super::{Measure, judge::Minute, question::Question};
use crate::{ingest::LiveStatus, query::traffic};

pub(super) const MINUTE_US: i64 = 60_000_000;

/// Records come within seconds of their time; a gateway that lags says so.
const RECORDS_SETTLE_US: i64 = 10_000_000;

/// Meters are read once a minute, and what they moved is spread over the minute before.
const METERS_SETTLE_US: i64 = 180_000_000;

/// Gateways that came and went before a period are looked for so far back, µs.
const LOOK_BACK_US: i64 = 86_400_000_000;

/// Steps of one question to the store.
const STEPS: i64 = 8_640;

/// End of the last minute of which all should be here.
pub(super) fn settled(measure: Measure, now_us: i64) -> i64 {
    let settle_us = match measure {
        Measure::Records => RECORDS_SETTLE_US,
        _ => METERS_SETTLE_US,
    };
    (now_us - settle_us).div_euclid(MINUTE_US) * MINUTE_US
}

/// The gateways of a site: what is not here yet is with them.
pub(super) struct Feeds<'a> {
    pub(super) known: &'a [Gateway],
    /// Keys that are let in: others are not expected.
    pub(super) keys: &'a BTreeSet<Fingerprint>,
    pub(super) live: &'a HashMap<Uuid, LiveStatus>,
}

impl Question {
    fn kind(&self) -> StreamKind {
        match self {
            Question::Records(_) => StreamKind::Flows,
            Question::Meters { .. } => StreamKind::Meters,
        }
    }

    /// Full minutes of a period that begins and ends with one.
    pub(super) async fn minutes(
        &self,
        store: &Store,
        site: SiteId,
        period: Period,
        feeds: &Feeds<'_>,
        now_us: i64,
        budget: Budget,
    ) -> Result<Vec<Minute>, StoreError> {
        let mut minutes = Vec::new();
        let mut from_us = period.from_us;
        while from_us < period.to_us {
            let part = Period::new(from_us, period.to_us.min(from_us + STEPS * MINUTE_US));
            minutes.extend(self.values(store, site, part, now_us, budget).await?);
            from_us = part.to_us;
        }
        for (from_us, to_us) in incomplete(store, site, period, self.kind(), feeds, now_us).await? {
            let first = (from_us - period.from_us).div_euclid(MINUTE_US).max(0);
            let end = (to_us.min(period.to_us) - period.from_us + MINUTE_US - 1).div_euclid(MINUTE_US);
            for at in first..end {
                if let Some(minute) = usize::try_from(at).ok().and_then(|at| minutes.get_mut(at)) {
                    minute.sure = false;
                }
            }
        }
        Ok(minutes)
    }

    async fn values(&self, store: &Store, site: SiteId, period: Period, now_us: i64, budget: Budget) -> Result<Vec<Minute>, StoreError> {
        let sure = |value| Minute { value, sure: true };
        match self {
            Question::Records(filter) => {
                let query = HistogramQuery {
                    period,
                    filter: filter.clone(),
                    step_us: MINUTE_US,
                    budget,
                };
                let bins = store.series().histogram(site, query).await?.value;
                Ok(bins.iter().map(|bin| sure(bin.total() as f64)).collect())
            }
            Question::Meters { keys, packets } => {
                let found = traffic::lines_of(store, site, period, MINUTE_US, now_us, std::slice::from_ref(keys)).await?;
                let rates = found.lines.first().map(|line| line.rates(*packets)).unwrap_or_default();
                let minute = |rate: Option<f64>| rate.map_or_else(Minute::default, sure);
                Ok(rates.into_iter().map(minute).collect())
            }
        }
    }
}

/// Spans of which something may be missing: lost, on its way, or of a time that nobody recorded.
async fn incomplete(
    store: &Store,
    site: SiteId,
    period: Period,
    kind: StreamKind,
    feeds: &Feeds<'_>,
    now_us: i64,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut spans = Vec::new();
    for stored in store.catalog().losses(site, period).await? {
        if stored.loss.kind == kind {
            spans.push((stored.loss.first_us, stored.loss.last_us + 1));
        }
    }
    let seen_us = feeds.known.iter().map(|gateway| gateway.first_seen_us).min().unwrap_or(i64::MAX);
    spans.push((i64::MIN / 2, seen_us.min(period.to_us)));
    spans.extend(feeds.on_their_way(now_us).map(|from_us| (from_us, period.to_us)));
    let came_and_went = EventQuery {
        kind: "gateway.".to_owned(),
        ..EventQuery::all(Period::new(period.from_us - LOOK_BACK_US, period.to_us), EventQuery::MAX_LIMIT)
    };
    let mut away: HashMap<Uuid, i64> = HashMap::new();
    for stored in store.catalog().events(site, came_and_went).await?.into_iter().rev() {
        let (Some(gateway), at_us) = (stored.event.gateway, stored.event.at_us) else {
            continue;
        };
        match stored.event.kind.as_str() {
            "gateway.disconnected" => _ = away.insert(gateway, at_us),
            // Whether it ran in between, and took what agents sent, nobody can tell.
            "gateway.connected" => spans.extend(away.remove(&gateway).map(|from_us| (from_us, at_us))),
            _ => {}
        }
    }
    Ok(spans)
}

impl Feeds<'_> {
    /// From when on each gateway may have something that is not here.
    fn on_their_way(&self, now_us: i64) -> impl Iterator<Item = i64> {
        let expected = self.known.iter().filter(|gateway| self.keys.contains(&gateway.fingerprint));
        expected.filter_map(move |gateway| match self.live.get(&gateway.id) {
            None => Some(gateway.disconnected_us.unwrap_or(gateway.connected_us)),
            // It has just come, and will tell within seconds what it still has.
            Some(LiveStatus {
                report: None, connected_us, ..
            }) => Some(*connected_us - METERS_SETTLE_US),
            Some(LiveStatus { report: Some(report), .. }) => {
                let lag_us = i64::try_from(report.lag_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
                (lag_us > RECORDS_SETTLE_US).then(|| now_us.saturating_sub(lag_us))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(id: u128) -> Gateway {
        Gateway {
            id: Uuid::from_u128(id),
            name: String::new(),
            version: String::new(),
            fingerprint: [id as u8; 32],
            first_seen_us: 0,
            connected_us: 100,
            disconnected_us: Some(200),
            report: None,
        }
    }

    #[test]
    fn what_gateways_hold_back_is_not_here() {
        let status = |lag_ms| LiveStatus {
            address: "127.0.0.1:1".parse().unwrap(),
            connected_us: 1_000_000_000,
            clock_ahead_us: 0,
            allowed: insights_protocol::Kinds::ALL,
            report: Some(insights_protocol::control::Report {
                lag_ms,
                ..Default::default()
            }),
            certificate_until_us: None,
        };
        let fresh = LiveStatus { report: None, ..status(0) };
        let known: Vec<Gateway> = (1..=5).map(gateway).collect();
        // The fifth one's key was taken away: nothing is expected of it.
        let keys = (1..=4).map(|id| [id; 32]).collect();
        let live = [(2, status(500)), (3, status(60_000)), (4, fresh)];
        let live = live.into_iter().map(|(id, live)| (Uuid::from_u128(id), live)).collect();
        let feeds = Feeds {
            known: &known,
            keys: &keys,
            live: &live,
        };
        let from: Vec<i64> = feeds.on_their_way(2_000_000_000).collect();
        assert_eq!(from, [200, 1_940_000_000, 820_000_000]);
    }

    #[test]
    fn a_minute_is_looked_at_when_all_of_it_should_be_here() {
        let end = 3 * MINUTE_US;
        assert_eq!(settled(Measure::Records, end + RECORDS_SETTLE_US), end);
        assert_eq!(settled(Measure::Records, end + RECORDS_SETTLE_US - 1), end - MINUTE_US);
        assert_eq!(settled(Measure::BitsIn, end + METERS_SETTLE_US), end);
    }
}
