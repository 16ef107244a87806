// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a row's numbers are expected to be. Writer and reader hold the same [`Memory`] and feed it the same rows.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The numbers of a row by field; the pair numbers source, destination and whether the packet came by a tunnel; ports and times stand apart.
pub(super) type Row = [u64; FIELDS];

pub(super) const PAIR: usize = 0;
pub(super) const SOURCE: usize = 1;
pub(super) const DESTINATION: usize = 2;
/// 0 for none, else one more than the number of the id.
pub(super) const IN_PORT: usize = 3;
/// Ether type, protocol, type of service, time to live, fragment.
pub(super) const HEADER: usize = 4;
pub(super) const HOST: usize = 5;
pub(super) const DATAPATH_PORT: usize = 6;
pub(super) const ETHERNET_SOURCE: usize = 7;
pub(super) const ETHERNET_DESTINATION: usize = 8;
pub(super) const PATH: usize = 9;
pub(super) const OUT_PORTS: usize = 10;
pub(super) const ACTIONS: usize = 11;
pub(super) const RESULT: usize = 12;
pub(super) const TUNNEL: usize = 13;
pub(super) const EXTRAS: usize = 14;
pub(super) const UNTRUSTED: usize = 15;
pub(super) const ICMP: usize = 16;
/// 1 where the packet came by no port of the virtual topology but from another host: part of the pair, since both hosts tell of a packet.
pub(super) const TUNNELLED: usize = 17;
pub(super) const FIELDS: usize = 18;

/// Fields that are written where they are not as expected, in this order: each from what stands before it.
pub(super) const EXPECTED: [usize; 14] = [
    IN_PORT,
    HEADER,
    HOST,
    DATAPATH_PORT,
    OUT_PORTS,
    ETHERNET_SOURCE,
    ETHERNET_DESTINATION,
    PATH,
    ACTIONS,
    RESULT,
    TUNNEL,
    EXTRAS,
    UNTRUSTED,
    ICMP,
];

/// What else a field follows from where its pair is new or came in by another port: the last row with the same values there.
const FROM: [(usize, usize); FIELDS] = {
    let mut from = [(IN_PORT, IN_PORT); FIELDS];
    from[IN_PORT] = (SOURCE, SOURCE);
    from[OUT_PORTS] = (IN_PORT, DESTINATION);
    from[ETHERNET_DESTINATION] = (IN_PORT, OUT_PORTS);
    from[PATH] = (IN_PORT, OUT_PORTS);
    from[ACTIONS] = (IN_PORT, OUT_PORTS);
    from[RESULT] = (PATH, PATH);
    from[EXTRAS] = (PATH, PATH);
    from[UNTRUSTED] = (HOST, HOST);
    from[ICMP] = (HEADER, HEADER);
    from
};

/// The last rows. Its size is bounded by the rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By pair.
    pairs: Vec<Option<Row>>,
    /// By field and the values that it follows from.
    others: HashMap<Key, u64, Numbered>,
    /// By pair: source and destination port.
    ports: Vec<Option<(u16, u16)>>,
    /// By the number of a list of ports: its first one, as [`IN_PORT`] has it.
    first_outs: Vec<u64>,
    /// The other way around.
    lists: HashMap<u64, u64, Numbered>,
}

type Key = (usize, u64, u64);

/// The pair that tells most of a row: for a packet from a tunnel the same one as its first host told it, else that of the other direction.
pub(super) fn other_side(row: &Row) -> (u64, u64) {
    match row[TUNNELLED] {
        0 => (row[DESTINATION], row[SOURCE] << 1),
        _ => (row[SOURCE], row[DESTINATION] << 1),
    }
}

/// The ports of that pair's last row, as this row would have them.
pub(super) fn as_told(row: &Row, (source, destination): (u16, u16)) -> (u16, u16) {
    match row[TUNNELLED] {
        0 => (destination, source),
        _ => (source, destination),
    }
}

