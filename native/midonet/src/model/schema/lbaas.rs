// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Messages of MidoNet's `neutron.proto` about load balancers.

use super::{Class, Enum, enumeration, nested, opt, rep, stored};
use crate::model::FieldKind::{Bool, Int32, IpAddress, Link, Message, OneOf, String, Uuid};

pub(super) static MESSAGES: &[&Class] = &[
    &NEUTRON_LOAD_BALANCER_V2,
    &NEUTRON_LOAD_BALANCER_V2_LISTENER,
    &NEUTRON_LOAD_BALANCER_POOL,
    &NEUTRON_LOAD_BALANCER_V2_POOL,
    &NEUTRON_LOAD_BALANCER_V2_POOL_LBV2_SESSION_PERSISTENCE_ALGORITHM,
    &NEUTRON_LOAD_BALANCER_POOL_MEMBER,
    &NEUTRON_LOAD_BALANCER_V2_POOL_MEMBER,
    &NEUTRON_VIP,
    &NEUTRON_VIP_SESSION_PERSISTENCE,
    &NEUTRON_HEALTH_MONITOR,
    &NEUTRON_HEALTH_MONITOR_POOL,
    &NEUTRON_HEALTH_MONITOR_V2,
];

pub(super) static ENUMS: &[&Enum] = &[
    &NEUTRON_LOAD_BALANCER_V2_LOAD_BALANCER_V2_STATUS,
    &NEUTRON_LOAD_BALANCER_V2_POOL_LOAD_BALANCER_V2_ALGORITHM,
    &NEUTRON_LOAD_BALANCER_V2_POOL_LOAD_BALANCER_V2_PROTOCOL,
    &NEUTRON_LOAD_BALANCER_V2_POOL_LBV2_SESSION_PERSISTENCE_TYPE,
    &NEUTRON_VIP_SESSION_PERSISTENCE_TYPE,
    &NEUTRON_HEALTH_MONITOR_V2_HEALTH_MONITOR_V2_TYPE,
];

