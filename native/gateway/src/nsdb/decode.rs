// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The NSDB as JSON lines, for people and tests: what the tap would send, one node a line.
//!
//! | `kind` | members |
//! |---|---|
//! | `object` | `class`, `id`, `version`, `fields` |
//! | `state` | `namespace`, `class`, `id`, `key`, `value`; for learned routes also `route` |
//! | `table` | `class`, `id`, `table`, `argument`, `key`, `value`, `learned`, `sequence` |
//! | `node` | `path`, `data` of what MidoNet's releases so far don't have |
//! | `snapshot` | `nodes`: the snapshot is whole |
//!
//! A deletion has `"deleted": true` and no values. A line that can't be read as what it should be has `error` and `data`.

use std::{io::Write, time::Duration};

use insights_protocol::{
    Kinds,
    topology::{Change, Node as Found},
};
use midonet::{
    model::{decode_object, to_json},
    nsdb::{LearnedRoute, Node, Root, table::Entry},
};
use serde_json::{Map, Value, json};

use super::{Place, PlaceError, View, follow, zk};
use crate::{
    pipe::{Pipe, PipeEnd, Settings},
    tap::Stop,
};

/// Time for ZooKeeper to be reached at first; the tap alone would try for ever.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is nothing to decode.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("find the NSDB")]
    Place(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("open a session at {hosts}")]
    Open {
        hosts: String,
        #[source]
        source: zk::ZkError,
    },
    #[error("write")]
    Write(#[source] std::io::Error),
}

impl From<PlaceError> for DecodeError {
    fn from(error: PlaceError) -> Self {
        DecodeError::Place(Box::new(error))
    }
}

/// Writes the NSDB below `root_key` as JSON lines. Ends after the snapshot; with `watch` it goes on with the changes until the writer fails
/// or the future is dropped.
pub async fn nsdb(hosts: &str, root_key: &str, watch: bool, out: &mut impl Write) -> Result<(), DecodeError> {
    let place = Place::new(hosts, root_key)?;
    let open = |source| DecodeError::Open {
        hosts: hosts.to_owned(),
        source,
    };
    let probe = zk::Session::open(&place.endpoints, SESSION_TIMEOUT).await.map_err(open)?;
    probe.close(Duration::from_secs(1)).await;
    let (pipe, mut end) = Pipe::new(Settings {
        kinds: Kinds::ALL,
        metering_interval: Duration::ZERO,
    });
    let (_stop_sender, stop) = Stop::channel();
    let view = View::default();
    tokio::select! {
        () = follow::follow(&pipe, &stop, &place, &view) => Ok(()),
        written = write(&mut end, watch, out) => written,
    }
}

async fn write(end: &mut PipeEnd, watch: bool, out: &mut impl Write) -> Result<(), DecodeError> {
    let root = Root::new("/").map_err(|error| DecodeError::Place(Box::new(error)))?;
    while let Some(changes) = end.topology.recv().await {
        let mut whole = false;
        for change in &changes {
            whole |= matches!(change, Change::SnapshotEnd { .. });
            if let Some(line) = line(&root, change) {
                writeln!(out, "{line}").map_err(DecodeError::Write)?;
            }
        }
        if watch || whole {
            out.flush().map_err(DecodeError::Write)?;
        }
        if whole && !watch {
            break;
        }
    }
    Ok(())
}

/// One change; `None` for the beginning of a snapshot. `root` is that of the changes' paths, `/`.
fn line(root: &Root, change: &Change) -> Option<Value> {
    let (path, found) = match change {
        Change::SnapshotBegin { .. } => return None,
        Change::SnapshotEnd { nodes, .. } => return Some(json!({"kind": "snapshot", "nodes": nodes})),
        Change::Put(found) => (&found.path, Some(found)),
        Change::Delete { path, .. } => (path, None),
    };
    let absolute = format!("/{path}");
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    let data = |found: &Found| Value::from(String::from_utf8_lossy(&found.data).into_owned());
    match root.parse(&absolute) {
        Some(Node::Object { class, id }) => {
            put("kind", "object".into());
            put("class", class.into());
            put("id", id.to_string().into());
            if let Some(found) = found {
                put("version", found.version.into());
                // The class `C3POState` is JSON, all others are in protobuf's text form.
                match serde_json::from_slice::<Map<String, Value>>(&found.data) {
                    Ok(fields) => put("fields", fields.into()),
                    Err(_) => match decode_object(class, &found.data) {
                        Ok(object) => put("fields", to_json(&object)),
                        Err(error) => {
                            put("error", error.to_string().into());
                            put("data", data(found));
                        }
                    },
                }
            }
        }
        Some(Node::StateKey { namespace, class, id, key }) => {
            put("kind", "state".into());
            put("namespace", namespace.to_string().into());
            put("class", class.into());
            put("id", id.to_string().into());
            put("key", key.into());
            if let Some(found) = found {
                put("value", state_value(class, key, &found.data).unwrap_or_else(|| data(found)));
            }
        }
        Some(Node::StateValue {
            namespace,
            class,
            id,
            key,
            value,
        }) => {
            put("kind", "state".into());
            put("namespace", namespace.to_string().into());
            put("class", class.into());
            put("id", id.to_string().into());
            put("key", key.into());
            put("value", value.into());
            if key == "routes" {
                match value.parse() {
                    Ok(route) => put("route", route_value(&route)),
                    Err(error) => put("error", midonet::nsdb::RouteError::to_string(&error).into()),
                }
            }
        }
        Some(Node::TableEntry {
            class,
            id,
            table,
            argument,
            entry,
        }) => {
            put("kind", "table".into());
            put("class", class.into());
            put("id", id.to_string().into());
            put("table", table.into());
            if let Some(argument) = argument {
                put("argument", argument.into());
            }
            match Entry::parse(entry) {
                Some(entry) => {
                    put("key", entry.key.into());
                    put("value", entry.value.into());
                    put("learned", entry.is_learned().into());
                    if entry.is_learned() {
                        put("sequence", entry.version.into());
                    }
                }
                None => {
                    put("error", "not an entry of a table".into());
                    put("data", entry.into());
                }
            }
        }
        _ => {
            put("kind", "node".into());
            put("path", path.as_str().into());
            if let Some(found) = found {
                put("data", data(found));
            }
        }
    }
    if found.is_none() {
        put("deleted", true.into());
    }
    Some(members.into())
}

/// The value of a single-value key that is a message.
fn state_value(class: &str, key: &str, data: &[u8]) -> Option<Value> {
    let message = match (class, key) {
        ("Host", "host") => "HostState",
        ("Host", "container") => "ContainerServiceStatus",
        ("Port", "active") => "PortState",
        ("ServiceContainer", "status") => "ContainerStatus",
        ("Vtep", "config") => "VtepConfiguration",
        _ => return None,
    };
    decode_object(message, data).ok().map(|object| to_json(&object))
}

fn route_value(route: &LearnedRoute) -> Value {
    json!({
        "dst": format!("{}/{}", route.dst, route.dst_length),
        "src": format!("{}/{}", route.src, route.src_length),
        "gateway": route.gateway.to_string(),
        "weight": route.weight,
        "router": route.router.to_string(),
        "port": route.port.map(|port| port.to_string()),
    })
}
