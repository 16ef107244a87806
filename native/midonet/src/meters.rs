// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The agents' traffic meters: the body of `GET /device_stats`.
//!
//! A line per meter: key, tab, packets, tab, bytes, newline. Counters are cumulative since the agent's start. A key occurs once per simulation
//! thread, so its lines are to be added up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use uuid::Uuid;

/// What a meter counts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MeterKey {
    /// Traffic through a device of any kind.
    Device(Uuid),
    /// What enters the virtual device by this port: for a VM's port what the VM sends.
    PortRx(Uuid),
    /// What leaves the virtual device by this port.
    PortTx(Uuid),
    /// Traffic of a tunnel between two underlay addresses; both of its hosts count it.
    Tunnel { src: Ipv4Addr, dst: Ipv4Addr },
    /// A meter that a rule names.
    User(String),
    /// A kind of a later release: the whole key.
    Other(String),
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Counters {
    pub packets: i64,
    /// Of Ethernet frames.
    pub bytes: i64,
}

/// The lines of a reading, as they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceStats {
    pub meters: Vec<(MeterKey, Counters)>,
    /// Lines that are no meter.
    pub invalid: usize,
    /// The body was above [`MAX_BODY_BYTES`] or [`MAX_METERS`]; the rest was left out.
    pub cut: bool,
}

/// Bound of a body: 64 MiB hold 800,000 meters, more than an agent's flow table can name devices.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// Bound of the meters that are kept of one body.
pub const MAX_METERS: usize = 1_000_000;

/// Longest key that is kept; the names of user meters come from rules.
pub const MAX_KEY_BYTES: usize = 512;

/// Reads the body of a response. What isn't a meter is counted and left out.
pub fn parse_device_stats(body: &[u8]) -> DeviceStats {
    let mut stats = DeviceStats {
        cut: body.len() > MAX_BODY_BYTES,
        ..DeviceStats::default()
    };
    for line in body[..body.len().min(MAX_BODY_BYTES)]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        if stats.meters.len() == MAX_METERS {
            stats.cut = true;
            break;
        }
        match std::str::from_utf8(line).ok().and_then(parse_line) {
            Some(meter) => stats.meters.push(meter),
            None => stats.invalid += 1,
        }
    }
    stats
}

/// The body of a response.
pub fn write_device_stats<'a>(meters: impl IntoIterator<Item = (&'a MeterKey, Counters)>) -> String {
    meters
        .into_iter()
        .map(|(key, counters)| format!("{key}\t{}\t{}\n", counters.packets, counters.bytes))
        .collect()
}

impl DeviceStats {
    /// The sum of each key's lines.
    pub fn sums(&self) -> BTreeMap<&MeterKey, Counters> {
        let mut sums: BTreeMap<&MeterKey, Counters> = BTreeMap::new();
        for (key, counters) in &self.meters {
            let sum = sums.entry(key).or_default();
            sum.packets = sum.packets.wrapping_add(counters.packets);
            sum.bytes = sum.bytes.wrapping_add(counters.bytes);
        }
        sums
    }
}

fn parse_line(line: &str) -> Option<(MeterKey, Counters)> {
    let mut parts = line.trim_end_matches('\r').split('\t');
    let (key, packets, bytes) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((
        key.parse().ok()?,
        Counters {
            packets: packets.parse().ok()?,
            bytes: bytes.parse().ok()?,
        },
    ))
}

/// The text is not a meter's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a meter key: no \"meters:\" in front, or longer than {MAX_KEY_BYTES} bytes")]
pub struct MeterKeyError;

impl FromStr for MeterKey {
    type Err = MeterKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tag = text
            .strip_prefix("meters:")
            .filter(|_| text.len() <= MAX_KEY_BYTES)
            .ok_or(MeterKeyError)?;
        Ok(known(tag).unwrap_or_else(|| MeterKey::Other(text.to_owned())))
    }
}

