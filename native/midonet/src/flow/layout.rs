// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use super::action::{self, MAX_AGENT_ACTIONS};
use super::binary::{u16_at, uuid_at};
use super::{Device, DeviceKind, FlowError, FlowRecord, RuleHit, RuleResult, Untrusted};

pub(super) const GROUP_HEADER_BYTES: usize = 3;

/// Groups in their order, with their block lengths.
pub(super) const GROUPS: [Group; 5] = [
    Group {
        name: "flowMatchIcmpData",
        block: 1,
        wrapped: Untrusted::ICMP_DATA_COUNT,
    },
    Group {
        name: "flowMatchVlanIds",
        block: 2,
        wrapped: Untrusted::VLAN_COUNT,
    },
    Group {
        name: "outPorts",
        block: 16,
        wrapped: Untrusted::OUT_PORT_COUNT,
    },
    Group {
        name: "traversedRules",
        block: 19,
        wrapped: Untrusted::RULE_COUNT,
    },
    Group {
        name: "traversedDevices",
        block: 17,
        wrapped: Untrusted::DEVICE_COUNT,
    },
];

/// Bound of the search for wrapped counts, in group headers looked at. A record at the size bound has 800 possible counts of one-byte entries
/// and fewer of each other kind; nearly all are refused by the header that must follow.
const MAX_HEADERS_TRIED: usize = 16_384;

/// Bound of the readings whose entries are looked at during that search.
const MAX_READINGS_TRIED: usize = 32;

pub(super) struct Group {
    name: &'static str,
    pub(super) block: usize,
    wrapped: Untrusted,
}

/// Where the groups and the actions of a record lie.
pub(super) struct Layout {
    groups: [Span; 5],
    /// Where the length byte before the actions stands.
    actions_at: usize,
    wrapped: Untrusted,
}

#[derive(Clone, Copy, Default)]
struct Span {
    /// The first entry.
    at: usize,
    count: usize,
    block: usize,
}

impl Span {
    fn entries(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        bytes[self.at..self.at + self.count * self.block].chunks_exact(self.block)
    }
}

impl Layout {
    pub(super) fn find(bytes: &[u8], groups_at: usize) -> Result<Layout, FlowError> {
        let plain = Layout::plain(bytes, groups_at);
        if let Ok(layout) = &plain
            && layout.is_convincing(bytes)
        {
            return plain;
        }
        match Search::new(bytes, groups_at).run() {
            Some(layout) => Ok(layout),
            None => plain,
        }
    }

    /// The reading with every count as it stands. Block lengths are those of the record, which a later version may have made longer.
    fn plain(bytes: &[u8], groups_at: usize) -> Result<Layout, FlowError> {
        let mut at = groups_at;
        let mut groups = [Span::default(); 5];
        for (span, group) in groups.iter_mut().zip(&GROUPS) {
            let left = bytes.len() - at;
            let (block, count) = group_header(bytes, at).ok_or(FlowError::Short {
                what: group.name,
                at,
                needed: GROUP_HEADER_BYTES,
                left,
            })?;
            if block < group.block {
                return Err(FlowError::Structure {
                    at: groups_at,
                    size: bytes.len(),
                });
            }
            at += GROUP_HEADER_BYTES;
            *span = Span { at, count, block };
            if bytes.len() - at < count * block {
                return Err(FlowError::Structure {
                    at: groups_at,
                    size: bytes.len(),
                });
            }
            at += count * block;
        }
        let length = *bytes.get(at).ok_or(FlowError::Short {
            what: "length of flowActions",
            at,
            needed: 1,
            left: 0,
        })?;
        let found = bytes.len() - at - 1;
        if found % 256 != usize::from(length) {
            return Err(FlowError::Structure {
                at: groups_at,
                size: bytes.len(),
            });
        }
        let wrapped = if found > 255 { Untrusted::ACTIONS_LENGTH } else { Untrusted::empty() };
        Ok(Layout {
            groups,
            actions_at: at,
            wrapped,
        })
    }

    /// Whether all codes are known and the actions can be read: by chance that does not happen.
    fn is_convincing(&self, bytes: &[u8]) -> bool {
        let [_, _, _, rules, devices] = &self.groups;
        rules
            .entries(bytes)
            .all(|entry| (1..=7).contains(&entry[16]) && entry[17] <= 1 && entry[18] <= 1)
            && devices.entries(bytes).all(|entry| (1..=8).contains(&entry[16]))
            && !self.actions(bytes).is_empty()
            && {
                let decoded = action::decode(self.actions(bytes));
                !decoded.cut || decoded.actions.len() == MAX_AGENT_ACTIONS
            }
    }

