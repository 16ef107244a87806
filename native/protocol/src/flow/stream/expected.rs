// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use super::links::Link;
use super::table::key;

/// Packets that are kept; a power of two. Some [`super::model::KEPT_ROWS`] rows may be followed by up to three.
const PLACES: usize = 1 << 14;

/// Where a writer looks for the row that another one follows from, by the packet that is expected to. What is found has to be looked at: one packet may
/// push out another, or be taken for it.
#[derive(Default)]
pub(super) struct Expected(Vec<(u32, Link)>);

/// What is known of a packet that is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// It came by a port.
    AtPort,
    InTunnel,
    /// It is what a packet that came by a port became, before its tunnel.
    Became,
}

impl Seen {
    fn by(link: Link) -> Seen {
        match link {
            Link::Before => Seen::Became,
            link if link.is_transit() => Seen::InTunnel,
            _ => Seen::AtPort,
        }
    }
}

impl Expected {
    /// A row that may lead to this packet, as [`super::links::packet_of`] has it.
    pub(super) fn get(&self, packet: [u32; 4], seen: Seen) -> Option<(u32, Link)> {
        let found = self.0.get(place(packet, seen)).copied();
        // A place may have the same packet seen otherwise, which would make another row of it.
        found.filter(|(_, link)| Seen::by(*link) == seen)
    }

    pub(super) fn put(&mut self, packet: [u32; 4], number: u32, link: Link) {
        if self.0.is_empty() {
            // No row has this number yet that could be open.
            self.0.resize(PLACES, (u32::MAX, Link::Through));
        }
        self.0[place(packet, Seen::by(link))] = (number, link);
    }
}

fn place([source, destination, source_port, destination_port]: [u32; 4], seen: Seen) -> usize {
    let packet = key(seen as u32, source << 16 ^ source_port, destination << 16 ^ destination_port);
    packet as usize >> 8 & (PLACES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_shares_its_place_with_itself_seen_otherwise_is_not_taken_for_it() {
        let mut shared = (0..1 << 20).map(|port| [0, 1, 443, port]);
        let packet = shared
            .find(|packet| place(*packet, Seen::InTunnel) == place(*packet, Seen::Became))
            .unwrap();
        let mut expected = Expected::default();
        expected.put(packet, 7, Link::Through);
        assert_eq!(expected.get(packet, Seen::InTunnel), Some((7, Link::Through)));
        assert_eq!(expected.get(packet, Seen::Became), None);
    }
}
