// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is remembered of each node: its name, the transaction of its last change, and what is to be done with it.
//!
//! Nodes form a tree of sorted lists, so that no path is stored twice. A node takes [`NODE_BYTES`] bytes; a name that is not a UUID takes
//! its length besides, a directory 32 bytes. A cloud of 100,000 objects with 400,000 nodes is remembered in some 30 MB.
//! Work is not queued but flagged at its node and on the way to it, so that the same work never waits twice and needs no memory of its own.

/// Size of a remembered node.
pub const NODE_BYTES: usize = std::mem::size_of::<Node>();

/// A node's name. MidoNet's names are UUIDs for the greatest part.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Name {
    Id([u8; 16]),
    Text(Box<str>),
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        match canonical_uuid(text) {
            Some(id) => Name::Id(id),
            None => Name::Text(text.into()),
        }
    }
}

impl Name {
    /// Appends the name's text.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Name::Text(text) => out.push_str(text),
            Name::Id(id) => {
                let mut buffer = [0; 36];
                out.push_str(uuid::Uuid::from_bytes(*id).hyphenated().encode_lower(&mut buffer));
            }
        }
    }
}

/// Flags of a node. `Q_` is queued, `F_` in flight, `A_` to be asked again after the reply in flight, `W_` watched.
pub(crate) mod flag {
    pub(crate) const Q_DATA: u32 = 1;
    pub(crate) const Q_LIST: u32 = 1 << 1;
    pub(crate) const Q_EXISTS: u32 = 1 << 2;
    /// Its watches are to be set again.
    pub(crate) const Q_ARM: u32 = 1 << 3;
    /// There is work below this node.
    pub(crate) const BELOW: u32 = 1 << 4;
    pub(crate) const F_DATA: u32 = 1 << 5;
    pub(crate) const F_LIST: u32 = 1 << 6;
    pub(crate) const F_EXISTS: u32 = 1 << 7;
    pub(crate) const A_DATA: u32 = 1 << 8;
    pub(crate) const A_LIST: u32 = 1 << 9;
    pub(crate) const W_DATA: u32 = 1 << 10;
    pub(crate) const W_LIST: u32 = 1 << 11;
    pub(crate) const W_EXISTS: u32 = 1 << 12;
    /// Its data was not read since the snapshot began.
    pub(crate) const FIRST_DATA: u32 = 1 << 13;
    /// Its children were not listed since the snapshot began.
    pub(crate) const FIRST_LIST: u32 = 1 << 14;
    /// It was given out and not taken back.
    pub(crate) const SHIPPED: u32 = 1 << 15;

    pub(crate) const QUEUED: u32 = Q_DATA | Q_LIST | Q_EXISTS | Q_ARM;
    pub(crate) const FIRST: u32 = FIRST_DATA | FIRST_LIST;
    pub(crate) const WATCHED: u32 = W_DATA | W_LIST | W_EXISTS;
}

/// One node of ZooKeeper.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Name,
    /// Transaction of the last change that was given out.
    pub(crate) mzxid: i64,
    pub(crate) flags: u32,
    pub(crate) children: Option<Box<Children>>,
}

/// Sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Children {
    pub(crate) nodes: Vec<Node>,
    /// No child before this one has work.
    first_work: usize,
}

impl Node {
    pub(crate) fn new(name: Name, flags: u32) -> Node {
        Node {
            name,
            mzxid: 0,
            flags,
            children: None,
        }
    }

    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn set(&mut self, flags: u32) {
        self.flags |= flags;
    }

    pub(crate) fn clear(&mut self, flags: u32) {
        self.flags &= !flags;
    }

    /// Runs `act` on the node at the path of names below this one, and marks the way to it if it has work then.
    pub(crate) fn at<T>(&mut self, path: &[Name], act: impl FnOnce(&mut Node) -> T) -> Option<T> {
        let Some((first, rest)) = path.split_first() else {
            return Some(act(self));
        };
        let children = self.children.as_deref_mut()?;
        let at = children.nodes.binary_search_by(|node| node.name.cmp(first)).ok()?;
        let done = children.nodes[at].at(rest, act)?;
        if children.nodes[at].has(flag::QUEUED | flag::BELOW) {
            children.first_work = children.first_work.min(at);
            self.set(flag::BELOW);
        }
        Some(done)
    }

    /// Takes the node at the path out.
    pub(crate) fn remove(&mut self, path: &[Name]) -> Option<Node> {
        let (last, way) = path.split_last()?;
        self.at(way, |parent| {
            let children = parent.children.as_deref_mut()?;
            let at = children.nodes.binary_search_by(|node| node.name.cmp(last)).ok()?;
            if at < children.first_work {
                children.first_work -= 1;
            }
            let node = children.nodes.remove(at);
            if children.nodes.is_empty() {
                parent.children = None;
            }
            Some(node)
        })?
    }

    /// Replaces the list of children: known ones stay as they are, `new` makes the others, those that are gone are returned.
    /// The names must be sorted and without duplicates.
    pub(crate) fn merge(&mut self, names: Vec<Name>, mut new: impl FnMut(Name) -> Option<Node>) -> Vec<Node> {
        let old = self.children.take().map(|children| children.nodes).unwrap_or_default();
        let mut gone = Vec::new();
        let mut nodes = Vec::with_capacity(names.len());
        let mut old = old.into_iter().peekable();
        for name in names {
            while let Some(node) = old.next_if(|node| node.name < name) {
                gone.push(node);
            }
            match old.next_if(|node| node.name == name) {
                Some(node) => nodes.push(node),
                None => nodes.extend(new(name)),
            }
        }
        gone.extend(old);
        if nodes.iter().any(|node| node.has(flag::QUEUED | flag::BELOW)) {
            self.set(flag::BELOW);
        }
        if !nodes.is_empty() {
            self.children = Some(Box::new(Children { nodes, first_work: 0 }));
        }
        gone
    }

