// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! An agent's ZooKeeper session: its ephemeral nodes, and its look at service discovery.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use midonet::discovery::Instance;
use tokio::sync::watch;
use zookeeper_client as zookeeper;
use zookeeper_client::{Acls, Client, CreateMode};

use super::{
    Context,
    sender::Endpoint,
    state::{self, Kept},
};
use crate::{clock, plan::HostPlan};

/// Asked of the server, as Curator does by default in an agent; the server caps it at 20 ticks.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// Between attempts to have a session.
const RETRY: Duration = Duration::from_secs(1);
/// A server that is away does not hold up the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Nodes written at once.
const IN_FLIGHT: usize = 64;

/// How the session is to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    No,
    Orderly,
    /// Without closing: its nodes stay until the server gives it up.
    Crash,
}

/// Keeps the host's state in ZooKeeper and its recorders known, session after session, until it is told to stop.
pub(super) async fn run(context: Arc<Context>, host: HostPlan, endpoints: watch::Sender<Vec<Endpoint>>, mut stop: watch::Receiver<Stop>) {
    loop {
        let connector = || {
            let connector = Client::connector()
                .with_server_version(3, 4, 8)
                .with_session_timeout(SESSION_TIMEOUT)
                .with_detached();
            connector.connect(&context.zookeeper)
        };
        let client = tokio::select! {
            client = connector() => client,
            _ = stop.changed() => return,
        };
        match client {
            Ok(client) => {
                let ended = live(&context, &host, &client, &endpoints, &mut stop).await;
                match ended {
                    Ok(Stop::Crash) => return,
                    Ok(_) => return close(&context, client).await,
                    Err(error) => log::debug!("agent {}: session ended: {error}", host.name),
                }
            }
            Err(error) => log::debug!("agent {}: no ZooKeeper session: {error}", host.name),
        }
        // While there is no session, discovery's last answer stays, as in MidoNet's cache.
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            _ = stop.changed() => return,
        }
    }
}

