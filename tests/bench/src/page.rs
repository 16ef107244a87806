// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The pages that tell the figures: a part of docs/benchmarks.md between its marks, drawings beside it, and docs/sizing.md. What stands in them
//! follows from the files of figures in docs/benchmarks alone.

use std::{fmt::Write, path::Path};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::{
    compare::{Compared, Ours},
    growth::Grown,
    measure::{Machine, Times},
    peers::Taken,
    plot::{self, Bar, Group, grouped, number},
    sizing,
};

const BEGIN: &str = "<!-- made by `make bench`: begin -->\n";
const END: &str = "<!-- made by `make bench`: end -->\n";

/// What each keeps of a flow.
const KEPT: [(&str, &str); 5] = [
    (
        "MidoInsights",
        "all 38 fields, joined with tenants, networks and ports; the way through devices and rules",
    ),
    ("ClickHouse", "the same"),
    ("nfdump", "18 fields, without the way, tenants and networks"),
    ("GoFlow2", "what IPFIX carried, without the way, tenants and networks"),
    ("zstd", "the records as sent, without tenants and networks; can't be asked"),
];

/// Files of a page with their content, by path below docs/.
pub fn make(docs: &Path) -> Result<Vec<(String, String)>> {
    let compared: Compared = read(docs, "peers.json")?;
    let grown: Grown = read(docs, "growth.json")?;
    let history = std::fs::read_to_string(docs.join("benchmarks/history.txt")).context("read docs/benchmarks/history.txt")?;
    let page = std::fs::read_to_string(docs.join("benchmarks.md")).context("read docs/benchmarks.md")?;
    let (head, rest) = page.split_once(BEGIN).context("docs/benchmarks.md has no mark where figures begin")?;
    let (_, tail) = rest.split_once(END).context("docs/benchmarks.md has no mark where figures end")?;
    let told = format!("{}\n{}\n{}", compare(&compared)?, growth(&grown), topology(&history));
    Ok(vec![
        ("benchmarks.md".into(), format!("{head}{BEGIN}{told}{END}{tail}")),
        ("benchmarks/bytes.svg".into(), bytes_drawing(&compared)),
        ("benchmarks/questions.svg".into(), questions_drawing(&compared)),
        ("sizing.md".into(), sizing::page(&compared, &grown)),
    ])
}

