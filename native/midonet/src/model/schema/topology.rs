// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Messages of MidoNet's `topology.proto`.

use super::commons::{LBSTATUS, LOG_EVENT};
use super::{Class, Enum, enumeration, nested, opt, rep, stored};
use crate::model::FieldKind::{Bool, Int32, IpAddress, IpSubnet, Link, Message, OneOf, String, Uint32, Uint64, Uuid};

pub(super) static MESSAGES: &[&Class] = &[
    &BGP_NETWORK,
    &BGP_PEER,
    &CHAIN,
    &DHCP,
    &DHCP_OPT121_ROUTE,
    &DHCP_HOST,
    &DHCP_HOST_EXTRA_DHCP_OPT,
    &DHCP_V6,
    &DHCP_V6_HOST,
    &HEALTH_MONITOR,
    &HOST,
    &HOST_GROUP,
    &IPADDR_GROUP,
    &IPADDR_GROUP_IPADDR_PORTS,
    &L2_INSERTION,
    &LOAD_BALANCER,
    &LOGGING_RESOURCE,
    &MIRROR,
    &NETWORK,
    &POOL,
    &POOL_MEMBER,
    &PORT,
    &PORT_GROUP,
    &QOS_RULE_BANDWIDTH_LIMIT,
    &QOS_RULE_DSCP,
    &QOS_POLICY,
    &QOS_POLICY_QOS_RULE,
    &ROUTE,
    &ROUTER,
    &RULE,
    &RULE_JUMP_RULE_DATA,
    &RULE_NAT_TARGET,
    &RULE_NAT_RULE_DATA,
    &RULE_TRACE_RULE_DATA,
    &RULE_L2_TRANSFORM_RULE_DATA,
    &RULE_LOGGER,
    &SERVICE_CONTAINER,
    &SERVICE_CONTAINER_GROUP,
    &TRACE_REQUEST,
    &TUNNEL_ZONE,
    &TUNNEL_ZONE_HOST_TO_IP,
    &VIP,
    &VTEP,
    &VTEP_BINDING,
];

pub(super) static ENUMS: &[&Enum] = &[
    &TYPE,
    &HEALTH_MONITOR_HEALTH_MONITOR_TYPE,
    &LOGGING_RESOURCE_TYPE,
    &POOL_POOL_PROTOCOL,
    &POOL_POOL_LBMETHOD,
    &POOL_POOL_HEALTH_MONITOR_MAPPING_STATUS,
    &ROUTE_NEXT_HOP,
    &RULE_TYPE,
    &RULE_ACTION,
    &SERVICE_CONTAINER_POLICY,
    &SESSION_PERSISTENCE,
    &TUNNEL_ZONE_TYPE,
];

pub(super) static BGP_NETWORK: Class = stored(
    "BgpNetwork",
    &[opt("id", 1, Uuid), opt("subnet", 2, IpSubnet), opt("router_id", 3, Link("Router"))],
);

pub(super) static BGP_PEER: Class = stored(
    "BgpPeer",
    &[
        opt("id", 1, Uuid),
        opt("as_number", 2, Int32),
        opt("address", 3, IpAddress),
        opt("keep_alive", 4, Int32),
        opt("hold_time", 5, Int32),
        opt("connect_retry", 6, Int32),
        opt("password", 8, String),
        opt("router_id", 7, Link("Router")),
    ],
);

pub(super) static CHAIN: Class = stored(
    "Chain",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("tenant_id", 3, String),
        rep("logger_ids", 4, Link("RuleLogger")),
        rep("metadata", 5, Message("MetadataEntry")),
        rep("rule_ids", 101, Link("Rule")),
        rep("network_inbound_ids", 102, Link("Network")),
        rep("network_outbound_ids", 103, Link("Network")),
        rep("router_inbound_ids", 104, Link("Router")),
        rep("router_outbound_ids", 105, Link("Router")),
        rep("port_inbound_ids", 106, Link("Port")),
        rep("port_outbound_ids", 107, Link("Port")),
        rep("jump_rule_ids", 108, Link("Rule")),
        rep("router_redirect_ids", 109, Link("Router")),
    ],
);

