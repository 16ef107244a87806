// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Values and filters as SQL. Nothing that anybody typed gets into a statement as it is: numbers and ids are written in digits, texts as the
//! hexadecimal digits of their bytes.
//!
//! Negations are moved down to the tests, as for the embedded backend: only negated tests have to say what they mean for an absent value, the
//! rest can be used with indexes.

use std::{fmt, ops::RangeInclusive};

use uuid::Uuid;

use super::question::SiteTables;
use crate::{
    filter::{End, FlowFilter, FlowTest, KnownField, Prefix},
    ids::Period,
    row::FlowRow,
    table::day_of,
};

pub(super) fn id(id: Uuid) -> String {
    format!("toUUID('{}')", id.hyphenated())
}

/// Ids for a list after `IN`; there must be one at least.
pub(super) fn ids(all: impl IntoIterator<Item = Uuid>) -> String {
    let all: Vec<String> = all.into_iter().map(|id| format!("'{}'", id.hyphenated())).collect();
    format!("({})", all.join(", "))
}

fn text(text: &str) -> String {
    format!("unhex('{}')", hex::encode(text))
}

fn address(bytes: [u8; 16]) -> String {
    // The form with the fewest surprises: eight groups of four digits.
    let groups: Vec<String> = bytes.chunks_exact(2).map(hex::encode).collect();
    format!("toIPv6('{}')", groups.join(":"))
}

/// A time of a row, µs since the epoch. Beyond what rows can have, the nearest such time.
pub(super) fn time(time_us: i64) -> String {
    format!("fromUnixTimestamp64Micro({}, 'UTC')", time_us.clamp(0, FlowRow::END_OF_TIME_US))
}

pub(super) fn within_period(column: &str, period: Period) -> String {
    format!("{column} >= {} AND {column} < {}", time(period.from_us), time(period.to_us))
}

/// Days that a period meets, as `Date`.
pub(super) fn within_days(column: &str, period: Period) -> String {
    let last = FlowRow::END_OF_TIME_US - 1;
    let day = |time_us: i64| day_of(time_us.clamp(0, last));
    format!(
        "{column} >= toDate({}) AND {column} <= toDate({})",
        day(period.from_us),
        day(period.to_us.saturating_sub(1))
    )
}

/// The filter as a condition on rows of flows, or of what roll-ups keep of them. `paths` is where tests of paths look.
pub(super) fn condition(filter: &FlowFilter, paths: &SiteTables, period: Period) -> String {
    Compiler { paths, period }.filter(filter, true)
}

struct Compiler<'a> {
    paths: &'a SiteTables,
    period: Period,
}