/// Writes the pages.
pub fn write(docs: &Path) -> Result<()> {
    for (name, content) in make(docs)? {
        let path = docs.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn read<T: DeserializeOwned>(docs: &Path, name: &str) -> Result<T> {
    let path = docs.join("benchmarks").join(name);
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("read the figures in {}", path.display()))
}

fn measured_on(machine: &Machine, profile: &str, version: &str, seconds: f64) -> String {
    let load: Vec<String> = machine.load.iter().map(|load| number(*load)).collect();
    format!(
        "{}: {version} in the profile *{profile}*; {} with {} cores, {} GiB, Linux {}; load average {} on {} cores; {} minutes.",
        machine.date,
        machine.processor,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        load.join(" at the beginning, ") + " at the end",
        machine.cores,
        (seconds / 60.0).ceil()
    )
}

fn compare(found: &Compared) -> Result<String> {
    ensure!(found.flows > 0, "figures of no flows");
    let seen = &found.differences;
    let mut out = format!(
        "## Beside others\n{}\n\n{} flows over {} hours, the same to everybody: {} hosts, {} ports, {} addresses, {} pairs of addresses, {} connections, \
         {} ways; a simulated cloud of {}. Batches to the collector have {} flows. Times by the clock are of a machine that others used too; CPU time is sturdier.\n",
        measured_on(&found.machine, &found.profile, &found.version, found.seconds),
        grouped(found.flows),
        found.hours,
        seen.hosts,
        grouped(seen.ports as u64),
        grouped(seen.addresses as u64),
        grouped(seen.pairs as u64),
        grouped(seen.connections as u64),
        grouped(seen.paths as u64),
        found.cloud,
        grouped(found.batch as u64)
    );
    if !found.missing.is_empty() {
        let _ = writeln!(out, "\nNot installed, so left out: {}.", found.missing.join(", "));
    }
    out.push_str("\n### Bytes at rest\n![Bytes a flow at rest](benchmarks/bytes.svg)\n\n| | bytes a flow | keeps |\n| --- | --: | --- |\n");
    for (name, bytes) in at_rest(found) {
        let kept = KEPT.iter().find(|(who, _)| name.starts_with(who)).map_or("", |(_, kept)| kept);
        let _ = writeln!(out, "| {name} | {} | {kept} |", number(bytes));
    }
    let backlog = &found.backlog;
    let smaller: Vec<String> = at_rest(found)
        .into_iter()
        .take_while(|(name, _)| name != "MidoInsights")
        .map(|(name, _)| name)
        .collect();
    if !smaller.is_empty() {
        let _ = writeln!(
            out,
            "\nSmaller than ours, with less in them or nothing to be asked of: {}.",
            smaller.join("; ")
        );
    }
    let _ = writeln!(
        out,
        "\nOurs is {} for rows and {} for the table of ways; sums by the minute and hour, which nobody else here keeps, take {} more. On the wire from the \
         gateway a flow took {} bytes. Sums weigh most where flows are few: each flow is then the only one of its rules in its minute. As they come, at the rate \
         of the test, sums took {}.",
        number(per(backlog.flow_bytes, backlog)),
        number(per(backlog.path_bytes, backlog)),
        number(per(backlog.rollup_bytes, backlog)),
        number(per(backlog.wire_bytes, backlog)),
        number(per(found.live.rollup_bytes, &found.live))
    );
    out.push_str("\n### CPU time to take a flow in\n| | µs until it is taken | µs later on | flows a second and core | durable when acknowledged |\n| --- | --: | --: | --: | --- |\n");
    let mut line = |name: &str, cpu: f64, later: f64, flows: u64, durable: &str| {
        let us = |seconds: f64| seconds * 1e6 / flows.max(1) as f64;
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {durable} |",
            number(us(cpu)),
            number(us(later)),
            grouped((flows as f64 / (cpu + later)).round() as u64)
        );
    };
    line(
        "MidoInsights, as they come",
        found.live.cpu,
        found.live.later_cpu,
        found.live.flows,
        "yes",
    );
    line(
        "MidoInsights, a day's backlog",
        backlog.cpu,
        backlog.later_cpu + backlog.merge_cpu,
        backlog.flows,
        "yes",
    );
    for peer in &found.peers {
        let durable = if peer.name.starts_with("zstd") { "–" } else { "no" };
        if peer.name.starts_with("zstd") {
            continue;
        }
        line(&peer.name, peer.cpu, peer.later_cpu, peer.flows, durable);
    }
    let ours = (found.live.cpu + found.live.later_cpu) / found.live.flows.max(1) as f64;
    let less = found
        .peers
        .iter()
        .filter(|peer| !peer.name.starts_with("zstd") && (peer.cpu + peer.later_cpu) / (peer.flows.max(1) as f64) < ours);
    let less: Vec<&str> = less.map(|peer| peer.name.as_str()).collect();
    if !less.is_empty() {
        let _ = writeln!(out, "\nLess CPU time than ours take: {}.", less.join("; "));
    }
    for peer in found.peers.iter().filter(|peer| peer.flows != peer.sent) {
        let _ = writeln!(
            out,
            "\n{} lost {} of {} flows.",
            peer.name,
            grouped(peer.sent - peer.flows.min(peer.sent)),
            grouped(peer.sent)
        );
    }
    out.push_str(
        "\nOurs is the collector: TLS, decoding, joining with the topology, the commit log with its sync, files, sums and merges. What the gateway adds at the \
         site stands above. nfdump and GoFlow2 read IPFIX from UDP, which has neither encryption nor acknowledgement, and write files without a sync; \
         ClickHouse takes rows that are joined already. A backlog is joined with the topology of its own time, which is read back for every five minutes.\n",
    );
    out.push_str("\n### Questions\n![Median time of each question](benchmarks/questions.svg)\n\n");
    let _ = writeln!(
        out,
        "{} rounds, everybody one after the other in each, other ports, addresses and hours each time. Milliseconds by the clock, median and p95, and CPU \
         time.\n\n| | by whom | median | p95 | CPU |\n| --- | --- | --: | --: | --: |",
        found.asked.rounds
    );
    for (question, all) in &found.asked.questions {
        for (who, times) in all {
            let _ = writeln!(
                out,
                "| {question} | {who} | {} | {} | {} |",
                number(times.median()),
                number(times.p95()),
                number(times.cpu())
            );
        }
    }
    let _ = writeln!(
        out,
        "\n{} answers of others were compared with ours; {} differed{}",
        found.asked.compared,
        found.asked.differed.len(),
        if found.asked.differed.is_empty() { "." } else { ":" }
    );
    for differed in found.asked.differed.iter().take(5) {
        let _ = writeln!(out, "- {differed}");
    }
    out.push_str(&verdict(found));
    out.push_str(
        "\nWe are asked over HTTP for JSON, each question from a program that is signed in; nfdump is a program that is started for each, over files of five \
         minutes as nfcapd makes them; ClickHouse is in a process of its own and gives text. nfdump has no list from the newest on and no series: it sorts, and \
         prints what is counted outside of it.\n\n### Versions and commands\n| | version | command |\n| --- | --- | --- |\n",
    );
    for peer in &found.peers {
        let _ = writeln!(out, "| {} | {} | `{}` |", peer.name, peer.version, peer.command);
    }
    Ok(out)
}

