// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! The protobuf text format in which the NSDB holds objects and some state values.
//!
//! The parser takes what MidoNet's own takes (raw UTF-8, every escape, either quote, string concatenation, comments, `<>` for `{}`, an optional
//! colon before a message, hexadecimal and octal integers) and keeps what it doesn't know. The writer gives MidoNet's exact form: two spaces of
//! indentation, one field a line, all bytes outside printable ASCII as octal escapes.

mod parse;
mod token;
mod write;

pub use parse::{Visitor, parse, visit};
pub use token::Literal;
pub use write::write;

/// Longest text: what a client of the NSDB accepts in one reply.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// Deepest nesting of messages; the deepest class of MidoNet has 4 levels.
pub const MAX_DEPTH: usize = 32;

/// Most fields of a text, on all levels together: a node of 1 MiB holds some 60,000 as MidoNet writes them. Bounds the memory of a parsed text to 30 MiB.
pub const MAX_FIELDS: usize = 200_000;

/// A message: its fields in the order of the text, repeated ones an entry each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: String,
    pub value: Value,
}

/// The value of a field, without knowledge of its declared type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Message(Message),
    /// A string or bytes, unescaped.
    Bytes(Vec<u8>),
    /// An integer without a sign.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// Anything else as it stands: enum names, `true`, `false`, fractions.
    Word(String),
}

impl Message {
    /// The last value of a field, which is the one that counts for a field that isn't repeated.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().rev().find(|field| field.name == name).map(|field| &field.value)
    }

    /// All values of a field.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.fields.iter().filter(move |field| field.name == name).map(|field| &field.value)
    }

    /// Appends a field.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.fields.push(Field {
            name: name.into(),
            value: value.into(),
        });
    }

    /// The same, for building a message in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Message {
        self.push(name, value);
        self
    }
}

impl From<Message> for Value {
    fn from(value: Message) -> Value {
        Value::Message(value)
    }
}

impl From<&str> for Value {
    /// A string; for an enum name use [`Value::Word`].
    fn from(value: &str) -> Value {
        Value::Bytes(value.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Bytes(value.into_bytes())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Word(value.to_string())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Unsigned(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Unsigned(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        u64::try_from(value).map_or(Value::Negative(value), Value::Unsigned)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        i64::from(value).into()
    }
}

/// Why bytes are not protobuf text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    #[error("text has {size} bytes, at most {MAX_TEXT_BYTES} are allowed")]
    TooLong { size: usize },
    #[error("line {line} column {column}: messages nest deeper than {MAX_DEPTH}")]
    TooDeep { line: usize, column: usize },
    #[error("line {line} column {column}: more than {MAX_FIELDS} fields")]
    TooManyFields { line: usize, column: usize },
    #[error("line {line} column {column}: found {found}, expected {expected}")]
    Syntax {
        line: usize,
        column: usize,
        found: String,
        expected: &'static str,
    },
}
