// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Addresses with a prefix length.

use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};

/// An address with a prefix length. The address keeps its host part where it has one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.length.min(32));
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.length.min(128));
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }

    /// Whether there is a host part and no bit of it is set.
    pub fn is_network(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => u32::from(address).checked_shl(u32::from(self.length)) == Some(0),
            IpAddr::V6(address) => u128::from(address).checked_shl(u32::from(self.length)) == Some(0),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_their_own_addresses_only() {
        let prefix = Prefix {
            address: "10.1.2.3".parse().unwrap(),
            length: 24,
        };
        assert!(prefix.contains("10.1.2.255".parse().unwrap()));
        assert!(!prefix.contains("10.1.3.0".parse().unwrap()));
        let all = Prefix {
            address: "0.0.0.0".parse().unwrap(),
            length: 0,
        };
        assert!(all.contains("255.0.0.1".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        let all = Prefix {
            address: "::".parse().unwrap(),
            length: 0,
        };
        assert!(all.contains("2001:db8::1".parse().unwrap()));
    }
}
