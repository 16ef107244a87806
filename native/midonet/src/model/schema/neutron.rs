// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Messages of MidoNet's `neutron.proto`.

use super::commons::{ETHER_TYPE, LOG_EVENT, PROTOCOL, RULE_DIRECTION};
use super::{Class, Enum, enumeration, nested, opt, rep, stored};
use crate::model::FieldKind::{Bool, Int32, IpAddress, IpSubnet, Link, Message, OneOf, String, Uint32, Uuid};

pub(super) static MESSAGES: &[&Class] = &[
    &NEUTRON_NETWORK,
    &NEUTRON_SUBNET,
    &NEUTRON_SUBNET_IPALLOCATION_POOL,
    &NEUTRON_ROUTE,
    &NEUTRON_PORT,
    &NEUTRON_PORT_IPALLOCATION,
    &NEUTRON_PORT_BINDING_PROFILE,
    &NEUTRON_PORT_ALLOWED_ADDRESS_PAIR,
    &NEUTRON_PORT_EXTRA_DHCP_OPTS,
    &NEUTRON_ROUTER,
    &NEUTRON_ROUTER_EXTERNAL_GATEWAY_INFO,
    &NEUTRON_ROUTER_INTERFACE,
    &FLOATING_IP,
    &SECURITY_GROUP,
    &SECURITY_GROUP_RULE,
    &PORT_BINDING,
    &AGENT_MEMBERSHIP,
    &NEUTRON_CONFIG,
    &NEUTRON_FIREWALL,
    &NEUTRON_FIREWALL_RULE,
    &VPN_SERVICE,
    &IPSEC_SITE_CONNECTION,
    &IPSEC_SITE_CONNECTION_IKE_POLICY,
    &IPSEC_SITE_CONNECTION_IPSEC_POLICY,
    &GATEWAY_DEVICE,
    &L2_GATEWAY,
    &L2_GATEWAY_L2_GATEWAY_DEVICE,
    &L2_GATEWAY_CONNECTION,
    &REMOTE_MAC_ENTRY,
    &NEUTRON_BGP_SPEAKER,
    &NEUTRON_BGP_PEER,
    &TAP_SERVICE,
    &TAP_FLOW,
    &NEUTRON_LOGGING_RESOURCE,
    &FIREWALL_LOG,
];

pub(super) static ENUMS: &[&Enum] = &[
    &NEUTRON_NETWORK_NETWORK_TYPE,
    &NEUTRON_PORT_DEVICE_OWNER,
    &NEUTRON_CONFIG_TUNNEL_PROTOCOL,
    &NEUTRON_FIREWALL_RULE_FIREWALL_RULE_ACTION,
    &IPSEC_SITE_CONNECTION_STATUS,
    &IPSEC_SITE_CONNECTION_DPD_ACTION,
    &IPSEC_SITE_CONNECTION_AUTH_MODE,
    &IPSEC_SITE_CONNECTION_INITIATOR,
    &IPSEC_SITE_CONNECTION_ROUTE_MODE,
    &IPSEC_SITE_CONNECTION_IPSEC_PFS,
    &IPSEC_SITE_CONNECTION_IPSEC_AUTH_ALGORITHM,
    &IPSEC_SITE_CONNECTION_IPSEC_ENCRYPTION_ALGORITHM,
    &IPSEC_SITE_CONNECTION_IKE_POLICY_PHASE1_NEGOTIATION_MODE,
    &IPSEC_SITE_CONNECTION_IKE_POLICY_IKE_VERSION,
    &IPSEC_SITE_CONNECTION_IPSEC_POLICY_TRANSFORM_PROTOCOL,
    &IPSEC_SITE_CONNECTION_IPSEC_POLICY_ENCAPSULATION_MODE,
    &GATEWAY_DEVICE_GATEWAY_TYPE,
    &GATEWAY_DEVICE_GATEWAY_DEVICE_PROTOCOL,
    &NEUTRON_BGP_PEER_BGP_AUTH_TYPE,
    &TAP_FLOW_TAP_FLOW_DIRECTION,
];

