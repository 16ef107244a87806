// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a rule would have said of a time that has passed.

use std::{collections::BTreeSet, time::Duration};

use insights_store::{Period, StoreError, query::Budget};

use super::{
    Definition, DefinitionError,
    judge::{Judged, Minute, judge},
    series::{Feeds, MINUTE_US, settled},
};
use crate::{accounts::TenantNames, ingest::Gateways, query::scoped::ScopedStore, site::Site};

/// A person waits for it.
const BUDGET: Budget = Budget {
    rows: 200_000_000,
    bytes: 4 << 30,
    time: Duration::from_secs(10),
};

/// Minutes that must be fine before an alert ends, as in the engine.
const CLEAR_MINUTES: usize = 2;

/// What a preview is made from.
pub struct PreviewParts<'a> {
    pub store: &'a ScopedStore,
    pub gateways: &'a Gateways,
    pub site: &'a Site,
    pub tenants: &'a TenantNames,
    pub now_us: i64,
}

/// A time in which an alert would have been open.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Span {
    pub from_us: i64,
    /// `None` while it is open still.
    pub to_us: Option<i64>,
}

/// The minutes of a period, and the alerts that there would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    pub period: Period,
    /// By the minute, at least so much.
    pub values: Vec<f64>,
    /// Spans of which something may be missing, in order.
    pub incomplete: Vec<(i64, i64)>,
    pub alerts: Vec<Span>,
    /// Minutes of which nobody could have said whether it is trouble.
    pub unknown: usize,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    #[error("look at the minutes of a rule")]
    Store(#[from] StoreError),
}

impl Definition {
    /// Judges each minute of the last `span_us` as the engine would have.
    pub async fn preview(&self, parts: &PreviewParts<'_>, span_us: i64) -> Result<Preview, PreviewError> {
        let question = self.question(parts.site, parts.tenants)?;
        let (store, site) = parts.store.parts();
        let to_us = settled(self.measure, parts.now_us);
        let period = Period::new(to_us - span_us / MINUTE_US * MINUTE_US, to_us);
        let lead = self.condition.window() as i64 - 1;
        let known = store.catalog().gateways(site).await?;
        let keys: BTreeSet<_> = store.catalog().fingerprints(site).await?.into_iter().map(|key| key.fingerprint).collect();
        let live = parts.gateways.live_of(site);
        let feeds = Feeds {
            known: &known,
            keys: &keys,
            live: &live,
        };
        let whole = Period::new(period.from_us - lead * MINUTE_US, period.to_us);
        let minutes = question.minutes(store, site, whole, &feeds, parts.now_us, BUDGET).await?;
        Ok(self.told(period, &minutes))
    }

    /// `minutes` end with the period, and begin before it by as many as the condition looks back.
    fn told(&self, period: Period, minutes: &[Minute]) -> Preview {
        let window = self.condition.window();
        let (mut alerts, mut fine, mut unknown) = (Vec::<Span>::new(), 0, 0);
        for end in window..=minutes.len() {
            // The minutes of the period are judged at their ends.
            let at_us = period.to_us - (minutes.len() - end) as i64 * MINUTE_US;
            let open = alerts.last_mut().filter(|span| span.to_us.is_none());
            match (judge(self.condition, &minutes[end - window..end]), open) {
                (Judged::Trouble { .. }, None) => {
                    fine = 0;
                    alerts.push(Span { from_us: at_us, to_us: None });
                }
                (Judged::Trouble { .. }, Some(_)) => fine = 0,
                (Judged::Unknown, _) => {
                    fine = 0;
                    unknown += 1;
                }
                (Judged::Fine, Some(span)) => {
                    fine += 1;
                    if fine == CLEAR_MINUTES {
                        span.to_us = Some(at_us);
                    }
                }
                (Judged::Fine, None) => {}
            }
        }
        let shown = usize::try_from((period.to_us - period.from_us) / MINUTE_US)
            .unwrap_or(0)
            .min(minutes.len());
        let shown = &minutes[minutes.len() - shown..];
        Preview {
            period,
            values: shown.iter().map(|minute| minute.value).collect(),
            incomplete: incomplete(period.from_us, shown),
            alerts,
            unknown,
        }
    }
}

/// Minutes that are not complete, joined.
fn incomplete(from_us: i64, minutes: &[Minute]) -> Vec<(i64, i64)> {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for (at, _) in minutes.iter().enumerate().filter(|(_, minute)| !minute.sure) {
        let begin = from_us + at as i64 * MINUTE_US;
        match spans.last_mut() {
            Some((_, end)) if *end == begin => *end += MINUTE_US,
            _ => spans.push((begin, begin + MINUTE_US)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::Level;

    use super::*;
    use crate::alerts::own::{Condition, Measure, Within};

    fn told(condition: Condition, values: &[f64]) -> Preview {
        let rule = Definition {
            name: "x".into(),
            measure: Measure::Records,
            filter: String::new(),
            scope: Within::Site,
            condition,
            level: Level::Warning,
        };
        let minutes: Vec<Minute> = values
            .iter()
            .map(|value| Minute {
                value: value.abs(),
                sure: value.is_sign_positive(),
            })
            .collect();
        let lead = condition.window() - 1;
        rule.told(Period::new(lead as i64 * MINUTE_US, values.len() as i64 * MINUTE_US), &minutes)
    }

    fn span(from: i64, to: Option<i64>) -> Span {
        Span {
            from_us: from * MINUTE_US,
            to_us: to.map(|to| to * MINUTE_US),
        }
    }

    #[test]
    fn alerts_open_and_end_as_the_engine_does_it() {
        let above = Condition::Above { threshold: 5.0, minutes: 2 };
        let told = told(above, &[0.0, 6.0, 6.0, 6.0, 0.0, 6.0, 6.0, 0.0, 0.0, 0.0, 7.0, 7.0]);
        // One fine minute does not end it: its windows are fine twice, at the ends of minutes 5 and 6.
        assert_eq!(told.alerts, [span(3, Some(6)), span(7, Some(9)), span(12, None)]);
        assert_eq!((told.values.len(), told.unknown), (11, 0));
    }

    #[test]
    fn what_is_not_known_ends_nothing() {
        let above = Condition::Above { threshold: 5.0, minutes: 1 };
        let told = told(above, &[6.0, -0.0, -0.0, -0.0, 6.0, 0.0, 0.0]);
        assert_eq!(told.alerts, [span(1, Some(7))]);
        assert_eq!(told.unknown, 3);
        assert_eq!(told.values, [6.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0]);
        assert_eq!(told.incomplete, [(MINUTE_US, 4 * MINUTE_US)]);
    }
}
