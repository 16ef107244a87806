// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

use std::fmt::Write as _;

use super::{Message, Value};

/// The text of a message in MidoNet's form, fields in the order in which the message has them.
pub fn write(message: &Message) -> String {
    let mut out = String::with_capacity(256);
    fields(message, 0, &mut out);
    out
}

fn fields(message: &Message, depth: usize, out: &mut String) {
    for field in &message.fields {
        indent(depth, out);
        // Only the name of an extension holds a dot.
        if field.name.contains('.') {
            let _ = write!(out, "[{}]", field.name);
        } else {
            out.push_str(&field.name);
        }
        match &field.value {
            Value::Message(message) => {
                out.push_str(" {\n");
                fields(message, depth + 1, out);
                indent(depth, out);
                out.push_str("}\n");
            }
            value => {
                out.push_str(": ");
                scalar(value, out);
                out.push('\n');
            }
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// Writing to a string never fails.
fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::Message(_) => {}
        Value::Bytes(bytes) => quoted(bytes, out),
        Value::Unsigned(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Negative(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Word(word) => out.push_str(word),
    }
}

fn quoted(bytes: &[u8], out: &mut String) {
    out.push('"');
    for &byte in bytes {
        match byte {
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x0b => out.push_str("\\v"),
            b'\\' => out.push_str("\\\\"),
            b'\'' => out.push_str("\\'"),
            b'"' => out.push_str("\\\""),
            0x20..=0x7e => out.push(char::from(byte)),
            // 2.6.1 writes 0x7f as it is: only signed bytes from 0x20 on are plain, and 0x7f is one.
            0x7f => out.push('\x7f'),
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out.push('"');
}
