// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Measures the whole way of flow records: agents' sockets → gateway in its JVM → QUIC → collector → durable.
//!
//! `cargo run --release -p insights-e2e --bin throughput -- --records 2000000`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use insights_e2e::cost::Cost;
use insights_e2e::manager::Browser;
use insights_e2e::process::run;
use insights_e2e::stack::{Account, Places, Served};

/// Longest wait for something that is sure to come.
const PATIENCE: Duration = Duration::from_secs(300);

/// A record that has not come after so long a standstill was given up on the way.
const STANDSTILL: Duration = Duration::from_secs(5);

/// How often the end is looked for, which bounds the error of the times.
const LOOK: Duration = Duration::from_millis(50);

/// Sends flow records of a simulated cloud through everything and tells what each part costs
#[derive(Debug, Parser)]
struct Options {
    /// Flow records
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Records a second, all connections together; without it, as many as the gateway takes
    #[arg(long)]
    rate: Option<f64>,
    /// Agents' connections
    #[arg(long, default_value_t = 8)]
    connections: u16,
    /// Records that go ahead and are not measured: dictionaries, caches and the JVM settle
    #[arg(long, default_value_t = 50_000)]
    warm_up: u64,
    /// Size of the cloud: small, medium or large
    #[arg(long, default_value = "small")]
    size: String,
    /// Let the simulated agents send, each record made anew and walked through the topology, instead of records that repeat a sample; needs
    /// --rate. The topology's own way is measured with it, and nothing goes ahead
    #[arg(long, requires = "rate")]
    agents: bool,
    /// Folder of the run, which is kept; a temporary one otherwise
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let scratch = tempfile::tempdir()?;
    let places = Places::new(options.dir.as_deref().unwrap_or(scratch.path()))?;
    let account = Account {
        email: "bench@example.org".into(),
        name: "Ada Bencher".into(),
        password: "correct horse battery".into(),
        site: "bench".into(),
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let recorder = format!("127.0.0.1:{port}");
    let (_zookeeper, hosts) = places.zookeeper("3.9", 0).await?;
    places.prepare(&account).await?;
    let anywhere = Served {
        ingest: "127.0.0.1:0".into(),
        web: "127.0.0.1:0".into(),
    };
    let (mut collector, served) = places.serve(&anywhere).await?;
    if !options.agents {
        let mut topology = places.program("insights-cloudsim");
        topology.args(["topology", "--zookeeper", &hosts, "--size", &options.size]);
        run(&mut topology).await?;
    }
    let setting = format!("insights_cloud.recorder.port : {port}");
    let mut cluster = places.cluster(&hosts, &served.ingest, &[&setting]).await?;
    let browser = Browser::new(&served.web);
    let pids = (
        cluster.id().context("the JVM has ended")?,
        collector.id().context("the collector has ended")?,
    );
    let mut warm = 0;
    if !options.agents {
        // It opens when there is a topology.
        wait("the gateway's recorder", || Ok(std::net::TcpStream::connect(&recorder).is_ok())).await?;
        wait("the topology", || {
            Ok(figure(&browser, "insights_records_stored_total", "topology")? > 100.0)
        })
        .await?;
        send(&places, &options, &hosts, &recorder, options.warm_up).await?;
        warm = settled(&browser, options.warm_up).await?.0;
    }
    let before = Seen::now(&browser, pids)?;
    let started = Instant::now();
    let sent = send(&places, &options, &hosts, &recorder, options.records).await?;
    let sending = started.elapsed();
    let (stored, until) = settled(&browser, warm + sent).await?;
    let after = Seen::now(&browser, pids)?;
    let stored = stored - warm;
    let took = until.duration_since(started).as_secs_f64();

    let (gateway, service) = (after.gateway.since(&before.gateway), after.collector.since(&before.collector));
    let flows = stored as f64;
    println!("load of the machine: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    println!(
        "sent {sent} records in {:.2} s, {stored} of them durable after {took:.2} s",
        sending.as_secs_f64()
    );
    println!("durable: {:.0} flows/s by the clock", flows / took);
    for (name, cost) in [("gateway", &gateway), ("collector", &service)] {
        println!(
            "{name}: {:.2} CPU s, {:.2} µs a flow, {:.0} flows/s a core, {} MiB resident; {}",
            cost.cpu,
            cost.cpu / flows * 1e6,
            flows / cost.cpu,
            cost.resident >> 20,
            cost.busiest(8)
        );
    }
    println!("both: {:.0} flows/s a core", flows / (gateway.cpu + service.cpu));
    println!(
        "wire: {:.1} bytes a flow in batches of {:.0}",
        (after.bytes - before.bytes) / flows,
        flows / (after.batches - before.batches).max(1.0)
    );
    let ack = after.acks.since(&before.acks);
    println!(
        "collector's acknowledgement of a batch, from its last byte: p50 ≤ {:.0} ms, p99 ≤ {:.0} ms",
        ack.quantile(0.5) * 1e3,
        ack.quantile(0.99) * 1e3
    );
    ensure!(cluster.stop(Duration::from_secs(30)).await?.code().is_some(), "the daemon was killed");
    ensure!(
        collector.stop(Duration::from_secs(60)).await?.success(),
        "the collector did not stop in order"
    );
    if options.dir.is_some() {
        println!("kept: {}", places.dir.display());
    }
    Ok(())
}

/// Sends records and returns how many went out.
async fn send(places: &Places, options: &Options, hosts: &str, recorder: &str, records: u64) -> Result<u64> {
    let limit = records.to_string();
    if options.agents {
        let rate = options.rate.context("--agents needs --rate")?;
        let seconds = (records as f64 / rate).ceil() as u64 + 10;
        let arguments = ["run", "--calm", "--flat", "--size", &options.size, "--zookeeper", hosts, "--json", "0"];
        let ledger = places.ledger();
        let mut command = places.program("insights-cloudsim");
        command
            .args(arguments)
            .args(["--limit", &limit, "--rate", &rate.to_string(), "--ledger"])
            .arg(&ledger);
        command.args(["--duration", &seconds.to_string(), "--queue-size", "8192", "--connection-interval", "0.2"]);
        run(&mut command).await?;
        let ledger: serde_json::Value = serde_json::from_slice(&std::fs::read(ledger)?)?;
        return ledger["records"]["sent"].as_u64().context("the ledger has no count of sent records");
    }
    let mut command = places.program("insights-cloudsim");
    command.args(["flood", recorder, "--duration", "600", "--limit", &limit, "--size", &options.size]);
    command.args(["--connections", &options.connections.to_string()]);
    if let Some(rate) = options.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let told = run(&mut command).await?;
    let first = told.split(' ').next().and_then(|word| word.parse().ok());
    first.with_context(|| format!("read {told:?}"))
}

/// Waits until so many flows are durable, or until no more come. Says how many there are and since when.
async fn settled(browser: &Browser, wanted: u64) -> Result<(u64, Instant)> {
    let mut last = (0, Instant::now());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = figure(browser, "insights_records_stored_total", "flows")? as u64;
        if stored != last.0 {
            last = (stored, Instant::now());
        }
        if stored >= wanted || (stored > 0 && last.1.elapsed() > STANDSTILL) {
            return Ok(last);
        }
        ensure!(Instant::now() < deadline, "{stored} of {wanted} records within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

async fn wait(what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !ready()? {
        ensure!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Both programs at one moment.
struct Seen {
    gateway: Cost,
    collector: Cost,
    bytes: f64,
    batches: f64,
    acks: Buckets,
}

impl Seen {
    fn now(browser: &Browser, (gateway, collector): (u32, u32)) -> Result<Seen> {
        Ok(Seen {
            gateway: Cost::of(gateway)?,
            collector: Cost::of(collector)?,
            bytes: figure(browser, "insights_batch_bytes_total", "flows")?,
            batches: figure(browser, "insights_batches_stored_total", "flows")?,
            acks: Buckets::of(&browser.get("/metrics")?.1),
        })
    }
}

fn figure(browser: &Browser, name: &str, kind: &str) -> Result<f64> {
    let (_, text) = browser.get("/metrics")?;
    let line = format!("{name}{{kind=\"{kind}\"}} ");
    let value = text.lines().find_map(|found| found.strip_prefix(&line));
    value
        .and_then(|value| value.parse().ok())
        .with_context(|| format!("/metrics has no {line}"))
}

/// A histogram of Prometheus: upper bounds in seconds with the counts up to them.
struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    fn of(metrics: &str) -> Buckets {
        let prefix = "insights_batch_ack_seconds_bucket{kind=\"flows\",le=\"";
        let parts = metrics.lines().filter_map(|line| line.strip_prefix(prefix)?.split_once("\"} "));
        Buckets(
            parts
                .filter_map(|(bound, count)| Some((bound.replace("+Inf", "inf").parse().ok()?, count.parse().ok()?)))
                .collect(),
        )
    }

    fn since(&self, before: &Buckets) -> Buckets {
        let pairs = self.0.iter().zip(&before.0);
        Buckets(pairs.map(|((bound, now), (_, then))| (*bound, now - then)).collect())
    }

    /// The bound of the bucket that the quantile lies in.
    fn quantile(&self, part: f64) -> f64 {
        let all = self.0.last().map_or(0.0, |(_, count)| *count);
        let found = self.0.iter().find(|(_, count)| *count >= all * part);
        found.map_or(f64::NAN, |(bound, _)| *bound)
    }
}
