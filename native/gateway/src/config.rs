// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The plugin's configuration: the keys below `insights_cloud`, where MidoNet keeps its database, and who this machine is.
//!
//! It comes as one JSON text:
//! `{"insights_cloud": {…}, "zookeeper": {"hosts": "h1:2181,h2:2181", "root_key": "/midonet"}, "host_id": "<uuid>"}`.
//! Values below `insights_cloud` are as typesafe-config renders them, so a number or a switch may also be a text, a duration may be
//! `10s` or a number of milliseconds, a size `2 GiB` or a number of bytes. Every key has a default.
//!
//! | key | type | default | allowed |
//! |---|---|---|---|
//! | `enabled` | bool | `true` | |
//! | `gateway.host` | string | `gw.beta.insights.midokura.com` | host name or address of the service |
//! | `gateway.port` | int | `443` | 1–65535, UDP |
//! | `gateway.ca_file` | string | empty: the system's roots | absolute path of a PEM file that holds the roots to trust |
//! | `gateway.server_name` | string | empty: `gateway.host` | name that the service's certificate must carry |
//! | `recorder.host` | string | empty: found from the host's addresses | address that is advertised to the agents |
//! | `recorder.port` | int | `5005` | 0–65535; 0 takes any free port |
//! | `recorder.bind` | string | `0.0.0.0` | address that the recorder listens on |
//! | `recorder.max_connections` | int | `2048` | 1–65536 |
//! | `recorder.clients` | string | `any` | any, hosts, or a list of addresses and networks, which may hold hosts |
//! | `data.topology`, `data.state`, `data.metering`, `data.flows` | bool | `true` | |
//! | `metering.interval` | duration | `10s` | 1s–1h |
//! | `spool.path` | string | `/var/lib/midonet-insights-plugin/spool` | absolute path |
//! | `spool.max_size` | size | `2GiB` | 64MiB–1TiB |
//! | `identity.path` | string | `/var/lib/midonet-insights-plugin/identity` | absolute path |
//! | `status.socket` | string | `/var/lib/midonet-insights-plugin/status.sock` | absolute path, at most 100 bytes; empty: none |
//! | `log.level` | enum | `info` | error, warn, info, debug, trace |
//!
//! Unknown keys are kept out with a warning. Keys that end in `_description` or `_type`, and `schemaVersion`, belong to MidoNet's schema
//! and are passed over.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf, time::Duration};

use insights_protocol::Kinds;
use serde_json::Value;
use uuid::Uuid;

mod clients;
mod read;
#[cfg(test)]
mod tests;

pub use clients::{Clients, Network};
use read::Section;
pub(crate) use read::duration;

/// All keys below `insights_cloud`.
pub const KEYS: [&str; 20] = [
    "enabled",
    "gateway.host",
    "gateway.port",
    "gateway.ca_file",
    "gateway.server_name",
    "recorder.host",
    "recorder.port",
    "recorder.bind",
    "recorder.max_connections",
    "recorder.clients",
    "data.topology",
    "data.state",
    "data.metering",
    "data.flows",
    "metering.interval",
    "spool.path",
    "spool.max_size",
    "identity.path",
    "status.socket",
    "log.level",
];

pub const DEFAULT_HOST: &str = "gw.beta.insights.midokura.com";
pub const DEFAULT_PORT: u16 = 443;
pub const DEFAULT_RECORDER_PORT: u16 = 5005;
pub const DEFAULT_IDENTITY_PATH: &str = "/var/lib/midonet-insights-plugin/identity";
pub const DEFAULT_SPOOL_PATH: &str = "/var/lib/midonet-insights-plugin/spool";
pub const DEFAULT_STATUS_SOCKET: &str = "/var/lib/midonet-insights-plugin/status.sock";

/// The smallest spool: below it, segments and what may be in flight leave no room for eviction.
pub const MIN_SPOOL_BYTES: u64 = 64 << 20;
const MAX_SPOOL_BYTES: u64 = 1 << 40;
const DEFAULT_SPOOL_BYTES: u64 = 2 << 30;

/// `sun_path` has 108 bytes; some are kept for the name under which the socket is made before it is moved into place.
const MAX_SOCKET_PATH: usize = 100;

