// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Whether minutes are trouble: no clock, no store.
//!
//! What is missing can only be more: the value of a minute that is not complete is the least that it can be. So a threshold that is passed is passed,
//! whatever else comes, and one that is not may be. Nothing is decided that a record on its way could turn around.

use super::Condition;

/// What is known of the day before before anything counts as unusual, minutes: most of it, so that a night is not taken for a day.
const LEAST_KNOWN: usize = 1_200;

/// One minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Minute {
    /// At least so much.
    pub(super) value: f64,
    /// And no more: nothing of it is on its way or lost.
    pub(super) sure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Judged {
    Fine,
    Trouble {
        value: f64,
        /// What it is compared with.
        with: f64,
    },
    /// Incomplete minutes could turn it around.
    Unknown,
}

/// Sum of some minutes, at least, and whether it is all.
#[derive(Clone, Copy)]
struct Sum {
    value: f64,
    sure: bool,
}

/// Judges the last minutes of `minutes`, which are as many as the condition looks at; fewer are not enough.
pub(super) fn judge(condition: Condition, minutes: &[Minute]) -> Judged {
    let count = condition.minutes() as usize;
    let Some(start) = minutes.len().checked_sub(condition.window()) else {
        return Judged::Unknown;
    };
    let (before, last) = minutes[start..].split_at(condition.window() - count);
    match condition {
        Condition::Above { threshold, .. } => {
            let least = last.iter().map(|minute| minute.value).fold(f64::INFINITY, f64::min);
            if least > threshold {
                trouble(last.last().map_or(least, |minute| minute.value), threshold)
            } else {
                fine(last.iter().any(|minute| minute.sure && minute.value <= threshold))
            }
        }
        Condition::Below { threshold, .. } => {
            if last.iter().any(|minute| minute.value >= threshold) {
                Judged::Fine
            } else if sum(last).sure {
                trouble(last.last().map_or(0.0, |minute| minute.value), threshold)
            } else {
                Judged::Unknown
            }
        }
        Condition::Absent { .. } => match sum(last) {
            Sum { value, .. } if value > 0.0 => Judged::Fine,
            Sum { sure: true, .. } => trouble(0.0, 0.0),
            Sum { .. } => Judged::Unknown,
        },
        Condition::Rises { percent, least, .. } => {
            let (old, new) = (sum(before), sum(last));
            let limit = old.value * (1.0 + percent / 100.0);
            let more = new.value > limit && new.value >= least;
            match (more, old.sure, new.sure) {
                (true, true, _) => trouble(new.value, old.value),
                (false, _, true) => Judged::Fine,
                _ => Judged::Unknown,
            }
        }
        Condition::Falls { percent, least, .. } => {
            let (old, new) = (sum(before), sum(last));
            let less = new.value <= old.value * (1.0 - percent / 100.0) && old.value >= least && old.value > 0.0;
            match (less, old.sure, new.sure) {
                (true, _, true) => trouble(new.value, old.value),
                (false, true, _) => Judged::Fine,
                _ => Judged::Unknown,
            }
        }
        Condition::Unusual { times, least, .. } => {
            let new = sum(last);
            let known = before.iter().filter(|minute| minute.sure).count();
            let usual = before.rchunks(count).map(|minutes| sum(minutes).value).fold(0.0, f64::max);
            let more = new.value > usual * times && new.value >= least;
            match (more, known >= LEAST_KNOWN, new.sure) {
                (true, true, _) => trouble(new.value, usual),
                (false, _, true) => Judged::Fine,
                _ => Judged::Unknown,
            }
        }
    }
}

fn trouble(value: f64, with: f64) -> Judged {
    Judged::Trouble { value, with }
}

fn fine(sure: bool) -> Judged {
    if sure { Judged::Fine } else { Judged::Unknown }
}

