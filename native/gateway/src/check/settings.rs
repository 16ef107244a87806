// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The settings as the plugin would find them.

use std::{collections::BTreeMap, path::Path};

use midonet::config::Layers;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Check, Finding};
use crate::{Config, clock::chain, config::KEYS, status::Status};

/// What the names of the layers begin with that hold schemas.
pub(super) const SCHEMA: &str = "schema ";

const HOST_ID_FILES: [&str; 2] = ["/etc/midonet_host_id.properties", "/etc/midolman/host_uuid.properties"];

pub(super) struct Settings {
    pub(super) zookeeper: String,
    pub(super) root_key: String,
    pub(super) host_id: Option<Uuid>,
    /// MidoNet's configuration for this machine; empty where ZooKeeper was not reached.
    pub(super) layers: Layers,
    /// What the running plugin has in force.
    running: Option<BTreeMap<String, String>>,
}

impl Settings {
    pub(super) fn new(check: &Check, status: Option<&Status>) -> Settings {
        let (hosts, root) = match status.map(|status| &status.zookeeper) {
            Some(zookeeper) => (Some(zookeeper.hosts.clone()), Some(zookeeper.root_key.clone())),
            None => bootstrap(&check.midonet_conf),
        };
        let running_id = status.and_then(|status| Uuid::parse_str(&status.host_id).ok());
        Settings {
            zookeeper: check.zookeeper.clone().or(hosts).unwrap_or_else(|| "127.0.0.1:2181".into()),
            root_key: check.root.clone().or(root).unwrap_or_else(|| "/midonet".into()),
            host_id: check.host_id.or(running_id).or_else(host_id),
            layers: Layers::new(),
            running: status.map(|status| status.settings.clone()),
        }
    }

    /// The plugin's configuration, or what is wrong with it.
    pub(super) fn config(&self, check: &Check, findings: &mut Vec<Finding>) -> Option<Config> {
        let name = "configuration";
        let mut own = Map::new();
        let mut configured = BTreeMap::new();
        for key in KEYS {
            match self.layers.get(&format!("insights_cloud.{key}")) {
                Ok(Some(setting)) => {
                    insert(&mut own, key, setting.text.into());
                    // A schema has the defaults, which other places may have replaced.
                    if !setting.layer.starts_with(SCHEMA) {
                        configured.insert(key, setting.text.to_owned());
                    }
                }
                Ok(None) => {}
                Err(error) => findings.push(Finding::warning(
                    name,
                    error.to_string(),
                    "write the value itself with mn-conf; its default is taken here",
                )),
            }
        }
        if let Some(running) = &self.running {
            let waiting = waiting(&configured, running);
            if !waiting.is_empty() {
                findings.push(Finding::warning(
                    name,
                    format!("the plugin runs with other settings than are configured now: {}", waiting.join(", ")),
                    "restart the MidoNet Cluster on this machine, so that they take effect",
                ));
            }
            for (key, value) in running {
                insert(&mut own, key, value.as_str().into());
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

/// Keys whose configured value is not the one in force. Values are compared as the plugin reads them: `10s` is `10000ms`.
fn waiting(configured: &BTreeMap<&str, String>, running: &BTreeMap<String, String>) -> Vec<String> {
    let read = |key: &str, value: &str| {
        let mut own = Map::new();
        insert(&mut own, key, value.into());
        let json = json!({"insights_cloud": own, "host_id": Uuid::max().to_string()});
        Config::from_json(&json.to_string()).ok()?.settings().remove(key)
    };
    let differs = |key: &str, value: &str| {
        let in_force = running.get(key).map(String::as_str);
        match key {
            // Empty is the host's name.
            "gateway.server_name" if value.is_empty() => in_force != running.get("gateway.host").map(String::as_str),
            _ => read(key, value).as_deref() != in_force,
        }
    };
    let found = configured.iter().filter(|(key, value)| differs(key, value));
    found
        .map(|(key, value)| format!("insights_cloud.{key} is {value:?} and not yet in force"))
        .collect()
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
    fn what_takes_effect_after_a_restart_is_told() {
        let json = json!({"insights_cloud": {"gateway": {"host": "a"}}, "host_id": Uuid::max().to_string()});
        let running = Config::from_json(&json.to_string()).unwrap().settings();
        let waiting = |key: &'static str, value: &str| waiting(&BTreeMap::from([(key, value.to_owned())]), &running);
        for (key, value) in [
            ("metering.interval", "10000"),
            ("spool.max_size", "2 GiB"),
            ("gateway.host", "a"),
            ("gateway.server_name", ""),
        ] {
            assert!(waiting(key, value).is_empty(), "{key}");
        }
        assert_eq!(
            waiting("gateway.host", "b"),
            ["insights_cloud.gateway.host is \"b\" and not yet in force"]
        );
        assert_eq!(waiting("metering.interval", "never").len(), 1);
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
