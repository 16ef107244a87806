// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the datapath does with the packets of a flow.
//!
//! Binary form, big-endian (`BinarySerialization.ActionEncoder`): a count, then a tag and a payload for each action. An agent cuts the list off
//! after 127 actions. Lengths of byte strings are written modulo 256 while all of their bytes follow.

use std::net::Ipv4Addr;

use super::Fragment;
use crate::Mac;

/// Most actions that an agent writes into a binary record.
pub const MAX_AGENT_ACTIONS: usize = 127;

/// Bound of the work of finding wrapped lengths, in actions read beyond one reading per byte: a true list of 127 actions with an ICMP error of
/// 1,500 bytes in each needs fewer than 1,000.
const MAX_EXTRA_STEPS: usize = 65_536;

/// An action of the datapath.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Send by this port of the datapath.
    Output {
        port: u32,
    },
    PopVlan,
    PushVlan {
        tpid: u16,
        tci: u16,
    },
    /// Hand to the agent at this netlink port.
    Userspace {
        pid: i32,
        data: i64,
    },
    SetArp {
        sip: Ipv4Addr,
        tip: Ipv4Addr,
        op: u16,
        sha: Mac,
        tha: Mac,
    },
    SetEthernet {
        src: Mac,
        dst: Mac,
    },
    SetEtherType {
        ether_type: u16,
    },
    SetIcmpEcho {
        icmp_type: u8,
        code: u8,
        id: u16,
    },
    SetIcmpError {
        icmp_type: u8,
        code: u8,
        data: Vec<u8>,
    },
    SetIcmp {
        icmp_type: u8,
        code: u8,
    },
    SetIpv4 {
        src: Ipv4Addr,
        dst: Ipv4Addr,
        proto: u8,
        tos: u8,
        ttl: u8,
        fragment: Fragment,
    },
    SetTcp {
        src: u16,
        dst: u16,
    },
    /// The output that follows goes to the host with the underlay address `dst`.
    SetTunnel {
        id: u64,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        flags: u16,
        tos: u8,
        ttl: u8,
    },
    SetUdp {
        src: u16,
        dst: u16,
    },
    SetVlan {
        id: u16,
    },
    /// One that the agent's recorder can't name, for instance set-IPv6.
    Unknown,
}

/// A list of actions as read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Decoded {
    pub actions: Vec<Action>,
    /// The list ends early: the agent cut it off, or bytes in it could not be read.
    pub cut: bool,
}

/// Reads a list of actions from its binary form. Never fails: what can be read is given, and `cut` tells that it is not all.
pub fn decode(bytes: &[u8]) -> Decoded {
    let Some((&count, body)) = bytes.split_first() else {
        return Decoded::default();
    };
    // Above the cap there is no count that an agent writes.
    let count = usize::from(count).min(MAX_AGENT_ACTIONS);
    match Search::new(body, count).run() {
        Ok(actions) => Decoded {
            cut: count >= MAX_AGENT_ACTIONS && actions.len() == count,
            actions,
        },
        Err(actions) => Decoded { actions, cut: true },
    }
}

/// The binary form of a list of actions, all of them, whatever their number; the count in front stays at [`MAX_AGENT_ACTIONS`].
pub fn encode(actions: &[Action]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + actions.len() * 5);
    out.push(actions.len().min(MAX_AGENT_ACTIONS) as u8);
    actions.iter().for_each(|action| write(action, &mut out));
    out
}

fn write(action: &Action, out: &mut Vec<u8>) {
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    match action {
        Action::Output { port } => put(&[&[1], &port.to_be_bytes()]),
        Action::PopVlan => put(&[&[2]]),
        Action::PushVlan { tpid, tci } => put(&[&[3], &tpid.to_be_bytes(), &tci.to_be_bytes()]),
        Action::Userspace { pid, data } => put(&[&[4], &pid.to_be_bytes(), &data.to_be_bytes()]),
        Action::SetArp { sip, tip, op, sha, tha } => put(&[&[5], &sip.octets(), &tip.octets(), &op.to_be_bytes(), &[6], &sha.0, &[6], &tha.0]),
        Action::SetEthernet { src, dst } => put(&[&[6, 6], &src.0, &[6], &dst.0]),
        Action::SetEtherType { ether_type } => put(&[&[7], &ether_type.to_be_bytes()]),
        Action::SetIcmpEcho { icmp_type, code, id } => put(&[&[8, *icmp_type, *code], &id.to_be_bytes()]),
        Action::SetIcmpError { icmp_type, code, data } => put(&[&[9, *icmp_type, *code, data.len() as u8], data]),
        Action::SetIcmp { icmp_type, code } => put(&[&[10, *icmp_type, *code]]),
        Action::SetIpv4 {
            src,
            dst,
            proto,
            tos,
            ttl,
            fragment,
        } => put(&[&[11], &src.octets(), &dst.octets(), &[*proto, *tos, *ttl, fragment.code()]]),
        Action::SetTcp { src, dst } => put(&[&[12], &src.to_be_bytes(), &dst.to_be_bytes()]),
        Action::SetTunnel {
            id,
            src,
            dst,
            flags,
            tos,
            ttl,
        } => put(&[
            &[13],
            &id.to_be_bytes(),
            &src.octets(),
            &dst.octets(),
            &flags.to_be_bytes(),
            &[*tos, *ttl],
        ]),
        Action::SetUdp { src, dst } => put(&[&[14], &src.to_be_bytes(), &dst.to_be_bytes()]),
        Action::SetVlan { id } => put(&[&[15], &id.to_be_bytes()]),
        Action::Unknown => put(&[&[127]]),
    }
}

