// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The JSON form of a record: flat member names with dots, numbers as strings of the signed Java type, byte strings as upper-case hex.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use uuid::Uuid;

use super::binary::in_port_is_doubtful;
use super::json_action::Actions;
use super::{Device, DeviceKind, Encoding, FlowError, FlowRecord, Fragment, MAX_RECORD_BYTES, RuleHit, RuleResult, SimResult, Untrusted};
use crate::Mac;

/// Reads a JSON record. Members of releases to come are passed over.
pub fn decode(bytes: &[u8]) -> Result<FlowRecord, FlowError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(FlowError::TooLong { size: bytes.len() });
    }
    let raw: Raw<'_> = serde_json::from_slice(bytes).map_err(|error| {
        let mut message = error.to_string();
        if let Some(end) = message.rfind(" at line ") {
            message.truncate(end);
        }
        FlowError::Json {
            line: error.line(),
            column: error.column(),
            message,
        }
    })?;
    let mut record = FlowRecord {
        encoding: Encoding::Json,
        host: raw.host_id,
        cookie: raw.cookie.0,
        sim_result: SimResult::from_name(&raw.sim_result),
        in_port: raw.in_port,
        dp_port: raw.input_port.0 as u32,
        tunnel_key: raw.tunnel_key.0,
        tunnel_src: Ipv4Addr::from(raw.tunnel_src.0 as u32),
        tunnel_dst: Ipv4Addr::from(raw.tunnel_dst.0 as u32),
        eth_src: raw.eth_src.as_ref().map(|bytes| mac("flowMatch.ethSrc", bytes)).transpose()?,
        eth_dst: raw.eth_dst.as_ref().map(|bytes| mac("flowMatch.ethDst", bytes)).transpose()?,
        ether_type: raw.ether_type.0 as u16,
        src: raw.network_src.as_ref().map(|bytes| address("flowMatch.networkSrc", bytes)).transpose()?,
        dst: raw.network_dst.as_ref().map(|bytes| address("flowMatch.networkDst", bytes)).transpose()?,
        proto: raw.network_proto.0 as u8,
        tos: raw.network_tos.0 as u8,
        ttl: raw.network_ttl.0 as u8,
        fragment: Fragment::from_code(raw.ip_frag_type.0 as u8),
        src_port: raw.src_port.0 as u16,
        dst_port: raw.dst_port.0 as u16,
        icmp_id: raw.icmp_identifier.0 as u16,
        icmp_data: raw.icmp_data.map(|data| data.0).unwrap_or_default(),
        vlan_ids: raw.vlan_ids.iter().map(|id| id.0 as u16).collect(),
        out_ports: raw.out_ports,
        rules: raw
            .rules
            .iter()
            .map(|rule| RuleHit {
                id: rule.id,
                result: RuleResult::from_name(&rule.result),
                matched: rule.matched,
                applied: rule.applied,
            })
            .collect(),
        devices: raw
            .devices
            .iter()
            .map(|device| Device {
                id: device.id,
                kind: DeviceKind::from_name(&device.device_type),
            })
            .collect(),
        actions: raw.actions.0,
        untrusted: Untrusted::empty(),
    };
    if record.in_port.is_some() && in_port_is_doubtful(&record) {
        record.untrusted |= Untrusted::IN_PORT;
    }
    Ok(record)
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "hostId")]
    host_id: Uuid,
    #[serde(rename = "inPort", default)]
    in_port: Option<Uuid>,
    #[serde(rename = "flowMatch.inputPort")]
    input_port: Number<32>,
    #[serde(rename = "flowMatch.tunnelKey")]
    tunnel_key: Number<64>,
    #[serde(rename = "flowMatch.tunnelSrc")]
    tunnel_src: Number<32>,
    #[serde(rename = "flowMatch.tunnelDst")]
    tunnel_dst: Number<32>,
    #[serde(rename = "flowMatch.ethSrc", default)]
    eth_src: Option<Hex>,
    #[serde(rename = "flowMatch.ethDst", default)]
    eth_dst: Option<Hex>,
    #[serde(rename = "flowMatch.etherType")]
    ether_type: Number<16>,
    #[serde(rename = "flowMatch.networkSrc", default)]
    network_src: Option<Hex>,
    #[serde(rename = "flowMatch.networkDst", default)]
    network_dst: Option<Hex>,
    #[serde(rename = "flowMatch.networkProto")]
    network_proto: Number<8>,
    #[serde(rename = "flowMatch.networkTTL")]
    network_ttl: Number<8>,
    #[serde(rename = "flowMatch.networkTOS")]
    network_tos: Number<8>,
    #[serde(rename = "flowMatch.IPFragType")]
    ip_frag_type: Number<8>,
    #[serde(rename = "flowMatch.srcPort")]
    src_port: Number<16>,
    #[serde(rename = "flowMatch.dstPort")]
    dst_port: Number<16>,
    #[serde(rename = "flowMatch.icmpIdentifier")]
    icmp_identifier: Number<16>,
    #[serde(rename = "flowMatch.icmpData", default)]
    icmp_data: Option<Hex>,
    #[serde(rename = "flowMatch.vlanIds")]
    vlan_ids: Vec<Number<16>>,
    cookie: Number<64>,
    #[serde(borrow)]
    devices: Vec<RawDevice<'a>>,
    #[serde(borrow)]
    rules: Vec<RawRule<'a>>,
    #[serde(rename = "simResult", borrow)]
    sim_result: Cow<'a, str>,
    #[serde(rename = "outPorts")]
    out_ports: Vec<Uuid>,
    actions: Actions,
}

