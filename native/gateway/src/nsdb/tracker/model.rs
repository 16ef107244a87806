// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The tracker against a model of a ZooKeeper server: random changes of the tree, random delays, lost connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// A server with one client. Requests wait in `asked` until the server gets to them; what it says waits in `said`.
#[derive(Default)]
struct Server {
    nodes: BTreeMap<String, (Vec<u8>, Stat)>,
    zxid: i64,
    data_watches: BTreeSet<String>,
    child_watches: BTreeSet<String>,
    asked: VecDeque<Asked>,
    said: VecDeque<Said>,
    /// Replies that were made and are overtaken by events, as servers from 3.6 on with their threads might.
    overtaken: VecDeque<Said>,
}

enum Asked {
    Work(Work),
    SetWatches(i64, Vec<Work>),
}

enum Said {
    Data(String, Result<(Bytes, Stat), Code>, i64),
    Children(String, Result<Vec<String>, Code>, i64),
    Exists(String, bool, i64),
    Event(EventKind, String),
}

impl Server {
    fn put(&mut self, path: &str, data: Vec<u8>, ephemeral: bool) {
        let missing = path
            .match_indices('/')
            .map(|(slash, _)| &path[..slash])
            .filter(|parent| !self.nodes.contains_key(*parent))
            .map(str::to_owned);
        for parent in missing.collect::<Vec<_>>() {
            self.create(&parent, Vec::new(), false);
        }
        if self.nodes.contains_key(path) {
            self.zxid += 1;
            let zxid = self.zxid;
            if let Some((old, stat)) = self.nodes.get_mut(path) {
                *old = data;
                stat.mzxid = zxid;
                stat.version += 1;
            }
            self.fire_data(EventKind::DataChanged, path);
        } else {
            self.create(path, data, ephemeral);
        }
    }

    fn create(&mut self, path: &str, data: Vec<u8>, ephemeral: bool) {
        self.zxid += 1;
        let stat = Stat {
            czxid: self.zxid,
            mzxid: self.zxid,
            ephemeral_owner: i64::from(ephemeral),
            ..Stat::default()
        };
        self.nodes.insert(path.to_owned(), (data, stat));
        self.fire_data(EventKind::Created, path);
        self.fire_children(parent(path));
    }

    fn delete(&mut self, path: &str) {
        let below: Vec<_> = self.nodes.keys().filter(|key| key.starts_with(&format!("{path}/"))).cloned().collect();
        for path in below.into_iter().rev().chain([path.to_owned()]) {
            if self.nodes.remove(&path).is_some() {
                self.zxid += 1;
                let watched = self.data_watches.remove(&path) | self.child_watches.remove(&path);
                if watched {
                    self.said.push_back(Said::Event(EventKind::Deleted, path.clone()));
                }
                self.fire_children(parent(&path));
            }
        }
    }

    fn fire_data(&mut self, kind: EventKind, path: &str) {
        if self.data_watches.remove(path) {
            self.said.push_back(Said::Event(kind, path.to_owned()));
        }
    }

