// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

/// Why records were lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LossCause {
    /// They gave way to newer or more important ones.
    Evicted,
    /// The disk did not give them back as they were written.
    Damaged,
}

/// Records that were lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lost {
    pub lane: usize,
    pub cause: LossCause,
    /// Items, not spool records.
    pub records: u64,
    /// Times of the first and the last item; for damaged records those of their neighbours where their own can't be read.
    pub first_us: i64,
    pub last_us: i64,
}

/// Losses that nobody asked for yet, at most one per lane and cause: later ones are added to it.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<Lost>);

impl Losses {
    pub(crate) fn add(&mut self, lost: Lost) {
        if lost.records == 0 {
            return;
        }
        match self.0.iter_mut().find(|known| known.lane == lost.lane && known.cause == lost.cause) {
            Some(known) => {
                known.records += lost.records;
                known.first_us = known.first_us.min(lost.first_us);
                known.last_us = known.last_us.max(lost.last_us);
            }
            None => self.0.push(lost),
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.0)
    }
}
