// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The golden cloud, made by MidoNet 5.4.1 itself, is rebuilt from its Neutron objects by the simulator's translators and compared object by
//! object, byte for byte. Only the ids that MidoNet takes at random differ; they are matched by their position in their chain.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    path::PathBuf,
};

use insights_cloudsim::{
    obj::{Kind, Obj, Val},
    translate::{FloatingIp, Member, Network, Owner, Pool, Port, Router, SecurityGroup, SecurityGroupRule, Subnet, Translator, Vip},
    zoom::Zoom,
};
use midonet::{
    model::{Object, View, decode_object},
    text::{self, Message, Value},
};
use uuid::Uuid;

struct Golden {
    objects: BTreeMap<(String, Uuid), String>,
    /// Paths of the state tables' entries that are configured.
    entries: BTreeSet<String>,
}

fn golden() -> Golden {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden/topology/zk-tree.jsonl");
    let mut golden = Golden {
        objects: BTreeMap::new(),
        entries: BTreeSet::new(),
    };
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let node: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = node["path"].as_str().unwrap();
        if let Some(rest) = path.strip_prefix("/midonet/zoom/0/models/") {
            let Some((class, id)) = rest.split_once('/') else { continue };
            let text = String::from_utf8(base64(node["data"].as_str().unwrap())).unwrap();
            golden.objects.insert((class.to_owned(), id.parse().unwrap()), text);
        } else if let Some(rest) = path.strip_prefix("/midonet/zoom/0/tables/")
            && rest.ends_with(",2147483647")
        {
            golden.entries.insert(rest.to_owned());
        }
    }
    golden
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let mut bits = 0u32;
    for (index, byte) in text.bytes().filter(|byte| *byte != b'=').enumerate() {
        bits = bits << 6 | DIGITS.iter().position(|digit| *digit == byte).unwrap() as u32;
        if index % 4 > 0 {
            out.push((bits >> (6 - 2 * (index % 4))) as u8);
        }
    }
    out
}

impl Golden {
    fn object(&self, class: &str, id: Uuid) -> Object {
        decode_object(class, self.objects[&(class.to_owned(), id)].as_bytes()).unwrap()
    }

    /// Objects of a class.
    fn all(&self, class: &str) -> Vec<(Uuid, Object)> {
        let of_class = self.objects.keys().filter(|(of, _)| of == class);
        of_class.map(|(_, id)| (*id, self.object(class, *id))).collect()
    }

    fn named(&self, class: &str, name: &str) -> (Uuid, Object) {
        self.all(class)
            .into_iter()
            .find(|(_, object)| object.str("name").as_deref() == Some(name))
            .unwrap_or_else(|| panic!("no {class} {name}"))
    }
}

fn string(view: &View<'_>, field: &str) -> String {
    view.str(field).unwrap_or_default().into_owned()
}

fn network(id: Uuid, object: &Object) -> Network {
    let view = object.view();
    Network {
        id,
        tenant: string(&view, "tenant_id"),
        name: string(&view, "name"),
        shared: view.bool("shared").unwrap(),
        external: view.bool("external").unwrap(),
        uplink: view.word("network_type").as_deref() == Some("UPLINK"),
    }
}

fn subnet(id: Uuid, object: &Object) -> Subnet {
    let view = object.view();
    let prefix = |view: &View<'_>, field: &str| {
        let subnet = view.subnet(field).unwrap();
        (subnet.address, subnet.prefix_length)
    };
    Subnet {
        id,
        network: view.uuid("network_id").unwrap(),
        tenant: string(&view, "tenant_id"),
        name: string(&view, "name"),
        cidr: prefix(&view, "cidr"),
        gateway: view.ip("gateway_ip"),
        pools: view
            .messages("allocation_pools")
            .iter()
            .map(|pool| (pool.ip("start").unwrap(), pool.ip("end").unwrap()))
            .collect(),
        dns: view.ips("dns_nameservers"),
        routes: view
            .messages("host_routes")
            .iter()
            .map(|route| (prefix(route, "destination"), route.ip("nexthop").unwrap()))
            .collect(),
        dhcp: view.bool("enable_dhcp").unwrap(),
    }
}

