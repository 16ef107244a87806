// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use crate::StoreError;

/// Where a ClickHouse server is, and as whom to sign in: `clickhouse://[USER@]HOST[:PORT]/DATABASE`, or `clickhouses://` for TLS. The
/// database must be there; its tables are made when they are not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClickHouseAddress {
    pub secure: bool,
    pub host: String,
    /// Of its HTTP interface.
    pub port: u16,
    pub user: String,
    pub database: String,
}

/// How to talk to a ClickHouse server.
#[derive(Clone, PartialEq)]
pub struct ClickHouseOptions {
    pub address: ClickHouseAddress,
    pub password: Option<String>,
    /// Roots that the server's certificate must come from, PEM; those of the system when there are none.
    pub ca: Option<Vec<u8>>,
    /// How long the server may take to store a batch.
    pub insert_time: Duration,
}

impl ClickHouseOptions {
    pub fn new(address: ClickHouseAddress) -> Self {
        Self {
            address,
            password: None,
            ca: None,
            // A server that merges a backlog takes seconds; longer than that, a gateway does better to come again.
            insert_time: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for ClickHouseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        write!(f, "{:?}", self.address)
    }
}

impl ClickHouseAddress {
    /// The server is this machine.
    pub fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl fmt::Display for ClickHouseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "clickhouses" } else { "clickhouse" };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        write!(f, "{scheme}://{}@{host}:{}/{}", self.user, self.port, self.database)
    }
}

/// Longest parts of an address; names of hosts are no longer.
const LONGEST: usize = 253;

impl FromStr for ClickHouseAddress {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let (secure, rest) = match (text.strip_prefix("clickhouse://"), text.strip_prefix("clickhouses://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(bad("it begins with clickhouse:// or clickhouses://")),
        };
        let (authority, database) = rest.split_once('/').ok_or_else(|| bad("it ends with / and the name of a database"))?;
        let (user, place) = authority.rsplit_once('@').unwrap_or(("default", authority));
        if user.contains(':') {
            return Err(bad("the password belongs into a file of its own, where no list of processes shows it"));
        }
        let (host, port) = if let Some(rest) = place.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad("an IPv6 address ends with ]"))?;
            (host, rest.strip_prefix(':'))
        } else {
            match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            }
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| bad("a port is a number up to 65535"))?,
            None if secure => 8443,
            None => 8123,
        };
        let is_name =
            |text: &str, more: &str| !text.is_empty() && text.len() <= LONGEST && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
        if !is_name(host, ".-:_") || !is_name(user, "_.-") || !is_name(database, "_") {
            return Err(bad("host, user and database are letters, digits and - . _"));
        }
        Ok(Self {
            secure,
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            database: database.to_owned(),
        })
    }
}

fn bad(why: &str) -> StoreError {
    StoreError::Invalid(format!(
        "the address of a ClickHouse server looks like clickhouse://user@host:8123/database: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_their_parts() {
        let address: ClickHouseAddress = "clickhouse://insights@ch.example.org:9123/flows".parse().unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.user.as_str()),
            ("ch.example.org", 9123, "insights")
        );
        assert_eq!((address.database.as_str(), address.secure), ("flows", false));
        let address: ClickHouseAddress = "clickhouses://[::1]/flows".parse().unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.user.as_str(), address.secure),
            ("::1", 8443, "default", true)
        );
    }

    #[test]
    fn an_address_reads_back_and_knows_this_machine() {
        for (text, is_here) in [
            ("clickhouse://default@127.0.0.1:8123/a", true),
            ("clickhouses://me@[::1]:8443/a", true),
            ("clickhouse://me@localhost:1/a", true),
            ("clickhouse://me@10.0.0.1:1/a", false),
        ] {
            let address: ClickHouseAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_here()), (text, is_here));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "http://host/db",
            "clickhouse://host",
            "clickhouse://host/",
            "clickhouse://host/a b",
            "clickhouse://host/a?b=c",
            "clickhouse://ho st/a",
            "clickhouse://host:99999/a",
            "clickhouse:///a",
        ] {
            assert!(text.parse::<ClickHouseAddress>().is_err(), "{text}");
        }
        let told = "clickhouse://me:secret@host/a".parse::<ClickHouseAddress>().unwrap_err().to_string();
        assert!(told.contains("file") && !told.contains("secret"), "{told}");
    }
}
