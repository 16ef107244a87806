// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, Instant},
};

use futures::FutureExt;
use insights_spool::Spool;
use parking_lot::Mutex;
use rand::Rng;
use tokio::{
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Config,
    clock::chain,
    config::ConfigError,
    leader, meters,
    nsdb::{self, View},
    pipe::{Pipe, PipeEnd, Settings, Switches},
    recorder, spooler, status,
    status::Shared,
    tap::{Stop, StopSender, Tap},
    uplink::Uplink,
};

/// Enough for network and batches; the host's processors are MidoNet's.
const WORKERS: usize = 2;
/// Threads for blocking calls: spool and name resolution, with room for resolvers that hang.
const BLOCKING_THREADS: usize = 32;
/// How often a spool that can't be opened is tried again.
const SPOOL_RETRY: Duration = Duration::from_secs(5);

/// Parts of the time that a stop may take: taps give back what others see of them, then what they took is written, then sent.
const STOP_TAPS: f64 = 0.3;
const STOP_SPOOL: f64 = 0.25;
const STOP_UPLINK: f64 = 0.3;
/// What may be sent at the end, when there is time for it.
const DRAIN: Duration = Duration::from_millis(600);

/// The running gateway. It owns its runtime; several may live in one process, one after the other or at once.
#[derive(Debug)]
pub struct Gateway {
    shared: Shared,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    runtime: Runtime,
    /// Takes the time that the end may take.
    stop: watch::Sender<Option<Duration>>,
    /// Hears when all has ended.
    ended: std_mpsc::Receiver<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
}

impl Gateway {
    /// Reads the configuration ([`Config::from_json`]) and spawns all work. Returns in milliseconds: disk, network and ZooKeeper are
    /// touched by the tasks, which log what they meet.
    pub fn start(config_json: &str) -> Result<Gateway, StartError> {
        let config = Arc::new(Config::from_json(config_json)?);
        log::set_max_level(config.log_level);
        for key in &config.unknown {
            log::warn!("The key insights_cloud.{key} means nothing to this version and is passed over");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("insights")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let (pipe, end) = Pipe::new(Settings {
            kinds: config.data,
            metering_interval: config.metering_interval,
        });
        let shared = Shared::new(config.clone(), pipe.clone());
        let (stop, stopping) = watch::channel(None);
        let (end_sender, ended) = std_mpsc::channel();
        let supervisor = supervise(config, pipe, end, shared.clone(), stopping);
        let failures = shared.clone();
        runtime.spawn(async move {
            guard("supervisor", &failures, supervisor).await;
            // Nobody may be waiting.
            let _ = end_sender.send(());
        });
        Ok(Gateway {
            shared,
            running: Mutex::new(Some(Running { runtime, stop, ended })),
        })
    }

    /// Ends everything and returns when it has ended, or at the deadline whatever happens. Calling it again does nothing.
    ///
    /// In this order: discovery entry and agents' connections, what is in memory to the spool, what can be sent to the service. Not to be
    /// called on one of the gateway's own threads.
    pub fn stop(&self, deadline: Duration) {
        let Some(Running { runtime, stop, ended }) = self.running.lock().take() else {
            return;
        };
        let until = Instant::now() + deadline;
        let left = || until.saturating_duration_since(Instant::now());
        // The parts' shares leave the rest for the runtime's own end.
        stop.send_replace(Some(deadline));
        if ended.recv_timeout(left()).is_err() {
            log::warn!("The gateway did not end in time; what is in its spool is sent after the next start");
        }
        runtime.shutdown_timeout(left());
    }

    /// How it is, as JSON text: [`status::Status`].
    pub fn statistics(&self) -> String {
        self.shared.json()
    }
}

impl Drop for Gateway {
    /// Without [`Gateway::stop`] nothing is waited for: what is in memory is lost, the spool is not.
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().take() {
            running.runtime.shutdown_background();
        }
    }
}

/// Starts the parts, and ends them in their order.
async fn supervise(config: Arc<Config>, pipe: Pipe, end: PipeEnd, shared: Shared, mut stopping: watch::Receiver<Option<Duration>>) {
    let (stop_taps, taps_stop) = Stop::channel();
    let (stop_spool, spool_stop) = Stop::channel();
    let (stop_uplink, uplink_stop) = Stop::channel();
    let (stop_status, status_stop) = Stop::channel();

    let tap = Tap {
        config: config.clone(),
        pipe: pipe.clone(),
        stop: taps_stop,
    };
    let view = View::default();
    let switches = Switches::new(pipe.clone(), &end);
    let connection = shared.clone();
    let reaches = move || connection.is_connected();
    let taps = [
        part("nsdb", &shared, nsdb::run(tap.clone(), view.clone())),
        part("recorder", &shared, recorder::run(tap.clone(), view.clone())),
        part("meters", &shared, meters::run(tap.clone(), view)),
        part(
            "leader",
            &shared,
            leader::run(tap, switches.clone(), reaches, leader::Patience::default()),
        ),
    ];
    let socket = config.status_socket.clone().map(|path| {
        let shared = shared.clone();
        part("status", &shared.clone(), async move { status::serve(&path, shared, status_stop).await })
    });
    let store = Store {
        config,
        pipe,
        switches,
        shared: shared.clone(),
        spool_stop,
        uplink_stop,
    };
    let (spooler, uplink) = store.start(end);

    // An error means that the gateway was dropped.
    let time = match stopping.wait_for(Option::is_some).await {
        Ok(time) => (*time).unwrap_or_default(),
        Err(_) => return,
    };
    stop_taps.stop();
    finish(taps, time.mul_f64(STOP_TAPS)).await;
    stop_spool.stop();
    finish([spooler], time.mul_f64(STOP_SPOOL)).await;
    stop_uplink.stop();
    finish([uplink], time.mul_f64(STOP_UPLINK)).await;
    stop_status.stop();
    finish(socket, Duration::from_millis(50)).await;
    drop((stop_taps, stop_spool, stop_uplink, stop_status) as (StopSender, StopSender, StopSender, StopSender));
}