/// Keeps the state that the cluster's nodes write, for as long as the simulation lasts.
pub async fn cluster(context: Arc<Context>, vtep: uuid::Uuid, zone: Option<(uuid::Uuid, uuid::Uuid, std::net::Ipv4Addr)>) {
    loop {
        let connector = Client::connector().with_server_version(3, 4, 8).with_session_timeout(SESSION_TIMEOUT);
        if let Ok(client) = connector.connect(&context.zookeeper).await {
            let (mut states, mut changed) = (client.state_watcher(), context.changed.subscribe());
            let mut written = Written::default();
            loop {
                let nodes = state::of_cluster(&context.root, vtep, zone, &context.broken.read());
                if let Err(error) = written.replace(&client, nodes.into_iter().collect()).await {
                    log::debug!("cluster: {error}");
                    break;
                }
                tokio::select! {
                    state = states.changed() => if state.is_terminated() { break },
                    _ = changed.changed() => {}
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn live(
    context: &Context,
    host: &HostPlan,
    client: &Client,
    endpoints: &watch::Sender<Vec<Endpoint>>,
    stop: &mut watch::Receiver<Stop>,
) -> Result<Stop, zookeeper::Error> {
    let started_ms = clock::now_us() / 1000;
    let mut changed = context.changed.subscribe();
    let mut written = Written::default();
    written.refresh(context, host, client, started_ms).await?;
    let discovery = discover(context, client, endpoints);
    tokio::pin!(discovery);
    loop {
        tokio::select! {
            ended = &mut discovery => return Err(ended),
            _ = changed.changed() => written.refresh(context, host, client, started_ms).await?,
            _ = stop.changed() => return Ok(*stop.borrow()),
        }
    }
}

/// The nodes of this session.
#[derive(Default)]
struct Written {
    kept: BTreeSet<Kept>,
    /// Paths of sequential nodes as ZooKeeper named them, by what was asked for.
    named: std::collections::HashMap<String, String>,
    folders: HashSet<String>,
}

impl Written {
    /// Brings the session's nodes to what the topology says now.
    async fn refresh(&mut self, context: &Context, host: &HostPlan, client: &Client, started_ms: i64) -> Result<(), zookeeper::Error> {
        let view = context.view.read().clone();
        let learned = context.learned.read().clone();
        let broken = context.broken.read().clone();
        let wanted: BTreeSet<Kept> = state::of_host(&context.root, host, &view, &learned, context.external_network, &broken, started_ms)
            .into_iter()
            .collect();
        self.replace(client, wanted).await
    }

    async fn replace(&mut self, client: &Client, wanted: BTreeSet<Kept>) -> Result<(), zookeeper::Error> {
        let gone: Vec<Kept> = self.kept.difference(&wanted).cloned().collect();
        let new: Vec<Kept> = wanted.difference(&self.kept).cloned().collect();
        for node in gone {
            let path = if node.sequential {
                self.named.remove(&node.path).unwrap_or_default()
            } else {
                node.path.clone()
            };
            // A node whose data changed is written again below.
            if !new.iter().any(|other| other.path == node.path) {
                match client.delete(&path, None).await {
                    Ok(()) | Err(zookeeper::Error::NoNode | zookeeper::Error::BadArguments(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            self.kept.remove(&node);
        }
        self.make_folders(client, &new).await?;
        for chunk in new.chunks(IN_FLIGHT) {
            let made = futures::future::join_all(chunk.iter().map(|node| put(client, node))).await;
            for (node, made) in chunk.iter().zip(made) {
                match made {
                    Ok(Some(path)) => drop(self.named.insert(node.path.clone(), path)),
                    Ok(None) => {}
                    // The object went while the state was written; its tables went with it.
                    Err(zookeeper::Error::NoNode) => continue,
                    Err(error) => return Err(error),
                }
                self.kept.insert(node.clone());
            }
        }
        Ok(())
    }

    /// State has folders by object and key, made by whoever comes first; tables have theirs with their object.
    async fn make_folders(&mut self, client: &Client, nodes: &[Kept]) -> Result<(), zookeeper::Error> {
        let mut wanted: Vec<String> = Vec::new();
        for node in nodes {
            let parent = node.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let grand = parent.rsplit_once('/').map_or("", |(parent, _)| parent);
            if node.path.contains("/state/") || parent.ends_with("mac_table/0") {
                // Only learned routes lie two folders below their class.
                let above = if parent.ends_with("/routes") { Some(grand) } else { None };
                for folder in above.into_iter().chain([parent]) {
                    if self.folders.insert(folder.to_owned()) {
                        wanted.push(folder.to_owned());
                    }
                }
            }
        }
        for folder in &wanted {
            match client.create(folder, &[], &CreateMode::Persistent.with_acls(Acls::anyone_all())).await {
                Ok(_) | Err(zookeeper::Error::NodeExists | zookeeper::Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes a node of the session's own; one of an earlier session of the host is taken over by deleting it first, as last-write-wins keys are.
async fn put(client: &Client, node: &Kept) -> Result<Option<String>, zookeeper::Error> {
    if node.sequential {
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let (_, sequence) = client.create(&node.path, &node.data, &options).await?;
        return Ok(Some(format!("{}{sequence}", node.path)));
    }
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    for _ in 0..3 {
        match client.create(&node.path, &node.data, &options).await {
            Ok(_) => return Ok(None),
            Err(zookeeper::Error::NodeExists) => match client.check_stat(&node.path).await? {
                Some(stat) if stat.ephemeral_owner == client.session_id().0 => {
                    client.set_data(&node.path, &node.data, None).await?;
                    return Ok(None);
                }
                Some(_) => match client.delete(&node.path, None).await {
                    Ok(()) | Err(zookeeper::Error::NoNode) => {}
                    Err(error) => return Err(error),
                },
                None => {}
            },
            Err(error) => return Err(error),
        }
    }
    Err(zookeeper::Error::NodeExists)
}

/// Follows the instances of the recorder's service. Ends only with an error of the session.
async fn discover(context: &Context, client: &Client, endpoints: &watch::Sender<Vec<Endpoint>>) -> zookeeper::Error {
    let path = context.root.service(&context.service);
    loop {
        if let Err(error) = look(client, &path, endpoints).await {
            return error;
        }
    }
}

async fn look(client: &Client, path: &str, endpoints: &watch::Sender<Vec<Endpoint>>) -> Result<(), zookeeper::Error> {
    let (names, watcher) = match client.list_and_watch_children(path).await {
        Ok(listed) => listed,
        Err(zookeeper::Error::NoNode) => {
            endpoints.send_if_modified(|known| !std::mem::take(known).is_empty());
            let (stat, watcher) = client.check_and_watch_stat(path).await?;
            if stat.is_none() {
                watcher.changed().await;
            } else {
                // A watcher that is dropped is taken back by a request at which servers before 3.5 close the connection.
                std::mem::forget(watcher);
            }
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        match client.get_data(&format!("{path}/{name}")).await {
            // What can't be read, or has no address and port, is passed over.
            Ok((data, _)) => {
                if let Ok(instance) = Instance::parse(&data)
                    && let Some((address, port)) = instance.endpoint()
                {
                    found.push((address.to_owned(), port));
                }
            }
            Err(zookeeper::Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    endpoints.send_if_modified(|known| {
        let differs = *known != found;
        *known = found;
        differs
    });
    watcher.changed().await;
    match client.state() {
        state if state.is_terminated() => Err(zookeeper::Error::SessionExpired),
        _ => Ok(()),
    }
}

/// Ends the session at the server. The client that wrote is detached from it, since a crash must not close it; so another takes it over and is
/// dropped.
async fn close(context: &Context, client: Client) {
    let session = client.into_session();
    let connector = Client::connector()
        .with_server_version(3, 4, 8)
        .with_session(session)
        .with_session_timeout(SESSION_TIMEOUT);
    if let Ok(Ok(client)) = tokio::time::timeout(CLOSE_TIMEOUT, connector.connect(&context.zookeeper)).await {
        let mut states = client.state_watcher();
        drop(client);
        let ended = async { while !states.changed().await.is_terminated() {} };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, ended).await;
    }
}
