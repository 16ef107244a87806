// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The fields of a row, and the dictionaries that number their values.

/// The numbers of a row by field.
pub(super) type Row = [u32; FIELDS];

pub(super) const HOST: usize = 0;
pub(super) const IN_PORT: usize = 1;
pub(super) const TUNNEL: usize = 2;
pub(super) const SOURCE: usize = 3;
pub(super) const DESTINATION: usize = 4;
pub(super) const HEADER: usize = 5;
pub(super) const SOURCE_PORT: usize = 6;
pub(super) const DESTINATION_PORT: usize = 7;
pub(super) const DATAPATH_PORT: usize = 8;
pub(super) const OUTS: usize = 9;
pub(super) const ETHERNET_SOURCE: usize = 10;
pub(super) const ETHERNET_DESTINATION: usize = 11;
pub(super) const PATH: usize = 12;
pub(super) const SHAPE: usize = 13;
/// Addresses and ports that actions set; the packet's own where they set none.
pub(super) const GIVEN_SOURCE: usize = 14;
pub(super) const GIVEN_DESTINATION: usize = 15;
pub(super) const GIVEN_SOURCE_PORT: usize = 16;
pub(super) const GIVEN_DESTINATION_PORT: usize = 17;
pub(super) const RESULT: usize = 18;
pub(super) const EXTRAS: usize = 19;
pub(super) const UNTRUSTED: usize = 20;
pub(super) const ICMP: usize = 21;
/// 1 where the packet came from another host.
pub(super) const TRANSIT: usize = 22;
/// All of [`FRAME_FIELDS`] together.
pub(super) const FRAME: usize = 23;
pub(super) const FIELDS: usize = 24;
/// What values of dictionaries are made of.
pub(super) const OUT: usize = 24;
pub(super) const DEVICE: usize = 25;
pub(super) const DEVICE_KIND: usize = 26;
pub(super) const RULE: usize = 27;
pub(super) const RULE_FLAGS: usize = 28;
pub(super) const ACTION: usize = 29;
pub(super) const DEVICES: usize = 30;
pub(super) const RULES: usize = 31;
pub(super) const PURPOSES: usize = 32;

/// What mostly comes together: most rows have these like one before.
pub(super) const FRAME_FIELDS: [usize; 10] = [
    HEADER,
    DATAPATH_PORT,
    OUTS,
    ETHERNET_SOURCE,
    ETHERNET_DESTINATION,
    PATH,
    SHAPE,
    RESULT,
    EXTRAS,
    UNTRUSTED,
];
pub(super) type Frame = [u32; FRAME_FIELDS.len()];

/// Values that were seen, numbered in the order of their first occurrence.
pub(super) mod of {
    pub(crate) const HOSTS: usize = 0;
    pub(crate) const PORTS: usize = 1;
    pub(crate) const TUNNELS: usize = 2;
    pub(crate) const ADDRESSES: usize = 3;
    pub(crate) const HEADERS: usize = 4;
    pub(crate) const OUTS: usize = 5;
    pub(crate) const MACS: usize = 6;
    pub(crate) const PATHS: usize = 7;
    pub(crate) const SHAPES: usize = 8;
    pub(crate) const EXTRAS: usize = 9;
    pub(crate) const IDS: usize = 10;
    pub(crate) const ACTIONS: usize = 11;
    pub(crate) const FRAMES: usize = 12;
    pub(crate) const COUNT: usize = 13;
}

/// The dictionary of a field, where it has one.
pub(super) const DICTIONARY: [Option<usize>; PURPOSES] = {
    let mut all = [None; PURPOSES];
    all[HOST] = Some(of::HOSTS);
    all[TUNNEL] = Some(of::TUNNELS);
    all[SOURCE] = Some(of::ADDRESSES);
    all[DESTINATION] = Some(of::ADDRESSES);
    all[HEADER] = Some(of::HEADERS);
    all[OUTS] = Some(of::OUTS);
    all[ETHERNET_SOURCE] = Some(of::MACS);
    all[ETHERNET_DESTINATION] = Some(of::MACS);
    all[PATH] = Some(of::PATHS);
    all[SHAPE] = Some(of::SHAPES);
    all[GIVEN_SOURCE] = Some(of::ADDRESSES);
    all[GIVEN_DESTINATION] = Some(of::ADDRESSES);
    all[EXTRAS] = Some(of::EXTRAS);
    all[IN_PORT] = Some(of::PORTS);
    all[FRAME] = Some(of::FRAMES);
    all[OUT] = Some(of::PORTS);
    all[DEVICE] = Some(of::IDS);
    all[RULE] = Some(of::IDS);
    all[ACTION] = Some(of::ACTIONS);
    all
};

/// Fields that make a packet of a connection.
pub(super) const PACKET: [usize; 4] = [SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT];
