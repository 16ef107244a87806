// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use insights_store::{
    SiteId, Store, StoreError,
    catalog::{self, AlertQuery, Catalog},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    EVERY,
    machine::{MOST_OPEN, Machine, Others, RuleFacts},
    own::OwnRules,
    service::{self, GatewaysNow},
    topology,
};
use crate::{
    clock::now_us,
    ingest::Gateways,
    site::{Mark, Sites},
};

/// Sites that are looked at at once; each takes part of a processor at most.
const AT_ONCE: usize = 4;

/// A look at the topology of a large site may take that share of the time, no more: after one of 100 ms the next comes after two seconds.
const REST_FACTOR: u32 = 20;

/// Losses that are read at one look; more are read at the next.
const LOSSES: usize = 1_000;

/// How often the storage of a site is asked for.
const QUOTA_EVERY: Duration = Duration::from_secs(60);

/// How long after the start of the service gateways are given to come back before they count as away. They try again within a minute.
const GRACE: Duration = Duration::from_secs(90);

/// How often sites are looked at, for tests that have less patience.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    pub every: Duration,
    pub grace: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { every: EVERY, grace: GRACE }
    }
}

/// What the engine looks at.
#[derive(Clone)]
pub struct EngineParts {
    pub store: Store,
    pub sites: Sites,
    pub gateways: Gateways,
    /// End of the service's own certificate for gateways, µs since the epoch.
    pub certificate_until_us: Option<i64>,
}

/// The running task that looks at all sites.
pub struct Engine {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What is kept of a site between two looks.
#[derive(Default)]
struct Watched {
    /// `None` until what was open before is read.
    machine: Option<Machine>,
    losses_to: u64,
    topology: Arc<Vec<RuleFacts>>,
    mark: Option<Mark>,
    topology_next: Option<Instant>,
    quota: Option<(Instant, Option<RuleFacts>)>,
    own: OwnRules,
    failing: bool,
}

impl Engine {
    pub fn start(options: EngineOptions, parts: EngineParts) -> Self {
        let (stop, stopping) = watch::channel(false);
        let task = tokio::spawn(run(options, parts, stopping));
        Self { stop, task }
    }

    /// Ends between two looks.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A panic was logged by its hook.
        let _ = self.task.await;
    }
}

async fn run(options: EngineOptions, parts: EngineParts, mut stop: watch::Receiver<bool>) {
    let started = Instant::now();
    let mut watched: HashMap<SiteId, Watched> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(options.every) => {}
            _ = stop.changed() => return,
        }
        let sites = match parts.store.catalog().sites().await {
            Ok(sites) => sites,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "could not list sites to look for alerts");
                continue;
            }
        };
        watched.retain(|id, _| sites.iter().any(|site| site.id == *id));
        for site in &sites {
            watched.entry(site.id).or_default();
        }
        let starting = started.elapsed() < options.grace;
        let sites: HashMap<SiteId, catalog::Site> = sites.into_iter().map(|site| (site.id, site)).collect();
        stream::iter(watched.iter_mut())
            .for_each_concurrent(AT_ONCE, |(id, watched)| {
                let site = sites.get(id);
                let parts = &parts;
                async move {
                    let Some(site) = site else { return };
                    match look(parts, site, watched, starting).await {
                        Ok(()) => watched.failing = false,
                        Err(error) => {
                            if !std::mem::replace(&mut watched.failing, true) {
                                tracing::error!(error = &error as &dyn std::error::Error, site = %site.id, "could not look for alerts");
                            }
                        }
                    }
                }
            })
            .await;
    }
}

