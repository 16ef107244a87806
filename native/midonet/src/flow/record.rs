// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;

use super::action::Action;
use crate::Mac;

/// One flow record: what an agent knew about one packet that reached user space.
///
/// The match fields are those of the packet as it entered, before NAT and routing; what NAT made of it is in `actions` only. A record has no
/// time: its receiver stamps it. Fields are given as they stand on the wire; [`FlowRecord::untrusted`] tells which of them may be left over
/// from another record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowRecord {
    pub encoding: Encoding,
    /// Host id of the agent.
    pub host: Uuid,
    /// Per simulation thread: worker i of n starts at i and steps n, wraps, starts again with the agent.
    pub cookie: u64,
    pub sim_result: SimResult,
    /// The virtual port by which the packet entered; `None` where the agent named none.
    pub in_port: Option<Uuid>,
    /// Port number of the datapath by which the packet entered; 0 for packets that the agent generated.
    pub dp_port: u32,
    /// Key of the tunnel that the packet came from; 0 if from none.
    pub tunnel_key: u64,
    /// Underlay addresses of that tunnel.
    pub tunnel_src: Ipv4Addr,
    pub tunnel_dst: Ipv4Addr,
    pub eth_src: Option<Mac>,
    pub eth_dst: Option<Mac>,
    /// Below 0x0600: none was known.
    pub ether_type: u16,
    /// For ARP the sender's and target's protocol address.
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    /// IP protocol; for ARP the operation.
    pub proto: u8,
    pub tos: u8,
    pub ttl: u8,
    pub fragment: Fragment,
    /// Port of TCP or UDP; the type of ICMP.
    pub src_port: u16,
    /// Port of TCP or UDP; the code of ICMP.
    pub dst_port: u16,
    /// Identifier of an ICMP echo, else 0.
    pub icmp_id: u16,
    /// What an ICMP error carries of the packet that it is about.
    pub icmp_data: Vec<u8>,
    /// VLAN ids, outermost first.
    pub vlan_ids: Vec<u16>,
    /// The virtual ports by which the packet leaves, here or on other hosts.
    pub out_ports: Vec<Uuid>,
    /// Every rule that was evaluated, matched or not, in order.
    pub rules: Vec<RuleHit>,
    /// Devices in the order of traversal; one can occur more than once.
    pub devices: Vec<Device>,
    /// Empty: the packet was dropped (or, with [`SimResult::NoOp`], consumed).
    pub actions: Vec<Action>,
    pub untrusted: Untrusted,
}

impl FlowRecord {
    /// A record of this host in which nothing else is set; its encoder leaves such fields as the agent does.
    pub fn empty(host: Uuid) -> FlowRecord {
        FlowRecord {
            encoding: Encoding::Binary,
            host,
            cookie: 0,
            sim_result: SimResult::NoOp,
            in_port: None,
            dp_port: 0,
            tunnel_key: 0,
            tunnel_src: Ipv4Addr::UNSPECIFIED,
            tunnel_dst: Ipv4Addr::UNSPECIFIED,
            eth_src: None,
            eth_dst: None,
            ether_type: ETHER_TYPE_NONE,
            src: None,
            dst: None,
            proto: 0,
            tos: 0,
            ttl: 0,
            fragment: Fragment::None,
            src_port: 0,
            dst_port: 0,
            icmp_id: 0,
            icmp_data: Vec::new(),
            vlan_ids: Vec::new(),
            out_ports: Vec::new(),
            rules: Vec::new(),
            devices: Vec::new(),
            actions: Vec::new(),
            untrusted: Untrusted::empty(),
        }
    }

    /// The ingress port, unless it may be that of another packet.
    pub fn trusted_in_port(&self) -> Option<Uuid> {
        self.in_port.filter(|_| !self.untrusted.contains(Untrusted::IN_PORT))
    }

    /// Source and destination address, unless they may be those of another packet.
    pub fn trusted_addresses(&self) -> Option<(IpAddr, IpAddr)> {
        if self.untrusted.contains(Untrusted::ADDRESSES) {
            None
        } else {
            self.src.zip(self.dst)
        }
    }

    /// Whether the ingress port is among the ports that the packet traversed. True for each record that an agent makes at the packet's ingress
    /// with its path kept; false tells nothing for certain.
    pub fn in_port_confirmed(&self) -> bool {
        self.in_port
            .is_some_and(|port| self.devices.iter().any(|device| device.kind == DeviceKind::Port && device.id == port))
    }

    /// Whether the same flow was recorded at its ingress host already: it came out of a tunnel and knows no device.
    pub fn is_tunnel_duplicate(&self) -> bool {
        self.tunnel_key != 0 && self.devices.is_empty()
    }
}

/// What MidoNet gives as EtherType of a match without one.
pub const ETHER_TYPE_NONE: u16 = 0x05ff;

/// The form in which a record arrived.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Encoding {
    Binary,
    Json,
}