fn port(id: Uuid, object: &Object) -> Port {
    let view = object.view();
    let profile = view.message("profile");
    let pair = |pair: &View<'_>| {
        let subnet = pair.subnet("ip_address").unwrap();
        ((subnet.address, subnet.prefix_length), string(pair, "mac_address"))
    };
    Port {
        id,
        network: view.uuid("network_id").unwrap(),
        tenant: string(&view, "tenant_id"),
        name: string(&view, "name"),
        mac: string(&view, "mac_address"),
        fixed_ips: view
            .messages("fixed_ips")
            .iter()
            .map(|ip| (ip.ip("ip_address").unwrap(), ip.uuid("subnet_id").unwrap()))
            .collect(),
        owner: match view.word("device_owner").as_deref().unwrap() {
            "COMPUTE" => Owner::Compute,
            "DHCP" => Owner::Dhcp,
            "ROUTER_INTERFACE" => Owner::RouterInterface,
            "ROUTER_GATEWAY" => Owner::RouterGateway,
            "LOADBALANCER" => Owner::LoadBalancer,
            other => panic!("owner {other}"),
        },
        device: string(&view, "device_id"),
        security_groups: view.uuids("security_groups"),
        binding: view.str("host_id").map(|host| {
            (
                host.into_owned(),
                profile.and_then(|profile| profile.str("interface_name").map(Into::into)),
            )
        }),
        port_security: view.bool("port_security_enabled").unwrap(),
        allowed_pairs: view.messages("allowed_address_pairs").iter().map(pair).collect(),
    }
}

fn security_group(id: Uuid, object: &Object) -> SecurityGroup {
    let view = object.view();
    let rule = |rule: &View<'_>| SecurityGroupRule {
        id: rule.uuid("id").unwrap(),
        tenant: string(rule, "tenant_id"),
        group: rule.uuid("security_group_id").unwrap(),
        ingress: rule.word("direction").as_deref() == Some("INGRESS"),
        ipv6: rule.word("ethertype").as_deref() == Some("IPV6"),
        protocol: rule.word("protocol").map(|word| if word == "TCP" { "TCP" } else { "ICMP" }),
        ports: rule.i64("port_range_min").zip(rule.i64("port_range_max")),
        remote_group: rule.uuid("remote_group_id"),
        remote_prefix: rule.str("remote_ip_prefix").map(|prefix| {
            let (address, length) = prefix.split_once('/').unwrap();
            (address.parse().unwrap(), length.parse().unwrap())
        }),
    };
    SecurityGroup {
        id,
        tenant: string(&view, "tenant_id"),
        name: string(&view, "name"),
        description: string(&view, "description"),
        rules: view.messages("security_group_rules").iter().map(rule).collect(),
    }
}

