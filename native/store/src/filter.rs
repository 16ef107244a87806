// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Which flows a question is about. The filter is data: the query language above writes it, each backend translates it, and
//! [`FlowFilter::matches`] says what it means.

use std::{net::IpAddr, ops::RangeInclusive};

use uuid::Uuid;

use crate::row::{FlowRow, Mac, Path, Verdict};

/// Two-valued: a test of a field that a row does not have is false, and its negation true.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FlowFilter {
    And(Vec<FlowFilter>),
    Or(Vec<FlowFilter>),
    Not(Box<FlowFilter>),
    Is(FlowTest),
}

/// One criterion. Ranges are inclusive at both ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FlowTest {
    Mac(End, Mac),
    Ip(End, Prefix),
    /// Transport port; ICMP: type (source), code (destination).
    Tp(End, RangeInclusive<u16>),
    Tenant(End, String),
    Network(End, Uuid),
    /// Virtual port at the end of the flow.
    Port(End, Uuid),
    /// Any value is there (a tenant, network or port that the topology knew).
    Known(End, KnownField),
    InPort(Uuid),
    Proto(RangeInclusive<u8>),
    EtherType(RangeInclusive<u16>),
    /// Any VLAN tag of the frame.
    Vlan(RangeInclusive<u16>),
    Tos(RangeInclusive<u8>),
    Ttl(RangeInclusive<u8>),
    IcmpId(RangeInclusive<u16>),
    Host(Uuid),
    Gateway(Uuid),
    Verdict(Verdict),
    SimResult(u8),
    Transit(bool),
    TunnelKey(RangeInclusive<u64>),
    Cookie(u64),
    /// The rule that decided.
    DecidedBy(Uuid),
    /// The device is on the path, or is a port that the flow leaves by.
    Device(Uuid),
    /// The rule was evaluated on the path.
    Rule(Uuid),
    /// The rule was evaluated and its condition held.
    RuleMatched(Uuid),
}

/// Which end of a flow a test is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    Src,
    Dst,
    Either,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KnownField {
    Mac,
    Ip,
    Tenant,
    Network,
    Port,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Prefix {
    /// First and last address, as [`address_bytes`].
    low: [u8; 16],
    high: [u8; 16],
}

impl Prefix {
    /// `None` when the length is above 32 (IPv4) or 128 (IPv6). Host bits of the address don't matter.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let length = match address {
            IpAddr::V4(_) => (length <= 32).then(|| u32::from(length) + 96)?,
            IpAddr::V6(_) => (length <= 128).then(|| u32::from(length))?,
        };
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        let address = u128::from_be_bytes(address_bytes(address));
        Some(Self {
            low: (address & mask).to_be_bytes(),
            high: (address | !mask).to_be_bytes(),
        })
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        let bytes = address_bytes(address);
        Self { low: bytes, high: bytes }
    }

    /// All addresses from `low` to `high`, both included.
    pub fn range(low: IpAddr, high: IpAddr) -> Self {
        Self {
            low: address_bytes(low),
            high: address_bytes(high),
        }
    }

    pub(crate) fn bounds(&self) -> ([u8; 16], [u8; 16]) {
        (self.low, self.high)
    }
}

/// 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`.
pub(crate) fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What [`address_bytes`] wrote.
pub(crate) fn address_from(bytes: [u8; 16]) -> IpAddr {
    let v6 = std::net::Ipv6Addr::from(bytes);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

impl FlowFilter {
    /// Deepest nesting and most tests of a filter; a page's form has some twenty.
    pub const MAX_DEPTH: usize = 32;
    pub const MAX_TESTS: usize = 512;

    /// Matches every flow.
    pub fn all() -> Self {
        FlowFilter::And(Vec::new())
    }

    /// Both hold.
    pub fn and(self, other: FlowFilter) -> Self {
        match self {
            FlowFilter::And(mut parts) => {
                parts.push(other);
                FlowFilter::And(parts)
            }
            first => FlowFilter::And(vec![first, other]),
        }
    }

    pub fn negate(self) -> Self {
        FlowFilter::Not(Box::new(self))
    }

    /// What the filter means, on one row. `path` is the content of the row's path; tests of the path are false without it.
    pub fn matches(&self, row: &FlowRow, path: Option<&Path>) -> bool {
        match self {
            FlowFilter::And(parts) => parts.iter().all(|part| part.matches(row, path)),
            FlowFilter::Or(parts) => parts.iter().any(|part| part.matches(row, path)),
            FlowFilter::Not(part) => !part.matches(row, path),
            FlowFilter::Is(test) => test.matches(row, path),
        }
    }

    /// Depth and number of tests.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            FlowFilter::And(parts) | FlowFilter::Or(parts) => parts
                .iter()
                .map(FlowFilter::size)
                .fold((1, 0), |(depth, tests), (d, t)| (depth.max(d + 1), tests + t)),
            FlowFilter::Not(part) => {
                let (depth, tests) = part.size();
                (depth + 1, tests)
            }
            FlowFilter::Is(_) => (1, 1),
        }
    }
}

