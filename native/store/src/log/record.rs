// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The payload of a frame.
//!
//! `lsn u64, site 16, gateway 16, kind u8, epoch u64, sequence u64, tables u8`, then for each table `table u8, metadata u32, body u32` and
//! these bytes: an Arrow IPC record batch without its schema, which the segment's version tells. All numbers are big-endian.

use std::{collections::HashMap, sync::Arc};

use datafusion::arrow::{
    array::RecordBatch,
    buffer::Buffer,
    ipc::{
        CompressionType,
        reader::read_record_batch,
        root_as_message,
        writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions},
    },
};
use uuid::Uuid;

use crate::{
    StoreError,
    ids::{Cursor, SiteId, StreamId, StreamKind},
    table::TableKind,
};

/// Place of the log's number in a payload: it is filled in when the frame is written.
pub(super) const LSN_BYTES: usize = 8;

/// The site stands behind the number.
pub(super) const SITE_BYTES: usize = 16;

/// A batch in the commit log.
pub(crate) struct LogRecord {
    pub(crate) lsn: u64,
    pub(crate) site: SiteId,
    pub(crate) cursor: Cursor,
    pub(crate) tables: Vec<LogTable>,
}

pub(crate) struct LogTable {
    pub(crate) kind: TableKind,
    pub(crate) rows: RecordBatch,
    /// What they take in the log; known when they were written or read.
    pub(crate) bytes: u64,
}

impl LogTable {
    pub(crate) fn new(kind: TableKind, rows: RecordBatch) -> Self {
        Self { kind, rows, bytes: 0 }
    }
}

impl LogRecord {
    /// The payload, with a number of zero.
    pub(crate) fn encode(site: SiteId, cursor: Cursor, tables: &mut [LogTable]) -> Result<Vec<u8>, StoreError> {
        let mut out = vec![0; LSN_BYTES];
        out.extend_from_slice(site.0.as_bytes());
        out.extend_from_slice(cursor.stream.gateway.as_bytes());
        out.push(cursor.stream.kind as u8);
        out.extend_from_slice(&cursor.stream.epoch.to_be_bytes());
        out.extend_from_slice(&cursor.sequence.to_be_bytes());
        out.push(tables.len() as u8);
        let failed = |source| StoreError::columns("encode rows for the commit log", source);
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .map_err(failed)?;
        for table in tables {
            // No column is a dictionary, so there are none to write.
            let mut dictionaries = DictionaryTracker::new(false);
            let (_, encoded) = IpcDataGenerator::default()
                .encode(&table.rows, &mut dictionaries, &options, &mut Default::default())
                .map_err(failed)?;
            let before = out.len();
            out.push(table.kind as u8);
            out.extend_from_slice(&(encoded.ipc_message.len() as u32).to_be_bytes());
            out.extend_from_slice(&(encoded.arrow_data.len() as u32).to_be_bytes());
            out.extend_from_slice(&encoded.ipc_message);
            out.extend_from_slice(&encoded.arrow_data);
            table.bytes = (out.len() - before) as u64;
        }
        Ok(out)
    }

    /// What [`LogRecord::encode`] wrote. The frame's checksum holds, so an error here is one of version or of this program.
    pub(super) fn decode(payload: &[u8]) -> Result<Self, StoreError> {
        let mut reader = Reader(payload);
        let lsn = reader.u64()?;
        let site = SiteId(Uuid::from_bytes(reader.array()?));
        let gateway = Uuid::from_bytes(reader.array()?);
        let [kind] = reader.array()?;
        let kind = StreamKind::from_number(kind).ok_or_else(|| broken("kind of stream"))?;
        let epoch = reader.u64()?;
        let sequence = reader.u64()?;
        let [count] = reader.array()?;
        let tables = (0..count).map(|_| reader.table()).collect::<Result<_, _>>()?;
        Ok(Self {
            lsn,
            site,
            cursor: Cursor {
                stream: StreamId { gateway, kind, epoch },
                sequence,
            },
            tables,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(|| broken("length"))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| broken("length"))
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn table(&mut self) -> Result<LogTable, StoreError> {
        let before = self.0.len();
        let [kind] = self.array()?;
        let kind = TableKind::from_number(kind).ok_or_else(|| broken("table"))?;
        let metadata = u32::from_be_bytes(self.array()?) as usize;
        let body = u32::from_be_bytes(self.array()?) as usize;
        let metadata = self.take(metadata)?;
        let body = Buffer::from(self.take(body)?);
        let message = root_as_message(metadata).map_err(|source| StoreError::columns("decode a commit log record", source.to_string()))?;
        let batch = message.header_as_record_batch().ok_or_else(|| broken("message"))?;
        let rows = read_record_batch(&body, batch, Arc::clone(&kind.schema()), &HashMap::new(), None, &message.version())
            .map_err(|source| StoreError::columns("decode a commit log record", source))?;
        let bytes = (before - self.0.len()) as u64;
        Ok(LogTable { kind, rows, bytes })
    }
}

fn broken(what: &str) -> StoreError {
    StoreError::columns("decode a commit log record", format!("invalid {what}"))
}
