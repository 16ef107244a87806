// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A whole simulation: the NSDB, the agents, their traffic and the ledger.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use midonet::nsdb::Root;
use parking_lot::RwLock;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};
use uuid::Uuid;

use crate::{
    agent::{Agent, Context},
    clock,
    ledger::{Ledger, MAX_LISTED_PORTS, PortRole, Things, TrafficPort},
    life::Life,
    nsdb::{Nsdb, NsdbError},
    obj::Kind,
    plan::Plan,
    size::Size,
    traffic::{Settings, Traffic},
    view::{DeviceRef, Port, View},
};

/// Between two states of the ledger's file.
const LEDGER_INTERVAL: Duration = Duration::from_secs(1);

/// How a simulation is run.
#[derive(Clone, Debug)]
pub struct Options {
    pub zookeeper: String,
    pub root: Root,
    pub size: Size,
    pub seed: u64,
    pub reset: bool,
    pub underlay: Ipv4Addr,
    /// 0: a free one for each host.
    pub stats_port: u16,
    pub service: String,
    pub workers: usize,
    pub traffic: Settings,
    pub ledger: Option<PathBuf>,
    pub ledger_listen: Option<String>,
    pub record_log: Option<PathBuf>,
    pub queue: usize,
    pub connection_interval: Duration,
    /// Mean time between two events of the cloud's life; none, and nothing happens.
    pub life: Option<Duration>,
}

/// Why a simulation did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Nsdb(#[from] NsdbError),
    #[error("listen for meters on {address}:{port}")]
    Meters {
        address: Ipv4Addr,
        port: u16,
        #[source]
        source: std::io::Error,
    },
    #[error("open the record log or the ledger's end point")]
    Ledger(#[source] std::io::Error),
}

/// A running simulation.
pub struct Simulation {
    pub plan: Arc<parking_lot::Mutex<Plan>>,
    pub agents: Arc<Vec<Agent>>,
    pub context: Arc<Context>,
    pub nsdb: Arc<tokio::sync::Mutex<Nsdb>>,
    pub ledger: Arc<Ledger>,
    /// Ports on which meters are served.
    stats_ports: Arc<HashMap<Uuid, u16>>,
    /// Where the ledger answers.
    pub ledger_address: Option<std::net::SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    traffic: Option<JoinHandle<()>>,
}

/// Plans a cloud and writes its NSDB.
pub async fn write_topology(options: &Options) -> Result<(Plan, Nsdb), RunError> {
    let started = Instant::now();
    let mut plan = Plan::build(options.size, options.seed, options.underlay);
    log::info!("planned {} objects in {} ms", plan.zoom.len(), started.elapsed().as_millis());
    let mut nsdb = Nsdb::connect(&options.zookeeper, options.root.clone()).await?;
    nsdb.prepare(options.reset).await?;
    let hosts: Vec<_> = plan.hosts.iter().map(|host| host.id).collect();
    nsdb.skeleton(&hosts).await?;
    let changes = plan.zoom.take_changes();
    let total = changes.len();
    let mut told = Instant::now();
    nsdb.load(changes, |written| {
        if told.elapsed() > Duration::from_secs(2) {
            told = Instant::now();
            log::info!("{written} of {total} objects and entries are written");
        }
    })
    .await?;
    nsdb.configure().await?;
    nsdb.put(&options.root.sequence("overlay_tunnel_key"), &plan.zoom.last_tunnel_key().to_be_bytes())
        .await?;
    log::info!(
        "wrote {} objects below {} in {} ms",
        plan.zoom.len(),
        options.root.as_str(),
        started.elapsed().as_millis()
    );
    Ok((plan, nsdb))
}

