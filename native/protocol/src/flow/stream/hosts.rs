// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The threads of agents: each counts its own cookies and leaves traces of the packet before.

use super::{
    coder::Coder,
    fields::*,
    model::{Model, Side},
};
use crate::WireError;

/// Cookies of a host that are kept: its threads take turns.
pub(super) const COOKIES: usize = 32;

#[derive(Default)]
pub(super) struct HostMemory {
    cookie: u64,
    /// By the lowest bits of the cookie: the cookie and the port.
    in_ports: Vec<(u64, u32)>,
    /// Cookies from one packet of a thread to its next, once that showed.
    turn: u64,
}

impl HostMemory {
    /// The port of the packet so many cookies before.
    fn before(&self, cookie: u64, turn: u64) -> Option<u32> {
        let wanted = cookie.wrapping_sub(turn);
        let (of, port) = self.in_ports.get(wanted as usize % COOKIES)?;
        (*of == wanted && turn > 0).then_some(*port)
    }
}

impl Model {
    pub(super) fn cookie<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &S, host: u32) -> u64 {
        if self.hosts.len() <= host as usize {
            self.hosts.resize_with(host as usize + 1, HostMemory::default);
        }
        let memory = &mut self.hosts[host as usize];
        let step = self.chances.cookie.signed(coder, side.cookie().wrapping_sub(memory.cookie) as i64);
        let cookie = memory.cookie.wrapping_add(step as u64);
        memory.cookie = cookie.wrapping_add(1);
        cookie
    }

    /// Of a packet that came by no port an agent tells the port of the packet that the same thread had before.
    pub(super) fn stale_port<C: Coder, S: Side<C>>(&mut self, coder: &mut C, side: &mut S, cookie: u64, row: &mut Row) -> Result<(), WireError> {
        let host = row[HOST] as usize;
        let guess = self.hosts[host]
            .before(cookie, self.hosts[host].turn)
            .filter(|guess| self.has(IN_PORT, *guess));
        let number = side.number(IN_PORT);
        if let Some(guess) = guess
            && coder.bit(&mut self.chances.stale, guess == number)
        {
            row[IN_PORT] = guess;
            return Ok(());
        }
        self.field(coder, side, IN_PORT, 0, None, row)?;
        // Which thread it was may show now.
        let memory = &mut self.hosts[host];
        if let Some(turn) = (1..COOKIES as u64).find(|turn| memory.before(cookie, *turn) == Some(row[IN_PORT])) {
            memory.turn = turn;
        }
        Ok(())
    }

    pub(super) fn note_port(&mut self, row: &Row, cookie: u64) {
        let ports = &mut self.hosts[row[HOST] as usize].in_ports;
        if ports.is_empty() {
            ports.resize(COOKIES, (u64::MAX, 0));
        }
        ports[cookie as usize % COOKIES] = (cookie, row[IN_PORT]);
    }
}
