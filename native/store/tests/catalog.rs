// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The catalogue as its users see it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use insights_store::{
    AccountId, Appended, Period, SiteId, StoreError, StreamKind,
    catalog::{
        Account, AlertChange, AlertDeed, AlertQuery, AlertText, Catalog, EventQuery, Hop, HopCount, Level, Loss, NewEvent, Node, NodeVersion, Site,
        SiteKey, SnapshotDone, StoredRule, TopologyChange, TopologyEffect, WebSession,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{cursor, gateway};

fn account(email: &str) -> Account {
    Account {
        id: AccountId::random(),
        email: email.into(),
        name: "Ada".into(),
        password_hash: "$argon2id$x".into(),
        created_us: 1,
    }
}

async fn site_of(catalog: &Catalog, account: &Account) -> SiteId {
    let id = SiteId::random();
    let site = Site {
        id,
        account: account.id,
        name: "one".into(),
        created_us: 2,
        deleted_us: None,
        quota_bytes: 20 << 30,
        settings: "{}".into(),
    };
    catalog.create_site(site).await.unwrap();
    id
}

async fn with_site() -> (tempfile::TempDir, Catalog, SiteId) {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let account = account("ada@example.org");
    catalog.create_account(account.clone()).await.unwrap();
    let site = site_of(&catalog, &account).await;
    (dir, catalog, site)
}

#[tokio::test]
async fn accounts_and_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(dir.path()).unwrap();
    let ada = account("Ada@Example.org");
    catalog.create_account(ada.clone()).await.unwrap();
    assert!(matches!(
        catalog.create_account(account("ada@example.ORG")).await,
        Err(StoreError::Taken("e-mail address"))
    ));
    assert_eq!(catalog.account_by_email(" ADA@example.org ").await.unwrap(), Some(ada.clone()));

    let session = WebSession {
        token_hash: [3; 32],
        account: ada.id,
        created_us: 10,
        expires_us: 20,
        used_us: 10,
        client: "192.0.2.1".into(),
        browser: "Firefox on Linux".into(),
    };
    catalog.create_session(session.clone(), 2).await.unwrap();
    assert_eq!(catalog.session([3; 32], 19).await.unwrap(), Some((session.clone(), ada.clone())));
    assert_eq!(catalog.session([3; 32], 20).await.unwrap(), None);
    assert_eq!(catalog.session([4; 32], 0).await.unwrap(), None);
    // Of more sessions than an account may have, the one that was used longest ago ends.
    catalog.session_used([3; 32], 15, "192.0.2.2".into(), "curl".into()).await.unwrap();
    for (hash, used_us) in [(5, 12), (6, 13)] {
        let more = WebSession {
            token_hash: [hash; 32],
            used_us,
            ..session.clone()
        };
        catalog.create_session(more, 2).await.unwrap();
    }
    let left: Vec<_> = catalog
        .sessions_of(ada.id, 19)
        .await
        .unwrap()
        .iter()
        .map(|one| (one.token_hash[0], one.used_us))
        .collect();
    assert_eq!(left, [(3, 15), (6, 13)]);
    assert_eq!(catalog.delete_sessions_of(ada.id, Some([3; 32])).await.unwrap(), 1);
    catalog.set_password_hash(ada.id, "$argon2id$y".into(), None).await.unwrap();
    assert_eq!(catalog.session([3; 32], 19).await.unwrap(), None);

    let site = site_of(&catalog, &ada).await;
    catalog
        .add_fingerprint(SiteKey {
            fingerprint: [1; 32],
            site,
            label: "gw".into(),
            added_us: 5,
        })
        .await
        .unwrap();
    catalog.delete_account(ada.id, 30).await.unwrap();
    assert_eq!(catalog.account(ada.id).await.unwrap(), None);
    assert_eq!(catalog.site_of_fingerprint([1; 32]).await.unwrap(), None);
    assert!(catalog.sites().await.unwrap().is_empty());
    assert_eq!(catalog.sites_deleted_until(30).await.unwrap().len(), 1);
    assert!(matches!(catalog.delete_account(ada.id, 31).await, Err(StoreError::Missing("account"))));
    // The address is free again.
    catalog.create_account(account("ada@example.org")).await.unwrap();
}

