// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Write as _,
    net::Ipv4Addr,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use insights_cloudsim::{
    agent::sender,
    flood,
    incident::{Incident, Script, Stage},
    plan::Plan,
    run::{Options, Simulation, write_topology},
    size::{Size, SizeArgs},
    traffic::{Rate, Reading, ReadingsOf, Settings, readings},
    view::View,
};
use midonet::{meters::MeterKey, nsdb::Root};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  A small cloud with 500 flow records per second, whose truth is at http://127.0.0.1:9900/:
    insights-cloudsim run --zookeeper 127.0.0.1:2181 --rate 500 --ledger-listen 127.0.0.1:9900
  The same cloud, where nothing happens and no record is lost to a full queue, for 10,000 records:
    insights-cloudsim run --seed 7 --calm --flat --queue-size 4096 --limit 10000 --ledger ledger.json --record-log records.txt
  A calm cloud in which a host goes after half a minute and is back a minute later, as a line of incidents.txt says, \"30 host-stops 60\":
    insights-cloudsim run --calm --script incidents.txt
  A topology of 100,000 objects, once more:
    insights-cloudsim topology --size large --reset
  How many records a recorder takes:
    insights-cloudsim flood 127.0.0.1:5005 --connections 8 --duration 10

Agents send nothing until a recorder is registered below service-discovery/insights. To look at one agent's meters:
  curl http://127.64.0.1:PORT/device_stats     (PORT is in the NSDB at config/nodes/<host id>)";

/// A simulated MidoNet cloud.
///
/// It writes the NSDB of an OpenStack cloud into a real ZooKeeper, as MidoNet's cluster does, and runs an agent for each host: with a session, its
/// state, flow records to whatever recorder is registered, and traffic meters over HTTP.
#[derive(Debug, Parser)]
#[command(name = "insights-cloudsim", version, max_term_width = 110, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log, as tracing's filter
    #[arg(long, global = true, env = "INSIGHTS_CLOUDSIM_LOG", default_value = "info,zookeeper_client=error")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the cloud's topology, then run its agents and their traffic until Ctrl-C
    Run(RunArgs),
    /// Write the cloud's topology and end: no agents, so no state
    Topology(CloudArgs),
    /// Send flow records to a recorder as fast as it takes them, and tell how fast that was
    Flood(FloodArgs),
    /// Print the incidents that a script can name
    Incidents,
    /// Print what gateways would read from the agents' meters over hours, without ZooKeeper and as fast as it can be told
    ///
    /// Lines of TAB-separated fields: `key`, number, name; `reading`, host id, begin and end in µs since the start, meters that the agent has;
    /// and below a reading, for each meter that moved, its key's number, packets and bytes.
    Meters(MetersArgs),
}

