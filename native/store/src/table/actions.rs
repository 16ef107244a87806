// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The actions of a flow as they are stored. They repeat much of the packet (addresses, ports), which makes nearly each of them unlike all
//! others; with references to the row's own fields in these places few different ones are left, and a dictionary holds them.
//!
//! Form: [`FOLDED`], then tokens: a byte `n` from 1 to 127 with `n` bytes of their own, or [`REFERENCE`] plus the number of a field.
//! Actions that begin with a byte below [`FOLDED`] (MidoNet's count of actions, 127 at most) and have nothing to refer to stay as they are.

use std::net::IpAddr;

use crate::row::FlowRow;

const FOLDED: u8 = 0xf0;
const REFERENCE: u8 = 0x80;

/// Bytes of a field, in MidoNet's coding of actions, and how many they are.
type Field = ([u8; 16], usize);

/// The fields that can be referred to, by number, where the row has them.
fn fields(row: &FlowRow) -> [Option<Field>; 6] {
    let sized = |bytes: &[u8]| {
        let mut field = [0; 16];
        field[..bytes.len()].copy_from_slice(bytes);
        (field, bytes.len())
    };
    let ip = |ip: Option<IpAddr>| {
        ip.map(|ip| match ip.to_canonical() {
            IpAddr::V4(ip) => sized(&ip.octets()),
            IpAddr::V6(ip) => sized(&ip.octets()),
        })
    };
    // Zeros are everywhere and stand for nothing.
    let port = |port: u16| (port != 0).then(|| sized(&port.to_be_bytes()));
    [
        row.src_mac.map(|mac| sized(&mac.0)),
        row.dst_mac.map(|mac| sized(&mac.0)),
        ip(row.src_ip),
        ip(row.dst_ip),
        port(row.src_tp),
        port(row.dst_tp),
    ]
}

/// The actions of a row as they are stored.
pub(super) fn fold(row: &FlowRow) -> Vec<u8> {
    let fields = fields(row);
    let actions = row.actions.as_slice();
    let mut out = vec![FOLDED];
    let mut own = 0;
    let mut at = 0;
    let mut refers = false;
    while at < actions.len() {
        let found = fields.iter().enumerate().find_map(|(number, field)| {
            let (bytes, length) = field.as_ref()?;
            actions[at..].starts_with(&bytes[..*length]).then_some((number as u8, *length))
        });
        match found {
            Some((number, length)) => {
                literal(&mut out, &actions[own..at]);
                out.push(REFERENCE + number);
                at += length;
                own = at;
                refers = true;
            }
            None => at += 1,
        }
    }
    literal(&mut out, &actions[own..]);
    if refers || actions.first().is_some_and(|first| *first >= FOLDED) {
        out
    } else {
        actions.to_vec()
    }
}

fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    for part in bytes.chunks(usize::from(REFERENCE) - 1) {
        out.push(part.len() as u8);
        out.extend_from_slice(part);
    }
}

/// What [`fold`] was given; the other fields of the row are those that it had then. What was never folded comes back as it is.
pub(super) fn unfold(row: &FlowRow, stored: &[u8]) -> Vec<u8> {
    let Some((&FOLDED, mut tokens)) = stored.split_first() else {
        return stored.to_vec();
    };
    let fields = fields(row);
    let mut out = Vec::with_capacity(stored.len() * 2);
    while let Some((token, rest)) = tokens.split_first() {
        tokens = rest;
        if *token >= REFERENCE {
            if let Some(Some((bytes, length))) = fields.get(usize::from(*token - REFERENCE)) {
                out.extend_from_slice(&bytes[..*length]);
            }
        } else {
            let (own, rest) = tokens.split_at(usize::from(*token).min(tokens.len()));
            out.extend_from_slice(own);
            tokens = rest;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{row::Mac, testing::flow};

    /// Bytes of which many are fields of the row.
    fn actions() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            Just(vec![10, 0, 0, 1]),
            Just(vec![10, 0, 0, 2]),
            Just(vec![2, 0, 0, 0, 0, 1]),
            Just(443_u16.to_be_bytes().to_vec()),
            Just(49_152_u16.to_be_bytes().to_vec()),
            Just(vec![0xfd; 16]),
            Just(vec![FOLDED]),
        ];
        prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_folded_comes_back(actions in actions(), v6 in any::<bool>(), known in any::<bool>(), src_tp in any::<u16>()) {
            let mut row = flow(1);
            row.actions = actions.clone();
            row.src_tp = src_tp;
            row.dst_mac = known.then_some(Mac([0; 6]));
            if v6 {
                row.src_ip = Some([0xfd_u8; 16].into());
                row.dst_ip = Some("::ffff:10.0.0.2".parse().unwrap());
            }
            let stored = fold(&row);
            let mut read = row.clone();
            // As it reads back.
            read.dst_ip = read.dst_ip.map(|ip| ip.to_canonical());
            read.actions.clear();
            prop_assert_eq!(unfold(&read, &stored), actions);
        }

        #[test]
        fn any_bytes_unfold_to_something(stored in prop::collection::vec(any::<u8>(), 0..64)) {
            let bound = stored.len() * 16;
            prop_assert!(unfold(&flow(1), &stored).len() <= bound);
        }
    }

    #[test]
    fn actions_that_differ_by_the_packet_alone_are_stored_alike() {
        let mut row = flow(1);
        row.actions = [&[2, 7][..], &[10, 0, 0, 1, 10, 0, 0, 2], &[9, 0xc0, 0x00, 0x01, 0xbb], &[1, 0, 0, 5]].concat();
        let first = fold(&row);
        let mut other = row.clone();
        other.src_ip = Some([10, 9, 9, 9].into());
        other.src_tp = 51_000;
        other.actions = [
            &[2, 7][..],
            &[10, 9, 9, 9, 10, 0, 0, 2, 9],
            &51_000_u16.to_be_bytes(),
            &[0x01, 0xbb],
            &[1, 0, 0, 5],
        ]
        .concat();
        assert_eq!(fold(&other), first);
        row.actions = vec![1, 1, 0, 0, 0, 7];
        assert_eq!(fold(&row), row.actions, "nothing to refer to");
    }
}