#[tokio::test]
async fn a_fingerprint_belongs_to_one_site() {
    let (dir, catalog, site) = with_site().await;
    let other = account("eve@example.org");
    catalog.create_account(other.clone()).await.unwrap();
    let other_site = site_of(&catalog, &other).await;
    let key = |site| SiteKey {
        fingerprint: [9; 32],
        site,
        label: "gw-1".into(),
        added_us: 5,
    };
    let before = catalog.version().await.unwrap();
    // Another process, as the command line is.
    let beside = Catalog::open(dir.path()).unwrap();
    beside.add_fingerprint(key(site)).await.unwrap();
    assert_ne!(catalog.version().await.unwrap(), before);
    assert!(matches!(
        catalog.add_fingerprint(key(other_site)).await,
        Err(StoreError::Taken("fingerprint"))
    ));
    assert_eq!(catalog.site_of_fingerprint([9; 32]).await.unwrap(), Some(site));
    assert_eq!(catalog.fingerprints(site).await.unwrap(), [key(site)]);
    assert!(!catalog.delete_fingerprint(other_site, [9; 32]).await.unwrap());
    assert!(catalog.delete_fingerprint(site, [9; 32]).await.unwrap());
    assert_eq!(catalog.site_of_fingerprint([9; 32]).await.unwrap(), None);
    assert!(matches!(
        catalog.add_fingerprint(key(SiteId::random())).await,
        Err(StoreError::Missing("site"))
    ));
}

#[tokio::test]
async fn gateways_come_and_go() {
    let (_dir, catalog, site) = with_site().await;
    let connect = |at_us| catalog.gateway_connected(site, gateway(1), "gw".into(), "0.1.0".into(), [1; 32], at_us);
    connect(10).await.unwrap();
    connect(20).await.unwrap();
    // The old connection ends after the new one began.
    catalog.gateway_disconnected(site, gateway(1), 10, 25).await.unwrap();
    assert_eq!(catalog.gateways(site).await.unwrap()[0].disconnected_us, None);
    catalog.gateway_report(site, gateway(1), 26, "{}".into()).await.unwrap();
    catalog.gateway_disconnected(site, gateway(1), 20, 30).await.unwrap();
    let seen = &catalog.gateways(site).await.unwrap()[0];
    assert_eq!((seen.first_seen_us, seen.connected_us, seen.disconnected_us), (10, 20, Some(30)));
    assert_eq!(seen.report, Some((26, "{}".into())));
    connect(40).await.unwrap();
    catalog.all_gateways_disconnected(50).await.unwrap();
    assert_eq!(catalog.gateways(site).await.unwrap()[0].disconnected_us, Some(50));
}

fn put(path: &str, data: &str, mzxid: i64, at_us: i64) -> TopologyChange {
    TopologyChange::Put(node(path, data, mzxid, at_us))
}

fn node(path: &str, data: &str, mzxid: i64, at_us: i64) -> Node {
    Node {
        path: path.into(),
        data: data.into(),
        mzxid,
        version: 0,
        ctime_ms: 1,
        mtime_ms: 2,
        ephemeral_owner: 0,
        at_us,
    }
}

/// Path and data of nodes.
fn content(nodes: &[insights_store::catalog::NodeVersion]) -> Vec<(String, String)> {
    nodes
        .iter()
        .map(|version| (version.node.path.clone(), String::from_utf8(version.node.data.clone()).unwrap()))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(path, data)| ((*path).into(), (*data).into())).collect()
}

