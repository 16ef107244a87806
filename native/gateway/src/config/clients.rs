// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `recorder.clients`: who may send flow records.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// Networks that one list may have. Each connection is compared with all of them, and a site has a handful of management networks.
const MAX_NETWORKS: usize = 64;

pub(super) const ALLOWED: &str = "any, hosts, or a list of addresses and networks such as 10.0.0.0/8, fd00::/8, which may hold hosts";

/// Who may connect to the recorder endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Clients {
    /// Everybody who reaches the port.
    Any,
    Listed {
        /// Addresses that the NSDB has for a host: of its interfaces and of its tunnel end points.
        hosts: bool,
        networks: Vec<Network>,
    },
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// Without bits behind the prefix.
    address: IpAddr,
    prefix: u8,
}

impl Clients {
    /// Reads a value of the key: words and networks with commas or blanks between them.
    pub(super) fn parse(text: &str) -> Option<Clients> {
        let words: Vec<&str> = text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => None,
            [word] if word.eq_ignore_ascii_case("any") => Some(Clients::Any),
            words => {
                let is_hosts = |word: &&&str| word.eq_ignore_ascii_case("hosts");
                let networks: Vec<Network> = words
                    .iter()
                    .filter(|word| !is_hosts(word))
                    .map(|word| Network::parse(word))
                    .collect::<Option<_>>()?;
                let hosts = words.iter().any(|word| is_hosts(&word));
                (networks.len() <= MAX_NETWORKS).then_some(Clients::Listed { hosts, networks })
            }
        }
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.prefix),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.prefix),
            _ => false,
        }
    }

    /// `ADDRESS/BITS`, or one address. Bits behind the prefix are passed over.
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // `+8` and the like are numbers for Rust.
        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = match prefix {
            Some(text) => Some(text).filter(digits)?.parse().ok().filter(|prefix| *prefix <= bits)?,
            None => bits,
        };
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into()),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(
                v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0),
            )),
        };
        Some(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// As the key takes it.
impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Clients::Any => f.write_str("any"),
            Clients::Listed { hosts, networks } => {
                let words = hosts.then(|| "hosts".to_owned()).into_iter();
                let words: Vec<String> = words.chain(networks.iter().map(Network::to_string)).collect();
                f.write_str(&words.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Option<String> {
        Clients::parse(text).map(|clients| clients.to_string())
    }

    #[test]
    fn words_and_networks_are_read() {
        for (text, read) in [
            ("any", "any"),
            ("Any ", "any"),
            ("hosts", "hosts"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7, hosts 2001:db8::1/32", "hosts, 192.0.2.7/32, 2001:db8::/32"),
            ("0.0.0.0/0,::/0", "0.0.0.0/0, ::/0"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(read), "{text}");
        }
        let many = vec!["10.0.0.0/8"; MAX_NETWORKS + 1].join(",");
        for text in [
            "",
            ",",
            "any, hosts",
            "some",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            &many,
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_ends_at_its_prefix() {
        let contains = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.255.255") && !contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("0.0.0.0/0", "203.0.113.1") && !contains("0.0.0.0/0", "::1"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(text in ".{0,80}", address in any::<IpAddr>(), prefix in 0..=32u8) {
            prop_assert!(shown(&text).is_none_or(|once| shown(&once).as_deref() == Some(&once)));
            let network = Network::parse(&format!("{address}/{prefix}")).unwrap();
            prop_assert!(network.contains(address));
            prop_assert_eq!(Network::parse(&network.to_string()), Some(network));
        }
    }
}
