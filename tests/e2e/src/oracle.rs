// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What must have arrived, told by those who sent it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use insights_gateway::config::SpoolConfig;
use insights_gateway::spooler;
use insights_protocol::Kind;
use insights_protocol::batch::{self, Payload};
use insights_spool::Spool;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::manager::Browser;

/// Identity of a record in a simulated cloud, where cookies don't repeat: host and cookie.
pub type Mark = (Uuid, u64);

/// Flow records of the whole run, as many as a page of the API has at a time.
const PAGE: usize = 5_000;

/// A run lies within so many hours before and after now: clocks may have jumped.
const HOURS: i64 = 3;

/// A record in the simulator's log.
#[derive(Clone, Debug)]
pub struct Logged {
    pub mark: Mark,
    /// The simulator's name of what the record is, such as `dropped`.
    pub class: String,
    /// The rule that dropped the packet.
    pub rule: Option<Uuid>,
    /// When it was about to be written, µs since the epoch.
    pub time_us: i64,
}

/// The records that the simulator wrote to recorders, whole. The log has them before they are written.
pub fn sent(record_log: &Path) -> Result<Vec<Logged>> {
    let text = std::fs::read_to_string(record_log).with_context(|| format!("read {}", record_log.display()))?;
    // A line that is not whole is of a record that nobody has: it is written after its line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut records = Vec::new();
    let mut lost = BTreeSet::new();
    for line in whole.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let mark = |host: &str, cookie: &str| Some((host.parse().ok()?, cookie.parse().ok()?));
        let read = || {
            if let ["lost", host, cookie] = words[..] {
                return mark(host, cookie).map(Err);
            }
            let [host, cookie, class, _, rule, time_us, ..] = words[..] else {
                return None;
            };
            Some(Ok(Logged {
                mark: mark(host, cookie)?,
                class: class.to_owned(),
                rule: rule.parse().ok(),
                time_us: time_us.parse().ok()?,
            }))
        };
        match read().with_context(|| format!("read the line {line:?} of the record log"))? {
            Ok(record) => records.push(record),
            Err(mark) => _ = lost.insert(mark),
        }
    }
    records.retain(|record| !lost.contains(&record.mark));
    Ok(records)
}

/// The marks of the flow records on a dead gateway's disk: it has taken them over. Works on a copy, since opening mends.
pub fn spooled(spool: &Path) -> Result<BTreeSet<Mark>> {
    let copy = tempfile::tempdir()?;
    copy_folder(spool, copy.path())?;
    let options = spooler::options(&SpoolConfig {
        path: copy.path().into(),
        max_bytes: 2 << 30,
    });
    let spool = Spool::open(options, 0).context("open a copy of the spool")?;
    let lane = Kind::ALL.iter().position(|kind| *kind == Kind::Flows).context("no lane of flows")?;
    let mut marks = BTreeSet::new();
    let mut next = spool.lane(lane).first;
    while let Some(record) = spool.read(lane, next).context("read a record of the spool")? {
        let (_, payload) = batch::decode(&record.payload).context("decode a batch of the spool")?;
        let Payload::Flows(flows) = payload else {
            anyhow::bail!("the lane of flows holds {}", payload.kind())
        };
        marks.extend(flows.iter().map(|flow| (Uuid::from_bytes(flow.host), flow.cookie)));
        next = record.sequence + 1;
    }
    Ok(marks)
}

/// Every flow record that the manager's API gives for a site: mark, result, and whether it is a copy seen on the far side of a tunnel.
pub fn stored(browser: &Browser, site: &str) -> Result<Vec<(Mark, String, bool)>> {
    let mut all = Vec::new();
    let mut after = String::new();
    let period = period();
    loop {
        let page = browser.json(&format!("/api/v1/sites/{site}/flows?period={period}&limit={PAGE}&after={after}"))?;
        let flows = page["flows"].as_array().context("the API's answer has no flows")?;
        for flow in flows {
            let host = flow["host"].as_str().and_then(|host| host.parse().ok()).context("a flow has no host")?;
            let cookie = flow["cookie"]
                .as_u64()
                .or_else(|| flow["cookie"].as_i64().map(|cookie| cookie as u64))
                .context("a flow has no cookie")?;
            let result = flow["result"].as_str().context("a flow has no result")?.to_owned();
            all.push(((host, cookie), result, flow["transit"] == Value::Bool(true)));
        }
        match page["next"].as_str() {
            Some(next) if !flows.is_empty() => after = next.to_owned(),
            _ => return Ok(all),
        }
    }
}

/// The period of a run, for a URL.
fn period() -> String {
    let now = OffsetDateTime::now_utc();
    // Whole seconds: a fraction is no use here.
    let moment = |hours: i64| {
        let moment = (now + time::Duration::hours(hours)).replace_nanosecond(0).unwrap_or(now);
        moment.format(&Rfc3339).unwrap_or_default()
    };
    format!("{}+-+{}", moment(-HOURS), moment(HOURS))
}

/// Fails when a mark is there twice; gives them as a set.
pub fn once(marks: impl IntoIterator<Item = Mark>) -> Result<BTreeSet<Mark>> {
    let mut set = BTreeSet::new();
    for mark in marks {
        ensure!(set.insert(mark), "the record {} {} is there twice", mark.0, mark.1);
    }
    Ok(set)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
