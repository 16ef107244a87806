// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a start finds in the log.
//!
//! A write that a crash cut off leaves a torn tail of the newest segment, which is cut off. Anything else that is not as it was written is
//! damage of the disk: it costs the records that it touched, and nothing behind them. The next record is looked for by its number and checksum.

use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    LogRecord,
    record::{LSN_BYTES, SITE_BYTES},
    segment::{BEGINS_GROUP, FRAME_HEAD_BYTES, HEADER_BYTES, MAGIC, MAX_PAYLOAD_BYTES, VERSION, create_dir, first_lsn, sync_dir},
};
use crate::{StoreError, ids::SiteId};

/// What is read at a time while the next whole frame is looked for.
const SEARCH_BYTES: usize = 1 << 20;

/// What a frame begins with: length, checksum, number.
const PREFIX_BYTES: usize = FRAME_HEAD_BYTES + LSN_BYTES;

/// Where the log goes on.
pub(crate) struct Recovered {
    pub(crate) next_lsn: u64,
    /// Segments with records, oldest first, each with the last number in it.
    pub(crate) segments: Vec<(PathBuf, u64)>,
    /// Bytes of a torn tail that were cut off.
    pub(crate) torn_bytes: u64,
    pub(crate) damage: Vec<Damage>,
}

/// Records that were durable and can't be read any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Damage {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Range<u64>,
    /// Numbers of the records in it.
    pub(crate) lsns: Range<u64>,
    /// What stands at the place of the site, where one record is damaged and its length holds. It may be damaged, too.
    pub(crate) site: Option<SiteId>,
}