/// Where we lose, and by how much, is told as plainly as where we win.
fn verdict(found: &Compared) -> String {
    let mut won = Vec::new();
    let mut lost = Vec::new();
    for (question, all) in &found.asked.questions {
        let time = |who: &str| all.iter().find(|(name, _)| name == who).map(|(_, times)| times.cpu());
        let Some(ours) = time("MidoInsights") else { continue };
        for (who, times) in all.iter().filter(|(who, _)| who != "MidoInsights") {
            let factor = times.cpu() / ours;
            if factor >= 1.0 {
                won.push(format!("{question}: {} times less than {who}", number(factor)));
            } else {
                lost.push(format!("{question}: {} times more than {who}", number(1.0 / factor)));
            }
        }
    }
    let list = |what: &[String]| if what.is_empty() { "nowhere".to_owned() } else { what.join("; ") };
    let mut slower = Vec::new();
    for (question, all) in &found.asked.questions {
        let ours = all.iter().find(|(who, _)| who == "MidoInsights").map_or(0.0, |(_, times)| times.median());
        let quicker = all.iter().filter(|(who, times)| who != "MidoInsights" && times.median() < ours);
        slower.extend(quicker.map(|(who, times)| format!("{question}: {} ms, {who} {}", number(ours), number(times.median()))));
    }
    format!(
        "\nQuestions in which we take less CPU time: {}.\n\nQuestions in which we take more: {}. By the clock we are slower here: {}.\n",
        list(&won),
        list(&lost),
        list(&slower)
    )
}

fn per(bytes: u64, ours: &Ours) -> f64 {
    bytes as f64 / ours.flows.max(1) as f64
}

/// Bytes a flow by who keeps it and how, fewest first.
fn at_rest(found: &Compared) -> Vec<(String, f64)> {
    let ours = per(found.backlog.flow_bytes + found.backlog.path_bytes, &found.backlog);
    let mut all = vec![("MidoInsights".to_owned(), ours)];
    for peer in &found.peers {
        let Taken { name, bytes, flows, .. } = peer;
        let short = name.split([',', ' ']).next().unwrap_or(name);
        all.extend(
            bytes
                .iter()
                .map(|(how, bytes)| (format!("{short}, {how}"), *bytes as f64 / (*flows).max(1) as f64)),
        );
    }
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all
}

