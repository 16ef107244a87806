// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A real ZooKeeper and a recorder, for tests of the whole simulation.
// Each test binary uses some of it.
#![allow(dead_code, unreachable_pub)]

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use midonet::{
    discovery::Instance,
    flow::{
        FlowRecord, MAX_RECORD_BYTES, decode,
        frame::{Frame, FrameDecoder},
    },
};
use parking_lot::Mutex;
use tokio::{io::AsyncReadExt, net::TcpListener};
use zookeeper_client::{Acls, Client, CreateMode};

/// A ZooKeeper server of its own process, ended with this value.
pub struct ZooKeeper {
    child: Child,
    pub hosts: String,
    _data: tempfile::TempDir,
}

impl ZooKeeper {
    pub fn start(version: &str) -> ZooKeeper {
        let data = tempfile::tempdir().unwrap();
        let runner = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/daemon/bin/zookeeper");
        let mut child = Command::new(runner)
            .args([version, "--port", "0", "--tick", "400", "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start tests/daemon/bin/zookeeper");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let hosts = line
            .split_whitespace()
            .nth(2)
            .unwrap_or_else(|| panic!("ZooKeeper said {line:?}"))
            .to_owned();
        ZooKeeper { child, hosts, _data: data }
    }

    pub async fn client(&self) -> Client {
        Client::connector().with_server_version(3, 4, 8).connect(&self.hosts).await.unwrap()
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A recorder that is registered as an agent expects it, and keeps what it gets.
pub struct Recorder {
    pub records: Arc<Mutex<Vec<FlowRecord>>>,
    pub errors: Arc<Mutex<Vec<String>>>,
    _session: Client,
}

impl Recorder {
    pub async fn start(zookeeper: &ZooKeeper, root: &str) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let records = Arc::new(Mutex::new(Vec::new()));
        let errors = Arc::new(Mutex::new(Vec::new()));
        let (kept, wrong) = (records.clone(), errors.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, wrong) = (kept.clone(), wrong.clone());
                tokio::spawn(async move {
                    let mut frames = FrameDecoder::new(MAX_RECORD_BYTES);
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        frames.extend(&buffer[..count]);
                        loop {
                            match frames.next_frame() {
                                Ok(Some(Frame::Record(bytes))) => match decode(bytes) {
                                    Ok(record) => kept.lock().push(record),
                                    Err(error) => wrong.lock().push(error.to_string()),
                                },
                                Ok(None) => break,
                                other => {
                                    wrong.lock().push(format!("{other:?}"));
                                    return;
                                }
                            }
                        }
                    }
                });
            }
        });
        let session = zookeeper.client().await;
        let mut path = String::new();
        for part in format!("{root}/service-discovery/insights").split('/').filter(|part| !part.is_empty()) {
            path = format!("{path}/{part}");
            let _ = session.create(&path, &[], &CreateMode::Persistent.with_acls(Acls::anyone_all())).await;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let instance = Instance::host_and_port("insights", &id, "127.0.0.1", port, 0).to_json();
        let path = format!("{root}/service-discovery/insights/{id}");
        session
            .create(&path, instance.as_bytes(), &CreateMode::Ephemeral.with_acls(Acls::anyone_all()))
            .await
            .unwrap();
        Recorder {
            records,
            errors,
            _session: session,
        }
    }
}