#[tokio::test]
async fn topology_at_any_time() {
    let (_dir, catalog, site) = with_site().await;
    let at = |sequence| cursor(1, StreamKind::Topology, 1, sequence);
    let begin = TopologyChange::SnapshotBegin { at_us: 100, term: 1 };
    let first = vec![begin, put("a", "1", 1, 100), put("b", "1", 2, 101)];
    let applied = catalog.apply_topology(site, at(0), first.clone()).await.unwrap();
    assert_eq!(applied.effects.len(), 2);
    assert_eq!(catalog.apply_topology(site, at(0), first).await.unwrap().appended, Appended::Duplicate);
    // The snapshot goes on in a second batch.
    let end = TopologyChange::SnapshotEnd { at_us: 103, nodes: 3 };
    let applied = catalog.apply_topology(site, at(1), vec![put("c", "1", 3, 102), end]).await.unwrap();
    assert_eq!(
        applied.snapshot,
        Some(SnapshotDone {
            expected: 3,
            seen: 3,
            removed: 0
        })
    );
    let delete = |path: &str, at_us| TopologyChange::Delete { path: path.into(), at_us };
    let changes = vec![put("a", "2", 4, 200), delete("b", 210), delete("nowhere", 211), put("a", "2", 4, 220)];
    let applied = catalog.apply_topology(site, at(2), changes).await.unwrap();
    assert_eq!(
        applied.effects,
        [
            TopologyEffect::Put(node("a", "2", 4, 200)),
            TopologyEffect::Delete {
                path: "b".into(),
                at_us: 210
            }
        ]
    );

    assert_eq!(content(&catalog.topology(site).await.unwrap()), pairs(&[("a", "2"), ("c", "1")]));
    assert_eq!(content(&catalog.topology_at(site, 99).await.unwrap()), pairs(&[]));
    assert_eq!(
        content(&catalog.topology_at(site, 150).await.unwrap()),
        pairs(&[("a", "1"), ("b", "1"), ("c", "1")])
    );
    assert_eq!(
        content(&catalog.topology_at(site, 209).await.unwrap()),
        pairs(&[("a", "2"), ("b", "1"), ("c", "1")])
    );
    assert_eq!(content(&catalog.topology_at(site, 210).await.unwrap()), pairs(&[("a", "2"), ("c", "1")]));
    let history = catalog.node_history(site, "a".into()).await.unwrap();
    let spans: Vec<_> = history.iter().map(|version| (version.valid_from_us, version.valid_to_us)).collect();
    assert_eq!(spans, [(100, Some(200)), (200, None)]);
    let changed = catalog.topology_changes(site, Period::new(150, 300), 10).await.unwrap();
    assert_eq!(content(&changed), pairs(&[("a", "2"), ("b", "1"), ("a", "1")]));
    // What comes and goes with the traffic leaves room for the rest.
    let alive = "zoom/0/state/h/Host/h/alive";
    let mut changes = vec![put("zoom/0/models/Port/p", "1", 5, 400), put(alive, "1", 6, 401)];
    changes.extend((0..30).map(|n| put(&format!("zoom/0/tables/Network/n/mac_table/0/{n}"), "", 7 + n, 402 + n)));
    changes.push(put("zoom/0/state/h/Port/p/routes/r", "", 50, 500));
    catalog.apply_topology(site, at(3), changes).await.unwrap();
    let changed = catalog.topology_changes(site, Period::new(400, 600), 5).await.unwrap();
    assert_eq!(content(&changed), pairs(&[(alive, "1"), ("zoom/0/models/Port/p", "1")]));
    assert_eq!(content(&catalog.topology(SiteId::random()).await.unwrap()), pairs(&[]));
}

