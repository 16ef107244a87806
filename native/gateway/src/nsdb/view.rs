// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What the other taps want to know of the NSDB: hosts, their addresses, the port of their meters.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use midonet::{
    config::{self, Layers},
    model::decode_object,
    nsdb::state::HostState,
};
use parking_lot::RwLock;
use tokio::sync::watch;
use uuid::Uuid;

/// Addresses that are kept of one host and zone. A compute host with an address on each of many bridges has some dozens.
const MAX_ADDRESSES: usize = 64;

/// A live view of the site's hosts, kept by the tap. Cheap to clone; all clones are the same view.
#[derive(Clone, Debug)]
pub struct View(Arc<Inner>);

/// An agent that is alive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    pub host: Uuid,
    /// The machine's name as it calls itself; empty when the host has no object.
    pub name: String,
    /// Addresses by which its meters may be reached, the most probable first.
    pub addresses: Vec<IpAddr>,
    /// Port of its meters, or the setting that is no port.
    pub stats_port: Result<u16, String>,
}

#[derive(Debug)]
struct Inner {
    state: RwLock<State>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    whole: bool,
    hosts: BTreeMap<Uuid, Host>,
    /// Tunnel end points by tunnel zone.
    zones: BTreeMap<Uuid, Vec<(Uuid, IpAddr)>>,
    /// The meters' port as each layer of `mn-conf` has it.
    nodes: HashMap<String, String>,
    templates: HashMap<String, String>,
    schemas: BTreeMap<String, String>,
    mappings: Vec<u8>,
}

#[derive(Debug, Default)]
struct Host {
    name: Option<String>,
    alive: bool,
    /// Of interfaces that are up: physical ones first. Kept when the agent goes, since it comes back.
    addresses: Vec<IpAddr>,
}

impl Default for View {
    fn default() -> Self {
        View(Arc::new(Inner {
            state: RwLock::default(),
            version: watch::Sender::new(0),
        }))
    }
}

impl View {
    /// Rises with every change.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Whether everything was read once: before, a host that is not there may only not have been read.
    pub fn is_whole(&self) -> bool {
        self.0.state.read().whole
    }

    /// The agents that are alive, by host id.
    ///
    /// An address that several agents would share with the same port says nothing of who answers there (bridges of containers have the same
    /// address on every machine), so it is left out; so are this machine's own addresses, `local`, for all but its own agent, `own`.
    pub fn agents(&self, own: Uuid, local: &HashSet<IpAddr>) -> Vec<Agent> {
        let state = self.0.state.read();
        let mut agents: Vec<Agent> = state
            .hosts
            .iter()
            .filter(|(_, host)| host.alive)
            .map(|(id, host)| state.agent(*id, host))
            .collect();
        let mut uses: HashMap<(IpAddr, Option<u16>), usize> = HashMap::new();
        for agent in &agents {
            let port = agent.stats_port.as_ref().ok().copied();
            agent.addresses.iter().for_each(|address| *uses.entry((*address, port)).or_default() += 1);
        }
        for agent in &mut agents {
            let port = agent.stats_port.as_ref().ok().copied();
            let foreign = |address: &IpAddr| address.is_loopback() || !local.contains(address) || agent.host == own;
            agent.addresses.retain(|address| uses[&(*address, port)] == 1 && foreign(address));
        }
        agents
    }

    /// Whether the address is one of a host's, alive or not.
    pub fn is_host_address(&self, address: IpAddr) -> bool {
        let state = self.0.state.read();
        state.hosts.values().any(|host| host.addresses.contains(&address))
            || state.zones.values().flatten().any(|(_, zone_address)| *zone_address == address)
    }

    /// Takes a node over. Paths are relative to the root key.
    pub fn put(&self, path: &str, data: &[u8]) {
        if let Some(node) = Node::of(path) {
            self.0.state.write().put(&node, data);
            self.changed();
        }
    }

    /// Forgets a node.
    pub fn gone(&self, path: &str) {
        if let Some(node) = Node::of(path) {
            self.0.state.write().gone(&node);
            self.changed();
        }
    }

    /// Everything was read once.
    pub fn set_whole(&self) {
        self.0.state.write().whole = true;
        self.changed();
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.state.write() = State::default();
        self.changed();
    }

    fn changed(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }
}

