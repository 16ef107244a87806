// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Batches of every kind come back as they were, and no bytes of any kind harm the reader.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::batch::{self, Payload};
use crate::event::{Event, Level, LossCause, Lost};
use crate::flow::{Device, Extras, FlowFact, Id, Path, Rule, Tunnel};
use crate::meters::{HostReading, Meter, MeterDelta};
use crate::stream::{StreamReader, StreamWriter};
use crate::topology::{Change, Node};
use crate::{Kind, WireError};

fn id() -> impl Strategy<Value = Id> {
    // Few distinct ids, so that dictionaries are used.
    prop_oneof![3 => (0u8..6).prop_map(|n| [n; 16]), 1 => any::<Id>()]
}

/// Few distinct ones, so that pairs come again and in both directions.
fn address() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![4 => (0u8..3).prop_map(|n| Some(IpAddr::from([10, 0, 0, n]))), 1 => any::<Option<IpAddr>>()]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![4 => prop_oneof![Just(80), Just(443), 40_000u16..40_003], 1 => any::<u16>()]
}

prop_compose! {
    fn path()(devices in vec((id(), any::<u8>()), 0..5), rules in vec((id(), 0u8..64, any::<bool>(), any::<bool>()), 0..5)) -> Path {
        Path {
            devices: devices.into_iter().map(|(id, kind)| Device { id, kind }).collect(),
            rules: rules.into_iter().map(|(id, result, matched, applied)| Rule { id, result, matched, applied }).collect(),
        }
    }
}

