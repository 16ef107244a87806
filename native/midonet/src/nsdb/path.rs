// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt;

use uuid::Uuid;

/// Namespace of the state that cluster nodes write; agents write under their host's id.
pub const ZERO_NAMESPACE: Uuid = Uuid::nil();

/// A state table that MidoNet registers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TableSpec {
    pub class: &'static str,
    pub name: &'static str,
    /// Whether the table is divided by an argument, one folder each.
    pub has_argument: bool,
}

/// The state tables. The argument of `mac_table` is the VLAN id, 0 for untagged.
pub const TABLES: &[TableSpec] = &[
    TableSpec {
        class: "Network",
        name: "mac_table",
        has_argument: true,
    },
    TableSpec {
        class: "Network",
        name: "ip4_mac_table",
        has_argument: false,
    },
    TableSpec {
        class: "Router",
        name: "arp_table",
        has_argument: false,
    },
    TableSpec {
        class: "Port",
        name: "peering_table",
        has_argument: false,
    },
    TableSpec {
        class: "NeutronNetwork",
        name: "gateway_table",
        has_argument: false,
    },
    TableSpec {
        class: "NeutronNetwork",
        name: "fip64_table",
        has_argument: false,
    },
];

/// The root key of an NSDB, `/midonet` by default. Builds and reads all paths below it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Root(String);

/// The text is not a root key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("root key {text:?} is not an absolute path of plain components")]
pub struct InvalidRoot {
    text: String,
}

impl Default for Root {
    fn default() -> Self {
        Root("/midonet".to_owned())
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "/" } else { &self.0 })
    }
}

impl Root {
    /// Takes the value of `zookeeper.root_key`. Slashes at the end don't count, and `/midonet/v1` means `/midonet`, as to MidoNet.
    pub fn new(root_key: &str) -> Result<Root, InvalidRoot> {
        let path = root_key.trim_end_matches('/');
        let plain = |component: &str| !matches!(component, "" | "." | "..") && !component.chars().any(char::is_control);
        let valid = path.is_empty() && !root_key.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
        match path {
            _ if !valid => Err(InvalidRoot { text: root_key.to_owned() }),
            "/midonet/v1" => Ok(Root::default()),
            _ => Ok(Root(path.to_owned())),
        }
    }

    /// `R`, without a slash at the end; empty when the root is that of ZooKeeper.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `R/zoom/0`, parent of all storage.
    pub fn zoom(&self) -> String {
        format!("{}/zoom/0", self.0)
    }

    /// Parent of all classes' objects.
    pub fn models(&self) -> String {
        format!("{}/zoom/0/models", self.0)
    }

    /// Parent of the objects of a class.
    pub fn class(&self, class: &str) -> String {
        format!("{}/zoom/0/models/{class}", self.0)
    }

    pub fn object(&self, class: &str, id: Uuid) -> String {
        format!("{}/zoom/0/models/{class}/{id}", self.0)
    }

    /// The provenance node beside an object.
    pub fn provenance(&self, class: &str, id: Uuid) -> String {
        format!("{}/zoom/0/objects/{class}/{id}", self.0)
    }

    /// Parent of all namespaces of state.
    pub fn state(&self) -> String {
        format!("{}/zoom/0/state", self.0)
    }

    /// Parent of the state of a class's objects in a namespace.
    pub fn state_class(&self, namespace: Uuid, class: &str) -> String {
        format!("{}/zoom/0/state/{namespace}/{class}", self.0)
    }

    /// Parent of the state keys of an object in a namespace.
    pub fn state_object(&self, namespace: Uuid, class: &str, id: Uuid) -> String {
        format!("{}/zoom/0/state/{namespace}/{class}/{id}", self.0)
    }

    /// A state key; for a key of many values their parent.
    pub fn state_key(&self, namespace: Uuid, class: &str, id: Uuid, key: &str) -> String {
        format!("{}/zoom/0/state/{namespace}/{class}/{id}/{key}", self.0)
    }

    /// One value of a state key of many values; the value is the node's name.
    pub fn state_value(&self, namespace: Uuid, class: &str, id: Uuid, key: &str, value: &str) -> String {
        format!("{}/zoom/0/state/{namespace}/{class}/{id}/{key}/{value}", self.0)
    }

    /// Parent of all tables.
    pub fn tables(&self) -> String {
        format!("{}/zoom/0/tables", self.0)
    }

    /// Parent of the tables of a class's objects.
    pub fn table_class(&self, class: &str) -> String {
        format!("{}/zoom/0/tables/{class}", self.0)
    }

