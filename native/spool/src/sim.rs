// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! A disk in memory that fails on demand and loses its power: what was not synced is then there in part, torn, or not at all.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use crate::disk::{Disk, DiskFile};

/// Sectors are written whole or not.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// Names as they are now, and as they are on the disk.
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// Operations until the next ones fail, and how many fail then.
    fail: Option<(usize, usize, Fault)>,
    /// Bytes that all files may have together.
    capacity: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Nothing happens.
    Error,
    /// A write goes half way.
    Half,
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl SimDisk {
    /// After so many further operations that change the disk, so many fail.
    pub(crate) fn fail(&self, after: usize, times: usize, fault: Fault) {
        self.state().fail = Some((after, times, fault));
    }

    pub(crate) fn heal(&self) {
        self.state().fail = None;
    }

    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// Takes the power away. `choose` gives numbers below its argument.
    pub(crate) fn crash(&self, mut choose: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        state.fail = None;
        let State {
            names, synced_names, files, ..
        } = &mut *state;
        let all: Vec<PathBuf> = names.keys().chain(synced_names.keys()).cloned().collect();
        for path in all {
            let kept = match (names.get(&path).copied(), synced_names.get(&path).copied()) {
                (now, synced) if now != synced && choose(2) == 0 => synced,
                (now, _) => now,
            };
            match kept {
                Some(file) => names.insert(path, file),
                None => names.remove(&path),
            };
        }
        *synced_names = names.clone();
        for file in files {
            let (short, long) = (file.now.len().min(file.synced.len()), file.now.len().max(file.synced.len()));
            let length = short + choose(long - short + 1);
            let mut content: Vec<u8> = (0..length).map(|at| *file.now.get(at).or(file.synced.get(at)).unwrap_or(&0)).collect();
            for start in (0..length).step_by(SECTOR) {
                let range = start..(start + SECTOR).min(length);
                let synced = file.synced.get(range.clone());
                if synced != Some(&content[range.clone()]) {
                    match choose(4) {
                        // The sector never got there.
                        0 => range.for_each(|at| content[at] = file.synced.get(at).copied().unwrap_or(0)),
                        1 => range.skip(1).for_each(|at| content[at] = file.synced.get(at).copied().unwrap_or(0)),
                        _ => {}
                    }
                }
            }
            *file = Content {
                now: content.clone(),
                synced: content,
            };
        }
    }

    /// Names and lengths of all files.
    pub(crate) fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.state();
        state
            .names
            .iter()
            .map(|(path, file)| (path.clone(), state.files[*file].now.len()))
            .collect()
    }

    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].now.clone()
    }

    /// Damages a file behind the back of its owner.
    pub(crate) fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.names[path];
        let content = &mut state.files[file];
        change(&mut content.now);
        change(&mut content.synced);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Counts a changing operation; the fault that it meets.
    fn step(&mut self) -> Option<Fault> {
        let (after, times, fault) = self.fail.as_mut()?;
        if *after > 0 {
            *after -= 1;
            return None;
        }
        let met = *fault;
        *times -= 1;
        if *times == 0 {
            self.fail = None;
        }
        Some(met)
    }

    fn allowed(&mut self) -> io::Result<()> {
        match self.step() {
            Some(_) => Err(io::ErrorKind::Other.into()),
            None => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        Ok(inside
            .map(|(path, file)| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    state.files[*file].now.len() as u64,
                )
            })
            .collect())
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.state().find(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.allowed()?;
        let file = match state.find(path) {
            Ok(file) => {
                state.files[file].now.clear();
                file
            }
            Err(_) => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.names.insert(path.to_owned(), file);
                file
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(path)?;
        state.allowed()?;
        state.names.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(from)?;
        state.allowed()?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.allowed()?;
        let State { names, synced_names, .. } = &mut *state;
        synced_names.retain(|path, _| path.parent() != Some(folder));
        synced_names.extend(
            names
                .iter()
                .filter(|(path, _)| path.parent() == Some(folder))
                .map(|(path, file)| (path.clone(), *file)),
        );
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let rest = state.files[self.file].now.get(offset as usize..).unwrap_or(&[]);
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.step();
        let mut bytes = match fault {
            Some(Fault::Error) => return Err(io::ErrorKind::Other.into()),
            Some(Fault::Half) => &bytes[..bytes.len() / 2],
            None => bytes,
        };
        let others: usize = state.names.values().map(|file| state.files[*file].now.len()).sum::<usize>();
        let length = state.files[self.file].now.len();
        let grows = (offset as usize + bytes.len()).saturating_sub(length);
        let full = state.capacity.is_some_and(|capacity| others + grows > capacity);
        if full {
            bytes = &bytes[..bytes.len() / 2];
        }
        let file = &mut state.files[self.file].now;
        let end = offset as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        match (full, fault) {
            (true, _) => Err(io::ErrorKind::StorageFull.into()),
            (_, Some(_)) => Err(io::ErrorKind::Other.into()),
            _ => Ok(()),
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.allowed()?;
        state.files[self.file].now.resize(length as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.allowed()?;
        let file = &mut state.files[self.file];
        file.synced.clone_from(&file.now);
        Ok(())
    }
}
