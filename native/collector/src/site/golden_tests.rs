// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The model of a cloud that MidoNet itself wrote, against what MidoNet's own REST API said about the same cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use insights_store::catalog::{Node, TopologyEffect};
use serde_json::Value;
use uuid::Uuid;

use super::*;

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/golden/topology")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The nodes of the golden cloud, as a gateway ships them: relative to the root key.
fn nodes() -> Vec<Node> {
    golden("zk-tree.jsonl")
        .lines()
        .filter_map(|line| {
            let node: Value = serde_json::from_str(line).unwrap();
            let path = node["path"].as_str().unwrap().strip_prefix("/midonet/")?.to_owned();
            Some(Node {
                path,
                data: node["data"].as_str().map(|data| STANDARD.decode(data).unwrap()).unwrap_or_default(),
                mzxid: 1,
                version: node["version"].as_i64().unwrap_or(0) as i32,
                ctime_ms: 1_500_000_000_000,
                mtime_ms: 1_500_000_000_000,
                ephemeral_owner: i64::from(node["ephemeral"].as_bool().unwrap()),
                at_us: 1_500_000_001_000_000,
            })
        })
        .collect()
}

pub(crate) fn golden_site() -> Site {
    let mut site = Site::default();
    for node in nodes() {
        site.apply(&TopologyEffect::Put(node));
    }
    site
}

fn rest(name: &str) -> Vec<Value> {
    serde_json::from_str(&golden(&format!("rest-get/{name}.json"))).unwrap()
}

fn truth() -> Value {
    serde_json::from_str(&golden("topology-truth.json")).unwrap()
}

