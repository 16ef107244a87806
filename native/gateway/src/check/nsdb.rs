// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What ZooKeeper says: the configuration, the recorder's entry in service discovery, and whether the agents send to it.

use std::time::Duration;

use midonet::{
    config::{DEFAULT_TEMPLATE, Layers, template_of},
    discovery::Instance,
};
use tokio::{net::TcpStream, time::timeout};
use uuid::Uuid;

use super::{
    Finding,
    settings::{SCHEMA, Settings},
};
use crate::{
    Config,
    clock::chain,
    config::Clients,
    nsdb::zk::{Endpoints, Session, ZkError},
    recorder::{SERVICE, local_addresses},
};

const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// Hosts that are named in a finding; the others are counted.
const MAX_NAMED: usize = 5;

/// An open session on the site's NSDB.
pub(super) struct Nsdb {
    session: Session,
    root: String,
    /// The shared layers: what is behind a node's own.
    mappings: Vec<u8>,
    schemas: Vec<(String, Vec<u8>)>,
}

/// Connects, and says whether MidoNet is there.
pub(super) async fn open(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Nsdb> {
    let name = "ZooKeeper";
    let hosts = &settings.zookeeper;
    let remedy = "check zookeeper_hosts and root_key in /etc/midonet/midonet.conf, and that ZooKeeper runs";
    let endpoints = match Endpoints::parse(hosts) {
        Ok(endpoints) => endpoints,
        Err(error) => {
            findings.push(Finding::problem(name, error.to_string(), remedy));
            return None;
        }
    };
    let root = settings.root_key.trim_end_matches('/').to_owned();
    let opened = async {
        let mut session = timeout(SESSION_TIMEOUT, Session::open(&endpoints, SESSION_TIMEOUT))
            .await
            .map_err(|_| None)?
            .map_err(Some)?;
        let models = session.children(&format!("{root}/zoom/0/models")).await.map_err(Some)?;
        Ok::<_, Option<ZkError>>((session, models))
    };
    match opened.await {
        Ok((session, Some(_))) => {
            findings.push(Finding::good(name, format!("{hosts} answers and has MidoNet's database at {root}")));
            Some(Nsdb {
                session,
                root,
                mappings: Vec::new(),
                schemas: Vec::new(),
            })
        }
        Ok((_, None)) => {
            findings.push(Finding::problem(
                name,
                format!("{hosts} answers but has no MidoNet database at {root}"),
                remedy,
            ));
            None
        }
        Err(error) => {
            let why = error.map_or_else(|| "it does not answer".into(), |error| chain(&error));
            findings.push(Finding::problem(name, format!("{hosts}: {why}"), remedy));
            None
        }
    }
}

impl Nsdb {
    /// MidoNet's configuration for this machine.
    pub(super) async fn layers(&mut self, host: Option<Uuid>, findings: &mut Vec<Finding>) -> Layers {
        let read = async {
            self.mappings = self.data("config/template-mappings").await?;
            let path = format!("{}/config/schemas", self.root);
            for name in self.session.children(&path).await?.unwrap_or_default() {
                let data = self.data(&format!("config/schemas/{name}")).await?;
                self.schemas.push((name, data));
            }
            self.layers_of(host).await
        };
        match read.await {
            Ok(layers) => layers,
            Err(error) => {
                findings.push(Finding::problem("configuration", chain(&error), "see ZooKeeper's log"));
                Layers::new()
            }
        }
    }

    /// Whether this machine is registered as flow recorder, and takes connections there.
    pub(super) async fn recorder(&mut self, config: &Config) -> Finding {
        let name = "recorder address";
        if !config.data.flows {
            return Finding::good(name, "none is needed: insights_cloud.data.flows is false");
        }
        let entries = match self.entries().await {
            Ok(entries) => entries,
            Err(error) => return Finding::problem(name, chain(&error), "see ZooKeeper's log"),
        };
        let local = local_addresses();
        let mine = |instance: &&Instance| {
            let address = instance.address.as_deref().unwrap_or_default();
            config.recorder.host.as_deref() == Some(address) || address.parse().is_ok_and(|address| local.contains(&address))
        };
        let Some(instance) = entries.iter().find(mine) else {
            let found = format!("this machine is not registered as {SERVICE}; {} others are", entries.len());
            return Finding::warning(
                name,
                found,
                "start the plugin; if it runs, its log says why the recorder is not registered",
            );
        };
        let Some((address, port)) = instance.endpoint() else {
            return Finding::problem(name, "the entry in service discovery has no address", "restart the MidoNet Cluster");
        };
        let loopback = address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()) || address == "localhost";
        let place = format!("{address}:{port}");
        // The plugin would count this machine as refused.
        let own: Option<std::net::IpAddr> = address.parse().ok();
        let refused = matches!(&config.recorder.clients, Clients::Listed { hosts: false, networks }
            if !own.is_some_and(|own| networks.iter().any(|network| network.contains(own))));
        if refused {
            return Finding::good(
                name,
                format!("{place} is registered; this machine is not among insights_cloud.recorder.clients, so it was not tried"),
            );
        }
        match timeout(CONNECT_TIME, TcpStream::connect((address, port))).await {
            Ok(Ok(_)) if loopback => Finding::warning(
                name,
                format!("{place} is reached by agents on this machine only"),
                "set insights_cloud.recorder.host for this host",
            ),
            Ok(Ok(_)) => Finding::good(name, format!("{place} is registered and takes connections; agents must reach it, too")),
            Ok(Err(error)) => Finding::problem(
                name,
                format!("{place} is registered but refuses: {error}"),
                "set insights_cloud.recorder.host for this host, or open the port",
            ),
            Err(_) => Finding::problem(
                name,
                format!("{place} is registered but does not answer"),
                "set insights_cloud.recorder.host for this host, or open the port",
            ),
        }
    }

    /// Whether the agents are told to send flow records here.
    pub(super) async fn agents(&mut self, config: &Config) -> Finding {
        let name = "agents' settings";
        if !config.data.flows {
            return Finding::good(name, "flows are off");
        }
        let remedy =
            format!("mn-conf set -t default 'agent.flow_history {{ enabled : true, endpoint_service : {SERVICE} }}', then restart the agents");
        match self.silent_hosts().await {
            Ok((0, _)) => Finding::warning(name, "the site has no hosts", "nothing, until agents run"),
            Ok((hosts, silent)) if silent.is_empty() => Finding::good(
                name,
                format!("all {hosts} hosts send flow records to {SERVICE}; agents read this at their start"),
            ),
            Ok((hosts, silent)) => {
                let mut names: Vec<_> = silent.iter().take(MAX_NAMED).cloned().collect();
                if silent.len() > MAX_NAMED {
                    names.push("…".into());
                }
                Finding::warning(
                    name,
                    format!(
                        "{} of {hosts} hosts don't send flow records to {SERVICE}: {}",
                        silent.len(),
                        names.join(", ")
                    ),
                    remedy,
                )
            }
            Err(error) => Finding::problem(name, chain(&error), "see ZooKeeper's log"),
        }
    }

    /// How many hosts there are, and those whose settings send no flow records here.
    async fn silent_hosts(&mut self) -> Result<(usize, Vec<String>), ZkError> {
        let path = format!("{}/zoom/0/models/Host", self.root);
        let hosts = self.session.children(&path).await?.unwrap_or_default();
        let mut silent = Vec::new();
        for host in &hosts {
            let layers = self.layers_of(Uuid::parse_str(host).ok()).await?;
            let text = |key: &str| layers.get(key).ok().flatten().map(|setting| setting.text.to_owned());
            let sends = layers.bool("agent.flow_history.enabled").ok().flatten() == Some(true)
                && text("agent.flow_history.endpoint_service").as_deref() == Some(SERVICE)
                && text("agent.flow_history.encoding").as_deref() != Some("none");
            if !sends {
                silent.push(host.clone());
            }
        }
        Ok((hosts.len(), silent))
    }

    async fn entries(&mut self) -> Result<Vec<Instance>, ZkError> {
        let folder = format!("service-discovery/{SERVICE}");
        let names = self.session.children(&format!("{}/{folder}", self.root)).await?.unwrap_or_default();
        let mut entries = Vec::new();
        for name in names {
            entries.extend(Instance::parse(&self.data(&format!("{folder}/{name}")).await?).ok());
        }
        Ok(entries)
    }

    /// In MidoNet's order: the node, its template, the default template, the schemas. What can't be read is left out, as mn-conf would
    /// complain of it first.
    async fn layers_of(&mut self, host: Option<Uuid>) -> Result<Layers, ZkError> {
        let mut layers = Layers::new();
        if let Some(host) = host {
            let node = self.data(&format!("config/nodes/{host}")).await?;
            let _ = layers.push(format!("node {host}"), &node);
            let template = template_of(&self.mappings, host).unwrap_or_else(|_| DEFAULT_TEMPLATE.to_owned());
            if template != DEFAULT_TEMPLATE {
                let data = self.data(&format!("config/templates/{template}")).await?;
                let _ = layers.push(format!("template {template}"), &data);
            }
        }
        let data = self.data(&format!("config/templates/{DEFAULT_TEMPLATE}")).await?;
        let _ = layers.push("default template", &data);
        for (name, data) in &self.schemas {
            let _ = layers.push(format!("{SCHEMA}{name}"), data);
        }
        Ok(layers)
    }

    /// The data of a node; none where there is no node.
    async fn data(&mut self, path: &str) -> Result<Vec<u8>, ZkError> {
        let found = self.session.get(&format!("{}/{path}", self.root)).await?;
        Ok(found.map(|(data, _)| data.to_vec()).unwrap_or_default())
    }
}
