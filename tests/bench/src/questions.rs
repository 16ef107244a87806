// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The same questions to everybody, one after the other in each round, each round with other values. Answers are compared.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use anyhow::{Context, Result, bail};
use insights_e2e::manager::Browser;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    measure::{self, Times},
    peers::{
        clickhouse::{self, ClickHouse},
        nfdump::{self, Nfdump},
    },
    service::Service,
};

/// Rows of a list.
const ROWS: usize = 100;
/// Values of a top.
const TOP: usize = 10;
const HOUR_S: i64 = 3_600;
/// Width of the bars of a day: what our page takes for a day.
const STEP_S: i64 = 900;

/// What can be asked for, drawn from what was sent.
pub struct Choices {
    /// Seconds since the epoch, whole hours.
    pub day: (i64, i64),
    /// Virtual ports, with their numbers as interfaces.
    pub ports: Vec<(Uuid, u32)>,
    pub addresses: Vec<IpAddr>,
}

/// A question with its values.
#[derive(Clone, Debug)]
pub enum Question {
    /// The last 100 flows that came in by a virtual port.
    LastOfPort(Uuid, u32),
    /// The 10 sources with most flows of an hour, which begins then.
    TopSources(i64),
    /// Flows of the day by verdict, in steps of a quarter of an hour.
    Series,
    /// How many flows of everything an address has, at either end.
    Address(IpAddr),
    /// The last 100 of them.
    LastOfAddress(IpAddr),
}

impl Question {
    pub fn name(&self) -> &'static str {
        match self {
            Question::LastOfPort(..) => "last 100 flows of a port",
            Question::TopSources(_) => "top 10 talkers of an hour",
            Question::Series => "a day by verdict, quarters of an hour",
            Question::Address(_) => "one address over everything",
            Question::LastOfAddress(_) => "last 100 flows of an address",
        }
    }
}

/// Times by question and by whom was asked.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Asked {
    pub rounds: usize,
    /// In the order in which they were asked first: question, then name and times.
    pub questions: Vec<(String, Vec<(String, Times)>)>,
    /// Answers that were compared, and those that differed, with why.
    pub compared: usize,
    pub differed: Vec<String>,
}

/// Everybody who is asked.
pub struct Panel<'a> {
    pub service: &'a Service,
    pub browser: Browser,
    pub site: String,
    pub nfdump: Option<&'a Nfdump>,
    pub clickhouse: Option<&'a mut ClickHouse>,
}

/// What an answer says, in a form that can be compared: counts by name, or times of a list in milliseconds.
type Said = BTreeMap<String, u64>;

impl Panel<'_> {
    /// Asks all questions in each round; the first round only warms up.
    pub fn ask(&mut self, choices: &Choices, rounds: usize, seed: u64) -> Result<Asked> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut asked = Asked { rounds, ..Asked::default() };
        for round in 0..=rounds {
            for question in questions(choices, &mut rng)? {
                self.round(&question, choices, &mut asked, round > 0)?;
            }
        }
        Ok(asked)
    }

    fn round(&mut self, question: &Question, choices: &Choices, asked: &mut Asked, counts: bool) -> Result<()> {
        let (ours, said) = timed(|| Ok(self.service.cost()?.cpu), || self.ours(question, choices))?;
        let mut seen = vec![("MidoInsights", ours)];
        let mut others = Vec::new();
        if let Some(nfdump) = self.nfdump {
            let (times, answer) = timed(measure::ended_children, || of_nfdump(nfdump, question, choices))?;
            seen.push(("nfdump", times));
            others.push(("nfdump", answer));
        }
        if let Some(clickhouse) = self.clickhouse.as_deref_mut() {
            let before = clickhouse.cpu()?;
            let began = Instant::now();
            let answer = of_clickhouse(clickhouse, question, choices)?;
            seen.push(("ClickHouse", (began.elapsed().as_secs_f64(), clickhouse.cpu()? - before)));
            others.push(("ClickHouse", answer));
        }
        for (name, answer) in others {
            asked.compared += 1;
            if answer != said {
                let differs = said.iter().find(|(key, count)| answer.get(*key) != Some(count));
                asked.differed.push(format!(
                    "{}, {question:?}: {name} has {} entries, we {}; first of ours that differs: {differs:?}",
                    question.name(),
                    answer.len(),
                    said.len()
                ));
            }
        }
        if !counts {
            return Ok(());
        }
        let name = question.name();
        if !asked.questions.iter().any(|(known, _)| known == name) {
            asked.questions.push((name.to_owned(), Vec::new()));
        }
        for (who, (seconds, cpu)) in seen {
            let (_, all) = asked
                .questions
                .iter_mut()
                .find(|(known, _)| known == name)
                .context("a question was lost")?;
            match all.iter_mut().find(|(known, _)| known == who) {
                Some((_, times)) => times.add(seconds, cpu),
                None => {
                    let mut times = Times::default();
                    times.add(seconds, cpu);
                    all.push((who.to_owned(), times));
                }
            }
        }
        Ok(())
    }

    fn ours(&self, question: &Question, choices: &Choices) -> Result<Said> {
        let (from, to) = match question {
            Question::TopSources(hour) => (*hour, hour + HOUR_S),
            _ => choices.day,
        };
        let base = format!("/api/v1/sites/{}/flows", self.site);
        let period = format!("from={}&to={}", rfc3339(from)?, rfc3339(to)?);
        match question {
            Question::LastOfPort(port, _) => list(
                &self
                    .browser
                    .json(&format!("{base}?{period}&limit={ROWS}&filter=src.vport%20%3D%20{port}"))?,
            ),
            Question::LastOfAddress(address) => list(&self.browser.json(&format!("{base}?{period}&limit={ROWS}&filter=ip%20%3D%20{address}"))?),
            Question::TopSources(_) => {
                let top = self.browser.json(&format!("{base}/top?{period}&by=src.ip&limit={TOP}"))?;
                let rows = top["rows"].as_array().context("the top has no rows")?;
                // Values with as many flows as the last one may be others elsewhere: counts are compared.
                Ok(ranks(rows.iter().filter_map(|row| row["flows"]["all"].as_u64())))
            }
            Question::Series => bins(&self.browser.json(&format!("{base}/histogram?{period}"))?, true),
            Question::Address(address) => bins(
                &self.browser.json(&format!("{base}/histogram?{period}&filter=ip%20%3D%20{address}"))?,
                false,
            ),
        }
    }
}

