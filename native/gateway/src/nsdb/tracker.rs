// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Decides what to read and what of it is news. No sockets, no clock: replies and events go in, work and changes come out.
//!
//! Every directory is listed with a watch and every object read with one. A watch fires once, so its event makes the node be read again
//! with a new watch: there is no moment without one, and whatever happened in between is in the second reading. Two facts of ZooKeeper
//! carry this: replies and events come in the order in which the server made them, and an event comes before any reply that could show
//! what it is about. Servers from 3.6 on may break the second for a read that is under way; such a read is done once more.
//!
//! A change is news if the node's `mzxid` is another than that of the last one given out, so each goes out once, whatever was read twice.
//!
//! After a lost connection all watches are set again in one go (`SetWatches`) with the newest transaction that was seen: the server fires
//! at once those whose nodes changed since, and nothing else is read. It makes no difference whether the session survived.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    memory::{Name, Node, flag},
    scope::{Kind, Role, TREES},
    zk::{Code, EventKind, Stat},
};

#[cfg(test)]
mod model;

/// Nodes with events that go before the rest of the work. Beyond them the order of the tree does; no work is lost.
const MAX_URGENT: usize = 4_096;

/// Something to ask the server. Paths are relative to the root key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    Get {
        path: String,
        watch: bool,
    },
    List {
        path: String,
    },
    /// Watch for the creation of a node that is not there.
    Exists {
        path: String,
    },
    /// Set watches again; to be gathered with others.
    Arm {
        path: String,
        data: bool,
        exist: bool,
        child: bool,
    },
}

/// Takes what is news. Paths are relative to the root key.
pub(crate) trait Sink {
    fn begin(&mut self);
    fn put(&mut self, kind: Kind, path: &str, data: Bytes, stat: &Stat);
    fn gone(&mut self, kind: Kind, path: &str);
    /// The snapshot is whole; so many nodes of topology and of state are there.
    fn end(&mut self, topology: u64, state: u64);
}

/// The state of the tap.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// One for each of [`TREES`].
    roots: Vec<Node>,
    urgent: VecDeque<String>,
    /// Readings that the snapshot still needs.
    first: u64,
    snapshot: bool,
    /// Nodes that were given out and are there, by kind.
    shipped: [u64; 3],
    nodes: u64,
}

impl Tracker {
    /// Begins with a snapshot.
    pub(crate) fn new(sink: &mut impl Sink) -> Tracker {
        let mut first = 0;
        let roots = TREES
            .iter()
            .map(|tree| {
                first += 1;
                Node::new(tree.path.into(), first_flags(tree.role(0, "")))
            })
            .collect();
        sink.begin();
        Tracker {
            roots,
            urgent: VecDeque::new(),
            first,
            snapshot: true,
            shipped: [0; 3],
            nodes: 0,
        }
    }

    /// Nodes that are remembered, directories included.
    pub(crate) fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Whether a snapshot is under way.
    #[cfg(test)]
    pub(crate) fn in_snapshot(&self) -> bool {
        self.snapshot
    }

    /// The next thing to ask; it counts as in flight until its reply or [`Tracker::disconnected`].
    pub(crate) fn next_work(&mut self) -> Option<Work> {
        while let Some(path) = self.urgent.pop_front() {
            let Some((tree, names)) = locate(&path) else { continue };
            let depth = names.len();
            let found = self.roots[tree]
                .at(&names, |node| take(node, tree, depth).map(|work| (work, node.has(flag::QUEUED))))
                .flatten();
            if let Some((work, more)) = found {
                let work = work.at(path.clone());
                if more {
                    self.urgent.push_front(path);
                }
                return Some(work);
            }
        }
        for (tree, root) in self.roots.iter_mut().enumerate() {
            let mut path = String::from(TREES[tree].path);
            if let Some(work) = root.next_work(&mut path, 0, &mut |node, depth| take(node, tree, depth)) {
                return Some(work.at(path));
            }
        }
        None
    }