fn bytes_drawing(found: &Compared) -> String {
    let bars = at_rest(found).into_iter().map(|(name, value)| Bar {
        ours: name.starts_with("MidoInsights"),
        name,
        value,
    });
    let group = Group {
        title: String::new(),
        bars: bars.collect(),
    };
    plot::bars("Bytes a flow at rest, by who keeps it and how", "B", &[group], Some(1.0))
}

fn questions_drawing(found: &Compared) -> String {
    let group = |(question, all): &(String, Vec<(String, Times)>)| Group {
        title: question.clone(),
        bars: all
            .iter()
            .map(|(who, times)| Bar {
                name: who.clone(),
                value: times.median(),
                ours: who == "MidoInsights",
            })
            .collect(),
    };
    let groups: Vec<Group> = found.asked.questions.iter().map(group).collect();
    plot::bars("Median time of each question, by who is asked", "ms", &groups, Some(1.0))
}

fn growth(found: &Grown) -> String {
    let mut out = format!(
        "## Growth\n{}\n\n### With sites\nEach site has a gateway, which is connected, and a cloud of {} nodes. All sites together send so many flows, in batches of {}.\n\n\
         | sites | flows | µs a flow until durable | µs later on | flows/s by the clock | MiB when started | KiB of a site that is idle | CPU % when all are idle |\n\
         | --: | --: | --: | --: | --: | --: | --: | --: |\n",
        measured_on(&found.machine, &found.profile, &found.version, found.seconds),
        found.nodes_of_a_site,
        found.batch
    );
    for row in &found.sites {
        let us = |seconds: f64| number(seconds * 1e6 / row.flows as f64);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            grouped(row.sites as u64),
            grouped(row.flows as u64),
            us(row.cpu),
            us(row.later_cpu),
            grouped((row.flows as f64 / row.seconds) as u64),
            row.started_kib >> 10,
            grouped(row.idle_kib.saturating_sub(row.started_kib) / row.sites as u64),
            number(row.idle_cpu * 100.0)
        );
    }
    out.push_str(
        "\nLater on is mostly the end of each run, at which every site's rows are written to files of their own: some 20 ms of a processor for each site with rows.\n\n\
         ### With stored flows\nOne site, a small cloud, a million flows on each day, all of them a backlog.\n\n\
         | stored | µs a flow until durable, of those added | bytes a flow | of sums | files | MiB resident |\n\
         | --: | --: | --: | --: | --: | --: |\n",
    );
    for row in &found.stored {
        let per = |bytes: u64| number(bytes as f64 / row.stored as f64);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            grouped(row.stored as u64),
            number(row.cpu * 1e6 / row.added as f64),
            per(row.bytes),
            per(row.rollup_bytes),
            row.files,
            row.resident_mib
        );
    }
    out.push_str("\nQuestions, milliseconds by the clock (median, p95) and of CPU:\n\n| stored | question | median | p95 | CPU |\n| --: | --- | --: | --: | --: |\n");
    for row in &found.stored {
        for (question, times) in &row.questions {
            let _ = writeln!(
                out,
                "| {} | {question} | {} | {} | {} |",
                grouped(row.stored as u64),
                number(times.median()),
                number(times.p95()),
                number(times.cpu())
            );
        }
    }
    out
}

fn topology(history: &str) -> String {
    format!(
        "## The topology's history\n100,000 objects and what comes and goes beside them. `cargo run -p insights-store --example history` (its head says what it does) told:\n\n```\n{}\n```\n\n\
         Goals: a state within 300 ms, a difference within 500 ms, a history within 50 ms. Versions are kept in classes by how long they hold, so what is read \
         of the index is about what is found, whatever came and went in years.\n",
        history.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever measures anew also makes the pages anew, and nobody writes figures into them by hand.
    #[test]
    fn pages_are_those_of_the_figures() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        for (name, content) in make(&docs).unwrap() {
            let there = std::fs::read_to_string(docs.join(&name)).unwrap();
            assert!(there == content, "docs/{name} is not what its figures make: run `bench pages`");
        }
    }
}
