// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A framed stream of flow records as JSON lines: the members are those of MidoNet's JSON, and besides
//! `untrusted`, the names of fields that may be those of another record, and for a frame that is no record `error`, its `offset` in the
//! stream, its `length` and, if it is short, its bytes in hex as `data`.

use std::io::{self, Read, Write};

use midonet::flow::{
    self,
    frame::{Frame, FrameDecoder},
};
use serde_json::{Value, json};

/// Bytes of an invalid frame that are shown.
const MAX_SHOWN: usize = 1_024;

/// What a stream held.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Decoded {
    pub records: u64,
    pub invalid: u64,
}

/// Why decoding ended early.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("read the stream")]
    Read(#[source] io::Error),
    #[error("write")]
    Write(#[source] io::Error),
}

/// Decodes to the end of the stream. A frame that can't be decoded is a line with `error`; lost framing ends the stream with one.
pub fn flows(input: &mut impl Read, out: &mut impl Write) -> Result<Decoded, DecodeError> {
    let mut frames = FrameDecoder::default();
    let mut decoded = Decoded::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match input.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(DecodeError::Read(error)),
        };
        frames.extend(&buffer[..read]);
        loop {
            let offset = frames.consumed();
            let line = match frames.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => line(frame, offset),
                Err(error) => {
                    decoded.invalid += 1;
                    write_line(out, &json!({"error": error.to_string(), "offset": offset}))?;
                    return Ok(decoded);
                }
            };
            if line.get("error").is_some() {
                decoded.invalid += 1
            } else {
                decoded.records += 1
            }
            write_line(out, &line)?;
        }
        if read == 0 {
            break;
        }
    }
    if !frames.is_at_boundary() {
        decoded.invalid += 1;
        write_line(
            out,
            &json!({"error": "the stream ends within a record", "offset": frames.consumed(), "length": frames.buffered()}),
        )?;
    }
    Ok(decoded)
}

fn line(frame: Frame<'_>, offset: u64) -> Value {
    match frame {
        Frame::Skipped { size } => json!({"error": "longer than any agent sends", "offset": offset, "length": size}),
        Frame::Record(bytes) => match flow::decode(bytes) {
            Err(error) => {
                let mut line = json!({"error": error.to_string(), "offset": offset, "length": bytes.len()});
                if bytes.len() <= MAX_SHOWN {
                    line["data"] = hex::encode(bytes).into();
                }
                line
            }
            Ok(record) => match serde_json::from_slice::<Value>(&flow::encode_json(&record)) {
                Ok(mut line) => {
                    line["untrusted"] = record.untrusted.names().collect::<Vec<_>>().into();
                    line
                }
                Err(error) => json!({"error": error.to_string(), "offset": offset, "length": bytes.len()}),
            },
        },
    }
}

fn write_line(out: &mut impl Write, line: &Value) -> Result<(), DecodeError> {
    writeln!(out, "{line}").map_err(DecodeError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> (Vec<Value>, Decoded) {
        let mut out = Vec::new();
        let decoded = flows(&mut &bytes[..], &mut out).unwrap();
        (
            out.split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect(),
            decoded,
        )
    }

    fn golden(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../tests/fixtures/golden/flows/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn the_golden_json_stream_comes_out_as_it_is() {
        let (lines, decoded) = decode(&golden("flows-json.wire"));
        assert_eq!(decoded, Decoded { records: 78, invalid: 0 });
        let texts = golden("flows-json.jsonl");
        let sent = texts.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).filter_map(|line| {
            let line: Value = serde_json::from_slice(line).unwrap();
            line["recordText"].as_str().map(|text| serde_json::from_str::<Value>(text).unwrap())
        });
        let mut compared = 0;
        for (mut line, sent) in lines.into_iter().zip(sent) {
            line.as_object_mut().unwrap().remove("untrusted").unwrap();
            assert_eq!(line, sent);
            compared += 1;
        }
        assert_eq!(compared, 78);
    }

    #[test]
    fn what_is_no_record_is_told_where_it_stands() {
        let mut stream = golden("flows-binary.wire");
        let whole = stream.len();
        flow::frame::encode(b"garbage", &mut stream);
        stream.extend([5, 1]);
        let (lines, decoded) = decode(&stream);
        assert_eq!(decoded, Decoded { records: 78, invalid: 2 });
        assert_eq!(
            (lines[78]["offset"].as_u64(), lines[78]["data"].as_str()),
            (Some(whole as u64), Some("67617262616765"))
        );
        assert!(lines[79]["error"].as_str().unwrap().contains("within a record"));
    }
}
