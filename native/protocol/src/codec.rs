// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The only place that knows bincode.

use bincode::{Decode, Encode, config};

/// What can be wrong with bytes from the other side, or with a value that is too large for the wire.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("decode {what}")]
    Decode {
        what: &'static str,
        #[source]
        source: bincode::error::DecodeError,
    },
    #[error("encode {what}")]
    Encode {
        what: &'static str,
        #[source]
        source: bincode::error::EncodeError,
    },
    #[error("decode {what}: {left} bytes left over")]
    Trailing { what: &'static str, left: usize },
    #[error("{what} has {size} bytes, at most {limit} are allowed")]
    TooLarge { what: &'static str, size: usize, limit: usize },
    #[error("{what} has an invalid {field}")]
    Invalid { what: &'static str, field: &'static str },
    /// The sender has to begin its stream anew.
    #[error("batch follows from one that was not read on this stream")]
    OutOfStep,
    #[error("{operation} with zstd")]
    Zstd {
        operation: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// Bound of what one decoded value may claim to allocate: as much as the largest batch payload.
const DECODE_LIMIT: usize = crate::batch::MAX_RAW_BYTES;

/// The bytes of a value.
pub fn encode<T: Encode>(what: &'static str, value: &T) -> Result<Vec<u8>, WireError> {
    bincode::encode_to_vec(value, config::standard()).map_err(|source| WireError::Encode { what, source })
}

/// The value of all of these bytes; left-over bytes are an error.
pub fn decode<T: Decode<()>>(what: &'static str, bytes: &[u8]) -> Result<T, WireError> {
    let (value, used) =
        bincode::decode_from_slice(bytes, config::standard().with_limit::<DECODE_LIMIT>()).map_err(|source| WireError::Decode { what, source })?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(WireError::Trailing { what, left }),
    }
}
