// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Writes the simulated NSDB into ZooKeeper, as a cluster's daemon does: each change of objects is one transaction of the objects, their
//! provenance and the folders of their tables.

use std::collections::HashSet;

use midonet::{
    config::DEFAULT_TEMPLATE,
    model::CLASSES,
    nsdb::{Root, ZERO_NAMESPACE},
};
use uuid::Uuid;
use zookeeper_client as zookeeper;

use crate::{
    obj::Kind,
    zk::{BAD_VERSION, Multi, NO_NODE, NODE_EXISTS, Writer, ZkError},
    zoom::{Change, TableEntry, tables_of},
};

/// Bounds of a transaction of the first load: servers refuse requests above 1 MiB, and a large one holds up others.
const MULTI_OPERATIONS: usize = 400;
const MULTI_BYTES: usize = 256 << 10;
/// Transactions given to the writer at once; each keeps a copy of its objects.
const CHUNK: usize = 64;
/// Provenance of an object that a cluster node of 5.4.1 created: a binary message that readers ignore.
const PROVENANCE: &[u8] = b"\x0a\x10\x0a\x055.4.1\x12\x00\x18\x81\x02\x20\x01\x28\x00";
/// An excerpt of the agents' schema with MidoNet's defaults.
const AGENT_SCHEMA: &str = r#"{
    "agent" : {
        "flow_history" : {
            "connection_interval" : "5s",
            "connection_interval_type" : "duration",
            "enabled" : false,
            "encoding" : "binary",
            "encoding_type" : "enum[none, json, binary]",
            "endpoint_service" : "clio",
            "queue_size" : "128"
        },
        "midolman" : {
            "simulation_threads" : 1,
            "stats_http_server_port" : 7300
        },
        "schemaVersion" : 23
    }
}
"#;
const FLOW_HISTORY: &str = r#"{
    "agent" : {
        "flow_history" : {
            "enabled" : true,
            "endpoint_service" : "insights"
        }
    }
}
"#;
/// The class without protobuf objects that MidoNet keeps beside its models.
const C3PO_STATE: &str = "C3POState";
const C3PO_STATE_ID: Uuid = Uuid::from_u128(1);

