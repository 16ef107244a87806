// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Times of processes, medians, bytes of folders, and what the figures were measured on.

use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Clock ticks of /proc a second: 100 on every Linux that we know of.
const TICKS: f64 = 100.0;

/// CPU seconds of all child processes that have ended and were waited for, and of theirs.
pub fn ended_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("read this process's times")?;
    let (_, tail) = stat.rsplit_once(')').context("a stat line without a name")?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // The fields after the name begin with the third; the children's user and system time are the 16th and 17th.
    Ok((ticks(13) + ticks(14)) / TICKS)
}

/// Seconds that this thread was on a processor.
pub fn thread_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("read the thread's time")?;
    let nanoseconds: f64 = text.split_whitespace().next().context("the thread has no time")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// What was seen of one question.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Times {
    /// Milliseconds by the clock, in the order of the rounds.
    pub ms: Vec<f64>,
    /// CPU milliseconds of all rounds together.
    pub cpu_ms: f64,
}

impl Times {
    pub fn add(&mut self, seconds: f64, cpu_seconds: f64) {
        self.ms.push((seconds * 1e5).round() / 1e2);
        self.cpu_ms += cpu_seconds * 1e3;
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Of 20 rounds the one before the slowest.
    pub fn p95(&self) -> f64 {
        self.quantile(0.95)
    }

    /// CPU milliseconds of one round.
    pub fn cpu(&self) -> f64 {
        self.cpu_ms / self.ms.len().max(1) as f64
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// What figures were measured on.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Machine {
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Load averages of a minute at the beginning and at the end.
    pub load: Vec<f64>,
}

impl Machine {
    pub fn now() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: f64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
        Machine {
            date: time::OffsetDateTime::now_utc().date().to_string(),
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kib / 1_048_576.0 * 10.0).round() / 10.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: vec![load()],
        }
    }

    /// To be called at the end.
    pub fn ended(&mut self) {
        self.load.push(load());
    }
}

/// Load average of the last minute.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_rounds() {
        let mut times = Times::default();
        for ms in (1..=21).rev() {
            times.add(f64::from(ms) / 1e3, 0.01);
        }
        assert_eq!((times.median(), times.p95()), (11.0, 20.0));
        assert!((times.cpu() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn children_count_when_they_were_waited_for() {
        let before = ended_children().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(ended_children().unwrap() > before);
    }
}