bitflags::bitflags! {
    /// Groups of fields of a record that can't be trusted, or that had to be recovered.
    ///
    /// Agents reuse a buffer for each record: a field that they don't write keeps the bytes of an earlier record.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub struct Untrusted: u16 {
        /// `eth_src`, `eth_dst` may be those of an earlier record.
        const ETHERNET = 1;
        /// `src`, `dst` may be those of an earlier record.
        const ADDRESSES = 1 << 1;
        /// `in_port` may be that of an unrelated packet.
        const IN_PORT = 1 << 2;
        /// `fragment` is not known: binary records never carry it.
        const FRAGMENT = 1 << 3;
        /// The count of `icmp_data` had wrapped; the bytes were recovered by structure.
        const ICMP_DATA_COUNT = 1 << 4;
        /// The count of `vlan_ids` had wrapped; they were recovered by structure.
        const VLAN_COUNT = 1 << 5;
        /// The count of `out_ports` had wrapped; they were recovered by structure.
        const OUT_PORT_COUNT = 1 << 6;
        /// The count of `rules` had wrapped; they were recovered by structure.
        const RULE_COUNT = 1 << 7;
        /// The count of `devices` had wrapped; they were recovered by structure.
        const DEVICE_COUNT = 1 << 8;
        /// The length of `actions` had wrapped; they were recovered from what is left of the record.
        const ACTIONS_LENGTH = 1 << 9;
        /// `actions` ends early: the agent cut the list off, or bytes in it could not be read.
        const ACTIONS_CUT = 1 << 10;
    }
}

impl Untrusted {
    /// Names of the flags that are set, in MidoNet's words for the fields.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter_names().map(|(name, _)| match name {
            "ETHERNET" => "eth",
            "ADDRESSES" => "network",
            "IN_PORT" => "inPort",
            "FRAGMENT" => "IPFragType",
            "ICMP_DATA_COUNT" => "icmpData.count",
            "VLAN_COUNT" => "vlanIds.count",
            "OUT_PORT_COUNT" => "outPorts.count",
            "RULE_COUNT" => "rules.count",
            "DEVICE_COUNT" => "devices.count",
            "ACTIONS_LENGTH" => "actions.length",
            _ => "actions.cut",
        })
    }
}

/// A rule that was evaluated.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RuleHit {
    pub id: Uuid,
    pub result: RuleResult,
    /// The condition held.
    pub matched: bool,
    /// The rule's action was taken.
    pub applied: bool,
}

/// A device that was traversed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Device {
    pub id: Uuid,
    pub kind: DeviceKind,
}

/// Codes as on the wire, with the names of MidoNet's JSON form, and a place for codes of releases to come.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($variant,)+
            /// A code or name that this release does not know; names are given code 0.
            Unknown(u8),
        }

        impl $name {
            /// All values that have a name.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The code in a binary record.
            pub fn code(self) -> u8 {
                match self {
                    $($name::$variant => $code,)+
                    $name::Unknown(code) => code,
                }
            }

            /// The value of a code in a binary record.
            pub fn from_code(code: u8) -> $name {
                match code {
                    $($code => $name::$variant,)+
                    _ => $name::Unknown(code),
                }
            }

            /// The name in a JSON record.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                    $name::Unknown(_) => "UNKNOWN",
                }
            }

            /// The value of a name in a JSON record.
            pub fn from_name(name: &str) -> $name {
                match name {
                    $($text => $name::$variant,)+
                    _ => $name::Unknown(0),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

codes! {
    /// How the simulation of the packet ended. Drops are seen as `FlowCreated` or `UserspaceFlow` with no actions in practice.
    /// `DuplicatedFlow` exists in binary records only, `SendPacket` in JSON only: its code is ours.
    SimResult {
        NoOp = 1 "NOOP",
        Drop = 2 "DROP",
        ErrorDrop = 3 "ERROR_DROP",
        ShortDrop = 4 "SHORT_DROP",
        AddVirtualWildcardFlow = 5 "ADD_VIRTUAL_WILDCARD_FLOW",
        StateMessage = 6 "STATE_MESSAGE",
        UserspaceFlow = 7 "USERSPACE_FLOW",
        FlowCreated = 8 "FLOW_CREATED",
        DuplicatedFlow = 9 "DUPLICATED_FLOW",
        GeneratedPacket = 10 "GENERATED_PACKET",
        SendPacket = 128 "SEND_PACKET",
    }
}

codes! {
    /// What a rule decided.
    RuleResult {
        Accept = 1 "ACCEPT",
        Continue = 2 "CONTINUE",
        Drop = 3 "DROP",
        Jump = 4 "JUMP",
        Reject = 5 "REJECT",
        Return = 6 "RETURN",
        Redirect = 7 "REDIRECT",
    }
}

codes! {
    /// Kinds of devices that a record names. `Bridge` is a Network.
    DeviceKind {
        LoadBalancer = 1 "LOAD_BALANCER",
        Pool = 2 "POOL",
        PortGroup = 3 "PORT_GROUP",
        Bridge = 4 "BRIDGE",
        Router = 5 "ROUTER",
        Port = 6 "PORT",
        Chain = 7 "CHAIN",
        Mirror = 8 "MIRROR",
    }
}

/// Whether the packet is a fragment. The codes are those of the JSON form; binary records never carry it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Fragment {
    #[default]
    None,
    First,
    Later,
    Unknown(u8),
}

impl Fragment {
    /// The code in a JSON record and in a set-IPv4 action.
    pub fn code(self) -> u8 {
        match self {
            Fragment::None => 0,
            Fragment::First => 1,
            Fragment::Later => 2,
            Fragment::Unknown(code) => code,
        }
    }

    /// The value of such a code.
    pub fn from_code(code: u8) -> Fragment {
        match code {
            0 => Fragment::None,
            1 => Fragment::First,
            2 => Fragment::Later,
            _ => Fragment::Unknown(code),
        }
    }
}