impl From<FlowTest> for FlowFilter {
    fn from(test: FlowTest) -> Self {
        FlowFilter::Is(test)
    }
}

impl FlowTest {
    fn matches(&self, row: &FlowRow, path: Option<&Path>) -> bool {
        match self {
            FlowTest::Mac(end, mac) => end.any(&row.src_mac, &row.dst_mac, |value| *value == Some(*mac)),
            FlowTest::Ip(end, prefix) => end.any(row.src_ip, row.dst_ip, |value| {
                value.is_some_and(|ip| {
                    let bytes = address_bytes(ip);
                    prefix.low <= bytes && bytes <= prefix.high
                })
            }),
            FlowTest::Tp(end, range) => end.any(row.src_tp, row.dst_tp, |value| range.contains(&value)),
            FlowTest::Tenant(end, tenant) => end.any(&row.src_tenant, &row.dst_tenant, |value| value.as_deref() == Some(tenant)),
            FlowTest::Network(end, id) => end.any(row.src_network, row.dst_network, |value| value == Some(*id)),
            FlowTest::Port(end, id) => end.any(row.src_port, row.dst_port, |value| value == Some(*id)),
            FlowTest::Known(end, field) => match field {
                KnownField::Mac => end.any(row.src_mac, row.dst_mac, |value| value.is_some()),
                KnownField::Ip => end.any(row.src_ip, row.dst_ip, |value| value.is_some()),
                KnownField::Tenant => end.any(&row.src_tenant, &row.dst_tenant, |value| value.is_some()),
                KnownField::Network => end.any(row.src_network, row.dst_network, |value| value.is_some()),
                KnownField::Port => end.any(row.src_port, row.dst_port, |value| value.is_some()),
            },
            FlowTest::InPort(id) => row.in_port == Some(*id),
            FlowTest::Proto(range) => range.contains(&row.proto),
            FlowTest::EtherType(range) => range.contains(&row.ether_type),
            FlowTest::Vlan(range) => row.vlans.iter().any(|vlan| range.contains(vlan)),
            FlowTest::Tos(range) => range.contains(&row.tos),
            FlowTest::Ttl(range) => range.contains(&row.ttl),
            FlowTest::IcmpId(range) => range.contains(&row.icmp_id),
            FlowTest::Host(id) => row.host == *id,
            FlowTest::Gateway(id) => row.gateway == *id,
            FlowTest::Verdict(verdict) => row.verdict == *verdict,
            FlowTest::SimResult(result) => row.sim_result == *result,
            FlowTest::Transit(transit) => row.transit == *transit,
            FlowTest::TunnelKey(range) => range.contains(&row.tunnel_key),
            FlowTest::Cookie(cookie) => row.cookie == *cookie,
            FlowTest::DecidedBy(id) => row.rule == Some(*id),
            FlowTest::Device(id) => row.out_ports.contains(id) || path.is_some_and(|path| path.devices.iter().any(|device| device.id == *id)),
            FlowTest::Rule(id) => path.is_some_and(|path| path.rules.iter().any(|rule| rule.id == *id)),
            FlowTest::RuleMatched(id) => path.is_some_and(|path| path.rules.iter().any(|rule| rule.id == *id && rule.matched)),
        }
    }
}

impl End {
    fn any<T>(self, src: T, dst: T, test: impl Fn(T) -> bool) -> bool {
        match self {
            End::Src => test(src),
            End::Dst => test(dst),
            End::Either => test(src) || test(dst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_both_families() {
        let inside = |prefix: Prefix, text: &str| {
            let bytes = address_bytes(text.parse().unwrap());
            prefix.low <= bytes && bytes <= prefix.high
        };
        let net = Prefix::new("10.1.2.3".parse().unwrap(), 8).unwrap();
        assert!(inside(net, "10.255.255.255") && inside(net, "10.0.0.0"));
        assert!(!inside(net, "11.0.0.0") && !inside(net, "9.255.255.255") && !inside(net, "::a00:1"));
        let all = Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap();
        assert!(inside(all, "255.1.2.3") && !inside(all, "fe80::1"));
        let everything = Prefix::new("::".parse().unwrap(), 0).unwrap();
        assert!(inside(everything, "1.2.3.4") && inside(everything, "ffff::"));
        assert!(Prefix::new("10.0.0.0".parse().unwrap(), 33).is_none());
        assert!(Prefix::new("::".parse().unwrap(), 129).is_none());
    }
}
