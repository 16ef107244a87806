// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use uuid::Uuid;

/// A route that a router learned by BGP: one value of the state key `routes` of a port, as hex of big-endian fields (`RoutingTableStorage`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LearnedRoute {
    pub dst: Ipv4Addr,
    pub dst_length: u8,
    pub src: Ipv4Addr,
    pub src_length: u8,
    pub gateway: Ipv4Addr,
    pub weight: u32,
    pub router: Uuid,
    /// The port by which it leaves; older releases leave it out.
    pub port: Option<Uuid>,
}

/// The text is not a learned route.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RouteError {
    #[error("learned route has {length} characters, expected 68 or 100")]
    Length { length: usize },
    #[error("learned route is not of hex digits")]
    Hex,
    #[error("learned route has a prefix of {length} bits")]
    Prefix { length: u8 },
}

const SHORT_BYTES: usize = 34;
const LONG_BYTES: usize = 50;

impl FromStr for LearnedRoute {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; LONG_BYTES];
        let length = text.len() / 2;
        if !matches!(text.len(), 68 | 100) {
            return Err(RouteError::Length { length: text.len() });
        }
        hex::decode_to_slice(text, &mut bytes[..length]).map_err(|_| RouteError::Hex)?;
        let route = LearnedRoute {
            dst: Ipv4Addr::from(cut::<4>(&bytes, 0)),
            dst_length: bytes[4],
            src: Ipv4Addr::from(cut::<4>(&bytes, 5)),
            src_length: bytes[9],
            gateway: Ipv4Addr::from(cut::<4>(&bytes, 10)),
            weight: u32::from_be_bytes(cut(&bytes, 14)),
            router: Uuid::from_bytes(cut(&bytes, 18)),
            port: if length == SHORT_BYTES {
                None
            } else {
                Some(Uuid::from_bytes(cut(&bytes, SHORT_BYTES)))
            },
        };
        match route.dst_length.max(route.src_length) {
            length @ 33.. => Err(RouteError::Prefix { length }),
            _ => Ok(route),
        }
    }
}

impl fmt::Display for LearnedRoute {
    /// The name of the state value's node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(LONG_BYTES);
        bytes.extend_from_slice(&self.dst.octets());
        bytes.push(self.dst_length);
        bytes.extend_from_slice(&self.src.octets());
        bytes.push(self.src_length);
        bytes.extend_from_slice(&self.gateway.octets());
        bytes.extend_from_slice(&self.weight.to_be_bytes());
        bytes.extend_from_slice(self.router.as_bytes());
        if let Some(port) = self.port {
            bytes.extend_from_slice(port.as_bytes());
        }
        f.write_str(&hex::encode(bytes))
    }
}

fn cut<const N: usize>(bytes: &[u8; LONG_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_are_read_and_written() {
        let long = "c61200000f00000000000a58580200000064fce1cf6483005a9fa9ce99ea9267ce4db26dddba6f975082b0e989357af64e74";
        let route: LearnedRoute = long.parse().unwrap();
        assert_eq!((route.dst, route.dst_length), (Ipv4Addr::new(198, 18, 0, 0), 15));
        assert_eq!(route.gateway, Ipv4Addr::new(10, 88, 88, 2));
        assert_eq!(route.weight, 100);
        assert_eq!(route.port, Some("b26dddba-6f97-5082-b0e9-89357af64e74".parse().unwrap()));
        assert_eq!(route.to_string(), long);
        let short: LearnedRoute = long[..68].parse().unwrap();
        assert_eq!(short, LearnedRoute { port: None, ..route });
        assert_eq!(short.to_string(), long[..68]);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!("00".parse::<LearnedRoute>(), Err(RouteError::Length { length: 2 }));
        assert_eq!("x".repeat(68).parse::<LearnedRoute>(), Err(RouteError::Hex));
        let mut text = "0".repeat(68);
        text.replace_range(8..10, "21");
        assert_eq!(text.parse::<LearnedRoute>(), Err(RouteError::Prefix { length: 33 }));
    }
}
