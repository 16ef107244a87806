// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The records that MidoNet's own recorder sent, against what the agent knew when it wrote them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use midonet::flow::action::Action;
use midonet::flow::frame::{self, Frame, FrameDecoder};
use midonet::flow::{self, BinaryEncoder, Device, DeviceKind, FlowRecord, Fragment, RuleHit, RuleResult, SimResult, Untrusted};
use serde_json::{Value, json};

/// One flow of a golden file that was sent.
struct Golden {
    index: usize,
    record: Vec<u8>,
    truth: Value,
}

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/golden/flows")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn golden(form: &str) -> Vec<Golden> {
    let text = String::from_utf8(file(&format!("flows-{form}.jsonl"))).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 79);
    let sent = lines.into_iter().filter(|line| line["sent"] == true);
    let golden: Vec<_> = sent
        .map(|mut line| Golden {
            index: line["index"].as_u64().unwrap() as usize,
            record: match line.get("recordHex") {
                Some(hex) => hex::decode(hex.as_str().unwrap()).unwrap(),
                None => line["recordText"].as_str().unwrap().as_bytes().to_vec(),
            },
            truth: line["truth"].take(),
        })
        .collect();
    assert_eq!(golden.len(), 78);
    golden
}

/// A record under the names of the truth, so that the two can be compared member by member.
fn as_truth(record: &FlowRecord) -> BTreeMap<String, Value> {
    let value = json!({
        "hostId": record.host.to_string(),
        "inPort": record.in_port.map(|id| id.to_string()),
        "cookie": (record.cookie as i64).to_string(),
        "simResult": record.sim_result.name(),
        "inputPortNo": record.dp_port,
        "tunnelKey": record.tunnel_key.to_string(),
        "tunnelSrc": record.tunnel_src.to_string(),
        "tunnelDst": record.tunnel_dst.to_string(),
        "ethSrc": record.eth_src.map(|mac| mac.to_string()),
        "ethDst": record.eth_dst.map(|mac| mac.to_string()),
        "etherType": record.ether_type,
        "networkSrc": record.src.map(java_address),
        "networkDst": record.dst.map(java_address),
        "networkProto": record.proto,
        "networkTTL": record.ttl,
        "networkTOS": record.tos,
        "ipFragType": record.fragment.code(),
        "srcPort": record.src_port,
        "dstPort": record.dst_port,
        "icmpId": record.icmp_id,
        "icmpData": if record.icmp_data.is_empty() { None } else { Some(hex::encode(&record.icmp_data)) },
        "vlanIds": record.vlan_ids,
        "outPorts": record.out_ports.iter().map(|id| id.to_string()).collect::<Vec<_>>(),
        "rules": record.rules.iter().map(|rule| json!({
            "id": rule.id.to_string(), "result": rule.result.name(), "matched": rule.matched, "applied": rule.applied,
        })).collect::<Vec<_>>(),
        "devices": record.devices.iter().map(|device| json!({"id": device.id.to_string(), "type": device.kind.name()})).collect::<Vec<_>>(),
        "actions": record.actions.iter().map(action_as_truth).collect::<Vec<_>>(),
    });
    serde_json::from_value(value).unwrap()
}

fn java_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

fn action_as_truth(action: &Action) -> Value {
    match action {
        Action::Output { port } => json!({"type": "output", "portNo": *port as i32}),
        Action::PopVlan => json!({"type": "pop_vlan"}),
        Action::PushVlan { tpid, tci } => json!({"type": "push_vlan", "tpid": tpid, "tci": tci}),
        Action::Userspace { pid, data } => json!({"type": "userspace", "uplinkPid": pid, "userData": data.to_string()}),
        Action::SetArp { sip, tip, op, sha, tha } => {
            json!({"type": "arp", "sip": sip.to_string(), "tip": tip.to_string(), "op": op, "sha": sha.to_string(), "tha": tha.to_string()})
        }
        Action::SetEthernet { src, dst } => json!({"type": "ethernet", "src": src.to_string(), "dst": dst.to_string()}),
        Action::SetEtherType { ether_type } => json!({"type": "ethertype", "etherType": ether_type}),
        Action::SetIcmpEcho { icmp_type, code, id } => json!({"type": "icmp_echo", "icmpType": icmp_type, "icmpCode": code, "id": id}),
        Action::SetIcmpError { icmp_type, code, data } => {
            json!({"type": "icmp_error", "icmpType": icmp_type, "icmpCode": code, "data": hex::encode(data)})
        }
        Action::SetIcmp { icmp_type, code } => json!({"type": "icmp", "icmpType": icmp_type, "icmpCode": code}),
        Action::SetIpv4 {
            src,
            dst,
            proto,
            tos,
            ttl,
            fragment,
        } => json!({
            "type": "ipv4", "src": src.to_string(), "dst": dst.to_string(), "proto": proto, "tos": tos, "ttl": ttl, "frag": fragment.code(),
        }),
        Action::SetTcp { src, dst } => json!({"type": "tcp", "src": src, "dst": dst}),
        Action::SetTunnel {
            id,
            src,
            dst,
            flags,
            tos,
            ttl,
        } => json!({
            "type": "tunnel", "id": (*id as i64).to_string(), "src": src.to_string(), "dst": dst.to_string(), "flags": flags, "tos": tos, "ttl": ttl,
        }),
        Action::SetUdp { src, dst } => json!({"type": "udp", "src": src, "dst": dst}),
        Action::SetVlan { id } => json!({"type": "vlan", "id": id}),
        Action::Unknown => json!({"type": "unknown"}),
    }
}

