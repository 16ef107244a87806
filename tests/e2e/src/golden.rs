// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The cloud that MidoNet itself wrote, and its own reading of it: independent of the decoders that are tested with it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use base64::Engine;
use serde_json::{Map, Value};
use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode, Error};

/// A node of the golden tree.
#[derive(Clone, Debug)]
pub struct Znode {
    pub path: String,
    pub ephemeral: bool,
    pub data: Vec<u8>,
}

/// What a leaf of the golden tree is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Leaf {
    Object {
        class: String,
        id: String,
    },
    /// A state key of an object; `value` is the child of a key with many values.
    State {
        namespace: String,
        class: String,
        id: String,
        key: String,
        value: Option<String>,
    },
    Entry {
        class: String,
        id: String,
        table: String,
        argument: Option<String>,
        key: String,
        value: String,
        /// [`CONFIGURED`] for what was not learned.
        version: i64,
    },
}

/// The version of a table's configured entries.
pub const CONFIGURED: i64 = i32::MAX as i64;

pub fn text(name: &str) -> Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/topology").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

pub fn json(name: &str) -> Result<Value> {
    serde_json::from_str(&text(name)?).with_context(|| format!("read {name}"))
}

/// Names of the lists that MidoNet's REST API answered.
pub fn rest_lists() -> Result<BTreeSet<String>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/topology/rest-get");
    let names = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    names
        .map(|entry| Ok(entry?.file_name().to_string_lossy().trim_end_matches(".json").to_owned()))
        .collect()
}

pub fn tree() -> Result<Vec<Znode>> {
    text("zk-tree.jsonl")?
        .lines()
        .map(|line| {
            let node: Value = serde_json::from_str(line)?;
            let data = node["data"].as_str().unwrap_or_default();
            Ok(Znode {
                path: node["path"].as_str().context("a node has a path")?.to_owned(),
                ephemeral: node["ephemeral"].as_bool().context("a node is ephemeral or not")?,
                data: base64::engine::general_purpose::STANDARD.decode(data)?,
            })
        })
        .collect()
}

/// Writes the tree. Ephemeral nodes live as long as the client.
pub async fn load(client: &Client, tree: &[Znode]) -> Result<()> {
    for node in tree {
        let mode = if node.ephemeral { CreateMode::Ephemeral } else { CreateMode::Persistent };
        match client.create(&node.path, &node.data, &mode.with_acls(Acls::anyone_all())).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error).with_context(|| format!("create {}", node.path)),
        }
    }
    Ok(())
}

/// What a node is; `None` for those that only hold others, and for what is not of the topology.
pub fn leaf(node: &Znode) -> Option<Leaf> {
    let own = |text: &str| text.to_owned();
    let parts: Vec<&str> = node.path.strip_prefix("/midonet/zoom/0/")?.split('/').collect();
    match parts[..] {
        ["models", class, id] => Some(Leaf::Object {
            class: own(class),
            id: own(id),
        }),
        ["state", namespace, class, id, key] if node.ephemeral => Some(Leaf::State {
            namespace: own(namespace),
            class: own(class),
            id: own(id),
            key: own(key),
            value: None,
        }),
        ["state", namespace, class, id, key, value] => Some(Leaf::State {
            namespace: own(namespace),
            class: own(class),
            id: own(id),
            key: own(key),
            value: Some(own(value)),
        }),
        ["tables", class, id, table, ref rest @ ..] => {
            let entry: Vec<&str> = rest.last()?.split(',').collect();
            let [key, value, version] = entry[..] else { return None };
            Some(Leaf::Entry {
                class: own(class),
                id: own(id),
                table: own(table),
                argument: (rest.len() == 2).then(|| own(rest[0])),
                key: own(key),
                value: own(value),
                version: version.parse().ok()?,
            })
        }
        _ => None,
    }
}

/// Protobuf's text form, line by line as MidoNet writes it, as JSON: each field an array of its values; ids, addresses and prefixes as
/// text; enum values by name.
pub fn fields(text: &str) -> Result<Map<String, Value>> {
    let mut open: Vec<(String, Map<String, Value>)> = vec![(String::new(), Map::new())];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = if let Some(name) = line.strip_suffix(" {") {
            open.push((name.to_owned(), Map::new()));
            continue;
        } else if line == "}" {
            let (name, inner) = open.pop().context("a brace closes nothing")?;
            (name, simple(inner))
        } else {
            let (name, value) = line.split_once(": ").with_context(|| format!("read {line:?}"))?;
            (name.to_owned(), scalar(value)?)
        };
        let (_, around) = open.last_mut().context("a brace closes nothing")?;
        if let Value::Array(values) = around.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            values.push(value);
        }
    }
    let (_, fields) = open.pop().context("a brace closes nothing")?;
    Ok(fields)
}

/// A decoder's JSON in the same form: each field an array of its values.
pub fn spread(fields: &Map<String, Value>) -> Map<String, Value> {
    let one = |value: &Value| match value {
        Value::Object(inner) => Value::Object(spread(inner)),
        other => other.clone(),
    };
    fields
        .iter()
        .map(|(name, value)| {
            let values = match value {
                Value::Array(values) => values.iter().map(one).collect(),
                value => vec![one(value)],
            };
            (name.clone(), Value::Array(values))
        })
        .collect()
}

/// Ids and addresses are messages in the text.
fn simple(inner: Map<String, Value>) -> Value {
    let first = |name: &str| inner.get(name).and_then(|values| values.get(0));
    if let (Some(msb), Some(lsb), 2) = (first("msb").and_then(Value::as_u64), first("lsb").and_then(Value::as_u64), inner.len()) {
        return Value::from(Uuid::from_u64_pair(msb, lsb).to_string());
    }
    if let (Some(_), Some(address)) = (first("version"), first("address").and_then(Value::as_str)) {
        // Java writes IPv6 without the double colon.
        let address = address
            .parse::<IpAddr>()
            .map_or_else(|_| address.to_owned(), |address| address.to_string());
        return Value::from(match first("prefix_length") {
            Some(length) => format!("{address}/{length}"),
            None => address,
        });
    }
    Value::Object(inner)
}

fn scalar(value: &str) -> Result<Value> {
    if let Some(quoted) = value.strip_prefix('"') {
        return Ok(Value::from(unquote(
            quoted.strip_suffix('"').with_context(|| format!("read {value:?}"))?,
        )?));
    }
    Ok(match value {
        "true" => Value::from(true),
        "false" => Value::from(false),
        value => value
            .parse::<u64>()
            .map(Value::from)
            .or_else(|_| value.parse::<i64>().map(Value::from))
            .unwrap_or_else(|_| Value::from(value)),
    })
}

/// C's escapes, octal ones for bytes.
fn unquote(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match after {
            [digits @ b'0'..=b'3', second, third, ..] => {
                bytes.push((digits - b'0') * 64 + (second - b'0') * 8 + (third - b'0'));
                rest = &after[3..];
            }
            [letter, ..] => {
                bytes.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                rest = &after[1..];
            }
            [] => anyhow::bail!("{text:?} ends in a backslash"),
        }
    }
    Ok(String::from_utf8(bytes)?)
}
