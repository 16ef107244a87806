// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The traffic meters of all agents that are alive, read over HTTP.
//!
//! Every agent is read once an interval, each at its own moment, never twice at the same time. What is sent on are differences between two
//! readings with the times of both, so that an agent that was silent for long gives one difference over all of that time. An agent that does
//! not answer is an event when that begins and when it ends. The last reading of each agent is kept on disk, so that the first difference
//! after a restart of the gateway covers the time in between.

mod delta;
mod http;
mod journal;

use std::{
    collections::{BTreeMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
    time::Duration,
};

use delta::Baseline;
use http::{Answer, HttpError};
use insights_protocol::{Kind, event::Level};
use journal::{Journal, JournalError};
use midonet::meters::parse_device_stats;
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    nsdb::{View, chain, event, now_us, view::Agent},
    recorder::local_addresses,
    tap::Tap,
};

/// How often the work is looked at; the shortest interval is one second.
const TICK: Duration = Duration::from_millis(200);
/// Requests at the same time, one an agent. 1,000 agents that take 50 ms each are done within a second.
const MAX_REQUESTS: usize = 64;
/// Addresses that are tried for an agent in one round.
const MAX_PROBES: usize = 8;
/// Failed rounds after which an agent counts as one that does not answer: its server takes one request at a time, others may be asking.
const FAILURES: u32 = 2;
/// Meters that are remembered of all agents, 48 bytes each.
const MAX_METERS: usize = 2_000_000;
/// After so long without being alive an agent is forgotten; its next reading is a first one.
const FORGET: Duration = Duration::from_secs(3_600);
const LOCAL_ADDRESSES_PAUSE: Duration = Duration::from_secs(60);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// Agents that are named in one line of the log.
const MAX_NAMED: usize = 10;

/// Runs until [`Tap::stop`] says so. While meters may not leave the site none are read.
pub async fn run(tap: Tap, view: View) {
    let mut collector = Collector::new(tap.clone(), view);
    collector.remember().await;
    collector.run().await;
    if let Some(journal) = collector.journal.take()
        && let Err(error) = journal.close()
    {
        log::warn!("The last meters were not kept: {}", chain(&error));
    }
}

struct Collector {
    tap: Tap,
    view: View,
    agents: BTreeMap<Uuid, State>,
    local: HashSet<IpAddr>,
    requests: JoinSet<(Uuid, Outcome)>,
    told_too_many: bool,
    /// `None` when nothing can be kept on disk: then a restart leaves a gap.
    journal: Option<Journal>,
    /// Readings of before the start, of agents that have not been seen since.
    before: BTreeMap<Uuid, Baseline>,
    /// Takeovers from other gateways that were seen.
    takeovers: u64,
}

/// Where an agent answered and what, or why it did not.
type Outcome = Result<(SocketAddr, Answer), String>;

/// What is known of an agent.
struct State {
    /// As it was when it was last alive.
    agent: Agent,
    alive: bool,
    seen: Instant,
    due: Instant,
    asked: bool,
    /// Where it answered last.
    address: Option<SocketAddr>,
    baseline: Baseline,
    failures: u32,
    answered: bool,
}

/// Agents whose meters began or ceased to answer.
#[derive(Default)]
struct News {
    lost: Vec<String>,
    back: Vec<String>,
}

impl Collector {
    fn new(tap: Tap, view: View) -> Collector {
        Collector {
            tap,
            view,
            agents: BTreeMap::new(),
            local: HashSet::new(),
            requests: JoinSet::new(),
            told_too_many: false,
            journal: None,
            before: BTreeMap::new(),
            takeovers: 0,
        }
    }

