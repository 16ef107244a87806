// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Messages of MidoNet's `commons.proto`.

use super::{Class, Enum, enumeration, nested, opt, rep};
use crate::model::FieldKind::{Bool, Int32, Int64, IpAddress, IpSubnet, Link, Message, OneOf, String, Uint32, Uuid};

pub(super) static MESSAGES: &[&Class] = &[&MAC_IP, &INT32_RANGE, &METADATA_ENTRY, &CONDITION];

pub(super) static ENUMS: &[&Enum] = &[
    &IPVERSION,
    &RULE_DIRECTION,
    &ETHER_TYPE,
    &PROTOCOL,
    &LBSTATUS,
    &LOG_EVENT,
    &CONDITION_FRAGMENT_POLICY,
];

pub(super) static MAC_IP: Class = nested("MacIp", &[opt("mac", 1, String), opt("ip", 2, IpAddress)]);

pub(super) static INT32_RANGE: Class = nested("Int32Range", &[opt("start", 1, Int32), opt("end", 2, Int32)]);

pub(super) static METADATA_ENTRY: Class = nested("MetadataEntry", &[opt("key", 1, String), opt("value", 2, String)]);

pub(super) static CONDITION: Class = nested(
    "Condition",
    &[
        opt("conjunction_inv", 1, Bool),
        opt("match_forward_flow", 2, Bool),
        opt("match_return_flow", 3, Bool),
        rep("in_port_ids", 4, Link("Port")),
        opt("in_port_inv", 5, Bool),
        rep("out_port_ids", 6, Link("Port")),
        opt("out_port_inv", 7, Bool),
        opt("port_group_id", 8, Link("PortGroup")),
        opt("inv_port_group", 9, Bool),
        opt("ip_addr_group_id_src", 10, Link("IPAddrGroup")),
        opt("inv_ip_addr_group_id_src", 11, Bool),
        opt("ip_addr_group_id_dst", 12, Link("IPAddrGroup")),
        opt("inv_ip_addr_group_id_dst", 13, Bool),
        opt("dl_type", 14, Int32),
        opt("inv_dl_type", 15, Bool),
        opt("dl_src", 16, String),
        opt("dl_src_mask", 17, Int64),
        opt("inv_dl_src", 18, Bool),
        opt("dl_dst", 19, String),
        opt("dl_dst_mask", 20, Int64),
        opt("inv_dl_dst", 21, Bool),
        opt("nw_tos", 22, Int32),
        opt("nw_tos_inv", 23, Bool),
        opt("nw_proto", 24, Int32),
        opt("nw_proto_inv", 25, Bool),
        opt("nw_src_ip", 26, IpSubnet),
        opt("nw_dst_ip", 27, IpSubnet),
        opt("tp_src", 28, Message("Int32Range")),
        opt("tp_dst", 29, Message("Int32Range")),
        opt("nw_src_inv", 30, Bool),
        opt("nw_dst_inv", 31, Bool),
        opt("tp_src_inv", 32, Bool),
        opt("tp_dst_inv", 33, Bool),
        opt("traversed_device", 34, Uuid),
        opt("traversed_device_inv", 35, Bool),
        opt("fragment_policy", 36, OneOf(&CONDITION_FRAGMENT_POLICY)),
        opt("no_vlan", 60, Bool),
        opt("vlan", 61, Uint32),
        opt("icmp_data_src_ip", 62, IpSubnet),
        opt("icmp_data_src_ip_inv", 63, Bool),
        opt("icmp_data_dst_ip", 64, IpSubnet),
        opt("icmp_data_dst_ip_inv", 65, Bool),
        opt("in_port_group_id", 66, Link("PortGroup")),
        opt("inv_in_port_group", 67, Bool),
        opt("out_port_group_id", 68, Link("PortGroup")),
        opt("inv_out_port_group", 69, Bool),
        opt("match_nw_dst_rewritten", 70, Bool),
    ],
);

pub(super) static IPVERSION: Enum = enumeration("IPVersion", &[("V4", 1), ("V6", 2)]);
pub(super) static RULE_DIRECTION: Enum = enumeration("RuleDirection", &[("EGRESS", 0), ("INGRESS", 1)]);
pub(super) static ETHER_TYPE: Enum = enumeration("EtherType", &[("ARP", 2054), ("IPV4", 2048), ("IPV6", 34525)]);
pub(super) static PROTOCOL: Enum = enumeration(
    "Protocol",
    &[
        ("ICMP", 1),
        ("IGMP", 2),
        ("TCP", 6),
        ("EGP", 8),
        ("UDP", 17),
        ("DCCP", 33),
        ("IPV6_ENCAP", 41),
        ("IPV6_ROUTE", 43),
        ("IPV6_FRAG", 44),
        ("RSVP", 46),
        ("GRE", 47),
        ("ESP", 50),
        ("AH", 51),
        ("ICMPV6", 58),
        ("IPV6_NONXT", 59),
        ("IPV6_OPTS", 60),
        ("OSPF", 89),
        ("VRRP", 112),
        ("PGM", 113),
        ("SCTP", 132),
        ("UDPLITE", 136),
    ],
);
pub(super) static LBSTATUS: Enum = enumeration("LBStatus", &[("ACTIVE", 1), ("INACTIVE", 2), ("MONITORED", 3)]);
pub(super) static LOG_EVENT: Enum = enumeration("LogEvent", &[("ACCEPT", 1), ("DROP", 2), ("ALL", 3)]);
pub(super) static CONDITION_FRAGMENT_POLICY: Enum = enumeration(
    "Condition.FragmentPolicy",
    &[("ANY", 1), ("NONHEADER", 2), ("HEADER", 3), ("UNFRAGMENTED", 4)],
);
