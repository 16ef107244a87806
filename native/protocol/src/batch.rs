// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Batches: records of one kind, compressed together.
//!
//! Form of a batch: `format u8, kind u8, records u32, first_us i64, last_us i64, raw u32` (big-endian), then the payload in one zstd frame
//! or several. Of flows on their way there is another format, in which a batch follows from those before it on its stream ([`crate::stream`]).
//! Form of an envelope on a data stream: `epoch u64, sequence u64` (big-endian), then the batch.

use crate::{Kind, WireError, codec, column::Sections, event::Event, flow::FlowFact, meters::HostReading, topology::Change};

/// Longest batch, compressed. A node of the NSDB has 1 MiB at most, so one record always fits.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Longest payload before compression; what a reader allocates for one batch, whatever its sender claims.
pub const MAX_RAW_BYTES: usize = 16 << 20;

/// Most records in a batch: bounds what a reader holds in decoded form.
pub const MAX_RECORDS: usize = 65_536;

/// Bytes before the batch in an envelope.
pub const ENVELOPE_BYTES: usize = 16;

/// Level 3: measured as the knee of size against time on flow columns.
pub(crate) const ZSTD_LEVEL: i32 = 3;

/// Sections of columns from this size on are frames of their own: each gets its own code, for some 15 bytes.
const OWN_FRAME_BYTES: usize = 512;

/// A batch that stands for itself.
const ALONE: u8 = 2;
/// One that follows from those before it on its stream: in place of the size before compression stands its place on the stream.
const IN_STREAM: u8 = 3;
const HEADER_BYTES: usize = 26;

/// What a batch says of itself without being opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    pub kind: Kind,
    pub records: u32,
    /// Times of the first and the last record, µs since the epoch.
    pub first_us: i64,
    pub last_us: i64,
    form: Form,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Bytes before compression.
    Alone(u32),
    /// Place on the stream since it began anew.
    InStream(u32),
}

/// The records of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    Topology(Vec<Change>),
    Events(Vec<Event>),
    Meters(Vec<HostReading>),
    Flows(Vec<FlowFact>),
}

impl Payload {
    pub fn kind(&self) -> Kind {
        match self {
            Payload::Topology(_) => Kind::Topology,
            Payload::Events(_) => Kind::Events,
            Payload::Meters(_) => Kind::Meters,
            Payload::Flows(_) => Kind::Flows,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Payload::Topology(records) => records.len(),
            Payload::Events(records) => records.len(),
            Payload::Meters(records) => records.len(),
            Payload::Flows(records) => records.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn times(&self) -> (i64, i64) {
        fn span(times: impl Iterator<Item = i64>) -> (i64, i64) {
            times.fold((i64::MAX, i64::MIN), |(low, high), time| (low.min(time), high.max(time)))
        }
        let (first, last) = match self {
            Payload::Topology(records) => span(records.iter().map(Change::at_us)),
            Payload::Events(records) => span(records.iter().map(|event| event.at_us)),
            Payload::Meters(records) => span(records.iter().map(|reading| reading.at_us)),
            Payload::Flows(records) => span(records.iter().map(|flow| flow.received_us)),
        };
        if first > last { (0, 0) } else { (first, last) }
    }
}

/// The bytes of a batch. Fails when it is above a bound: the caller splits it then.
pub fn encode(payload: &Payload) -> Result<Vec<u8>, WireError> {
    limit("batch of records", payload.len(), MAX_RECORDS)?;
    let (raw_bytes, body) = match payload {
        Payload::Topology(records) => compress(&codec::encode("topology batch", records)?)?,
        Payload::Events(records) => compress(&codec::encode("event batch", records)?)?,
        Payload::Meters(records) => compress(&codec::encode("meter batch", records)?)?,
        Payload::Flows(records) => compress_sections(&crate::flow::encode_columns(records)?)?,
    };
    let (first_us, last_us) = payload.times();
    let header = Header {
        kind: payload.kind(),
        records: payload.len() as u32,
        first_us,
        last_us,
        form: Form::Alone(raw_bytes as u32),
    };
    join(&header, &body)
}

/// What a batch of these records says of itself, whatever its form.
pub(crate) fn header_of(payload: &Payload) -> Header {
    let (first_us, last_us) = payload.times();
    Header {
        kind: payload.kind(),
        records: payload.len() as u32,
        first_us,
        last_us,
        form: Form::Alone(0),
    }
}

/// The bytes of a batch of flows on a stream, with the header of the one that stands for itself.
pub(crate) fn in_stream(alone: Header, place: u32, body: &[u8]) -> Result<Vec<u8>, WireError> {
    join(
        &Header {
            form: Form::InStream(place),
            ..alone
        },
        body,
    )
}

fn join(header: &Header, body: &[u8]) -> Result<Vec<u8>, WireError> {
    limit("batch", HEADER_BYTES + body.len(), MAX_BATCH_BYTES)?;
    let (format, last) = match header.form {
        Form::Alone(raw_bytes) => (ALONE, raw_bytes),
        Form::InStream(place) => (IN_STREAM, place),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(&[format, header.kind as u8]);
    out.extend_from_slice(&header.records.to_be_bytes());
    out.extend_from_slice(&header.first_us.to_be_bytes());
    out.extend_from_slice(&header.last_us.to_be_bytes());
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(body);
    Ok(out)
}

/// What a batch says of itself.
pub fn header(bytes: &[u8]) -> Result<Header, WireError> {
    let invalid = |field| WireError::Invalid { what: "batch", field };
    let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(invalid("header"))?;
    let [format, kind, rest @ ..] = head;
    let kind = Kind::from_number(*kind).ok_or(invalid("kind"))?;
    let (records, rest) = take::<4>(rest);
    let (first, rest) = take::<8>(rest);
    let (last, rest) = take::<8>(rest);
    let (number, _) = take::<4>(rest);
    let number = u32::from_be_bytes(number);
    let form = match (*format, kind) {
        (ALONE, _) => Form::Alone(number),
        (IN_STREAM, Kind::Flows) => Form::InStream(number),
        _ => return Err(invalid("format")),
    };
    let header = Header {
        kind,
        records: u32::from_be_bytes(records),
        first_us: i64::from_be_bytes(first),
        last_us: i64::from_be_bytes(last),
        form,
    };
    limit("batch of records", header.records as usize, MAX_RECORDS)?;
    if let Form::Alone(raw_bytes) = form {
        limit("batch before compression", raw_bytes as usize, MAX_RAW_BYTES)?;
    }
    Ok(header)
}

impl Header {
    pub(crate) fn form(&self) -> Form {
        self.form
    }
}

/// What follows the header of a batch.
pub(crate) fn body(bytes: &[u8]) -> Result<(Header, &[u8]), WireError> {
    limit("batch", bytes.len(), MAX_BATCH_BYTES)?;
    Ok((header(bytes)?, &bytes[HEADER_BYTES..]))
}

/// The records of a batch that stands for itself. Allocates at most [`MAX_RAW_BYTES`] for the payload and a small multiple of it for the records.
pub fn decode(bytes: &[u8]) -> Result<(Header, Payload), WireError> {
    let (header, body) = body(bytes)?;
    let Form::Alone(raw_bytes) = header.form else {
        return Err(WireError::OutOfStep);
    };
    let raw = decompress(body, raw_bytes as usize)?;
    let payload = match header.kind {
        Kind::Topology => Payload::Topology(codec::decode("topology batch", &raw)?),
        Kind::Events => Payload::Events(codec::decode("event batch", &raw)?),
        Kind::Meters => Payload::Meters(codec::decode("meter batch", &raw)?),
        Kind::Flows => Payload::Flows(crate::flow::decode_columns(&raw)?),
    };
    if payload.len() != header.records as usize {
        return Err(WireError::Invalid {
            what: "batch",
            field: "record count",
        });
    }
    Ok((header, payload))
}

/// A batch with its place in the stream, as it travels.
pub fn seal(epoch: u64, sequence: u64, batch: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + batch.len());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(batch);
    out
}

/// A received batch and its place in the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Envelope<'a> {
    pub epoch: u64,
    pub sequence: u64,
    pub batch: &'a [u8],
}

/// Opens what [`seal`] closed.
pub fn open(bytes: &[u8]) -> Result<Envelope<'_>, WireError> {
    let head: &[u8; ENVELOPE_BYTES] = bytes.first_chunk().ok_or(WireError::Invalid {
        what: "envelope",
        field: "length",
    })?;
    let (epoch, rest) = take::<8>(head);
    let (sequence, _) = take::<8>(rest);
    Ok(Envelope {
        epoch: u64::from_be_bytes(epoch),
        sequence: u64::from_be_bytes(sequence),
        batch: &bytes[ENVELOPE_BYTES..],
    })
}

