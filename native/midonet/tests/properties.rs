// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What holds for all values and all bytes.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::{IpAddr, Ipv4Addr};

use midonet::flow::action::{self, Action};
use midonet::flow::frame::{self, Frame, FrameDecoder};
use midonet::flow::{self, Device, DeviceKind, Encoding, FlowRecord, Fragment, RuleHit, RuleResult, SimResult, Untrusted};
use midonet::meters::{Counters, MeterKey, parse_device_stats, write_device_stats};
use midonet::nsdb::table::{ArpEntry, Entry, Fip64Entry, Table};
use midonet::nsdb::{LearnedRoute, Root, state};
use midonet::text::{self, Message, Value};
use midonet::{Mac, config, discovery, model};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn fragment() -> impl Strategy<Value = Fragment> {
    (0..3_u8).prop_map(Fragment::from_code)
}

fn an_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        any::<u32>().prop_map(|port| Action::Output { port }),
        Just(Action::PopVlan),
        any::<(u16, u16)>().prop_map(|(tpid, tci)| Action::PushVlan { tpid, tci }),
        any::<(i32, i64)>().prop_map(|(pid, data)| Action::Userspace { pid, data }),
        (ipv4(), ipv4(), any::<u16>(), mac(), mac()).prop_map(|(sip, tip, op, sha, tha)| Action::SetArp { sip, tip, op, sha, tha }),
        (mac(), mac()).prop_map(|(src, dst)| Action::SetEthernet { src, dst }),
        any::<u16>().prop_map(|ether_type| Action::SetEtherType { ether_type }),
        any::<(u8, u8, u16)>().prop_map(|(icmp_type, code, id)| Action::SetIcmpEcho { icmp_type, code, id }),
        (any::<u8>(), any::<u8>(), vec(any::<u8>(), 1..600)).prop_map(|(icmp_type, code, data)| Action::SetIcmpError { icmp_type, code, data }),
        any::<(u8, u8)>().prop_map(|(icmp_type, code)| Action::SetIcmp { icmp_type, code }),
        (ipv4(), ipv4(), any::<[u8; 3]>(), fragment()).prop_map(|(src, dst, [proto, tos, ttl], fragment)| Action::SetIpv4 {
            src,
            dst,
            proto,
            tos,
            ttl,
            fragment
        }),
        any::<(u16, u16)>().prop_map(|(src, dst)| Action::SetTcp { src, dst }),
        (any::<u64>(), ipv4(), ipv4(), any::<u16>(), any::<[u8; 2]>()).prop_map(|(id, src, dst, flags, [tos, ttl])| Action::SetTunnel {
            id,
            src,
            dst,
            flags,
            tos,
            ttl
        }),
        any::<(u16, u16)>().prop_map(|(src, dst)| Action::SetUdp { src, dst }),
        any::<u16>().prop_map(|id| Action::SetVlan { id }),
        Just(Action::Unknown),
    ]
}

fn rule() -> impl Strategy<Value = RuleHit> {
    (uuid(), 0..RuleResult::ALL.len(), any::<bool>(), any::<bool>()).prop_map(|(id, result, matched, applied)| RuleHit {
        id,
        result: RuleResult::ALL[result],
        matched,
        applied,
    })
}

fn device() -> impl Strategy<Value = Device> {
    (uuid(), 0..DeviceKind::ALL.len()).prop_map(|(id, kind)| Device {
        id,
        kind: DeviceKind::ALL[kind],
    })
}

/// Lists are short mostly, and now and then above what a count of one byte can say.
fn list<T: std::fmt::Debug + 'static>(item: impl Strategy<Value = T> + 'static) -> impl Strategy<Value = Vec<T>> {
    let item = item.boxed();
    prop_oneof![9 => vec(item.clone(), 0..20), 1 => vec(item, 250..600)]
}

fn addresses() -> impl Strategy<Value = (u16, Option<IpAddr>, Option<IpAddr>)> {
    prop_oneof![
        (ipv4(), ipv4()).prop_map(|(src, dst)| (0x0800, Some(src.into()), Some(dst.into()))),
        (ipv4(), ipv4()).prop_map(|(src, dst)| (0x0806, Some(src.into()), Some(dst.into()))),
        any::<([u8; 16], [u8; 16])>().prop_map(|(src, dst)| (0x86dd, Some(src.into()), Some(dst.into()))),
        (0x0600..0x0800_u16).prop_map(|ether_type| (ether_type, None, None)),
    ]
}