/// Lives of all lengths, from less than a minute to years: what is told of any time is what held then by its spans, and differences are those
/// of two such states.
#[tokio::test]
async fn any_time_of_a_long_history() {
    const SECOND_US: i64 = 1_000_000;
    let (_dir, catalog, site) = with_site().await;
    let mut rng = StdRng::seed_from_u64(7);
    let mut changes = vec![TopologyChange::SnapshotBegin { at_us: 0, term: 1 }];
    let mut times = vec![0];
    for number in 0..60 {
        let path = format!("zoom/0/models/Port/{number:02}");
        let mut at_us = rng.random_range(0..1_000) * SECOND_US;
        for version in 0..rng.random_range(1..8) {
            times.push(at_us);
            changes.push(put(&path, &format!("{}", version % 3), number * 10 + version, at_us));
            // As many lives of seconds as of months.
            at_us += (10f64.powf(rng.random_range(-1.0..8.0)) * SECOND_US as f64) as i64;
            if rng.random_bool(0.5) {
                times.push(at_us);
                changes.push(TopologyChange::Delete { path: path.clone(), at_us });
                at_us += rng.random_range(0..100) * SECOND_US;
            }
        }
    }
    catalog
        .apply_topology(site, cursor(1, StreamKind::Topology, 1, 0), changes)
        .await
        .unwrap();
    let mut histories = Vec::new();
    for number in 0..60 {
        histories.push(catalog.node_history(site, format!("zoom/0/models/Port/{number:02}")).await.unwrap());
    }
    let state = |at_us: i64| -> BTreeMap<String, String> {
        let versions = histories.iter().flatten();
        let there = versions.filter(|version| version.valid_from_us <= at_us && version.valid_to_us.is_none_or(|to_us| to_us > at_us));
        there
            .map(|version| (version.node.path.clone(), String::from_utf8_lossy(&version.node.data).into_owned()))
            .collect()
    };
    // Moments of changes, right before and after them, and in between.
    let moments: Vec<i64> = times.iter().flat_map(|at_us| [at_us - 1, *at_us, at_us + 1, at_us * 2]).collect();
    for at_us in &moments {
        let told = catalog.topology_at(site, *at_us).await.unwrap();
        assert_eq!(content(&told), state(*at_us).into_iter().collect::<Vec<_>>(), "at {at_us}");
    }
    for _ in 0..200 {
        let (from_us, to_us) = (moments[rng.random_range(0..moments.len())], moments[rng.random_range(0..moments.len())]);
        let (before, after) = (state(from_us), state(to_us));
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let expected: Vec<_> = paths
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path))
            .map(|path| (path.clone(), before.get(path).cloned(), after.get(path).cloned()))
            .collect();
        let told = catalog.topology_difference(site, from_us, to_us).await.unwrap();
        let text = |version: &Option<NodeVersion>| version.as_ref().map(|version| String::from_utf8_lossy(&version.node.data).into_owned());
        let told: Vec<_> = told
            .iter()
            .map(|found| {
                let path = found.before.as_ref().or(found.after.as_ref()).unwrap().node.path.clone();
                (path, text(&found.before), text(&found.after))
            })
            .collect();
        assert_eq!(told, expected, "from {from_us} to {to_us}");
    }
}

