// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Where a webhook may lead: out, and never into the service's own network, whatever a name resolves to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Addresses that an operator lets webhooks reach though they are not public.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AllowedPrefix {
    address: IpAddr,
    length: u8,
}

impl AllowedPrefix {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for AllowedPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no prefix such as 10.1.0.0/16 or fd00::/8");
        let (address, length) = text.trim().split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.parse().ok().filter(|length| *length <= most).ok_or_else(wrong)?;
        Ok(Self { address, length })
    }
}

impl fmt::Display for AllowedPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// A webhook may be sent to this address.
pub(super) fn may_reach(address: IpAddr, allowed: &[AllowedPrefix]) -> bool {
    let address = address.to_canonical();
    is_public(address) || allowed.iter().any(|prefix| prefix.contains(address))
}

/// By the registries of special addresses of IANA (RFC 6890 and what came after).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        // Carrier-grade NAT, protocol assignments, 6to4 relays, benchmarks, the reserved rest with the broadcast address.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match parts {
        // NAT64 leads to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // So does 6to4.
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo and other protocols, documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Of all the rest only this eighth is global unicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_own_network_is_out_of_reach() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "198.51.100.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fec0::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
        ] {
            assert!(!may_reach(address.parse().unwrap(), &[]), "{address}");
        }
        for address in [
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "2a00:1450::1",
            "2001:4860::1",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(may_reach(address.parse().unwrap(), &[]), "{address}");
        }
    }

    #[test]
    fn an_operator_lets_prefixes_in() {
        let allowed: Vec<AllowedPrefix> = ["10.1.0.0/16", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        for address in ["10.1.255.1", "::ffff:10.1.0.9", "fd12::1"] {
            assert!(may_reach(address.parse().unwrap(), &allowed), "{address}");
        }
        for address in ["10.2.0.1", "fc00::1", "127.0.0.1"] {
            assert!(!may_reach(address.parse().unwrap(), &allowed), "{address}");
        }
        let all: AllowedPrefix = "0.0.0.0/0".parse().unwrap();
        assert!(may_reach("127.0.0.1".parse().unwrap(), &[all]));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "name/8", "::/129", ""] {
            assert!(wrong.parse::<AllowedPrefix>().is_err(), "{wrong}");
        }
        assert_eq!(all.to_string(), "0.0.0.0/0");
    }
}
