// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The settings as the plugin would find them.

use std::path::Path;

use midonet::config::Layers;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Check, Finding};
use crate::{Config, clock::chain, config::KEYS};

const HOST_ID_FILES: [&str; 2] = ["/etc/midonet_host_id.properties", "/etc/midolman/host_uuid.properties"];

pub(super) struct Settings {
    pub(super) zookeeper: String,
    pub(super) root_key: String,
    pub(super) host_id: Option<Uuid>,
    /// MidoNet's configuration for this machine; empty where ZooKeeper was not reached.
    pub(super) layers: Layers,
}

impl Settings {
    pub(super) fn new(check: &Check) -> Settings {
        let (hosts, root) = bootstrap(&check.midonet_conf);
        Settings {
            zookeeper: check.zookeeper.clone().or(hosts).unwrap_or_else(|| "127.0.0.1:2181".into()),
            root_key: check.root.clone().or(root).unwrap_or_else(|| "/midonet".into()),
            host_id: check.host_id.or_else(host_id),
            layers: Layers::new(),
        }
    }

    /// The plugin's configuration, or what is wrong with it.
    pub(super) fn config(&self, check: &Check, findings: &mut Vec<Finding>) -> Option<Config> {
        let name = "configuration";
        let mut own = Map::new();
        for key in KEYS {
            match self.layers.get(&format!("insights_cloud.{key}")) {
                Ok(Some(setting)) => insert(&mut own, key, setting.text.into()),
                Ok(None) => {}
                Err(error) => findings.push(Finding::warning(
                    name,
                    error.to_string(),
                    "write the value itself with mn-conf; its default is taken here",
                )),
            }
        }
        for (key, value) in &check.set {
            insert(&mut own, key, value.as_str().into());
        }
        if self.host_id.is_none() {
            let remedy = "start the MidoNet Cluster once on this machine, or give --host-id";
            findings.push(Finding::warning("host id", "this machine has no MidoNet host id", remedy));
        }
        // Without an id the checks go on with one that is nobody's.
        let host_id = self.host_id.unwrap_or(Uuid::max());
        let json = json!({"insights_cloud": own, "zookeeper": {"hosts": self.zookeeper, "root_key": self.root_key}, "host_id": host_id.to_string()});
        match Config::from_json(&json.to_string()) {
            Ok(config) if !config.unknown.is_empty() => {
                findings.push(Finding::warning(
                    name,
                    format!("unknown keys: {}", config.unknown.join(", ")),
                    "see mn-conf doc insights_cloud for the keys",
                ));
                Some(config)
            }
            Ok(config) if !config.enabled => {
                let remedy = "mn-conf set -t default 'insights_cloud.enabled : true', then restart the MidoNet Cluster";
                findings.push(Finding::problem(name, "insights_cloud.enabled is false", remedy));
                Some(config)
            }
            Ok(config) => {
                findings.push(Finding::good(name, format!("sends to {}:{}", config.gateway.host, config.gateway.port)));
                Some(config)
            }
            Err(error) => {
                findings.push(Finding::problem(
                    name,
                    chain(&error),
                    "set the value with mn-conf, then restart the MidoNet Cluster",
                ));
                None
            }
        }
    }
}

/// ZooKeeper's hosts and MidoNet's root as midonet.conf has them.
fn bootstrap(file: &Path) -> (Option<String>, Option<String>) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let (mut section, mut hosts, mut root) = ("", None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
        } else if let Some((key, value)) = line.split_once('=').filter(|_| section == "zookeeper") {
            match key.trim() {
                "zookeeper_hosts" => hosts = Some(value.trim().to_owned()),
                "root_key" => root = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    (hosts, root)
}

fn host_id() -> Option<Uuid> {
    let read = |file: &&str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("host_uuid")?.trim_start().strip_prefix('='));
        line.and_then(|id| Uuid::parse_str(id.trim()).ok())
    };
    HOST_ID_FILES.iter().find_map(read)
}

/// Puts a value at a key with dots.
fn insert(map: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(map.insert(key.to_owned(), value)),
        Some((head, rest)) => {
            let inner = map.entry(head).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midonet_conf_names_zookeeper() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("midonet.conf");
        std::fs::write(
            &file,
            "[other]\nzookeeper_hosts = x\n[zookeeper]\n# zookeeper_hosts = y\nzookeeper_hosts = a:1,b:2\nroot_key=/m\n",
        )
        .unwrap();
        assert_eq!(bootstrap(&file), (Some("a:1,b:2".into()), Some("/m".into())));
        assert_eq!(bootstrap(Path::new("/nowhere")), (None, None));
    }

    #[test]
    fn keys_with_dots_become_nested() {
        let mut map = Map::new();
        insert(&mut map, "gateway.host", "h".into());
        insert(&mut map, "gateway.port", "1".into());
        insert(&mut map, "enabled", "true".into());
        assert_eq!(Value::Object(map), json!({"gateway": {"host": "h", "port": "1"}, "enabled": "true"}));
    }
}