/// A node that the view is made of.
enum Node<'a> {
    Host(Uuid),
    Zone(Uuid),
    Alive(Uuid),
    Interfaces(Uuid),
    Settings(&'a str),
    Template(&'a str),
    Schema(&'a str),
    Mappings,
}

impl Node<'_> {
    fn of(path: &str) -> Option<Node<'_>> {
        let id = |text: &str| Uuid::parse_str(text).ok();
        if let Some(rest) = path.strip_prefix("zoom/0/models/") {
            let (class, object) = rest.split_once('/')?;
            return match class {
                "Host" => id(object).map(Node::Host),
                "TunnelZone" => id(object).map(Node::Zone),
                _ => None,
            };
        }
        if let Some(rest) = path.strip_prefix("zoom/0/state/") {
            let mut parts = rest.split('/').skip(1);
            if parts.next() != Some("Host") {
                return None;
            }
            let host = id(parts.next()?)?;
            return match parts.next()? {
                "alive" => Some(Node::Alive(host)),
                "host" => Some(Node::Interfaces(host)),
                _ => None,
            };
        }
        match path.strip_prefix("config/")?.split_once('/') {
            None => Some(Node::Mappings),
            Some(("nodes", name)) => Some(Node::Settings(name)),
            Some(("templates", name)) => Some(Node::Template(name)),
            Some(("schemas", name)) => Some(Node::Schema(name)),
            Some(_) => None,
        }
    }
}

impl State {
    fn put(&mut self, node: &Node<'_>, data: &[u8]) {
        match *node {
            Node::Host(id) => {
                let name = decode_object("Host", data)
                    .ok()
                    .and_then(|host| host.str("name").map(|name| name.into_owned()));
                self.hosts.entry(id).or_default().name = Some(name.unwrap_or_default());
            }
            Node::Zone(id) => {
                let addresses = decode_object("TunnelZone", data).map(|zone| {
                    let of_host = zone
                        .messages("hosts")
                        .into_iter()
                        .filter_map(|host| host.uuid("host_id").zip(host.ip("ip")));
                    of_host.collect()
                });
                self.zones.insert(id, addresses.unwrap_or_default());
            }
            Node::Alive(id) => self.hosts.entry(id).or_default().alive = true,
            Node::Interfaces(id) => {
                if let Ok(state) = HostState::parse(data) {
                    self.hosts.entry(id).or_default().addresses = usable_addresses(&state);
                }
            }
            Node::Settings(name) => set(&mut self.nodes, name, data),
            Node::Template(name) => set(&mut self.templates, name, data),
            Node::Schema(name) => {
                match stats_port(data) {
                    Some(port) => self.schemas.insert(name.to_owned(), port),
                    None => self.schemas.remove(name),
                };
            }
            Node::Mappings => self.mappings = data.to_vec(),
        }
    }

    fn gone(&mut self, node: &Node<'_>) {
        match *node {
            Node::Host(id) => {
                // An agent that runs goes on without its object until somebody stops it.
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.name = None;
                }
                self.drop_host(id);
            }
            Node::Zone(id) => drop(self.zones.remove(&id)),
            Node::Alive(id) => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.alive = false;
                }
                self.drop_host(id);
            }
            Node::Interfaces(_) => {}
            Node::Settings(name) => drop(self.nodes.remove(name)),
            Node::Template(name) => drop(self.templates.remove(name)),
            Node::Schema(name) => drop(self.schemas.remove(name)),
            Node::Mappings => self.mappings.clear(),
        }
    }

    /// Forgets a host of which nothing is left.
    fn drop_host(&mut self, id: Uuid) {
        if self.hosts.get(&id).is_some_and(|host| host.name.is_none() && !host.alive) {
            self.hosts.remove(&id);
        }
    }

    fn agent(&self, id: Uuid, host: &Host) -> Agent {
        let mut addresses = host.addresses.clone();
        // A tunnel's end point is certain to be the host's; interfaces tell the management network, which this machine shares.
        for (of, address) in self.zones.values().flatten() {
            if *of == id && !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        Agent {
            host: id,
            name: host.name.clone().unwrap_or_default(),
            addresses,
            stats_port: self.stats_port(id),
        }
    }

    /// In the order of `mn-conf`: the node, its template, the default template, the schemas.
    fn stats_port(&self, host: Uuid) -> Result<u16, String> {
        let template = config::template_of(&self.mappings, host).unwrap_or_else(|_| config::DEFAULT_TEMPLATE.to_owned());
        let setting = self
            .nodes
            .get(&host.to_string())
            .or_else(|| self.templates.get(&template))
            .or_else(|| self.templates.get(config::DEFAULT_TEMPLATE))
            .or_else(|| self.schemas.values().next());
        match setting {
            None => Ok(config::DEFAULT_STATS_PORT),
            // Port 0 lets the agent take any free port, which nobody else can know.
            Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or_else(|| text.clone()),
        }
    }
}

fn set(layer: &mut HashMap<String, String>, name: &str, data: &[u8]) {
    match stats_port(data) {
        Some(port) => layer.insert(name.to_owned(), port),
        None => layer.remove(name),
    };
}

/// The setting in one layer, if it has one that can be read.
fn stats_port(data: &[u8]) -> Option<String> {
    let mut layer = Layers::new();
    layer.push("", data).ok()?;
    layer.get(config::STATS_PORT).ok()?.map(|setting| setting.text.to_owned())
}