/// Runs the Neutron requests in the order in which the golden cloud was made, which its tunnel keys and lists tell.
fn rebuild(golden: &Golden) -> Zoom {
    let mut zoom = Zoom::new();
    let mut counter = 0u128;
    let mut fresh = move || {
        counter += 1;
        Uuid::from_u128(0xf000_0000_0000_4000_8000_0000_0000_0000 | counter)
    };
    // The first key went to something that is no more.
    zoom.next_tunnel_key();
    for (id, host) in golden.all("Host") {
        zoom.create(Obj::new(Kind::Host, id).with("name", &*host.str("name").unwrap()));
    }
    for (id, zone) in golden.all("TunnelZone") {
        let kind = if zone.word("type").as_deref() == Some("GRE") { "GRE" } else { "VXLAN" };
        let mut made = Obj::new(Kind::TunnelZone, id)
            .with("name", &*zone.str("name").unwrap())
            .with("type", Val::Enum(kind));
        for entry in zone.messages("hosts") {
            let ip: IpAddr = entry.ip("ip").unwrap();
            made.add("hosts", vec![("host_id", Val::Id(entry.uuid("host_id").unwrap())), ("ip", Val::Ip(ip))]);
            made.add("host_ids", entry.uuid("host_id").unwrap());
        }
        zoom.create(made);
    }
    let mut t = Translator {
        zoom: &mut zoom,
        fresh: &mut fresh,
    };
    for (id, group) in golden.all("SecurityGroup") {
        t.security_group(&security_group(id, &group));
    }

    let neutron = |name: &str| {
        let (id, object) = golden.named("NeutronNetwork", name);
        network(id, &object)
    };
    let subnet_named = |name: &str| {
        let (id, object) = golden.named("NeutronSubnet", name);
        subnet(id, &object)
    };
    let ports: Vec<Port> = golden.all("NeutronPort").iter().map(|(id, object)| port(*id, object)).collect();
    let host_named = |name: &str| golden.named("Host", name).0;
    let router = |t: &mut Translator<'_>, name: &str| {
        let (id, object) = golden.named("NeutronRouter", name);
        let gateway = object
            .uuid("gw_port_id")
            .map(|port| (port, object.message("external_gateway_info").unwrap().bool("enable_snat").unwrap()));
        if let Some((gateway, _)) = gateway {
            t.port(ports.iter().find(|port| port.id == gateway).unwrap());
        }
        t.router(&Router {
            id,
            tenant: object.str("tenant_id").unwrap().into(),
            name: name.to_owned(),
            gateway,
        });
        id
    };
    t.network(&neutron("public"));
    t.subnet(&subnet_named("public-subnet"));
    let edge = router(&mut t, "edge-router");
    t.network(&neutron("uplink-net"));
    t.subnet(&subnet_named("uplink-subnet"));
    let uplink = ports.iter().find(|port| port.name == "uplink-port").unwrap();
    t.port(uplink);
    t.router_interface(edge, uplink.id, Some((host_named("gateway1"), "eth1")));
    let external = ports.iter().find(|port| port.name == "edge-ext").unwrap();
    t.port(external);
    t.router_interface(edge, external.id, None);

    for tenant in 0..2 {
        let id = router(&mut t, &format!("tenant-router-{tenant}"));
        for number in 0..2 {
            let net = neutron(&format!("net-{tenant}-{number}"));
            t.network(&net);
            t.subnet(&subnet_named(&format!("sub-{tenant}-{number}")));
            let of = |owner: Owner| ports.iter().find(|port| port.network == net.id && port.owner == owner).unwrap();
            t.port(of(Owner::Dhcp));
            t.port(of(Owner::RouterInterface));
            t.router_interface(id, of(Owner::RouterInterface).id, None);
            let mut vms: Vec<&Port> = ports
                .iter()
                .filter(|port| port.network == net.id && port.owner == Owner::Compute)
                .collect();
            vms.sort_by(|a, b| a.name.cmp(&b.name));
            for vm in vms {
                t.port(vm);
                let golden_port = golden.object("Port", vm.id);
                t.bind(vm.id, golden_port.uuid("host_id").unwrap(), &golden_port.str("interface_name").unwrap());
            }
        }
    }
    let mut fips = golden.all("FloatingIp");
    fips.sort_by_key(|(_, fip)| fip.ip("floating_ip_address"));
    for (id, fip) in fips {
        t.floating_ip(&FloatingIp {
            id,
            tenant: fip.str("tenant_id").unwrap().into(),
            network: fip.uuid("floating_network_id").unwrap(),
            address: fip.ip("floating_ip_address").unwrap(),
            association: fip
                .uuid("router_id")
                .map(|router| (router, fip.uuid("port_id").unwrap(), fip.ip("fixed_ip_address").unwrap())),
        });
    }
    for (id, pool) in golden.all("NeutronLoadBalancerPool") {
        t.pool(&Pool {
            id,
            tenant: pool.str("tenant_id").unwrap().into(),
            name: pool.str("name").unwrap().into(),
            subnet: pool.uuid("subnet_id").unwrap(),
            router: pool.uuid("router_id").unwrap(),
        });
    }
    for (id, member) in golden.all("NeutronLoadBalancerPoolMember") {
        t.pool_member(&Member {
            id,
            tenant: member.str("tenant_id").unwrap().into(),
            pool: member.uuid("pool_id").unwrap(),
            address: member.ip("address").unwrap(),
            port: member.i64("protocol_port").unwrap() as i32,
            weight: member.i64("weight").unwrap() as i32,
        });
    }
    t.port(ports.iter().find(|port| port.owner == Owner::LoadBalancer).unwrap());
    for (id, vip) in golden.all("NeutronVIP") {
        t.vip(&Vip {
            id,
            tenant: vip.str("tenant_id").unwrap().into(),
            name: vip.str("name").unwrap().into(),
            pool: vip.uuid("pool_id").unwrap(),
            subnet: vip.uuid("subnet_id").unwrap(),
            neutron_port: vip.uuid("port_id").unwrap(),
            address: vip.ip("address").unwrap(),
            port: vip.i64("protocol_port").unwrap() as i32,
            sticky: vip.message("session_persistence").is_some(),
        });
    }
    // BGP was set up by the REST API.
    zoom.update(Kind::Router, edge, |router| router.set("as_number", 64513));
    let mut peers = golden.all("BgpPeer");
    peers.sort_by_key(|(_, peer)| peer.ip("address"));
    for (id, peer) in peers {
        let mut made = Obj::new(Kind::BgpPeer, id)
            .with("as_number", peer.i64("as_number").unwrap())
            .with("address", peer.ip("address").unwrap())
            .with("router_id", edge);
        for field in ["keep_alive", "hold_time", "connect_retry"] {
            if let Some(seconds) = peer.i64(field) {
                made.add(field, seconds);
            }
        }
        if let Some(password) = peer.str("password") {
            made.add("password", &*password);
        }
        zoom.create(made);
    }
    for (id, net) in golden.all("BgpNetwork") {
        let subnet = net.subnet("subnet").unwrap();
        let advertised = Obj::new(Kind::BgpNetwork, id).with("subnet", (subnet.address, subnet.prefix_length));
        zoom.create(advertised.with("router_id", edge));
    }
    zoom
}

