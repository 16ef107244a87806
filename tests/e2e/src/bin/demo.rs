// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `make demo`: everything on one machine, until Ctrl-C.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use insights_e2e::manager::Browser;
use insights_e2e::process::Process;
use insights_e2e::stack::{Account, Places, Served};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a real ZooKeeper, a simulated cloud, a JVM with the plugin, and the collector, until Ctrl-C
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the run; a new one each time unless --keep is given
    #[arg(long, default_value = "run/demo", env = "DEMO_DIR")]
    dir: PathBuf,
    /// Go on with the data that the folder has
    #[arg(long)]
    keep: bool,
    /// Address of the manager; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", env = "DEMO_WEB")]
    web: String,
    /// Size of the cloud: small, medium or large
    #[arg(long, default_value = "small", env = "DEMO_SIZE")]
    size: String,
    /// Flow records a second
    #[arg(long, default_value = "200", env = "DEMO_RATE")]
    rate: String,
    /// End by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut parts = Vec::new();
    let started = tokio::select! {
        started = start(&options, &mut parts) => started,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let outcome = match started {
        Ok(()) => tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            () = after(options.duration) => Ok(()),
            failed = watch(&mut parts) => failed,
        },
        failed => failed,
    };
    eprintln!("\nstopping");
    while let Some(mut part) = parts.pop() {
        part.stop(Duration::from_secs(10)).await?;
    }
    outcome
}

async fn start(options: &Options, parts: &mut Vec<Process>) -> Result<()> {
    if options.dir.exists() && !options.keep {
        std::fs::remove_dir_all(&options.dir).with_context(|| format!("remove {}", options.dir.display()))?;
    }
    let places = Places::new(&options.dir)?;
    let account = account(&places)?;

    step("ZooKeeper");
    let (zookeeper, hosts) = places.zookeeper("3.4", 0).await?;
    parts.push(zookeeper);
    if !places.dir.join("collector").exists() {
        step("certificates, account, site and key");
        places.prepare(&account).await?;
    }
    step("collector");
    let at = Served {
        ingest: "127.0.0.1:0".into(),
        web: options.web.clone(),
    };
    let (collector, served) = places
        .serve(&at)
        .await
        .context("start the collector; is its port taken? choose another with --web or DEMO_WEB")?;
    parts.push(collector);
    step("simulated cloud");
    parts.push(places.cloud(&hosts, &["--size", &options.size, "--rate", &options.rate, "--seed", "7"])?);
    step("cluster JVM with the plugin");
    parts.push(places.cluster(&hosts, &served.ingest, &[]).await?);

    step("waiting for data on the dashboard");
    let browser = Browser::new(&served.web);
    for _ in 0..240 {
        if let Some(part) = parts
            .iter_mut()
            .find_map(|part| part.ended().ok().flatten().map(|status| (part.name, status, part.log.clone())))
        {
            bail!("{} ended with {}; see {}", part.0, part.1, part.2.display());
        }
        let (status, ready) = tokio::task::spawn_blocking({
            let browser = browser.clone();
            move || browser.get("/metrics").unwrap_or_default()
        })
        .await?;
        if status == 200 && has_data(&ready) {
            eprintln!("\n  manager      http://{}/", served.web);
            eprintln!("  account      {}", account.email);
            eprintln!("  password     {}", account.password);
            eprintln!("  cluster log  {}", places.cluster_log().display());
            eprintln!("  all of it    {}", places.dir.display());
            eprintln!("\nCtrl-C ends it.");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bail!("no data within two minutes; see the logs in {}", places.dir.display());
}

/// The collector has stored records of every kind.
fn has_data(metrics: &str) -> bool {
    ["topology", "meters", "flows"].iter().all(|kind| {
        metrics
            .lines()
            .any(|line| line.starts_with("insights_records_stored_total{") && line.contains(&format!("kind=\"{kind}\"")) && !line.ends_with(" 0"))
    })
}

/// The account of the folder, with a password made for it.
fn account(places: &Places) -> Result<Account> {
    let file = places.dir.join("account");
    let password = match std::fs::read_to_string(&file) {
        Ok(password) => password,
        Err(_) => {
            let made: String = (0..4).map(|_| format!("{:04x}", rand::random::<u16>())).collect::<Vec<_>>().join("-");
            std::fs::write(&file, &made)?;
            made
        }
    };
    Ok(Account {
        email: "demo@example.org".into(),
        name: "Ada Okafor".into(),
        password,
        site: "eu-west-lab".into(),
    })
}

/// Returns when a part ends by itself, which none should.
async fn watch(parts: &mut [Process]) -> Result<()> {
    loop {
        for part in parts.iter_mut() {
            if let Some(status) = part.ended()? {
                bail!("{} ended with {status}; see {}", part.name, part.log.display());
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn after(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

fn step(what: &str) {
    eprintln!("• {what}");
}
