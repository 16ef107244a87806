// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! From facts and the time to what becomes of alerts: no clock, no store, no task.
//!
//! A rule says of some subjects that they are in trouble, and what holds for those that it does not name: that they are fine, or that nobody
//! knows. Trouble must hold for a while before it is told, and be over for a while before it ends. Where nobody knows, an alert neither opens nor
//! ends. Trouble that follows from other trouble (ports of a host that is down) is counted there instead.

use std::collections::BTreeMap;

use insights_store::catalog::{AlertChange, AlertText, Level, StoredAlert};

/// Open alerts of one rule, besides the one that counts the rest: more than anybody reads.
pub(super) const MOST_PER_RULE: usize = 50;

/// Open alerts of a site.
pub(super) const MOST_OPEN: usize = 500;

/// Subject of the alert that counts what is above [`MOST_PER_RULE`] or [`MOST_OPEN`]. No other subject has a star.
pub(super) const REST: &str = "*";

/// How often the figures of an open alert are written anew, µs.
const UPDATE_EVERY_US: i64 = 60_000_000;

/// Rule and subject.
pub(super) type Key = (String, String);

/// Trouble, as a rule finds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) text: String,
    /// JSON, see [`super::About`].
    pub(super) about: String,
    pub(super) since_us: Option<i64>,
    pub(super) value: Option<f64>,
    pub(super) threshold: Option<f64>,
    /// The value is what came on top since the last look.
    pub(super) adds: bool,
    /// What it follows from, if that is in trouble, too.
    pub(super) cause: Option<Key>,
}

/// What a rule says of one subject.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Trouble(Finding),
    Unknown(String),
}

/// What holds for the subjects that a rule does not name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Others {
    Fine,
    /// And why.
    Unknown(String),
}

/// All that a rule says at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RuleFacts {
    pub(super) rule: String,
    /// How long trouble must hold before it is told, µs.
    pub(super) hold_us: i64,
    /// How long it must be over before it ends, µs.
    pub(super) clear_us: i64,
    pub(super) seen: BTreeMap<String, Seen>,
    pub(super) others: Others,
}

/// Alerts of one site between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    tracks: BTreeMap<Key, Track>,
    last_us: i64,
}

#[derive(Clone, Debug)]
struct Track {
    phase: Phase,
    says: AlertText,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Since when it was seen without a break.
    Pending { from_us: i64 },
    Open {
        /// Since when it is over.
        clear_us: Option<i64>,
        unknown: bool,
        /// When its figures were written.
        told_us: i64,
    },
}

