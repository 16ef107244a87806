// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{schema, sealing, vault::Vault};
use crate::{StoreError, log::create_dir};

/// How long a writer waits for another process (the command line beside the service) before it gives up.
const BUSY: Duration = Duration::from_secs(10);

/// Read connections that are kept open; more readers open their own for the time being.
const KEPT_READERS: usize = 8;

/// Page cache of each connection, KiB (SQLite takes negative numbers as KiB).
const CACHE_KIB: i64 = -16_384;

/// The catalogue. Cheap to clone; safe to use from several threads and processes at once.
#[derive(Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    vault: Vault,
    /// The one writer of this process: SQLite has one at a time anyway, and waiting here is fair and needs no polling.
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Catalog {
    /// [`Catalog::open_with`] and the key in `profile.key` beside it: for trials and tests, since who copies the folder has both.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        create_dir(dir)?;
        Self::open_with(dir, &dir.join("profile.key"))
    }

    /// Opens or creates the catalogue of a store's folder and brings it to this version's form. Names and addresses are sealed with the key
    /// in a file, which is made when it is not there. Blocks.
    pub fn open_with(dir: &Path, key_file: &Path) -> Result<Self, StoreError> {
        create_dir(dir)?;
        let path = dir.join("catalog.sqlite");
        let vault = Vault::open(key_file)?;
        let mut writer = Connection::open(&path).map_err(StoreError::catalog("open"))?;
        restrict(&path)?;
        configure(&writer)?;
        writer
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(StoreError::catalog("switch to WAL"))?;
        // A commit is durable when it returns: the acknowledgement of a topology batch stands on it.
        writer
            .pragma_update(None, "synchronous", "FULL")
            .map_err(StoreError::catalog("configure"))?;
        writer
            .pragma_update(None, "foreign_keys", true)
            .map_err(StoreError::catalog("configure"))?;
        if let Some(copy) = schema::back_up(&writer, &path)? {
            log::info!("migrating {}; a copy of its form before is kept in {}", path.display(), copy.display());
        }
        schema::migrate(&mut writer, &path.display().to_string(), &vault)?;
        // A wrong key file is told now and not to the first who signs in.
        vault.seals(&writer)?;
        sealing::scrub(&writer)?;
        schema::remove_open_copies(&path);
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                vault,
                writer: Mutex::new(writer),
                readers: Mutex::new(Vec::new()),
            }),
        })
    }

    /// A number that changes whenever another process or connection has changed the catalogue: cheap enough to be asked every second.
    pub async fn version(&self) -> Result<i64, StoreError> {
        let catalog = self.clone();
        // Asked of one and the same connection, since each counts for itself.
        blocking(move || {
            let writer = catalog.inner.writer.lock();
            let other: i64 = writer
                .query_row("PRAGMA data_version", [], |row| row.get(0))
                .map_err(StoreError::catalog("read the version"))?;
            Ok((other << 32) ^ (writer.total_changes() as i64))
        })
        .await
    }

    /// Seals all names and addresses anew, with a new key, and takes the old one out of the file. Other processes go on with the new one.
    pub async fn change_key(&self) -> Result<(), StoreError> {
        let catalog = self.clone();
        blocking(move || {
            let new = catalog.inner.vault.add()?;
            let vault = catalog.inner.vault.clone();
            let key = new.clone();
            catalog.write_now(|tx| sealing::seal_anew(tx, &vault, &key))?;
            sealing::scrub(&catalog.inner.writer.lock())?;
            catalog.inner.vault.keep_only(&new)
        })
        .await
    }

    pub(super) fn vault(&self) -> Vault {
        self.inner.vault.clone()
    }

    /// One transaction: all of `work` or nothing.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let catalog = self.clone();
        blocking(move || catalog.write_now(work)).await
    }

    /// [`Catalog::write`] for threads that may block.
    pub(crate) fn write_now<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut writer = self.inner.writer.lock();
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::catalog("begin a change"))?;
        let value = work(&transaction)?;
        transaction.commit().map_err(StoreError::catalog("commit a change"))?;
        Ok(value)
    }

    /// One consistent view.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let catalog = self.clone();
        blocking(move || catalog.read_now(work)).await
    }

    /// [`Catalog::read`] for threads that may block.
    pub(crate) fn read_now<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let kept = self.inner.readers.lock().pop();
        let mut reader = match kept {
            Some(reader) => reader,
            None => self.reader()?,
        };
        let transaction = reader.transaction().map_err(StoreError::catalog("begin to read"))?;
        let value = work(&transaction);
        drop(transaction);
        let mut readers = self.inner.readers.lock();
        if readers.len() < KEPT_READERS {
            readers.push(reader);
        }
        value
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.inner.path, flags).map_err(StoreError::catalog("open"))?;
        configure(&reader)?;
        Ok(reader)
    }
}

/// The catalogue holds password hashes: its owner alone reads it.
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| StoreError::io(format!("restrict {}", path.display()), source))
}

fn configure(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY).map_err(StoreError::catalog("configure"))?;
    connection
        .pragma_update(None, "cache_size", CACHE_KIB)
        .map_err(StoreError::catalog("configure"))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Runs work that blocks off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down.
            Err(_) => Err(StoreError::Shut),
        },
    }
}