prop_compose! {
    fn record()(
        (host, in_port, cookie, dp_port) in (uuid(), option::of(uuid()), any::<u64>(), 1..u32::MAX),
        sim_result in 0..9_usize,
        (tunnel_src, tunnel_dst) in (ipv4(), ipv4()),
        (eth_src, eth_dst) in (mac(), mac()),
        (ether_type, src, dst) in addresses(),
        [proto, tos, ttl] in any::<[u8; 3]>(),
        [src_port, dst_port, icmp_id] in any::<[u16; 3]>(),
        (icmp_data, vlan_ids, out_ports) in (list(any::<u8>()), vec(any::<u16>(), 0..3), list(uuid())),
        (rules, devices, actions) in (list(rule()), list(device()), vec(an_action(), 0..20)),
    ) -> FlowRecord {
        FlowRecord {
            encoding: Encoding::Binary,
            host, cookie, dp_port, sim_result: SimResult::ALL[sim_result],
            in_port: in_port.filter(|id| !id.is_nil()),
            tunnel_key: 0, tunnel_src, tunnel_dst,
            eth_src: Some(eth_src), eth_dst: Some(eth_dst), ether_type, src, dst,
            proto, tos, ttl, fragment: Fragment::None, src_port, dst_port, icmp_id,
            icmp_data, vlan_ids, out_ports, rules, devices, actions,
            untrusted: Untrusted::empty(),
        }
    }
}

fn message(depth: u32) -> impl Strategy<Value = Message> {
    let word = "[A-Za-z_][A-Za-z0-9_]{0,8}".prop_map(Value::Word);
    let scalar = prop_oneof![
        vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
        any::<u64>().prop_map(Value::Unsigned),
        (i64::MIN..0).prop_map(Value::Negative),
        word,
    ];
    let of = |value: BoxedStrategy<Value>| {
        vec(("[a-z][a-z0-9_]{0,8}", value), 0..6).prop_map(|fields| {
            let mut message = Message::default();
            fields.into_iter().for_each(|(name, value)| message.push(name, value));
            message
        })
    };
    let leaf = of(scalar.clone().boxed());
    leaf.prop_recursive(depth, 64, 6, move |inner| {
        of(prop_oneof![scalar.clone(), inner.prop_map(Value::Message)].boxed())
    })
}

/// Bytes that are somewhat like a golden record: parts changed, left out, doubled.
fn damaged(form: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let lines = common::text(&format!("flows/flows-{form}.jsonl"));
    let records: Vec<Vec<u8>> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["sent"] == true)
        .map(|line| match line.get("recordHex") {
            Some(hex) => hex::decode(hex.as_str().unwrap()).unwrap(),
            None => line["recordText"].as_str().unwrap().into(),
        })
        .collect();
    let damage = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (prop::sample::select(records), vec(damage, 1..6)).prop_map(|(mut bytes, damages)| {
        for (index, byte, kind) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
                _ => bytes.extend_from_within(at..(at + usize::from(byte)).min(bytes.len())),
            }
        }
        bytes
    })
}

/// A record holds no more entries than its bytes.
fn check_size(bytes: &[u8]) {
    if let Ok(record) = flow::decode(bytes) {
        let entries = record.icmp_data.len() + record.vlan_ids.len() + record.out_ports.len() + record.rules.len() + record.devices.len();
        assert!(entries + record.actions.len() <= bytes.len());
        let _ = flow::encode_json(&record);
        let _ = flow::encode_binary(&record);
    }
}