/// One of each kind.
fn questions(choices: &Choices, rng: &mut StdRng) -> Result<Vec<Question>> {
    let (port, interface) = *choices.ports.choose(rng).context("no flow has a port")?;
    let mut address = || choices.addresses.choose(rng).copied().context("no flow has an address");
    let (first, second) = (address()?, address()?);
    let hours = (choices.day.1 - choices.day.0) / HOUR_S;
    Ok(vec![
        Question::LastOfPort(port, interface),
        Question::TopSources(choices.day.0 + rng.random_range(0..hours) * HOUR_S),
        Question::Series,
        Question::Address(first),
        Question::LastOfAddress(second),
    ])
}

fn timed<T>(cpu: impl Fn() -> Result<f64>, ask: impl FnOnce() -> Result<T>) -> Result<((f64, f64), T)> {
    let before = cpu()?;
    let began = Instant::now();
    let answer = ask()?;
    let took = began.elapsed().as_secs_f64();
    Ok(((took, cpu()? - before), answer))
}

fn list(answer: &Value) -> Result<Said> {
    let flows = answer["flows"].as_array().context("the answer has no flows")?;
    Ok(times(flows.iter().filter_map(|flow| Some(flow["time_us"].as_i64()? / 1_000))))
}

/// How many flows of a list have which time.
fn times(all: impl Iterator<Item = i64>) -> Said {
    let mut said = Said::new();
    for ms in all {
        *said.entry(ms.to_string()).or_default() += 1;
    }
    said
}

fn ranks(counts: impl Iterator<Item = u64>) -> Said {
    counts.enumerate().map(|(rank, count)| (format!("{rank:02}"), count)).collect()
}

fn bins(answer: &Value, by_time: bool) -> Result<Said> {
    let mut said = Said::new();
    for bin in answer["bins"].as_array().context("the answer has no bins")? {
        let start = bin["start_us"].as_i64().context("a bin has no start")? / 1_000_000;
        let start = start.div_euclid(STEP_S) * STEP_S;
        for verdict in ["allowed", "dropped", "consumed"] {
            let count = bin[verdict].as_u64().unwrap_or(0);
            if count > 0 {
                let key = if by_time { format!("{start} {verdict}") } else { verdict.to_owned() };
                *said.entry(key).or_default() += count;
            }
        }
    }
    Ok(said)
}

