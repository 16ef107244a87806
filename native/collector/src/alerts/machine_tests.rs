// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;

fn finding(cause: Option<&str>) -> Finding {
    Finding {
        level: Level::Warning,
        text: "wrong".into(),
        about: "{}".into(),
        since_us: None,
        value: None,
        threshold: None,
        adds: false,
        cause: cause.map(|host| ("host".to_owned(), host.to_owned())),
    }
}

fn rule(rule: &str, hold_s: i64, clear_s: i64, seen: &[(&str, Seen)], others: Others) -> RuleFacts {
    RuleFacts {
        rule: rule.into(),
        hold_us: hold_s * SECOND,
        clear_us: clear_s * SECOND,
        seen: seen.iter().map(|(subject, seen)| ((*subject).to_owned(), seen.clone())).collect(),
        others,
    }
}

fn trouble() -> Seen {
    Seen::Trouble(finding(None))
}

/// Changes in short: `+host/a`, `-host/a`, `?host/a`, `!host/a` (known again), `~host/a` (updated).
fn short(changes: &[AlertChange]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let sign = match change {
                AlertChange::Open { .. } => '+',
                AlertChange::Resolve { .. } => '-',
                AlertChange::Unknown { .. } => '?',
                AlertChange::Known { .. } => '!',
                AlertChange::Update { .. } => '~',
            };
            let (rule, subject) = change.key();
            format!("{sign}{rule}/{subject}")
        })
        .collect()
}

#[test]
fn trouble_is_told_when_it_was_held_and_ends_when_it_was_over() {
    let mut machine = Machine::default();
    let mut at = |second: i64, seen: &[(&str, Seen)]| short(&machine.step(second * SECOND, &[rule("host", 3, 10, seen, Others::Fine)]));
    assert!(at(0, &[("a", trouble())]).is_empty());
    assert!(at(2, &[]).is_empty(), "a blip");
    assert!(at(3, &[("a", trouble())]).is_empty());
    assert_eq!(at(6, &[("a", trouble())]), ["+host/a"]);
    assert!(at(7, &[]).is_empty());
    assert!(at(12, &[("a", trouble())]).is_empty(), "it came back in time");
    assert!(at(13, &[]).is_empty());
    assert_eq!(at(23, &[]), ["-host/a"]);
}

#[test]
fn what_is_not_known_neither_opens_nor_ends() {
    let mut machine = Machine::default();
    let mut at = |second: i64, seen: &[(&str, Seen)], others: Others| short(&machine.step(second * SECOND, &[rule("host", 1, 1, seen, others)]));
    let away = || Others::Unknown("no gateway".into());
    at(0, &[("a", trouble())], Others::Fine);
    assert_eq!(at(1, &[("a", trouble())], Others::Fine), ["+host/a"]);
    assert_eq!(at(2, &[], away()), ["?host/a"]);
    assert!(at(9_000, &[], away()).is_empty());
    assert_eq!(at(9_001, &[("a", trouble()), ("b", trouble())], Others::Fine), ["!host/a"]);
    assert_eq!(at(9_002, &[], away()), ["?host/a"], "and b, which was only held, is forgotten");
    let seen = [("a", Seen::Unknown("no figures".into()))];
    assert!(at(9_003, &seen, Others::Fine).is_empty(), "it is unknown already");
    assert!(at(9_004, &[], Others::Fine).is_empty());
    assert_eq!(at(9_005, &[], Others::Fine), ["-host/a"]);
}

#[test]
fn one_host_is_down_and_not_its_ports() {
    let mut machine = Machine::default();
    let names: Vec<String> = (0..200).map(|number| format!("port {number:03}")).collect();
    let ports: Vec<(&str, Seen)> = names.iter().map(|name| (name.as_str(), Seen::Trouble(finding(Some("h"))))).collect();
    let facts = [
        rule("host", 3, 0, &[("h", trouble())], Others::Fine),
        rule("port", 5, 0, &ports, Others::Fine),
    ];
    assert!(machine.step(0, &facts).is_empty());
    let opened = machine.step(3 * SECOND, &facts);
    assert_eq!(short(&opened), ["+host/h"]);
    assert!(matches!(&opened[0], AlertChange::Open { says, .. } if says.members == 200));
    assert!(machine.step(100 * SECOND, &facts).is_empty());
    // The host is back; ports that stay down are told after their own while, and no more than there is room for.
    let facts = [rule("host", 3, 0, &[], Others::Fine), rule("port", 5, 0, &ports, Others::Fine)];
    assert_eq!(short(&machine.step(101 * SECOND, &facts)), ["-host/h"]);
    let opened = short(&machine.step(106 * SECOND, &facts));
    assert_eq!(opened.len(), MOST_PER_RULE + 1);
    assert_eq!(opened.last().unwrap(), "+port/*");
    // A host whose rule is off is no cause.
    let mut other = Machine::default();
    let facts = [rule("port", 0, 0, &ports[..1], Others::Fine)];
    assert_eq!(short(&other.step(0, &facts)), ["+port/port 000"]);
}

#[test]
fn losses_add_up_and_rules_that_go_end_their_alerts() {
    let mut machine = Machine::default();
    let lost = |records: f64| {
        Seen::Trouble(Finding {
            value: Some(records),
            adds: true,
            ..finding(None)
        })
    };
    let mut at = |second: i64, seen: &[(&str, Seen)]| machine.step(second * SECOND, &[rule("lost", 0, 60, seen, Others::Fine)]);
    assert_eq!(short(&at(0, &[("flows", lost(5.0))])), ["+lost/flows"]);
    let more = at(1, &[("flows", lost(7.0))]);
    assert!(
        matches!(&more[..], [AlertChange::Update { says, .. }] if says.value == Some(12.0)),
        "{more:?}"
    );
    assert!(at(2, &[]).is_empty());
    assert_eq!(short(&machine.step(3 * SECOND, &[])), ["-lost/flows"]);
}

