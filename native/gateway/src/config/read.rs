// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Typed reading of one section, with typesafe-config's ideas of what a number, a switch, a duration and a size are.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use serde_json::Value;

use super::BadValue;

/// One section of the JSON text: its values by dotted key, and what was wrong with those that were asked for.
pub(super) struct Section {
    prefix: &'static str,
    values: BTreeMap<String, Value>,
    bad: Vec<BadValue>,
}

impl Section {
    /// Anything but an object has no values: all defaults then.
    pub(super) fn new(prefix: &'static str, value: &Value) -> Section {
        let mut values = BTreeMap::new();
        flatten("", value, &mut values);
        Section {
            prefix,
            values,
            bad: Vec::new(),
        }
    }

    /// What was bad, and the keys that nobody asked for.
    pub(super) fn finish(self) -> (Vec<BadValue>, Vec<String>) {
        let foreign = |key: &String| key == "schemaVersion" || key.ends_with("_description") || key.ends_with("_type");
        (self.bad, self.values.into_keys().filter(|key| !foreign(key)).collect())
    }

    pub(super) fn text<T>(&mut self, key: &str, default: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let fallback = || parse(default).expect("every default is an allowed value");
        self.read(key, allowed, |value| parse(plain(value)?.trim())).unwrap_or_else(fallback)
    }

    /// Empty is the same as not there.
    pub(super) fn optional<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.read(key, allowed, |value| match plain(value)?.trim() {
            "" => Some(None),
            text => parse(text).map(Some),
        })
        .flatten()
    }

    pub(super) fn required<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        if !self.values.contains_key(key) {
            self.refuse(key, "missing".into(), allowed);
        }
        self.read(key, allowed, |value| parse(plain(value)?.trim()))
    }

    pub(super) fn bool(&mut self, key: &str, default: bool) -> bool {
        self.read(key, "true or false", |value| match value {
            Value::Bool(value) => Some(*value),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        })
        .unwrap_or(default)
    }

    pub(super) fn int(&mut self, key: &str, default: u64, low: u64, high: u64) -> u64 {
        let allowed = format!("a whole number from {low} to {high}");
        self.read(key, &allowed, |value| whole(value).filter(|number| (low..=high).contains(number)))
            .unwrap_or(default)
    }

    pub(super) fn duration(&mut self, key: &str, default: Duration, low: Duration, high: Duration) -> Duration {
        let allowed = format!("a duration from {}s to {}s, such as 10s", low.as_secs(), high.as_secs());
        let read = |value: &Value| match whole(value) {
            Some(millis) => Some(Duration::from_millis(millis)),
            None => duration(value.as_str()?),
        };
        self.read(key, &allowed, |value| read(value).filter(|duration| (low..=high).contains(duration)))
            .unwrap_or(default)
    }

    pub(super) fn size(&mut self, key: &str, default: u64, low: u64, high: u64) -> u64 {
        let allowed = format!("a size from {}MiB to {}GiB, such as 2GiB", low >> 20, high >> 30);
        let read = |value: &Value| whole(value).or_else(|| size(value.as_str()?));
        self.read(key, &allowed, |value| read(value).filter(|bytes| (low..=high).contains(bytes)))
            .unwrap_or(default)
    }

    /// The value of a key, if it is there and can be used.
    fn read<T>(&mut self, key: &str, allowed: &str, parse: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.values.remove(key).filter(|value| !value.is_null())?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.refuse(key, value.to_string(), allowed);
        }
        parsed
    }

    fn refuse(&mut self, key: &str, value: String, allowed: &str) {
        let key = if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.prefix)
        };
        self.bad.push(BadValue {
            key,
            value,
            allowed: allowed.to_owned(),
        });
    }
}

/// A host name or an address. Names are checked for what resolvers and TLS take: 253 bytes of letters, digits, `-`, `_` and dots.
pub(super) fn host(text: &str) -> Option<String> {
    let label =
        |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return Some(bare.to_owned());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    (name.len() <= 253 && name.split('.').all(label)).then(|| text.to_owned())
}

/// A host that another machine can reach: no unspecified address.
pub(super) fn advertised(text: &str) -> Option<String> {
    host(text).filter(|host| {
        !host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_unspecified() || address.is_multicast())
    })
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (text.starts_with('/') && !text.contains('\0')).then(|| PathBuf::from(text))
}

pub(super) fn level(text: &str) -> Option<log::LevelFilter> {
    text.parse().ok().filter(|level| *level != log::LevelFilter::Off)
}

/// `h1:2181,h2:2181`; ports may be left out, a path may follow.
pub(super) fn connect_string(text: &str) -> Option<String> {
    crate::nsdb::zk::Endpoints::parse(text).ok().map(|endpoints| endpoints.to_string())
}

/// MidoNet 5 takes its old root `/midonet/v1` as `/midonet` (its `MidonetBackendConfig`).
pub(super) fn root_key(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    if text == "/midonet/v1" {
        return Some("/midonet".into());
    }
    let valid = text.is_empty() || text.starts_with('/') && text[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
    (valid && !text.contains('\0')).then(|| text.to_owned())
}

fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match member {
            Value::Object(_) => flatten(&key, member, out),
            _ => _ = out.insert(key, member.clone()),
        }
    }
}

/// A text, or a number or switch as typesafe-config would turn it into one.
fn plain(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(value) => Some(value.to_string().into()),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && (0.0..1e15).contains(float))
                .map(|float| float as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Number and unit, which may stand apart.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..end].trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then(|| (number, text[end..].trim()))
}

/// HOCON's duration units.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds = match unit {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1e-9,
        "us" | "micro" | "micros" | "microsecond" | "microseconds" => 1e-6,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "second" | "seconds" => 1.0,
        "m" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// HOCON's size units: `kB` is 1000, `K` and `KiB` are 1024.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let unit = unit.trim_end_matches("ytes").trim_end_matches("yte");
    let factor: u64 = match unit {
        "" | "B" | "b" => 1,
        "kB" | "kilob" => 1_000,
        "MB" | "megab" => 1_000_000,
        "GB" | "gigab" => 1_000_000_000,
        "TB" | "terab" => 1_000_000_000_000,
        "K" | "k" | "Ki" | "KiB" | "kibib" => 1 << 10,
        "M" | "m" | "Mi" | "MiB" | "mebib" => 1 << 20,
        "G" | "g" | "Gi" | "GiB" | "gibib" => 1 << 30,
        "T" | "t" | "Ti" | "TiB" | "tebib" => 1 << 40,
        _ => return None,
    };
    Some((number * factor as f64) as u64)
}
