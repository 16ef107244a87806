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
