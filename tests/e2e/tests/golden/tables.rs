// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! States and table entries: those of the tree are in the manager, those in force and no others; and so is what was written, as the truth
//! files tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use insights_e2e::golden::{self, CONFIGURED, Leaf, Znode};
use serde_json::{Value, json};

use super::{Manager, Verdict};

pub(super) fn compare(manager: &Manager, leaves: &[(Leaf, &Znode)], verdict: &mut Verdict) -> Result<()> {
    states(manager, leaves, verdict)?;
    entries(manager, leaves, verdict)?;
    written(manager, verdict)?;
    told(manager, verdict)
}

/// Every state key shows, and nothing is up that has none.
fn states(manager: &Manager, leaves: &[(Leaf, &Znode)], verdict: &mut Verdict) -> Result<()> {
    let mut seen: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (leaf, node) in leaves {
        let Leaf::State {
            namespace,
            class,
            id,
            key,
            value,
        } = leaf
        else {
            continue;
        };
        seen.entry((class, key)).or_default().insert(id);
        let view = manager.view(id);
        let data = std::str::from_utf8(&node.data)?;
        let good = match (&**class, &**key) {
            ("Host", "alive") => view["state"] == "up" && view["since_us"].is_i64() && namespace == id,
            ("Host", "host") => view["interfaces_current"] == true,
            ("Port", "active") => view["state"] == "up" && view["host"] == **namespace && view["since_us"].is_i64(),
            ("Port", "bgp") => view["bgp_status"] == data,
            ("Port", "routes") => value.is_some() && view["learned_routes"].as_u64() > Some(0),
            ("PoolMember", "status") => view["state"] == if data == "ACTIVE" { "up" } else { "down" },
            _ => false,
        };
        verdict.holds(good, || format!("{}: {data:?} shows as {view}", node.path));
    }
    let ids = |class: &'static str, key: &'static str| seen.get(&(class, key)).cloned().unwrap_or_default();
    let (alive, active, bgp) = (ids("Host", "alive"), ids("Port", "active"), ids("Port", "bgp"));
    for item in &manager.lists["host"] {
        let up = item["id"].as_str().is_some_and(|id| alive.contains(id));
        verdict.holds((item["state"] == "up") == up, || format!("host {item}"));
    }
    for item in &manager.lists["port"] {
        let id = item["id"].as_str().unwrap_or_default();
        if item["host"].is_string() && item["interface"].is_string() {
            verdict.holds((item["state"] == "up") == active.contains(id), || format!("port {item}"));
        }
        verdict.holds(item["bgp_status"].is_string() == bgp.contains(id), || format!("BGP of port {item}"));
    }
    Ok(())
}

/// The entry in force of every key, by the table that the manager shows it in.
fn entries(manager: &Manager, leaves: &[(Leaf, &Znode)], verdict: &mut Verdict) -> Result<()> {
    type Key<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);
    let mut in_force: BTreeMap<Key<'_>, (i64, &str)> = BTreeMap::new();
    for (leaf, _) in leaves {
        if let Leaf::Entry {
            id,
            table,
            argument,
            key,
            value,
            version,
            ..
        } = leaf
        {
            // What was learned beats what was configured, what was learned last the rest.
            let rank = if *version == CONFIGURED { -1 } else { *version };
            let place = in_force.entry((id, table, argument.as_deref(), key)).or_insert((rank, value));
            if rank >= place.0 {
                *place = (rank, value);
            }
        }
    }
    let mut expected: BTreeMap<(&str, &str), Vec<Value>> = BTreeMap::new();
    for ((id, table, argument, key), (rank, value)) in in_force {
        let learned = rank >= 0;
        let (name, row) = match table {
            "mac_table" => {
                let vlan: u64 = argument.context("a MAC table has a VLAN")?.parse()?;
                ("mac", json!({ "vlan": vlan, "mac": key, "port": value, "learned": learned }))
            }
            "ip4_mac_table" => ("ip_mac", json!({ "address": key, "mac": value, "learned": learned })),
            "peering_table" => ("peering", json!({ "address": value, "mac": key, "learned": learned })),
            "gateway_table" => ("gateways", json!(key)),
            "arp_table" => ("arp", arp(key, value)?),
            "fip64_table" => ("fip64", fip64(key)?),
            other => anyhow::bail!("nothing is known of the table {other}"),
        };
        expected.entry((id, name)).or_default().push(row);
    }
    for (id, answer) in &manager.objects {
        for (name, rows) in answer["tables"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "learned_routes")
        {
            let expected = expected.remove(&(&**id, &**name)).unwrap_or_default();
            let found = rows.as_array().cloned().unwrap_or_default();
            let missing: Vec<&Value> = expected.iter().filter(|row| !found.contains(row)).collect();
            let more: Vec<&Value> = found.iter().filter(|row| !expected.contains(row)).collect();
            verdict.compared += expected.len();
            verdict.holds(missing.is_empty() && more.is_empty() && found.len() == expected.len(), || {
                format!("{name} of {id}: missing {missing:?}, too much {more:?}")
            });
        }
    }
    for ((id, name), rows) in expected {
        verdict.holds(false, || format!("{name} of {id} does not show: {rows:?}"));
    }
    Ok(())
}

