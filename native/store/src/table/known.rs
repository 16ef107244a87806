// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashSet;

use crate::row::PathId;

/// Paths of a site that are durable already, so that they are not written again. Forgetting one costs a second copy, which a merge drops.
/// Bounded: two generations, of which the older one is forgotten when the younger one is full.
#[derive(Debug, Default)]
pub(crate) struct KnownPaths {
    young: HashSet<(i64, PathId)>,
    old: HashSet<(i64, PathId)>,
}

impl KnownPaths {
    pub(crate) fn contains(&self, day: i64, path: PathId) -> bool {
        self.young.contains(&(day, path)) || self.old.contains(&(day, path))
    }

    /// Holds at most twice `bound` afterwards.
    pub(crate) fn insert(&mut self, paths: impl IntoIterator<Item = (i64, PathId)>, bound: usize) {
        for path in paths {
            if self.young.len() >= bound {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(path);
        }
    }

    /// The files of some day went.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