pub(super) static NEUTRON_NETWORK: Class = stored(
    "NeutronNetwork",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("shared", 4, Bool),
        opt("admin_state_up", 5, Bool),
        opt("status", 6, String),
        rep("subnets", 7, Link("NeutronSubnet")),
        opt("external", 8, Bool),
        opt("network_type", 9, OneOf(&NEUTRON_NETWORK_NETWORK_TYPE)),
        opt("qos_policy_id", 10, Link("QosPolicy")),
    ],
);

pub(super) static NEUTRON_SUBNET: Class = stored(
    "NeutronSubnet",
    &[
        opt("id", 1, Uuid),
        opt("network_id", 2, Link("NeutronNetwork")),
        opt("tenant_id", 3, String),
        opt("name", 4, String),
        opt("cidr", 5, IpSubnet),
        opt("ip_version", 6, Uint32),
        opt("gateway_ip", 7, IpAddress),
        rep("allocation_pools", 8, Message("NeutronSubnet.IPAllocationPool")),
        rep("dns_nameservers", 9, IpAddress),
        rep("host_routes", 10, Message("NeutronRoute")),
        opt("enable_dhcp", 11, Bool),
        opt("shared", 12, Bool),
    ],
);

pub(super) static NEUTRON_SUBNET_IPALLOCATION_POOL: Class =
    nested("NeutronSubnet.IPAllocationPool", &[opt("start", 1, IpAddress), opt("end", 2, IpAddress)]);

pub(super) static NEUTRON_ROUTE: Class = nested("NeutronRoute", &[opt("destination", 1, IpSubnet), opt("nexthop", 2, IpAddress)]);

pub(super) static NEUTRON_PORT: Class = stored(
    "NeutronPort",
    &[
        opt("id", 1, Uuid),
        opt("network_id", 2, Link("NeutronNetwork")),
        opt("tenant_id", 3, String),
        opt("name", 4, String),
        opt("mac_address", 5, String),
        opt("admin_state_up", 6, Bool),
        rep("fixed_ips", 7, Message("NeutronPort.IPAllocation")),
        opt("device_owner", 8, OneOf(&NEUTRON_PORT_DEVICE_OWNER)).or("COMPUTE"),
        opt("device_id", 9, String),
        opt("status", 10, String),
        rep("security_groups", 11, Link("SecurityGroup")),
        opt("host_id", 12, String),
        opt("profile", 13, Message("NeutronPort.BindingProfile")),
        opt("port_security_enabled", 14, Bool).or("true"),
        rep("allowed_address_pairs", 15, Message("NeutronPort.AllowedAddressPair")),
        rep("extra_dhcp_opts", 16, Message("NeutronPort.ExtraDhcpOpts")),
        opt("qos_policy_id", 17, Link("QosPolicy")),
        rep("floating_ip_ids", 101, Link("FloatingIp")),
        opt("gw_router_id", 102, Link("NeutronRouter")),
    ],
);

pub(super) static NEUTRON_PORT_IPALLOCATION: Class = nested(
    "NeutronPort.IPAllocation",
    &[opt("ip_address", 1, IpAddress), opt("subnet_id", 2, Link("NeutronSubnet"))],
);

pub(super) static NEUTRON_PORT_BINDING_PROFILE: Class = nested("NeutronPort.BindingProfile", &[opt("interface_name", 1, String)]);

pub(super) static NEUTRON_PORT_ALLOWED_ADDRESS_PAIR: Class = nested(
    "NeutronPort.AllowedAddressPair",
    &[opt("ip_address", 1, IpSubnet), opt("mac_address", 2, String)],
);

pub(super) static NEUTRON_PORT_EXTRA_DHCP_OPTS: Class =
    nested("NeutronPort.ExtraDhcpOpts", &[opt("opt_name", 1, String), opt("opt_value", 2, String)]);

pub(super) static NEUTRON_ROUTER: Class = stored(
    "NeutronRouter",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("status", 3, String),
        opt("tenant_id", 4, String),
        opt("gw_port_id", 5, Link("NeutronPort")),
        opt("external_gateway_info", 6, Message("NeutronRouter.ExternalGatewayInfo")),
        opt("admin_state_up", 7, Bool),
        rep("routes", 8, Message("NeutronRoute")),
    ],
);

