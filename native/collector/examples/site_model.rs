// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the model of a large site costs: time to build it, time of a change, memory of an object, time of the dashboard's figures.
//!
//! `cargo run -p insights-collector --example site_model -- [OBJECTS]`, in the profile whose figures are wanted.

#![allow(clippy::print_stdout, reason = "its figures are for people")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use insights_collector::site::Site;
use insights_store::catalog::{Node, TopologyEffect};
use uuid::Uuid;

/// Ports of a network, with rules and entries to match: objects in the proportions of an OpenStack cloud.
const PORTS: u64 = 40;

/// Changes whose mean is told.
const CHANGES: u64 = 2_000;

fn main() {
    let wanted: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let before = resident();
    let mut effects = Vec::new();
    let mut objects = 0;
    let mut networks = 0;
    while objects < wanted {
        objects += network(networks, &mut effects);
        networks += 1;
    }
    let bytes: usize = effects
        .iter()
        .map(|effect| if let TopologyEffect::Put(node) = effect { node.data.len() } else { 0 })
        .sum();
    let input = resident();
    let started = Instant::now();
    let mut site = Site::default();
    for effect in &effects {
        site.apply(effect);
    }
    let built = started.elapsed();
    let memory = resident() - input;
    println!("{objects} objects, {} nodes, {bytes} bytes of text in {networks} networks", effects.len());
    println!(
        "build: {:.2} s, {:.1} us a node",
        built.as_secs_f64(),
        micros(built, effects.len() as u64)
    );
    println!(
        "memory: {} MiB, {} bytes an object with its state and tables",
        memory >> 20,
        memory as u64 / objects
    );
    println!("(the nodes themselves: {} MiB)", (input - before) >> 20);

    let started = Instant::now();
    let counts = site.counts();
    println!(
        "counts, first: {:.1} ms ({} ports, {} tenants)",
        millis(started.elapsed()),
        counts.ports,
        counts.tenants
    );
    let started = Instant::now();
    site.counts();
    println!("counts, again: {:.4} ms", millis(started.elapsed()));

    // Each change with the snapshot that readers get, as after a batch of one.
    let mut published = Arc::new(site.clone());
    for (what, make) in [
        ("a MAC learned", mac as fn(u64, u64) -> Node),
        ("a port changed", port_again),
        ("a state came", state),
    ] {
        let started = Instant::now();
        for number in 0..CHANGES {
            site.apply(&TopologyEffect::Put(make(number % networks, number)));
            published = Arc::new(site.clone());
        }
        let each = micros(started.elapsed(), CHANGES);
        let started = Instant::now();
        published.counts();
        println!(
            "{what}: {each:.1} us with its snapshot, then counts in {:.3} ms",
            millis(started.elapsed())
        );
    }
}

