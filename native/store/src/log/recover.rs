// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    LogRecord,
    segment::{COLUMNS_VERSION, FRAME_HEAD_BYTES, HEADER_BYTES, MAGIC, MAX_PAYLOAD_BYTES, create_dir, sync_dir},
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
    create_dir(dir)?;
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{super::LogWriter, *};
    use crate::{
        ids::{Cursor, SiteId, StreamId, StreamKind},
        log::LogTable,
        row::MeterReading,
        table::{TableKind, meter_batch},
    };

    fn payload(sequence: u64) -> Vec<u8> {
        let host = Uuid::from_bytes([7; 16]);
        let readings = vec![MeterReading {
            host,
            from_us: 1,
            to_us: 2 + sequence as i64,
            meters: Vec::new(),
        }];
        let mut tables = [LogTable::new(TableKind::Meters, meter_batch(&readings).unwrap())];
        let stream = StreamId {
            gateway: host,
            kind: StreamKind::Meters,
            epoch: 5,
        };
        LogRecord::encode(SiteId(host), Cursor { stream, sequence }, &mut tables).unwrap()
    }

    fn write(dir: &Path, count: u64) {
        let mut log = LogWriter::open(dir.to_owned(), u64::MAX, 1, Vec::new()).unwrap();
        for sequence in 0..count {
            assert_eq!(log.add(&payload(sequence)).unwrap(), sequence + 1);
        }
        log.commit().unwrap();
    }

    fn sequences(dir: &Path) -> Result<(Vec<u64>, Recovered), StoreError> {
        let mut found = Vec::new();
        let recovered = recover(dir, 1, |record| {
            assert_eq!(record.lsn, record.cursor.sequence + 1);
            assert_eq!(record.tables[0].rows.num_rows(), 1);
            found.push(record.cursor.sequence);
            Ok(())
        })?;
        Ok((found, recovered))
    }

    fn only_segment(dir: &Path) -> PathBuf {
        let mut paths = segments(dir).unwrap();
        assert_eq!(paths.len(), 1);
        paths.remove(0)
    }

    #[test]
    fn records_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 5);
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!(found, [0, 1, 2, 3, 4]);
        assert_eq!((recovered.next_lsn, recovered.torn_bytes, recovered.segments.len()), (6, 0, 1));
    }

    /// The tail of the newest segment cut short, and with a byte of its last record changed.
    #[test]
    fn a_torn_tail_costs_only_the_record_that_it_tore() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 3);
        let path = only_segment(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let frame = FRAME_HEAD_BYTES + payload(2).len();
        let last = whole.len() - frame;
        // Every place in the head and the metadata, then some of the body: a recovery syncs, which takes its time.
        let places = || (last..whole.len()).filter(move |at| at - last < 64 || at % 13 == 0);
        for length in places() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (found, recovered) = sequences(dir.path()).unwrap();
            assert_eq!(found, [0, 1], "cut at {length}");
            assert_eq!(recovered.torn_bytes, (length - last) as u64);
            // What was cut off stays cut off.
            assert_eq!(std::fs::metadata(&path).unwrap().len(), last as u64);
        }
        for at in places() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            std::fs::write(&path, &changed).unwrap();
            assert_eq!(sequences(dir.path()).unwrap().0, [0, 1], "changed at {at}");
        }
        // Blocks that the file system had not written yet read as zeros.
        let mut holed = whole.clone();
        holed[last..].fill(0);
        std::fs::write(&path, &holed).unwrap();
        assert_eq!(sequences(dir.path()).unwrap().0, [0, 1]);
    }

    #[test]
    fn a_segment_whose_header_is_torn_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2);
        let next = dir.path().join(format!("{:016x}.log", 3));
        std::fs::write(&next, b"MIDO").unwrap();
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!(found, [0, 1]);
        assert_eq!(recovered.segments.len(), 1);
        assert!(!next.exists());
    }

    #[test]
    fn damage_before_the_newest_segment_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2);
        let path = only_segment(dir.path());
        let mut log = LogWriter::open(dir.path().to_owned(), u64::MAX, 3, Vec::new()).unwrap();
        log.add(&payload(2)).unwrap();
        log.commit().unwrap();
        assert_eq!(sequences(dir.path()).unwrap().0, [0, 1, 2]);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(sequences(dir.path()), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_newer_form_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1);
        let path = only_segment(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[11] += 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(sequences(dir.path()), Err(StoreError::Newer { found: 2, known: 1, .. })));
    }

    #[test]
    fn full_segments_are_closed_and_given_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path().to_owned(), 1, 1, Vec::new()).unwrap();
        for sequence in 0..4 {
            log.add(&payload(sequence)).unwrap();
            log.commit().unwrap();
            log.rotate_if_full().unwrap();
        }
        assert_eq!(segments(dir.path()).unwrap().len(), 5);
        log.release(3).unwrap();
        assert_eq!(sequences(dir.path()).unwrap().0, [2, 3]);
    }
}
