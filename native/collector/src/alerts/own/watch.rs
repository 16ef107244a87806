// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The rules of one site between two looks of the engine: each is judged once a minute, and says the same until then.
//!
//! Nothing of it is kept: a service that starts judges the same minutes again, and the machine knows which alerts are open.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use insights_store::{
    Period, StoreError,
    catalog::{self, Level, StoredRule},
    query::Budget,
};

use super::{
    Condition, Definition, Measure, Within,
    judge::{Judged, judge},
    series::{Feeds, MINUTE_US, settled},
};
use crate::{
    accounts::TenantNames,
    alerts::{
        About, EngineParts,
        machine::{Finding, Others, RuleFacts, Seen},
        rules::DROPS_UNUSUAL,
        service::GatewaysNow,
    },
    site::{Kind, Site},
    web::units,
};

/// What a question of one rule may cost: rules of all sites share the machine with pages, and one that costs more is not known.
const BUDGET: Budget = Budget {
    rows: 20_000_000,
    bytes: 1 << 30,
    time: Duration::from_secs(2),
};

/// Questions are asked for so long at one look; the others wait for the next, which is two seconds later: states of hosts must not wait for them.
const SLICE: Duration = Duration::from_millis(500);

/// How long it must be over before the alert ends: a minute that is fine, and still is after the next.
const CLEAR_US: i64 = 60_000_000;

/// The only subject of a rule.
const SUBJECT: &str = "rule";

/// What was found, and of which definition at which minute.
struct Judgement {
    changed_us: i64,
    to_us: i64,
    seen: Option<Seen>,
}

/// Rules of one site.
#[derive(Default)]
pub(in crate::alerts) struct OwnRules(HashMap<String, Judgement>);

impl OwnRules {
    /// What the rules of people say, and the built-in one over records: of each something, or its alert would end. `stored` are the rules of the site.
    pub(in crate::alerts) async fn facts(
        &mut self,
        parts: &EngineParts,
        site: &catalog::Site,
        stored: &[StoredRule],
        gateways: &GatewaysNow,
    ) -> Result<Vec<RuleFacts>, StoreError> {
        let begun = Instant::now();
        let drops_off = stored.iter().any(|rule| rule.id == DROPS_UNUSUAL && !rule.enabled);
        let built_in = (!drops_off).then(|| (DROPS_UNUSUAL.to_owned(), 0, Ok(usual_drops())));
        let own = stored
            .iter()
            .filter(|rule| super::is_own(&rule.id) && rule.enabled)
            .map(|rule| (rule.id.clone(), rule.changed_us, serde_json::from_str::<Definition>(&rule.definition)));
        let rules: Vec<_> = own.chain(built_in).collect();
        self.0.retain(|id, _| rules.iter().any(|(of, ..)| of == id));
        let mut facts = Vec::with_capacity(rules.len());
        let mut names = None;
        for (id, changed_us, definition) in rules {
            let seen = match definition {
                Err(_) => Some(Seen::Unknown("its definition can't be read".to_owned())),
                Ok(definition) => {
                    let known = self.0.get(&id).filter(|known| known.changed_us == changed_us);
                    let fresh = known.is_some_and(|known| known.to_us >= settled(definition.measure, gateways.now_us));
                    if !fresh && begun.elapsed() < SLICE {
                        let (model, tenants) = match names.take() {
                            Some(names) => names,
                            None => names_of(parts, site).await?,
                        };
                        let (to_us, seen) = definition.look(parts, site, &model, &tenants, gateways).await;
                        names = Some((model, tenants));
                        self.0.insert(id.clone(), Judgement { changed_us, to_us, seen });
                    }
                    match self.0.get(&id) {
                        Some(known) if known.changed_us == changed_us => known.seen.clone(),
                        _ => Some(Seen::Unknown("it has not been looked at yet".to_owned())),
                    }
                }
            };
            facts.push(RuleFacts {
                rule: id,
                hold_us: 0,
                clear_us: CLEAR_US,
                seen: BTreeMap::from_iter(seen.map(|seen| (SUBJECT.to_owned(), seen))),
                others: Others::Fine,
            });
        }
        Ok(facts)
    }
}

