// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a number is expected to follow from.

use super::{fields::*, table::key};

/// Keys of what a field is expected to be.
pub(super) fn keys(field: usize, class: usize, from: Option<&Row>, row: &Row) -> (u32, u32) {
    let purpose = |which: u32| (field as u32) << 8 | (class as u32) << 5 | which << 1 | row[TRANSIT];
    let one = |a: usize| key(purpose(1), row[a], u32::MAX);
    let two = |a: usize, b: usize| key(purpose(2), row[a], row[b]);
    let by_ports = |which: u32| {
        key(
            purpose(which),
            row[IN_PORT] << 16 ^ row[OUTS],
            row[DESTINATION_PORT].min(row[SOURCE_PORT]),
        )
    };
    let nothing = key(purpose(0), 0, 0);
    if let Some(from) = from {
        let first = match field {
            FRAME => key(purpose(3), from[FRAME], row[TUNNEL]),
            PATH => key(purpose(3), from[PATH], from[OUTS] << 16 ^ from[IN_PORT]),
            HEADER => key(purpose(3), from[HEADER], from[SHAPE]),
            ICMP => key(purpose(3), from[ICMP], 0),
            SHAPE if row[TRANSIT] != 0 => key(purpose(3), from[OUTS], row[TUNNEL]),
            _ => key(purpose(3), from[SHAPE], from[if from[TRANSIT] != 0 { DESTINATION } else { IN_PORT }]),
        };
        let second = match field {
            HOST => key(purpose(4), from[SHAPE], u32::MAX),
            OUTS => two(IN_PORT, DESTINATION),
            FRAME => key(
                purpose(4),
                row[IN_PORT] << 16 ^ row[DESTINATION_PORT].min(row[SOURCE_PORT]),
                row[DESTINATION],
            ),
            PATH => by_ports(4),
            SHAPE => two(IN_PORT, OUTS),
            RESULT | EXTRAS | UNTRUSTED => two(HOST, PATH),
            _ => two(HOST, IN_PORT),
        };
        return (first, second);
    }
    if row[TRANSIT] != 0 {
        return match field {
            HOST | IN_PORT => (nothing, nothing),
            FRAME => (two(TUNNEL, DESTINATION), two(SOURCE, DESTINATION)),
            SOURCE => (one(TUNNEL), one(HOST)),
            DESTINATION => (one(TUNNEL), two(SOURCE, HOST)),
            HEADER => (two(SOURCE, DESTINATION), one(TUNNEL)),
            SOURCE_PORT => (two(SOURCE, DESTINATION), one(SOURCE)),
            DESTINATION_PORT => (two(SOURCE, DESTINATION), one(DESTINATION)),
            ETHERNET_SOURCE => (one(TUNNEL), two(TUNNEL, SOURCE)),
            SHAPE | ETHERNET_DESTINATION => (one(TUNNEL), two(TUNNEL, DESTINATION)),
            _ => (two(HOST, TUNNEL), one(HOST)),
        };
    }
    match field {
        IN_PORT => (nothing, nothing),
        HOST | DATAPATH_PORT | SOURCE => (one(IN_PORT), nothing),
        DESTINATION => (one(SOURCE), one(IN_PORT)),
        HEADER => (two(SOURCE, DESTINATION), one(IN_PORT)),
        SOURCE_PORT => (two(SOURCE, DESTINATION), one(SOURCE)),
        DESTINATION_PORT => (two(SOURCE, DESTINATION), one(DESTINATION)),
        OUTS => (two(IN_PORT, DESTINATION), key(purpose(3), row[DESTINATION], row[DESTINATION_PORT])),
        ETHERNET_SOURCE => (one(IN_PORT), one(SOURCE)),
        ETHERNET_DESTINATION => (two(IN_PORT, OUTS), one(IN_PORT)),
        FRAME => (
            key(purpose(3), row[SOURCE] << 16 ^ row[DESTINATION_PORT], row[DESTINATION]),
            key(purpose(4), row[IN_PORT] << 16 ^ row[DESTINATION_PORT], row[DESTINATION]),
        ),
        PATH => (key(purpose(3), row[SOURCE] << 16 ^ row[DESTINATION_PORT], row[DESTINATION]), by_ports(4)),
        SHAPE => (two(SOURCE, DESTINATION), two(IN_PORT, OUTS)),
        RESULT => (one(PATH), one(SHAPE)),
        ICMP => (two(SOURCE, DESTINATION), one(HEADER)),
        TUNNEL => (one(HOST), nothing),
        _ => (two(HOST, PATH), one(HOST)),
    }
}

/// Where the coding of a path stands: its parts mostly follow from those before them.
pub(super) struct Way {
    before: [u32; 2],
}

impl Way {
    pub(super) fn new(row: &Row) -> Way {
        Way {
            before: [u32::MAX, 1 << 31 | row[IN_PORT]],
        }
    }

    pub(super) fn step(&mut self, number: u32) {
        self.before = [self.before[1], number];
    }

    pub(super) fn length(&self, row: &Row, which: u32) -> (u32, u32) {
        (
            key((DEVICES as u32) << 8 | which, row[IN_PORT], row[OUTS]),
            key((RULES as u32) << 8 | which, self.before[1], row[DESTINATION_PORT]),
        )
    }

    pub(super) fn device(&self, row: &Row) -> (u32, u32) {
        (
            key((DEVICE as u32) << 8, self.before[1], row[OUTS]),
            key((DEVICE as u32) << 8 | 1, self.before[0], self.before[1]),
        )
    }

    pub(super) fn rule(&self, row: &Row) -> (u32, u32) {
        (
            key((RULE as u32) << 8, self.before[0] ^ row[DESTINATION_PORT] << 16, self.before[1]),
            key((RULE as u32) << 8 | 1, self.before[0], self.before[1]),
        )
    }

    /// What belongs to the last part.
    pub(super) fn of(&self) -> (u32, u32) {
        (
            key((RULE_FLAGS as u32) << 8, self.before[1], self.before[0]),
            key((RULE_FLAGS as u32) << 8 | 1, self.before[1], 0),
        )
    }
}

pub(super) fn out_keys(row: &Row, before: u32) -> (u32, u32) {
    (
        key((OUT as u32) << 8, row[DESTINATION], before),
        key((OUT as u32) << 8 | 1, row[IN_PORT], before),
    )
}

pub(super) fn action_keys(row: &Row, before: [u32; 2]) -> (u32, u32) {
    (
        key((ACTION as u32) << 8, row[HOST] << 16 ^ row[OUTS], before[1]),
        key((ACTION as u32) << 8 | 1, row[IN_PORT] ^ before[0] << 16, before[1]),
    )
}
