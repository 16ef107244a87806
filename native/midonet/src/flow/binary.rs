// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The binary form of a record: SBE, little-endian, schema 1, template 1, version 0 in all releases.
//!
//! Header (8 bytes), root block (119 bytes), five groups of {block length u16, count u8, entries}, a length byte, the actions.
//!
//! Counts and the length are written modulo 256 up to 5.4.6 while all entries follow, so a reading is accepted only if it ends where the record
//! ends; other counts are tried when the plain ones don't.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use super::layout::Layout;
use super::{Encoding, FlowError, FlowRecord, Fragment, MAX_RECORD_BYTES, SimResult, Untrusted};
use crate::Mac;

pub(super) const HEADER_BYTES: usize = 8;
pub(super) const ROOT_BYTES: usize = 119;
pub(super) const IPV4: u8 = 1;
pub(super) const IPV6: u8 = 2;

/// Whether bytes carry the ids of this schema.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    bytes.get(2..6) == Some(&[1, 0, 1, 0])
}

/// Reads a binary record.
pub fn decode(bytes: &[u8]) -> Result<FlowRecord, FlowError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(FlowError::TooLong { size: bytes.len() });
    }
    let root_length = header(bytes)?;
    let groups_at = HEADER_BYTES + root_length;
    let root = bytes
        .get(HEADER_BYTES..groups_at)
        .and_then(|block| block.first_chunk::<ROOT_BYTES>())
        .ok_or(FlowError::Short {
            what: "root block",
            at: HEADER_BYTES,
            needed: root_length,
            left: bytes.len().saturating_sub(HEADER_BYTES),
        })?;
    let mut record = read_root(root);
    let layout = Layout::find(bytes, groups_at)?;
    layout.read(bytes, &mut record);
    judge(&mut record, root);
    Ok(record)
}

/// The length of the root block.
fn header(bytes: &[u8]) -> Result<usize, FlowError> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(FlowError::Short {
        what: "message header",
        at: 0,
        needed: HEADER_BYTES,
        left: bytes.len(),
    })?;
    let expect = |what, at: usize, expected: u64| match u64::from(u16_at(header, at)) {
        found if found == expected => Ok(()),
        found => Err(FlowError::Header { what, at, found, expected }),
    };
    expect("template id", 2, 1)?;
    expect("schema id", 4, 1)?;
    // A later version may append to the root block.
    let length = usize::from(u16_at(header, 0));
    if length < ROOT_BYTES {
        return Err(FlowError::Header {
            what: "root block length",
            at: 0,
            found: length as u64,
            expected: ROOT_BYTES as u64,
        });
    }
    Ok(length)
}

fn read_root(root: &[u8; ROOT_BYTES]) -> FlowRecord {
    FlowRecord {
        encoding: Encoding::Binary,
        host: uuid_at(root, 103),
        cookie: u64_at(root, 1),
        sim_result: SimResult::from_code(root[0]),
        in_port: Some(uuid_at(root, 87)).filter(|id| !id.is_nil()),
        dp_port: u32_at(root, 9),
        tunnel_key: u64_at(root, 13),
        tunnel_src: Ipv4Addr::from(u32_at(root, 21)),
        tunnel_dst: Ipv4Addr::from(u32_at(root, 25)),
        eth_src: Some(mac_at(root, 29)),
        eth_dst: Some(mac_at(root, 35)),
        ether_type: u16_at(root, 41),
        src: address_at(root, 43),
        dst: address_at(root, 60),
        proto: root[77],
        tos: root[78],
        ttl: root[79],
        fragment: match root[80] {
            0 | 1 => Fragment::None,
            2 => Fragment::First,
            3 => Fragment::Later,
            code => Fragment::Unknown(code),
        },
        src_port: u16_at(root, 81),
        dst_port: u16_at(root, 83),
        icmp_id: u16_at(root, 85),
        icmp_data: Vec::new(),
        vlan_ids: Vec::new(),
        out_ports: Vec::new(),
        rules: Vec::new(),
        devices: Vec::new(),
        actions: Vec::new(),
        untrusted: Untrusted::empty(),
    }
}

/// Which fields may hold bytes of an earlier record.
fn judge(record: &mut FlowRecord, root: &[u8; ROOT_BYTES]) {
    let no_match = record.ether_type < 0x0600;
    if no_match {
        record.untrusted |= Untrusted::ETHERNET;
    }
    let expected = match record.ether_type {
        0x0800 | 0x0806 => Some(IPV4),
        0x86dd => Some(IPV6),
        _ => None,
    };
    // Type 0 is the truth where it stands: 5.4.2 and later write it for a missing address, earlier ones have it before the first address only.
    let doubtful = |at: usize| root[at] != 0 && (Some(root[at]) != expected || !plausible(root, at));
    if doubtful(43) || doubtful(60) {
        record.untrusted |= Untrusted::ADDRESSES;
    }
    if root[80] == 0 {
        record.untrusted |= Untrusted::FRAGMENT;
    }
    if record.in_port.is_some() && (no_match || in_port_is_doubtful(record)) {
        record.untrusted |= Untrusted::IN_PORT;
    }
}

