// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The commit log: what is durable and not in files yet.
//!
//! A folder of segments, each named by the first record that it may hold. A segment is an 8-byte magic, a big-endian `u32` version of the
//! frames and of the tables' columns, then frames: length `u32`, CRC-32 of length and payload `u32`, payload. A frame is one batch with its
//! cursor, so it is there as a whole or not at all. Frames of all sites that wait are a group: written together and made durable by one
//! `fdatasync`. The highest bit of the length marks the first one of a group.
//!
//! A crash may leave a torn tail in the newest segment, in any of the blocks of its last group. Nothing in that group was acknowledged; it is cut
//! off at the next start from the first frame on that is not whole, and comes again. What is not whole before is damage of the disk: it is
//! skipped, and told.

mod record;
mod recover;
mod segment;

pub(crate) use record::{LogRecord, LogTable};
pub(crate) use recover::{Damage, recover};
pub(crate) use segment::{LogWriter, create_dir, sync_dir};
