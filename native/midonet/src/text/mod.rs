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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Message {
        parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn value(text: &str) -> Value {
        parsed(&format!("a: {text}")).get("a").unwrap().clone()
    }

    #[test]
    fn strings_with_every_escape() {
        assert_eq!(
            value(r#""caf\303\251 \x41\101\7 \n\r\t\"\'\\\a\b\f\v\?""#),
            "café AA\x07 \n\r\t\"'\\\x07\x08\x0c\x0b?".into()
        );
        assert_eq!(value("'it\"s'"), "it\"s".into());
        assert_eq!(value("\"caf\u{e9}\""), "café".into());
        assert_eq!(value("\"one\" 'two'\n  # between\n \"three\""), "onetwothree".into());
        assert_eq!(value(r#""\18\1234\xg""#), Value::Bytes(b"\x018S4xg".to_vec()));
        assert_eq!(value("\"\""), "".into());
    }

    #[test]
    fn numbers_in_three_bases() {
        assert_eq!(value("18446744073709551615"), Value::Unsigned(u64::MAX));
        assert_eq!(value("-9223372036854775808"), Value::Negative(i64::MIN));
        assert_eq!(value("0x1F"), Value::Unsigned(31));
        assert_eq!(value("017"), Value::Unsigned(15));
        assert_eq!(value("-1"), Value::Negative(-1));
        assert_eq!(value("0"), Value::Unsigned(0));
        for word in ["true", "V4", "1.5", "-1e-7", "2e+7", "18446744073709551616", "089", "inf"] {
            assert_eq!(value(word), Value::Word(word.to_owned()));
        }
    }

    #[test]
    fn messages_in_either_bracket() {
        let expected = Message::default().with("a", Message::default().with("b", 1_u64).with("b", 2_u64));
        for text in [
            "a { b: 1 b: 2 }",
            "a: { b: 1 b: 2 }",
            "a < b: 1 b: 2 >",
            "a{b:1 b:2}",
            "# c\na {\n b: 1 # d\n b: 2}",
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
        assert_eq!(parsed(""), Message::default());
        assert_eq!(parsed("a {}"), Message::default().with("a", Message::default()));
        assert_eq!(write(&parsed("[org.midonet.x]: 1")), "[org.midonet.x]: 1\n");
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("a: 1\nb 2"), "line 2 column 3: found \"2\", expected ':' or '{'");
        assert_eq!(
            error("a {\n  b: 1\n"),
            "line 3 column 1: found the end of the text, expected the name of a field"
        );
        assert_eq!(error("a: 1, b: 2"), "line 1 column 5: found \",\", expected the name of a field");
        assert_eq!(error("a { b: 1 >"), "line 1 column 10: found \">\", expected the name of a field");
        assert_eq!(error("a: \"secret"), "line 1 column 4: found a string without an end, expected a value");
        assert_eq!(error("a: \"x\\"), "line 1 column 4: found a string without an end, expected a value");
        assert_eq!(error("a \"secret\""), "line 1 column 3: found a string, expected ':' or '{'");
        assert_eq!(error("}"), "line 1 column 1: found \"}\", expected the name of a field");
        assert_eq!(error("a: "), "line 1 column 4: found the end of the text, expected a value");
    }

    #[test]
    fn bounds_hold() {
        let nested = |depth: usize| format!("{}{}", "a{".repeat(depth), "}".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(TextError::TooDeep { line: 1, .. })));
        assert!(matches!(parse("a{".repeat(1_000_000).as_bytes()), Err(TextError::TooDeep { .. })));
        assert!(parse("a:1 ".repeat(MAX_FIELDS).as_bytes()).is_ok());
        assert!(matches!(
            parse("a:1 ".repeat(MAX_FIELDS + 1).as_bytes()),
            Err(TextError::TooManyFields { .. })
        ));
        assert!(matches!(parse(&vec![b' '; MAX_TEXT_BYTES + 1]), Err(TextError::TooLong { .. })));
    }

    #[test]
    fn the_last_value_of_a_field_counts() {
        let message = parsed("a: 1 b: 2 a: 3");
        assert_eq!(message.get("a"), Some(&Value::Unsigned(3)));
        assert_eq!(message.all("a").count(), 2);
        assert_eq!(message.get("c"), None);
    }
}
