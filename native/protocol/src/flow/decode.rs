// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::encode::{SECTIONS, port};
use super::predict::{
    ACTIONS, Chain, DATAPATH_PORT, DESTINATION, ETHERNET_DESTINATION, ETHERNET_SOURCE, EXPECTED, EXTRAS, FIELDS, HEADER, HOST, ICMP, IN_PORT, Memory,
    Numbered, OUT_PORTS, PAIR, PATH, RESULT, Row, SOURCE, TUNNEL, TUNNELLED, UNTRUSTED, as_told, other_side,
};
use super::{Device, Extras, FlowFact, Id, MAX_PATH_ENTRIES, Path, Rule, Tunnel};
use crate::WireError;
use crate::column::{NumbersReader, Reader};

/// The records of a batch. A number that no dictionary has is an error, so no memory is larger than what came.
pub(crate) fn decode_columns(bytes: &[u8]) -> Result<Vec<FlowFact>, WireError> {
    let mut all = Reader::new("flow batch", bytes);
    let mut head = all.block("flow batch")?;
    let rows: usize = head.narrow("row count")?;
    if rows > crate::batch::MAX_RECORDS {
        return Err(WireError::TooLarge {
            what: "rows of a flow batch",
            size: rows,
            limit: crate::batch::MAX_RECORDS,
        });
    }
    let first_us = head.zigzag()?;
    let pair_count: usize = head.narrow("pair count")?;
    let path_count: usize = head.narrow("path count")?;
    head.finish()?;
    let mut sections = Vec::with_capacity(SECTIONS.len());
    for name in SECTIONS {
        sections.push(all.block(name)?);
    }
    all.finish()?;
    let Ok(sections) = <[Reader<'_>; SECTIONS.len()]>::try_from(sections) else {
        return Err(invalid("sections"));
    };
    let [
        mut ids,
        tunnels,
        macs,
        addresses,
        extras,
        headers,
        path_lengths,
        path_devices,
        path_kinds,
        path_rules,
        path_flags,
        outs,
        actions,
        pair_sources,
        pair_destinations,
        received,
        cookie,
        pair,
        unexpected,
        mut modes,
        low_ports,
        high_ports,
        in_port,
        header,
        host,
        datapath_port,
        ethernet_source,
        ethernet_destination,
        path,
        mut rest,
    ] = sections;
    if modes.left() != rows || pair_count > rows || path_count > rows {
        return Err(invalid("row count"));
    }

    let mut id_values: Vec<Id> = Vec::with_capacity(ids.left() / 16);
    while ids.left() > 0 {
        id_values.push(ids.array()?);
    }
    let ids = id_values;
    let tunnels = dictionary(tunnels, |block| {
        Ok(Tunnel {
            key: block.varint()?,
            source: u32::from_be_bytes(block.array()?),
            destination: u32::from_be_bytes(block.array()?),
        })
    })?;
    let macs = dictionary(macs, Reader::array::<6>)?;
    let addresses = dictionary(addresses, read_address)?;
    let extras = dictionary(extras, |block| {
        let vlans = (0..block.count()?).map(|_| block.narrow("VLAN")).collect::<Result<_, _>>()?;
        let length = block.count()?;
        Ok(Arc::new(Extras {
            vlans,
            icmp_data: block.take(length)?.to_vec(),
        }))
    })?;
    let headers = dictionary(headers, Reader::array::<6>)?;
    let paths = read_paths(path_count, path_lengths, [path_devices, path_kinds, path_rules, path_flags], &ids)?;
    let mut out_entries = 0;
    let outs = dictionary(outs, |block| {
        let count = block.count()?;
        out_entries += count;
        if out_entries > MAX_PATH_ENTRIES {
            return Err(WireError::TooLarge {
                what: "out ports of a batch",
                size: out_entries,
                limit: MAX_PATH_ENTRIES,
            });
        }
        (0..count).map(|_| pick(&ids, block.varint()?)).collect::<Result<Arc<[Id]>, _>>()
    })?;
    let actions = dictionary(actions, |block| {
        let length = block.count()?;
        block.take(length).map(Arc::<[u8]>::from)
    })?;
    let pairs = read_pairs(pair_count, pair_sources, pair_destinations, addresses.len() as u64)?;
    // As a row's port has it; the writer numbers an id once.
    let id_numbers: HashMap<Id, u64> = ids.iter().zip(1..).map(|(id, number)| (*id, number)).collect();
    let numbers: HashMap<(u64, u64), u64, Numbered> = pairs.iter().zip(0u64..).map(|(pair, number)| (*pair, number)).collect();

    let mut columns: [Option<NumbersReader<'_>>; FIELDS] = Default::default();
    for (field, column) in [
        (IN_PORT, in_port),
        (HEADER, header),
        (HOST, host),
        (DATAPATH_PORT, datapath_port),
        (ETHERNET_SOURCE, ethernet_source),
        (ETHERNET_DESTINATION, ethernet_destination),
        (PATH, path),
    ] {
        columns[field] = Some(NumbersReader::new(column)?);
    }
    for field in [OUT_PORTS, ACTIONS, RESULT, TUNNEL, EXTRAS, UNTRUSTED, ICMP] {
        columns[field] = Some(NumbersReader::new(rest.block("rest")?)?);
    }
    rest.finish()?;
    let (mut received, mut cookie, mut pair) = (NumbersReader::new(received)?, NumbersReader::new(cookie)?, NumbersReader::new(pair)?);
    let (mut unexpected, mut low_ports, mut high_ports) = (
        NumbersReader::new(unexpected)?,
        NumbersReader::new(low_ports)?,
        NumbersReader::new(high_ports)?,
    );

    let mut flows = Vec::with_capacity(rows);
    let mut memory = Memory::default();
    let mut cookies: HashMap<u64, u64, Numbered> = HashMap::default();
    let mut received_us = first_us;
    for _ in 0..rows {
        received_us = received_us.wrapping_add(received.zigzag()?);
        let mut row: Row = [0; FIELDS];
        row[PAIR] = pair.next()?;
        let (source, destination) = pick(&pairs, row[PAIR])?;
        (row[SOURCE], row[DESTINATION], row[TUNNELLED]) = (source, destination >> 1, destination & 1);
        let answers = numbers.get(&other_side(&row)).copied();
        let misses = unexpected.next()?;
        for (bit, field) in EXPECTED.into_iter().enumerate() {
            row[field] = match &mut columns[field] {
                Some(column) if misses & 1 << bit != 0 => column.next()?,
                _ => memory.expected(field, &row, answers),
            };
            // What others follow from must be a number that is there.
            let limit = match field {
                IN_PORT => ids.len() + 1,
                HEADER => headers.len(),
                HOST => ids.len(),
                PATH => paths.len(),
                OUT_PORTS => outs.len(),
                _ => continue,
            };
            if row[field] >= limit as u64 {
                return Err(invalid("number"));
            }
        }
        let last_cookie = cookies.entry(row[HOST]).or_insert(0);
        *last_cookie = last_cookie.wrapping_add(cookie.zigzag()? as u64);

        let mode = modes.byte()?;
        let last = memory.ports(row[PAIR]);
        let answered = answers.and_then(|pair| memory.ports(pair)).map(|ports| as_told(&row, ports));
        let mut read_port = |mode: u8, last: Option<u16>, answered: Option<u16>| match mode {
            port::SAME => last.ok_or(invalid("port")),
            port::ANSWER => answered.ok_or(invalid("port")),
            port::LOW => narrow(low_ports.next()?),
            port::HIGH => narrow(high_ports.next()?),
            _ => Err(invalid("port")),
        };
        let tp_src = read_port(mode & 3, last.map(|last| last.0), answered.map(|other| other.0))?;
        let tp_dst = read_port(mode >> 2, last.map(|last| last.1), answered.map(|other| other.1))?;
        let out_ports = pick(&outs, row[OUT_PORTS])?;
        let first_out = out_ports.first().map_or(0, |id| id_numbers.get(id).copied().unwrap_or(0));
        memory.learn(&row, (tp_src, tp_dst), first_out);

        let [high, low, proto, tos, ttl, fragment] = pick(&headers, row[HEADER])?;
        flows.push(FlowFact {
            received_us,
            host: pick(&ids, row[HOST])?,
            cookie: *last_cookie,
            sim_result: narrow(row[RESULT])?,
            in_port: row[IN_PORT].checked_sub(1).map(|number| pick(&ids, number)).transpose()?,
            dp_in_port: narrow(row[DATAPATH_PORT])?,
            tunnel: pick(&tunnels, row[TUNNEL])?,
            eth_src: pick(&macs, row[ETHERNET_SOURCE])?,
            eth_dst: pick(&macs, row[ETHERNET_DESTINATION])?,
            ether_type: u16::from_be_bytes([high, low]),
            net_src: pick(&addresses, row[SOURCE])?,
            net_dst: pick(&addresses, row[DESTINATION])?,
            proto,
            tos,
            ttl,
            fragment,
            tp_src,
            tp_dst,
            icmp_id: narrow(row[ICMP])?,
            extras: pick(&extras, row[EXTRAS])?,
            path: pick(&paths, row[PATH])?,
            out_ports,
            actions: pick(&actions, row[ACTIONS])?,
            untrusted: narrow(row[UNTRUSTED])?,
        });
    }
    let own = [&received, &cookie, &pair, &unexpected, &low_ports, &high_ports];
    if own.into_iter().chain(columns.iter().flatten()).all(NumbersReader::is_done) {
        Ok(flows)
    } else {
        Err(invalid("length of a column"))
    }
}

fn read_paths(count: usize, mut lengths: Reader<'_>, columns: [Reader<'_>; 4], ids: &[Id]) -> Result<Vec<Arc<Path>>, WireError> {
    let [devices, kinds, rules, flags] = columns.map(NumbersReader::new);
    let (mut devices, mut kinds, mut rules, mut flags) = (devices?, kinds?, rules?, flags?);
    let (mut device_chain, mut kind_chain) = (Chain::default(), Chain::default());
    let (mut rule_chain, mut flag_chain) = (Chain::default(), Chain::default());
    let mut entries = 0;
    // The first ids are those of the paths, in this order.
    let mut new = 0;
    let mut paths = Vec::with_capacity(count.min(lengths.left()));
    for _ in 0..count {
        let (device_count, rule_count): (usize, usize) = (lengths.narrow("devices")?, lengths.narrow("rules")?);
        entries = device_count.saturating_add(rule_count).saturating_add(entries);
        if entries > MAX_PATH_ENTRIES {
            return Err(WireError::TooLarge {
                what: "paths of a batch",
                size: entries,
                limit: MAX_PATH_ENTRIES,
            });
        }
        let mut path = Path::default();
        let mut before = [0; 2];
        for _ in 0..device_count {
            let number = chained(before, &mut new, &mut device_chain, &mut devices, ids)?;
            before = [before[1], number + 1];
            path.devices.push(Device {
                id: pick(ids, number)?,
                kind: flagged(before[1], &mut kind_chain, &mut kinds)?,
            });
        }
        for _ in 0..rule_count {
            let number = chained(before, &mut new, &mut rule_chain, &mut rules, ids)?;
            before = [before[1], number + 1];
            let id = pick(ids, number)?;
            let flags = flagged(before[1], &mut flag_chain, &mut flags)?;
            path.rules.push(Rule {
                id,
                result: flags & 0x3f,
                matched: flags & 0x40 != 0,
                applied: flags & 0x80 != 0,
            });
        }
        paths.push(Arc::new(path));
    }
    lengths.finish()?;
    if [devices, kinds, rules, flags].iter().all(NumbersReader::is_done) {
        Ok(paths)
    } else {
        Err(invalid("length of the paths"))
    }
}

