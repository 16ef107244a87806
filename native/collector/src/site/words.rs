// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Rules and conditions in words.

use std::fmt::Write;

use super::{Site, fields::Fields, ports::short};

/// Longest list of ports that is spelled out.
const LISTED: usize = 3;

/// A rule in one line: what it does, to what.
pub(super) fn rule(site: &Site, rule: &Fields) -> String {
    let mut text = effect(site, rule);
    let condition = rule.message("condition").map(|fields| condition(site, &fields)).unwrap_or_default();
    if condition.is_empty() {
        text.push_str(" everything");
    } else {
        let _ = write!(text, " {condition}");
    }
    text
}

/// A rule of a Neutron security group.
pub(super) fn security_group_rule(site: &Site, rule: &Fields) -> String {
    let ingress = rule.symbol("direction") == Some("INGRESS");
    let mut parts = Vec::new();
    parts.push(if ingress { "in" } else { "out" }.to_owned());
    let family = match rule.symbol("ethertype") {
        Some("IPV4") => "IPv4",
        Some("IPV6") => "IPv6",
        Some("ARP") => "ARP",
        _ => "",
    };
    let protocol = rule
        .symbol("protocol")
        .map(str::to_owned)
        .or_else(|| rule.int("protocol").map(protocol_name))
        .unwrap_or_default();
    let what = [family, &protocol]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    parts.push(if what.is_empty() { "everything".to_owned() } else { what });
    if let Some(low) = rule.int("port_range_min") {
        let high = rule.int("port_range_max").unwrap_or(low);
        parts.push(if protocol.starts_with("ICMP") {
            format!("type {low} code {high}")
        } else {
            format!("to {}", ports(low, high))
        });
    }
    let (preposition, group, prefix) = (
        if ingress { "from" } else { "to" },
        rule.id("remote_group_id"),
        rule.some_text("remote_ip_prefix"),
    );
    if let Some(group) = group {
        parts.push(format!("{preposition} group {}", site.group_name(group)));
    } else if let Some(prefix) = prefix {
        parts.push(format!("{preposition} {prefix}"));
    }
    parts.join(" ")
}

/// A condition; empty when it holds for every packet.
pub(super) fn condition(site: &Site, fields: &Fields) -> String {
    let mut parts = Vec::new();
    protocol(fields, &mut parts);
    addresses(site, fields, &mut parts);
    transport(fields, &mut parts);
    topology(site, fields, &mut parts);
    flow(fields, &mut parts);
    let text = parts.join(" ");
    match (fields.flag("conjunction_inv", false), text.is_empty()) {
        (false, _) => text,
        (true, false) => format!("all but ({text})"),
        (true, true) => "nothing".to_owned(),
    }
}

fn effect(site: &Site, rule: &Fields) -> String {
    let action = rule.symbol("action").unwrap_or_default();
    if let Some(nat) = rule.message("nat_rule_data") {
        return translation(&nat, action);
    }
    if let Some(jump) = rule.message("jump_rule_data") {
        let target = jump
            .id("jump_chain_id")
            .and_then(|chain| site.own_name(&["Chain"], chain))
            .or_else(|| jump.some_text("jump_chain_name").map(|name| name.to_string()));
        return format!("jump to {} for", target.unwrap_or_else(|| "a missing chain".to_owned()));
    }
    if let Some(transform) = rule.message("transform_rule_data") {
        return redirect(site, &transform);
    }
    if rule.message("trace_rule_data").is_some() {
        return "trace".to_owned();
    }
    match action {
        "" => "no action for".to_owned(),
        "CONTINUE" => "continue with".to_owned(),
        "RETURN" => "return for".to_owned(),
        other => other.to_lowercase(),
    }
}

fn translation(nat: &Fields, action: &str) -> String {
    let kind = match (nat.flag("dnat", false), nat.flag("reverse", false)) {
        (true, false) => "translate destination",
        (false, false) => "translate source",
        (true, true) => "undo destination translation",
        (false, true) => "undo source translation",
    };
    let targets: Vec<String> = nat.messages("nat_targets").iter().filter_map(target).collect();
    let mut text = kind.to_owned();
    if !targets.is_empty() {
        let _ = write!(text, " to {}", targets.join(" or "));
    }
    match action {
        "" => {}
        action => {
            let _ = write!(text, ", then {}", action.to_lowercase());
        }
    }
    text + ", for"
}

fn target(target: &Fields) -> Option<String> {
    let first = target.ip("nw_start")?;
    let mut text = first.to_string();
    if let Some(last) = target.ip("nw_end").filter(|last| *last != first) {
        let _ = write!(text, "–{last}");
    }
    let (low, high) = (target.int("tp_start").unwrap_or(0), target.int("tp_end").unwrap_or(0));
    // 0 means any port, and this range is what MidoNet's translators give for it.
    if low != 0 && (low, high) != (1, 65_535) {
        let _ = write!(text, " {}", ports(low, high));
    }
    Some(text)
}