pub(super) static DHCP: Class = stored(
    "Dhcp",
    &[
        opt("id", 1, Uuid),
        opt("network_id", 2, Link("Network")),
        opt("subnet_address", 3, IpSubnet),
        opt("server_address", 4, IpAddress),
        rep("dns_server_address", 5, IpAddress),
        opt("default_gateway", 6, IpAddress),
        opt("interface_mtu", 7, Int32),
        rep("opt121_routes", 8, Message("Dhcp.Opt121Route")),
        rep("hosts", 9, Message("Dhcp.Host")),
        opt("enabled", 10, Bool),
        opt("router_if_port_id", 101, Link("Port")),
        rep("gateway_route_ids", 102, Link("Route")),
    ],
);

pub(super) static DHCP_OPT121_ROUTE: Class = nested("Dhcp.Opt121Route", &[opt("dst_subnet", 1, IpSubnet), opt("gateway", 2, IpAddress)]);

pub(super) static DHCP_HOST: Class = nested(
    "Dhcp.Host",
    &[
        opt("mac", 1, String),
        opt("ip_address", 2, IpAddress),
        opt("name", 3, String),
        rep("extra_dhcp_opts", 4, Message("Dhcp.Host.ExtraDhcpOpt")),
    ],
);

pub(super) static DHCP_HOST_EXTRA_DHCP_OPT: Class = nested("Dhcp.Host.ExtraDhcpOpt", &[opt("name", 1, String), opt("value", 2, String)]);

pub(super) static DHCP_V6: Class = stored(
    "DhcpV6",
    &[
        opt("id", 1, Uuid),
        opt("network_id", 2, Link("Network")),
        opt("subnet_address", 3, IpSubnet),
        rep("hosts", 4, Message("DhcpV6.Host")),
    ],
);

pub(super) static DHCP_V6_HOST: Class = nested(
    "DhcpV6.Host",
    &[opt("client_id", 1, String), opt("ip_address", 2, IpAddress), opt("name", 3, String)],
);

pub(super) static HEALTH_MONITOR: Class = stored(
    "HealthMonitor",
    &[
        opt("id", 1, Uuid),
        opt("admin_state_up", 2, Bool),
        opt("type", 3, OneOf(&HEALTH_MONITOR_HEALTH_MONITOR_TYPE)).or("TCP"),
        opt("status", 4, OneOf(&LBSTATUS)).or("ACTIVE"),
        opt("delay", 5, Int32),
        opt("timeout", 6, Int32),
        opt("max_retries", 7, Int32),
        rep("pool_ids", 101, Link("Pool")),
    ],
);

pub(super) static HOST: Class = stored(
    "Host",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("flooding_proxy_weight", 3, Int32).or("1"),
        opt("container_weight", 4, Int32).or("1"),
        opt("container_limit", 5, Int32).or("-1"),
        opt("enforce_container_limit", 6, Bool).or("false"),
        rep("tunnel_zone_ids", 101, Link("TunnelZone")),
        rep("port_ids", 102, Link("Port")),
        rep("host_group_ids", 103, Link("HostGroup")),
    ],
);

pub(super) static HOST_GROUP: Class = stored(
    "HostGroup",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        rep("host_ids", 101, Link("Host")),
        rep("service_group_ids", 102, Link("ServiceContainerGroup")),
    ],
);

pub(super) static IPADDR_GROUP: Class = stored(
    "IPAddrGroup",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        rep("ip_addr_ports", 3, Message("IPAddrGroup.IPAddrPorts")),
        opt("inbound_chain_id", 4, Link("Chain")),
        opt("outbound_chain_id", 5, Link("Chain")),
        rep("rule_ids", 6, Link("Rule")),
    ],
);

