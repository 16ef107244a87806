// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The golden tree of a small cloud.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use midonet::model::{Object, decode_object};
use midonet::nsdb::{Node, Root};
use serde_json::Value;
use uuid::Uuid;

pub(crate) struct Znode {
    pub(crate) ephemeral: bool,
    pub(crate) data: Vec<u8>,
}

pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<String, Znode>,
}

pub(crate) fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

impl Tree {
    pub(crate) fn load() -> Tree {
        let nodes = text("topology/zk-tree.jsonl")
            .lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let data = line["data"]
                    .as_str()
                    .map(|data| base64::engine::general_purpose::STANDARD.decode(data).unwrap());
                let node = Znode {
                    ephemeral: line["ephemeral"].as_bool().unwrap(),
                    data: data.unwrap_or_default(),
                };
                (line["path"].as_str().unwrap().to_owned(), node)
            })
            .collect();
        Tree { nodes }
    }

    pub(crate) fn parsed(&self) -> impl Iterator<Item = (Node<'_>, &str, &Znode)> {
        self.nodes
            .iter()
            .map(|(path, node)| (Root::default().parse(path).unwrap(), path.as_str(), node))
    }

    /// All objects that are protobuf text.
    pub(crate) fn objects(&self) -> BTreeMap<(String, Uuid), Object> {
        let objects = self.parsed().filter_map(|(node, path, znode)| match node {
            Node::Object { class: "C3POState", .. } => None,
            Node::Object { class, id } => {
                let object = decode_object(class, &znode.data).unwrap_or_else(|error| panic!("{path}: {error}"));
                Some(((class.to_owned(), id), object))
            }
            _ => None,
        });
        objects.collect()
    }

    /// Names of the children of a node.
    pub(crate) fn children<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = &'a str> {
        self.nodes
            .keys()
            .filter_map(move |path| path.strip_prefix(parent)?.strip_prefix('/'))
            .filter(|name| !name.contains('/'))
    }
}
