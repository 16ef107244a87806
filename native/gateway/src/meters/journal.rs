// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The last reading of every agent, on disk, so that a restart of the gateway loses nothing of what agents counted meanwhile.
//!
//! A reading is written here before it goes on its way: a process that is killed in between leaves a gap, whose ends the next reading names,
//! and never the same traffic twice. The file is not synced while it is written, so after a crash of the machine it may be older than what
//! was spooled: it names the boot that it was written in, and one of another boot is taken only if it was closed, which is synced.
//!
//! Form of the file: [`MAGIC`], the id of the boot (16 bytes), then entries: `tag u8, host 16 bytes`, and behind it
//! - [`WHOLE`] and [`MOVED`]: `at_us i64, count u32`, then so many meters: all of the agent's, or those that are other than before. A
//!   meter is `kind u8`, a UUID or for other kinds `length u16` and the key as text, then `packets i64, bytes i64`;
//! - [`FORGET`]: nothing; the agent's next reading is a first one;
//! - [`CLOSED`]: nothing, the host is zero; nothing follows.
//!
//! Numbers are big-endian. An entry that is cut off is the last one and counts for nothing.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use midonet::meters::{Counters, MeterKey};
use uuid::Uuid;

use super::delta::Baseline;

const NAME: &str = "meters.last";
const LOCK: &str = "meters.lock";
const MAGIC: &[u8; 8] = b"MTRLAST1";
const HEADER_BYTES: usize = MAGIC.len() + 16;

const WHOLE: u8 = 1;
const MOVED: u8 = 2;
const FORGET: u8 = 3;
const CLOSED: u8 = 4;

const DEVICE: u8 = 1;
const PORT_RX: u8 = 2;
const PORT_TX: u8 = 3;
const TEXT: u8 = 4;

/// The file is written anew when it is twice as long as it has to be and longer than this.
const SLACK_BYTES: u64 = 1 << 20;
/// Longest file: two million meters, the most that are remembered, take 66 MB, and twice that until they are written anew.
const MAX_BYTES: u64 = 160 << 20;
/// The file's part of what the spool may have; a small spool is a small disk.
const SPOOL_PART: u64 = 8;
/// A difference over a longer time tells nobody when the traffic was, and the agent may have started anew unseen meanwhile.
const MAX_AGE: Duration = Duration::from_secs(86_400);

/// The open file. Its owner alone writes it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    boot: [u8; 16],
    file: Arc<File>,
    /// As it is, and as it was when it was written anew.
    bytes: u64,
    base: u64,
    limit: u64,
    /// Keeps other processes out.
    _lock: File,
}

/// Meters that a reading made other than before.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Changed {
    All,
    Some(Vec<(MeterKey, Counters)>),
}

/// Nothing is kept on disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("{operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another process uses {}", .0.display())]
    Taken(PathBuf),
    #[error("the meters of all agents take more than {0} bytes")]
    TooLarge(u64),
}

impl Journal {
    /// Opens the journal in the spool's folder, or makes it, and gives the base lines that still hold: those of this boot or of an orderly
    /// end, not older than a day and not from the future. `spool_bytes` is what the spool may take.
    pub(super) fn open(folder: &Path, spool_bytes: u64, now_us: i64) -> Result<(Journal, BTreeMap<Uuid, Baseline>), JournalError> {
        Journal::open_in(folder, spool_bytes, now_us, boot())
    }

    fn open_in(folder: &Path, spool_bytes: u64, now_us: i64, boot: [u8; 16]) -> Result<(Journal, BTreeMap<Uuid, Baseline>), JournalError> {
        fs::DirBuilder::new().recursive(true).create(folder).map_err(io("create", folder))?;
        let lock = lock(folder)?;
        let path = folder.join(NAME);
        let limit = MAX_BYTES.min(spool_bytes / SPOOL_PART);
        let mut baselines = load(&path, limit, boot)?;
        let oldest = now_us.saturating_sub(MAX_AGE.as_micros() as i64);
        baselines.retain(|_, baseline| baseline.at_us().is_some_and(|at| (oldest..=now_us).contains(&at)));
        let (file, bytes) = create(&path, limit, boot, baselines.iter().map(|(host, baseline)| (*host, baseline)))?;
        let journal = Journal {
            path,
            boot,
            file: Arc::new(file),
            bytes,
            base: bytes,
            limit,
            _lock: lock,
        };
        Ok((journal, baselines))
    }

