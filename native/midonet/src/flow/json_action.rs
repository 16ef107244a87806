// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::Fragment;
use super::action::Action;
use super::json::{Text, parse_number, shorten};
use crate::Mac;

/// The list of actions. Each is made at once of its members, whose place is far larger than that of an action.
pub(super) struct Actions(pub(super) Vec<Action>);

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ActionsVisitor;
        impl<'de> Visitor<'de> for ActionsVisitor {
            type Value = Actions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of actions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Actions, A::Error> {
                let mut actions = Vec::new();
                while let Some(raw) = items.next_element::<RawAction<'_>>()? {
                    actions.push(read_action(actions.len(), &raw).map_err(de::Error::custom)?);
                }
                Ok(Actions(actions))
            }
        }
        deserializer.deserialize_seq(ActionsVisitor)
    }
}

/// The members of all kinds of actions. What a member holds depends on the kind, so all are taken as text first.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawAction<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    portno: Text<'a>,
    #[serde(borrow)]
    tpid: Text<'a>,
    #[serde(borrow)]
    tci: Text<'a>,
    #[serde(rename = "uplinkId", borrow)]
    uplink_id: Text<'a>,
    #[serde(borrow)]
    userdata: Text<'a>,
    #[serde(borrow)]
    sip: Text<'a>,
    #[serde(borrow)]
    tip: Text<'a>,
    #[serde(borrow)]
    op: Text<'a>,
    #[serde(borrow)]
    sha: Text<'a>,
    #[serde(borrow)]
    tha: Text<'a>,
    #[serde(borrow)]
    src: Text<'a>,
    #[serde(borrow)]
    dst: Text<'a>,
    #[serde(borrow)]
    ethertype: Text<'a>,
    #[serde(borrow)]
    icmptype: Text<'a>,
    #[serde(borrow)]
    code: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    proto: Text<'a>,
    #[serde(borrow)]
    tos: Text<'a>,
    #[serde(borrow)]
    ttl: Text<'a>,
    #[serde(borrow)]
    frag: Text<'a>,
    #[serde(borrow)]
    ipv4_src: Text<'a>,
    #[serde(borrow)]
    ipv4_dst: Text<'a>,
    #[serde(borrow)]
    flags: Text<'a>,
    #[serde(borrow)]
    ipv4_tos: Text<'a>,
    #[serde(borrow)]
    ipv4_ttl: Text<'a>,
}

fn read_action(index: usize, raw: &RawAction<'_>) -> Result<Action, String> {
    let m = Members { index };
    Ok(match &*raw.kind.0 {
        "output" => Action::Output {
            port: m.number::<32>("portno", &raw.portno)? as u32,
        },
        "popVlan" => Action::PopVlan,
        "pushVlan" => Action::PushVlan {
            tpid: m.u16("tpid", &raw.tpid)?,
            tci: m.u16("tci", &raw.tci)?,
        },
        "userspace" => Action::Userspace {
            pid: m.number::<32>("uplinkId", &raw.uplink_id)? as i32,
            data: if raw.userdata.0.is_empty() {
                0
            } else {
                m.number::<64>("userdata", &raw.userdata)? as i64
            },
        },
        "arp" => Action::SetArp {
            sip: m.ipv4("sip", &raw.sip)?,
            tip: m.ipv4("tip", &raw.tip)?,
            op: m.u16("op", &raw.op)?,
            sha: m.mac("sha", &raw.sha)?,
            tha: m.mac("tha", &raw.tha)?,
        },
        "ethernet" => Action::SetEthernet {
            src: m.mac("src", &raw.src)?,
            dst: m.mac("dst", &raw.dst)?,
        },
        "ethertype" => Action::SetEtherType {
            ether_type: m.u16("ethertype", &raw.ethertype)?,
        },
        "icmpecho" => Action::SetIcmpEcho {
            icmp_type: m.u8("icmptype", &raw.icmptype)?,
            code: m.u8("code", &raw.code)?,
            id: m.u16("id", &raw.id)?,
        },
        "icmperror" => Action::SetIcmpError {
            icmp_type: m.u8("icmptype", &raw.icmptype)?,
            code: m.u8("code", &raw.code)?,
            data: m.hex("id", &raw.id)?,
        },
        "icmp" => Action::SetIcmp {
            icmp_type: m.u8("icmptype", &raw.icmptype)?,
            code: m.u8("code", &raw.code)?,
        },
        "ipv4" => Action::SetIpv4 {
            src: m.ipv4("src", &raw.src)?,
            dst: m.ipv4("dst", &raw.dst)?,
            proto: m.u8("proto", &raw.proto)?,
            tos: m.u8("tos", &raw.tos)?,
            ttl: m.u8("ttl", &raw.ttl)?,
            fragment: Fragment::from_code(m.u8("frag", &raw.frag)?),
        },
        "tcp" => Action::SetTcp {
            src: m.u16("src", &raw.src)?,
            dst: m.u16("dst", &raw.dst)?,
        },
        "udp" => Action::SetUdp {
            src: m.u16("src", &raw.src)?,
            dst: m.u16("dst", &raw.dst)?,
        },
        "tunnel" => Action::SetTunnel {
            id: m.number::<64>("id", &raw.id)?,
            src: m.ipv4("ipv4_src", &raw.ipv4_src)?,
            dst: m.ipv4("ipv4_dst", &raw.ipv4_dst)?,
            flags: m.u16("flags", &raw.flags)?,
            tos: m.u8("ipv4_tos", &raw.ipv4_tos)?,
            ttl: m.u8("ipv4_ttl", &raw.ipv4_ttl)?,
        },
        "vlan" => Action::SetVlan { id: m.u16("id", &raw.id)? },
        _ => Action::Unknown,
    })
}

/// Reads the members of one action and says in errors which.
struct Members {
    index: usize,
}

impl Members {
    fn number<const BITS: u32>(&self, member: &str, text: &Text<'_>) -> Result<u64, String> {
        parse_number::<BITS>(&text.0).ok_or_else(|| self.error(member, text, "a number"))
    }

    fn u16(&self, member: &str, text: &Text<'_>) -> Result<u16, String> {
        self.number::<16>(member, text).map(|value| value as u16)
    }

    fn u8(&self, member: &str, text: &Text<'_>) -> Result<u8, String> {
        self.number::<8>(member, text).map(|value| value as u8)
    }

    fn ipv4(&self, member: &str, text: &Text<'_>) -> Result<Ipv4Addr, String> {
        self.number::<32>(member, text).map(|value| Ipv4Addr::from(value as u32))
    }

    fn hex(&self, member: &str, text: &Text<'_>) -> Result<Vec<u8>, String> {
        hex::decode(&*text.0).map_err(|_| self.error(member, text, "hex digits"))
    }

    fn mac(&self, member: &str, text: &Text<'_>) -> Result<Mac, String> {
        self.hex(member, text)?
            .try_into()
            .map(Mac)
            .map_err(|_| self.error(member, text, "12 hex digits"))
    }

    fn error(&self, member: &str, text: &Text<'_>, expected: &'static str) -> String {
        format!("actions[{}].{member} is {}, expected {expected}", self.index, shorten(&text.0))
    }
}