#[derive(Args, Debug)]
struct MetersArgs {
    /// Hours that are told
    #[arg(long, value_name = "N", default_value_t = 24.0)]
    hours: f64,
    /// Seconds between two readings of an agent
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    interval: u32,
    /// Flow records per second, the mean over a day
    #[arg(long, value_name = "N", default_value_t = 200.0)]
    rate: f64,
    #[command(flatten)]
    size: SizeArgs,
    /// The same seed and size give the same readings
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
struct FloodArgs {
    /// The recorder
    #[arg(value_name = "HOST:PORT")]
    target: String,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    duration: f64,
    /// End after so many records, all connections together
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Records per second, all connections together; without it, as many as go
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Send JSON instead of binary records
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    size: SizeArgs,
    /// The same seed and size give the same records
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
struct CloudArgs {
    /// ZooKeeper servers
    #[arg(long, value_name = "HOST:PORT,…", env = "MIDO_ZOOKEEPER_HOSTS", default_value = "127.0.0.1:2181")]
    zookeeper: String,
    /// The NSDB's root key
    #[arg(long, value_name = "PATH", env = "MIDO_ZOOKEEPER_ROOT_KEY", default_value = "/midonet", value_parser = Root::new)]
    root_key: Root,
    #[command(flatten)]
    size: SizeArgs,
    /// The same seed and size give the same cloud
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Delete the objects, state and tables that the NSDB holds first
    #[arg(long)]
    reset: bool,
    /// First address of the hosts, on the loopback: each has its own, on which its meters are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.64.0.0")]
    underlay: Ipv4Addr,
}

#[derive(Args, Debug)]
struct RunArgs {
    #[command(flatten)]
    cloud: CloudArgs,
    /// Flow records per second, the mean over a day
    #[arg(long, value_name = "N", default_value_t = 200.0)]
    rate: f64,
    /// Keep the rate the same all day
    #[arg(long)]
    flat: bool,
    /// Percent of the agents that send JSON instead of binary records
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    json: u8,
    /// Stop the traffic after so many flow records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Seconds before the first packet
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    quiet: f64,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// The service under which recorders are registered
    #[arg(long, value_name = "NAME", default_value = "insights")]
    endpoint_service: String,
    /// Simulation threads of each agent: a meter has a line for each
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: u8,
    /// Records that wait in each agent at most
    #[arg(long, value_name = "N", default_value_t = sender::QUEUE)]
    queue_size: usize,
    /// Seconds between two choices of an endpoint
    #[arg(long, value_name = "SECONDS", default_value_t = sender::CONNECTION_INTERVAL.as_secs_f64())]
    connection_interval: f64,
    /// Let nothing happen: no VM comes or goes, no host dies, no rule changes
    #[arg(long)]
    calm: bool,
    /// Seconds between two events of the cloud's life, on average
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, conflicts_with = "calm")]
    life_interval: f64,
    /// Play the incidents of this file: lines of seconds since the start, incident, and seconds that it lasts
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Port of the meters on each host's address; 0 takes free ones
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    stats_port: u16,
    /// Write the truth about the simulation to this file every second
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Serve the truth about the simulation over HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    ledger_listen: Option<String>,
    /// Write a line for each record before it is sent: host, cookie, class, source port, dropping rule, time, tenant; `lost` for one that was not
    #[arg(long, value_name = "FILE")]
    record_log: Option<PathBuf>,
}

pub(crate) fn main(cli: Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).context("read --log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run(args).await,
            Command::Topology(args) => topology(&args).await,
            Command::Flood(args) => flood(args).await,
            Command::Meters(args) => meters(&args),
            Command::Incidents => incidents(),
        }
    })
}

fn incidents() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut tell = || {
        Incident::ALL
            .iter()
            .try_for_each(|incident| writeln!(out, "{:<18} {}", incident.slug(), incident.about()))
    };
    tell().context("print the incidents")
}

async fn topology(args: &CloudArgs) -> anyhow::Result<()> {
    let traffic = Settings {
        rate: Rate { mean: 0.0, flat: true },
        json_percent: 0,
        seed: args.seed,
        limit: Some(0),
        quiet: Duration::ZERO,
    };
    let (_, nsdb) = write_topology(&options(args, traffic)).await?;
    nsdb.close().await;
    Ok(())
}

async fn flood(args: FloodArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.duration.is_finite() && args.duration > 0.0 && args.duration <= 1e6,
        "--duration is {}, above 0 is allowed",
        args.duration
    );
    let report = flood::run(flood::Options {
        target: args.target.clone(),
        connections: usize::from(args.connections),
        duration: Duration::from_secs_f64(args.duration),
        limit: args.limit,
        rate: args.rate,
        json: args.json,
        size: Size::from(&args.size),
        seed: args.seed,
    })
    .await
    .with_context(|| format!("connect to the recorder at {}", args.target))?;
    let seconds = report.elapsed.as_secs_f64();
    let (records, bytes) = (report.records as f64, report.bytes as f64);
    let line = format!(
        "{} records, {} bytes in {seconds:.2} s: {:.0} records/s, {:.1} MB/s, {:.0} bytes a record\n",
        report.records,
        report.bytes,
        records / seconds,
        bytes / seconds / 1e6,
        bytes / records.max(1.0)
    );
    std::io::stdout().write_all(line.as_bytes()).context("print the result")
}

