// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::net::IpAddr;

use insights_trace::packet::{ECHO, ICMP, TCP, UDP};
use uuid::Uuid;

use crate::{
    query::params::Params,
    site::{Kind, Site},
};

/// Protocols by the words of the form.
pub const PROTOCOLS: [(&str, u8); 3] = [("tcp", TCP), ("udp", UDP), ("icmp", ICMP)];

/// Source port where none is given: what systems give to connections that they open begins above 32,768.
const SOURCE_PORT: u16 = 40_000;
/// Ports that a name or address may mean before the question is refused as too wide.
const MAX_CHOICES: usize = 12;

/// A packet whose way is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    pub port: Uuid,
    pub src: Option<IpAddr>,
    pub dst: IpAddr,
    pub proto: u8,
    pub src_port: u16,
    pub dst_port: u16,
}

/// Why a question can't be understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AskError {
    /// The parameter that is wrong.
    pub field: &'static str,
    pub text: String,
    /// What it may mean: ids of ports with their names.
    pub choices: Vec<(Uuid, String)>,
}

impl AskError {
    fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self {
            field,
            text: text.into(),
            choices: Vec::new(),
        }
    }
}

impl Ask {
    /// Reads `port` (name, UUID, IP or MAC), `dst` (address, or a port by the same), `src`, `proto`, `sport` and `dport`; `None` where
    /// nothing is asked yet.
    pub fn parse(site: &Site, params: &Params) -> Result<Option<Ask>, AskError> {
        let get = |name: &str| params.get(name).map(str::trim).filter(|text| !text.is_empty());
        let (from, to) = match (get("port"), get("dst")) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(AskError::new("port", "Say which port sends it.")),
            (Some(_), None) => return Err(AskError::new("dst", "Say to whom it goes.")),
            (Some(from), Some(to)) => (from, to),
        };
        let port = find_port(site, "port", from)?;
        let dst = match to.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => {
                let target = find_port(site, "dst", to)?;
                let addresses = site.port(target).map(|port| port.addresses).unwrap_or_default();
                *addresses
                    .first()
                    .ok_or_else(|| AskError::new("dst", format!("{} has no address.", site.name(target))))?
            }
        };
        let src = match get("src") {
            Some(text) => Some(text.parse().map_err(|_| AskError::new("src", format!("“{text}” is no IP address.")))?),
            None => None,
        };
        let proto = match get("proto") {
            None => TCP,
            Some(text) => PROTOCOLS
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text))
                .map(|(_, number)| *number)
                .or_else(|| text.parse().ok())
                .ok_or_else(|| AskError::new("proto", format!("“{text}” is no protocol: tcp, udp, icmp or a number up to 255.")))?,
        };
        let number = |name: &'static str, default: u16| match get(name) {
            Some(text) => text
                .parse()
                .map_err(|_| AskError::new(name, format!("“{text}” is no port: a number up to 65535."))),
            None => Ok(default),
        };
        let (src_port, dst_port) = match proto {
            ICMP => (ECHO, 0),
            TCP => (number("sport", SOURCE_PORT)?, number("dport", 443)?),
            UDP => (number("sport", SOURCE_PORT)?, number("dport", 53)?),
            _ => (0, 0),
        };
        Ok(Some(Ask {
            port,
            src,
            dst,
            proto,
            src_port,
            dst_port,
        }))
    }
}

/// The port that a text means: by UUID, address, or name.
fn find_port(site: &Site, field: &'static str, text: &str) -> Result<Uuid, AskError> {
    if let Ok(id) = text.parse::<Uuid>() {
        return match site.port(id) {
            Some(_) => Ok(id),
            None => Err(AskError::new(field, "No port of the topology of that time has this UUID.")),
        };
    }
    let mut found: Vec<(Uuid, String)> = match text.parse::<IpAddr>() {
        Ok(address) => site.ports_with_address(address).into_iter().map(|id| (id, site.name(id))).collect(),
        Err(_) => {
            let hits = site.search(text).into_iter().filter(|found| found.object.kind == Kind::Port);
            hits.map(|found| (found.object.id, found.object.name)).collect()
        }
    };
    // A whole name means the port of that name, not those that contain it.
    if let Some(exact) = found.iter().position(|(_, name)| name.eq_ignore_ascii_case(text))
        && found.iter().filter(|(_, name)| name.eq_ignore_ascii_case(text)).count() == 1
    {
        found = vec![found.swap_remove(exact)];
    }
    match found.as_slice() {
        [] => Err(AskError::new(field, format!("No port is called “{text}” or has this address."))),
        [(id, _)] => Ok(*id),
        many => Err(AskError {
            field,
            text: format!(
                "“{text}” can mean {} ports. Choose one:",
                if many.len() > MAX_CHOICES {
                    "many".to_owned()
                } else {
                    many.len().to_string()
                }
            ),
            choices: many.iter().take(MAX_CHOICES).cloned().collect(),
        }),
    }
}
