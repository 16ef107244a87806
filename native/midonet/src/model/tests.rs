// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use uuid::Uuid;

use crate::text::{Message, Value, write};

fn object(class: &str, text: &str) -> Object {
    decode_object(class, text.as_bytes()).unwrap()
}

#[test]
fn the_tables_are_whole() {
    assert_eq!(CLASSES.len(), 58);
    let names: BTreeSet<&str> = messages().map(|class| class.name).collect();
    assert_eq!(names.len(), messages().count(), "a name occurs twice");
    // Without UUID, IPAddress and IPSubnet, which are kinds of fields here.
    assert_eq!(names.len(), 101);
    assert_eq!(messages().map(|class| class.fields.len()).sum::<usize>(), 731);
    assert_eq!(enums().count(), 50);
    for class in messages() {
        let numbers: BTreeSet<u32> = class.fields.iter().map(|field| field.number).collect();
        let fields: BTreeSet<&str> = class.fields.iter().map(|field| field.name).collect();
        assert_eq!((numbers.len(), fields.len()), (class.fields.len(), class.fields.len()), "{}", class.name);
        for field in class.fields {
            let place = format!("{}.{}", class.name, field.name);
            if let Some(target) = field.target() {
                assert!(super::class(target).is_some_and(|class| class.stored), "{place} links to {target}");
            }
            if let FieldKind::Message(name) = field.kind {
                assert!(super::class(name).is_some(), "{place} is a {name}");
            }
            if let (FieldKind::OneOf(known), Some(default)) = (field.kind, field.default) {
                assert!(known.number(default).is_some(), "{place} defaults to {default}");
            }
        }
    }
}

#[test]
fn absent_fields_read_as_their_defaults() {
    let host = object("Host", "name: \"h\"");
    assert_eq!(host.i64("container_limit"), Some(-1));
    assert_eq!(host.i64("container_weight"), Some(1));
    assert_eq!(host.bool("enforce_container_limit"), Some(false));
    assert_eq!(host.id(), None);
    let port = object("NeutronPort", "");
    assert_eq!(port.word("device_owner").as_deref(), Some("COMPUTE"));
    assert_eq!(port.bool("port_security_enabled"), Some(true));
    assert_eq!(port.str("name"), None);
    assert_eq!(object("Router", "as_number: -1").i64("as_number"), Some(-1));
}

#[test]
fn values_of_another_kind_read_as_absent() {
    let port = object(
        "Port",
        "host_id: 5 admin_state_up: 7 tunnel_key: \"x\" interface_name: 3 port_address { address: 1 } peer_id { msb: 1 }",
    );
    assert_eq!(port.uuid("host_id"), None);
    assert_eq!(port.uuid("peer_id"), None);
    assert_eq!(port.bool("admin_state_up"), None);
    assert_eq!(port.u64("tunnel_key"), None);
    assert_eq!(port.str("interface_name"), None);
    assert_eq!(port.ip("port_address"), None);
    assert_eq!(object("Port", "admin_state_up: t").bool("admin_state_up"), Some(true));
    assert_eq!(object("Port", "admin_state_up: 0").bool("admin_state_up"), Some(false));
}

#[test]
fn enum_values_by_name_and_number_known_or_not() {
    assert_eq!(object("Route", "next_hop: PORT").word("next_hop").as_deref(), Some("PORT"));
    assert_eq!(object("Route", "next_hop: 2").word("next_hop").as_deref(), Some("PORT"));
    assert_eq!(object("Route", "next_hop: 99").word("next_hop").as_deref(), Some("99"));
    assert_eq!(object("Route", "next_hop: TELEPORT").word("next_hop").as_deref(), Some("TELEPORT"));
    assert_eq!(object("SecurityGroupRule", "protocol: 47").word("protocol").as_deref(), Some("GRE"));
}

#[test]
fn unknown_classes_and_fields_are_kept() {
    let text =
        "id {\n  msb: 1\n  lsb: 2\n}\nnew_thing {\n  a: NEW\n}\nlist: 1\nlist: 2\naddress {\n  version: V6\n  address: \"fe80:0:0:0:0:0:0:1\"\n}\n";
    let gadget = object("Gadget", text);
    assert_eq!(gadget.to_text(), text);
    assert_eq!(gadget.id(), Some(Uuid::from_u64_pair(1, 2)));
    let expected = json!({
        "id": "00000000-0000-0001-0000-000000000002",
        "new_thing": {"a": "NEW"},
        "list": [1, 2],
        "address": "fe80::1",
    });
    assert_eq!(to_json(&gadget), expected);
    assert_eq!(gadget.references().count(), 0);
    let network = object("Network", "new_field: \"x\" name: \"n\" nested_new { secret_count: 1 }");
    assert_eq!(
        to_json(&network),
        json!({"new_field": "x", "name": "n", "nested_new": {"secret_count": 1}})
    );
    assert_eq!(network.to_text(), "name: \"n\"\nnew_field: \"x\"\nnested_new {\n  secret_count: 1\n}\n");
}

