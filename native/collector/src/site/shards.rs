// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use midonet::Mac;
use uuid::Uuid;

/// Parts of a map. A change copies one of them, a snapshot shares them all: with 100,000 entries a part has some 400.
const PARTS: usize = 256;

/// An ordered map of which snapshots are cheap: cloning shares its parts, and a change copies only the part that it touches, once per
/// snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    parts: Arc<Vec<Arc<BTreeMap<K, V>>>>,
    len: usize,
}

/// Says which part a key belongs to. For [`Uuid`] the parts are in the order of the keys, so iteration is too.
pub(crate) trait ShardKey: Ord + Clone {
    fn part(&self) -> u8;
}

impl<K: ShardKey, V: Clone> Shards<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.parts[usize::from(key.part())].get(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let old = self.part_mut(&key).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        // A miss must not copy the part.
        if !self.contains(key) {
            return None;
        }
        let old = self.part_mut(key).remove(key);
        self.len -= usize::from(old.is_some());
        old
    }

    /// The value of a key to change in place, made first if it is not there.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if !self.contains(&key) {
            self.insert(key.clone(), V::default());
        }
        self.part_mut(&key).entry(key).or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    fn part_mut(&mut self, key: &K) -> &mut BTreeMap<K, V> {
        let parts = Arc::make_mut(&mut self.parts);
        Arc::make_mut(&mut parts[usize::from(key.part())])
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Self {
            parts: Arc::new(vec![empty; PARTS]),
            len: 0,
        }
    }
}

impl ShardKey for Uuid {
    fn part(&self) -> u8 {
        self.as_bytes()[0]
    }
}

impl ShardKey for Mac {
    fn part(&self) -> u8 {
        self.0[5]
    }
}

impl ShardKey for IpAddr {
    fn part(&self) -> u8 {
        match self {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        }
    }
}

impl ShardKey for (Uuid, IpAddr) {
    fn part(&self) -> u8 {
        self.0.part() ^ self.1.part()
    }
}

impl ShardKey for Arc<str> {
    fn part(&self) -> u8 {
        // FNV-1a, folded: spreads paths that differ in few characters.
        let hash = self
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        (hash ^ (hash >> 8) ^ (hash >> 16) ^ (hash >> 24)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_does_not_see_later_changes() {
        let mut map = Shards::default();
        for number in 0..1000_u128 {
            map.insert(Uuid::from_u128(number << 112 | number), number);
        }
        let snapshot = map.clone();
        map.remove(&Uuid::from_u128(7 << 112 | 7));
        *map.entry(Uuid::from_u128(8 << 112 | 8)) = 80;
        *map.entry(Uuid::from_u128(u128::MAX)) += 5;
        assert_eq!((snapshot.len(), map.len()), (1000, 1000));
        assert_eq!(snapshot.get(&Uuid::from_u128(7 << 112 | 7)), Some(&7));
        assert_eq!(map.get(&Uuid::from_u128(7 << 112 | 7)), None);
        assert_eq!(
            (snapshot.get(&Uuid::from_u128(8 << 112 | 8)), map.get(&Uuid::from_u128(8 << 112 | 8))),
            (Some(&8), Some(&80))
        );
        assert_eq!(map.remove(&Uuid::from_u128(7 << 112 | 7)), None);
        assert_eq!(map.iter().count(), map.len());
        assert!(map.iter().map(|(key, _)| key).is_sorted());
    }
}