    /// The data of a node that was asked for with [`Work::Get`].
    pub(crate) fn on_data(&mut self, path: &str, reply: Result<(Bytes, Stat), Code>, sink: &mut impl Sink) {
        let Some((tree, names)) = locate(path) else { return };
        let role = role_of(tree, &names, path);
        let kind = TREES[tree].kind;
        let absent = reply.as_ref().is_err_and(|code| *code == Code::NO_NODE);
        let (mut first_done, mut first_new) = (0, 0);
        let shipped = &mut self.shipped[kind as usize];
        let known = self.roots[tree].at(&names, |node| {
            let again = node.has(flag::A_DATA);
            first_done = u64::from(node.has(flag::FIRST_DATA));
            node.clear(flag::F_DATA | flag::A_DATA | flag::FIRST_DATA);
            if again {
                node.set(flag::Q_DATA);
            }
            let Ok((data, stat)) = reply else { return };
            if role != Role::Entry {
                node.set(flag::W_DATA);
            }
            let parent = role == Role::StateKey && stat.ephemeral_owner == 0;
            if parent && !node.has(flag::Q_LIST | flag::F_LIST | flag::W_LIST) {
                node.set(flag::Q_LIST | flag::FIRST_LIST);
                first_new = 1;
            }
            if parent && data.is_empty() {
                if node.has(flag::SHIPPED) {
                    node.clear(flag::SHIPPED);
                    *shipped -= 1;
                    sink.gone(kind, path);
                }
            } else if !node.has(flag::SHIPPED) || node.mzxid != stat.mzxid {
                *shipped += u64::from(!node.has(flag::SHIPPED));
                node.set(flag::SHIPPED);
                node.mzxid = stat.mzxid;
                sink.put(kind, path, data, &stat);
            }
        });
        if known.is_some() {
            self.first = self.first + first_new - first_done;
            if absent {
                self.absent(tree, &names, path, sink);
            }
        }
        self.end_snapshot(sink);
    }

    /// The children of a node that was asked for with [`Work::List`].
    pub(crate) fn on_list(&mut self, path: &str, reply: Result<Vec<String>, Code>, sink: &mut impl Sink) {
        let Some((tree, names)) = locate(path) else { return };
        let depth = names.len() + 1;
        let absent = reply.as_ref().is_err_and(|code| *code == Code::NO_NODE);
        let (mut first_done, mut first_new, mut new) = (0, 0, 0);
        let gone = self.roots[tree].at(&names, |node| {
            let again = node.has(flag::A_LIST);
            first_done = u64::from(node.has(flag::FIRST_LIST));
            node.clear(flag::F_LIST | flag::A_LIST | flag::FIRST_LIST);
            if again {
                node.set(flag::Q_LIST);
            }
            let Ok(children) = reply else { return Vec::new() };
            node.set(flag::W_LIST);
            let mut children: Vec<Name> = children.iter().map(|name| Name::from(name.as_str())).collect();
            children.sort_unstable();
            children.dedup();
            node.merge(children, |name| {
                let role = TREES[tree].role(depth, text_of(&name));
                (role != Role::Ignored).then(|| {
                    new += 1;
                    first_new += 1;
                    Node::new(name, first_flags(role))
                })
            })
        });
        let Some(gone) = gone else { return };
        self.first = self.first + first_new - first_done;
        self.nodes += new;
        for node in gone {
            self.forget(tree, &node, &child_path(path, &node.name), sink);
        }
        if absent {
            self.absent(tree, &names, path, sink);
        }
        self.end_snapshot(sink);
    }