/// The place of a byte string whose length may have wrapped, and how often it is taken to have.
struct Choice {
    /// Where its action begins.
    at: usize,
    /// How many actions come before it.
    index: usize,
    wraps: usize,
}

/// Looks for the lengths with which the list ends where its bytes end. The first reading takes every length as it stands.
struct Search<'a> {
    body: &'a [u8],
    count: usize,
    steps_left: usize,
    actions: Vec<Action>,
    choices: Vec<Choice>,
}

impl<'a> Search<'a> {
    fn new(body: &'a [u8], count: usize) -> Self {
        Search {
            body,
            count,
            steps_left: body.len() + MAX_EXTRA_STEPS,
            actions: Vec::new(),
            choices: Vec::new(),
        }
    }

    /// All actions, or else what the first reading gave.
    fn run(mut self) -> Result<Vec<Action>, Vec<Action>> {
        let mut position = 0;
        let mut first_reading = None;
        let mut wraps = 0;
        loop {
            if self.forward(position, wraps) {
                return Ok(self.actions);
            }
            if first_reading.is_none() {
                if self.choices.is_empty() {
                    return Err(self.actions);
                }
                first_reading = Some(self.actions.clone());
            }
            let next = if self.steps_left == 0 { None } else { self.choices.pop() };
            let Some(choice) = next else {
                return Err(first_reading.unwrap_or_default());
            };
            self.actions.truncate(choice.index);
            position = choice.at;
            wraps = choice.wraps + 1;
        }
    }

