// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The object model of the NSDB: classes, typed access, links, JSON, secrets.
//!
//! Nothing is lost on objects of later releases: unknown classes, fields and enum names are kept, and read by their shape.

mod json;
mod object;
mod redact;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

pub use json::to_json;
pub(crate) use object::java_text;
pub use object::{Object, Subnet, View, decode_object, ip_message, subnet_message, uuid_message};
pub use redact::{REMOVED, Redacted, SECRET_FIELDS, SECRET_WORDS, is_secret_name, redact};

/// A message of MidoNet's model.
#[derive(Debug, Eq, PartialEq)]
pub struct Class {
    /// For a nested message with the names of the messages around it, as in `Rule.NatTarget`.
    pub name: &'static str,
    /// Whether objects of it have nodes of their own in the NSDB.
    pub stored: bool,
    /// In the order of the declaration, which is not always that of the numbers.
    pub fields: &'static [Field],
}

/// A declared field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    pub name: &'static str,
    /// Fields are written in ascending order of their numbers.
    pub number: u32,
    pub kind: FieldKind,
    pub repeated: bool,
    /// What an absent field reads as, in text form, where it isn't the zero of its kind.
    pub default: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldKind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    String,
    /// An id that links to no single class.
    Uuid,
    /// The id of an object of this class.
    Link(&'static str),
    IpAddress,
    IpSubnet,
    OneOf(&'static Enum),
    /// A nested message by its name.
    Message(&'static str),
}

/// A declared enum.
#[derive(Debug, Eq, PartialEq)]
pub struct Enum {
    pub name: &'static str,
    pub values: &'static [(&'static str, i32)],
}

impl Class {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Field {
    /// The class of the objects that the field links to.
    pub fn target(&self) -> Option<&'static str> {
        if let FieldKind::Link(class) = self.kind { Some(class) } else { None }
    }
}

impl Enum {
    pub fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(value, _)| *value == name).map(|(_, number)| *number)
    }

    pub fn name_of(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, value)| *value == number).map(|(name, _)| *name)
    }
}

/// The 58 classes with nodes of their own, in the order of their names.
pub static CLASSES: LazyLock<Vec<&'static Class>> = LazyLock::new(|| {
    let mut classes: Vec<_> = schema::messages().filter(|class| class.stored).collect();
    classes.sort_by_key(|class| class.name);
    classes
});

static MESSAGES: LazyLock<HashMap<&'static str, &'static Class>> = LazyLock::new(|| schema::messages().map(|class| (class.name, class)).collect());

/// A declared message by its name, stored or nested.
pub fn class(name: &str) -> Option<&'static Class> {
    MESSAGES.get(name).copied()
}

/// All declared messages, stored or nested.
pub fn messages() -> impl Iterator<Item = &'static Class> {
    schema::messages()
}

/// All declared enums.
pub fn enums() -> impl Iterator<Item = &'static Enum> {
    schema::enums()
}
