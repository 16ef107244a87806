// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::Catalog;
use crate::{
    StoreError,
    ids::{Cursor, SiteId, StreamId, StreamKind},
};

/// Epochs of a gateway's stream that are remembered. A new one begins when a gateway's spool was made anew; batches of an older one can
/// only come from a connection that is just being replaced.
const EPOCHS: usize = 4;

impl Catalog {
    /// The last sequence of a stream that is durable in the catalogue.
    pub(crate) async fn stream_cursor(&self, site: SiteId, stream: StreamId) -> Result<Option<u64>, StoreError> {
        self.read(move |db| sequence(db, site, stream)).await
    }
}

/// The last sequence of a stream.
pub(crate) fn sequence(db: &Connection, site: SiteId, stream: StreamId) -> Result<Option<u64>, StoreError> {
    db.prepare_cached("SELECT sequence FROM stream_cursors WHERE site = ? AND gateway = ? AND kind = ? AND epoch = ?")
        .and_then(|mut select| {
            select
                .query_row(
                    params![site.0.as_bytes(), stream.gateway.as_bytes(), stream.kind as u8, stream.epoch as i64],
                    |row| row.get::<_, i64>(0),
                )
                .optional()
        })
        .map(|sequence| sequence.map(|sequence| sequence as u64))
        .map_err(StoreError::catalog("read a cursor"))
}

/// Moves the cursor of a stream, in the transaction that holds what it stands for, and forgets epochs that are long over.
pub(crate) fn advance(tx: &Transaction<'_>, site: SiteId, cursor: Cursor) -> Result<(), StoreError> {
    let Cursor { stream, sequence } = cursor;
    let key = (site.0.as_bytes(), stream.gateway.as_bytes(), stream.kind as u8);
    tx.prepare_cached(
        "INSERT INTO stream_cursors (site, gateway, kind, epoch, sequence, touched)
         VALUES (?1, ?2, ?3, ?4, ?5, (SELECT coalesce(max(touched), 0) + 1 FROM stream_cursors WHERE site = ?1 AND gateway = ?2 AND kind = ?3))
         ON CONFLICT (site, gateway, kind, epoch) DO UPDATE SET sequence = ?5, touched = excluded.touched",
    )
    .and_then(|mut upsert| upsert.execute(params![key.0, key.1, key.2, stream.epoch as i64, sequence as i64]))
    .map_err(StoreError::catalog("move a cursor"))?;
    tx.prepare_cached(
        "DELETE FROM stream_cursors WHERE site = ?1 AND gateway = ?2 AND kind = ?3 AND epoch NOT IN
         (SELECT epoch FROM stream_cursors WHERE site = ?1 AND gateway = ?2 AND kind = ?3 ORDER BY touched DESC LIMIT ?4)",
    )
    .and_then(|mut delete| delete.execute(params![key.0, key.1, key.2, EPOCHS as i64]))
    .map_err(StoreError::catalog("forget old epochs"))?;
    Ok(())
}

/// All cursors of a kind of data, oldest touched first.
pub(crate) fn all(db: &Connection, kinds: &[StreamKind]) -> Result<Vec<(SiteId, Cursor)>, StoreError> {
    let cursors: Vec<(SiteId, Option<Cursor>)> = db
        .prepare_cached("SELECT site, gateway, kind, epoch, sequence FROM stream_cursors ORDER BY site, gateway, kind, touched")
        .and_then(|mut select| {
            select
                .query_map([], |row| {
                    let gateway = Uuid::from_bytes(row.get(1)?);
                    let epoch = row.get::<_, i64>(3)? as u64;
                    let sequence = row.get::<_, i64>(4)? as u64;
                    let kind = StreamKind::from_number(row.get(2)?).filter(|kind| kinds.contains(kind));
                    let cursor = kind.map(|kind| Cursor {
                        stream: StreamId { gateway, kind, epoch },
                        sequence,
                    });
                    Ok((SiteId(Uuid::from_bytes(row.get(0)?)), cursor))
                })?
                .collect()
        })
        .map_err(StoreError::catalog("read cursors"))?;
    Ok(cursors.into_iter().filter_map(|(site, cursor)| Some((site, cursor?))).collect())
}