    /// Takes up what was read before the start.
    async fn remember(&mut self) {
        let spool = self.tap.config.spool.clone();
        let opened = tokio::task::spawn_blocking(move || Journal::open(&spool.path, spool.max_bytes, now_us())).await;
        match opened {
            Ok(Ok((journal, before))) => (self.journal, self.before) = (Some(journal), before),
            Ok(Err(error)) => keep_nothing(&error),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The base lines of all agents, those of before the start included.
    fn baselines<'a>(agents: &'a BTreeMap<Uuid, State>, before: &'a BTreeMap<Uuid, Baseline>) -> impl Iterator<Item = (Uuid, &'a Baseline)> {
        let now = agents.iter().map(|(host, state)| (*host, &state.baseline));
        now.chain(before.iter().map(|(host, baseline)| (*host, baseline)))
    }

    /// What was to be kept could not be: an older file would say what does not hold any more.
    fn kept(&mut self, outcome: Result<(), JournalError>) {
        if let Err(error) = outcome
            && let Some(journal) = self.journal.take()
        {
            keep_nothing(&error);
            journal.remove();
        }
    }

    async fn run(&mut self) {
        let settings = self.tap.pipe.settings();
        let mut version = self.view.version();
        version.mark_changed();
        let mut local_read: Option<Instant> = None;
        let began = Instant::now();
        while !self.tap.stop.is_stopped() {
            let now = Instant::now();
            if now > began + FORGET {
                self.before.clear();
            }
            if local_read.is_none_or(|read| now > read + LOCAL_ADDRESSES_PAUSE) {
                self.local = local_addresses();
                local_read = Some(now);
                version.mark_changed();
            }
            let (wanted, interval) = {
                let settings = settings.borrow();
                (settings.kinds.metering, settings.metering_interval.max(Duration::from_secs(1)))
            };
            if version.has_changed().unwrap_or(false) {
                version.mark_unchanged();
                self.take_agents(now, interval);
            }
            let (takeovers, waits) = {
                let gauges = self.tap.pipe.gauges();
                (gauges.takeovers.load(Ordering::Relaxed), gauges.waits.load(Ordering::Relaxed))
            };
            if std::mem::replace(&mut self.takeovers, takeovers) != takeovers {
                // Another gateway has sent what was counted since.
                self.forget_readings();
            }
            if wanted {
                self.ask(now, interval);
            } else if waits {
                self.pause();
            } else {
                self.forget_readings();
            }
            self.hear().await;
            let answered = self.agents.values().filter(|state| state.alive && state.answered).count();
            self.tap.pipe.gauges().meters_answered.store(answered as u32, Ordering::Relaxed);
        }
    }

    /// Asks nobody for now.
    fn pause(&mut self) {
        self.requests.abort_all();
        for state in self.agents.values_mut() {
            (state.asked, state.failures, state.answered) = (false, 0, false);
        }
    }

    /// What is read next is a first reading.
    fn forget_readings(&mut self) {
        self.pause();
        self.agents.values_mut().for_each(|state| state.baseline.clear());
        self.before.clear();
        let cleared = self.journal.as_mut().map_or(Ok(()), Journal::clear);
        self.kept(cleared);
    }

    /// Takes over which agents are alive.
    fn take_agents(&mut self, now: Instant, interval: Duration) {
        let agents = self.view.agents(self.tap.config.host_id, &self.local);
        self.tap.pipe.gauges().agents_alive.store(agents.len() as u32, Ordering::Relaxed);
        self.agents.values_mut().for_each(|state| state.alive = false);
        for agent in agents {
            let before = &mut self.before;
            let state = self.agents.entry(agent.host).or_insert_with(|| {
                // Each agent has its own moment, so that not all are asked at once.
                let mut state = State::new(agent.clone(), now, now + interval.mul_f64(rand::random()));
                state.baseline = before.remove(&agent.host).unwrap_or_default();
                state
            });
            (state.alive, state.seen, state.agent) = (true, now, agent);
        }
        self.agents.retain(|_, state| state.alive || state.asked || now < state.seen + FORGET);
    }

    /// Asks those that are due, the longest due first.
    fn ask(&mut self, now: Instant, interval: Duration) {
        let room = MAX_REQUESTS.saturating_sub(self.requests.len());
        let mut due: Vec<(Instant, Uuid)> = self
            .agents
            .iter()
            .filter(|(_, state)| state.alive && !state.asked && state.due <= now)
            .map(|(host, state)| (state.due, *host))
            .collect();
        due.sort_unstable();
        for (_, host) in due.into_iter().take(room) {
            let Some(state) = self.agents.get_mut(&host) else { continue };
            state.asked = true;
            // An interval may have become shorter or longer meanwhile.
            state.due = now + interval.mul_f64(0.95 + rand::random::<f64>() / 10.0);
            let (agent, address) = (state.agent.clone(), state.address);
            let (own, local) = (agent.host == self.tap.config.host_id, self.local.clone());
            self.requests.spawn(async move { (host, read(&agent, address, own, &local).await) });
        }
    }

    /// Takes the answers of about one tick.
    async fn hear(&mut self) {
        let tick = sleep(TICK);
        tokio::pin!(tick);
        let mut news = News::default();
        loop {
            let (host, answer) = tokio::select! {
                () = &mut tick => break,
                // Not amid an answer, so that what is kept and what is sent are the same.
                () = self.tap.stop.stopped() => break,
                Some(done) = self.requests.join_next() => match done {
                    Ok(done) => done,
                    // Cancelled because meters may not leave any more.
                    Err(_) => continue,
                },
            };
            match answer {
                Ok((address, answer)) => self.answered(host, address, answer, &mut news).await,
                Err(why) => self.failed(host, why, &mut news),
            }
        }
        news.tell();
    }

    async fn answered(&mut self, host: Uuid, address: SocketAddr, answer: Answer, news: &mut News) {
        let stats = parse_device_stats(&answer.body);
        if stats.meters.is_empty() && stats.invalid > 0 || stats.cut {
            self.tap.pipe.invalid(Kind::Meters, 1);
            // The sums of a part can't be compared with those of the whole.
            let what = if stats.cut { "is too long" } else { "holds no meters" };
            return self.failed(host, format!("{address}: its answer {what}"), news);
        }
        if stats.invalid > 0 {
            log::debug!("meters of {host}: {} lines are none", stats.invalid);
        }
        let remembered: usize = self.agents.values().map(|state| state.baseline.len()).sum();
        let Some(state) = self.agents.get_mut(&host) else { return };
        let was_silent = state.failures >= FAILURES;
        (state.asked, state.address, state.failures, state.answered) = (false, Some(address), 0, true);
        if was_silent {
            let text = format!("meters of {} answer again at {address}", name_of(&state.agent));
            self.tap.pipe.event(event(
                Level::Info,
                "meters.answering",
                text,
                &[("host", host.to_string()), ("address", address.to_string())],
            ));
            news.back.push(name_of(&state.agent));
        }
        if remembered - state.baseline.len() + stats.meters.len() > MAX_METERS {
            state.baseline.clear();
            let name = name_of(&state.agent);
            if !std::mem::replace(&mut self.told_too_many, true) {
                let text = format!("agents have more than {MAX_METERS} meters; those of some are not counted, such as {name}");
                log::error!("{text}");
                self.tap
                    .pipe
                    .event(event(Level::Error, "meters.too_many", text, &[("host", host.to_string())]));
            }
            if let Some(journal) = &mut self.journal {
                let forgotten = journal.forget(host).await;
                self.kept(forgotten);
            }
            return;
        }
        let (reading, changed) = state.baseline.advance(host, &stats, answer.at_us);
        if let (Some(journal), Some(state)) = (&mut self.journal, self.agents.get(&host)) {
            let all = || Collector::baselines(&self.agents, &self.before);
            let kept = journal.write(host, &state.baseline, changed, all).await;
            self.kept(kept);
        }
        self.tap.pipe.meters(reading).await;
    }

    fn failed(&mut self, host: Uuid, why: String, news: &mut News) {
        let Some(state) = self.agents.get_mut(&host) else { return };
        (state.asked, state.answered) = (false, false);
        state.failures = state.failures.saturating_add(1);
        // An agent that has just gone is the NSDB's news.
        if state.failures == FAILURES && state.alive {
            let name = name_of(&state.agent);
            let text = format!("meters of {name} can't be read: {why}");
            self.tap.pipe.event(event(
                Level::Warning,
                "meters.unreachable",
                text,
                &[("host", host.to_string()), ("reason", why.clone())],
            ));
            news.lost.push(format!("{name} ({why})"));
        }
    }
}

impl State {
    fn new(agent: Agent, seen: Instant, due: Instant) -> State {
        State {
            agent,
            alive: true,
            seen,
            due,
            asked: false,
            address: None,
            baseline: Baseline::default(),
            failures: 0,
            answered: false,
        }
    }
}

impl News {
    /// Logs one line for all that changed within a tick.
    fn tell(self) {
        if !self.lost.is_empty() {
            log::warn!("meters can't be read: {}", named(&self.lost));
        }
        if !self.back.is_empty() {
            log::info!("meters answer again: {}", named(&self.back));
        }
    }
}

fn keep_nothing(error: &JournalError) {
    log::warn!(
        "Meters are not kept on disk: {}; what agents count while the gateway restarts will show as a gap",
        chain(error)
    );
}

/// Reads an agent where it answered last, or else finds where it answers.
async fn read(agent: &Agent, known: Option<SocketAddr>, own: bool, local: &HashSet<IpAddr>) -> Outcome {
    let port = *agent
        .stats_port
        .as_ref()
        .map_err(|text| format!("its {} is {text:?}", midonet::config::STATS_PORT))?;
    let mut why = String::from("it has no address that can be its alone");
    let addresses = agent.addresses.iter().map(|address| SocketAddr::new(*address, port));
    let known = known.filter(|known| known.port() == port);
    let mut tried = HashSet::new();
    for address in known.into_iter().chain(addresses).take(MAX_PROBES) {
        if !tried.insert(address) {
            continue;
        }
        match http::get(address).await {
            Ok(answer) => return Ok((address, answer)),
            Err(error) => why = failure(address, &error),
        }
    }
    for address in resolve(&agent.name, port).await {
        // A name that leads to this machine is not another host's.
        let its_own = own || !(address.ip().is_loopback() || local.contains(&address.ip()));
        if its_own && tried.insert(address) {
            match http::get(address).await {
                Ok(answer) => return Ok((address, answer)),
                Err(error) => why = failure(address, &error),
            }
        }
    }
    Err(why)
}

/// The addresses of a host's name; none when it has none or finding them takes long.
async fn resolve(name: &str, port: u16) -> Vec<SocketAddr> {
    if name.is_empty() {
        return Vec::new();
    }
    match timeout(LOOKUP_TIMEOUT, lookup_host((name, port))).await {
        Ok(Ok(addresses)) => addresses.take(2).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn failure(address: SocketAddr, error: &HttpError) -> String {
    format!("{address}: {}", chain(error))
}

fn name_of(agent: &Agent) -> String {
    if agent.name.is_empty() {
        agent.host.to_string()
    } else {
        agent.name.clone()
    }
}

fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