/// One look at a site. The machine of before stays when what came of it could not be written.
async fn look(parts: &EngineParts, site: &catalog::Site, watched: &mut Watched, starting: bool) -> Result<(), StoreError> {
    let catalog = parts.store.catalog();
    let known = catalog.gateways(site.id).await?;
    if known.is_empty() {
        // No gateway was ever here: there is nothing to look at.
        return Ok(());
    }
    let now_us = now_us();
    let mut machine = match &watched.machine {
        Some(machine) => machine.clone(),
        None => {
            let machine = restore(catalog, site.id, now_us).await?;
            watched.losses_to = catalog.losses_looked_at(site.id).await?;
            // What comes from now on is news, also after a restart.
            catalog.change_alerts(site.id, Vec::new(), Some(watched.losses_to), now_us).await?;
            machine
        }
    };
    let stored = catalog.alert_rules(site.id).await?;
    let gateways = GatewaysNow {
        keys: catalog.fingerprints(site.id).await?.into_iter().map(|key| key.fingerprint).collect(),
        live: parts.gateways.live_of(site.id),
        known,
        starting,
        now_us,
    };
    let losses = catalog.losses_behind(site.id, watched.losses_to, LOSSES).await?;
    let mut facts = topology_facts(parts, site.id, watched, gateways.blind()).await?;
    facts.extend(gateways.away());
    facts.extend(gateways.lagging());
    facts.extend(gateways.certificates(parts.certificate_until_us));
    facts.extend(service::losses(&losses, &gateways.known));
    facts.extend(quota_facts(parts, site, watched).await);
    facts.extend(watched.own.facts(parts, site, &stored, &gateways).await?);
    facts.retain(|facts| !stored.iter().any(|rule| !rule.enabled && rule.id == facts.rule));
    let changes = machine.step(now_us, &facts);
    let losses_to = losses.last().map(|(id, _)| *id);
    if !changes.is_empty() || losses_to.is_some() {
        catalog.change_alerts(site.id, changes, losses_to, now_us).await?;
    }
    watched.losses_to = losses_to.unwrap_or(watched.losses_to);
    watched.machine = Some(machine);
    Ok(())
}

async fn restore(catalog: &Catalog, site: SiteId, now_us: i64) -> Result<Machine, StoreError> {
    let query = AlertQuery {
        open: Some(true),
        rule: None,
        before: None,
        // Each rule may have one more that counts the rest.
        limit: MOST_OPEN + super::MOST_RULES,
    };
    Ok(Machine::restore(&catalog.alerts(site, query, now_us).await?))
}

/// Facts of the live model. It is loaded at the first look; later it is looked at when somebody else keeps it loaded, as whoever changes it does.
async fn topology_facts(parts: &EngineParts, site: SiteId, watched: &mut Watched, blind: Option<&str>) -> Result<Vec<RuleFacts>, StoreError> {
    if let Some(why) = blind {
        let unknown = |rule: &&str| {
            let facts = topology::rule_facts(rule, BTreeMap::new())?;
            Some(RuleFacts {
                others: Others::Unknown(why.to_owned()),
                ..facts
            })
        };
        return Ok(topology::RULES.iter().filter_map(unknown).collect());
    }
    let model = match watched.mark {
        None => Some(parts.sites.current(site).await?),
        Some(_) => parts.sites.loaded(site),
    };
    let changed = model.filter(|model| watched.mark.as_ref().is_none_or(|mark| !mark.is_of(model)));
    let rested = watched.topology_next.is_none_or(|next| Instant::now() >= next);
    if let Some(model) = changed.filter(|_| rested) {
        let begun = Instant::now();
        watched.mark = Some(model.mark());
        let facts = tokio::task::spawn_blocking(move || topology::facts(&model)).await;
        watched.topology = Arc::new(facts.map_err(|_| StoreError::Shut)?);
        watched.topology_next = Some(Instant::now() + begun.elapsed() * REST_FACTOR);
    }
    Ok(watched.topology.to_vec())
}

async fn quota_facts(parts: &EngineParts, site: &catalog::Site, watched: &mut Watched) -> Option<RuleFacts> {
    if let Some((at, facts)) = &watched.quota
        && at.elapsed() < QUOTA_EVERY
    {
        return facts.clone();
    }
    let used = parts.store.series().usage(site.id).await.ok().map(|usage| usage.total());
    let facts = service::quota(used, site.quota_bytes);
    watched.quota = Some((Instant::now(), facts.clone()));
    facts
}