pub(super) static IPADDR_GROUP_IPADDR_PORTS: Class = nested(
    "IPAddrGroup.IPAddrPorts",
    &[opt("ip_address", 1, IpAddress), rep("port_ids", 2, Link("Port"))],
);

pub(super) static L2_INSERTION: Class = stored(
    "L2Insertion",
    &[
        opt("id", 1, Uuid),
        opt("port_id", 2, Link("Port")),
        opt("srv_port_id", 3, Link("Port")),
        opt("vlan", 4, Uint32),
        opt("fail_open", 5, Bool),
        opt("position", 6, Uint32),
        opt("mac", 7, String),
        opt("srv_rule_in_id", 100, Link("Rule")),
        opt("srv_rule_out_id", 101, Link("Rule")),
    ],
);

pub(super) static LOAD_BALANCER: Class = stored(
    "LoadBalancer",
    &[
        opt("id", 1, Uuid),
        opt("admin_state_up", 2, Bool),
        opt("service_container_id", 3, Link("ServiceContainer")),
        opt("router_id", 101, Link("Router")),
        rep("pool_ids", 102, Link("Pool")),
    ],
);

pub(super) static LOGGING_RESOURCE: Class = stored(
    "LoggingResource",
    &[
        opt("id", 1, Uuid),
        opt("type", 2, OneOf(&LOGGING_RESOURCE_TYPE)),
        opt("enabled", 3, Bool),
        rep("logger_ids", 101, Link("RuleLogger")),
    ],
);

pub(super) static MIRROR: Class = stored(
    "Mirror",
    &[
        opt("id", 1, Uuid),
        opt("to_port_id", 2, Link("Port")),
        rep("conditions", 3, Message("Condition")),
        rep("network_inbound_ids", 101, Link("Network")),
        rep("network_outbound_ids", 102, Link("Network")),
        rep("router_inbound_ids", 103, Link("Router")),
        rep("router_outbound_ids", 104, Link("Router")),
        rep("port_inbound_ids", 105, Link("Port")),
        rep("port_outbound_ids", 106, Link("Port")),
        rep("port_post_in_filter_ids", 107, Link("Port")),
        rep("port_pre_out_filter_ids", 108, Link("Port")),
    ],
);

pub(super) static NETWORK: Class = stored(
    "Network",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("admin_state_up", 4, Bool),
        opt("tunnel_key", 5, Uint64),
        opt("inbound_filter_id", 6, Link("Chain")),
        opt("outbound_filter_id", 7, Link("Chain")),
        opt("vni", 8, Uint32),
        rep("inbound_mirror_ids", 9, Link("Mirror")),
        rep("outbound_mirror_ids", 10, Link("Mirror")),
        opt("qos_policy_id", 11, Link("QosPolicy")),
        rep("port_ids", 101, Link("Port")),
        rep("vxlan_port_ids", 102, Link("Port")),
        rep("dhcp_ids", 103, Link("Dhcp")),
        rep("dhcpv6_ids", 104, Link("DhcpV6")),
        rep("trace_request_ids", 105, Link("TraceRequest")),
    ],
);

pub(super) static POOL: Class = stored(
    "Pool",
    &[
        opt("id", 1, Uuid),
        opt("health_monitor_id", 2, Link("HealthMonitor")),
        opt("load_balancer_id", 3, Link("LoadBalancer")),
        opt("admin_state_up", 4, Bool),
        opt("protocol", 5, OneOf(&POOL_POOL_PROTOCOL)).or("TCP"),
        opt("lb_method", 6, OneOf(&POOL_POOL_LBMETHOD)).or("ROUND_ROBIN"),
        opt("status", 7, OneOf(&LBSTATUS)).or("ACTIVE"),
        opt("mapping_status", 8, OneOf(&POOL_POOL_HEALTH_MONITOR_MAPPING_STATUS)),
        opt("session_persistence", 9, OneOf(&SESSION_PERSISTENCE)),
        rep("pool_member_ids", 101, Link("PoolMember")),
        rep("vip_ids", 102, Link("Vip")),
    ],
);