/// Contexts of earlier packets are reused without clearing the ingress port; this shows where the packet had none of its own. All releases, both forms.
pub(super) fn in_port_is_doubtful(record: &FlowRecord) -> bool {
    record.sim_result == SimResult::GeneratedPacket || record.dp_port == 0 || (record.tunnel_key != 0 && !record.in_port_confirmed())
}

/// The address whose type stands at `at`. The second word of an IPv4 address is that of an earlier record.
fn address_at(root: &[u8; ROOT_BYTES], at: usize) -> Option<IpAddr> {
    match root[at] {
        IPV4 => Some(IpAddr::V4(Ipv4Addr::from(u32_at(root, at + 1)))),
        IPV6 => Some(IpAddr::V6(Ipv6Addr::from(uuid_at(root, at + 1).into_bytes()))),
        _ => None,
    }
}

/// Whether an IPv4 address is sign-extended to its word, as agents write it.
fn plausible(root: &[u8; ROOT_BYTES], at: usize) -> bool {
    let word = u64_at(root, at + 1) as i64;
    root[at] != IPV4 || word == i64::from(word as i32)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn mac_at(bytes: &[u8], at: usize) -> Mac {
    Mac(array_at(bytes, at))
}

/// Two words, each little-endian, the more significant one first.
pub(super) fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_u64_pair(u64_at(bytes, at), u64_at(bytes, at + 8))
}