/// Everything that the gateway is told at start. It does not change while the gateway runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub enabled: bool,
    pub gateway: GatewayConfig,
    pub recorder: RecorderConfig,
    /// What the site's operator lets leave.
    pub data: Kinds,
    pub metering_interval: Duration,
    pub spool: SpoolConfig,
    pub identity_path: PathBuf,
    /// Where `mn-insights status` finds the running plugin.
    pub status_socket: Option<PathBuf>,
    pub log_level: log::LevelFilter,
    pub zookeeper: ZookeeperConfig,
    /// MidoNet's id of this machine; the gateway's name towards the service.
    pub host_id: Uuid,
    /// Keys below `insights_cloud` that mean nothing to this version, for a warning.
    pub unknown: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatewayConfig {
    pub host: String,
    pub port: u16,
    /// Roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Name that the service's certificate must carry.
    pub server_name: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecorderConfig {
    /// Address or name to advertise; found from the host's addresses when `None`.
    pub host: Option<String>,
    /// 0 takes any free port.
    pub port: u16,
    pub bind: IpAddr,
    pub max_connections: usize,
    /// Who may send flow records. All by default: an agent behind address translation, or one that connects from an address that its host
    /// does not tell the NSDB, would lose its records.
    pub clients: Clients,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpoolConfig {
    pub path: PathBuf,
    pub max_bytes: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ZookeeperConfig {
    /// A connect string, `h1:2181,h2:2181`.
    pub hosts: String,
    /// Absolute, without a slash at its end; empty for the root itself.
    pub root_key: String,
}

/// A value that can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key} is {value}: must be {allowed}")]
pub struct BadValue {
    pub key: String,
    pub value: String,
    pub allowed: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read the configuration")]
    Json(#[source] serde_json::Error),
    #[error("configuration: {}", Lines(.0))]
    Bad(Vec<BadValue>),
}

impl Config {
    /// Reads the JSON text. All bad values are told at once.
    pub fn from_json(text: &str) -> Result<Config, ConfigError> {
        let json: Value = serde_json::from_str(text).map_err(ConfigError::Json)?;
        let mut root = Section::new("", &json);
        let mut own = Section::new("insights_cloud", &json["insights_cloud"]);

        let enabled = own.bool("enabled", true);
        let host = own.text("gateway.host", DEFAULT_HOST, "a host name or an address", read::host);
        let server_name = own.optional("gateway.server_name", "empty, a host name or an address", read::host);
        let gateway = GatewayConfig {
            port: own.int("gateway.port", DEFAULT_PORT.into(), 1, 65_535) as u16,
            ca_file: own.optional("gateway.ca_file", "empty or an absolute path", read::path),
            server_name: server_name.unwrap_or_else(|| host.clone()),
            host,
        };
        let recorder = RecorderConfig {
            host: own.optional("recorder.host", "empty, or a host name or an address that agents reach", |host| {
                read::advertised(host)
            }),
            port: own.int("recorder.port", DEFAULT_RECORDER_PORT.into(), 0, 65_535) as u16,
            bind: own.text("recorder.bind", "0.0.0.0", "an address of this machine", |address| address.parse().ok()),
            max_connections: own.int("recorder.max_connections", 2_048, 1, 65_536) as usize,
            clients: own.text("recorder.clients", "any", clients::ALLOWED, Clients::parse),
        };
        let data = Kinds {
            topology: own.bool("data.topology", true),
            state: own.bool("data.state", true),
            metering: own.bool("data.metering", true),
            flows: own.bool("data.flows", true),
        };
        let metering_interval = own.duration(
            "metering.interval",
            Duration::from_secs(10),
            Duration::from_secs(1),
            Duration::from_secs(3_600),
        );
        let spool = SpoolConfig {
            path: own.text("spool.path", DEFAULT_SPOOL_PATH, "an absolute path", read::path),
            max_bytes: own.size("spool.max_size", DEFAULT_SPOOL_BYTES, MIN_SPOOL_BYTES, MAX_SPOOL_BYTES),
        };
        let identity_path = own.text("identity.path", DEFAULT_IDENTITY_PATH, "an absolute path", read::path);
        let status_socket = own.text(
            "status.socket",
            DEFAULT_STATUS_SOCKET,
            "empty or an absolute path of at most 100 bytes",
            |path| match path {
                "" => Some(None),
                path if path.len() <= MAX_SOCKET_PATH => read::path(path).map(Some),
                _ => None,
            },
        );
        let log_level = own.text("log.level", "info", "one of error, warn, info, debug, trace", read::level);
        let (mut bad, unknown) = own.finish();

        let mut zookeeper = Section::new("zookeeper", &json["zookeeper"]);
        let hosts = zookeeper.text("hosts", "127.0.0.1:2181", "a list such as h1:2181,h2:2181", read::connect_string);
        let root_key = zookeeper.text("root_key", "/midonet", "an absolute ZooKeeper path", read::root_key);
        bad.extend(zookeeper.finish().0);
        let host_id = root.required("host_id", "a UUID other than zero", |id| {
            Uuid::parse_str(id).ok().filter(|id| !id.is_nil())
        });
        bad.extend(root.finish().0);
        let Some(host_id) = host_id.filter(|_| bad.is_empty()) else {
            return Err(ConfigError::Bad(bad));
        };
        Ok(Config {
            enabled,
            gateway,
            recorder,
            data,
            metering_interval,
            spool,
            identity_path,
            status_socket,
            log_level,
            zookeeper: ZookeeperConfig { hosts, root_key },
            host_id,
            unknown,
        })
    }

    /// The value of each of [`KEYS`] as the key takes it: what is in force, wherever it came from.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let path = |path: &PathBuf| path.display().to_string();
        let optional = |value: &Option<PathBuf>| value.as_ref().map(path).unwrap_or_default();
        let Config { gateway, recorder, data, .. } = self;
        let values = [
            self.enabled.to_string(),
            gateway.host.clone(),
            gateway.port.to_string(),
            optional(&gateway.ca_file),
            gateway.server_name.clone(),
            recorder.host.clone().unwrap_or_default(),
            recorder.port.to_string(),
            recorder.bind.to_string(),
            recorder.max_connections.to_string(),
            recorder.clients.to_string(),
            data.topology.to_string(),
            data.state.to_string(),
            data.metering.to_string(),
            data.flows.to_string(),
            format!("{}ms", self.metering_interval.as_millis()),
            path(&self.spool.path),
            format!("{}B", self.spool.max_bytes),
            path(&self.identity_path),
            optional(&self.status_socket),
            self.log_level.to_string().to_lowercase(),
        ];
        KEYS.map(str::to_owned).into_iter().zip(values).collect()
    }
}

/// Bad values one after the other.
struct Lines<'a>(&'a [BadValue]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bad) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{bad}")?;
        }
        Ok(())
    }
}