/// Our ids of rules to MidoNet's, by their place in their chain. Derived ids must be equal.
fn rule_names(golden: &Golden, zoom: &Zoom) -> HashMap<Uuid, Uuid> {
    let mut names = HashMap::new();
    for (id, theirs) in golden.all("Chain") {
        let Some(ours) = zoom.get(Kind::Chain, id) else { continue };
        let (ours, theirs): (Vec<Uuid>, Vec<Uuid>) = (ours.uuids("rule_ids").collect(), theirs.uuids("rule_ids"));
        assert_eq!(ours.len(), theirs.len(), "rules of chain {id}");
        for (our, their) in ours.into_iter().zip(theirs) {
            if their.get_version_num() == 4 {
                assert_eq!(our.get_version_num(), 4, "{our} is derived, {their} is not");
                names.insert(our, their);
            } else {
                assert_eq!(our, their, "derived id of a rule in chain {id}");
            }
        }
    }
    names
}

/// Takes references to objects that the REST API made, and that are not rebuilt, out of a message.
fn without_strangers(message: &mut Message, known: &BTreeSet<Uuid>) {
    message.fields.retain(|field| match &field.value {
        // A translator writes this one itself, also where it makes no such rule.
        Value::Message(_) if field.name == "jump_rule_ids" => true,
        Value::Message(inner) if field.name.ends_with("_ids") => id_of(inner).is_none_or(|id| known.contains(&id)),
        _ => true,
    });
}