/// A step: what the rules `host` and `port` see of subjects 0..6 (0 fine, 1 trouble, 2 unknown), whether the rest is known, seconds since the last.
type Scene = (Vec<u8>, Vec<u8>, bool, i64);

fn scenes() -> impl Strategy<Value = Vec<Scene>> {
    let state = || prop_oneof![3 => Just(0u8), 3 => Just(1), 1 => Just(2)];
    let scene = (
        proptest::collection::vec(state(), 6),
        proptest::collection::vec(state(), 6),
        proptest::bool::weighted(0.8),
        0..8i64,
    );
    proptest::collection::vec(scene, 1..40)
}

fn facts_of((hosts, ports, known, _): &Scene) -> Vec<RuleFacts> {
    let names = ["0", "1", "2", "3", "4", "5"];
    let seen = |states: &[u8], causes: bool| -> Vec<(&str, Seen)> {
        let each = names.iter().zip(states).filter_map(|(name, state)| match state {
            // Ports hang on the host of their number, the last two on none.
            1 => Some((*name, Seen::Trouble(finding((causes && *name < "4").then_some(*name))))),
            2 => Some((*name, Seen::Unknown("why".into()))),
            _ => None,
        });
        each.collect()
    };
    let others = || if *known { Others::Fine } else { Others::Unknown("why".into()) };
    vec![
        rule("host", 3, 4, &seen(hosts, false), others()),
        rule("port", 5, 2, &seen(ports, true), others()),
    ]
}

/// Open alerts as a store would have them.
fn stored(open: &BTreeMap<Key, (AlertText, bool)>) -> Vec<StoredAlert> {
    open.iter()
        .map(|((rule, subject), (says, unknown))| StoredAlert {
            id: 1,
            rule: rule.clone(),
            subject: subject.clone(),
            says: says.clone(),
            since_us: 0,
            opened_us: 0,
            updated_us: 0,
            unknown: unknown.then(|| (0, "why".to_owned())),
            resolved: None,
            acknowledged: None,
            silenced: None,
        })
        .collect()
}

proptest! {
    #[test]
    fn alerts_open_once_end_when_it_is_known_and_survive_a_restart(scenes in scenes(), restarts in proptest::collection::vec(any::<bool>(), 40)) {
        let mut machine = Machine::default();
        let mut open: BTreeMap<Key, (AlertText, bool)> = BTreeMap::new();
        let mut now = 0;
        for (scene, restart) in scenes.iter().zip(restarts) {
            now += scene.3 * SECOND;
            let facts = facts_of(scene);
            let state = |key: &Key| {
                let rule = facts.iter().find(|rule| rule.rule == key.0).unwrap();
                (rule.seen.get(&key.1).cloned(), rule.others == Others::Fine)
            };
            for change in machine.step(now, &facts) {
                let key = (change.key().0.to_owned(), change.key().1.to_owned());
                match change {
                    AlertChange::Open { says, .. } => {
                        let (seen, _) = state(&key);
                        let Some(Seen::Trouble(finding)) = seen else { panic!("{key:?} opened without trouble") };
                        if let Some(cause) = finding.cause {
                            prop_assert!(!matches!(state(&cause).0, Some(Seen::Trouble(_))), "{key:?} opened beside its cause");
                        }
                        prop_assert!(open.insert(key, (says, false)).is_none(), "opened twice");
                    }
                    AlertChange::Resolve { .. } => {
                        let (seen, fine) = state(&key);
                        prop_assert!(seen.is_none() && fine, "{key:?} ended though it was not fine");
                        prop_assert!(open.remove(&key).is_some(), "ended twice");
                    }
                    AlertChange::Unknown { .. } => {
                        let was = &mut open.get_mut(&key).unwrap().1;
                        prop_assert!(!std::mem::replace(was, true));
                    }
                    AlertChange::Known { .. } => {
                        let was = &mut open.get_mut(&key).unwrap().1;
                        prop_assert!(std::mem::replace(was, false));
                    }
                    AlertChange::Update { says, .. } => open.get_mut(&key).unwrap().0 = says,
                }
            }
            prop_assert_eq!(machine.open(), open.len());
            if restart {
                machine = Machine::restore(&stored(&open));
                prop_assert_eq!(machine.open(), open.len());
                // The same facts at the same moment are no news.
                let again = machine.clone().step(now, &facts);
                prop_assert!(!again.iter().any(|change| matches!(change, AlertChange::Open { .. })), "{again:?}");
            }
        }
        // When all is well for long, nothing is left.
        let calm = facts_of(&(vec![0; 6], vec![0; 6], true, 0));
        machine.step(now + SECOND, &calm);
        machine.step(now + 100 * SECOND, &calm);
        prop_assert_eq!(machine.open(), 0);
    }

    #[test]
    fn room_is_kept(numbers in proptest::collection::vec(0..300usize, 1..12)) {
        let mut machine = Machine::default();
        for (at, number) in numbers.iter().enumerate() {
            let names: BTreeSet<String> = (0..*number).map(|number| format!("{number}")).collect();
            let seen: Vec<(&str, Seen)> = names.iter().map(|name| (name.as_str(), trouble())).collect();
            machine.step(at as i64 * SECOND, &[rule("port", 0, 0, &seen, Others::Fine)]);
            prop_assert_eq!(machine.open(), (*number).min(MOST_PER_RULE) + usize::from(*number > MOST_PER_RULE));
        }
    }
}