/// The payload's length and its frame.
fn compress(raw: &[u8]) -> Result<(usize, Vec<u8>), WireError> {
    limit("batch before compression", raw.len(), MAX_RAW_BYTES)?;
    Ok((raw.len(), zstd::bulk::compress(raw, ZSTD_LEVEL).map_err(compressing)?))
}

/// The payload's length and its frames.
fn compress_sections(sections: &Sections) -> Result<(usize, Vec<u8>), WireError> {
    let raw = sections.bytes();
    limit("batch before compression", raw.len(), MAX_RAW_BYTES)?;
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(compressing)?;
    let mut body = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for piece in sections.pieces().map(<[u8]>::len).chain([usize::MAX]) {
        if piece >= OWN_FRAME_BYTES || end - begin >= OWN_FRAME_BYTES {
            if begin < end {
                body.extend(compressor.compress(&raw[begin..end]).map_err(compressing)?);
            }
            begin = end;
        }
        end = end.saturating_add(piece);
    }
    Ok((raw.len(), body))
}

fn compressing(source: std::io::Error) -> WireError {
    WireError::Zstd {
        operation: "compress a batch",
        source,
    }
}

/// The one place where zstd is decoded: never more than the size that the header gave, which is bounded.
#[allow(clippy::disallowed_methods, reason = "the capped decoder itself")]
fn decompress(body: &[u8], raw_bytes: usize) -> Result<Vec<u8>, WireError> {
    let raw = zstd::bulk::decompress(body, raw_bytes).map_err(|source| WireError::Zstd {
        operation: "decompress a batch",
        source,
    })?;
    if raw.len() != raw_bytes {
        return Err(WireError::Invalid {
            what: "batch",
            field: "size before compression",
        });
    }
    Ok(raw)
}

fn limit(what: &'static str, size: usize, limit: usize) -> Result<(), WireError> {
    if size > limit {
        return Err(WireError::TooLarge { what, size, limit });
    }
    Ok(())
}

/// The first `N` bytes and the rest; the callers' slices are cut from fixed-size headers and are long enough.
fn take<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let mut head = [0; N];
    head.copy_from_slice(&bytes[..N]);
    (head, &bytes[N..])
}
