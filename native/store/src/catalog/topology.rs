// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Every version of every node, each with the span in which it held.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Params, Row, Transaction, params};
use uuid::Uuid;

use super::{Catalog, Node, NodeDifference, NodeVersion, SnapshotDone, TopologyApplied, TopologyChange, TopologyEffect, streams};
use crate::{
    StoreError,
    ids::{Appended, Cursor, Period, SiteId},
};

/// A snapshot that is younger than all that is known by more than this is taken even from a gateway whose term is over: ZooKeeper's clock, or
/// its database, was set back.
const SET_BACK_US: i64 = 600_000_000;

const VERSION_FIELDS: &str = "n.path, v.data, v.mzxid, v.version, v.ctime_ms, v.mtime_ms, v.ephemeral_owner, v.at_us, v.valid_from_us, v.valid_to_us";

const VERSION: &str = "SELECT n.path, v.data, v.mzxid, v.version, v.ctime_ms, v.mtime_ms, v.ephemeral_owner, v.at_us, v.valid_from_us, v.valid_to_us
     FROM topology_versions v JOIN topology_nodes n ON n.id = v.node";

/// What the versions of each class `span` hold shorter than, µs: a minute, four, and so on to half a year; then longer ones and those that still
/// hold. The numbers are those of the schema.
const SPANS: [Option<i64>; 12] = [
    Some(60_000_000),
    Some(240_000_000),
    Some(960_000_000),
    Some(3_840_000_000),
    Some(15_360_000_000),
    Some(61_440_000_000),
    Some(245_760_000_000),
    Some(983_040_000_000),
    Some(3_932_160_000_000),
    Some(15_728_640_000_000),
    None,
    None,
];

impl Catalog {
    /// Applies a batch of changes and moves its cursor, both or neither, and only once. Batches of a stream come in order.
    ///
    /// One gateway at a time is the source of a site's topology: another one becomes it with a snapshot of a greater term, and from then on
    /// what the former one still sends is passed over.
    pub async fn apply_topology(&self, site: SiteId, cursor: Cursor, changes: Vec<TopologyChange>) -> Result<TopologyApplied, StoreError> {
        self.write(move |tx| {
            if streams::sequence(tx, site, cursor.stream)?.is_some_and(|durable| cursor.sequence <= durable) {
                return Ok(TopologyApplied {
                    appended: Appended::Duplicate,
                    effects: Vec::new(),
                    snapshot: None,
                    passed_over: 0,
                });
            }
            streams::advance(tx, site, cursor)?;
            let mut state = State::load(tx, site)?;
            let mut applied = TopologyApplied {
                appended: Appended::Committed,
                effects: Vec::new(),
                snapshot: None,
                passed_over: 0,
            };
            for change in changes {
                if state.takes(cursor.stream.gateway, &change) {
                    apply(tx, site, &mut state, change, &mut applied)?;
                } else {
                    applied.passed_over += 1;
                }
            }
            state.save(tx, site)?;
            Ok(applied)
        })
        .await
    }

    /// The nodes that are there now, by path.
    pub async fn topology(&self, site: SiteId) -> Result<Vec<NodeVersion>, StoreError> {
        self.versions(
            format!("{VERSION} WHERE n.site = ?1 AND n.live = v.id ORDER BY n.path"),
            move |sql, db| collect(db, sql, [site.0.as_bytes()]),
        )
        .await
    }

    /// The nodes that were there at a time, by path.
    pub async fn topology_at(&self, site: SiteId, at_us: i64) -> Result<Vec<NodeVersion>, StoreError> {
        self.read(move |db| {
            let mut versions = held_at(db, site, at_us, VERSION_FIELDS, node_version).map_err(StoreError::catalog("read the topology"))?;
            // Quicker here than in a question, which would carry all content through its sorting.
            versions.sort_unstable_by(|a, b| a.node.path.cmp(&b.node.path));
            Ok(versions)
        })
        .await
    }

