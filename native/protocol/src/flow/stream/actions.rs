// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the actions of a flow say beyond the packet itself: their *shape*, which many flows share, and the addresses and ports that the packet
//! gets.
//!
//! In MidoNet's binary form each action is a tag and a payload of a known length. In a shape, the addresses and ports that an action sets are
//! replaced by [`OWN`], where the packet has the same already, or by [`GIVEN`].

use std::ops::Range;

/// First byte of a shape: actions as they are, or folded.
const AS_IS: u8 = 0;
const FOLDED: u8 = 1;

const OWN: u8 = 0;
const GIVEN: u8 = 1;

const SET_IPV4: u8 = 11;
const SET_TCP: u8 = 12;
const SET_TUNNEL: u8 = 13;
const SET_UDP: u8 = 14;

/// Lengths of payloads by tag; `None` where they vary or the tag is not known.
fn payload(tag: u8) -> Option<usize> {
    Some(match tag {
        2 | 127 => 0,
        7 | 10 | 15 => 2,
        1 | 3 | 8 | SET_TCP | SET_UDP => 4,
        4 | SET_IPV4 => 12,
        6 => 14,
        SET_TUNNEL => 20,
        5 => 24,
        _ => return None,
    })
}

/// Source and destination, where they are IPv4, and ports.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Packet {
    pub(super) addresses: [Option<[u8; 4]>; 2],
    pub(super) ports: [u16; 2],
}

/// What the packet gets: source and destination.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Given {
    pub(super) addresses: [Option<[u8; 4]>; 2],
    pub(super) ports: [Option<u16>; 2],
}

/// What a shape asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Asks {
    pub(super) addresses: [bool; 2],
    pub(super) ports: [bool; 2],
    /// The packet leaves through a tunnel.
    pub(super) tunnel: bool,
    /// The packet goes somewhere.
    pub(super) forwards: bool,
    /// It says nothing of the packet: actions are the same for all.
    pub(super) constant: bool,
}

/// Writes the shape and gives the rest.
pub(super) fn fold(actions: &[u8], packet: &Packet, shape: &mut Vec<u8>) -> Given {
    shape.clear();
    shape.push(FOLDED);
    match folded(actions, packet, shape) {
        Some(given) => given,
        None => {
            shape.clear();
            shape.push(AS_IS);
            shape.extend_from_slice(actions);
            Given::default()
        }
    }
}

fn folded(actions: &[u8], packet: &Packet, shape: &mut Vec<u8>) -> Option<Given> {
    let mut given = Given::default();
    let (mut addressed, mut ported) = (false, false);
    let (count, mut rest) = actions.split_first()?;
    shape.push(*count);
    while let Some((tag, body)) = rest.split_first() {
        let (body, after) = body.split_at_checked(payload(*tag)?)?;
        rest = after;
        shape.push(*tag);
        match *tag {
            SET_IPV4 => {
                if std::mem::replace(&mut addressed, true) {
                    return None;
                }
                for (end, bytes) in body[..8].chunks_exact(4).enumerate() {
                    let bytes = <[u8; 4]>::try_from(bytes).ok()?;
                    let own = packet.addresses[end] == Some(bytes);
                    shape.push(if own { OWN } else { GIVEN });
                    given.addresses[end] = (!own).then_some(bytes);
                }
                shape.extend_from_slice(&body[8..]);
            }
            SET_TCP | SET_UDP => {
                if std::mem::replace(&mut ported, true) {
                    return None;
                }
                for (end, bytes) in body.chunks_exact(2).enumerate() {
                    let port = u16::from_be_bytes(bytes.try_into().ok()?);
                    let own = packet.ports[end] == port;
                    shape.push(if own { OWN } else { GIVEN });
                    given.ports[end] = (!own).then_some(port);
                }
            }
            _ => shape.extend_from_slice(body),
        }
    }
    Some(given)
}

/// The parts of a shape: what stands before the first action, then its actions.
pub(super) fn parts(shape: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut at = if let Some([FOLDED, _]) = shape.first_chunk() { 2 } else { shape.len() };
    parts.push(0..at);
    while let Some(tag) = shape.get(at) {
        let length = match *tag {
            SET_IPV4 => 7,
            SET_TCP | SET_UDP => 3,
            tag => payload(tag).map_or(shape.len() - at, |length| 1 + length),
        };
        let end = (at + length).min(shape.len());
        parts.push(at..end);
        at = end;
    }
    parts
}

