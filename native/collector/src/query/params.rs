// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What stands behind the question mark of a URL.

use insights_store::Period;

use super::period::{self, PeriodError, PeriodSpec};

/// Version of the meaning of parameters. A link without one is read as of this version; one of a later version is refused, not guessed.
pub const VERSION: u32 = 1;

/// Names and values in order, as they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Params(Vec<(String, String)>);

/// The link is not one that this version understands.
#[derive(Debug, thiserror::Error)]
pub enum ParamError {
    #[error("this link was made by a later version of the Insights Manager (v={0})")]
    Version(String),
    #[error(transparent)]
    Period(#[from] PeriodError),
}

impl Params {
    /// Reads a query string; what can't be read as text is left out.
    pub fn parse(query: &str) -> Self {
        Self(
            query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "yes" | "on"))
    }

    /// Checks the version and reads the period: `period` as text, or `from` and `to`.
    pub fn period(&self, now_us: i64) -> Result<PeriodSpec, ParamError> {
        if let Some(version) = self.get("v")
            && version.parse::<u32>().ok().is_none_or(|version| version > VERSION)
        {
            return Err(ParamError::Version(version.to_owned()));
        }
        match (self.get("period"), self.get("from"), self.get("to")) {
            (_, Some(from), Some(to)) if !from.is_empty() && !to.is_empty() => Ok(period::parse(&format!("{from} - {to}"), now_us)?),
            (Some(text), ..) if !text.trim().is_empty() => Ok(period::parse(text, now_us)?),
            _ => Ok(period::DEFAULT),
        }
    }
}

/// A query string made of names and values.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        percent(name, &mut out);
        out.push('=');
        percent(value, &mut out);
    }
    out
}

/// A span as the value of `period`.
pub fn fixed_text(period: Period) -> String {
    PeriodSpec::Fixed(period).text()
}

fn percent(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b',' | b'/' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)].into());
                out.push(HEX[usize::from(byte & 15)].into());
            }
        }
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| (*byte as char).to_digit(16));
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => match (hex(at + 1), hex(at + 2)) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_the_url() {
        let text = "src.ip in (10.0.0.0/8, \"a & b\") and größe=1+1 %41";
        let query = encode([("filter", text), ("v", "1")]);
        assert_eq!(Params::parse(&query).get("filter"), Some(text));
        assert!(query.is_ascii());
        assert_eq!(Params::parse("a=%zz&b&=c").get("a"), Some("%zz"));
    }

    #[test]
    fn later_versions_are_refused() {
        assert!(Params::parse("v=1&period=6h").period(0).is_ok());
        assert!(Params::parse("v=2").period(0).is_err());
        assert!(Params::parse("v=x").period(0).is_err());
        assert!(matches!(
            Params::parse("from=2026-10-15T08:00&to=2026-10-15T09:00").period(0),
            Ok(PeriodSpec::Fixed(_))
        ));
    }
}