prop_compose! {
    fn flow()(
        (received_us, host, cookie, sim_result, in_port, dp_in_port) in (any::<i64>(), id(), any::<u64>(), any::<u8>(), proptest::option::of(id()), any::<u32>()),
        (key, source, destination, eth_src, eth_dst, ether_type) in (any::<u64>(), any::<u32>(), any::<u32>(), any::<[u8; 6]>(), any::<[u8; 6]>(), any::<u16>()),
        (net_src, net_dst, proto, tos, ttl, fragment) in (address(), address(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()),
        (tp_src, tp_dst, icmp_id, vlans, icmp_data) in (port(), port(), any::<u16>(), vec(any::<u16>(), 0..3), vec(any::<u8>(), 0..20)),
        (path, out_ports, actions, untrusted) in (path(), vec(id(), 0..3), vec(any::<u8>(), 0..40), any::<u16>()),
    ) -> FlowFact {
        FlowFact {
            received_us, host, cookie, sim_result, in_port, dp_in_port, tunnel: Tunnel { key, source, destination }, eth_src, eth_dst, ether_type,
            net_src, net_dst, proto, tos, ttl, fragment, tp_src, tp_dst, icmp_id, extras: Arc::new(Extras { vlans, icmp_data }), path: Arc::new(path),
            out_ports: out_ports.into(), actions: actions.into(), untrusted,
        }
    }
}

fn roundtrip(payload: Payload) {
    let bytes = batch::encode(&payload).unwrap();
    let (header, decoded) = batch::decode(&bytes).unwrap();
    assert_eq!(header.kind, payload.kind());
    assert_eq!(header.records as usize, payload.len());
    assert_eq!(decoded, payload);
    let sealed = batch::seal(7, 9, &bytes);
    let envelope = batch::open(&sealed).unwrap();
    assert_eq!((envelope.epoch, envelope.sequence, envelope.batch), (7, 9, &bytes[..]));
}

proptest! {
    #[test]
    fn flows_come_back_as_they_were(flows in vec(flow(), 0..80)) {
        roundtrip(Payload::Flows(flows));
    }

    #[test]
    fn any_bytes_are_an_error_or_records(bytes in vec(any::<u8>(), 0..300)) {
        let _ = crate::flow::decode_columns(&bytes);
        let _ = batch::decode(&bytes);
        let _ = crate::control::ToService::decode(&bytes);
        let _ = crate::control::ToGateway::decode(&bytes);
    }

    #[test]
    fn damaged_columns_never_panic(flows in vec(flow(), 1..10), at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let mut bytes = crate::flow::encode_columns(&flows).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = crate::flow::decode_columns(&bytes);
    }
}

/// Flows of which later ones follow from earlier ones: through tunnels, answered, translated.
fn connections() -> impl Strategy<Value = Vec<FlowFact>> {
    let connection = (flow(), any::<[bool; 4]>(), any::<bool>(), 0usize..6);
    vec(connection, 0..12).prop_map(|connections| {
        let mut flows = Vec::new();
        for (mut question, told, translated, place) in connections {
            let [client, service, inside] = [1, 2, 3].map(|n| [10, 0, 0, n]);
            question.tunnel = Tunnel::default();
            (question.net_src, question.net_dst) = (Some(IpAddr::from(client)), Some(IpAddr::from(service)));
            let after = if translated { inside } else { service };
            let set = |source: [u8; 4], destination: [u8; 4]| {
                let tunnel = [&[13], &[0; 18][..], &[0, 255]].concat();
                Arc::from([&[3, 11], &source[..], &destination, &[6, 0, 63, 1], &tunnel[..21], &[1, 0, 0, 0, 9]].concat())
            };
            question.actions = set(client, after);
            let through = FlowFact {
                tunnel: Tunnel {
                    key: 7,
                    source: 1,
                    destination: 2,
                },
                net_dst: Some(IpAddr::from(after)),
                actions: [1, 1, 0, 0, 0, 4].into(),
                ..question.clone()
            };
            let answer = FlowFact {
                net_src: through.net_dst,
                net_dst: question.net_src,
                tp_src: question.tp_dst,
                tp_dst: question.tp_src,
                actions: set(service, client),
                ..question.clone()
            };
            let answer_through = FlowFact {
                tunnel: through.tunnel,
                net_src: question.net_dst,
                actions: through.actions.clone(),
                ..answer.clone()
            };
            let all = [question, through, answer, answer_through];
            let place = place.min(flows.len());
            flows.splice(place..place, all.into_iter().zip(told).filter_map(|(flow, told)| told.then_some(flow)));
        }
        flows
    })
}

/// Batches of a stream, as they stand for themselves and as they travel.
fn travel(batches: &[Vec<FlowFact>]) -> Vec<(Payload, Vec<u8>)> {
    let mut writer = StreamWriter::default();
    let payloads = batches.iter().map(|flows| Payload::Flows(flows.clone()));
    payloads
        .map(|payload| {
            let bytes = writer.write(&batch::encode(&payload).unwrap());
            (payload, bytes)
        })
        .collect()
}

proptest! {
    #[test]
    fn batches_of_a_stream_come_back_as_they_were(batches in vec(prop_oneof![vec(flow(), 0..20), connections()], 1..6)) {
        let mut reader = StreamReader::default();
        for (payload, bytes) in travel(&batches) {
            let (header, decoded) = reader.read(&bytes).unwrap();
            prop_assert_eq!(header, batch::header(&bytes).unwrap());
            prop_assert_eq!(decoded, payload);
        }
    }

    #[test]
    fn what_is_forgotten_is_forgotten_on_both_sides(batches in vec((any::<proptest::sample::Index>(), 0usize..4), 1..20), pool in vec(connections(), 8), max_live in 0usize..40_000) {
        // The same flows come again after they were given up, beside others that were not.
        let mut writer = crate::flow::FlowWriter::of(max_live);
        let mut reader = crate::flow::FlowReader::of(max_live);
        for (which, more) in batches {
            let first = which.index(pool.len());
            let flows: Vec<FlowFact> = pool.iter().cycle().skip(first).take(1 + more).flatten().cloned().collect();
            let bytes = writer.write(&flows).unwrap();
            prop_assert_eq!(reader.read(&bytes, flows.len()).unwrap(), flows);
        }
    }

    #[test]
    fn a_damaged_batch_of_a_stream_never_harms_the_reader(
        batches in vec(connections(), 1..4), which in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(), bit in 0u8..8, cut in any::<bool>(),
    ) {
        let mut travelled = travel(&batches);
        let bytes = &mut which.get_mut(&mut travelled).1;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if cut {
            bytes.truncate(at);
        }
        let mut reader = StreamReader::default();
        travelled.iter().for_each(|(_, bytes)| _ = reader.read(bytes));
    }

    #[test]
    fn made_up_batches_of_a_stream_never_harm_the_reader(rows in 0u32..2_000, bytes in vec(any::<u8>(), 0..300)) {
        let mut batch = batch::encode(&Payload::Flows(vec![])).unwrap();
        batch.truncate(26);
        batch[0] = 3;
        batch[22..26].fill(0);
        batch[2..6].copy_from_slice(&rows.to_be_bytes());
        batch.extend(bytes);
        let _ = StreamReader::default().read(&batch);
    }
}

#[test]
fn the_other_kinds_come_back_as_they_were() {
    roundtrip(Payload::Topology(vec![
        Change::SnapshotBegin {
            at_us: 5,
            term: 1_495_000_000_000,
        },
        Change::Put(Node {
            path: "zoom/0/models/Network/x".into(),
            data: b"name: \"a\"\n".to_vec(),
            mzxid: 77,
            version: 2,
            ctime_ms: 1,
            mtime_ms: 3,
            ephemeral_owner: 0,
            at_us: 6,
        }),
        Change::Delete {
            path: "zoom/0/models/Network/y".into(),
            at_us: 7,
        },
        Change::SnapshotEnd { at_us: 9, nodes: 1 },
    ]));
    roundtrip(Payload::Events(vec![Event {
        at_us: 1,
        level: Level::Warning,
        kind: "records.lost".into(),
        text: "3 flow records were lost".into(),
        fields: vec![("kind".into(), "flows".into())],
        lost: Some(Lost {
            kind: Kind::Flows,
            records: 3,
            first_us: 1,
            last_us: 2,
            cause: LossCause::QueueFull,
        }),
    }]));
    roundtrip(Payload::Meters(vec![HostReading {
        host: [3; 16],
        since_us: Some(1),
        at_us: 2,
        restarted: false,
        meters_total: 4,
        moved: vec![
            MeterDelta {
                meter: Meter::PortRx([1; 16]),
                packets: 1,
                bytes: 60,
            },
            MeterDelta {
                meter: Meter::User("web".into()),
                packets: 2,
                bytes: 120,
            },
        ],
    }]));
}

#[test]
fn a_header_tells_the_span_of_its_records() {
    let event = |at_us| Event {
        at_us,
        level: Level::Info,
        kind: "k".into(),
        text: String::new(),
        fields: vec![],
        lost: None,
    };
    let bytes = batch::encode(&Payload::Events(vec![event(30), event(10), event(20)])).unwrap();
    let header = batch::header(&bytes).unwrap();
    assert_eq!((header.records, header.first_us, header.last_us), (3, 10, 30));
}

#[test]
fn a_batch_that_claims_more_than_it_holds_is_refused() {
    let mut bytes = batch::encode(&Payload::Events(vec![])).unwrap();
    bytes[22..26].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(
        batch::decode(&bytes),
        Err(WireError::TooLarge {
            what: "batch before compression",
            ..
        })
    ));
    // A small frame that unpacks to more than its header says.
    let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
    bytes.truncate(22);
    bytes.extend_from_slice(&100u32.to_be_bytes());
    bytes.extend_from_slice(&bomb);
    assert!(matches!(batch::decode(&bytes), Err(WireError::Zstd { .. })));
}

