// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Machines that stop, whose syncs are slow or fail, whose clocks jump and whose name service changes its mind. What this machine lacks or
//! does not allow is left out, with a line that says so.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::process::{Process, run as run_program};

/// The library that tells a process another time, as Debian has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The name of the service for gateways.
pub(super) const NAME: &str = "insights.faults";

/// Longest wait for a tracer to let go.
const LET_GO: Duration = Duration::from_secs(10);

pub(super) async fn pause(process: &Process, time: Duration) -> Result<()> {
    let id = process.id().context("the process runs")?.to_string();
    run_program(Command::new("kill").args(["-STOP", &id])).await?;
    tokio::time::sleep(time).await;
    run_program(Command::new("kill").args(["-CONT", &id])).await.map(drop)
}

/// Changes what `fsync` and `fdatasync` of a process do for a while; `what` as in `strace -e inject=`.
pub(super) async fn sync(process: &Process, what: &str, time: Duration, log: &Path) -> Result<()> {
    let id = process.id().context("the process runs")?.to_string();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"]);
    command.arg(format!("inject=fsync,fdatasync:{what}")).args(["-p", &id]);
    let Ok(mut tracer) = Process::start("strace", &mut command, log) else {
        eprintln!("left out: no strace here");
        return Ok(());
    };
    tokio::time::sleep(time).await;
    if tracer.ended()?.is_some() {
        eprintln!("left out: strace may not look at processes here, or {id} ended; see {}", log.display());
    }
    tracer.stop(LET_GO).await.map(drop)
}

/// A clock that can be put ahead and behind, of the processes that are started with its environment.
pub(super) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// None where there is no library for it.
    pub(super) fn new(file: PathBuf) -> Result<Option<Clock>> {
        if !Path::new(FAKETIME).exists() {
            return Ok(None);
        }
        let clock = Clock { file };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// Seconds ahead or, negative, behind.
    pub(super) fn set(&self, seconds: i32) -> Result<()> {
        // Renamed, so that nobody reads half of it.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}"))?;
        Ok(std::fs::rename(new, &self.file)?)
    }

    /// Files keep their times, and time that only passes goes on as ever.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", &self.file.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }
}

/// A list of names of its own for a process: what `/etc/hosts` is to all others.
pub(super) struct Names {
    file: PathBuf,
}

impl Names {
    /// None where nobody may mount.
    pub(super) async fn new(file: PathBuf, address: IpAddr) -> Result<Option<Names>> {
        let allowed = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "true"])
            .status()
            .await;
        if !allowed.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let names = Names { file };
        names.set(address)?;
        Ok(Some(names))
    }

    /// Where the service is. Written in place: a mount follows the file, not its name.
    pub(super) fn set(&self, address: IpAddr) -> Result<()> {
        Ok(std::fs::write(&self.file, format!("127.0.0.1 localhost\n{address} {NAME}\n"))?)
    }

    /// What a command line begins with to see these names.
    pub(super) fn wrapper(&self) -> Vec<String> {
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let mut words: Vec<String> = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
            .map(str::to_owned)
            .into();
        words.push(self.file.display().to_string());
        words
    }
}