#[derive(Deserialize)]
struct RawDevice<'a> {
    id: Uuid,
    #[serde(rename = "deviceType", borrow)]
    device_type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawRule<'a> {
    id: Uuid,
    #[serde(borrow)]
    result: Cow<'a, str>,
    matched: bool,
    applied: bool,
}

fn mac(member: &'static str, bytes: &Hex) -> Result<Mac, FlowError> {
    bytes
        .0
        .as_slice()
        .try_into()
        .map(Mac)
        .map_err(|_| member_error(member, bytes, "12 hex digits"))
}

fn address(member: &'static str, bytes: &Hex) -> Result<IpAddr, FlowError> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes.0.as_slice()) {
        return Ok(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    let octets: [u8; 16] = bytes
        .0
        .as_slice()
        .try_into()
        .map_err(|_| member_error(member, bytes, "8 or 32 hex digits"))?;
    Ok(IpAddr::V6(Ipv6Addr::from(octets)))
}

fn member_error(member: &'static str, bytes: &Hex, expected: &'static str) -> FlowError {
    FlowError::Member {
        member: member.to_owned(),
        found: shorten(&hex::encode(&bytes.0)),
        expected,
    }
}

/// At most 40 characters, for messages.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    if short.is_empty() { "missing".to_owned() } else { short }
}

/// A decimal of a Java type of so many bits, signed or not; its two's complement.
pub(super) fn parse_number<const BITS: u32>(text: &str) -> Option<u64> {
    in_range::<BITS>(text.parse::<i128>().ok()?)
}

fn in_range<const BITS: u32>(value: i128) -> Option<u64> {
    let range = -(1_i128 << (BITS - 1))..1_i128 << BITS;
    range.contains(&value).then_some(value as u64)
}

struct Number<const BITS: u32>(u64);

impl<'de, const BITS: u32> Deserialize<'de> for Number<BITS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor<const BITS: u32>;
        impl<const BITS: u32> Visitor<'_> for NumberVisitor<BITS> {
            type Value = Number<BITS>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number of {BITS} bits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                parse_number::<BITS>(text)
                    .map(Number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(&shorten(text)), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                in_range::<BITS>(value.into())
                    .map(Number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                in_range::<BITS>(value.into())
                    .map(Number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor;
        impl Visitor<'_> for HexVisitor {
            type Value = Hex;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex, E> {
                hex::decode(text)
                    .map(Hex)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(&shorten(text)), &self))
            }
        }
        deserializer.deserialize_str(HexVisitor)
    }
}

/// A string, or a number as its text.
#[derive(Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_string())))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_string())))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::action::Action;
    use super::super::encode_json;
    use super::*;

    fn changed(from: &str, to: &str) -> Result<FlowRecord, FlowError> {
        let mut record = FlowRecord::empty("aa000000-0000-4000-8000-000000000001".parse().unwrap());
        record.actions = vec![Action::Output { port: 7 }, Action::SetTcp { src: 1, dst: 2 }];
        record.src = Some("10.0.0.1".parse().unwrap());
        let text = String::from_utf8(encode_json(&record)).unwrap();
        assert!(text.contains(from), "{text}");
        decode(text.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn errors_say_what_and_where() {
        let error = |from: &str, to: &str| changed(from, to).unwrap_err().to_string();
        let message = error("\"flowMatch.srcPort\":\"0\"", "\"flowMatch.srcPort\":\"65536\"");
        assert!(
            message.contains("line 1 column") && message.contains("65536") && message.contains("a number of 16 bits"),
            "{message}"
        );
        assert!(error("\"cookie\":\"0\",", "").contains("missing field `cookie`"));
        assert!(error("\"0A000001\"", "\"0A0001\"").contains("member flowMatch.networkSrc is 0a0001, expected 8 or 32 hex digits"));
        assert_eq!(
            error("\"dst\":\"2\"", "\"dst\":\"x\""),
            "JSON record: line 1 column 596: actions[1].dst is x, expected a number"
        );
        assert_eq!(
            error("\"portno\":\"7\"", "\"x\":\"7\""),
            "JSON record: line 1 column 556: actions[0].portno is missing, expected a number"
        );
        assert!(error("\"actions\":[", "\"actions\":").contains("JSON record: line 1 column"));
    }

    #[test]
    fn what_later_releases_may_write_is_read() {
        let record = changed("\"flowMatch.srcPort\":\"0\"", "\"flowMatch.srcPort\":443,\"flowMatch.new\":{\"a\":[1]}").unwrap();
        assert_eq!(record.src_port, 443);
        assert_eq!(changed("\"NOOP\"", "\"NEW\"").unwrap().sim_result, SimResult::Unknown(0));
        let actions = changed("{\"type\":\"output\",\"portno\":\"7\"}", "{\"type\":\"new\",\"id\":\"x\"}")
            .unwrap()
            .actions;
        assert_eq!(actions[0], Action::Unknown);
    }

    #[test]
    fn stale_ingress_ports_are_flagged() {
        let port = "\"inPort\":\"11111111-2222-3333-4444-555555555555\",\"flowMatch.inputPort\":";
        let flags = |to: &str| changed("\"flowMatch.inputPort\":\"0\"", to).unwrap().untrusted;
        assert_eq!(flags("\"flowMatch.inputPort\":\"0\""), Untrusted::empty());
        assert_eq!(flags(&format!("{port}\"0\"")), Untrusted::IN_PORT);
        assert_eq!(flags(&format!("{port}\"5\"")), Untrusted::empty());
    }
}
