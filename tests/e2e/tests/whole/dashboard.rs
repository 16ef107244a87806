// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Every number on the dashboard, against what the simulator says it made.
//!
//! Counts are exact. Bytes and records are exact up to the digits that are shown: the traffic begins after the first reading of all meters, and
//! has ended. Rows of the tables of values must add up to the totals within the rounding of their three digits; records over time lie between
//! what the simulator had sent by then and [`LAG_US`] before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use insights_e2e::dashboard::{Chart, Dashboard, Rule, range, shows};
use insights_e2e::oracle::Logged;
use insights_e2e::transitions::Transition;
use serde_json::Value;
use uuid::Uuid;

/// A record is stamped by the gateway at most so long after its agent sent it, on a busy machine.
const LAG_US: i64 = 10_000_000;

/// Relative error of a number with three digits, and a little more for sums.
const ROUNDING: f64 = 0.0051;

/// Rows of the lists.
const ROWS: usize = 8;

/// The period that is looked at, and a column of the small drawings of rules then.
pub(super) const PERIOD_US: i64 = 15 * 60 * 1_000_000;
const DRAWN_STEP_US: i64 = 15_000_000;

/// A bar is at least so high.
const LEAST_BAR: f64 = 0.04;

/// What the simulator and the API say.
pub(super) struct Truth<'a> {
    pub(super) ledger: &'a Value,
    pub(super) log: &'a [Logged],
    /// Records by result, as the API has them.
    pub(super) results: &'a BTreeMap<String, u64>,
    /// When objects were made and came to life, as ZooKeeper has it.
    pub(super) transitions: &'a BTreeMap<(Uuid, Transition), i64>,
}

/// Bytes that meters of the simulated agents counted.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes {
    rx: f64,
    tx: f64,
}

struct Check<'a> {
    page: &'a Dashboard,
    truth: &'a Truth<'a>,
    differences: Vec<String>,
}

/// All differences; none when the page is right.
pub(super) fn compare(page: &Dashboard, truth: &Truth<'_>) -> Result<Vec<String>> {
    let mut check = Check {
        page,
        truth,
        differences: Vec::new(),
    };
    check.tiles()?;
    check.traffic()?;
    check.records()?;
    check.tenants()?;
    check.rules()?;
    check.changes()?;
    check.lists();
    Ok(check.differences)
}

