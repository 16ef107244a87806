// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Values that are new to their dictionary. Each function writes the value that it is given, or gives the one that it reads.

use std::net::IpAddr;

use super::{
    coder::{Coder, Symbols},
    model::{Model, invalid},
    numbers::{Byte, Number, plain_bytes},
};
use crate::{WireError, flow::Tunnel};

/// How values of dictionaries are coded.
#[derive(Default)]
pub(super) struct Literals {
    pub(super) family: Symbols,
    pub(super) first_byte: Byte,
    pub(super) header: [Byte; 6],
    pub(super) length: Number<1>,
    pub(super) tunnel_key: Number<1>,
    pub(super) underlay: [Byte; 4],
    pub(super) mac: Byte,
    pub(super) bytes: Byte,
}

impl Model {
    pub(super) fn literals(&mut self) -> &mut Literals {
        &mut self.chances.literals
    }
}

pub(super) fn id<C: Coder>(coder: &mut C, id: [u8; 16]) -> [u8; 16] {
    plain_bytes(coder, id)
}

pub(super) fn port<C: Coder>(model: &mut Model, coder: &mut C, port: Option<[u8; 16]>) -> Option<[u8; 16]> {
    let some = coder.symbol(&mut model.literals().family, port.is_some().into()) != 0;
    some.then(|| plain_bytes(coder, port.unwrap_or_default()))
}

pub(super) fn tunnel<C: Coder>(model: &mut Model, coder: &mut C, tunnel: Tunnel) -> Tunnel {
    let literals = model.literals();
    let mut underlay = |address: u32| {
        let bytes = address.to_be_bytes();
        let bytes: [u8; 4] = std::array::from_fn(|at| literals.underlay[at].code(coder, bytes[at]));
        u32::from_be_bytes(bytes)
    };
    let (source, destination) = (underlay(tunnel.source), underlay(tunnel.destination));
    Tunnel {
        key: literals.tunnel_key.code(coder, tunnel.key),
        source,
        destination,
    }
}

pub(super) fn address<C: Coder>(model: &mut Model, coder: &mut C, address: Option<IpAddr>) -> Result<Option<IpAddr>, WireError> {
    let literals = model.literals();
    let (family, mut v4, mut v6) = match address {
        None => (0, [0; 4], [0; 16]),
        Some(IpAddr::V4(address)) => (1, address.octets(), [0; 16]),
        Some(IpAddr::V6(address)) => (2, [0; 4], address.octets()),
    };
    match coder.symbol(&mut literals.family, family) {
        0 => Ok(None),
        1 => {
            v4[0] = literals.first_byte.code(coder, v4[0]);
            let [_, rest @ ..] = v4;
            v4[1..].copy_from_slice(&plain_bytes(coder, rest));
            Ok(Some(v4.into()))
        }
        2 => {
            v6 = plain_bytes(coder, v6);
            Ok(Some(v6.into()))
        }
        _ => Err(invalid("address family")),
    }
}

pub(super) fn header<C: Coder>(model: &mut Model, coder: &mut C, header: [u8; 6]) -> [u8; 6] {
    let trees = &mut model.literals().header;
    std::array::from_fn(|at| trees[at].code(coder, header[at]))
}

/// By the bytes of a header: IPv4 and its protocol.
pub(super) fn is_icmp(header: &[u8; 6]) -> bool {
    matches!(header, [0x08, 0x00, 1, ..])
}

pub(super) fn mac<C: Coder>(model: &mut Model, coder: &mut C, mac: [u8; 6]) -> [u8; 6] {
    let tree = &mut model.literals().mac;
    mac.map(|byte| tree.code(coder, byte))
}

pub(super) fn count<C: Coder>(model: &mut Model, coder: &mut C, count: usize) -> Result<usize, WireError> {
    usize::try_from(model.literals().length.code(coder, count as u64)).map_err(|_| invalid("count"))
}

/// At most `limit` of them.
pub(super) fn bytes<C: Coder>(model: &mut Model, coder: &mut C, bytes: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let length = count(model, coder, bytes.len())?;
    if length > limit {
        return Err(invalid("length"));
    }
    let tree = &mut model.literals().bytes;
    Ok((0..length).map(|at| tree.code(coder, bytes.get(at).copied().unwrap_or(0))).collect())
}
