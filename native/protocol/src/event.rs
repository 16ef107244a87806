// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What happened at a gateway, for people.

use bincode::{Decode, Encode};

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// One event. Records that were given up are events too: [`Event::lost`].
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Event {
    pub at_us: i64,
    pub level: Level,
    /// A stable name such as `meters.unreachable`, `nsdb.session_lost`, `records.lost`.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// What a program wants to know of it, in order.
    pub fields: Vec<(String, String)>,
    /// Set when records were given up.
    pub lost: Option<Lost>,
}

/// Records that were given up: how many, of which kind, of which time, why.
#[derive(Clone, Debug, Encode, Decode, PartialEq)]
pub struct Lost {
    pub kind: crate::Kind,
    pub records: u64,
    pub first_us: i64,
    pub last_us: i64,
    pub cause: LossCause,
}

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LossCause {
    /// The queue before the spool was full.
    QueueFull,
    /// The spool was full and the oldest gave way.
    SpoolFull,
    /// Records that could not be decoded.
    Invalid,
    /// The spool could not be read back: a torn or damaged part of its disk.
    SpoolDamaged,
    /// The process ended before the records were on disk.
    Crash,
}
