// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Rules that people make: what is counted, where, and which condition over its minutes is trouble.
//!
//! A [`Definition`] is kept as JSON in the catalogue and asks the same question as the flow history or a traffic chart. [`judge`] decides over minutes
//! that were loaded by [`series`]; [`watch`] does so every minute for the engine, and [`preview`] for every minute of a day or a week that has passed.

mod judge;
mod preview;
mod question;
mod series;
mod watch;

use insights_store::catalog::Level;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    query::filter::{self, FilterError, resolve::ResolveError},
    web::units,
};

pub use preview::{Preview, PreviewError, PreviewParts, Span};
pub(super) use watch::OwnRules;

/// Rules that people made at one site: each is a question every minute.
pub const MOST_OWN: usize = 50;

/// Longest span of a condition, minutes. A day is looked at in reports, not in alerts.
pub const MOST_MINUTES: u32 = 360;

/// What comes before now and is what is usual, minutes.
const USUAL_MINUTES: usize = 1_440;

/// How their ids begin, so that they are told from those that all sites have.
pub(super) const PREFIX: &str = "own-";

/// Longest name, characters.
const LONGEST_NAME: usize = 100;

/// Largest figure that is typed; a count of more is no threshold but a mistake.
const LARGEST: f64 = 1e15;

/// A rule as somebody made it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    pub name: String,
    #[serde(default)]
    pub measure: Measure,
    /// In the language of the flow history; only where records are counted.
    #[serde(default)]
    pub filter: String,
    #[serde(default)]
    pub scope: Within,
    pub condition: Condition,
    /// `warning` or `error`.
    #[serde(default = "warning")]
    pub level: Level,
}

/// What is counted, by the minute.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Flow records a minute.
    #[default]
    Records,
    /// Bits a second of the meters, both directions together.
    Bits,
    BitsIn,
    BitsOut,
    /// Packets a second.
    Packets,
    PacketsIn,
    PacketsOut,
}

/// Where it is counted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "of", rename_all = "snake_case", deny_unknown_fields)]
pub enum Within {
    /// Traffic: of all uplinks.
    #[default]
    Site,
    /// Traffic: of all ports of its VMs.
    Tenant { id: String },
    /// `kind` is a slug as in the paths of pages.
    Device { kind: String, id: Uuid },
}

/// When it is trouble. Figures are those of [`Measure`], sums for what is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// In each of the last minutes.
    Above {
        threshold: f64,
        minutes: u32,
    },
    Below {
        threshold: f64,
        minutes: u32,
    },
    /// By so many percent against as many minutes before, when the larger of both is `least` or more.
    Rises {
        percent: f64,
        minutes: u32,
        least: f64,
    },
    Falls {
        percent: f64,
        minutes: u32,
        least: f64,
    },
    /// More than `times` the most that as many minutes had in the day before, and `least` or more.
    Unusual {
        times: f64,
        minutes: u32,
        least: f64,
    },
    /// Nothing at all.
    Absent {
        minutes: u32,
    },
}

/// Why a rule is none. Messages are for the person who made it.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    #[error("a rule has a name of 1 to {LONGEST_NAME} characters")]
    Name,
    #[error("a condition looks at 1 to {MOST_MINUTES} minutes")]
    Minutes,
    #[error("a figure is missing, or out of its bounds")]
    Figure,
    #[error("traffic is metered by device and has no filter")]
    NoFilter,
    #[error("an alert is a warning or critical")]
    Level,
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("there is no such {0} at this site now")]
    Gone(String),
    #[error("nothing is counted of a {0}")]
    NotCounted(String),
}

fn warning() -> Level {
    Level::Warning
}

/// Whether a rule is one that people made, by its id.
pub fn is_own(id: &str) -> bool {
    id.starts_with(PREFIX)
}

