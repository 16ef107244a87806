// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Flow records that agents send to a recorder.
//!
//! A connection carries frames ([`frame::FrameDecoder`]); each frame is one record, binary or JSON, told apart by its first byte ([`decode`]).
//! Sources: the SBE schema `flowhistory.schema.xml` and the agent's `BinaryFlowRecorder`, `JsonFlowRecorder` and `FlowSenderWorker`.

pub mod action;
pub mod binary;
pub mod frame;
pub mod json;

mod binary_writer;
mod json_action;
mod json_writer;
mod layout;
mod record;

pub use binary_writer::{BinaryEncoder, encode_binary};
pub use json_writer::encode_json;
pub use record::{Device, DeviceKind, ETHER_TYPE_NONE, Encoding, FlowRecord, Fragment, RuleHit, RuleResult, SimResult, Untrusted};

/// Longest record that an agent can send: its buffer.
pub const MAX_RECORD_BYTES: usize = 204_800;

/// Why bytes are not a flow record.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlowError {
    #[error("record is empty")]
    Empty,
    #[error("record has {size} bytes, at most {MAX_RECORD_BYTES} are allowed")]
    TooLong { size: usize },
    #[error("record begins with byte {first:#04x}, neither a binary nor a JSON record")]
    UnknownForm { first: u8 },
    #[error("binary record: {what} at byte {at} is {found}, expected {expected}")]
    Header {
        what: &'static str,
        at: usize,
        found: u64,
        expected: u64,
    },
    #[error("binary record: {what} at byte {at} needs {needed} bytes, {left} are left")]
    Short {
        what: &'static str,
        at: usize,
        needed: usize,
        left: usize,
    },
    #[error("binary record: no reading of the group counts from byte {at} on ends at the record's end of {size} bytes")]
    Structure { at: usize, size: usize },
    #[error("JSON record: line {line} column {column}: {message}")]
    Json { line: usize, column: usize, message: String },
    #[error("JSON record: member {member} is {found}, expected {expected}")]
    Member { member: String, found: String, expected: &'static str },
}

/// The record in one frame; its form is told by the first byte.
pub fn decode(bytes: &[u8]) -> Result<FlowRecord, FlowError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(FlowError::TooLong { size: bytes.len() });
    }
    match bytes.first() {
        None => Err(FlowError::Empty),
        Some(b'{') => json::decode(bytes),
        Some(_) if binary::recognise(bytes) => binary::decode(bytes),
        Some(&first) => Err(FlowError::UnknownForm { first }),
    }
}
