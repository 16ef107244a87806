// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use insights_cloudsim::agent::Context as Cloud;
use insights_cloudsim::incident::Broken;
use insights_cloudsim::run::{Options, Simulation};
use insights_cloudsim::size::Size;
use insights_cloudsim::traffic::{Rate, Settings};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use super::receiver::now_us;
use super::{Alert, Receiver, Report, judge};
use crate::manager::Browser;
use crate::stack::{Account, Places, Served};

/// Longest wait for something that is sure to come: two busy cores are slow, and a notice that was refused five times in a row waits for minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Ports that break and are mended.
const PORTS: usize = 12;

/// Between two changes of some port, ms: each is broken or whole for a dozen seconds, which is longer than its rule waits.
const CHANGES_MS: std::ops::Range<u64> = 400..1_600;

/// From the collector's start to its end, ms: before it is up for its first look, in its looks, and between them.
const LIVES_MS: std::ops::Range<u64> = 200..14_000;

/// Runs the real programs, kills the collector so many times, and judges what the receiver was told.
pub async fn run(dir: &Path, seed: u64, kills: usize) -> Result<Report> {
    let account = Account {
        email: "told@example.org".into(),
        name: "Hedy Tester".into(),
        password: "correct horse battery".into(),
        site: "lab".into(),
    };
    let places = Places::new(dir)?;
    let (_zookeeper, hosts) = places.zookeeper("3.9", 0).await?;
    places.prepare(&account).await?;
    let anywhere = Served {
        ingest: "127.0.0.1:0".into(),
        web: "127.0.0.1:0".into(),
    };
    let allow = ["--webhook-allow", "127.0.0.1/32"];
    let (mut collector, at) = places.serve_with(&anywhere, &allow).await?;
    let _cluster = places.cluster(&hosts, &at.ingest, &[]).await?;
    let simulation = Simulation::start(cloud(&hosts)?).await?;
    let receiver = Receiver::start(seed).await?;
    let (browser, site) = Browser::at_home(&at.web, &account)?;
    let asked = Asked { browser, site };
    asked.add_receiver(&receiver)?;
    // What was told before there was anybody to tell it to is not promised.
    asked.quiet().await?;
    let before = asked.alerts()?.len();

    let mut rng = StdRng::seed_from_u64(seed);
    let trouble = Trouble::start(simulation.context.clone(), seed);
    let mut killed = Vec::new();
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(rng.random_range(LIVES_MS))).await;
        ensure!(
            collector.ended()?.is_none(),
            "the collector ended by itself; see {}",
            collector.log.display()
        );
        killed.push(now_us());
        collector.kill().await?;
        collector = places.serve_with(&at, &allow).await?.0;
    }
    trouble.mend().await;
    asked.quiet().await?;
    let deadline = Instant::now() + PATIENCE;
    let report = loop {
        let mut alerts = asked.alerts()?;
        alerts.sort_unstable_by_key(|alert| alert.id);
        alerts.drain(..before);
        if let Some(report) = judge(&alerts, &receiver.posts(), &killed)? {
            break report;
        }
        ensure!(Instant::now() < deadline, "notices are missing: {alerts:?}, {:?}", receiver.posts());
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    ensure!(report.alerts * 10 >= kills && report.alerts > 0, "hardly anything happened: {report:?}");
    simulation.stop().await;
    Ok(report)
}

/// A cloud without traffic: its ports are what this is about.
fn cloud(zookeeper: &str) -> Result<Options> {
    Ok(Options {
        zookeeper: zookeeper.to_owned(),
        root: midonet::nsdb::Root::new("/midonet").context("a root")?,
        size: Size::SMALL,
        seed: 7,
        reset: false,
        underlay: Ipv4Addr::new(127, 67, 0, 0),
        stats_port: 0,
        service: "insights".to_owned(),
        workers: 1,
        traffic: Settings {
            rate: Rate { mean: 0.0, flat: true },
            json_percent: 0,
            seed: 7,
            limit: Some(0),
            quiet: Duration::ZERO,
        },
        ledger: None,
        ledger_listen: None,
        record_log: None,
        queue: 64,
        connection_interval: Duration::from_secs(10),
        life: None,
    })
}

/// Ports that break and are mended until it is enough.
struct Trouble {
    cloud: Arc<Cloud>,
    task: JoinHandle<()>,
}

impl Trouble {
    fn start(cloud: Arc<Cloud>, seed: u64) -> Trouble {
        let (context, mut rng) = (cloud.clone(), StdRng::seed_from_u64(!seed));
        let task = tokio::spawn(async move {
            let ports: Vec<_> = {
                let view = context.view.read();
                view.vms.iter().take(PORTS).map(|index| view.port(*index).id).collect()
            };
            loop {
                tokio::time::sleep(Duration::from_millis(rng.random_range(CHANGES_MS))).await;
                let port = Broken::Port(ports[rng.random_range(0..ports.len())]);
                let mut broken = context.broken.write();
                if !broken.remove(&port) {
                    broken.insert(port);
                }
                drop(broken);
                context.changed.send_modify(|count| *count += 1);
            }
        });
        Trouble { cloud, task }
    }

    async fn mend(self) {
        self.task.abort();
        let _ = self.task.await;
        self.cloud.broken.write().clear();
        self.cloud.changed.send_modify(|count| *count += 1);
    }
}

struct Asked {
    browser: Browser,
    site: String,
}

impl Asked {
    fn add_receiver(&self, receiver: &Receiver) -> Result<()> {
        let page = format!("/s/{}/alerts?view=receivers", self.site);
        let (_, text) = self.browser.get(&page)?;
        let csrf = text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let url = format!("http://{}/hook", receiver.address);
        let form = [
            ("csrf", csrf.context("the page has no form")?),
            ("deed", "webhook"),
            ("name", "receiver"),
            ("url", &url),
            ("format", "json"),
            ("level", "warning"),
        ];
        let status = self.browser.post(&format!("/s/{}/alerts/receivers", self.site), &form)?;
        ensure!(status == 200, "add a receiver: status {status}");
        Ok(())
    }

    /// All that there ever were.
    fn alerts(&self) -> Result<Vec<Alert>> {
        let (mut alerts, mut before) = (Vec::new(), String::new());
        loop {
            let answer = self
                .browser
                .json(&format!("/api/v1/sites/{}/alerts?state=all&before={before}", self.site))?;
            for alert in answer["alerts"].as_array().context("a list of alerts")? {
                alerts.push(Alert {
                    id: alert["id"].as_u64().context("an alert has an id")?,
                    resolved: alert["state"] == "resolved",
                });
            }
            match answer["next"].as_str() {
                Some(next) => before = next.to_owned(),
                None => return Ok(alerts),
            }
        }
    }

    /// The cloud is whole, a gateway tells of it, and no alert is open.
    async fn quiet(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = self.browser.json(&format!("/api/v1/sites/{}/topology/counts", self.site))?["counts"].clone();
            let up = counts["ports_up"].as_u64().is_some_and(|up| up > 0) && counts["ports_up"] == counts["ports_bound"];
            if up && self.alerts()?.iter().all(|alert| alert.resolved) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the cloud does not become whole: {counts}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