impl Measure {
    pub const ALL: [(Measure, &'static str, &'static str); 7] = [
        (Measure::Records, "records", "flow records a minute"),
        (Measure::Bits, "bits", "bits a second, both directions"),
        (Measure::BitsIn, "bits_in", "bits a second, in"),
        (Measure::BitsOut, "bits_out", "bits a second, out"),
        (Measure::Packets, "packets", "packets a second, both directions"),
        (Measure::PacketsIn, "packets_in", "packets a second, in"),
        (Measure::PacketsOut, "packets_out", "packets a second, out"),
    ];

    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == slug).map(|(measure, ..)| *measure)
    }

    pub fn slug(self) -> &'static str {
        Self::ALL.iter().find(|(measure, ..)| *measure == self).map_or("", |(_, slug, _)| slug)
    }

    /// A figure with its unit.
    pub fn figure(self, value: f64) -> String {
        match self {
            Measure::Records => format!("{} records", units::grouped(value.round() as i64)),
            Measure::Bits | Measure::BitsIn | Measure::BitsOut => units::bits_per_second(value),
            _ => format!("{} packets/s", units::short(value)),
        }
    }

    /// The same of a rate.
    fn rate(self, value: f64) -> String {
        match self {
            Measure::Records => format!("{} a minute", self.figure(value)),
            _ => self.figure(value),
        }
    }

    fn packets(self) -> bool {
        matches!(self, Measure::Packets | Measure::PacketsIn | Measure::PacketsOut)
    }
}

impl Condition {
    pub fn minutes(self) -> u32 {
        match self {
            Condition::Above { minutes, .. }
            | Condition::Below { minutes, .. }
            | Condition::Rises { minutes, .. }
            | Condition::Falls { minutes, .. }
            | Condition::Unusual { minutes, .. }
            | Condition::Absent { minutes } => minutes,
        }
    }

    /// The word of its kind.
    pub fn slug(self) -> &'static str {
        match self {
            Condition::Above { .. } => "above",
            Condition::Below { .. } => "below",
            Condition::Rises { .. } => "rises",
            Condition::Falls { .. } => "falls",
            Condition::Unusual { .. } => "unusual",
            Condition::Absent { .. } => "absent",
        }
    }

    pub fn threshold(self) -> Option<f64> {
        match self {
            Condition::Above { threshold, .. } | Condition::Below { threshold, .. } => Some(threshold),
            _ => None,
        }
    }

    /// Minutes that it looks at, with those that it compares with.
    fn window(self) -> usize {
        let minutes = self.minutes() as usize;
        match self {
            Condition::Rises { .. } | Condition::Falls { .. } => 2 * minutes,
            Condition::Unusual { .. } => minutes + USUAL_MINUTES,
            _ => minutes,
        }
    }
}