    fn actions<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.actions_at + 1..]
    }

    pub(super) fn read(&self, bytes: &[u8], record: &mut FlowRecord) {
        let [icmp_data, vlan_ids, out_ports, rules, devices] = &self.groups;
        record.icmp_data = icmp_data.entries(bytes).map(|entry| entry[0]).collect();
        record.vlan_ids = vlan_ids.entries(bytes).map(|entry| u16_at(entry, 0)).collect();
        record.out_ports = out_ports.entries(bytes).map(|entry| uuid_at(entry, 0)).collect();
        record.rules = rules
            .entries(bytes)
            .map(|entry| RuleHit {
                id: uuid_at(entry, 0),
                result: RuleResult::from_code(entry[16]),
                matched: entry[17] == 1,
                applied: entry[18] == 1,
            })
            .collect();
        record.devices = devices
            .entries(bytes)
            .map(|entry| Device {
                id: uuid_at(entry, 0),
                kind: DeviceKind::from_code(entry[16]),
            })
            .collect();
        let decoded = action::decode(self.actions(bytes));
        record.actions = decoded.actions;
        record.untrusted |= self.wrapped;
        if decoded.cut {
            record.untrusted |= Untrusted::ACTIONS_CUT;
        }
    }
}

/// Depth-first search for counts with which each group is followed by the header of the next and the record ends where its bytes end; fewest
/// wraps of the first group first.
struct Search<'a> {
    bytes: &'a [u8],
    groups_at: usize,
    headers_left: usize,
    readings_left: usize,
    groups: [Span; 5],
}

impl<'a> Search<'a> {
    fn new(bytes: &'a [u8], groups_at: usize) -> Self {
        Search {
            bytes,
            groups_at,
            headers_left: MAX_HEADERS_TRIED,
            readings_left: MAX_READINGS_TRIED,
            groups: [Span::default(); 5],
        }
    }

    fn run(mut self) -> Option<Layout> {
        let (block, count) = group_header(self.bytes, self.groups_at)?;
        if block != GROUPS[0].block {
            None
        } else {
            self.group(0, self.groups_at + GROUP_HEADER_BYTES, count)
        }
    }

    /// The reading in which group `index` has its entries at `at`, and `count` of them modulo 256. Recursion is five deep at most.
    fn group(&mut self, index: usize, at: usize, count: usize) -> Option<Layout> {
        let block = GROUPS[index].block;
        let mut count = count;
        while self.headers_left > 0 && self.readings_left > 0 {
            let end = at + count * block;
            if end >= self.bytes.len() {
                return None;
            }
            self.headers_left -= 1;
            self.groups[index] = Span { at, count, block };
            let found = match GROUPS.get(index + 1) {
                None => self.end(end),
                Some(next) => group_header(self.bytes, end)
                    .filter(|(found, _)| *found == next.block)
                    .and_then(|(_, next_count)| self.group(index + 1, end + GROUP_HEADER_BYTES, next_count)),
            };
            if found.is_some() {
                return found;
            }
            count += 256;
        }
        None
    }

    fn end(&mut self, actions_at: usize) -> Option<Layout> {
        let found = self.bytes.len() - actions_at - 1;
        if found % 256 != usize::from(self.bytes[actions_at]) {
            return None;
        }
        self.readings_left -= 1;
        let mut wrapped = if found > 255 { Untrusted::ACTIONS_LENGTH } else { Untrusted::empty() };
        for (span, group) in self.groups.iter().zip(&GROUPS) {
            if span.count > 255 {
                wrapped |= group.wrapped;
            }
        }
        Some(Layout {
            groups: self.groups,
            actions_at,
            wrapped,
        })
        .filter(|layout| layout.is_convincing(self.bytes))
    }
}

/// Block length and count of a group.
fn group_header(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let [low, high, count] = *bytes.get(at..)?.first_chunk::<GROUP_HEADER_BYTES>()?;
    Some((usize::from(u16::from_le_bytes([low, high])), usize::from(count)))
}

#[cfg(test)]
mod tests {
    use super::super::binary::{HEADER_BYTES, ROOT_BYTES};
    use super::super::{MAX_RECORD_BYTES, binary, encode_binary};
    use super::*;

    /// Headers of all groups at every place: each reading goes far, none to the end.
    #[test]
    fn the_search_is_bounded() {
        let mut bytes = encode_binary(&FlowRecord::empty(uuid::Uuid::nil())).unwrap();
        bytes.truncate(HEADER_BYTES + ROOT_BYTES);
        bytes.extend_from_slice(&[1, 0, 0]);
        while bytes.len() < MAX_RECORD_BYTES - 3 {
            bytes.extend_from_slice(&[2, 0, 0, 16, 0, 0, 19, 0, 0, 17, 0, 0]);
        }
        let mut search = Search::new(&bytes, HEADER_BYTES + ROOT_BYTES);
        assert!(search.group(0, HEADER_BYTES + ROOT_BYTES + GROUP_HEADER_BYTES, 0).is_none());
        assert!(search.headers_left < MAX_HEADERS_TRIED);
        assert!(binary::decode(&bytes).is_err());
    }
}
