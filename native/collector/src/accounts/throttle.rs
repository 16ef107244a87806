// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How often somebody may try to sign in.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

/// Failures of an address (e-mail) after which it has to wait: a person who mistypes needs a few.
const FREE_FAILURES: u32 = 5;

/// Failures from one network before it has to wait: an office behind one address has many people.
const FREE_FAILURES_OF_CLIENT: u32 = 30;

/// First pause; it doubles with each further failure.
const FIRST_PAUSE_US: i64 = 30_000_000;

/// Longest pause: long enough to make guessing hopeless, short enough that a stranger can't lock somebody out for a day.
const LONGEST_PAUSE_US: i64 = 15 * 60_000_000;

/// Failures are forgotten after this time without one.
const MEMORY_US: i64 = 60 * 60_000_000;

/// Most addresses and clients remembered, each some 100 bytes. When it is full, the one that failed longest ago is forgotten.
const REMEMBERED: usize = 10_000;

/// Counts failures by e-mail address, whether or not it has an account, and by the client's network.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    emails: HashMap<String, Failures>,
    clients: HashMap<IpAddr, Failures>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last_us: i64,
    until_us: i64,
}

impl Throttle {
    /// Whether a try is let through now.
    pub(super) fn allows(&self, email: &str, client: IpAddr, now_us: i64) -> bool {
        let free = |failures: Option<&Failures>| failures.is_none_or(|failures| failures.until_us <= now_us);
        free(self.emails.get(&key(email))) && free(self.clients.get(&network(client)))
    }

    pub(super) fn failed(&mut self, email: &str, client: IpAddr, now_us: i64) {
        count(&mut self.emails, key(email), FREE_FAILURES, now_us);
        count(&mut self.clients, network(client), FREE_FAILURES_OF_CLIENT, now_us);
    }

    /// A success clears the address, not the client: an attacker with an account of their own gains nothing.
    pub(super) fn succeeded(&mut self, email: &str) {
        self.emails.remove(&key(email));
    }
}

fn count<K: Eq + Hash + Clone>(map: &mut HashMap<K, Failures>, key: K, free: u32, now_us: i64) {
    if map.len() >= REMEMBERED && !map.contains_key(&key) {
        map.retain(|_, failures| failures.last_us > now_us - MEMORY_US);
        if map.len() >= REMEMBERED {
            let oldest = map.iter().min_by_key(|(_, failures)| failures.last_us).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| map.remove(&oldest));
        }
    }
    let failures = map.entry(key).or_default();
    if failures.last_us <= now_us - MEMORY_US {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last_us = now_us;
    if failures.count >= free {
        let doublings = (failures.count - free).min(16);
        failures.until_us = now_us + (FIRST_PAUSE_US << doublings).min(LONGEST_PAUSE_US);
    }
}

/// As the catalogue compares addresses, and cut, so that a key can't be made large.
fn key(email: &str) -> String {
    email.trim().to_lowercase().chars().take(254).collect()
}

/// A site has a /64 of IPv6 to draw addresses from.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_few_failures_are_free_then_pauses_double_up_to_a_bound() {
        let mut throttle = Throttle::default();
        let mut now = 1_000_000_000_000;
        for _ in 1..FREE_FAILURES {
            throttle.failed("Ann@example.org", CLIENT, now);
            assert!(throttle.allows("ann@example.org", CLIENT, now));
        }
        throttle.failed("ann@example.org ", CLIENT, now);
        assert!(!throttle.allows("ann@example.org", CLIENT, now));
        assert!(throttle.allows("bob@example.org", CLIENT, now));
        assert!(!throttle.allows("ann@example.org", CLIENT, now + FIRST_PAUSE_US - 1));
        now += FIRST_PAUSE_US;
        assert!(throttle.allows("ann@example.org", CLIENT, now));
        throttle.failed("ann@example.org", CLIENT, now);
        assert!(!throttle.allows("ann@example.org", CLIENT, now + FIRST_PAUSE_US));
        for _ in 0..40 {
            throttle.failed("ann@example.org", "10.0.0.1".parse().unwrap(), now);
        }
        assert!(throttle.allows("ann@example.org", CLIENT, now + LONGEST_PAUSE_US));
        throttle.succeeded("ann@example.org");
        assert!(throttle.allows("ann@example.org", CLIENT, now));
    }

    #[test]
    fn many_addresses_from_one_network_are_stopped_and_memory_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..FREE_FAILURES_OF_CLIENT {
            throttle.failed(&format!("{number}@example.org"), format!("2001:db8::{number:x}").parse().unwrap(), 5);
        }
        assert!(!throttle.allows("new@example.org", "2001:db8::ffff".parse().unwrap(), 5));
        assert!(throttle.allows("new@example.org", "2001:db8:0:1::1".parse().unwrap(), 5));
        for number in 0..REMEMBERED + 50 {
            throttle.failed(&format!("{number}@example.com"), CLIENT, 10);
        }
        assert_eq!(throttle.emails.len(), REMEMBERED);
    }
}