fn redirect(site: &Site, transform: &Fields) -> String {
    let mut steps = Vec::new();
    if transform.flag("pop_vlan", false) {
        steps.push("pop VLAN".to_owned());
    }
    if let Some(vlan) = transform.int("push_vlan").filter(|vlan| *vlan != 0) {
        steps.push(format!("push VLAN {vlan}"));
    }
    if let Some(port) = transform.id("target_port_id") {
        steps.push(format!("redirect to port {}", site.port_name(port)));
    }
    if steps.is_empty() { "transform".to_owned() } else { steps.join(", ") }
}

fn protocol(fields: &Fields, parts: &mut Vec<String>) {
    let ether_type = fields.int("dl_type").map(|number| match number {
        0x0800 => "IPv4".to_owned(),
        0x0806 => "ARP".to_owned(),
        0x86dd => "IPv6".to_owned(),
        other => format!("ethertype 0x{other:04x}"),
    });
    let protocol = fields.int("nw_proto").map(protocol_name);
    // TCP alone says that it is IP, unless the family is excluded.
    match (ether_type, fields.flag("inv_dl_type", false)) {
        (Some(family), true) => parts.push(format!("not {family}")),
        (Some(family), false) => parts.push(family),
        (None, _) => {}
    }
    if let Some(protocol) = protocol {
        parts.push(negate(fields.flag("nw_proto_inv", false), protocol));
    }
}

fn addresses(site: &Site, fields: &Fields, parts: &mut Vec<String>) {
    for (preposition, ip, ip_inv, group, group_inv, mac, mac_inv) in [
        (
            "from",
            "nw_src_ip",
            "nw_src_inv",
            "ip_addr_group_id_src",
            "inv_ip_addr_group_id_src",
            "dl_src",
            "inv_dl_src",
        ),
        (
            "to",
            "nw_dst_ip",
            "nw_dst_inv",
            "ip_addr_group_id_dst",
            "inv_ip_addr_group_id_dst",
            "dl_dst",
            "inv_dl_dst",
        ),
    ] {
        if let Some(prefix) = fields.prefix(ip) {
            let whole = if prefix.address.is_ipv4() { 32 } else { 128 };
            let text = if prefix.length == whole {
                prefix.address.to_string()
            } else {
                prefix.to_string()
            };
            parts.push(format!("{preposition} {}", negate(fields.flag(ip_inv, false), text)));
        }
        if let Some(group) = fields.id(group) {
            parts.push(format!(
                "{preposition} {}",
                negate(fields.flag(group_inv, false), format!("group {}", site.group_name(group)))
            ));
        }
        if let Some(address) = fields.some_text(mac) {
            parts.push(format!("{preposition} {}", negate(fields.flag(mac_inv, false), address.to_string())));
        }
    }
    for (name, inverse, what) in [
        ("icmp_data_src_ip", "icmp_data_src_ip_inv", "about packets from"),
        ("icmp_data_dst_ip", "icmp_data_dst_ip_inv", "about packets to"),
    ] {
        if let Some(prefix) = fields.prefix(name) {
            parts.push(format!("{what} {}", negate(fields.flag(inverse, false), prefix.to_string())));
        }
    }
}

fn transport(fields: &Fields, parts: &mut Vec<String>) {
    let icmp = matches!(fields.int("nw_proto"), Some(1 | 58));
    for (name, inverse, tcp, of_icmp) in [("tp_src", "tp_src_inv", "from", "type"), ("tp_dst", "tp_dst_inv", "to", "code")] {
        let Some(range) = fields.message(name) else { continue };
        let (low, high) = match (range.int("start"), range.int("end")) {
            (None, None) => continue,
            (low, high) => (low.unwrap_or(0), high.unwrap_or(if icmp { 255 } else { 65_535 })),
        };
        let inverse = fields.flag(inverse, false);
        parts.push(if icmp {
            format!("{of_icmp} {}", negate(inverse, span(low, high)))
        } else {
            format!("{tcp} {}", negate(inverse, ports(low, high)))
        });
    }
    if let Some(tos) = fields.int("nw_tos") {
        parts.push(format!("TOS {}", negate(fields.flag("nw_tos_inv", false), tos.to_string())));
    }
    if let Some(policy) = fields.symbol("fragment_policy").filter(|policy| *policy != "ANY") {
        parts.push(match policy {
            "NONHEADER" => "later fragments".to_owned(),
            "HEADER" => "unfragmented or first fragments".to_owned(),
            "UNFRAGMENTED" => "unfragmented".to_owned(),
            other => format!("fragments {other}"),
        });
    }
    if fields.flag("no_vlan", false) {
        parts.push("untagged".to_owned());
    }
    if let Some(vlan) = fields.int("vlan").filter(|vlan| *vlan != 0) {
        parts.push(format!("VLAN {vlan}"));
    }
}