    /// The first node with work, in the order of the tree; its path is appended to `path`, each name after a slash. `take` takes the
    /// work's flags off and returns what it was.
    pub(crate) fn next_work<T>(&mut self, path: &mut String, depth: usize, take: &mut impl FnMut(&mut Node, usize) -> Option<T>) -> Option<T> {
        if self.has(flag::QUEUED) {
            let work = take(self, depth);
            if work.is_some() {
                return work;
            }
        }
        if !self.has(flag::BELOW) {
            return None;
        }
        let length = path.len();
        if let Some(children) = self.children.as_deref_mut() {
            while let Some(child) = children.nodes.get_mut(children.first_work) {
                if child.has(flag::QUEUED | flag::BELOW) {
                    path.push('/');
                    child.name.write(path);
                    let work = child.next_work(path, depth + 1, take);
                    if work.is_some() {
                        return work;
                    }
                    path.truncate(length);
                }
                children.first_work += 1;
            }
        }
        self.clear(flag::BELOW);
        None
    }

    /// Runs `act` on this node and all below it, parents first, and marks the ways to work.
    pub(crate) fn each(&mut self, depth: usize, act: &mut impl FnMut(&mut Node, usize)) {
        act(self, depth);
        let Some(children) = self.children.as_deref_mut() else {
            return;
        };
        let mut below = false;
        for child in &mut children.nodes {
            child.each(depth + 1, act);
            below |= child.has(flag::QUEUED | flag::BELOW);
        }
        children.first_work = 0;
        if below {
            self.set(flag::BELOW);
        }
    }

    /// Runs `act` on this node and all below it, with their paths.
    pub(crate) fn walk(&self, path: &mut String, act: &mut impl FnMut(&Node, &str)) {
        act(self, path);
        let length = path.len();
        for child in self.children.iter().flat_map(|children| &children.nodes) {
            path.push('/');
            child.name.write(path);
            child.walk(path, act);
            path.truncate(length);
        }
    }
}

/// The id, if the text is its lower-case canonical form and can be written back.
fn canonical_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let canonical = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    canonical.then(|| uuid::Uuid::parse_str(text).ok().map(uuid::Uuid::into_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<Name> {
        let mut names: Vec<Name> = texts.iter().map(|text| Name::from(*text)).collect();
        names.sort();
        names
    }

    #[test]
    fn a_name_is_written_back_as_it_was() {
        for text in [
            "Port",
            "01020304-0506-0708-090a-0b0c0d0e0f10",
            "01020304-0506-0708-090A-0b0c0d0e0f10",
            "",
            "0102030405060708090a0b0c0d0e0f10",
        ] {
            let mut out = String::new();
            Name::from(text).write(&mut out);
            assert_eq!(out, text);
        }
        assert!(matches!(Name::from("01020304-0506-0708-090a-0b0c0d0e0f10"), Name::Id(_)));
        assert!(matches!(Name::from("01020304-0506-0708-090A-0b0c0d0e0f10"), Name::Text(_)));
    }

    #[test]
    fn a_node_is_as_small_as_documented() {
        assert_eq!(NODE_BYTES, 48);
    }

    #[test]
    fn merge_keeps_what_stays_and_returns_what_goes() {
        let mut parent = Node::new("p".into(), 0);
        parent.merge(names(&["a", "c", "d"]), |name| Some(Node::new(name, 0)));
        parent.at(&names(&["c"]), |node| node.mzxid = 7).unwrap();
        let gone = parent.merge(names(&["b", "c"]), |name| Some(Node::new(name, flag::Q_DATA)));
        assert_eq!(gone.iter().map(|node| node.name.clone()).collect::<Vec<_>>(), names(&["a", "d"]));
        assert_eq!(parent.at(&names(&["c"]), |node| node.mzxid), Some(7));
        assert!(parent.has(flag::BELOW));
    }

    #[test]
    fn work_is_found_once_in_order_and_again_when_it_comes_back() {
        let mut root = Node::new("r".into(), 0);
        root.merge(names(&["a", "b", "c"]), |name| Some(Node::new(name, flag::Q_DATA)));
        let next = |root: &mut Node| {
            let mut path = String::new();
            root.next_work(&mut path, 0, &mut |node, _| {
                let queued = node.has(flag::Q_DATA);
                node.clear(flag::Q_DATA);
                queued.then_some(())
            })
            .map(|()| path)
        };
        assert_eq!(next(&mut root).as_deref(), Some("/a"));
        assert_eq!(next(&mut root).as_deref(), Some("/b"));
        root.at(&names(&["a"]), |node| node.set(flag::Q_DATA)).unwrap();
        assert_eq!(next(&mut root).as_deref(), Some("/a"));
        root.remove(&names(&["a"])).unwrap();
        assert_eq!(next(&mut root).as_deref(), Some("/c"));
        assert_eq!(next(&mut root), None);
        assert!(!root.has(flag::BELOW));
    }
}