#[tokio::test]
async fn a_second_snapshot_tells_what_went_while_nobody_looked() {
    let (_dir, catalog, site) = with_site().await;
    let snapshot = |at_us, nodes: &[(&str, &str, i64)], claimed: u64| {
        let mut changes = vec![TopologyChange::SnapshotBegin { at_us, term: 1 }];
        changes.extend(nodes.iter().map(|(path, data, mzxid)| put(path, data, *mzxid, at_us)));
        changes.push(TopologyChange::SnapshotEnd {
            at_us: at_us + 1,
            nodes: claimed,
        });
        changes
    };
    let at = |epoch| cursor(1, StreamKind::Topology, epoch, 0);
    catalog
        .apply_topology(site, at(1), snapshot(100, &[("a", "1", 1), ("b", "1", 2), ("c", "1", 3)], 3))
        .await
        .unwrap();
    let applied = catalog
        .apply_topology(site, at(2), snapshot(200, &[("a", "1", 1), ("c", "2", 5)], 2))
        .await
        .unwrap();
    assert_eq!(
        applied.snapshot,
        Some(SnapshotDone {
            expected: 2,
            seen: 2,
            removed: 1
        })
    );
    let gone = TopologyEffect::Delete {
        path: "b".into(),
        at_us: 201,
    };
    assert_eq!(applied.effects, [TopologyEffect::Put(node("c", "2", 5, 200)), gone]);
    // One that is not whole removes nothing.
    let applied = catalog.apply_topology(site, at(3), snapshot(300, &[("a", "1", 1)], 2)).await.unwrap();
    assert_eq!(
        applied.snapshot,
        Some(SnapshotDone {
            expected: 2,
            seen: 1,
            removed: 0
        })
    );
    assert_eq!(content(&catalog.topology(site).await.unwrap()), pairs(&[("a", "1"), ("c", "2")]));
    // A node that was put and deleted while the snapshot was under way counts as sent.
    let mut changes = snapshot(400, &[("a", "1", 1), ("c", "2", 5), ("d", "1", 6)], 3);
    changes.insert(
        4,
        TopologyChange::Delete {
            path: "d".into(),
            at_us: 401,
        },
    );
    let applied = catalog.apply_topology(site, at(4), changes).await.unwrap();
    assert_eq!(
        applied.snapshot,
        Some(SnapshotDone {
            expected: 3,
            seen: 3,
            removed: 0
        })
    );
    assert_eq!(content(&catalog.topology(site).await.unwrap()), pairs(&[("a", "1"), ("c", "2")]));
}

#[tokio::test]
async fn only_one_gateway_is_the_source_of_a_topology() {
    let (_dir, catalog, site) = with_site().await;
    let apply = async |gateway, sequence, changes: Vec<TopologyChange>| {
        let at = cursor(gateway, StreamKind::Topology, 1, sequence);
        let applied = catalog.apply_topology(site, at, changes).await.unwrap();
        (applied.effects.len(), applied.passed_over)
    };
    let begin = |at_us, term| TopologyChange::SnapshotBegin { at_us, term };
    let end = |at_us, nodes| TopologyChange::SnapshotEnd { at_us, nodes };
    let delete = |path: &str, at_us| TopologyChange::Delete { path: path.into(), at_us };
    assert_eq!(apply(1, 0, vec![begin(100, 5), put("a", "1", 1, 100), end(101, 1)]).await, (1, 0));
    // Another one that does not lead says nothing.
    assert_eq!(apply(2, 0, vec![delete("a", 102)]).await, (0, 1));
    // It takes over, and what the first one sent late counts no more: neither changes nor a snapshot of its old term.
    assert_eq!(apply(2, 1, vec![begin(200, 7), put("a", "2", 2, 200), end(201, 1)]).await, (1, 0));
    assert_eq!(apply(1, 1, vec![delete("a", 150), put("b", "1", 3, 151)]).await, (0, 2));
    assert_eq!(apply(1, 2, vec![begin(300, 5), end(301, 0)]).await, (0, 2));
    assert_eq!(content(&catalog.topology(site).await.unwrap()), pairs(&[("a", "2")]));
    // A session that was renewed: the same gateway goes on, whatever its term.
    assert_eq!(apply(2, 2, vec![put("a", "3", 4, 310)]).await, (1, 0));
    assert_eq!(
        apply(1, 3, vec![begin(320, 9), put("a", "3", 4, 320), put("c", "1", 5, 320), end(321, 2)]).await,
        (1, 0)
    );
    // Long after all that is known a smaller term counts too: ZooKeeper was set back.
    let later = 321 + 600_000_001;
    assert_eq!(apply(2, 3, vec![begin(later, 2), put("d", "1", 1, later), end(later, 1)]).await, (3, 0));
    assert_eq!(content(&catalog.topology(site).await.unwrap()), pairs(&[("d", "1")]));
}

