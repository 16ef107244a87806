// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The commit log: what is durable and not in files yet.
//!
//! A folder of segments, each named by the first record that it may hold. A segment is an 8-byte magic, a big-endian `u32` version of the
//! tables' columns, then frames: length `u32`, CRC-32 of the payload `u32`, payload. A frame is one batch with its cursor, so it is there
//! as a whole or not at all. Frames of all sites that wait are written together and made durable by one `fdatasync`.
//!
//! A crash may leave a torn tail in the newest segment. Nothing in it was acknowledged; it is cut off at the next start, which then begins
//! a new segment. Damage anywhere else is an error.

mod record;
mod recover;
mod segment;

pub(crate) use record::{LogRecord, LogTable};
pub(crate) use recover::recover;
pub(crate) use segment::{LogWriter, create_dir, sync_dir};