    /// Parent of the tables of an object.
    pub fn table_object(&self, class: &str, id: Uuid) -> String {
        format!("{}/zoom/0/tables/{class}/{id}", self.0)
    }

    /// A table, or with an argument one of its folders.
    pub fn table(&self, class: &str, id: Uuid, table: &str, argument: Option<&str>) -> String {
        let slash = if argument.is_some() { "/" } else { "" };
        format!("{}/zoom/0/tables/{class}/{id}/{table}{slash}{}", self.0, argument.unwrap_or_default())
    }

    /// An entry of a table by its node's name.
    pub fn table_entry(&self, class: &str, id: Uuid, table: &str, argument: Option<&str>, entry: &str) -> String {
        format!("{}/{entry}", self.table(class, id, table, argument))
    }

    /// Where an upgraded cloud may still have a table of a network (`LegacyStateTableStorage`): where this path exists, it is used instead of
    /// that of [`Root::table`]. `None` for tables that never were elsewhere.
    pub fn legacy_table(&self, class: &str, id: Uuid, table: &str, argument: Option<&str>) -> Option<String> {
        match (class, table, argument) {
            ("Network", "mac_table", None | Some("0")) => Some(format!("{}/bridges/{id}/mac_ports", self.0)),
            ("Network", "mac_table", Some(vlan)) => Some(format!("{}/bridges/{id}/vlans/{vlan}/mac_ports", self.0)),
            ("Network", "ip4_mac_table", None) => Some(format!("{}/bridges/{id}/ip4_mac_map", self.0)),
            _ => None,
        }
    }

    /// Parent of the instances of a service.
    pub fn service(&self, name: &str) -> String {
        format!("{}/service-discovery/{name}", self.0)
    }

    pub fn service_instance(&self, name: &str, id: &str) -> String {
        format!("{}/service-discovery/{name}/{id}", self.0)
    }

    /// Values of `mn-conf` for one node.
    pub fn config_node(&self, node: Uuid) -> String {
        format!("{}/config/nodes/{node}", self.0)
    }

    pub fn config_template(&self, name: &str) -> String {
        format!("{}/config/templates/{name}", self.0)
    }

    /// Which node has which template.
    pub fn config_template_mappings(&self) -> String {
        format!("{}/config/template-mappings", self.0)
    }

    pub fn config_schema(&self, name: &str) -> String {
        format!("{}/config/schemas/{name}", self.0)
    }

    /// A sequence of keys that were given out, as four bytes, big-endian.
    pub fn sequence(&self, name: &str) -> String {
        format!("{}/sequences/{name}", self.0)
    }

    /// The topology lock.
    pub fn topology_lock(&self) -> String {
        format!("{}/zoom/0/locks/zoom-topology", self.0)
    }

    /// What stands at a path; `None` for a path outside this root.
    pub fn parse<'a>(&self, path: &'a str) -> Option<Node<'a>> {
        let rest = path.strip_prefix(self.0.as_str())?;
        if rest.is_empty() || rest == "/" {
            return Some(Node::Root);
        }
        let parts: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
        Some(parse(&parts).unwrap_or(Node::Other))
    }
}

/// What a node of the NSDB is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Node<'a> {
    Root,
    /// `zoom/0`
    Zoom,
    Models,
    Class {
        class: &'a str,
    },
    Object {
        class: &'a str,
        id: Uuid,
    },
    Provenance {
        class: &'a str,
        id: Uuid,
    },
    States,
    StateNamespace {
        namespace: Uuid,
    },
    StateClass {
        namespace: Uuid,
        class: &'a str,
    },
    StateObject {
        namespace: Uuid,
        class: &'a str,
        id: Uuid,
    },
    StateKey {
        namespace: Uuid,
        class: &'a str,
        id: Uuid,
        key: &'a str,
    },
    StateValue {
        namespace: Uuid,
        class: &'a str,
        id: Uuid,
        key: &'a str,
        value: &'a str,
    },
    Tables,
    TableClass {
        class: &'a str,
    },
    TableObject {
        class: &'a str,
        id: Uuid,
    },
    /// A table; of one with an argument the parent of its folders (`argument` is `None`) or one of them.
    Table {
        class: &'a str,
        id: Uuid,
        table: &'a str,
        argument: Option<&'a str>,
    },
    TableEntry {
        class: &'a str,
        id: Uuid,
        table: &'a str,
        argument: Option<&'a str>,
        entry: &'a str,
    },
    Service {
        name: &'a str,
    },
    ServiceInstance {
        name: &'a str,
        id: &'a str,
    },
    ConfigNode {
        node: Uuid,
    },
    ConfigTemplate {
        name: &'a str,
    },
    ConfigTemplateMappings,
    ConfigSchema {
        name: &'a str,
    },
    Sequence {
        name: &'a str,
    },
    /// Below the root, but nothing that this release knows.
    Other,
}