pub(super) static POOL_MEMBER: Class = stored(
    "PoolMember",
    &[
        opt("id", 1, Uuid),
        opt("admin_state_up", 2, Bool),
        opt("pool_id", 3, Link("Pool")),
        opt("status", 4, OneOf(&LBSTATUS)).or("ACTIVE"),
        opt("address", 5, IpAddress),
        opt("protocol_port", 6, Int32),
        opt("weight", 7, Int32),
    ],
);

pub(super) static PORT: Class = stored(
    "Port",
    &[
        opt("id", 1, Uuid),
        opt("network_id", 2, Link("Network")),
        opt("router_id", 3, Link("Router")),
        opt("inbound_filter_id", 4, Link("Chain")),
        opt("outbound_filter_id", 5, Link("Chain")),
        opt("tunnel_key", 6, Uint64),
        opt("peer_id", 7, Link("Port")),
        opt("vif_id", 8, Uuid),
        opt("host_id", 9, Link("Host")),
        opt("previous_host_id", 28, Link("Host")),
        opt("interface_name", 10, String),
        opt("admin_state_up", 11, Bool).or("true"),
        rep("port_group_ids", 12, Link("PortGroup")),
        opt("vlan_id", 13, Uint32),
        rep("port_subnet", 14, IpSubnet),
        opt("port_address", 15, IpAddress),
        opt("port_mac", 16, String),
        rep("route_ids", 17, Link("Route")),
        opt("dhcp_id", 18, Link("Dhcp")),
        opt("vtep_id", 19, Link("Vtep")),
        rep("inbound_mirror_ids", 20, Link("Mirror")),
        rep("outbound_mirror_ids", 21, Link("Mirror")),
        opt("l2insertion_infilter_id", 23, Link("Chain")),
        opt("l2insertion_outfilter_id", 24, Link("Chain")),
        opt("service_container_id", 25, Link("ServiceContainer")),
        rep("post_in_filter_mirror_ids", 26, Link("Mirror")),
        rep("pre_out_filter_mirror_ids", 27, Link("Mirror")),
        opt("vni", 40, Uint32),
        opt("off_ramp_vxlan", 41, Bool),
        opt("tunnel_ip", 42, IpAddress),
        opt("qos_policy_id", 43, Link("QosPolicy")),
        rep("vip_ids", 101, Link("Vip")),
        rep("fip_nat_rule_ids", 102, Link("Rule")),
        rep("trace_request_ids", 103, Link("TraceRequest")),
        rep("mirror_ids", 104, Link("Mirror")),
        rep("insertion_ids", 110, Link("L2Insertion")),
        rep("srv_insertion_ids", 111, Link("L2Insertion")),
        rep("remote_mac_entry_ids", 120, Link("RemoteMacEntry")),
    ],
);

pub(super) static PORT_GROUP: Class = stored(
    "PortGroup",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("tenant_id", 3, String),
        opt("stateful", 4, Bool),
        rep("port_ids", 101, Link("Port")),
        rep("service_group_ids", 102, Link("ServiceContainerGroup")),
    ],
);

pub(super) static QOS_RULE_BANDWIDTH_LIMIT: Class = stored(
    "QosRuleBandwidthLimit",
    &[
        opt("id", 1, Uuid),
        opt("max_kbps", 2, Int32),
        opt("max_burst_kb", 3, Int32),
        opt("policy_id", 101, Link("QosPolicy")),
    ],
);

pub(super) static QOS_RULE_DSCP: Class = stored(
    "QosRuleDscp",
    &[opt("id", 1, Uuid), opt("dscp_mark", 2, Int32), opt("policy_id", 101, Link("QosPolicy"))],
);