#[tokio::test]
async fn spans_never_overlap_when_a_clock_goes_back() {
    let (_dir, catalog, site) = with_site().await;
    let changes = vec![
        put("a", "1", 1, 500),
        put("a", "2", 2, 400),
        TopologyChange::Delete {
            path: "a".into(),
            at_us: 300,
        },
        put("a", "3", 3, 200),
        put("a", "4", 4, 600),
    ];
    catalog
        .apply_topology(site, cursor(1, StreamKind::Topology, 1, 0), changes)
        .await
        .unwrap();
    let history = catalog.node_history(site, "a".into()).await.unwrap();
    assert_eq!(
        content(&history).iter().map(|(_, data)| data.as_str()).collect::<Vec<_>>(),
        ["1", "2", "3", "4"]
    );
    for pair in history.windows(2) {
        assert!(pair[0].valid_to_us.unwrap() <= pair[1].valid_from_us);
        assert!(pair[0].valid_from_us <= pair[0].valid_to_us.unwrap());
    }
    assert_eq!(content(&catalog.topology_at(site, 550).await.unwrap()), pairs(&[("a", "3")]));
}

fn event(at_us: i64, level: Level, kind: &str, text: &str) -> NewEvent {
    NewEvent {
        at_us,
        level,
        kind: kind.into(),
        text: text.into(),
        fields: "{}".into(),
        gateway: Some(gateway(1)),
        loss: None,
    }
}

#[tokio::test]
async fn events_are_found_and_losses_are_told() {
    let (_dir, catalog, site) = with_site().await;
    let mut lost = event(300, Level::Warning, "records.lost", "100% of a batch_1 were lost");
    lost.loss = Some(Loss {
        kind: StreamKind::Flows,
        records: 7,
        first_us: 250,
        last_us: 299,
        cause: "spool_full".into(),
    });
    let events = vec![
        event(100, Level::Info, "gateway.started", "gateway started"),
        event(200, Level::Error, "nsdb.lost", "NSDB is away"),
        lost,
    ];
    let at = Some(cursor(1, StreamKind::Events, 1, 0));
    assert_eq!(catalog.append_events(site, at, events.clone()).await.unwrap(), Appended::Committed);
    assert_eq!(catalog.append_events(site, at, events).await.unwrap(), Appended::Duplicate);
    let all = EventQuery::all(Period::new(0, 1_000), 10);
    let found = |query: EventQuery| {
        let catalog = catalog.clone();
        async move {
            catalog
                .events(site, query)
                .await
                .unwrap()
                .iter()
                .map(|event| event.event.at_us)
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(found(all.clone()).await, [300, 200, 100]);
    assert_eq!(
        found(EventQuery {
            level: Level::Warning,
            ..all.clone()
        })
        .await,
        [300, 200]
    );
    assert_eq!(
        found(EventQuery {
            kind: "nsdb.".into(),
            ..all.clone()
        })
        .await,
        [200]
    );
    assert_eq!(
        found(EventQuery {
            text: "nsdb IS".into(),
            ..all.clone()
        })
        .await,
        [200]
    );
    assert_eq!(
        found(EventQuery {
            text: "%".into(),
            ..all.clone()
        })
        .await,
        [300]
    );
    assert_eq!(
        found(EventQuery {
            text: "batch_1".into(),
            ..all.clone()
        })
        .await,
        [300]
    );
    assert_eq!(
        found(EventQuery {
            text: "batch.1".into(),
            ..all.clone()
        })
        .await,
        [] as [i64; 0]
    );
    assert_eq!(
        found(EventQuery {
            gateway: Some(gateway(2)),
            ..all.clone()
        })
        .await,
        [] as [i64; 0]
    );
    let first = catalog.events(site, EventQuery { limit: 1, ..all.clone() }).await.unwrap();
    assert_eq!(
        found(EventQuery {
            after: Some((first[0].event.at_us, first[0].id)),
            ..all.clone()
        })
        .await,
        [200, 100]
    );
    assert_eq!(catalog.losses(site, Period::new(260, 270)).await.unwrap()[0].loss.records, 7);
    assert!(catalog.losses(site, Period::new(300, 400)).await.unwrap().is_empty());
    assert!(catalog.events(SiteId::random(), all).await.unwrap().is_empty());
}

#[tokio::test]
async fn counts_add_up_by_the_hour() {
    let (_dir, catalog, site) = with_site().await;
    const HOUR: i64 = 3_600_000_000;
    let count = |hour_us, records| HopCount {
        gateway: gateway(1),
        kind: StreamKind::Flows,
        hour_us,
        hop: Hop::Received,
        records,
    };
    catalog
        .add_counts(site, vec![count(HOUR + 5, 3), count(HOUR, 4), count(2 * HOUR, 1)])
        .await
        .unwrap();
    assert_eq!(
        catalog.counts(site, Period::new(HOUR + 9, 3 * HOUR)).await.unwrap(),
        [count(HOUR, 7), count(2 * HOUR, 1)]
    );
    assert_eq!(catalog.counts(site, Period::new(0, HOUR)).await.unwrap(), []);
}

#[tokio::test]
async fn a_catalogue_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Catalog::open(dir.path()).unwrap());
    let db = rusqlite::Connection::open(dir.path().join("catalog.sqlite")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Catalog::open(dir.path()), Err(StoreError::Newer { found: 99, .. })));
}

