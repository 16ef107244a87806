// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Objects, state and tables of a cloud that MidoNet wrote, against what it was told and what its REST API says about them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use common::{Tree, json, text};
use midonet::model::{self, FieldKind, Object, Subnet, to_json};
use midonet::nsdb::state::{HostState, PortState};
use midonet::nsdb::table::{ArpEntry, Entry, Fip64Entry, Table};
use midonet::nsdb::{LearnedRoute, Node, Root};
use midonet::{discovery, ids, text as text_format};
use serde_json::Value;
use uuid::Uuid;

#[test]
fn every_object_is_written_back_as_it_was() {
    let tree = Tree::load();
    let mut count = 0;
    for (node, path, znode) in tree.parsed() {
        let Node::Object { class, id } = node else { continue };
        if class == "C3POState" {
            continue;
        }
        count += 1;
        let message = text_format::parse(&znode.data).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(text_format::write(&message).as_bytes(), znode.data, "{path}");
        let object = Object {
            class: class.to_owned(),
            message,
        };
        assert_eq!(object.id(), Some(id), "{path}");
        assert_eq!(object.to_text().as_bytes(), znode.data, "{path}: order of fields");
    }
    assert_eq!(count, 443);
}

#[test]
fn every_object_has_declared_fields_only_and_all_links_lead_somewhere() {
    let tree = Tree::load();
    let objects = tree.objects();
    let mut links = 0;
    let mut dangling = BTreeMap::new();
    for ((class, id), object) in &objects {
        check_declared(object.view(), &format!("{class} {id}"));
        for (field, target, to) in object.references() {
            links += 1;
            if !objects.contains_key(&(target.to_owned(), to)) {
                *dangling.entry((class.as_str(), field, target)).or_insert(0) += 1;
            }
        }
    }
    // MidoNet's translators delete jump rules without telling their targets; every other link leads somewhere.
    assert_eq!(dangling, BTreeMap::from([(("Chain", "jump_rule_ids", "Rule"), 4)]));
    assert_eq!(links, 1026);
}

/// Every field is declared, and of the declared kind.
fn check_declared(view: model::View<'_>, place: &str) {
    let class = view.class.unwrap_or_else(|| panic!("{place}: unknown class"));
    for field in &view.message.fields {
        let name = field.name.as_str();
        let declared = class.field(name).unwrap_or_else(|| panic!("{place}: {name} is not declared"));
        let count = view.message.all(name).count();
        assert!(declared.repeated || count == 1, "{place}: {name} occurs {count} times");
        let fits = match declared.kind {
            FieldKind::Bool => view.bool(name).is_some(),
            FieldKind::Int32 | FieldKind::Int64 => view.i64(name).is_some(),
            FieldKind::Uint32 | FieldKind::Uint64 => view.u64(name).is_some(),
            FieldKind::String => view.strs(name).len() == count,
            FieldKind::Uuid | FieldKind::Link(_) => view.uuids(name).len() == count,
            FieldKind::IpAddress => view.ips(name).len() == count,
            FieldKind::IpSubnet => view.subnets(name).len() == count,
            FieldKind::OneOf(known) => known.number(&view.word(name).unwrap()).is_some(),
            FieldKind::Message(_) => view.messages(name).iter().all(|inner| inner.class.is_some()),
        };
        assert!(fits, "{place}: {name} is not of its kind");
        for inner in view.messages(name).iter().filter(|_| matches!(declared.kind, FieldKind::Message(_))) {
            check_declared(*inner, &format!("{place}.{name}"));
        }
    }
}