    fn fire_children(&mut self, path: &str) {
        // The model keeps the transaction of the last change of children in the parent's ctime, which nothing else uses here.
        let zxid = self.zxid;
        if let Some((_, stat)) = self.nodes.get_mut(path) {
            stat.ctime_ms = zxid;
        }
        if self.child_watches.remove(path) {
            self.said.push_back(Said::Event(EventKind::ChildrenChanged, path.to_owned()));
        }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        self.nodes
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|rest| !rest.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    /// Answers the request that waits longest. A late answer is said when the next one is.
    fn serve(&mut self, late: bool) {
        self.said.append(&mut self.overtaken);
        if late && matches!(self.asked.front(), Some(Asked::Work(_))) {
            let before = self.said.len();
            self.answer();
            self.overtaken = self.said.split_off(before);
        } else {
            self.answer();
        }
    }

    fn answer(&mut self) {
        match self.asked.pop_front() {
            None => {}
            Some(Asked::Work(Work::Get { path, watch })) => {
                let node = self
                    .nodes
                    .get(&path)
                    .map(|(data, stat)| (Bytes::copy_from_slice(data), *stat))
                    .ok_or(Code::NO_NODE);
                if watch && node.is_ok() {
                    self.data_watches.insert(path.clone());
                }
                self.said.push_back(Said::Data(path, node, self.zxid));
            }
            Some(Asked::Work(Work::List { path })) => {
                let found = self.nodes.contains_key(&path);
                if found {
                    self.child_watches.insert(path.clone());
                }
                let reply = if found { Ok(self.children(&path)) } else { Err(Code::NO_NODE) };
                self.said.push_back(Said::Children(path, reply, self.zxid));
            }
            Some(Asked::Work(Work::Exists { path })) => {
                self.data_watches.insert(path.clone());
                let found = self.nodes.contains_key(&path);
                self.said.push_back(Said::Exists(path, found, self.zxid));
            }
            Some(Asked::Work(Work::Arm { .. })) => unreachable!("arms are gathered"),
            Some(Asked::SetWatches(since, works)) => works.into_iter().for_each(|work| self.arm(since, work)),
        }
    }

    fn arm(&mut self, since: i64, work: Work) {
        let Work::Arm { path, data, exist, child } = work else {
            unreachable!("only arms are gathered")
        };
        let stat = self.nodes.get(&path).map(|(_, stat)| *stat);
        if data {
            match stat {
                None => self.said.push_back(Said::Event(EventKind::Deleted, path.clone())),
                Some(stat) if stat.mzxid > since => self.said.push_back(Said::Event(EventKind::DataChanged, path.clone())),
                Some(_) => _ = self.data_watches.insert(path.clone()),
            }
        }
        if exist {
            match stat {
                Some(_) => self.said.push_back(Said::Event(EventKind::Created, path.clone())),
                None => _ = self.data_watches.insert(path.clone()),
            }
        }
        if child {
            match stat {
                None => self.said.push_back(Said::Event(EventKind::Deleted, path.clone())),
                Some(stat) if stat.ctime_ms > since => self.said.push_back(Said::Event(EventKind::ChildrenChanged, path.clone())),
                Some(_) => _ = self.child_watches.insert(path.clone()),
            }
        }
    }
}

/// What a reader of the changes knows.
#[derive(Default)]
struct Reader {
    held: BTreeMap<String, (Vec<u8>, i64)>,
    in_snapshot: Option<BTreeSet<String>>,
    ends: usize,
}

impl Sink for Reader {
    fn begin(&mut self) {
        self.in_snapshot = Some(BTreeSet::new());
    }

    fn put(&mut self, kind: Kind, path: &str, data: Bytes, stat: &Stat) {
        if kind == Kind::Local {
            return;
        }
        if let Some((_, mzxid)) = self.held.get(path)
            && self.in_snapshot.as_ref().is_none_or(|seen| seen.contains(path))
        {
            assert!(stat.mzxid > *mzxid, "{path} came twice or backwards");
        }
        self.held.insert(path.to_owned(), (data.to_vec(), stat.mzxid));
        self.in_snapshot.iter_mut().for_each(|seen| _ = seen.insert(path.to_owned()));
    }

    fn gone(&mut self, kind: Kind, path: &str) {
        if kind == Kind::Local {
            return;
        }
        assert!(self.held.remove(path).is_some(), "{path} went without having been there");
        self.in_snapshot.iter_mut().for_each(|seen| _ = seen.remove(path));
    }

    fn end(&mut self, topology: u64, state: u64) {
        let seen = self.in_snapshot.take().expect("a snapshot ends after it began");
        self.held.retain(|path, _| seen.contains(path));
        assert_eq!(topology + state, self.held.len() as u64);
        self.ends += 1;
    }
}

struct World {
    server: Server,
    tracker: Tracker,
    reader: Reader,
    in_flight: usize,
    last_zxid: i64,
    arm_since: Option<i64>,
}

impl World {
    fn new() -> World {
        let mut reader = Reader::default();
        let tracker = Tracker::new(&mut reader);
        World {
            server: Server::default(),
            tracker,
            reader,
            in_flight: 0,
            last_zxid: 0,
            arm_since: None,
        }
    }