pub(super) static NEUTRON_ROUTER_EXTERNAL_GATEWAY_INFO: Class = nested(
    "NeutronRouter.ExternalGatewayInfo",
    &[opt("network_id", 1, Link("NeutronNetwork")), opt("enable_snat", 2, Bool)],
);

pub(super) static NEUTRON_ROUTER_INTERFACE: Class = stored(
    "NeutronRouterInterface",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("port_id", 3, Link("NeutronPort")),
        opt("subnet_id", 4, Link("NeutronSubnet")),
        rep("subnet_ids", 5, Link("NeutronSubnet")),
    ],
);

pub(super) static FLOATING_IP: Class = stored(
    "FloatingIp",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("router_id", 3, Link("NeutronRouter")),
        opt("port_id", 4, Link("NeutronPort")),
        opt("floating_ip_address", 5, IpAddress),
        opt("fixed_ip_address", 6, IpAddress),
        opt("floating_network_id", 7, Link("NeutronNetwork")),
    ],
);

pub(super) static SECURITY_GROUP: Class = stored(
    "SecurityGroup",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        rep("security_group_rules", 5, Message("SecurityGroupRule")),
    ],
);

pub(super) static SECURITY_GROUP_RULE: Class = stored(
    "SecurityGroupRule",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("security_group_id", 3, Link("SecurityGroup")),
        opt("direction", 4, OneOf(&RULE_DIRECTION)),
        opt("ethertype", 5, OneOf(&ETHER_TYPE)),
        opt("protocol", 6, OneOf(&PROTOCOL)),
        opt("port_range_min", 7, Int32),
        opt("port_range_max", 8, Int32),
        opt("remote_group_id", 9, Link("SecurityGroup")),
        opt("remote_ip_prefix", 10, String),
    ],
);

pub(super) static PORT_BINDING: Class = stored(
    "PortBinding",
    &[
        opt("id", 1, Uuid),
        opt("host_id", 2, Link("Host")),
        opt("interface_name", 3, String),
        opt("port_id", 4, Link("Port")),
    ],
);

pub(super) static AGENT_MEMBERSHIP: Class = stored("AgentMembership", &[opt("id", 1, Uuid), opt("ip_address", 2, IpAddress)]);

pub(super) static NEUTRON_CONFIG: Class = stored(
    "NeutronConfig",
    &[opt("id", 1, Uuid), opt("tunnel_protocol", 2, OneOf(&NEUTRON_CONFIG_TUNNEL_PROTOCOL))],
);

pub(super) static NEUTRON_FIREWALL: Class = stored(
    "NeutronFirewall",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("shared", 5, Bool),
        opt("admin_state_up", 6, Bool),
        opt("status", 7, String),
        opt("firewall_policy_id", 8, Uuid),
        rep("firewall_rule_list", 9, Message("NeutronFirewallRule")),
        rep("add_router_ids", 10, Link("NeutronRouter")),
        rep("del_router_ids", 11, Link("NeutronRouter")),
        opt("last_router", 12, Bool),
    ],
);

pub(super) static NEUTRON_FIREWALL_RULE: Class = nested(
    "NeutronFirewallRule",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("firewall_policy_id", 5, Uuid),
        opt("shared", 6, Bool),
        opt("protocol", 7, OneOf(&PROTOCOL)),
        opt("ip_version", 8, Int32),
        opt("source_ip_address", 9, IpSubnet),
        opt("destination_ip_address", 10, IpSubnet),
        opt("source_port", 11, String),
        opt("destination_port", 12, String),
        opt("action", 13, OneOf(&NEUTRON_FIREWALL_RULE_FIREWALL_RULE_ACTION)),
        opt("position", 14, Int32),
        opt("enabled", 15, Bool),
    ],
);

pub(super) static VPN_SERVICE: Class = stored(
    "VpnService",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("admin_state_up", 5, Bool),
        opt("router_id", 6, Link("NeutronRouter")),
        opt("external_ip", 20, IpAddress),
        opt("container_id", 21, Link("ServiceContainer")),
        rep("ipsec_site_connection_ids", 30, Link("IPSecSiteConnection")),
    ],
);

