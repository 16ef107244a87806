// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What can be asked of a flow.

/// A field of the language.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Field {
    SrcMac,
    DstMac,
    Mac,
    SrcIp,
    DstIp,
    Ip,
    SrcPort,
    DstPort,
    Port,
    SrcTenant,
    DstTenant,
    Tenant,
    SrcNetwork,
    DstNetwork,
    Network,
    SrcVport,
    DstVport,
    Vport,
    Proto,
    EtherType,
    Vlan,
    Host,
    Gateway,
    Result,
    Simulation,
    Device,
    Rule,
    Matched,
    Decided,
    Tos,
    Ttl,
    IcmpId,
    Tunnel,
    Transit,
}

/// What a field's values look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldKind {
    Mac,
    Ip,
    /// A number, at most the bound, some with names.
    Number(u64),
    /// A name or UUID of an object of the topology.
    Object,
    /// An id of a tenant, as text.
    Tenant,
    /// One of a few words.
    Word,
}

/// In the order of completion.
pub const ALL_FIELDS: [Field; 34] = [
    Field::SrcIp,
    Field::DstIp,
    Field::Ip,
    Field::SrcPort,
    Field::DstPort,
    Field::Port,
    Field::Proto,
    Field::Result,
    Field::SrcTenant,
    Field::DstTenant,
    Field::Tenant,
    Field::SrcMac,
    Field::DstMac,
    Field::Mac,
    Field::Host,
    Field::Device,
    Field::Decided,
    Field::Rule,
    Field::Matched,
    Field::SrcNetwork,
    Field::DstNetwork,
    Field::Network,
    Field::SrcVport,
    Field::DstVport,
    Field::Vport,
    Field::EtherType,
    Field::Vlan,
    Field::Simulation,
    Field::Gateway,
    Field::Tos,
    Field::Ttl,
    Field::IcmpId,
    Field::Tunnel,
    Field::Transit,
];