/// A network with its router, ports, chains and rules. The number of its objects.
fn network(number: u64, out: &mut Vec<TopologyEffect>) -> u64 {
    let before = out.len();
    let (network, router, tenant) = (id(1, number, 0), id(2, number, 0), format!("{:032x}", number / 4));
    let mut put = |node: Node| out.push(TopologyEffect::Put(node));
    put(object(
        "Network",
        network,
        &format!("tenant_id: \"{tenant}\"\nname: \"net-{number}\"\nadmin_state_up: true\n"),
    ));
    put(object(
        "NeutronNetwork",
        network,
        &format!("tenant_id: \"{tenant}\"\nname: \"net-{number}\"\nexternal: false\n"),
    ));
    put(object(
        "Router",
        router,
        &format!("tenant_id: \"{tenant}\"\nname: \"router-{number}\"\nadmin_state_up: true\n"),
    ));
    let mut objects = 3;
    for at in 0..PORTS {
        put(port(number, at, at));
        let (own, hardware, address) = (id(3, number, at), mac_text(number, at), address(number, at));
        put(object(
            "NeutronPort",
            own,
            &format!(
                "{}tenant_id: \"{tenant}\"\nname: \"vm-{number}-{at}\"\nmac_address: \"{hardware}\"\nfixed_ips {{\n  ip_address {{\n    version: V4\n    address: \"{address}\"\n  }}\n}}\ndevice_owner: COMPUTE\ndevice_id: \"{own}\"\n",
                uuid("network_id", network)
            ),
        ));
        for direction in 0..2 {
            let chain = id(4, number, at * 2 + direction);
            put(object(
                "Chain",
                chain,
                &format!("name: \"OS_PORT_{own}_{direction}\"\n{}", uuid("port_inbound_ids", own)),
            ));
            for rule in 0..3 {
                let text = format!(
                    "type: LITERAL_RULE\n{}action: ACCEPT\ncondition {{\n  dl_type: 2048\n  nw_proto: 6\n  fragment_policy: ANY\n}}\n",
                    uuid("chain_id", chain)
                );
                put(object("Rule", id(5, number, (at * 2 + direction) * 4 + rule), &text));
            }
        }
        objects += 10;
        put(state(number, at));
        put(mac(number, at));
        put(Node {
            path: format!("zoom/0/tables/Network/{network}/ip4_mac_table/{address},{hardware},2147483647"),
            ..object("", network, "")
        });
    }
    assert_eq!(out.len() - before, (objects + 3 * PORTS) as usize);
    objects
}

fn port(number: u64, at: u64, tunnel_key: u64) -> Node {
    let text = format!(
        "{}{}interface_name: \"tap{number}-{at}\"\nadmin_state_up: true\ntunnel_key: {tunnel_key}\nvlan_id: 0\n",
        uuid("network_id", id(1, number, 0)),
        uuid("host_id", host(number))
    );
    object("Port", id(3, number, at), &text)
}

fn port_again(number: u64, change: u64) -> Node {
    port(number, change % PORTS, 1_000_000 + change)
}

fn mac(number: u64, at: u64) -> Node {
    let (network, mac, port) = (id(1, number, 0), mac_text(number, at), id(3, number, at % PORTS));
    Node {
        path: format!("zoom/0/tables/Network/{network}/mac_table/0/{mac},{port},{at:010}"),
        ..object("", network, "")
    }
}

fn state(number: u64, at: u64) -> Node {
    let (host, port) = (host(number), id(3, number, at % PORTS));
    Node {
        path: format!("zoom/0/state/{host}/Port/{port}/active"),
        ..object("", port, &uuid("host_id", host))
    }
}

fn host(number: u64) -> Uuid {
    id(6, number % 100, 0)
}

fn id(kind: u64, number: u64, at: u64) -> Uuid {
    // Spread over all values, as random ids are.
    let mixed = (number << 20 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Uuid::from_u64_pair(mixed, kind << 56 | mixed >> 8)
}

fn uuid(name: &str, id: Uuid) -> String {
    let (msb, lsb) = id.as_u64_pair();
    format!("{name} {{\n  msb: {msb}\n  lsb: {lsb}\n}}\n")
}

fn mac_text(number: u64, at: u64) -> String {
    let n = number << 12 | at;
    format!(
        "fa:16:{:02x}:{:02x}:{:02x}:{:02x}",
        n >> 24 & 0xff,
        n >> 16 & 0xff,
        n >> 8 & 0xff,
        n & 0xff
    )
}

fn address(number: u64, at: u64) -> String {
    format!("10.{}.{}.{}", number >> 8 & 0xff, number & 0xff, at + 10)
}

fn object(class: &str, id: Uuid, text: &str) -> Node {
    Node {
        path: format!("zoom/0/models/{class}/{id}"),
        data: text.as_bytes().to_vec(),
        mzxid: 1,
        version: 0,
        ctime_ms: 1_500_000_000_000,
        mtime_ms: 1_500_000_000_000,
        ephemeral_owner: 0,
        at_us: 1_500_000_000_000_000,
    }
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration, of: u64) -> f64 {
    time.as_secs_f64() * 1e6 / of as f64
}