/// What the agent knew, as a record to be encoded. Written apart from the decoders, so that both can't err in the same way.
fn from_truth(truth: &Value) -> FlowRecord {
    let text = |name: &str| truth[name].as_str();
    let number = |name: &str| truth[name].as_i64().unwrap();
    let wide = |name: &str| text(name).unwrap().parse::<i64>().unwrap() as u64;
    let each = |name: &str| truth[name].as_array().unwrap().iter();
    FlowRecord {
        cookie: wide("cookie"),
        sim_result: SimResult::from_name(text("simResult").unwrap()),
        in_port: text("inPort").map(|id| id.parse().unwrap()),
        dp_port: number("inputPortNo") as u32,
        tunnel_key: wide("tunnelKey"),
        tunnel_src: text("tunnelSrc").unwrap().parse().unwrap(),
        tunnel_dst: text("tunnelDst").unwrap().parse().unwrap(),
        eth_src: text("ethSrc").map(|mac| mac.parse().unwrap()),
        eth_dst: text("ethDst").map(|mac| mac.parse().unwrap()),
        ether_type: number("etherType") as u16,
        src: text("networkSrc").map(|address| address.parse().unwrap()),
        dst: text("networkDst").map(|address| address.parse().unwrap()),
        proto: number("networkProto") as u8,
        tos: number("networkTOS") as u8,
        ttl: number("networkTTL") as u8,
        fragment: Fragment::from_code(number("ipFragType") as u8),
        src_port: number("srcPort") as u16,
        dst_port: number("dstPort") as u16,
        icmp_id: number("icmpId") as u16,
        icmp_data: text("icmpData").map(|data| hex::decode(data).unwrap()).unwrap_or_default(),
        vlan_ids: each("vlanIds").map(|id| id.as_u64().unwrap() as u16).collect(),
        out_ports: each("outPorts").map(|id| id.as_str().unwrap().parse().unwrap()).collect(),
        rules: each("rules")
            .map(|rule| RuleHit {
                id: rule["id"].as_str().unwrap().parse().unwrap(),
                result: RuleResult::from_name(rule["result"].as_str().unwrap()),
                matched: rule["matched"].as_bool().unwrap(),
                applied: rule["applied"].as_bool().unwrap(),
            })
            .collect(),
        devices: each("devices")
            .map(|device| Device {
                id: device["id"].as_str().unwrap().parse().unwrap(),
                kind: DeviceKind::from_name(device["type"].as_str().unwrap()),
            })
            .collect(),
        actions: each("actions").map(action_from_truth).collect(),
        ..FlowRecord::empty(text("hostId").unwrap().parse().unwrap())
    }
}

