// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What MidoNet's REST API answered, member by member, against what the manager shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use insights_e2e::golden;
use serde_json::Value;

use super::{Manager, Verdict};

/// Where a member shows.
enum Shows {
    /// This member of the view.
    As(&'static str),
    /// The field of this name under Configuration.
    Field(&'static str),
    /// As the function says: the member's value, the whole object of the REST API, what the manager has of it.
    By(fn(&Value, &Value, &Seen<'_>) -> bool),
    /// It is no fact about the cloud, because of this.
    No(&'static str),
}

/// What the manager has of an object.
struct Seen<'a> {
    manager: &'a Manager,
    view: &'a Value,
    raw: &'a Value,
}

/// Links to other answers of the REST API; what they name has an id of its own.
const LINK: Shows = Shows::No("a link of the REST API");

/// A list of the REST API: the class of its objects, and the kind under which the manager lists just these.
struct List {
    name: &'static str,
    class: &'static str,
    kind: Option<&'static str>,
    members: &'static [(&'static str, Shows)],
}

use Shows::{As, By, Field, No};

const LISTS: &[List] = &[
    List {
        name: "bridges",
        class: "Network",
        kind: None,
        members: &[
            ("tenantId", As("tenant")),
            ("name", As("name")),
            ("adminStateUp", As("admin_up")),
            ("inboundFilterId", As("inbound_chain")),
            ("outboundFilterId", As("outbound_chain")),
            ("vxLanPortIds", Field("vxlan_port_ids")),
            ("inboundMirrorIds", Field("inbound_mirror_ids")),
            ("outboundMirrorIds", Field("outbound_mirror_ids")),
            ("qosPolicyId", As("qos_policy")),
            ("inboundFilter", LINK),
            ("outboundFilter", LINK),
        ],
    },
    List {
        name: "routers",
        class: "Router",
        kind: Some("router"),
        members: &[
            ("tenantId", As("tenant")),
            ("name", As("name")),
            ("adminStateUp", As("admin_up")),
            ("inboundFilterId", As("inbound_chain")),
            ("outboundFilterId", As("outbound_chain")),
            ("loadBalancerId", As("load_balancer")),
            // Below zero is none.
            (
                "asNumber",
                By(|rest, _, seen| same(rest, &seen.view["as_number"]) || rest.as_i64() < Some(0) && seen.view["as_number"].is_null()),
            ),
            ("inboundMirrorIds", Field("inbound_mirror_ids")),
            ("outboundMirrorIds", Field("outbound_mirror_ids")),
            ("localRedirectChainId", As("redirect_chain")),
            ("forwardChainId", As("forward_chain")),
            ("inboundFilter", LINK),
            ("outboundFilter", LINK),
            ("forwardChain", LINK),
            ("localRedirectChain", LINK),
            ("loadBalancer", LINK),
        ],
    },
    List {
        name: "chains",
        class: "Chain",
        kind: Some("chain"),
        members: &[
            ("name", As("name")),
            // A chain without a tenant of its own is shown with that of the port or router that it was made for.
            (
                "tenantId",
                By(|rest, _, seen| rest.is_null() && seen.raw["tenant_id"].is_null() || same(rest, &seen.view["tenant"])),
            ),
        ],
    },
    List {
        name: "health_monitors",
        class: "HealthMonitor",
        kind: Some("health_monitor"),
        members: &[
            ("adminStateUp", As("admin_up")),
            ("type", As("monitor_type")),
            ("delay", As("delay_s")),
            ("timeout", As("timeout_s")),
            ("maxRetries", As("max_retries")),
        ],
    },
    List {
        name: "hosts",
        class: "Host",
        kind: Some("host"),
        members: &[
            ("name", As("name")),
            ("addresses", By(host_addresses)),
            ("hostInterfaces", By(interfaces)),
            ("alive", By(|rest, _, seen| rest.as_bool() == Some(seen.view["state"] == "up"))),
            ("floodingProxyWeight", As("flooding_proxy_weight")),
            ("containerWeight", As("container_weight")),
            // Below zero is none, which is the default.
            (
                "containerLimit",
                By(|rest, _, seen| same(rest, &seen.raw["container_limit"]) || rest == -1 && seen.raw["container_limit"].is_null()),
            ),
            ("enforceContainerLimit", Field("enforce_container_limit")),
        ],
    },
    List {
        name: "ip_addr_groups",
        class: "IPAddrGroup",
        kind: None,
        members: &[
            ("name", As("name")),
            ("ipAddrPorts", By(members)),
            ("inboundChainId", As("inbound_chain")),
            ("outboundChainId", As("outbound_chain")),
            ("ruleIds", Field("rule_ids")),
        ],
    },
    List {
        name: "load_balancers",
        class: "LoadBalancer",
        kind: Some("load_balancer"),
        members: &[("routerId", As("router")), ("adminStateUp", As("admin_up"))],
    },
    List {
        name: "mirrors",
        class: "Mirror",
        kind: Some("mirror"),
        members: &[("toPortId", As("to_port")), ("conditions", By(conditions))],
    },
    List {
        name: "neutron_floating_ips",
        class: "FloatingIp",
        kind: Some("floating_ip"),
        members: &[
            ("floating_ip_address", As("address")),
            ("floating_network_id", As("network")),
            ("router_id", As("router")),
            ("port_id", As("port")),
            ("fixed_ip_address", As("fixed_address")),
            ("tenant_id", As("tenant")),
        ],
    },
    List {
        name: "neutron_networks",
        class: "NeutronNetwork",
        kind: None,
        members: &[
            ("name", As("name")),
            ("status", Field("status")),
            ("shared", As("shared")),
            ("tenant_id", As("tenant")),
            ("admin_state_up", As("admin_up")),
            ("router:external", As("external")),
            (
                "provider:network_type",
                By(|rest, _, seen| (rest == "UPLINK") == (seen.view["uplink"] == true) && same(rest, &seen.raw["network_type"])),
            ),
            ("qos_policy_id", As("qos_policy")),
        ],
    },
    List {
        name: "neutron_ports",
        class: "NeutronPort",
        kind: None,
        members: &[
            // A port without a name is shown with one that says what it is for. One of an uplink network has no virtual port.
            (
                "name",
                By(|rest, _, seen| {
                    if empty(rest) || seen.view.is_null() {
                        same(rest, &seen.raw["name"])
                    } else {
                        same(rest, &seen.view["name"])
                    }
                }),
            ),
            ("status", Field("status")),
            (
                "network_id",
                By(|rest, _, seen| same(rest, &seen.raw["network_id"]) && viewed(rest, seen, "network")),
            ),
            (
                "admin_state_up",
                By(|rest, _, seen| same(rest, &seen.raw["admin_state_up"]) && viewed(rest, seen, "admin_up")),
            ),
            (
                "mac_address",
                By(|rest, _, seen| same(rest, &seen.raw["mac_address"]) && viewed(rest, seen, "mac")),
            ),
            ("fixed_ips", By(fixed_ips)),
            (
                "device_id",
                By(|rest, _, seen| {
                    let vm = matches!(seen.view["kind"].as_str(), Some("vm" | "unbound"));
                    same(rest, &seen.raw["device_id"]) && (!vm || same(rest, &seen.view["vm"]))
                }),
            ),
            ("device_owner", Field("device_owner")),
            (
                "tenant_id",
                By(|rest, _, seen| same(rest, &seen.raw["tenant_id"]) && (empty(rest) || viewed(rest, seen, "tenant"))),
            ),
            (
                "security_groups",
                By(|rest, _, seen| same(rest, &seen.raw["security_groups"]) && viewed(rest, seen, "security_groups")),
            ),
            // Neutron names the host.
            (
                "binding:host_id",
                By(|rest, _, seen| {
                    let host = seen.view["host"].as_str().and_then(|host| seen.manager.name(host));
                    same(rest, &seen.raw["host_id"]) && (seen.view.is_null() || host.is_none() || host == rest.as_str())
                }),
            ),
            (
                "binding:profile",
                By(|rest, _, seen| {
                    let name = &rest["interface_name"];
                    same(name, &seen.raw["profile"]["interface_name"]) && (name.is_null() || viewed(name, seen, "interface"))
                }),
            ),
            ("port_security_enabled", Field("port_security_enabled")),
            ("allowed_address_pairs", Field("allowed_address_pairs")),
            ("extra_dhcp_opts", Field("extra_dhcp_opts")),
            (
                "qos_policy_id",
                By(|rest, _, seen| same(rest, &seen.raw["qos_policy_id"]) && viewed(rest, seen, "qos_policy")),
            ),
        ],
    },
    List {
        name: "neutron_routers",
        class: "NeutronRouter",
        kind: None,
        members: &[
            ("name", As("name")),
            ("status", Field("status")),
            ("routes", Field("routes")),
            ("tenant_id", As("tenant")),
            ("admin_state_up", As("admin_up")),
            // Neutron names the network's port; the router's is its peer.
            (
                "gw_port_id",
                By(|rest, _, seen| {
                    let gateway = seen.view["gateway"].as_str().map(|port| &seen.manager.view(port)["peer"]);
                    same(rest, gateway.unwrap_or(&Value::Null))
                }),
            ),
            ("external_gateway_info", Field("external_gateway_info")),
        ],
    },
    List {
        name: "neutron_security_group_rules",
        class: "SecurityGroupRule",
        kind: None,
        members: &[
            (
                "direction",
                By(|rest, whole, seen| same(rest, &seen.raw["direction"]) && in_group(rest, whole, seen)),
            ),
            ("protocol", Field("protocol")),
            ("ethertype", Field("ethertype")),
            ("security_group_id", Field("security_group_id")),
            ("remote_group_id", Field("remote_group_id")),
            ("port_range_min", Field("port_range_min")),
            ("port_range_max", Field("port_range_max")),
            ("remote_ip_prefix", Field("remote_ip_prefix")),
            ("tenant_id", Field("tenant_id")),
        ],
    },
    List {
        name: "neutron_security_groups",
        class: "SecurityGroup",
        kind: None,
        members: &[
            ("name", As("name")),
            ("description", As("description")),
            ("tenant_id", As("tenant")),
            (
                "security_group_rules",
                By(|rest, _, seen| {
                    let (theirs, ours) = (rest.as_array(), seen.view["rules"].as_array());
                    let (Some(theirs), Some(ours)) = (theirs, ours) else { return false };
                    theirs.len() == ours.len()
                        && theirs.iter().all(|rule| in_group(&rule["direction"], rule, seen))
                        && same(rest, &seen.raw["security_group_rules"])
                }),
            ),
        ],
    },
    List {
        name: "neutron_subnets",
        class: "NeutronSubnet",
        // The manager lists those of networks made by hand as well.
        kind: None,
        members: &[
            ("name", As("name")),
            ("cidr", As("prefix")),
            ("ip_version", Field("ip_version")),
            ("network_id", As("network")),
            ("gateway_ip", As("gateway")),
            ("allocation_pools", Field("allocation_pools")),
            ("dns_nameservers", As("dns")),
            ("host_routes", Field("host_routes")),
            ("tenant_id", As("tenant")),
            ("enable_dhcp", As("dhcp")),
            ("shared", Field("shared")),
        ],
    },
    List {
        name: "pools",
        class: "Pool",
        kind: Some("pool"),
        members: &[
            ("adminStateUp", As("admin_up")),
            ("healthMonitorId", As("health_monitor")),
            ("loadBalancerId", As("load_balancer")),
            ("protocol", As("protocol")),
            ("lbMethod", As("method")),
            // Not set, it is active; the manager's own state follows from the members.
            (
                "status",
                By(|rest, _, seen| same(rest, &seen.raw["status"]) || rest == "ACTIVE" && seen.raw["status"].is_null()),
            ),
            ("healthMonitor", LINK),
        ],
    },
    List {
        name: "port_groups",
        class: "PortGroup",
        kind: Some("port_group"),
        members: &[("tenantId", As("tenant")), ("name", As("name")), ("stateful", As("stateful"))],
    },
    List {
        name: "ports",
        class: "Port",
        kind: Some("port"),
        members: &[
            (
                "type",
                By(|rest, _, seen| (rest == "Router") == seen.view["router"].is_string() && (rest == "Bridge") == seen.view["network"].is_string()),
            ),
            ("adminStateUp", As("admin_up")),
            ("inboundFilterId", As("inbound_chain")),
            ("outboundFilterId", As("outbound_chain")),
            ("tunnelKey", As("tunnel_key")),
            (
                "vifId",
                No("set only for ports made through the REST API's own port binding, never in this cloud"),
            ),
            ("hostId", As("host")),
            ("interfaceName", As("interface")),
            ("peerId", As("peer")),
            ("inboundMirrorIds", Field("inbound_mirror_ids")),
            ("outboundMirrorIds", Field("outbound_mirror_ids")),
            ("postInFilterMirrorIds", Field("post_in_filter_mirror_ids")),
            ("preOutFilterMirrorIds", Field("pre_out_filter_mirror_ids")),
            ("insertionIds", Field("insertion_ids")),
            ("qosPolicyId", As("qos_policy")),
            (
                "active",
                By(|rest, _, seen| {
                    let bound = seen.view["host"].is_string() && seen.view["interface"].is_string();
                    rest.as_bool() == Some(bound && seen.view["state"] == "up")
                }),
            ),
            ("vlanId", As("vlan")),
            (
                "deviceId",
                By(|rest, _, seen| same(rest, &seen.view["router"]) || same(rest, &seen.view["network"])),
            ),
            ("networkAddress", By(port_subnet)),
            ("networkLength", By(port_subnet)),
            ("portSubnet", As("subnets")),
            (
                "portAddress",
                By(|rest, _, seen| seen.view["addresses"].as_array().is_some_and(|own| own.contains(rest))),
            ),
            ("portMac", As("mac")),
            ("rtrPortVni", As("vni")),
            ("offRampVxlan", Field("off_ramp_vxlan")),
            ("serviceContainerId", As("container")),
            ("bgpStatus", As("bgp_status")),
            ("hostInterfacePort", LINK),
            ("inboundFilter", LINK),
            ("outboundFilter", LINK),
            ("host", LINK),
            ("peer", LINK),
            ("serviceContainer", LINK),
        ],
    },
    List {
        name: "tunnel_zones",
        class: "TunnelZone",
        kind: Some("tunnel_zone"),
        members: &[("name", As("name")), ("type", As("encapsulation"))],
    },
    List {
        name: "vips",
        class: "Vip",
        kind: Some("vip"),
        members: &[
            ("adminStateUp", As("admin_up")),
            (
                "loadBalancerId",
                By(|rest, _, seen| {
                    let pool = seen.view["pool"].as_str().unwrap_or_default();
                    same(rest, &seen.manager.view(pool)["load_balancer"])
                }),
            ),
            ("poolId", As("pool")),
            ("address", As("address")),
            ("protocolPort", As("port")),
            ("sessionPersistence", Field("session_persistence")),
        ],
    },
];

/// Answers that are about the REST API's server, not about objects of the NSDB.
const NOT_OF_THE_CLOUD: [&str; 2] = ["system_state", "tenants"];

pub(super) fn compare(manager: &Manager, verdict: &mut Verdict) -> Result<()> {
    let known: BTreeSet<String> = LISTS.iter().map(|list| list.name).chain(NOT_OF_THE_CLOUD).map(str::to_owned).collect();
    let there = golden::rest_lists()?;
    verdict.holds(known == there, || format!("lists of the REST API: {there:?}, known are {known:?}"));
    for list in LISTS {
        let items = golden::json(&format!("rest-get/{}.json", list.name))?;
        let items = items.as_array().with_context(|| format!("{} is a list", list.name))?;
        for item in items {
            compare_item(manager, list, item, verdict);
        }
        let expected: BTreeSet<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
        if let Some(kind) = list.kind {
            let found = manager.lists[kind].iter().filter_map(|item| item["id"].as_str()).collect();
            verdict.holds(expected == found, || format!("{kind}: {found:?}, the REST API has {expected:?}"));
        }
        let of_class = manager.objects.iter().filter(|(id, _)| !manager.raw(list.class, id).is_null());
        let found: BTreeSet<&str> = of_class.map(|(id, _)| &**id).collect();
        verdict.holds(expected == found, || format!("{}: {found:?}, the REST API has {expected:?}", list.class));
    }
    Ok(())
}

fn compare_item(manager: &Manager, list: &List, item: &Value, verdict: &mut Verdict) {
    let id = item["id"].as_str().unwrap_or_default();
    let seen = Seen {
        manager,
        view: manager.view(id),
        raw: manager.raw(list.class, id),
    };
    for (name, value) in item.as_object().into_iter().flatten().filter(|(name, _)| *name != "id") {
        if value.as_str().is_some_and(|text| text.starts_with("http://")) {
            continue;
        }
        let rule = list.members.iter().find(|(member, _)| member == name).map(|(_, rule)| rule);
        let (good, shown) = match rule {
            Some(As(member)) => (same(value, &seen.view[*member]), &seen.view[*member]),
            Some(Field(field)) => (same(value, &seen.raw[*field]), &seen.raw[*field]),
            Some(By(holds)) => (holds(value, item, &seen), seen.view),
            Some(No(why)) => {
                verdict.holds(empty(value), || format!("{} {id}: {name} is {value} and does not show: {why}", list.name));
                continue;
            }
            None => (false, &Value::Null),
        };
        verdict.holds(good, || format!("{} {id}: {name} is {value}, shown is {shown}", list.name));
    }
}

/// What a view shows, where there is one.
fn viewed(rest: &Value, seen: &Seen<'_>, member: &str) -> bool {
    seen.view.is_null() || same(rest, &seen.view[member])
}

fn host_addresses(rest: &Value, _: &Value, seen: &Seen<'_>) -> bool {
    let interfaces = seen.view["interfaces"].as_array().into_iter().flatten();
    let found: BTreeSet<IpAddr> = interfaces
        .flat_map(|interface| interface["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect();
    let expected: BTreeSet<IpAddr> = rest
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str()?.parse().ok())
        .collect();
    found == expected
}

fn interfaces(rest: &Value, whole: &Value, seen: &Seen<'_>) -> bool {
    let (Some(theirs), Some(ours)) = (rest.as_array(), seen.view["interfaces"].as_array()) else {
        return false;
    };
    let ours: BTreeMap<&str, &Value> = ours.iter().filter_map(|own| Some((own["name"].as_str()?, own))).collect();
    theirs.len() == ours.len()
        && theirs.iter().all(|theirs| {
            let Some(own) = theirs["name"].as_str().and_then(|name| ours.get(name)) else {
                return false;
            };
            theirs.as_object().into_iter().flatten().all(|(name, value)| match &**name {
                "name" | "mac" | "mtu" | "addresses" => same(value, &own[name]),
                "hostId" => *value == whole["id"],
                "type" => same(value, &own["kind"]),
                "endpoint" => own["endpoint"].as_str().map(|endpoint| endpoint.trim_end_matches("_EP")) == value.as_str(),
                // Bits: up, link.
                "status" => value.as_u64() == Some(u64::from(own["up"] == true) + 2 * u64::from(own["has_link"] == true)),
                // Not kept in the NSDB.
                "portType" => value.is_null(),
                "uri" => true,
                _ => false,
            })
        })
}

fn members(rest: &Value, _: &Value, seen: &Seen<'_>) -> bool {
    let (Some(theirs), Some(ours)) = (rest.as_array(), seen.view["members"].as_array()) else {
        return false;
    };
    let pairs = theirs.iter().zip(ours);
    theirs.len() == ours.len()
        && pairs
            .into_iter()
            .all(|(theirs, own)| theirs["ipAddress"] == own["address"] && set(&theirs["portIds"]) == set(&own["ports"]))
}

/// Conditions of mirrors: all members as fields, and each in words.
fn conditions(rest: &Value, _: &Value, seen: &Seen<'_>) -> bool {
    /// Members with other names than the fields.
    const RENAMED: [(&str, &str); 19] = [
        ("condInvert", "conjunction_inv"),
        ("inPorts", "in_port_ids"),
        ("invInPorts", "in_port_inv"),
        ("outPorts", "out_port_ids"),
        ("invOutPorts", "out_port_inv"),
        ("portGroup", "port_group_id"),
        ("ipAddrGroupSrc", "ip_addr_group_id_src"),
        ("invIpAddrGroupSrc", "inv_ip_addr_group_id_src"),
        ("ipAddrGroupDst", "ip_addr_group_id_dst"),
        ("invIpAddrGroupDst", "inv_ip_addr_group_id_dst"),
        ("traversedDevice", "traversed_device"),
        ("invTraversedDevice", "traversed_device_inv"),
        ("invNwTos", "nw_tos_inv"),
        ("invNwProto", "nw_proto_inv"),
        ("invNwSrc", "nw_src_inv"),
        ("invNwDst", "nw_dst_inv"),
        ("invTpSrc", "tp_src_inv"),
        ("invTpDst", "tp_dst_inv"),
        ("invIcmpDataSrcIp", "icmp_data_src_ip_inv"),
    ];
    let (Some(theirs), Some(ours), Some(words)) = (rest.as_array(), seen.raw["conditions"].as_array(), seen.view["conditions"].as_array()) else {
        return false;
    };
    let all_fields = theirs.iter().zip(ours).all(|(theirs, own)| {
        theirs
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "uri")
            .all(|(name, value)| {
                let field = RENAMED
                    .iter()
                    .find(|(member, _)| member == name)
                    .map_or_else(|| snake(name), |(_, field)| (*field).to_owned());
                same(value, &own[field])
            })
    });
    theirs.len() == ours.len() && all_fields && words.iter().all(|text| text == "IPv4 TCP") && words.len() == theirs.len()
}

fn fixed_ips(rest: &Value, _: &Value, seen: &Seen<'_>) -> bool {
    let addresses: BTreeSet<&str> = rest
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|fixed| fixed["ip_address"].as_str())
        .collect();
    same(rest, &seen.raw["fixed_ips"]) && (seen.view.is_null() || set(&seen.view["addresses"]) == addresses)
}

/// A rule is shown with its group.
fn in_group(direction: &Value, rule: &Value, seen: &Seen<'_>) -> bool {
    let group = seen.manager.view(rule["security_group_id"].as_str().unwrap_or_default());
    let rules = group["rules"].as_array().into_iter().flatten();
    let same_rule = |own: &&Value| {
        own["id"] == rule["id"]
            && own["ingress"] == (direction == "ingress")
            && same(&rule["remote_group_id"], &own["remote_group"])
            && in_words(rule, own["text"].as_str().unwrap_or_default(), seen)
    };
    rules.filter(same_rule).count() == 1
}

/// The words of a rule name all that it says.
fn in_words(rule: &Value, words: &str, seen: &Seen<'_>) -> bool {
    let lower = words.to_lowercase();
    let says = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => lower.contains(&text.to_lowercase()),
        other => lower.contains(&other.to_string()),
    };
    let group = rule["remote_group_id"].as_str().and_then(|group| seen.manager.name(group));
    says(&rule["protocol"])
        && says(&rule["ethertype"])
        && says(&rule["port_range_min"])
        && says(&rule["port_range_max"])
        && (says(&rule["remote_ip_prefix"]) || rule["remote_ip_prefix"] == "0.0.0.0/0" && lower.contains("anywhere"))
        && group.is_none_or(|group| words.contains(group))
}

