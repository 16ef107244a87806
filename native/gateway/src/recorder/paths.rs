// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Paths repeat, so those that are alive are one in memory: flows that wait for their batch share them, and the batch looks at each once.

use std::{collections::HashSet, sync::Arc};

use insights_protocol::flow::Path;
use parking_lot::Mutex;

/// Paths that are remembered; twice as many when those of before are still used.
const MAX_PATHS: usize = 16_384;
/// Their devices and rules, some 20 bytes each: a site's paths have some 20, the longest that a record can hold 11,000.
const MAX_ENTRIES: usize = 512 << 10;

/// The paths of late.
#[derive(Debug, Default)]
pub(super) struct Paths(Mutex<Generations>);

/// Those that were used since the last change of generations, and those before.
#[derive(Debug, Default)]
struct Generations {
    young: HashSet<Arc<Path>>,
    entries: usize,
    old: HashSet<Arc<Path>>,
}

impl Paths {
    /// The one path in memory that is like this one.
    pub(super) fn intern(&self, path: Arc<Path>) -> Arc<Path> {
        let mut paths = self.0.lock();
        if let Some(known) = paths.young.get(&path) {
            return known.clone();
        }
        let path = paths.old.take(&path).unwrap_or(path);
        let entries = path.devices.len() + path.rules.len();
        if paths.young.len() >= MAX_PATHS || paths.entries + entries > MAX_ENTRIES {
            paths.old = std::mem::take(&mut paths.young);
            paths.entries = 0;
        }
        paths.entries += entries;
        paths.young.insert(path.clone());
        path
    }
}

#[cfg(test)]
mod tests {
    use insights_protocol::flow::Rule;

    use super::*;

    fn path(number: u32, rules: usize) -> Arc<Path> {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let rule = Rule {
            id,
            result: 1,
            matched: true,
            applied: false,
        };
        Arc::new(Path {
            devices: Vec::new(),
            rules: vec![rule; rules],
        })
    }

    #[test]
    fn like_paths_are_one_while_they_are_used() {
        let paths = Paths::default();
        let first = paths.intern(path(0, 2));
        for number in 1..4 * MAX_PATHS as u32 {
            paths.intern(path(number, 1));
            if number.is_multiple_of(1_000) {
                assert!(Arc::ptr_eq(&first, &paths.intern(path(0, 2))));
            }
        }
        assert!(!Arc::ptr_eq(&first, &paths.intern(path(0, 3))));
        let generations = paths.0.lock();
        assert!(generations.young.len() <= MAX_PATHS && generations.old.len() <= MAX_PATHS);
    }

    #[test]
    fn long_paths_cost_bounded_memory() {
        let paths = Paths::default();
        for number in 0..1_000 {
            paths.intern(path(number, 11_000));
        }
        let generations = paths.0.lock();
        let held = generations
            .young
            .iter()
            .chain(&generations.old)
            .map(|path| path.rules.len())
            .sum::<usize>();
        assert!(held <= 2 * MAX_ENTRIES, "{held}");
    }
}