#[test]
fn a_claimed_row_or_entry_count_allocates_nothing() {
    let mut claim = crate::column::Writer::default();
    claim.varint(u64::MAX);
    let mut sections = crate::column::Sections::default();
    sections.head(claim);
    assert!(crate::flow::decode_columns(sections.bytes()).is_err());
}

#[test]
fn too_many_path_entries_are_refused_before_they_are_sent() {
    let rule = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Rule {
            id,
            result: 1,
            matched: true,
            applied: true,
        }
    };
    let mut strategy_runner = proptest::test_runner::TestRunner::deterministic();
    let mut template = flow().new_tree(&mut strategy_runner).unwrap().current();
    let flows: Vec<FlowFact> = (0..11)
        .map(|n| {
            template.path = Arc::new(Path {
                devices: vec![],
                rules: (0..100_000).map(|r| rule(r + n)).collect(),
            });
            template.clone()
        })
        .collect();
    assert!(matches!(
        batch::encode(&Payload::Flows(flows.clone())),
        Err(WireError::TooLarge {
            what: "paths of a batch",
            ..
        })
    ));
    roundtrip(Payload::Flows(flows[..5].to_vec()));
}

fn some_flows(count: usize) -> Vec<FlowFact> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(|_| flow().new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn a_stream_whose_batch_was_missed_is_out_of_step_until_it_begins_anew() {
    let flows = some_flows(30);
    let travelled = travel(&[flows[..10].to_vec(), flows[10..20].to_vec(), flows[20..].to_vec()]);
    let mut reader = StreamReader::default();
    reader.read(&travelled[0].1).unwrap();
    assert!(matches!(reader.read(&travelled[2].1), Err(WireError::OutOfStep)));
    assert!(
        matches!(reader.read(&travelled[1].1), Err(WireError::OutOfStep)),
        "what was known is gone"
    );
    // Batches that stand for themselves are read at any time, and change nothing.
    let event = batch::encode(&Payload::Events(vec![])).unwrap();
    for (payload, bytes) in &travelled {
        assert_eq!(reader.read(bytes).unwrap().1, *payload);
        reader.read(&event).unwrap();
        reader.read(&batch::encode(payload).unwrap()).unwrap();
    }
    reader.forget();
    assert!(matches!(reader.read(&travelled[1].1), Err(WireError::OutOfStep)));
    assert!(matches!(batch::decode(&travelled[1].1), Err(WireError::OutOfStep)));
}

#[test]
fn only_a_batch_that_begins_anew_is_broken_itself() {
    let flows = some_flows(20);
    let mut travelled = travel(&[flows[..10].to_vec(), flows[10..].to_vec()]);
    travelled.iter_mut().for_each(|(_, bytes)| bytes.extend([0xff; 9]));
    let mut reader = StreamReader::default();
    assert!(matches!(reader.read(&travelled[0].1), Err(WireError::Invalid { .. })));
    reader.read(&travel(&[flows[..10].to_vec()])[0].1).unwrap();
    assert!(matches!(reader.read(&travelled[1].1), Err(WireError::OutOfStep)));
}

#[test]
fn what_can_not_be_read_travels_as_it_is() {
    let mut writer = StreamWriter::default();
    let mut broken = batch::encode(&Payload::Flows(some_flows(5))).unwrap();
    broken.truncate(60);
    assert_eq!(writer.write(&broken), broken);
    let events = batch::encode(&Payload::Events(vec![])).unwrap();
    assert_eq!(writer.write(&events), events);
}

#[test]
fn a_stream_keeps_a_bounded_memory_and_both_sides_forget_the_same() {
    // Most flows are unlike all others; a few come again in every batch.
    let template = some_flows(1).remove(0);
    let mut number = 0u64;
    let mut next = || {
        number += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let path = Path {
            devices: vec![Device { id, kind: 4 }; 20],
            rules: vec![],
        };
        FlowFact {
            in_port: Some(id),
            net_src: Some(IpAddr::from(id)),
            eth_src: [id[0], id[1], id[2], id[3], id[4], id[5]],
            out_ports: [id; 3].into(),
            path: Arc::new(path),
            actions: [&[1, 1], &id[..4]].concat().into(),
            ..template.clone()
        }
    };
    let (mut writer, mut reader) = (StreamWriter::default(), StreamReader::default());
    let again: Vec<FlowFact> = (0..200).map(|_| next()).collect();
    let (mut most, mut forgot, mut first) = (0, 0, 0);
    for batch in 0..40 {
        let repeated = Payload::Flows(again.clone());
        let bytes = writer.write_records(&repeated).unwrap();
        assert_eq!(reader.read(&bytes).unwrap().1, repeated);
        if batch == 0 {
            first = bytes.len();
        } else {
            assert!(bytes.len() < first / 3, "what comes again and again was forgotten: {} bytes", bytes.len());
        }
        let before = reader.memory();
        let payload = Payload::Flows((0..4_096).map(|_| next()).collect());
        let bytes = writer.write(&batch::encode(&payload).unwrap());
        assert_eq!(reader.read(&bytes).unwrap().1, payload);
        forgot += usize::from(reader.memory() < before);
        most = most.max(reader.memory());
    }
    assert!(forgot > 2 && most < 13 << 20, "{most} bytes");
}

#[test]
fn a_stream_whose_nature_changes_keeps_a_bounded_memory() {
    // Each kind of value fills the bound on its own, one after the other.
    let template = some_flows(1).remove(0);
    let (mut writer, mut reader) = (StreamWriter::default(), StreamReader::default());
    let mut number = 0u64;
    for nature in 0..4 {
        for _ in 0..6 {
            let flows = (0..40_000).map(|_| {
                number += 1;
                let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
                let mut flow = template.clone();
                match nature % 3 {
                    0 => flow.net_src = Some(IpAddr::from(id)),
                    1 => flow.in_port = Some(id),
                    _ => flow.tunnel.key = number,
                }
                flow
            });
            let payload = Payload::Flows(flows.collect());
            let bytes = writer.write_records(&payload).unwrap();
            assert_eq!(reader.read(&bytes).unwrap().1, payload);
            assert!(reader.memory() < 13 << 20, "{} bytes", reader.memory());
        }
    }
}

#[test]
fn few_bytes_make_a_reader_hold_no_more_than_its_bound() {
    // What is certain costs nearly nothing: rows of long actions, each with an address of its own.
    let mut template = some_flows(1).remove(0);
    template.net_src = Some(IpAddr::from([10, 0, 0, 1]));
    template.tunnel = Tunnel::default();
    let flows: Vec<FlowFact> = (0..u32::from(u16::MAX))
        .map(|n| {
            let mut actions = vec![127, 11, 10, 0, 0, 1, 10, 1, (n >> 8) as u8, n as u8, 6, 0, 64, 1];
            actions.extend([1, 0, 0, 0, 7].repeat(250));
            FlowFact {
                actions: actions.into(),
                cookie: n.into(),
                ..template.clone()
            }
        })
        .collect();
    let bytes = crate::flow::FlowWriter::default().write(&flows).unwrap();
    assert!(bytes.len() < 1 << 20);
    let read = crate::flow::FlowReader::default().read(&bytes, flows.len());
    assert!(matches!(
        read,
        Err(WireError::TooLarge {
            what: "values of a flow batch",
            ..
        })
    ));
}