impl Field {
    pub fn name(self) -> &'static str {
        match self {
            Field::SrcMac => "src.mac",
            Field::DstMac => "dst.mac",
            Field::Mac => "mac",
            Field::SrcIp => "src.ip",
            Field::DstIp => "dst.ip",
            Field::Ip => "ip",
            Field::SrcPort => "src.port",
            Field::DstPort => "dst.port",
            Field::Port => "port",
            Field::SrcTenant => "src.tenant",
            Field::DstTenant => "dst.tenant",
            Field::Tenant => "tenant",
            Field::SrcNetwork => "src.network",
            Field::DstNetwork => "dst.network",
            Field::Network => "network",
            Field::SrcVport => "src.vport",
            Field::DstVport => "dst.vport",
            Field::Vport => "vport",
            Field::Proto => "proto",
            Field::EtherType => "ethertype",
            Field::Vlan => "vlan",
            Field::Host => "host",
            Field::Gateway => "gateway",
            Field::Result => "result",
            Field::Simulation => "simulation",
            Field::Device => "device",
            Field::Rule => "rule",
            Field::Matched => "matched",
            Field::Decided => "decided",
            Field::Tos => "tos",
            Field::Ttl => "ttl",
            Field::IcmpId => "icmp.id",
            Field::Tunnel => "tunnel",
            Field::Transit => "transit",
        }
    }

    /// What it is, for completion and help.
    pub fn describe(self) -> &'static str {
        match self {
            Field::SrcMac => "source MAC address",
            Field::DstMac => "destination MAC address",
            Field::Mac => "MAC address of either end",
            Field::SrcIp => "source IP address or prefix",
            Field::DstIp => "destination IP address or prefix",
            Field::Ip => "IP address or prefix of either end",
            Field::SrcPort => "source TCP or UDP port; ICMP type",
            Field::DstPort => "destination TCP or UDP port; ICMP code",
            Field::Port => "TCP or UDP port of either end",
            Field::SrcTenant => "tenant of the source",
            Field::DstTenant => "tenant of the destination",
            Field::Tenant => "tenant of either end",
            Field::SrcNetwork => "virtual network of the source",
            Field::DstNetwork => "virtual network of the destination",
            Field::Network => "virtual network of either end",
            Field::SrcVport => "virtual port of the source",
            Field::DstVport => "virtual port of the destination",
            Field::Vport => "virtual port of either end",
            Field::Proto => "IP protocol: tcp, udp, icmp or a number",
            Field::EtherType => "ethertype: ipv4, ipv6, arp or a number",
            Field::Vlan => "VLAN id of any tag",
            Field::Host => "hypervisor host that recorded it",
            Field::Gateway => "MidoInsights gateway that received it",
            Field::Result => "allowed, dropped or consumed",
            Field::Simulation => "simulation result of the agent",
            Field::Device => "a device on the path",
            Field::Rule => "a rule that was evaluated",
            Field::Matched => "a rule that matched",
            Field::Decided => "the rule that decided",
            Field::Tos => "IP type of service, 0–255",
            Field::Ttl => "IP time to live, 0–255",
            Field::IcmpId => "ICMP echo identifier",
            Field::Tunnel => "overlay tunnel key",
            Field::Transit => "yes when seen again at the far end of a tunnel",
        }
    }

    /// Label of a chip or form field, without its end.
    pub fn label(self) -> &'static str {
        match self {
            Field::SrcMac | Field::DstMac | Field::Mac => "MAC",
            Field::SrcIp | Field::DstIp | Field::Ip => "IP",
            Field::SrcPort | Field::DstPort | Field::Port => "Port",
            Field::SrcTenant | Field::DstTenant | Field::Tenant => "Tenant",
            Field::SrcNetwork | Field::DstNetwork | Field::Network => "Network",
            Field::SrcVport | Field::DstVport | Field::Vport => "Virtual port",
            Field::Proto => "Protocol",
            Field::EtherType => "Ethertype",
            Field::Vlan => "VLAN",
            Field::Host => "Host",
            Field::Gateway => "Gateway",
            Field::Result => "Result",
            Field::Simulation => "Simulation",
            Field::Device => "Device",
            Field::Rule => "Rule",
            Field::Matched => "Rule matched",
            Field::Decided => "Decided by",
            Field::Tos => "TOS",
            Field::Ttl => "TTL",
            Field::IcmpId => "ICMP id",
            Field::Tunnel => "Tunnel key",
            Field::Transit => "Transit",
        }
    }

    pub fn kind(self) -> FieldKind {
        match self {
            Field::SrcMac | Field::DstMac | Field::Mac => FieldKind::Mac,
            Field::SrcIp | Field::DstIp | Field::Ip => FieldKind::Ip,
            Field::SrcPort | Field::DstPort | Field::Port | Field::EtherType | Field::IcmpId => FieldKind::Number(65_535),
            Field::Proto | Field::Tos | Field::Ttl => FieldKind::Number(255),
            Field::Vlan => FieldKind::Number(4_095),
            Field::Tunnel => FieldKind::Number(u64::MAX),
            Field::SrcTenant | Field::DstTenant | Field::Tenant => FieldKind::Tenant,
            Field::Result | Field::Simulation | Field::Transit => FieldKind::Word,
            Field::SrcNetwork
            | Field::DstNetwork
            | Field::Network
            | Field::SrcVport
            | Field::DstVport
            | Field::Vport
            | Field::Host
            | Field::Gateway
            | Field::Device
            | Field::Rule
            | Field::Matched
            | Field::Decided => FieldKind::Object,
        }
    }

    /// The words that stand for values, with their numbers. The first word of a number is the one that is printed.
    pub fn words(self) -> &'static [(&'static str, u64)] {
        match self {
            Field::Proto => &[
                ("icmp", 1),
                ("igmp", 2),
                ("tcp", 6),
                ("udp", 17),
                ("gre", 47),
                ("esp", 50),
                ("icmpv6", 58),
                ("ospf", 89),
                ("vrrp", 112),
                ("sctp", 132),
            ],
            Field::EtherType => &[
                ("ipv4", 0x0800),
                ("arp", 0x0806),
                ("vlan", 0x8100),
                ("ipv6", 0x86dd),
                ("lldp", 0x88cc),
                ("mpls", 0x8847),
            ],
            Field::Result => &[("allowed", 1), ("dropped", 2), ("consumed", 3)],
            Field::Simulation => &[
                ("noop", 1),
                ("drop", 2),
                ("error_drop", 3),
                ("short_drop", 4),
                ("add_virtual_wildcard_flow", 5),
                ("state_message", 6),
                ("userspace_flow", 7),
                ("flow_created", 8),
                ("duplicated_flow", 9),
                ("generated_packet", 10),
            ],
            Field::Transit => &[("no", 0), ("yes", 1)],
            _ => &[],
        }
    }

    /// May be asked for absence with `none`.
    pub fn may_be_none(self) -> bool {
        matches!(self.kind(), FieldKind::Mac | FieldKind::Ip | FieldKind::Tenant)
            || matches!(
                self,
                Field::SrcNetwork | Field::DstNetwork | Field::Network | Field::SrcVport | Field::DstVport | Field::Vport
            )
    }

    /// The same of the other end.
    pub fn swapped(self) -> Self {
        match self {
            Field::SrcMac => Field::DstMac,
            Field::DstMac => Field::SrcMac,
            Field::SrcIp => Field::DstIp,
            Field::DstIp => Field::SrcIp,
            Field::SrcPort => Field::DstPort,
            Field::DstPort => Field::SrcPort,
            Field::SrcTenant => Field::DstTenant,
            Field::DstTenant => Field::SrcTenant,
            Field::SrcNetwork => Field::DstNetwork,
            Field::DstNetwork => Field::SrcNetwork,
            Field::SrcVport => Field::DstVport,
            Field::DstVport => Field::SrcVport,
            other => other,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        ALL_FIELDS.into_iter().find(|field| field.name().eq_ignore_ascii_case(name))
    }
}
