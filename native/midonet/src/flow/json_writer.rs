// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use super::FlowRecord;
use super::action::Action;

/// The JSON form of a record, byte for byte as an agent's Jackson writes it.
pub fn encode_json(record: &FlowRecord) -> Vec<u8> {
    let mut out = Writer {
        out: String::with_capacity(1024),
        first: true,
    };
    out.out.push('{');
    out.text("type", "flowhistory");
    out.text("hostId", record.host);
    if let Some(port) = record.in_port {
        out.text("inPort", port);
    }
    out.text("flowMatch.inputPort", record.dp_port as i32);
    out.text("flowMatch.tunnelKey", record.tunnel_key as i64);
    out.text("flowMatch.tunnelSrc", u32::from(record.tunnel_src) as i32);
    out.text("flowMatch.tunnelDst", u32::from(record.tunnel_dst) as i32);
    out.hex("flowMatch.ethSrc", record.eth_src.as_ref().map_or(&[], |mac| &mac.0));
    out.hex("flowMatch.ethDst", record.eth_dst.as_ref().map_or(&[], |mac| &mac.0));
    out.text("flowMatch.etherType", record.ether_type as i16);
    out.address("flowMatch.networkSrc", record.src);
    out.address("flowMatch.networkDst", record.dst);
    out.text("flowMatch.networkProto", record.proto as i8);
    out.text("flowMatch.networkTTL", record.ttl as i8);
    out.text("flowMatch.networkTOS", record.tos as i8);
    out.text("flowMatch.IPFragType", record.fragment.code());
    out.text("flowMatch.srcPort", record.src_port);
    out.text("flowMatch.dstPort", record.dst_port);
    out.text("flowMatch.icmpIdentifier", record.icmp_id as i16);
    out.hex("flowMatch.icmpData", &record.icmp_data);
    out.list("flowMatch.vlanIds", &record.vlan_ids, |out, id| {
        let _ = write!(out.out, "{}", *id as i16);
    });
    out.text("cookie", record.cookie as i64);
    out.list("devices", &record.devices, |out, device| {
        out.object(|out| {
            out.text("id", device.id);
            out.text("deviceType", device.kind);
        });
    });
    out.list("rules", &record.rules, |out, rule| {
        out.object(|out| {
            out.text("id", rule.id);
            out.text("result", rule.result);
            out.raw("matched", rule.matched);
            out.raw("applied", rule.applied);
        });
    });
    out.text("simResult", record.sim_result);
    out.list("outPorts", &record.out_ports, |out, id| {
        let _ = write!(out.out, "\"{id}\"");
    });
    out.list("actions", &record.actions, |out, action| out.object(|out| write_action(out, action)));
    out.out.push('}');
    out.out.into_bytes()
}

fn write_action(out: &mut Writer, action: &Action) {
    match action {
        Action::Output { port } => {
            out.text("type", "output");
            out.text("portno", *port as i32);
        }
        Action::PopVlan => out.text("type", "popVlan"),
        Action::PushVlan { tpid, tci } => {
            out.text("type", "pushVlan");
            out.text("tpid", *tpid as i16);
            out.text("tci", *tci as i16);
        }
        Action::Userspace { pid, data } => {
            out.text("type", "userspace");
            out.text("uplinkId", pid);
            out.text("userdata", data);
        }
        Action::SetArp { sip, tip, op, sha, tha } => {
            out.text("type", "arp");
            out.ipv4("sip", *sip);
            out.ipv4("tip", *tip);
            out.text("op", *op as i16);
            out.hex("sha", &sha.0);
            out.hex("tha", &tha.0);
        }
        Action::SetEthernet { src, dst } => {
            out.text("type", "ethernet");
            out.hex("src", &src.0);
            out.hex("dst", &dst.0);
        }
        Action::SetEtherType { ether_type } => {
            out.text("type", "ethertype");
            out.text("ethertype", *ether_type as i16);
        }
        Action::SetIcmpEcho { icmp_type, code, id } => {
            out.text("type", "icmpecho");
            out.icmp(*icmp_type, *code);
            out.text("id", *id as i16);
        }
        Action::SetIcmpError { icmp_type, code, data } => {
            out.text("type", "icmperror");
            out.icmp(*icmp_type, *code);
            out.hex("id", data);
        }
        Action::SetIcmp { icmp_type, code } => {
            out.text("type", "icmp");
            out.icmp(*icmp_type, *code);
        }
        Action::SetIpv4 {
            src,
            dst,
            proto,
            tos,
            ttl,
            fragment,
        } => {
            out.text("type", "ipv4");
            out.ipv4("src", *src);
            out.ipv4("dst", *dst);
            out.text("proto", *proto as i8);
            out.text("tos", *tos as i8);
            out.text("ttl", *ttl as i8);
            out.text("frag", fragment.code() as i8);
        }
        Action::SetTcp { src, dst } => out.ports("tcp", *src, *dst),
        Action::SetTunnel {
            id,
            src,
            dst,
            flags,
            tos,
            ttl,
        } => {
            out.text("type", "tunnel");
            out.text("id", *id as i64);
            out.ipv4("ipv4_src", *src);
            out.ipv4("ipv4_dst", *dst);
            out.text("flags", *flags as i16);
            out.text("ipv4_tos", *tos as i8);
            out.text("ipv4_ttl", *ttl as i8);
        }
        Action::SetUdp { src, dst } => out.ports("udp", *src, *dst),
        Action::SetVlan { id } => {
            out.text("type", "vlan");
            out.text("id", *id as i16);
        }
        Action::Unknown => {}
    }
}

/// Writes members; nothing that it is given needs escaping. Writing to a string never fails.
struct Writer {
    out: String,
    first: bool,
}

impl Writer {
    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
        let _ = write!(self.out, "\"{name}\":");
    }

    fn text(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.out, "\"{value}\"");
    }

    fn raw(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    /// Nothing when there are no bytes, as the agent.
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.text(name, hex::encode_upper(bytes));
        }
    }

    fn address(&mut self, name: &str, address: Option<IpAddr>) {
        match address {
            None => {}
            Some(IpAddr::V4(address)) => self.hex(name, &address.octets()),
            Some(IpAddr::V6(address)) => self.hex(name, &address.octets()),
        }
    }

    fn ipv4(&mut self, name: &str, address: Ipv4Addr) {
        self.text(name, u32::from(address) as i32);
    }

    fn icmp(&mut self, icmp_type: u8, code: u8) {
        self.text("icmptype", icmp_type as i8);
        self.text("code", code as i8);
    }

    fn ports(&mut self, kind: &str, src: u16, dst: u16) {
        self.text("type", kind);
        self.text("src", src as i16);
        self.text("dst", dst as i16);
    }

    fn object(&mut self, write: impl FnOnce(&mut Writer)) {
        self.out.push('{');
        self.first = true;
        write(self);
        self.first = false;
        self.out.push('}');
    }

    fn list<T>(&mut self, name: &str, items: &[T], write: impl Fn(&mut Writer, &T)) {
        self.name(name);
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.out.push(']');
    }
}