#[test]
fn paths_are_built_as_they_are_read() {
    let root = Root::default();
    let tree = Tree::load();
    let mut kinds = BTreeMap::new();
    for (node, path, _) in tree.parsed() {
        let (kind, built) = match node {
            Node::Root => ("root", root.to_string()),
            Node::Zoom => ("zoom", root.zoom()),
            Node::Models => ("models", root.models()),
            Node::Class { class } => ("class", root.class(class)),
            Node::Object { class, id } => ("object", root.object(class, id)),
            Node::Provenance { class, id } => ("provenance", root.provenance(class, id)),
            Node::States => ("states", root.state()),
            Node::StateNamespace { namespace } => ("namespace", format!("{}/{namespace}", root.state())),
            Node::StateClass { namespace, class } => ("state class", root.state_class(namespace, class)),
            Node::StateObject { namespace, class, id } => ("state object", root.state_object(namespace, class, id)),
            Node::StateKey { namespace, class, id, key } => ("state key", root.state_key(namespace, class, id, key)),
            Node::StateValue {
                namespace,
                class,
                id,
                key,
                value,
            } => ("state value", root.state_value(namespace, class, id, key, value)),
            Node::Tables => ("tables", root.tables()),
            Node::TableClass { class } => ("table class", root.table_class(class)),
            Node::TableObject { class, id } => ("table object", root.table_object(class, id)),
            Node::Table { class, id, table, argument } => ("table", root.table(class, id, table, argument)),
            Node::TableEntry {
                class,
                id,
                table,
                argument,
                entry,
            } => ("entry", root.table_entry(class, id, table, argument, entry)),
            Node::Service { name } => ("service", root.service(name)),
            Node::ServiceInstance { name, id } => ("instance", root.service_instance(name, id)),
            Node::ConfigNode { node } => ("config node", root.config_node(node)),
            Node::ConfigTemplate { name } => ("template", root.config_template(name)),
            Node::ConfigTemplateMappings => ("mappings", root.config_template_mappings()),
            Node::ConfigSchema { name } => ("schema", root.config_schema(name)),
            Node::Sequence { name } => ("sequence", root.sequence(name)),
            Node::Other => ("other", path.to_owned()),
        };
        assert_eq!(built, path);
        *kinds.entry(kind).or_insert(0) += 1;
    }
    assert_eq!(kinds["object"], 444);
    assert_eq!(kinds["state value"], 2);
    assert_eq!(kinds["instance"], 4);
    let others: Vec<&str> = tree
        .parsed()
        .filter(|(node, _, _)| *node == Node::Other)
        .map(|(_, path, _)| path)
        .collect();
    // Parents, locks and leader election.
    let known = [
        "config",
        "midonet/",
        "sequences",
        "vxgw",
        "zoom/0/locks",
        "zoom/0/objects",
        "zoom/0/zoomlocks",
    ];
    let surprising: Vec<_> = others
        .iter()
        .filter(|path| path.split('/').count() > 3 && !known.iter().any(|known| path.starts_with(&format!("/midonet/{known}"))))
        .collect();
    assert_eq!(surprising, Vec::<&&str>::new());
}