/// Callers pass offsets inside blocks of fixed size.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::action::{Action, MAX_AGENT_ACTIONS};
    use super::super::layout::GROUP_HEADER_BYTES;
    use super::super::{BinaryEncoder, Device, DeviceKind, RuleHit, RuleResult, encode_binary};
    use super::*;

    fn id(number: usize) -> Uuid {
        Uuid::from_u64_pair(0x1111_2222_3333_4444 ^ number as u64, 0x8555_6666_7777_8888 + number as u64)
    }

    fn sized(icmp_data: usize, vlan_ids: usize, out_ports: usize, rules: usize, devices: usize, outputs: usize) -> FlowRecord {
        let results = &RuleResult::ALL;
        FlowRecord {
            ether_type: 0x0800,
            sim_result: SimResult::FlowCreated,
            dp_port: 3,
            eth_src: Some(Mac([2, 0, 0, 0, 0, 1])),
            eth_dst: Some(Mac([2, 0, 0, 0, 0, 2])),
            src: Some("10.0.0.1".parse().unwrap()),
            dst: Some("192.168.0.1".parse().unwrap()),
            icmp_data: (0..icmp_data).map(|i| (i * 7) as u8).collect(),
            vlan_ids: (0..vlan_ids).map(|i| i as u16).collect(),
            out_ports: (0..out_ports).map(id).collect(),
            rules: (0..rules)
                .map(|i| RuleHit {
                    id: id(i),
                    result: results[i % 7],
                    matched: i % 3 == 0,
                    applied: i % 6 == 0,
                })
                .collect(),
            devices: (0..devices)
                .map(|i| Device {
                    id: id(i),
                    kind: DeviceKind::ALL[i % 8],
                })
                .collect(),
            actions: (0..outputs).map(|port| Action::Output { port: port as u32 }).collect(),
            ..FlowRecord::empty(id(0))
        }
    }

    #[test]
    fn wrapped_counts_are_recovered() {
        use Untrusted as U;
        let none = U::empty();
        let cases = [
            (sized(0, 0, 1, 255, 255, 1), none),
            (sized(300, 1, 1, 5, 5, 1), U::ICMP_DATA_COUNT),
            (sized(1500, 0, 0, 0, 0, 0), U::ICMP_DATA_COUNT),
            (sized(0, 256, 1, 5, 5, 1), U::VLAN_COUNT),
            (sized(0, 0, 700, 5, 5, 1), U::OUT_PORT_COUNT),
            (sized(0, 0, 1, 256, 5, 1), U::RULE_COUNT),
            (sized(0, 0, 1, 512, 5, 0), U::RULE_COUNT),
            (sized(0, 0, 1, 1000, 5, 1), U::RULE_COUNT),
            (sized(0, 0, 1, 5, 256, 1), U::DEVICE_COUNT),
            (sized(0, 0, 1, 300, 300, 1), U::RULE_COUNT | U::DEVICE_COUNT),
            (sized(0, 0, 1, 5, 5, 60), U::ACTIONS_LENGTH),
            (
                sized(300, 300, 300, 3000, 300, 100),
                U::ICMP_DATA_COUNT | U::VLAN_COUNT | U::OUT_PORT_COUNT | U::RULE_COUNT | U::DEVICE_COUNT | U::ACTIONS_LENGTH,
            ),
        ];
        for (record, flags) in cases {
            let read = decode(&encode_binary(&record).unwrap()).unwrap();
            assert_eq!(read.untrusted, flags | U::FRAGMENT);
            assert_eq!(
                FlowRecord {
                    untrusted: U::empty(),
                    ..read
                },
                record
            );
        }
    }

    #[test]
    fn a_list_of_actions_ends_after_127() {
        let record = sized(0, 0, 1, 1, 1, 200);
        let read = decode(&encode_binary(&record).unwrap()).unwrap();
        assert_eq!(read.actions, record.actions[..MAX_AGENT_ACTIONS]);
        assert_eq!(read.untrusted, Untrusted::FRAGMENT | Untrusted::ACTIONS_LENGTH | Untrusted::ACTIONS_CUT);
    }

    #[test]
    fn a_record_above_the_agents_buffer_is_not_written() {
        let mut out = vec![1];
        let error = BinaryEncoder::new().encode(&sized(0, 0, 0, 11_000, 0, 0), &mut out).unwrap_err();
        assert!(matches!(error, FlowError::TooLong { size } if size > MAX_RECORD_BYTES));
        assert_eq!(out, [1]);
    }

    #[test]
    fn codes_of_later_releases_are_kept() {
        let mut record = sized(0, 0, 1, 1, 1, 1);
        record.sim_result = SimResult::Unknown(77);
        record.rules[0].result = RuleResult::Unknown(99);
        record.devices[0].kind = DeviceKind::Unknown(42);
        let read = decode(&encode_binary(&record).unwrap()).unwrap();
        assert_eq!(
            FlowRecord {
                untrusted: Untrusted::empty(),
                ..read
            },
            record
        );
    }

    #[test]
    fn longer_blocks_of_a_later_version_are_passed_over() {
        let record = sized(0, 1, 0, 0, 0, 1);
        let mut bytes = encode_binary(&record).unwrap();
        // Two bytes more in the root block, one more in each VLAN entry.
        bytes[0] += 2;
        bytes.splice(HEADER_BYTES + ROOT_BYTES..HEADER_BYTES + ROOT_BYTES, [9, 9]);
        let vlan = HEADER_BYTES + ROOT_BYTES + 2 + GROUP_HEADER_BYTES;
        bytes[vlan] = 3;
        bytes.insert(vlan + GROUP_HEADER_BYTES + 2, 9);
        assert_eq!(
            FlowRecord {
                untrusted: Untrusted::empty(),
                ..decode(&bytes).unwrap()
            },
            record
        );
    }

    #[test]
    fn addresses_are_trusted_where_type_and_ether_type_agree() {
        let flags = |ether_type, src: &str, dst: &str| {
            let mut record = sized(0, 0, 0, 0, 0, 0);
            (record.ether_type, record.src, record.dst) = (ether_type, src.parse().ok(), dst.parse().ok());
            decode(&encode_binary(&record).unwrap()).unwrap().untrusted - Untrusted::FRAGMENT
        };
        assert_eq!(flags(0x0800, "10.0.0.1", "10.0.0.2"), Untrusted::empty());
        assert_eq!(flags(0x0806, "10.0.0.1", "10.0.0.2"), Untrusted::empty());
        assert_eq!(flags(0x86dd, "fe80::1", "fe80::2"), Untrusted::empty());
        assert_eq!(flags(0x0800, "fe80::1", "fe80::2"), Untrusted::ADDRESSES);
        assert_eq!(flags(0x86dd, "fe80::1", "10.0.0.2"), Untrusted::ADDRESSES);
        assert_eq!(flags(0x88cc, "10.0.0.1", "10.0.0.2"), Untrusted::ADDRESSES);
        assert_eq!(flags(0x88cc, "", ""), Untrusted::empty(), "5.4.2 and later say that there is none");
        assert_eq!(flags(0x05ff, "10.0.0.1", "10.0.0.2"), Untrusted::ADDRESSES | Untrusted::ETHERNET);
    }

    #[test]
    fn errors_say_what_and_where() {
        let good = encode_binary(&sized(0, 0, 1, 2, 2, 1)).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode(&bytes).unwrap_err().to_string()
        };
        assert_eq!(changed(2, 9), "binary record: template id at byte 2 is 9, expected 1");
        assert_eq!(changed(4, 9), "binary record: schema id at byte 4 is 9, expected 1");
        assert_eq!(changed(0, 9), "binary record: root block length at byte 0 is 9, expected 119");
        assert_eq!(
            changed(good.len() - 7, 9),
            format!(
                "binary record: no reading of the group counts from byte 127 on ends at the record's end of {} bytes",
                good.len()
            )
        );
        assert_eq!(
            decode(&good[..5]).unwrap_err().to_string(),
            "binary record: message header at byte 0 needs 8 bytes, 5 are left"
        );
        assert_eq!(
            decode(&good[..60]).unwrap_err().to_string(),
            "binary record: root block at byte 8 needs 119 bytes, 52 are left"
        );
        assert_eq!(
            decode(&good[..128]).unwrap_err().to_string(),
            "binary record: flowMatchIcmpData at byte 127 needs 3 bytes, 1 are left"
        );
    }
}