fn of_nfdump(nfdump: &Nfdump, question: &Question, choices: &Choices) -> Result<Said> {
    // The exporter tells the verdict as the source's AS too.
    let verdict = |status: &str| match status.trim() {
        "64" => "allowed",
        "128" => "dropped",
        "192" => "consumed",
        _ => "unknown",
    };
    // Lists are sorted by time and the last of them are taken: it has no list from the newest on.
    let newest = |filter: &str| -> Result<Said> {
        let told = nfdump.ask(&["-q", "-N", "-O", "tstart", "-o", "fmt:%tsr", filter])?;
        let mut last: Vec<i64> = told
            .lines()
            .filter_map(|line| Some((line.trim().parse::<f64>().ok()? * 1e3).round() as i64))
            .collect();
        last.sort_unstable();
        Ok(times(last.into_iter().rev().take(ROWS)))
    };
    match question {
        Question::LastOfPort(_, interface) => newest(&format!("in if {interface}")),
        Question::LastOfAddress(address) => newest(&format!("ip {address}")),
        Question::TopSources(hour) => {
            let window = nfdump::window(*hour, hour + HOUR_S)?;
            let told = nfdump.ask(&["-q", "-N", "-t", &window, "-s", "srcip/flows", "-n", &TOP.to_string(), "-o", "csv"])?;
            // ts, te, td, pr, val, fl, …
            let counts = told.lines().filter_map(|line| line.split(',').nth(5)?.trim().parse::<u64>().ok());
            Ok(ranks(counts))
        }
        Question::Series => {
            let mut said = Said::new();
            for line in nfdump.ask(&["-q", "-N", "-o", "fmt:%tsr %sas"])?.lines() {
                let Some((time, status)) = line.trim().split_once(' ') else { continue };
                let Ok(seconds) = time.parse::<f64>() else { continue };
                let start = (seconds as i64).div_euclid(STEP_S) * STEP_S;
                *said.entry(format!("{start} {}", verdict(status))).or_default() += 1;
            }
            Ok(said)
        }
        Question::Address(address) => {
            let mut said = Said::new();
            for line in nfdump.ask(&["-q", "-N", "-o", "fmt:%sas", &format!("ip {address}")])?.lines() {
                *said.entry(verdict(line).to_owned()).or_default() += 1;
            }
            let _ = choices;
            Ok(said)
        }
    }
}

fn of_clickhouse(clickhouse: &mut ClickHouse, question: &Question, choices: &Choices) -> Result<Said> {
    let within = |from: i64, to: i64| format!("time >= toDateTime64({from}, 6, 'UTC') AND time < toDateTime64({to}, 6, 'UTC')");
    let day = within(choices.day.0, choices.day.1);
    let columns = "time, verdict, src_ip, dst_ip, proto, src_tp, dst_tp, src_tenant, dst_tenant, src_network, dst_network, src_port, dst_port, host, rule, \
                   src_mac, dst_mac, in_port, out_ports, cookie";
    let list = |condition: String| {
        format!("SELECT toUnixTimestamp64Milli(time), {columns} FROM flows.flows WHERE {condition} ORDER BY time DESC LIMIT {ROWS}")
    };
    let ip = |address: &IpAddr| {
        let address = clickhouse::address(Some(*address));
        format!("(src_ip = toIPv6('{address}') OR dst_ip = toIPv6('{address}'))")
    };
    let sql = match question {
        Question::LastOfPort(port, _) => list(format!("{day} AND src_port = '{port}'")),
        Question::LastOfAddress(address) => list(format!("{day} AND {}", ip(address))),
        Question::TopSources(hour) => format!(
            "SELECT src_ip, count() AS flows FROM flows.flows WHERE {} GROUP BY src_ip ORDER BY flows DESC, src_ip LIMIT {TOP}",
            within(*hour, hour + HOUR_S)
        ),
        Question::Series => format!(
            "SELECT toUnixTimestamp(toStartOfInterval(time, INTERVAL {STEP_S} SECOND)) AS start, verdict, count() FROM flows.flows WHERE {day} \
             GROUP BY start, verdict ORDER BY start"
        ),
        Question::Address(address) => format!(
            "SELECT verdict, count() FROM flows.flows WHERE {day} AND {} GROUP BY verdict",
            ip(address)
        ),
    };
    let told = clickhouse.ask(&sql)?;
    let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split('\t').collect()).collect();
    match question {
        Question::LastOfPort(..) | Question::LastOfAddress(_) => Ok(times(rows.iter().filter_map(|row| row.first()?.parse().ok()))),
        Question::TopSources(_) => Ok(ranks(rows.iter().filter_map(|row| row.get(1)?.parse().ok()))),
        Question::Series | Question::Address(_) => {
            let mut said = Said::new();
            for row in rows {
                let Some((count, key)) = row.split_last() else {
                    bail!("ClickHouse gave an empty row")
                };
                said.insert(key.join(" "), count.parse()?);
            }
            Ok(said)
        }
    }
}

fn rfc3339(seconds: i64) -> Result<String> {
    Ok(OffsetDateTime::from_unix_timestamp(seconds)?.format(&Rfc3339)?)
}
