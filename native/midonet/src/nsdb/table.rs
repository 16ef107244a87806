// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! State tables: what agents learned and the cluster configured.
//!
//! An entry is a node without data, named `<key>,<value>,<version>`. A learned entry is ephemeral and its version the sequence number that
//! ZooKeeper gave; a configured one is persistent with the version [`PERSISTENT`]. For one key a learned entry beats the configured one, and
//! among the learned ones the greatest version wins.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use uuid::Uuid;

use crate::Mac;
use crate::model::java_text;

/// Version of configured entries.
pub const PERSISTENT: u32 = i32::MAX as u32;

/// The name of an entry's node.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Entry<'a> {
    pub key: &'a str,
    pub value: &'a str,
    pub version: u32,
}

impl<'a> Entry<'a> {
    /// Reads a node's name; `None` for one that MidoNet ignores too.
    pub fn parse(name: &'a str) -> Option<Entry<'a>> {
        let mut parts = name.split(',');
        let (key, value, version) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || key.is_empty() || version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Entry {
            key,
            value,
            version: version.parse().ok().filter(|version| *version <= PERSISTENT)?,
        })
    }

    /// Whether the entry was learned, not configured.
    pub fn is_learned(&self) -> bool {
        self.version != PERSISTENT
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{:010}", self.key, self.value, self.version)
    }
}

/// The effective entry of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effective {
    pub value: String,
    pub learned: bool,
    pub version: u32,
}

/// A table as its readers see it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    pub entries: BTreeMap<String, Effective>,
    /// Nodes whose names are no entries.
    pub ignored: usize,
}

impl Table {
    /// The table of these nodes, in any order.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Table {
        let mut table = Table::default();
        names.into_iter().for_each(|name| table.add(name));
        table
    }

    fn add(&mut self, name: &str) {
        let Some(entry) = Entry::parse(name) else {
            self.ignored += 1;
            return;
        };
        let new = Effective {
            value: entry.value.to_owned(),
            learned: entry.is_learned(),
            version: entry.version,
        };
        match self.entries.entry(entry.key.to_owned()) {
            btree_map::Entry::Vacant(place) => {
                place.insert(new);
            }
            btree_map::Entry::Occupied(mut place) => {
                let old = place.get();
                if (new.learned, new.version) > (old.learned, old.version) {
                    place.insert(new);
                }
            }
        }
    }
}

/// Value of an `arp_table`. Times are of the agent's clock, ms since the epoch.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ArpEntry {
    /// `None` while a request waits for its reply.
    pub mac: Option<Mac>,
    pub expiry_ms: i64,
    pub stale_ms: i64,
    pub last_arp_ms: i64,
}

/// Key of a `fip64_table`: a floating IPv6 address and the IPv4 address behind it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fip64Entry {
    pub fixed: Ipv4Addr,
    pub floating: Ipv6Addr,
    pub nat_pool: Ipv4Addr,
    pub nat_prefix_length: u8,
    pub port: Uuid,
    pub router: Uuid,
}

/// The text is not what this table holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a {what}: field {field}")]
pub struct EntryError {
    what: &'static str,
    field: &'static str,
}

impl FromStr for ArpEntry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Parts {
            what: "value of arp_table",
            rest: text.split(';'),
        };
        let mac = match parts.text("mac")? {
            "null" => None,
            text => Some(text.parse().map_err(|_| parts.error("mac"))?),
        };
        let entry = ArpEntry {
            mac,
            expiry_ms: parts.parse("expiry")?,
            stale_ms: parts.parse("stale")?,
            last_arp_ms: parts.parse("last arp")?,
        };
        parts.end()?;
        Ok(entry)
    }
}

impl fmt::Display for ArpEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mac {
            Some(mac) => write!(f, "{mac}")?,
            None => f.write_str("null")?,
        }
        write!(f, ";{};{};{}", self.expiry_ms, self.stale_ms, self.last_arp_ms)
    }
}