impl Check<'_> {
    fn same(&mut self, what: &str, shown: &str, made: &str) {
        let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        if squeezed(shown) != squeezed(made) {
            self.differences.push(format!("{what}: shown {shown:?}, made {made:?}"));
        }
    }

    fn stands_for(&mut self, what: &str, shown: &str, made: f64) -> Result<()> {
        if !shows(shown, made)? {
            self.differences.push(format!("{what}: shown {shown:?}, made {made}"));
        }
        Ok(())
    }

    fn near(&mut self, what: &str, shown: f64, made: f64, tolerance: f64) {
        if (shown - made).abs() > tolerance {
            self.differences
                .push(format!("{what}: shown {shown}, made {made}, tolerance {tolerance}"));
        }
    }

    fn tiles(&mut self) -> Result<()> {
        let things = &self.truth.ledger["things"];
        let of = |name: &str| things[name].as_u64().with_context(|| format!("the ledger has no {name}"));
        let note = |down: u64, all: u64, word: &str| match (down, all) {
            (_, 0) => "none".to_owned(),
            (0, _) => "all up".to_owned(),
            (down, _) => format!("{down} {word}"),
        };
        let (hosts, alive) = (of("hosts")?, of("hosts_alive")?);
        let (bound, active) = (of("ports_bound")?, of("ports_active")?);
        let (members, up) = (of("pool_members")?, of("pool_members_up")?);
        // Each port and member that is down has an alert of its own, as long as no host is.
        let alerts = (hosts - alive) + (bound - active) + (members - up);
        let fresh = if alerts == 0 { "nothing".to_owned() } else { format!("{alerts} new") };
        let expected = [
            ("Open alerts", alerts.to_string(), fresh),
            ("Hosts alive", format!("{alive} / {hosts}"), note(hosts - alive, hosts, "down")),
            ("Networks", of("networks")?.to_string(), note(0, of("networks")?, "degraded")),
            ("Routers", of("routers")?.to_string(), note(0, of("routers")?, "degraded")),
            ("Ports active", format!("{active} / {bound} bound"), note(bound - active, bound, "down")),
            (
                "Tunnel zones",
                of("tunnel_zones")?.to_string(),
                format!("{} members", of("tunnel_zone_members")?),
            ),
            ("VTEPs", of("vteps")?.to_string(), note(0, of("vteps")?, "degraded")),
            (
                "Load balancers",
                of("load_balancers")?.to_string(),
                format!("{up} of {members} members up"),
            ),
            ("Gateways", "1 / 1 connected".to_owned(), "all up".to_owned()),
        ];
        let titles: Vec<String> = self.page.tiles.iter().map(|tile| tile.title.clone()).collect();
        self.same(
            "tiles",
            &titles.join(", "),
            &expected.iter().map(|(title, ..)| *title).collect::<Vec<_>>().join(", "),
        );
        for (title, value, note) in expected {
            let tile = self.page.tile(title)?.clone();
            self.same(title, &tile.value, &value);
            self.same(&format!("{title}, note"), &tile.note, &note);
        }
        let verdict = self.page.verdict.clone();
        self.same(
            "the first sentence",
            &verdict,
            &format!("All {hosts} hosts alive, all gateways connected"),
        );
        Ok(())
    }

    /// Bytes of the ports of a role, by tenant.
    fn bytes(&self, role: &str) -> Result<BTreeMap<&str, Bytes>> {
        let mut sums: BTreeMap<&str, Bytes> = BTreeMap::new();
        let meters = self.truth.ledger["meters"].as_object().context("the ledger has meters")?;
        let ports = self.truth.ledger["things"]["traffic_ports"].as_object().context("the ledger has ports")?;
        for (id, port) in ports.iter().filter(|(_, port)| port["role"] == role) {
            let sum = sums.entry(port["tenant"].as_str().unwrap_or_default()).or_default();
            for host in meters.values() {
                let of = |direction: &str| host[format!("meters:port:{direction}:{id}")][1].as_f64().unwrap_or(0.0);
                sum.rx += of("rx");
                sum.tx += of("tx");
            }
        }
        Ok(sums)
    }

    fn traffic(&mut self) -> Result<()> {
        let sum = |bytes: BTreeMap<&str, Bytes>| bytes.into_values().fold((0.0, 0.0), |sum, bytes| (sum.0 + bytes.rx, sum.1 + bytes.tx));
        let (incoming, outgoing) = sum(self.bytes("uplink")?);
        let (sent, _) = sum(self.bytes("vm")?);
        anyhow::ensure!(
            incoming > 0.0 && outgoing > 0.0 && sent > outgoing,
            "the simulator made no traffic to compare"
        );
        let expected = [
            ("North-south traffic", "In", incoming),
            ("North-south traffic", "Out", outgoing),
            ("Total traffic", "North-south", incoming + outgoing),
            ("Total traffic", "East-west", sent - outgoing),
        ];
        for (title, name, bytes) in expected {
            let chart = self.page.chart(title)?.clone();
            let total = chart.series(name)?.total.clone();
            self.stands_for(&format!("{title}, {name}, total"), &total, bytes)?;
            self.rows(&chart, name, bytes * 8.0, 60.0)?;
        }
        Ok(())
    }

    /// Rates over time add up to the total, and the figures of the legend are those of the rows. A row at the edge of what was metered is covered
    /// in part, and its rate is that of the covered part: so what all rows add up to is the total at least, and what the rows
    /// between add up to the total at most.
    fn rows(&mut self, chart: &Chart, name: &str, total: f64, step_s: f64) -> Result<()> {
        let what = format!("{}, {name}", chart.title);
        let factor = match chart.unit.chars().next() {
            Some('k') => 1e3,
            Some('M') => 1e6,
            Some('G') => 1e9,
            _ => 1.0,
        };
        let series = chart.series(name)?;
        let known: Vec<f64> = series
            .values
            .iter()
            .filter(|text| *text != "–")
            .map(|text| range(text).map(|(from, to)| (from + to) / 2.0))
            .collect::<Result<_>>()?;
        let all = known.iter().sum::<f64>() * factor * step_s;
        let between = known.iter().skip(1).take(known.len().saturating_sub(2)).sum::<f64>() * factor * step_s;
        // East-west is cut at nothing in each row, so rows may add up to more.
        let slack = total * ROUNDING + 0.001 * factor * step_s * known.len() as f64;
        // Of a step of which less than half was metered, as the first one can be, nothing is shown once that is sure.
        if all < total - slack && !chart.missing || between > total + slack && name != "East-west" {
            self.differences
                .push(format!("{what}: rows add up to {all}, those between to {between}, made {total}"));
        }
        let mut sorted = known.clone();
        sorted.sort_by(f64::total_cmp);
        let p95 = sorted.get((sorted.len() * 95).div_ceil(100).saturating_sub(1)).copied();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let expected = [sorted.first().copied(), Some(mean), p95, sorted.last().copied(), known.first().copied()];
        for ((figure, text), value) in ["min", "mean", "p95", "max", "last"].iter().zip(series.figures.clone()).zip(expected) {
            let value = value.with_context(|| format!("{what} has no rows"))?;
            let (from, to) = range(&text)?;
            self.near(&format!("{what}, {figure}"), (from + to) / 2.0, value, value * 2.0 * ROUNDING + 0.002);
        }
        Ok(())
    }

    fn records(&mut self) -> Result<()> {
        let result = |name: &str| self.truth.results.get(name).copied().unwrap_or(0);
        let expected = [("Allowed", result("allowed") + result("consumed")), ("Dropped", result("dropped"))];
        let sent: u64 = expected.iter().map(|(_, count)| count).sum();
        self.near("records in all", sent as f64, self.truth.log.len() as f64, 0.0);
        let chart = self.page.chart("Flow records")?.clone();
        let step_s = step_of(&chart)?;
        for (name, count) in expected {
            self.stands_for(&format!("Flow records, {name}, total"), &chart.series(name)?.total.clone(), count as f64)?;
            let series = chart.series(name)?;
            let mut shown = 0.0;
            let mut slack = 1.0;
            let of = |class: &str| (name == "Dropped") == matches!(class, "dropped" | "dropped_elsewhere");
            // A copy from a tunnel's end is allowed or dropped as its agent did.
            let copies = |until: i64| {
                self.truth
                    .log
                    .iter()
                    .filter(|record| record.time_us <= until && record.class == "transit")
                    .count() as f64
            };
            let own = |until: i64| {
                self.truth
                    .log
                    .iter()
                    .filter(|record| record.time_us <= until && record.class != "transit" && of(&record.class))
                    .count() as f64
            };
            let rows: Vec<(f64, i64)> = series
                .values
                .iter()
                .zip(&chart.begins)
                .map(|(value, begin)| Ok((range(value).map(|(from, to)| (from + to) / 2.0)?, time_of(begin, self.truth.log)?)))
                .collect::<Result<_>>()?;
            for (rate, begin_us) in rows.into_iter().rev() {
                shown += rate * step_s;
                slack += rate * step_s * ROUNDING;
                let end_us = begin_us + (step_s * 1e6) as i64;
                let (least, most) = (own(end_us - LAG_US), own(end_us) + copies(end_us));
                if shown + slack < least || shown - slack > most {
                    self.differences.push(format!(
                        "Flow records, {name}, up to {begin_us} and {step_s} s: shown {shown}, sent between {least} and {most}"
                    ));
                }
            }
            self.near(&format!("Flow records, {name}, rows"), shown, count as f64, slack);
        }
        Ok(())
    }

    /// In and out of VMs; of it, what passed the gateways of the tenant's routers.
    fn tenants(&mut self) -> Result<()> {
        let (vms, gateways) = (self.bytes("vm")?, self.bytes("gateway")?);
        let both = |bytes: Option<&Bytes>| bytes.map_or(0.0, |bytes| bytes.rx + bytes.tx);
        let mut expected: Vec<(String, f64, f64)> = vms
            .keys()
            .chain(gateways.keys())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter(|tenant| !tenant.is_empty())
            .map(|tenant| {
                let north_south = both(gateways.get(*tenant));
                ((*tenant).to_owned(), north_south, both(vms.get(*tenant)).max(north_south))
            })
            .filter(|(_, _, total)| *total > 0.0)
            .collect();
        expected.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        expected.truncate(ROWS);
        let shown: Vec<&str> = self.page.tenants.iter().map(|tenant| &*tenant.id).collect();
        let made: Vec<&str> = expected.iter().map(|(tenant, ..)| &**tenant).collect();
        anyhow::ensure!(!made.is_empty(), "the simulator made no traffic of tenants");
        self.same("tenants", &shown.join(" "), &made.join(" "));
        let rows = self.page.tenants.clone();
        for (row, (tenant, north_south, total)) in rows.iter().zip(&expected) {
            self.stands_for(&format!("{tenant}, north-south"), &row.north_south, *north_south)?;
            self.stands_for(&format!("{tenant}, east-west"), &row.east_west, total - north_south)?;
            self.stands_for(&format!("{tenant}, total"), &row.total, *total)?;
        }
        Ok(())
    }

    fn rules(&mut self) -> Result<()> {
        let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
        for record in self.truth.log.iter().filter(|record| record.class == "dropped") {
            let rule = record.rule.context("a dropped record has its rule")?;
            *dropped.entry(rule.to_string()).or_default() += 1;
        }
        let mut most: Vec<u64> = dropped.values().copied().collect();
        most.sort_unstable_by(|a, b| b.cmp(a));
        most.truncate(ROWS);
        anyhow::ensure!(!most.is_empty(), "the simulator dropped nothing");
        let rows = self.page.rules.clone();
        let counts = rows.iter().map(|rule| rule.dropped.replace('\u{202f}', "")).collect::<Vec<_>>();
        let made: Vec<String> = most.iter().map(ToString::to_string).collect();
        self.same("most dropped by a rule", &counts.join(" "), &made.join(" "));
        let asked_us = time_of(&self.page.asked, self.truth.log)?;
        for rule in rows {
            let made = dropped.get(&rule.id).copied().unwrap_or(0);
            self.same(&format!("dropped by {} ({})", rule.id, rule.text), &rule.dropped, &made.to_string());
            self.drawing(&rule, made, asked_us)?;
        }
        Ok(())
    }

    /// The bars of a rule are what it dropped in each of [`DRAWN_STEP_US`]: their heights give back counts that add up to the count beside
    /// them, and that lie, up to each bar, between what the simulator had sent by then and [`LAG_US`] before.
    fn drawing(&mut self, rule: &Rule, made: u64, asked_us: i64) -> Result<()> {
        let what = format!("the drawing of {} ({})", rule.id, rule.text);
        let first_us = (asked_us - PERIOD_US).div_euclid(DRAWN_STEP_US) * DRAWN_STEP_US;
        let columns = (asked_us - first_us).div_euclid(DRAWN_STEP_US) + 1;
        self.near(&format!("{what}, columns"), rule.columns as f64, columns as f64, 0.0);
        // What the highest bar stands for is not said: it must be a count with which all of them add up. Low bars are drawn higher than they are.
        let counts = |highest: u64| -> Option<Vec<(usize, u64, u64)>> {
            let counts: Vec<_> = rule
                .bars
                .iter()
                .map(|&(column, height)| {
                    let count = height * highest as f64;
                    let slack = 0.0005 * highest as f64;
                    let least = if height <= LEAST_BAR { 1.0 } else { (count - slack).ceil() };
                    (column, least.max(1.0) as u64, (count + slack).floor() as u64)
                })
                .collect();
            let (least, most) = counts.iter().fold((0, 0), |(a, b), (_, least, most)| (a + least, b + most));
            (least <= made && made <= most && counts.iter().all(|(_, least, most)| least <= most)).then_some(counts)
        };
        let by_then = |until_us: i64| {
            let of = |record: &&Logged| record.class == "dropped" && record.rule.is_some_and(|own| own.to_string() == rule.id);
            self.truth.log.iter().filter(of).filter(|record| record.time_us <= until_us).count() as u64
        };
        let fits = (1..=made).filter_map(counts).any(|counts| {
            let (mut least, mut most) = (0, 0);
            counts.iter().all(|(column, low, high)| {
                (least, most) = (least + low, most + high);
                let end_us = first_us + (*column as i64 + 1) * DRAWN_STEP_US;
                least <= by_then(end_us) && most >= by_then(end_us - LAG_US)
            })
        });
        if !fits {
            self.differences
                .push(format!("{what}: the bars {:?} are not those of {made} drops", rule.bars));
        }
        Ok(())
    }

    /// The list tells what came last, newest first, with the time at which the gateway saw it.
    fn changes(&mut self) -> Result<()> {
        let told = self.page.changes.clone();
        self.near("changes", told.len() as f64, ROWS.min(self.truth.transitions.len()) as f64, 0.0);
        let mut oldest_us = i64::MAX;
        for line in &told {
            let shown_us = time_of(&line.time, self.truth.log)?;
            if shown_us > oldest_us {
                self.differences.push(format!("{line:?} is newer than the line before"));
            }
            oldest_us = oldest_us.min(shown_us);
            // The site's id is in front of the object's.
            let id = line.link.split(['/', '?']).filter_map(|part| part.parse::<Uuid>().ok()).next_back();
            let id = id.with_context(|| format!("{line:?} leads to no object"))?;
            let transition = match &line.text {
                text if text.contains("not alive → alive") => Transition::Alive,
                text if text.contains("down → up") => Transition::Up,
                text if text.contains("added") => Transition::Added,
                text => anyhow::bail!("in a quiet cloud nothing else happens than {text:?}"),
            };
            match self.truth.transitions.get(&(id, transition)) {
                // Times on the page are cut to seconds.
                Some(at_us) if (*at_us - 1_000_000..*at_us + LAG_US).contains(&shown_us) => {}
                at_us => self.differences.push(format!("{line:?}: happened at {at_us:?} µs")),
            }
        }
        // Nothing that is surely newer is left out. States of hosts and ports are told of all; of objects only those with a page.
        let told: BTreeSet<&str> = told.iter().map(|line| &*line.link).collect();
        for ((id, transition), at_us) in self.truth.transitions {
            let (newer, id) = (*at_us > oldest_us + 1_000_000, id.to_string());
            if newer && *transition != Transition::Added && !told.iter().any(|link| link.contains(&id)) {
                self.differences.push(format!("{transition:?} of {id} at {at_us} µs is not in the list"));
            }
        }
        Ok(())
    }

    fn lists(&mut self) {
        if !matches!(&self.page.gateways[..], [(_, about)] if about.starts_with("connected since")) {
            self.differences.push(format!("gateways: {:?}", self.page.gateways));
        }
    }
}

