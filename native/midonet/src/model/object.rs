// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use uuid::Uuid;

use super::{Class, Field, FieldKind, class};
use crate::text::{self, Message, TextError, Value};

/// An object of the NSDB: a class by name, known or not, and its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub class: String,
    pub message: Message,
}

/// Reads an object from its stored text.
pub fn decode_object(class: &str, bytes: &[u8]) -> Result<Object, TextError> {
    Ok(Object {
        class: class.to_owned(),
        message: text::parse(bytes)?,
    })
}

impl Object {
    pub fn new(class: impl Into<String>) -> Object {
        Object {
            class: class.into(),
            message: Message::default(),
        }
    }

    /// Typed access to the fields.
    pub fn view(&self) -> View<'_> {
        View {
            name: &self.class,
            class: class(&self.class),
            message: &self.message,
        }
    }

    /// The object's id (field `id`).
    pub fn id(&self) -> Option<Uuid> {
        self.view().uuid("id")
    }

    pub fn uuid(&self, field: &str) -> Option<Uuid> {
        self.view().uuid(field)
    }

    pub fn uuids(&self, field: &str) -> Vec<Uuid> {
        self.view().uuids(field)
    }

    pub fn str(&self, field: &str) -> Option<Cow<'_, str>> {
        self.view().str(field)
    }

    pub fn u64(&self, field: &str) -> Option<u64> {
        self.view().u64(field)
    }

    pub fn i64(&self, field: &str) -> Option<i64> {
        self.view().i64(field)
    }

    pub fn bool(&self, field: &str) -> Option<bool> {
        self.view().bool(field)
    }

    pub fn word(&self, field: &str) -> Option<Cow<'_, str>> {
        self.view().word(field)
    }

    pub fn ip(&self, field: &str) -> Option<IpAddr> {
        self.view().ip(field)
    }

    pub fn ips(&self, field: &str) -> Vec<IpAddr> {
        self.view().ips(field)
    }

    pub fn subnet(&self, field: &str) -> Option<Subnet> {
        self.view().subnet(field)
    }

    pub fn subnets(&self, field: &str) -> Vec<Subnet> {
        self.view().subnets(field)
    }

    pub fn message(&self, field: &str) -> Option<View<'_>> {
        self.view().message(field)
    }

    pub fn messages(&self, field: &str) -> Vec<View<'_>> {
        self.view().messages(field)
    }

    /// The links to other objects, nested ones included: name of the field (of the innermost message), class and id of the target.
    pub fn references(&self) -> impl Iterator<Item = (&'static str, &'static str, Uuid)> {
        let mut found = Vec::new();
        self.view().collect_references(&mut found);
        found.into_iter()
    }

    /// The stored text, fields in the order of their numbers as MidoNet writes them; unknown fields come last.
    pub fn to_text(&self) -> String {
        let mut message = self.message.clone();
        order(&mut message, class(&self.class));
        text::write(&message)
    }
}

/// Orders fields by number, on every level, keeping the order among the values of a repeated field.
fn order(message: &mut Message, class_of: Option<&'static Class>) {
    let Some(known) = class_of else { return };
    message
        .fields
        .sort_by_key(|field| known.field(&field.name).map_or(u32::MAX, |field| field.number));
    for field in &mut message.fields {
        if let (Value::Message(inner), Some(FieldKind::Message(name))) = (&mut field.value, known.field(&field.name).map(|field| field.kind)) {
            order(inner, class(name));
        }
    }
}

/// Typed access to a message. A field that is absent reads as its declared default where it has one; a value of another kind reads as absent.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Name of the message's class; empty for a nested message of an unknown one.
    pub name: &'a str,
    pub class: Option<&'static Class>,
    pub message: &'a Message,
}

impl<'a> View<'a> {
    pub fn has(&self, field: &str) -> bool {
        self.message.get(field).is_some()
    }

    pub fn uuid(&self, field: &str) -> Option<Uuid> {
        read_uuid(self.message.get(field)?)
    }

    pub fn uuids(&self, field: &str) -> Vec<Uuid> {
        self.message.all(field).filter_map(read_uuid).collect()
    }