    /// Whether a node that was asked for with [`Work::Exists`] is there.
    pub(crate) fn on_exists(&mut self, path: &str, reply: Result<bool, Code>, sink: &mut impl Sink) {
        let Some((tree, names)) = locate(path) else { return };
        let read = read_flags(role_of(tree, &names, path));
        self.roots[tree].at(&names, |node| {
            node.clear(flag::F_EXISTS);
            match reply {
                Ok(true) => node.set(read),
                Ok(false) => node.set(flag::W_EXISTS),
                Err(_) => {}
            }
        });
        self.end_snapshot(sink);
    }

    /// A watch fired.
    pub(crate) fn on_event(&mut self, kind: EventKind, path: &str, sink: &mut impl Sink) {
        let Some((tree, names)) = locate(path) else { return };
        let read = read_flags(role_of(tree, &names, path));
        match kind {
            EventKind::Deleted => {
                self.absent(tree, &names, path, sink);
                self.end_snapshot(sink);
                return;
            }
            EventKind::Created => {
                self.roots[tree].at(&names, |node| {
                    node.clear(flag::W_EXISTS);
                    node.set(read);
                });
            }
            EventKind::DataChanged => {
                self.roots[tree].at(&names, |node| {
                    node.clear(flag::W_DATA);
                    if node.has(flag::F_DATA) {
                        node.set(flag::A_DATA);
                    } else if read & flag::Q_DATA != 0 {
                        node.set(flag::Q_DATA);
                    }
                });
            }
            EventKind::ChildrenChanged => {
                self.roots[tree].at(&names, |node| {
                    node.clear(flag::W_LIST);
                    node.set(if node.has(flag::F_LIST) { flag::A_LIST } else { flag::Q_LIST });
                });
            }
            EventKind::Other => return,
        }
        if self.urgent.len() < MAX_URGENT {
            self.urgent.push_back(path.to_owned());
        }
    }

    /// The connection is gone, and with it what was in flight and all watches.
    pub(crate) fn disconnected(&mut self) {
        self.urgent.clear();
        for root in &mut self.roots {
            root.each(0, &mut |node, _| {
                for (flight, queued) in [
                    (flag::F_DATA, flag::Q_DATA),
                    (flag::F_LIST, flag::Q_LIST),
                    (flag::F_EXISTS, flag::Q_EXISTS),
                ] {
                    if node.has(flight) {
                        node.clear(flight);
                        node.set(queued);
                    }
                }
                node.clear(flag::A_DATA | flag::A_LIST);
                if node.has(flag::WATCHED) {
                    node.set(flag::Q_ARM);
                }
            });
        }
    }

    /// Begins a new snapshot: everything is read and given out again.
    pub(crate) fn resend(&mut self, sink: &mut impl Sink) {
        let mut first = 0;
        for (tree, root) in self.roots.iter_mut().enumerate() {
            let shipped = TREES[tree].kind != Kind::Local;
            root.each(0, &mut |node, _| {
                if shipped && node.has(flag::SHIPPED) {
                    node.clear(flag::SHIPPED);
                    node.set(flag::FIRST_DATA);
                    node.set(if node.has(flag::F_DATA) { flag::A_DATA } else { flag::Q_DATA });
                }
                first += u64::from((node.flags & flag::FIRST).count_ones());
            });
        }
        self.first = first;
        self.shipped[Kind::Topology as usize] = 0;
        self.shipped[Kind::State as usize] = 0;
        self.snapshot = true;
        sink.begin();
        self.end_snapshot(sink);
    }

    /// A node is not there.
    fn absent(&mut self, tree: usize, names: &[Name], path: &str, sink: &mut impl Sink) {
        if names.is_empty() {
            // A tree's own node stays known; the next reading waits for its creation.
            let root = std::mem::replace(&mut self.roots[tree], Node::new(TREES[tree].path.into(), flag::Q_EXISTS));
            self.nodes += 1;
            self.forget(tree, &root, path, sink);
        } else if let Some(node) = self.roots[tree].remove(names) {
            self.forget(tree, &node, path, sink);
        }
    }