pub(super) static IPSEC_SITE_CONNECTION: Class = stored(
    "IPSecSiteConnection",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("admin_state_up", 5, Bool),
        opt("peer_address", 6, String),
        opt("peer_id", 7, String),
        rep("peer_cidrs", 8, IpSubnet),
        rep("local_cidrs", 9, IpSubnet),
        opt("route_mode", 10, OneOf(&IPSEC_SITE_CONNECTION_ROUTE_MODE)),
        opt("mtu", 11, Uint32),
        opt("initiator", 12, OneOf(&IPSEC_SITE_CONNECTION_INITIATOR)),
        opt("auth_mode", 13, OneOf(&IPSEC_SITE_CONNECTION_AUTH_MODE)),
        opt("psk", 14, String),
        opt("dpd_action", 15, OneOf(&IPSEC_SITE_CONNECTION_DPD_ACTION)),
        opt("dpd_interval", 16, Uint32),
        opt("dpd_timeout", 17, Uint32),
        opt("vpnservice_id", 18, Link("VpnService")),
        opt("ikepolicy", 20, Message("IPSecSiteConnection.IkePolicy")),
        opt("ipsecpolicy", 21, Message("IPSecSiteConnection.IPSecPolicy")),
        rep("route_ids", 101, Link("Route")),
    ],
);

pub(super) static IPSEC_SITE_CONNECTION_IKE_POLICY: Class = nested(
    "IPSecSiteConnection.IkePolicy",
    &[
        opt("auth_algorithm", 1, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_AUTH_ALGORITHM)),
        opt("encryption_algorithm", 2, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_ENCRYPTION_ALGORITHM)),
        opt(
            "phase1_negotiation_mode",
            3,
            OneOf(&IPSEC_SITE_CONNECTION_IKE_POLICY_PHASE1_NEGOTIATION_MODE),
        ),
        opt("ike_version", 4, OneOf(&IPSEC_SITE_CONNECTION_IKE_POLICY_IKE_VERSION)),
        opt("pfs", 5, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_PFS)),
        opt("lifetime_value", 6, Uint32),
        opt("lifetime_units", 7, String),
    ],
);

pub(super) static IPSEC_SITE_CONNECTION_IPSEC_POLICY: Class = nested(
    "IPSecSiteConnection.IPSecPolicy",
    &[
        opt("transform_protocol", 1, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_POLICY_TRANSFORM_PROTOCOL)),
        opt("auth_algorithm", 2, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_AUTH_ALGORITHM)),
        opt("encryption_algorithm", 3, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_ENCRYPTION_ALGORITHM)),
        opt("encapsulation_mode", 4, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_POLICY_ENCAPSULATION_MODE)),
        opt("pfs", 5, OneOf(&IPSEC_SITE_CONNECTION_IPSEC_PFS)),
        opt("lifetime_value", 6, Uint32),
        opt("lifetime_units", 7, String),
    ],
);

pub(super) static GATEWAY_DEVICE: Class = stored(
    "GatewayDevice",
    &[
        opt("id", 1, Uuid),
        opt("type", 2, OneOf(&GATEWAY_DEVICE_GATEWAY_TYPE)),
        opt("resource_id", 3, Uuid),
        rep("tunnel_ips", 4, IpAddress),
        opt("management_ip", 5, IpAddress),
        opt("management_port", 6, Uint32),
        opt("management_protocol", 7, OneOf(&GATEWAY_DEVICE_GATEWAY_DEVICE_PROTOCOL)),
        rep("remote_mac_entry_ids", 101, Link("RemoteMacEntry")),
    ],
);

pub(super) static L2_GATEWAY: Class = nested(
    "L2Gateway",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("tenant_id", 3, String),
        rep("devices", 4, Message("L2Gateway.L2GatewayDevice")),
    ],
);

pub(super) static L2_GATEWAY_L2_GATEWAY_DEVICE: Class = nested(
    "L2Gateway.L2GatewayDevice",
    &[opt("device_id", 1, Link("GatewayDevice")), opt("segmentation_id", 2, Uint32)],
);

