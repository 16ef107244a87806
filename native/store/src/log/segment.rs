// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::record::LSN_BYTES;
use crate::StoreError;

pub(super) const MAGIC: &[u8; 8] = b"MIDOLOG1";

/// Version of frames and of the tables' columns. A change of a column's type or order counts it up; recovery then knows how to read older
/// segments. Version 1 has no groups, and its checksums leave out the length.
pub(super) const VERSION: u32 = 2;

/// In the length of a frame: it is the first one of its group, so all before it is durable.
pub(super) const BEGINS_GROUP: u32 = 1 << 31;

pub(super) const HEADER_BYTES: usize = 12;

/// Length and checksum before each payload.
pub(super) const FRAME_HEAD_BYTES: usize = 8;

/// Longest payload. A batch has 65,536 records at most, and its columns are below 1 KiB a record; larger lengths in a file are damage.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// Writes frames. Not shared: one thread has it.
pub(crate) struct LogWriter {
    dir: PathBuf,
    file: File,
    bytes: u64,
    limit: u64,
    /// Number that names the current segment.
    first_lsn: u64,
    next_lsn: u64,
    /// What is durable ends before this number, and at `bytes`.
    durable_lsn: u64,
    /// Closed segments, oldest first, each with the last number in it.
    closed: Vec<(PathBuf, u64)>,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Begins a new segment behind the `closed` ones.
    pub(crate) fn open(dir: PathBuf, limit: u64, next_lsn: u64, closed: Vec<(PathBuf, u64)>) -> Result<Self, StoreError> {
        let file = create(&dir, next_lsn)?;
        Ok(Self {
            dir,
            file,
            bytes: HEADER_BYTES as u64,
            limit,
            first_lsn: next_lsn,
            next_lsn,
            durable_lsn: next_lsn,
            closed,
            buffer: Vec::new(),
        })
    }

    /// Adds a payload to what the next [`LogWriter::commit`] writes. Returns its number.
    pub(crate) fn add(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(StoreError::Invalid(format!(
                "a batch of {} bytes is too large for the commit log",
                payload.len()
            )));
        }
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        let number = lsn.to_be_bytes();
        let group = if self.buffer.is_empty() { BEGINS_GROUP } else { 0 };
        let length = (payload.len() as u32 | group).to_be_bytes();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&length);
        crc.update(&number);
        crc.update(&payload[LSN_BYTES..]);
        self.buffer.extend_from_slice(&length);
        self.buffer.extend_from_slice(&crc.finalize().to_be_bytes());
        self.buffer.extend_from_slice(&number);
        self.buffer.extend_from_slice(&payload[LSN_BYTES..]);
        Ok(lsn)
    }

    /// Makes all that was added durable. After an error it is not known what is on the disk: nothing may be written before
    /// [`LogWriter::mend`].
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let failed = |source| StoreError::io("write the commit log", source);
        self.file.write_all(&self.buffer).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.bytes += self.buffer.len() as u64;
        self.durable_lsn = self.next_lsn;
        self.buffer.clear();
        // A large group is not kept for ever.
        self.buffer.shrink_to(8 << 20);
        Ok(())
    }

    /// Goes on in a new segment when this one is full.
    pub(crate) fn rotate_if_full(&mut self) -> Result<(), StoreError> {
        if self.bytes < self.limit { Ok(()) } else { self.rotate() }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes back what an error left of a group, on the disk too, and goes on in a new segment.
    pub(crate) fn mend(&mut self) -> Result<(), StoreError> {
        self.buffer.clear();
        self.next_lsn = self.durable_lsn;
        let failed = |source| StoreError::io("cut the commit log", source);
        self.file.set_len(self.bytes).map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        if self.next_lsn > self.first_lsn {
            return self.rotate();
        }
        // Nothing is in it: it begins again under the same name.
        self.file = create(&self.dir, self.first_lsn)?;
        self.bytes = HEADER_BYTES as u64;
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), StoreError> {
        let first = self.next_lsn;
        let file = create(&self.dir, first)?;
        let old = segment_path(&self.dir, self.first_lsn);
        self.file = file;
        self.bytes = HEADER_BYTES as u64;
        self.closed.push((old, first - 1));
        self.first_lsn = first;
        Ok(())
    }

    /// Removes the closed segments whose records are all below `lsn`.
    pub(crate) fn release(&mut self, lsn: u64) -> Result<(), StoreError> {
        while let Some((path, last)) = self.closed.first() {
            if *last >= lsn {
                break;
            }
            match std::fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(format!("remove {}", path.display()), error)),
            }
            self.closed.remove(0);
        }
        Ok(())
    }
}

fn create(dir: &Path, first_lsn: u64) -> Result<File, StoreError> {
    let path = segment_path(dir, first_lsn);
    let failed = |source| StoreError::io(format!("create {}", path.display()), source);
    // An empty segment of this number may be there from a start that wrote nothing.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).map_err(failed)?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_be_bytes());
    file.write_all(&header).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    sync_dir(dir)?;
    Ok(file)
}

pub(super) fn segment_path(dir: &Path, first_lsn: u64) -> PathBuf {
    dir.join(format!("{first_lsn:016x}.log"))
}

/// The number in a segment's name: that of its first record.
pub(super) fn first_lsn(path: &Path) -> Option<u64> {
    u64::from_str_radix(path.file_stem()?.to_str()?, 16).ok()
}

/// Makes a folder with all that is missing above it, durably: a file in it is no use when the folder's own name is lost.
pub(crate) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_dir(parent)?;
    }
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(StoreError::io(format!("create {}", dir.display()), error)),
        // Something else than a folder may have the name; who opens a file in it says so.
        Ok(()) | Err(_) => {}
    }
    parent.map_or(Ok(()), sync_dir)
}

/// Makes names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| StoreError::io(format!("sync {}", dir.display()), source))
}