pub(super) static QOS_POLICY: Class = stored(
    "QosPolicy",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("description", 3, String),
        opt("shared", 4, Bool),
        rep("rules", 5, Message("QosPolicy.QosRule")),
        rep("bandwidth_limit_rule_ids", 6, Link("QosRuleBandwidthLimit")),
        rep("dscp_marking_rule_ids", 7, Link("QosRuleDscp")),
        opt("tenant_id", 8, String),
        rep("port_ids", 101, Link("Port")),
        rep("network_ids", 102, Link("Network")),
    ],
);

pub(super) static QOS_POLICY_QOS_RULE: Class = nested(
    "QosPolicy.QosRule",
    &[
        opt("id", 1, Uuid),
        opt("type", 2, String),
        opt("max_kbps", 3, Int32),
        opt("max_burst_kb", 4, Int32),
        opt("dscp_mark", 5, Int32),
    ],
);

pub(super) static ROUTE: Class = stored(
    "Route",
    &[
        opt("id", 1, Uuid),
        opt("src_subnet", 2, IpSubnet),
        opt("dst_subnet", 3, IpSubnet),
        opt("next_hop", 4, OneOf(&ROUTE_NEXT_HOP)),
        opt("next_hop_port_id", 5, Link("Port")),
        opt("weight", 6, Int32),
        opt("attributes", 7, String),
        opt("router_id", 8, Link("Router")),
        opt("next_hop_gateway", 9, IpAddress),
        opt("gateway_dhcp_id", 10, Link("Dhcp")),
        opt("ipsec_site_connection_id", 11, Link("IPSecSiteConnection")),
    ],
);

pub(super) static ROUTER: Class = stored(
    "Router",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("admin_state_up", 4, Bool),
        opt("inbound_filter_id", 5, Link("Chain")),
        opt("outbound_filter_id", 6, Link("Chain")),
        opt("load_balancer_id", 7, Link("LoadBalancer")),
        rep("route_ids", 8, Link("Route")),
        opt("as_number", 9, Int32).or("-1"),
        rep("bgp_network_ids", 10, Link("BgpNetwork")),
        rep("bgp_peer_ids", 11, Link("BgpPeer")),
        rep("inbound_mirror_ids", 12, Link("Mirror")),
        rep("outbound_mirror_ids", 13, Link("Mirror")),
        opt("local_redirect_chain_id", 14, Link("Chain")),
        opt("forward_chain_id", 15, Link("Chain")),
        rep("port_ids", 101, Link("Port")),
        rep("trace_request_ids", 102, Link("TraceRequest")),
        rep("vpn_service_ids", 103, Link("VpnService")),
    ],
);

pub(super) static RULE: Class = stored(
    "Rule",
    &[
        opt("id", 1, Uuid),
        opt("type", 2, OneOf(&RULE_TYPE)),
        opt("chain_id", 3, Link("Chain")),
        opt("action", 4, OneOf(&RULE_ACTION)),
        opt("condition", 5, Message("Condition")),
        opt("fip_port_id", 6, Link("Port")),
        rep("metadata", 7, Message("MetadataEntry")),
        opt("jump_rule_data", 100, Message("Rule.JumpRuleData")),
        opt("nat_rule_data", 101, Message("Rule.NatRuleData")),
        opt("trace_rule_data", 102, Message("Rule.TraceRuleData")),
        opt("transform_rule_data", 103, Message("Rule.L2TransformRuleData")),
    ],
);

pub(super) static RULE_JUMP_RULE_DATA: Class = nested(
    "Rule.JumpRuleData",
    &[opt("jump_chain_id", 1, Link("Chain")), opt("jump_chain_name", 2, String)],
);

pub(super) static RULE_NAT_TARGET: Class = nested(
    "Rule.NatTarget",
    &[
        opt("nw_start", 1, IpAddress),
        opt("nw_end", 2, IpAddress),
        opt("tp_start", 3, Uint32),
        opt("tp_end", 4, Uint32),
    ],
);

pub(super) static RULE_NAT_RULE_DATA: Class = nested(
    "Rule.NatRuleData",
    &[
        rep("nat_targets", 1, Message("Rule.NatTarget")),
        opt("dnat", 2, Bool),
        opt("reverse", 3, Bool),
    ],
);

