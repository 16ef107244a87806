// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    LogRecord,
    segment::{COLUMNS_VERSION, FRAME_HEAD_BYTES, HEADER_BYTES, MAGIC, MAX_PAYLOAD_BYTES, sync_dir},
};
use crate::StoreError;

/// Where the log goes on.
pub(crate) struct Recovered {
    pub(crate) next_lsn: u64,
    /// Segments with records, oldest first, each with the last number in it.
    pub(crate) segments: Vec<(PathBuf, u64)>,
    /// Bytes of a torn tail that were cut off.
    pub(crate) torn_bytes: u64,
}

/// Reads all records in order and cuts a torn tail off. `floor` is the least number that the next record may have.
pub(crate) fn recover(dir: &Path, floor: u64, mut take: impl FnMut(LogRecord) -> Result<(), StoreError>) -> Result<Recovered, StoreError> {
    std::fs::create_dir_all(dir).map_err(|source| StoreError::io(format!("create {}", dir.display()), source))?;
    let mut recovered = Recovered {
        next_lsn: floor,
        segments: Vec::new(),
        torn_bytes: 0,
    };
    let paths = segments(dir)?;
    for (index, path) in paths.iter().enumerate() {
        let mut last = None;
        let end = read(path, |record| {
            last = Some(record.lsn);
            recovered.next_lsn = recovered.next_lsn.max(record.lsn + 1);
            take(record)
        })?;
        if let Some(tail) = end.torn {
            if index + 1 < paths.len() {
                return Err(StoreError::Damaged {
                    path: path.display().to_string(),
                    detail: format!("record at byte {} of a segment that was complete", end.good),
                });
            }
            cut(path, end.good)?;
            recovered.torn_bytes += tail;
        }
        match last {
            Some(last) => recovered.segments.push((path.clone(), last)),
            None => {
                std::fs::remove_file(path).map_err(|source| StoreError::io(format!("remove {}", path.display()), source))?;
            }
        }
    }
    sync_dir(dir)?;
    Ok(recovered)
}

fn segments(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |source| StoreError::io(format!("list {}", dir.display()), source);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    // Names are numbers of fixed width.
    paths.sort();
    Ok(paths)
}

struct End {
    /// Bytes up to the end of the last whole record.
    good: u64,
    /// Bytes behind it.
    torn: Option<u64>,
}

fn read(path: &Path, mut take: impl FnMut(LogRecord) -> Result<(), StoreError>) -> Result<End, StoreError> {
    let failed = |source| StoreError::io(format!("read {}", path.display()), source);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    if length < HEADER_BYTES as u64 {
        return Ok(End { good: 0, torn: Some(length) });
    }
    reader.read_exact(&mut header).map_err(failed)?;
    let version = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    if &header[..8] != MAGIC {
        return Err(StoreError::Damaged {
            path: path.display().to_string(),
            detail: "it is no segment of a commit log".into(),
        });
    }
    if version > COLUMNS_VERSION {
        return Err(StoreError::Newer {
            path: path.display().to_string(),
            found: version,
            known: COLUMNS_VERSION,
        });
    }
    let mut good = HEADER_BYTES as u64;
    let mut payload = Vec::new();
    loop {
        let left = length - good;
        if left == 0 {
            return Ok(End { good, torn: None });
        }
        let torn = Ok(End { good, torn: Some(left) });
        if left < FRAME_HEAD_BYTES as u64 {
            return torn;
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        reader.read_exact(&mut head).map_err(failed)?;
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let crc = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if size > MAX_PAYLOAD_BYTES || (left - FRAME_HEAD_BYTES as u64) < size as u64 {
            return torn;
        }
        payload.resize(size, 0);
        reader.read_exact(&mut payload).map_err(failed)?;
        // A length of zero with a checksum of zero is what a hole in the file reads as.
        if size == 0 || crc32fast::hash(&payload) != crc {
            return torn;
        }
        take(LogRecord::decode(&payload)?)?;
        good += (FRAME_HEAD_BYTES + size) as u64;
    }
}

fn cut(path: &Path, length: u64) -> Result<(), StoreError> {
    let failed = |source| StoreError::io(format!("cut {}", path.display()), source);
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.set_len(length).map_err(failed)?;
    file.sync_all().map_err(failed)
}
