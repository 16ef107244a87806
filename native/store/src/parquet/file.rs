// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::table::TableKind;

/// A file that the catalogue lists. Readers hold it, and it is removed from the disk when it was given up and the last of them is done.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Its number in the catalogue.
    pub(crate) id: u64,
    pub(crate) kind: TableKind,
    pub(crate) path: PathBuf,
    pub(crate) day: i64,
    pub(crate) rows: u64,
    /// Flows or readings of hosts, where that is known.
    pub(crate) records: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
    given_up: AtomicBool,
}

impl DataFile {
    pub(crate) fn new(id: u64, path: PathBuf, entry: &crate::catalog::files::FileEntry) -> Self {
        Self {
            id,
            kind: entry.kind,
            path,
            day: entry.day,
            rows: entry.rows,
            records: entry.records,
            bytes: entry.bytes,
            min_us: entry.min_us,
            max_us: entry.max_us,
            given_up: AtomicBool::new(false),
        }
    }

    /// The catalogue has forgotten it.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        if !self.given_up.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // The next start removes what the catalogue does not list.
            log::warn!("remove {}: {error}", self.path.display());
        }
    }
}