/// Addresses of interfaces that are up, physical interfaces first, without loopback and link-local ones.
fn usable_addresses(state: &HostState) -> Vec<IpAddr> {
    let mut interfaces: Vec<_> = state
        .interfaces
        .iter()
        .filter(|interface| interface.up && interface.name != "lo" && interface.endpoint.as_deref() != Some("LOCALHOST_EP"))
        .collect();
    interfaces.sort_by_key(|interface| interface.kind.as_deref() != Some("PHYSICAL"));
    let mut addresses = Vec::new();
    for address in interfaces.iter().flat_map(|interface| &interface.addresses) {
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified(),
        };
        if !link_local && !addresses.contains(address) && addresses.len() < MAX_ADDRESSES {
            addresses.push(*address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use midonet::nsdb::state::Interface;

    use super::*;

    const A: Uuid = Uuid::from_u128(0xa);
    const B: Uuid = Uuid::from_u128(0xb);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn interface(name: &str, kind: &str, addresses: &[&str]) -> Interface {
        Interface {
            name: name.into(),
            kind: Some(kind.into()),
            up: true,
            addresses: addresses.iter().map(|text| ip(text)).collect(),
            ..Interface::default()
        }
    }

    fn host(view: &View, id: Uuid, interfaces: Vec<Interface>) {
        view.put(&format!("zoom/0/state/{id}/Host/{id}/alive"), b"alive");
        let state = HostState { host: Some(id), interfaces };
        view.put(&format!("zoom/0/state/{id}/Host/{id}/host"), state.to_text().as_bytes());
    }

    fn agents(view: &View) -> Vec<Agent> {
        view.agents(Uuid::nil(), &HashSet::new())
    }

    #[test]
    fn physical_addresses_come_first_and_shared_ones_not_at_all() {
        let view = View::default();
        let bridge = || interface("docker0", "VIRTUAL", &["172.17.0.1"]);
        host(
            &view,
            A,
            vec![
                bridge(),
                interface("lo", "VIRTUAL", &["127.0.0.1"]),
                interface("br0", "VIRTUAL", &["10.0.0.1"]),
                interface("eth0", "PHYSICAL", &["192.0.2.1", "169.254.1.1"]),
            ],
        );
        host(&view, B, vec![bridge(), interface("eth0", "PHYSICAL", &["192.0.2.2"])]);
        let agents = agents(&view);
        assert_eq!(agents[0].addresses, [ip("192.0.2.1"), ip("10.0.0.1")]);
        assert_eq!(agents[1].addresses, [ip("192.0.2.2")]);
        assert!(view.is_host_address(ip("172.17.0.1")) && !view.is_host_address(ip("192.0.2.9")));
    }

    #[test]
    fn an_address_of_this_machine_is_that_of_its_own_agent_only() {
        let view = View::default();
        host(&view, A, vec![interface("eth0", "PHYSICAL", &["192.0.2.1"])]);
        let local = HashSet::from([ip("192.0.2.1")]);
        assert_eq!(view.agents(B, &local)[0].addresses, [] as [IpAddr; 0]);
        assert_eq!(view.agents(A, &local)[0].addresses, [ip("192.0.2.1")]);
    }

    #[test]
    fn the_port_comes_from_the_first_layer_that_has_it() {
        let view = View::default();
        host(&view, A, vec![]);
        host(&view, B, vec![]);
        let ports = || agents(&view).into_iter().map(|agent| agent.stats_port).collect::<Vec<_>>();
        let layer = |port: &str| format!("{{\"agent\": {{\"midolman\": {{\"stats_http_server_port\": {port}}}}}}}").into_bytes();
        assert_eq!(ports(), [Ok(7300), Ok(7300)]);
        view.put("config/schemas/agent", &layer("7301"));
        assert_eq!(ports(), [Ok(7301), Ok(7301)]);
        view.put("config/templates/default", &layer("7302"));
        view.put("config/templates/t", &layer("7303"));
        view.put("config/template-mappings", format!("{{\"{A}\": \"t\"}}").as_bytes());
        assert_eq!(ports(), [Ok(7303), Ok(7302)]);
        view.put(&format!("config/nodes/{B}"), &layer("0"));
        assert_eq!(ports(), [Ok(7303), Err("0".into())]);
        view.gone(&format!("config/nodes/{B}"));
        view.gone("config/template-mappings");
        assert_eq!(ports(), [Ok(7302), Ok(7302)]);
    }

    #[test]
    fn a_host_is_there_as_long_as_anything_says_so() {
        let view = View::default();
        host(&view, A, vec![interface("eth0", "PHYSICAL", &["192.0.2.1"])]);
        view.put(&format!("zoom/0/models/Host/{A}"), b"name: \"compute-1\"\n");
        view.gone(&format!("zoom/0/state/{A}/Host/{A}/host"));
        view.gone(&format!("zoom/0/state/{A}/Host/{A}/alive"));
        assert_eq!(agents(&view), []);
        view.put(&format!("zoom/0/state/{A}/Host/{A}/alive"), b"alive");
        let back = agents(&view);
        assert_eq!(
            (back[0].name.as_str(), back[0].addresses.as_slice()),
            ("compute-1", &[ip("192.0.2.1")][..])
        );
    }
}
