// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use insights_protocol::flow::{Device, Extras, FlowFact, Path, Rule, Tunnel};
use midonet::flow::{
    self, FlowError, FlowRecord, Fragment, Untrusted, action,
    frame::{Frame, FrameDecoder, FrameError},
};

/// Invalid records in a row after which a peer is taken for something else than an agent.
const MAX_INVALID_RUN: u32 = 100;
/// A decoder that once held a large record is made anew, so that its memory goes back.
const KEEP_BYTES: usize = 32 << 10;

/// The bytes of one connection on their way to flow facts.
#[derive(Debug, Default)]
pub struct Intake {
    frames: FrameDecoder,
    invalid_run: u32,
    peak: usize,
    /// Whether a valid record came: the peer is an agent.
    pub proven: bool,
}

/// A record that is no fact.
#[derive(Debug)]
pub enum Invalid {
    Record(FlowError),
    /// Longer than any agent's; passed over.
    TooLong {
        size: usize,
    },
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Record(error) => error.fmt(f),
            Invalid::TooLong { size } => write!(f, "record of {size} bytes is longer than any agent sends"),
        }
    }
}

/// The connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum GiveUp {
    #[error("framing is lost")]
    Framing(#[from] FrameError),
    #[error("{MAX_INVALID_RUN} invalid records in a row")]
    Garbage,
}

impl Intake {
    /// Takes what was read at this time, and gives facts and invalid records out.
    pub fn take(&mut self, bytes: &[u8], received_us: i64, mut fact: impl FnMut(FlowFact), mut invalid: impl FnMut(Invalid)) -> Result<(), GiveUp> {
        self.frames.extend(bytes);
        self.peak = self.peak.max(self.frames.buffered());
        while let Some(frame) = self.frames.next_frame()? {
            let why = match frame {
                Frame::Record(bytes) => match flow::decode(bytes) {
                    Ok(record) => {
                        self.invalid_run = 0;
                        self.proven = true;
                        fact(fact_of(record, received_us));
                        continue;
                    }
                    Err(error) => Invalid::Record(error),
                },
                Frame::Skipped { size } => Invalid::TooLong { size },
            };
            invalid(why);
            self.invalid_run += 1;
            if self.invalid_run >= MAX_INVALID_RUN {
                return Err(GiveUp::Garbage);
            }
        }
        if self.peak > KEEP_BYTES && self.frames.is_at_boundary() {
            self.frames = FrameDecoder::default();
            self.peak = 0;
        }
        Ok(())
    }

    /// Memory that waits for the rest of a record, with what the buffer grew by in advance.
    pub fn memory(&self) -> usize {
        2 * self.peak
    }

    /// Whether a record is cut off if the connection ends here.
    pub fn is_amid_record(&self) -> bool {
        !self.frames.is_at_boundary()
    }
}

/// What of a record goes to the service: its fields as they stand, with the flags of those that can't be trusted.
pub fn fact_of(record: FlowRecord, received_us: i64) -> FlowFact {
    let fragment = fragment_code(&record);
    static NO_EXTRAS: LazyLock<Arc<Extras>> = LazyLock::new(Arc::default);
    let extras = if record.vlan_ids.is_empty() && record.icmp_data.is_empty() {
        NO_EXTRAS.clone()
    } else {
        Arc::new(Extras {
            vlans: record.vlan_ids,
            icmp_data: record.icmp_data,
        })
    };
    let devices = record.devices.iter().map(|device| Device {
        id: device.id.into_bytes(),
        kind: device.kind.code(),
    });
    let rules = record.rules.iter().map(|rule| Rule {
        id: rule.id.into_bytes(),
        result: rule.result.code(),
        matched: rule.matched,
        applied: rule.applied,
    });
    FlowFact {
        received_us,
        host: record.host.into_bytes(),
        cookie: record.cookie,
        sim_result: record.sim_result.code(),
        in_port: record.in_port.map(uuid::Uuid::into_bytes),
        dp_in_port: record.dp_port,
        tunnel: Tunnel {
            key: record.tunnel_key,
            source: record.tunnel_src.into(),
            destination: record.tunnel_dst.into(),
        },
        eth_src: record.eth_src.map_or([0; 6], |mac| mac.0),
        eth_dst: record.eth_dst.map_or([0; 6], |mac| mac.0),
        ether_type: record.ether_type,
        net_src: record.src,
        net_dst: record.dst,
        proto: record.proto,
        tos: record.tos,
        ttl: record.ttl,
        fragment,
        tp_src: record.src_port,
        tp_dst: record.dst_port,
        icmp_id: record.icmp_id,
        extras,
        path: Arc::new(Path {
            devices: devices.collect(),
            rules: rules.collect(),
        }),
        out_ports: record.out_ports.iter().map(|port| port.into_bytes()).collect(),
        actions: action::encode(&record.actions).into(),
        untrusted: record.untrusted.bits(),
    }
}