fn id_of(message: &Message) -> Option<Uuid> {
    match (message.get("msb"), message.get("lsb")) {
        (Some(Value::Unsigned(msb)), Some(Value::Unsigned(lsb))) => Some(Uuid::from_u64_pair(*msb, *lsb)),
        _ => None,
    }
}

fn rename(message: &mut Message, names: &HashMap<Uuid, Uuid>) {
    for field in &mut message.fields {
        if let Value::Message(inner) = &mut field.value {
            match id_of(inner).and_then(|id| names.get(&id)) {
                Some(name) => *inner = midonet::model::uuid_message(*name),
                None => rename(inner, names),
            }
        }
    }
}

#[test]
fn the_golden_cloud_is_rebuilt() {
    let golden = golden();
    let zoom = rebuild(&golden);
    let names = rule_names(&golden, &zoom);
    let known: BTreeSet<Uuid> = zoom.iter().map(|obj| *names.get(&obj.id).unwrap_or(&obj.id)).collect();
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    for obj in zoom.iter() {
        let id = *names.get(&obj.id).unwrap_or(&obj.id);
        let Some(theirs) = golden.objects.get(&(obj.kind.name().to_owned(), id)) else {
            differences.push(format!("{} {id} is not in the golden cloud", obj.kind.name()));
            continue;
        };
        let mut ours = text::parse(obj.to_text().as_bytes()).unwrap();
        rename(&mut ours, &names);
        let ours = text::write(&ours);
        let mut theirs = text::parse(theirs.as_bytes()).unwrap();
        without_strangers(&mut theirs, &known);
        let theirs = text::write(&theirs);
        if ours != theirs {
            differences.push(format!("{} {id}\n--- ours\n{ours}--- golden\n{theirs}", obj.kind.name()));
        }
        *compared.entry(obj.kind.name()).or_default() += 1;
    }
    assert!(
        differences.is_empty(),
        "{} differences, the first:\n{}",
        differences.len(),
        differences[..differences.len().min(3)].join("\n")
    );
    // What is left out was made by the REST API alone.
    assert_eq!(compared["Chain"], 68);
    assert_eq!(compared["Rule"], 192 - 8);
    assert_eq!(compared["NeutronPort"], 25);
    assert_eq!(compared["Route"], 26 - 4);
    assert_eq!(compared["IPAddrGroup"], 4);
}

#[test]
fn the_golden_tables_are_rebuilt() {
    let golden = golden();
    let zoom = rebuild(&golden);
    let ours: BTreeSet<String> = zoom
        .entries()
        .map(|entry| format!("{}/{}/{}/{}", entry.kind.name(), entry.id, entry.table, entry.entry))
        .collect();
    let bridge = golden.named("Network", "mn-bridge").0;
    let theirs: BTreeSet<String> = golden
        .entries
        .iter()
        .filter(|entry| entry.starts_with("Network/") && !entry.contains(&bridge.to_string()))
        .cloned()
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn each_kind_is_a_class_of_the_model_and_its_text_is_what_the_model_writes() {
    for kind in Kind::ALL {
        assert!(midonet::model::class(kind.name()).is_some_and(|class| class.stored), "{}", kind.name());
    }
    let golden = golden();
    for obj in rebuild(&golden).iter() {
        let ours = obj.to_text();
        assert_eq!(
            ours,
            text::write(&text::parse(ours.as_bytes()).unwrap()),
            "{} {}",
            obj.kind.name(),
            obj.id
        );
    }
}

/// Kinds of chains that translators make, by their name without ids.
fn chain_kind(name: &str) -> String {
    name.split('_').filter(|part| !part.contains('-')).collect::<Vec<_>>().join("_")
}

/// What a rule looks like: kind, verdict, and the names of all of its fields.
fn rule_shape(text: &str) -> String {
    let message = text::parse(text.as_bytes()).unwrap();
    let mut parts = Vec::new();
    for field in &message.fields {
        match (&field.name[..], &field.value) {
            ("type" | "action", Value::Word(word)) => parts.push(word.clone()),
            ("condition" | "nat_rule_data" | "jump_rule_data", Value::Message(inner)) => {
                parts.push(format!(
                    "{}{:?}",
                    field.name,
                    inner.fields.iter().map(|field| &field.name).collect::<Vec<_>>()
                ));
            }
            _ => {}
        }
    }
    parts.join(" ")
}

/// For each kind of chain, the sequences of shapes of its rules, repeated ones once.
fn chain_shapes(chains: impl Iterator<Item = (String, Vec<String>)>) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let mut shapes: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (name, rules) in chains.filter(|(name, _)| name.starts_with("OS_")) {
        let mut sequence: Vec<String> = rules.iter().map(|rule| rule_shape(rule)).collect();
        sequence.dedup();
        if chain_kind(&name).ends_with("ANTI_SPOOF") {
            // One pair of rules for each address.
            let mut seen = BTreeSet::new();
            sequence.retain(|shape| seen.insert(shape.clone()));
        }
        shapes.entry(chain_kind(&name)).or_default().insert(sequence);
    }
    shapes
}