/// Reads all records in order and cuts a torn tail off. `floor` is the least number that the next record may have.
pub(crate) fn recover(dir: &Path, floor: u64, mut take: impl FnMut(LogRecord) -> Result<(), StoreError>) -> Result<Recovered, StoreError> {
    create_dir(dir)?;
    let mut recovered = Recovered {
        next_lsn: floor,
        segments: Vec::new(),
        torn_bytes: 0,
        damage: Vec::new(),
    };
    let paths = segments(dir)?;
    for (index, path) in paths.iter().enumerate() {
        let following = paths.get(index + 1).and_then(|path| first_lsn(path));
        let mut last = None;
        let end = read(path, following, |record| {
            last = Some(record.lsn);
            recovered.next_lsn = recovered.next_lsn.max(record.lsn + 1);
            take(record)
        })?;
        for damage in &end.damage {
            last = last.max(damage.lsns.end.checked_sub(1));
            recovered.next_lsn = recovered.next_lsn.max(damage.lsns.end);
        }
        recovered.damage.extend(end.damage);
        if let Some(tail) = end.torn {
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
    /// Bytes behind it that a crash left.
    torn: Option<u64>,
    damage: Vec<Damage>,
}

/// A segment under way.
struct Walk<'a> {
    path: &'a Path,
    file: File,
    version: u32,
    length: u64,
    at: u64,
    /// The number of the next record.
    lsn: u64,
}

/// `following` is the first number of the segment behind this one; `None` for the newest.
fn read(path: &Path, following: Option<u64>, mut take: impl FnMut(LogRecord) -> Result<(), StoreError>) -> Result<End, StoreError> {
    let failed = |source| StoreError::io(format!("read {}", path.display()), source);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut walk = Walk {
        path,
        file,
        version: 0,
        length,
        at: HEADER_BYTES as u64,
        lsn: first_lsn(path).unwrap_or(0),
    };
    let mut end = End {
        good: 0,
        torn: None,
        damage: Vec::new(),
    };
    if length < HEADER_BYTES as u64 {
        end.torn = Some(length);
        return Ok(end);
    }
    walk.read_header()?;
    let mut payload = Vec::new();
    // Buffered, as most segments are read without a search from end to end.
    let mut reader = BufReader::with_capacity(SEARCH_BYTES, walk.file.try_clone().map_err(failed)?);
    std::io::copy(&mut (&mut reader).take(HEADER_BYTES as u64), &mut std::io::sink()).map_err(failed)?;
    while walk.at < length {
        if walk.next(&mut reader, &mut payload).map_err(failed)? {
            let record = LogRecord::decode(&payload)?;
            walk.lsn = record.lsn + 1;
            take(record)?;
            walk.at += (FRAME_HEAD_BYTES + payload.len()) as u64;
            continue;
        }
        let next = match (walk.search().map_err(failed)?, following) {
            (Some(found), None) if !walk.begins_group_from(found).map_err(failed)? => None,
            (None, Some(first)) if first > walk.lsn => Some((length, first)),
            (found, _) => found,
        };
        let Some((to, lsn)) = next else {
            if following.is_none() {
                end.torn = Some(length - walk.at);
            }
            break;
        };
        end.damage.push(walk.damage(to, lsn).map_err(failed)?);
        (walk.at, walk.lsn) = (to, lsn);
        std::io::Seek::seek(&mut reader, std::io::SeekFrom::Start(to)).map_err(failed)?;
    }
    end.good = walk.at;
    Ok(end)
}

impl Walk<'_> {
    fn read_header(&mut self) -> Result<(), StoreError> {
        let path = || self.path.display().to_string();
        let mut header = [0; HEADER_BYTES];
        let read = self.file.read_exact_at(&mut header, 0);
        read.map_err(|source| StoreError::io(format!("read {}", path()), source))?;
        let version = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if &header[..8] != MAGIC {
            return Err(StoreError::Damaged {
                path: path(),
                detail: "it is no segment of a commit log".into(),
            });
        }
        if version > VERSION {
            return Err(StoreError::Newer {
                path: path(),
                found: version,
                known: VERSION,
            });
        }
        self.version = version;
        Ok(())
    }

    /// Reads the frame that should stand here; `false` when it is not whole.
    fn next(&self, reader: &mut impl Read, payload: &mut Vec<u8>) -> std::io::Result<bool> {
        let left = self.length - self.at;
        if left < PREFIX_BYTES as u64 {
            return Ok(false);
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        reader.read_exact(&mut head)?;
        let Some(head) = self.head(&head, left) else { return Ok(false) };
        payload.resize(head.size, 0);
        reader.read_exact(payload)?;
        Ok(head.fits(payload))
    }

    /// Looks for the next whole frame behind a broken one: its place and number.
    fn search(&self) -> std::io::Result<Option<(u64, u64)>> {
        let mut window = vec![0; SEARCH_BYTES + PREFIX_BYTES];
        let mut payload = Vec::new();
        let mut start = self.at + 1;
        while start + PREFIX_BYTES as u64 <= self.length {
            let bytes = window.len().min((self.length - start) as usize);
            self.file.read_exact_at(&mut window[..bytes], start)?;
            for (step, prefix) in window[..bytes].windows(PREFIX_BYTES).enumerate() {
                let at = start + step as u64;
                let Some(head) = self.head(&prefix[..FRAME_HEAD_BYTES], self.length - at) else {
                    continue;
                };
                // Numbers rise by one, so few bytes pass for one, and few payloads are read in vain.
                let lsn = number(&prefix[FRAME_HEAD_BYTES..]);
                let most = (at - self.at) / PREFIX_BYTES as u64;
                if lsn <= self.lsn || lsn - self.lsn > most {
                    continue;
                }
                payload.resize(head.size, 0);
                self.file.read_exact_at(&mut payload, at + FRAME_HEAD_BYTES as u64)?;
                if head.fits(&payload) {
                    return Ok(Some((at, lsn)));
                }
            }
            start += SEARCH_BYTES as u64;
        }
        Ok(None)
    }

    /// Whether a group begins with or behind the whole frame at this place and number: what stands before it was durable.
    fn begins_group_from(&self, (at, lsn): (u64, u64)) -> std::io::Result<bool> {
        let mut ahead = Walk {
            file: self.file.try_clone()?,
            at,
            lsn,
            ..*self
        };
        let mut payload = Vec::new();
        while ahead.at < ahead.length {
            let mut prefix = [0; PREFIX_BYTES];
            let there = ahead.length - ahead.at >= PREFIX_BYTES as u64;
            if there {
                ahead.file.read_exact_at(&mut prefix, ahead.at)?;
            }
            let head = self.head(&prefix[..FRAME_HEAD_BYTES], ahead.length - ahead.at).filter(|_| there);
            if let Some(head) = head {
                payload.resize(head.size, 0);
                ahead.file.read_exact_at(&mut payload, ahead.at + FRAME_HEAD_BYTES as u64)?;
                if head.fits(&payload) {
                    if head.begins_group() {
                        return Ok(true);
                    }
                    ahead.at += (FRAME_HEAD_BYTES + head.size) as u64;
                    ahead.lsn = number(&prefix[FRAME_HEAD_BYTES..]) + 1;
                    continue;
                }
            }
            match ahead.search()? {
                Some(found) => (ahead.at, ahead.lsn) = found,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn damage(&self, to: u64, lsn: u64) -> std::io::Result<Damage> {
        let mut site = None;
        let mut head = [0; PREFIX_BYTES + SITE_BYTES];
        if lsn == self.lsn + 1 && to - self.at >= head.len() as u64 {
            self.file.read_exact_at(&mut head, self.at)?;
            let size = self.head(&head[..FRAME_HEAD_BYTES], self.length - self.at).map_or(0, |head| head.size);
            let whole = self.at + (FRAME_HEAD_BYTES + size) as u64 == to;
            site = whole
                .then(|| head[PREFIX_BYTES..].try_into().map(|bytes| SiteId(Uuid::from_bytes(bytes))).ok())
                .flatten();
        }
        Ok(Damage {
            path: self.path.to_owned(),
            bytes: self.at..to,
            lsns: self.lsn..lsn,
            site,
        })
    }
}

/// What a frame begins with.
struct Head {
    length: u32,
    size: usize,
    crc: u32,
    version: u32,
}

impl Walk<'_> {
    /// The head of a frame, if one may begin so with `left` bytes to the end.
    fn head(&self, head: &[u8], left: u64) -> Option<Head> {
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, crc, version) = (number(0), number(4), self.version);
        let size = if version < 2 { length } else { length & !BEGINS_GROUP } as usize;
        // A length of zero with a checksum of zero is what a hole in the file reads as.
        let fits = (LSN_BYTES..=MAX_PAYLOAD_BYTES).contains(&size) && size as u64 <= left.checked_sub(FRAME_HEAD_BYTES as u64)?;
        fits.then_some(Head { length, size, crc, version })
    }
}

impl Head {
    fn begins_group(&self) -> bool {
        self.version >= 2 && self.length & BEGINS_GROUP != 0
    }

    fn fits(&self, payload: &[u8]) -> bool {
        let mut crc = crc32fast::Hasher::new();
        if self.version >= 2 {
            crc.update(&self.length.to_be_bytes());
        }
        crc.update(payload);
        crc.finalize() == self.crc
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(LSN_BYTES).fold(0, |number, byte| number << 8 | u64::from(*byte))
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
            log.commit().unwrap();
        }
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

    fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, &bytes).unwrap();
    }

    /// Any byte of any record but the last: what it touches is lost and told, nothing else.
    #[test]
    fn damage_costs_only_the_record_that_it_touched() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 4);
        let path = only_segment(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let frame = (whole.len() - HEADER_BYTES) / 4;
        let site = SiteId(Uuid::from_bytes([7; 16]));
        for record in 0..3 {
            let begin = HEADER_BYTES + record * frame;
            for at in (begin..begin + frame).filter(|at| at - begin < 80 || at % 13 == 0) {
                damage(&path, |bytes| bytes[at] ^= 0x10);
                let (found, recovered) = sequences(dir.path()).unwrap();
                let left: Vec<u64> = (0..4).filter(|sequence| *sequence != record as u64).collect();
                assert_eq!(found, left, "changed at {at}");
                assert_eq!((recovered.next_lsn, recovered.torn_bytes), (5, 0), "changed at {at}");
                let lsn = record as u64 + 1;
                let [damage] = &recovered.damage[..] else {
                    panic!("told at {at}: {:?}", recovered.damage)
                };
                assert_eq!((&damage.bytes, &damage.lsns), (&(begin as u64..(begin + frame) as u64), &(lsn..lsn + 1)));
                let of_site = at - begin >= PREFIX_BYTES && at - begin < PREFIX_BYTES + SITE_BYTES;
                if at - begin >= 4 && !of_site {
                    assert_eq!(damage.site, Some(site), "changed at {at}");
                }
                std::fs::write(&path, &whole).unwrap();
            }
        }
        // Several in one stretch, and one that begins with a length of another record.
        for (bytes, lost) in [
            (begin_of(1, frame)..begin_of(3, frame), 1..3),
            (begin_of(0, frame)..begin_of(1, frame) + 2, 0..2),
        ] {
            damage(&path, |content| content[bytes].fill(0xa5));
            let (found, recovered) = sequences(dir.path()).unwrap();
            assert_eq!(found, (0..4).filter(|sequence| !lost.contains(sequence)).collect::<Vec<u64>>());
            assert_eq!(recovered.damage.len(), 1);
            assert_eq!(recovered.damage[0].lsns, lost.start + 1..lost.end + 1);
            std::fs::write(&path, &whole).unwrap();
        }
    }

    fn begin_of(record: usize, frame: usize) -> usize {
        HEADER_BYTES + record * frame
    }

    /// Nobody was told that a group is durable whose blocks a crash has left in part, in whatever order they were written.
    #[test]
    fn the_last_group_is_cut_from_its_first_torn_record_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path().to_owned(), u64::MAX, 1, Vec::new()).unwrap();
        for group in [0..2, 2..5] {
            for sequence in group {
                log.add(&payload(sequence)).unwrap();
            }
            log.commit().unwrap();
        }
        let path = only_segment(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let frame = (whole.len() - HEADER_BYTES) / 5;
        for (hit, left, told) in [
            (0, vec![1, 2, 3, 4], 1),
            (1, vec![0, 2, 3, 4], 1),
            (2, vec![0, 1], 0),
            (3, vec![0, 1, 2], 0),
            (4, vec![0, 1, 2, 3], 0),
        ] {
            damage(&path, |bytes| bytes[begin_of(hit, frame)..begin_of(hit + 1, frame)].fill(0));
            let (found, recovered) = sequences(dir.path()).unwrap();
            assert_eq!((found, recovered.damage.len()), (left, told), "hit {hit}");
            assert_eq!(recovered.torn_bytes, if told > 0 { 0 } else { ((5 - hit) * frame) as u64 });
            std::fs::write(&path, &whole).unwrap();
        }
        // Both: the damage is told, the tail is cut.
        damage(&path, |bytes| {
            bytes[begin_of(0, frame) + 9] ^= 4;
            bytes[begin_of(3, frame) + 9] ^= 4;
        });
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!((found, recovered.damage.len(), recovered.torn_bytes), (vec![1, 2], 1, 2 * frame as u64));
    }

    /// A group that could not be made durable is taken back, whatever the disk has of it.
    #[test]
    fn what_an_error_left_is_gone_after_mending() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(dir.path().to_owned(), u64::MAX, 1, Vec::new()).unwrap();
        let left = |log: &mut LogWriter| {
            log.add(&payload(77)).unwrap();
            let newest = segments(dir.path()).unwrap().pop().unwrap();
            // The group itself, whole, as one that failed at the sync would leave it.
            let mut bytes = std::fs::read(&newest).unwrap();
            bytes.extend_from_slice(log.waiting());
            std::fs::write(&newest, bytes).unwrap();
            log.mend().unwrap();
        };
        left(&mut log);
        for sequence in 0..2 {
            log.add(&payload(sequence)).unwrap();
            log.commit().unwrap();
        }
        left(&mut log);
        left(&mut log);
        log.add(&payload(2)).unwrap();
        log.commit().unwrap();
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!((found, recovered.damage.len(), recovered.torn_bytes), (vec![0, 1, 2], 0, 0));
        assert_eq!(recovered.segments.iter().map(|(_, last)| *last).collect::<Vec<_>>(), [2, 3]);
        log.release(3).unwrap();
        assert_eq!(sequences(dir.path()).unwrap().0, [2]);
    }

    /// A segment as version 1 wrote it: read to its end, and cut at the first frame that is not whole.
    #[test]
    fn segments_without_groups_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = [&MAGIC[..], &1u32.to_be_bytes()].concat();
        for sequence in 0..3 {
            let mut payload = payload(sequence);
            payload[..LSN_BYTES].copy_from_slice(&(sequence + 1).to_be_bytes());
            bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&crc32fast::hash(&payload).to_be_bytes());
            bytes.extend_from_slice(&payload);
        }
        let path = dir.path().join(format!("{:016x}.log", 1));
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(sequences(dir.path()).unwrap().0, [0, 1, 2]);
        let frame = (bytes.len() - HEADER_BYTES) / 3;
        damage(&path, |bytes| bytes[begin_of(1, frame) + 20] ^= 1);
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!((found, recovered.torn_bytes, recovered.damage.len()), (vec![0], 2 * frame as u64, 0));
    }

    #[test]
    fn the_last_record_of_an_older_segment_is_told_and_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 2);
        let path = only_segment(dir.path());
        let mut log = LogWriter::open(dir.path().to_owned(), u64::MAX, 3, Vec::new()).unwrap();
        log.add(&payload(2)).unwrap();
        log.commit().unwrap();
        assert_eq!(sequences(dir.path()).unwrap().0, [0, 1, 2]);
        let length = std::fs::metadata(&path).unwrap().len();
        damage(&path, |bytes| {
            let at = bytes.len() - 3;
            bytes[at] ^= 1;
        });
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!(found, [0, 2]);
        assert_eq!((recovered.damage.len(), &recovered.damage[0].lsns), (1, &(2..3)));
        assert_eq!(recovered.segments.iter().map(|(_, last)| *last).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length, "it may yet be read by other means");
        // A segment that has nothing whole any more holds its numbers all the same.
        damage(&path, |bytes| bytes[HEADER_BYTES..].fill(0));
        let (found, recovered) = sequences(dir.path()).unwrap();
        assert_eq!((found, &recovered.damage[0].lsns), (vec![2], &(1..3)));
    }

    #[test]
    fn a_newer_form_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1);
        let path = only_segment(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[11] += 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(sequences(dir.path()), Err(StoreError::Newer { found: 3, known: 2, .. })));
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
