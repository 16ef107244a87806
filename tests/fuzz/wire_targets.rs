// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The fuzz targets of the wire: what is read is bounded, and comes back when it is written again.

use insights_protocol::{
    WireError,
    batch::{self, Payload},
    stream::{StreamReader, StreamWriter},
};

/// Reads an input; panics if something does not hold.
pub(crate) type Target = fn(&[u8]);

/// Every target under the name of its corpus.
pub(crate) const TARGETS: &[(&str, Target)] = &[("flow_stream", flow_stream), ("batch", batch_alone)];

/// Bytes of a batch before its body.
const HEADER_BYTES: usize = 26;
/// What a reader may keep of a stream between batches.
const MAX_KEPT: usize = 13 << 20;

/// A piece of the input of [`flow_stream`]: rows and length of a batch's body, and the body.
#[allow(dead_code, reason = "only who makes the corpus needs it")]
pub(crate) fn piece(rows: u16, batch: &[u8]) -> Vec<u8> {
    let body = batch.get(HEADER_BYTES..).unwrap_or_default();
    let mut piece = rows.to_be_bytes().to_vec();
    piece.extend((body.len() as u16).to_be_bytes());
    piece.extend(body);
    piece
}

/// Batches of a stream. What is read comes back when it is written again; a broken batch ends what is known, and nothing else.
pub(crate) fn flow_stream(data: &[u8]) {
    let (mut reader, mut writer, mut again) = (StreamReader::default(), StreamWriter::default(), StreamReader::default());
    let mut rest = data;
    let mut place = 0u32;
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk() {
        let (rows, length) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let (body, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        // Format, kind, records, times, place.
        let mut bytes = vec![3, 4];
        bytes.extend(u32::from(rows).to_be_bytes());
        bytes.extend([0; 16]);
        bytes.extend(place.to_be_bytes());
        bytes.extend(body);
        match reader.read(&bytes) {
            Ok((_, payload)) => {
                place += 1;
                assert_eq!(payload.len(), usize::from(rows));
                assert!(reader.memory() <= MAX_KEPT, "{} bytes are kept", reader.memory());
                let written = writer.write_records(&payload);
                let Ok(written) = written else { continue };
                match again.read(&written) {
                    Ok((_, back)) => assert!(back == payload, "flows came back as others"),
                    Err(error) => panic!("what was written can't be read: {error}"),
                }
            }
            Err(error) => {
                assert_eq!(reader.memory(), 0);
                assert!(place == 0 || matches!(error, WireError::OutOfStep));
                place = 0;
            }
        }
    }
}

/// A batch that stands for itself.
pub(crate) fn batch_alone(data: &[u8]) {
    let Ok((header, payload)) = batch::decode(data) else { return };
    assert_eq!((header.kind, header.records as usize), (payload.kind(), payload.len()));
    if let Payload::Flows(_) = &payload
        && let Ok(written) = batch::encode(&payload)
    {
        match batch::decode(&written) {
            Ok((_, back)) => assert!(back == payload, "flows came back as others"),
            Err(error) => panic!("what was written can't be read: {error}"),
        }
    }
}
