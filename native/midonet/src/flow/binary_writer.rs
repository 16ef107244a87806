// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::action::{self, MAX_AGENT_ACTIONS};
use super::binary::{HEADER_BYTES, IPV4, IPV6, ROOT_BYTES};
use super::layout::{GROUP_HEADER_BYTES, GROUPS, Group};
use super::{FlowError, FlowRecord, MAX_RECORD_BYTES};

/// Writes records as an agent's simulation thread does: into one buffer that is never cleared, so that a field which a record does not set keeps
/// what the record before it had.
#[derive(Clone, Debug)]
pub struct BinaryEncoder {
    root: [u8; ROOT_BYTES],
}

impl Default for BinaryEncoder {
    fn default() -> Self {
        BinaryEncoder { root: [0; ROOT_BYTES] }
    }
}

impl BinaryEncoder {
    pub fn new() -> BinaryEncoder {
        BinaryEncoder::default()
    }

    /// Appends a record to `out`. Counts and lengths wrap at 256, and actions end after 127, as in an agent up to 5.4.6. Fails, with `out` as it
    /// was, if the record is above the agent's buffer; an agent drops it then.
    pub fn encode(&mut self, record: &FlowRecord, out: &mut Vec<u8>) -> Result<(), FlowError> {
        let actions = action::encode(&record.actions[..record.actions.len().min(MAX_AGENT_ACTIONS)]);
        let counts = [
            record.icmp_data.len(),
            record.vlan_ids.len(),
            record.out_ports.len(),
            record.rules.len(),
            record.devices.len(),
        ];
        let entries: usize = counts
            .iter()
            .zip(&GROUPS)
            .map(|(count, group)| GROUP_HEADER_BYTES + count * group.block)
            .sum();
        let size = HEADER_BYTES + ROOT_BYTES + entries + 1 + actions.len();
        if size > MAX_RECORD_BYTES {
            return Err(FlowError::TooLong { size });
        }
        self.set_root(record);
        out.reserve(size);
        out.extend_from_slice(&[ROOT_BYTES as u8, 0, 1, 0, 1, 0, 0, 0]);
        out.extend_from_slice(&self.root);
        let [icmp_data, vlan_ids, out_ports, rules, devices] = counts;
        put_group(out, &GROUPS[0], icmp_data);
        out.extend_from_slice(&record.icmp_data);
        put_group(out, &GROUPS[1], vlan_ids);
        record.vlan_ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
        put_group(out, &GROUPS[2], out_ports);
        record.out_ports.iter().for_each(|id| out.extend_from_slice(&uuid_bytes(*id)));
        put_group(out, &GROUPS[3], rules);
        for rule in &record.rules {
            out.extend_from_slice(&uuid_bytes(rule.id));
            out.extend_from_slice(&[rule.result.code(), u8::from(rule.matched), u8::from(rule.applied)]);
        }
        put_group(out, &GROUPS[4], devices);
        for device in &record.devices {
            out.extend_from_slice(&uuid_bytes(device.id));
            out.push(device.kind.code());
        }
        out.push(actions.len() as u8);
        out.extend_from_slice(&actions);
        Ok(())
    }

    fn set_root(&mut self, record: &FlowRecord) {
        self.root[0] = record.sim_result.code();
        self.set(1, &record.cookie.to_le_bytes());
        self.set(9, &record.dp_port.to_le_bytes());
        self.set(13, &record.tunnel_key.to_le_bytes());
        self.set(21, &u32::from(record.tunnel_src).to_le_bytes());
        self.set(25, &u32::from(record.tunnel_dst).to_le_bytes());
        self.set_some(29, record.eth_src.map(|mac| mac.0));
        self.set_some(35, record.eth_dst.map(|mac| mac.0));
        self.set(41, &record.ether_type.to_le_bytes());
        self.set_address(43, record.src);
        self.set_address(60, record.dst);
        self.set(77, &[record.proto, record.tos, record.ttl]);
        self.set(81, &record.src_port.to_le_bytes());
        self.set(83, &record.dst_port.to_le_bytes());
        self.set(85, &record.icmp_id.to_le_bytes());
        self.set_some(87, record.in_port.map(uuid_bytes));
        self.set(103, &uuid_bytes(record.host));
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.root[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn set_some<const N: usize>(&mut self, at: usize, bytes: Option<[u8; N]>) {
        if let Some(bytes) = bytes {
            self.set(at, &bytes);
        }
    }

    fn set_address(&mut self, at: usize, address: Option<IpAddr>) {
        match address {
            None => {}
            Some(IpAddr::V4(address)) => {
                self.root[at] = IPV4;
                self.set(at + 1, &i64::from(u32::from(address) as i32).to_le_bytes());
            }
            Some(IpAddr::V6(address)) => {
                self.root[at] = IPV6;
                let (high, low) = Uuid::from_bytes(address.octets()).as_u64_pair();
                self.set(at + 1, &high.to_le_bytes());
                self.set(at + 9, &low.to_le_bytes());
            }
        }
    }
}

/// The binary form of one record alone: fields that it does not set are zero.
pub fn encode_binary(record: &FlowRecord) -> Result<Vec<u8>, FlowError> {
    let mut out = Vec::new();
    BinaryEncoder::new().encode(record, &mut out)?;
    Ok(out)
}

fn put_group(out: &mut Vec<u8>, group: &Group, count: usize) {
    out.extend_from_slice(&[group.block as u8, 0, count as u8]);
}

fn uuid_bytes(id: Uuid) -> [u8; 16] {
    let (high, low) = id.as_u64_pair();
    let mut out = [0; 16];
    out[..8].copy_from_slice(&high.to_le_bytes());
    out[8..].copy_from_slice(&low.to_le_bytes());
    out
}