fn sum(minutes: &[Minute]) -> Sum {
    Sum {
        value: minutes.iter().map(|minute| minute.value).sum(),
        sure: minutes.iter().all(|minute| minute.sure),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Negative ones are not complete.
    fn minutes(values: &[f64]) -> Vec<Minute> {
        let minute = |value: &f64| Minute {
            value: value.abs(),
            sure: value.is_sign_positive(),
        };
        values.iter().map(minute).collect()
    }

    fn of(condition: Condition, values: &[f64]) -> Judged {
        judge(condition, &minutes(values))
    }

    #[test]
    fn a_threshold_must_be_passed_all_the_time() {
        let above = Condition::Above { threshold: 10.0, minutes: 2 };
        assert_eq!(of(above, &[0.0, 11.0, 12.0]), trouble(12.0, 10.0));
        assert_eq!(of(above, &[11.0, 10.0]), Judged::Fine);
        assert_eq!(of(above, &[12.0]), Judged::Unknown, "too few");
        // What is missing can't make it less.
        assert_eq!(of(above, &[-11.0, -12.0]), trouble(12.0, 10.0));
        assert_eq!(of(above, &[-9.0, 12.0]), Judged::Unknown);
        assert_eq!(of(above, &[-9.0, 9.0]), Judged::Fine);
        let below = Condition::Below { threshold: 10.0, minutes: 2 };
        assert_eq!(of(below, &[9.0, 8.0]), trouble(8.0, 10.0));
        assert_eq!(of(below, &[9.0, -8.0]), Judged::Unknown);
        assert_eq!(of(below, &[-10.0, -8.0]), Judged::Fine);
    }

    #[test]
    fn what_is_missing_is_not_absent() {
        let absent = Condition::Absent { minutes: 2 };
        assert_eq!(of(absent, &[5.0, 0.0, 0.0]), trouble(0.0, 0.0));
        assert_eq!(of(absent, &[0.0, -0.0]), Judged::Unknown);
        assert_eq!(of(absent, &[-0.0, -1.0]), Judged::Fine);
    }

    #[test]
    fn a_change_is_against_as_long_before() {
        let rises = Condition::Rises {
            percent: 50.0,
            minutes: 2,
            least: 10.0,
        };
        assert_eq!(of(rises, &[5.0, 5.0, 8.0, 8.0]), trouble(16.0, 10.0));
        assert_eq!(of(rises, &[5.0, 5.0, 7.0, 8.0]), Judged::Fine);
        assert_eq!(of(rises, &[1.0, 1.0, 4.0, 5.0]), Judged::Fine, "too little to tell of");
        assert_eq!(of(rises, &[5.0, -5.0, 8.0, 8.0]), Judged::Unknown);
        assert_eq!(of(rises, &[5.0, 5.0, -8.0, 8.0]), trouble(16.0, 10.0));
        assert_eq!(of(rises, &[5.0, 5.0, -1.0, 8.0]), Judged::Unknown);
        let falls = Condition::Falls {
            percent: 50.0,
            minutes: 1,
            least: 10.0,
        };
        assert_eq!(of(falls, &[10.0, 5.0]), trouble(5.0, 10.0));
        assert_eq!(of(falls, &[10.0, 6.0]), Judged::Fine);
        assert_eq!(of(falls, &[9.0, 0.0]), Judged::Fine);
        assert_eq!(of(falls, &[10.0, -0.0]), Judged::Unknown);
        assert_eq!(of(falls, &[-10.0, 0.0]), trouble(0.0, 10.0), "it was at least as much");
        assert_eq!(of(falls, &[-9.0, 0.0]), Judged::Unknown);
        let all = Condition::Falls {
            percent: 100.0,
            minutes: 1,
            least: 0.0,
        };
        assert_eq!(of(all, &[0.0, 0.0]), Judged::Fine, "there was nothing to fall");
    }

    #[test]
    fn usual_is_the_most_of_the_day_before() {
        let unusual = Condition::Unusual {
            times: 2.0,
            minutes: 2,
            least: 10.0,
        };
        let day = |usual: f64, last: [f64; 2]| [vec![usual; 1_440], last.to_vec()].concat();
        assert_eq!(of(unusual, &day(5.0, [11.0, 11.0])), trouble(22.0, 10.0));
        assert_eq!(of(unusual, &day(5.0, [10.0, 10.0])), Judged::Fine);
        assert_eq!(of(unusual, &day(0.0, [4.0, 5.0])), Judged::Fine, "too little to tell of");
        assert_eq!(of(unusual, &day(0.0, [5.0, 5.0])), trouble(10.0, 0.0));
        assert_eq!(of(unusual, &day(-0.0, [5.0, 5.0])), Judged::Unknown, "the day before is not known");
        // A peak of an hour ago is usual, too.
        let mut peak = day(1.0, [9.0, 9.0]);
        peak[1_380] = 9.0;
        peak[1_381] = 9.0;
        assert_eq!(of(unusual, &peak), Judged::Fine);
    }

    /// The rule of the module: what still comes never turns a decision around.
    #[test]
    fn nothing_on_its_way_turns_a_decision_around() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let minutes_of = rng.random_range(1..4);
            let (percent, least) = (f64::from(rng.random_range(1..100_u32)), f64::from(rng.random_range(0..10_u32)));
            let threshold = f64::from(rng.random_range(1..10_u32));
            let condition = match rng.random_range(0..5) {
                0 => Condition::Above {
                    threshold,
                    minutes: minutes_of,
                },
                1 => Condition::Below {
                    threshold,
                    minutes: minutes_of,
                },
                2 => Condition::Rises {
                    percent,
                    minutes: minutes_of,
                    least,
                },
                3 => Condition::Falls {
                    percent,
                    minutes: minutes_of,
                    least,
                },
                _ => Condition::Absent { minutes: minutes_of },
            };
            let seen: Vec<Minute> = (0..condition.window())
                .map(|_| Minute {
                    value: f64::from(rng.random_range(0..12_u32)),
                    sure: rng.random_bool(0.5),
                })
                .collect();
            let whole: Vec<Minute> = seen
                .iter()
                .map(|minute| Minute {
                    value: minute.value + if minute.sure { 0.0 } else { f64::from(rng.random_range(0..12_u32)) },
                    sure: true,
                })
                .collect();
            let (now, later) = (judge(condition, &seen), judge(condition, &whole));
            assert_ne!(later, Judged::Unknown, "all is known");
            let holds = match now {
                Judged::Unknown => true,
                Judged::Fine => later == Judged::Fine,
                Judged::Trouble { .. } => matches!(later, Judged::Trouble { .. }),
            };
            assert!(holds, "{condition:?} {seen:?} {whole:?}");
        }
    }
}
