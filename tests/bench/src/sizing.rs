// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! docs/sizing.md: what clouds of some sizes need, from measured figures and formulas that are stated.

use std::fmt::Write;

use crate::{
    compare::Compared,
    growth::Grown,
    plot::{grouped, number},
};

/// CPU µs that a gateway spends on a flow, each record made anew: "The whole way of flow records", release profile, `--agents`.
const GATEWAY_US: f64 = 17.24;
/// Meters of a host: 78,876 of 43 hosts; "Meters".
const METERS_A_HOST: f64 = 1_834.0;
/// Seconds between readings, as the gateway has it by default.
const METERING_S: f64 = 10.0;
/// Bytes of a reading with its sums: 0.235 and 0.164; "Meters".
const READING_BYTES: f64 = 0.4;
/// Bytes of a flow in a gateway's spool, in batches of thousands; "Bytes on the wire", protocol 2.
const SPOOLED_BYTES: f64 = 36.6;
/// Objects and nodes of a large simulated cloud for each of its hosts: 102,356 objects of 254 hosts.
const OBJECTS_A_HOST: f64 = 403.0;
/// Bytes of an object in the collector's memory, with its state and tables: `cargo run -p insights-collector --example site_model`.
const OBJECT_BYTES: f64 = 2_000.0;

/// A processor is planned to be half busy.
const BUSY: f64 = 0.5;
const DAY_S: f64 = 86_400.0;
const GB: f64 = 1e9;

const HOSTS: [f64; 3] = [10.0, 1_000.0, 100_000.0];
/// New flows a second of a host: a quiet one, one of a busy cloud.
const RATES: [f64; 2] = [5.0, 50.0];

/// What was measured of one flow.
struct Flow {
    collector_us: f64,
    wire_bytes: f64,
    rest_bytes: f64,
    rollup_bytes: f64,
}

struct Need {
    hosts: f64,
    rate: f64,
    flows: f64,
    gateway_cores: f64,
    collector_cores: f64,
    mbit: f64,
    day_gb: f64,
    quota_days: f64,
    spool_day_gb: f64,
    model_gb: f64,
}

fn need(flow: &Flow, hosts: f64, rate: f64) -> Need {
    let flows = hosts * rate;
    let readings_day = hosts * METERS_A_HOST * DAY_S / METERING_S;
    let day_bytes = flows * DAY_S * (flow.rest_bytes + flow.rollup_bytes) + readings_day * READING_BYTES;
    Need {
        hosts,
        rate,
        flows,
        gateway_cores: flows * GATEWAY_US / 1e6 / BUSY,
        collector_cores: flows * flow.collector_us / 1e6 / BUSY,
        mbit: flows * flow.wire_bytes * 8.0 / 1e6,
        day_gb: day_bytes / GB,
        quota_days: 20.0 * GB / day_bytes,
        spool_day_gb: flows * DAY_S * SPOOLED_BYTES / GB,
        model_gb: hosts * OBJECTS_A_HOST * OBJECT_BYTES / GB,
    }
}

