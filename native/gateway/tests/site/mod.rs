// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the tests of the taps have in common: a real ZooKeeper, a reader of the pipe, a tap's surroundings.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use insights_gateway::{
    Config,
    pipe::{Pipe, PipeEnd, Settings},
    tap::{Stop, StopSender, Tap},
};
use insights_protocol::{Kinds, event::Event, topology::Change};
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode};

/// How long anything may take before a test fails. The machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn golden(path: &str) -> Vec<u8> {
    let path = repository().join("tests/fixtures/golden").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// A server of the runner in `tests/daemon`.
pub struct ZooKeeper {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub port: u16,
    version: &'static str,
    tick_ms: u32,
    data: Arc<tempfile::TempDir>,
}

impl ZooKeeper {
    pub fn start(version: &'static str, tick_ms: u32) -> ZooKeeper {
        ZooKeeper::start_on(version, tick_ms, 0, Arc::new(tempfile::tempdir().unwrap()))
    }

    fn start_on(version: &'static str, tick_ms: u32, port: u16, data: Arc<tempfile::TempDir>) -> ZooKeeper {
        let mut process = Command::new(repository().join("tests/daemon/bin/zookeeper"))
            .args([version, "--port", &port.to_string(), "--tick", &tick_ms.to_string(), "--data"])
            .arg(data.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the ZooKeeper runner needs Java and Maven");
        let stdin = process.stdin.take().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ready ") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "ZooKeeper {version} did not start");
        }
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        ZooKeeper {
            process,
            stdin,
            stdout,
            port,
            version,
            tick_ms,
            data,
        }
    }

    pub fn hosts(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it as a crash would and starts it again with the same tree and port.
    pub fn crash_and_restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        *self = ZooKeeper::start_on(self.version, self.tick_ms, self.port, self.data.clone());
    }

    /// Kills it for the time that the work takes.
    pub async fn without<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let done = work.await;
        *self = ZooKeeper::start_on(self.version, self.tick_ms, self.port, self.data.clone());
        done
    }

    /// Kills it and puts another, empty server in its place.
    pub fn replace(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        *self = ZooKeeper::start_on(self.version, self.tick_ms, self.port, Arc::new(tempfile::tempdir().unwrap()));
    }

    /// The sessions that are open, in hex.
    pub fn sessions(&mut self) -> BTreeSet<String> {
        let line = self.ask("sessions");
        line.split_whitespace().skip(1).map(str::to_owned).collect()
    }

    /// Ends a session as its time-out would.
    pub fn expire(&mut self, session: &str) {
        let line = self.ask(&format!("expire {session}"));
        assert!(line.starts_with("expired"), "{line}");
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.stdin, "{command}").unwrap();
        self.stdin.flush().unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// A client of another make than ours, so that one does not hide the other's faults.
    pub async fn client(&self) -> Client {
        client(&self.hosts()).await
    }
}

pub async fn client(hosts: &str) -> Client {
    let until = Instant::now() + PATIENCE;
    loop {
        let connector = Client::connector()
            .with_server_version(3, 4, 8)
            .with_session_timeout(Duration::from_secs(30));
        match connector.connect(hosts).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < until, "connect to ZooKeeper: {error}"),
        }
    }
}

/// Three servers, each a process.
pub struct Ensemble {
    members: Vec<(u16, Option<Child>)>,
    _data: tempfile::TempDir,
}