    fn ask(&mut self, count: usize) {
        let mut arms = Vec::new();
        for _ in 0..count {
            match self.tracker.next_work() {
                None => break,
                Some(work @ Work::Arm { .. }) => arms.push(work),
                Some(work) => {
                    self.in_flight += 1;
                    self.server.asked.push_back(Asked::Work(work));
                }
            }
        }
        if !arms.is_empty() {
            let since = self.arm_since.expect("watches are set again after a lost connection only");
            self.server.asked.push_back(Asked::SetWatches(since, arms));
        }
    }

    fn hear(&mut self) {
        let (tracker, reader) = (&mut self.tracker, &mut self.reader);
        let zxid = match self.server.said.pop_front() {
            None => return,
            Some(Said::Event(kind, path)) => return tracker.on_event(kind, &path, reader),
            Some(Said::Data(path, reply, zxid)) => {
                tracker.on_data(&path, reply, reader);
                zxid
            }
            Some(Said::Children(path, reply, zxid)) => {
                tracker.on_list(&path, reply, reader);
                zxid
            }
            Some(Said::Exists(path, found, zxid)) => {
                tracker.on_exists(&path, Ok(found), reader);
                zxid
            }
        };
        self.in_flight -= 1;
        self.last_zxid = self.last_zxid.max(zxid);
    }

    fn lose_connection(&mut self) {
        self.server.asked.clear();
        self.server.said.clear();
        self.server.overtaken.clear();
        self.server.data_watches.clear();
        self.server.child_watches.clear();
        self.in_flight = 0;
        // The oldest one counts until all watches are set again; the model never says that they are.
        self.arm_since.get_or_insert(self.last_zxid);
        self.tracker.disconnected();
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            self.ask(7);
            if self.server.asked.is_empty() && self.server.said.is_empty() && self.server.overtaken.is_empty() {
                return;
            }
            self.server.serve(false);
            self.hear();
        }
        panic!("the tracker asks for ever");
    }

    fn check(&self) {
        let expected: BTreeMap<_, _> = self
            .server
            .nodes
            .iter()
            .filter(|(path, (data, stat))| {
                let Some((tree, names)) = locate(path) else { return false };
                TREES[tree].kind != Kind::Local
                    && match role_of(tree, &names, path) {
                        Role::Object | Role::Entry => true,
                        Role::StateKey => stat.ephemeral_owner != 0 || !data.is_empty(),
                        Role::Directory | Role::Ignored => false,
                    }
            })
            .map(|(path, (data, stat))| (path.clone(), (data.clone(), stat.mzxid)))
            .collect();
        // Entries are read once, without a watch: their names say all. One that was written again, or taken away and made again between two
        // listings, keeps its old data and transaction.
        let strip = |nodes: &BTreeMap<String, (Vec<u8>, i64)>| {
            nodes
                .iter()
                .map(|(path, node)| (path.clone(), (!is_entry(path)).then(|| node.clone())))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(strip(&self.reader.held), strip(&expected));
        assert!(self.reader.ends >= 1 && !self.tracker.in_snapshot());
    }
}

fn is_entry(path: &str) -> bool {
    locate(path).is_some_and(|(tree, names)| role_of(tree, &names, path) == Role::Entry)
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8),
    Delete(usize),
    DeleteParent(usize),
    Ask(usize),
    Serve(usize),
    ServeLate,
    Hear(usize),
    LoseConnection,
    Resend,
}

