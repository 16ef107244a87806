// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Rows for unit tests.

use uuid::Uuid;

use crate::row::{FlowRow, Mac, Verdict};

/// A flow at a time, the same each time.
pub(crate) fn flow(time_us: i64) -> FlowRow {
    FlowRow {
        time_us,
        gateway: Uuid::from_bytes([1; 16]),
        host: Uuid::from_bytes([2; 16]),
        sim_result: 8,
        verdict: Verdict::Allowed,
        transit: false,
        untrusted: 0,
        cookie: 42,
        dp_port: 7,
        in_port: Some(Uuid::from_bytes([3; 16])),
        src_port: None,
        dst_port: None,
        src_tenant: Some("tenant".into()),
        dst_tenant: None,
        src_network: None,
        dst_network: None,
        src_mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        dst_mac: None,
        ether_type: 0x0800,
        vlans: vec![100, 200],
        src_ip: Some([10, 0, 0, 1].into()),
        dst_ip: Some([10, 0, 0, 2].into()),
        proto: 6,
        tos: 0,
        ttl: 64,
        src_tp: 49_152,
        dst_tp: 443,
        icmp_id: 0,
        icmp_data: Vec::new(),
        tunnel_key: 0,
        tunnel_src: 0,
        tunnel_dst: 0,
        rule: None,
        path: None,
        out_ports: vec![Uuid::from_bytes([4; 16])],
        actions: vec![0],
    }
}
