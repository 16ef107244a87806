// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::{Outcome, Post};

/// An answer that was on its way when its sender was killed was given at most so long before, µs: the sender's own bound on an answer.
const ON_THE_WAY_US: i64 = 12_000_000;

/// An alert as the manager keeps it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Alert {
    pub id: u64,
    pub resolved: bool,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Report {
    pub kills: usize,
    pub alerts: usize,
    /// Openings and ends that were told.
    pub notices: usize,
    pub posts: usize,
    /// Messages that the receiver did not take.
    pub refused: usize,
    /// Messages whose answer was lost.
    pub silent: usize,
    /// Deliveries that came again, each for a reason.
    pub again: usize,
    /// Alerts that ended before they could be told.
    pub untold: usize,
}

/// Openings and ends that are still to come are `Ok(None)`; what may never be is an error.
pub fn judge(alerts: &[Alert], posts: &[Post], kills: &[i64]) -> Result<Option<Report>> {
    let mut told: BTreeMap<(u64, &str), &str> = BTreeMap::new();
    let mut seen: BTreeMap<&str, (&Post, (u64, &str))> = BTreeMap::new();
    let mut again = 0;
    let known: BTreeSet<u64> = alerts.iter().map(|alert| alert.id).collect();
    for post in posts.iter().filter(|post| post.outcome != Outcome::Refused) {
        for notice in &post.notices {
            let key = (notice.alert, notice.what.as_str());
            ensure!(known.contains(&notice.alert), "told of an alert that is not there: {notice:?}");
            let first = *told.entry(key).or_insert(&notice.delivery);
            ensure!(first == notice.delivery, "{key:?} was told as {first} and as {}", notice.delivery);
            if let Some((before, of)) = seen.insert(&notice.delivery, (post, key)) {
                ensure!(of == key, "{} is {of:?} and {key:?}", notice.delivery);
                let killed = kills
                    .iter()
                    .any(|at_us| (before.at_us..=post.at_us.min(before.at_us + ON_THE_WAY_US)).contains(at_us));
                ensure!(
                    before.outcome == Outcome::Silent || killed,
                    "{notice:?} was taken and told again, {} ms later",
                    (post.at_us - before.at_us) / 1_000
                );
                again += 1;
            }
        }
    }
    let (mut untold, mut missing) = (0, false);
    for alert in alerts {
        match (
            alert.resolved,
            told.contains_key(&(alert.id, "opened")),
            told.contains_key(&(alert.id, "resolved")),
        ) {
            (true, true, true) | (false, true, false) => {}
            (true, false, false) => untold += 1,
            (false, _, true) => anyhow::bail!("the end of alert {} was told, and it is open", alert.id),
            (true, false, true) | (true, true, false) | (false, false, false) => missing = true,
        }
    }
    let count = |outcome| posts.iter().filter(|post| post.outcome == outcome).count();
    Ok((!missing).then_some(Report {
        kills: kills.len(),
        alerts: alerts.len(),
        notices: told.len(),
        posts: posts.len(),
        refused: count(Outcome::Refused),
        silent: count(Outcome::Silent),
        again,
        untold,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::Notice;

    fn post(at_us: i64, outcome: Outcome, notices: &[(&str, u64, &str)]) -> Post {
        let notice = |(delivery, alert, what): &(&str, u64, &str)| Notice {
            delivery: (*delivery).to_owned(),
            alert: *alert,
            what: (*what).to_owned(),
        };
        Post {
            at_us,
            notices: notices.iter().map(notice).collect(),
            outcome,
        }
    }

    const OVER: Alert = Alert { id: 1, resolved: true };

    #[test]
    fn everything_is_told_once_or_again_for_a_reason() {
        let opened = [("a", 1, "opened")];
        let whole = [
            post(10, Outcome::Refused, &opened),
            post(20, Outcome::Silent, &opened),
            post(30, Outcome::Taken, &opened),
            post(40, Outcome::Taken, &[("b", 1, "resolved")]),
        ];
        let report = judge(&[OVER], &whole, &[]).unwrap().unwrap();
        assert_eq!(
            (report.notices, report.posts, report.refused, report.silent, report.again),
            (2, 4, 1, 1, 1)
        );
        assert_eq!(judge(&[OVER], &whole[..3], &[]).unwrap(), None, "its end is to come");
        assert_eq!(judge(&[OVER], &[], &[]).unwrap().unwrap().untold, 1);
        let twice = [post(30, Outcome::Taken, &opened), post(40, Outcome::Taken, &opened)];
        assert!(judge(&[OVER], &twice, &[]).is_err(), "taken and told again");
        assert!(judge(&[OVER], &twice, &[50]).is_err(), "the kill came later");
        assert_eq!(judge(&[OVER], &twice, &[35]).unwrap(), None);
    }

    #[test]
    fn what_may_never_be_is_told() {
        let two = [
            post(30, Outcome::Taken, &[("a", 1, "opened")]),
            post(40, Outcome::Taken, &[("c", 1, "opened")]),
        ];
        assert!(judge(&[OVER], &two, &[35]).is_err(), "two deliveries of one opening");
        let one = [post(30, Outcome::Taken, &[("a", 1, "opened"), ("a", 1, "resolved")])];
        assert!(judge(&[OVER], &one, &[]).is_err(), "one delivery of two things");
        assert!(
            judge(&[], &[post(30, Outcome::Taken, &[("a", 1, "opened")])], &[]).is_err(),
            "an alert of nobody"
        );
        let open = Alert { id: 1, resolved: false };
        let end = [post(30, Outcome::Taken, &[("a", 1, "opened"), ("b", 1, "resolved")])];
        assert!(judge(&[open], &end, &[]).is_err(), "the end of what is open");
    }
}