impl Definition {
    /// Refuses what can't be a rule, whatever the site has.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(DefinitionError::Name);
        }
        if !(1..=MOST_MINUTES).contains(&self.condition.minutes()) {
            return Err(DefinitionError::Minutes);
        }
        let within = |value: f64, least: f64, most: f64| value.is_finite() && (least..=most).contains(&value);
        let sound = match self.condition {
            Condition::Above { threshold, .. } => within(threshold, 0.0, LARGEST),
            // Nothing is below zero.
            Condition::Below { threshold, .. } => within(threshold, f64::MIN_POSITIVE, LARGEST),
            Condition::Rises { percent, least, .. } => within(percent, 1.0, 1e6) && within(least, 0.0, LARGEST),
            Condition::Falls { percent, least, .. } => within(percent, 1.0, 100.0) && within(least, 0.0, LARGEST),
            Condition::Unusual { times, least, .. } => within(times, 1.0, 1_000.0) && within(least, 0.0, LARGEST),
            Condition::Absent { .. } => true,
        };
        if !sound {
            return Err(DefinitionError::Figure);
        }
        if self.level < Level::Warning {
            return Err(DefinitionError::Level);
        }
        if self.measure == Measure::Records {
            filter::parse(&self.filter)?;
        } else if !self.filter.trim().is_empty() {
            return Err(DefinitionError::NoFilter);
        }
        Ok(())
    }

    /// What it tells, in a sentence without the place.
    pub fn says(&self) -> String {
        let (minutes, rate, sum) = (self.condition.minutes(), |value| self.measure.rate(value), |value| self.sum(value));
        let span = units::duration(i64::from(minutes) * 60_000_000);
        let what = match (self.measure, self.filter.trim()) {
            (Measure::Records, "") => "All flow records".to_owned(),
            (Measure::Records, filter) => format!("Flow records of {filter}"),
            (measure, _) => {
                let about = Measure::ALL.iter().find(|(of, ..)| *of == measure).map_or("", |(.., about)| about);
                format!("Traffic, {about}")
            }
        };
        match self.condition {
            Condition::Above { threshold, .. } => format!("{what}: above {} for {span}", rate(threshold)),
            Condition::Below { threshold, .. } => format!("{what}: below {} for {span}", rate(threshold)),
            Condition::Rises { percent, least, .. } => {
                format!("{what}: {percent} % more in {span} than in as long before, and {} or more", sum(least))
            }
            Condition::Falls { percent, least, .. } => {
                format!(
                    "{what}: {percent} % less in {span} than in as long before, where that was {} or more",
                    sum(least)
                )
            }
            Condition::Unusual { times, least, .. } => {
                format!(
                    "{what}: in {span} more than {times} times the most of the day before, and {} or more",
                    sum(least)
                )
            }
            Condition::Absent { .. } => format!("{what}: none for {span}"),
        }
    }

    /// A sum over the minutes of the condition, as it is said: of records their number, of traffic its mean.
    fn sum(&self, value: f64) -> String {
        match self.measure {
            Measure::Records => self.measure.figure(value),
            measure => measure.figure(value / f64::from(self.condition.minutes().max(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(condition: Condition) -> Definition {
        Definition {
            name: "drops".into(),
            measure: Measure::Records,
            filter: "result = dropped".into(),
            scope: Within::Site,
            condition,
            level: Level::Warning,
        }
    }

    #[test]
    fn a_rule_is_its_json() {
        let text =
            r#"{"name":"drops","filter":"result = dropped","scope":{"of":"tenant","id":"t"},"condition":{"is":"above","threshold":5,"minutes":3}}"#;
        let read: Definition = serde_json::from_str(text).unwrap();
        assert_eq!((read.measure, read.level), (Measure::Records, Level::Warning));
        assert_eq!(read.scope, Within::Tenant { id: "t".into() });
        assert_eq!(serde_json::from_str::<Definition>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
        for wrong in [r#"{"name":"x"}"#, &text.replace("\"name\"", "\"nam\""), &text.replace("minutes", "hours")] {
            assert!(serde_json::from_str::<Definition>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_can_be_no_rule_is_refused() {
        let above = |threshold, minutes| Condition::Above { threshold, minutes };
        assert!(rule(above(0.0, 1)).check().is_ok());
        for (wrong, why) in [
            (rule(above(f64::NAN, 1)), "figure"),
            (rule(above(-1.0, 1)), "figure"),
            (rule(above(1.0, 0)), "minutes"),
            (rule(above(1.0, MOST_MINUTES + 1)), "minutes"),
            (rule(Condition::Below { threshold: 0.0, minutes: 1 }), "figure"),
            (
                rule(Condition::Falls {
                    percent: 101.0,
                    minutes: 1,
                    least: 0.0,
                }),
                "figure",
            ),
            (
                Definition {
                    name: " ".into(),
                    ..rule(above(1.0, 1))
                },
                "name",
            ),
            (
                Definition {
                    filter: "result =".into(),
                    ..rule(above(1.0, 1))
                },
                "",
            ),
            (
                Definition {
                    measure: Measure::Bits,
                    ..rule(above(1.0, 1))
                },
                "no filter",
            ),
            (
                Definition {
                    level: Level::Info,
                    ..rule(above(1.0, 1))
                },
                "warning",
            ),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_rule_says_what_it_looks_at() {
        let says = rule(Condition::Above {
            threshold: 5_000.0,
            minutes: 3,
        })
        .says();
        assert!(
            says.starts_with("Flow records of result = dropped: above 5") && says.ends_with("records a minute for 3\u{202f}min"),
            "{says}"
        );
        let quiet = Definition {
            filter: String::new(),
            ..rule(Condition::Absent { minutes: 10 })
        };
        assert_eq!(quiet.says(), "All flow records: none for 10\u{202f}min");
    }
}