const PATHS: [&str; 12] = [
    "zoom/0/models/Port/01020304-0506-0708-090a-0b0c0d0e0f10",
    "zoom/0/models/Port/01020304-0506-0708-090a-0b0c0d0e0f11",
    "zoom/0/models/Network/odd-name",
    "zoom/0/state/h1/Host/h1/alive",
    "zoom/0/state/h1/Port/p1/routes/aa",
    "zoom/0/state/h1/Port/p1/routes/bb",
    "zoom/0/tables/Network/n1/mac_table/0/m,p,0000000001",
    "zoom/0/tables/Network/n1/mac_table/7/m,p,0000000002",
    "zoom/0/tables/Network/n1/ip4_mac_table/i,m,2147483647",
    "bridges/b1/mac_ports/m,p,0000000001",
    "config/nodes/h1",
    "config/template-mappings",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PATHS.len(), any::<u8>()).prop_map(|(path, data)| Step::Put(path, data)),
        3 => (0..PATHS.len()).prop_map(Step::Delete),
        1 => (0..PATHS.len()).prop_map(Step::DeleteParent),
        6 => (1..4usize).prop_map(Step::Ask),
        6 => (1..4usize).prop_map(Step::Serve),
        2 => Just(Step::ServeLate),
        6 => (1..4usize).prop_map(Step::Hear),
        1 => Just(Step::LoseConnection),
        1 => Just(Step::Resend),
    ]
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_reader_ends_with_what_the_server_has(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Put(path, data) => world.server.put(PATHS[path], vec![data], PATHS[path].ends_with("alive")),
                Step::Delete(path) => world.server.delete(PATHS[path]),
                Step::DeleteParent(path) => world.server.delete(parent(PATHS[path])),
                Step::Ask(count) => world.ask(count),
                Step::Serve(count) => (0..count).for_each(|_| world.server.serve(false)),
                Step::ServeLate => world.server.serve(true),
                Step::Hear(count) => (0..count).for_each(|_| world.hear()),
                Step::LoseConnection => world.lose_connection(),
                Step::Resend => world.tracker.resend(&mut world.reader),
            }
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_lost_connection_costs_no_second_reading() {
    let mut world = World::new();
    for (index, path) in PATHS.iter().enumerate() {
        world.server.put(path, vec![index as u8], path.ends_with("alive"));
    }
    world.settle();
    world.lose_connection();
    world.server.put(PATHS[1], vec![99], false);
    world.server.delete(PATHS[2]);
    let mut read = Vec::new();
    let since = world.arm_since.unwrap();
    while let Some(work) = world.tracker.next_work() {
        match work {
            Work::Arm { .. } => world.server.asked.push_back(Asked::SetWatches(since, vec![work])),
            work => read.push(work),
        }
    }
    assert_eq!(read, []);
    while !world.server.asked.is_empty() {
        world.server.serve(false);
    }
    while !world.server.said.is_empty() {
        world.hear();
    }
    while let Some(work) = world.tracker.next_work() {
        read.push(work.clone());
        world.in_flight += 1;
        world.server.asked.push_back(Asked::Work(work));
    }
    assert_eq!(
        read,
        [
            Work::List {
                path: "zoom/0/models/Network".into()
            },
            Work::Get {
                path: PATHS[1].into(),
                watch: true
            }
        ]
    );
    world.settle();
    world.check();
}

#[test]
fn a_reply_that_its_event_overtook_is_not_the_last_word() {
    let mut world = World::new();
    world.server.put(PATHS[0], vec![1], false);
    // Up to the reading of the object, which is answered late.
    while !matches!(world.server.asked.front(), Some(Asked::Work(Work::Get { path, .. })) if path == PATHS[0]) {
        world.ask(1);
        if !matches!(world.server.asked.front(), Some(Asked::Work(Work::Get { .. }))) {
            world.server.serve(false);
        }
        world.hear();
    }
    world.server.serve(true);
    world.server.put(PATHS[0], vec![2], false);
    world.hear();
    world.settle();
    world.check();
    assert_eq!(world.reader.held[PATHS[0]].0, [2]);
}