/// The page.
pub fn page(compared: &Compared, grown: &Grown) -> String {
    let backlog = &compared.backlog;
    let of = |bytes: u64| bytes as f64 / backlog.flows.max(1) as f64;
    let live = &compared.live;
    let flow = Flow {
        // As they come, with files and sums, and merged as the backlog was.
        collector_us: ((live.cpu + live.later_cpu) / live.flows.max(1) as f64 + backlog.merge_cpu / backlog.flows.max(1) as f64) * 1e6,
        wire_bytes: of(backlog.wire_bytes),
        rest_bytes: of(backlog.flow_bytes + backlog.path_bytes),
        // Of the fuller store: sums of few flows, each the only one in its minute, would be multiplied by what they never are at these rates.
        rollup_bytes: grown
            .stored
            .last()
            .map_or(of(backlog.rollup_bytes), |row| row.rollup_bytes as f64 / row.stored.max(1) as f64),
    };
    let idle_kib = grown
        .sites
        .last()
        .map_or(0, |row| row.idle_kib.saturating_sub(row.started_kib) / row.sites.max(1) as u64);
    let mut out = format!(
        "# Sizing\nWhat a cloud needs, computed from measured figures. `make bench` measures them anew and makes this page anew; how they were measured stands in\n\
         [benchmarks](benchmarks.md). Figures here come from the profile *{}*.\n\n\
         A flow record is written for the first packet of each flow that an agent sees, so the rate is that of new flows, not of packets. Count it at your cloud: the\n\
         page **Gateways** of the manager tells records received. Without a count, take 5 a second for a host of a quiet cloud and 50 for one of a busy cloud.\n\n\
         | hosts | flows/s a host | flows/s | gateway cores | collector cores | Mbit/s to the service | GB stored a day | days in 20 GB | spool for a day without the service, GB | site model, GB of memory |\n\
         | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
        compared.profile
    );
    for hosts in HOSTS {
        for rate in RATES {
            let need = need(&flow, hosts, rate);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                grouped(need.hosts as u64),
                need.rate,
                grouped(need.flows as u64),
                number(need.gateway_cores),
                number(need.collector_cores),
                number(need.mbit),
                number(need.day_gb),
                number(need.quota_days),
                number(need.spool_day_gb),
                number(need.model_gb)
            );
        }
    }
    let _ = write!(
        out,
        "\n## How it is computed\n| | |\n| --- | --- |\n\
         | gateway cores | flows/s × {GATEWAY_US} µs ÷ {BUSY}: processors are planned half busy. Several gateways of a site share the flows |\n\
         | collector cores | flows/s × {} µs ÷ {BUSY}: receiving, joining, commit log, files, sums, merging; questions come on top |\n\
         | Mbit/s | flows/s × {} bytes × 8; QUIC adds some percent |\n\
         | stored a day | flows/s × 86,400 × ({} + {} bytes: rows with their ways; sums, as of a dozen flows a second, which weigh less the more flows there are) + hosts × {} meters ÷ {METERING_S} s × 86,400 × {READING_BYTES} bytes |\n\
         | spool | flows/s × 86,400 × {SPOOLED_BYTES} bytes, for each day that the service can't be reached; shared by the gateways |\n\
         | site model | hosts × {OBJECTS_A_HOST} objects × {OBJECT_BYTES} bytes |\n\n\
         Beside these, a collector takes some hundred MB for itself, up to 512 MB for rows in memory and as much for questions (`--memory-mib`, `--query-memory-mib`), and {} KiB for\n\
         each site whose gateway is connected and idle.\n\n\
         ## Where it ends\nThe embedded store is of one machine. 100,000 hosts of a quiet cloud are 500,000 flows a second in one site: more than one machine was ever measured to take.\n\
         Such a cloud is to be cut into sites (one for each MidoNet zone) with collectors of their own, or to send topology and meters alone: kinds of data are\n\
         switched in the site's configuration and in the manager. A gateway takes what a few cores take, too: plan one for each 10,000 to 20,000 flows a second.\n",
        number(flow.collector_us),
        number(flow.wire_bytes),
        number(flow.rest_bytes),
        number(flow.rollup_bytes),
        grouped(METERS_A_HOST as u64),
        grouped(idle_kib)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_follow_from_the_figures() {
        let flow = Flow {
            collector_us: 10.0,
            wire_bytes: 20.0,
            rest_bytes: 15.0,
            rollup_bytes: 5.0,
        };
        let one = need(&flow, 1_000.0, 5.0);
        assert_eq!((one.flows, one.collector_cores), (5_000.0, 0.1));
        assert!((one.mbit - 0.8).abs() < 1e-9);
        // 8.64 GB of flows, 6.34 of meters.
        assert!((one.day_gb - (8.64 + 6.338)).abs() < 0.01, "{}", one.day_gb);
        assert!((one.quota_days * one.day_gb - 20.0).abs() < 1e-9);
        let ten = need(&flow, 10_000.0, 5.0);
        assert!((ten.model_gb / one.model_gb - 10.0).abs() < 1e-9);
    }
}