/// Why the NSDB was not written.
#[derive(Debug, thiserror::Error)]
pub enum NsdbError {
    #[error("write the NSDB")]
    Write(#[from] ZkError),
    #[error("read the NSDB")]
    Read(#[from] zookeeper::Error),
    #[error("{root} holds {objects} objects already; --reset deletes them first")]
    NotEmpty { root: String, objects: usize },
}

/// The NSDB in ZooKeeper.
pub struct Nsdb {
    pub root: Root,
    hosts: String,
    writer: Writer,
    /// Folders of tables that are known to exist.
    folders: HashSet<String>,
}

impl Nsdb {
    pub async fn connect(hosts: &str, root: Root) -> Result<Nsdb, NsdbError> {
        Ok(Nsdb {
            root,
            hosts: hosts.to_owned(),
            writer: Writer::connect(hosts).await?,
            folders: HashSet::new(),
        })
    }

    /// Checks that the NSDB holds no objects, or deletes all that an earlier simulation left.
    pub async fn prepare(&mut self, reset: bool) -> Result<(), NsdbError> {
        let reader = zookeeper::Client::connector().with_server_version(3, 4, 8).connect(&self.hosts).await?;
        let mut objects = 0;
        for class in children(&reader, &self.root.models()).await? {
            objects += children(&reader, &self.root.class(&class)).await?.len();
        }
        if objects > 0 && !reset {
            return Err(NsdbError::NotEmpty {
                root: self.root.as_str().to_owned(),
                objects,
            });
        }
        if reset {
            self.delete_below(&reader, self.root.zoom()).await?;
        }
        Ok(())
    }

    /// Makes what each NSDB has before it has objects.
    pub async fn skeleton(&mut self, hosts: &[Uuid]) -> Result<(), NsdbError> {
        let root = self.root.clone();
        let zoom = root.zoom();
        let base = root.as_str().to_owned();
        let mut paths: Vec<String> = Vec::new();
        let mut prefix = String::new();
        for part in base.split('/').filter(|part| !part.is_empty()) {
            prefix = format!("{prefix}/{part}");
            paths.push(prefix.clone());
        }
        let below = [
            "config",
            "config/schemas",
            "config/templates",
            "config/nodes",
            "sequences",
            "service-discovery",
            "zoom",
        ];
        paths.extend(below.iter().map(|path| format!("{base}/{path}")));
        paths.push(zoom.clone());
        paths.extend(
            ["models", "objects", "tables", "state", "locks"]
                .iter()
                .map(|path| format!("{zoom}/{path}")),
        );
        paths.push(root.topology_lock());
        paths.extend(["locks", "leases"].iter().map(|path| format!("{}/{path}", root.topology_lock())));
        let classes: Vec<&str> = CLASSES.iter().map(|class| class.name).chain([C3PO_STATE]).collect();
        for class in &classes {
            paths.extend([root.class(class), format!("{zoom}/objects/{class}"), root.table_class(class)]);
        }
        for namespace in [ZERO_NAMESPACE].iter().chain(hosts) {
            paths.push(format!("{}/{namespace}", root.state()));
            paths.extend(classes.iter().map(|class| root.state_class(*namespace, class)));
        }
        self.ensure(&paths).await?;
        let state = format!("{{\"id\":\"{C3PO_STATE_ID}\",\"lastProcessedTaskId\":0}}");
        self.writer.put(&root.object(C3PO_STATE, C3PO_STATE_ID), state.as_bytes()).await?;
        Ok(())
    }

    /// Creates persistent nodes that may exist; parents come before children.
    pub async fn ensure(&mut self, paths: &[String]) -> Result<(), NsdbError> {
        let multis: Vec<Multi> = paths
            .iter()
            .map(|path| {
                let mut multi = Multi::default();
                multi.create(path, &[]);
                multi
            })
            .collect();
        self.run(&multis, |error| matches!(error, ZkError::Refused { code: NODE_EXISTS, .. }))
            .await
    }

    /// Writes many changes in few transactions: the first load. `progress` hears how many changes are written.
    pub async fn load(&mut self, changes: Vec<Change>, mut progress: impl FnMut(usize)) -> Result<(), NsdbError> {
        let mut multis = vec![Multi::default()];
        let mut written = 0;
        for change in changes {
            written += 1;
            let last = multis.len() - 1;
            let mut multi = std::mem::take(&mut multis[last]);
            self.add(&mut multi, &change);
            let full = multi.len() >= MULTI_OPERATIONS || multi.bytes() >= MULTI_BYTES;
            multis[last] = multi;
            if full {
                if multis.len() == CHUNK {
                    self.run(&multis, |_| false).await?;
                    multis.clear();
                    progress(written);
                }
                multis.push(Multi::default());
            }
        }
        multis.retain(|multi| !multi.is_empty());
        self.run(&multis, |_| false).await?;
        progress(written);
        Ok(())
    }

    /// Writes changes that belong together in one transaction. After a lost connection the transaction is tried once more; that the first one
    /// had happened shows in its first operation.
    pub async fn commit(&mut self, changes: &[Change]) -> Result<(), NsdbError> {
        let mut multi = Multi::default();
        changes.iter().for_each(|change| self.add(&mut multi, change));
        if multi.is_empty() {
            return Ok(());
        }
        match self.writer.commit(&multi).await {
            Ok(()) => {}
            Err(error @ ZkError::Refused { .. }) => return Err(error.into()),
            Err(_) => {
                self.writer = Writer::connect(&self.hosts).await?;
                match self.writer.commit(&multi).await {
                    Err(ZkError::Refused {
                        index: 0,
                        code: NODE_EXISTS | BAD_VERSION | NO_NODE,
                        ..
                    }) => {}
                    other => other?,
                }
            }
        }
        // MidoNet removes the tables of a deleted object after the transaction.
        for change in changes {
            if let Change::Delete(kind, id) = change {
                self.drop_tables(*kind, *id).await?;
            }
        }
        Ok(())
    }

    /// Writes what `mn-conf` reads, unless a cluster's daemon has written it: the schema of the agents' keys that matter here, and a template
    /// by which agents send flow records.
    pub async fn configure(&mut self) -> Result<(), NsdbError> {
        self.writer.put(&self.root.config_schema("agent"), AGENT_SCHEMA.as_bytes()).await?;
        self.writer
            .put(&self.root.config_template(DEFAULT_TEMPLATE), FLOW_HISTORY.as_bytes())
            .await?;
        self.writer.put(&self.root.config_template_mappings(), b"{}\n").await?;
        Ok(())
    }

    /// Sets a node's data, whatever it was.
    pub async fn put(&mut self, path: &str, data: &[u8]) -> Result<(), NsdbError> {
        let mut multi = Multi::default();
        multi.create(path, data);
        match self.writer.commit(&multi).await {
            Err(ZkError::Refused { code: NODE_EXISTS, .. }) => {
                let mut multi = Multi::default();
                multi.set(path, data, -1);
                Ok(self.writer.commit(&multi).await?)
            }
            other => Ok(other?),
        }
    }

    /// To be called every few seconds while nothing is written.
    pub async fn keep_alive(&mut self) {
        if self.writer.keep_alive().await.is_err()
            && let Ok(writer) = Writer::connect(&self.hosts).await
        {
            self.writer = writer;
        }
    }

    pub async fn close(self) {
        self.writer.close().await;
    }

    fn add(&mut self, multi: &mut Multi, change: &Change) {
        let root = &self.root;
        match change {
            Change::Create(kind, id, text) => {
                multi.create(&root.object(kind.name(), *id), text.as_bytes());
                multi.create(&root.provenance(kind.name(), *id), PROVENANCE);
                let tables = tables_of(*kind);
                if !tables.is_empty() {
                    multi.create(&root.table_object(kind.name(), *id), &[]);
                }
                for table in tables {
                    multi.create(&root.table(kind.name(), *id, table, None), &[]);
                }
            }
            Change::Update(kind, id, text, version) => {
                multi.set(&root.object(kind.name(), *id), text.as_bytes(), *version);
                multi.set(&root.provenance(kind.name(), *id), PROVENANCE, -1);
            }
            Change::Delete(kind, id) => {
                multi.delete(&root.object(kind.name(), *id));
                multi.delete(&root.provenance(kind.name(), *id));
            }
            Change::AddEntry(entry) => {
                let folder = format!("{}/{}", root.table_object(entry.kind.name(), entry.id), entry.table);
                // The folders of a table's argument are made with its first entry.
                if entry.table.contains('/') && self.folders.insert(folder.clone()) {
                    multi.create(&folder, &[]);
                }
                multi.create(&format!("{folder}/{}", entry.entry), &[]);
            }
            Change::RemoveEntry(entry) => multi.delete(&entry_path(root, entry)),
        }
    }

    async fn drop_tables(&mut self, kind: Kind, id: Uuid) -> Result<(), NsdbError> {
        if tables_of(kind).is_empty() {
            return Ok(());
        }
        let object = self.root.table_object(kind.name(), id);
        let mut paths: Vec<String> = tables_of(kind).iter().map(|table| format!("{object}/{table}")).collect();
        paths.push(object);
        for path in paths {
            let mut multi = Multi::default();
            multi.delete(&path);
            // What other sessions hold in it stays until they end, as in MidoNet until its recycler comes.
            match self.writer.commit(&multi).await {
                Ok(()) | Err(ZkError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn run(&mut self, multis: &[Multi], tolerated: impl Fn(&ZkError) -> bool) -> Result<(), NsdbError> {
        let mut first = None;
        self.writer
            .run(multis, |_, outcome| {
                if let Err(error) = outcome
                    && !tolerated(&error)
                {
                    first.get_or_insert(error);
                }
            })
            .await?;
        first.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Deletes a subtree, deepest nodes first; ephemeral nodes of others too.
    async fn delete_below(&mut self, reader: &zookeeper::Client, top: String) -> Result<(), NsdbError> {
        let mut found = vec![top];
        let mut next = 0;
        while next < found.len() {
            // Listed in parallel: a tree has as many folders as objects.
            let batch: Vec<String> = found[next..].iter().take(256).cloned().collect();
            next += batch.len();
            let lists = futures::future::join_all(batch.iter().map(|path| children(reader, path))).await;
            for (path, list) in batch.iter().zip(lists) {
                found.extend(list?.into_iter().map(|child| format!("{path}/{child}")));
            }
        }
        let multis: Vec<Multi> = found
            .iter()
            .rev()
            .map(|path| {
                let mut multi = Multi::default();
                multi.delete(path);
                multi
            })
            .collect();
        self.folders.clear();
        self.run(&multis, |error| matches!(error, ZkError::Refused { code: NO_NODE, .. })).await
    }
}

/// Names of a node's children; none if it doesn't exist.
pub async fn children(client: &zookeeper::Client, path: &str) -> Result<Vec<String>, zookeeper::Error> {
    match client.list_children(path).await {
        Err(zookeeper::Error::NoNode) => Ok(Vec::new()),
        other => other,
    }
}

fn entry_path(root: &Root, entry: &TableEntry) -> String {
    format!("{}/{}/{}", root.table_object(entry.kind.name(), entry.id), entry.table, entry.entry)
}
