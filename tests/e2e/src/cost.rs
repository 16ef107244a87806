// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a running program costs, from /proc.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Clock ticks of /proc a second: 100 on every Linux that we know of.
const TICKS: f64 = 100.0;

/// What a process has used since it started.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// User and system time, seconds.
    pub cpu: f64,
    /// The same by thread, under the threads' names without their numbers. Threads that have ended are in `cpu` alone.
    pub threads: BTreeMap<String, f64>,
    /// Resident memory now, bytes.
    pub resident: u64,
}

impl Cost {
    pub fn of(pid: u32) -> Result<Cost> {
        let root = format!("/proc/{pid}");
        let root = Path::new(&root);
        let mut cost = Cost {
            cpu: seconds(root)?.1,
            ..Cost::default()
        };
        for thread in std::fs::read_dir(root.join("task")).context("list threads")? {
            // A thread may end meanwhile.
            if let Ok((name, cpu)) = seconds(&thread?.path()) {
                let name = name
                    .trim_end_matches(|letter: char| letter.is_ascii_digit() || "-#".contains(letter))
                    .to_owned();
                *cost.threads.entry(name).or_default() += cpu;
            }
        }
        let status = std::fs::read_to_string(root.join("status")).context("read the status of a process")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let kib: u64 = resident.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
        cost.resident = kib << 10;
        Ok(cost)
    }

    /// What was used since `before`; memory as it is now.
    pub fn since(&self, before: &Cost) -> Cost {
        let threads = self.threads.iter().map(|(name, cpu)| {
            let used = cpu - before.threads.get(name).unwrap_or(&0.0);
            (name.clone(), used.max(0.0))
        });
        Cost {
            cpu: self.cpu - before.cpu,
            threads: threads.collect(),
            resident: self.resident,
        }
    }

    /// The threads that used most, as text.
    pub fn busiest(&self, count: usize) -> String {
        let mut threads: Vec<_> = self.threads.iter().filter(|(_, cpu)| **cpu >= 0.01).collect();
        threads.sort_by(|a, b| b.1.total_cmp(a.1));
        let told: Vec<String> = threads.iter().take(count).map(|(name, cpu)| format!("{name} {cpu:.2}")).collect();
        told.join(", ")
    }
}

/// Name and CPU seconds of a process or thread.
fn seconds(of: &Path) -> Result<(String, f64)> {
    let stat = std::fs::read_to_string(of.join("stat")).with_context(|| format!("read {}", of.join("stat").display()))?;
    let (head, tail) = stat.rsplit_once(')').context("a stat line without a name")?;
    let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // The fields after the name begin with the third; user and system time are the 14th and 15th.
    Ok((name, (ticks(11) + ticks(12)) / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_what_it_uses() {
        let before = Cost::of(std::process::id()).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0_u64;
        while started.elapsed().as_millis() < 100 {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let used = Cost::of(std::process::id()).unwrap().since(&before);
        assert!(used.cpu > 0.0 && used.resident > 1 << 20 && sum > 0, "{used:?}");
    }
}