impl Simulation {
    pub async fn start(options: Options) -> Result<Simulation, RunError> {
        let ledger = Ledger::new(options.ledger.clone(), options.record_log.as_deref(), clock::now_us()).map_err(RunError::Ledger)?;
        let ledger = Arc::new(ledger);
        let (plan, mut nsdb) = write_topology(&options).await?;
        let view = Arc::new(View::compile(&plan.zoom, &plan.learned));
        let context = Arc::new(Context {
            zookeeper: options.zookeeper.clone(),
            root: options.root.clone(),
            service: options.service.clone(),
            ledger: ledger.clone(),
            view: RwLock::new(view.clone()),
            workers: options.workers,
            queue: options.queue,
            interval: options.connection_interval,
            changed: watch::channel(0).0,
            learned: RwLock::new(plan.learned.clone()),
            external_network: plan.external_network,
            broken: RwLock::default(),
        });
        let agents: Vec<Agent> = plan.hosts.iter().map(|host| Agent::new(host.clone(), options.workers)).collect();
        let mut stats_ports = HashMap::new();
        for (index, agent) in (0..).zip(&agents) {
            let listener = listen(agent.address(), options.stats_port).await?;
            let port = listener.local_addr().map_or(0, |address| address.port());
            stats_ports.insert(agent.host.id, port);
            let config = format!(
                "{{\n    \"agent\" : {{\n        \"midolman\" : {{\n            \"stats_http_server_port\" : {port}\n        }}\n    }}\n}}\n"
            );
            nsdb.put(&options.root.config_node(agent.host.id), config.as_bytes()).await?;
            agent.start(&context, listener, options.seed.wrapping_add(index));
        }
        let agents = Arc::new(agents);
        let metered = agents.clone();
        // Of a host that is down: what it showed last.
        ledger.set_meters(move || metered.iter().map(|agent| (agent.host.id, agent.meters.lock().sums())).collect());
        let cluster = tokio::spawn(crate::agent::cluster(context.clone(), plan.vtep, plan.vtep_zone));
        let traffic = tokio::spawn(Traffic::new(context.clone(), agents.clone(), options.traffic.clone()).run());
        let mut tasks = vec![cluster];
        let mut ledger_address = None;
        if let Some(listen) = &options.ledger_listen {
            let listener = TcpListener::bind(listen).await.map_err(RunError::Ledger)?;
            ledger_address = listener.local_addr().ok();
            tasks.push(tokio::spawn(crate::ledger_http::serve(listener, ledger.clone())));
        }
        let mut simulation = Simulation {
            plan: Arc::new(parking_lot::Mutex::new(plan)),
            agents,
            context,
            nsdb: Arc::new(tokio::sync::Mutex::new(nsdb)),
            ledger,
            stats_ports: Arc::new(stats_ports),
            ledger_address,
            tasks,
            traffic: Some(traffic),
        };
        simulation.tasks.push(simulation.keeper());
        if let Some(mean) = options.life {
            simulation.tasks.push(tokio::spawn(simulation.life(options.seed).run(mean)));
        }
        Ok(simulation)
    }

    /// The port on which a host's meters are served.
    pub fn stats_port(&self, host: Uuid) -> Option<u16> {
        self.stats_ports.get(&host).copied()
    }

    /// What can happen to this cloud, to be made happen.
    pub fn life(&self, seed: u64) -> Life {
        Life::new(
            self.plan.clone(),
            self.nsdb.clone(),
            self.context.clone(),
            self.agents.clone(),
            self.stats_ports.clone(),
            seed,
        )
    }

    /// Waits until the traffic has made as many records as it was told.
    pub async fn traffic_done(&mut self) {
        if let Some(traffic) = self.traffic.take() {
            let _ = traffic.await;
        }
    }

    /// Ends traffic, agents and sessions; what is in the NSDB stays.
    pub async fn stop(mut self) {
        if let Some(traffic) = self.traffic.take() {
            traffic.abort();
        }
        // Queued records go out before their agents end.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.tasks.iter().for_each(JoinHandle::abort);
        futures::future::join_all(self.agents.iter().map(|agent| agent.stop(&self.ledger, false))).await;
        if let Err(error) = self.ledger.flush(clock::now_us()) {
            log::warn!("write the ledger: {error}");
        }
    }

