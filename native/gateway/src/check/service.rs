// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Name, UDP, TLS and key: the way to the service, as the plugin goes it. Nothing is said on the connection, so the plugin's own stays.

use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use crate::{
    Config,
    session::Trouble,
    uplink::{connect, trouble},
};

/// A service that refuses the key in the handshake says so within a round trip; this is far above.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

pub(super) async fn check(config: &Config, findings: &mut Vec<Finding>) {
    let gateway = &config.gateway;
    match connect::resolve(&gateway.host, gateway.port).await {
        Ok(addresses) => {
            let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
            findings.push(Finding::good("name resolution", format!("{} is {}", gateway.host, list.join(", "))));
        }
        Err(trouble) => return findings.push(problem("name resolution", trouble)),
    }
    let connected = match connect::connect(config, 0).await {
        Ok(connected) => connected,
        Err(trouble @ Trouble::Silent { .. }) => return findings.push(problem("UDP", trouble)),
        Err(trouble) => return findings.push(problem("TLS", trouble)),
    };
    findings.push(Finding::good(
        "UDP",
        format!("{} answers within {} ms", connected.address, connected.connection.rtt().as_millis()),
    ));
    match timeout(REFUSAL_TIME, connected.connection.closed()).await {
        Ok(end) => match trouble::of_connection(&end) {
            Some(Trouble::Refused { .. }) => {
                let found = format!("the service does not know this gateway's key {}", connected.fingerprint);
                findings.push(Finding::problem(
                    "TLS",
                    found,
                    "add this fingerprint to your site in the Insights manager",
                ));
            }
            Some(other) => findings.push(problem("TLS", other)),
            None => findings.push(Finding::warning(
                "TLS",
                "the service closed the connection",
                "try again; if it stays, look at the service",
            )),
        },
        Err(_) => findings.push(Finding::good(
            "TLS",
            "version 1.3; the service's certificate is accepted, and so is this gateway's key so far",
        )),
    }
    connected
        .connection
        .close(quinn::VarInt::from_u32(insights_protocol::control::close::NORMAL), b"check");
    let _ = timeout(REFUSAL_TIME, connected.endpoint.wait_idle()).await;
}

fn problem(check: &'static str, trouble: Trouble) -> Finding {
    let (found, remedy) = trouble::parts(&trouble);
    Finding::problem(check, found, remedy)
}
