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

impl Expected {
    /// A row that may lead to this packet, as [`super::links::packet_of`] has it.
    pub(super) fn get(&self, packet: [u32; 4], how: u8) -> Option<(u32, Link)> {
        self.0.get(place(packet, how)).copied()
    }

    pub(super) fn put(&mut self, packet: [u32; 4], how: u8, number: u32, link: Link) {
        if self.0.is_empty() {
            // No row has this number yet that could be open.
            self.0.resize(PLACES, (u32::MAX, Link::Through));
        }
        self.0[place(packet, how)] = (number, link);
    }
}

fn place([source, destination, source_port, destination_port]: [u32; 4], how: u8) -> usize {
    let packet = key(how.into(), source << 16 ^ source_port, destination << 16 ^ destination_port);
    packet as usize >> 8 & (PLACES - 1)
}