impl Memory {
    /// What a field is expected to be, from the fields before it. `answers` is the pair of [`other_side`].
    pub(super) fn expected(&self, field: usize, row: &Row, answers: Option<u64>) -> u64 {
        let last = |pair: u64| self.pairs.get(pair as usize).and_then(Option::as_ref);
        if field == IN_PORT && row[TUNNELLED] != 0 {
            return 0;
        }
        // A pair's packets may come in by several ports; what follows from these is then other as well.
        if let Some(last) = last(row[PAIR])
            && (field == IN_PORT || last[IN_PORT] == row[IN_PORT])
        {
            return last[field];
        }
        if let Some(number) = self.others.get(&key(field, row)) {
            return *number;
        }
        match (field, answers.and_then(last)) {
            // The host at the other end of the tunnel told where it leaves.
            (OUT_PORTS, Some(first)) if row[TUNNELLED] != 0 => first[OUT_PORTS],
            // Answers come in where the question went out, and the other way around.
            (IN_PORT, Some(question)) => self.first_outs.get(question[OUT_PORTS] as usize).copied().unwrap_or(0),
            (OUT_PORTS, Some(question)) => self.lists.get(&question[IN_PORT]).copied().unwrap_or(0),
            // Nothing stands before this one.
            (IN_PORT, None) => 0,
            _ => self.others.get(&(field, u64::MAX, row[IN_PORT])).copied().unwrap_or(0),
        }
    }

    /// The ports that the last packet of a pair had.
    pub(super) fn ports(&self, pair: u64) -> Option<(u16, u16)> {
        *self.ports.get(pair as usize)?
    }

    /// Takes a row over. `first_out` is the first port that it leaves by, as [`IN_PORT`] has it.
    pub(super) fn learn(&mut self, row: &Row, ports: (u16, u16), first_out: u64) {
        put(&mut self.pairs, row[PAIR] as usize, Some(*row));
        put(&mut self.ports, row[PAIR] as usize, Some(ports));
        put(&mut self.first_outs, row[OUT_PORTS] as usize, first_out);
        self.lists.insert(first_out, row[OUT_PORTS]);
        for field in EXPECTED {
            if field == IN_PORT && row[TUNNELLED] != 0 {
                continue;
            }
            self.others.insert(key(field, row), row[field]);
            if field != IN_PORT && FROM[field] != (IN_PORT, IN_PORT) {
                self.others.insert((field, u64::MAX, row[IN_PORT]), row[field]);
            }
        }
    }
}

fn key(field: usize, row: &Row) -> Key {
    let (first, second) = match row[TUNNELLED] {
        0 => FROM[field],
        _ => (DESTINATION, TUNNELLED),
    };
    (field, row[first], row[second])
}

/// Hashes numbers fast, from a random start: who sends batches can't choose numbers that meet.
#[derive(Clone, Debug)]
pub(crate) struct Numbered(u64);

impl Default for Numbered {
    fn default() -> Self {
        Numbered(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Numbered {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher(self.0)
    }
}

pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.write_u64(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // A multiplication by an odd number with bits all over, and its high half back into the low one.
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// A chain of numbers, in which each is expected to be the one that came after its two predecessors the last time, or else after one.
#[derive(Debug, Default)]
pub(super) struct Chain {
    next: HashMap<(u64, u64), u64, Numbered>,
}

impl Chain {
    /// The number that followed; 0 for none, else one more.
    pub(super) fn expected(&self, before: [u64; 2]) -> u64 {
        let known = self.next.get(&(before[0], before[1])).or_else(|| self.next.get(&(u64::MAX, before[1])));
        known.copied().unwrap_or(0)
    }

    pub(super) fn learn(&mut self, before: [u64; 2], number: u64) {
        self.next.insert((before[0], before[1]), number.saturating_add(1));
        self.next.insert((u64::MAX, before[1]), number.saturating_add(1));
    }
}

fn put<T: Clone + Default>(values: &mut Vec<T>, at: usize, value: T) {
    if at >= values.len() {
        values.resize(at + 1, T::default());
    }
    values[at] = value;
}
