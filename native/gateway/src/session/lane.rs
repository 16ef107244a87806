// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How far one kind of data is on the connection.

use std::{collections::VecDeque, time::Duration};

use insights_protocol::control::{Cursor, StreamState};

use super::WINDOW_BYTES;

#[derive(Debug, Default)]
pub(super) struct Lane {
    epoch: u64,
    /// The spool holds records below this number.
    next: u64,
    /// The next number to send.
    send: u64,
    /// On the way: number and bytes, oldest first.
    flight: VecDeque<(u64, usize)>,
    flight_bytes: usize,
    /// Last time that something was acknowledged, or was sent with nothing on the way.
    moved_at: Duration,
    paused: Option<Duration>,
    work: Work,
    highest_sent: u64,
}

/// What the shell does for a lane.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Work {
    #[default]
    None,
    /// Reads from the first number on, when the spool held records below the second one.
    Loading(u64, u64),
    Writing,
}

impl Lane {
    /// A connection begins: nothing is on the way.
    pub(super) fn begin(&mut self, state: StreamState) {
        let StreamState { epoch, first, next, .. } = state;
        *self = Lane {
            epoch,
            next: next.max(self.next),
            send: first,
            ..Lane::default()
        };
    }

    pub(super) fn end(&mut self) {
        *self = Lane {
            epoch: self.epoch,
            next: self.next,
            send: self.send,
            ..Lane::default()
        };
    }

    /// The cursor is behind everything that the spool ever gave: the spool is an older copy of itself.
    pub(super) fn is_behind(&self, cursor: &Cursor) -> bool {
        self.is_of(cursor) && cursor.sequence >= self.next
    }

    pub(super) fn is_of(&self, cursor: &Cursor) -> bool {
        self.epoch == cursor.epoch
    }

    pub(super) fn never_sent(&self, cursor: &Cursor) -> bool {
        self.is_of(cursor) && cursor.sequence >= self.send.max(self.highest_sent + 1)
    }

    /// `true` when it was new.
    pub(super) fn ack(&mut self, now: Duration, sequence: u64) -> bool {
        let new = sequence >= self.send || self.flight.front().is_some_and(|(first, _)| *first <= sequence);
        while let Some(&(_, bytes)) = self.flight.front().filter(|(number, _)| *number <= sequence) {
            self.flight_bytes -= bytes;
            self.flight.pop_front();
        }
        self.send = self.send.max(sequence + 1);
        self.moved_at = now;
        new
    }

    /// Everything that is not acknowledged is to be sent again, after a pause.
    pub(super) fn retry(&mut self, until: Duration) {
        self.send = self.flight.front().map_or(self.send, |(first, _)| *first);
        self.flight.clear();
        self.flight_bytes = 0;
        self.paused = Some(until);
        self.work = Work::None;
    }

    pub(super) fn paused_until(&self) -> Option<Duration> {
        self.paused
    }

    pub(super) fn resume(&mut self, now: Duration) {
        self.paused.take_if(|until| now >= *until);
    }

    pub(super) fn stalled_at(&self, time: Duration) -> Option<Duration> {
        (!self.flight.is_empty()).then(|| self.moved_at + time)
    }

    pub(super) fn stored(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    pub(super) fn load(&mut self) -> Option<u64> {
        let may = self.work == Work::None && self.paused.is_none() && self.send < self.next && self.flight_bytes < WINDOW_BYTES;
        if may {
            self.work = Work::Loading(self.send, self.next);
        }
        may.then_some(self.send)
    }

    pub(super) fn loaded(&mut self, now: Duration, from: u64, found: Option<(u64, usize)>) -> bool {
        let Work::Loading(asked, next) = self.work else { return false };
        if asked != from {
            return false; // Asked for before a retry or on another connection.
        }
        self.work = Work::None;
        if self.send != from {
            return false; // Acknowledged meanwhile.
        }
        let Some((sequence, bytes)) = found else {
            // All that the spool held then was lost, which it told. What came since has higher numbers.
            self.send = next;
            return false;
        };
        if self.flight.is_empty() {
            self.moved_at = now;
        }
        self.work = Work::Writing;
        self.flight.push_back((sequence, bytes));
        self.flight_bytes += bytes;
        self.send = sequence + 1;
        self.next = self.next.max(self.send);
        self.highest_sent = self.highest_sent.max(sequence);
        true
    }

    /// What was read is not sent now. `false`, as [`Lane::loaded`] has it.
    pub(super) fn cancel(&mut self) -> bool {
        self.work = Work::None;
        false
    }

    pub(super) fn written(&mut self) {
        if self.work == Work::Writing {
            self.work = Work::None;
        }
    }

    /// Nothing is on the way.
    pub(super) fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.work != Work::Writing
    }

    /// Everything was sent.
    pub(super) fn is_at_end(&self) -> bool {
        self.send >= self.next
    }
}