fn read_pairs(count: usize, sources: Reader<'_>, destinations: Reader<'_>, addresses: u64) -> Result<Vec<(u64, u64)>, WireError> {
    let (mut sources, mut destinations) = (NumbersReader::new(sources)?, NumbersReader::new(destinations)?);
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let pair = (sources.next()?, destinations.next()?);
        if pair.0.max(pair.1 >> 1) >= addresses {
            return Err(invalid("number"));
        }
        pairs.push(pair);
    }
    if sources.is_done() && destinations.is_done() {
        Ok(pairs)
    } else {
        Err(invalid("pair count"))
    }
}

/// The number of the next id of a path.
fn chained(before: [u64; 2], new: &mut u64, chain: &mut Chain, column: &mut NumbersReader<'_>, ids: &[Id]) -> Result<u64, WireError> {
    let number = match column.next()? {
        0 => chain.expected(before).checked_sub(1).ok_or(invalid("expected id"))?,
        1 => std::mem::replace(new, *new + 1),
        code => code - 2,
    };
    if number >= ids.len() as u64 {
        return Err(invalid("id number"));
    }
    chain.learn(before, number);
    Ok(number)
}

fn flagged(of: u64, chain: &mut Chain, column: &mut NumbersReader<'_>) -> Result<u8, WireError> {
    let flags = match column.next()? {
        0 => chain.expected([of; 2]).checked_sub(1).ok_or(invalid("expected flags"))?,
        code => code - 1,
    };
    let flags = narrow(flags)?;
    chain.learn([of; 2], u64::from(flags));
    Ok(flags)
}

fn dictionary<'a, T>(mut block: Reader<'a>, mut read: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
    let count = block.varint()?;
    // Every value takes at least one byte.
    if count > block.left() as u64 {
        return Err(block.invalid("count"));
    }
    let values = (0..count).map(|_| read(&mut block)).collect::<Result<Vec<_>, _>>()?;
    block.finish()?;
    Ok(values)
}

fn pick<T: Clone>(dictionary: &[T], number: u64) -> Result<T, WireError> {
    let value = usize::try_from(number).ok().and_then(|number| dictionary.get(number));
    value.cloned().ok_or(invalid("number"))
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, WireError> {
    T::try_from(value).map_err(|_| invalid("number that is too large"))
}

fn read_address(block: &mut Reader<'_>) -> Result<Option<IpAddr>, WireError> {
    match block.byte()? {
        0 => Ok(None),
        4 => Ok(Some(block.array::<4>()?.into())),
        6 => Ok(Some(block.array::<16>()?.into())),
        _ => Err(block.invalid("address family")),
    }
}

fn invalid(field: &'static str) -> WireError {
    WireError::Invalid { what: "flow batch", field }
}