fn port_subnet(_: &Value, whole: &Value, seen: &Seen<'_>) -> bool {
    let prefix = format!(
        "{}/{}",
        whole["networkAddress"].as_str().unwrap_or_default(),
        whole["networkLength"].as_u64().unwrap_or_default()
    );
    let subnets = seen.view["subnets"].as_array().into_iter().flatten();
    let mut networks = subnets.filter_map(|subnet| network_of(subnet.as_str()?));
    networks.any(|network| network == prefix)
}

/// The prefix of an address with a length: IPv4, as all of this cloud's are.
fn network_of(subnet: &str) -> Option<String> {
    let (address, length) = subnet.split_once('/')?;
    let (address, length): (std::net::Ipv4Addr, u32) = (address.parse().ok()?, length.parse().ok()?);
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some(format!("{}/{length}", std::net::Ipv4Addr::from(u32::from(address) & mask)))
}

fn set(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What stands for nothing.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(empty),
    }
}

/// Whether two values say the same. The REST API fills in zeros and empty lists, spells enum values in its own way, and addresses in Java's.
fn same(rest: &Value, shown: &Value) -> bool {
    match (rest, shown) {
        (rest, Value::Null) => empty(rest),
        (Value::Null, shown) => empty(shown),
        (Value::String(rest), Value::String(shown)) => rest == shown || word(rest) == word(shown) || is_same_address(rest, shown),
        (Value::Bool(_) | Value::Number(_), Value::String(text)) => text.parse::<Value>().is_ok_and(|shown| shown == *rest),
        (Value::Array(rest), Value::Array(shown)) => rest.len() == shown.len() && rest.iter().zip(shown).all(|(rest, shown)| same(rest, shown)),
        (Value::Object(rest), Value::Object(_)) => rest.iter().all(|(name, rest)| same(rest, &shown[snake(name)])),
        (rest, shown) => rest == shown,
    }
}

fn is_same_address(rest: &str, shown: &str) -> bool {
    rest.parse::<IpAddr>().is_ok_and(|rest| Ok(rest) == shown.parse())
}

/// `network:router_gateway` and `ROUTER_GATEWAY` are the same word, `compute:nova` is `COMPUTE`.
fn word(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    match upper.split_once(':') {
        Some(("NETWORK" | "NEUTRON", owner)) => owner.to_owned(),
        Some(("COMPUTE", _)) => "COMPUTE".to_owned(),
        _ => upper,
    }
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
