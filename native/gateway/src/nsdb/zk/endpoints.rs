// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

/// ZooKeeper's port where a connect string names none.
const DEFAULT_PORT: u16 = 2181;

/// The servers of an ensemble, and the path below which this client works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoints {
    pub servers: Vec<(String, u16)>,
    /// What the connect string adds in front of every path: empty, or absolute without a slash at its end.
    pub chroot: String,
}

/// A connect string that names no servers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("connect string {text:?}: {reason}")]
pub struct BadConnectString {
    pub text: String,
    pub reason: &'static str,
}

impl Endpoints {
    /// Reads `h1:2181,h2:2181` with an optional path at its end, IPv6 addresses in brackets.
    pub fn parse(text: &str) -> Result<Endpoints, BadConnectString> {
        let bad = |reason| BadConnectString {
            text: text.to_owned(),
            reason,
        };
        let (hosts, chroot) = match text.find('/') {
            Some(slash) => (&text[..slash], text[slash..].trim_end_matches('/')),
            None => (text, ""),
        };
        let servers = hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|server| parse_server(server).ok_or_else(|| bad("a server is HOST, HOST:PORT or [IPV6]:PORT")))
            .collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(bad("it names no server"));
        }
        Ok(Endpoints {
            servers,
            chroot: chroot.to_owned(),
        })
    }
}

impl std::fmt::Display for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (host, port)) in self.servers.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?
            } else {
                write!(f, "{comma}{host}:{port}")?
            }
        }
        f.write_str(&self.chroot)
    }
}

fn parse_server(server: &str) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        (host, port.strip_prefix(':'))
    } else {
        match server.rsplit_once(':') {
            // More than one colon without brackets: an IPv6 address without a port.
            Some((host, _)) if host.contains(':') => (server, None),
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        }
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => DEFAULT_PORT,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_strings() {
        let of = |text| Endpoints::parse(text).map(|endpoints| endpoints.to_string());
        assert_eq!(of("h1:2181,h2:2182").unwrap(), "h1:2181,h2:2182");
        assert_eq!(of("h1, h2").unwrap(), "h1:2181,h2:2181");
        assert_eq!(of("[::1]:2000,fe80::1/a/b/").unwrap(), "[::1]:2000,[fe80::1]:2181/a/b");
        for bad in ["", ",", "h:0", "h:port", ":2181", "[::1", "h:70000"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