fn arp(address: &str, value: &str) -> Result<Value> {
    let parts: Vec<&str> = value.split(';').collect();
    let [mac, expiry, stale, last] = parts[..] else {
        anyhow::bail!("an ARP entry has four parts: {value}")
    };
    Ok(json!({
        "address": address,
        "mac": Some(mac).filter(|mac| !matches!(*mac, "" | "null")),
        "expiry_ms": expiry.parse::<i64>()?,
        "stale_ms": stale.parse::<i64>()?,
        "last_arp_ms": last.parse::<i64>()?,
    }))
}

fn fip64(key: &str) -> Result<Value> {
    let parts: Vec<&str> = key.split(';').collect();
    let [fixed, floating, _, _, port, router] = parts[..] else {
        anyhow::bail!("a FIP64 entry has six parts: {key}")
    };
    let floating: IpAddr = floating.parse()?;
    Ok(json!({ "fixed": fixed, "floating": floating, "port": port, "router": router }))
}

/// What was written into tables, line by line.
fn written(manager: &Manager, verdict: &mut Verdict) -> Result<()> {
    let mut routes: BTreeMap<String, usize> = BTreeMap::new();
    for line in golden::text("state-truth.jsonl")?.lines() {
        let truth: Value = serde_json::from_str(line)?;
        let of = |name: &str| truth[name].as_str().unwrap_or_default();
        let (owner, table) = match of("kind") {
            "learnedRoute" => ("port", "learned_routes"),
            "mac_table" => ("bridge", "mac"),
            "ip4_mac_table" => ("bridge", "ip_mac"),
            "arp_table" => ("router", "arp"),
            "peering_table" => ("port", "peering"),
            "gateway_table" => ("network", "gateways"),
            "fip64_table" => ("network", "fip64"),
            other => anyhow::bail!("nothing is known of {other}"),
        };
        if table == "learned_routes" {
            *routes.entry(of(owner).to_owned()).or_default() += 1;
        }
        let rows = manager.tables(of(owner))[table].as_array().cloned().unwrap_or_default();
        let fits = |row: &Value| {
            truth.as_object().into_iter().flatten().all(|(name, value)| match &**name {
                // Of the file itself, or the owner.
                "kind" | "seededByNeutronTranslation" => true,
                name if name == owner && name != "port" => true,
                "port" if owner == "port" && table == "peering" => true,
                "ip" => row["address"] == *value,
                "mac" => row["mac"] == *value || value == "" && row["mac"].is_null(),
                "persistent" => row["learned"].as_bool() == value.as_bool().map(|persistent| !persistent),
                "expiry" => row["expiry_ms"] == *value,
                "stale" => row["stale_ms"] == *value,
                "lastArp" => row["last_arp_ms"] == *value,
                "dst" => row["destination"] == *value,
                "gw" => row["gateway"] == *value,
                // The router's port is where the route was learned.
                "host" if table == "learned_routes" => manager.view(of("port"))["host"] == *value,
                "host" => *row == *value,
                "entry" => value.as_str().and_then(|entry| fip64(entry).ok()).as_ref() == Some(row),
                "vlan" | "port" => row[name] == *value,
                _ => false,
            })
        };
        let count = rows.iter().filter(|row| fits(row)).count();
        verdict.holds(count == 1, || format!("{truth} is {count} times in {rows:?}"));
    }
    for port in &manager.lists["port"] {
        let id = port["id"].as_str().unwrap_or_default();
        let expected = routes.get(id).copied().unwrap_or(0);
        verdict.same(|| format!("learned routes of {id}"), &port["learned_routes"], &expected.into());
        let rows = manager.tables(id)["learned_routes"].as_array().map_or(0, Vec::len);
        verdict.same(|| format!("rows of learned routes of {id}"), &rows.into(), &expected.into());
    }
    Ok(())
}