type Names = (std::sync::Arc<Site>, TenantNames);

async fn names_of(parts: &EngineParts, site: &catalog::Site) -> Result<Names, StoreError> {
    let model = parts.sites.current(site.id).await?;
    Ok((model, TenantNames::of_site(parts.store.catalog(), site.id).await?))
}

/// Drops of the site above what it had in the day before.
fn usual_drops() -> Definition {
    Definition {
        name: "Drops".to_owned(),
        measure: Measure::Records,
        filter: "result = dropped".to_owned(),
        scope: Within::Site,
        condition: Condition::Unusual {
            times: 3.0,
            minutes: 5,
            least: 100.0,
        },
        level: Level::Warning,
    }
}

impl Definition {
    /// The end of the minute that was looked at, and what was found; `None` where all is fine.
    async fn look(
        &self,
        parts: &EngineParts,
        site: &catalog::Site,
        model: &Site,
        tenants: &TenantNames,
        gateways: &GatewaysNow,
    ) -> (i64, Option<Seen>) {
        let now_us = gateways.now_us;
        let to_us = settled(self.measure, now_us);
        let question = match self.question(model, tenants) {
            Ok(question) => question,
            Err(error) => return (to_us, Some(Seen::Unknown(error.to_string()))),
        };
        let period = Period::new(to_us - self.condition.window() as i64 * MINUTE_US, to_us);
        let feeds = Feeds {
            known: &gateways.known,
            keys: &gateways.keys,
            live: &gateways.live,
        };
        let minutes = question.minutes(&parts.store, site.id, period, &feeds, now_us, BUDGET).await;
        let seen = match minutes {
            Ok(minutes) => match judge(self.condition, &minutes) {
                Judged::Fine => None,
                Judged::Unknown => Some(Seen::Unknown("what was recorded is not complete".to_owned())),
                Judged::Trouble { value, with } => Some(Seen::Trouble(self.finding(model, value, with, to_us))),
            },
            Err(StoreError::OverBudget { .. }) => Some(Seen::Unknown("it reaches over more records than may be read every minute".to_owned())),
            Err(StoreError::Busy { .. }) => Some(Seen::Unknown("other questions about this site came first".to_owned())),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, site = %site.id, "could not judge a rule of alerts");
                Some(Seen::Unknown("the store could not be read".to_owned()))
            }
        };
        (to_us, seen)
    }

    fn finding(&self, model: &Site, value: f64, with: f64, to_us: i64) -> Finding {
        let minutes = i64::from(self.condition.minutes());
        let span = units::duration(minutes * MINUTE_US);
        let text = match self.condition {
            Condition::Above { threshold, .. } => format!("{}, above {} for {span}", self.measure.rate(value), self.measure.rate(threshold)),
            Condition::Below { threshold, .. } => format!("{}, below {} for {span}", self.measure.rate(value), self.measure.rate(threshold)),
            Condition::Rises { .. } | Condition::Falls { .. } => format!("{} in {span}, {} in as long before", self.sum(value), self.sum(with)),
            Condition::Unusual { .. } => format!("{} in {span}, {} at most in the day before", self.sum(value), self.sum(with)),
            Condition::Absent { .. } => format!("nothing for {span}"),
        };
        let about = match &self.scope {
            Within::Device { kind, id } => match Kind::from_slug(kind) {
                Some(kind) => {
                    let tenant = model.describe(*id).and_then(|object| object.tenant);
                    About::object(kind, *id, model.name(*id), tenant)
                }
                None => About::site(),
            },
            Within::Tenant { id } => About {
                tenant: Some(id.clone()),
                ..About::site()
            },
            Within::Site => About::site(),
        };
        let about = About {
            rule: self.name.clone(),
            ..about
        };
        Finding {
            level: self.level,
            text: format!("{}: {text}", self.name),
            about: about.json(),
            since_us: Some(to_us - minutes * MINUTE_US),
            value: Some(value),
            threshold: Some(self.condition.threshold().unwrap_or(with)),
            adds: false,
            cause: None,
        }
    }
}