#[test]
fn tables_and_routes_are_what_was_put_into_them() {
    let tree = Tree::load();
    let root = Root::default();
    let id = |truth: &Value, name: &str| truth[name].as_str().unwrap().parse::<Uuid>().unwrap();
    let string = |truth: &Value, name: &str| truth[name].as_str().unwrap().to_owned();
    let table = |class: &str, id: Uuid, name: &str, argument: Option<&str>| {
        let table = Table::from_names(tree.children(&root.table(class, id, name, argument)));
        assert_eq!(table.ignored, 0);
        table
    };
    let mut checked = BTreeMap::new();
    for line in text("topology/state-truth.jsonl").lines() {
        let truth: Value = serde_json::from_str(line).unwrap();
        let kind = truth["kind"].as_str().unwrap();
        *checked.entry(kind.to_owned()).or_insert(0) += 1;
        match kind {
            "mac_table" => {
                let vlan = truth["vlan"].to_string();
                let entry = table("Network", id(&truth, "bridge"), kind, Some(&vlan)).entries[&string(&truth, "mac")].clone();
                assert_eq!(entry.value, string(&truth, "port"));
                assert_eq!(entry.learned, truth["persistent"] == false, "{line}");
            }
            "ip4_mac_table" => {
                let entry = table("Network", id(&truth, "bridge"), kind, None).entries[&string(&truth, "ip")].clone();
                assert_eq!(entry.value, string(&truth, "mac"));
                assert_eq!(entry.learned, truth["persistent"] == false, "{line}");
            }
            "arp_table" => {
                let entry = table("Router", id(&truth, "router"), kind, None).entries[&string(&truth, "ip")].clone();
                let arp: ArpEntry = entry.value.parse().unwrap();
                assert_eq!(arp.mac.map(|mac| mac.to_string()).as_deref(), truth["mac"].as_str());
                let times = [arp.expiry_ms, arp.stale_ms, arp.last_arp_ms].map(Value::from);
                assert_eq!(times.each_ref(), [&truth["expiry"], &truth["stale"], &truth["lastArp"]]);
                assert_eq!(arp.to_string(), entry.value);
            }
            "peering_table" => {
                let entry = table("Port", id(&truth, "port"), kind, None).entries[&string(&truth, "mac")].clone();
                assert_eq!(entry.value, string(&truth, "ip"));
            }
            "gateway_table" => {
                let entry = table("NeutronNetwork", id(&truth, "network"), kind, None).entries[&string(&truth, "host")].clone();
                assert_eq!(entry.value, "0");
            }
            "fip64_table" => {
                let key = string(&truth, "entry");
                assert!(table("NeutronNetwork", id(&truth, "network"), kind, None).entries.contains_key(&key));
                let entry: Fip64Entry = key.parse().unwrap();
                assert_eq!(entry.nat_pool.to_string(), "100.64.0.0");
                assert_eq!(entry.to_string(), key);
            }
            "learnedRoute" => {
                let (host, port) = (id(&truth, "host"), id(&truth, "port"));
                let names: Vec<&str> = tree
                    .children(Box::leak(root.state_key(host, "Port", port, "routes").into_boxed_str()))
                    .collect();
                let routes: Vec<LearnedRoute> = names.iter().map(|name| name.parse().unwrap()).collect();
                assert_eq!(routes.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
                let found = routes.iter().find(|route| {
                    let dst = Subnet {
                        address: IpAddr::V4(route.dst),
                        prefix_length: route.dst_length,
                    };
                    dst.to_string() == truth["dst"].as_str().unwrap()
                });
                let route = found.unwrap_or_else(|| panic!("no route for {line}"));
                assert_eq!(route.gateway.to_string(), string(&truth, "gw"));
                assert_eq!(route.port, Some(port));
            }
            other => panic!("unknown kind {other}"),
        }
    }
    let expected = [
        ("arp_table", 10),
        ("fip64_table", 1),
        ("gateway_table", 2),
        ("ip4_mac_table", 14),
        ("learnedRoute", 2),
        ("mac_table", 14),
        ("peering_table", 1),
    ];
    assert_eq!(checked, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
}

#[test]
fn every_entry_is_written_back_as_it_was() {
    let tree = Tree::load();
    let mut count = 0;
    for (node, path, znode) in tree.parsed() {
        if let Node::TableEntry { entry: name, .. } = node {
            let entry = Entry::parse(name).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(entry.to_string(), name);
            assert_eq!(entry.is_learned(), znode.ephemeral, "{path}");
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn state_is_read_and_written_back() {
    let tree = Tree::load();
    let (mut hosts, mut ports) = (0, 0);
    for (node, path, znode) in tree.parsed() {
        match node {
            Node::StateKey {
                namespace,
                class: "Host",
                id,
                key: "host",
            } => {
                let state = HostState::parse(&znode.data).unwrap();
                assert_eq!((state.host, namespace), (Some(id), id));
                assert_eq!(state.to_text().as_bytes(), znode.data, "{path}");
                hosts += 1;
            }
            Node::StateKey {
                namespace,
                class: "Port",
                key: "active",
                ..
            } => {
                let state = PortState::parse(&znode.data).unwrap();
                assert_eq!(state.host, namespace);
                assert!(state.tunnel_key.is_some());
                assert_eq!(state.to_text().as_bytes(), znode.data, "{path}");
                ports += 1;
            }
            _ => {}
        }
    }
    assert_eq!((hosts, ports), (4, 15));
}

#[test]
fn bindings_and_derived_ids_hold() {
    let tree = Tree::load();
    let objects = tree.objects();
    let truth = json("topology/topology-truth.json");
    let id = |value: &Value| value.as_str().unwrap().parse::<Uuid>().unwrap();
    for binding in truth["bindings"].as_array().unwrap() {
        let port = &objects[&("Port".to_owned(), id(&binding["port"]))];
        assert_eq!(port.uuid("host_id"), Some(id(&binding["host"])));
        assert_eq!(port.str("interface_name").as_deref(), binding["ifname"].as_str());
    }
    let mut gateways = 0;
    for ((class, router), object) in &objects {
        if class == "NeutronRouter"
            && let Some(port) = object.uuid("gw_port_id")
        {
            let derived = &objects[&("Port".to_owned(), ids::tenant_gateway_port(port))];
            assert_eq!(derived.uuid("router_id"), Some(*router));
            assert_eq!(derived.uuid("peer_id"), Some(port));
            gateways += 1;
        }
        if class == "NeutronPort" && object.word("device_owner").as_deref() == Some("ROUTER_INTERFACE") {
            assert!(objects.contains_key(&("Port".to_owned(), ids::router_interface_port(*router))));
        }
    }
    assert_eq!(gateways, 2);
}

#[test]
fn secrets_are_removed_and_nothing_else() {
    let tree = Tree::load();
    let mut removed = Vec::new();
    for (node, path, znode) in tree.parsed() {
        let Node::Object { class, id } = node else { continue };
        let redacted = model::redact(class, &znode.data);
        assert_eq!(redacted.cut_at, None, "{path}");
        if redacted.removed.is_empty() {
            assert_eq!(redacted.bytes, znode.data, "{path}");
        } else {
            let expected = String::from_utf8(znode.data.clone()).unwrap().replace("s3cret-bgp", model::REMOVED);
            assert_eq!(String::from_utf8(redacted.bytes).unwrap(), expected);
            removed.push((class, id.to_string(), redacted.removed));
        }
    }
    assert_eq!(
        removed,
        [("BgpPeer", "91a261bc-5170-5c2a-93fd-7bc1497151fe".to_owned(), vec!["password".to_owned()])]
    );
}

#[test]
fn discovery_entries_are_written_back_as_they_were() {
    let tree = Tree::load();
    let mut uris = 0;
    for (node, path, znode) in tree.parsed() {
        let Node::ServiceInstance { name, id } = node else { continue };
        let instance = discovery::Instance::parse(&znode.data).unwrap();
        assert_eq!((instance.name.as_str(), instance.id.as_str()), (name, id));
        assert_eq!(instance.to_json().as_bytes(), znode.data, "{path}");
        uris += usize::from(instance.uri.is_some());
        assert_eq!(instance.endpoint().is_some(), instance.uri.is_none());
    }
    assert_eq!(uris, 1);
}

/// What the REST API calls a field, where it isn't the field's name in camel case.
const RENAMED: &[(&str, &str)] = &[
    ("rtrPortVni", "vni"),
    ("vxLanPortIds", "vxlan_port_ids"),
    ("router:external", "external"),
    ("provider:network_type", "network_type"),
    ("binding:host_id", "host_id"),
    ("binding:profile", "profile"),
];

/// Members that are not fields of the object: checked elsewhere, or views of other objects.
const NOT_FIELDS: &[(&str, &[&str])] = &[
    ("Port", &["type", "active", "deviceId", "networkAddress", "networkLength", "bgpStatus"]),
    ("Host", &["addresses", "hostInterfaces", "alive"]),
    ("Vip", &["loadBalancerId"]),
    ("Mirror", &["conditions"]),
];

const LISTS: &[(&str, &str)] = &[
    ("bridges", "Network"),
    ("chains", "Chain"),
    ("health_monitors", "HealthMonitor"),
    ("hosts", "Host"),
    ("ip_addr_groups", "IPAddrGroup"),
    ("load_balancers", "LoadBalancer"),
    ("mirrors", "Mirror"),
    ("neutron_floating_ips", "FloatingIp"),
    ("neutron_networks", "NeutronNetwork"),
    ("neutron_ports", "NeutronPort"),
    ("neutron_routers", "NeutronRouter"),
    ("neutron_security_group_rules", "SecurityGroupRule"),
    ("neutron_security_groups", "SecurityGroup"),
    ("neutron_subnets", "NeutronSubnet"),
    ("pools", "Pool"),
    ("port_groups", "PortGroup"),
    ("ports", "Port"),
    ("routers", "Router"),
    ("tunnel_zones", "TunnelZone"),
    ("vips", "Vip"),
];

#[test]
fn objects_are_what_the_rest_api_says() {
    let objects = Tree::load().objects();
    let mut compared = 0;
    for (list, class) in LISTS {
        let rest = json(&format!("topology/rest-get/{list}.json"));
        let rest: BTreeMap<Uuid, &Value> = rest
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["id"].as_str().unwrap().parse().unwrap(), item))
            .collect();
        let ours: BTreeSet<Uuid> = objects.keys().filter(|(name, _)| name == class).map(|(_, id)| *id).collect();
        assert_eq!(rest.keys().copied().collect::<BTreeSet<_>>(), ours, "{list}");
        for (id, item) in rest {
            let object = &objects[&((*class).to_owned(), id)];
            let known = model::class(class).unwrap();
            let ours = to_json(object);
            for (member, value) in item.as_object().unwrap() {
                let renamed = RENAMED.iter().find(|(rest, _)| rest == member).map(|(_, field)| (*field).to_owned());
                let field = renamed.unwrap_or_else(|| snake(member));
                let not_field = NOT_FIELDS
                    .iter()
                    .any(|(name, members)| name == class && members.contains(&member.as_str()));
                if not_field || is_uri(value) {
                    continue;
                }
                let Some(declared) = known.field(&field) else {
                    assert!(value.is_null(), "{class}: the REST API has {member}, which is no field");
                    continue;
                };
                let default = declared.default.map_or(Value::Null, Value::from);
                let read = ours.get(&field).unwrap_or(&default);
                assert!(same(value, read), "{class} {id}: {field} is {read}, the REST API says {value}");
                compared += 1;
            }
        }
    }
    assert!(compared > 1500, "{compared}");
}

#[test]
fn ports_and_hosts_are_as_alive_as_the_rest_api_says() {
    let tree = Tree::load();
    let objects = tree.objects();
    let root = Root::default();
    for rest in json("topology/rest-get/ports.json").as_array().unwrap() {
        let id: Uuid = rest["id"].as_str().unwrap().parse().unwrap();
        let port = &objects[&("Port".to_owned(), id)];
        let device = port.uuid("network_id").or(port.uuid("router_id")).unwrap();
        assert_eq!(rest["deviceId"], device.to_string());
        let state = |key| {
            port.uuid("host_id")
                .and_then(|host| tree.nodes.get(&root.state_key(host, "Port", id, key)))
        };
        assert_eq!(rest["active"], state("active").is_some(), "{id}");
        let bgp = state("bgp").map(|node| String::from_utf8(node.data.clone()).unwrap());
        assert_eq!(rest["bgpStatus"].as_str().map(str::to_owned), bgp, "{id}");
    }
    for rest in json("topology/rest-get/hosts.json").as_array().unwrap() {
        let id: Uuid = rest["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(rest["alive"], tree.nodes.contains_key(&root.state_key(id, "Host", id, "alive")));
        let state = tree
            .nodes
            .get(&root.state_key(id, "Host", id, "host"))
            .map(|node| HostState::parse(&node.data).unwrap());
        let ours = state.map(|state| state.interfaces).unwrap_or_default();
        let theirs = rest["hostInterfaces"].as_array().unwrap();
        assert_eq!(ours.len(), theirs.len(), "{id}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(theirs["name"], ours.name);
            assert_eq!(theirs["mac"].as_str(), ours.mac.as_deref());
            assert_eq!(theirs["mtu"].as_i64(), ours.mtu.map(i64::from));
            assert_eq!(theirs["status"], u8::from(ours.up) + 2 * u8::from(ours.has_link));
            assert!(theirs["type"].as_str().unwrap().eq_ignore_ascii_case(ours.kind.as_deref().unwrap()));
            let endpoint = theirs["endpoint"].as_str().map(|name| format!("{name}_EP"));
            assert_eq!(endpoint, ours.endpoint);
            let addresses: Vec<IpAddr> = theirs["addresses"]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| text.as_str().unwrap().parse().unwrap())
                .collect();
            assert_eq!(addresses, ours.addresses);
        }
    }
}

fn is_uri(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("http://"))
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Whether two values say the same. The REST API fills in zeros and empty lists, spells enum values in its own way, and addresses in Java's.
fn same(rest: &Value, ours: &Value) -> bool {
    let empty = |value: &Value| {
        value.is_null() || value == &Value::Bool(false) || value == &Value::from(0) || value == "" || value.as_array().is_some_and(Vec::is_empty)
    };
    match (rest, ours) {
        (rest, Value::Null) => empty(rest),
        (Value::String(a), Value::String(b)) => a == b || word(a) == word(b) || a.parse::<IpAddr>().is_ok_and(|a| Ok(a) == b.parse::<IpAddr>()),
        (Value::Bool(_) | Value::Number(_), Value::String(text)) => text.parse::<Value>().is_ok_and(|ours| ours == *rest),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(_)) => a.iter().all(|(name, a)| same(a, ours.get(snake(name)).unwrap_or(&Value::Null))),
        (rest, ours) => rest == ours,
    }
}

/// `network:router_gateway` and `ROUTER_GATEWAY` are the same word.
fn word(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    let owner = ["NETWORK:", "NEUTRON:"]
        .iter()
        .find_map(|prefix| upper.strip_prefix(prefix))
        .unwrap_or(&upper);
    if owner.starts_with("COMPUTE:") {
        "COMPUTE".to_owned()
    } else {
        owner.to_owned()
    }
}