fn check_all(bytes: &[u8]) {
    check_size(bytes);
    let decoded = action::decode(bytes);
    assert!(decoded.actions.len() <= bytes.len());
    let mut frames = FrameDecoder::new(1000);
    frames.extend(bytes);
    while let Ok(Some(_)) = frames.next_frame() {}
    for class in ["Port", "BgpPeer", "Gadget", "HostState"] {
        if let Ok(object) = model::decode_object(class, bytes) {
            let _ = (model::to_json(&object), object.to_text(), object.references().count());
        }
        let _ = model::redact(class, bytes);
    }
    let _ = (
        state::HostState::parse(bytes),
        state::PortState::parse(bytes),
        state::FloodingProxy::parse(bytes),
    );
    let _ = (state::ContainerServiceStatus::parse(bytes), state::ContainerStatus::parse(bytes));
    let _ = discovery::Instance::parse(bytes);
    let _ = parse_device_stats(bytes).sums();
    let mut layers = config::Layers::new();
    if layers.push("x", bytes).is_ok() {
        let _ = layers.stats_port();
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Root::new(text);
        let _ = Root::default().parse(text);
        let _ = Root::default().parse(&format!("/midonet/zoom/0/{text}"));
        let _ = (
            text.parse::<LearnedRoute>(),
            text.parse::<ArpEntry>(),
            text.parse::<Fip64Entry>(),
            text.parse::<Mac>(),
        );
        let _ = Table::from_names(text.lines());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn binary_records_come_back(record in record()) {
        let bytes = flow::encode_binary(&record).unwrap();
        let read = flow::decode(&bytes).unwrap();
        prop_assert!(read.untrusted.contains(Untrusted::FRAGMENT));
        prop_assert!(!read.untrusted.intersects(Untrusted::ETHERNET | Untrusted::ADDRESSES | Untrusted::IN_PORT | Untrusted::ACTIONS_CUT));
        prop_assert_eq!(read.untrusted.contains(Untrusted::RULE_COUNT), record.rules.len() > 255);
        prop_assert_eq!(read.untrusted.contains(Untrusted::DEVICE_COUNT), record.devices.len() > 255);
        prop_assert_eq!(FlowRecord { untrusted: Untrusted::empty(), ..read }, record);
    }

    #[test]
    fn json_records_come_back(mut record in record(), fragment in fragment(), sim_result in 0..SimResult::ALL.len()) {
        record.encoding = Encoding::Json;
        record.fragment = fragment;
        record.sim_result = SimResult::ALL[sim_result];
        let bytes = flow::encode_json(&record);
        let read = flow::decode(&bytes).unwrap();
        prop_assert_eq!(FlowRecord { untrusted: Untrusted::empty(), ..read }, record);
    }

    #[test]
    fn actions_come_back(actions in vec(an_action(), 0..126)) {
        let decoded = action::decode(&action::encode(&actions));
        prop_assert_eq!(decoded.actions, actions);
        prop_assert!(!decoded.cut);
    }

    #[test]
    fn frames_come_back_whatever_the_reads(records in vec(vec(any::<u8>(), 0..400), 0..20), chunk in 1..500_usize) {
        let mut stream = Vec::new();
        records.iter().for_each(|record| frame::encode(record, &mut stream));
        let mut decoder = FrameDecoder::default();
        let mut found = Vec::new();
        for piece in stream.chunks(chunk) {
            decoder.extend(piece);
            while let Some(Frame::Record(record)) = decoder.next_frame().unwrap() {
                found.push(record.to_vec());
            }
        }
        prop_assert_eq!(found, records);
    }

    #[test]
    fn texts_come_back(message in message(4)) {
        let text = text::write(&message);
        prop_assert!(text.is_ascii());
        prop_assert_eq!(text::parse(text.as_bytes()).unwrap(), message);
    }

    #[test]
    fn redaction_leaves_a_text_that_can_be_read(message in message(3), secret in "[a-z]{12}") {
        let message = message.with("admin_password", secret.as_str()).with("end", 1_u64);
        let redacted = model::redact("Gadget", text::write(&message).as_bytes());
        let found = String::from_utf8(redacted.bytes.clone()).unwrap();
        prop_assert!(!found.contains(&secret));
        prop_assert_eq!(redacted.cut_at, None);
        prop_assert_eq!(text::parse(&redacted.bytes).unwrap().fields.len(), message.fields.len());
    }

    #[test]
    fn routes_and_entries_come_back(
        (dst, src, gateway, weight) in (ipv4(), ipv4(), ipv4(), any::<u32>()),
        (dst_length, src_length, port, router) in (0..33_u8, 0..33_u8, option::of(uuid()), uuid()),
        (mac, times) in (option::of(mac()), any::<[i64; 3]>()),
        version in 0..2_147_483_648_u32,
    ) {
        let route = LearnedRoute { dst, dst_length, src, src_length, gateway, weight, router, port };
        prop_assert_eq!(route.to_string().parse(), Ok(route));
        let [expiry_ms, stale_ms, last_arp_ms] = times;
        let arp = ArpEntry { mac, expiry_ms, stale_ms, last_arp_ms };
        prop_assert_eq!(arp.to_string().parse(), Ok(arp));
        let fip = Fip64Entry { fixed: dst, floating: u128::from(weight).into(), nat_pool: gateway, nat_prefix_length: dst_length, port: router, router };
        prop_assert_eq!(fip.to_string().parse(), Ok(fip));
        let value = arp.to_string();
        let key = dst.to_string();
        let entry = Entry { key: &key, value: &value, version };
        let name = entry.to_string();
        prop_assert_eq!(Entry::parse(&name), Some(entry));
    }

    #[test]
    fn meters_come_back(
        meters in vec((prop_oneof![
            uuid().prop_map(MeterKey::Device),
            uuid().prop_map(MeterKey::PortRx),
            uuid().prop_map(MeterKey::PortTx),
            (ipv4(), ipv4()).prop_map(|(src, dst)| MeterKey::Tunnel { src, dst }),
            "[ -~]{0,40}".prop_map(MeterKey::User),
        ], any::<(i64, i64)>().prop_map(|(packets, bytes)| Counters { packets, bytes })), 0..40),
    ) {
        let body = write_device_stats(meters.iter().map(|(key, counters)| (key, *counters)));
        let stats = parse_device_stats(body.as_bytes());
        prop_assert_eq!(stats.invalid, 0);
        prop_assert_eq!(stats.meters, meters);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..2000)) {
        check_all(&bytes);
    }

    #[test]
    fn arbitrary_text_does_no_harm(text in "[ -~\n\u{e9}]{0,300}") {
        check_all(text.as_bytes());
    }

    #[test]
    fn damaged_binary_records_do_no_harm(bytes in damaged("binary")) {
        check_all(&bytes);
    }

    #[test]
    fn damaged_json_records_do_no_harm(bytes in damaged("json")) {
        check_size(&bytes);
    }
}