impl Compiler<'_> {
    fn filter(&self, filter: &FlowFilter, wanted: bool) -> String {
        let join = |parts: &[FlowFilter], word: &str, none: &str| {
            let parts: Vec<String> = parts.iter().map(|part| self.filter(part, wanted)).collect();
            if parts.is_empty() {
                none.to_owned()
            } else {
                format!("({})", parts.join(word))
            }
        };
        match (filter, wanted) {
            (FlowFilter::And(parts), true) => join(parts, " AND ", "1"),
            (FlowFilter::Or(parts), false) => join(parts, " AND ", "1"),
            (FlowFilter::Or(parts), true) => join(parts, " OR ", "0"),
            (FlowFilter::And(parts), false) => join(parts, " OR ", "0"),
            (FlowFilter::Not(part), _) => self.filter(part, !wanted),
            (FlowFilter::Is(test), true) => self.test(test),
            (FlowFilter::Is(test), false) => format!("NOT ifNull({}, 0)", self.test(test)),
        }
    }

    fn test(&self, test: &FlowTest) -> String {
        match test {
            FlowTest::Mac(end, mac) => ends(*end, "src_mac", "dst_mac", |name| format!("{name} = {}", mac.number())),
            FlowTest::Ip(end, prefix) => ends(*end, "src_ip", "dst_ip", |name| in_prefix(name, prefix)),
            FlowTest::Tp(end, range) => ends(*end, "src_tp", "dst_tp", |name| within(name, range)),
            FlowTest::Tenant(end, tenant) => ends(*end, "src_tenant", "dst_tenant", |name| format!("{name} = {}", text(tenant))),
            FlowTest::Network(end, network) => ends(*end, "src_network", "dst_network", |name| is(name, *network)),
            FlowTest::Port(end, port) => ends(*end, "src_port", "dst_port", |name| is(name, *port)),
            FlowTest::Known(end, field) => {
                let (src, dst) = match field {
                    KnownField::Mac => ("src_mac", "dst_mac"),
                    KnownField::Ip => ("src_ip", "dst_ip"),
                    KnownField::Tenant => ("src_tenant", "dst_tenant"),
                    KnownField::Network => ("src_network", "dst_network"),
                    KnownField::Port => ("src_port", "dst_port"),
                };
                ends(*end, src, dst, |name| format!("{name} IS NOT NULL"))
            }
            FlowTest::InPort(port) => is("in_port", *port),
            FlowTest::Proto(range) => within("proto", range),
            FlowTest::EtherType(range) => within("ether_type", range),
            FlowTest::Vlan(range) => format!("arrayExists(tag -> {}, vlans)", within("tag", range)),
            FlowTest::Tos(range) => within("tos", range),
            FlowTest::Ttl(range) => within("ttl", range),
            FlowTest::IcmpId(range) => within("icmp_id", range),
            FlowTest::Host(host) => is("host", *host),
            FlowTest::Gateway(gateway) => is("gateway", *gateway),
            FlowTest::Verdict(verdict) => format!("verdict = {}", *verdict as u8),
            FlowTest::SimResult(result) => format!("sim_result = {result}"),
            FlowTest::Transit(transit) => format!("transit = {}", u8::from(*transit)),
            FlowTest::TunnelKey(range) => within("tunnel_key", range),
            FlowTest::Cookie(cookie) => format!("cookie = {cookie}"),
            FlowTest::DecidedBy(rule) => is("rule", *rule),
            FlowTest::Device(device) => {
                let device = id(*device);
                format!("(has(out_ports, {device}) OR {})", self.on_path(&format!("has(devices, {device})")))
            }
            FlowTest::Rule(rule) => self.on_path(&format!("has(rules, {})", id(*rule))),
            FlowTest::RuleMatched(rule) => {
                let matched = format!("arrayExists((rule, flag) -> rule = {} AND bitTest(flag, 6), rules, flags)", id(*rule));
                self.on_path(&matched)
            }
        }
    }

    fn on_path(&self, condition: &str) -> String {
        format!("path IN (SELECT path {} AND {condition})", self.paths.paths(self.period))
    }
}

fn ends(end: End, src: &str, dst: &str, test: impl Fn(&str) -> String) -> String {
    match end {
        End::Src => test(src),
        End::Dst => test(dst),
        End::Either => format!("({} OR {})", test(src), test(dst)),
    }
}

fn is(name: &str, wanted: Uuid) -> String {
    format!("{name} = {}", id(wanted))
}

fn within<T: fmt::Display + PartialEq + PartialOrd>(name: &str, range: &RangeInclusive<T>) -> String {
    let (low, high) = (range.start(), range.end());
    if low > high {
        "0".to_owned()
    } else if low == high {
        format!("{name} = {low}")
    } else {
        format!("({name} >= {low} AND {name} <= {high})")
    }
}

fn in_prefix(name: &str, prefix: &Prefix) -> String {
    let (low, high) = prefix.bounds();
    // Equality can use the Bloom filters.
    if low == high {
        return format!("{name} = {}", address(low));
    }
    format!("({name} >= {} AND {name} <= {})", address(low), address(high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SiteId;

    #[test]
    fn what_people_type_is_only_digits_in_a_statement() {
        let tenant = "x' OR 1=1 -- \\ `\"\u{0}";
        let filter = FlowFilter::from(FlowTest::Tenant(End::Either, tenant.into())).negate();
        let sql = condition(&filter, &SiteTables::of(SiteId(Uuid::nil())), Period::new(0, 1));
        let digits = hex::encode(tenant);
        assert_eq!(
            sql,
            format!("NOT ifNull((src_tenant = unhex('{digits}') OR dst_tenant = unhex('{digits}')), 0)")
        );
    }

    #[test]
    fn times_beyond_rows_are_brought_to_their_bounds() {
        let all = Period::new(i64::MIN, i64::MAX);
        let sql = within_period("time", all);
        assert!(sql.contains("Micro(0,") && sql.contains("Micro(4102444800000000,"), "{sql}");
        assert_eq!(within_days("day", all), "day >= toDate(0) AND day <= toDate(47481)");
    }
}
