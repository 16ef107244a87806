// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! How the records of a connection follow from each other: a packet is told of where it came in and where its tunnel ends, and so is its answer.

use super::{coder::Coder, fields::*, model::Side};

/// How a row follows from one before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Link {
    /// The same packet at the other end of its tunnel.
    Through,
    /// The answer, or the question.
    Answer,
    /// The answer at the other end of its tunnel, of which only the other end has told so far.
    AnswerThrough,
    /// The packet before its tunnel.
    Before,
}

impl Link {
    pub(super) const ALL: [Link; 4] = [Link::Through, Link::Answer, Link::AnswerThrough, Link::Before];

    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(super) fn is_transit(self) -> bool {
        matches!(self, Link::Through | Link::AnswerThrough)
    }
}

/// A row that others may follow from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) number: u32,
    pub(super) links: u8,
}

/// The packet that follows by a link, as [`PACKET`] has it.
pub(super) fn packet_of<C: Coder, S: Side<C>>(side: &S, from: &Row, link: Link) -> [u32; 4] {
    let answer = |source: usize, destination: usize, source_port: usize, destination_port: usize| {
        // Of an echo, the ports are type and code.
        let ports = if side.is_icmp(from[HEADER]) {
            [0, 0]
        } else {
            [from[destination_port], from[source_port]]
        };
        [from[destination], from[source], ports[0], ports[1]]
    };
    match link {
        Link::Through => [
            from[GIVEN_SOURCE],
            from[GIVEN_DESTINATION],
            from[GIVEN_SOURCE_PORT],
            from[GIVEN_DESTINATION_PORT],
        ],
        Link::Answer => answer(GIVEN_SOURCE, GIVEN_DESTINATION, GIVEN_SOURCE_PORT, GIVEN_DESTINATION_PORT),
        Link::AnswerThrough => answer(SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT),
        Link::Before => PACKET.map(|field| from[field]),
    }
}
