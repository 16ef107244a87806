// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! `status`: the running plugin's own words.

use std::io::{self, Write};

use anyhow::Context;
use clap::Args;

use super::StatusSocket;
use crate::status;

#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    socket: StatusSocket,
    /// As JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) async fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let status = status::ask(&self.socket.path).await.with_context(|| {
            format!(
                "ask the plugin at {}; does midonet-cluster run with the plugin enabled, and is insights_cloud.status.socket this path?",
                self.socket.path.display()
            )
        })?;
        if self.json {
            let text = serde_json::to_string_pretty(&status).context("write the status as JSON")?;
            writeln!(out, "{text}")?;
        } else {
            text(&status, out)?;
        }
        Ok(())
    }
}

fn text(status: &status::Status, out: &mut impl Write) -> io::Result<()> {
    let link = &status.link;
    writeln!(
        out,
        "plugin       {} {}, for {}",
        status.version,
        status.state,
        age(status.at_us - status.started_us)
    )?;
    for failure in &status.failures {
        writeln!(out, "failure      {failure}")?;
    }
    writeln!(out, "host         {}", status.host_id)?;
    writeln!(
        out,
        "connection   {} to {}, for {}",
        link.state,
        link.service,
        age(status.at_us - link.since_us)
    )?;
    for (name, value) in [("site", &link.site), ("fingerprint", &link.fingerprint), ("trouble", &link.trouble)] {
        if let Some(value) = value {
            writeln!(out, "{name:<12} {value}")?;
        }
    }
    if let Some(offset) = link.clock_offset_ms {
        writeln!(
            out,
            "clock        {} ms {} the service's",
            offset.abs(),
            if offset > 0 { "behind" } else { "ahead of" }
        )?;
    }
    writeln!(
        out,
        "role         {}",
        match status.leads {
            true => "leader: sends topology, meters and flows",
            false => "follower: sends flows; another gateway of the site sends topology and meters",
        }
    )?;
    writeln!(out, "lag          {:.1} s", status.lag_ms as f64 / 1_000.0)?;
    match status.spool.open {
        true => writeln!(out, "spool        {} of {}", size(status.spool.bytes), size(status.spool.limit))?,
        false => writeln!(out, "spool        can't be opened; see the cluster's log")?,
    }
    writeln!(
        out,
        "agents       {} alive, {} send flow records, {} answer for meters",
        status.agents_alive, status.agents_connected, status.meters_answered
    )?;
    if status.agents_refused > 0 {
        writeln!(
            out,
            "refused      {} connections to the recorder; see insights_cloud.recorder.clients",
            status.agents_refused
        )?;
    }
    writeln!(out, "memory       {}, with all else of its process", size(status.memory_bytes))?;
    writeln!(
        out,
        "\n{:<10} {:>12} {:>9} {:>9} {:>12} {:>9} {:>12}",
        "records", "received", "invalid", "dropped", "spooled", "evicted", "stored"
    )?;
    for counters in &status.counters {
        writeln!(
            out,
            "{:<10} {:>12} {:>9} {:>9} {:>12} {:>9} {:>12}",
            counters.kind, counters.received, counters.invalid, counters.dropped, counters.spooled, counters.evicted, counters.acknowledged
        )?;
    }
    Ok(())
}

fn age(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} B"),
        1_024..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        1_048_576..=1_073_741_823 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