    /// Keeps the ledger's file and the writer's session fresh.
    fn keeper(&self) -> JoinHandle<()> {
        let (ledger, plan, context, agents, nsdb) = (
            self.ledger.clone(),
            self.plan.clone(),
            self.context.clone(),
            self.agents.clone(),
            self.nsdb.clone(),
        );
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LEDGER_INTERVAL);
            let mut failing = false;
            loop {
                ticks.tick().await;
                ledger.set_things(things(&plan.lock(), &context.view.read().clone(), &agents));
                match ledger.flush(clock::now_us()) {
                    Ok(()) => failing = false,
                    Err(error) if !failing => {
                        failing = true;
                        log::warn!("write the ledger: {error}");
                    }
                    Err(_) => {}
                }
                nsdb.lock().await.keep_alive().await;
            }
        })
    }
}

/// A listener of a host's own address.
pub async fn listen(address: Ipv4Addr, port: u16) -> Result<TcpListener, RunError> {
    TcpListener::bind((address, port))
        .await
        .map_err(|source| RunError::Meters { address, port, source })
}

fn things(plan: &Plan, view: &View, agents: &[Agent]) -> Things {
    let objects = plan.zoom.counts();
    let count = |kind: Kind| objects.get(kind.name()).copied().unwrap_or(0);
    let alive = |host: u32| {
        agents
            .iter()
            .any(|agent| agent.host.id == view.hosts[host as usize].id && agent.is_alive())
    };
    let alive: Vec<bool> = (0..view.hosts.len() as u32).map(alive).collect();
    Things {
        hosts: count(Kind::Host),
        hosts_alive: alive.iter().filter(|alive| **alive).count(),
        tenants: plan.tenants.len(),
        networks: count(Kind::Network),
        routers: count(Kind::Router),
        ports: count(Kind::Port),
        ports_bound: view.ports.iter().filter(|port| port.host.is_some()).count(),
        ports_active: view
            .ports
            .iter()
            .filter(|port| port.up && port.host.is_some_and(|host| alive[host as usize]))
            .count(),
        vm_ports: view.vms.len(),
        uplink_ports: view.uplinks.len(),
        tunnel_zones: count(Kind::TunnelZone),
        vteps: count(Kind::Vtep),
        load_balancers: count(Kind::LoadBalancer),
        floating_ips: count(Kind::FloatingIp),
        security_groups: count(Kind::SecurityGroup),
        tunnel_zone_members: plan.zoom.all(Kind::TunnelZone).iter().map(|zone| zone.all("hosts").count()).sum(),
        pool_members: view.members.len(),
        pool_members_up: view.members.iter().filter(|(_, up)| *up).count(),
        traffic_ports: traffic_ports(view),
        objects,
    }
}

fn traffic_ports(view: &View) -> BTreeMap<uuid::Uuid, TrafficPort> {
    if view.ports.len() > MAX_LISTED_PORTS {
        return BTreeMap::new();
    }
    let vms: BTreeSet<u32> = view.vms.iter().copied().collect();
    let edges: Vec<DeviceRef> = view.uplinks.iter().map(|index| view.port(*index).device).collect();
    // A router's port towards an external network; the edge's own links to it are on the other side.
    let is_gateway = |port: &Port| {
        let peer = port.peer.map(|peer| view.port(peer).device);
        let outside = matches!(peer, Some(DeviceRef::Network(network)) if view.networks[network as usize].external);
        matches!(port.device, DeviceRef::Router(_)) && outside && !edges.contains(&port.device)
    };
    let listed = (0..).zip(&view.ports).filter_map(|(index, port)| {
        let role = if vms.contains(&index) {
            PortRole::Vm
        } else if view.uplinks.contains(&index) {
            PortRole::Uplink
        } else if is_gateway(port) {
            PortRole::Gateway
        } else {
            return None;
        };
        let tenant = view.tenants[port.tenant as usize].clone();
        Some((port.id, TrafficPort { role, tenant }))
    });
    listed.collect()
}
