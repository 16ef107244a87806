// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A bounded, checksummed disk queue of opaque records, for data that must not get lost between two programs.
//!
//! A spool has *lanes*, each a queue of its own with its own sequence of numbers and its own *epoch*, a random number that is drawn
//! when the lane is made. A record holds opaque bytes and says how many items are inside and of which times, so that a loss can be told
//! in items and times.
//!
//! # What holds
//! - A record for which [`Spool::append`] returned a number is on disk and synced. It stays until it is acknowledged ([`Spool::ack`]) or
//!   gives way. The process may be killed at any point.
//! - Numbers of a lane rise and are never used twice in an epoch, also over restarts, and also when the disk lost records that it had
//!   synced: every opening leaves numbers out.
//! - All segment files together stay within [`Options::max_bytes`]. When there is no room, the oldest records of the least important lane
//!   give way ([`LaneOptions::rank`]), a segment at a time. What may be on its way to the reader's other side does not
//!   ([`Spool::protect`]), so that nothing is told as lost that arrived.
//! - Every record that is lost is told once by [`Spool::take_lost`]: what gave way, and what the disk damaged.
//! - One process at a time: a second one gets [`SpoolError::InUse`].
//!
//! # On disk
//! One folder per lane, in it segments named `<epoch, 16 hex digits>-<first number, 20 digits>.seg`, which are only appended to and deleted
//! whole. A segment is a header and frames, see [`frame`]. Every opening begins a new one with its first record. The last segment of a lane
//! is never deleted: its name keeps the numbers.
//!
//! # Recovery
//! Opening reads the headers of all frames and, in the last segment, checks the contents too. A torn tail is cut: nobody was promised those
//! records. A damaged frame in front of good ones is replaced by a *hole* of the same size, and counted. A damaged content in an earlier
//! segment is found when it is read, then skipped and counted the same way.

mod disk;
mod frame;
mod lane;
mod lost;
mod segment;
mod spool;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod sim;

use std::{io, path::PathBuf, sync::Arc};

pub use lost::{LossCause, Lost};
pub use spool::Spool;

/// Longest content of a record: bounds what a reader allocates on behalf of a damaged length.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// How a spool is laid out.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: PathBuf,
    /// Bound on the bytes of all segment files.
    pub max_bytes: u64,
    /// A segment that reached this is closed. Smaller ones give space back sooner, larger ones cost fewer files.
    pub segment_bytes: u64,
    /// How many bytes of a lane may have been handed to the other side without an answer. So much at the head of each lane never gives way
    /// after a restart, since it may have arrived.
    pub window_bytes: u64,
    /// Numbers are given by position: the first lane is lane 0.
    pub lanes: Vec<LaneOptions>,
}

#[derive(Clone, Debug)]
pub struct LaneOptions {
    /// The lane's folder.
    pub name: &'static str,
    /// 0 is the most important. A lane's records push out those of lanes with the same or a higher rank, highest first.
    pub rank: u8,
    /// Bound on this lane alone.
    pub max_bytes: u64,
    pub when_full: WhenFull,
}

/// What happens at the bound of a single lane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenFull {
    /// New records are refused with [`SpoolError::Full`] until old ones are acknowledged.
    Refuse,
    /// The oldest records of the lane give way.
    DropOldest,
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub lane: usize,
    pub payload: &'a [u8],
    /// Items inside.
    pub records: u32,
    /// Times of the first and the last item.
    pub first_us: i64,
    pub last_us: i64,
}

/// A record as it is read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    pub sequence: u64,
    pub payload: Vec<u8>,
    pub records: u32,
    pub first_us: i64,
    pub last_us: i64,
}

/// How a lane stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LaneState {
    pub epoch: u64,
    /// The oldest number that is not acknowledged; `next` when there is none.
    pub first: u64,
    /// The number of the next record.
    pub next: u64,
    /// Bytes on disk, of acknowledged records too as long as their segment stands.
    pub bytes: u64,
    /// Time of the first item that is not acknowledged.
    pub oldest_us: Option<i64>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("spool {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    /// No room, and nothing that may give way.
    #[error("spool lane {lane} is full")]
    Full { lane: &'static str },
    #[error("record of {size} bytes is above the bound of {limit}")]
    TooLarge { size: usize, limit: usize },
}

impl SpoolError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SpoolError {
        let path = path.into();
        move |source| SpoolError::Io {
            operation,
            path,
            source: Arc::new(source),
        }
    }

    /// The disk has no room, or the user's quota.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, SpoolError::Io { source, .. } if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