fn topology(site: &Site, fields: &Fields, parts: &mut Vec<String>) {
    for (names, inverse, what) in [
        ("in_port_ids", "in_port_inv", "entering at"),
        ("out_port_ids", "out_port_inv", "leaving at"),
    ] {
        let ids = fields.ids(names);
        if ids.is_empty() {
            continue;
        }
        let mut listed: Vec<String> = ids.iter().take(LISTED).map(|id| site.port_name(*id)).collect();
        if ids.len() > LISTED {
            listed.push(format!("{} more", ids.len() - LISTED));
        }
        parts.push(format!(
            "{what} {}",
            negate(fields.flag(inverse, false), format!("port {}", listed.join(", ")))
        ));
    }
    for (name, inverse, what) in [
        ("port_group_id", "inv_port_group", "in port group"),
        ("in_port_group_id", "inv_in_port_group", "entering at port group"),
        ("out_port_group_id", "inv_out_port_group", "leaving at port group"),
    ] {
        if let Some(id) = fields.id(name) {
            let group = site.own_name(&["PortGroup"], id).unwrap_or_else(|| short(id));
            parts.push(negate(fields.flag(inverse, false), format!("{what} {group}")));
        }
    }
    if let Some(device) = fields.id("traversed_device") {
        let name = site.describe(device).map_or_else(|| short(device), |device| device.name);
        parts.push(negate(fields.flag("traversed_device_inv", false), format!("having passed {name}")));
    }
}

fn flow(fields: &Fields, parts: &mut Vec<String>) {
    if fields.flag("match_forward_flow", false) {
        parts.push("opening a connection".to_owned());
    }
    if fields.flag("match_return_flow", false) {
        parts.push("answering a connection".to_owned());
    }
    if fields.flag("match_nw_dst_rewritten", false) {
        parts.push("with translated destination".to_owned());
    }
}

fn negate(inverse: bool, text: String) -> String {
    if inverse { format!("not {text}") } else { text }
}

fn ports(low: i64, high: i64) -> String {
    if low == high {
        format!("port {low}")
    } else {
        format!("ports {}", span(low, high))
    }
}

fn span(low: i64, high: i64) -> String {
    if low == high { low.to_string() } else { format!("{low}–{high}") }
}

fn protocol_name(number: i64) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        47 => "GRE".to_owned(),
        50 => "ESP".to_owned(),
        58 => "ICMPv6".to_owned(),
        89 => "OSPF".to_owned(),
        112 => "VRRP".to_owned(),
        132 => "SCTP".to_owned(),
        other => format!("protocol {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        rule(&Site::default(), &Fields::parse(text.as_bytes()))
    }

    #[test]
    fn rules_read_as_sentences() {
        for (text, expected) in [
            ("type: LITERAL_RULE action: DROP", "drop everything"),
            ("action: DROP condition { inv_dl_type: true dl_type: 2054 }", "drop not ARP"),
            (
                "action: ACCEPT condition { dl_type: 2048 nw_proto: 6 nw_src_ip { version: V4 address: \"10.0.0.0\" prefix_length: 8 } tp_dst { start: 443 end: 443 } }",
                "accept IPv4 TCP from 10.0.0.0/8 to port 443",
            ),
            ("action: ACCEPT condition { match_return_flow: true }", "accept answering a connection"),
            (
                "action: ACCEPT condition { nw_proto: 1 tp_src { start: 8 end: 8 } tp_dst { start: 0 end: 0 } }",
                "accept ICMP type 8 code 0",
            ),
            (
                "action: REJECT condition { conjunction_inv: true nw_proto: 17 tp_dst { start: 1 end: 1024 } }",
                "reject all but (UDP to ports 1–1024)",
            ),
            (
                "type: NAT_RULE action: ACCEPT nat_rule_data { dnat: true nat_targets { nw_start { version: V4 address: \"10.0.0.5\" } nw_end { version: V4 address: \"10.0.0.5\" } tp_start: 0 tp_end: 0 } } condition { nw_dst_ip { version: V4 address: \"198.51.100.7\" prefix_length: 32 } nw_dst_inv: true }",
                "translate destination to 10.0.0.5, then accept, for to not 198.51.100.7",
            ),
            (
                "type: JUMP_RULE action: JUMP jump_rule_data { jump_chain_name: \"web\" }",
                "jump to web for everything",
            ),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }
}
