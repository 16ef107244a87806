// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Frames: a big-endian `u32` length, then the bytes.

use crate::WireError;

/// Longest control message. Diagnostics are the largest and are cut by their sender to fit.
pub const MAX_CONTROL_FRAME: usize = 1 << 20;

/// Longest frame on a data stream: a batch at its bound plus the envelope.
pub const MAX_DATA_FRAME: usize = crate::batch::MAX_BATCH_BYTES + crate::batch::ENVELOPE_BYTES;

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// A frame ready to be written. Fails on a payload above `limit`.
pub fn frame(payload: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    check(payload.len(), limit)?;
    let mut out = Vec::with_capacity(LENGTH_BYTES + payload.len());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    Ok(out)
}

/// The payload's length from the four bytes before it. Fails above `limit`: the reader must give the stream up, since framing is lost.
pub fn payload_length(prefix: [u8; LENGTH_BYTES], limit: usize) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(prefix) as usize;
    check(length, limit)?;
    Ok(length)
}

fn check(size: usize, limit: usize) -> Result<(), WireError> {
    if size > limit {
        return Err(WireError::TooLarge { what: "frame", size, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length() {
        let bytes = frame(b"abc", 3).unwrap();
        assert_eq!(bytes, [0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(payload_length([0, 0, 0, 3], 3).unwrap(), 3);
    }

    #[test]
    fn frames_above_the_limit_are_refused_on_both_sides() {
        assert!(matches!(frame(b"abcd", 3), Err(WireError::TooLarge { size: 4, limit: 3, .. })));
        assert!(matches!(payload_length([255; 4], MAX_DATA_FRAME), Err(WireError::TooLarge { .. })));
    }
}
