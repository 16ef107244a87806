// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Disks that fill up or can only be read, and files that they damage.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::process::run as run_program;

/// A small file system in memory.
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// None where that is not allowed.
    pub(super) async fn mount(path: &Path, size: &str) -> Option<Disk> {
        std::fs::create_dir_all(path).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "insights-faults"]).arg(path);
        run_program(&mut mount).await.ok()?;
        Some(Disk { path: path.into() })
    }

    /// Takes all room that is left.
    pub(super) fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::create(self.path.join("fill"))?;
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        // The rest of the last block.
        while file.write_all(&[0]).is_ok() {}
        Ok(())
    }

    pub(super) fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path.join("fill"))?)
    }

    /// Lets nobody write to it; nobody may have a file of it open for writing.
    pub(super) async fn read_only(&self, yes: bool) -> Result<()> {
        let how = if yes { "remount,ro" } else { "remount,rw" };
        run_program(Command::new("mount").args(["-o", how]).arg(&self.path)).await.map(drop)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

pub(super) fn append(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::File::options()
        .append(true)
        .open(file)
        .with_context(|| format!("open {}", file.display()))?;
    Ok(file.write_all(bytes)?)
}

/// Turns a bit of the newest file of a folder, behind its header.
pub(super) fn flip(folder: &Path, pick: u64) -> Result<()> {
    const HEADER: usize = 64;
    let file = newest(folder)?;
    let mut bytes = std::fs::read(&file)?;
    if bytes.len() > HEADER {
        let at = HEADER + (pick % (bytes.len() - HEADER) as u64) as usize;
        bytes[at] ^= 1 << (pick >> 32 & 7);
        std::fs::write(&file, bytes)?;
    }
    Ok(())
}

/// The last file of a folder by its name, which counts up.
pub(super) fn newest(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    files.pop().with_context(|| format!("{} is empty", folder.display()))
}
