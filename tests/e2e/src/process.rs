// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Child processes that end with their owner.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::{Child, Command};

/// A running program whose output goes to a file. It is killed when dropped.
pub struct Process {
    pub name: &'static str,
    pub log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts the program with both outputs appended to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Process> {
        let out = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}: {:?}", command.as_std().get_program()))?;
        Ok(Process {
            name,
            log: log.into(),
            child,
        })
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The rest of the first log line that starts with `prefix`, waiting for it.
    pub async fn line(&mut self, prefix: &str, within: Duration) -> Result<String> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let text = String::from_utf8_lossy(&tokio::fs::read(&self.log).await.unwrap_or_default()).into_owned();
            if let Some(found) = text.lines().find_map(|line| line.strip_prefix(prefix)) {
                return Ok(found.trim().to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}; the end of its log:\n{}", self.name, tail(&text));
            }
            if tokio::time::Instant::now() > deadline {
                bail!(
                    "{} did not say {prefix:?} within {within:?}; the end of its log:\n{}",
                    self.name,
                    tail(&text)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The program's status if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends the program at once, as a crash would.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// Asks the program to end and waits; kills it when it doesn't. Says how it ended.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        if let Some(id) = self.child.id() {
            let asked = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await?;
            if asked.success() {
                if let Ok(status) = tokio::time::timeout(within, self.child.wait()).await {
                    return Ok(status?);
                }
                eprintln!("{} did not stop within {within:?}; killed", self.name);
            }
            self.child.kill().await?;
        }
        Ok(self.child.wait().await?)
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Runs a program to its end and gives its standard output; fails with its error output.
pub async fn run(command: &mut Command) -> Result<String> {
    let what = format!("{:?}", command.as_std());
    let output = command.stdin(Stdio::null()).output().await.with_context(|| format!("run {what}"))?;
    if !output.status.success() {
        bail!("{what} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Waits until `ready` gives a value; says what it waited for when it doesn't within `patience`.
pub async fn wait<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        ensure!(Instant::now() < deadline, "{what} did not come within {patience:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