fn id(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

fn some_id(value: &Value) -> Option<Uuid> {
    value.as_str().map(|text| text.parse().unwrap())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn ids(value: &Value) -> BTreeSet<Uuid> {
    value.as_array().unwrap().iter().map(id).collect()
}

#[test]
fn networks_and_routers_are_as_midonet_says() {
    let site = golden_site();
    let expected = rest("bridges");
    assert_eq!(site.networks().filter(|network| !network.uplink).count(), expected.len());
    for bridge in expected {
        let network = site.network(id(&bridge["id"])).unwrap();
        assert_eq!(
            (Some(network.name), network.tenant, network.admin_up),
            (text(&bridge["name"]), text(&bridge["tenantId"]), true)
        );
        assert_eq!(network.inbound_chain, some_id(&bridge["inboundFilterId"]));
        assert_eq!(network.outbound_chain, some_id(&bridge["outboundFilterId"]));
    }
    let expected = rest("routers");
    assert_eq!(site.routers().count(), expected.len());
    for router in expected {
        let found = site.router(id(&router["id"])).unwrap();
        assert_eq!((Some(found.name), found.tenant), (text(&router["name"]), text(&router["tenantId"])));
        assert_eq!(found.as_number, router["asNumber"].as_i64().filter(|number| *number >= 0));
        assert_eq!(found.inbound_chain, some_id(&router["inboundFilterId"]));
        assert_eq!(found.outbound_chain, some_id(&router["outboundFilterId"]));
        assert_eq!(found.forward_chain, some_id(&router["forwardChainId"]));
        assert_eq!(found.redirect_chain, some_id(&router["localRedirectChainId"]));
        assert_eq!(found.load_balancer, some_id(&router["loadBalancerId"]));
    }
    for network in rest("neutron_networks") {
        let found = site.network(id(&network["id"])).unwrap();
        assert_eq!(found.external, network["router:external"].as_bool().unwrap(), "{network}");
        assert_eq!(Some(found.name), text(&network["name"]));
        let subnets = rest("neutron_subnets").into_iter().filter(|subnet| subnet["network_id"] == network["id"]);
        assert_eq!(
            found.subnets.iter().copied().collect::<BTreeSet<_>>(),
            subnets.map(|subnet| id(&subnet["id"])).collect()
        );
    }
}

#[test]
fn ports_are_as_midonet_says() {
    let site = golden_site();
    let expected = rest("ports");
    assert_eq!(site.ports().count(), expected.len());
    for port in expected {
        let found = site.port(id(&port["id"])).unwrap();
        let device = Some(id(&port["deviceId"]));
        let is_router = port["type"] == "Router";
        assert_eq!((found.network, found.router), if is_router { (None, device) } else { (device, None) });
        assert_eq!(found.peer, some_id(&port["peerId"]), "{port}");
        assert_eq!(found.host, some_id(&port["hostId"]));
        assert_eq!(found.interface, text(&port["interfaceName"]));
        assert_eq!(found.inbound_chain, some_id(&port["inboundFilterId"]));
        assert_eq!(found.outbound_chain, some_id(&port["outboundFilterId"]));
        assert_eq!(found.admin_up, port["adminStateUp"].as_bool().unwrap());
        // The API shows 0 where there is none.
        assert_eq!(found.tunnel_key.unwrap_or(0), port["tunnelKey"].as_u64().unwrap());
        let bound = found.host.is_some() && found.interface.is_some();
        assert_eq!(found.state == State::Up && bound, port["active"].as_bool().unwrap(), "{port}");
        if is_router {
            assert_eq!(found.mac.map(|mac| mac.to_string()), text(&port["portMac"]));
            let address: IpAddr = port["portAddress"].as_str().unwrap().parse().unwrap();
            assert!(found.addresses.contains(&address), "{found:?}");
        }
    }
    for port in rest("neutron_ports") {
        let Some(found) = site.port(id(&port["id"])) else { continue };
        if let Some(name) = text(&port["name"]) {
            assert_eq!(found.name, name);
        }
        let addresses: BTreeSet<IpAddr> = port["fixed_ips"]
            .as_array()
            .unwrap()
            .iter()
            .map(|fixed| fixed["ip_address"].as_str().unwrap().parse().unwrap())
            .collect();
        assert_eq!(found.addresses.iter().copied().collect::<BTreeSet<_>>(), addresses);
        assert_eq!(found.mac.map(|mac| mac.to_string()), text(&port["mac_address"]));
        assert_eq!(
            found.security_groups.iter().copied().collect::<BTreeSet<_>>(),
            ids(&port["security_groups"])
        );
        let own = text(&port["tenant_id"]);
        let network = site.network(found.network.unwrap()).unwrap();
        assert_eq!(found.tenant, own.or(network.tenant));
    }
}

#[test]
fn kinds_of_ports_follow_from_the_objects() {
    let (site, truth) = (golden_site(), truth());
    let kinds = |kind| site.ports().filter(|port| port.kind == kind).map(|port| port.id).collect::<BTreeSet<_>>();
    assert_eq!(kinds(PortKind::Vm), ids(&truth["vmPorts"]));
    let uplinks: BTreeSet<Uuid> = truth["bgpPorts"].as_array().unwrap().iter().map(|port| id(&port["port"])).collect();
    assert_eq!(kinds(PortKind::Uplink), uplinks);
    let edge = id(&truth["edge"]);
    let edges: Vec<Uuid> = site.routers().filter(|router| router.edge).map(|router| router.id).collect();
    assert_eq!(edges, [edge]);
    let external: Vec<Uuid> = site.networks().filter(|network| network.external).map(|network| network.id).collect();
    assert_eq!(external, [id(&truth["extNet"])]);
    // Tenant routers with an external gateway, and nobody else, have a gateway port, behind the port that Neutron names.
    for router in rest("neutron_routers") {
        let found = site.router(id(&router["id"])).unwrap();
        let neutron_port = some_id(&router["gw_port_id"]);
        assert_eq!(found.gateway, neutron_port.map(midonet::ids::tenant_gateway_port), "{router}");
        assert_eq!(found.gateway.and_then(|port| site.port(port)?.peer), neutron_port);
    }
    let dhcp: BTreeSet<Uuid> = rest("neutron_ports")
        .iter()
        .filter(|port| port["device_owner"] == "network:dhcp")
        .map(|port| id(&port["id"]))
        .collect();
    assert_eq!(kinds(PortKind::Dhcp), dhcp);
    // Agents answer DHCP themselves: nothing is plugged in at these ports, and nothing is wrong with them.
    assert!(dhcp.iter().all(|port| site.port(*port).unwrap().state == State::Off));
    let counts = site.counts();
    assert_eq!((counts.ports_bound, counts.ports_up), (15, 15));
    for port in site.ports().filter(|port| port.kind == PortKind::RouterInterface) {
        assert!(port.router.is_some() && site.port(port.peer.unwrap()).unwrap().network.is_some());
    }
}

#[test]
fn bindings_states_and_bgp_are_those_of_the_agents() {
    let (site, truth) = (golden_site(), truth());
    for binding in truth["bindings"].as_array().unwrap() {
        let port = site.port(id(&binding["port"])).unwrap();
        assert_eq!(
            (port.host, port.interface, port.state),
            (Some(id(&binding["host"])), text(&binding["ifname"]), State::Up)
        );
        assert_eq!(port.since_us, Some(1_500_000_000_000_000));
    }
    for port in truth["bgpPorts"].as_array().unwrap() {
        let found = site.port(id(&port["port"])).unwrap();
        assert!(found.bgp_status.unwrap().contains("Established"));
        assert_eq!(found.router, Some(id(&port["router"])));
        let routes: BTreeSet<String> = site
            .learned_routes(found.id)
            .iter()
            .map(|route| route.destination.unwrap().to_string())
            .collect();
        let learned: BTreeSet<String> = golden("state-truth.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|entry| entry["kind"] == "learnedRoute" && entry["port"] == port["port"])
            .map(|entry| entry["dst"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(routes, learned);
        assert_eq!(found.learned_routes, learned.len());
    }
    assert!(site.bgp_peers().any(|peer| peer.state == State::Up));
    let (mut up, expected) = (0, rest("hosts"));
    assert_eq!(site.hosts().count(), expected.len());
    for host in expected {
        let found = site.host(id(&host["id"])).unwrap();
        assert_eq!(Some(found.name.clone()), text(&host["name"]));
        let alive = host["alive"].as_bool().unwrap();
        assert_eq!(found.state == State::Up, alive, "{host}");
        up += usize::from(alive);
        let interfaces = host["hostInterfaces"].as_array().unwrap();
        assert_eq!(found.interfaces.len(), interfaces.len());
        for interface in interfaces {
            let own = found
                .interfaces
                .iter()
                .find(|own| Some(&*own.name) == interface["name"].as_str())
                .unwrap();
            assert_eq!(own.mac.map(|mac| mac.to_string()), text(&interface["mac"]));
            assert_eq!(own.mtu, interface["mtu"].as_i64());
            let addresses: Vec<IpAddr> = interface["addresses"]
                .as_array()
                .unwrap()
                .iter()
                .map(|address| address.as_str().unwrap().parse().unwrap())
                .collect();
            assert_eq!(own.addresses, addresses);
            // MidoNet's API gives the state as bits: up, link.
            let status = interface["status"].as_i64().unwrap();
            assert_eq!((own.up, own.has_link), (status & 1 != 0, status & 2 != 0));
        }
    }
    assert_eq!(site.counts().hosts_up, up);
}

#[test]
fn tables_are_those_that_were_written() {
    let (site, truth) = (golden_site(), truth());
    for entry in truth["macs"].as_array().unwrap() {
        let (network, port) = (id(&entry["bridge"]), id(&entry["port"]));
        let mac: Mac = entry["mac"].as_str().unwrap().parse().unwrap();
        let vlan = entry["vlan"].as_u64().unwrap() as u16;
        let table = site.mac_table(network);
        assert!(table.iter().any(|row| row.mac == mac && row.vlan == vlan && row.port == port), "{entry}");
        let address: IpAddr = entry["ip"].as_str().unwrap().parse().unwrap();
        assert!(
            site.ip_mac_table(network).iter().any(|row| row.address == address && row.mac == mac),
            "{entry}"
        );
    }
    let mut counts: BTreeMap<Uuid, usize> = BTreeMap::new();
    for entry in truth["arps"].as_array().unwrap() {
        let router = id(&entry["router"]);
        *counts.entry(router).or_default() += 1;
        let address: IpAddr = entry["ip"].as_str().unwrap().parse().unwrap();
        let table = site.arp_table(router);
        let row = table.iter().find(|row| row.address == address).unwrap();
        assert_eq!(row.mac.map(|mac| mac.to_string()), text(&entry["mac"]));
    }
    for (router, count) in counts {
        assert_eq!(site.arp_table(router).len(), count);
    }
    for entry in truth["peerings"].as_array().unwrap() {
        let table = site.peering_table(id(&entry["port"]));
        assert_eq!(table.len(), 1);
        assert_eq!(
            (table[0].mac.to_string(), table[0].address.to_string()),
            (text(&entry["mac"]).unwrap(), text(&entry["ip"]).unwrap())
        );
    }
    let gateways: usize = site.networks().map(|network| site.gateway_hosts(network.id).len()).sum();
    let fips: Vec<Fip64Entry> = site.networks().flat_map(|network| site.fip64_table(network.id)).collect();
    assert_eq!(gateways, 2);
    assert_eq!(fips.len(), 1);
    assert_eq!(
        (fips[0].fixed.to_string(), fips[0].floating.to_string()),
        ("10.0.1.11".to_owned(), "2001:db8:f1::11".to_owned())
    );
}

#[test]
fn chains_groups_and_floating_addresses_are_as_midonet_says() {
    let site = golden_site();
    let chains = rest("chains");
    assert_eq!(site.chains().count(), chains.len());
    for chain in chains {
        assert_eq!(Some(site.chain(id(&chain["id"])).unwrap().name), text(&chain["name"]));
    }
    // Each rule is in its chain, in a place of its own, and has words.
    let rules: Vec<Rule> = site.rules().collect();
    assert_eq!(rules.len(), 192);
    for rule in &rules {
        let chain = site.chain(rule.chain.unwrap()).unwrap();
        assert_eq!(chain.rules[rule.position.unwrap() - 1], rule.id);
        assert!(
            !rule.text.is_empty() && !rule.text.contains("no action") && !rule.text.contains("missing"),
            "{rule:?}"
        );
        assert!(chain.tenant.is_some() || !chain.name.starts_with("OS_PORT_"), "{chain:?}");
    }
    for group in rest("ip_addr_groups") {
        let found = site.security_group(id(&group["id"])).unwrap();
        assert_eq!(Some(found.name), text(&group["name"]));
        assert_eq!(
            (found.inbound_chain, found.outbound_chain),
            (some_id(&group["inboundChainId"]), some_id(&group["outboundChainId"]))
        );
        let members = group["ipAddrPorts"].as_array().unwrap();
        assert_eq!(found.members.len(), members.len());
        for (own, member) in found.members.iter().zip(members) {
            assert_eq!(own.address.to_string(), member["ipAddress"].as_str().unwrap());
            assert_eq!(own.ports.iter().copied().collect::<BTreeSet<_>>(), ids(&member["portIds"]));
        }
    }
    for group in rest("neutron_security_groups") {
        let found = site.security_group(id(&group["id"])).unwrap();
        assert_eq!(
            (found.tenant, Some(found.description)),
            (text(&group["tenant_id"]), text(&group["description"]).or(Some(String::new())))
        );
        let rules = group["security_group_rules"].as_array().unwrap();
        let own: BTreeMap<Uuid, bool> = found.rules.iter().map(|rule| (rule.id, rule.ingress)).collect();
        assert_eq!(own, rules.iter().map(|rule| (id(&rule["id"]), rule["direction"] == "ingress")).collect());
    }
    let floating = rest("neutron_floating_ips");
    assert_eq!(site.floating_ips().count(), floating.len());
    for expected in floating {
        let found = site.floating_ip(id(&expected["id"])).unwrap();
        assert_eq!(found.address.map(|address| address.to_string()), text(&expected["floating_ip_address"]));
        assert_eq!(
            found.fixed_address.map(|address| address.to_string()),
            text(&expected["fixed_ip_address"])
        );
        assert_eq!(
            (found.port, found.router),
            (some_id(&expected["port_id"]), some_id(&expected["router_id"]))
        );
        assert_eq!(
            (found.tenant, found.network),
            (text(&expected["tenant_id"]), some_id(&expected["floating_network_id"]))
        );
        if let (Some(port), Some(address)) = (found.port, found.address) {
            assert_eq!(site.port_of_floating_address(address), Some(port));
            assert!(site.port(port).unwrap().floating_ips.contains(&found.id));
        }
    }
    for subnet in rest("neutron_subnets") {
        let found = site.subnet(id(&subnet["id"])).unwrap();
        assert_eq!((Some(found.name), found.network), (text(&subnet["name"]), some_id(&subnet["network_id"])));
        assert_eq!(found.prefix.map(|prefix| prefix.to_string()), text(&subnet["cidr"]));
        assert_eq!(found.gateway.map(|address| address.to_string()), text(&subnet["gateway_ip"]));
        assert_eq!(found.dhcp, subnet["enable_dhcp"].as_bool().unwrap());
    }
}

#[test]
fn load_balancers_are_as_midonet_says() {
    let (site, truth) = (golden_site(), truth());
    for balancer in rest("load_balancers") {
        assert_eq!(site.load_balancer(id(&balancer["id"])).unwrap().router, some_id(&balancer["routerId"]));
    }
    for pool in rest("pools") {
        let found = site.pool(id(&pool["id"])).unwrap();
        assert_eq!(
            (found.load_balancer, found.health_monitor),
            (some_id(&pool["loadBalancerId"]), some_id(&pool["healthMonitorId"]))
        );
        assert_eq!(
            (found.protocol, found.method),
            (text(&pool["protocol"]).unwrap(), text(&pool["lbMethod"]).unwrap())
        );
        let router = site.load_balancer(found.load_balancer.unwrap()).unwrap().router.unwrap();
        assert_eq!(found.tenant, site.router(router).unwrap().tenant);
    }
    let members: BTreeSet<Uuid> = site.pool_members().map(|member| member.id).collect();
    assert_eq!(members, ids(&truth["poolMembers"]));
    for vip in rest("vips") {
        let found = site.vip(id(&vip["id"])).unwrap();
        assert_eq!(found.address.map(|address| address.to_string()), text(&vip["address"]));
        assert_eq!((found.port, found.pool), (vip["protocolPort"].as_i64(), some_id(&vip["poolId"])));
    }
    for monitor in rest("health_monitors") {
        let found = site.health_monitor(id(&monitor["id"])).unwrap();
        assert_eq!(
            (found.delay_s, found.timeout_s, found.max_retries),
            (monitor["delay"].as_i64(), monitor["timeout"].as_i64(), monitor["maxRetries"].as_i64())
        );
    }
    for mirror in rest("mirrors") {
        let found = site.mirror(id(&mirror["id"])).unwrap();
        assert_eq!(found.to_port, some_id(&mirror["toPortId"]));
        assert_eq!(found.conditions, ["IPv4 TCP"]);
    }
    for zone in rest("tunnel_zones") {
        let found = site.tunnel_zone(id(&zone["id"])).unwrap();
        assert_eq!((Some(found.name), Some(found.encapsulation)), (text(&zone["name"]), text(&zone["type"])));
    }
}

#[test]
fn search_finds_by_name_id_and_address() {
    let site = golden_site();
    let port: Uuid = "c918c25f-20ec-5cd9-b61b-a397b8a9df80".parse().unwrap();
    let first = |text: &str| site.search(text).first().map(|found| found.object.id);
    assert_eq!(first("c918c25f-20ec-5cd9-b61b-a397b8a9df80"), Some(port));
    assert_eq!(first("c918c2"), Some(port));
    assert_eq!(first("fa:16:3e:01:00:01"), Some(port));
    assert!(site.search("10.0.1.11").iter().any(|found| found.object.id == port));
    assert!(site.search("198.51.100.101").iter().any(|found| found.object.kind == Kind::FloatingIp));
    let router = site.search("TENANT-ROUTER-1");
    assert_eq!(router[0].object.kind, Kind::Router);
    assert_eq!(router[0].object.name, "tenant-router-1");
    assert_eq!(site.search("gateway2")[0].object.kind, Kind::Host);
    assert!(site.search("no such thing").is_empty() && site.search(" ").is_empty());
    // Every object can be described, and has a name.
    for (class, _) in site.classes() {
        for id in site.ids_of_class(class) {
            assert!(site.describe(id).is_some_and(|found| !found.name.is_empty()), "{class} {id}");
        }
    }
}

#[test]
fn taking_everything_out_again_leaves_nothing() {
    let (mut site, whole) = (golden_site(), golden_site());
    // The order of a deletion is not that of the creation.
    for node in nodes().into_iter().rev() {
        site.apply(&TopologyEffect::Delete {
            path: node.path,
            at_us: 1_600_000_000_000_000,
        });
    }
    assert!(site.is_empty());
    let indexes = [
        site.by_mac.iter().count(),
        site.by_ip.iter().count(),
        site.by_network_ip.iter().count(),
        site.states.iter().count(),
    ];
    assert_eq!(indexes, [0; 4]);
    assert_eq!(
        site.tables.macs.iter().count() + site.tables.arps.iter().count() + site.tables.routes.iter().count(),
        0
    );
    assert!(whole.counts().objects > 300);
    assert_eq!(site.counts(), Counts::default());
}

#[test]
fn a_host_that_went_keeps_what_was_known_of_it() {
    let mut site = golden_site();
    let host: Uuid = "aa000000-0000-4000-8000-000000000001".parse().unwrap();
    let interfaces = site.host(host).unwrap().interfaces;
    for key in ["alive", "host"] {
        site.apply(&TopologyEffect::Delete {
            path: format!("zoom/0/state/{host}/Host/{host}/{key}"),
            at_us: 1_600_000_000_000_000,
        });
    }
    let found = site.host(host).unwrap();
    assert_eq!((found.state, found.since_us), (State::Down, Some(1_600_000_000_000_000)));
    assert_eq!(found.interfaces, interfaces);
    assert!(!found.interfaces_current);
    let zone = site.tunnel_zones().find(|zone| zone.ends.iter().any(|end| end.host == host)).unwrap();
    assert_eq!(zone.state, State::Degraded);
}

#[test]
fn a_trace_reads_chains_and_links_as_midonet_says() {
    use insights_trace::compiled::Compiled;

    let site = golden_site();
    let mut compiled = Compiled::default();
    let routers = rest("routers");
    for router in &routers {
        let read = compiled.router(&site, id(&router["id"])).unwrap();
        assert_eq!(read.admin_up, router["adminStateUp"].as_bool().unwrap());
        assert_eq!(read.inbound, some_id(&router["inboundFilterId"]));
        assert_eq!(read.outbound, some_id(&router["outboundFilterId"]));
        assert_eq!(read.forward, some_id(&router["forwardChainId"]));
        assert_eq!(read.balancer, some_id(&router["loadBalancerId"]));
        let routes: BTreeSet<_> = read.routes.iter().filter_map(|route| route.id).collect();
        let configured: BTreeSet<_> = site
            .routes()
            .filter(|route| route.router == Some(id(&router["id"])))
            .filter_map(|route| route.id)
            .collect();
        assert_eq!(routes, configured);
    }
    for bridge in rest("bridges") {
        let read = compiled.network(&site, id(&bridge["id"])).unwrap();
        assert_eq!(read.inbound, some_id(&bridge["inboundFilterId"]));
        assert_eq!(read.outbound, some_id(&bridge["outboundFilterId"]));
    }
    for port in rest("ports") {
        let read = compiled.port(&site, id(&port["id"])).unwrap();
        assert_eq!(read.inbound, some_id(&port["inboundFilterId"]));
        assert_eq!(read.outbound, some_id(&port["outboundFilterId"]));
        assert_eq!(read.peer, some_id(&port["peerId"]));
        assert_eq!(read.bound, !port["hostId"].is_null() && !port["interfaceName"].is_null());
    }
    assert_eq!(routers.len(), 4);
}

/// Each pair of machines of the golden cloud, both ways: no way ends at something that the topology lacks, and those of one network and group
/// reach each other.
#[test]
fn every_machine_of_the_cloud_can_be_traced_to_every_other() {
    use insights_trace::{Choices, Connection, End, Reason, Tracer, packet::TCP, walk::Wanted};

    let site = golden_site();
    let machines: Vec<Port> = site
        .ports()
        .filter(|port| port.kind == PortKind::Vm && !port.addresses.is_empty())
        .collect();
    let mut tracer = Tracer::new(&site);
    let (mut delivered, mut by_rule, mut elsewhere) = (0, 0, 0);
    for from in &machines {
        for to in machines.iter().filter(|to| to.id != from.id) {
            let wanted = Wanted {
                src: None,
                dst: to.addresses[0],
                proto: TCP,
                src_port: 40_000,
                dst_port: 22,
            };
            let Ok(packet) = tracer.packet(from.id, &wanted) else { continue };
            let trace = tracer.trace(from.id, packet, &Connection::default(), &Choices::default());
            match trace.end {
                End::Delivered(port) => {
                    // Tenants reuse addresses, and their routers send what they don't know out of the cloud.
                    let reached = site.port(port).unwrap();
                    if reached.kind == PortKind::Uplink {
                        assert_ne!(to.network, from.network);
                        elsewhere += 1;
                        continue;
                    }
                    assert!(reached.addresses.contains(&to.addresses[0]), "from {} to {}", from.name, reached.name);
                    assert!(
                        to.network != from.network || port == to.id,
                        "from {} to {}: {}",
                        from.name,
                        to.name,
                        reached.name
                    );
                    delivered += 1;
                    // Whoever gets a packet through gets its answer.
                    let back = tracer.answer(&trace).unwrap();
                    assert_eq!(back.end, End::Delivered(from.id));
                }
                End::Dropped(Reason::Rule { rule, .. }) => {
                    assert!(site.rule(rule).is_some());
                    by_rule += 1;
                }
                End::Dropped(Reason::Missing(lacking)) => panic!("{lacking} is lacking between {} and {}", from.name, to.name),
                _ => elsewhere += 1,
            }
        }
    }
    assert!(
        machines.len() > 3 && delivered > 0 && by_rule + elsewhere > 0,
        "{delivered} {by_rule} {elsewhere}"
    );
}