    /// What differs between two times: nodes whose content at the later one is another than at the earlier one, by path. What changed and
    /// changed back in between is left out, and so is a node that was written again with the same content.
    pub async fn topology_difference(&self, site: SiteId, from_us: i64, to_us: i64) -> Result<Vec<NodeDifference>, StoreError> {
        self.read(move |db| {
            let ids = |at_us| -> Result<HashMap<i64, i64>, StoreError> {
                let ids = held_at(db, site, at_us, "v.node, v.id", |row| Ok((row.get(0)?, row.get(1)?)));
                Ok(ids.map_err(StoreError::catalog("read the topology"))?.into_iter().collect())
            };
            let (before, after) = (ids(from_us)?, ids(to_us)?);
            let only = |of: &HashMap<i64, i64>, other: &HashMap<i64, i64>| -> Vec<i64> {
                let of = of.iter().filter(|(node, version)| other.get(node) != Some(version));
                of.map(|(_, version)| *version).collect()
            };
            let mut differences: BTreeMap<String, NodeDifference> = BTreeMap::new();
            for version in read_versions(db, only(&before, &after))? {
                let path = version.node.path.clone();
                differences.entry(path).or_default().before = Some(version);
            }
            for version in read_versions(db, only(&after, &before))? {
                let path = version.node.path.clone();
                differences.entry(path).or_default().after = Some(version);
            }
            fn content(version: &Option<NodeVersion>) -> Option<&[u8]> {
                version.as_ref().map(|version| &*version.node.data)
            }
            differences.retain(|_, found| content(&found.before) != content(&found.after));
            Ok(differences.into_values().collect())
        })
        .await
    }

    /// Versions that began or ended in the period, by the time at which they began; at most `limit`, newest first. Objects, and whether hosts and
    /// ports are up; entries of tables and other states come and go with the traffic and would leave no room for them.
    pub async fn topology_changes(&self, site: SiteId, period: Period, limit: usize) -> Result<Vec<NodeVersion>, StoreError> {
        self.versions(
            format!(
                "{VERSION} WHERE v.id IN (
                     SELECT id FROM topology_versions WHERE site = ?1 AND valid_from_us >= ?2 AND valid_from_us < ?3
                     UNION
                     SELECT id FROM topology_versions WHERE site = ?1 AND valid_to_us >= ?2 AND valid_to_us < ?3)
                 AND n.path NOT GLOB 'zoom/0/tables/*'
                 AND (n.path NOT GLOB 'zoom/0/state/*' OR n.path GLOB '*/alive' OR n.path GLOB '*/active')
                 ORDER BY v.valid_from_us DESC, v.id DESC LIMIT ?4"
            ),
            move |sql, db| collect(db, sql, params![site.0.as_bytes(), period.from_us, period.to_us, limit as i64]),
        )
        .await
    }

    /// All versions of one node, oldest first.
    pub async fn node_history(&self, site: SiteId, path: String) -> Result<Vec<NodeVersion>, StoreError> {
        self.versions(
            format!("{VERSION} WHERE n.site = ?1 AND n.path = ?2 ORDER BY v.valid_from_us, v.id"),
            move |sql, db| collect(db, sql, params![site.0.as_bytes(), path]),
        )
        .await
    }

    async fn versions(
        &self,
        sql: String,
        read: impl FnOnce(&str, &Connection) -> rusqlite::Result<Vec<NodeVersion>> + Send + 'static,
    ) -> Result<Vec<NodeVersion>, StoreError> {
        self.read(move |db| read(&sql, db).map_err(StoreError::catalog("read the topology")))
            .await
    }
}