/// What a shape asks for; `None` if no writer made it.
pub(super) fn asks(shape: &[u8]) -> Option<Asks> {
    let mut asks = Asks {
        constant: true,
        // The first byte of actions counts them.
        forwards: shape.get(1).is_some_and(|count| *count > 0),
        ..Asks::default()
    };
    walk(shape, |part| match part {
        Part::Address(end, given) => {
            asks.addresses[end] |= given;
            asks.constant = false;
        }
        Part::Port(end, given) => {
            asks.ports[end] |= given;
            asks.constant = false;
        }
        Part::Bytes(tag, _) => asks.tunnel |= tag == SET_TUNNEL,
    })?;
    Some(asks)
}

/// The actions again. `None` if no writer made the shape for this packet.
pub(super) fn unfold(shape: &[u8], packet: &Packet, given: &Given, actions: &mut Vec<u8>) -> Option<()> {
    actions.clear();
    let mut whole = true;
    walk(shape, |part| match part {
        Part::Address(end, is_given) => match if is_given { given.addresses[end] } else { packet.addresses[end] } {
            Some(bytes) => actions.extend_from_slice(&bytes),
            None => whole = false,
        },
        Part::Port(end, is_given) => match if is_given { given.ports[end] } else { Some(packet.ports[end]) } {
            Some(port) => actions.extend_from_slice(&port.to_be_bytes()),
            None => whole = false,
        },
        Part::Bytes(_, bytes) => actions.extend_from_slice(bytes),
    })?;
    whole.then_some(())
}

enum Part<'a> {
    /// Source 0 or destination 1, and whether it is given.
    Address(usize, bool),
    Port(usize, bool),
    /// A tag, 0 for none, and bytes as they are.
    Bytes(u8, &'a [u8]),
}

fn walk<'a>(shape: &'a [u8], mut part: impl FnMut(Part<'a>)) -> Option<()> {
    let (form, body) = shape.split_first()?;
    if *form == AS_IS {
        part(Part::Bytes(0, body));
        return Some(());
    }
    let (count, mut rest) = body.split_at_checked(1)?;
    part(Part::Bytes(0, count));
    while let Some(tag) = rest.first() {
        let two = |rest: &[u8]| Some([*rest.get(1)? == GIVEN, *rest.get(2)? == GIVEN]);
        match *tag {
            SET_IPV4 => {
                let [source, destination] = two(rest)?;
                part(Part::Bytes(*tag, &rest[..1]));
                part(Part::Address(0, source));
                part(Part::Address(1, destination));
                let (fields, after) = rest[3..].split_at_checked(4)?;
                part(Part::Bytes(0, fields));
                rest = after;
            }
            SET_TCP | SET_UDP => {
                let [source, destination] = two(rest)?;
                part(Part::Bytes(*tag, &rest[..1]));
                part(Part::Port(0, source));
                part(Part::Port(1, destination));
                rest = &rest[3..];
            }
            other => {
                let (bytes, after) = rest.split_at_checked(1 + payload(other)?)?;
                part(Part::Bytes(other, bytes));
                rest = after;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn action() -> impl Strategy<Value = Vec<u8>> {
        let tag = prop_oneof![Just(SET_IPV4), Just(SET_TCP), Just(SET_UDP), any::<u8>()];
        (tag, vec(0u8..3, 24)).prop_map(|(tag, bytes)| [&[tag], &bytes[..payload(tag).unwrap_or(3)]].concat())
    }

    proptest! {
        #[test]
        fn what_is_folded_comes_back(
            list in vec(action(), 0..4), cut in 0usize..9, addresses in any::<[Option<[bool; 4]>; 2]>(), ports in any::<[bool; 2]>(),
        ) {
            let mut actions = vec![list.len() as u8];
            actions.extend(list.concat());
            actions.truncate(actions.len().saturating_sub(cut.saturating_sub(4)));
            let packet = Packet { addresses: addresses.map(|some| some.map(|bits| bits.map(u8::from))), ports: ports.map(|one| u16::from(one) * 257) };
            let mut shape = Vec::new();
            let given = fold(&actions, &packet, &mut shape);
            let asked = asks(&shape).unwrap();
            prop_assert_eq!(asked.addresses, given.addresses.map(|some| some.is_some()));
            prop_assert_eq!(asked.ports, given.ports.map(|some| some.is_some()));
            let mut unfolded = vec![7];
            unfold(&shape, &packet, &given, &mut unfolded).unwrap();
            prop_assert_eq!(unfolded, actions);
        }

        #[test]
        fn no_shape_harms(shape in vec(prop_oneof![Just(1u8), Just(11), Just(12), any::<u8>()], 0..40)) {
            let packet = Packet { addresses: [Some([1; 4]), None], ports: [1, 2] };
            prop_assert_eq!(asks(&shape).is_none() && unfold(&shape, &packet, &Given::default(), &mut Vec::new()).is_some(), false);
        }
    }
}
