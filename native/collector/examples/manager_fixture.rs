// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The manager on a store of its own, for tests in a browser: the topology of `tests/fixtures/golden`, and six hours of flows and meters
//! that are drawn from a seed. Says `ready http://ADDRESS`, then serves until it is killed. With `empty` as its argument the site has nothing.

use std::{net::SocketAddr, path::Path as FsPath, sync::Arc};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use insights_collector::{
    accounts::Accounts,
    clock::now_us,
    ingest::Gateways,
    query::scoped::Stores,
    site::{PortKind, Site, Sites, State},
    web,
};
use insights_store::{
    Append, Cursor, FlowRow, Mac, MeterDelta, MeterKey, MeterReading, Path, PathDevice, PathRule, Rows, SiteId, Store, StoreOptions, StreamId,
    StreamKind, Verdict,
    catalog::{AlertChange, AlertText, Hop, HopCount, Level, Loss, NewEvent, Node, TopologyChange},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// Flow records of the six hours.
const FLOWS: usize = 40_000;
const SEED: u64 = 7;
const PASSWORD: &str = "correct horse battery";

#[tokio::main]
async fn main() -> Result<()> {
    let empty = std::env::args().nth(1).as_deref() == Some("empty");
    let dir = tempfile::tempdir()?;
    let store = Store::open(StoreOptions::new(dir.path())).await.context("open a store")?;
    let accounts = Accounts::new(store.catalog().clone());
    let now = now_us();
    let account = accounts
        .create("ada@lab.example", "Ada Okafor", PASSWORD.to_owned(), now - 40 * 24 * HOUR)
        .await?;
    let site = accounts.create_site(account, "eu-west-lab", 20_000_000_000, now - 40 * 24 * HOUR).await?;
    // Somebody else's, which must stay unseen.
    let other = accounts.create("eve@else.example", "Eve", PASSWORD.to_owned(), now).await?;
    let foreign = accounts.create_site(other, "foreign-site", 0, now).await?;
    let sites = Sites::new(store.clone());
    if !empty {
        fill(&store, &sites, &accounts, site, now).await?;
    }
    let app = web::App {
        gateways: Gateways::new(store.catalog().clone()),
        stores: Stores::new(store),
        accounts,
        sites,
        secure: false,
        sign_up: true,
        clock: now_us,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    {
        use std::io::Write;
        let mut out = std::io::stdout();
        writeln!(
            out,
            "ready http://{address} site={site} foreign={foreign} e-mail=ada@lab.example password={PASSWORD}"
        )?;
        out.flush()?;
    }
    axum::serve(listener, web::router(app).into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

async fn fill(store: &Store, sites: &Sites, accounts: &Accounts, site: SiteId, now: i64) -> Result<()> {
    let begin = now - 6 * HOUR;
    let gateway = Uuid::parse_str("aa000000-0000-4000-8000-000000000004")?;
    let stream = |kind| StreamId { gateway, kind, epoch: 1 };
    let tree = golden(begin - HOUR)?;
    let gone = |node: &Node| node.path.ends_with("/alive") && node.path.contains("aa000000-0000-4000-8000-000000000002");
    let down: Vec<_> = tree
        .iter()
        .filter(|node| gone(node) || (node.path.contains("state/aa000000-0000-4000-8000-000000000002/Port/") && node.path.ends_with("/active")))
        .map(|node| node.path.clone())
        .collect();
    let mut changes = vec![TopologyChange::SnapshotBegin {
        at_us: begin - HOUR,
        term: 1,
    }];
    changes.extend(tree.iter().cloned().map(TopologyChange::Put));
    changes.push(TopologyChange::SnapshotEnd {
        at_us: begin - HOUR,
        nodes: tree.len() as u64,
    });
    store
        .catalog()
        .apply_topology(
            site,
            Cursor {
                stream: stream(StreamKind::Topology),
                sequence: 1,
            },
            changes,
        )
        .await?;
    let went = now - 38 * MINUTE;
    let changes = down.into_iter().map(|path| TopologyChange::Delete { path, at_us: went }).collect();
    store
        .catalog()
        .apply_topology(
            site,
            Cursor {
                stream: stream(StreamKind::Topology),
                sequence: 2,
            },
            changes,
        )
        .await?;
    // Two rules go and come: changes that an operator would look for.
    let rules: Vec<_> = tree
        .iter()
        .filter(|node| node.path.starts_with("zoom/0/models/SecurityGroupRule/"))
        .take(2)
        .cloned()
        .collect();
    let mut changes: Vec<_> = rules
        .iter()
        .map(|node| TopologyChange::Delete {
            path: node.path.clone(),
            at_us: now - 49 * MINUTE,
        })
        .collect();
    changes.extend(rules.into_iter().map(|mut node| {
        node.at_us = now - 20 * MINUTE;
        TopologyChange::Put(node)
    }));
    store
        .catalog()
        .apply_topology(
            site,
            Cursor {
                stream: stream(StreamKind::Topology),
                sequence: 3,
            },
            changes,
        )
        .await?;

    let fingerprint = [0xb0; 32];
    accounts.register_fingerprint(site, fingerprint, "gw-1", now - 40 * 24 * HOUR).await?;
    for (id, name) in [(gateway, "gw-1"), (Uuid::from_u128(2), "gw-2")] {
        store
            .catalog()
            .gateway_connected(site, id, name.to_owned(), "0.1.0".to_owned(), fingerprint, now - 30 * HOUR)
            .await?;
        let leads = id == gateway;
        let report = format!(
            r#"{{"at_us":0,"leads":{leads},"lag_ms":1800,"spool_bytes":48230112,"spool_limit":10737418240,"agents_connected":4,"meters_answered":3,"agents_alive":3,"memory_bytes":83886080}}"#
        );
        store.catalog().gateway_report(site, id, now - 12 * SECOND, report).await?;
    }
    let event = |at_us, level, kind: &str, text: &str, loss| NewEvent {
        at_us,
        level,
        kind: kind.to_owned(),
        text: text.to_owned(),
        fields: "{\"host\":\"hv-2\"}".to_owned(),
        gateway: Some(gateway),
        loss,
    };
    let lost = Loss {
        kind: StreamKind::Flows,
        records: 4_312,
        first_us: now - 3 * HOUR,
        last_us: now - 3 * HOUR + 8 * MINUTE,
        cause: "queue_full".to_owned(),
    };
    store
        .catalog()
        .append_events(
            site,
            None,
            vec![
                event(now - 30 * HOUR, Level::Info, "gateway.connected", "gateway gw-1 connected", None),
                event(
                    now - 3 * HOUR,
                    Level::Warning,
                    "records.lost",
                    "4312 flow records were given up",
                    Some(lost),
                ),
                event(
                    now - 38 * MINUTE,
                    Level::Warning,
                    "meters.unreachable",
                    "the agent of hv-2 does not answer",
                    None,
                ),
            ],
        )
        .await?;
    let live = sites_now(store, sites, site).await?;
    alerts(store, &live, site, now).await?;
    flows(store, &live, site, stream(StreamKind::Flows), begin, now).await?;
    meters(store, &live, site, stream(StreamKind::Meters), begin, now, went).await?;
    let hours = (0..6).flat_map(|hour| {
        [
            (Hop::Received, 6_700),
            (Hop::Dropped, if hour == 3 { 4_312 } else { 0 }),
            (Hop::Spooled, 6_666),
            (Hop::Acknowledged, 6_666),
            (Hop::Arrived, 6_290),
        ]
        .into_iter()
        .map(move |(hop, records)| HopCount {
            gateway,
            kind: StreamKind::Flows,
            hour_us: (begin + hour * HOUR).div_euclid(HOUR) * HOUR,
            hop,
            records,
        })
    });
    store.catalog().add_counts(site, hours.collect()).await?;
    Ok(())
}

/// What the rules would have told: a host with its ports, a port that nobody can say more of, and one that is over.
async fn alerts(store: &Store, live: &Site, site: SiteId, now: i64) -> Result<()> {
    let host = live.hosts().find(|host| host.state == State::Down).context("a host that is down")?;
    let port = live.ports().find(|port| port.kind == PortKind::Vm).context("a VM port")?;
    let says = |level, text: String, kind: &str, id: Uuid, name: &str, members| AlertText {
        level,
        text,
        about: serde_json::json!({ "kind": kind, "id": id, "name": name }).to_string(),
        value: None,
        threshold: None,
        members,
    };
    let open = |rule: &str, id: Uuid, since_us, says| AlertChange::Open {
        rule: rule.to_owned(),
        subject: id.to_string(),
        since_us,
        says,
    };
    let resolve = |why: &str| AlertChange::Resolve {
        rule: "port-down".to_owned(),
        subject: port.id.to_string(),
        why: why.to_owned(),
    };
    let went = now - 38 * MINUTE;
    let down = says(Level::Error, format!("Host {} is down", host.name), "host", host.id, &host.name, 3);
    let port_says = || says(Level::Warning, format!("VM port {} is down", port.name), "port", port.id, &port.name, 0);
    let gateway = Uuid::from_u128(2);
    let lag = AlertText {
        value: Some(1_260.0),
        threshold: Some(300.0),
        ..says(Level::Warning, "Gateway gw-2 lags by 21 min".to_owned(), "gateway", gateway, "gw-2", 0)
    };
    let catalog = store.catalog();
    catalog
        .change_alerts(site, vec![open("port-down", port.id, now - 9 * HOUR, port_says())], None, now - 9 * HOUR)
        .await?;
    catalog.change_alerts(site, vec![resolve("it is over")], None, now - 8 * HOUR).await?;
    catalog
        .change_alerts(
            site,
            vec![
                open("host-down", host.id, went, down),
                open("gateway-lagging", gateway, now - 21 * MINUTE, lag),
                open("port-down", port.id, now - HOUR, port_says()),
            ],
            None,
            went + 5 * SECOND,
        )
        .await?;
    let unknown = AlertChange::Unknown {
        rule: "port-down".to_owned(),
        subject: port.id.to_string(),
        why: "no gateway is connected".to_owned(),
    };
    Ok(catalog.change_alerts(site, vec![unknown], None, now - 5 * MINUTE).await?)
}

/// The model without a session: the fixture owns its store.
async fn sites_now(store: &Store, sites: &Sites, site: SiteId) -> Result<Arc<Site>> {
    let accounts = Accounts::new(store.catalog().clone());
    let signed = accounts
        .sign_in(
            "ada@lab.example",
            PASSWORD.to_owned(),
            std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST),
            now_us(),
        )
        .await?;
    let session = accounts.session(&signed.token, now_us()).await?.context("a session")?;
    Ok(sites.live(&accounts.scope(&session, site).await?).await?)
}

fn golden(at_us: i64) -> Result<Vec<Node>> {
    let file = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden/topology/zk-tree.jsonl");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    text.lines()
        .filter_map(|line| {
            let node: serde_json::Value = serde_json::from_str(line).ok()?;
            let path = node["path"].as_str()?.strip_prefix("/midonet/")?.to_owned();
            let data = STANDARD.decode(node["data"].as_str().unwrap_or_default()).ok()?;
            let ephemeral_owner = i64::from(node["ephemeral"].as_bool() == Some(true));
            let version = node["version"].as_i64().unwrap_or(0) as i32;
            Some(Ok(Node {
                path,
                data,
                mzxid: 1,
                version,
                ctime_ms: at_us / 1_000,
                mtime_ms: at_us / 1_000,
                ephemeral_owner,
                at_us,
            }))
        })
        .collect()
}

async fn flows(store: &Store, site_model: &Site, site: SiteId, stream: StreamId, begin: i64, now: i64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(SEED);
    let vms: Vec<_> = site_model
        .ports()
        .filter(|port| port.kind == PortKind::Vm && !port.addresses.is_empty())
        .collect();
    let uplinks: Vec<_> = site_model.ports().filter(|port| port.kind == PortKind::Uplink).collect();
    let mut rows = Vec::new();
    let mut paths: Vec<Path> = Vec::new();
    for n in 0..FLOWS {
        let source = &vms[(random.random::<f64>().powi(2) * vms.len() as f64) as usize];
        let outside = random.random_bool(0.3) && !uplinks.is_empty();
        let target = if outside { &uplinks[0] } else { &vms[random.random_range(0..vms.len())] };
        if target.id == source.id {
            continue;
        }
        let late = n > FLOWS * 85 / 100;
        let dropped = random.random_bool(if late { 0.3 } else { 0.04 })
            && target
                .outbound_chain
                .is_some_and(|id| site_model.chain(id).is_some_and(|chain| !chain.rules.is_empty()));
        let (rules, decided) = evaluated(site_model, source.inbound_chain, false);
        let (more, decider) = evaluated(site_model, target.outbound_chain, dropped);
        let mut devices = vec![PathDevice { id: source.id, kind: 6 }];
        devices.extend(source.network.map(|id| PathDevice { id, kind: 4 }));
        if source.network != target.network {
            devices.extend(
                source
                    .network
                    .and_then(|id| site_model.network(id)?.routers.first().copied())
                    .map(|id| PathDevice { id, kind: 5 }),
            );
            devices.extend(
                target
                    .network
                    .map(|id| PathDevice { id, kind: 4 })
                    .or(target.router.map(|id| PathDevice { id, kind: 5 })),
            );
        }
        devices.push(PathDevice { id: target.id, kind: 6 });
        let path = Path {
            devices,
            rules: rules.into_iter().chain(more).collect(),
        };
        let src_ip = source.addresses[0];
        let dst_ip = if outside {
            std::net::IpAddr::from([203, 0, 113, random.random_range(1..250u8)])
        } else {
            target.addresses[0]
        };
        let row = FlowRow {
            time_us: begin + (now - begin) * n as i64 / FLOWS as i64 + random.random_range(0..200_000),
            gateway: stream.gateway,
            host: source.host.unwrap_or_default(),
            sim_result: 8,
            verdict: if dropped { Verdict::Dropped } else { Verdict::Allowed },
            transit: false,
            untrusted: 0,
            cookie: n as u64,
            dp_port: 7,
            in_port: Some(source.id),
            src_port: Some(source.id),
            dst_port: Some(target.id),
            src_tenant: source.tenant.as_deref().map(Arc::from),
            dst_tenant: target.tenant.as_deref().map(Arc::from),
            src_network: source.network,
            dst_network: target.network,
            src_mac: source.mac.map(|mac| Mac(mac.0)),
            dst_mac: target.mac.map(|mac| Mac(mac.0)),
            ether_type: 0x0800,
            vlans: Vec::new(),
            src_ip: Some(src_ip),
            dst_ip: Some(dst_ip),
            proto: if random.random_bool(0.8) { 6 } else { 17 },
            tos: 0,
            ttl: 64,
            src_tp: random.random_range(32_768..61_000),
            dst_tp: [443, 80, 5432, 53, 22, 3306][(random.random::<f64>().powi(2) * 6.0) as usize],
            icmp_id: 0,
            icmp_data: Vec::new(),
            tunnel_key: 0,
            tunnel_src: 0,
            tunnel_dst: 0,
            rule: if dropped { decider } else { decider.or(decided) },
            path: Some(path.id()),
            out_ports: if dropped { Vec::new() } else { vec![target.id] },
            actions: if dropped { vec![0] } else { vec![1, 1, 0, 0, 0, 9] },
        };
        if !paths.contains(&path) {
            paths.push(path);
        }
        rows.push(row);
    }
    rows.sort_by_key(|row| row.time_us);
    for (at, chunk) in rows.chunks(5_000).enumerate() {
        let batch = Append {
            cursor: Cursor {
                stream,
                sequence: at as u64 + 1,
            },
            rows: Rows::Flows {
                rows: chunk.to_vec(),
                paths: paths.clone(),
            },
        };
        store.series().append(site, batch).await?;
    }
    Ok(())
}

/// The rules of a chain as a packet meets them that none but the last catches; jumps are followed.
fn evaluated(site: &Site, chain: Option<Uuid>, dropped: bool) -> (Vec<PathRule>, Option<Uuid>) {
    let Some(chain) = chain.and_then(|id| site.chain(id)) else {
        return (Vec::new(), None);
    };
    let mut rules = Vec::new();
    let mut decided = None;
    for rule in chain.rules.iter().filter_map(|id| site.rule(*id)) {
        if let Some(inner) = rule.jump_to.and_then(|id| site.chain(id)) {
            rules.push(PathRule {
                id: rule.id,
                result: 4,
                matched: true,
                applied: true,
            });
            let inner: Vec<_> = inner.rules.iter().filter_map(|id| site.rule(*id)).collect();
            let accept = inner.iter().find(|rule| rule.action == "ACCEPT").map(|rule| rule.id).filter(|_| !dropped);
            for rule in inner {
                let hit = accept == Some(rule.id);
                rules.push(PathRule {
                    id: rule.id,
                    result: if hit { 1 } else { 2 },
                    matched: hit,
                    applied: hit,
                });
                if hit {
                    return (rules, Some(rule.id));
                }
            }
        } else {
            let hit = rule.action == "DROP" && dropped;
            rules.push(PathRule {
                id: rule.id,
                result: if hit { 3 } else { 2 },
                matched: hit,
                applied: hit,
            });
            if hit {
                decided = Some(rule.id);
            }
        }
    }
    // The last of several drops is the one for all else.
    for rule in rules.iter_mut().filter(|rule| rule.result == 3 && Some(rule.id) != decided) {
        *rule = PathRule {
            id: rule.id,
            result: 2,
            matched: false,
            applied: false,
        };
    }
    (rules, decided)
}

async fn meters(store: &Store, site_model: &Site, site: SiteId, stream: StreamId, begin: i64, now: i64, down: i64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut sequence = 0;
    for host in site_model.hosts() {
        let ports: Vec<_> = host.ports.iter().filter_map(|id| site_model.port(*id)).collect();
        let mut at = begin;
        let mut readings = Vec::new();
        while at + MINUTE / 2 <= now - 10 * SECOND {
            let to = at + MINUTE / 2;
            let away = host.state != insights_collector::site::State::Up && to > down;
            let missing = host.name.ends_with('1') && (now - 3 * HOUR..now - 3 * HOUR + 8 * MINUTE).contains(&at);
            if !away && !missing {
                let day = ((at as f64 / HOUR as f64) * 1.1).sin() * 0.25 + 1.0;
                let mut deltas = Vec::new();
                for (n, port) in ports.iter().enumerate() {
                    let size = if port.kind == PortKind::Uplink {
                        4.0
                    } else {
                        1.0 / (1.0 + n as f64 * 0.5)
                    };
                    let mut delta = |key, share: f64| {
                        let burst = if random.random_bool(0.02) { 2.2 } else { 1.0 };
                        let bytes = (day * size * share * burst * random.random_range(0.85..1.15) * 2e9) as u64;
                        deltas.push(MeterDelta {
                            key,
                            packets: bytes / 900,
                            bytes,
                        });
                    };
                    delta(MeterKey::PortRx(port.id), 1.0);
                    delta(MeterKey::PortTx(port.id), 0.7);
                    if let Some(network) = port.network {
                        delta(MeterKey::Device(network), 1.7);
                    }
                    let gateway = port
                        .network
                        .and_then(|id| site_model.network(id)?.routers.first().copied())
                        .and_then(|id| site_model.router(id)?.gateway);
                    if let Some(gateway) = gateway.filter(|_| n % 2 == 0) {
                        delta(MeterKey::PortRx(gateway), 0.2);
                        delta(MeterKey::PortTx(gateway), 0.3);
                    }
                }
                let mut sums = std::collections::BTreeMap::new();
                for delta in deltas {
                    let sum: &mut MeterDelta = sums.entry(delta.key.clone()).or_insert(MeterDelta {
                        key: delta.key,
                        packets: 0,
                        bytes: 0,
                    });
                    sum.packets += delta.packets;
                    sum.bytes += delta.bytes;
                }
                readings.push(MeterReading {
                    host: host.id,
                    from_us: at,
                    to_us: to,
                    meters: sums.into_values().collect(),
                });
            }
            at = to;
        }
        for chunk in readings.chunks(100) {
            sequence += 1;
            store
                .series()
                .append(
                    site,
                    Append {
                        cursor: Cursor { stream, sequence },
                        rows: Rows::Meters(chunk.to_vec()),
                    },
                )
                .await?;
        }
    }
    Ok(())
}