/// The versions that held at a time: fields of `v`, and of its node `n` where they are asked for.
///
/// Versions are in classes by how long they hold (`span` of the schema): one of a class can only hold now if it began within the longest time
/// of its class. So what is read is about what is found, however long the history and however short the lives in it.
fn held_at<T>(db: &Connection, site: SiteId, at_us: i64, fields: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    let node = if fields.contains("n.") {
        "CROSS JOIN topology_nodes n ON n.id = v.node"
    } else {
        ""
    };
    let mut select = db.prepare_cached(&format!(
        "SELECT {fields} FROM topology_versions v INDEXED BY topology_versions_span {node}
         WHERE v.site = ?1 AND v.span = ?2 AND v.valid_from_us <= ?3 AND v.valid_from_us > ?4 AND (v.valid_to_us IS NULL OR v.valid_to_us > ?3)"
    ))?;
    let mut held = Vec::new();
    for (span, longest_us) in SPANS.iter().enumerate() {
        let since_us = longest_us.map_or(i64::MIN, |longest_us| at_us.saturating_sub(longest_us));
        let mut rows = select.query(params![site.0.as_bytes(), span as i64, at_us, since_us])?;
        while let Some(row) = rows.next()? {
            held.push(read(row)?);
        }
    }
    Ok(held)
}

/// Versions by their ids, read in the order in which they lie in the file.
fn read_versions(db: &Connection, mut ids: Vec<i64>) -> Result<Vec<NodeVersion>, StoreError> {
    ids.sort_unstable();
    let read = || -> rusqlite::Result<Vec<NodeVersion>> {
        let mut select = db.prepare_cached(&format!("{VERSION} WHERE v.id = ?1"))?;
        ids.iter().map(|id| select.query_row([id], node_version)).collect()
    };
    read().map_err(StoreError::catalog("read the topology"))
}

/// The snapshot of a site that is being received, if one is, and who sends it.
#[derive(Default)]
struct State {
    /// Number of the last snapshot that began; nodes carry the number of the one that last had them.
    generation: i64,
    running: bool,
    /// Nodes that were put in the running snapshot and deleted again before its end.
    deleted: i64,
    /// The gateway that sends the topology, and its term.
    source: Option<Uuid>,
    term: i64,
    /// Time of the newest change.
    last_us: i64,
}

impl State {
    fn load(tx: &Transaction<'_>, site: SiteId) -> Result<Self, StoreError> {
        tx.query_row(
            "SELECT generation, running, deleted, source, term, last_us FROM topology_snapshots WHERE site = ?",
            [site.0.as_bytes()],
            |row| {
                Ok(Self {
                    generation: row.get(0)?,
                    running: row.get(1)?,
                    deleted: row.get(2)?,
                    source: row.get::<_, Option<[u8; 16]>>(3)?.map(Uuid::from_bytes),
                    term: row.get(4)?,
                    last_us: row.get(5)?,
                })
            },
        )
        .optional()
        .map(Option::unwrap_or_default)
        .map_err(StoreError::catalog("read the snapshot's state"))
    }

    fn save(&self, tx: &Transaction<'_>, site: SiteId) -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO topology_snapshots (site, generation, running, deleted, source, term, last_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (site) DO UPDATE SET generation = ?2, running = ?3, deleted = ?4, source = ?5, term = ?6, last_us = ?7",
            params![
                site.0.as_bytes(),
                self.generation,
                self.running,
                self.deleted,
                self.source.as_ref().map(Uuid::as_bytes),
                self.term,
                self.last_us
            ],
        )
        .map_err(StoreError::catalog("keep the snapshot's state"))?;
        Ok(())
    }

    /// Whether a change of this gateway counts. A snapshot makes its gateway the source, unless the gateway's term is over.
    fn takes(&mut self, gateway: Uuid, change: &TopologyChange) -> bool {
        let is_source = self.source.is_none_or(|source| source == gateway);
        let (takes, at_us) = match change {
            TopologyChange::SnapshotBegin { at_us, term } => {
                let takes = is_source || *term > self.term || *at_us > self.last_us.saturating_add(SET_BACK_US);
                if takes {
                    (self.source, self.term) = (Some(gateway), *term);
                }
                (takes, *at_us)
            }
            TopologyChange::SnapshotEnd { at_us, .. } | TopologyChange::Delete { at_us, .. } => (is_source, *at_us),
            TopologyChange::Put(node) => (is_source, node.at_us),
        };
        if takes {
            self.last_us = self.last_us.max(at_us);
        }
        takes
    }
}

