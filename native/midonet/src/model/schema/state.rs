// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Messages of MidoNet's `state.proto`.

use super::{Class, Enum, enumeration, nested, opt, rep};
use crate::model::FieldKind::{Bool, Int32, IpAddress, Link, Message, OneOf, String, Uint64};

pub(super) static MESSAGES: &[&Class] = &[
    &CONTAINER_SERVICE_STATUS,
    &CONTAINER_STATUS,
    &HOST_STATE,
    &HOST_STATE_INTERFACE,
    &PORT_STATE,
    &VTEP_CONFIGURATION,
];

pub(super) static ENUMS: &[&Enum] = &[
    &CONTAINER_STATUS_CODE,
    &HOST_STATE_INTERFACE_TYPE,
    &HOST_STATE_INTERFACE_ENDPOINT,
    &HOST_STATE_INTERFACE_DP_PORT_TYPE,
    &VTEP_CONNECTION_STATE,
];

pub(super) static CONTAINER_SERVICE_STATUS: Class = nested(
    "ContainerServiceStatus",
    &[
        opt("weight", 1, Int32).or("1"),
        opt("quota", 2, Int32).or("-1"),
        opt("count", 3, Int32).or("0"),
    ],
);

pub(super) static CONTAINER_STATUS: Class = nested(
    "ContainerStatus",
    &[
        opt("status_code", 1, OneOf(&CONTAINER_STATUS_CODE)),
        opt("status_message", 2, String),
        opt("host_id", 3, Link("Host")),
        opt("namespace_name", 4, String),
        opt("interface_name", 5, String),
    ],
);

pub(super) static HOST_STATE: Class = nested(
    "HostState",
    &[opt("host_id", 1, Link("Host")), rep("interfaces", 2, Message("HostState.Interface"))],
);

pub(super) static HOST_STATE_INTERFACE: Class = nested(
    "HostState.Interface",
    &[
        opt("name", 1, String),
        opt("type", 2, OneOf(&HOST_STATE_INTERFACE_TYPE)),
        opt("mac", 3, String),
        rep("addresses", 4, IpAddress),
        opt("up", 5, Bool),
        opt("has_link", 6, Bool),
        opt("mtu", 7, Int32),
        opt("endpoint", 8, OneOf(&HOST_STATE_INTERFACE_ENDPOINT)),
        opt("port_type", 9, OneOf(&HOST_STATE_INTERFACE_DP_PORT_TYPE)),
        opt("ifindex", 10, Int32),
    ],
);

pub(super) static PORT_STATE: Class = nested("PortState", &[opt("host_id", 1, Link("Host")), opt("tunnel_key", 2, Uint64)]);

pub(super) static VTEP_CONFIGURATION: Class = nested(
    "VtepConfiguration",
    &[
        opt("vtep_id", 1, Link("Vtep")),
        opt("name", 2, String),
        opt("description", 3, String),
        rep("tunnel_addresses", 4, IpAddress),
    ],
);

pub(super) static CONTAINER_STATUS_CODE: Enum = enumeration(
    "ContainerStatus.Code",
    &[("STARTING", 1), ("RUNNING", 2), ("STOPPING", 3), ("STOPPED", 4), ("ERROR", 5)],
);
pub(super) static HOST_STATE_INTERFACE_TYPE: Enum = enumeration(
    "HostState.Interface.Type",
    &[("PHYSICAL", 1), ("VIRTUAL", 2), ("TUNNEL", 3), ("UNKNOWN", 4)],
);
pub(super) static HOST_STATE_INTERFACE_ENDPOINT: Enum = enumeration(
    "HostState.Interface.Endpoint",
    &[
        ("DATAPATH_EP", 1),
        ("PHYSICAL_EP", 2),
        ("VM_EP", 3),
        ("GRE_EP", 4),
        ("CAPWAP_EP", 5),
        ("LOCALHOST_EP", 6),
        ("TUNTAP_EP", 7),
        ("UNKNOWN_EP", 8),
    ],
);
pub(super) static HOST_STATE_INTERFACE_DP_PORT_TYPE: Enum = enumeration(
    "HostState.Interface.DpPortType",
    &[
        ("NET_DEV_DP", 1),
        ("INTERNAL_DP", 2),
        ("GRE_DP", 3),
        ("VXLAN_DP", 4),
        ("GRE64_DP", 5),
        ("LISP_DP", 6),
    ],
);
pub(super) static VTEP_CONNECTION_STATE: Enum = enumeration(
    "VtepConnectionState",
    &[("VTEP_DISCONNECTED", 1), ("VTEP_CONNECTED", 2), ("VTEP_ERROR", 3)],
);