pub(super) static NEUTRON_LOAD_BALANCER_V2: Class = nested(
    "NeutronLoadBalancerV2",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("admin_state_up", 5, Bool),
        opt("provisioning_status", 6, OneOf(&NEUTRON_LOAD_BALANCER_V2_LOAD_BALANCER_V2_STATUS)),
        opt("operating_status", 7, OneOf(&NEUTRON_LOAD_BALANCER_V2_LOAD_BALANCER_V2_STATUS)),
        rep("listeners", 8, Uuid),
        opt("vip_address", 9, String),
        opt("vip_subnet_id", 10, Uuid),
        opt("vip_port_id", 11, Uuid),
        opt("provider", 12, String),
        opt("flavor_id", 13, Uuid),
        rep("pools", 14, Uuid),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_V2_LISTENER: Class = nested(
    "NeutronLoadBalancerV2Listener",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("admin_state_up", 3, Bool),
        opt("default_pool_id", 4, Uuid),
        rep("loadbalancers", 5, Message("NeutronLoadBalancerV2")),
        opt("protocol_port", 6, Int32),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_POOL: Class = stored(
    "NeutronLoadBalancerPool",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("admin_state_up", 5, Bool),
        opt("lb_method", 6, String),
        rep("members", 7, Link("NeutronLoadBalancerPoolMember")),
        opt("subnet_id", 8, Link("NeutronSubnet")),
        opt("vip_id", 9, Link("NeutronVIP")),
        rep("health_monitors", 10, Link("NeutronHealthMonitor")),
        opt("protocol", 11, String),
        opt("provider", 12, String),
        opt("router_id", 13, Link("NeutronRouter")),
        opt("status", 14, String),
        opt("status_description", 15, String),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_V2_POOL: Class = nested(
    "NeutronLoadBalancerV2Pool",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("name", 3, String),
        opt("description", 4, String),
        opt("admin_state_up", 5, Bool),
        opt("lb_algorithm", 6, OneOf(&NEUTRON_LOAD_BALANCER_V2_POOL_LOAD_BALANCER_V2_ALGORITHM)),
        rep("members", 7, Message("NeutronLoadBalancerV2PoolMember")),
        opt("healthmonitor_id", 8, Uuid),
        opt("listener_id", 9, Uuid),
        rep("listeners", 10, Message("NeutronLoadBalancerV2Listener")),
        rep("loadbalancers", 11, Message("NeutronLoadBalancerV2")),
        opt("protocol", 12, OneOf(&NEUTRON_LOAD_BALANCER_V2_POOL_LOAD_BALANCER_V2_PROTOCOL)),
        opt(
            "session_persistence",
            13,
            Message("NeutronLoadBalancerV2Pool.LBV2SessionPersistenceAlgorithm"),
        ),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_V2_POOL_LBV2_SESSION_PERSISTENCE_ALGORITHM: Class = nested(
    "NeutronLoadBalancerV2Pool.LBV2SessionPersistenceAlgorithm",
    &[
        opt("type", 1, OneOf(&NEUTRON_LOAD_BALANCER_V2_POOL_LBV2_SESSION_PERSISTENCE_TYPE)),
        opt("cookie_name", 2, String),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_POOL_MEMBER: Class = stored(
    "NeutronLoadBalancerPoolMember",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("pool_id", 3, Link("NeutronLoadBalancerPool")),
        opt("address", 4, IpAddress),
        opt("admin_state_up", 5, Bool),
        opt("protocol_port", 6, Int32),
        opt("weight", 7, Int32),
        opt("status", 8, String),
        opt("status_description", 9, String),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_V2_POOL_MEMBER: Class = nested(
    "NeutronLoadBalancerV2PoolMember",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("address", 3, IpAddress),
        opt("admin_state_up", 4, Bool),
        opt("protocol_port", 5, Int32),
        opt("weight", 6, Int32),
        opt("subnet_id", 7, Uuid),
        opt("name", 8, String),
        opt("pool_id", 9, Uuid),
    ],
);

pub(super) static NEUTRON_VIP: Class = stored(
    "NeutronVIP",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("subnet_id", 3, Link("NeutronSubnet")),
        opt("name", 4, String),
        opt("address", 5, IpAddress),
        opt("pool_id", 6, Link("NeutronLoadBalancerPool")),
        opt("port_id", 7, Link("NeutronPort")),
        opt("description", 8, String),
        opt("admin_state_up", 9, Bool),
        opt("protocol", 10, String),
        opt("protocol_port", 11, Int32),
        opt("connection_limit", 12, Int32),
        opt("session_persistence", 13, Message("NeutronVIP.SessionPersistence")),
        opt("status", 14, String),
        opt("status_description", 15, String),
    ],
);

pub(super) static NEUTRON_VIP_SESSION_PERSISTENCE: Class = nested(
    "NeutronVIP.SessionPersistence",
    &[
        opt("type", 1, OneOf(&NEUTRON_VIP_SESSION_PERSISTENCE_TYPE)),
        opt("cookie_name", 2, String),
    ],
);

pub(super) static NEUTRON_HEALTH_MONITOR: Class = stored(
    "NeutronHealthMonitor",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("admin_state_up", 3, Bool),
        rep("pools", 4, Message("NeutronHealthMonitor.Pool")),
        opt("delay", 5, Int32),
        opt("max_retries", 6, Int32),
        opt("timeout", 7, Int32),
        opt("type", 8, String),
    ],
);

pub(super) static NEUTRON_HEALTH_MONITOR_POOL: Class = nested(
    "NeutronHealthMonitor.Pool",
    &[
        opt("pool_id", 1, Link("NeutronLoadBalancerPool")),
        opt("status", 2, String),
        opt("status_description", 3, String),
    ],
);

pub(super) static NEUTRON_HEALTH_MONITOR_V2: Class = nested(
    "NeutronHealthMonitorV2",
    &[
        opt("id", 1, Uuid),
        opt("tenant_id", 2, String),
        opt("admin_state_up", 3, Bool),
        rep("pools", 4, Message("NeutronLoadBalancerV2Pool")),
        opt("expected_codes", 5, String),
        opt("http_method", 6, String),
        opt("url_path", 7, String),
        opt("delay", 8, Int32),
        opt("max_retries", 9, Int32),
        opt("timeout", 10, Int32),
        opt("type", 11, OneOf(&NEUTRON_HEALTH_MONITOR_V2_HEALTH_MONITOR_V2_TYPE)),
        opt("name", 12, String),
    ],
);

pub(super) static NEUTRON_LOAD_BALANCER_V2_LOAD_BALANCER_V2_STATUS: Enum = enumeration(
    "NeutronLoadBalancerV2.LoadBalancerV2Status",
    &[("ACTIVE", 1), ("PENDING_CREATE", 2), ("ERROR", 3)],
);
pub(super) static NEUTRON_LOAD_BALANCER_V2_POOL_LOAD_BALANCER_V2_ALGORITHM: Enum =
    enumeration("NeutronLoadBalancerV2Pool.LoadBalancerV2Algorithm", &[("ROUND_ROBIN", 1)]);
pub(super) static NEUTRON_LOAD_BALANCER_V2_POOL_LOAD_BALANCER_V2_PROTOCOL: Enum = enumeration(
    "NeutronLoadBalancerV2Pool.LoadBalancerV2Protocol",
    &[("TCP", 1), ("HTTP", 2), ("HTTPS", 3)],
);
pub(super) static NEUTRON_LOAD_BALANCER_V2_POOL_LBV2_SESSION_PERSISTENCE_TYPE: Enum = enumeration(
    "NeutronLoadBalancerV2Pool.LBV2SessionPersistenceType",
    &[("SOURCE_IP", 1), ("HTTP_COOKIE", 2), ("APP_COOKIE", 3)],
);
pub(super) static NEUTRON_VIP_SESSION_PERSISTENCE_TYPE: Enum = enumeration(
    "NeutronVIP.SessionPersistence.Type",
    &[("SOURCE_IP", 0), ("HTTP_COOKIE", 1), ("APP_COOKIE", 2)],
);
pub(super) static NEUTRON_HEALTH_MONITOR_V2_HEALTH_MONITOR_V2_TYPE: Enum = enumeration(
    "NeutronHealthMonitorV2.HealthMonitorV2Type",
    &[("PING", 1), ("HTTP", 2), ("HTTPS", 3), ("TCP", 4)],
);