    /// Writes what a reading changed; to be done before the reading goes on. `all` gives the base lines of all agents, for the case that
    /// the file is to be written anew.
    pub(super) async fn write<'a, I>(
        &mut self,
        host: Uuid,
        baseline: &Baseline,
        changed: Changed,
        all: impl FnOnce() -> I,
    ) -> Result<(), JournalError>
    where
        I: Iterator<Item = (Uuid, &'a Baseline)>,
    {
        let mut entry = Vec::new();
        match changed {
            Changed::All => encode(WHOLE, host, baseline, baseline.meters(), &mut entry),
            Changed::Some(meters) => encode(MOVED, host, baseline, &meters, &mut entry),
        }
        self.append(entry, all).await
    }

    /// The agent's next reading is a first one.
    pub(super) async fn forget(&mut self, host: Uuid) -> Result<(), JournalError> {
        let mut entry = vec![FORGET];
        entry.extend_from_slice(host.as_bytes());
        self.append(entry, std::iter::empty).await
    }

    /// Forgets all agents.
    pub(super) fn clear(&mut self) -> Result<(), JournalError> {
        if self.bytes > HEADER_BYTES as u64 {
            self.renew(std::iter::empty())?;
        }
        Ok(())
    }

    /// The last word: after it the file is good whatever happens to the machine.
    pub(super) fn close(self) -> Result<(), JournalError> {
        let mut entry = vec![CLOSED];
        entry.extend_from_slice(Uuid::nil().as_bytes());
        (&*self.file).write_all(&entry).map_err(io("write", &self.path))?;
        self.file.sync_all().map_err(io("sync", &self.path))?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
    }

    /// Takes the file away: what it says does not hold any more.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("remove {}: {error}", self.path.display());
        }
    }

    async fn append<'a, I>(&mut self, entry: Vec<u8>, all: impl FnOnce() -> I) -> Result<(), JournalError>
    where
        I: Iterator<Item = (Uuid, &'a Baseline)>,
    {
        let longer = self.bytes + entry.len() as u64;
        if longer > self.limit || longer > (2 * self.base).max(SLACK_BYTES) {
            return self.renew(all());
        }
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || (&*file).write_all(&entry)).await;
        written
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(io("write", &self.path))?;
        self.bytes = longer;
        Ok(())
    }

    fn renew<'a>(&mut self, all: impl Iterator<Item = (Uuid, &'a Baseline)>) -> Result<(), JournalError> {
        let (file, bytes) = create(&self.path, self.limit, self.boot, all)?;
        (self.file, self.bytes, self.base) = (Arc::new(file), bytes, bytes);
        Ok(())
    }
}

/// A new file with these base lines, moved into place.
fn create<'a>(path: &Path, limit: u64, boot: [u8; 16], all: impl Iterator<Item = (Uuid, &'a Baseline)>) -> Result<(File, u64), JournalError> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("create", &temporary))?;
    let mut bytes = [&MAGIC[..], &boot].concat();
    let mut length = 0;
    for (host, baseline) in all.filter(|(_, baseline)| baseline.at_us().is_some()) {
        encode(WHOLE, host, baseline, baseline.meters(), &mut bytes);
        if length + bytes.len() as u64 > limit / 2 {
            // An older file would be continued from where it ends.
            let _ = fs::remove_file(path);
            return Err(JournalError::TooLarge(limit / 2));
        }
        length += bytes.len() as u64;
        file.write_all(&bytes).map_err(io("write", &temporary))?;
        bytes.clear();
    }
    file.write_all(&bytes).map_err(io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(io("rename", &temporary))?;
    Ok((file, length + bytes.len() as u64))
}

/// What the file says; nothing where there is none, or one that may be older than what was sent.
fn load(path: &Path, limit: u64, boot: [u8; 16]) -> Result<BTreeMap<Uuid, Baseline>, JournalError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= limit => {}
        Ok(_) => return Ok(BTreeMap::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io("look at", path)(error)),
    }
    let bytes = fs::read(path).map_err(io("read", path))?;
    let Some((header, entries)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Ok(BTreeMap::new());
    };
    let (baselines, closed) = replay(entries);
    let holds = header.starts_with(MAGIC) && (closed || header.ends_with(&boot) && boot != [0; 16]);
    Ok(if holds { baselines } else { BTreeMap::new() })
}