impl Ensemble {
    pub fn start(version: &str) -> Ensemble {
        let data = tempfile::tempdir().unwrap();
        // Nine ports that were free a moment ago.
        let listeners: Vec<_> = (0..9).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(listeners);
        let list = (0..3)
            .map(|member| format!("{}:{}", ports[3 + member], ports[6 + member]))
            .collect::<Vec<_>>()
            .join(",");
        let processes: Vec<Child> = (0..3)
            .map(|member| {
                Command::new(repository().join("tests/daemon/bin/zookeeper"))
                    .args([
                        version,
                        "--port",
                        &ports[member].to_string(),
                        "--ensemble",
                        &list,
                        "--member",
                        &(member + 1).to_string(),
                        "--data",
                    ])
                    .arg(data.path().join(member.to_string()))
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut members = Vec::new();
        for (mut process, port) in processes.into_iter().zip(ports) {
            let mut line = String::new();
            let mut stdout = BufReader::new(process.stdout.take().unwrap());
            assert!(stdout.read_line(&mut line).unwrap() > 0 && line.starts_with("ready"), "{line}");
            members.push((port, Some(process)));
        }
        Ensemble { members, _data: data }
    }

    /// A connect string of all members.
    pub fn hosts(&self) -> String {
        self.members
            .iter()
            .map(|(port, _)| format!("127.0.0.1:{port}"))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Kills the member that serves this address.
    pub fn kill(&mut self, server: &str) {
        let member = self.members.iter_mut().find(|(port, _)| server.ends_with(&format!(":{port}"))).unwrap();
        let mut process = member.1.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|(_, process)| process.as_mut()) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Creates a node and its parents.
pub async fn put(client: &Client, path: &str, data: &[u8], ephemeral: bool) {
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    if let Some((parent, _)) = path.rsplit_once('/')
        && !parent.is_empty()
    {
        client.mkdir(parent, &persistent).await.unwrap();
    }
    let options = if ephemeral {
        CreateMode::Ephemeral.with_acls(Acls::anyone_all())
    } else {
        persistent
    };
    match client.create(path, data, &options).await {
        Ok(_) => {}
        Err(zookeeper_client::Error::NodeExists) => _ = client.set_data(path, data, None).await.unwrap(),
        Err(error) => panic!("create {path}: {error}"),
    }
}

/// A node of the golden tree.
pub struct GoldenNode {
    /// Relative to the root key.
    pub path: String,
    pub ephemeral: bool,
    pub data: Vec<u8>,
}

pub fn golden_tree() -> Vec<GoldenNode> {
    let text = String::from_utf8(golden("topology/zk-tree.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|node| {
            Some(GoldenNode {
                path: node["path"].as_str().unwrap().strip_prefix("/midonet/")?.to_owned(),
                ephemeral: node["ephemeral"].as_bool().unwrap(),
                data: base64(node["data"].as_str().unwrap_or_default()),
            })
        })
        .collect()
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0u32;
    let mut count = 0;
    let mut out = Vec::new();
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|letter| *letter == byte).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// Writes the golden tree below a root key; ephemeral nodes live with the client.
pub async fn load_golden(client: &Client, root: &str) {
    for node in golden_tree() {
        put(client, &format!("{root}/{}", node.path), &node.data, node.ephemeral).await;
    }
}

/// A tap's surroundings, and the other end of its pipe.
pub struct Site {
    pub tap: Tap,
    pub end: PipeEnd,
    pub stop: StopSender,
}

pub const OWN_HOST: Uuid = Uuid::from_u128(0xfeed);

/// `settings` are members of `insights_cloud` as JSON.
pub fn site(hosts: &str, root_key: &str, settings: serde_json::Value) -> Site {
    let config = serde_json::json!({
        "insights_cloud": settings,
        "zookeeper": {"hosts": hosts, "root_key": root_key},
        "host_id": OWN_HOST.to_string(),
    });
    let config = Arc::new(Config::from_json(&config.to_string()).unwrap());
    let (pipe, end) = Pipe::new(Settings {
        kinds: Kinds::ALL,
        metering_interval: config.metering_interval,
    });
    let (stop_sender, stop) = Stop::channel();
    Site {
        tap: Tap { config, pipe, stop },
        end,
        stop: stop_sender,
    }
}

/// What a reader of the topology stream holds; checks what the stream promises.
#[derive(Default)]
pub struct Reader {
    /// Data and mzxid by path.
    pub held: BTreeMap<String, (Vec<u8>, i64)>,
    pub snapshots: usize,
    pub changes: usize,
    in_snapshot: Option<BTreeSet<String>>,
}

impl Reader {
    pub fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.changes += 1;
            match change {
                Change::SnapshotBegin { .. } => self.in_snapshot = Some(BTreeSet::new()),
                Change::SnapshotEnd { nodes, .. } => {
                    let seen = self.in_snapshot.take().expect("a snapshot begins before it ends");
                    self.held.retain(|path, _| seen.contains(path));
                    assert_eq!(self.held.len() as u64, nodes);
                    self.snapshots += 1;
                }
                Change::Put(node) => {
                    let fresh = self.in_snapshot.as_ref().is_some_and(|seen| !seen.contains(&node.path));
                    if let Some((_, before)) = self.held.get(&node.path) {
                        assert!(
                            fresh || node.mzxid > *before,
                            "{} came twice or backwards: {before:#x}, {:#x}",
                            node.path,
                            node.mzxid
                        );
                    }
                    self.in_snapshot.iter_mut().for_each(|seen| _ = seen.insert(node.path.clone()));
                    self.held.insert(node.path, (node.data, node.mzxid));
                }
                Change::Delete { path, .. } => {
                    assert!(self.held.remove(&path).is_some(), "{path} went without having been there");
                    self.in_snapshot.iter_mut().for_each(|seen| _ = seen.remove(&path));
                }
            }
        }
    }

    /// Takes changes until the condition holds.
    pub async fn until(&mut self, end: &mut PipeEnd, what: &str, condition: impl Fn(&Reader) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(self) {
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, end.topology.recv()).await {
                Ok(Some(changes)) => self.take(changes),
                Ok(None) => panic!("the pipe closed before {what}"),
                Err(_) => panic!(
                    "no {what} within {PATIENCE:?}; {} nodes held, {} snapshots",
                    self.held.len(),
                    self.snapshots
                ),
            }
        }
    }

    /// Takes what comes until nothing came for so long.
    pub async fn settle(&mut self, end: &mut PipeEnd, quiet: Duration) {
        while let Ok(Some(changes)) = timeout(quiet, end.topology.recv()).await {
            self.take(changes);
        }
    }
}

/// Waits for an event of this kind.
pub async fn event(end: &mut PipeEnd, kind: &str) -> Event {
    let found = async {
        loop {
            let event = end.events.recv().await.expect("the pipe is open");
            if event.kind == kind {
                return event;
            }
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("no event {kind} within {PATIENCE:?}"))
}
