// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `mn-insights decode nsdb` against the tree, node by node.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use insights_e2e::golden::{self, CONFIGURED, Leaf, Znode};
use serde_json::{Map, Value, json};

use super::Verdict;

/// What stands in place of a secret: BGP passwords in this cloud.
const REMOVED: &str = "<removed>";

/// What `decode nsdb` wrote, by what it is about.
pub(super) struct Lines {
    lines: BTreeMap<Leaf, Value>,
    nodes: u64,
}

impl Lines {
    pub(super) fn read(text: &str) -> Result<Lines> {
        let mut lines = BTreeMap::new();
        let mut nodes = None;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            ensure!(nodes.is_none(), "a line after the snapshot: {line}");
            if line["kind"] == "snapshot" {
                nodes = line["nodes"].as_u64();
                continue;
            }
            let leaf = about(&line).with_context(|| format!("the line {line}"))?;
            ensure!(lines.insert(leaf, line.clone()).is_none(), "{line} is there twice");
        }
        Ok(Lines {
            lines,
            nodes: nodes.context("no line says that the snapshot is whole")?,
        })
    }

    pub(super) fn object(&self, class: &str, id: &str) -> Option<&Value> {
        self.lines.get(&Leaf::Object {
            class: class.to_owned(),
            id: id.to_owned(),
        })
    }

    pub(super) fn objects(&self) -> usize {
        self.lines.keys().filter(|leaf| matches!(leaf, Leaf::Object { .. })).count()
    }

    /// Ids of the objects of these classes, in order.
    pub(super) fn ids(&self, classes: &[&str]) -> Vec<&str> {
        let ids: BTreeSet<&str> = self
            .lines
            .keys()
            .filter_map(|leaf| match leaf {
                Leaf::Object { class, id } if classes.contains(&&**class) => Some(&**id),
                _ => None,
            })
            .collect();
        ids.into_iter().collect()
    }

    /// Each leaf of the tree has its line with all that is in it, and there are no others.
    pub(super) fn compare(&self, tree: &[Znode], verdict: &mut Verdict) -> Result<()> {
        let mut missing: BTreeSet<&Leaf> = self.lines.keys().collect();
        let mut leaves = 0;
        for node in tree {
            let Some(leaf) = golden::leaf(node) else { continue };
            leaves += 1;
            missing.remove(&leaf);
            let line = self.lines.get(&leaf).unwrap_or(&Value::Null);
            verdict.holds(line.is_object() && line.get("error").is_none(), || format!("{}: {line}", node.path));
            compare_line(node, &leaf, line, verdict).with_context(|| node.path.clone())?;
        }
        for leaf in missing {
            verdict.holds(false, || format!("a line that is not in the tree: {leaf:?}"));
        }
        verdict.same(|| "nodes of the snapshot".to_owned(), &self.nodes.into(), &leaves.into());
        Ok(())
    }
}

fn compare_line(node: &Znode, leaf: &Leaf, line: &Value, verdict: &mut Verdict) -> Result<()> {
    let data = std::str::from_utf8(&node.data)?;
    match leaf {
        Leaf::Object { class, .. } if class == "C3POState" => {
            verdict.same(|| node.path.clone(), &line["fields"], &serde_json::from_str(data)?);
        }
        Leaf::Object { .. } => compare_fields(&node.path, &golden::fields(data)?, &line["fields"], verdict),
        Leaf::State { class, key, value: None, .. } => {
            if matches!((&**class, &**key), ("Host", "host" | "container") | ("Port", "active")) {
                compare_fields(&node.path, &golden::fields(data)?, &line["value"], verdict);
            } else {
                verdict.same(|| node.path.clone(), &line["value"], &data.into());
            }
        }
        Leaf::State { value: Some(_), .. } => verdict.holds(line["route"].is_object(), || format!("{}: no route", node.path)),
        Leaf::Entry { version, .. } => {
            let learned = *version != CONFIGURED;
            verdict.same(|| node.path.clone(), &line["learned"], &learned.into());
            let sequence = if learned { Value::from(*version) } else { Value::Null };
            verdict.same(|| node.path.clone(), &line["sequence"], &sequence);
        }
    }
    Ok(())
}

/// Field by field, so that a difference says where.
fn compare_fields(place: &str, expected: &Map<String, Value>, found: &Value, verdict: &mut Verdict) {
    let found = found.as_object().map(golden::spread).unwrap_or_default();
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let value = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
        let expected = if name == "password" { json!([REMOVED]) } else { value(expected) };
        verdict.same(|| format!("{place} {name}"), &value(&found), &expected);
    }
}

/// What a line is about.
fn about(line: &Value) -> Option<Leaf> {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    Some(match line["kind"].as_str()? {
        "object" => Leaf::Object {
            class: text("class")?,
            id: text("id")?,
        },
        "state" => Leaf::State {
            namespace: text("namespace")?,
            class: text("class")?,
            id: text("id")?,
            value: text("key").filter(|key| key == "routes").and_then(|_| text("value")),
            key: text("key")?,
        },
        "table" => Leaf::Entry {
            class: text("class")?,
            id: text("id")?,
            table: text("table")?,
            argument: text("argument"),
            key: text("key")?,
            value: text("value")?,
            version: line["sequence"].as_i64().unwrap_or(CONFIGURED),
        },
        _ => return None,
    })
}