pub(super) static L2_GATEWAY_CONNECTION: Class = stored(
    "L2GatewayConnection",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("network_id", 3, Link("NeutronNetwork")),
        opt("segmentation_id", 4, Uint32),
        opt("l2_gateway", 5, Message("L2Gateway")),
    ],
);

pub(super) static REMOTE_MAC_ENTRY: Class = stored(
    "RemoteMacEntry",
    &[
        opt("id", 1, Uuid),
        opt("device_id", 2, Link("GatewayDevice")),
        opt("vtep_address", 3, IpAddress),
        opt("mac_address", 4, String),
        opt("segmentation_id", 5, Uint32),
        rep("port_ids", 6, Link("Port")),
    ],
);

pub(super) static NEUTRON_BGP_SPEAKER: Class = stored(
    "NeutronBgpSpeaker",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("local_as", 4, Uint32),
        opt("ip_version", 5, Uint32),
        opt("logical_router", 6, Link("NeutronRouter")),
        rep("del_bgp_peer_ids", 7, Link("NeutronBgpPeer")),
    ],
);

pub(super) static NEUTRON_BGP_PEER: Class = stored(
    "NeutronBgpPeer",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("peer_ip", 4, IpAddress),
        opt("remote_as", 5, Uint32),
        opt("auth_type", 6, OneOf(&NEUTRON_BGP_PEER_BGP_AUTH_TYPE)),
        opt("password", 7, String),
        opt("bgp_speaker", 8, Message("NeutronBgpSpeaker")),
    ],
);

pub(super) static TAP_SERVICE: Class = stored(
    "TapService",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("port_id", 5, Link("NeutronPort")),
    ],
);

pub(super) static TAP_FLOW: Class = stored(
    "TapFlow",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("tap_service_id", 5, Link("TapService")),
        opt("source_port", 6, Link("NeutronPort")),
        opt("direction", 7, OneOf(&TAP_FLOW_TAP_FLOW_DIRECTION)),
    ],
);

pub(super) static NEUTRON_LOGGING_RESOURCE: Class = stored(
    "NeutronLoggingResource",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("description", 3, String),
        opt("tenant_id", 4, String),
        opt("enabled", 5, Bool),
    ],
);

pub(super) static FIREWALL_LOG: Class = stored(
    "FirewallLog",
    &[
        opt("id", 1, Uuid),
        opt("description", 2, String),
        opt("tenant_id", 3, String),
        opt("logging_resource_id", 4, Link("NeutronLoggingResource")),
        opt("logging_resource", 5, Message("NeutronLoggingResource")),
        opt("fw_event", 6, OneOf(&LOG_EVENT)),
        opt("firewall_id", 7, Link("NeutronFirewall")),
        opt("firewall", 8, Message("NeutronFirewall")),
    ],
);

pub(super) static NEUTRON_NETWORK_NETWORK_TYPE: Enum = enumeration(
    "NeutronNetwork.NetworkType",
    &[("LOCAL", 0), ("FLAT", 1), ("VLAN", 2), ("GRE", 3), ("UPLINK", 4)],
);
pub(super) static NEUTRON_PORT_DEVICE_OWNER: Enum = enumeration(
    "NeutronPort.DeviceOwner",
    &[
        ("DHCP", 0),
        ("FLOATINGIP", 1),
        ("ROUTER_GATEWAY", 2),
        ("ROUTER_INTERFACE", 3),
        ("COMPUTE", 4),
        ("LOADBALANCER", 5),
        ("REMOTE_SITE", 6),
        ("LOADBALANCERV2", 7),
    ],
);
pub(super) static NEUTRON_CONFIG_TUNNEL_PROTOCOL: Enum = enumeration("NeutronConfig.TunnelProtocol", &[("GRE", 1), ("VXLAN", 2)]);
pub(super) static NEUTRON_FIREWALL_RULE_FIREWALL_RULE_ACTION: Enum =
    enumeration("NeutronFirewallRule.FirewallRuleAction", &[("ALLOW", 0), ("DENY", 1)]);
