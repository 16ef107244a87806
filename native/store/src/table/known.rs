// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::HashMap, hash::Hash};

use crate::row::PathId;

/// Paths of a site that are durable already, so that they are not written again. Forgetting one costs a second copy, which a merge drops.
pub(crate) type KnownPaths = Known<(i64, PathId), ()>;

/// What is remembered for a while. Bounded: two generations, of which the older one is forgotten when the younger one is full.
#[derive(Debug)]
pub(crate) struct Known<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash, V> Known<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Holds at most twice `bound` afterwards.
    pub(crate) fn insert(&mut self, all: impl IntoIterator<Item = (K, V)>, bound: usize) {
        for (key, value) in all {
            if self.young.len() >= bound {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key, value);
        }
    }

    /// The files of some day went.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