fn action_from_truth(action: &Value) -> Action {
    let text = |name: &str| action[name].as_str().unwrap();
    let number = |name: &str| action[name].as_i64().unwrap();
    match text("type") {
        "output" => Action::Output {
            port: number("portNo") as u32,
        },
        "pop_vlan" => Action::PopVlan,
        "push_vlan" => Action::PushVlan {
            tpid: number("tpid") as u16,
            tci: number("tci") as u16,
        },
        "userspace" => Action::Userspace {
            pid: number("uplinkPid") as i32,
            data: text("userData").parse().unwrap(),
        },
        "arp" => Action::SetArp {
            sip: text("sip").parse().unwrap(),
            tip: text("tip").parse().unwrap(),
            op: number("op") as u16,
            sha: text("sha").parse().unwrap(),
            tha: text("tha").parse().unwrap(),
        },
        "ethernet" => Action::SetEthernet {
            src: text("src").parse().unwrap(),
            dst: text("dst").parse().unwrap(),
        },
        "ethertype" => Action::SetEtherType {
            ether_type: number("etherType") as u16,
        },
        "icmp_echo" => Action::SetIcmpEcho {
            icmp_type: number("icmpType") as u8,
            code: number("icmpCode") as u8,
            id: number("id") as u16,
        },
        "icmp_error" => Action::SetIcmpError {
            icmp_type: number("icmpType") as u8,
            code: number("icmpCode") as u8,
            data: hex::decode(text("data")).unwrap(),
        },
        "icmp" => Action::SetIcmp {
            icmp_type: number("icmpType") as u8,
            code: number("icmpCode") as u8,
        },
        "ipv4" => Action::SetIpv4 {
            src: text("src").parse().unwrap(),
            dst: text("dst").parse().unwrap(),
            proto: number("proto") as u8,
            tos: number("tos") as u8,
            ttl: number("ttl") as u8,
            fragment: Fragment::from_code(number("frag") as u8),
        },
        "tcp" => Action::SetTcp {
            src: number("src") as u16,
            dst: number("dst") as u16,
        },
        "tunnel" => Action::SetTunnel {
            id: text("id").parse::<i64>().unwrap() as u64,
            src: text("src").parse().unwrap(),
            dst: text("dst").parse().unwrap(),
            flags: number("flags") as u16,
            tos: number("tos") as u8,
            ttl: number("ttl") as u8,
        },
        "udp" => Action::SetUdp {
            src: number("src") as u16,
            dst: number("dst") as u16,
        },
        "vlan" => Action::SetVlan { id: number("id") as u16 },
        "unknown" => Action::Unknown,
        other => panic!("truth has an action of type {other}"),
    }
}

/// The flag that a field falls under.
fn flag_of(field: &str) -> Untrusted {
    match field {
        "ethSrc" | "ethDst" => Untrusted::ETHERNET,
        "networkSrc" | "networkDst" => Untrusted::ADDRESSES,
        "inPort" => Untrusted::IN_PORT,
        "ipFragType" => Untrusted::FRAGMENT,
        _ => Untrusted::empty(),
    }
}

/// Fields of a record that differ from the truth; each must be flagged.
fn differences(golden: &Golden, record: &FlowRecord) -> Vec<String> {
    let truth: BTreeMap<String, Value> = serde_json::from_value(golden.truth.clone()).unwrap();
    let read = as_truth(record);
    assert_eq!(
        read.keys().collect::<Vec<_>>(),
        truth.keys().collect::<Vec<_>>(),
        "record {}",
        golden.index
    );
    let differing: Vec<String> = read
        .iter()
        .filter(|(field, value)| truth[*field] != **value)
        .map(|(field, _)| field.clone())
        .collect();
    for field in &differing {
        let flag = flag_of(field);
        let (read, truth) = (&read[field], &truth[field]);
        assert!(
            !flag.is_empty() && record.untrusted.contains(flag),
            "record {}: {field} is read as {read}, is {truth}",
            golden.index
        );
    }
    differing
}

#[test]
fn binary_records_are_their_truth_or_flagged() {
    use Untrusted as U;
    // Flags beside FRAGMENT, which all binary records have, by index; all other records have none.
    let expected_flags = BTreeMap::from([
        (9, U::IN_PORT),
        (20, U::IN_PORT),
        (30, U::ADDRESSES),
        (33, U::ETHERNET | U::ADDRESSES | U::IN_PORT),
        (34, U::ETHERNET | U::ADDRESSES | U::IN_PORT),
        (36, U::ADDRESSES),
        (38, U::ETHERNET | U::ADDRESSES | U::IN_PORT),
        (39, U::ACTIONS_LENGTH),
        (44, U::ICMP_DATA_COUNT),
    ]);
    // Where the bytes on the wire are not the truth. The flags reach further: the bytes alone don't tell that others of their fields are true.
    let expected_differences = BTreeMap::from([
        (9, vec!["inPort"]),
        (28, vec!["ipFragType"]),
        (29, vec!["ipFragType"]),
        (33, vec!["ethDst", "ethSrc", "inPort", "networkDst", "networkSrc"]),
        (34, vec!["ethDst", "networkDst"]),
        (36, vec!["networkDst", "networkSrc"]),
        (38, vec!["ethDst", "ethSrc", "inPort", "networkDst", "networkSrc"]),
    ]);
    let mut flags = BTreeMap::new();
    let mut found = BTreeMap::new();
    for golden in golden("binary") {
        let record = flow::decode(&golden.record).unwrap_or_else(|error| panic!("record {}: {error}", golden.index));
        assert_eq!(record.encoding, flow::Encoding::Binary);
        assert!(record.untrusted.contains(U::FRAGMENT));
        let other = record.untrusted - U::FRAGMENT;
        if !other.is_empty() {
            flags.insert(golden.index, other);
        }
        let differing = differences(&golden, &record);
        if !differing.is_empty() {
            found.insert(golden.index, differing);
        }
    }
    assert_eq!(flags, expected_flags);
    assert_eq!(serde_json::to_value(found).unwrap(), serde_json::to_value(expected_differences).unwrap());
}