/// The disk and what hangs on it.
struct Store {
    config: Arc<Config>,
    pipe: Pipe,
    switches: Switches,
    shared: Shared,
    spool_stop: Stop,
    uplink_stop: Stop,
}

impl Store {
    /// Starts spooler and uplink, which begin once the spool is open. Until then the pipe's queues fill, and then drop or wait.
    fn start(self, end: PipeEnd) -> (JoinHandle<()>, JoinHandle<()>) {
        let Store {
            config,
            pipe,
            switches,
            shared,
            spool_stop,
            uplink_stop,
        } = self;
        let (opened, open) = watch::channel(None::<Arc<Spool>>);
        let (stored, stored_seen) = watch::channel(spooler::Stored::default());
        let resend = end.resend.clone();
        let spooler = {
            let (config, pipe, shared_in) = (config.clone(), pipe.clone(), shared.clone());
            part("spooler", &shared, async move {
                let Some(spool) = open_spool(&config, &pipe, &spool_stop).await else {
                    return;
                };
                let spool = Arc::new(spool);
                stored.send_replace(std::array::from_fn(|lane| spool.lane(lane).next));
                shared_in.set_spool(spool.clone());
                opened.send_replace(Some(spool.clone()));
                spooler::run(end, pipe, spool, stored, spool_stop).await;
            })
        };
        let shared_in = shared.clone();
        let uplink = part("uplink", &shared, async move {
            let mut open = open;
            let spool = tokio::select! {
                spool = open.wait_for(Option::is_some) => spool.ok().and_then(|spool| spool.clone()),
                () = uplink_stop.stopped() => None,
            };
            if let Some(spool) = spool {
                let uplink = Uplink {
                    config,
                    pipe,
                    spool,
                    stored: stored_seen,
                    switches,
                    resend,
                    shared: shared_in,
                    drain: DRAIN,
                    stop: uplink_stop,
                };
                uplink.run().await;
            }
        });
        (spooler, uplink)
    }
}

/// Opens the spool, trying until it works or the gateway stops. What the operator no longer lets leave is discarded.
async fn open_spool(config: &Config, pipe: &Pipe, stop: &Stop) -> Option<Spool> {
    let mut told = None;
    loop {
        let (options, epoch) = (spooler::options(&config.spool), rand::rng().random());
        let opened = tokio::task::spawn_blocking(move || Spool::open(options, epoch)).await;
        let error = match opened {
            Ok(Ok(spool)) => {
                discard_withheld(config, pipe, &spool);
                if told.is_some() {
                    log::info!("The spool {} is open now", config.spool.path.display());
                }
                return Some(spool);
            }
            Ok(Err(error)) => chain(&error),
            Err(error) => format!("opening it ended with {error}"),
        };
        if told.as_ref() != Some(&error) {
            log::error!(
                "The spool {} can't be opened: {error}; nothing is collected until it can",
                config.spool.path.display()
            );
            told = Some(error);
        }
        tokio::select! {
            () = sleep(SPOOL_RETRY) => {}
            () = stop.stopped() => return None,
        }
    }
}

/// Data of a kind that the site's configuration withholds now does not leave, also where it was spooled before.
fn discard_withheld(config: &Config, pipe: &Pipe, spool: &Spool) {
    for kind in insights_protocol::Kind::ALL {
        let lane = spool.lane(spooler::lane(kind));
        if crate::session::leaves(config.data, kind) || lane.first == lane.next {
            continue;
        }
        match spool.ack(spooler::lane(kind), lane.next - 1) {
            Ok(records) => {
                pipe.count(kind, crate::pipe::Count::Evicted, records);
                log::info!("{records} records of kind {kind} were discarded: the configuration no longer lets them leave");
            }
            Err(error) => log::error!("Records of kind {kind} can't be discarded: {}", chain(&error)),
        }
    }
}

/// Spawns a part of the gateway. Its panic is logged and marks the gateway as failed; the other parts go on.
fn part(name: &'static str, shared: &Shared, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let shared = shared.clone();
    tokio::spawn(async move { guard(name, &shared, work).await })
}

async fn guard(name: &'static str, shared: &Shared, work: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "a panic without a message".into());
        log::error!("The {name} of the gateway failed and stays down until the next start: {text}");
        shared.failed(format!("{name}: {text}"));
    }
}

/// Waits for parts to end, all together for so long; those that don't are ended.
async fn finish(parts: impl IntoIterator<Item = JoinHandle<()>>, time: Duration) {
    let until = tokio::time::Instant::now() + time;
    for mut part in parts {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if timeout(left, &mut part).await.is_err() {
            part.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_part_is_told_and_ends_nothing_else() {
        let config = r#"{"host_id": "c0ffee00-0000-4000-8000-000000000001"}"#;
        let config = Arc::new(Config::from_json(config).unwrap());
        let (pipe, _end) = Pipe::new(Settings {
            kinds: config.data,
            metering_interval: config.metering_interval,
        });
        let shared = Shared::new(config, pipe);
        let broken = part("broken", &shared, async { panic!("it was {}", 42) });
        let good = part("good", &shared, async { tokio::task::yield_now().await });
        broken.await.unwrap();
        good.await.unwrap();
        let status = shared.status();
        assert_eq!((status.state.as_str(), status.failures), ("failed", vec!["broken: it was 42".to_owned()]));
    }
}