    /// Reads on from `position`, taking the first action's length to have wrapped so often; true if the list then ends with the bytes.
    fn forward(&mut self, mut position: usize, mut wraps: usize) -> bool {
        // A list at the cap may go on: our own encoder writes all actions.
        while position < self.body.len() && (self.actions.len() < self.count || self.count >= MAX_AGENT_ACTIONS) {
            if self.steps_left == 0 {
                return false;
            }
            self.steps_left -= 1;
            let mut reader = Reader {
                bytes: &self.body[position..],
            };
            let Some(action) = read(&mut reader, wraps) else {
                return false;
            };
            if matches!(action, Action::SetIcmpError { .. }) {
                self.choices.push(Choice {
                    at: position,
                    index: self.actions.len(),
                    wraps,
                });
            }
            wraps = 0;
            position = self.body.len() - reader.bytes.len();
            self.actions.push(action);
        }
        position == self.body.len() && (self.actions.len() == self.count || (self.count >= MAX_AGENT_ACTIONS && self.actions.len() > self.count))
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn ipv4(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    fn mac(&mut self) -> Option<Mac> {
        if self.u8()? == 6 { self.array().map(Mac) } else { None }
    }
}

fn read(reader: &mut Reader<'_>, wraps: usize) -> Option<Action> {
    let r = reader;
    Some(match r.u8()? {
        1 => Action::Output {
            port: r.array().map(u32::from_be_bytes)?,
        },
        2 => Action::PopVlan,
        3 => Action::PushVlan {
            tpid: r.u16()?,
            tci: r.u16()?,
        },
        4 => Action::Userspace {
            pid: r.array().map(i32::from_be_bytes)?,
            data: r.array().map(i64::from_be_bytes)?,
        },
        5 => Action::SetArp {
            sip: r.ipv4()?,
            tip: r.ipv4()?,
            op: r.u16()?,
            sha: r.mac()?,
            tha: r.mac()?,
        },
        6 => Action::SetEthernet {
            src: r.mac()?,
            dst: r.mac()?,
        },
        7 => Action::SetEtherType { ether_type: r.u16()? },
        8 => Action::SetIcmpEcho {
            icmp_type: r.u8()?,
            code: r.u8()?,
            id: r.u16()?,
        },
        9 => {
            let (icmp_type, code) = (r.u8()?, r.u8()?);
            let length = usize::from(r.u8()?) + 256 * wraps;
            Action::SetIcmpError {
                icmp_type,
                code,
                data: r.slice(length)?.to_vec(),
            }
        }
        10 => Action::SetIcmp {
            icmp_type: r.u8()?,
            code: r.u8()?,
        },
        11 => {
            let (src, dst, proto, tos, ttl) = (r.ipv4()?, r.ipv4()?, r.u8()?, r.u8()?, r.u8()?);
            Action::SetIpv4 {
                src,
                dst,
                proto,
                tos,
                ttl,
                fragment: Fragment::from_code(r.u8()?),
            }
        }
        12 => Action::SetTcp {
            src: r.u16()?,
            dst: r.u16()?,
        },
        13 => {
            let (id, src, dst) = (r.array().map(u64::from_be_bytes)?, r.ipv4()?, r.ipv4()?);
            Action::SetTunnel {
                id,
                src,
                dst,
                flags: r.u16()?,
                tos: r.u8()?,
                ttl: r.u8()?,
            }
        }
        14 => Action::SetUdp {
            src: r.u16()?,
            dst: r.u16()?,
        },
        15 => Action::SetVlan { id: r.u16()? },
        127 => Action::Unknown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn icmp_error(size: usize) -> Action {
        // Bytes that are tags of actions without payload, so that a wrong length does not show at once.
        Action::SetIcmpError {
            icmp_type: 3,
            code: 1,
            data: vec![2; size],
        }
    }

    #[test]
    fn the_example_of_the_codec() {
        let bytes = hex::decode("020606020000000001060200000000020100000009").unwrap();
        let mac = |last| Mac([2, 0, 0, 0, 0, last]);
        let expected = vec![Action::SetEthernet { src: mac(1), dst: mac(2) }, Action::Output { port: 9 }];
        assert_eq!(
            decode(&bytes),
            Decoded {
                actions: expected.clone(),
                cut: false
            }
        );
        assert_eq!(encode(&expected), bytes);
    }

    #[test]
    fn wrapped_lengths_of_icmp_data_are_found() {
        for sizes in [vec![300], vec![256], vec![1500, 20, 700], vec![512; 9]] {
            let mut actions: Vec<Action> = sizes.into_iter().map(icmp_error).collect();
            actions.push(Action::Output { port: 5 });
            assert_eq!(decode(&encode(&actions)), Decoded { actions, cut: false });
        }
    }

    #[test]
    fn a_list_that_may_have_been_cut_off_says_so() {
        let actions = vec![Action::PopVlan; MAX_AGENT_ACTIONS];
        assert_eq!(decode(&encode(&actions)), Decoded { actions, cut: true });
        let actions = vec![Action::PopVlan; MAX_AGENT_ACTIONS + 1];
        assert_eq!(decode(&encode(&actions)), Decoded { actions, cut: false });
    }

    #[test]
    fn what_can_be_read_is_kept() {
        assert_eq!(decode(&[]), Decoded::default());
        assert_eq!(decode(&[0]), Decoded::default());
        assert_eq!(
            decode(&[2, 2, 99]),
            Decoded {
                actions: vec![Action::PopVlan],
                cut: true
            }
        );
        assert_eq!(
            decode(&[1, 2, 2]),
            Decoded {
                actions: vec![Action::PopVlan],
                cut: true
            }
        );
        assert_eq!(
            decode(&[2, 2]),
            Decoded {
                actions: vec![Action::PopVlan],
                cut: true
            }
        );
        assert_eq!(decode(&[1, 1, 0, 0]), Decoded { actions: vec![], cut: true });
    }

    /// Each length can be right here, and no reading ends with the bytes: the search gives up within its bound.
    #[test]
    fn the_search_is_bounded() {
        let mut bytes = vec![100];
        while bytes.len() < 200_000 {
            bytes.extend_from_slice(&[9, 0, 0, 0]);
        }
        assert!(Search::new(&bytes[1..], 100).steps_left <= bytes.len() + MAX_EXTRA_STEPS);
        let decoded = decode(&bytes);
        assert!(decoded.cut);
        assert_eq!(decoded.actions.len(), 100);
    }
}