fn known(tag: &str) -> Option<MeterKey> {
    let (kind, rest) = tag.split_once(':')?;
    match kind {
        "device" => rest.parse().ok().map(MeterKey::Device),
        "port" => match rest.split_once(':')? {
            ("rx", id) => id.parse().ok().map(MeterKey::PortRx),
            ("tx", id) => id.parse().ok().map(MeterKey::PortTx),
            _ => None,
        },
        "tunnel" => {
            let (src, dst) = rest.split_once(':')?;
            Some(MeterKey::Tunnel {
                src: signed_ipv4(src)?,
                dst: signed_ipv4(dst)?,
            })
        }
        "user" => Some(MeterKey::User(rest.to_owned())),
        _ => None,
    }
}

/// Underlay addresses are Java ints.
fn signed_ipv4(text: &str) -> Option<Ipv4Addr> {
    text.parse::<i32>().ok().map(|number| Ipv4Addr::from(number as u32))
}

impl fmt::Display for MeterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MeterKey::Device(id) => write!(f, "meters:device:{id}"),
            MeterKey::PortRx(id) => write!(f, "meters:port:rx:{id}"),
            MeterKey::PortTx(id) => write!(f, "meters:port:tx:{id}"),
            MeterKey::Tunnel { src, dst } => write!(f, "meters:tunnel:{}:{}", u32::from(*src) as i32, u32::from(*dst) as i32),
            MeterKey::User(name) => write!(f, "meters:user:{name}"),
            MeterKey::Other(key) => f.write_str(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_kinds() {
        let id: Uuid = "ec6ef230-f182-3039-ae79-4566b9c58adc".parse().unwrap();
        let cases = [
            ("meters:device:ec6ef230-f182-3039-ae79-4566b9c58adc", MeterKey::Device(id)),
            ("meters:port:rx:ec6ef230-f182-3039-ae79-4566b9c58adc", MeterKey::PortRx(id)),
            ("meters:port:tx:ec6ef230-f182-3039-ae79-4566b9c58adc", MeterKey::PortTx(id)),
            (
                "meters:tunnel:167772161:-1062731775",
                MeterKey::Tunnel {
                    src: Ipv4Addr::new(10, 0, 0, 1),
                    dst: Ipv4Addr::new(192, 168, 0, 1),
                },
            ),
            ("meters:user:tenant-a.web:80", MeterKey::User("tenant-a.web:80".to_owned())),
            ("meters:device:x", MeterKey::Other("meters:device:x".to_owned())),
            ("meters:new:1", MeterKey::Other("meters:new:1".to_owned())),
        ];
        for (text, key) in cases {
            assert_eq!(text.parse(), Ok(key.clone()));
            assert_eq!(key.to_string(), text);
        }
        assert!("device:x".parse::<MeterKey>().is_err());
        assert!(format!("meters:user:{}", "x".repeat(MAX_KEY_BYTES)).parse::<MeterKey>().is_err());
    }

    #[test]
    fn lines_of_a_key_are_added_up_and_others_counted() {
        let body = b"meters:user:a\t1\t10\nmeters:user:b\t5\t50\nmeters:user:a\t2\t20\r\n\nx\t1\t1\nmeters:user:a\t1\nmeters:user:a\t1\tx\nmeters:user:\xff\t1\t1\nmeters:user:a\t1\t1\t1\n";
        let stats = parse_device_stats(body);
        assert_eq!((stats.meters.len(), stats.invalid, stats.cut), (3, 5, false));
        let sums = stats.sums();
        assert_eq!(sums[&MeterKey::User("a".to_owned())], Counters { packets: 3, bytes: 30 });
        assert_eq!(sums[&MeterKey::User("b".to_owned())], Counters { packets: 5, bytes: 50 });
    }

    #[test]
    fn a_last_line_without_a_newline_is_a_meter_too() {
        assert_eq!(parse_device_stats(b"meters:user:a\t1\t10").meters.len(), 1);
        assert_eq!(parse_device_stats(b""), DeviceStats::default());
    }
}