#[test]
fn json_records_are_their_truth() {
    let mut flags = BTreeMap::new();
    for golden in golden("json") {
        let record = flow::decode(&golden.record).unwrap_or_else(|error| panic!("record {}: {error}", golden.index));
        assert_eq!(record.encoding, flow::Encoding::Json);
        if !record.untrusted.is_empty() {
            flags.insert(golden.index, record.untrusted);
        }
        assert_eq!(differences(&golden, &record), Vec::<String>::new(), "record {}", golden.index);
    }
    // It came out of a tunnel and no device names its port: such ports can be stale in both forms.
    assert_eq!(flags, BTreeMap::from([(20, Untrusted::IN_PORT)]));
}

#[test]
fn both_forms_say_the_same() {
    for (binary, json) in golden("binary").iter().zip(&golden("json")) {
        assert_eq!(binary.index, json.index);
        let (mut binary, mut json) = (flow::decode(&binary.record).unwrap(), flow::decode(&json.record).unwrap());
        for record in [&mut binary, &mut json] {
            record.eth_src = record.eth_src.filter(|_| record.ether_type >= 0x600);
            record.eth_dst = record.eth_dst.filter(|_| record.ether_type >= 0x600);
            if !matches!(record.ether_type, 0x0800 | 0x0806 | 0x86dd) {
                (record.src, record.dst) = (None, None);
            }
            if record.ether_type < 0x600 || record.dp_port == 0 {
                record.in_port = None;
            }
            record.fragment = Fragment::None;
            record.untrusted = Untrusted::empty();
            record.encoding = flow::Encoding::Binary;
        }
        assert_eq!(binary, json);
    }
}

/// The encoder keeps what a record leaves unset, as the agent's buffer does: so even the stale bytes come out the same.
#[test]
fn encoding_the_truth_gives_the_bytes_that_the_agent_sent() {
    let mut encoder = BinaryEncoder::new();
    for golden in golden("binary") {
        let mut bytes = Vec::new();
        encoder.encode(&from_truth(&golden.truth), &mut bytes).unwrap();
        assert_eq!(hex::encode(bytes), hex::encode(&golden.record), "record {}", golden.index);
    }
    for golden in golden("json") {
        let bytes = flow::encode_json(&from_truth(&golden.truth));
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            String::from_utf8(golden.record).unwrap(),
            "record {}",
            golden.index
        );
    }
}

#[test]
fn the_streams_are_their_records() {
    for form in ["binary", "json"] {
        let wire = file(&format!("flows-{form}.wire"));
        let records: Vec<Vec<u8>> = golden(form).into_iter().map(|golden| golden.record).collect();
        for chunk in [1, 7, 1460, wire.len()] {
            let mut decoder = FrameDecoder::default();
            let mut found = Vec::new();
            for piece in wire.chunks(chunk) {
                decoder.extend(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    match frame {
                        Frame::Record(record) => found.push(record.to_vec()),
                        Frame::Skipped { size } => panic!("skipped {size} bytes"),
                    }
                }
            }
            assert!(decoder.is_at_boundary());
            assert_eq!(decoder.consumed(), wire.len() as u64);
            assert_eq!(found, records);
        }
        let mut framed = Vec::new();
        records.iter().for_each(|record| frame::encode(record, &mut framed));
        assert_eq!(framed, wire);
    }
}

#[test]
fn the_example_of_the_codec_is_read() {
    let bytes = hex::decode(String::from_utf8(file("flow-record-example.hex")).unwrap().trim()).unwrap();
    let record = flow::decode(&bytes).unwrap();
    assert_eq!(record.cookie, 42);
    assert_eq!(record.dp_port, 7);
    assert_eq!(record.src, Some("10.0.0.5".parse().unwrap()));
    assert_eq!(record.dst, Some("192.168.1.7".parse().unwrap()));
    assert_eq!((record.src_port, record.dst_port), (49152, 443));
    assert_eq!(record.in_port, Some("11111111-2222-3333-4444-555555555555".parse().unwrap()));
    assert!(record.in_port_confirmed());
    assert_eq!(record.vlan_ids, [100]);
    assert_eq!(record.actions.len(), 2);
    assert_eq!(record.untrusted, Untrusted::FRAGMENT);
}