    /// A string. Bytes that aren't UTF-8 are replaced.
    pub fn str(&self, field: &str) -> Option<Cow<'a, str>> {
        match self.message.get(field) {
            Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes)),
            Some(_) => None,
            None => self.default(field).map(Cow::Borrowed),
        }
    }

    pub fn strs(&self, field: &str) -> Vec<Cow<'a, str>> {
        let values = self.message.all(field);
        values
            .filter_map(|value| {
                if let Value::Bytes(bytes) = value {
                    Some(String::from_utf8_lossy(bytes))
                } else {
                    None
                }
            })
            .collect()
    }

    pub fn u64(&self, field: &str) -> Option<u64> {
        match self.message.get(field) {
            Some(Value::Unsigned(number)) => Some(*number),
            Some(_) => None,
            None => self.default(field)?.parse().ok(),
        }
    }

    pub fn i64(&self, field: &str) -> Option<i64> {
        match self.message.get(field) {
            Some(Value::Unsigned(number)) => i64::try_from(*number).ok(),
            Some(Value::Negative(number)) => Some(*number),
            Some(_) => None,
            None => self.default(field)?.parse().ok(),
        }
    }

    pub fn bool(&self, field: &str) -> Option<bool> {
        match self.message.get(field) {
            Some(value) => read_bool(value),
            None => self.default(field)?.parse().ok(),
        }
    }

    /// The name of an enum value, known or not; a number is given its name if it has one.
    pub fn word(&self, field: &str) -> Option<Cow<'a, str>> {
        match self.message.get(field) {
            Some(Value::Word(word)) => Some(Cow::Borrowed(word)),
            Some(Value::Unsigned(number)) => Some(self.enum_name(field, i64::try_from(*number).ok()?)),
            Some(Value::Negative(number)) => Some(self.enum_name(field, *number)),
            Some(_) => None,
            None => self.default(field).map(Cow::Borrowed),
        }
    }

    pub fn ip(&self, field: &str) -> Option<IpAddr> {
        read_ip(self.message.get(field)?)
    }

    pub fn ips(&self, field: &str) -> Vec<IpAddr> {
        self.message.all(field).filter_map(read_ip).collect()
    }

    pub fn subnet(&self, field: &str) -> Option<Subnet> {
        read_subnet(self.message.get(field)?)
    }

    pub fn subnets(&self, field: &str) -> Vec<Subnet> {
        self.message.all(field).filter_map(read_subnet).collect()
    }

    pub fn message(&self, field: &str) -> Option<View<'a>> {
        self.nested(field, self.message.get(field)?)
    }

    pub fn messages(&self, field: &str) -> Vec<View<'a>> {
        self.message.all(field).filter_map(|value| self.nested(field, value)).collect()
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.class?.field(name)
    }

    fn default(&self, field: &str) -> Option<&'static str> {
        self.field(field)?.default
    }

    fn enum_name(&self, field: &str, number: i64) -> Cow<'a, str> {
        let name = match self.field(field).map(|field| field.kind) {
            Some(FieldKind::OneOf(known)) => i32::try_from(number).ok().and_then(|number| known.name_of(number)),
            _ => None,
        };
        name.map_or_else(|| Cow::Owned(number.to_string()), Cow::Borrowed)
    }

    pub(super) fn nested(&self, field: &str, value: &'a Value) -> Option<View<'a>> {
        let Value::Message(message) = value else { return None };
        let name = match self.field(field).map(|field| field.kind) {
            Some(FieldKind::Message(name)) => name,
            _ => "",
        };
        Some(View {
            name,
            class: class(name),
            message,
        })
    }

    fn collect_references(&self, found: &mut Vec<(&'static str, &'static str, Uuid)>) {
        for field in &self.message.fields {
            let Some(known) = self.field(&field.name) else { continue };
            match known.kind {
                FieldKind::Link(target) => found.extend(read_uuid(&field.value).map(|id| (known.name, target, id))),
                FieldKind::Message(_) => {
                    if let Some(view) = self.nested(&field.name, &field.value) {
                        view.collect_references(found);
                    }
                }
                _ => {}
            }
        }
    }
}

/// A prefix. The address may have bits behind the prefix.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subnet {
    pub address: IpAddr,
    pub prefix_length: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// The message `UUID`.
pub fn uuid_message(id: Uuid) -> Message {
    let (msb, lsb) = id.as_u64_pair();
    Message::default().with("msb", msb).with("lsb", lsb)
}

/// The message `IPAddress`; IPv6 text is Java's, without compression.
pub fn ip_message(address: IpAddr) -> Message {
    Message::default().with("version", version(address)).with("address", java_text(address))
}

/// The message `IPSubnet`.
pub fn subnet_message(subnet: Subnet) -> Message {
    ip_message(subnet.address).with("prefix_length", u32::from(subnet.prefix_length))
}

fn version(address: IpAddr) -> Value {
    Value::Word(if address.is_ipv4() { "V4" } else { "V6" }.to_owned())
}

/// An address as MidoNet's classes print it: eight groups for IPv6, none left out.
pub(crate) fn java_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

pub(super) fn read_uuid(value: &Value) -> Option<Uuid> {
    let Value::Message(message) = value else { return None };
    match (message.get("msb")?, message.get("lsb")?) {
        (Value::Unsigned(msb), Value::Unsigned(lsb)) => Some(Uuid::from_u64_pair(*msb, *lsb)),
        _ => None,
    }
}

pub(super) fn read_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Word(word) => match word.as_str() {
            "true" | "t" | "True" => Some(true),
            "false" | "f" | "False" => Some(false),
            _ => None,
        },
        Value::Unsigned(1) => Some(true),
        Value::Unsigned(0) => Some(false),
        _ => None,
    }
}

pub(super) fn read_ip(value: &Value) -> Option<IpAddr> {
    let Value::Message(message) = value else { return None };
    read_address(message)
}

pub(super) fn read_subnet(value: &Value) -> Option<Subnet> {
    let Value::Message(message) = value else { return None };
    let address = read_address(message)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = match message.get("prefix_length") {
        None => 0,
        Some(Value::Unsigned(length)) if *length <= bits => *length as u8,
        Some(_) => return None,
    };
    Some(Subnet { address, prefix_length })
}

/// Addresses of interfaces can carry a scope (`fe80:…%eth0`), which is left out.
fn read_address(message: &Message) -> Option<IpAddr> {
    let Some(Value::Bytes(text)) = message.get("address") else { return None };
    let text = std::str::from_utf8(text).ok()?;
    text.split('%').next()?.parse().ok()
}