impl FromStr for Fip64Entry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Parts {
            what: "key of fip64_table",
            rest: text.split(';'),
        };
        let entry = Fip64Entry {
            fixed: parts.parse("fixed address")?,
            floating: parts.parse("floating address")?,
            // A Java int: negative from 128.0.0.0 on.
            nat_pool: Ipv4Addr::from(parts.parse::<i32>("NAT pool")? as u32),
            nat_prefix_length: parts.parse("NAT prefix length")?,
            port: parts.parse("port")?,
            router: parts.parse("router")?,
        };
        parts.end()?;
        Ok(entry)
    }
}

impl fmt::Display for Fip64Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let floating = java_text(IpAddr::V6(self.floating));
        let pool = u32::from(self.nat_pool) as i32;
        write!(
            f,
            "{};{floating};{pool};{};{};{}",
            self.fixed, self.nat_prefix_length, self.port, self.router
        )
    }
}

/// Reads fields between semicolons and says in errors which.
struct Parts<'a> {
    what: &'static str,
    rest: std::str::Split<'a, char>,
}

impl<'a> Parts<'a> {
    fn text(&mut self, field: &'static str) -> Result<&'a str, EntryError> {
        self.rest.next().ok_or(self.error(field))
    }

    fn parse<T: FromStr>(&mut self, field: &'static str) -> Result<T, EntryError> {
        self.text(field)?.parse().map_err(|_| self.error(field))
    }

    fn end(&mut self) -> Result<(), EntryError> {
        if self.rest.next().is_some() {
            Err(self.error("too many"))
        } else {
            Ok(())
        }
    }

    fn error(&self, field: &'static str) -> EntryError {
        EntryError { what: self.what, field }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learned_entry_beats_the_configured_one_and_the_greatest_version_wins() {
        let names = [
            "k,old,0000000003",
            "k,configured,2147483647",
            "k,new,0000000012",
            "k,older,0000000001",
            "l,only,2147483647",
        ];
        // In any order.
        for shift in 0..names.len() {
            let table = Table::from_names((0..names.len()).map(|i| names[(i + shift) % names.len()]));
            assert_eq!(
                table.entries["k"],
                Effective {
                    value: "new".to_owned(),
                    learned: true,
                    version: 12
                }
            );
            assert_eq!(
                table.entries["l"],
                Effective {
                    value: "only".to_owned(),
                    learned: false,
                    version: PERSISTENT
                }
            );
        }
    }

    #[test]
    fn names_that_are_no_entries_are_counted() {
        let names = [
            "",
            "a",
            "a,b",
            "a,b,c",
            "a,b,1,2",
            ",b,0000000001",
            "a,b,-1",
            "a,b,2147483648",
            "a,b,99999999999",
            "a,b,+1",
            "a,,0000000001",
        ];
        let table = Table::from_names(names);
        assert_eq!(table.ignored, names.len() - 1, "an empty value is one");
        assert_eq!(table.entries.len(), 1);
    }

    #[test]
    fn arp_and_fip64_entries_say_what_is_wrong() {
        let arp: ArpEntry = "null;3;2;1".parse().unwrap();
        assert_eq!(
            arp,
            ArpEntry {
                mac: None,
                expiry_ms: 3,
                stale_ms: 2,
                last_arp_ms: 1
            }
        );
        let error = |text: &str| text.parse::<ArpEntry>().unwrap_err().to_string();
        assert_eq!(error("x;3;2;1"), "not a value of arp_table: field mac");
        assert_eq!(error("null;3;2"), "not a value of arp_table: field last arp");
        assert_eq!(error("null;3;2;1;0"), "not a value of arp_table: field too many");
        let text = "10.0.0.1;2001:db8:0:0:0:0:0:1;-1062731520;24;00000000-0000-0001-0000-000000000002;00000000-0000-0001-0000-000000000003";
        let entry: Fip64Entry = text.parse().unwrap();
        assert_eq!(entry.nat_pool, Ipv4Addr::new(192, 168, 1, 0));
        assert_eq!(entry.to_string(), text);
        assert_eq!(
            "10.0.0.1;x".parse::<Fip64Entry>().unwrap_err().to_string(),
            "not a key of fip64_table: field floating address"
        );
    }
}