/// What the cloud's makers say of it.
fn told(manager: &Manager, verdict: &mut Verdict) -> Result<()> {
    let truth = golden::json("topology-truth.json")?;
    for (name, value) in truth.as_object().context("the truth is an object")? {
        let items: Vec<&Value> = value.as_array().map_or_else(|| vec![value], |items| items.iter().collect());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let set = |kind: &str, fits: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
            manager.lists[kind]
                .iter()
                .filter(|item| fits(item))
                .map(|item| text(&item["id"]))
                .collect()
        };
        let expected = || items.iter().map(|item| text(item)).collect::<BTreeSet<_>>();
        match &**name {
            "bindings" => {
                for item in items {
                    let port = manager.view(&text(&item["port"]));
                    let good = port["host"] == item["host"]
                        && port["interface"] == item["ifname"]
                        && port["state"] == "up"
                        && (item["mac"].is_null() || port["mac"] == item["mac"]);
                    verdict.holds(good, || format!("{item} shows as {port}"));
                }
            }
            "macs" => {
                for item in items {
                    let tables = manager.tables(&text(&item["bridge"]));
                    let in_table = |name: &str, members: &[(&str, &str)]| {
                        let rows = tables[name].as_array().into_iter().flatten();
                        rows.filter(|row| members.iter().all(|(own, theirs)| row[own] == item[theirs])).count() == 1
                    };
                    let good = in_table("mac", &[("mac", "mac"), ("port", "port"), ("vlan", "vlan")])
                        && in_table("ip_mac", &[("mac", "mac"), ("address", "ip")])
                        && manager.view(&text(&item["port"]))["host"] == item["host"];
                    verdict.holds(good, || format!("{item} is not in {tables}"));
                }
            }
            "arps" => {
                for item in items {
                    let rows = &manager.tables(&text(&item["router"]))["arp"];
                    let fits =
                        |row: &&Value| row["address"] == item["ip"] && (row["mac"] == item["mac"] || item["mac"] == "" && row["mac"].is_null());
                    verdict.holds(rows.as_array().into_iter().flatten().filter(fits).count() == 1, || {
                        format!("{item} is not in {rows}")
                    });
                }
            }
            "peerings" => {
                for item in items {
                    let rows = &manager.tables(&text(&item["port"]))["peering"];
                    let fits = |row: &&Value| row["address"] == item["ip"] && row["mac"] == item["mac"];
                    verdict.holds(rows.as_array().into_iter().flatten().filter(fits).count() == 1, || {
                        format!("{item} is not in {rows}")
                    });
                }
            }
            "bgpPorts" => {
                for item in items {
                    let port = manager.view(&text(&item["port"]));
                    let good = port["host"] == item["host"] && port["router"] == item["router"] && port["kind"] == "uplink";
                    verdict.holds(good, || format!("{item} shows as {port}"));
                }
            }
            "poolMembers" => verdict.holds(set("pool_member", &|_| true) == expected(), || "pool members".to_owned()),
            "vmPorts" => verdict.holds(set("port", &|port| port["kind"] == "vm") == expected(), || "ports of VMs".to_owned()),
            "routers" => verdict.holds(set("router", &|router| router["edge"] == false) == expected(), || "routers".to_owned()),
            "extNet" => verdict.holds(set("network", &|network| network["external"] == true) == expected(), || {
                "external networks".to_owned()
            }),
            "edge" => verdict.holds(set("router", &|router| router["edge"] == true) == expected(), || {
                "edge routers".to_owned()
            }),
            other => verdict.holds(false, || format!("no rule for {other}")),
        }
    }
    Ok(())
}
