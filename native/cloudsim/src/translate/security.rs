// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use uuid::Uuid;

use super::{Translator, prefix_text, range, rule};
use crate::{
    ids,
    obj::{Fields, Kind, Obj, Val},
};

/// A Neutron security group.
#[derive(Clone, Debug)]
pub struct SecurityGroup {
    pub id: Uuid,
    pub tenant: String,
    pub name: String,
    pub description: String,
    pub rules: Vec<SecurityGroupRule>,
}

/// A rule of a security group: what it allows.
#[derive(Clone, Debug)]
pub struct SecurityGroupRule {
    pub id: Uuid,
    pub tenant: String,
    pub group: Uuid,
    /// To the VM; else from it.
    pub ingress: bool,
    pub ipv6: bool,
    /// TCP, UDP, ICMP or ICMPV6.
    pub protocol: Option<&'static str>,
    /// First and last port; type and code of ICMP.
    pub ports: Option<(i64, i64)>,
    pub remote_group: Option<Uuid>,
    pub remote_prefix: Option<(IpAddr, u8)>,
}

impl SecurityGroupRule {
    fn fields(&self) -> Fields {
        let mut fields = vec![
            ("id", Val::Id(self.id)),
            ("tenant_id", Val::Str(self.tenant.clone())),
            ("security_group_id", Val::Id(self.group)),
            ("direction", Val::Enum(if self.ingress { "INGRESS" } else { "EGRESS" })),
            ("ethertype", Val::Enum(if self.ipv6 { "IPV6" } else { "IPV4" })),
        ];
        fields.extend(self.protocol.map(|name| ("protocol", Val::Enum(name))));
        if let Some((from, to)) = self.ports {
            fields.extend([("port_range_min", Val::Int(from)), ("port_range_max", Val::Int(to))]);
        }
        fields.extend(self.remote_group.map(|group| ("remote_group_id", Val::Id(group))));
        fields.extend(self.remote_prefix.map(|prefix| ("remote_ip_prefix", Val::Str(prefix_text(prefix)))));
        fields
    }

    fn proto_number(&self) -> Option<i64> {
        self.protocol.map(|name| match name {
            "TCP" => 6,
            "UDP" => 17,
            "ICMP" => 1,
            _ => 58,
        })
    }

    fn condition(&self, fragments: &'static str) -> Fields {
        let mut fields: Fields = Vec::new();
        let group = if self.ingress { "ip_addr_group_id_src" } else { "ip_addr_group_id_dst" };
        fields.extend(self.remote_group.map(|id| (group, Val::Id(id))));
        fields.push(("dl_type", Val::Int(if self.ipv6 { 0x86dd } else { 0x0800 })));
        fields.extend(self.proto_number().map(|number| ("nw_proto", Val::Int(number))));
        let prefix = if self.ingress { "nw_src_ip" } else { "nw_dst_ip" };
        fields.extend(self.remote_prefix.map(|(ip, length)| (prefix, Val::Subnet(ip, length))));
        if let (Some((from, to)), "HEADER") = (self.ports, fragments) {
            if self.protocol == Some("ICMP") {
                fields.extend([("tp_src", range(from, from)), ("tp_dst", range(to, to))]);
            } else {
                fields.push(("tp_dst", range(from, to)));
            }
        }
        fields.push(("fragment_policy", Val::Enum(fragments)));
        fields
    }
}

impl Translator<'_> {
    pub fn security_group(&mut self, group: &SecurityGroup) {
        let (egress, ingress) = (ids::in_chain(group.id), ids::out_chain(group.id));
        self.zoom.create(
            Obj::new(Kind::SecurityGroup, group.id)
                .with("tenant_id", &group.tenant)
                .with("name", &group.name)
                .with("description", &group.description),
        );
        self.zoom.create(
            Obj::new(Kind::IPAddrGroup, group.id)
                .with("name", &group.name)
                .with("inbound_chain_id", egress)
                .with("outbound_chain_id", ingress),
        );
        self.chain(egress, format!("OS_SG_{}_EGRESS", group.id));
        self.chain(ingress, format!("OS_SG_{}_INGRESS", group.id));
        for rule in &group.rules {
            self.security_group_rule(rule);
        }
    }

    pub fn security_group_rule(&mut self, sg_rule: &SecurityGroupRule) {
        let mut neutron = Obj::new(Kind::SecurityGroupRule, sg_rule.id);
        for (name, value) in sg_rule.fields() {
            neutron.set(name, value);
        }
        self.zoom.create(neutron);
        self.zoom.update(Kind::SecurityGroup, sg_rule.group, |group| {
            group.add("security_group_rules", sg_rule.fields())
        });
        let chain = if sg_rule.ingress {
            ids::out_chain(sg_rule.group)
        } else {
            ids::in_chain(sg_rule.group)
        };
        let mut accept = |id: Uuid, fragments| {
            let accept = rule(id, "LITERAL_RULE", "ACCEPT")
                .with("chain_id", chain)
                .with("condition", sg_rule.condition(fragments));
            self.zoom.create(accept);
        };
        if sg_rule.ports.is_some() {
            accept(sg_rule.id, "HEADER");
            accept(ids::non_header_rule(sg_rule.id), "NONHEADER");
        } else {
            accept(sg_rule.id, "ANY");
        }
    }

    pub fn delete_security_group_rule(&mut self, id: Uuid) {
        let Some(group) = self.zoom.get(Kind::SecurityGroupRule, id).and_then(|rule| rule.uuid("security_group_id")) else {
            return;
        };
        self.zoom.update(Kind::SecurityGroup, group, |group| {
            let entry = group
                .all("security_group_rules")
                .find(|entry| entry.field("id").and_then(Val::as_id) == Some(id))
                .cloned();
            if let Some(entry) = entry {
                group.remove("security_group_rules", &entry);
            }
        });
        self.zoom.delete(Kind::SecurityGroupRule, id);
        self.zoom.delete(Kind::Rule, id);
        self.zoom.delete(Kind::Rule, ids::non_header_rule(id));
    }
}
