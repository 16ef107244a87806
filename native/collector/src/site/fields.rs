// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use midonet::{
    Mac,
    text::{self, Message, Value},
};
use uuid::Uuid;

use super::Prefix;

/// The fields of an object or of a message in one, read by MidoNet's names. Fields that are absent, or of another form than asked for,
/// read as absent: a newer MidoNet must not break the model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    message: Message,
}

impl Fields {
    /// Text that can't be parsed reads as an object without fields.
    pub(crate) fn parse(text: &[u8]) -> Fields {
        Fields {
            message: text::parse(text).unwrap_or_default(),
        }
    }

    pub(crate) fn message(&self, name: &str) -> Option<Fields> {
        match self.message.get(name)? {
            Value::Message(message) => Some(Fields { message: message.clone() }),
            _ => None,
        }
    }

    pub(crate) fn messages(&self, name: &str) -> Vec<Fields> {
        self.message
            .all(name)
            .filter_map(|value| match value {
                Value::Message(message) => Some(Fields { message: message.clone() }),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn id(&self, name: &str) -> Option<Uuid> {
        id(self.message.get(name)?)
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<Uuid> {
        self.message.all(name).filter_map(id).collect()
    }

    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.message.get(name)? {
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            _ => None,
        }
    }

    /// A text that says something.
    pub(crate) fn some_text(&self, name: &str) -> Option<Arc<str>> {
        self.text(name).filter(|text| !text.is_empty()).map(|text| Arc::from(&*text))
    }

    /// The name of an enum's value.
    pub(crate) fn symbol(&self, name: &str) -> Option<&str> {
        match self.message.get(name)? {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        match self.message.get(name)? {
            Value::Unsigned(number) => i64::try_from(*number).ok(),
            Value::Negative(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn unsigned(&self, name: &str) -> Option<u64> {
        match self.message.get(name)? {
            Value::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        match self.message.get(name) {
            Some(Value::Word(word)) => matches!(&**word, "true" | "t"),
            Some(Value::Unsigned(number)) => *number != 0,
            _ => default,
        }
    }

    pub(crate) fn ip(&self, name: &str) -> Option<IpAddr> {
        self.message(name)?.text("address")?.parse().ok()
    }

    pub(crate) fn ips(&self, name: &str) -> Vec<IpAddr> {
        self.messages(name)
            .iter()
            .filter_map(|address| address.text("address")?.parse().ok())
            .collect()
    }

    pub(crate) fn prefix(&self, name: &str) -> Option<Prefix> {
        prefix(&self.message(name)?)
    }

    pub(crate) fn prefixes(&self, name: &str) -> Vec<Prefix> {
        self.messages(name).iter().filter_map(prefix).collect()
    }

    pub(crate) fn mac(&self, name: &str) -> Option<Mac> {
        self.text(name)?.parse().ok()
    }
}

fn id(value: &Value) -> Option<Uuid> {
    let Value::Message(message) = value else { return None };
    match (message.get("msb")?, message.get("lsb")?) {
        (Value::Unsigned(msb), Value::Unsigned(lsb)) => Some(Uuid::from_u64_pair(*msb, *lsb)),
        _ => None,
    }
}

/// A subnet; without a length it is the one address.
fn prefix(fields: &Fields) -> Option<Prefix> {
    let address: IpAddr = fields.text("address")?.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let length = fields
        .int("prefix_length")
        .and_then(|length| u8::try_from(length).ok())
        .filter(|length| *length <= whole);
    Some(Prefix {
        address,
        length: length.unwrap_or(whole),
    })
}