#[test]
fn json_has_arrays_for_repeated_fields_and_canonical_text() {
    let dhcp = object(
        "Dhcp",
        "subnet_address { version: V4 address: \"10.0.0.0\" prefix_length: 24 } dns_server_address { version: V4 address: \"8.8.8.8\" } enabled: 1 \
         opt121_routes { dst_subnet { version: V4 address: \"10.1.0.0\" prefix_length: 16 } gateway { version: V4 address: \"10.0.0.9\" } }",
    );
    let expected = json!({
        "subnet_address": "10.0.0.0/24",
        "dns_server_address": ["8.8.8.8"],
        "enabled": true,
        "opt121_routes": [{"dst_subnet": "10.1.0.0/16", "gateway": "10.0.0.9"}],
    });
    assert_eq!(to_json(&dhcp), expected);
    assert_eq!(
        to_json(&object("Route", "next_hop: 3 weight: -5")),
        json!({"next_hop": "LOCAL", "weight": -5})
    );
}

#[test]
fn links_of_nested_messages_are_found() {
    let id = |number: u64| write(&uuid_message(Uuid::from_u64_pair(number, number))).replace('\n', " ");
    let rule = object(
        "Rule",
        &format!(
            "id {{ {} }} chain_id {{ {} }} condition {{ in_port_ids {{ {} }} in_port_ids {{ {} }} }} jump_rule_data {{ jump_chain_id {{ {} }} }}",
            id(1),
            id(2),
            id(3),
            id(4),
            id(5)
        ),
    );
    let found: Vec<_> = rule.references().map(|(field, class, id)| (field, class, id.as_u64_pair().0)).collect();
    assert_eq!(
        found,
        [
            ("chain_id", "Chain", 2),
            ("in_port_ids", "Port", 3),
            ("in_port_ids", "Port", 4),
            ("jump_chain_id", "Chain", 5)
        ]
    );
}

#[test]
fn messages_that_are_built_are_in_the_form_of_the_agent() {
    let subnet = Subnet {
        address: "2001:db8::1".parse().unwrap(),
        prefix_length: 64,
    };
    assert_eq!(
        write(&subnet_message(subnet)),
        "version: V6\naddress: \"2001:db8:0:0:0:0:0:1\"\nprefix_length: 64\n"
    );
    let mut object = Object::new("BgpPeer");
    // Number 8 is declared before number 7 there.
    object.message = Message::default()
        .with("password", "x")
        .with("router_id", uuid_message(Uuid::nil()))
        .with("as_number", -5_i32);
    assert_eq!(object.to_text(), "as_number: -5\nrouter_id {\n  msb: 0\n  lsb: 0\n}\npassword: \"x\"\n");
    assert_eq!(Value::from(true), Value::Word("true".to_owned()));
}

#[test]
fn no_declared_field_is_taken_for_a_secret_but_those_that_are() {
    let mut found = Vec::new();
    for class in messages() {
        found.extend(
            class
                .fields
                .iter()
                .filter(|field| is_secret_name(field.name))
                .map(|field| (class.name, field.name)),
        );
    }
    found.sort();
    let mut declared = SECRET_FIELDS.to_vec();
    declared.sort();
    assert_eq!(found, declared);
}

fn redacted(class: &str, text: &str) -> (String, Vec<String>, Option<usize>) {
    let redacted = redact(class, text.as_bytes());
    (String::from_utf8(redacted.bytes).unwrap(), redacted.removed, redacted.cut_at)
}

#[test]
fn secrets_are_removed_wherever_they_stand() {
    let cases = [
        (
            "BgpPeer",
            "as_number: 1\npassword: \"a\\\"b\" 'c'\n",
            "as_number: 1\npassword: \"<removed>\"\n",
            1,
        ),
        ("IPSecSiteConnection", "psk : 'x' # psk\nmtu: 5", "psk : \"<removed>\" # psk\nmtu: 5", 1),
        ("Gadget", "a { Admin_Secret_2: 5 b: 1 }", "a { Admin_Secret_2: \"<removed>\" b: 1 }", 1),
        (
            "Gadget",
            "auth_key { a: 1 b { c: \"x\" } } d: 2",
            "auth_key { a: \"<removed>\" b { c: \"<removed>\" } } d: 2",
            2,
        ),
        (
            "Chain",
            "metadata { key: \"password\" value: \"x\" }",
            "metadata { key: \"password\" value: \"<removed>\" }",
            1,
        ),
        (
            "Chain",
            "metadata { value: \"x\" key: \"password\" }",
            "metadata { value: \"<removed>\" key: \"password\" }",
            1,
        ),
        (
            "Chain",
            "metadata { key: \"tenant\" value: \"x\" } metadata { key: \"a\" value: \"b\" }",
            "",
            0,
        ),
        ("Port", "tunnel_key: 5\nname: \"password\"", "", 0),
        ("C3POState", "{\"id\":\"1\", \"lastProcessedTaskId\":0}", "", 0),
        (
            "New",
            "{\"a\":[{\"db_password\":\"x\",\"b\":1}]}",
            "{\"a\":[{\"db_password\":\"<removed>\",\"b\":1}]}",
            1,
        ),
    ];
    for (class, text, expected, count) in cases {
        let (bytes, removed, cut_at) = redacted(class, text);
        assert_eq!(bytes, if expected.is_empty() { text } else { expected });
        assert_eq!((removed.len(), cut_at), (count, None), "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_not_given_away() {
    assert_eq!(
        redacted("BgpPeer", "as_number: 1\npassword = \"x\""),
        ("as_number: 1".to_owned(), vec![], Some(12))
    );
    assert_eq!(redacted("BgpPeer", "password: \"x\" ? psk: 1").0, "password: \"<removed>\"");
    assert_eq!(redacted("BgpPeer", "password: \"x").0, "");
    assert_eq!(redacted("New", "{\"password\": ").0, "");
}