fn apply(tx: &Transaction<'_>, site: SiteId, state: &mut State, change: TopologyChange, applied: &mut TopologyApplied) -> Result<(), StoreError> {
    match change {
        TopologyChange::SnapshotBegin { .. } => {
            state.generation += 1;
            state.running = true;
            state.deleted = 0;
        }
        TopologyChange::SnapshotEnd { at_us, nodes } => {
            if state.running {
                applied.snapshot = Some(end_snapshot(tx, site, state, at_us, nodes, &mut applied.effects)?);
            }
            state.running = false;
        }
        TopologyChange::Put(node) => put(tx, site, state, node, &mut applied.effects)?,
        TopologyChange::Delete { path, at_us } => {
            if let Some(live) = find(tx, site, &path)? {
                if state.running && live.seen == state.generation {
                    state.deleted += 1;
                }
                close(tx, live, path, at_us, &mut applied.effects)?;
            }
        }
    }
    Ok(())
}

struct Live {
    node: i64,
    seen: i64,
    version: Option<i64>,
}

fn find(tx: &Transaction<'_>, site: SiteId, path: &str) -> Result<Option<Live>, StoreError> {
    tx.prepare_cached("SELECT id, seen, live FROM topology_nodes WHERE site = ? AND path = ?")
        .and_then(|mut select| {
            select
                .query_row(params![site.0.as_bytes(), path], |row| {
                    Ok(Live {
                        node: row.get(0)?,
                        seen: row.get(1)?,
                        version: row.get(2)?,
                    })
                })
                .optional()
        })
        .map_err(StoreError::catalog("find a node"))
}

fn put(tx: &Transaction<'_>, site: SiteId, state: &State, mut node: Node, effects: &mut Vec<TopologyEffect>) -> Result<(), StoreError> {
    let failed = StoreError::catalog("store a node");
    let known = find(tx, site, &node.path)?;
    let id = match &known {
        Some(known) => known.node,
        None => tx
            .prepare_cached("INSERT INTO topology_nodes (site, path, seen) VALUES (?, ?, ?)")
            .and_then(|mut insert| insert.insert(params![site.0.as_bytes(), node.path, state.generation]))
            .map_err(failed)?,
    };
    let failed = StoreError::catalog("store a node");
    let is_new = known.is_none();
    let live = known.and_then(|known| known.version);
    let unchanged = match live {
        Some(version) => tx
            .prepare_cached("SELECT 1 FROM topology_versions WHERE id = ? AND mzxid = ? AND data = ?")
            .and_then(|mut select| select.exists(params![version, node.mzxid, node.data]))
            .map_err(failed)?,
        None => false,
    };
    let failed = StoreError::catalog("store a node");
    let live = if unchanged {
        live
    } else {
        // The gateway's clock may have been set back: spans of one node never overlap.
        let newest: Option<i64> = if is_new { None } else { newest_end(tx, id)? };
        node.at_us = newest.map_or(node.at_us, |newest| newest.max(node.at_us));
        if let Some(version) = live {
            end_version(tx, version, node.at_us)?;
        }
        let version = tx
            .prepare_cached(
                "INSERT INTO topology_versions (site, node, valid_from_us, mzxid, version, ctime_ms, mtime_ms, ephemeral_owner, at_us, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?3, ?9)",
            )
            .and_then(|mut insert| {
                insert.insert(params![
                    site.0.as_bytes(),
                    id,
                    node.at_us,
                    node.mzxid,
                    node.version,
                    node.ctime_ms,
                    node.mtime_ms,
                    node.ephemeral_owner,
                    node.data
                ])
            })
            .map_err(failed)?;
        effects.push(TopologyEffect::Put(node));
        Some(version)
    };
    tx.prepare_cached("UPDATE topology_nodes SET seen = ?2, live = ?3 WHERE id = ?1 AND (seen <> ?2 OR live IS NOT ?3)")
        .and_then(|mut update| update.execute(params![id, state.generation, live]))
        .map_err(StoreError::catalog("store a node"))?;
    Ok(())
}

