// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Chains, rules and security groups.

use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::Kind;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chain {
    pub id: Uuid,
    pub name: String,
    pub tenant: Option<String>,
    /// In the order of evaluation.
    pub rules: Vec<Uuid>,
    pub used_by: Vec<ChainUse>,
}

/// Where a chain hangs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ChainUse {
    pub kind: Kind,
    pub id: Uuid,
    /// For example `inbound filter`, `forward chain`, `jump`.
    pub role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    pub id: Uuid,
    pub chain: Option<Uuid>,
    /// Place in its chain, from 1.
    pub position: Option<usize>,
    /// `ACCEPT`, `DROP`, `JUMP`, …
    pub action: String,
    /// `LITERAL_RULE`, `NAT_RULE`, …
    pub rule_type: String,
    /// The whole rule in words, for example `accept TCP to port 443 from group web`.
    pub text: String,
    pub jump_to: Option<Uuid>,
    pub security_groups: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecurityGroup {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    pub tenant: Option<String>,
    pub rules: Vec<SecurityGroupRule>,
    pub members: Vec<GroupMember>,
    pub inbound_chain: Option<Uuid>,
    pub outbound_chain: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecurityGroupRule {
    pub id: Uuid,
    /// True: towards the VM.
    pub ingress: bool,
    pub text: String,
    pub remote_group: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupMember {
    pub address: IpAddr,
    pub ports: Vec<Uuid>,
}