pub(super) static RULE_TRACE_RULE_DATA: Class = nested(
    "Rule.TraceRuleData",
    &[opt("trace_request_id", 1, Link("TraceRequest")), opt("limit", 2, Uint64)],
);

pub(super) static RULE_L2_TRANSFORM_RULE_DATA: Class = nested(
    "Rule.L2TransformRuleData",
    &[
        opt("pop_vlan", 1, Bool),
        opt("push_vlan", 2, Uint32),
        opt("target_port_id", 3, Link("Port")),
        opt("ingress", 4, Bool),
        opt("fail_open", 5, Bool),
    ],
);

pub(super) static RULE_LOGGER: Class = stored(
    "RuleLogger",
    &[
        opt("id", 1, Uuid),
        opt("logging_resource_id", 2, Link("LoggingResource")),
        opt("event", 3, OneOf(&LOG_EVENT)),
        opt("chain_id", 4, Link("Chain")),
    ],
);

pub(super) static SERVICE_CONTAINER: Class = stored(
    "ServiceContainer",
    &[
        opt("id", 1, Uuid),
        opt("service_group_id", 2, Link("ServiceContainerGroup")),
        opt("port_id", 3, Link("Port")),
        opt("service_type", 4, String),
        opt("configuration_id", 5, Uuid),
    ],
);

pub(super) static SERVICE_CONTAINER_GROUP: Class = stored(
    "ServiceContainerGroup",
    &[
        opt("id", 1, Uuid),
        opt("policy", 2, OneOf(&SERVICE_CONTAINER_POLICY)).or("WEIGHTED_SCHEDULER"),
        opt("host_group_id", 3, Link("HostGroup")),
        opt("port_group_id", 4, Link("PortGroup")),
        rep("service_container_ids", 101, Link("ServiceContainer")),
    ],
);

pub(super) static TRACE_REQUEST: Class = stored(
    "TraceRequest",
    &[
        opt("id", 1, Uuid),
        opt("enabled", 2, Bool),
        opt("condition", 3, Message("Condition")),
        opt("limit", 4, Uint64),
        opt("name", 5, String),
        opt("create_timestamp_ms", 6, Uint64),
        opt("port_id", 101, Link("Port")),
        opt("network_id", 102, Link("Network")),
        opt("router_id", 103, Link("Router")),
    ],
);

pub(super) static TUNNEL_ZONE: Class = stored(
    "TunnelZone",
    &[
        opt("id", 1, Uuid),
        opt("name", 2, String),
        opt("type", 3, OneOf(&TUNNEL_ZONE_TYPE)),
        rep("hosts", 4, Message("TunnelZone.HostToIp")),
        rep("host_ids", 5, Link("Host")),
    ],
);

pub(super) static TUNNEL_ZONE_HOST_TO_IP: Class = nested("TunnelZone.HostToIp", &[opt("host_id", 1, Link("Host")), opt("ip", 2, IpAddress)]);

pub(super) static VIP: Class = stored(
    "Vip",
    &[
        opt("id", 1, Uuid),
        opt("admin_state_up", 2, Bool),
        opt("pool_id", 3, Link("Pool")),
        opt("address", 4, IpAddress),
        opt("protocol_port", 5, Uint32),
        opt("session_persistence", 6, OneOf(&SESSION_PERSISTENCE)),
        opt("gateway_port_id", 7, Link("Port")),
    ],
);

pub(super) static VTEP: Class = stored(
    "Vtep",
    &[
        opt("id", 1, Uuid),
        opt("management_ip", 2, IpAddress),
        opt("management_port", 3, Uint32),
        opt("tunnel_zone_id", 4, Link("TunnelZone")),
        rep("bindings", 6, Message("Vtep.Binding")),
    ],
);

