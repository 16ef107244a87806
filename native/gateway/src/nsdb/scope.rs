// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Which nodes below the root key matter, and how each is read.
//!
//! | tree | kind | children are |
//! |---|---|---|
//! | `zoom/0/models` | topology | classes, then objects with data |
//! | `zoom/0/state` | state | name spaces, classes, objects, then keys with data; a persistent key has values below it |
//! | `zoom/0/tables` | state | classes, objects, then tables and their arguments; a name with two commas is an entry |
//! | `bridges`, `routers` | state | tables of clouds that were upgraded from 5.2 and before, same entries |
//! | `config/{nodes,templates,schemas}`, `config/template-mappings` | local | configuration, which never leaves the site |

/// What the nodes of a tree are to the world outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Topology,
    State,
    /// Read for this gateway itself: agents' configuration.
    Local,
}

/// How a node is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Its children matter, its data does not.
    Directory,
    /// Its data matters and changes.
    Object,
    /// Its name says all; its data and stat are read once, without a watch. The parent's watch tells when it goes.
    Entry,
    /// Its data matters; when it is persistent, its children are entries.
    StateKey,
    /// Beyond what is read.
    Ignored,
}

/// A tree that is read whole.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Path relative to the root key.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Models,
    State,
    Tables,
    Legacy,
    Files,
    File,
}

/// Levels below a tree of tables: class, object, table and up to four arguments. MidoNet's tables have one argument at most; the bound
/// keeps a tree of something else from being read down to its last leaf.
const MAX_TABLE_DEPTH: usize = 7;

/// All that is read, in the order in which a snapshot gives it.
pub(crate) const TREES: [Tree; 9] = [
    Tree {
        path: "zoom/0/models",
        kind: Kind::Topology,
        shape: Shape::Models,
    },
    Tree {
        path: "zoom/0/state",
        kind: Kind::State,
        shape: Shape::State,
    },
    Tree {
        path: "zoom/0/tables",
        kind: Kind::State,
        shape: Shape::Tables,
    },
    Tree {
        path: "bridges",
        kind: Kind::State,
        shape: Shape::Legacy,
    },
    Tree {
        path: "routers",
        kind: Kind::State,
        shape: Shape::Legacy,
    },
    Tree {
        path: "config/nodes",
        kind: Kind::Local,
        shape: Shape::Files,
    },
    Tree {
        path: "config/templates",
        kind: Kind::Local,
        shape: Shape::Files,
    },
    Tree {
        path: "config/schemas",
        kind: Kind::Local,
        shape: Shape::Files,
    },
    Tree {
        path: "config/template-mappings",
        kind: Kind::Local,
        shape: Shape::File,
    },
];

impl Tree {
    /// The role of a node `depth` levels below the tree's own (which has depth 0).
    pub(crate) fn role(&self, depth: usize, name: &str) -> Role {
        match (self.shape, depth) {
            (Shape::File, 0) => Role::Object,
            (_, 0) => Role::Directory,
            (Shape::Models, 1) => Role::Directory,
            (Shape::Models, 2) => Role::Object,
            (Shape::State, 1..=3) => Role::Directory,
            (Shape::State, 4) => Role::StateKey,
            (Shape::State, 5) => Role::Entry,
            (Shape::Tables, 1..=2) | (Shape::Legacy, 1) => Role::Directory,
            (Shape::Tables | Shape::Legacy, 3..) | (Shape::Legacy, 2) if is_entry(name) => Role::Entry,
            (Shape::Tables | Shape::Legacy, ..=MAX_TABLE_DEPTH) => Role::Directory,
            (Shape::Files, 1) => Role::Object,
            _ => Role::Ignored,
        }
    }
}

/// `<key>,<value>,<version>`: MidoNet splits at commas and takes what gives three parts. Others with commas are passed on as they are.
fn is_entry(name: &str) -> bool {
    name.bytes().filter(|byte| *byte == b',').count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(path: &str) -> Role {
        let tree = TREES
            .iter()
            .find(|tree| path.strip_prefix(tree.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            .unwrap();
        let rest = path[tree.path.len()..].trim_start_matches('/');
        let depth = if rest.is_empty() { 0 } else { rest.split('/').count() };
        tree.role(depth, rest.rsplit('/').next().unwrap())
    }

    #[test]
    fn roles_of_midonets_nodes() {
        for (path, expected) in [
            ("zoom/0/models", Role::Directory),
            ("zoom/0/models/Port", Role::Directory),
            ("zoom/0/models/Port/p", Role::Object),
            ("zoom/0/models/Port/p/x", Role::Ignored),
            ("zoom/0/state/n/Port/p", Role::Directory),
            ("zoom/0/state/n/Port/p/active", Role::StateKey),
            ("zoom/0/state/n/Port/p/routes/0a", Role::Entry),
            ("zoom/0/state/n/Port/p/routes/0a/x", Role::Ignored),
            ("zoom/0/tables/Network/n/mac_table", Role::Directory),
            ("zoom/0/tables/Network/n/mac_table/0", Role::Directory),
            ("zoom/0/tables/Network/n/mac_table/0/m,p,1", Role::Entry),
            ("zoom/0/tables/Network/n/ip4_mac_table/i,m,1", Role::Entry),
            ("zoom/0/tables/a/b/c/d/e/f/g", Role::Directory),
            ("zoom/0/tables/a/b/c/d/e/f/g/h", Role::Ignored),
            ("bridges/b/vlans/7/mac_ports/m,p,1", Role::Entry),
            ("routers/r/arp_table/i,a,1", Role::Entry),
            ("config/nodes/n", Role::Object),
            ("config/template-mappings", Role::Object),
        ] {
            assert_eq!(role(path), expected, "{path}");
        }
    }
}
