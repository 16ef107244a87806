// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Values of the language: reading and writing.

use std::{fmt, net::IpAddr};

use insights_store::Mac;

use super::{Field, FieldKind};

/// A value, typed by its field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    Mac(Mac),
    Ip(IpSet),
    /// Both ends included; equal for one number.
    Number(u64, u64),
    /// A name, a UUID or a tenant's id.
    Name(String),
    /// The field is not known for the flow.
    None,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpSet {
    One(IpAddr),
    /// The address keeps the host bits as typed.
    Prefix(IpAddr, u8),
    /// Both ends included, of one family, in order.
    Range(IpAddr, IpAddr),
}

impl Value {
    /// Reads a bare word for a field. The error says what the field takes.
    pub(super) fn read(field: Field, text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("none") && field.may_be_none() {
            return Ok(Value::None);
        }
        match field.kind() {
            FieldKind::Mac => mac(text)
                .map(Value::Mac)
                .ok_or_else(|| format!("{} takes a MAC address such as fa:16:3e:00:00:01, not “{text}”", field.name())),
            FieldKind::Ip => ip(text).map(Value::Ip).ok_or_else(|| {
                format!(
                    "{} takes an address, a prefix or a range such as 10.0.0.5, 10.0.0.0/8 or 10.0.0.1-10.0.0.9, not “{text}”",
                    field.name()
                )
            }),
            FieldKind::Number(max) => number(field, text, max),
            FieldKind::Word => word(field, text).map(|n| Value::Number(n, n)).ok_or_else(|| {
                let words: Vec<_> = field.words().iter().map(|(word, _)| *word).collect();
                format!("{} takes {}, not “{text}”", field.name(), words.join(", "))
            }),
            FieldKind::Object | FieldKind::Tenant => Ok(Value::Name(text.to_owned())),
        }
    }

    /// As it is written for a field.
    pub fn text(&self, field: Field) -> String {
        match self {
            Value::Mac(mac) => mac.to_string(),
            Value::Ip(ip) => ip.to_string(),
            Value::Number(low, high) if low == high => {
                let word = field.words().iter().find(|(_, number)| number == low);
                match word {
                    Some((word, _)) => (*word).to_owned(),
                    None if field == Field::EtherType => format!("0x{low:04x}"),
                    None => low.to_string(),
                }
            }
            Value::Number(low, high) => format!("{low}-{high}"),
            Value::Name(name) if bare(name) => name.clone(),
            Value::Name(name) => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
            Value::None => "none".to_owned(),
        }
    }
}

impl fmt::Display for IpSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpSet::One(ip) => ip.fmt(f),
            IpSet::Prefix(ip, length) => write!(f, "{ip}/{length}"),
            IpSet::Range(low, high) => write!(f, "{low}-{high}"),
        }
    }
}

/// Characters that words are made of; all else needs quotes.
pub(super) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | ':' | '/' | '-' | '_' | '@' | '+' | '*' | '#' | '%')
}

fn bare(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_word_char) && !["and", "or", "not", "in", "none"].iter().any(|word| name.eq_ignore_ascii_case(word))
}

fn mac(text: &str) -> Option<Mac> {
    let separator = if text.contains(':') { ':' } else { '-' };
    let mut bytes = [0u8; 6];
    let mut parts = text.split(separator);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(Mac(bytes))
}

fn ip(text: &str) -> Option<IpSet> {
    if let Some((address, length)) = text.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        return (length <= max).then_some(IpSet::Prefix(address, length));
    }
    if let Some((low, high)) = text.split_once('-') {
        let (low, high): (IpAddr, IpAddr) = (low.parse().ok()?, high.parse().ok()?);
        return (low.is_ipv4() == high.is_ipv4() && low <= high).then_some(IpSet::Range(low, high));
    }
    text.parse().ok().map(IpSet::One)
}

fn word(field: Field, text: &str) -> Option<u64> {
    field
        .words()
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .map(|(_, number)| *number)
}

fn number(field: Field, text: &str, max: u64) -> Result<Value, String> {
    let one = |text: &str| {
        word(field, text).or_else(|| match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        })
    };
    let parsed = match one(text) {
        Some(number) => Some((number, number)),
        None => text.split_once('-').and_then(|(low, high)| Some((one(low)?, one(high)?))),
    };
    match parsed {
        Some((low, high)) if low <= high && high <= max => Ok(Value::Number(low, high)),
        Some((low, high)) if low > high => Err(format!("the range {text} of {} is upside down", field.name())),
        Some(_) => Err(format!("{} is at most {max}", field.name())),
        None => {
            let words: Vec<_> = field.words().iter().map(|(word, _)| *word).collect();
            let names = if words.is_empty() {
                String::new()
            } else {
                format!(", or one of {}", words.join(", "))
            };
            Err(format!(
                "{} takes a number or a range such as 80 or 8000-8080{names}, not “{text}”",
                field.name()
            ))
        }
    }
}