/// The base lines after all whole entries, and whether the last of them is the mark of an orderly end.
fn replay(mut bytes: &[u8]) -> (BTreeMap<Uuid, Baseline>, bool) {
    let mut baselines: BTreeMap<Uuid, Baseline> = BTreeMap::new();
    loop {
        let mut rest = bytes;
        let Some((tag, host)) = array::<1>(&mut rest).zip(array::<16>(&mut rest)) else {
            return (baselines, false);
        };
        let host = Uuid::from_bytes(host);
        match tag {
            [CLOSED] => return (baselines, rest.is_empty()),
            [FORGET] => drop(baselines.remove(&host)),
            [tag @ (WHOLE | MOVED)] => {
                let Some((at_us, meters)) = decode(&mut rest) else {
                    return (baselines, false);
                };
                let baseline = baselines.entry(host).or_default();
                if tag == WHOLE {
                    baseline.clear();
                }
                baseline.put(at_us, meters);
            }
            _ => return (baselines, false),
        }
        bytes = rest;
    }
}

fn encode(tag: u8, host: Uuid, baseline: &Baseline, meters: &[(MeterKey, Counters)], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(&baseline.at_us().unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&(meters.len() as u32).to_be_bytes());
    for (key, counters) in meters {
        let id = |kind: u8, id: &Uuid, out: &mut Vec<u8>| {
            out.push(kind);
            out.extend_from_slice(id.as_bytes());
        };
        match key {
            MeterKey::Device(device) => id(DEVICE, device, out),
            MeterKey::PortRx(port) => id(PORT_RX, port, out),
            MeterKey::PortTx(port) => id(PORT_TX, port, out),
            key => {
                let text = key.to_string();
                out.push(TEXT);
                // Keys have 512 bytes at most.
                out.extend_from_slice(&(text.len() as u16).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        out.extend_from_slice(&counters.packets.to_be_bytes());
        out.extend_from_slice(&counters.bytes.to_be_bytes());
    }
}

/// `None` where the entry is cut off or is none.
fn decode(rest: &mut &[u8]) -> Option<(i64, Vec<(MeterKey, Counters)>)> {
    let at_us = i64::from_be_bytes(array(rest)?);
    let count = u32::from_be_bytes(array(rest)?);
    let mut meters = Vec::new();
    for _ in 0..count {
        let key = match array::<1>(rest)? {
            [DEVICE] => MeterKey::Device(Uuid::from_bytes(array(rest)?)),
            [PORT_RX] => MeterKey::PortRx(Uuid::from_bytes(array(rest)?)),
            [PORT_TX] => MeterKey::PortTx(Uuid::from_bytes(array(rest)?)),
            [TEXT] => {
                let length = u16::from_be_bytes(array(rest)?);
                let (text, behind) = rest.split_at_checked(length.into())?;
                *rest = behind;
                std::str::from_utf8(text).ok()?.parse().ok()?
            }
            _ => return None,
        };
        let counters = Counters {
            packets: i64::from_be_bytes(array(rest)?),
            bytes: i64::from_be_bytes(array(rest)?),
        };
        meters.push((key, counters));
    }
    Some((at_us, meters))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*head)
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Taken(path)),
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// The id of this boot of the machine; zero where the system does not tell, which no file is taken to be of.
fn boot() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Uuid::parse_str(text.trim()).map(Uuid::into_bytes).unwrap_or_default()
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOOT: [u8; 16] = [7; 16];
    const SPOOL: u64 = 2 << 30;
    const HOST: Uuid = Uuid::from_u128(1);

    fn meters(values: &[(u128, i64)]) -> Vec<(MeterKey, Counters)> {
        let key = |id: u128| match id % 5 {
            0 => MeterKey::PortRx(Uuid::from_u128(id)),
            1 => MeterKey::PortTx(Uuid::from_u128(id)),
            2 => MeterKey::User(format!("tenant {id}")),
            3 => MeterKey::Tunnel {
                src: (id as u32).into(),
                dst: 5.into(),
            },
            _ => MeterKey::Device(Uuid::from_u128(id)),
        };
        values
            .iter()
            .map(|(id, packets)| {
                let counters = Counters {
                    packets: *packets,
                    bytes: packets * 3,
                };
                (key(*id), counters)
            })
            .collect()
    }

    fn baseline(at_us: i64, values: &[(u128, i64)]) -> Baseline {
        let mut baseline = Baseline::default();
        baseline.put(at_us, meters(values));
        baseline
    }

    fn open(folder: &Path, now_us: i64, boot: u8) -> (Journal, BTreeMap<Uuid, Baseline>) {
        Journal::open_in(folder, SPOOL, now_us, [boot; 16]).unwrap()
    }

    async fn write(journal: &mut Journal, baseline: &Baseline, changed: Changed) {
        journal.write(HOST, baseline, changed, || [(HOST, baseline)].into_iter()).await.unwrap();
    }

    #[tokio::test]
    async fn readings_come_back_after_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, none) = open(folder.path(), 5, 7);
        assert!(none.is_empty());
        write(&mut journal, &baseline(10, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]), Changed::All).await;
        let last = baseline(20, &[(1, 1), (2, 2), (3, 9), (4, 4), (5, 5), (6, 6)]);
        write(&mut journal, &last, Changed::Some(meters(&[(3, 9), (6, 6)]))).await;
        drop(journal);
        let (journal, found) = open(folder.path(), 30, 7);
        assert_eq!(found, BTreeMap::from([(HOST, last)]));
        // It was written anew, and a second process is kept out.
        assert!(matches!(Journal::open_in(folder.path(), SPOOL, 30, BOOT), Err(JournalError::Taken(_))));
        drop(journal);
        assert_eq!(open(folder.path(), 30, 7).1.len(), 1);
    }

    #[tokio::test]
    async fn after_another_boot_only_an_orderly_end_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path(), 5, 7);
        write(&mut journal, &baseline(10, &[(1, 1)]), Changed::All).await;
        let copy = fs::read(folder.path().join(NAME)).unwrap();
        journal.close().unwrap();
        assert_eq!(open(folder.path(), 20, 8).1.len(), 1);
        fs::write(folder.path().join(NAME), copy).unwrap();
        assert_eq!(open(folder.path(), 20, 8).1.len(), 0);
    }

    #[tokio::test]
    async fn old_future_and_forgotten_readings_do_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let day = MAX_AGE.as_micros() as i64;
        for (now_us, expected) in [(100 + day, 1), (101 + day, 0), (99, 0), (100, 1)] {
            let (mut journal, _) = open(folder.path(), 0, 7);
            write(&mut journal, &baseline(100, &[(1, 1)]), Changed::All).await;
            drop(journal);
            assert_eq!(open(folder.path(), now_us, 7).1.len(), expected, "{now_us}");
        }
        let (mut journal, _) = open(folder.path(), 100, 7);
        journal.forget(HOST).await.unwrap();
        drop(journal);
        let (mut journal, found) = open(folder.path(), 100, 7);
        assert!(found.is_empty());
        write(&mut journal, &baseline(100, &[(1, 1)]), Changed::All).await;
        journal.clear().unwrap();
        drop(journal);
        assert!(open(folder.path(), 100, 7).1.is_empty());
    }

    #[tokio::test]
    async fn the_file_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path(), 0, 7);
        let values: Vec<_> = (0..10_000).map(|id| (id * 5, 1)).collect();
        let mut longest = 0;
        for at in 0..20 {
            let baseline = baseline(at, &values);
            write(&mut journal, &baseline, Changed::All).await;
            longest = longest.max(fs::metadata(folder.path().join(NAME)).unwrap().len());
        }
        assert!(longest <= SLACK_BYTES, "{longest}");
        assert_eq!(journal.bytes, fs::metadata(folder.path().join(NAME)).unwrap().len());
        drop(journal);
        let (mut journal, _) = Journal::open_in(folder.path(), 8 * 500_000, 19, BOOT).unwrap();
        let baseline = baseline(20, &values);
        let all = || [(HOST, &baseline), (Uuid::from_u128(2), &baseline)].into_iter();
        assert!(journal.write(HOST, &baseline, Changed::All, all).await.is_ok());
        let refused = journal.write(HOST, &baseline, Changed::All, all).await;
        assert!(matches!(refused, Err(JournalError::TooLarge(250_000))), "{refused:?}");
        drop(journal);
        assert!(open(folder.path(), 20, 7).1.is_empty(), "nothing old is left to go on from");
    }

    proptest! {
        /// However a file is cut or damaged, no reading comes out of it that was never written, and whole entries in front count.
        #[test]
        fn a_cut_file_gives_what_was_whole(cut in 0..2_000usize, garbage in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = Vec::new();
            let steps: Vec<Baseline> = (1..10).map(|at| baseline(at, &[(at as u128, 1), (77, at)])).collect();
            let mut ends = vec![0];
            for step in &steps {
                encode(WHOLE, HOST, step, step.meters(), &mut bytes);
                ends.push(bytes.len());
            }
            let cut = cut.min(bytes.len());
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let (found, closed) = replay(&bytes[..cut]);
            prop_assert!(!closed);
            prop_assert_eq!(found.get(&HOST), whole.checked_sub(1).map(|last| &steps[last]));
            bytes.truncate(cut);
            bytes.extend(garbage);
            replay(&bytes);
        }
    }
}