fn parse<'a>(parts: &[&'a str]) -> Option<Node<'a>> {
    Some(match *parts {
        ["zoom", "0"] => Node::Zoom,
        ["zoom", "0", "models"] => Node::Models,
        ["zoom", "0", "models", class] => Node::Class { class },
        ["zoom", "0", "models", class, id] => Node::Object { class, id: canonical(id)? },
        ["zoom", "0", "objects", class, id] => Node::Provenance { class, id: canonical(id)? },
        ["zoom", "0", "state"] => Node::States,
        ["zoom", "0", "state", namespace, ref rest @ ..] => state(canonical(namespace)?, rest)?,
        ["zoom", "0", "tables"] => Node::Tables,
        ["zoom", "0", "tables", class] => Node::TableClass { class },
        ["zoom", "0", "tables", class, id] => Node::TableObject { class, id: canonical(id)? },
        ["zoom", "0", "tables", class, id, table, ref rest @ ..] => tables(class, canonical(id)?, table, rest)?,
        ["bridges", id, ref rest @ ..] => legacy_table(canonical(id)?, rest)?,
        ["service-discovery", name] => Node::Service { name },
        ["service-discovery", name, id] => Node::ServiceInstance { name, id },
        ["config", "nodes", node] => Node::ConfigNode { node: canonical(node)? },
        ["config", "templates", name] => Node::ConfigTemplate { name },
        ["config", "template-mappings"] => Node::ConfigTemplateMappings,
        ["config", "schemas", name] => Node::ConfigSchema { name },
        ["sequences", name] => Node::Sequence { name },
        _ => return None,
    })
}

fn state<'a>(namespace: Uuid, parts: &[&'a str]) -> Option<Node<'a>> {
    Some(match *parts {
        [] => Node::StateNamespace { namespace },
        [class] => Node::StateClass { namespace, class },
        [class, id] => Node::StateObject {
            namespace,
            class,
            id: canonical(id)?,
        },
        [class, id, key] => Node::StateKey {
            namespace,
            class,
            id: canonical(id)?,
            key,
        },
        [class, id, key, value] => Node::StateValue {
            namespace,
            class,
            id: canonical(id)?,
            key,
            value,
        },
        _ => return None,
    })
}

fn tables<'a>(class: &'a str, id: Uuid, table: &'a str, parts: &[&'a str]) -> Option<Node<'a>> {
    let known = TABLES.iter().find(|known| known.class == class && known.name == table);
    // A table of a later release shows by its entries' names, which hold commas, whether it has an argument.
    let has_argument = |first: &str| known.map_or(!first.contains(','), |known| known.has_argument);
    Some(match *parts {
        [] => Node::Table {
            class,
            id,
            table,
            argument: None,
        },
        [argument] if has_argument(argument) => Node::Table {
            class,
            id,
            table,
            argument: Some(argument),
        },
        [entry] => Node::TableEntry {
            class,
            id,
            table,
            argument: None,
            entry,
        },
        [argument, entry] if has_argument(argument) => Node::TableEntry {
            class,
            id,
            table,
            argument: Some(argument),
            entry,
        },
        _ => return None,
    })
}

/// Tables in their old place are given as those that they stand for.
fn legacy_table<'a>(id: Uuid, parts: &[&'a str]) -> Option<Node<'a>> {
    let (table, argument, entry) = match *parts {
        ["mac_ports"] => ("mac_table", Some("0"), None),
        ["mac_ports", entry] => ("mac_table", Some("0"), Some(entry)),
        ["vlans", vlan, "mac_ports"] => ("mac_table", Some(vlan), None),
        ["vlans", vlan, "mac_ports", entry] => ("mac_table", Some(vlan), Some(entry)),
        ["ip4_mac_map"] => ("ip4_mac_table", None, None),
        ["ip4_mac_map", entry] => ("ip4_mac_table", None, Some(entry)),
        _ => return None,
    };
    let class = "Network";
    Some(match entry {
        None => Node::Table { class, id, table, argument },
        Some(entry) => Node::TableEntry {
            class,
            id,
            table,
            argument,
            entry,
        },
    })
}