/// Seconds between two rows.
fn step_of(chart: &Chart) -> Result<f64> {
    let [newer, older, ..] = &chart.begins[..] else {
        anyhow::bail!("the chart {} has no two rows", chart.title)
    };
    let step = (seconds_of(newer)? - seconds_of(older)?).rem_euclid(86_400);
    Ok(step as f64)
}

/// Seconds of the day of `15 Oct 14:20:04`.
fn seconds_of(begin: &str) -> Result<i64> {
    let clock = begin.rsplit(' ').next().context("a row has a time")?;
    let parts: Vec<i64> = clock.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let [hours, minutes, seconds] = parts[..] else {
        anyhow::bail!("read the time {begin:?}")
    };
    Ok(hours * 3_600 + minutes * 60 + seconds)
}

/// The time of a row, on the day that is nearest to the records.
fn time_of(begin: &str, log: &[Logged]) -> Result<i64> {
    const DAY: i64 = 86_400;
    let near = log.first().context("no record was sent")?.time_us / 1_000_000;
    let seconds = seconds_of(begin)?;
    let today = near.div_euclid(DAY) * DAY;
    let days = [today - DAY, today, today + DAY];
    let at = days.into_iter().map(|day| day + seconds).min_by_key(|at| (at - near).abs());
    Ok(at.context("there are three days")? * 1_000_000)
}