impl Machine {
    /// Goes on with the open alerts of before. What was pending begins to be held anew: it is told a little later, never twice.
    pub(super) fn restore(open: &[StoredAlert]) -> Self {
        let tracks = open.iter().filter(|alert| alert.resolved.is_none()).map(|alert| {
            let phase = Phase::Open {
                clear_us: None,
                unknown: alert.unknown.is_some(),
                told_us: alert.updated_us,
            };
            let says = alert.says.clone();
            ((alert.rule.clone(), alert.subject.clone()), Track { phase, says })
        });
        Self {
            tracks: tracks.collect(),
            last_us: 0,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.tracks.values().filter(|track| track.is_open()).count()
    }

    /// Takes what all rules say now. Rules that are not among `facts` are gone, and their alerts end.
    pub(super) fn step(&mut self, now_us: i64, facts: &[RuleFacts]) -> Vec<AlertChange> {
        let now_us = now_us.max(self.last_us);
        self.last_us = now_us;
        let mut changes = self.end_rules(facts);
        let members = self.members(facts);
        for rule in facts {
            self.look_at(rule, now_us, facts, &members, &mut changes);
        }
        for rule in facts {
            self.open_due(rule, now_us, &mut changes);
        }
        changes
    }

    fn end_rules(&mut self, facts: &[RuleFacts]) -> Vec<AlertChange> {
        let gone: Vec<Key> = self
            .tracks
            .keys()
            .filter(|(rule, _)| !facts.iter().any(|facts| facts.rule == *rule))
            .cloned()
            .collect();
        let ended = gone.into_iter().filter_map(|key| {
            let track = self.tracks.remove(&key)?;
            track.is_open().then(|| resolve(&key, "the rule is off"))
        });
        ended.collect()
    }

    /// How many troubles follow from each.
    fn members(&self, facts: &[RuleFacts]) -> BTreeMap<Key, u32> {
        let mut members = BTreeMap::new();
        for seen in facts.iter().flat_map(|rule| rule.seen.values()) {
            if let Seen::Trouble(Finding { cause: Some(cause), .. }) = seen
                && self.is_cause(cause, facts)
            {
                *members.entry(cause.clone()).or_insert(0) += 1;
            }
        }
        members
    }

    /// Trouble that others may follow from: seen now, or open while nobody knows.
    fn is_cause(&self, cause: &Key, facts: &[RuleFacts]) -> bool {
        let Some(rule) = facts.iter().find(|rule| rule.rule == cause.0) else {
            return false;
        };
        match (rule.seen.get(&cause.1), &rule.others) {
            (Some(Seen::Trouble(_)), _) => true,
            (Some(Seen::Unknown(_)), _) | (None, Others::Unknown(_)) => self.tracks.get(cause).is_some_and(Track::is_open),
            (None, Others::Fine) => false,
        }
    }

    /// What changes for the subjects that are known, and new ones that begin to be held.
    fn look_at(&mut self, rule: &RuleFacts, now_us: i64, facts: &[RuleFacts], members: &BTreeMap<Key, u32>, changes: &mut Vec<AlertChange>) {
        for (subject, seen) in &rule.seen {
            let Seen::Trouble(finding) = seen else { continue };
            let key = (rule.rule.clone(), subject.clone());
            let follows = finding.cause.as_ref().is_some_and(|cause| self.is_cause(cause, facts));
            let says = finding.says(members.get(&key).copied().unwrap_or(0));
            match self.tracks.get_mut(&key) {
                Some(track) if track.is_open() => track.renew(&key, says, finding.adds, now_us, changes),
                Some(_) if follows => _ = self.tracks.remove(&key),
                Some(track) => track.says = says,
                None if follows => {}
                None => {
                    let phase = Phase::Pending { from_us: now_us };
                    self.tracks.insert(key, Track { phase, says });
                }
            }
        }
        let unnamed: Vec<Key> = self
            .tracks
            .range((rule.rule.clone(), String::new())..)
            .map(|(key, _)| key)
            .take_while(|(of, _)| *of == rule.rule)
            .filter(|(_, subject)| subject != REST && !matches!(rule.seen.get(subject), Some(Seen::Trouble(_))))
            .cloned()
            .collect();
        for key in unnamed {
            let why = match (rule.seen.get(&key.1), &rule.others) {
                (Some(Seen::Unknown(why)), _) | (None, Others::Unknown(why)) => Some(why),
                _ => None,
            };
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            let over = match why {
                Some(why) => track.not_known(&key, why, changes),
                None => track.fine(&key, rule.clear_us, now_us, changes),
            };
            if over {
                self.tracks.remove(&key);
            }
        }
    }

    /// Opens what was held long enough, as far as there is room, and counts the rest.
    fn open_due(&mut self, rule: &RuleFacts, now_us: i64, changes: &mut Vec<AlertChange>) {
        let mut all = self.open();
        let of_rule = |(key, track): &(&Key, &Track)| key.0 == rule.rule && key.1 != REST && track.is_open();
        let mut own = self.tracks.iter().filter(of_rule).count();
        let due: Vec<Key> = self
            .tracks
            .iter()
            .filter(|((of, _), track)| *of == rule.rule && matches!(track.phase, Phase::Pending { from_us } if now_us - from_us >= rule.hold_us))
            .map(|(key, _)| key.clone())
            .collect();
        // After a restart the rest is held anew; until then it counts as before.
        let rest = self.tracks.contains_key(&(rule.rule.clone(), REST.to_owned()));
        let pending = |track: &Track| matches!(track.phase, Phase::Pending { from_us } if now_us - from_us < rule.hold_us);
        let held = self.tracks.iter().filter(|((of, _), track)| rest && *of == rule.rule && pending(track));
        let mut left = held.count() as u32;
        let mut worst = Level::Info;
        for key in due {
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            if own >= MOST_PER_RULE || all >= MOST_OPEN {
                left += 1;
                worst = worst.max(track.says.level);
                continue;
            }
            own += 1;
            all += 1;
            track.phase = Phase::Open {
                clear_us: None,
                unknown: false,
                told_us: now_us,
            };
            let since_us = match rule.seen.get(&key.1) {
                Some(Seen::Trouble(Finding {
                    since_us: Some(since_us), ..
                })) => (*since_us).min(now_us),
                _ => now_us,
            };
            changes.push(AlertChange::Open {
                rule: key.0,
                subject: key.1,
                since_us,
                says: track.says.clone(),
            });
        }
        self.count_rest(rule, left, worst, now_us, changes);
    }

    fn count_rest(&mut self, rule: &RuleFacts, left: u32, level: Level, now_us: i64, changes: &mut Vec<AlertChange>) {
        let key = (rule.rule.clone(), REST.to_owned());
        let known = rule.others == Others::Fine;
        let says = AlertText {
            level,
            text: format!("{left} more of the same, too many for an alert each"),
            about: "{}".to_owned(),
            value: Some(f64::from(left)),
            threshold: None,
            members: left,
        };
        match self.tracks.get_mut(&key) {
            Some(track) if left > 0 => track.renew(&key, says, false, now_us, changes),
            Some(_) if known => {
                self.tracks.remove(&key);
                changes.push(resolve(&key, "the rest is over, or has alerts of its own"));
            }
            Some(track) => _ = track.not_known(&key, "the rest is not known", changes),
            None if left > 0 => {
                let phase = Phase::Open {
                    clear_us: None,
                    unknown: false,
                    told_us: now_us,
                };
                changes.push(AlertChange::Open {
                    rule: key.0.clone(),
                    subject: key.1.clone(),
                    since_us: now_us,
                    says: says.clone(),
                });
                self.tracks.insert(key, Track { phase, says });
            }
            None => {}
        }
    }
}

impl Finding {
    fn says(&self, members: u32) -> AlertText {
        AlertText {
            level: self.level,
            text: self.text.clone(),
            about: self.about.clone(),
            value: self.value,
            threshold: self.threshold,
            members,
        }
    }
}

impl Track {
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// It holds still. Words are written at once, figures from time to time.
    fn renew(&mut self, key: &Key, mut says: AlertText, adds: bool, now_us: i64, changes: &mut Vec<AlertChange>) {
        let Phase::Open { clear_us, unknown, told_us } = &mut self.phase else {
            return;
        };
        *clear_us = None;
        if std::mem::take(unknown) {
            changes.push(AlertChange::Known {
                rule: key.0.clone(),
                subject: key.1.clone(),
            });
        }
        if adds {
            says.value = Some(self.says.value.unwrap_or(0.0) + says.value.unwrap_or(0.0));
        }
        // Text of what adds up tells of the last piece only; the figure tells of all.
        let words = says.level != self.says.level || says.about != self.says.about || (adds && says.value != self.says.value);
        let figures = says != self.says && now_us - *told_us >= UPDATE_EVERY_US;
        if words || figures || (self.says.members == 0 && says.members > 0) {
            *told_us = now_us;
            self.says = says.clone();
            changes.push(AlertChange::Update {
                rule: key.0.clone(),
                subject: key.1.clone(),
                says,
            });
        }
    }

    /// True when the track is of no use any more.
    fn not_known(&mut self, key: &Key, why: &str, changes: &mut Vec<AlertChange>) -> bool {
        match &mut self.phase {
            Phase::Pending { .. } => true,
            Phase::Open { clear_us, unknown, .. } => {
                *clear_us = None;
                if !std::mem::replace(unknown, true) {
                    changes.push(AlertChange::Unknown {
                        rule: key.0.clone(),
                        subject: key.1.clone(),
                        why: why.to_owned(),
                    });
                }
                false
            }
        }
    }

    /// True when the track is of no use any more.
    fn fine(&mut self, key: &Key, after_us: i64, now_us: i64, changes: &mut Vec<AlertChange>) -> bool {
        match &mut self.phase {
            Phase::Pending { .. } => true,
            Phase::Open { clear_us, .. } => {
                let over = now_us - *clear_us.get_or_insert(now_us) >= after_us;
                if over {
                    changes.push(resolve(key, "it is over"));
                }
                over
            }
        }
    }
}

fn resolve(key: &Key, why: &str) -> AlertChange {
    AlertChange::Resolve {
        rule: key.0.clone(),
        subject: key.1.clone(),
        why: why.to_owned(),
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