/// Ids are node names in one form only: lower-case, with dashes.
fn canonical(text: &str) -> Option<Uuid> {
    let lower = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if lower { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_keys() {
        let root = |text: &str| Root::new(text).map(|root| root.0);
        assert_eq!(root("/midonet").unwrap(), "/midonet");
        assert_eq!(root("/midonet/").unwrap(), "/midonet");
        assert_eq!(root("/midonet/v1").unwrap(), "/midonet");
        assert_eq!(root("/a/b").unwrap(), "/a/b");
        assert_eq!(root("/").unwrap(), "");
        for text in ["", "midonet", "//midonet", "/a//b", "/a/../b", "/a/.", "/a\n"] {
            assert!(root(text).is_err(), "{text:?}");
        }
        assert_eq!(
            Root::new("x y").unwrap_err().to_string(),
            "root key \"x y\" is not an absolute path of plain components"
        );
        assert_eq!(Root::new("/").unwrap().to_string(), "/");
    }

    #[test]
    fn any_root_key_is_built_and_read() {
        let id: Uuid = "8a09c643-bd1a-59a3-b5e6-ee2d968868f5".parse().unwrap();
        for key in ["/", "/midonet", "/site/a"] {
            let root = Root::new(key).unwrap();
            let path = root.table_entry("Network", id, "mac_table", Some("0"), "fa:16:3e:00:00:01,x,0000000000");
            let entry = Node::TableEntry {
                class: "Network",
                id,
                table: "mac_table",
                argument: Some("0"),
                entry: "fa:16:3e:00:00:01,x,0000000000",
            };
            assert_eq!(root.parse(&path), Some(entry));
            assert_eq!(root.parse(&root.zoom()), Some(Node::Zoom));
            assert_eq!(root.parse(&root.config_schema("agent")), Some(Node::ConfigSchema { name: "agent" }));
            assert_eq!(root.parse(&root.config_node(id)), Some(Node::ConfigNode { node: id }));
            assert_eq!(root.parse(&root.to_string()), Some(Node::Root));
        }
        assert_eq!(Root::default().parse("/midonet2/zoom/0"), None);
        assert_eq!(Root::default().parse("/other"), None);
    }

    #[test]
    fn what_is_no_id_is_something_else() {
        let root = Root::default();
        for id in ["8A09C643-BD1A-59A3-B5E6-EE2D968868F5", "8a09c643bd1a59a3b5e6ee2d968868f5", "x"] {
            assert_eq!(root.parse(&format!("/midonet/zoom/0/models/Network/{id}")), Some(Node::Other));
        }
        assert_eq!(root.parse("/midonet/zoom/1"), Some(Node::Other));
    }

    #[test]
    fn tables_in_their_old_place_are_read() {
        let root = Root::default();
        let id = Uuid::nil();
        for (table, argument) in [("mac_table", Some("0")), ("mac_table", Some("101")), ("ip4_mac_table", None)] {
            let path = root.legacy_table("Network", id, table, argument).unwrap();
            assert!(path.starts_with("/midonet/bridges/00000000"));
            assert_eq!(
                root.parse(&path),
                Some(Node::Table {
                    class: "Network",
                    id,
                    table,
                    argument
                })
            );
            let entry = Node::TableEntry {
                class: "Network",
                id,
                table,
                argument,
                entry: "a,b,1",
            };
            assert_eq!(root.parse(&format!("{path}/a,b,1")), Some(entry));
        }
        assert_eq!(root.legacy_table("Router", id, "arp_table", None), None);
    }

    #[test]
    fn tables_of_later_releases_are_read() {
        let root = Root::default();
        let id = Uuid::nil();
        let base = root.table("Router", id, "new_table", None);
        let node = |rest: &str| format!("{base}{rest}");
        assert_eq!(
            root.parse(&base),
            Some(Node::Table {
                class: "Router",
                id,
                table: "new_table",
                argument: None
            })
        );
        assert_eq!(
            root.parse(&node("/7")),
            Some(Node::Table {
                class: "Router",
                id,
                table: "new_table",
                argument: Some("7")
            })
        );
        let plain = Node::TableEntry {
            class: "Router",
            id,
            table: "new_table",
            argument: None,
            entry: "a,b,1",
        };
        assert_eq!(root.parse(&node("/a,b,1")), Some(plain));
        let divided = Node::TableEntry {
            class: "Router",
            id,
            table: "new_table",
            argument: Some("7"),
            entry: "a,b,1",
        };
        assert_eq!(root.parse(&node("/7/a,b,1")), Some(divided));
    }
}