    /// Takes a node and all below it back.
    fn forget(&mut self, tree: usize, node: &Node, path: &str, sink: &mut impl Sink) {
        let kind = TREES[tree].kind;
        node.walk(&mut path.to_owned(), &mut |node, path| {
            self.nodes = self.nodes.saturating_sub(1);
            self.first -= u64::from((node.flags & flag::FIRST).count_ones());
            if node.has(flag::SHIPPED) {
                self.shipped[kind as usize] -= 1;
                sink.gone(kind, path);
            }
        });
    }

    fn end_snapshot(&mut self, sink: &mut impl Sink) {
        if self.snapshot && self.first == 0 {
            self.snapshot = false;
            sink.end(self.shipped[Kind::Topology as usize], self.shipped[Kind::State as usize]);
        }
    }
}

/// Work without its path.
enum Taken {
    Get { watch: bool },
    List,
    Exists,
    Arm { data: bool, exist: bool, child: bool },
}

impl Taken {
    fn at(self, path: String) -> Work {
        match self {
            Taken::Get { watch } => Work::Get { path, watch },
            Taken::List => Work::List { path },
            Taken::Exists => Work::Exists { path },
            Taken::Arm { data, exist, child } => Work::Arm { path, data, exist, child },
        }
    }
}

/// Takes the next work off a node.
fn take(node: &mut Node, tree: usize, depth: usize) -> Option<Taken> {
    if node.has(flag::Q_ARM) {
        node.clear(flag::Q_ARM);
        if node.has(flag::WATCHED) {
            return Some(Taken::Arm {
                data: node.has(flag::W_DATA),
                exist: node.has(flag::W_EXISTS),
                child: node.has(flag::W_LIST),
            });
        }
    }
    if node.has(flag::Q_DATA) {
        node.clear(flag::Q_DATA);
        node.set(flag::F_DATA);
        return Some(Taken::Get {
            watch: TREES[tree].role(depth, text_of(&node.name)) != Role::Entry,
        });
    }
    if node.has(flag::Q_LIST) {
        node.clear(flag::Q_LIST);
        node.set(flag::F_LIST);
        return Some(Taken::List);
    }
    if node.has(flag::Q_EXISTS) {
        node.clear(flag::Q_EXISTS);
        node.set(flag::F_EXISTS);
        return Some(Taken::Exists);
    }
    None
}

/// How a node of this role is read.
fn read_flags(role: Role) -> u32 {
    match role {
        Role::Directory => flag::Q_LIST,
        Role::Object | Role::Entry | Role::StateKey => flag::Q_DATA,
        Role::Ignored => 0,
    }
}

/// Flags of a node that is new.
fn first_flags(role: Role) -> u32 {
    match role {
        Role::Directory => flag::Q_LIST | flag::FIRST_LIST,
        Role::Object | Role::Entry | Role::StateKey => flag::Q_DATA | flag::FIRST_DATA,
        Role::Ignored => 0,
    }
}

/// The tree of a path and the names below it.
fn locate(path: &str) -> Option<(usize, Vec<Name>)> {
    TREES.iter().enumerate().find_map(|(index, tree)| {
        let rest = path.strip_prefix(tree.path)?;
        if rest.is_empty() {
            return Some((index, Vec::new()));
        }
        Some((index, rest.strip_prefix('/')?.split('/').map(Name::from).collect()))
    })
}

fn role_of(tree: usize, names: &[Name], path: &str) -> Role {
    TREES[tree].role(names.len(), path.rsplit('/').next().unwrap_or_default())
}

/// The name, or nothing for an id: all that the roles of table entries look at is commas.
fn text_of(name: &Name) -> &str {
    match name {
        Name::Text(text) => text,
        Name::Id(_) => "",
    }
}

fn child_path(parent: &str, name: &Name) -> String {
    let mut path = String::with_capacity(parent.len() + 37);
    path.push_str(parent);
    path.push('/');
    name.write(&mut path);
    path
}