pub(super) static IPSEC_SITE_CONNECTION_STATUS: Enum = enumeration(
    "IPSecSiteConnection.Status",
    &[
        ("ACTIVE", 1),
        ("DOWN", 2),
        ("BUILD", 3),
        ("ERROR", 4),
        ("PENDING_CREATE", 5),
        ("PENDING_UPDATE", 6),
        ("PENDING_DELETE", 7),
    ],
);
pub(super) static IPSEC_SITE_CONNECTION_DPD_ACTION: Enum = enumeration(
    "IPSecSiteConnection.DpdAction",
    &[("CLEAR", 1), ("HOLD", 2), ("RESTART", 3), ("DISABLED", 4), ("RESTART_BY_PEER", 5)],
);
pub(super) static IPSEC_SITE_CONNECTION_AUTH_MODE: Enum = enumeration("IPSecSiteConnection.AuthMode", &[("PSK", 1)]);
pub(super) static IPSEC_SITE_CONNECTION_INITIATOR: Enum =
    enumeration("IPSecSiteConnection.Initiator", &[("BI_DIRECTIONAL", 1), ("RESPONSE_ONLY", 2)]);
pub(super) static IPSEC_SITE_CONNECTION_ROUTE_MODE: Enum = enumeration("IPSecSiteConnection.RouteMode", &[("STATIC", 1)]);
pub(super) static IPSEC_SITE_CONNECTION_IPSEC_PFS: Enum =
    enumeration("IPSecSiteConnection.IPSecPfs", &[("GROUP2", 1), ("GROUP5", 2), ("GROUP14", 3)]);
pub(super) static IPSEC_SITE_CONNECTION_IPSEC_AUTH_ALGORITHM: Enum = enumeration("IPSecSiteConnection.IPSecAuthAlgorithm", &[("SHA1", 0)]);
pub(super) static IPSEC_SITE_CONNECTION_IPSEC_ENCRYPTION_ALGORITHM: Enum = enumeration(
    "IPSecSiteConnection.IPSecEncryptionAlgorithm",
    &[("DES_3", 0), ("AES_128", 1), ("AES_192", 2), ("AES_256", 3)],
);
pub(super) static IPSEC_SITE_CONNECTION_IKE_POLICY_PHASE1_NEGOTIATION_MODE: Enum =
    enumeration("IPSecSiteConnection.IkePolicy.Phase1NegotiationMode", &[("MAIN", 1)]);
pub(super) static IPSEC_SITE_CONNECTION_IKE_POLICY_IKE_VERSION: Enum =
    enumeration("IPSecSiteConnection.IkePolicy.IkeVersion", &[("V1", 1), ("V2", 2)]);
pub(super) static IPSEC_SITE_CONNECTION_IPSEC_POLICY_TRANSFORM_PROTOCOL: Enum = enumeration(
    "IPSecSiteConnection.IPSecPolicy.TransformProtocol",
    &[("ESP", 1), ("AH", 2), ("AH_ESP", 3)],
);
pub(super) static IPSEC_SITE_CONNECTION_IPSEC_POLICY_ENCAPSULATION_MODE: Enum =
    enumeration("IPSecSiteConnection.IPSecPolicy.EncapsulationMode", &[("TUNNEL", 1), ("TRANSPORT", 2)]);
pub(super) static GATEWAY_DEVICE_GATEWAY_TYPE: Enum =
    enumeration("GatewayDevice.GatewayType", &[("ROUTER_VTEP", 1), ("HW_VTEP", 2), ("NETWORK_VLAN", 3)]);
pub(super) static GATEWAY_DEVICE_GATEWAY_DEVICE_PROTOCOL: Enum = enumeration("GatewayDevice.GatewayDeviceProtocol", &[("OVSDB", 1)]);
pub(super) static NEUTRON_BGP_PEER_BGP_AUTH_TYPE: Enum = enumeration("NeutronBgpPeer.BgpAuthType", &[("NONE", 1), ("MD5", 2)]);
pub(super) static TAP_FLOW_TAP_FLOW_DIRECTION: Enum = enumeration("TapFlow.TapFlowDirection", &[("IN", 0), ("OUT", 1), ("BOTH", 2)]);
