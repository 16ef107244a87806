// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{fmt, str::FromStr};

/// An Ethernet address in transmission order. Text form is MidoNet's: lower-case, two digits, colons.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mac(pub [u8; 6]);

/// The text is not an Ethernet address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an Ethernet address of six hex pairs")]
pub struct ParseMacError;

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;

    /// Accepts one or two hex digits of either case between colons or dashes, and twelve digits without them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        if text.len() == 12 {
            return hex::decode_to_slice(text, &mut bytes).map(|()| Mac(bytes)).map_err(|_| ParseMacError);
        }
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() { Err(ParseMacError) } else { Ok(Mac(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let mac = Mac([0xfa, 0x16, 0x3e, 0, 1, 0xff]);
        assert_eq!(mac.to_string(), "fa:16:3e:00:01:ff");
        for text in ["fa:16:3e:00:01:ff", "FA:16:3E:0:1:FF", "FA-16-3E-00-01-FF", "FA163E0001FF"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        for text in [
            "",
            "fa:16:3e:00:01",
            "fa:16:3e:00:01:ff:00",
            "fa:16:3e:00:01:+f",
            "fa:16:3e:00:01:fff",
            "zz163e0001ff",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(ParseMacError), "{text}");
        }
    }
}
