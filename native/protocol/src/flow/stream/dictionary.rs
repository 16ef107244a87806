// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Which numbers of a dictionary stand for values now, and which values are given up when all dictionaries together are above their bound: those that
//! were not used for the longest time. Both sides know when each was used, so they give up the same ones, and their numbers are given to new values.
//!
//! What is made of numbers of other dictionaries (frames, paths, shapes) keeps its parts: a part counts as used when it was. Rows and guesses
//! may hold numbers that stand for another value by then. That is true on both sides, so they are as good as any other guess.

use std::collections::BTreeMap;

use super::{
    fields::{DICTIONARY, FRAME_FIELDS, of},
    hosts::{COOKIES, HostMemory},
    model::Model,
};

/// The dictionaries of a stream, by [`of`].
pub(super) type Dictionaries = [Dictionary; of::COUNT];

/// What a reader keeps of a value of each dictionary, beside what is in lists, with what is known of its number.
const WEIGHTS: [usize; of::COUNT] = {
    let mut weights = [30; of::COUNT];
    weights[of::HOSTS] = 30 + 32 * COOKIES;
    weights[of::OUTS] = 50;
    weights[of::FRAMES] = 10 + 4 * FRAME_FIELDS.len();
    weights[of::PATHS] = 46;
    weights[of::SHAPES] = 54;
    weights[of::EXTRAS] = 110;
    weights[of::ACTIONS] = 42;
    weights
};

/// Above this, values are given up until three quarters of it are left. A simulated cloud of 30 tenants and 600 ports gets there after some 200,000 records of new
/// connections.
pub(super) const MAX_LIVE: usize = 7 << 20;
/// Above so many parts of it, with what numbers without a value take, everything is: it takes a stream that is of another nature every few minutes.
const MAX_KEPT: (usize, usize) = (19, 14);

/// The numbers of one dictionary.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    /// By number: the batch that used it last, 0 where there is no value.
    used: Vec<u16>,
    /// By number: what the value takes, beside what each one does.
    more: Vec<u32>,
    /// Numbers without a value; the last one is given next.
    free: Vec<u32>,
}

impl Dictionary {
    /// The number of the next new value.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.used.len() as u32)
    }

    #[inline]
    pub(super) fn has(&self, number: u32) -> bool {
        self.used.get(number as usize).is_some_and(|used| *used != 0)
    }

    #[inline]
    pub(super) fn touch(&mut self, number: u32, now: u16) {
        if let Some(used) = self.used.get_mut(number as usize) {
            *used = now;
        }
    }

    /// A new value, which takes so much more than others of its kind.
    pub(super) fn add(&mut self, now: u16, more: usize) -> u32 {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        match self.free.pop() {
            Some(number) => {
                (self.used[number as usize], self.more[number as usize]) = (now, more);
                number
            }
            None => {
                self.used.push(now);
                self.more.push(more);
                self.used.len() as u32 - 1
            }
        }
    }

    /// Numbers that were given so far, with and without values.
    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    /// Numbers without a value, in the order in which they are given from the last one on.
    pub(super) fn free(&self) -> &[u32] {
        &self.free
    }

    /// Gives up what was used before the batch, and how much that took beside what each value does.
    fn sweep(&mut self, before: u16) -> usize {
        let mut swept = 0;
        for (used, more) in self.used.iter_mut().zip(&mut self.more).filter(|(used, _)| **used < before) {
            *used = 0;
            swept += std::mem::take(more) as usize;
        }
        while self.used.pop_if(|used| *used == 0).is_some() {
            self.more.pop();
        }
        self.free = (0..self.used.len() as u32)
            .rev()
            .filter(|number| self.used[*number as usize] == 0)
            .collect();
        swept
    }
}

/// Who keeps the values of dictionaries.
pub(super) trait Keeper {
    /// Tells of the values that are made of others: dictionary and number, then those of a part.
    fn parts(&self, tell: &mut dyn FnMut(usize, u32, usize, u32));

    /// Gives up the values whose numbers have none any more.
    fn forget(&mut self, dictionaries: &Dictionaries);
}

impl Model {
    /// Ends a batch. `false` if everything is to be forgotten, on both sides.
    pub(super) fn end_batch(&mut self, keeper: &mut impl Keeper) -> bool {
        if self.live() > self.max_live {
            self.sweep(keeper);
        }
        self.now = self.now.saturating_add(1);
        self.kept() <= self.max_live / MAX_KEPT.1 * MAX_KEPT.0
    }

    /// Bytes that values take, roughly and on both sides alike.
    fn live(&self) -> usize {
        let each = |(dictionary, weight): (&Dictionary, usize)| (dictionary.len() - dictionary.free.len()) * weight;
        self.more + self.dictionaries.iter().zip(WEIGHTS).map(each).sum::<usize>()
    }

    /// The same with the places of values that were given up.
    pub(super) fn kept(&self) -> usize {
        self.more
            + self
                .dictionaries
                .iter()
                .zip(WEIGHTS)
                .map(|(dictionary, weight)| dictionary.len() * weight)
                .sum::<usize>()
    }

    fn sweep(&mut self, keeper: &mut impl Keeper) {
        self.use_parts(keeper);
        let mut by_batch = BTreeMap::<u16, usize>::new();
        for (dictionary, weight) in self.dictionaries.iter().zip(WEIGHTS) {
            for (used, more) in dictionary.used.iter().zip(&dictionary.more).filter(|(used, _)| **used != 0) {
                *by_batch.entry(*used).or_default() += weight + *more as usize;
            }
        }
        let mut kept = 0;
        let newest = by_batch.into_iter().rev().take_while(|(_, bytes)| {
            kept += bytes;
            kept <= self.max_live / 4 * 3
        });
        let first_kept = newest.last().map_or(self.now.saturating_add(1), |(batch, _)| batch);
        for dictionary in &mut self.dictionaries {
            self.more -= dictionary.sweep(first_kept);
        }
        self.frames.truncate(self.dictionaries[of::FRAMES].len());
        for number in self.dictionaries[of::HOSTS].free() {
            if let Some(memory) = self.hosts.get_mut(*number as usize) {
                *memory = HostMemory::default();
            }
        }
        self.hosts.truncate(self.dictionaries[of::HOSTS].len());
        keeper.forget(&self.dictionaries);
    }

    /// What is made of others uses them.
    fn use_parts(&mut self, keeper: &impl Keeper) {
        let dictionaries = &mut self.dictionaries;
        let mut part = |of: usize, number: u32, part_of: usize, part: u32| {
            let used = dictionaries[of].used.get(number as usize).copied().unwrap_or(0);
            if let Some(before) = dictionaries[part_of].used.get_mut(part as usize).filter(|before| **before != 0) {
                *before = used.max(*before);
            }
        };
        for (number, frame) in self.frames.iter().enumerate() {
            for (field, value) in FRAME_FIELDS.into_iter().zip(frame) {
                if let Some(dictionary) = DICTIONARY[field] {
                    part(of::FRAMES, number as u32, dictionary, *value);
                }
            }
        }
        keeper.parts(&mut |of, number, of_part, number_of_part| part(of, number, of_part, number_of_part));
    }
}