fn opened(rule: &str, subject: &str) -> AlertChange {
    AlertChange::Open {
        rule: rule.into(),
        subject: subject.into(),
        since_us: 5,
        says: AlertText {
            level: Level::Error,
            text: "Host h is down".into(),
            about: "{}".into(),
            value: None,
            threshold: None,
            members: 2,
        },
    }
}

fn ended(rule: &str, subject: &str) -> AlertChange {
    AlertChange::Resolve {
        rule: rule.into(),
        subject: subject.into(),
        why: "it is over".into(),
    }
}

#[tokio::test]
async fn alerts_open_once_and_are_of_their_site_alone() {
    let (_dir, catalog, site) = with_site().await;
    let other = site_of(&catalog, &catalog.account_by_email("ada@example.org").await.unwrap().unwrap()).await;
    let all = |site, open| {
        let catalog = catalog.clone();
        let query = AlertQuery {
            open,
            rule: None,
            before: None,
            limit: 100,
        };
        async move { catalog.alerts(site, query, 100).await.unwrap() }
    };
    let changes = vec![opened("host-down", "h"), opened("host-down", "h"), opened("port-down", "p")];
    catalog.change_alerts(site, changes.clone(), Some(3), 10).await.unwrap();
    catalog.change_alerts(site, changes, Some(2), 11).await.unwrap();
    assert_eq!(all(site, None).await.len(), 2);
    assert_eq!(catalog.losses_looked_at(site).await.unwrap(), 3, "it never goes back");
    assert_eq!(catalog.open_alerts(site, 20).await.unwrap(), (2, 2));
    assert!(all(other, None).await.is_empty());
    let host = all(site, Some(true)).await.into_iter().find(|alert| alert.subject == "h").unwrap();
    assert_eq!((host.since_us, host.opened_us, host.says.members), (5, 10, 2));

    // Deeds reach open alerts of their site alone.
    let by = || "ada@example.org".to_owned();
    assert!(!catalog.act_on_alert(other, host.id, AlertDeed::Acknowledge, by(), 20).await.unwrap());
    assert!(catalog.act_on_alert(site, host.id, AlertDeed::Acknowledge, by(), 20).await.unwrap());
    assert!(
        catalog
            .act_on_alert(site, host.id, AlertDeed::Silence { until_us: 90 }, by(), 21)
            .await
            .unwrap()
    );
    assert_eq!(catalog.open_alerts(site, 30).await.unwrap(), (1, 2));
    let found = catalog.alert(site, host.id, 30).await.unwrap().unwrap();
    assert_eq!((found.acknowledged, found.silenced), (Some((20, by())), Some((90, by()))));
    assert_eq!(catalog.alert(site, host.id, 90).await.unwrap().unwrap().silenced, None, "it is over");
    assert_eq!(catalog.alert(other, host.id, 30).await.unwrap(), None);
    assert!(catalog.alert_acts(other, host.id).await.unwrap().is_empty());

    // It ends once, and the same trouble is another alert that is silent, too.
    catalog
        .change_alerts(site, vec![ended("host-down", "h"), ended("host-down", "h")], None, 40)
        .await
        .unwrap();
    assert!(!catalog.act_on_alert(site, host.id, AlertDeed::Acknowledge, by(), 41).await.unwrap());
    catalog.change_alerts(site, vec![opened("host-down", "h")], None, 50).await.unwrap();
    let again = all(site, Some(true)).await.into_iter().find(|alert| alert.subject == "h").unwrap();
    assert!(again.id > host.id && again.acknowledged.is_none());
    let acts: Vec<String> = catalog.alert_acts(site, host.id).await.unwrap().into_iter().map(|act| act.what).collect();
    assert_eq!(acts, ["opened", "acknowledged", "silenced", "resolved"]);
    let mut events = EventQuery::all(Period::new(0, 100), 10);
    events.kind = "alert.".into();
    let told: Vec<String> = catalog
        .events(site, events)
        .await
        .unwrap()
        .into_iter()
        .map(|stored| stored.event.kind)
        .collect();
    assert_eq!(told, ["alert.opened", "alert.resolved", "alert.opened", "alert.opened"]);
}