pub(super) static VTEP_BINDING: Class = nested(
    "Vtep.Binding",
    &[
        opt("port_name", 1, String),
        opt("vlan_id", 2, Uint32),
        opt("network_id", 3, Link("Network")),
    ],
);

pub(super) static TYPE: Enum = enumeration(
    "Type",
    &[
        ("BGP_NETWORK", 1),
        ("BGP_PEER", 2),
        ("CHAIN", 3),
        ("DHCP", 4),
        ("DHCP_V6", 5),
        ("HEALTH_MONITOR", 6),
        ("HOST", 7),
        ("IP_ADDR_GROUP", 8),
        ("LOAD_BALANCER", 9),
        ("NETWORK", 10),
        ("POOL", 11),
        ("POOL_MEMBER", 12),
        ("PORT", 13),
        ("PORT_GROUP", 14),
        ("ROUTE", 15),
        ("ROUTER", 16),
        ("RULE", 17),
        ("TRACE_REQUEST", 18),
        ("TUNNEL_ZONE", 19),
        ("VIP", 20),
        ("VTEP", 21),
        ("MIRROR", 22),
        ("HOST_GROUP", 23),
        ("L2INSERTION", 31),
        ("SERVICE_CONTAINER", 32),
        ("SERVICE_CONTAINER_GROUP", 33),
        ("QOS_POLICY", 34),
        ("QOS_RULE_BWLIMIT", 35),
        ("QOS_RULE_DSCP", 36),
    ],
);
pub(super) static HEALTH_MONITOR_HEALTH_MONITOR_TYPE: Enum = enumeration("HealthMonitor.HealthMonitorType", &[("TCP", 1)]);
pub(super) static LOGGING_RESOURCE_TYPE: Enum = enumeration("LoggingResource.Type", &[("FILE", 1)]);
pub(super) static POOL_POOL_PROTOCOL: Enum = enumeration("Pool.PoolProtocol", &[("TCP", 1)]);
pub(super) static POOL_POOL_LBMETHOD: Enum = enumeration("Pool.PoolLBMethod", &[("ROUND_ROBIN", 1)]);
pub(super) static POOL_POOL_HEALTH_MONITOR_MAPPING_STATUS: Enum = enumeration(
    "Pool.PoolHealthMonitorMappingStatus",
    &[
        ("ACTIVE", 1),
        ("INACTIVE", 2),
        ("PENDING_CREATE", 3),
        ("PENDING_UPDATE", 4),
        ("PENDING_DELETE", 5),
        ("ERROR", 6),
    ],
);
pub(super) static ROUTE_NEXT_HOP: Enum = enumeration(
    "Route.NextHop",
    &[("BLACKHOLE", 0), ("REJECT", 1), ("PORT", 2), ("LOCAL", 3), ("FIP64", 4)],
);
pub(super) static RULE_TYPE: Enum = enumeration(
    "Rule.Type",
    &[
        ("LITERAL_RULE", 1),
        ("NAT_RULE", 2),
        ("JUMP_RULE", 3),
        ("TRACE_RULE", 4),
        ("L2TRANSFORM_RULE", 5),
    ],
);
pub(super) static RULE_ACTION: Enum = enumeration(
    "Rule.Action",
    &[
        ("ACCEPT", 1),
        ("CONTINUE", 2),
        ("DROP", 3),
        ("JUMP", 4),
        ("REJECT", 5),
        ("RETURN", 6),
        ("REDIRECT", 7),
    ],
);
pub(super) static SERVICE_CONTAINER_POLICY: Enum = enumeration("ServiceContainerPolicy", &[("WEIGHTED_SCHEDULER", 0), ("LEAST_SCHEDULER", 1)]);
pub(super) static SESSION_PERSISTENCE: Enum = enumeration("SessionPersistence", &[("SOURCE_IP", 1)]);
pub(super) static TUNNEL_ZONE_TYPE: Enum = enumeration("TunnelZone.Type", &[("GRE", 1), ("VXLAN", 2), ("VTEP", 3)]);
