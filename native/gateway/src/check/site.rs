// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What is on this machine: the running plugin, its key, its clock, its spool.

use std::path::Path;

use time::OffsetDateTime;

use super::Finding;
use crate::{Config, clock::chain, config::Clients, identity, status::Status};

/// Clocks within this are the same for what people compare.
const GOOD_OFFSET_MS: i64 = 2_000;
/// A spool filled above this part loses records soon.
const FULL_PART: f64 = 0.8;

pub(super) fn plugin(status: Option<&Status>, socket: &Path) -> Finding {
    let name = "plugin";
    let Some(status) = status else {
        let found = format!("it does not answer at {}", socket.display());
        return Finding::warning(
            name,
            found,
            "service midonet-cluster restart; the lines with insights in midonet-cluster.log say why if it does not start",
        );
    };
    if let Some(failure) = status.failures.first() {
        return Finding::problem(
            name,
            format!("a part of it failed: {failure}"),
            "restart the MidoNet Cluster and report the log line",
        );
    }
    match &status.link.trouble {
        Some(trouble) => Finding::problem(name, trouble.clone(), "see the checks below"),
        None => Finding::good(name, format!("version {} runs, {}", status.version, status.link.state)),
    }
}

pub(super) fn identity(config: &Config) -> Finding {
    let name = "identity";
    let now = OffsetDateTime::now_utc();
    match identity::load(&config.identity_path, now) {
        Ok(identities) if identities.current.not_before > now || identities.current.not_after < now => Finding::problem(
            name,
            "the dates of the certificate don't hold now",
            "set the clock of this machine, or mn-insights renew",
        ),
        Ok(identities) => Finding::good(name, identities.current.fingerprint.to_string()),
        Err(error) => Finding::problem(
            name,
            chain(&error),
            "mn-insights init makes an identity where there is none; run this as the user of the plugin, root",
        ),
    }
}

pub(super) fn clock(status: Option<&Status>) -> Finding {
    let name = "clock";
    match status.and_then(|status| status.link.clock_offset_ms) {
        Some(offset) if offset.abs() <= GOOD_OFFSET_MS => Finding::good(name, format!("{} ms {} the service's", offset.abs(), side(offset))),
        Some(offset) => {
            let found = format!("{:.1} s {} the service's", offset.abs() as f64 / 1_000.0, side(offset));
            Finding::warning(
                name,
                found,
                "keep the time of this machine with NTP; times of records are those of this machine",
            )
        }
        None => Finding::unknown(
            name,
            "it is compared with the service's when the plugin connects",
            "look again when the plugin is connected",
        ),
    }
}

/// Where our clock is; the offset is the service's clock less ours.
fn side(offset_ms: i64) -> &'static str {
    if offset_ms > 0 { "behind" } else { "ahead of" }
}

pub(super) fn spool(config: &Config, status: Option<&Status>) -> Finding {
    let name = "spool";
    let path = config.spool.path.display();
    match status.map(|status| &status.spool) {
        Some(spool) if !spool.open => Finding::problem(
            name,
            format!("the plugin can't open {path}"),
            "free space on its disk and make it writable for root; the log says more",
        ),
        Some(spool) if spool.bytes as f64 > FULL_PART * spool.limit as f64 => {
            let found = format!("{} of {} MiB are used", spool.bytes >> 20, spool.limit >> 20);
            Finding::warning(
                name,
                found,
                "bring the connection back, or raise insights_cloud.spool.max_size; flows give way first",
            )
        }
        Some(spool) => Finding::good(name, format!("{path} holds {} of {} MiB", spool.bytes >> 20, spool.limit >> 20)),
        None => Finding::unknown(name, format!("{path} is looked at by the running plugin"), "start the plugin"),
    }
}

/// Whether the recorder's list of clients fits those that connect; nothing where no flows are sent.
pub(super) fn clients(config: &Config, status: Option<&Status>) -> Option<Finding> {
    let name = "recorder clients";
    if !config.data.flows {
        return None;
    }
    let clients = &config.recorder.clients;
    let Some(status) = status else {
        let found = format!("{clients} may connect; the running plugin counts who was refused");
        return Some(Finding::unknown(name, found, "start the plugin"));
    };
    let (connected, foreign, refused) = (status.agents_connected, status.agents_foreign, status.agents_refused);
    Some(match clients {
        Clients::Any if connected > 0 && foreign == 0 => Finding::good(
            name,
            format!("any may connect; all {connected} that do have an address of a host, so insights_cloud.recorder.clients : hosts would fit"),
        ),
        Clients::Any => Finding::good(
            name,
            format!("any may connect; {foreign} of the {connected} that do have an address that is no host's in the NSDB"),
        ),
        Clients::Listed { .. } if refused > 0 => Finding::warning(
            name,
            format!("{clients} may connect; {refused} connections of others were refused since the plugin's start"),
            "the log names their addresses; add those of agents to insights_cloud.recorder.clients, then restart the MidoNet Cluster",
        ),
        Clients::Listed { .. } => Finding::good(name, format!("{clients} may connect; nobody was refused")),
    })
}
