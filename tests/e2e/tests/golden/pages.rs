// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The pages of every object, read as a person reads them: the head, the key facts, interfaces and fields are what the API has, which has been
//! compared with MidoNet's. A fact on a page that no rule knows is a difference, and so is one that should be there and isn't.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use insights_e2e::golden::Leaf;
use insights_e2e::html::{self, Element};
use serde_json::Value;

use super::{Manager, Verdict};

/// Names that a page puts in one line; more are counted.
const NAMED: usize = 4;

/// Values of one field that a page shows.
const MOST_VALUES: usize = 200;

/// Where a fact comes from.
enum Fact {
    /// A member of the view as text: words without regard to case, and with spaces for underscores.
    Text(&'static str),
    /// Ids in a member of the view, as links.
    Links(&'static str),
    /// The same, for ids deeper in lists: member and member of its items.
    Inner(&'static str, &'static str),
    Switch(&'static str, &'static str, &'static str),
    /// All texts of facts with this name.
    By(fn(&Manager, &str, &Value) -> Vec<String>),
}

use Fact::{By, Inner, Links, Switch, Text};

const ADMIN: (&str, Fact) = ("Admin state", Switch("admin_up", "up", "down"));

const FACTS: &[(&str, &[(&str, Fact)])] = &[
    (
        "host",
        &[
            ("Alive since", By(|_, _, view| since(view, true))),
            ("Not alive since", By(|_, _, view| since(view, false))),
            (
                "Tunnel address",
                By(|manager, _, view| {
                    let end = |end: &Value| Some(format!("{} in {}", end["address"].as_str()?, manager.name(end["zone"].as_str()?)?));
                    list(view, "tunnels").iter().filter_map(end).collect()
                }),
            ),
            (
                "Ports",
                By(|_, _, view| vec![format!("{} bound, {} active", list(view, "ports").len(), view["ports_up"])]),
            ),
            (
                "Interfaces",
                By(|_, _, view| {
                    let up = list(view, "interfaces").iter().filter(|interface| interface["up"] == true).count();
                    let when = if view["interfaces_current"] == true { "" } else { ", last known" };
                    vec![format!("{}, {up} up{when}", list(view, "interfaces").len())]
                }),
            ),
            ("Containers", Text("containers")),
            ("Container weight", Text("container_weight")),
            (
                "Flooding proxy",
                By(|_, _, view| vec![format!("weight {}", view["flooding_proxy_weight"])]),
            ),
        ],
    ),
    (
        "tunnel_zone",
        &[
            ("Encapsulation", Text("encapsulation")),
            (
                "Members",
                By(|_, _, view| vec![format!("{}, {} alive", list(view, "ends").len(), view["hosts_up"])]),
            ),
            ("Hosts", Inner("ends", "host")),
            (
                "Flooding proxy",
                By(|manager, _, view| {
                    view["flooding_proxy"][0]
                        .as_str()
                        .and_then(|host| manager.name(host))
                        .map(str::to_owned)
                        .into_iter()
                        .collect()
                }),
            ),
        ],
    ),
    (
        "network",
        &[
            (
                "Subnet",
                By(|manager, _, view| {
                    let subnet = |id: &Value| {
                        let subnet = manager.view(id.as_str()?);
                        let gateway = subnet["gateway"]
                            .as_str()
                            .map_or_else(String::new, |gateway| format!(" gateway {gateway}"));
                        Some(format!("{}{gateway}", subnet["prefix"].as_str()?))
                    };
                    list(view, "subnets").iter().filter_map(subnet).collect()
                }),
            ),
            (
                "Ports",
                By(|manager, _, view| {
                    let ports: Vec<&Value> = list(view, "ports")
                        .iter()
                        .filter_map(Value::as_str)
                        .map(|id| manager.view(id))
                        .filter(|port| port.is_object())
                        .collect();
                    let vms = ports.iter().filter(|port| port["kind"] == "vm" || port["kind"] == "unbound").count();
                    let down = ports.iter().filter(|port| port["state"] == "down").count();
                    let down = if down > 0 { format!(", {down} down") } else { String::new() };
                    vec![format!("{}, {vms} of VMs{down}", ports.len())]
                }),
            ),
            ("Router", Links("routers")),
            (
                "Kind",
                By(|_, _, view| {
                    let kinds = [("uplink", "uplink"), ("external", "external"), ("shared", "shared")];
                    kinds
                        .iter()
                        .find(|(member, _)| view[member] == true)
                        .map(|(_, word)| (*word).to_owned())
                        .into_iter()
                        .collect()
                }),
            ),
            ("Inbound chain", Links("inbound_chain")),
            ("Outbound chain", Links("outbound_chain")),
            ("Mirrors", Links("mirrors")),
            ("QoS policy", Links("qos_policy")),
            ("VNI", Text("vni")),
            ADMIN,
            ("MACs known", By(|manager, id, _| vec![list(manager.tables(id), "mac").len().to_string()])),
        ],
    ),
    (
        "router",
        &[
            ("Kind", Switch("edge", "edge router", "tenant router")),
            ("Ports", By(|_, _, view| vec![list(view, "ports").len().to_string()])),
            ("Uplinks", Links("uplinks")),
            ("Gateway port", Links("gateway")),
            ("Networks", Links("networks")),
            (
                "Routes",
                By(|manager, _, view| {
                    let ports = list(view, "ports").iter().filter_map(Value::as_str);
                    let learned: u64 = ports.filter_map(|port| manager.view(port)["learned_routes"].as_u64()).sum();
                    let learned = if learned > 0 { format!(", {learned} learned") } else { String::new() };
                    vec![format!("{} configured{learned}", list(view, "routes").len())]
                }),
            ),
            ("AS number", Text("as_number")),
            ("BGP peers", Links("bgp_peers")),
            ("Load balancer", Links("load_balancer")),
            ("Pre-routing", Links("inbound_chain")),
            ("Post-routing", Links("outbound_chain")),
            ("Forward chain", Links("forward_chain")),
            ("Redirect chain", Links("redirect_chain")),
            ADMIN,
            (
                "ARP entries",
                By(|manager, id, _| vec![list(manager.tables(id), "arp").len().to_string()]),
            ),
        ],
    ),
    (
        "port",
        &[
            ("Network", Links("network")),
            ("Router", Links("router")),
            ("Addresses", Text("addresses")),
            ("MAC", Text("mac")),
            ("Host", Links("host")),
            ("Interface", Text("interface")),
            (
                "Migrated from",
                By(|manager, _, view| {
                    let from = view["previous_host"].as_str().filter(|_| view["previous_host"] != view["host"]);
                    from.and_then(|host| manager.name(host)).map(str::to_owned).into_iter().collect()
                }),
            ),
            (
                "Linked to",
                By(|manager, _, view| {
                    let linked = view["peer"].as_str().and_then(|peer| {
                        let other = manager.view(peer);
                        let device = other["network"].as_str().or(other["router"].as_str())?;
                        Some(format!("{} of {}", manager.name(peer)?, manager.name(device)?))
                    });
                    linked.into_iter().collect()
                }),
            ),
            ("VM", Text("vm")),
            ("Security groups", Links("security_groups")),
            ("Floating IPs", Links("floating_ips")),
            ("Inbound chain", Links("inbound_chain")),
            ("Outbound chain", Links("outbound_chain")),
            ("Port groups", Links("port_groups")),
            ("VTEP", Links("vtep")),
            ("VLAN", Text("vlan")),
            ("VNI", Text("vni")),
            ("Tunnel key", Text("tunnel_key")),
            ("BGP", Text("bgp_status")),
            (
                "Learned routes",
                By(|_, _, view| {
                    view["learned_routes"]
                        .as_u64()
                        .filter(|count| *count > 0)
                        .map(|count| count.to_string())
                        .into_iter()
                        .collect()
                }),
            ),
            ADMIN,
        ],
    ),
    (
        "chain",
        &[
            ("Rules", By(|_, _, view| vec![list(view, "rules").len().to_string()])),
            (
                "Used by",
                By(|manager, _, view| {
                    let used = |used: &Value| Some(format!("{} {}", manager.name(used["id"].as_str()?)?, used["role"].as_str()?));
                    list(view, "used_by").iter().take(8).filter_map(used).collect()
                }),
            ),
        ],
    ),
    (
        "rule",
        &[
            ("Action", Text("action")),
            ("Type", Text("rule_type")),
            ("Chain", Links("chain")),
            ("Place", Text("position")),
            ("Where", By(rule_place)),
            ("Jumps to", Links("jump_to")),
            ("Security groups", Links("security_groups")),
            // Links to dry runs.
            ("What if it", By(|_, _, _| vec!["were not there? accepted? dropped?".to_owned()])),
        ],
    ),
    (
        "security_group",
        &[
            ("Description", Text("description")),
            ("In", By(|_, _, view| rules(view, true))),
            ("Out", By(|_, _, view| rules(view, false))),
            ("Addresses", By(|_, _, view| vec![list(view, "members").len().to_string()])),
            ("Ports", Inner("members", "ports")),
            ("Inbound chain", Links("inbound_chain")),
            ("Outbound chain", Links("outbound_chain")),
        ],
    ),
    (
        "port_group",
        &[
            ("Stateful", Switch("stateful", "yes: its ports share connections", "no")),
            ("Ports", Links("ports")),
        ],
    ),
    ("load_balancer", &[("Router", Links("router")), ("Pools", Links("pools")), ADMIN]),
    (
        "pool",
        &[
            ("Protocol", Text("protocol")),
            ("Method", Text("method")),
            (
                "Members",
                By(|_, _, view| vec![format!("{}, {} up", list(view, "members").len(), view["members_up"])]),
            ),
            ("VIPs", Links("vips")),
            ("Load balancer", Links("load_balancer")),
            ("Health monitor", Links("health_monitor")),
            ADMIN,
        ],
    ),
    (
        "pool_member",
        &[
            ("Address", By(address_port)),
            ("Weight", Text("weight")),
            ("Pool", Links("pool")),
            ("Port", Links("network_port")),
            ADMIN,
        ],
    ),
    (
        "vip",
        &[
            ("Address", By(address_port)),
            ("Pool", Links("pool")),
            ("Gateway port", Links("gateway_port")),
            ADMIN,
        ],
    ),
    (
        "health_monitor",
        &[
            ("Type", Text("monitor_type")),
            ("Every", By(|_, _, view| vec![format!("{} s", view["delay_s"])])),
            ("Time-out", By(|_, _, view| vec![format!("{} s", view["timeout_s"])])),
            ("Retries", Text("max_retries")),
            ("Pools", Links("pools")),
        ],
    ),
    (
        "floating_ip",
        &[
            ("Address", Text("address")),
            ("Fixed address", Text("fixed_address")),
            ("Port", Links("port")),
            ("Router", Links("router")),
            ("Network", Links("network")),
        ],
    ),
    (
        "subnet",
        &[
            ("Prefix", Text("prefix")),
            ("Gateway", Text("gateway")),
            ("Network", Links("network")),
            ("DHCP", Switch("dhcp", "on", "off")),
            ("DNS servers", Text("dns")),
        ],
    ),
    (
        "mirror",
        &[
            ("Sends to", Links("to_port")),
            ("Takes", By(|_, _, view| texts(list(view, "conditions")))),
            ("Networks", Links("networks")),
            ("Routers", Links("routers")),
            ("Ports", Links("ports")),
        ],
    ),
    (
        "route",
        &[
            ("Destination", Text("destination")),
            ("Source", Text("source")),
            ("Next hop", Text("next_hop")),
            ("Gateway", Text("gateway")),
            ("Port", Links("port")),
            ("Router", Links("router")),
            ("Weight", Text("weight")),
        ],
    ),
    (
        "bgp_peer",
        &[
            ("Address", Text("address")),
            ("AS number", Text("as_number")),
            ("Session", Text("session")),
            ("Router", Links("router")),
        ],
    ),
];

pub(super) fn compare(manager: &Manager, leaves: &[(Leaf, &insights_e2e::golden::Znode)], verdict: &mut Verdict) -> Result<()> {
    let ids: BTreeSet<&String> = leaves
        .iter()
        .filter_map(|(leaf, _)| match leaf {
            Leaf::Object { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    for id in ids {
        let answer = &manager.objects[id];
        let kind = answer["object"]["kind"].as_str().context("an object has a kind")?;
        let slug = if kind == "other" { "object" } else { kind };
        let place = format!("/s/{}/d/{slug}/{id}", manager.site);
        overview(manager, kind, id, &page(manager, &place)?, verdict).with_context(|| place.clone())?;
        configuration(manager, id, &page(manager, &format!("{place}/configuration"))?, verdict).with_context(|| place)?;
    }
    Ok(())
}

fn page(manager: &Manager, place: &str) -> Result<Element> {
    let (status, text) = manager.browser.get(place)?;
    ensure!(status == 200, "{place}: status {status}");
    html::parse(&text).with_context(|| format!("read {place}"))
}

fn overview(manager: &Manager, kind: &str, id: &str, page: &Element, verdict: &mut Verdict) -> Result<()> {
    let answer = &manager.objects[id];
    let (object, view) = (&answer["object"], &answer["view"]);
    let head = page.by_id("device-head").context("a device page has a head")?;
    verdict.same(
        || format!("heading of {kind} {id}"),
        &head.named("h1").first().map(|h1| h1.text()).into(),
        &object["name"].as_str().map(squeezed).into(),
    );
    let line = head.text();
    for part in [Some(id), object["tenant"].as_str()].into_iter().flatten() {
        verdict.holds(line.contains(part), || format!("{kind} {id}: {line:?} does not say {part}"));
    }
    let facts = page.by_id("facts").context("a device page has key facts")?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for element in facts.all(&|element| matches!(&*element.name, "dt" | "dd")) {
        if element.name == "dt" {
            name = element.text();
        } else {
            found.entry(name.clone()).or_default().push(element.text());
        }
    }
    // A port of an uplink network is Neutron's alone.
    let rules = FACTS
        .iter()
        .find(|(of, _)| *of == kind && !view.is_null())
        .map_or(&[][..], |(_, rules)| rules);
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, rule) in rules {
        let texts: Vec<String> = values(manager, id, view, rule).iter().map(|text| squeezed(text)).collect();
        if !texts.is_empty() {
            expected.insert((*name).to_owned(), texts);
        }
    }
    expected.insert("Class".to_owned(), texts(std::slice::from_ref(&object["class"])));
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for name in names {
        verdict.holds(found.get(name) == expected.get(name), || {
            format!("{kind} {id}: {name} is {:?}, expected {:?}", found.get(name), expected.get(name))
        });
    }
    if kind == "host" {
        interfaces(manager, view, page, verdict);
    }
    Ok(())
}

fn interfaces(manager: &Manager, view: &Value, page: &Element, verdict: &mut Verdict) {
    let expected: Vec<Vec<String>> = list(view, "interfaces")
        .iter()
        .map(|interface| {
            let text = |name: &str| match &interface[name] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let port = interface["port"].as_str().and_then(|port| manager.name(port)).unwrap_or_default();
            let addresses = texts(list(interface, "addresses")).join(", ");
            vec![
                text("name"),
                text("kind").to_lowercase(),
                text("mac"),
                addresses,
                text("mtu"),
                port.to_owned(),
            ]
        })
        .collect();
    let tables = page.named("table");
    let table = tables.iter().find(|table| table.named("th").iter().any(|head| head.text() == "MTU"));
    let found: Vec<Vec<String>> = table.map_or_else(Vec::new, |table| {
        table.rows().iter().map(|row| row.iter().map(|cell| cell.text()).collect()).collect()
    });
    verdict.holds(found == expected, || {
        format!("interfaces of {}: {found:?}, expected {expected:?}", view["name"])
    });
}

/// Every field of every object that has the id, with its values.
fn configuration(manager: &Manager, id: &str, page: &Element, verdict: &mut Verdict) -> Result<()> {
    let sections = page.all(&|element| element.name == "section" && element.has_class("card"));
    let objects = list(&manager.objects[id], "raw");
    verdict.same(|| format!("objects of {id}"), &sections.len().into(), &objects.len().into());
    for (section, object) in sections.iter().zip(objects) {
        let class = object["class"].as_str().context("an object has a class")?;
        verdict.same(
            || format!("{class} {id}"),
            &section.named("h2").first().map(|h2| h2.text()).into(),
            &class.into(),
        );
        let head = section.text();
        verdict.holds(head.contains(&format!("version {}", object["version"])), || {
            format!("version of {class} {id}")
        });
        let mut expected = Vec::new();
        flatten(manager, "", &object["fields"], &mut expected);
        let rows = section.named("table").first().map(|table| table.rows()).unwrap_or_default();
        let found: Vec<(String, String)> = rows.iter().filter_map(|row| Some((row.first()?.text(), row.get(1)?.text()))).collect();
        verdict.compared += found.len();
        let differ = found.iter().zip(&expected).find(|(found, expected)| found != expected);
        verdict.holds(differ.is_none() && found.len() == expected.len(), || {
            format!(
                "configuration of {class} {id}: {differ:?}; {} rows, expected {}",
                found.len(),
                expected.len()
            )
        });
    }
    Ok(())
}

fn flatten(manager: &Manager, name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            if !name.is_empty() {
                rows.push((name.to_owned(), String::new()));
            }
            for (name, value) in fields {
                flatten(manager, name, value, rows);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (at, item) in items.iter().enumerate() {
                flatten(manager, &format!("{name} {}", at + 1), item, rows);
            }
        }
        value => {
            let items = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
            let mut texts: Vec<String> = items.iter().take(MOST_VALUES).map(|item| field(manager, item)).collect();
            if items.len() > MOST_VALUES {
                texts.push(format!("{} more", items.len() - MOST_VALUES));
            }
            rows.push((name.to_owned(), squeezed(&texts.join(" "))));
        }
    }
}

/// A reference shows the name before the id.
fn field(manager: &Manager, value: &Value) -> String {
    match value {
        Value::String(text) => match manager.name(text) {
            Some(name) => format!("{name} {text}"),
            None => text.clone(),
        },
        other => other.to_string(),
    }
}

/// What stands under the name of a fact.
fn values(manager: &Manager, id: &str, view: &Value, rule: &Fact) -> Vec<String> {
    match rule {
        Text(member) => {
            let text = match &view[*member] {
                Value::Null => return Vec::new(),
                Value::Array(items) => texts(items).join(", "),
                Value::String(text) => readable(member, text),
                other => other.to_string(),
            };
            Some(text).filter(|text| !text.is_empty()).into_iter().collect()
        }
        Links(member) => match &view[*member] {
            Value::Array(ids) => links(manager, ids.iter().filter_map(Value::as_str)),
            Value::String(id) => links(manager, [&**id].into_iter()),
            _ => Vec::new(),
        },
        Inner(member, inner) => {
            let ids = list(view, member).iter().flat_map(|item| match &item[*inner] {
                Value::Array(ids) => ids.iter().collect(),
                id => vec![id],
            });
            links(manager, ids.filter_map(Value::as_str))
        }
        Switch(member, on, off) => vec![(if view[*member] == true { *on } else { *off }).to_owned()],
        By(made) => made(manager, id, view),
    }
}

/// Words that MidoNet writes in capitals are shown as words.
fn readable(member: &str, text: &str) -> String {
    match member {
        "action" | "next_hop" => text.to_lowercase(),
        "rule_type" | "method" => text.to_lowercase().replace('_', " "),
        _ => text.to_owned(),
    }
}

/// One fact with the first names, and how many more there are.
fn links<'a>(manager: &Manager, ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let short = |id: &str| id.chars().take(8).collect::<String>();
    let mut names: Vec<String> = ids
        .iter()
        .take(NAMED)
        .map(|id| manager.name(id).map_or_else(|| short(id), str::to_owned))
        .collect();
    if ids.len() > NAMED {
        names.push(format!("{} more", ids.len() - NAMED));
    }
    vec![names.join(" ")]
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

fn texts(items: &[Value]) -> Vec<String> {
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn rules(view: &Value, ingress: bool) -> Vec<String> {
    let shown = list(view, "rules").iter().take(12).filter(|rule| rule["ingress"] == ingress);
    shown.filter_map(|rule| rule["text"].as_str()).map(str::to_owned).collect()
}

fn address_port(_: &Manager, _: &str, view: &Value) -> Vec<String> {
    vec![format!(
        "{}:{}",
        view["address"].as_str().unwrap_or("–"),
        view["port"].as_i64().unwrap_or(0)
    )]
}

fn rule_place(manager: &Manager, _: &str, view: &Value) -> Vec<String> {
    let chain = manager.view(view["chain"].as_str().unwrap_or_default());
    let users = list(chain, "used_by");
    let user = users.iter().find(|used| used["role"] != "jump").or(users.first());
    let place = user.and_then(|used| {
        let kind = used["kind"].as_str()?.replace('_', " ");
        Some(format!("{} · {kind}, {}", manager.name(used["id"].as_str()?)?, used["role"].as_str()?))
    });
    place.or_else(|| chain["name"].as_str().map(str::to_owned)).into_iter().collect()
}

/// The time from which the state holds, to the second and in UTC.
fn since(view: &Value, up: bool) -> Vec<String> {
    let since = view["since_us"].as_i64().filter(|_| (view["state"] == "up") == up);
    since.map(|us| full(us / 1_000_000)).into_iter().collect()
}

/// As pages write a time: the civil date of a day count, after Howard Hinnant's well-known algorithm.
fn full(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (
        day_of_year - (153 * shifted + 2) / 5 + 1,
        if shifted < 10 { shifted + 3 } else { shifted - 9 },
    );
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month as usize - 1];
    format!("{day} {month} {year}, {:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60)
}