#[tokio::test]
async fn losses_are_read_in_the_order_of_their_coming() {
    let (_dir, catalog, site) = with_site().await;
    let lost = |first_us| NewEvent {
        at_us: first_us,
        level: Level::Warning,
        kind: "records.lost".into(),
        text: "lost".into(),
        fields: "{}".into(),
        gateway: None,
        loss: Some(Loss {
            kind: StreamKind::Flows,
            records: 3,
            first_us,
            last_us: first_us,
            cause: "crash".into(),
        }),
    };
    catalog.append_events(site, None, vec![lost(50)]).await.unwrap();
    let from = catalog.losses_looked_at(site).await.unwrap();
    assert!(
        catalog.losses_behind(site, from, 10).await.unwrap().is_empty(),
        "what was there before is no news"
    );
    // What is told late tells of a time long before.
    catalog.append_events(site, None, vec![lost(7), lost(60)]).await.unwrap();
    let new: Vec<i64> = catalog
        .losses_behind(site, from, 10)
        .await
        .unwrap()
        .iter()
        .map(|(_, stored)| stored.loss.first_us)
        .collect();
    assert_eq!(new, [7, 60]);
    assert_eq!(catalog.losses_behind(site, from, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn rules_of_a_site_are_bounded() {
    let (_dir, catalog, site) = with_site().await;
    let rule = |id: &str, enabled| StoredRule {
        id: id.into(),
        enabled,
        definition: String::new(),
        changed_us: 1,
    };
    catalog.set_alert_rule(site, rule("a", false), 2).await.unwrap();
    catalog.set_alert_rule(site, rule("b", true), 2).await.unwrap();
    catalog.set_alert_rule(site, rule("a", true), 2).await.unwrap();
    assert!(matches!(
        catalog.set_alert_rule(site, rule("c", true), 2).await,
        Err(StoreError::Taken(_))
    ));
    assert_eq!(catalog.alert_rules(site).await.unwrap(), [rule("a", true), rule("b", true)]);
    assert_eq!(catalog.delete_alert_rule(site, "a".into()).await.unwrap(), Some(String::new()));
    assert_eq!(catalog.delete_alert_rule(site, "a".into()).await.unwrap(), None);
}