/// 0 unknown, 1 not a fragment, 2 first, 3 later: the codes of binary records.
fn fragment_code(record: &FlowRecord) -> u8 {
    match record.fragment {
        _ if record.untrusted.contains(Untrusted::FRAGMENT) => 0,
        Fragment::None => 1,
        Fragment::First => 2,
        Fragment::Later => 3,
        Fragment::Unknown(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use midonet::flow::{encode_binary, encode_json, frame};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn wire(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../tests/fixtures/golden/flows/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Facts and causes of what a stream in pieces of this size gives.
    fn feed(bytes: &[u8], piece: usize) -> (Vec<FlowFact>, Vec<String>, Option<GiveUp>) {
        let (mut facts, mut invalid) = (Vec::new(), Vec::new());
        let mut intake = Intake::default();
        for bytes in bytes.chunks(piece) {
            if let Err(error) = intake.take(bytes, 7, |fact| facts.push(fact), |why| invalid.push(why.to_string())) {
                return (facts, invalid, Some(error));
            }
        }
        (facts, invalid, None)
    }

    #[test]
    fn golden_streams_give_all_records_however_they_are_cut() {
        for name in ["flows-binary.wire", "flows-json.wire"] {
            let stream = wire(name);
            let (whole, invalid, error) = feed(&stream, stream.len());
            assert_eq!((whole.len(), invalid, error.is_none()), (78, Vec::<String>::new(), true), "{name}");
            for piece in [1, 7, 1_000] {
                assert_eq!(feed(&stream, piece).0, whole, "{name} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn both_forms_of_a_record_are_the_same_fact_but_for_what_binary_lacks() {
        let (binary, json) = (feed(&wire("flows-binary.wire"), 4_096).0, feed(&wire("flows-json.wire"), 4_096).0);
        let plain = |facts: Vec<FlowFact>| {
            facts
                .into_iter()
                .map(|fact| (fact.host, fact.sim_result, fact.path, fact.out_ports, fact.tp_src, fact.tp_dst))
        };
        // Records that carry less in one of the forms, or other stale bytes, are told in the golden data; most are the same.
        let same = plain(binary).zip(plain(json)).filter(|(binary, json)| binary == json).count();
        assert!(same > 60, "{same} of 78 records are the same");
    }

    #[test]
    fn a_bad_record_costs_itself_only() {
        let good = encode_binary(&FlowRecord::empty(Uuid::from_u128(1))).unwrap();
        let mut stream = Vec::new();
        frame::encode(&good, &mut stream);
        frame::encode(b"garbage", &mut stream);
        frame::encode(&vec![0; flow::MAX_RECORD_BYTES + 1], &mut stream);
        frame::encode(&encode_json(&FlowRecord::empty(Uuid::from_u128(2))), &mut stream);
        let (facts, invalid, error) = feed(&stream, 1_000);
        assert_eq!((facts.len(), invalid.len(), error.is_none()), (2, 2, true));
    }

    #[test]
    fn garbage_is_given_up() {
        let mut stream = Vec::new();
        (0..1_000).for_each(|_| frame::encode(b"garbage", &mut stream));
        let (_, invalid, error) = feed(&stream, 512);
        assert_eq!(invalid.len() as u32, MAX_INVALID_RUN);
        assert!(matches!(error, Some(GiveUp::Garbage)));
        assert!(matches!(feed(&[0xff; 64], 64).2, Some(GiveUp::Framing(_))));
    }

    #[test]
    fn memory_goes_back_after_a_large_record() {
        let mut intake = Intake::default();
        let mut stream = Vec::new();
        frame::encode(&vec![b'x'; 200_000], &mut stream);
        let (last, most) = stream.split_last().unwrap();
        intake.take(most, 0, |_| (), |_| ()).unwrap();
        assert!(intake.memory() >= 200_000 && intake.is_amid_record());
        intake.take(&[*last], 0, |_| (), |_| ()).unwrap();
        assert!(intake.memory() == 0 && !intake.is_amid_record());
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), piece in 1..300usize) {
            feed(&bytes, piece);
        }
    }
}
