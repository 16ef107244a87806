// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::time::Duration;

use insights_protocol::event::Level;
use midonet::discovery::Instance;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{SERVICE, address};
use crate::{
    nsdb::{
        Place, View, chain, event, now_us,
        zk::{EventKind, Session, ZkError},
    },
    tap::Tap,
};

/// Session time-out: so long agents go on trying a gateway that died.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the first snapshot, which tells the agents' addresses and so the network to register on. The address of the way to ZooKeeper
/// serves when it takes longer.
const VIEW_PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(15);
/// Time for the entry to be taken away at the end.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// The entry of this endpoint in service discovery.
pub(super) struct Registration<'a> {
    tap: &'a Tap,
    place: &'a Place,
    view: &'a View,
    port: u16,
    id: String,
    /// Open while the entry is there.
    session: Option<Session>,
}

impl<'a> Registration<'a> {
    pub(super) fn new(tap: &'a Tap, place: &'a Place, view: &'a View, port: u16) -> Registration<'a> {
        Registration {
            tap,
            place,
            view,
            port,
            id: Uuid::new_v4().to_string(),
            session: None,
        }
    }

    /// Registers and keeps the entry: made again after a lost session or if somebody takes it away. Never ends.
    pub(super) async fn keep(&mut self) {
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            let began = Instant::now();
            let error = match self.register().await {
                Ok(text) => {
                    log::info!("{text}");
                    self.tap.pipe.event(event(Level::Info, "recorder.registered", text, &[]));
                    told = false;
                    match self.watch().await {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.session = None;
            if !std::mem::replace(&mut told, true) {
                let text = format!("recorder is not in service discovery: {}", chain(&error));
                log::warn!("{text}; trying again");
                self.tap.pipe.event(event(Level::Warning, "recorder.unregistered", text, &[]));
            }
            if began.elapsed() > LAST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(pause.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Takes the entry away and ends the session; bounded in time.
    pub(super) async fn end(mut self) {
        if let Some(mut session) = self.session.take() {
            let path = self.path();
            let ended = async move {
                if let Err(error) = session.delete(&path).await {
                    log::debug!("take the recorder out of service discovery: {}", chain(&error));
                }
                session.close(END_PATIENCE).await;
            };
            if timeout(END_PATIENCE, ended).await.is_err() {
                log::warn!("ZooKeeper did not answer; the recorder's entry goes with its session within {SESSION_TIMEOUT:?}");
            }
        }
    }

    async fn register(&mut self) -> Result<String, ZkError> {
        let mut session = Session::open(&self.place.endpoints, SESSION_TIMEOUT).await?;
        let address = self.address(&mut session).await?;
        let parent = self.parent();
        session.create_all(&parent).await?;
        let path = self.path();
        let instance = Instance::host_and_port(SERVICE, &self.id, &address, self.port, now_us() / 1_000);
        // An entry of the same id is our own of a session that was lost; it would go with it.
        while !session.create(&path, instance.to_json().as_bytes(), true).await? {
            session.delete(&path).await?;
        }
        session.watch(&path).await?;
        self.session = Some(session);
        Ok(format!("recorder is in service discovery as {SERVICE} at {address} port {}", self.port))
    }

    /// Returns when the entry is to be made again.
    async fn watch(&mut self) -> Result<(), ZkError> {
        let path = self.path();
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        loop {
            match session.event().await? {
                (EventKind::Deleted, _) => return Ok(()),
                _ => {
                    if session.watch(&path).await?.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The address to advertise: that of the configuration, or what this machine is reached by. The session is kept alive meanwhile.
    async fn address(&self, session: &mut Session) -> Result<String, ZkError> {
        if let Some(host) = &self.tap.config.recorder.host {
            return Ok(host.clone());
        }
        let towards_zookeeper = session.link().local.ip();
        let mut version = self.view.version();
        let patience = sleep(VIEW_PATIENCE);
        tokio::pin!(patience);
        while !self.view.is_whole() {
            tokio::select! {
                changed = version.changed() => if changed.is_err() { break },
                () = &mut patience => break,
                event = session.event() => drop(event?),
            }
        }
        let chosen = address::choose(self.tap.config.recorder.bind, towards_zookeeper, self.view, self.tap.config.host_id);
        Ok(chosen.to_string())
    }

    fn parent(&self) -> String {
        self.place.below_chroot(&format!("service-discovery/{SERVICE}"))
    }

    fn path(&self) -> String {
        format!("{}/{}", self.parent(), self.id)
    }
}