fn meters(args: &MetersArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.hours > 0.0 && args.hours <= 24.0 * 366.0, "--hours is out of 0 to 8784");
    anyhow::ensure!(args.rate.is_finite() && args.rate >= 0.0, "--rate is no number from 0 on");
    let plan = Plan::build(Size::from(&args.size), args.seed, Ipv4Addr::new(127, 64, 0, 0));
    let view = View::compile(&plan.zoom, &plan.learned);
    let of = ReadingsOf {
        rate: Rate {
            mean: args.rate,
            flat: false,
        },
        seed: args.seed,
        seconds: (args.hours * 3600.0) as u32,
        interval: args.interval,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut keys: HashMap<MeterKey, usize> = HashMap::new();
    let mut outcome = Ok(());
    readings(&view, of, |reading| {
        if outcome.is_ok() {
            outcome = tell(&mut out, &mut keys, &reading);
        }
    });
    outcome.and_then(|()| out.flush()).context("print the readings")
}

/// The first reading of an agent says nothing, since what it counted before is not known.
fn tell(out: &mut impl std::io::Write, keys: &mut HashMap<MeterKey, usize>, reading: &Reading) -> std::io::Result<()> {
    let Some(since_us) = reading.since_us else { return Ok(()) };
    let moved = || reading.meters.iter().filter(|(_, counters)| counters.packets > 0 || counters.bytes > 0);
    for (key, _) in moved() {
        let next = keys.len();
        if let Entry::Vacant(new) = keys.entry(key.clone()) {
            new.insert(next);
            writeln!(out, "key\t{next}\t{key}")?;
        }
    }
    writeln!(out, "reading\t{}\t{since_us}\t{}\t{}", reading.host, reading.at_us, reading.meters.len())?;
    for (key, counters) in moved() {
        writeln!(out, "{}\t{}\t{}", keys[key], counters.packets, counters.bytes)?;
    }
    Ok(())
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.rate.is_finite() && args.rate >= 0.0,
        "--rate is {}, a number from 0 on is allowed",
        args.rate
    );
    anyhow::ensure!(
        args.connection_interval >= 0.0 && args.connection_interval <= 3600.0,
        "--connection-interval is out of 0 to 3600"
    );
    anyhow::ensure!(
        args.life_interval >= 0.1 && args.life_interval <= 86_400.0,
        "--life-interval is out of 0.1 to 86400"
    );
    anyhow::ensure!(args.queue_size > 0, "--queue-size is 0, at least 1 is needed");
    let rate = Rate {
        mean: args.rate,
        flat: args.flat,
    };
    let traffic = Settings {
        rate,
        json_percent: args.json,
        seed: args.cloud.seed,
        limit: args.limit,
        quiet: Duration::from_secs_f64(args.quiet),
    };
    let options = Options {
        stats_port: args.stats_port,
        service: args.endpoint_service,
        workers: usize::from(args.workers),
        ledger: args.ledger,
        ledger_listen: args.ledger_listen,
        record_log: args.record_log,
        queue: args.queue_size,
        connection_interval: Duration::from_secs_f64(args.connection_interval),
        life: (!args.calm).then(|| Duration::from_secs_f64(args.life_interval)),
        ..options(&args.cloud, traffic)
    };
    let script: Option<Script> = match &args.script {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            Some(text.parse().with_context(|| format!("read {}", file.display()))?)
        }
        None => None,
    };
    let simulation = Simulation::start(options).await?;
    let player = script.map(|script| tokio::spawn(script.play(Stage::new(simulation.life(args.cloud.seed), args.cloud.seed))));
    if let Some(address) = simulation.ledger_address {
        log::info!("the ledger is at http://{address}/");
    }
    log::info!("{} agents are running; Ctrl-C ends them", simulation.agents.len());
    let over = async {
        match args.duration {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => {}
        () = interrupted() => log::info!("ending the agents' sessions"),
    }
    if let Some(player) = player {
        player.abort();
    }
    let (sent, made) = simulation.ledger.totals();
    simulation.stop().await;
    log::info!("sent {sent} of {made} flow records");
    Ok(())
}

fn options(args: &CloudArgs, traffic: Settings) -> Options {
    Options {
        zookeeper: args.zookeeper.clone(),
        root: args.root_key.clone(),
        size: Size::from(&args.size),
        seed: args.seed,
        reset: args.reset,
        underlay: args.underlay,
        stats_port: 0,
        service: "insights".to_owned(),
        workers: 1,
        traffic,
        ledger: None,
        ledger_listen: None,
        record_log: None,
        queue: sender::QUEUE,
        connection_interval: sender::CONNECTION_INTERVAL,
        life: None,
    }
}

/// Ctrl-C, or the termination that a supervisor sends.
async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