/// End of the newest version of a node, or its begin while it holds. The versions' order is that of their begins.
fn newest_end(tx: &Transaction<'_>, node: i64) -> Result<Option<i64>, StoreError> {
    tx.prepare_cached(
        "SELECT max(valid_from_us, coalesce(valid_to_us, valid_from_us)) FROM topology_versions WHERE node = ?
         ORDER BY valid_from_us DESC, id DESC LIMIT 1",
    )
    .and_then(|mut select| select.query_row([node], |row| row.get(0)).optional())
    .map_err(StoreError::catalog("find a node's newest version"))
}

fn close(tx: &Transaction<'_>, live: Live, path: String, at_us: i64, effects: &mut Vec<TopologyEffect>) -> Result<(), StoreError> {
    let Some(version) = live.version else { return Ok(()) };
    let at_us = end_version(tx, version, at_us)?;
    tx.prepare_cached("UPDATE topology_nodes SET live = NULL WHERE id = ?")
        .and_then(|mut update| update.execute([live.node]))
        .map_err(StoreError::catalog("delete a node"))?;
    effects.push(TopologyEffect::Delete { path, at_us });
    Ok(())
}

/// Ends a version's span and returns its end, which is never before its begin.
fn end_version(tx: &Transaction<'_>, version: i64, at_us: i64) -> Result<i64, StoreError> {
    tx.prepare_cached("UPDATE topology_versions SET valid_to_us = max(?2, valid_from_us) WHERE id = ?1 RETURNING valid_to_us")
        .and_then(|mut update| update.query_row(params![version, at_us], |row| row.get(0)))
        .map_err(StoreError::catalog("end a version"))
}

fn end_snapshot(
    tx: &Transaction<'_>,
    site: SiteId,
    state: &State,
    at_us: i64,
    expected: u64,
    effects: &mut Vec<TopologyEffect>,
) -> Result<SnapshotDone, StoreError> {
    let failed = StoreError::catalog;
    let live: u64 = tx
        .query_row(
            "SELECT count(*) FROM topology_nodes WHERE site = ? AND seen = ? AND live IS NOT NULL",
            params![site.0.as_bytes(), state.generation],
            |row| row.get::<_, i64>(0),
        )
        .map_err(failed("count a snapshot"))? as u64;
    let seen = live + state.deleted as u64;
    if seen < expected {
        return Ok(SnapshotDone { expected, seen, removed: 0 });
    }
    let gone: Vec<(Live, String)> = tx
        .prepare_cached("SELECT id, seen, live, path FROM topology_nodes WHERE site = ? AND seen <> ? AND live IS NOT NULL ORDER BY path")
        .and_then(|mut select| {
            select
                .query_map(params![site.0.as_bytes(), state.generation], |row| {
                    Ok((
                        Live {
                            node: row.get(0)?,
                            seen: row.get(1)?,
                            version: row.get(2)?,
                        },
                        row.get(3)?,
                    ))
                })?
                .collect()
        })
        .map_err(failed("find what a snapshot left out"))?;
    let removed = gone.len() as u64;
    for (live, path) in gone {
        close(tx, live, path, at_us, effects)?;
    }
    Ok(SnapshotDone { expected, seen, removed })
}

fn collect(db: &Connection, sql: &str, parameters: impl Params) -> rusqlite::Result<Vec<NodeVersion>> {
    db.prepare_cached(sql)?.query_map(parameters, node_version)?.collect()
}

fn node_version(row: &Row<'_>) -> rusqlite::Result<NodeVersion> {
    Ok(NodeVersion {
        node: Node {
            path: row.get(0)?,
            data: row.get(1)?,
            mzxid: row.get(2)?,
            version: row.get(3)?,
            ctime_ms: row.get(4)?,
            mtime_ms: row.get(5)?,
            ephemeral_owner: row.get(6)?,
            at_us: row.get(7)?,
        },
        valid_from_us: row.get(8)?,
        valid_to_us: row.get(9)?,
    })
}