#[test]
fn a_simulated_cloud_has_the_shapes_of_the_golden_one() {
    use insights_cloudsim::{plan::Plan, size::Size};
    let golden = golden();
    let plan = Plan::build(Size::SMALL, 5, std::net::Ipv4Addr::new(127, 64, 0, 0));
    let zoom = &plan.zoom;

    let text_of = |id: &Uuid| golden.objects[&("Rule".to_owned(), *id)].clone();
    let theirs = chain_shapes(
        golden
            .all("Chain")
            .into_iter()
            .map(|(_, chain)| (string(&chain.view(), "name"), chain.uuids("rule_ids").iter().map(text_of).collect())),
    );
    let ours = chain_shapes(zoom.all(Kind::Chain).into_iter().map(|chain| {
        let rules = chain.uuids("rule_ids").map(|id| zoom.get(Kind::Rule, id).unwrap().to_text()).collect();
        (chain.text("name").unwrap().to_owned(), rules)
    }));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (kind, sequences) in ours.iter().filter(|(kind, _)| !kind.starts_with("OS_SG")) {
        // Routers of the golden cloud have floating addresses or an uplink, simulated ones may have neither.
        let odd: Vec<_> = sequences.iter().filter(|sequence| !theirs[kind].contains(*sequence)).collect();
        assert!(odd.is_empty(), "{kind}: {odd:#?} is not among {:#?}", theirs[kind]);
    }
    for (kind, sequences) in ours.iter().filter(|(kind, _)| kind.starts_with("OS_SG")) {
        // What a group allows is the user's; that it allows and how it is written is MidoNet's.
        assert!(
            sequences.iter().flatten().all(|shape| shape.starts_with("LITERAL_RULE ACCEPT condition")),
            "{kind}"
        );
    }

    // Fields of objects: none that the golden cloud's objects of the class don't have, beside those of features that it doesn't use.
    let beyond = ["qos_policy_id"];
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for ((class, _), text) in golden.objects.iter().filter(|((class, _), _)| class != "C3POState") {
        known
            .entry(class)
            .or_default()
            .extend(text::parse(text.as_bytes()).unwrap().fields.into_iter().map(|field| field.name));
    }
    for obj in zoom.iter() {
        let Some(known) = known.get(obj.kind.name()) else { continue };
        for field in text::parse(obj.to_text().as_bytes()).unwrap().fields {
            assert!(
                known.contains(&field.name) || beyond.contains(&&field.name[..]),
                "{} has {}",
                obj.kind.name(),
                field.name
            );
        }
    }
}
